// The store: stories, the time shown, the counts, and who is told of what.

import assert from 'node:assert/strict';
import test from 'node:test';

import { Store } from '../../../static/js/store.js';

const [WAITING, READY, RUNNING, , LOADED, FAILED, SKIPPED] = [0, 1, 2, 3, 4, 5, 6];

/** A store that tells when it is flushed, at a clock that stands at 10,000. */
function store() {
  const made = new Store({ schedule: () => {}, clock: () => 10_000 });
  return made;
}

/** A graph of n objects, the first half sources, each other the child of one of them. */
function graph(n, plan = 'p1') {
  const half = Math.floor(n / 2);
  const each = (of) => Array.from({ length: n }, (_, i) => of(i));
  return {
    run_id: 'r1', plan,
    objects: {
      id: each((i) => (i < half ? 1000 + i : 3000 + i)), name: each(() => null), stage: each((i) => (i < half ? 0 : 2)), criticality: each(() => 1),
      level: each((i) => (i < half ? 0 : 1)), parents: each((i) => (i < half ? [] : [i - half])),
    },
    layout: { method: 'layered', x: each(() => 0), y: each(() => 0), bands: [] },
    groups: {}, group_of: each(() => 0), fields: [],
  };
}

const run = (more = {}) => ({
  run_id: 'r1', state: 'running', requested_at: '1970-01-01T00:00:00Z', planned_at: '1970-01-01T00:00:01Z', finished_at: null, plan: 'p1',
  counts: { objects: 4, loaded: 0, failed: 0, skipped: 0 }, estimate: null, ...more,
});
const stories = (objects, more = {}) => ({ plan: 'p1', whole: false, names: [], objects, ...more });
const byState = (of) => of.counts().byState;

test('a story gives the state, live and at an instant', () => {
  const s = store();
  s.setGraph(graph(4));
  s.receive('run', run());
  s.receive('stories', stories([[0, 1000, READY, 1, -1, 2000, RUNNING, 1, 7, 3000, LOADED, 1, 7]], { whole: true, names: [[7, 'up-ingest']] }));
  assert.equal(s.state(0), LOADED);
  assert.equal(s.state(1), WAITING);
  assert.deepEqual([...s.storyOf(0)].slice(0, 4), [1000, READY, 1, -1]);
  assert.deepEqual(s.rows(0)[1], { t: 2000, state: RUNNING, attempt: 1, worker: 'up-ingest' });
  for (const [time, state] of [[999, WAITING], [1000, READY], [2500, RUNNING], [3000, LOADED], [1500, READY], [0, WAITING], [9999, LOADED]]) {
    s.setTime(time);
    assert.equal(s.state(0), state, `at ${time}`);
  }
  s.setTime(2500);
  assert.equal(s.rowAt(0).worker, 'up-ingest');
  assert.equal(s.rowAt(1), null);
  s.setTime(null);
  assert.equal(s.state(0), LOADED);
});

test('what stands beside a state is told with the story, and is of now', () => {
  const s = store();
  s.setGraph(graph(4));
  s.receive('run', run());
  s.receive('stories', stories([[0, 1000, LOADED, 1, -1], [1, 1000, 3, 1, -1]], { badges: [[0, 1 + 4]], tries: [[1, 60_000]] }));
  assert.deepEqual([s.badges(0), s.badges(1), s.nextTry(1), s.nextTry(0), s.badged], [['degraded', 'marked-loaded'], [], 60_000, null, true]);
  s.flush();
  let changed = null;
  s.on('states', (told) => { changed = told.changed; });
  s.setTime(2000);
  s.flush();
  assert.deepEqual([s.badges(0), s.nextTry(1), s.badged], [[], null, false], 'nobody tells since when');
  assert.deepEqual([...changed], [0, 1], 'they are drawn anew, though their states are the same');
  s.setTime(null);
  s.receive('stories', stories([[0, 1000, LOADED, 1, -1], [1, 1000, LOADED, 2, -1]]));
  assert.deepEqual([s.badges(0), s.nextTry(1), s.badged], [[], null, false], 'a story without them has none');
  s.receive('stories', stories([[2, 1000, LOADED, 1, -1]], { badges: [[2, 2 + 8]], whole: true }));
  assert.deepEqual([s.badges(2), s.badges(0)], [['reused', 'marked-failed'], []]);
  s.reset();
  assert.equal(s.badged, false);
});

