//! `GET /health`, `/livez`, `/readyz`, `/metrics`: how the process is.

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use super::{Answer, Ctx, json_bytes};
use crate::domain::run::Run;
use crate::telemetry;

/// Prometheus text.
pub(super) const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// A log that has not answered for so long is away.
const SILENCE: Duration = Duration::from_secs(5);

pub(super) async fn alive() -> Response {
    json_bytes(StatusCode::OK, r#"{"status":"ok"}"#)
}

pub(super) async fn ready(State(shared): Ctx) -> Answer {
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

pub(super) async fn metrics(State(shared): Ctx) -> Answer {
    let Some(handle) = &shared.api.metrics else {
        return Err(Problem::not_found("this process keeps no metrics"));
    };
    let now = shared.api.view.now();
    shared.api.view.read(|known| {
        let active = known.history.active().and_then(Run::board);
        let board = active.or_else(|| known.history.latest_planned().and_then(Run::board));
        telemetry::gauges(board, &known.members, now);
    });
    let text = handle.render();
    Ok(([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response())
}
