// The mouse on the timeline: a click seeks, edges can be dragged, the wheel zooms and pans.

import { line, pan, strips, toSec, toX, zoom } from "./timeline.js";

const EDGE_PX = 8;  // this near an edge counts as on it
const DRAG_PX = 4;  // an edge moves only after a drag of this length

// Given by the page:
//   edges()                   the edges that can be dragged, { sec, ... } each
//   onGrab(edge, sec)         the mouse was pressed on an edge, or elsewhere (edge is null)
//   onDrag(edge, sec)         the mouse has moved to sec
//   onDrop(edge, sec, moved)  the mouse was released; moved is false after a click
let mouseHandlers = null;

function edgeNear(x) {
  let edgeHit = null, nearest = EDGE_PX;
  for (const edge of mouseHandlers.edges()) {
    const away = Math.abs(toX(line.part, edge.sec) - x);
    if (away <= nearest) [edgeHit, nearest] = [edge, away];
  }
  return edgeHit;
}

function grab(event) {
  if (event.button) return;
  const strip = event.currentTarget, x = event.offsetX, sec = toSec(strip, x);
  const edge = strip === line.part ? edgeNear(x) : null;
  strip.setPointerCapture(event.pointerId);
  line.drag = edge ? { edge, x, away: toX(strip, edge.sec) - x, sec: edge.sec, moved: false }
    : { edge, x, away: 0, sec, moved: false };
  mouseHandlers.onGrab(edge, sec);
}

function pull(event) {
  const strip = event.currentTarget, x = event.offsetX, { drag } = line;
  if (!drag) {
    strip.style.cursor = strip === line.part && edgeNear(x) ? "ew-resize" : "pointer";
    return;
  }
  if (drag.edge && !drag.moved && Math.abs(x - drag.x) < DRAG_PX) return;
  drag.moved = true;
  drag.sec = toSec(strip, x + drag.away);
  mouseHandlers.onDrag(drag.edge, drag.sec);
}

function letGo(event) {
  const { drag } = line;
  if (!drag) return;
  line.drag = null;
  mouseHandlers.onDrop(drag.edge, drag.sec, drag.moved && event.type === "pointerup");
}

function turnWheel(event) {
  event.preventDefault();
  const sideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
  if (sideways) pan((event.deltaX || event.deltaY) / 1000);
  else zoom(Math.exp(event.deltaY / 500), toSec(line.part, event.offsetX));
}

export function listenToMouse(handlers) {
  mouseHandlers = handlers;
  for (const strip of strips()) {
    strip.addEventListener("pointerdown", grab);
    strip.addEventListener("pointermove", pull);
    strip.addEventListener("pointerup", letGo);
    strip.addEventListener("pointercancel", letGo);
  }
  line.part.addEventListener("wheel", turnWheel, { passive: false });
}
