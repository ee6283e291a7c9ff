// Times in seconds: formatting, rounding, clamping.

let hours = false;

// In a match of an hour or more, all times show hours, so that they line up.
export function showHours(endSec) {
  hours = endSec >= 3600;
}

export function clock(sec, digits = 0) {
  const rounded = Math.round(Math.max(0, sec) * 10 ** digits) / 10 ** digits;
  const seconds = (rounded % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  const minutes = Math.floor(rounded / 60);
  if (!hours) return `${minutes}:${seconds}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${seconds}`;
}

// To the millisecond, as in the tables.
export const rounded = (sec) => Math.round(sec * 1000) / 1000;

export const within = (value, from, to) => Math.min(Math.max(value, from), to);
