"use strict";
// Sequences, one by one or twelve at once.

const SPEEDS = [0.25, 0.5, 1, 1.5, 2, 3];
const CELL_KEYS = "1234567890ab";
const KEPT = 40;  // sequences whose pictures stay in memory, 6 MB each
const PACE_MS = 5 * 60000;
const DOUBLE_MS = 400;
const SEQUENCE_KEYS = [
  ["s", "skip"], ["z Backspace", "undo"], ["← →", "previous, next"], ["Space", "pause"],
  [", .", "a frame back, a frame on"], ["- +", "slower, faster"], ["f", "flag, to come back to"],
  ["g", "grid of twelve and back"], ["1 … 9 0 a b", "in the grid: change that one"],
  ["Enter", "in the grid: save the page"], ["?", "this"],
];

let work = null;     // of the split: see openState
let current = null;  // { item, seen, pictures, note }, the one that is shown
let cells = [];      // of the grid: { item, seen, value, touched, pictures, canvas, ... }
let pagesBefore = [];  // the items of the grid's pages before this one
let turnedAt = -Infinity;  // when a page of the grid was saved and the next came into view
let asked = { what: "", when: 0 };  // what a second press of the same key confirms
const player = { playing: true, speed: 1, began: 0, frame: 0 };
const cache = new Map();  // name -> promise of { pictures, note }, the latest used last

const openSplit = async (split) => openState(await ask("state", { split }));

async function openState(state) {
  const inGrid = cells.length > 0;
  current = null;
  cells = [];
  pagesBefore = [];
  for (const loaded of cache.values()) release(loaded);
  cache.clear();
  const all = state.names.map((name) => ({ name, repeat: false, answer: null, skipped: false }));
  work = {
    ...state,
    all,
    order: [...all],  // what is gone through: blind repeats, too, or only those walked
    labels: new Map(Object.entries(state.labels)),
    fps: new Map(Object.entries(state.fps)),
    flags: new Set(state.flags),
    walking: state.order === "review",  // through its order, whatever is labelled
    walked: new Set(),
    steps: [],    // { items, times, values, page, depth } or { skipped }, what Undo takes back
    answers: [],  // when each was given, ms
    repeatAt: Math.floor(Math.random() * state.repeat_every),
  };
  $("title").textContent = state.order === "review"
    ? "Review" : `${state.classes[1]} or ${state.classes[0]}?`;
  $("split").replaceChildren(...state.splits.map((name) =>
    make("option", name, { value: name, selected: name === state.split })));
  $("last").textContent = state.order === "review"
    ? "Press its label again to agree, the other to change it." : "";
  history.replaceState(null, "", `?split=${state.split}`);
  $("problems").replaceChildren(...state.problems.map((text) => make("li", text)));
  for (const [id, label] of [["zero", "0"], ["one", "1"]]) {
    $(id).replaceChildren(className(label), make("kbd", label));
  }
  tell("");
  await (inGrid ? openGrid(nextAfter(-1)) : show(nextAfter(-1)));
}

const className = (label) => work.classes[Number(label)];
const isLabel = (label) => label === "0" || label === "1";
const labelOf = (item) => (item.repeat ? item.answer : work.labels.get(item.name)) ?? "";
const isOpen = (item) => !isLabel(labelOf(item)) && !item.skipped;
const nameOf = (label) => (isLabel(label) ? className(label) : label || "without a label");

// The item to show after that index: the next without a label, from the start again at the end.
function nextAfter(index) {
  const after = work.order.slice(index + 1), before = work.order.slice(0, index + 1);
  if (work.walking) return after.find((item) => !item.repeat) ?? null;
  return after.find(isOpen) ?? before.find(isOpen) ?? null;
}

const nextOf = (item) => nextAfter(work.order.indexOf(item));

function upcoming(item, count) {
  const found = [];
  let next = item;
  while (next && found.length < count) {
    next = nextOf(next);
    if (!next || next === item || found.includes(next)) break;
    found.push(next);
  }
  return found;
}

// --- frames: one request a sequence

function load(name) {
  const loading = cache.get(name) ?? fetchFrames(name).catch((error) => {
    cache.delete(name);
    return { pictures: [], note: error.message };
  });
  cache.delete(name);
  cache.set(name, loading);
  return loading;
}

