// Paints the lanes that are seen: a heading for each worker and the bars of its attempts.
// Told a scene (see timeline.js); decides nothing of it.

import { CANCELLED, FAILED, LOADED, READY, RETRYING, RUNNING } from './attempts.js';
import { GLYPHS, STATES } from '../format.js';
import { groupAt, HEADING, LANE, laneTop } from './rows.js';
import { firstEnding, sweep } from './sweep.js';

const INSET = 3;
const BAR = LANE - 2 * INSET;
const LABEL_FROM = 36;
// From the least to the most important: what is painted later lies on top.
const ORDER = [LOADED, RUNNING, CANCELLED, RETRYING, FAILED];

/**
 * @param {CanvasRenderingContext2D} ctx @param {object} scene
 */
export function paintLanes(ctx, scene) {
  const { top, height, width, gutter, scroll, groups } = scene;
  ctx.save();
  ctx.beginPath();
  ctx.rect(0, top, width, height - top);
  ctx.clip();
  const first = Math.max(0, groupAt(groups, scroll));
  const shown = [];
  for (let k = first; k < groups.length && groups[k].top < scroll + height - top; k += 1) shown.push(groups[k]);

  const found = collect(scene, shown);
  ctx.save();
  ctx.beginPath();
  ctx.rect(gutter, top, width - gutter, height - top);
  ctx.clip();
  ctx.translate(gutter, 0);
  rules(ctx, scene, shown);
  if (found.dim) {
    ctx.globalAlpha = 0.22;
    paintFound(ctx, scene, found.dim, false);
    ctx.globalAlpha = 1;
  }
  paintFound(ctx, scene, found.main, true);
  const path = criticalBars(scene);
  outline(ctx, scene, path);
  if (scene.past) veil(ctx, scene);
  ctx.restore();
  if (gutter) paintGutter(ctx, scene, shown);
  for (const group of shown) paintHeading(ctx, scene, group);
  // Above the headings: a line that leads from worker to worker is one line.
  ctx.beginPath();
  ctx.rect(gutter, top, width - gutter, height - top);
  ctx.clip();
  ctx.translate(gutter, 0);
  connect(ctx, scene, path);
  ctx.restore();
}

/** What had not happened yet at the time shown. */
function veil(ctx, { view, until, palette, top, height }) {
  const x = Math.max(0, view.x(until));
  if (x >= view.width) return;
  ctx.globalAlpha = 0.6;
  ctx.fillStyle = palette.bg;
  ctx.fillRect(x, top, view.width - x, height - top);
  ctx.globalAlpha = 1;
}

/** The lanes of a group that are seen: from, to (without). */
function seen(scene, group) {
  const y = scene.scroll - group.top - HEADING;
  const from = Math.max(0, Math.floor(y / LANE));
  const to = Math.min(group.lanes.length, Math.ceil((y + scene.height - scene.top) / LANE));
  return [from, to];
}

function collect(scene, shown) {
  const { attempts, view, until, matched } = scene;
  const pick = () => ({ bars: [], columns: STATES.map(() => []) });
  const main = pick();
  const dim = matched ? pick() : null;
  for (const group of shown) {
    const [from, to] = seen(scene, group);
    for (let lane = from; lane < to; lane += 1) {
      const y = scene.top + laneTop(group, lane) - scene.scroll;
      const gather = (into, wanted) => sweep(attempts, group.lanes[lane], view, until,
        (a, x0, x1, state, before) => into.bars.push({ a, x0, x1, y, state, before }),
        (x0, x1, state) => into.columns[state].push(x0, x1, y), wanted);
      if (!matched) {
        gather(main);
      } else {
        gather(dim, (a) => !matched[attempts.object[a]]);
        gather(main, (a) => matched[attempts.object[a]] === 1);
      }
    }
  }
  return { main, dim };
}

function rules(ctx, scene, shown) {
  ctx.fillStyle = scene.palette.border;
  ctx.globalAlpha = 0.5;
  for (const group of shown) {
    const [from, to] = seen(scene, group);
    for (let lane = from; lane < to; lane += 1) {
      ctx.fillRect(0, scene.top + laneTop(group, lane) - scene.scroll + LANE - 1, scene.width, 1);
    }
  }
  ctx.globalAlpha = 1;
}

