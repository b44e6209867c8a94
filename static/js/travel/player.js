// Replays a run: moves the time shown on, by the frame or, where motion is not wanted, once a second.
// Knows the store's time, nothing of what is drawn.

const CALM_MS = 1000;
// Where the page needs long for a frame, the replay leaves it as long again to breathe.
const BREATH = 2;

/**
 * @param {import('../store.js').Store} store
 * @param {{speed: () => number, ended: () => void}} told `speed`: run milliseconds per millisecond
 */
export function player(store, told) {
  const calm = matchMedia('(prefers-reduced-motion: reduce)');
  let running = false;
  let frame = 0;
  let timer = 0;
  let last = 0;
  let exact = 0; // not the store's: somebody else may round it

  function next() {
    const began = performance.now();
    frame = requestAnimationFrame((now) => {
      const spent = now - began;
      if (calm.matches) timer = setTimeout(tick, CALM_MS);
      else if (spent > 50) timer = setTimeout(tick, spent * (BREATH - 1));
      else tick();
    });
  }

  function tick() {
    if (!running) return;
    const now = performance.now();
    // A page that was hidden for a minute does not jump by an hour.
    const passed = Math.min(now - last, 2 * CALM_MS);
    last = now;
    const { to } = store.span();
    if (store.time === null) {
      stop();
      return;
    }
    if (Math.abs(store.time - exact) > 1) exact = store.time; // somebody moved it
    exact += passed * told.speed();
    if (exact >= to) {
      stop();
      store.setTime(null);
      return;
    }
    store.setTime(exact);
    next();
  }

  function stop() {
    if (!running) return;
    running = false;
    cancelAnimationFrame(frame);
    clearTimeout(timer);
    told.ended();
  }

  return {
    get running() {
      return running;
    },
    /** From the time shown; from the start where that is the end. */
    start() {
      if (running) return;
      const { from } = store.span();
      exact = store.time ?? from;
      store.setTime(exact);
      running = true;
      last = performance.now();
      next();
    },
    stop,
  };
}
