//! `GET /dag`, `/dag/json`, `/dag/dot`: the latest plan as a graph.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use super::problem::Problem;
use super::{Answer, Ctx, Shared, blocking, json, views};
use crate::domain::event::PlannedObject;
use crate::domain::history::History;

/// Looks at the latest plan: that of the last planned run, else what would run.
async fn plan<T: Send + 'static>(
    shared: Arc<Shared>,
    look: impl Fn(&[PlannedObject]) -> T + Send + 'static,
) -> Result<T, Problem> {
    blocking(move || {
        let planned = |history: &History| Some(look(history.latest_planned()?.board()?.objects()));
        if let Some(seen) = shared.api.view.read(|known| planned(&known.history)) {
            return Ok(seen);
        }
        let Some(preview) = &shared.api.preview else {
            return Err(Problem::not_found("no run has been planned yet: start one with POST /orchestrate"));
        };
        match preview(&[], &[]) {
            Ok(objects) => Ok(look(&objects)),
            Err(refused) => Err(Problem::bad_catalogue(refused.text, Some(refused.problems))),
        }
    })
    .await?
}

/// How large the latest plan is
///
/// Where no run has been planned yet: how large a run of everything would be, where the catalogue is at hand.
#[utoipa::path(
    get, path = "/dag", tag = "graph",
    responses(
        (status = 200, description = "Its size.", body = views::DagSize),
        (status = 404, description = "No run has been planned yet."),
        (status = 422, description = "No run has been planned yet, and the catalogue is bad."),
    )
)]
pub(super) async fn dag(State(shared): Ctx) -> Answer {
    json(StatusCode::OK, &plan(shared, views::DagSize::of).await?)
}

/// The latest plan as nodes and edges
#[utoipa::path(
    get, path = "/dag/json", tag = "graph",
    responses(
        (status = 200, description = "The graph.", body = views::Dag),
        (status = 404, description = "No run has been planned yet."),
        (status = 422, description = "No run has been planned yet, and the catalogue is bad."),
    )
)]
pub(super) async fn dag_json(State(shared): Ctx) -> Answer {
    json(StatusCode::OK, &plan(shared, views::Dag::of).await?)
}

/// The latest plan for Graphviz
#[utoipa::path(
    get, path = "/dag/dot", tag = "graph",
    responses(
        (status = 200, description = "A digraph in Graphviz's language.", body = String, content_type = "text/vnd.graphviz; charset=utf-8"),
        (status = 404, description = "No run has been planned yet."),
        (status = 422, description = "No run has been planned yet, and the catalogue is bad."),
    )
)]
pub(super) async fn dag_dot(State(shared): Ctx) -> Answer {
    let dot = plan(shared, |objects| views::Dag::of(objects).dot()).await?;
    Ok(([(header::CONTENT_TYPE, "text/vnd.graphviz; charset=utf-8")], dot).into_response())
}
