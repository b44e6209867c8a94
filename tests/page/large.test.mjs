// Five thousand objects: everything works as with twenty. How fast, large.long.mjs measures.

import assert from 'node:assert/strict';

import { large } from './support/catalogues.mjs';
import { runIn, states, until } from './support/look.mjs';
import { pageTest } from './support/page.mjs';
import { t } from './support/words.mjs';

const N = 5_000;
const FAILS = ['100003', '300007'];

pageTest('five thousand objects', { catalogue: large(N), args: ['--delay', '0s', '--slots', '64', '--fail-ids', FAILS.join()] }, async ({ korch, open }) => {
  const run = await korch.finished(await korch.run());
  const page = await open();
  await runIn(page, 'failed');
  const server = Object.fromEntries(run.objects.map(({ id, state }) => [id, state]));
  await until(page, 'every state', (skipped) => globalThis.korch.store.counts().byState[6] === skipped, run.counts.skipped);
  assert.deepEqual(await states(page), server);
  const tab = (view) => page.locator('#tabs').getByRole('link', { name: t(`view.${view}`), exact: true }).click();

  // The graph begins with a box for each stage and column; expanded it has every object.
  await until(page, `groups of ${N} objects`, (n) => [...document.querySelectorAll('.graph-group-counts b')].reduce((sum, { textContent }) => sum + Number(textContent.replace(/\D/g, '') || 0), 0) === n, N);
  const toggle = page.getByRole('button', { name: t('graph.stages'), exact: true });
  assert.equal(await toggle.getAttribute('aria-pressed'), 'true');
  await toggle.click();
  await page.locator('.graph-groups').waitFor({ state: 'hidden' });
  assert.match(page.url(), /stages=0/);
  await page.locator('.graph-stage').focus();
  await page.keyboard.press('Enter');
  await until(page, 'an object under the keys', () => /^1\d{5} /.test(document.querySelector('.graph-view > [aria-live]').textContent));
  const search = page.getByRole('searchbox', { name: t('graph.search') });
  await search.fill('Rapport 77');
  await page.keyboard.press('Enter');
  await page.locator('.graph-count', { hasText: /\d/ }).waitFor();
  await page.evaluate((id) => { location.hash = `#/runs/latest/graph?focus=${id}&object=${id}`; }, FAILS[1]);
  await page.locator('#panel h2', { hasText: FAILS[1] }).waitFor();
  await until(page, 'the part of the graph around an object', () => document.querySelector('.graph-note').textContent === '' && !document.querySelector('.graph-layers').hidden);

  await tab('table');
  const rows = page.locator('.view-table .grid-row[data-item]');
  await rows.first().waitFor();
  assert.ok(await rows.count() < 100, 'only what is in sight is an element');
  await page.locator('.view-table .chip[data-state=failed]').click();
  await until(page, 'the failed ones', () => document.querySelectorAll('.view-table .grid-row[data-item]').length === 2);
  await page.locator('.view-table .chip[data-state=failed]').click();
  await page.getByRole('searchbox', { name: t('table.search') }).fill('Table 149');
  await until(page, 'those of the name', () => {
    const names = [...document.querySelectorAll('.view-table .grid-row[data-item] [data-key=name]')].map(({ textContent }) => textContent);
    return names.length > 0 && names.length === 12 && names.every((name) => /^Table .*149/.test(name));
  });
  await page.getByRole('searchbox', { name: t('table.search') }).fill('');
  await until(page, 'all of them', (n) => document.querySelector('.view-table [role=grid]').getAttribute('aria-rowcount') === String(n + 1), N);
  await page.locator('.view-table [role=grid]').focus();
  await page.keyboard.press('End');
  await until(page, 'the last', () => document.querySelector('.view-table .grid-row.active [data-key=id]')?.textContent.endsWith('500999'));

  await tab('timeline');
  await page.locator('.tl-numbers', { hasText: t('timeline.attempts', { n: N - run.counts.skipped }) }).waitFor();
  await tab('events');
  await page.locator('.events-body [role=listitem]').first().waitFor();
  const middle = await page.evaluate(() => {
    const { from, to } = globalThis.korch.store.span();
    globalThis.korch.store.setTime(Math.round((from + to) / 2));
    return globalThis.korch.store.counts();
  });
  assert.equal(middle.byState.reduce((sum, n) => sum + n), N);
  assert.ok(middle.byState[4] > 0 && middle.byState[4] < N);
});
