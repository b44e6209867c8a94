// The browser of this machine, and pages of it that are watched: whatever goes wrong in them is written down.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

import { chromium } from 'playwright-core';

import { DEADLINE_MS } from './korch.mjs';

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
export const NONE = executablePath === null
  && 'there is no Chromium on this machine: install it (apt-get install chromium), or say where it is by KORCH_CHROMIUM';

/** One browser for a process; it is there from the first page on. */
let browser = null;

export function theBrowser() {
  browser ??= chromium.launch({ executablePath, args: ARGS, headless: true });
  return browser;
}

export async function closeBrowser() {
  await (await browser)?.close();
}

/**
 * Opens the page as somebody new, in a profile of their own, and watches it.
 * @param {import('./korch.mjs').Korch} korch
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
  page.on('pageerror', (error) => wrong(`page: ${error.stack || error.message || error.name}`));
  page.on('crash', () => wrong('the page crashed'));
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (url.origin !== origin && url.protocol !== 'data:' && url.protocol !== 'blob:') wrong(`a request to elsewhere: ${request.url()}`);
  });
  return wrongs;
}

