// The marking page: its timeline, keys and buttons, and how it starts.

import { $, write } from "../../web/elements.js";
import { keyOf, showHelp } from "../../web/keys.js";
import { nowSec, seek, startPlayer, video } from "../../web/player.js";
import { showHours } from "../../web/time.js";
import { bringIntoView, LEAD, line, zoom } from "../../web/timeline.js";
import { startTimeline } from "../../web/timeline_drawing.js";
import { listenToMouse } from "../../web/timeline_mouse.js";
import {
  chooseOtherEdge, confirmAll, confirmChosen, forgetChosen, jumpToMark, markEnd, markStart,
  markUnknown, moveMarkEdge, nudgeFrame, pressedSec, remove, removeChosen, stepPicture, timeOfFrame,
  undoMark,
} from "./marking.js";
import {
  chooseMark, edgeSec, everyMark, match, outside, renderMatch, sameItem, withEdge,
} from "./marks.js";
import {
  changeRate, cutTo, forward, makeProxy, onRefused, playFile, rewind, rewindRate, stopRewind,
  stopVideo, toggleVideo,
} from "./match_video.js";
import { ask, enqueue, tell } from "./requests.js";

const MATCH_KEYS = [
  ["[ i", "start of a rally"], ["] o", "end of the rally"],
  ["u", "start of an unknown stretch; again: its end"],
  ["← →", "move the selected edge, or else the video, by a frame"],
  ["Shift ← →", "one second back, forward"], ["j k l", "rewind, stop, forward; again: faster"],
  ["Space", "play, pause"], ["- +", "slower, faster: 0.5x to 4x"],
  [", .", "one frame back, forward"], ["n", "next rally or stretch"], ["p b", "previous one"],
  ["e", "select the other edge of it"], ["Delete", "delete what is selected"],
  ["Enter", "confirm the selected proposal"], ["z Backspace", "undo"], ["↑ ↓", "zoom in, out"],
  ["m", "sound off, on"], ["Esc", "select nothing, discard a start"], ["?", "this list"],
];
const SAVED_ACTIONS = {  // queued, and called with the time at which the key was pressed
  "[": markStart, i: markStart, "]": markEnd, o: markEnd, u: markUnknown, Delete: removeChosen,
  Enter: confirmChosen, z: undoMark, Backspace: undoMark,
};
const MATCH_ACTIONS = {
  " ": toggleVideo, j: rewind, k: stopVideo, l: forward,
  n: () => jumpToMark(1), p: () => jumpToMark(-1), b: () => jumpToMark(-1),
  ArrowLeft: (event) => (event.shiftKey ? cutTo(nowSec() - 1) : nudgeFrame(-1)),
  ArrowRight: (event) => (event.shiftKey ? cutTo(nowSec() + 1) : nudgeFrame(1)),
  e: chooseOtherEdge, ArrowUp: () => zoom(0.5), ArrowDown: () => zoom(2),
  ",": () => stepPicture(-1), ".": () => stepPicture(1),
  "-": () => changeRate(-1), "+": () => changeRate(1), "=": () => changeRate(1),
  Escape: forgetChosen, Home: () => cutTo(0), End: () => cutTo(match.end_sec),
  m: () => { video.muted = !video.muted; }, "?": () => showHelp(MATCH_KEYS),
};

function onMatchKey(event) {
  const key = keyOf(event);
  if (Object.hasOwn(SAVED_ACTIONS, key)) {
    const sec = pressedSec();
    if (!event.repeat) enqueue(() => SAVED_ACTIONS[key](sec));
  } else if (Object.hasOwn(MATCH_ACTIONS, key)) {
    const again = key.startsWith("Arrow") || [",", "."].includes(key);
    if (!event.repeat || again) MATCH_ACTIONS[key](event);
  } else return;
  event.preventDefault();
}

function onMarkClick(event) {
  const button = event.target.closest("button"), item = event.target.closest("li");
  if (!button) return;
  const clicked = everyMark()[[...$("rallies").children].indexOf(item)];
  if (button.matches(".go")) {
    chooseMark(clicked, "start");
    cutTo(clicked.mark[0]);
  } else if (event.detail < 2) enqueue(() => remove(clicked));  // a double click counts once
}

const LOOKS = { rally: "kept", proposal: "proposed", unknown: "unknown" };

