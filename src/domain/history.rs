//! All runs that the log tells of: which decisions are void, which run is the active one, which wait in the queue.
//!
//! Bounded: the last finished runs in full, older ones as a line each.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;

use super::event::{
    Answer, Body, Counts, Epoch, Event, Finished, MarkedAs, Outcome, Reject, Request, RunId, Version,
};
use super::object::ObjectId;
use super::run::{Run, Stamp};

/// Finished runs kept in full.
pub const KEPT_RUNS: usize = 20;
/// Objects of finished runs kept in full, over all of them; the last finished run is always kept.
const KEPT_OBJECTS: usize = 500_000;
/// Older runs kept as a line each.
const KEPT_SUMMARIES: usize = 5_000;
/// Runs that nobody asked for and nobody planned: events of a run cut off by retention, or a stranger's invention.
const KEPT_ORPHANS: usize = 100;
/// Answers of strangers kept until the leader looks at them.
const KEPT_STRANGERS: usize = 100_000;

/// Objects of which the last load is kept, over all runs.
const KEPT_LOADS: usize = 4_000_000;

/// What is left of an old run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Its id.
    pub run_id: RunId,
    /// Who asked for it.
    pub requested_by: Option<String>,
    /// When it was asked for.
    pub requested_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, where the outcome alone does not say.
    pub reason: Option<String>,
    /// How many objects ended how.
    pub counts: Counts,
    /// From request to end, in seconds.
    pub duration_seconds: f64,
    /// The run of which it is a retry.
    pub retry_of: Option<RunId>,
    /// What was selected; none: every final object with all that it needs.
    pub selection: Option<String>,
    /// When it was due, where a schedule asked.
    pub scheduled_for: Option<Timestamp>,
}

/// A stranger's answer to an offer, for the leader to adopt or to count as late.
#[derive(Clone, Debug)]
pub struct StrangersAnswer {
    /// What it says.
    pub answer: Answer,
    /// Whether it says that the object failed.
    pub failed: bool,
    /// Where and when the log took it.
    pub stamp: Stamp,
}

/// The last time that an object was loaded, over all runs: the latest by the time that the event gives counts, in whatever
/// order they are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastLoad {
    /// The last version that was made from nothing older than its run.
    pub good: Option<Version>,
    /// How long a load took, in milliseconds, and when that was.
    took: Option<(Timestamp, u64)>,
}

impl LastLoad {
    /// How long the last load took that was measured, in milliseconds.
    pub fn took_ms(self) -> Option<u64> {
        self.took.map(|(_, ms)| ms)
    }
}

/// Every run that the log tells of.
#[derive(Clone, Debug, Default)]
pub struct History {
    runs: BTreeMap<RunId, Run>,
    finished: VecDeque<RunId>,
    summaries: VecDeque<Summary>,
    summarized: FxHashSet<RunId>,
    /// The highest election read so far, by partition.
    elected: BTreeMap<u32, Epoch>,
    highest_epoch: Epoch,
    /// Where each partition starts, if older records are gone.
    cuts: BTreeMap<u32, u64>,
    strangers: VecDeque<StrangersAnswer>,
    loads: FxHashMap<ObjectId, LastLoad>,
    latest_scheduled: Option<Timestamp>,
}

impl History {
    /// Notes that a partition's records before `start` are gone: retention has cut it, or somebody.
    /// Runs of which something stood there have lost a part of their story.
    pub fn cut(&mut self, partition: u32, start: u64) {
        let cut = self.cuts.entry(partition).or_insert(start);
        *cut = (*cut).max(start);
        for run in self.runs.values_mut().filter(|run| run.finished.is_none()) {
            run.truncated = is_truncated(run, &self.cuts);
        }
    }

    /// Folds one event.
    ///
    /// # Errors
    /// What is passed over though it is an event: an object that no plan has.
    pub fn apply(&mut self, event: &Event, stamp: Stamp) -> Result<(), Reject> {
        let partition = stamp.place.partition;
        if let Some(epoch) = event.epoch {
            self.highest_epoch = self.highest_epoch.max(epoch);
            let elected = self.elected.entry(partition).or_insert(0);
            if epoch < *elected {
                return Ok(()); // a deposed leader's decision
            }
            if matches!(event.body, Body::OrchestratorElected) {
                *elected = epoch;
                return Ok(());
            }
        }
        let Some(id) = event.run else {
            self.strange(event, stamp);
            return Ok(());
        };
        if let Body::RunRequested(request) = &event.body {
            // Whoever asks before the time is not the schedule: that one is still to come.
            let scheduled = request.scheduled_for.filter(|due| *due <= event.at);
            self.latest_scheduled = self.latest_scheduled.max(scheduled);
        }
        if self.summarized.contains(&id) {
            return Ok(());
        }
        if !self.runs.contains_key(&id) {
            self.make_room_for_orphan(event);
        }
        let run = self.runs.entry(id).or_insert_with(|| Run::new(id));
        let was_finished = run.finished.is_some();
        let result = run.apply(event, stamp);
        if result.is_ok() {
            note_load(&mut self.loads, run, event);
        }
        if !was_finished && run.finished.is_some() {
            if was_skipped(run) {
                // There is nothing to look at: it is not to take the place of runs that ran.
                self.reduce(id);
            } else {
                self.finished.push_back(id);
                self.summarize();
            }
        } else if !self.cuts.is_empty() && run.finished.is_none() {
            run.truncated = is_truncated(run, &self.cuts);
        }
        result
    }

