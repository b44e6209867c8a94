//! `korch simulate`: a run on a virtual clock.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;

use serde_json::{Value, json};

mod support;

use support::{Ended, Place, ended, korch};

/// Three sources, two standardized, two final: 1001 and 1002 → 2001 → 3001, 1003 → 2002 → 3002, 2001 → 3002.
fn place() -> Place {
    let place = Place::with(&[
        (1001, vec![]),
        (1002, vec![]),
        (1003, vec![]),
        (2001, vec![1001, 1002]),
        (2002, vec![1003]),
        (3001, vec![2001]),
        (3002, vec![2001, 2002]),
    ]);
    fs::write(
        place.path("d.csv"),
        "id,seconds\n1001,10\n1002,20s\n1003,30\n2001,5\n2002,5\n3001,60\n3002,1m\n",
    )
    .unwrap();
    place
}

fn simulate(place: &Place, args: &[&str]) -> Ended {
    let mut command = korch(&["simulate"]);
    command.args(args).current_dir(place.dir.path());
    ended(command)
}

fn told(place: &Place, args: &[&str]) -> Value {
    let ended = simulate(place, &[args, &["--output", "json"]].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    serde_json::from_str(&ended.out).unwrap()
}

fn object(told: &Value, id: u64) -> &Value {
    told["objects"].as_array().unwrap().iter().find(|object| object["id"] == id).unwrap()
}

#[test]
fn a_run_is_told_with_all_that_it_hangs_on() {
    let place = place();
    let told = told(&place, &["--durations", "d.csv", "--slots", "ingest=2,1"]);
    // 1003 has the longest path, but what 3001 needs comes first: then the one slot for final objects has work after 25 s.
    assert_eq!(told["makespan_ms"], 145_000);
    assert_eq!((&told["lower_bound_ms"], &told["measured"]), (&json!(120_000), &json!(7)));
    assert_eq!(told["proven_bound_ms"], 145_000, "nothing final can begin before 25 s");
    assert_eq!((&told["outcome"], &told["busiest"]), (&json!("succeeded"), &json!("application")));
    let path: Vec<u64> = told["critical_path"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| object["id"].as_u64().unwrap())
        .collect();
    assert_eq!((path, &told["critical_path_ms"]), (vec![1003, 2002, 3002], &json!(95_000)));
    let more = &told["one_slot_more"][2];
    assert_eq!(
        (&more["stage"], &more["slots"], &more["makespan_ms"]),
        (&json!("application"), &json!(2), &json!(100_000))
    );
    assert_eq!(
        (&object(&told, 1003)["start_ms"], &object(&told, 3001)["start_ms"]),
        (&json!(10_000), &json!(25_000))
    );
    assert_eq!(told["stages"][2]["busy_ms"], 120_000);
    let ends = told["objects"].as_array().unwrap().iter().map(|object| object["end_ms"].as_u64().unwrap());
    assert_eq!(ends.max(), told["makespan_ms"].as_u64());

    let text = simulate(&place, &["--durations", "d.csv", "--slots", "ingest=2", "--slots", "1"]).out;
    for part in [
        "Would run      7 objects: ingest 3, standardize 2, application 2",
        "Takes          2m25s",
        "At best        2m00s (× 1.208)",
        "Ends           succeeded: 7 loaded, 0 failed, 0 skipped",
        "Critical path  1m35s: 1003 Objet 1003 → 2002 Objet 2002 → 3002 Objet 3002",
        "1→2: −31.0 %, 1m40s ← busiest",
    ] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}

#[test]
fn a_failure_is_no_error_and_goes_by_the_policy() {
    let place = place();
    let counts = |args: &[&str]| {
        let told = told(&place, args);
        ["loaded", "failed", "skipped", "degraded"].map(|state| told["counts"][state].as_u64().unwrap())
    };
    assert_eq!(counts(&["--fail", "1003"]), [4, 1, 2, 0]);
    assert_eq!(counts(&["--fail", "1003", "--on-failure", "continue"]), [6, 1, 0, 2]);
    assert_eq!(counts(&["--fail", "1003", "--on-failure", "stop", "--slots", "1"]), [3, 1, 3, 0]);
    assert_eq!(counts(&["--fail", "2001,2002"]), [3, 2, 2, 0]);
    let failed = told(&place, &["--fail", "1003", "--durations", "d.csv"]);
    assert_eq!((&failed["outcome"], &object(&failed, 3002)["state"]), (&json!("failed"), &json!("skipped")));
    assert_eq!(failed["makespan_ms"], 85_000, "what was skipped takes no time");
    assert_eq!(told(&place, &["+3001"])["objects"].as_array().unwrap().len(), 4);
}

#[test]
fn a_limit_holds_a_run_up() {
    let place = place();
    let limited = told(&place, &["--durations", "d.csv", "--limit", "stage=ingest:1"]);
    assert_eq!(
        limited["makespan_ms"], 125_000,
        "30, 10 and 20 s of sources one after the other, then 5 and 60 s"
    );
    assert_eq!(limited["limits"], json!(["stage=ingest:1"]));
}

#[test]
fn durations_may_come_from_a_run_and_what_is_strange_is_said() {
    let place = place();
    let run = json!({"run": {"objects": [{"id": 1001, "attempts": [{"duration_seconds": 7.5}]}]}});
    fs::write(place.path("run.json"), run.to_string()).unwrap();
    let told_of = told(&place, &["--durations", "run.json"]);
    assert_eq!((&told_of["measured"], &object(&told_of, 1001)["takes_ms"]), (&json!(1), &json!(7_500)));
    assert_eq!(object(&told_of, 1002)["takes_ms"], 7_500, "as those of its stage");
    assert_eq!(object(&told_of, 2001)["takes_ms"], 600, "as usual");

    fs::write(place.path("strange.json"), r#"{"1001": 1, "4001": 1, "4002": 2}"#).unwrap();
    let strange = told(&place, &["--durations", "strange.json", "--fail", "9"]);
    let warnings = strange["warnings"].to_string();
    assert!(warnings.contains("names 2 objects that would not run, such as 4001"), "{warnings}");
    assert!(warnings.contains("--fail names 1 object that would not run, such as 9"), "{warnings}");
}

#[test]
fn what_is_wrong_is_named() {
    let place = place();
    fs::write(place.path("bad.csv"), "1001,1\n1002,soon\n").unwrap();
    fs::write(place.path("bad.json"), r#"{"1001": -1}"#).unwrap();
    for (args, code, part) in [
        (["--durations", "bad.csv"], 2, "--durations bad.csv:2: \"soon\" is no duration"),
        (["--durations", "bad.json"], 2, "bad.json: entry \"1001\": -1 is no duration"),
        (["--durations", "none.json"], 2, "none.json cannot be read"),
        (["--slots", "ingst=2"], 2, "unknown stage"),
        (["--slots", "0"], 2, "write 8, or ingest=8,application=2"),
        (["--limit", "x"], 2, "KEY=VALUE:N"),
        (["--on-failure", "wait"], 2, "it is skip, stop or continue"),
        (["--file", "none.json"], 3, "none.json"),
    ] {
        let ended = simulate(&place, &args);
        assert_eq!(ended.code, Some(code), "{args:?}: {}", ended.err);
        assert!(ended.err.contains(part), "{args:?}: {}", ended.err);
        assert!(ended.out.is_empty());
    }
    fs::write(place.path("delays.csv"), "x").unwrap();
    let up = ended(place.up_command(&["--once", "--delays", "delays.csv"]));
    assert_eq!(up.code, Some(2), "{}", up.err);
    assert!(up.err.contains("--delays delays.csv:1: "), "{}", up.err);
}
