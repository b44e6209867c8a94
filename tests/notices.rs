//! Notices with a real receiver: who is told what, how often, and that nobody who is told is ever in the way.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/kafka/mod.rs"]
mod kafka;
#[path = "support/receiver.rs"]
mod receiver;
mod support;

use std::fs;
use std::io::Read;

use cluster::Cluster;
use receiver::{Nobody, Posted, Receiver, Reply};
use serde_json::{Value, json};
use support::{Api, Place, poll};

/// A receiver that takes everything.
fn content() -> Receiver {
    Receiver::start(|_| Reply::text(200, "ok"))
}

/// The notices of a type.
fn of_type(posted: &[Posted], wanted: &str) -> Vec<Value> {
    posted.iter().map(Posted::json).filter(|notice| notice["type"] == wanted).collect()
}

/// What became of so many notices, as this process counts.
fn count(api: &Api, result: &str) -> u64 {
    let (_, mut body) = api.open("GET", "/metrics", "", "");
    let mut text = String::new();
    body.read_to_string(&mut text).unwrap();
    let series = format!("korch_notices_total{{result=\"{result}\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&series));
    value.unwrap_or_else(|| panic!("{series} in {text}")).parse().unwrap()
}

#[test]
fn the_end_of_a_run_and_each_failure_are_told_once() {
    let place = Place::new();
    let (first, second) = (content(), content());
    let args = ["--once", "--delay", "1ms", "--notify", &first.url("/a?b=c"), "--notify", &second.url("/")];
    let ended = place.up(&args).end();
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    assert_eq!(first.posted().len(), 2);
    let bodies =
        |receiver: &Receiver| receiver.posted().into_iter().map(|posted| posted.body).collect::<Vec<_>>();
    assert_eq!(bodies(&first), bodies(&second));

    let posted = first.posted();
    let (failed, finished) = (posted[0].json(), posted[1].json());
    let run = finished["run_id"].as_str().unwrap();
    assert!(ended.out.contains(run));
    assert_eq!(failed["type"], "object-failed");
    assert_eq!((failed["run_id"].as_str(), failed["id_objet"].as_u64()), (Some(run), Some(2005)));
    assert_eq!((&failed["name"], &failed["stage"]), (&json!("Temps passé"), &json!("standardize")));
    assert_eq!((&failed["error"], &failed["attempts"]), (&json!("test forcé de objectfailed"), &json!(1)));
    assert_eq!(failed["text"], "korch: 2005 Temps passé (standardize) failed: test forcé de objectfailed");
    assert!(failed["at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());

    assert_eq!((&finished["type"], &finished["outcome"]), (&json!("run-finished"), &json!("failed")));
    assert_eq!(
        finished["counts"],
        json!({"objects": 22, "loaded": 20, "failed": 1, "skipped": 1, "degraded": 0, "reused": 0})
    );
    assert_eq!((&finished["reason"], &finished["failed_more"]), (&Value::Null, &json!(0)));
    assert_eq!(finished["failed"][0]["id_objet"], 2005);
    assert_eq!(finished["failed"].as_array().unwrap().len(), 1);
    let text = finished["text"].as_str().unwrap();
    let expected = format!("korch: run {run} failed: 20 of 22 objects loaded, 1 failed, 1 skipped, in ");
    assert!(text.starts_with(&expected), "{text}");
    assert!(finished["duration_seconds"].is_f64());

    assert_eq!((posted[0].method.as_str(), posted[0].path.as_str()), ("POST", "/a?b=c"));
    assert_eq!(posted[0].header("content-type"), Some("application/json"));
    assert_eq!(posted[0].header("authorization"), None);
    assert_eq!(posted[0].header("idempotency-key"), Some(format!("{run}/2005/object-failed").as_str()));
    assert_eq!(posted[1].header("idempotency-key"), Some(format!("{run}/run-finished").as_str()));
}

#[test]
fn a_run_names_its_first_failures_and_counts_the_rest() {
    let ids: Vec<u64> = (1001..1031).collect();
    let sources = ids.iter().map(|id| (*id, vec![])).collect::<Vec<_>>();
    let place = Place::with(&[sources, vec![(3001, ids.clone())]].concat());
    let receiver = content();
    let exec = "echo 'no\ttable' >&2; exit 3";
    let ended = place.up(&["--once", "--exec", exec, "--notify", &receiver.url("/")]).end();
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    let posted = receiver.posted();
    let finished = &of_type(&posted, "run-finished")[0];
    assert_eq!(finished["failed"].as_array().unwrap().len(), 20);
    assert_eq!(finished["failed_more"], 10);
    let failed = of_type(&posted, "object-failed");
    assert_eq!(failed.len(), 30);
    assert!(
        failed[0]["text"].as_str().unwrap().ends_with("(ingest) failed: exit code 3: no table"),
        "{}",
        failed[0]
    );
}

#[test]
fn history_is_not_told_again() {
    let place = Place::new();
    let receiver = content();
    let args = ["--once", "--delay", "1ms", "--notify", &receiver.url("/")];
    place.up(&args).end();
    assert_eq!(receiver.posted().len(), 2);
    let ended = place.up(&[&args[..], &["--fail-ids", ""]].concat()).end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let posted = receiver.posted();
    assert_eq!(posted.len(), 3);
    assert!(ended.out.contains(posted[2].json()["run_id"].as_str().unwrap()));
    assert_eq!(posted[2].json()["outcome"], "succeeded");
}

#[test]
fn a_run_that_is_refused_is_told_with_its_reason() {
    let place = Place::with(&[(1001, vec![]), (3001, vec![1001])]);
    let receiver = content();
    let exec = "until [ -e gate ]; do sleep 0.02; done";
    let korch = place.up(&["--exec", exec, "--notify", &receiver.url("/")]);
    let api = korch.api();
    poll("a run that goes on", || (api.get("/runs")["runs"][0]["state"] == "running").then_some(()));
    // The second run waits for its turn, and then its catalogue is none.
    assert_eq!(api.post("/orchestrate").0, 202);
    fs::write(place.catalogue(), "no catalogue").unwrap();
    fs::write(place.path("gate"), "").unwrap();
    let posted = receiver.wait_for(2);
    assert_eq!(posted[0].json()["outcome"], "succeeded");
    let notice = posted[1].json();
    assert_eq!((&notice["outcome"], &notice["reason"]), (&json!("failed"), &json!("bad-catalogue")));
    assert!(notice["text"].as_str().unwrap().contains(" failed (bad-catalogue): "), "{notice}");
}

#[test]
fn a_receiver_that_stumbles_is_told_again_and_one_that_refuses_is_not() {
    let place = Place::new();
    let stumbles = Receiver::start(|posted| Reply::of(if posted.before < 2 { 500 } else { 200 }));
    let refuses = Receiver::start(|_| Reply::of(404));
    let redirects = Receiver::start(|_| Reply::of(307).with("location", "/elsewhere"));
    let korch = place.up(&[
        "--fail-ids",
        "",
        "--delay",
        "1ms",
        "--notify",
        &[stumbles.url("/"), refuses.url("/secret"), redirects.url("/secret")].join(","),
    ]);
    let posted = stumbles.wait_for(3);
    assert!(posted.iter().all(|posted| posted.body == posted_body(&stumbles)));
    let api = korch.api();
    poll("what became of them", || (count(&api, "sent") == 1 && count(&api, "failed") == 2).then_some(()));
    assert_eq!(count(&api, "dropped"), 0);
    assert_eq!((stumbles.posted().len(), refuses.posted().len(), redirects.posted().len()), (3, 1, 1));
    let ended = korch.stop();
    let says = format!("a notice is given up: http://{} answers 404 Not Found", refuses.address);
    assert!(ended.err.contains(&says), "{}", ended.err);
    assert!(!ended.err.contains("secret"), "{}", ended.err);
}

fn posted_body(receiver: &Receiver) -> String {
    receiver.posted()[0].body.clone()
}

#[test]
fn a_receiver_that_hangs_or_is_away_is_in_nobody_s_way() {
    let place = Place::new();
    let (hangs, nobody, told) = (Receiver::hanging(), Nobody::there(), content());
    let away = format!("http://{}/secret", nobody.address);
    let args =
        ["--delay", "1ms", "--notify", &hangs.url("/secret"), "--notify", &away, "--notify", &told.url("/")];
    let korch = place.up(&args);
    let api = korch.api();
    api.first_run_over();
    assert_eq!(told.wait_for(2).len(), 2);
    let (_, run) = api.post("/orchestrate");
    api.finished(run["run_id"].as_str().unwrap());
    assert_eq!(told.wait_for(4).len(), 4);
    assert_eq!(korch.stop().code, Some(130));

    let ended = place.up(&[&["--once"], &args[..]].concat()).end();
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    assert_eq!(told.posted().len(), 6);
    for address in [&hangs.address, &nobody.address] {
        let says = format!("2 notices to http://{address} are not sent: korch ends");
        assert!(ended.err.contains(&says), "{}", ended.err);
    }
    assert!(!ended.err.contains("secret"), "{}", ended.err);
}

#[test]
fn too_many_that_wait_push_out_the_oldest() {
    let ids: Vec<u64> = (1001..1151).collect();
    let sources = ids.iter().map(|id| (*id, vec![])).collect::<Vec<_>>();
    let place = Place::with(&[sources, vec![(3001, ids.clone())]].concat());
    let fail: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let hangs = Receiver::hanging();
    let korch = place.up(&["--delay", "0s", "--fail-ids", &fail.join(","), "--notify", &hangs.url("/")]);
    let api = korch.api();
    // 150 failures and the end: one is under way or was pushed out before, a hundred wait.
    poll("what is dropped", || (count(&api, "dropped") >= 50).then_some(()));
    hangs.wait_for(1);
    assert!(count(&api, "dropped") <= 51);
    assert!(korch.has_said(&["does not keep up", &hangs.address]));
}

#[test]
fn a_token_comes_from_a_file_or_a_variable() {
    let place = Place::new();
    let receiver = content();
    let args = ["--once", "--delay", "1ms", "--fail-ids", ""];
    fs::write(place.path("token"), "of-the-file\n").unwrap();
    place.up(&[&args[..], &["--notify", &receiver.url("/"), "--notify-token-file", "token"]].concat()).end();
    let mut command = place.up_command(&args);
    command.env("KORCH_NOTIFY", receiver.url("/")).env("KORCH_NOTIFY_TOKEN", "of-the-variable");
    support::ended(command);
    let tokens: Vec<_> =
        receiver.posted().iter().map(|posted| posted.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(tokens, ["Bearer of-the-file", "Bearer of-the-variable"]);
}

#[test]
fn an_address_that_is_none_is_refused_at_the_start() {
    let place = Place::new();
    for url in ["hooks.example/secret", "http://h/,ftp://secret", "https://me:secret@hooks.example"] {
        let ended = place.up(&["--once", "--notify", url]).end();
        assert_eq!(ended.code, Some(2), "{url}: {}", ended.err);
        assert!(ended.err.contains("--notify") && !ended.err.contains("secret"), "{}", ended.err);
    }
    assert_eq!(place.events().len(), 0);
    let mut command = place.up_command(&["--once", "--delay", "0s", "--fail-ids", ""]);
    command.env("KORCH_NOTIFY", "");
    let ended = support::ended(command);
    assert_eq!(ended.code, Some(0), "an empty variable says that nobody is told: {}", ended.err);
}

#[test]
fn of_two_orchestrators_the_leader_tells_and_nothing_is_lost_between_two() {
    let Some(kafka) = kafka::shared() else { return };
    let place = Place::with(&[(1001, vec![]), (2001, vec![]), (3001, vec![1001, 2001])]);
    let cluster = Cluster::new(&kafka.bootstrap(), place);
    let (of_first, of_second) = (content(), content());
    let exec = format!("{}; exit 1", cluster::GATED);
    let _workers = cluster.workers(&["--lease", "60s", "--exec", &exec]);
    let first = cluster.orchestrate(&["--notify", &of_first.url("/")]);
    first.said("leading");
    let second = cluster.orchestrate(&["--notify", &of_second.url("/")]);
    second.api().ready();
    let posted = of_first.wait_for(1);
    assert_eq!((of_type(&posted, "object-failed")[0]["id_objet"].as_u64(), posted.len()), (Some(1001), 1));
    assert_eq!(of_second.posted().len(), 0);

    // 2001 fails while nobody leads.
    assert!(first.kill());
    cluster.open_the_gate();
    cluster.happened("ObjectFailed", |event| event["id_objet"] == 2001);
    let finished = poll("the end of the run", || of_type(&of_second.posted(), "run-finished").pop());
    assert_eq!(finished["outcome"], "failed");
    let failed = of_type(&of_second.posted(), "object-failed");
    assert!(failed.iter().any(|notice| notice["id_objet"] == 2001), "{failed:?}");
    assert_eq!(of_first.posted().len(), 1);
}