    /// Keeps strangers' answers until a leader looks at them, the latest where there are too many.
    fn strange(&mut self, event: &Event, stamp: Stamp) {
        let (answer, failed) = match &event.body {
            Body::ObjectLoaded(answer) => (answer, false),
            Body::ObjectFailed(answer) => (answer, true),
            _ => return,
        };
        if answer.meta.foreign {
            return;
        }
        if self.strangers.len() >= KEPT_STRANGERS {
            self.strangers.pop_front();
        }
        self.strangers.push_back(StrangersAnswer { answer: answer.clone(), failed, stamp });
    }

    /// Hands over the strangers' answers that came since the last call, in the order in which they were read.
    pub fn take_strangers(&mut self) -> Vec<StrangersAnswer> {
        std::mem::take(&mut self.strangers).into()
    }

    /// Takes back answers of which nobody knows whether they were adopted: a second adoption changes nothing.
    pub fn put_back_strangers(&mut self, answers: Vec<StrangersAnswer>) {
        for answer in answers.into_iter().rev().take(KEPT_STRANGERS.saturating_sub(self.strangers.len())) {
            self.strangers.push_front(answer);
        }
    }

    fn make_room_for_orphan(&mut self, event: &Event) {
        if matches!(event.body, Body::RunRequested(_) | Body::RunPlanned(_)) {
            return;
        }
        let orphans: Vec<RunId> = self
            .runs
            .values()
            .filter(|run| run.request.is_none() && run.board().is_none() && run.finished.is_none())
            .map(|run| run.id)
            .collect();
        if orphans.len() >= KEPT_ORPHANS {
            self.runs.remove(&orphans[0]);
        }
    }

    /// Reduces the oldest finished runs to a line each.
    fn summarize(&mut self) {
        let objects = |runs: &BTreeMap<RunId, Run>, id: &RunId| {
            runs.get(id).and_then(Run::board).map_or(0, super::board::Board::len)
        };
        let mut kept: usize = self.finished.iter().map(|id| objects(&self.runs, id)).sum();
        while self.finished.len() > KEPT_RUNS || (kept > KEPT_OBJECTS && self.finished.len() > 1) {
            let Some(id) = self.finished.pop_front() else { return };
            kept -= objects(&self.runs, &id);
            self.reduce(id);
        }
    }

    /// Reduces a finished run to a line.
    fn reduce(&mut self, id: RunId) {
        let summary = self.runs.remove(&id).as_ref().and_then(summary);
        self.summarized.insert(id);
        self.summaries.extend(summary);
        if self.summaries.len() > KEPT_SUMMARIES
            && let Some(oldest) = self.summaries.pop_front()
        {
            self.summarized.remove(&oldest.run_id);
        }
    }

    /// The last time that an object was loaded, in any run.
    pub fn last_load(&self, id: ObjectId) -> LastLoad {
        self.loads.get(&id).copied().unwrap_or_default()
    }

    /// The last instant for which a schedule has asked for a run, as far back as the log goes.
    pub fn latest_scheduled(&self) -> Option<Timestamp> {
        self.latest_scheduled
    }

    /// Whether anything of a run was ever read, as far back as is kept.
    pub fn knows(&self, id: RunId) -> bool {
        self.runs.contains_key(&id) || self.summarized.contains(&id)
    }

    /// A run of a schedule that waits for its turn, of the same objects as this request.
    pub fn waiting_like(&self, request: &Request) -> Option<RunId> {
        let waits = |run: &&Run| run.finished.is_none() && run.board().is_none();
        let is_like = |run: &&Run| {
            let of_schedule = run.request.as_ref().filter(|(_, request)| request.scheduled_for.is_some());
            of_schedule.is_some_and(|(_, waiting)| waiting.targets == request.targets)
        };
        self.runs.values().filter(waits).find(is_like).map(|run| run.id)
    }

    /// The highest epoch that any event named.
    pub fn highest_epoch(&self) -> Epoch {
        self.highest_epoch
    }

    /// The highest election read in a partition.
    pub fn elected(&self, partition: u32) -> Epoch {
        self.elected.get(&partition).copied().unwrap_or(0)
    }

    /// A run that is kept in full.
    pub fn run(&self, id: RunId) -> Option<&Run> {
        self.runs.get(&id)
    }

    /// The runs that are kept in full, the oldest first.
    pub fn runs(&self) -> Vec<&Run> {
        let mut runs: Vec<&Run> = self.runs.values().filter(|run| is_known(run)).collect();
        runs.sort_by_key(|run| (run.request.as_ref().map(|(at, _)| *at).or(run.planned_at), run.id));
        runs
    }

