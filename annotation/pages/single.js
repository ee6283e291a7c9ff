// One sequence at a time: showing, answering, skipping and flagging it.

import { $, say } from "../../web/elements.js";
import { modelDiffers, noteAnswers, takeConflicts } from "./answers.js";
import { mayLeave } from "./cells.js";
import { drawPicture, load, prefetch, restart } from "./pictures.js";
import { renderSequence, showFinished } from "./progress.js";
import { save, tell } from "./requests.js";
import { className, doneCount, labelOf, nextAfter, nextOf, upcoming, view, work } from "./work.js";

// Shows a sequence; null shows that the split is finished.
export async function show(item) {
  $("grid").hidden = true;
  $("single").hidden = false;
  view.cells = [];
  $("playing").hidden = item === null;
  $("finished").hidden = item !== null;
  if (item === null) {
    view.current = null;
    return showFinished();
  }
  prefetch([item, ...upcoming(item, 2)]);
  const loaded = await load(item.name);
  view.current = { item, seen: labelOf(item), ...loaded };
  restart();
  const canvas = $("picture");
  if (loaded.pictures.length) drawPicture(canvas, loaded.pictures[0]);
  else canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
  canvas.dataset.frame = "";
  canvas.dataset.sequence = item.name;
  return renderSequence();
}

export async function answer(label) {
  if (!view.current) return;
  const { item, seen, pictures } = view.current, { name } = item;
  if (!pictures.length) throw new Error("This sequence cannot be shown: press s to skip it");
  let saved;
  if (item.repeat) {
    saved = await save("repeat", { split: work.split, sequence: name, label });
    item.answer = label;
  } else {
    const answers = [{ sequence: name, label, seen }];
    saved = await save("labels", { split: work.split, answers });
    if (takeConflicts(saved.conflicts)) return;
    work.labels.set(name, label);
  }
  noteAnswers([item], saved.time);
  tellLast(label, Object.values(saved.probs ?? {}));
  await show(nextOf(item));
}

function tellLast(label, probs) {
  say(`${className(label)} saved, ${work.names.length - doneCount()} left`);
  const verdicts = probs.map((prob) => {
    const differs = modelDiffers(prob, label);
    return `. The model ${differs ? "disagrees" : "agrees"} (${className("1")} ${prob.toFixed(2)})${
      differs ? "; ← to look again" : ""}`;
  });
  $("last").textContent = `Last: ${className(label)}${verdicts.join("")}`;
}

export async function skip() {
  const { current } = view;
  if (!current) return;
  tell("");
  current.item.skipped = true;
  work.changes.push({ skipped: current.item });
  await show(nextOf(current.item));
}

export async function move(by) {
  const at = view.current ? work.order.indexOf(view.current.item) + by : work.order.length - 1;
  if (!work.order[at]) return tell(`This is the ${by < 0 ? "first" : "last"} sequence`);
  tell("");
  return show(work.order[at]);
}

export async function flag() {
  if (!view.current) return;
  const { name } = view.current.item, flagged = !work.flags.has(name);
  await save("flag", { split: work.split, sequence: name, flagged });
  if (flagged) work.flags.add(name);
  else work.flags.delete(name);
  tell("");
  renderSequence();
}

// Goes through these items one after the other, whether labelled or not.
export function walk(items) {
  if (!mayLeave("walk")) return null;
  work.order = items;
  work.walking = true;
  work.walked.clear();
  work.changes = [];
  return show(nextAfter(-1));
}

export function takeUp(skipped) {
  for (const item of skipped) item.skipped = false;
  return work.walking ? walk(skipped) : show(nextAfter(-1));
}
