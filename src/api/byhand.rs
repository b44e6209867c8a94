//! What people do to a run by hand: `POST /runs/{id}/cancel`, `/pause`, `/resume`, `/objects/{object}/mark`.
//!
//! Each appends an event and answers. A pause, its end and a mark are answered once this process has read them, so that whoever
//! asks next sees what they did.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ask::{body, path};
use super::objects::{no_object, run_and_object};
use super::problem::Problem;
use super::runs::{RunName, is_known, kept, no_run, run_id};
use super::{Answer, Ctx, Shared, json, publish, publish_at};
use crate::domain::attempt::Phase;
use crate::domain::event::{Asked, Body, Marked, MarkedAs, RunId};
use crate::domain::object::ObjectId;
use crate::domain::run::Run;

/// How long an answer waits until what was appended is read.
const READ_WAIT: Duration = Duration::from_secs(5);

/// The body of `POST /runs/{id}/cancel`, `/pause` and `/resume`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = CancelRequest)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// Who asks, for people.
    requested_by: Option<String>,
}

/// What stands in the log now.
#[derive(Serialize, ToSchema)]
#[schema(as = CancelAccepted)]
struct Accepted {
    #[schema(schema_with = super::openapi::ok)]
    status: &'static str,
    run_id: RunId,
}

/// Looks at a run that is not over.
fn open<T>(
    shared: &Shared,
    id: RunId,
    over: &str,
    look: impl FnOnce(&Run) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let is_over = || Problem::conflict(format!("run {id} is over: {over}"));
    shared.api.view.read(|known| match known.history.run(id).filter(|run| is_known(run)) {
        Some(run) if run.finished.is_some() => Err(is_over()),
        Some(run) => look(run),
        None if known.history.summaries().any(|summary| summary.run_id == id) => Err(is_over()),
        None => Err(no_run(id)),
    })
}

/// Stop a run
///
/// No new object starts; what runs is ended.
#[utoipa::path(
    post, path = "/runs/{id}/cancel", tag = "runs",
    params(("id" = RunName, Path, description = "The run.")),
    request_body = Option<Wish>,
    responses(
        (status = 202, description = "It is asked for.", body = Accepted),
        (status = 404, description = "There is no such run."),
        (status = 409, description = "The run is over."),
    )
)]
pub(super) async fn cancel(
    State(shared): Ctx,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    bytes: Result<Bytes, BytesRejection>,
) -> Answer {
    let wish: Wish = body(&headers, bytes)?;
    let run_id = run_id(&shared, &path(id)?)?;
    open(&shared, run_id, "nothing is left to cancel", |_| Ok(()))?;
    publish(&shared.api, run_id, Body::RunCancelRequested(asked(wish.requested_by))).await?;
    json(StatusCode::ACCEPTED, &Accepted { status: "ok", run_id })
}

fn asked(requested_by: Option<String>) -> Asked {
    Asked { requested_by: Some(requested_by.unwrap_or_else(|| "api".into())) }
}

/// Pause a run
///
/// No new object starts and no failed one is tried again; what runs is finished.
#[utoipa::path(
    post, path = "/runs/{id}/pause", tag = "runs",
    params(("id" = RunName, Path, description = "The run.")),
    request_body = Option<Wish>,
    responses(
        (status = 202, description = "It is paused.", body = Accepted),
        (status = 404, description = "There is no such run."),
        (status = 409, description = "The run is over, is being cancelled, or is paused already."),
    )
)]
pub(super) async fn pause(
    State(shared): Ctx,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    bytes: Result<Bytes, BytesRejection>,
) -> Answer {
    let wish: Wish = body(&headers, bytes)?;
    let run_id = run_id(&shared, &path(id)?)?;
    let after = open(&shared, run_id, "nothing is left to pause", |run| {
        if run.cancel.is_some() {
            return Err(Problem::conflict(format!("run {run_id} is being cancelled")));
        }
        match run.paused() {
            Some(pause) => {
                let by = pause.asked.requested_by.as_deref().map(|who| format!(" by {who}"));
                let text = format!("run {run_id} is paused already{}", by.unwrap_or_default());
                Err(Problem::conflict(text))
            }
            None => Ok(after(run)),
        }
    })?;
    set_pause(&shared, run_id, after, Body::RunPauseRequested(asked(wish.requested_by))).await
}

/// Let a paused run go on
#[utoipa::path(
    post, path = "/runs/{id}/resume", tag = "runs",
    params(("id" = RunName, Path, description = "The run.")),
    request_body = Option<Wish>,
    responses(
        (status = 202, description = "It goes on.", body = Accepted),
        (status = 404, description = "There is no such run."),
        (status = 409, description = "The run is over, or not paused."),
    )
)]
pub(super) async fn resume(
    State(shared): Ctx,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    bytes: Result<Bytes, BytesRejection>,
) -> Answer {
    let wish: Wish = body(&headers, bytes)?;
    let run_id = run_id(&shared, &path(id)?)?;
    let after = open(&shared, run_id, "nothing is left to go on with", |run| match run.paused() {
        Some(_) => Ok(after(run)),
        None => Err(Problem::conflict(format!("run {run_id} is not paused"))),
    })?;
    set_pause(&shared, run_id, after, Body::RunResumeRequested(asked(wish.requested_by))).await
}

