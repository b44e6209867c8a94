// The strip behind the slider: how many objects ended when, failures marked by colour and by a mark of their own.
// Told the counts; knows no run.

import { colours } from '../theme.js';

const FOOT = 6;
const HEAD = 8;

/**
 * @param {HTMLCanvasElement} canvas
 * @param {{ended: Uint32Array, failed: Uint32Array, most: number}} counts
 * @param {number} inset where the first and the last instant lie, from the edges: half a thumb
 */
export function paintStrip(canvas, counts, inset) {
  const { clientWidth: width, clientHeight: height } = canvas;
  if (width === 0 || height === 0) return;
  const ratio = Math.min(2, devicePixelRatio || 1);
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
  const ctx = canvas.getContext('2d');
  ctx.setTransform(wide / width, 0, 0, high / height, 0, 0);
  ctx.clearRect(0, 0, width, height);
  const c = colours();
  const inner = width - 2 * inset;
  const base = height - FOOT;
  ctx.fillStyle = c['border-strong'];
  ctx.fillRect(inset, base, inner, 2);
  const parts = counts.ended.length;
  const step = inner / parts;
  for (let k = 0; k < parts; k += 1) {
    if (counts.ended[k] === 0) continue;
    const tall = Math.max(2, ((base - HEAD) * counts.ended[k]) / counts.most);
    const x = inset + k * step;
    const wide = Math.max(1, step - (step > 3 ? 1 : 0));
    ctx.fillStyle = c.states[4];
    ctx.fillRect(x, base - tall, wide, tall);
    if (counts.failed[k] === 0) continue;
    const part = Math.max(2, (tall * counts.failed[k]) / counts.ended[k]);
    ctx.fillStyle = c.states[5];
    ctx.fillRect(x, base - part, wide, part);
    const middle = x + wide / 2;
    ctx.beginPath();
    ctx.moveTo(middle - 3, 0);
    ctx.lineTo(middle + 3, 0);
    ctx.lineTo(middle, 5);
    ctx.fill();
  }
}
