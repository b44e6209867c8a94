// The table's part of the address: what it says, and how it is written. Pure.

import { KINDS } from '../badges.js';
import { STAGES, STATES } from '../format.js';

/** So many fields of the catalogue at once: as many as the server gives in one answer. */
export const MAX_FIELDS = 8;

/**
 * @typedef {object} Shown
 * @property {string} q
 * @property {{key:string, descending:boolean}|null} sort
 * @property {Set<number>} states
 * @property {Set<string>} kinds  of badges; they stand beside the states, and either is enough
 * @property {number|null} stage
 * @property {string[]|null} cols  null: the address says nothing of them
 */

/** @param {URLSearchParams} params @returns {Shown} */
export function parse(params) {
  const sort = params.get('sort') ?? '';
  const names = (params.get('state') ?? '').split(',');
  const stage = STAGES.indexOf(params.get('stage') ?? '');
  const cols = params.get('cols');
  return {
    q: params.get('q') ?? '',
    sort: sort === '' ? null : { key: sort.replace(/^-/, ''), descending: sort.startsWith('-') },
    states: new Set(names.map((name) => STATES.indexOf(name)).filter((code) => code >= 0)),
    kinds: new Set(KINDS.filter((kind) => names.includes(kind))),
    stage: stage < 0 ? null : stage,
    cols: cols === null ? null : parseNames(cols),
  };
}

/**
 * The address's parameters with some of the table's changed.
 * @param {URLSearchParams} params
 * @param {Partial<Shown>} change
 * @returns {URLSearchParams}
 */
export function change(params, change) {
  const next = new URLSearchParams(params);
  const set = (name, value) => (value === '' || value === null ? next.delete(name) : next.set(name, value));
  if ('q' in change) set('q', change.q);
  if ('sort' in change) set('sort', change.sort && (change.sort.descending ? '-' : '') + change.sort.key);
  if ('states' in change || 'kinds' in change) {
    const { states, kinds } = { ...parse(params), ...change };
    set('state', [...[...states].sort((a, b) => a - b).map((code) => STATES[code]), ...KINDS.filter((kind) => kinds.has(kind))].join(','));
  }
  if ('stage' in change) set('stage', change.stage === null ? '' : STAGES[change.stage]);
  if ('cols' in change) set('cols', writeNames(change.cols));
  return next;
}

/** Names of fields in one text; a comma in a name is escaped. @param {string[]} names @returns {string} */
export function writeNames(names) {
  return names.map((name) => name.replace(/[\\,]/g, '\\$&')).join(',');
}

/** @param {string} text @returns {string[]} */
export function parseNames(text) {
  const names = (text.match(/(?:\\.|[^,\\])+/gs) ?? []).map((name) => name.replace(/\\(.)/gs, '$1'));
  return [...new Set(names)].slice(0, MAX_FIELDS);
}

/**
 * The next order when a head is clicked: upwards, downwards, the plan's.
 * @param {{key:string, descending:boolean}|null} sort @param {string} key
 */
export function nextSort(sort, key) {
  if (sort?.key !== key) return { key, descending: false };
  return sort.descending ? null : { key, descending: true };
}
