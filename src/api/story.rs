//! `GET /runs/{id}/events`: the events of one run up to an instant, read from the log.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::ToSchema;

use super::ask::{limit, path, query};
use super::events::LogEvent;
use super::objects::object_id;
use super::problem::Problem;
use super::runs::{RunName, kept, run_id};
use super::{Answer, Ctx, json_bytes, views};
use crate::domain::event::RunId;
use crate::domain::object::ObjectId;
use crate::log::{From, Log, LogError, Record};
use crate::view::KEPT_EVENTS;

/// How many events are shown where the caller does not say.
const DEFAULT_EVENTS: usize = 200;
/// Reading may take so long; then what was found so far is shown.
const READ_TIME: Duration = Duration::from_secs(10);
/// So many callers read the log at a time.
pub(super) const READERS: usize = 2;

#[derive(Deserialize)]
pub(super) struct EventsQuery {
    until: Option<String>,
    limit: Option<String>,
    object: Option<String>,
    r#type: Option<String>,
}

/// Events of a run.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the answer is put together from what stands in the log, byte by byte")]
struct RunEvents {
    /// As they stand in the log.
    events: Vec<LogEvent>,
    /// Whether there were, or may have been, more before.
    more: bool,
}

/// What somebody wants to see.
struct Wanted {
    run: RunId,
    until: Option<Timestamp>,
    limit: usize,
    object: Option<ObjectId>,
    event_type: Option<String>,
    /// The last ones that were found, and whether there were more before.
    found: VecDeque<Arc<Record>>,
    more: bool,
}

impl Wanted {
    fn look(&mut self, record: Arc<Record>) {
        let Ok(event) = record.event() else { return };
        let fits = event.run == Some(self.run)
            && self.until.is_none_or(|until| event.at <= until)
            && self.object.is_none_or(|id| event.body.object().is_some_and(|(object, _)| object == id))
            && self.event_type.as_ref().is_none_or(|name| event.body.event_type() == name);
        if !fits {
            return;
        }
        if self.found.len() == self.limit {
            self.found.pop_front();
            self.more = true;
        }
        self.found.push_back(record);
    }
}

/// The last events of a run up to an instant, the oldest of them first
///
/// They are read from the log. What takes too long to find is left out, and `more` says that there may be more.
#[utoipa::path(
    get, path = "/runs/{id}/events", tag = "events",
    params(
        ("id" = RunName, Path, description = "The run."),
        ("until" = Option<String>, Query, description = "The instant; by default now.", format = DateTime),
        ("limit" = Option<usize>, Query, description = "At most so many; 200, where it is not given.", minimum = 1, maximum = 1000),
        ("object" = Option<ObjectId>, Query, description = "Of this object only."),
        ("type" = Option<String>, Query, description = "Of this type only, such as `ObjectFailed`."),
    ),
    responses(
        (status = 200, description = "Events as they stand in the log.", body = RunEvents),
        (status = 400, description = "The instant is no time, or the limit no number of that range."),
        (status = 404, description = "There is no such run."),
    )
)]
pub(super) async fn run_events(
    State(shared): Ctx,
    id: Result<Path<String>, PathRejection>,
    asked: Result<Query<EventsQuery>, QueryRejection>,
) -> Answer {
    let asked = query(asked)?;
    let until = asked.until.as_deref().map(|text| {
        text.parse::<Timestamp>().map_err(|_| {
            Problem::bad_request(format!("until is a time such as 2026-01-31T03:00:00Z, not {text:?}"))
        })
    });
    let mut wanted = Wanted {
        until: until.transpose()?,
        limit: limit(asked.limit.as_deref(), DEFAULT_EVENTS, KEPT_EVENTS)?,
        object: asked.object.as_deref().map(object_id).transpose()?,
        event_type: asked.r#type,
        run: run_id(&shared, &path(id)?)?,
        found: VecDeque::new(),
        more: false,
    };
    let places =
        shared.api.view.read(|known| kept(&known.history, wanted.run).map(|run| run.places().clone()))?;

    // The last events are at hand; that may be enough.
    if wanted.until.is_none() && wanted.object.is_none() && wanted.event_type.is_none() {
        let at_hand: Vec<Arc<Record>> =
            shared.api.view.read(|known| known.last_events.iter().cloned().collect());
        at_hand.into_iter().for_each(|record| wanted.look(record));
        if wanted.found.len() == wanted.limit {
            wanted.more = true;
            return answer(wanted);
        }
        wanted.found.clear();
    }
    let permit = shared.readers.acquire().await.map_err(|_| Problem::internal())?;
    let read = tokio::time::timeout(READ_TIME, read(&*shared.api.log, &places, &mut wanted)).await;
    drop(permit);
    match read {
        Ok(read) => read?,
        Err(_) => wanted.more = true,
    }
    answer(wanted)
}

/// Reads the part of the log where the run's events stand.
async fn read(
    log: &dyn Log,
    places: &std::collections::BTreeMap<u32, (u64, u64)>,
    wanted: &mut Wanted,
) -> Result<(), LogError> {
    let (starts, ends) = (log.starts().await?, log.ends().await?);
    // A partition that has none of them is begun at its end.
    let from = (0..).zip(starts.iter().zip(&ends)).map(|(partition, (start, end))| {
        places.get(&partition).map_or(*end, |(first, _)| (*first).clamp(*start, *end))
    });
    let mut reader = log.reader(From::Offsets(from.collect())).await?;
    let is_through = |position: &[u64]| {
        places.iter().all(|(&partition, &(_, last))| {
            let partition = partition as usize;
            let end = ends.get(partition).copied().unwrap_or(0);
            position.get(partition).is_none_or(|&at| at > last || at >= end)
        })
    };
    while !is_through(reader.position()) {
        for record in reader.next(Duration::from_millis(250)).await? {
            wanted.look(record);
        }
    }
    Ok(())
}

fn answer(wanted: Wanted) -> Answer {
    let mut records: Vec<Arc<Record>> = wanted.found.into();
    // Partitions are read beside each other: by time they tell one story.
    records.sort_by_key(|record| record.event().as_ref().map_or(Timestamp::MIN, |event| event.at));
    Ok(json_bytes(StatusCode::OK, views::run_events(&records, wanted.more)))
}
