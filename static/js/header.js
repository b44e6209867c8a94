// The header: which run, how far it is, when it will be done, who works on it, and the buttons. It says what the store
// holds at the time shown, and marks the past as the past.

import { canRetry, cancelRun, isOver, pauseRun, retryRun, startRun } from './actions.js';
import { BADGE_GLYPHS } from './badges.js';
import { el } from './dom.js';
import { GLYPHS, STATES, about, clock, dateTime, duration, number, stateBadge } from './format.js';
import { LANGUAGES, language, t } from './i18n.js';
import { nextLine } from './next.js';
import { go, href, route } from './router.js';
import { THEMES, setTheme, theme } from './theme.js';

const TICK_MS = 1_000;
const WORTH_S = 10; // a shorter wait in the queue explains nothing
const LATE_S = 5; // an estimate outlived by more than this was wrong
const DONE = ['loaded', 'failed', 'skipped', 'cancelled'];
const SEGMENTS = [...DONE, 'running'];
const COUNTED = ['degraded', 'reused']; // badges that the run counts
const FINALS = 10; // final objects whose end is in the tooltip
const LATEST = 'latest';
const THEME_GLYPHS = { system: '◐', light: '☀', dark: '☾' };

/**
 * @param {HTMLElement} root
 * @param {{store: import('./store.js').Store, setLanguage: (name: string) => void, showKeys: () => void}} page
 * @returns {{update: () => void, destroy: () => void}}
 */
export function mount(root, { store, setLanguage, showKeys }) {
  const picker = pickerOf(store);
  const actions = actionsOf(store);
  const members = membersOf(store);
  const progress = progressOf(store);
  const next = nextLine(store);
  const aside = el('div', { id: 'aside', class: 'aside' }, members.element, preferences(setLanguage, showKeys));
  const more = el('button', {
    type: 'button', class: 'more', 'aria-expanded': 'false', 'aria-controls': 'aside', 'aria-label': t('header.more'), title: t('header.more'), text: '⋯',
    on: { click: () => open(more.getAttribute('aria-expanded') !== 'true') },
  });

  function open(is) {
    more.setAttribute('aria-expanded', String(is));
    aside.classList.toggle('open', is);
    progress.element.inert = is; // the menu lies over it
  }
  function outside(event) {
    if (!aside.contains(event.target) && event.target !== more) open(false);
  }
  function escape(event) {
    if (event.key !== 'Escape' || more.getAttribute('aria-expanded') !== 'true') return;
    event.stopPropagation();
    open(false);
    more.focus();
  }

  root.replaceChildren(
    el('div', { class: 'top-line', on: { keydown: escape } },
      el('a', { class: 'logo', href: href({ run: LATEST, view: 'graph', params: {} }), title: t('header.home') },
        el('img', { src: 'icon.svg', alt: '', width: 24, height: 24 }), el('h1', { text: 'korch' })),
      picker.element, actions.element, aside, more),
    progress.element, next.element);
  document.addEventListener('pointerdown', outside);

  function run() {
    picker.draw();
    actions.draw();
    progress.draw();
  }
  const offs = [
    store.on('run', run), store.on('runs', picker.draw), store.on('states', progress.draw), store.on('time', () => { picker.draw(); progress.draw(); }),
    store.on('graph', progress.draw), store.on('members', members.draw), store.on('connection', members.draw),
  ];
  const tick = setInterval(progress.tick, TICK_MS);
  run();
  members.draw();
  return {
    update: run,
    destroy() {
      clearInterval(tick);
      next.destroy();
      document.removeEventListener('pointerdown', outside);
      for (const off of offs) off();
    },
  };
}

