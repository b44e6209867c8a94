// The picture's geometry: who is at a point, who touches a box, where edges end.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Scene } from '../../../static/js/graph/scene.js';
import { step } from '../../../static/js/graph/steps.js';
import { graphOf, layoutOf } from './support.mjs';

function fan(parents) {
  const places = Array.from({ length: parents }, (_, i) => [132, 62 + 60 * i]);
  places.push([412, 62 + 30 * (parents - 1)]);
  return new Scene(graphOf([...Array.from({ length: parents }, () => []), Array.from({ length: parents }, (_, i) => parents - 1 - i)]), layoutOf(places));
}

test('an object is found in its box and beside it within the slack, nowhere else', () => {
  const scene = fan(40);
  assert.equal(scene.at(132, 62 + 60 * 17), 17);
  assert.equal(scene.at(132 + 92, 62 + 22), 0, 'its corner');
  assert.equal(scene.at(132 + 96, 62), -1);
  assert.equal(scene.at(132 + 96, 62, 5), 0);
  assert.equal(scene.at(-500, -500), -1);
  assert.equal(scene.nearest(9000, 62 + 30 * 39), 40);
});

test('the grid finds what a look at every object finds', () => {
  let seed = 7;
  const random = () => (seed = (seed * 1103515245 + 12345) % 2147483648) / 2147483648;
  const places = Array.from({ length: 2_000 }, () => [random() * 9_000, random() * 6_000]);
  const scene = new Scene(graphOf(places.map(() => [])), layoutOf(places));
  for (let turn = 0; turn < 50; turn += 1) {
    const [x0, y0] = [random() * 9_000 - 200, random() * 6_000 - 200];
    const box = { x0, y0, x1: x0 + random() * 2_000, y1: y0 + random() * 900 };
    const found = [];
    scene.within(box, 3, (i) => found.push(i));
    const all = places.flatMap(([x, y], i) => (x + 95 >= box.x0 && x - 95 <= box.x1 && y + 25 >= box.y0 && y - 25 <= box.y1 ? [i] : []));
    assert.deepEqual(found.sort((a, b) => a - b), all);
  }
});

test('forty-five edges into one object end along its side, in the order of their other ends', () => {
  const scene = fan(45);
  const [first, end] = scene.into.get(45);
  assert.equal(end - first, 45);
  const edges = Array.from({ length: 45 }, (_, at) => first + at).sort((a, b) => scene.by[a] - scene.by[b]);
  assert.deepEqual(edges.map((e) => scene.from[e]), Array.from({ length: 45 }, (_, i) => i), 'they do not cross at the end');
  const ends = edges.map((e) => scene.by[e]);
  assert.ok(Math.abs(ends[0] - (scene.y[45] - 22)) < 8 && Math.abs(ends[44] - (scene.y[45] + 22)) < 8, 'they take most of the side');
  assert.ok(ends.every((y, at) => at === 0 || y > ends[at - 1]), 'no two end in one point');
  assert.ok(edges.every((e) => scene.bx[e] === scene.x[45] - 92 && scene.ax[e] === scene.x[scene.from[e]] + 92));
});

test('a single edge ends in the middle of the side', () => {
  const scene = fan(1);
  assert.equal(scene.by[0], scene.y[1]);
  assert.equal(scene.ay[0], scene.y[0]);
});

test('a part of a graph has its members and the edges among them only', () => {
  const graph = graphOf([[], [], [0, 1], [2]]);
  const scene = new Scene(graph, layoutOf([[132, 62], [412, 62]]), [1, 2]);
  assert.deepEqual([0, 1, 2, 3].map((i) => scene.has(i)), [false, true, true, false]);
  assert.deepEqual([[...scene.from], [...scene.to]], [[1], [2]]);
  assert.equal(scene.at(412, 62), 2);
  assert.equal(scene.around([0, 3]), null);
  assert.deepEqual(scene.around([1, 3]), { x0: 40, y0: 40, x1: 224, y1: 84 });
});

test('the arrows lead to the nearest parent and child, and along the column, part after part', () => {
  // A column in two parts (0 1 | 2), and a child of 1 and 2 in the next column.
  const graph = graphOf([[], [], [], [1, 2]]);
  const scene = new Scene(graph, layoutOf([[132, 62], [132, 122], [344, 62], [624, 70]]));
  assert.equal(step(scene, 3, 'left'), 2);
  assert.equal(step(scene, 1, 'right'), 3);
  assert.equal(step(scene, 3, 'right'), 3, 'where there is nothing it stays');
  assert.equal(step(scene, 0, 'down'), 1);
  assert.equal(step(scene, 1, 'down'), 2);
  assert.equal(step(scene, 2, 'up'), 1);
  assert.equal(step(scene, 0, 'up'), 0);
});
