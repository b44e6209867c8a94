// A sorted, growing list of instants, and what can be read from pairs of them.
//
// How many objects are ready at T is how often one became ready by T minus how often one ceased to be: two sorted lists
// answer it at any zoom, exactly, and an event costs an append. Knows nothing of objects, stages or pixels on a screen.

export class Times {
  constructor() {
    this.values = new Float64Array(64);
    this.length = 0;
  }

  /** How many instants are ≤ `t`. @param {number} t */
  upTo(t) {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.values[middle] <= t) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** @param {number} t */
  add(t) {
    this.#reserve(this.length + 1);
    // Events come nearly in order, so the place is at the end or close to it, and little is moved.
    const at = this.length === 0 || this.values[this.length - 1] <= t ? this.length : this.upTo(t);
    if (at < this.length) this.values.copyWithin(at + 1, at, this.length);
    this.values[at] = t;
    this.length += 1;
  }

  /** Takes one instant equal to `t` out; false where there is none. @param {number} t */
  remove(t) {
    const at = this.upTo(t) - 1;
    if (at < 0 || this.values[at] !== t) return false;
    this.values.copyWithin(at, at + 1, this.length);
    this.length -= 1;
    return true;
  }

  /** Replaces all of it, from any order. @param {number[]|Float64Array} values */
  fill(values) {
    this.length = 0;
    this.#reserve(values.length);
    this.values.set(values);
    this.length = values.length;
    this.values.subarray(0, this.length).sort();
  }

  #reserve(wanted) {
    if (wanted <= this.values.length) return;
    const grown = new Float64Array(Math.max(wanted, this.values.length * 2));
    grown.set(this.values.subarray(0, this.length));
    this.values = grown;
  }
}

/** How many are "in" at `t`. @param {Times} on @param {Times} off @param {number} t */
export function levelAt(on, off, t) {
  return on.upTo(t) - off.upTo(t);
}

/**
 * The highest level within each of `columns` equal parts of [from, to].
 * The peak and not a sample: a queue that stood for a moment must not depend on the zoom to be seen.
 * @param {Times} on @param {Times} off @param {number} from @param {number} to @param {number} columns
 * @returns {Float64Array}
 */
export function peaks(on, off, from, to, columns) {
  const out = new Float64Array(columns);
  let a = on.upTo(from);
  let b = off.upTo(from);
  const width = (to - from) / columns;
  for (let column = 0; column < columns; column += 1) {
    const until = from + width * (column + 1);
    let peak = a - b;
    while (true) {
      const rise = a < on.length ? on.values[a] : Infinity;
      const fall = b < off.length ? off.values[b] : Infinity;
      // At the same instant the fall counts first: a slot handed on is not two slots.
      if (fall <= rise) {
        if (fall > until) break;
        b += 1;
      } else {
        if (rise > until) break;
        a += 1;
        if (a - b > peak) peak = a - b;
      }
    }
    out[column] = Math.max(0, peak);
  }
  return out;
}
