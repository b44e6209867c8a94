// What a user says of a run by hand, and what is shown of it: pauses, marks, retries from an object, rules, badges.

import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';

import { GATED } from './support/korch.mjs';
import { inStates, row, rowsIn, runIn, tableRows, until } from './support/look.mjs';
import { pageTest } from './support/page.mjs';
import { said, t } from './support/words.mjs';

const button = (page, key) => page.getByRole('button', { name: t(key), exact: true });
const events = async (korch, run, type) => (await korch.get('events/last?limit=1000')).last_events
  .filter((event) => event.run_id === run && event.event_type === type);
/** 2005 fails while the file `bad` is there. */
const MENDABLE = ['--exec', 'if [ -e bad ] && [ "$KORCH_OBJECT_ID" = 2005 ]; then echo refused >&2; exit 1; fi'];
const breaks = (korch) => writeFile(path.join(korch.dir, 'bad'), '');
const mends = (korch) => rm(path.join(korch.dir, 'bad'));

pageTest('a run is paused and goes on', { args: GATED }, async ({ korch, open }) => {
  const run = await korch.run();
  const page = await open({ address: '#/runs/latest/table' });
  const other = await open({ address: '#/runs', locale: 'fr-FR' });
  await rowsIn(page, { 1001: 'running' });
  await button(page, 'pause.button').focus();
  await page.keyboard.press('Enter');
  await runIn(page, 'paused');
  await button(page, 'resume.button').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.textContent.includes('▷')), true, 'the focus stays');
  assert.equal(await button(page, 'pause.button').count(), 0);
  assert.ok(await button(page, 'cancel.button').isVisible(), 'what is paused can be cancelled');
  await page.locator('#header .run-state').getByText(t('run-state.paused')).waitFor();
  await page.locator('#header .when').getByText(/paused by page since \d\d:\d\d:\d\d/).waitFor();
  await other.locator('.runs-table tbody tr').getByText(said('fr', 'run-state.paused')).waitFor();
  await until(other, 'the header in French', (word) => document.querySelector('#header .when').textContent.includes(word), 'mise en pause par page');

  // What runs is finished, and nothing else starts.
  await korch.openGates('ingest', 'standardize', 'application');
  await rowsIn(page, { 1001: 'loaded', 2005: 'waiting', 3001: 'waiting' });
  await until(page, 'why, in the row', (text) => [...document.querySelectorAll('.grid-body .grid-row')].some((shown) => shown.querySelector('[data-key=detail]').textContent === text), t('table.paused'));
  await row(page, 2005).click();
  await page.locator('#panel').getByText(/the run is paused: nothing new starts/i).waitFor();
  await page.locator('#panel').getByText(/paused by page since/).waitFor();

  // On a narrow page all of its buttons are in sight.
  await other.setViewportSize({ width: 360, height: 740 });
  await other.evaluate(() => { location.hash = '#/runs/latest/graph'; });
  const out = () => other.locator('#header button').evaluateAll((all) => all.filter((one) => one.checkVisibility() && one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.textContent));
  assert.deepEqual(await out(), []);
  await other.getByRole('button', { name: said('fr', 'resume.button') }).waitFor();

  await button(page, 'resume.button').click();
  await runIn(page, 'failed');
  await rowsIn(page, { 2005: 'failed', 3007: 'skipped', 3001: 'loaded' });
  assert.equal(await button(page, 'pause.button').isVisible(), false);
  assert.deepEqual((await events(korch, run, 'RunPauseRequested')).map((event) => event.requested_by), ['page']);
  assert.equal((await events(korch, run, 'RunResumeRequested')).length, 1);
});

