//! Why an object does not run, and what stands in its way, down to the objects that are the cause.
//!
//! Pure: what is known and the time go in, an answer of bounded size comes out. It decides nothing: the scheduler may
//! see the same things a moment later and act.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::attempt::{Attempt, Mark};
use super::board::Board;
use super::event::{Epoch, Outcome, RunId, Version, time_text};
use super::history::History;
use super::member::Members;
use super::object::{ObjectId, Stage};
use super::run::Run;
use super::scheduler::Now;

mod look;

use look::Look;

/// An answer names at most so many causes, each with the shortest way to it; the rest are counted.
pub const MAX_CHAINS: usize = 20;
/// A way names at most so many objects; the rest are counted.
pub const MAX_VIA: usize = 16;
/// Lists inside an answer have at most so many elements.
const MAX_LISTED: usize = 10;
/// An offer that no worker was given for so long though a slot is free is meant for somebody else.
const SOON: Duration = Duration::from_secs(5);

/// All that an answer follows from.
#[derive(Debug)]
pub struct Situation<'a> {
    /// The run that is asked about.
    pub run: &'a Run,
    /// The runs whose turn comes before, the one that is worked on first.
    pub before: Vec<RunId>,
    /// Who leads and who works.
    pub members: &'a Members,
    /// The time.
    pub now: Now,
}

/// Where an object stands, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The run.
    pub run: RunStanding,
    /// The object.
    pub object: Standing,
    /// The causes, the gravest first, each with the shortest way to it.
    pub chains: Vec<Chain>,
    /// How many causes there are beyond those.
    pub more: usize,
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunStanding {
    /// Its id.
    pub run_id: RunId,
    /// Its state.
    pub state: RunState,
    /// Why it ended so, where the outcome alone does not say.
    pub reason: Option<String>,
    /// Somebody wants it to stop, and it has not ended yet.
    pub cancelling: bool,
    /// Somebody paused it.
    pub paused: Option<Paused>,
    /// It starts nothing more: something failed, and it is to stop then.
    #[serde(default)]
    pub stopping: bool,
    /// The runs whose turn comes before, at most ten of them.
    pub before: Vec<RunId>,
    /// Who leads.
    pub leader: LeaderStanding,
}

/// That a run is paused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Paused {
    /// Who paused it.
    pub by: Option<String>,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
}

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// It is asked for and not planned.
    Queued,
    /// It is planned and not over.
    Running,
    /// It is not over, and somebody wants nothing more of it to start.
    Paused,
    /// Everything is loaded.
    Succeeded,
    /// Something failed.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

/// Whether somebody decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LeaderStanding {
    /// Whether an orchestrator leads.
    pub led: bool,
    /// The epoch of the last one heard of.
    #[schema(value_type = Option<u64>)]
    pub epoch: Option<Epoch>,
    /// For how long it has been silent.
    pub silent_seconds: Option<f64>,
}

/// Where an object stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Standing {
    /// Its id.
    pub id: ObjectId,
    /// Its name.
    pub name: Option<String>,
    /// Its stage; none where no plan knows it.
    pub stage: Option<Stage>,
    /// The objects before it whose last good version serves in place of this run's.
    #[serde(default)]
    pub degraded: Vec<Older>,
    /// The version of an earlier run that counts as this run's.
    pub reused: Option<Version>,
    /// What somebody says that it is.
    pub marked: Option<Mark>,
    /// Its state, and what belongs to it.
    #[serde(flatten)]
    pub why: Why,
}

/// An object whose last good version serves in place of this run's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Older {
    /// Its id.
    pub id: ObjectId,
    /// Its name.
    pub name: Option<String>,
    /// How it stands in this run.
    pub state: String,
    /// What serves.
    pub version: Option<Version>,
}

