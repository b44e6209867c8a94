//! Who lives there: short copies of the loops of orchestrator and worker, and consumers of the old wire format.

use std::collections::VecDeque;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};

use super::world::{LEASE_MS, Nature, OFFER_TIMEOUT_MS, Out, World, lease};
use crate::domain::event::{AnswerMeta, Body, Cause, Event, MarkedAs, Place, Ready, RunId, time_text};
use crate::domain::history::History;
use crate::domain::leader::{Candidate, Role};
use crate::domain::member::{Held, Member, Members, Mono, WorkerState};
use crate::domain::object::{ObjectId, Stage};
use crate::domain::partition::partition_of;
use crate::domain::prepare;
use crate::domain::run::Stamp;
use crate::domain::scheduler::{Now, Scheduler, Settings};
use crate::domain::worker::{Identity, Worker};

/// A reader of both topics, and since when it has read all that was there.
pub(super) struct Reading {
    pub(super) positions: Vec<u64>,
    pub(super) member_position: usize,
    pub(super) snapshots: VecDeque<(Mono, Vec<u64>)>,
    pub(super) caught_up: Mono,
    pub(super) members: Members,
}

impl Reading {
    pub(super) fn new(positions: Vec<u64>, member_position: usize) -> Reading {
        Reading {
            positions,
            member_position,
            snapshots: VecDeque::new(),
            caught_up: Mono::ZERO,
            members: Members::default(),
        }
    }

    pub(super) fn note_ends(&mut self, now: Mono, world: &World) {
        self.snapshots.push_back((now, world.ends()));
    }

    pub(super) fn is_past(&self, ends: &[u64]) -> bool {
        self.positions.iter().zip(ends).all(|(position, end)| position >= end)
    }

    pub(super) fn read_members(&mut self, now: Mono, world: &mut World) {
        let end = world.members.len();
        let reach = world.reach(self.member_position, end);
        for at in self.member_position..reach {
            self.members.apply(world.members[at].1.clone(), now);
        }
        self.member_position = reach;
        if reach == end {
            self.members.polled(now, lease());
        }
    }

    /// Reads on in every partition, in turns of random length, and hands each event to `each`.
    pub(super) fn read_events(&mut self, world: &mut World, mut each: impl FnMut(&Event, Stamp, &Members)) {
        let goals: Vec<u64> = (0..self.positions.len())
            .map(|p| world.reach(self.positions[p] as usize, world.partitions[p].len()) as u64)
            .collect();
        while let Some(first) = self.positions.iter().zip(&goals).position(|(at, goal)| at < goal) {
            let p = world.rng.usize(first..self.positions.len());
            if self.positions[p] >= goals[p] {
                continue;
            }
            let until = (self.positions[p] + world.rng.u64(1..8)).min(goals[p]);
            for offset in self.positions[p]..until {
                let place = Place { partition: p as u32, offset };
                if let Some(event) = &world.partitions[p][offset as usize].event {
                    each(event, world.stamp(place), &self.members);
                }
            }
            self.positions[p] = until;
        }
        while self.snapshots.front().is_some_and(|(_, ends)| self.is_past(ends)) {
            if let Some((at, _)) = self.snapshots.pop_front() {
                self.caught_up = at;
            }
        }
    }
}

pub(super) struct Orchestrator {
    /// This process's clock begins here.
    pub(super) clock: u64,
    pub(super) skew_us: i64,
    pub(super) candidate: Candidate,
    pub(super) reading: Reading,
    pub(super) history: History,
    pub(super) scheduler: Option<Scheduler>,
    pub(super) pending: VecDeque<Vec<Out>>,
    /// Past its last own append.
    pub(super) own: Vec<u64>,
    pub(super) begin: Option<(Vec<u64>, usize)>,
    /// It is paused before its next append.
    pub(super) stalls: bool,
    /// Which attempts it has read an answer to, and what it has read to be loaded.
    pub(super) answered: FxHashSet<(RunId, ObjectId, u32)>,
    pub(super) loaded: FxHashSet<(RunId, ObjectId)>,
    /// Which runs it has read to be paused, or to go on, and as of when.
    paused: FxHashMap<RunId, (jiff::Timestamp, bool)>,
}

