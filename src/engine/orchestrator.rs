//! The orchestrator: reads the log, and while it leads, decides and appends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::watch;
use uuid::Uuid;

use super::clockwork::Clockwork;
use super::follower::Follower;
use crate::domain::envelope::Envelope;
use crate::domain::estimate;
use crate::domain::event::{Body, Event, PlannedObject, Request, RunId};
use crate::domain::leader::{Candidate, Role};
use crate::domain::limit;
use crate::domain::member::Mono;
use crate::domain::prepare;
use crate::domain::problem::{Problem, Problems};
use crate::domain::rules::Rules;
use crate::domain::scheduler::{Decision, Now, Scheduler, Settings};
use crate::domain::turns;
use crate::log::{Log, LogError, NewRecord};
use crate::planning::{Planning, problems_json};
use crate::telemetry;
use crate::view::View;

/// So many bytes of events go into one append.
const APPEND_BYTES: usize = 1 << 20;

/// What an orchestrator needs.
pub struct Orchestrator {
    /// This start of it.
    pub instance: Uuid,
    /// What this process knows; the orchestrator folds into it.
    pub view: Arc<View>,
    /// The events.
    pub events: Arc<dyn Log>,
    /// The members topic.
    pub members: Arc<dyn Log>,
    /// How plans are made.
    pub planning: Planning,
    /// By which rules runs go, where the request does not say otherwise.
    pub rules: Rules,
    /// How long a leader or a worker may be silent.
    pub lease: Duration,
    /// What the scheduler is told.
    pub settings: Settings,
    /// Ask for this run once it leads, unless one was under way or asked for since it began to stand by.
    pub start: Option<RunId>,
    /// Asks for what is due, where there is a schedule.
    pub clockwork: Option<Clockwork>,
    /// True: no new object starts.
    pub hold: watch::Receiver<bool>,
    /// True: step down and end.
    pub shutdown: watch::Receiver<bool>,
}

/// What an orchestrator publishes.
const PUBLISHED: [&str; 8] = [
    "RunRequested",
    "RunPlanned",
    "ObjectReady",
    "ObjectAssigned",
    "ObjectFailed",
    "ObjectSkipped",
    "RunFinished",
    "OrchestratorElected",
];
/// After an append that may have failed the orchestrator looks again so soon, …
const AFTER_DOUBT: Duration = Duration::from_millis(500);
/// … and where it fails again and again, at once each time, as seldom as this: each new try is a reign of its own.
const MOST_DOUBT: Duration = Duration::from_secs(10);
/// Heartbeats older than so many leases, and no less than [`KEPT_AT_LEAST`], are trimmed.
const KEPT_LEASES: u32 = 10;
const KEPT_AT_LEAST: Duration = Duration::from_secs(10);

