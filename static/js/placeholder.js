// What is said where there is nothing to view yet: no run, a run that waits for its turn, a run that came to nothing.
// It says what that is waiting for, and what to do.

import { problemsOf } from './dialogs.js';
import { el } from './dom.js';
import { clock, goesOn, stateBadge } from './format.js';
import { t } from './i18n.js';
import { RUN_VIEWS, href } from './router.js';

const NOT_FOUND = 404;
const BEFORE = 5; // runs named that come first

/**
 * @param {import('./store.js').Store} store
 * @param {import('./router.js').Route} route
 * @returns {{key: string, mount: (root: HTMLElement, acts: {start: () => void, retryGraph: () => void}) => {destroy: () => void}} | null}
 *   null: there is something to view
 */
export function placeholder(store, route) {
  if (!RUN_VIEWS.includes(route.view)) return null;
  const { run } = store;
  if (!store.told) return store.connection === 'lost' ? said('unreachable', unreachable) : said('connecting', waiting('page.connecting'));
  if (!run) return route.run === 'latest' ? said('welcome', welcome) : said('unknown', unknown);
  if (route.view === 'events' || store.graph) return null;
  if (run.state === 'queued' || (goesOn(run) && run.plan === null)) return said(`queued ${run.run_id}`, (root) => queued(root, store));
  if (run.plan === null) return said(`unplanned ${run.run_id}`, (root) => unplanned(root, run));
  if (store.graphError) return said(`no graph ${store.graphError.message}`, (root, acts) => noGraph(root, store.graphError, acts));
  return said('loading', waiting('page.loading'));
}

function said(key, fill) {
  return {
    key,
    mount(root, acts) {
      root.classList.add('placeholder-view');
      return fill(root, acts) ?? { destroy() {} };
    },
  };
}

function frame(root, ...children) {
  root.replaceChildren(el('div', { class: 'placeholder' }, children));
}

function waiting(key) {
  return (root) => frame(root, el('p', { class: 'waiting', text: t(key) }));
}

function unreachable(root) {
  frame(root, el('h2', { text: t('unreachable.title') }), el('p', { text: t('unreachable.text') }));
}

function welcome(root, { start }) {
  frame(root,
    el('img', { src: 'icon.svg', alt: '', width: 48, height: 48 }),
    el('h2', { text: t('welcome.title') }),
    el('p', { text: t('welcome.text') }),
    el('button', { type: 'button', class: 'primary', text: t('welcome.start'), on: { click: start } }),
    el('p', { class: 'soft', text: t('welcome.else') }),
    el('pre', null, el('code', { text: 'korch start\ncurl -X POST ' + new URL('orchestrate', document.baseURI.replace(/[?#].*$/, '')) })));
}

function unknown(root) {
  frame(root, el('h2', { text: t('unknown.title') }), el('p', { text: t('unknown.text') }),
    el('p', null, el('a', { class: 'button', href: href({ run: 'latest', view: 'graph', params: {} }), text: t('unknown.latest') }), ' ',
      el('a', { class: 'button', href: '#/runs', text: t('unknown.runs') })));
}

/** A queued run waits for the runs before it, and for somebody who leads. */
function queued(root, store) {
  function draw() {
    const { run, runs, members } = store;
    if (!run) return;
    const before = runs.filter((other) => other.run_id !== run.run_id && goesOn(other)
      && Date.parse(other.requested_at ?? other.planned_at) <= Date.parse(run.requested_at));
    const led = members?.leader?.led ?? true;
    frame(root,
      el('h2', { text: t('queued.title') }),
      el('p', { text: t('queued.asked', { by: run.requested_by || '–', time: clock(run.requested_at) }) }),
      run.selection ? el('p', null, el('code', { text: run.selection })) : null,
      run.state === 'paused' ? el('p', null, stateBadge('paused', 'run'), ' ', t(run.paused_by ? 'when.paused-by' : 'when.paused', { by: run.paused_by, time: clock(run.paused_at) })) : null,
      led ? null : el('p', { class: 'problem', text: t('queued.no-leader') }),
      before.length > 0 ? [el('p', { text: t('queued.before', { n: before.length }) }), el('ul', { class: 'runs-before' }, before.slice(0, BEFORE).map((other) =>
        el('li', null, stateBadge(other.state, 'run'), ' ', el('a', {
          href: href({ run: other.run_id, view: 'graph', params: {} }), text: `${clock(other.requested_at ?? other.planned_at)} · ${other.requested_by || '–'}`,
        }))))] : null,
      led && before.length === 0 ? el('p', { text: t('queued.planning') }) : null);
  }
  const offs = [store.on('run', draw), store.on('runs', draw), store.on('members', draw)];
  draw();
  return { destroy: () => offs.forEach((off) => off()) };
}

function unplanned(root, run) {
  frame(root, el('h2', { text: t('unplanned.title') }), stateBadge(run.state, 'run'),
    problemsOf({ message: run.reason || t('unplanned.text'), problems: run.problems }),
    el('p', { class: 'soft', text: t('unplanned.what') }));
}

function noGraph(root, error, { retryGraph }) {
  const gone = error.status === NOT_FOUND;
  frame(root, el('h2', { text: t('no-graph.title') }), el('p', { text: gone ? t('no-graph.gone') : error.message }),
    gone ? el('a', { class: 'button', href: href({ view: 'events' }), text: t('view.events') })
      : el('button', { type: 'button', class: 'primary', text: t('no-graph.again'), on: { click: retryGraph } }));
}
