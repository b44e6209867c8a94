//! What every fold of every log must keep: random plans, driven by the real scheduler over a log that stutters.
//! `KORCH_SEED=n` for one seed alone, `KORCH_SEEDS=3000` for more of them.

#![allow(clippy::unwrap_used)]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;
use korch::domain::attempt::{Attempts, Phase};
use korch::domain::board::Board;
use korch::domain::event::{
    Answer, AnswerMeta, Body, CancelRequest, Epoch, Event, Place, PlanPart, PlannedObject, Request, RunId,
    partition_of,
};
use korch::domain::history::History;
use korch::domain::member::{Heartbeat, Held, Member, Members, WorkerState};
use korch::domain::object::{Criticality, ObjectId, Stage};
use korch::domain::run::Stamp;
use korch::domain::scheduler::{Now, Scheduler, Settings};
use uuid::Uuid;

const LEASE_MS: u64 = 10_000;
const INTERLEAVINGS: usize = 10;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn every_fold_keeps_its_promises() {
    if let Some(seed) = number("KORCH_SEED") {
        let mut seen = Seen::default();
        check_seed(seed, &mut seen);
        println!("seed {seed}: {seen:?}");
        return;
    }
    let mut seen = Seen::default();
    for seed in 0..number("KORCH_SEEDS").unwrap_or(300) {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check_seed(seed, &mut seen)));
        if let Err(panic) = result {
            eprintln!("seed {seed} failed: run it alone with KORCH_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
    println!("{seen:?}");
    // Logs in which nothing goes wrong prove nothing.
    let Seen { events, elections, void, loaded, failed, skipped, cancelled, retried, lost, late_loaded } = seen;
    let all = [events, elections, void, loaded, failed, skipped, cancelled, retried, lost, late_loaded];
    assert!(all.iter().all(|&count| count > 20), "{seen:?}");
}

fn check_seed(seed: u64, seen: &mut Seen) {
    let world = World::live(seed);
    let live = Verdict::of(&world.history, &world.runs);
    let mut rng = Rng::with_seed(seed ^ 0x5eed);
    for n in 0..INTERLEAVINGS {
        let refolded = refold(&world, &mut rng);
        assert_eq!(live, refolded, "seed {seed}: interleaving {n} folds to something else");
    }
    seen.add(&world);
}

/// What went on in all logs together.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    events: usize,
    elections: usize,
    void: usize,
    loaded: usize,
    failed: usize,
    skipped: usize,
    cancelled: usize,
    retried: usize,
    lost: usize,
    late_loaded: usize,
}

impl Seen {
    fn add(&mut self, world: &World) {
        self.events += world.log.len();
        self.elections += (world.epoch - 1) as usize;
        self.void += world.naive.void;
        for id in &world.runs {
            let run = world.history.run(*id).unwrap();
            self.cancelled += usize::from(run.cancel.is_some());
            let Some(board) = run.board() else { continue };
            self.loaded += board.total(Phase::Loaded) as usize;
            self.failed += board.total(Phase::Failed) as usize;
            self.skipped += board.total(Phase::Skipped) as usize;
            for attempts in (0..board.len()).map(|i| board.attempts(i)) {
                self.retried += usize::from(attempts.all().len() > 1);
                self.lost += attempts.workers_lost();
                let answer = attempts.last().and_then(|last| last.answer.as_ref());
                let last_loaded = answer.is_some_and(|answer| answer.failure.is_none());
                self.late_loaded += usize::from(attempts.loaded().is_some() && !last_loaded);
            }
        }
    }
}

/// All that folds of one log must agree on.
#[derive(Debug, PartialEq)]
struct Verdict(Vec<(RunId, String, BTreeMap<ObjectId, (Phase, Attempts)>)>);

