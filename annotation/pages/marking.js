// Making and changing marks. Every change is saved before the page shows it.

import { nowSec, seek, video } from "../../web/player.js";
import { rounded } from "../../web/time.js";
import {
  chooseMark, edgeSec, everyMark, match, renderMatch, same, withEdge, without,
} from "./marks.js";
import { cutTo, rewindRate, stopRewind } from "./match_video.js";
import { ask, confirmed, enqueue, save, tell, unsaved } from "./requests.js";

const DISTANT_SEC = 1;  // a rally farther than this from the playhead is no longer selected

async function saveMarks(change) {
  const marks = change(match.marks.map((mark) => [...mark]));
  const saved = await save("marks", { marks, seen: match.marks });
  match.marks = saved.marks;
  if (!saved.time) {
    renderMatch();
    throw new Error("NOT SAVED: the marks were changed elsewhere. " +
      "The page now shows them; repeat your change if it still fits.");
  }
  match.changes.push({ time: saved.time, proposals: null });
  tell("");
  renderMatch();
}

// While the video plays, a key marks the time at which it was pressed.
export const pressedSec = () => (video.paused && !rewindRate ? null : nowSec());

async function neighbour(sec, frames) {
  return (await ask("neighbour", { sec, frames })).sec;
}

// The timestamp of the frame that is on screen at sec. An error says NOT SAVED.
export async function timeOfFrame(sec) {
  try {
    return await neighbour(sec, 0);
  } catch (error) {
    throw unsaved(error);
  }
}

export async function markStart(sec) {
  match.draft = await timeOfFrame(sec ?? nowSec());
  match.chosen = null;
  tell("");
  renderMatch();
}

export async function markEnd(sec) {
  if (match.draft === null) throw new Error("First mark where the rally starts: press [");
  const mark = [match.draft, await timeOfFrame(sec ?? nowSec())];
  if (mark[1] <= mark[0]) {
    throw new Error("The end must come after the start: play on, then press ]");
  }
  await saveMarks((marks) => [...marks, mark]);
  match.draft = null;
  chooseMark(mark, "end");
}

// After playing on, keys must not move or delete a rally that is out of sight.
function dropDistant() {
  const now = nowSec(), [start, end] = match.chosen?.mark ?? [now, now];
  if (now < start - DISTANT_SEC || now > end + DISTANT_SEC) match.chosen = null;
}

export async function removeChosen() {
  dropDistant();
  const { mark, proposal } = match.chosen ?? {};
  if (mark) return remove(mark, proposal);
  if (match.draft === null) throw new Error("Select a rally first");
  match.draft = null;
  return renderMatch();
}

export async function remove(mark, proposal) {
  if (proposal) {
    match.changes.push({ time: null, proposals: match.proposals });
    dropProposal(mark);
  } else await saveMarks(without(mark));
  match.chosen = null;
  renderMatch();
}

function dropProposal(mark) {
  match.proposals = without(mark)(match.proposals);
}

export async function confirmChosen() {
  const { mark, proposal } = match.chosen ?? {};
  if (!proposal) return;
  await saveMarks((marks) => [...marks, mark]);
  match.changes.at(-1).proposals = match.proposals;
  dropProposal(mark);
  chooseMark(mark, "end");
}

export async function confirmAll() {
  await saveMarks((marks) => [...marks, ...match.proposals]);
  match.changes.at(-1).proposals = match.proposals;
  match.proposals = [];
  match.chosen = null;
  renderMatch();
}

// Moves an edge of a mark to sec. A proposal stays a proposal.
export async function moveMarkEdge({ mark, edge, proposal }, sec) {
  const moved = withEdge({ mark, edge }, rounded(sec));
  if (moved[0] >= moved[1]) throw new Error("The end must come after the start");
  if (same(moved, mark)) return chooseMark(mark, edge, proposal);
  if (proposal) {
    match.changes.push({ time: null, proposals: match.proposals });
    match.proposals = match.proposals.map((other) => (same(other, mark) ? moved : other));
  } else {
    if (!match.marks.some((other) => same(other, mark))) {
      throw new Error("This rally no longer exists: reload the page");
    }
    await saveMarks((marks) => [...without(mark)(marks), moved]);
  }
  return chooseMark(moved, edge, proposal);
}

// Moves the video by that many frames.
export const stepPicture = (by) => enqueue(async () => seek(await neighbour(nowSec(), by)));

// Moves the selected edge, or else the video, by that many frames.
export function nudgeFrame(by) {
  stopRewind();
  enqueue(async () => {
    dropDistant();
    const { chosen } = match;
    if (!chosen?.edge) return seek(await neighbour(nowSec(), by));
    const sec = await neighbour(edgeSec(chosen), by);
    await moveMarkEdge(chosen, sec);
    video.pause();
    return seek(sec);
  });
}

export async function undoMark() {
  tell("");
  if (match.draft !== null) {  // a start without an end
    match.draft = null;
    return renderMatch();
  }
  const change = match.changes.at(-1) ?? { time: "", proposals: null };
  if (!change.time && !change.proposals && !confirmed("undo marks")) {
    return tell("This would undo marks from before you opened this page. Press z again to confirm.");
  }
  match.chosen = null;
  if (change.time !== null) {
    const { marks } = await save("marks/undo", { time: change.time }).catch((error) => {
      if (!error.unanswered) match.changes.pop();  // the server refused, and will again
      throw error;
    });
    if (marks === null) tell("There is nothing to undo");
    match.marks = marks ?? match.marks;
  }
  match.changes.pop();
  match.proposals = change.proposals ?? match.proposals;
  return renderMatch();
}

export function jumpToMark(by) {
  const all = everyMark(), now = nowSec();
  const next = by > 0 ? all.find(({ mark }) => mark[0] > now + 0.01)
    : all.findLast(({ mark }) => mark[0] < now - 0.5);
  if (!next) return;
  tell("");
  chooseMark(next.mark, "start", next.proposal);
  cutTo(next.mark[0]);
}

export function chooseOtherEdge() {
  if (!match.chosen) return;
  const { mark, edge, proposal } = match.chosen;
  chooseMark(mark, edge === "start" ? "end" : "start", proposal);
  cutTo(edgeSec(match.chosen));
}

export function forgetChosen() {
  match.chosen = match.draft = null;
  renderMatch();
}
