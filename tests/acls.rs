//! The rights that each role needs in Kafka, as docs/operations.md lists them: with them all goes well, and where one is missing
//! korch says so.
#![allow(clippy::unwrap_used)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/kafka/mod.rs"]
mod kafka;
mod support;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::OnceLock;

use cluster::Cluster;
use kafka::{Kafka, PASSWORD};
use support::{Api, Korch, Place, ended, poll};

/// Who may do what with the topic of the events, and with that of the members.
const USERS: &[(&str, &[&str], &[&str])] = &[
    ("orchestrator", &["Read", "Write"], &["Read", "Write", "Delete"]),
    ("worker", &["Read", "Write"], &["Read", "Write"]),
    ("page", &["Read", "Write"], &["Read"]),
    ("doctor", &["Describe"], &["Describe"]),
    // An orchestrator that makes its topics, and lets go of no heartbeat.
    ("maker", &["Read", "Write", "Create"], &["Read", "Write", "Create"]),
    ("makes_no_members", &["Read", "Write", "Create"], &["Read", "Write"]),
    ("viewer", &["Read"], &["Read"]),
    ("nobody", &[], &[]),
    // Of the three roles, one right less each.
    ("reads_no_events", &["Write"], &["Read", "Write"]),
    ("writes_no_events", &["Read"], &["Read", "Write"]),
    ("reads_no_members", &["Read", "Write"], &["Write"]),
    ("writes_no_members", &["Read", "Write"], &["Read"]),
    ("sees_no_members", &["Read", "Write"], &[]),
    // Is given the right to read events when it is missed.
    ("late", &["Write"], &["Read", "Write"]),
];

/// Rights are given by how a topic's name begins.
const EVENTS: &str = "events-";
const MEMBERS: &str = "members-";

/// The one broker of these tests, with everyone's rights.
fn guarded() -> Option<&'static Kafka> {
    static GUARDED: OnceLock<Option<Kafka>> = OnceLock::new();
    GUARDED
        .get_or_init(|| {
            let users: Vec<&str> = USERS.iter().map(|(user, ..)| *user).collect();
            let kafka = Kafka::guarded(&users)?;
            let mut rights: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
            for (user, events, members) in USERS {
                for (topics, operations) in [(EVENTS, events), (MEMBERS, members)] {
                    for operation in *operations {
                        rights.entry((topics, *operation)).or_default().push(*user);
                    }
                }
            }
            for ((topics, operation), users) in rights {
                kafka.allow(&users, operation, topics);
            }
            Some(kafka)
        })
        .as_ref()
}

/// Three objects, and names of topics that nobody else uses.
fn lake(kafka: &Kafka) -> Cluster {
    let place = Place::with(&[(1001, vec![]), (2001, vec![1001]), (3001, vec![2001])]);
    let mut cluster = Cluster::new(&kafka.guarded_bootstrap(), place);
    cluster.topic = format!("{EVENTS}{}", cluster.topic);
    cluster
}

fn members(cluster: &Cluster) -> String {
    cluster.topic.replacen(EVENTS, MEMBERS, 1)
}

/// The same, with topics that an administrator made.
fn lake_with_topics(kafka: &Kafka) -> Cluster {
    let cluster = lake(kafka);
    kafka.create_topic(&cluster.topic, 2);
    kafka.create_topic(&members(&cluster), 1);
    cluster
}

fn call(cluster: &Cluster, user: &str, args: &[&str]) -> Command {
    let mut command = cluster.command(args);
    command.args(["--kafka-sasl", "plain", "--kafka-user", user]);
    command.env("KORCH_KAFKA_PASSWORD", PASSWORD).env("KORCH_MEMBERS_TOPIC", members(cluster));
    command
}

const ORCHESTRATE: &[&str] = &["orchestrate", "--idle", "--listen", "127.0.0.1:0"];
const WORKER: &[&str] =
    &["worker", "--delay", "10ms", "--stage", "ingest", "--stage", "standardize", "--stage", "application"];
const UI: &[&str] = &["ui", "--listen", "127.0.0.1:0"];
const DOCTOR: &[&str] = &["doctor", "--without", "server,ui,prometheus,grafana,loki,alloy"];

/// Asks for a run, and waits until it has gone well.
#[track_caller]
fn runs(api: &Api) {
    let (status, answer) = api.post("/orchestrate");
    assert_eq!(status, 202, "{answer}");
    let run = api.finished(answer["run_id"].as_str().unwrap());
    assert_eq!(run["state"], "succeeded", "{run}");
}

/// A whole run, asked for on the page; nobody is refused anything.
#[track_caller]
fn all_goes_well(cluster: &Cluster, orchestrator: &str) {
    let orchestrator = Korch::start(call(cluster, orchestrator, ORCHESTRATE));
    orchestrator.api().ready();
    let worker = Korch::start(call(cluster, "worker", WORKER));
    worker.said("at work");
    let ui = Korch::start(call(cluster, "page", UI));
    let page = ui.page();
    page.ready();
    runs(&page);
    let doctor = ended(call(cluster, "doctor", DOCTOR));
    assert_eq!(doctor.code, Some(0), "{}{}", doctor.out, doctor.err);
    for process in [worker, ui, orchestrator] {
        let ended = process.stop();
        assert!(!ended.err.contains("refuses"), "{}", ended.err);
    }
}

