"use strict";
// The video and the two strips under it. The player's time is offset_sec ahead of the match's.

const video = $("player"), whole = $("whole"), lower = $("lower");
const INSIDE_SEC = 0.001;  // beyond a frame's beginning, so that it is that frame which is shown
const EARLY_SEC = 0.05;    // a player that jumps to a time may land a little before it
const EDGE_PX = 9;
const { times_sec: times, percent } = report;

let playable = false;
let playhead = 0;      // where the last jump went; where there is no video, where the page is
let frameSec = null;   // the match's time of the frame on screen, where the browser tells it
let lastSec = 0;       // the playhead a moment ago
let onlyRallies = false;
let drag = null;       // what the mouse holds in a strip
let stale = true;      // whether the strips are to be drawn again
let look = null;       // colours, from the style sheet
let hatch = null;
let view = [0, Math.min(60, END_SEC)];  // what the lower strip shows

const clockSec = () => within(video.currentTime - report.offset_sec, 0, END_SEC);

function nowSec() {
  if (!playable || video.seeking) return playhead;
  const shown = frameSec !== null && Math.abs(frameSec - clockSec()) < 0.3;
  return within(shown ? frameSec : clockSec(), 0, END_SEC);
}

function seek(sec) {
  playhead = lastSec = within(sec, 0, END_SEC);
  frameSec = null;
  if (playable) video.currentTime = playhead + report.offset_sec + INSIDE_SEC;
  bringIntoView(playhead);
  stale = true;
}

function step(by) {
  tell("");
  seek(nowSec() + by);
  chooseNear(playhead);
}

function frameStep(by) {
  video.pause();
  step(by * report.frame_sec);
}

async function play() {
  if (!playable) return tell("There is no video to play");
  try {
    return await video.play();
  } catch (error) {  // a pause that comes before it began is no failure
    return error.name === "AbortError" ? null : tell(`It does not play: ${error.message}`);
  }
}

function togglePlay() {
  if (video.paused) play();
  else video.pause();
}

function goTo(rally) {
  tell("");
  choose(rally.id);
  bringIntoView(rally.start, rally.end);
  seek(rally.start);
  if (playable) play();
}

function jump(by) {
  const now = nowSec(), at = rallies.indexOf(find(current));
  const next = at >= 0 ? rallies[at + by] : by > 0 ? rallies.find((rally) => rally.start > now)
    : rallies.findLast((rally) => rally.end <= now);
  if (next) goTo(next);
  else tell(`There is no rally ${by > 0 ? "after" : "before"} this`);
}

// After small steps the current rally stays, also in its neighbour: its edge may be wanted there.
function chooseNear(sec, sticky = true) {
  const here = rallies.filter(({ start, end }) => start <= sec && sec < end);
  const there = here.find((rally) => !rally.dropped) ?? here[0], rally = find(current);
  const near = rally && rally.start - NEAR_SEC <= sec && sec <= rally.end + NEAR_SEC;
  if (!near || (there && !sticky)) choose(there?.id ?? null);
}

// While it plays: the rally that begins becomes the current one; the time between is passed over.
function follow() {
  if (video.paused || video.seeking || drag) return;
  const now = clockSec(), from = lastSec;
  lastSec = now;
  stale = true;
  bringIntoView(now);
  const begun = rallies.findLast(({ start, dropped }) => (
    from < start && start <= now && !(onlyRallies && dropped)));
  if (begun) choose(begun.id);
  const isPlayed = ({ id, start, end, dropped }) => (
    (!dropped || id === current) && start - EARLY_SEC <= now && now < end);
  if (!onlyRallies || rallies.some(isPlayed)) return;
  const next = kept().find((rally) => rally.start > now);
  if (next) goTo(next);
  else {
    video.pause();
    tell("That was the last rally");
  }
}

function toggleOnly() {
  onlyRallies = !onlyRallies;
  $("only").setAttribute("aria-pressed", String(onlyRallies));
  tell(onlyRallies ? "Playing only the rallies" : "Playing everything");
}

function fullScreen() {
  if (!playable) tell("There is no video to show");
  else if (document.fullscreenElement) document.exitFullscreen();
  else video.requestFullscreen();
}

function refuseVideo() {
  playable = false;
  video.hidden = true;
  $("problem").hidden = false;
  write($("problem"), `The video cannot be played: it was looked for at ${pathOf(report.url)}. ` +
    "Put it there and load this page again; the list and the timeline work without it.");
  stale = true;
}

