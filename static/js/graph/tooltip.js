// The tooltip beside the pointer. For an object that failed it asks the server why, once.

import { el } from '../dom.js';
import { get } from '../api.js';
import { STATES } from '../format.js';
import { lines } from './describe.js';

const ASK_MS = 150;
const REMEMBERED = 100;
const WITH_ERROR = new Set(['failed', 'retrying'].map((state) => STATES.indexOf(state)));

export class Tooltip {
  #shown = -1;
  #errors = new Map();
  #timer = 0;
  #asked = null;

  /** @param {HTMLElement} stage @param {import('../store.js').Store} store */
  constructor(stage, store) {
    this.stage = stage;
    this.store = store;
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
      if (WITH_ERROR.has(this.store.states[i])) this.#timer = setTimeout(() => this.#ask(i), ASK_MS);
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
    this.#asked?.abort();
    this.#asked = null;
  }

  #key(i) {
    return `${this.store.run?.run_id} ${this.store.graph.ids[i]} ${this.store.rowAt(i)?.t}`;
  }

  #fill() {
    const i = this.#shown;
    if (!this.store.graph || i >= this.store.graph.n) return this.hide();
    this.element.replaceChildren(...lines(this.store, i, this.#errors.get(this.#key(i)) ?? null));
  }

  async #ask(i) {
    const { store } = this;
    const key = this.#key(i);
    if (this.#errors.has(key) || !store.run) return;
    this.#asked = new AbortController();
    try {
      const object = await get(`/runs/${store.run.run_id}/objects/${store.graph.ids[i]}`, { signal: this.#asked.signal });
      const attempt = store.rowAt(i)?.attempt;
      const found = object.attempts?.find((one) => one.attempt === attempt)?.error ?? object.attempts?.findLast((one) => one.error)?.error;
      if (!found) return;
      if (this.#errors.size >= REMEMBERED) this.#errors.clear();
      this.#errors.set(key, String(found));
      if (this.#shown === i) this.#fill();
    } catch {
      // The tooltip says what is known without it; the panel says what went wrong.
    }
  }
}
