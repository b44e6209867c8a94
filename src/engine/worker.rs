//! A worker: runs what it is assigned, answers, and says what it holds.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use super::answer;
use crate::domain::event::{Answer, AnswerMeta, Body, Event};
use crate::domain::member::{Held, Member, Members, WorkerState};
use crate::domain::object::Stage;
use crate::domain::worker::{Identity, Start, Worker};
use crate::handler::{Handler, Outcome, Task};
use crate::hearing::Hearing;
use crate::log::{From, Log, LogError, NewRecord, Reader, Record, truncated};
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
    /// Where it says how far it has read, in a process that does nothing else.
    pub hearing: Option<Arc<Hearing>>,
    /// True: finish what is held, then end.
    pub shutdown: watch::Receiver<bool>,
}

/// An attempt that is over.
struct Done {
    held: Held,
    partition: u32,
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
    /// What runs, and the partition of its assignment.
    tasks: HashMap<Held, (AbortHandle, u32)>,
    /// Work that was done on the spot and is not answered yet.
    over: Vec<Done>,
    /// Answers that wait to be sent.
    outbox: VecDeque<Answered>,
    /// One of the answers is too large for the log: each is sent alone, to find it.
    one_by_one: bool,
    done: mpsc::Sender<Done>,
}

/// Answers under way to the log, and what came of it.
type Sending = BoxFuture<'static, (Vec<Answered>, Result<(), LogError>)>;
/// A heartbeat under way, sent at that instant, and what came of it.
type Beating = BoxFuture<'static, (Instant, WorkerState, Result<(), LogError>)>;

/// An answer that the log is to take.
#[derive(Clone)]
struct Answered {
    held: Held,
    partition: u32,
    stage: Stage,
    event: Event,
}

impl Answered {
    fn record(&self) -> NewRecord {
        NewRecord { partition: Some(self.partition), ..NewRecord::of(&self.event) }
    }
}

/// So many answers go into one append.
const MOST_ANSWERS: usize = 2_000;
/// While it drains a worker looks so often whether it may leave.
const DRAIN_TICK: Duration = Duration::from_millis(100);
/// Answers that the log did not take are sent again no sooner than this after the last time.
const SEND_AGAIN: Duration = Duration::from_secs(2);
/// What was given up is answered within this time, or is left to its lease.
const LAST_WORDS: Duration = Duration::from_secs(5);

impl WorkerRole {
    /// Works until it is told to go and has nothing left.
    ///
    /// # Errors
    /// When a log is closed, or its storage fails. A log that is away is waited for.
    pub async fn run(self) -> anyhow::Result<()> {
        for stage in &self.identity.stages {
            telemetry::may_publish(stage.name(), &telemetry::ANSWERS);
        }
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
            outbox: VecDeque::new(),
            one_by_one: false,
            done,
            role: self,
        };
        let mut sending: Option<Sending> = None;
        let mut beating: Option<Beating> = None;
        let mut next_beat = Instant::now();
        let mut draining: Option<Draining> = None;
        loop {
            if *shutdown.borrow() && draining.is_none() {
                at_work.worker.drain();
                draining = Some(Draining::default());
                next_beat = Instant::now();
            }
            at_work.drain(&mut *events, &mut *members).await?;
            let mut over = std::mem::take(&mut at_work.over);
            while let Ok(done) = results.try_recv() {
                over.push(done);
            }
            at_work.answer(over);
            at_work.start();
            if sending.is_none() {
                sending = at_work.send();
            }
            if beating.is_none() && Instant::now() >= next_beat {
                beating = Some(at_work.beat(None, events.position()));
                next_beat = Instant::now() + beat_every;
            }
            if let Some(draining) = &mut draining {
                let limit = at_work.role.drain_timeout;
                if !draining.gave_up && limit.is_some_and(|limit| draining.since.elapsed() > limit) {
                    draining.gave_up = true;
                    at_work.give_up();
                    continue;
                }
                let last_words = limit.unwrap_or_default() + LAST_WORDS;
                let said_all = at_work.outbox.is_empty() && sending.is_none();
                let leaves = if draining.gave_up {
                    said_all || draining.since.elapsed() > last_words
                } else {
                    at_work.may_leave(draining, events.caught_up())
                };
                if leaves {
                    let (.., said) = at_work.beat(Some(WorkerState::Gone), events.position()).await;
                    return Ok(passing(said)?);
                }
            }
            if !at_work.over.is_empty() {
                continue;
            }
            let mut pause = next_beat.saturating_duration_since(Instant::now());
            if beating.is_some() {
                pause = beat_every;
            }
            let told_to_go = draining.is_some();
            if told_to_go {
                pause = pause.min(DRAIN_TICK);
            }
            tokio::select! {
                records = events.next(pause) => at_work.fold(&records.or_else(truncated)?),
                records = members.next(pause) => at_work.hear(&records.or_else(truncated)?),
                Some(done) = results.recv() => at_work.over.push(done),
                (answers, said) = under_way(&mut sending) => {
                    sending = None;
                    at_work.sent(answers, said)?;
                }
                (at, state, said) = under_way(&mut beating) => {
                    beating = None;
                    let refusal = said.as_ref().err().map(ToString::to_string);
                    at_work.heard("heartbeats", refusal.as_deref());
                    if said.is_ok() && state == WorkerState::Draining && let Some(draining) = &mut draining {
                        draining.said.get_or_insert(at);
                    }
                    passing(said)?;
                }
                _ = shutdown.changed(), if !told_to_go => {}
            }
        }
    }
}

