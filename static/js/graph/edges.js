// Draws edges on a canvas, a number of them at a time: thousands of curves take longer than a frame may.

import { seen } from './camera.js';
import { px, py } from './frame.js';

/** How an edge is drawn; the later ones over the earlier ones. */
export const HIDDEN = 0;
export const FAINT = 1;
export const NORMAL = 2;
export const WAY = 3;
export const KIN = 4;
export const CRITICAL = 5;

// A path of so many curves: fewer cost more calls, more of them cost more to fill.
const BATCH = 150;
const HEADS_FROM = 0.5;
// More edges than this into one object share one arrowhead.
const OWN_HEADS = 6;

/**
 * The edges in the order in which they are drawn.
 * @param {import('./scene.js').Scene} scene @param {(from: number, to: number) => number} kindOf
 * @returns {{order: Uint32Array, kinds: Uint8Array}}
 */
export function sorted(scene, kindOf) {
  const count = scene.from.length;
  const kinds = new Uint8Array(count);
  const starts = new Uint32Array(CRITICAL + 2);
  for (let e = 0; e < count; e += 1) {
    kinds[e] = kindOf(scene.from[e], scene.to[e]);
    starts[kinds[e] + 1] += 1;
  }
  for (let kind = 1; kind < starts.length; kind += 1) starts[kind] += starts[kind - 1];
  const hidden = starts[HIDDEN + 1];
  const order = new Uint32Array(count - hidden);
  for (let e = 0; e < count; e += 1) if (kinds[e] !== HIDDEN) order[starts[kinds[e]]++ - hidden] = e;
  return { order, kinds };
}

/** @param {import('./scene.js').Scene} scene @param {number} e @param {import('./camera.js').Box} area @returns {boolean} */
function touches(scene, e, area) {
  const [ax, ay, bx, by] = [scene.ax[e], scene.ay[e], scene.bx[e], scene.by[e]];
  const bulge = bx > ax ? 0 : bend(ax, bx);
  if (Math.max(ax, bx) + bulge < area.x0 || Math.min(ax, bx) - bulge > area.x1) return false;
  return Math.max(ay, by) >= area.y0 && Math.min(ay, by) <= area.y1;
}

/**
 * @param {import('./scene.js').Scene} scene @param {Uint32Array} order @param {import('./camera.js').Box} area @param {number} most
 * @returns {number} how many edges are in this area, counted up to `most`
 */
export function countIn(scene, order, area, most) {
  let count = 0;
  for (let at = 0; at < order.length && count < most; at += 1) if (touches(scene, order[at], area)) count += 1;
  return count;
}

function bend(ax, bx) {
  const dx = bx - ax;
  return dx > 0 ? Math.max(dx / 2, Math.min(24, dx)) : Math.min(Math.max(60, -dx / 2), 320);
}

/** @param {CanvasRenderingContext2D} ctx @param {import('./frame.js').Frame} frame @param {import('./scene.js').Scene} scene @param {number} e */
export function curve(ctx, frame, scene, e) {
  const [ax, ay, bx, by] = [scene.ax[e], scene.ay[e], scene.bx[e], scene.by[e]];
  const c = bend(ax, bx);
  const y0 = py(frame, ay);
  const y1 = py(frame, by);
  ctx.moveTo(px(frame, ax), y0);
  if (ay === by && bx > ax) ctx.lineTo(px(frame, bx), y1);
  else ctx.bezierCurveTo(px(frame, ax + c), y0, px(frame, bx - c), y1, px(frame, bx), y1);
}

function head(ctx, frame, x, y, size) {
  const [tip, middle] = [px(frame, x), py(frame, y)];
  ctx.moveTo(tip, middle);
  ctx.lineTo(tip - size, middle - size * 0.55);
  ctx.lineTo(tip - size, middle + size * 0.55);
  ctx.closePath();
}

// So many edges on the stage are told apart; the more there are beyond, the fainter each is.
const CLEAR = 300;

function styleOf(kind, frame, colours, crowd) {
  const near = frame.k >= HEADS_FROM;
  const soft = Math.max(0.14, Math.min(1, (CLEAR / crowd) ** 0.7));
  switch (kind) {
    case FAINT: return { colour: colours['border-strong'], alpha: 0.25 * Math.max(0.3, soft), width: 1 };
    case WAY: return { colour: colours['state-failed'], alpha: 0.85, width: near ? 1.5 : 1 };
    case KIN: return { colour: colours.accent, alpha: near ? 0.9 : 0.7, width: near ? 1.75 : 1 };
    case CRITICAL: return { colour: colours.accent, alpha: 1, width: near ? 3 : 2 };
    default: return { colour: colours['border-strong'], alpha: 0.8 * soft, width: 1 };
  }
}

/**
 * Draws from a place in the order on, until `most` edges are drawn or all are.
 * @param {CanvasRenderingContext2D} ctx @param {import('./frame.js').Frame} frame @param {import('./scene.js').Scene} scene
 * @param {{order: Uint32Array, kinds: Uint8Array}} edges @param {Record<string, any>} colours
 * @param {number} at @param {number} most @param {number} crowd about how many edges the frame has
 * @returns {number} where it goes on; the length of the order: nowhere
 */
export function paint(ctx, frame, scene, { order, kinds }, colours, at, most, crowd) {
  const area = seen(frame, frame, frame.margin);
  const heads = frame.k >= HEADS_FROM;
  const size = Math.min(9, 7 * frame.k) * frame.dpr;
  let left = most;
  while (at < order.length && left > 0) {
    const kind = kinds[order[at]];
    const { colour, alpha, width } = styleOf(kind, frame, colours, crowd);
    ctx.globalAlpha = alpha;
    ctx.strokeStyle = ctx.fillStyle = colour;
    // A line of one point or less is drawn far quicker than a wider one.
    ctx.lineWidth = width === 1 ? 1 : width * frame.dpr;
    const batch = [];
    while (at < order.length && batch.length < BATCH && left > 0 && kinds[order[at]] === kind) {
      const e = order[at];
      at += 1;
      if (!touches(scene, e, area)) continue;
      batch.push(e);
      left -= kind >= WAY ? 3 : 1;
    }
    if (batch.length === 0) continue;
    ctx.beginPath();
    for (const e of batch) curve(ctx, frame, scene, e);
    ctx.stroke();
    if (!heads) continue;
    ctx.beginPath();
    for (const e of batch) {
      const to = scene.to[e];
      const [first, end] = scene.into.get(to);
      if (end - first <= OWN_HEADS) head(ctx, frame, scene.bx[e], scene.by[e], size);
      else if (e === first || kind !== NORMAL) head(ctx, frame, scene.bx[e], e === first ? scene.y[to] : scene.by[e], e === first ? size * 1.4 : size);
    }
    ctx.fill();
  }
  ctx.globalAlpha = 1;
  return at;
}
