// The panel of one object: where it stands and why, its parents and children, its attempts, its entry. It asks the
// server anew when the object's story goes on; what did not change is not drawn again. It decides nothing.

import { attemptList, attemptsAt } from './attempts.js';
import { entryList } from './entry.js';
import { sentences } from './explain.js';
import { objectLink, paragraphs, refill, stateGlyph } from './parts.js';
import { relations } from './relations.js';
import { CRITICALITIES } from '../table/words.js';
import { FAILED, LOADED, READY, RUNNING, SKIPPED, WAITING } from '../table/facts.js';
import { markObject, retryFromObject } from '../actions.js';
import { get } from '../api.js';
import { BADGE_GLYPHS } from '../badges.js';
import { marksOf } from '../byhand.js';
import { el } from '../dom.js';
import { STAGES, STATES, about, clock, duration, goesOn, stateBadge } from '../format.js';
import { reach } from '../graph/kin.js';
import { t } from '../i18n.js';
import { href, route as here, select } from '../router.js';

const PAUSE_MS = 300; // several things happen to an object at once
const LEAST_MS = 1000; // between two requests
const AGAIN_MS = 5000; // what an object waits for changes without its own story going on
const LISTED = 20;

/**
 * @param {HTMLElement} root  an aside
 * @param {{store:any, route:any}} given
 */