impl Orchestrator {
    pub(super) fn new(world: &mut World) -> Orchestrator {
        let instance = world.uuid();
        let partitions = world.partitions.len();
        Orchestrator {
            clock: world.now_ms.saturating_sub(world.rng.u64(0..3 * LEASE_MS)),
            skew_us: world.rng.i64(-3_000_000..3_000_000),
            candidate: Candidate::new(instance, lease()),
            reading: Reading::new(vec![0; partitions], 0),
            history: History::default(),
            scheduler: None,
            pending: VecDeque::new(),
            own: vec![0; partitions],
            begin: Some((world.ends(), world.members.len())),
            stalls: false,
            answered: FxHashSet::default(),
            loaded: FxHashSet::default(),
            paused: FxHashMap::default(),
        }
    }

    /// After an append of which nobody knows what became: the real loop gives it up, and its reign with it. Now and then
    /// the same records are sent again instead, as the client below the loop does.
    pub(super) fn doubt(&mut self, world: &mut World) {
        if self.pending.is_empty() || world.percent(50) {
            return;
        }
        world.say(|| format!("{} appends are given up, and the reign", self.pending.len()));
        self.pending.clear();
        self.candidate.doubt();
        self.scheduler = None;
    }

    /// Appends what waits to be appended. False: something still waits.
    pub(super) fn flush(&mut self, world: &mut World) -> bool {
        while let Some(out) = self.pending.front() {
            if !world.append(out) {
                return false;
            }
            for out in out {
                let partition = match out {
                    Out::Elected(partition, _) => *partition as usize,
                    Out::Event(event) => partition_of(event.key().as_bytes(), self.own.len() as u32) as usize,
                    _ => continue,
                };
                self.own[partition] = world.partitions[partition].len() as u64;
            }
            self.pending.pop_front();
        }
        true
    }

    pub(super) fn read(&mut self, now: Mono, world: &mut World) {
        self.reading.note_ends(now, world);
        self.reading.read_members(now, world);
        let (history, answered, loaded) = (&mut self.history, &mut self.answered, &mut self.loaded);
        let paused = &mut self.paused;
        self.reading.read_events(world, |event, stamp, _| {
            // Objects that no plan has are counted by the real loop.
            let _ = history.apply(event, stamp);
            if event.epoch.is_some_and(|epoch| epoch < history.elected(stamp.place.partition)) {
                return; // void, an adopted answer too
            }
            if let (Some(run), Body::RunPauseRequested(_) | Body::RunResumeRequested(_)) =
                (event.run, &event.body)
            {
                let said = (event.at, matches!(event.body, Body::RunPauseRequested(_)));
                let known = paused.entry(run).or_insert(said);
                *known = (*known).max(said);
            }
            let (Some(run), Some((object, attempt))) = (event.run, event.body.object()) else { return };
            match &event.body {
                Body::ObjectMarked(marked) if marked.state == MarkedAs::Loaded => {
                    loaded.insert((run, object));
                }
                Body::ObjectLoaded(_) if answered.insert((run, object, attempt)) => {
                    loaded.insert((run, object));
                }
                Body::ObjectFailed(_) => drop(answered.insert((run, object, attempt))),
                _ => {}
            }
        });
    }

