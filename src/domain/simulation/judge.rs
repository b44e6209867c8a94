//! Whether it ended well: the laws of the log, the fate that graph and failures allow each object, and readers who agree.

use fastrand::Rng;
use uuid::Uuid;

use super::world::Nature;
use super::{Report, Simulation};
use crate::domain::attempt::{MAX_WORKERS_LOST, Phase};
use crate::domain::audit::{Audit, Verdict};
use crate::domain::board::Board;
use crate::domain::event::{MarkedAs, Outcome, Place, RunId};
use crate::domain::history::History;
use crate::domain::rules::OnFailure;
use crate::domain::run::Run;

impl Simulation {
    /// Judges the log that the world left behind.
    pub(super) fn judge(&mut self) -> Result<Report, String> {
        let world = &self.world;
        let event =
            |place: &Place| world.partitions[place.partition as usize][place.offset as usize].event.as_ref();
        let mut audit = Audit::new(world.foreign.clone());
        for place in &world.order {
            if let Some(event) = event(place) {
                audit.observe(*place, event);
            }
        }
        if let Some(violation) = audit.violations().first() {
            return Err(format!("{} violations, the first: {violation}", audit.violations().len()));
        }
        if !audit.unfinished().is_empty() {
            return Err(format!("not finished: {:?}", audit.unfinished()));
        }
        let mut report = Report {
            records: world.order.len(),
            void: audit.void(),
            runs: world.requested.len(),
            again: world.again,
            full: world.full,
            epochs: world.elected.iter().copied().max().unwrap_or(0),
            virtual_ms: world.now_ms,
            ..Report::default()
        };
        let reference = self.fold(None);
        for &run in &world.requested {
            let finished = audit.finished(run).ok_or_else(|| format!("{run} never ended"))?;
            for (verdict, _) in audit.verdicts(run).values() {
                match verdict {
                    Verdict::Loaded => report.loaded += 1,
                    Verdict::Failed => report.failed += 1,
                    Verdict::Skipped => report.skipped += 1,
                    Verdict::Open => {}
                }
            }
            if finished.outcome == Outcome::Cancelled {
                report.cancelled += 1;
                continue;
            }
            if finished.reason.as_deref() == Some("nothing-to-retry") {
                continue;
            }
            self.expect(run, &audit, &reference)?;
            let known = reference.run(run);
            report.retries += usize::from(
                known
                    .and_then(|run| run.request.as_ref())
                    .is_some_and(|(_, request)| request.retry_of.is_some()),
            );
            if let Some(board) = known.and_then(Run::board) {
                report.degraded += board.degraded() as usize;
                report.reused += board.reused() as usize;
                report.marked += (0..board.len()).filter(|&i| board.attempts(i).marked().is_some()).count();
            }
        }
        let seed = self.world.rng.u64(..);
        for i in 0..3 {
            let other = self.fold(Some(Rng::with_seed(seed ^ i)));
            differ(&reference, &other)?;
        }
        Ok(report)
    }

    /// Where the objects of these runs stand, for whoever has to find out why they are not over.
    pub(super) fn standing(&self, runs: &[&RunId]) -> String {
        let history = self.fold(None);
        let mut text = String::new();
        for run in runs.iter().filter_map(|id| history.run(**id)) {
            text.push_str(&format!("\nrun {}, paused {:?}", run.id, run.pause));
            let Some(board) = run.board() else { continue };
            let held: Vec<_> = board.holders().map(|who| (who, board.held(who))).collect();
            text.push_str(&format!(", {:?}, held {held:?}", board.rules()));
            for (i, object) in board.objects().iter().enumerate() {
                text.push_str(&format!(
                    "\n  {} {} {:?}",
                    object.id,
                    board.phase(i).name(),
                    board.attempts(i).last()
                ));
            }
        }
        text
    }

