// The timeline of a run: a lane for each slot of each worker, a bar for each attempt, above them how many objects were
// ready and how many ran. Joins the model, the painters and the user's hands; holds what is seen and what is marked.
//
// Two canvases: the bars are painted anew when the run, the time or the window changes, at most ten times a second for
// what the server tells; the pointer's marks lie above them and cost next to nothing. It decides no state.

import { el } from '../dom.js';
import { t } from '../i18n.js';
import { go, select } from '../router.js';
import { onTheme } from '../theme.js';
import { listen } from './input.js';
import { Layers } from './layers.js';
import { matching, Model } from './model.js';
import { paintOverlay } from './overlay.js';
import { AXIS, BAND, paintAxis, paintBands } from './paint-axis.js';
import { paintLanes } from './paint-lanes.js';
import { Fitter, paletteOf } from './palette.js';
import { attemptAt, neighbour } from './pointing.js';
import { LANE } from './rows.js';
import { stateAt } from './sweep.js';
import { levelAt } from './times.js';
import { toolbar } from './toolbar.js';
import { Tooltip } from './tooltip.js';
import { View } from './view.js';
import { wordsOf } from './words.js';

const LIVE_MS = 100;
const REPLAY_MS = 40;
const GUTTER = 212;
const WIDE = 720;
const STEP = 0.15;
const calm = matchMedia('(prefers-reduced-motion: reduce)');

/**
 * @param {HTMLElement} root @param {{store: import('../store.js').Store, route: import('../router.js').Route}} page
 * @returns {{update: (route: object) => void, destroy: () => void}}
 */
