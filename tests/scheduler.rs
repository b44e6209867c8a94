//! What the scheduler decides, case by case.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use korch::domain::event::{Answer, AnswerMeta, Asked, Body, Event, Place, PlannedObject, Request, RunId};
use korch::domain::history::{History, StrangersAnswer};
use korch::domain::member::{Heartbeat, Held, Member, Members, WorkerState};
use korch::domain::object::{Criticality, ObjectId, Stage};
use korch::domain::rules::Rules;
use korch::domain::run::Stamp;
use korch::domain::scheduler::{Now, Scheduler, Settings};
use uuid::Uuid;

const LEASE_MS: u64 = 1_000;

fn run_id(n: u128) -> RunId {
    RunId(Uuid::from_u128(n))
}

fn object(id: u64, criticality: Criticality, parents: &[u64]) -> PlannedObject {
    PlannedObject {
        parents: parents.iter().map(|&id| ObjectId(id)).collect(),
        ..PlannedObject::new(ObjectId(id), Stage::of_id(ObjectId(id)).unwrap(), criticality)
    }
}

/// A leader, its log of one partition, and the workers that it hears of.
struct World {
    ms: u64,
    offset: u64,
    history: History,
    members: Members,
    scheduler: Scheduler,
    late: usize,
}

impl World {
    fn new(foreign: &[Stage]) -> World {
        World {
            ms: 0,
            offset: 0,
            history: History::default(),
            members: Members::default(),
            scheduler: Scheduler::new(1, Duration::ZERO, settings(foreign)),
            late: 0,
        }
    }

    fn mono(&self) -> Duration {
        Duration::from_millis(self.ms)
    }

    fn clocks(&self) -> Now {
        Now { mono: self.mono(), wall: wall(self.ms) }
    }

    fn append(&mut self, event: &Event) {
        let place = Place { partition: 0, offset: self.offset };
        let event = Event::decode(&event.encode(), place, wall(self.ms)).unwrap();
        self.offset += 1;
        let stamp = Stamp { place, timestamp_us: wall(self.ms).as_microsecond() };
        self.history.apply(&event, stamp).unwrap();
    }

    fn say(&mut self, run: u128, body: Body) {
        let event = Event { at: wall(self.ms), run: Some(run_id(run)), epoch: None, body };
        self.append(&event);
    }

    fn request(&mut self, run: u128) {
        self.say(run, Body::RunRequested(Request::default()));
    }

    fn plan(&mut self, run: u128, retries: u32, objects: Vec<PlannedObject>) {
        self.request(run);
        for event in self.scheduler.planned(
            self.clocks(),
            run_id(run),
            &[self.offset],
            &Rules { retries, ..Rules::default() },
            objects,
        ) {
            self.append(&event);
        }
    }

    fn answer(&mut self, object: u64, attempt: u32, failure: Option<bool>) {
        let meta = AnswerMeta { retryable: failure, ..AnswerMeta::default() };
        let answer = Answer { object: ObjectId(object), attempt, meta };
        self.say(1, if failure.is_some() { Body::ObjectFailed(answer) } else { Body::ObjectLoaded(answer) });
    }

    fn beat(&mut self, worker: &str, instance: u128, slots: u32, running: &[(u64, u32)]) {
        let running =
            running.iter().map(|&(id, attempt)| Held { run_id: run_id(1), id_objet: ObjectId(id), attempt });
        let heartbeat = Heartbeat {
            foreign: false,
            worker: worker.to_owned(),
            instance: Uuid::from_u128(instance),
            stages: Stage::ALL.to_vec(),
            slots,
            state: WorkerState::Up,
            lease_ms: LEASE_MS,
            epoch: 1,
            read_to: vec![self.offset],
            running: running.collect(),
        };
        self.members.apply(Member::Worker(heartbeat), self.mono());
    }

