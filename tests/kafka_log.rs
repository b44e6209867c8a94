//! The log in Kafka by itself: over a cluster that fails on demand, and over a real broker.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "figures are for those who ask for them")]

#[path = "support/kafka/mod.rs"]
mod kafka;
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kafka::{Api, Client, Mock, Refusal, unique_topic};
use korch::domain::event::{Body, Event, Request, RunId};
use korch::domain::partition::partition_of;
use korch::log::kafka::{Kafka, KafkaLog, Settings, Topic};
use korch::log::{From, Log, LogError, NewRecord, Reader, Record};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use support::DEADLINE;
use uuid::Uuid;

/// What a broker takes at most, less what a batch adds.
const MOST: usize = 1_000_000;

async fn open(bootstrap: &str, topic: &str, partitions: u32) -> Arc<KafkaLog> {
    let kafka = Kafka::new(Settings {
        brokers: bootstrap.split(',').map(str::to_owned).collect(),
        tls: None,
        sasl: None,
        fetch_wait: Duration::from_millis(20),
    })
    .unwrap();
    let topic = Topic { name: topic.to_owned(), partitions, replication: None, exactly: false };
    Arc::new(kafka.open(topic, "/korch/test").await.unwrap())
}

/// A runtime with threads of its own, as korch has.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// A record that says who wrote it and as which of his, and is as large as it is told to be.
fn numbered(writer: usize, number: usize, bytes: usize) -> NewRecord {
    let mut value = format!("{writer} {number} ").into_bytes();
    value.resize(bytes.max(value.len()), b'x');
    NewRecord::plain(writer.to_string(), value)
}

/// Who wrote it, and as which of his.
fn number(value: &[u8]) -> (usize, usize) {
    let start = String::from_utf8_lossy(&value[..value.len().min(40)]).into_owned();
    let mut words = start.split(' ');
    let mut next = || words.next().unwrap().parse().unwrap();
    (next(), next())
}

/// Reads until `enough`.
async fn read_until(
    reader: &mut dyn Reader,
    mut enough: impl FnMut(&[Arc<Record>]) -> bool,
) -> Vec<Arc<Record>> {
    let (mut records, start) = (Vec::new(), Instant::now());
    while !enough(&records) {
        assert!(start.elapsed() < DEADLINE, "{} records, and no end", records.len());
        records.extend(reader.next(Duration::from_millis(100)).await.unwrap());
    }
    records
}

/// That each partition was read whole, in its order.
#[track_caller]
fn is_whole(records: &[Arc<Record>]) {
    let mut next: BTreeMap<u32, u64> = BTreeMap::new();
    for record in records {
        let next = next.entry(record.partition).or_default();
        assert_eq!(record.offset, *next, "partition {}", record.partition);
        *next += 1;
    }
}

/// That what was appended stands there in its order; what a lost answer repeats stands behind what it repeats.
#[track_caller]
fn is_in_order(records: &[Arc<Record>], writers: usize, each: usize) -> usize {
    let mut next = vec![0; writers];
    let mut repeats = 0;
    for record in records {
        let (writer, number) = number(&record.value);
        assert!(number <= next[writer], "{number} of {writer} comes before {}", next[writer]);
        if number == next[writer] {
            next[writer] += 1;
        } else {
            repeats += 1;
        }
    }
    assert_eq!(next, vec![each; writers], "nothing is lost");
    repeats
}

/// Sizes from next to nothing to nearly too much.
fn sizes(seed: u64, count: usize) -> Vec<usize> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut size = || {
        let most = [20, 400, 7_000, 40_000][random.usize(0..4)];
        random.usize(1..most)
    };
    let mut sizes: Vec<usize> = (0..count).map(|_| size()).collect();
    sizes[count / 2] = 900_000;
    sizes[count / 3] = 75_000;
    sizes
}

