// What happens when the page, the connection or the server goes away; and the token that a server may ask for.

import assert from 'node:assert/strict';

import { GATED } from './support/korch.mjs';
import { inStates, rowsIn, runIn, states, until } from './support/look.mjs';
import { pageTest } from './support/page.mjs';
import { t } from './support/words.mjs';

/** What a browser says of its own accord where a server is gone. */
const GONE = [/ERR_CONNECTION_REFUSED/, /ERR_CONNECTION_RESET/, /ERR_INCOMPLETE_CHUNKED_ENCODING/, /ERR_EMPTY_RESPONSE/, /ERR_NETWORK/];

const serverStates = async (korch, run) => Object.fromEntries((await korch.get(`runs/${run}`)).objects.map(({ id, state }) => [id, state]));

pageTest('a reload in the middle of a run', { args: GATED }, async ({ korch, open }) => {
  const page = await open({ address: '#/runs/latest/table' });
  await until(page, 'the connection', () => globalThis.korch.store.connection === 'open');
  const run = await korch.run();
  await korch.openGates('ingest');
  await rowsIn(page, { 1001: 'loaded', 2001: 'running' });
  await page.reload();
  await rowsIn(page, { 1001: 'loaded', 2001: 'running' });
  await korch.openGates('standardize', 'application');
  await runIn(page, 'failed');
  await inStates(page, { 2005: 'failed', 3007: 'skipped', 3001: 'loaded' });
  assert.deepEqual(await states(page), await serverStates(korch, run));
});

pageTest('a tab that nobody sees holds no connection', {}, async ({ korch, open }) => {
  await korch.run();
  const page = await open({ address: '#/runs/latest/events' });
  await runIn(page, 'failed');
  await page.locator('.events-body').getByText('RunFinished').waitFor();
  const seen = (is) => page.evaluate((hidden) => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event('visibilitychange'));
  }, !is);
  await page.evaluate(() => {
    const { close } = EventSource.prototype;
    globalThis.closed_ = [];
    EventSource.prototype.close = function closing() {
      globalThis.closed_.push(new URL(this.url).pathname);
      close.call(this);
    };
  });
  await seen(false);
  await until(page, 'no stream', () => ['/live', '/events/stream'].every((path) => globalThis.closed_.includes(path)));
  // What happens meanwhile is there when somebody looks again.
  const run = await korch.run();
  await seen(true);
  await until(page, 'the next run', (id) => globalThis.korch.store.run?.run_id === id, run);
  await runIn(page, 'failed');
  assert.deepEqual(await states(page), await serverStates(korch, run));
  await page.locator('.events-body').getByText('RunFinished').waitFor();
});

pageTest('the server is killed in the middle of a run, and comes back', { args: GATED, keeps: true }, async ({ korch, open }) => {
  await korch.openGates('ingest');
  const run = await korch.run();
  const table = await open({ address: '#/runs/latest/table', expected: [...GONE] });
  const events = await open({ address: '#/runs/latest/events', expected: [...GONE] });
  await events.locator('.events-body [role=listitem]').first().waitFor();
  await rowsIn(table, { 1001: 'loaded', 2001: 'running' });
  await korch.kill();
  for (const page of [table, events]) {
    await until(page, 'it says that it is cut off', (words) => {
      const lost = document.getElementById('lost');
      return !lost.hidden && lost.textContent.startsWith(words) && document.title.startsWith('?');
    }, t('lost.since', { time: '' }).split(' – ')[0]);
  }
  assert.equal((await states(table))[1001], 'loaded', 'what is known stays in sight');
  await table.locator('#header').getByText(t('connection.lost')).waitFor();
  // Who acts now is told that nothing came of it.
  await table.getByRole('button', { name: t('start.button') }).click();
  const dialog = table.getByRole('dialog');
  await dialog.getByRole('button', { name: t('start.go'), exact: true }).click();
  await dialog.getByRole('alert').getByText(t('error.unreachable')).waitFor();
  await table.keyboard.press('Escape');

  await korch.openGates('standardize', 'application');
  await korch.startAgain();
  for (const page of [table, events]) {
    await until(page, 'it is connected again', () => document.getElementById('lost').hidden && globalThis.korch.store.connection === 'open');
  }
  assert.equal(await runIn(table, 'failed'), run, 'the run goes on');
  await rowsIn(table, { 2005: 'failed', 3007: 'skipped', 3001: 'loaded' });
  const known = await serverStates(korch, run);
  await Promise.all([table, events].map((page) => inStates(page, known)));
  const counts = {};
  for (const { event_type: type } of (await korch.get(`runs/${run}/events?limit=1000`)).events) counts[type] = (counts[type] ?? 0) + 1;
  await until(events, `no event is missing and none is there twice: ${JSON.stringify(counts)}`, (wanted) => {
    const shown = new Map([...document.querySelectorAll('.view-events .chip')].map((chip) => [chip.children[1].textContent, chip.querySelector('.count').textContent]));
    return Object.entries(wanted).every(([type, n]) => shown.get(type) === String(n));
  }, counts);
});

pageTest('a page that is opened while there is no server', { args: ['--delay', '0s'], keeps: true }, async ({ korch, open }) => {
  const page = await open({ expected: [/ERR_FAILED/] });
  await page.getByRole('heading', { name: t('welcome.title') }).waitFor();
  await page.route('**/live?*', (route) => route.abort());
  await page.reload();
  await page.getByRole('heading', { name: t('unreachable.title') }).waitFor();
  await page.unroute('**/live?*');
  await page.getByRole('heading', { name: t('welcome.title') }).waitFor();
});

pageTest('a server that asks for a token', { args: ['--delay', '0s'], env: { KORCH_API_TOKEN: 'geheim' } }, async ({ korch, open }) => {
  const page = await open({ expected: [/status of 401/] });
  await page.getByRole('button', { name: t('welcome.start') }).click();
  const start = page.getByRole('dialog', { name: t('start.title') });
  await start.getByRole('button', { name: t('start.go'), exact: true }).click();
  const asks = page.getByRole('dialog', { name: t('token.title') });
  const field = asks.getByLabel(t('token.label'));
  await asks.getByText(t('token.why')).waitFor();

  // Not given: nothing happens, and that is said.
  await asks.getByRole('button', { name: t('dialog.back'), exact: true }).click();
  await start.getByRole('alert').getByText(t('error.token')).waitFor();
  assert.equal((await korch.get('runs')).runs.length, 0);

  await start.getByRole('button', { name: t('start.go'), exact: true }).click();
  await field.fill('falsch');
  await asks.getByRole('button', { name: t('token.use'), exact: true }).click();
  await asks.getByText(t('token.wrong')).waitFor();
  assert.equal((await korch.get('runs')).runs.length, 0);
  await field.fill('geheim');
  await asks.getByRole('button', { name: t('token.use'), exact: true }).click();
  await start.waitFor({ state: 'detached' });
  const first = await runIn(page, 'failed');

  // It is kept for this tab, and for no other.
  await page.reload();
  await runIn(page, 'failed');
  await page.getByRole('button', { name: t('retry.button'), exact: true }).click();
  await page.getByRole('dialog').getByRole('button', { name: t('retry.go'), exact: true }).click();
  await runIn(page, 'failed', first);
  const other = await open({ expected: [/status of 401/] });
  await runIn(other, 'failed');
  await other.getByRole('button', { name: t('retry.button'), exact: true }).click();
  await other.getByRole('dialog').getByRole('button', { name: t('retry.go'), exact: true }).click();
  await other.getByRole('dialog', { name: t('token.title') }).waitFor();
});
