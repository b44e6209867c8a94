//! How a run ended, for people and for scripts.

use std::io::{self, Write};

use serde::Serialize;

use crate::domain::attempt::{Mark, Phase};
use crate::domain::event::{Counts, Outcome, RunId};
use crate::domain::graph::Graph;
use crate::domain::member::{Members, WorkerState};
use crate::domain::object::{ObjectId, Stage};
use crate::domain::rules::duration_text;
use crate::domain::run::Run;
use crate::exit::Exit;

/// How many objects of each stage can run at once, by [`Stage::index`].
pub type Slots = [u32; Stage::ALL.len()];

/// The summary of a finished run.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// The run.
    pub run_id: RunId,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, where the outcome alone does not say.
    pub reason: Option<String>,
    /// How many objects ended how.
    pub counts: Counts,
    /// From request to end, in seconds.
    pub duration_seconds: f64,
    /// The least that the run could have taken with the slots given, by the durations measured, in seconds.
    pub lower_bound_seconds: f64,
    /// The objects that failed for good.
    pub failed: Vec<FailedObject>,
    /// The objects that did not run because an ancestor failed.
    pub skipped: Vec<SkippedObject>,
    /// Objects that needed more than one attempt.
    pub repeated: u64,
    /// What was loaded less than this long before was not loaded again.
    pub fresh: Option<String>,
    /// The objects that were loaded with an older version of something before them.
    pub degraded: Vec<DegradedObject>,
    /// The objects that somebody marked.
    pub marked: Vec<MarkedObject>,
}

/// An object that was loaded with an older version of something before it.
#[derive(Debug, Serialize)]
pub struct DegradedObject {
    /// Its id.
    pub id: ObjectId,
    /// Its name.
    pub name: Option<String>,
    /// Its stage.
    pub stage: Stage,
    /// What had no newer version.
    pub because: Vec<ObjectId>,
}

/// An object that somebody marked.
#[derive(Debug, Serialize)]
pub struct MarkedObject {
    /// Its id.
    pub id: ObjectId,
    /// Its name.
    pub name: Option<String>,
    /// Its stage.
    pub stage: Stage,
    /// As what, who and why.
    #[serde(flatten)]
    pub mark: Mark,
}

/// An object that failed for good.
#[derive(Debug, Serialize)]
pub struct FailedObject {
    /// Its id.
    pub id: ObjectId,
    /// Its name.
    pub name: Option<String>,
    /// Its stage.
    pub stage: Stage,
    /// How often it was tried.
    pub attempts: u32,
    /// What went wrong the last time.
    pub error: String,
    /// The end of stderr.
    pub stderr: Option<String>,
}

/// An object that did not run.
#[derive(Debug, Serialize)]
pub struct SkippedObject {
    /// Its id.
    pub id: ObjectId,
    /// Its name.
    pub name: Option<String>,
    /// Its stage.
    pub stage: Stage,
    /// The failed ancestors.
    pub because: Vec<ObjectId>,
}

