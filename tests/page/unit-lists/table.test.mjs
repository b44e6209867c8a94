import assert from 'node:assert/strict';
import { test } from 'node:test';
import { speak } from './words.mjs';
import { detail } from '../../../static/js/table/columns.js';
import { change, nextSort, parse, parseNames, writeNames } from '../../../static/js/table/address.js';
import { cell, csv } from '../../../static/js/table/csv.js';
import { factsOf } from '../../../static/js/table/facts.js';
import { countStates, inStates, matching, sorted, windowOf } from '../../../static/js/table/order.js';
import { fold, sortKey, valueText } from '../../../static/js/table/text.js';

const of = (...places) => Uint32Array.from(places);

test('text is found without accents and case, and numbers are ordered by their value', () => {
  assert.equal(fold('Élève Noël'), 'eleve noel');
  assert.ok(sortKey('Objet 2') < sortKey('objet 10'));
  assert.equal(valueText([1, { a: null }]), '[1,{"a":null}]');
  assert.equal(valueText(null), '');
});

test('the objects that match have every word, and the stage', () => {
  const texts = ['1001 clients', '1002 clients factures', '2001 factures'];
  const by = (q, stage = null) => [...matching(3, { q, stage, haystack: (i) => texts[i], stageOf: [0, 0, 1] })];
  assert.deepEqual(by(''), [0, 1, 2]);
  assert.deepEqual(by('FACTURES client'), [1]);
  assert.deepEqual(by('factures', 1), [2]);
  assert.deepEqual(by('nothing'), []);
});

test('states are counted, and no state wanted is every state', () => {
  const states = [4, 4, 5, 0];
  assert.deepEqual(countStates(of(0, 1, 2, 3), states), [1, 0, 0, 0, 2, 1, 0, 0]);
  assert.deepEqual([...inStates(of(0, 1, 2, 3), states, new Set([5, 0]))], [2, 3]);
  assert.deepEqual([...inStates(of(0, 1), states, new Set())], [0, 1]);
  assert.deepEqual([...inStates(of(0, 1, 2, 3), states, new Set([5]), (i) => i === 0)], [0, 2], 'either is enough');
  assert.deepEqual([...inStates(of(0, 1), states, new Set(), () => false)], []);
});

test('an order keeps equals as they are and has what is empty last both ways', () => {
  const keys = [3, null, 1, 3, ''];
  const all = of(0, 1, 2, 3, 4);
  assert.deepEqual([...sorted(all, (i) => keys[i], false)], [2, 0, 3, 1, 4]);
  assert.deepEqual([...sorted(all, (i) => keys[i], true)], [0, 3, 2, 1, 4]);
});

test('a window is inside the list wherever it is scrolled', () => {
  assert.deepEqual(windowOf({ top: 0, height: 320, row: 32, count: 50_000, spare: 8 }), { from: 0, to: 18 });
  assert.deepEqual(windowOf({ top: 3200, height: 320, row: 32, count: 50_000, spare: 8 }), { from: 92, to: 118 });
  assert.deepEqual(windowOf({ top: 9_999_999, height: 320, row: 32, count: 3, spare: 8 }), { from: 3, to: 3 });
});

test('fifty thousand objects are ordered by text in the time of a few frames', () => {
  const n = 50_000;
  const keys = Array.from({ length: n }, (_, i) => sortKey(`Objet ${(i * 7919) % n}`));
  const began = performance.now();
  const order = sorted(Uint32Array.from({ length: n }, (_, i) => i), (i) => keys[i], false);
  assert.equal(keys[order[1]], sortKey('Objet 1'));
  assert.ok(performance.now() - began < 1500, `${performance.now() - began} ms`);
});

test('facts are those of the last attempt, as far as time has come', () => {
  const story = [100, 1, 1, -1, 150, 2, 1, 0, 250, 3, 1, 0, 260, 1, 2, -1, 300, 2, 2, 1, 500, 4, 2, 1];
  const end = factsOf(story, Infinity, 9999);
  assert.deepEqual(end, { state: 4, attempts: 2, worker: 1, readyAt: 260, startedAt: 300, endedAt: 500, waitedMs: 40, ranMs: 200 });
  const running = factsOf(story, 400, 400);
  assert.deepEqual([running.state, running.ranMs, running.endedAt], [2, 100, null]);
  const retrying = factsOf(story, 255, 255);
  assert.deepEqual([retrying.state, retrying.attempts, retrying.ranMs], [3, 1, 100]);
  assert.equal(factsOf(story, 120, 130).waitedMs, 30);
  assert.deepEqual(factsOf([], Infinity, 1).attempts, 0);
});

test('an object that is loaded without having run has no durations', () => {
  const facts = factsOf([100, 1, 1, -1, 200, 4, 1, -1], Infinity, 300);
  assert.deepEqual([facts.waitedMs, facts.ranMs, facts.endedAt], [null, null, 200]);
});

test('the address says what is shown', () => {
  const params = new URLSearchParams('q=x&sort=-ran&state=failed,nonsense,skipped&stage=standardize&cols=A,B\\,C&object=7');
  const shown = parse(params);
  assert.deepEqual([shown.q, shown.sort, [...shown.states], shown.stage, shown.cols], ['x', { key: 'ran', descending: true }, [5, 6], 1, ['A', 'B,C']]);
  const next = change(params, { q: '', states: new Set(), sort: { key: 'id', descending: false }, cols: ['Z'], stage: null });
  assert.equal(String(next), 'sort=id&cols=Z&object=7');
  assert.deepEqual(parseNames(writeNames(['a,b', 'c\\d', 'é'])), ['a,b', 'c\\d', 'é']);
  assert.equal(parseNames('1,2,3,4,5,6,7,8,9').length, 8);
  assert.deepEqual(nextSort(null, 'id'), { key: 'id', descending: false });
  assert.equal(nextSort({ key: 'id', descending: true }, 'id'), null);
});

test('badges stand beside the states in the address', () => {
  const params = new URLSearchParams('state=degraded,loaded,marked');
  const shown = parse(params);
  assert.deepEqual([[...shown.states], [...shown.kinds]], [[4], ['degraded', 'marked']]);
  assert.equal(change(params, { kinds: new Set(['reused', 'degraded']) }).get('state'), 'loaded,degraded,reused');
  assert.equal(change(params, { states: new Set() }).get('state'), 'degraded,marked');
  assert.equal(change(params, { states: new Set(), kinds: new Set() }).has('state'), false);
});

test('CSV quotes what it must and starts no formula', () => {
  assert.equal(csv(['a', 'b'], [['x;y', 1.5], ['say "no"', null]]), 'a,b\r\n"x;y",1.5\r\n"say ""no""",\r\n');
  assert.equal(cell('=HYPERLINK("x")'), '"\'=HYPERLINK(""x"")"');
  assert.equal(cell(-3), '-3');
});

test('a skipped object says what failed above it, through what was skipped', () => {
  speak('en');
  const states = [5, 4, 6, 6, 0];
  const store = { state: (i) => states[i], rowAt: () => null, nextTry: () => null, badges: () => [] };
  const graph = { ids: [1, 2, 3, 4, 5], names: ['Source', null, null, null, null], parents: [of(), of(), of(0, 1), of(2), of(1, 3)] };
  const said = (i) => detail({ store, graph, errors: { at: () => 'refused' } }, i).replaceAll('\u00a0', ' ');
  assert.equal(said(0), 'refused');
  assert.equal(said(2), 'because of ✕ 1 Source');
  assert.equal(said(3), 'because of ✕ 1 Source');
  assert.equal(said(4), 'waits for 4 ⊘ skipped');
});
