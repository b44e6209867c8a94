// The graph of a plan, as it is kept: in typed arrays, for fifty thousand objects, with the children that the answer
// leaves to us. It knows no run and no state.

/**
 * @typedef {object} Graph
 * @property {string} plan
 * @property {string} runId
 * @property {number} n how many objects
 * @property {number[]} ids by place, as all of these
 * @property {(string | null)[]} names
 * @property {Uint8Array} stage 0 ingest, 1 standardize, 2 application
 * @property {Uint8Array} criticality 0 low, 1 medium, 2 high
 * @property {Uint16Array} level the column
 * @property {Uint32Array[]} parents places
 * @property {Uint32Array[]} children places
 * @property {object} layout
 * @property {object} groups
 * @property {Uint32Array} groupOf
 * @property {string[]} fields
 * @property {Map<number, number>} indexOf from an id to its place
 */

/**
 * @param {any} sent the answer of `GET /runs/{id}/graph`
 * @returns {Graph}
 */
export function graphOf({ plan, run_id, objects, layout, groups, group_of: groupOf, fields }) {
  const n = objects.id.length;
  const parents = objects.parents.map((list) => new Uint32Array(list));
  return {
    plan,
    runId: run_id,
    n,
    ids: objects.id,
    names: objects.name,
    stage: new Uint8Array(objects.stage),
    criticality: new Uint8Array(objects.criticality),
    level: new Uint16Array(objects.level),
    parents,
    children: childrenOf(parents),
    layout: { ...layout, x: new Float64Array(layout.x), y: new Float64Array(layout.y) },
    groups,
    groupOf: new Uint32Array(groupOf ?? []),
    fields: fields ?? [],
    indexOf: new Map(objects.id.map((id, i) => [id, i])),
  };
}

function childrenOf(parents) {
  const count = new Uint32Array(parents.length);
  for (const list of parents) for (let k = 0; k < list.length; k += 1) count[list[k]] += 1;
  const children = Array.from(count, (n) => new Uint32Array(n));
  count.fill(0);
  for (let i = 0; i < parents.length; i += 1) {
    for (let k = 0; k < parents[i].length; k += 1) {
      const parent = parents[i][k];
      children[parent][count[parent]] = i;
      count[parent] += 1;
    }
  }
  return children;
}
