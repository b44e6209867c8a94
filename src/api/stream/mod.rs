//! `GET /events/stream`: the log as Server-Sent Events.
//!
//! A viewer that is behind reads the log by itself; one that has caught up is sent what is written once for all. Nothing is
//! read before the viewer has taken what came before, so a slow viewer costs one batch of memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::problem::Problem;
use crate::log::{From, Log, LogError, Reader, Record};

mod frames;
mod tail;

use frames::{Frames, one_line};
pub(super) use tail::Tail;
use tail::{Chunk, Next, Seat};

/// A viewer hears something at least this often, well inside the contract's 15 s.
pub(super) const QUIET: Duration = Duration::from_secs(10);

/// A viewer that is behind looks so often whether it may go on with what is written for all.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// How long a viewer's browser waits before it connects again.
pub(super) const RETRY_MS: u32 = 1000;

/// Where a viewer wants to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// With the log's first event.
    Start,
    /// With the next event.
    Now,
    /// After the message of this id.
    After(String),
}

/// The answer that streams the log from `begin` on.
pub(super) async fn respond(
    permit: OwnedSemaphorePermit,
    log: Arc<dyn Log>,
    tail: &Arc<Tail>,
    begin: Begin,
    shutdown: watch::Receiver<bool>,
) -> Result<Response, Problem> {
    let viewer = Viewer::open(log, tail, begin, shutdown).await?;
    Ok(event_stream(Body::from_stream(stream::unfold(viewer, Viewer::next)), permit))
}

/// An answer of Server-Sent Events, which nobody on the way may keep back. It holds its permit as long as somebody reads.
pub(super) fn event_stream(body: Body, permit: OwnedSemaphorePermit) -> Response {
    let body = Body::from_stream(body.into_data_stream().map(move |chunk| {
        let _held = &permit;
        chunk
    }));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (StatusCode::OK, headers, body).into_response()
}

/// Where a viewer's records come from.
enum Source {
    /// From a reader of its own, while it is behind.
    Log(Box<dyn Reader>),
    /// From what is written for all: the number of the next chunk.
    Tail(u64),
}

/// One viewer's place in the log.
struct Viewer {
    log: Arc<dyn Log>,
    seat: Seat,
    source: Source,
    frames: Frames,
    /// What is to be sent before anything is read.
    greeting: Option<String>,
    last_sent: Instant,
    shutdown: watch::Receiver<bool>,
}

impl Viewer {
    async fn open(
        log: Arc<dyn Log>,
        tail: &Arc<Tail>,
        begin: Begin,
        shutdown: watch::Receiver<bool>,
    ) -> Result<Viewer, LogError> {
        let seat = tail.join();
        let mut reset = None;
        let (source, position) = match begin {
            Begin::Now if tail.is_fresh() => {
                let (number, position) = seat.end();
                (Source::Tail(number), position)
            }
            begin => {
                let from = match begin {
                    Begin::Start => From::Start,
                    Begin::Now => From::End,
                    Begin::After(id) => match place(&*log, &id).await? {
                        Ok(offsets) => From::Offsets(offsets),
                        Err(why) => {
                            reset = Some(why);
                            From::Start
                        }
                    },
                };
                let reader = log.reader(from).await?;
                let position = reader.position().to_vec();
                (Source::Log(reader), position)
            }
        };
        let frames = Frames::new(log.id(), &position);
        // An id without data makes no message, but the browser remembers it: should the connection break before the
        // first event, none is lost.
        let mut greeting = format!(": korch\nretry: {RETRY_MS}\n");
        match reset {
            None => frames.id_line(&mut greeting),
            Some(why) => frames.reset(&mut greeting, why),
        }
        greeting.push('\n');
        let (greeting, last_sent) = (Some(greeting), Instant::now());
        Ok(Viewer { log, seat, source, frames, greeting, last_sent, shutdown })
    }

    /// The next chunk; none at the end.
    async fn next(mut self) -> Option<(Result<Bytes, LogError>, Viewer)> {
        let chunk = match self.greeting.take() {
            Some(greeting) => greeting.into(),
            None => self.chunk().await?,
        };
        self.last_sent = Instant::now();
        Some((Ok(chunk), self))
    }

