"use strict";
// The rallies: what they are, how they change, what is kept of that.

const $ = (id) => document.getElementById(id);
const report = JSON.parse($("data").textContent);
const SHORTEST_SEC = 0.1;
const ADDED_SEC = 5;  // how long an added rally is before its edges are set
const NEAR_SEC = 10;  // so far from it the playhead may go without losing the current rally
const END_SEC = report.duration_sec;
const KEY = `rallies ${report.name} ${report.key}`;
const CHOOSE = "Choose a rally first: with n, or in the list";
const DETECTED = JSON.stringify(report.rallies.map(([start, end, confidence], k) => (
  { id: k + 1, start, end, confidence, dropped: false })));

let rallies = JSON.parse(DETECTED);  // in order of start; those not dropped never overlap
let saved = DETECTED;                // as they were written last
let current = null;                  // id of the rally that keys and buttons act on
let stored = true;                   // whether the browser keeps changes
const past = [];                     // what undo goes back to

const rounded = (sec) => Math.round(sec * 1000) / 1000;
const within = (sec, from, to) => Math.min(Math.max(sec, from), to);
const asText = () => JSON.stringify(rallies);
const find = (id) => rallies.find((rally) => rally.id === id);
const kept = () => rallies.filter((rally) => !rally.dropped);
const nameOf = (rally) => `Rally ${rallies.indexOf(rally) + 1}`;

