//! One run over many processes: who does how much, who comes and goes, and who asks.
//!
//! The short form is part of every check; `KORCH_LONG=1` asks for more of it. `tests/failover.rs` has what dies.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/kafka/mod.rs"]
mod kafka;
mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cluster::{Cluster, bound, size, terminate};
use rustix::process::Signal;
use serde_json::{Value, json};
use support::{Ended, Korch, Place, by_state, of_type, poll};

/// Sources, and one final object that needs them all.
fn sources(count: u64) -> Place {
    let mut entries: Vec<(u64, Vec<u64>)> = (0..count).map(|i| (1001 + i, vec![])).collect();
    entries.push((3001, (1001..1001 + count).collect()));
    Place::with(&entries)
}

/// The id of a started run, as `korch start` says it.
fn started(ended: &Ended) -> String {
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    ended.out.split([' ', ':']).nth(1).unwrap().to_owned()
}

#[test]
fn the_sample_ends_as_it_does_in_one_process() {
    let Some(kafka) = kafka::shared() else { return };
    let cluster = Cluster::new(&kafka.bootstrap(), Place::new());
    let _workers = cluster.workers(&[]);
    let ended = cluster.orchestrate(&["--once"]).end();
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    assert!(ended.out.contains("22 objects: 20 loaded, 1 failed, 1 skipped"), "{}", ended.out);
    let events = cluster.sound().events;
    for (event_type, count) in
        [("ObjectReady", 21), ("ObjectAssigned", 21), ("ObjectLoaded", 20), ("ObjectFailed", 1)]
    {
        assert_eq!(of_type(&events, event_type).len(), count, "{event_type}");
    }
    // A page opened the day after knows it all, though nobody orchestrates any more.
    let ui = cluster.ui();
    let page = ui.page();
    page.ready();
    let run = events[0]["run_id"].as_str().or(events[1]["run_id"].as_str()).unwrap();
    let states = by_state(&page.get(&format!("/runs/{run}")));
    assert_eq!(states["failed"], [2005].into());
    assert_eq!(states["skipped"], [3007].into());
}

// ---- who does how much ----

#[test]
fn workers_of_a_stage_share_its_work() {
    let Some(kafka) = kafka::shared() else { return };
    for _ in 0..size(1, 5) {
        let cluster = Cluster::new(&kafka.bootstrap(), sources(60));
        // Nobody is to be taken for dead here, however busy the machine is.
        let args = ["--lease", "60s", "--slots", "2", "--delay", "300ms"];
        let _workers =
            ["ingest", "ingest", "ingest", "application"].map(|stage| cluster.worker(stage, &args));
        cluster.workers_up(4);
        let ended = cluster.orchestrate(&["--once", "--lease", "60s"]).end();
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        let sound = cluster.sound();
        sound.nothing_was_tried_twice();
        let mut shares: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
        for (at, event_type) in ["ObjectAssigned", "ObjectLoaded"].into_iter().enumerate() {
            for event in sound.of(event_type).into_iter().filter(|event| event["id_objet"] != 3001) {
                let worker = event["worker"].as_str().or(event["meta"]["worker"].as_str()).unwrap();
                shares.entry(worker).or_default()[at] += 1;
            }
        }
        eprintln!("shares: {shares:?}");
        assert_eq!(shares.len(), 3);
        assert_eq!(shares.values().map(|share| share[0]).sum::<usize>(), 60);
        for [assigned, loaded] in shares.values() {
            assert_eq!(assigned, loaded, "{shares:?}");
            assert!((15..=25).contains(loaded), "{shares:?}");
        }
    }
}

// ---- who comes and goes ----

