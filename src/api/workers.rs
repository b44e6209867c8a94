//! `GET /workers`: the members.

use axum::extract::State;
use axum::http::StatusCode;

use super::{Answer, Ctx, json, views};

/// Who leads, who works, and on what
#[utoipa::path(
    get, path = "/workers", tag = "processes",
    responses((status = 200, description = "The members as they are known now.", body = views::WorkersView))
)]
pub(super) async fn workers(State(shared): Ctx) -> Answer {
    let now = shared.api.view.now();
    let workers =
        shared.api.view.read(|known| views::WorkersView::of(&known.members, known.history.active(), now));
    json(StatusCode::OK, &workers)
}
