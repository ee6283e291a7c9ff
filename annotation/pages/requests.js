// Requests to the server, messages about them, and a queue that runs one action at a time.

import { $ } from "../../web/elements.js";

const PATIENCE_MS = 15000;
const SLOW_MS = 1000;  // if saving takes longer, keys are ignored until it is done
const DEAF_MS = 700;   // after a refusal, keys are ignored: they were meant for the next sequence
export const DOUBLE_MS = 400;  // two clicks within this time are a double click

export function tell(text, bad = false) {
  $("alert").hidden = !text;
  $("alert").className = bad ? "bad" : "";
  $("alert").textContent = text;
}

export async function request(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { signal: AbortSignal.timeout(PATIENCE_MS), ...options });
  } catch (cause) {
    const error = new Error("the server does not answer; is labeling.py still running? " +
      "Answers shown as saved are on disk.", { cause });
    throw Object.assign(error, { unanswered: true });
  }
  if (answer.ok) return answer;
  const failed = { error: `the server failed (${answer.status})` };
  const { error } = await answer.json().catch(() => failed);
  throw new Error(error);
}

export const ask = async (path, query = {}) =>
  (await request(`${path}?${new URLSearchParams(query)}`)).json();

export const unsaved = (error) =>
  Object.assign(new Error(`NOT SAVED: ${error.message}`), { ...error, unsaved: true });

// Sends the body as JSON, with a header that no form of another site can send.
export async function save(path, body) {
  const headers = { "content-type": "application/json", "x-labeling": "1" };
  const timer = setTimeout(() => { slow = true; tell("Saving …"); }, SLOW_MS);
  try {
    const answer = await request(path, { method: "POST", headers, body: JSON.stringify(body) });
    return await answer.json();
  } catch (error) {
    throw unsaved(error);
  } finally {
    clearTimeout(timer);
    slow = false;
  }
}

// Actions run one at a time, so that keys typed ahead go to the right sequences. If saving fails,
// actions still waiting are dropped: they were meant for the sequences after it.
let queue = Promise.resolve();
let era = 0;
let deafUntil = 0;
let slow = false;

export function enqueue(action) {
  const mine = era;
  if (slow || performance.now() < deafUntil) return queue;
  queue = queue
    .then(() => (mine === era ? action() : null))
    .catch((error) => (error.unsaved ? refuse(error.message) : tell(error.message, true)));
  return queue;
}

export function refuse(text) {
  era += 1;
  deafUntil = performance.now() + DEAF_MS;
  tell(text, true);
}

let asked = { what: "", when: 0 };  // what repeating an action would confirm

// Whether the same was asked for just before, except by a double click.
export function confirmed(what) {
  const now = performance.now(), again = asked.what === what && now - asked.when > DOUBLE_MS;
  asked = { what: again ? "" : what, when: now };
  return again;
}

export function forgetAsked() {
  asked.what = "";
}
