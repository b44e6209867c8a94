//! What dies, pauses or is cut off in the middle of a run: somebody else goes on, and nothing is lost or done again.
//!
//! The short form is part of every check. `KORCH_LONG=1` kills more often and holds the figures to what is promised.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/kafka/mod.rs"]
mod kafka;
mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cluster::{Cluster, Sound, after, bound, random, size, terminate};
use jiff::Timestamp;
use rustix::process::Signal;
use serde_json::Value;
use support::{Api, Korch, Place, by_state, poll};

/// A topic with three partitions: an election is complete when it stands in each.
fn cluster(kafka: &kafka::Client, place: Place) -> Cluster {
    let cluster = Cluster::new(&kafka.bootstrap(), place);
    cluster.kafka.create_topic(&cluster.topic, 3);
    cluster
}

/// A worker for each stage that takes its time, and is never taken for dead.
fn slow_workers(cluster: &Cluster, slots: &str, delay: &str) -> [Korch; 3] {
    cluster.workers(&["--lease", "60s", "--slots", slots, "--delay", delay])
}

/// The sample's outcome, told by a page that was not there.
fn ended_as_the_sample_does(cluster: &Cluster) -> Sound {
    let sound = cluster.sound();
    assert_eq!(sound.of("RunRequested").len(), 1);
    let ends = sound.of("RunFinished");
    assert_eq!(ends.len(), 1);
    assert_eq!(ends[0]["outcome"], "failed");
    let page = cluster.ui();
    let page = page.page();
    page.ready();
    assert_eq!(page.get("/runs")["runs"].as_array().unwrap().len(), 1);
    let run = page.get("/runs/latest");
    let states = by_state(&run);
    assert_eq!(states["loaded"].len(), 20, "{states:?}");
    assert_eq!(states["failed"], [2005].into());
    assert_eq!(states["skipped"], [3007].into());
    sound
}

/// The epochs of the elections of one partition, in order.
fn epochs(sound: &Sound) -> Vec<u64> {
    let mut epochs: Vec<u64> =
        sound.of("OrchestratorElected").iter().map(|event| event["epoch"].as_u64().unwrap()).collect();
    epochs.dedup();
    epochs
}

/// Who leads, as this API knows.
fn led(api: &Api) -> Option<u64> {
    let leader = &api.get("/workers")["leader"];
    (leader["led"] == true).then(|| leader["epoch"].as_u64().unwrap())
}

/// The last run, without its objects.
fn last_run(api: &Api) -> Value {
    api.get("/runs?limit=1")["runs"][0].clone()
}

/// A run that always gives its leader something to decide, so that whatever happens to the leader seldom finds it idle.
struct Busy {
    cluster: Cluster,
    objects: u64,
    _workers: [Korch; 3],
}

impl Busy {
    const LEASE: Duration = Duration::from_secs(1);

    /// With so many objects that it is not over before the last of the interruptions: the slots allow for four hundred
    /// a second, on any machine.
    fn new(kafka: &kafka::Client, interruptions: u64) -> Busy {
        let finals = 600 * (interruptions + 1);
        let mut entries: Vec<(u64, Vec<u64>)> = (1000..1100).map(|id| (id, vec![])).collect();
        entries.extend((0..finals).map(|i| (3000 + i, vec![1000 + i % 100])));
        let cluster = cluster(kafka, Place::with(&entries));
        let args = ["--lease", "60s", "--slots", "4", "--delay", "20ms"];
        let workers = ["ingest", "application", "application"].map(|stage| cluster.worker(stage, &args));
        Busy { cluster, objects: finals + 100, _workers: workers }
    }

    fn start(&self) -> Korch {
        self.cluster.orchestrate(&["--lease", "1s"])
    }

