//! The orchestrator: reads the log, and while it leads, decides and appends.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::watch;
use uuid::Uuid;

use crate::domain::event::{Body, Event, Request, RunId};
use crate::domain::leader::{Candidate, Role};
use crate::domain::member::Mono;
use crate::domain::scheduler::{Decision, Now, Scheduler, Settings};
use crate::log::{From, Log, LogError, NewRecord, Reader, Record, truncated};
use crate::planning::{Planning, problems_json};
use crate::telemetry;
use crate::view::View;

/// So many bytes of events go into one append.
const APPEND_BYTES: usize = 1 << 20;

/// What an orchestrator needs.
pub struct Orchestrator {
    /// What this process knows; the orchestrator folds into it.
    pub view: Arc<View>,
    /// The events.
    pub events: Arc<dyn Log>,
    /// The members topic.
    pub members: Arc<dyn Log>,
    /// How plans are made.
    pub planning: Planning,
    /// How often a failed object that is worth it is tried again, where the request does not say.
    pub retries: u32,
    /// How long a leader or a worker may be silent.
    pub lease: Duration,
    /// What the scheduler is told.
    pub settings: Settings,
    /// Ask for a run once it leads, unless one is unfinished or asked for.
    pub start_a_run: bool,
    /// True: no new object starts.
    pub hold: watch::Receiver<bool>,
    /// True: step down and end.
    pub shutdown: watch::Receiver<bool>,
}

