// Plays the match: rally by rally, by seconds and frames, all of it or only the rallies.

import { $, say, write } from "../../web/elements.js";
import { clockSec, nowSec, play, playable, seek, video } from "../../web/player.js";
import { within } from "../../web/time.js";
import { bringIntoView, line } from "../../web/timeline.js";
import { choose } from "./list.js";
import { currentRally, edited, END_SEC, kept, report } from "./rallies.js";
import { pathOf } from "./saving.js";

const NEAR_SEC = 10;     // the current rally stays selected while the playhead is this near
const EARLY_SEC = 0.05;  // a player that seeks to a time may land a little before it

let lastSec = 0;         // the playhead a moment ago
let onlyRallies = false;

export function seekBy(sec) {
  say("");
  const toSec = within(nowSec() + sec, 0, END_SEC);
  seek(toSec);
  chooseNear(toSec);
}

export function seekByFrames(count) {
  video.pause();
  seekBy(count * report.frame_sec);
}

export function goTo(rally) {
  say("");
  choose(rally.id);
  bringIntoView(rally.start, rally.end);
  seek(rally.start);
  if (playable) play();
}

export function jump(by) {
  const now = nowSec(), { rallies } = edited, at = rallies.indexOf(currentRally());
  const next = at >= 0 ? rallies[at + by] : by > 0 ? rallies.find((rally) => rally.start > now)
    : rallies.findLast((rally) => rally.end <= now);
  if (next) goTo(next);
  else say(`There is no ${by > 0 ? "next" : "previous"} rally`);
}

// After a small move the current rally stays selected, even if the playhead is now in a neighbour:
// the person may want to move its edge there.
export function chooseNear(sec, sticky = true) {
  const here = edited.rallies.filter(({ start, end }) => start <= sec && sec < end);
  const there = here.find((rally) => !rally.dropped) ?? here[0], rally = currentRally();
  const near = rally && rally.start - NEAR_SEC <= sec && sec <= rally.end + NEAR_SEC;
  if (!near || (there && !sticky)) choose(there?.id ?? null);
}

export function noteSeek(sec) {
  lastSec = sec;
  bringIntoView(sec);
}

// While the video plays, a rally that begins becomes the current one. With "Rallies only", the time
// between rallies is skipped.
export function follow() {
  if (video.paused || video.seeking || line.drag) return;
  const now = clockSec(), from = lastSec, { rallies } = edited;
  lastSec = now;
  bringIntoView(now);
  const begun = rallies.findLast(({ start, dropped }) => (
    from < start && start <= now && !(onlyRallies && dropped)));
  if (begun) choose(begun.id);
  const isPlayed = ({ id, start, end, dropped }) => (
    (!dropped || id === edited.current) && start - EARLY_SEC <= now && now < end);
  if (!onlyRallies || rallies.some(isPlayed)) return;
  const next = kept().find((rally) => rally.start > now);
  if (next) goTo(next);
  else {
    video.pause();
    say("That was the last rally");
  }
}

export function toggleOnly() {
  onlyRallies = !onlyRallies;
  $("only").setAttribute("aria-pressed", String(onlyRallies));
  say(onlyRallies ? "Playing only the rallies" : "Playing everything");
}

export function fullScreen() {
  if (!playable) say("There is no video to show");
  else if (document.fullscreenElement) document.exitFullscreen();
  else video.requestFullscreen();
}

export function refuseVideo() {
  video.hidden = true;
  $("problem").hidden = false;
  write($("problem"), `Could not play the video ${pathOf(report.url)}. ` +
    "If it is not there, put it there and reload this page. The list and the timeline work without it.");
}
