// The strip above the timeline: the search, what is shown in numbers, the legend, zoom and follow.
// Knows its own elements; what they do is told by whoever makes it.

import { el } from '../dom.js';
import { GLYPHS, number } from '../format.js';
import { t } from '../i18n.js';

const LEGEND = ['running', 'loaded', 'failed', 'retrying', 'cancelled'];

/**
 * @param {{search:(q:string)=>void, zoom:(factor:number)=>void, whole:()=>void, follow:()=>void}} told
 */
export function toolbar(told) {
  const search = el('input', {
    type: 'search', class: 'tl-search', placeholder: t('timeline.search'), 'aria-label': t('timeline.search'),
    spellcheck: 'false', autocomplete: 'off', on: { input: () => told.search(search.value) },
  });
  const found = el('span', { class: 'tl-found', role: 'status' });
  const numbers = el('span', { class: 'tl-numbers' });
  const skipped = el('span', { class: 'tl-skipped' });
  const button = (key, text, press, extra) => el('button', {
    type: 'button', class: 'tl-button', title: t(key), 'aria-label': t(key), on: { click: press }, ...extra,
  }, text);
  const follow = button('timeline.follow-why', t('timeline.follow'), told.follow, { 'aria-pressed': 'false', 'aria-label': null });
  const legend = el('details', {
    class: 'tl-legend',
    on: {
      keydown: (event) => {
        if (event.key !== 'Escape' || !legend.open) return;
        event.preventDefault();
        legend.open = false;
        legend.firstElementChild.focus();
      },
      focusout: (event) => { if (!legend.contains(event.relatedTarget)) legend.open = false; },
    },
  },
  el('summary', { text: t('timeline.legend') }),
  el('ul', null,
    el('li', null, el('i', { class: 'tl-key tl-key-wait' }), t('timeline.legend-wait')),
    LEGEND.map((state) => el('li', null, el('i', { class: 'tl-key', dataset: { state } }, GLYPHS[state]), t(`state.${state}`))),
    el('li', null, el('i', { class: 'tl-key tl-key-critical' }), t('timeline.critical')),
    el('li', { class: 'tl-note', text: t('timeline.legend-narrow') }),
    el('li', { class: 'tl-note', text: t('timeline.keys') })));
  const root = el('div', { class: 'tl-bar', role: 'toolbar', 'aria-label': t('timeline.tools') },
    search, found,
    el('span', { class: 'tl-about' }, numbers, skipped),
    legend,
    el('span', { class: 'tl-group' },
      button('timeline.zoom-out', '−', () => told.zoom(1 / 1.6)),
      button('timeline.zoom-in', '+', () => told.zoom(1.6)),
      button('timeline.whole-why', t('timeline.whole'), told.whole, { 'aria-label': null })),
    follow,
  );

  return {
    root,
    search,
    /** @param {{attempts:number, lanes:number, skipped:number, found:number|null, live:boolean, following:boolean}} what */
    update(what) {
      set(numbers, t('timeline.numbers', { attempts: t('timeline.attempts', { n: what.attempts }), lanes: t('timeline.lanes', { n: what.lanes }) }));
      set(skipped, what.skipped > 0 ? `${GLYPHS.skipped} ${t('timeline.skipped', { n: what.skipped })}` : '');
      set(found, what.found === null ? '' : number(what.found));
      found.title = what.found === null ? '' : t('timeline.found', { n: what.found });
      follow.hidden = !what.live;
      follow.setAttribute('aria-pressed', String(what.following));
    },
  };
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
