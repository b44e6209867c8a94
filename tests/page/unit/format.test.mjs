// How times and numbers are written, in both languages.

import assert from 'node:assert/strict';
import test from 'node:test';

import { GLYPHS, STATES, about, ago, clock, dateTime, duration, number } from '../../../static/js/format.js';
import { use } from '../../../static/js/i18n.js';
import { linesOf } from '../../../static/js/next.js';

const plain = (text) => text.replace(/[\u00a0\u202f]/g, ' ');
const both = (write) => ['en', 'fr'].map((language) => {
  use(language, { 'unit.day': language === 'fr' ? 'j' : 'd' });
  return plain(write());
});

test('durations', () => {
  for (const [seconds, en, fr] of [
    [null, '–', '–'], [undefined, '–', '–'], [NaN, '–', '–'], [-3, '0 ms', '0 ms'], [0.0234, '23 ms', '23 ms'], [0.0996, '0.1 s', '0,1 s'], [0.5, '0.5 s', '0,5 s'],
    [9.94, '9.9 s', '9,9 s'], [9.97, '10 s', '10 s'], [59.4, '59 s', '59 s'], [59.6, '1 min 00 s', '1 min 00 s'], [185, '3 min 05 s', '3 min 05 s'],
    [3599.7, '1 h 00 min', '1 h 00 min'], [7620, '2 h 07 min', '2 h 07 min'], [4 * 86400 + 3 * 3600, '4 d 3 h', '4 j 3 h'],
  ]) assert.deepEqual(both(() => duration(seconds)), [en, fr], String(seconds));
});

test('numbers', () => {
  assert.deepEqual(both(() => number(1234567)), ['1,234,567', '1 234 567']);
  assert.deepEqual(both(() => number(2.345, 1)), ['2.3', '2,3']);
  assert.deepEqual(both(() => number(null)), ['–', '–']);
});

test('instants, from ms and from RFC 3339', () => {
  const at = new Date(2026, 0, 2, 3, 4, 5);
  assert.deepEqual(both(() => clock(at.getTime())), ['03:04:05', '03:04:05']);
  assert.deepEqual(both(() => clock(at.toISOString())), ['03:04:05', '03:04:05']);
  assert.deepEqual(both(() => clock(null)), ['–', '–']);
  assert.deepEqual(both(() => clock('never')), ['–', '–']);
  const [en, fr] = both(() => dateTime(at.getTime()));
  assert.match(en, /2 Jan 2026.*03:04:05/);
  assert.match(fr, /2 janv\. 2026.*03:04:05/);
});

test('an instant to come is no nearer than it is known', () => {
  const now = new Date(2026, 0, 2, 3, 0, 0).getTime();
  assert.deepEqual(both(() => about(now + 90_000, now)), ['03:01:30', '03:01:30']);
  assert.deepEqual(both(() => about(now + 12 * 60_000 + 5_000, now)), ['03:12', '03:12']);
  const [en, fr] = both(() => about(now + 86_400_000, now));
  assert.match(en, /3 Jan.*03:00/);
  assert.match(fr, /3 janv\..*03:00/);
  assert.equal(about('never', now), '–');
});

test('what a schedule starts next', () => {
  const now = new Date(2026, 0, 2, 3, 0, 0).getTime();
  const at = (hours) => new Date(now + hours * 3_600_000).toISOString();
  use('en', { 'next.all': '{time} all', 'next.some.one': '{time} {n} one', 'next.some.other': '{time} {n} some' });
  assert.deepEqual(linesOf({ next: [{ at: at(2), count: 3, everything: false }, { at: at(3), count: 1, everything: false }, { at: at(4), count: 9, everything: true }] }, now), ['05:00 3 some', '06:00 1 one', '07:00 all']);
  assert.match(linesOf({ next: [{ at: at(50), count: 2, everything: false }] }, now)[0], /4 Jan 2026/);
  assert.deepEqual([linesOf(null, now), linesOf({}, now), linesOf({ next: [] }, now)], [[], [], []]);
});

test('how long ago', () => {
  const now = 1_000_000_000;
  assert.deepEqual(both(() => ago(now - 3_000, now)), ['3 sec ago', 'il y a 3 s']);
  assert.deepEqual(both(() => ago(now - 125_000, now)), ['2 min ago', 'il y a 2 min']);
  assert.match(both(() => ago(now + 5_000, now))[0], /^0 sec/, 'a clock that is ahead');
});

test('every state has a sign of its own', () => {
  assert.equal(new Set(STATES.map((state) => GLYPHS[state])).size, STATES.length);
});