#[test]
fn each_role_needs_these_rights_and_no_more() {
    let Some(kafka) = guarded() else { return };
    all_goes_well(&lake_with_topics(kafka), "orchestrator");
}

#[test]
fn whoever_may_make_the_topics_makes_them() {
    let Some(kafka) = guarded() else { return };
    let cluster = lake(kafka);
    all_goes_well(&cluster, "maker");
    assert_eq!(kafka.partitions(&members(&cluster)), Some(1));
}

/// Waits until the process says that Kafka refuses it, with all of this in the same line.
#[track_caller]
fn told(process: &Korch, parts: &[&str]) {
    let all = [&["refuses", "TopicAuthorizationFailed"][..], parts].concat();
    poll(&format!("{parts:?}"), || process.has_said(&all).then_some(()));
}

#[test]
fn an_orchestrator_tells_of_each_right_that_is_missing() {
    let Some(kafka) = guarded() else { return };
    for user in ["reads_no_events", "writes_no_events", "reads_no_members", "writes_no_members"] {
        let cluster = lake_with_topics(kafka);
        let names = [cluster.topic.clone(), members(&cluster)];
        let [events, members] = names.each_ref().map(String::as_str);
        let orchestrator = Korch::start(call(&cluster, user, ORCHESTRATE));
        let api = orchestrator.api();
        match user {
            "reads_no_events" => told(&orchestrator, &["the right Read", events]),
            "writes_no_events" => told(&orchestrator, &["the right Write", events]),
            "reads_no_members" => told(&orchestrator, &["the right Read", members]),
            _ => told(&orchestrator, &["the right Write", members]),
        }
        poll("that it is not ready", || (api.ask("/readyz").0 == 503).then_some(()));
    }
}

#[test]
fn a_worker_tells_of_each_right_that_is_missing() {
    let Some(kafka) = guarded() else { return };
    for user in ["reads_no_events", "writes_no_events", "reads_no_members", "writes_no_members"] {
        let cluster = lake_with_topics(kafka);
        let names = [cluster.topic.clone(), members(&cluster)];
        let [events, members] = names.each_ref().map(String::as_str);
        let orchestrator = Korch::start(call(&cluster, "orchestrator", ORCHESTRATE));
        let api = orchestrator.api();
        api.ready();
        let worker = Korch::start(call(&cluster, user, WORKER));
        // What it is given it would answer.
        let (status, answer) = api.post("/orchestrate");
        assert_eq!(status, 202, "{answer}");
        match user {
            "reads_no_events" => told(&worker, &["the right Read", events]),
            "writes_no_events" => told(&worker, &["the right Write", events]),
            "reads_no_members" => told(&worker, &["the right Read", members]),
            _ => told(&worker, &["the right Write", members]),
        }
    }
}

#[test]
fn a_page_that_may_not_write_shows_and_starts_nothing() {
    let Some(kafka) = guarded() else { return };
    let cluster = lake_with_topics(kafka);
    let ui = Korch::start(call(&cluster, "viewer", UI));
    let page = ui.page();
    page.ready();
    let (status, answer) = page.post("/orchestrate");
    let detail = answer["detail"].as_str().unwrap();
    assert_eq!(status, 503, "{answer}");
    assert!(detail.contains("refuses") && detail.contains(&cluster.topic), "{detail}");
}

#[test]
fn whoever_finds_no_topic_and_may_make_none_ends_and_names_it() {
    let Some(kafka) = guarded() else { return };
    let (absent, there) = (lake(kafka), lake_with_topics(kafka));
    let cases = [
        // There is none, and these may not make it.
        ("orchestrator", ORCHESTRATE, &absent, absent.topic.clone()),
        ("worker", WORKER, &absent, absent.topic.clone()),
        ("page", UI, &absent, absent.topic.clone()),
        // The first topic is made, the second may not be.
        ("makes_no_members", ORCHESTRATE, &absent, members(&absent)),
        // There is one, and these may not see it: to them it is not there.
        ("nobody", WORKER, &there, there.topic.clone()),
        ("sees_no_members", ORCHESTRATE, &there, members(&there)),
        ("sees_no_members", WORKER, &there, members(&there)),
        ("sees_no_members", UI, &there, members(&there)),
    ];
    for (user, role, cluster, names) in cases {
        let ended = ended(call(cluster, user, role));
        let last = ended.err.lines().last().unwrap_or_default();
        assert_eq!(ended.code, Some(5), "{user}, {}: {}", role[0], ended.err);
        assert!(last.starts_with("error: ") && last.contains("refuses"), "{user}, {}: {last}", role[0]);
        assert!(last.contains(&format!("may not make the topic {names},")), "{user}, {}: {last}", role[0]);
    }
    let doctor = ended(call(&there, "nobody", DOCTOR));
    assert_eq!(doctor.code, Some(1), "{}{}", doctor.out, doctor.err);
    assert!(doctor.out.contains(&there.topic), "{}", doctor.out);
}

#[test]
fn a_right_that_comes_later_wants_no_restart() {
    let Some(kafka) = guarded() else { return };
    let cluster = lake_with_topics(kafka);
    let orchestrator = Korch::start(call(&cluster, "late", ORCHESTRATE));
    let api = orchestrator.api();
    told(&orchestrator, &["the right Read", cluster.topic.as_str()]);
    kafka.allow(&["late"], "Read", &cluster.topic);
    api.ready();
    let worker = Korch::start(call(&cluster, "worker", WORKER));
    worker.said("at work");
    runs(&api);
}
