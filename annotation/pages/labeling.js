// The start of the page: asks the server whether to label sequences or to mark a match.

import { $ } from "../../web/elements.js";
import { freeKeysAfterClicks } from "../../web/keys.js";
import { startMatch } from "./match.js";
import { ask, enqueue } from "./requests.js";
import { startSequences } from "./sequences.js";

// Holding Enter or Space on a button presses it only once.
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
    throw new Error(`${error.message}. Fix this, then reload the page.`, { cause: error });
  }
});
