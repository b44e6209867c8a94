//! Objects: in a run's list, and one by itself.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa::openapi::{Object, Type};

use crate::domain::attempt::{Attempt, Mark, Phase};
use crate::domain::board::Board;
use crate::domain::event::{Cause, RunId, Version, name_of, time_text};
use crate::domain::object::{Criticality, ObjectId, Stage};
use crate::domain::run::Run;

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunObject)]
pub(in crate::api) struct ObjectView<'a> {
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
    /// The objects before it whose last good version served, or is to serve, in place of this run's.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(required = false)]
    degraded: &'a [ObjectId],
    /// The version of an earlier run that counts as this run's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reused: Option<Version>,
    /// What somebody says that it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    marked: Option<&'a Mark>,
    /// When it is tried again at the earliest, by the clock of whoever said that it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    next_try_at: Option<String>,
    /// When it will be through, if nobody waits for it and it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime)]
    estimated_end: Option<&'a str>,
    attempts: Vec<AttemptView<'a>>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Attempt)]
pub(in crate::api) struct AttemptView<'a> {
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

/// The names of all states of objects.
fn object_state() -> Object {
    let names = Phase::ALL.into_iter().map(Phase::name).chain(["cancelled"]);
    Object::builder()
        .schema_type(Type::String)
        .enum_values(Some(names))
        .description(Some("Where it stands; `cancelled`: its run ended before it was through."))
        .build()
}

/// The name of an object's state: that of its phase, but what a run's end left behind is cancelled.
fn state_of(run: &Run, board: &Board, i: usize) -> &'static str {
    let phase = board.phase(i);
    if run.finished.is_some() && !phase.is_final() { "cancelled" } else { phase.name() }
}

impl<'a> ObjectView<'a> {
    /// The view of the object at this position of the plan; `names` are those of the plan's objects, in its order.
    pub(in crate::api) fn of(
        run: &'a Run,
        board: &'a Board,
        i: usize,
        names: &'a [Option<Box<str>>],
        estimated_end: Option<&'a str>,
    ) -> ObjectView<'a> {
        let object = board.object(i);
        let attempts = board.attempts(i);
        ObjectView {
            id: object.id,
            name: names.get(i).and_then(Option::as_deref),
            stage: object.stage,
            criticality: object.criticality,
            state: state_of(run, board, i),
            parents: &object.parents,
            because: attempts.because(),
            degraded: attempts.degraded(),
            reused: attempts.reused(),
            marked: attempts.marked(),
            next_try_at: run.next_try_at(board, i).map(time_text),
            estimated_end,
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

/// An object with its entry, its parents and its children.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ObjectInFull)]
pub(in crate::api) struct ObjectDetail<'a> {
    run_id: RunId,
    id: ObjectId,
    name: Option<Box<str>>,
    stage: Stage,
    criticality: Criticality,
    #[schema(schema_with = object_state)]
    state: &'static str,
    /// Its entry in the catalogue, as the plan has it.
    #[schema(value_type = Option<Object>)]
    entry: Option<&'a RawValue>,
    /// What it waits for in this run.
    parents: Vec<Relative>,
    /// The parents that counted as loaded from the start.
    satisfied: &'a [ObjectId],
    /// What waits for it.
    children: Vec<Relative>,
    /// The failed ancestors, if it was skipped.
    because: Option<&'a [ObjectId]>,
    /// The objects before it whose last good version served, or is to serve, in place of this run's.
    degraded: &'a [ObjectId],
    /// The version of an earlier run that counts as this run's.
    reused: Option<Version>,
    /// What somebody says that it is.
    marked: Option<&'a Mark>,
    /// When it is tried again at the earliest, by the clock of whoever said that it failed.
    #[schema(format = DateTime)]
    next_try_at: Option<String>,
    attempts: Vec<AttemptView<'a>>,
}

/// A parent or a child.
#[derive(Debug, Serialize, ToSchema)]
struct Relative {
    id: ObjectId,
    name: Option<Box<str>>,
    stage: Stage,
    #[schema(schema_with = object_state)]
    state: &'static str,
}

impl<'a> ObjectDetail<'a> {
    /// The object at this position of the plan.
    pub(in crate::api) fn of(run: &'a Run, board: &'a Board, i: usize) -> ObjectDetail<'a> {
        let object = board.object(i);
        let relative = |i: usize| {
            let object = board.object(i);
            let name = name_of(&object.entry);
            Relative { id: object.id, name, stage: object.stage, state: state_of(run, board, i) }
        };
        let attempts = board.attempts(i);
        let mut parents: Vec<Relative> = board.parents(i).map(relative).collect();
        let mut children: Vec<Relative> = board.children(i).map(relative).collect();
        parents.sort_by_key(|parent| parent.id);
        children.sort_by_key(|child| child.id);
        ObjectDetail {
            run_id: run.id,
            id: object.id,
            name: name_of(&object.entry),
            stage: object.stage,
            criticality: object.criticality,
            state: state_of(run, board, i),
            entry: object.entry.as_deref(),
            parents,
            satisfied: &object.satisfied,
            children,
            because: attempts.because(),
            degraded: attempts.degraded(),
            reused: attempts.reused(),
            marked: attempts.marked(),
            next_try_at: run.next_try_at(board, i).map(time_text),
            attempts: attempts.all().iter().map(|attempt| AttemptView::of(run, attempt)).collect(),
        }
    }
}
