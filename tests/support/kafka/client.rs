//! A client that is not korch's: librdkafka makes the topics, and says what is in them.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use serde_json::Value;

use crate::support::{DEADLINE, poll};

/// How long one try may take; a deadline bounds the tries.
const TRY: Duration = Duration::from_secs(5);

/// A name that no other test uses, of this process or another.
pub fn unique_topic() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("test-{}-{next}-{:08x}", std::process::id(), fastrand::u32(..))
}

/// A record as the log has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<String>,
    pub value: Option<Vec<u8>>,
    pub headers: BTreeMap<String, String>,
}

impl Record {
    pub fn json(&self) -> Value {
        serde_json::from_slice(self.value.as_deref().unwrap_or_default()).unwrap()
    }
}

/// Topics, records and leaders of a broker or a cluster.
pub struct Client {
    bootstrap: String,
    admin: AdminClient<DefaultClientContext>,
    producer: BaseProducer<Deliveries>,
}

type Delivery = Result<(i32, i64), KafkaError>;

struct Deliveries;

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Sender<Delivery>>;

    fn delivery(&self, result: &DeliveryResult<'_>, sender: Box<Sender<Delivery>>) {
        let delivery = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.clone()),
        };
        // Whoever waited may have given up.
        let _ = sender.send(delivery);
    }
}

fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    // A broker that was away is found again at once.
    config.set("reconnect.backoff.ms", "20").set("reconnect.backoff.max.ms", "200");
    config
}

