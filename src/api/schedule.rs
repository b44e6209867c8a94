//! `GET /schedule`: what comes next.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use jiff::Timestamp;

use super::ask::{LimitQuery, limit, query};
use super::problem::Problem;
use super::{Answer, Ctx, blocking, json, views};
use crate::planning::problems_json;

/// The most instants in one answer.
const MAX_INSTANTS: usize = 1000;
/// So many where nobody says.
const INSTANTS: usize = 10;

/// What is due next
///
/// By the catalogue as it was when it was good last, where the process starts runs by the clock (`--schedule`).
#[utoipa::path(
    get, path = "/schedule", tag = "runs",
    params(("limit" = Option<usize>, Query, description = "At most so many instants; 10, where it is not given.", minimum = 1, maximum = 1000)),
    responses(
        (status = 200, description = "The next instants.", body = views::ScheduleView),
        (status = 400, description = "The limit is no number of that range."),
        (status = 404, description = "This process starts nothing by the clock."),
        (status = 422, description = "The catalogue is bad, and was so since the process began: `problems` has everything that is wrong."),
        (status = 503, description = "The catalogue is not read yet."),
    )
)]
pub(super) async fn schedule(State(shared): Ctx, asked: Result<Query<LimitQuery>, QueryRejection>) -> Answer {
    let limit = limit(query(asked)?.limit.as_deref(), INSTANTS, MAX_INSTANTS)?;
    let Some(timetable) = shared.api.timetable.clone() else {
        return Err(Problem::not_found(
            "this process starts nothing by the clock: an orchestrator does that has --schedule",
        ));
    };
    let known = timetable.known();
    let Some(schedule) = known.schedule else {
        return Err(match known.problems {
            Some(problems) => Problem::bad_catalogue(problems.to_string(), Some(problems_json(&problems))),
            None => Problem::unavailable("the catalogue is not read yet"),
        });
    };
    let view = blocking(move || {
        let stale = known.problems.as_deref().map(ToString::to_string);
        views::ScheduleView::of(&schedule, timetable.policies, stale, Timestamp::now(), limit)
    });
    json(StatusCode::OK, &view.await?)
}