async function fetchFrames(sequence) {
  const query = new URLSearchParams({ split: work.split, sequence });
  const data = await (await request(`frames?${query}`)).arrayBuffer();
  const view = new DataView(data), count = view.getUint32(0, true);
  let begin = 4 * (count + 1);
  const decoding = Array.from({ length: count }, (_, k) => {
    const size = view.getUint32(4 * (k + 1), true);
    begin += size;
    const picture = new Blob([new Uint8Array(data, begin - size, size)]);
    return createImageBitmap(picture).catch(() => null);
  });
  const pictures = await Promise.all(decoding);
  const bad = pictures.flatMap((picture, k) => (picture ? [] : [k + 1]));
  const notes = [];
  if (bad.length > 3) notes.push(`${bad.length} frames cannot be read`);
  else if (bad.length) notes.push(`frame ${bad.join(", ")} cannot be read`);
  if (count !== work.seq_frames) notes.push(`${count} frames instead of ${work.seq_frames}`);
  return { pictures: pictures.filter(Boolean), note: notes.join("; ") };
}

async function release(loading) {
  for (const picture of (await loading).pictures) picture.close();
}

// Asks for what comes next, and lets go of what was used longest ago, but not of what is shown.
function prefetch(items) {
  for (const item of items) load(item.name);
  const shown = [current, ...cells].map((each) => each?.item.name);
  const wanted = new Set([...shown, ...items.map((item) => item.name)]);
  for (const name of [...cache.keys()]) {
    if (cache.size <= KEPT) break;
    if (wanted.has(name)) continue;
    release(cache.get(name));
    cache.delete(name);
  }
}

// --- the loop

function paint(now) {
  requestAnimationFrame(paint);
  const shown = cells.length ? cells : current ? [{ ...current, canvas: $("picture") }] : [];
  for (const { item, pictures, canvas } of shown) {
    if (!pictures.length) continue;
    if (player.playing) {
      player.frame = Math.floor(Math.max(0, now - player.began) / 1000 * rateOf(item));
    }
    const k = ((player.frame % pictures.length) + pictures.length) % pictures.length;
    if (canvas.dataset.frame === `${item.name} ${k}`) continue;
    draw(canvas, pictures[k]);
    canvas.dataset.frame = `${item.name} ${k}`;
  }
}

const rateOf = (item) => (work.fps.get(item?.name) ?? 30) * player.speed;

function draw(canvas, picture) {
  canvas.width = picture.width;
  canvas.height = picture.height;
  canvas.getContext("2d").drawImage(picture, 0, 0);
}

function restart() {
  player.began = performance.now();
  player.frame = 0;
}

function setPlaying(playing) {
  if (playing) {  // on from the frame that stands
    const item = cells.length ? cells[0].item : current?.item;
    player.began = performance.now() - (player.frame / rateOf(item)) * 1000;
  }
  player.playing = playing;
  $("pause").setAttribute("aria-pressed", String(!playing));
}

function stepFrame(by) {
  setPlaying(false);
  player.frame += by;
}

function changeSpeed(by) {
  const at = SPEEDS.indexOf(player.speed) + by;
  player.speed = SPEEDS[Math.min(Math.max(at, 0), SPEEDS.length - 1)];
  $("speed").textContent = `${player.speed}x`;
  setPlaying(player.playing);
}

// --- one by one

async function show(item) {
  $("grid").hidden = true;
  $("single").hidden = false;
  cells = [];
  $("playing").hidden = item === null;
  $("finished").hidden = item !== null;
  if (item === null) {
    current = null;
    return showFinished();
  }
  prefetch([item, ...upcoming(item, 2)]);
  const loaded = await load(item.name);
  current = { item, seen: labelOf(item), ...loaded };
  restart();
  const canvas = $("picture");
  if (loaded.pictures.length) draw(canvas, loaded.pictures[0]);
  else canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
  canvas.dataset.frame = "";
  canvas.dataset.sequence = item.name;
  render();
}

function render() {
  renderCounts();
  if (!current) return;
  const { item, note, seen } = current, canvas = $("picture");
  canvas.className = seen === "1" ? "is-one" : seen === "0" ? "is-zero" : "";
  // The name of a fresh sequence would give away which ones come back for a second answer.
  const all = work.names.length, place = Math.min(work.order.indexOf(item) + 1, all);
  const told = isLabel(seen) && !item.repeat
    ? `${item.name}: ${className(seen)}` : `Sequence ${place} of ${all}`;
  const odd = seen && !isLabel(seen)
    ? `the table has ${seen} for it, which an answer puts right` : "";
  $("about").textContent = current.pictures.length
    ? [told, odd, note].filter(Boolean).join(" · ") : `${item.name}: ${note} · skip it`;
  canvas.setAttribute("aria-label", $("about").textContent);
  const flagged = work.flags.has(item.name);
  $("flag").setAttribute("aria-pressed", String(flagged));
  $("flag").firstChild.textContent = flagged ? "Flagged" : "Flag";
}

