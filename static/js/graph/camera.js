// Where the picture is seen from. Pure: world units are the layout's pixels, screen units are CSS pixels of the stage.
// It does not know what the picture shows.

/** @typedef {{x: number, y: number, k: number}} Pose the world's point at the stage's top left corner, and the scale */
/** @typedef {{width: number, height: number}} Size */
/** @typedef {{x0: number, y0: number, x1: number, y1: number}} Box */

/** Beyond this, boxes would be larger than any screen needs. */
export const CLOSEST = 2.5;
/** So much of the picture always stays on the stage, in screen pixels. */
const KEPT = 96;

/** @param {Pose} pose @param {number} x @param {number} y @returns {[number, number]} */
export function toScreen(pose, x, y) {
  return [(x - pose.x) * pose.k, (y - pose.y) * pose.k];
}

/** @param {Pose} pose @param {number} x @param {number} y @returns {[number, number]} */
export function toWorld(pose, x, y) {
  return [pose.x + x / pose.k, pose.y + y / pose.k];
}

/**
 * What of the world is on the stage.
 * @param {Pose} pose @param {Size} size @param {number} [around] screen pixels more on every side
 * @returns {Box}
 */
export function seen(pose, size, around = 0) {
  return {
    x0: pose.x - around / pose.k,
    y0: pose.y - around / pose.k,
    x1: pose.x + (size.width + around) / pose.k,
    y1: pose.y + (size.height + around) / pose.k,
  };
}

/**
 * Shows a whole box, in the middle.
 * @param {Box} box @param {Size} size
 * @param {{top?: number, side?: number, bottom?: number, closest?: number}} [room] what the stage covers itself, in screen pixels
 * @returns {Pose}
 */
export function fitted(box, size, { top = 0, side = 0, bottom = side, closest = 1 } = {}) {
  const width = Math.max(1, size.width - 2 * side);
  const height = Math.max(1, size.height - top - bottom);
  const k = Math.min(closest, width / Math.max(1, box.x1 - box.x0), height / Math.max(1, box.y1 - box.y0));
  return {
    x: (box.x0 + box.x1) / 2 - size.width / 2 / k,
    y: (box.y0 + box.y1) / 2 - (top + height / 2) / k,
    k,
  };
}

/**
 * Comes closer (factor above 1) or goes away; the point under the pointer stays under it.
 * @param {Pose} pose @param {number} factor @param {number} sx @param {number} sy
 * @param {{farthest: number, closest?: number}} limits
 * @returns {Pose}
 */
export function zoomed(pose, factor, sx, sy, { farthest, closest = CLOSEST }) {
  const k = Math.min(Math.max(pose.k * factor, Math.min(farthest, closest)), closest);
  const [x, y] = toWorld(pose, sx, sy);
  return { x: x - sx / k, y: y - sy / k, k };
}

/** @param {Pose} pose @param {number} dx @param {number} dy screen pixels by which the picture moves @returns {Pose} */
export function panned(pose, dx, dy) {
  return { x: pose.x - dx / pose.k, y: pose.y - dy / pose.k, k: pose.k };
}

/** @param {Size} size @param {number} x @param {number} y @param {number} k @returns {Pose} with this point in the middle */
export function centred(size, x, y, k) {
  return { x: x - size.width / 2 / k, y: y - size.height / 2 / k, k };
}

/**
 * Keeps a part of the picture on the stage: nobody loses it by one wide drag.
 * @param {Pose} pose @param {Box} box @param {Size} size @returns {Pose}
 */
export function kept(pose, box, size) {
  const rim = Math.min(KEPT, size.width / 3, size.height / 3) / pose.k;
  const between = (value, least, most) => Math.min(Math.max(value, Math.min(least, most)), Math.max(least, most));
  return {
    x: between(pose.x, box.x0 - size.width / pose.k + rim, box.x1 - rim),
    y: between(pose.y, box.y0 - size.height / pose.k + rim, box.y1 - rim),
    k: pose.k,
  };
}

/**
 * Leaves no more of the stage empty than is needed: where the picture is smaller than the stage it stands in the middle.
 * @param {Pose} pose @param {Box} box @param {Size} size @param {number} [top] what the stage covers at its top @returns {Pose}
 */
export function filled(pose, box, size, top = 0) {
  const along = (value, least, most, room, before) => {
    const [from, to] = [least - before / pose.k, most - room / pose.k];
    return from > to ? (from + to) / 2 : Math.min(Math.max(value, from), to);
  };
  return { x: along(pose.x, box.x0, box.x1, size.width, 0), y: along(pose.y, box.y0, box.y1, size.height, top), k: pose.k };
}

/**
 * On the way from a pose to another; the scale changes by equal ratios, so that the way looks even.
 * @param {Pose} from @param {Pose} to @param {Size} size @param {number} part 0 to 1 @returns {Pose}
 */
export function between(from, to, size, part) {
  if (part >= 1) return { ...to };
  const k = from.k * (to.k / from.k) ** part;
  // The middle of the stage moves as fast as the scale lets it.
  const share = to.k === from.k ? part : (1 / from.k - 1 / k) / (1 / from.k - 1 / to.k);
  const middle = (pose) => [pose.x + size.width / 2 / pose.k, pose.y + size.height / 2 / pose.k];
  const [[ax, ay], [bx, by]] = [middle(from), middle(to)];
  return centred(size, ax + (bx - ax) * share, ay + (by - ay) * share, k);
}

/**
 * How a layer that was painted at one pose is moved to stand right at another.
 * @param {Pose} painted @param {Pose} pose @param {number} margin what the layer has around the stage, in screen pixels
 * @returns {{x: number, y: number, scale: number}} translation of its top left corner and scale
 */
export function shift(painted, pose, margin) {
  const scale = pose.k / painted.k;
  return { x: (painted.x - pose.x) * pose.k - margin * scale, y: (painted.y - pose.y) * pose.k - margin * scale, scale };
}

/** @param {Pose} painted @param {Pose} pose @param {Size} size @param {number} margin @returns {boolean} whether the moved layer still covers the stage */
export function covers(painted, pose, size, margin) {
  const whole = seen(painted, size, margin);
  const wanted = seen(pose, size);
  return whole.x0 <= wanted.x0 && whole.y0 <= wanted.y0 && whole.x1 >= wanted.x1 && whole.y1 >= wanted.y1;
}

/** @param {Pose} a @param {Pose} b @returns {boolean} */
export function same(a, b) {
  return a.x === b.x && a.y === b.y && a.k === b.k;
}