/// Several write at once, each its own in order, in appends of one record or many.
async fn write(log: &Arc<KafkaLog>, writers: usize, each: usize) {
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let log = log.clone();
        tasks.spawn(async move {
            let mut random = fastrand::Rng::with_seed(writer as u64);
            let mut left: Vec<NewRecord> = (0..each)
                .zip(sizes(writer as u64, each))
                .map(|(i, bytes)| numbered(writer, i, bytes))
                .collect();
            while !left.is_empty() {
                let some: Vec<NewRecord> = left.drain(..random.usize(1..=30).min(left.len())).collect();
                log.append(some).await.unwrap();
            }
        });
    }
    while let Some(written) = tasks.join_next().await {
        written.unwrap();
    }
}

#[test]
fn what_is_appended_is_read_in_its_order() {
    let Some(shared) = kafka::shared() else { return };
    block_on(async {
        let (writers, each) = (6, 150);
        let log = open(&shared.bootstrap(), &unique_topic(), 3).await;
        let mut early = log.reader(From::Start).await.unwrap();
        let write = write(&log, writers, each);
        let read = read_until(&mut *early, |records| records.len() >= writers * each);
        let ((), read) = tokio::join!(write, read);
        is_whole(&read);
        assert_eq!(is_in_order(&read, writers, each), 0);
        for record in &read {
            assert_eq!(record.partition, partition_of(&record.key, 3));
        }
        // Whoever comes later reads the same, and the ends are as everybody has them.
        let mut late = log.reader(From::Start).await.unwrap();
        let again = read_until(&mut *late, |records| records.len() >= writers * each).await;
        is_whole(&again);
        is_in_order(&again, writers, each);
        let ends = log.ends().await.unwrap();
        assert_eq!(ends, late.position());
        assert_eq!(ends.iter().sum::<u64>(), (writers * each) as u64);
        assert_eq!(log.starts().await.unwrap(), [0, 0, 0]);
    });
}

#[test]
fn keys_and_headers_are_as_others_read_them() {
    let Some(shared) = kafka::shared() else { return };
    let topic = unique_topic();
    let run = RunId(Uuid::now_v7());
    let event = Event {
        at: Timestamp::now(),
        run: Some(run),
        epoch: None,
        body: Body::RunRequested(Request::default()),
    };
    block_on(async {
        let log = open(&shared.bootstrap(), &topic, 6).await;
        let keys = (1_001..1_101).map(|id: u64| NewRecord::plain(id.to_string(), "{}"));
        log.append(keys.collect()).await.unwrap();
        let ends = log.append(vec![NewRecord::of(&event)]).await.unwrap();
        assert_eq!(ends.iter().filter(|end| **end > 0).count(), 1);
        // Where a partition is named the key does not choose.
        log.append(vec![NewRecord { partition: Some(5), ..NewRecord::plain("", "{}") }]).await.unwrap();
        let nowhere = NewRecord { partition: Some(6), ..NewRecord::plain("", "{}") };
        assert!(matches!(log.append(vec![nowhere]).await, Err(LogError::Unavailable(_))));
    });
    // Read, and written again, by another client: it chooses the same partitions.
    let twin = unique_topic();
    shared.create_topic(&twin, 6);
    for record in shared.records(&topic) {
        let key = record.key.as_deref().unwrap();
        if key.is_empty() {
            assert_eq!(record.partition, 5);
        } else {
            assert_eq!(shared.produce_raw(&twin, None, key, b"").0, record.partition, "{key}");
        }
        if key == run.to_string() {
            let header = |name: &str| record.headers.get(name).map(String::as_str);
            assert_eq!(header("ce_specversion"), Some("1.0"));
            assert_eq!(header("ce_type"), Some("RunRequested"));
            assert_eq!(header("ce_source"), Some("/korch/test"));
            assert_eq!(header("ce_subject"), Some(key));
            assert_eq!(header("content-type"), Some("application/json"));
            let id: Uuid = header("ce_id").unwrap().parse().unwrap();
            assert_eq!(id.get_version_num(), 5);
            assert_eq!(record.json()["event_datetime"].as_str(), header("ce_time"));
        } else {
            assert!(record.headers.is_empty(), "no event, no headers");
        }
    }
}

