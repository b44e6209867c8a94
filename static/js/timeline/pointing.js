// Which attempt a place on the picture stands for, and which one an arrow key leads to.

import { laneAt } from './rows.js';
import { firstEnding, nearest } from './sweep.js';

const SLACK_PX = 4;

/** @param {object} scene @param {{x:number,y:number}} at @returns {number} an attempt, or -1 */
export function attemptAt(scene, at) {
  const { attempts, view, gutter, groups, top, scroll, until } = scene;
  if (!attempts || at.y < top || at.x < gutter) return -1;
  const hit = laneAt(groups, at.y - top + scroll);
  if (!hit) return -1;
  return nearest(attempts, hit.group.lanes[hit.lane], view.t(at.x - gutter), SLACK_PX / view.scale, until);
}

/**
 * Where an arrow key leads from an attempt; the same one where there is nothing in that direction.
 * @param {object} scene @param {number} a -1: none yet @param {string} key
 */
export function neighbour(scene, a, key) {
  const { attempts, groups, until, view } = scene;
  if (groups.length === 0) return -1;
  const lanes = groups.flatMap((group) => group.lanes.map((ids) => ids));
  const begun = (ids) => lastBegun(attempts, ids, until);
  if (a < 0) return firstSeen(attempts, lanes, view, until);
  const offset = groups.findIndex((group) => group.index === attempts.worker[a]);
  let row = attempts.lane[a];
  for (let k = 0; k < offset; k += 1) row += groups[k].lanes.length;
  const ids = lanes[row] ?? [];
  const at = ids.indexOf(a);
  if (key === 'ArrowLeft') return ids[Math.max(0, at - 1)] ?? a;
  if (key === 'ArrowRight') return ids[Math.min(begun(ids), at + 1)] ?? a;
  if (key === 'Home') return ids[0] ?? a;
  if (key === 'End') return ids[begun(ids)] ?? a;
  const way = key === 'ArrowUp' ? -1 : 1;
  for (row += way; row >= 0 && row < lanes.length; row += way) {
    const last = begun(lanes[row]);
    if (last < 0) continue;
    return closest(attempts, lanes[row], last, attempts.start[a]);
  }
  return a;
}

/** The place of the last attempt of a lane that had begun. */
function lastBegun(attempts, ids, until) {
  let last = Math.min(ids.length - 1, firstEnding(attempts.end, ids, until));
  while (last >= 0 && attempts.start[ids[last]] > until) last -= 1;
  return last;
}

function closest(attempts, ids, last, t) {
  const k = Math.min(last, firstEnding(attempts.end, ids, t));
  const before = ids[Math.max(0, k - 1)];
  const distance = (a) => Math.abs(attempts.start[a] - t);
  return distance(before) < distance(ids[k]) ? before : ids[k];
}

function firstSeen(attempts, lanes, view, until) {
  for (const ids of lanes) {
    const k = firstEnding(attempts.end, ids, view.from);
    const a = ids[k] ?? ids[ids.length - 1];
    if (a !== undefined && attempts.start[a] <= until) return a;
  }
  return -1;
}
