//! `POST /orchestrate`: a run is asked for.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ask::body;
use super::problem::Problem;
use super::{Answer, Ctx, blocking, json, publish};
use crate::domain::event::{self, Body, RunId};
use crate::domain::object::ObjectId;

/// How long a request waits for its run to be planned.
const PLAN_WAIT: Duration = Duration::from_secs(5);
/// So many ids of a new run are shown.
const ORDER_SAMPLE: usize = 20;

/// The body of `POST /orchestrate`. A word that is not known is an error: `target` for `targets` would run everything.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wish {
    targets: Option<Vec<Target>>,
    requested_by: Option<String>,
    retries: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a target is text or a number")]
enum Target {
    Text(String),
    Id(u64),
}

#[derive(Serialize)]
struct Accepted {
    status: &'static str,
    run_id: RunId,
    count: Option<usize>,
    order_sample: Vec<ObjectId>,
}

pub(super) async fn orchestrate(
    State(shared): Ctx,
    headers: HeaderMap,
    bytes: Result<Bytes, BytesRejection>,
) -> Answer {
    let wish: Wish = body(&headers, bytes)?;
    let targets: Vec<String> = wish
        .targets
        .unwrap_or_default()
        .into_iter()
        .map(|target| match target {
            Target::Text(text) => text,
            Target::Id(id) => id.to_string(),
        })
        .collect();
    if let Some(preview) = shared.api.preview.clone() {
        let targets = targets.clone();
        blocking(move || preview(&targets))
            .await?
            .map_err(|refused| Problem::bad_catalogue(refused.text, Some(refused.problems)))?;
    }
    let run_id = RunId(Uuid::now_v7());
    let request = event::Request {
        targets,
        requested_by: Some(wish.requested_by.unwrap_or_else(|| "api".into())),
        retries: wish.retries,
        retry_of: None,
    };
    publish(&shared.api, run_id, Body::RunRequested(request)).await?;

    let planned = shared.api.view.wait_for(PLAN_WAIT, |known| {
        let run = known.history.run(run_id)?;
        if let Some(board) = run.board() {
            let sample = board.objects().iter().take(ORDER_SAMPLE).map(|object| object.id).collect();
            return Some(Ok((Some(board.len()), sample)));
        }
        let (_, finished) = run.finished.as_ref()?;
        if finished.reason.as_deref() == Some("bad-catalogue") {
            let detail = "the catalogue cannot be planned: `problems` lists all that is wrong with it";
            return Some(Err(Problem::bad_catalogue(detail, finished.problems.clone())));
        }
        Some(Ok((None, Vec::new()))) // it ended before anybody planned it
    });
    let mut shutdown = shared.api.shutdown.clone();
    let planned = tokio::select! {
        planned = planned => planned,
        _ = shutdown.wait_for(|over| *over) => None,
    };
    let (count, order_sample) = planned.unwrap_or_else(|| Ok((None, Vec::new())))?;
    json(StatusCode::ACCEPTED, &Accepted { status: "ok", run_id, count, order_sample })
}
