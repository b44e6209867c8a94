// Why an object does not run, in sentences: the answer of GET /runs/{id}/explain/{object} in the page's language, as
// `korch explain` says it. Pure: an answer goes in, lines come out; it decides nothing.

import { goesOn } from '../format.js';
import { joined, rich } from './rich.js';

/** @typedef {import('./rich.js').Parts} Parts */
/** @typedef {{parts:Parts, state?:string, kind?:'line'|'error'|'pre', below:Line[]}} Line */

const NAMED = 3; // objects in the way that one line names

/**
 * @param {any} explanation  the answer
 * @param {{t:(key:string, params?:object)=>string, duration:(seconds:number)=>string, clock:(at:string)=>string}} words
 * @returns {Line[]}
 */
export function sentences({ run, object, chains, more }, words) {
  const say = saying(words);
  const lines = [...say.standing(object, run), ...say.besides(object)];
  if (chains.length > 0) {
    const causes = line(say.rich('explain.causes', { n: chains.length + more }));
    for (const chain of chains) add(causes.below, chain, say);
    if (more > 0) causes.below.push(line(say.rich('explain.more', { n: more })));
    lines.push(causes);
  }
  return [...lines, ...say.run(run, object)];
}

function line(parts, rest = {}) {
  return { parts, below: [], ...rest };
}

/** Puts a way to a cause into the tree: what it shares with another one is told once. */
function add(lines, chain, say) {
  let level = lines;
  for (const via of chain.via) {
    let branch = level.find((known) => known.via === via.id);
    if (!branch) {
      branch = { ...line(say.link(via), { state: via.state }), via: via.id };
      level.push(branch);
    }
    level = branch.below;
  }
  if (chain.omitted > 0) {
    const between = line(say.rich('explain.between', { n: chain.omitted }));
    level.push(between);
    level = between.below;
  }
  level.push(say.cause(chain.culprit));
}

/** A sentence that stands for itself begins with a capital. */
function capital(parts) {
  const [first, ...rest] = parts;
  return typeof first === 'string' ? [first[0].toUpperCase() + first.slice(1), ...rest] : parts;
}