/// The brokers that this one knows, itself among them; None if it does not answer.
pub fn brokers_known_to(address: &str) -> Option<Vec<i32>> {
    let asker: BaseConsumer = config(address).create().unwrap();
    let metadata = asker.fetch_metadata(None, Duration::from_secs(1)).ok()?;
    Some(metadata.brokers().iter().map(rdkafka::metadata::MetadataBroker::id).collect())
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

impl Client {
    pub fn new(bootstrap: String) -> Client {
        let admin = config(&bootstrap).create().unwrap();
        let producer = config(&bootstrap)
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "0")
            .create_with_context(Deliveries)
            .unwrap();
        Client { bootstrap, admin, producer }
    }

    /// `127.0.0.1:PORT`, of every node.
    pub fn bootstrap(&self) -> String {
        self.bootstrap.clone()
    }

    /// Makes a topic, and waits until each partition has a leader.
    pub fn create_topic(&self, name: &str, partitions: i32) {
        self.create_topic_with(name, partitions, &[]);
    }

    /// With settings of its own (`retention.ms`, `max.message.bytes`, …).
    pub fn create_topic_with(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let start = Instant::now();
        // A try that fails may still have done it; then the next one finds the topic.
        for tried in 0.. {
            // -1: as many replicas as the broker thinks right.
            let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
            for (name, value) in settings {
                topic = topic.set(name, value);
            }
            let made = block_on(self.admin.create_topics([&topic], &options()));
            match made.map(|mut results| results.remove(0)) {
                Ok(Ok(_)) => break,
                Ok(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) if tried > 0 => break,
                failed => assert!(start.elapsed() < DEADLINE && !settled(&failed), "{name}: {failed:?}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        poll("leaders of the topic", || {
            let leaders: Vec<i32> =
                (0..partitions).map_while(|partition| self.leader(name, partition)).collect();
            (leaders.len() == usize::try_from(partitions).unwrap()).then_some(())
        });
    }

    /// Adds partitions up to this number.
    pub fn grow_topic(&self, name: &str, partitions: usize) {
        let more = NewPartitions::new(name, partitions);
        let grown = block_on(self.admin.create_partitions([&more], &options())).unwrap();
        assert_eq!(grown, [Ok(name.to_owned())]);
        poll("the new partitions", || self.leader(name, i32::try_from(partitions).unwrap() - 1));
    }

    pub fn delete_topic(&self, name: &str) {
        let deleted = block_on(self.admin.delete_topics(&[name], &options())).unwrap();
        assert_eq!(deleted, [Ok(name.to_owned())]);
    }

    /// Deletes the records of a partition before this offset, as retention does.
    pub fn delete_records(&self, topic: &str, partition: i32, before: i64) {
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(topic, partition, Offset::Offset(before)).unwrap();
        let deleted = block_on(self.admin.delete_records(&offsets, &options())).unwrap();
        deleted.elements()[0].error().unwrap();
    }

    /// The first offset of a partition, and the one that the next record gets.
    pub fn ends(&self, topic: &str, partition: i32) -> (i64, i64) {
        poll("the ends of a partition", || self.admin.inner().fetch_watermarks(topic, partition, TRY).ok())
    }

    /// The topic's number of partitions; None: there is no such topic.
    pub fn partitions(&self, topic: &str) -> Option<usize> {
        let metadata = self.admin.inner().fetch_metadata(Some(topic), TRY).ok()?;
        let topic = metadata.topics().first()?;
        (topic.error().is_none() && !topic.partitions().is_empty()).then_some(topic.partitions().len())
    }

    /// The node that leads a partition; None: none does, or nobody answers.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<i32> {
        let metadata = self.admin.inner().fetch_metadata(Some(topic), TRY).ok()?;
        let topic = metadata.topics().first()?;
        let partition = topic.partitions().iter().find(|found| found.id() == partition)?;
        (partition.leader() >= 0).then_some(partition.leader())
    }

    /// Waits until another node than this one leads the partition.
    pub fn other_leader(&self, topic: &str, partition: i32, than: i32) -> i32 {
        poll("another leader", || self.leader(topic, partition).filter(|leader| *leader != than))
    }

    /// Writes a record, and waits until it is there. None: the partition is chosen by the key, as Java does.
    pub fn produce_raw(&self, topic: &str, partition: Option<i32>, key: &str, value: &[u8]) -> (i32, i64) {
        let (sender, receiver) = channel();
        let mut record = BaseRecord::with_opaque_to(topic, Box::new(sender)).key(key).payload(value);
        if let Some(partition) = partition {
            record = record.partition(partition);
        }
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
        poll("the delivery of a record", || {
            self.producer.poll(Duration::from_millis(10));
            receiver.try_recv().ok()
        })
        .unwrap()
    }

    /// An event, in the partition that its key chooses.
    pub fn produce(&self, topic: &str, key: &str, event: &Value) -> (i32, i64) {
        self.produce_raw(topic, None, key, event.to_string().as_bytes())
    }

    /// Every record of a topic as it is now: a partition's in order, one partition after the other.
    pub fn records(&self, topic: &str) -> Vec<Record> {
        let count = poll("the topic", || self.partitions(topic));
        let reader: BaseConsumer = config(&self.bootstrap)
            .set("group.id", "korch-test-reader")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            // The end of a partition is told when a fetch comes back empty: soon.
            .set("fetch.wait.max.ms", "20")
            .set("fetch.error.backoff.ms", "20")
            .create()
            .unwrap();
        let mut places = TopicPartitionList::new();
        for partition in 0..i32::try_from(count).unwrap() {
            places.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        }
        reader.assign(&places).unwrap();
        let (mut records, mut ended) = (Vec::new(), vec![false; count]);
        let start = Instant::now();
        while ended.contains(&false) {
            assert!(start.elapsed() < DEADLINE, "{topic} has no end: {ended:?}");
            match reader.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => records.push(record(&message)),
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    ended[usize::try_from(partition).unwrap()] = true;
                }
                // Of a broker that is away just now.
                Some(Err(_)) | None => {}
            }
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }

    /// Every event of a topic: what is no JSON ends the test.
    pub fn read_all(&self, topic: &str) -> Vec<Value> {
        self.records(topic).iter().map(Record::json).collect()
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(TRY)).operation_timeout(Some(TRY))
}

/// Whether another try would be answered the same.
fn settled(failed: &Result<Result<String, (String, RDKafkaErrorCode)>, KafkaError>) -> bool {
    use RDKafkaErrorCode::{
        InvalidConfig, InvalidPartitions, InvalidReplicationFactor, InvalidTopic, TopicAlreadyExists,
    };
    matches!(
        failed,
        Ok(Err((
            _,
            InvalidConfig | InvalidPartitions | InvalidReplicationFactor | InvalidTopic | TopicAlreadyExists
        )))
    )
}

fn record(message: &impl Message) -> Record {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = message.headers().map(|headers| {
        headers.iter().map(|header| (header.key.to_owned(), text(header.value.unwrap_or_default()))).collect()
    });
    Record {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(text),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
    }
}
