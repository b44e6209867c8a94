// How states, numbers and times are written, in the page's language. Knows no run.

import { el } from './dom.js';
import { language, t } from './i18n.js';

/** The states of an object; their places are the codes of the wire. */
export const STATES = ['waiting', 'ready', 'running', 'retrying', 'loaded', 'failed', 'skipped', 'cancelled'];

/** The stages; their places are the codes of the wire. */
export const STAGES = ['ingest', 'standardize', 'application'];

/** The states of a run that is not over. */
const GOES_ON = ['queued', 'running', 'paused'];

/** @param {{state: string} | null | undefined} run @returns {boolean} whether it is not over */
export function goesOn(run) {
  return GOES_ON.includes(run?.state ?? '');
}

/** A sign for every state of an object, a run, a worker and the connection: none of them is told by colour alone. */
export const GLYPHS = {
  waiting: '○', ready: '◔', running: '◑', retrying: '↻', loaded: '✓', failed: '✕', skipped: '⊘', cancelled: '■',
  queued: '○', paused: '‖', succeeded: '✓', up: '●', draining: '◐', silent: '?', gone: '■',
};

/** What stands where there is no value. */
export const NOTHING = '–';

/**
 * A state's sign and its word: an object's, a worker's, or a run's (in French they have not the same gender).
 * @param {string} state
 * @param {'run' | null} [of]
 * @returns {HTMLElement}
 */
export function stateBadge(state, of = null) {
  return el('span', { class: 'badge', dataset: { state } },
    el('span', { class: 'glyph', 'aria-hidden': 'true', text: GLYPHS[state] ?? '○' }),
    el('span', { class: 'word', text: t(of === 'run' ? `run-state.${state}` : `state.${state}`) }));
}

const made = new Map();

/** Making an Intl formatter costs far more than using it. */
function formatter(kind, options) {
  const key = `${language()} ${kind.name} ${JSON.stringify(options)}`;
  if (!made.has(key)) made.set(key, new kind(language() === 'en' ? 'en-GB' : 'fr-FR', options));
  return made.get(key);
}

/**
 * @param {number | null | undefined} n
 * @param {number} [digits] of its fraction
 * @returns {string}
 */
export function number(n, digits = 0) {
  if (!Number.isFinite(n)) return NOTHING;
  return formatter(Intl.NumberFormat, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(n);
}

/**
 * How long: `0.5 s`, `42 s`, `3 min 05 s`, `2 h 07 min`, `4 d 3 h`.
 * @param {number | null | undefined} seconds
 * @returns {string}
 */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return NOTHING;
  const s = Math.max(0, seconds);
  if (s < 0.0995) return `${number(s * 1000)}\u00a0ms`;
  if (s < 9.95) return `${number(s, 1)}\u00a0s`;
  const whole = Math.round(s);
  if (whole < 60) return `${number(whole)}\u00a0s`;
  const two = (value) => String(value).padStart(2, '0');
  if (whole < 3600) return `${Math.floor(whole / 60)}\u00a0min\u00a0${two(whole % 60)}\u00a0s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)}\u00a0h\u00a0${two(minutes % 60)}\u00a0min`;
  return `${number(Math.floor(minutes / 1440))}\u00a0${t('unit.day')}\u00a0${Math.floor(minutes / 60) % 24}\u00a0h`;
}

/** @param {number | string | Date | null | undefined} at @returns {Date | null} */
function instant(at) {
  if (at === null || at === undefined) return null;
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? null : date;
}

/**
 * The time of day, `14:03:22`.
 * @param {number | string | null | undefined} at ms since 1970, or RFC 3339
 * @returns {string}
 */
export function clock(at) {
  const date = instant(at);
  return date ? formatter(Intl.DateTimeFormat, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' }).format(date) : NOTHING;
}

/**
 * The day and the time of day.
 * @param {number | string | null | undefined} at ms since 1970, or RFC 3339
 * @returns {string}
 */
export function dateTime(at) {
  const date = instant(at);
  const options = { year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' };
  return date ? formatter(Intl.DateTimeFormat, options).format(date) : NOTHING;
}

/**
 * An instant to come, as an estimate is known: to the minute, or to the second where it is near; with its day where that
 * is another one.
 * @param {number | string | null | undefined} at ms since 1970, or RFC 3339
 * @param {number} now ms since 1970
 * @returns {string}
 */
export function about(at, now) {
  const date = instant(at);
  if (!date) return NOTHING;
  if (date.toDateString() !== new Date(now).toDateString()) {
    return formatter(Intl.DateTimeFormat, { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }).format(date);
  }
  return date.getTime() - now < 120_000 ? clock(date) : clock(date).slice(0, 5);
}

/**
 * How long ago an instant was: `3 min ago`.
 * @param {number | string | null | undefined} at ms since 1970, or RFC 3339
 * @param {number} [now] ms since 1970: the server's, where the difference matters
 * @returns {string}
 */
export function ago(at, now = Date.now()) {
  const date = instant(at);
  if (!date) return NOTHING;
  const seconds = Math.max(0, (now - date.getTime()) / 1000);
  const [unit, size] = [['day', 86400], ['hour', 3600], ['minute', 60]].find(([, size]) => seconds >= size) ?? ['second', 1];
  return formatter(Intl.RelativeTimeFormat, { numeric: 'always', style: 'short' }).format(-Math.floor(seconds / size), unit);
}