    pub(super) fn wake(&mut self, world: &mut World) {
        let now = Duration::from_millis(world.now_ms - self.clock);
        if !self.flush(world) {
            self.doubt(world);
            return;
        }
        self.read(now, world);
        if let Some((ends, members)) = &self.begin {
            if !self.reading.is_past(ends) || self.reading.member_position < *members {
                return;
            }
            self.begin = None;
        }
        let partitions = world.partitions.len() as u32;
        let acts = self.candidate.step(now, &self.reading.members, &self.history, partitions);
        if acts.takes_over {
            self.reading.members.renew(now);
        }
        self.pending.extend(acts.members.into_iter().map(|member| vec![Out::Member(member)]));
        let at = world.wall(self.skew_us);
        if let Some(epoch) = acts.elect {
            let elected = Event { at, run: None, epoch: Some(epoch), body: Body::OrchestratorElected };
            self.pending.push_back((0..partitions).map(|p| Out::Elected(p, elected.clone())).collect());
        }
        let Role::Leading { epoch, since } = self.candidate.role() else {
            self.scheduler = None;
            if !self.flush(world) {
                self.doubt(world);
            }
            return;
        };
        let instance = self.candidate.instance();
        if *world.leaders.entry(epoch).or_insert(instance) != instance {
            world.broken = Some(format!("two lead in epoch {epoch}"));
        }
        if !self.flush(world) || !self.reading.is_past(&self.own) {
            return;
        }
        let scheduler = self.scheduler.get_or_insert_with(|| {
            let settings = Settings {
                foreign: world.foreign.clone(),
                offer_timeout: Duration::from_millis(OFFER_TIMEOUT_MS),
            };
            Scheduler::new(epoch, since, settings)
        });
        let strangers = self.history.take_strangers();
        let clocks = Now { mono: now, wall: at };
        let decision = scheduler.decide(
            clocks,
            self.reading.caught_up,
            &self.history,
            &self.reading.members,
            &strangers,
            true,
        );
        let mut events = decision.events;
        if let Some(run) = decision.plan {
            let asked = self.history.run(run).and_then(|run| run.request.as_ref());
            let request = asked.map(|(_, request)| request.clone()).unwrap_or_default();
            let rules = prepare::rules(&self.history, &world.rules, &request);
            let objects = match request.retry_of {
                None => Some(world.objects.clone()),
                Some(old) => prepare::again(&self.history, old, &request).and_then(Result::ok),
            };
            events = match objects {
                Some(mut objects) => {
                    prepare::recall(&self.history, &mut objects, &rules, request.fresh, at);
                    scheduler.planned(clocks, run, &self.reading.positions, &rules, objects)
                }
                None => {
                    let run = self.history.run(run);
                    run.map_or_else(Vec::new, |run| scheduler.refused(clocks, run, "nothing-to-retry", None))
                }
            };
        }
        if events.is_empty() {
            return;
        }
        for event in &events {
            self.check(event, world);
        }
        self.pending.push_back(events.into_iter().map(Out::Event).collect());
        // Now and then the decision is taken and appended later: a pause may come between.
        if world.faulty() && world.percent(10) {
            self.stalls = world.percent(30);
        } else {
            self.flush(world);
        }
    }

    /// Checks a decision against what this leader has read.
    pub(super) fn check(&self, event: &Event, world: &mut World) {
        let (Some(run), Some((object, attempt))) = (event.run, event.body.object()) else { return };
        let decides =
            matches!(event.body, Body::ObjectReady(_) | Body::ObjectAssigned(_) | Body::ObjectSkipped(_));
        if decides && self.loaded.contains(&(run, object)) {
            world.broken = Some(format!("decided though it has read the load of {object}: {event:?}"));
        }
        if matches!(event.body, Body::ObjectAssigned(_))
            && self.paused.get(&run).is_some_and(|(_, paused)| *paused)
        {
            world.broken = Some(format!("assigned though it has read that the run is to pause: {event:?}"));
        }
        let Body::ObjectReady(Ready { cause: Some(cause), .. }) = event.body else { return };
        world.again[cause as usize] += 1;
        if !matches!(cause, Cause::WorkerLost | Cause::NotHeld | Cause::Restarted) {
            return;
        }
        let assignment = self.history.run(run).and_then(|run| {
            let board = run.board()?;
            let last = board.attempts(board.position(object)?).last()?.assignment?;
            Some((last.instance, run.worker_name(last.instance)?.clone()))
        });
        let Some((instance, name)) = assignment else { return };
        let members = &self.reading.members;
        let heard = match (members.instance(instance), members.named(&name)) {
            (Some(known), _) => known.heard,
            (None, Some(newer)) => newer.first_heard,
            (None, None) => return,
        };
        let heard_ms = self.clock + heard.as_millis() as u64;
        if world.answers.get(&(run, object, attempt - 1)).is_some_and(|&at_ms| at_ms < heard_ms) {
            world.broken =
                Some(format!("declared lost though the answer was in the log before {heard_ms}: {event:?}"));
        }
    }
}

