// Which slot of a worker an object is drawn in: as long as it is held it stays in its place, so that the eye can follow.
// Pure. The server knows how many slots there are and what is held, not which slot holds what.

/**
 * @param {(string|null)[]} before  the key in each seat
 * @param {string[]} held  keys, at most one for each slot; more get seats of their own
 * @param {number} slots
 * @returns {(string|null)[]}
 */
export function seat(before, held, slots) {
  const now = new Set(held);
  const seats = Array.from({ length: Math.max(slots, held.length) }, (_, at) => (now.has(before[at]) ? before[at] : null));
  const seated = new Set(seats);
  let free = 0;
  for (const key of held) {
    if (seated.has(key)) continue;
    while (seats[free] !== null) free += 1;
    seats[free] = key;
  }
  return seats;
}
