// The connection to the server: opens the stream of the run to show, hands its messages to the store, and fetches the
// graph they belong to. It breaks, notices that it broke, and comes back; where the server does not know the run, it
// follows the rest without it. It knows nothing of what is drawn.

import { address, get } from './api.js';
import { whileSeen } from './seen.js';

const EVENTS = ['hello', 'runs', 'workers', 'run', 'stories'];
const SILENCE_MS = 25_000; // the workers are told at least every 10 s
const LOOK_MS = 2_500;
const BACKOFF_MS = { least: 1_000, most: 10_000 };
const ASKING_MS = 10_000;
const LATEST = 'latest';
const NOT_FOUND = 404;

/**
 * @param {import('./store.js').Store} store
 * @returns {{follow: (run: string) => void, retryGraph: () => void}}
 */
export function connect(store) {
  let run = null;
  let unknown = false; // the server does not know the run: what it tells of others is heard all the same
  let source = null;
  let answered = false; // by this source
  let asking = new AbortController();
  let heardAt = 0;
  let wait = BACKOFF_MS.least;
  let timer = null;
  let resting = false; // nobody sees this tab
  const graphs = graphsOf(store);

  function open() {
    close();
    if (resting) return;
    heardAt = Date.now();
    answered = false;
    source = new EventSource(address(`/live?run=${encodeURIComponent(unknown ? LATEST : run)}`));
    source.onerror = lost;
    for (const name of EVENTS) source.addEventListener(name, (message) => arrived(name, message));
  }

  function close() {
    clearTimeout(timer);
    timer = null;
    asking.abort();
    source?.close();
    source = null;
  }

  function arrived(name, message) {
    heardAt = Date.now();
    answered = true;
    wait = BACKOFF_MS.least;
    store.setConnection('open');
    if (unknown && (name === 'run' || name === 'stories')) return;
    store.receive(name, JSON.parse(message.data));
    if (name === 'run') graphs.want(store.run);
    if (unknown && name === 'runs' && store.runs.some((line) => line.run_id === run)) {
      unknown = false;
      store.reset();
      open();
    }
  }

  function lost() {
    const refused = !answered && !unknown && run !== LATEST;
    close();
    if (refused) ask(run);
    else again();
  }

  /** An EventSource does not say why it was refused: a run that is not known is no reason to try for ever. */
  async function ask(id) {
    asking = new AbortController();
    const { signal } = asking;
    try {
      await get(`/runs/${encodeURIComponent(id)}`, { signal: AbortSignal.any([signal, AbortSignal.timeout(ASKING_MS)]) });
    } catch (error) {
      unknown = !signal.aborted && error.status === NOT_FOUND;
    }
    if (signal.aborted) return;
    if (!unknown) {
      again();
      return;
    }
    graphs.forget();
    store.setUnknown();
    open();
  }

  // The browser would try again by itself, but not after every kind of failure, and never sooner when it could.
  function again() {
    store.setConnection('lost');
    timer = setTimeout(open, wait);
    wait = Math.min(2 * wait, BACKOFF_MS.most);
  }

  function atOnce() {
    if (timer === null || document.hidden) return;
    wait = BACKOFF_MS.least;
    open();
  }

  setInterval(() => {
    if (source && Date.now() - heardAt > SILENCE_MS) lost();
  }, LOOK_MS);
  addEventListener('online', atOnce);
  document.addEventListener('visibilitychange', atOnce);
  whileSeen({
    rest: () => {
      resting = true;
      close();
    },
    wake: () => {
      resting = false;
      open();
    },
  });

  return {
    follow(wanted) {
      if (wanted === run) return;
      run = wanted;
      unknown = false;
      graphs.forget();
      store.reset();
      wait = BACKOFF_MS.least;
      open();
    },
    retryGraph: () => graphs.again(),
  };
}

/** Fetches the graph of the plan that the run has, once. */
function graphsOf(store) {
  let asked = null; // the plan of which the graph is on its way, or will not come
  let underWay = new AbortController();
  let timer = null;
  let wait = BACKOFF_MS.least;

  function forget() {
    asked = null;
    wait = BACKOFF_MS.least;
    clearTimeout(timer);
    underWay.abort();
  }

  function want(run) {
    const plan = run?.plan ?? null;
    if (plan === null || plan === store.graph?.plan) {
      forget();
      return;
    }
    if (plan === asked) return;
    forget();
    asked = plan;
    underWay = new AbortController();
    fetchGraph(run.run_id, plan, underWay.signal);
  }

  async function fetchGraph(id, plan, signal) {
    try {
      const graph = await get(`/runs/${encodeURIComponent(id)}/graph`, { signal });
      if (signal.aborted) return;
      // Between the message and the answer the run may have been planned anew: then the next message says so.
      if (graph.plan !== plan) throw new Error(`the graph is of plan ${graph.plan}, not ${plan}`);
      store.setGraph(graph);
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === NOT_FOUND) {
        store.setGraphError(error);
        return;
      }
      if (wait > BACKOFF_MS.least) store.setGraphError(error); // one failure is nobody's business yet
      timer = setTimeout(again, wait);
      wait = Math.min(2 * wait, BACKOFF_MS.most);
    }
  }

  function again() {
    const before = wait;
    asked = null;
    want(store.run);
    wait = before;
  }

  return { want, forget, again };
}
