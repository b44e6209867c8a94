// The errors of failed objects, by object and attempt. Few of them are fetched in one answer; where there are many, only
// those of the rows that are looked at, so the page never asks for fifty thousand errors at once.

import { get } from './api.js';

const AT_ONCE = 300; // objects whose errors one answer may bring
const TOGETHER = 4; // requests under way for single objects
const KEPT = 3000; // objects whose errors are kept
const SHOWN_CHARS = 2000;

export class Errors {
  #known = new Map(); // place → Map(attempt → error)
  #asked = new Map(); // place → the attempt that was last asked for
  #wanted = [];
  #underWay = 0;
  #bulkFor = '';
  #over = new AbortController();

  /**
   * @param {{run:()=>string|null, graph:()=>any, found:(places:number[])=>void}} of
   */
  constructor(of) {
    this.of = of;
  }

  /** Ends what is under way. */
  destroy() {
    this.#over.abort();
  }

  /** Forgets everything: another run is shown. */
  clear() {
    this.#over.abort();
    this.#over = new AbortController();
    this.#known.clear();
    this.#asked.clear();
    this.#wanted = [];
    this.#bulkFor = '';
  }

  /**
   * The error of an attempt, as far as it is known.
   * @param {number} i @param {number} attempt @returns {string|null}
   */
  at(i, attempt) {
    return this.#known.get(i)?.get(attempt) ?? null;
  }

  /**
   * Fetches all of them in one answer where there are few.
   * @param {number} failed  how many objects failed or are tried again
   * @param {string} sign  changes when there is something new to fetch
   */
  async bulk(failed, sign) {
    const run = this.of.run();
    if (failed === 0 || failed > AT_ONCE || run === null || sign === this.#bulkFor) return;
    this.#bulkFor = sign;
    const { signal } = this.#over;
    try {
      const { objects } = await get(`/runs/${encodeURIComponent(run)}?state=failed,retrying`, { signal });
      const indexOf = this.of.graph()?.indexOf;
      if (signal.aborted || !indexOf) return;
      const places = [];
      for (const object of objects.slice(0, AT_ONCE)) {
        const i = indexOf.get(object.id);
        if (i !== undefined) places.push(this.#learn(i, object.attempts));
      }
      this.of.found(places);
    } catch {
      this.#bulkFor = ''; // the rows ask for themselves
    }
  }

  /**
   * Asks for the error of a row that is looked at.
   * @param {number} i @param {number} attempt
   */
  want(i, attempt) {
    if ((this.#asked.get(i) ?? 0) >= attempt) return;
    this.#asked.set(i, attempt);
    this.#wanted.push([i, attempt]);
    // Who scrolls past quickly wants what is in sight now.
    if (this.#wanted.length > 100) for (const [passed] of this.#wanted.splice(0, this.#wanted.length - 100)) this.#asked.delete(passed);
    this.#next();
  }

  #next() {
    while (this.#underWay < TOGETHER && this.#wanted.length > 0) this.#fetch(...this.#wanted.pop());
  }

  async #fetch(i, attempt) {
    const [run, graph] = [this.of.run(), this.of.graph()];
    if (run === null || graph === null || this.at(i, attempt) !== null) return;
    const { signal } = this.#over;
    this.#underWay += 1;
    try {
      const { attempts } = await get(`/runs/${encodeURIComponent(run)}/objects/${graph.ids[i]}`, { signal });
      if (!signal.aborted) this.of.found([this.#learn(i, attempts)]);
    } catch {
      if (!signal.aborted) setTimeout(() => this.#asked.delete(i), 5000); // it may be asked for again then
    } finally {
      this.#underWay -= 1;
      this.#next();
    }
  }

  #learn(i, attempts) {
    const errors = new Map();
    for (const { attempt, error } of attempts) if (error) errors.set(attempt, error.slice(0, SHOWN_CHARS));
    this.#known.delete(i);
    this.#known.set(i, errors);
    if (this.#known.size > KEPT) {
      const [oldest] = this.#known.keys();
      this.#known.delete(oldest);
      this.#asked.delete(oldest);
    }
    return i;
  }
}
