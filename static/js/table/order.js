// Which objects the table shows, and in which order. Pure: numbers and texts in, places in the graph out.
// Knows nothing of columns' words, of the server, of rows on a screen.

import { fold } from './text.js';

/**
 * The places of the objects that a text and a stage leave.
 * @param {number} n  how many objects there are
 * @param {{q?:string, stage?:number|null, haystack:(i:number)=>string, stageOf:ArrayLike<number>}} by  haystack is folded text
 * @returns {Uint32Array}
 */
export function matching(n, { q = '', stage = null, haystack, stageOf }) {
  const words = fold(q).split(/\s+/).filter(Boolean);
  const found = new Uint32Array(n);
  let count = 0;
  for (let i = 0; i < n; i += 1) {
    if (stage !== null && stageOf[i] !== stage) continue;
    if (words.length > 0) {
      const text = haystack(i);
      if (!words.every((word) => text.includes(word))) continue;
    }
    found[count] = i;
    count += 1;
  }
  return found.slice(0, count);
}

/**
 * How many of these objects are in each state.
 * @param {Uint32Array} places
 * @param {ArrayLike<number>} states
 * @returns {number[]}  by state code
 */
export function countStates(places, states) {
  const counts = new Array(8).fill(0);
  for (const i of places) counts[states[i]] += 1;
  return counts;
}

/**
 * Those of these objects that are in one of the wanted states, or have something else that is wanted; where nothing is
 * wanted, all of them.
 * @param {Uint32Array} places
 * @param {ArrayLike<number>} states
 * @param {Set<number>} wanted  state codes
 * @param {((i:number)=>boolean)|null} [also]  null: nothing else is wanted
 * @returns {Uint32Array}
 */
export function inStates(places, states, wanted, also = null) {
  if (wanted.size === 0 && also === null) return places;
  return places.filter((i) => wanted.has(states[i]) || also?.(i) === true);
}

/**
 * The same places in the order of a column's keys. Objects without a value come last in either direction; equals keep
 * the plan's order.
 * @param {Uint32Array} places
 * @param {(i:number)=>number|string|null} keyOf
 * @param {boolean} descending
 * @returns {Uint32Array}
 */
export function sorted(places, keyOf, descending) {
  const keys = []; // by place; each is asked for once
  const valued = [];
  const empty = [];
  for (const i of places) {
    const key = keyOf(i);
    if (key === null || key === undefined || key === '' || Number.isNaN(key)) empty.push(i);
    else {
      keys[i] = key;
      valued.push(i);
    }
  }
  const turn = descending ? -1 : 1;
  valued.sort((a, b) => {
    const x = keys[a];
    const y = keys[b];
    if (x < y) return -turn;
    if (x > y) return turn;
    return a - b;
  });
  empty.sort((a, b) => a - b);
  return Uint32Array.from([...valued, ...empty]);
}

/**
 * The rows that are to be drawn.
 * @param {{top:number, height:number, row:number, count:number, spare:number}} of  pixels, pixels, pixels, rows, rows
 * @returns {{from:number, to:number}}  to is not drawn any more
 */
export function windowOf({ top, height, row, count, spare }) {
  const from = Math.max(0, Math.min(count, Math.floor(top / row) - spare));
  const to = Math.max(from, Math.min(count, Math.ceil((top + height) / row) + spare));
  return { from, to };
}
