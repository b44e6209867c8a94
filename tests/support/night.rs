//! A night on a virtual clock: the real scheduler and the real fold, workers that do as they are told, and what is left in
//! the morning. No log, no process, no fault but those that the test asks for.

#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use korch::domain::attempt::Phase;
use korch::domain::board::Board;
use korch::domain::event::{
    Answer, AnswerMeta, Asked, Body, Event, Marked, MarkedAs, Place, PlannedObject, Request, RunId,
};
use korch::domain::history::History;
use korch::domain::member::{Heartbeat, Held, Member, Members, WorkerState};
use korch::domain::object::{Criticality, ObjectId, Stage};
use korch::domain::prepare;
use korch::domain::rules::Rules;
use korch::domain::run::{Run, Stamp};
use korch::domain::scheduler::{Now, Scheduler, Settings};
use uuid::Uuid;

const LEASE_MS: u64 = 2_000;
/// The clock moves in such steps, in milliseconds.
pub const TICK_MS: u64 = 50;
/// A run that takes longer than this hangs.
const PATIENCE_MS: u64 = 100_000_000;

/// How the work on an object goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is loaded.
    Loads,
    /// It fails, and always would.
    Fails,
    /// So many attempts fail, each worth another one.
    Flaky(u32),
    /// So many workers go while they hold it.
    Kills(u32),
    /// So many workers go, then so many attempts fail.
    KillsThenFails(u32, u32),
}

/// A worker of every stage.
struct Worker {
    name: String,
    instance: Uuid,
    slots: u32,
    stages: Vec<Stage>,
    running: BTreeMap<Held, u64>,
}

/// An object of a plan.
pub fn object(id: u64, parents: &[u64]) -> PlannedObject {
    PlannedObject {
        parents: parents.iter().map(|&id| ObjectId(id)).collect(),
        ..PlannedObject::new(ObjectId(id), Stage::of_id(ObjectId(id)).unwrap(), Criticality::Medium)
    }
}

pub struct Night {
    pub ms: u64,
    offset: u64,
    pub history: History,
    members: Members,
    scheduler: Scheduler,
    workers: Vec<Worker>,
    starts: u128,
    runs: u128,
    pub objects: Vec<PlannedObject>,
    pub fates: BTreeMap<u64, Fate>,
    /// How long the work on an object takes, in milliseconds; 500 where nothing is said.
    pub takes_ms: BTreeMap<u64, u64>,
    lost: BTreeMap<(RunId, ObjectId), u32>,
    failed: BTreeMap<(RunId, ObjectId), u32>,
    /// What was decided: when, and what.
    pub said: Vec<(u64, Event)>,
}

impl Night {
    pub fn new(objects: Vec<PlannedObject>, slots: u32) -> Night {
        Night::with(objects, Stage::ALL.map(|stage| (stage, slots)).into())
    }

    /// With a worker for each of these stages and slots.
    pub fn with(objects: Vec<PlannedObject>, workers: Vec<(Stage, u32)>) -> Night {
        let settings = Settings { foreign: BTreeSet::new(), offer_timeout: Duration::from_secs(300) };
        let mut night = Night {
            ms: 0,
            offset: 0,
            history: History::default(),
            members: Members::default(),
            scheduler: Scheduler::new(1, Duration::ZERO, settings),
            workers: Vec::new(),
            starts: 1_000,
            runs: 0,
            objects,
            fates: BTreeMap::new(),
            takes_ms: BTreeMap::new(),
            lost: BTreeMap::new(),
            failed: BTreeMap::new(),
            said: Vec::new(),
        };
        for (at, (stage, slots)) in workers.into_iter().enumerate() {
            night.starts += 1;
            night.workers.push(Worker {
                name: format!("w{at}"),
                instance: Uuid::from_u128(night.starts),
                slots,
                stages: vec![stage],
                running: BTreeMap::new(),
            });
        }
        night.beat();
        night
    }

    pub fn fates(mut self, fates: &[(u64, Fate)]) -> Night {
        self.fates = fates.iter().copied().collect();
        self
    }

    pub fn wall(&self) -> Timestamp {
        Timestamp::from_microsecond(1_790_000_000_000_000 + self.ms as i64 * 1_000).unwrap()
    }

    fn append(&mut self, event: &Event) {
        let place = Place { partition: 0, offset: self.offset };
        let event = Event::decode(&event.encode(), place, self.wall()).unwrap();
        self.offset += 1;
        let stamp = Stamp { place, timestamp_us: self.wall().as_microsecond() };
        self.history.apply(&event, stamp).unwrap();
        // The worker that holds what was marked lets go of it.
        if let (Some(run), Body::ObjectMarked(marked)) = (event.run, &event.body) {
            for worker in &mut self.workers {
                worker.running.retain(|held, _| (held.run_id, held.id_objet) != (run, marked.object));
            }
        }
    }

