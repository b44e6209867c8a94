//! A run that is run again where it failed.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::{Korch, Place, by_state, korch, of_type};

mod support;

/// Loads what fails only once: 2005 fails where there is no file of its name, and makes it.
const ONCE: &str = "if [ $KORCH_OBJECT_ID = 2005 ] && mkdir $KORCH_OBJECT_ID 2>/dev/null; then exit 3; fi";

fn ids(run: &Value, state: &str) -> BTreeSet<u64> {
    by_state(run).remove(state).unwrap_or_default()
}

fn first_run(place: &Place) -> (Korch, String) {
    let up = place.up(&["--idle", "--exec", ONCE]);
    let (status, accepted) = up.api().post("/orchestrate");
    assert_eq!(status, 202);
    let run = accepted["run_id"].as_str().unwrap().to_owned();
    up.api().finished(&run);
    (up, run)
}

#[test]
fn what_failed_and_what_was_skipped_for_it_runs_again_and_nothing_else() {
    let place = Place::new();
    let (up, run) = first_run(&place);
    let api = up.api();
    let before = api.get(&format!("/runs/{run}"));
    assert_eq!((ids(&before, "failed"), ids(&before, "skipped")), ([2005].into(), [3007].into()));

    let (status, accepted) = api.post_json(&format!("/runs/{run}/retry"), &json!({ "requested_by": "moi" }));
    assert_eq!((status, &accepted["count"]), (202, &json!(2)), "{accepted}");
    assert_eq!((&accepted["retry_of"], &accepted["order_sample"]), (&json!(run), &json!([2005, 3007])));
    let retry = accepted["run_id"].as_str().unwrap();
    let after = api.finished(retry);
    assert_eq!((&after["state"], &after["retry_of"]), (&json!("succeeded"), &json!(run)));
    assert_eq!((&after["requested_by"], ids(&after, "loaded")), (&json!("moi"), [2005, 3007].into()));

    // What is loaded by now cannot fail again; the old run stays what it was.
    let (status, problem) = api.post(&format!("/runs/{retry}/retry"));
    assert_eq!(status, 409, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("nothing failed"), "{problem}");
    assert_eq!(api.get(&format!("/runs/{run}"))["state"], "failed");
    up.stop();
    let events = place.events();
    let requests = of_type(&events, "RunRequested");
    assert_eq!(requests.last().unwrap()["retry_of"], json!(run));
    let again = of_type(&events, "ObjectReady");
    let again: Vec<&Value> =
        again.iter().filter(|event| event["run_id"] == retry).map(|event| &event["id_objet"]).collect();
    assert_eq!(again, [&json!(2005), &json!(3007)]);
}

#[test]
fn a_retry_takes_the_entry_as_it_is_now() {
    let place = Place::new();
    let (up, run) = first_run(&place);
    let mended =
        std::fs::read_to_string(place.catalogue()).unwrap().replace("temps.parquet", "mended.parquet");
    std::fs::write(place.catalogue(), mended).unwrap();
    let (_, accepted) = up.api().post(&format!("/runs/{run}/retry"));
    up.api().finished(accepted["run_id"].as_str().unwrap());
    up.stop();
    let events = place.events();
    let ready = of_type(&events, "ObjectReady");
    let of_2005: Vec<&Value> = ready
        .iter()
        .filter(|event| event["id_objet"] == 2005)
        .map(|event| &event["meta"]["NomFichier"])
        .collect();
    assert_eq!(of_2005, [&json!("temps.parquet"), &json!("mended.parquet")]);
}

#[test]
fn what_cannot_be_retried_is_said() {
    let place = Place::new();
    let up = place.up(&["--idle", "--delay", "60s"]);
    let api = up.api();
    let nobody = "01a20eb6-ab01-71b5-a19e-d27e993dca0c";
    assert_eq!(api.post(&format!("/runs/{nobody}/retry")).0, 404);
    assert_eq!(api.post("/runs/latest/retry").0, 404);
    let (_, accepted) = api.post("/orchestrate");
    let run = accepted["run_id"].as_str().unwrap();
    let (status, problem) = api.post(&format!("/runs/{run}/retry"));
    assert_eq!(status, 409, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("not over"), "{problem}");
    // Cancelled before anything failed: nothing to retry.
    api.post(&format!("/runs/{run}/cancel"));
    api.finished(run);
    assert_eq!(api.post(&format!("/runs/{run}/retry")).0, 409);
    assert_eq!(api.post_json(&format!("/runs/{run}/retry"), &json!({ "from": 2002 })).0, 400);
    up.stop();
}

#[test]
fn the_command_retries_and_follows() {
    let place = Place::new();
    let (up, run) = first_run(&place);
    let server = format!("http://{}", up.api().address);
    let ended = support::ended(korch(&["retry", &run, "--follow", "--server", &server]));
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.contains("succeeded"), "{}", ended.out);
    let nothing = support::ended(korch(&["retry", "--server", &server]));
    assert_ne!(nothing.code, Some(0));
    assert!(nothing.err.contains("nothing failed"), "{}", nothing.err);
    up.stop();
}
