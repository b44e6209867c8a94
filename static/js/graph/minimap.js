// The whole picture, small, with a frame around what is on the stage; press or drag there to go there.

import { el } from '../dom.js';
import { colours } from '../theme.js';
import { seen } from './camera.js';
import { frameOf } from './frame.js';
import { dust, tone } from './marks.js';

const WIDTH = 180;
const HEIGHT = 110;
const REPAINT_MS = 600;

export class Minimap {
  #scene = null;
  #scale = 1;
  #timer = 0;
  #image = null;
  #tones = null;
  #dim = null;

  /**
   * @param {HTMLElement} parent @param {() => Uint8Array} states @param {(x: number, y: number) => void} goTo a point of the world
   */
  constructor(parent, states, goTo) {
    this.states = states;
    this.canvas = el('canvas', { class: 'graph-minimap-canvas' });
    this.window = el('div', { class: 'graph-minimap-window' });
    this.element = el('div', { class: 'graph-minimap', 'aria-hidden': 'true', dataset: { apart: '' }, hidden: true }, this.canvas, this.window);
    parent.append(this.element);
    const go = (event) => {
      if (event.type === 'pointermove' && !this.element.hasPointerCapture(event.pointerId)) return;
      const box = this.canvas.getBoundingClientRect();
      goTo((event.clientX - box.left) / this.#scale, (event.clientY - box.top) / this.#scale);
    };
    this.element.addEventListener('pointerdown', (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      this.element.setPointerCapture(event.pointerId);
      go(event);
    });
    this.element.addEventListener('pointermove', go);
  }

  destroy() {
    clearTimeout(this.#timer);
    this.element.remove();
  }

  /** @param {import('./scene.js').Scene | null} scene */
  setScene(scene) {
    this.#scene = scene;
    if (!scene) return;
    this.#scale = Math.min(WIDTH / scene.width, HEIGHT / scene.height);
    const [width, height] = [Math.max(8, Math.round(scene.width * this.#scale)), Math.max(8, Math.round(scene.height * this.#scale))];
    [this.canvas.width, this.canvas.height] = [2 * width, 2 * height];
    [this.canvas.style.width, this.canvas.style.height] = [`${width}px`, `${height}px`];
    this.#image = new ImageData(2 * width, 2 * height);
    this.repaint();
  }

  /** @param {Uint8Array | null} dim */
  setDim(dim) {
    this.#dim = dim;
    this.repaint();
  }

  /** Other colours. */
  restyle() {
    this.#tones = null;
    this.repaint();
  }

  /** Soon, and not more often than is needed to see that something moves. */
  repaint() {
    if (this.#timer === 0 && this.#scene) this.#timer = setTimeout(() => this.#paint(), this.element.hidden ? 0 : REPAINT_MS);
  }

  /** @param {import('./camera.js').Pose} pose @param {import('./camera.js').Size} size */
  place(pose, size) {
    if (!this.#scene) return;
    const { x0, y0, x1, y1 } = seen(pose, size);
    const all = x0 <= 0 && y0 <= 0 && x1 >= this.#scene.width && y1 >= this.#scene.height;
    // Where the stage shows it all, or is hardly larger, it would only be in the way.
    const needed = !all && this.#scene.members.length > 40 && size.width >= 520 && size.height >= 300;
    if (this.element.hidden === needed) {
      this.element.hidden = !needed;
      if (needed) this.#paint();
    }
    if (!needed) return;
    const clip = (value, most) => Math.min(Math.max(value * this.#scale, 0), most);
    const [left, top] = [clip(x0, this.canvas.width / 2), clip(y0, this.canvas.height / 2)];
    this.window.style.transform = `translate(${left}px, ${top}px)`;
    this.window.style.width = `${Math.max(4, clip(x1, this.canvas.width / 2) - left)}px`;
    this.window.style.height = `${Math.max(4, clip(y1, this.canvas.height / 2) - top)}px`;
  }

  #paint() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (!this.#scene || this.element.hidden) return;
    this.#tones ??= Uint32Array.from(colours().states, tone);
    this.#image.data.fill(0);
    const frame = frameOf({ x: 0, y: 0, k: this.#scale }, { width: 0, height: 0 }, 0, 2);
    dust(this.#image, frame, this.#scene, this.states(), this.#tones, this.#dim);
    this.canvas.getContext('2d').putImageData(this.#image, 0, 0);
  }
}
