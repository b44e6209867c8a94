// The raw events of the run, or of all runs, as they are written; under time travel, the last ones before the instant
// shown. It joins the stream, the buffer and the list. It folds nothing.

import { Buffer, KEPT } from './buffer.js';
import { List } from './list.js';
import { SIGNS, TYPES, lineOf } from './record.js';
import { follow, lastOfAll, lastOfRun } from './stream.js';
import { fold } from '../table/text.js';
import { get } from '../api.js';
import { el } from '../dom.js';
import { clock, number } from '../format.js';
import { t } from '../i18n.js';
import { go, route as here } from '../router.js';

const SCRUB_MS = 250;
const TYPING_MS = 150;
const THEN = 1000; // events that one look at the past brings
const CHIPS_MS = 250; // the counts are not read faster

/**
 * @param {HTMLElement} root
 * @param {{store:any, route:any}} given
 */
export function mount(root, { store, route }) {
  root.classList.add('view-events');
  const buffer = new Buffer();
  let shown = parse(route.params);
  let paused = false;
  let [waiting, missed] = [[], 0]; // what came while paused, and how many of it are gone
  let behind = 0; // how many came since the reader scrolled away
  let stream = null;
  let open = true;
  let [scrubbing, typing, chipping] = [0, 0, 0];
  let over = new AbortController();
  let failure = null;

  const runId = () => store.run?.run_id ?? (here.run === 'latest' ? null : here.run);

  // ---- the bar ----

  const search = el('input', { type: 'search', class: 'field search', placeholder: t('events.search'), 'aria-label': t('events.search'), value: shown.q, on: { input: () => later({ q: search.value }) } });
  const object = el('input', { type: 'search', inputmode: 'numeric', class: 'field object-id', placeholder: t('events.object'), 'aria-label': t('events.object'), value: shown.object ?? '', on: { input: () => later({ object: object.value.trim(), only: null }) } });
  const all = el('input', { type: 'checkbox', checked: shown.all, on: { change: () => write({ all: all.checked ? '1' : null }) } });
  const only = el('input', { type: 'checkbox', on: { change: () => write({ only: only.checked ? null : '0' }) } });
  const onlyText = el('span');
  const onlyLabel = el('label', { class: 'check' }, only, onlyText);
  const pause = el('button', { type: 'button', on: { click: () => setPaused(!paused) } });
  const chips = el('div', { class: 'chips', role: 'group', 'aria-label': t('events.types') });
  const status = el('p', { class: 'events-status', role: 'status' });
  const jump = el('button', { type: 'button', class: 'primary jump', hidden: true, on: { click: () => list.follow() } });
  const list = new List({
    label: t('events.label'),
    nameOf(line) {
      const { graph } = store;
      const here = graph !== null && line.object !== null && (line.run === null || line.run === graph.runId);
      return (here ? graph.names[graph.indexOf.get(Number(line.object))] : null) ?? '';
    },
    followed(following) {
      if (following) behind = 0;
      drawJump();
    },
  });
  const empty = el('p', { class: 'empty' });
  root.append(
    el('div', { class: 'bar' },
      el('div', { class: 'bar-line' }, search, object, onlyLabel, el('label', { class: 'check' }, all, el('span', { text: t('events.allRuns') })), el('span', { class: 'bar-end' }, status, pause)),
      chips),
    el('div', { class: 'events-frame' }, list.element, empty, jump));

  function later(change) {
    clearTimeout(typing);
    typing = setTimeout(() => write(change), TYPING_MS);
  }

  function write(change) {
    const params = new URLSearchParams(here.params);
    for (const [name, value] of Object.entries(change)) {
      if (value === null || value === '') params.delete(name);
      else params.set(name, value);
    }
    go({ params }, { replace: true });
  }

  // ---- what is wanted ----

  const filter = () => ({ types: shown.types, object: shown.filtered, q: fold(shown.q.trim()) });
  const last = () => {
    const run = runId();
    if (shown.all || run === null) return lastOfAll();
    return lastOfRun(run, { object: shown.filtered, type: shown.types.size === 1 ? [...shown.types][0] : null });
  };

  function ofThisRun(event) {
    if (shown.all) return true;
    const run = runId();
    if (event.run_id) return event.run_id === run;
    // Old producers name no run: while this one goes on, what they say of its objects is shown with it.
    return store.span().live && (event.id_objet === undefined || store.graph?.indexOf.has(Number(event.id_objet)) === true);
  }

  function arrived(lines, fetched) {
    if (store.time !== null) return;
    if (paused && !fetched) {
      waiting.push(...lines);
      if (waiting.length > KEPT) missed += waiting.splice(0, waiting.length - KEPT).length;
      draw();
      return;
    }
    take(lines, fetched);
  }

  function take(lines, fetched) {
    const before = buffer.shown.length;
    let gone = 0;
    if (fetched) buffer.merge(lines);
    else gone = buffer.add(lines);
    if (!list.following && !fetched) behind += Math.max(0, buffer.shown.length - before + gone);
    list.show(buffer.shown, gone);
    draw();
  }

  function setPaused(next) {
    paused = next;
    if (!paused) {
      const lines = waiting;
      [waiting, missed] = [[], 0];
      take(lines, false);
    }
    draw();
  }

  // ---- live, or then ----

  function restart() {
    stop();
    buffer.clear();
    buffer.want(filter());
    [waiting, missed, behind, failure] = [[], 0, 0, null];
    list.following = true;
    list.show(buffer.shown);
    if (store.time === null) {
      stream = follow({
        last,
        wanted: ofThisRun,
        arrived,
        reset() { buffer.clear(); [waiting, missed, behind] = [[], 0, 0]; list.show(buffer.shown); draw(); },
        connection(now) { open = now; draw(); },
        failed(error) { failure = error; draw(); },
      });
    } else {
      fetchThen();
    }
    draw();
  }

  function stop() {
    stream?.destroy();
    stream = null;
    over.abort();
    clearTimeout(scrubbing);
  }

  async function fetchThen() {
    const run = runId();
    if (run === null) return;
    over.abort();
    over = new AbortController();
    const { signal } = over;
    try {
      const answer = await get(lastOfRun(run, { until: store.time, object: shown.filtered, type: shown.types.size === 1 ? [...shown.types][0] : null, limit: THEN }), { signal });
      if (signal.aborted || store.time === null) return;
      failure = null;
      buffer.clear();
      buffer.add(answer.events.map(lineOf));
      list.following = true;
      list.show(buffer.shown);
    } catch (error) {
      if (signal.aborted) return;
      failure = error;
    }
    draw();
  }

  function timeChanged() {
    if (store.time === null || stream !== null) {
      if (store.time === null) restart();
      else {
        stop();
        buffer.clear();
        list.show(buffer.shown);
        fetchThen();
      }
      return;
    }
    clearTimeout(scrubbing);
    scrubbing = setTimeout(fetchThen, SCRUB_MS);
  }

  // ---- drawing ----

  function draw() {
    status.textContent = statusText();
    pause.hidden = store.time !== null;
    pause.setAttribute('aria-pressed', String(paused));
    pause.textContent = paused ? t('events.resume') : t('events.pause');
    all.disabled = store.time !== null;
    onlyLabel.hidden = shown.object === null;
    only.checked = shown.filtered !== null;
    onlyText.textContent = t('events.only', { object: shown.object ?? '' });
    empty.hidden = buffer.shown.length > 0;
    empty.textContent = failure?.message ?? (buffer.lines.length > 0 ? t('events.nothing') : t('events.none'));
    drawJump();
    if (chipping === 0) chipping = setTimeout(() => { chipping = 0; drawChips(); }, CHIPS_MS);
  }

  function statusText() {
    if (store.time !== null) return t('events.then', { at: clock(store.time), n: buffer.shown.length });
    if (!open) return t('events.lost');
    if (paused && missed > 0) return t('events.waitingMissed', { n: waiting.length + missed, kept: number(KEPT) });
    if (paused) return t('events.waiting', { n: waiting.length });
    return buffer.shown.length === buffer.lines.length ? t('events.count', { n: buffer.lines.length }) : t('events.countOf', { shown: number(buffer.shown.length), n: buffer.lines.length });
  }

  function drawJump() {
    jump.hidden = list.following || behind === 0;
    jump.textContent = t('events.newer', { n: behind });
  }

  const made = new Map(); // type → its chip
  function drawChips() {
    const types = [...new Set([...TYPES, ...[...buffer.counts.keys()].slice(0, 30), ...shown.types])];
    for (const type of types) {
      const n = buffer.counts.get(type) ?? 0;
      let chip = made.get(type);
      if (!chip) {
        if (n === 0 && !shown.types.has(type)) continue;
        const [glyph, state] = SIGNS[type] ?? ['•', 'queued'];
        const count = el('span', { class: 'count' });
        const button = el('button', { type: 'button', class: 'chip', dataset: { state }, on: { click: () => toggle(type) } },
          el('span', { class: 'glyph', 'aria-hidden': 'true', text: glyph }), el('span', { text: type || '?' }), count);
        chip = { button, count };
        made.set(type, chip);
      }
      chip.count.textContent = number(n);
      chip.button.setAttribute('aria-pressed', String(shown.types.has(type)));
      chip.button.hidden = n === 0 && shown.types.size === 0;
    }
    const order = types.filter((type) => made.has(type)).map((type) => made.get(type).button);
    if (order.length !== chips.children.length) {
      const focused = document.activeElement;
      chips.replaceChildren(...order);
      if (chips.contains(focused)) focused.focus();
    }
  }

  function toggle(type) {
    const types = new Set(shown.types);
    if (!types.delete(type)) types.add(type);
    write({ type: [...types].join(',') });
  }

  // ---- the life of the view ----

  // Another run has another list: main.js mounts the view anew for it, but only once it is told which run it is.
  let run = runId();
  const offs = [
    store.on('time', timeChanged),
    store.on('graph', () => list.redraw()), // objects have their names now
    store.on('run', () => {
      if (runId() === run) return;
      run = runId();
      restart();
    }),
  ];
  restart();
  drawChips();

  return {
    update(next) {
      const before = shown;
      shown = parse(next.params);
      if (document.activeElement !== search) search.value = shown.q;
      if (document.activeElement !== object) object.value = shown.object ?? '';
      all.checked = shown.all;
      list.redraw();
      if (shown.all !== before.all) restart();
      else if (shown.q !== before.q || shown.filtered !== before.filtered || String([...shown.types]) !== String([...before.types])) {
        buffer.want(filter());
        behind = 0;
        list.following = true;
        list.show(buffer.shown);
        // The server may know more that is wanted than what is kept here.
        if (shown.filtered !== before.filtered || shown.types.size === 1) {
          if (store.time === null) stream?.fetchLast();
          else fetchThen();
        }
        if (shown.types.size === 0 && store.time !== null) fetchThen();
        drawChips();
      }
      draw();
    },
    destroy() {
      for (const off of offs) off();
      stop();
      clearTimeout(typing);
      clearTimeout(chipping);
      list.destroy();
    },
  };
}

/**
 * The view's part of the address. `object` opens the panel and is what the list is filtered by, unless `only=0`.
 * @param {URLSearchParams} params
 */
function parse(params) {
  const object = params.get('object');
  return {
    q: params.get('q') ?? '',
    types: new Set((params.get('type') ?? '').split(',').filter(Boolean)),
    object,
    filtered: object !== null && params.get('only') !== '0' ? object : null,
    all: params.get('all') === '1',
  };
}
