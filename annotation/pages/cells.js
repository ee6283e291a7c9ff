// The cells of the grid. Each holds a sequence and the label that it gets when the page is saved.

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
  leave.setAttribute("aria-label", `Skip number ${k + 1}`);
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
  const odd = seen && !isLabel(seen) ? `the table says ${seen}` : "";
  const kept = seen ? `stays ${labelName(seen)}` : "skipped";
  const answer = value ? className(value) + (value === seen ? " ✓" : "") : kept;
  text.textContent = [answer, odd, note].filter(Boolean).join(" · ");
  face.setAttribute("aria-label", `Number ${k + 1}: ${text.textContent}`);
  face.setAttribute("aria-pressed", String(value === "1"));
}

const isChanged = ({ touched, value, seen }) => touched && value && value !== seen;

// Whether the page may be left. With unsaved changes it warns first, and allows it the second time.
export function mayLeave(key) {
  if (!view.cells.some(isChanged) || confirmed(`leave ${key}`)) return true;
  tell("This page has unsaved changes: press Enter to save them, or do the same again to discard them");
  return false;
}