/** Which run is shown: the latest, whichever that is, or one of the last hundred. */
function pickerOf(store) {
  const select = el('select', { class: 'picker', 'aria-label': t('header.run'), on: { change: () => go({ run: select.value, params: {}, view: viewOfRun() }), blur: draw } });
  const state = el('span', { class: 'run-state' });
  let drawn = '';
  let badge = '';
  let names = new Map(); // of the runs in the list, by all that makes them

  function name(run, today) {
    const key = [run.run_id, run.state, run.requested_by, today].join(' ');
    return [key, names.get(key) ?? { id: run.run_id, text: nameOf(run, today) }];
  }

  function list() {
    const today = new Date(store.now()).toDateString();
    const known = new Map(store.runs.map((run) => name(run, today)));
    const other = route.run !== LATEST && !store.runs.some((run) => run.run_id === route.run) ? route.run : '';
    const sign = `${other} ${[...known.keys()].join()}`;
    // An open list must not change under the pointer; it is drawn again when it is left.
    if (sign === drawn || (drawn !== '' && document.activeElement === select)) return;
    drawn = sign;
    names = known;
    const options = [[LATEST, t('header.latest')], ...(other ? [[other, other]] : []), ...[...known.values()].map(({ id, text }) => [id, text])];
    select.replaceChildren(...options.map(([value, text]) => el('option', { value, text })));
  }

  function draw() {
    list();
    if (select.value !== route.run) select.value = route.run;
    const { run } = store;
    const due = run?.scheduled_for ? t('when.due', { time: dateTime(run.scheduled_for) }) : null;
    select.title = run ? [run.run_id, run.requested_by, due, run.selection, run.reason].filter(Boolean).join(' · ') : '';
    const was = run ? stateAt(run, store.time) : '';
    if (was === badge) return;
    badge = was;
    state.replaceChildren(...(run ? [stateBadge(was, 'run')] : []));
  }
  return { element: el('div', { class: 'run-title' }, select, state), draw };
}

/** What the run's times say of it at an instant. */
function stateAt(run, time) {
  if (time === null) return run.state;
  if (run.planned_at && time < Date.parse(run.planned_at)) return 'queued';
  if (run.state === 'paused') return time < Date.parse(run.paused_at ?? '') ? 'running' : run.state;
  return run.finished_at && time < Date.parse(run.finished_at) ? 'running' : run.state;
}

/** A run by its state, when it was asked for, and by whom: nobody knows a run by its id. */
function nameOf(run, today) {
  const at = run.requested_at ?? run.planned_at;
  const time = new Date(at).toDateString() === today ? clock(at) : dateTime(at);
  return `${GLYPHS[run.state]} ${[time, run.requested_by].filter(Boolean).join(' · ')}`;
}

function viewOfRun() {
  return route.view === 'runs' || route.view === 'workers' ? 'graph' : route.view;
}

function actionsOf(store) {
  const button = (kind, glyph, key, act) => el('button', { type: 'button', class: kind, dataset: { act: key }, title: t(`${key}.hint`), on: { click: () => act(store) } },
    el('span', { 'aria-hidden': 'true', text: glyph }), ' ', el('span', { text: t(`${key}.button`) }));
  const start = button('', '▶', 'start', startRun);
  const pause = button('', '‖', 'pause', pauseRun); // one for both: the focus stays where it is
  const cancel = button('', '■', 'cancel', cancelRun);
  const retry = button('primary', '↻', 'retry', retryRun);
  return {
    element: el('div', { class: 'actions' }, pause, cancel, retry, start),
    draw() {
      const { run } = store;
      const paused = run?.state === 'paused';
      const [glyph, word] = pause.querySelectorAll('span');
      glyph.textContent = paused ? '▷' : GLYPHS.paused;
      word.textContent = t(paused ? 'resume.button' : 'pause.button');
      pause.title = t(paused ? 'resume.hint' : 'pause.hint');
      pause.classList.toggle('primary', paused);
      cancel.hidden = !run || isOver(run);
      pause.hidden = cancel.hidden;
      retry.hidden = !run || !canRetry(run);
      // The one that suits the run stands out.
      start.classList.toggle('primary', cancel.hidden && retry.hidden);
    },
  };
}

