// What is asked of the graph: ancestors and ways, search, the address, and how objects and edges look for it.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { CRITICAL, FAINT, HIDDEN, KIN, NORMAL, sorted, WAY } from '../../../static/js/graph/edges.js';
import { DOWN, kin, reach, UP, ways } from '../../../static/js/graph/kin.js';
import { look, troubled } from '../../../static/js/graph/look.js';
import { changed, MANY, shown } from '../../../static/js/graph/params.js';
import { find, fold, inReadingOrder } from '../../../static/js/graph/search.js';
import { graphOf } from './support.mjs';

//  0 → 2 → 4 → 5      1 → 3 → 4, 3 → 6
const graph = graphOf([[], [], [0], [1], [2, 3], [4], [3]], { ids: [1001, 1002, 2001, 2002, 2003, 3001, 3002], names: ['Écritures', 'Clients', 'Œuvres d’art', null, 'Ventes', 'Ventes par client', 'Fiche'] });

test('what is reached comes nearest first, once, and no further than wanted', () => {
  assert.deepEqual(reach(graph.parents, [5]), [4, 2, 3, 0, 1]);
  assert.deepEqual(reach(graph.children, [1, 3]), [4, 6, 5]);
  assert.deepEqual(reach(graph.parents, [5], 1), [4]);
  const diamonds = graphOf(Array.from({ length: 3_000 }, (_, i) => (i === 0 ? [] : i === 1 ? [0] : [i - 1, i - 2])));
  assert.equal(reach(diamonds.parents, [2_999]).length, 2_999, 'many ways, one visit each');
});

test('kin are the ancestors and the descendants, not the descendants of ancestors', () => {
  assert.deepEqual([...kin(graph, 4)], [UP, UP, UP, UP, UP | DOWN, DOWN, 0]);
});

test('ways are the objects between those in trouble', () => {
  assert.deepEqual([...ways(graph, [1, 5])], [0, 1, 0, 1, 1, 1, 0]);
  assert.deepEqual([...ways(graph, [6])], [0, 0, 0, 0, 0, 0, 1]);
  assert.deepEqual([...ways(graph, [])], [0, 0, 0, 0, 0, 0, 0]);
});

test('search minds neither case nor accents nor the order of words', () => {
  assert.equal(fold('Œuvres d’ART, Écritures'), 'oeuvres d’art, ecritures');
  assert.deepEqual(find(graph, 'ECRITURES'), [0]);
  assert.deepEqual(find(graph, 'oeuvres'), [2]);
  assert.deepEqual(find(graph, 'client ventes'), [5]);
  assert.deepEqual(find(graph, '200'), [2, 3, 4]);
  assert.deepEqual(find(graph, 'nothing of this'), []);
  assert.equal(find(graph, '  '), null);
});

test('matches are read column by column, from the top', () => {
  const scene = { x: [400, 100, 100], y: [0, 80, 20] };
  assert.deepEqual(inReadingOrder([0, 1, 2], scene, [1, 0, 0]), [2, 1, 0]);
});

test('the address says what is shown', () => {
  const of = (text, n = 20) => shown(new URLSearchParams(text), n);
  assert.deepEqual(of(''), { q: '', focus: null, failed: false, critical: false, collapsed: false, object: null });
  assert.deepEqual(of('q=caf%C3%A9&failed=1&critical=1&object=2005'), { q: 'café', focus: null, failed: true, critical: true, collapsed: false, object: '2005' });
  for (const [text, n, collapsed] of [
    ['', MANY, false], ['', MANY + 1, true], ['stages=0', 50_000, false], ['stages=1', 3, true],
    ['q=x', 50_000, false], ['failed=1', 50_000, false], ['focus=3001', 50_000, false], ['focus=3001&stages=1', 5, false], ['object=3001', 50_000, true],
  ]) assert.equal(of(text, n).collapsed, collapsed, `${text} of ${n}`);
  assert.equal(String(changed(new URLSearchParams('q=a&object=7'), { q: null, failed: '1' })), 'object=7&failed=1');
});

const kinds = (asked) => {
  const { kindOf } = look(graph, { selected: -1, matches: null, trouble: null, critical: null, ...asked });
  return [[0, 2], [2, 4], [1, 3], [3, 4], [4, 5], [3, 6]].map(([from, to]) => kindOf(from, to));
};

test('edges: plain; of the selected object; of the critical path; between those in trouble', () => {
  assert.deepEqual(kinds({}), [NORMAL, NORMAL, NORMAL, NORMAL, NORMAL, NORMAL]);
  assert.deepEqual(kinds({ selected: 2 }), [KIN, KIN, FAINT, FAINT, KIN, FAINT]);
  assert.deepEqual(kinds({ critical: new Set([1, 3, 4, 5]) }), [FAINT, FAINT, CRITICAL, CRITICAL, CRITICAL, FAINT]);
  assert.deepEqual(kinds({ trouble: [3, 5] }), [HIDDEN, HIDDEN, HIDDEN, WAY, WAY, HIDDEN]);
});

test('objects that were not asked for stand back', () => {
  const dims = (asked) => {
    const { dim } = look(graph, { selected: -1, matches: null, trouble: null, critical: null, ...asked });
    return dim && [...dim].join('');
  };
  assert.equal(dims({}), null);
  assert.equal(dims({ matches: [4, 5] }), '1111001');
  assert.equal(dims({ matches: [4, 6], trouble: [3, 4, 5] }), '1111011');
  assert.equal(dims({ trouble: [] }), '1111111');
  assert.deepEqual(troubled(Uint8Array.from([0, 1, 2, 3, 4, 5, 6, 7])), [3, 5, 6]);
});

test('edges are drawn from the faint ones to those that matter, and hidden ones not at all', () => {
  const scene = { from: [0, 1, 2, 3, 4], to: [9, 9, 9, 9, 9] };
  const { order } = sorted(scene, (from) => [CRITICAL, HIDDEN, FAINT, KIN, FAINT][from]);
  assert.deepEqual([...order], [2, 4, 3, 0]);
});