/// A time for a pause or its end: later than the last one known, however the clock of whoever wrote that goes.
fn after(run: &Run) -> Timestamp {
    // To the microsecond, as the wire has it: what is read again is no earlier.
    let now = Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap_or(Timestamp::MAX);
    let last = run.pause.as_ref().map(|last| last.at.as_microsecond().saturating_add(1));
    let last = last.and_then(|us| Timestamp::from_microsecond(us).ok());
    last.map_or(now, |last| last.max(now))
}

async fn set_pause(shared: &Shared, run_id: RunId, at: Timestamp, body: Body) -> Answer {
    publish_at(&shared.api, at, run_id, body).await?;
    read_back(shared, run_id, |run| run.pause.as_ref().is_some_and(|pause| pause.at >= at)).await;
    json(StatusCode::ACCEPTED, &Accepted { status: "ok", run_id })
}

/// Waits until this process has read what was appended.
async fn read_back(shared: &Shared, run_id: RunId, is_read: impl Fn(&Run) -> bool) {
    let read = shared.api.view.wait_for(READ_WAIT, |known| {
        // A run that is gone meanwhile is not waited for.
        known.history.run(run_id).is_none_or(&is_read).then_some(())
    });
    let mut shutdown = shared.api.shutdown.clone();
    tokio::select! {
        _ = read => {}
        _ = shutdown.wait_for(|over| *over) => {}
    }
}

/// The body of `POST /runs/{id}/objects/{object}/mark`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = MarkRequest)]
#[serde(deny_unknown_fields)]
struct MarkWish {
    /// As what. `loaded`: what needs it may run. `failed`: it is not tried again, and what runs of it is ended.
    #[schema(value_type = MarkedAs, required = true)]
    state: Option<MarkedAs>,
    /// Why, for people.
    because: Option<String>,
    /// Who, for people.
    requested_by: Option<String>,
}

/// A mark that stands in the log.
#[derive(Serialize, ToSchema)]
struct MarkAccepted {
    #[schema(schema_with = super::openapi::ok)]
    status: &'static str,
    run_id: RunId,
    object: ObjectId,
    state: MarkedAs,
}

/// Say that an object is loaded, or that it failed for good
///
/// In a run that goes on, what was skipped for an object that is loaded now runs after all. In a run that is over it changes
/// what a retry runs, and not how the run ended.
#[utoipa::path(
    post, path = "/runs/{id}/objects/{object}/mark", tag = "runs",
    params(
        ("id" = RunName, Path, description = "The run."),
        ("object" = ObjectId, Path, description = "The object."),
    ),
    request_body = MarkWish,
    responses(
        (status = 202, description = "It is marked.", body = MarkAccepted),
        (status = 404, description = "There is no such run, it has no such object, or it is too long ago."),
        (status = 409, description = "The object is that already, or nothing can be changed about it; or the run is not planned."),
    )
)]
pub(super) async fn mark(
    State(shared): Ctx,
    named: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    bytes: Result<Bytes, BytesRejection>,
) -> Answer {
    let wish: MarkWish = body(&headers, bytes)?;
    let state = wish.state.ok_or_else(|| Problem::bad_request("state is needed: `loaded` or `failed`"))?;
    let (run_id, object) = run_and_object(&shared, named)?;
    let attempt = shared.api.view.read(|known| {
        let run = kept(&known.history, run_id)?;
        let Some(board) = run.board() else {
            return Err(Problem::conflict(format!("run {run_id} is not planned: it has no objects")));
        };
        let i = board.position(object).ok_or_else(|| no_object(run_id, object))?;
        let attempts = board.attempts(i);
        let why_not = match (board.phase(i), state) {
            (Phase::Loaded, MarkedAs::Loaded) => Some("is loaded already"),
            (Phase::Loaded, MarkedAs::Failed) => Some("is loaded, and no mark undoes that"),
            (Phase::Failed, MarkedAs::Failed) => Some("has failed already"),
            (Phase::Skipped, MarkedAs::Failed) => Some("is skipped: it does not run anyway"),
            _ => None,
        };
        if let Some(why_not) = why_not {
            let marked = attempts.marked().map(|mark| format!(" ({})", mark.text())).unwrap_or_default();
            return Err(Problem::conflict(format!("object {object} of run {run_id} {why_not}{marked}")));
        }
        Ok(attempts.last().map_or(1, |last| last.number))
    })?;
    let requested_by = asked(wish.requested_by).requested_by;
    let marked = Marked { object, attempt, state, because: wish.because, requested_by };
    publish(&shared.api, run_id, Body::ObjectMarked(marked)).await?;
    read_back(&shared, run_id, |run| {
        let at = run.board().and_then(|board| Some((board, board.position(object)?)));
        at.is_none_or(|(board, i)| board.attempts(i).marked().is_some_and(|mark| mark.state == state))
    })
    .await;
    json(StatusCode::ACCEPTED, &MarkAccepted { status: "ok", run_id, object, state })
}
