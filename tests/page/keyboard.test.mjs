// A run by the keyboard alone: started, watched, asked, gone back in, without a pointer and always in sight of the focus.

import assert from 'node:assert/strict';

import { inStates, runIn, until } from './support/look.mjs';
import { pageTest } from './support/page.mjs';
import { said, t } from './support/words.mjs';

const MOST = 150;

/** What has the focus: how it is called, and whether that can be seen. */
const focused = (page) => page.evaluate(() => {
  const element = document.activeElement;
  if (element === null || element === document.body) return null;
  const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  const shown = (outlineStyle !== 'none' && parseFloat(outlineWidth) > 0) || boxShadow !== 'none';
  return {
    tag: element.tagName.toLowerCase(), id: element.id, class: element.className,
    text: (element.getAttribute('aria-label') ?? element.textContent).trim().slice(0, 60),
    there: element.checkVisibility() && box.width > 0 && box.height > 0,
    shown,
    inDialog: element.closest('dialog') !== null,
  };
});

/** Whether the page looks otherwise without the focus: not every one has an outline of its own. */
async function looksFocused(page) {
  const element = await page.evaluateHandle(() => document.activeElement);
  const focus = await page.screenshot();
  await element.evaluate((it) => it.blur());
  const none = await page.screenshot();
  await element.evaluate((it) => it.focus({ preventScroll: true }));
  return !focus.equals(none);
}

/** Presses Tab until something is reached; all on the way shows that it has the focus. */
async function tabTo(page, what, matches, key = 'Tab') {
  const passed = [];
  for (let i = 0; i < MOST; i += 1) {
    await page.keyboard.press(key);
    const at = await focused(page);
    if (at === null) continue;
    assert.ok(at.there && (at.shown || await looksFocused(page)), `the focus cannot be seen on ${JSON.stringify(at)}`);
    if (matches(at)) return at;
    passed.push(at.text);
  }
  return assert.fail(`${what} is not reached by ${key}: ${passed.join(' | ')}`);
}

const called = (text) => (at) => at.text.includes(text);

