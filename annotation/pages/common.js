"use strict";
// Shared by both views: talking to the server, messages, one action after the other.

const $ = (id) => document.getElementById(id);
const PATIENCE_MS = 15000;
const SLOW_MS = 1000;  // to save: from then on keys are not taken until it is done
const DEAF_MS = 700;   // after a refusal: what is typed then was meant for what should have come

function make(tag, text, properties = {}) {
  const element = Object.assign(document.createElement(tag), properties);
  element.textContent = text;
  return element;
}

async function request(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { signal: AbortSignal.timeout(PATIENCE_MS), ...options });
  } catch {
    const error = new Error("the server does not answer; is labeling.py still running? " +
      "What was shown as saved is on disk.");
    throw Object.assign(error, { unanswered: true });
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({ error: `the server failed (${answer.status})` }));
  throw new Error(told.error);
}

const ask = async (path, query = {}) =>
  (await request(`${path}?${new URLSearchParams(query)}`)).json();

const unsaved = (error) =>
  Object.assign(new Error(`NOT SAVED: ${error.message}`), { ...error, unsaved: true });

// The body goes out as JSON with a header that no form of another site can send.
async function save(path, body) {
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

function tell(text, bad = false) {
  $("alert").hidden = !text;
  $("alert").className = bad ? "bad" : "";
  $("alert").textContent = text;
}

// Actions run one after the other, so that keys typed ahead go to the sequences they are meant
// for; whatever fails drops those still waiting, since they were meant for what comes after it.
let queue = Promise.resolve();
let era = 0;
let deafUntil = 0;
let slow = false;

function enqueue(action) {
  const mine = era;
  if (slow || performance.now() < deafUntil) return queue;
  queue = queue
    .then(() => (mine === era ? action() : null))
    .catch((error) => (error.unsaved ? stop(error.message) : tell(error.message, true)));
  return queue;
}

function stop(text) {
  era += 1;
  deafUntil = performance.now() + DEAF_MS;
  tell(text, true);
}

function clock(sec, digits = 0) {
  const whole = Math.max(0, sec), minutes = Math.floor(whole / 60);
  return `${minutes}:${(whole % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0")}`;
}

// A button clicked with the mouse gives the keyboard back, so that Space does not press it again.
document.addEventListener("click", (event) => {
  if (event.detail > 0) event.target.closest?.("button")?.blur();
}, true);

// A button that is held down with Enter or Space is pressed once.
document.addEventListener("keydown", (event) => {
  if (event.repeat && event.target.closest?.("button")) event.preventDefault();
}, true);

// The name of a key that the page should act on; "" for all others.
function keyOf(event) {
  const dialog = document.querySelector("dialog[open]");
  const typed = event.target.closest?.("select, input");
  const pressing = event.target.closest?.("button") && [" ", "Enter"].includes(event.key);
  const altgr = event.getModifierState("AltGraph");
  if (dialog || typed || pressing || event.isComposing || event.metaKey) return "";
  if ((event.ctrlKey || event.altKey) && !altgr) return "";
  const digit = /^Digit(\d)$/.exec(event.code);
  if (digit && !event.shiftKey && !altgr) return digit[1];  // also where they need shift: AZERTY
  return event.key.length === 1 ? event.key.toLowerCase() : event.key;
}

function showHelp(keys) {
  $("help-keys").replaceChildren(...keys.map(([names, what]) => {
    const item = make("li", "");
    item.append(...names.split(" ").map((name) => make("kbd", name)), what);
    return item;
  }));
  $("help").showModal();
}
