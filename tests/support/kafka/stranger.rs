//! A worker of the system that korch replaces: it knows the fields that it always had, and nothing else.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};

use crate::support::{DEADLINE, poll};

/// What an old worker says of an object that it has loaded.
pub fn loaded(id: u64) -> Option<Value> {
    Some(answer("ObjectLoaded", id, &json!({"worker": "ingest-service"})))
}

/// What it says of one that it has not.
pub fn failed(id: u64) -> Option<Value> {
    Some(answer(
        "ObjectFailed",
        id,
        &json!({"worker": "ingest-service", "error": "test forcé de objectfailed"}),
    ))
}

/// The old format: no run, no attempt, no zone on the time.
fn answer(event_type: &str, id: u64, meta: &Value) -> Value {
    json!({
        "event_type": event_type,
        "id_objet": id,
        "meta": meta,
        "event_datetime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6f").to_string(),
    })
}

/// A consumer group's member in a thread of its own. Dropped, it leaves the group.
pub struct OldConsumer {
    over: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<u64>>>,
    thread: Option<JoinHandle<()>>,
}

impl OldConsumer {
    /// Answers each `ObjectReady` for these ids; None: with silence. Returns once it has partitions to read.
    pub fn start(
        bootstrap: &str,
        topic: &str,
        group: &str,
        ids: Range<u64>,
        mut answers: impl FnMut(u64) -> Option<Value> + Send + 'static,
    ) -> OldConsumer {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("group.id", group)
            .set("auto.offset.reset", "earliest")
            .set("session.timeout.ms", "6000")
            .create()
            .unwrap();
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("partitioner", "murmur2_random")
            .create()
            .unwrap();
        consumer.subscribe(&[topic]).unwrap();
        let (over, seen, member) = (
            Arc::new(AtomicBool::new(false)),
            Arc::<Mutex<Vec<u64>>>::default(),
            Arc::new(AtomicBool::new(false)),
        );
        let (is_over, sees, is_member) = (over.clone(), seen.clone(), member.clone());
        let topic = topic.to_owned();
        let thread = std::thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                producer.poll(Duration::ZERO);
                let message = consumer.poll(Duration::from_millis(20));
                if !is_member.load(Ordering::Relaxed) {
                    let assigned = consumer.assignment().is_ok_and(|assigned| assigned.count() > 0);
                    is_member.store(assigned, Ordering::Relaxed);
                }
                // An error is the broker's absence: librdkafka comes back by itself.
                let Some(Ok(message)) = message else { continue };
                let Some(id) = ready(message.payload().unwrap_or_default()) else { continue };
                if !ids.contains(&id) {
                    continue;
                }
                sees.lock().push(id);
                if let Some(answer) = answers(id) {
                    let (key, value) = (id.to_string(), answer.to_string());
                    let record = BaseRecord::to(&topic).key(&key).payload(&value);
                    producer.send(record).map_err(|(error, _)| error).unwrap();
                }
            }
            let _ = producer.flush(Duration::from_secs(5));
        });
        let consumer = OldConsumer { over, seen, thread: Some(thread) };
        poll("a place in the group", || member.load(Ordering::Relaxed).then_some(()));
        consumer
    }

    /// The ids that it was told are ready, in order, repeats too.
    pub fn seen(&self) -> Vec<u64> {
        self.seen.lock().clone()
    }
}

impl Drop for OldConsumer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The id of an `ObjectReady`; None: this is something else.
fn ready(bytes: &[u8]) -> Option<u64> {
    let event: Value = serde_json::from_slice(bytes).ok()?;
    (event["event_type"] == "ObjectReady").then(|| event["id_objet"].as_u64())?
}
