//! `GET /events/last`, `/events/stream`: the log as it was written.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use super::ask::{LimitQuery, limit, query};
use super::problem::Problem;
use super::stream::{self, Begin};
use super::{Answer, Ctx, json_bytes, views};
use crate::log::Record;
use crate::view::KEPT_EVENTS;

/// The last events.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the answer is put together from what stands in the log, byte by byte")]
struct LastEvents {
    /// Events as they stand in the log; docs/asyncapi.yaml describes each type.
    last_events: Vec<LogEvent>,
}

/// An event as it stands in the log: what else it carries goes by its type.
#[derive(ToSchema)]
#[allow(dead_code, reason = "as above")]
pub(super) struct LogEvent {
    event_type: String,
}

/// Where a stream begins; `end` is another word for `now`.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "as above")]
pub(super) enum From {
    Start,
    Now,
    End,
}

/// How many events are shown where the caller does not say.
const DEFAULT_EVENTS: usize = 10;

/// The last events, the oldest of them first
#[utoipa::path(
    get, path = "/events/last", tag = "events",
    params(("limit" = Option<usize>, Query, description = "At most so many; 10, where it is not given.", minimum = 1, maximum = 1000)),
    responses(
        (status = 200, description = "Events as they stand in the log.", body = LastEvents),
        (status = 400, description = "The limit is no number of that range."),
    )
)]
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

/// The events as they come, as Server-Sent Events
///
/// Each event's JSON is an unnamed message. An id of another log, or one older than its start, is answered by an event
/// named `reset`, then the log from its start. A comment comes at least every 15 s. Order holds within a partition.
#[utoipa::path(
    get, path = "/events/stream", tag = "events",
    params(
        ("from" = Option<From>, Query, description = "`start`: begin with the log's first event. By default with the next one."),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last message that was seen: the stream goes on behind it, none is lost and none comes twice."),
    ),
    responses(
        (status = 200, description = "An endless stream.", body = String, content_type = "text/event-stream"),
        (status = 400, description = "`from` is no such word."),
    )
)]
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
    let permit = shared.stream()?;
    stream::respond(permit, shared.api.log.clone(), &shared.tail, begin, shared.api.shutdown.clone()).await
}
