// The video of the match: makes a copy if browsers need one, rewinds, changes the speed.

import { $ } from "../../web/elements.js";
import { loadVideo, nowSec, play, seek, setRate, togglePlay, video } from "../../web/player.js";
import { within } from "../../web/time.js";
import { match } from "./marks.js";
import { ask, save, tell } from "./requests.js";

const MATCH_SPEEDS = [0.5, 0.75, 1, 1.5, 2, 3, 4];
const REWIND_MS = 100;
const ASK_MS = 300;  // between two requests for the progress of the copy

let copied = false;
let rewindTimer = 0;
export let rewindRate = 0;  // 0: not rewinding

export function playFile() {
  $("making").hidden = true;
  loadVideo("video", match.offset_sec);
}

export async function makeProxy() {
  $("making").hidden = false;
  video.hidden = true;
  $("making-again").hidden = true;
  $("making-what").textContent = `Not every browser plays this file${
    match.why_not ? ` (${match.why_not})` : ""}. A small copy is being made beside it, only once.`;
  try {
    let state = await save("proxy", {});
    while (state.progress !== null) {
      $("making-bar").value = state.progress;
      $("making-share").textContent = `${Math.round(100 * state.progress)} %`;
      await new Promise((done) => { setTimeout(done, ASK_MS); });
      state = await ask("match");
    }
    if (!state.ready || state.error) throw new Error(state.error || "could not make the copy");
    match.offset_sec = state.offset_sec;
    copied = true;
    playFile();
  } catch (error) {
    $("making-what").textContent = error.message;
    $("making-again").hidden = false;
  }
}

// `video.error` is null if this browser plays only the sound of the file.
export function onRefused() {
  const { MEDIA_ERR_DECODE: undecodable, MEDIA_ERR_SRC_NOT_SUPPORTED: unsupported } = MediaError;
  const { code, message } = video.error ?? { code: unsupported, message: "it has no picture" };
  if ([undecodable, unsupported].includes(code) && !copied) return makeProxy();
  return tell(`The video stopped (${message}): reload the page`, true);
}

export function toggleVideo() {
  stopRewind();
  togglePlay();
}

function setSpeed(rate) {
  setRate(rate);
  $("speed").textContent = `${rate}x`;
}

export function changeRate(by) {
  const at = MATCH_SPEEDS.indexOf(video.playbackRate) + by;
  setSpeed(MATCH_SPEEDS[within(at, 0, MATCH_SPEEDS.length - 1)]);
}

export function forward() {
  const playing = !video.paused && !rewindRate;
  stopRewind();
  setSpeed(playing ? Math.min(4, Math.max(1, video.playbackRate) * 2) : 1);
  play();
}

export function rewind() {
  video.pause();
  clearInterval(rewindTimer);
  rewindRate = rewindRate ? Math.min(8, rewindRate * 2) : 1;
  $("speed").textContent = `−${rewindRate}x`;
  rewindTimer = setInterval(() => {
    if (!video.seeking) seek(nowSec() - (rewindRate * REWIND_MS) / 1000);
  }, REWIND_MS);
}

export function stopRewind() {
  clearInterval(rewindTimer);
  rewindRate = 0;
  $("speed").textContent = `${video.playbackRate}x`;
}

export function stopVideo() {
  stopRewind();
  video.pause();
}

export function cutTo(sec) {
  stopRewind();
  seek(sec);
}
