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

/** Text cut to a width. Measuring is slow, so each text is measured once; the rest is by proportion. */
export class Fitter {
  #widths = new Map();

  /** @param {CanvasRenderingContext2D} ctx with its font set @param {string} text @param {number} width @returns {string} */
  fit(ctx, text, width) {
    const whole = this.width(ctx, text);
    if (whole <= width) return text;
    const keep = Math.floor((text.length * (width - 10)) / whole);
    return keep < 2 ? '' : `${text.slice(0, keep).trimEnd()}…`;
  }

  /** @param {CanvasRenderingContext2D} ctx @param {string} text */
  width(ctx, text) {
    const key = `${ctx.font}\n${text}`;
    let width = this.#widths.get(key);
    if (width === undefined) {
      if (this.#widths.size > 20000) this.#widths.clear();
      width = ctx.measureText(text).width;
      this.#widths.set(key, width);
    }
    return width;
  }
}
