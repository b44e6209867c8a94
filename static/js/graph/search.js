// Finds objects by id or by name, without regard to case and accents. Pure; it knows no picture.

const folded = new WeakMap();

/** @param {string} text @returns {string} without case and accents */
export function fold(text) {
  return text.normalize('NFD').replace(/\p{M}/gu, '').replace(/œ/gi, 'oe').replace(/æ/gi, 'ae').toLowerCase();
}

function textsOf(graph) {
  if (!folded.has(graph)) folded.set(graph, graph.ids.map((id, i) => `${id} ${fold(graph.names[i] ?? '')}`));
  return folded.get(graph);
}

/**
 * The objects in which every word of the query is found.
 * @param {{ids: number[], names: (string | null)[]}} graph @param {string} query
 * @returns {number[] | null} their places; null: nothing is asked
 */
export function find(graph, query) {
  const words = fold(query).split(/\s+/).filter(Boolean);
  if (words.length === 0) return null;
  const found = [];
  textsOf(graph).forEach((text, i) => {
    if (words.every((word) => text.includes(word))) found.push(i);
  });
  return found;
}

/**
 * In the order in which they are read: column by column, from the top.
 * @param {number[]} found @param {{x: ArrayLike<number>, y: ArrayLike<number>}} scene @param {ArrayLike<number>} level
 */
export function inReadingOrder(found, scene, level) {
  return found.sort((a, b) => level[a] - level[b] || scene.x[a] - scene.x[b] || scene.y[a] - scene.y[b] || a - b);
}

/** What was found, and which of it is looked at. */
export class Matches {
  /** The places of the matches in the order of reading; null: nothing is looked for. @type {number[] | null} */
  all = null;
  /** Which of them is looked at; -1: none yet. */
  at = -1;

  /** @param {any} graph @param {import('./scene.js').Scene} scene @param {string} query */
  find(graph, scene, query) {
    const found = find(graph, query)?.filter((i) => scene.has(i)) ?? null;
    this.all = found && inReadingOrder(found, scene, graph.level);
    this.at = -1;
  }

  /** @param {1 | -1} by @returns {number} the next match, or the one before; -1: there is none */
  step(by) {
    const count = this.all?.length ?? 0;
    if (count === 0) return -1;
    this.at = this.at < 0 && by < 0 ? count - 1 : (this.at + by + count) % count;
    return this.all[this.at];
  }
}
