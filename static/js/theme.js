// Light or dark, and the colours of it for those who draw on a canvas. base.css decides which colours these are.

import { STAGES, STATES } from './format.js';

/** @typedef {'system' | 'light' | 'dark'} Theme */

/** @type {readonly Theme[]} */
export const THEMES = ['system', 'light', 'dark'];

const KEY = 'korch.theme';
const NAMES = ['bg', 'surface', 'surface-2', 'border', 'border-strong', 'text', 'text-2', 'accent', 'accent-text', 'accent-bg', 'focus',
  ...STATES.flatMap((state) => [`state-${state}`, `state-${state}-bg`]),
  ...STAGES.flatMap((stage) => [`stage-${stage}`, `stage-${stage}-bg`])];

const listeners = new Set();
let read = null;

/** @returns {Theme} what was chosen */
export function theme() {
  const chosen = document.documentElement.dataset.theme;
  return THEMES.includes(chosen) ? chosen : 'system';
}

/** @param {Theme} chosen */
export function setTheme(chosen) {
  if (chosen === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  try {
    if (chosen === 'system') localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, chosen);
  } catch {
    // A browser that keeps nothing: the choice holds for this visit.
  }
  changed();
}

/**
 * @param {() => void} listener called after each change of the colours
 * @returns {() => void} ends that
 */
export function onTheme(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/**
 * The colours by the names of their variables without the dashes (`colours()['state-failed-bg']`), and in the order of
 * the codes: `states`, `statesBg` (8 each), `stages`, `stagesBg` (3 each). Read once per theme.
 * @returns {Record<string, any>}
 */
export function colours() {
  if (read) return read;
  const style = getComputedStyle(document.documentElement);
  read = Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  read.states = STATES.map((state) => read[`state-${state}`]);
  read.statesBg = STATES.map((state) => read[`state-${state}-bg`]);
  read.stages = STAGES.map((stage) => read[`stage-${stage}`]);
  read.stagesBg = STAGES.map((stage) => read[`stage-${stage}-bg`]);
  return read;
}

function changed() {
  read = null;
  for (const listener of listeners) listener();
}

/** Takes up what was chosen at an earlier visit, and follows the system. */
export function start() {
  let kept = null;
  try {
    kept = localStorage.getItem(KEY);
  } catch {
    // As above.
  }
  if (kept === 'light' || kept === 'dark') document.documentElement.dataset.theme = kept;
  for (const query of ['(prefers-color-scheme: dark)', '(prefers-contrast: more)', '(forced-colors: active)']) {
    matchMedia(query).addEventListener('change', changed);
  }
}
