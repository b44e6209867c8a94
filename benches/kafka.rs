//! What Kafka costs korch: latency and throughput beside those of rskafka alone, on one broker, in one run.
//!
//! `cargo bench --bench kafka`. Ratios, for the machine decides about the rest; the figures are in the README.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::cast_precision_loss)]

#[path = "../tests/support/cluster.rs"]
mod cluster;
#[path = "../tests/support/kafka/mod.rs"]
mod kafka;
#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::Cluster;
use jiff::Timestamp;
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::Record;
use serde_json::{Value, json};
use support::{Place, of_type};

/// Objects one after the other, to measure the way from one to the next.
const CHAIN: u64 = 1_000;
/// Objects side by side, to measure how many pass.
const WIDE: u64 = 20_000;
/// So often a record is written and waited for.
const SINGLE: usize = 1_000;
/// rskafka's own best for small requests: see `src/log/kafka/cut.rs`.
const SMALL_BYTES: usize = 6_500;
const LARGE_BYTES: usize = 600_000;

fn main() {
    let Some(kafka) = kafka::Kafka::start() else { return };
    let bootstrap = kafka.bootstrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();

    // The broker's JVM is slow while it is young: it is warm once so many events have passed.
    throughput(&bootstrap, &runtime);
    latency(&bootstrap, &runtime);
}

fn latency(bootstrap: &str, runtime: &tokio::runtime::Runtime) {
    let entries: Vec<(u64, Vec<u64>)> =
        (0..CHAIN).map(|n| (3000 + n, if n == 0 { vec![] } else { vec![3000 + n - 1] })).collect();
    let cluster = Cluster::new(bootstrap, Place::with(&entries));
    let _worker = cluster.worker("application", &["--delay", "0s"]);
    let ended = cluster.orchestrate(&["--once"]).end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let events = cluster.events();
    let loaded = of_type(&events, "ObjectLoaded");
    let mut steps_us: Vec<i64> = loaded
        .windows(2)
        .map(|pair| time(&pair[1]["meta"]["started_at"]) - time(&pair[0]["event_datetime"]))
        .collect();
    let ready = of_type(&events, "ObjectReady");
    let mut decided_us: Vec<i64> = loaded
        .iter()
        .zip(&ready[1..])
        .map(|(loaded, ready)| time(&ready["event_datetime"]) - time(&loaded["event_datetime"]))
        .collect();
    let bytes = record_bytes(&cluster) / events.len();
    let (mut raw_us, mut acknowledged_us) = runtime.block_on(produce_to_consume(bootstrap, bytes, 0));
    let (mut two_us, _) = runtime.block_on(produce_to_consume(bootstrap, bytes, 1));
    let (p50, p99) = (percentile(&mut steps_us, 50), percentile(&mut steps_us, 99));
    let acknowledged50 = percentile(&mut acknowledged_us, 50);
    let (raw50, raw99) = (percentile(&mut raw_us, 50), percentile(&mut raw_us, 99));
    println!("from ObjectLoaded, before it is appended, to the child's work: p50 {p50} us, p99 {p99} us");
    println!("  of which until the orchestrator decides: p50 {} us", percentile(&mut decided_us, 50));
    println!("one produce-to-consume of rskafka ({bytes} bytes):             p50 {raw50} us, p99 {raw99} us");
    println!("  the same with a second reader: p50 {} us", percentile(&mut two_us, 50));
    println!("a produce of it is acknowledged after:                       p50 {acknowledged50} us");
    println!(
        "ratio of the p50: {:.2} from before the append, {:.2} from its acknowledgement",
        p50 as f64 / raw50 as f64,
        (p50 - acknowledged50) as f64 / raw50 as f64
    );
}

fn time(value: &Value) -> i64 {
    value.as_str().unwrap().parse::<Timestamp>().unwrap().as_microsecond()
}

fn percentile(values: &mut [i64], percent: usize) -> i64 {
    values.sort_unstable();
    values[(values.len() - 1) * percent / 100]
}

/// The bytes of a topic's records, headers and all.
fn record_bytes(cluster: &Cluster) -> usize {
    let records = cluster.kafka.records(&cluster.topic);
    let bytes = records.iter().map(|record| {
        let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        record.key.as_ref().map_or(0, String::len) + record.value.as_ref().map_or(0, Vec::len) + headers
    });
    bytes.sum()
}

async fn client(bootstrap: &str) -> Client {
    ClientBuilder::new(vec![bootstrap.to_owned()]).build().await.unwrap()
}

async fn partition(client: &Client, topic: &str) -> PartitionClient {
    client.partition_client(topic, 0, UnknownTopicHandling::Retry).await.unwrap()
}

fn record(bytes: usize) -> Record {
    let timestamp = rskafka::chrono::DateTime::from_timestamp_millis(1_700_000_000_000).unwrap();
    let value = json!({"event_type": "ObjectLoaded", "x": "x".repeat(bytes.saturating_sub(40))});
    Record {
        key: Some(b"1001".to_vec()),
        value: Some(value.to_string().into_bytes()),
        headers: Default::default(),
        timestamp,
    }
}

