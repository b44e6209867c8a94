// All that the server told, as it told it: the graph, every object's story, the run, the runs, the members. It answers
// what the state of an object was at the time shown, by looking it up in the object's story; it decides no state.
// It knows neither the document nor the network: live.js fills it, the views read it and are told when it changes.

import { NO_BADGES, badgesOf } from './badges.js';
import { STATES, goesOn } from './format.js';
import { graphOf } from './plan.js';

/** @typedef {{t: number, state: number, attempt: number, worker: string | null}} Row */
/** @typedef {'graph' | 'states' | 'run' | 'runs' | 'members' | 'time' | 'connection'} Topic */

const STAGES = 3;
const ROW = 4; // numbers in a story's row: t, state, attempt, worker
const [T, STATE, ATTEMPT, WORKER] = [0, 1, 2, 3];
/** Those who hear of the states find the run and the graph already told. @type {Topic[]} */
const TOPICS = ['connection', 'run', 'graph', 'time', 'states', 'runs', 'members'];
const NO_STORY = [];
const MANY = 1_000;

export class Store {
  /** The graph at hand, or null. */
  graph = null;
  /** Why there is no graph though the run is planned: what the request for it met, or null. @type {Error | null} */
  graphError = null;
  /** The last `run` message, or null. */
  run = null;
  /** Whether there was any `run` message since the run was chosen: `run` is null before and where there is no run. */
  told = false;
  /** @type {object[]} */
  runs = [];
  /** The last `workers` message, or null. */
  members = null;
  /** null: live; else the instant shown, ms since 1970. @type {number | null} */
  time = null;
  /** @type {'connecting' | 'open' | 'lost'} */
  connection = 'connecting';
  /** When the server was last heard, ms since 1970 by its own clock. @type {number | null} */
  heard = null;
  /** The state of every object at the time shown. Not to be written. */
  states = new Uint8Array(0);
  /** The objects on the critical path, by their places. @type {Set<number>} */
  critical = new Set();
  /** When each final object that is not through will be, ms since 1970, by its place, as far as that is told. @type {Map<number, number>} */
  ends = new Map();
  /** What `hello` said. */
  server = null;

  #stories = [];
  #badges = new Map();
  #tries = new Map();
  #storiesPlan = null;
  #names = new Map();
  #first = Infinity;
  #last = -Infinity;
  #at = new Uint32Array(0); // for each object, how far in its story the time shown is
  #counts = noCounts();
  #skew = 0;
  #clock;
  #schedule;
  #listeners = new Map(TOPICS.map((topic) => [topic, new Set()]));
  #pending = new Set();
  #changed = [];
  #marked = new Uint8Array(0);
  #all = false;

  /**
   * @param {{schedule?: (flush: () => void) => void, clock?: () => number}} [outside] `schedule` runs what it is given
   *   a little later, once; `clock` is this machine's time in ms
   */
  constructor({ schedule = (flush) => setTimeout(flush, 0), clock = () => Date.now() } = {}) {
    this.#schedule = schedule;
    this.#clock = clock;
  }

  // ---- what the views ask ----

  /**
   * The server's time, ms since 1970. It stands still while the server is not heard: nobody knows what still runs.
   * @returns {number}
   */
  now() {
    const now = this.#clock() + this.#skew;
    return this.connection === 'lost' && this.heard !== null ? Math.min(now, this.heard) : now;
  }

