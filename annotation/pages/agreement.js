// How far a person agrees with herself: what the blind second answers say.

import { $, make } from "../../web/elements.js";
import { mayLeave } from "./cells.js";
import { ask, enqueue } from "./requests.js";
import { show } from "./single.js";
import { className, itemNamed, work } from "./work.js";

export async function showAgreement() {
  const found = await ask("agreement", { split: work.split });
  const kappa = found.kappa === null ? "is not defined (one class)" : found.kappa?.toFixed(2);
  $("agreement-what").textContent = found.n === 0
    ? "No sequence has come back for a second answer yet: about one in twenty will, unannounced."
    : `Cohen's kappa ${kappa}: ${found.same} of ${found.n} blind second answers agree ` +
      `(95 % interval ${found.same_95.map((share) => share.toFixed(2)).join(" to ")}).` +
      (found.different.length ? " Answered differently:" : "");
  $("agreement-list").replaceChildren(...found.different.map((row) => {
    const told = `${row.sequence}: ${className(row.first)}, then ${className(row.second)}`;
    const button = make("button", told);
    button.addEventListener("click", () => {
      $("agreement").close();
      const item = itemNamed(row.sequence);
      if (item) enqueue(() => mayLeave(row.sequence) && show(item));
    });
    return button;
  }));
  $("agreement").showModal();
}
