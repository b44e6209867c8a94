// Back in time, in every view: what is shown of an instant is what the log says of it.

import assert from 'node:assert/strict';

import { GATED } from './support/korch.mjs';
import { inStates, rowsIn, runIn, states, until } from './support/look.mjs';
import { pageTest } from './support/page.mjs';
import { t } from './support/words.mjs';

const ms = (at) => (at === null ? Infinity : Date.parse(at));
const GAP_MS = 20;

/** What a run was at an instant, from the attempts of the API and the events of the log. */
function historyOf(run, events) {
  const skipped = new Map(events.filter(({ event_type: type }) => type === 'ObjectSkipped').map((event) => [event.id_objet, ms(event.event_datetime)]));
  const stateAt = ({ id, attempts }, at) => {
    if (skipped.get(id) <= at) return 'skipped';
    const attempt = attempts.filter(({ ready_at: ready }) => ms(ready) <= at).pop();
    if (!attempt) return 'waiting';
    if (ms(attempt.finished_at) <= at) return attempt.error === null ? 'loaded' : 'failed';
    return ms(attempt.started_at) <= at ? 'running' : 'ready';
  };
  const times = run.objects.flatMap(({ attempts }) => attempts.flatMap((attempt) => [attempt.ready_at, attempt.started_at, attempt.finished_at].map(ms)))
    .concat([...skipped.values()]).filter(Number.isFinite).sort((a, b) => a - b);
  // In the middle between two things that happened: a clock's last digit decides nothing there.
  const instants = times.slice(1).map((time, i) => [times[i], time]).filter(([from, to]) => to - from >= GAP_MS).map(([from, to]) => Math.round((from + to) / 2));
  return {
    instants,
    at: (instant) => Object.fromEntries(run.objects.map((object) => [object.id, stateAt(object, instant)])),
    begun: (instant) => run.objects.flatMap(({ attempts }) => attempts).filter((attempt) => ms(attempt.started_at) <= instant).length,
    events: (instant) => events.filter((event) => ms(event.event_datetime) <= instant).length,
  };
}

const countsOf = (known) => Object.values(known).reduce((counts, state) => ({ ...counts, [state]: (counts[state] ?? 0) + 1 }), {});
const slider = (page) => page.getByRole('slider', { name: t('travel.time') });

async function travel(page, instant) {
  const from = await page.evaluate(() => globalThis.korch.store.span().from);
  await slider(page).fill(String(Math.round(instant - from)));
  await until(page, 'the instant', (at) => globalThis.korch.store.time === at, instant);
}

function headerSays(page, wanted) {
  return until(page, `the header says ${JSON.stringify(wanted)}`, (counts) => [...document.querySelectorAll('#header .legend a')]
    .every((link) => Number(link.querySelector('b').textContent) === (counts[link.dataset.state] ?? 0)), wanted);
}

