// Whether anybody sees this tab. A browser opens six connections to a host at most, for all tabs together, and a stream
// holds one for as long as it is open: tabs that nobody sees must not keep the others waiting.

const REST_MS = 5_000; // a look at another tab and back is no reason

/**
 * Calls `rest` when the tab has been out of sight for a while, and `wake` when it is seen again after that.
 * @param {{rest: () => void, wake: () => void}} told
 * @returns {() => void} ends it
 */
export function whileSeen({ rest, wake }) {
  let timer = null;
  let resting = false;
  const look = () => {
    clearTimeout(timer);
    timer = null;
    if (document.hidden) {
      if (!resting) timer = setTimeout(() => { resting = true; rest(); }, REST_MS);
    } else if (resting) {
      resting = false;
      wake();
    }
  };
  document.addEventListener('visibilitychange', look);
  look();
  return () => {
    clearTimeout(timer);
    document.removeEventListener('visibilitychange', look);
  };
}
