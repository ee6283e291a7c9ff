// The rallies, proposals and unknown stretches of a match: which one is selected, and the list that
// shows them all. An item is { kind, mark }: a key of match.marks, and [start, end].

import { $, make, scrollToRow } from "../../web/elements.js";
import { clock } from "../../web/time.js";
import { line } from "../../web/timeline.js";

export const match = {  // plus what the server answers to /match
  marks: { rally: [], proposal: [], unknown: [] },
  draft: null,    // { kind, start } of the mark whose end is not marked yet
  chosen: null,   // { kind, mark, edge: "start" | "end" | "" }
  dragged: null,  // the same, plus the sec to which the mouse drags the edge
  changes: [],    // { time, proposals }, for Undo
};

export const NAMES = { rally: "rally", proposal: "proposed rally", unknown: "unknown stretch" };

export const same = (one, other) => one?.[0] === other[0] && one?.[1] === other[1];
export const sameItem = (one, other) => one?.kind === other.kind && same(one.mark, other.mark);
export const edgeSec = ({ mark, edge }) => mark[edge === "start" ? 0 : 1];
export const withEdge = ({ mark, edge }, sec) =>
  (edge === "start" ? [sec, mark[1]] : [mark[0], sec]);
export const without = (mark) => (marks) => marks.filter((other) => !same(other, mark));

export function everyMark() {
  const all = Object.entries(match.marks)
    .flatMap(([kind, marks]) => marks.map((mark) => ({ kind, mark })));
  return all.toSorted((one, other) => one.mark[0] - other.mark[0]);
}

// The parts of the spans outside the holes. What a rally covers is known. The table keeps the whole
// stretch, and ground_truth.py cuts it in the same way.
export function outside(spans, holes) {
  return spans.flatMap(([first, end]) => {
    const parts = [];
    let start = first;
    for (const [from, to] of holes.toSorted((one, other) => one[0] - other[0])) {
      if (to > start && from < end) {
        parts.push([start, from]);
        start = to;
      }
    }
    return [...parts, [start, end]].filter(([from, to]) => to - from > 0.0005);
  });
}

export function chooseMark({ kind, mark }, edge) {
  match.chosen = { kind, mark, edge };
  renderMatch();
}

// A row of the list: a button to go there and one to delete it. match.js handles the clicks.
function makeListItem(item) {
  const { kind, mark: [start, end] } = item, row = make("li", "");
  const text = `${clock(start, 2)} – ${clock(end, 2)}  ${(end - start).toFixed(1)}\u00a0s`;
  const more = { rally: "", proposal: "\u00a0?", unknown: " not\u00a0known" }[kind];
  const go = make("button", text + more, { className: `go ${kind}` });
  const deleteButton = make("button", "✕");
  if (kind === "proposal") go.setAttribute("aria-label", `${text}, proposed`);
  if (sameItem(match.chosen, item)) go.classList.add("chosen");
  deleteButton.setAttribute("aria-label", `Delete the ${NAMES[kind]} at ${clock(start, 2)}`);
  row.append(go, deleteButton);
  return row;
}

const lengthOf = (spans) => spans.reduce((sum, [start, end]) => sum + end - start, 0);

export function renderMatch() {
  const { rally, proposal, unknown } = match.marks, count = rally.length, total = lengthOf(rally);
  const unknownSec = lengthOf(outside(unknown, rally));
  const rallies = count === 1 ? "rally" : "rallies";
  $("match-done").textContent = `${count} ${rallies}, ${clock(total)} in all`;
  const percent = ((100 * total) / match.end_sec).toFixed(1);
  const folders = match.table.split(/(?<=[/\\])/).flatMap((name) => [name, make("wbr", "")]);
  const share = `${percent} % of ${clock(match.end_sec)}; `;
  const notKnown = unknownSec ? `${unknownSec.toFixed(1)} s unknown; ` : "";
  $("match-time").replaceChildren(`${share}${notKnown}saved in `, ...folders);
  $("proposal-tools").hidden = proposal.length === 0;
  $("confirm-all").textContent = proposal.length === 1
    ? "Confirm the proposal" : `Confirm all ${proposal.length} proposals`;
  $("confirm").hidden = match.chosen?.kind !== "proposal";
  const { kind, start } = match.draft ?? {};
  $("begin").firstChild.textContent = kind === "rally"
    ? `Started at ${clock(start, 2)}` : "Rally starts";
  $("unknown").firstChild.textContent = kind === "unknown"
    ? `Unknown ends (from ${clock(start, 2)})` : "Unknown starts";
  const list = $("rallies");
  list.replaceChildren(...everyMark().map(makeListItem));
  const chosen = list.querySelector(".chosen");
  if (chosen) scrollToRow(list, chosen.parentElement);
  line.stale = true;
}
