// The grid: pages of twelve sequences, each page saved at once.

import { $, say } from "../../web/elements.js";
import { modelDiffers, noteAnswers, takeConflicts } from "./answers.js";
import { CELL_KEYS, makeCell, mayLeave, renderCell } from "./cells.js";
import { load, prefetch, restart } from "./pictures.js";
import { renderCounts } from "./progress.js";
import { forgetAsked, save, tell } from "./requests.js";
import { show } from "./single.js";
import { nextAfter, nextOf, upcoming, view, work } from "./work.js";

// Opens a page of unlabelled sequences, from `first` on.
export const openGrid = (first) =>
  (first ? openPage([first, ...upcoming(first, CELL_KEYS.length - 1)]) : show(null));

// Opens a page of these items. `values` are unsaved answers by name.
export async function openPage(items, values = new Map()) {
  prefetch(items);
  const loaded = await Promise.all(items.map((item) => load(item.name)));
  $("grid").hidden = false;
  $("single").hidden = true;
  view.current = null;
  forgetAsked();
  view.cells = items.map((item, k) => makeCell(item, loaded[k], k, values.get(item.name)));
  $("cells").replaceChildren(...view.cells.map((cell) => cell.element));
  restart();
  view.cells.forEach(renderCell);
  renderCounts();
  prefetch(upcoming(items.at(-1), CELL_KEYS.length));
}

export async function saveGrid() {
  const page = view.cells, items = page.map(({ item }) => item), depth = view.pagesBefore.length;
  const given = page.filter((cell) => cell.value);
  const changed = given.filter(({ item, value, seen }) =>
    !item.repeat && (value !== seen || work.walking));
  if (changed.length && !await saveLabels(page, changed, depth)) return;
  await saveRepeats(given.filter((cell) => cell.item.repeat), changed.length > 0);
  for (const { item, value } of page) if (!value) item.skipped = true;
  if (!given.length) {
    work.changes.push({ items: [], times: [], values: new Map(), page: items, depth });
  }
  view.pagesBefore.push(items);
  await openGrid(nextOf(items.at(-1)));
  view.turnedAt = performance.now();
}

// Returns whether all were saved; false if another tab or program changed some of them.
async function saveLabels(page, changed, depth) {
  const answers = changed.map(({ item, value, seen }) =>
    ({ sequence: item.name, label: value, seen }));
  const saved = await save("labels", { split: work.split, answers });
  const done = changed.filter(({ item }) => !Object.hasOwn(saved.conflicts, item.name));
  for (const cell of done) {
    work.labels.set(cell.item.name, cell.value);
    cell.seen = cell.value;
  }
  let noted = null;
  if (done.length) {
    noted = noteAnswers(done.map(({ item }) => item), saved.time);
    const change = work.changes.at(-1);
    Object.assign(change, { page: page.map(({ item }) => item), depth });
    for (const { item, value } of page) if (!value) change.values.set(item.name, "");
  }
  if (takeConflicts(saved.conflicts)) return false;
  await noted;
  tellPage(done, new Map(Object.entries(saved.probs)));
  return true;
}

// Undo takes back second answers together with the page, if the page has other answers too.
async function saveRepeats(repeats, withPage) {
  for (const { item, value } of repeats) {
    if (item.answer === value) continue;
    const { time } = await save("repeat", { split: work.split, sequence: item.name, label: value });
    item.answer = value;
    noteAnswers([item], time);
    if (withPage) joinLastChanges();
  }
}

function joinLastChanges() {
  const { items, times, values } = work.changes.pop(), page = work.changes.at(-1);
  page.items.push(...items);
  page.times.push(...times);
  for (const [name, value] of values) page.values.set(name, value);
}

function tellPage(done, probs) {
  const differs = done.filter(({ item, value }) =>
    probs.has(item.name) && modelDiffers(probs.get(item.name), value));
  say(`${done.length} saved`);
  $("last").textContent = `Last page: ${done.length} saved` + (differs.length
    ? `. The model disagrees on ${differs.map(({ item }) => item.name).join(", ")}` : "");
}

export async function moveGrid(by) {
  const { cells, pagesBefore } = view;
  if (by < 0 && !pagesBefore.length) return tell("This is the first page");
  if (!mayLeave(by)) return null;
  view.turnedAt = -Infinity;
  tell("");
  if (by < 0) return openPage(pagesBefore.pop());
  pagesBefore.push(cells.map(({ item }) => item));
  return openGrid(nextOf(cells.at(-1).item));
}

// Switches between one sequence at a time and the grid.
export async function switchView() {
  if (!view.cells.length) {
    tell("");
    view.pagesBefore = [];
    return openGrid(view.current?.item ?? nextAfter(-1));
  }
  if (!mayLeave("g")) return null;
  tell("");
  return show(view.cells[0].item);
}