    /// Everything is loaded at the first try, once; all know it, and nobody led after the last who is known to.
    fn ends_well(&self, orchestrators: &[Korch], epoch: u64) {
        for korch in orchestrators {
            let run = poll("the end of the run", || {
                Some(last_run(&korch.api())).filter(|run| !run["finished_at"].is_null())
            });
            assert_eq!(run["state"], "succeeded");
            assert_eq!(run["counts"]["loaded"], self.objects);
        }
        let sound = self.cluster.sound();
        sound.nothing_was_tried_twice();
        let epochs = epochs(&sound);
        assert_eq!(epochs.last(), Some(&epoch), "{epochs:?}");
        eprintln!("epochs {epochs:?}, {} events void of {}", sound.void, sound.void + sound.events.len());
    }
}

// ---- a worker dies ----

#[test]
fn what_a_killed_worker_held_goes_to_another() {
    let Some(kafka) = kafka::shared() else { return };
    let lease = Duration::from_secs(2);
    let mut took = Vec::new();
    for _ in 0..size(1, 10) {
        let mut entries: Vec<(u64, Vec<u64>)> = (1001..1013).map(|id| (id, vec![])).collect();
        entries.push((3001, (1001..1013).collect()));
        let cluster = cluster(kafka, Place::with(&entries));
        let args = ["--lease", "60s", "--slots", "2", "--delay", "100ms"];
        let _others = ["ingest", "ingest", "application"].map(|stage| cluster.worker(stage, &args));
        // Whatever the machine does, it is in mid-object when it is killed.
        let victim = cluster.worker("ingest", &["--name", "victim", "--slots", "2", "--delay", "10m"]);
        cluster.workers_up(4);
        let korch = cluster.orchestrate(&["--once"]);
        let of_victim = |event: &Value| event["worker"] == "victim";
        poll("the victim's work", || {
            let events = cluster.events();
            let count =
                events.iter().filter(|event| event["event_type"] == "ObjectAssigned" && of_victim(event));
            (count.count() == 2).then_some(())
        });
        let killed = Timestamp::now();
        assert!(victim.kill());
        let ended = korch.end();
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        assert!(ended.out.contains("13 loaded"), "{}", ended.out);

        let sound = cluster.sound();
        let held: BTreeSet<u64> = sound
            .of("ObjectAssigned")
            .into_iter()
            .filter(|event| of_victim(event))
            .map(|event| event["id_objet"].as_u64().unwrap())
            .collect();
        assert_eq!(held.len(), 2);
        for id in 1001..1013 {
            let of = |event_type: &str, attempt: u64| {
                let all = sound.of(event_type);
                all.into_iter().find(|event| event["id_objet"] == id && event["attempt"] == attempt)
            };
            if !held.contains(&id) {
                assert!(of("ObjectReady", 2).is_none(), "{id} was nobody's who died");
                continue;
            }
            let again = of("ObjectReady", 2).unwrap();
            assert_eq!(again["cause"], "worker-lost");
            assert_ne!(of("ObjectAssigned", 2).unwrap()["worker"], "victim");
            assert!(of("ObjectLoaded", 1).is_none() && of("ObjectLoaded", 2).is_some());
            assert!(of("ObjectReady", 3).is_none());
            took.push(after(killed, again));
        }
    }
    eprintln!("from the kill to the next offer: {took:?}");
    let most = took.iter().max().unwrap();
    assert!(*most <= bound(lease + Duration::from_secs(1)), "{took:?}");
}

// ---- an orchestrator dies ----

