//! What must hold of the fold for any graph, any interleaving of partitions and any repeats.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;
use korch::domain::attempt::Phase;
use korch::domain::board::Board;
use korch::domain::event::{
    Answer, AnswerMeta, Assigned, Body, Event, Outcome, Place, PlanPart, PlannedObject, Ready, Request,
    RunId, partition_of,
};
use korch::domain::history::History;
use korch::domain::member::{Heartbeat, Held, Member, Members, WorkerState};
use korch::domain::object::{Criticality, ObjectId, Stage};
use korch::domain::run::Stamp;
use korch::domain::scheduler::{Now, Scheduler, Settings};
use uuid::Uuid;

const RUN: RunId = RunId(Uuid::from_u128(1));

fn graph(rng: &mut Rng) -> Vec<PlannedObject> {
    let n = rng.usize(2..30);
    let mut objects: Vec<PlannedObject> = Vec::new();
    for i in 0..n {
        let stage = Stage::ALL[i * 3 / n];
        let wanted = if i == 0 { 0 } else { rng.usize(0..4) };
        let parents: BTreeSet<ObjectId> = (0..wanted).map(|_| objects[rng.usize(0..i)].id).collect();
        objects.push(PlannedObject {
            id: ObjectId((stage.index() as u64 + 1) * 1_000 + i as u64),
            stage,
            criticality: [Criticality::Low, Criticality::Medium, Criticality::High][rng.usize(0..3)],
            parents: parents.into_iter().collect(),
            satisfied: Vec::new(),
            entry: None,
        });
    }
    rng.shuffle(&mut objects);
    objects
}

fn at(us: i64) -> Timestamp {
    Timestamp::from_microsecond(1_790_000_000_000_000 + us).unwrap()
}

fn event(epoch: Option<u64>, us: i64, body: Body) -> Event {
    Event { at: at(us), run: Some(RUN), epoch, body }
}

/// Every index of a board against a recomputation from the attempts alone.
fn check_indexes(board: &Board) {
    let n = board.len();
    let phase = |i: usize| board.attempts(i).phase(board.retries());
    let by_rank = |which: &dyn Fn(usize) -> bool| {
        let mut found: Vec<usize> = (0..n).filter(|&i| which(i)).collect();
        found.sort_by_key(|&i| board.rank(i));
        found
    };
    let parents = |i: usize| -> Vec<usize> {
        board.object(i).parents.iter().filter_map(|parent| board.position(*parent)).collect()
    };
    let is_doomed = |i: usize| parents(i).into_iter().any(|parent| phase(parent).dooms_children());
    let is_free = |i: usize| parents(i).into_iter().all(|parent| phase(parent) == Phase::Loaded);
    for i in 0..n {
        assert_eq!(board.phase(i), phase(i));
    }
    let doomed = by_rank(&|i| phase(i) == Phase::Waiting && is_doomed(i));
    assert_eq!(board.doomed().collect::<Vec<_>>(), doomed);
    let unblocked = by_rank(&|i| phase(i) == Phase::Waiting && is_free(i));
    assert_eq!(board.unblocked().collect::<Vec<_>>(), unblocked);
    assert_eq!(board.retrying().collect::<Vec<_>>(), by_rank(&|i| phase(i) == Phase::Retrying));
    for stage in Stage::ALL {
        let ready = by_rank(&|i| phase(i) == Phase::Ready && board.object(i).stage == stage);
        assert_eq!(board.ready(stage).collect::<Vec<_>>(), ready);
        for phase in Phase::ALL {
            let count = (0..n).filter(|&i| board.phase(i) == phase && board.object(i).stage == stage).count();
            assert_eq!(board.count(stage, phase), count as u64);
        }
    }
    let mut held: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
    for i in (0..n).filter(|&i| phase(i) == Phase::Running) {
        let holder = board.attempts(i).last().unwrap().assignment.unwrap().instance;
        held.entry(holder).or_default().push(i);
    }
    assert_eq!(board.holders().collect::<Vec<_>>(), held.keys().copied().collect::<Vec<_>>());
    for (instance, objects) in held {
        assert_eq!(board.held_count(instance), objects.len());
        assert_eq!(board.held(instance), objects);
    }
    let finals = (0..n).all(|i| phase(i).is_final());
    assert_eq!(board.is_through(), finals);
}

