// The part of time that is seen: which instants the two edges stand for, and how zoom, pan and follow move them.
// Pure: told the time, the span of the run and the width in pixels.

const NARROWEST_MS = 20;
// Room at the right of now, so that an open bar's end and the line at now are seen.
const MARGIN = 0.03;

export class View {
  constructor() {
    this.from = 0;
    this.to = 1;
    this.width = 1;
    /** @type {'whole'|'follow'|'free'} the whole run as it grows; a window whose right edge follows now; where the user put it */
    this.mode = 'whole';
    this.span = { from: 0, to: 1, live: false };
  }

  /** Pixels per millisecond. */
  get scale() {
    return this.width / (this.to - this.from);
  }

  /** @param {number} t */
  x(t) {
    return (t - this.from) * this.scale;
  }

  /** @param {number} x */
  t(x) {
    return this.from + x / this.scale;
  }

  get whole() {
    const length = Math.max(1000, this.span.to - this.span.from);
    return { from: this.span.from - length * 0.01, to: this.span.from + length * (1 + MARGIN) };
  }

  /** Now moved, or the run grew. @param {{from:number,to:number,live:boolean}} span */
  setSpan(span) {
    this.span = span;
    if (this.mode === 'whole') Object.assign(this, this.whole);
    else if (this.mode === 'follow') this.#toNow();
  }

  #toNow() {
    const length = this.to - this.from;
    this.to = this.span.to + length * MARGIN;
    this.from = this.to - length;
  }

  showWhole() {
    this.mode = 'whole';
    Object.assign(this, this.whole);
  }

  /** Follow now with the window as wide as it is; where that is the whole run, the run as it grows. */
  follow() {
    this.mode = this.mode === 'whole' ? 'whole' : 'follow';
    this.setSpan(this.span);
  }

  /** Whether the right edge goes with now. */
  get following() {
    return this.span.live && this.mode !== 'free';
  }

  /** `factor` > 1 shows less time. Without a place it keeps now where it is, or else the middle. @param {number} factor @param {number} [x] */
  zoom(factor, x) {
    const { from: least, to: most } = this.whole;
    const following = this.following;
    const anchor = x ?? (following ? this.x(this.span.to) : this.width / 2);
    const t = this.t(anchor);
    const length = Math.min(most - least, Math.max(NARROWEST_MS, (this.to - this.from) / factor));
    if (length >= most - least) {
      this.showWhole();
      return;
    }
    this.from = t - (anchor / this.width) * length;
    this.to = this.from + length;
    this.mode = following && this.to >= this.span.to ? 'follow' : 'free';
    this.#keepIn();
  }

  /** @param {number} pixels to the right */
  pan(pixels) {
    const move = pixels / this.scale;
    this.from += move;
    this.to += move;
    this.mode = 'free';
    this.#keepIn();
  }

  /** Moves as little as is needed to see [from, to], or its beginning. @param {number} from @param {number} to */
  reveal(from, to = from) {
    const length = this.to - this.from;
    const edge = length * 0.08;
    const end = Math.min(to, from + length - 2 * edge);
    if (from < this.from + edge) this.#shift(from - edge - this.from);
    else if (end > this.to - edge) this.#shift(end + edge - this.to);
  }

  #shift(move) {
    if (this.mode === 'whole') return;
    this.from += move;
    this.to += move;
    this.mode = 'free';
    this.#keepIn();
  }

  #keepIn() {
    const { from: least, to: most } = this.whole;
    const length = this.to - this.from;
    if (this.from < least) this.from = least;
    if (this.from + length > most) this.from = Math.max(least, most - length);
    this.to = this.from + length;
  }
}
