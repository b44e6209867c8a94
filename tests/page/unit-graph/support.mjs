// A small graph as the store has it, from lists of parents.

/**
 * @param {number[][]} parents for each object
 * @param {{ids?: number[], names?: (string | null)[], level?: number[]}} [more]
 */
export function graphOf(parents, { ids, names, level } = {}) {
  const n = parents.length;
  const children = Array.from({ length: n }, () => []);
  parents.forEach((list, i) => list.forEach((parent) => children[parent].push(i)));
  return {
    n,
    ids: ids ?? Array.from({ length: n }, (_, i) => 1000 + i),
    names: names ?? Array.from({ length: n }, () => null),
    level: Uint16Array.from(level ?? parents.map((list) => (list.length > 0 ? 1 : 0))),
    parents,
    children,
  };
}

/** @param {[number, number][]} places the middles of the objects */
export function layoutOf(places) {
  return {
    node_width: 184, node_height: 44, bands: [],
    width: Math.max(...places.map(([x]) => x)) + 132, height: Math.max(...places.map(([, y]) => y)) + 62,
    x: Float64Array.from(places, ([x]) => x), y: Float64Array.from(places, ([, y]) => y),
  };
}
