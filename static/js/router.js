// The address says all of what is shown, so that a link shows what its sender saw: which run, which view, and the
// view's own parameters. Knows how addresses are written, not what the views do with them.
//
//   #/runs/ID/VIEW?object=2005&…   VIEW: graph, timeline, table, events; ID: a run's id, or `latest`
//   #/runs                         the history
//   #/workers                      the members

/** @typedef {{run: string, view: string, params: URLSearchParams}} Route */

export const RUN_VIEWS = ['graph', 'timeline', 'table', 'events'];
export const VIEWS = [...RUN_VIEWS, 'runs', 'workers'];
const LATEST = 'latest';

/** Where we are. It is one object that changes; away from a run's views `run` is the one shown before. @type {Route} */
export const route = { run: LATEST, view: 'graph', params: new URLSearchParams() };

const listeners = new Set();

/**
 * @param {string} hash an address, from its `#` on
 * @param {string} [shown] the run shown so far
 * @returns {Route}
 */
export function parse(hash, shown = LATEST) {
  const [path, query = ''] = split(hash.replace(/^#/, ''), '?');
  const parts = path.split('/').filter(Boolean).map(decode);
  const params = new URLSearchParams(query);
  if (parts[0] === 'workers') return { run: shown, view: 'workers', params };
  if (parts[0] === 'runs' && parts.length === 1) return { run: shown, view: 'runs', params };
  if (parts[0] !== 'runs') return { run: LATEST, view: 'graph', params };
  return { run: parts[1], view: RUN_VIEWS.includes(parts[2]) ? parts[2] : 'graph', params };
}

function split(text, at) {
  const place = text.indexOf(at);
  return place < 0 ? [text] : [text.slice(0, place), text.slice(place + 1)];
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a stray % in an address that somebody typed
  }
}

/**
 * The address of a place. What is left out stays as it is; `params`, where given, are all the parameters there are
 * (null ones are left out). Where they are not given: the present ones in the same view of the same run, `object` alone
 * in another view of it, none elsewhere.
 * @param {{run?: string, view?: string, params?: URLSearchParams | Record<string, any>}} [to]
 * @param {Route} [from]
 * @returns {string}
 */
export function href({ run, view, params } = {}, from = route) {
  const at = { run: run ?? from.run, view: view ?? from.view };
  const query = params ? clean(params) : inherited(at, from);
  const path = RUN_VIEWS.includes(at.view) ? `#/runs/${encodeURIComponent(at.run)}/${at.view}` : `#/${at.view}`;
  return query.size > 0 ? `${path}?${query}` : path;
}

function inherited(at, from) {
  if (at.run !== from.run) return new URLSearchParams();
  if (at.view === from.view) return from.params;
  const object = RUN_VIEWS.includes(at.view) ? from.params.get('object') : null;
  return clean({ object });
}

function clean(params) {
  const entries = params instanceof URLSearchParams ? [...params] : Object.entries(params);
  return new URLSearchParams(entries.filter(([, value]) => value !== null && value !== undefined && value !== ''));
}

/**
 * Goes there. `replace` leaves no step for the Back button: for what changes at every key stroke.
 * @param {{run?: string, view?: string, params?: URLSearchParams | Record<string, any>}} to
 * @param {{replace?: boolean}} [how]
 */
export function go(to, { replace = false } = {}) {
  const address = href(to);
  if (address === location.hash) return;
  history[replace ? 'replaceState' : 'pushState'](null, '', address);
  arrive();
}

/**
 * Opens an object's panel, or closes it.
 * @param {number | string | null} id
 */
export function select(id) {
  const params = new URLSearchParams(route.params);
  const open = params.get('object');
  if (id === null || id === undefined) params.delete('object');
  else params.set('object', String(id));
  // From object to object there is one step back, not one for each.
  go({ params }, { replace: open !== null && params.has('object') });
}

/**
 * @param {(route: Route) => void} listener called at each change
 * @returns {() => void} ends that
 */
export function onRoute(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function arrive() {
  const next = parse(location.hash, route.run);
  if (next.run === route.run && next.view === route.view && String(next.params) === String(route.params)) return;
  Object.assign(route, next);
  for (const listener of listeners) listener(route);
}

/** Takes the address that the page was opened with, and follows it from then on. */
export function start() {
  Object.assign(route, parse(location.hash));
  addEventListener('popstate', arrive);
  addEventListener('hashchange', arrive);
}
