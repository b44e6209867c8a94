//! `GET /runs`, `GET /runs/{id}`: the history.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Deserialize;
use utoipa::openapi::schema::AnyOf;
use utoipa::openapi::{KnownFormat, Object, RefOr, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use super::ask::{LimitQuery, limit, path, query};
use super::problem::Problem;
use super::{Answer, Ctx, Shared, blocking, json, json_bytes, views};
use crate::domain::event::{self, RunId};
use crate::domain::history::History;
use crate::domain::run::Run;
use crate::view::Known;

/// The most runs in one answer: all that a history keeps.
const MAX_RUNS: usize = 10_000;
/// A run that takes longer to render is rendered for all viewers together, …
const COSTLY: Duration = Duration::from_millis(5);
/// … and so seldom that rendering takes no more than one part in so many of the time.
const RENDER_SHARE: u32 = 5;
/// The end is estimated anew no more often than this.
const FORECAST_PACE: Duration = Duration::from_millis(200);

/// Names by position in the plan of one run.
type Names = Arc<[Option<Box<str>>]>;

/// A plan: that of this run, planned then.
type PlanKey = (RunId, Option<Timestamp>);

/// What was rendered before, for all viewers.
#[derive(Default)]
pub(super) struct Renders {
    /// The names of the objects of the plan that was asked for last: they cost a look into every entry.
    names: Mutex<Option<(PlanKey, Names)>>,
    /// The run that was rendered last.
    last: tokio::sync::Mutex<Option<Rendered>>,
    /// The forecast that was made last.
    forecast: Mutex<Option<Forecast>>,
}

struct Forecast {
    plan: PlanKey,
    at: Instant,
    cost: Duration,
    made: Option<Arc<views::Forecast>>,
}

/// The forecast of a run, made anew where the last one is old enough.
fn forecast(shared: &Shared, known: &Known, run: &Run, now: Timestamp) -> Option<Arc<views::Forecast>> {
    if run.finished.is_some() {
        return None;
    }
    let mut kept = shared.renders.forecast.lock();
    let plan = (run.id, run.planned_at);
    if let Some(last) = &*kept
        && last.plan == plan
        && last.at.elapsed() < FORECAST_PACE.max(last.cost * RENDER_SHARE)
    {
        return last.made.clone();
    }
    let at = Instant::now();
    let made = views::Forecast::of(run, &known.members, shared.api.view.now(), now).map(Arc::new);
    *kept = Some(Forecast { plan, at, cost: at.elapsed(), made: made.clone() });
    made
}

struct Rendered {
    run: RunId,
    at: Instant,
    cost: Duration,
    json: Bytes,
}

/// The history, the newest run first
///
/// All that is known: the last finished runs in full, and a line for each of thousands before them.
#[utoipa::path(
    get, path = "/runs", tag = "runs",
    params(("limit" = Option<usize>, Query, description = "At most so many; all, where it is not given.", minimum = 1, maximum = 10_000)),
    responses(
        (status = 200, description = "The runs.", body = views::RunsView),
        (status = 400, description = "The limit is no number of that range."),
    )
)]
pub(super) async fn runs(State(shared): Ctx, asked: Result<Query<LimitQuery>, QueryRejection>) -> Answer {
    let limit = limit(query(asked)?.limit.as_deref(), MAX_RUNS, MAX_RUNS)?;
    let runs = shared.api.view.read(|known| views::runs(&known.history, limit, Timestamp::now()));
    json(StatusCode::OK, &views::RunsView { runs })
}

/// How a path names a run, for the description.
pub(super) struct RunName;

impl PartialSchema for RunName {
    fn schema() -> RefOr<Schema> {
        let words = Object::builder().schema_type(Type::String).enum_values(Some(["active", "latest"]));
        AnyOf::builder()
            .item(Object::builder().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid))))
            .item(words)
            .description(Some(
                "By its id; or `active`, the one whose turn it is; or `latest`, the one that is under way, else the one asked for last.",
            ))
            .into()
    }
}

impl ToSchema for RunName {}

/// The run that a path names: by its id; or `active`, the one whose turn it is; or `latest`, the one that is under way,
/// else the one asked for last.
pub(super) fn run_id(shared: &Shared, text: &str) -> Result<RunId, Problem> {
    if text == "active" {
        let active = shared.api.view.read(|known| known.history.active().map(|run| run.id));
        return active
            .ok_or_else(|| Problem::not_found("no run is under way: GET /runs lists those that are over"));
    }
    if text == "latest" {
        return shared
            .api
            .view
            .read(|known| known.history.latest())
            .ok_or_else(|| Problem::not_found("there is no run yet: start one with POST /orchestrate"));
    }
    Uuid::parse_str(text).map(RunId).map_err(|_| no_run(text))
}

pub(super) fn no_run(id: impl std::fmt::Display) -> Problem {
    Problem::not_found(format!("the log knows of no run {id}: GET /runs lists them"))
}

