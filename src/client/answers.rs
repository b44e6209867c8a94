//! What the API answers, as far as the commands look at it. What is missing in an older one is taken as absent.

use serde::Deserialize;

use super::text;
use crate::domain::attempt::Mark;
use crate::domain::event::{Counts, RunId};
use crate::domain::object::{Criticality, ObjectId, Stage};
use crate::domain::problem::Problem;
use crate::progress::Standing;

/// A run.
#[derive(Debug, Deserialize)]
pub struct RunLine {
    /// Its id.
    pub run_id: RunId,
    /// `queued`, `running`, `paused`, `succeeded`, `failed` or `cancelled`.
    pub state: String,
    /// Who asked for it.
    pub requested_by: Option<String>,
    /// When.
    pub requested_at: Option<String>,
    /// When it was planned.
    pub planned_at: Option<String>,
    /// When it ended.
    pub finished_at: Option<String>,
    /// Why it ended so.
    pub reason: Option<String>,
    /// What was selected.
    pub selection: Option<String>,
    /// When it was due, where a schedule asked.
    pub scheduled_for: Option<String>,
    /// How many objects stand how.
    pub counts: Counts,
    /// How long it took, or takes already.
    pub duration_seconds: Option<f64>,
    /// Who paused it.
    #[serde(default)]
    pub paused_by: Option<String>,
    /// When.
    #[serde(default)]
    pub paused_at: Option<String>,
    /// By which rules it goes.
    #[serde(default)]
    pub rules: Option<Rules>,
    /// What was loaded less than this long before was not loaded again.
    #[serde(default)]
    pub fresh: Option<String>,
}

/// By which rules a run goes.
#[derive(Debug, Deserialize)]
pub struct Rules {
    /// How often a failed object that is worth it is tried again.
    pub retries: u32,
    /// How long the first of these tries waits.
    pub backoff: String,
    /// How long an attempt may take.
    pub timeout: Option<String>,
    /// `skip`, `stop` or `continue`.
    pub on_failure: String,
    /// What may run at once.
    pub limits: Vec<String>,
}

/// The history.
#[derive(Debug, Deserialize)]
pub struct Runs {
    /// The newest first.
    pub runs: Vec<RunLine>,
}

/// A run with objects.
#[derive(Debug, Deserialize)]
pub struct RunDetail {
    /// The run.
    #[serde(flatten)]
    pub line: RunLine,
    /// Its stages; none while it is not planned, and of a run that is long over.
    #[serde(default)]
    pub stages: Vec<StageCounts>,
    /// Its objects, or those that were asked for.
    #[serde(default)]
    pub objects: Vec<Object>,
    /// What is wrong with its catalogue.
    #[serde(default)]
    pub problems: Vec<Problem>,
    /// When it will be over, while it goes on.
    pub estimate: Option<Estimate>,
}

/// When a run will be over.
#[derive(Debug, Deserialize)]
pub struct Estimate {
    /// When; none: nobody can say.
    pub ends_at: Option<String>,
    /// The objects that nobody waits for and that are not through, the earliest first; some where there are many.
    #[serde(default)]
    pub final_objects: Vec<FinalObject>,
    /// How many there are of these in all.
    #[serde(default)]
    pub final_objects_left: usize,
}

/// When an object that nobody waits for will be through.
#[derive(Debug, Deserialize)]
pub struct FinalObject {
    /// Its id.
    pub id: ObjectId,
    /// Its name.
    pub name: Option<String>,
    /// How urgent it is.
    #[serde(default)]
    pub criticality: Criticality,
    /// When.
    pub estimated_end: String,
}

/// How many objects of a stage stand how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct StageCounts {
    /// The stage.
    pub stage: Stage,
    /// All of them.
    pub objects: u64,
    /// A parent is not loaded.
    pub waiting: u64,
    /// No worker has it.
    pub ready: u64,
    /// A worker has it.
    pub running: u64,
    /// It is tried again.
    pub retrying: u64,
    /// It is loaded.
    pub loaded: u64,
    /// It failed.
    pub failed: u64,
    /// It will not run.
    pub skipped: u64,
}

