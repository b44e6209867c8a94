//! A worker for an orchestrator of the old system: it runs every `ObjectReady` of its stage that belongs to no run, from
//! now on, and answers as old workers do.
//!
//! That orchestrator assigns nothing, so there is one such worker a stage: a second one that hears of the first ends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::answer;
use crate::domain::event::{Answer, AnswerMeta, Body, Event, Ready};
use crate::domain::member::{Heartbeat, Member, WorkerState};
use crate::domain::object::Stage;
use crate::domain::worker::Identity;
use crate::exit::Exit;
use crate::handler::{Handler, Outcome, Task};
use crate::hearing::Hearing;
use crate::log::{From, Log, LogError, NewRecord, Reader, Record, truncated};
use crate::telemetry;

/// So many offers are kept waiting; the rest waits in the log.
const MOST_WAITING: usize = 10_000;
/// After an answer that the log did not take, it is sent again so soon.
const SEND_AGAIN: Duration = Duration::from_millis(500);

/// What such a worker needs.
pub struct ForeignWorker {
    /// Who it is.
    pub identity: Identity,
    /// What it does with an object.
    pub handler: Arc<dyn Handler>,
    /// The events.
    pub events: Arc<dyn Log>,
    /// The members topic.
    pub members: Arc<dyn Log>,
    /// How long it may take to finish what it has once it is told to go.
    pub drain_timeout: Duration,
    /// Where it says how far it has read.
    pub hearing: Arc<Hearing>,
    /// True: finish, then end.
    pub shutdown: watch::Receiver<bool>,
}

/// Why it is not alone.
enum Rival {
    /// Another one has the stage.
    Serves(String),
    /// A newer start of its own name takes its place.
    Replaces,
}

impl ForeignWorker {
    /// Works until it is told to go, or hears that another one serves its stage.
    ///
    /// # Errors
    /// When a log is closed, or its storage fails.
    pub async fn run(self) -> anyhow::Result<Exit> {
        for stage in &self.identity.stages {
            telemetry::may_publish(stage.name(), &telemetry::ANSWERS);
        }
        let mut events = self.events.reader(From::End).await?;
        let mut members = self.members.reader(From::Start).await?;
        if let Some(Rival::Serves(name)) = self.look_for_rivals(&mut *members).await? {
            telemetry::say_to_people(format_args!(
                "error: {name} serves this stage for the old orchestrator: end it first; under its --name this one would take its place"
            ));
            return Ok(Exit::Usage);
        }
        let beat_every = self.identity.lease / 5;
        let mut shutdown = self.shutdown.clone();
        let mut waiting: VecDeque<Ready> = VecDeque::new();
        let mut running: JoinSet<Result<(), LogError>> = JoinSet::new();
        let mut next_beat = Instant::now();
        let mut draining: Option<Instant> = None;
        loop {
            if *shutdown.borrow() && draining.is_none() {
                draining = Some(Instant::now());
                next_beat = Instant::now();
            }
            while running.len() < self.identity.slots as usize
                && let Some(ready) = waiting.pop_front()
            {
                running.spawn(self.work(ready));
            }
            let over = draining.is_some_and(|since| {
                (running.is_empty() && waiting.is_empty()) || since.elapsed() > self.drain_timeout
            });
            if over {
                self.beat(WorkerState::Gone, events.position()).await?;
                return Ok(Exit::Done);
            }
            if Instant::now() >= next_beat {
                let state = if draining.is_some() { WorkerState::Draining } else { WorkerState::Up };
                self.beat(state, events.position()).await?;
                next_beat = Instant::now() + beat_every;
            }
            self.hearing.note(events.caught_up().min(members.caught_up()));
            telemetry::lag(events.lag());
            let pause = next_beat.saturating_duration_since(Instant::now());
            let takes = draining.is_none() && waiting.len() < MOST_WAITING;
            tokio::select! {
                records = events.next(pause), if takes => waiting.extend(self.offers(&records.or_else(truncated)?)),
                records = members.next(pause) => {
                    let records = records.or_else(truncated)?;
                    if records.iter().any(|record| matches!(self.rival(record), Some(Rival::Replaces))) {
                        tracing::warn!("a newer start of this worker takes its place");
                        return Ok(Exit::Done);
                    }
                }
                Some(done) = running.join_next() => done.context("an object's work broke")??,
                _ = shutdown.changed(), if draining.is_none() => {}
            }
        }
    }

