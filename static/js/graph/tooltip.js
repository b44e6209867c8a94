// The tooltip beside the pointer. For an object that failed it asks why, where the pointer stays.

import { el } from '../dom.js';
import { STATES } from '../format.js';
import { lines } from './describe.js';

const ASK_MS = 150;
const WITH_ERROR = new Set(['failed', 'retrying'].map((state) => STATES.indexOf(state)));

export class Tooltip {
  #shown = -1;
  #timer = 0;

  /** @param {HTMLElement} stage @param {import('../store.js').Store} store @param {import('../errors.js').Errors} errors */
  constructor(stage, store, errors) {
    this.stage = stage;
    this.store = store;
    this.errors = errors;
    this.element = el('div', { class: 'graph-tip', 'aria-hidden': 'true', hidden: true });
    stage.append(this.element);
  }

  destroy() {
    this.hide();
    this.element.remove();
  }

  /** @param {number} i @param {number} x @param {number} y where the pointer is on the stage */
  show(i, x, y) {
    if (i !== this.#shown) {
      this.hide();
      this.#shown = i;
      this.#fill();
      if (WITH_ERROR.has(this.store.states[i])) this.#timer = setTimeout(() => this.errors.want(i, this.#attempt(i)), ASK_MS);
    }
    this.element.hidden = false;
    const { offsetWidth: width, offsetHeight: height } = this.element;
    const right = x + 16 + width <= this.stage.clientWidth - 8;
    const below = y + 16 + height <= this.stage.clientHeight - 8;
    this.element.style.left = `${Math.max(8, right ? x + 16 : x - width - 12)}px`;
    this.element.style.top = `${Math.max(8, below ? y + 16 : y - height - 12)}px`;
  }

  /** The states are others. */
  refresh() {
    if (this.#shown >= 0) this.#fill();
  }

  hide() {
    this.#shown = -1;
    this.element.hidden = true;
    clearTimeout(this.#timer);
  }

  #attempt(i) {
    return this.store.rowAt(i)?.attempt ?? 1;
  }

  #fill() {
    const i = this.#shown;
    if (!this.store.graph || i >= this.store.graph.n) return this.hide();
    this.element.replaceChildren(...lines(this.store, i, WITH_ERROR.has(this.store.states[i]) ? this.errors.at(i, this.#attempt(i)) : null));
  }
}