function marksInView() {
  const { chosen, dragged, draft } = match;
  const rallies = everyMark().map((item) => {
    const { kind, mark } = item, isChosen = sameItem(chosen, item);
    const [start, end] = sameItem(dragged, item) ? withEdge(dragged, dragged.sec) : mark;
    const edges = isChosen && chosen.edge ? [chosen.edge] : [];
    return { start, end, kind: LOOKS[kind], chosen: isChosen, edges, label: "" };
  });
  const pending = draft && [draft.start, Math.max(draft.start, nowSec())];
  const spans = (look) => rallies.filter(({ kind }) => kind === look)
    .map(({ start, end }) => [start, end]);
  const stretches = spans("unknown").concat(draft?.kind === "unknown" ? [pending] : []);
  const unknown = outside(stretches, spans("kept"));
  return { rallies, draft: pending, unknown, curve: null };
}

// While rewinding, the view moves on when the playhead leaves it on the left.
const followSeek = (sec) => bringIntoView(sec, sec, rewindRate ? 1 - LEAD : LEAD);

function followPlayer() {
  if (!video.paused) bringIntoView(nowSec());
  write($("toggle").firstChild, video.paused ? "Play" : "Pause");
  $("pause").setAttribute("aria-pressed", String(video.paused));
}

// Unknown stretches first, because rallies are drawn over them.
function topmostLast() {
  const all = everyMark(), below = all.filter(({ kind }) => kind === "unknown");
  return below.concat(all.filter(({ kind }) => kind !== "unknown"));
}

// The topmost mark at sec, with no edge selected.
function markAt(sec) {
  const under = topmostLast().findLast(({ mark: [start, end] }) => start <= sec && sec <= end);
  return under ? { ...under, edge: "" } : null;
}

const markMouse = {
  edges() {  // the mouse grabs the last one where several meet: that of the selected mark
    const all = topmostLast(), chosen = all.filter((item) => sameItem(match.chosen, item));
    return [...all, ...chosen].flatMap((item) => ["start", "end"].map((edge) => (
      { ...item, edge, sec: edgeSec({ mark: item.mark, edge }) })));
  },
  onGrab(edge, sec) {
    stopRewind();
    match.chosen = edge ?? markAt(sec);
    if (!edge) seek(sec);
    renderMatch();
  },
  onDrag(edge, sec) {
    if (edge) match.dragged = { ...edge, sec };
    if (!video.seeking) seek(sec);
    line.stale = true;
  },
  onDrop(edge, sec, moved) {
    match.dragged = null;
    line.stale = true;
    if (edge && moved) {
      enqueue(async () => {
        const frame = await timeOfFrame(sec);
        await moveMarkEdge(edge, frame);
        seek(frame);
      });
    } else if (edge) seek(edgeSec(edge));
  },
};

function listenForMarks() {
  const saved = {
    begin: markStart, end: markEnd, unknown: markUnknown, remove: removeChosen,
    confirm: confirmChosen, "confirm-all": confirmAll, "match-undo": undoMark,
  };
  for (const [id, action] of Object.entries(saved)) {
    $(id).addEventListener("click", () => {
      const sec = pressedSec();
      enqueue(() => action(sec));
    });
  }
  const atOnce = {
    back: rewind, "frame-back": () => nudgeFrame(-1), toggle: toggleVideo,
    "frame-on": () => nudgeFrame(1), on: forward, pause: toggleVideo,
    slower: () => changeRate(-1), faster: () => changeRate(1), "zoom-in": () => zoom(0.5),
    "zoom-out": () => zoom(2), "to-help": () => showHelp(MATCH_KEYS), "making-again": makeProxy,
  };
  for (const [id, action] of Object.entries(atOnce)) $(id).addEventListener("click", action);
  $("rallies").addEventListener("click", onMarkClick);
  document.addEventListener("keydown", onMatchKey);
}

export async function startMatch() {
  Object.assign(match, await ask("match"));
  $("match").hidden = $("match-counts").hidden = false;
  for (const element of document.querySelectorAll(".sequences")) element.hidden = true;
  $("title").textContent = match.name;
  document.title = `Marking ${match.name}`;
  showHours(match.end_sec);
  listenForMarks();
  startPlayer(match.end_sec, { onSeek: followSeek, onRefused, tell });
  startTimeline({ part: $("timeline") }, match.end_sec, match.end_sec, {
    content: marksInView, everyFrame: followPlayer,
  });
  listenToMouse(markMouse);
  if (match.ready) playFile();
  else makeProxy();
  renderMatch();
}
