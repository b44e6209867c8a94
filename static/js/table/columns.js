// The columns of the table: what each says of an object, by what it is sorted, how wide it is. Reads the store; knows
// neither rows on the screen nor the address.

import { CRITICALITIES } from './words.js';
import { FAILED, LOADED, READY, RETRYING, SKIPPED, WAITING, factsOf } from './facts.js';
import { sortKey, valueText } from './text.js';
import { wordsOf } from '../badges.js';
import { GLYPHS, STAGES, STATES, about, clock, dateTime, duration, number } from '../format.js';
import { t } from '../i18n.js';

/** Sorted by state, what needs a look comes first. */
const URGENCY = [4, 3, 2, 1, 7, 0, 5, 6];
const LISTED = 3;
const TITLE_IDS = 40;
const SEARCHED = 200; // objects above a skipped one

/**
 * @typedef {object} Column
 * @property {string} key
 * @property {string} head
 * @property {string} width  a track of the grid
 * @property {boolean} changes  whether its values change while the run goes on
 * @property {(i:number)=>number|string|null} sort
 * @property {(i:number)=>string} text
 * @property {(i:number)=>string} [title]  the whole, where the text is short
 * @property {(i:number)=>string|number|null} csv
 * @property {boolean} [number]  set right
 */

/**
 * What the columns read: the store, the values of the catalogue's fields, the errors.
 * @param {{store:any, value:(name:string, i:number)=>unknown, errors:import('../errors.js').Errors}} of
 */
export function reading({ store, value, errors }) {
  let cached = { i: -1, facts: null };
  const clockNow = () => store.time ?? (store.span().live ? store.now() : store.span().to);
  let now = clockNow();
  return {
    store,
    /** The graph that the columns are of: the store may have the next one already. */
    graph: store.graph,
    value,
    errors,
    /** Another moment: what was read before is void. */
    tick() {
      now = clockNow();
      cached = { i: -1, facts: null };
    },
    facts(i) {
      if (cached.i !== i) cached = { i, facts: factsOf(store.storyOf(i), store.time ?? Infinity, now) };
      return cached.facts;
    },
  };
}

/**
 * @param {ReturnType<typeof reading>} read
 * @param {string[]} chosen  fields of the catalogue
 * @returns {Column[]}
 */
export function columnsOf(read, chosen) {
  const { store, graph } = read;
  const time = (key, of) => ({
    key,
    head: t(`table.${key}`),
    width: '84px',
    changes: true,
    number: true,
    sort: of,
    text: (i) => (of(i) === null ? '' : clock(of(i))),
    title: (i) => (of(i) === null ? '' : dateTime(of(i))),
    csv: (i) => (of(i) === null ? null : new Date(of(i)).toISOString()),
  });
  const span = (key, of) => ({
    key,
    head: t(`table.${key}`),
    width: '84px',
    changes: true,
    number: true,
    sort: of,
    text: (i) => (of(i) === null ? '' : duration(of(i) / 1000)),
    csv: (i) => (of(i) === null ? null : of(i) / 1000),
  });
  /** When it came to rest; of a final object that has not, when it will by the estimate. */
  const ended = () => {
    const column = time('ended', (i) => read.facts(i).endedAt);
    const end = (i) => (read.facts(i).endedAt === null ? store.end(i) : null);
    return {
      ...column,
      sort: (i) => end(i) ?? column.sort(i),
      text: (i) => (end(i) === null ? column.text(i) : t('table.about', { time: about(end(i), store.now()) })),
      title: (i) => (end(i) === null ? column.title(i) : t('badge.ends', { time: about(end(i), store.now()) })),
    };
  };
  const parentIds = (i) => Array.from(graph.parents[i].subarray(0, TITLE_IDS), (parent) => graph.ids[parent]);
  const columns = [
    { key: 'id', head: t('table.id'), width: '84px', changes: false, number: true, sort: (i) => graph.ids[i], text: (i) => String(graph.ids[i]), csv: (i) => graph.ids[i] },
    { key: 'state', head: t('table.state'), width: '128px', changes: true, sort: (i) => URGENCY[store.state(i)], text: (i) => t(`state.${STATES[store.state(i)]}`), title: (i) => [t(`state.${STATES[store.state(i)]}`), ...wordsOf(store.badges(i))].join(', '), csv: (i) => STATES[store.state(i)] },
    {
      key: 'name',
      head: t('table.name'),
      width: 'minmax(200px, 2fr)',
      changes: false,
      sort: (i) => sortKey(graph.names[i] ?? ''),
      text: (i) => graph.names[i] ?? '',
      csv: (i) => graph.names[i],
    },
    { key: 'detail', head: t('table.detail'), width: 'minmax(240px, 2.4fr)', changes: true, sort: (i) => sortKey(detail(read, i)), text: (i) => detail(read, i), csv: (i) => detail(read, i) },
    { key: 'stage', head: t('table.stage'), width: '124px', changes: false, sort: (i) => graph.stage[i], text: (i) => t(`stage.${STAGES[graph.stage[i]]}`), csv: (i) => STAGES[graph.stage[i]] },
    {
      key: 'criticality',
      head: t('table.criticality'),
      width: '84px',
      changes: false,
      sort: (i) => -graph.criticality[i],
      text: (i) => t(`criticality.${CRITICALITIES[graph.criticality[i]]}`),
      csv: (i) => CRITICALITIES[graph.criticality[i]],
    },
    {
      key: 'parents',
      head: t('table.parents'),
      width: '76px',
      changes: false,
      number: true,
      sort: (i) => graph.parents[i].length,
      text: (i) => (graph.parents[i].length === 0 ? '' : number(graph.parents[i].length)),
      title: (i) => parentIds(i).join(', ') + (graph.parents[i].length > TITLE_IDS ? ', …' : ''),
      csv: (i) => Array.from(graph.parents[i], (parent) => graph.ids[parent]).join(' '),
    },
    { key: 'attempts', head: t('table.attempts'), width: '88px', changes: true, number: true, sort: (i) => read.facts(i).attempts || null, text: (i) => (read.facts(i).attempts ? number(read.facts(i).attempts) : ''), csv: (i) => read.facts(i).attempts },
    {
      key: 'worker',
      head: t('table.worker'),
      width: '136px',
      changes: true,
      sort: (i) => sortKey(store.workerName(read.facts(i).worker) ?? ''),
      text: (i) => store.workerName(read.facts(i).worker) ?? '',
      csv: (i) => store.workerName(read.facts(i).worker),
    },
    time('ready', (i) => read.facts(i).readyAt),
    time('started', (i) => read.facts(i).startedAt),
    ended(),
    span('waited', (i) => read.facts(i).waitedMs),
    span('ran', (i) => read.facts(i).ranMs),
    ...chosen.map((name) => ({
      key: `field:${name}`,
      head: name,
      width: 'minmax(120px, 0.6fr)',
      changes: false,
      sort: (i) => fieldKey(read.value(name, i)),
      text: (i) => valueText(read.value(name, i)),
      csv: (i) => valueText(read.value(name, i)),
    })),
  ];
  for (const column of columns) if (!column.changes) column.sort = once(column.sort);
  return columns;
}

