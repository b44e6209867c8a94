// What the timeline shows of the store: attempts, lanes and their places, kept up object by object.
// Knows the store and nothing of canvases.

import { Attempts } from './attempts.js';
import { Lanes } from './lanes.js';
import { arrange, laneTop } from './rows.js';

export class Model {
  /** @param {import('../store.js').Store} store */
  constructor(store) {
    this.store = store;
    this.graph = null;
    this.attempts = null;
    this.groups = [];
    this.height = 0;
    this.latest = -Infinity;
  }

  /**
   * Takes what changed. @param {Uint32Array|null} changed places of objects; null: anything
   * @returns {boolean} whether the picture is another one
   */
  take(changed) {
    const { graph } = this.store;
    if (changed === null || graph !== this.graph) {
      this.#rebuild(graph);
      return true;
    }
    if (!graph) return false;
    let differs = false;
    for (const i of changed) {
      const story = this.store.storyOf(i);
      // Under time travel objects change their state without a new story: bars are the same then.
      if (this.seen[i] === story) continue;
      this.#read(i, story, this.lanes, false);
      differs = true;
    }
    if (differs) this.#settle();
    return differs;
  }

  #rebuild(graph) {
    this.graph = graph;
    this.latest = -Infinity;
    this.groups = [];
    this.height = 0;
    this.stages = [];
    if (!graph) {
      this.attempts = null;
      return;
    }
    this.attempts = new Attempts(graph.n, graph.stage, (number) => this.store.workerName(number));
    this.lanes = new Lanes(this.attempts);
    this.seen = new Array(graph.n);
    this.stages = [0, 1, 2].filter((stage) => graph.stage.includes(stage));
    for (let i = 0; i < graph.n; i += 1) this.#read(i, this.store.storyOf(i), this.lanes, true);
    this.attempts.fillQueue();
    this.#settle(true);
  }

  #read(i, story, lanes, bulk) {
    this.seen[i] = story;
    if (story.length > 0) this.latest = Math.max(this.latest, story[story.length - 4]);
    this.attempts.replace(i, story, lanes, bulk);
  }

  #settle(always = false) {
    if (!this.lanes.flush() && !always) {
      // A worker packed anew has new lists, of the same number.
      for (const group of this.groups) group.lanes = this.lanes.workers[group.index].lanes;
      return;
    }
    const { attempts } = this;
    const workers = this.lanes.workers.map(({ lanes, order }, index) => ({
      name: attempts.workers[index], index, lanes, stage: order.length > 0 ? attempts.stages[attempts.object[order[0]]] : 0,
    }));
    const { groups, height } = arrange(workers);
    this.groups = groups;
    this.height = height;
    this.groupOf = new Map(groups.map((group) => [group.index, group]));
  }

  /** Where an attempt's lane begins, from the top of all lanes; null where it has none. @param {number} a */
  topOf(a) {
    const group = this.groupOf?.get(this.attempts.worker[a]);
    return group && this.attempts.lane[a] >= 0 ? laneTop(group, this.attempts.lane[a]) : null;
  }

  get laneCount() {
    return this.groups.reduce((sum, group) => sum + group.lanes.length, 0);
  }
}

/**
 * The objects whose id or name has the text in it.
 * @param {{n:number, ids:number[], names:(string|null)[]}|null} graph @param {string} q
 * @returns {Uint8Array|null} 1 for each that has it; null where nothing is looked for
 */
export function matching(graph, q) {
  const wanted = plain(q.trim());
  if (!graph || !wanted) return null;
  const out = new Uint8Array(graph.n);
  for (let i = 0; i < graph.n; i += 1) {
    if (String(graph.ids[i]).includes(wanted) || plain(graph.names[i] ?? '').includes(wanted)) out[i] = 1;
  }
  return out;
}

/** Who looks for "criticite" means "Criticité". */
function plain(text) {
  return text.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase();
}
