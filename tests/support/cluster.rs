//! korch as many processes that meet in one topic of a Kafka. A file that uses it has `mod support` and `mod kafka` too.

#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::time::Duration;

use jiff::Timestamp;
use korch::domain::audit::Audit;
use korch::domain::event::{self, Event};
use rustix::process::Signal;
use serde_json::Value;

use crate::kafka::{Client, Record, unique_topic};
use crate::support::{Api, Ended, Korch, Place, by_state, ended, korch, poll};

/// A lease that a busy machine keeps, and a test need not wait long for.
pub const LEASE: &str = "2s";

/// How much of it: `KORCH_LONG` asks for the long form of a test, which takes minutes and is strict with the clock.
pub fn is_long() -> bool {
    std::env::var("KORCH_LONG").is_ok_and(|value| !value.is_empty())
}

/// What the short form takes, or the long one.
pub fn size<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}

/// The bound for something that is to take no longer than this. In the short form the machine may be busy with
/// everything else, so only what is out of all proportion fails.
pub fn bound(strict: Duration) -> Duration {
    size(5, 1) * strict
}

/// A seed: `KORCH_SEED`, or any.
pub fn random() -> fastrand::Rng {
    let seed = std::env::var("KORCH_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    eprintln!("KORCH_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// What a worker's `--exec` runs so that objects of the stage `standardize` wait until [`Cluster::open_the_gate`]: whatever
/// a test does before that, it does in mid-run.
pub const GATED: &str = "if [ $KORCH_STAGE = standardize ]; then until [ -e gate ]; do sleep 0.02; done; fi";

/// A catalogue, a Kafka and a topic of its own.
pub struct Cluster {
    pub place: Place,
    pub kafka: Client,
    pub topic: String,
    pub bootstrap: String,
}

impl Cluster {
    pub fn new(bootstrap: &str, place: Place) -> Cluster {
        Cluster {
            place,
            kafka: Client::new(bootstrap.to_owned()),
            topic: unique_topic(),
            bootstrap: bootstrap.to_owned(),
        }
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = korch(args);
        command.current_dir(self.place.dir.path());
        command.env("KORCH_KAFKA", &self.bootstrap).env("KORCH_TOPIC", &self.topic);
        command.env("KORCH_LEASE", LEASE);
        command
    }

    /// `korch orchestrate` with an API on a free port.
    pub fn orchestrate(&self, args: &[&str]) -> Korch {
        let mut command = self.command(&["orchestrate", "--listen", "127.0.0.1:0"]);
        command.args(args);
        Korch::start(command)
    }

    /// `korch worker` for a stage, at work.
    pub fn worker(&self, stage: &str, args: &[&str]) -> Korch {
        let mut command = self.command(&["worker", "--stage", stage]);
        command.args(args);
        let worker = Korch::start(command);
        worker.said("at work");
        worker
    }

    /// A worker for each stage.
    pub fn workers(&self, args: &[&str]) -> [Korch; 3] {
        ["ingest", "standardize", "application"].map(|stage| self.worker(stage, args))
    }

    /// `korch ui` on a free port; its API is reached as [`Korch::page`].
    pub fn ui(&self) -> Korch {
        Korch::start(self.command(&["ui", "--listen", "127.0.0.1:0"]))
    }

    /// Every event of the topic, in order within each partition.
    pub fn events(&self) -> Vec<Value> {
        self.kafka.read_all(&self.topic)
    }

    /// As above, of a topic that has something else in it too.
    pub fn events_that_are_json(&self) -> Vec<Value> {
        let records = self.kafka.records(&self.topic);
        let values = records.iter().filter_map(|record| record.value.as_deref());
        values.filter_map(|value| serde_json::from_slice(value).ok()).collect()
    }

    /// What the members said.
    pub fn members(&self) -> Vec<Value> {
        self.kafka.read_all(&format!("{}.members", self.topic))
    }

    /// Lets go what waits in [`GATED`].
    pub fn open_the_gate(&self) {
        fs::write(self.place.path("gate"), "").unwrap();
    }

    /// Waits until so many objects of the one run are at work; returns the run.
    pub fn in_mid_run(&self, api: &Api, running: usize) -> String {
        poll("objects at work", || {
            let run = api.get("/runs")["runs"][0]["run_id"].as_str()?.to_owned();
            let states = by_state(&api.get(&format!("/runs/{run}")));
            (states.get("running").is_some_and(|ids| ids.len() >= running)).then_some(run)
        })
    }

    /// Runs a command that asks an API.
    pub fn ask(&self, api: &Api, args: &[&str]) -> Ended {
        let mut command = self.command(args);
        command.args(["--server", &format!("http://{}", api.address)]);
        ended(command)
    }

    /// Waits until so many workers have said that they are up.
    pub fn workers_up(&self, count: usize) {
        poll("the workers", || {
            let members = self.members();
            let up: BTreeSet<&str> = members
                .iter()
                .filter(|member| member["member_type"] == "Worker" && member["state"] == "up")
                .map(|member| member["instance"].as_str().unwrap())
                .collect();
            (up.len() >= count).then_some(())
        });
    }

    /// Waits until an event of this type is in the log.
    pub fn happened(&self, event_type: &str, test: impl Fn(&Value) -> bool) -> Value {
        poll(event_type, || {
            self.events().into_iter().find(|event| event["event_type"] == event_type && test(event))
        })
    }

    /// Whether an event of this type is in the log.
    pub fn has(&self, event_type: &str) -> bool {
        self.events().iter().any(|event| event["event_type"] == event_type)
    }

    /// The events that count, in an order that every reader agrees with, once all the laws of the log hold for them.
    pub fn sound(&self) -> Sound {
        Sound::read(&self.kafka.records(&self.topic))
    }
}

/// What a log tells.
pub struct Sound {
    /// The events that count: those of a leader that was deposed before they came do not.
    pub events: Vec<Value>,
    /// How many did not.
    pub void: usize,
}

impl Sound {
    fn read(records: &[Record]) -> Sound {
        let mut partitions: BTreeMap<i32, Vec<&Record>> = BTreeMap::new();
        for record in records {
            partitions.entry(record.partition).or_default().push(record);
        }
        for records in partitions.values_mut() {
            records.reverse();
        }
        // The heads merged by their times: whoever wrote because of an event was stamped after all that precedes it, for
        // all stamps are of one clock.
        let at =
            |record: &Record| record.json()["event_datetime"].as_str().unwrap().parse::<Timestamp>().unwrap();
        let (mut events, mut void) = (Vec::new(), 0);
        let mut elected: BTreeMap<i32, u64> = BTreeMap::new();
        let mut audit = Audit::default();
        while let Some(records) = partitions
            .values_mut()
            .filter(|records| !records.is_empty())
            .min_by_key(|records| at(records[records.len() - 1]))
        {
            let record = records.pop().unwrap();
            let place = event::Place {
                partition: u32::try_from(record.partition).unwrap(),
                offset: u64::try_from(record.offset).unwrap(),
            };
            let decoded =
                Event::decode(record.value.as_deref().unwrap(), place, Timestamp::UNIX_EPOCH).unwrap();
            audit.observe(place, &decoded);
            let event = record.json();
            let elected = elected.entry(record.partition).or_default();
            if let Some(epoch) = event["epoch"].as_u64() {
                if epoch < *elected {
                    void += 1;
                    continue;
                }
                if event["event_type"] == "OrchestratorElected" {
                    *elected = epoch;
                }
            }
            events.push(event);
        }
        assert_eq!(audit.violations(), [""; 0], "the log breaks a law");
        assert_eq!(audit.void(), void);
        let sound = Sound { events, void };
        sound.nothing_runs_again();
        sound
    }

    /// What the audit leaves open, in plain words: one assignment an attempt, one end a run, and no loaded object is
    /// offered or assigned again.
    fn nothing_runs_again(&self) {
        let (mut assigned, mut loaded, mut over) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for event in &self.events {
            let run = event["run_id"].as_str();
            let object = (run, event["id_objet"].as_u64());
            match event["event_type"].as_str().unwrap() {
                "ObjectAssigned" => {
                    assert!(!loaded.contains(&object), "assigned after it was loaded: {event}");
                    assert!(assigned.insert((object, event["attempt"].as_u64())), "assigned twice: {event}");
                }
                "ObjectReady" => assert!(!loaded.contains(&object), "offered after it was loaded: {event}"),
                "ObjectLoaded" => {
                    loaded.insert(object);
                }
                "RunFinished" => assert!(over.insert(run), "a second end: {event}"),
                _ => {}
            }
        }
    }

    /// The events of a type, in order.
    pub fn of(&self, event_type: &str) -> Vec<&Value> {
        crate::support::of_type(&self.events, event_type)
    }

    /// No attempt is anything but the first, and no object was answered twice.
    pub fn nothing_was_tried_twice(&self) {
        let mut answered = BTreeSet::new();
        for event in &self.events {
            assert!(event["attempt"].as_u64().unwrap_or(1) == 1, "another attempt: {event}");
            if matches!(event["event_type"].as_str(), Some("ObjectLoaded" | "ObjectFailed")) {
                assert!(answered.insert(event["id_objet"].as_u64()), "answered twice: {event}");
            }
        }
    }
}

/// When an event was written, by the clock of whoever wrote it.
pub fn written(event: &Value) -> Timestamp {
    event["event_datetime"].as_str().unwrap().parse().unwrap()
}

/// How long after `since` an event was written.
pub fn after(since: Timestamp, event: &Value) -> Duration {
    Duration::try_from(written(event).duration_since(since)).unwrap_or_default()
}

/// SIGTERM, and the exit code that follows.
pub fn terminate(korch: Korch) -> Ended {
    korch.signal(Signal::TERM);
    korch.end()
}
