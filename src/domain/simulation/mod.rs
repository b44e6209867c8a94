//! A world on a virtual clock: the scheduler, the leaders, the workers and the fold as they are, under a storm.
//!
//! Everything follows from the seed. Messages get lost and repeated, partitions are read out of step, processes die, stop for
//! a while and come back; then the storm ends, and every run must end too, as the graph alone says that it must.

mod check;
mod processes;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use uuid::Uuid;

use self::processes::{Orchestrator, Stranger, WorkerProcess};
use self::world::{Fate, World};
use super::event::{Body, Event, PlannedObject, Request, RunId};
use super::object::{Criticality, ObjectId, Stage};

/// The processes step at least so far apart.
const TICK: Duration = Duration::from_millis(50);
const LEASE: Duration = Duration::from_secs(1);
/// The storm lasts at most this long, and every run must end within this after it.
const STORM_MS: std::ops::Range<u64> = 1_000..9_000;
const CALM: Duration = Duration::from_secs(120);

/// What a simulated world went through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Runs that ended.
    pub runs: usize,
    /// Records in the log.
    pub records: usize,
    /// The virtual time, in seconds.
    pub seconds: f64,
    /// Orchestrators and workers that were killed, paused or drained.
    pub faults: usize,
    /// Objects whose attempts went above 1.
    pub repeated: usize,
}

/// Runs the world of a seed to its end and checks every law.
///
/// # Errors
/// What went wrong, with the seed; with `trace`, what happened before.
pub fn run(seed: u64, trace: bool) -> Result<Report, String> {
    let mut sim = Simulation::new(seed, trace);
    let result = sim.play().and_then(|report| sim.check().map(|repeated| Report { repeated, ..report }));
    result.map_err(|error| {
        let trace = sim.world.trace.take().unwrap_or_default().join("\n");
        format!("seed {seed}: {error}\n{trace}")
    })
}

struct Simulation {
    world: World,
    catalogue: Vec<PlannedObject>,
    retries: u32,
    runs: Vec<RunId>,
    cancelled: BTreeSet<RunId>,
    orchestrators: Vec<Option<Orchestrator>>,
    workers: Vec<(String, Vec<Stage>, u32, Option<WorkerProcess>)>,
    strangers: Vec<Stranger>,
}

impl Simulation {
    fn new(seed: u64, trace: bool) -> Simulation {
        let mut rng = fastrand::Rng::with_seed(seed);
        let catalogue = catalogue(&mut rng);
        let retries = rng.u32(0..3);
        let fates = catalogue.iter().map(|object| (object.id, fate(&mut rng, retries))).collect();
        let stages = catalogue.iter().map(|object| (object.id, object.stage)).collect();
        let foreign =
            if rng.u8(0..8) == 0 { BTreeSet::from([Stage::ALL[rng.usize(0..3)]]) } else { BTreeSet::new() };
        let partitions = rng.usize(1..5);
        let mut workers = Vec::new();
        for stage in Stage::ALL {
            for i in 0..rng.usize(1..3) {
                workers.push((format!("{stage}-{i}"), vec![stage], rng.u32(1..5), None));
            }
        }
        if rng.bool() {
            workers.push(("everything".to_owned(), Stage::ALL.to_vec(), rng.u32(1..4), None));
        }
        // Nothing of a stage is served both ways.
        for (_, stages, ..) in &mut workers {
            stages.retain(|stage| !foreign.contains(stage));
        }
        workers.retain(|(_, stages, ..)| !stages.is_empty());
        let orchestrators = (0..rng.usize(1..4)).map(|_| None).collect();
        let runs = (0..rng.usize(1..4)).map(|_| RunId(Uuid::from_u128(rng.u128(..)))).collect();
        let world = World {
            rng,
            now: Duration::ZERO,
            events: vec![Vec::new(); partitions],
            order: Vec::new(),
            members: Vec::new(),
            fates,
            stages,
            foreign,
            lease: LEASE,
            faults: true,
            trace: trace.then(Vec::new),
        };
        let strangers = world.foreign.iter().map(|stage| Stranger::start(*stage, &world)).collect();
        Simulation {
            world,
            catalogue,
            retries,
            runs,
            cancelled: BTreeSet::new(),
            orchestrators,
            workers,
            strangers,
        }
    }

    fn play(&mut self) -> Result<Report, String> {
        let storm = Duration::from_millis(self.world.rng.u64(STORM_MS));
        let mut asked = 0;
        let mut faults = 0;
        while !self.is_over() {
            if self.world.now > storm + CALM {
                return Err(format!("{:?} not over {} s after the storm", self.open(), CALM.as_secs()));
            }
            self.world.now += TICK;
            self.world.faults = self.world.now < storm;
            if asked < self.runs.len() && (self.world.chance(100) || !self.world.faults) {
                let request = Request { requested_by: None, ..Request::default() };
                self.ask(self.runs[asked], Body::RunRequested(request));
                asked += 1;
            }
            if asked > 0 && self.world.faults && self.world.chance(3) {
                let run = self.runs[self.world.rng.usize(0..asked)];
                self.cancelled.insert(run);
                self.ask(run, Body::RunCancelRequested(super::event::CancelRequest::default()));
            }
            faults += self.disturb();
            self.step();
        }
        // What was repeated or comes late after the last end must change nothing either.
        for _ in 0..20 {
            self.world.now += TICK;
            self.step();
        }
        let records = self.world.order.len();
        Ok(Report {
            runs: self.runs.len(),
            records,
            seconds: self.world.now.as_secs_f64(),
            faults,
            repeated: 0,
        })
    }

