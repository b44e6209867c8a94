//! What the scheduler decides, case by case.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use korch::domain::attempt::Phase;
use korch::domain::board::Board;
use korch::domain::event::{
    Answer, AnswerMeta, Body, CancelRequest, Cause, Epoch, Event, Outcome, Place, PlannedObject, Request,
    RunId,
};
use korch::domain::history::History;
use korch::domain::member::{Heartbeat, Held, Member, Members, WorkerState};
use korch::domain::object::{Criticality, ObjectId, Stage};
use korch::domain::run::Stamp;
use korch::domain::scheduler::{Decision, Now, Scheduler, Settings};
use serde_json::value::RawValue;
use uuid::Uuid;

const LEASE: Duration = Duration::from_secs(10);
const RUN: RunId = run_id(1);

const fn run_id(n: u128) -> RunId {
    RunId(Uuid::from_u128(n))
}

const fn instance(n: u128) -> Uuid {
    Uuid::from_u128(1000 + n)
}

/// An orchestrator over a log of one partition, on a clock that the test turns.
struct Desk {
    history: History,
    members: Members,
    scheduler: Scheduler,
    now: Duration,
    /// Up to which end the log has been read; none: up to now.
    caught_up: Option<Duration>,
    offset: u64,
    log: Vec<Event>,
}

impl Desk {
    fn new(foreign: &[Stage]) -> Desk {
        let now = Duration::from_secs(1_000);
        let settings =
            Settings { foreign: foreign.iter().copied().collect(), offer_timeout: Duration::from_secs(300) };
        let mut desk = Desk {
            history: History::default(),
            members: Members::default(),
            scheduler: Scheduler::new(1, now, settings),
            now,
            caught_up: None,
            offset: 0,
            log: Vec::new(),
        };
        desk.reign(1, foreign);
        desk
    }

    /// A desk with a run under way.
    fn with_plan(foreign: &[Stage], retries: u32, objects: Vec<PlannedObject>) -> Desk {
        let mut desk = Desk::new(foreign);
        desk.request(RUN, 0);
        desk.plan(RUN, retries, objects);
        desk
    }

    fn reign(&mut self, epoch: Epoch, foreign: &[Stage]) {
        let settings =
            Settings { foreign: foreign.iter().copied().collect(), offer_timeout: Duration::from_secs(300) };
        self.append(None, Some(epoch), Body::OrchestratorElected);
        self.scheduler = Scheduler::new(epoch, self.now, settings);
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_microsecond(1_700_000_000_000_000 + self.now.as_micros() as i64).unwrap()
    }

    fn clock(&self) -> Now {
        Now { mono: self.now, wall: self.wall() }
    }

    fn append(&mut self, run: Option<RunId>, epoch: Option<Epoch>, body: Body) {
        self.append_event(Event { at: self.wall(), run, epoch, body });
    }

    fn append_event(&mut self, event: Event) {
        let stamp = Stamp {
            place: Place { partition: 0, offset: self.offset },
            timestamp_us: self.wall().as_microsecond(),
        };
        self.offset += 1;
        self.history.apply(&event, stamp).unwrap();
        self.log.push(event);
    }

    fn request(&mut self, run: RunId, second: i64) {
        let at = Timestamp::from_second(1_700_000_500 + second).unwrap();
        let body = Body::RunRequested(Request::default());
        self.append_event(Event { at, run: Some(run), epoch: None, body });
    }

