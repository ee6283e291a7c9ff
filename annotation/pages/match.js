"use strict";
// A whole match: its video over a timeline, and the marks of its rallies.

const MATCH_SPEEDS = [0.5, 0.75, 1, 1.5, 2, 3, 4];
const REWIND_MS = 100;
const NEAR_SEC = 1;
const EDGE_PX = 7;  // so near an edge is on it
const DRAG_PX = 4;  // so far to move an edge that was clicked
const MATCH_KEYS = [
  ["[ i", "a rally starts"], ["] o", "it ends"],
  ["← →", "the chosen edge by a frame; else the picture"],
  ["Shift ← →", "a second"], ["j k l", "backwards, stop, forwards; again: faster"],
  ["Space", "play, pause"], ["- +", "slower, faster: 0.5x to 4x"], [", .", "a frame on screen"],
  ["n b", "next, previous rally"], ["e", "the other edge of the chosen rally"],
  ["Delete", "remove the chosen rally"], ["Enter", "confirm the chosen proposal"],
  ["z Backspace", "undo"], ["↑ ↓", "zoom in, out"], ["m", "sound off, on"],
  ["Esc", "choose nothing, forget the start"], ["?", "this"],
];

let match = null;  // what the server told, and: see startMatch
const video = $("player"), timeline = $("timeline");

async function startMatch() {
  match = await ask("match");
  Object.assign(match, {
    draft: null,    // where the rally starts whose end is not marked yet
    chosen: null,   // { mark, edge: "start" | "end" | "", proposal }
    drag: null,     // { edge, mark, sec } while the mouse holds an edge
    steps: [],
    from: 0, to: match.end_sec,  // what the timeline shows
    frameSec: null,              // of the frame on screen, from the player
    rewind: 0,
  });
  $("match").hidden = $("match-counts").hidden = false;
  for (const element of document.querySelectorAll(".sequences")) element.hidden = true;
  $("title").textContent = match.name;
  document.title = `Marking ${match.name}`;
  timeline.setAttribute("aria-valuemax", match.end_sec.toFixed(1));
  const clicks = {
    begin: markStart, end: markEnd, remove: removeChosen, confirm: confirmChosen,
    "confirm-all": confirmAll, "match-undo": undoMark,
  };
  for (const [id, action] of Object.entries(clicks)) {
    $(id).onclick = () => {
      const sec = pressedSec();
      enqueue(() => action(sec));
    };
  }
  const atOnce = {
    back: rewind, "frame-back": () => nudge(-1), toggle: toggleVideo, "frame-on": () => nudge(1),
    on: forward, pause: toggleVideo, slower: () => changeRate(-1), faster: () => changeRate(1),
    "zoom-in": () => zoom(0.5), "zoom-out": () => zoom(2), "to-help": () => showHelp(MATCH_KEYS),
    "making-again": makeProxy,
  };
  for (const [id, action] of Object.entries(atOnce)) $(id).onclick = action;
  document.addEventListener("keydown", onMatchKey);
  timeline.addEventListener("pointerdown", grab);
  timeline.addEventListener("pointermove", dragEdge);
  timeline.addEventListener("pointerup", letGo);
  timeline.addEventListener("pointercancel", () => { match.drag = null; });
  timeline.addEventListener("wheel", onWheel, { passive: false });
  video.addEventListener("error", onVideoError);
  if (match.ready) playFile();
  else makeProxy();
  renderMatch();
  followFrames();
  requestAnimationFrame(drawTimeline);
}

// --- the player; all times are seconds from the file's first frame

function playFile() {
  $("making").hidden = true;
  video.hidden = false;
  video.src = "video";
}

async function makeProxy() {
  $("making").hidden = false;
  video.hidden = true;
  $("making-again").hidden = true;
  $("making-what").textContent = `Browsers do not play this file${
    match.why_not ? ` (${match.why_not})` : ""}: a small copy is being made beside it, once.`;
  try {
    let told = await save("proxy", {});
    while (told.progress !== null) {
      $("making-bar").value = told.progress;
      $("making-share").textContent = `${Math.round(100 * told.progress)} %`;
      await new Promise((done) => setTimeout(done, 300));
      told = await ask("match");
    }
    if (!told.ready || told.error) throw new Error(told.error || "no copy was made");
    match.offset_sec = told.offset_sec;
    match.copied = true;
    playFile();
  } catch (error) {
    $("making-what").textContent = error.message;
    $("making-again").hidden = false;
  }
}

