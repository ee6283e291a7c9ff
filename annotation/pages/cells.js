// The cells of the grid: one sequence each, with the label that saving the page would give it.

import { make, say } from "../../web/elements.js";
import { drawPicture } from "./pictures.js";
import { confirmed, enqueue, forgetAsked, tell } from "./requests.js";
import { className, isLabel, labelName, labelOf, view } from "./work.js";

export const CELL_KEYS = "1234567890ab";

export function makeCell(item, loaded, k, value) {
  const seen = labelOf(item), canvas = make("canvas", "", { width: 224, height: 224 });
  const face = make("button", "", { className: "face" }), text = make("span", "");
  const leave = make("button", "skip", { className: "leave" });
  const cell = { item, seen, touched: value !== undefined, ...loaded, canvas, face, text, k };
  cell.value = value ?? (isLabel(seen) ? seen : item.skipped ? "" : "0");
  if (!loaded.pictures.length) cell.value = "";
  face.append(canvas, text);
  const onClick = (button, action) => button.addEventListener("click", () => (
    enqueue(() => view.cells.includes(cell) && action(cell))));
  onClick(face, toggleCell);
  onClick(leave, leaveOut);
  leave.setAttribute("aria-label", `Leave number ${k + 1} out`);
  if (loaded.pictures.length) drawPicture(canvas, loaded.pictures[0]);
  cell.element = make("div", "", { className: "cell" });
  cell.element.append(face, make("span", CELL_KEYS[k], { className: "key" }), leave);
  return cell;
}

function leaveOut(cell) {
  cell.value = "";
  renderCell(cell);
}

export function toggleCell(cell) {
  if (!cell.pictures.length) return;
  forgetAsked();
  view.turnedAt = -Infinity;
  cell.value = cell.value === "1" ? "0" : "1";
  cell.touched = true;
  renderCell(cell);
  say(cell.face.getAttribute("aria-label"));
}

export function renderCell(cell) {
  const { face, text, value, seen, note, k } = cell;
  face.className = `face ${value === "1" ? "is-one" : value === "0" ? "is-zero" : ""}`;
  const odd = seen && !isLabel(seen) ? `labelled ${seen}` : "";
  const kept = seen ? `stays ${labelName(seen)}` : "left out";
  const answer = value ? className(value) + (value === seen ? " ✓" : "") : kept;
  text.textContent = [answer, odd, note].filter(Boolean).join(" · ");
  face.setAttribute("aria-label", `Number ${k + 1}: ${text.textContent}`);
  face.setAttribute("aria-pressed", String(value === "1"));
}

const isChanged = ({ touched, value, seen }) => touched && value && value !== seen;

// Whether to go from a page with changes that are not saved: the first time it is only said.
export function mayLeave(key) {
  if (!view.cells.some(isChanged) || confirmed(`leave ${key}`)) return true;
  tell("This page has changes that are not saved: Enter saves it; once more, and they are dropped");
  return false;
}
