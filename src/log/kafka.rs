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
use parking_lot::RwLock;
use rskafka::client::partition::OffsetAt;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use super::{From, Log, LogError, NewRecord, Reader};
use crate::domain::partition::partition_of;
use connection::{Connection, Failure, Lane};

mod connection;
mod cut;
mod reader;
mod topic;

pub use connection::{Mechanism, Sasl, Settings, Tls};
pub use topic::Topic;

/// What the client below calls itself in log lines.
pub const CLIENT: &str = "rskafka";
/// Opening the log takes no longer than this: a process that cannot has to have ended after ten seconds, on a busy machine
/// too.
const OPEN_LIMIT: Duration = Duration::from_secs(8);
/// An append, with all of its tries, takes no longer than this.
const APPEND_LIMIT: Duration = Duration::from_secs(10);
/// What is asked besides, with all of its tries, takes no longer than this.
const ASK_LIMIT: Duration = Duration::from_secs(8);
/// Whether the topic has more partitions is asked so often.
const LOOK_FOR_GROWTH: Duration = Duration::from_secs(10);
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
        let (grown, _) = watch::channel(0);
        let parts = Arc::new(Parts {
            connection: self.connection.clone(),
            topic: topic.name.clone(),
            list: RwLock::default(),
            grown,
        });
        parts.grow_to(partitions);
        let mut looking = JoinSet::new();
        if !topic.exactly {
            looking.spawn(look_for_growth(parts.clone(), topic.clone()));
        }
        Ok(KafkaLog { id: format!("kafka/{}", topic.name), source: source.into(), parts, _looking: looking })
    }
}

impl Kafka {
    /// How many partitions each of these topics has; none: there is no such topic. Makes none.
    ///
    /// # Errors
    /// Within ten seconds, when the brokers cannot be reached or refuse; the text names them and says what to do.
    pub async fn find(&self, topics: &[&Topic]) -> Result<Vec<Option<u32>>, LogError> {
        let finding = try_join_all(topics.iter().map(|topic| topic::find(&self.connection, topic)));
        let found = tokio::time::timeout(OPEN_LIMIT, finding).await;
        found.unwrap_or(Err(Failure::Silent)).map_err(|failure| self.connection.unreachable(&failure))
    }
}

/// What is kept for each partition.
struct Part {
    writer: Lane,
    /// For offsets and deletions.
    asker: Lane,
    /// Held while requests are under way: the next ones wait, so order holds.
    writing: Mutex<()>,
}

/// The partitions that are known. A topic may grow, it never shrinks.
struct Parts {
    connection: Arc<Connection>,
    topic: String,
    list: RwLock<Vec<Arc<Part>>>,
    /// How many there are, for the readers.
    grown: watch::Sender<u32>,
}

impl Parts {
    fn all(&self) -> Vec<Arc<Part>> {
        self.list.read().clone()
    }

    fn count(&self) -> u32 {
        u32::try_from(self.list.read().len()).unwrap_or(u32::MAX)
    }

    fn grow_to(&self, partitions: u32) {
        let mut list = self.list.write();
        for partition in u32::try_from(list.len()).unwrap_or(u32::MAX)..partitions {
            let lane = |purpose| Lane::new(self.connection.clone(), &self.topic, partition, purpose);
            list.push(Arc::new(Part {
                writer: lane("write"),
                asker: lane("ask"),
                writing: Mutex::default(),
            }));
        }
        drop(list);
        self.grown.send_if_modified(|known| {
            let grows = *known < partitions;
            *known = partitions.max(*known);
            grows
        });
    }
}

/// Notices partitions that somebody adds.
async fn look_for_growth(parts: Arc<Parts>, topic: Topic) {
    loop {
        tokio::time::sleep(LOOK_FOR_GROWTH).await;
        // No answer says nothing: the readers and writers tell when Kafka is away.
        if let Ok(Some(partitions)) = topic::find(&parts.connection, &topic).await
            && partitions > parts.count()
        {
            tracing::info!(partitions, "the topic {} has grown", topic.name);
            parts.grow_to(partitions);
        }
    }
}

