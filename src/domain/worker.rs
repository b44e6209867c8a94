//! What a worker holds: which assignments it takes, which work it ends, what it says of itself.
//!
//! Pure. Knows neither plans nor leases: it does what it is given, once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::event::{Answer, AnswerMeta, Body, Entry, Epoch, Event, Place, RunId};
use super::member::{Heartbeat, Held, Members, Mono, WorkerState};
use super::object::{ObjectId, Stage};

/// So many attempts that are done are remembered, so that a repeated assignment starts nothing.
const MAX_DONE: usize = 200_000;
/// So many runs that are over are remembered, for assignments that are read after their run's end.
const MAX_ENDED: usize = 200;

/// So many marks are remembered: people make them, one by one.
const MAX_MARKED: usize = 1_000;

/// Who a worker is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// This start of it.
    pub instance: Uuid,
    /// The stages that it serves.
    pub stages: Vec<Stage>,
    /// How many objects it runs at once.
    pub slots: u32,
    /// How long it may be silent.
    pub lease: Duration,
}

/// An attempt to start.
#[derive(Clone, Debug)]
pub struct Start {
    /// Which.
    pub held: Held,
    /// The object's entry.
    pub entry: Entry,
    /// How long it may take; none: as this worker is set.
    pub timeout: Option<Duration>,
    /// The objects before it whose last good version serves in place of this run's.
    pub degraded: Vec<ObjectId>,
    /// The partition of the assignment: there the leader looks for the answer, however many partitions others know of.
    pub partition: u32,
}

/// What a worker holds and has seen.
#[derive(Debug)]
pub struct Worker {
    identity: Identity,
    state: WorkerState,
    elected: BTreeMap<u32, Epoch>,
    queue: VecDeque<Start>,
    running: BTreeSet<Held>,
    /// Answered, the log has not acknowledged it.
    answered: BTreeSet<Held>,
    done: BTreeSet<Held>,
    done_in_order: VecDeque<Held>,
    ended: VecDeque<RunId>,
    /// Objects that somebody marked: an assignment that crossed the mark starts nothing.
    marked: VecDeque<(RunId, ObjectId)>,
    drain_acknowledged: Option<Mono>,
}

impl Worker {
    /// A worker that holds nothing. It reads the events from their ends, noted before its first heartbeat.
    pub fn new(identity: Identity) -> Worker {
        Worker {
            identity,
            state: WorkerState::Up,
            elected: BTreeMap::new(),
            queue: VecDeque::new(),
            running: BTreeSet::new(),
            answered: BTreeSet::new(),
            done: BTreeSet::new(),
            done_in_order: VecDeque::new(),
            ended: VecDeque::new(),
            marked: VecDeque::new(),
            drain_acknowledged: None,
        }
    }

    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether an event, of which no more is known than what [`peek`](super::wire::peek) sees, may concern this worker.
    pub fn may_concern(&self, value: &[u8]) -> bool {
        match super::wire::peek(value) {
            Some(("ObjectLoaded" | "ObjectFailed" | "ObjectSkipped" | "RunPlanned" | "RunRequested", _))
            | Some(("ObjectReady", Some(1))) => false,
            // A first attempt ends no other one, so it is for whoever is named in it.
            Some(("ObjectAssigned", Some(1))) => {
                let mut buffer = Uuid::encode_buffer();
                let instance = self.identity.instance.hyphenated().encode_lower(&mut buffer).as_bytes();
                value.windows(instance.len()).any(|text| text == instance)
            }
            _ => true,
        }
    }

    /// Whether an event can concern a worker at all, by its type alone.
    pub fn concerns(body: &Body) -> bool {
        match body {
            Body::ObjectAssigned(_)
            | Body::RunCancelRequested(_)
            | Body::RunFinished(_)
            | Body::ObjectMarked(_)
            | Body::OrchestratorElected => true,
            Body::ObjectReady(ready) => ready.attempt > 1,
            _ => false,
        }
    }

