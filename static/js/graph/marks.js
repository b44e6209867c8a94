// How a state looks from afar: a small figure of upright rectangles, another one for each state, so that none is told by
// its colour alone. Drawn in the picture, in the minimap's colours, and in the legend.

/**
 * @param {CanvasRenderingContext2D} ctx @param {number} state its code
 * @param {number} x @param {number} y @param {number} w @param {number} h whole pixels
 * @param {string} strong the state's colour @param {string} ground what shows through
 */
export function mark(ctx, state, x, y, w, h, strong, ground) {
  const line = Math.max(1, Math.round(h / 6));
  const inside = (left, right) => {
    ctx.fillStyle = ground;
    ctx.fillRect(x + left, y + line, Math.max(1, w - left - right), Math.max(1, h - 2 * line));
  };
  ctx.fillStyle = strong;
  switch (state) {
    case 0: // waiting: hollow
      ctx.fillRect(x, y, w, h);
      inside(line, line);
      break;
    case 1: // ready: half full
      ctx.fillRect(x, y, w, h);
      inside(Math.round(w / 2), line);
      break;
    case 2: // running: full, with a gap at the end
      ctx.fillRect(x, y, Math.round(w * 0.66), h);
      ctx.fillRect(x + w - Math.max(1, Math.round(w * 0.16)), y, Math.max(1, Math.round(w * 0.16)), h);
      break;
    case 3: { // retrying: two halves
      const half = Math.max(1, Math.round(w * 0.36));
      ctx.fillRect(x, y, half, h);
      ctx.fillRect(x + w - half, y, half, h);
      break;
    }
    case 4: // loaded: full
      ctx.fillRect(x, y, w, h);
      break;
    case 5: { // failed: larger than all others, with a bar in it
      const more = Math.max(1, Math.round(h * 0.2));
      ctx.fillRect(x - more, y - more, w + 2 * more, h + 2 * more);
      ctx.fillStyle = ground;
      const arm = Math.max(1, Math.round(h / 5));
      const middle = y + Math.round((h - arm) / 2);
      ctx.fillRect(x + Math.round(w * 0.2), middle, Math.round(w * 0.6), arm);
      break;
    }
    case 6: { // skipped: a thin line
      const thin = Math.min(h, Math.max(2, Math.round(h * 0.4)));
      ctx.fillRect(x, y + Math.round((h - thin) / 2), w, thin);
      break;
    }
    default: { // cancelled: two thin lines
      const thin = Math.max(1, Math.round(h / 4));
      ctx.fillRect(x, y, w, thin);
      ctx.fillRect(x, y + h - thin, w, thin);
    }
  }
}

/**
 * Thousands of objects that are hardly larger than a pixel, set point by point.
 * @param {ImageData} image @param {import('./frame.js').Frame} frame @param {import('./scene.js').Scene} scene
 * @param {Uint8Array} states @param {Uint32Array} tones for each state, as points of the image @param {Uint8Array | null} dim
 */
export function dust(image, frame, scene, states, tones, dim) {
  const points = new Uint32Array(image.data.buffer);
  const { width, height } = image;
  const scale = frame.k * frame.dpr;
  const w = Math.max(1, Math.round(scene.nodeWidth * scale));
  // Rather too high than stripes that the eye takes for something.
  const h = Math.max(1, Math.round(scene.nodeHeight * scale + 0.3));
  const [left, top] = [frame.margin * frame.dpr - frame.x * scale - w / 2, frame.margin * frame.dpr - frame.y * scale - h / 2];
  const put = (i, more) => {
    const tone = dim && dim[i] ? (tones[states[i]] & 0x00ffffff) | 0x30000000 : tones[states[i]];
    const x0 = Math.max(0, Math.round(scene.x[i] * scale + left) - more);
    const x1 = Math.min(width, Math.round(scene.x[i] * scale + left) + w + more);
    const y0 = Math.max(0, Math.round(scene.y[i] * scale + top) - more);
    const y1 = Math.min(height, Math.round(scene.y[i] * scale + top) + h + more);
    for (let y = y0; y < y1; y += 1) points.fill(tone, y * width + x0, y * width + Math.max(x0, x1));
  };
  for (const i of scene.members) if (states[i] !== FAILED) put(i, 0);
  // What failed is on top, and larger.
  for (const i of scene.members) if (states[i] === FAILED) put(i, 1);
}

const FAILED = 5;

/** @param {string} colour as CSS has it @returns {number} as a point of an image (little-endian, as all machines with a browser are) */
export function tone(colour) {
  const probe = document.createElement('canvas').getContext('2d');
  probe.fillStyle = colour;
  const hex = probe.fillStyle; // #rrggbb, whatever it was written as
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
}
