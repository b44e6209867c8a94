// Draws objects on a canvas, as much of each as its size on the screen allows. What an object looks like without its
// words is drawn once for each state and stage, and copied from then on. It knows no camera that moves and no events.

import { GLYPHS, STATES } from '../format.js';
import { boxOf, DUST, GLYPH, LINE, MARK, WHOLE, levelOf } from './frame.js';
import { seen } from './camera.js';
import { dust, mark, tone } from './marks.js';

const FONT = 'system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif';
// Around a box, for the outline of the critical path.
const PAD = 4;
const DIMMED = 0.2;
// In the end nearly all are loaded: from afar the others shall catch the eye.
const CALM = 0.72;
const LOADED = STATES.indexOf('loaded');
const FAILED = STATES.indexOf('failed');

/**
 * @typedef {object} Look
 * @property {Record<string, any>} colours as theme.js has them
 * @property {Uint8Array | null} dim 1 for each object that stands back
 * @property {Set<number> | null} critical the objects that are marked as critical
 * @property {(i: number) => number} attempt
 * @property {(i: number) => string} signs what stands beside the state
 */

export class Nodes {
  #sprites = new Map();
  #spritesFor = '';
  #names = new Map();
  #ids = new Map();
  #tones = null;
  #image = null;

  /** Forgets what was drawn in other colours. */
  restyle() {
    this.#sprites.clear();
    this.#tones = null;
  }

  /** Forgets the words of another scene. */
  forget() {
    this.#names.clear();
    this.#ids.clear();
  }

  /**
   * All that is in the frame.
   * @param {CanvasRenderingContext2D} ctx @param {import('./frame.js').Frame} frame @param {import('./scene.js').Scene} scene
   * @param {Uint8Array} states @param {Look} look @param {number} most so many are drawn with their words
   * @returns {number[]} those of which the words are still to be drawn
   */
  all(ctx, frame, scene, states, look, most) {
    ctx.clearRect(0, 0, ctx.canvas.width, ctx.canvas.height);
    if (levelOf(frame, scene.nodeHeight) === DUST) {
      this.#dust(ctx, frame, scene, states, look);
      return [];
    }
    const visible = [];
    scene.within(seen(frame, frame, frame.margin), PAD, (i) => visible.push(i));
    // Far away what failed is larger than the others: on top of them.
    visible.sort((a, b) => (states[a] === FAILED) - (states[b] === FAILED));
    this.#draw(ctx, frame, scene, states, look, visible);
    this.words(ctx, frame, scene, look, visible.slice(0, most));
    return visible.slice(most);
  }

  /**
   * Some of them anew. Where that is no cheaper, or not possible, all.
   * @param {CanvasRenderingContext2D} ctx @param {import('./frame.js').Frame} frame @param {import('./scene.js').Scene} scene
   * @param {Uint8Array} states @param {Look} look @param {Iterable<number>} some
   */
  some(ctx, frame, scene, states, look, some) {
    if (levelOf(frame, scene.nodeHeight) === DUST) {
      this.all(ctx, frame, scene, states, look, 0);
      return;
    }
    const area = seen(frame, frame, frame.margin);
    const [w, h] = [scene.nodeWidth / 2 + PAD / frame.k, scene.nodeHeight / 2 + PAD / frame.k];
    const visible = [];
    for (const i of some) {
      if (!scene.has(i)) continue;
      if (scene.x[i] + w < area.x0 || scene.x[i] - w > area.x1 || scene.y[i] + h < area.y0 || scene.y[i] - h > area.y1) continue;
      visible.push(i);
      const box = boxOf(frame, scene, i);
      const pad = this.#pad(frame, scene);
      ctx.clearRect(box.x - pad, box.y - pad, box.w + 2 * pad, box.h + 2 * pad);
    }
    this.#draw(ctx, frame, scene, states, look, visible);
    this.words(ctx, frame, scene, look, visible);
  }

