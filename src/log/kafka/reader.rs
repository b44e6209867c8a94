//! Reads a topic: a fetch a partition, all of them at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use rskafka::client::error::{Error, ProtocolError};
use rskafka::client::partition::OffsetAt;
use rskafka::record::RecordAndOffset;
use tokio::sync::watch;

use super::connection::{Connection, Failure, Lane};
use super::{FIRST_PAUSE, MOST_PAUSE, ago};
use crate::log::{LogError, Reader, Record};

/// One fetch brings at most about so many bytes.
const FETCH_BYTES: i32 = 2 << 20;
/// A broker that may send so little sends one batch: the first one, whole.
const ONE_BATCH: i32 = 2;
/// After that, each fetch may bring so many times more.
const GROWTH: i32 = 32;
/// An outage is logged once, and then no more often than this.
const SAY_AGAIN: Duration = Duration::from_secs(60);
/// A record that cannot be read is passed over after so many tries.
const TRIES_AT_ONE_OFFSET: u32 = 3;

/// What a fetch of a partition found.
struct Chunk {
    records: Vec<Arc<Record>>,
    /// Everything that was in the partition by then has been fetched.
    caught_up: Option<Instant>,
    /// The partition's end, as the broker told.
    end: u64,
    /// The offset that was wanted, where the log no longer has it.
    gone: Option<u64>,
}

/// A reader of all partitions of a topic.
///
/// Its fetches are futures that it keeps: a `next` that is dropped leaves them under way, and nothing is fetched ahead of
/// whoever reads by more than one answer a partition.
pub(super) struct KafkaReader {
    connection: Arc<Connection>,
    topic: String,
    /// How many partitions the topic has.
    grown: watch::Receiver<u32>,
    position: Vec<u64>,
    caught_up: Vec<Option<Instant>>,
    ends: Vec<u64>,
    /// One a partition.
    fetching: FuturesUnordered<BoxFuture<'static, (Fetching, Chunk)>>,
}

impl KafkaReader {
    /// Reads from these offsets on, and whatever partitions there are besides from their starts.
    pub(super) fn start(
        connection: &Arc<Connection>,
        topic: &str,
        offsets: Vec<u64>,
        grown: watch::Receiver<u32>,
    ) -> KafkaReader {
        let mut reader = KafkaReader {
            connection: connection.clone(),
            topic: topic.to_owned(),
            grown,
            position: Vec::new(),
            caught_up: Vec::new(),
            ends: Vec::new(),
            fetching: FuturesUnordered::new(),
        };
        for offset in offsets {
            reader.add(offset);
        }
        reader.grow();
        reader
    }

    /// Reads one more partition.
    fn add(&mut self, offset: u64) {
        let partition = u32::try_from(self.position.len()).unwrap_or(u32::MAX);
        let fetching = Fetching {
            lane: Lane::new(self.connection.clone(), &self.topic, partition, "read"),
            partition,
            offset,
            pause: FIRST_PAUSE,
            bytes: FETCH_BYTES,
            outage: None,
            held_up: None,
            tries_here: 0,
        };
        self.position.push(offset);
        self.caught_up.push(None);
        self.ends.push(offset);
        self.fetching.push(fetching.chunk().boxed());
    }

    /// Reads the partitions that were added since, all of them.
    fn grow(&mut self) {
        let partitions = *self.grown.borrow_and_update() as usize;
        while self.position.len() < partitions {
            self.add(0);
        }
    }

    /// Takes an answer in, and asks for the next one; its records, or what is gone.
    fn take(&mut self, (fetching, chunk): (Fetching, Chunk)) -> Result<Vec<Arc<Record>>, LogError> {
        let partition = fetching.partition as usize;
        self.position[partition] = fetching.offset;
        self.ends[partition] = chunk.end;
        if chunk.caught_up.is_some() {
            self.caught_up[partition] = chunk.caught_up;
        }
        let (partition, start) = (fetching.partition, fetching.offset);
        self.fetching.push(fetching.chunk().boxed());
        match chunk.gone {
            Some(wanted) => Err(LogError::Truncated { partition, wanted, start }),
            None => Ok(chunk.records),
        }
    }
}

#[async_trait::async_trait]
impl Reader for KafkaReader {
    async fn next(&mut self, wait: Duration) -> Result<Vec<Arc<Record>>, LogError> {
        // A reader that always finds something is not to keep its thread from others.
        tokio::task::consume_budget().await;
        let until = tokio::time::Instant::now() + wait;
        loop {
            if self.grown.has_changed().unwrap_or(false) {
                self.grow();
            }
            let chunk = match self.fetching.next().now_or_never() {
                Some(chunk) => chunk,
                // A timer of no time would still wait for the clock's next tick.
                None if wait.is_zero() => return Ok(Vec::new()),
                None => match tokio::time::timeout_at(until, self.fetching.next()).await {
                    Ok(chunk) => chunk,
                    Err(_) => return Ok(Vec::new()),
                },
            };
            let records = self.take(chunk.ok_or(LogError::Closed)?)?;
            if !records.is_empty() {
                return Ok(records);
            }
        }
    }

    fn position(&self) -> &[u64] {
        &self.position
    }

    fn caught_up(&self) -> Option<Instant> {
        self.caught_up.iter().copied().min().flatten()
    }

    fn lag(&self) -> u64 {
        self.position.iter().zip(&self.ends).map(|(position, end)| end.saturating_sub(*position)).sum()
    }
}

