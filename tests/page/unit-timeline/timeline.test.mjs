// The pure parts of the timeline: what is drawn where, without a browser. Run: node --test tests/page/unit-timeline
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Attempts, attemptsOf } from '../../../static/js/timeline/attempts.js';
import { Lanes, pack } from '../../../static/js/timeline/lanes.js';
import { arrange, laneAt, HEADING, LANE } from '../../../static/js/timeline/rows.js';
import { firstEnding, nearest, sweep } from '../../../static/js/timeline/sweep.js';
import { stepFor, ticks, unitOf } from '../../../static/js/timeline/ticks.js';
import { levelAt, peaks, Times } from '../../../static/js/timeline/times.js';
import { View } from '../../../static/js/timeline/view.js';

const NAMES = ['w', 'v', 'other', 'old'];
const nameOf = (number) => NAMES[number] ?? null;
const row = (t, state, attempt = 1, worker = 'w') => [t, state, attempt, state === 1 ? -1 : NAMES.indexOf(worker)];
const read = (rows) => attemptsOf(rows.flat()).map((record) => ({ ...record, worker: nameOf(record.worker) }));

function build(stories) {
  const attempts = new Attempts(stories.length, stories.map(() => 0), nameOf);
  const lanes = new Lanes(attempts);
  stories.forEach((story, object) => attempts.replace(object, story.flat(), lanes));
  lanes.flush();
  return { attempts, lanes };
}

/** Every lane in order and without overlap, and every attempt that began in exactly one. */
function checkLanes({ attempts, lanes }, expected) {
  const seen = new Set();
  for (const worker of lanes.workers) {
    worker.lanes.forEach((ids, at) => {
      ids.forEach((a, k) => {
        assert.equal(attempts.lane[a], at);
        assert.ok(!seen.has(a));
        seen.add(a);
        if (k > 0) assert.ok(attempts.end[ids[k - 1]] <= attempts.start[a], 'two attempts of a lane overlap');
      });
    });
  }
  assert.equal(seen.size, expected);
}

test('a story becomes attempts: ready, start, end, how it ended', () => {
  const story = [row(10, 1), row(15, 2), row(30, 3), row(40, 1, 2), row(42, 2, 2, 'v'), row(60, 4, 2, 'v')];
  assert.deepEqual(read(story), [
    { attempt: 1, ready: 10, start: 15, end: 30, outcome: 3, worker: 'w' },
    { attempt: 2, ready: 40, start: 42, end: 60, outcome: 4, worker: 'v' },
  ]);
});

test('what waits and what runs has no end yet; what is skipped or cancelled before its start has no bar', () => {
  assert.deepEqual(read([row(1, 6)]), []);
  const [waits] = read([row(5, 1)]);
  assert.ok(Number.isNaN(waits.start) && waits.end === Infinity);
  const [runs] = read([row(5, 1), row(6, 2)]);
  assert.equal(runs.end, Infinity);
  const [cancelled] = read([row(5, 1), row(9, 7)]);
  assert.ok(Number.isNaN(cancelled.start));
  assert.equal(cancelled.end, 9);
});

test('an attempt whose worker was lost ends where it is ready again; an old worker ran since it was ready', () => {
  const lost = read([row(1, 1), row(2, 2), row(8, 1, 2), row(9, 2, 2)]);
  assert.deepEqual([lost[0].end, lost[0].outcome, lost[1].ready], [8, 3, 8]);
  const [foreign] = read([row(1, 1), row(7, 4, 1, 'old')]);
  assert.deepEqual([foreign.start, foreign.end, foreign.worker], [1, 7, 'old']);
});

test('lanes: the first free one, never more than run at once', () => {
  const start = [0, 1, 2, 5, 5, 6];
  const end = [5, 3, 9, 7, 6, 8];
  assert.deepEqual(pack([0, 1, 2, 3, 4, 5], start, end), [[0, 3], [1, 4, 5], [2]]);
});