/// The time from a produce to its record in a reader's hands, and to its acknowledgement, in microseconds. So many
/// others read it too, as everyone reads everything in korch.
async fn produce_to_consume(bootstrap: &str, bytes: usize, others: usize) -> (Vec<i64>, Vec<i64>) {
    let topic = kafka::unique_topic();
    let client = client(bootstrap).await;
    client.controller_client().unwrap().create_topic(&topic, 1, 1, 5_000).await.unwrap();
    let (writer, reader) = (partition(&client, &topic).await, partition(&client, &topic).await);
    for _ in 0..others {
        let reader = partition(&client, &topic).await;
        tokio::spawn(async move {
            let mut offset = 0;
            while let Ok((records, _)) = reader.fetch_records(offset, 1..1_000_000, 250).await {
                offset = records.last().map_or(offset, |record| record.offset + 1);
            }
        });
    }
    let (seen, mut waits) = tokio::sync::mpsc::channel::<Instant>(1);
    tokio::spawn(async move {
        let mut offset = 0;
        loop {
            let (records, _) = reader.fetch_records(offset, 1..1_000_000, 250).await.unwrap();
            let now = Instant::now();
            for record in records {
                offset = record.offset + 1;
                if seen.send(now).await.is_err() {
                    return;
                }
            }
        }
    });
    let (mut times, mut acknowledged) = (Vec::new(), Vec::new());
    for _ in 0..SINGLE {
        let start = Instant::now();
        writer.produce(vec![record(bytes)], Compression::NoCompression).await.unwrap();
        acknowledged.push(i64::try_from(start.elapsed().as_micros()).unwrap());
        let at = waits.recv().await.unwrap();
        times.push(i64::try_from(at.duration_since(start).as_micros()).unwrap());
    }
    (times, acknowledged)
}

fn throughput(bootstrap: &str, runtime: &tokio::runtime::Runtime) {
    let mut entries: Vec<(u64, Vec<u64>)> = (0..WIDE - 1).map(|n| (10_000 + n, vec![])).collect();
    entries.push((9_999, vec![10_000]));
    let cluster = Cluster::new(bootstrap, Place::with(&entries));
    let _workers = [0, 1, 2].map(|_| cluster.worker("application", &["--delay", "0s", "--slots", "1000"]));
    let ended = cluster.orchestrate(&["--once", "--output", "json"]).end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let summary: Value = serde_json::from_str(&ended.out).unwrap();
    let took = summary["duration_seconds"].as_f64().unwrap();
    let (_, count) = cluster.kafka.ends(&cluster.topic, 0);
    let count = usize::try_from(count).unwrap();
    let bytes = record_bytes(&cluster) / count;
    let records = runtime.block_on(records(bootstrap, &cluster.topic, count));
    // The orchestrator and three workers read.
    let readers = 4;
    let small = runtime.block_on(raw(bootstrap, &records, readers, SMALL_BYTES));
    let large = runtime.block_on(raw(bootstrap, &records, readers, LARGE_BYTES));
    println!(
        "{WIDE} objects, {count} events of {bytes} bytes, three workers: {took:.2} s, {:.0} objects/s, {:.0} events/s",
        WIDE as f64 / took,
        count as f64 / took
    );
    for (name, raw) in [("6.5 KB", small), ("600 KB", large)] {
        println!(
            "rskafka alone, {readers} readers, requests of {name}: {:.2} s, {:.0} events/s; korch's share of that {:.2}",
            raw.as_secs_f64(),
            count as f64 / raw.as_secs_f64(),
            raw.as_secs_f64() / took
        );
    }
}

/// The very records that korch wrote, headers and all.
async fn records(bootstrap: &str, topic: &str, count: usize) -> Vec<Record> {
    let client = client(bootstrap).await;
    let reader = partition(&client, topic).await;
    let mut all = Vec::new();
    while all.len() < count {
        let offset = i64::try_from(all.len()).unwrap();
        let (records, _) = reader.fetch_records(offset, 1..4_000_000, 250).await.unwrap();
        all.extend(records.into_iter().map(|record| record.record));
    }
    all
}

/// Writes these records once and reads them so many times, at once; the time until the last reader has the last one.
async fn raw(bootstrap: &str, records: &[Record], readers: usize, request_bytes: usize) -> Duration {
    let count = records.len();
    let topic = kafka::unique_topic();
    let client = Arc::new(client(bootstrap).await);
    client.controller_client().unwrap().create_topic(&topic, 1, 1, 5_000).await.unwrap();
    let writer = partition(&client, &topic).await;
    assert_eq!(writer.get_offset(OffsetAt::Latest).await.unwrap(), 0);
    let mut reading = Vec::new();
    for _ in 0..readers {
        let reader = partition(&client, &topic).await;
        reading.push(tokio::spawn(async move {
            let mut offset = 0;
            while offset < i64::try_from(count).unwrap() {
                let (records, _) = reader.fetch_records(offset, 1..4_000_000, 250).await.unwrap();
                offset = records.last().map_or(offset, |record| record.offset + 1);
            }
        }));
    }
    let mut batches: Vec<Vec<Record>> = vec![Vec::new()];
    let mut filled = 0;
    for record in records {
        let bytes = record.approximate_size();
        if filled + bytes > request_bytes && filled > 0 {
            batches.push(Vec::new());
            filled = 0;
        }
        filled += bytes;
        batches.last_mut().unwrap().push(record.clone());
    }
    let start = Instant::now();
    for batch in batches {
        writer.produce(batch, Compression::NoCompression).await.unwrap();
    }
    for reader in reading {
        reader.await.unwrap();
    }
    start.elapsed()
}
