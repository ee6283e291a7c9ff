// Talking to the server: requests, what is told of them, and one action after the other.

import { $ } from "../../web/elements.js";

const PATIENCE_MS = 15000;
const SLOW_MS = 1000;  // to save: from then on keys are not taken until it is done
const DEAF_MS = 700;   // after a refusal: what is typed then was meant for what should have come
export const DOUBLE_MS = 400;  // two presses so near each other are one double click

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
      "What was shown as saved is on disk.", { cause });
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

// The body goes out as JSON with a header that no form of another site can send.
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

// Actions run one after the other, so that keys typed ahead go to the sequences they are meant
// for; whatever fails drops those still waiting, since they were meant for what comes after it.
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

let asked = { what: "", when: 0 };  // what a second press of the same key confirms

// Whether the same has been asked for just before, and not by a double click.
export function confirmed(what) {
  const now = performance.now(), again = asked.what === what && now - asked.when > DOUBLE_MS;
  asked = { what: again ? "" : what, when: now };
  return again;
}

export function forgetAsked() {
  asked.what = "";
}
