// Which objects stand back and how each edge is drawn, from what is asked for; and how much is loaded. Pure.

import { STAGES, STATES } from '../format.js';
import { CRITICAL, FAINT, HIDDEN, KIN, NORMAL, WAY } from './edges.js';
import { DOWN, kin, UP, ways } from './kin.js';

const LOADED = STATES.indexOf('loaded');
const TROUBLE = new Set(['failed', 'retrying', 'skipped'].map((state) => STATES.indexOf(state)));

/** @param {Uint8Array} states @returns {number[]} the objects that failed, are tried again, or were skipped */
export function troubled(states) {
  const some = [];
  for (let i = 0; i < states.length; i += 1) if (TROUBLE.has(states[i])) some.push(i);
  return some;
}

/**
 * @param {any} graph
 * @param {{selected: number, matches: number[] | null, trouble: number[] | null, critical: Set<number> | null}} asked
 *   `trouble`: these and the ways between them are wanted, and nothing else
 * @returns {{dim: Uint8Array | null, critical: Set<number> | null, kindOf: (from: number, to: number) => number}}
 */
export function look(graph, { selected, matches, trouble, critical }) {
  const wanted = trouble && ways(graph, trouble);
  const after = followers(critical);
  const marks = selected >= 0 ? kin(graph, selected) : null;
  const plain = matches || critical || marks ? FAINT : NORMAL;
  return { dim: dims(graph.n, matches, wanted), critical, kindOf };

  function kindOf(from, to) {
    if (wanted && !(wanted[from] && wanted[to])) return HIDDEN;
    if (after?.get(from) === to) return CRITICAL;
    if (marks && ((marks[from] & UP && marks[to] & UP) || (marks[from] & DOWN && marks[to] & DOWN))) return KIN;
    return wanted ? WAY : plain;
  }
}

/**
 * How much of each stage is loaded, of what is shown.
 * @param {import('../store.js').Store} store @param {import('./scene.js').Scene | null} scene null: everything
 * @returns {{loaded: number, all: number}[]} by stage
 */
export function loaded(store, scene) {
  if (!scene?.partial) return store.counts().byStage.map((counts) => ({ loaded: counts[LOADED], all: counts.reduce((sum, count) => sum + count, 0) }));
  const stages = STAGES.map(() => ({ loaded: 0, all: 0 }));
  for (const i of scene.members) {
    const stage = stages[store.graph.stage[i]];
    stage.all += 1;
    if (store.states[i] === LOADED) stage.loaded += 1;
  }
  return stages;
}

/** For each object on a path the next one. */
function followers(path) {
  if (!path) return null;
  const list = [...path];
  return new Map(list.slice(1).map((i, at) => [list[at], i]));
}

function dims(n, matches, wanted) {
  if (!matches && !wanted) return null;
  const dim = new Uint8Array(n);
  if (matches) {
    dim.fill(1);
    for (const i of matches) dim[i] = 0;
  }
  if (wanted) for (let i = 0; i < n; i += 1) if (!wanted[i]) dim[i] = 1;
  return dim;
}