impl Orchestrator {
    /// Leads or stands by until `shutdown`.
    ///
    /// # Errors
    /// When a log is closed, or its storage fails. A log that is away is waited for.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let mut follower =
            Follower::open(self.view.clone(), &*self.events, &*self.members, self.lease).await?;
        telemetry::may_publish("orchestrator", &PUBLISHED);
        telemetry::may_measure();
        let mut shutdown = self.shutdown.clone();
        tokio::select! {
            read = follower.read_to_end() => read.context("the log cannot be read")?,
            _ = shutdown.wait_for(|over| *over) => return Ok(()),
        }
        let mut candidate = Candidate::new(self.instance, self.lease);
        let mut scheduler: Option<Scheduler> = None;
        let mut trim = Trim::default();
        let tick = (self.lease / 20).clamp(Duration::from_millis(10), Duration::from_millis(250));
        let mut doubt = AFTER_DOUBT;
        while !*self.shutdown.borrow() {
            follower.drain().await?;
            let (Some(caught_up), Some(mono)) = (follower.caught_up(), follower.heard_members()) else {
                follower.wait(tick).await?;
                continue;
            };
            if scheduler.is_none() && self.is_a_run_under_way() {
                // Another one's run, seen while standing by, is the run that this start is for.
                self.start = None;
            }
            // Time stands still while the members cannot be read: then nobody is silent.
            let now = Now { mono, wall: Timestamp::now() };
            let began = Instant::now();
            let wrote = match self.step(&mut candidate, &mut scheduler, &mut follower, now, caught_up).await {
                Ok(wrote) => wrote,
                Err(error) if is_passing(&error) => {
                    tracing::warn!(
                        "{error:#}: what was decided may be in the log or not, so a new reign begins"
                    );
                    self.view.hearing.said("decisions", Some(&format!("{error:#}")));
                    candidate.doubt();
                    self.stand_by(&mut scheduler);
                    // A broker that was away was waited for already.
                    self.pause(AFTER_DOUBT.max(doubt.saturating_sub(began.elapsed()))).await;
                    doubt = (2 * doubt).min(MOST_DOUBT);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if scheduler.is_some() {
                doubt = AFTER_DOUBT;
                self.view.hearing.said("decisions", None);
                trim.look(&self.members, follower.members_position(), self.lease);
            }
            if wrote {
                continue;
            }
            tokio::select! {
                waited = follower.wait(tick) => waited?,
                _ = self.shutdown.changed() => {}
                _ = self.hold.changed() => {}
            }
        }
        if let Some(member) = candidate.resign() {
            // A log that is away does not hear it; then the others wait for two leases.
            let said = self.members.append(vec![NewRecord::plain("", member.encode())]).await;
            said.map(drop).or_else(|error| match error {
                LogError::Unreachable(_) => Ok(()),
                other => Err(other),
            })?;
        }
        self.stand_by(&mut scheduler);
        Ok(())
    }

    async fn pause(&mut self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            _ = self.shutdown.changed() => {}
        }
    }

    fn stand_by(&self, scheduler: &mut Option<Scheduler>) {
        *scheduler = None;
        self.view.update(|known| known.leading = None);
    }

    /// One look: steps as a candidate, and decides while it leads. Whether anything was written is returned.
    async fn step(
        &mut self,
        candidate: &mut Candidate,
        scheduler: &mut Option<Scheduler>,
        follower: &mut Follower,
        now: Now,
        caught_up: Mono,
    ) -> anyhow::Result<bool> {
        let partitions = self.events.partitions();
        let acts =
            self.view.read(|known| candidate.step(now.mono, &known.members, &known.history, partitions));
        // A claim need not be read back before the next step: until it is, nothing is decided anyway.
        let beats = acts.members.into_iter().map(|member| NewRecord::plain("", member.encode()));
        append(&*self.members, beats.collect()).await?;
        if let Some(epoch) = acts.elect {
            // A topic that has grown: until the new partitions know of it, this reign decides nothing.
            *scheduler = None;
            self.elect(follower, epoch).await?;
            return Ok(true);
        }
        if acts.takes_over {
            self.view.update(|known| known.members.renew(now.mono));
        }
        let Role::Leading { epoch, since } = candidate.role() else {
            if scheduler.is_some() {
                tracing::warn!("another orchestrator leads: standing by");
                self.stand_by(scheduler);
            }
            return Ok(false);
        };
        let begins = scheduler.is_none();
        let scheduler = scheduler.get_or_insert_with(|| Scheduler::new(epoch, since, self.settings.clone()));
        if begins {
            tracing::info!(epoch, "leading");
            self.view.update(|known| known.leading = Some(epoch));
            if self.ask_for_a_run(follower).await? {
                return Ok(true);
            }
        }
        // What was written must be read before anything more is decided.
        if !follower.is_past_written() {
            return Ok(false);
        }
        if self.ask_for_what_is_due(follower, epoch, now).await? {
            return Ok(true);
        }
        self.decide(scheduler, follower, now, caught_up).await
    }

