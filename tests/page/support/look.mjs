// What the page shows, asked in the page: its store, the rows of its table. And waiting for it to show something.

import { STATES } from '../../../static/js/format.js';

/**
 * Waits until something holds in the page.
 * @param {import('playwright-core').Page} page
 * @param {string} what it is, for when it does not
 * @param {(arg: any) => any} test runs in the page
 * @param {any} [arg]
 * @returns {Promise<any>} what it found
 */
export async function until(page, what, test, arg) {
  try {
    return await (await page.waitForFunction(test, arg)).jsonValue();
  } catch (error) {
    if (error.name !== 'TimeoutError') throw error;
    throw new Error(`waited in vain in the page: ${what}`);
  }
}

/** The state of every object at the time shown, by id. @returns {Promise<Record<string, string>>} */
export async function states(page) {
  const known = await page.evaluate(() => {
    const { store } = globalThis.korch;
    return (store.graph?.ids ?? []).map((id, i) => [id, store.state(i)]);
  });
  return Object.fromEntries(known.map(([id, code]) => [id, STATES[code]]));
}

/** Waits until these objects are in these states. @param {Record<string, string>} wanted */
export function inStates(page, wanted) {
  const codes = Object.entries(wanted).map(([id, state]) => [Number(id), STATES.indexOf(state)]);
  return until(page, JSON.stringify(wanted), (list) => {
    const { store } = globalThis.korch;
    return list.every(([id, code]) => {
      const i = store.graph?.indexOf.get(id);
      return i !== undefined && store.state(i) === code;
    });
  }, codes);
}

/** Waits until the run shown is in a state, and is another than `not`. @returns {Promise<string>} its id */
export function runIn(page, state, not = null) {
  return until(page, `a run that is ${state}`, ([wanted, other]) => {
    const { run, graph } = globalThis.korch.store;
    return run?.state === wanted && run.run_id !== other && graph?.plan === run.plan && run.run_id;
  }, [state, not]);
}

/** The rows of the table that are drawn: every cell's text by its column's key. @returns {Promise<Record<string, string>[]>} */
export function tableRows(page) {
  return page.locator('.view-table .grid-body .grid-row').evaluateAll((rows) => rows
    .map((row) => ({
      row: Number(row.getAttribute('aria-rowindex')), is: row.dataset.state, selected: row.getAttribute('aria-selected') === 'true',
      ...Object.fromEntries([...row.children].map((cell) => [cell.dataset.key, cell.textContent.trim()])),
    }))
    .sort((a, b) => a.row - b.row));
}

/** Waits until the table shows these objects in these states, whatever else it shows. @param {Record<string, string>} wanted */
export function rowsIn(page, wanted) {
  return until(page, `rows ${JSON.stringify(wanted)}`, (list) => {
    const shown = new Map([...document.querySelectorAll('.view-table .grid-body .grid-row')]
      .map((row) => [row.querySelector('[data-key=id]')?.textContent.match(/\d+$/)?.[0], row.dataset.state]));
    return list.every(([id, state]) => shown.get(id) === state);
  }, Object.entries(wanted));
}

/** One row of the table. @param {number | string} id */
export function row(page, id) {
  return page.locator('.view-table .grid-body .grid-row').filter({ has: page.locator('[data-key=id]', { hasText: new RegExp(`${id}$`) }) });
}
