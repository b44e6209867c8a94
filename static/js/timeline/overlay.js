// Paints what changes with the pointer and not with the run, on a canvas of its own above the bars: the bar under the
// pointer, the selected and the focused one, the line at the time shown and at now, the time under the pointer.

import { AXIS } from './paint-axis.js';
import { READY } from './attempts.js';
import { LANE } from './rows.js';

/**
 * @param {CanvasRenderingContext2D} ctx @param {object} scene
 * @param {{hover:number, focus:number, selected:number[], pointer:{x:number,y:number}|null, cursor:number|null, now:number|null}} marks
 */
export function paintOverlay(ctx, scene, marks) {
  const { width, height, gutter, top, palette } = scene;
  ctx.clearRect(0, 0, width, height);
  ctx.save();
  ctx.beginPath();
  ctx.rect(gutter, top, width - gutter, height - top);
  ctx.clip();
  for (const a of marks.selected) outline(ctx, scene, a, palette.text, 2);
  if (marks.hover >= 0) outline(ctx, scene, marks.hover, palette['border-strong'], 1.5);
  if (marks.focus >= 0) outline(ctx, scene, marks.focus, palette.focus, 3);
  ctx.restore();
  if (marks.now !== null) line(ctx, scene, marks.now, top, palette['border-strong'], [3, 3]);
  if (marks.cursor !== null) {
    line(ctx, scene, marks.cursor, AXIS - 6, palette.accent, []);
    flag(ctx, scene, marks.cursor, palette.accent, palette['accent-text']);
  } else if (marks.pointer && marks.pointer.y < AXIS) {
    flag(ctx, scene, scene.view.t(marks.pointer.x - gutter), palette.text, palette.surface);
  }
}

function outline(ctx, scene, a, colour, thick) {
  const { attempts, view, gutter, until, palette } = scene;
  const place = scene.placeOf(a);
  if (!place || attempts.start[a] > until) return;
  const x0 = gutter + Math.max(-8, Math.round(view.x(attempts.start[a])));
  const x1 = gutter + Math.min(view.width + 8, Math.round(view.x(Math.min(attempts.end[a], until))));
  const ready = attempts.ready[a];
  if (ready < attempts.start[a]) {
    // Here it may cover others: it is asked for.
    const from = gutter + Math.max(-8, view.x(ready));
    const middle = place.y + LANE / 2;
    ctx.fillStyle = palette.surface;
    ctx.fillRect(from - 1, middle - 3, x0 - from + 1, 6);
    ctx.strokeStyle = palette.states[READY];
    ctx.lineWidth = 2;
    ctx.setLineDash([4, 2]);
    ctx.beginPath();
    ctx.moveTo(from, middle);
    ctx.lineTo(x0, middle);
    ctx.stroke();
    ctx.setLineDash([]);
    ctx.fillStyle = palette.states[READY];
    ctx.fillRect(from - 1, middle - 6, 2, 12);
  }
  ctx.strokeStyle = colour;
  ctx.lineWidth = thick;
  ctx.strokeRect(x0 - 1, place.y + 2, Math.max(3, x1 - x0 + 2), LANE - 4);
}

function line(ctx, scene, t, from, colour, dash) {
  const x = Math.round(scene.gutter + scene.view.x(t)) + 0.5;
  if (x < scene.gutter || x > scene.width) return;
  ctx.strokeStyle = colour;
  ctx.lineWidth = 1;
  ctx.setLineDash(dash);
  ctx.beginPath();
  ctx.moveTo(x, from);
  ctx.lineTo(x, scene.height);
  ctx.stroke();
  ctx.setLineDash([]);
}

function flag(ctx, scene, t, fill, ink) {
  const x = scene.gutter + scene.view.x(t);
  if (x < scene.gutter - 1 || x > scene.width + 1) return;
  scene.fitter.use(ctx, scene.palette.small);
  const text = scene.words.precise(t);
  const width = scene.fitter.width(ctx, text) + 12;
  const left = Math.min(Math.max(scene.gutter, x - width / 2), scene.width - width);
  ctx.fillStyle = fill;
  ctx.fillRect(left, 4, width, AXIS - 10);
  ctx.fillRect(Math.round(x) - 1, AXIS - 6, 2, 6);
  ctx.fillStyle = ink;
  ctx.textBaseline = 'middle';
  ctx.fillText(text, left + 6, AXIS / 2 - 0.5);
}
