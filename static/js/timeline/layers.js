// The two canvases, one above the other, as large as what they lie in and as fine as the screen.
// Knows nothing of what is painted on them.

import { el } from '../dom.js';

const FINEST = 2; // more device pixels than this per CSS pixel cost time, and nobody sees them

export class Layers {
  constructor() {
    this.canvases = [el('canvas', { 'aria-hidden': 'true' }), el('canvas', { 'aria-hidden': 'true' })];
    // Opaque: the letters on it are smoother for it.
    this.base = this.canvases[0].getContext('2d', { alpha: false });
    this.over = this.canvases[1].getContext('2d');
    this.root = el('div', { class: 'tl-stick' }, this.canvases);
    this.width = 0;
    this.height = 0;
    this.ratio = 1;
  }

  /** @param {number} width @param {number} height in CSS pixels @returns {boolean} whether the canvases are new, and empty */
  fit(width, height) {
    const ratio = Math.min(FINEST, devicePixelRatio || 1);
    if (width === 0 || height === 0) return false;
    if (width === this.width && height === this.height && ratio === this.ratio) return false;
    Object.assign(this, { width, height, ratio });
    for (const canvas of this.canvases) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
      canvas.getContext('2d').setTransform(canvas.width / width, 0, 0, canvas.height / height, 0, 0);
    }
    this.root.style.height = `${height}px`;
    return true;
  }
}