    /// The runs of which a line is left, the oldest first, as they became one.
    pub fn summaries(&self) -> impl DoubleEndedIterator<Item = &Summary> {
        self.summaries.iter()
    }

    /// The run that is to be worked on: the one that is planned and not over, else the first in the queue.
    pub fn active(&self) -> Option<&Run> {
        let open = || self.runs.values().filter(|run| run.finished.is_none());
        let first = |runs: &mut dyn Iterator<Item = &'_ Run>| -> Option<RunId> {
            runs.min_by_key(|run| (run.request.as_ref().map(|(at, _)| *at), run.id)).map(|run| run.id)
        };
        // Runs follow each other: one without a plan that is older than another's plan was over before that.
        let latest_plan = self.latest_planned().and_then(|run| run.planned_at);
        let is_left = |run: &Run| run.truncated && latest_plan.is_none_or(|planned| planned < run.latest_at);
        let id = first(&mut open().filter(|run| run.board().is_some()))
            .or_else(|| first(&mut open().filter(|run| is_left(run))))
            .or_else(|| first(&mut open().filter(|run| run.request.is_some())))?;
        self.runs.get(&id)
    }

    /// The runs that are asked for and wait for their turn, in order.
    pub fn queue(&self) -> Vec<&Run> {
        let active = self.active().map(|run| run.id);
        let mut queue = self.runs();
        queue.retain(|run| run.finished.is_none() && Some(run.id) != active);
        queue
    }

    /// The runs that somebody wants to stop and that are not over.
    pub fn cancelled(&self) -> impl Iterator<Item = &Run> {
        self.runs.values().filter(|run| run.cancel.is_some() && run.finished.is_none() && is_known(run))
    }

    /// The run to look at: the one that is under way, else the one that was asked for last.
    pub fn latest(&self) -> Option<RunId> {
        let under_way = self.active().filter(|run| run.board().is_some());
        under_way.map(|run| run.id).or_else(|| self.runs().last().map(|run| run.id))
    }

    /// The run that was planned last.
    pub fn latest_planned(&self) -> Option<&Run> {
        self.runs.values().filter(|run| run.board().is_some()).max_by_key(|run| (run.planned_at, run.id))
    }
}

/// Notes that an object is loaded, if that is what the event says.
fn note_load(loads: &mut FxHashMap<ObjectId, LastLoad>, run: &Run, event: &Event) {
    let (object, took) = match &event.body {
        Body::ObjectLoaded(answer) => (answer.object, answer.meta.duration_seconds),
        Body::ObjectMarked(marked) if marked.state == MarkedAs::Loaded => (marked.object, None),
        _ => return,
    };
    if loads.len() >= KEPT_LOADS && !loads.contains_key(&object) {
        return;
    }
    let load = loads.entry(object).or_default();
    let attempts = run.board().and_then(|board| Some(board.attempts(board.position(object)?)));
    if attempts.is_none_or(|attempts| attempts.degraded().is_empty()) {
        load.good = load.good.max(Some(Version { at: event.at, run_id: run.id }));
    }
    if let Some(seconds) = took.filter(|seconds| (0.0..1e9).contains(seconds)) {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
        let ms = (seconds * 1000.0).round() as u64;
        load.took = load.took.max(Some((event.at, ms)));
    }
}

/// Whether a schedule asked for it and nobody ran any of it.
fn was_skipped(run: &Run) -> bool {
    let of_schedule = run.request.as_ref().is_some_and(|(_, request)| request.scheduled_for.is_some());
    let cancelled = |finished: &Finished| finished.outcome == Outcome::Cancelled;
    of_schedule && run.board().is_none() && run.finished.as_ref().is_some_and(|(_, end)| cancelled(end))
}

fn is_known(run: &Run) -> bool {
    run.request.is_some() || run.board().is_some() || run.finished.is_some()
}

/// Whether a part of a run's story stood before these cuts: that of its objects, or its plan and request.
fn is_truncated(run: &Run, cuts: &BTreeMap<u32, u64>) -> bool {
    if run.board().is_none() {
        // It may come yet, from another partition: nobody decides before every partition is read.
        return run.request.is_none() && !cuts.is_empty();
    }
    (0..).zip(&run.begins).any(|(partition, begin)| cuts.get(&partition).is_some_and(|cut| cut > begin))
}

/// The line that is left of a finished run.
pub fn summary(run: &Run) -> Option<Summary> {
    let (finished_at, finished) = run.finished.as_ref()?;
    Some(Summary {
        run_id: run.id,
        requested_by: run.request.as_ref().and_then(|(_, request)| request.requested_by.clone()),
        requested_at: run.request.as_ref().map(|(at, _)| *at),
        finished_at: *finished_at,
        outcome: finished.outcome,
        reason: finished.reason.clone(),
        counts: finished.counts,
        duration_seconds: finished.duration_seconds,
        retry_of: run.request.as_ref().and_then(|(_, request)| request.retry_of),
        selection: run.request.as_ref().and_then(|(_, request)| request.selection()),
        scheduled_for: run.request.as_ref().and_then(|(_, request)| request.scheduled_for),
    })
}
