// One event as a line of the list: what is looked for, shown and filtered. Pure; reads whatever a stranger wrote.

import { fold } from '../table/text.js';

/** The types that korch writes, in the order of a run's life. */
export const TYPES = ['RunRequested', 'RunPlanned', 'ObjectReady', 'ObjectAssigned', 'ObjectLoaded', 'ObjectFailed', 'ObjectSkipped', 'ObjectMarked', 'RunPauseRequested', 'RunResumeRequested', 'RunCancelRequested', 'RunFinished', 'OrchestratorElected'];

/** A sign for each type, and the state whose colour it has. */
export const SIGNS = {
  RunRequested: ['▷', 'queued'], RunPlanned: ['▦', 'queued'], ObjectReady: ['◔', 'ready'], ObjectAssigned: ['◑', 'running'], ObjectLoaded: ['✓', 'loaded'],
  ObjectFailed: ['✕', 'failed'], ObjectSkipped: ['⊘', 'skipped'], ObjectMarked: ['✎', 'retrying'], RunPauseRequested: ['‖', 'retrying'], RunResumeRequested: ['▷', 'running'],
  RunCancelRequested: ['■', 'cancelled'], RunFinished: ['⚑', 'queued'], OrchestratorElected: ['♛', 'queued'],
};

const KEPT_CHARS = 32 * 1024; // of one event's text: a plan's parts have half a million
const SHOWN_CHARS = 300;
const FOLDED_CHARS = 4096;
const BECAUSE = 10;
const SELECTORS = 20;

/**
 * @typedef {object} Line
 * @property {string} key  the same for the same event
 * @property {number} at  ms since 1970; NaN where it has no time
 * @property {string} type
 * @property {string|null} object
 * @property {string|null} run
 * @property {string} worker
 * @property {string} attempt
 * @property {number|null} seconds  how long the work took
 * @property {string} outcome  a finished run's
 * @property {string} cause  of another attempt
 * @property {string} note  its error, a reason, what is asked for and by whom
 * @property {string} because  the ids of the objects for which it is skipped
 * @property {string} text  its JSON on one line, the beginning of it where it is very long
 * @property {number} chars  how long its JSON is
 */

/** @param {any} event @returns {Line} */
export function lineOf(event) {
  const whole = JSON.stringify(event);
  const meta = event !== null && typeof event === 'object' && event.meta !== null && typeof event.meta === 'object' ? event.meta : {};
  const id = event?.id_objet;
  return {
    key: keyOf(whole),
    at: Date.parse(withZone(event?.event_datetime)),
    type: brief(event?.event_type),
    object: id === null || id === undefined ? null : brief(id),
    run: typeof event?.run_id === 'string' ? event.run_id : null,
    worker: brief(event?.worker ?? meta.worker),
    attempt: brief(event?.attempt),
    seconds: Number.isFinite(meta.duration_seconds) ? meta.duration_seconds : null,
    outcome: brief(event?.outcome),
    cause: brief(event?.cause),
    note: noteOf(event, meta),
    because: Array.isArray(meta.because) ? brief(meta.because.slice(0, BECAUSE).join(', ')) : '',
    text: whole.length > KEPT_CHARS ? whole.slice(0, KEPT_CHARS) : whole,
    chars: whole.length,
  };
}

// Old producers write no zone: it is UTC, as everywhere on the wire.
function withZone(time) {
  return typeof time === 'string' && /T[\d:.]+$/.test(time) ? `${time}Z` : time ?? '';
}

// Enough to tell events apart without keeping a plan twice.
function keyOf(whole) {
  return whole.length <= 512 ? whole : `${whole.length} ${whole.slice(0, 256)} ${whole.slice(-256)}`;
}

function noteOf(event, meta) {
  const part = event?.event_type === 'RunPlanned' && Number.isInteger(event.parts) && event.parts > 1 ? `${Number(event.part) + 1} / ${event.parts}` : null;
  const epoch = event?.event_type === 'OrchestratorElected' && event.epoch !== undefined ? `epoch ${event.epoch}` : null;
  const marked = event?.event_type === 'ObjectMarked' ? [meta.state, meta.because, meta.requested_by] : [];
  return [...marked, meta.error, event?.reason, part, epoch, selectionOf(event), event?.requested_by].filter((said) => said !== null && said !== undefined && said !== '').map(brief).join(' · ');
}

/** What a request selects, as the command line takes it. */
function selectionOf(event) {
  if (event?.event_type !== 'RunRequested') return null;
  const list = (value) => (Array.isArray(value) ? value.slice(0, SELECTORS).map(brief) : []);
  return [...list(event.targets), ...list(event.exclude).map((selector) => `--exclude ${selector}`)].join(' ');
}

function brief(value) {
  if (value === null || value === undefined) return '';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text;
}

/**
 * The event to be read.
 * @param {Line} line @returns {{text:string, cut:boolean}}
 */
export function pretty(line) {
  const cut = line.chars > line.text.length;
  return { text: cut ? line.text : JSON.stringify(JSON.parse(line.text), null, 2), cut };
}

/**
 * Whether a line is one of those wanted.
 * @param {Line} line
 * @param {{types:Set<string>, object:string|null, q:string}} wanted  q is folded
 */
export function wants(line, { types, object, q }) {
  if (types.size > 0 && !types.has(line.type)) return false;
  if (object !== null && line.object !== object) return false;
  if (q === '') return true;
  line.folded ??= fold(line.text.slice(0, FOLDED_CHARS));
  return line.folded.includes(q);
}
