//! What is there: the logs, the clock, what goes wrong, how the work on each object goes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;
use rustc_hash::FxHashMap;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::domain::event::{Body, Epoch, Event, Place, PlannedObject, RunId};
use crate::domain::limit::Classes;
use crate::domain::member::Member;
use crate::domain::object::{Criticality, ObjectId, Stage};
use crate::domain::partition::partition_of;
use crate::domain::rules::Rules;
use crate::domain::run::Stamp;

/// The lease of every process.
pub(super) const LEASE_MS: u64 = 2_000;

/// How long an offer to a stranger may stay unanswered.
pub(super) const OFFER_TIMEOUT_MS: u64 = 4_000;

/// The virtual clock's zero, in microseconds since 1970.
pub(super) const EPOCH_US: i64 = 1_790_000_000_000_000;

/// How the work on an object goes, whoever does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    Good,
    Bad,
    /// Every failure is worth another try.
    Stubborn,
    /// So many failures come first.
    Flaky(u32),
}

/// What is to be appended.
#[derive(Clone, Debug)]
pub(super) enum Out {
    Event(Event),
    Elected(u32, Event),
    Member(Member),
    Raw(ObjectId, String),
}

pub(super) struct Record {
    pub(super) at_ms: u64,
    /// None: not an event.
    pub(super) event: Option<Event>,
}

pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) now_ms: u64,
    pub(super) trace: Option<Vec<String>>,
    pub(super) partitions: Vec<Vec<Record>>,
    pub(super) order: Vec<Place>,
    pub(super) members: Vec<(u64, Member)>,
    pub(super) elected: Vec<Epoch>,
    pub(super) faults_end_ms: u64,
    /// How often an append fails, a read lags, and a heartbeat is lost, in percent.
    pub(super) append_fails: u8,
    pub(super) lags: u8,
    pub(super) beats_lost: u8,
    /// What orchestrators are set to.
    pub(super) rules: Rules,
    pub(super) objects: Vec<PlannedObject>,
    pub(super) natures: BTreeMap<ObjectId, Nature>,
    pub(super) foreign: BTreeSet<Stage>,
    pub(super) requested: BTreeSet<RunId>,
    pub(super) finished: BTreeSet<RunId>,
    /// When the first answer to an attempt came.
    pub(super) answers: FxHashMap<(RunId, ObjectId, u32), u64>,
    pub(super) failures: FxHashMap<(RunId, ObjectId), u32>,
    pub(super) agenda: BinaryHeap<Reverse<(u64, u64, usize)>>,
    pub(super) tasks: Vec<Option<Task>>,
    pub(super) ticket: u64,
    pub(super) again: [usize; 6],
    pub(super) leaders: BTreeMap<Epoch, Uuid>,
    /// What runs of each run, as the log has it, and what limits it.
    pub(super) crowds: BTreeMap<RunId, Crowd>,
    /// How often an assignment filled a limit.
    pub(super) full: usize,
    pub(super) broken: Option<String>,
}

#[derive(Debug)]
pub(super) enum Task {
    Wake(usize),
    Land(Vec<Out>),
    Fault,
    Heal,
}

impl World {
    pub(super) fn percent(&mut self, percent: u8) -> bool {
        percent > 0 && self.rng.u8(0..100) < percent
    }

    pub(super) fn faulty(&self) -> bool {
        self.now_ms < self.faults_end_ms
    }

    pub(super) fn wall(&self, skew_us: i64) -> Timestamp {
        let us = EPOCH_US + i64::try_from(self.now_ms).unwrap_or(0) * 1_000 + skew_us;
        Timestamp::from_microsecond(us).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    pub(super) fn wall_at(&self, ms: u64) -> Timestamp {
        let us = EPOCH_US + i64::try_from(ms).unwrap_or(0) * 1_000;
        Timestamp::from_microsecond(us).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    pub(super) fn at(&mut self, at_ms: u64, task: Task) {
        self.ticket += 1;
        self.agenda.push(Reverse((at_ms, self.ticket, self.tasks.len())));
        self.tasks.push(Some(task));
    }

    pub(super) fn say(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>8} {}", self.now_ms, text()));
        }
    }

    pub(super) fn uuid(&mut self) -> Uuid {
        Uuid::from_u128(self.rng.u128(..))
    }

    pub(super) fn ends(&self) -> Vec<u64> {
        self.partitions.iter().map(|records| records.len() as u64).collect()
    }

