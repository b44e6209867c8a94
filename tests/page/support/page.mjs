// A browser, and a page of it that is watched: whatever goes wrong in it unseen fails the test. Every test has its own
// korch, its own folder and its own browser profile.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import test, { after } from 'node:test';

import { chromium } from 'playwright-core';

import { DEADLINE_MS, Korch, ROOT } from './korch.mjs';

const FAILURES = path.join(ROOT, 'target/page-failures');
const ARGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'];
const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
const WIDE = { width: 1280, height: 800 };

/** @returns {string | null} the Chromium of this machine */
function browserPath() {
  const given = process.env.KORCH_CHROMIUM;
  if (given) {
    assert.ok(existsSync(given), `KORCH_CHROMIUM is ${given}: there is no such file`);
    return given;
  }
  if (existsSync('/usr/bin/chromium')) return '/usr/bin/chromium';
  for (const name of NAMES) {
    const found = spawnSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' });
    if (found.status === 0) return found.stdout.trim();
  }
  return null;
}

const executablePath = browserPath();
const NONE = 'there is no Chromium on this machine: install it (apt-get install chromium), or say where it is by KORCH_CHROMIUM';
if (executablePath === null) {
  if (process.env.KORCH_TEST_CHROMIUM === 'required') throw new Error(NONE);
  console.error(`\n!! SKIPPED, ${NONE}\n`);
}

/** One browser for each file of tests; it is there from the first test on. */
let browser = null;

export async function theBrowser() {
  browser ??= chromium.launch({ executablePath, args: ARGS, headless: true });
  return browser;
}

after(async () => {
  await (await browser)?.close();
});

/**
 * Opens the page as somebody new, in a profile of their own, and watches it.
 * @param {Korch} korch
 * @param {object} [how]
 * @param {string} [how.address] from its # on
 * @param {'en-US' | 'fr-FR'} [how.locale]
 * @param {{width: number, height: number}} [how.viewport]
 * @param {'light' | 'dark'} [how.colorScheme]
 * @param {'reduce' | 'no-preference'} [how.reducedMotion]
 * @param {RegExp[]} [how.expected] what may go wrong in this test, as the console has it
 * @returns {Promise<import('playwright-core').Page & {wrongs: string[] & {expect: (pattern: RegExp) => void}}>}
 */
export async function visit(korch, { address = '', locale = 'en-US', viewport = WIDE, colorScheme = 'light', reducedMotion = 'no-preference', expected = [] } = {}) {
  const context = await (await theBrowser()).newContext({ locale, viewport, colorScheme, reducedMotion, timezoneId: 'Europe/Paris' });
  context.setDefaultTimeout(DEADLINE_MS / 2);
  const page = await context.newPage();
  page.wrongs = watch(page, new URL(korch.page).origin, [...expected]);
  await page.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => {
      console.error(`against the content security policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
    });
  });
  await page.goto(korch.page + address);
  return page;
}

function watch(page, origin, expected) {
  const wrongs = [];
  /** From now on this may go wrong, too. */
  wrongs.expect = (pattern) => expected.push(pattern);
  const wrong = (text) => {
    if (!expected.some((pattern) => pattern.test(text))) wrongs.push(text);
  };
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') wrong(`console: ${message.text()} (${message.location().url})`);
  });
  page.on('pageerror', (error) => wrong(`page: ${error.stack ?? error}`));
  page.on('crash', () => wrong('the page crashed'));
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (url.origin !== origin && url.protocol !== 'data:' && url.protocol !== 'blob:') wrong(`a request to elsewhere: ${request.url()}`);
  });
  return wrongs;
}

/**
 * A test with its own korch. Every page that it opens is watched, and shown in target/page-failures where the test fails.
 * @param {string} name
 * @param {Parameters<typeof Korch.start>[0]} how
 * @param {(given: {korch: Korch, open: (how?: Parameters<typeof visit>[1]) => ReturnType<typeof visit>}) => Promise<void>} body
 */
export function pageTest(name, how, body) {
  test(name, { skip: executablePath === null && NONE, timeout: 4 * DEADLINE_MS }, async () => {
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
