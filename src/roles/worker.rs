//! A worker: runs what it is assigned, answers, and says what it holds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::domain::event::{AnswerMeta, Event};
use crate::domain::member::{Held, Member, Members, Mono, WorkerState};
use crate::domain::object::Stage;
use crate::domain::worker::{Identity, Start, Worker};
use crate::handler::{Handler, Outcome, Task};
use crate::log::{From, Log, NewRecord, Reader, Record, truncated};
use crate::telemetry;

/// What a worker needs.
pub struct WorkerRole {
    /// Who it is.
    pub identity: Identity,
    /// What it does with an object.
    pub handler: Arc<dyn Handler>,
    /// The events.
    pub events: Arc<dyn Log>,
    /// The members topic.
    pub members: Arc<dyn Log>,
    /// How long it may take to finish what it holds once it is told to go; none: as long as it takes.
    pub drain_timeout: Option<Duration>,
    /// True: finish what is held, then end.
    pub shutdown: watch::Receiver<bool>,
}

/// An attempt that is over.
struct Done {
    held: Held,
    stage: Stage,
    started_at: Timestamp,
    took: Duration,
    outcome: Outcome,
}

/// A worker at work.
struct AtWork {
    role: WorkerRole,
    worker: Worker,
    known: Members,
    origin: Instant,
    tasks: HashMap<Held, AbortHandle>,
    /// Work that was done on the spot and is not answered yet.
    over: Vec<Done>,
    done: mpsc::Sender<Done>,
}

impl WorkerRole {
    /// Works until it is told to go and has nothing left.
    ///
    /// # Errors
    /// When a log fails.
    pub async fn run(self) -> anyhow::Result<()> {
        // The ends first, the first heartbeat second: no assignment can be missed.
        let mut events = self.events.reader(From::End).await?;
        let mut members = self.members.reader(From::Start).await?;
        let (done, mut results) = mpsc::channel::<Done>(2 * self.identity.slots as usize + 16);
        let beat_every = self.identity.lease / 5;
        let mut shutdown = self.shutdown.clone();
        let mut at_work = AtWork {
            worker: Worker::new(self.identity.clone()),
            known: Members::default(),
            origin: Instant::now(),
            tasks: HashMap::new(),
            over: Vec::new(),
            done,
            role: self,
        };
        let mut next_beat = Instant::now();
        let mut draining_since: Option<Instant> = None;
        loop {
            if *shutdown.borrow() && draining_since.is_none() {
                at_work.worker.drain();
                draining_since = Some(Instant::now());
                next_beat = Instant::now();
            }
            let caught_up = at_work.read(&mut *events, &mut *members, draining_since.is_some()).await?;
            let mut over = std::mem::take(&mut at_work.over);
            while let Ok(done) = results.try_recv() {
                over.push(done);
            }
            at_work.answer(over).await?;
            at_work.start();
            if Instant::now() >= next_beat {
                at_work.beat(None, events.position()).await?;
                next_beat = Instant::now() + beat_every;
            }
            if let Some(since) = draining_since {
                let out_of_time = at_work.role.drain_timeout.is_some_and(|limit| since.elapsed() > limit);
                if out_of_time {
                    at_work.give_up().await?;
                }
                if out_of_time || at_work.worker.may_leave(caught_up, caught_up, &at_work.known) {
                    return at_work.beat(Some(WorkerState::Gone), events.position()).await;
                }
            }
            if !at_work.over.is_empty() {
                continue;
            }
            let pause = next_beat.saturating_duration_since(Instant::now());
            let told_to_go = draining_since.is_some();
            tokio::select! {
                records = events.next(pause) => at_work.fold(&records.or_else(truncated)?),
                records = members.next(pause) => at_work.hear(&records.or_else(truncated)?),
                Some(done) = results.recv() => {
                    let mut over = vec![done];
                    while let Ok(done) = results.try_recv() {
                        over.push(done);
                    }
                    at_work.answer(over).await?;
                }
                _ = shutdown.changed(), if !told_to_go => {}
            }
        }
    }
}

impl AtWork {
    /// Reads the members topic, and the events that are there. While draining, up to an end taken at the returned instant.
    async fn read(
        &mut self,
        events: &mut dyn Reader,
        members: &mut dyn Reader,
        to_end: bool,
    ) -> anyhow::Result<Mono> {
        loop {
            let records = members.next(Duration::ZERO).await.or_else(truncated)?;
            if records.is_empty() {
                break;
            }
            self.hear(&records);
        }
        let taken = self.origin.elapsed();
        if to_end {
            let ends = self.role.events.ends().await?;
            while events.position().iter().zip(&ends).any(|(position, end)| position < end) {
                let records = events.next(Duration::from_secs(1)).await.or_else(truncated)?;
                self.fold(&records);
            }
        }
        Ok(taken)
    }

