// What each worker did in a run, counted from the objects' stories. Pure.

import { FAILED, LOADED, RETRYING, RUNNING } from '../table/facts.js';

const ROW = 4; // numbers in a story's row: t, state, attempt, worker

/**
 * @typedef {object} Tally
 * @property {number} loaded
 * @property {number} failed  attempts that failed
 * @property {number} ranMs  of those whose beginning and end are known
 * @property {number} ran  how many these are
 * @property {{i:number, since:number, attempt:number}[]} holds  what it runs at that instant
 */

/**
 * @param {number} n  objects
 * @param {(i:number)=>ArrayLike<number>} storyOf
 * @param {number} at  what is later has not happened yet
 * @returns {Map<number, Tally>} by the worker's number
 */
export function tallyOf(n, storyOf, at) {
  const tallies = new Map();
  const of = (worker) => {
    let tally = tallies.get(worker);
    if (!tally) tallies.set(worker, tally = { loaded: 0, failed: 0, ranMs: 0, ran: 0, holds: [] });
    return tally;
  };
  for (let i = 0; i < n; i += 1) {
    const story = storyOf(i);
    let [holder, since, attempt] = [-1, 0, 0];
    for (let k = 0; k < story.length && story[k] <= at; k += ROW) {
      const state = story[k + 1];
      const worker = story[k + 3] >= 0 ? story[k + 3] : holder;
      if (state === RUNNING) {
        [holder, since, attempt] = [story[k + 3], story[k], story[k + 2]];
        continue;
      }
      if (worker >= 0 && (state === LOADED || state === FAILED || state === RETRYING)) {
        const tally = of(worker);
        if (state === LOADED) tally.loaded += 1;
        else tally.failed += 1;
        if (holder === worker) {
          tally.ranMs += story[k] - since;
          tally.ran += 1;
        }
      }
      holder = -1;
    }
    if (holder >= 0) of(holder).holds.push({ i, since, attempt });
  }
  return tallies;
}
