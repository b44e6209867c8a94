//! The log in Kafka: one topic, any number of partitions, any broker that speaks the protocol.
//!
//! Writes and reads go through clients of their own, for a connection answers its requests in turn and a fetch that waits
//! would hold up everything behind it. Every call has a time limit; after a failure nothing of the old connection is
//! trusted, and the next call builds a new one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::try_join_all;
use rskafka::client::partition::OffsetAt;
use tokio::sync::Mutex;

use super::{From, Log, LogError, NewRecord, Reader};
use crate::domain::partition::partition_of;
use connection::{Connection, Failure, Lane};

mod connection;
mod cut;
mod reader;
mod topic;

pub use connection::{Mechanism, Sasl, Settings, Tls};
pub use topic::Topic;

/// Opening the log takes no longer than this: a process that cannot has to have ended after ten seconds, on a busy machine
/// too.
const OPEN_LIMIT: Duration = Duration::from_secs(8);
/// An append, with all of its tries, takes no longer than this.
const APPEND_LIMIT: Duration = Duration::from_secs(10);
/// What is asked besides, with all of its tries, takes no longer than this.
const ASK_LIMIT: Duration = Duration::from_secs(8);
/// The pause after a failed try; twice as long after each, up to [`MOST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const MOST_PAUSE: Duration = Duration::from_secs(1);
/// The largest record, in bytes of key, value and headers: what a broker takes unless it is told otherwise, less room for
/// what a batch adds.
const MAX_RECORD_BYTES: usize = 1_000_000;

/// Connections to one Kafka, shared by the topics of a process.
#[derive(Clone)]
pub struct Kafka {
    connection: Arc<Connection>,
}

impl Kafka {
    /// A Kafka that is reached when it is needed.
    ///
    /// # Errors
    /// When a certificate or a key cannot be read.
    pub fn new(settings: Settings) -> Result<Kafka, LogError> {
        Ok(Kafka { connection: Arc::new(Connection::new(settings)?) })
    }

    /// Opens a topic, made if absent. `source` says in each record's headers who writes.
    ///
    /// # Errors
    /// Within ten seconds, when the brokers cannot be reached or refuse; the text names them and says what to do.
    pub async fn open(&self, topic: Topic, source: impl Into<String>) -> Result<KafkaLog, LogError> {
        let mut last = Failure::Silent;
        let finding = topic::find_or_make(&self.connection, &topic, &mut last);
        let partitions = match tokio::time::timeout(OPEN_LIMIT, finding).await {
            Ok(found) => found?,
            Err(_) => return Err(self.connection.unreachable(&last)),
        };
        let lanes = |kind| {
            (0..partitions)
                .map(|partition| Lane::new(self.connection.clone(), &topic.name, partition, kind))
                .collect()
        };
        Ok(KafkaLog {
            connection: self.connection.clone(),
            id: format!("kafka/{}", topic.name),
            source: source.into(),
            writers: lanes("write"),
            askers: lanes("ask"),
            writing: (0..partitions).map(|_| Mutex::default()).collect(),
            topic: topic.name,
        })
    }
}

/// A topic as a log.
pub struct KafkaLog {
    connection: Arc<Connection>,
    id: String,
    topic: String,
    source: String,
    /// One a partition.
    writers: Vec<Lane>,
    /// For offsets and deletions, one a partition.
    askers: Vec<Lane>,
    /// Held while a partition's requests are under way: the next ones wait, so order holds.
    writing: Vec<Mutex<()>>,
}