    /// Time passes, the members topic is read all the while.
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 100 {
            self.ms += 100;
            self.members.polled(self.mono(), Duration::from_millis(LEASE_MS));
        }
    }

    fn decide_with(&mut self, caught_up: Duration, strangers: &[StrangersAnswer]) -> Vec<String> {
        let clocks = self.clocks();
        let decision =
            self.scheduler.decide(clocks, caught_up, &self.history, &self.members, strangers, true);
        self.late += decision.late;
        let mut said: Vec<String> = decision.events.iter().map(say).collect();
        said.extend(decision.plan.map(|run| format!("plan {}", run.0.as_u128())));
        for event in &decision.events {
            self.append(event);
        }
        said
    }

    fn decide(&mut self) -> Vec<String> {
        self.decide_with(self.mono(), &[])
    }
}

fn settings(foreign: &[Stage]) -> Settings {
    Settings {
        foreign: foreign.iter().copied().collect::<BTreeSet<_>>(),
        offer_timeout: Duration::from_millis(2_000),
    }
}

fn wall(ms: u64) -> Timestamp {
    Timestamp::from_microsecond(1_790_000_000_000_000 + ms as i64 * 1_000).unwrap()
}

/// An event in a few words.
fn say(event: &Event) -> String {
    match &event.body {
        Body::ObjectReady(ready) => match ready.cause {
            None => format!("ready {}#{}", ready.object, ready.attempt),
            Some(cause) => format!("ready {}#{} {cause:?}", ready.object, ready.attempt),
        },
        Body::ObjectAssigned(assigned) => {
            format!("{}#{} to {}", assigned.object, assigned.attempt, assigned.worker)
        }
        Body::ObjectSkipped(skipped) => format!("skip {} because {:?}", skipped.object, skipped.because),
        Body::ObjectFailed(answer) => {
            format!("failed {}: {}", answer.object, answer.meta.error.as_deref().unwrap_or(""))
        }
        Body::ObjectLoaded(answer) => format!("loaded {}#{}", answer.object, answer.attempt),
        Body::RunFinished(end) => format!(
            "{} {} {}/{}/{} of {}",
            end.outcome.name(),
            end.reason.as_deref().unwrap_or("-"),
            end.counts.loaded,
            end.counts.failed,
            end.counts.skipped,
            end.counts.objects
        ),
        other => other.event_type().to_owned(),
    }
}

use Criticality::{High, Low, Medium};

#[test]
fn the_most_urgent_first_to_the_least_busy() {
    let mut world = World::new(&[]);
    // 1003 leads the longest way, but 1004 is critical.
    let objects = vec![
        object(1001, Low, &[]),
        object(1002, Medium, &[]),
        object(1003, Medium, &[]),
        object(1004, High, &[]),
        object(2001, Medium, &[1003]),
    ];
    world.plan(1, 0, objects);
    world.beat("a", 10, 1, &[]);
    world.beat("b", 11, 2, &[]);
    let decided = world.decide();
    assert_eq!(decided[..4], ["ready 1004#1", "ready 1003#1", "ready 1002#1", "ready 1001#1"]);
    assert_eq!(decided[4..], ["1004#1 to b", "1003#1 to a", "1002#1 to b"]);
    assert!(world.decide().is_empty());
    world.answer(1004, 1, None);
    assert_eq!(world.decide(), ["1001#1 to b"]);
    world.answer(1003, 1, None);
    assert_eq!(world.decide(), ["ready 2001#1", "2001#1 to a"]);
}

#[test]
fn a_failure_skips_its_descendants_and_only_these() {
    let mut world = World::new(&[]);
    let objects = vec![
        object(1001, Medium, &[]),
        object(1002, Medium, &[]),
        object(2001, Medium, &[1001]),
        object(2002, Medium, &[1002]),
        object(3001, Medium, &[2001, 2002]),
        object(3002, Medium, &[2002]),
    ];
    world.plan(1, 0, objects);
    world.beat("a", 10, 9, &[]);
    world.decide();
    world.answer(1001, 1, Some(false));
    assert_eq!(world.decide(), ["skip 2001 because [1001]", "skip 3001 because [1001]"]);
    world.answer(1002, 1, None);
    assert_eq!(world.decide(), ["ready 2002#1", "2002#1 to a"]);
    world.answer(2002, 1, None);
    world.decide();
    world.answer(3002, 1, None);
    assert_eq!(world.decide(), ["failed - 3/1/2 of 6"]);
    assert!(world.decide().is_empty());
}