#[test]
fn what_is_too_large_is_refused_whole() {
    let Some(shared) = kafka::shared() else { return };
    let topic = unique_topic();
    block_on(async {
        let log = open(&shared.bootstrap(), &topic, 1).await;
        let batch = vec![numbered(0, 0, 10), numbered(0, 1, MOST + 1), numbered(0, 2, 10)];
        match log.append(batch).await {
            Err(LogError::TooLarge { bytes, most }) => assert_eq!((bytes, most), (MOST + 2, MOST)),
            other => panic!("{other:?}"),
        }
        assert_eq!(log.ends().await.unwrap(), [0], "nothing of it is there");
        // The largest that is let through is not too large for a broker.
        log.append(vec![numbered(0, 0, MOST - 1)]).await.unwrap();
    });
    // A broker that is set to take less says so itself.
    let small = unique_topic();
    shared.create_topic_with(&small, 1, &[("max.message.bytes", "20000")]);
    block_on(async {
        let log = open(&shared.bootstrap(), &small, 1).await;
        let refused = log.append(vec![numbered(0, 0, 400_000)]).await;
        match refused {
            Err(LogError::TooLarge { bytes, most }) => assert!(bytes > 400_000 && most < bytes),
            other => panic!("{other:?}"),
        }
        // It takes what is small, however much of it there is.
        log.append((0..300).map(|i| numbered(0, i, 1_000)).collect()).await.unwrap();
        let mut reader = log.reader(From::Start).await.unwrap();
        let records = read_until(&mut *reader, |records| records.len() >= 300).await;
        is_whole(&records);
        is_in_order(&records, 1, 300);
    });
}

#[test]
fn a_reader_says_how_far_it_is() {
    let Some(shared) = kafka::shared() else { return };
    block_on(async {
        let log = open(&shared.bootstrap(), &unique_topic(), 2).await;
        let mut reader = log.reader(From::Start).await.unwrap();
        assert_eq!((reader.position(), reader.caught_up(), reader.lag()), (&[0, 0][..], None, 0));
        // Caught up with an empty log: by the instant of a question that was asked after this.
        let asked = Instant::now();
        while reader.caught_up().is_none_or(|instant| instant < asked) {
            assert!(reader.next(Duration::from_millis(50)).await.unwrap().is_empty());
            assert!(asked.elapsed() < DEADLINE);
        }
        log.append((0..500).map(|i| numbered(i % 7, i, 3_000)).collect()).await.unwrap();
        let written = Instant::now();
        let mut read = 0;
        while reader.caught_up().is_none_or(|instant| instant < written) {
            let records = reader.next(Duration::from_millis(50)).await.unwrap();
            read += records.len() as u64;
            assert_eq!(reader.position().iter().sum::<u64>(), read, "what was handed over, and nothing else");
            assert!(read + reader.lag() <= 500);
            assert!(written.elapsed() < DEADLINE);
        }
        assert_eq!((read, reader.lag()), (500, 0), "caught up, and all is read");
        // From the end, and from anywhere.
        let ends = log.ends().await.unwrap();
        let mut late = log.reader(From::End).await.unwrap();
        assert_eq!(late.position(), ends);
        let from: Vec<u64> = ends.iter().map(|end| end - 1).collect();
        let mut last = log.reader(From::Offsets(from.clone())).await.unwrap();
        let records = read_until(&mut *last, |records| records.len() >= 2).await;
        assert!(records.iter().all(|record| record.offset == from[record.partition as usize]));
        log.append(vec![numbered(0, 0, 10)]).await.unwrap();
        assert_eq!(read_until(&mut *late, |records| !records.is_empty()).await.len(), 1);
        assert!(matches!(log.reader(From::Offsets(vec![0])).await, Err(LogError::Unavailable(_))));
    });
}

