// Mouse, pen and fingers on the stage: drag moves the picture, wheel and two fingers zoom it, a click chooses. It knows
// no object: it tells where on the stage things happened.

const CLICK_SLACK = 4;
const WHEEL = 0.0016;
const LINE_PX = 16;

/**
 * @param {HTMLElement} stage
 * @param {object} told all points in CSS pixels of the stage
 * @param {(dx: number, dy: number) => void} told.pan
 * @param {(factor: number, x: number, y: number) => void} told.zoom
 * @param {(x: number, y: number) => void} told.click
 * @param {(x: number, y: number) => void} told.twice
 * @param {(x: number, y: number, type: string) => void} told.hover
 * @param {() => void} told.leave
 * @returns {() => void} ends it
 */
export function listen(stage, told) {
  const ended = new AbortController();
  const fingers = new Map();
  let travelled = 0;
  let began = false;

  const at = (event) => {
    const box = stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  // What lies on the stage (buttons, legend, minimap) minds its own pointers.
  const mine = (event) => event.target.closest('[data-apart]') === null;

  const down = (event) => {
    if (event.button !== 0 || !mine(event)) return;
    if (fingers.size === 0) [travelled, began] = [0, true];
    fingers.set(event.pointerId, at(event));
  };
  const move = (event) => {
    const now = at(event);
    const before = fingers.get(event.pointerId);
    if (!before) {
      if (mine(event) && event.buttons === 0) told.hover(now[0], now[1], event.pointerType);
      return;
    }
    const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    if (fingers.size === 1) {
      travelled += Math.hypot(dx, dy);
      if (travelled <= CLICK_SLACK) return;
      // Captured only now: a capture at once would take the click from what lies under it.
      if (!stage.hasPointerCapture(event.pointerId)) stage.setPointerCapture(event.pointerId);
      stage.classList.add('is-dragged');
      told.pan(dx, dy);
    } else if (fingers.size === 2) {
      travelled = Infinity;
      const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
      const [far, near] = [Math.hypot(now[0] - other[0], now[1] - other[1]), Math.hypot(before[0] - other[0], before[1] - other[1])];
      told.pan(dx / 2, dy / 2);
      if (near > 10 && far > 10) told.zoom(far / near, (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    }
    fingers.set(event.pointerId, now);
  };
  const up = (event) => {
    if (!fingers.delete(event.pointerId)) return;
    if (fingers.size > 0) return;
    stage.classList.remove('is-dragged');
    if (began && travelled <= CLICK_SLACK && event.type === 'pointerup') told.click(...at(event));
    began = false;
  };
  const wheel = (event) => {
    if (!mine(event)) return;
    event.preventDefault();
    const unit = event.deltaMode === 1 ? LINE_PX : event.deltaMode === 2 ? stage.clientHeight : 1;
    // A pinch on a touchpad comes as a wheel with Ctrl, in smaller steps.
    const delta = Math.max(-240, Math.min(240, event.deltaY * unit * (event.ctrlKey ? 6 : 1)));
    told.zoom(Math.exp(-delta * WHEEL), ...at(event));
  };

  const on = (name, listener, options = {}) => stage.addEventListener(name, listener, { signal: ended.signal, ...options });
  on('pointerdown', down);
  on('pointermove', move);
  on('pointerup', up);
  on('pointercancel', up);
  on('pointerleave', () => told.leave());
  on('wheel', wheel, { passive: false });
  on('dblclick', (event) => {
    if (mine(event)) told.twice(...at(event));
  });
  return () => ended.abort();
}
