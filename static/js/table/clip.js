// Hands text to the reader: into the clipboard, or as a file. Knows nothing of what the text says.

import { el } from '../dom.js';

/**
 * Copies a text.
 * @param {string} text
 * @returns {Promise<boolean>} whether it worked
 */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text); // a page that is neither local nor https has no clipboard of its own
  }
}

function copyBySelection(text) {
  const before = document.activeElement;
  const area = el('textarea', { class: 'visually-hidden', 'aria-hidden': 'true', tabindex: '-1', readonly: true, value: text });
  document.body.append(area);
  area.select();
  let done = false;
  try {
    done = document.execCommand('copy');
  } catch {
    done = false;
  }
  area.remove();
  before?.focus?.({ preventScroll: true });
  return done;
}

/**
 * A button that copies what it is given at the time, and says that it has.
 * @param {{label:string, done:string, failed:string, text:()=>string, class?:string}} of
 * @returns {HTMLButtonElement}
 */
export function copyButton({ label, done, failed, text, class: name = 'quiet' }) {
  const said = el('span', { 'aria-live': 'polite', text: label });
  let timer = 0;
  const button = el('button', {
    type: 'button',
    class: name,
    on: {
      click: async () => {
        said.textContent = (await copyText(text())) ? done : failed;
        clearTimeout(timer);
        timer = setTimeout(() => { said.textContent = label; }, 1500);
      },
    },
  }, said);
  return button;
}

/**
 * Offers a text as a file.
 * @param {string} name
 * @param {string} type
 * @param {string} text
 */
export function download(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = el('a', { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
