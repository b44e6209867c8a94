//! What every fold of every log must keep: random plans, driven by the real scheduler over a log that stutters.
//! `KORCH_SEED=n` for one seed alone, `KORCH_SEEDS=3000` for more of them.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::type_complexity, clippy::needless_pass_by_value)]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;
use korch::domain::attempt::{Attempts, Phase};
use korch::domain::board::Board;
use korch::domain::event::{
    Answer, AnswerMeta, Asked, Body, Epoch, Event, Outcome, Place, PlanPart, PlannedObject, Request, RunId,
};
use korch::domain::history::History;
use korch::domain::member::{Heartbeat, Held, Member, Members, WorkerState};
use korch::domain::object::{Criticality, ObjectId, Stage};
use korch::domain::partition::partition_of;
use korch::domain::rules::Rules;
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
    let Seen { events, elections, void, loaded, failed, skipped, cancelled, retried, lost, late_loaded } =
        seen;
    let all = [events, elections, void, loaded, failed, skipped, cancelled, retried, lost, late_loaded];
    assert!(all.iter().all(|&count| count > 20), "{seen:?}");
}

fn check_seed(seed: u64, seen: &mut Seen) {
    let world = World::live(seed);
    let live = Verdict::of(&world.history, &world.runs);
    world.runs.iter().filter_map(|run| world.history.run(*run)?.board()).for_each(|board| {
        check_ranks(seed, board);
        check_stories(seed, board);
    });
    let mut rng = Rng::with_seed(seed ^ 0x5eed);
    for n in 0..INTERLEAVINGS {
        let refolded = refold(&world, &mut rng);
        assert_eq!(live, refolded, "seed {seed}: interleaving {n} folds to something else");
    }
    seen.add(&world);
}

/// What is told of an object ends where it stands, and its times never go back.
fn check_stories(seed: u64, board: &Board) {
    for i in 0..board.len() {
        let story = board.attempts(i).story(board.rules().retries);
        let last = story.last().map_or(Phase::Waiting, |last| last.phase);
        assert_eq!(last, board.phase(i), "seed {seed}: {:?} tells {story:?}", board.attempts(i));
        assert!(story.is_sorted_by_key(|step| step.at), "seed {seed}: {story:?}");
        assert!(story.iter().skip(1).all(|step| step.phase != Phase::Waiting), "seed {seed}: {story:?}");
    }
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
    /// The attempt that was not to be, and why.
    skipped: Option<(u32, Vec<ObjectId>)>,
}

