//! The stream of events: cut, resumed, shared, and told what retention took.

#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use korch::domain::partition::partition_of;
use korch::log::{Log, NewRecord, Record};
use serde_json::Value;
use serving::*;

#[path = "support/serving.rs"]
mod serving;

fn numbered(n: u64) -> String {
    // Every third as a stranger might print it.
    let space = if n.is_multiple_of(3) { "\n  " } else { "" };
    format!("{{{space}\"event_type\":{space}\"ObjectLoaded\",\"id_objet\":{n},\r\n\"meta\":{{\"n\":{n}}}}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_cut_twenty_times_loses_nothing_and_repeats_nothing() {
    let server = Server::start(TestLog::new("log:of:tests", 3), None, false).await;
    let mut viewer = server.stream("/events/stream", None).await;
    let writing = tokio::spawn({
        let log = server.log.clone();
        async move {
            for n in 0..600_u64 {
                let key = Bytes::from(n.to_string());
                let mut records = vec![NewRecord::plain(key, numbered(n))];
                if n % 5 == 0 {
                    let value = Bytes::from_static(b"rubbish");
                    records
                        .push(NewRecord { partition: Some((n % 3) as u32), ..NewRecord::plain("", value) });
                }
                Log::append(&log, records).await.unwrap();
                if n % 10 == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    });
    let mut seen: Vec<u64> = Vec::new();
    let mut cuts = 0;
    while seen.len() < 600 {
        let event = viewer.message().await;
        seen.push(event["id_objet"].as_u64().unwrap());
        if cuts < 20 && seen.len() as u64 == (cuts + 1) * 29 {
            cuts += 1;
            let last_id = viewer.last_id.clone();
            viewer = server.stream("/events/stream", Some(&last_id)).await;
        }
    }
    writing.await.unwrap();
    assert_eq!(cuts, 20);
    for partition in 0..3 {
        let of: Vec<u64> =
            seen.iter().copied().filter(|n| partition_of(n.to_string().as_bytes(), 3) == partition).collect();
        assert!(of.is_sorted(), "order holds within a partition");
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..600).collect::<Vec<u64>>());
}

/// Viewers that come and go while others write, from the start, from now on, and from where they were: each sees every
/// event of its part of the log once, whether it reads the log or is sent what is written for all.
#[tokio::test(flavor = "multi_thread")]
async fn viewers_beside_each_other_miss_nothing() {
    let server = Arc::new(Server::start(TestLog::new("log", 3), None, false).await);
    const EVENTS: u64 = 2_000;
    let writing = tokio::spawn({
        let log = server.log.clone();
        async move {
            for n in 0..EVENTS {
                let key = Bytes::from(n.to_string());
                Log::append(&log, vec![NewRecord::plain(key, numbered(n))]).await.unwrap();
                if n % 20 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
    });
    let mut viewers = tokio::task::JoinSet::new();
    for n in 0..12_u64 {
        let server = server.clone();
        viewers.spawn(async move {
            let mut seen: Vec<u64> = Vec::new();
            let mut viewer = server.stream("/events/stream?from=start", None).await;
            while (seen.len() as u64) < EVENTS {
                seen.push(viewer.message().await["id_objet"].as_u64().unwrap());
                // Every viewer is cut at places of its own.
                if seen.len().is_multiple_of(97 + 31 * n as usize) {
                    let last_id = viewer.last_id.clone();
                    viewer = server.stream("/events/stream", Some(&last_id)).await;
                }
            }
            seen
        });
    }
    writing.await.unwrap();
    while let Some(seen) = viewers.join_next().await {
        let mut seen = seen.unwrap();
        for partition in 0..3 {
            let of = seen.iter().filter(|n| partition_of(n.to_string().as_bytes(), 3) == partition);
            assert!(of.is_sorted(), "order holds within a partition");
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..EVENTS).collect::<Vec<u64>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_before_its_first_event_loses_none() {
    let server = Server::start(TestLog::new("log", 3), None, false).await;
    server.write_raw("1", numbered(1)).await;
    server.settle().await;
    let mut viewer = server.stream("/events/stream", None).await;
    // A browser reads the id without a message that came with the connection.
    assert!(tokio::time::timeout(Duration::from_millis(50), viewer.next()).await.is_err());
    let id = viewer.last_id.clone();
    drop(viewer);
    server.write_raw("2", numbered(2)).await;
    let mut viewer = server.stream("/events/stream?from=start", Some(&id)).await;
    assert_eq!(viewer.message().await["id_objet"], 2, "the header goes before the query");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_leads_nowhere_is_reset() {
    let server = Server::start(TestLog::new("log", 1), None, false).await;
    for n in 0..10 {
        server.write_raw("k", numbered(n)).await;
    }
    let mut viewer = server.stream("/events/stream?from=start", None).await;
    for n in 0..10 {
        assert_eq!(viewer.message().await["id_objet"], n);
    }
    assert_eq!(viewer.last_id, "log:10");
    for id in
        ["other:3", "log:11", "log:1,2", "log:", "log:x", "log", "log:-1", "é", "log:99999999999999999999999"]
    {
        let mut viewer = server.stream("/events/stream", Some(id)).await;
        let reset = viewer.next().await.unwrap();
        assert_eq!((reset.event.as_str(), reset.id.as_str()), ("reset", "log:0"), "{id}");
        assert!(serde_json::from_str::<Value>(&reset.data).unwrap()["reason"].is_string());
        assert_eq!(viewer.message().await["id_objet"], 0, "then the log from its start");
    }
    // Retention passes a viewer that waits, and one that was away.
    let mut waiting = server.stream("/events/stream", Some("log:2")).await;
    assert_eq!(waiting.message().await["id_objet"], 2);
    server.log.cut(0, 5);
    let mut away = server.stream("/events/stream", Some("log:4")).await;
    let reset = away.next().await.unwrap();
    assert_eq!((reset.event.as_str(), reset.id.as_str()), ("reset", "log:5"));
    assert_eq!(away.message().await["id_objet"], 5);
    let mut at_start = server.stream("/events/stream", Some("log:5")).await;
    assert_eq!(at_start.message().await["id_objet"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_under_an_open_stream_is_a_reset() {
    let server = Server::start(TestLog::new("log", 1), None, false).await;
    let mut viewer = server.stream("/events/stream", None).await;
    {
        // Both at once, so that the reader finds its offset gone.
        let mut partitions = server.log.partitions.lock();
        for n in 0..4 {
            let value = Bytes::from(numbered(n));
            partitions[0].push(Arc::new(Record::new(0, n, 0, Bytes::new(), value)));
        }
        server.log.cut(0, 2);
    }
    server.log.appended.send_modify(|n| *n += 1);
    let reset = viewer.next().await.unwrap();
    assert_eq!((reset.event.as_str(), reset.id.as_str()), ("reset", "log:2"));
    assert_eq!(viewer.message().await["id_objet"], 2);
    assert_eq!(viewer.message().await["id_objet"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_stream_says_that_it_lives() {
    let server = Server::start(TestLog::new("log", 1), None, false).await;
    let mut viewer = server.stream("/events/stream", None).await;
    viewer.buffer.clear();
    let began = std::time::Instant::now();
    viewer.fill().await.unwrap();
    assert!(viewer.buffer.starts_with(':') && began.elapsed() < Duration::from_secs(15));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_process_ends_its_streams() {
    let server = Server::start(TestLog::new("log", 1), None, false).await;
    let mut viewer = server.stream("/events/stream", None).await;
    // One that takes nothing, ever, holds nobody up.
    for n in 0..20_000 {
        server.write_raw("k", numbered(n)).await;
    }
    let _stalled = server.stream("/events/stream?from=start", None).await;
    server.shutdown.send(true).unwrap();
    let ended = async { while viewer.next().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(5), ended).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), server.serving).await.unwrap().unwrap().unwrap();
}
