// Undo: the last answer, skip or page of this visit, or what was answered before it.

import { $, say } from "../../web/elements.js";
import { mayLeave } from "./cells.js";
import { openPage } from "./grid.js";
import { ask, confirmed, save, tell } from "./requests.js";
import { show } from "./single.js";
import { itemNamed, takeLabels, view, work } from "./work.js";

export async function undoAnswer() {
  if (!mayLeave("z")) return null;
  view.turnedAt = -Infinity;
  tell("");
  const change = work.changes.pop();
  if (!change) return undoEarlier();
  if (change.skipped) {
    change.skipped.skipped = false;
    return show(change.skipped);
  }
  try {
    for (const time of change.times) {
      const left = await takeChanges(await save("undo", { split: work.split, time }));
      for (const name of left) change.values.delete(name);
    }
  } catch (error) {
    work.changes.push(change);
    throw error;
  }
  for (const item of change.items) {
    if (item.repeat) item.answer = null;
    else work.walked.delete(item.name);
    work.answers.pop();
  }
  if (!change.page) return show(change.items[0]);
  for (const item of change.page) item.skipped = false;
  view.pagesBefore.length = Math.min(change.depth, view.pagesBefore.length);
  return openPage(change.page, change.values);
}

// Of an earlier session, or of another tab: told first, done when the key is pressed again.
async function undoEarlier() {
  const { time, sequences } = await ask("last", { split: work.split });
  if (!time) return tell("There is nothing to undo");
  if (!confirmed(`undo ${time}`)) {
    const what = sequences.length > 3 ? `${sequences.length} sequences` : sequences.join(", ");
    return tell(`That would take back what was answered before you opened this page: ${what}, ${
      new Date(time).toLocaleString()}. Press z again to do it.`);
  }
  await takeChanges(await save("undo", { split: work.split, time }));
  const item = itemNamed(sequences[0]);
  return item ? show(item) : null;
}

// Shows what an undo has changed, and returns the names of those that it had to leave.
async function takeChanges({ changes }) {
  const left = changes.filter(({ done }) => !done).map(({ sequence }) => sequence);
  for (const { sequence, label } of changes) {
    if (label) work.labels.set(sequence, label);
    else work.labels.delete(sequence);
  }
  if (!changes.length) takeLabels(await ask("state", { split: work.split }));
  const what = changes.length === 1 ? changes[0].sequence : `${changes.length} answers`;
  tell(left.length ? `Changed elsewhere since, and left as it is: ${left.join(", ")}`
    : changes.length ? `Undone: ${what}` : "That has been undone already");
  say($("alert").textContent);
  $("last").textContent = "";
  return left;
}
