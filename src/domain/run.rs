//! A run, folded from its events. [`Run::apply`] is the only code that changes what is known of a run.
//!
//! Repeats change nothing, and events of different partitions may come in any order. Knows no clock and no leader:
//! which decisions are void is [`super::history`]'s to say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustc_hash::FxHashSet;
use uuid::Uuid;

use super::attempt::{Attempts, Phase};
use super::board::Board;
use super::event::{
    AnswerMeta, Asked, Body, Epoch, Event, Finished, Place, PlanPart, PlannedObject, Reject, Request, RunId,
};
use super::object::ObjectId;

/// More objects than this in events that come before their plan are a stranger's: they are passed over.
const MAX_EARLY_OBJECTS: usize = 4_000_000;

/// The largest number of parts that a plan may claim to have.
const MAX_PLAN_PARTS: u32 = 100_000;

/// Where and when the log took an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Where the event stands.
    pub place: Place,
    /// When the log took it, in microseconds since 1970.
    pub timestamp_us: i64,
}

/// Tells the plans of a run apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanKey {
    /// The reign that planned.
    pub epoch: Epoch,
    /// When it did.
    pub at: Timestamp,
}

impl std::fmt::Display for PlanKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.epoch, self.at.as_microsecond())
    }
}

/// One run, as far as its events tell.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// What was asked for, and when.
    pub request: Option<(Timestamp, Request)>,
    /// That somebody wants it to stop.
    pub cancel: Option<(Timestamp, Asked)>,
    /// The last time that somebody wanted it to pause or to go on.
    pub pause: Option<Pause>,
    /// How it ended.
    pub finished: Option<(Timestamp, Finished)>,
    /// When the orchestrator planned it.
    pub planned_at: Option<Timestamp>,
    /// A part of its story is no longer in the log.
    pub truncated: bool,
    /// Where each partition ended when it was planned.
    pub(super) begins: Vec<u64>,
    /// The latest time that any of its events gives.
    pub(super) latest_at: Timestamp,
    /// The offsets of its first and its last event, by partition.
    places: BTreeMap<u32, (u64, u64)>,
    parts: Option<Parts>,
    plan_epoch: Option<Epoch>,
    early: BTreeMap<ObjectId, Attempts>,
    board: Option<Board>,
    /// Names of workers, each kept once.
    names: FxHashSet<Arc<str>>,
    by_instance: BTreeMap<Uuid, Arc<str>>,
}

/// That somebody wanted a run to pause or to go on. The latest by the time that it gives counts, however often and in
/// whatever order they are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// When, by the clock of whoever said so.
    pub at: Timestamp,
    /// Whether it is to pause.
    pub paused: bool,
    /// Who.
    pub asked: Asked,
}

/// The parts of a plan that have come so far.
#[derive(Clone, Debug)]
struct Parts {
    epoch: Epoch,
    parts: Vec<Option<PlanPart>>,
    missing: usize,
}

impl Run {
    pub(super) fn new(id: RunId) -> Run {
        Run {
            id,
            request: None,
            cancel: None,
            pause: None,
            finished: None,
            planned_at: None,
            truncated: false,
            begins: Vec::new(),
            latest_at: Timestamp::MIN,
            places: BTreeMap::new(),
            parts: None,
            plan_epoch: None,
            early: BTreeMap::new(),
            board: None,
            names: FxHashSet::default(),
            by_instance: BTreeMap::new(),
        }
    }

    /// The plan and where each of its objects stands, once the plan is complete.
    pub fn board(&self) -> Option<&Board> {
        self.board.as_ref()
    }

    /// Which plan counts: another one has another key.
    pub fn plan_key(&self) -> Option<PlanKey> {
        Some(PlanKey { epoch: self.plan_epoch?, at: self.planned_at? })
    }

    /// The offsets of its first and its last event so far, by partition.
    pub fn places(&self) -> &BTreeMap<u32, (u64, u64)> {
        &self.places
    }

    /// Whether only remains of it are in the log: neither its request nor its plan. It may have ended long ago.
    pub fn is_remains(&self) -> bool {
        self.request.is_none() && self.board.is_none()
    }

    /// Who stops it, as the reason of its end.
    pub(super) fn cancelled_by(&self) -> Option<String> {
        self.cancel.as_ref()?.1.requested_by.as_ref().map(|who| format!("cancelled by {who}"))
    }

    /// The name of a worker that was given something in this run.
    pub fn worker_name(&self, instance: Uuid) -> Option<&Arc<str>> {
        self.by_instance.get(&instance)
    }

