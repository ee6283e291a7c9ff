// The marks and proposals of a match: which one is selected, and the list that shows them all.

import { $, make, scrollToRow } from "../../web/elements.js";
import { clock } from "../../web/time.js";
import { line } from "../../web/timeline.js";

export const match = {  // plus what the server answers to /match
  marks: [],
  proposals: [],
  draft: null,    // start of the rally whose end is not marked yet
  chosen: null,   // { mark, edge: "start" | "end" | "", proposal }
  dragged: null,  // the same, plus the sec to which the mouse drags the edge
  changes: [],    // { time, proposals }, for Undo
};

export const same = (one, other) => one?.[0] === other[0] && one?.[1] === other[1];
export const edgeSec = ({ mark, edge }) => mark[edge === "start" ? 0 : 1];
export const withEdge = ({ mark, edge }, sec) =>
  (edge === "start" ? [sec, mark[1]] : [mark[0], sec]);
export const without = (mark) => (marks) => marks.filter((other) => !same(other, mark));

export function everyMark() {
  const all = match.marks.map((mark) => ({ mark, proposal: false }));
  all.push(...match.proposals.map((mark) => ({ mark, proposal: true })));
  return all.toSorted((one, other) => one.mark[0] - other.mark[0]);
}

export function chooseMark(mark, edge, proposal = false) {
  match.chosen = { mark, edge, proposal };
  renderMatch();
}

// A row of the list: a button to go there and one to delete it. match.js handles the clicks.
function makeListItem({ mark, proposal }, k) {
  const [start, end] = mark, item = make("li", "");
  const text = `${clock(start, 2)} – ${clock(end, 2)}  ${(end - start).toFixed(1)} s`;
  const go = make("button", proposal ? `${text} ?` : text, { className: "go" });
  const deleteButton = make("button", "✕");
  if (proposal) go.setAttribute("aria-label", `${text}, proposed`);
  if (same(match.chosen?.mark, mark)) go.classList.add("chosen");
  if (proposal) go.classList.add("proposal");
  deleteButton.setAttribute("aria-label", `Delete rally ${k + 1}`);
  item.append(go, deleteButton);
  return item;
}

export function renderMatch() {
  const count = match.marks.length, total = match.marks.reduce((sum, [s, e]) => sum + e - s, 0);
  const rallies = count === 1 ? "rally" : "rallies";
  $("match-done").textContent = `${count} ${rallies}, ${clock(total)} in all`;
  const percent = ((100 * total) / match.end_sec).toFixed(1);
  const folders = match.table.split(/(?<=[/\\])/).flatMap((name) => [name, make("wbr", "")]);
  $("match-time").replaceChildren(`${percent} % of ${clock(match.end_sec)}; saved in `, ...folders);
  $("proposal-tools").hidden = match.proposals.length === 0;
  const proposals = match.proposals.length;
  $("confirm-all").textContent = proposals === 1
    ? "Confirm the proposal" : `Confirm all ${proposals} proposals`;
  $("confirm").hidden = !match.chosen?.proposal;
  $("begin").firstChild.textContent = match.draft === null
    ? "Rally starts" : `Started at ${clock(match.draft, 2)}`;
  const list = $("rallies");
  list.replaceChildren(...everyMark().map(makeListItem));
  const chosen = list.querySelector(".chosen");
  if (chosen) scrollToRow(list, chosen.parentElement);
  line.stale = true;
}