#[test]
fn a_start_that_is_gone_is_told_and_reading_goes_on() {
    let Some(shared) = kafka::shared() else { return };
    let topic = unique_topic();
    block_on(async {
        let log = open(&shared.bootstrap(), &topic, 1).await;
        for i in 0..20 {
            log.append(vec![numbered(0, i, 10)]).await.unwrap();
        }
        log.truncate(&[12]).await.unwrap();
        assert_eq!(log.starts().await.unwrap(), [12]);
        let mut reader = log.reader(From::Offsets(vec![3])).await.unwrap();
        let start = Instant::now();
        let truncated = loop {
            match reader.next(Duration::from_millis(100)).await {
                Ok(records) => assert!(records.is_empty() && start.elapsed() < DEADLINE),
                Err(error) => break error,
            }
        };
        assert!(
            matches!(truncated, LogError::Truncated { partition: 0, wanted: 3, start: 12 }),
            "{truncated:?}"
        );
        let records = read_until(&mut *reader, |records| records.len() >= 8).await;
        assert_eq!(
            records.iter().map(|record| record.offset).collect::<Vec<_>>(),
            (12..20).collect::<Vec<_>>()
        );
        // And one whose offset was never there yet: the topic was made anew.
        let mut beyond = log.reader(From::Offsets(vec![1_000])).await.unwrap();
        let start = Instant::now();
        let truncated = loop {
            match beyond.next(Duration::from_millis(100)).await {
                Ok(records) => assert!(records.is_empty() && start.elapsed() < DEADLINE),
                Err(error) => break error,
            }
        };
        assert!(matches!(truncated, LogError::Truncated { wanted: 1_000, start: 12, .. }), "{truncated:?}");
    });
}

/// Reads while its `next` is dropped again and again, at whatever it waits for.
async fn read_with_interruptions(reader: &mut dyn Reader, count: usize) -> Vec<Arc<Record>> {
    let mut random = fastrand::Rng::with_seed(3);
    let (mut records, start) = (Vec::new(), Instant::now());
    while records.len() < count {
        assert!(start.elapsed() < DEADLINE, "{} of {count}", records.len());
        let patience = Duration::from_micros(random.u64(0..3_000));
        tokio::select! {
            biased;
            read = reader.next(Duration::from_secs(1)) => records.extend(read.unwrap()),
            () = tokio::time::sleep(patience) => {}
        }
    }
    records
}

#[test]
fn a_reader_that_is_interrupted_loses_nothing() {
    let Some(shared) = kafka::shared() else { return };
    block_on(async {
        let log = open(&shared.bootstrap(), &unique_topic(), 3).await;
        let mut reader = log.reader(From::Start).await.unwrap();
        let (writers, each) = (5, 100);
        let write = write(&log, writers, each);
        let ((), records) = tokio::join!(write, read_with_interruptions(&mut *reader, writers * each));
        is_whole(&records);
        is_in_order(&records, writers, each);
    });
}