pageTest('a run by the keyboard alone', { args: ['--delay', '300ms'] }, async ({ korch, open }) => {
  const page = await open();
  await page.getByRole('heading', { name: t('welcome.title') }).waitFor();

  // Past everything that is repeated, to the content.
  await tabTo(page, 'the way to the content', called(t('page.skip')));
  await page.keyboard.press('Enter');
  assert.equal((await focused(page)).id, 'main');
  await tabTo(page, 'the start', called(t('welcome.start')));
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  assert.ok((await focused(page)).inDialog, 'the focus is in the dialog');

  // The focus does not leave it; Esc closes it, and the focus is back.
  for (let i = 0; i < 8; i += 1) {
    await page.keyboard.press('Tab');
    const at = await focused(page);
    assert.ok(at === null || at.inDialog, `behind the dialog: ${JSON.stringify(at)}`);
  }
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  assert.match((await focused(page)).text, new RegExp(t('welcome.start')));
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  await page.keyboard.press('ArrowDown'); // only some objects
  await tabTo(page, 'the selectors', (at) => at.id === 'start-selectors');
  await page.keyboard.type('+3007 +3001');
  await tabTo(page, 'the start of the run', called(t('start.go')));
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  await runIn(page, 'failed');

  // The table: one stop for Tab, arrows inside.
  await page.keyboard.press('3');
  await page.locator('.view-table .grid-row[data-item]').first().waitFor();
  await page.keyboard.press('/');
  assert.equal((await focused(page)).tag, 'input', '/ goes to the search');
  await tabTo(page, 'the grid', (at) => at.class === 'grid');
  const active = () => page.evaluate(() => {
    const grid = document.activeElement;
    return document.getElementById(grid.getAttribute('aria-activedescendant'))?.querySelector('[data-key=id]').textContent.match(/\d+$/)[0] ?? null;
  });
  await page.keyboard.press('Home');
  assert.equal(await active(), '1001');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  const second = await active();
  await page.keyboard.press('End');
  assert.equal(await active(), '3007');
  await page.keyboard.press('Enter');
  await page.locator('#panel h2', { hasText: '3007' }).waitFor();
  await until(page, 'the focus in the panel', () => document.activeElement.closest('#panel') !== null);
  await tabTo(page, 'a parent', called('2005'));
  await page.keyboard.press('Enter');
  await page.locator('#panel h2', { hasText: '2005' }).waitFor();
  await page.keyboard.press('Escape');
  await page.locator('#panel').waitFor({ state: 'hidden' });
  assert.equal((await focused(page)).class, 'grid', 'the focus is back where the panel was opened');
  assert.notEqual(second, null);

  // The graph: from object to object.
  await page.keyboard.press('1');
  await page.locator('.graph-stage').waitFor();
  await inStates(page, { 2005: 'failed' });
  await tabTo(page, 'the graph', (at) => at.class.includes('graph-stage'));
  const spoken = () => page.locator('.graph-view > [aria-live]').textContent();
  const moves = async (key) => {
    const before = await spoken();
    await page.keyboard.press(key);
    await until(page, `${key} leads elsewhere`, (text) => document.querySelector('.graph-view > [aria-live]').textContent !== text, before);
  };
  await moves('Enter');
  assert.match(await spoken(), /^1\d{3} /);
  await moves('ArrowDown');
  await moves('ArrowRight');
  assert.match(await spoken(), /^[23]\d{3} /);
  const [id] = (await spoken()).split(' ');
  assert.ok((await spoken()).includes(t(`state.${(await korch.get('runs/latest')).objects.find((object) => String(object.id) === id).state}`)));
  await page.keyboard.press('Enter');
  await page.locator('#panel h2', { hasText: id }).waitFor();
  await page.keyboard.press('Escape');
  await page.locator('#panel').waitFor({ state: 'hidden' });

  // The timeline: from attempt to attempt.
  await page.keyboard.press('2');
  await tabTo(page, 'the timeline', (at) => at.class.includes('tl-scroll'));
  await page.keyboard.press('ArrowRight');
  await until(page, 'an attempt is spoken of', () => /\d{4}/.test(document.querySelector('.view-timeline [aria-live]').textContent));
  await page.keyboard.press('Enter');
  await page.locator('#panel h2').waitFor();
  await page.keyboard.press('Escape');
  await page.locator('#panel').waitFor({ state: 'hidden' });

  // Time.
  await tabTo(page, 'the slider', called(t('travel.time')));
  await page.keyboard.press('PageDown');
  await until(page, 'the past', () => globalThis.korch.store.time !== null);
  const [at, { from, to }] = await page.evaluate(() => [globalThis.korch.store.time, globalThis.korch.store.span()]);
  assert.ok(at > from && at < to);
  await page.keyboard.press('ArrowLeft');
  await until(page, 'a little earlier', (before) => globalThis.korch.store.time < before, at);
  await page.keyboard.press('Home');
  await until(page, 'the beginning', (began) => globalThis.korch.store.time === began, from);
  await page.keyboard.press('.');
  await until(page, 'the next event', (began) => globalThis.korch.store.time > began, from);
  await page.keyboard.press('End');
  await until(page, 'the end', () => globalThis.korch.store.time === null);

  // The events, the help, the way around.
  await page.keyboard.press('4');
  await tabTo(page, 'an event', (element) => element.class.includes('event') && element.tag === 'button');
  await page.keyboard.press('Enter');
  await until(page, 'its JSON', () => /"event_type"/.test(document.querySelector('.events-body').textContent));
  await page.keyboard.press('?');
  await page.getByRole('dialog', { name: t('keys.title') }).waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  for (const [key, view] of [['5', 'runs'], ['6', 'workers'], ['1', 'graph']]) {
    await page.keyboard.press(key);
    await page.locator(`main > .view-${view}`).waitFor();
    let around = 0;
    await page.evaluate(() => document.activeElement.blur());
    await tabTo(page, `the beginning of ${view} again`, (element) => element.text.includes(t('page.skip')) && (around += 1) === 2);
  }
  await tabTo(page, 'the end, backwards', (element) => element.tag !== 'a', 'Shift+Tab');
});

pageTest('what is pressed in a field is the field\'s', { args: ['--delay', '0s'] }, async ({ korch, open }) => {
  await korch.finished(await korch.run());
  const page = await open({ address: '#/runs/latest/table', locale: 'fr-FR' });
  const search = page.getByRole('searchbox', { name: said('fr', 'table.search') });
  await search.click();
  await page.keyboard.type('1?/.,');
  assert.equal(await search.inputValue(), '1?/.,');
  assert.match(page.url(), /\/table/);
  assert.equal(await page.getByRole('dialog').count(), 0);
});
