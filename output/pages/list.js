// Shows the rallies: the list, the current one, and whether they are saved.

import { $, make, scrollToRow, write } from "../../web/elements.js";
import { clock } from "../../web/time.js";
import { line } from "../../web/timeline.js";
import {
  asText, currentRally, DETECTED, edited, END_SEC, kept, rallyName, report,
} from "./rallies.js";

const rows = new Map();  // id -> its row

function makeRow(id) {
  const row = make("tr", "");
  const cells = Array.from({ length: 7 }, () => row.appendChild(make("td", "")));
  const go = cells[0].appendChild(make("button", ""));
  const drop = cells[6].appendChild(make("button", "", { className: "drop" }));
  row.dataset.id = id;
  cells[5].className = "state";
  return { row, cells, go, drop };
}

function stateOf({ id, start, end, dropped }) {
  const detected = report.rallies[id - 1];
  if (dropped) return "dropped";
  if (!detected) return "added";
  return detected[0] === start && detected[1] === end ? "" : "moved";
}

function renderRow(rally, k) {
  if (!rows.has(rally.id)) rows.set(rally.id, makeRow(rally.id));
  const { row, cells, go, drop } = rows.get(rally.id), { start, end, confidence } = rally;
  const chosen = rally.id === edited.current, state = stateOf(rally);
  const tenths = END_SEC < 3600 ? 1 : 0;  // no room beside hours; the panel above the list has them
  const sure = confidence === null ? "–" : `${Math.round(100 * confidence)} %`;
  const texts = [clock(start, tenths), clock(end, tenths), (end - start).toFixed(1), sure, state];
  texts.forEach((text, column) => write(cells[column + 1], text));
  write(go, String(k + 1));
  write(drop, rally.dropped ? "↺" : "✕");
  go.setAttribute("aria-label", `Play rally ${k + 1}${state && `, ${state}`}`);
  drop.title = `${rally.dropped ? "Restore" : "Drop"} rally ${k + 1}`;
  drop.setAttribute("aria-label", drop.title);
  row.className = `${rally.dropped ? "dropped" : ""} ${chosen ? "current" : ""}`;
  go.setAttribute("aria-current", String(chosen));
  go.tabIndex = drop.tabIndex = chosen || (k === 0 && !currentRally()) ? 0 : -1;
  return row;
}

export function render() {
  const list = edited.rallies.map(renderRow), shown = $("rallies").children;
  if (list.length !== shown.length || list.some((row, k) => row !== shown[k])) {
    $("rallies").replaceChildren(...list);
  }
  $("none").hidden = list.length > 0;
  const count = kept().length, total = kept().reduce((sum, { start, end }) => sum + end - start, 0);
  document.title = `${report.name}: ${count} ${count === 1 ? "rally" : "rallies"}, ${
    Math.round((100 * total) / END_SEC)} % of ${clock(END_SEC)} in play`;
  write($("title"), document.title);
  renderCurrent();
  renderChanges();
  line.stale = true;
}

export function renderCurrent() {
  const rally = currentRally(), all = edited.rallies.length;
  write($("current-title"), !rally ? "No rally selected" : `${rallyName(rally)} of ${all}, ${
    (rally.end - rally.start).toFixed(1)} s${rally.dropped ? ", dropped" : ""}`);
  for (const edge of ["start", "end"]) {
    write($(edge), rally ? clock(rally[edge], 2) : "–");
    for (const what of ["less", "more", "here"]) {
      $(`${edge}-${what}`).disabled = !rally || rally.dropped;
    }
  }
  write($("drop-text"), rally?.dropped ? "Restore" : "Drop");
  $("drop").disabled = !rally;
}

function renderChanges() {
  const now = asText(), { past, saved, stored } = edited, unsaved = now !== saved;
  $("undo").disabled = past.length === 0;
  $("save").classList.toggle("needed", unsaved);
  $("changes").hidden = now === DETECTED && saved === DETECTED;
  $("detected").hidden = now === DETECTED;
  write($("changes-text"), !unsaved ? "Your changes are in the rallies.csv that you saved."
    : stored ? "Not saved yet. This browser keeps your changes, even if you reload the page."
      : "Not saved yet, and this browser cannot keep your changes. Save before you leave.");
}

export function choose(id) {
  if (edited.current === id) return;
  edited.current = id;
  const inList = $("rallies").contains(document.activeElement);
  render();
  if (!rows.has(id)) return;
  const { row, go } = rows.get(id);
  scrollToRow($("scroll"), row);
  if (inList) go.focus({ preventScroll: true });
}
