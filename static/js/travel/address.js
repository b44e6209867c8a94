// The instant shown, in the address: `t=2026-11-24T10:23:45.120Z`, so that a link shows the moment. It replaces, adds no
// step for the Back button, and writes at most twice a second: browsers count.

import { go } from '../router.js';

const APART_MS = 500;

/**
 * @param {import('../store.js').Store} store @param {import('../router.js').Route} route
 * @returns {{read: () => void, write: () => void, destroy: () => void}}
 */
export function address(store, route) {
  let timer = 0;
  let known = null; // what this page wrote or read last
  let run = route.run;

  const text = () => (store.time === null ? null : new Date(store.time).toISOString());

  function put() {
    timer = 0;
    const now = text();
    known = now;
    if (route.params.get('t') === now) return;
    const params = new URLSearchParams(route.params);
    if (now === null) params.delete('t');
    else params.set('t', now);
    go({ params }, { replace: true });
  }

  return {
    /** The address may have changed: by a link, by the Back button, by another view, by ourselves. */
    read() {
      if (route.run !== run) {
        run = route.run;
        known = null;
      }
      const given = route.params.get('t');
      if (given === known || timer) return;
      if (given === null) {
        // Another view's address has no time of its own: it shows the same moment.
        if (store.time !== null) timer = setTimeout(put, 0);
        return;
      }
      const instant = Date.parse(given);
      known = given;
      const { from, to } = store.span();
      // A moment of another run, where `latest` has become another one meanwhile: there is nothing to see at it.
      const within = instant >= from && instant < to;
      store.setTime(within ? instant : null);
      if (!within) timer = setTimeout(put, 0);
    },
    /** The time shown has changed. */
    write() {
      timer ||= setTimeout(put, APART_MS);
    },
    destroy() {
      clearTimeout(timer);
    },
  };
}