impl Verdict {
    fn of(history: &History, runs: &[RunId]) -> Verdict {
        let verdict = |id: &RunId| {
            let run = history.run(*id).unwrap();
            let objects = run.board().map_or_else(BTreeMap::new, |board| {
                let object = |i| (board.object(i).id, (board.phase(i), board.attempts(i).clone()));
                (0..board.len()).map(object).collect()
            });
            let end = format!("{:?} {:?} {:?} {:?}", run.request, run.cancel, run.finished, run.planned_at);
            (*id, end, objects)
        };
        Verdict(runs.iter().map(verdict).collect())
    }
}

/// Folds a world's log again: partitions in another order, and records that come again later in their partition.
fn refold(world: &World, rng: &mut Rng) -> Verdict {
    let mut partitions: Vec<Vec<&Record>> = vec![Vec::new(); world.partitions as usize];
    for record in &world.log {
        partitions[record.stamp.place.partition as usize].push(record);
    }
    for partition in &mut partitions {
        for _ in 0..partition.len() / 5 {
            let from = rng.usize(..partition.len());
            let to = rng.usize(from + 1..=partition.len());
            partition.insert(to, partition[from]);
        }
    }
    let mut history = History::default();
    let mut naive = Naive::default();
    let mut at = vec![0; partitions.len()];
    // Now a record at a time, now a whole stretch of one partition.
    loop {
        let left: Vec<usize> = (0..partitions.len()).filter(|&p| at[p] < partitions[p].len()).collect();
        let Some(&p) = rng.choice(&left) else { break };
        let stretch = if rng.bool() { 1 } else { rng.usize(1..=partitions[p].len()) };
        for record in partitions[p].iter().skip(at[p]).take(stretch) {
            history.apply(&record.event, record.stamp).ok();
            naive.apply(&record.event, record.stamp.place.partition);
            if let Some(run) = record.event.run {
                check_run(world.seed, run, &history, &naive);
            }
        }
        at[p] += stretch;
    }
    Verdict::of(&history, &world.runs)
}

/// The fold as the protocol words it, without any index: everything is worked out anew from what was read.
#[derive(Debug, Default)]
struct Naive {
    elected: BTreeMap<u32, Epoch>,
    plans: BTreeMap<RunId, BTreeMap<Epoch, BTreeMap<u32, PlanPart>>>,
    objects: BTreeMap<(RunId, ObjectId), NaiveObject>,
    outcome: BTreeMap<RunId, String>,
    void: usize,
}

#[derive(Debug, Default)]
struct NaiveObject {
    attempts: BTreeMap<u32, NaiveAttempt>,
    skipped: Option<Vec<ObjectId>>,
}

#[derive(Debug, Default)]
struct NaiveAttempt {
    assigned: Option<Uuid>,
    answer: Option<NaiveAnswer>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum NaiveAnswer {
    Loaded,
    Failed { retryable: bool },
}

impl Naive {
    fn apply(&mut self, event: &Event, partition: u32) {
        let elected = self.elected.entry(partition).or_default();
        if event.epoch.is_some_and(|epoch| epoch < *elected) {
            self.void += 1;
            return;
        }
        if matches!(event.body, Body::OrchestratorElected) {
            *elected = event.epoch.unwrap();
            return;
        }
        let Some(run) = event.run else { return };
        match &event.body {
            Body::RunPlanned(part) => {
                let plan = self.plans.entry(run).or_default().entry(event.epoch.unwrap()).or_default();
                plan.entry(part.part).or_insert_with(|| part.clone());
            }
            Body::RunFinished(finished) => {
                self.outcome.entry(run).or_insert_with(|| format!("{finished:?}"));
            }
            _ => {}
        }
        let Some((object, number)) = event.body.object() else { return };
        let object = self.objects.entry((run, object)).or_default();
        if let Body::ObjectSkipped(skipped) = &event.body {
            if !object.is_loaded() {
                object.skipped.get_or_insert_with(|| skipped.because.clone());
            }
            return;
        }
        let attempt = object.attempts.entry(number).or_default();
        match &event.body {
            Body::ObjectAssigned(assigned) => drop(attempt.assigned.get_or_insert(assigned.instance)),
            Body::ObjectLoaded(_) => drop(attempt.answer.get_or_insert(NaiveAnswer::Loaded)),
            Body::ObjectFailed(answer) => {
                let retryable = answer.meta.retryable.unwrap_or(false);
                attempt.answer.get_or_insert(NaiveAnswer::Failed { retryable });
            }
            _ => {}
        }
    }