/// That a worker was told to go.
struct Draining {
    since: Instant,
    /// When it first said so on the members topic.
    said: Option<Instant>,
    /// What it held is given up.
    gave_up: bool,
}

impl Default for Draining {
    fn default() -> Draining {
        Draining { since: Instant::now(), said: None, gave_up: false }
    }
}

/// Waits for what is under way, for ever where nothing is.
async fn under_way<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// A log that is away is no error: what was to be said is said again.
fn passing(said: Result<(), LogError>) -> Result<(), LogError> {
    match said {
        Err(LogError::Unreachable(text)) => {
            tracing::warn!("{text}");
            Ok(())
        }
        said => said,
    }
}

impl AtWork {
    /// Reads what is there, without waiting: the members first, for they say whom to believe.
    async fn drain(&mut self, events: &mut dyn Reader, members: &mut dyn Reader) -> anyhow::Result<()> {
        loop {
            let records = members.next(Duration::ZERO).await.or_else(truncated)?;
            if records.is_empty() {
                break;
            }
            self.hear(&records);
        }
        let records = events.next(Duration::ZERO).await.or_else(truncated)?;
        self.fold(&records);
        if let Some(hearing) = &self.role.hearing {
            hearing.note(events.caught_up().min(members.caught_up()));
            telemetry::lag(events.lag());
        }
        Ok(())
    }

    /// Whether it may leave: the leader knows that it drains, and nothing it was given before is left. Where nobody leads,
    /// nobody gives it anything; whoever comes to lead reads first that it drains.
    fn may_leave(&mut self, draining: &Draining, caught_up: Option<Instant>) -> bool {
        let now = self.origin.elapsed();
        let Some(read) = caught_up.map(|instant| instant.saturating_duration_since(self.origin)) else {
            return false;
        };
        let said = draining.said.map(|said| said.saturating_duration_since(self.origin));
        let unled = !self.known.is_led(now) && said.is_some_and(|said| read >= said);
        self.worker.may_leave(now, read, &self.known) || (unled && self.worker.is_idle())
    }

    fn hear(&mut self, records: &[Arc<Record>]) {
        let now = self.origin.elapsed();
        for member in records.iter().filter_map(|record| Member::decode(&record.value)) {
            self.known.apply(member, now);
        }
    }