function paintFound(ctx, scene, found, labels) {
  const { palette, view } = scene;
  const edge = view.width + 8;
  for (const state of ORDER) {
    const columns = found.columns[state];
    ctx.fillStyle = palette.states[state];
    // A failure among thousands stands out by its height, not by its colour alone.
    const [inset, tall] = state === FAILED ? [1, LANE - 2] : [INSET, BAR];
    // Thousands that went well are the ground the rest is seen on.
    const alpha = ctx.globalAlpha;
    if (state === LOADED) ctx.globalAlpha = alpha * 0.6;
    for (let k = 0; k < columns.length; k += 3) {
      const width = Math.max(state === FAILED ? 2 : 1, columns[k + 1] - columns[k]);
      ctx.fillRect(columns[k], columns[k + 2] + inset, width, tall);
    }
    ctx.globalAlpha = alpha;
  }
  paintWaits(ctx, scene, found.bars);
  for (const state of ORDER) {
    const [strong, soft, pattern] = [palette.states[state], palette.statesBg[state], palette.patterns[state]];
    for (const bar of found.bars) {
      if (bar.state !== state) continue;
      const x0 = Math.max(-8, Math.round(bar.x0));
      const x1 = Math.max(x0 + 2, Math.min(edge, Math.round(bar.x1)));
      const y = bar.y + INSET;
      // Side by side, one edge for each tells them apart; two would be a grid and no picture.
      const thin = x1 - x0 <= 6;
      const left = thin ? 0 : x1 - x0 > 10 ? 3 : 1;
      // What still runs has no right edge.
      const right = state === RUNNING ? 0 : 1;
      ctx.fillStyle = strong;
      ctx.fillRect(x0, y, x1 - x0, BAR);
      const inner = x1 - x0 - left - right;
      if (thin && state !== LOADED) continue;
      ctx.fillStyle = soft;
      ctx.fillRect(x0 + left, y + 1, inner, BAR - 2);
      if (!pattern) continue;
      ctx.fillStyle = pattern;
      ctx.fillRect(x0 + left, y + 1, inner, BAR - 2);
    }
  }
  if (labels) paintLabels(ctx, scene, found.bars);
}

/** From when it was ready to its start, as far as this covers nothing. */
function paintWaits(ctx, scene, bars) {
  const { attempts, palette, view } = scene;
  ctx.fillStyle = palette.states[READY];
  for (const { a, x0, y, before } of bars) {
    const ready = attempts.ready[a];
    if (!(ready < attempts.start[a])) continue;
    const from = Math.max(-8, view.x(Math.max(ready, before)));
    if (x0 - from < 3) continue;
    const middle = y + LANE / 2 - 1;
    ctx.fillRect(from, middle, x0 - from, 1);
    if (ready >= before) ctx.fillRect(from, middle - 3, 1, 7);
  }
}

function paintLabels(ctx, scene, bars) {
  const { attempts, palette, view, fitter, label, ids } = scene;
  scene.fitter.use(ctx, palette.small);
  ctx.textBaseline = 'middle';
  for (const { a, x0, x1, y, state } of bars) {
    const from = Math.max(0, x0) + 6;
    const room = Math.min(view.width, x1) - from - 4;
    const glyph = GLYPHS[STATES[state]];
    const middle = y + LANE / 2 + 0.5;
    if (room < 9) continue;
    const object = attempts.object[a];
    const cut = room >= LABEL_FROM ? fitter.fit(ctx, label(object), room - 14) : '';
    // A part of an id is no id.
    const whole = String(ids[object]);
    const text = cut === whole || cut.length > whole.length ? cut : '';
    if (palette.patterns[state]) {
      // A plain ground under the letters: a hatch is no paper to read from.
      ctx.fillStyle = palette.statesBg[state];
      ctx.fillRect(from - 2, y + INSET + 1, text ? 18 + Math.min(room - 14, fitter.width(ctx, text)) : 14, BAR - 2);
    }
    ctx.fillStyle = palette.states[state];
    ctx.fillText(glyph, from, middle);
    if (!text) continue;
    ctx.fillStyle = palette.text;
    ctx.fillText(text, from + 14, middle);
  }
}