pageTest('every view shows the instant', { args: ['--delay', '400ms', '--slots', '3'] }, async ({ korch, open }) => {
  const run = await korch.finished(await korch.run());
  const { events } = await korch.get(`runs/${run.run_id}/events?limit=1000`);
  const history = historyOf(run, events);
  assert.ok(history.instants.length >= 5, `${history.instants.length} instants between which something happened`);
  const page = await open({ address: '#/runs/latest/table' });
  await runIn(page, 'failed');
  const tab = (view) => page.locator('#tabs').getByRole('link', { name: t(`view.${view}`), exact: true }).click();
  const every = Math.ceil(history.instants.length / 5);
  for (const instant of history.instants.filter((_, i) => i % every === 0)) {
    const then = history.at(instant);
    const counts = countsOf(then);

    await tab('table');
    await travel(page, instant);
    assert.deepEqual(await states(page), then);
    await rowsIn(page, then);
    await headerSays(page, counts);
    await page.locator('#header .past').waitFor();
    await until(page, 'the address says when', (at) => location.hash.includes(encodeURIComponent(at)), new Date(instant).toISOString());

    await tab('graph');
    assert.deepEqual(await states(page), then, 'the instant stays from view to view');
    const stage = page.locator('.graph-stage');
    await stage.focus();
    await page.keyboard.press('Enter');
    await until(page, 'an object of the graph is spoken of as it was', (list) => {
      const words = document.querySelector('.graph-view > [aria-live]').textContent.split(' ');
      const wanted = list.find(([id]) => id === words[0]);
      return wanted && words.join(' ').includes(`, ${wanted[1]},`);
    }, Object.entries(then));

    await tab('timeline');
    await page.locator('.tl-numbers', { hasText: t('timeline.attempts', { n: history.begun(instant) }) }).waitFor();

    await tab('events');
    await page.locator('.events-status', { hasText: new RegExp(`(^|\\D)${history.events(instant)} events? `) }).waitFor();

    await tab('workers');
    const running = Object.keys(then).filter((id) => then[id] === 'running');
    await until(page, `the workers hold ${running}`, (wanted) => [...document.querySelectorAll('.slot.is-busy b')].map((held) => held.textContent).sort().join() === wanted, running.join());

    await tab('runs');
    await page.locator('.runs-table tbody tr', { has: page.locator('[data-state=running]') }).waitFor();
  }

  // The panel, then and now.
  await tab('table');
  const before = history.instants.findLast((instant) => history.at(instant)[2005] === 'running');
  await travel(page, before);
  await page.waitForURL((url) => url.hash.includes(encodeURIComponent(new Date(before).toISOString())));
  await page.evaluate(() => { location.hash += '&object=2005'; });
  const panel = page.locator('#panel');
  await panel.locator('.panel-badges [data-state=running]').waitFor();
  await panel.getByText(t('panel.attempt', { attempt: 1 })).waitFor();
  assert.equal(await panel.getByText('test forcé').count(), 0, 'it has not failed yet');
  const shown = page.url();
  await page.getByRole('button', { name: t('travel.end'), exact: true }).click();
  await panel.locator('.panel-badges [data-state=failed]').waitFor();
  await panel.getByText('test forcé').first().waitFor();
  await page.locator('#header .past').waitFor({ state: 'hidden' });

  // A link shows the instant.
  await page.goto(shown);
  await page.reload();
  await panel.locator('.panel-badges [data-state=running]').waitFor();
  assert.deepEqual(await states(page), history.at(before));
});

pageTest('a run is replayed', { args: ['--delay', '400ms'] }, async ({ korch, open }) => {
  await korch.finished(await korch.run());
  for (const reducedMotion of ['no-preference', 'reduce']) {
    const page = await open({ address: '#/runs/latest/table', reducedMotion });
    await runIn(page, 'failed');
    const last = await states(page);
    await page.evaluate(() => {
      const { store } = globalThis.korch;
      globalThis.seen = [];
      store.on('time', () => globalThis.seen.push([store.time, store.counts().byState[4]]));
    });
    await page.getByRole('combobox', { name: t('travel.speed') }).selectOption('1');
    await page.getByRole('button', { name: t('travel.play') }).click();
    await page.getByRole('button', { name: t('travel.pause') }).waitFor();
    await until(page, 'the end of the replay', () => globalThis.seen.length > 1 && globalThis.seen.at(-1)[0] === null);
    await page.getByRole('button', { name: t('travel.play') }).waitFor();
    const seen = await page.evaluate(() => globalThis.seen);
    const times = seen.slice(0, -1).map(([time]) => time);
    assert.deepEqual(times, [...times].sort((a, b) => a - b), 'forward');
    assert.equal(seen[0][1], 0, 'from when nothing was loaded');
    assert.ok(new Set(seen.map(([, loaded]) => loaded)).size >= 2, 'step by step');
    if (reducedMotion === 'reduce') assert.ok(seen.length < 10, `${seen.length} steps though no motion is wanted`);
    assert.deepEqual(await states(page), last);
  }
});

pageTest('the past of a run that goes on stands still', { args: GATED }, async ({ korch, open }) => {
  await korch.run();
  const page = await open({ address: '#/runs/latest/table' });
  await inStates(page, { 1001: 'running' });
  await new Promise((passed) => { setTimeout(passed, 2 * GAP_MS); }); // a past to travel to
  await korch.openGates('ingest');
  await until(page, 'sources that are loaded', () => globalThis.korch.store.counts().byStage[0][4] === 8);
  const past = await page.evaluate(() => {
    const { store } = globalThis.korch;
    return store.rows(store.graph.indexOf.get(1001)).find(({ state }) => state === 2).t;
  });
  await travel(page, Math.ceil(past) + GAP_MS);
  const then = await states(page);
  assert.equal(then[1001], 'running');
  await korch.openGates('standardize', 'application');
  await until(page, 'the end of the run', () => globalThis.korch.store.run.state === 'failed');
  assert.deepEqual(await states(page), then);
  await rowsIn(page, { 1001: 'running', 3001: 'waiting' });
  await page.locator('#header .past').click();
  await rowsIn(page, { 1001: 'loaded', 2005: 'failed', 3007: 'skipped', 3001: 'loaded' });
});
