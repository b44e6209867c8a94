//! Topics as they are met: with many partitions, cut off, full of rubbish, or made by somebody else.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "figures are for those who ask for them")]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/kafka/mod.rs"]
mod kafka;
mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cluster::{Cluster, GATED};
use korch::domain::partition::partition_of;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};
use support::{DEADLINE, Place, by_state, of_type, poll};

/// How the sample ends.
const SUMMARY: &str = "22 objects: 20 loaded, 1 failed, 1 skipped";

/// That these events are one run of the sample, whole and in order.
#[track_caller]
fn is_the_sample(events: &[&Value]) {
    let events: Vec<Value> = events.iter().map(|event| (*event).clone()).collect();
    for (event_type, count) in [
        ("RunPlanned", 1),
        ("ObjectReady", 21),
        ("ObjectAssigned", 21),
        ("ObjectLoaded", 20),
        ("ObjectFailed", 1),
        ("ObjectSkipped", 1),
        ("RunFinished", 1),
    ] {
        assert_eq!(of_type(&events, event_type).len(), count, "{event_type}");
    }
}

#[test]
fn a_run_over_six_partitions_is_the_same_run() {
    let Some(kafka) = kafka::shared() else { return };
    let cluster = Cluster::new(&kafka.bootstrap(), Place::new());
    let orchestrator = cluster.orchestrate(&["--once", "--partitions", "6"]);
    // Whoever comes first makes the topic.
    poll("the topic", || kafka.partitions(&cluster.topic));
    let workers = cluster.workers(&[]);
    let ended = orchestrator.end();
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    assert!(ended.out.contains(SUMMARY), "{}", ended.out);
    assert_eq!(kafka.partitions(&cluster.topic), Some(6));

    let records = kafka.records(&cluster.topic);
    let mut elected = BTreeSet::new();
    let mut used = BTreeSet::new();
    let events: Vec<Value> = records.iter().map(kafka::Record::json).collect();
    for (record, event) in records.iter().zip(&events) {
        if event["event_type"] == "OrchestratorElected" {
            elected.insert(record.partition);
            continue;
        }
        used.insert(record.partition);
        let key = record.key.as_deref().unwrap();
        let subject = if event["id_objet"].is_null() {
            event["run_id"].as_str().unwrap().to_owned()
        } else {
            event["id_objet"].to_string()
        };
        assert_eq!(key, subject);
        assert_eq!(record.partition, i32::try_from(partition_of(key.as_bytes(), 6)).unwrap(), "{event}");
    }
    assert_eq!(elected, (0..6).collect());
    assert!(used.len() > 3, "the sample's ids are spread: {used:?}");
    is_the_sample(&events.iter().collect::<Vec<_>>());
    drop(workers);

    // Whoever reads it afterwards, interleaved in another way, comes to the same.
    let ui = cluster.ui();
    ui.page().ready();
    let run = of_type(&events, "RunFinished")[0]["run_id"].as_str().unwrap().to_owned();
    let states = by_state(&ui.page().get(&format!("/runs/{run}")));
    assert_eq!(
        (states["loaded"].len(), &states["failed"], &states["skipped"]),
        (20, &[2005].into(), &[3007].into())
    );
}

#[test]
fn a_topic_that_somebody_made_is_used_as_it_is() {
    let Some(kafka) = kafka::shared() else { return };
    let cluster = Cluster::new(&kafka.bootstrap(), Place::new());
    kafka.create_topic(&cluster.topic, 4);
    let _workers = cluster.workers(&["--partitions", "9"]);
    let ended = cluster.orchestrate(&["--once", "--partitions", "2"]).end();
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    assert_eq!(kafka.partitions(&cluster.topic), Some(4));
    is_the_sample(&cluster.events().iter().collect::<Vec<_>>());
}

