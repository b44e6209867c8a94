//! A world on a virtual clock: brokers that lose answers, processes that die, pause and come back.
//!
//! Everything follows from the seed. The roles' loops here are short copies of the real ones; what they decide with is
//! the real thing: [`Candidate`], [`Scheduler`], [`History`], [`Members`] and [`Worker`]. After the faults stop every run
//! must end, and the log must obey its laws.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::attempt::{MAX_WORKERS_LOST, Phase};
use super::audit::{Audit, Verdict};
use super::event::{
    AnswerMeta, Asked, Body, Cause, Epoch, Event, Outcome, Place, PlannedObject, Ready, Request, RunId,
    time_text,
};
use super::history::History;
use super::leader::{Candidate, Role};
use super::member::{Held, Member, Members, Mono, WorkerState};
use super::object::{Criticality, ObjectId, Stage};
use super::partition::partition_of;
use super::rules::{Rules, RulesAsked};
use super::run::Stamp;
use super::scheduler::{Now, Scheduler, Settings};
use super::worker::{Identity, Worker};

/// The lease of every process.
const LEASE_MS: u64 = 2_000;
/// How long an offer to a stranger may stay unanswered.
const OFFER_TIMEOUT_MS: u64 = 4_000;
/// So long after the last fault every run must be over.
const PATIENCE_MS: u64 = 600_000;
/// The virtual clock's zero, in microseconds since 1970.
const EPOCH_US: i64 = 1_790_000_000_000_000;
/// So many lines of the trace are kept.
const TRACE_LINES: usize = 60;

/// What a world went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Records in the log.
    pub records: usize,
    /// Decisions that were void.
    pub void: usize,
    /// Runs.
    pub runs: usize,
    /// Runs that were cancelled.
    pub cancelled: usize,
    /// Objects loaded, over all runs.
    pub loaded: usize,
    /// Objects failed, over all runs.
    pub failed: usize,
    /// Objects skipped, over all runs.
    pub skipped: usize,
    /// Attempts after the first, by cause: failed, worker lost, not held, restarted, offer expired, mended.
    pub again: [usize; 6],
    /// The highest epoch.
    pub epochs: Epoch,
    /// How long it took on the virtual clock, in milliseconds.
    pub virtual_ms: u64,
}

/// Lets the world of this seed live to its end.
///
/// # Errors
/// What went wrong, with the seed and the last lines of the trace.
pub fn run(seed: u64) -> Result<Report, String> {
    simulate(seed, false).0.map_err(|_| {
        let (result, trace) = simulate(seed, true);
        let error = result.err().unwrap_or_else(|| "it fails only without a trace".to_owned());
        // Routine signs of life only fill the page.
        let telling: Vec<String> = trace
            .into_iter()
            .filter(|line| !line.contains("members: Leader") && !line.contains("holds []"))
            .collect();
        let from = telling.len().saturating_sub(TRACE_LINES);
        format!("seed {seed}: {error}\n{}", telling[from..].join("\n"))
    })
}

/// As [`run`], with every line of the trace.
pub fn run_traced(seed: u64) -> (Result<Report, String>, Vec<String>) {
    simulate(seed, true)
}

fn simulate(seed: u64, traced: bool) -> (Result<Report, String>, Vec<String>) {
    let mut simulation = Simulation::new(seed, traced);
    let result = simulation.live().and_then(|()| simulation.judge());
    (result, simulation.world.trace.unwrap_or_default())
}

/// How the work on an object goes, whoever does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nature {
    Good,
    Bad,
    /// Every failure is worth another try.
    Stubborn,
    /// So many failures come first.
    Flaky(u32),
}

/// What is to be appended.
#[derive(Clone, Debug)]
enum Out {
    Event(Event),
    Elected(u32, Event),
    Member(Member),
    Raw(ObjectId, String),
}

struct Record {
    at_ms: u64,
    /// None: not an event.
    event: Option<Event>,
}

struct World {
    rng: Rng,
    now_ms: u64,
    trace: Option<Vec<String>>,
    partitions: Vec<Vec<Record>>,
    order: Vec<Place>,
    members: Vec<(u64, Member)>,
    elected: Vec<Epoch>,
    faults_end_ms: u64,
    /// How often an append fails, a read lags, and a heartbeat is lost, in percent.
    append_fails: u8,
    lags: u8,
    beats_lost: u8,
    retries: u32,
    objects: Vec<PlannedObject>,
    natures: BTreeMap<ObjectId, Nature>,
    foreign: BTreeSet<Stage>,
    requested: BTreeSet<RunId>,
    finished: BTreeSet<RunId>,
    /// When the first answer to an attempt came.
    answers: FxHashMap<(RunId, ObjectId, u32), u64>,
    failures: FxHashMap<(RunId, ObjectId), u32>,
    agenda: BinaryHeap<Reverse<(u64, u64, usize)>>,
    tasks: Vec<Option<Task>>,
    ticket: u64,
    again: [usize; 6],
    leaders: BTreeMap<Epoch, Uuid>,
    broken: Option<String>,
}