const doneCount = () => [...work.labels.values()].filter(isLabel).length;

function renderCounts() {
  const done = doneCount(), all = work.names.length;
  const ones = [...work.labels.values()].filter((label) => label === "1").length;
  const recent = work.answers.filter((time) => Date.now() - time < PACE_MS);
  const spanMs = recent.length > 2 ? Math.max(Date.now() - recent[0], 2000) : 0;
  const pace = spanMs ? recent.length / (spanMs / 60000) : 0;
  const toWalk = work.order.filter((item) => !item.repeat).length;
  const left = work.walking ? toWalk - work.walked.size : all - done;
  $("done").textContent = work.walking
    ? `${work.walked.size} of ${toWalk} reviewed` : `${done} of ${all} done`;
  document.title = `${work.split}: ${$("done").textContent}`;
  $("bar").value = work.walking ? work.walked.size / (toWalk || 1) : done / (all || 1);
  const rows = [
    ["left", left], [className("1"), ones], [className("0"), done - ones],
    ["a minute", pace ? pace.toFixed(1) : "–"],
    ["time left", pace ? clock((left / pace) * 60) : "–"],
  ];
  const skipped = work.order.filter((item) => item.skipped && !item.repeat).length;
  if (skipped) rows.push(["skipped", skipped]);
  $("walk-back").hidden = !work.walking || work.order.length === work.all.length;
  $("walk-flagged").hidden = work.flags.size === 0;
  $("walk-flagged").textContent = `See the flagged (${work.flags.size})`;
  $("brief").textContent = [
    $("done").textContent, ...rows.slice(0, 5).map(([what, value]) => `${what} ${value}`),
  ].join(" · ");
  $("numbers").replaceChildren(
    ...rows.flatMap(([what, value]) => [make("dt", what), make("dd", value)]));
}

function showFinished() {
  renderCounts();
  const skipped = work.order.filter((item) => item.skipped && !item.repeat);
  const open = work.names.length - doneCount();
  $("finished-what").textContent = work.walking
    ? (work.order.length ? $("done").textContent : `There is nothing to review in ${work.split}`)
    : work.names.length === 0 ? `There is no sequence in ${work.split} yet`
      : open ? `${work.split}: ${open} are left, all skipped` : `${work.split} is finished`;
  const [, ones, zeros] = [...$("numbers").querySelectorAll("dd")].map((cell) => cell.textContent);
  $("finished-counts").textContent = work.names.length
    ? `${$("done").textContent}: ${ones} ${className("1")}, ${zeros} ${className("0")}` : "";
  const offer = (text, action) =>
    make("button", text, { onclick: () => enqueue(action) });
  const offers = work.splits.filter((name) => name !== work.split)
    .map((name) => offer(`Go to ${name}`, () => openSplit(name)));
  if (skipped.length) offers.unshift(offer("The skipped ones again", () => takeUp(skipped)));
  const labelled = work.all.filter((item) => isLabel(labelOf(item)));
  if (labelled.length && !work.walking) {
    offers.unshift(offer("Walk through the labels again", () => walk(labelled)));
  }
  $("finished-next").replaceChildren(...offers);
  $("said").textContent = $("finished-what").textContent;
  $("finished").focus();
}

function takeUp(skipped) {
  for (const item of skipped) item.skipped = false;
  return work.walking ? walk(skipped) : show(nextAfter(-1));
}

// Through these, one after the other, whatever is labelled.
function walk(items) {
  if (!mayLeave("walk")) return null;
  work.order = items;
  work.walking = true;
  work.walked.clear();
  work.steps = [];
  return show(nextAfter(-1));
}

