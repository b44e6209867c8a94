//! When a run will be over, and what an object's story tells.

#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use jiff::Timestamp;
use korch::domain::attempt::{Phase, Step};
use korch::domain::board::Board;
use korch::domain::estimate::{Durations, Estimate, Slots, estimate};
use korch::domain::event::{
    Answer, AnswerMeta, Assigned, Body, Counts, Event, Finished, Outcome, Place, PlanPart, PlannedObject,
    Ready, RunId, Skipped, Version,
};
use korch::domain::history::History;
use korch::domain::object::{Criticality, ObjectId, Stage};
use korch::domain::rules::{OnFailure, Rules};
use korch::domain::run::Stamp;
use uuid::Uuid;

const RUN: RunId = RunId(Uuid::from_u128(1));
const NEXT: RunId = RunId(Uuid::from_u128(2));

/// A log as it is read.
#[derive(Default)]
struct World {
    history: History,
    offset: u64,
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_000_000 + ms).unwrap()
}

impl World {
    fn planned(run: RunId, objects: &[(u64, &[u64])]) -> World {
        let mut world = World::default();
        world.plan(run, 0, objects);
        world
    }

    fn event(&mut self, run: RunId, ms: i64, body: Body) {
        self.offset += 1;
        let stamp = Stamp { place: Place { partition: 0, offset: self.offset }, timestamp_us: 0 };
        let event = Event { at: at(ms), run: Some(run), epoch: None, body };
        self.history.apply(&event, stamp).unwrap();
    }

    fn plan(&mut self, run: RunId, ms: i64, objects: &[(u64, &[u64])]) {
        let objects = objects.iter().map(|(id, parents)| PlannedObject {
            parents: parents.iter().copied().map(ObjectId).collect(),
            expected_ms: self.history.last_load(ObjectId(*id)).took_ms(),
            ..PlannedObject::new(ObjectId(*id), Stage::of_id(ObjectId(*id)).unwrap(), Criticality::default())
        });
        let objects = objects.collect();
        let rules = Rules { retries: 1, ..Rules::default() };
        self.plan_by(run, ms, rules, objects);
    }

    fn plan_by(&mut self, run: RunId, ms: i64, rules: Rules, objects: Vec<PlannedObject>) {
        let part = PlanPart { part: 0, parts: 1, partitions: 1, begins: Vec::new(), rules, objects };
        self.event(run, ms, Body::RunPlanned(part));
    }

    fn ready(&mut self, run: RunId, ms: i64, id: u64, attempt: u32) {
        let ready = Ready { object: ObjectId(id), attempt, cause: None, degraded: Vec::new(), entry: None };
        self.event(run, ms, Body::ObjectReady(ready));
    }

    fn assigned(&mut self, run: RunId, ms: i64, id: u64, attempt: u32) {
        let instance = Uuid::from_u128(9);
        let worker = "w".to_owned();
        let assigned = Assigned {
            object: ObjectId(id),
            attempt,
            worker,
            instance,
            timeout: None,
            degraded: Vec::new(),
            entry: None,
        };
        self.event(run, ms, Body::ObjectAssigned(assigned));
    }

    fn loaded(&mut self, run: RunId, ms: i64, id: u64, attempt: u32, took_ms: i64) {
        let meta = AnswerMeta {
            started_at: Some(at(ms - took_ms)),
            duration_seconds: Some(took_ms as f64 / 1000.0),
            ..AnswerMeta::default()
        };
        self.event(run, ms, Body::ObjectLoaded(Answer { object: ObjectId(id), attempt, meta }));
    }

    fn failed(&mut self, run: RunId, ms: i64, id: u64, attempt: u32) {
        let meta = AnswerMeta { retryable: Some(true), ..AnswerMeta::default() };
        self.event(run, ms, Body::ObjectFailed(Answer { object: ObjectId(id), attempt, meta }));
    }

    fn finished(&mut self, run: RunId, ms: i64) {
        let finished = Finished {
            outcome: Outcome::Succeeded,
            reason: None,
            counts: Counts::default(),
            duration_seconds: 1.0,
            problems: None,
        };
        self.event(run, ms, Body::RunFinished(finished));
    }

    fn board(&self, run: RunId) -> &Board {
        self.history.run(run).unwrap().board().unwrap()
    }

    fn estimate(&self, run: RunId, slots: u32, ms: i64) -> Estimate {
        let board = self.board(run);
        estimate(board, &Durations::of(board), [Some(slots); 3], at(ms))
    }

    #[track_caller]
    fn story(&self, id: u64, expected: &[(Phase, i64)]) {
        let board = self.board(RUN);
        let i = board.position(ObjectId(id)).unwrap();
        let story = board.attempts(i).story(board.rules().retries);
        let told: Vec<(Phase, i64)> =
            story.iter().map(|Step { phase, at, .. }| (*phase, at.as_millisecond() - 1_000_000)).collect();
        assert_eq!(told, expected);
        assert_eq!(told.last().map_or(Phase::Waiting, |last| last.0), board.phase(i));
    }
}

