// What a user says of a run that goes on or of one of its objects: pause it, let it go on, mark an object, run again from
// there. Each asks where something depends on it, and says what came of it; what may be done the server decides.

import { post } from './api.js';
import { ask, note, problemsOf } from './dialogs.js';
import { el } from './dom.js';
import { goesOn } from './format.js';
import { t } from './i18n.js';

const NAME_KEY = 'korch.name';
const PAGE = 'page';
let inMemory = '';

/** Who asks: the name that was given with a mark, else the page. @returns {string} */
export function who() {
  return name() || PAGE;
}

function name() {
  try {
    return localStorage.getItem(NAME_KEY) ?? inMemory;
  } catch {
    return inMemory;
  }
}

function remember(given) {
  inMemory = given;
  try {
    if (given === '') localStorage.removeItem(NAME_KEY);
    else localStorage.setItem(NAME_KEY, given);
  } catch {
    // A browser that keeps nothing: it holds until the page is left.
  }
}

/**
 * Pauses a run, or lets it go on.
 * @param {{run_id: string, state: string}} run
 */
export async function setPause(run) {
  const paused = run.state === 'paused';
  try {
    await post(`/runs/${encodeURIComponent(run.run_id)}/${paused ? 'resume' : 'pause'}`, { requested_by: who() });
    note(t(paused ? 'resume.done' : 'pause.done'));
  } catch (error) {
    note(error.detail ?? error.message, { error: true });
  }
}

/**
 * As what an object may be marked, by its state.
 * @param {string} state
 * @returns {('loaded' | 'failed')[]}
 */
export function marksOf(state) {
  if (state === 'loaded') return [];
  return state === 'failed' || state === 'skipped' ? ['loaded'] : ['loaded', 'failed'];
}

/**
 * Marks an object, for a reason that has to be given.
 * @param {{run_id: string, state: string}} run @param {{id: number | string, said: string}} object @param {'loaded' | 'failed'} as
 * @returns {Promise<boolean>} whether it is marked
 */
export async function mark(run, { id, said }, as) {
  const missing = el('p', { id: 'mark-missing', class: 'problem', hidden: true, text: t('mark.missing') });
  const because = el('input', {
    id: 'mark-because', type: 'text', required: true, autofocus: true, autocomplete: 'off', maxlength: 500, 'aria-describedby': 'mark-missing', on: { input: complete },
  });
  const by = el('input', { id: 'mark-by', type: 'text', autocomplete: 'name', maxlength: 100, placeholder: PAGE, value: name(), 'aria-describedby': 'mark-by-help' });
  const refused = el('div');

  function complete() {
    const none = because.value.trim() === '';
    missing.hidden = !none;
    if (none) because.setAttribute('aria-invalid', 'true');
    else because.removeAttribute('aria-invalid');
    return !none;
  }

  const answer = await ask({
    title: t(`mark.${as}.title`),
    kind: 'mark',
    body: [
      el('p', null, el('b', { text: said })),
      el('p', { text: t(`mark.${as}.text`) }),
      goesOn(run) ? null : el('p', { class: 'soft', text: t('mark.over') }),
      el('label', { for: 'mark-because', class: 'label', text: t('mark.because') }), because, missing,
      el('label', { for: 'mark-by', class: 'label', text: t('mark.by') }), by, el('p', { id: 'mark-by-help', class: 'soft', text: t('mark.by-help') }),
      refused,
    ],
    action: { label: t(`mark.${as}.go`), kind: as === 'failed' ? 'danger' : 'primary' },
    async act() {
      refused.replaceChildren();
      if (!complete()) {
        because.focus();
        return undefined;
      }
      remember(by.value.trim());
      return sent(refused, () => post(`/runs/${encodeURIComponent(run.run_id)}/objects/${encodeURIComponent(id)}/mark`, { state: as, because: because.value.trim(), requested_by: who() }));
    },
  });
  if (answer !== null) note(t(`mark.${as}.done`, { id }));
  return answer !== null;
}

/**
 * Runs an object of a run that is over again, with all that follows it.
 * @param {{run_id: string}} run @param {{id: number | string, said: string, following: number}} object
 * @returns {Promise<{run_id: string} | null>} the new run
 */
export async function retryFrom(run, { id, said, following }) {
  const refused = el('div');
  const answer = await ask({
    title: t('retry-from.title'),
    body: [el('p', null, el('b', { text: said })), el('p', { text: following > 0 ? t('retry-from.text', { n: following }) : t('retry-from.alone') }), el('p', { class: 'soft', text: t('retry-from.rest') }), refused],
    action: { label: t('retry-from.go') },
    act: () => sent(refused, () => post(`/runs/${encodeURIComponent(run.run_id)}/retry`, { from: [Number(id)], requested_by: who() })),
  });
  if (answer !== null) note(t('retry.done'));
  return answer;
}

/** What a call in a dialog brought; what it met is shown there, and the dialog stays. */
async function sent(place, call) {
  place.replaceChildren();
  try {
    return await call();
  } catch (error) {
    place.replaceChildren(problemsOf(error));
    place.firstElementChild.focus();
    return undefined;
  }
}
