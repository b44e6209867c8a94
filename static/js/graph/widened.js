// A layout for a stage that is wider than it: columns and boxes are wider, so that there is more room for names and less
// for nothing. Pure.

// The picture takes so much of the stage's width: a panel beside it shall not shrink it much.
const SHARE = 0.8;
// What the stage keeps free above and below.
const AROUND = 48;
const MOST = 2.4;
// No name needs a wider box, in screen pixels.
const WIDEST = 300;
// As large as a small graph is shown.
const LARGEST = 1.5;

/**
 * @param {any} layout the server's @param {import('./camera.js').Size} stage
 * @returns {any} a layout
 */
export function widened(layout, { width, height }) {
  const scale = Math.min(LARGEST, Math.max(0, height - AROUND) / Math.max(1, layout.height));
  const by = Math.min(MOST, (SHARE * width) / (layout.width * scale), WIDEST / (layout.node_width * scale));
  if (!(by > 1)) return layout;
  return {
    ...layout,
    node_width: layout.node_width * by,
    width: layout.width * by,
    x: Array.from(layout.x, (x) => x * by),
    bands: layout.bands.map((band) => ({ ...band, x0: band.x0 * by, x1: band.x1 * by })),
  };
}