function startVideo() {
  const note = (_, frame) => {
    frameSec = frame.mediaTime - report.offset_sec;
    video.requestVideoFrameCallback(note);
  };
  video.requestVideoFrameCallback?.(note);
  video.addEventListener("loadedmetadata", () => {
    if (!video.videoWidth) return refuseVideo();
    playable = true;
    return seek(playhead);
  });
  video.addEventListener("error", refuseVideo);
  video.addEventListener("timeupdate", follow);  // also in a hidden window, where nothing is drawn
  for (const name of ["play", "pause", "seeked"]) {
    video.addEventListener(name, () => { stale = true; });
  }
  video.onclick = togglePlay;
  video.src = report.url;
}

// --- the strips

const spanOf = (strip) => (strip === whole ? [0, END_SEC] : view);

function toX(strip, sec) {
  const [from, to] = spanOf(strip);
  return ((sec - from) / (to - from)) * strip.clientWidth;
}

function toSec(strip, x) {
  const [from, to] = spanOf(strip);
  return within(from + (x / strip.clientWidth) * (to - from), 0, END_SEC);
}

function showSpan(from, span) {
  const length = Math.min(Math.max(span, 2), END_SEC), first = within(from, 0, END_SEC - length);
  view = [first, first + length];
  stale = true;
}

// A rally in the middle, if it fits there; a time or a longer rally near the left.
function bringIntoView(start, end = start) {
  const [from, to] = view, span = to - from, fits = start < end && end - start < 0.7 * span;
  if (drag || (start >= from && end <= to)) return;
  showSpan(fits ? (start + end - span) / 2 : start - 0.15 * span, span);
}

function zoom(factor, around = nowSec()) {
  const [from, to] = view, inside = within(around, from, to);
  showSpan(inside - (inside - from) * factor, (to - from) * factor);
}

// The edge of the current rally that is near x in the lower strip, or "".
function edgeAt(x) {
  const rally = find(current);
  if (!rally || rally.dropped) return "";
  const away = (edge) => Math.abs(toX(lower, rally[edge]) - x);
  const edge = away("start") < away("end") ? "start" : "end";
  return away(edge) <= EDGE_PX ? edge : "";
}

function grab(event) {
  if (event.button) return;
  const strip = event.currentTarget, edge = strip === lower ? edgeAt(event.offsetX) : "";
  strip.setPointerCapture(event.pointerId);
  tell("");
  drag = { edge, text: asText(), away: edge && toX(lower, find(current)[edge]) - event.offsetX };
  if (edge) video.pause();
  else seek(toSec(strip, event.offsetX));
}

function pull(event) {
  const strip = event.currentTarget;
  if (!drag) lower.style.cursor = strip === lower && edgeAt(event.offsetX) ? "ew-resize" : "";
  if (!drag) return;
  const sec = toSec(strip, event.offsetX + Number(drag.away)), rally = find(current);
  if (drag.edge) {
    rally[drag.edge] = placeFor(rally, drag.edge, sec);
    renderCurrent();
  }
  if (!video.seeking) seek(drag.edge ? rally[drag.edge] : sec);
  stale = true;
}

function letGo(event) {
  if (!drag) return;
  const { edge, text } = drag;
  drag = null;
  seek(edge ? find(current)[edge] : toSec(event.currentTarget, event.offsetX));
  if (edge) change(() => {}, text);
  else chooseNear(playhead, false);
}

// How probable a rally is, as an area: the mean of as many values as fall on a pixel.
function drawCurve(pen, strip, top, bottom) {
  const [from, to] = spanOf(strip), after = times.findIndex((time) => time > to);
  const last = after < 0 ? times.length : after + 1;
  let k = Math.max(0, times.findIndex((time) => time > from) - 1), run = [];
  const stride = Math.max(1, Math.ceil((last - k) / strip.clientWidth));
  const fill = () => {
    pen.beginPath();
    for (const [x, y] of run) pen.lineTo(x, y);
    if (run.length) for (const [x] of [run.at(-1), run[0]]) pen.lineTo(x, bottom);
    pen.fill();
    run = [];
  };
  pen.fillStyle = look.curve;
  for (k -= k % stride; k < last; k += stride) {
    const values = percent.slice(k, k + stride), end = k + values.length - 1;
    const known = !values.includes(null), sum = values.reduce((one, other) => one + other, 0);
    if (!known || times[k] - times[k - 1] > 2.5 * report.step_sec) fill();
    const height = ((bottom - top) * sum) / values.length / 100;
    if (known) run.push([toX(strip, (times[k] + times[end]) / 2), bottom - height]);
  }
  fill();
}