    fn fold(&mut self, records: &[Arc<Record>]) {
        for record in records {
            // Most events are for others: they are not worth a decoding.
            if !self.worker.may_concern(&record.value) {
                continue;
            }
            let Ok(event) = record.event() else { continue };
            if !Worker::concerns(&event.body) {
                continue;
            }
            for held in self.worker.apply(event, record.stamp().place, &self.known) {
                if let Some((task, _)) = self.tasks.remove(&held) {
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
        while let Some(Start { held, entry, timeout, degraded, partition }) = self.worker.start() {
            let stage = self.stage_of(held);
            let task = Task {
                object: held.id_objet,
                stage,
                run_id: held.run_id.to_string(),
                attempt: held.attempt,
                entry: entry.map(|entry| entry.get().into()),
                timeout,
                degraded,
            };
            if self.role.handler.is_instant()
                && let Some(outcome) = self.role.handler.handle(&task).now_or_never()
            {
                let (started_at, took) = (Timestamp::now(), Duration::ZERO);
                self.over.push(Done { held, partition, stage, started_at, took, outcome });
                continue;
            }
            let (handler, done) = (self.role.handler.clone(), self.done.clone());
            let task = tokio::spawn(async move {
                let (started_at, start) = (Timestamp::now(), Instant::now());
                let outcome = handler.handle(&task).await;
                // The channel closes with the worker: then nobody waits for this.
                let _ = done
                    .send(Done { held, partition, stage, started_at, took: start.elapsed(), outcome })
                    .await;
            });
            self.tasks.insert(held, (task.abort_handle(), partition));
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

    /// Notes what came of saying something to the log.
    fn heard(&self, what: &'static str, refusal: Option<&str>) {
        if let Some(hearing) = &self.role.hearing {
            hearing.said(what, refusal);
        }
    }

    /// Puts the answers to what is over into the outbox.
    fn answer(&mut self, over: Vec<Done>) {
        for Done { held, partition, stage, started_at, took, outcome } in over {
            self.tasks.remove(&held);
            let (meta, failed) = answer::meta(&self.role.identity.name, started_at, took, outcome);
            if let Some(event) = self.worker.finish(held, failed, meta, Timestamp::now()) {
                self.outbox.push_back(Answered { held, partition, stage, event });
            }
        }
    }

    /// Sends what is in the outbox; none: nothing is.
    fn send(&mut self) -> Option<Sending> {
        if self.outbox.is_empty() {
            return None;
        }
        let most = if self.one_by_one { 1 } else { MOST_ANSWERS };
        let answers: Vec<Answered> = self.outbox.drain(..most.min(self.outbox.len())).collect();
        let records = answers.iter().map(Answered::record).collect();
        let log = self.role.events.clone();
        Some(Box::pin(async move {
            let began = Instant::now();
            let said = log.append(records).await.map(drop);
            if matches!(said, Err(LogError::Unreachable(_))) {
                tokio::time::sleep(SEND_AGAIN.saturating_sub(began.elapsed())).await;
            }
            (answers, said)
        }))
    }

    /// What came of sending answers.
    fn sent(&mut self, answers: Vec<Answered>, said: Result<(), LogError>) -> anyhow::Result<()> {
        match said {
            Ok(()) => {
                for answer in &answers {
                    self.worker.acknowledged(answer.held);
                }
                for stage in Stage::ALL {
                    let of_stage = answers.iter().filter(|answer| answer.stage == stage);
                    telemetry::published(of_stage.map(|answer| &answer.event), stage.name());
                }
                self.one_by_one &= !self.outbox.is_empty();
                self.heard("answers", None);
            }
            Err(LogError::Unreachable(text)) => {
                self.heard("answers", Some(&text));
                tracing::warn!(answers = answers.len(), "answers wait: {text}");
                self.put_back(answers);
            }
            Err(error @ LogError::TooLarge { .. }) => {
                if let [answer] = answers.as_slice() {
                    tracing::error!(id_objet = answer.held.id_objet.0, "{error}");
                    self.outbox.push_front(too_large(answer, &error));
                } else {
                    self.one_by_one = true;
                    self.put_back(answers);
                }
            }
            Err(other) => return Err(other).context("the log does not take answers"),
        }
        Ok(())
    }

    fn put_back(&mut self, answers: Vec<Answered>) {
        for answer in answers.into_iter().rev() {
            self.outbox.push_front(answer);
        }
    }

    /// Stops what still runs and answers that it is worth another try.
    fn give_up(&mut self) {
        let over = self
            .tasks
            .drain()
            .map(|(held, (task, partition))| {
                task.abort();
                let failure = crate::handler::Failure {
                    error: "the worker was told to stop before it was done".into(),
                    retryable: true,
                    stderr: None,
                };
                Done {
                    held,
                    partition,
                    stage: Stage::of_id(held.id_objet).unwrap_or(Stage::Application),
                    started_at: Timestamp::now(),
                    took: Duration::ZERO,
                    outcome: Err(failure),
                }
            })
            .collect();
        self.answer(over);
    }

    fn beat(&self, state: Option<WorkerState>, read_to: &[u64]) -> Beating {
        let heartbeat = self.worker.heartbeat(state, read_to.to_vec(), &self.known);
        let (at, state) = (Instant::now(), heartbeat.state);
        let value = Member::Worker(heartbeat).encode();
        let record = NewRecord::plain(self.role.identity.name.clone(), value);
        let log = self.role.members.clone();
        Box::pin(async move { (at, state, log.append(vec![record]).await.map(drop)) })
    }
}

/// What is answered instead of an answer that no log takes.
fn too_large(answer: &Answered, why: &LogError) -> Answered {
    let mut instead = answer.clone();
    if let Body::ObjectLoaded(said) | Body::ObjectFailed(said) = &answer.event.body {
        let meta = AnswerMeta {
            worker: said.meta.worker.clone(),
            started_at: said.meta.started_at,
            duration_seconds: said.meta.duration_seconds,
            error: Some(format!("the work is done, what it returned cannot be kept: {why}")),
            retryable: Some(false),
            ..AnswerMeta::default()
        };
        instead.event.body = Body::ObjectFailed(Answer { meta, ..said.clone() });
    }
    instead
}
