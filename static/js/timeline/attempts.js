// The attempts of a run as flat columns: for each one its object, when it became ready, started and ended, how it
// ended, and on which worker. Made from the objects' stories, replaced object by object as these grow.
//
// It reads stories as the server folded them and decides no state; knows nothing of lanes, pixels or the DOM.

import { Times } from './times.js';

export const WAITING = 0;
export const READY = 1;
export const RUNNING = 2;
export const RETRYING = 3;
export const LOADED = 4;
export const FAILED = 5;
export const SKIPPED = 6;
export const CANCELLED = 7;

const ROW = 4; // numbers in a story's row: t, state, attempt, worker

/**
 * One object's story as attempts, oldest first. `start` is NaN for what never began, `end` is Infinity for what goes on.
 * Read as the flat numbers they come in: at 50,000 objects a row object each is half a second of garbage.
 * @param {ArrayLike<number>} story rows of t, state, attempt, worker (-1: none)
 * @returns {{attempt:number,ready:number,start:number,end:number,outcome:number,worker:number}[]}
 */
export function attemptsOf(story) {
  const out = [];
  let open = null;
  const close = (t, outcome) => {
    open.end = t;
    open.outcome = outcome;
    open = null;
  };
  const begin = (attempt, worker, ready, start) => {
    open = { attempt, ready, start, end: Infinity, outcome: start === start ? RUNNING : READY, worker };
    out.push(open);
  };
  for (let at = 0; at < story.length; at += ROW) {
    const [t, state, attempt, worker] = [story[at], story[at + 1], story[at + 2], story[at + 3]];
    if (state === READY) {
      if (open && open.start !== open.start && open.attempt === attempt) continue;
      if (open) close(t, RETRYING);
      begin(attempt, worker, t, NaN);
    } else if (state === RUNNING) {
      if (open && open.start !== open.start) {
        Object.assign(open, { start: t, attempt, worker, outcome: RUNNING });
      } else {
        if (open) close(t, RETRYING);
        begin(attempt, worker, NaN, t);
      }
    } else if (open) {
      // An old worker never says when it began. What it answers ran from when it was ready, as far as anyone knows.
      const unsaid = open.start !== open.start && (state === LOADED || state === FAILED) && worker >= 0;
      if (unsaid) {
        open.start = open.ready;
        open.worker = worker;
      }
      close(t, state === WAITING ? RETRYING : state);
    }
  }
  return out;
}

export class Attempts {
  /**
   * @param {number} objects @param {ArrayLike<number>} stages the stage of each object
   * @param {(number: number) => string | null} nameOf a worker's name by its number in the stories
   */
  constructor(objects, stages, nameOf) {
    this.stages = stages;
    this.nameOf = nameOf;
    this.first = new Int32Array(objects).fill(-1);
    this.count = 0;
    this.free = [];
    this.workers = [];
    this.workerOf = new Map();
    this.#columns(Math.max(64, objects + (objects >> 2)));
    // Per stage: instants at which the number of ready and of running objects rises and falls.
    this.queue = [0, 1, 2].map(() => ({ readyOn: new Times(), readyOff: new Times(), runOn: new Times(), runOff: new Times() }));
  }

