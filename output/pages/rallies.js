// The rallies: as detected, as they are now, and what the browser stores of them.

import { $ } from "../../web/elements.js";

export const report = JSON.parse($("data").textContent);
export const END_SEC = report.duration_sec;
export const DETECTED = JSON.stringify(report.rallies.map(([start, end, confidence], k) => (
  { id: k + 1, start, end, confidence, dropped: false })));
export const STORE_KEY = `rallies ${report.name} ${report.key}`;

export const edited = {
  rallies: JSON.parse(DETECTED),  // in order of start; only dropped ones may overlap others
  saved: DETECTED,                // as they were last saved
  current: null,                  // id of the rally that keys and buttons act on
  stored: true,                   // whether the browser stores changes
  past: [],                       // earlier states, for undo
};

export const asText = () => JSON.stringify(edited.rallies);
export const find = (id) => edited.rallies.find((rally) => rally.id === id);
export const currentRally = () => find(edited.current);
export const kept = () => edited.rallies.filter((rally) => !rally.dropped);
export const rallyName = (rally) => `Rally ${edited.rallies.indexOf(rally) + 1}`;

// Called at every change, so that a reload or a crash loses nothing.
export function keep() {
  const { rallies, saved } = edited;
  try {
    if (asText() === DETECTED && saved === DETECTED) localStorage.removeItem(STORE_KEY);
    else localStorage.setItem(STORE_KEY, JSON.stringify({ rallies, saved }));
    edited.stored = true;
  } catch {  // the storage is full, or the browser has none for files: renderChanges says so
    edited.stored = false;
  }
}

export function recall() {
  try {
    Object.assign(edited, JSON.parse(localStorage.getItem(STORE_KEY)));
  } catch {
    edited.stored = false;
  }
}