pageTest('an object is marked for a reason, while the run goes on and when it is over', { args: GATED }, async ({ korch, open }) => {
  const run = await korch.run();
  const page = await open({ address: '#/runs/latest/table?object=2005' });
  const panel = page.locator('#panel');
  await korch.openGates('ingest', 'standardize');
  await rowsIn(page, { 2005: 'failed', 3007: 'skipped', 3001: 'running' });
  assert.equal(await button(panel, 'mark.failed.button').count(), 0, 'it has failed already');
  assert.equal(await button(panel, 'retry-from.button').count(), 0, 'what goes on is not retried');

  // A mark has a reason.
  await button(panel, 'mark.loaded.button').focus();
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog', { name: t('mark.loaded.title') });
  await dialog.waitFor();
  assert.equal(await dialog.getByText(t('mark.over')).count(), 0);
  await page.keyboard.press('Enter');
  await dialog.getByText(t('mark.missing')).waitFor();
  assert.equal((await events(korch, run, 'ObjectMarked')).length, 0);
  await dialog.getByLabel(t('mark.because')).fill('mended by hand <b>');
  await dialog.getByLabel(t('mark.by')).fill('Marie');
  await page.keyboard.press('Enter');
  await dialog.waitFor({ state: 'detached' });
  await inStates(page, { 2005: 'loaded' });
  const [marked] = await events(korch, run, 'ObjectMarked');
  assert.deepEqual([marked.id_objet, marked.meta.state, marked.meta.because, marked.meta.requested_by], [2005, 'loaded', 'mended by hand <b>', 'Marie']);
  await panel.locator('.panel-badges').getByText(t('badge.marked-loaded')).waitFor();
  await panel.getByText(/Marked “loaded” by Marie: mended by hand <b>/).waitFor();
  await until(page, 'the mark in the row', (word) => [...document.querySelectorAll('.grid-body .grid-row')].some((shown) => shown.querySelector('[data-key=state]').textContent.includes(word)), t('badge.marked-loaded'));
  assert.equal(await button(panel, 'mark.loaded.button').count(), 0, 'what is loaded is not marked');
  await until(page, 'the focus in the panel, though its button is gone', () => document.activeElement.closest('#panel') !== null);
  await inStates(page, { 3007: 'running' });

  // As failed, with what is remembered of who it is; then the run ends.
  await row(page, 3001).click();
  await panel.getByRole('heading', { name: /^3001/ }).waitFor();
  await button(panel, 'mark.failed.button').click();
  const failing = page.getByRole('dialog', { name: t('mark.failed.title') });
  assert.equal(await failing.getByLabel(t('mark.by')).inputValue(), 'Marie');
  await failing.getByLabel(t('mark.because')).fill('wrong figures');
  await failing.getByRole('button', { name: t('mark.failed.go'), exact: true }).click();
  await failing.waitFor({ state: 'detached' });
  await inStates(page, { 3001: 'failed' });
  await korch.openGates('application');
  await runIn(page, 'failed');
  await inStates(page, { 3007: 'loaded', 3002: 'loaded' });

  // The outcome stands; what may be done about it has changed.
  await button(panel, 'mark.loaded.button').click();
  await dialog.getByText(t('mark.over')).waitFor();
  await dialog.getByLabel(t('mark.because')).fill('right after all');
  await dialog.getByRole('button', { name: t('mark.loaded.go'), exact: true }).click();
  await dialog.waitFor({ state: 'detached' });
  await inStates(page, { 3001: 'loaded' });
  assert.equal((await korch.get(`runs/${run}?state=`)).state, 'failed');
  await until(page, 'nothing to retry', (word) => [...document.querySelectorAll('#header .actions button')].every((shown) => shown.hidden || !shown.textContent.endsWith(word)), t('retry.button'));
  await page.locator('.bar .chips').getByRole('button', { name: new RegExp(t('badge.marked')) }).click();
  await until(page, 'the marked ones alone', () => document.querySelectorAll('.view-table .grid-body .grid-row').length === 2);
  assert.match(page.url(), /state=marked/);

  // The log says who and why, the page too.
  await page.locator('#tabs').getByRole('link', { name: t('view.events') }).click();
  await page.locator('.events-body').getByText('loaded · right after all · Marie').waitFor();
});

pageTest('what a mark meets is said where it fails', { args: GATED, env: { KORCH_API_TOKEN: 'quite-a-long-secret-0123456789' } }, async ({ korch, open }) => {
  await korch.post('orchestrate', {}, { authorization: 'Bearer quite-a-long-secret-0123456789' });
  const page = await open({ address: '#/runs/latest/table?object=1001', expected: [/status of 401/, /status of 409/] });
  await inStates(page, { 1001: 'running' });
  await button(page.locator('#panel'), 'mark.loaded.button').click();
  const dialog = page.getByRole('dialog', { name: t('mark.loaded.title') });
  await dialog.getByLabel(t('mark.because')).fill('known');
  await korch.openGates('ingest');
  await inStates(page, { 1001: 'loaded' });
  await dialog.getByRole('button', { name: t('mark.loaded.go'), exact: true }).click();
  const token = page.getByRole('dialog', { name: t('token.title') });
  await token.getByLabel(t('token.label')).fill('quite-a-long-secret-0123456789');
  await page.keyboard.press('Enter');
  await token.waitFor({ state: 'detached' });
  await dialog.getByRole('alert').getByText(/1001 .*is loaded already/).waitFor();
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
});

