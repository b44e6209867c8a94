// What there is to say of an object beside its state: that older data served, that an earlier run's work counts, that
// somebody said what it is. Pure; the server decides which of it is so.

import { t } from './i18n.js';

/** @typedef {'degraded' | 'reused' | 'marked-loaded' | 'marked-failed'} Badge */

/** In the order in which they are shown; their places are the bits of the wire. @type {readonly Badge[]} */
export const BADGES = ['degraded', 'reused', 'marked-loaded', 'marked-failed'];

/** A sign for each: none of them is told by colour alone. */
export const BADGE_GLYPHS = { degraded: '△', reused: '⇤', 'marked-loaded': '✎', 'marked-failed': '✎' };

/** What the table can be asked for, beside states. */
export const KINDS = ['degraded', 'reused', 'marked'];

/** @param {Badge} badge @returns {string} one of KINDS */
export function kindOf(badge) {
  return badge.startsWith('marked') ? 'marked' : badge;
}

/** @type {readonly Badge[]} */
export const NO_BADGES = [];

/** @type {(readonly Badge[])[]} one list for each sum: thousands of objects share them */
const SUMS = Array.from({ length: 1 << BADGES.length }, (_, sum) => BADGES.filter((_, bit) => sum & (1 << bit)));

/** @param {number} sum as the wire has it @returns {readonly Badge[]} */
export function badgesOf(sum) {
  return SUMS[sum & (SUMS.length - 1)];
}

/** @param {readonly Badge[]} badges @returns {string} their signs, each once */
export function signsOf(badges) {
  return badges.map((badge) => BADGE_GLYPHS[badge]).join('');
}

/** @param {readonly Badge[]} badges @returns {string[]} their words */
export function wordsOf(badges) {
  return badges.map((badge) => t(`badge.${badge}`));
}
