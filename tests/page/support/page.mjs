// A test in a page: with its own korch, its own folder and its own browser profile. What goes wrong in the page unseen
// fails it, too.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import test, { after } from 'node:test';

import { NONE, closeBrowser, visit } from './browser.mjs';
import { DEADLINE_MS, Korch, ROOT } from './korch.mjs';

const FAILURES = path.join(ROOT, 'target/page-failures');

if (NONE) {
  if (process.env.KORCH_TEST_CHROMIUM === 'required') throw new Error(NONE);
  console.error(`\n!! SKIPPED, ${NONE}\n`);
}
after(closeBrowser);

/**
 * A test with its own korch. Every page that it opens is watched, and shown in target/page-failures where the test fails.
 * @param {string} name
 * @param {Parameters<typeof Korch.start>[0] & {timeout?: number}} how `timeout` in ms
 * @param {(given: {korch: Korch, open: (how?: Parameters<typeof visit>[1]) => ReturnType<typeof visit>}) => Promise<void>} body
 */
export function pageTest(name, { timeout = 4 * DEADLINE_MS, ...how }, body) {
  test(name, { skip: NONE, timeout }, async () => {
    const korch = await Korch.start(how);
    const pages = [];
    const open = async (as) => {
      const page = await visit(korch, as);
      pages.push(page);
      return page;
    };
    try {
      await body({ korch, open });
      for (const page of pages) assert.deepEqual([...page.wrongs], [], 'what went wrong in the page');
    } catch (error) {
      for (const [i, page] of pages.entries()) await keep(page, `${name} ${i + 1}`, error);
      throw error;
    } finally {
      for (const page of pages) await page.context().close();
      await korch.end();
    }
  });
}

async function keep(page, name, error) {
  mkdirSync(FAILURES, { recursive: true });
  const file = path.join(FAILURES, `${name.replace(/[^\p{L}\p{N}]+/gu, '-')}.png`);
  try {
    await page.screenshot({ path: file });
    error.message += `\n  at ${page.url()}, seen in ${file}${page.wrongs.length > 0 ? `\n  wrong: ${page.wrongs.join('\n  ')}` : ''}`;
  } catch {
    // The page is gone: that is what the test says.
  }
}
