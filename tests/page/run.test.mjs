// What a user does with a run: starts it, watches it, asks why something failed, tries that again, stops it.

import assert from 'node:assert/strict';

import { ERROR, GATED } from './support/korch.mjs';
import { inStates, row, rowsIn, runIn, states, tableRows, until } from './support/look.mjs';
import { pageTest } from './support/page.mjs';
import { t } from './support/words.mjs';

const button = (page, key) => page.getByRole('button', { name: t(key), exact: true });

async function startByDialog(page, opener) {
  await opener.click();
  const dialog = page.getByRole('dialog', { name: t('start.title') });
  await dialog.waitFor();
  await dialog.getByRole('button', { name: t('start.go'), exact: true }).click();
  await dialog.waitFor({ state: 'detached' });
}

pageTest('a run from the empty page to the retry of what failed', { args: GATED }, async ({ korch, open }) => {
  const page = await open();
  await page.getByRole('heading', { name: t('welcome.title') }).waitFor();
  assert.equal(await page.locator('#travel').isVisible(), false, 'no run, no time to travel in');
  await startByDialog(page, button(page, 'welcome.start'));
  await inStates(page, { 1001: 'running', 2005: 'waiting' });
  await page.locator('#notes').getByText(t('start.done', { n: 22 })).waitFor();

  // The table, while it runs.
  await page.locator('#tabs').getByRole('link', { name: t('view.table') }).click();
  await rowsIn(page, { 1001: 'running', 2005: 'waiting', 3007: 'waiting' });
  await korch.openGates('ingest');
  await rowsIn(page, { 1001: 'loaded', 2005: 'running', 3007: 'waiting' });
  await korch.openGates('standardize');
  await rowsIn(page, { 2005: 'failed', 3007: 'skipped', 3001: 'running' });
  await korch.openGates('application');
  const first = await runIn(page, 'failed');
  await rowsIn(page, { 1001: 'loaded', 2005: 'failed', 3007: 'skipped', 3001: 'loaded' });
  const server = Object.fromEntries((await korch.get(`runs/${first}`)).objects.map(({ id, state }) => [id, state]));
  assert.deepEqual(await states(page), server, 'the page shows what the server says');
  const rows = Object.fromEntries((await tableRows(page)).map((shown) => [shown.id.match(/\d+$/)[0], shown]));
  assert.deepEqual(Object.fromEntries(Object.entries(rows).map(([id, { is }]) => [id, is])), server, 'so do the rows');
  assert.match(rows[2005].detail, new RegExp(ERROR));
  assert.match(rows[3007].detail, /2005/, 'what was skipped says for what');
  await until(page, 'the counts in the header', () => document.querySelector('#header .legend [data-state=loaded] b').textContent === '20');
  await until(page, 'the title', (word) => document.title.includes(word), t('title.failed', { n: 1 }));

  // Why.
  await row(page, 2005).click();
  const panel = page.locator('#panel');
  await panel.getByText(ERROR).first().waitFor();
  assert.match(page.url(), /object=2005/);
  await panel.getByText(t('panel.attempt', { attempt: 1 })).waitFor();
  await panel.getByRole('link', { name: /1005/ }).first().click();
  await panel.getByRole('heading', { name: /^1005/ }).waitFor();
  assert.match(page.url(), /object=1005/);
  await panel.getByRole('link', { name: /2005/ }).first().click();
  await panel.getByRole('heading', { name: /^2005/ }).waitFor();
  await panel.getByRole('button', { name: t('panel.close') }).click();
  await panel.waitFor({ state: 'hidden' });

  // Again, what failed and nothing else.
  await button(page, 'retry.button').click();
  const dialog = page.getByRole('dialog', { name: t('retry.title') });
  await dialog.getByText(t('retry.text', { n: 2, failed: '1', skipped: '1' })).waitFor();
  await dialog.getByRole('button', { name: t('retry.go'), exact: true }).click();
  const second = await runIn(page, 'failed', first);
  assert.deepEqual(await states(page), { 2005: 'failed', 3007: 'skipped' });
  assert.equal((await korch.get(`runs/${second}`)).retry_of, first);
  await page.locator('#tabs').getByRole('link', { name: t('view.runs') }).click();
  await page.locator('.runs-table tbody tr').nth(1).waitFor();
  assert.equal(await page.locator('.runs-table tbody tr').count(), 2);
});