#[test]
fn two_failures_are_both_named() {
    let mut world = World::new(&[]);
    world.plan(
        1,
        0,
        vec![object(1001, Medium, &[]), object(1002, Medium, &[]), object(2001, Medium, &[1001, 1002])],
    );
    world.beat("a", 10, 9, &[]);
    world.decide();
    world.answer(1001, 1, Some(false));
    world.answer(1002, 1, Some(false));
    assert_eq!(world.decide(), ["skip 2001 because [1001, 1002]"]);
}

#[test]
fn retries_are_counted_by_answers() {
    let mut world = World::new(&[]);
    world.plan(1, 1, vec![object(1001, Medium, &[])]);
    world.beat("a", 10, 1, &[]);
    world.decide();
    world.answer(1001, 1, Some(true));
    assert_eq!(world.decide(), ["ready 1001#2 Failed", "1001#2 to a"]);
    world.answer(1001, 2, Some(true));
    assert_eq!(world.decide(), ["failed - 0/1/0 of 1"]);
}

#[test]
fn a_silent_worker_is_lost_once_the_log_is_read_past_its_lease() {
    let mut world = World::new(&[]);
    world.plan(1, 0, vec![object(1001, Medium, &[])]);
    world.beat("a", 10, 1, &[]);
    assert_eq!(world.decide(), ["ready 1001#1", "1001#1 to a"]);
    world.beat("a", 10, 1, &[(1001, 1)]);
    world.pass(1_000);
    assert!(world.decide().is_empty(), "a lease is not over");
    world.pass(100);
    assert!(world.decide_with(Duration::from_millis(900), &[]).is_empty(), "its answer may be in the log");
    assert_eq!(world.decide(), ["ready 1001#2 WorkerLost"]);
    // It does not count against the retries: there are none here.
    world.beat("a", 11, 1, &[]);
    assert_eq!(world.decide(), ["1001#2 to a"]);
    world.answer(1001, 1, None);
    assert_eq!(world.decide(), ["succeeded - 1/0/0 of 1"]);
}

#[test]
fn three_lost_workers_are_enough() {
    let mut world = World::new(&[]);
    world.plan(1, 5, vec![object(1001, Medium, &[])]);
    world.beat("a", 10, 1, &[]);
    world.decide();
    for (instance, attempt) in [(11, 2), (12, 3)] {
        world.beat("a", instance, 1, &[]);
        let offer = format!("ready 1001#{attempt} WorkerLost");
        assert_eq!(world.decide(), [offer]);
        assert_eq!(world.decide(), [format!("1001#{attempt} to a")]);
    }
    world.beat("a", 13, 1, &[]);
    let error = "failed 1001: 3 workers went while they held it, the last one a: it is not tried again";
    assert_eq!(world.decide(), [error]);
    assert_eq!(world.decide(), ["failed - 0/1/0 of 1"]);
}

#[test]
fn a_loss_under_another_leader_does_not_count() {
    let mut world = World::new(&[]);
    world.plan(1, 0, vec![object(1001, Medium, &[])]);
    world.beat("a", 10, 1, &[]);
    world.decide();
    world.append(&Event { at: wall(0), run: None, epoch: Some(2), body: Body::OrchestratorElected });
    world.scheduler = Scheduler::new(2, world.mono(), settings(&[]));
    world.beat("a", 11, 1, &[]);
    assert_eq!(world.decide(), ["ready 1001#2 Restarted"]);
}

#[test]
fn what_a_worker_read_and_does_not_hold_goes_out_again() {
    let mut world = World::new(&[]);
    world.plan(1, 0, vec![object(1001, Medium, &[]), object(1002, Medium, &[])]);
    world.beat("a", 10, 2, &[]);
    world.decide();
    assert!(world.decide().is_empty(), "its last heartbeat is from before the assignment");
    world.pass(100);
    world.beat("a", 10, 2, &[(1002, 1)]);
    assert!(world.decide_with(Duration::ZERO, &[]).is_empty(), "its answer may be in the log");
    assert_eq!(world.decide(), ["ready 1001#2 NotHeld"]);
}