/// A time without answers, or without a way on.
struct Outage {
    since: Instant,
    said: Option<Instant>,
}

impl Outage {
    /// Whether it is time to say so.
    fn is_to_be_said(&mut self) -> bool {
        let due = self.said.is_none_or(|said| said.elapsed() >= SAY_AGAIN);
        if due {
            self.said = Some(Instant::now());
        }
        due
    }
}

/// The reading of one partition.
struct Fetching {
    lane: Lane,
    partition: u32,
    /// The next record to fetch.
    offset: u64,
    pause: Duration,
    /// A fetch may bring so many bytes.
    bytes: i32,
    outage: Option<Outage>,
    /// A transaction of somebody's is open.
    held_up: Option<Outage>,
    /// How often nothing came of the record at the offset.
    tries_here: u32,
}

impl Fetching {
    /// The next answer that says something. Errors pass, or are met over and over: the log may come back.
    async fn chunk(mut self) -> (Fetching, Chunk) {
        loop {
            let asked = Instant::now();
            let failure = match self.lane.fetch(self.offset, self.bytes).await {
                Ok((records, high_watermark)) => {
                    if let Some(chunk) = self.fetched(records, high_watermark, asked).await {
                        return (self, chunk);
                    }
                    continue;
                }
                Err(failure) => failure,
            };
            if let Failure::Kafka(Error::ServerError {
                protocol_error: ProtocolError::OffsetOutOfRange,
                ..
            }) = failure
            {
                match self.lane.offset(OffsetAt::Earliest).await {
                    Ok(start) => {
                        let gone = Some(std::mem::replace(&mut self.offset, start));
                        return (self, Chunk { records: Vec::new(), caught_up: None, end: start, gone });
                    }
                    Err(failure) => tracing::debug!(partition = self.partition, "no start: {failure}"),
                }
            } else if failure.is_of_the_record() {
                if self.bytes > ONE_BATCH {
                    // Whatever else the answer held is lost with it: which batch is it?
                    self.bytes = ONE_BATCH;
                    continue;
                }
                if failure.is_a_marker() {
                    self.pass_over();
                    continue;
                }
                self.tries_here += 1;
                if self.tries_here >= TRIES_AT_ONE_OFFSET {
                    tracing::warn!(
                        partition = self.partition,
                        offset = self.offset,
                        "a record that cannot be read is passed over: {failure}"
                    );
                    self.pass_over();
                    continue;
                }
            }
            self.say(asked, &failure);
            tokio::time::sleep(self.pause).await;
            self.pause = (2 * self.pause).min(MOST_PAUSE);
        }
    }

    fn pass_over(&mut self) {
        self.offset += 1;
        self.tries_here = 0;
    }

    fn say(&mut self, asked: Instant, failure: &Failure) {
        let outage = self.outage.get_or_insert(Outage { since: asked, said: None });
        if outage.is_to_be_said() {
            let text = self.lane.connection().unreachable(failure);
            tracing::warn!(
                partition = self.partition,
                "reading waits, for {} now: {text}",
                ago(outage.since)
            );
        }
    }

    /// Whether what stands at the offset may not be shown yet: a transaction that began there, or before, is open.
    async fn is_held_up(&self) -> bool {
        // The end that the broker tells is the one of what may be shown. No answer is no reason to pass over anything.
        !self.lane.offset(OffsetAt::Latest).await.is_ok_and(|shown| shown > self.offset)
    }

    /// What a fetch brought; none: nothing worth telling.
    async fn fetched(&mut self, fetched: Vec<RecordAndOffset>, end: u64, asked: Instant) -> Option<Chunk> {
        if let Some(outage) = self.outage.take() {
            tracing::info!(partition = self.partition, "Kafka is back after {}", ago(outage.since));
        }
        self.pause = FIRST_PAUSE;
        self.bytes = self.bytes.saturating_mul(GROWTH).min(FETCH_BYTES);
        if !fetched.is_empty() || end <= self.offset {
            self.tries_here = 0;
            self.held_up = None;
        } else if self.is_held_up().await {
            // What follows comes when the transaction ends; to go on without it would lose it.
            self.tries_here = 0;
            let held_up = self.held_up.get_or_insert(Outage { since: asked, said: Some(asked) });
            if held_up.is_to_be_said() {
                tracing::warn!(
                    partition = self.partition,
                    offset = self.offset,
                    "reading waits, for {} now: somebody wrote to the topic in a transaction that is still open",
                    ago(held_up.since)
                );
            }
        } else {
            self.tries_here += 1;
            if self.tries_here >= TRIES_AT_ONE_OFFSET {
                // A batch of which nothing is left.
                self.pass_over();
            }
        }
        let mut records = Vec::with_capacity(fetched.len());
        for RecordAndOffset { record, offset } in fetched {
            let Ok(offset) = u64::try_from(offset) else { continue };
            self.offset = offset + 1;
            records.push(Arc::new(Record::new(
                self.partition,
                offset,
                record.timestamp.timestamp_micros(),
                Bytes::from(record.key.unwrap_or_default()),
                Bytes::from(record.value.unwrap_or_default()),
            )));
        }
        let caught_up = (self.offset >= end).then_some(asked);
        (!records.is_empty() || caught_up.is_some()).then_some(Chunk { records, end, caught_up, gone: None })
    }
}
