// Pointer, wheel and keys on the timeline, told on as what they mean: zoom, pan, scroll, point, press.
// Knows nothing of attempts.

const MOVED = 4;
const WHEEL = 0.0016;

/**
 * @param {HTMLElement} host
 * @param {{
 *   zoom:(factor:number, x?:number)=>void, pan:(pixels:number)=>void, scroll:(pixels:number)=>void,
 *   point:(at:{x:number,y:number}|null)=>void, press:(at:{x:number,y:number})=>void,
 *   gutter:()=>number, key:(event:KeyboardEvent)=>boolean }} told
 * @returns {() => void} ends it
 */
export function listen(host, told) {
  const pointers = new Map();
  let drag = null;
  let pinch = null;

  const place = (event) => {
    const box = host.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };

  const spread = () => {
    const [a, b] = [...pointers.values()];
    return { distance: Math.max(10, Math.abs(a.x - b.x)), x: (a.x + b.x) / 2 };
  };

  const on = {
    pointerdown(event) {
      if (event.button !== 0) return;
      const at = place(event);
      // A press on the scroll bar is the browser's.
      if (at.x >= host.clientWidth) return;
      pointers.set(event.pointerId, at);
      if (pointers.size === 2) {
        pinch = spread();
        drag = null;
      } else if (pointers.size === 1) {
        drag = { id: event.pointerId, from: at, last: at, moved: false, mouse: event.pointerType === 'mouse' };
      }
    },
    pointermove(event) {
      const at = place(event);
      if (pointers.has(event.pointerId)) pointers.set(event.pointerId, at);
      if (pinch && pointers.size >= 2) {
        const now = spread();
        told.zoom(now.distance / pinch.distance, now.x - told.gutter());
        told.pan(pinch.x - now.x);
        pinch = now;
        return;
      }
      if (drag?.id === event.pointerId) {
        if (!drag.moved && Math.hypot(at.x - drag.from.x, at.y - drag.from.y) < MOVED) return;
        if (!drag.moved) {
          drag.moved = true;
          drag.last = at;
          host.setPointerCapture(event.pointerId);
          host.classList.add('dragging');
        }
        if (at.x !== drag.last.x) told.pan(drag.last.x - at.x);
        // A finger scrolls by the browser's own means, with its momentum.
        if (drag.mouse && at.y !== drag.last.y) told.scroll(drag.last.y - at.y);
        drag.last = at;
        told.point(null);
        return;
      }
      if (event.pointerType === 'mouse') told.point(at.x < host.clientWidth ? at : null);
    },
    pointerup(event) {
      const pressed = drag?.id === event.pointerId && !drag.moved;
      end(event);
      if (pressed) told.press(place(event));
    },
    pointercancel: (event) => end(event),
    pointerleave: () => told.point(null),
    keydown(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (told.key(event)) event.preventDefault();
    },
  };

  function end(event) {
    pointers.delete(event.pointerId);
    if (pointers.size < 2) pinch = null;
    if (drag?.id === event.pointerId) drag = null;
    host.classList.remove('dragging');
  }

  function wheel(event) {
    const at = place(event);
    // Over the names it scrolls, as everywhere else.
    if (!event.ctrlKey && at.x < told.gutter()) return;
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1;
    const [dx, dy] = [event.deltaX * unit, event.deltaY * unit];
    if (event.shiftKey && !event.ctrlKey) told.scroll(dy || dx);
    else if (Math.abs(dx) > Math.abs(dy)) told.pan(dx);
    else told.zoom(Math.exp(-Math.max(-400, Math.min(400, dy)) * (event.ctrlKey ? 4 : 1) * WHEEL), at.x - told.gutter());
    told.point(at);
  }

  for (const [name, listener] of Object.entries(on)) host.addEventListener(name, listener);
  host.addEventListener('wheel', wheel, { passive: false });
  return () => {
    for (const [name, listener] of Object.entries(on)) host.removeEventListener(name, listener);
    host.removeEventListener('wheel', wheel);
  };
}
