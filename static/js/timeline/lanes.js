// Which attempt lies in which lane: the attempts of a worker are put, by their start, into its first lane that is free,
// so that a worker shows at most as many lanes as it has slots.
//
// New attempts are appended; where the log told something late (an earlier start, an end that frees a lane after
// others were placed), the whole worker is packed anew, once per flush. Knows nothing of pixels or the DOM.

/** A binary heap of numbers ordered by `key`. */
class Heap {
  constructor(key) {
    this.key = key;
    this.items = [];
  }

  get size() {
    return this.items.length;
  }

  peek() {
    return this.items[0];
  }

  push(item) {
    const { items, key } = this;
    let at = items.length;
    items.push(item);
    while (at > 0) {
      const up = (at - 1) >> 1;
      if (key(items[up]) <= key(item)) break;
      items[at] = items[up];
      at = up;
    }
    items[at] = item;
  }

  pop() {
    const { items, key } = this;
    const top = items[0];
    const last = items.pop();
    if (items.length === 0) return top;
    let at = 0;
    while (true) {
      let down = 2 * at + 1;
      if (down >= items.length) break;
      if (down + 1 < items.length && key(items[down + 1]) < key(items[down])) down += 1;
      if (key(items[down]) >= key(last)) break;
      items[at] = items[down];
      at = down;
    }
    items[at] = last;
    return top;
  }
}

/**
 * Puts intervals, given in the order of their starts, into the first free lane each.
 * @param {ArrayLike<number>} order @param {ArrayLike<number>} start @param {ArrayLike<number>} end
 * @returns {number[][]} the lanes, each in time order
 */
export function pack(order, start, end) {
  const lanes = [];
  const free = new Heap((lane) => lane);
  const busyUntil = [];
  const busy = new Heap((lane) => busyUntil[lane]);
  for (let k = 0; k < order.length; k += 1) {
    const a = order[k];
    while (busy.size && busyUntil[busy.peek()] <= start[a]) free.push(busy.pop());
    let lane;
    if (free.size) {
      lane = free.pop();
    } else {
      lane = lanes.length;
      lanes.push([]);
    }
    lanes[lane].push(a);
    busyUntil[lane] = Math.max(end[a], start[a]);
    busy.push(lane);
  }
  return lanes;
}

export class Lanes {
  /** @param {import('./attempts.js').Attempts} attempts */
  constructor(attempts) {
    this.attempts = attempts;
    /** @type {{order:number[], lanes:number[][], pending:number[], dirty:boolean, grown:boolean}[]} by worker */
    this.workers = [];
    this.version = 0;
  }

  #of(a) {
    const index = this.attempts.worker[a];
    while (this.workers.length <= index) {
      this.workers.push({ order: [], lanes: [], pending: [], dirty: false, grown: false });
    }
    return this.workers[index];
  }

  added = (a) => {
    this.#of(a).pending.push(a);
  };

  removed = (a) => {
    const worker = this.#of(a);
    const pending = worker.pending.indexOf(a);
    if (pending >= 0) {
      worker.pending.splice(pending, 1);
      return;
    }
    // By hand and not by its start: the start may be gone already. Rare, so a walk will do.
    worker.order = worker.order.filter((other) => other !== a);
    worker.dirty = true;
  };

  moved = (a) => {
    const worker = this.#of(a);
    const lane = worker.lanes[this.attempts.lane[a]];
    if (!lane || worker.dirty || worker.pending.includes(a)) return;
    const { start, end } = this.attempts;
    // Nearly always it is the last one in its lane.
    const at = lane[lane.length - 1] === a ? lane.length - 1 : lane.indexOf(a);
    const before = at > 0 ? end[lane[at - 1]] : -Infinity;
    const after = at + 1 < lane.length ? start[lane[at + 1]] : Infinity;
    // An end that came late may free this lane for what was put into one too many.
    const late = worker.grown && end[a] !== Infinity;
    if (start[a] < before || end[a] > after || late) worker.dirty = true;
  };

  /** Places what is pending. @returns {boolean} whether the number of lanes or workers changed */
  flush() {
    let reshaped = false;
    for (const worker of this.workers) {
      const lanesBefore = worker.lanes.length;
      if (worker.pending.length) this.#append(worker);
      if (worker.dirty) this.#repack(worker);
      reshaped ||= worker.lanes.length !== lanesBefore;
    }
    if (reshaped) this.version += 1;
    return reshaped;
  }

  #append(worker) {
    const { start, end, lane } = this.attempts;
    const fresh = worker.pending;
    worker.pending = [];
    fresh.sort((a, b) => start[a] - start[b] || a - b);
    const last = worker.order.length ? start[worker.order[worker.order.length - 1]] : -Infinity;
    for (const a of fresh) worker.order.push(a);
    // Many at once (the first load) are packed by the heap, not by a walk along the lanes.
    if (start[fresh[0]] < last || fresh.length > 1000) worker.dirty = true;
    if (worker.dirty) return;
    for (const a of fresh) {
      let at = worker.lanes.findIndex((ids) => end[ids[ids.length - 1]] <= start[a]);
      if (at < 0) {
        at = worker.lanes.length;
        worker.lanes.push([]);
        worker.grown = true;
      }
      worker.lanes[at].push(a);
      lane[a] = at;
    }
  }

  #repack(worker) {
    const { start, end, lane } = this.attempts;
    worker.order.sort((a, b) => start[a] - start[b] || a - b);
    worker.lanes = pack(worker.order, start, end);
    worker.lanes.forEach((ids, at) => {
      for (const a of ids) lane[a] = at;
    });
    worker.dirty = false;
    worker.grown = false;
  }
}