/** The objects of the critical path that had begun, with the places of their last attempts. */
function criticalBars({ attempts, critical, view, until, placeOf }) {
  const at = new Map();
  for (const object of critical) {
    const a = attempts.lastOf(object, until);
    const place = a >= 0 ? placeOf(a) : null;
    if (place) at.set(object, { ...place, x0: view.x(attempts.start[a]), x1: view.x(Math.min(attempts.end[a], until)) });
  }
  return at;
}

function outline(ctx, { palette, view }, path) {
  ctx.strokeStyle = palette.accent;
  ctx.lineWidth = 2;
  for (const { x0, x1, y } of path.values()) {
    const left = Math.max(-8, Math.round(x0)) - 1;
    ctx.strokeRect(left, y + INSET - 1, Math.max(4, Math.min(view.width + 8, Math.round(x1)) + 1 - left), BAR + 2);
  }
}

/** A line from each bar of the critical path to the one that waited for it. */
function connect(ctx, { palette, parents, view }, path) {
  ctx.strokeStyle = palette.accent;
  ctx.lineWidth = 1.5;
  ctx.beginPath();
  for (const [object, to] of path) {
    for (const parent of parents(object)) {
      const from = path.get(parent);
      if (!from || Math.min(from.x1, to.x0) > view.width || Math.max(from.x1, to.x0) < 0) continue;
      const [x0, y0, x1, y1] = [from.x1 + 1, from.y + LANE / 2, to.x0 - 1, to.y + LANE / 2];
      const bend = Math.max(8, Math.min(40, Math.abs(x1 - x0) / 2));
      ctx.moveTo(x0, y0);
      ctx.bezierCurveTo(x0 + bend, y0, x1 - bend, y1, x1, y1);
    }
  }
  ctx.stroke();
}

function paintGutter(ctx, scene, shown) {
  const { gutter, top, height, palette } = scene;
  ctx.fillStyle = palette.surface;
  ctx.fillRect(0, top, gutter, height - top);
  ctx.fillStyle = palette.border;
  ctx.fillRect(gutter - 1, top, 1, height - top);
  scene.fitter.use(ctx, palette.small);
  ctx.textBaseline = 'middle';
  ctx.textAlign = 'right';
  ctx.fillStyle = palette['text-2'];
  for (const group of shown) {
    const [from, to] = seen(scene, group);
    for (let lane = from; lane < to; lane += 1) {
      ctx.fillText(String(lane + 1), gutter - 8, top + laneTop(group, lane) - scene.scroll + LANE / 2);
    }
  }
  ctx.textAlign = 'left';
}

function paintHeading(ctx, scene, group) {
  const { top, scroll, width, palette, fitter, words } = scene;
  // The heading stays in sight for as long as one of its lanes does.
  const y = top + Math.min(Math.max(group.top - scroll, 0), group.top + group.height - HEADING - scroll);
  ctx.fillStyle = palette['surface-2'];
  ctx.fillRect(0, y, width, HEADING);
  ctx.fillStyle = palette.border;
  ctx.fillRect(0, y, width, 1);
  ctx.fillRect(0, y + HEADING - 1, width, 1);
  ctx.fillStyle = palette.stages[group.stage];
  ctx.fillRect(0, y, 4, HEADING);
  ctx.textBaseline = 'middle';
  scene.fitter.use(ctx, palette.bold);
  ctx.fillStyle = palette.text;
  const name = fitter.fit(ctx, words.worker(group.name), Math.min(360, width * 0.55));
  ctx.fillText(name, 12, y + HEADING / 2);
  const after = 12 + fitter.width(ctx, name) + 12;
  scene.fitter.use(ctx, palette.small);
  ctx.fillStyle = palette['text-2'];
  ctx.fillText(fitter.fit(ctx, words.group(group, busy(scene, group)), width - after - 8), after, y + HEADING / 2);
}

/** How many lanes of a group run something at the time shown. */
function busy(scene, group) {
  const { start, end } = scene.attempts;
  let running = 0;
  for (const ids of group.lanes) {
    // The last one that had begun: what ends later than the time shown, and is the first such.
    const k = firstEnding(end, ids, scene.until + 0.001);
    if (k < ids.length && start[ids[k]] <= scene.until) running += 1;
  }
  return running;
}