#[test]
fn workers_are_replaced_one_after_the_other() {
    let Some(kafka) = kafka::shared() else { return };
    let objects = size(200, 1200);
    // Six of ten are sources, three stand between, one is final: each stage has work while the others have.
    let (sources, between) = (objects * 6 / 10, objects * 3 / 10);
    let mut entries: Vec<(u64, Vec<u64>)> = (0..sources).map(|i| (1000 + i, vec![])).collect();
    entries.extend((0..between).map(|i| (2000 + i, vec![1000 + 2 * i, 1001 + 2 * i])));
    entries.extend((0..objects / 10).map(|i| (3000 + i, (0..3).map(|k| 2000 + 3 * i + k).collect())));
    let cluster = Cluster::new(&kafka.bootstrap(), Place::with(&entries));
    cluster.kafka.create_topic(&cluster.topic, 3);
    let start = || {
        let stages = ["--stage", "standardize", "--stage", "application"];
        let args = [
            "--lease",
            "60s",
            "--slots",
            "2",
            "--delay",
            "150ms",
            "--drain-timeout",
            "10m",
            "--fail-ids",
            "",
        ];
        cluster.worker("ingest", &[&stages[..], &args].concat())
    };
    let mut workers: Vec<Korch> = (0..3).map(|_| start()).collect();
    cluster.workers_up(3);
    let korch = cluster.orchestrate(&["--once", "--lease", "60s", "--output", "json"]);
    let api = korch.api();
    cluster.happened("RunPlanned", |_| true);
    let mut busy = Vec::new();
    for round in 0..size(3, 12) {
        let old = workers.remove(0);
        let name = format!("-{}", old.id());
        let running = || {
            let workers = api.get("/workers");
            let of = |worker: &&Value| worker["worker"].as_str().unwrap().ends_with(&name);
            let worker = workers["workers"].as_array().unwrap().iter().find(of).cloned();
            worker.map_or(0, |worker| worker["running"].as_array().unwrap().len())
        };
        busy.push(poll("work in its hands", || Some(running()).filter(|running| *running > 0)));
        // Now the new one comes first, now the old one goes first.
        let new = (round % 2 == 0).then(&start);
        let left = Instant::now();
        let ended = terminate(old);
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        eprintln!("held {} and left after {:?}", busy[round], left.elapsed());
        workers.push(new.unwrap_or_else(&start));
    }
    let ended = korch.end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let summary: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(
        summary["counts"],
        json!({"objects": objects, "loaded": objects, "failed": 0, "skipped": 0, "degraded": 0, "reused": 0})
    );
    let sound = cluster.sound();
    sound.nothing_was_tried_twice();
    assert_eq!(sound.of("ObjectLoaded").len() as u64, objects);
}

#[test]
fn a_worker_that_nobody_leads_leaves_when_it_is_told_to() {
    let Some(kafka) = kafka::shared() else { return };
    let cluster = Cluster::new(&kafka.bootstrap(), sources(1));
    let start = |delay: &str| {
        let worker = cluster.worker("ingest", &["--lease", "1s", "--drain-timeout", "10m", "--delay", delay]);
        cluster.workers_up(1);
        worker
    };
    let worker = start("1ms");
    let told = Instant::now();
    let ended = terminate(worker);
    eprintln!("never led: left after {:?}", told.elapsed());
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(told.elapsed() < bound(Duration::from_secs(2)), "{:?}", told.elapsed());

    // What it holds it finishes, though the leader is gone; then it leaves.
    let worker = start("2s");
    let leader = cluster.orchestrate(&["--lease", "1s"]);
    cluster.happened("ObjectAssigned", |_| true);
    assert!(leader.kill());
    let told = Instant::now();
    let ended = terminate(worker);
    eprintln!("led before: left after {:?}", told.elapsed());
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(told.elapsed() < bound(Duration::from_secs(4)), "{:?}", told.elapsed());
    assert_eq!(of_type(&cluster.events(), "ObjectLoaded").len(), 1);
}

#[test]
fn a_second_signal_stops_a_worker_at_once() {
    let Some(kafka) = kafka::shared() else { return };
    let cluster = Cluster::new(&kafka.bootstrap(), sources(1));
    let worker = cluster.worker("ingest", &["--delay", "10m", "--drain-timeout", "10m"]);
    let _korch = cluster.orchestrate(&[]);
    cluster.happened("ObjectAssigned", |_| true);
    worker.signal(Signal::TERM);
    worker.said("finishing what runs");
    assert!(support::is_alive(&worker.id().to_string()));
    let told = Instant::now();
    let ended = terminate(worker);
    eprintln!("stopped after {:?}", told.elapsed());
    assert_eq!(ended.code, Some(130), "{}", ended.err);
    assert!(told.elapsed() < bound(Duration::from_secs(1)), "{:?}", told.elapsed());
    assert!(of_type(&cluster.events(), "ObjectFailed").is_empty(), "it says no last words");
}