/// A topic as a log.
pub struct KafkaLog {
    id: String,
    source: String,
    parts: Arc<Parts>,
    /// Ended with the log.
    _looking: JoinSet<()>,
}

impl KafkaLog {
    /// Appends to one partition, in order; returns the offset after the last record.
    async fn append_to(&self, part: &Part, records: Vec<NewRecord>) -> Result<u64, LogError> {
        let sizes: Vec<usize> = records.iter().map(|record| cut::bytes(record, &self.source)).collect();
        let mut failure = Failure::Silent;
        let mut refused_bytes = 0;
        let all = async {
            let _in_turn = part.writing.lock().await;
            let mut end = 0;
            let mut requests: VecDeque<cut::Request> = cut::requests(&sizes).into();
            while let Some(request) = requests.pop_front() {
                let mut pause = FIRST_PAUSE;
                loop {
                    let of_request = &records[request.records.clone()];
                    let batch = of_request.iter().map(|record| cut::record(record, &self.source)).collect();
                    match part.writer.produce(batch, request.compression).await {
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
                            tracing::debug!("an append to {} failed: {failed}", self.parts.topic);
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
            Ok(Err(refused)) => Err(self.parts.connection.unreachable(&refused)),
            Err(_) => Err(self.parts.connection.unreachable(&failure)),
        }
    }

    /// Asks every partition for an offset.
    async fn offsets(&self, at: OffsetAt) -> Result<Vec<u64>, LogError> {
        try_join_all(self.parts.all().into_iter().map(|part| async move {
            let mut failure = Failure::Silent;
            let asking = async {
                let mut pause = FIRST_PAUSE;
                loop {
                    match part.asker.offset(at).await {
                        Ok(offset) => return Ok(offset),
                        Err(refused @ Failure::Refused(_)) => return Err(refused),
                        Err(failed) => failure = failed,
                    }
                    tokio::time::sleep(pause).await;
                    pause = (2 * pause).min(MOST_PAUSE);
                }
            };
            let answer = tokio::time::timeout(ASK_LIMIT, asking).await;
            answer
                .unwrap_or_else(|_| Err(failure))
                .map_err(|failure| self.parts.connection.unreachable(&failure))
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
        self.parts.count()
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<u64>, LogError> {
        let parts = self.parts.all();
        let partitions = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        let mut by_partition: Vec<Vec<NewRecord>> = parts.iter().map(|_| Vec::new()).collect();
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
                        self.parts.topic
                    )));
                }
            }
        }
        let appends = parts.iter().zip(by_partition).map(|(part, records)| async move {
            if records.is_empty() { Ok(0) } else { self.append_to(part, records).await }
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
        for (part, before) in self.parts.all().iter().zip(before).filter(|(_, before)| **before > 0) {
            part.asker
                .delete(*before)
                .await
                .map_err(|failure| self.parts.connection.unreachable(&failure))?;
        }
        Ok(())
    }

    async fn reader(&self, from: From) -> Result<Box<dyn Reader>, LogError> {
        let position = match from {
            From::Start => self.starts().await?,
            From::End => self.ends().await?,
            From::Offsets(offsets) if offsets.len() <= self.partitions() as usize => offsets,
            From::Offsets(offsets) => {
                return Err(LogError::Unavailable(format!(
                    "offsets of {} partitions were given, {} has {}",
                    offsets.len(),
                    self.parts.topic,
                    self.partitions()
                )));
            }
        };
        let grown = self.parts.grown.subscribe();
        Ok(Box::new(reader::KafkaReader::start(&self.parts.connection, &self.parts.topic, position, grown)))
    }
}

/// How long ago something was, for a log line.
fn ago(since: Instant) -> String {
    format!("{:.1} s", since.elapsed().as_secs_f64())
}
