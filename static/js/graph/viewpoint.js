// Where the stage is seen from, and how that changes: at once or gliding, within limits, fitting again where the stage
// gets another size. It does not know what is seen.

import { between, centred, CLOSEST, filled, fitted, kept, panned, same, seen, zoomed } from './camera.js';

const GLIDE_MS = 220;
const HELD_MS = 350;
/** A stage below this width has its buttons at the bottom. */
const NARROW = 600;
// How much of the stage the names of the stages cover at its top.
const TOP = 36;
// What is revealed is not at the very rim.
const RIM = 48;

export class Viewpoint {
  pose = { x: 0, y: 0, k: 1 };
  size = { width: 1, height: 1 };
  /** Whether it shows all there is, and goes on doing so when the stage changes. */
  fits = true;
  #box;
  #moved;
  #closest;
  #largest;
  #glide = null;
  #frame = 0;
  #held = 0;
  #still = matchMedia('(prefers-reduced-motion: reduce)');

  /**
   * @param {{box: () => import('./camera.js').Box | null, moved: () => void, closest?: number, largest?: number}} of `box`:
   *   around all there is; `largest`: all of it is not shown larger than this; `closest`: nothing of it is
   */
  constructor({ box, moved, closest = CLOSEST, largest = 1 }) {
    this.#box = box;
    this.#moved = moved;
    this.#closest = closest;
    this.#largest = largest;
  }

  destroy() {
    this.stop();
    clearTimeout(this.#held);
  }

  /** @returns {boolean} whether it is on its way */
  get gliding() {
    return this.#glide !== null;
  }

  /** @param {import('./camera.js').Size} size of the stage */
  resize(size) {
    this.size = size;
    if (this.fits && this.#held === 0) {
      this.stop();
      this.pose = this.whole;
    }
    this.#moved();
  }

  /** @returns {import('./camera.js').Pose} from where all is seen */
  get whole() {
    const box = this.#box();
    if (!box) return { x: 0, y: 0, k: 1 };
    // The buttons stand at the right, on a narrow stage at the bottom: nothing lies under them.
    const room = this.size.width < NARROW ? { side: 8, bottom: 52 } : { side: 52, bottom: 12 };
    return fitted(box, this.size, { top: TOP, closest: this.#largest, ...room });
  }

  /** @param {boolean} [glide] */
  fit(glide = false) {
    this.fits = true;
    this.#go(this.whole, glide);
  }

  /** Stays for a moment as it is, whatever the stage's size becomes: a second click shall meet what the first one met. */
  hold() {
    clearTimeout(this.#held);
    this.#held = setTimeout(() => {
      this.#held = 0;
      if (this.fits) this.fit(true);
    }, HELD_MS);
  }

  /** @param {import('./camera.js').Pose} pose */
  put(pose) {
    this.#go(pose, false);
  }

  /** @param {number} factor @param {number} [sx] @param {number} [sy] a point of the stage @param {boolean} [glide] */
  zoom(factor, sx = this.size.width / 2, sy = this.size.height / 2, glide = false) {
    this.fits = false;
    // No reason to go much farther away than to where all is seen.
    const limits = { farthest: this.whole.k * 0.7, closest: this.#closest };
    this.#go(this.#within(zoomed(this.#from(glide), factor, sx, sy, limits)), glide);
  }

  /** @param {number} dx @param {number} dy screen pixels @param {boolean} [glide] */
  pan(dx, dy, glide = false) {
    this.fits = false;
    this.#go(this.#within(panned(this.#from(glide), dx, dy)), glide);
  }

  /**
   * Puts a point of the world in the middle.
   * @param {number} x @param {number} y @param {{least?: number, glide?: boolean}} [how] `least`: the scale to have at least
   */
  centre(x, y, { least = 0, glide = true } = {}) {
    this.fits = false;
    this.#go(this.#within(centred(this.size, x, y, Math.min(this.#closest, Math.max(this.pose.k, least)))), glide);
  }

  /** Shows a part, no closer than it is read well. @param {import('./camera.js').Box} box @param {boolean} [glide] */
  show(box, glide = true) {
    this.fits = false;
    this.#go(this.#within(fitted(box, this.size, { top: TOP + 16, side: RIM, closest: 1 })), glide);
  }

  /** Brings a point of the world on the stage where it is not yet. @param {number} x @param {number} y @param {number} [least] the scale to have at least */
  reveal(x, y, least = 0) {
    const pose = this.#from(true);
    const area = seen(pose, this.size, -RIM);
    const inside = x > area.x0 && x < area.x1 && y > area.y0 + TOP / pose.k && y < area.y1;
    if (inside && pose.k >= least) return;
    this.fits = false;
    this.#go(filled(centred(this.size, x, y, Math.max(pose.k, least)), this.#box(), this.size, TOP), true);
  }

  /** Ends a glide where it is. */
  stop() {
    cancelAnimationFrame(this.#frame);
    this.#glide = null;
  }

  /** Where the next step starts: several quick steps add up. */
  #from(glide) {
    return glide && this.#glide ? this.#glide.to : this.pose;
  }

  #within(pose) {
    const box = this.#box();
    return box ? kept(pose, box, this.size) : pose;
  }

  #go(pose, glide) {
    this.stop();
    if (same(pose, this.pose)) return;
    if (glide && !this.#still.matches) {
      this.#glide = { from: this.pose, to: pose, began: performance.now() };
      this.#step();
    } else {
      this.pose = pose;
      this.#moved();
    }
  }

  #step() {
    this.#frame = requestAnimationFrame((now) => {
      const { from, to, began } = this.#glide;
      const part = Math.min(1, Math.max(0, (now - began) / GLIDE_MS));
      this.pose = between(from, to, this.size, 1 - (1 - part) ** 3);
      if (part < 1) this.#step();
      else this.#glide = null;
      this.#moved();
    });
  }
}
