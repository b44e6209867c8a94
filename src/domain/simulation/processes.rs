//! The simulated processes: thin loops around the very code that runs the night's load.

use std::collections::VecDeque;
use std::time::Duration;

use uuid::Uuid;

use super::world::{Cursor, Fate, World};
use crate::domain::event::{AnswerMeta, Body, Event, PlannedObject};
use crate::domain::history::History;
use crate::domain::leader::{Candidate, Role};
use crate::domain::member::{Held, Member, Members, WorkerState};
use crate::domain::object::Stage;
use crate::domain::scheduler::{Now, Scheduler, Settings};
use crate::domain::worker::{Identity, Worker};

/// An orchestrator: reads both topics, steps, decides, appends.
pub(super) struct Orchestrator {
    name: usize,
    cursor: Cursor,
    members_read: usize,
    history: History,
    members: Members,
    candidate: Candidate,
    scheduler: Option<Scheduler>,
    /// The ends when it started: it stands for nothing before it has read to them.
    began: Option<(Vec<u64>, usize)>,
    to_append: VecDeque<(Event, Option<u32>)>,
    /// What it must have read before it decides again.
    must_read: Vec<u64>,
    pub(super) paused_until: Duration,
}

impl Orchestrator {
    pub(super) fn start(name: usize, world: &mut World) -> Orchestrator {
        let ends = world.ends();
        world.say(|| format!("orchestrator {name} starts"));
        Orchestrator {
            name,
            cursor: Cursor::at(vec![0; ends.len()]),
            members_read: 0,
            history: History::default(),
            members: Members::default(),
            candidate: Candidate::new(Uuid::from_u128(world.rng.u128(..)), world.lease),
            scheduler: None,
            began: Some((ends, world.members.len())),
            to_append: VecDeque::new(),
            must_read: Vec::new(),
            paused_until: Duration::ZERO,
        }
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    pub(super) fn is_leading(&self) -> bool {
        matches!(self.candidate.role(), Role::Leading { .. })
    }

    pub(super) fn step(&mut self, world: &mut World, catalogue: &[PlannedObject], retries: u32) {
        if world.now < self.paused_until {
            return;
        }
        for (event, stamp) in self.cursor.read(world) {
            let _ = self.history.apply(&event, stamp);
        }
        for value in &world.members[self.members_read..] {
            if let Some(member) = Member::decode(value) {
                self.members.apply(member, world.now);
            }
        }
        self.members_read = world.members.len();
        self.members.polled(world.now, world.lease);
        if let Some((ends, members)) = &self.began {
            if !self.cursor.has_read(ends) || self.members_read < *members {
                return;
            }
            self.began = None;
        }
        while let Some((event, partition)) = self.to_append.front() {
            // What got no acknowledgement is appended again: at the next step, or after a pause of three leases.
            if !world.append(event, *partition) || world.chance(if world.faults { 100 } else { 0 }) {
                return;
            }
            self.to_append.pop_front();
            self.must_read = world.ends();
        }
        let partitions = u32::try_from(world.events.len()).unwrap_or(1);
        let acts = self.candidate.step(world.now, &self.members, &self.history, partitions);
        for member in &acts.members {
            world.speak(member);
        }
        if let Some(epoch) = acts.elect {
            let event =
                Event { at: world.wall(), run: None, epoch: Some(epoch), body: Body::OrchestratorElected };
            self.to_append.extend((0..partitions).map(|partition| (event.clone(), Some(partition))));
        }
        if acts.takes_over {
            let name = self.name;
            world.say(|| format!("orchestrator {name} leads"));
            self.members.renew(world.now);
        }
        let Role::Leading { epoch, since } = self.candidate.role() else {
            self.scheduler = None;
            return;
        };
        let settings = || Settings { foreign: world.foreign.clone(), offer_timeout: 3 * world.lease };
        let scheduler = self.scheduler.get_or_insert_with(|| Scheduler::new(epoch, since, settings()));
        if !self.to_append.is_empty() || !self.cursor.has_read(&self.must_read) {
            return;
        }
        let now = Now { mono: world.now, wall: world.wall() };
        let strangers = self.history.take_strangers();
        let caught_up = self.cursor.caught_up;
        let mut decision = scheduler.decide(now, caught_up, &self.history, &self.members, &strangers, true);
        if let Some(run) = decision.plan {
            decision.events.extend(scheduler.planned(now, run, partitions, retries, catalogue.to_vec()));
        }
        for event in decision.events {
            world.say(|| format!("decided {}", String::from_utf8_lossy(&event.encode())));
            self.to_append.push_back((event, None));
        }
    }
}

/// A worker: takes what it is assigned, answers when it is done.
pub(super) struct WorkerProcess {
    cursor: Cursor,
    members_read: usize,
    members: Members,
    worker: Worker,
    running: Vec<(Held, Duration)>,
    to_answer: VecDeque<(Held, Event)>,
    next_beat: Duration,
    pub(super) paused_until: Duration,
    pub(super) gone: bool,
}

impl WorkerProcess {
    pub(super) fn start(name: &str, stages: &[Stage], slots: u32, world: &mut World) -> WorkerProcess {
        let identity = Identity {
            name: name.to_owned(),
            instance: Uuid::from_u128(world.rng.u128(..)),
            stages: stages.to_vec(),
            slots,
            lease: world.lease,
        };
        world.say(|| format!("worker {name} starts as {}", identity.instance));
        WorkerProcess {
            cursor: Cursor::at(world.ends()),
            members_read: 0,
            members: Members::default(),
            worker: Worker::new(identity),
            running: Vec::new(),
            to_answer: VecDeque::new(),
            next_beat: world.now,
            paused_until: Duration::ZERO,
            gone: false,
        }
    }