    /// Somebody says something of a run.
    pub fn say(&mut self, run: RunId, body: Body) {
        let event = Event { at: self.wall(), run: Some(run), epoch: None, body };
        self.append(&event);
    }

    pub fn mark(&mut self, run: RunId, object: u64, state: MarkedAs) {
        let because = Some("mended by hand".to_owned());
        let requested_by = Some("ann".to_owned());
        self.say(
            run,
            Body::ObjectMarked(Marked { object: ObjectId(object), attempt: 1, state, because, requested_by }),
        );
    }

    pub fn pause(&mut self, run: RunId) {
        self.say(run, Body::RunPauseRequested(Asked::default()));
    }

    pub fn resume(&mut self, run: RunId) {
        self.say(run, Body::RunResumeRequested(Asked::default()));
    }

    /// Asks for a run.
    pub fn ask(&mut self, request: Request) -> RunId {
        self.runs += 1;
        let run = RunId(Uuid::from_u128(self.runs));
        self.say(run, Body::RunRequested(request));
        run
    }

    /// Asks for a run by these rules, and lets it run to its end.
    pub fn run(&mut self, request: Request) -> RunId {
        let run = self.ask(request);
        self.until(|night| night.history.run(run).unwrap().finished.is_some());
        run
    }

    /// Lets time pass until something is so.
    pub fn until(&mut self, is_so: impl Fn(&Night) -> bool) {
        let begun = self.ms;
        self.decide();
        while !is_so(self) {
            assert!(self.ms - begun < PATIENCE_MS, "waited in vain");
            self.tick();
        }
    }

    pub fn pass(&mut self, ms: u64) {
        let until = self.ms + ms;
        while self.ms < until {
            self.tick();
        }
    }

    fn tick(&mut self) {
        self.ms += TICK_MS;
        self.finish();
        self.beat();
        self.decide();
    }

    fn finish(&mut self) {
        for at in 0..self.workers.len() {
            let is_over = |held: &Held, until: u64| {
                until <= self.ms && {
                    let run = self.history.run(held.run_id).unwrap();
                    run.finished.is_none()
                }
            };
            let over: Vec<Held> = self.workers[at]
                .running
                .iter()
                .filter(|(held, until)| is_over(held, **until))
                .map(|(held, _)| *held)
                .collect();
            for held in over {
                if !self.workers[at].running.contains_key(&held) {
                    continue; // it went with its worker
                }
                let key = (held.run_id, held.id_objet);
                let (kills, fails) = match self.fates.get(&held.id_objet.0).copied().unwrap_or(Fate::Loads) {
                    Fate::Loads => (0, Some(0)),
                    Fate::Fails => (0, None),
                    Fate::Flaky(times) => (0, Some(times)),
                    Fate::Kills(times) => (times, Some(0)),
                    Fate::KillsThenFails(kills, times) => (kills, Some(times)),
                };
                let lost = self.lost.entry(key).or_default();
                if *lost < kills {
                    *lost += 1;
                    self.starts += 1;
                    self.workers[at].instance = Uuid::from_u128(self.starts);
                    self.workers[at].running.clear();
                    continue;
                }
                self.workers[at].running.remove(&held);
                let failed = self.failed.entry(key).or_default();
                let failure = match fails {
                    None => Some(false),
                    Some(times) => (*failed < times).then_some(true),
                };
                *failed += u32::from(failure.is_some());
                let meta = AnswerMeta {
                    worker: Some(self.workers[at].name.clone()),
                    error: failure.map(|_| "no luck".to_owned()),
                    retryable: failure,
                    duration_seconds: Some(self.takes(held.id_objet) as f64 / 1_000.0),
                    ..AnswerMeta::default()
                };
                let answer = Answer { object: held.id_objet, attempt: held.attempt, meta };
                let body =
                    if failure.is_some() { Body::ObjectFailed(answer) } else { Body::ObjectLoaded(answer) };
                self.say(held.run_id, body);
            }
            let history = &self.history;
            self.workers[at].running.retain(|held, _| history.run(held.run_id).unwrap().finished.is_none());
        }
    }

    fn takes(&self, object: ObjectId) -> u64 {
        self.takes_ms.get(&object.0).copied().unwrap_or(500)
    }

