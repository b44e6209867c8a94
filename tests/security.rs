//! Kafka that asks who comes: whoever may come in comes in, whoever may not is told soon what is wrong, and a password is
//! nobody else's.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "figures are for those who ask for them")]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/kafka/mod.rs"]
mod kafka;
mod support;

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use cluster::Cluster;
use kafka::{Kafka, PASSWORD, USER};
use support::{Ended, Korch, Place};

/// Kafka that cannot be reached or refuses is told of within this time.
const SOON: Duration = Duration::from_secs(10);

/// The one broker of these tests: a static never drops, and it ends all the same.
fn secured() -> Option<&'static Kafka> {
    static SECURED: OnceLock<Option<Kafka>> = OnceLock::new();
    SECURED.get_or_init(Kafka::secured).as_ref()
}

fn lake() -> Place {
    Place::with(&[(1001, vec![]), (2001, vec![1001]), (3001, vec![2001])])
}

/// Flags, and the password as the variable has it.
struct Papers {
    flags: Vec<String>,
    password: Option<&'static str>,
}

fn papers(flags: &[&str]) -> Papers {
    Papers { flags: flags.iter().map(|flag| (*flag).to_owned()).collect(), password: None }
}

/// With a user and the right password.
fn user(mechanism: &str, flags: &[&str]) -> Papers {
    let all = [&["--kafka-sasl", mechanism, "--kafka-user", USER], flags].concat();
    Papers { password: Some(PASSWORD), ..papers(&all) }
}

fn shown(command: &mut Command, papers: &Papers) {
    command.args(&papers.flags);
    if let Some(password) = papers.password {
        command.env("KORCH_KAFKA_PASSWORD", password);
    }
}

/// What everybody on the machine can read of a process.
fn command_line(process: &Korch) -> String {
    fs::read_to_string(format!("/proc/{}/cmdline", process.id())).unwrap()
}

/// A run with these papers ends well; returns all that its processes said, and how they were called.
#[track_caller]
fn runs(cluster: &Cluster, papers: &Papers, log: &str) -> String {
    let stages = ["--stage", "ingest", "--stage", "standardize", "--stage", "application"];
    let mut command = cluster.command(&["worker", "--delay", "10ms", "--log", log]);
    command.args(stages);
    shown(&mut command, papers);
    let worker = Korch::start(command);
    worker.said("at work");
    let mut command = cluster.command(&["orchestrate", "--once", "--listen", "off", "--log", log]);
    shown(&mut command, papers);
    let orchestrator = Korch::start(command);
    let mut said = command_line(&worker) + &command_line(&orchestrator);
    let ended = orchestrator.end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.contains("3 objects: 3 loaded"), "{}", ended.out);
    let worker = worker.stop();
    for Ended { out, err, .. } in [ended, worker] {
        said += &out;
        said += &err;
    }
    said
}

#[test]
fn whoever_has_the_papers_comes_in() {
    let Some(kafka) = secured() else { return };
    let security = kafka.security();
    let ca = security.ca_file().display().to_string();
    let (cert, key) =
        (security.client_cert().display().to_string(), security.client_key().display().to_string());
    let trust = ["--kafka-ca", &ca];
    let ways = [
        ("SCRAM-SHA-256 over TLS", security.sasl_bootstrap(), user("scram-sha-256", &trust)),
        ("SCRAM-SHA-512 over TLS", security.sasl_bootstrap(), user("scram-sha-512", &trust)),
        ("PLAIN over TLS", security.sasl_bootstrap(), user("plain", &trust)),
        ("SCRAM-SHA-512 without TLS", security.sasl_plaintext_bootstrap(), user("scram-sha-512", &[])),
        ("TLS alone", security.tls_bootstrap(), papers(&trust)),
        (
            "a certificate of its own",
            security.mtls_bootstrap(),
            papers(&["--kafka-ca", &ca, "--kafka-cert", &cert, "--kafka-key", &key]),
        ),
    ];
    for (way, bootstrap, papers) in ways {
        let start = Instant::now();
        let cluster = Cluster::new(&bootstrap.replace("127.0.0.1", "localhost"), lake());
        runs(&cluster, &papers, "info");
        println!("{way}: {:.1} s", start.elapsed().as_secs_f64());
    }
}

