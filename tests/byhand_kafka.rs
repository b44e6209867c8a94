//! What people do to runs by hand, with as many processes as there are roles, on Kafka. `tests/byhand.rs` does the same in one
//! process.
#![allow(clippy::unwrap_used, missing_docs)]

#[macro_use]
#[path = "support/byhand.rs"]
mod byhand;
#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/kafka/mod.rs"]
mod kafka;
mod support;

use byhand::Site;
use cluster::Cluster;
use support::{Korch, Place};

impl Site for Cluster {
    fn place(&self) -> &Place {
        &self.place
    }

    fn start(&self, rules: &[&str], work: &[&str]) -> Vec<Korch> {
        // Nobody is to be taken for dead here, however busy the machine is.
        let lease = ["--lease", "30s"];
        let orchestrator = self.orchestrate(&[&["--idle"], &lease[..], rules].concat());
        let workers = self.workers(&[&lease[..], work].concat());
        std::iter::once(orchestrator).chain(workers).collect()
    }

    fn check(&self) {
        self.sound();
    }
}

fn site(place: Place) -> Option<Cluster> {
    Some(Cluster::new(&kafka::shared()?.bootstrap(), place))
}

scenarios!(site);