function onVideoError() {
  const unplayable = [MediaError.MEDIA_ERR_DECODE, MediaError.MEDIA_ERR_SRC_NOT_SUPPORTED];
  if (unplayable.includes(video.error?.code) && !match.copied) return makeProxy();
  return tell(`The video stopped (${video.error?.message}): load the page again`, true);
}

function followFrames() {
  const note = (_, frame) => {
    match.frameSec = frame.mediaTime;
    video.requestVideoFrameCallback(note);
  };
  video.requestVideoFrameCallback?.(note);
  video.addEventListener("seeking", () => { match.frameSec = null; });
}

// Of the frame on screen; of the player's clock where the browser does not say. The server makes
// it the time of that frame (neighbour).
function nowSec() {
  const sec = (match.frameSec ?? video.currentTime) - match.offset_sec;
  return Math.min(Math.max(sec, 0), match.end_sec);
}

function seek(sec) {
  const inside = Math.min(Math.max(sec, 0), match.end_sec);
  match.frameSec = null;
  video.currentTime = inside + match.offset_sec + 0.001;  // in the frame, not on its edge
  if (inside < match.from || inside > match.to) lookAt(inside);
}

function play() {
  video.play().catch((error) => tell(`It does not play: ${error.message}`));
}

function goTo(sec) {
  stopRewind();
  seek(sec);
}

// What is chosen is nudged and removed only while it is in view: not after playing on.
function dropDistant() {
  const now = nowSec(), [start, end] = match.chosen?.mark ?? [now, now];
  if (now < start - NEAR_SEC || now > end + NEAR_SEC) match.chosen = null;
}

function toggleVideo() {
  stopRewind();
  if (video.paused) play();
  else video.pause();
}

function setRate(rate) {
  video.playbackRate = video.defaultPlaybackRate = rate;
  $("speed").textContent = `${rate}x`;
}

function changeRate(by) {
  const at = MATCH_SPEEDS.indexOf(video.playbackRate) + by;
  setRate(MATCH_SPEEDS[Math.min(Math.max(at, 0), MATCH_SPEEDS.length - 1)]);
}

function forward() {
  const playing = !video.paused && !match.rewind;
  stopRewind();
  if (playing) setRate(Math.min(4, Math.max(1, video.playbackRate) * 2));
  else setRate(1);
  play();
}

function rewind() {
  video.pause();
  const rate = match.rewind ? Math.min(8, match.rewind * 2) : 1;
  clearInterval(match.rewinding);
  match.rewind = rate;
  $("speed").textContent = `−${rate}x`;
  match.rewinding = setInterval(() => {
    if (!video.seeking) seek(nowSec() - (rate * REWIND_MS) / 1000);
  }, REWIND_MS);
}

function stopRewind() {
  clearInterval(match.rewinding);
  match.rewind = 0;
  $("speed").textContent = `${video.playbackRate}x`;
}

// --- marks: every change is saved whole before the page shows it

async function saveMarks(change) {
  const marks = change(match.marks.map((mark) => [...mark]));
  const saved = await save("marks", { marks, seen: match.marks });
  match.marks = saved.marks;
  if (!saved.time) {
    renderMatch();
    throw new Error("NOT SAVED: the marks were changed elsewhere meanwhile. " +
      "What is there now is shown; do it again if it is still right.");
  }
  match.steps.push({ time: saved.time, proposals: null });
  tell("");
  renderMatch();
}

const same = (one, other) => one && other && one[0] === other[0] && one[1] === other[1];
const rounded = (sec) => Math.round(sec * 1000) / 1000;
const edgeSec = ({ mark, edge }) => mark[edge === "start" ? 0 : 1];
const withEdge = ({ mark, edge }, sec) => (edge === "start" ? [sec, mark[1]] : [mark[0], sec]);
const without = (mark) => (marks) => marks.filter((other) => !same(other, mark));

// While it plays, what counts is when the key was pressed.
const pressedSec = () => (video.paused && !match.rewind ? null : nowSec());

async function markStart(sec) {
  match.draft = await frameSec(sec ?? nowSec());
  match.chosen = null;
  tell("");
  renderMatch();
}

async function markEnd(sec) {
  if (match.draft === null) throw new Error("Mark where the rally starts first, with [");
  const mark = [match.draft, await frameSec(sec ?? nowSec())];
  if (mark[1] <= mark[0]) throw new Error("The end must come after the start: play on, then ]");
  await saveMarks((marks) => [...marks, mark]);
  match.draft = null;
  choose(mark, "end");
}