export function mount(root, { store, route }) {
  const model = new Model(store);
  const view = new View();
  const fitter = new Fitter();
  const words = wordsOf(store);
  const marks = { hover: -1, focus: -1, pointer: null };
  let matched = null;
  let query = '';
  let palette = null;
  let scene = null;
  // Asked once per scroll: asked while painting, the browser would lay the page out for it.
  let scrollTop = 0;

  // ---- what is on the page ----

  const layers = new Layers();
  const { base: ctx, over: overCtx } = layers;
  const spacer = el('div', { class: 'tl-spacer' });
  const host = el('div', {
    class: 'tl-scroll', tabindex: '0', role: 'application', 'aria-label': t('timeline.label'), 'aria-roledescription': t('view.timeline'),
  }, layers.root, spacer);
  const message = el('p', { class: 'tl-message' });
  const readout = el('p', { class: 'visually-hidden', 'aria-live': 'polite' });
  const body = el('div', { class: 'tl-body' }, host, message);
  const tip = new Tooltip(body);
  const tools = toolbar({
    search: (q) => {
      const params = new URLSearchParams(route.params);
      if (q) params.set('q', q);
      else params.delete('q');
      go({ params }, { replace: true });
    },
    zoom: (factor) => change(() => view.zoom(factor)),
    whole: () => change(() => view.showWhole()),
    follow: () => change(() => (view.following ? view.pan(0) : view.follow())),
  });
  root.classList.add('timeline');
  root.replaceChildren(tools.root, body, readout);

  // ---- painting ----

  let frame = 0;
  let timer = 0;
  let beat = 0;
  let dirty = false;
  let paintedAt = 0;
  let cost = 0;

  function request(whole) {
    dirty ||= whole;
    frame ||= requestAnimationFrame(paint);
  }

  /** For what comes from the server, and for a replay: not faster than so often, and never most of the time. */
  function requestLater(apart = LIVE_MS) {
    if (timer || (dirty && frame)) return;
    const wait = paintedAt + Math.max(apart, cost * 4) - performance.now();
    timer = setTimeout(() => {
      timer = 0;
      request(true);
    }, Math.max(0, wait));
  }

  function change(move) {
    move();
    request(true);
  }

  function compose() {
    const span = store.span();
    const { graph } = store;
    const { width, height } = layers;
    const gutter = width >= WIDE ? GUTTER : 0;
    view.width = Math.max(1, width - gutter);
    view.setSpan(span);
    const top = AXIS + (model.stages?.length ?? 0) * BAND;
    const scroll = Math.min(scrollTop, Math.max(0, model.height - (height - top)));
    const until = store.time ?? Math.max(span.to, model.latest);
    scene = {
      view, span, palette, fitter, words, matched, width, height, gutter, top, scroll, until, past: store.time !== null,
      attempts: model.attempts, groups: model.groups, stages: model.stages ?? [],
      critical: store.critical,
      ids: graph?.ids ?? [],
      parents: (object) => graph.parents[object],
      label: (object) => (graph.names[object] ? `${graph.ids[object]} ${graph.names[object]}` : String(graph.ids[object])),
      placeOf: (a) => {
        const y = model.topOf(a);
        return y === null ? null : { y: top + y - scroll };
      },
    };
  }

  function paint() {
    frame = 0;
    if (!palette) return;
    if (dirty || !scene) {
      dirty = false;
      const began = performance.now();
      compose();
      paintBase();
      paintedAt = performance.now();
      cost = paintedAt - began;
      tellNumbers();
    }
    paintMarks();
    keepTime();
  }

  function paintBase() {
    ctx.fillStyle = palette.surface;
    ctx.fillRect(0, 0, scene.width, scene.height);
    if (!model.attempts) return;
    paintAxis(ctx, scene);
    paintLanes(ctx, scene);
    paintBands(ctx, scene);
  }

  function paintMarks() {
    if (!model.attempts) return;
    const object = selected();
    paintOverlay(overCtx, scene, {
      ...marks,
      focus: document.activeElement === host ? marks.focus : -1,
      selected: object >= 0 ? model.attempts.of(object).filter((a) => model.topOf(a) !== null) : [],
      cursor: store.time,
      now: scene.span.live ? scene.span.to : null,
    });
  }

  /** While the run goes on, the open bars grow: painted when they are a pixel longer. */
  function keepTime() {
    clearTimeout(beat);
    if (!scene.span.live || store.time !== null) return;
    const pixel = 1 / view.scale;
    beat = setTimeout(() => request(true), Math.min(1000, Math.max(calm.matches ? 1000 : LIVE_MS, cost * 4, pixel)));
  }

  function tellNumbers() {
    const { attempts } = model;
    let found = null;
    if (matched) found = matched.reduce((sum, one) => sum + one, 0);
    const begun = attempts ? attempts.queue.reduce((sum, { runOn }) => sum + runOn.upTo(scene.until), 0) : 0;
    tools.update({
      attempts: begun, lanes: model.laneCount, skipped: store.counts().byState[6], found, live: scene.span.live, following: view.following,
    });
    const text = begun > 0 ? '' : t(store.time === null && scene.span.live ? 'timeline.empty-live' : 'timeline.empty');
    if (message.textContent !== text) message.textContent = text;
    message.hidden = text === '';
  }

  function resize() {
    if (!layers.fit(host.clientWidth, host.clientHeight)) return;
    colour();
    measure();
    cancelAnimationFrame(frame);
    dirty = true;
    // At once: a canvas that was given another size is empty until it is painted.
    paint();
  }

  function colour() {
    palette = paletteOf(ctx, layers.ratio, getComputedStyle(root).fontFamily);
  }

  function measure() {
    const top = AXIS + (model.stages?.length ?? 0) * BAND;
    spacer.style.height = `${Math.max(0, top + model.height + 8 - layers.height)}px`;
  }

  // ---- what is marked ----

  function selected() {
    const id = route.params.get('object');
    return id === null || !store.graph ? -1 : store.graph.indexOf.get(Number(id)) ?? -1;
  }

  function point(at) {
    marks.pointer = at;
    marks.hover = at && scene ? attemptAt(scene, at) : -1;
    describe(at);
    host.classList.toggle('pointing', marks.hover >= 0 || (at !== null && scene !== null && at.y < scene.top));
    request(false);
  }

  function describe(at) {
    if (at && marks.hover >= 0) {
      const a = marks.hover;
      const state = stateAt(model.attempts, a, scene.until);
      // What still runs has another time at each repaint.
      tip.show(at.x, at.y, `${a} ${state} ${state === 2 ? Math.floor(scene.until / 1000) : ''}`, () => {
        const { id, name, state: word, facts } = words.attempt(model, a, scene.until);
        return { title: `${id} ${name}`.trim(), state: word, facts };
      });
      return;
    }
    const stage = at && scene && at.x >= scene.gutter && at.y >= AXIS && at.y < scene.top ? scene.stages[Math.floor((at.y - AXIS) / BAND)] : undefined;
    const instant = stage === undefined ? 0 : Math.min(scene.until, view.t(at.x - scene.gutter));
    if (stage === undefined || instant < scene.span.from) {
      tip.hide();
      return;
    }
    const { readyOn, readyOff, runOn, runOff } = model.attempts.queue[stage];
    tip.show(at.x, at.y, `${stage} ${instant}`, () => ({
      title: `${words.stage(stage)} · ${words.precise(instant)}`,
      facts: [
        [t('timeline.tip-ready'), String(levelAt(readyOn, readyOff, instant))],
        [t('timeline.tip-running'), String(levelAt(runOn, runOff, instant))],
      ],
    }));
  }

  function press(at) {
    if (!scene || !model.attempts) return;
    if (at.y < scene.top) {
      if (at.x >= scene.gutter) setTime(view.t(at.x - scene.gutter));
      return;
    }
    const a = attemptAt(scene, at);
    if (a < 0) return;
    marks.focus = a;
    open(a);
  }

  function open(a) {
    own = String(store.graph.ids[model.attempts.object[a]]);
    select(own);
  }

  function setTime(instant) {
    const { from, to } = store.span();
    store.setTime(instant >= to ? null : Math.max(from, instant));
  }

  function focusOn(a) {
    if (a < 0) return;
    marks.focus = a;
    show(a);
    readout.textContent = words.sentence(model, a, scene.until);
    request(true);
  }

  /** Brings an attempt into sight, moving as little as that takes. */
  function show(a) {
    const { attempts } = model;
    const top = model.topOf(a);
    if (top === null || !scene) return;
    const room = scene.height - scene.top;
    // The pinned heading lies over the first lane.
    if (top - LANE * 1.5 < host.scrollTop) host.scrollTop = top - LANE * 1.5;
    else if (top + LANE > host.scrollTop + room) host.scrollTop = top + LANE - room + 8;
    view.reveal(attempts.start[a], Math.min(attempts.end[a], scene.until));
  }

  function key(event) {
    const { key: name } = event;
    if (!scene || !model.attempts) return false;
    if (/^(Arrow(Left|Right|Up|Down)|Home|End)$/.test(name)) {
      if (event.shiftKey && name === 'ArrowLeft') change(() => view.pan(-view.width * STEP));
      else if (event.shiftKey && name === 'ArrowRight') change(() => view.pan(view.width * STEP));
      else focusOn(neighbour(scene, marks.focus, name));
    } else if (name === 'Enter' && marks.focus >= 0) open(marks.focus);
    else if (name === '+' || name === '=') change(() => view.zoom(1.6));
    else if (name === '-') change(() => view.zoom(1 / 1.6));
    else if (name === '0') change(() => view.showWhole());
    else if (name === 'f') change(() => view.follow());
    else return false;
    return true;
  }

  const unlisten = listen(host, {
    zoom: (factor, x) => change(() => view.zoom(factor, x === undefined ? undefined : Math.max(0, x))),
    pan: (pixels) => change(() => view.pan(pixels)),
    scroll: (pixels) => { host.scrollTop += pixels; },
    point, press, key,
    gutter: () => scene?.gutter ?? 0,
  });

  // ---- what happens ----

  function read(changed) {
    const graph = model.graph;
    if (!model.take(changed)) return;
    if (graph !== model.graph) {
      Object.assign(marks, { hover: -1, focus: -1 });
      view.showWhole();
      matched = matching(model.graph, query);
      own = null;
    } else if (changed === null) {
      Object.assign(marks, { hover: -1, focus: -1 });
    }
    measure();
    requestLater();
  }

  function timeMoved() {
    const { time } = store;
    if (time !== null) view.reveal(time);
    requestLater(REPLAY_MS);
  }

  // The object that was chosen here need not be brought into sight; one that was chosen elsewhere does.
  let own = null;
  function routed() {
    const q = route.params.get('q') ?? '';
    if (q !== query || (q && !matched)) {
      query = q;
      matched = matching(store.graph, q);
    }
    if (tools.search.value !== q && document.activeElement !== tools.search) tools.search.value = q;
    const object = route.params.get('object');
    if (object !== own) {
      own = object;
      const at = selected();
      const a = at >= 0 && model.attempts ? model.attempts.lastOf(at, scene?.until) : -1;
      if (a >= 0) {
        marks.focus = a;
        show(a);
      }
    }
    request(true);
  }

  const offs = [
    store.on('graph', () => read(null)),
    store.on('states', ({ changed }) => read(changed)),
    store.on('time', timeMoved),
    store.on('run', () => requestLater()),
    store.on('members', () => requestLater()),
    onTheme(() => {
      colour();
      request(true);
    }),
  ];
  const observer = new ResizeObserver(resize);
  observer.observe(host);
  const scrolled = () => {
    scrollTop = host.scrollTop;
    request(true);
  };
  const marksOnly = () => request(false);
  const toSearch = () => tools.search.focus();
  host.addEventListener('scroll', scrolled, { passive: true });
  host.addEventListener('focus', marksOnly);
  host.addEventListener('blur', marksOnly);
  root.addEventListener('korch:search', toSearch);

  read(null);
  resize();
  routed();

  return {
    update: routed,
    destroy() {
      for (const off of offs) off();
      unlisten();
      observer.disconnect();
      cancelAnimationFrame(frame);
      clearTimeout(timer);
      clearTimeout(beat);
      host.removeEventListener('scroll', scrolled);
      host.removeEventListener('focus', marksOnly);
      host.removeEventListener('blur', marksOnly);
      root.removeEventListener('korch:search', toSearch);
      root.classList.remove('timeline');
      root.replaceChildren();
    },
  };
}
