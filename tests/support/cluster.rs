//! korch as many processes that meet in one topic of a Kafka. A file that uses it has `mod support` and `mod kafka` too.

#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::kafka::{Client, unique_topic};
use crate::support::{Api, Korch, Place, by_state, korch, poll};

/// A lease that a busy machine keeps, and a test need not wait long for.
pub const LEASE: &str = "2s";

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
}
