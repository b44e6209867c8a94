//! The end of the log, as messages that are written once for all viewers of `GET /events/stream`.
//!
//! The process folds every record anyway. What it folds is written down here while somebody looks on, in the order in which
//! it was folded, so that a viewer that has caught up costs neither a reader of its own nor a connection to Kafka.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::frames::Frames;
use crate::log::Record;
use crate::view::{KEPT_EVENTS, View};

/// So many bytes of messages are kept for those who are behind; they may read the log themselves.
const KEPT_BYTES: usize = 2 << 20;

/// A batch of messages.
#[derive(Clone)]
pub(super) struct Chunk {
    /// Where a viewer must stand to be sent it as it is.
    pub(super) before: Arc<[u64]>,
    /// Where it leaves the viewer.
    pub(super) after: Arc<[u64]>,
    /// Its records, for a viewer that has some of them already.
    pub(super) records: Arc<[Arc<Record>]>,
    /// Its messages.
    pub(super) bytes: Bytes,
}

/// The last chunks.
pub(in crate::api) struct Tail {
    view: Arc<View>,
    log_id: String,
    kept: Mutex<Kept>,
    /// How many chunks there were.
    written: watch::Sender<u64>,
    came: Notify,
    shutdown: watch::Receiver<bool>,
}

#[derive(Default)]
struct Kept {
    viewers: usize,
    is_running: bool,
    /// The number of the first chunk that is kept.
    first: u64,
    chunks: VecDeque<Chunk>,
    bytes: usize,
    /// How often the view itself had lost its place.
    gaps: u64,
    /// Where the next chunk begins; none: nobody looked on, so nothing was written down.
    end: Option<Arc<[u64]>>,
}

/// What a viewer finds at its place.
pub(super) enum Next {
    /// A chunk, and the number of the next one.
    Chunk(Chunk, u64),
    /// Nothing yet.
    Wait,
    /// It is no longer kept: the log has it.
    Gone,
}

impl Tail {
    pub(in crate::api) fn new(view: Arc<View>, log_id: &str, shutdown: watch::Receiver<bool>) -> Arc<Tail> {
        Arc::new(Tail {
            view,
            log_id: log_id.to_owned(),
            kept: Mutex::default(),
            written: watch::Sender::new(0),
            came: Notify::new(),
            shutdown,
        })
    }

    /// A viewer comes; it leaves when what is returned is dropped.
    pub(super) fn join(self: &Arc<Tail>) -> Seat {
        let mut kept = self.kept.lock();
        kept.viewers += 1;
        if !std::mem::replace(&mut kept.is_running, true) {
            tokio::spawn(self.clone().run());
        }
        if kept.viewers == 1 {
            // From here on everything is written down.
            let (position, gaps) = self.view.read(|known| (known.position.as_slice().into(), known.gaps));
            (kept.end, kept.gaps) = (Some(position), gaps);
            self.came.notify_one();
        }
        Seat { tail: self.clone(), written: self.written.subscribe() }
    }

    /// Whether what is folded is the log's end: a view that has not read so far yet is behind what is new.
    pub(super) fn is_fresh(&self) -> bool {
        self.view.read(|known| known.ready)
    }

    /// Writes down what is folded while somebody looks on.
    async fn run(self: Arc<Tail>) {
        let mut shutdown = self.shutdown.clone();
        let mut changes = self.view.changes();
        loop {
            let nobody = self.kept.lock().viewers == 0;
            tokio::select! {
                changed = changes.changed(), if !nobody => if changed.is_err() { return },
                () = self.came.notified() => {}
                _ = shutdown.wait_for(|over| *over) => return,
            }
            if self.write() {
                self.written.send_modify(|written| *written += 1);
            }
        }
    }

    /// Writes down what is new; false: nothing.
    fn write(&self) -> bool {
        let mut kept = self.kept.lock();
        let Some(before) = kept.end.clone() else { return false };
        let (records, after, gaps) = self.view.read(|known| {
            let is_new = |record: &&Arc<Record>| {
                let offset = before.get(record.partition as usize);
                offset.is_none_or(|offset| record.offset >= *offset)
            };
            // The new ones are the last ones.
            let new = known.last_events.iter().rev().take_while(is_new).count();
            let records: Vec<Arc<Record>> =
                known.last_events.iter().skip(known.last_events.len() - new).cloned().collect();
            (records, known.position.clone(), known.gaps)
        });
        if *after == *before {
            return false;
        }
        let after: Arc<[u64]> = after.into();
        kept.end = Some(after.clone());
        let is_gap = std::mem::replace(&mut kept.gaps, gaps) != gaps;
        if is_gap || records.len() >= KEPT_EVENTS {
            // More came than are kept at hand, or less than there was: those who look on see for themselves.
            kept.first += kept.chunks.len() as u64 + 1;
            kept.chunks.clear();
            kept.bytes = 0;
            return true;
        }
        let mut frames = Frames::new(&self.log_id, &before);
        let mut text = String::with_capacity(records.iter().map(|record| record.value.len() + 96).sum());
        for record in &records {
            frames.message(&mut text, record);
        }
        kept.bytes += text.len();
        kept.chunks.push_back(Chunk { before, after, records: records.into(), bytes: text.into() });
        while kept.bytes > KEPT_BYTES {
            let Some(oldest) = kept.chunks.pop_front() else { break };
            kept.bytes -= oldest.bytes.len();
            kept.first += 1;
        }
        true
    }
}

/// A viewer's place at the tail.
pub(super) struct Seat {
    tail: Arc<Tail>,
    written: watch::Receiver<u64>,
}

impl Seat {
    /// The number of the next chunk to come, and where it begins: there a viewer of what is new stands.
    pub(super) fn end(&self) -> (u64, Vec<u64>) {
        let kept = self.tail.kept.lock();
        let end = kept.end.as_deref().unwrap_or_default().to_vec();
        (kept.first + kept.chunks.len() as u64, end)
    }

    /// The first chunk that a viewer at this position may go on with, if the chunks reach that far back.
    pub(super) fn enter(&self, position: &[u64]) -> Option<u64> {
        let kept = self.tail.kept.lock();
        let start = kept.chunks.front().map(|chunk| &chunk.before).or(kept.end.as_ref())?;
        is_past(position, start).then_some(kept.first)
    }

    /// The chunk of this number.
    pub(super) fn next(&mut self, number: u64) -> Next {
        self.written.borrow_and_update();
        let kept = self.tail.kept.lock();
        let Some(at) = number.checked_sub(kept.first).and_then(|at| usize::try_from(at).ok()) else {
            return Next::Gone;
        };
        kept.chunks.get(at).map_or(Next::Wait, |chunk| Next::Chunk(chunk.clone(), number + 1))
    }

    /// Waits for another chunk. False: there will be none.
    pub(super) async fn written(&mut self) -> bool {
        self.written.changed().await.is_ok()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut kept = self.tail.kept.lock();
        kept.viewers -= 1;
        if kept.viewers == 0 {
            kept.first += kept.chunks.len() as u64;
            kept.chunks.clear();
            (kept.bytes, kept.end) = (0, None);
        }
    }
}

/// Whether a position has everything before another one.
pub(super) fn is_past(position: &[u64], other: &[u64]) -> bool {
    other
        .iter()
        .enumerate()
        .all(|(partition, offset)| position.get(partition).copied().unwrap_or(0) >= *offset)
}
