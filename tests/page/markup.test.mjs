// Names, errors and addresses that are markup: shown as text wherever they are shown, and nothing comes of them.

import assert from 'node:assert/strict';

import { rowsIn, runIn, until } from './support/look.mjs';
import { pageTest } from './support/page.mjs';
import { said, t } from './support/words.mjs';

const evil = (where) => `<img src=x onerror="globalThis.hacked='${where}'"> <script>globalThis.hacked='${where}'</script> ${where}`;
const CATALOGUE = [
  { IdObjet: 1001, NomObjet: evil('name of 1001'), Description_Objet: evil('description'), NomSource: evil('source'), [evil('field')]: evil('value'), URI: 'javascript:globalThis.hacked=1' },
  { IdObjet: 2001, IdObjet_Parent: 1001, NomObjet: evil('name of 2001'), NomSource: '"><svg onload=globalThis.hacked=1>' },
  { IdObjet: 3001, IdObjet_Parent: '2001, 1001', NomObjet: evil('name of 3001') },
];
const FAILS = `echo '${evil('error').replaceAll("'", `'"'"'`)}' >&2; exit 1`;
const EXEC = `if [ "$KORCH_OBJECT_ID" = 2001 ]; then ${FAILS}; fi; echo '{"rows":"<img src=x onerror=globalThis.hacked=1>"}'`;

/** What must not have happened, whatever was shown. */
async function nothingCameOfIt(page, where) {
  const found = await page.evaluate(() => ({
    hacked: globalThis.hacked ?? null,
    images: [...document.images].map((image) => image.getAttribute('src')).filter((src) => src !== 'icon.svg'),
    scripts: document.scripts.length,
    listeners: [...document.querySelectorAll('*')].filter((element) => element.getAttributeNames().some((name) => name.startsWith('on'))).length,
    links: [...document.querySelectorAll('a[href]')].map((link) => link.protocol).filter((protocol) => !protocol.startsWith('http')),
  }));
  assert.deepEqual(found, { hacked: null, images: [], scripts: 1, listeners: 0, links: [] }, where);
}

const shows = (page, selector, text) => until(page, `${text} in ${selector}`, ([at, wanted]) => [...document.querySelectorAll(at)].some((element) => element.textContent.includes(wanted)), [selector, text]);

for (const locale of ['en-US', 'fr-FR']) {
  pageTest(`markup is text, ${locale}`, { catalogue: CATALOGUE, args: ['--exec', EXEC] }, async ({ korch, open }) => {
    await korch.finished((await korch.post('orchestrate', { requested_by: evil('who') })).run_id);
    const page = await open({ locale, address: '#/runs/latest/table' });
    const text = (key, params) => said(locale.slice(0, 2), key, params);
    await runIn(page, 'failed');
    const to = async (address) => {
      await page.evaluate((hash) => { location.hash = hash; }, address);
    };

    await rowsIn(page, { 1001: 'loaded', 2001: 'failed', 3001: 'skipped' });
    await shows(page, '.view-table [data-key=name]', evil('name of 1001'));
    await shows(page, '.view-table [data-key=detail]', '<img src=x');
    await to(`#/runs/latest/table?cols=${encodeURIComponent(`NomSource,${evil('field')}`)}`);
    await shows(page, '.view-table .grid-cell', evil('source'));
    await page.locator('.view-table summary').click();
    await shows(page, '.menu-list', evil('field'));
    await nothingCameOfIt(page, 'table');

    await to('#/runs/latest/graph?object=2001');
    await shows(page, '#panel h2', evil('name of 2001'));
    await shows(page, '#panel .error-text', '<img src=x');
    await shows(page, '#panel .relations', evil('name of 1001'));
    const box = await page.locator('.graph-stage').boundingBox();
    for (const part of [0.1, 0.3, 0.5, 0.7, 0.9]) for (const down of [0.3, 0.5, 0.7]) await page.mouse.move(box.x + box.width * part, box.y + box.height * down);
    await page.locator('.graph-stage').focus();
    await page.keyboard.press('ArrowLeft');
    await shows(page, '.graph-view > [aria-live]', '<img src=x');
    await nothingCameOfIt(page, 'graph and panel');
    await to('#/runs/latest/graph?object=1001');
    await shows(page, '#panel', evil('value'));
    await shows(page, '#panel', evil('description'));
    await nothingCameOfIt(page, 'the entry');
    page.wrongs.expect(/status of 4\d\d/); // there is no such object, no such target, no such run
    await to(`#/runs/latest/graph?focus=${encodeURIComponent(evil('focus'))}&q=${encodeURIComponent(evil('q'))}`);
    await nothingCameOfIt(page, 'an address');

    await to('#/runs/latest/timeline?object=2001');
    await page.locator('.tl-scroll').focus();
    await page.keyboard.press('ArrowRight');
    await shows(page, '.view-timeline [aria-live]', '<img src=x');
    await nothingCameOfIt(page, 'timeline');

    await to('#/runs/latest/events');
    await shows(page, '.events-list', '2001');
    await page.locator('.events-body [role=listitem] button').last().click();
    await nothingCameOfIt(page, 'events');
    await to(`#/runs/latest/events?q=${encodeURIComponent('onerror')}&type=${encodeURIComponent(evil('type'))}`);
    await nothingCameOfIt(page, 'types of events');

    await to('#/runs');
    await shows(page, '.runs-table', evil('who'));
    await nothingCameOfIt(page, 'runs');
    await to('#/workers');
    await page.locator('.worker').first().waitFor();
    await nothingCameOfIt(page, 'workers');

    await page.locator('#header').getByRole('button', { name: text('start.button') }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('radio', { name: text('start.some') }).check();
    await shows(page, 'dialog .choices', evil('name of 3001'));
    await dialog.getByRole('textbox', { name: text('start.selectors'), exact: true }).fill(evil('target'));
    await dialog.getByRole('button', { name: text('start.go'), exact: true }).click();
    await dialog.getByRole('alert').waitFor();
    await shows(page, 'dialog [role=alert]', '<img');
    await nothingCameOfIt(page, 'what the server says of it');
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });

    await to(`#/runs/${encodeURIComponent(evil('run'))}/graph?object=${encodeURIComponent(evil('object'))}`);
    await until(page, 'no such run', () => document.querySelector('main .placeholder-view') !== null);
    await nothingCameOfIt(page, 'a run that is markup');
  });
}

pageTest('a catalogue with markup for problems', { catalogue: [{ IdObjet: evil('id') }, { IdObjet: 3001, IdObjet_Parent: evil('parent') }] }, async ({ open }) => {
  const page = await open({ expected: [/status of 422/] });
  await page.getByRole('button', { name: t('start.button') }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: t('start.go'), exact: true }).click();
  await shows(page, 'dialog [role=alert]', '<img src=x');
  await nothingCameOfIt(page, 'the problems');
});