pageTest('a run is started by rules of its own', { args: ['--delay', '0s', '--fail-ids', ''] }, async ({ korch, open }) => {
  const page = await open({ expected: [/status of 400/] });
  await button(page, 'start.button').click();
  const dialog = page.getByRole('dialog', { name: t('start.title') });
  assert.equal(await dialog.getByLabel(t('option.retries')).isVisible(), false, 'they are folded away');
  await dialog.getByText(t('option.title'), { exact: true }).click();
  await dialog.getByRole('radio', { name: new RegExp(`^${t('option.on-failure.continue')}`) }).check();
  await dialog.getByLabel(t('option.retries')).fill('2');
  await dialog.getByLabel(t('option.backoff')).fill('30 parsecs');
  await dialog.getByLabel(t('option.timeout')).fill('15m');
  await dialog.getByLabel(t('option.fresh')).fill('30m');
  await dialog.getByLabel(t('option.limits')).fill('source=Sage:2, stage=ingest:4\nsource=*:3');
  await dialog.getByRole('button', { name: t('start.go'), exact: true }).click();
  await dialog.getByRole('alert').getByText(/30 parsecs/).waitFor();
  assert.equal((await korch.get('runs')).runs.length, 0);
  await dialog.getByLabel(t('option.backoff')).fill('30s');
  await dialog.getByRole('button', { name: t('start.go'), exact: true }).click();
  const run = await runIn(page, 'succeeded');
  const [asked] = await events(korch, run, 'RunRequested');
  const { rules } = await korch.get(`runs/${run}?state=`);
  assert.deepEqual(rules, { retries: 2, backoff: '30s', timeout: '15m', on_failure: 'continue', limits: ['source=Sage:2', 'stage=ingest:4', 'source=*:3'] });
  assert.deepEqual([asked.on_failure, asked.retries, asked.limits, asked.fresh, asked.requested_by], ['continue', 2, ['source=Sage:2', 'stage=ingest:4', 'source=*:3'], '30m', 'page']);

  // Left alone, they say nothing.
  await button(page, 'start.button').click();
  await dialog.getByRole('button', { name: t('start.go'), exact: true }).click();
  const plain = await runIn(page, 'succeeded', run);
  const [without] = await events(korch, plain, 'RunRequested');
  for (const field of ['on_failure', 'retries', 'backoff', 'timeout', 'limits', 'fresh']) assert.ok(without[field] === undefined || without[field] === null || without[field].length === 0, `${field}: ${JSON.stringify(without)}`);
});

pageTest('a retry from an object', { args: MENDABLE }, async ({ korch, open }) => {
  await breaks(korch);
  const first = await korch.run();
  await korch.finished(first);
  await mends(korch);
  const page = await open({ address: '#/runs/latest/graph?object=3007', expected: [/status of 409/] });
  const panel = page.locator('#panel');
  await runIn(page, 'failed');
  await button(panel, 'retry-from.button').click();
  const dialog = page.getByRole('dialog', { name: t('retry-from.title') });
  await dialog.getByText(t('retry-from.alone')).waitFor();
  await dialog.getByRole('button', { name: t('retry-from.go'), exact: true }).click();
  await dialog.getByRole('alert').getByText(/2005/).waitFor();
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });

  await page.evaluate(() => { location.hash = '#/runs/latest/graph?object=2005'; });
  await panel.getByRole('heading', { name: /^2005/ }).waitFor();
  await button(panel, 'retry-from.button').click();
  await dialog.getByText(t('retry-from.text', { n: 1 })).waitFor();
  await dialog.getByRole('button', { name: t('retry-from.go'), exact: true }).click();
  const second = await runIn(page, 'succeeded', first);
  const detail = await korch.get(`runs/${second}`);
  assert.deepEqual([detail.retry_of, detail.objects.map(({ id }) => id).sort()], [first, [2005, 3007]]);
});

