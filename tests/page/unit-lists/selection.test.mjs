import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lineOf } from '../../../static/js/events/record.js';
import { limitsOf, rulesOf } from '../../../static/js/options.js';
import { selectionOf } from '../../../static/js/selection.js';

test('a selection is read as the command line would', () => {
  const table = [
    ['', [], []],
    ['  +3005\n2002+ ', ['+3005', '2002+'], []],
    ['+3005,stage:ingest', ['+3005,stage:ingest'], []],
    ['name:"Temps passé, mois"+ 7', ['name:"Temps passé, mois"+', '7'], []],
    ['+3005 --exclude 2005 3001 --exclude=name:"a b"', ['+3005', '3001'], ['2005', 'name:"a b"']],
    ['--exclude stage:ingest', [], ['stage:ingest']],
    ['--exclude', [], ['']],
    ['--exclude=', [], ['']],
    ['--excluded', ['--excluded'], []],
    ['name:"a b', ['name:"a', 'b'], []], // the server says that a quote is not closed
  ];
  for (const [text, targets, exclude] of table) assert.deepEqual(selectionOf(text), { targets, exclude }, text);
});

test('a mark says in the list of events as what, why and by whom', () => {
  const marked = lineOf({ event_type: 'ObjectMarked', id_objet: 7, meta: { state: 'loaded', because: 'mended by hand', requested_by: 'marie' }, event_datetime: '2026-01-01T00:00:00.000000Z', run_id: 'r' });
  assert.deepEqual([marked.note, marked.object], ['loaded · mended by hand · marie', '7']);
});

test('rules are sent as they are typed, and not where they are empty', () => {
  assert.deepEqual(rulesOf({}), {});
  assert.deepEqual(rulesOf({ onFailure: '', retries: ' ', backoff: '', timeout: '', fresh: '', limits: ' \n,' }), {});
  assert.deepEqual(rulesOf({ onFailure: 'continue', retries: ' 2 ', backoff: '30s', timeout: ' 15m', fresh: '30m', limits: 'source=Sage:2' }),
    { on_failure: 'continue', retries: 2, backoff: '30s', timeout: '15m', fresh: '30m', limits: ['source=Sage:2'] });
  assert.deepEqual([rulesOf({ retries: '0' }).retries, rulesOf({ retries: 'two' }).retries], [0, 'two'], 'the server says what is wrong');
});

test('limits stand on lines or behind commas', () => {
  const table = [
    ['source=Sage:2', ['source=Sage:2']],
    ['source=Sage:2, stage=ingest:8\n\n source=*:4 ,', ['source=Sage:2', 'stage=ingest:8', 'source=*:4']],
    ['NomEntreprise=Verre, Lumière:3,stage=ingest:1', ['NomEntreprise=Verre, Lumière:3', 'stage=ingest:1']],
    ['source=Sage', ['source=Sage']],
    ['source=Sage:2, stage', ['source=Sage:2', 'stage']],
  ];
  for (const [text, limits] of table) assert.deepEqual(limitsOf(text), limits, text);
});

test('a request says in the list of events what it selects', () => {
  const asked = (rest) => lineOf({ event_type: 'RunRequested', targets: [], requested_by: 'marie', event_datetime: '2026-01-01T00:00:00.000000Z', run_id: 'r', ...rest }).note;
  assert.equal(asked({}), 'marie');
  assert.equal(asked({ targets: ['+3005', 7], exclude: ['2005'] }), '+3005 7 --exclude 2005 · marie');
  assert.equal(asked({ targets: 'strange', exclude: { a: 1 } }), 'marie');
});
