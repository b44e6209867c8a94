//! Runs: in a line, and with every object.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa::openapi::{Object, Type};

use crate::domain::attempt::{Attempt, Phase};
use crate::domain::board::Board;
use crate::domain::event::{Cause, Counts, RunId, name_of, time_text};
use crate::domain::explain::RunState;
use crate::domain::history::{History, Summary};
use crate::domain::object::{Criticality, ObjectId, Stage};
use crate::domain::problem::Problem;
use crate::domain::run::Run;

/// A run, whether it waits, is worked on or is long over.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Run)]
pub(in crate::api) struct RunView {
    /// Its id.
    pub(in crate::api) run_id: RunId,
    /// What it is doing, or how it ended.
    #[schema(value_type = RunState)]
    pub(in crate::api) state: &'static str,
    /// Who asked for it.
    pub(in crate::api) requested_by: Option<String>,
    /// When it was asked for.
    #[schema(format = DateTime)]
    pub(in crate::api) requested_at: Option<String>,
    /// When it was planned.
    #[schema(format = DateTime)]
    pub(in crate::api) planned_at: Option<String>,
    /// When it ended.
    #[schema(format = DateTime)]
    pub(in crate::api) finished_at: Option<String>,
    /// Why it ended so, where the outcome alone does not say.
    pub(in crate::api) reason: Option<String>,
    /// How many objects stand how.
    pub(in crate::api) counts: Counts,
    /// From request to end; of a run that goes on, until now.
    pub(in crate::api) duration_seconds: Option<f64>,
}

impl RunView {
    /// The view of a run that is kept in full.
    pub(in crate::api) fn of(run: &Run, now: Timestamp) -> RunView {
        let requested_at = run.request.as_ref().map(|(at, _)| *at);
        let board_counts = || {
            run.board().map_or_else(Counts::default, |board| Counts {
                objects: board.len() as u64,
                loaded: board.total(Phase::Loaded),
                failed: board.total(Phase::Failed),
                skipped: board.total(Phase::Skipped),
            })
        };
        let finished = run.finished.as_ref();
        let running_seconds = || {
            let began = requested_at.or(run.planned_at)?;
            Some(now.duration_since(began).as_secs_f64().max(0.0))
        };
        RunView {
            run_id: run.id,
            state: match finished {
                Some((_, finished)) => finished.outcome.name(),
                None if run.board().is_some() => "running",
                None => "queued",
            },
            requested_by: run.request.as_ref().and_then(|(_, request)| request.requested_by.clone()),
            requested_at: requested_at.map(time_text),
            planned_at: run.planned_at.map(time_text),
            finished_at: finished.map(|(at, _)| time_text(*at)),
            reason: finished.and_then(|(_, finished)| finished.reason.clone()),
            counts: finished.map_or_else(board_counts, |(_, finished)| finished.counts),
            duration_seconds: match finished {
                Some((_, finished)) => Some(finished.duration_seconds),
                None if run.board().is_some() => running_seconds(),
                None => None,
            },
        }
    }

    /// The view of a run of which a line is left.
    pub(in crate::api) fn of_summary(summary: &Summary) -> RunView {
        RunView {
            run_id: summary.run_id,
            state: summary.outcome.name(),
            requested_by: summary.requested_by.clone(),
            requested_at: summary.requested_at.map(time_text),
            planned_at: None,
            finished_at: Some(time_text(summary.finished_at)),
            reason: summary.reason.clone(),
            counts: summary.counts,
            duration_seconds: Some(summary.duration_seconds),
        }
    }
}