    /// Whether another one had the stage first and lives: it is heard of within its lease.
    async fn look_for_rivals(&self, members: &mut dyn Reader) -> anyhow::Result<Option<Rival>> {
        let from = Instant::now();
        let mut earlier: Vec<Heartbeat> = Vec::new();
        // Whoever spoke before us had it first: what stands before our own word is read, and then listened for.
        self.beat(WorkerState::Up, &vec![0; self.events.partitions() as usize]).await?;
        let mut said = false;
        loop {
            let leases = earlier.iter().map(|rival| rival.lease_ms).max().unwrap_or(0).min(60_000);
            let silent = from.elapsed() > Duration::from_millis(leases);
            if said && (earlier.is_empty() || silent) {
                return Ok(None);
            }
            for record in members.next(Duration::from_millis(50)).await.or_else(truncated)? {
                let Some(Member::Worker(beat)) = Member::decode(&record.value) else { continue };
                if beat.instance == self.identity.instance {
                    said = true;
                } else if self.shares_stage(&beat) && beat.worker != self.identity.name {
                    let known = earlier.iter().position(|rival| rival.instance == beat.instance);
                    match (known, said) {
                        (_, _) if beat.state == WorkerState::Gone => {
                            earlier.retain(|rival| rival.instance != beat.instance);
                        }
                        (None, false) => earlier.push(beat),
                        (Some(_), true) => return Ok(Some(Rival::Serves(beat.worker))),
                        // It spoke after us: it is the one to end.
                        (None, true) | (Some(_), false) => {}
                    }
                }
            }
        }
    }

    fn rival(&self, record: &Record) -> Option<Rival> {
        let Some(Member::Worker(beat)) = Member::decode(&record.value) else { return None };
        let newer = beat.instance > self.identity.instance && beat.worker == self.identity.name;
        (newer && self.shares_stage(&beat)).then_some(Rival::Replaces)
    }

    fn shares_stage(&self, beat: &Heartbeat) -> bool {
        beat.foreign && beat.stages.iter().any(|stage| self.identity.stages.contains(stage))
    }

    /// The offers among these records that are this worker's.
    fn offers(&self, records: &[Arc<Record>]) -> Vec<Ready> {
        let ours = |ready: &&Ready| {
            Stage::of_id(ready.object).is_some_and(|stage| self.identity.stages.contains(&stage))
        };
        let events = records.iter().filter_map(|record| record.event().as_ref().ok());
        let offers = events.filter(|event| event.run.is_none()).filter_map(|event| match &event.body {
            Body::ObjectReady(ready) => Some(ready),
            _ => None,
        });
        offers.filter(ours).cloned().collect()
    }

    /// Does the work of an offer, and answers until the log has taken the answer.
    fn work(&self, ready: Ready) -> impl Future<Output = Result<(), LogError>> + Send + 'static {
        let (handler, events, name) = (self.handler.clone(), self.events.clone(), self.identity.name.clone());
        let stage = Stage::of_id(ready.object).unwrap_or(Stage::Application);
        async move {
            let task = Task {
                object: ready.object,
                stage,
                run_id: String::new(),
                attempt: 1,
                entry: ready.entry.as_ref().map(|entry| entry.get().into()),
                timeout: None,
                degraded: Vec::new(),
            };
            let (started_at, start) = (Timestamp::now(), Instant::now());
            let outcome = handler.handle(&task).await;
            let event = answered(&ready, &name, started_at, start.elapsed(), outcome);
            loop {
                match events.append(vec![NewRecord::of(&event)]).await {
                    Err(LogError::Unreachable(text)) => tracing::warn!("an answer waits: {text}"),
                    said => {
                        telemetry::published([&event], stage.name());
                        return said.map(drop);
                    }
                }
                tokio::time::sleep(SEND_AGAIN).await;
            }
        }
    }

    async fn beat(&self, state: WorkerState, read_to: &[u64]) -> Result<(), LogError> {
        let heartbeat = Heartbeat {
            worker: self.identity.name.clone(),
            instance: self.identity.instance,
            stages: self.identity.stages.clone(),
            slots: self.identity.slots,
            state,
            lease_ms: u64::try_from(self.identity.lease.as_millis()).unwrap_or(u64::MAX),
            epoch: 0,
            read_to: read_to.to_vec(),
            running: Vec::new(),
            foreign: true,
        };
        let record = NewRecord::plain(self.identity.name.clone(), Member::Worker(heartbeat).encode());
        match self.members.append(vec![record]).await {
            // It is said again.
            Err(LogError::Unreachable(_)) => Ok(()),
            said => said.map(drop),
        }
    }
}

/// An answer as old workers give it: without a run.
fn answered(ready: &Ready, worker: &str, started_at: Timestamp, took: Duration, outcome: Outcome) -> Event {
    let (meta, failed) = answer::meta(worker, started_at, took, outcome);
    let meta = AnswerMeta { foreign: true, ..meta };
    let answer = Answer { object: ready.object, attempt: 1, meta };
    let body = if failed { Body::ObjectFailed(answer) } else { Body::ObjectLoaded(answer) };
    Event { at: Timestamp::now(), run: None, epoch: None, body }
}
