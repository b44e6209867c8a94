// What a user can do to a run: start one, cancel it, retry what failed, and what byhand.js has. Each asks first where
// something depends on it, and says what came of it. What may be started or cancelled the server decides.

import { get, post } from './api.js';
import * as byHand from './byhand.js';
import { ask, confirm, note, problemsOf } from './dialogs.js';
import { el } from './dom.js';
import { goesOn, number } from './format.js';
import { t } from './i18n.js';
import { options } from './options.js';
import { RUN_VIEWS, go, route } from './router.js';
import { selectionOf } from './selection.js';

const SHOWN = 200; // objects in the list to choose from; a word narrows it
const FINAL = 2; // the stage application

/** One at a time: a second click on a button, or on another, asks nothing more. */
function alone(act) {
  return async (...given) => {
    if (acting) return;
    acting = true;
    try {
      await act(...given);
    } finally {
      acting = false;
    }
  };
}
let acting = false;

/** @type {(store: import('./store.js').Store) => Promise<void>} */
export const startRun = alone(async (store) => {
  const choice = chooser(await finals(store));
  const how = options();
  const said = el('div');
  const answer = await ask({
    title: t('start.title'),
    kind: 'start',
    body: [choice.element, how.element, said],
    action: { label: t('start.go') },
    async act() {
      const { selection, missing } = choice.read();
      said.replaceChildren(...(missing ? [problemsOf(new Error(t('start.none')))] : []));
      if (missing) return undefined;
      try {
        return await post('/orchestrate', { ...selection, ...how.read(), requested_by: byHand.who() });
      } catch (error) {
        said.replaceChildren(problemsOf(error));
        said.firstElementChild.focus();
        return undefined;
      }
    },
  });
  if (answer === null) return;
  note([answer.count === null || answer.count === undefined ? t('start.waits') : t('start.done', { n: answer.count }), ...(answer.warnings ?? [])].join(' '));
  show(answer.run_id);
});

/** @type {(store: import('./store.js').Store) => Promise<void>} */
export const cancelRun = alone(async (store) => {
  const { run } = store;
  if (!run) return;
  const working = (run.stages ?? []).reduce((sum, stage) => sum + stage.running, 0);
  const text = [t('cancel.text'), working > 0 ? t('cancel.running', { n: working }) : ''].filter(Boolean).join(' ');
  if (!(await confirm({ title: t('cancel.title'), text, action: t('cancel.go'), danger: true }))) return;
  await told(async () => {
    await post(`/runs/${encodeURIComponent(run.run_id)}/cancel`, { requested_by: byHand.who() });
    note(t('cancel.done'));
  });
});

/** @type {(store: import('./store.js').Store) => Promise<void>} */
export const retryRun = alone(async (store) => {
  const { run } = store;
  if (!run) return;
  const { failed, skipped } = toRetry(run);
  const { degraded = 0 } = run.counts;
  const text = [
    failed + skipped > 0 || degraded === 0 ? t('retry.text', { n: failed + skipped, failed: number(failed), skipped: number(skipped) }) : '',
    degraded > 0 ? t('retry.degraded', { n: degraded }) : '',
  ].filter(Boolean).join(' ');
  if (!(await confirm({ title: t('retry.title'), text, action: t('retry.go') }))) return;
  await told(async () => {
    const answer = await post(`/runs/${encodeURIComponent(run.run_id)}/retry`, { requested_by: byHand.who() });
    note(t('retry.done'));
    show(answer.run_id);
  });
});

/** Pauses the run, or lets it go on. @type {(store: import('./store.js').Store) => Promise<void>} */
export const pauseRun = alone(async ({ run }) => {
  if (run) await byHand.setPause(run);
});

/** @type {(store: import('./store.js').Store, object: {id: number | string, said: string}, as: 'loaded' | 'failed') => Promise<void>} */
export const markObject = alone(async ({ run }, object, as) => {
  if (run) await byHand.mark(run, object, as);
});

/** @type {(store: import('./store.js').Store, object: {id: number | string, said: string, following: number}) => Promise<void>} */
export const retryFromObject = alone(async ({ run }, object) => {
  const answer = run && (await byHand.retryFrom(run, object));
  if (answer) show(answer.run_id);
});

/** How many objects of a run failed and were skipped; marks since its end count, where its stages are known. */
function toRetry(run) {
  const { stages = [], counts } = run;
  const sum = (state) => stages.reduce((all, stage) => all + stage[state], 0);
  return stages.length > 0 ? { failed: sum('failed'), skipped: sum('skipped') } : counts;
}

