//! A real Kafka for the tests: brokers of their own, or one that all tests of a process share.
//!
//! A test that needs one includes this beside the other support, and begins with
//!
//! ```ignore
//! mod support;
//! #[path = "support/kafka/mod.rs"]
//! mod kafka;
//!
//! let Some(kafka) = kafka::shared() else { return };
//! ```
//!
//! Java and Maven are what it takes. Where they are missing the test says so and passes; with
//! `KORCH_TEST_KAFKA=required`, as the checks have it, it fails. `KORCH_TEST_BOOTSTRAP` names a broker
//! that runs already, to be shared in place of our own.

#![allow(dead_code, unused_imports, clippy::unwrap_used, missing_docs)]

mod client;
mod install;
mod jvm;
mod mock;
mod node;
mod ports;
mod proxy;
mod security;
mod stranger;

use std::io::Write;
use std::sync::OnceLock;

pub use client::{Client, Record, unique_topic};
pub use mock::{Api, Mock, Refusal};
pub use node::Kafka;
pub use ports::Port;
pub use proxy::Proxy;
pub use security::{PASSWORD, Security, USER};
pub use stranger::{OldConsumer, failed, loaded};

/// Whether there is what a broker needs. If not, says that the test does not run, or fails it where it must.
pub fn here() -> bool {
    match install::libraries() {
        Ok(_) => {
            Kafka::keep_classes();
            true
        }
        Err(why) => {
            not_run(why);
            false
        }
    }
}

fn not_run(why: &str) {
    let required = std::env::var("KORCH_TEST_KAFKA").is_ok_and(|value| value == "required");
    assert!(!required, "no Kafka here, and KORCH_TEST_KAFKA=required: {why}");
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // Past the capture of a test's output: nobody reads what a passing test prints.
    let mut stderr = std::io::stderr();
    let _ = writeln!(
        stderr,
        "NOT RUN: {test}: no Kafka here ({why}); KORCH_TEST_KAFKA=required makes this a failure"
    );
}

/// The broker that all tests of this process share: each has its own topics. It starts with the first who asks.
pub fn shared() -> Option<&'static Client> {
    static RUNNING: OnceLock<Client> = OnceLock::new();
    static OURS: OnceLock<Kafka> = OnceLock::new();
    if let Some(bootstrap) = std::env::var("KORCH_TEST_BOOTSTRAP").ok().filter(|value| !value.is_empty()) {
        return Some(RUNNING.get_or_init(|| Client::new(bootstrap)));
    }
    // A static never drops. The broker ends all the same: see `jvm`.
    here().then(|| &**OURS.get_or_init(|| Kafka::start().unwrap()))
}