/** Who leads, who works, and whether we hear of it. */
function membersOf(store) {
  const leader = el('a', { class: 'badge', href: href({ view: 'workers', params: {} }) });
  const workers = el('a', { class: 'badge', href: href({ view: 'workers', params: {} }) });
  const connection = el('span', { class: 'badge' });

  function say(element, state, text, title) {
    if (element.dataset.state === state && element.textContent === GLYPHS[state] + text && element.title === title) return;
    element.dataset.state = state;
    element.title = title;
    element.replaceChildren(el('span', { class: 'glyph', 'aria-hidden': 'true', text: GLYPHS[state] }), el('span', { class: 'word', text }));
  }

  function draw() {
    const { members, connection: link } = store;
    const led = members?.leader?.led ?? false;
    const { epoch, instance } = members?.leader ?? {};
    if (members) say(leader, led ? 'up' : 'silent', t(led ? 'leader.led' : 'leader.none'), led ? t('leader.hint', { epoch, instance: instance ?? '' }) : t('leader.none-hint'));
    else say(leader, 'waiting', t('leader.unknown'), '');
    const up = (members?.workers ?? []).filter((worker) => worker.state === 'up');
    const slots = up.reduce((sum, worker) => sum + worker.slots, 0);
    const busy = up.reduce((sum, worker) => sum + worker.running.length, 0);
    const lines = (members?.workers ?? []).slice(0, 20).map((worker) =>
      `${worker.worker}: ${t(`state.${worker.state}`)}, ${number(worker.running.length)}/${number(worker.slots)}`);
    const title = up.length > 0 ? [t('workers.hint', { busy: number(busy), slots: number(slots) }), ...lines].join('\n') : t('workers.none-hint');
    if (members) say(workers, up.length > 0 ? 'up' : 'silent', t('workers.count', { n: up.length }), title);
    else say(workers, 'waiting', t('workers.unknown'), '');
    const states = { open: 'up', connecting: 'waiting', lost: 'silent' };
    say(connection, states[link], t(`connection.${link}`), t(`connection.${link}-hint`));
  }
  return { element: el('div', { class: 'members' }, leader, workers, connection), draw };
}

function preferences(setLanguage, showKeys) {
  const choice = (label, values, current, choose) => {
    const buttons = values.map(([value, text, title]) => el('button', {
      type: 'button', title, lang: LANGUAGES.includes(value) ? value : null, 'aria-label': LANGUAGES.includes(value) ? null : title, 'aria-pressed': String(value === current), text,
      on: {
        click: () => {
          for (const [i, button] of buttons.entries()) button.setAttribute('aria-pressed', String(values[i][0] === value));
          choose(value);
        },
      },
    }));
    return el('div', { class: 'choice', role: 'group', 'aria-label': label }, buttons);
  };
  return el('div', { class: 'preferences' },
    choice(t('header.language'), [['fr', 'FR', 'Français'], ['en', 'EN', 'English']], language(), setLanguage),
    choice(t('header.theme'), THEMES.map((name) => [name, THEME_GLYPHS[name], t(`theme.${name}`)]), theme(), setTheme),
    el('button', { type: 'button', class: 'quiet keys-button', 'aria-label': t('keys.title'), title: `${t('keys.title')} (?)`, text: '?', on: { click: showKeys } }));
}