#[test]
fn an_open_transaction_is_waited_for_and_its_mark_passed_over() {
    let Some(shared) = kafka::shared() else { return };
    let topic = unique_topic();
    shared.create_topic(&topic, 1);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", shared.bootstrap())
        .set("transactional.id", &topic)
        .set("linger.ms", "0")
        .create()
        .unwrap();
    producer.init_transactions(DEADLINE).unwrap();
    let send = || {
        let record: BaseRecord<'_, str, str> = BaseRecord::to(&topic).key("stranger").payload("9 9 ");
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(DEADLINE).unwrap();
    };
    block_on(async {
        let log = open(&shared.bootstrap(), &topic, 1).await;
        let mut reader = log.reader(From::Start).await.unwrap();
        let mut expected = 0;
        for commits in [true, false, true] {
            producer.begin_transaction().unwrap();
            send();
            // Ours stand behind what nobody may read yet.
            log.append((0..5).map(|i| numbered(0, i, 100)).collect()).await.unwrap();
            let before = reader.position().to_vec();
            let records = read_until(&mut *reader, {
                // Many times longer than it takes to look again.
                let until = Instant::now() + Duration::from_secs(1);
                move |_| Instant::now() > until
            })
            .await;
            assert!(records.is_empty(), "nothing of it may be read, or passed over");
            assert_eq!(reader.position(), before);
            if commits {
                producer.commit_transaction(DEADLINE).unwrap();
            } else {
                producer.abort_transaction(DEADLINE).unwrap();
            }
            // The stranger's own, which is no event even where it is aborted, and ours.
            let records = read_until(&mut *reader, |records| records.len() >= 6).await;
            let keys: Vec<&[u8]> = records.iter().map(|record| &record.key[..]).collect();
            assert_eq!(keys, [&b"stranger"[..], b"0", b"0", b"0", b"0", b"0"]);
            // The mark has an offset, too.
            expected += 7;
            let start = Instant::now();
            while reader.position() != [expected] || reader.caught_up().is_none_or(|instant| instant < start)
            {
                assert!(reader.next(Duration::from_millis(20)).await.unwrap().is_empty());
                assert!(start.elapsed() < DEADLINE, "{:?} of {expected}", reader.position());
            }
            assert_eq!(reader.lag(), 0);
        }
        // Many marks in a row.
        for _ in 0..30 {
            producer.begin_transaction().unwrap();
            send();
            producer.commit_transaction(DEADLINE).unwrap();
        }
        log.append(vec![numbered(1, 0, 10)]).await.unwrap();
        let mut fresh = log.reader(From::Start).await.unwrap();
        for reader in [&mut reader, &mut fresh] {
            let records = read_until(&mut **reader, |records| {
                records.last().is_some_and(|record| &record.key[..] == b"1")
            })
            .await;
            assert!(records.len() >= 31);
        }
    });
}

/// A cluster that is not there, with a topic, and the log over it.
async fn mocked(brokers: i32, partitions: u32) -> (Mock, Arc<KafkaLog>) {
    let mock = Mock::start(brokers);
    mock.create_topic("events", i32::try_from(partitions).unwrap());
    let log = open(&mock.bootstrap(), "events", partitions).await;
    (mock, log)
}

#[test]
fn a_produce_that_fails_is_tried_again_and_nothing_is_lost() {
    use Refusal::{
        RD_KAFKA_RESP_ERR__TRANSPORT as CUT, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE as NO_LEADER,
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS as FEW,
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND as FEW_AFTER,
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION as NOT_LEADER,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT as LATE,
    };
    block_on(async {
        let (mock, log) = mocked(1, 2).await;
        let mut number_of = [0; 2];
        for errors in [
            &[FEW][..],
            &[LATE, LATE],
            &[NOT_LEADER],
            &[CUT],
            &[NO_LEADER, FEW_AFTER],
            &[FEW, LATE, NOT_LEADER, CUT, FEW],
        ] {
            mock.refuse(Api::Produce, errors);
            let start = Instant::now();
            let records: Vec<NewRecord> = (0..2)
                .flat_map(|writer| (0..20).map(move |i| (writer, i)))
                .map(|(writer, i)| NewRecord {
                    partition: Some(u32::try_from(writer).unwrap()),
                    ..numbered(writer, number_of[writer] + i, 2_000)
                })
                .collect();
            log.append(records).await.unwrap_or_else(|error| panic!("{errors:?}: {error}"));
            number_of = number_of.map(|number| number + 20);
            println!("{errors:?}: {:.2} s", start.elapsed().as_secs_f64());
        }
        let mut reader = log.reader(From::Start).await.unwrap();
        let all = log.ends().await.unwrap();
        let records =
            read_until(&mut *reader, |records| records.len() as u64 >= all.iter().sum::<u64>()).await;
        is_whole(&records);
        let repeats = is_in_order(&records, 2, number_of[0]);
        println!("{repeats} records repeated");
    });
}

