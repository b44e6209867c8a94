// The lanes' places from top to bottom: a heading for each worker, then its lanes. Pure; heights in pixels.

export const HEADING = 26;
export const LANE = 22;

/**
 * @param {{name:string, index:number, stage:number, lanes:number[][]}[]} workers
 * @returns {{groups:{name:string,index:number,stage:number,lanes:number[][],top:number,height:number}[], height:number}}
 */
export function arrange(workers) {
  const sorted = workers
    .filter((worker) => worker.lanes.length > 0)
    .sort((a, b) => a.stage - b.stage || a.name.localeCompare(b.name, undefined, { numeric: true }));
  let top = 0;
  const groups = sorted.map((worker) => {
    const group = { ...worker, top, height: HEADING + worker.lanes.length * LANE };
    top += group.height;
    return group;
  });
  return { groups, height: top };
}

/** The place of the group at `y`; -1 above, the last one below. @param {{top:number}[]} groups @param {number} y */
export function groupAt(groups, y) {
  let low = 0;
  let high = groups.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (groups[middle].top <= y) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** The lane at `y`: its group and its place in it, or null on a heading or outside. */
export function laneAt(groups, y) {
  const group = groups[groupAt(groups, y)];
  if (!group) return null;
  const lane = Math.floor((y - group.top - HEADING) / LANE);
  return lane >= 0 && lane < group.lanes.length && y >= group.top + HEADING ? { group, lane } : null;
}

/** The top of a lane. @param {{top:number}} group @param {number} lane */
export function laneTop(group, lane) {
  return group.top + HEADING + lane * LANE;
}
