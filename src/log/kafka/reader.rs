//! Reads a topic: a task a partition fetches ahead, a bounded channel brings it together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rskafka::client::error::{Error, ProtocolError};
use rskafka::client::partition::OffsetAt;
use rskafka::record::RecordAndOffset;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

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

/// What a partition's task found.
struct Chunk {
    partition: u32,
    records: Vec<Arc<Record>>,
    /// The offset after them.
    next: u64,
    /// Everything that was in the partition by then has been fetched.
    caught_up: Option<Instant>,
    /// The partition's end, as the broker told.
    end: u64,
    /// The offset that was wanted, where the log no longer has it.
    gone: Option<u64>,
}

/// A reader of all partitions of a topic.
pub(super) struct KafkaReader {
    position: Vec<u64>,
    caught_up: Vec<Option<Instant>>,
    ends: Vec<u64>,
    chunks: mpsc::Receiver<Chunk>,
    /// Ended with the reader.
    _tasks: JoinSet<()>,
}

impl KafkaReader {
    pub(super) fn start(connection: &Arc<Connection>, topic: &str, position: Vec<u64>) -> KafkaReader {
        let (found, chunks) = mpsc::channel(position.len().max(2));
        let mut tasks = JoinSet::new();
        for (partition, offset) in (0..).zip(&position) {
            let lane = Lane::new(connection.clone(), topic, partition, "read");
            let task = Fetching { lane, partition, offset: *offset, found: found.clone() };
            tasks.spawn(task.run());
        }
        KafkaReader {
            caught_up: vec![None; position.len()],
            ends: vec![0; position.len()],
            position,
            chunks,
            _tasks: tasks,
        }
    }

    /// Takes a chunk in; its records, or what is gone.
    fn take(&mut self, chunk: Chunk) -> Result<Vec<Arc<Record>>, LogError> {
        let partition = chunk.partition as usize;
        self.position[partition] = chunk.next;
        self.ends[partition] = chunk.end;
        if chunk.caught_up.is_some() {
            self.caught_up[partition] = chunk.caught_up;
        }
        match chunk.gone {
            Some(wanted) => {
                Err(LogError::Truncated { partition: chunk.partition, wanted, start: chunk.next })
            }
            None => Ok(chunk.records),
        }
    }
}

#[async_trait::async_trait]
impl Reader for KafkaReader {
    async fn next(&mut self, wait: Duration) -> Result<Vec<Arc<Record>>, LogError> {
        // A reader that always finds something is not to keep its thread from others.
        tokio::task::consume_budget().await;
        loop {
            match self.chunks.try_recv() {
                Ok(chunk) => {
                    let records = self.take(chunk)?;
                    if !records.is_empty() {
                        return Ok(records);
                    }
                }
                Err(mpsc::error::TryRecvError::Empty) => break,
                Err(mpsc::error::TryRecvError::Disconnected) => return Err(LogError::Closed),
            }
        }
        // A timer of no time would still wait for the clock's next tick.
        if wait.is_zero() {
            return Ok(Vec::new());
        }
        let until = tokio::time::Instant::now() + wait;
        loop {
            match tokio::time::timeout_at(until, self.chunks.recv()).await {
                Ok(Some(chunk)) => {
                    let records = self.take(chunk)?;
                    if !records.is_empty() {
                        return Ok(records);
                    }
                }
                Ok(None) => return Err(LogError::Closed),
                Err(_) => return Ok(Vec::new()),
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

/// The task of one partition.
struct Fetching {
    lane: Lane,
    partition: u32,
    offset: u64,
    found: mpsc::Sender<Chunk>,
}

impl Fetching {
    /// Fetches until nobody reads any more. Errors pass, or are tried over and over: the log may come back.
    async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        let mut away: Option<Outage> = None;
        let mut held_up: Option<Outage> = None;
        let mut tries_here = 0;
        let mut bytes = FETCH_BYTES;
        loop {
            let asked = Instant::now();
            let fetched = self.lane.fetch(self.offset, bytes).await;
            let failure = match fetched {
                Ok((records, high_watermark)) => {
                    if let Some(outage) = away.take() {
                        tracing::info!(
                            partition = self.partition,
                            "Kafka is back after {}",
                            ago(outage.since)
                        );
                    }
                    pause = FIRST_PAUSE;
                    bytes = bytes.saturating_mul(GROWTH).min(FETCH_BYTES);
                    if !records.is_empty() || high_watermark <= self.offset {
                        tries_here = 0;
                        held_up = None;
                    } else if self.is_held_up().await {
                        // What follows comes when the transaction ends; to go on without it would lose it.
                        tries_here = 0;
                        let held_up = held_up.get_or_insert(Outage { since: asked, said: Some(asked) });
                        if held_up.is_to_be_said() {
                            tracing::warn!(
                                partition = self.partition,
                                offset = self.offset,
                                "reading waits, for {} now: somebody wrote to the topic in a transaction that is still open",
                                ago(held_up.since)
                            );
                        }
                    } else {
                        tries_here += 1;
                        if tries_here >= TRIES_AT_ONE_OFFSET {
                            // A batch of which nothing is left.
                            self.offset += 1;
                            tries_here = 0;
                        }
                    }
                    if !self.bring(records, high_watermark, asked).await {
                        return;
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
                        let chunk = Chunk { next: start, gone, ..self.chunk(Vec::new(), start, None) };
                        if self.found.send(chunk).await.is_err() {
                            return;
                        }
                        continue;
                    }
                    Err(failure) => tracing::debug!(partition = self.partition, "no start: {failure}"),
                }
            } else if failure.is_of_the_record() {
                if bytes > ONE_BATCH {
                    // Whatever else the answer held is lost with it: which batch is it?
                    bytes = ONE_BATCH;
                    continue;
                }
                if failure.is_a_marker() {
                    self.offset += 1;
                    continue;
                }
                tries_here += 1;
                if tries_here >= TRIES_AT_ONE_OFFSET {
                    tracing::warn!(
                        partition = self.partition,
                        offset = self.offset,
                        "a record that cannot be read is passed over: {failure}"
                    );
                    self.offset += 1;
                    tries_here = 0;
                    continue;
                }
            }
            let outage = away.get_or_insert(Outage { since: asked, said: None });
            if outage.is_to_be_said() {
                let text = self.lane.connection().unreachable(&failure);
                tracing::warn!(
                    partition = self.partition,
                    "reading waits, for {} now: {text}",
                    ago(outage.since)
                );
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.found.closed() => return,
            }
            pause = (2 * pause).min(MOST_PAUSE);
        }
    }

    /// Whether what stands at the offset may not be shown yet: a transaction that began there, or before, is open.
    async fn is_held_up(&self) -> bool {
        // The end that the broker tells is the one of what may be shown. No answer is no reason to pass over anything.
        !self.lane.offset(OffsetAt::Latest).await.is_ok_and(|shown| shown > self.offset)
    }

    fn chunk(&self, records: Vec<Arc<Record>>, end: u64, caught_up: Option<Instant>) -> Chunk {
        Chunk { partition: self.partition, records, next: self.offset, end, caught_up, gone: None }
    }

    /// Hands over what a fetch brought. False: nobody reads any more.
    async fn bring(&mut self, fetched: Vec<RecordAndOffset>, high_watermark: u64, asked: Instant) -> bool {
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
        let caught_up = (self.offset >= high_watermark).then_some(asked);
        if records.is_empty() && caught_up.is_none() {
            return !self.found.is_closed();
        }
        self.found.send(self.chunk(records, high_watermark, caught_up)).await.is_ok()
    }
}
