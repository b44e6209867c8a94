import assert from 'node:assert/strict';
import { test } from 'node:test';
import { t } from '../../../static/js/i18n.js';
import { sentences } from '../../../static/js/panel/explain.js';
import { plain, rich } from '../../../static/js/panel/rich.js';
import { speak, texts } from './words.mjs';

const words = { t, duration: (seconds) => `${seconds} s`, clock: (at) => at };
const run = (rest = {}) => ({ run_id: 'r-1', state: 'running', reason: null, cancelling: false, before: [], leader: { led: true, epoch: 1, silent_seconds: 0 }, ...rest });
const about = (object, rest = {}) => ({ run: run(rest.run), object: { id: 2001, name: 'Clients', stage: 'standardize', ...object }, chains: rest.chains ?? [], more: rest.more ?? 0 });
const busy = { reason: 'slots-busy', slots: 8, workers: 2, by: [{ id: 7, name: 'Sept', worker: 'w', seconds: 3, run_id: 'r-0' }, { id: 8, name: null, worker: 'v', seconds: null, run_id: null }], more: 6 };

function said(explanation) {
  const flat = (lines, depth) => lines.flatMap((line) => [`${'  '.repeat(depth)}${plain(line.parts)}`, ...flat(line.below, depth + 1)]);
  return flat(sentences(explanation, words), 0);
}

function check(explanation, english, french) {
  speak('en');
  assert.deepEqual(said(explanation), english);
  speak('fr');
  assert.deepEqual(said(explanation).map((text) => text.replaceAll('\u00a0', ' ')), french);
}

test('a thing in a sentence stays a thing, and a parameter cannot forge one', () => {
  speak('en');
  assert.deepEqual(rich(t, 'hold.busy', { object: { object: 7, name: 'x' }, worker: '\ue0000\ue001', since: '' }), [{ object: 7, name: 'x' }, ' on 0']);
});

test('where an object stands', () => {
  check(about({ state: 'loaded', attempt: 2, worker: 'w', at: '10:00', duration_seconds: 1.5 }), ['Loaded on w in 1.5 s at 10:00, attempt 2.'], ['Chargé sur w en 1.5 s, à 10:00, tentative 2.']);
  check(about({ state: 'running', attempt: 1, worker: 'w', since: '10:00', seconds: 3, silent_seconds: 12 }),
    ['Running on w for 3 s, since 10:00.', 'That worker has been silent for 12 s: the object is given to another one.'],
    ['En cours sur w depuis 3 s (début à 10:00).', 'Ce worker ne donne plus signe de vie depuis 12 s : l’objet est confié à un autre.']);
  check(about({ state: 'failed', attempts: 2, worker: 'w', at: '10:00', error: '<img src=x onerror=alert(1)>', stderr: null }),
    ['Failed after 2 attempts on w at 10:00:', '<img src=x onerror=alert(1)>'], ['En échec après 2 tentatives sur w à 10:00 :', '<img src=x onerror=alert(1)>']);
  check(about({ state: 'retrying', attempt: 1, worker: null, error: 'e', hold: { reason: 'soon' } }),
    ['Attempt 1 failed, it is tried again:', 'e', 'Nothing stands in its way: it is its turn at any moment'],
    ['Échec de la tentative 1, un nouvel essai suit :', 'e', 'Rien ne s’y oppose : son tour vient d’un instant à l’autre']);
  check(about({ state: 'satisfied', needed_by: [3001, 3002] }),
    ['This run does not load it: it is inactive or kept elsewhere, and counts as loaded.', 'Needed by 3001, 3002.'],
    ['Cette exécution ne le charge pas : inactif ou tenu ailleurs, il compte comme chargé.', 'Nécessaire à 3001, 3002.']);
});