    /// Appends, or fails to: then the records are in the log or not, and may come later still.
    pub(super) fn append(&mut self, out: &[Out]) -> bool {
        if out.is_empty() {
            return true;
        }
        if !self.faulty() || !self.percent(self.append_fails) {
            self.land(out);
            return true;
        }
        let landed = match self.rng.u8(0..3) {
            0 => 0,
            1 => out.len(),
            _ => self.rng.usize(0..=out.len()),
        };
        self.say(|| format!("an append of {} fails after {landed}", out.len()));
        self.land(&out[..landed]);
        if self.rng.u8(0..3) == 0 {
            let delay_ms = self.rng.u64(1..2 * LEASE_MS);
            self.at(self.now_ms + delay_ms, Task::Land(out.to_vec()));
        }
        false
    }

    pub(super) fn land(&mut self, out: &[Out]) {
        for out in out {
            let (partition, bytes) = match out {
                Out::Member(member) => {
                    self.say(|| match member {
                        Member::Worker(beat) => format!(
                            "members: {} {:?} read to {:?}, holds {:?}",
                            beat.worker,
                            beat.state,
                            beat.read_to,
                            beat.running.iter().map(|held| (held.id_objet, held.attempt)).collect::<Vec<_>>()
                        ),
                        other => format!("members: {other:?}"),
                    });
                    let member = Member::decode(&member.encode());
                    self.members.extend(member.map(|member| (self.now_ms, member)));
                    continue;
                }
                Out::Elected(partition, event) => (*partition, event.encode()),
                Out::Event(event) => {
                    (partition_of(event.key().as_bytes(), self.partitions.len() as u32), event.encode())
                }
                Out::Raw(object, text) => (
                    partition_of(object.to_string().as_bytes(), self.partitions.len() as u32),
                    text.clone().into_bytes(),
                ),
            };
            let place = Place { partition, offset: self.partitions[partition as usize].len() as u64 };
            let event = Event::decode(&bytes, place, self.wall(0)).ok();
            if matches!(out, Out::Event(_) | Out::Elected(..)) && event.is_none() {
                self.broken = Some(format!("cannot be read back: {}", String::from_utf8_lossy(&bytes)));
            }
            self.say(|| format!("{partition}:{} {}", place.offset, String::from_utf8_lossy(&bytes)));
            if let Some(event) = &event {
                self.watch(place, event);
            }
            self.partitions[partition as usize].push(Record { at_ms: self.now_ms, event });
            self.order.push(place);
        }
    }

    /// Notes what the world itself must know of an event that has just landed.
    pub(super) fn watch(&mut self, place: Place, event: &Event) {
        let elected = &mut self.elected[place.partition as usize];
        if event.epoch.is_some_and(|epoch| epoch < *elected) {
            return;
        }
        let Some(run) = event.run else {
            if let (Body::OrchestratorElected, Some(epoch)) = (&event.body, event.epoch) {
                *elected = epoch;
            }
            return;
        };
        match &event.body {
            Body::RunRequested(_) => drop(self.requested.insert(run)),
            Body::RunFinished(_) => drop(self.finished.insert(run)),
            Body::RunPlanned(part) => {
                let crowd = Crowd {
                    objects: part.objects.clone(),
                    rules: part.rules.clone(),
                    running: BTreeMap::new(),
                    marked: BTreeSet::new(),
                };
                self.crowds.insert(run, crowd);
            }
            Body::ObjectMarked(marked) => {
                if let Some(crowd) = self.crowds.get_mut(&run) {
                    crowd.running.insert(marked.object, 0);
                    crowd.marked.insert(marked.object);
                }
            }
            Body::ObjectReady(ready) => {
                let crowd = self.crowds.get_mut(&run);
                let running = crowd.and_then(|crowd| crowd.running.get_mut(&ready.object));
                if let Some(running) = running.filter(|attempt| **attempt < ready.attempt) {
                    *running = 0;
                }
            }
            Body::ObjectAssigned(assigned) => {
                let (object, attempt) = (assigned.object, assigned.attempt);
                if !self.answers.contains_key(&(run, object, attempt))
                    && let Some(crowd) = self.crowds.get_mut(&run)
                    && !crowd.marked.contains(&object)
                    && crowd.running.get(&object).is_none_or(|running| *running < attempt)
                {
                    crowd.running.insert(object, attempt);
                    match crowd.check(event) {
                        Ok(full) => self.full += usize::from(full),
                        Err(broken) => self.broken = Some(broken),
                    }
                }
            }
            Body::ObjectLoaded(answer) | Body::ObjectFailed(answer) => {
                let crowd = self.crowds.get_mut(&run);
                let running = crowd.and_then(|crowd| crowd.running.get_mut(&answer.object));
                if let Some(running) = running.filter(|attempt| **attempt == answer.attempt) {
                    *running = 0;
                }
                let key = (run, answer.object, answer.attempt);
                if !self.answers.contains_key(&key) {
                    self.answers.insert(key, self.now_ms);
                    if matches!(event.body, Body::ObjectFailed(_)) {
                        *self.failures.entry((run, answer.object)).or_default() += 1;
                    }
                }
            }
            _ => {}
        }
    }