fn digest(history: &History) -> String {
    let Some(run) = history.run(RUN) else { return "nothing".to_owned() };
    let board = run.board().map(|board| {
        (0..board.len()).map(|i| (board.object(i).id, board.phase(i), board.attempts(i))).collect::<Vec<_>>()
    });
    let finished = run.finished.as_ref().map(|(at, end)| (at, end.outcome, end.counts, &end.reason));
    let state = (&run.request, &run.cancel, finished, run.planned_at, run.truncated);
    format!("{state:?} {board:?} {:?}", history.active().map(|run| run.id))
}

/// A log of one run: the scheduler decides, workers of the simplest kind answer at random.
struct Log {
    partitions: Vec<Vec<Event>>,
    history: History,
}

impl Log {
    fn append(&mut self, event: &Event) {
        let p = partition_of(event.key().as_bytes(), self.partitions.len() as u32);
        let place = Place { partition: p, offset: self.partitions[p as usize].len() as u64 };
        let event = Event::decode(&event.encode(), place, at(0)).unwrap();
        let stamp = Stamp { place, timestamp_us: event.at.as_microsecond() };
        self.history.apply(&event, stamp).unwrap();
        self.partitions[p as usize].push(event);
        if let Some(board) = self.history.run(RUN).and_then(korch::domain::run::Run::board) {
            check_indexes(board);
        }
    }
}

fn members(slots: u32) -> Members {
    let mut members = Members::default();
    for (i, stage) in Stage::ALL.into_iter().enumerate() {
        let heartbeat = Heartbeat {
            worker: format!("w{i}"),
            instance: Uuid::from_u128(100 + i as u128),
            stages: vec![stage],
            slots,
            state: WorkerState::Up,
            lease_ms: 1_000_000,
            epoch: 1,
            read_to: Vec::new(),
            running: Vec::<Held>::new(),
        };
        members.apply(Member::Worker(heartbeat), Duration::ZERO);
    }
    members
}

/// One run from its request to its end, with the laws (a), (c) and (d) checked on the way.
fn one_run(rng: &mut Rng) -> Log {
    let mut log =
        Log { partitions: (0..rng.usize(1..=4)).map(|_| Vec::new()).collect(), history: History::default() };
    let objects = graph(rng);
    let failing = rng.u8(0..30);
    let members = members(rng.u32(1..5));
    let settings = Settings { foreign: BTreeSet::new(), offer_timeout: Duration::from_secs(300) };
    let mut scheduler = Scheduler::new(1, Duration::ZERO, settings);
    log.append(&event(None, 0, Body::RunRequested(Request::default())));
    let mut running: VecDeque<(ObjectId, u32)> = VecDeque::new();
    let mut loaded: BTreeSet<ObjectId> = BTreeSet::new();
    for tick in 1.. {
        assert!(tick < 2_000, "it never ends");
        let clocks = Now { mono: Duration::from_millis(tick), wall: at(tick as i64 * 1_000) };
        let decision = scheduler.decide(clocks, clocks.mono, &log.history, &members, &[], true);
        if decision.plan.is_some() {
            let partitions = log.partitions.len() as u32;
            for event in scheduler.planned(clocks, RUN, partitions, rng.u32(0..3), objects.clone()) {
                log.append(&event);
            }
            continue;
        }
        for event in decision.events {
            match &event.body {
                Body::ObjectReady(ready) => {
                    let object = objects.iter().find(|object| object.id == ready.object).unwrap();
                    assert!(object.parents.iter().all(|parent| loaded.contains(parent)), "too early");
                }
                Body::ObjectAssigned(assigned) => running.push_back((assigned.object, assigned.attempt)),
                _ => {}
            }
            log.append(&event);
        }
        let run = log.history.run(RUN).unwrap();
        let board = run.board().unwrap();
        for i in (0..board.len()).filter(|&i| board.phase(i) == Phase::Waiting) {
            // What waits has a reason to: after a decision, a parent that is not loaded.
            let reason = board.parents(i).any(|parent| board.phase(parent) != Phase::Loaded);
            assert!(run.finished.is_some() || reason, "{} waits for nothing", board.object(i).id);
        }
        if let Some((_, finished)) = &run.finished {
            let all = finished.counts.loaded == finished.counts.objects;
            assert_eq!(finished.outcome == Outcome::Succeeded, all);
            return log;
        }
        let goes_on = board.retrying().next().is_some() || board.total(Phase::Ready) > 0;
        assert!(!running.is_empty() || goes_on || board.is_through(), "nothing goes on");
        for _ in 0..rng.usize(0..=running.len()) {
            let i = rng.usize(0..running.len());
            let (object, attempt) = running.remove(i).unwrap();
            let failed = rng.u8(0..100) < failing;
            let meta = AnswerMeta { retryable: failed.then(|| rng.bool()), ..AnswerMeta::default() };
            let answer = Answer { object, attempt, meta };
            if !failed {
                loaded.insert(object);
            }
            let body = if failed { Body::ObjectFailed(answer) } else { Body::ObjectLoaded(answer) };
            log.append(&event(None, tick as i64 * 1_000 + 500, body));
        }
    }
    unreachable!()
}

