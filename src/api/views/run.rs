//! Runs: in a line, and with every object.

use std::time::Duration;

use jiff::Timestamp;
use rustc_hash::FxHashMap;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::openapi::{Object, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::object::ObjectView;
use crate::api::ask::list;
use crate::domain::attempt::Phase;
use crate::domain::board::Board;
use crate::domain::estimate::{self, Durations, Estimate, estimate};
use crate::domain::event::{Counts, RunId, name_of, time_text};
use crate::domain::explain::RunState;
use crate::domain::history::{History, Summary};
use crate::domain::member::{Members, Mono};
use crate::domain::object::{Criticality, ObjectId, Stage};
use crate::domain::problem::Problem;
use crate::domain::rules::{OnFailure, Rules, duration_text};
use crate::domain::run::Run;
use crate::domain::scheduler;

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
    /// The run of which it is a retry.
    pub(in crate::api) retry_of: Option<RunId>,
    /// What was selected, as the command line has it, at most 200 characters; null: every final object with all that it
    /// needs, or what a retry runs.
    pub(in crate::api) selection: Option<String>,
    /// When it was due, where a schedule asked for it.
    #[schema(format = DateTime)]
    pub(in crate::api) scheduled_for: Option<String>,
    /// From request to end; of a run that goes on, until now.
    pub(in crate::api) duration_seconds: Option<f64>,
    /// Who paused it, while it is paused.
    pub(in crate::api) paused_by: Option<String>,
    /// When.
    #[schema(format = DateTime)]
    pub(in crate::api) paused_at: Option<String>,
    /// By which rules it goes; null while it is not planned, and of a run that is long over.
    pub(in crate::api) rules: Option<RulesView>,
    /// Objects that were loaded less than this long before were not loaded again.
    pub(in crate::api) fresh: Option<String>,
}

/// By which rules a run goes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rules)]
pub(in crate::api) struct RulesView {
    /// How often a failed object that is worth another try is tried again.
    retries: u32,
    /// How long the first of these tries waits; each further one waits twice as long, up to an hour.
    backoff: String,
    /// How long an attempt may take; null: as the worker is set.
    timeout: Option<String>,
    /// What a failure for good means for the rest.
    on_failure: OnFailure,
    /// What may run at once, each as `KEY=VALUE:N`.
    limits: Vec<String>,
}

impl RulesView {
    fn of(rules: &Rules) -> RulesView {
        RulesView {
            retries: rules.retries,
            backoff: duration_text(rules.backoff),
            timeout: rules.timeout.map(duration_text),
            on_failure: rules.on_failure,
            limits: rules.limits.iter().map(ToString::to_string).collect(),
        }
    }
}

impl RunView {
    /// The view of a run that is kept in full.
    pub(in crate::api) fn of(run: &Run, now: Timestamp) -> RunView {
        let requested_at = run.request.as_ref().map(|(at, _)| *at);
        let board_counts = || run.board().map_or_else(Counts::default, scheduler::counts);
        let finished = run.finished.as_ref();
        let running_seconds = || {
            let began = requested_at.or(run.planned_at)?;
            Some(now.duration_since(began).as_secs_f64().max(0.0))
        };
        RunView {
            run_id: run.id,
            state: RunState::of(run).name(),
            retry_of: run.request.as_ref().and_then(|(_, request)| request.retry_of),
            selection: run.request.as_ref().and_then(|(_, request)| request.selection()),
            scheduled_for: run.request.as_ref().and_then(|(_, request)| request.scheduled_for).map(time_text),
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
            paused_by: run.paused().and_then(|pause| pause.asked.requested_by.clone()),
            paused_at: run.paused().map(|pause| time_text(pause.at)),
            rules: run.board().map(|board| RulesView::of(board.rules())),
            fresh: run.request.as_ref().and_then(|(_, request)| request.fresh).map(duration_text),
        }
    }

