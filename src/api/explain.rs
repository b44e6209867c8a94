//! `GET /runs/{id}/explain/{object}`: why an object does not run.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::Timestamp;

use super::objects::{no_object, object_id};
use super::problem::Problem;
use super::runs::{is_known, no_run, run_id};
use super::{Answer, Ctx, blocking, json};
use crate::domain::explain::Situation;
use crate::domain::scheduler::Now;

/// Answers with an [`Explanation`](crate::domain::explain::Explanation).
pub(super) async fn explain(State(shared): Ctx, Path((id, object)): Path<(String, String)>) -> Answer {
    let id = run_id(&shared, &id)?;
    let object = object_id(&object)?;
    let explained = blocking(move || {
        let now = Now { mono: shared.api.view.now(), wall: Timestamp::now() };
        shared.api.view.read(|known| {
            let Some(run) = known.history.run(id).filter(|run| is_known(run)) else {
                return Err(if known.history.summaries().any(|summary| summary.run_id == id) {
                    Problem::not_found(format!("of run {id} only a line is left: it is too long ago"))
                } else {
                    no_run(id)
                });
            };
            let situation = Situation::of(&known.history, run, &known.members, now);
            situation.explain(object).ok_or_else(|| no_object(id, object))
        })
    })
    .await??;
    json(StatusCode::OK, &explained)
}
