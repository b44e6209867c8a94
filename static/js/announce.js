// What is said besides what is drawn: the page's title, for who looks at another tab, and the polite region, for who
// listens. Both are bounded: a run of 50,000 objects may fail at every second one of them.

import { GLYPHS } from './format.js';
import { t } from './i18n.js';

const APART_MS = 5_000;

/**
 * @param {import('./store.js').Store} store
 * @param {HTMLElement} region
 * @returns {() => void} ends it
 */
export function announce(store, region) {
  let before = null; // the run as it was last spoken of
  let spokeAt = -Infinity;
  let timer = null;

  function speak() {
    clearTimeout(timer);
    timer = null;
    const { run } = store;
    if (!run) {
      before = null;
      return;
    }
    const now = { id: run.run_id, state: run.state, failed: run.counts.failed };
    if (before?.id !== now.id) {
      // Another run was chosen, or the page was opened: the reader asked for it and sees it.
      before = now;
      return;
    }
    const words = [];
    if (now.failed > before.failed) words.push(t('said.failed', { n: now.failed - before.failed }));
    if (now.state !== before.state) words.push(t(before.state === 'paused' && now.state === 'running' ? 'said.run-resumed' : `said.run-${now.state}`));
    if (words.length === 0) return;
    const wait = spokeAt + APART_MS - performance.now();
    if (wait > 0) {
      timer = setTimeout(speak, wait);
      return;
    }
    spokeAt = performance.now();
    before = now;
    region.textContent = words.join(' ');
  }

  function title() {
    const text = titleOf(store);
    if (document.title !== text) document.title = text;
  }

  const offs = [store.on('run', () => { speak(); title(); }), store.on('connection', title)];
  title();
  return () => {
    clearTimeout(timer);
    for (const off of offs) off();
  };
}

/** @param {import('./store.js').Store} store @returns {string} */
export function titleOf({ run, connection }) {
  if (connection === 'lost') return `? ${t('connection.lost')} · korch`;
  if (!run) return 'korch';
  const { objects, loaded, failed, skipped } = run.counts;
  if (failed > 0) return `${GLYPHS.failed} ${t('title.failed', { n: failed })} · korch`;
  if (run.state === 'running' && objects > 0) return `${GLYPHS.running} ${t('title.percent', { percent: Math.floor((100 * (loaded + skipped)) / objects) })} · korch`;
  return `${GLYPHS[run.state]} ${t(`run-state.${run.state}`)} · korch`;
}