impl Summary {
    /// The summary of a run that is over, with so many slots in each stage. None while it goes on.
    pub fn of(run: &Run, slots: Slots) -> Option<Summary> {
        let (_, finished) = run.finished.as_ref()?;
        let mut summary = Summary {
            run_id: run.id,
            outcome: finished.outcome,
            reason: finished.reason.clone(),
            counts: finished.counts,
            duration_seconds: finished.duration_seconds,
            lower_bound_seconds: 0.0,
            failed: Vec::new(),
            skipped: Vec::new(),
            repeated: 0,
            fresh: run.request.as_ref().and_then(|(_, request)| request.fresh).map(duration_text),
            degraded: Vec::new(),
            marked: Vec::new(),
        };
        let Some(board) = run.board() else { return Some(summary) };
        summary.lower_bound_seconds = lower_bound_seconds(run, slots);
        for (i, object) in board.objects().iter().enumerate() {
            let attempts = board.attempts(i);
            summary.repeated += u64::from(attempts.all().len() > 1);
            let name = || object.entry.as_ref().and_then(|entry| name_of(entry.get()));
            if let Some(mark) = attempts.marked().cloned() {
                summary.marked.push(MarkedObject { id: object.id, name: name(), stage: object.stage, mark });
            }
            match board.phase(i) {
                Phase::Loaded if !attempts.degraded().is_empty() => summary.degraded.push(DegradedObject {
                    id: object.id,
                    name: name(),
                    stage: object.stage,
                    because: attempts.degraded().to_vec(),
                }),
                Phase::Failed => summary.failed.push(FailedObject {
                    id: object.id,
                    name: name(),
                    stage: object.stage,
                    attempts: attempts.last().map_or(0, |last| last.number),
                    error: attempts
                        .failure()
                        .map(|failure| failure.error.clone())
                        .or_else(|| attempts.marked().map(Mark::text))
                        .unwrap_or_default(),
                    stderr: attempts.failure().and_then(|failure| failure.stderr.clone()),
                }),
                Phase::Skipped => summary.skipped.push(SkippedObject {
                    id: object.id,
                    name: name(),
                    stage: object.stage,
                    because: attempts.because().unwrap_or_default().to_vec(),
                }),
                _ => {}
            }
        }
        Some(summary)
    }

    /// The exit code that says so.
    pub fn exit(&self) -> Exit {
        match (self.outcome, self.reason.as_deref()) {
            (Outcome::Succeeded, _) => Exit::Done,
            (Outcome::Cancelled, _) => Exit::Interrupted,
            (Outcome::Failed, Some("bad-catalogue")) => Exit::BadCatalogue,
            (Outcome::Failed, Some("log-truncated")) => Exit::Internal,
            (Outcome::Failed, _) => Exit::Failed,
        }
    }

    /// Writes it for people.
    ///
    /// # Errors
    /// When `out` does not take it.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        /// More failures or skips than this are counted, not listed: the page and `--output json` have all of them.
        const LISTED: usize = 50;
        let Counts { objects, loaded, failed, skipped, degraded, reused } = self.counts;
        let reason = self.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        writeln!(out, "run {} {}{reason}", self.run_id, self.outcome.name())?;
        writeln!(out, "  {objects} objects: {loaded} loaded, {failed} failed, {skipped} skipped")?;
        if degraded > 0 {
            writeln!(out, "  {degraded} loaded with an older version of something before them (degraded)")?;
        }
        if reused > 0 {
            writeln!(out, "  {}", reused_text(reused, self.fresh.as_deref()))?;
        }
        if self.repeated > 0 {
            writeln!(out, "  {} took more than one attempt", self.repeated)?;
        }
        let ratio = self.duration_seconds / self.lower_bound_seconds;
        write!(out, "  took {:.2} s, lower bound {:.2} s", self.duration_seconds, self.lower_bound_seconds)?;
        if ratio.is_finite() {
            writeln!(out, " (× {ratio:.2})")?;
        } else {
            writeln!(out)?;
        }
        for object in self.failed.iter().take(LISTED) {
            let tries = if object.attempts > 1 {
                format!(" after {} attempts", object.attempts)
            } else {
                String::new()
            };
            writeln!(
                out,
                "  failed   {} {}{tries}: {}",
                object.id,
                label(&object.name, object.stage),
                object.error
            )?;
            for line in object
                .stderr
                .iter()
                .flat_map(|stderr| stderr.lines().rev().take(3).collect::<Vec<_>>().into_iter().rev())
            {
                writeln!(out, "             | {line}")?;
            }
        }
        more(out, self.failed.len(), LISTED)?;
        for object in self.skipped.iter().take(LISTED) {
            let because: Vec<String> = object.because.iter().map(ToString::to_string).collect();
            writeln!(
                out,
                "  skipped  {} {}: because of {}",
                object.id,
                label(&object.name, object.stage),
                because.join(", ")
            )?;
        }
        more(out, self.skipped.len(), LISTED)?;
        for object in self.degraded.iter().take(LISTED) {
            let because: Vec<String> = object.because.iter().map(ToString::to_string).collect();
            let (label, because) = (label(&object.name, object.stage), because.join(", "));
            writeln!(out, "  degraded {} {label}: with an older version of {because}", object.id)?;
        }
        more(out, self.degraded.len(), LISTED)?;
        for object in self.marked.iter().take(LISTED) {
            let (label, text) = (label(&object.name, object.stage), one_line(&object.mark.text()));
            writeln!(out, "  marked   {} {label}: {text}", object.id)?;
        }
        more(out, self.marked.len(), LISTED)
    }
}