test('what a ready object waits for', () => {
  check(about({ state: 'ready', attempt: 1, since: '10:00', seconds: 4, hold: busy }),
    ['Ready for 4 s, waits for a worker.', 'All 8 slots of 2 workers for standardize are taken', '  7 Sept on w for 3 s (run r-0)', '  8 on v', '  and 6 more'],
    ['Prêt depuis 4 s, attend un worker.', `Les 8 créneaux de 2 workers pour ${texts('fr')['stage.standardize']} sont tous pris`, '  7 Sept sur w depuis 3 s (exécution r-0)', '  8 sur v', '  et 6 de plus']);
  speak('en');
  const holds = (hold, rest) => said(about({ state: 'ready', attempt: 1, since: null, seconds: null, hold }, rest)).slice(1);
  assert.deepEqual(holds({ reason: 'no-worker', lost: ['a', 'b'] }), ['No worker serves standardize (a, b silent or leaving): start one, or it is left to consumers of the old format']);
  assert.deepEqual(holds({ ...busy, slots: 1, by: [], more: 0 }), ['The only slot for standardize is taken']);
  assert.match(holds({ reason: 'strangers' })[0], /consumers of the old format/);
  assert.match(holds({ reason: 'perhaps-strangers' })[0], /slot is free/);
  assert.deepEqual(holds({ reason: 'no-leader' }, { run: { leader: { led: false } } }), ['No orchestrator leads: it is given to a worker once one does']);
  assert.deepEqual(holds({ reason: 'cancelling' }, { run: { cancelling: true } }), ['The run is being cancelled: nothing new starts']);
});

test('what holds an object back by the rules of its run', () => {
  const retrying = (hold) => about({ state: 'retrying', attempt: 1, worker: null, error: 'e', hold });
  check(retrying({ reason: 'backoff', until: '10:05', seconds: 30 }),
    ['Attempt 1 failed, it is tried again:', 'e', 'It waits for another try until 10:05, in 30 s'],
    ['Échec de la tentative 1, un nouvel essai suit :', 'e', 'Le nouvel essai n’aura pas lieu avant 10:05, dans 30 s']);
  check(about({ state: 'ready', attempt: 1, since: null, seconds: null, hold: { reason: 'limit', limit: 'source=Sage:1', by: [busy.by[1]], more: 0 } }),
    ['Ready, waits for a worker.', 'Held back by limit source=Sage:1: 1 is running', '  8 on v'],
    ['Prêt, attend un worker.', 'Retenu par la limite source=Sage:1 : 1 est en cours', '  8 sur v']);
  speak('en');
  const held = (reason) => said(about({ state: 'ready', attempt: 1, since: null, seconds: null, hold: { reason } }))[1];
  assert.match(held('paused'), /^The run is paused/);
  assert.match(held('stopping'), /^The run stops at the first failure/);
  assert.match(said(about({ state: 'skipped', stopped: true }))[0], /the run stops at the first failure/);
  const culprit = { id: 1001, name: null, stage: 'ingest', state: 'retrying', attempt: 1, worker: null, error: 'e', hold: { reason: 'backoff', until: '10:05', seconds: 30 } };
  assert.equal(said(about({ state: 'waiting', unmet: 1 }, { chains: [{ via: [], omitted: 0, culprit }] })).at(-1), '  1001 (ingest) failed and is tried again in 30 s: e');
  assert.equal(said(about({ state: 'waiting', unmet: 1 }, { run: { state: 'paused', paused: { by: 'marie', at: '10:00' } } })).at(-1), 'The run is paused by marie since 10:00: it goes on with Resume.');
});