#[test]
fn a_fetch_that_fails_is_tried_again_and_nothing_is_lost() {
    use Refusal::{
        RD_KAFKA_RESP_ERR__TRANSPORT as CUT, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION as NOT_LEADER,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT as LATE, RD_KAFKA_RESP_ERR_UNKNOWN as UNKNOWN,
    };
    block_on(async {
        let (mock, log) = mocked(1, 2).await;
        let mut reader = log.reader(From::Start).await.unwrap();
        let mut records = Vec::new();
        for (round, errors) in [&[NOT_LEADER][..], &[CUT, CUT], &[LATE], &[UNKNOWN, NOT_LEADER, CUT, LATE]]
            .into_iter()
            .enumerate()
        {
            mock.refuse(Api::Fetch, errors);
            let new = (0..40)
                .map(|i| NewRecord { partition: Some(i % 2), ..numbered(0, 40 * round + i as usize, 500) });
            log.append(new.collect()).await.unwrap();
            let start = Instant::now();
            records.extend(read_until(&mut *reader, |records| records.len() >= 40).await);
            println!("{errors:?}: {:.2} s", start.elapsed().as_secs_f64());
        }
        is_whole(&records);
        let mut numbers: Vec<usize> = records.iter().map(|record| number(&record.value).1).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..160).collect::<Vec<_>>());
    });
}

#[test]
fn leaders_that_change_and_brokers_that_go_are_followed() {
    block_on(async {
        let (mock, log) = mocked(3, 1).await;
        let mut reader = log.reader(From::Start).await.unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let writing = {
            let (log, over) = (log.clone(), over.clone());
            tokio::spawn(async move {
                let mut written = 0;
                while !over.load(Ordering::Relaxed) {
                    log.append((0..5).map(|i| numbered(0, written + i, 300)).collect()).await.unwrap();
                    written += 5;
                }
                written
            })
        };
        let mut records = Vec::new();
        for turn in 0..6 {
            // Something has to have been written under each of them.
            records.extend(read_until(&mut *reader, |records| records.len() >= 20).await);
            let leader = 1 + turn % 3;
            let before = 1 + (turn + 2) % 3;
            mock.lead("events", 0, Some(leader));
            if turn >= 3 {
                mock.down(before);
                records.extend(read_until(&mut *reader, |records| records.len() >= 20).await);
                mock.up(before);
            }
        }
        over.store(true, Ordering::Relaxed);
        let written = writing.await.unwrap();
        let end = log.ends().await.unwrap()[0];
        let left = usize::try_from(end).unwrap() - records.len();
        records.extend(read_until(&mut *reader, |records| records.len() >= left).await);
        is_whole(&records);
        let repeats = is_in_order(&records, 1, written);
        println!("{written} records under six leaders, {repeats} repeated");
    });
}

#[test]
fn a_topic_is_made_with_as_many_partitions_as_are_asked_for() {
    let Some(shared) = kafka::shared() else { return };
    let (topic, client): (String, &Client) = (unique_topic(), shared);
    block_on(async {
        // Two at once: one makes it, both have it.
        let bootstrap = client.bootstrap();
        let (one, other) = tokio::join!(open(&bootstrap, &topic, 5), open(&bootstrap, &topic, 5));
        assert_eq!((one.partitions(), other.partitions()), (5, 5));
        assert_eq!(one.id(), other.id());
        assert_eq!(open(&bootstrap, &topic, 9).await.partitions(), 5, "what is there is used as it is");
    });
    assert_eq!(client.partitions(&topic), Some(5));
}