async function answer(label) {
  if (!current) return;
  const { item, seen, pictures } = current, { name } = item;
  if (!pictures.length) throw new Error("There is nothing to see in it: skip it with s");
  let saved;
  if (item.repeat) {
    saved = await save("repeat", { split: work.split, sequence: name, label });
    item.answer = label;
  } else {
    const answers = [{ sequence: name, label, seen }];
    saved = await save("labels", { split: work.split, answers });
    if (takeConflicts(saved.conflicts)) return;
    work.labels.set(name, label);
  }
  noteAnswers([item], saved.time);
  tellLast(label, Object.entries(saved.probs ?? {}));
  await show(nextOf(item));
}

// Another tab or program has labelled them meanwhile: that stays, and is shown from now on.
function takeConflicts(conflicts) {
  const found = new Map(Object.entries(conflicts));
  if (!found.size) return false;
  for (const [name, label] of found) work.labels.set(name, label);
  for (const shown of [current, ...cells]) {
    if (!shown || !found.has(shown.item.name)) continue;
    shown.seen = found.get(shown.item.name);
    if (isLabel(shown.seen)) shown.value = shown.seen;
  }
  cells.forEach(renderCell);
  render();
  const told = [...found].map(([name, label]) => {
    const cell = cells.find(({ item }) => item.name === name);
    return `${cell ? `number ${CELL_KEYS[cell.k]}, ` : ""}${name} is ${nameOf(label)}`;
  });
  stop(`NOT SAVED: changed elsewhere meanwhile, and kept: ${told.join("; ")}. ` +
    `To change it, answer again.${cells.length ? " The others are saved." : ""}`);
  return true;
}

// Resolves when what comes back for a second answer, if anything, has its place.
async function noteAnswers(items, time) {
  tell("");
  asked.what = "";
  const values = new Map(items.map((item) => [item.name, labelOf(item)]));
  work.steps.push({ items, times: [time], values });
  let due = false;
  for (const item of items) {
    work.answers.push(Date.now());
    item.skipped = false;
    if (!item.repeat && work.order.includes(item)) work.walked.add(item.name);
    const place = work.answers.length % work.repeat_every;
    due ||= place === work.repeatAt;
    if (place === 0) work.repeatAt = Math.floor(Math.random() * work.repeat_every);
  }
  if (due) await bringBack();
}

// A labelled sequence comes back as if it were new, a few places on; the label stays as it is.
async function bringBack() {
  const { split, order } = work;
  if (work.walking || order.some((item) => item.repeat && isOpen(item))) return;
  const { sequence } = await ask("repeat", { split }).catch(() => ({ sequence: null }));
  if (!sequence || work.order !== order || work.walking) return;
  const shown = current?.item ?? cells.at(-1)?.item ?? order[0], at = upcoming(shown, 3).at(-1);
  const place = at ? order.indexOf(at) : order.length;
  order.splice(place, 0, { name: sequence, repeat: true, answer: null, skipped: false });
}

function tellLast(label, probs) {
  $("said").textContent = `${className(label)} saved, ${work.names.length - doneCount()} left`;
  let text = `Last: ${className(label)}`;
  for (const [, prob] of probs) {
    text += `. The model: ${className("1")} ${prob.toFixed(2)}, which ${
      (prob > 0.5 ? "1" : "0") === label ? "agrees" : "differs (← to look again)"}`;
  }
  $("last").textContent = text;
}

async function undo() {
  if (!mayLeave("z")) return;
  turnedAt = -Infinity;
  tell("");
  const step = work.steps.pop();
  if (!step) return undoEarlier();
  if (step.skipped) {
    step.skipped.skipped = false;
    return show(step.skipped);
  }
  try {
    for (const time of step.times) {
      const left = await takeChanges(await save("undo", { split: work.split, time }));
      for (const name of left) step.values.delete(name);
    }
  } catch (error) {
    work.steps.push(step);
    throw error;
  }
  for (const item of step.items) {
    if (item.repeat) item.answer = null;
    else work.walked.delete(item.name);
    work.answers.pop();
  }
  if (!step.page) return show(step.items[0]);
  for (const item of step.page) item.skipped = false;
  pagesBefore.length = Math.min(step.depth, pagesBefore.length);
  return openPage(step.page, step.values);
}

// Of an earlier session, or of another tab: told first, done when the key is pressed again.
async function undoEarlier() {
  const { time, sequences } = await ask("last", { split: work.split });
  if (!time) return tell("There is nothing to undo");
  if (!confirmed(`undo ${time}`)) {
    const what = sequences.length > 3 ? `${sequences.length} sequences` : sequences.join(", ");
    return tell(`That would take back what was answered before you opened this page: ${what}, ${
      new Date(time).toLocaleString()}. Press z again to do it.`);
  }
  await takeChanges(await save("undo", { split: work.split, time }));
  const item = work.all.find(({ name }) => name === sequences[0]);
  if (item) await show(item);
}

