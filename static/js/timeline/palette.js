// What the timeline paints with: the theme's colours, the patterns that tell states apart without colour, the font, and
// text cut to a width. Knows no run.

import { CANCELLED, FAILED, READY, RETRYING } from './attempts.js';
import { colours } from '../theme.js';

const TILE = 6;

/**
 * @param {CanvasRenderingContext2D} ctx @param {number} ratio device pixels per CSS pixel @param {string} family
 */
export function paletteOf(ctx, ratio, family) {
  const c = colours();
  return {
    ...c,
    font: `12px ${family}`,
    small: `11px ${family}`,
    bold: `600 12px ${family}`,
    patterns: {
      [FAILED]: hatch(ctx, ratio, c.states[FAILED], 1),
      [RETRYING]: hatch(ctx, ratio, c.states[RETRYING], -1),
      [CANCELLED]: dots(ctx, ratio, c.states[CANCELLED]),
      [READY]: hatch(ctx, ratio, c.states[READY], 1),
    },
  };
}

function tile(ctx, ratio, draw) {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = Math.round(TILE * ratio);
  const own = canvas.getContext('2d');
  own.scale(canvas.width / TILE, canvas.height / TILE);
  draw(own);
  const pattern = ctx.createPattern(canvas, 'repeat');
  pattern.setTransform(new DOMMatrix().scale(TILE / canvas.width));
  return pattern;
}

function hatch(ctx, ratio, colour, slope) {
  return tile(ctx, ratio, (own) => {
    own.strokeStyle = colour;
    own.globalAlpha = 0.45;
    own.lineWidth = 1.2;
    own.beginPath();
    for (const shift of [-TILE, 0, TILE]) {
      own.moveTo(shift - 1, slope > 0 ? TILE + 1 : -1);
      own.lineTo(shift + TILE + 1, slope > 0 ? -1 : TILE + 1);
    }
    own.stroke();
  });
}

function dots(ctx, ratio, colour) {
  return tile(ctx, ratio, (own) => {
    own.fillStyle = colour;
    own.globalAlpha = 0.55;
    own.fillRect(1, 1, 1.5, 1.5);
    own.fillRect(4, 4, 1.5, 1.5);
  });
}

const LIMIT = 20_000;
// A bar that grows by the pixel does not have its text cut anew at each of them.
const GRAIN = 4;

/** Text cut to a width. Measuring is slow, and so is asking a context for its font: both are remembered. */
export class Fitter {
  #fonts = new Map();
  #known = new Map();

  /** Sets the font that is measured and written with. @param {CanvasRenderingContext2D} ctx @param {string} font */
  use(ctx, font) {
    ctx.font = font;
    if (!this.#fonts.has(font)) this.#fonts.set(font, new Map());
    this.#known = this.#fonts.get(font);
  }

  /** @param {CanvasRenderingContext2D} ctx @param {string} text @param {number} room @returns {string} */
  fit(ctx, text, room) {
    const entry = this.#entry(ctx, text);
    if (entry.width <= room) return text;
    const width = Math.floor(room / GRAIN) * GRAIN;
    if (entry.room === width) return entry.cut;
    entry.room = width;
    entry.cut = '';
    // By proportion first; letters differ in width, so it may take a few less.
    for (let keep = Math.floor((text.length * width) / entry.width); keep >= 2; keep -= 1) {
      const cut = `${text.slice(0, keep).trimEnd()}…`;
      if (ctx.measureText(cut).width > width) continue;
      entry.cut = cut;
      break;
    }
    return entry.cut;
  }

  /** @param {CanvasRenderingContext2D} ctx @param {string} text */
  width(ctx, text) {
    return this.#entry(ctx, text).width;
  }

  #entry(ctx, text) {
    let entry = this.#known.get(text);
    if (!entry) {
      if (this.#known.size > LIMIT) this.#known.clear();
      entry = { width: ctx.measureText(text).width, room: -1, cut: '' };
      this.#known.set(text, entry);
    }
    return entry;
  }
}