/// At most `limit` runs, the newest first.
pub(in crate::api) fn runs(history: &History, limit: usize, now: Timestamp) -> Vec<RunView> {
    enum Kept<'a> {
        Run(&'a Run),
        Line(&'a Summary),
    }
    let mut kept: Vec<(Option<Timestamp>, RunId, Kept<'_>)> = Vec::new();
    for run in history.runs() {
        let began = run.request.as_ref().map(|(at, _)| *at).or(run.planned_at);
        kept.push((began.or(run.finished.as_ref().map(|(at, _)| *at)), run.id, Kept::Run(run)));
    }
    for line in history.summaries() {
        kept.push((line.requested_at.or(Some(line.finished_at)), line.run_id, Kept::Line(line)));
    }
    kept.sort_by_key(|(at, id, _)| std::cmp::Reverse((*at, *id)));
    kept.truncate(limit);
    kept.into_iter()
        .map(|(_, _, kept)| match kept {
            Kept::Run(run) => RunView::of(run, now),
            Kept::Line(line) => RunView::of_summary(line),
        })
        .collect()
}

/// A run with every object.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunInFull)]
pub(in crate::api) struct RunDetail<'a> {
    #[serde(flatten)]
    run: RunView,
    stages: Vec<StageView>,
    /// What is wrong with its catalogue, where that is why it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<Problem>)]
    problems: Option<&'a RawValue>,
    objects: Vec<ObjectView<'a>>,
}

/// How many objects of a stage stand how.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StageCounts)]
struct StageView {
    stage: Stage,
    objects: u64,
    waiting: u64,
    ready: u64,
    running: u64,
    retrying: u64,
    loaded: u64,
    failed: u64,
    skipped: u64,
}

impl StageView {
    fn all(run: &Run) -> Vec<StageView> {
        let Some(board) = run.board() else { return Vec::new() };
        let of = |stage| {
            let count = |phase| board.count(stage, phase);
            StageView {
                stage,
                objects: Phase::ALL.into_iter().map(count).sum(),
                waiting: count(Phase::Waiting),
                ready: count(Phase::Ready),
                running: count(Phase::Running),
                retrying: count(Phase::Retrying),
                loaded: count(Phase::Loaded),
                failed: count(Phase::Failed),
                skipped: count(Phase::Skipped),
            }
        };
        Stage::ALL.into_iter().map(of).collect()
    }
}

/// The states that somebody asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::api) struct States([bool; Phase::ALL.len()]);

impl States {
    /// Reads `failed,skipped`; nothing at all is no state.
    pub(in crate::api) fn parse(text: &str) -> Result<States, String> {
        let mut states = States::default();
        for name in text.split(',').filter(|name| !name.is_empty()) {
            let phase = Phase::ALL.into_iter().find(|phase| phase.name() == name);
            let phase = phase.ok_or_else(|| {
                let names: Vec<&str> = Phase::ALL.into_iter().map(Phase::name).collect();
                format!("state is one or more of {}, not {name:?}", names.join(","))
            })?;
            states.0[phase as usize] = true;
        }
        Ok(states)
    }

    fn has(self, phase: Phase) -> bool {
        self.0[phase as usize]
    }
}

/// The names of a run's objects in these states.
pub(in crate::api) fn some_names(run: &Run, states: States) -> Vec<Option<Box<str>>> {
    let Some(board) = run.board() else { return Vec::new() };
    let some = (0..board.len()).map(|i| states.has(board.phase(i)).then(|| name_of(&board.object(i).entry)));
    some.map(Option::flatten).collect()
}

/// A phase; or `cancelled`: its run ended before it was through.
fn object_state() -> Object {
    let names = Phase::ALL.into_iter().map(Phase::name).chain(["cancelled"]);
    Object::builder()
        .schema_type(Type::String)
        .enum_values(Some(names))
        .description(Some("Where it stands; `cancelled`: its run ended before it was through."))
        .build()
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunObject)]
struct ObjectView<'a> {
    id: ObjectId,
    name: Option<&'a str>,
    stage: Stage,
    criticality: Criticality,
    #[schema(schema_with = object_state)]
    state: &'static str,
    parents: &'a [ObjectId],
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<ObjectId>)]
    because: Option<&'a [ObjectId]>,
    attempts: Vec<AttemptView<'a>>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Attempt)]
