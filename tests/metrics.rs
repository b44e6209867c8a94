//! What a process tells machines while a run goes on: the gauges of the run, and its log lines.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;

use serde_json::Value;
use support::{Api, Place, ended, poll};

/// A metric without labels; none: it is not there.
fn metric(api: &Api, name: &str) -> Option<f64> {
    let (status, mut body) = api.open("GET", "/metrics", "", "");
    let mut text = String::new();
    body.read_to_string(&mut text).unwrap();
    assert_eq!(status, 200, "{text}");
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// How long the run has been going on, and the least that it had to take.
fn run(api: &Api) -> Option<(f64, f64)> {
    // The bound is read first: the duration grows meanwhile, which is on the safe side of what is asked below.
    let bound = metric(api, "korch_run_lower_bound_seconds")?;
    Some((metric(api, "korch_run_duration_seconds")?, bound))
}

#[test]
fn a_run_is_late_by_what_earlier_runs_took_and_not_by_a_guess() {
    let place = Place::with(&[(1001, vec![]), (3001, vec![1001])]);
    let exec = "until [ -e gate ]; do sleep 0.02; done";
    let korch = place.up(&["--idle", "--exec", exec]);
    let api = korch.api();
    api.ready();
    assert_eq!(run(&api), None, "no run yet");

    // Nobody knows how long this takes: as long as it has taken so far, at least.
    let (_, first) = api.post("/orchestrate");
    poll("a run of a second that is not late", || {
        let (duration, bound) = run(&api)?;
        (duration > 1.0 && duration <= 2.0 * bound).then_some(())
    });
    fs::write(place.path("gate"), "").unwrap();
    let finished = api.finished(first["run_id"].as_str().unwrap());
    let (duration, bound) = run(&api).unwrap();
    assert!(duration >= bound && bound > 0.9, "{duration} {bound}: {finished}");

    // The next one is quick, so quick is what is expected of the one after it.
    let (_, second) = api.post("/orchestrate");
    api.finished(second["run_id"].as_str().unwrap());
    fs::remove_file(place.path("gate")).unwrap();
    api.post("/orchestrate");
    poll("a run that is late", || {
        let (duration, bound) = run(&api)?;
        (duration > 1.0 && duration > 2.0 * bound).then_some(())
    });
    fs::write(place.path("gate"), "").unwrap();
}

/// The sum of the series whose labels have this in them.
fn sum(api: &Api, name: &str, labels: &str) -> f64 {
    let (_, mut body) = api.open("GET", "/metrics", "", "");
    let mut text = String::new();
    body.read_to_string(&mut text).unwrap();
    let of_name =
        text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.split_once("} "));
    of_name.filter(|(of, _)| of.contains(labels)).map(|(_, value)| value.parse::<f64>().unwrap()).sum()
}

#[test]
fn after_a_cancelled_run_nothing_runs_or_waits() {
    let place = Place::with(&[(1001, vec![]), (1002, vec![]), (3001, vec![1001, 1002])]);
    let exec = "until [ -e gate ]; do sleep 0.02; done";
    let korch = place.up(&["--idle", "--exec", exec]);
    let api = korch.api();
    api.ready();
    let (_, run) = api.post("/orchestrate");
    let run = run["run_id"].as_str().unwrap();
    poll("both at work", || (sum(&api, "korch_slots", "state=\"busy\"") == 2.0).then_some(()));
    assert_eq!(sum(&api, "korch_objects", "state=\"waiting\""), 1.0);
    api.post(&format!("/runs/{run}/cancel"));
    api.finished(run);
    assert_eq!(sum(&api, "korch_objects", "state=\"cancelled\""), 3.0);
    assert_eq!(sum(&api, "korch_objects", "state="), 3.0, "no other state has any");
    poll("no slot in use", || (sum(&api, "korch_slots", "state=\"busy\"") == 0.0).then_some(()));
    assert_eq!(sum(&api, "korch_runs_total", "outcome=\"cancelled\""), 1.0);
}

#[test]
fn each_log_line_is_json_and_says_who_writes_it() {
    let place = Place::new();
    let mut command = place.up_command(&["--once", "--delay", "0s", "--log", "info"]);
    command.env_remove("RUST_LOG");
    let ended = ended(command);
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    let lines = ended.err.lines().filter(|line| line.starts_with('{'));
    let lines: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    let producers: BTreeSet<&str> = lines.iter().map(|line| line["producer"].as_str().unwrap()).collect();
    for producer in ["orchestrator", "ingest", "standardize", "application"] {
        assert!(producers.contains(producer), "{producers:?}");
    }
    let one = |event_type: &str| {
        let found = lines.iter().find(|line| line["event_type"] == event_type);
        found.unwrap_or_else(|| panic!("{event_type} in {}", ended.err))
    };
    assert_eq!(one("ObjectFailed")["error"], "test forcé de objectfailed");
    assert_eq!(one("ObjectSkipped")["because"], "2005");
    assert_eq!(one("RunFinished")["outcome"], "failed");
    assert!(one("ObjectLoaded")["duration_seconds"].is_f64());
    assert!(one("ObjectLoaded")["worker"].is_string());
}