    /// The complete plan of the highest epoch: its objects, and how often a failure is tried again.
    fn plan(&self, run: RunId) -> Option<(BTreeMap<ObjectId, &PlannedObject>, u32)> {
        let complete = |parts: &&BTreeMap<u32, PlanPart>| {
            parts.values().next().is_some_and(|part| parts.len() == part.parts as usize)
        };
        let parts = self.plans.get(&run)?.values().rev().find(complete)?;
        let objects = parts.values().flat_map(|part| &part.objects).map(|object| (object.id, object)).collect();
        Some((objects, parts.values().next()?.retries))
    }

    fn phase(&self, run: RunId, id: ObjectId, retries: u32) -> Phase {
        self.objects.get(&(run, id)).map_or(Phase::Waiting, |object| object.phase(retries))
    }
}

impl NaiveObject {
    fn is_loaded(&self) -> bool {
        self.attempts.values().any(|attempt| attempt.answer == Some(NaiveAnswer::Loaded))
    }

    fn phase(&self, retries: u32) -> Phase {
        if self.skipped.is_some() {
            return Phase::Skipped;
        }
        if self.is_loaded() {
            return Phase::Loaded;
        }
        let Some((_, last)) = self.attempts.last_key_value() else { return Phase::Waiting };
        let answers = self.attempts.values().filter(|attempt| attempt.answer.is_some()).count();
        match last {
            NaiveAttempt { answer: Some(NaiveAnswer::Failed { retryable: true }), .. }
                if answers <= retries as usize =>
            {
                Phase::Retrying
            }
            NaiveAttempt { answer: Some(_), .. } => Phase::Failed,
            NaiveAttempt { assigned: Some(_), .. } => Phase::Running,
            NaiveAttempt { .. } => Phase::Ready,
        }
    }
}

/// Compares one run, and every index of its board, with what the naive fold says of it.
fn check_run(seed: u64, id: RunId, history: &History, naive: &Naive) {
    let Some(run) = history.run(id) else { panic!("seed {seed}: the run {id} is gone") };
    let outcome = run.finished.as_ref().map(|(_, finished)| format!("{finished:?}"));
    assert_eq!(outcome.as_ref(), naive.outcome.get(&id), "seed {seed}: the outcome");
    let Some((plan, retries)) = naive.plan(id) else {
        assert!(run.board().is_none(), "seed {seed}: a board without a complete plan");
        return;
    };
    let Some(board) = run.board() else { panic!("seed {seed}: a complete plan and no board") };
    assert_eq!((board.len(), board.retries()), (plan.len(), retries), "seed {seed}");
    let phases: BTreeMap<ObjectId, Phase> =
        plan.keys().map(|&object| (object, naive.phase(id, object, retries))).collect();
    let place = |object: &ObjectId| board.position(*object).unwrap();
    for (object, &phase) in &phases {
        assert_eq!(board.phase(place(object)), phase, "seed {seed}: {object}");
        let known = naive.objects.get(&(id, *object));
        let because = known.and_then(|known| known.skipped.as_deref());
        assert_eq!(board.attempts(place(object)).because(), because, "seed {seed}: {object}");
        let numbers: Vec<u32> = board.attempts(place(object)).all().iter().map(|one| one.number).collect();
        let naive_numbers: Vec<u32> = known.into_iter().flat_map(|known| known.attempts.keys()).copied().collect();
        assert_eq!(numbers, naive_numbers, "seed {seed}: {object}");
    }
    check_indexes(seed, board, &plan, &phases);
    let mut held: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
    for object in phases.iter().filter(|(_, phase)| **phase == Phase::Running).map(|(object, _)| object) {
        let (_, last) = naive.objects[&(id, *object)].attempts.last_key_value().unwrap();
        held.entry(last.assigned.unwrap()).or_default().push(place(object));
    }
    assert_eq!(board.holders().collect::<Vec<_>>(), held.keys().copied().collect::<Vec<_>>(), "seed {seed}");
    for (instance, mut objects) in held {
        objects.sort_unstable();
        assert_eq!(board.held(instance), objects, "seed {seed}: {instance}");
        assert_eq!(board.held_count(instance), objects.len(), "seed {seed}: {instance}");
    }
}

fn check_indexes(
    seed: u64,
    board: &Board,
    plan: &BTreeMap<ObjectId, &PlannedObject>,
    phases: &BTreeMap<ObjectId, Phase>,
) {
    let all = |wanted: &dyn Fn(&PlannedObject, Phase) -> bool| {
        let mut objects: Vec<usize> = plan
            .iter()
            .filter(|(id, object)| wanted(object, phases[*id]))
            .map(|(id, _)| board.position(*id).unwrap())
            .collect();
        objects.sort_by_key(|&i| board.rank(i));
        objects
    };
    let loaded = |object: &PlannedObject| object.parents.iter().all(|id| phases[id] == Phase::Loaded);
    let lost = |object: &PlannedObject| object.parents.iter().any(|id| phases[id].dooms_children());
    let unblocked: Vec<usize> = board.unblocked().collect();
    assert_eq!(unblocked, all(&|object, phase| phase == Phase::Waiting && loaded(object)), "seed {seed}");
    let doomed: Vec<usize> = board.doomed().collect();
    assert_eq!(doomed, all(&|object, phase| phase == Phase::Waiting && lost(object)), "seed {seed}");
    let retrying: Vec<usize> = board.retrying().collect();
    assert_eq!(retrying, all(&|_, phase| phase == Phase::Retrying), "seed {seed}");
    for stage in Stage::ALL {
        let ready: Vec<usize> = board.ready(stage).collect();
        assert_eq!(ready, all(&|object, phase| phase == Phase::Ready && object.stage == stage), "seed {seed}");
        for phase in Phase::ALL {
            let count = all(&|object, its| its == phase && object.stage == stage).len() as u64;
            assert_eq!(board.count(stage, phase), count, "seed {seed}: {stage} {phase:?}");
        }
    }
    // Nothing waits without a reason that will pass.
    for (i, object) in plan.values().map(|object| (board.position(object.id).unwrap(), object)) {
        if phases[&object.id] == Phase::Waiting && !unblocked.contains(&i) {
            assert!(!loaded(object), "seed {seed}: {} waits for nothing", object.id);
        }
    }
    let is_through = phases.values().all(|phase| phase.is_final());
    assert_eq!(board.is_through(), is_through, "seed {seed}");
}

#[derive(Clone, Debug)]
struct Record {
    stamp: Stamp,
    event: Event,
}

/// A worker's process.
#[derive(Debug)]
struct Process {
    instance: Uuid,
    holds: BTreeSet<Held>,
}

/// A log, the orchestrator that decides, and workers that answer as chance will have it.
struct World {
    seed: u64,
    rng: Rng,
    partitions: u32,
    log: Vec<Record>,
    next: Vec<u64>,
    history: History,
    naive: Naive,
    members: Members,
    scheduler: Scheduler,
    epoch: Epoch,
    now: Duration,
    processes: Vec<Process>,
    /// Attempts that were given up for lost: they may be answered all the same.
    given_up: Vec<Held>,
    runs: Vec<RunId>,
    wishes: BTreeMap<RunId, Vec<PlannedObject>>,
    retries: u32,
}

fn settings() -> Settings {
    Settings { foreign: BTreeSet::new(), offer_timeout: Duration::from_secs(300) }
}