pageTest('a run is cancelled in the middle', { args: GATED }, async ({ korch, open }) => {
  const run = await korch.run();
  const page = await open({ address: '#/runs/latest/table' });
  await rowsIn(page, { 1001: 'running' });
  assert.equal(await button(page, 'retry.button').isVisible(), false, 'what goes on is not retried');
  await button(page, 'cancel.button').click();
  const dialog = page.getByRole('dialog', { name: t('cancel.title') });
  await dialog.getByText(t('cancel.running', { n: 8 })).waitFor();
  await dialog.getByRole('button', { name: t('dialog.back'), exact: true }).click();
  await dialog.waitFor({ state: 'detached' });
  assert.equal((await korch.get(`runs/${run}`)).state, 'running', 'nothing is done before it is confirmed');
  await button(page, 'cancel.button').click();
  await dialog.getByRole('button', { name: t('cancel.go'), exact: true }).click();
  await runIn(page, 'cancelled');
  await rowsIn(page, { 1001: 'cancelled', 3007: 'cancelled' });
  const { objects } = await korch.get(`runs/${run}`);
  assert.deepEqual(await states(page), Object.fromEntries(objects.map(({ id, state }) => [id, state])));
  await button(page, 'cancel.button').waitFor({ state: 'hidden' });
});

pageTest('a run of chosen final objects', { args: ['--delay', '0s'] }, async ({ korch, open }) => {
  const page = await open();
  await button(page, 'start.button').click();
  const dialog = page.getByRole('dialog', { name: t('start.title') });
  await dialog.getByRole('radio', { name: t('start.some') }).check();
  await dialog.getByRole('button', { name: t('start.go'), exact: true }).click();
  await dialog.getByText(t('start.none')).waitFor();
  await dialog.getByRole('searchbox', { name: t('start.search') }).fill('portefeuille');
  await dialog.getByRole('checkbox', { name: /3005/ }).check();
  await dialog.getByLabel(t('start.selectors')).fill('+3002');
  await dialog.getByRole('button', { name: t('start.go'), exact: true }).click();
  const first = await runIn(page, 'succeeded');
  assert.deepEqual(Object.keys(await states(page)), ['1001', '1003', '1007', '1008', '2001', '2002', '2004', '3002', '3005']);
  assert.equal((await korch.get(`runs/${first}?state=`)).selection, '+3005 +3002', 'a chosen object runs with what it needs');
});

pageTest('a run of a selection that is typed, and what is said of a wrong one', { args: ['--delay', '0s', '--fail-ids', ''] }, async ({ korch, open }) => {
  const page = await open({ expected: [/status of 422/] });
  await button(page, 'start.button').click();
  const dialog = page.getByRole('dialog', { name: t('start.title') });
  await dialog.getByRole('radio', { name: t('start.some') }).check();
  const field = dialog.getByLabel(t('start.selectors'));
  await field.fill('stge:ingest 3050 --exclude Clients');
  await field.press('Enter');
  const told = dialog.getByRole('alert');
  for (const said of ['did you mean stage:?', 'did you mean 3005?', 'the exclusion "Clients", character 1: "Clients" is no id']) await told.getByText(said).first().waitFor();
  assert.equal((await korch.get('runs')).runs.length, 0, 'nothing is asked for that cannot be planned');
  await field.fill('+3005,stage:standardize 1+name:"Rentabilité des projets" --exclude 2004');
  await field.press('Enter');
  const run = await runIn(page, 'succeeded');
  const { objects, selection } = await korch.get(`runs/${run}`);
  assert.equal(selection, '+3005,stage:standardize 1+name:"Rentabilité des projets" --exclude 2004');
  const shown = await states(page);
  assert.deepEqual(Object.keys(shown), objects.map(({ id }) => String(id)).sort());
  assert.ok('3007' in shown && !('2004' in shown) && !('1001' in shown), JSON.stringify(shown));
  await page.locator('#tabs').getByRole('link', { name: t('view.runs') }).click();
  await page.getByRole('cell', { name: selection }).waitFor();
});

pageTest('a catalogue that cannot be run says why', { catalogue: [{ IdObjet: 3001, IdObjet_Parent: '3002' }, { IdObjet: 3002, IdObjet_Parent: '3001' }] }, async ({ open }) => {
  const page = await open({ expected: [/status of 422/] });
  await button(page, 'start.button').click();
  const dialog = page.getByRole('dialog', { name: t('start.title') });
  await dialog.getByRole('button', { name: t('start.go'), exact: true }).click();
  await dialog.getByRole('alert').getByText('3001 → 3002 → 3001').waitFor();
});

pageTest('two viewers see the same', { args: GATED }, async ({ korch, open }) => {
  const one = await open({ address: '#/runs/latest/table' });
  const other = await open({ address: '#/runs/latest/timeline', locale: 'fr-FR' });
  await startByDialog(one, button(one, 'start.button'));
  await Promise.all([one, other].map((page) => inStates(page, { 1001: 'running' })));
  await korch.openGates('ingest', 'standardize', 'application');
  const [run, same] = await Promise.all([one, other].map((page) => runIn(page, 'failed')));
  assert.equal(run, same);
  // The end of the run and the last stories are two messages.
  await Promise.all([one, other].map((page) => inStates(page, { 3007: 'skipped', 3001: 'loaded' })));
  assert.deepEqual(await states(one), await states(other));
  assert.equal((await korch.get('runs')).runs.length, 1);
});