pub(super) struct WorkerProcess {
    pub(super) clock: u64,
    pub(super) skew_us: i64,
    pub(super) worker: Worker,
    pub(super) reading: Reading,
    pub(super) running: Vec<(Held, u64)>,
    pub(super) answers: VecDeque<(Held, Event)>,
    pub(super) last_beat_ms: Option<u64>,
    pub(super) beats_lost_until_ms: u64,
    pub(super) left: bool,
}

impl WorkerProcess {
    pub(super) fn new(name: &str, stages: &[Stage], slots: u32, world: &mut World) -> WorkerProcess {
        let identity = Identity {
            name: name.to_owned(),
            instance: world.uuid(),
            stages: stages.to_vec(),
            slots,
            lease: lease(),
        };
        WorkerProcess {
            clock: world.now_ms.saturating_sub(world.rng.u64(0..3 * LEASE_MS)),
            skew_us: world.rng.i64(-3_000_000..3_000_000),
            worker: Worker::new(identity),
            reading: Reading::new(world.ends(), world.members.len()),
            running: Vec::new(),
            answers: VecDeque::new(),
            last_beat_ms: None,
            beats_lost_until_ms: 0,
            left: false,
        }
    }

    pub(super) fn beat(&mut self, state: Option<WorkerState>, world: &mut World) {
        self.last_beat_ms = Some(world.now_ms);
        if world.faulty() && (world.now_ms < self.beats_lost_until_ms || world.percent(world.beats_lost)) {
            return;
        }
        let beat = self.worker.heartbeat(state, self.reading.positions.clone(), &self.reading.members);
        // A lost heartbeat is not sent again: the next one says it all.
        world.append(&[Out::Member(Member::Worker(beat))]);
    }

    pub(super) fn read(&mut self, now: Mono, world: &mut World) {
        self.reading.note_ends(now, world);
        self.reading.read_members(now, world);
        let (worker, running) = (&mut self.worker, &mut self.running);
        self.reading.read_events(world, |event, stamp, members| {
            if Worker::concerns(&event.body) {
                for ended in worker.apply(event, stamp.place, members) {
                    running.retain(|(held, _)| *held != ended);
                }
            }
        });
    }

    pub(super) fn finish(&mut self, world: &mut World) {
        let now_ms = world.now_ms;
        let over: Vec<Held> =
            self.running.iter().filter(|(_, at)| *at <= now_ms).map(|(held, _)| *held).collect();
        self.running.retain(|(_, at)| *at > now_ms);
        for held in over {
            let failure = world.work(held.run_id, held.id_objet);
            let meta = AnswerMeta {
                worker: Some(self.worker.identity().name.clone()),
                error: failure.map(|_| "no luck".to_owned()),
                retryable: failure,
                ..AnswerMeta::default()
            };
            let at = world.wall(self.skew_us);
            if let Some(event) = self.worker.finish(held, failure.is_some(), meta, at) {
                self.answers.push_back((held, event));
            }
        }
        while let Some((held, event)) = self.answers.front() {
            if !world.append(&[Out::Event(event.clone())]) {
                return;
            }
            self.worker.acknowledged(*held);
            self.answers.pop_front();
        }
    }