function drawTicks(pen, strip, height) {
  const [from, to] = spanOf(strip), most = Math.max(2, strip.clientWidth / 70);
  const steps = [0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800];
  const every = steps.find((sec) => (to - from) / sec < most) ?? 3600;
  pen.font = "11px system-ui, sans-serif";
  for (let k = Math.ceil(from / every); k * every <= to; k += 1) {
    const x = toX(strip, k * every);
    pen.fillStyle = look.line;
    pen.fillRect(x, 0, 1, height);
    pen.fillStyle = look.quiet;
    pen.fillText(clock(k * every, every < 1 ? 1 : 0), x + 3, 11);
  }
}

function drawRally(pen, strip, rally, top, height) {
  const x = toX(strip, rally.start), width = Math.max(1.5, toX(strip, rally.end) - x);
  const chosen = rally.id === current, isLower = strip === lower;
  if (x > strip.clientWidth || x + width < 0) return;
  if (!rally.dropped) {
    pen.fillStyle = look["one-tint"];
    pen.fillRect(x, top, width, height);
    pen.fillStyle = look.one;
    pen.fillRect(x, top + height - 5, width, 5);
  }
  pen.strokeStyle = chosen ? look.ring : rally.dropped ? look.quiet : look["one-line"];
  pen.lineWidth = chosen ? 2 : 1;
  pen.setLineDash(rally.dropped ? [4, 3] : []);
  if (isLower || chosen || rally.dropped) pen.strokeRect(x, top + 1, width, height - 2);
  pen.setLineDash([]);
  pen.fillStyle = look.text;
  pen.font = "600 12px system-ui, sans-serif";
  const number = String(rallies.indexOf(rally) + 1);
  if (isLower && width > 22) pen.fillText(number, Math.max(x, 0) + 7, top + 15);
  pen.fillStyle = look.ring;
  if (isLower && chosen && !rally.dropped) {
    for (const edge of [x, x + width]) pen.fillRect(edge - 3, top + height / 2 - 14, 6, 28);
  }
}

function drawStrip(strip) {
  const ratio = window.devicePixelRatio || 1, top = 16;
  const { clientWidth: width, clientHeight: height } = strip, pen = strip.getContext("2d");
  strip.width = Math.round(width * ratio);  // this empties it, too
  strip.height = Math.round(height * ratio);
  pen.scale(ratio, ratio);
  pen.fillStyle = look.panel;
  pen.fillRect(0, 0, width, height);
  drawTicks(pen, strip, height);
  drawCurve(pen, strip, top + 2, height);
  pen.fillStyle = hatch;
  for (const [start, end] of report.unknown) {
    pen.fillRect(toX(strip, start), top, Math.max(2, toX(strip, end) - toX(strip, start)), height);
  }
  const rank = (rally) => (rally.id === current ? 2 : rally.dropped ? 0 : 1);
  for (const rally of [...rallies].sort((one, other) => rank(one) - rank(other))) {
    drawRally(pen, strip, rally, top, height - top);
  }
  pen.strokeStyle = pen.fillStyle = look.text;
  pen.lineWidth = 1;
  const [x, right] = view.map((sec) => toX(whole, sec));
  if (strip === whole) pen.strokeRect(x + 0.5, 0.5, Math.max(3, right - x) - 1, height - 1);
  pen.fillRect(toX(strip, nowSec()) - 1, 0, 2, height);
}

function draw() {
  requestAnimationFrame(draw);
  follow();
  if (!stale) return;
  stale = false;
  drawStrip(whole);
  drawStrip(lower);
  whole.setAttribute("aria-valuenow", nowSec().toFixed(1));
  whole.setAttribute("aria-valuetext", clock(nowSec()));
  write($("play").firstChild, video.paused ? "Play" : "Pause");
}

function readLook() {
  const style = getComputedStyle(document.documentElement);
  const names = ["panel", "line", "text", "quiet", "one", "one-line", "one-tint", "curve", "ring"];
  look = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`)]));
  const tile = Object.assign(document.createElement("canvas"), { width: 6, height: 6 });
  const pen = tile.getContext("2d");
  pen.strokeStyle = look.quiet;
  for (const x of [-6, 0, 6]) pen.stroke(new Path2D(`M${x - 1},7 L${x + 7},-1`));
  hatch = pen.createPattern(tile, "repeat");
  stale = true;
}
