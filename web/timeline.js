// The time line: which part of the match is in view, and where a time lies on the screen.
// It has one or two strips (canvases): `part` shows the view, `whole` all of the match.

import { nowSec } from "./player.js";
import { within } from "./time.js";

const SHORTEST_VIEW_SEC = 0.5;
export const LEAD = 0.15;  // the share of the view that is left of what is brought into it

export const line = {
  part: null,
  whole: null,    // or none
  endSec: 0,
  view: [0, 0],   // seconds
  drag: null,     // what the mouse holds: see timeline_mouse.js
  stale: true,    // whether it is to be drawn again
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

// A rally in the middle, if it fits there; a time or a longer rally a little way in.
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

// By a fraction of what is in view.
export function pan(fraction) {
  const [from, to] = line.view;
  showSpan(from + fraction * (to - from), to - from);
}