#[test]
fn a_run_survives_every_kill_of_its_orchestrator() {
    let Some(kafka) = kafka::shared() else { return };
    let mut random = random();
    let kills = size(4, 25);
    let (mut killed, mut leading) = (0, 0);
    while killed < kills {
        let cluster = cluster(kafka, Place::new());
        let _workers = slow_workers(&cluster, "1", "150ms");
        let start = || cluster.orchestrate(&["--lease", "1s"]);
        // One that starts after the end would start another run.
        while killed < kills && !cluster.has("RunFinished") {
            let korch = start();
            if killed == 0 || random.u32(..4) > 0 {
                korch.said("leading");
                leading += 1;
                std::thread::sleep(Duration::from_millis(random.u64(..150)));
            } else {
                // From before it knows a topic to somewhere in its wait for the last leader's leases.
                std::thread::sleep(Duration::from_millis(random.u64(..2_500)));
            }
            assert!(korch.kill(), "it ended by itself after {killed} kills");
            killed += 1;
        }
        if !cluster.has("RunFinished") {
            let _last = start();
            cluster.happened("RunFinished", |_| true);
        }
        let sound = ended_as_the_sample_does(&cluster);
        eprintln!("killed {killed} times, {leading} times while it led; epochs {:?}", epochs(&sound));
    }
}

#[test]
fn a_busy_leader_may_be_killed_anywhere() {
    let Some(kafka) = kafka::shared() else { return };
    let mut random = random();
    let kills = size(1, 12);
    let busy = Busy::new(kafka, kills);
    let mut candidates = vec![busy.start()];
    let mut epoch = poll("a leader", || led(&candidates[0].api()));
    busy.cluster.happened("ObjectLoaded", |_| true);
    for _ in 0..kills {
        // Two stand by, so two claim at the same time.
        while candidates.len() < 3 {
            candidates.push(busy.start());
            let api = candidates.last().unwrap().api();
            api.ready();
            poll("a view of who leads", || (led(&api) == Some(epoch)).then_some(()));
        }
        std::thread::sleep(Duration::from_millis(random.u64(..300)));
        let leads = |korch: &Korch| korch.has_said(&["\"leading\"", &format!("\"epoch\":{epoch}")]);
        let at = poll("the one that leads", || candidates.iter().position(leads));
        let leader = candidates.remove(at);
        assert_eq!(last_run(&leader.api())["state"], "running", "the kill was to be in the middle");
        assert!(leader.kill());
        let apis: Vec<Api> = candidates.iter().map(Korch::api).collect();
        epoch = poll("one leader for both", || {
            let [one, other] = [led(&apis[0])?, led(&apis[1])?];
            (one > epoch && one == other).then_some(one)
        });
    }
    busy.ends_well(&candidates, epoch);
}

#[test]
fn a_standby_takes_over_from_a_killed_leader() {
    let Some(kafka) = kafka::shared() else { return };
    let lease = Duration::from_secs(1);
    let cluster = cluster(kafka, Place::new());
    let _workers = slow_workers(&cluster, "1", size("300ms", "4s"));
    // An unfinished run goes on under whoever leads next, so neither needs to be idle.
    let start = || cluster.orchestrate(&["--lease", "1s"]);
    let mut leader = start();
    let mut epoch = poll("a leader", || led(&leader.api()));
    let mut took = Vec::new();
    for _ in 0..size(1, 8) {
        let standby = start();
        let api = standby.api();
        api.ready();
        assert_eq!(led(&api), Some(epoch), "it sees who leads");
        cluster.happened("RunPlanned", |_| true);
        let killed = Timestamp::now();
        assert!(leader.kill());
        epoch = poll("the standby's reign", || led(&api).filter(|new| *new > epoch));
        let elected = cluster.happened("OrchestratorElected", |event| event["epoch"] == epoch);
        took.push(after(killed, &elected));
        assert!(!cluster.has("RunFinished"), "the run was to be in the middle");
        leader = standby;
    }
    let run = leader.api().finished("latest");
    assert_eq!(run["state"], "failed");
    let sound = ended_as_the_sample_does(&cluster);
    // Each partition tells of every reign once, in order.
    let epochs = epochs(&sound);
    assert!(epochs.is_sorted() && *epochs.last().unwrap() == epoch, "{epochs:?}");
    assert_eq!(sound.of("OrchestratorElected").len(), 3 * epochs.len());
    eprintln!("from the kill to the election: {took:?}");
    assert!(*took.iter().max().unwrap() <= bound(2 * lease + Duration::from_secs(1)), "{took:?}");
}

