// The figures that the page is accepted by, measured: how soon a large run can be used, how evenly frames come while five
// hundred events a second arrive, what memory that takes, and that fifty thousand objects can still be worked with.
// For a machine that does nothing else: KORCH_LONG=1 npm run long.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

import { theBrowser } from './support/browser.mjs';
import { large } from './support/catalogues.mjs';
import { poll } from './support/korch.mjs';
import { runIn, until } from './support/look.mjs';
import { pageTest } from './support/page.mjs';
import { t } from './support/words.mjs';

const LONG = process.env.KORCH_LONG === '1';
const VIEWPORT = { width: 1440, height: 900 };
const MINUTE_MS = 60_000;
const [USABLE_MS, GAP_MS, GROWTH_MB, STEP_MS] = [2_000, 250, 150, 5_000];
/** As many at once, and so long each, that some five hundred events come a second. */
const RATE = ['--slots', '28', '--delay', '280ms'];

const tell = (what, figures) => console.log(`${what}: ${Object.entries(figures).map(([name, value]) => `${name} ${typeof value === 'number' ? Math.round(value * 10) / 10 : value}`).join(', ')}`);

/** Events that korch has written so far. */
async function written(korch) {
  const text = await (await fetch(`${korch.page}metrics`)).text();
  return [...text.matchAll(/^events_published_total\{.*\} (\d+)/gm)].reduce((sum, [, n]) => sum + Number(n), 0);
}

/** Keeps a run going until it is told to stop. */
function keepRunning(korch) {
  let stop = false;
  const over = (async () => {
    while (!stop) {
      const run = await korch.run();
      await poll('the end of the run', async () => stop || (await korch.get('runs?limit=1')).runs[0].finished_at !== null);
      if (stop) await korch.post(`runs/${run}/cancel`).catch(() => {}); // it may have ended at that moment
    }
  })();
  return () => {
    stop = true;
    return over;
  };
}

/** From now on every frame is noted, until it is asked what the longest gap was. */
function watchFrames(page) {
  return page.evaluate(() => {
    const frames = { last: performance.now(), longest: 0, after: null, graph: null, count: 0, over50: 0, began: performance.now(), on: true };
    globalThis.frames_ = frames;
    frames.off = globalThis.korch.store.on('graph', () => { frames.graph = performance.now(); });
    const next = (now) => {
      if (!frames.on) return;
      const gap = now - frames.last;
      frames.last = now;
      frames.count += 1;
      if (gap > 50) frames.over50 += 1;
      if (gap > frames.longest) {
        frames.longest = gap;
        frames.after = frames.graph === null ? null : (now - frames.graph) / 1000;
      }
      requestAnimationFrame(next);
    };
    requestAnimationFrame((now) => { frames.last = now; requestAnimationFrame(next); });
  });
}

const framesSeen = (page) => page.evaluate(() => {
  const frames = globalThis.frames_;
  frames.on = false;
  frames.off();
  return { longest: frames.longest, after: frames.after, perSecond: (1000 * frames.count) / (performance.now() - frames.began), over50: frames.over50 };
});

/**
 * The most that the page's main thread had to do at once, in ms of processor time: a gap that is much longer than this had
 * others' work in it.
 */
function longestTask(trace) {
  const { traceEvents: events } = JSON.parse(trace.toString());
  const threadOf = ({ pid, tid }) => `${pid} ${tid}`;
  const mains = new Set(events.filter(({ name, args }) => name === 'thread_name' && args.name === 'CrRendererMain').map(threadOf));
  return events.filter((event) => /RunTask$/.test(event.name) && mains.has(threadOf(event))).reduce((most, { tdur = 0 }) => Math.max(most, tdur / 1000), 0);
}

