//! What is known of one object in one run: its attempts, and the phase that follows from them.
//!
//! Knows neither the plan nor any other object.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::event::{Answer, Assigned, Cause, Epoch, Marked, MarkedAs, Place, Ready, Skipped, Version};
use super::object::ObjectId;

/// So much of an error or of stderr is kept in memory; the log has all of it.
const KEPT_TEXT_BYTES: usize = 4096;

/// An object that took this many workers with it fails for good.
pub const MAX_WORKERS_LOST: usize = 3;

/// Where an object stands in its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// A parent is not loaded yet.
    Waiting,
    /// Offered; no worker has it.
    Ready,
    /// A worker has it.
    Running,
    /// It failed, and is worth another try.
    Retrying,
    /// Loaded.
    Loaded,
    /// Failed for good.
    Failed,
    /// It will not run: an ancestor failed.
    Skipped,
}

impl Phase {
    /// Every phase, in the order of an object's life.
    pub const ALL: [Phase; 7] = [
        Phase::Waiting,
        Phase::Ready,
        Phase::Running,
        Phase::Retrying,
        Phase::Loaded,
        Phase::Failed,
        Phase::Skipped,
    ];

    /// The name used in metrics and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Waiting => "waiting",
            Phase::Ready => "ready",
            Phase::Running => "running",
            Phase::Retrying => "retrying",
            Phase::Loaded => "loaded",
            Phase::Failed => "failed",
            Phase::Skipped => "skipped",
        }
    }

    /// Whether the object is through with this run.
    pub fn is_final(self) -> bool {
        matches!(self, Phase::Loaded | Phase::Failed | Phase::Skipped)
    }

    /// Whether its children can never run.
    pub fn dooms_children(self) -> bool {
        matches!(self, Phase::Failed | Phase::Skipped)
    }
}

/// All that one object went through in one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attempts {
    /// By number, ascending.
    attempts: Vec<Attempt>,
    skipped: Option<Skip>,
    /// That somebody says that it is loaded, or that it failed for good.
    marked: [Option<Box<Mark>>; 2],
    /// The plan counts it as loaded: an earlier run's version is fresh enough.
    reused: Option<Box<Version>>,
}

/// A step in an object's story: the phase that it came to, and when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step<'a> {
    /// The phase that began.
    pub phase: Phase,
    /// When, by the clock of whoever said so, and no earlier than the step before.
    pub at: Timestamp,
    /// The attempt; none: it was skipped, marked or reused.
    pub attempt: Option<&'a Attempt>,
}

/// That an object will not run.
#[derive(Clone, Debug, PartialEq)]
struct Skip {
    at: Timestamp,
    /// The attempt that was not to be.
    attempt: u32,
    because: Box<[ObjectId]>,
}

/// That somebody says what an object is, whatever its attempts say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Mark {
    /// When, by their clock.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// As what.
    pub state: MarkedAs,
    /// Why.
    pub because: Option<String>,
    /// Who.
    pub requested_by: Option<String>,
}

impl Mark {
    /// Who says what, and why, for people.
    pub fn text(&self) -> String {
        let by = self.requested_by.as_deref().map(|who| format!(" by {who}")).unwrap_or_default();
        let because = self.because.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        format!("marked as {}{by}{because}", self.state.name())
    }
}

/// One try at an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// The offer.
    pub offer: Option<Offer>,
    /// The objects before it whose last good version serves in place of this run's.
    pub degraded: Box<[ObjectId]>,
    /// The assignment.
    pub assignment: Option<Assignment>,
    /// The first answer.
    pub answer: Option<Settled>,
}

/// That an attempt was offered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Offer {
    /// When, by the orchestrator's clock.
    pub at: Timestamp,
    /// Where the offer stands in the log.
    pub place: Place,
    /// When the log took it, in microseconds since 1970.
    pub timestamp_us: i64,
    /// Why the attempt before was not the last.
    pub cause: Option<Cause>,
}

/// That an attempt was given to a worker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Assignment {
    /// When, by the orchestrator's clock.
    pub at: Timestamp,
    /// Where the assignment stands in the log.
    pub place: Place,
    /// The reign that decided it.
    pub epoch: Epoch,
    /// The start of the worker that has it.
    pub instance: Uuid,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// When, by the answering clock.
    pub at: Timestamp,
    /// When the work began, by the worker's clock.
    pub started_at: Option<Timestamp>,
    /// How long the work took, in seconds.
    pub duration_seconds: Option<f64>,
    /// The worker's name, where it is a stranger's.
    pub worker: Option<Arc<str>>,
    /// What went wrong; none: it is loaded.
    pub failure: Option<Box<Failure>>,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// In one sentence.
    pub error: String,
    /// Whether another try may help.
    pub retryable: bool,
    /// The end of stderr.
    pub stderr: Option<String>,
}

impl Attempt {
    /// Whether it loaded the object.
    pub fn is_loaded(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.failure.is_none())
    }
}

