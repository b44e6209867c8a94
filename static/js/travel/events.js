// The instants of a run at which something happened: the one before and the one after an instant, and how many objects
// ended in each part of the run. Pure: asks for stories, keeps nothing.

const ROW = 4;
const LOADED = 4;
const FAILED = 5;

/**
 * The nearest event before (`way` −1) or after (`way` 1) an instant; null where there is none.
 * A walk through all of it and no index: it happens once per press of a key, and an index would have to be kept.
 * @param {number} n @param {(i:number)=>ArrayLike<number>} storyOf @param {number} t @param {-1|1} way
 */
export function neighbour(n, storyOf, t, way) {
  let best = way < 0 ? -Infinity : Infinity;
  for (let i = 0; i < n; i += 1) {
    const story = storyOf(i);
    for (let at = 0; at < story.length; at += ROW) {
      const when = story[at];
      if (way < 0 ? when < t && when > best : when > t && when < best) best = when;
    }
  }
  return Number.isFinite(best) ? best : null;
}

/**
 * How many objects ended in each of `parts` equal parts of [from, to], and how many of them failed.
 * @param {number} n @param {(i:number)=>ArrayLike<number>} storyOf @param {number} from @param {number} to @param {number} parts
 * @returns {{ended: Uint32Array, failed: Uint32Array, most: number}}
 */
export function density(n, storyOf, from, to, parts) {
  const ended = new Uint32Array(parts);
  const failed = new Uint32Array(parts);
  let most = 0;
  const scale = parts / Math.max(1, to - from);
  for (let i = 0; i < n; i += 1) {
    const story = storyOf(i);
    const last = story.length - ROW;
    // What is skipped or cancelled did no work: it would drown, in one instant, what was done.
    if (last < 0 || (story[last + 1] !== LOADED && story[last + 1] !== FAILED)) continue;
    const part = Math.min(parts - 1, Math.max(0, Math.floor((story[last] - from) * scale)));
    ended[part] += 1;
    if (story[last + 1] === FAILED) failed[part] += 1;
    if (ended[part] > most) most = ended[part];
  }
  return { ended, failed, most };
}
