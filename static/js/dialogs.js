// Dialogs: the frame that all of them share, the question before something that cannot be undone, the token, the
// keyboard's shortcuts; and the short notes that need no answer. What the answers lead to is not its business.

import { el } from './dom.js';
import { t } from './i18n.js';

const NOTE_MS = 7_000;
const NOTES = 3;
let numbered = 0;

/**
 * Shows a dialog and waits for its end.
 * @param {object} content
 * @param {string} content.title
 * @param {(Node | string)[]} content.body
 * @param {{label: string, kind?: 'primary' | 'danger'}} [content.action] the button that goes on with it
 * @param {string} [content.close] what the other button says
 * @param {string} [content.kind] a class
 * @param {() => Promise<any> | any} [content.act] what the action does: the dialog stays while that is under way and
 *   where it ends in `undefined`; anything else closes it and is its result
 * @returns {Promise<any>} null where it was closed without the action
 */
export function ask({ title, body, action, close = t(action ? 'dialog.back' : 'close'), kind = '', act = () => true }) {
  numbered += 1;
  const id = `dialog-${numbered}`;
  const before = document.activeElement;
  return new Promise((resolve) => {
    let result = null;
    let busy = false;
    let pressed = null;
    const go = action ? el('button', { type: 'submit', class: action.kind ?? 'primary', text: action.label }) : null;
    const back = el('button', { type: 'button', text: close, on: { click: () => dialog.close() } });
    const form = el('form', { class: 'dialog-frame', novalidate: true, on: { submit } },
      el('h2', { id, text: title }),
      el('div', { class: 'dialog-body' }, body),
      el('div', { class: 'dialog-foot' }, back, go));
    const dialog = el('dialog', { class: `dialog ${kind}`, 'aria-labelledby': id, on: { pointerdown: (event) => { pressed = event.target; }, click: outside, close: ended } }, form);

    async function submit(event) {
      event.preventDefault();
      if (!action) dialog.close();
      if (!action || busy) return;
      busy = true;
      go.disabled = true;
      dialog.setAttribute('aria-busy', 'true');
      try {
        const made = await act();
        if (made === undefined) return;
        result = made;
        dialog.close();
      } finally {
        busy = false;
        go.disabled = false;
        dialog.removeAttribute('aria-busy');
      }
    }

    // Not the end of a selection that began inside, nor the second half of the double click that opened it.
    function outside(event) {
      if (event.target === dialog && pressed === dialog && event.detail < 2) dialog.close();
    }

    function ended() {
      dialog.remove();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
      resolve(result);
    }

    document.body.append(dialog);
    dialog.showModal();
  });
}

/**
 * @param {{title: string, text: string, action: string, danger?: boolean}} question
 * @returns {Promise<boolean>}
 */
export async function confirm({ title, text, action, danger = false }) {
  const answer = await ask({ title, body: [el('p', { text })], action: { label: action, kind: danger ? 'danger' : 'primary' } });
  return answer === true;
}

/**
 * @param {boolean} wrong whether one was given already, and refused
 * @returns {Promise<string | null>}
 */
export function askForToken(wrong) {
  const input = el('input', {
    id: 'token', type: 'password', autocomplete: 'current-password', required: true, autofocus: true, spellcheck: 'false',
    'aria-describedby': 'token-why', 'aria-invalid': wrong ? 'true' : null,
  });
  const why = el('p', { id: 'token-why', class: wrong ? 'problem' : 'soft', text: t(wrong ? 'token.wrong' : 'token.why') });
  return ask({
    title: t('token.title'),
    body: [why, el('label', { for: 'token', class: 'label', text: t('token.label') }), input, el('p', { class: 'soft', text: t('token.kept') })],
    action: { label: t('token.use') },
    act: () => input.value.trim() || void input.focus(),
  });
}

/** @param {[string[], string][]} shortcuts keys, and what they do */
export function showShortcuts(shortcuts) {
  return ask({
    title: t('keys.title'),
    kind: 'shortcuts',
    body: [el('dl', { class: 'keys' }, shortcuts.map(([keys, does]) => el('div', null,
      el('dt', null, keys.map((key) => el('kbd', { text: key }))), el('dd', { text: does }))))],
  });
}

/**
 * What went wrong with a call, as an element: what the server says, and each problem with its place and its hint.
 * @param {Error & {detail?: string, problems?: object[]}} error
 * @returns {HTMLElement}
 */
export function problemsOf(error) {
  const listed = (error.problems ?? []).map((problem) => {
    const place = [
      problem.position ? t('problem.entry', { position: problem.position }) : null,
      problem.id ? t('problem.id', { id: problem.id }) : null,
      problem.line ? t('problem.line', { line: problem.line, column: problem.column ?? 1 }) : null,
    ].filter(Boolean).join(', ');
    return el('li', null,
      place ? el('span', { class: 'place', text: place }) : null,
      el('span', { class: 'what', text: problem.message ?? JSON.stringify(problem) }),
      problem.hint ? el('span', { class: 'hint', text: problem.hint }) : null);
  });
  // Where the problems are listed, the detail is the same list as one text.
  const text = listed.length > 0 ? t('problem.count', { n: listed.length }) : error.detail || error.message || t('error.unknown');
  return el('div', { class: 'problems', role: 'alert', tabindex: '-1' },
    el('p', { class: 'problem', text }),
    listed.length > 0 ? el('ul', null, listed) : null);
}

/**
 * A note that needs no answer. An error stays until it is closed.
 * @param {string} text
 * @param {{error?: boolean}} [how]
 */
export function note(text, { error = false } = {}) {
  const notes = document.getElementById('notes');
  const one = el('div', { class: error ? 'note error' : 'note' }, el('p', { text }),
    el('button', { type: 'button', class: 'quiet', 'aria-label': t('close'), text: '✕', on: { click: () => one.remove() } }));
  notes.append(one);
  while (notes.childElementCount > NOTES) notes.firstElementChild.remove();
  if (!error) setTimeout(() => one.remove(), NOTE_MS);
}