    fn plan(&mut self, run: RunId, retries: u32, objects: Vec<PlannedObject>) {
        for event in self.scheduler.planned(self.clock(), run, 1, retries, objects) {
            self.append_event(event);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.members.polled(self.now, LEASE);
    }

    /// Time passes in steps small enough to be no gap.
    fn pass_slowly(&mut self, time: Duration) {
        for _ in 0..time.as_secs() {
            self.pass(Duration::from_secs(1));
        }
    }

    fn worker(&mut self, n: u128, slots: u32) {
        self.says(n, instance(n), slots, WorkerState::Up, &[]);
    }

    fn says(&mut self, n: u128, instance: Uuid, slots: u32, state: WorkerState, running: &[Held]) {
        let heartbeat = Heartbeat {
            worker: format!("w{n}"),
            instance,
            stages: Stage::ALL.to_vec(),
            slots,
            state,
            lease_ms: LEASE.as_millis() as u64,
            epoch: 1,
            read_to: vec![self.offset],
            running: running.to_vec(),
        };
        self.members.apply(Member::Worker(heartbeat), self.now);
    }

    fn look(&mut self) -> Decision {
        let (now, caught_up) = (self.clock(), self.caught_up.unwrap_or(self.now));
        let strangers = self.history.take_strangers();
        self.scheduler.decide(now, caught_up, &self.history, &self.members, &strangers, true)
    }

    /// Decides, appends, and says in short what was decided.
    fn decide(&mut self) -> Vec<String> {
        let events = self.look().events;
        let said = events.iter().map(told).collect();
        events.into_iter().for_each(|event| self.append_event(event));
        said
    }

    fn answer(&mut self, id: u64, attempt: u32, retryable: Option<bool>) {
        let body = answer(id, attempt, retryable);
        self.append(Some(RUN), None, body);
    }

    fn board(&self) -> &Board {
        self.history.run(RUN).unwrap().board().unwrap()
    }

    fn phase(&self, id: u64) -> Phase {
        self.board().phase(self.board().position(ObjectId(id)).unwrap())
    }
}

/// An answer: loaded where nothing is said of another try.
fn answer(id: u64, attempt: u32, retryable: Option<bool>) -> Body {
    let error = retryable.map(|_| "no".into());
    let meta = AnswerMeta { error, retryable, ..AnswerMeta::default() };
    let answer = Answer { object: ObjectId(id), attempt, meta };
    if retryable.is_some() { Body::ObjectFailed(answer) } else { Body::ObjectLoaded(answer) }
}

/// An event in short.
fn told(event: &Event) -> String {
    match &event.body {
        Body::ObjectReady(ready) => match ready.cause {
            None => format!("ready {}.{}", ready.object, ready.attempt),
            Some(cause) => format!("ready {}.{} {cause:?}", ready.object, ready.attempt),
        },
        Body::ObjectAssigned(assigned) => {
            format!("{} to {}", assigned.object, assigned.worker)
        }
        Body::ObjectSkipped(skipped) => format!("skip {} {:?}", skipped.object, skipped.because),
        Body::ObjectFailed(answer) => {
            format!("failed {}: {}", answer.object, answer.meta.error.as_deref().unwrap_or_default())
        }
        Body::ObjectLoaded(answer) => format!("loaded {}.{}", answer.object, answer.attempt),
        Body::RunFinished(finished) => {
            format!("{} {}", finished.outcome.name(), finished.reason.as_deref().unwrap_or("-"))
        }
        other => other.event_type().to_owned(),
    }
}

fn object(id: u64, parents: &[u64]) -> PlannedObject {
    PlannedObject {
        id: ObjectId(id),
        stage: Stage::of_id(ObjectId(id)).unwrap(),
        criticality: Criticality::Medium,
        parents: parents.iter().copied().map(ObjectId).collect(),
        satisfied: Vec::new(),
        entry: None,
    }
}

fn held(id: u64, attempt: u32) -> Held {
    Held { run_id: RUN, id_objet: ObjectId(id), attempt }
}

/// One object that worker 1 has.
fn one_assigned(retries: u32) -> Desk {
    let mut desk = Desk::with_plan(&[], retries, vec![object(1001, &[])]);
    desk.worker(1, 1);
    assert_eq!(desk.decide(), ["ready 1001.1", "1001 to w1"]);
    desk.says(1, instance(1), 1, WorkerState::Up, &[held(1001, 1)]);
    desk
}

#[test]
fn the_most_urgent_object_goes_first() {
    let critical = |mut object: PlannedObject, criticality| {
        object.criticality = criticality;
        object
    };
    let cases: [(Vec<PlannedObject>, &str); 4] = [
        (vec![object(1002, &[]), object(1001, &[])], "1001 to w1"),
        (vec![object(1001, &[]), critical(object(1002, &[]), Criticality::High)], "1002 to w1"),
        (vec![critical(object(1001, &[]), Criticality::Low), object(1002, &[])], "1002 to w1"),
        (vec![object(1001, &[]), object(1002, &[]), object(2001, &[1002])], "1002 to w1"),
    ];
    for (objects, first) in cases {
        let mut desk = Desk::with_plan(&[], 0, objects);
        desk.worker(1, 1);
        let assigned: Vec<String> = desk.decide().into_iter().filter(|said| said.contains(" to ")).collect();
        assert_eq!(assigned, [first]);
    }
    // What was offered before has no privilege over what is more urgent and new.
    let mut objects = vec![object(1001, &[]), object(1002, &[1003]), object(1003, &[])];
    objects[1].criticality = Criticality::High;
    let mut desk = Desk::with_plan(&[], 0, objects);
    desk.worker(1, 1);
    assert_eq!(desk.decide(), ["ready 1003.1", "ready 1001.1", "1003 to w1"]);
    desk.answer(1003, 1, None);
    desk.worker(1, 1);
    assert_eq!(desk.decide(), ["ready 1002.1", "1002 to w1"]);
}

#[test]
fn the_least_busy_worker_takes_it() {
    let objects = (1001..1007).map(|id| object(id, &[])).collect();
    let mut desk = Desk::with_plan(&[], 0, objects);
    desk.worker(1, 1);
    desk.worker(2, 3);
    desk.says(3, instance(3), 5, WorkerState::Draining, &[]);
    let assigned: Vec<String> = desk.decide().into_iter().filter(|said| said.contains(" to ")).collect();
    // Three free slots before one; nothing for one that drains, nothing beyond the slots.
    assert_eq!(assigned, ["1001 to w2", "1002 to w2", "1003 to w1", "1004 to w2"]);
    // What it holds of another run occupies a worker too.
    let other = Held { run_id: run_id(9), id_objet: ObjectId(1), attempt: 1 };
    desk.says(4, instance(4), 2, WorkerState::Up, &[other]);
    assert_eq!(desk.decide(), ["1005 to w4"]);
}

#[test]
fn a_skip_names_the_failed_ancestors_through_a_chain() {
    let mut desk = Desk::with_plan(
        &[],
        0,
        vec![
            object(1001, &[]),
            object(1002, &[]),
            object(2001, &[1001]),
            object(2002, &[1002]),
            object(3001, &[2001, 2002]),
            object(3002, &[3001]),
        ],
    );
    desk.worker(1, 5);
    desk.decide();
    desk.answer(1001, 1, Some(false));
    assert_eq!(desk.decide(), ["skip 2001 [1001]", "skip 3001 [1001]", "skip 3002 [1001]"]);
    desk.answer(1002, 1, None);
    desk.decide();
    desk.answer(2002, 1, Some(false));
    // What is skipped stays as it was skipped.
    assert_eq!(desk.decide(), ["failed -"]);
    // Both, where both have failed by then.
    let mut desk = Desk::with_plan(
        &[],
        0,
        vec![object(1001, &[]), object(1002, &[]), object(2001, &[1001, 1002]), object(3001, &[2001])],
    );
    desk.answer(1001, 1, Some(false));
    desk.answer(1002, 1, Some(false));
    assert_eq!(desk.decide(), ["skip 2001 [1001, 1002]", "skip 3001 [1001, 1002]"]);
}