test('the ends of final objects are those of the last estimate', () => {
  const s = store();
  const estimate = { critical_path: [], final_objects: [{ id: 3002, estimated_end: '1970-01-01T00:01:00Z' }, { id: 9, estimated_end: '1970-01-01T00:01:00Z' }] };
  s.receive('run', run({ estimate }));
  s.setGraph(graph(4));
  assert.deepEqual([s.end(2), s.end(3)], [60_000, null]);
  s.receive('run', run({ estimate: { critical_path: [] } }));
  assert.equal(s.end(2), null, 'an older server tells of none');
});

test('a run that is paused goes on', () => {
  const s = store();
  s.receive('run', run({ state: 'paused' }));
  assert.equal(s.span().live, true);
});

test('a story replaces what was known, however often it comes', () => {
  const s = store();
  s.setGraph(graph(4));
  s.receive('run', run());
  const story = [0, 1000, READY, 1, -1, 2000, FAILED, 1, -1];
  for (let times = 0; times < 3; times += 1) s.receive('stories', stories([story]));
  assert.deepEqual(byState(s), [3, 0, 0, 0, 0, 1, 0, 0]);
  s.receive('stories', stories([[0, 1000, READY, 1, -1]])); // shorter than before
  assert.deepEqual(byState(s), [3, 1, 0, 0, 0, 0, 0, 0]);
  s.receive('stories', stories([[0]]));
  assert.deepEqual(byState(s), [4, 0, 0, 0, 0, 0, 0, 0]);
});

test('stories that come before their graph are kept for it', () => {
  const s = store();
  s.receive('run', run({ stages: [{ stage: 'ingest', objects: 2, running: 2 }, { stage: 'standardize' }, { stage: 'application', waiting: 2 }] }));
  s.receive('stories', stories([[2, 1000, LOADED, 1, -1]], { whole: true }));
  assert.deepEqual(byState(s), [2, 0, 2, 0, 0, 0, 0, 0], 'the server counts until then');
  s.setGraph(graph(4));
  assert.equal(s.state(2), LOADED);
  assert.deepEqual(byState(s), [3, 0, 0, 0, 1, 0, 0, 0]);
  assert.deepEqual(s.counts().byStage.map((stage) => stage[LOADED]), [0, 0, 1]);
});

test('a whole message makes void what it does not name; deltas add', () => {
  const s = store();
  s.setGraph(graph(4));
  s.receive('run', run());
  s.receive('stories', stories([[0, 1, LOADED, 1, -1], [1, 1, LOADED, 1, -1]], { whole: true }));
  s.receive('stories', stories([[2, 2, SKIPPED, 1, -1]]));
  assert.deepEqual(byState(s), [1, 0, 0, 0, 2, 0, 1, 0]);
  s.receive('stories', stories([[3, 3, FAILED, 1, -1]], { whole: true }));
  assert.deepEqual(byState(s), [3, 0, 0, 0, 0, 1, 0, 0]);
  assert.deepEqual([...s.states], [0, 0, 0, FAILED]);
});

test('another plan makes graph and stories void', () => {
  const s = store();
  s.setGraph(graph(4));
  s.receive('run', run());
  s.receive('stories', stories([[0, 1, LOADED, 1, -1]], { whole: true }));
  s.setTime(500);
  s.receive('run', run({ run_id: 'r2', plan: null, state: 'queued' }));
  assert.equal(s.graph, null);
  assert.equal(s.time, null, 'the time of another run is no time of this one');
  s.receive('run', run({ run_id: 'r2', plan: 'p2' }));
  s.receive('stories', stories([[1, 5, RUNNING, 1, -1]], { plan: 'p2' })); // only deltas
  s.setGraph(graph(4, 'p2'));
  assert.deepEqual([...s.states], [0, RUNNING, 0, 0]);
});

test('while an instant is shown, what arrives changes nothing that was before it', () => {
  const s = store();
  s.setGraph(graph(4));
  s.receive('run', run());
  s.receive('stories', stories([[0, 1000, RUNNING, 1, -1]], { whole: true }));
  s.setTime(1500);
  s.receive('stories', stories([[0, 1000, RUNNING, 1, -1, 2000, LOADED, 1, -1]]));
  assert.equal(s.state(0), RUNNING);
  s.setTime(null);
  assert.equal(s.state(0), LOADED);
});