  #columns(size) {
    const grow = (Type, old, fill) => {
      const column = new Type(size);
      if (fill !== undefined) column.fill(fill);
      if (old) column.set(old);
      return column;
    };
    this.object = grow(Uint32Array, this.object);
    this.attempt = grow(Uint32Array, this.attempt);
    this.ready = grow(Float64Array, this.ready);
    this.start = grow(Float64Array, this.start);
    this.end = grow(Float64Array, this.end);
    this.outcome = grow(Uint8Array, this.outcome);
    this.worker = grow(Int32Array, this.worker, -1);
    this.lane = grow(Int32Array, this.lane, -1);
    this.next = grow(Int32Array, this.next, -1);
  }

  /** Attempts of one object, oldest first. @param {number} object @returns {number[]} */
  of(object) {
    const out = [];
    for (let a = this.first[object]; a >= 0; a = this.next[a]) out.push(a);
    return out;
  }

  /** The attempt of `object` that tells most at `until`: the last one that had begun. @returns {number} or -1 */
  lastOf(object, until = Infinity) {
    let found = -1;
    for (let a = this.first[object]; a >= 0; a = this.next[a]) if (this.start[a] <= until) found = a;
    return found;
  }

  /**
   * Replaces what is known of one object. `bulk`: the queue's lists are filled later, all at once.
   * @param {number} object @param {ArrayLike<number>} story
   * @param {{added?:(a:number)=>void, moved?:(a:number, oldStart:number, oldEnd:number)=>void, removed?:(a:number)=>void}} lanes
   */
  replace(object, story, lanes, bulk = false) {
    const fresh = attemptsOf(story);
    let previous = -1;
    let a = this.first[object];
    for (const record of fresh) {
      const worker = record.worker < 0 && record.start !== record.start ? -1 : this.#worker(record.worker);
      if (a < 0) {
        a = this.#take();
        this.object[a] = object;
        if (previous < 0) this.first[object] = a;
        else this.next[previous] = a;
        this.#write(a, record, worker, bulk);
        if (record.start === record.start) lanes.added?.(a);
      } else {
        this.#rewrite(a, record, worker, lanes, bulk);
      }
      previous = a;
      a = this.next[a];
    }
    if (previous < 0) this.first[object] = -1;
    else this.next[previous] = -1;
    while (a >= 0) {
      const after = this.next[a];
      if (this.start[a] === this.start[a]) lanes.removed?.(a);
      if (!bulk) this.#tell(a, 'remove');
      this.next[a] = -1;
      this.worker[a] = -1;
      this.start[a] = NaN;
      this.free.push(a);
      a = after;
    }
  }

  /** After a bulk replacement: the queue's lists from all that is known. */
  fillQueue() {
    const lists = this.queue.map(() => ({ readyOn: [], readyOff: [], runOn: [], runOff: [] }));
    for (let object = 0; object < this.first.length; object += 1) {
      const into = lists[this.stages[object]];
      for (let a = this.first[object]; a >= 0; a = this.next[a]) {
        each(this.ready[a], this.start[a], this.end[a], (name, t) => into[name].push(t));
      }
    }
    lists.forEach((list, stage) => {
      for (const name of Object.keys(list)) this.queue[stage][name].fill(list[name]);
    });
  }

  #rewrite(a, record, worker, lanes, bulk) {
    const [oldStart, oldEnd] = [this.start[a], this.end[a]];
    const same = Object.is(this.ready[a], record.ready) && Object.is(oldStart, record.start) && oldEnd === record.end;
    if (same && this.worker[a] === worker && this.outcome[a] === record.outcome && this.attempt[a] === record.attempt) return;
    const [had, has] = [oldStart === oldStart, record.start === record.start];
    const elsewhere = had && (!has || this.worker[a] !== worker);
    if (elsewhere) lanes.removed?.(a);
    if (!bulk && !same) this.#tell(a, 'remove');
    this.#write(a, record, worker, bulk || same);
    if (has && (elsewhere || !had)) lanes.added?.(a);
    else if (has && (oldStart !== record.start || oldEnd !== record.end)) lanes.moved?.(a, oldStart, oldEnd);
  }

  #write(a, record, worker, silent) {
    this.attempt[a] = record.attempt;
    this.ready[a] = record.ready;
    this.start[a] = record.start;
    this.end[a] = record.end;
    this.outcome[a] = record.outcome;
    this.worker[a] = worker;
    if (!silent) this.#tell(a, 'add');
  }

  #tell(a, what) {
    const queue = this.queue[this.stages[this.object[a]]];
    each(this.ready[a], this.start[a], this.end[a], (name, t) => queue[name][what](t));
  }

  #take() {
    if (this.free.length) return this.free.pop();
    if (this.count === this.object.length) this.#columns(this.object.length * 2);
    this.count += 1;
    return this.count - 1;
  }

  /** By its name: a number holds for one connection only. */
  #worker(number) {
    const key = this.nameOf(number) ?? '';
    let index = this.workerOf.get(key);
    if (index === undefined) {
      index = this.workers.length;
      this.workers.push(key);
      this.workerOf.set(key, index);
    }
    return index;
  }
}

/** The instants at which an attempt enters and leaves the queue and a slot. */
function each(ready, start, end, tell) {
  const began = start === start;
  if (ready === ready) {
    tell('readyOn', ready);
    const left = began ? start : end;
    if (left !== Infinity) tell('readyOff', Math.max(ready, left));
  }
  if (began) {
    tell('runOn', start);
    if (end !== Infinity) tell('runOff', Math.max(start, end));
  }
}
