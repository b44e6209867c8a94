// Puts the page together: the header, the tabs, one view, the panel, the time slider; and switches between views when
// the address or the run changes. It knows where things are, not what is in them.

import { startRun } from './actions.js';
import { announce } from './announce.js';
import { configure } from './api.js';
import { askForToken, note } from './dialogs.js';
import { el } from './dom.js';
import { clock } from './format.js';
import * as header from './header.js';
import { language, load, pick, t } from './i18n.js';
import { keyboard } from './keyboard.js';
import { connect } from './live.js';
import { placeholder } from './placeholder.js';
import * as router from './router.js';
import { Store } from './store.js';
import * as theme from './theme.js';

const LANGUAGE_KEY = 'korch.language';
const HIDDEN_MS = 1_000;
const $ = (id) => document.getElementById(id);
const { route } = router;

const store = new Store({ schedule: soon });
const live = connect(store);
const keys = keyboard({ viewRoot: () => shown?.root ?? null });
/** For tests, and for the curious. */
globalThis.korch = { store, route };

/** At the next frame; a page that nobody sees has none, and is told once a second. */
function soon(flush) {
  let done = false;
  const once = () => {
    if (done) return;
    done = true;
    flush();
  };
  requestAnimationFrame(once);
  setTimeout(once, HIDDEN_MS);
}

// ---- parts that come and go ----

/** What is in the main area. @type {{key: string, root: HTMLElement, part: any, broken?: boolean} | null} */
let shown = null;
const panel = slot($('panel'), './panel/panel.js', () => route.params.has('object') && store.run !== null);
const travel = slot($('travel'), './travel.js', () => store.graph !== null && router.RUN_VIEWS.includes(route.view));

/**
 * Brings a module. One that did not come is asked for by another address the next time: some browsers remember that it
 * did not come.
 */
function bring(file) {
  const before = failures.get(file) ?? 0;
  return import(before > 0 ? `${file}?again=${before}` : file).catch((error) => {
    failures.set(file, before + 1);
    throw error;
  });
}
const failures = new Map();

/** What will be shown first is on its way while the words, the stream and the graph are. */
function bringAhead() {
  const files = [`./${route.view}/${route.view}.js`];
  if (router.RUN_VIEWS.includes(route.view)) files.push('./travel.js');
  if (route.params.has('object')) files.push('./panel/panel.js');
  for (const file of files) bring(file).catch(() => {}); // it is asked for again when its place is there
}

/** A module's place that is there only while it is wanted. */
function slot(root, file, wanted) {
  let part = null;
  let broken = false;
  let turn = 0;
  async function fill() {
    const mine = ++turn;
    root.hidden = false;
    broken = false;
    part = { destroy() {} };
    try {
      const { mount } = await bring(file);
      if (mine !== turn) return;
      root.replaceChildren();
      part = mount(root, { store, route });
    } catch (error) {
      if (mine !== turn) return;
      reportError(error);
      broken = true;
      root.replaceChildren(el('p', { class: 'broken', role: 'alert', text: t('part.broken') }));
    }
  }
  function clear() {
    turn += 1;
    const old = part;
    part = null;
    root.hidden = true;
    old?.destroy();
    root.replaceChildren();
  }
  return {
    /** There or not, as it is wanted now. */
    fit() {
      if (wanted() && !part) fill();
      else if (!wanted() && part) clear();
    },
    update() {
      if (part && wanted()) part.update?.(route);
      else this.fit();
    },
    clear() {
      if (part) clear();
    },
    /** Once more, where it did not come. */
    mend() {
      if (part && broken) clear();
      this.fit();
    },
  };
}

/** The server is heard again: what did not come before may come now. */
function mend() {
  if (store.connection !== 'open') return;
  if (shown?.broken) clearView();
  fitView();
  panel.mend();
  travel.mend();
}

/** What has to be in the main area: a view, or what is said where there is nothing to view. */
function wanted() {
  const name = route.view;
  const about = placeholder(store, route);
  if (about) {
    const acts = { retryGraph: live.retryGraph, start: () => startRun(store) };
    return { key: `placeholder ${about.key}`, make: (root) => { shown.part = about.mount(root, acts); } };
  }
  // The events of another run are another list; the other views of a run go with its graph.
  const key = name === 'events' ? `events ${store.run?.run_id}` : name;
  return { key, make: (root) => bringView(root, name) };
}

function fitView() {
  const { key, make } = wanted();
  if (shown?.key === key) return false;
  clearView();
  const root = el('section', { class: `view view-${route.view}` });
  $('main').setAttribute('aria-label', t(`view.${route.view}`));
  shown = { key, root, part: null };
  $('main').replaceChildren(root);
  make(root);
  return true;
}

