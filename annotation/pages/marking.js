// Making and changing marks. Every change is saved before the page shows it.

import { nowSec, seek, video } from "../../web/player.js";
import { clock, rounded } from "../../web/time.js";
import {
  chooseMark, edgeSec, everyMark, match, NAMES, renderMatch, same, sameItem, withEdge, without,
} from "./marks.js";
import { cutTo, rewindRate, stopRewind } from "./match_video.js";
import { ask, confirmed, enqueue, save, tell, unsaved } from "./requests.js";

const DISTANT_SEC = 1;  // a mark farther than this from the playhead is no longer selected

async function saveMarks(kind, change) {
  const seen = match.marks[kind], marks = change(seen.map((mark) => [...mark]));
  const saved = await save("marks", { kind, marks, seen });
  match.marks[kind] = saved.marks;
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

const END_KEYS = { rally: "]", unknown: "u" };

// What was started with one key is not ended or replaced with the key of another kind.
function refuseOtherDraft(kind) {
  const { draft } = match;
  if (!draft || draft.kind === kind) return;
  const name = draft.kind === "rally" ? "A rally" : "An unknown stretch";
  throw new Error(`${name} starts at ${clock(draft.start, 2)}: press ${
    END_KEYS[draft.kind]} where it ends, or Esc to discard the start`);
}

async function startMark(kind, sec) {
  refuseOtherDraft(kind);
  match.draft = { kind, start: await timeOfFrame(sec ?? nowSec()) };
  match.chosen = null;
  tell("");
  renderMatch();
}

async function endMark(kind, sec) {
  const mark = [match.draft.start, await timeOfFrame(sec ?? nowSec())];
  if (mark[1] <= mark[0]) {
    throw new Error(`The end must come after the start: play on, then press ${END_KEYS[kind]}`);
  }
  await saveMarks(kind, (marks) => [...marks, mark]);
  match.draft = null;
  chooseMark({ kind, mark }, "end");
}

export const markStart = (sec) => startMark("rally", sec);

export async function markEnd(sec) {
  refuseOtherDraft("rally");
  if (!match.draft) throw new Error("First mark where the rally starts: press [");
  return endMark("rally", sec);
}

export const markUnknown = (sec) =>
  (match.draft?.kind === "unknown" ? endMark : startMark)("unknown", sec);

// After playing on, keys must not move or delete a mark that is out of sight.
function dropDistant() {
  const now = nowSec(), [start, end] = match.chosen?.mark ?? [now, now];
  if (now < start - DISTANT_SEC || now > end + DISTANT_SEC) match.chosen = null;
}

export async function removeChosen() {
  dropDistant();
  if (match.chosen) return remove(match.chosen);
  if (!match.draft) throw new Error("Select a rally or an unknown stretch first");
  match.draft = null;
  return renderMatch();
}

export async function remove({ kind, mark }) {
  if (kind === "proposal") changeProposals(without(mark));
  else await saveMarks(kind, without(mark));
  match.chosen = null;
  renderMatch();
}

function changeProposals(change) {
  match.changes.push({ time: null, proposals: match.marks.proposal });
  match.marks.proposal = change(match.marks.proposal);
}

// Saves proposals as rallies. Undo brings the proposals back.
async function confirmProposals(right) {
  const left = match.marks.proposal.filter((mark) => !right.some((one) => same(one, mark)));
  await saveMarks("rally", (marks) => [...marks, ...right]);
  match.changes.at(-1).proposals = match.marks.proposal;
  match.marks.proposal = left;
}

export async function confirmChosen() {
  const { kind, mark } = match.chosen ?? {};
  if (kind !== "proposal") return;
  await confirmProposals([mark]);
  chooseMark({ kind: "rally", mark }, "end");
}

export async function confirmAll() {
  await confirmProposals(match.marks.proposal);
  match.chosen = null;
  renderMatch();
}

// Moves an edge of a mark to sec. A proposal stays a proposal.
export async function moveMarkEdge({ kind, mark, edge }, sec) {
  const moved = withEdge({ mark, edge }, rounded(sec));
  if (moved[0] >= moved[1]) throw new Error("The end must come after the start");
  if (same(moved, mark)) return chooseMark({ kind, mark }, edge);
  if (!match.marks[kind].some((other) => same(other, mark))) {
    throw new Error(`This ${NAMES[kind]} no longer exists: reload the page`);
  }
  const move = (marks) => [...without(mark)(marks), moved];
  if (kind === "proposal") changeProposals(move);
  else await saveMarks(kind, move);
  return chooseMark({ kind, mark: moved }, edge);
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
  if (match.draft) {  // a start without an end
    match.draft = null;
    return renderMatch();
  }
  const change = match.changes.at(-1) ?? { time: "", proposals: null };
  if (!change.time && !change.proposals && !confirmed("undo marks")) {
    return tell("This would undo marks from before you opened this page. Press z again to confirm.");
  }
  match.chosen = null;
  if (change.time !== null) {
    const { kind, marks } = await save("marks/undo", { time: change.time }).catch((error) => {
      if (!error.unanswered) match.changes.pop();  // the server refused, and will again
      throw error;
    });
    if (marks === null) tell("There is nothing to undo");
    else match.marks[kind] = marks;
  }
  match.changes.pop();
  match.marks.proposal = change.proposals ?? match.marks.proposal;
  return renderMatch();
}

export function jumpToMark(by) {
  const all = everyMark(), now = nowSec();
  const at = all.findIndex((item) => sameItem(match.chosen, item));
  const start = at >= 0 && Math.abs(all[at].mark[0] - now) < 0.5 ? all[at].mark[0] : null;
  const next = by > 0  // a stretch may start with the selected rally
    ? all.find(({ mark }, k) => mark[0] > now + 0.01 || (k > at && mark[0] === start))
    : all.findLast(({ mark }, k) => mark[0] < now - 0.5 || (k < at && mark[0] === start));
  if (!next) return;
  tell("");
  chooseMark(next, "start");
  cutTo(next.mark[0]);
}

export function chooseOtherEdge() {
  if (!match.chosen) return;
  chooseMark(match.chosen, match.chosen.edge === "start" ? "end" : "start");
  cutTo(edgeSec(match.chosen));
}

export function forgetChosen() {
  match.chosen = match.draft = null;
  renderMatch();
}