function saying({ t, duration, clock }) {
  const on = (worker) => (worker ? t('explain.on', { worker }) : '');
  const nth = (attempt) => (attempt > 1 ? t('explain.nth', { attempt }) : '');
  const took = (seconds) => (seconds === null || seconds === undefined ? '' : t('explain.took', { duration: duration(seconds) }));
  const stageOf = (stage) => (stage ? t(`stage.${stage}`) : t('explain.itsStage'));
  const stated = (state) => t(`state.${state}`);
  const thing = ({ id, name }) => ({ object: id, name: name ?? null });

  /** `2001 Name (standardize)` */
  const named = (object) => (object.stage ? say.rich('explain.named', { object: thing(object), stage: stageOf(object.stage) }) : [thing(object)]);

  /** What an object waits for whose parents are loaded; in small letters, without a full stop. */
  function hold(of, stage) {
    switch (of.reason) {
      case 'no-leader': return say.rich('hold.noLeader');
      case 'cancelling': return say.rich('hold.cancelling');
      case 'paused': return say.rich('hold.paused');
      case 'stopping': return say.rich('hold.stopping');
      case 'backoff': return say.rich('hold.backoff', { at: clock(of.until), duration: duration(of.seconds) });
      case 'limit': return say.rich('hold.limit', { n: of.by.length + of.more, limit: of.limit });
      case 'no-worker': {
        const lost = of.lost?.length > 0 ? t('hold.lost', { workers: of.lost.join(', ') }) : '';
        return say.rich('hold.noWorker', { stage: stageOf(stage), lost });
      }
      case 'slots-busy': return say.rich('hold.slotsBusy', { n: of.slots, workers: t('hold.workers', { n: of.workers }), stage: stageOf(stage) });
      case 'strangers': return say.rich('hold.strangers', { stage: stageOf(stage) });
      case 'perhaps-strangers': return say.rich('hold.perhapsStrangers', { stage: stageOf(stage) });
      default: return say.rich('hold.soon');
    }
  }

  /** Whether others have what it waits for. */
  function isTaken(of) {
    return of.reason === 'slots-busy' || of.reason === 'limit';
  }

  /** Who says what an object is, and why; in small letters, without a full stop. */
  function marked({ state, requested_by: by, because }) {
    return t('explain.marked', { state: stated(state), by: by ? t('explain.by', { who: by }) : '', why: because ? t('explain.because', { why: because }) : '' });
  }

  /** The same, with what has the slots beneath it. */
  function holdLine(of, stage) {
    const held = line(capital(hold(of, stage)));
    if (!isTaken(of)) return held;
    for (const busy of of.by) {
      const since = busy.seconds === null || busy.seconds === undefined ? '' : t('explain.for', { duration: duration(busy.seconds) });
      const parts = say.rich('hold.busy', { object: thing(busy), worker: busy.worker, since });
      if (busy.run_id) parts.push(...say.rich('hold.busyRun', { run: { run: busy.run_id } }));
      held.below.push(line(parts, { state: 'running' }));
    }
    if (of.more > 0) held.below.push(line(say.rich('explain.more', { n: of.more })));
    return held;
  }

  const say = {
    rich: (key, params) => rich(t, key, params),

    /** What there is to say of an object whatever its state. @returns {Line[]} */
    besides(object) {
      const lines = [];
      if (object.marked) lines.push(line(capital([t('explain.markedAt', { marked: marked(object.marked), at: clock(object.marked.at) })])));
      if (object.reused) lines.push(line(say.rich('explain.reused', { run: { run: object.reused.run_id }, at: clock(object.reused.at) })));
      for (const older of object.degraded ?? []) {
        const state = older.state === 'failed' ? t('explain.olderFailed') : older.state === 'skipped' ? t('explain.olderSkipped') : t('explain.olderNone');
        const version = older.version ? say.rich('explain.olderOf', { at: clock(older.version.at), run: { run: older.version.run_id } }) : [];
        lines.push(line(say.rich('explain.degraded', { object: thing(older), state, version })));
      }
      return lines;
    },

    /** Where the object stands that was asked about. @returns {Line[]} */
    standing(object, run) {
      const { stage } = object;
      switch (object.state) {
        case 'loaded':
          // Neither a worker nor an attempt has anything to do with it: what is said besides says who has.
          if (!object.worker && (object.reused || object.marked)) return [];
          return [line(say.rich('explain.loaded', { on: on(object.worker), took: took(object.duration_seconds), at: clock(object.at), nth: nth(object.attempt) }))];
        case 'running': {
          const lines = [line(say.rich('explain.running', { on: on(object.worker), duration: duration(object.seconds), at: clock(object.since), nth: nth(object.attempt) }))];
          if (object.silent_seconds !== null && object.silent_seconds !== undefined) lines.push(line(say.rich('explain.silent', { duration: duration(object.silent_seconds) })));
          return lines;
        }
        case 'retrying':
          return [
            line(say.rich('explain.retrying', { attempt: object.attempt, on: on(object.worker) })),
            line([object.error], { kind: 'error' }),
            holdLine(object.hold, stage),
          ];
        case 'failed': {
          if (object.error === '' && object.marked) return [];
          const at = object.at ? t('explain.at', { at: clock(object.at) }) : '';
          return [line(say.rich('explain.failed', { n: object.attempts, on: on(object.worker), at })), line([object.error], { kind: 'error' })];
        }
        case 'skipped': return [line(say.rich(object.stopped ? 'explain.stopped' : 'explain.skipped'))];
        case 'waiting': return [line(say.rich('explain.waiting', { n: object.unmet }))];
        case 'ready': {
          const waits = object.seconds === null || object.seconds === undefined
            ? say.rich('explain.ready')
            : say.rich('explain.readyFor', { duration: duration(object.seconds), nth: nth(object.attempt) });
          return [line(waits), holdLine(object.hold, stage)];
        }
        case 'not-run': return [line(say.rich('explain.notRun', { was: stated(object.was) }))];
        case 'not-planned': return [line(say.rich('explain.notPlanned', { run: { run: run.run_id } }))];
        case 'satisfied': {
          const by = joined(object.needed_by.map((id) => [thing({ id })]), ', ');
          return [line(say.rich('explain.satisfied')), line(say.rich('explain.neededBy', { objects: by }))];
        }
        default: return [line([String(object.state)])];
      }
    },

    /** An object on the way to a cause. @returns {Parts} */
    link: (via) => say.rich(via.state === 'waiting' ? 'explain.viaWaits' : 'explain.viaSkipped', { object: named(via) }),

    /** A cause, in a line. @returns {Line} */
    cause(object) {
      const params = { object: named(object), on: on(object.worker), nth: nth(object.attempt) };
      const of = (key, rest = {}, state = object.state) => line(say.rich(`cause.${key}`, { ...params, ...rest }), { state });
      switch (object.state) {
        case 'loaded': return of('loaded', { at: clock(object.at) });
        case 'running': {
          const silent = object.silent_seconds === null || object.silent_seconds === undefined ? '' : t('cause.silent', { duration: duration(object.silent_seconds) });
          return of('running', { duration: duration(object.seconds), silent });
        }
        case 'retrying': {
          const { reason, seconds } = object.hold ?? {};
          const when = reason === 'backoff' ? t('cause.in', { duration: duration(seconds) }) : reason === 'paused' ? t('cause.resumed') : '';
          return of('retrying', { error: object.error, when });
        }
        case 'failed': return object.error === '' && object.marked ? of('marked', { marked: marked(object.marked) }) : of('failed', { n: object.attempts, error: object.error });
        case 'skipped': return of('skipped');
        case 'waiting': return of('waiting');
        case 'ready': {
          if (!isTaken(object.hold)) return of('ready', { hold: hold(object.hold, object.stage) });
          const ids = object.hold.by.slice(0, NAMED).map((busy) => [thing({ id: busy.id })]);
          const rest = object.hold.more + object.hold.by.length - ids.length;
          if (rest > 0) ids.push([t('explain.moreBusy', { n: rest })]);
          return of('readyBusy', { hold: hold(object.hold, object.stage), objects: joined(ids, ', ') });
        }
        case 'not-run': return of('notRun', { was: stated(object.was) }, object.was);
        default: return of('isNotRun', {}, 'skipped');
      }
    },

    /** What the run itself has to do with it. @returns {Line[]} */
    run(run, object) {
      const lines = [];
      const open = goesOn(run);
      const reason = run.reason ? t('explain.reason', { reason: run.reason }) : '';
      if (run.state === 'queued' && run.before.length > 0) {
        lines.push(line(say.rich('explain.behind', { runs: joined(run.before.map((id) => [{ run: id }]), ', ') })));
      } else if (run.state === 'queued' && run.leader.led) {
        lines.push(line(say.rich('explain.aboutToBePlanned')));
      } else if (!open && (object.state === 'not-run' || object.state === 'not-planned')) {
        lines.push(line(say.rich('explain.over', { state: t(`run-state.${run.state}`), reason })));
      }
      const saysSo = (object.state === 'ready' || object.state === 'retrying') && ['no-leader', 'cancelling'].includes(object.hold.reason);
      if (run.paused) lines.push(line(say.rich('explain.paused', { by: run.paused.by ? t('explain.by', { who: run.paused.by }) : '', at: clock(run.paused.at) })));
      if (open && run.cancelling && !saysSo) lines.push(line(say.rich('explain.cancelling')));
      if (open && !run.leader.led && !saysSo) lines.push(line(say.rich('explain.nobodyLeads')));
      return lines;
    },
  };
  return say;
}
