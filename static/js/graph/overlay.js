// What comes and goes over and under the boxes: the object under the pointer with its edges, the selected one, the one that the
// keys are at, the match that is looked at, and a sign of life on those that run.

import { STATES } from '../format.js';
import { reach } from './kin.js';
import { curve } from './edges.js';
import { boxOf, GLYPH, levelOf } from './frame.js';
import { seen } from './camera.js';

const RUNNING = STATES.indexOf('running');
// The edges shown for the object under the pointer: the nearest ones, for this is drawn at each movement.
const HOVERED = 300;
// More than so many at once are a pattern of their own.
const LIVELY = 400;
const TURN_MS = 1_600;

/**
 * @typedef {object} Over
 * @property {number} hovered @property {number} selected @property {number} cursor @property {number} match each an object, or -1
 * @property {number | null} lively the time for what moves, ms; null: nothing moves
 * @property {Uint8Array | null} dim
 */

/** The edges from an object's ancestors and to its descendants. */
export function edgesAround(scene, i) {
  const { graph } = scene;
  const wanted = [];
  for (const up of [true, false]) {
    const some = [i, ...reach(up ? graph.parents : graph.children, [i], HOVERED)];
    const inside = new Set(some);
    for (const to of up ? some : reach(graph.children, [i], HOVERED)) {
      const [first, end] = scene.into.get(to) ?? [0, 0];
      for (let e = first; e < end && wanted.length < 2 * HOVERED; e += 1) if (inside.has(scene.from[e])) wanted.push(e);
    }
  }
  return wanted;
}

/**
 * The edges around the object under the pointer; they lie under the boxes, on a canvas of their own.
 * @param {CanvasRenderingContext2D} ctx @param {import('./frame.js').Frame} frame @param {import('./scene.js').Scene} scene
 * @param {Record<string, any>} colours @param {number} hovered an object, or -1
 */
export function paintUnder(ctx, frame, scene, colours, hovered) {
  ctx.clearRect(0, 0, ctx.canvas.width, ctx.canvas.height);
  if (!scene.has(hovered)) return;
  ctx.strokeStyle = colours.accent;
  ctx.lineWidth = frame.dpr;
  ctx.beginPath();
  for (const e of edgesAround(scene, hovered)) curve(ctx, frame, scene, e);
  ctx.stroke();
}

/**
 * @param {CanvasRenderingContext2D} ctx @param {import('./frame.js').Frame} frame @param {import('./scene.js').Scene} scene
 * @param {Uint8Array} states @param {Record<string, any>} colours @param {Over} over
 * @returns {boolean} whether something on it moves
 */
export function paintOver(ctx, frame, scene, states, colours, over) {
  ctx.clearRect(0, 0, ctx.canvas.width, ctx.canvas.height);
  if (scene.has(over.hovered)) ring(ctx, frame, scene, over.hovered, colours.accent, 1.5, 2);
  if (scene.has(over.match)) ring(ctx, frame, scene, over.match, colours['state-retrying'], 3, 5);
  if (scene.has(over.selected)) ring(ctx, frame, scene, over.selected, colours.text, 2.5, 4);
  if (scene.has(over.cursor)) ring(ctx, frame, scene, over.cursor, colours.focus, 2, 7, [5, 3]);
  return over.lively !== null && lively(ctx, frame, scene, states, colours, over);
}

function ring(ctx, frame, scene, i, colour, width, away, dashes = []) {
  const { x, y, w, h } = boxOf(frame, scene, i);
  const { dpr } = frame;
  // From afar a box is smaller than what marks it.
  const least = Math.max(0, 10 * dpr - h) / 2;
  const out = away * dpr + least;
  ctx.strokeStyle = colour;
  ctx.lineWidth = width * dpr;
  ctx.setLineDash(dashes.map((dash) => dash * dpr));
  ctx.beginPath();
  ctx.roundRect(x - out, y - out, w + 2 * out, h + 2 * out, Math.min(h / 4, 6 * frame.k * dpr) + out);
  ctx.stroke();
  ctx.setLineDash([]);
}

/** A short bar that goes along the bottom of each box that runs. */
function lively(ctx, frame, scene, states, colours, over) {
  if (levelOf(frame, scene.nodeHeight) < GLYPH) return false;
  const running = [];
  scene.within(seen(frame, frame), 0, (i) => {
    if (states[i] === RUNNING && !over.dim?.[i]) running.push(i);
  });
  if (running.length > LIVELY) return false;
  const turn = (over.lively % TURN_MS) / TURN_MS;
  ctx.fillStyle = colours.states[RUNNING];
  for (const i of running) {
    const { x, y, w, h } = boxOf(frame, scene, i);
    const [rim, high] = [3 * frame.dpr, Math.max(1, Math.round(Math.min(3, 3 * frame.k) * frame.dpr))];
    const track = w - 2 * rim;
    const long = track * 0.3;
    const from = Math.max(0, turn * (track + long) - long);
    const to = Math.min(track, turn * (track + long));
    ctx.fillRect(x + rim + from, y + h - high - frame.dpr, Math.max(0, to - from), high);
  }
  return running.length > 0;
}
