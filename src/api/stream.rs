//! Server-Sent Events: the log, read on and on for one viewer.
//!
//! Nothing is read before the viewer has taken what came before, so a slow viewer costs one batch of memory.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::watch;

use super::problem::Problem;
use crate::log::{From, Log, LogError, Reader, Record};

/// A viewer hears something at least this often, well inside the contract's 15 s.
pub(super) const QUIET: Duration = Duration::from_secs(10);

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
    log: Arc<dyn Log>,
    begin: Begin,
    shutdown: watch::Receiver<bool>,
) -> Result<Response, Problem> {
    let viewer = Viewer::open(log, begin, shutdown).await?;
    Ok(event_stream(Body::from_stream(stream::unfold(viewer, Viewer::next))))
}

/// An answer of Server-Sent Events, which nobody on the way may keep back.
pub(super) fn event_stream(body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (StatusCode::OK, headers, body).into_response()
}

/// One viewer's place in the log.
struct Viewer {
    log: Arc<dyn Log>,
    reader: Box<dyn Reader>,
    frames: Frames,
    /// What is to be sent before anything is read.
    greeting: Option<String>,
    last_sent: Instant,
    shutdown: watch::Receiver<bool>,
}

impl Viewer {
    async fn open(
        log: Arc<dyn Log>,
        begin: Begin,
        shutdown: watch::Receiver<bool>,
    ) -> Result<Viewer, LogError> {
        let (from, reset) = match begin {
            Begin::Start => (From::Start, None),
            Begin::Now => (From::End, None),
            Begin::After(id) => match place(&*log, &id).await? {
                Ok(offsets) => (From::Offsets(offsets), None),
                Err(why) => (From::Start, Some(why)),
            },
        };
        let reader = log.reader(from).await?;
        let frames = Frames::new(log.id(), reader.position());
        // An id without data makes no message, but the browser remembers it: should the connection break before the
        // first event, none is lost.
        let mut greeting = format!(": korch\nretry: {RETRY_MS}\n");
        match reset {
            None => frames.id_line(&mut greeting),
            Some(why) => frames.reset(&mut greeting, why),
        }
        greeting.push('\n');
        Ok(Viewer { log, reader, frames, greeting: Some(greeting), last_sent: Instant::now(), shutdown })
    }

    /// The next chunk; none at the end.
    async fn next(mut self) -> Option<(Result<Bytes, LogError>, Viewer)> {
        let chunk = match self.greeting.take() {
            Some(greeting) => greeting,
            None => self.chunk().await?,
        };
        self.last_sent = Instant::now();
        Some((Ok(Bytes::from(chunk)), self))
    }

    async fn chunk(&mut self) -> Option<String> {
        loop {
            let quiet_left = QUIET.saturating_sub(self.last_sent.elapsed());
            if quiet_left.is_zero() {
                return Some(": still here\n\n".into());
            }
            let read = tokio::select! {
                biased;
                // Also when the sender is gone: then the process is ending.
                _ = self.shutdown.wait_for(|over| *over) => return None,
                read = self.reader.next(quiet_left) => read,
            };
            match read {
                Ok(records) => {
                    let mut chunk = String::with_capacity(
                        records.iter().map(|record| record.value.len() + 96).sum::<usize>(),
                    );
                    for record in &records {
                        self.frames.message(&mut chunk, record);
                    }
                    if !chunk.is_empty() {
                        return Some(chunk);
                    }
                }
                Err(LogError::Truncated { .. }) => {
                    self.reader = self.log.reader(From::Start).await.ok()?;
                    self.frames = Frames::new(self.log.id(), self.reader.position());
                    let mut chunk = String::new();
                    self.frames
                        .reset(&mut chunk, "the log no longer has the events after this viewer's last one");
                    chunk.push('\n');
                    return Some(chunk);
                }
                Err(error) => {
                    tracing::debug!("a viewer's stream ends: {error}");
                    return None;
                }
            }
        }
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

/// Writes records as messages, and the ids between them.
struct Frames {
    log_id: String,
    next_offsets: Vec<u64>,
}

impl Frames {
    fn new(log_id: &str, position: &[u64]) -> Frames {
        Frames { log_id: one_line(log_id), next_offsets: position.to_vec() }
    }

    /// An event's message. Any other record moves the place on, and the next message's id says so.
    fn message(&mut self, out: &mut String, record: &Record) {
        let partition = record.partition as usize;
        if self.next_offsets.len() <= partition {
            self.next_offsets.resize(partition + 1, 0);
        }
        self.next_offsets[partition] = record.offset + 1;
        if record.event().is_err() {
            return;
        }
        self.id_line(out);
        // Line ends between the tokens of a stranger's JSON: the reader joins the lines again.
        for line in String::from_utf8_lossy(&record.value).split(['\n', '\r']) {
            out.push_str("data: ");
            out.push_str(line);
            out.push('\n');
        }
        out.push('\n');
    }

    fn id_line(&self, out: &mut String) {
        out.push_str("id: ");
        out.push_str(&self.log_id);
        for (i, offset) in self.next_offsets.iter().enumerate() {
            out.push(if i == 0 { ':' } else { ',' });
            // Writing to a String cannot fail.
            let _ = write!(out, "{offset}");
        }
        out.push('\n');
    }

    /// The lines of an event named `reset`, without the empty one that ends it.
    fn reset(&self, out: &mut String, why: &'static str) {
        out.push_str("event: reset\n");
        self.id_line(out);
        out.push_str("data: ");
        out.push_str(&serde_json::json!({ "reason": why }).to_string());
        out.push('\n');
    }
}

/// An id that breaks no frame, and that a browser sends back as it is.
fn one_line(log_id: &str) -> String {
    log_id.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn record(offset: u64, value: &'static str) -> Record {
        Record::new(1, offset, 0, Bytes::new(), Bytes::from_static(value.as_bytes()))
    }

    #[test]
    fn messages_carry_the_place_after_them() {
        let mut frames = Frames::new("l:o\ng", &[4, 7]);
        let mut out = String::new();
        frames.message(&mut out, &record(7, "rubbish"));
        frames.message(&mut out, &record(8, "{\n\"event_type\":\r\n\"RunRequested\"}"));
        assert_eq!(out, "id: l:o_g:4,9\ndata: {\ndata: \"event_type\":\ndata: \ndata: \"RunRequested\"}\n\n");
        out.clear();
        frames.reset(&mut out, "why");
        assert_eq!(out, "event: reset\nid: l:o_g:4,9\ndata: {\"reason\":\"why\"}\n");
    }
}
