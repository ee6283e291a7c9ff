// The beginning: the server says whether sequences are to be labelled or a match is to be marked.

import { $ } from "../../web/elements.js";
import { freeKeysAfterClicks } from "../../web/keys.js";
import { startMatch } from "./match.js";
import { ask, enqueue } from "./requests.js";
import { startSequences } from "./sequences.js";

// A button that is held down with Enter or Space is pressed once.
document.addEventListener("keydown", (event) => {
  if (event.repeat && event.target.closest?.("button")) event.preventDefault();
}, true);

freeKeysAfterClicks();
enqueue(async () => {
  try {
    const split = new URLSearchParams(location.search).get("split") ?? "";
    const state = await ask("state", { split });
    $("main").hidden = false;
    await (state.match ? startMatch() : startSequences(state));
  } catch (error) {
    $("main").hidden = true;
    throw new Error(`${error.message}. Put that right and load this page again.`, { cause: error });
  }
});