    /// The view of a run of which a line is left.
    pub(in crate::api) fn of_summary(summary: &Summary) -> RunView {
        RunView {
            run_id: summary.run_id,
            state: summary.outcome.name(),
            retry_of: summary.retry_of,
            selection: summary.selection.clone(),
            scheduled_for: summary.scheduled_for.map(time_text),
            requested_by: summary.requested_by.clone(),
            requested_at: summary.requested_at.map(time_text),
            planned_at: None,
            finished_at: Some(time_text(summary.finished_at)),
            reason: summary.reason.clone(),
            counts: summary.counts,
            duration_seconds: Some(summary.duration_seconds),
            paused_by: None,
            paused_at: None,
            rules: None,
            fresh: None,
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
    /// When it will be over, while it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = EstimateView)]
    estimate: Option<&'a EstimateView>,
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
    cancelled: u64,
}

impl StageView {
    fn all(run: &Run) -> Vec<StageView> {
        let Some(board) = run.board() else { return Vec::new() };
        let is_over = run.finished.is_some();
        let of = |stage| {
            let all = |phase| board.count(stage, phase);
            // What a run's end left behind is cancelled, whatever it was.
            let count = |phase: Phase| if is_over && !phase.is_final() { 0 } else { all(phase) };
            let left = Phase::ALL.into_iter().filter(|phase| !phase.is_final()).map(all).sum();
            StageView {
                stage,
                objects: Phase::ALL.into_iter().map(all).sum(),
                waiting: count(Phase::Waiting),
                ready: count(Phase::Ready),
                running: count(Phase::Running),
                retrying: count(Phase::Retrying),
                loaded: count(Phase::Loaded),
                failed: count(Phase::Failed),
                skipped: count(Phase::Skipped),
                cancelled: if is_over { left } else { 0 },
            }
        };
        Stage::ALL.into_iter().map(of).collect()
    }
}

/// Runs, the newest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Runs)]
pub(in crate::api) struct RunsView {
    pub(in crate::api) runs: Vec<RunView>,
}

/// A run as `/live` tells of it, without its objects.
#[derive(Debug, Serialize)]
pub(in crate::api) struct LiveRun<'a> {
    #[serde(flatten)]
    run: RunView,
    stages: Vec<StageView>,
    /// Which plan counts; none: it is not planned.
    plan: Option<String>,
    /// What is wrong with its catalogue, where that is why it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    problems: Option<&'a RawValue>,
    estimate: Option<&'a EstimateView>,
}

impl<'a> LiveRun<'a> {
    /// The view of a run that is kept in full.
    pub(in crate::api) fn of(
        run: &'a Run,
        estimate: Option<&'a EstimateView>,
        now: Timestamp,
    ) -> LiveRun<'a> {
        LiveRun {
            run: RunView::of(run, now),
            stages: StageView::all(run),
            plan: run.plan_key().map(|plan| plan.to_string()),
            problems: run.finished.as_ref().and_then(|(_, finished)| finished.problems.as_deref()),
            estimate,
        }
    }

    /// The view of a run of which a line is left.
    pub(in crate::api) fn of_summary(summary: &Summary) -> LiveRun<'static> {
        let run = RunView::of_summary(summary);
        LiveRun { run, stages: Vec::new(), plan: None, problems: None, estimate: None }
    }
}

/// When a run will be over, and what that hangs on.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Estimate)]
pub(in crate::api) struct EstimateView {
    /// When it will be over; null where it is over or paused, or where nobody serves a stage that has objects left.
    #[schema(format = DateTime)]
    ends_at: Option<String>,
    /// From the estimate until then.
    remaining_seconds: Option<f64>,
    /// No run of this plan with the slots that there are can be faster.
    lower_bound_seconds: f64,
    /// The longest chain of objects that wait for one another, first to last, at most a thousand of them.
    critical_path: Vec<ObjectId>,
    /// The objects that nobody waits for and that are not through, the earliest first, at most a hundred of them.
    final_objects: Vec<FinalView>,
    /// How many there are of these in all.
    final_objects_left: usize,
}

/// When an object that nobody waits for will be through.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = FinalObject)]
struct FinalView {
    id: ObjectId,
    name: Option<Box<str>>,
    criticality: Criticality,
    #[schema(format = DateTime)]
    estimated_end: String,
}

impl EstimateView {
    /// The view of an estimate that was made at this time.
    pub(in crate::api) fn of(run: &Run, board: &Board, estimate: &Estimate, at: Timestamp) -> EstimateView {
        const MOST: usize = 1000;
        const MOST_FINALS: usize = 100;
        let goes_on = run.finished.is_none() && run.paused().is_none();
        let remaining = estimate.remaining_ms.filter(|_| goes_on);
        #[allow(clippy::cast_precision_loss, reason = "seconds with a fraction")]
        let seconds = |ms: u64| ms as f64 / 1000.0;
        let finals: &[(usize, u64)] = if goes_on { &estimate.finals } else { &[] };
        let of_final = |&(i, ms): &(usize, u64)| {
            let object = board.object(i);
            Some(FinalView {
                id: object.id,
                name: name_of(&object.entry),
                criticality: object.criticality,
                estimated_end: time_text(in_ms(at, ms)?),
            })
        };
        EstimateView {
            ends_at: remaining.and_then(|ms| in_ms(at, ms)).map(time_text),
            remaining_seconds: remaining.map(seconds),
            lower_bound_seconds: seconds(estimate.lower_bound_ms),
            critical_path: estimate.critical_path.iter().take(MOST).map(|&i| board.object(i).id).collect(),
            final_objects: finals.iter().take(MOST_FINALS).filter_map(of_final).collect(),
            final_objects_left: finals.len(),
        }
    }
}

fn in_ms(at: Timestamp, ms: u64) -> Option<Timestamp> {
    at.checked_add(Duration::from_millis(ms)).ok()
}

