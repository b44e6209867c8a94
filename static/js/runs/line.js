// A run as it was at an instant, and how runs compare. Pure.

/**
 * The runs that were there at an instant, as they stood then: those that ended later were still going on.
 * @param {any[]} runs @param {number|null} time  null: now
 * @returns {any[]}
 */
export function runsAt(runs, time) {
  if (time === null) return runs;
  const after = (at) => at !== null && at !== undefined && Date.parse(at) > time;
  return runs.filter((run) => !after(beganAt(run))).map((run) => {
    if (run.finished_at && !after(run.finished_at)) return run;
    const began = Date.parse(beganAt(run) ?? '');
    return {
      ...run,
      state: run.planned_at && after(run.planned_at) ? 'queued' : run.state === 'paused' && !after(run.paused_at) ? 'paused' : 'running',
      finished_at: null,
      reason: null,
      counts: { objects: run.counts.objects, loaded: null, failed: null, skipped: null },
      duration_seconds: Number.isNaN(began) ? null : (time - began) / 1000,
    };
  });
}

/** When a run began, as far as it is known. @param {any} run @returns {string|null} */
export function beganAt(run) {
  return run.requested_at ?? run.planned_at ?? run.finished_at ?? null;
}

/** Newer lines of the same runs replace older ones. @param {any[]} older @param {any[]} newer @returns {any[]} */
export function mergeRuns(older, newer) {
  const known = new Map(older.map((run) => [run.run_id, run]));
  for (const run of newer) known.set(run.run_id, run);
  return [...known.values()].sort((a, b) => (Date.parse(beganAt(b) ?? '') || 0) - (Date.parse(beganAt(a) ?? '') || 0) || (a.run_id < b.run_id ? 1 : -1));
}

const KEYS = {
  state: (run) => run.state,
  when: (run) => Date.parse(beganAt(run) ?? ''),
  by: (run) => run.requested_by ?? '',
  duration: (run) => run.duration_seconds ?? NaN,
  objects: (run) => run.counts.objects,
  loaded: (run) => run.counts.loaded ?? NaN,
  failed: (run) => run.counts.failed ?? NaN,
  skipped: (run) => run.counts.skipped ?? NaN,
};

/** The columns that runs can be sorted by. */
export const SORTABLE = Object.keys(KEYS);

/** @param {any[]} runs @param {string} key @param {boolean} descending @returns {any[]} */
export function sortRuns(runs, key, descending) {
  const of = KEYS[key];
  const none = (value) => value === '' || Number.isNaN(value);
  return [...runs].sort((a, b) => {
    const [x, y] = [of(a), of(b)];
    if (none(x) || none(y)) return none(x) - none(y);
    if (x === y) return 0;
    return (x < y ? -1 : 1) * (descending ? -1 : 1);
  });
}
