// Undo: takes back the last answer, skip or page of this visit, then answers from before this visit.

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

// Answers of an earlier visit or another tab: shows what would be undone, and asks to repeat.
async function undoEarlier() {
  const { time, sequences } = await ask("last", { split: work.split });
  if (!time) return tell("There is nothing to undo");
  if (!confirmed(`undo ${time}`)) {
    const what = sequences.length > 3 ? `${sequences.length} sequences` : sequences.join(", ");
    return tell(`This would undo answers from before you opened this page: ${what}, ${
      new Date(time).toLocaleString()}. Press z again to confirm.`);
  }
  await takeChanges(await save("undo", { split: work.split, time }));
  const item = itemNamed(sequences[0]);
  return item ? show(item) : null;
}

// Shows what an undo has changed, and returns the names of the sequences that it left unchanged.
async function takeChanges({ changes }) {
  const left = changes.filter(({ done }) => !done).map(({ sequence }) => sequence);
  for (const { sequence, label } of changes) {
    if (label) work.labels.set(sequence, label);
    else work.labels.delete(sequence);
  }
  if (!changes.length) takeLabels(await ask("state", { split: work.split }));
  const what = changes.length === 1 ? changes[0].sequence : `${changes.length} answers`;
  tell(left.length ? `Not undone, because changed elsewhere since: ${left.join(", ")}`
    : changes.length ? `Undone: ${what}` : "This was undone already");
  say($("alert").textContent);
  $("last").textContent = "";
  return left;
}