#[test]
fn nothing_measured_means_usual_times() {
    // Two sources, then one, then one: 0.5 + 0.6 + 0.8 s; with one slot the sources go one after the other.
    let world = World::planned(RUN, &[(1001, &[]), (1002, &[]), (2001, &[1001, 1002]), (3001, &[2001])]);
    let two = world.estimate(RUN, 2, 0);
    assert_eq!((two.remaining_ms, two.lower_bound_ms), (Some(1900), 1900));
    assert_eq!(two.critical_path.len(), 3);
    assert_eq!(world.estimate(RUN, 1, 0).remaining_ms, Some(2400));
    let nobody: Slots = [Some(1), Some(0), Some(1)];
    let board = world.board(RUN);
    let durations = Durations::of(board);
    assert_eq!(estimate(board, &durations, nobody, at(0)).remaining_ms, None, "nobody standardizes");
    // Strangers serve a stage: they may take everything at once.
    let strangers: Slots = [None, Some(1), Some(1)];
    assert_eq!(estimate(board, &durations, strangers, at(0)).remaining_ms, Some(1900));
}

#[test]
fn what_was_measured_counts_more_than_what_is_usual() {
    let objects: &[(u64, &[u64])] = &[(1001, &[]), (1002, &[]), (2001, &[1001, 1002])];
    let mut world = World::planned(RUN, objects);
    world.ready(RUN, 0, 1001, 1);
    world.loaded(RUN, 4000, 1001, 1, 4000);
    // 1002 was not measured: it takes what its stage took in this run.
    assert_eq!(world.estimate(RUN, 1, 4000).remaining_ms, Some(4000 + 600));
    world.loaded(RUN, 5000, 1002, 1, 1000);
    world.loaded(RUN, 9000, 2001, 1, 3000);
    world.finished(RUN, 9000);
    world.plan(NEXT, 10_000, objects);
    let next = world.estimate(NEXT, 1, 10_000);
    assert_eq!(next.remaining_ms, Some(4000 + 1000 + 3000), "as in the run before");
    let board = world.board(NEXT);
    let path: Vec<u64> = next.critical_path.iter().map(|&i| board.object(i).id.0).collect();
    assert_eq!((path, next.lower_bound_ms), (vec![1001, 2001], 7000));
}

#[test]
fn what_runs_has_less_to_go_and_what_is_doomed_has_nothing() {
    let mut world = World::planned(RUN, &[(1001, &[]), (1002, &[]), (3001, &[1001]), (3002, &[1002])]);
    world.ready(RUN, 0, 1001, 1);
    world.assigned(RUN, 0, 1001, 1);
    world.ready(RUN, 0, 1002, 1);
    world.assigned(RUN, 0, 1002, 1);
    assert_eq!(world.estimate(RUN, 2, 200).remaining_ms, Some(300 + 800));
    assert_eq!(world.estimate(RUN, 2, 10_000).remaining_ms, Some(50 + 800), "overdue: a tenth more");
    world.failed(RUN, 300, 1002, 1);
    world.ready(RUN, 300, 1002, 2);
    world.failed(RUN, 400, 1002, 2);
    let doomed = world.estimate(RUN, 1, 400);
    assert_eq!(doomed.remaining_ms, Some(100 + 800), "3002 never runs");
    let path: Vec<u64> = doomed.critical_path.iter().map(|&i| world.board(RUN).object(i).id.0).collect();
    assert_eq!((path, doomed.lower_bound_ms), (vec![1001, 3001], 1300), "and is on no path");
}

#[test]
fn a_story_is_told_in_the_order_of_its_times() {
    let mut world =
        World::planned(RUN, &[(1001, &[]), (1002, &[]), (1003, &[]), (3001, &[1001, 1002, 1003])]);
    world.story(1001, &[]);
    world.ready(RUN, 10, 1001, 1);
    world.assigned(RUN, 12, 1001, 1);
    world.story(1001, &[(Phase::Ready, 10), (Phase::Running, 12)]);
    // The work began later than it was assigned, and failed; the next attempt is loaded.
    world.failed(RUN, 50, 1001, 1);
    world.story(1001, &[(Phase::Ready, 10), (Phase::Running, 12), (Phase::Retrying, 50)]);
    world.ready(RUN, 55, 1001, 2);
    world.assigned(RUN, 56, 1001, 2);
    world.loaded(RUN, 90, 1001, 2, 30);
    let all = [
        (Phase::Ready, 10),
        (Phase::Running, 12),
        (Phase::Retrying, 50),
        (Phase::Ready, 55),
        (Phase::Running, 60),
        (Phase::Loaded, 90),
    ];
    world.story(1001, &all);
    // A clock that is behind makes no time run back.
    world.ready(RUN, 100, 1002, 1);
    world.assigned(RUN, 101, 1002, 1);
    world.loaded(RUN, 80, 1002, 1, 30);
    world.story(1002, &[(Phase::Ready, 100), (Phase::Running, 100), (Phase::Loaded, 100)]);
    // The first attempt's answer comes while the second is under way: it is loaded then, and nothing comes after.
    world.ready(RUN, 10, 1003, 1);
    world.assigned(RUN, 11, 1003, 1);
    world.ready(RUN, 40, 1003, 2);
    world.assigned(RUN, 41, 1003, 2);
    world.loaded(RUN, 45, 1003, 1, 34);
    let late = [
        (Phase::Ready, 10),
        (Phase::Running, 11),
        (Phase::Ready, 40),
        (Phase::Running, 41),
        (Phase::Loaded, 45),
    ];
    world.story(1003, &late);
    world.event(
        RUN,
        95,
        Body::ObjectSkipped(Skipped { object: ObjectId(3001), attempt: 1, because: vec![ObjectId(1001)] }),
    );
    world.story(3001, &[(Phase::Skipped, 95)]);
}