    fn beat(&mut self) {
        let mono = Duration::from_millis(self.ms);
        for worker in &self.workers {
            let heartbeat = Heartbeat {
                foreign: false,
                worker: worker.name.clone(),
                instance: worker.instance,
                stages: worker.stages.clone(),
                slots: worker.slots,
                state: WorkerState::Up,
                lease_ms: LEASE_MS,
                epoch: 1,
                read_to: vec![self.offset],
                running: worker.running.keys().copied().collect(),
            };
            self.members.apply(Member::Worker(heartbeat), mono);
        }
        self.members.polled(mono, Duration::from_millis(LEASE_MS));
    }

    /// Decides until there is nothing to decide.
    fn decide(&mut self) {
        for _ in 0..1_000 {
            let mono = Duration::from_millis(self.ms);
            let clocks = Now { mono, wall: self.wall() };
            let decision = self.scheduler.decide(clocks, mono, &self.history, &self.members, &[], true);
            let mut events = decision.events;
            if let Some(run) = decision.plan {
                events.extend(self.plan(run, clocks));
            }
            if events.is_empty() {
                return;
            }
            for event in events {
                self.append(&event);
                if let Body::ObjectAssigned(assigned) = &event.body {
                    let held = Held {
                        run_id: event.run.unwrap(),
                        id_objet: assigned.object,
                        attempt: assigned.attempt,
                    };
                    let until = self.ms + self.takes(assigned.object);
                    let worker =
                        self.workers.iter_mut().find(|worker| worker.instance == assigned.instance).unwrap();
                    worker.running.insert(held, until);
                    assert!(worker.running.len() <= worker.slots as usize, "more than its slots");
                }
                self.said.push((self.ms, event));
            }
            self.beat();
        }
        panic!("it decides and decides");
    }

    fn plan(&mut self, run: RunId, clocks: Now) -> Vec<Event> {
        let request = self.history.run(run).unwrap().request.clone().unwrap().1;
        let rules = prepare::rules(&self.history, &Rules::default(), &request);
        let objects = match request.retry_of {
            None => Ok(self.objects.clone()),
            Some(old) => prepare::again(&self.history, old, &request).unwrap(),
        };
        match objects {
            Ok(mut objects) => {
                prepare::recall(&self.history, &mut objects, &rules, request.fresh, clocks.wall);
                self.scheduler.planned(clocks, run, &[self.offset], &rules, objects)
            }
            Err(why) => {
                self.scheduler.refused(clocks, self.history.run(run).unwrap(), &why.to_string(), None)
            }
        }
    }

    pub fn board(&self, run: RunId) -> &Board {
        self.history.run(run).and_then(Run::board).unwrap()
    }

    pub fn phase(&self, run: RunId, object: u64) -> Phase {
        let Some(board) = self.history.run(run).and_then(Run::board) else { return Phase::Waiting };
        board.phase(board.position(ObjectId(object)).unwrap())
    }

    /// What became of a run: its outcome, then a line for each of its objects.
    pub fn tale(&self, run: RunId) -> String {
        let run = self.history.run(run).unwrap();
        let mut tale = String::new();
        match &run.finished {
            Some((_, end)) => {
                let reason = end.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
                writeln!(tale, "{}{reason}", end.outcome.name()).unwrap();
            }
            None => tale.push_str("under way\n"),
        }
        for (i, object) in run.board().into_iter().flat_map(|board| board.objects().iter().enumerate()) {
            let board = run.board().unwrap();
            let attempts = board.attempts(i);
            write!(tale, "{} {}", object.id, board.phase(i).name()).unwrap();
            if attempts.all().len() > 1 {
                write!(tale, " at attempt {}", attempts.last().unwrap().number).unwrap();
            }
            if board.phase(i) == Phase::Skipped {
                write!(tale, " because of {}", list(attempts.because().unwrap())).unwrap();
            }
            if !attempts.degraded().is_empty() {
                write!(tale, " degraded by {}", list(attempts.degraded())).unwrap();
            }
            if attempts.reused().is_some() {
                tale.push_str(" reused");
            }
            if let Some(mark) = attempts.marked() {
                write!(tale, " marked {} by {}", mark.state.name(), mark.requested_by.as_deref().unwrap())
                    .unwrap();
            }
            tale.push('\n');
        }
        tale
    }

    /// When attempts at an object were assigned in a run.
    pub fn assigned(&self, run: RunId, object: u64) -> Vec<u64> {
        let is_it = |event: &Event| {
            event.run == Some(run)
                && matches!(&event.body, Body::ObjectAssigned(assigned) if assigned.object.0 == object)
        };
        self.said.iter().filter(|(_, event)| is_it(event)).map(|(at, _)| *at).collect()
    }
}

fn list(ids: &[ObjectId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
