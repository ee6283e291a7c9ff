// The page's elements: found, made, written to.

export const $ = (id) => document.getElementById(id);

export function make(tag, text, properties = {}) {
  const element = Object.assign(document.createElement(tag), properties);
  element.textContent = text;
  return element;
}

// Leaves alone what is as it should be: a screen reader hears changes only.
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Scrolls a box, which has a position of its own, until a row of it is in view; the page stays.
export function scrollToRow(box, row) {
  const away = row.offsetTop - box.scrollTop, height = box.clientHeight;
  if (away < 60 || away > height - 60) box.scrollTop += away - height / 2;
}

// What screen readers are told, and the report shows as well.
export const say = (text) => write($("said"), text);
