//! What people do to runs by hand, with everything in one process. `tests/byhand_kafka.rs` does the same on Kafka.
#![allow(clippy::unwrap_used, missing_docs)]

#[macro_use]
#[path = "support/byhand.rs"]
mod byhand;
mod support;

use byhand::Site;
use support::{Korch, Place};

struct Embedded(Place);

impl Site for Embedded {
    fn place(&self) -> &Place {
        &self.0
    }

    fn start(&self, rules: &[&str], work: &[&str]) -> Vec<Korch> {
        vec![self.0.up(&[&["--idle"], rules, work].concat())]
    }
}

fn site(place: Place) -> Option<Embedded> {
    Some(Embedded(place))
}

scenarios!(site);
