// The row above the picture: search, and what is shown of the graph. It tells what was asked for; the address keeps it.

import { el } from '../dom.js';
import { t } from '../i18n.js';

const TYPING_MS = 140;

/**
 * @param {object} told
 * @param {(q: string) => void} told.search
 * @param {(by: 1 | -1) => void} told.next
 * @param {(name: 'failed' | 'critical' | 'focus' | 'stages' | 'legend') => void} told.toggle
 * @param {HTMLElement} failures what stands between the buttons
 */
export function toolbar(told, failures) {
  let timer = 0;
  const search = () => {
    clearTimeout(timer);
    timer = 0;
    told.search(input.value);
  };
  const input = el('input', {
    type: 'search', class: 'graph-q', placeholder: t('graph.search'), 'aria-label': t('graph.search'), autocomplete: 'off', spellcheck: 'false',
    on: {
      input() {
        clearTimeout(timer);
        timer = setTimeout(search, TYPING_MS);
      },
      keydown(event) {
        if (event.key === 'Enter') {
          if (timer !== 0) search();
          told.next(event.shiftKey ? -1 : 1);
          event.preventDefault();
        } else if (event.key === 'Escape' && input.value !== '') {
          input.value = '';
          search();
          event.preventDefault();
          event.stopPropagation();
        }
      },
    },
  });
  const count = el('output', { class: 'graph-count', 'aria-live': 'polite' });
  const arrow = (by, sign, name) => el('button', { type: 'button', class: 'quiet graph-arrow', title: name, 'aria-label': name, text: sign, hidden: true, on: { click: () => told.next(by) } });
  const arrows = [arrow(-1, '‹', t('graph.previous')), arrow(1, '›', t('graph.next'))];
  const toggle = (name) => el('button', {
    type: 'button', class: 'graph-toggle', title: t(`graph.${name}.title`), 'aria-pressed': 'false', text: t(`graph.${name}`), on: { click: () => told.toggle(name) },
  });
  const toggles = Object.fromEntries(['failed', 'critical', 'focus', 'stages', 'legend'].map((name) => [name, toggle(name)]));
  const { legend, ...ways } = toggles;
  const note = el('p', { class: 'graph-note', role: 'status' });
  const element = el('div', { class: 'graph-toolbar', role: 'group', 'aria-label': t('graph.toolbar') },
    el('div', { class: 'graph-search', role: 'search' }, input, count, ...arrows), ...Object.values(ways), failures, legend, note);

  return {
    element,
    focusSearch() {
      input.focus();
      input.select();
    },
    /** @param {{q: string, pressed: Record<string, boolean>, focusable: boolean}} state as the address has it */
    update({ q, pressed, focusable }) {
      // Not under the fingers of whoever is typing.
      if (input.value !== q && timer === 0 && !(document.activeElement === input && input.value.trim() === q.trim())) input.value = q;
      for (const [name, on] of Object.entries(pressed)) toggles[name].setAttribute('aria-pressed', String(on));
      toggles.focus.disabled = !focusable;
    },
    /** @param {number | null} all matches; null: nothing is looked for @param {number} at the one that is looked at, -1: none yet */
    found(all, at) {
      const text = all === null ? '' : all === 0 ? t('graph.none') : at < 0 ? t('graph.found', { n: all }) : t('graph.at', { at: at + 1, all });
      if (count.textContent !== text) count.textContent = text;
      for (const one of arrows) one.hidden = !all;
    },
    /** @param {string} text */
    note(text) {
      if (note.textContent !== text) note.textContent = text;
    },
    destroy: () => clearTimeout(timer),
  };
}

/** The buttons on the stage. @param {() => import('./viewpoint.js').Viewpoint} camera whichever is on it */
export function zoomButtons(camera) {
  const button = (sign, name, act) => el('button', { type: 'button', text: sign, title: name, 'aria-label': name, on: { click: act } });
  return el('div', { class: 'graph-zoom', role: 'group', 'aria-label': t('graph.zoom'), dataset: { apart: '' } },
    button('+', t('graph.closer'), () => camera().zoom(1.4, undefined, undefined, true)),
    button('−', t('graph.farther'), () => camera().zoom(1 / 1.4, undefined, undefined, true)),
    button('⤢', t('graph.fit'), () => camera().fit(true)));
}