/// Folds the log with other interleavings and with repeats, checking every index after every event.
fn refold(rng: &mut Rng, partitions: &[Vec<Event>]) -> History {
    let mut history = History::default();
    let mut next = vec![0; partitions.len()];
    loop {
        let open: Vec<usize> = (0..next.len()).filter(|&p| next[p] < partitions[p].len()).collect();
        if open.is_empty() {
            return history;
        }
        let p = open[rng.usize(0..open.len())];
        let repeat = next[p] > 0 && rng.u8(0..3) == 0;
        let offset = if repeat { rng.usize(0..next[p]) } else { next[p] };
        next[p] += usize::from(!repeat);
        let place = Place { partition: p as u32, offset: offset as u64 };
        let event = &partitions[p][offset];
        history.apply(event, Stamp { place, timestamp_us: event.at.as_microsecond() }).unwrap();
        if let Some(board) = history.run(RUN).and_then(korch::domain::run::Run::board) {
            check_indexes(board);
        }
    }
}

#[test]
fn runs_obey_their_graph_and_readers_agree() {
    for seed in 0..400 {
        let mut rng = Rng::with_seed(seed);
        let log = one_run(&mut rng);
        for _ in 0..3 {
            let other = refold(&mut rng, &log.partitions);
            assert_eq!(digest(&other), digest(&log.history), "seed {seed}");
        }
    }
}

/// Events that no sane process would write, in any order: the fold stays whole, and readers agree all the same.
#[test]
fn nonsense_keeps_the_indexes_true() {
    for seed in 0..400 {
        let mut rng = Rng::with_seed(seed);
        let objects = graph(&mut rng);
        let partitions = rng.u32(1..=4);
        let mut log: Vec<Vec<Event>> = (0..partitions).map(|_| Vec::new()).collect();
        let halves = objects.split_at(objects.len() / 2);
        for epoch in 1..=rng.u64(1..=2) {
            for (part, objects) in [(0, halves.0.to_vec()), (1, halves.1.to_vec())] {
                let part = PlanPart { part, parts: 2, partitions, retries: epoch as u32, objects };
                let event = event(Some(epoch), epoch as i64, Body::RunPlanned(part));
                log[partition_of(event.key().as_bytes(), partitions) as usize].push(event);
            }
        }
        for us in 0..rng.i64(20..150) {
            let object = objects[rng.usize(0..objects.len())].id;
            let attempt = rng.u32(1..4);
            let meta = AnswerMeta { retryable: Some(rng.bool()), ..AnswerMeta::default() };
            let body = match rng.u8(0..5) {
                0 => Body::ObjectReady(Ready { object, attempt, cause: None, entry: None }),
                1 => Body::ObjectAssigned(Assigned {
                    object,
                    attempt,
                    worker: "w".into(),
                    instance: Uuid::from_u128(rng.u128(1..4)),
                    entry: None,
                }),
                2 => Body::ObjectLoaded(Answer { object, attempt, meta }),
                3 => Body::ObjectFailed(Answer { object, attempt, meta }),
                _ => Body::ObjectSkipped(korch::domain::event::Skipped { object, because: vec![object] }),
            };
            let event = event(Some(2), us, body);
            let partition = &mut log[partition_of(event.key().as_bytes(), partitions) as usize];
            // Before, between or after the plan's parts.
            let at = if us % 2 == 0 { partition.len() } else { rng.usize(0..=partition.len()) };
            partition.insert(at, event);
        }
        let first = refold(&mut rng, &log);
        for _ in 0..3 {
            let other = refold(&mut rng, &log);
            assert_eq!(digest(&other), digest(&first), "seed {seed}");
        }
    }
}