/** What came from the server may call for another view, or for none; within a view, the view hears of it by itself. */
function fit() {
  fitView();
  panel.fit();
  travel.fit();
}

function clearView() {
  const old = shown;
  shown = null;
  old?.part?.destroy?.();
  $('main').replaceChildren();
}

async function bringView(root, name) {
  const mine = () => shown?.root === root;
  try {
    const { mount } = await bring(`./${name}/${name}.js`);
    if (mine()) shown.part = mount(root, { store, route });
  } catch (error) {
    if (!mine()) return;
    reportError(error);
    shown.broken = true;
    root.classList.add('placeholder-view');
    root.replaceChildren(el('div', { class: 'placeholder', role: 'alert' },
      el('h2', { text: t('view.broken', { view: t(`view.${name}`) }) }), el('p', { text: t('view.broken-why') }),
      el('p', { class: 'soft', text: String(error.message ?? error) }),
      el('button', { type: 'button', class: 'primary', text: t('view.reload'), on: { click: () => location.reload() } })));
  }
}

// ---- what is always there ----

let top = null;
let quiet = null;

function drawTabs() {
  const link = (view, i) => el('a', {
    href: router.href({ view }), title: `${t(`view.${view}`)} (${i + 1})`, 'aria-current': view === route.view ? 'page' : null, text: t(`view.${view}`),
  });
  const focused = [...$('tabs').querySelectorAll('a')].indexOf(document.activeElement);
  $('tabs').replaceChildren(...router.VIEWS.map(link));
  if (focused >= 0) $('tabs').children[focused].focus();
  const current = $('tabs').querySelector('[aria-current]');
  $('tabs').scrollLeft = Math.max(0, current.offsetLeft + current.offsetWidth - $('tabs').clientWidth + 48); // narrow: the row scrolls
}

function drawLost() {
  const lost = store.connection === 'lost';
  const text = lost ? t(store.heard === null ? 'lost.never' : 'lost.since', { time: clock(store.heard) }) : '';
  if ($('lost').textContent !== text) $('lost').textContent = text;
  $('lost').hidden = !lost;
}

function onRoute() {
  live.follow(route.run);
  drawTabs();
  top?.update();
  if (!fitView()) shown.part?.update?.(route);
  panel.update();
  travel.update();
}

/** Everything anew: at the start, and in another language. */
function draw() {
  document.documentElement.lang = language();
  $('skip').textContent = t('page.skip');
  $('tabs').setAttribute('aria-label', t('page.views'));
  $('panel').setAttribute('aria-label', t('page.panel'));
  $('travel').setAttribute('aria-label', t('page.travel'));
  top?.destroy();
  quiet?.();
  clearView();
  panel.clear();
  travel.clear();
  top = header.mount($('header'), { store, setLanguage, showKeys: keys.show });
  quiet = announce(store, $('said'));
  drawLost();
  onRoute();
}

async function setLanguage(name) {
  if (name === language()) return;
  try {
    await load(name);
  } catch {
    note(t('page.no-language'), { error: true });
    draw();
    return;
  }
  keep(name);
  words();
  draw();
  $('header').querySelector(`[lang="${name}"]`)?.focus();
}

/** What api.js says of its own accord. */
function words() {
  const said = { unreachable: t('error.unreachable'), token: t('error.token'), unsaid: (status) => t('error.status', { status }) };
  configure({ words: said, askForToken });
}

function kept() {
  try {
    return localStorage.getItem(LANGUAGE_KEY);
  } catch {
    return null;
  }
}

function keep(name) {
  try {
    localStorage.setItem(LANGUAGE_KEY, name);
  } catch {
    // A browser that keeps nothing: the choice holds for this visit.
  }
}

async function start() {
  theme.start();
  router.start();
  const first = pick(kept(), navigator.languages ?? []);
  bringAhead();
  // English stands behind every other language, and alone where that does not come.
  await Promise.all([load('en'), first === 'en' ? null : load(first).catch(reportError)]);
  await load(first).catch(() => {}); // whichever came last is the page's until then
  words();
  store.on('run', fit);
  store.on('graph', fit);
  store.on('connection', () => { drawLost(); fit(); mend(); });
  router.onRoute(onRoute);
  $('skip').addEventListener('click', (event) => {
    event.preventDefault(); // its # is not an address of ours
    $('main').focus();
  });
  draw();
}

start().catch((error) => {
  reportError(error);
  // There are no texts yet to choose from.
  const text = 'The page did not load completely: reload it. · La page ne s’est pas chargée entièrement : rechargez-la.';
  $('main').replaceChildren(el('p', { class: 'placeholder', role: 'alert', text }));
});