/** @param {object} run @returns {boolean} whether there is something to retry */
export function canRetry(run) {
  const { failed, skipped } = toRetry(run);
  return isOver(run) && failed + skipped + (run.counts.degraded ?? 0) > 0;
}

/** @param {object} run @returns {boolean} */
export function isOver(run) {
  return run !== null && !goesOn(run);
}

async function told(act) {
  try {
    await act();
  } catch (error) {
    note(error.detail ?? error.message, { error: true });
  }
}

/** Who follows the latest run sees the new one anyway, and goes on following. */
function show(run) {
  const view = RUN_VIEWS.includes(route.view) ? route.view : 'graph';
  go({ run: route.run === 'latest' || !run ? 'latest' : run, view, params: {} });
}

/** The final objects that are known: those of the graph at hand, else those of the file, where this server has one. */
async function finals(store) {
  const { graph } = store;
  if (graph) {
    return graph.ids.map((id, i) => ({ id, name: graph.names[i], stage: graph.stage[i] })).filter((object) => object.stage === FINAL);
  }
  try {
    const { nodes } = await get('/dag/json');
    return nodes.filter((node) => node.type === 'application').map((node) => ({ id: node.id, name: node.label }));
  } catch {
    return []; // then ids can still be typed
  }
}

function chooser(objects) {
  const chosen = new Set();
  let unseen = 0;
  let nothing = false;
  const list = el('ul', { class: 'choices', 'aria-label': t('start.objects') });
  const more = el('p', { class: 'soft', role: 'status' });
  const search = el('input', { type: 'search', placeholder: t('start.search'), 'aria-label': t('start.search'), on: { input: fill, keydown: notSubmit } });
  const free = el('input', {
    id: 'start-selectors', type: 'text', autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false', placeholder: '+3005 2002+1 source:Sage --exclude 2005',
    'aria-describedby': 'start-selectors-help',
  });
  const all = el('input', { type: 'radio', name: 'which', value: 'all', checked: true, autofocus: true, on: { change: toggle } });
  const some = el('input', { type: 'radio', name: 'which', value: 'some', on: { change: toggle } });
  const part = el('fieldset', { class: 'chosen', hidden: true, 'aria-label': t('start.some') },
    objects.length > 0 ? [search, list, more] : el('p', { class: 'soft', text: t('start.unknown') }),
    el('label', { for: 'start-selectors', class: 'label', text: t('start.selectors') }), free,
    el('p', { id: 'start-selectors-help', class: 'soft', text: t('start.selectors-help') }));

  function toggle() {
    part.hidden = !some.checked;
    if (some.checked) (objects.length > 0 ? search : free).focus();
  }

  function notSubmit(event) {
    if (event.key === 'Enter') event.preventDefault(); // it ends a search, it starts no run
  }

  function fill() {
    const word = search.value.trim().toLowerCase();
    const found = objects.filter(({ id, name }) => word === '' || String(id).includes(word) || (name ?? '').toLowerCase().includes(word));
    list.replaceChildren(...found.slice(0, SHOWN).map(item));
    unseen = Math.max(0, found.length - SHOWN);
    nothing = found.length === 0;
    say();
  }

  function say() {
    more.textContent = [
      t('start.chosen', { n: chosen.size }), unseen > 0 ? t('start.more', { n: unseen }) : null, nothing ? t('start.nothing') : null,
    ].filter(Boolean).join(' · ');
  }

  function item({ id, name }) {
    const box = el('input', { type: 'checkbox', checked: chosen.has(id), on: { change } });
    function change() {
      if (box.checked) chosen.add(id);
      else chosen.delete(id);
      say(); // the list stays: to rebuild it would take the focus away
    }
    return el('li', null, el('label', null, box, el('span', { class: 'id', text: id }), el('span', { class: 'name', title: name, text: name ?? '' })));
  }

  fill();

  return {
    element: el('div', { class: 'chooser' },
      el('fieldset', { class: 'which', 'aria-label': t('start.title') },
        el('label', null, all, el('span', null, el('b', { text: t('start.all') }), el('small', { text: t('start.all-help') }))),
        el('label', null, some, el('span', null, el('b', { text: t('start.some') }), el('small', { text: t('start.some-help') })))),
      part),
    read() {
      if (all.checked) return { selection: {}, missing: false };
      const { targets: typed, exclude } = selectionOf(free.value);
      const targets = [...new Set([...[...chosen].map((id) => `+${id}`), ...typed])]; // a chosen object runs with what it needs
      const missing = targets.length === 0 && exclude.length === 0;
      return { selection: exclude.length > 0 ? { targets, exclude } : { targets }, missing };
    },
  };
}