    /// Folds an event. Returns what is to be ended, without an answer.
    pub fn apply(&mut self, event: &Event, place: Place, members: &Members) -> Vec<Held> {
        let elected = self.elected.entry(place.partition).or_insert(0);
        if let Some(epoch) = event.epoch {
            if epoch < *elected {
                return Vec::new();
            }
            if matches!(event.body, Body::OrchestratorElected) {
                *elected = epoch;
                return Vec::new();
            }
        }
        let Some(run) = event.run else { return Vec::new() };
        match &event.body {
            Body::ObjectReady(ready) => self.end(|held| is_earlier(held, run, ready.object, ready.attempt)),
            Body::ObjectAssigned(assigned) => {
                let held = Held { run_id: run, id_objet: assigned.object, attempt: assigned.attempt };
                let mine = assigned.instance == self.identity.instance;
                let valid = event.epoch.is_some_and(|epoch| epoch >= members.epoch());
                if mine
                    && valid
                    && !self.ended.contains(&run)
                    && !self.marked.contains(&(run, assigned.object))
                    && !self.holds(&held)
                    && !self.done.contains(&held)
                {
                    self.queue.push_back(Start {
                        held,
                        entry: assigned.entry.clone(),
                        timeout: assigned.timeout,
                        degraded: assigned.degraded.clone(),
                        partition: place.partition,
                    });
                }
                self.end(|held| is_earlier(held, run, assigned.object, assigned.attempt))
            }
            Body::ObjectMarked(marked) => {
                if !self.marked.contains(&(run, marked.object)) {
                    self.marked.push_back((run, marked.object));
                    if self.marked.len() > MAX_MARKED {
                        self.marked.pop_front();
                    }
                }
                self.end(|held| held.run_id == run && held.id_objet == marked.object)
            }
            Body::RunCancelRequested(_) | Body::RunFinished(_) => {
                if !self.ended.contains(&run) {
                    self.ended.push_back(run);
                    if self.ended.len() > MAX_ENDED {
                        self.ended.pop_front();
                    }
                }
                self.end(|held| held.run_id == run)
            }
            _ => Vec::new(),
        }
    }

    fn holds(&self, held: &Held) -> bool {
        self.running.contains(held)
            || self.answered.contains(held)
            || self.queue.iter().any(|start| start.held == *held)
    }

    /// Ends what `which` says: what waits is dropped, what runs is returned.
    fn end(&mut self, which: impl Fn(&Held) -> bool) -> Vec<Held> {
        let waiting = self.queue.iter().map(|start| start.held);
        let dropped: Vec<Held> = waiting.filter(|held| which(held)).collect();
        self.queue.retain(|start| !which(&start.held));
        for held in dropped {
            self.remember(held);
        }
        let ended: Vec<Held> = self.running.iter().copied().filter(|held| which(held)).collect();
        for held in &ended {
            self.running.remove(held);
            self.remember(*held);
        }
        ended
    }

    fn remember(&mut self, held: Held) {
        if self.done.insert(held) {
            self.done_in_order.push_back(held);
            if self.done_in_order.len() > MAX_DONE
                && let Some(oldest) = self.done_in_order.pop_front()
            {
                self.done.remove(&oldest);
            }
        }
    }

    /// The next attempt to start, if a slot is free.
    pub fn start(&mut self) -> Option<Start> {
        if self.running.len() >= self.identity.slots as usize {
            return None;
        }
        let start = self.queue.pop_front()?;
        self.running.insert(start.held);
        Some(start)
    }

    /// That an attempt is over: the answer to append, or none where it was ended in the meantime.
    pub fn finish(&mut self, held: Held, failed: bool, meta: AnswerMeta, at: Timestamp) -> Option<Event> {
        if !self.running.remove(&held) {
            return None;
        }
        self.answered.insert(held);
        let answer = Answer { object: held.id_objet, attempt: held.attempt, meta };
        let body = if failed { Body::ObjectFailed(answer) } else { Body::ObjectLoaded(answer) };
        Some(Event { at, run: Some(held.run_id), epoch: None, body })
    }

