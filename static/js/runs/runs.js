// The history: every run that is known, with its outcome, its duration beside the others', what came of its objects.
// Reads the store; asks the server for older ones on demand.

import { chart } from './chart.js';
import { SORTABLE, beganAt, mergeRuns, runsAt, sortRuns } from './line.js';
import { get } from '../api.js';
import { el } from '../dom.js';
import { NOTHING, ago, clock, dateTime, duration, number, stateBadge } from '../format.js';
import { t } from '../i18n.js';
import { go, href, route as here } from '../router.js';

const MOST = 1000;
const FIRST = 100; // as many as the server sends by itself
const COLUMNS = [...SORTABLE, 'reason'];
const RIGHT = new Set(['objects', 'loaded', 'failed', 'skipped']);

/**
 * @param {HTMLElement} root
 * @param {{store:any, route:any}} given
 */
export function mount(root, { store, route }) {
  root.classList.add('view-runs');
  let older = [];
  let sort = parse(route.params);
  let over = new AbortController();
  const rows = new Map(); // run id → {row, shows}

  const moment = el('p', { class: 'moment' });
  const figure = el('div', { class: 'runs-figure' });
  const head = el('tr');
  const body = el('tbody');
  const table = el('table', { class: 'runs-table' }, el('caption', { class: 'visually-hidden', text: t('view.runs') }), el('thead', null, head), body);
  const frame = el('div', { class: 'runs-frame', tabindex: '0', role: 'region', 'aria-label': t('view.runs') }, table);
  const more = el('button', { type: 'button', on: { click: () => fetchOlder() } });
  const note = el('p', { class: 'soft', role: 'status' });
  const empty = el('p', { class: 'empty' });
  root.append(el('div', { class: 'scroll' }, el('div', { class: 'runs-page' }, moment, figure, frame, empty, el('div', { class: 'runs-more' }, more, note))));

  const open = (run) => go({ run: run.run_id, view: 'graph', params: {} });

  function draw() {
    const all = runsAt(mergeRuns(older, store.runs), store.time);
    moment.hidden = store.time === null;
    moment.textContent = store.time === null ? '' : t('runs.then', { at: dateTime(store.time) });
    empty.hidden = all.length > 0;
    empty.textContent = store.connection === 'connecting' && store.runs.length === 0 ? t('panel.loading') : t('runs.none');
    frame.hidden = all.length === 0;
    more.hidden = store.runs.length < FIRST || older.length > 0;
    more.textContent = t('runs.older');
    drawHead();
    drawChart(all);
    const longest = Math.max(0.001, ...all.map((run) => run.duration_seconds ?? 0));
    const names = new Set(all.map((run) => run.run_id));
    for (const [id, { row }] of rows) {
      if (names.has(id)) continue;
      row.remove();
      rows.delete(id);
    }
    let at = body.firstElementChild;
    for (const run of sortRuns(all, sort.key, sort.descending)) {
      const row = rowOf(run, longest);
      if (row === at) at = at.nextElementSibling;
      else body.insertBefore(row, at);
    }
  }

  let charted = '';
  function drawChart(all) {
    const sign = all.slice(0, 200).map((run) => `${run.run_id}${run.state}${run.finished_at}`).join();
    if (sign === charted) return;
    charted = sign;
    figure.replaceChildren(...[chart(all, open)].filter(Boolean));
  }

  let headed = '';
  function drawHead() {
    const sign = `${sort.key} ${sort.descending}`;
    if (sign === headed) return;
    headed = sign;
    const focused = document.activeElement?.dataset.key;
    const inside = head.contains(document.activeElement);
    head.replaceChildren(...COLUMNS.map((key) => {
      const sorted = sort.key === key ? (sort.descending ? 'descending' : 'ascending') : null;
      return el('th', { scope: 'col', class: RIGHT.has(key) ? 'number' : null, 'aria-sort': SORTABLE.includes(key) ? sorted ?? 'none' : null },
        SORTABLE.includes(key)
          ? el('button', { type: 'button', class: 'grid-sort', dataset: { key }, title: t('table.sortBy', { column: t(`runs.${key}`) }), on: { click: () => sortBy(key) } },
            el('span', { text: t(`runs.${key}`) }), el('span', { class: 'grid-sort-mark', 'aria-hidden': 'true', text: sorted ? (sorted === 'ascending' ? '▲' : '▼') : '' }))
          : t(`runs.${key}`));
    }));
    if (inside) [...head.querySelectorAll('button')].find((button) => button.dataset.key === focused)?.focus();
  }

  function rowOf(run, longest) {
    const passed = ago(beganAt(run), store.time ?? store.now());
    const shows = JSON.stringify([run, passed, run.duration_seconds === null ? 0 : Math.round((run.duration_seconds / longest) * 200)]);
    const known = rows.get(run.run_id) ?? { row: el('tr'), shows: '' };
    rows.set(run.run_id, known);
    if (known.shows !== shows) {
      known.shows = shows;
      const key = known.row.contains(document.activeElement) ? document.activeElement.dataset.key : null;
      known.row.replaceChildren(...cells(run, longest, passed));
      if (key) known.row.querySelector(`[data-key="${key}"]`)?.focus();
    }
    return known.row;
  }

  function cells(run, longest, passed) {
    const began = beganAt(run);
    const counted = (n, state) => el('td', { class: 'number' }, n === null ? NOTHING : el('span', { class: n > 0 && state ? 'stated' : null, dataset: state ? { state } : {}, text: number(n) }));
    return [
      el('td', null, stateBadge(run.state, 'run')),
      el('td', null,
        el('a', { class: 'run-open', href: href({ run: run.run_id, view: 'graph', params: {} }), dataset: { key: 'open' }, title: run.run_id }, el('time', { datetime: began, text: dateTime(began) })),
        el('span', { class: 'run-ago soft', text: passed })),
      el('td', { class: 'run-by', title: [run.requested_by, run.selection].filter(Boolean).join(' · ') }, run.requested_by ?? NOTHING,
        run.scheduled_for ? el('span', { class: 'run-due soft', text: t('when.due', { time: dateTime(run.scheduled_for) }) }) : null,
        run.selection ? el('span', { class: 'run-selection soft', text: run.selection }) : null),
      el('td', { class: 'run-duration' },
        el('span', { class: 'run-seconds', text: duration(run.duration_seconds) }),
        el('span', { class: 'run-length', 'aria-hidden': 'true', dataset: { state: run.state } }, el('span', { style: { width: `${Math.max(1, 100 * ((run.duration_seconds ?? 0) / longest))}%` } }))),
      counted(run.counts.objects, null),
      counted(run.counts.loaded, 'loaded'),
      counted(run.counts.failed, 'failed'),
      counted(run.counts.skipped, 'skipped'),
      el('td', { class: 'run-reason' },
        run.reason ? el('span', { class: 'run-why', title: run.reason, text: run.reason }) : null,
        run.retry_of ? el('a', { href: href({ run: run.retry_of, view: 'graph', params: {} }), dataset: { key: 'retry' }, title: run.retry_of, text: retryText(run.retry_of) }) : null),
    ];
  }

  function retryText(id) {
    const first = mergeRuns(older, store.runs).find((run) => run.run_id === id);
    return t('runs.retryOf', { run: first ? clock(beganAt(first)) : `…${id.slice(-8)}` });
  }

  function sortBy(key) {
    const next = sort.key === key ? { key, descending: !sort.descending } : { key, descending: key !== 'by' && key !== 'state' };
    const params = new URLSearchParams(here.params);
    params.set('sort', (next.descending ? '-' : '') + next.key);
    go({ params }, { replace: true });
  }

  async function fetchOlder() {
    more.disabled = true;
    over.abort();
    over = new AbortController();
    const { signal } = over;
    try {
      older = (await get(`/runs?limit=${MOST}`, { signal })).runs;
      note.textContent = t('runs.known', { n: older.length });
      draw();
    } catch (error) {
      if (!signal.aborted) note.textContent = error.message;
    }
    more.disabled = false;
  }

  const offs = [store.on('runs', draw), store.on('time', draw), store.on('connection', draw)];
  const ticking = setInterval(() => {
    if (!document.hidden) draw(); // how long ago it was
  }, 30_000);
  draw();

  return {
    update(next) {
      sort = parse(next.params);
      draw();
    },
    destroy() {
      for (const off of offs) off();
      clearInterval(ticking);
      over.abort();
    },
  };
}

/** @param {URLSearchParams} params */
function parse(params) {
  const sort = params.get('sort') ?? '-when';
  const key = sort.replace(/^-/, '');
  return SORTABLE.includes(key) ? { key, descending: sort.startsWith('-') } : { key: 'when', descending: true };
}
