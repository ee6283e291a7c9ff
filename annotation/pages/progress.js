// Shows the state of the work: text about the sequence in view, counts, pace, and a finished split.

import { $, make, say } from "../../web/elements.js";
import { clock } from "../../web/time.js";
import { className, doneCount, isLabel, labelledItems, skippedItems, view, work } from "./work.js";

const PACE_MS = 5 * 60000;

export function renderSequence() {
  renderCounts();
  if (!view.current) return;
  const { item, note, seen, pictures } = view.current, canvas = $("picture");
  canvas.className = seen === "1" ? "is-one" : seen === "0" ? "is-zero" : "";
  // A sequence's name would give away that it came back for a second answer.
  const all = work.names.length, place = Math.min(work.order.indexOf(item) + 1, all);
  const title = isLabel(seen) && !item.repeat
    ? `${item.name}: ${className(seen)}` : `Sequence ${place} of ${all}`;
  const odd = seen && !isLabel(seen)
    ? `the table says ${seen}; an answer corrects it` : "";
  $("about").textContent = pictures.length
    ? [title, odd, note].filter(Boolean).join(" · ") : `${item.name}: ${note} · skip it`;
  canvas.setAttribute("aria-label", $("about").textContent);
  const flagged = work.flags.has(item.name);
  $("flag").setAttribute("aria-pressed", String(flagged));
  $("flag").firstChild.textContent = flagged ? "Flagged" : "Flag";
}

// Recent answers per minute; 0 if there are too few to tell.
function paceNow() {
  const recent = work.answers.filter((time) => Date.now() - time < PACE_MS);
  const spanMs = recent.length > 2 ? Math.max(Date.now() - recent[0], 2000) : 0;
  return spanMs ? recent.length / (spanMs / 60000) : 0;
}

const oneCount = () => [...work.labels.values()].filter((label) => label === "1").length;

export function renderCounts() {
  const done = doneCount(), all = work.names.length, ones = oneCount(), pace = paceNow();
  const toWalk = work.order.filter((item) => !item.repeat).length;
  const left = work.walking ? toWalk - work.walked.size : all - done;
  $("done").textContent = work.walking
    ? `${work.walked.size} of ${toWalk} reviewed` : `${done} of ${all} done`;
  document.title = `${work.split}: ${$("done").textContent}`;
  $("bar").value = work.walking ? work.walked.size / (toWalk || 1) : done / (all || 1);
  const rows = [
    ["left", left], [className("1"), ones], [className("0"), done - ones],
    ["per minute", pace ? pace.toFixed(1) : "–"],
    ["time left", pace ? clock((left / pace) * 60) : "–"],
  ];
  const skipped = skippedItems().length;
  if (skipped) rows.push(["skipped", skipped]);
  $("walk-back").hidden = !work.walking || work.order.length === work.all.length;
  $("walk-flagged").hidden = work.flags.size === 0;
  $("walk-flagged").textContent = `Show flagged (${work.flags.size})`;
  $("brief").textContent = [
    $("done").textContent, ...rows.slice(0, 5).map(([what, value]) => `${what} ${value}`),
  ].join(" · ");
  $("numbers").replaceChildren(
    ...rows.flatMap(([what, value]) => [make("dt", what), make("dd", value)]));
}

// A button for something to do next. sequences.js handles the clicks.
function offer(text, what, split = "") {
  const button = make("button", text);
  Object.assign(button.dataset, { offer: what, split });
  return button;
}

export function showFinished() {
  renderCounts();
  const done = doneCount(), all = work.names.length, open = all - done, ones = oneCount();
  $("finished-what").textContent = work.walking
    ? (work.order.length ? $("done").textContent : `There is nothing to review in ${work.split}`)
    : all === 0 ? `There are no sequences in ${work.split} yet`
      : open ? `${work.split}: ${open} left, all skipped` : `${work.split} is finished`;
  $("finished-counts").textContent = all
    ? `${$("done").textContent}: ${ones} ${className("1")}, ${done - ones} ${className("0")}` : "";
  const offers = work.splits.filter((name) => name !== work.split)
    .map((name) => offer(`Go to ${name}`, "split", name));
  if (skippedItems().length) offers.unshift(offer("Show skipped again", "skipped"));
  if (labelledItems().length && !work.walking) {
    offers.unshift(offer("Review the labels", "labelled"));
  }
  $("finished-next").replaceChildren(...offers);
  say($("finished-what").textContent);
  $("finished").focus();
}