#[test]
fn a_worker_under_the_name_of_a_live_one_takes_its_place() {
    let Some(kafka) = kafka::shared() else { return };
    let cluster = Cluster::new(&kafka.bootstrap(), sources(2));
    // Silence cannot be the reason: no lease ends while this test runs.
    let twin = |delay: &str| {
        let args = ["--name", "twin", "--lease", "10m", "--delay", delay];
        cluster.worker("ingest", &args)
    };
    let first = twin("10m");
    let _application = cluster.worker("application", &["--delay", "1ms"]);
    cluster.workers_up(2);
    let korch = cluster.orchestrate(&["--once", "--lease", "60s"]);
    let api = korch.api();
    poll("both in the first one's hands", || {
        (of_type(&cluster.events(), "ObjectAssigned").len() == 2).then_some(())
    });
    let second = twin("1s");
    // The first one goes on to speak, and nobody listens.
    cluster.happened("ObjectAssigned", |event| event["attempt"] == 2);
    let workers = api.get("/workers");
    let twins: Vec<&Value> =
        workers["workers"].as_array().unwrap().iter().filter(|worker| worker["worker"] == "twin").collect();
    assert_eq!(twins.len(), 1, "{workers}");
    first.said("no longer ours");
    let ended = korch.end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let sound = cluster.sound();
    let instances = |attempt: u64| {
        let of = sound.of("ObjectAssigned").into_iter().filter(move |event| event["attempt"] == attempt);
        of.filter(|event| event["worker"] == "twin").map(|event| event["instance"].as_str().unwrap())
    };
    let old: Vec<&str> = instances(1).filter(|instance| instances(2).all(|new| new != *instance)).collect();
    assert_eq!((old.len(), instances(2).count()), (2, 2), "both went to the new one");
    assert_eq!(twins[0]["instance"].as_str(), instances(2).next());
    for again in sound.of("ObjectReady").into_iter().filter(|event| event["attempt"] == 2) {
        assert_eq!(again["cause"], "worker-lost");
    }
    for korch in [first, second] {
        assert!(korch.kill(), "both live on");
    }
}

// ---- who asks ----

#[test]
fn a_page_without_an_orchestrator_answers_from_the_log() {
    let Some(kafka) = kafka::shared() else { return };
    let cluster = Cluster::new(&kafka.bootstrap(), Place::new());
    let _workers = cluster.workers(&["--delay", "1ms"]);
    assert_eq!(cluster.orchestrate(&["--once"]).end().code, Some(4));
    let events = cluster.events().len();

    let ui = cluster.ui();
    let page = ui.page();
    page.ready();
    let runs = page.get("/runs");
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1);
    assert_eq!(runs["runs"][0]["state"], "failed");
    assert_eq!(by_state(&page.get("/runs/latest"))["loaded"].len(), 20);
    assert_eq!(page.get("/dag")["nodes"], 22);
    assert_eq!(page.get("/dag/json")["nodes"].as_array().unwrap().len(), 22);
    assert_eq!(page.get("/events/last?limit=1000")["last_events"].as_array().unwrap().len(), events);
    let workers = page.get("/workers");
    assert_ne!(workers["leader"]["led"], true, "{workers}");
    assert_eq!(workers["workers"].as_array().unwrap().len(), 3);

    let asked = cluster.ask(&page, &["start"]);
    assert!(asked.err.contains("no orchestrator leads now"), "{}", asked.err);
    assert!(asked.out.contains("asked for"), "{}", asked.out);
    let run = started(&asked);
    assert_eq!(page.get(&format!("/runs/{run}"))["state"], "queued");

    // Whoever comes to lead finds it in the log, even if it starts nothing by itself.
    let _korch = cluster.orchestrate(&["--idle"]);
    let done = page.finished(&run);
    assert_eq!((&done["state"], &done["counts"]["loaded"]), (&json!("failed"), &json!(20)));
    assert_eq!(page.get("/runs")["runs"].as_array().unwrap().len(), 2);
    assert_eq!(page.get("/workers")["leader"]["led"], true);
    cluster.sound();
}