/// The state of an object, and what belongs to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Why {
    /// It is loaded.
    Loaded {
        /// By which attempt.
        attempt: u32,
        /// By whom.
        worker: Option<String>,
        /// When.
        #[schema(format = DateTime)]
        at: String,
        /// How long the work took.
        duration_seconds: Option<f64>,
    },
    /// A worker has it.
    Running {
        /// The attempt.
        attempt: u32,
        /// Who.
        worker: Option<String>,
        /// Since when.
        #[schema(format = DateTime)]
        since: String,
        /// For how long.
        seconds: f64,
        /// For how long that worker has been silent, where that is longer than its lease.
        silent_seconds: Option<f64>,
    },
    /// It failed, and is tried again.
    Retrying {
        /// The attempt that failed.
        attempt: u32,
        /// Whose it was.
        worker: Option<String>,
        /// What went wrong.
        error: String,
        /// What the next attempt waits for.
        hold: Hold,
    },
    /// It failed for good.
    Failed {
        /// How often it was tried.
        attempts: u32,
        /// Who tried it last.
        worker: Option<String>,
        /// When it failed.
        #[schema(format = DateTime)]
        at: Option<String>,
        /// What went wrong.
        error: String,
        /// The end of stderr.
        stderr: Option<String>,
    },
    /// It will not run: an ancestor failed, or something did in a run that is to stop then.
    Skipped {
        /// It is the run that stops: the object need not come after what failed.
        #[serde(default)]
        stopped: bool,
    },
    /// It waits for parents.
    Waiting {
        /// How many.
        unmet: usize,
    },
    /// Every parent is loaded, and no worker has it.
    Ready {
        /// The attempt that is due.
        attempt: u32,
        /// Since when it is offered; none: not yet.
        #[schema(format = DateTime)]
        since: Option<String>,
        /// For how long.
        seconds: Option<f64>,
        /// What it waits for.
        hold: Hold,
    },
    /// The run ended before it ran.
    NotRun {
        /// Where it stood then.
        was: String,
    },
    /// The run has no plan.
    NotPlanned,
    /// The run does not load it: it counts as loaded for those that need it.
    Satisfied {
        /// Some of them.
        needed_by: Vec<ObjectId>,
    },
}

/// What an object waits for whose parents are all loaded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum Hold {
    /// Nobody decides.
    NoLeader,
    /// The run is being stopped.
    Cancelling,
    /// The run is paused.
    Paused,
    /// Something failed, and the run stops then.
    Stopping,
    /// It failed, and its next try is not due.
    Backoff {
        /// When it is, at the earliest.
        #[schema(format = DateTime)]
        until: String,
        /// In so many seconds.
        seconds: f64,
    },
    /// So many objects with something in common run as may.
    Limit {
        /// The limit, with the value that it holds for.
        limit: String,
        /// What runs of these for the longest.
        by: Vec<Busy>,
        /// How many more do.
        more: usize,
    },
    /// No worker serves the stage.
    NoWorker {
        /// Workers that did and are silent, or leave.
        lost: Vec<String>,
    },
    /// Every slot of the stage is taken.
    SlotsBusy {
        /// How many there are.
        slots: u64,
        /// Of how many workers.
        workers: usize,
        /// What has them for the longest.
        by: Vec<Busy>,
        /// How many more have one.
        more: usize,
    },
    /// Consumers of the old format serve the stage: one of them has to answer the offer.
    Strangers,
    /// A slot is free and yet no worker was given it: the stage may be left to consumers of the old format.
    PerhapsStrangers,
    /// Nothing: it is its turn at any moment.
    Soon,
}

/// What has a slot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Busy {
    /// The object.
    pub id: ObjectId,
    /// Its name.
    pub name: Option<String>,
    /// Who runs it.
    pub worker: String,
    /// For how long.
    pub seconds: Option<f64>,
    /// Its run, where it is another one.
    pub run_id: Option<RunId>,
}

/// A cause, and the way to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Chain {
    /// The objects between, from a parent of the object on. Empty: the cause is a parent itself.
    pub via: Vec<Link>,
    /// How many more lie between the last of these and the cause.
    pub omitted: usize,
    /// The cause.
    pub culprit: Standing,
}

/// An object on the way to a cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Link {
    /// Its id.
    pub id: ObjectId,
    /// Its name.
    pub name: Option<String>,
    /// Its stage.
    pub stage: Stage,
    /// `waiting` or `skipped`.
    pub state: String,
}