#[derive(Debug, Default)]
struct NaiveAttempt {
    offered: bool,
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
            let offered = object.attempts.iter().any(|(at, one)| one.offered && *at >= skipped.attempt);
            if !object.is_loaded() && !offered {
                object.skipped.get_or_insert_with(|| (skipped.attempt, skipped.because.clone()));
            }
            return;
        }
        let attempt = object.attempts.entry(number).or_default();
        match &event.body {
            Body::ObjectReady(_) => {
                attempt.offered = true;
                object.skipped = object.skipped.take().filter(|(at, _)| *at >= number);
            }
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
        let objects =
            parts.values().flat_map(|part| &part.objects).map(|object| (object.id, object)).collect();
        Some((objects, parts.values().next()?.rules.retries))
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
    let Some(run) = history.run(id) else {
        let is_known = naive.plan(id).is_some() || naive.outcome.contains_key(&id);
        assert!(!is_known, "seed {seed}: the run {id} is gone");
        return;
    };
    let outcome = run.finished.as_ref().map(|(_, finished)| format!("{finished:?}"));
    assert_eq!(outcome.as_ref(), naive.outcome.get(&id), "seed {seed}: the outcome");
    let Some((plan, retries)) = naive.plan(id) else {
        assert!(run.board().is_none(), "seed {seed}: a board without a complete plan");
        return;
    };
    let Some(board) = run.board() else { panic!("seed {seed}: a complete plan and no board") };
    assert_eq!((board.len(), board.rules().retries), (plan.len(), retries), "seed {seed}");
    let phases: BTreeMap<ObjectId, Phase> =
        plan.keys().map(|&object| (object, naive.phase(id, object, retries))).collect();
    let place = |object: &ObjectId| board.position(*object).unwrap();
    for (object, &phase) in &phases {
        assert_eq!(board.phase(place(object)), phase, "seed {seed}: {object}");
        let known = naive.objects.get(&(id, *object));
        let because = known.and_then(|known| Some(&*known.skipped.as_ref()?.1));
        assert_eq!(board.attempts(place(object)).because(), because, "seed {seed}: {object}");
        let numbers: Vec<u32> = board.attempts(place(object)).all().iter().map(|one| one.number).collect();
        let naive_numbers: Vec<u32> =
            known.into_iter().flat_map(|known| known.attempts.keys()).copied().collect();
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
        let classes = board.classes().all().iter().position(|class| class.stage == stage);
        let ready: Vec<usize> = classes.into_iter().flat_map(|class| board.ready(class)).collect();
        assert_eq!(
            ready,
            all(&|object, phase| phase == Phase::Ready && object.stage == stage),
            "seed {seed}"
        );
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
    let revivable: Vec<usize> = board.revivable().collect();
    assert_eq!(revivable, all(&|object, phase| phase == Phase::Skipped && loaded(object)), "seed {seed}");
    let is_through = phases.values().all(|phase| phase.is_final()) && revivable.is_empty();
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

impl World {
    /// A world that lives until every run of it is over.
    fn live(seed: u64) -> World {
        let mut rng = Rng::with_seed(seed);
        let partitions = rng.u32(1..=4);
        let epoch = 1;
        let mut world = World {
            seed,
            partitions,
            log: Vec::new(),
            next: vec![0; partitions as usize],
            history: History::default(),
            naive: Naive::default(),
            members: Members::default(),
            scheduler: Scheduler::new(epoch, Duration::ZERO, settings()),
            epoch,
            now: Duration::from_secs(100),
            processes: Vec::new(),
            given_up: Vec::new(),
            runs: Vec::new(),
            wishes: BTreeMap::new(),
            retries: rng.u32(0..3),
            rng,
        };
        for _ in 0..world.rng.usize(1..=3) {
            let process = world.process();
            world.processes.push(process);
        }
        world.elect();
        for _ in 0..world.rng.usize(1..=2) {
            world.request();
        }
        let mut steps = 0;
        while world.history.active().is_some() {
            assert!(steps < 5_000, "seed {seed}: a run does not end: {:?}", world.history.active());
            world.step(steps < 300);
            steps += 1;
        }
        // A run that is over may be ended again and otherwise: the first end counts.
        for id in world.runs.clone() {
            let (_, mut finished) = world.history.run(id).unwrap().finished.clone().unwrap();
            let failed = finished.outcome == Outcome::Failed;
            finished.outcome = if failed { Outcome::Succeeded } else { Outcome::Failed };
            let (at, epoch) = (world.wall(), Some(world.epoch));
            world.append(Event { at, run: Some(id), epoch, body: Body::RunFinished(finished) });
        }
        // What nobody waits for any more may still come.
        for _ in 0..10 {
            world.repeat();
            world.answer_late();
        }
        world
    }

    fn process(&mut self) -> Process {
        Process { instance: Uuid::from_u128(self.rng.u128(1..)), holds: BTreeSet::new() }
    }

    fn request(&mut self) {
        let id = RunId(Uuid::from_u128(self.rng.u128(1..)));
        let wish = random_plan(&mut self.rng);
        self.wishes.insert(id, wish);
        self.runs.push(id);
        self.append(Event {
            at: self.wall(),
            run: Some(id),
            epoch: None,
            body: Body::RunRequested(Request::default()),
        });
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_microsecond(1_700_000_000_000_000 + self.now.as_micros() as i64).unwrap()
    }

    fn step(&mut self, stormy: bool) {
        self.now += Duration::from_millis(self.rng.u64(1..200));
        let dice = self.rng.u32(..100);
        match dice {
            0..40 => self.decide(),
            40..78 => self.answer(),
            _ if !stormy => {}
            78..84 => self.repeat(),
            84..88 => self.answer_late(),
            88..92 => self.forget(),
            92..95 => self.restart(),
            95..97 => self.rival(),
            97 => self.restart_all(),
            _ if dice == 98 && self.rng.u32(..8) == 0 => self.cancel(),
            _ => {}
        }
    }

    /// Every process says what it holds; the members topic is read to its end.
    fn heartbeats(&mut self) {
        for (n, process) in self.processes.iter().enumerate() {
            let heartbeat = Heartbeat {
                foreign: false,
                worker: format!("w{n}"),
                instance: process.instance,
                stages: Stage::ALL.to_vec(),
                slots: 1 + n as u32,
                state: WorkerState::Up,
                lease_ms: LEASE_MS,
                epoch: self.epoch,
                read_to: self.next.clone(),
                running: process.holds.iter().copied().collect(),
            };
            self.members.apply(Member::Worker(heartbeat), self.now);
        }
        self.members.polled(self.now, Duration::from_millis(LEASE_MS));
    }

    fn decide(&mut self) {
        self.heartbeats();
        let now = Now { mono: self.now, wall: self.wall() };
        let starting = self.rng.u32(..10) > 0;
        let decision = self.scheduler.decide(now, self.now, &self.history, &self.members, &[], starting);
        let mut events = decision.events;
        if let Some(run) = decision.plan {
            let plan = split(self.planned(&self.scheduler, run), self.seed + self.epoch);
            events.extend(plan);
        }
        // Now and then the process dies in the middle of what it appends.
        let keep = if self.rng.u32(..8) == 0 { self.rng.usize(..=events.len()) } else { events.len() };
        for event in events.drain(..keep) {
            self.check_ready(&event);
            self.append(event);
        }
    }

    fn planned(&self, scheduler: &Scheduler, run: RunId) -> Vec<Event> {
        let now = Now { mono: self.now, wall: self.wall() };
        let begins = vec![0; self.partitions as usize];
        scheduler.planned(
            now,
            run,
            &begins,
            &Rules { retries: self.retries, ..Rules::default() },
            self.wishes[&run].clone(),
        )
    }

    /// No object is offered before every parent is loaded.
    fn check_ready(&self, event: &Event) {
        let Body::ObjectReady(ready) = &event.body else { return };
        let run = event.run.unwrap();
        let planned = self.wishes[&run].iter().find(|object| object.id == ready.object).unwrap();
        for parent in &planned.parents {
            let object = self.naive.objects.get(&(run, *parent));
            let is_loaded = object.is_some_and(NaiveObject::is_loaded);
            assert!(is_loaded, "seed {}: {} is ready before {parent} is loaded", self.seed, ready.object);
        }
    }

    fn append(&mut self, event: Event) {
        let partition = partition_of(event.key().as_bytes(), self.partitions);
        self.append_to(partition, event);
    }

    fn append_to(&mut self, partition: u32, event: Event) {
        let offset = self.next[partition as usize];
        self.next[partition as usize] += 1;
        let place = Place { partition, offset };
        let stamp = Stamp { place, timestamp_us: self.wall().as_microsecond() };
        let event = Event::decode(&event.encode(), place, Timestamp::UNIX_EPOCH).unwrap();
        let void = self.naive.void;
        self.history.apply(&event, stamp).unwrap();
        self.naive.apply(&event, partition);
        if self.naive.void == void
            && let Body::ObjectAssigned(assigned) = &event.body
        {
            let held =
                Held { run_id: event.run.unwrap(), id_objet: assigned.object, attempt: assigned.attempt };
            let answered = self.naive.objects[&(held.run_id, held.id_objet)].attempts[&held.attempt].answer;
            let process = self.processes.iter_mut().find(|process| process.instance == assigned.instance);
            if let Some(process) = process
                && answered.is_none()
            {
                process.holds.insert(held);
            }
        }
        if let Some(run) = event.run {
            check_run(self.seed, run, &self.history, &self.naive);
        }
        self.log.push(Record { stamp, event });
    }

    /// Somebody answers something that it holds, perhaps twice.
    fn answer(&mut self) {
        let rng = &mut self.rng;
        let held: Vec<(usize, Held)> = (0..)
            .zip(&self.processes)
            .flat_map(|(n, process)| process.holds.iter().map(move |held| (n, *held)))
            .collect();
        let Some(&(n, held)) = rng.choice(&held) else { return };
        self.processes[n].holds.remove(&held);
        self.append_answer(held);
        while self.rng.u32(..5) == 0 {
            self.append_answer(held);
        }
    }

    /// Somebody answers what was given up.
    fn answer_late(&mut self) {
        if let Some(&held) = self.rng.choice(&self.given_up) {
            self.append_answer(held);
        }
    }

    fn append_answer(&mut self, held: Held) {
        let failed = self.rng.u32(..6) == 0;
        let meta = AnswerMeta {
            worker: Some("w".into()),
            error: failed.then(|| "no".into()),
            retryable: failed.then(|| self.rng.bool()),
            ..AnswerMeta::default()
        };
        let answer = Answer { object: held.id_objet, attempt: held.attempt, meta };
        let body = if failed { Body::ObjectFailed(answer) } else { Body::ObjectLoaded(answer) };
        self.append(Event { at: self.wall(), run: Some(held.run_id), epoch: None, body });
    }

    /// A record comes again.
    fn repeat(&mut self) {
        let Record { stamp, event } = self.rng.choice(&self.log).unwrap().clone();
        self.append_to(stamp.place.partition, event);
    }

    /// A process forgets something that it was given.
    fn forget(&mut self) {
        let n = self.rng.usize(..self.processes.len());
        if let Some(held) = self.processes[n].holds.pop_first() {
            self.given_up.push(held);
        }
    }

    /// A process dies, and starts anew under its name.
    fn restart(&mut self) {
        let n = self.rng.usize(..self.processes.len());
        let fresh = self.process();
        let old = std::mem::replace(&mut self.processes[n], fresh);
        self.given_up.extend(old.holds);
    }

    /// A rival takes over. Its predecessor does not know yet, and decides on.
    fn rival(&mut self) {
        self.heartbeats();
        let now = Now { mono: self.now, wall: self.wall() };
        let mut late = self.scheduler.decide(now, self.now, &self.history, &self.members, &[], true).events;
        if let Some(run) = self.history.active().filter(|run| run.board().is_none()).map(|run| run.id) {
            // It was about to plan: one part of two may get through before the election.
            let mut plan = split(self.planned(&self.scheduler, run), self.seed + self.epoch);
            if plan.len() > 1 && self.rng.bool() {
                self.append(plan.remove(0));
            }
            late.extend(plan);
        }
        self.epoch += 1;
        self.elect();
        self.scheduler = Scheduler::new(self.epoch, self.now, settings());
        for event in late {
            self.append(event);
        }
    }

    fn elect(&mut self) {
        for partition in 0..self.partitions {
            let event = Event {
                at: self.wall(),
                run: None,
                epoch: Some(self.epoch),
                body: Body::OrchestratorElected,
            };
            self.append_to(partition, event);
        }
    }

    /// Everything goes at once: workers and the orchestrator.
    fn restart_all(&mut self) {
        for n in 0..self.processes.len() {
            let fresh = self.process();
            let old = std::mem::replace(&mut self.processes[n], fresh);
            self.given_up.extend(old.holds);
        }
        self.members = Members::default();
        self.epoch += 1;
        self.elect();
        self.scheduler = Scheduler::new(self.epoch, self.now, settings());
    }

    fn cancel(&mut self) {
        let Some(run) = self.history.active().map(|run| run.id) else { return };
        let body = Body::RunCancelRequested(Asked { requested_by: Some("a test".into()) });
        self.append(Event { at: self.wall(), run: Some(run), epoch: None, body });
    }
}

/// 5 to 40 objects, each with up to three parents among those of its stage and of the stages before.
fn random_plan(rng: &mut Rng) -> Vec<PlannedObject> {
    let n = rng.usize(5..=40);
    let mut stages: Vec<Stage> = (0..n).map(|_| *rng.choice(Stage::ALL.iter()).unwrap()).collect();
    stages.sort_unstable();
    let ids: Vec<ObjectId> = (0..n).map(|i| ObjectId(1000 * (stages[i] as u64 + 1) + i as u64)).collect();
    let mut objects: Vec<PlannedObject> = (0..n)
        .map(|i| {
            let parents: BTreeSet<ObjectId> =
                (0..rng.usize(..=3)).filter(|_| i > 0).map(|_| ids[rng.usize(..i)]).collect();
            PlannedObject {
                parents: parents.into_iter().collect(),
                ..PlannedObject::new(
                    ids[i],
                    stages[i],
                    *rng.choice(&[Criticality::Low, Criticality::Medium, Criticality::High]).unwrap(),
                )
            }
        })
        .collect();
    if rng.bool() {
        rng.shuffle(&mut objects);
    }
    objects
}

/// The same plan in several parts, in one reign always the same ones.
fn split(plan: Vec<Event>, seed: u64) -> Vec<Event> {
    let [event] = <[Event; 1]>::try_from(plan).unwrap();
    let Body::RunPlanned(whole) = &event.body else { panic!("{event:?}") };
    let chunks: Vec<&[PlannedObject]> = whole.objects.chunks(Rng::with_seed(seed).usize(3..=50)).collect();
    let parts = chunks.len() as u32;
    let part = |(part, objects): (u32, &&[PlannedObject])| {
        let body = Body::RunPlanned(PlanPart { part, parts, objects: objects.to_vec(), ..whole.clone() });
        Event { body, ..event.clone() }
    };
    (0..).zip(&chunks).map(part).collect()
}

/// The most urgent object first: by criticality, then by the heaviest path that begins with it, then by id.
fn check_ranks(seed: u64, board: &Board) {
    fn ahead(board: &Board, i: usize) -> u64 {
        let children = board.children(i).map(|child| ahead(board, child)).max().unwrap_or(0);
        board.object(i).stage.usual_ms() + children
    }
    let mut order: Vec<usize> = (0..board.len()).collect();
    order.sort_by_key(|&i| {
        (Reverse(board.object(i).criticality), Reverse(ahead(board, i)), board.object(i).id)
    });
    for (rank, i) in (0..).zip(order) {
        assert_eq!(board.rank(i), rank, "seed {seed}: {:?}", board.object(i));
    }
}
