//! `korch up` and the small commands, as real processes.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs;
use std::io::{BufRead, Read};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use support::{DEADLINE, Korch, Place, by_state, ended, is_alive, korch, of_type, poll, sample};

// ---- one run ----

#[test]
fn the_sample_runs_and_says_what_failed() {
    let place = Place::new();
    let start = Instant::now();
    let human = place.up(&["--once"]).end();
    let took = start.elapsed();
    assert_eq!(human.code, Some(4), "{}", human.err);
    let line = |start: &str| human.out.lines().find(|line| line.trim_start().starts_with(start)).unwrap();
    assert!(line("failed   2005").ends_with("test forcé de objectfailed"), "{}", human.out);
    assert!(line("skipped  3007").ends_with("because of 2005"), "{}", human.out);
    assert!(human.out.contains("22 objects: 20 loaded, 1 failed, 1 skipped"), "{}", human.out);
    // 0.5 + 0.6 + 0.8 s of work one after the other.
    assert!(took >= Duration::from_millis(1900) && took < DEADLINE, "{took:?}");

    let json = place.up(&["--once", "--output", "json"]).end();
    assert_eq!(json.code, Some(4), "{}", json.err);
    let summary: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(summary["outcome"], "failed");
    assert_eq!(summary["counts"], json!({"objects": 22, "loaded": 20, "failed": 1, "skipped": 1}));
    assert_eq!(summary["failed"][0]["id"], 2005);
    assert_eq!(summary["failed"][0]["error"], "test forcé de objectfailed");
    assert_eq!(summary["skipped"][0]["id"], 3007);
    assert_eq!(summary["skipped"][0]["because"], json!([2005]));
    let seconds = summary["duration_seconds"].as_f64().unwrap();
    assert!((1.9..DEADLINE.as_secs_f64()).contains(&seconds), "{seconds}");
    let bound = summary["lower_bound_seconds"].as_f64().unwrap();
    assert!(bound >= 1.9 && bound <= seconds, "{bound} of {seconds}");
}

#[test]
fn nothing_fails_where_nothing_is_told_to() {
    let ended = Place::new().up(&["--once", "--fail-ids", "", "--delay", "1ms", "--output", "json"]).end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let summary: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(summary["outcome"], "succeeded");
    assert_eq!(summary["counts"]["loaded"], 22);
}

#[test]
fn a_variable_says_what_its_flag_says() {
    let place = Place::new();
    let mut command = place.up_command(&[]);
    command.env("KORCH_ONCE", "1").env("KORCH_IDLE", "").env("KORCH_FAIL_IDS", "").env("KORCH_DELAY", "0s");
    let ended = ended(command);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
}

#[test]
fn a_bad_catalogue_publishes_nothing() {
    let place = Place::with(&[(1001, vec![]), (2001, vec![2002]), (2002, vec![2001]), (3001, vec![2001, 3001])]);
    let refused = place.up(&["--once"]).end();
    assert_eq!(refused.code, Some(3));
    for said in ["2001 → 2002 → 2001", "3001", "2 problems"] {
        assert!(refused.err.contains(said), "{said}: {}", refused.err);
    }
    assert_eq!(refused.out, "");

    let idle = place.up(&["--idle"]);
    let api = idle.api();
    assert_eq!(api.get("/runs"), json!({"runs": []}));
    assert_eq!(idle.stop().code, Some(130));
    assert!(place.events().iter().all(|event| event["event_type"] == "OrchestratorElected"));
}

// ---- the queue ----

#[test]
fn runs_wait_for_their_turn() {
    let place = Place::with(&[(1001, vec![]), (2001, vec![1001]), (3001, vec![2001])]);
    let korch = place.up(&["--idle", "--delay", "30ms"]);
    let api = korch.api();
    poll("readiness", || (api.get("/health")["status"] == "ok").then_some(()));
    assert_eq!(api.get("/runs"), json!({"runs": []}), "nobody asked for one");
    // The second stands behind the first, so it is not planned before the first is over.
    let ids: Vec<String> = (0..2)
        .map(|_| {
            let (status, answer) = api.post("/orchestrate");
            assert_eq!(status, 202, "{answer}");
            assert_eq!((&answer["status"], &answer["count"]), (&json!("ok"), &json!(3)));
            assert_eq!(answer["order_sample"], json!([1001, 2001, 3001]));
            answer["run_id"].as_str().unwrap().to_owned()
        })
        .collect();
    let [first, second] = [0, 1].map(|i| api.finished(&ids[i]));
    assert_eq!((&first["state"], &second["state"]), (&json!("succeeded"), &json!("succeeded")));
    let at = |run: &Value, field: &str| run[field].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(at(&second, "planned_at") >= at(&first, "finished_at"));
    assert_eq!(korch.stop().code, Some(130));
    let events = place.events();
    assert_eq!(of_type(&events, "RunRequested").len(), 2);
    let finished: Vec<&Value> = of_type(&events, "RunFinished").iter().map(|event| &event["run_id"]).collect();
    assert_eq!(finished, [&json!(ids[0]), &json!(ids[1])]);
}

#[test]
fn a_catalogue_that_turned_bad_is_refused() {
    let place = Place::with(&[(1001, vec![]), (3001, vec![1001])]);
    let korch = place.up(&["--idle"]);
    let api = korch.api();
    fs::write(place.catalogue(), r#"[{"IdObjet": 1001}, {"IdObjet": 1001}, {"IdObjet": "x"}]"#).unwrap();
    let (status, answer) = api.post("/orchestrate");
    assert_eq!(status, 422, "{answer}");
    assert!(answer["problems"].as_array().unwrap().len() >= 2, "{answer}");
    assert_eq!(api.get("/runs"), json!({"runs": []}));
}

#[test]
fn a_taken_port_stops_only_who_serves() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let args = ["--listen", &address, "--ui-listen", "off", "--data-dir", "log", "--delay", "1ms"];
    let run = |extra: &[&str]| {
        let mut command = korch(&["up"]);
        command.args(args).args(extra).current_dir(place.dir.path());
        ended(command)
    };
    let refused = run(&[]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("--listen") && refused.err.contains(&address), "{}", refused.err);
    let once = run(&["--once"]);
    assert_eq!(once.code, Some(4), "{}", once.err);
    assert!(once.err.contains(&format!("no API on {address}")), "{}", once.err);
    assert!(once.out.contains("20 loaded"), "{}", once.out);
}