    /// Folds one event that is not void.
    ///
    /// # Errors
    /// [`Reject::UnknownObject`] where the plan has no such object.
    pub(super) fn apply(&mut self, event: &Event, stamp: Stamp) -> Result<(), Reject> {
        self.latest_at = self.latest_at.max(event.at);
        let offset = stamp.place.offset;
        let (first, last) = self.places.entry(stamp.place.partition).or_insert((offset, offset));
        (*first, *last) = ((*first).min(offset), (*last).max(offset));
        match &event.body {
            Body::RunRequested(request) => {
                self.request.get_or_insert_with(|| (event.at, request.clone()));
            }
            Body::RunCancelRequested(cancel) => {
                self.cancel.get_or_insert_with(|| (event.at, cancel.clone()));
            }
            Body::RunPauseRequested(asked) => self.pause_or_go_on(event.at, true, asked),
            Body::RunResumeRequested(asked) => self.pause_or_go_on(event.at, false, asked),
            Body::RunFinished(finished) => {
                self.finished.get_or_insert_with(|| (event.at, finished.clone()));
            }
            Body::RunPlanned(part) => self.plan_part(part, event),
            Body::ObjectReady(ready) => {
                return self.fold(ready.object, |object| {
                    object.offered(ready, event.at, stamp.place, stamp.timestamp_us);
                });
            }
            Body::ObjectAssigned(assigned) => {
                let name = self.intern(&assigned.worker);
                self.by_instance.entry(assigned.instance).or_insert(name);
                let epoch = event.epoch.unwrap_or(0);
                return self
                    .fold(assigned.object, |object| object.assigned(assigned, event.at, stamp.place, epoch));
            }
            Body::ObjectLoaded(answer) => {
                let worker = self.answering(&answer.meta);
                return self.fold(answer.object, |object| object.answered(answer, false, event.at, worker));
            }
            Body::ObjectFailed(answer) => {
                let worker = self.answering(&answer.meta);
                return self.fold(answer.object, |object| object.answered(answer, true, event.at, worker));
            }
            Body::ObjectSkipped(skipped) => {
                return self.fold(skipped.object, |object| object.skip(skipped, event.at));
            }
            Body::ObjectMarked(marked) => {
                return self.fold(marked.object, |object| object.mark(marked, event.at));
            }
            Body::OrchestratorElected => {}
        }
        Ok(())
    }

    fn pause_or_go_on(&mut self, at: Timestamp, paused: bool, asked: &Asked) {
        if self.pause.as_ref().is_none_or(|last| (last.at, last.paused) < (at, paused)) {
            self.pause = Some(Pause { at, paused, asked: asked.clone() });
        }
    }

    /// Who paused it and when, while it is paused.
    pub fn paused(&self) -> Option<&Pause> {
        self.pause.as_ref().filter(|pause| pause.paused && self.finished.is_none())
    }

    /// How long after its last failure the object at this position of the plan is tried again. Objects which failed together
    /// do not come back together.
    pub fn backoff(&self, board: &Board, i: usize) -> Duration {
        let attempts = board.attempts(i);
        let object = board.object(i).id.0.rotate_left(32);
        let seed = self.id.0.as_u128() as u64 ^ object ^ u64::from(attempts.next_number());
        board.rules().wait(attempts.failures(), seed)
    }

    /// When an object that failed is tried again, at the earliest and by the clock of whoever said that it failed.
    pub fn next_try_at(&self, board: &Board, i: usize) -> Option<Timestamp> {
        let failed = board.attempts(i).last()?.answer.as_ref()?;
        let is_due = board.phase(i) == Phase::Retrying && self.finished.is_none();
        is_due.then(|| failed.at.checked_add(self.backoff(board, i)).ok()).flatten()
    }

    fn fold(&mut self, object: ObjectId, change: impl FnOnce(&mut Attempts)) -> Result<(), Reject> {
        if let Some(board) = &mut self.board {
            return board.change(object, change).ok_or(Reject::UnknownObject);
        }
        if self.early.len() >= MAX_EARLY_OBJECTS && !self.early.contains_key(&object) {
            return Err(Reject::UnknownObject);
        }
        change(self.early.entry(object).or_default());
        Ok(())
    }

    /// Gathers the parts of a plan; the complete set of the highest epoch counts.
    fn plan_part(&mut self, part: &PlanPart, event: &Event) {
        let epoch = event.epoch.unwrap_or(0);
        let outdated = self.plan_epoch.is_some_and(|known| epoch <= known)
            || self.parts.as_ref().is_some_and(|parts| epoch < parts.epoch);
        if outdated || part.part >= part.parts || part.parts > MAX_PLAN_PARTS {
            return;
        }
        let fresh = || Parts { epoch, parts: vec![None; part.parts as usize], missing: part.parts as usize };
        let parts = self.parts.get_or_insert_with(fresh);
        if parts.epoch < epoch {
            *parts = fresh();
        }
        let Some(slot) = parts.parts.get_mut(part.part as usize) else { return };
        if slot.is_none() {
            *slot = Some(part.clone());
            parts.missing -= 1;
        }
        if parts.missing > 0 {
            return;
        }
        let Some(parts) = self.parts.take() else { return };
        let begins = part.begins.clone();
        let objects: Vec<PlannedObject> =
            parts.parts.into_iter().flatten().flat_map(|part| part.objects).collect();
        // What is known of objects stays with them under the new plan.
        let mut known = std::mem::take(&mut self.early);
        if let Some(board) = self.board.take() {
            known.extend(board.into_attempts());
        }
        // A plan with a cycle is no orchestrator's: the run is left without one.
        match Board::new(objects, part.partitions, part.rules.clone(), &mut known) {
            Ok(board) => {
                self.board = Some(board);
                self.plan_epoch = Some(epoch);
                self.begins = begins;
                self.planned_at = Some(event.at);
            }
            Err(_) => self.early = known,
        }
    }

    fn answering(&mut self, meta: &AnswerMeta) -> Option<Arc<str>> {
        meta.worker.as_deref().map(|name| self.intern(name))
    }

    fn intern(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        // Strangers may call themselves anything, over and over: those beyond any real number of workers stay unshared.
        if self.names.len() < 10_000 {
            self.names.insert(name.clone());
        }
        name
    }
}
