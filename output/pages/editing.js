// Edits the rallies: moves their edges, drops, restores and adds them, and undoes it all.

import { say } from "../../web/elements.js";
import { nowSec, seek, video } from "../../web/player.js";
import { rounded } from "../../web/time.js";
import { render, renderCurrent } from "./list.js";
import {
  asText, currentRally, DETECTED, edited, END_SEC, keep, kept, rallyName, report,
} from "./rallies.js";

const SHORTEST_SEC = 0.1;
const ADDED_SEC = 5;  // length of an added rally until its edges are set
const CHOOSE = "Select a rally first: press n, or click one in the list";

export function change(edit, before = asText()) {
  edit();
  edited.rallies.sort((one, other) => one.start - other.start || one.id - other.id);
  if (asText() !== before) {
    edited.past.push(before);
    keep();
  }
  render();
}

export function undo() {
  if (!edited.past.length) return say("There is nothing to undo");
  edited.rallies = JSON.parse(edited.past.pop());
  say("");
  keep();
  return render();
}

// Returns the time nearest to sec that an edge can have: it stops at the rallies beside it.
function placeFor(rally, edge, sec) {
  const others = kept().filter((other) => other !== rally);
  if (edge === "start") {
    const ends = others.map((other) => other.end).filter((end) => end <= rally.start);
    return rounded(Math.max(0, ...ends, Math.min(sec, rally.end - SHORTEST_SEC)));
  }
  const starts = others.map((other) => other.start).filter((start) => start >= rally.end);
  return rounded(Math.min(END_SEC, ...starts, Math.max(sec, rally.start + SHORTEST_SEC)));
}

// Called while the mouse drags an edge of the current rally. onDrop in report.js ends the change.
export function dragEdge(edge, sec) {
  const rally = currentRally();
  rally[edge] = placeFor(rally, edge, sec);
  renderCurrent();
  return rally[edge];
}

export function moveEdge(edge, sec) {
  const rally = currentRally();
  if (!rally) return say(CHOOSE);
  if (rally.dropped) return say(`${rallyName(rally)} is dropped. Press d to restore it first.`);
  const reversed = edge === "start" ? sec >= rally.end : sec <= rally.start;
  if (reversed) return say(`${rallyName(rally)} must start before it ends`);
  const place = placeFor(rally, edge, sec);
  say(Math.abs(place - sec) > 0.002 ? "This edge cannot go further" : "");
  return change(() => { rally[edge] = place; });
}

export function nudge(edge, by) {
  moveEdge(edge, currentRally()[edge] + by);
  video.pause();
  seek(currentRally()[edge]);
}

export function toggleDropped(rally) {
  if (!rally) return say(CHOOSE);
  const over = kept().find((other) => other.start < rally.end && rally.start < other.end);
  if (rally.dropped && over) {
    return say(`${rallyName(over)} now overlaps this one. Shorten it, then restore this one.`);
  }
  say("");
  return change(() => { rally.dropped = !rally.dropped; });
}

export function addRally() {
  const start = rounded(nowSec()), { rallies } = edited;
  const over = kept().find((rally) => rally.start <= start && start < rally.end);
  if (over) return say(`${rallyName(over)} is already here`);
  const starts = kept().map((rally) => rally.start).filter((sec) => sec > start);
  const end = rounded(Math.min(start + ADDED_SEC, END_SEC, ...starts));
  if (end - start < SHORTEST_SEC) return say("There is no room for a rally here");
  const id = Math.max(report.rallies.length, ...rallies.map((rally) => rally.id)) + 1;
  edited.current = id;
  say("Added a rally. Go to its end, then press ]");
  return change(() => rallies.push({ id, start, end, confidence: null, dropped: false }));
}

export function restoreDetected() {
  change(() => { edited.rallies = JSON.parse(DETECTED); });
  say("Restored the detected rallies. Undo brings your changes back.");
}
