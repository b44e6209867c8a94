// The table: every object of the run, one row each; the graph's equal for those who read or hear instead of look.
// It joins the store, the address, the bar and the grid. It does not know how rows are drawn or keys compared.

import { change, nextSort, parse, parseNames, writeNames } from './address.js';
import { makeBar } from './bar.js';
import { download } from './clip.js';
import { columnsOf, reading } from './columns.js';
import { csv } from './csv.js';
import { FAILED, RETRYING } from './facts.js';
import { Grid } from './grid.js';
import { countStates, inStates, matching, sorted } from './order.js';
import { fold, valueText } from './text.js';
import { get } from '../api.js';
import { BADGE_GLYPHS, KINDS, kindOf } from '../badges.js';
import { el } from '../dom.js';
import { Errors } from '../errors.js';
import { GLYPHS, STATES } from '../format.js';
import { t } from '../i18n.js';
import { go, route as here, select } from '../router.js';

const KEY = 'korch.table.cols';
const RESORT_MS = 1000; // a changing order is made anew no more often
const SCRUB_MS = 150; // while the time shown is dragged
const TYPING_MS = 120;

/**
 * @param {HTMLElement} root
 * @param {{store:any, route:any}} given
 */
export function mount(root, { store, route }) {
  root.classList.add('view-table');
  let shown = parse(route.params);
  let chosen = shown.cols ?? remembered();
  let fields = new Map();
  let fieldsOver = new AbortController();
  let [haystacks, base, columns] = [[], new Uint32Array(0), []];
  let arranged = 0; // when the order was made last
  let arranging = 0;
  let typing = 0;
  let opened = false;
  let selectedBefore = null;

  const runId = () => store.run?.run_id ?? (here.run === 'latest' ? null : here.run);
  const errors = new Errors({ run: runId, graph: () => store.graph, found: () => { read.tick(); grid.draw(); } });
  const read = reading({ store, value: (name, i) => fields.get(name)?.[i], errors });
  const bar = makeBar({
    search(q) {
      clearTimeout(typing);
      typing = setTimeout(() => go({ params: change(here.params, { q }) }, { replace: true }), TYPING_MS);
    },
    stage: (stage) => go({ params: change(here.params, { stage }) }, { replace: true }),
    state(code) {
      const states = new Set(shown.states);
      if (!states.delete(code)) states.add(code);
      go({ params: change(here.params, { states }) }, { replace: true });
    },
    kind(kind) {
      const kinds = new Set(shown.kinds);
      if (!kinds.delete(kind)) kinds.add(kind);
      go({ params: change(here.params, { kinds }) }, { replace: true });
    },
    fields(names) {
      remember(names);
      chosen = names;
      go({ params: change(here.params, { cols: names }) }, { replace: true });
      chooseFields();
    },
    text: () => asCsv(),
    save: () => download(`korch-${runId() ?? 'run'}.csv`, 'text/csv;charset=utf-8', `\ufeff${asCsv()}`),
  });
  const grid = new Grid({
    label: t('table.label'),
    open: (i) => { if (read.graph) select(read.graph.ids[i]); },
    sort: (key) => go({ params: change(here.params, { sort: nextSort(shown.sort, key) }) }, { replace: true }),
    describe(cell, key, i) {
      if (key === 'state') {
        const name = STATES[store.state(i)];
        cell.replaceChildren(el('span', { class: 'glyph', 'aria-hidden': 'true', text: GLYPHS[name] }), el('span', { class: 'word', text: t(`state.${name}`) }),
          ...store.badges(i).map((badge) => el('span', { class: 'beside', title: t(`badge.${badge}.hint`) },
            el('span', { 'aria-hidden': 'true', text: BADGE_GLYPHS[badge] }), el('span', { class: 'visually-hidden', text: `, ${t(`badge.${badge}`)}` }))));
      } else if (key === 'id' && store.critical.has(i)) {
        cell.prepend(el('span', { class: 'critical', title: t('panel.critical') }, el('span', { 'aria-hidden': 'true', text: '◆' }), el('span', { class: 'visually-hidden', text: `${t('panel.critical')} ` })));
      } else if (key === 'parents' && cell.title !== '') {
        cell.append(el('span', { class: 'visually-hidden', text: ` : ${cell.title}` }));
      }
    },
    decorate(row, i) {
      row.dataset.state = STATES[store.state(i)];
      const state = store.state(i);
      if (state === FAILED || state === RETRYING) errors.want(i, store.rowAt(i)?.attempt ?? 1);
    },
  });
  const empty = el('p', { class: 'empty' });
  root.append(bar.element, grid.element, empty);

  // ---- what is shown ----

  /** Everything anew: another graph, another choice of columns. */
  function rebuild() {
    const { graph } = store;
    read.graph = graph;
    read.tick();
    haystacks = new Array(graph?.n ?? 0);
    columns = graph ? columnsOf(read, chosen.filter((name) => graph.fields.includes(name))) : [];
    bar.fields(graph?.fields ?? [], chosen);
    grid.setColumns(columns, shown.sort);
    filter();
  }

  function filter() {
    const { graph } = store;
    base = graph ? matching(graph.n, { q: shown.q, stage: shown.stage, haystack, stageOf: graph.stage }) : new Uint32Array(0);
    arrange();
  }

  function haystack(i) {
    if (haystacks[i] === undefined) {
      const values = chosen.map((name) => valueText(fields.get(name)?.[i]));
      haystacks[i] = fold([store.graph.ids[i], store.graph.names[i] ?? '', ...values].join(' '));
    }
    return haystacks[i];
  }

  function arrange() {
    clearTimeout(arranging);
    arranging = 0;
    arranged = performance.now();
    read.tick();
    const { kinds } = shown;
    const places = inStates(base, store.states, shown.states, kinds.size === 0 ? null : (i) => store.badges(i).some((badge) => kinds.has(kindOf(badge))));
    const column = shown.sort && columns.find(({ key }) => key === shown.sort.key);
    grid.setItems(column ? sorted(places, column.sort, shown.sort.descending) : places);
    count();
    if (!opened && store.graph) {
      opened = true;
      selectedBefore = selectObject();
      if (selectedBefore !== null) grid.centre(selectedBefore);
    }
  }

  function count() {
    const total = store.graph?.n ?? 0;
    bar.count(countStates(base, store.states), countKinds(), shown, grid.items.length, total);
    const nothing = total === 0 || grid.items.length === 0;
    empty.hidden = !nothing;
    empty.textContent = total === 0 ? (store.graphError?.message ?? t(store.run || !store.told ? 'table.notPlanned' : 'table.noRun')) : t('table.nothing');
  }

  /** How many objects have a badge of each kind. */
  function countKinds() {
    const byKind = Object.fromEntries(KINDS.map((kind) => [kind, 0]));
    if (store.badged) for (const i of base) for (const badge of store.badges(i)) byKind[kindOf(badge)] += 1;
    return byKind;
  }

  /** The order follows the states where it depends on them, no more often than it can be read. */
  function arrangeSoon() {
    const column = shown.sort && columns.find(({ key }) => key === shown.sort.key);
    if (!column?.changes && shown.states.size + shown.kinds.size === 0) return;
    const pause = store.time === null ? RESORT_MS : SCRUB_MS;
    if (arranging === 0) arranging = setTimeout(arrange, Math.max(0, arranged + pause - performance.now()));
  }

  function statesChanged() {
    read.tick();
    grid.draw();
    count();
    arrangeSoon();
    const { byState } = store.counts();
    const { counts } = store.run ?? {};
    errors.bulk(byState[FAILED] + byState[RETRYING], `${runId()} ${counts?.failed} ${byState[FAILED]} ${byState[RETRYING]}`);
  }

  // ---- the catalogue's fields ----

  async function chooseFields() {
    fieldsOver.abort();
    fieldsOver = new AbortController();
    const { signal } = fieldsOver;
    const { graph } = store;
    const wanted = graph ? chosen.filter((name) => graph.fields.includes(name)) : [];
    rebuild();
    if (wanted.every((name) => fields.has(name))) return;
    try {
      const query = wanted.map(encodeURIComponent).join(',');
      const answer = await get(`/runs/${encodeURIComponent(graph.runId)}/fields?names=${query}`, { signal });
      if (store.graph?.plan !== answer.plan) return;
      fields = new Map(Object.entries(answer.fields));
      rebuild();
    } catch (error) {
      if (error.name !== 'AbortError') {
        empty.hidden = false;
        empty.textContent = error.message;
      }
    }
  }

  function selectObject() {
    const object = here.params.get('object');
    const i = object === null ? undefined : store.graph?.indexOf.get(Number(object));
    grid.select(i ?? null);
    return i ?? null;
  }

  function asCsv() {
    const rows = function* all() { for (const i of grid.items) yield columns.map((column) => column.csv(i)); };
    return csv(columns.map((column) => (column.key.startsWith('field:') ? column.head : column.key)), rows());
  }

  // ---- the life of the view ----

  function newGraph() {
    fields = new Map();
    errors.clear();
    opened = false;
    chooseFields();
    statesChanged();
  }

  const offs = [
    store.on('graph', newGraph),
    store.on('states', statesChanged),
    store.on('run', () => { grid.draw(); count(); }),
    store.on('time', () => { read.tick(); grid.draw(); arrangeSoon(); }),
  ];
  // What goes on has durations that grow.
  const ticking = setInterval(() => {
    if (store.time !== null || !store.span().live || document.hidden) return;
    read.tick();
    grid.draw();
  }, 1000);
  bar.show(shown);
  newGraph();

  return {
    update(next) {
      const before = shown;
      shown = parse(next.params);
      bar.show(shown);
      const selected = selectObject();
      if (selected !== null && selected !== selectedBefore) grid.reveal(selected);
      selectedBefore = selected;
      if (shown.cols !== null && writeNames(shown.cols) !== writeNames(chosen)) {
        chosen = shown.cols;
        chooseFields();
      } else if (String(shown.sort?.key) + shown.sort?.descending !== String(before.sort?.key) + before.sort?.descending) {
        grid.setColumns(columns, shown.sort);
        arrange();
        grid.element.scrollTop = 0;
      } else if (shown.q !== before.q || shown.stage !== before.stage) {
        filter();
        grid.element.scrollTop = 0;
      } else if (`${[...shown.states, ...shown.kinds]}` !== `${[...before.states, ...before.kinds]}`) {
        arrange();
      }
    },
    destroy() {
      for (const off of offs) off();
      clearInterval(ticking);
      clearTimeout(arranging);
      clearTimeout(typing);
      fieldsOver.abort();
      errors.destroy();
      bar.destroy();
      grid.destroy();
      root.classList.remove('view-table');
    },
  };
}

function remembered() {
  try {
    return parseNames(localStorage.getItem(KEY) ?? '');
  } catch {
    return []; // a browser that keeps nothing
  }
}

function remember(names) {
  try {
    localStorage.setItem(KEY, writeNames(names));
  } catch {
    // A browser that keeps nothing: the address has the choice.
  }
}