    async fn elect(&self, follower: &mut Follower, epoch: u64) -> anyhow::Result<()> {
        let event =
            Event { at: Timestamp::now(), run: None, epoch: Some(epoch), body: Body::OrchestratorElected };
        let value: Bytes = event.encode().into();
        let records = (0..self.events.partitions()).map(|partition| NewRecord {
            partition: Some(partition),
            envelope: Some(Envelope::of(&event)),
            ..NewRecord::plain("", value.clone())
        });
        follower.wrote(&append(&*self.events, records.collect()).await?);
        telemetry::published([&event], "orchestrator");
        Ok(())
    }

    fn is_a_run_under_way(&self) -> bool {
        self.view.read(|known| known.history.active().is_some_and(|run| !run.is_remains()))
    }

    /// The run that a start without `--idle` asks for. Whether one was asked for is returned.
    async fn ask_for_a_run(&mut self, follower: &mut Follower) -> anyhow::Result<bool> {
        let Some(run) = self.start else { return Ok(false) };
        if self.is_a_run_under_way() {
            self.start = None;
            return Ok(false);
        }
        let request = Request { requested_by: Some("start".into()), ..Request::default() };
        let event =
            Event { at: Timestamp::now(), run: Some(run), epoch: None, body: Body::RunRequested(request) };
        // In doubt it is asked for again, under the same id: that changes nothing.
        self.publish(follower, &[event]).await?;
        self.start = None;
        Ok(true)
    }

    /// The runs of the schedule. Whether any was asked for is returned.
    async fn ask_for_what_is_due(
        &mut self,
        follower: &mut Follower,
        epoch: u64,
        now: Now,
    ) -> anyhow::Result<bool> {
        let starting = !*self.hold.borrow();
        let Some(clockwork) = self.clockwork.as_mut().filter(|_| starting) else { return Ok(false) };
        let asks = self.view.read(|known| clockwork.due(epoch, now.wall, &known.history));
        if asks.is_empty() {
            return Ok(false);
        }
        let events: Vec<Event> = asks.iter().flat_map(|ask| ask.events(now.wall, epoch)).collect();
        self.publish(follower, &events).await?;
        count_ends(&events);
        if let Some(clockwork) = &mut self.clockwork {
            clockwork.asked();
        }
        Ok(true)
    }

