import assert from 'node:assert/strict';
import test from 'node:test';

import { widened } from '../../../static/js/graph/widened.js';

const layout = (width, height) => ({ node_width: 184, node_height: 44, width, height, x: [100, width - 100], y: [50, 50], bands: [{ stage: 0, x0: 0, x1: width }] });

test('a layout is as it is where the stage is no wider', () => {
  const one = layout(3_000, 500);
  assert.equal(widened(one, { width: 1_400, height: 650 }), one);
  assert.equal(widened(one, { width: 0, height: 0 }), one);
});

test('on a wider stage columns and boxes are wider, within bounds', () => {
  const of = layout(1_000, 2_000);
  const made = widened(of, { width: 1_400, height: 1_000 });
  const by = made.width / of.width;
  assert.ok(by > 2 && by <= 2.4);
  assert.deepEqual([made.node_width, made.x, made.bands[0].x1], [184 * by, [100 * by, 900 * by], 1_000 * by]);
  assert.deepEqual([made.height, made.y], [of.height, of.y]);
  // As wide as a name may be, and no wider.
  assert.equal(widened(layout(600, 600), { width: 2_500, height: 648 }).node_width, 300);
});
