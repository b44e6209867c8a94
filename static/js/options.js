// How a run is to go: the part of the start dialog that is folded away. What is left empty is as the orchestrator is set.
// What may be written in a field the server says.

import { el } from './dom.js';
import { t } from './i18n.js';

/** What a failure for good may mean for the rest; the first leaves it to the orchestrator. */
const ON_FAILURE = ['', 'skip', 'stop', 'continue'];
/** Fields of one line, and what one may look like. */
const FIELDS = { retries: '2', backoff: '30s', timeout: '15m', fresh: '30m' };

/**
 * The part of a request that says how its run is to go.
 * @param {{onFailure?: string, retries?: string, backoff?: string, timeout?: string, fresh?: string, limits?: string}} typed
 * @returns {Record<string, any>} without what was left empty
 */
export function rulesOf({ onFailure = '', retries = '', backoff = '', timeout = '', fresh = '', limits = '' }) {
  const tries = retries.trim();
  const rules = {
    on_failure: onFailure,
    retries: /^\d+$/.test(tries) ? Number(tries) : tries, // what is no number is the server's to refuse
    backoff: backoff.trim(),
    timeout: timeout.trim(),
    limits: limitsOf(limits),
    fresh: fresh.trim(),
  };
  return Object.fromEntries(Object.entries(rules).filter(([, value]) => value !== '' && value.length !== 0));
}

/** Limits, one a line or behind commas; a comma before a limit's number is a part of its value. @param {string} text @returns {string[]} */
export function limitsOf(text) {
  return text.split('\n').flatMap((line) => line.match(/.+?(?::\s*\d+\s*(?=,|$)|$)/g) ?? []).map((limit) => limit.replace(/^[\s,]+|[\s,]+$/g, '')).filter(Boolean);
}

/** @returns {{element: HTMLElement, read: () => Record<string, any>}} */
export function options() {
  const policies = ON_FAILURE.map((policy) => el('input', { type: 'radio', name: 'on-failure', value: policy, checked: policy === '' }));
  const inputs = Object.fromEntries(Object.entries(FIELDS).map(([name, example]) => [name, el('input', {
    id: `start-${name}`, type: 'text', inputmode: name === 'retries' ? 'numeric' : null, autocomplete: 'off', spellcheck: 'false', placeholder: example, 'aria-describedby': `start-${name}-help`,
  })]));
  const limits = el('textarea', { id: 'start-limits', rows: 2, autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false', placeholder: 'source=Sage:2', 'aria-describedby': 'start-limits-help' });
  const field = (name, input) => el('div', { class: 'option' },
    el('label', { for: input.id, class: 'label', text: t(`option.${name}`) }), input, el('small', { id: `start-${name}-help`, text: t(`option.${name}.help`) }));
  const element = el('details', { class: 'options' },
    el('summary', { text: t('option.title') }),
    el('div', { class: 'options-body' },
      el('p', { class: 'soft', text: t('option.empty') }),
      el('fieldset', { class: 'policies' },
        el('legend', { class: 'label', text: t('option.on-failure') }),
        ON_FAILURE.map((policy, at) => el('label', null, policies[at],
          el('span', null, el('b', { text: t(`option.on-failure.${policy || 'default'}`) }), policy === '' ? null : el('small', { text: t(`option.on-failure.${policy}.help`) }))))),
      el('div', { class: 'options-grid' }, Object.entries(inputs).map(([name, input]) => field(name, input))),
      field('limits', limits)));
  return {
    element,
    read() {
      const typed = Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input.value]));
      return rulesOf({ ...typed, onFailure: policies.find(({ checked }) => checked)?.value ?? '', limits: limits.value });
    },
  };
}