/** The page's heap after a collection, and what its process holds, in MB. */
async function memoryOf(page) {
  const session = await page.context().newCDPSession(page);
  await session.send('Performance.enable');
  await session.send('HeapProfiler.collectGarbage');
  const { metrics } = await session.send('Performance.getMetrics');
  await session.detach();
  const whole = await (await theBrowser()).newBrowserCDPSession();
  const { processInfo } = await whole.send('SystemInfo.getProcessInfo');
  await whole.detach();
  const resident = processInfo.filter(({ type }) => type === 'renderer').map(({ id }) => {
    try {
      return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${id}/status`, 'utf8'))?.[1] ?? 0) / 1024;
    } catch {
      return 0; // not Linux, or gone
    }
  });
  return { heap: metrics.find(({ name }) => name === 'JSHeapUsedSize').value / 1e6, resident: Math.max(0, ...resident) };
}

async function timed(act) {
  const began = performance.now();
  await act();
  return performance.now() - began;
}

/**
 * Opens an address in a browser profile that has never seen it; usable is when what it shows is there in full and a key
 * has been answered.
 */
async function usable(open, address, n) {
  const page = await open({ address, viewport: VIEWPORT });
  await until(page, `${n} objects, drawn`, (wanted) => {
    if (globalThis.korch?.store.graph?.n !== wanted) return false;
    const groups = [...document.querySelectorAll('.graph-group-counts b')].reduce((sum, { textContent }) => sum + Number(textContent.replace(/\D/g, '') || 0), 0);
    const rows = Number(document.querySelector('.view-table [role=grid]')?.getAttribute('aria-rowcount') ?? 0) - 1;
    const numbers = document.querySelector('.tl-numbers')?.textContent ?? '';
    return groups === wanted || (rows === wanted && document.querySelector('.grid-row[data-item]') !== null) || /[1-9]/.test(numbers)
      || (document.querySelector('.graph-layers') !== null && !document.querySelector('.graph-layers').hidden);
  }, n);
  await page.keyboard.press('?');
  await page.locator('dialog').waitFor();
  await page.keyboard.press('Escape');
  await page.locator('dialog').waitFor({ state: 'detached' });
  // From the beginning of the navigation: making a profile is not opening a page.
  const ms = await page.evaluate(() => performance.now());
  return { page, ms };
}

if (LONG) {
  pageTest('5,000 objects, 500 events a second', { catalogue: large(5_000), args: RATE, timeout: 15 * MINUTE_MS }, async ({ korch, open }) => {
    const stop = keepRunning(korch);
    const missed = [];
    const hold = (what, value, limit) => {
      if (value >= limit) missed.push(`${what}: ${Math.round(value)}, not below ${limit}`);
    };
    await poll('a run', async () => (await korch.get('runs?limit=1')).runs[0]?.planned_at);
    for (const address of ['#/runs/latest/graph', '#/runs/latest/graph?stages=0', '#/runs/latest/table', '#/runs/latest/timeline']) {
      const { page, ms } = await usable(open, address, 5_000);
      await page.context().close();
      tell(`opened ${address} in mid-run`, { ms });
      hold(`${address} usable, ms`, ms, USABLE_MS);
    }
    const phases = [['graph?stages=0', 60], ['graph', 20], ['timeline', 20], ['table', 20], ['table?sort=-ended&state=running,ready', 20], ['events', 20]];
    const { page } = await usable(open, '#/runs/latest/graph?stages=0', 5_000);
    const before = await memoryOf(page);
    for (const [view, seconds] of phases) {
      await page.evaluate((hash) => { location.hash = hash; }, `#/runs/latest/${view}`);
      await page.locator(`main > .view-${view.split('?')[0]}`).waitFor();
      await (await theBrowser()).startTracing(page, { categories: ['toplevel'] });
      await watchFrames(page);
      const [events, began] = [await written(korch), performance.now()];
      await new Promise((passed) => { setTimeout(passed, seconds * 1000); }); // this is the measurement
      const rate = (1000 * ((await written(korch)) - events)) / (performance.now() - began);
      const frames = await framesSeen(page);
      const work = longestTask(await (await theBrowser()).stopTracing());
      const memory = await memoryOf(page);
      tell(`${view} for ${seconds} s`, { 'events/s': rate, 'longest gap (ms)': frames.longest, 'seconds after a new graph': frames.after ?? 'none', 'longest task (ms of processor)': work, 'gaps over 50 ms': frames.over50, 'frames/s': frames.perSecond, 'heap (MB)': memory.heap, 'resident (MB)': memory.resident });
      hold(`${view}, longest gap, ms`, frames.longest, GAP_MS);
      hold(`${view}, heap grown, MB`, memory.heap - before.heap, GROWTH_MB);
      hold(`${view}, resident grown, MB`, memory.resident - before.resident, GROWTH_MB);
    }
    await stop();
    assert.deepEqual(missed, []);
  });

  pageTest('50,000 objects', { catalogue: large(50_000), args: ['--delay', '0s', '--slots', '256', '--fail-ids', '100003,300007'], timeout: 15 * MINUTE_MS }, async ({ korch, open }) => {
    const run = await korch.run();
    const seconds = await timed(() => poll('the end of the run', async () => (await korch.get('runs?limit=1')).runs[0].finished_at)) / 1000;
    tell(`the run ${run}`, { seconds });
    const missed = [];
    let page = null;
    const opened = async (view) => {
      await page?.context().close();
      const known = await usable(open, `#/runs/latest/${view}`, 50_000);
      page = known.page;
      tell(`${view}, open`, { ms: known.ms });
      if (known.ms >= STEP_MS) missed.push(`${view}, open: ${Math.round(known.ms)} ms`);
    };
    const step = async (what, act) => {
      const ms = await timed(act);
      tell(what, { ms });
      if (ms >= STEP_MS) missed.push(`${what}: ${Math.round(ms)} ms`);
    };
    await opened('graph');
    await runIn(page, 'failed');
    await step('graph, zoomed', async () => {
      await page.locator('.graph-stage').hover();
      for (let i = 0; i < 5; i += 1) await page.mouse.wheel(0, -200);
      await page.evaluate(() => new Promise((drawn) => { requestAnimationFrame(() => requestAnimationFrame(drawn)); }));
    });
    await step('graph, search', async () => {
      await page.getByRole('searchbox', { name: t('graph.search') }).fill('Rapport 777');
      await page.locator('.graph-count', { hasText: /\d/ }).waitFor();
      await page.evaluate(() => new Promise((drawn) => { requestAnimationFrame(() => requestAnimationFrame(drawn)); }));
    });
    await step('graph, around one object', async () => {
      await page.evaluate(() => { location.hash = '#/runs/latest/graph?focus=300007&object=300007'; });
      await page.locator('#panel h2', { hasText: '300007' }).waitFor();
      await until(page, 'its part of the graph', () => document.querySelector('.graph-note').textContent === '');
    });
    await opened('table');
    await step('table, scrolled to the end', async () => {
      await page.locator('.grid-scroll').evaluate((element) => { element.scrollTop = element.scrollHeight; });
      await until(page, 'the last', () => [...document.querySelectorAll('.grid-row [data-key=id]')].some(({ textContent }) => textContent.endsWith('509999')));
    });
    await step('table, filtered', async () => {
      await page.locator('.view-table .chip[data-state=failed]').click();
      await until(page, 'two', () => document.querySelectorAll('.grid-row[data-item]').length === 2);
      await page.locator('.view-table .chip[data-state=failed]').click();
    });
    await step('table, searched', async () => {
      await page.getByRole('searchbox', { name: t('table.search') }).fill('Table 14999');
      await until(page, 'one', () => document.querySelectorAll('.grid-row[data-item]').length === 1);
      await page.getByRole('searchbox', { name: t('table.search') }).fill('');
      await until(page, 'all', () => document.querySelector('.view-table [role=grid]').getAttribute('aria-rowcount') === '50001');
    });
    await step('table, sorted by name', async () => {
      await page.locator('.view-table [data-key=name] button').click();
      await page.locator('.view-table [data-key=name][aria-sort=ascending]').waitFor();
      await page.evaluate(() => new Promise((drawn) => { requestAnimationFrame(() => requestAnimationFrame(drawn)); }));
    });
    await opened('timeline');
    await step('timeline, zoomed and scrolled', async () => {
      await page.locator('.tl-scroll').hover();
      for (let i = 0; i < 5; i += 1) await page.mouse.wheel(0, -200);
      await page.locator('.tl-scroll').evaluate((element) => { element.scrollTop = 400; });
      await page.evaluate(() => new Promise((drawn) => { requestAnimationFrame(() => requestAnimationFrame(drawn)); }));
    });
    await step('timeline, searched', async () => {
      await page.locator('.tl-search').fill('Rapport 777');
      await page.locator('.tl-found', { hasText: /\d/ }).waitFor();
    });
    await step('back in time', async () => {
      await page.evaluate(() => {
        const { from, to } = globalThis.korch.store.span();
        globalThis.korch.store.setTime(Math.round((from + to) / 2));
      });
      await page.locator('#header .past').waitFor();
    });
    tell('memory', await memoryOf(page));
    assert.deepEqual(missed, []);
  });
}