// Shows what an undo has changed, and returns the names of those that it had to leave.
async function takeChanges({ changes }) {
  const left = changes.filter(({ done }) => !done).map(({ sequence }) => sequence);
  for (const { sequence, label } of changes) {
    if (label) work.labels.set(sequence, label);
    else work.labels.delete(sequence);
  }
  if (!changes.length) takeLabels(await ask("state", { split: work.split }));
  const what = changes.length === 1 ? changes[0].sequence : `${changes.length} answers`;
  tell(left.length ? `Changed elsewhere since, and left as it is: ${left.join(", ")}`
    : changes.length ? `Undone: ${what}` : "That has been undone already");
  $("said").textContent = $("alert").textContent;
  $("last").textContent = "";
  return left;
}

function takeLabels(state) {
  const names = new Set(work.names);
  work.labels = new Map(Object.entries(state.labels).filter(([name]) => names.has(name)));
  work.flags = new Set(state.flags);
}

// Whether the same has been asked for just before, and not by a double click.
function confirmed(what) {
  const now = performance.now(), again = asked.what === what && now - asked.when > DOUBLE_MS;
  asked = { what: again ? "" : what, when: now };
  return again;
}

async function skip() {
  if (!current) return;
  tell("");
  current.item.skipped = true;
  work.steps.push({ skipped: current.item });
  await show(nextOf(current.item));
}

async function move(by) {
  const at = current ? work.order.indexOf(current.item) + by : work.order.length - 1;
  if (!work.order[at]) return tell(by < 0 ? "This is the first one" : "This is the last one");
  tell("");
  await show(work.order[at]);
}

async function flag() {
  if (!current) return;
  const { name } = current.item, flagged = !work.flags.has(name);
  await save("flag", { split: work.split, sequence: name, flagged });
  if (flagged) work.flags.add(name);
  else work.flags.delete(name);
  tell("");
  render();
}

// --- twelve at once

// A page of those still open from `first` on.
const openGrid = (first) =>
  (first ? openPage([first, ...upcoming(first, CELL_KEYS.length - 1)]) : show(null));

// A page of these items, with these answers, not saved yet, by name.
async function openPage(items, values = new Map()) {
  prefetch(items);
  const loaded = await Promise.all(items.map((item) => load(item.name)));
  $("grid").hidden = false;
  $("single").hidden = true;
  current = null;
  asked.what = "";
  cells = items.map((item, k) => makeCell(item, loaded[k], k, values.get(item.name)));
  $("cells").replaceChildren(...cells.map((cell) => cell.element));
  restart();
  cells.forEach(renderCell);
  renderCounts();
  prefetch(upcoming(items.at(-1), CELL_KEYS.length));
}

function makeCell(item, loaded, k, value) {
  const seen = labelOf(item), canvas = make("canvas", "", { width: 224, height: 224 });
  const face = make("button", "", { className: "face" }), text = make("span", "");
  const leave = make("button", "skip", { className: "leave" });
  const cell = { item, seen, touched: value !== undefined, ...loaded, canvas, face, text, k };
  cell.value = value ?? (isLabel(seen) ? seen : item.skipped ? "" : "0");
  if (!loaded.pictures.length) cell.value = "";
  face.append(canvas, text);
  face.onclick = () => enqueue(() => cells.includes(cell) && toggleCell(cell));
  leave.onclick = () => enqueue(() => cells.includes(cell) && leaveOut(cell));
  leave.setAttribute("aria-label", `Leave number ${k + 1} out`);
  if (loaded.pictures.length) draw(canvas, loaded.pictures[0]);
  cell.element = make("div", "", { className: "cell" });
  cell.element.append(face, make("span", CELL_KEYS[k], { className: "key" }), leave);
  return cell;
}

function leaveOut(cell) {
  cell.value = "";
  renderCell(cell);
}

function toggleCell(cell) {
  if (!cell.pictures.length) return;
  asked.what = "";
  turnedAt = -Infinity;
  cell.value = cell.value === "1" ? "0" : "1";
  cell.touched = true;
  renderCell(cell);
  $("said").textContent = cell.face.getAttribute("aria-label");
}

