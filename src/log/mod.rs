//! What a log is: append, read on from a place, wait for more. The log is the only store that korch has.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use crate::domain::envelope::Envelope;
use crate::domain::event::{Event, Place, Reject};
use crate::domain::run::Stamp;

pub mod kafka;
pub mod local;

/// One record as it stands in the log. Shared by every reader in the process, so never copied, and decoded once.
#[derive(Debug)]
pub struct Record {
    /// The partition it stands in.
    pub partition: u32,
    /// Its place in the partition, from 0.
    pub offset: u64,
    /// When the log took it, in microseconds since 1970-01-01 UTC.
    pub timestamp_us: i64,
    /// The key, which chose the partition.
    pub key: Bytes,
    /// The event's JSON, or whatever a stranger wrote.
    pub value: Bytes,
    event: OnceLock<Result<Event, Reject>>,
}

impl Record {
    /// A record as read.
    pub fn new(partition: u32, offset: u64, timestamp_us: i64, key: Bytes, value: Bytes) -> Record {
        Record { partition, offset, timestamp_us, key, value, event: OnceLock::new() }
    }

    /// Where and when the log took it.
    pub fn stamp(&self) -> Stamp {
        Stamp {
            place: Place { partition: self.partition, offset: self.offset },
            timestamp_us: self.timestamp_us,
        }
    }

    /// The event that it holds, or why it holds none. Decoded at the first call.
    pub fn event(&self) -> &Result<Event, Reject> {
        self.event.get_or_init(|| {
            let timestamp = Timestamp::from_microsecond(self.timestamp_us).unwrap_or_default();
            Event::decode(&self.value, self.stamp().place, timestamp)
        })
    }
}

/// What is to be appended: a key and a value. The log chooses partition, offset and timestamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// The partition, where it is not the key that chooses it.
    pub partition: Option<u32>,
    /// The key: an object's or a run's id as text.
    pub key: Bytes,
    /// The event's JSON.
    pub value: Bytes,
    /// What its headers say, where the log has headers.
    pub envelope: Option<Envelope>,
}

impl NewRecord {
    /// The record of an event, in the partition that its key chooses.
    pub fn of(event: &Event) -> NewRecord {
        NewRecord { envelope: Some(Envelope::of(event)), ..NewRecord::plain(event.key(), event.encode()) }
    }

    /// A record without headers, in the partition that its key chooses.
    pub fn plain(key: impl Into<Bytes>, value: impl Into<Bytes>) -> NewRecord {
        NewRecord { partition: None, key: key.into(), value: value.into(), envelope: None }
    }
}

/// Where a reader begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// With the oldest record that the log still has.
    Start,
    /// With the next record appended after this call.
    End,
    /// With these offsets, one a partition.
    Offsets(Vec<u64>),
}

/// Why a log did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Another process holds the directory, or it cannot be used; the text says which and what to do.
    #[error("{0}")]
    Unavailable(String),
    /// The brokers cannot be reached, or refuse what they are asked; the text names them and says what to do.
    #[error("{0}")]
    Unreachable(String),
    /// The log is closed: its process is ending.
    #[error("the log is closed")]
    Closed,
    /// A record that no log takes; nothing of its batch was appended.
    #[error("a record of {bytes} bytes is too large for the log, which takes {most} at most")]
    TooLarge {
        /// The bytes of its key and value.
        bytes: usize,
        /// How many the log takes.
        most: usize,
    },
    /// An offset that the log no longer has; reading can go on at `start`.
    #[error("partition {partition} begins at offset {start}, {wanted} was asked for")]
    Truncated {
        /// The partition concerned.
        partition: u32,
        /// The offset asked for.
        wanted: u64,
        /// The oldest offset that is there.
        start: u64,
    },
}

/// A log of records in one or more partitions.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// An id that no other log has: it tells a reader that its offsets are another log's.
    fn id(&self) -> &str;

    /// How many partitions it has.
    fn partitions(&self) -> u32;

    /// Appends all of `records`, in order within a partition; returns once they are durable, with the offset after the last
    /// one of each partition (0 where none went).
    ///
    /// # Errors
    /// When the log is closed or its storage failed: each record may then be there, once or several times, or come later,
    /// or not at all. When one is too large, none is there.
    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<u64>, LogError>;

    /// The offset after the last record of every partition, now.
    async fn ends(&self) -> Result<Vec<u64>, LogError>;

    /// The offset of the oldest record of every partition, now.
    async fn starts(&self) -> Result<Vec<u64>, LogError>;

    /// Forgets records before these offsets, one a partition, as far as the log likes.
    ///
    /// # Errors
    /// When the log is closed, or does not let this process do so.
    async fn truncate(&self, before: &[u64]) -> Result<(), LogError>;

    /// A reader of its own, at `from`.
    async fn reader(&self, from: From) -> Result<Box<dyn Reader>, LogError>;
}

/// Reads a log on and on, all partitions of it.
#[async_trait]
pub trait Reader: Send {
    /// The next records, at least one unless `wait` passes first; bounded in count and bytes.
    /// May be dropped at any await (in a `select!`) without losing a record.
    ///
    /// # Errors
    /// When the log is closed, or [`LogError::Truncated`], after which it goes on at the start that the error names.
    async fn next(&mut self, wait: Duration) -> Result<Vec<Arc<Record>>, LogError>;

    /// The offset of the next record to be read, for every partition.
    fn position(&self) -> &[u64];

    /// An instant such that everything that was in the log by then has been read; none: not yet. It follows the log's end
    /// only while `next` is called.
    fn caught_up(&self) -> Option<Instant>;

    /// How many records are known to be there and not read yet.
    fn lag(&self) -> u64;
}

/// What a reader does about an error: what is gone from the log is said, and reading goes on at its start.
///
/// # Errors
/// Every other error.
pub fn truncated(error: LogError) -> Result<Vec<Arc<Record>>, LogError> {
    match error {
        LogError::Truncated { partition, wanted, start } => {
            tracing::warn!(
                partition,
                wanted,
                start,
                "records are gone from the log: reading goes on at its start"
            );
            Ok(Vec::new())
        }
        other => Err(other),
    }
}
