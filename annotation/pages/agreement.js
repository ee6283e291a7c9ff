// The agreement dialog: how well the blind second answers agree with the first ones.

import { $, make } from "../../web/elements.js";
import { mayLeave } from "./cells.js";
import { ask, enqueue } from "./requests.js";
import { show } from "./single.js";
import { className, itemNamed, work } from "./work.js";

export async function showAgreement() {
  const result = await ask("agreement", { split: work.split });
  const kappa = result.kappa === null ? "is not defined (one class)" : result.kappa?.toFixed(2);
  $("agreement-what").textContent = result.n === 0
    ? "No second answers yet: about one answer in twenty is asked again, unannounced."
    : `Cohen's kappa ${kappa}: ${result.same} of ${result.n} blind second answers agree ` +
      `(95 % interval ${result.same_95.map((bound) => bound.toFixed(2)).join(" to ")}).` +
      (result.different.length ? " Answered differently:" : "");
  $("agreement-list").replaceChildren(...result.different.map((row) => {
    const text = `${row.sequence}: ${className(row.first)}, then ${className(row.second)}`;
    const button = make("button", text);
    button.addEventListener("click", () => {
      $("agreement").close();
      const item = itemNamed(row.sequence);
      if (item) enqueue(() => mayLeave(row.sequence) && show(item));
    });
    return button;
  }));
  $("agreement").showModal();
}