impl Attempts {
    /// The attempts, by number.
    pub fn all(&self) -> &[Attempt] {
        &self.attempts
    }

    /// The attempt with the highest number.
    pub fn last(&self) -> Option<&Attempt> {
        self.attempts.last()
    }

    /// The failed ancestors, if the object was skipped.
    pub fn because(&self) -> Option<&[ObjectId]> {
        self.skipped.as_ref().map(|skip| &*skip.because)
    }

    /// What somebody says of it: that it is loaded counts before that it failed.
    pub fn marked(&self) -> Option<&Mark> {
        self.marked.iter().flatten().next().map(|mark| &**mark)
    }

    fn is_marked(&self, state: MarkedAs) -> bool {
        self.marked().is_some_and(|mark| mark.state == state)
    }

    /// The version of an earlier run that counts as this run's.
    pub fn reused(&self) -> Option<Version> {
        self.reused.as_deref().copied()
    }

    pub(super) fn reuse(&mut self, version: Option<Version>) {
        self.reused = version.map(Box::new);
    }

    /// The objects before it whose last good version served, or is to serve, in place of this run's.
    pub fn degraded(&self) -> &[ObjectId] {
        if self.reused.is_some() || self.is_marked(MarkedAs::Loaded) {
            return &[];
        }
        let loaded = self.attempts.iter().find(|attempt| attempt.is_loaded());
        loaded.or(self.attempts.last()).map_or(&[], |attempt| &attempt.degraded)
    }

    /// How many attempts failed.
    pub fn failures(&self) -> u32 {
        let failed = self.attempts.iter().filter(|attempt| attempt.answer.is_some());
        u32::try_from(failed.count()).unwrap_or(u32::MAX)
    }

    /// The number of the attempt that comes next.
    pub(super) fn next_number(&self) -> u32 {
        let last = self.attempts.last().map_or(0, |last| last.number);
        last.max(self.skipped.as_ref().map_or(0, |skip| skip.attempt)).saturating_add(1)
    }

    /// The answer that made it loaded.
    pub fn loaded(&self) -> Option<&Settled> {
        self.attempts
            .iter()
            .filter_map(|attempt| attempt.answer.as_ref())
            .find(|answer| answer.failure.is_none())
    }

    /// The last failure of an object that failed.
    pub fn failure(&self) -> Option<&Failure> {
        self.attempts.iter().rev().find_map(|attempt| attempt.answer.as_ref()?.failure.as_deref())
    }

    /// How many workers went while they held it, each seen by the orchestrator that had given it to them.
    pub fn workers_lost(&self) -> usize {
        self.attempts
            .iter()
            .filter(|attempt| attempt.offer.is_some_and(|offer| offer.cause == Some(Cause::WorkerLost)))
            .count()
    }