function clock(sec, digits = 1) {
  const whole = Math.round(Math.max(0, sec) * 10 ** digits) / 10 ** digits;
  const seconds = (whole % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  const minutes = Math.floor(whole / 60);
  if (END_SEC < 3600) return `${minutes}:${seconds}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${seconds}`;
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const tell = (text) => write($("said"), text);

function change(edit, before = asText()) {
  edit();
  rallies.sort((one, other) => one.start - other.start || one.id - other.id);
  if (asText() !== before) {
    past.push(before);
    keep();
  }
  render();
}

function undo() {
  if (!past.length) return tell("There is nothing to undo");
  rallies = JSON.parse(past.pop());
  tell("");
  keep();
  return render();
}

// At every change, so that a reload or a crash loses nothing.
function keep() {
  try {
    if (asText() === DETECTED && saved === DETECTED) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, JSON.stringify({ rallies, saved }));
    stored = true;
  } catch {  // the store is full, or the browser gives files none: renderChanges says so
    stored = false;
  }
}

function recall() {
  try {
    const found = JSON.parse(localStorage.getItem(KEY));
    if (found) ({ rallies, saved } = found);
  } catch {
    stored = false;
  }
}

// Where an edge comes to lie that should be at sec: it stops at the rallies beside it.
function placeFor(rally, edge, sec) {
  const others = kept().filter((other) => other !== rally);
  if (edge === "start") {
    const ends = others.map((other) => other.end).filter((end) => end <= rally.start);
    return rounded(Math.max(0, ...ends, Math.min(sec, rally.end - SHORTEST_SEC)));
  }
  const starts = others.map((other) => other.start).filter((start) => start >= rally.end);
  return rounded(Math.min(END_SEC, ...starts, Math.max(sec, rally.start + SHORTEST_SEC)));
}

function moveEdge(edge, sec) {
  const rally = find(current);
  if (!rally) return tell(CHOOSE);
  if (rally.dropped) return tell(`${nameOf(rally)} is dropped: restore it first, with d`);
  const reversed = edge === "start" ? sec >= rally.end : sec <= rally.start;
  if (reversed) return tell(`${nameOf(rally)} must start before it ends`);
  const place = placeFor(rally, edge, sec);
  tell(Math.abs(place - sec) > 0.002 ? "That is as far as this edge goes" : "");
  return change(() => { rally[edge] = place; });
}

function nudge(edge, by) {
  moveEdge(edge, find(current)[edge] + by);
  video.pause();
  seek(find(current)[edge]);
}

function toggleDropped(rally) {
  if (!rally) return tell(CHOOSE);
  const over = kept().find((other) => other.start < rally.end && rally.start < other.end);
  if (rally.dropped && over) {
    return tell(`${nameOf(over)} reaches into this one now: shorten it, then restore this one`);
  }
  tell("");
  return change(() => { rally.dropped = !rally.dropped; });
}

function addRally() {
  const start = rounded(nowSec());
  const over = kept().find((rally) => rally.start <= start && start < rally.end);
  if (over) return tell(`${nameOf(over)} is there already`);
  const starts = kept().map((rally) => rally.start).filter((sec) => sec > start);
  const end = rounded(Math.min(start + ADDED_SEC, END_SEC, ...starts));
  if (end - start < SHORTEST_SEC) return tell("There is no room for a rally here");
  current = Math.max(report.rallies.length, ...rallies.map((rally) => rally.id)) + 1;
  tell("Added. Go on to where it ends, then press ]");
  return change(() => rallies.push({ id: current, start, end, confidence: null, dropped: false }));
}

function restoreDetected() {
  change(() => { rallies = JSON.parse(DETECTED); });
  tell("These are the detected rallies again. Undo brings your changes back.");
}

// --- saving

function asCsv() {
  const lines = kept().map(({ start, end, confidence }) => (
    [...[start, end, end - start].map((sec) => sec.toFixed(3)), confidence ?? ""].join(",")));
  return ["start_sec,end_sec,duration_sec,confidence", ...lines, ""].join("\n");
}

// An address of a file as its reader would write it.
function pathOf(address) {
  const { href, pathname } = new URL(address, location.href);
  try {
    const path = decodeURIComponent(pathname);
    return href.startsWith("file:///") ? path.replace(/^\/(?=[A-Za-z]:)/, "") : decodeURI(href);
  } catch {  // the name's bytes are no UTF-8
    return href;
  }
}

async function save() {
  const text = asCsv(), now = asText(), folder = pathOf(".");
  if (window.showSaveFilePicker) {
    tell(`Put it over the rallies.csv in ${folder}`);
    try {
      const types = [{ description: "Table", accept: { "text/csv": [".csv"] } }];
      const handle = await window.showSaveFilePicker({ suggestedName: "rallies.csv", types });
      const file = await handle.createWritable();
      await file.write(text);
      await file.close();
      return noteSaved(now, `Saved: it should now be the rallies.csv in ${folder}`);
    } catch (error) {
      if (error.name === "AbortError") return tell("Not saved");
      if (error.name !== "SecurityError") return tell(`NOT SAVED: ${error.message}`);
    }
  }
  const link = Object.assign(document.createElement("a"), { download: "rallies.csv" });
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  noteSaved(now, `rallies.csv is in your downloads: move it over the old one in ${folder}`);
}

function noteSaved(text, words) {
  saved = text;
  keep();
  render();
  tell(words);
}

// --- what the page shows of them

const rows = new Map();  // id -> its row

function makeRow(id) {
  const row = document.createElement("tr");
  const cells = Array.from({ length: 7 }, () => row.appendChild(document.createElement("td")));
  const [go, drop] = [cells[0], cells[6]].map((cell) => (
    cell.appendChild(document.createElement("button"))));
  cells[5].className = "state";
  row.onclick = () => goTo(find(id));
  drop.onclick = (event) => {
    event.stopPropagation();
    choose(id);
    toggleDropped(find(id));
  };
  return { row, cells, go, drop };
}

function stateOf({ id, start, end, dropped }) {
  const found = report.rallies[id - 1];
  if (dropped) return "dropped";
  if (!found) return "added";
  return found[0] === start && found[1] === end ? "" : "moved";
}

function renderRow(rally, k) {
  if (!rows.has(rally.id)) rows.set(rally.id, makeRow(rally.id));
  const { row, cells, go, drop } = rows.get(rally.id), { start, end, confidence } = rally;
  const chosen = rally.id === current, state = stateOf(rally);
  const tenths = END_SEC < 3600 ? 1 : 0;  // the panel above the list has them of all
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
  go.tabIndex = drop.tabIndex = chosen || (k === 0 && !find(current)) ? 0 : -1;
  return row;
}

function render() {
  const list = rallies.map(renderRow), shown = $("rallies").children;
  if (list.length !== shown.length || list.some((row, k) => row !== shown[k])) {
    $("rallies").replaceChildren(...list);
  }
  $("none").hidden = rallies.length > 0;
  const count = kept().length, total = kept().reduce((sum, { start, end }) => sum + end - start, 0);
  document.title = `${report.name}: ${count} ${count === 1 ? "rally" : "rallies"}, ${
    Math.round((100 * total) / END_SEC)} % of ${clock(END_SEC, 0)} in play`;
  write($("title"), document.title);
  renderCurrent();
  renderChanges();
  stale = true;
}

function renderCurrent() {
  const rally = find(current);
  write($("current-title"), !rally ? "No rally chosen" : `${nameOf(rally)} of ${rallies.length}, ${
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
  const now = asText(), unsaved = now !== saved;
  $("undo").disabled = past.length === 0;
  $("save").classList.toggle("needed", unsaved);
  $("changes").hidden = now === DETECTED && saved === DETECTED;
  $("detected").hidden = now === DETECTED;
  write($("changes-text"), !unsaved ? "Your changes are in the rallies.csv that you saved."
    : stored ? "Not saved yet. Your changes are kept in this browser: a reload does not lose them."
      : "Not saved yet, and this browser keeps nothing for this page: save before you close it.");
}

function choose(id) {
  if (current === id) return;
  current = id;
  const inList = $("rallies").contains(document.activeElement), box = $("scroll");
  render();
  if (!rows.has(id)) return;
  const { row, go } = rows.get(id), away = row.offsetTop - box.scrollTop, height = box.clientHeight;
  if (away < 60 || away > height - 60) box.scrollTop += away - height / 2;
  if (inList) go.focus({ preventScroll: true });
}
