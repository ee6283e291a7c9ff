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

// What screen readers are told, and the report shows as well.
export const say = (text) => write($("said"), text);
