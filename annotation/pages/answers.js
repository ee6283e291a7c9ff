// What happens after an answer: it is noted for Undo, conflicts with other changes are shown, and
// now and then a labelled sequence comes back for a second answer.

import { CELL_KEYS, renderCell } from "./cells.js";
import { renderSequence } from "./progress.js";
import { ask, forgetAsked, refuse, tell } from "./requests.js";
import { isLabel, isOpen, labelName, labelOf, upcoming, view, work } from "./work.js";

// Shows labels that another tab or program has changed; those are kept. Returns whether any.
export function takeConflicts(conflicts) {
  const labels = new Map(Object.entries(conflicts)), { cells, current } = view;
  if (!labels.size) return false;
  for (const [name, label] of labels) work.labels.set(name, label);
  for (const shown of [current, ...cells]) {
    if (!shown || !labels.has(shown.item.name)) continue;
    shown.seen = labels.get(shown.item.name);
    if (isLabel(shown.seen)) shown.value = shown.seen;
  }
  cells.forEach(renderCell);
  renderSequence();
  const kept = [...labels].map(([name, label]) => {
    const cell = cells.find(({ item }) => item.name === name);
    return `${cell ? `number ${CELL_KEYS[cell.k]}, ` : ""}${name} is ${labelName(label)}`;
  });
  refuse(`NOT SAVED, because another tab or program answered meanwhile: ${kept.join("; ")}. ` +
    `Answer again to overwrite.${cells.length ? " All others are saved." : ""}`);
  return true;
}

// Resolves once a sequence for a second answer, has been inserted, if one is due.
export async function noteAnswers(items, time) {
  tell("");
  forgetAsked();
  const values = new Map(items.map((item) => [item.name, labelOf(item)]));
  work.changes.push({ items, times: [time], values });
  let due = false;
  for (const item of items) {
    work.answers.push(Date.now());
    item.skipped = false;
    if (!item.repeat && work.order.includes(item)) work.walked.add(item.name);
    const place = work.answers.length % work.repeat_every;
    due ||= place === work.repeatAt;
    if (place === 0) work.repeatAt = Math.floor(Math.random() * work.repeat_every);
  }
  if (due) await bringBack();
}

// Puts a labelled sequence a few places ahead, as if it were new; its label stays as it is.
async function bringBack() {
  const { split, order } = work, { current, cells } = view;
  if (work.walking || order.some((item) => item.repeat && isOpen(item))) return;
  const { sequence } = await ask("repeat", { split }).catch(() => ({ sequence: null }));
  if (!sequence || work.order !== order || work.walking) return;
  const shown = current?.item ?? cells.at(-1)?.item ?? order[0], at = upcoming(shown, 3).at(-1);
  const place = at ? order.indexOf(at) : order.length;
  order.splice(place, 0, { name: sequence, repeat: true, answer: null, skipped: false });
}

// Whether the model would give the other label than a person did.
export const modelDiffers = (prob, label) => (prob > 0.5 ? "1" : "0") !== label;
