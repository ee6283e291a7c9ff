// Draws the timeline: ticks, probabilities, rallies, unknown stretches, the playhead.

import { nowSec } from "./player.js";
import { clock } from "./time.js";
import { line, spanOf, strips, toX } from "./timeline.js";

const TOP = 16;  // height of the times above
const TICK_STEPS = [0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800];
const COLOURS = ["panel", "line", "text", "quiet", "one", "one-line", "one-tint", "curve", "ring"];

// Given by the page:
//   content()     { rallies, draft, unknown, curve } with
//     rallies     { start, end, kind, chosen, edges, label }; kind is kept, proposed, dropped, or
//                 unknown: the frame of an unknown stretch that can be moved; edges are those of
//                 the selected one that keys or the mouse can move
//     draft       [start, end] of what is being marked, or null
//     unknown     [start, end] of each span to hatch
//     curve       { times, percent, stepSec }: the probability of a rally, or null
//   everyFrame()  called before every frame of the screen, whether the timeline has changed or not
let drawingHandlers = null;
let look = null;      // colours from the style sheet
let hatch = null;
let drawnSec = null;  // where the playhead was last drawn

function drawTicks(pen, strip, height) {
  const [from, to] = spanOf(strip), most = Math.max(2, strip.clientWidth / 70);
  const every = TICK_STEPS.find((sec) => (to - from) / sec < most) ?? 3600;
  pen.font = "11px system-ui, sans-serif";
  for (let k = Math.ceil(from / every); k * every <= to; k += 1) {
    const x = toX(strip, k * every);
    pen.fillStyle = look.line;
    pen.fillRect(x, 0, 1, height);
    pen.fillStyle = look.quiet;
    pen.fillText(clock(k * every, every < 1 ? 1 : 0), x + 3, 11);
  }
}

// The probabilities as an area. Values that fall on one pixel are averaged.
function drawCurve(pen, strip, { times, percent, stepSec }, height) {
  const [from, to] = spanOf(strip), after = times.findIndex((time) => time > to);
  const last = after < 0 ? times.length : after + 1, top = TOP + 2;
  let k = Math.max(0, times.findIndex((time) => time > from) - 1), run = [];
  const stride = Math.max(1, Math.ceil((last - k) / strip.clientWidth));
  const fill = () => {
    pen.beginPath();
    for (const [x, y] of run) pen.lineTo(x, y);
    if (run.length) for (const [x] of [run.at(-1), run[0]]) pen.lineTo(x, height);
    pen.fill();
    run = [];
  };
  pen.fillStyle = look.curve;
  for (k -= k % stride; k < last; k += stride) {
    const values = percent.slice(k, k + stride), end = k + values.length - 1;
    const known = !values.includes(null), sum = values.reduce((one, other) => one + other, 0);
    if (!known || times[k] - times[k - 1] > 2.5 * stepSec) fill();
    const high = ((height - top) * sum) / values.length / 100;
    if (known) run.push([toX(strip, (times[k] + times[end]) / 2), height - high]);
  }
  fill();
}

function drawRally(pen, strip, rally, height) {
  const { start, end, kind, chosen, edges, label } = rally;
  const x = toX(strip, start), width = Math.max(1.5, toX(strip, end) - x);
  const isPart = strip === line.part, high = height - TOP;
  if (x > strip.clientWidth || x + width < 0) return;
  if (kind === "kept" || kind === "proposed") {
    pen.fillStyle = look["one-tint"];
    pen.globalAlpha = kind === "proposed" ? 0.4 : 1;
    pen.fillRect(x, TOP, width, high);
    pen.globalAlpha = 1;
  }
  if (kind === "kept") {
    pen.fillStyle = look.one;
    pen.fillRect(x, height - 5, width, 5);
  }
  const colour = kind === "dropped" || kind === "unknown" ? look.quiet : look["one-line"];
  pen.strokeStyle = chosen ? look.ring : colour;
  pen.lineWidth = chosen ? 2 : 1;
  pen.setLineDash(kind === "kept" || kind === "unknown" ? [] : [4, 3]);
  if (isPart || chosen || kind === "dropped") pen.strokeRect(x, TOP + 1, width, high - 2);
  pen.setLineDash([]);
  if (!isPart) return;
  pen.fillStyle = look.text;
  pen.font = "600 12px system-ui, sans-serif";
  if (width > 22) pen.fillText(label, Math.max(x, 0) + 7, TOP + 15);
  pen.fillStyle = look.ring;
  for (const edge of edges) {
    pen.fillRect((edge === "start" ? x : x + width) - 3, TOP + high / 2 - 14, 6, 28);
  }
}

