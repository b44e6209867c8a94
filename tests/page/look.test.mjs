// How the page looks: in which language, in which colours, how lively; and that an address says what is shown.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

import { rowsIn, runIn, tableRows, until } from './support/look.mjs';
import { pageTest } from './support/page.mjs';
import { WORDS, said, t } from './support/words.mjs';

const VIEWS = ['graph', 'timeline', 'table', 'events', 'runs', 'workers'];
const RUN_VIEWS = VIEWS.slice(0, 4);
const addressOf = (view, query = '') => (RUN_VIEWS.includes(view) ? `#/runs/latest/${view}${query}` : `#/${view}`);
const viewIs = (page, view) => page.locator(`main > .view-${view}`).waitFor();

/** What is said in one language alone: a text without places for others, which the other language does not have. */
function onlyIn(language, other) {
  const others = new Set(Object.values(WORDS[other]));
  return new Set(Object.values(WORDS[language]).filter((text) => !text.includes('{') && !others.has(text) && /\p{L}{3}/u.test(text)));
}
const DATA = new Set(JSON.parse(readFileSync(new URL('../../Objets.json', import.meta.url), 'utf8')).flatMap((entry) => Object.entries(entry).flat()));
const ONLY = { en: onlyIn('en', 'fr'), fr: onlyIn('fr', 'en') };

/** Everything that can be read or heard on the page now. */
function texts(page) {
  return page.evaluate(() => {
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (node.nodeType === Node.TEXT_NODE) found.push(node.data.trim());
      else for (const name of ['aria-label', 'title', 'placeholder', 'aria-valuetext', 'alt']) if (node.hasAttribute(name)) found.push(node.getAttribute(name).trim());
    }
    return found.filter(Boolean);
  });
}

pageTest('every text of every view is in the chosen language', { args: ['--delay', '0s'] }, async ({ korch, open }) => {
  await korch.finished(await korch.run());
  const page = await open({ locale: 'fr-FR', address: '#/runs/latest/table?object=2005' });
  await runIn(page, 'failed');
  for (const [language, foreign] of [['fr', 'en'], ['en', 'fr'], ['fr', 'en']]) {
    if (await page.evaluate(() => document.documentElement.lang) !== language) {
      const button = page.locator(`#header .preferences [lang=${language}]`);
      await button.click();
      await until(page, `lang ${language}`, (name) => document.documentElement.lang === name, language);
      assert.equal(await button.evaluate((element) => element === document.activeElement), true, 'the focus stays on what was pressed');
      assert.match(page.url(), /table\?object=2005/, 'the address stays');
    }
    for (const view of VIEWS) {
      await page.evaluate((address) => { location.hash = address; }, addressOf(view, '?object=2005'));
      await viewIs(page, view);
      if (RUN_VIEWS.includes(view)) await page.locator('#panel').getByText(said(language, 'panel.attempt', { attempt: 1 })).waitFor();
      const strange = (await texts(page)).filter((text) => ONLY[foreign].has(text) && !DATA.has(text));
      assert.deepEqual(strange, [], `${foreign} in the ${language} ${view}`);
    }
    await page.evaluate(() => { location.hash = '#/runs/latest/table?object=2005'; });
    await viewIs(page, 'table');
    await page.locator('#header').getByRole('button', { name: said(language, 'start.button') }).waitFor();
  }
  await page.reload();
  await runIn(page, 'failed');
  assert.equal(await page.evaluate(() => document.documentElement.lang), 'fr', 'the choice is kept');
});

/** The colours of the page, and one that was painted onto a canvas. */
const colours = (page) => page.evaluate(() => {
  const canvas = document.querySelector('.view-timeline canvas');
  const painted = canvas.getContext('2d').getImageData(canvas.width - 2, canvas.height - 2, 1, 1).data;
  const { backgroundColor, color } = getComputedStyle(document.body);
  const surface = document.createElement('i');
  surface.style.color = 'var(--surface)';
  document.body.append(surface);
  const wanted = getComputedStyle(surface).color;
  surface.remove();
  return { theme: document.documentElement.dataset.theme ?? null, backgroundColor, color, painted: `rgb(${[...painted.slice(0, 3)].join(', ')})`, wanted };
});

pageTest('light, dark, or as the system has it; canvases too', { args: ['--delay', '0s'] }, async ({ korch, open }) => {
  await korch.finished(await korch.run());
  const page = await open({ colorScheme: 'dark', address: '#/runs/latest/timeline', expected: [/getImageData/] });
  await runIn(page, 'failed');
  await page.locator('.view-timeline canvas').first().waitFor();
  const painted = () => until(page, 'the canvas has the theme\'s surface', () => {
    const canvas = document.querySelector('.view-timeline canvas');
    if (canvas === null || canvas.width < 300) return false;
    const one = document.createElement('canvas').getContext('2d');
    one.fillStyle = getComputedStyle(document.documentElement).getPropertyValue('--surface').trim();
    one.fillRect(0, 0, 1, 1);
    const at = (context, x, y) => [...context.getImageData(x, y, 1, 1).data].join();
    return at(canvas.getContext('2d'), canvas.width - 2, canvas.height - 2) === at(one, 0, 0);
  });
  const choose = (name) => page.locator('#header').getByRole('button', { name: t(`theme.${name}`) }).click();
  await painted();
  const dark = await colours(page);
  assert.equal(dark.theme, null);
  await choose('light');
  await painted();
  const light = await colours(page);
  assert.equal(light.theme, 'light');
  assert.notEqual(light.backgroundColor, dark.backgroundColor);
  assert.notEqual(light.color, dark.color);
  assert.notEqual(light.painted, dark.painted);
  await page.reload();
  await runIn(page, 'failed');
  await painted();
  assert.deepEqual(await colours(page), light, 'the choice is kept');
  await choose('dark');
  await painted();
  assert.deepEqual(await colours(page), { ...dark, theme: 'dark' });
  await choose('system');
  await page.emulateMedia({ colorScheme: 'light' });
  await painted();
  assert.deepEqual(await colours(page), { ...light, theme: null }, 'the system\'s change is followed');
});

