// The table's bar: search, stage, states with counts, the choice of columns, copy and download. Shows what it is told
// and tells what is chosen; knows neither rows nor the address.

import { MAX_FIELDS } from './address.js';
import { copyButton } from './clip.js';
import { fold } from './text.js';
import { BADGE_GLYPHS, KINDS } from '../badges.js';
import { el } from '../dom.js';
import { GLYPHS, STAGES, STATES, number } from '../format.js';
import { t } from '../i18n.js';

const LISTED_FIELDS = 200;

/**
 * @param {{search:(q:string)=>void, stage:(stage:number|null)=>void, state:(code:number)=>void, kind:(kind:string)=>void, fields:(names:string[])=>void,
 *   text:()=>string, save:()=>void}} told
 */
export function makeBar(told) {
  const search = el('input', { type: 'search', class: 'field search', placeholder: t('table.search'), 'aria-label': t('table.search'), on: { input: () => told.search(search.value) } });
  const stage = el('select', { class: 'field', 'aria-label': t('table.stage'), on: { change: () => told.stage(stage.value === '' ? null : Number(stage.value)) } },
    el('option', { value: '', text: t('table.allStages') }),
    ...STAGES.map((name, code) => el('option', { value: String(code), text: t(`stage.${name}`) })));
  const chips = STATES.map((name, code) => {
    const count = el('span', { class: 'count' });
    const chip = el('button', { type: 'button', class: 'chip', dataset: { state: name }, 'aria-pressed': 'false', on: { click: () => told.state(code) } },
      el('span', { class: 'glyph', 'aria-hidden': 'true', text: GLYPHS[name] }), el('span', { text: t(`state.${name}`) }), count);
    return { chip, count };
  });
  const kinds = KINDS.map((kind) => {
    const count = el('span', { class: 'count' });
    const chip = el('button', { type: 'button', class: 'chip', dataset: { badge: kind }, 'aria-pressed': 'false', on: { click: () => told.kind(kind) } },
      el('span', { class: 'glyph', 'aria-hidden': 'true', text: BADGE_GLYPHS[kind] ?? BADGE_GLYPHS[`${kind}-loaded`] }), el('span', { text: t(`badge.${kind}`) }), count);
    return { kind, chip, count };
  });
  const columns = makeColumns(told);
  const rows = el('output', { class: 'rows', 'aria-live': 'off' });
  const element = el('div', { class: 'bar' },
    el('div', { class: 'bar-line' }, search, stage, columns.element),
    el('div', { class: 'bar-line' },
      el('div', { class: 'chips', role: 'group', 'aria-label': t('table.states') }, ...[...chips, ...kinds].map(({ chip }) => chip)),
      el('span', { class: 'bar-end bar-acts' }, rows,
        copyButton({ label: t('table.copy'), done: t('copied'), failed: t('copyFailed'), text: told.text }),
        el('button', { type: 'button', class: 'quiet', on: { click: () => told.save() }, text: t('table.download') }))));
  let said = '';
  return {
    element,
    destroy: columns.destroy,
    /** @param {import('./address.js').Shown} shown */
    show(shown) {
      if (document.activeElement !== search) search.value = shown.q;
      stage.value = shown.stage === null ? '' : String(shown.stage);
      chips.forEach(({ chip }, code) => chip.setAttribute('aria-pressed', String(shown.states.has(code))));
      for (const { kind, chip } of kinds) chip.setAttribute('aria-pressed', String(shown.kinds.has(kind)));
    },
    /**
     * @param {number[]} byState @param {Record<string, number>} byKind @param {import('./address.js').Shown} asked
     * @param {number} shown @param {number} total
     */
    count(byState, byKind, { states: wanted, kinds: wantedKinds }, shown, total) {
      const now = `${byState} ${Object.values(byKind)} ${[...wanted]} ${[...wantedKinds]} ${shown} ${total}`;
      if (now === said) return;
      said = now;
      chips.forEach(({ chip, count }, code) => {
        count.textContent = number(byState[code]);
        chip.hidden = byState[code] === 0 && !wanted.has(code);
      });
      for (const { kind, chip, count } of kinds) {
        count.textContent = number(byKind[kind]);
        chip.hidden = byKind[kind] === 0 && !wantedKinds.has(kind);
      }
      rows.textContent = shown === total ? t('table.rows', { n: total }) : t('table.rowsOf', { shown: number(shown), n: total });
    },
    fields: columns.show,
  };
}

/** The choice of the catalogue's fields. */
function makeColumns(told) {
  let [known, chosen] = [[], []];
  const list = el('div', { class: 'menu-list' });
  const find = el('input', { type: 'search', class: 'field', placeholder: t('table.findField'), 'aria-label': t('table.findField'), on: { input: () => draw() } });
  const note = el('p', { class: 'menu-note' });
  const summary = el('summary', { class: 'button', text: t('table.columns') });
  const element = el('details', { class: 'menu', on: {
    toggle: () => draw(),
    keydown: (event) => {
      if (event.key !== 'Escape' || !element.open) return;
      event.stopPropagation();
      element.open = false;
      summary.focus();
    },
  } }, summary, el('div', { class: 'menu-box' }, note, find, list));
  const outside = (event) => { if (!element.contains(event.target)) element.open = false; };
  document.addEventListener('pointerdown', outside);

  const toggle = (name) => told.fields(chosen.includes(name) ? chosen.filter((other) => other !== name) : [...chosen, name]);

  function draw() {
    summary.textContent = chosen.length > 0 ? t('table.columnsChosen', { n: chosen.length }) : t('table.columns');
    if (!element.open) return;
    const focused = list.contains(document.activeElement) ? document.activeElement.value : null;
    const words = fold(find.value);
    const found = known.filter((name) => fold(name).includes(words)).slice(0, LISTED_FIELDS);
    find.hidden = known.length < 12;
    note.textContent = known.length === 0 ? t('table.noFields') : t('table.fieldsNote', { n: MAX_FIELDS });
    list.replaceChildren(...found.map((name) => el('label', { class: 'check', title: name },
      el('input', { type: 'checkbox', value: name, checked: chosen.includes(name), disabled: !chosen.includes(name) && chosen.length >= MAX_FIELDS, on: { change: () => toggle(name) } }),
      el('span', { text: name }))));
    if (focused !== null) [...list.querySelectorAll('input')].find((input) => input.value === focused)?.focus();
  }

  return {
    element,
    destroy: () => document.removeEventListener('pointerdown', outside),
    show(names, picked) {
      [known, chosen] = [names, picked];
      draw();
    },
  };
}
