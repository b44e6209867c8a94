// An object's parents or children: a list of links, each with its state at the time shown; long ones open on demand.
// The states change in place. Knows the store.

import { objectLink } from './parts.js';
import { el } from '../dom.js';
import { GLYPHS, STATES, number } from '../format.js';
import { t } from '../i18n.js';

const SHORT = 20;
const LONGEST = 1000;

/** @param {any} store @param {string} title  a key */
export function relations(store, title) {
  const count = el('span', { class: 'count' });
  const list = el('ul', { class: 'relations' });
  const toggle = el('button', { type: 'button', class: 'quiet', on: { click: () => { all = !all; draw(); } } });
  const rest = el('p', { class: 'muted' });
  const element = el('section', { class: 'panel-section' }, el('h3', null, t(title), count), list, toggle, rest);
  let [places, all, items] = [[], false, []];

  function draw() {
    count.textContent = number(places.length);
    const shown = Array.from(places.slice(0, all ? LONGEST : SHORT));
    items = shown.map((i) => {
      const glyph = el('span', { class: 'glyph', 'aria-hidden': 'true' });
      const word = el('span', { class: 'visually-hidden' });
      const name = store.graph.names[i] ?? '';
      return { i, glyph, word, state: -1, node: el('li', null, objectLink(store.graph.ids[i], glyph, word, el('b', { text: String(store.graph.ids[i]) }), el('span', { class: 'name', text: name, title: name }))) };
    });
    list.replaceChildren(...items.map(({ node }) => node));
    toggle.hidden = places.length <= SHORT;
    toggle.textContent = all ? t('panel.showFewer') : t('panel.showAll', { n: places.length });
    rest.hidden = places.length > 0 && !(all && places.length > LONGEST);
    rest.textContent = places.length === 0 ? t('panel.none') : t('panel.andMore', { n: places.length - LONGEST });
    states();
  }

  function states() {
    for (const item of items) {
      const state = store.state(item.i);
      if (state === item.state) continue;
      item.state = state;
      const name = STATES[state];
      item.glyph.dataset.state = name;
      item.glyph.textContent = GLYPHS[name];
      item.glyph.title = t(`state.${name}`);
      item.word.textContent = `${t(`state.${name}`)} `;
    }
  }

  return {
    element,
    states,
    /** @param {ArrayLike<number>} related  places in the graph */
    show(related) {
      places = related;
      all = false;
      draw();
    },
  };
}
