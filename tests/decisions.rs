//! What the scheduler decides, case by case.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use korch::domain::attempt::Phase;
use korch::domain::board::Board;
use korch::domain::event::{
    Answer, AnswerMeta, Asked, Body, Cause, Epoch, Event, Outcome, Place, PlannedObject, Request, RunId,
};
use korch::domain::history::History;
use korch::domain::member::{Heartbeat, Held, Member, Members, WorkerState};
use korch::domain::object::{Criticality, ObjectId, Stage};
use korch::domain::rules::Rules;
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
        for event in self.scheduler.planned(
            self.clock(),
            run,
            &[self.offset],
            &Rules { retries, ..Rules::default() },
            objects,
        ) {
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
            foreign: false,
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
        parents: parents.iter().copied().map(ObjectId).collect(),
        ..PlannedObject::new(ObjectId(id), Stage::of_id(ObjectId(id)).unwrap(), Criticality::Medium)
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

#[test]
fn a_lost_worker_means_the_next_attempt_once_the_log_was_read_past_its_end() {
    type Loss = fn(&mut Desk);
    let cases: [(&str, Loss, Duration); 3] = [
        ("silent for a lease", |desk| desk.pass_slowly(LEASE + Duration::from_secs(1)), LEASE),
        ("replaced", |desk| desk.says(1, instance(7), 1, WorkerState::Up, &[]), Duration::ZERO),
        ("gone", |desk| desk.says(1, instance(1), 1, WorkerState::Gone, &[]), Duration::ZERO),
    ];
    for (case, lose, barrier) in cases {
        let mut desk = one_assigned(0);
        let heard = desk.now;
        lose(&mut desk);
        let barrier = heard + barrier;
        desk.caught_up = Some(barrier - Duration::from_millis(1));
        assert_eq!(desk.decide(), [""; 0], "{case}: it may have answered");
        desk.caught_up = Some(barrier);
        assert_eq!(desk.decide()[0], "ready 1001.2 WorkerLost", "{case}");
        // An answer that was in the log all the same still counts.
        desk.answer(1001, 1, None);
        assert_eq!(desk.phase(1001), Phase::Loaded, "{case}");
    }
    // Alive: a lease has not passed, or it spoke again.
    let mut desk = one_assigned(0);
    desk.pass_slowly(LEASE);
    assert_eq!(desk.decide(), [""; 0]);
    desk.says(1, instance(1), 1, WorkerState::Up, &[held(1001, 1)]);
    desk.pass_slowly(LEASE);
    assert_eq!(desk.decide(), [""; 0]);
    // Given out by the reign before: nobody can say that the object took its worker with it.
    let mut desk = one_assigned(0);
    desk.reign(2, &[]);
    desk.says(1, instance(7), 1, WorkerState::Up, &[]);
    assert_eq!(desk.decide()[0], "ready 1001.2 Restarted");
    // Never heard of by this process: a lease from when its silence was first seen.
    let mut desk = one_assigned(0);
    desk.members = Members::default();
    assert_eq!(desk.decide(), [""; 0]);
    desk.pass_slowly(LEASE);
    assert_eq!(desk.decide(), [""; 0]);
    desk.pass_slowly(Duration::from_secs(1));
    assert_eq!(desk.decide(), ["ready 1001.2 WorkerLost"]);
}

#[test]
fn an_object_that_took_three_workers_with_it_fails_for_good() {
    // Losses do not count against retries, so there may be none.
    let mut desk = Desk::with_plan(&[], 0, vec![object(1001, &[]), object(2001, &[1001])]);
    desk.worker(1, 1);
    desk.decide();
    for (start, loss) in [(11, "ready 1001.2 WorkerLost"), (12, "ready 1001.3 WorkerLost")] {
        desk.pass(Duration::from_secs(1));
        desk.says(1, instance(start), 1, WorkerState::Up, &[]);
        assert_eq!(desk.decide(), [loss]);
        assert_eq!(desk.decide(), ["1001 to w1"]);
    }
    desk.says(1, instance(13), 1, WorkerState::Up, &[]);
    let said = desk.decide();
    assert_eq!(
        said,
        ["failed 1001: 3 workers went while they held it, the last one w1: it is not tried again"]
    );
    assert_eq!(desk.phase(1001), Phase::Failed);
    assert_eq!(desk.decide(), ["skip 2001 [1001]"]);
    assert_eq!(desk.decide(), ["failed -"]);
}

#[test]
fn a_worker_that_read_past_its_assignment_and_does_not_hold_it_never_will() {
    let mut desk = one_assigned(0);
    // Its heartbeat from before the assignment says nothing.
    let mut early = desk.members.instance(instance(1)).unwrap().heartbeat.clone();
    (early.running, early.read_to) = (Vec::new(), vec![desk.offset - 1]);
    desk.members.apply(Member::Worker(early.clone()), desk.now);
    assert_eq!(desk.decide(), [""; 0]);
    // One that read to it does, once the log was read past what it may have answered.
    early.read_to = vec![desk.offset];
    desk.members.apply(Member::Worker(early), desk.now);
    desk.caught_up = Some(desk.now - Duration::from_millis(1));
    assert_eq!(desk.decide(), [""; 0]);
    desk.caught_up = None;
    assert_eq!(desk.decide(), ["ready 1001.2 NotHeld"]);
    // It lives, so it may have it again, and has no part in three lost workers.
    assert_eq!(desk.decide(), ["1001 to w1"]);
    let board = desk.board();
    assert_eq!(board.attempts(0).workers_lost(), 0);
}

#[test]
fn a_gap_in_the_leaders_own_time_renews_leases() {
    let mut desk = one_assigned(0);
    desk.pass_slowly(Duration::from_secs(1));
    desk.pass(2 * LEASE);
    assert_eq!(desk.decide(), [""; 0], "the leader slept, nobody else did");
    desk.pass_slowly(LEASE);
    assert_eq!(desk.decide(), [""; 0]);
    desk.pass_slowly(Duration::from_secs(1));
    assert_eq!(desk.decide(), ["ready 1001.2 WorkerLost"]);
    // So does a takeover.
    let mut desk = one_assigned(0);
    desk.pass_slowly(2 * LEASE);
    desk.reign(2, &[]);
    assert_eq!(desk.decide(), [""; 0]);
    desk.members.renew(desk.now);
    desk.pass_slowly(LEASE);
    assert_eq!(desk.decide(), [""; 0]);
    desk.pass_slowly(Duration::from_secs(1));
    assert_eq!(desk.decide(), ["ready 1001.2 Restarted"]);
}

#[test]
fn only_what_is_worth_it_is_tried_again() {
    for (retries, retryable, attempts) in [(0, true, 1), (1, true, 2), (2, true, 3), (2, false, 1)] {
        let mut desk = Desk::with_plan(&[], retries, vec![object(1001, &[])]);
        desk.worker(1, 1);
        assert_eq!(desk.decide(), ["ready 1001.1", "1001 to w1"]);
        for attempt in 1..=attempts {
            desk.answer(1001, attempt, Some(retryable));
            // A repeat of the answer is no second failure.
            desk.answer(1001, attempt, Some(retryable));
            desk.worker(1, 1);
            if attempt < attempts {
                let again = format!("ready 1001.{} Failed", attempt + 1);
                assert_eq!(desk.decide(), [&*again, "1001 to w1"]);
            }
        }
        assert_eq!(desk.phase(1001), Phase::Failed, "{retries} {retryable}");
        assert_eq!(desk.decide(), ["failed -"]);
    }
}

#[test]
fn the_end_of_a_run() {
    // Everything is loaded.
    let mut desk = one_assigned(0);
    desk.answer(1001, 1, None);
    assert_eq!(desk.decide(), ["succeeded -"]);
    assert_eq!(desk.decide(), [""; 0]);
    // The first end counts.
    let Body::RunFinished(mut other) = desk.log.last().unwrap().body.clone() else { panic!() };
    other.outcome = Outcome::Failed;
    desk.append(Some(RUN), Some(1), Body::RunFinished(other));
    let outcome = |desk: &Desk| desk.history.run(RUN).unwrap().finished.as_ref().unwrap().1.outcome;
    assert_eq!(outcome(&desk), Outcome::Succeeded);
    // Somebody stops it, planned or not.
    let cancel = Body::RunCancelRequested(Asked { requested_by: Some("ann".into()) });
    for planned in [true, false] {
        let mut desk = if planned { one_assigned(0) } else { Desk::new(&[]) };
        desk.request(RUN, 0);
        desk.append(Some(RUN), None, cancel.clone());
        assert_eq!(desk.decide(), ["cancelled cancelled by ann"]);
        assert_eq!(outcome(&desk), Outcome::Cancelled);
    }
    // Retention took the beginning.
    let mut desk = one_assigned(0);
    desk.history.cut(0, desk.offset);
    assert_eq!(desk.decide(), ["failed log-truncated"]);
}

#[test]
fn runs_wait_in_the_order_of_their_requests() {
    let mut desk = Desk::new(&[]);
    for (run, second) in [(3, 30), (1, 20), (2, 10)] {
        desk.request(run_id(run), second);
    }
    let queue = |desk: &Desk| desk.history.queue().iter().map(|run| run.id).collect::<Vec<_>>();
    assert_eq!(desk.look().plan, Some(run_id(2)));
    assert_eq!(queue(&desk), [run_id(1), run_id(3)]);
    // One that is planned stays the active one, whoever asked before.
    desk.plan(run_id(2), 0, vec![object(1001, &[])]);
    desk.request(run_id(4), 0);
    desk.worker(1, 1);
    assert_eq!(desk.decide(), ["ready 1001.1", "1001 to w1"]);
    assert_eq!(queue(&desk), [run_id(4), run_id(1), run_id(3)]);
    desk.append(Some(run_id(2)), None, answer(1001, 1, None));
    assert_eq!(desk.decide(), ["succeeded -"]);
    assert_eq!(desk.look().plan, Some(run_id(4)));
}

#[test]
fn a_plan_in_parts_makes_the_same_board() {
    let text = |i: u64| format!("{{\"IdObjet\":{},\"note\":\"{}\"}}", 1000 + i, "x".repeat(3_000));
    let objects: Vec<PlannedObject> = (0..900)
        .map(|i| {
            let mut object = object(1000 + i, if i % 3 == 0 { &[] } else { &[1000] });
            object.entry = Some(Arc::from(RawValue::from_string(text(i)).unwrap()));
            object
        })
        .collect();
    let desk = Desk::new(&[]);
    let parts = desk.scheduler.planned(
        desk.clock(),
        RUN,
        &[desk.offset],
        &Rules { retries: 2, ..Rules::default() },
        objects.clone(),
    );
    assert!(parts.len() > 4, "{}", parts.len());
    let mut desk = Desk::new(&[]);
    desk.request(RUN, 0);
    // They may come in any order, and again.
    for event in parts.iter().rev().chain(&parts) {
        let bytes = event.encode();
        assert!(bytes.len() <= 512 * 1024, "{}", bytes.len());
        let place = Place { partition: 0, offset: 0 };
        let event = Event::decode(&bytes, place, Timestamp::UNIX_EPOCH).unwrap();
        let missing = desk.history.run(RUN).unwrap().board().is_none();
        assert_eq!(desk.look().plan.is_some(), missing);
        desk.append_event(event);
    }
    let board = desk.board();
    assert_eq!((board.len(), board.rules().retries), (900, 2));
    for (known, planned) in board.objects().iter().zip(&objects) {
        assert_eq!(serde_json::to_string(known).unwrap(), serde_json::to_string(planned).unwrap());
    }
    assert_eq!(board.unblocked().count(), 300);
}

#[test]
fn a_decision_after_a_higher_election_is_void() {
    let mut desk = Desk::with_plan(&[], 0, vec![object(1001, &[])]);
    desk.worker(1, 1);
    let decided = desk.look().events;
    assert_eq!(decided.iter().map(told).collect::<Vec<_>>(), ["ready 1001.1", "1001 to w1"]);
    desk.reign(2, &[]);
    for event in decided {
        desk.append_event(event);
    }
    assert_eq!(desk.phase(1001), Phase::Waiting);
    let cancelled = Body::RunCancelRequested(Asked::default());
    desk.append(Some(RUN), None, cancelled);
    let end = desk.look().events.remove(0);
    desk.append_event(Event { epoch: Some(1), ..end.clone() });
    assert!(desk.history.run(RUN).unwrap().finished.is_none());
    // An answer has no epoch, and is never void.
    desk.answer(1001, 1, None);
    assert_eq!(desk.phase(1001), Phase::Loaded);
    desk.append_event(end);
    assert!(desk.history.run(RUN).unwrap().finished.is_some());
    assert_eq!(desk.history.highest_epoch(), 2);
}

/// A desk whose ingests are left to strangers.
fn with_strangers(objects: Vec<PlannedObject>) -> Desk {
    let mut desk = Desk::with_plan(&[Stage::Ingest], 0, objects);
    desk.worker(1, 5);
    desk
}

#[test]
fn a_strangers_stage_is_offered_and_never_assigned() {
    let mut desk = with_strangers(vec![object(1001, &[]), object(2001, &[1001])]);
    assert_eq!(desk.decide(), ["ready 1001.1"]);
    assert_eq!(desk.decide(), [""; 0]);
    desk.append(None, None, answer(1001, 1, None));
    assert_eq!(desk.decide(), ["loaded 1001.1"]);
    let Body::ObjectLoaded(adopted) = &desk.log.last().unwrap().body else { panic!() };
    let place = Place { partition: 0, offset: desk.offset - 2 };
    assert_eq!(adopted.meta.adopted_from, Some(place));
    assert_eq!(desk.decide(), ["ready 2001.1", "2001 to w1"]);
    // Another answer to the same offer is late; so is one to an object that korch's own workers serve.
    for id in [1001, 2001, 9001] {
        desk.append(None, None, answer(id, 1, None));
    }
    let decision = desk.look();
    assert_eq!((decision.events.len(), decision.late), (0, 3));
    assert_eq!(desk.look().late, 0);
}

#[test]
fn an_answer_before_its_offer_is_late() {
    let mut desk = with_strangers(vec![object(1001, &[])]);
    desk.append(None, None, answer(1001, 1, None));
    let decision = desk.look();
    assert_eq!(decision.late, 1);
    // Even if the leader looks at it only after it has made the offer.
    desk.append(None, None, answer(1001, 1, Some(false)));
    for event in decision.events {
        desk.append_event(event);
    }
    assert_eq!(desk.look().late, 1);
    assert_eq!(desk.phase(1001), Phase::Ready);
    // In another partition the log's time decides.
    let stamp = |desk: &Desk, offset, us| Stamp {
        place: Place { partition: 1, offset },
        timestamp_us: desk.wall().as_microsecond() + us,
    };
    for (offset, us, late) in [(0, -1, 1), (1, 0, 0)] {
        let stamp = stamp(&desk, offset, us);
        let event = Event { at: desk.wall(), run: None, epoch: None, body: answer(1001, 1, None) };
        desk.history.apply(&event, stamp).unwrap();
        let decision = desk.look();
        assert_eq!((decision.late, decision.events.len()), (late, 1 - late), "{us}");
    }
    // An answer to another orchestrator is nobody's.
    let Body::ObjectLoaded(mut other) = answer(1001, 1, None) else { panic!() };
    other.meta.foreign = true;
    desk.append(None, None, Body::ObjectLoaded(other));
    let decision = desk.look();
    assert_eq!((decision.late, decision.events.len()), (0, 0));
}

#[test]
fn of_several_answers_to_one_offer_the_first_counts() {
    let mut desk = with_strangers(vec![object(1001, &[])]);
    // One to an offer of another day stands before ours, and reaches the leader with the two that follow it.
    desk.append(None, None, answer(1001, 1, Some(false)));
    let offer = desk.look();
    assert_eq!(offer.late, 1);
    desk.append(None, None, answer(1001, 1, Some(false)));
    for event in offer.events {
        desk.append_event(event);
    }
    desk.append(None, None, answer(1001, 1, None));
    desk.append(None, None, answer(1001, 1, Some(false)));
    let decision = desk.look();
    assert_eq!((decision.late, decision.events.len()), (2, 1));
    for event in decision.events {
        desk.append_event(event);
    }
    assert_eq!(desk.phase(1001), Phase::Loaded);
}

#[test]
fn an_answer_whose_adoption_is_in_doubt_is_looked_at_again() {
    let mut desk = with_strangers(vec![object(1001, &[]), object(1002, &[])]);
    desk.decide();
    desk.append(None, None, answer(1001, 1, None));
    let taken = desk.history.take_strangers();
    desk.append(None, None, answer(1002, 1, None));
    assert_eq!(taken.len(), 1);
    desk.history.put_back_strangers(taken);
    let order: Vec<u64> =
        desk.history.take_strangers().iter().map(|stranger| stranger.answer.object.0).collect();
    assert_eq!(order, [1001, 1002]);
}

#[test]
fn an_offer_that_nobody_answers_goes_out_again() {
    let mut desk = with_strangers(vec![object(1001, &[])]);
    assert_eq!(desk.decide(), ["ready 1001.1"]);
    assert_eq!(desk.decide(), [""; 0]);
    desk.pass(Duration::from_secs(300));
    assert_eq!(desk.decide(), [""; 0]);
    desk.pass(Duration::from_secs(1));
    assert_eq!(desk.decide(), ["ready 1001.2 OfferExpired"]);
    assert_eq!(desk.decide(), [""; 0]);
    // Whoever answers now answers the second.
    desk.append(None, None, answer(1001, 1, Some(true)));
    assert_eq!(desk.decide(), ["failed 1001: no"]);
    assert_eq!(desk.board().attempts(0).last().unwrap().number, 2);
    let causes: BTreeMap<u32, Option<Cause>> =
        desk.board().attempts(0).all().iter().map(|one| (one.number, one.offer.unwrap().cause)).collect();
    assert_eq!(causes, BTreeMap::from([(1, None), (2, Some(Cause::OfferExpired))]));
}
