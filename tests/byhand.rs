//! What people do to runs by hand, with everything in one process. `tests/byhand_kafka.rs` does the same on Kafka.
#![allow(clippy::unwrap_used, missing_docs)]

#[macro_use]
#[path = "support/byhand.rs"]
mod byhand;
mod support;

use byhand::Site;
use serde_json::{Value, json};
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

#[test]
fn what_cannot_be_read_is_refused_with_what_to_write() {
    let place = byhand::two_chains();
    let up = place.up(&["--idle", "--delay", "0s"]);
    let api = up.api();
    api.ready();
    let refused = |path: &str, body: Value, text: &str| {
        let (status, problem) = api.post_json(path, &body);
        assert_eq!(status, 400, "{body}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(text), "{body}: {problem}");
    };
    for (body, text) in [
        (json!({ "backoff": "soon" }), "500ms, 10s or 15m"),
        (json!({ "backoff": 10 }), "string"),
        (json!({ "timeout": "0s" }), "longer than 0s"),
        (json!({ "on_failure": "never" }), "never"),
        (json!({ "limits": ["source=Sage"] }), "KEY=VALUE:N"),
        (json!({ "limits": ["source=Sage:0"] }), "at least 1"),
        (json!({ "limits": [format!("source={}:1", "x".repeat(250))] }), "250 characters"),
        (json!({ "from": [1001] }), "from"),
    ] {
        refused("/orchestrate", body, text);
    }
    let (_, accepted) = api.post("/orchestrate");
    let run = accepted["run_id"].as_str().unwrap();
    api.finished(run);
    for (body, text) in [
        (json!({ "fresh": "1h" }), "fresh"),
        (json!({ "from": ["x"] }), "whole numbers"),
        (json!({ "from": [-1] }), "whole number"),
    ] {
        refused(&format!("/runs/{run}/retry"), body, text);
    }
    refused(&format!("/runs/{run}/objects/1001/mark"), json!({ "state": "skipped" }), "skipped");
    for args in [
        &["mark", "1001", "loaded"][..],
        &["mark", "1001", "skipped", "--because", "x"],
        &["start", "--limit", "source=Sage"],
        &["start", "--on-failure", "never"],
        &["retry", "--fresh", "1h"],
        &["up", "--backoff", "soon"],
    ] {
        assert_eq!(support::ended(support::korch(args)).code, Some(2), "{args:?}");
    }
    up.stop();
}