#[test]
fn an_estimate_of_many_objects_is_quick_enough_to_be_made_while_a_run_goes_on() {
    // No time is measured: it ends at all, for a chain and a fan that recursion would not survive.
    let chain: Vec<(u64, Vec<u64>)> =
        (0..100_000).map(|i| (3001 + i, if i == 0 { Vec::new() } else { vec![3000 + i] })).collect();
    let objects: Vec<(u64, &[u64])> = chain.iter().map(|(id, parents)| (*id, parents.as_slice())).collect();
    let world = World::planned(RUN, &objects);
    let expected = Duration::from_millis(800) * 100_000;
    assert_eq!(u128::from(world.estimate(RUN, 8, 0).remaining_ms.unwrap()), expected.as_millis());
}

/// The objects that nobody waits for, and when each will be through.
fn finals(world: &World, slots: u32, ms: i64) -> Vec<(u64, u64)> {
    let board = world.board(RUN);
    let estimate = world.estimate(RUN, slots, ms);
    estimate.finals.iter().map(|&(i, ms)| (board.object(i).id.0, ms)).collect()
}

fn object(id: u64, parents: &[u64]) -> PlannedObject {
    PlannedObject {
        parents: parents.iter().copied().map(ObjectId).collect(),
        ..PlannedObject::new(ObjectId(id), Stage::of_id(ObjectId(id)).unwrap(), Criticality::default())
    }
}

#[test]
fn each_final_object_has_an_end_unless_it_never_runs() {
    let mut world = World::planned(
        RUN,
        &[(1001, &[]), (1002, &[]), (2001, &[1001]), (3001, &[2001]), (3002, &[1002]), (3003, &[1001])],
    );
    assert_eq!(finals(&world, 2, 0), [(3002, 1300), (3003, 1300), (3001, 2100)]);
    assert_eq!(world.estimate(RUN, 2, 0).remaining_ms, Some(2100));
    for attempt in [1, 2] {
        world.ready(RUN, 0, 1002, attempt);
        world.failed(RUN, 0, 1002, attempt);
    }
    assert_eq!(finals(&world, 2, 0), [(3003, 1300), (3001, 1900)], "3002 never runs");
}

#[test]
fn an_estimate_goes_by_the_rules_of_the_run() {
    let limit = |text: &str| Rules { limits: vec![text.parse().unwrap()], ..Rules::default() };
    let planned = |rules: Rules, objects: Vec<PlannedObject>| {
        let mut world = World::default();
        world.plan_by(RUN, 0, rules, objects);
        world
    };
    let three = || vec![object(1001, &[]), object(1002, &[]), object(3001, &[1001, 1002])];
    let limited = planned(limit("stage=ingest:1"), three());
    assert_eq!(limited.estimate(RUN, 8, 0).remaining_ms, Some(500 + 500 + 800), "one source at a time");

    // A try waits for its turn: about four fifths of the backoff, less what it has waited already.
    let backoff = Duration::from_secs(10);
    let mut waiting = planned(Rules { retries: 1, backoff, ..Rules::default() }, three());
    waiting.ready(RUN, 0, 1001, 1);
    waiting.failed(RUN, 0, 1001, 1);
    let soon = waiting.estimate(RUN, 8, 0).remaining_ms.unwrap();
    assert!((6_300..=11_300).contains(&soon), "{soon}");
    assert_eq!(waiting.estimate(RUN, 8, 2_000).remaining_ms, Some(soon - 2_000));

    // What stands for a failed one lets the rest go on; where a failure stops the run nothing more starts.
    let version = Version { at: at(-1), run_id: NEXT };
    let loaded_before =
        || three().into_iter().map(|object| PlannedObject { last_good: Some(version), ..object }).collect();
    for (on_failure, expected) in
        [(OnFailure::Continue, Some(1300)), (OnFailure::Stop, Some(0)), (OnFailure::Skip, Some(500))]
    {
        let mut world = planned(Rules { on_failure, ..Rules::default() }, loaded_before());
        world.ready(RUN, 0, 1001, 1);
        world.failed(RUN, 0, 1001, 1);
        assert_eq!(world.estimate(RUN, 8, 0).remaining_ms, expected, "{on_failure}");
    }

    // What is reused takes no time.
    let mut objects = three();
    objects[0] = PlannedObject { reused: true, last_good: Some(version), ..object(1001, &[]) };
    assert_eq!(planned(Rules::default(), objects).estimate(RUN, 1, 0).remaining_ms, Some(500 + 800));
}