    pub(super) fn stamp(&self, place: Place) -> Stamp {
        let record = &self.partitions[place.partition as usize][place.offset as usize];
        Stamp { place, timestamp_us: EPOCH_US + i64::try_from(record.at_ms).unwrap_or(0) * 1_000 }
    }

    /// How far a reader gets that stands at `from`, with `end` as the end.
    pub(super) fn reach(&mut self, from: usize, end: usize) -> usize {
        if from < end && self.faulty() && self.percent(self.lags) { self.rng.usize(from..=end) } else { end }
    }

    /// How an attempt of an object goes: none is loaded, else whether the failure is worth another try.
    pub(super) fn work(&self, run: RunId, object: ObjectId) -> Option<bool> {
        match self.natures.get(&object) {
            None | Some(Nature::Good) => None,
            Some(Nature::Bad) => Some(false),
            Some(Nature::Stubborn) => Some(true),
            Some(Nature::Flaky(times)) => {
                (self.failures.get(&(run, object)).copied().unwrap_or(0) < *times).then_some(true)
            }
        }
    }
}

/// What runs of a run, by the log.
pub(super) struct Crowd {
    objects: Vec<PlannedObject>,
    rules: Rules,
    /// The attempt at each object that runs; 0: none does.
    running: BTreeMap<ObjectId, u32>,
    marked: BTreeSet<ObjectId>,
}

impl Crowd {
    /// Whether a limit is full. An error: one is exceeded.
    fn check(&self, event: &Event) -> Result<bool, String> {
        let is_running = |object: &&PlannedObject| self.running.get(&object.id).is_some_and(|at| *at > 0);
        let running: Vec<PlannedObject> = self.objects.iter().filter(is_running).cloned().collect();
        let classes = Classes::of(&running, &self.rules.limits);
        let mut full = false;
        for (at, pool) in (0_u32..).zip(classes.pools()) {
            let in_pool = |i: &usize| classes.all()[classes.class(*i)].pools.contains(&at);
            let count = (0..running.len()).filter(in_pool).count();
            if count > pool.limit.most as usize {
                return Err(format!("{count} run under the limit {}: {event:?}", pool.limit));
            }
            full |= count == pool.limit.most as usize;
        }
        Ok(full)
    }
}

pub(super) fn lease() -> Duration {
    Duration::from_millis(LEASE_MS)
}

/// A random graph in three stages, with shared parents and diamonds.
pub(super) fn catalogue(rng: &mut Rng) -> Vec<PlannedObject> {
    let n = rng.usize(5..=25);
    let mut objects: Vec<PlannedObject> = Vec::new();
    let cuts = [n.div_ceil(3), 2 * n / 3];
    for i in 0..n {
        let stage = Stage::ALL[cuts.iter().filter(|&&cut| i >= cut).count()];
        let id = ObjectId((stage.index() as u64 + 1) * 1_000 + i as u64);
        let wanted = if stage == Stage::Ingest { rng.usize(0..8) / 7 } else { rng.usize(1..=4) };
        let mut parents: Vec<ObjectId> = Vec::new();
        for _ in 0..wanted.min(i) {
            let parent = objects[rng.usize(0..i)].id;
            if !parents.contains(&parent) {
                parents.push(parent);
            }
        }
        let entry =
            rng.bool().then(|| format!(r#"{{"IdObjet":{id},"NomObjet":"é {i}","NomSource":"S{}"}}"#, i % 3));
        let entry = entry.and_then(|json| RawValue::from_string(json).ok()).map(Arc::from);
        let satisfied = if rng.u8(0..10) == 0 { vec![ObjectId(1)] } else { Vec::new() };
        let criticality = [Criticality::Low, Criticality::Medium, Criticality::High][rng.usize(0..3)];
        objects.push(PlannedObject {
            parents,
            satisfied,
            entry,
            ..PlannedObject::new(id, stage, criticality)
        });
    }
    objects
}

pub(super) fn nature(rng: &mut Rng, failing: u8) -> Nature {
    if rng.u8(0..100) >= failing {
        return Nature::Good;
    }
    match rng.u8(0..4) {
        0 => Nature::Bad,
        1 => Nature::Stubborn,
        _ => Nature::Flaky(rng.u32(1..=2)),
    }
}
