// The video of the page. All times are match times; the player's own are `offsetSec` later.

import { $ } from "./elements.js";
import { within } from "./time.js";

const INSIDE_SEC = 0.001;  // seek this far past a frame's timestamp, so that the frame is shown
const LATE_SEC = 0.3;      // a frame farther than this from the player's clock is an old one

export const video = $("player");
export let playable = false;
let playhead = 0;      // where the last seek went; the current time if there is no video
let frameSec = null;   // timestamp of the frame on screen, or null if the browser does not tell
let endSec = 0;
let offsetSec = 0;
let playerHandlers = null;  // given by the page: { onSeek(sec), onRefused(), tell(text) }

export const clockSec = () => within(video.currentTime - offsetSec, 0, endSec);

export function nowSec() {
  if (!playable || video.seeking) return playhead;
  const shown = frameSec !== null && Math.abs(frameSec - clockSec()) < LATE_SEC;
  return within(shown ? frameSec : clockSec(), 0, endSec);
}

export function seek(sec) {
  playhead = within(sec, 0, endSec);
  frameSec = null;
  if (playable) video.currentTime = playhead + offsetSec + INSIDE_SEC;
  playerHandlers.onSeek(playhead);
}

export async function play() {
  if (video.hidden) return playerHandlers.tell("There is no video to play");
  try {
    return await video.play();
  } catch (error) {
    if (error.name === "AbortError") return null;  // paused before it started
    return playerHandlers.tell(`Cannot play the video: ${error.message}`);
  }
}

export function togglePlay() {
  if (video.paused) play();
  else video.pause();
}

export function setRate(rate) {
  video.playbackRate = video.defaultPlaybackRate = rate;
}

function giveUp() {
  playhead = nowSec();
  playable = false;
  playerHandlers.onRefused();
}

export function startPlayer(matchSec, handlers) {
  endSec = matchSec;
  playerHandlers = handlers;
  const note = (_, frame) => {
    frameSec = frame.mediaTime - offsetSec;
    video.requestVideoFrameCallback(note);
  };
  video.requestVideoFrameCallback?.(note);
  video.addEventListener("loadedmetadata", () => {
    if (!video.videoWidth) return giveUp();  // only sound
    playable = true;
    return seek(playhead);
  });
  video.addEventListener("error", giveUp);
}

export function loadVideo(url, aheadSec) {
  offsetSec = aheadSec;
  video.hidden = false;
  video.src = url;
}
