//! A world on a virtual clock: brokers that lose answers, processes that die, pause and come back.
//!
//! Everything follows from the seed. The roles' loops here are short copies of the real ones; what they decide with is
//! the real thing: the candidate, the scheduler, the history, the members and the worker of this domain. After the faults stop every run
//! must end, and the log must obey its laws.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use fastrand::Rng;
use rustc_hash::FxHashMap;

use super::event::{Asked, Body, Epoch, Event, Marked, MarkedAs, Request, RunId};
use super::object::Stage;
use super::rules::{OnFailure, Rules, RulesAsked};
use process::{Host, Kind, Orchestrator, Process, Stranger, WorkerProcess};
use world::{LEASE_MS, Out, Task, World, catalogue, nature};

mod judge;
mod process;
mod world;

/// So long after the last fault every run must be over.
const PATIENCE_MS: u64 = 600_000;
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
    /// Objects loaded with an older version of something before them, objects not run because they were fresh, objects marked.
    pub degraded: usize,
    /// See above.
    pub reused: usize,
    /// See above.
    pub marked: usize,
    /// Runs that ran a part of an earlier one again.
    pub retries: usize,
    /// How often an assignment filled a limit.
    pub full: usize,
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
            rules: Rules {
                retries: rng.u32(0..=2),
                backoff: Duration::from_millis(if rng.bool() { 0 } else { rng.u64(0..3_000) }),
                ..Rules::default()
            },
            crowds: BTreeMap::new(),
            full: 0,
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
        let mut runs: Vec<(u64, RunId)> = Vec::new();
        for _ in 0..world.rng.usize(1..=4) {
            let mut at_ms = world.now_ms + world.rng.u64(0..10_000);
            let run = RunId(world.uuid());
            let mut request = Request {
                requested_by: Some("somebody".to_owned()),
                rules: rules_asked(world),
                fresh: (world.rng.u8(0..4) == 0).then(|| Duration::from_millis(world.rng.u64(0..20_000))),
                ..Request::default()
            };
            if !runs.is_empty() && world.rng.u8(0..3) == 0 {
                let (old_ms, old) = runs[world.rng.usize(0..runs.len())];
                at_ms = at_ms.max(old_ms + 1);
                request.retry_of = Some(old);
                if world.rng.bool() {
                    request.from = vec![world.objects[world.rng.usize(0..world.objects.len())].id];
                }
            }
            let unnamed = world.rng.u8(0..5) == 0;
            let mut say = |at_ms: u64, run: Option<RunId>, body: Body, world: &World| {
                let event = Event { at: world.wall_at(at_ms), run, epoch: None, body };
                wishes.push((at_ms, Out::Event(event)));
            };
            say(at_ms, (!unnamed).then_some(run), Body::RunRequested(request), world);
            if unnamed {
                continue;
            }
            runs.push((at_ms, run));
            let asked = Asked { requested_by: Some("somebody else".to_owned()) };
            if world.rng.u8(0..6) == 0 {
                let at_ms = at_ms + 1 + world.rng.u64(0..8_000);
                say(at_ms, Some(run), Body::RunCancelRequested(asked.clone()), world);
            }
            if world.rng.u8(0..4) == 0 {
                let pause_ms = at_ms + 1 + world.rng.u64(0..6_000);
                let resume_ms = pause_ms + 1 + world.rng.u64(0..12_000);
                say(pause_ms, Some(run), Body::RunPauseRequested(asked.clone()), world);
                say(resume_ms, Some(run), Body::RunResumeRequested(asked), world);
            }
            while world.rng.u8(0..3) == 0 {
                let marked = Marked {
                    object: world.objects[world.rng.usize(0..world.objects.len())].id,
                    attempt: 1,
                    state: if world.rng.u8(0..4) == 0 { MarkedAs::Failed } else { MarkedAs::Loaded },
                    because: Some("mended".to_owned()),
                    requested_by: None,
                };
                let at_ms = at_ms + 1 + world.rng.u64(0..8_000);
                say(at_ms, Some(run), Body::ObjectMarked(marked), world);
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
                return Err(format!("not over after all that time: {}", self.standing(&open)));
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
}

/// By which rules somebody wants a run to go.
fn rules_asked(world: &mut World) -> RulesAsked {
    const LIMITS: [&str; 6] = [
        "source=S0:1",
        "source=*:2",
        "stage=ingest:2",
        "stage=application:1",
        "criticality=high:1",
        "absent=x:1",
    ];
    let rng = &mut world.rng;
    let mut limits = Vec::new();
    while rng.u8(0..3) == 0 {
        limits.extend(LIMITS[rng.usize(0..LIMITS.len())].parse());
    }
    RulesAsked {
        retries: rng.bool().then(|| rng.u32(0..=2)),
        on_failure: rng.bool().then(|| OnFailure::ALL[rng.usize(0..3)]),
        limits,
        ..RulesAsked::default()
    }
}
