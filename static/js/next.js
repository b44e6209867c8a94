// What a schedule starts next, in a line; nothing where there is no schedule. It asks again when an instant has passed, and
// now and then: the catalogue may be another one by then.

import { get } from './api.js';
import { el } from './dom.js';
import { about, dateTime } from './format.js';
import { t } from './i18n.js';

const SHOWN = 5;
const AGAIN_MS = 10 * 60_000;
const LEAST_MS = 5_000;
const NOT_FOUND = 404;

/**
 * @param {import('./store.js').Store} store
 * @returns {{element: HTMLElement, destroy: () => void}}
 */
export function nextLine(store) {
  const element = el('p', { class: 'next soft', hidden: true });
  let timer = null;
  let asking = false;
  let none = false; // this server starts nothing by the clock
  let known = null; // the last answer
  let over = false;

  /** An answer that there is none would be an error in the browser's console: who has one says so in its greeting. */
  function wanted() {
    return store.connection === 'open' && store.server?.schedule === true;
  }

  async function ask() {
    clearTimeout(timer);
    timer = null;
    if (asking || none || !wanted()) return;
    asking = true;
    try {
      known = await get(`/schedule?limit=${SHOWN}`);
    } catch (error) {
      known = null; // a catalogue that is bad is told where a run is started
      none = error.status === NOT_FOUND;
    }
    if (over) return;
    asking = false;
    draw();
    if (none) return;
    const due = Date.parse(known?.next?.[0]?.at ?? '') - store.now() + LEAST_MS;
    timer = setTimeout(ask, Math.max(LEAST_MS, Math.min(AGAIN_MS, Number.isNaN(due) ? AGAIN_MS : due)));
  }

  function draw() {
    const lines = linesOf(known, store.now());
    element.hidden = lines.length === 0;
    element.textContent = lines.length > 0 ? t('next.line', { what: lines[0] }) : '';
    element.title = [...lines, known?.timezone ? t('next.zone', { zone: known.timezone }) : null, known?.stale ? t('next.stale') : null].filter(Boolean).join('\n');
  }

  const begin = () => { if (timer === null) ask(); };
  const anew = () => {
    none = false; // it may be another process
    begin();
  };
  const offs = [store.on('connection', anew), store.on('runs', begin)];
  begin();
  return {
    element,
    destroy() {
      clearTimeout(timer);
      over = true;
      for (const off of offs) off();
    },
  };
}

/**
 * The next instants, each with how many objects are due. Pure.
 * @param {{next?: {at: string, count: number, everything: boolean}[]} | null} schedule the answer of `GET /schedule`
 * @param {number} now ms since 1970
 * @returns {string[]}
 */
export function linesOf(schedule, now) {
  return (schedule?.next ?? []).map(({ at, count, everything }) => {
    const time = Date.parse(at) - now < 86_400_000 ? about(at, now) : dateTime(at);
    return everything ? t('next.all', { time }) : t('next.some', { time, n: count });
  });
}
