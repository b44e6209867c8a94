//! One viewer of `GET /live`: what it has been sent, and what it is sent next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use futures_util::stream;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::encode::{frame, json};
use super::{Live, Place};
use crate::api::ask::query;
use crate::api::runs::{RunName, is_known, no_run, run_id};
use crate::api::stream::{QUIET, RETRY_MS, event_stream};
use crate::api::{Answer, Ctx};
use crate::domain::event::{RunId, time_text};

#[derive(Deserialize)]
pub(in crate::api) struct LiveQuery {
    run: Option<String>,
}

/// The first message.
#[derive(Serialize)]
struct Hello {
    version: &'static str,
    token_required: bool,
    /// Whether `GET /schedule` has something to say.
    schedule: bool,
    now: String,
}

/// A run as it goes, as Server-Sent Events
///
/// Messages named `hello`, `runs`, `workers`, `run` and `stories`: what a page shows, first as it stands, then as it changes.
/// A comment comes at least every 15 s.
#[utoipa::path(
    get, path = "/live", tag = "events",
    params(
        ("run" = Option<RunName>, Query, description = "The run; by default whichever is the latest."),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last message that was seen: the stream goes on behind it where it can, else it begins with the whole."),
    ),
    responses(
        (status = 200, description = "An endless stream.", body = String, content_type = "text/event-stream"),
        (status = 404, description = "There is no such run."),
    )
)]
pub(in crate::api) async fn live(
    State(shared): Ctx,
    headers: HeaderMap,
    asked: Result<Query<LiveQuery>, QueryRejection>,
) -> Answer {
    let asked = query(asked)?.run.filter(|run| run != "latest");
    let run = asked.map(|text| run_id(&shared, &text)).transpose()?;
    if let Some(run) = run {
        let is_there = shared.api.view.read(|known| {
            let is_line = || known.history.summaries().any(|summary| summary.run_id == run);
            known.history.run(run).is_some_and(is_known) || is_line()
        });
        if !is_there {
            return Err(no_run(run));
        }
    }
    let permit = shared.stream()?;
    let seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let hello = Hello {
        version: env!("CARGO_PKG_VERSION"),
        token_required: shared.api.token_required(),
        schedule: shared.api.timetable.is_some(),
        now: time_text(Timestamp::now()),
    };
    let greeting = format!(": korch\nretry: {RETRY_MS}\n\n");
    let pending = VecDeque::from([Bytes::from(greeting), frame("hello", None, &json(&hello))]);
    let live = shared.live.clone();
    let is_first = live.join();
    let viewer = Viewer {
        version: live.version.subscribe(),
        shutdown: shared.api.shutdown.clone(),
        live: live.clone(),
        follows: run,
        run: None,
        seen,
        place: None,
        lines: Lines::default(),
        pending,
        last_sent: Instant::now(),
    };
    if is_first {
        // Nobody looked before: what is shown first must be fresh.
        live.tell(true).await;
    }
    Ok(event_stream(Body::from_stream(stream::unfold(viewer, Viewer::next)), permit))
}

/// The messages of which only the last one counts: which were sent.
#[derive(Default)]
struct Lines {
    runs: u64,
    workers: u64,
    run: u64,
    /// It was told that there is no run.
    none: bool,
}

struct Viewer {
    live: Arc<Live>,
    /// The run that it looks at; none: whichever is the latest.
    follows: Option<RunId>,
    run: Option<RunId>,
    /// The id of the last message that it had before.
    seen: Option<String>,
    /// Where it stands; none: it needs the whole.
    place: Option<Place>,
    lines: Lines,
    pending: VecDeque<Bytes>,
    version: watch::Receiver<u64>,
    last_sent: Instant,
    shutdown: watch::Receiver<bool>,
}

impl Viewer {
    /// The next chunk; none at the end.
    async fn next(mut self) -> Option<(Result<Bytes, std::convert::Infallible>, Viewer)> {
        loop {
            if *self.shutdown.borrow() {
                return None;
            }
            if let Some(chunk) = self.pending.pop_front() {
                self.last_sent = Instant::now();
                return Some((Ok(chunk), self));
            }
            self.version.borrow_and_update();
            self.gather().await;
            if !self.pending.is_empty() {
                continue;
            }
            tokio::select! {
                biased;
                // Also when the sender is gone: then the process is ending.
                _ = self.shutdown.wait_for(|over| *over) => return None,
                changed = self.version.changed() => changed.ok()?,
                () = tokio::time::sleep_until((self.last_sent + QUIET).into()) => {
                    self.pending.push_back(Bytes::from_static(b": still here\n\n"));
                }
            }
        }
    }

    /// Gathers what is new for this viewer.
    async fn gather(&mut self) {
        loop {
            self.turn();
            if let (Some(run), None) = (self.run, self.place) {
                let live = self.live.clone();
                let Ok((place, whole)) = tokio::task::spawn_blocking(move || live.whole(run)).await else {
                    return;
                };
                self.place = Some(place);
                // The line says which plan the whole is of.
                self.lines();
                self.pending.extend(whole);
            }
            self.lines();
            if self.changes() {
                return;
            }
            self.place = None;
        }
    }

    /// Gathers what changed since; false where that is too long ago.
    fn changes(&mut self) -> bool {
        let told = self.live.told.lock();
        let (Some(feed), Some(place)) = (self.run.and_then(|run| told.feeds.get(&run)), self.place) else {
            return true;
        };
        let Some(changes) = feed.after(place) else { return false };
        self.pending.extend(changes.cloned());
        self.place = Some(feed.end());
        true
    }

    /// Turns to the run that it is to see.
    fn turn(&mut self) {
        let mut told = self.live.told.lock();
        let run = self.follows.or(told.latest);
        if run == self.run {
            return;
        }
        told.turn_away(self.run);
        self.run = run;
        (self.place, self.lines.run) = (None, 0);
        let Some(run) = run else { return };
        told.turn_to(run);
        // A connection that broke goes on where it was.
        let place = self.seen.take().and_then(|id| self.live.place_of(&id, run));
        self.place =
            place.filter(|place| told.feeds.get(&run).is_some_and(|feed| feed.after(*place).is_some()));
    }

    fn lines(&mut self) {
        let told = self.live.told.lock();
        self.pending.extend(told.runs.news(&mut self.lines.runs));
        self.pending.extend(told.workers.news(&mut self.lines.workers));
        match self.run.and_then(|run| told.feeds.get(&run)) {
            Some(feed) => self.pending.extend(feed.line.news(&mut self.lines.run)),
            None if !std::mem::replace(&mut self.lines.none, true) => {
                self.pending.push_back(frame("run", None, "null"));
            }
            None => {}
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.live.leave(self.run);
    }
}
