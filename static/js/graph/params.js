// What of the graph is shown, as the address says it. Pure.

/** Beyond so many objects the picture begins with one box a group. */
export const MANY = 2_500;

/** @typedef {{q: string, focus: string | null, failed: boolean, critical: boolean, collapsed: boolean, object: string | null}} Shown */

/**
 * @param {URLSearchParams} params @param {number} n the objects of the graph
 * @returns {Shown}
 */
export function shown(params, n) {
  const on = (name) => params.get(name) === '1';
  const q = params.get('q') ?? '';
  const focus = params.get('focus') || null;
  const stages = params.get('stages');
  // Whoever asks for single objects gets to see them.
  const single = q !== '' || focus !== null || on('failed') || on('critical');
  return {
    q,
    focus,
    failed: on('failed'),
    critical: on('critical'),
    collapsed: focus === null && (stages === '1' || (stages !== '0' && n > MANY && !single)),
    object: params.get('object') || null,
  };
}

/**
 * What changes when a button of the row above is pressed.
 * @param {'failed' | 'critical' | 'focus' | 'stages'} name @param {Shown} asked @param {URLSearchParams} params
 * @returns {Record<string, string | null>}
 */
export function pressed(name, asked, params) {
  if (name === 'focus') return { focus: asked.focus === null ? asked.object : null };
  if (name === 'stages') return asked.collapsed ? { stages: '0' } : { stages: '1', focus: null, q: null, failed: null, critical: null };
  // Groups have no single objects to mark.
  return { [name]: asked[name] ? null : '1', ...(params.get('stages') === '1' ? { stages: null } : {}) };
}

/**
 * The parameters with some changed; null and '' take one out.
 * @param {URLSearchParams} params @param {Record<string, string | null>} changes
 * @returns {URLSearchParams}
 */
export function changed(params, changes) {
  const next = new URLSearchParams(params);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === '') next.delete(name);
    else next.set(name, value);
  }
  return next;
}
