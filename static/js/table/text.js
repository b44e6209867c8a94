// Text as people search and sort it: without accents, without case, numbers by their value.
// Knows nothing of objects, of the page, of any language's words.

const PLAIN = /^[\x00-\x7f]*$/;
const MARKS = /\p{M}+/gu;

/**
 * Folds a text for searching: `Élève` and `eleve` are the same.
 * @param {string} text
 * @returns {string}
 */
export function fold(text) {
  if (PLAIN.test(text)) return text.toLowerCase(); // many times faster
  return text.normalize('NFD').replace(MARKS, '').toLowerCase();
}

/**
 * A key whose plain comparison is the order that people expect: `Objet 2` before `Objet 10`.
 * @param {string} text
 * @returns {string}
 */
export function sortKey(text) {
  return fold(text).replace(/\d+/g, (digits) => digits.padStart(12, '0'));
}

/**
 * A value of the catalogue on one line.
 * @param {unknown} value
 * @returns {string}
 */
export function valueText(value) {
  if (value === null || value === undefined) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