#[test]
fn a_gap_in_the_leaders_own_time_lets_leases_begin_anew() {
    let mut world = World::new(&[]);
    world.plan(1, 0, vec![object(1001, Medium, &[])]);
    world.beat("a", 10, 1, &[]);
    world.decide();
    world.pass(100);
    world.ms += 5_000;
    world.pass(1_000);
    assert!(world.decide().is_empty());
    world.pass(200);
    assert_eq!(world.decide(), ["ready 1001#2 WorkerLost"]);
}

#[test]
fn a_worker_never_heard_of_has_a_lease_from_when_it_was_missed() {
    let mut world = World::new(&[]);
    world.plan(1, 0, vec![object(1001, Medium, &[])]);
    world.beat("a", 10, 1, &[]);
    world.decide();
    world.members = Members::default();
    world.members.apply(
        Member::Leader(korch::domain::member::Reign {
            epoch: 1,
            instance: Uuid::from_u128(1),
            lease_ms: LEASE_MS,
            gone: false,
            drains: vec![],
        }),
        world.mono(),
    );
    world.pass(5_000);
    assert!(world.decide().is_empty());
    world.pass(1_000);
    assert!(world.decide().is_empty());
    world.pass(100);
    assert_eq!(world.decide(), ["ready 1001#2 WorkerLost"]);
}

#[test]
fn the_queue_keeps_its_order_and_a_cancelled_run_makes_room() {
    let mut world = World::new(&[]);
    world.plan(1, 0, vec![object(1001, Medium, &[])]);
    world.pass(100);
    world.request(3);
    world.pass(100);
    world.request(2);
    world.beat("a", 10, 1, &[]);
    world.decide();
    let cancel = Asked { requested_by: Some("me".into()) };
    world.say(1, Body::RunCancelRequested(cancel));
    assert_eq!(world.decide(), ["cancelled cancelled by me 0/0/0 of 1"]);
    assert_eq!(world.decide(), ["plan 3"]);
    let queue: Vec<u128> = world.history.queue().iter().map(|run| run.id.0.as_u128()).collect();
    assert_eq!(queue, [2]);
    world.say(3, Body::RunCancelRequested(Asked::default()));
    assert_eq!(world.decide(), ["cancelled - 0/0/0 of 0"]);
    assert_eq!(world.decide(), ["plan 2"]);
}

#[test]
fn a_run_cancelled_while_it_waits_for_its_turn_ends_at_once() {
    let mut world = World::new(&[]);
    world.plan(1, 0, vec![object(1001, Medium, &[])]);
    world.pass(100);
    world.request(2);
    world.pass(100);
    world.request(3);
    world.beat("a", 10, 1, &[]);
    world.say(2, Body::RunCancelRequested(Asked::default()));
    assert_eq!(world.decide(), ["ready 1001#1", "1001#1 to a", "cancelled - 0/0/0 of 0"]);
    assert_eq!(world.decide(), [""; 0]);
    world.answer(1001, 1, None);
    assert_eq!(world.decide(), ["succeeded - 1/0/0 of 1"]);
    assert_eq!(world.decide(), ["plan 3"]);
}

#[test]
fn what_a_cancelled_run_left_at_a_worker_occupies_its_slot() {
    let mut world = World::new(&[]);
    world.plan(2, 0, vec![object(1001, Medium, &[])]);
    // It still holds an object of run 1.
    world.beat("a", 10, 1, &[(1007, 1)]);
    assert_eq!(world.decide(), ["ready 1001#1"]);
    world.beat("a", 10, 1, &[]);
    assert_eq!(world.decide(), ["1001#1 to a"]);
}