struct AttemptView<'a> {
    attempt: u32,
    cause: Option<Cause>,
    worker: Option<&'a str>,
    #[schema(format = DateTime)]
    ready_at: Option<String>,
    #[schema(format = DateTime)]
    assigned_at: Option<String>,
    #[schema(format = DateTime)]
    started_at: Option<String>,
    #[schema(format = DateTime)]
    finished_at: Option<String>,
    duration_seconds: Option<f64>,
    error: Option<&'a str>,
    retryable: Option<bool>,
    stderr: Option<&'a str>,
}

impl<'a> RunDetail<'a> {
    /// The view of a run that is kept in full; `names` are those of its plan's objects, in its order.
    pub(in crate::api) fn of(run: &'a Run, names: &'a [Option<Box<str>>], now: Timestamp) -> RunDetail<'a> {
        RunDetail::of_some(run, names, now, States([true; Phase::ALL.len()]))
    }

    /// [`RunDetail::of`] with the objects in these states only.
    pub(in crate::api) fn of_some(
        run: &'a Run,
        names: &'a [Option<Box<str>>],
        now: Timestamp,
        states: States,
    ) -> RunDetail<'a> {
        let objects = run.board().map_or_else(Vec::new, |board| {
            let wanted = (0..board.len()).filter(|&i| states.has(board.phase(i)));
            wanted.map(|i| ObjectView::of(run, board, i, names)).collect()
        });
        let problems = run.finished.as_ref().and_then(|(_, finished)| finished.problems.as_deref());
        RunDetail { run: RunView::of(run, now), stages: StageView::all(run), problems, objects }
    }

    /// The view of a run of which a line is left: its objects are no longer known.
    pub(in crate::api) fn of_summary(summary: &Summary) -> RunDetail<'static> {
        RunDetail {
            run: RunView::of_summary(summary),
            stages: Vec::new(),
            problems: None,
            objects: Vec::new(),
        }
    }
}

impl<'a> ObjectView<'a> {
    fn of(run: &'a Run, board: &'a Board, i: usize, names: &'a [Option<Box<str>>]) -> ObjectView<'a> {
        let object = board.object(i);
        let phase = board.phase(i);
        let attempts = board.attempts(i);
        ObjectView {
            id: object.id,
            name: names.get(i).and_then(Option::as_deref),
            stage: object.stage,
            criticality: object.criticality,
            state: if run.finished.is_some() && !phase.is_final() { "cancelled" } else { phase.name() },
            parents: &object.parents,
            because: attempts.because(),
            attempts: attempts.all().iter().map(|attempt| AttemptView::of(run, attempt)).collect(),
        }
    }
}

impl<'a> AttemptView<'a> {
    fn of(run: &'a Run, attempt: &'a Attempt) -> AttemptView<'a> {
        let answer = attempt.answer.as_ref();
        let failure = answer.and_then(|answer| answer.failure.as_deref());
        let assigned = attempt.assignment.and_then(|assignment| run.worker_name(assignment.instance));
        AttemptView {
            attempt: attempt.number,
            cause: attempt.offer.and_then(|offer| offer.cause),
            worker: assigned.or(answer.and_then(|answer| answer.worker.as_ref())).map(|name| &**name),
            ready_at: attempt.offer.map(|offer| time_text(offer.at)),
            assigned_at: attempt.assignment.map(|assignment| time_text(assignment.at)),
            started_at: answer.and_then(|answer| answer.started_at).map(time_text),
            finished_at: answer.map(|answer| time_text(answer.at)),
            duration_seconds: answer.and_then(|answer| answer.duration_seconds),
            error: failure.map(|failure| failure.error.as_str()),
            retryable: failure.map(|failure| failure.retryable),
            stderr: failure.and_then(|failure| failure.stderr.as_deref()),
        }
    }
}