    async fn chunk(&mut self) -> Option<Bytes> {
        loop {
            let quiet_left = QUIET.saturating_sub(self.last_sent.elapsed());
            if quiet_left.is_zero() {
                return Some(Bytes::from_static(b": still here\n\n"));
            }
            let chunk = match &mut self.source {
                Source::Log(reader) => {
                    if let Some(number) = self.seat.enter(self.frames.position()) {
                        self.source = Source::Tail(number);
                        continue;
                    }
                    let read = tokio::select! {
                        biased;
                        // Also when the sender is gone: then the process is ending.
                        _ = self.shutdown.wait_for(|over| *over) => return None,
                        read = reader.next(quiet_left.min(LOOK_AGAIN)) => read,
                    };
                    self.read(read).await?
                }
                Source::Tail(number) => match self.seat.next(*number) {
                    Next::Chunk(chunk, next) => {
                        *number = next;
                        self.shared(chunk)
                    }
                    Next::Wait => {
                        tokio::select! {
                            biased;
                            _ = self.shutdown.wait_for(|over| *over) => return None,
                            written = self.seat.written() => if !written { return None },
                            () = tokio::time::sleep(quiet_left) => {}
                        }
                        continue;
                    }
                    Next::Gone => {
                        let from = From::Offsets(self.frames.position().to_vec());
                        self.source = Source::Log(self.log.reader(from).await.ok()?);
                        continue;
                    }
                },
            };
            if !chunk.is_empty() {
                return Some(chunk);
            }
        }
    }

    /// What a reader of its own brought, as messages. None: the stream ends.
    async fn read(&mut self, read: Result<Vec<Arc<Record>>, LogError>) -> Option<Bytes> {
        match read {
            Ok(records) => Some(self.own(&records)),
            Err(LogError::Truncated { .. }) => {
                let reader = self.log.reader(From::Start).await.ok()?;
                self.frames = Frames::new(self.log.id(), reader.position());
                self.source = Source::Log(reader);
                let mut chunk = String::new();
                self.frames
                    .reset(&mut chunk, "the log no longer has the events after this viewer's last one");
                chunk.push('\n');
                Some(chunk.into())
            }
            Err(error) => {
                tracing::debug!("a viewer's stream ends: {error}");
                None
            }
        }
    }

    /// A chunk of the tail: as it is where this viewer stands at its beginning, else what of it is new to this viewer.
    fn shared(&mut self, chunk: Chunk) -> Bytes {
        if *self.frames.position() == *chunk.before {
            self.frames = Frames::new(self.log.id(), &chunk.after);
            return chunk.bytes;
        }
        let position = self.frames.position().to_vec();
        let seen =
            |record: &Record| position.get(record.partition as usize).is_some_and(|at| record.offset < *at);
        let new: Vec<Arc<Record>> = chunk.records.iter().filter(|record| !seen(record)).cloned().collect();
        let bytes = self.own(&new);
        self.frames.advance(&chunk.after);
        bytes
    }

    /// Messages for this viewer alone.
    fn own(&mut self, records: &[Arc<Record>]) -> Bytes {
        let mut chunk =
            String::with_capacity(records.iter().map(|record| record.value.len() + 96).sum::<usize>());
        for record in records {
            self.frames.message(&mut chunk, record);
        }
        chunk.into()
    }
}

/// Where the id of a message leads to, or why it leads nowhere.
async fn place(log: &dyn Log, id: &str) -> Result<Result<Vec<u64>, &'static str>, LogError> {
    let Some((of_log, offsets)) = id.rsplit_once(':') else { return Ok(Err("the id is malformed")) };
    if of_log != one_line(log.id()) {
        return Ok(Err("the id is another log's"));
    }
    let Ok(mut offsets) = offsets.split(',').map(str::parse).collect::<Result<Vec<u64>, _>>() else {
        return Ok(Err("the id is malformed"));
    };
    let (starts, ends) = (log.starts().await?, log.ends().await?);
    if offsets.len() > ends.len() {
        return Ok(Err("the id has more partitions than the log"));
    }
    // Partitions that were added since hold nothing that this viewer has seen.
    let seen = offsets.len();
    offsets.extend(starts.iter().skip(seen));
    if offsets.iter().zip(&starts).any(|(offset, start)| offset < start) {
        return Ok(Err("the log no longer has the events after this id"));
    }
    if offsets.iter().zip(&ends).any(|(offset, end)| offset > end) {
        return Ok(Err("the id lies beyond the end of the log"));
    }
    Ok(Ok(offsets))
}