#[test]
fn a_run_whose_beginning_is_gone_ends() {
    let mut world = World::new(&[]);
    world.plan(1, 0, vec![object(1001, Medium, &[])]);
    world.history.cut(0, world.offset);
    assert_eq!(world.decide(), ["failed log-truncated 0/0/0 of 1"]);
}

#[test]
fn a_run_planned_after_the_cut_is_whole_however_its_partitions_interleave() {
    let mut world = World::new(&[]);
    world.offset = 5;
    world.history.cut(0, 5);
    world.pass(1_000);
    // The load is read before the plan: it stands in another partition.
    world.answer(1001, 1, None);
    world.plan(1, 0, vec![object(1001, Medium, &[])]);
    assert_eq!(world.decide(), ["succeeded - 1/0/0 of 1"]);
}

#[test]
fn strangers_are_offered_adopted_and_counted_as_late() {
    let mut world = World::new(&[Stage::Ingest]);
    world.plan(1, 0, vec![object(1001, Medium, &[]), object(1002, Medium, &[])]);
    world.beat("a", 10, 4, &[]);
    let old = |object: u64, at: &World, offset: u64| StrangersAnswer {
        answer: Answer { object: ObjectId(object), attempt: 1, meta: AnswerMeta::default() },
        failed: false,
        stamp: Stamp { place: Place { partition: 0, offset }, timestamp_us: wall(at.ms).as_microsecond() },
    };
    let early = old(1001, &world, 0);
    assert_eq!(world.decide(), ["ready 1001#1", "ready 1002#1"], "never assigned");
    assert!(world.decide_with(world.mono(), &[early]).is_empty());
    assert_eq!(world.late, 1);
    world.pass(2_100);
    // One answer comes in the very moment in which its offer expires: the answer wins.
    let answer = old(1001, &world, 99);
    assert_eq!(
        world.decide_with(world.mono(), std::slice::from_ref(&answer)),
        ["loaded 1001#1", "ready 1002#2 OfferExpired"]
    );
    assert!(world.decide_with(world.mono(), &[answer]).is_empty());
    assert_eq!(world.late, 2);
}

#[test]
fn what_a_worker_may_still_run_fills_its_limit() {
    let mut world = World::new(&[]);
    let rules = Rules { limits: vec!["stage=ingest:1".parse().unwrap()], ..Rules::default() };
    world.request(1);
    let objects = vec![object(1001, High, &[]), object(1002, Medium, &[])];
    for event in world.scheduler.planned(world.clocks(), run_id(1), &[world.offset], &rules, objects) {
        world.append(&event);
    }
    world.beat("a", 10, 1, &[]);
    assert_eq!(world.decide(), ["ready 1001#1", "ready 1002#1", "1001#1 to a"]);
    // Its worker starts anew, another one gets it, and then the answer of the first attempt comes after all.
    world.beat("a", 11, 1, &[]);
    world.beat("b", 12, 1, &[]);
    assert_eq!(world.decide(), ["ready 1001#2 WorkerLost"]);
    assert_eq!(world.decide(), ["1001#2 to a"]);
    world.answer(1001, 1, None);
    world.beat("a", 11, 1, &[(1001, 2)]);
    assert!(world.decide().is_empty(), "the second attempt runs");
    world.beat("a", 11, 1, &[]);
    assert_eq!(world.decide(), ["1002#1 to a"]);
}

#[test]
fn a_dead_worker_fills_no_limit() {
    let mut world = World::new(&[]);
    let rules = Rules { limits: vec!["stage=ingest:1".parse().unwrap()], ..Rules::default() };
    // It held something of an earlier run when it was last heard.
    world.beat("a", 10, 1, &[(1001, 1)]);
    world.request(2);
    let objects = vec![object(1001, Medium, &[])];
    for event in world.scheduler.planned(world.clocks(), run_id(2), &[world.offset], &rules, objects) {
        world.append(&event);
    }
    world.beat("b", 11, 1, &[]);
    assert_eq!(world.decide(), ["ready 1001#1"]);
    world.pass(1_100);
    world.beat("b", 11, 1, &[]);
    assert_eq!(world.decide(), ["1001#1 to b"]);
}