// Draw order: dropped rallies and unknown stretches first, the selected one last.
const rank = ({ kind, chosen }) => (chosen ? 2 : ["dropped", "unknown"].includes(kind) ? 0 : 1);

function fillSpan(pen, strip, [start, end], height) {
  pen.fillRect(toX(strip, start), TOP, Math.max(2, toX(strip, end) - toX(strip, start)), height);
}

function drawPlayhead(pen, strip, height) {
  pen.strokeStyle = pen.fillStyle = look.text;
  pen.lineWidth = 1;
  const [x, right] = line.view.map((sec) => toX(strip, sec));
  if (strip === line.whole) pen.strokeRect(x + 0.5, 0.5, Math.max(3, right - x) - 1, height - 1);
  pen.fillRect(toX(strip, nowSec()) - 1, 0, 2, height);
}

function drawStrip(strip) {
  const ratio = window.devicePixelRatio || 1, pen = strip.getContext("2d");
  const { clientWidth: width, clientHeight: height } = strip;
  const { rallies, draft, unknown, curve } = drawingHandlers.content();
  strip.width = Math.round(width * ratio);  // this also clears it
  strip.height = Math.round(height * ratio);
  pen.scale(ratio, ratio);
  pen.fillStyle = look.panel;
  pen.fillRect(0, 0, width, height);
  drawTicks(pen, strip, height);
  if (curve) drawCurve(pen, strip, curve, height);
  pen.fillStyle = hatch;
  for (const stretch of unknown) fillSpan(pen, strip, stretch, height);
  for (const rally of rallies.toSorted((one, other) => rank(one) - rank(other))) {
    drawRally(pen, strip, rally, height);
  }
  pen.fillStyle = look.ring;
  pen.globalAlpha = 0.6;
  if (draft) fillSpan(pen, strip, draft, height);
  pen.globalAlpha = 1;
  drawPlayhead(pen, strip, height);
}

function draw() {
  requestAnimationFrame(draw);
  drawingHandlers.everyFrame();
  const now = nowSec(), slider = line.whole ?? line.part;
  if (!line.stale && now === drawnSec) return;
  line.stale = false;
  drawnSec = now;
  for (const strip of strips()) drawStrip(strip);
  slider.setAttribute("aria-valuenow", now.toFixed(1));
  slider.setAttribute("aria-valuetext", clock(now, 1));
}

function readLook() {
  const style = getComputedStyle(document.documentElement);
  look = Object.fromEntries(COLOURS.map((name) => [name, style.getPropertyValue(`--${name}`)]));
  const tile = Object.assign(document.createElement("canvas"), { width: 6, height: 6 });
  const pen = tile.getContext("2d");
  pen.strokeStyle = look.quiet;
  for (const x of [-6, 0, 6]) pen.stroke(new Path2D(`M${x - 1},7 L${x + 7},-1`));
  hatch = pen.createPattern(tile, "repeat");
  line.stale = true;
}

// `canvases` is { part } or { part, whole }; `firstSec` is the length of the first view.
export function startTimeline(canvases, endSec, firstSec, handlers) {
  drawingHandlers = handlers;
  Object.assign(line, { ...canvases, endSec, view: [0, Math.min(firstSec, endSec)] });
  for (const strip of strips()) {
    new ResizeObserver(() => { line.stale = true; }).observe(strip);
  }
  (line.whole ?? line.part).setAttribute("aria-valuemax", endSec.toFixed(1));
  matchMedia("(prefers-color-scheme: light)").addEventListener("change", readLook);
  readLook();
  requestAnimationFrame(draw);
}