test('what is said of an object beside its state', () => {
  const mark = (state) => ({ at: '10:00', state, because: 'mended', requested_by: 'marie' });
  check(about({ state: 'loaded', attempt: 1, worker: null, at: '10:00', duration_seconds: null, marked: mark('loaded') }),
    ['Marked “loaded” by marie: mended (at 10:00).'], ['Marqué « chargé » par marie : mended (à 10:00).']);
  check(about({ state: 'failed', attempts: 1, worker: null, at: '10:00', error: '', stderr: null, marked: mark('failed') }),
    ['Marked “failed” by marie: mended (at 10:00).'], ['Marqué « en échec » par marie : mended (à 10:00).']);
  check(about({ state: 'loaded', attempt: 1, worker: null, at: '10:00', duration_seconds: null, reused: { at: '09:00', run_id: 'r-0' } }),
    ['Reused: run r-0 loaded it at 09:00, and that is fresh enough.'], ['Réutilisé : l’exécution r-0 l’a chargé à 09:00, et c’est assez récent.']);
  check(about({ state: 'loaded', attempt: 1, worker: 'w', at: '10:00', duration_seconds: 1, degraded: [{ id: 7, name: 'Sept', state: 'failed', version: { at: '09:00', run_id: 'r-0' } }, { id: 8, name: null, state: 'loaded', version: null }] }),
    ['Loaded on w in 1 s at 10:00.', 'Degraded: 7 Sept failed in this run, an older version serves, that of 09:00 (run r-0).', 'Degraded: 8 has no version of this run, an older version serves.'],
    ['Chargé sur w en 1 s, à 10:00.', 'Dégradé : 7 Sept a échoué dans cette exécution, une version antérieure sert à sa place, celle de 09:00 (exécution r-0).', 'Dégradé : 8 n’a pas de version de cette exécution, une version antérieure sert à sa place.']);
  speak('en');
  const culprit = { id: 1001, name: null, stage: 'ingest', state: 'failed', attempts: 1, worker: null, error: '', marked: mark('failed') };
  assert.equal(said(about({ state: 'skipped' }, { chains: [{ via: [], omitted: 0, culprit }] })).at(-1), '  1001 (ingest) is marked “failed” by marie: mended');
});

test('the ways to the causes are a tree in which what they share is told once', () => {
  const via = [{ id: 2002, name: 'Projets', stage: 'standardize', state: 'waiting' }];
  const chains = [
    { via, omitted: 0, culprit: { id: 1001, name: null, stage: 'ingest', state: 'failed', attempts: 1, worker: 'w', error: 'e' } },
    { via, omitted: 3, culprit: { id: 1002, name: null, stage: 'ingest', state: 'ready', attempt: 1, hold: { ...busy, by: [busy.by[0]], more: 7 } } },
    { via: [], omitted: 0, culprit: { id: 1003, name: null, stage: 'ingest', state: 'running', attempt: 2, worker: null, seconds: 1, silent_seconds: null } },
  ];
  speak('en');
  assert.deepEqual(said(about({ state: 'waiting', unmet: 2 }, { chains, more: 4 })), [
    'Waits for 2 parents that are not loaded yet.',
    '7 causes, the gravest first:',
    '  2002 Projets (standardize) waits',
    '    1001 (ingest) failed after 1 attempt on w: e',
    '    … 3 objects between …',
    '      1002 (ingest) is ready: all 8 slots of 2 workers for ingest are taken by 7, 7 more',
    '  1003 (ingest) is running for 1 s, attempt 2',
    '  and 4 more',
  ]);
});

test('what the run has to do with it', () => {
  check(about({ state: 'not-run', was: 'waiting' }, { run: { state: 'cancelled', reason: 'marie' } }),
    ['It did not run: the run ended while it was “waiting”.', 'The run is over: cancelled (marie).'],
    ['Il n’a pas été chargé : l’exécution s’est terminée alors qu’il était à l’état « en attente ».', 'L’exécution est terminée : annulée (marie).']);
  speak('en');
  assert.deepEqual(said(about({ state: 'not-planned', stage: null }, { run: { state: 'queued', before: ['r-0'] } })), ['It does not run: run r-1 has no plan.', 'The run waits for its turn behind r-0.']);
  assert.deepEqual(said(about({ state: 'skipped' }, { run: { leader: { led: false } } })), ['Skipped: an object that it needs has failed.', 'No orchestrator leads: nothing is decided until one does.']);
});

test('both languages have every key of these views, with the same parameters', () => {
  const [en, fr] = [texts('en'), texts('fr')];
  const own = Object.keys({ ...en, ...fr }).filter((key) => /^(explain|hold|cause|panel|table|events|runs|workers)\./.test(key));
  for (const key of own) {
    assert.ok(en[key] !== undefined && fr[key] !== undefined, key);
    const params = (text) => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort().join();
    assert.equal(params(fr[key]), params(en[key]), key);
    assert.doesNotMatch(fr[key], / [:;?!»]|« /, `${key}: a breakable space`);
  }
});
