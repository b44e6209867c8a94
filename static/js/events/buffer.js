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
    this.#trim();
    this.want(this.#wanted);
  }

  #trim() {
    let gone = 0;
    while (gone < this.lines.length && (this.lines.length - gone > KEPT || this.#chars > KEPT_CHARS)) {
      this.#count(this.lines[gone], -1);
      gone += 1;
    }
    if (gone === 0) return 0;
    const dropped = new Set(this.lines.splice(0, gone));
    let hidden = 0;
    while (hidden < this.shown.length && dropped.has(this.shown[hidden])) hidden += 1;
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