test('listeners are told once per flush, of all that changed', () => {
  const s = store();
  s.setGraph(graph(6));
  s.receive('run', run());
  s.flush();
  const told = [];
  s.on('states', (detail) => told.push(detail.changed && [...detail.changed]));
  const off = s.on('run', () => told.push('run'));
  s.receive('stories', stories([[0, 1, RUNNING, 1, -1]], { plan: 'p1' })); // the first of this plan: all
  s.flush();
  s.receive('stories', stories([[0, 1, RUNNING, 1, -1, 2, LOADED, 1, -1]]));
  s.receive('stories', stories([[0, 1, RUNNING, 1, -1, 3, LOADED, 1, -1], [5, 1, READY, 1, -1]]));
  s.receive('run', run());
  s.flush();
  off();
  s.receive('run', run());
  s.setTime(1);
  s.flush();
  s.flush();
  assert.deepEqual(told, [null, 'run', [0, 5], [0]]);
});

test('a listener that throws keeps nobody else from hearing', () => {
  const s = store();
  const reported = [];
  globalThis.reportError = (error) => reported.push(error.message);
  let heard = 0;
  s.on('runs', () => { throw new Error('broken'); });
  s.on('runs', () => { heard += 1; });
  s.receive('runs', { runs: [] });
  s.flush();
  delete globalThis.reportError;
  assert.deepEqual([heard, reported], [1, ['broken']]);
});

test('the span ends now while the run runs, and with its last story afterwards', () => {
  const s = store();
  s.receive('hello', { now: '1970-01-01T00:01:00Z', version: '0', token_required: false });
  assert.equal(s.now(), 60_000);
  s.receive('run', run());
  assert.deepEqual(s.span(), { from: 1000, to: 60_000, live: true });
  s.receive('stories', stories([[0, 900, RUNNING, 1, -1, 5200, LOADED, 1, -1]], { whole: true }));
  s.receive('run', run({ state: 'succeeded', finished_at: '1970-01-01T00:00:05Z' }));
  assert.deepEqual(s.span(), { from: 900, to: 5200, live: false });
});

test('the graph knows children, places and the critical path', () => {
  const s = store();
  s.receive('run', run({ estimate: { critical_path: [1001, 3003, 9999] } }));
  s.setGraph(graph(4));
  assert.deepEqual([...s.graph.children[1]], [3]);
  assert.deepEqual([...s.graph.parents[3]], [1]);
  assert.equal(s.graph.indexOf.get(3003), 3);
  assert.deepEqual([...s.critical], [1, 3]);
});

test('reset forgets all of a run', () => {
  const s = store();
  s.setGraph(graph(4));
  s.receive('run', run());
  s.receive('stories', stories([[0, 1, LOADED, 1, -1]], { whole: true }));
  s.reset();
  assert.deepEqual([s.graph, s.run, s.told, s.time, s.states.length, s.counts().total], [null, null, false, null, 0, 0]);
});

test('fifty thousand objects: moving in time and live updates are quick', () => {
  const n = 50_000;
  const s = store();
  s.setGraph(graph(n));
  s.receive('run', run());
  const story = (i) => [i, i, READY, 1, -1, i + 10, RUNNING, 1, 0, i + 500, LOADED, 1, 0];
  s.receive('stories', stories(Array.from({ length: n }, (_, i) => story(i)), { whole: true }));
  assert.equal(byState(s)[LOADED], n);
  const took = [];
  for (const time of [25_000, 25_100, 0, 60_000, 12_345]) {
    const before = performance.now();
    s.setTime(time);
    s.flush();
    took.push(performance.now() - before);
  }
  // Generous against a busy machine: it is some 5 ms.
  assert.ok(Math.min(...took) < 50, `moves took ${took.map((ms) => ms.toFixed(1))} ms`);
  const { total, byState: counts } = s.counts();
  assert.equal(counts.reduce((sum, count) => sum + count, 0), total);
  const brute = new Array(8).fill(0);
  for (let i = 0; i < n; i += 1) brute[s.state(i)] += 1;
  assert.deepEqual(counts, brute);
});

test('time stands still while the server is not heard', () => {
  let now = 10_000;
  const s = new Store({ schedule: () => {}, clock: () => now });
  s.setConnection('open');
  s.receive('run', run({ plan: null }));
  now = 12_000;
  assert.equal(s.now(), 12_000);
  s.setConnection('lost');
  assert.equal(s.now(), 10_000);
  assert.equal(s.span().to, 10_000);
  s.setConnection('open');
  assert.equal(s.now(), 12_000);
});

test('a run that the server does not know', () => {
  const s = store();
  s.setGraph(graph(4));
  s.receive('run', run());
  s.setUnknown();
  assert.deepEqual([s.run, s.told, s.graph], [null, true, null]);
});