/** How far the run is at the time shown, what state its objects are in, and when it began, ends or ended. */
function progressOf(store) {
  const segments = SEGMENTS.map((state) => el('span', { dataset: { state } }));
  const bar = el('div', { class: 'progress', role: 'progressbar', 'aria-label': t('progress.label'), 'aria-valuemin': '0' }, segments);
  const done = el('span', { class: 'done' });
  const legend = STATES.map((state) => {
    const count = el('b');
    const word = el('span', { class: 'word' });
    const link = el('a', { dataset: { state }, title: t(`state.${state}`) },
      el('span', { class: 'glyph', 'aria-hidden': 'true', text: GLYPHS[state] }), count, word);
    return { state, count, word, link, item: el('li', null, link) };
  });
  const badges = COUNTED.map((badge) => {
    const count = el('b');
    const word = el('span', { class: 'word' });
    const link = el('a', { dataset: { badge }, title: t(`badge.${badge}.hint`) }, el('span', { class: 'glyph', 'aria-hidden': 'true', text: BADGE_GLYPHS[badge] }), count, word);
    return { badge, count, word, link, item: el('li', null, link) };
  });
  const when = el('p', { class: 'when' });
  const past = el('button', { type: 'button', class: 'past', title: t('past.back'), hidden: true, on: { click: () => store.setTime(null) } });
  const element = el('div', { class: 'status' }, bar,
    el('div', { class: 'status-line' }, done, el('ul', { class: 'legend', 'aria-label': t('legend.label') }, [...legend, ...badges].map(({ item }) => item)), past, when));

  function draw() {
    const { run } = store;
    element.hidden = !run;
    if (!run) return;
    const { total, byState } = store.counts();
    const at = Math.max(1, total);
    SEGMENTS.forEach((state, i) => { segments[i].style.width = `${(100 * byState[STATES.indexOf(state)]) / at}%`; });
    const through = DONE.reduce((sum, state) => sum + byState[STATES.indexOf(state)], 0);
    // Rounded down: not all is done before all is done.
    const text = total > 0 ? t('progress.done', { done: number(through), total: number(total), percent: Math.floor((100 * through) / at) }) : t(isOver(run) ? 'progress.never' : 'progress.none');
    element.classList.toggle('unplanned', total === 0);
    bar.setAttribute('aria-valuemax', String(total));
    bar.setAttribute('aria-valuenow', String(through));
    bar.setAttribute('aria-valuetext', text);
    done.textContent = text;
    for (const [i, { state, count, word, link, item }] of legend.entries()) {
      count.textContent = number(byState[i]);
      word.textContent = t(`count.${state}`, { n: byState[i] });
      item.classList.toggle('zero', byState[i] === 0);
      link.href = href({ view: 'table', params: { state } });
    }
    for (const { badge, count, word, link, item } of badges) {
      const n = store.time === null ? run.counts[badge] ?? 0 : 0; // of the past nobody counts them
      item.hidden = n === 0;
      count.textContent = number(n);
      word.textContent = t(`count.${badge}`, { n });
      link.href = href({ view: 'table', params: { state: badge } });
    }
    tick();
  }

  function tick() {
    const { run, time } = store;
    if (!run) return;
    past.hidden = time === null;
    element.classList.toggle('in-past', time !== null);
    if (time !== null) {
      const text = t('past.mark', { time: clock(time) });
      past.replaceChildren(el('span', { 'aria-hidden': 'true', text: '◷ ' }), text, el('span', { class: 'back', text: t('past.back') }));
    }
    const text = time === null ? timesOf(run, store.now()) : t('when.into', { duration: duration((time - store.span().from) / 1000) });
    if (when.textContent !== text) when.textContent = text;
    const bound = run.estimate?.lower_bound_seconds;
    const finals = time === null ? (run.estimate?.final_objects ?? []).slice(0, FINALS) : [];
    when.title = [...finals.map(({ id, name, estimated_end: end }) => t('when.final', { object: [id, name].filter(Boolean).join(' '), time: about(end, store.now()) })),
      run.scheduled_for ? t('when.due', { time: dateTime(run.scheduled_for) }) : null,
      Number.isFinite(bound) ? t('when.bound', { duration: duration(bound) }) : null,
      run.requested_at ? t('when.asked', { time: dateTime(run.requested_at) }) : null, run.planned_at ? t('when.planned', { time: dateTime(run.planned_at) }) : null].filter(Boolean).join('\n');
  }
  return { element, draw, tick };
}

/** When it began, and when it ends or ended. */
function timesOf(run, now) {
  // From the request on, as the run's duration is measured in the end.
  const since = (now - Date.parse(run.requested_at ?? run.planned_at)) / 1000;
  if (run.state === 'queued') return t('when.queued', { duration: elapsedOf(since) });
  if (run.state === 'paused' && !run.planned_at) return [t('when.queued', { duration: elapsedOf(since) }), pausedText(run)].join(' · ');
  if (run.state === 'paused') return pausedText(run); // nobody waits for its end now
  if (isOver(run)) return waited(run, t('when.over', { time: clock(run.finished_at), duration: duration(run.duration_seconds) }));
  const elapsed = waited(run, t('when.running', { duration: elapsedOf(since) }));
  const ends = Date.parse(run.estimate?.ends_at ?? '');
  if (Number.isNaN(ends)) return elapsed;
  const left = (ends - now) / 1000;
  if (left <= 0) return `${elapsed} · ${t(left > -LATE_S ? 'when.soon' : 'when.late')}`;
  return `${elapsed} · ${t('when.ends', { time: about(ends, now), duration: roughly(left) })}`;
}

/** Who paused it, and since when. */
function pausedText(run) {
  return t(run.paused_by ? 'when.paused-by' : 'when.paused', { by: run.paused_by, time: clock(run.paused_at) });
}

/** A part of that it may have spent behind other runs. */
function waited(run, text) {
  const seconds = (Date.parse(run.planned_at ?? '') - Date.parse(run.requested_at ?? '')) / 1000;
  return seconds >= WORTH_S ? t('when.waited', { text, waited: duration(seconds) }) : text;
}

/** It is drawn once a second: tenths would jump. */
function elapsedOf(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  return whole < 10 ? `${whole}\u00a0s` : duration(whole);
}

/** An estimate is not known to the second. */
function roughly(seconds) {
  if (!(seconds >= 90)) return duration(Math.max(10, Math.ceil(seconds / 5) * 5 || 0));
  return seconds < 3600 ? `${Math.ceil(seconds / 60)}\u00a0min` : duration(seconds);
}
