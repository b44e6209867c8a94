// Who is linked to whom: ancestors, descendants, and the ways between some objects. Pure: lists of neighbours in, places
// out. It knows no state and no picture.

/** @typedef {ArrayLike<number>[]} Lists for each object its parents, or its children */

/**
 * All that can be reached, without the start.
 * @param {Lists} lists @param {Iterable<number>} starts @param {number} [most] stops near so many, nearest first
 * @returns {number[]} nearest first
 */
export function reach(lists, starts, most = Infinity) {
  const met = new Set(starts);
  const found = [];
  let rim = [...met];
  while (rim.length > 0 && found.length < most) {
    const next = [];
    for (const i of rim) {
      for (const other of lists[i]) {
        if (met.has(other)) continue;
        met.add(other);
        next.push(other);
      }
    }
    for (const other of next) found.push(other);
    rim = next;
  }
  return found;
}

/** One step in the closure of an object. */
export const UP = 1;
export const DOWN = 2;

/**
 * For each object whether it is an ancestor (UP), a descendant (DOWN) or the object itself (both).
 * @param {{n: number, parents: Lists, children: Lists}} graph @param {number} i @param {number} [most] on either side
 * @returns {Uint8Array}
 */
export function kin(graph, i, most) {
  const marks = new Uint8Array(graph.n);
  marks[i] = UP | DOWN;
  for (const other of reach(graph.parents, [i], most)) marks[other] |= UP;
  for (const other of reach(graph.children, [i], most)) marks[other] |= DOWN;
  return marks;
}

/**
 * Some objects and the ways between them: what is below one of them and above another.
 * @param {{n: number, parents: Lists, children: Lists}} graph @param {number[]} some
 * @returns {Uint8Array} 1 for each of these
 */
export function ways(graph, some) {
  const kept = new Uint8Array(graph.n);
  const below = new Uint8Array(graph.n);
  for (const i of reach(graph.children, some)) below[i] = 1;
  for (const i of reach(graph.parents, some)) kept[i] = below[i];
  for (const i of some) kept[i] = 1;
  return kept;
}