test('lanes kept up event by event are as good as lanes packed at once', () => {
  let seed = 7;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  const slots = Array.from({ length: 6 }, () => 0);
  const stories = Array.from({ length: 400 }, () => {
    const slot = slots.indexOf(Math.min(...slots));
    const start = slots[slot] + random() * 3;
    slots[slot] = start + 5 + random() * 20;
    return [row(start - random() * 10, 1), row(start, 2), row(slots[slot], 4)];
  });
  const attempts = new Attempts(stories.length, stories.map(() => 0), nameOf);
  const lanes = new Lanes(attempts);
  const events = stories.flatMap((story, object) => story.map((step, k) => ({ t: step[0], object, upTo: k + 1 }))).sort((a, b) => a.t - b.t);
  events.forEach((event, k) => {
    attempts.replace(event.object, stories[event.object].slice(0, event.upTo).flat(), lanes);
    if (k % 7 === 0) lanes.flush();
  });
  lanes.flush();
  checkLanes({ attempts, lanes }, 400);
  assert.ok(lanes.workers[0].lanes.length <= 6);
});

test('a story told late, moved or taken back leaves no overlap and no leftover', () => {
  const { attempts, lanes } = build([[row(0, 1), row(1, 2), row(5, 4)], [row(0, 1), row(6, 2), row(9, 4)]]);
  attempts.replace(0, [row(0, 1), row(1, 2), row(8, 4)].flat(), lanes);
  lanes.flush();
  checkLanes({ attempts, lanes }, 2);
  assert.equal(lanes.workers[0].lanes.length, 2);
  attempts.replace(0, [row(0, 1), row(1, 2, 1, 'other'), row(8, 4, 1, 'other')].flat(), lanes);
  lanes.flush();
  checkLanes({ attempts, lanes }, 2);
  assert.deepEqual(lanes.workers.map((worker) => worker.lanes.length), [1, 1]);
  attempts.replace(1, [], lanes);
  lanes.flush();
  checkLanes({ attempts, lanes }, 1);
  assert.equal(levelAt(attempts.queue[0].runOn, attempts.queue[0].runOff, 7), 1);
});

test('how many are ready and run: the same, kept up or filled at once', () => {
  const stories = [[row(0, 1), row(4, 2), row(9, 4)], [row(1, 1), row(2, 2)], [row(3, 1)], [row(1, 1), row(6, 7)]];
  const { attempts } = build(stories);
  const bulk = new Attempts(4, [0, 0, 0, 0], nameOf);
  stories.forEach((story, object) => bulk.replace(object, story.flat(), {}, true));
  bulk.fillQueue();
  for (const [t, ready, running] of [[0, 1, 0], [1, 3, 0], [3, 3, 1], [5, 2, 2], [10, 1, 1]]) {
    for (const { queue } of [attempts, bulk]) {
      assert.equal(levelAt(queue[0].readyOn, queue[0].readyOff, t), ready, `ready at ${t}`);
      assert.equal(levelAt(queue[0].runOn, queue[0].runOff, t), running, `running at ${t}`);
    }
  }
});

test('peaks show what stood for less than a column', () => {
  const on = new Times();
  const off = new Times();
  on.fill([1, 1, 50]);
  off.fill([2, 2]);
  assert.deepEqual([...peaks(on, off, 0, 100, 4)], [2, 1, 1, 1]);
  assert.deepEqual([...peaks(on, off, 10, 40, 3)], [0, 0, 0]);
});

test('times take what comes late and give back what is removed', () => {
  const times = new Times();
  for (let k = 0; k < 300; k += 1) times.add((k * 37) % 300);
  assert.deepEqual([...times.values.subarray(0, times.length)], Array.from({ length: 300 }, (_, k) => k));
  assert.ok(times.remove(150));
  assert.ok(!times.remove(150));
  assert.equal(times.upTo(200), 200);
});