async function removeChosen() {
  dropDistant();
  const { mark, proposal } = match.chosen ?? {};
  if (mark) return remove(mark, proposal);
  if (match.draft === null) throw new Error("Choose a rally first");
  match.draft = null;
  return renderMatch();
}

async function remove(mark, proposal) {
  if (proposal) {
    match.steps.push({ time: null, proposals: match.proposals });
    dropProposal(mark);
  } else await saveMarks(without(mark));
  match.chosen = null;
  renderMatch();
}

function dropProposal(mark) {
  match.proposals = match.proposals.filter((other) => !same(other, mark));
}

async function confirmChosen() {
  const { mark, proposal } = match.chosen ?? {};
  if (!proposal) return;
  await saveMarks((marks) => [...marks, mark]);
  match.steps.at(-1).proposals = match.proposals;
  dropProposal(mark);
  choose(mark, "end");
}

async function confirmAll() {
  await saveMarks((marks) => [...marks, ...match.proposals]);
  match.steps.at(-1).proposals = match.proposals;
  match.proposals = [];
  match.chosen = null;
  renderMatch();
}

// Puts an edge of a mark (or of a proposal, which stays one) at sec.
async function moveEdge({ mark, edge, proposal }, sec) {
  const moved = withEdge({ mark, edge }, rounded(sec));
  if (moved[0] >= moved[1]) throw new Error("The end must come after the start");
  if (same(moved, mark)) return choose(mark, edge, proposal);
  if (proposal) {
    match.steps.push({ time: null, proposals: match.proposals });
    match.proposals = match.proposals.map((other) => (same(other, mark) ? moved : other));
  } else {
    if (!match.marks.some((other) => same(other, mark))) throw new Error("That rally is gone");
    await saveMarks((marks) => [...without(mark)(marks), moved]);
  }
  return choose(moved, edge, proposal);
}

async function neighbour(sec, step) {
  return (await ask("neighbour", { sec, step })).sec;
}

// When the frame came on screen that is there at sec: for what is to be saved.
async function frameSec(sec) {
  try {
    return await neighbour(sec, 0);
  } catch (error) {
    throw unsaved(error);
  }
}

// The chosen edge, or the picture, by a frame.
function nudge(step) {
  stopRewind();
  enqueue(async () => {
    dropDistant();
    const { chosen } = match;
    if (!chosen?.edge) return seek(await neighbour(nowSec(), step));
    const sec = await neighbour(edgeSec(chosen), step);
    await moveEdge(chosen, sec);
    video.pause();
    seek(sec);
  });
}

async function undoMark() {
  tell("");
  if (match.draft !== null) {  // the start without an end
    match.draft = null;
    return renderMatch();
  }
  const step = match.steps.at(-1) ?? { time: "", proposals: null };
  if (!step.time && !step.proposals && !confirmed("undo marks")) {
    return tell("That would take back what was marked before you opened this page: again to do it");
  }
  match.chosen = null;
  if (step.time !== null) {
    const { marks } = await save("marks/undo", { time: step.time }).catch((error) => {
      if (!error.unanswered) match.steps.pop();  // it cannot be undone any more
      throw error;
    });
    if (marks === null) tell("There is nothing to undo");
    match.marks = marks ?? match.marks;
  }
  match.steps.pop();
  match.proposals = step.proposals ?? match.proposals;
  return renderMatch();
}

function choose(mark, edge, proposal = false) {
  match.chosen = { mark, edge, proposal };
  renderMatch();
}

function jump(by) {
  const all = everyMark(), now = nowSec();
  const next = by > 0 ? all.find(({ mark }) => mark[0] > now + 0.01)
    : all.findLast(({ mark }) => mark[0] < now - 0.5);
  if (!next) return;
  tell("");
  choose(next.mark, "start", next.proposal);
  goTo(next.mark[0]);
}

function everyMark() {
  const all = match.marks.map((mark) => ({ mark, proposal: false }));
  all.push(...match.proposals.map((mark) => ({ mark, proposal: true })));
  return all.sort((one, other) => one.mark[0] - other.mark[0]);
}