#[test]
fn members_in_three_partitions_are_refused() {
    let Some(kafka) = kafka::shared() else { return };
    let cluster = Cluster::new(&kafka.bootstrap(), Place::new());
    let members = format!("{}.members", cluster.topic);
    kafka.create_topic(&members, 3);
    for role in [
        vec!["orchestrate", "--listen", "127.0.0.1:0"],
        vec!["worker", "--stage", "ingest"],
        vec!["ui", "--listen", "127.0.0.1:0"],
    ] {
        let ended = support::ended(cluster.command(&role));
        assert_eq!(ended.code, Some(5), "{role:?}: {}", ended.err);
        let why = format!("the topic {members} has 3 partitions, it must have 1");
        assert!(ended.err.contains(&why), "{role:?}: {}", ended.err);
        assert!(ended.err.contains("Delete it"), "what to do: {}", ended.err);
    }
    assert!(cluster.events().is_empty(), "nothing was published");
}

#[test]
fn a_start_that_is_gone_is_no_loss_to_the_next_run() {
    let Some(kafka) = kafka::shared() else { return };
    let cluster = Cluster::new(&kafka.bootstrap(), Place::new());
    kafka.create_topic(&cluster.topic, 2);
    let _workers = cluster.workers(&["--delay", "10ms"]);
    assert_eq!(cluster.orchestrate(&["--once"]).end().code, Some(4));
    // Of the first run its end is left, as retention leaves it.
    let records = kafka.records(&cluster.topic);
    let end = records.iter().rfind(|record| record.json()["event_type"] == "RunFinished").unwrap();
    kafka.delete_records(&cluster.topic, end.partition, end.offset);
    let other = 1 - end.partition;
    kafka.delete_records(&cluster.topic, other, kafka.ends(&cluster.topic, other).1);
    assert_eq!(cluster.events().len(), 1);

    let ended = cluster.orchestrate(&["--once"]).end();
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    assert!(ended.out.contains(SUMMARY), "{}", ended.out);
    let events = cluster.events();
    let run = of_type(&events, "RunPlanned").last().unwrap()["run_id"].clone();
    is_the_sample(&events.iter().filter(|event| event["run_id"] == run).collect::<Vec<_>>());
}

#[test]
fn a_run_whose_plan_is_gone_ends_and_says_why() {
    let Some(kafka) = kafka::shared() else { return };
    let cluster = Cluster::new(&kafka.bootstrap(), Place::new());
    let orchestrator = cluster.orchestrate(&[]);
    let api = orchestrator.api();
    api.ready();
    let _workers = cluster.workers(&["--exec", GATED]);
    let run = cluster.in_mid_run(&api, 5);
    assert!(orchestrator.kill());
    let records = kafka.records(&cluster.topic);
    let plan = records.iter().rfind(|record| record.json()["event_type"] == "RunPlanned").unwrap();
    kafka.delete_records(&cluster.topic, plan.partition, plan.offset + 1);

    let orchestrator = cluster.orchestrate(&[]);
    let api = orchestrator.api();
    api.ready();
    let ended = api.finished(&run);
    assert_eq!((&ended["state"], &ended["reason"]), (&json!("failed"), &json!("log-truncated")), "{ended}");
    // What ran for it is ended; what is asked for now runs.
    cluster.open_the_gate();
    let (status, asked) = api.post("/orchestrate");
    assert_eq!(status, 202, "{asked}");
    let next = api.finished(asked["run_id"].as_str().unwrap());
    assert_eq!(next["state"], "succeeded", "{next}");
    let events = cluster.events();
    let end = of_type(&events, "RunFinished").into_iter().find(|event| event["run_id"] == run).unwrap();
    assert_eq!((&end["outcome"], &end["reason"]), (&json!("failed"), &json!("log-truncated")));
}

#[test]
fn the_remains_of_a_run_that_ended_are_no_run() {
    let Some(kafka) = kafka::shared() else { return };
    let cluster = Cluster::new(&kafka.bootstrap(), Place::new());
    kafka.create_topic(&cluster.topic, 3);
    let _workers = cluster.workers(&["--delay", "0s"]);
    assert_eq!(cluster.orchestrate(&["--once"]).end().code, Some(4));
    // Retention takes the partition of the run's own events, and leaves those of its objects elsewhere.
    let run = of_type(&cluster.events(), "RunFinished")[0]["run_id"].as_str().unwrap().to_owned();
    let partition = i32::try_from(partition_of(run.as_bytes(), 3)).unwrap();
    kafka.delete_records(&cluster.topic, partition, kafka.ends(&cluster.topic, partition).1);
    let ended = cluster.orchestrate(&["--once"]).end();
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    assert!(ended.out.contains(SUMMARY) && !ended.out.contains(&run), "{}", ended.out);
}

