// An object's entry in the catalogue, to be read: every field with its value, whatever it is. Knows no field.

import { copyButton } from '../table/clip.js';
import { el } from '../dom.js';
import { t } from '../i18n.js';

const LONG = 60; // characters beyond which a value gets a line of its own

/** @param {Record<string, unknown>|null} entry @returns {(HTMLElement|null)[]} */
export function entryList(entry) {
  if (entry === null || entry === undefined) return [el('p', { class: 'muted', text: t('panel.noEntry') })];
  return [
    el('dl', { class: 'entry' }, ...Object.entries(entry).map(([name, value]) => {
      const shown = valueOf(value);
      return el('div', { class: shown.wide ? 'wide' : null }, el('dt', { text: name, title: name }), el('dd', null, shown.node));
    })),
    copyButton({ label: t('panel.copyJson'), done: t('copied'), failed: t('copyFailed'), text: () => JSON.stringify(entry, null, 2), class: 'button' }),
  ];
}

function valueOf(value) {
  if (value === null || value === undefined) return { node: el('span', { class: 'muted', text: 'null' }), wide: false };
  if (typeof value === 'boolean') return { node: el('span', { text: t(value ? 'panel.yes' : 'panel.no'), title: String(value) }), wide: false };
  if (typeof value === 'object') {
    const flat = JSON.stringify(value);
    const short = flat.length <= LONG && (Array.isArray(value) ? value.every((item) => typeof item !== 'object') : false);
    return short ? { node: el('code', { text: value.join(', ') }), wide: false } : { node: el('pre', { tabindex: '0', text: JSON.stringify(value, null, 2) }), wide: true };
  }
  const text = String(value);
  return { node: el('span', { class: typeof value === 'number' ? 'tabular' : null, text: text === '' ? '""' : text }), wide: text.length > LONG };
}