function renderMatch() {
  const count = match.marks.length, total = match.marks.reduce((sum, [s, e]) => sum + e - s, 0);
  const rallies = count === 1 ? "rally" : "rallies";
  $("match-done").textContent = `${count} ${rallies}, ${clock(total)} in all`;
  $("match-time").textContent = `${((100 * total) / match.end_sec).toFixed(1)} % of ${
    clock(match.end_sec)}; saved in ${match.table}`;
  $("proposal-tools").hidden = match.proposals.length === 0;
  $("confirm-all").textContent = `Confirm all ${match.proposals.length} proposals`;
  $("confirm").hidden = !match.chosen?.proposal;
  $("begin").firstChild.textContent = match.draft === null
    ? "Rally starts" : `Started at ${clock(match.draft, 2)}`;
  $("rallies").replaceChildren(...everyMark().map(({ mark, proposal }, k) => {
    const [start, end] = mark, item = make("li", "");
    const text = `${clock(start, 2)} – ${clock(end, 2)}  ${(end - start).toFixed(1)} s`;
    const go = make("button", proposal ? `${text} ?` : text, { className: "go" });
    if (proposal) go.setAttribute("aria-label", `${text}, proposed`);
    const gone = make("button", "✕");
    if (same(match.chosen?.mark, mark)) go.classList.add("chosen");
    if (proposal) go.classList.add("proposal");
    gone.setAttribute("aria-label", `Delete rally ${k + 1}`);
    go.onclick = () => { choose(mark, "start", proposal); goTo(start); };
    gone.onclick = (event) => {  // not twice for a double click
      if (event.detail < 2) enqueue(() => remove(mark, proposal));
    };
    item.append(go, gone);
    return item;
  }));
  $("rallies").querySelector(".chosen")?.scrollIntoView({ block: "nearest" });
}

// --- the timeline

const toX = (sec) => ((sec - match.from) / (match.to - match.from)) * timeline.clientWidth;
const toSec = (x) => match.from + (x / timeline.clientWidth) * (match.to - match.from);

function look(from, to) {
  const span = Math.min(Math.max(to - from, 0.5), match.end_sec);
  match.from = Math.min(Math.max(from, 0), match.end_sec - span);
  match.to = match.from + span;
}

const lookAt = (sec) => look(sec - (match.to - match.from) / 2, sec + (match.to - match.from) / 2);

function zoom(factor, around = nowSec()) {
  look(around - (around - match.from) * factor, around + (match.to - around) * factor);
}

function onWheel(event) {
  event.preventDefault();
  const sideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
  const by = event.deltaX || event.deltaY, span = match.to - match.from;
  if (sideways) look(match.from + (by / 1000) * span, match.to + (by / 1000) * span);
  else zoom(Math.exp(event.deltaY / 500), toSec(event.offsetX));
}

// The edge near x if there is one, else the rally there.
function markAt(x) {
  let found = null, nearest = EDGE_PX + 1;
  for (const { mark, proposal } of everyMark()) {
    for (const edge of ["start", "end"]) {
      const away = Math.abs(toX(edgeSec({ mark, edge })) - x);
      if (away < nearest) [found, nearest] = [{ mark, edge, proposal }, away];
    }
    if (!found && toX(mark[0]) <= x && x <= toX(mark[1])) found = { mark, edge: "", proposal };
  }
  return found;
}

function grab(event) {
  if (event.button) return;
  timeline.setPointerCapture(event.pointerId);
  stopRewind();
  const found = markAt(event.offsetX), x = event.offsetX;
  match.chosen = found;
  const edgeX = found?.edge ? toX(edgeSec(found)) : x;
  match.drag = { edge: "", ...found, x, away: edgeX - x, sec: null };
  if (!found?.edge) seek(toSec(event.offsetX));
  renderMatch();
}

function dragEdge(event) {
  if (!match.drag) {
    timeline.style.cursor = markAt(event.offsetX)?.edge ? "ew-resize" : "pointer";
    return;
  }
  const { edge, x, away } = match.drag;
  if (edge && match.drag.sec === null && Math.abs(event.offsetX - x) < DRAG_PX) return;
  const sec = Math.min(Math.max(toSec(event.offsetX + away), 0), match.end_sec);
  if (edge) match.drag.sec = sec;
  if (!video.seeking) seek(sec);
}

function letGo() {
  const { drag } = match;
  match.drag = null;
  if (drag?.edge && drag.sec !== null) {
    enqueue(async () => {
      const sec = await frameSec(drag.sec);
      await moveEdge(drag, sec);
      seek(sec);
    });
  } else if (drag?.edge) seek(edgeSec(drag));
}

