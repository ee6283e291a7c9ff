"use strict";
enqueue(async () => {
  try {
    const split = new URLSearchParams(location.search).get("split") ?? "";
    const state = await ask("state", { split });
    $("main").hidden = false;
    await (state.match ? startMatch() : startSequences(state));
  } catch (error) {
    $("main").hidden = true;
    throw new Error(`${error.message}. Put that right and load this page again.`);
  }
});
