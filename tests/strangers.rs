//! Programs that speak the old wire format and know nothing of korch: workers beside korch's own, and orchestrators that a
//! korch worker serves.
#![allow(clippy::unwrap_used)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/kafka/mod.rs"]
mod kafka;
#[path = "support/python.rs"]
mod python;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use cluster::Cluster;
use kafka::{Client, OldConsumer};
use korch::domain::partition::partition_of;
use rustix::process::Signal;
use serde_json::{Value, json};
use support::{DEADLINE, Korch, Place, of_type, poll};

/// The ids of the stage that is the strangers' here.
const THEIRS: std::ops::Range<u64> = 2000..3000;

fn id(event: &Value) -> u64 {
    event["id_objet"].as_u64().unwrap()
}

/// An offer as the old orchestrator makes it.
fn old_offer(object: u64) -> Value {
    json!({
        "event_type": "ObjectReady",
        "id_objet": object,
        "meta": null,
        "event_datetime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6f").to_string(),
    })
}

/// That a stage is theirs and all they answered is korch's: adopted, and nothing of it assigned.
#[track_caller]
fn is_adopted(kafka: &Client, cluster: &Cluster, objects: usize) {
    let records = kafka.records(&cluster.topic);
    let events: Vec<Value> = records.iter().map(kafka::Record::json).collect();
    let assigned: BTreeSet<u64> = of_type(&events, "ObjectAssigned").into_iter().map(id).collect();
    assert!(!assigned.is_empty());
    assert_eq!(assigned.iter().find(|id| THEIRS.contains(id)), None, "what is theirs is assigned to nobody");
    let answers = records.iter().zip(&events).filter(|(_, event)| {
        let answer = event["event_type"] == "ObjectLoaded" || event["event_type"] == "ObjectFailed";
        answer && THEIRS.contains(&id(event)) && !event["run_id"].is_null()
    });
    let mut adopted = BTreeSet::new();
    for (record, event) in answers {
        let from = &event["meta"]["adopted_from"];
        let place = (from["partition"].as_i64().unwrap(), from["offset"].as_i64().unwrap());
        let original = records
            .iter()
            .find(|record| (i64::from(record.partition), record.offset) == place)
            .unwrap_or_else(|| panic!("nothing stands where {event} is from"))
            .json();
        assert_eq!(original["run_id"], Value::Null, "{original}");
        assert_eq!(original["id_objet"], event["id_objet"]);
        assert_eq!(original["event_type"], event["event_type"]);
        assert_eq!(original["meta"]["worker"], event["meta"]["worker"], "who did it is kept");
        assert_eq!(record.headers["ce_subject"], id(event).to_string());
        assert!(adopted.insert(id(event)), "{} is adopted once", id(event));
    }
    assert_eq!(adopted.len(), objects);
}

#[test]
fn an_old_consumer_serves_a_stage() {
    let Some(kafka) = kafka::shared() else { return };
    let cluster = Cluster::new(&kafka.bootstrap(), Place::new());
    kafka.create_topic(&cluster.topic, 2);
    let answer = |id| if id == 2005 { kafka::failed(id) } else { kafka::loaded(id) };
    let old = OldConsumer::start(&kafka.bootstrap(), &cluster.topic, &cluster.topic, THEIRS, answer);
    let _workers = ["ingest", "application"].map(|stage| cluster.worker(stage, &[]));
    let ended = cluster.orchestrate(&["--once", "--foreign-stage", "standardize"]).end();
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    assert!(ended.out.contains("22 objects: 20 loaded, 1 failed, 1 skipped"), "{}", ended.out);
    let offered = of_type(&cluster.events(), "ObjectReady")
        .into_iter()
        .map(id)
        .filter(|id| THEIRS.contains(id))
        .count();
    assert_eq!(old.seen().len(), offered, "each is offered once");
    is_adopted(kafka, &cluster, offered);
}

#[test]
fn an_offer_that_nobody_answers_is_made_again() {
    let Some(kafka) = kafka::shared() else { return };
    let cluster = Cluster::new(
        &kafka.bootstrap(),
        Place::with(&[(1001, vec![]), (2001, vec![1001]), (2002, vec![1001]), (3001, vec![2001, 2002])]),
    );
    kafka.create_topic(&cluster.topic, 2);
    // It overhears the first two offers of the one, and none of the other.
    let mut overheard = 0;
    let answer = move |id| {
        overheard += usize::from(id == 2001);
        (id == 2002 || overheard > 2).then(|| kafka::loaded(id)).flatten()
    };
    let old = OldConsumer::start(&kafka.bootstrap(), &cluster.topic, &cluster.topic, THEIRS, answer);
    let _workers = ["ingest", "application"].map(|stage| cluster.worker(stage, &["--delay", "10ms"]));
    let flags = ["--once", "--foreign-stage", "standardize", "--offer-timeout", "1s"];
    let ended = cluster.orchestrate(&flags).end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let events = cluster.events();
    let offers: Vec<(u64, u64, &Value)> = of_type(&events, "ObjectReady")
        .into_iter()
        .filter(|event| id(event) == 2001)
        .map(|event| (id(event), event["attempt"].as_u64().unwrap(), &event["cause"]))
        .collect();
    let again = json!("offer-expired");
    assert!(offers.len() >= 3, "{offers:?}");
    assert_eq!(offers[0], (2001, 1, &Value::Null));
    for (offer, attempt) in offers[1..].iter().zip(2..) {
        assert_eq!(*offer, (2001, attempt, &again));
    }
    assert!(old.seen().len() > 3);
    is_adopted(kafka, &cluster, 2);
}

