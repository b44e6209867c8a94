// What the signs, the figures from afar, the colours at the edges and the outlines mean.

import { BADGE_GLYPHS, BADGES, kindOf } from '../badges.js';
import { el } from '../dom.js';
import { GLYPHS, STAGES, STATES } from '../format.js';
import { t } from '../i18n.js';
import { colours } from '../theme.js';
import { mark } from './marks.js';

const [WIDTH, HEIGHT] = [22, 8];
// Room for the figure that is larger than the others.
const RIM = 3;

/**
 * @returns {{element: HTMLElement, restyle: () => void}}
 */
export function legend() {
  const figures = STATES.map(() => {
    const canvas = el('canvas', { class: 'graph-legend-figure', 'aria-hidden': 'true' });
    [canvas.width, canvas.height] = [2 * (WIDTH + 2 * RIM), 2 * (HEIGHT + 2 * RIM)];
    return canvas;
  });
  const restyle = () => {
    const { states, surface } = colours();
    figures.forEach((canvas, state) => {
      const ctx = canvas.getContext('2d');
      ctx.clearRect(0, 0, canvas.width, canvas.height);
      mark(ctx, state, 2 * RIM, 2 * RIM, 2 * WIDTH, 2 * HEIGHT, states[state], surface);
    });
  };
  restyle();
  const element = el('section', { class: 'graph-legend', 'aria-label': t('graph.legend'), dataset: { apart: '' }, hidden: true },
    el('ul', { class: 'graph-legend-states' }, STATES.map((state, at) =>
      el('li', null,
        el('span', { class: 'graph-legend-glyph', 'aria-hidden': 'true', dataset: { state }, text: GLYPHS[state] }),
        figures[at],
        el('span', { text: t(`state.${state}`) })))),
    el('ul', { class: 'graph-legend-stages' }, STAGES.map((stage) =>
      el('li', null, el('span', { class: 'graph-legend-stage', 'aria-hidden': 'true', dataset: { stage } }), el('span', { text: t(`stage.${stage}`) })))),
    el('ul', { class: 'graph-legend-badges' }, BADGES.slice(0, 3).map((badge) =>
      el('li', null, el('span', { class: 'graph-legend-badge', 'aria-hidden': 'true', text: BADGE_GLYPHS[badge] }), el('span', { text: t(`badge.${kindOf(badge)}`) })))),
    el('ul', { class: 'graph-legend-lines' },
      el('li', null, el('span', { class: 'graph-legend-critical', 'aria-hidden': 'true' }), el('span', { text: t('graph.critical') })),
      el('li', null, el('span', { class: 'graph-legend-kin', 'aria-hidden': 'true' }), el('span', { text: t('graph.kin') }))));
  return { element, restyle };
}
