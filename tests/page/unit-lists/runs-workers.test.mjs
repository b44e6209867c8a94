import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mergeRuns, runsAt, sortRuns } from '../../../static/js/runs/line.js';
import { attemptsAt, spansOf } from '../../../static/js/panel/attempts.js';
import { seat } from '../../../static/js/workers/seats.js';
import { tallyOf } from '../../../static/js/workers/tally.js';

const at = (seconds) => new Date(1e12 + seconds * 1000).toISOString();
const run = (id, from, to, rest = {}) => ({ run_id: id, state: 'succeeded', requested_at: at(from), planned_at: at(from + 1), finished_at: to === null ? null : at(to), requested_by: null, reason: 'x', duration_seconds: to - from, counts: { objects: 3, loaded: 3, failed: 0, skipped: 0 }, ...rest });

test('at an instant, runs that ended later are going on, and later ones are not there', () => {
  const runs = [run('c', 50, 60), run('b', 20, 40), run('a', 0, 10)];
  assert.equal(runsAt(runs, null), runs);
  const [b, a, ...rest] = runsAt(runs, 1e12 + 30_000);
  assert.deepEqual([rest.length, b.state, b.duration_seconds, b.counts.loaded, b.reason], [0, 'running', 10, null, null]);
  assert.equal(a.state, 'succeeded');
  assert.equal(runsAt(runs, 1e12 + 20_500)[0].state, 'queued');
  const paused = [run('d', 0, null, { state: 'paused', paused_at: at(30) })];
  assert.deepEqual([20, 40].map((seconds) => runsAt(paused, 1e12 + seconds * 1000)[0].state), ['running', 'paused']);
});

test('newer lines of a run replace older ones, the newest run is first', () => {
  const merged = mergeRuns([run('a', 0, 10), run('b', 20, null)], [run('b', 20, 40)]);
  assert.deepEqual(merged.map(({ run_id: id, finished_at: end }) => [id, end]), [['b', at(40)], ['a', at(10)]]);
  assert.deepEqual(sortRuns(merged, 'duration', false).map(({ run_id: id }) => id), ['a', 'b']);
});

test('at an instant, what an attempt did later has not happened', () => {
  const attempts = [{ attempt: 1, worker: 'w', ready_at: at(0), assigned_at: at(1), started_at: at(2), finished_at: at(5), duration_seconds: 3, error: 'e', retryable: true, stderr: 's' }, { attempt: 2, worker: 'w', ready_at: at(6), assigned_at: null, started_at: null, finished_at: null }];
  const then = attemptsAt(attempts, 1e12 + 3000);
  assert.deepEqual(then.map(({ attempt, started_at: started, finished_at: ended, error }) => [attempt, started, ended, error]), [[1, at(2), null, null]]);
  assert.equal(attemptsAt(attempts, 1e12 + 500)[0].worker, null);
  assert.equal(attemptsAt(attempts, null), attempts);
  assert.deepEqual(spansOf(attempts[0]), { waited: 2, ran: 3 });
  assert.deepEqual(spansOf(attempts[1]), { waited: null, ran: null });
});

test('an object keeps its seat while it is held', () => {
  assert.deepEqual(seat([], ['a', 'b'], 4), ['a', 'b', null, null]);
  assert.deepEqual(seat(['a', 'b', null, null], ['b', 'c'], 4), ['c', 'b', null, null]);
  assert.deepEqual(seat(['a'], ['a', 'b'], 1), ['a', 'b']);
  assert.deepEqual(seat(['a', 'b'], [], 1), [null]);
});

test('a worker did what the stories say, up to the instant shown', () => {
  const stories = [
    [100, 1, 1, -1, 110, 2, 1, 0, 210, 4, 1, 0],
    [100, 1, 1, -1, 120, 2, 1, 0, 150, 3, 1, 0, 160, 2, 2, 1, 400, 4, 2, 1],
    [100, 6, 1, -1],
  ];
  const all = tallyOf(3, (i) => stories[i], Infinity);
  assert.deepEqual([all.get(0), all.get(1)], [{ loaded: 1, failed: 1, ranMs: 130, ran: 2, holds: [] }, { loaded: 1, failed: 0, ranMs: 240, ran: 1, holds: [] }]);
  const then = tallyOf(3, (i) => stories[i], 200);
  assert.deepEqual(then.get(0).holds, [{ i: 0, since: 110, attempt: 1 }]);
  assert.deepEqual(then.get(1).holds, [{ i: 1, since: 160, attempt: 2 }]);
});
