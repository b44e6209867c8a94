//! That the Kafka of the other tests does what they think it does.
#![allow(clippy::unwrap_used)]

#[path = "support/kafka/mod.rs"]
mod kafka;
mod support;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use kafka::{Api, Client, Kafka, Mock, OldConsumer, PASSWORD, Refusal, USER, unique_topic};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::json;
use support::{is_alive, poll};

/// Whether somebody who comes to this address for the first time is answered.
fn answers(bootstrap: &str, settings: &[(&str, &str)]) -> bool {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    for (name, value) in settings {
        config.set(*name, *value);
    }
    let asker: BaseConsumer = config.create().unwrap();
    asker.fetch_metadata(None, Duration::from_secs(2)).is_ok()
}

#[test]
fn the_shared_broker_has_topics_and_keeps_records() {
    let Some(kafka) = kafka::shared() else { return };
    let topic = unique_topic();
    assert_eq!(kafka.partitions(&topic), None);
    kafka.create_topic(&topic, 3);
    assert_eq!(kafka.partitions(&topic), Some(3));
    assert_eq!(kafka.produce_raw(&topic, Some(2), "a key", b"no json"), (2, 0));
    assert_eq!(kafka.records(&topic)[0].value.as_deref(), Some(&b"no json"[..]));
    kafka.produce_raw(&topic, Some(2), "a key", br#"{"n":1}"#);
    kafka.delete_records(&topic, 2, 1);
    assert_eq!(kafka.ends(&topic, 2), (1, 2));
    assert_eq!(kafka.read_all(&topic), [json!({"n": 1})]);
    kafka.grow_topic(&topic, 4);
    assert_eq!(kafka.partitions(&topic), Some(4));
}

#[test]
fn the_key_chooses_the_partition_as_java_does() {
    let Some(kafka) = kafka::shared() else { return };
    let topic = unique_topic();
    kafka.create_topic(&topic, 3);
    // As `Utils.toPositive(Utils.murmur2(key)) % 3` has it.
    for (key, partition) in [("1001", 0), ("3001", 1), ("2012", 2)] {
        assert_eq!(kafka.produce(&topic, key, &json!({})).0, partition, "{key}");
    }
}

#[test]
fn an_old_worker_answers_what_is_ready() {
    let Some(kafka) = kafka::shared() else { return };
    let topic = unique_topic();
    kafka.create_topic(&topic, 2);
    let old = OldConsumer::start(&kafka.bootstrap(), &topic, &topic, 1000..2000, kafka::loaded);
    for id in [1001, 2001] {
        kafka.produce(
            &topic,
            &id.to_string(),
            &json!({"event_type": "ObjectReady", "id_objet": id, "meta": null}),
        );
    }
    let answer = poll("the answer", || {
        let events = kafka.read_all(&topic);
        events.into_iter().find(|event| event["event_type"] == "ObjectLoaded")
    });
    assert_eq!(answer["id_objet"], 1001);
    assert_eq!(answer["meta"], json!({"worker": "ingest-service"}));
    assert_eq!(answer["event_datetime"].as_str().unwrap().len(), "2025-09-22T10:00:00.000000".len());
    assert_eq!(old.seen(), [1001]);
}

#[test]
fn a_broker_that_comes_back_has_its_records() {
    let Some(kafka) = Kafka::start() else { return };
    kafka.create_topic("events", 1);
    kafka.produce("events", "1", &json!({"n": 1}));
    kafka.stop(1);
    assert!(!answers(&kafka.bootstrap(), &[]));
    kafka.start_again(1);
    kafka.produce("events", "1", &json!({"n": 2}));
    kafka.kill(1);
    kafka.start_again(1);
    assert_eq!(kafka.read_all("events"), [json!({"n": 1}), json!({"n": 2})]);
    kafka.pause(1);
    assert!(!answers(&kafka.bootstrap(), &[]));
    kafka.resume(1);
    kafka.wait_ready();
}

#[test]
fn a_cluster_survives_its_leader() {
    let Some(kafka) = Kafka::cluster(3) else { return };
    kafka.create_topic("events", 1);
    kafka.produce("events", "1", &json!({"n": 1}));
    let leader = kafka.leader("events", 0).unwrap();
    kafka.kill(leader);
    kafka.other_leader("events", 0, leader);
    kafka.produce("events", "1", &json!({"n": 2}));
    assert_eq!(kafka.read_all("events"), [json!({"n": 1}), json!({"n": 2})]);
    kafka.start_again(leader);
    assert_eq!(kafka.nodes(), [1, 2, 3]);
}

#[test]
fn a_secured_broker_asks_who_comes() {
    let Some(kafka) = Kafka::secured() else { return };
    let security = kafka.security();
    let open = security.sasl_plaintext_bootstrap();
    let plain = |password| {
        let settings = [
            ("security.protocol", "sasl_plaintext"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", USER),
            ("sasl.password", password),
        ];
        answers(&open, &settings)
    };
    assert!(plain(PASSWORD));
    assert!(!plain("another"));

    // Java's own client, for what this librdkafka is built without: TLS.
    let ca = security.ca_file().display().to_string();
    let scram = |mechanism: &str, ca: &str, password: &str| {
        let settings = format!(
            "security.protocol=SASL_SSL\nsasl.mechanism={mechanism}\nssl.truststore.type=PEM\nssl.truststore.location={ca}\n\
             sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \
             username=\"{USER}\" password=\"{password}\";\n"
        );
        java_is_answered(&kafka, &security.sasl_bootstrap(), &settings)
    };
    assert!(scram("SCRAM-SHA-256", &ca, PASSWORD));
    assert!(scram("SCRAM-SHA-512", &ca, PASSWORD));
    assert!(!scram("SCRAM-SHA-512", &ca, "another"));

    let key = fs::read_to_string(security.client_key()).unwrap();
    let certificate = fs::read_to_string(security.client_cert()).unwrap();
    let papers = kafka.directory().join("papers.pem");
    fs::write(&papers, key + &certificate).unwrap();
    let tls = format!("security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.location={ca}\n");
    let mutual = format!("{tls}ssl.keystore.type=PEM\nssl.keystore.location={}\n", papers.display());
    assert!(java_is_answered(&kafka, &security.mtls_bootstrap(), &mutual));
    assert!(!java_is_answered(&kafka, &security.mtls_bootstrap(), &tls));
}

fn java_is_answered(kafka: &Kafka, bootstrap: &str, settings: &str) -> bool {
    let file = kafka.directory().join("client.properties");
    // A tool that is refused tries again until then.
    fs::write(&file, format!("{settings}default.api.timeout.ms=5000\nrequest.timeout.ms=5000\n")).unwrap();
    let arguments = ["--bootstrap-server", bootstrap, "--command-config", file.to_str().unwrap(), "--list"];
    Kafka::tool("org.apache.kafka.tools.TopicCommand", &arguments).0
}

#[test]
fn a_proxy_swallows_and_gives_back() {
    let Some(kafka) = Kafka::behind_proxy() else { return };
    kafka.create_topic("events", 1);
    let bootstrap = kafka.proxied_bootstrap();
    let through = Client::new(bootstrap.to_owned());
    through.produce("events", "1", &json!({"n": 1}));
    assert!(kafka.proxy().connections() > 0);

    kafka.proxy().black_hole();
    let before = kafka.proxy().connections();
    assert!(!answers(bootstrap, &[]));
    assert!(answers(&kafka.bootstrap(), &[]), "the other way stays open");
    assert_eq!(kafka.proxy().connections(), before, "nobody's connection ended");

    kafka.proxy().heal();
    assert!(answers(bootstrap, &[]));
    through.produce("events", "1", &json!({"n": 2}));
    kafka.proxy().down();
    assert!(!answers(bootstrap, &[]));
    kafka.proxy().heal();
    kafka.proxy().cut();
    through.produce("events", "1", &json!({"n": 3}));
    assert_eq!(kafka.read_all("events").len(), 3);
}

#[test]
fn a_mock_refuses_on_demand() {
    let mock = Mock::start(2);
    mock.create_topic("events", 1);
    let client = Client::new(mock.bootstrap());
    mock.refuse(Api::Produce, &[Refusal::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS]);
    // librdkafka tries again: the record is there once.
    client.produce("events", "1", &json!({"n": 1}));
    assert_eq!(client.read_all("events"), [json!({"n": 1})]);
    mock.down(1);
    mock.down(2);
    assert!(!answers(&mock.bootstrap(), &[]));
    mock.up(1);
    mock.up(2);
    assert!(answers(&mock.bootstrap(), &[]));
}

/// Where the process of the next test finds the file that says what it started.
const HOLD: &str = "KORCH_TEST_HOLD";

#[test]
fn a_broker_dies_with_its_test() {
    if !kafka::here() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let started = directory.path().join("started");
    let mut test = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "holds_a_broker", "--ignored", "--test-threads=1"])
        .env(HOLD, &started)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let text = poll("the other process's broker", || {
        assert!(test.try_wait().unwrap().is_none(), "it ended");
        fs::read_to_string(&started).ok()
    });
    let (pid, data) = text.split_once(' ').unwrap();
    assert!(is_alive(pid));
    assert!(Path::new(data).exists());
    test.kill().unwrap();
    test.wait().unwrap();
    poll("the broker's end", || (!is_alive(pid)).then_some(()));
    poll("the end of its data", || (!Path::new(data).exists()).then_some(()));
}

#[test]
#[ignore = "a process of its own for the test before"]
fn holds_a_broker() {
    let Some(started) = std::env::var_os(HOLD).map(PathBuf::from) else { return };
    let kafka = Kafka::start().unwrap();
    let text = format!("{} {}", kafka.pid(1), kafka.directory().display());
    fs::write(started.with_extension("part"), text).unwrap();
    fs::rename(started.with_extension("part"), &started).unwrap();
    // Ends by being killed, or with whoever started it.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

#[test]
fn without_java_a_test_says_that_it_did_not_run() {
    let bare = tempfile::tempdir().unwrap();
    let run = |required: &str| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_broker_that_comes_back_has_its_records", "--test-threads=1"])
            .env("PATH", bare.path())
            .env("KORCH_TEST_KAFKA", required)
            .env_remove("JAVA_HOME")
            .output()
            .unwrap()
    };
    let output = run("");
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.starts_with("NOT RUN: "), "{said}");
    assert!(said.contains("no Kafka here (no java: "), "{said}");
    assert!(!run("required").status.success());
}
