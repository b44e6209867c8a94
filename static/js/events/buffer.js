// The last events, as many as are kept, with what is shown of them. Pure: lines come in, lists come out.

import { wants } from './record.js';

/** So many events are kept. */
export const KEPT = 2000;
/** And no more than so many characters of them. */
export const KEPT_CHARS = 16 * 1024 * 1024;

/** @typedef {import('./record.js').Line} Line */

export class Buffer {
  /** All that are kept, in the order of the log. @type {Line[]} */
  lines = [];
  /** Those of them that are wanted. @type {Line[]} */
  shown = [];
  /** How many are kept of each type. @type {Map<string, number>} */
  counts = new Map();
  #wanted = { types: new Set(), object: null, q: '' };
  #chars = 0;

  clear() {
    this.lines = [];
    this.shown = [];
    this.counts.clear();
    this.#chars = 0;
  }

  /** @param {{types:Set<string>, object:string|null, q:string}} wanted */
  want(wanted) {
    this.#wanted = wanted;
    this.shown = this.lines.filter((line) => wants(line, wanted));
  }

  /**
   * Adds newer lines.
   * @param {Line[]} fresh
   * @returns {number} how many lines fell out of those shown
   */
  add(fresh) {
    const kept = fresh.length > KEPT ? fresh.slice(-KEPT) : fresh;
    for (const line of kept) {
      this.lines.push(line);
      this.#count(line, 1);
      if (wants(line, this.#wanted)) this.shown.push(line);
    }
    return this.#trim();
  }

  /**
   * Adds lines of which some may be here already, older ones among them: the order of their times is made anew.
   * @param {Line[]} others  in the order of the log
   */
  merge(others) {
    const known = new Set(this.lines.map((line) => line.key));
    const fresh = others.filter((line) => !known.has(line.key));
    if (fresh.length === 0) return;
    const time = (line) => (Number.isNaN(line.at) ? 0 : line.at);
    // The sort is stable: of the same instant, the log's order holds, what was fetched first.
    const all = [...fresh, ...this.lines].sort((a, b) => time(a) - time(b));
    this.clear();
    for (const line of all) {
      this.lines.push(line);
      this.#count(line, 1);
    }
    this.want(this.#wanted);
    this.#trim();
  }

  /** What nobody looks for goes first: the few events of an object outlive the many of the others. */
  #trim() {
    const over = () => this.lines.length - gone.size > KEPT || this.#chars > KEPT_CHARS;
    const gone = new Set();
    if (!over()) return 0;
    const drop = (line) => {
      gone.add(line);
      this.#count(line, -1);
    };
    if (this.shown.length < this.lines.length) {
      const wanted = new Set(this.shown);
      for (const line of this.lines) {
        if (!over()) break;
        if (!wanted.has(line)) drop(line);
      }
    }
    let hidden = 0;
    while (hidden < this.shown.length && over()) {
      drop(this.shown[hidden]);
      hidden += 1;
    }
    this.lines = this.lines.filter((line) => !gone.has(line));
    this.shown.splice(0, hidden);
    return hidden;
  }

  #count(line, by) {
    this.#chars += by * (line.text.length + line.key.length);
    const count = (this.counts.get(line.type) ?? 0) + by;
    if (count > 0) this.counts.set(line.type, count);
    else this.counts.delete(line.type);
  }
}
