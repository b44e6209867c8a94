// What axe-core finds: nothing, in any view, in either theme, wide or narrow, with what can be open open.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

import { inStates, until } from './support/look.mjs';
import { pageTest } from './support/page.mjs';
import { t } from './support/words.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
/** Something in every state: 2005 has failed, some wait for a slot, some take for ever. */
const EXEC = 'case "$KORCH_OBJECT_ID" in 2005) echo "connexion refusée par la source" >&2; exit 1;; 2001|2007|3005|3007) while [ -e Objets.json ]; do sleep 0.2; done;; esac';

async function violations(page) {
  if (!(await page.evaluate(() => 'axe' in globalThis))) await page.evaluate(AXE);
  return page.evaluate(async (tags) => {
    const { violations: found } = await globalThis.axe.run(document, { runOnly: { type: 'tag', values: tags }, resultTypes: ['violations'] });
    return found.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target.join(' ')}: ${node.failureSummary.replace(/\s+/g, ' ')}`));
  }, RULES);
}

/** Colours that are on their way are not yet the colours. */
const atRest = (page) => page.evaluate(() => Promise.all(document.getAnimations().filter((animation) => animation.effect.getComputedTiming().endTime !== Infinity).map((animation) => animation.finished.catch(() => {}))));

const PLACES = {
  graph: ['#/runs/latest/graph', '.graph-stage'],
  'graph with an object and a search': ['#/runs/latest/graph?object=2005&q=clients', '#panel .attempts'],
  'graph of groups': ['#/runs/latest/graph?stages=1', '.graph-group'],
  'failures alone': ['#/runs/latest/graph?failed=1', '.graph-stage'],
  timeline: ['#/runs/latest/timeline?q=clients', '.tl-scroll'],
  'timeline with an object that waits': ['#/runs/latest/timeline?object=3002', '#panel .why p'],
  table: ['#/runs/latest/table?sort=state', '.grid-row[data-item]'],
  'table with an object that was skipped': ['#/runs/latest/table?object=3007&cols=NomSource,URI&state=skipped,failed', '#panel .why p'],
  events: ['#/runs/latest/events', '.events-body [role=listitem]'],
  'events of an object': ['#/runs/latest/events?object=2005', '.events-body [role=listitem]'],
  runs: ['#/runs', '.runs-table tbody tr'],
  workers: ['#/workers', '.worker'],
  'a view of the past': [(page) => `#/runs/latest/table?object=2005&t=${page.then}`, '#header .past'],
};

const DIALOGS = {
  start: async (page) => {
    await page.getByRole('button', { name: t('start.button') }).first().click();
    await page.getByRole('dialog').getByRole('radio', { name: t('start.some') }).check();
    await page.getByRole('dialog').getByRole('button', { name: t('start.go'), exact: true }).click();
    await page.getByRole('dialog').getByRole('alert').waitFor();
  },
  'start with its options': async (page) => {
    await page.getByRole('button', { name: t('start.button') }).first().click();
    await page.getByRole('dialog').getByText(t('option.title'), { exact: true }).click();
  },
  mark: async (page) => {
    await page.evaluate(() => { location.hash = '#/runs/latest/graph?object=2005'; });
    await page.locator('#panel').getByRole('button', { name: t('mark.loaded.button') }).click();
    await page.getByRole('dialog').getByRole('button', { name: t('mark.loaded.go'), exact: true }).click();
    await page.getByRole('dialog').getByText(t('mark.missing')).waitFor();
  },
  cancel: (page) => page.getByRole('button', { name: t('cancel.button'), exact: true }).click(),
  shortcuts: (page) => page.keyboard.press('?'),
};

for (const colorScheme of ['light', 'dark']) {
  for (const viewport of [{ width: 1280, height: 800 }, { width: 360, height: 740 }]) {
    pageTest(`axe, ${colorScheme}, ${viewport.width} px`, { args: ['--exec', EXEC, '--slots', '2'] }, async ({ korch, open }) => {
      const found = {};
      const look = async (page, where) => {
        await atRest(page);
        const list = await violations(page);
        if (list.length > 0) found[where] = list;
      };
      const page = await open({ colorScheme, viewport });
      await page.getByRole('heading', { name: t('welcome.title') }).waitFor();
      await look(page, 'no run yet');
      await korch.run();
      await inStates(page, { 2005: 'failed', 3007: 'skipped', 2001: 'running', 2007: 'running', 3001: 'waiting' });
      page.then = await page.evaluate(() => new Date(globalThis.korch.store.span().from + 200).toISOString());
      for (const [where, [address, shows]] of Object.entries(PLACES)) {
        await page.evaluate((hash) => { location.hash = hash; }, typeof address === 'function' ? address(page) : address);
        await page.locator(shows).first().waitFor({ state: 'attached' });
        await look(page, where);
      }
      await page.evaluate(() => {
        globalThis.korch.store.setTime(null);
        location.hash = '#/runs/latest/graph';
      });
      const more = page.locator('#header .more');
      if (await more.isVisible()) {
        await more.click();
        await look(page, 'the menu');
        await page.keyboard.press('Escape');
      }
      for (const [name, show] of Object.entries(DIALOGS)) {
        await show(page);
        await page.getByRole('dialog').waitFor();
        await look(page, `the dialog ${name}`);
        await page.keyboard.press('Escape');
        await page.getByRole('dialog').waitFor({ state: 'detached' });
      }
      // Beside the states: what is marked, and a run that is paused.
      const { run_id: run } = await korch.get('runs/latest');
      await korch.post(`runs/${run}/objects/2005/mark`, { state: 'loaded', because: 'réparé à la main', requested_by: 'Marie' });
      await korch.post(`runs/${run}/pause`, { requested_by: 'Marie' });
      await inStates(page, { 2005: 'loaded' });
      for (const address of ['#/runs/latest/graph?object=2005', '#/runs/latest/table?state=marked']) {
        await page.evaluate((hash) => { location.hash = hash; }, address);
        await until(page, 'the mark', () => document.querySelector('.panel-badges .is-beside, .grid-cell .beside') !== null);
        await look(page, `paused, with a mark: ${address}`);
      }
      page.wrongs.expect(/Failed to load resource|ERR_/);
      await korch.kill();
      await until(page, 'the page says that it is cut off', () => !document.getElementById('lost').hidden);
      await look(page, 'cut off');
      assert.deepEqual(found, {});
    });
  }
}