impl RunState {
    /// The name used in the API.
    pub fn name(self) -> &'static str {
        match self {
            RunState::Queued => "queued",
            RunState::Running => "running",
            RunState::Paused => "paused",
            RunState::Succeeded => "succeeded",
            RunState::Failed => "failed",
            RunState::Cancelled => "cancelled",
        }
    }

    /// What this run is doing.
    pub fn of(run: &Run) -> RunState {
        match &run.finished {
            Some((_, finished)) => match finished.outcome {
                Outcome::Succeeded => RunState::Succeeded,
                Outcome::Failed => RunState::Failed,
                Outcome::Cancelled => RunState::Cancelled,
            },
            None if run.paused().is_some() => RunState::Paused,
            None if run.board().is_some() => RunState::Running,
            None => RunState::Queued,
        }
    }
}

impl Standing {
    /// Where an object stands that no plan has.
    fn beside(id: ObjectId, why: Why) -> Standing {
        Standing { id, name: None, stage: None, degraded: Vec::new(), reused: None, marked: None, why }
    }
}

impl<'a> Situation<'a> {
    /// The situation of one of these runs.
    pub fn of(history: &'a History, run: &'a Run, members: &'a Members, now: Now) -> Situation<'a> {
        let mut before = Vec::new();
        if run.finished.is_none()
            && let Some(active) = history.active().filter(|active| active.id != run.id)
        {
            before.push(active.id);
            before.extend(history.queue().into_iter().map(|queued| queued.id).take_while(|id| *id != run.id));
        }
        Situation { run, before, members, now }
    }

    /// Why this object stands where it stands. None: the run has a plan, and the object is nowhere in it.
    pub fn explain(&self, id: ObjectId) -> Option<Explanation> {
        let answer = |object, chains, more| Some(Explanation { run: self.run(), object, chains, more });
        let Some(board) = self.run.board() else {
            let object = Standing::beside(id, Why::NotPlanned);
            return answer(object, Vec::new(), 0);
        };
        let Some(i) = board.position(id) else {
            let children = board.objects().iter().filter(|object| object.satisfied.contains(&id));
            let needed_by: Vec<ObjectId> = children.map(|object| object.id).take(MAX_LISTED).collect();
            if needed_by.is_empty() {
                return None;
            }
            let object = Standing::beside(id, Why::Satisfied { needed_by });
            return answer(object, Vec::new(), 0);
        };
        let mut look = Look::new(self, board);
        let object = look.standing(i);
        let (chains, more) = match object.why {
            Why::Skipped { .. } | Why::Waiting { .. } => look.chains(i),
            _ => (Vec::new(), 0),
        };
        answer(object, chains, more)
    }

    fn run(&self) -> RunStanding {
        let reign = self.members.reign();
        RunStanding {
            run_id: self.run.id,
            state: RunState::of(self.run),
            reason: self.run.finished.as_ref().and_then(|(_, finished)| finished.reason.clone()),
            cancelling: self.run.cancel.is_some() && self.run.finished.is_none(),
            paused: self
                .run
                .paused()
                .map(|pause| Paused { by: pause.asked.requested_by.clone(), at: time_text(pause.at) }),
            stopping: self.run.finished.is_none() && self.run.board().is_some_and(Board::is_stopped),
            before: self.before.iter().copied().take(MAX_LISTED).collect(),
            leader: LeaderStanding {
                led: self.members.is_led(self.now.mono),
                epoch: reign.map(|(reign, _)| reign.epoch),
                silent_seconds: reign.map(|(_, heard)| self.now.mono.saturating_sub(*heard).as_secs_f64()),
            },
        }
    }

    fn seconds_since(&self, at: Timestamp) -> f64 {
        // Another process's clock may be ahead of this one's.
        self.now.wall.duration_since(at).as_secs_f64().max(0.0)
    }

    fn worker(&self, attempt: &Attempt) -> Option<String> {
        let assigned = attempt.assignment.and_then(|assignment| self.run.worker_name(assignment.instance));
        let answered = attempt.answer.as_ref().and_then(|answer| answer.worker.as_ref());
        assigned.or(answered).map(ToString::to_string)
    }
}

#[cfg(test)]
mod tests;
