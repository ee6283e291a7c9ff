// The sequences of a split: their labels, flags and order, and what is in view.

export let work = null;  // what the server answers to /state, plus the fields in openWork

export const view = {
  current: null,        // { item, seen, pictures, note }, the sequence in view
  cells: [],            // of the grid, { item, seen, value, touched, pictures, canvas, ... } each
  pagesBefore: [],      // items of each earlier page of the grid
  turnedAt: -Infinity,  // when a saved page of the grid was replaced by the next
};

// `state` is what the server answers to /state.
export function openWork(state) {
  const all = state.names.map((name) => ({ name, repeat: false, answer: null, skipped: false }));
  work = {
    ...state,
    all,
    order: [...all],  // the order of labelling, with blind repeats; or only the items of a walk
    labels: new Map(Object.entries(state.labels)),
    fps: new Map(Object.entries(state.fps)),
    flags: new Set(state.flags),
    walking: state.order === "review",  // goes through all of `order`, whether labelled or not
    walked: new Set(),
    changes: [],  // { items, times, values, page, depth } or { skipped }, for Undo
    answers: [],  // when each answer was given, ms
    repeatAt: Math.floor(Math.random() * state.repeat_every),
  };
  Object.assign(view, { current: null, cells: [], pagesBefore: [] });
}

// Takes over the labels and flags that the server has now.
export function takeLabels(state) {
  const names = new Set(work.names);
  work.labels = new Map(Object.entries(state.labels).filter(([name]) => names.has(name)));
  work.flags = new Set(state.flags);
}

export const className = (label) => work.classes[Number(label)];
export const isLabel = (label) => label === "0" || label === "1";
export const labelName = (label) =>
  (isLabel(label) ? className(label) : label || "without a label");
export const labelOf = (item) => (item.repeat ? item.answer : work.labels.get(item.name)) ?? "";
export const isOpen = (item) => !isLabel(labelOf(item)) && !item.skipped;
export const itemNamed = (wanted) => work.all.find(({ name }) => name === wanted);
export const skippedItems = () => work.order.filter((item) => item.skipped && !item.repeat);
export const labelledItems = () => work.all.filter((item) => isLabel(labelOf(item)));
export const doneCount = () => [...work.labels.values()].filter(isLabel).length;

// The item to show after that index: the next unlabelled one, from the start again at the end.
export function nextAfter(index) {
  const after = work.order.slice(index + 1), before = work.order.slice(0, index + 1);
  if (work.walking) return after.find((item) => !item.repeat) ?? null;
  return after.find(isOpen) ?? before.find(isOpen) ?? null;
}

export const nextOf = (item) => nextAfter(work.order.indexOf(item));

export function upcoming(item, count) {
  const following = [];
  let next = item;
  while (next && following.length < count) {
    next = nextOf(next);
    if (!next || next === item || following.includes(next)) break;
    following.push(next);
  }
  return following;
}