    pub(super) fn drain(&mut self, world: &mut World) {
        let name = self.worker.identity().name.clone();
        world.say(|| format!("worker {name} drains"));
        self.worker.drain();
        self.next_beat = world.now;
    }

    pub(super) fn step(&mut self, world: &mut World) {
        if world.now < self.paused_until || self.gone {
            return;
        }
        for value in &world.members[self.members_read..] {
            if let Some(member) = Member::decode(value) {
                self.members.apply(member, world.now);
            }
        }
        self.members_read = world.members.len();
        for (event, stamp) in self.cursor.read(world) {
            for held in self.worker.apply(&event, stamp.place, &self.members) {
                self.running.retain(|(running, _)| *running != held);
            }
        }
        while let Some(start) = self.worker.start() {
            let until = world.now + Duration::from_millis(world.rng.u64(0..400));
            self.running.push((start.held, until));
        }
        let over: Vec<Held> =
            self.running.iter().filter(|(_, until)| *until <= world.now).map(|(held, _)| *held).collect();
        self.running.retain(|(_, until)| *until > world.now);
        for held in over {
            let fate = world.fates[&held.id_objet];
            let failed = match fate {
                Fate::Loads => false,
                Fate::FailsOnce => held.attempt == 1,
                Fate::Fails | Fate::KeepsFailing => true,
            };
            let meta = AnswerMeta {
                worker: Some(self.worker.identity().name.clone()),
                error: failed.then(|| "simulated".into()),
                retryable: failed.then_some(fate != Fate::Fails),
                ..AnswerMeta::default()
            };
            if let Some(event) = self.worker.finish(held, failed, meta, world.wall()) {
                self.to_answer.push_back((held, event));
            }
        }
        while let Some((held, event)) = self.to_answer.front() {
            if !world.append(event, None) {
                break;
            }
            self.worker.acknowledged(*held);
            self.to_answer.pop_front();
        }
        if world.now >= self.next_beat {
            self.next_beat = world.now + world.lease / 5;
            let heartbeat = self.worker.heartbeat(None, self.cursor.position.clone(), &self.members);
            world.speak(&Member::Worker(heartbeat));
        }
        let caught_up = self.cursor.caught_up;
        if self.worker.may_leave(world.now, caught_up, &self.members) {
            self.gone = true;
            let position = self.cursor.position.clone();
            world.speak(&Member::Worker(self.worker.heartbeat(
                Some(WorkerState::Gone),
                position,
                &self.members,
            )));
        }
    }
}

/// A consumer of the old wire format: answers offers without run, attempt or headers, sometimes twice, sometimes never.
pub(super) struct Stranger {
    cursor: Cursor,
    stage: Stage,
    answers: Vec<(Duration, Vec<u8>, u32)>,
}

impl Stranger {
    pub(super) fn start(stage: Stage, world: &World) -> Stranger {
        Stranger { cursor: Cursor::at(world.ends()), stage, answers: Vec::new() }
    }

    pub(super) fn step(&mut self, world: &mut World) {
        for (event, stamp) in self.cursor.read(world) {
            let Body::ObjectReady(ready) = &event.body else { continue };
            if world.stages.get(&ready.object) != Some(&self.stage) || (world.faults && world.chance(100)) {
                continue;
            }
            let failed = matches!(world.fates[&ready.object], Fate::Fails | Fate::KeepsFailing);
            let event_type = if failed { "ObjectFailed" } else { "ObjectLoaded" };
            let answer = format!(
                r#"{{"event_type":"{event_type}","id_objet":{},"meta":{{"worker":"old","error":"simulated"}},"event_datetime":"2025-09-22T10:00:00.000000"}}"#,
                ready.object
            );
            let times = 1 + usize::from(world.chance(150));
            for _ in 0..times {
                let at = world.now + Duration::from_millis(world.rng.u64(0..300));
                self.answers.push((at, answer.clone().into_bytes(), stamp.place.partition));
            }
        }
        let now = world.now;
        let (due, later) = std::mem::take(&mut self.answers).into_iter().partition(|(at, ..)| *at <= now);
        self.answers = later;
        for (_, answer, partition) in due {
            if world.faults && world.chance(100) {
                world.put(partition, b"{\"event_type\":\"Rubbish\"".to_vec());
            }
            world.put(partition, answer);
        }
    }
}
