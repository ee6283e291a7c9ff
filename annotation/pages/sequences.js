// The labelling page: its keys and buttons, opening a split, refreshing when the page gets focus.

import { $, make } from "../../web/elements.js";
import { keyOf, showHelp } from "../../web/keys.js";
import { showAgreement } from "./agreement.js";
import { CELL_KEYS, mayLeave, renderCell, toggleCell } from "./cells.js";
import { moveGrid, openGrid, saveGrid, switchView } from "./grid.js";
import { changeSpeed, paint, releaseAll, stepFrame, togglePlaying } from "./pictures.js";
import { renderSequence } from "./progress.js";
import { ask, DOUBLE_MS, enqueue, refuse, tell } from "./requests.js";
import { answer, flag, move, show, skip, takeUp, walk } from "./single.js";
import { undoAnswer } from "./undo.js";
import {
  className, isLabel, labelledItems, labelName, labelOf, nextAfter, openWork, skippedItems,
  takeLabels, view, work,
} from "./work.js";

const SEQUENCE_KEYS = [
  ["s", "skip"], ["z Backspace", "undo"], ["← →", "previous, next"], ["Space", "pause"],
  [", .", "one frame back, forward"], ["- +", "slower, faster"], ["f", "flag for later"],
  ["g", "grid of twelve, and back"], ["1 … 9 0 a b", "in the grid: change that label"],
  ["Enter", "in the grid: save the page"], ["?", "this list"],
];
const SINGLE_ACTIONS = {
  __proto__: null,
  s: skip, z: undoAnswer, Backspace: undoAnswer,
  ArrowLeft: () => move(-1), ArrowRight: () => move(1),
  f: flag, g: switchView, 0: () => answer("0"), 1: () => answer("1"),
};
const GRID_ACTIONS = {
  __proto__: null,
  z: undoAnswer, Backspace: undoAnswer,
  ArrowLeft: () => moveGrid(-1), ArrowRight: () => moveGrid(1),
  g: switchView, Enter: saveGrid,
};
const AT_ONCE = {
  __proto__: null,
  " ": togglePlaying, ",": () => stepFrame(-1), ".": () => stepFrame(1),
  "-": () => changeSpeed(-1), "+": () => changeSpeed(1), "=": () => changeSpeed(1),
  "?": showSequenceHelp,
};

const openSplit = async (split) => openState(await ask("state", { split }));

async function openState(state) {
  const inGrid = view.cells.length > 0, reviewing = state.order === "review";
  openWork(state);
  releaseAll();
  $("title").textContent = reviewing ? "Review" : `${className("1")} or ${className("0")}?`;
  $("split").replaceChildren(...state.splits.map((name) =>
    make("option", name, { value: name, selected: name === state.split })));
  $("last").textContent = reviewing
    ? "Press the same label to keep it, the other to change it." : "";
  history.replaceState(null, "", `?split=${state.split}`);
  $("problems").replaceChildren(...state.problems.map((text) => make("li", text)));
  for (const [id, label] of [["zero", "0"], ["one", "1"]]) {
    $(id).replaceChildren(className(label), make("kbd", label));
  }
  tell("");
  await (inGrid ? openGrid(nextAfter(-1)) : show(nextAfter(-1)));
}

// Until the new split is open, the menu keeps showing the old one: the change may be refused.
function changeSplit(event) {
  const menu = event.target, wanted = menu.value;
  menu.value = work.split;
  menu.blur();
  enqueue(() => mayLeave(wanted) && openSplit(wanted));
}

// Shows what other tabs and programs have changed; runs when the page gets focus.
async function refresh() {
  takeLabels(await ask("state", { split: work.split }));
  const { current, cells } = view;
  if (!current && !cells.length && !work.walking) return show(nextAfter(-1));
  const shown = [current, ...cells].filter((each) => each && !each.item.repeat);
  const changed = shown.filter(({ item, seen }) => labelOf(item) !== seen);
  for (const each of changed) {
    each.seen = labelOf(each.item);
    if (isLabel(each.seen)) each.value = each.seen;
    if (each.face) renderCell(each);
  }
  renderSequence();
  if (!changed.length) return null;
  const kept = changed.map(({ item, seen }) => `${item.name} is ${labelName(seen)}`);
  return refuse(`Changed by another tab or program: ${kept.join(", ")}`);
}

function showSequenceHelp() {
  showHelp([["1", className("1")], ["0", className("0")], ...SEQUENCE_KEYS]);
}

function onSequenceKey(event) {
  const key = keyOf(event);
  if (!key || !work) return;
  if (key in AT_ONCE) AT_ONCE[key]();
  else if (key in SINGLE_ACTIONS || key in GRID_ACTIONS || CELL_KEYS.includes(key)) {
    const page = view.cells;
    if (!event.repeat || (key.startsWith("Arrow") && !page.length)) enqueue(() => act(key, page));
  } else return;
  event.preventDefault();
}

// Decides what a key means when its turn comes. Keys for an earlier page of the grid are dropped.
function act(key, page) {
  const { cells, turnedAt } = view;
  if (page.length ? page !== cells : cells.length) return null;
  // A double press of Enter would save a page that nobody has looked at.
  if (cells.length && key === "Enter" && performance.now() - turnedAt < DOUBLE_MS) return null;
  if (!cells.length) return SINGLE_ACTIONS[key]?.();
  const cell = cells[CELL_KEYS.indexOf(key)];
  return cell ? toggleCell(cell) : GRID_ACTIONS[key]?.();
}

function takeOffer(event) {
  const { offer, split } = event.target.closest("button")?.dataset ?? {};
  if (offer === "split") enqueue(() => openSplit(split));
  if (offer === "skipped") enqueue(() => takeUp(skippedItems()));
  if (offer === "labelled") enqueue(() => walk(labelledItems()));
}

export async function startSequences(state) {
  const clicks = {
    zero: () => answer("0"), one: () => answer("1"), undo: undoAnswer, skip, flag,
    left: () => move(-1), right: () => move(1), "to-grid": switchView,
    "to-agreement": showAgreement, "grid-left": () => moveGrid(-1),
    "grid-right": () => moveGrid(1), "grid-undo": undoAnswer,
    "walk-flagged": () => walk(work.all.filter(({ name }) => work.flags.has(name))),
    "walk-back": () => mayLeave("back") && openSplit(work.split),
  };
  for (const [id, action] of Object.entries(clicks)) {
    $(id).addEventListener("click", () => enqueue(action));
  }
  $("grid-save").addEventListener("click", (event) => {
    const page = view.cells;
    if (event.detail < 2) enqueue(() => act("Enter", page));  // a double click counts once
  });
  $("finished-next").addEventListener("click", takeOffer);
  const atOnce = {
    pause: togglePlaying, slower: () => changeSpeed(-1), faster: () => changeSpeed(1),
    "to-help": showSequenceHelp, "picture-back": () => stepFrame(-1),
    "picture-on": () => stepFrame(1),
  };
  for (const [id, action] of Object.entries(atOnce)) $(id).addEventListener("click", action);
  $("split").addEventListener("change", changeSplit);
  document.addEventListener("keydown", onSequenceKey);
  await openState(state);
  window.addEventListener("focus", () => enqueue(refresh));
  requestAnimationFrame(paint);
}