/** A key that never changes is made once. */
function once(of) {
  const known = [];
  return (i) => {
    if (known[i] === undefined) known[i] = of(i);
    return known[i];
  };
}

// Numbers and texts of the same field are ordered by one kind of key: texts in which numbers stand by their value.
function fieldKey(value) {
  const text = valueText(value);
  return text === '' ? null : sortKey(text);
}

/**
 * What there is to say of an object beyond its state: its error, or what it waits for.
 * @param {ReturnType<typeof reading>} read
 * @param {number} i
 * @returns {string}
 */
export function detail({ store, graph, errors }, i) {
  const state = store.state(i);
  if (state === FAILED || state === RETRYING) {
    const again = store.nextTry(i);
    return [again === null ? '' : t('badge.again', { time: clock(again) }), errors.at(i, store.rowAt(i)?.attempt ?? 1) ?? ''].filter(Boolean).join(' · ');
  }
  if (state === READY) return t('table.waitsForWorker');
  if (state === SKIPPED) {
    const named = (cause) => [GLYPHS.failed, graph.ids[cause], graph.names[cause]].filter(Boolean).join('\u00a0');
    return listed('table.becauseOf', causes(store, graph, i), named);
  }
  if (state !== WAITING) return wordsOf(store.badges(i)).join(', ');
  const stated = (parent) => `${graph.ids[parent]}\u00a0${GLYPHS[STATES[store.state(parent)]]}\u00a0${t(`state.${STATES[store.state(parent)]}`)}`;
  const unmet = Array.from(graph.parents[i]).filter((parent) => store.state(parent) !== LOADED);
  if (unmet.length === 0 && store.time === null && store.run?.state === 'paused') return t('table.paused');
  return listed('table.waitsFor', unmet, stated);
}

/** A few of them by name, of the others how many. */
function listed(key, some, named) {
  if (some.length === 0) return '';
  const more = some.length - LISTED;
  return t(key, { objects: [...some.slice(0, LISTED).map(named), ...(more > 0 ? [t('table.more', { n: more })] : [])].join(', ') });
}

/** What failed above a skipped object: the ways there lead through skipped ones. */
function causes(store, graph, i) {
  const met = new Set([i]);
  const found = [];
  for (const one of met) {
    for (const parent of graph.parents[one]) {
      const state = store.state(parent);
      if (met.has(parent) || (state !== FAILED && state !== SKIPPED) || met.size > SEARCHED) continue;
      met.add(parent);
      if (state === FAILED) found.push(parent);
    }
  }
  return found;
}