#[test]
fn a_password_from_a_file_serves_as_well() {
    let Some(kafka) = secured() else { return };
    let security = kafka.security();
    let cluster = Cluster::new(&security.sasl_bootstrap(), lake());
    let file = cluster.place.path("password");
    let (ca, path) = (security.ca_file(), file.display().to_string());
    let mut papers =
        user("scram-sha-256", &["--kafka-ca", ca.to_str().unwrap(), "--kafka-password-file", &path]);
    // As an editor leaves it; and it goes before what a variable says.
    fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    papers.password = Some("another");
    let said = runs(&cluster, &papers, "trace");
    assert!(!said.contains(PASSWORD), "the password is told");

    fs::remove_file(&file).unwrap();
    let mut command = cluster.command(&["orchestrate", "--once", "--listen", "off"]);
    shown(&mut command, &papers);
    let ended = support::ended(command);
    assert!(ended.code != Some(0) && ended.err.contains(&path), "{}", ended.err);
}

#[test]
fn a_password_is_told_to_nobody() {
    let Some(kafka) = secured() else { return };
    let security = kafka.security();
    let ca = security.ca_file().display().to_string();
    for mechanism in ["plain", "scram-sha-512"] {
        // The library below says nothing unless it is asked to: ask it.
        for log in ["trace", "trace,rskafka=trace"] {
            let cluster = Cluster::new(&security.sasl_bootstrap(), lake());
            let said = runs(&cluster, &user(mechanism, &["--kafka-ca", &ca]), log);
            assert!(said.contains("DEBUG"), "it says a lot: {}", said.len());
            if let Some(at) = said.find(PASSWORD) {
                panic!(
                    "{mechanism}, {log}: the password is told: {}",
                    &said[at.saturating_sub(300)..at + 20]
                );
            }
            // As it goes over the wire by PLAIN, printed as bytes are.
            let bytes: Vec<String> = PASSWORD.bytes().map(|byte| byte.to_string()).collect();
            assert!(!said.contains(&bytes.join(", ")), "{mechanism}, {log}: the password is told in bytes");
        }
    }
}

/// A start that fails: it says where and what to do, and soon.
struct Refused {
    what: String,
    bootstrap: String,
    papers: Papers,
    says: &'static [&'static str],
}

impl Refused {
    fn new(what: &str, bootstrap: &str, papers: Papers, says: &'static [&'static str]) -> Refused {
        Refused { what: what.into(), bootstrap: bootstrap.into(), papers, says }
    }

    fn check(&self, role: &[&str]) {
        let Refused { what, bootstrap, papers, says } = self;
        let cluster = Cluster::new(bootstrap, lake());
        let mut command = cluster.command(role);
        command.args(["--log", "trace"]);
        shown(&mut command, papers);
        let start = Instant::now();
        let ended = support::ended(command);
        let took = start.elapsed();
        let last = ended.err.lines().last().unwrap_or_default();
        println!("{what}: {} after {:.2} s: {last}", role[0], took.as_secs_f64());
        assert_eq!(ended.code, Some(5), "{what}: {}", ended.err);
        assert!(took < SOON, "{what}: {took:?}");
        assert!(last.starts_with("error: ") && last.contains(bootstrap), "{what} names the address: {last}");
        for text in *says {
            assert!(last.contains(text), "{what} says {text:?}: {last}");
        }
        assert!(
            !ended.err.contains(PASSWORD) && !ended.out.contains(PASSWORD),
            "{what}: the password is told"
        );
    }
}

const ORCHESTRATE: &[&str] = &["orchestrate", "--once", "--listen", "off"];
const WORKER: &[&str] = &["worker", "--stage", "ingest"];