    fn hear(&mut self, records: &[Arc<Record>]) {
        let now = self.origin.elapsed();
        for member in records.iter().filter_map(|record| Member::decode(&record.value)) {
            self.known.apply(member, now);
        }
    }

    fn fold(&mut self, records: &[Arc<Record>]) {
        for record in records {
            let Ok(event) = record.event() else { continue };
            if !Worker::concerns(&event.body) {
                continue;
            }
            for held in self.worker.apply(event, record.stamp().place, &self.known) {
                if let Some(task) = self.tasks.remove(&held) {
                    tracing::info!(
                        id_objet = held.id_objet.0,
                        attempt = held.attempt,
                        "ended: it is no longer ours"
                    );
                    task.abort();
                }
            }
        }
        self.start();
    }

    /// Starts what waits, while a slot is free.
    fn start(&mut self) {
        while let Some(Start { held, entry }) = self.worker.start() {
            let stage = self.stage_of(held);
            let task = Task {
                object: held.id_objet,
                stage,
                run_id: held.run_id.to_string(),
                attempt: held.attempt,
                entry: entry.map(|entry| entry.get().into()),
            };
            if self.role.handler.is_instant()
                && let Some(outcome) = self.role.handler.handle(&task).now_or_never()
            {
                let (started_at, took) = (Timestamp::now(), Duration::ZERO);
                self.over.push(Done { held, stage, started_at, took, outcome });
                continue;
            }
            let (handler, done) = (self.role.handler.clone(), self.done.clone());
            let task = tokio::spawn(async move {
                let (started_at, start) = (Timestamp::now(), Instant::now());
                let outcome = handler.handle(&task).await;
                // The channel closes with the worker: then nobody waits for this.
                let _ = done.send(Done { held, stage, started_at, took: start.elapsed(), outcome }).await;
            });
            self.tasks.insert(held, task.abort_handle());
        }
    }

    /// The stage that this worker serves an object as: its only one, else the one of the object's id.
    fn stage_of(&self, held: Held) -> Stage {
        match self.role.identity.stages.as_slice() {
            [only] => *only,
            stages => Stage::of_id(held.id_objet)
                .filter(|stage| stages.contains(stage))
                .or_else(|| stages.first().copied())
                .unwrap_or(Stage::Application),
        }
    }

    /// Appends the answers to what is over.
    async fn answer(&mut self, over: Vec<Done>) -> anyhow::Result<()> {
        let mut answers: Vec<(Held, Stage, Event)> = Vec::with_capacity(over.len());
        for Done { held, stage, started_at, took, outcome } in over {
            self.tasks.remove(&held);
            let mut meta = AnswerMeta {
                worker: Some(self.role.identity.name.clone()),
                started_at: Some(started_at),
                duration_seconds: Some((took.as_secs_f64() * 1e6).round() / 1e6),
                ..AnswerMeta::default()
            };
            let failed = outcome.is_err();
            match outcome {
                Ok(result) => meta.result = result.map(Arc::from),
                Err(failure) => {
                    meta.error = Some(failure.error);
                    meta.retryable = Some(failure.retryable);
                    meta.stderr = failure.stderr;
                }
            }
            if let Some(event) = self.worker.finish(held, failed, meta, Timestamp::now()) {
                answers.push((held, stage, event));
            }
        }
        if answers.is_empty() {
            return Ok(());
        }
        let records = answers.iter().map(|(_, _, event)| NewRecord::of(event)).collect();
        self.role.events.append(records).await.context("the log does not take answers")?;
        for (held, ..) in &answers {
            self.worker.acknowledged(*held);
        }
        for stage in Stage::ALL {
            let of_stage = answers.iter().filter(|(_, served, _)| *served == stage);
            telemetry::published(of_stage.map(|(.., event)| event), stage.name());
        }
        Ok(())
    }

    /// Stops what still runs and answers that it is worth another try.
    async fn give_up(&mut self) -> anyhow::Result<()> {
        let over = self
            .tasks
            .drain()
            .map(|(held, task)| {
                task.abort();
                let failure = crate::handler::Failure {
                    error: "the worker was told to stop before it was done".into(),
                    retryable: true,
                    stderr: None,
                };
                Done {
                    held,
                    stage: Stage::of_id(held.id_objet).unwrap_or(Stage::Application),
                    started_at: Timestamp::now(),
                    took: Duration::ZERO,
                    outcome: Err(failure),
                }
            })
            .collect();
        self.answer(over).await
    }

    async fn beat(&mut self, state: Option<WorkerState>, read_to: &[u64]) -> anyhow::Result<()> {
        let heartbeat = self.worker.heartbeat(state, read_to.to_vec(), &self.known);
        let value = Member::Worker(heartbeat).encode().into();
        let key = Bytes::from(self.role.identity.name.clone());
        self.role.members.append(vec![NewRecord { partition: None, key, value }]).await?;
        Ok(())
    }
}