test('a lane is drawn in at most its width, and a failure is not lost in it', () => {
  const n = 50000;
  const stories = Array.from({ length: n }, (_, k) => [row(k * 10, 2), row(k * 10 + 10, k === 777 ? 5 : 4)]);
  const { attempts, lanes } = build(stories);
  const view = new View();
  Object.assign(view, { from: 0, to: n * 10, width: 1000 });
  const states = [];
  let bars = 0;
  sweep(attempts, lanes.workers[0].lanes[0], view, Infinity, () => (bars += 1), (x0, x1, state) => states.push([x0, x1, state]));
  assert.equal(bars, 0);
  assert.deepEqual(states.map(([, , state]) => state), [4, 5, 4]);
  assert.deepEqual(states.slice(1).map(([x0]) => x0), states.slice(0, -1).map(([, x1]) => x1));
  sweep(attempts, lanes.workers[0].lanes[0], { from: 7700, to: 7900, scale: 5 }, 7775, (a, x0, x1, state) => {
    bars += 1;
    assert.ok(a !== 777 || (state === 2 && x1 === 375), 'what had not ended by then runs');
  }, () => assert.fail('nothing is narrow here'));
  assert.ok(bars > 5);
});

test('what lies under the pointer', () => {
  const { attempts, lanes } = build([[row(0, 2), row(10, 4)], [row(20, 2), row(30, 5)]]);
  const ids = lanes.workers[0].lanes[0];
  assert.equal(firstEnding(attempts.end, ids, 10), 0);
  assert.equal(nearest(attempts, ids, 5, 1, Infinity), 0);
  assert.equal(nearest(attempts, ids, 18, 3, Infinity), 1);
  assert.equal(nearest(attempts, ids, 15, 3, Infinity), -1);
  assert.equal(nearest(attempts, ids, 25, 3, 15), -1);
});

test('ticks are round, in local time, and not too many', () => {
  const at = new Date(2026, 2, 28, 22, 3, 7, 5).getTime();
  for (const length of [30, 1000, 60e3, 3600e3, 86400e3, 40 * 86400e3, 900 * 86400e3]) {
    const step = stepFor(length / 1000, 90);
    const found = ticks(at, at + length, step);
    assert.ok(found.length >= 1 && found.length <= 12, `${length}: ${found.length} ticks`);
    assert.ok(found.every(({ t }, k) => t >= at && t <= at + length && (k === 0 || t > found[k - 1].t)));
  }
  assert.deepEqual([unitOf(200), unitOf(5000), unitOf(60000), unitOf(86400000)], ['ms', 'second', 'minute', 'day']);
  const hours = ticks(at, at + 86400e3, 6 * 3600e3);
  assert.ok(hours.every(({ t }) => new Date(t).getHours() % 6 === 0));
  assert.ok(hours.some(({ day }) => day));
});

test('zoom keeps the instant under the pointer; following ends with a pan and keeps now in sight', () => {
  const view = new View();
  view.width = 1000;
  view.setSpan({ from: 0, to: 100000, live: true });
  assert.ok(view.following);
  const t = view.t(300);
  view.zoom(4, 300);
  assert.ok(Math.abs(view.t(300) - t) < 1e-6);
  assert.ok(!view.following);
  view.follow();
  assert.ok(view.x(100000) < 1000 && view.x(100000) > 900);
  view.setSpan({ from: 0, to: 105000, live: true });
  assert.ok(view.x(105000) < 1000 && view.x(105000) > 900);
  view.pan(-100);
  assert.ok(!view.following);
  for (let k = 0; k < 60; k += 1) view.zoom(0.5);
  assert.equal(view.mode, 'whole');
  for (let k = 0; k < 60; k += 1) view.zoom(2);
  assert.ok(view.to - view.from >= 20);
});

test('headings and lanes have their places', () => {
  const { groups, height } = arrange([
    { name: 'w10', index: 0, stage: 0, lanes: [[1]] },
    { name: 'app', index: 1, stage: 2, lanes: [[1], [2]] },
    { name: 'w2', index: 2, stage: 0, lanes: [[1]] },
    { name: 'idle', index: 3, stage: 0, lanes: [] },
  ]);
  assert.deepEqual(groups.map((group) => group.name), ['w2', 'w10', 'app']);
  assert.equal(height, 3 * HEADING + 4 * LANE);
  assert.equal(laneAt(groups, 5), null);
  assert.equal(laneAt(groups, HEADING + 1).group.name, 'w2');
  assert.deepEqual([laneAt(groups, height - 1).group.name, laneAt(groups, height - 1).lane], ['app', 1]);
  assert.equal(laneAt(groups, height + 1), null);
});
