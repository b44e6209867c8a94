// Addresses: what they mean, and how they are written.

import assert from 'node:assert/strict';
import test from 'node:test';

import { href, parse } from '../../../static/js/router.js';

const told = ({ run, view, params }) => `${run} ${view} ${params}`.trim();
const at = (run, view, params = '') => ({ run, view, params: new URLSearchParams(params) });

test('an address says run, view and parameters', () => {
  for (const [hash, expected] of [
    ['', 'latest graph'],
    ['#', 'latest graph'],
    ['#/', 'latest graph'],
    ['#/runs/latest/graph', 'latest graph'],
    ['#/runs/019abc/table?state=failed%2Cskipped&object=2005', '019abc table state=failed%2Cskipped&object=2005'],
    ['#/runs/019abc', '019abc graph'],
    ['#/runs/019abc/nonsense?q=a', '019abc graph q=a'],
    ['#/runs/a%2Fb/events', 'a/b events'],
    ['#/runs/100%/events', '100% events'],
    ['#/runs', 'shown runs'],
    ['#/runs?q=x', 'shown runs q=x'],
    ['#/workers', 'shown workers'],
    ['#/elsewhere', 'latest graph'],
  ]) assert.equal(told(parse(hash, 'shown')), expected, hash);
});

test('an address is written so that it is read the same', () => {
  for (const place of [at('latest', 'graph'), at('a/b?c#d', 'timeline', 'q=a+b%26c'), at('r', 'runs'), at('r', 'workers', 'q=1')]) {
    assert.equal(told(parse(href(place), place.run)), told(place));
  }
});

test('what is not said stays: all in the same view, the object alone in another, nothing in another run', () => {
  const from = at('r1', 'table', 'sort=name&object=7');
  assert.equal(href({}, from), '#/runs/r1/table?sort=name&object=7');
  assert.equal(href({ view: 'graph' }, from), '#/runs/r1/graph?object=7');
  assert.equal(href({ view: 'workers' }, from), '#/workers');
  assert.equal(href({ run: 'r2' }, from), '#/runs/r2/table');
  assert.equal(href({ view: 'runs' }, at('r1', 'runs', 'q=a')), '#/runs?q=a');
  assert.equal(href({ params: { q: 'x', focus: null, stage: undefined, state: '' } }, from), '#/runs/r1/table?q=x');
  assert.equal(href({ params: {} }, from), '#/runs/r1/table');
});
