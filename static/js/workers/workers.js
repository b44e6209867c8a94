// The members: who leads, who works, what each holds in its slots, what it did in the run at hand. Under time travel:
// what each held then, which the objects' stories tell. Reads the store.

import { workerCard } from './card.js';
import { tallyOf } from './tally.js';
import { READY } from '../table/facts.js';
import { copyButton } from '../table/clip.js';
import { el } from '../dom.js';
import { STAGES, clock, duration, stateBadge } from '../format.js';
import { t } from '../i18n.js';

const COUNT_MS = 1500; // the stories are counted no more often
const SCRUB_MS = 100;
const SHOWN = 200;
const SILENT_S = 5; // heartbeats come more often than that

/**
 * @param {HTMLElement} root
 * @param {{store:any, route:any}} given
 */
export function mount(root, { store }) {
  root.classList.add('view-workers');
  const moment = el('p', { class: 'moment' });
  const leader = el('p', { class: 'leader' });
  const help = el('div', { class: 'workers-help', role: 'status' });
  const list = el('ul', { class: 'workers-list' });
  const empty = el('p', { class: 'empty' });
  root.append(el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': t('view.workers') }, el('div', { class: 'workers-page' }, moment, leader, help, list, empty)));
  const cards = new Map(); // key → card
  let tallies = new Map(); // by name
  let [counted, counting] = [-Infinity, 0];

  // ---- counting ----

  function count() {
    clearTimeout(counting);
    counting = 0;
    const byNumber = store.graph ? tallyOf(store.graph.n, (i) => store.storyOf(i), store.time ?? Infinity) : new Map();
    tallies = new Map();
    for (const [number, tally] of byNumber) {
      const name = store.workerName(number);
      if (name === null) continue;
      const known = tallies.get(name);
      if (!known) tallies.set(name, tally);
      else tallies.set(name, { loaded: known.loaded + tally.loaded, failed: known.failed + tally.failed, ranMs: known.ranMs + tally.ranMs, ran: known.ran + tally.ran, holds: [...known.holds, ...tally.holds] });
    }
    counted = tallies.size > 0 ? performance.now() : -Infinity; // what comes first is shown at once
    draw();
  }

  function countSoon() {
    const pause = store.time === null ? COUNT_MS : SCRUB_MS;
    if (counting === 0) counting = setTimeout(count, Math.max(0, counted + pause - performance.now()));
  }

  // ---- drawing ----

  function draw() {
    const then = store.time !== null;
    moment.hidden = !then;
    moment.textContent = then ? t('workers.then', { at: clock(store.time) }) : '';
    drawLeader(then);
    const shown = (then ? workersThen() : workersNow()).sort(byStage).slice(0, SHOWN);
    const keys = new Set(shown.map((worker) => worker.key));
    for (const [key, card] of cards) {
      if (keys.has(key)) continue;
      card.element.remove();
      cards.delete(key);
    }
    let at = list.firstElementChild;
    for (const worker of shown) {
      let card = cards.get(worker.key);
      if (!card) {
        card = workerCard();
        cards.set(worker.key, card);
      }
      card.show(worker);
      if (card.element === at) at = at.nextElementSibling;
      else list.insertBefore(card.element, at);
    }
    drawHelp(then, shown.length);
    tick();
  }

  function workersNow() {
    const workers = store.members?.workers ?? [];
    return workers.map((worker) => ({
      key: `${worker.worker} ${worker.instance}`,
      name: worker.worker,
      state: worker.state,
      stages: worker.stages,
      slots: worker.slots,
      silent: worker.silent_seconds,
      foreign: worker.foreign,
      held: worker.running.map(heldNow),
      tally: tallies.get(worker.worker),
    }));
  }

  function heldNow({ run_id: run, id_objet: id, attempt, since }) {
    const i = run === store.run?.run_id ? store.graph?.indexOf.get(id) : undefined;
    return { key: `${run} ${id}`, id, name: (i === undefined ? null : store.graph.names[i]) ?? '', run, since: Date.parse(since), attempt };
  }

  function workersThen() {
    const known = new Map((store.members?.workers ?? []).map((worker) => [worker.worker, worker]));
    const names = [...new Set([...tallies.keys(), ...known.keys()])];
    return names.map((name) => ({
      key: `then ${name}`,
      name,
      state: null,
      stages: known.get(name)?.stages ?? null,
      slots: known.get(name)?.slots ?? null,
      silent: null,
      foreign: false,
      held: (tallies.get(name)?.holds ?? []).map(({ i, since, attempt }) => ({ key: `${i}`, id: store.graph.ids[i], name: store.graph.names[i] ?? '', run: store.run?.run_id ?? 'latest', since, attempt })),
      tally: tallies.get(name),
    }));
  }

  let led = '';
  function drawLeader(then) {
    leader.hidden = then || store.members === null;
    const known = store.members?.leader ?? null;
    const sign = JSON.stringify(known && [known.led, known.epoch, known.instance, Math.floor(known.silent_seconds)]);
    if (sign === led) return;
    led = sign;
    const parts = [];
    if (known === null) parts.push(el('strong', { text: t('workers.noLeader') }));
    else {
      const silent = duration(Math.floor(known.silent_seconds));
      parts.push(stateBadge(known.led ? 'up' : 'silent'), el('strong', { text: known.led ? t('workers.leader') : t('workers.leaderSilent', { duration: silent }) }),
        el('span', { class: 'soft', text: t('workers.epoch', { epoch: known.epoch }) }),
        el('span', { class: 'soft instance', title: known.instance, text: known.instance }));
      if (known.led && known.silent_seconds >= SILENT_S) parts.push(el('span', { class: 'soft', text: t('workers.silent', { duration: silent }) }));
    }
    leader.replaceChildren(...parts);
  }

  let helped = null;
  function drawHelp(then, n) {
    const workers = store.members?.workers ?? [];
    const served = new Set(workers.filter((worker) => worker.state === 'up').flatMap((worker) => worker.stages));
    const { byStage } = store.counts();
    const alone = then || store.members === null ? [] : STAGES.map((stage, code) => ({ stage, ready: byStage[code]?.[READY] ?? 0 })).filter(({ stage, ready }) => ready > 0 && !served.has(stage));
    const nobody = !then && store.members !== null && !workers.some((worker) => worker.state === 'up');
    empty.hidden = n > 0 || nobody;
    empty.textContent = store.members === null ? t('panel.loading') : t('workers.nobodyThen');
    const sign = JSON.stringify([nobody, alone]);
    if (sign === helped) return;
    helped = sign;
    help.hidden = !nobody && alone.length === 0;
    const stages = alone.length > 0 ? alone.map(({ stage }) => stage) : STAGES;
    help.replaceChildren(...[
      nobody ? el('p', null, el('strong', { text: t('workers.nobody') })) : null,
      ...alone.map(({ stage, ready }) => el('p', { text: t('workers.alone', { stage: t(`stage.${stage}`), n: ready }) })),
      nobody || alone.length > 0 ? el('p', { text: t('workers.start') }) : null,
      ...(nobody || alone.length > 0 ? stages.map((stage) => `korch worker --stage ${stage}`) : []).map((command) => el('p', { class: 'command' }, el('code', { text: command }), copyButton({ label: t('copy'), done: t('copied'), failed: t('copyFailed'), text: () => command }))),
    ].filter(Boolean));
  }

  function tick() {
    const now = store.time ?? store.now();
    for (const card of cards.values()) card.tick(now);
  }

  const offs = [store.on('members', draw), store.on('states', countSoon), store.on('graph', countSoon), store.on('time', () => { draw(); countSoon(); })];
  const ticking = setInterval(() => { if (store.time === null && !document.hidden) tick(); }, 500);
  count();

  return {
    destroy() {
      for (const off of offs) off();
      clearInterval(ticking);
      clearTimeout(counting);
    },
  };
}

/** In the order in which the stages follow each other, then by name. */
function byStage(a, b) {
  const first = ({ stages }) => Math.min(STAGES.length, ...(stages ?? []).map((stage) => STAGES.indexOf(stage)));
  return first(a) - first(b) || (a.name < b.name ? -1 : Number(a.name > b.name));
}