    /// That the log has taken the answer to an attempt.
    pub fn acknowledged(&mut self, held: Held) {
        if self.answered.remove(&held) {
            self.remember(held);
        }
    }

    /// Takes no new work from now on: finishes what it has and what still reaches it.
    pub fn drain(&mut self) {
        if self.state == WorkerState::Up {
            self.state = WorkerState::Draining;
        }
    }

    /// Whether it may leave: the leader knows that it drains, everything that could have been given to it before was
    /// read, and it holds nothing.
    pub fn may_leave(&mut self, now: Mono, caught_up: Mono, members: &Members) -> bool {
        if self.state != WorkerState::Draining {
            return false;
        }
        let acknowledged =
            members.reign().is_some_and(|(reign, _)| reign.drains.contains(&self.identity.instance));
        if acknowledged && self.drain_acknowledged.is_none() {
            self.drain_acknowledged = Some(now);
        }
        self.is_idle() && self.drain_acknowledged.is_some_and(|since| caught_up >= since)
    }

    /// Whether it holds nothing.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.running.is_empty() && self.answered.is_empty()
    }

    /// How many attempts run.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// What it says of itself.
    pub fn heartbeat(&self, state: Option<WorkerState>, read_to: Vec<u64>, members: &Members) -> Heartbeat {
        let queued = self.queue.iter().map(|start| start.held);
        Heartbeat {
            worker: self.identity.name.clone(),
            instance: self.identity.instance,
            stages: self.identity.stages.clone(),
            slots: self.identity.slots,
            state: state.unwrap_or(self.state),
            lease_ms: u64::try_from(self.identity.lease.as_millis()).unwrap_or(u64::MAX),
            epoch: members.epoch(),
            read_to,
            running: queued
                .chain(self.running.iter().copied())
                .chain(self.answered.iter().copied())
                .collect(),
            foreign: false,
        }
    }
}

fn is_earlier(held: &Held, run: RunId, object: ObjectId, attempt: u32) -> bool {
    held.run_id == run && held.id_objet == object && held.attempt < attempt
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{Assigned, Ready};

    #[test]
    fn what_is_passed_over_unread_concerns_others() {
        let instance = Uuid::from_u128(7);
        let identity = Identity {
            name: "w".into(),
            instance,
            stages: vec![Stage::Ingest],
            slots: 1,
            lease: Duration::from_secs(10),
        };
        let worker = Worker::new(identity);
        let assigned = |instance, attempt| {
            let worker = "w".into();
            let (timeout, degraded) = (None, Vec::new());
            let object = ObjectId(1001);
            Body::ObjectAssigned(Assigned {
                object,
                attempt,
                worker,
                instance,
                timeout,
                degraded,
                entry: None,
            })
        };
        let ready = |attempt| {
            let object = ObjectId(1001);
            Body::ObjectReady(Ready { object, attempt, cause: None, degraded: Vec::new(), entry: None })
        };
        let loaded =
            Body::ObjectLoaded(Answer { object: ObjectId(1001), attempt: 1, meta: AnswerMeta::default() });
        let other = Uuid::from_u128(8);
        for (body, expected) in [
            (assigned(instance, 1), true),
            (assigned(other, 1), false),
            (assigned(other, 2), true),
            (ready(1), false),
            (ready(2), true),
            (loaded, false),
            (Body::OrchestratorElected, true),
            (Body::RunCancelRequested(Default::default()), true),
        ] {
            let event =
                Event { at: Timestamp::UNIX_EPOCH, run: Some(RunId(Uuid::nil())), epoch: Some(1), body };
            assert_eq!(worker.may_concern(&event.encode()), expected, "{event:?}");
        }
        assert!(worker.may_concern(b"anything else"));
    }
}