/// How many objects were not loaded again, and why.
pub fn reused_text(reused: u64, fresh: Option<&str>) -> String {
    let why =
        fresh.map_or_else(|| "loaded not long ago".into(), |fresh| format!("loaded less than {fresh} ago"));
    format!("{reused} reused ({why})")
}

/// Somebody else's text on one line of a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn more(out: &mut dyn Write, count: usize, listed: usize) -> io::Result<()> {
    if count > listed { writeln!(out, "           and {} more", count - listed) } else { Ok(()) }
}

fn label(name: &Option<String>, stage: Stage) -> String {
    name.as_ref().map_or_else(|| format!("({stage})"), |name| format!("{name} ({stage})"))
}

/// The `NomObjet` of an entry.
pub fn name_of(entry: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Named {
        #[serde(rename = "NomObjet")]
        name: Option<String>,
    }
    serde_json::from_str::<Named>(entry).ok()?.name.filter(|name| !name.trim().is_empty())
}

/// The slots of each stage, of all the workers that are there.
pub fn slots(members: &Members) -> Slots {
    let mut slots = Slots::default();
    for worker in members.workers().map(|known| &known.heartbeat) {
        if worker.state != WorkerState::Gone && !worker.foreign {
            for stage in Stage::ALL.into_iter().filter(|stage| worker.stages.contains(stage)) {
                slots[stage.index()] = slots[stage.index()].saturating_add(worker.slots);
            }
        }
    }
    slots
}

/// The least that a run could have taken with so many slots a stage, by the durations measured; what never ran counts
/// nothing.
pub fn lower_bound_seconds(run: &Run, slots: Slots) -> f64 {
    let Some(board) = run.board() else { return 0.0 };
    let took_seconds = |i: usize| -> f64 {
        let seconds =
            board.attempts(i).all().iter().filter_map(|attempt| attempt.answer.as_ref()?.duration_seconds);
        seconds.fold(0.0, f64::max)
    };
    let slots = slots.map(u64::from);
    lower_bound_of(board.graph(), |i| board.object(i).stage, took_seconds, slots)
}

/// The least that these objects could have taken: their critical path, or the work of a stage shared by its slots,
/// whichever is longer.
pub fn lower_bound_of(
    graph: &Graph,
    stage: impl Fn(usize) -> Stage,
    took_seconds: impl Fn(usize) -> f64,
    slots: [u64; Stage::ALL.len()],
) -> f64 {
    let took_us = |i: usize| -> u64 {
        std::time::Duration::try_from_secs_f64(took_seconds(i))
            .map_or(0, |took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX))
    };
    let path_us = graph.critical_path(took_us).0;
    let mut work_us = [0_u64; Stage::ALL.len()];
    for i in 0..graph.len() {
        let work = &mut work_us[stage(i).index()];
        *work = work.saturating_add(took_us(i));
    }
    let shared_us =
        work_us.into_iter().zip(slots).map(|(work, slots)| work / slots.max(1)).max().unwrap_or(0);
    std::time::Duration::from_micros(path_us.max(shared_us)).as_secs_f64()
}
