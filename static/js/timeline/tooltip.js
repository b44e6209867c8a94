// What is said of the attempt, or the queue, under the pointer. Knows how to write and place it, not what to find there.

import { el } from '../dom.js';
import { stateBadge } from '../format.js';

const APART = 14;

export class Tooltip {
  #key = null;

  /** @param {HTMLElement} host what it is kept inside of */
  constructor(host) {
    this.host = host;
    this.root = el('div', { class: 'tl-tip', 'aria-hidden': 'true' });
    this.root.hidden = true;
    host.append(this.root);
  }

  /** @param {number} x @param {number} y @param {string} key the same key is the same content @param {() => {title:string, state?:string, facts:[string,string][]}} content */
  show(x, y, key, content) {
    if (key !== this.#key || this.root.hidden) {
      this.#key = key;
      const { title, state, facts } = content();
      this.root.replaceChildren(
        el('div', { class: 'tl-tip-head' }, el('b', { text: title }), state ? stateBadge(state) : null),
        el('dl', null, facts.flatMap(([term, value]) => [el('dt', { text: term }), el('dd', { text: value })])),
      );
      this.root.hidden = false;
      this.size = { width: this.root.offsetWidth, height: this.root.offsetHeight };
    }
    const { clientWidth, clientHeight } = this.host;
    const { width, height } = this.size;
    const left = x + APART + width > clientWidth ? x - APART - width : x + APART;
    const top = y + APART + height > clientHeight ? y - APART - height : y + APART;
    this.root.style.transform = `translate(${Math.max(4, Math.min(left, clientWidth - width - 4))}px, ${Math.max(4, top)}px)`;
  }

  hide() {
    this.root.hidden = true;
    this.#key = null;
  }
}