#[test]
fn a_topic_that_grows_is_read_whole() {
    let Some(kafka) = kafka::shared() else { return };
    let cluster = Cluster::new(&kafka.bootstrap(), Place::new());
    let orchestrator = cluster.orchestrate(&["--idle"]);
    let api = orchestrator.api();
    api.ready();
    let _workers = cluster.workers(&["--delay", "0s"]);
    kafka.grow_topic(&cluster.topic, 3);
    let elected = || {
        let events = cluster.kafka.records(&cluster.topic).into_iter();
        let elections = events.filter(|record| record.json()["event_type"] == "OrchestratorElected");
        elections.map(|record| record.partition).collect::<BTreeSet<_>>()
    };
    poll("elections everywhere", || (elected() == [0, 1, 2].into()).then_some(()));
    // A request of somebody whose client knows of the new partitions, with a key that leads there.
    let key = (0..).map(|n: u32| n.to_string()).find(|key| partition_of(key.as_bytes(), 3) == 2).unwrap();
    kafka.produce_raw(&cluster.topic, Some(2), &key, br#"{"event_type":"RunRequested"}"#);
    let run = poll("the run", || api.get("/runs")["runs"][0]["run_id"].as_str().map(str::to_owned));
    assert_eq!(by_state(&api.finished(&run))["loaded"].len(), 20);
}

/// Records that are no events, or of nobody's plan: `number` chooses.
fn rubbish(number: usize, run: &str) -> Option<Vec<u8>> {
    let text = |text: &str| Some(text.as_bytes().to_vec());
    let json = |value: Value| Some(value.to_string().into_bytes());
    match number % 25 {
        0 => None,
        1 => text(""),
        2 => text("no json"),
        3 => text("{\"event_type\":\"ObjectLoaded\",\"id_objet\":1001"),
        4 => text("[{\"event_type\":\"ObjectLoaded\",\"id_objet\":1001}]"),
        5 => text("null"),
        6 => text("\"ObjectLoaded\""),
        7 => Some(vec![0xff, 0xfe, 0x00, 0x80]),
        8 => text(&"[".repeat(100_000)),
        9 => json(json!({})),
        10 => json(json!({"event_type": 7, "id_objet": 1001})),
        11 => json(json!({"event_type": "SomethingElse", "id_objet": 1001, "run_id": run})),
        12 => json(json!({"event_type": "ObjectLoaded", "id_objet": "none", "run_id": run, "attempt": 1})),
        13 => json(json!({"event_type": "ObjectLoaded", "id_objet": 1.5, "run_id": run, "attempt": 1})),
        14 => json(json!({"event_type": "ObjectLoaded", "id_objet": -1, "run_id": run, "attempt": 1})),
        15 => json(json!({"event_type": "ObjectLoaded", "id_objet": 2001, "run_id": run, "attempt": -4})),
        16 => json(json!({"event_type": "ObjectLoaded", "id_objet": 2001, "run_id": 12, "attempt": 1})),
        17 => json(json!({"event_type": "ObjectLoaded", "id_objet": 2001, "run_id": run})),
        // Ids that no plan has.
        18 => json(json!({"event_type": "ObjectLoaded", "id_objet": 77_777, "run_id": run, "attempt": 1})),
        19 => json(
            json!({"event_type": "ObjectFailed", "id_objet": 1_999, "run_id": run, "attempt": 1, "meta": {}}),
        ),
        20 => json(json!({"event_type": "ObjectReady", "id_objet": 3_999, "run_id": run, "attempt": 1})),
        // An old worker's answer where nobody was asked.
        21 => json(json!({"event_type": "ObjectLoaded", "id_objet": 2001, "meta": {"worker": "old"}})),
        22 => json(json!({"event_type": "RunCancelRequested"})),
        23 => json(
            json!({"event_type": "RunPlanned", "run_id": run, "epoch": 1, "part": 3, "parts": 2, "objects": {}}),
        ),
        _ => text("{\"event_type\":\"ObjectLoaded\",\"event_type\":\"ObjectFailed\",\"id_objet\":2001}"),
    }
}

#[test]
fn a_thousand_records_of_rubbish_stop_nobody() {
    let Some(kafka) = kafka::shared() else { return };
    let cluster = Cluster::new(&kafka.bootstrap(), Place::new());
    let partitions = 3;
    kafka.create_topic(&cluster.topic, partitions);
    let orchestrator = cluster.orchestrate(&[]);
    let api = orchestrator.api();
    api.ready();
    let _workers = cluster.workers(&["--exec", GATED]);
    let run = cluster.in_mid_run(&api, 5);
    let before = kafka.records(&cluster.topic).len();

    // Transactions leave marks that have offsets and are no records, and what is aborted stays in the log.
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .set("transactional.id", &cluster.topic)
        .set("linger.ms", "0")
        .create()
        .unwrap();
    producer.init_transactions(DEADLINE).unwrap();
    let mut records = (0..1_000).map(|number| {
        let huge = (number % 250 == 100)
            .then(|| format!("{{\"event_type\":\"{}\"}}", "x".repeat(900_000)).into_bytes());
        (number, if huge.is_some() { huge } else { rubbish(number, &run) })
    });
    let mut transactions = 0;
    loop {
        let some: Vec<_> = records.by_ref().take(40).collect();
        let Some((last, _)) = some.last() else { break };
        producer.begin_transaction().unwrap();
        // The gate opens in the middle of it.
        if *last > 500 {
            cluster.open_the_gate();
        }
        for (number, value) in &some {
            let key = (2_000 + number).to_string();
            let mut record: BaseRecord<'_, str, [u8]> = BaseRecord::to(&cluster.topic)
                .key(key.as_str())
                .partition(i32::try_from(*number).unwrap() % partitions);
            if let Some(value) = value {
                record = record.payload(value);
            }
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        transactions += 1;
        if transactions % 5 == 0 {
            producer.flush(DEADLINE).unwrap();
            producer.abort_transaction(DEADLINE).unwrap();
        } else {
            producer.commit_transaction(DEADLINE).unwrap();
        }
    }
    // Not in silence, and not a thousand times.
    orchestrator.said("a record is passed over");
    let ended = api.finished(&run);
    assert_eq!(ended["state"], "succeeded", "{ended}");
    assert_eq!(
        ended["counts"],
        json!({"objects": 22, "loaded": 22, "failed": 0, "skipped": 0, "degraded": 0, "reused": 0})
    );

    // Each is read, whoever it was of: the log is read to its end, marks and all.
    let read = Instant::now();
    api.ready();
    let (_, metrics) = {
        let (status, mut body) = api.open("GET", "/metrics", "", "");
        let mut text = String::new();
        std::io::Read::read_to_string(&mut body, &mut text).unwrap();
        (status, text)
    };
    let counted = |reason: &str| -> u64 {
        let name = format!("korch_events_rejected_total{{reason=\"{reason}\"}} ");
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix(&name))
            .unwrap_or_else(|| panic!("{reason}: {metrics}"));
        line.parse().unwrap()
    };
    for reason in ["not_json", "no_type", "unknown_type", "bad_field", "unknown_object"] {
        assert!(counted(reason) > 0, "{reason}");
    }
    println!(
        "{} records, {transactions} transactions; {} rejected as no JSON",
        before + 1_000,
        counted("not_json")
    );
    // Somebody who reads all that from the start comes to its end too, and to the same state.
    let page = cluster.ui();
    page.page().ready();
    assert_eq!(page.page().get(&format!("/runs/{run}"))["objects"], ended["objects"]);
    assert!(read.elapsed() < DEADLINE + Duration::from_secs(1));
    // The workers read on as well: they do what they are given behind all that.
    let (_, asked) = api.post("/orchestrate");
    assert_eq!(api.finished(asked["run_id"].as_str().unwrap())["state"], "succeeded");
}
