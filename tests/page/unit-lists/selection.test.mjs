import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lineOf } from '../../../static/js/events/record.js';
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

test('a request says in the list of events what it selects', () => {
  const asked = (rest) => lineOf({ event_type: 'RunRequested', targets: [], requested_by: 'marie', event_datetime: '2026-01-01T00:00:00.000000Z', run_id: 'r', ...rest }).note;
  assert.equal(asked({}), 'marie');
  assert.equal(asked({ targets: ['+3005', 7], exclude: ['2005'] }), '+3005 7 --exclude 2005 · marie');
  assert.equal(asked({ targets: 'strange', exclude: { a: 1 } }), 'marie');
});
