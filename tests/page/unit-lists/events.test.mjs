import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Buffer, KEPT } from '../../../static/js/events/buffer.js';
import { lineOf, pretty, wants } from '../../../static/js/events/record.js';

const event = (n, rest = {}) => ({ event_type: 'ObjectReady', id_objet: n, attempt: 1, event_datetime: new Date(1e12 + n).toISOString(), run_id: 'r', ...rest });
const everything = { types: new Set(), object: null, q: '' };

test('a line says what an event says, whoever wrote it', () => {
  const failed = lineOf({ event_type: 'ObjectFailed', id_objet: 2005, attempt: 2, meta: { worker: 'w', error: 'forcé' }, event_datetime: '2026-01-01T00:00:00.000000Z' });
  assert.deepEqual([failed.type, failed.object, failed.worker, failed.attempt, failed.note], ['ObjectFailed', '2005', 'w', '2', 'forcé']);
  const old = lineOf({ event_type: 'ObjectLoaded', id_objet: '1001', meta: null, event_datetime: '2025-09-22T10:00:00.000000' });
  assert.equal(old.at, Date.parse('2025-09-22T10:00:00Z'));
  for (const strange of [null, 7, 'text', [], { event_type: { a: 1 }, meta: 'x', id_objet: {} }]) assert.equal(typeof lineOf(strange).type, 'string');
});

test('a very long event keeps its beginning', () => {
  const line = lineOf(event(1, { meta: { text: 'x'.repeat(500_000) } }));
  assert.ok(line.text.length <= 32 * 1024 && line.chars > 500_000);
  assert.equal(pretty(line).cut, true);
  assert.equal(pretty(lineOf(event(1))).text, JSON.stringify(event(1), null, 2));
});

test('lines are wanted by type, object and text without accents', () => {
  const line = lineOf(event(5, { meta: { error: 'Échec' } }));
  assert.ok(wants(line, everything));
  assert.ok(wants(line, { types: new Set(['ObjectReady']), object: '5', q: 'echec' }));
  assert.ok(!wants(line, { ...everything, object: '50' }));
  assert.ok(!wants(line, { ...everything, types: new Set(['RunFinished']) }));
  assert.ok(!wants(line, { ...everything, q: 'absent' }));
});

test('the buffer keeps the last ones, their counts and what is shown of them', () => {
  const buffer = new Buffer();
  buffer.want({ ...everything, types: new Set(['ObjectFailed']) });
  let gone = 0;
  for (let n = 0; n < 3 * KEPT; n += 1) gone += buffer.add([lineOf(event(n, { event_type: n % 10 === 0 ? 'ObjectFailed' : 'ObjectReady' }))]);
  assert.equal(buffer.lines.length, KEPT);
  assert.equal(buffer.shown.length, (3 * KEPT) / 10, 'what is looked for outlives the rest');
  assert.equal(gone, 0);
  assert.deepEqual([...buffer.counts.values()].reduce((a, b) => a + b), KEPT);
  assert.equal(buffer.lines.at(-1).object, String(3 * KEPT - 1));
  buffer.want(everything);
  assert.equal(buffer.add([lineOf(event(9e6))]), 1);
  buffer.add(Array.from({ length: 5 * KEPT }, (_, n) => lineOf(event(n))));
  assert.equal(buffer.lines.length, KEPT);
});

test('what is fetched and what is streamed are one list, in order, each event once', () => {
  const buffer = new Buffer();
  buffer.add([event(3), event(4)].map(lineOf));
  buffer.merge([event(1), event(2), event(3)].map(lineOf));
  assert.deepEqual(buffer.shown.map((line) => line.object), ['1', '2', '3', '4']);
});

test('older events of an object stay though newer ones of others are many', () => {
  const buffer = new Buffer();
  buffer.add(Array.from({ length: KEPT }, (_, n) => lineOf(event(n + 100))));
  buffer.want({ ...everything, object: '7' });
  buffer.merge([event(7)].map(lineOf));
  buffer.add(Array.from({ length: KEPT }, (_, n) => lineOf(event(n + 10_000))));
  assert.deepEqual(buffer.shown.map((line) => line.object), ['7']);
});

test('the buffer is bounded by characters too', () => {
  const buffer = new Buffer();
  for (let n = 0; n < 1000; n += 1) buffer.add([lineOf(event(n, { meta: { text: 'y'.repeat(40_000) } }))]);
  assert.ok(buffer.lines.reduce((sum, line) => sum + line.text.length, 0) <= 16 * 1024 * 1024);
  assert.ok(buffer.lines.length > 100);
});