    /// Compares where a run's objects ended with what the graph and the nature of each object say.
    pub(super) fn expect(&self, run: RunId, audit: &Audit, folded: &History) -> Result<(), String> {
        let world = &self.world;
        let verdicts = audit.verdicts(run);
        let board = folded.run(run).and_then(Run::board).ok_or("no board")?;
        let stopped = board.rules().on_failure == OnFailure::Stop
            && verdicts.values().any(|(_, ever_failed)| *ever_failed);
        for object in board.objects() {
            let id = object.id;
            let (verdict, ever_failed) = verdicts.get(&id).copied().ok_or("an object is missing")?;
            let i = board.position(id).ok_or("the board misses an object")?;
            let agree = match board.phase(i) {
                Phase::Loaded => verdict == Verdict::Loaded,
                Phase::Failed => verdict == Verdict::Failed,
                Phase::Skipped => verdict == Verdict::Skipped,
                _ => verdict == Verdict::Open,
            };
            if !agree {
                return Err(format!(
                    "object {id}: the audit says {verdict:?}, the fold {:?}",
                    board.phase(i)
                ));
            }
            let (mut doomed, mut may_be_doomed) = (false, false);
            for parent in &object.parents {
                let (verdict, ever_failed) = verdicts[parent];
                let at = board.position(*parent).ok_or("the board misses a parent")?;
                doomed |= verdict != Verdict::Loaded && !board.stands_in(at);
                // It may have been mended too late for the leader to see.
                may_be_doomed |= ever_failed || board.attempts(at).marked().is_some();
            }
            let attempts = board.attempts(i);
            let marked = attempts.marked().map(|mark| mark.state);
            let given = attempts.reused().is_some() || marked == Some(MarkedAs::Loaded);
            let lost = board.attempts(i).workers_lost() + 1 >= MAX_WORKERS_LOST;
            let failures = world.failures.get(&(run, id)).copied().unwrap_or(0);
            let foreign = world.foreign.contains(&object.stage);
            // Two workers at once may fail more often than one would.
            let may_fail = lost || failures > board.rules().retries;
            let (loads, fails) = match world.natures[&id] {
                Nature::Good => (true, lost),
                Nature::Bad | Nature::Stubborn => (false, true),
                Nature::Flaky(_) if foreign => (false, true),
                // A worker given up for lost may still do one attempt more than the plan allows.
                Nature::Flaky(times) if times > board.rules().retries => (failures >= times, true),
                Nature::Flaky(_) => (true, may_fail),
            };
            // A mark that it failed may stand beside one that it is loaded.
            let fails = fails || marked.is_some();
            let legal = match verdict {
                Verdict::Open => false,
                Verdict::Skipped => doomed || may_be_doomed || stopped,
                Verdict::Loaded => given || (loads && !doomed),
                Verdict::Failed => fails && (!doomed || marked.is_some()),
            };
            if !legal || (ever_failed && !fails) {
                return Err(format!(
                    "object {id} of run {run} is {verdict:?}: {:?}, retries {}, failures {failures}, lost {lost}, doomed {doomed}, {:?}",
                    world.natures[&id],
                    board.rules().retries,
                    board.attempts(i)
                ));
            }
        }
        Ok(())
    }

    /// Folds the whole log; with `rng`, partitions interleave otherwise and records repeat later in their partition.
    pub(super) fn fold(&self, rng: Option<Rng>) -> History {
        let world = &self.world;
        let mut history = History::default();
        let Some(mut rng) = rng else {
            for place in &world.order {
                if let Some(event) = &world.partitions[place.partition as usize][place.offset as usize].event
                {
                    let _ = history.apply(event, world.stamp(*place));
                }
            }
            return history;
        };
        let mut next = vec![0_usize; world.partitions.len()];
        loop {
            let open: Vec<usize> = (0..next.len()).filter(|&p| next[p] < world.partitions[p].len()).collect();
            if open.is_empty() {
                return history;
            }
            let p = open[rng.usize(0..open.len())];
            for _ in 0..rng.usize(1..20) {
                let repeat = next[p] > 0 && rng.u8(0..5) == 0;
                let offset = if repeat { rng.usize(0..next[p]) } else { next[p] };
                let Some(record) = world.partitions[p].get(offset) else { break };
                if let Some(event) = &record.event {
                    let place = Place { partition: p as u32, offset: offset as u64 };
                    let _ = history.apply(event, world.stamp(place));
                }
                next[p] += usize::from(!repeat);
            }
        }
    }
}

/// Whether two readers came to different states.
fn differ(one: &History, other: &History) -> Result<(), String> {
    let ids = |history: &History| -> Vec<RunId> { history.runs().iter().map(|run| run.id).collect() };
    if ids(one) != ids(other) {
        return Err(format!("two readers know different runs: {:?}, {:?}", ids(one), ids(other)));
    }
    for (a, b) in one.runs().into_iter().zip(other.runs()) {
        let ends = [a, b].map(|run| {
            run.finished.as_ref().map(|(at, end)| (*at, end.outcome, end.counts, end.reason.clone()))
        });
        let same = a.request == b.request
            && a.cancel == b.cancel
            && a.pause == b.pause
            && a.planned_at == b.planned_at
            && a.truncated == b.truncated
            && ends[0] == ends[1]
            && a.board().is_some() == b.board().is_some();
        if !same {
            return Err(format!("two readers see run {} otherwise: {ends:?}", a.id));
        }
        let (Some(a), Some(b)) = (a.board(), b.board()) else { continue };
        for i in 0..a.len() {
            if a.phase(i) != b.phase(i) || a.attempts(i) != b.attempts(i) {
                let id = a.object(i).id;
                return Err(format!(
                    "two readers see object {id} otherwise: {:?}, {:?}",
                    a.attempts(i),
                    b.attempts(i)
                ));
            }
        }
        let indexes = |board: &Board| {
            let held: Vec<(Uuid, Vec<usize>)> = board.holders().map(|who| (who, board.held(who))).collect();
            let classes = 0..board.classes().all().len();
            let ready: Vec<Vec<usize>> = classes.map(|class| board.ready(class).collect()).collect();
            let waiting = [
                board.unblocked().collect::<Vec<_>>(),
                board.doomed().collect(),
                board.revivable().collect(),
            ];
            (held, ready, waiting, board.retrying().collect::<Vec<_>>())
        };
        if indexes(a) != indexes(b) {
            return Err("two readers' indexes differ".to_owned());
        }
    }
    let active = |history: &History| history.active().map(|run| run.id);
    if active(one) != active(other) || one.highest_epoch() != other.highest_epoch() {
        return Err("two readers work on different runs".to_owned());
    }
    Ok(())
}