/// The run that is kept in full; or that there is none, or that too little is left of it.
pub(super) fn kept(history: &History, id: RunId) -> Result<&Run, Problem> {
    history.run(id).filter(|run| is_known(run)).ok_or_else(|| {
        if history.summaries().any(|summary| summary.run_id == id) {
            Problem::not_found(format!("of run {id} only a line is left: it is too long ago"))
        } else {
            no_run(id)
        }
    })
}

pub(super) fn is_known(run: &Run) -> bool {
    run.request.is_some() || run.board().is_some() || run.finished.is_some() || run.truncated
}

#[derive(Deserialize)]
pub(super) struct RunQuery {
    state: Option<String>,
}

/// One run with every object: its state, attempts, workers, times
///
/// Of a run that is long over only a line is left: then `stages` and `objects` are empty.
#[utoipa::path(
    get, path = "/runs/{id}", tag = "runs",
    params(
        ("id" = RunName, Path, description = "The run."),
        ("state" = Option<Vec<views::Wanted>>, Query, description = "Only the objects in these states, or marked, or loaded with an older version of something before them; empty: none of them.", style = Form, explode = false),
    ),
    responses(
        (status = 200, description = "The run.", body = views::RunDetail<'static>),
        (status = 400, description = "There is no such state."),
        (status = 404, description = "There is no such run."),
    )
)]
pub(super) async fn run(
    State(shared): Ctx,
    id: Result<Path<String>, PathRejection>,
    asked: Result<Query<RunQuery>, QueryRejection>,
) -> Answer {
    let asked = query(asked)?;
    let id = run_id(&shared, &path(id)?)?;
    if let Some(states) = asked.state {
        let states = views::States::parse(&states).map_err(Problem::bad_request)?;
        let json = blocking(move || render_some(&shared, id, states)).await??;
        return Ok(json_bytes(StatusCode::OK, json));
    }
    let mut rendered = shared.renders.last.lock().await;
    if let Some(last) = &*rendered
        && last.run == id
        && last.cost > COSTLY
        && last.at.elapsed() < last.cost * RENDER_SHARE
    {
        return Ok(json_bytes(StatusCode::OK, last.json.clone()));
    }
    let at = Instant::now();
    let json = blocking({
        let shared = shared.clone();
        move || render(&shared, id)
    })
    .await??;
    let json = Bytes::from(json);
    *rendered = Some(Rendered { run: id, at, cost: at.elapsed(), json: json.clone() });
    Ok(json_bytes(StatusCode::OK, json))
}

/// A run with its objects in these states only: what a follower asks for again and again.
fn render_some(shared: &Shared, id: RunId, states: views::States) -> Result<Vec<u8>, Problem> {
    let now = Timestamp::now();
    let json = shared.api.view.read(|known| {
        if let Some(run) = known.history.run(id).filter(|run| is_known(run)) {
            let names = views::some_names(run, states);
            let forecast = forecast(shared, known, run, now);
            let detail = views::RunDetail::of_some(run, &names, forecast.as_deref(), now, states);
            return Some(serde_json::to_vec(&detail));
        }
        let summary = known.history.summaries().rev().find(|summary| summary.run_id == id)?;
        Some(serde_json::to_vec(&views::RunDetail::of_summary(summary)))
    });
    json.ok_or_else(|| no_run(id))?.map_err(|error| Problem::not_json(&error))
}

fn render(shared: &Shared, id: RunId) -> Result<Vec<u8>, Problem> {
    let names = names(shared, id);
    let now = Timestamp::now();
    let json = shared.api.view.read(|known| {
        if let Some(run) = known.history.run(id).filter(|run| is_known(run)) {
            let forecast = forecast(shared, known, run, now);
            return Some(serde_json::to_vec(&views::RunDetail::of(run, &names, forecast.as_deref(), now)));
        }
        let summary = known.history.summaries().rev().find(|summary| summary.run_id == id)?;
        Some(serde_json::to_vec(&views::RunDetail::of_summary(summary)))
    });
    json.ok_or_else(|| no_run(id))?.map_err(|error| Problem::not_json(&error))
}

/// The names of a run's objects, read from its entries outside the view's lock, once a plan.
pub(super) fn names(shared: &Shared, id: RunId) -> Names {
    let planned_at = |run: &Run| run.planned_at;
    let key = (id, shared.api.view.read(|known| known.history.run(id).and_then(planned_at)));
    if let Some((known, names)) = &*shared.renders.names.lock()
        && *known == key
    {
        return names.clone();
    }
    let entries: Vec<event::Entry> = shared.api.view.read(|known| {
        let board = known.history.run(id).and_then(Run::board);
        board.map_or_else(Vec::new, |board| {
            board.objects().iter().map(|object| object.entry.clone()).collect()
        })
    });
    let names: Names = entries.iter().map(event::name_of).collect();
    *shared.renders.names.lock() = Some((key, names.clone()));
    names
}
