// Elements of a panel's lines: sentences with links, lists of objects. Knows the address, not what the lines mean.

import { el } from '../dom.js';
import { GLYPHS } from '../format.js';
import { t } from '../i18n.js';
import { href, route } from '../router.js';

/** A link that opens an object's panel in the view that is shown. @param {number|string} id @param {...(Node|string)} children */
export function objectLink(id, ...children) {
  const params = new URLSearchParams(route.params);
  params.set('object', String(id));
  return el('a', { class: 'object-link', href: href({ params }), dataset: { key: `object-${id}` } }, ...(children.length > 0 ? children : [String(id)]));
}

/** The glyph of a state, with its word for those who hear the page. @param {string} state */
export function stateGlyph(state) {
  return el('span', { class: 'glyph', dataset: { state }, title: t(`state.${state}`) },
    el('span', { 'aria-hidden': 'true', text: GLYPHS[state] ?? '○' }), el('span', { class: 'visually-hidden', text: `${t(`state.${state}`)} ` }));
}

/** @param {import('./rich.js').Parts} parts @returns {(Node|string)[]} */
export function nodes(parts) {
  return parts.map((part) => {
    if (typeof part === 'string') return part;
    if ('run' in part) return el('a', { href: href({ run: part.run, view: route.view, params: {} }), dataset: { key: `run-${part.run}` }, class: 'run-link', title: part.run, text: shortRun(part.run) });
    return objectLink(part.object, String(part.object), ...(part.name ? [' ', el('bdi', { text: part.name })] : []));
  });
}

/** The end of a run's id: the beginning is a time, which runs close to each other share. @param {string} id */
export function shortRun(id) {
  return id.length > 12 ? `…${id.slice(-8)}` : id;
}

/** @param {import('./explain.js').Line[]} lines @returns {HTMLElement[]} */
export function paragraphs(lines) {
  return lines.flatMap((line) => {
    const said = line.kind === 'error'
      ? el('p', { class: 'error-text' }, ...nodes(line.parts))
      : el('p', null, ...nodes(line.parts));
    return line.below.length > 0 ? [said, tree(line.below)] : [said];
  });
}

function tree(lines) {
  return el('ul', { class: 'causes' }, ...lines.map((line) => el('li', null,
    el('span', { class: 'cause' }, line.state ? stateGlyph(line.state) : null, el('span', null, ...nodes(line.parts))),
    line.below.length > 0 ? tree(line.below) : null)));
}

/**
 * Puts new contents into a section where they changed, keeping the focus on the link that had it; contents that the
 * reader has marked stay for this time.
 * @param {HTMLElement} section
 * @param {string} sign  the same: nothing changed
 * @param {() => (Node|null)[]} build
 */
export function refill(section, sign, build) {
  if (section.dataset.sign === sign) return;
  const selection = getSelection();
  if (!selection.isCollapsed && section.contains(selection.anchorNode)) return;
  const focused = section.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  const scrolled = [...section.querySelectorAll('pre')].map((pre) => pre.scrollTop);
  section.dataset.sign = sign;
  section.replaceChildren(...build().filter(Boolean));
  section.querySelectorAll('pre').forEach((pre, at) => { pre.scrollTop = scrolled[at] ?? (pre.closest('.stderr') ? pre.scrollHeight : 0); }); // what went wrong stands at the end
  if (focused) [...section.querySelectorAll('[data-key]')].find((node) => node.dataset.key === focused)?.focus({ preventScroll: true });
}
