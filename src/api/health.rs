//! `GET /health`, `/livez`, `/readyz`, `/metrics`: how the process is.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use utoipa::ToSchema;

use super::problem::Problem;
use super::{Answer, Ctx, blocking, json_bytes};
use crate::hearing::Hearing;

/// Prometheus text.
pub(super) const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

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
    heard(&shared.api.view.hearing).await
}

/// Whether the log is there.
async fn heard(hearing: &Hearing) -> Answer {
    match hearing.trouble() {
        Some(trouble) => Err(Problem::unavailable(trouble)),
        None => Ok(alive().await),
    }
}

/// What a worker serves: whether it is there and has its log, and its metrics.
pub fn worker_router(metrics: PrometheusHandle, hearing: Arc<Hearing>) -> Router {
    let render = move || async move { ([(header::CONTENT_TYPE, METRICS_TYPE)], metrics.render()) };
    Router::new()
        .route("/metrics", get(render))
        .route("/health", get(alive))
        .route("/livez", get(alive))
        .route("/readyz", get(move || async move { heard(&hearing).await }))
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
    let (handle, shared) = (handle.clone(), shared.clone());
    let text = blocking(move || {
        shared.run_gauges.set(&shared.api.view);
        handle.render()
    })
    .await?;
    Ok(([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response())
}