/// The example, as its page says to start it.
fn example(python: &Path, cluster: &Cluster, group: &str) -> Korch {
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/worker.py")).arg("standardize");
    command.env("KAFKA_BOOTSTRAP", &cluster.bootstrap).env("KAFKA_TOPIC", &cluster.topic);
    command.env("KAFKA_GROUP", group).env("WORK_SECONDS", "0.1").stdin(Stdio::null());
    Korch::start(command)
}

#[test]
fn the_python_example_serves_a_stage_as_a_group_of_two() {
    let Some(kafka) = kafka::shared() else { return };
    let Some(python) = python::python() else { return };
    let cluster = Cluster::new(&kafka.bootstrap(), Place::new());
    kafka.create_topic(&cluster.topic, 2);
    let examples = [(); 2].map(|()| example(python, &cluster, &cluster.topic));

    // A new group begins at the topic's end, whenever that is: so they are asked until each partition is answered for, by
    // another one each.
    let probes: Vec<u64> = (0..2)
        .map(|partition| {
            (2901..2999).find(|id: &u64| partition_of(id.to_string().as_bytes(), 2) == partition).unwrap()
        })
        .collect();
    let start = std::time::Instant::now();
    let mut asked = start.checked_sub(Duration::from_secs(1));
    loop {
        let mut by_partition: BTreeMap<i32, BTreeSet<String>> = BTreeMap::new();
        for record in kafka.records(&cluster.topic) {
            let event = record.json();
            if event["event_type"] == "ObjectLoaded" {
                by_partition
                    .insert(record.partition, [event["meta"]["worker"].as_str().unwrap().to_owned()].into());
            }
        }
        let workers: BTreeSet<&String> = by_partition.values().flatten().collect();
        if workers.len() == 2 {
            break;
        }
        assert!(start.elapsed() < DEADLINE, "the examples do not share the topic: {by_partition:?}");
        if asked.is_none_or(|asked| asked.elapsed() >= Duration::from_secs(1)) {
            asked = Some(std::time::Instant::now());
            for probe in &probes {
                kafka.produce(&cluster.topic, &probe.to_string(), &old_offer(*probe));
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }

    let _workers = ["ingest", "application"].map(|stage| cluster.worker(stage, &["--fail-ids", ""]));
    let ended = cluster.orchestrate(&["--once", "--foreign-stage", "standardize"]).end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let events = cluster.events();
    let theirs: BTreeSet<u64> = of_type(&events, "ObjectReady")
        .into_iter()
        .filter(|event| !event["run_id"].is_null())
        .map(id)
        .filter(|id| THEIRS.contains(id))
        .collect();
    is_adopted(kafka, &cluster, theirs.len());
    let workers: BTreeSet<&str> = of_type(&events, "ObjectLoaded")
        .into_iter()
        .filter(|event| !event["meta"]["adopted_from"].is_null())
        .map(|event| event["meta"]["worker"].as_str().unwrap())
        .collect();
    assert_eq!(workers.len(), 2, "both worked");
    for example in examples {
        example.signal(Signal::TERM);
        let ended = example.end();
        assert_eq!(ended.code, Some(0), "{}", ended.err);
    }
}

/// What stands in the topic of an object that nobody asked a korch for.
fn answers_without_a_run(cluster: &Cluster, object: u64) -> Vec<Value> {
    let events = cluster.events();
    let answers = events.into_iter().filter(|event| {
        let answer = event["event_type"] == "ObjectLoaded" || event["event_type"] == "ObjectFailed";
        answer && event["id_objet"] == object && event["run_id"].is_null()
    });
    answers.collect()
}

#[test]
fn a_korch_worker_serves_an_old_orchestrator() {
    let Some(kafka) = kafka::shared() else { return };
    let cluster = Cluster::new(&kafka.bootstrap(), Place::new());
    let _worker = cluster.worker("ingest", &["--foreign", "--delay", "10ms", "--fail-ids", "1009"]);
    // It reads from its start on, which it does not tell: it is asked until it answers.
    poll("an answer", || {
        kafka.produce(&cluster.topic, "1001", &old_offer(1001));
        std::thread::sleep(Duration::from_millis(100));
        (!answers_without_a_run(&cluster, 1001).is_empty()).then_some(())
    });
    for other in [1009, 2001, 3001, 1002] {
        kafka.produce(&cluster.topic, &other.to_string(), &old_offer(other));
    }
    let answer = poll("the answers", || {
        let failed = answers_without_a_run(&cluster, 1009).pop()?;
        answers_without_a_run(&cluster, 1002).pop()?;
        Some(failed)
    });
    assert_eq!(answer["event_type"], "ObjectFailed");
    let loaded = answers_without_a_run(&cluster, 1002).pop().unwrap();
    assert_eq!(loaded["event_type"], "ObjectLoaded");
    for answer in [answer, loaded] {
        assert_eq!(answer["meta"]["foreign"], true);
        assert!(answer["meta"]["worker"].as_str().unwrap().starts_with("ingest-"));
        assert!(answer["attempt"].is_null(), "old orchestrators know no attempts: {answer}");
        assert!(answer["epoch"].is_null());
    }
    for not_ours in [2001, 3001] {
        assert_eq!(answers_without_a_run(&cluster, not_ours), [Value::Null; 0]);
    }
}

#[test]
fn a_foreign_workers_answer_is_never_adopted() {
    let Some(kafka) = kafka::shared() else { return };
    let cluster = Cluster::new(
        &kafka.bootstrap(),
        Place::with(&[(1001, vec![]), (1002, vec![]), (3001, vec![1001, 1002])]),
    );
    let _foreign = cluster.worker("ingest", &["--foreign", "--delay", "10ms"]);
    let _worker = cluster.worker("application", &["--delay", "10ms"]);
    let orchestrator = cluster.orchestrate(&["--foreign-stage", "ingest"]);
    let api = orchestrator.api();
    // Both are offered to strangers, and the worker of the old orchestrator is no such stranger: it runs nothing of a run.
    poll("the offers", || {
        let events = cluster.events();
        let offers = of_type(&events, "ObjectReady");
        (offers.iter().filter(|offer| !offer["run_id"].is_null()).count() == 2).then_some(())
    });
    // Now the old orchestrator asks for the same object.
    poll("the worker's answer", || {
        kafka.produce(&cluster.topic, "1001", &old_offer(1001));
        std::thread::sleep(Duration::from_millis(100));
        (!answers_without_a_run(&cluster, 1001).is_empty()).then_some(())
    });
    // Once an answer that stands behind it is adopted, it was passed over.
    kafka.produce(&cluster.topic, "1002", &kafka::loaded(1002).unwrap());
    let adopted = |object: u64| {
        let events = cluster.events();
        let mut answers = of_type(&events, "ObjectLoaded").into_iter();
        answers.find(|event| event["id_objet"] == object && !event["run_id"].is_null()).cloned()
    };
    poll("the adoption of the other", || adopted(1002));
    assert_eq!(adopted(1001), None);
    let (partition, offset) = kafka.produce(&cluster.topic, "1001", &kafka::loaded(1001).unwrap());
    let own = poll("the adoption of the stranger's", || adopted(1001));
    assert_eq!(own["meta"]["adopted_from"], json!({"partition": partition, "offset": offset}));
    let run = own["run_id"].as_str().unwrap();
    assert_eq!(api.finished(run)["state"], "succeeded");
}

#[test]
fn a_second_foreign_worker_of_a_stage_does_not_start() {
    let Some(kafka) = kafka::shared() else { return };
    let cluster = Cluster::new(&kafka.bootstrap(), Place::new());
    let first = cluster.worker("ingest", &["--foreign", "--name", "the-first", "--delay", "10ms"]);
    poll("the first one's word", || (!cluster.members().is_empty()).then_some(()));
    let start = |stages: &[&str], name: &str| {
        let mut command = cluster.command(&["worker", "--foreign", "--name", name, "--delay", "10ms"]);
        command.args(stages);
        Korch::start(command)
    };
    for stages in [&["--stage", "ingest"][..], &["--stage", "application", "--stage", "ingest"][..]] {
        let second = start(stages, "the-second").end();
        assert_eq!(second.code, Some(2), "{}", second.err);
        let says = "error: the-first serves this stage for the old orchestrator: end it first";
        assert!(second.err.contains(says), "{}", second.err);
    }
    // Another stage is free; the first one works on; and once it is gone its stage is free.
    let other = start(&["--stage", "application"], "another");
    let answered = |object: u64| {
        poll("an answer", || {
            kafka.produce(&cluster.topic, &object.to_string(), &old_offer(object));
            std::thread::sleep(Duration::from_millis(100));
            answers_without_a_run(&cluster, object).pop()
        })
    };
    assert_eq!(answered(3001)["meta"]["worker"], "another");
    assert_eq!(answered(1001)["meta"]["worker"], "the-first");
    assert_eq!(first.stop().code, Some(130));
    let third = start(&["--stage", "ingest"], "the-third");
    assert_eq!(answered(1002)["meta"]["worker"], "the-third");
    assert_eq!(third.stop().code, Some(130));
    assert_eq!(other.stop().code, Some(130));
}