/// Those that have an answer are quick, and go one after the other; those that wait in vain wait together.
fn check(answered: &[Refused], waiting: &[Refused]) {
    std::thread::scope(|scope| {
        for case in waiting {
            scope.spawn(|| case.check(ORCHESTRATE));
        }
        for case in answered {
            case.check(ORCHESTRATE);
        }
    });
    answered[0].check(WORKER);
}

#[test]
fn whoever_may_not_come_in_is_told_why_and_soon() {
    let Some(kafka) = secured() else { return };
    let security = kafka.security();
    let ca = security.ca_file().display().to_string();
    let other = security.other_ca_file().display().to_string();
    let (trust, distrust) = (["--kafka-ca", ca.as_str()], ["--kafka-ca", other.as_str()]);
    let (sasl, tls, mutual) =
        (security.sasl_bootstrap(), security.tls_bootstrap(), security.mtls_bootstrap());
    let (open_sasl, open) = (security.sasl_plaintext_bootstrap(), kafka.bootstrap());

    let mut answered: Vec<Refused> = ["scram-sha-256", "scram-sha-512", "plain"]
        .into_iter()
        .map(|mechanism| {
            let wrong = Papers { password: Some("a wrong one"), ..user(mechanism, &trust) };
            let what = format!("a wrong password by {mechanism}");
            Refused::new(&what, &sasl, wrong, &["KORCH_KAFKA_PASSWORD", "--kafka-user", USER])
        })
        .collect();
    answered.extend([
        Refused::new("an authority that is not the broker's", &tls, papers(&distrust), &["--kafka-ca"]),
        Refused::new("the same, and a password", &sasl, user("scram-sha-256", &distrust), &["--kafka-ca"]),
        Refused::new("no certificate where one is wanted", &mutual, papers(&trust), &["--kafka-cert"]),
        Refused::new("TLS where there is none", &open, papers(&trust), &["--kafka-tls"]),
        Refused::new("a password where nobody asks", &open, user("plain", &[]), &["--kafka-sasl"]),
    ]);
    let waiting = [
        Refused::new("TLS spoken to without", &tls, papers(&[]), &["--kafka-tls"]),
        Refused::new("the same, with a password", &sasl, user("plain", &[]), &["--kafka-tls"]),
        Refused::new("no password where one is asked for", &open_sasl, papers(&[]), &["--kafka-sasl"]),
        Refused::new("the same over TLS", &sasl, papers(&trust), &["--kafka-sasl"]),
    ];
    check(&answered, &waiting);
}

#[test]
fn where_there_is_no_kafka_is_told_soon() {
    let says = &["--kafka", "KORCH_KAFKA"];
    // Bound, and then nobody's.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    // The system takes the connection, and nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let answered = [
        Refused::new("a closed port", &closed, papers(&[]), says),
        Refused::new("an unknown host", "no-such-host.invalid:9092", papers(&[]), says),
    ];
    let trust = authority();
    let waiting = [
        Refused::new("somebody who never answers", &address, papers(&[]), &["--kafka-tls"]),
        Refused::new("the same, by TLS", &address, papers(&["--kafka-ca", &trust]), &["--kafka-sasl"]),
        // Of the addresses that documents use: no route leads there.
        Refused::new("an address that swallows", "192.0.2.1:9092", papers(&[]), says),
    ];
    check(&answered, &waiting);
}

/// A certificate to trust, of a broker that is not needed otherwise.
fn authority() -> String {
    static FILE: OnceLock<tempfile::NamedTempFile> = OnceLock::new();
    let file = FILE.get_or_init(|| {
        let file = tempfile::NamedTempFile::new().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        fs::write(file.path(), params.self_signed(&key).unwrap().pem()).unwrap();
        file
    });
    file.path().display().to_string()
}

#[test]
fn a_user_without_a_password_is_an_error_of_usage() {
    let mut command = support::korch(&["worker", "--stage", "ingest", "--kafka-sasl", "plain"]);
    command.args(["--kafka-user", "me"]);
    let ended = support::ended(command);
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    assert!(ended.err.contains("KORCH_KAFKA_PASSWORD"), "{}", ended.err);
}