pageTest('what is degraded and what is reused is marked', { args: MENDABLE }, async ({ korch, open }) => {
  await korch.finished(await korch.run());
  await breaks(korch);
  const { run_id: degraded } = await korch.post('orchestrate', { on_failure: 'continue' });
  await korch.finished(degraded);
  await mends(korch);
  const page = await open({ address: `#/runs/${degraded}/table?sort=id` });
  await rowsIn(page, { 2005: 'failed', 3007: 'loaded' });
  const header = page.locator('#header .legend [data-badge=degraded]');
  await header.waitFor();
  assert.match(await header.innerText(), /1\s*degraded/);
  assert.equal(await page.locator('#header .legend [data-badge=reused]').isVisible(), false);
  assert.match((await tableRows(page)).find(({ id }) => id.endsWith('3007')).state, new RegExp(t('badge.degraded')));
  await header.click();
  await until(page, 'the degraded one alone', () => document.querySelectorAll('.view-table .grid-body .grid-row').length === 1);
  await row(page, 3007).click();
  const panel = page.locator('#panel');
  await panel.locator('.panel-badges').getByText(t('badge.degraded')).waitFor();
  await panel.getByText(/Degraded: 2005 .* failed in this run, an older version serves/).waitFor();

  // On the graph it is said to those who listen, and under the pointer.
  await page.evaluate((hash) => { location.hash = hash; }, `#/runs/${degraded}/graph?q=3007`);
  await until(page, 'the match', () => document.querySelector('.graph-count')?.textContent.startsWith('1 '));
  await page.locator('.graph-stage').focus();
  await page.keyboard.press('Enter');
  await until(page, 'the word', (word) => document.querySelector('.graph-view > [aria-live]').textContent.includes(word), t('badge.degraded'));

  // In the past nobody knows.
  await page.keyboard.press('Enter');
  await panel.locator('.panel-badges .is-beside').waitFor();
  await page.evaluate(() => { globalThis.korch.store.setTime(globalThis.korch.store.span().to - 1); });
  await until(page, 'no badge in the past', () => document.querySelector('#header .legend [data-badge=degraded]').closest('li').hidden && document.querySelector('.panel-badges .is-beside') === null);

  const { run_id: reused } = await korch.post('orchestrate', { fresh: '1h' });
  await korch.finished(reused);
  await page.evaluate((hash) => { location.hash = hash; }, `#/runs/${reused}/table?object=1001`);
  await panel.locator('.panel-badges').getByText(t('badge.reused')).waitFor();
  const { counts } = await korch.get(`runs/${reused}?state=`);
  assert.ok(counts.reused > 0);
  await until(page, 'the count', (n) => document.querySelector('#header .legend [data-badge=reused] b').textContent === String(n), counts.reused);
});

pageTest('what is tried again says when', { args: ['--exec', 'if [ "$KORCH_OBJECT_ID" = 2005 ]; then exit 75; fi', '--retries', '3', '--backoff', '10m'] }, async ({ korch, open }) => {
  await korch.run();
  const page = await open({ address: '#/runs/latest/table?object=2005' });
  await rowsIn(page, { 2005: 'retrying' });
  await page.locator('#panel .panel-badges').getByText(/tried again at \d\d:\d\d:\d\d/).waitFor();
  await page.locator('#panel').getByText(/It waits for another try until/).waitFor();
  await until(page, 'when, in the row', () => [...document.querySelectorAll('.grid-body .grid-row')].some((shown) => /tried again at \d\d:\d\d:\d\d · /.test(shown.querySelector('[data-key=detail]').textContent)));
});

pageTest('a schedule says what starts next', { args: ['--delay', '0s', '--schedule', '--timezone', 'Europe/Paris'] }, async ({ korch, open }) => {
  const page = await open({ locale: 'fr-FR' });
  const line = page.locator('#header .next');
  await line.getByText(/^prochaine\u00a0: .*\d\d:\d\d – .*obje/).waitFor();
  const { next } = await korch.get('schedule?limit=5');
  const { linesOf } = await import('../../static/js/next.js');
  assert.ok(next.length > 1 && linesOf({ next }, Date.now()).length === next.length);
  assert.equal((await line.getAttribute('title')).split('\n').length, next.length + 1, 'those after it, and the time zone');
});

pageTest('what ends when, and what starts next, where that is told', { args: GATED }, async ({ korch, open }) => {
  await korch.run();
  const page = await open({ address: '#/runs/latest/table?object=3005' });
  await inStates(page, { 1001: 'running' });
  await until(page, 'final objects in the estimate', () => Array.isArray(globalThis.korch.store.run.estimate?.final_objects));
  await page.evaluate(() => {
    const { store } = globalThis.korch;
    const receive = store.receive.bind(store);
    // An end that is known, whatever the estimate of this moment is.
    store.receive = (name, data) => receive(name, name === 'run' ? { ...data, estimate: { ...data.estimate, final_objects: [{ id: 3005, name: 'x', estimated_end: new Date(store.now() + 3_600_000).toISOString() }] } } : data);
    store.receive('run', store.run);
  });
  await page.locator('#panel .panel-badges').getByText(/^ends about \d\d:\d\d$/).waitFor();
  await until(page, 'about when, in the row', () => [...document.querySelectorAll('.grid-body .grid-row')].some((shown) => /^≈ \d\d:\d\d$/.test(shown.querySelector('[data-key=ended]').textContent)));
  assert.equal(await page.locator('#header .next').isVisible(), false, 'there is no schedule');
  const at = new Date(Date.now() + 7_200_000).toISOString();
  await page.route('**/schedule?*', (route) => route.fulfill({ json: { timezone: 'Europe/Paris', stale: null, next: [{ at, count: 3, everything: false }, { at, count: 9, everything: true }] } }));
  await page.evaluate(() => {
    const { store } = globalThis.korch;
    store.receive('hello', { ...store.server, schedule: true });
    store.receive('runs', { runs: store.runs });
  });
  await page.locator('#header .next').getByText(/^next: .*\d\d:\d\d – 3 final objects$/).waitFor();
});
