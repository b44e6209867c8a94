//! `GET /runs/{id}/explain/{object}`: why an object does not run.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::Timestamp;

use super::objects::{no_object, run_and_object};
use super::runs::{RunName, kept};
use super::{Answer, Ctx, blocking, json};
use crate::domain::explain::{Explanation, Situation};
use crate::domain::object::ObjectId;
use crate::domain::scheduler::Now;

/// Why an object does not run, down to the objects that are the cause
#[utoipa::path(
    get, path = "/runs/{id}/explain/{object}", tag = "runs",
    params(
        ("id" = RunName, Path, description = "The run."),
        ("object" = ObjectId, Path, description = "The object."),
    ),
    responses(
        (status = 200, description = "Where it stands, and why.", body = Explanation),
        (status = 404, description = "There is no such run, or it has no such object."),
    )
)]
pub(super) async fn explain(
    State(shared): Ctx,
    named: Result<Path<(String, String)>, PathRejection>,
) -> Answer {
    let (id, object) = run_and_object(&shared, named)?;
    let explained = blocking(move || {
        let now = Now { mono: shared.api.view.now(), wall: Timestamp::now() };
        shared.api.view.read(|known| {
            let run = kept(&known.history, id)?;
            let situation = Situation::of(&known.history, run, &known.members, now);
            situation.explain(object).ok_or_else(|| no_object(id, object))
        })
    })
    .await??;
    json(StatusCode::OK, &explained)
}
