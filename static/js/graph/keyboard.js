// The keys of the stage. It knows which key means what, not what is then done.

const ARROWS = { ArrowLeft: 'left', ArrowRight: 'right', ArrowUp: 'up', ArrowDown: 'down' };

/**
 * @param {HTMLElement} stage
 * @param {{arrow: (direction: 'left' | 'right' | 'up' | 'down', far: boolean) => void, enter: () => void, escape: () => boolean,
 *   zoom: (factor: number) => void, fit: () => void, search: () => void}} told `escape` says whether it had something to leave
 * @returns {() => void} ends it
 */
export function listen(stage, told) {
  const pressed = (event) => {
    if (event.target !== stage || event.altKey || event.ctrlKey || event.metaKey) return;
    if (ARROWS[event.key]) told.arrow(ARROWS[event.key], event.shiftKey);
    else if (event.key === 'Enter' || event.key === ' ') told.enter();
    else if (event.key === '+' || event.key === '=') told.zoom(1.25);
    else if (event.key === '-' || event.key === '_') told.zoom(0.8);
    else if (event.key === '0') told.fit();
    else if (event.key === '/') told.search();
    else if (event.key !== 'Escape' || !told.escape()) return;
    event.preventDefault();
    event.stopPropagation();
  };
  stage.addEventListener('keydown', pressed);
  return () => stage.removeEventListener('keydown', pressed);
}
