// What failed, in the row above the picture: one of the failures with its error, and how many there are besides. Reads
// the store; the errors come as they are known.

import { el } from '../dom.js';
import { GLYPHS, STATES } from '../format.js';
import { t } from '../i18n.js';
import { href } from '../router.js';
import { objectLink } from '../panel/parts.js';
import { title } from './describe.js';

const FAILED = STATES.indexOf('failed');

/**
 * @param {import('../store.js').Store} store @param {import('../errors.js').Errors} errors
 * @returns {{element: HTMLElement, draw: () => void}}
 */
export function failures(store, errors) {
  const element = el('p', { class: 'graph-failures', dataset: { state: 'failed' }, hidden: true });
  let shown = '';

  function draw() {
    const { graph } = store;
    const failed = graph ? store.counts().byState[FAILED] : 0;
    // In the order of the stages: what failed first in the lake is what the rest waits for.
    const i = failed > 0 ? store.states.indexOf(FAILED) : -1;
    element.hidden = i < 0;
    if (i < 0) return;
    const attempt = store.rowAt(i)?.attempt ?? 1;
    errors.want(i, attempt);
    const error = errors.at(i, attempt) ?? '';
    const sign = [graph.plan, i, failed, error, location.hash].join(' ');
    if (sign === shown) return;
    shown = sign;
    const said = title(graph, i);
    const link = objectLink(graph.ids[i], el('span', { class: 'glyph', 'aria-hidden': 'true', text: GLYPHS.failed }), el('b', { text: said }), error ? el('span', { text: error }) : null);
    link.title = error ? `${said}\n${error}` : said;
    const rest = failed > 1 ? el('a', { class: 'graph-failures-more', href: href({ view: 'table', params: { state: 'failed' } }), title: t('graph.failures.all'), text: t('graph.failures.more', { n: failed - 1 }) }) : null;
    element.replaceChildren(...[link, rest].filter(Boolean));
  }

  return { element, draw };
}