#[test]
fn loaded_stays_loaded_and_the_first_end_counts() {
    let object = ObjectId(1_001);
    let planned = PlannedObject {
        id: object,
        stage: Stage::Ingest,
        criticality: Criticality::Medium,
        parents: Vec::new(),
        satisfied: Vec::new(),
        entry: None,
    };
    let plan = PlanPart { part: 0, parts: 1, partitions: 1, retries: 0, objects: vec![planned] };
    let answer = |attempt, retryable| Answer {
        object,
        attempt,
        meta: AnswerMeta { retryable, ..AnswerMeta::default() },
    };
    let finished = |outcome| {
        Body::RunFinished(korch::domain::event::Finished {
            outcome,
            reason: None,
            counts: Default::default(),
            duration_seconds: 1.0,
            problems: None,
        })
    };
    let assigned = |instance| {
        Body::ObjectAssigned(Assigned {
            object,
            attempt: 1,
            worker: "w".into(),
            instance: Uuid::from_u128(instance),
            entry: None,
        })
    };
    let ready = |attempt| Body::ObjectReady(Ready { object, attempt, cause: None, entry: None });
    // Each event, and where the object stands after it.
    let story = [
        (Body::RunPlanned(plan), Phase::Waiting),
        (ready(1), Phase::Ready),
        (assigned(7), Phase::Running),
        (assigned(8), Phase::Running),
        (ready(1), Phase::Running),
        (Body::ObjectFailed(answer(1, None)), Phase::Failed),
        (assigned(7), Phase::Failed),
        (Body::ObjectLoaded(answer(1, None)), Phase::Failed),
        (ready(2), Phase::Ready),
        (Body::ObjectLoaded(answer(2, None)), Phase::Loaded),
        (Body::ObjectFailed(answer(2, None)), Phase::Loaded),
        (Body::ObjectFailed(answer(3, None)), Phase::Loaded),
        (ready(4), Phase::Loaded),
        (Body::ObjectSkipped(korch::domain::event::Skipped { object, because: vec![] }), Phase::Loaded),
        (finished(Outcome::Succeeded), Phase::Loaded),
        (finished(Outcome::Failed), Phase::Loaded),
    ];
    let mut history = History::default();
    for (offset, (body, phase)) in (0..).zip(story) {
        let stamp = Stamp { place: Place { partition: 0, offset }, timestamp_us: offset as i64 };
        history.apply(&event(Some(1), offset as i64, body), stamp).unwrap();
        let board = history.run(RUN).unwrap().board().unwrap();
        assert_eq!(board.phase(0), phase, "after event {offset}");
        check_indexes(board);
    }
    let run = history.run(RUN).unwrap();
    assert_eq!(run.finished.as_ref().unwrap().1.outcome, Outcome::Succeeded);
    let first = run.board().unwrap().attempts(0).all()[0].assignment.unwrap();
    assert_eq!(first.instance, Uuid::from_u128(7));
}
