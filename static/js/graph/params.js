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
