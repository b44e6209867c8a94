// One lane, as it is drawn: the attempts that are seen, those below a few pixels merged into columns of the state that
// matters most there. So a lane costs at most its width, however many attempts it has. Pure.

import { CANCELLED, FAILED, LOADED, READY, RETRYING, RUNNING } from './attempts.js';

/** Narrower than this is not a bar of its own. */
export const NARROW = 3;

const WEIGHT = new Uint8Array(8);
WEIGHT[READY] = 1;
WEIGHT[LOADED] = 2;
WEIGHT[RUNNING] = 3;
WEIGHT[CANCELLED] = 4;
WEIGHT[RETRYING] = 5;
WEIGHT[FAILED] = 6;

/** The state of an attempt as it stood at `until`. */
export function stateAt(attempts, a, until) {
  return attempts.end[a] <= until ? attempts.outcome[a] : RUNNING;
}

/** The place in a lane of the first attempt that ends at or after `t`. @param {ArrayLike<number>} end @param {number[]} ids @param {number} t */
export function firstEnding(end, ids, t) {
  let low = 0;
  let high = ids.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (end[ids[middle]] < t) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Tells `bar(a, x0, x1, state, previousEnd)` for what is wide enough and `column(x0, x1, state)` for the rest.
 * @param {import('./attempts.js').Attempts} attempts
 * @param {number[]} ids one lane, in time order
 * @param {{from:number,to:number,scale:number}} view
 * @param {number} until nothing later has happened yet
 * @param {(a:number,x0:number,x1:number,state:number,before:number)=>void} bar
 * @param {(x0:number,x1:number,state:number)=>void} column
 * @param {(a:number)=>boolean} [wanted] leaves out what it refuses
 */
export function sweep(attempts, ids, view, until, bar, column, wanted) {
  const { start, end } = attempts;
  const { from, to, scale } = view;
  let c0 = 0;
  let c1 = -1;
  let worst = 0;
  const flush = () => {
    if (c1 > c0) column(c0, c1, worst);
    c1 = -1;
  };
  for (let k = firstEnding(end, ids, from); k < ids.length; k += 1) {
    const a = ids[k];
    if (start[a] > to || start[a] > until) break;
    if (wanted && !wanted(a)) continue;
    const state = stateAt(attempts, a, until);
    const x0 = (start[a] - from) * scale;
    const x1 = (Math.min(end[a], until) - from) * scale;
    if (x1 - x0 >= NARROW) {
      flush();
      bar(a, x0, x1, state, k > 0 ? end[ids[k - 1]] : -Infinity);
      continue;
    }
    let p0 = Math.floor(x0);
    const p1 = Math.max(p0 + 1, Math.ceil(x1));
    if (c1 < 0) {
      [c0, c1, worst] = [p0, p1, state];
    } else if (WEIGHT[state] === WEIGHT[worst] && p0 <= c1) {
      c1 = Math.max(c1, p1);
    } else if (p0 < c1 && WEIGHT[state] > WEIGHT[worst]) {
      c1 = p0;
      flush();
      [c0, c1, worst] = [p0, p1, state];
    } else {
      p0 = Math.max(p0, c1);
      if (p1 > p0) {
        flush();
        [c0, c1, worst] = [p0, p1, state];
      }
    }
  }
  flush();
}

/**
 * The attempt nearest to an instant in a lane, or -1 where none is within `slack` milliseconds.
 * @param {import('./attempts.js').Attempts} attempts @param {number[]} ids @param {number} t @param {number} slack @param {number} until
 */
export function nearest(attempts, ids, t, slack, until) {
  const { start, end } = attempts;
  let best = -1;
  let least = slack;
  // Not the first one only: a lane may hold two that touch, and the pointer may be between them.
  for (let k = Math.max(0, firstEnding(end, ids, t) - 1); k < ids.length; k += 1) {
    const a = ids[k];
    if (start[a] > until || start[a] > t + slack) break;
    const stop = Math.min(end[a], until);
    const distance = t < start[a] ? start[a] - t : t > stop ? t - stop : 0;
    if (distance <= least && (best < 0 || distance < least)) {
      best = a;
      least = distance;
    }
  }
  return best;
}
