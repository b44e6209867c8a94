// Pictures of every view, in both themes, of a company's run in which two objects fail:
//   node tests/page/screenshots.mjs OUT_DIR

import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { closeBrowser, visit } from './support/browser.mjs';
import { company } from './support/catalogues.mjs';
import { Korch } from './support/korch.mjs';
import { until } from './support/look.mjs';

const OUT = process.argv[2];
if (!OUT) {
  console.error('where to? node tests/page/screenshots.mjs OUT_DIR');
  process.exit(2);
}
mkdirSync(OUT, { recursive: true });

const FAILED = ['2012', '2047'];
// While the file `hold` is there, some objects run on: the pictures of a run that goes on are all of the same instant.
const EXEC = `case "$KORCH_OBJECT_ID" in 2*[38]|3*[16]) while [ -e hold ]; do sleep 0.1; done;; esac; case "$KORCH_OBJECT_ID" in ${FAILED.join('|')}) echo "HTTP 503 de la source, 3 essais\u00a0: délai dépassé après 30 s" >&2; exit 1;; *[05]) sleep 0.9;; *[27]) sleep 0.4;; *) sleep 0.6;; esac`;
const VIEWS = {
  graph: '#/runs/latest/graph',
  'graph-failed': '#/runs/latest/graph?failed=1',
  'graph-focus': `#/runs/latest/graph?focus=${FAILED[0]}&object=${FAILED[0]}`,
  'graph-stages': '#/runs/latest/graph?stages=1',
  timeline: '#/runs/latest/timeline',
  table: '#/runs/latest/table?sort=state',
  'table-object': `#/runs/latest/table?state=failed,skipped&object=${FAILED[0]}`,
  events: '#/runs/latest/events',
  runs: '#/runs',
  workers: '#/workers',
};
const SIZES = { wide: { width: 1440, height: 900 }, narrow: { width: 360, height: 740 } };

const korch = await Korch.start({ catalogue: company(), args: ['--exec', EXEC, '--slots', '12'] });
try {
  for (const targets of [['+3001', '+3002'], ['+3040']]) await korch.finished(await korch.run(targets));
  const hold = path.join(korch.dir, 'hold');
  writeFileSync(hold, '');
  const held = await korch.run();
  const pages = [];
  for (const colorScheme of ['light', 'dark']) {
    for (const [size, viewport] of Object.entries(SIZES)) pages.push([`${size}-${colorScheme}`, await visit(korch, { locale: 'fr-FR', viewport, colorScheme, reducedMotion: 'reduce' })]);
  }
  const shoot = async (phase) => {
    for (const [view, address] of Object.entries(VIEWS)) {
      for (const [name, page] of pages) {
        await page.evaluate((hash) => { location.hash = hash; }, address);
        await until(page, view, (wanted) => document.querySelector(`main > .view-${wanted}`), view.split('-')[0]);
        // Two frames: what came is drawn in the first, and is in sight in the second.
        await page.evaluate(() => Promise.all(document.getAnimations().map(({ finished }) => finished.catch(() => {}))));
        await page.evaluate(() => new Promise((seen) => { setTimeout(seen, 700); }));
        await page.screenshot({ path: path.join(OUT, `${phase}-${view}-${name}.png`) });
      }
    }
  };
  await Promise.all(pages.map(([, page]) => until(page, 'the middle of the run', () => globalThis.korch.store.counts().byStage[1][2] === 12)));
  await shoot('running');
  rmSync(hold);
  await korch.finished(held);
  await korch.finished(await korch.run());
  await shoot('over');
  for (const [name, page] of pages) for (const wrong of page.wrongs) console.error(`${name}: ${wrong}`);
} finally {
  await closeBrowser();
  await korch.end();
}
