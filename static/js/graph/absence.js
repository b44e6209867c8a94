// What is said where that which was asked for is not there. Pure.

import { t } from '../i18n.js';

/**
 * @param {import('./params.js').Shown} asked @param {{failure: {object: string, why: string} | null, loading: boolean}} scenes
 * @param {{trouble: number[] | null, path: Set<number>}} there
 * @returns {string} '': it is there
 */
export function absence(asked, { failure, loading }, { trouble, path }) {
  if (asked.focus !== null && failure) return t('graph.noFocus', failure);
  if (asked.failed && trouble?.length === 0) return t('graph.noFailed');
  if (asked.critical && path.size === 0) return t('graph.noCritical');
  return asked.focus !== null && loading ? t('graph.loading') : '';
}
