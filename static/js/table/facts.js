// What an object's story says in one row of the table: attempts, worker, times.
// Reads rows that the server folded; knows no rule by which an object comes from one state to the next.

export const [WAITING, READY, RUNNING, RETRYING, LOADED, FAILED, SKIPPED, CANCELLED] = [0, 1, 2, 3, 4, 5, 6, 7];
const ROW = 4; // numbers in a story's row: t, state, attempt, worker

/**
 * @typedef {object} Facts
 * @property {number} state  its code
 * @property {number} attempts  how many attempts there were, 0 where there was none
 * @property {number} worker  the number of who had it last, -1: nobody
 * @property {number|null} readyAt  when the last attempt was offered
 * @property {number|null} startedAt  when its work began
 * @property {number|null} endedAt  when the object came to rest, or the attempt that is to be repeated ended
 * @property {number|null} waitedMs  from the offer to the work's beginning, or till now while it is ready
 * @property {number|null} ranMs  from the work's beginning to its end, or till now while it runs
 */

/**
 * The facts of one story at one instant.
 * @param {ArrayLike<number>} story  t, state, attempt, worker, and again, in time order
 * @param {number} at  what is later than this has not happened yet
 * @param {number} now  the clock that what goes on is measured by
 * @returns {Facts}
 */
export function factsOf(story, at, now) {
  const facts = { state: WAITING, attempts: 0, worker: -1, readyAt: null, startedAt: null, endedAt: null, waitedMs: null, ranMs: null };
  for (let k = 0; k < story.length && story[k] <= at; k += ROW) {
    const [t, state, attempt, worker] = [story[k], story[k + 1], story[k + 2], story[k + 3]];
    facts.state = state;
    if (worker >= 0) facts.worker = worker;
    if (state === READY) {
      facts.readyAt = t;
      facts.startedAt = null;
      facts.endedAt = null;
    } else if (state === RUNNING) {
      facts.startedAt = t;
      facts.endedAt = null;
    } else if (state !== WAITING) {
      facts.endedAt = t;
    }
    if (state >= READY && state <= FAILED) facts.attempts = Math.max(facts.attempts, attempt);
  }
  const span = (from, to) => (from === null || to === null ? null : Math.max(0, to - from));
  facts.waitedMs = span(facts.readyAt, facts.startedAt ?? (facts.state === READY ? now : null));
  facts.ranMs = span(facts.startedAt, facts.endedAt ?? (facts.state === RUNNING ? now : null));
  return facts;
}
