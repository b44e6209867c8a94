// The camera's arithmetic: what is fitted is seen, what is under the pointer stays there, a moved layer stands right.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { between, centred, covers, filled, fitted, kept, panned, seen, shift, toScreen, toWorld, zoomed } from '../../../static/js/graph/camera.js';

const size = { width: 1000, height: 600 };
const near = (a, b, why) => assert.ok(Math.abs(a - b) < 1e-6, `${why ?? ''} ${a} is not ${b}`);

test('a point goes to the screen and back', () => {
  const pose = { x: 12, y: -7, k: 0.3 };
  const [sx, sy] = toScreen(pose, 100, 200);
  const [x, y] = toWorld(pose, sx, sy);
  near(x, 100);
  near(y, 200);
});

test('a fitted box is on the stage whole, in the middle, below what covers the top', () => {
  for (const box of [{ x0: 0, y0: 0, x1: 5000, y1: 300 }, { x0: -50, y0: 10, x1: 50, y1: 9000 }, { x0: 0, y0: 0, x1: 10, y1: 10 }]) {
    const pose = fitted(box, size, { top: 40, side: 10 });
    const [left, top] = toScreen(pose, box.x0, box.y0);
    const [right, bottom] = toScreen(pose, box.x1, box.y1);
    assert.ok(left >= 10 - 1e-6 && right <= 990 + 1e-6 && top >= 40 - 1e-6 && bottom <= 590 + 1e-6, JSON.stringify([left, top, right, bottom]));
    near(left, 1000 - right, 'as much on the left as on the right');
    assert.ok(pose.k <= 1, 'no larger than it is');
  }
});

test('an empty box is no division by nothing', () => {
  const pose = fitted({ x0: 5, y0: 5, x1: 5, y1: 5 }, size);
  assert.ok(Object.values(pose).every(Number.isFinite));
});

test('zooming keeps the point under the pointer and stays within the limits', () => {
  const pose = { x: 100, y: 50, k: 0.5 };
  for (const factor of [0.001, 0.5, 1.1, 3, 1000]) {
    const next = zoomed(pose, factor, 320, 180, { farthest: 0.1, closest: 2 });
    assert.ok(next.k >= 0.1 && next.k <= 2);
    assert.deepEqual(toWorld(next, 320, 180).map((v) => v.toFixed(6)), toWorld(pose, 320, 180).map((v) => v.toFixed(6)));
  }
});

test('the picture moves with the pointer, but never quite off the stage', () => {
  const pose = panned({ x: 0, y: 0, k: 2 }, 30, -10);
  assert.deepEqual(pose, { x: -15, y: 5, k: 2 });
  const box = { x0: 0, y0: 0, x1: 400, y1: 300 };
  for (const far of [{ x: 1e6, y: -1e6, k: 1 }, { x: -1e6, y: 1e6, k: 0.01 }]) {
    const back = kept(far, box, size);
    const area = seen(back, size);
    assert.ok(area.x1 > box.x0 && area.x0 < box.x1 && area.y1 > box.y0 && area.y0 < box.y1);
  }
});

test('a picture larger than the stage fills it; a smaller one stands in its middle', () => {
  const large = { x0: 0, y0: 0, x1: 5000, y1: 4000 };
  const corner = filled(centred(size, 5000, 4000, 1), large, size, 40);
  assert.deepEqual(corner, { x: 4000, y: 3400, k: 1 });
  assert.deepEqual(filled(centred(size, 0, 0, 1), large, size, 40), { x: 0, y: -40, k: 1 });
  const small = { x0: 0, y0: 0, x1: 400, y1: 300 };
  assert.deepEqual(filled(centred(size, 399, 1, 1), small, size), { x: -300, y: -150, k: 1 });
});

test('on the way between two poses the scale is between theirs, and both ends are right', () => {
  const from = { x: 0, y: 0, k: 0.1 };
  const to = centred(size, 4000, 3000, 1);
  assert.deepEqual(between(from, to, size, 1), to);
  const start = between(from, to, size, 0);
  for (const name of ['x', 'y', 'k']) near(start[name], from[name], name);
  const half = between(from, to, size, 0.5);
  assert.ok(half.k > from.k && half.k < to.k);
  const level = between({ x: 0, y: 0, k: 1 }, { x: 100, y: 0, k: 1 }, size, 0.25);
  near(level.x, 25, 'without zoom it is a straight way');
});

test('a layer painted at one pose is moved to where it belongs at another', () => {
  const margin = 128;
  const painted = { x: 300, y: 200, k: 0.4 };
  for (const pose of [painted, { x: 320, y: 190, k: 0.4 }, { x: 250, y: 150, k: 0.7 }]) {
    const { x, y, scale } = shift(painted, pose, margin);
    const [px, py] = toScreen(painted, 777, 555);
    const [sx, sy] = toScreen(pose, 777, 555);
    near((px + margin) * scale + x, sx);
    near((py + margin) * scale + y, sy);
  }
});

test('a layer with a margin covers the stage for a small pan, not for a large one nor from afar', () => {
  const painted = { x: 0, y: 0, k: 1 };
  assert.ok(covers(painted, { x: 100, y: -100, k: 1 }, size, 128));
  assert.ok(!covers(painted, { x: 200, y: 0, k: 1 }, size, 128));
  assert.ok(!covers(painted, { x: 0, y: 0, k: 0.5 }, size, 128));
  assert.ok(covers(painted, { x: 10, y: 10, k: 2 }, size, 0));
});