pageTest('who wants no motion gets none', { args: ['--delay', '30s'] }, async ({ korch, open }) => {
  await korch.run();
  const page = await open({ reducedMotion: 'reduce' });
  await until(page, 'objects that run', () => globalThis.korch.store.counts().byState[2] === 8);
  for (const view of VIEWS) {
    await page.evaluate((address) => { location.hash = address; }, addressOf(view, '?object=1001'));
    await viewIs(page, view);
    const moving = await page.evaluate(() => document.getAnimations()
      .filter((animation) => animation.playState === 'running' && animation.effect.getComputedTiming().endTime > 50)
      .map((animation) => `${animation.effect.target.className} ${animation.animationName ?? animation.transitionProperty}`));
    assert.deepEqual(moving, [], view);
  }
});

pageTest('an address shows what it showed', { args: ['--delay', '0s'] }, async ({ korch, open }) => {
  const run = await korch.run();
  await korch.finished(run);
  await korch.finished(await korch.run(['+3002']));
  const page = await open({ address: `#/runs/${run}/table?state=failed,skipped&sort=-id&object=2005`, expected: [/status of 404/] });
  const filtered = async () => {
    await rowsIn(page, { 2005: 'failed', 3007: 'skipped' });
    await until(page, 'two rows', () => document.querySelectorAll('.view-table .grid-body .grid-row').length === 2);
    assert.deepEqual((await tableRows(page)).map(({ id }) => id.match(/\d+$/)[0]), ['3007', '2005'], 'its filter and its order');
    await page.locator('#panel').getByRole('heading', { name: /^2005/ }).waitFor();
  };
  await filtered();
  await page.reload();
  await filtered();

  // Each view by its own address, there and back again.
  const been = [];
  for (const view of VIEWS) {
    await page.locator('#tabs').getByRole('link', { name: t(`view.${view}`), exact: true }).click();
    await viewIs(page, view);
    await page.locator(`#tabs [aria-current=page]`, { hasText: t(`view.${view}`) }).waitFor();
    been.push([view, page.url()]);
  }
  for (const [view, url] of been) {
    await page.goto(url);
    await page.reload();
    await viewIs(page, view);
  }
  await page.goto(been[0][1]);
  await viewIs(page, 'graph');
  for (const view of VIEWS.slice(1)) {
    await page.locator('#tabs').getByRole('link', { name: t(`view.${view}`), exact: true }).click();
    await viewIs(page, view);
  }
  for (const view of VIEWS.slice(0, -1).reverse()) {
    await page.goBack();
    await viewIs(page, view);
  }
  await page.goForward();
  await viewIs(page, 'timeline');

  // An object's panel is a step that can be taken back.
  await page.goto(`${korch.page}#/runs/${run}/graph`);
  await runIn(page, 'failed');
  await page.evaluate(() => { location.hash += '?object=2005'; });
  const panel = page.locator('#panel');
  await panel.getByRole('heading', { name: /^2005/ }).waitFor();
  await page.goBack();
  await panel.waitFor({ state: 'hidden' });

  // Another run by the list in the header; a run that there is not.
  await page.locator('#header select').selectOption('latest');
  await until(page, 'the latest run', () => globalThis.korch.store.graph?.ids.includes(3002) && globalThis.korch.store.graph.n < 22);
  assert.match(page.url(), /#\/runs\/latest\/graph$/);
  await page.goto(`${korch.page}#/runs/01a20eb9-0000-7000-8000-000000000000/graph`);
  await page.getByRole('heading', { name: t('unknown.title') }).waitFor();
});

pageTest('on a narrow screen nothing is wider than the screen', { args: ['--delay', '0s'] }, async ({ korch, open }) => {
  await korch.finished(await korch.run());
  const page = await open({ viewport: { width: 360, height: 740 }, locale: 'fr-FR' });
  await runIn(page, 'failed');
  for (const view of VIEWS) {
    for (const query of RUN_VIEWS.includes(view) ? ['', '?object=2005'] : ['']) {
      await page.evaluate((address) => { location.hash = address; }, addressOf(view, query));
      await viewIs(page, view);
      if (query) await page.locator('#panel h2').waitFor();
      const wide = await page.evaluate(() => {
        document.scrollingElement.scrollLeft = 100; // what cannot be scrolled to is not wider
        const moved = document.scrollingElement.scrollLeft;
        document.scrollingElement.scrollLeft = 0;
        return moved;
      });
      assert.equal(wide, 0, `${view}${query} can be scrolled sideways`);
      const out = await page.locator('#header button, #tabs a, #panel button').evaluateAll((all) => all
        .filter((element) => element.checkVisibility() && !element.closest('#tabs'))
        .filter((element) => element.getBoundingClientRect().right > innerWidth + 1).map((element) => element.textContent));
      assert.deepEqual(out, [], `${view}${query}: buttons out of sight`);
    }
  }
});