function renderCell(cell) {
  const { face, text, value, seen, note, k } = cell;
  face.className = `face ${value === "1" ? "is-one" : value === "0" ? "is-zero" : ""}`;
  const odd = seen && !isLabel(seen) ? `labelled ${seen}` : "";
  const kept = seen ? `stays ${nameOf(seen)}` : "left out";
  const told = value ? className(value) + (value === seen ? " ✓" : "") : kept;
  text.textContent = [told, odd, note].filter(Boolean).join(" · ");
  face.setAttribute("aria-label", `Number ${k + 1}: ${text.textContent}`);
  face.setAttribute("aria-pressed", String(value === "1"));
}

async function saveGrid() {
  const page = cells, items = page.map(({ item }) => item), depth = pagesBefore.length;
  const given = page.filter((cell) => cell.value);
  const changed = given.filter(({ item, value, seen }) =>
    !item.repeat && (value !== seen || work.walking));
  const answers = changed.map(({ item, value, seen }) =>
    ({ sequence: item.name, label: value, seen }));
  if (answers.length) {
    const saved = await save("labels", { split: work.split, answers });
    const done = changed.filter(({ item }) => !Object.hasOwn(saved.conflicts, item.name));
    for (const cell of done) {
      work.labels.set(cell.item.name, cell.value);
      cell.seen = cell.value;
    }
    let noted = null;
    if (done.length) {
      noted = noteAnswers(done.map(({ item }) => item), saved.time);
      const step = Object.assign(work.steps.at(-1), { page: items, depth });
      for (const { item, value } of page) if (!value) step.values.set(item.name, "");
    }
    if (takeConflicts(saved.conflicts)) return;
    await noted;
    tellPage(done, new Map(Object.entries(saved.probs)));
  }
  for (const { item, value } of given.filter((cell) => cell.item.repeat)) {
    if (item.answer === value) continue;
    const { time } = await save("repeat", { split: work.split, sequence: item.name, label: value });
    item.answer = value;
    noteAnswers([item], time);
    if (answers.length) joinLastSteps();
  }
  for (const { item, value } of page) if (!value) item.skipped = true;
  if (!given.length) {
    work.steps.push({ items: [], times: [], values: new Map(), page: items, depth });
  }
  pagesBefore.push(items);
  await openGrid(nextOf(items.at(-1)));
  turnedAt = performance.now();
}

// A page's blind second answers are undone with the page.
function joinLastSteps() {
  const { items, times, values } = work.steps.pop(), page = work.steps.at(-1);
  page.items.push(...items);
  page.times.push(...times);
  for (const [name, value] of values) page.values.set(name, value);
}

function tellPage(done, probs) {
  const differs = done.filter(({ item, value }) =>
    probs.has(item.name) && (probs.get(item.name) > 0.5 ? "1" : "0") !== value);
  $("said").textContent = `${done.length} saved`;
  $("last").textContent = `Last page: ${done.length} saved` + (differs.length
    ? `. The model differs on ${differs.map(({ item }) => item.name).join(", ")}` : "");
}

// Whether to go from a page with changes that are not saved: the first time it is only said.
function mayLeave(key) {
  const touched = ({ touched, value, seen }) => touched && value && value !== seen;
  if (!cells.some(touched)) return true;
  if (confirmed(`leave ${key}`)) return true;
  tell("This page has changes that are not saved: Enter saves it; once more, and they are dropped");
  return false;
}

async function moveGrid(by) {
  if (by < 0 && !pagesBefore.length) return tell("This is the first page");
  if (!mayLeave(by)) return;
  turnedAt = -Infinity;
  tell("");
  if (by < 0) return openPage(pagesBefore.pop());
  pagesBefore.push(cells.map(({ item }) => item));
  return openGrid(nextOf(cells.at(-1).item));
}

async function switchView() {
  if (!cells.length) {
    tell("");
    pagesBefore = [];
    return openGrid(current?.item ?? nextAfter(-1));
  }
  if (!mayLeave("g")) return;
  tell("");
  await show(cells[0].item);
}

