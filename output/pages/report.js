// The report: its timeline, keys and buttons, and its start.

import { $, make, say, write } from "../../web/elements.js";
import { freeKeysAfterClicks, keyOf, showHelp } from "../../web/keys.js";
import {
  loadVideo, nowSec, seek, setRate, startPlayer, togglePlay, video,
} from "../../web/player.js";
import { clock, showHours } from "../../web/time.js";
import { line, zoom } from "../../web/timeline.js";
import { startTimeline } from "../../web/timeline_drawing.js";
import { listenToMouse } from "../../web/timeline_mouse.js";
import {
  addRally, change, dragEdge, moveEdge, nudge, restoreDetected, toggleDropped, undo,
} from "./editing.js";
import { choose, render } from "./list.js";
import {
  chooseNear, follow, fullScreen, goTo, jump, noteSeek, refuseVideo, seekBy, seekByFrames,
  toggleOnly,
} from "./playing.js";
import {
  asText, currentRally, edited, END_SEC, find, recall, report, STORE_KEY,
} from "./rallies.js";
import { saveTable } from "./saving.js";

const FIRST_SEC = 60;  // how much the lower timeline shows at first
const KEYS = [
  ["n ↓", "next rally"], ["p b ↑", "previous rally"], ["Space", "play or pause"],
  ["← →", "1 s back or forward"], [", .", "1 frame back or forward"],
  ["m", "play only the rallies"], ["d", "drop or restore the rally"],
  ["[ i", "start the rally here"], ["] o", "end the rally here"], ["a", "add a rally here"],
  ["z", "undo"], ["s", "save rallies.csv"], ["+ −", "zoom the lower timeline"],
  ["f", "full screen"], ["?", "show these keys"],
];
const ACTIONS = {
  n: () => jump(1), ArrowDown: () => jump(1),
  p: () => jump(-1), b: () => jump(-1), ArrowUp: () => jump(-1),
  " ": togglePlay, ArrowLeft: () => seekBy(-1), ArrowRight: () => seekBy(1),
  ",": () => seekByFrames(-1), ".": () => seekByFrames(1), m: toggleOnly,
  d: () => toggleDropped(currentRally()), a: addRally, z: undo, s: saveTable,
  "[": () => moveEdge("start", nowSec()), i: () => moveEdge("start", nowSec()),
  "]": () => moveEdge("end", nowSec()), o: () => moveEdge("end", nowSec()),
  "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2),
  f: fullScreen,
  "?": () => showHelp(KEYS),
};
const REPEATED = ["n", "p", "b", "ArrowDown", "ArrowUp", "ArrowLeft", "ArrowRight", ",", "."];
const WITH_CONTROL = ["z", "s"];
const overview = $("whole");
const lower = $("lower");
const curve = { times: report.times_sec, percent: report.percent, stepSec: report.step_sec };

function onKey(event) {
  const key = keyOf(event, WITH_CONTROL);
  if (line.drag || !Object.hasOwn(ACTIONS, key)) return;
  event.preventDefault();
  if (!event.repeat || REPEATED.includes(key)) ACTIONS[key]();
}

function onListClick(event) {
  const row = event.target.closest("tr"), rally = find(Number(row.dataset.id));
  if (!event.target.closest(".drop")) return goTo(rally);
  choose(rally.id);
  return toggleDropped(rally);
}

function content() {
  const rallies = edited.rallies.map((rally, k) => {
    const chosen = rally.id === edited.current, { start, end, dropped } = rally;
    const kind = dropped ? "dropped" : "kept", edges = chosen && !dropped ? ["start", "end"] : [];
    return { start, end, kind, chosen, edges, label: String(k + 1) };
  });
  return { rallies, draft: null, unknown: report.unknown, curve };
}

function everyFrame() {
  follow();
  write($("play").firstChild, video.paused ? "Play" : "Pause");
}

let textBefore = "";  // the rallies before the mouse dragged an edge

const mouse = {
  edges() {
    const rally = currentRally();
    if (!rally || rally.dropped) return [];
    return ["start", "end"].map((name) => ({ name, sec: rally[name] }));
  },
  onGrab(edge, sec) {
    say("");
    textBefore = asText();
    if (edge) video.pause();
    else seek(sec);
  },
  onDrag(edge, sec) {
    const place = edge ? dragEdge(edge.name, sec) : sec;
    if (!video.seeking) seek(place);
    line.stale = true;
  },
  onDrop(edge, sec) {
    seek(edge ? currentRally()[edge.name] : sec);
    if (edge) change(() => {}, textBefore);
    else chooseNear(sec, false);
  },
};

function listen() {
  document.addEventListener("keydown", onKey);
  freeKeysAfterClicks();
  for (const button of document.querySelectorAll("[data-key]")) {
    button.addEventListener("click", () => ACTIONS[button.dataset.key]());
  }
  for (const edge of ["start", "end"]) {
    $(`${edge}-less`).addEventListener("click", () => nudge(edge, -0.1));
    $(`${edge}-more`).addEventListener("click", () => nudge(edge, 0.1));
  }
  $("rallies").addEventListener("click", onListClick);
  $("detected").addEventListener("click", restoreDetected);
  $("speed").addEventListener("change", () => {
    setRate(Number($("speed").value));
    $("speed").blur();
  });
  video.addEventListener("click", togglePlay);
  video.addEventListener("timeupdate", follow);  // a hidden window draws no frames but must follow
  window.addEventListener("beforeunload", (event) => {
    if (asText() !== edited.saved) event.preventDefault();
  });
  window.addEventListener("storage", ({ key }) => {
    if (key === STORE_KEY) say("The rallies were changed in another window. Reload this page.");
  });
}

function startReport() {
  recall();
  listen();
  showHours(END_SEC);
  $("synthetic").hidden = !report.synthetic;
  $("unknown-key").hidden = report.unknown.length === 0;
  const damage = report.unknown.map((span) => (
    ["unknown stretch", span.map((sec) => clock(sec, 1)).join(" to ")]));
  $("facts").replaceChildren(...[...report.facts, ...damage].flatMap(([what, value]) => (
    [make("dt", what), make("dd", value)])));
  startPlayer(END_SEC, { onSeek: noteSeek, onRefused: refuseVideo, tell: say });
  startTimeline({ part: lower, whole: overview }, END_SEC, FIRST_SEC, { content, everyFrame });
  listenToMouse(mouse);
  render();
  loadVideo(report.url, report.offset_sec);
}

startReport();