#[derive(Debug)]
enum Task {
    Wake(usize),
    Land(Vec<Out>),
    Fault,
    Heal,
}

impl World {
    fn percent(&mut self, percent: u8) -> bool {
        percent > 0 && self.rng.u8(0..100) < percent
    }

    fn faulty(&self) -> bool {
        self.now_ms < self.faults_end_ms
    }

    fn wall(&self, skew_us: i64) -> Timestamp {
        let us = EPOCH_US + i64::try_from(self.now_ms).unwrap_or(0) * 1_000 + skew_us;
        Timestamp::from_microsecond(us).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    fn at(&mut self, at_ms: u64, task: Task) {
        self.ticket += 1;
        self.agenda.push(Reverse((at_ms, self.ticket, self.tasks.len())));
        self.tasks.push(Some(task));
    }

    fn say(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>8} {}", self.now_ms, text()));
        }
    }

    fn uuid(&mut self) -> Uuid {
        Uuid::from_u128(self.rng.u128(..))
    }

    fn ends(&self) -> Vec<u64> {
        self.partitions.iter().map(|records| records.len() as u64).collect()
    }

    /// Appends, or fails to: then the records are in the log or not, and may come later still.
    fn append(&mut self, out: &[Out]) -> bool {
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

    fn land(&mut self, out: &[Out]) {
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
    fn watch(&mut self, place: Place, event: &Event) {
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
            Body::ObjectLoaded(answer) | Body::ObjectFailed(answer) => {
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

    fn stamp(&self, place: Place) -> Stamp {
        let record = &self.partitions[place.partition as usize][place.offset as usize];
        Stamp { place, timestamp_us: EPOCH_US + i64::try_from(record.at_ms).unwrap_or(0) * 1_000 }
    }

    /// How far a reader gets that stands at `from`, with `end` as the end.
    fn reach(&mut self, from: usize, end: usize) -> usize {
        if from < end && self.faulty() && self.percent(self.lags) { self.rng.usize(from..=end) } else { end }
    }

    /// How an attempt of an object goes: none is loaded, else whether the failure is worth another try.
    fn work(&self, run: RunId, object: ObjectId) -> Option<bool> {
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

/// A reader of both topics, and since when it has read all that was there.
struct Reading {
    positions: Vec<u64>,
    member_position: usize,
    snapshots: VecDeque<(Mono, Vec<u64>)>,
    caught_up: Mono,
    members: Members,
}

impl Reading {
    fn new(positions: Vec<u64>, member_position: usize) -> Reading {
        Reading {
            positions,
            member_position,
            snapshots: VecDeque::new(),
            caught_up: Mono::ZERO,
            members: Members::default(),
        }
    }

    fn note_ends(&mut self, now: Mono, world: &World) {
        self.snapshots.push_back((now, world.ends()));
    }

    fn is_past(&self, ends: &[u64]) -> bool {
        self.positions.iter().zip(ends).all(|(position, end)| position >= end)
    }

    fn read_members(&mut self, now: Mono, world: &mut World) {
        let end = world.members.len();
        let reach = world.reach(self.member_position, end);
        for at in self.member_position..reach {
            self.members.apply(world.members[at].1.clone(), now);
        }
        self.member_position = reach;
        if reach == end {
            self.members.polled(now, lease());
        }
    }

    /// Reads on in every partition, in turns of random length, and hands each event to `each`.
    fn read_events(&mut self, world: &mut World, mut each: impl FnMut(&Event, Stamp, &Members)) {
        let goals: Vec<u64> = (0..self.positions.len())
            .map(|p| world.reach(self.positions[p] as usize, world.partitions[p].len()) as u64)
            .collect();
        while let Some(first) = self.positions.iter().zip(&goals).position(|(at, goal)| at < goal) {
            let p = world.rng.usize(first..self.positions.len());
            if self.positions[p] >= goals[p] {
                continue;
            }
            let until = (self.positions[p] + world.rng.u64(1..8)).min(goals[p]);
            for offset in self.positions[p]..until {
                let place = Place { partition: p as u32, offset };
                if let Some(event) = &world.partitions[p][offset as usize].event {
                    each(event, world.stamp(place), &self.members);
                }
            }
            self.positions[p] = until;
        }
        while self.snapshots.front().is_some_and(|(_, ends)| self.is_past(ends)) {
            if let Some((at, _)) = self.snapshots.pop_front() {
                self.caught_up = at;
            }
        }
    }
}

fn lease() -> Duration {
    Duration::from_millis(LEASE_MS)
}

struct Orchestrator {
    /// This process's clock begins here.
    clock: u64,
    skew_us: i64,
    candidate: Candidate,
    reading: Reading,
    history: History,
    scheduler: Option<Scheduler>,
    pending: VecDeque<Vec<Out>>,
    /// Past its last own append.
    own: Vec<u64>,
    begin: Option<(Vec<u64>, usize)>,
    /// It is paused before its next append.
    stalls: bool,
    /// Which attempts it has read an answer to, and what it has read to be loaded.
    answered: FxHashSet<(RunId, ObjectId, u32)>,
    loaded: FxHashSet<(RunId, ObjectId)>,
}

impl Orchestrator {
    fn new(world: &mut World) -> Orchestrator {
        let instance = world.uuid();
        let partitions = world.partitions.len();
        Orchestrator {
            clock: world.now_ms.saturating_sub(world.rng.u64(0..3 * LEASE_MS)),
            skew_us: world.rng.i64(-3_000_000..3_000_000),
            candidate: Candidate::new(instance, lease()),
            reading: Reading::new(vec![0; partitions], 0),
            history: History::default(),
            scheduler: None,
            pending: VecDeque::new(),
            own: vec![0; partitions],
            begin: Some((world.ends(), world.members.len())),
            stalls: false,
            answered: FxHashSet::default(),
            loaded: FxHashSet::default(),
        }
    }

    /// After an append of which nobody knows what became: the real loop gives it up, and its reign with it. Now and then
    /// the same records are sent again instead, as the client below the loop does.
    fn doubt(&mut self, world: &mut World) {
        if self.pending.is_empty() || world.percent(50) {
            return;
        }
        world.say(|| format!("{} appends are given up, and the reign", self.pending.len()));
        self.pending.clear();
        self.candidate.doubt();
        self.scheduler = None;
    }

    /// Appends what waits to be appended. False: something still waits.
    fn flush(&mut self, world: &mut World) -> bool {
        while let Some(out) = self.pending.front() {
            if !world.append(out) {
                return false;
            }
            for out in out {
                let partition = match out {
                    Out::Elected(partition, _) => *partition as usize,
                    Out::Event(event) => partition_of(event.key().as_bytes(), self.own.len() as u32) as usize,
                    _ => continue,
                };
                self.own[partition] = world.partitions[partition].len() as u64;
            }
            self.pending.pop_front();
        }
        true
    }

    fn read(&mut self, now: Mono, world: &mut World) {
        self.reading.note_ends(now, world);
        self.reading.read_members(now, world);
        let (history, answered, loaded) = (&mut self.history, &mut self.answered, &mut self.loaded);
        self.reading.read_events(world, |event, stamp, _| {
            // Objects that no plan has are counted by the real loop.
            let _ = history.apply(event, stamp);
            if event.epoch.is_some_and(|epoch| epoch < history.elected(stamp.place.partition)) {
                return; // void, an adopted answer too
            }
            let (Some(run), Some((object, attempt))) = (event.run, event.body.object()) else { return };
            match event.body {
                Body::ObjectLoaded(_) if answered.insert((run, object, attempt)) => {
                    loaded.insert((run, object));
                }
                Body::ObjectFailed(_) => drop(answered.insert((run, object, attempt))),
                _ => {}
            }
        });
    }

    fn wake(&mut self, world: &mut World) {
        let now = Duration::from_millis(world.now_ms - self.clock);
        if !self.flush(world) {
            self.doubt(world);
            return;
        }
        self.read(now, world);
        if let Some((ends, members)) = &self.begin {
            if !self.reading.is_past(ends) || self.reading.member_position < *members {
                return;
            }
            self.begin = None;
        }
        let partitions = world.partitions.len() as u32;
        let acts = self.candidate.step(now, &self.reading.members, &self.history, partitions);
        if acts.takes_over {
            self.reading.members.renew(now);
        }
        self.pending.extend(acts.members.into_iter().map(|member| vec![Out::Member(member)]));
        let at = world.wall(self.skew_us);
        if let Some(epoch) = acts.elect {
            let elected = Event { at, run: None, epoch: Some(epoch), body: Body::OrchestratorElected };
            self.pending.push_back((0..partitions).map(|p| Out::Elected(p, elected.clone())).collect());
        }
        let Role::Leading { epoch, since } = self.candidate.role() else {
            self.scheduler = None;
            if !self.flush(world) {
                self.doubt(world);
            }
            return;
        };
        let instance = self.candidate.instance();
        if *world.leaders.entry(epoch).or_insert(instance) != instance {
            world.broken = Some(format!("two lead in epoch {epoch}"));
        }
        if !self.flush(world) || !self.reading.is_past(&self.own) {
            return;
        }
        let scheduler = self.scheduler.get_or_insert_with(|| {
            let settings = Settings {
                foreign: world.foreign.clone(),
                offer_timeout: Duration::from_millis(OFFER_TIMEOUT_MS),
            };
            Scheduler::new(epoch, since, settings)
        });
        let strangers = self.history.take_strangers();
        let clocks = Now { mono: now, wall: at };
        let decision = scheduler.decide(
            clocks,
            self.reading.caught_up,
            &self.history,
            &self.reading.members,
            &strangers,
            true,
        );
        let mut events = decision.events;
        if let Some(run) = decision.plan {
            let asked = self.history.run(run).and_then(|run| run.request.as_ref());
            let rules = Rules { retries: world.retries, ..Rules::default() };
            let rules = asked.map_or(rules.clone(), |(_, request)| rules.with(&request.rules));
            events = scheduler.planned(clocks, run, &self.reading.positions, &rules, world.objects.clone());
        }
        if events.is_empty() {
            return;
        }
        for event in &events {
            self.check(event, world);
        }
        self.pending.push_back(events.into_iter().map(Out::Event).collect());
        // Now and then the decision is taken and appended later: a pause may come between.
        if world.faulty() && world.percent(10) {
            self.stalls = world.percent(30);
        } else {
            self.flush(world);
        }
    }

    /// Checks a decision against what this leader has read.
    fn check(&self, event: &Event, world: &mut World) {
        let (Some(run), Some((object, attempt))) = (event.run, event.body.object()) else { return };
        let decides =
            matches!(event.body, Body::ObjectReady(_) | Body::ObjectAssigned(_) | Body::ObjectSkipped(_));
        if decides && self.loaded.contains(&(run, object)) {
            world.broken = Some(format!("decided though it has read the load of {object}: {event:?}"));
        }
        let Body::ObjectReady(Ready { cause: Some(cause), .. }) = event.body else { return };
        world.again[cause as usize] += 1;
        if !matches!(cause, Cause::WorkerLost | Cause::NotHeld | Cause::Restarted) {
            return;
        }
        let assignment = self.history.run(run).and_then(|run| {
            let board = run.board()?;
            let last = board.attempts(board.position(object)?).last()?.assignment?;
            Some((last.instance, run.worker_name(last.instance)?.clone()))
        });
        let Some((instance, name)) = assignment else { return };
        let members = &self.reading.members;
        let heard = match (members.instance(instance), members.named(&name)) {
            (Some(known), _) => known.heard,
            (None, Some(newer)) => newer.first_heard,
            (None, None) => return,
        };
        let heard_ms = self.clock + heard.as_millis() as u64;
        if world.answers.get(&(run, object, attempt - 1)).is_some_and(|&at_ms| at_ms < heard_ms) {
            world.broken =
                Some(format!("declared lost though the answer was in the log before {heard_ms}: {event:?}"));
        }
    }
}

struct WorkerProcess {
    clock: u64,
    skew_us: i64,
    worker: Worker,
    reading: Reading,
    running: Vec<(Held, u64)>,
    answers: VecDeque<(Held, Event)>,
    last_beat_ms: Option<u64>,
    beats_lost_until_ms: u64,
    left: bool,
}

impl WorkerProcess {
    fn new(name: &str, stages: &[Stage], slots: u32, world: &mut World) -> WorkerProcess {
        let identity = Identity {
            name: name.to_owned(),
            instance: world.uuid(),
            stages: stages.to_vec(),
            slots,
            lease: lease(),
        };
        WorkerProcess {
            clock: world.now_ms.saturating_sub(world.rng.u64(0..3 * LEASE_MS)),
            skew_us: world.rng.i64(-3_000_000..3_000_000),
            worker: Worker::new(identity),
            reading: Reading::new(world.ends(), world.members.len()),
            running: Vec::new(),
            answers: VecDeque::new(),
            last_beat_ms: None,
            beats_lost_until_ms: 0,
            left: false,
        }
    }

    fn beat(&mut self, state: Option<WorkerState>, world: &mut World) {
        self.last_beat_ms = Some(world.now_ms);
        if world.faulty() && (world.now_ms < self.beats_lost_until_ms || world.percent(world.beats_lost)) {
            return;
        }
        let beat = self.worker.heartbeat(state, self.reading.positions.clone(), &self.reading.members);
        // A lost heartbeat is not sent again: the next one says it all.
        world.append(&[Out::Member(Member::Worker(beat))]);
    }

    fn read(&mut self, now: Mono, world: &mut World) {
        self.reading.note_ends(now, world);
        self.reading.read_members(now, world);
        let (worker, running) = (&mut self.worker, &mut self.running);
        self.reading.read_events(world, |event, stamp, members| {
            if Worker::concerns(&event.body) {
                for ended in worker.apply(event, stamp.place, members) {
                    running.retain(|(held, _)| *held != ended);
                }
            }
        });
    }

    fn finish(&mut self, world: &mut World) {
        let now_ms = world.now_ms;
        let over: Vec<Held> =
            self.running.iter().filter(|(_, at)| *at <= now_ms).map(|(held, _)| *held).collect();
        self.running.retain(|(_, at)| *at > now_ms);
        for held in over {
            let failure = world.work(held.run_id, held.id_objet);
            let meta = AnswerMeta {
                worker: Some(self.worker.identity().name.clone()),
                error: failure.map(|_| "no luck".to_owned()),
                retryable: failure,
                ..AnswerMeta::default()
            };
            let at = world.wall(self.skew_us);
            if let Some(event) = self.worker.finish(held, failure.is_some(), meta, at) {
                self.answers.push_back((held, event));
            }
        }
        while let Some((held, event)) = self.answers.front() {
            if !world.append(&[Out::Event(event.clone())]) {
                return;
            }
            self.worker.acknowledged(*held);
            self.answers.pop_front();
        }
    }

    fn wake(&mut self, world: &mut World) {
        let now = Duration::from_millis(world.now_ms - self.clock);
        if self.last_beat_ms.is_none() {
            // The ends were noted when it was made.
            self.beat(None, world);
        }
        if world.rng.bool() {
            self.finish(world);
        }
        self.read(now, world);
        while let Some(start) = self.worker.start() {
            let took_ms = if world.rng.u8(0..20) == 0 { 3 * LEASE_MS } else { LEASE_MS / 2 };
            self.running.push((start.held, world.now_ms + world.rng.u64(0..took_ms)));
        }
        self.finish(world);
        if self.worker.may_leave(now, self.reading.caught_up, &self.reading.members) {
            self.beat(Some(WorkerState::Gone), world);
            world.say(|| format!("{} leaves", self.worker.identity().name));
            self.left = true;
        } else if self.last_beat_ms.is_none_or(|last_ms| world.now_ms - last_ms >= LEASE_MS / 5) {
            self.beat(None, world);
        }
    }
}

/// A consumer of the old wire format.
struct Stranger {
    stage: Stage,
    reading: Reading,
    due: Vec<(u64, ObjectId)>,
}

impl Stranger {
    fn new(stage: Stage, world: &World) -> Stranger {
        Stranger { stage, reading: Reading::new(world.ends(), world.members.len()), due: Vec::new() }
    }

    fn wake(&mut self, world: &mut World) {
        let mut offers = Vec::new();
        self.reading.read_events(world, |event, _, _| {
            if let Body::ObjectReady(ready) = &event.body {
                offers.push(ready.object);
            }
        });
        for object in offers {
            let serves = world.objects.iter().any(|known| known.id == object && known.stage == self.stage);
            if serves {
                let late = world.faulty() && world.percent(10);
                let took_ms = if late { 3 * OFFER_TIMEOUT_MS } else { LEASE_MS / 2 };
                self.due.push((world.now_ms + world.rng.u64(0..took_ms), object));
            }
        }
        let now_ms = world.now_ms;
        let due: Vec<ObjectId> =
            self.due.iter().filter(|(at, _)| *at <= now_ms).map(|(_, object)| *object).collect();
        self.due.retain(|(at, _)| *at > now_ms);
        for object in due {
            let failed = world.natures.get(&object).is_some_and(|nature| *nature != Nature::Good);
            let event_type = if failed { "ObjectFailed" } else { "ObjectLoaded" };
            let at = time_text(world.wall(0));
            let answer = format!(
                r#"{{"event_type":"{event_type}","id_objet":{object},"meta":{{"worker":"old"}},"event_datetime":"{}"}}"#,
                at.trim_end_matches('Z')
            );
            let mut out = vec![Out::Raw(object, answer.clone())];
            match world.rng.u8(0..8) {
                0 => out.push(Out::Raw(object, answer)),
                1 => out.push(Out::Raw(object, "rubbish".to_owned())),
                2 => out
                    .push(Out::Raw(object, r#"{"event_type":"ObjectLoaded","id_objet":"none"}"#.to_owned())),
                3 => out.push(Out::Raw(
                    object,
                    r#"{"event_type":"ObjectLoaded","id_objet":999999,"run_id":null}"#.to_owned(),
                )),
                _ => {}
            }
            // An old consumer does not look whether its answer arrived: the offer expires and comes again.
            world.append(&out);
        }
    }
}

enum Process {
    Orchestrator(Box<Orchestrator>),
    Worker(Box<WorkerProcess>),
    Stranger(Box<Stranger>),
    Client(Vec<(u64, Out)>),
}

#[derive(Clone)]
enum Kind {
    Orchestrator,
    Worker { name: String, stages: Vec<Stage>, slots: u32 },
    Stranger(Stage),
    Client,
}

/// A place where a process runs, and starts again after it died.
struct Host {
    kind: Kind,
    process: Option<Process>,
    asleep_until_ms: u64,
}

struct Simulation {
    world: World,
    hosts: Vec<Host>,
}

impl Simulation {
    fn new(seed: u64, traced: bool) -> Simulation {
        let mut rng = Rng::with_seed(seed);
        let calm = rng.u8(0..8) == 0;
        let partitions = rng.usize(1..=4);
        let objects = catalogue(&mut rng);
        let failing = if rng.bool() { 0 } else { rng.u8(0..25) };
        let natures = objects.iter().map(|object| (object.id, nature(&mut rng, failing))).collect();
        let foreign: BTreeSet<Stage> = match rng.u8(0..4) {
            0 => [Stage::ALL[rng.usize(0..3)]].into(),
            _ => BTreeSet::new(),
        };
        let mut world = World {
            now_ms: 10_000,
            trace: traced.then(Vec::new),
            partitions: (0..partitions).map(|_| Vec::new()).collect(),
            order: Vec::new(),
            members: Vec::new(),
            elected: vec![0; partitions],
            faults_end_ms: if calm { 0 } else { 10_000 + rng.u64(3_000..30_000) },
            append_fails: rng.u8(0..15),
            lags: rng.u8(0..60),
            beats_lost: rng.u8(0..15),
            retries: rng.u32(0..=2),
            objects,
            natures,
            foreign,
            requested: BTreeSet::new(),
            finished: BTreeSet::new(),
            answers: FxHashMap::default(),
            failures: FxHashMap::default(),
            agenda: BinaryHeap::new(),
            tasks: Vec::new(),
            ticket: 0,
            again: [0; 6],
            leaders: BTreeMap::new(),
            broken: None,
            rng,
        };
        let mut kinds = vec![Kind::Orchestrator; world.rng.usize(1..=3)];
        for stage in Stage::ALL {
            if world.foreign.contains(&stage) {
                kinds.push(Kind::Stranger(stage));
                continue;
            }
            for i in 0..world.rng.usize(1..=3) {
                let mut stages = vec![stage];
                let other = Stage::ALL[world.rng.usize(0..3)];
                // Now and then one that is left to strangers: nothing of it may be assigned.
                if world.rng.u8(0..4) == 0 && other != stage {
                    stages.push(other);
                }
                let slots = world.rng.u32(1..=4);
                kinds.push(Kind::Worker { name: format!("{stage}-{i}"), stages, slots });
            }
        }
        let mut simulation = Simulation { world, hosts: Vec::new() };
        for kind in kinds {
            let asleep_until_ms = simulation.world.now_ms + simulation.world.rng.u64(0..LEASE_MS);
            simulation.host(kind, None, asleep_until_ms);
        }
        let wishes = simulation.wishes();
        simulation.host(Kind::Client, Some(Process::Client(wishes)), 0);
        let world = &mut simulation.world;
        if world.faulty() {
            let at_ms = world.now_ms + world.rng.u64(0..3_000);
            world.at(at_ms, Task::Fault);
        }
        let heal_ms = world.faults_end_ms;
        world.at(heal_ms, Task::Heal);
        simulation
    }

    fn host(&mut self, kind: Kind, process: Option<Process>, asleep_until_ms: u64) {
        let at_ms = self.world.now_ms;
        self.world.at(at_ms, Task::Wake(self.hosts.len()));
        self.hosts.push(Host { kind, process, asleep_until_ms });
    }

    /// What people ask for, and when.
    fn wishes(&mut self) -> Vec<(u64, Out)> {
        let world = &mut self.world;
        let mut wishes = Vec::new();
        for _ in 0..world.rng.usize(1..=3) {
            let at_ms = world.now_ms + world.rng.u64(0..10_000);
            let run = RunId(world.uuid());
            let request = Request {
                requested_by: Some("somebody".to_owned()),
                rules: RulesAsked {
                    retries: world.rng.bool().then(|| world.rng.u32(0..=2)),
                    ..RulesAsked::default()
                },
                ..Request::default()
            };
            let unnamed = world.rng.u8(0..5) == 0;
            let wish = |run: RunId, body| Event { at: world.wall(0), run: Some(run), epoch: None, body };
            let mut asked = wish(run, Body::RunRequested(request));
            if unnamed {
                asked.run = None;
            }
            wishes.push((at_ms, Out::Event(asked)));
            if !unnamed && world.rng.u8(0..6) == 0 {
                let cancel = Asked { requested_by: Some("somebody else".to_owned()) };
                let wish = Event {
                    at: world.wall(0),
                    run: Some(run),
                    epoch: None,
                    body: Body::RunCancelRequested(cancel),
                };
                wishes.push((at_ms + 1 + world.rng.u64(0..8_000), Out::Event(wish)));
            }
        }
        wishes.sort_by_key(|(at_ms, _)| *at_ms);
        wishes
    }

    fn live(&mut self) -> Result<(), String> {
        let mut asked_for_everything = false;
        let mut stop_ms = u64::MAX;
        while let Some(Reverse((at_ms, _, task))) = self.world.agenda.pop() {
            self.world.now_ms = self.world.now_ms.max(at_ms);
            let Some(task) = self.world.tasks[task].take() else { continue };
            match task {
                Task::Wake(host) => self.wake(host),
                Task::Land(out) => {
                    self.world.say(|| format!("{} late records land", out.len()));
                    self.world.land(&out);
                }
                Task::Fault => self.fault(),
                Task::Heal => self.heal(),
            }
            if let Some(broken) = self.world.broken.take() {
                return Err(broken);
            }
            let world = &self.world;
            asked_for_everything = asked_for_everything
                || self
                    .hosts
                    .iter()
                    .any(|host| matches!(&host.process, Some(Process::Client(wishes)) if wishes.is_empty()));
            let over = asked_for_everything
                && world.requested.len() == world.finished.intersection(&world.requested).count();
            if over && stop_ms == u64::MAX {
                // What is still under way may land.
                stop_ms = world.now_ms + 3 * LEASE_MS;
            }
            if world.now_ms > stop_ms {
                return Ok(());
            }
            if world.now_ms > world.faults_end_ms.max(20_000) + PATIENCE_MS {
                let open: Vec<&RunId> = world.requested.difference(&world.finished).collect();
                return Err(format!("not over after all that time: {open:?}"));
            }
        }
        Err("the world stands still".to_owned())
    }

    fn wake(&mut self, at: usize) {
        let host = &mut self.hosts[at];
        let world = &mut self.world;
        if world.now_ms < host.asleep_until_ms {
            world.at(host.asleep_until_ms, Task::Wake(at));
            return;
        }
        let process = host.process.get_or_insert_with(|| match &host.kind {
            Kind::Orchestrator => Process::Orchestrator(Box::new(Orchestrator::new(world))),
            Kind::Worker { name, stages, slots } => {
                Process::Worker(Box::new(WorkerProcess::new(name, stages, *slots, world)))
            }
            Kind::Stranger(stage) => Process::Stranger(Box::new(Stranger::new(*stage, world))),
            Kind::Client => Process::Client(Vec::new()),
        });
        let mut nap_ms = world.rng.u64(20..150);
        match process {
            Process::Orchestrator(orchestrator) => {
                orchestrator.wake(world);
                if std::mem::take(&mut orchestrator.stalls) {
                    nap_ms = world.rng.u64(2 * LEASE_MS..5 * LEASE_MS);
                    world.say(|| format!("host {at} stalls before it appends"));
                }
            }
            Process::Worker(worker) => {
                worker.wake(world);
                if worker.left {
                    host.process = None;
                    nap_ms = world.rng.u64(0..3 * LEASE_MS);
                }
            }
            Process::Stranger(stranger) => stranger.wake(world),
            Process::Client(wishes) => {
                while let Some((at_ms, wish)) = wishes.first() {
                    if *at_ms > world.now_ms {
                        nap_ms = *at_ms - world.now_ms;
                        break;
                    }
                    // A request that names no run would be two runs if it were sent again.
                    let once = matches!(wish, Out::Event(Event { run: None, .. }));
                    if once {
                        world.land(std::slice::from_ref(wish));
                    } else if !world.append(std::slice::from_ref(wish)) {
                        break;
                    }
                    wishes.remove(0);
                }
                if wishes.is_empty() {
                    return;
                }
            }
        }
        let next_ms = world.now_ms + nap_ms;
        world.at(next_ms, Task::Wake(at));
    }

    fn fault(&mut self) {
        let world = &mut self.world;
        if !world.faulty() {
            return;
        }
        let host = world.rng.usize(0..self.hosts.len() - 1);
        let Host { kind: _, process, asleep_until_ms } = &mut self.hosts[host];
        let what = world.rng.u8(0..6);
        match (what, process.as_mut()) {
            (0 | 1, Some(_)) => {
                *process = None;
                *asleep_until_ms = world.now_ms + world.rng.u64(0..3 * LEASE_MS);
                world.say(|| format!("host {host} dies"));
            }
            (2 | 3, Some(_)) => {
                *asleep_until_ms = world.now_ms + 3 * LEASE_MS;
                world.say(|| format!("host {host} is paused"));
            }
            (4, Some(Process::Worker(worker))) => {
                worker.worker.drain();
                worker.last_beat_ms = Some(0);
                world.say(|| format!("host {host} drains"));
            }
            (4, Some(Process::Orchestrator(orchestrator))) => {
                if let Some(farewell) = orchestrator.candidate.resign() {
                    world.append(&[Out::Member(farewell)]);
                }
                *process = None;
                *asleep_until_ms = world.now_ms + world.rng.u64(0..3 * LEASE_MS);
                world.say(|| format!("host {host} resigns"));
            }
            (5, Some(Process::Worker(worker))) => {
                worker.beats_lost_until_ms = world.now_ms + 2 * LEASE_MS;
                world.say(|| format!("host {host} is not heard"));
            }
            _ => {}
        }
        let next_ms = world.now_ms + world.rng.u64(100..4_000);
        world.at(next_ms, Task::Fault);
    }

    fn heal(&mut self) {
        self.world.say(|| "the faults stop".to_owned());
    }

    /// Judges the log that the world left behind.
    fn judge(&mut self) -> Result<Report, String> {
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
            self.expect(run, &audit, &reference)?;
        }
        let seed = self.world.rng.u64(..);
        for i in 0..3 {
            let other = self.fold(Some(Rng::with_seed(seed ^ i)));
            differ(&reference, &other)?;
        }
        Ok(report)
    }

    /// Compares where a run's objects ended with what the graph and the nature of each object say.
    fn expect(&self, run: RunId, audit: &Audit, folded: &History) -> Result<(), String> {
        let world = &self.world;
        let verdicts = audit.verdicts(run);
        let board = folded.run(run).and_then(super::run::Run::board).ok_or("no board")?;
        for object in &world.objects {
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
                doomed |= verdict != Verdict::Loaded;
                may_be_doomed |= ever_failed;
            }
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
            let legal = match verdict {
                Verdict::Open => false,
                Verdict::Skipped => doomed || may_be_doomed,
                Verdict::Loaded => loads && !doomed,
                Verdict::Failed => fails && !doomed,
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
    fn fold(&self, rng: Option<Rng>) -> History {
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
        let indexes = |board: &super::board::Board| {
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

/// A random graph in three stages, with shared parents and diamonds.
fn catalogue(rng: &mut Rng) -> Vec<PlannedObject> {
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
        let entry = rng.bool().then(|| format!(r#"{{"IdObjet":{id},"NomObjet":"é {i}"}}"#));
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

fn nature(rng: &mut Rng, failing: u8) -> Nature {
    if rng.u8(0..100) >= failing {
        return Nature::Good;
    }
    match rng.u8(0..4) {
        0 => Nature::Bad,
        1 => Nature::Stubborn,
        _ => Nature::Flaky(rng.u32(1..=2)),
    }
}
