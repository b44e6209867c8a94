// The attempts of an object: pure choices of what was known at a time, and the list of them.

import { copyButton } from '../table/clip.js';
import { el } from '../dom.js';
import { clock, dateTime, duration } from '../format.js';
import { t } from '../i18n.js';

const SHOWN = 20;

/**
 * The attempts as they were at an instant: those not yet offered are left out, what came later of the others too.
 * @param {any[]} attempts @param {number|null} time  null: now
 * @returns {any[]}
 */
export function attemptsAt(attempts, time) {
  if (time === null) return attempts;
  const after = (at) => at !== null && at !== undefined && Date.parse(at) > time;
  return attempts
    .filter((attempt) => !after(attempt.ready_at ?? attempt.assigned_at ?? attempt.started_at ?? attempt.finished_at))
    .map((attempt) => ({
      ...attempt,
      ...(after(attempt.assigned_at) ? { assigned_at: null, worker: null } : {}),
      ...(after(attempt.started_at) ? { started_at: null } : {}),
      ...(after(attempt.finished_at) ? { finished_at: null, duration_seconds: null, error: null, retryable: null, stderr: null } : {}),
    }));
}

/**
 * How long an attempt waited and ran, in seconds; null where that is not known or not over.
 * @param {any} attempt
 */
export function spansOf(attempt) {
  const between = (from, to) => {
    const seconds = (Date.parse(to ?? '') - Date.parse(from ?? '')) / 1000;
    return Number.isNaN(seconds) ? null : Math.max(0, seconds);
  };
  const began = attempt.started_at ?? attempt.assigned_at;
  return { waited: between(attempt.ready_at, began), ran: attempt.duration_seconds ?? (attempt.started_at ? between(attempt.started_at, attempt.finished_at) : null) };
}

/** @param {any[]} attempts  oldest first @returns {(HTMLElement|null)[]} */
export function attemptList(attempts) {
  if (attempts.length === 0) return [el('p', { class: 'muted', text: t('panel.noAttempt') })];
  const older = attempts.length - SHOWN;
  return [
    el('ol', { class: 'attempts' }, ...attempts.slice(-SHOWN).reverse().map(card)),
    older > 0 ? el('p', { class: 'muted', text: t('panel.olderAttempts', { n: older }) }) : null,
  ];
}

function card(attempt) {
  const { waited, ran } = spansOf(attempt);
  const time = (at) => (at ? el('time', { datetime: at, title: dateTime(at), text: clock(at) }) : null);
  const rows = [
    ['panel.worker', attempt.worker ? el('span', { text: attempt.worker, title: attempt.worker }) : null],
    ['panel.ready', time(attempt.ready_at)],
    ['panel.assigned', time(attempt.assigned_at)],
    ['panel.started', time(attempt.started_at)],
    ['panel.ended', time(attempt.finished_at)],
    ['panel.waited', waited === null ? null : duration(waited)],
    ['panel.ran', ran === null ? null : duration(ran)],
  ].filter(([, value]) => value !== null);
  const cause = attempt.cause ? t(`panel.cause.${attempt.cause}`) : null;
  const retry = attempt.retryable === null || attempt.retryable === undefined ? null : t(attempt.retryable ? 'panel.retryable' : 'panel.notRetryable');
  return el('li', { class: attempt.error ? 'attempt is-failed' : 'attempt' },
    el('p', { class: 'attempt-head' }, el('strong', { text: t('panel.attempt', { attempt: attempt.attempt }) }), cause ? el('span', { class: 'muted', text: cause }) : null),
    el('dl', { class: 'facts' }, ...rows.map(([key, value]) => el('div', null, el('dt', { text: t(key) }), el('dd', null, value)))),
    attempt.error ? el('p', { class: 'error-text' }, attempt.error, retry ? el('span', { class: 'muted', text: ` (${retry})` }) : null) : null,
    attempt.stderr ? el('div', { class: 'stderr' },
      el('p', { class: 'stderr-head' }, el('span', { class: 'muted', text: t('panel.stderr') }), copyButton({ label: t('copy'), done: t('copied'), failed: t('copyFailed'), text: () => attempt.stderr })),
      el('pre', { tabindex: '0', 'aria-label': t('panel.stderr'), role: 'region', text: attempt.stderr })) : null);
}
