// The time slider: where in the run the page is, and the buttons that move it. Sets the store's time; the views hear of
// it from the store. Does not know what they show.

import { el, svg } from '../dom.js';
import { clock, duration } from '../format.js';
import { t } from '../i18n.js';
import { onTheme } from '../theme.js';
import { address } from './address.js';
import { density, neighbour } from './events.js';
import { player } from './player.js';
import { paintStrip } from './strip.js';

const SPEEDS = ['1', '10', '60', 'whole'];
const WHOLE_MS = 30_000;
const KEPT = 'korch.replay-speed';
const THUMB = 12;
const TICK_MS = 500;
const COUNT_MS = 1000;
const PARTS = 160;

const SHAPES = {
  start: 'M2 2h2v12H2zM14 2v12L5 8z',
  back: 'M10 2h2v12h-2zM9 2v12L2 8z',
  play: 'M3 2v12l11-6z',
  pause: 'M3 2h4v12H3zM9 2h4v12H9z',
  forward: 'M4 2h2v12H4zM7 2v12l7-6z',
};

/**
 * @param {HTMLElement} root @param {{store: import('../store.js').Store, route: import('../router.js').Route}} page
 */
export function mount(root, { store, route }) {
  const where = address(store, route);
  const play = player(store, { speed, ended: draw });
  let counts = null;
  let countedAt = -Infinity;
  let drawnTo = -1;

  // ---- what is on the page ----

  const icon = (name) => svg('svg', { viewBox: '0 0 16 16', 'aria-hidden': 'true' }, svg('path', { d: SHAPES[name] }));
  const button = (name, press, keys) => el('button', {
    type: 'button', class: 'quiet', title: keys ? `${t(`travel.${name}`)} (${keys})` : t(`travel.${name}`), 'aria-label': t(`travel.${name}`), 'aria-keyshortcuts': keys ?? null, on: { click: press },
  }, icon(name));
  const playing = button('play', () => (play.running ? play.stop() : (play.start(), draw())));
  const speeds = el('select', {
    class: 'tv-speed', 'aria-label': t('travel.speed'), title: t('travel.speed'), value: kept(), on: { change: () => keep(speeds.value) },
  }, SPEEDS.map((name) => el('option', { value: name, text: name === 'whole' ? t('travel.whole') : `${name}×` })));
  const canvas = el('canvas', { 'aria-hidden': 'true' });
  const future = el('div', { class: 'tv-future' });
  const range = el('input', {
    type: 'range', min: '0', max: '1', step: '1', 'aria-label': t('travel.time'), on: { input: dragged, keydown: stepped },
  });
  const time = el('b');
  const since = el('span');
  const live = el('button', { type: 'button', class: 'tv-live', on: { click: () => move(null) } });
  const bar = el('div', { class: 'travel' },
    el('div', { class: 'tv-buttons', role: 'group', 'aria-label': t('travel.buttons') },
      button('start', () => move(store.span().from)), button('back', () => step(-1), ','), playing, button('forward', () => step(1), '.'), speeds),
    el('div', { class: 'tv-track' }, canvas, future, range),
    el('div', { class: 'tv-end' }, el('div', { class: 'tv-time' }, time, since), live));
  root.replaceChildren(bar);

  function kept() {
    try {
      const name = localStorage.getItem(KEPT);
      return SPEEDS.includes(name) ? name : '10';
    } catch {
      return '10';
    }
  }

  function keep(name) {
    try {
      localStorage.setItem(KEPT, name);
    } catch {
      // A browser that keeps nothing: the choice holds for this visit.
    }
  }

  function speed() {
    if (speeds.value !== 'whole') return Number(speeds.value);
    const { from, to } = store.span();
    return Math.max(1, to - from) / WHOLE_MS;
  }

  // ---- moving ----

  /** @param {number | null} instant by the user's hand: a replay ends */
  function move(instant) {
    play.stop();
    store.setTime(instant);
  }

  function dragged() {
    const { from, to } = store.span();
    const value = Number(range.value);
    move(value >= Number(range.max) ? null : Math.min(to, from + value));
  }

  function step(way) {
    if (!store.graph) return;
    const { from, to } = store.span();
    const found = neighbour(store.graph.n, (i) => store.storyOf(i), store.time ?? to + 1, way);
    if (way < 0) move(Math.max(from, found ?? from));
    // Past the last event there is only now.
    else move(found === null || found > to ? null : found);
  }

  /** A millisecond per press, as the range's own step would have it, is nothing: a hundredth of the run, or a tenth. */
  function stepped(event) {
    const ways = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 };
    const way = event.ctrlKey || event.metaKey || event.altKey ? undefined : ways[event.key];
    if (way === undefined) return;
    event.preventDefault();
    const { from, to } = store.span();
    const at = (store.time ?? to) + (way * (to - from)) / 100;
    move(at >= to ? null : Math.max(from, at));
  }

  function shortcut(event) {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector('dialog[open]') || event.target.closest?.('input:not([type="range"]), textarea, select, [contenteditable]')) return;
    if (event.key === ',') step(-1);
    else if (event.key === '.') step(1);
    else return;
    event.preventDefault();
  }

  // ---- drawing ----

  function set(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function draw() {
    const { from, to, live: going } = store.span();
    const past = store.time !== null;
    const at = Math.min(Math.max(store.time ?? to, from), to);
    const length = Math.max(1, Math.round(to - from));
    range.max = String(length);
    range.value = String(past ? Math.round(at - from) : length);
    const passed = t('travel.since', { duration: duration((at - from) / 1000) });
    range.setAttribute('aria-valuetext', past ? `${clock(at)}, ${passed}` : `${t(going ? 'travel.live' : 'travel.end')}, ${clock(at)}, ${passed}`);
    set(time, past ? t('travel.past', { time: clock(at) }) : clock(at));
    set(since, passed);
    since.title = passed;
    set(live, t(going ? 'travel.live' : 'travel.end'));
    live.title = t(going ? 'travel.live-why' : 'travel.end-why');
    live.setAttribute('aria-pressed', String(!past));
    live.classList.toggle('over', !going);
    bar.classList.toggle('in-past', past);
    const name = play.running ? 'pause' : 'play';
    if (playing.dataset.does !== name) {
      playing.dataset.does = name;
      playing.setAttribute('aria-label', t(`travel.${name}`));
      playing.title = t(`travel.${name}`);
      playing.replaceChildren(icon(name));
    }
    future.style.transform = `scaleX(${1 - (at - from) / length})`;
    strip(from, to);
  }

  /** Counting goes through all stories: at most once a second, whatever happens in between. */
  function strip(from, to) {
    const now = performance.now();
    if (counts && (to === drawnTo || now - countedAt < COUNT_MS)) return;
    counts = density(store.graph?.n ?? 0, (i) => store.storyOf(i), from, to, PARTS);
    countedAt = now;
    drawnTo = to;
    paint();
  }

  function paint() {
    if (counts) paintStrip(canvas, counts, THUMB / 2);
  }

  /** The stories changed: they are counted again, and once for all that change within a second. */
  function told() {
    late ||= setTimeout(() => {
      late = 0;
      counts = null;
      draw();
    }, Math.max(0, countedAt + COUNT_MS - performance.now()));
  }
  let late = 0;

  // A run that goes on becomes longer, and its strip with it.
  const beat = setInterval(() => {
    if (store.span().live && !document.hidden) draw();
  }, TICK_MS);

  const offs = [
    store.on('time', () => {
      where.write();
      draw();
    }),
    // Under time travel the states move without any news of the run.
    store.on('states', () => { if (store.time === null || store.span().live) told(); }),
    store.on('run', draw),
    store.on('graph', told),
    onTheme(paint),
  ];
  const observer = new ResizeObserver(paint);
  observer.observe(canvas);
  document.addEventListener('keydown', shortcut);
  where.read();
  draw();

  return {
    update: () => where.read(),
    destroy() {
      play.stop();
      where.destroy();
      for (const off of offs) off();
      observer.disconnect();
      clearInterval(beat);
      clearTimeout(late);
      document.removeEventListener('keydown', shortcut);
      root.replaceChildren();
    },
  };
}
