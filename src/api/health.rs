//! `GET /health`, `/livez`, `/readyz`, `/metrics`: how the process is.

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use utoipa::ToSchema;

use super::problem::Problem;
use super::{Answer, Ctx, json_bytes};
use crate::domain::run::Run;
use crate::telemetry;

/// Prometheus text.
pub(super) const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// A log that has not answered for so long is away.
const SILENCE: Duration = Duration::from_secs(5);

/// That a process is well.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the answer is a text that never changes")]
struct Well {
    #[schema(schema_with = super::openapi::ok)]
    status: &'static str,
}

/// That it is there.
pub(super) async fn alive() -> Response {
    json_bytes(StatusCode::OK, r#"{"status":"ok"}"#)
}

/// Whether the process is there
#[utoipa::path(
    get, path = "/health", tag = "processes",
    responses((status = 200, description = "It is.", body = Well))
)]
pub(super) async fn health() -> Response {
    alive().await
}

/// Whether the process is there
#[utoipa::path(
    get, path = "/livez", tag = "processes",
    responses((status = 200, description = "It is.", body = Well))
)]
pub(super) async fn livez() -> Response {
    alive().await
}

/// Whether the process can answer: the log is read to its end and can be reached
#[utoipa::path(
    get, path = "/readyz", tag = "processes",
    responses(
        (status = 200, description = "It can.", body = Well),
        (status = 503, description = "It cannot, and why: the log is not yet read to its end, or does not answer."),
    )
)]
pub(super) async fn readyz(State(shared): Ctx) -> Answer {
    if !shared.api.view.read(|known| known.ready) {
        return Err(Problem::unavailable("the log is not yet read to its end, or cannot be reached"));
    }
    let silence = shared.api.view.silence();
    if silence > SILENCE {
        let seconds = silence.as_secs();
        return Err(Problem::unavailable(format!(
            "the log has not answered for {seconds} s: is Kafka away?"
        )));
    }
    Ok(alive().await)
}

/// The metrics, as Prometheus reads them
#[utoipa::path(
    get, path = "/metrics", tag = "processes",
    responses(
        (status = 200, description = "Prometheus text.", body = String, content_type = METRICS_TYPE),
        (status = 404, description = "The process keeps none."),
    )
)]
pub(super) async fn metrics(State(shared): Ctx) -> Answer {
    let Some(handle) = &shared.api.metrics else {
        return Err(Problem::not_found("this process keeps no metrics"));
    };
    let now = shared.api.view.now();
    shared.api.view.read(|known| {
        let active = known.history.active().and_then(Run::board);
        let board = active.or_else(|| known.history.latest_planned().and_then(Run::board));
        telemetry::gauges(board, active.is_none(), &known.members, now);
    });
    let text = handle.render();
    Ok(([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response())
}
