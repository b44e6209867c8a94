//! Kafka goes away in mid-run, in each of the ways in which it does, and comes back: the run goes on and nothing is lost.
//!
//! `KORCH_OUTAGE_SECONDS` says how long it stays away.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "figures are for those who ask for them")]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/kafka/mod.rs"]
mod kafka;
mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cluster::{Cluster, GATED};
use kafka::Kafka;
use serde_json::Value;
use support::{Api, Korch, Place, by_state, of_type, poll};

/// How long Kafka stays away: more than the lease, so that nobody's silence may be held against him.
fn away() -> Duration {
    let seconds = std::env::var("KORCH_OUTAGE_SECONDS").map_or(5, |seconds| seconds.parse().unwrap());
    Duration::from_secs(seconds)
}

/// Once there is a way to Kafka again korch has found it within this time.
const FOUND_AGAIN: Duration = Duration::from_secs(30);

const SOURCES: std::ops::Range<u64> = 1001..1009;
const TABLES: std::ops::Range<u64> = 2001..2009;
const FINALS: std::ops::Range<u64> = 3001..3005;

/// Work before, in and after the outage: each table waits for a source, each final object for all tables.
fn lake() -> Place {
    let sources = SOURCES.map(|id| (id, vec![]));
    let tables = TABLES.map(|id| (id, vec![id - 1000]));
    let finals = FINALS.map(|id| (id, TABLES.collect()));
    Place::with(&sources.chain(tables).chain(finals).collect::<Vec<_>>())
}

/// A run whose tables are at work and end once the gate is open.
struct InMidRun {
    cluster: Cluster,
    workers: Vec<Korch>,
    orchestrator: Korch,
    api: Api,
    page: Korch,
    run: String,
}

impl InMidRun {
    fn start(bootstrap: &str, args: &[&str]) -> InMidRun {
        let cluster = Cluster::new(bootstrap, lake());
        let orchestrator = cluster.orchestrate(args);
        let api = orchestrator.api();
        api.ready();
        let mut workers = Vec::new();
        for stage in ["ingest", "standardize", "application"] {
            workers.push(cluster.worker(stage, &["--exec", GATED]));
        }
        let page = cluster.ui();
        page.page().ready();
        let run = cluster.in_mid_run(&api, TABLES.count());
        InMidRun { cluster, workers, orchestrator, api, page, run }
    }

    /// Waits until both say that Kafka is away.
    fn misses_kafka(&self) {
        for api in [&self.api, &self.page.page()] {
            let why = poll("503 from /readyz", || {
                let (status, why) = api.ask("/readyz");
                (status == 503).then_some(why)
            });
            assert!(why["detail"].as_str().unwrap().contains("is Kafka away?"), "{why}");
            assert_eq!(api.ask("/livez").0, 200, "it lives, and waits");
        }
    }

    /// Kafka is away for so long that leases pass, and everybody knows it all the time.
    fn stays_away(&self, since: Instant) {
        while since.elapsed() < away() {
            assert_eq!(self.api.ask("/readyz").0, 503);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The end of the run, and everybody's: nothing was lost, and nobody was thought dead.
    fn ends_well(self, kafka: &Kafka) {
        let run = self.api.finished(&self.run);
        self.api.ready();
        self.page.page().ready();
        assert_eq!(run["state"], "succeeded", "{run}");
        let states = by_state(&run);
        let all = SOURCES.chain(TABLES).chain(FINALS).collect();
        assert_eq!(states, BTreeMap::from([("loaded".to_owned(), all)]));
        assert_eq!(self.page.page().finished(&self.run)["objects"], run["objects"]);

        let events: Vec<Value> = kafka.read_all(&self.cluster.topic);
        for id in SOURCES.chain(TABLES).chain(FINALS) {
            let loaded = of_type(&events, "ObjectLoaded");
            assert!(loaded.iter().any(|event| event["id_objet"] == id), "{id} has no answer");
        }
        // No silence was held against anyone: Kafka was away for all.
        let again: Vec<_> =
            of_type(&events, "ObjectReady").into_iter().filter(|event| event["attempt"] != 1).collect();
        assert!(again.is_empty(), "{again:?}");

        // They lead and work on as before.
        let (status, asked) = self.api.post("/orchestrate");
        assert_eq!(status, 202, "{asked}");
        let run = self.api.finished(asked["run_id"].as_str().unwrap());
        assert_eq!(run["state"], "succeeded", "{run}");
        for worker in self.workers {
            assert_eq!(worker.stop().code, Some(130));
        }
        assert_eq!(self.orchestrator.stop().code, Some(130));
    }
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}

#[test]
fn a_broker_that_stops_and_comes_back_is_waited_for() {
    let Some(kafka) = Kafka::start() else { return };
    let run = InMidRun::start(&kafka.bootstrap(), &[]);
    kafka.stop(1);
    let stopped = Instant::now();
    run.misses_kafka();
    println!("missed after {:.1} s", seconds(stopped));
    // The work ends while nobody can be told.
    run.cluster.open_the_gate();
    run.stays_away(stopped);
    kafka.start_again(1);
    let back = Instant::now();
    run.api.ready();
    println!("ready {:.1} s after the broker", seconds(back));
    run.api.finished(&run.run);
    println!("the run ended {:.1} s after the broker came back", seconds(back));
    assert!(back.elapsed() < FOUND_AGAIN);
    run.ends_well(&kafka);
}

#[test]
fn a_cluster_that_loses_the_events_leader_goes_on() {
    let Some(kafka) = Kafka::cluster(3) else { return };
    let run = InMidRun::start(&kafka.bootstrap(), &["--replication", "3"]);
    let leader = kafka.leader(&run.cluster.topic, 0).unwrap();
    kafka.kill(leader);
    let killed = Instant::now();
    run.cluster.open_the_gate();
    kafka.other_leader(&run.cluster.topic, 0, leader);
    let led = Instant::now();
    println!("another leader after {:.1} s", seconds(killed));
    run.api.finished(&run.run);
    println!("the run ended {:.1} s after that", seconds(led));
    assert!(led.elapsed() < FOUND_AGAIN);
    run.ends_well(&kafka);
}

#[test]
fn a_network_that_swallows_everything_and_heals_is_found_again() {
    let Some(kafka) = Kafka::behind_proxy() else { return };
    let run = InMidRun::start(kafka.proxied_bootstrap(), &[]);
    kafka.proxy().black_hole();
    let swallowed = Instant::now();
    run.misses_kafka();
    run.cluster.open_the_gate();
    run.stays_away(swallowed);
    kafka.proxy().heal();
    let healed = Instant::now();
    run.api.ready();
    println!("ready {:.1} s after the network healed", seconds(healed));
    run.api.finished(&run.run);
    println!("the run ended {:.1} s after the network healed", seconds(healed));
    assert!(healed.elapsed() < FOUND_AGAIN);
    run.ends_well(&kafka);
}

#[test]
fn connections_that_hang_are_replaced_by_new_ones() {
    let Some(kafka) = Kafka::behind_proxy() else { return };
    let run = InMidRun::start(kafka.proxied_bootstrap(), &[]);
    kafka.proxy().hang();
    let hung = Instant::now();
    run.cluster.open_the_gate();
    run.api.finished(&run.run);
    println!("the run ended {:.1} s after its connections hung", seconds(hung));
    assert!(hung.elapsed() < FOUND_AGAIN);
    run.ends_well(&kafka);
}