export function mount(root, { store }) {
  root.classList.add('view-panel');
  let id = null; // as the address has it
  let detail = null; // the server's last answers
  let explanation = null;
  let failure = null;
  let [timer, fetched, took] = [0, 0, 0];
  let missing = false; // the server knows nothing of it in this run
  let over = new AbortController();

  const heading = el('h2', { tabindex: '-1' });
  const badges = el('div', { class: 'panel-badges' });
  const moment = el('p', { class: 'panel-moment' });
  const links = el('nav', { class: 'panel-links', 'aria-label': t('panel.links') });
  const acts = el('div', { class: 'panel-acts', role: 'group', 'aria-label': t('panel.acts') });
  const why = el('div', { class: 'why' });
  const parents = relations(store, 'panel.parents');
  const children = relations(store, 'panel.children');
  const satisfied = el('section', { class: 'panel-section' });
  const attempts = el('div');
  const entry = el('div');
  const section = (title, ...content) => el('section', { class: 'panel-section' }, el('h3', { text: t(title) }), ...content);
  const parts = [section('panel.attempts', attempts), section('panel.entry', entry)];
  const body = el('div', { class: 'panel-body' },
    links, moment, acts, section('panel.why', why), parts[0], parents.element, children.element, satisfied, parts[1]);
  root.append(
    el('header', { class: 'panel-head' },
      el('div', { class: 'panel-title' }, heading, badges),
      el('button', { type: 'button', class: 'icon-button', 'aria-label': t('panel.close'), title: t('panel.close'), on: { click: () => select(null) } }, el('span', { 'aria-hidden': 'true', text: '✕' }))),
    body);

  const runId = () => store.run?.run_id ?? (here.run === 'latest' ? null : here.run);
  const place = () => store.graph?.indexOf.get(Number(id));

  // ---- asking ----

  function open(next) {
    id = next;
    over.abort();
    [detail, explanation, failure, fetched, missing] = [null, null, null, 0, false];
    for (const part of [why, attempts, entry, satisfied]) delete part.dataset.sign;
    root.scrollTop = 0;
    drawRelations();
    draw();
    fetchSoon(0);
  }

  function fetchSoon(pause = PAUSE_MS) {
    if (timer !== 0 || missing) return;
    const least = fetched + Math.max(LEAST_MS, 4 * took) - performance.now();
    timer = setTimeout(ask, fetched === 0 ? pause : Math.max(pause, least));
  }

  async function ask() {
    timer = 0;
    const run = runId();
    if (run === null || id === null) return;
    over.abort();
    over = new AbortController();
    const { signal } = over;
    const began = performance.now();
    const at = `/runs/${encodeURIComponent(run)}`;
    try {
      const [known, because] = await Promise.all([
        store.graph === null || place() !== undefined ? get(`${at}/objects/${encodeURIComponent(id)}`, { signal }).catch(absent) : null,
        store.time === null ? get(`${at}/explain/${encodeURIComponent(id)}`, { signal }).catch(absent) : explanation,
      ]);
      if (signal.aborted) return;
      [detail, explanation, failure] = [known, because, null];
      missing = known === null && because === null;
    } catch (error) {
      if (signal.aborted) return;
      failure = error;
    }
    fetched = performance.now();
    took = fetched - began;
    draw();
  }

  // ---- drawing ----

  function draw() {
    const i = place();
    const known = i !== undefined;
    const name = (known ? store.graph.names[i] : detail?.name ?? explanation?.object.name) ?? '';
    const said = name ? `${id} ${name}` : String(id);
    if (heading.title !== said) {
      heading.replaceChildren(el('span', { class: 'tabular', text: String(id) }), name ? ' ' : '', name ? el('bdi', { text: name }) : '');
      heading.title = said;
      root.setAttribute('aria-label', t('panel.label', { id: said }));
    }
    const state = known ? STATES[store.state(i)] : detail?.state ?? null;
    const stage = known ? STAGES[store.graph.stage[i]] : detail?.stage ?? explanation?.object.stage ?? null;
    const criticality = known ? CRITICALITIES[store.graph.criticality[i]] : detail?.criticality ?? null;
    const critical = known ? store.critical.has(i) : detail?.critical === true;
    const beside = known ? store.badges(i) : [];
    const again = known ? store.nextTry(i) : null;
    const end = known && store.end(i) !== null ? about(store.end(i), store.now()) : null;
    refill(badges, JSON.stringify([state, beside, again, end, stage, criticality, critical]), () => [
      state ? stateBadge(state) : null,
      again === null ? null : el('span', { class: 'tag is-beside', text: t('badge.again', { time: clock(again) }) }),
      ...beside.map((badge) => el('span', { class: 'tag is-beside', dataset: { badge }, title: t(`badge.${badge}.hint`) }, el('span', { 'aria-hidden': 'true', text: BADGE_GLYPHS[badge] }), t(`badge.${badge}`))),
      end === null ? null : el('span', { class: 'tag', dataset: { end: '' }, text: t('badge.ends', { time: end }) }),
      stage ? el('span', { class: 'tag', dataset: { stage }, text: t(`stage.${stage}`) }) : null,
      criticality ? el('span', { class: 'tag', text: `${t('table.criticality')}\u00a0${t(`criticality.${criticality}`)}` }) : null,
      critical ? el('span', { class: 'tag is-critical' }, el('span', { 'aria-hidden': 'true', text: '◆ ' }), t('panel.critical')) : null,
    ]);
    moment.hidden = store.time === null;
    moment.textContent = store.time === null ? '' : t('panel.asOf', { at: clock(store.time) });
    drawLinks(known);
    drawActs(i, state);
    drawWhy(i, known);
    drawSatisfied();
    const then = detail ? attemptsAt(detail.attempts, store.time) : null;
    // What was skipped has none, and will have none.
    parts[0].hidden = missing || (then?.length === 0 && state === 'skipped');
    parts[1].hidden = missing;
    refill(attempts, JSON.stringify(then), () => (then ? attemptList(then) : [el('p', { class: 'muted', text: failure ? '' : t(explanation ? 'panel.noAttempt' : 'panel.loading') })]));
    refill(entry, JSON.stringify(detail?.entry ?? [detail === null, failure !== null]), () => (detail ? entryList(detail.entry) : [el('p', { class: 'muted', text: failure ? '' : t(explanation ? 'panel.noEntry' : 'panel.loading') })]));
  }

  function drawLinks(known) {
    refill(links, JSON.stringify([id, known, here.run, here.view]), () => (known ? [
      link('panel.showGraph', 'graph', { object: id, focus: id }),
      link('panel.showTimeline', 'timeline', { object: id, q: id }),
      link('panel.showTable', 'table', { object: id }),
      link('panel.showEvents', 'events', { object: id }),
    ] : []));
  }

  /** What can be done about it: of the past, nothing. */
  function drawActs(i, state) {
    const { run } = store;
    const possible = i !== undefined && run !== null && store.time === null;
    const marks = possible ? marksOf(state) : [];
    const again = possible && !goesOn(run);
    acts.hidden = marks.length === 0 && !again;
    const inside = acts.contains(document.activeElement);
    refill(acts, JSON.stringify([id, marks, again]), () => [
      again ? button('retry-from.button', 'retry-from.hint', () => retryFromObject(store, { ...named(), following: reach(store.graph.children, [place()]).length })) : null,
      ...marks.map((as) => button(`mark.${as}.button`, `mark.${as}.hint`, () => markObject(store, named(), as).then(refocus))),
    ]);
    if (inside) refocus();
  }

  /** The button that had the focus may be gone: who works by keyboard reads on at the top. */
  function refocus() {
    if (root.isConnected && (document.activeElement === document.body || document.activeElement === null)) heading.focus({ preventScroll: true });
  }

  const named = () => ({ id, said: heading.title });

  function button(key, hint, act) {
    return el('button', { type: 'button', title: t(hint), dataset: { key }, text: t(key), on: { click: act } });
  }

  function link(key, view, params) {
    return el('a', { class: 'button', href: href({ view, params }), title: t(`${key}.title`), dataset: { key }, text: t(key) });
  }

  function drawWhy(i, known) {
    if (store.time !== null && known) {
      refill(why, JSON.stringify(['then', id, store.time, store.state(i), standing(i)]), () => then(i));
      return;
    }
    const lines = explanation ? sentences(explanation, { t, duration, clock }) : null;
    refill(why, JSON.stringify([here.view, lines, failure?.message, missing]), () => {
      if (failure) return [el('p', { class: 'error-text', text: failure.message })];
      if (lines) return paragraphs(lines);
      return [el('p', { class: 'muted', text: missing ? t('panel.unknown', { id: String(id) }) : t('panel.loading') })];
    });
  }

  /** The parents in the way at the time shown. */
  function standing(i) {
    const state = store.state(i);
    if (state !== WAITING && state !== SKIPPED) return [];
    const inTheWay = (parent) => (state === WAITING ? store.state(parent) !== LOADED : [FAILED, SKIPPED].includes(store.state(parent)));
    return Array.from(store.graph.parents[i]).filter(inTheWay);
  }

  function then(i) {
    const state = store.state(i);
    const row = store.rowAt(i);
    const objects = standing(i);
    const list = objects.length > 0 ? el('ul', { class: 'causes' }, ...objects.slice(0, LISTED).map((parent) => el('li', null,
      el('span', { class: 'cause' }, stateGlyph(STATES[store.state(parent)]), el('span', null, objectLink(store.graph.ids[parent], String(store.graph.ids[parent]), ' ', el('bdi', { text: store.graph.names[parent] ?? '' })))))),
    objects.length > LISTED ? el('li', { class: 'muted', text: t('panel.andMore', { n: objects.length - LISTED }) }) : null) : null;
    const keys = { [WAITING]: objects.length > 0 ? 'panel.asOfWaiting' : 'panel.asOfOther', [SKIPPED]: 'panel.asOfSkipped', [READY]: 'panel.asOfReady', [RUNNING]: 'panel.asOfRunning' };
    const on = row?.worker ? t('explain.on', { worker: row.worker }) : '';
    const nth = row && row.attempt > 1 ? t('explain.nth', { attempt: row.attempt }) : '';
    const said = state in keys ? t(keys[state], { on, nth, at: clock(row?.t) }) : null;
    return [said ? el('p', { text: said }) : el('p', null, stateBadge(STATES[state]), ` ${clock(row?.t)}`), list];
  }

  function drawSatisfied() {
    const ids = detail?.satisfied ?? [];
    satisfied.hidden = ids.length === 0;
    refill(satisfied, JSON.stringify(ids), () => [el('h3', { text: t('panel.satisfied') }), el('p', { class: 'tabular', text: ids.slice(0, 100).join(', ') + (ids.length > 100 ? ', …' : '') })]);
  }

  function drawRelations() {
    const i = place();
    for (const [part, related] of [[parents, store.graph?.parents], [children, store.graph?.children]]) {
      part.element.hidden = i === undefined;
      if (i !== undefined) part.show(related[i]);
    }
  }

  // ---- the life of the panel ----

  function statesChanged({ changed }) {
    parents.states();
    children.states();
    const i = place();
    if (i === undefined) return;
    if (changed === null || changed.includes(i)) {
      draw();
      fetchSoon();
    } else if (store.time !== null) {
      draw();
    }
  }

  /** The estimate is another one every second; what it says to the minute seldom is. */
  function drawEnd() {
    const i = place();
    if (i !== undefined && (store.end(i) !== null || badges.querySelector('[data-end]'))) draw();
  }

  let shownRun = null;
  function runChanged() {
    const now = `${runId()} ${store.run?.state}`;
    if (now === shownRun) return;
    shownRun = now;
    missing = false;
    fetchSoon();
    draw();
  }

  const offs = [
    store.on('graph', () => { missing = false; drawRelations(); draw(); fetchSoon(); }),
    store.on('states', statesChanged),
    store.on('run', () => { runChanged(); drawEnd(); }),
    store.on('time', () => { draw(); if (store.time === null) fetchSoon(); }),
  ];
  const again = setInterval(() => {
    const i = place();
    const rests = i !== undefined && [LOADED, FAILED, SKIPPED].includes(store.state(i));
    if (store.time === null && store.span().live && !rests && !document.hidden) fetchSoon(0);
  }, AGAIN_MS);

  // Who opened it by keyboard reads on here, and goes back to where he was.
  const opener = document.activeElement;
  const byKeyboard = opener !== null && opener !== document.body && opener.matches(':focus-visible');
  open(here.params.get('object'));
  if (byKeyboard) queueMicrotask(() => heading.focus({ preventScroll: true }));

  return {
    update(next) {
      const object = next.params.get('object');
      if (object !== null && object !== id) {
        const inside = body.contains(document.activeElement);
        open(object);
        if (inside) heading.focus({ preventScroll: true });
      } else {
        draw();
      }
    },
    destroy() {
      for (const off of offs) off();
      clearTimeout(timer);
      clearInterval(again);
      over.abort();
      const inside = root.contains(document.activeElement);
      root.classList.remove('view-panel');
      if (inside && opener?.isConnected) opener.focus({ preventScroll: true });
    },
  };
}

/** What the server does not know is no error: another answer says why. */
function absent(error) {
  if (error.status === 404) return null;
  throw error;
}