impl KafkaLog {
    /// Appends to one partition, in order; returns the offset after the last record.
    async fn append_to(&self, partition: usize, records: Vec<NewRecord>) -> Result<u64, LogError> {
        let records: Vec<rskafka::record::Record> =
            records.iter().map(|record| cut::record(record, &self.source)).collect();
        let sizes: Vec<usize> = records.iter().map(cut::bytes).collect();
        let mut failure = Failure::Silent;
        let mut refused_bytes = 0;
        let all = async {
            let _in_turn = self.writing[partition].lock().await;
            let mut end = 0;
            let mut requests: VecDeque<cut::Request> = cut::requests(&sizes).into();
            while let Some(request) = requests.pop_front() {
                let mut pause = FIRST_PAUSE;
                loop {
                    let batch = records[request.records.clone()].to_vec();
                    match self.writers[partition].produce(batch, request.compression).await {
                        Ok(after) => {
                            end = after;
                            break;
                        }
                        // A topic may be set to take less at once than others do.
                        Err(Failure::TooLarge) if request.records.len() > 1 => {
                            let [first, second] = request.halves();
                            requests.push_front(second);
                            requests.push_front(first);
                            break;
                        }
                        Err(refused @ (Failure::Refused(_) | Failure::TooLarge)) => {
                            refused_bytes = sizes[request.records.start];
                            return Err(refused);
                        }
                        Err(failed) => {
                            tracing::debug!(partition, "an append to {} failed: {failed}", self.topic);
                            failure = failed;
                        }
                    }
                    tokio::time::sleep(pause).await;
                    pause = (2 * pause).min(MOST_PAUSE);
                }
            }
            Ok(end)
        };
        match tokio::time::timeout(APPEND_LIMIT, all).await {
            Ok(Ok(end)) => Ok(end),
            Ok(Err(Failure::TooLarge)) => Err(LogError::TooLarge {
                bytes: refused_bytes,
                most: MAX_RECORD_BYTES.min(refused_bytes.saturating_sub(1)),
            }),
            Ok(Err(refused)) => Err(self.connection.unreachable(&refused)),
            Err(_) => Err(self.connection.unreachable(&failure)),
        }
    }

    /// Asks every partition for an offset.
    async fn offsets(&self, at: OffsetAt) -> Result<Vec<u64>, LogError> {
        try_join_all(self.askers.iter().map(|asker| async move {
            let mut failure = Failure::Silent;
            let asking = async {
                let mut pause = FIRST_PAUSE;
                loop {
                    match asker.offset(at).await {
                        Ok(offset) => return Ok(offset),
                        Err(refused @ Failure::Refused(_)) => return Err(refused),
                        Err(failed) => failure = failed,
                    }
                    tokio::time::sleep(pause).await;
                    pause = (2 * pause).min(MOST_PAUSE);
                }
            };
            let answer = tokio::time::timeout(ASK_LIMIT, asking).await;
            answer.unwrap_or_else(|_| Err(failure)).map_err(|failure| self.connection.unreachable(&failure))
        }))
        .await
    }
}

#[async_trait]
impl Log for KafkaLog {
    fn id(&self) -> &str {
        &self.id
    }

    fn partitions(&self) -> u32 {
        u32::try_from(self.writers.len()).unwrap_or(u32::MAX)
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<u64>, LogError> {
        let partitions = self.partitions();
        let mut by_partition: Vec<Vec<NewRecord>> = (0..partitions).map(|_| Vec::new()).collect();
        for record in records {
            let bytes = record.key.len() + record.value.len();
            if bytes > MAX_RECORD_BYTES {
                return Err(LogError::TooLarge { bytes, most: MAX_RECORD_BYTES });
            }
            let partition = record.partition.unwrap_or_else(|| partition_of(&record.key, partitions));
            match by_partition.get_mut(partition as usize) {
                Some(records) => records.push(record),
                None => {
                    return Err(LogError::Unavailable(format!(
                        "{} has no partition {partition}",
                        self.topic
                    )));
                }
            }
        }
        let appends = by_partition.into_iter().enumerate().map(|(partition, records)| async move {
            if records.is_empty() { Ok(0) } else { self.append_to(partition, records).await }
        });
        try_join_all(appends).await
    }

    async fn ends(&self) -> Result<Vec<u64>, LogError> {
        self.offsets(OffsetAt::Latest).await
    }

    async fn starts(&self) -> Result<Vec<u64>, LogError> {
        self.offsets(OffsetAt::Earliest).await
    }

    async fn truncate(&self, before: &[u64]) -> Result<(), LogError> {
        for (asker, before) in self.askers.iter().zip(before).filter(|(_, before)| **before > 0) {
            asker.delete(*before).await.map_err(|failure| self.connection.unreachable(&failure))?;
        }
        Ok(())
    }

    async fn reader(&self, from: From) -> Result<Box<dyn Reader>, LogError> {
        let position = match from {
            From::Start => self.starts().await?,
            From::End => self.ends().await?,
            From::Offsets(offsets) if offsets.len() == self.writers.len() => offsets,
            From::Offsets(offsets) => {
                return Err(LogError::Unavailable(format!(
                    "offsets of {} partitions were given, {} has {}",
                    offsets.len(),
                    self.topic,
                    self.writers.len()
                )));
            }
        };
        Ok(Box::new(reader::KafkaReader::start(&self.connection, &self.topic, position)))
    }
}

/// How long ago something was, for a log line.
fn ago(since: Instant) -> String {
    format!("{:.1} s", since.elapsed().as_secs_f64())
}