function drawTimeline() {
  requestAnimationFrame(drawTimeline);
  const ratio = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = timeline;
  if (timeline.width !== Math.round(width * ratio)) {
    timeline.width = Math.round(width * ratio);
    timeline.height = Math.round(height * ratio);
  }
  const now = nowSec(), pen = timeline.getContext("2d");
  if (!video.paused && (now > match.to || now < match.from)) lookAt(now);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.fillStyle = "#1c2129";
  pen.fillRect(0, 0, width, height);
  drawTicks(pen, height);
  for (const { mark, proposal } of everyMark()) {
    const held = match.drag?.edge && same(match.drag.mark, mark) && match.drag.sec !== null;
    const [start, end] = held ? withEdge(match.drag, match.drag.sec) : mark;
    drawMark(pen, start, end, proposal, same(match.chosen?.mark, mark));
  }
  if (match.draft !== null) {
    pen.fillStyle = "#ffd16699";
    pen.fillRect(toX(match.draft), 26, Math.max(2, toX(now) - toX(match.draft)), 52);
  }
  pen.fillStyle = "#fff";
  pen.fillRect(toX(now) - 1, 0, 2, height);
  if (timeline.getAttribute("aria-valuetext") !== clock(now)) {
    timeline.setAttribute("aria-valuenow", now.toFixed(1));
    timeline.setAttribute("aria-valuetext", clock(now));
  }
  $("toggle").firstChild.textContent = video.paused ? "Play" : "Pause";
  $("pause").setAttribute("aria-pressed", String(video.paused));
}

function drawTicks(pen, height) {
  const span = match.to - match.from;
  const steps = [0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800];
  const step = steps.find((sec) => span / sec < 12) ?? 3600;
  pen.font = "12px system-ui, sans-serif";
  for (let k = Math.ceil(match.from / step); k * step <= match.to; k += 1) {
    pen.fillStyle = "#3a4350";
    pen.fillRect(toX(k * step), 18, 1, height);
    pen.fillStyle = "#aab4c2";
    pen.fillText(clock(k * step, step < 1 ? 1 : 0), toX(k * step) + 3, 13);
  }
}

function drawMark(pen, start, end, proposal, chosen) {
  const x = toX(start), width = Math.max(1, toX(end) - x);
  pen.fillStyle = proposal ? "#c23b4e55" : "#c23b4e";
  pen.fillRect(x, 30, width, 44);
  pen.setLineDash(proposal ? [4, 3] : []);
  pen.strokeStyle = chosen ? "#ffd166" : "#e2566a";
  pen.lineWidth = chosen ? 2 : 1;
  pen.strokeRect(x, 30, width, 44);
  pen.setLineDash([]);
  if (!chosen || !match.chosen.edge) return;
  pen.fillStyle = "#ffd166";
  pen.fillRect(match.chosen.edge === "start" ? x - 3 : x + width - 3, 24, 6, 56);
}

function otherEdge() {
  if (!match.chosen) return;
  const { mark, edge, proposal } = match.chosen;
  choose(mark, edge === "start" ? "end" : "start", proposal);
  goTo(edgeSec(match.chosen));
}

function onMatchKey(event) {
  const key = keyOf(event);
  const saved = {
    "[": markStart, i: markStart, "]": markEnd, o: markEnd, Delete: removeChosen,
    Enter: confirmChosen, z: undoMark, Backspace: undoMark,
  };
  const atOnce = {
    " ": toggleVideo, j: rewind, l: forward, n: () => jump(1), b: () => jump(-1),
    k: () => { stopRewind(); video.pause(); },
    ArrowLeft: () => (event.shiftKey ? goTo(nowSec() - 1) : nudge(-1)),
    ArrowRight: () => (event.shiftKey ? goTo(nowSec() + 1) : nudge(1)),
    e: otherEdge, ArrowUp: () => zoom(0.5), ArrowDown: () => zoom(2),
    ",": () => enqueue(async () => seek(await neighbour(nowSec(), -1))),
    ".": () => enqueue(async () => seek(await neighbour(nowSec(), 1))),
    "-": () => changeRate(-1), "+": () => changeRate(1), "=": () => changeRate(1),
    Escape: () => { match.chosen = match.draft = null; renderMatch(); },
    Home: () => goTo(0), End: () => goTo(match.end_sec), m: () => { video.muted = !video.muted; },
    "?": () => showHelp(MATCH_KEYS),
  };
  if (Object.hasOwn(saved, key)) {
    const sec = pressedSec();
    if (!event.repeat) enqueue(() => saved[key](sec));
  } else if (Object.hasOwn(atOnce, key)) {
    const again = key.startsWith("Arrow") || [",", "."].includes(key);
    if (!event.repeat || again) atOnce[key]();
  } else return;
  event.preventDefault();
}
