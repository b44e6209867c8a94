// Where the events come from: the last ones by a request, then each as it is written. The stream is opened first, so
// none is lost between the two. Knows the API, not the page.

import { address, get } from '../api.js';
import { whileSeen } from '../seen.js';
import { lineOf } from './record.js';

const FIRST = 200;
const FLUSH_MS = 100;
const HIDDEN_MS = 1000;
const AGAIN_MS = 3000;
const WAITING = 4000; // kept until the last ones are here, or the next frame

/**
 * Follows the log.
 * @param {{last:()=>string, wanted:(event:any)=>boolean, arrived:(lines:import('./record.js').Line[], fetched:boolean)=>void,
 *   reset:()=>void, connection:(open:boolean)=>void, failed:(error:Error|null)=>void}} told  `last` is the path of the last ones
 */
export function follow(told) {
  let source = null;
  let again = 0;
  let fresh = [];
  let started = false;
  let [frame, timer] = [0, 0];
  let over = new AbortController();

  const flush = () => {
    [frame, timer] = [0, 0];
    if (!started || fresh.length === 0) return;
    const events = fresh;
    fresh = [];
    told.arrived(events.map(lineOf), false);
  };
  // Ten times a second is as fast as anybody reads. A page that nobody sees draws no frames: a timer is enough for it.
  const soon = () => {
    timer = document.hidden ? setTimeout(flush, HIDDEN_MS) : setTimeout(() => { frame = requestAnimationFrame(flush); }, FLUSH_MS);
  };

  function connect() {
    source = new EventSource(address('/events/stream'));
    source.onopen = () => {
      told.connection(true);
      if (!started) fetchLast();
    };
    source.onerror = () => {
      told.connection(false);
      if (source.readyState !== EventSource.CLOSED) return; // it tries again by itself, and goes on where it was
      clearTimeout(again);
      again = setTimeout(connect, AGAIN_MS);
      started = false; // what is missed is fetched
    };
    source.onmessage = ({ data }) => arrived(data);
    source.addEventListener('reset', () => {
      fresh = [];
      told.reset();
    });
  }

  function arrived(data) {
    let event;
    try {
      event = JSON.parse(data);
    } catch {
      return; // the server sends events only; whatever this is, it is none
    }
    if (!told.wanted(event)) return;
    fresh.push(event);
    if (fresh.length > WAITING) fresh = fresh.slice(-WAITING / 2);
    if (timer === 0) soon();
  }

  async function fetchLast() {
    over.abort();
    over = new AbortController();
    const { signal } = over;
    try {
      const answer = await get(told.last(), { signal });
      if (signal.aborted) return;
      told.failed(null);
      told.arrived((answer.events ?? answer.last_events).map(lineOf), true);
      // What the stream brought meanwhile may be among these.
      const early = fresh;
      fresh = [];
      if (early.length > 0) told.arrived(early.map(lineOf), true);
    } catch (error) {
      if (signal.aborted) return;
      told.failed(error);
    }
    started = true;
    flush();
  }

  connect();
  const unsee = whileSeen({
    rest: () => {
      clearTimeout(again);
      source.close();
    },
    wake: () => {
      started = false; // what is missed is fetched
      connect();
    },
  });
  return {
    fetchLast,
    destroy() {
      unsee();
      source.close();
      clearTimeout(again);
      over.abort();
      cancelAnimationFrame(frame);
      clearTimeout(timer);
    },
  };
}

/** The path of the last events of a run. @param {string} run @param {{until?:number|null, object?:string|null, type?:string|null, limit?:number}} of */
export function lastOfRun(run, { until = null, object = null, type = null, limit = FIRST }) {
  const query = new URLSearchParams({ limit: String(limit) });
  if (until !== null) query.set('until', new Date(until).toISOString());
  if (object !== null) query.set('object', object);
  if (type !== null) query.set('type', type);
  return `/runs/${encodeURIComponent(run)}/events?${query}`;
}

/** The path of the last events of all runs. */
export function lastOfAll() {
  return `/events/last?limit=${FIRST}`;
}