#[test]
fn a_leader_that_is_told_to_go_hands_over_at_once() {
    let Some(kafka) = kafka::shared() else { return };
    let mut took = Vec::new();
    for _ in 0..size(1, 5) {
        let cluster = cluster(kafka, Place::new());
        let _workers = slow_workers(&cluster, "1", "150ms");
        // No lease that could end is the reason.
        let start = || cluster.orchestrate(&["--lease", "60s"]);
        let leader = start();
        let epoch = poll("a leader", || led(&leader.api()));
        let standby = start();
        let api = standby.api();
        api.ready();
        cluster.happened("ObjectLoaded", |_| true);
        let told = Timestamp::now();
        let ended = terminate(leader);
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        assert_eq!(api.finished("latest")["state"], "failed");
        let sound = ended_as_the_sample_does(&cluster);
        sound.nothing_was_tried_twice();
        assert_eq!(epochs(&sound), [epoch, epoch + 1]);
        let elected = sound.of("OrchestratorElected").into_iter().rfind(|event| event["epoch"] == epoch + 1);
        took.push(after(told, elected.unwrap()));
    }
    eprintln!("from the signal to the election: {took:?}");
    assert!(*took.iter().max().unwrap() <= bound(Duration::from_secs(1)), "{took:?}");
}

#[test]
fn a_standby_does_not_run_it_all_again() {
    let Some(kafka) = kafka::shared() else { return };
    let cluster = cluster(kafka, Place::new());
    let _workers = slow_workers(&cluster, "1", "150ms");
    let leader = cluster.orchestrate(&["--once"]);
    poll("a leader", || led(&leader.api()));
    let standby = cluster.orchestrate(&["--once"]);
    standby.api().ready();
    cluster.happened("ObjectLoaded", |_| true);
    let ended = leader.end();
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    // It saw that run, so that run is the one that it was started for.
    let theirs = standby.end();
    assert_eq!(
        (theirs.code, theirs.out.lines().next()),
        (Some(4), ended.out.lines().next()),
        "{}",
        theirs.err
    );
    assert_eq!(cluster.sound().of("RunRequested").len(), 1);
}

// ---- a leader pauses ----

#[test]
fn a_leader_that_was_paused_stands_by() {
    let Some(kafka) = kafka::shared() else { return };
    let mut random = random();
    let rounds = size(1, 8);
    let busy = Busy::new(kafka, rounds);
    let first = busy.start();
    let mut epoch = poll("a leader", || led(&first.api()));
    let second = busy.start();
    second.api().ready();
    busy.cluster.happened("ObjectLoaded", |_| true);
    let (mut leader, mut standby) = (first, second);
    for _ in 0..rounds {
        // Anywhere in what it does.
        std::thread::sleep(Duration::from_millis(random.u64(..500)));
        let paused = Instant::now();
        leader.signal(Signal::STOP);
        let api = standby.api();
        epoch = poll("the standby's reign", || led(&api).filter(|new| *new > epoch));
        poll("three leases", || (paused.elapsed() > 3 * Busy::LEASE).then_some(()));
        assert_eq!(last_run(&api)["state"], "running", "the pause was to be in the middle");
        leader.signal(Signal::CONT);
        // It says so, goes on to serve, and sees who leads.
        leader.said("standing by");
        let theirs = leader.api();
        poll("the paused one's view", || (led(&theirs) == Some(epoch)).then_some(()));
        std::mem::swap(&mut leader, &mut standby);
    }
    let both = [leader, standby];
    busy.ends_well(&both, epoch);
    // Told to go, both go.
    for korch in both {
        let ended = terminate(korch);
        assert_eq!(ended.code, Some(0), "{}", ended.err);
    }
}
