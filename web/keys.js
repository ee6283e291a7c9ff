// The keyboard: which key the page should act on, and the list of keys in the help.

import { $, make } from "./elements.js";

// The name of a key that the page should act on; "" for all others, which go to the browser.
// With Ctrl or Cmd, the page acts only on the keys in `commands`.
export function keyOf(event, commands = []) {
  const control = event.target.closest?.("button, summary, select, input");
  const pressing = control && [" ", "Enter"].includes(event.key);
  const choosing = control?.matches("select, input");
  const reading = document.querySelector("dialog[open]");
  if (reading || pressing || choosing || event.isComposing) return "";
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const altgr = event.getModifierState("AltGraph");  // many keyboards need it for [ and ]
  if ((event.ctrlKey || event.metaKey) && !event.altKey && commands.includes(key)) return key;
  if (event.metaKey || ((event.ctrlKey || event.altKey) && !altgr)) return "";
  const digit = /^Digit(\d)$/.exec(event.code);
  if (digit && !event.shiftKey && !altgr) return digit[1];  // AZERTY digits need shift
  return key;
}

// `keys` are pairs: the names of keys with spaces between them, and what they do.
export function showHelp(keys) {
  $("help-keys").replaceChildren(...keys.map(([names, what]) => {
    const item = make("li", "");
    item.append(...names.split(" ").map((name) => make("kbd", name)), what);
    return item;
  }));
  $("help").showModal();
}

// A button clicked with the mouse loses the focus, so that Space does not press it again.
export function freeKeysAfterClicks() {
  document.addEventListener("click", (event) => {
    if (event.detail > 0) event.target.closest?.("button")?.blur();
  }, true);
}