impl Orchestrator {
    /// Leads or stands by until `shutdown`.
    ///
    /// # Errors
    /// When a log fails.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let mut events = self.events.reader(From::Start).await?;
        let mut members = self.members.reader(From::Start).await?;
        self.read_events(&mut *events).await.context("the log cannot be read")?;
        self.read_members(&mut *members).await?;
        self.view.update(|known| known.ready = true);
        let mut candidate = Candidate::new(Uuid::now_v7(), self.lease);
        let mut scheduler: Option<Scheduler> = None;
        let tick = (self.lease / 20).clamp(Duration::from_millis(10), Duration::from_millis(250));
        loop {
            let caught_up = self.read_events(&mut *events).await?;
            self.read_members(&mut *members).await?;
            let partitions = self.events.partitions();
            let now = self.now();
            let acts =
                self.view.read(|known| candidate.step(now.mono, &known.members, &known.history, partitions));
            // What was written to the events must be read before anything is decided. A claim needs no such care: until
            // it is read back nothing is decided anyway.
            let mut wrote = false;
            let beats = acts.members.into_iter().map(|member| NewRecord {
                partition: None,
                key: Bytes::new(),
                value: member.encode().into(),
            });
            append(&*self.members, beats.collect()).await?;
            if let Some(epoch) = acts.elect {
                self.elect(epoch).await?;
                wrote = true;
            }
            if acts.takes_over {
                self.view.update(|known| known.members.renew(now.mono));
            }
            match candidate.role() {
                Role::Leading { epoch, since } => {
                    let began = scheduler.is_none();
                    let scheduler =
                        scheduler.get_or_insert_with(|| Scheduler::new(epoch, since, self.settings.clone()));
                    if began {
                        tracing::info!(epoch, "leading");
                        self.view.update(|known| known.leading = Some(epoch));
                        wrote |= self.ask_for_a_run().await?;
                    }
                    if !wrote {
                        wrote = self.decide(scheduler, now, caught_up).await?;
                    }
                }
                _ if scheduler.is_some() => {
                    tracing::warn!("another orchestrator leads: standing by");
                    scheduler = None;
                    self.view.update(|known| known.leading = None);
                }
                _ => {}
            }
            if *self.shutdown.borrow() {
                break;
            }
            if wrote {
                continue;
            }
            tokio::select! {
                records = events.next(tick) => self.fold(&records.or_else(truncated)?),
                records = members.next(tick) => self.view.fold_members(&records.or_else(truncated)?, self.lease),
                _ = self.shutdown.changed() => {}
                _ = self.hold.changed() => {}
            }
        }
        if let Some(member) = candidate.resign() {
            let record = NewRecord { partition: None, key: Bytes::new(), value: member.encode().into() };
            append(&*self.members, vec![record]).await?;
        }
        self.view.update(|known| known.leading = None);
        Ok(())
    }

    fn now(&self) -> Now {
        Now { mono: self.view.now(), wall: Timestamp::now() }
    }

    /// Reads the events to an end taken at the instant that is returned.
    async fn read_events(&self, events: &mut dyn Reader) -> Result<Mono, LogError> {
        let taken = self.view.now();
        let ends = self.events.ends().await?;
        let lag: u64 =
            events.position().iter().zip(&ends).map(|(position, end)| end.saturating_sub(*position)).sum();
        #[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!(telemetry::LOG_LAG).set(lag as f64);
        while events.position().iter().zip(&ends).any(|(position, end)| position < end) {
            let records = events.next(Duration::from_secs(1)).await.or_else(truncated)?;
            self.fold(&records);
        }
        Ok(taken)
    }

    async fn read_members(&self, members: &mut dyn Reader) -> Result<(), LogError> {
        loop {
            let records = members.next(Duration::ZERO).await.or_else(truncated)?;
            self.view.fold_members(&records, self.lease);
            if records.is_empty() {
                return Ok(());
            }
        }
    }

    fn fold(&self, records: &[Arc<Record>]) {
        self.view.fold_events(records);
        if self.view.read(|known| known.leading.is_some()) {
            self.observe(records);
        }
    }

    /// Measures what these records tell of objects that are done.
    fn observe(&self, records: &[Arc<Record>]) {
        self.view.read(|known| {
            for record in records {
                let Ok(Event { run: Some(run), body: Body::ObjectLoaded(answer), .. }) = record.event()
                else {
                    continue;
                };
                let Some(board) = known.history.run(*run).and_then(|run| run.board()) else { continue };
                let Some(i) = board.position(answer.object) else { continue };
                let offered = board.attempts(i).last().and_then(|last| last.offer).map(|offer| offer.at);
                let waited =
                    answer.meta.started_at.zip(offered).map(|(start, offer)| start.duration_since(offer));
                telemetry::object_done(
                    board.object(i).stage,
                    waited.and_then(|waited| Duration::try_from(waited).ok()).unwrap_or_default(),
                    Duration::try_from_secs_f64(answer.meta.duration_seconds.unwrap_or(0.0))
                        .unwrap_or_default(),
                );
            }
        });
    }

    async fn elect(&self, epoch: u64) -> anyhow::Result<()> {
        let event =
            Event { at: Timestamp::now(), run: None, epoch: Some(epoch), body: Body::OrchestratorElected };
        let value: Bytes = event.encode().into();
        let records = (0..self.events.partitions()).map(|partition| NewRecord {
            partition: Some(partition),
            key: Bytes::new(),
            value: value.clone(),
        });
        append(&*self.events, records.collect()).await?;
        telemetry::published([&event], "orchestrator");
        Ok(())
    }

    /// The run that a start without `--idle` asks for. Whether one was asked for is returned.
    async fn ask_for_a_run(&mut self) -> anyhow::Result<bool> {
        if !std::mem::take(&mut self.start_a_run) || self.view.read(|known| known.history.active().is_some())
        {
            return Ok(false);
        }
        let request = Request { requested_by: Some("start".into()), ..Request::default() };
        let event = Event {
            at: Timestamp::now(),
            run: Some(RunId(Uuid::now_v7())),
            epoch: None,
            body: Body::RunRequested(request),
        };
        self.publish(&[event]).await?;
        Ok(true)
    }

    /// Decides once, and appends what was decided. Whether anything was is returned.
    async fn decide(&mut self, scheduler: &mut Scheduler, now: Now, caught_up: Mono) -> anyhow::Result<bool> {
        let starting = !*self.hold.borrow();
        let strangers = if self.settings.foreign.is_empty() {
            Vec::new()
        } else {
            self.view.update(|known| known.history.take_strangers())
        };
        let decision = self.view.read(|known| {
            scheduler.decide(now, caught_up, &known.history, &known.members, &strangers, starting)
        });
        let Decision { mut events, plan, late } = decision;
        if late > 0 {
            tracing::debug!(late, "answers of strangers that no open offer waits for");
        }
        if let Some(run) = plan {
            events.extend(self.plan(scheduler, run).await?);
        }
        self.publish(&events).await?;
        for event in &events {
            if let Body::RunFinished(finished) = &event.body {
                metrics::counter!(telemetry::RUNS, "outcome" => finished.outcome.name()).increment(1);
                metrics::gauge!(telemetry::RUN_DURATION).set(finished.duration_seconds);
            }
        }
        Ok(!events.is_empty())
    }

    /// Plans a run from the catalogue as it is now.
    async fn plan(&self, scheduler: &Scheduler, run: RunId) -> anyhow::Result<Vec<Event>> {
        let request = self.view.read(|known| Some(known.history.run(run)?.request.as_ref()?.1.clone()));
        let request = request.unwrap_or_default();
        let planning = self.planning.clone();
        let targets = request.targets.clone();
        let planned = tokio::task::spawn_blocking(move || planning.objects(&targets)).await?;
        Ok(match planned {
            Ok((objects, warnings)) => {
                for warning in &warnings {
                    tracing::warn!("{warning}");
                }
                let retries = request.retries.unwrap_or(self.retries);
                scheduler.planned(self.now(), run, self.events.partitions(), retries, objects)
            }
            Err(problems) => {
                tracing::error!("{problems}");
                self.view
                    .read(|known| {
                        let run = known.history.run(run)?;
                        Some(scheduler.refused(self.now(), run, Some(problems_json(&problems))))
                    })
                    .unwrap_or_default()
            }
        })
    }

    /// Appends events in order.
    async fn publish(&self, events: &[Event]) -> anyhow::Result<()> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for event in events {
            let record = NewRecord::of(event);
            bytes += record.value.len();
            batch.push(record);
            if bytes >= APPEND_BYTES {
                append(&*self.events, std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
        }
        append(&*self.events, batch).await?;
        telemetry::published(events, "orchestrator");
        Ok(())
    }
}

async fn append(log: &dyn Log, records: Vec<NewRecord>) -> anyhow::Result<()> {
    if records.is_empty() {
        return Ok(());
    }
    log.append(records).await.context("the log does not take events")
}
