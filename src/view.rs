//! What a process knows: the log, folded once for everyone in it.
//!
//! One reader folds; the orchestrator decides by it, the API answers from it, the progress bars show it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use tokio::sync::watch;

use crate::domain::event::Reject;
use crate::domain::history::History;
use crate::domain::member::{Member, Members, Mono};
use crate::domain::tidings::{Stance, Tiding, Tidings};
use crate::hearing::Hearing;
use crate::log::Record;

/// Records that are passed over are logged no more often than this.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// So many of the last events are kept at hand.
pub const KEPT_EVENTS: usize = 1000;

/// What is known so far.
#[derive(Debug, Default)]
pub struct Known {
    /// Every run.
    pub history: History,
    /// Leader and workers.
    pub members: Members,
    /// The last events, the oldest first.
    pub last_events: VecDeque<Arc<Record>>,
    /// The offset after the last record that was folded, for every partition.
    pub position: Vec<u64>,
    /// How often records were gone from the log before they could be folded.
    pub gaps: u64,
    /// Records that were passed over, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// When a record that was passed over was logged last.
    reject_said: Option<Instant>,
    /// Whether the log has been read to the end that it had when the process started.
    pub ready: bool,
    /// The epoch of this process, while it leads.
    pub leading: Option<u64>,
    /// What people are to be told.
    pub tidings: Tidings,
}

/// The shared view of a process.
#[derive(Debug)]
pub struct View {
    known: RwLock<Known>,
    changed: watch::Sender<u64>,
    origin: Instant,
    /// Until when the log has been heard.
    pub hearing: Hearing,
}

impl Default for View {
    fn default() -> View {
        View::new()
    }
}

impl View {
    /// A view that knows nothing yet.
    pub fn new() -> View {
        View {
            known: RwLock::default(),
            changed: watch::Sender::new(0),
            origin: Instant::now(),
            hearing: Hearing::default(),
        }
    }

    /// This process's monotonic clock.
    pub fn now(&self) -> Mono {
        self.origin.elapsed()
    }

    /// An instant on this process's monotonic clock.
    pub fn mono(&self, instant: Instant) -> Mono {
        instant.saturating_duration_since(self.origin)
    }

    /// Folds records of the events topic.
    pub fn fold_events(&self, records: &[Arc<Record>]) {
        if records.is_empty() {
            return;
        }
        // Decoded before the lock is taken: readers of the view wait for the fold alone.
        for record in records {
            let _ = record.event();
        }
        let mut guard = self.known.write();
        let known = &mut *guard;
        let stance = known.stance();
        for record in records {
            known.pass(record.partition, record.offset + 1);
            let folded = match record.event() {
                Ok(event) => {
                    if known.last_events.len() == KEPT_EVENTS {
                        known.last_events.pop_front();
                    }
                    known.last_events.push_back(record.clone());
                    known.tidings.fold(&mut known.history, event, record.stamp(), stance)
                }
                Err(reject) => Err(*reject),
            };
            if let Err(reject) = folded {
                known.reject(reject, record);
            }
        }
        drop(guard);
        self.touch();
    }

    /// Notes that a partition's events before `start` are gone, though they were not all folded.
    pub fn cut(&self, partition: u32, start: u64) {
        self.update(|known| {
            known.history.cut(partition, start);
            known.gaps += 1;
            known.pass(partition, start);
        });
    }

    /// Folds records of the members topic, which was read to the end that it had at `caught_up`.
    pub fn fold_members(&self, records: &[Arc<Record>], caught_up: Option<Instant>, lease: Duration) {
        let now = self.now();
        let mut known = self.known.write();
        for record in records {
            if let Some(member) = Member::decode(&record.value) {
                known.tidings.hear(&member);
                known.members.apply(member, now);
            }
        }
        if let Some(caught_up) = caught_up {
            known.members.polled(self.mono(caught_up), lease);
        }
        drop(known);
        if !records.is_empty() {
            self.touch();
        }
    }

    /// Looks at what is known. Not across an await.
    pub fn read<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.known.read())
    }

    /// Changes what is known other than by a fold: whether the process leads, what it has looked at.
    pub fn update<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        let result = change(&mut self.known.write());
        self.touch();
        result
    }

    /// Takes what people are to be told by now. It changes nothing that anybody else waits for.
    pub fn take_tidings(&self) -> Vec<Tiding> {
        if !self.read(|known| known.tidings.are_due(known.stance())) {
            return Vec::new();
        }
        let known = &mut *self.known.write();
        known.tidings.take(known.stance())
    }

    /// Wakes whoever waits for a change.
    fn touch(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    /// A receiver that sees every change from now on, several at once where they come fast.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Waits until `test` finds what it looks for, or until `limit` has passed.
    pub async fn wait_for<T>(&self, limit: Duration, mut test: impl FnMut(&Known) -> Option<T>) -> Option<T> {
        let mut changes = self.changes();
        tokio::time::timeout(limit, async {
            loop {
                changes.borrow_and_update();
                if let Some(found) = self.read(&mut test) {
                    return found;
                }
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        })
        .await
        .ok()
    }
}

impl Known {
    fn stance(&self) -> Stance {
        match (self.leading, self.ready) {
            (Some(_), _) => Stance::Leads,
            (None, true) => Stance::StandsBy,
            (None, false) => Stance::ReadsHistory,
        }
    }

    /// Notes that a partition is folded up to this offset.
    fn pass(&mut self, partition: u32, offset: u64) {
        let partition = partition as usize;
        if self.position.len() <= partition {
            self.position.resize(partition + 1, 0);
        }
        self.position[partition] = self.position[partition].max(offset);
    }

    fn reject(&mut self, reject: Reject, record: &Record) {
        if self.reject_said.is_none_or(|said| said.elapsed() >= SAY_AGAIN) {
            self.reject_said = Some(Instant::now());
            tracing::warn!(
                partition = record.partition,
                offset = record.offset,
                "a record is passed over: {reject}; others may be, without a word for a minute"
            );
        }
        *self.rejected.entry(reject.reason()).or_default() += 1;
        metrics::counter!(crate::telemetry::EVENTS_REJECTED, "reason" => reject.reason()).increment(1);
    }
}
