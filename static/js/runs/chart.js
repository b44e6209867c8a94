// The durations of the last runs as bars, the oldest at the left. What it shows stands in the table too.

import { beganAt } from './line.js';
import { el, svg } from '../dom.js';
import { GLYPHS, dateTime, duration } from '../format.js';
import { t } from '../i18n.js';

const SHOWN = 60;
const FEWEST = 8; // a few stand in the table, each with its bar
const [BAR, GAP, HEIGHT, GLYPH] = [12, 4, 72, 14];

/** @param {any[]} runs  newest first @param {(run:any)=>void} open @returns {HTMLElement|null} */
export function chart(runs, open) {
  const over = runs.filter((run) => run.finished_at && Number.isFinite(run.duration_seconds)).slice(0, SHOWN).reverse();
  if (over.length < FEWEST) return null;
  const seconds = over.map((run) => run.duration_seconds);
  const most = Math.max(...seconds, 0.001);
  const width = over.length * (BAR + GAP);
  const bars = over.map((run, at) => {
    const height = Math.max(2, (run.duration_seconds / most) * HEIGHT);
    const x = at * (BAR + GAP) + GAP / 2;
    return svg('g', { class: 'run-bar', 'data-state': run.state, on: { click: () => open(run) } },
      svg('title', { text: `${dateTime(beganAt(run))} · ${t(`run-state.${run.state}`)} · ${duration(run.duration_seconds)}` }),
      svg('rect', { class: 'run-hit', x: x - GAP / 2, y: 0, width: BAR + GAP, height: HEIGHT + GLYPH + 4 }),
      svg('rect', { class: 'run-fill', x, y: HEIGHT - height, width: BAR, height, rx: 2 }),
      svg('text', { class: 'run-glyph', x: x + BAR / 2, y: HEIGHT + GLYPH, 'text-anchor': 'middle', text: GLYPHS[run.state] ?? '' }));
  });
  const label = t('runs.chart', { n: over.length, shortest: duration(Math.min(...seconds)), longest: duration(most) });
  return el('figure', { class: 'runs-chart' },
    el('figcaption', { text: label }),
    el('div', { class: 'runs-chart-frame' },
      el('span', { class: 'runs-chart-most soft', 'aria-hidden': 'true', text: duration(most) }),
      svg('svg', { role: 'img', 'aria-label': label, width, height: HEIGHT + GLYPH + 4, viewBox: `0 0 ${width} ${HEIGHT + GLYPH + 4}` }, ...bars)));
}