    /// Decides once, and appends what was decided. Whether anything was is returned.
    async fn decide(
        &mut self,
        scheduler: &mut Scheduler,
        follower: &mut Follower,
        now: Now,
        caught_up: Mono,
    ) -> anyhow::Result<bool> {
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
            metrics::counter!(telemetry::EVENTS_REJECTED, "reason" => "late").increment(late as u64);
            tracing::debug!(late, "answers of strangers that no open offer waits for");
        }
        if let Some(run) = plan {
            events.extend(self.plan(scheduler, run, now, follower.position()).await?);
        }
        if let Err(error) = self.publish(follower, &events).await {
            self.view.update(|known| known.history.put_back_strangers(strangers));
            return Err(error);
        }
        count_ends(&events);
        Ok(!events.is_empty())
    }

    /// Plans a run from the catalogue as it is now.
    async fn plan(
        &self,
        scheduler: &Scheduler,
        run: RunId,
        now: Now,
        position: &[u64],
    ) -> anyhow::Result<Vec<Event>> {
        let request = self.view.read(|known| Some(known.history.run(run)?.request.as_ref()?.1.clone()));
        let request = request.unwrap_or_default();
        let planning = self.planning.clone();
        let (targets, exclude) = (request.targets.clone(), request.exclude.clone());
        let planned = match request.retry_of {
            Some(old) => match self.again(old, &request) {
                Ok(objects) => {
                    let refresh = move || planning.refresh(objects).map(|objects| (objects, Vec::new()));
                    tokio::task::spawn_blocking(refresh)
                        .await?
                        .map_err(|problems| ("bad-catalogue", problems))
                }
                Err(problem) => Err(("nothing-to-retry", problem)),
            },
            None => tokio::task::spawn_blocking(move || planning.objects(&targets, &exclude))
                .await?
                .map_err(|problems| ("bad-catalogue", problems)),
        };
        Ok(match planned {
            Ok((mut objects, warnings)) => {
                for warning in &warnings {
                    tracing::warn!("{warning}");
                }
                let (rules, slots) = self.view.read(|known| {
                    let rules = prepare::rules(&known.history, &self.rules, &request);
                    prepare::recall(&known.history, &mut objects, &rules, request.fresh, now.wall);
                    (rules, estimate::slots(&known.members, now.mono))
                });
                // A run of some objects need not have any that a limit is meant for.
                if request.targets.is_empty() && request.exclude.is_empty() && request.retry_of.is_none() {
                    limit::idle(&objects, &rules.limits).iter().for_each(|odd| tracing::warn!("{odd}"));
                }
                let (objects, rules) = tokio::task::spawn_blocking(move || {
                    turns::set(&mut objects, &rules, slots);
                    (objects, rules)
                })
                .await?;
                scheduler.planned(now, run, position, &rules, objects)
            }
            Err((reason, problems)) => {
                tracing::error!("{problems}");
                self.view
                    .read(|known| {
                        let run = known.history.run(run)?;
                        Some(scheduler.refused(now, run, reason, Some(problems_json(&problems))))
                    })
                    .unwrap_or_default()
            }
        })
    }

    /// What a retry of this run runs.
    fn again(&self, old: RunId, request: &Request) -> Result<Vec<PlannedObject>, Problems> {
        let objects = self.view.read(|known| prepare::again(&known.history, old, request));
        let (message, hint) = match objects {
            None => {
                ("is not known, or too long ago".into(), "start a run of the objects that are missing".into())
            }
            Some(Err(why)) => (why.to_string(), why.hint()),
            Some(Ok(objects)) => return Ok(objects),
        };
        Err(Problems::new("the request", vec![Problem::new(format!("run {old} {message}"), hint)]))
    }

    /// Appends events in order.
    async fn publish(&self, follower: &mut Follower, events: &[Event]) -> anyhow::Result<()> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for event in events {
            let record = NewRecord::of(event);
            bytes += record.value.len();
            batch.push(record);
            if bytes >= APPEND_BYTES {
                follower.wrote(&append(&*self.events, std::mem::take(&mut batch)).await?);
                bytes = 0;
            }
        }
        follower.wrote(&append(&*self.events, batch).await?);
        telemetry::published(events, "orchestrator");
        Ok(())
    }
}

/// Lets go of old heartbeats. The leader alone does so: what it says itself tells a newcomer all that they told.
#[derive(Default)]
struct Trim {
    /// How far the members had been read, and when; the oldest first.
    marks: VecDeque<(Instant, Vec<u64>)>,
}

impl Trim {
    fn look(&mut self, members: &Arc<dyn Log>, position: &[u64], lease: Duration) {
        let kept = (lease * KEPT_LEASES).max(KEPT_AT_LEAST);
        if self.marks.back().is_none_or(|(at, _)| at.elapsed() >= kept / 4) {
            self.marks.push_back((Instant::now(), position.to_vec()));
        }
        let mut before = None;
        while self.marks.front().is_some_and(|(at, _)| at.elapsed() >= kept) {
            before = self.marks.pop_front();
        }
        let Some((_, before)) = before else { return };
        let members = members.clone();
        // Beside the reign: it is no haste, and a broker may not allow it.
        tokio::spawn(async move {
            if let Err(error) = members.truncate(&before).await {
                tracing::debug!("old heartbeats stay: {error}");
            }
        });
    }
}

/// Counts the runs that these events end.
fn count_ends(events: &[Event]) {
    for event in events {
        if let Body::RunFinished(finished) = &event.body {
            metrics::counter!(telemetry::RUNS, "outcome" => finished.outcome.name()).increment(1);
        }
    }
}

/// Whether the log is only away: then it is waited for.
fn is_passing(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(LogError::Unreachable(_)))
}

async fn append(log: &dyn Log, records: Vec<NewRecord>) -> anyhow::Result<Vec<u64>> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    log.append(records).await.context("the log does not take events")
}
