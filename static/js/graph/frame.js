// A canvas as seen at a pose: from world units to its pixels. Pure.

/**
 * @typedef {{x: number, y: number, k: number, width: number, height: number, margin: number, dpr: number}} Frame
 *   the pose, the stage's size, what the canvas has around the stage (both in CSS pixels) and its pixels for each of these
 */

/** @param {import('./camera.js').Pose} pose @param {import('./camera.js').Size} size @param {number} margin @param {number} dpr @returns {Frame} */
export function frameOf(pose, size, margin, dpr) {
  return { x: pose.x, y: pose.y, k: pose.k, width: size.width, height: size.height, margin, dpr };
}

/** @param {Frame} frame @param {number} x @returns {number} pixels of the canvas */
export function px(frame, x) {
  return ((x - frame.x) * frame.k + frame.margin) * frame.dpr;
}

/** @param {Frame} frame @param {number} y @returns {number} pixels of the canvas */
export function py(frame, y) {
  return ((y - frame.y) * frame.k + frame.margin) * frame.dpr;
}

/** How much is drawn of an object, by how large it is on the screen. */
export const DUST = 0;
export const MARK = 1;
export const GLYPH = 2;
export const LINE = 3;
export const WHOLE = 4;

/** @param {Frame} frame @param {number} nodeHeight world units @returns {number} */
export function levelOf(frame, nodeHeight) {
  const height = frame.k * nodeHeight;
  if (height * frame.dpr < 3.5) return DUST;
  if (height < 9) return MARK;
  if (height < 13) return GLYPH;
  if (height < 30) return LINE;
  return WHOLE;
}

/** The box of an object in a canvas' whole pixels. */
export function boxOf(frame, scene, i) {
  const w = Math.max(1, Math.round(scene.nodeWidth * frame.k * frame.dpr));
  const h = Math.max(1, Math.round(scene.nodeHeight * frame.k * frame.dpr));
  return { x: Math.round(px(frame, scene.x[i]) - w / 2), y: Math.round(py(frame, scene.y[i]) - h / 2), w, h };
}
