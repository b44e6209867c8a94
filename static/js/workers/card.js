// One worker: its state, its stages, its slots with what they hold, what it did in this run. Shows what it is told.

import { seat } from './seats.js';
import { el } from '../dom.js';
import { NOTHING, clock, duration, number, stateBadge } from '../format.js';
import { t } from '../i18n.js';
import { href, route } from '../router.js';

const SEATS = 96; // slots that are drawn
const SILENT_S = 5; // heartbeats come more often than that
const ALL_FREE = 16; // up to so many slots, each free one is drawn

/**
 * @typedef {object} Held
 * @property {string} key
 * @property {number} id
 * @property {string} name
 * @property {string} run
 * @property {number} since  ms
 * @property {number} attempt
 */

/** @returns {{element:HTMLElement, show:(of:any)=>void, tick:(now:number)=>void}} */
export function workerCard() {
  const name = el('h2', { class: 'worker-name' });
  const state = el('span', { class: 'worker-state' });
  const about = el('p', { class: 'worker-about soft' });
  const did = el('dl', { class: 'worker-did' });
  const busy = el('p', { class: 'worker-busy' });
  const slots = el('ul', { class: 'slots' });
  const element = el('li', { class: 'worker' }, el('div', { class: 'worker-head' }, name, state), about, busy, slots, did);
  let seats = [];
  let [stated, told, counted] = ['', '', ''];
  const cells = new Map(); // key → {cell, since, time, shows}

  function cellOf(held) {
    const shows = `${held.id} ${held.name} ${held.attempt} ${held.run} ${route.run}`;
    const known = cells.get(held.key);
    if (known?.shows === shows) return known.cell;
    const time = el('span', { class: 'slot-time' });
    const attempt = held.attempt > 1 ? t('events.attempt', { attempt: held.attempt }) : null;
    const params = new URLSearchParams({ object: String(held.id) });
    const cell = el('li', null, el('a', { class: 'slot is-busy', href: href({ run: held.run, view: 'graph', params }), title: [held.id, held.name, t('workers.since', { at: clock(held.since) }), attempt].filter(Boolean).join(' · ') },
      el('span', { class: 'slot-line' }, el('b', { text: String(held.id) }), el('span', { class: 'slot-name', text: held.name })),
      el('span', { class: 'slot-line soft' }, time, attempt ? el('span', { text: attempt }) : null)));
    cells.set(held.key, { cell, since: held.since, time, shows });
    return cell;
  }

  function drawSlots(held, count) {
    const by = new Map(held.map((one) => [one.key, one]));
    seats = seat(seats, held.map((one) => one.key), count);
    for (const key of cells.keys()) if (!by.has(key)) cells.delete(key);
    const drawn = seats.slice(0, SEATS);
    const free = seats.filter((key) => key === null).length;
    const items = drawn.flatMap((key) => {
      if (key !== null) return [cellOf(by.get(key))];
      return count <= ALL_FREE ? [el('li', null, el('span', { class: 'slot is-free', text: t('workers.freeSlot') }))] : [];
    });
    if (count > ALL_FREE && free > 0) items.push(el('li', null, el('span', { class: 'slot is-free', text: t('workers.free', { n: free }) })));
    const hidden = seats.slice(SEATS).filter((key) => key !== null).length;
    if (hidden > 0) items.push(el('li', null, el('span', { class: 'slot is-free', text: t('table.more', { n: hidden }) })));
    const same = items.length === slots.children.length && items.every((item, at) => slots.children[at] === item || (slots.children[at].firstChild.classList.contains('is-free') && item.firstChild.textContent === slots.children[at].firstChild.textContent));
    if (same) return;
    const focused = slots.contains(document.activeElement) ? document.activeElement : null;
    slots.replaceChildren(...items);
    if (focused?.isConnected) focused.focus({ preventScroll: true });
  }

  return {
    element,
    /** @param {{name:string, state:string|null, stages:string[]|null, slots:number|null, silent:number|null, foreign:boolean, held:Held[], tally:any}} of */
    show(of) {
      if (name.title !== of.name) {
        name.textContent = of.name;
        name.title = of.name;
      }
      if (stated !== of.state) {
        stated = of.state;
        state.replaceChildren(...(of.state ? [stateBadge(of.state)] : []));
      }
      const silent = of.silent !== null && of.silent >= SILENT_S ? t('workers.silent', { duration: duration(Math.floor(of.silent)) }) : null;
      const lines = [of.stages === null ? null : of.stages.map((stage) => t(`stage.${stage}`)).join(', '), of.foreign ? t('workers.foreign') : null, silent].filter(Boolean).join(' · ');
      if (told !== lines) {
        told = lines;
        about.textContent = lines;
        about.hidden = lines === '';
      }
      busy.textContent = of.slots === null ? t('workers.held', { n: of.held.length }) : t('workers.busy', { busy: number(of.held.length), slots: number(of.slots) });
      drawSlots(of.held, of.slots ?? of.held.length);
      const mean = of.tally && of.tally.ran > 0 ? duration(of.tally.ranMs / of.tally.ran / 1000) : NOTHING;
      const facts = [['workers.loaded', number(of.tally?.loaded ?? 0)], ['workers.failed', number(of.tally?.failed ?? 0)], ['workers.mean', mean]];
      const sign = JSON.stringify(facts);
      if (sign !== counted) {
        counted = sign;
        did.replaceChildren(...facts.map(([key, value]) => el('div', null, el('dt', { text: t(key) }), el('dd', { text: value }))));
      }
    },
    tick(now) {
      for (const { since, time } of cells.values()) {
        const text = duration(Math.max(0, now - since) / 1000);
        if (time.textContent !== text) time.textContent = text;
      }
    },
  };
}