impl RunDetail {
    /// Where the stages stand, for bars.
    pub fn standings(&self) -> [Standing; Stage::ALL.len()] {
        let paused = self.line.paused_at.is_some();
        Stage::ALL.map(|stage| {
            let counts = self.stages.iter().find(|counts| counts.stage == stage);
            counts.map_or_else(Standing::default, |counts| Standing {
                objects: counts.objects,
                through: counts.loaded + counts.failed + counts.skipped,
                running: counts.running,
                failed: counts.failed,
                skipped: counts.skipped,
                paused,
            })
        })
    }
}

/// An object of a run.
#[derive(Debug, Deserialize)]
pub struct Object {
    /// Its id.
    pub id: ObjectId,
    /// Its name.
    pub name: Option<String>,
    /// Its stage.
    pub stage: Stage,
    /// Its state.
    pub state: String,
    /// Its parents.
    #[serde(default)]
    pub parents: Vec<ObjectId>,
    /// The failed ancestors.
    #[serde(default)]
    pub because: Vec<ObjectId>,
    /// The objects before it whose last good version serves in place of this run's.
    #[serde(default)]
    pub degraded: Vec<ObjectId>,
    /// What somebody says that it is.
    #[serde(default)]
    pub marked: Option<Mark>,
    /// When it is tried again.
    #[serde(default)]
    pub next_try_at: Option<String>,
    /// What it went through.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
}

impl Object {
    /// Its name, if it has one worth showing.
    pub fn name(&self) -> Option<String> {
        self.name.as_deref().map(text::clean).filter(|name| !name.is_empty())
    }

    /// The last failure's attempt.
    pub fn failure(&self) -> Option<&Attempt> {
        self.attempts.iter().rev().find(|attempt| attempt.error.is_some())
    }
}

/// One try at an object.
#[derive(Debug, Deserialize)]
pub struct Attempt {
    /// From 1.
    pub attempt: u32,
    /// Who has or had it.
    pub worker: Option<String>,
    /// When it was given to that worker.
    pub assigned_at: Option<String>,
    /// How long the work took.
    pub duration_seconds: Option<f64>,
    /// What went wrong.
    pub error: Option<String>,
    /// The end of stderr.
    pub stderr: Option<String>,
}

/// Who leads and who works.
#[derive(Debug, Deserialize)]
pub struct Workers {
    /// The last leader heard of.
    pub leader: Option<Leader>,
    /// Every worker heard of.
    pub workers: Vec<Worker>,
}

/// A leader.
#[derive(Debug, Deserialize)]
pub struct Leader {
    /// Its reign.
    pub epoch: u64,
    /// This start of the orchestrator.
    pub instance: String,
    /// Whether it still leads.
    pub led: bool,
    /// For how long it has been silent.
    pub silent_seconds: Option<f64>,
}

/// A worker.
#[derive(Debug, Deserialize)]
pub struct Worker {
    /// The stages that it serves.
    pub stages: Vec<Stage>,
    /// How many objects it runs at once.
    pub slots: u32,
    /// It serves an orchestrator of the old system only.
    #[serde(default)]
    pub foreign: bool,
    /// `up`, `draining`, `silent` or `gone`.
    pub state: String,
}

impl Workers {
    /// Whether an orchestrator leads.
    pub fn is_led(&self) -> bool {
        self.leader.as_ref().is_some_and(|leader| leader.led)
    }

    /// Who is there for a stage.
    fn serving(&self, stage: Stage) -> impl Iterator<Item = &Worker> {
        let ours = self.workers.iter().filter(|worker| worker.state == "up" && !worker.foreign);
        ours.filter(move |worker| worker.stages.contains(&stage))
    }

    /// How many workers a stage has.
    pub fn up(&self, stage: Stage) -> usize {
        self.serving(stage).count()
    }

    /// How many slots a stage has.
    pub fn slots(&self, stage: Stage) -> u64 {
        self.serving(stage).map(|worker| u64::from(worker.slots)).sum()
    }

    /// Who leads, in a sentence.
    pub fn leader_text(&self) -> String {
        match &self.leader {
            None => "no orchestrator leads: none has been heard of".into(),
            Some(leader) => {
                let silent = leader.silent_seconds.map(text::seconds);
                let heard = silent.map(|silent| format!(", heard {silent} ago")).unwrap_or_default();
                let (instance, epoch) = (text::clean(&leader.instance), leader.epoch);
                let leads = if leader.led { "led by" } else { "no orchestrator leads: the last one was" };
                format!("{leads} orchestrator {instance} (epoch {epoch}{heard})")
            }
        }
    }
}
