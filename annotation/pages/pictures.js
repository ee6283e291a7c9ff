// The frames of sequences: loads each sequence with one request, some ahead, and plays them.

import { $ } from "../../web/elements.js";
import { within } from "../../web/time.js";
import { request } from "./requests.js";
import { view, work } from "./work.js";

const SPEEDS = [0.25, 0.5, 1, 1.5, 2, 3];
const KEPT = 40;  // sequences kept in memory, 6 MB each
const loop = { playing: true, speed: 1, began: 0, frame: 0 };
const cache = new Map();  // name -> promise of { pictures, note }, least recently used first

export function load(name) {
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
  const numbers = new DataView(data), count = numbers.getUint32(0, true);
  let begin = 4 * (count + 1);
  const decoding = Array.from({ length: count }, (_, k) => {
    const size = numbers.getUint32(4 * (k + 1), true);
    begin += size;
    const picture = new Blob([new Uint8Array(data, begin - size, size)]);
    return createImageBitmap(picture).catch(() => null);
  });
  const pictures = await Promise.all(decoding);
  const bad = pictures.flatMap((picture, k) => (picture ? [] : [k + 1]));
  const notes = [];
  if (bad.length > 3) notes.push(`${bad.length} frames cannot be read`);
  else if (bad.length > 1) notes.push(`frames ${bad.join(", ")} cannot be read`);
  else if (bad.length) notes.push(`frame ${bad[0]} cannot be read`);
  if (count !== work.seq_frames) notes.push(`${count} frames instead of ${work.seq_frames}`);
  return { pictures: pictures.filter(Boolean), note: notes.join("; ") };
}

async function release(loading) {
  for (const picture of (await loading).pictures) picture.close();
}

export function releaseAll() {
  for (const loading of cache.values()) release(loading);
  cache.clear();
}

// Loads these items, and drops the least recently used ones, but never those in view.
export function prefetch(items) {
  for (const item of items) load(item.name);
  const shown = [view.current, ...view.cells].map((each) => each?.item.name);
  const wanted = new Set([...shown, ...items.map((item) => item.name)]);
  for (const name of cache.keys()) {
    if (cache.size <= KEPT) break;
    if (wanted.has(name)) continue;
    release(cache.get(name));
    cache.delete(name);
  }
}

const rateOf = (item) => (work.fps.get(item?.name) ?? 30) * loop.speed;

export function drawPicture(canvas, picture) {
  canvas.width = picture.width;
  canvas.height = picture.height;
  canvas.getContext("2d").drawImage(picture, 0, 0);
}

// Draws all sequences in view; runs for every frame of the screen.
export function paint(now) {
  requestAnimationFrame(paint);
  const { cells, current } = view;
  const shown = cells.length ? cells : current ? [{ ...current, canvas: $("picture") }] : [];
  for (const { item, pictures, canvas } of shown) {
    if (!pictures.length) continue;
    if (loop.playing) {
      loop.frame = Math.floor((Math.max(0, now - loop.began) / 1000) * rateOf(item));
    }
    const k = ((loop.frame % pictures.length) + pictures.length) % pictures.length;
    if (canvas.dataset.frame === `${item.name} ${k}`) continue;
    drawPicture(canvas, pictures[k]);
    canvas.dataset.frame = `${item.name} ${k}`;
  }
}

export function restart() {
  loop.began = performance.now();
  loop.frame = 0;
}

function setPlaying(playing) {
  if (playing) {  // go on from the frame on screen
    const item = view.cells.length ? view.cells[0].item : view.current?.item;
    loop.began = performance.now() - (loop.frame / rateOf(item)) * 1000;
  }
  loop.playing = playing;
  $("pause").setAttribute("aria-pressed", String(!playing));
}

export const togglePlaying = () => setPlaying(!loop.playing);

export function stepFrame(by) {
  setPlaying(false);
  loop.frame += by;
}

export function changeSpeed(by) {
  const at = SPEEDS.indexOf(loop.speed) + by;
  loop.speed = SPEEDS[within(at, 0, SPEEDS.length - 1)];
  $("speed").textContent = `${loop.speed}x`;
  setPlaying(loop.playing);
}