/// A run's estimate, and the end of each object that nobody waits for and that is not through.
#[derive(Debug)]
pub(in crate::api) struct Forecast {
    view: EstimateView,
    ends: FxHashMap<usize, String>,
}

impl Forecast {
    /// The forecast of a run that goes on; none: it is over, or not planned.
    pub(in crate::api) fn of(run: &Run, members: &Members, now: Mono, at: Timestamp) -> Option<Forecast> {
        let board = run.board().filter(|_| run.finished.is_none())?;
        let estimate = estimate(board, &Durations::of(board), estimate::slots(members, now), at);
        let finals: &[(usize, u64)] = if run.paused().is_none() { &estimate.finals } else { &[] };
        let ends = finals.iter().filter_map(|&(i, ms)| Some((i, time_text(in_ms(at, ms)?)))).collect();
        Some(Forecast { view: EstimateView::of(run, board, &estimate, at), ends })
    }
}
/// Beside states: loaded with an older version of something before them; marked by somebody.
const DEGRADED: &str = "degraded";
const MARKED: &str = "marked";

/// The states that somebody asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::api) struct States {
    phases: [bool; Phase::ALL.len()],
    degraded: bool,
    marked: bool,
}

/// What objects can be asked for by, for the description.
pub(in crate::api) struct Wanted;

impl PartialSchema for Wanted {
    fn schema() -> RefOr<Schema> {
        Object::builder().schema_type(Type::String).enum_values(Some(States::names())).into()
    }
}

impl ToSchema for Wanted {}

impl States {
    /// Reads `failed,skipped`; nothing at all is no state.
    pub(in crate::api) fn parse(text: &str) -> Result<States, String> {
        let mut states = States::default();
        for name in list(text) {
            match Phase::ALL.into_iter().find(|phase| phase.name() == name) {
                Some(phase) => states.phases[phase as usize] = true,
                None if name == DEGRADED => states.degraded = true,
                None if name == MARKED => states.marked = true,
                None => {
                    return Err(format!(
                        "state is one or more of {}, not {name:?}",
                        States::names().join(",")
                    ));
                }
            }
        }
        Ok(states)
    }

    fn names() -> Vec<&'static str> {
        Phase::ALL.into_iter().map(Phase::name).chain([DEGRADED, MARKED]).collect()
    }

    fn all() -> States {
        States { phases: [true; Phase::ALL.len()], ..States::default() }
    }

    /// Whether the object at this position of the plan is wanted.
    fn has(self, board: &Board, i: usize) -> bool {
        let attempts = board.attempts(i);
        let is_degraded = || board.phase(i) == Phase::Loaded && !attempts.degraded().is_empty();
        self.phases[board.phase(i) as usize]
            || (self.degraded && is_degraded())
            || (self.marked && attempts.marked().is_some())
    }
}

/// The names of a run's objects in these states.
pub(in crate::api) fn some_names(run: &Run, states: States) -> Vec<Option<Box<str>>> {
    let Some(board) = run.board() else { return Vec::new() };
    let some = (0..board.len()).map(|i| states.has(board, i).then(|| name_of(&board.object(i).entry)));
    some.map(Option::flatten).collect()
}

impl<'a> RunDetail<'a> {
    /// The view of a run that is kept in full; `names` are those of its plan's objects, in its order.
    pub(in crate::api) fn of(
        run: &'a Run,
        names: &'a [Option<Box<str>>],
        forecast: Option<&'a Forecast>,
        now: Timestamp,
    ) -> RunDetail<'a> {
        RunDetail::of_some(run, names, forecast, now, States::all())
    }

    /// [`RunDetail::of`] with the objects in these states only.
    pub(in crate::api) fn of_some(
        run: &'a Run,
        names: &'a [Option<Box<str>>],
        forecast: Option<&'a Forecast>,
        now: Timestamp,
        states: States,
    ) -> RunDetail<'a> {
        let objects = run.board().map_or_else(Vec::new, |board| {
            let wanted = (0..board.len()).filter(|&i| states.has(board, i));
            let end = |i: usize| forecast?.ends.get(&i).map(String::as_str);
            wanted.map(|i| ObjectView::of(run, board, i, names, end(i))).collect()
        });
        let problems = run.finished.as_ref().and_then(|(_, finished)| finished.problems.as_deref());
        let estimate = forecast.map(|forecast| &forecast.view);
        RunDetail { run: RunView::of(run, now), stages: StageView::all(run), problems, estimate, objects }
    }

    /// The view of a run of which a line is left: its objects are no longer known.
    pub(in crate::api) fn of_summary(summary: &Summary) -> RunDetail<'static> {
        RunDetail {
            run: RunView::of_summary(summary),
            stages: Vec::new(),
            problems: None,
            estimate: None,
            objects: Vec::new(),
        }
    }
}
