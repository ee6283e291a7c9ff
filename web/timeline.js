// The timeline: which part of the match is in view, and which x a time has on the screen.
// It has one or two strips (canvases): `part` shows the view, `whole` the whole match.

import { nowSec } from "./player.js";
import { within } from "./time.js";

const SHORTEST_VIEW_SEC = 0.5;
export const LEAD = 0.15;  // when a time is brought into view, this share of the view is left of it

export const line = {
  part: null,
  whole: null,    // may be missing
  endSec: 0,
  view: [0, 0],   // seconds
  drag: null,     // what the mouse drags, see timeline_mouse.js
  stale: true,    // whether it must be drawn again
};

export const strips = () => [line.whole, line.part].filter(Boolean);
export const spanOf = (strip) => (strip === line.whole ? [0, line.endSec] : line.view);

export function toX(strip, sec) {
  const [from, to] = spanOf(strip);
  return ((sec - from) / (to - from)) * strip.clientWidth;
}

export function toSec(strip, x) {
  const [from, to] = spanOf(strip);
  return within(from + (x / strip.clientWidth) * (to - from), 0, line.endSec);
}

function showSpan(from, span) {
  const length = Math.min(Math.max(span, SHORTEST_VIEW_SEC), line.endSec);
  const first = within(from, 0, line.endSec - length);
  line.view = [first, first + length];
  line.stale = true;
}

// Centres a rally if it fits; puts a time or a longer rally a little right of the left end.
export function bringIntoView(start, end = start, lead = LEAD) {
  const [from, to] = line.view, span = to - from;
  const fits = start < end && end - start < 0.7 * span;
  if (line.drag || (start >= from && end <= to)) return;
  showSpan(fits ? (start + end - span) / 2 : start - lead * span, span);
}

export function zoom(factor, around = nowSec()) {
  const [from, to] = line.view, inside = within(around, from, to);
  showSpan(inside - (inside - from) * factor, (to - from) * factor);
}

// Moves the view by a fraction of its length.
export function pan(fraction) {
  const [from, to] = line.view;
  showSpan(from + fraction * (to - from), to - from);
}
