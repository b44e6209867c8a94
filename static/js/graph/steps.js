// Where the arrow keys lead: left to a parent, right to a child, up and down in the column. Pure.

const columnsOf = new WeakMap();

/** The objects of each column in the order of reading. */
function columns(scene) {
  if (!columnsOf.has(scene)) {
    const { level } = scene.graph;
    const lists = new Map();
    for (const i of scene.members) {
      if (!lists.has(level[i])) lists.set(level[i], []);
      lists.get(level[i]).push(i);
    }
    for (const list of lists.values()) list.sort((a, b) => scene.x[a] - scene.x[b] || scene.y[a] - scene.y[b] || a - b);
    columnsOf.set(scene, lists);
  }
  return columnsOf.get(scene);
}

/**
 * @param {import('./scene.js').Scene} scene @param {number} i @param {'left' | 'right' | 'up' | 'down'} direction
 * @returns {number} the object there; the same one where there is none
 */
export function step(scene, i, direction) {
  const { graph } = scene;
  if (direction === 'left' || direction === 'right') {
    const others = direction === 'left' ? graph.parents[i] : graph.children[i];
    let best = i;
    for (const other of others) {
      if (!scene.has(other)) continue;
      if (best === i || Math.abs(scene.y[other] - scene.y[i]) < Math.abs(scene.y[best] - scene.y[i])) best = other;
    }
    return best;
  }
  const column = columns(scene).get(graph.level[i]) ?? [i];
  const at = column.indexOf(i) + (direction === 'up' ? -1 : 1);
  return column[at] ?? i;
}
