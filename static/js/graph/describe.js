// What is said of an object: under the pointer, and to those who listen instead of looking.

import { signsOf, wordsOf } from '../badges.js';
import { el } from '../dom.js';
import { about, clock, duration, stateBadge, STAGES, STATES } from '../format.js';
import { t } from '../i18n.js';

const RUNNING = STATES.indexOf('running');
const ENDED = new Set(['loaded', 'failed'].map((state) => STATES.indexOf(state)));

/** @param {any} graph @param {number} i @returns {string} its id, and its name where it has one */
export function title(graph, i) {
  return graph.names[i] ? `${graph.ids[i]} ${graph.names[i]}` : String(graph.ids[i]);
}

/** @param {import('../store.js').Store} store @param {number} i @returns {string} one sentence */
export function spoken(store, i) {
  const { graph } = store;
  return [
    title(graph, i),
    t(`stage.${STAGES[graph.stage[i]]}`),
    t(`state.${STATES[store.states[i]]}`),
    ...besides(store, i),
    t('graph.parents', { n: graph.parents[i].length }),
    t('graph.children', { n: graph.children[i].length }),
  ].join(', ');
}

/** What else there is to say of it: its badges, when it is tried again, when it will be through. @returns {string[]} */
function besides(store, i) {
  const [again, end] = [store.nextTry(i), store.end(i)];
  return [
    ...wordsOf(store.badges(i)),
    again === null ? null : t('badge.again', { time: clock(again) }),
    end === null ? null : t('badge.ends', { time: about(end, store.now()) }),
  ].filter((text) => text !== null);
}

/** When the work of the attempt shown began: the last row of the story, up to the time shown, that says running. */
function began(store, i) {
  const until = store.time ?? Infinity;
  const rows = store.rows(i).filter((row) => row.t <= until && row.state === RUNNING);
  return rows.length > 0 ? rows[rows.length - 1].t : null;
}

/**
 * The lines of a tooltip.
 * @param {import('../store.js').Store} store @param {number} i @param {string | null} error
 * @returns {Element[]}
 */
export function lines(store, i, error) {
  const { graph } = store;
  const row = store.rowAt(i);
  const state = store.states[i];
  const facts = [];
  if (row && row.attempt > 1) facts.push(t('graph.attempt', { attempt: row.attempt }));
  if (row?.worker) facts.push(row.worker);
  const start = began(store, i);
  if (state === RUNNING && row) facts.push(duration(((store.time ?? store.now()) - row.t) / 1000));
  else if (ENDED.has(state) && row && start !== null) facts.push(duration((row.t - start) / 1000));
  if (row) facts.push(t('graph.since', { time: clock(row.t) }));
  return [
    el('strong', { class: 'graph-tip-name', text: graph.names[i] ?? String(graph.ids[i]) }),
    el('span', { class: 'graph-tip-id', text: `${graph.ids[i]} · ${t(`stage.${STAGES[graph.stage[i]]}`)}` }),
    el('span', { class: 'graph-tip-state' }, stateBadge(STATES[state]), facts.length > 0 ? el('span', { text: facts.join(' · ') }) : null),
    ...besidesLines(store, i),
    store.critical.has(i) ? el('span', { class: 'graph-tip-critical', text: t('graph.onCritical') }) : null,
    error ? el('span', { class: 'graph-tip-error', text: error }) : null,
  ].filter(Boolean);
}

function besidesLines(store, i) {
  const said = besides(store, i);
  return said.length > 0 ? [el('span', { class: 'graph-tip-besides', text: [signsOf(store.badges(i)), said.join(' · ')].filter(Boolean).join(' ') })] : [];
}