    fn ask(&mut self, run: RunId, body: Body) {
        let event = Event { at: self.world.wall(), run: Some(run), epoch: None, body };
        while !self.world.append(&event, None) {}
    }

    fn step(&mut self) {
        let mut turns: Vec<usize> =
            (0..self.orchestrators.len() + self.workers.len() + self.strangers.len()).collect();
        self.world.rng.shuffle(&mut turns);
        for turn in turns {
            if self.world.faults && self.world.chance(150) {
                continue; // a slow process
            }
            if let Some(orchestrator) = self.orchestrators.get_mut(turn) {
                if let Some(orchestrator) = orchestrator {
                    orchestrator.step(&mut self.world, &self.catalogue, self.retries);
                }
                continue;
            }
            let turn = turn - self.orchestrators.len();
            if let Some((.., worker)) = self.workers.get_mut(turn) {
                if let Some(worker) = worker {
                    worker.step(&mut self.world);
                }
                continue;
            }
            self.strangers[turn - self.workers.len()].step(&mut self.world);
        }
    }

    /// Kills, pauses, drains and starts processes. Whoever is down comes back, at the latest with the end of the storm.
    fn disturb(&mut self) -> usize {
        let world = &mut self.world;
        let mut faults = 0;
        for (name, slot) in self.orchestrators.iter_mut().enumerate() {
            match slot {
                None if !world.faults || world.chance(100) => *slot = Some(Orchestrator::start(name, world)),
                Some(orchestrator) if world.faults && world.chance(8) => {
                    faults += 1;
                    if world.rng.bool() {
                        world.say(|| format!("orchestrator {name} is killed"));
                        *slot = None;
                    } else {
                        world.say(|| format!("orchestrator {name} stops for three leases"));
                        orchestrator.paused_until = world.now + 3 * LEASE;
                    }
                }
                _ => {}
            }
        }
        for (name, stages, slots, slot) in &mut self.workers {
            match slot {
                None if !world.faults || world.chance(100) => {
                    *slot = Some(WorkerProcess::start(name, stages, *slots, world));
                }
                Some(worker) if worker.gone => *slot = None,
                Some(worker) if world.faults && world.chance(8) => {
                    faults += 1;
                    match world.rng.u8(0..3) {
                        0 => {
                            world.say(|| format!("worker {name} is killed"));
                            *slot = None;
                        }
                        1 => {
                            world.say(|| format!("worker {name} stops for three leases"));
                            worker.paused_until = world.now + 3 * LEASE;
                        }
                        _ => worker.drain(world),
                    }
                }
                _ => {}
            }
        }
        faults
    }

    /// The runs that some leader does not know to be over.
    fn open(&self) -> Vec<RunId> {
        let leaders: Vec<&Orchestrator> =
            self.orchestrators.iter().flatten().filter(|orchestrator| orchestrator.is_leading()).collect();
        let is_over = |run: &RunId| {
            leaders.iter().any(|leader| leader.history().run(*run).is_some_and(|run| run.finished.is_some()))
        };
        self.runs.iter().copied().filter(|run| !is_over(run)).collect()
    }

    fn is_over(&self) -> bool {
        self.open().is_empty()
    }
}

/// A random graph of three stages.
fn catalogue(rng: &mut fastrand::Rng) -> Vec<PlannedObject> {
    let mut objects: Vec<PlannedObject> = Vec::new();
    for (stage, base) in Stage::ALL.into_iter().zip([1000, 2000, 3000]) {
        let before = objects.len();
        for i in 0..rng.u64(1..8) {
            let mut parents = BTreeSet::new();
            // Parents of any stage before, now and then of the same one.
            let reach = if rng.u8(0..5) == 0 { objects.len() } else { before };
            for _ in 0..rng.usize(0..4) {
                if reach > 0 {
                    parents.insert(objects[rng.usize(0..reach)].id);
                }
            }
            objects.push(PlannedObject {
                id: ObjectId(base + i),
                stage,
                criticality: [Criticality::Low, Criticality::Medium, Criticality::High][rng.usize(0..3)],
                parents: parents.into_iter().collect(),
                satisfied: Vec::new(),
                entry: None,
            });
        }
    }
    objects
}

fn fate(rng: &mut fastrand::Rng, retries: u32) -> Fate {
    match rng.u8(0..20) {
        0 => Fate::Fails,
        1 => Fate::KeepsFailing,
        2 | 3 if retries > 0 => Fate::FailsOnce,
        _ => Fate::Loads,
    }
}

/// The descendants of some objects.
fn descendants(catalogue: &[PlannedObject], of: &BTreeSet<ObjectId>) -> BTreeSet<ObjectId> {
    let mut reached = BTreeSet::new();
    // Parents stand before their children.
    for object in catalogue {
        if object.parents.iter().any(|parent| of.contains(parent) || reached.contains(parent)) {
            reached.insert(object.id);
        }
    }
    reached
}

/// How objects ended, by id.
type Ends = BTreeMap<ObjectId, super::attempt::Phase>;
