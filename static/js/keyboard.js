// The keyboard's shortcuts. Not while somebody types, and not behind a dialog.

import { showShortcuts } from './dialogs.js';
import { t } from './i18n.js';
import { VIEWS, go, route, select } from './router.js';

/**
 * @param {{viewRoot: () => HTMLElement | null}} page
 * @returns {{show: () => void}}
 */
export function keyboard({ viewRoot }) {
  function show() {
    if (document.querySelector('dialog[open]')) return;
    showShortcuts([
      ...VIEWS.map((view, i) => [[String(i + 1)], t(`view.${view}`)]),
      [['/'], t('keys.search')], [['Esc'], t('keys.close')], [['?'], t('keys.this')],
    ]);
  }

  /** A view that has more to do than to focus its search field does that itself. */
  function search() {
    const root = viewRoot();
    root?.dispatchEvent(new CustomEvent('korch:search'));
    if (root?.contains(document.activeElement) && typing(document.activeElement)) return;
    const field = root?.querySelector('input[type="search"]');
    field?.focus();
    field?.select();
  }

  const actions = {
    '?': show,
    '/': search,
    Escape: () => { if (route.params.has('object')) select(null); },
    ...Object.fromEntries(VIEWS.map((view, i) => [String(i + 1), () => go({ view })])),
  };

  document.addEventListener('keydown', (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    // Esc in a field is the field's, too: it empties a search, or closes a list.
    if (document.querySelector('dialog[open]') || typing(event.target)) return;
    const act = Object.hasOwn(actions, event.key) ? actions[event.key] : null;
    if (!act) return;
    if (event.key !== 'Escape') event.preventDefault();
    act();
  });
  return { show };
}

function typing(target) {
  return target instanceof HTMLElement && (target.isContentEditable || target.matches('textarea, select, input:not([type=checkbox], [type=radio], [type=range], [type=button])'));
}
