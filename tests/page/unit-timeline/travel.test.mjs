// The time slider's arithmetic: the events before and after an instant, and what ended when.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { density, neighbour } from '../../../static/js/travel/events.js';

const stories = [
  [0, 1, 1, -1, 10, 2, 1, 0, 40, 4, 1, 0],
  [0, 1, 1, -1, 12, 2, 1, 0, 90, 5, 1, 0],
  [90, 6, 1, -1],
  [],
];
const storyOf = (i) => stories[i];

test('one event back and forward, over all objects', () => {
  assert.equal(neighbour(4, storyOf, 12, -1), 10);
  assert.equal(neighbour(4, storyOf, 12, 1), 40);
  assert.equal(neighbour(4, storyOf, 0, -1), null);
  assert.equal(neighbour(4, storyOf, 90, 1), null);
});

test('what ended when; what was skipped did no work', () => {
  const { ended, failed, most } = density(4, storyOf, 0, 100, 10);
  assert.deepEqual([...ended], [0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
  assert.deepEqual([...failed], [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
  assert.equal(most, 1);
  assert.equal(density(4, storyOf, 50, 50, 4).ended.reduce((a, b) => a + b), 2);
});
