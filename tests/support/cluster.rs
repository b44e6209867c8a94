//! korch as many processes that meet in one topic of a Kafka. A file that uses it has `mod support` and `mod kafka` too.

#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use std::process::Command;

use serde_json::Value;

use crate::kafka::{Client, unique_topic};
use crate::support::{Korch, Place, korch};

/// A lease that a busy machine keeps, and a test need not wait long for.
pub const LEASE: &str = "2s";

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
}