    pub(super) fn wake(&mut self, world: &mut World) {
        let now = Duration::from_millis(world.now_ms - self.clock);
        if self.last_beat_ms.is_none() {
            // The ends were noted when it was made.
            self.beat(None, world);
        }
        if world.rng.bool() {
            self.finish(world);
        }
        self.read(now, world);
        while let Some(start) = self.worker.start() {
            let took_ms = if world.rng.u8(0..20) == 0 { 3 * LEASE_MS } else { LEASE_MS / 2 };
            self.running.push((start.held, world.now_ms + world.rng.u64(0..took_ms)));
        }
        self.finish(world);
        if self.worker.may_leave(now, self.reading.caught_up, &self.reading.members) {
            self.beat(Some(WorkerState::Gone), world);
            world.say(|| format!("{} leaves", self.worker.identity().name));
            self.left = true;
        } else if self.last_beat_ms.is_none_or(|last_ms| world.now_ms - last_ms >= LEASE_MS / 5) {
            self.beat(None, world);
        }
    }
}

/// A consumer of the old wire format.
pub(super) struct Stranger {
    pub(super) stage: Stage,
    pub(super) reading: Reading,
    pub(super) due: Vec<(u64, ObjectId)>,
}

impl Stranger {
    pub(super) fn new(stage: Stage, world: &World) -> Stranger {
        Stranger { stage, reading: Reading::new(world.ends(), world.members.len()), due: Vec::new() }
    }

    pub(super) fn wake(&mut self, world: &mut World) {
        let mut offers = Vec::new();
        self.reading.read_events(world, |event, _, _| {
            if let Body::ObjectReady(ready) = &event.body {
                offers.push(ready.object);
            }
        });
        for object in offers {
            let serves = world.objects.iter().any(|known| known.id == object && known.stage == self.stage);
            if serves {
                let late = world.faulty() && world.percent(10);
                let took_ms = if late { 3 * OFFER_TIMEOUT_MS } else { LEASE_MS / 2 };
                self.due.push((world.now_ms + world.rng.u64(0..took_ms), object));
            }
        }
        let now_ms = world.now_ms;
        let due: Vec<ObjectId> =
            self.due.iter().filter(|(at, _)| *at <= now_ms).map(|(_, object)| *object).collect();
        self.due.retain(|(at, _)| *at > now_ms);
        for object in due {
            let failed = world.natures.get(&object).is_some_and(|nature| *nature != Nature::Good);
            let event_type = if failed { "ObjectFailed" } else { "ObjectLoaded" };
            let at = time_text(world.wall(0));
            let answer = format!(
                r#"{{"event_type":"{event_type}","id_objet":{object},"meta":{{"worker":"old"}},"event_datetime":"{}"}}"#,
                at.trim_end_matches('Z')
            );
            let mut out = vec![Out::Raw(object, answer.clone())];
            match world.rng.u8(0..8) {
                0 => out.push(Out::Raw(object, answer)),
                1 => out.push(Out::Raw(object, "rubbish".to_owned())),
                2 => out
                    .push(Out::Raw(object, r#"{"event_type":"ObjectLoaded","id_objet":"none"}"#.to_owned())),
                3 => out.push(Out::Raw(
                    object,
                    r#"{"event_type":"ObjectLoaded","id_objet":999999,"run_id":null}"#.to_owned(),
                )),
                _ => {}
            }
            // An old consumer does not look whether its answer arrived: the offer expires and comes again.
            world.append(&out);
        }
    }
}

pub(super) enum Process {
    Orchestrator(Box<Orchestrator>),
    Worker(Box<WorkerProcess>),
    Stranger(Box<Stranger>),
    Client(Vec<(u64, Out)>),
}

#[derive(Clone)]
pub(super) enum Kind {
    Orchestrator,
    Worker { name: String, stages: Vec<Stage>, slots: u32 },
    Stranger(Stage),
    Client,
}

/// A place where a process runs, and starts again after it died.
pub(super) struct Host {
    pub(super) kind: Kind,
    pub(super) process: Option<Process>,
    pub(super) asleep_until_ms: u64,
}
