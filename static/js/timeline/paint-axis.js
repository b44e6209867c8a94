// Paints what stays on top: the time axis, and for each stage how many objects were ready and how many ran.
// Told a scene (see timeline.js); decides nothing of it.

import { levelAt, peaks } from './times.js';
import { READY, RUNNING } from './attempts.js';
import { stepFor, ticks, unitOf } from './ticks.js';

export const AXIS = 30;
export const BAND = 44;
const READY_PART = 24;

/**
 * Lines down the whole picture and the times above them.
 * @param {CanvasRenderingContext2D} ctx @param {object} scene
 */
export function paintAxis(ctx, scene) {
  const { view, gutter, width, height, palette, words } = scene;
  scene.fitter.use(ctx, palette.small);
  const coarse = stepFor(1 / view.scale, 84);
  const step = unitOf(coarse) === 'ms' ? stepFor(1 / view.scale, 108) : coarse;
  const unit = unitOf(step);
  const marks = ticks(view.from, view.to, step);
  ctx.fillStyle = palette.surface;
  ctx.fillRect(0, 0, width, AXIS);
  ctx.textBaseline = 'middle';
  let clear = gutter + 4;
  for (const { t, day } of marks) {
    const x = Math.round(gutter + view.x(t));
    ctx.fillStyle = day ? palette['border-strong'] : palette.border;
    ctx.fillRect(x, AXIS - 6, 1, height);
    const text = words.tick(t, day ? 'day' : unit);
    const half = scene.fitter.width(ctx, text) / 2;
    if (x - half < clear || x + half > width - 4) continue;
    ctx.fillStyle = day ? palette.text : palette['text-2'];
    ctx.fillText(text, x - half, AXIS / 2 - 2);
    clear = x + half + 12;
  }
  if (gutter) {
    ctx.fillStyle = palette.surface;
    ctx.fillRect(0, 0, gutter, AXIS);
    ctx.fillStyle = palette['text-2'];
    ctx.fillText(scene.fitter.fit(ctx, words.day(Math.max(view.from, view.span.from)), gutter - 24), 12, AXIS / 2 - 2);
  }
  ctx.fillStyle = palette.border;
  ctx.fillRect(0, AXIS - 1, width, 1);
}

/**
 * @param {CanvasRenderingContext2D} ctx @param {object} scene
 */
export function paintBands(ctx, scene) {
  scene.stages.forEach((stage, place) => paintBand(ctx, scene, stage, AXIS + place * BAND));
}

function paintBand(ctx, scene, stage, top) {
  const { view, gutter, width, palette, words, until, fitter } = scene;
  const queue = scene.attempts.queue[stage];
  const end = Math.min(view.to, until);
  const columns = Math.max(0, Math.ceil(view.x(end)));
  const base = top + BAND - 4;
  const middle = top + READY_PART;
  let most = [0, 0];
  if (columns > 0) {
    const stop = view.from + columns / view.scale;
    const ready = peaks(queue.readyOn, queue.readyOff, view.from, stop, columns);
    const running = peaks(queue.runOn, queue.runOff, view.from, stop, columns);
    most = [ready, running].map((levels) => levels.reduce((a, b) => Math.max(a, b), 0));
    area(ctx, ready, gutter, middle, READY_PART - 6, most[0], palette['state-ready-bg'], palette.states[READY], palette.patterns[READY]);
    area(ctx, running, gutter, base, BAND - READY_PART - 7, most[1], palette['state-running-bg'], palette.states[RUNNING], null);
  }
  ctx.fillStyle = palette.border;
  ctx.fillRect(gutter, middle, width - gutter, 1);
  ctx.fillRect(0, top + BAND - 1, width, 1);
  if (gutter) {
    ctx.fillStyle = palette.surface;
    ctx.fillRect(0, top, gutter, BAND - 1);
  }
  ctx.fillStyle = palette.stages[stage];
  ctx.fillRect(0, top, 4, BAND - 1);
  const now = [levelAt(queue.readyOn, queue.readyOff, until), levelAt(queue.runOn, queue.runOff, until)];
  const lines = [words.ready(Math.max(0, now[0])), words.running(Math.max(0, now[1]))];
  const middles = [top + READY_PART / 2 + 1, top + READY_PART + (BAND - READY_PART) / 2 - 1];
  scene.fitter.use(ctx, palette.small);
  ctx.textAlign = 'right';
  most.forEach((peak, k) => {
    if (peak > 0) haloed(ctx, palette, words.peak(peak), width - 8, middles[k]);
  });
  ctx.textAlign = 'left';
  if (gutter) {
    scene.fitter.use(ctx, palette.bold);
    ctx.fillStyle = palette.text;
    ctx.fillText(fitter.fit(ctx, words.stage(stage), 108), 12, top + BAND / 2);
    scene.fitter.use(ctx, palette.small);
    ctx.textAlign = 'right';
    ctx.fillText(fitter.fit(ctx, lines[0], gutter - 128), gutter - 8, middles[0]);
    ctx.fillText(fitter.fit(ctx, lines[1], gutter - 128), gutter - 8, middles[1]);
    ctx.textAlign = 'left';
  } else {
    haloed(ctx, palette, `${words.stage(stage)} · ${lines[0]}`, 10, middles[0]);
    haloed(ctx, palette, lines[1], 10, middles[1]);
  }
}

/** Text that stays readable over the chart. */
function haloed(ctx, palette, text, x, y) {
  ctx.lineWidth = 4;
  ctx.lineJoin = 'round';
  ctx.strokeStyle = palette.surface;
  ctx.strokeText(text, x, y);
  ctx.fillStyle = palette.text;
  ctx.fillText(text, x, y);
}

function area(ctx, levels, left, base, height, most, fill, line, pattern) {
  if (most <= 0) return;
  // What is not nothing is at least two pixels high: one object that waits is what one looks for.
  const y = (level) => (level <= 0 ? base : base - Math.max(2, Math.round((level / most) * height)));
  ctx.beginPath();
  ctx.moveTo(left, base);
  let before = base;
  for (let x = 0; x < levels.length; x += 1) {
    const at = y(levels[x]);
    if (at !== before) {
      ctx.lineTo(left + x, before);
      ctx.lineTo(left + x, at);
      before = at;
    }
  }
  ctx.lineTo(left + levels.length, before);
  ctx.lineTo(left + levels.length, base);
  ctx.fillStyle = fill;
  ctx.fill();
  if (pattern) {
    ctx.fillStyle = pattern;
    ctx.fill();
  }
  ctx.strokeStyle = line;
  ctx.lineWidth = 1;
  ctx.stroke();
}
