"use strict";
// Keys, buttons, and the beginning.

const KEYS = [
  ["n ↓", "next rally"], ["p ↑", "rally before"], ["Space", "play, pause"],
  ["← →", "a second back, on"], [", .", "a frame back, on"], ["m", "play only the rallies"],
  ["d", "drop or restore the rally"], ["[ i", "it starts here"], ["] o", "it ends here"],
  ["a", "add a rally here"], ["z", "undo"], ["s", "save rallies.csv"],
  ["+ −", "zoom the lower strip"], ["f", "full screen"], ["?", "these keys"],
];
const ACTIONS = {
  n: () => jump(1), ArrowDown: () => jump(1), p: () => jump(-1), ArrowUp: () => jump(-1),
  " ": togglePlay, ArrowLeft: () => step(-1), ArrowRight: () => step(1),
  ",": () => frameStep(-1), ".": () => frameStep(1), m: toggleOnly,
  d: () => toggleDropped(find(current)), a: addRally, z: undo, s: save,
  "[": () => moveEdge("start", nowSec()), i: () => moveEdge("start", nowSec()),
  "]": () => moveEdge("end", nowSec()), o: () => moveEdge("end", nowSec()),
  "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2),
  f: fullScreen,
  "?": () => $("help").showModal(),
};
const REPEATED = ["n", "p", "ArrowDown", "ArrowUp", "ArrowLeft", "ArrowRight", ",", "."];

function onKey(event) {
  const control = event.target.closest?.("button, summary, select");
  if (drag || document.querySelector("dialog[open]") || event.isComposing) return;
  if (control && ([" ", "Enter"].includes(event.key) || control.matches("select"))) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const typed = event.getModifierState("AltGraph");  // [ and ] on many keyboards
  const command = (event.ctrlKey || event.metaKey) && !event.altKey && ["z", "s"].includes(key);
  if ((event.ctrlKey || event.metaKey || event.altKey) && !typed && !command) return;
  if (!Object.hasOwn(ACTIONS, key)) return;
  event.preventDefault();
  if (!event.repeat || REPEATED.includes(key)) ACTIONS[key]();
}

function listen() {
  document.addEventListener("keydown", onKey);
  for (const button of document.querySelectorAll("[data-key]")) {
    button.onclick = () => ACTIONS[button.dataset.key]();
  }
  for (const edge of ["start", "end"]) {
    $(`${edge}-less`).onclick = () => nudge(edge, -0.1);
    $(`${edge}-more`).onclick = () => nudge(edge, 0.1);
  }
  $("detected").onclick = restoreDetected;
  $("speed").onchange = () => {
    video.playbackRate = video.defaultPlaybackRate = Number($("speed").value);
    $("speed").blur();
  };
  // A button clicked with the mouse gives the keyboard back, so that Space plays.
  document.addEventListener("click", (event) => {
    if (event.detail > 0) event.target.closest?.("button")?.blur();
  }, true);
  for (const strip of [whole, lower]) {
    strip.onpointerdown = grab;
    strip.onpointermove = pull;
    strip.onpointerup = strip.onpointercancel = letGo;
    new ResizeObserver(() => { stale = true; }).observe(strip);
  }
  lower.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(event.deltaY / 500), toSec(lower, event.offsetX));
  }, { passive: false });
  matchMedia("(prefers-color-scheme: light)").addEventListener("change", readLook);
  window.addEventListener("beforeunload", (event) => {
    if (asText() !== saved) event.preventDefault();
  });
  window.addEventListener("storage", (event) => {
    if (event.key === KEY) tell("The rallies were changed in another window: load this page again");
  });
}

const make = (tag, textContent) => Object.assign(document.createElement(tag), { textContent });

function start() {
  recall();
  listen();
  readLook();
  $("synthetic").hidden = !report.synthetic;
  $("unknown-key").hidden = report.unknown.length === 0;
  whole.setAttribute("aria-valuemax", END_SEC.toFixed(1));
  const damage = report.unknown.map(([from, to]) => ["damaged", `${clock(from)} to ${clock(to)}`]);
  $("facts").replaceChildren(...[...report.facts, ...damage].flatMap(([what, value]) => (
    [make("dt", what), make("dd", value)])));
  $("keys-list").replaceChildren(...KEYS.map(([names, what]) => {
    const item = make("li", "");
    item.append(...names.split(" ").map((name) => make("kbd", name)), what);
    return item;
  }));
  render();
  startVideo();
  requestAnimationFrame(draw);
}

start();