// What other tabs and programs have changed meanwhile; for when a person comes back to the page.
async function refresh() {
  takeLabels(await ask("state", { split: work.split }));
  if (!current && !cells.length && !work.walking) return show(nextAfter(-1));
  const shown = [current, ...cells].filter((each) => each && !each.item.repeat);
  const changed = shown.filter(({ item, seen }) => labelOf(item) !== seen);
  for (const each of changed) {
    each.seen = labelOf(each.item);
    if (isLabel(each.seen)) each.value = each.seen;
    if (each.face) renderCell(each);
  }
  render();
  if (!changed.length) return null;
  const told = changed.map(({ item, seen }) => `${item.name} is ${nameOf(seen)}`);
  return stop(`Changed elsewhere meanwhile: ${told.join(", ")}`);
}

async function showAgreement() {
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
    button.onclick = () => {
      $("agreement").close();
      const item = work.all.find(({ name }) => name === row.sequence);
      if (item) enqueue(() => mayLeave(row.sequence) && show(item));
    };
    return button;
  }));
  $("agreement").showModal();
}

// The menu shows the split that is labelled, also where the change is refused or fails.
function changeSplit(event) {
  const menu = event.target, wanted = menu.value;
  menu.value = work.split;
  menu.blur();
  enqueue(() => mayLeave(wanted) && openSplit(wanted));
}

const ACTIONS = {
  __proto__: null,
  s: skip, z: undo, Backspace: undo, ArrowLeft: () => move(-1), ArrowRight: () => move(1),
  f: flag, g: switchView, 0: () => answer("0"), 1: () => answer("1"),
};
const GRID_ACTIONS = {
  __proto__: null,
  z: undo, Backspace: undo, ArrowLeft: () => moveGrid(-1), ArrowRight: () => moveGrid(1),
  g: switchView, Enter: saveGrid,
};
const AT_ONCE = {
  __proto__: null,
  " ": () => setPlaying(!player.playing), ",": () => stepFrame(-1), ".": () => stepFrame(1),
  "-": () => changeSpeed(-1), "+": () => changeSpeed(1), "=": () => changeSpeed(1),
  "?": showSequenceHelp,
};

function showSequenceHelp() {
  showHelp([["1", className("1")], ["0", className("0")], ...SEQUENCE_KEYS]);
}

function onSequenceKey(event) {
  const key = keyOf(event);
  if (!key || !work) return;
  if (key in AT_ONCE) AT_ONCE[key]();
  else if (key in ACTIONS || key in GRID_ACTIONS || CELL_KEYS.includes(key)) {
    const page = cells;
    if (!event.repeat || (key.startsWith("Arrow") && !page.length)) enqueue(() => act(key, page));
  } else return;
  event.preventDefault();
}

// What a key means is settled when its turn comes; in the grid it is for the page then in view.
function act(key, page) {
  if (page.length ? page !== cells : cells.length) return null;
  // Pressed twice, Enter would save a page that nobody has looked at.
  if (cells.length && key === "Enter" && performance.now() - turnedAt < DOUBLE_MS) return null;
  if (!cells.length) return ACTIONS[key]?.();
  const cell = cells[CELL_KEYS.indexOf(key)];
  return cell ? toggleCell(cell) : GRID_ACTIONS[key]?.();
}

async function startSequences(state) {
  const clicks = {
    zero: () => answer("0"), one: () => answer("1"), undo, skip, flag, left: () => move(-1),
    right: () => move(1), "to-grid": switchView, "to-agreement": showAgreement,
    "grid-left": () => moveGrid(-1), "grid-right": () => moveGrid(1), "grid-undo": undo,
    "walk-flagged": () => walk(work.all.filter(({ name }) => work.flags.has(name))),
    "walk-back": () => mayLeave("back") && openSplit(work.split),
  };
  for (const [id, action] of Object.entries(clicks)) $(id).onclick = () => enqueue(action);
  $("grid-save").onclick = (event) => {
    const page = cells;
    if (event.detail < 2) enqueue(() => act("Enter", page));  // not twice for a double click
  };
  const atOnce = {
    pause: () => setPlaying(!player.playing), slower: () => changeSpeed(-1),
    faster: () => changeSpeed(1), "to-help": showSequenceHelp, "picture-back": () => stepFrame(-1),
    "picture-on": () => stepFrame(1),
  };
  for (const [id, action] of Object.entries(atOnce)) $(id).onclick = action;
  $("split").onchange = changeSplit;
  document.addEventListener("keydown", onSequenceKey);
  await openState(state);
  window.addEventListener("focus", () => enqueue(refresh));
  requestAnimationFrame(paint);
}