    /// How it came to stand where it does: each phase after [`Phase::Waiting`], and when it began. Times never go back,
    /// whatever the clocks of those who wrote them say, and the last step is the phase of now.
    pub fn story(&self, retries: u32) -> Vec<Step<'_>> {
        let mut story: Vec<Step<'_>> = Vec::with_capacity(3 * self.attempts.len() + 1);
        let mut loaded: Option<Step<'_>> = None;
        let mut failures = 0;
        for (i, attempt) in self.attempts.iter().enumerate() {
            let mut tell = |phase, at: Timestamp| {
                let at = story.last().map_or(at, |last| at.max(last.at));
                story.push(Step { phase, at, attempt: Some(attempt) });
            };
            if let Some(offer) = attempt.offer {
                tell(Phase::Ready, offer.at);
            }
            let answer = attempt.answer.as_ref();
            let began = answer.and_then(|answer| answer.started_at);
            if let Some(at) = began.or(attempt.assignment.map(|assignment| assignment.at)) {
                tell(Phase::Running, at);
            }
            match answer.map(|answer| (answer.at, answer.failure.as_deref())) {
                None => {}
                // It may come while a later attempt is under way: told below, at its time.
                Some((at, None)) => {
                    let at = story.last().map_or(at, |last| at.max(last.at));
                    if loaded.is_none_or(|first| at < first.at) {
                        loaded = Some(Step { phase: Phase::Loaded, at, attempt: Some(attempt) });
                    }
                }
                Some((at, Some(failure))) => {
                    failures += 1;
                    let next = self.attempts.get(i + 1).and_then(|next| next.offer);
                    let at = next.map_or(at, |next| at.min(next.at));
                    let again = failure.retryable && failures <= retries;
                    tell(if again { Phase::Retrying } else { Phase::Failed }, at);
                }
            }
        }
        if let Some(loaded) = loaded {
            story.retain(|step| step.at <= loaded.at);
            story.push(loaded);
        }
        if let Some(reused) = &self.reused {
            return vec![Step { phase: Phase::Loaded, at: reused.at, attempt: None }];
        }
        if let Some(mark) = self.marked().filter(|mark| loaded.is_none() || mark.state == MarkedAs::Loaded) {
            let phase = match mark.state {
                MarkedAs::Loaded => Phase::Loaded,
                MarkedAs::Failed => Phase::Failed,
            };
            let at = story.last().map_or(mark.at, |last| mark.at.max(last.at));
            if story.last().is_none_or(|last| last.phase != phase) {
                story.push(Step { phase, at, attempt: None });
            }
            if phase == Phase::Loaded {
                return story;
            }
        }
        if let Some(skip) = &self.skipped {
            let at = story.last().map_or(skip.at, |last| skip.at.max(last.at));
            story.push(Step { phase: Phase::Skipped, at, attempt: None });
        }
        story
    }

    /// Where the object stands, if a failure worth it is tried again `retries` times.
    pub fn phase(&self, retries: u32) -> Phase {
        if self.reused.is_some() || self.is_marked(MarkedAs::Loaded) {
            return Phase::Loaded;
        }
        if self.skipped.is_some() {
            return Phase::Skipped;
        }
        if self.loaded().is_some() {
            return Phase::Loaded;
        }
        if self.is_marked(MarkedAs::Failed) {
            return Phase::Failed;
        }
        let Some(last) = self.attempts.last() else { return Phase::Waiting };
        match (&last.answer, &last.assignment) {
            (Some(answer), _) => {
                let retryable = answer.failure.as_ref().is_some_and(|failure| failure.retryable);
                if retryable && self.failures() <= retries { Phase::Retrying } else { Phase::Failed }
            }
            (None, Some(_)) => Phase::Running,
            (None, None) => Phase::Ready,
        }
    }

    /// Folds an offer: the first of an attempt counts. It undoes the skip of an attempt before it.
    pub(super) fn offered(&mut self, ready: &Ready, at: Timestamp, place: Place, timestamp_us: i64) {
        let offer = Offer { at, place, timestamp_us, cause: ready.cause };
        let attempt = self.attempt(ready.attempt);
        if attempt.offer.is_none() {
            attempt.offer = Some(offer);
            attempt.degraded = ready.degraded.clone().into_boxed_slice();
        }
        if self.skipped.as_ref().is_some_and(|skip| skip.attempt < ready.attempt) {
            self.skipped = None;
        }
    }

    /// Folds an assignment: the first of an attempt counts.
    pub(super) fn assigned(&mut self, assigned: &Assigned, at: Timestamp, place: Place, epoch: Epoch) {
        let assignment = Assignment { at, place, epoch, instance: assigned.instance };
        self.attempt(assigned.attempt).assignment.get_or_insert(assignment);
    }

    /// Folds an answer: the first of an attempt counts.
    pub(super) fn answered(
        &mut self,
        answer: &Answer,
        failed: bool,
        at: Timestamp,
        worker: Option<Arc<str>>,
    ) {
        let slot = &mut self.attempt(answer.attempt).answer;
        if slot.is_some() {
            return;
        }
        let meta = &answer.meta;
        let failure = failed.then(|| {
            Box::new(Failure {
                error: shorten(meta.error.as_deref().unwrap_or("failed without an error text")),
                retryable: meta.retryable.unwrap_or(false),
                stderr: meta.stderr.as_deref().map(shorten),
            })
        });
        *slot = Some(Settled {
            at,
            started_at: meta.started_at,
            duration_seconds: meta.duration_seconds.filter(|seconds| seconds.is_finite()),
            worker,
            failure,
        });
    }

    /// Folds a skip: the first counts, and neither an object that is loaded was skipped nor one that was offered since.
    pub(super) fn skip(&mut self, skipped: &Skipped, at: Timestamp) {
        let offered = self.attempts.iter().rev().find(|attempt| attempt.offer.is_some());
        let is_past = offered.is_some_and(|attempt| attempt.number >= skipped.attempt);
        if self.skipped.is_none() && self.loaded().is_none() && !is_past {
            let because = skipped.because.clone().into_boxed_slice();
            self.skipped = Some(Skip { at, attempt: skipped.attempt, because });
        }
    }

    /// Folds a mark: the first of each kind counts.
    pub(super) fn mark(&mut self, marked: &Marked, at: Timestamp) {
        let slot = match marked.state {
            MarkedAs::Loaded => &mut self.marked[0],
            MarkedAs::Failed => &mut self.marked[1],
        };
        slot.get_or_insert_with(|| {
            Box::new(Mark {
                at,
                state: marked.state,
                because: marked.because.as_deref().map(shorten),
                requested_by: marked.requested_by.as_deref().map(shorten),
            })
        });
    }

    fn attempt(&mut self, number: u32) -> &mut Attempt {
        let at = match self.attempts.binary_search_by_key(&number, |attempt| attempt.number) {
            Ok(at) => at,
            Err(at) => {
                let degraded = Box::default();
                let attempt = Attempt { number, offer: None, degraded, assignment: None, answer: None };
                self.attempts.insert(at, attempt);
                at
            }
        };
        &mut self.attempts[at]
    }
}

fn shorten(text: &str) -> String {
    let mut end = text.len().min(KEPT_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
