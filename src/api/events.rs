//! `GET /events/last`, `/events/stream`: the log as it was written.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::ask::{LimitQuery, limit, query};
use super::problem::Problem;
use super::stream::{self, Begin};
use super::{Answer, Ctx, json_bytes, views};
use crate::log::Record;
use crate::view::KEPT_EVENTS;

/// How many events are shown where the caller does not say.
const DEFAULT_EVENTS: usize = 10;

pub(super) async fn events_last(
    State(shared): Ctx,
    asked: Result<Query<LimitQuery>, QueryRejection>,
) -> Answer {
    let limit = limit(query(asked)?.limit.as_deref(), DEFAULT_EVENTS, KEPT_EVENTS)?;
    let records: Vec<Arc<Record>> = shared.api.view.read(|known| {
        let skipped = known.last_events.len().saturating_sub(limit);
        known.last_events.iter().skip(skipped).cloned().collect()
    });
    Ok(json_bytes(StatusCode::OK, views::last_events(&records)))
}

#[derive(Deserialize)]
pub(super) struct StreamQuery {
    from: Option<String>,
}

pub(super) async fn events_stream(
    State(shared): Ctx,
    headers: HeaderMap,
    asked: Result<Query<StreamQuery>, QueryRejection>,
) -> Answer {
    let begin = match (headers.get("last-event-id"), query(asked)?.from.as_deref()) {
        // What is no text is no id of ours: answered like any other stranger's.
        (Some(id), _) if !id.is_empty() => Begin::After(String::from_utf8_lossy(id.as_bytes()).into_owned()),
        (_, Some("start")) => Begin::Start,
        (_, None | Some("now" | "end")) => Begin::Now,
        (_, Some(other)) => {
            return Err(Problem::bad_request(format!("from is `start` or `now`, not {other:?}")));
        }
    };
    stream::respond(shared.api.log.clone(), &shared.tail, begin, shared.api.shutdown.clone()).await
}
