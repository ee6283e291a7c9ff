// Finding, making and writing to the elements of the page.

export const $ = (id) => document.getElementById(id);

export function make(tag, text, properties = {}) {
  const element = Object.assign(document.createElement(tag), properties);
  element.textContent = text;
  return element;
}

// Writes only changes, because a screen reader reads out every write.
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Scrolls a positioned box, not the page, until a row of the box is in view.
export function scrollToRow(box, row) {
  const away = row.offsetTop - box.scrollTop, height = box.clientHeight;
  if (away < 60 || away > height - 60) box.scrollTop += away - height / 2;
}

// Tells screen readers a text, which the report also shows.
export const say = (text) => write($("said"), text);
