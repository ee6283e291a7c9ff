// Saves the corrected rallies.csv through the browser.

import { make, say } from "../../web/elements.js";
import { render } from "./list.js";
import { asText, edited, keep, kept } from "./rallies.js";

function asCsv() {
  const lines = kept().map(({ start, end, confidence }) => (
    [...[start, end, end - start].map((sec) => sec.toFixed(3)), confidence ?? ""].join(",")));
  return ["start_sec,end_sec,duration_sec,confidence", ...lines, ""].join("\n");
}

// Returns the address of a file as a readable path.
export function pathOf(address) {
  const { href, pathname } = new URL(address, location.href);
  try {
    const path = decodeURIComponent(pathname);
    return href.startsWith("file:///") ? path.replace(/^\/(?=[A-Za-z]:)/, "") : decodeURI(href);
  } catch {  // the name is not UTF-8
    return href;
  }
}

export async function saveTable() {
  const text = asCsv(), now = asText(), folder = pathOf(".");
  if (window.showSaveFilePicker) {
    say(`Overwrite the rallies.csv in ${folder}`);
    try {
      const types = [{ description: "Table", accept: { "text/csv": [".csv"] } }];
      const handle = await window.showSaveFilePicker({ suggestedName: "rallies.csv", types });
      const file = await handle.createWritable();
      await file.write(text);
      await file.close();
      return noteSaved(now, `Saved. Make sure that it is the rallies.csv in ${folder}`);
    } catch (error) {
      if (error.name === "AbortError") return say("Not saved");
      if (error.name !== "SecurityError") return say(`NOT SAVED: ${error.message}`);
    }
  }
  const link = make("a", "", { download: "rallies.csv" });
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  return noteSaved(now, `rallies.csv is in your downloads. Move it to ${folder} and replace the old one`);
}

function noteSaved(text, words) {
  edited.saved = text;
  keep();
  render();
  say(words);
}