  /** What is drawn beside a box; never so much that it reaches another. */
  #pad(frame, scene) {
    return Math.max(1, Math.min(PAD * frame.dpr, Math.floor(scene.nodeHeight * frame.k * frame.dpr * 0.17)));
  }

  #draw(ctx, frame, scene, states, look, visible) {
    const level = levelOf(frame, scene.nodeHeight);
    if (level === MARK) this.#marks(ctx, frame, scene, states, look, visible);
    else this.#boxes(ctx, frame, scene, states, look, visible, level);
    ctx.globalAlpha = 1;
  }

  #dust(ctx, frame, scene, states, look) {
    const { width, height } = ctx.canvas;
    if (this.#image?.width !== width || this.#image?.height !== height) this.#image = ctx.createImageData(width, height);
    else this.#image.data.fill(0);
    this.#tones ??= Uint32Array.from(look.colours.states, tone);
    dust(this.#image, frame, scene, states, this.#tones, look.dim);
    ctx.putImageData(this.#image, 0, 0);
  }

  #marks(ctx, frame, scene, states, look, visible) {
    const { colours, dim, critical } = look;
    for (const i of visible) {
      const { x, y, w, h } = boxOf(frame, scene, i);
      ctx.globalAlpha = dim?.[i] ? DIMMED : states[i] === LOADED ? CALM : 1;
      if (critical?.has(i)) {
        ctx.fillStyle = colours.accent;
        ctx.fillRect(x - 2, y - 2, w + 4, h + 4);
      }
      mark(ctx, states[i], x, y, w, h, colours.states[states[i]], colours.surface);
    }
  }

  #boxes(ctx, frame, scene, states, look, visible, level) {
    const { dim, critical } = look;
    const pad = this.#pad(frame, scene);
    const { w, h } = boxOf(frame, scene, visible[0] ?? 0);
    const key = `${w} ${h} ${frame.dpr} ${level}`;
    if (key !== this.#spritesFor) {
      this.#sprites.clear();
      this.forget();
      this.#spritesFor = key;
    }
    for (const i of visible) {
      const { x, y } = boxOf(frame, scene, i);
      const [state, stage, marked] = [states[i], scene.graph.stage[i], critical?.has(i) === true];
      ctx.globalAlpha = dim?.[i] ? DIMMED : 1;
      ctx.drawImage(this.#sprite(state, stage, marked, w, h, pad, level, frame, look.colours), x - pad, y - pad);
    }
  }

  /** A box without words: ground, outline, the stage's edge, the state's sign. */
  #sprite(state, stage, marked, w, h, pad, level, frame, colours) {
    const key = state * 8 + stage * 2 + Number(marked);
    let canvas = this.#sprites.get(key);
    if (canvas) return canvas;
    canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [w + 2 * pad, h + 2 * pad];
    const ctx = canvas.getContext('2d');
    const { dpr } = frame;
    const radius = Math.min(h / 4, 6 * frame.k * dpr);
    if (marked) {
      ctx.fillStyle = colours.accent;
      ctx.beginPath();
      ctx.roundRect(0, 0, w + 2 * pad, h + 2 * pad, radius + pad);
      ctx.fill();
    }
    ctx.translate(pad, pad);
    ctx.beginPath();
    ctx.roundRect(0, 0, w, h, radius);
    ctx.fillStyle = colours.surface;
    ctx.fill();
    ctx.save();
    ctx.clip();
    ctx.fillStyle = colours.statesBg[state];
    ctx.fillRect(0, 0, w, h);
    const edge = edgeOf(w, dpr);
    ctx.fillStyle = colours.stages[stage];
    ctx.fillRect(0, 0, edge, h);
    ctx.restore();
    const line = Math.max(1, Math.round((state === FAILED ? 1.5 : 1) * dpr));
    ctx.beginPath();
    ctx.roundRect(line / 2, line / 2, w - line, h - line, Math.max(0, radius - line / 2));
    ctx.strokeStyle = colours.states[state];
    ctx.lineWidth = line;
    ctx.stroke();
    ctx.fillStyle = colours.states[state];
    ctx.textAlign = 'center';
    ctx.textBaseline = 'alphabetic';
    const size = level === GLYPH ? h * 0.86 : level === LINE ? h * 0.66 : h * 0.4;
    ctx.font = `700 ${size}px ${FONT}`;
    const glyph = GLYPHS[STATES[state]];
    const bounds = ctx.measureText(glyph);
    const middle = level === GLYPH ? (w + edge) / 2 : signOf(w, h, dpr, level);
    ctx.fillText(glyph, middle, h / 2 + (bounds.actualBoundingBoxAscent - bounds.actualBoundingBoxDescent) / 2);
    this.#sprites.set(key, canvas);
    return canvas;
  }

  /**
   * The words of objects that are drawn already.
   * @param {CanvasRenderingContext2D} ctx @param {import('./frame.js').Frame} frame @param {import('./scene.js').Scene} scene
   * @param {Look} look @param {number[]} visible
   */
  words(ctx, frame, scene, look, visible) {
    const level = levelOf(frame, scene.nodeHeight);
    if (level < LINE || visible.length === 0) return;
    const { graph } = scene;
    const { w, h } = boxOf(frame, scene, visible[0]);
    const { dpr } = frame;
    const whole = level === WHOLE;
    const left = whole ? signOf(w, h, dpr, level) + h * 0.33 : signOf(w, h, dpr, level) + h * 0.45;
    const right = w - 6 * dpr * Math.min(1.3, frame.k);
    const line = Math.min(11, 0.75 * scene.nodeHeight * frame.k);
    const bold = `650 ${(whole ? Math.max(10.5, 13 * frame.k) : line) * dpr}px ${FONT}`;
    const plain = `400 ${(whole ? Math.max(10, 12 * frame.k) : line) * dpr}px ${FONT}`;
    ctx.textAlign = 'left';
    ctx.textBaseline = 'middle';
    ctx.fillStyle = look.colours.text;
    ctx.font = bold;
    for (const i of visible) {
      const { x, y } = boxOf(frame, scene, i);
      ctx.globalAlpha = look.dim?.[i] ? DIMMED : 1;
      const attempt = whole ? look.attempt(i) : 1;
      const times = [whole ? look.signs(i) : '', attempt > 1 ? `×${attempt}` : ''].filter(Boolean).join(' ');
      let room = right - left;
      if (times !== '') {
        const wide = ctx.measureText(times).width;
        room -= wide + 4 * dpr;
        ctx.fillText(times, x + right - wide, y + h * 0.31);
      }
      const id = elided(ctx, this.#ids, i, String(graph.ids[i]), room);
      ctx.fillText(id.text, x + left, y + h * (whole ? 0.31 : 0.52));
    }
    ctx.font = plain;
    for (const i of visible) {
      const name = graph.names[i];
      if (!name) continue;
      const start = whole ? left : left + (this.#ids.get(i)?.width ?? 0) + 5 * dpr;
      if (right - start < 48 * dpr) continue; // two letters name nothing
      const { x, y } = boxOf(frame, scene, i);
      ctx.globalAlpha = look.dim?.[i] ? DIMMED : 1;
      ctx.fillText(elided(ctx, this.#names, i, name, right - start).text, x + start, y + h * (whole ? 0.7 : 0.52));
    }
    ctx.globalAlpha = 1;
  }
}

/** How wide the edge in the stage's colour is. */
function edgeOf(w, dpr) {
  return Math.max(2 * dpr, Math.round(w / 46));
}

/** Where the middle of the state's sign is. */
function signOf(w, h, dpr, level) {
  return edgeOf(w, dpr) + h * (level === WHOLE ? 0.34 : 0.48);
}

/**
 * A text as far as there is room, with an ellipsis. Measuring costs more than drawing: what was found is remembered, and
 * where to cut is guessed from the whole width.
 */
function elided(ctx, known, i, text, room) {
  const before = known.get(i);
  if (before && before.room === room) return before;
  const width = ctx.measureText(text).width;
  const made = { text, width: Math.min(width, room), room };
  if (width > room) {
    const short = (length) => `${text.slice(0, length).trimEnd()}…`;
    let length = Math.max(0, Math.floor((text.length * room) / width) - 1);
    while (length > 0 && ctx.measureText(short(length)).width > room) length -= 1;
    made.text = length > 0 ? short(length) : '';
  }
  known.set(i, made);
  return made;
}