  /**
   * From when to when there is something to see.
   * @returns {{from: number, to: number, live: boolean}} ms since 1970
   */
  span() {
    const now = this.now();
    const { run } = this;
    if (!run) return { from: now, to: now, live: false };
    const live = goesOn(run);
    const began = Date.parse(run.planned_at ?? run.requested_at ?? '');
    const ended = Date.parse(run.finished_at ?? '');
    const from = Math.min(Number.isNaN(began) ? now : began, this.#first);
    // A worker's clock may be ahead of the orchestrator's: the end of the run shows the end of every story.
    const to = live || Number.isNaN(ended) ? now : Math.max(ended, this.#last);
    return { from, to: Math.max(from, to), live };
  }

  /** @param {number} i @returns {number} the code of its state at the time shown */
  state(i) {
    return this.states[i] ?? 0;
  }

  /**
   * The numbers of an object's story: t, state, attempt, worker (by its number, -1: none), and again.
   * @param {number} i
   * @returns {ArrayLike<number>} not to be written
   */
  storyOf(i) {
    return this.#stories[i] ?? NO_STORY;
  }

  /** @param {number} i @returns {Row[]} its story, all that is known of it */
  rows(i) {
    const story = this.storyOf(i);
    const rows = [];
    for (let at = 0; at < story.length; at += ROW) rows.push(this.#row(story, at));
    return rows;
  }

  /** @param {number} i @returns {Row | null} the row that holds at the time shown; null: nothing has happened to it */
  rowAt(i) {
    const at = this.#at[i] ?? 0;
    return at > 0 ? this.#row(this.storyOf(i), at - ROW) : null;
  }

  /**
   * What there is to say of an object beside its state. It is told as it is now: of the past nothing is known.
   * @param {number} i
   * @returns {readonly import('./badges.js').Badge[]}
   */
  badges(i) {
    return this.time === null ? this.#badges.get(i) ?? NO_BADGES : NO_BADGES;
  }

  /** @returns {boolean} whether any object has a badge */
  get badged() {
    return this.time === null && this.#badges.size > 0;
  }

  /** @param {number} i @returns {number | null} when it is tried again at the earliest, ms since 1970; null: it is not */
  nextTry(i) {
    return this.time === null ? this.#tries.get(i) ?? null : null;
  }

  /** @param {number} i @returns {number | null} when it will be through by the estimate, ms since 1970, where that is told */
  end(i) {
    return this.time === null ? this.ends.get(i) ?? null : null;
  }

  /** @param {number} number as in a story @returns {string | null} */
  workerName(number) {
    return this.#names.get(number) ?? null;
  }

  /**
   * How many objects are in each state at the time shown.
   * @returns {{total: number, byState: number[], byStage: number[][]}} not to be written
   */
  counts() {
    const known = this.graph !== null && this.#storiesPlan === this.graph.plan;
    return known || this.time !== null ? this.#counts : countsOf(this.run) ?? this.#counts;
  }

  /** @param {number | null} ms the instant to show; null: live */
  setTime(ms) {
    const time = ms === null || !Number.isFinite(ms) ? null : ms;
    if (time === this.time) return;
    this.time = time;
    this.#emit('time');
    for (let i = 0; i < this.states.length; i += 1) if (this.#place(i)) this.#mark(i);
    for (const told of [this.#badges, this.#tries]) for (const i of told.keys()) if (i < this.states.length) this.#mark(i);
  }

  /**
   * @param {Topic} topic
   * @param {(detail?: any) => void} listener `states` gets `{changed}`: the places of the objects of which something
   *   changed, null: any of them
   * @returns {() => void} ends that
   */
  on(topic, listener) {
    const listeners = this.#listeners.get(topic);
    if (!listeners) throw new Error(`the store has no topic ${topic}`);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  // ---- what live.js tells ----

  /** Another run is to be shown: nothing is known of it yet. */
  reset() {
    this.run = null;
    this.told = false;
    this.#emit('run');
    this.#forget();
  }

  /** The server does not know the run that is to be shown. */
  setUnknown() {
    this.reset();
    this.told = true;
  }

  /** @param {'connecting' | 'open' | 'lost'} connection */
  setConnection(connection) {
    if (connection === this.connection) return;
    this.connection = connection;
    this.#emit('connection');
  }

  /**
   * A message of the server.
   * @param {'hello' | 'runs' | 'workers' | 'run' | 'stories'} name
   * @param {any} data
   */
  receive(name, data) {
    if (name === 'hello') this.#hello(data);
    else if (name === 'runs') this.#set('runs', data.runs);
    else if (name === 'workers') this.#set('members', data);
    else if (name === 'run') this.#receiveRun(data);
    else if (name === 'stories') this.#receiveStories(data);
    this.heard = this.now();
  }

  /** @param {any} sent the answer of `GET /runs/{id}/graph`; null: there is none any more */
  setGraph(sent) {
    if (sent === null && this.graph === null && this.graphError === null) return;
    this.graphError = null;
    this.graph = sent === null ? null : graphOf(sent);
    const n = this.graph?.n ?? 0;
    this.states = new Uint8Array(n);
    this.#at = new Uint32Array(n);
    this.#marked = new Uint8Array(n);
    this.#changed = [];
    this.#recount();
    if (this.graph && this.#storiesPlan === this.graph.plan) for (let i = 0; i < n; i += 1) this.#place(i);
    this.#findEstimated();
    this.#emit('graph');
    this.#emitAll();
  }

  /** @param {Error} error what the request for the graph met */
  setGraphError(error) {
    this.graphError = error;
    this.#emit('graph');
  }

  /** Tells at once what is waiting to be told. */
  flush() {
    const pending = TOPICS.filter((topic) => this.#pending.has(topic));
    this.#pending.clear();
    for (const topic of pending) {
      const detail = topic === 'states' ? { changed: this.#takeChanged() } : undefined;
      for (const listener of [...this.#listeners.get(topic)]) {
        try {
          listener(detail);
        } catch (error) {
          globalThis.reportError?.(error); // one view's mistake must not freeze the others
        }
      }
    }
  }

  // ---- inside ----

  #hello(data) {
    const now = Date.parse(data.now ?? '');
    if (!Number.isNaN(now)) this.#skew = now - this.#clock();
    this.server = data;
  }

  #set(topic, value) {
    this[topic] = value;
    this.#emit(topic);
  }

  #receiveRun(run) {
    const before = this.run;
    this.run = run;
    this.told = true;
    if (before && run?.run_id !== before.run_id && this.time !== null) this.setTime(null);
    if (this.graph && this.graph.plan !== run?.plan) this.setGraph(null);
    this.#findEstimated();
    this.#emit('run');
  }

  #receiveStories({ plan, whole, names, objects, badges, tries }) {
    // Deltas of a plan of which the beginning was missed stand for themselves: what they do not name is waiting.
    if (whole || plan !== this.#storiesPlan) this.#voidStories(plan);
    for (const [number, name] of names ?? []) this.#names.set(number, name);
    const here = this.graph !== null && this.graph.plan === plan;
    for (const sent of objects) {
      const index = sent[0];
      const story = sent.slice(1); // stays an array of plain doubles; a rest pattern would box each of them
      this.#stories[index] = story;
      this.#badges.delete(index);
      this.#tries.delete(index);
      if (story.length > 0) {
        if (story[T] < this.#first) this.#first = story[T];
        if (story[story.length - ROW] > this.#last) this.#last = story[story.length - ROW];
      }
      if (here && index < this.states.length) {
        this.#place(index);
        this.#mark(index);
      }
    }
    for (const [index, sum] of badges ?? []) this.#badges.set(index, badgesOf(sum));
    for (const [index, at] of tries ?? []) this.#tries.set(index, at);
    if (whole && here) this.#emitAll();
  }

  #voidStories(plan) {
    this.#stories = [];
    this.#badges.clear();
    this.#tries.clear();
    this.#storiesPlan = plan;
    this.#names.clear();
    this.#first = Infinity;
    this.#last = -Infinity;
    this.#at.fill(0);
    this.states.fill(0);
    this.#recount();
    this.#emitAll();
  }

  #forget() {
    this.#voidStories(null);
    this.setTime(null);
    this.setGraph(null);
    this.critical = new Set();
    this.ends = new Map();
  }

  /**
   * Finds the row of an object that holds at the time shown, from where it was: time mostly moves by little.
   * Whether it is another row than before.
   */
  #place(i) {
    const story = this.#stories[i] ?? NO_STORY;
    const before = this.#at[i];
    const at = this.time === null ? story.length : seek(story, Math.min(before, story.length), this.time);
    const was = this.states[i];
    const state = at > 0 ? story[at - ROW + STATE] : 0;
    if (at === before && state === was) return false;
    this.#at[i] = at;
    if (state !== was) {
      this.states[i] = state;
      const { byState, byStage } = this.#counts;
      byState[was] -= 1;
      byState[state] += 1;
      const stage = byStage[this.graph.stage[i]];
      stage[was] -= 1;
      stage[state] += 1;
    }
    return true;
  }

  #row(story, at) {
    return { t: story[at + T], state: story[at + STATE], attempt: story[at + ATTEMPT], worker: this.workerName(story[at + WORKER]) };
  }

  #recount() {
    this.#counts = noCounts();
    const { graph } = this;
    if (!graph) return;
    this.#counts.total = graph.n;
    this.#counts.byState[0] = graph.n;
    for (let i = 0; i < graph.n; i += 1) this.#counts.byStage[graph.stage[i]][0] += 1;
  }

  /** What the estimate says of objects, by their places. */
  #findEstimated() {
    const { critical_path: path = [], final_objects: finals = [] } = this.run?.estimate ?? {};
    const { graph } = this;
    const place = (id) => graph?.indexOf.get(id);
    this.critical = new Set(path.map(place).filter((i) => i !== undefined));
    const ends = finals.map(({ id, estimated_end: end }) => [place(id), Date.parse(end ?? '')]);
    this.ends = new Map(ends.filter(([i, at]) => i !== undefined && !Number.isNaN(at)));
  }

  #mark(i) {
    if (this.#marked[i] || this.#all) return;
    this.#marked[i] = 1;
    this.#changed.push(i);
    // Past a part of all, to go through all of them costs no more than to go through a list.
    if (this.#changed.length > MANY && this.#changed.length > this.states.length / 4) this.#emitAll();
    else this.#emit('states');
  }

  #emitAll() {
    this.#all = true;
    this.#emit('states');
  }

  #takeChanged() {
    const changed = this.#all ? null : Uint32Array.from(this.#changed);
    for (const i of this.#changed) this.#marked[i] = 0;
    this.#changed = [];
    this.#all = false;
    return changed;
  }

  #emit(topic) {
    if (this.#pending.size === 0) this.#schedule(() => this.flush());
    this.#pending.add(topic);
  }
}

/** How far in a story a time is, found from `at`: the end of its last row that is not later. */
function seek(story, at, time) {
  while (at < story.length && story[at + T] <= time) at += ROW;
  while (at > 0 && story[at - ROW + T] > time) at -= ROW;
  return at;
}

function noCounts() {
  return { total: 0, byState: new Array(STATES.length).fill(0), byStage: Array.from({ length: STAGES }, () => new Array(STATES.length).fill(0)) };
}

/** The server's own counts, for as long as the graph is on its way. */
function countsOf(run) {
  if (!run?.stages) return null;
  const byStage = run.stages.map((stage) => STATES.map((name) => stage[name] ?? 0));
  const byState = STATES.map((_, state) => byStage.reduce((sum, stage) => sum + stage[state], 0));
  return { total: run.counts?.objects ?? 0, byState, byStage };
}
