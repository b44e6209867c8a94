// The stages behind the picture: a band each, and its name and counts at the top of what is seen of it.

import { el } from '../dom.js';
import { number, STAGES } from '../format.js';
import { t } from '../i18n.js';

const GAP = 6;
// About how wide a letter and what is around the words are: measuring would cost a layout at each movement.
const [LETTER, AROUND] = [7.2, 38];

export class Bands {
  #bands = [];

  /** @param {HTMLElement} stage */
  constructor(stage) {
    this.ground = el('div', { class: 'graph-bands', 'aria-hidden': 'true' });
    this.names = el('div', { class: 'graph-band-names', 'aria-hidden': 'true' });
    stage.prepend(this.ground);
    stage.append(this.names);
  }

  destroy() {
    this.ground.remove();
    this.names.remove();
  }

  /** @param {{stage: number, x0: number, x1: number}[]} bands */
  set(bands) {
    this.#bands = bands.map(({ stage, x0, x1 }) => {
      const name = STAGES[stage];
      const ground = el('div', { class: 'graph-band', dataset: { stage: name } });
      const count = el('span', { class: 'graph-band-count' });
      const word = el('span', { class: 'graph-band-word', text: t(`stage.${name}`) });
      const label = el('div', { class: 'graph-band-name', dataset: { stage: name } }, word, count);
      return { stage, x0, x1, ground, label, word, count, shown: '' };
    });
    this.ground.replaceChildren(...this.#bands.map((band) => band.ground));
    this.names.replaceChildren(...this.#bands.map((band) => band.label));
  }

  /** @param {{loaded: number, all: number}[]} stages how many of the objects shown are loaded, of how many */
  count(stages) {
    for (const band of this.#bands) {
      const { loaded, all } = stages[band.stage];
      const text = `${number(loaded)}/${number(all)}`;
      if (band.count.textContent !== text) band.count.textContent = text;
    }
  }

  /** @param {import('./camera.js').Pose} pose @param {number} width of the stage */
  place(pose, width) {
    for (const band of this.#bands) {
      const left = (band.x0 - pose.x) * pose.k;
      const right = (band.x1 - pose.x) * pose.k;
      const from = Math.max(0, Math.min(left, width));
      const to = Math.min(width, Math.max(right, 0));
      const shown = `${left.toFixed(1)} ${right.toFixed(1)} ${width}`;
      if (shown === band.shown) continue;
      band.shown = shown;
      band.ground.style.transform = `translateX(${from}px)`;
      band.ground.style.width = `${Math.max(0, to - from)}px`;
      const room = to - from - 2 * GAP;
      band.label.hidden = room < 24;
      // The name goes before the count.
      band.label.classList.toggle('is-narrow', room < LETTER * (band.word.textContent.length + band.count.textContent.length) + AROUND);
      band.label.style.maxWidth = `${Math.max(0, room)}px`;
      band.label.style.transform = `translateX(${from + GAP}px)`;
    }
  }
}