#[test]
fn the_commands_ask_an_orchestrator_on_kafka() {
    let Some(kafka) = kafka::shared() else { return };
    let cluster = Cluster::new(&kafka.bootstrap(), Place::new());
    let korch = cluster.orchestrate(&["--idle"]);
    let api = korch.api();
    api.ready();
    let told = |args: &[&str]| {
        let ended = cluster.ask(&api, args);
        assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.err);
        ended.out
    };
    let run = started(&cluster.ask(&api, &["start", "+3005"]));
    let slow = cluster.worker("ingest", &["--delay", "10m", "--name", "slow"]);
    cluster.happened("ObjectAssigned", |_| true);

    let status = told(&["status"]);
    assert!(status.contains(&run) && status.contains("running"), "{status}");
    let runs: Value = serde_json::from_str(&told(&["runs", "--output", "json"])).unwrap();
    assert_eq!(runs["runs"][0]["run_id"], run.as_str());
    assert_eq!(runs["runs"][0]["counts"]["objects"], 3);
    let explained = told(&["explain", "3005"]);
    assert!(explained.contains("1001") && explained.contains("slow"), "{explained}");
    let events = told(&["events", "-n", "1000", "--output", "json"]);
    assert_eq!(events.lines().count(), cluster.events().len(), "{events}");
    assert!(told(&["cancel"]).contains(&run));
    assert_eq!(api.finished(&run)["state"], "cancelled");
    assert!(told(&["status", &run]).contains("cancelled"));
    slow.said("no longer ours");
    assert_eq!(terminate(slow).code, Some(0));

    let _workers = cluster.workers(&["--delay", "1ms"]);
    let waited = cluster.ask(&api, &["start", "--wait"]);
    assert_eq!(waited.code, Some(4), "{}", waited.err);
    assert!(waited.out.contains("22 objects: 20 loaded, 1 failed, 1 skipped"), "{}", waited.out);
    assert!(told(&["explain", "3007"]).contains("2005"));
    assert_eq!(cluster.ask(&api, &["cancel"]).code, Some(2), "nothing is active any more");
    cluster.sound();
}

/// Asked of the page's process, which has no catalogue: what is wrong comes back through the log.
#[test]
fn a_selection_is_run_on_kafka() {
    let Some(kafka) = kafka::shared() else { return };
    let cluster = Cluster::new(&kafka.bootstrap(), Place::new());
    let _korch = cluster.orchestrate(&["--idle"]);
    let _workers = cluster.workers(&["--delay", "1ms"]);
    let ui = cluster.ui();
    let page = ui.page();
    page.ready();
    let selected = cluster
        .ask(&page, &["start", "+3005", "2005+", "--exclude", "stage:ingest", "--exclude", "2005", "--wait"]);
    assert_eq!(selected.code, Some(0), "{}", selected.err);
    assert!(selected.out.contains("3 objects: 3 loaded"), "{}", selected.out);
    let events = cluster.events();
    let requested = of_type(&events, "RunRequested");
    assert_eq!(requested[0]["targets"], json!(["+3005", "2005+"]));
    assert_eq!(requested[0]["exclude"], json!(["stage:ingest", "2005"]));
    let planned = of_type(&events, "RunPlanned");
    let objects = planned[0]["objects"].as_array().unwrap();
    let of = |id: u64| objects.iter().find(|object| object["id"] == id).unwrap();
    assert_eq!((&of(2002)["parents"], &of(2002)["satisfied"]), (&json!([]), &json!([1001])));
    assert_eq!(of(3005)["parents"], json!([2002]));
    assert_eq!((&of(3007)["parents"], &of(3007)["satisfied"]), (&json!([2002]), &json!([2005, 2003])));
    let ready: Vec<u64> =
        of_type(&events, "ObjectReady").iter().map(|event| event["id_objet"].as_u64().unwrap()).collect();
    assert_eq!((ready[0], ready.len()), (2002, 3), "{ready:?}");

    let wrong = cluster.ask(&page, &["start", "Projets", "--exclude", "name:Client"]);
    assert_eq!((wrong.code, wrong.out.as_str()), (Some(3), ""), "{}", wrong.err);
    for said in ["did you mean name:Projets?", "did you mean name:Clients?"] {
        assert!(wrong.err.contains(said), "{said}: {}", wrong.err);
    }
    cluster.sound();
}

#[test]
fn old_heartbeats_are_let_go_of() {
    let Some(kafka) = kafka::shared() else { return };
    let cluster = Cluster::new(&kafka.bootstrap(), Place::new());
    let orchestrator = cluster.orchestrate(&["--idle", "--lease", "1s"]);
    let api = orchestrator.api();
    api.ready();
    let members = format!("{}.members", cluster.topic);
    poll("a later start of the members", || (kafka.ends(&members, 0).0 > 0).then_some(()));
    // Whoever comes now learns all the same who leads.
    let ui = cluster.ui();
    let page = ui.page();
    page.ready();
    poll("the leader", || (page.get("/workers")["leader"]["epoch"] == 1).then_some(()));
}
