//! The API over real HTTP on the loopback: what is asked, and what is answered.

#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::{Method, StatusCode};
use jiff::Timestamp;
use korch::api::{Preview, Refused};
use korch::domain::event::{Assigned, Body, Counts, Event, Finished, Outcome, Ready, RunId, Skipped};
use korch::domain::member::{Heartbeat, Member, Reign, WorkerState};
use korch::domain::object::{ObjectId, Stage};
use korch::domain::plan::Missing;
use korch::log::{Log, NewRecord, Record};
use korch::planning::Planning;
use serde_json::{Value, json, value::RawValue};
use serving::*;
use uuid::Uuid;

#[path = "support/serving.rs"]
mod serving;

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_asked_for_and_planned() {
    let server = Server::start(TestLog::new("log", 3), None, false).await;
    plan_all(&server);
    for body in ["", "{}", r#"{"targets":["3001","+3002",3003],"requested_by":"me"}"#] {
        let reply = server.post("/orchestrate", body).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{}", reply.body);
        let accepted = reply.json();
        assert_eq!(accepted["status"], "ok");
        assert_eq!(accepted["count"], 4);
        assert_eq!(accepted["order_sample"], json!([1001, 1002, 2001, 3001]));
        assert_eq!(accepted["run_id"].as_str().unwrap().parse::<Uuid>().unwrap().get_version_num(), 7);
    }
    let events = server.json("/events/last?limit=1000").await;
    let requests: Vec<&Value> = events["last_events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["event_type"] == "RunRequested")
        .collect();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().any(|event| event["requested_by"] == "api" && event["targets"] == json!([])));
    assert!(
        requests.iter().any(
            |event| event["requested_by"] == "me" && event["targets"] == json!(["3001", "+3002", "3003"])
        )
    );
    let runs = server.json("/runs").await;
    assert_eq!(runs["runs"].as_array().unwrap().len(), 3);
    assert_eq!(runs["runs"][0]["requested_by"], "me", "the newest comes first");
    assert_eq!(server.json("/runs?limit=1").await["runs"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_nobody_plans_stays_in_the_log() {
    let server = Server::start(TestLog::new("log", 3), None, false).await;
    let accepted = server.post("/orchestrate", "").await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED);
    let accepted = accepted.json();
    assert_eq!((&accepted["count"], &accepted["order_sample"]), (&Value::Null, &json!([])));
    let runs = server.json("/runs").await;
    let run = &runs["runs"][0];
    assert_eq!((&run["run_id"], &run["state"]), (&accepted["run_id"], &json!("queued")));
    let keys: Vec<&String> = run.as_object().unwrap().keys().collect();
    let mut expected = [
        "run_id",
        "state",
        "requested_by",
        "requested_at",
        "planned_at",
        "finished_at",
        "reason",
        "counts",
        "retry_of",
        "selection",
        "scheduled_for",
        "paused_by",
        "paused_at",
        "rules",
        "fresh",
        "duration_seconds",
    ];
    expected.sort_unstable();
    let mut keys = keys;
    keys.sort_unstable();
    assert_eq!(keys, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn selectors_are_looked_at_before_a_run_is_asked_for() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Objets.json").into();
    let planning = Planning { file, missing: Missing::Error };
    let server = Server::start(TestLog::new("log", 1), Some(planning.preview()), false).await;
    let body = r#"{"targets":["Projets",3050,"3001,3005"],"exclude":["foo:x","source:SAP",3050.0]}"#;
    let problem = server.post("/orchestrate", body).await.problem(422);
    let told: Vec<String> = problem["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| {
            format!("{} ({})", problem["message"].as_str().unwrap(), problem["hint"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        told,
        [
            "the selector \"Projets\", character 1: \"Projets\" is no id (did you mean name:Projets? An id is a number: 3005)",
            "the exclusion \"foo:x\", character 1: \"foo:\" is no method (The methods are stage:, source:, criticality: and name:; an id stands alone: 3005)",
            "the target 3050 is not in the catalogue (did you mean 3005?)",
            "the selector \"3001,3005\" leaves nothing: no object is in all of its parts (a,b is what is in both; write a b for what is in either)",
            "the exclusion \"source:SAP\" matches nothing (no active object has such a NomSource)",
            "the target 3050 is not in the catalogue (did you mean 3005?)",
        ]
    );
    assert_eq!(problem["problems"][2]["id"], "3050");
    assert!(problem["detail"].as_str().unwrap().ends_with(": 6 problems"), "{problem}");
    let problem = server.post("/orchestrate", r#"{"exclude":["name:*"]}"#).await.problem(422);
    assert!(problem["detail"].as_str().unwrap().contains("the selection is empty"), "{problem}");
    assert_eq!(Log::ends(&server.log).await.unwrap(), [0], "nothing was published");

    plan_all(&server);
    let body = r#"{"targets":["+3005 2006",3001],"exclude":["stage:ingest",2002]}"#;
    let accepted = server.post("/orchestrate", body).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{}", accepted.body);
    let events = server.json("/events/last?limit=1000").await;
    let events = events["last_events"].as_array().unwrap();
    let asked = events.iter().find(|event| event["event_type"] == "RunRequested").unwrap();
    assert_eq!(
        (&asked["targets"], &asked["exclude"]),
        (&json!(["+3005 2006", "3001"]), &json!(["stage:ingest", "2002"]))
    );
    let runs = server.json("/runs").await;
    assert_eq!(runs["runs"][0]["selection"], "+3005 2006 3001 --exclude stage:ingest --exclude 2002");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_catalogue_lists_its_problems() {
    let problems = r#"[{"message":"a"},{"message":"b"}]"#;
    let raw: Arc<RawValue> = Arc::from(RawValue::from_string(problems.into()).unwrap());
    let refused = Refused { text: "two problems".into(), problems: raw.clone() };
    let bad = Arc::new(AtomicBool::new(true));
    let preview: Preview = Arc::new({
        let bad = bad.clone();
        move |_, _| if bad.load(Ordering::Relaxed) { Err(refused.clone()) } else { Ok(world()) }
    });
    let server = Server::start(TestLog::new("log", 1), Some(preview), false).await;
    let problem = server.post("/orchestrate", "").await.problem(422);
    assert_eq!(problem["problems"], json!([{ "message": "a" }, { "message": "b" }]));
    assert_eq!(problem["detail"], "two problems");
    assert_eq!(Log::ends(&server.log).await.unwrap(), [0], "nothing was published");
    server.get("/dag").await.problem(422);
    bad.store(false, Ordering::Relaxed);
    assert_eq!(server.json("/dag").await, json!({ "nodes": 4, "edges": 3 }));

    // The catalogue went bad between the look at it and the plan.
    let (view, log) = (server.view.clone(), server.log.clone());
    tokio::spawn(async move {
        let asked = |known: &korch::view::Known| Some(known.history.active()?.id);
        let run = view.wait_for(Duration::from_secs(5), asked).await.unwrap();
        let finished = Finished {
            outcome: Outcome::Failed,
            reason: Some("bad-catalogue".into()),
            counts: Counts::default(),
            duration_seconds: 0.1,
            problems: Some(raw),
        };
        let body = Body::RunFinished(finished);
        let event = Event { at: Timestamp::now(), run: Some(run), epoch: Some(1), body };
        Log::append(&log, vec![NewRecord::of(&event)]).await.unwrap();
    });
    let problem = server.post("/orchestrate", "").await.problem(422);
    assert_eq!(problem["problems"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_all_that_happened_in_it() {
    let server = Server::start(TestLog::new("log", 3), None, false).await;
    server.get("/dag").await.problem(404);
    server.get("/runs/latest").await.problem(404);
    let run = RunId(Uuid::now_v7());
    let instance = Uuid::from_u128(7);
    let offered = |id: u64| {
        Body::ObjectReady(Ready {
            object: ObjectId(id),
            attempt: 1,
            cause: None,
            degraded: Vec::new(),
            entry: None,
        })
    };
    let assigned = |id: u64| {
        let (object, worker) = (ObjectId(id), "w1".into());
        Body::ObjectAssigned(Assigned {
            object,
            attempt: 1,
            worker,
            instance,
            timeout: None,
            degraded: Vec::new(),
            entry: None,
        })
    };
    server.write(run, Some(1), plan(world())).await;
    for id in [1001, 1002] {
        server.write(run, Some(1), offered(id)).await;
        server.write(run, Some(1), assigned(id)).await;
    }
    let heartbeat = Heartbeat {
        foreign: false,
        worker: "w1".into(),
        instance,
        stages: vec![Stage::Ingest],
        slots: 8,
        state: WorkerState::Up,
        lease_ms: 10_000,
        epoch: 1,
        read_to: vec![0],
        running: Vec::new(),
    };
    let silent =
        Heartbeat { worker: "w2".into(), instance: Uuid::from_u128(8), lease_ms: 0, ..heartbeat.clone() };
    let reign =
        Reign { epoch: 1, instance: Uuid::from_u128(9), lease_ms: 10_000, gone: false, drains: vec![] };
    assert_eq!(server.json("/workers").await, json!({ "leader": null, "workers": [] }));
    let members = [Member::Worker(heartbeat), Member::Worker(silent), Member::Leader(reign)];
    let records: Vec<Arc<Record>> = (0..)
        .zip(&members)
        .map(|(offset, member)| Arc::new(Record::new(0, offset, 0, Bytes::new(), member.encode().into())))
        .collect();
    server.view.fold_members(&records, Some(Instant::now()), Duration::from_secs(10));
    tokio::time::sleep(Duration::from_millis(2)).await;
    let workers = server.json("/workers").await;
    assert_eq!(workers["leader"]["epoch"], 1);
    assert_eq!(workers["leader"]["led"], true);
    assert!(workers["leader"]["silent_seconds"].as_f64().unwrap() < 5.0);
    let worker = &workers["workers"][0];
    assert_eq!(
        (&worker["state"], &worker["slots"], &worker["stages"]),
        (&json!("up"), &json!(8), &json!(["ingest"]))
    );
    let running: Vec<&Value> =
        worker["running"].as_array().unwrap().iter().map(|held| &held["id_objet"]).collect();
    assert_eq!(running, [1001, 1002]);
    assert_eq!(workers["workers"][1]["state"], "silent");

    let metrics = server.get("/metrics").await;
    assert_eq!(metrics.status, StatusCode::OK);
    assert!(metrics.header("content-type").starts_with("text/plain"));

    server.write(run, None, Body::ObjectFailed(answer(1001, Some(MARKUP)))).await;
    let because = vec![ObjectId(1001)];
    let skipped = Body::ObjectSkipped(Skipped { object: ObjectId(2001), attempt: 1, because });
    server.write(run, Some(1), skipped).await;
    let running = server.json("/runs/latest").await;
    assert_eq!(running["state"], "running");
    assert!(running["duration_seconds"].as_f64().unwrap() >= 0.0);
    assert_eq!(
        running["counts"],
        json!({ "objects": 4, "loaded": 0, "failed": 1, "skipped": 1, "degraded": 0, "reused": 0 })
    );
    let states = |run: &Value| -> Vec<String> {
        let objects = run["objects"].as_array().unwrap();
        objects.iter().map(|object| object["state"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(states(&running), ["failed", "running", "skipped", "waiting"]);
    let failed = &running["objects"][0];
    assert_eq!(failed["name"], MARKUP);
    let attempt = &failed["attempts"][0];
    assert_eq!((&attempt["error"], &attempt["stderr"]), (&json!(MARKUP), &json!("the end")));
    assert_eq!((&attempt["worker"], &attempt["retryable"]), (&json!("w1"), &json!(false)));
    assert_eq!(attempt["started_at"], "1970-01-01T00:00:00.000000Z");
    assert_eq!(attempt["ready_at"].as_str().unwrap().len(), 27, "microseconds");
    assert_eq!(running["objects"][1]["name"], Value::Null);
    assert_eq!(running["objects"][2]["because"], json!([1001]));
    assert!(running["objects"][3].get("because").is_none());

    // With some objects only, and why one does not run.
    let some = server.json(&format!("/runs/{run}?state=failed,running")).await;
    assert_eq!(states(&some), ["failed", "running"]);
    assert_eq!(some["objects"][0]["name"], MARKUP);
    let none = server.json("/runs/active?state=").await;
    assert_eq!((&none["run_id"], &none["objects"]), (&json!(run), &json!([])));
    assert_eq!(none["stages"][0]["objects"], 2);
    assert_eq!(none["stages"][0]["failed"], 1);
    server.get(&format!("/runs/{run}?state=nonsense")).await.problem(400);
    let explained = server.json("/runs/active/explain/3001").await;
    assert_eq!(explained["object"]["state"], "waiting");
    let chain = &explained["chains"][0];
    assert_eq!((&chain["via"][0]["id"], &chain["culprit"]["id"]), (&json!(2001), &json!(1001)));
    assert_eq!((&chain["culprit"]["state"], &chain["culprit"]["error"]), (&json!("failed"), &json!(MARKUP)));
    assert_eq!(explained["chains"][1]["culprit"]["state"], "running");
    server.get("/runs/active/explain/4711").await.problem(404);
    server.get("/runs/active/explain/abc").await.problem(404);
    server.get(&format!("/runs/{}/explain/1001", Uuid::now_v7())).await.problem(404);

    // The graph, in its three forms.
    assert_eq!(server.json("/dag").await, json!({ "nodes": 4, "edges": 3 }));
    let dag = server.json("/dag/json").await;
    assert_eq!(dag["nodes"][0], json!({ "id": 1001, "label": MARKUP, "type": "ingest" }));
    assert_eq!(dag["nodes"][1]["label"], "1002");
    assert_eq!(dag["edges"][0], json!({ "source": 1001, "target": 2001 }));
    let dot = server.get("/dag/dot").await;
    assert!(dot.body.starts_with("digraph") && dot.body.contains("  1001 -> 2001;\n"), "{}", dot.body);
    assert!(dot.body.contains(r#"\"q\" \\ \n é""#), "{}", dot.body);

    // Its end by somebody's wish.
    let path = format!("/runs/{run}/cancel");
    assert_eq!(server.post(&path, "").await.status, StatusCode::ACCEPTED);
    server.settle().await;
    assert!(server.view.read(|known| known.history.run(run).unwrap().cancel.is_some()));
    let counts = Counts { objects: 4, loaded: 0, failed: 1, skipped: 1, ..Counts::default() };
    let finished = Finished {
        outcome: Outcome::Cancelled,
        reason: Some("me".into()),
        counts,
        duration_seconds: 1.5,
        problems: None,
    };
    server.write(run, Some(1), Body::RunFinished(finished)).await;
    let over = server.json(&format!("/runs/{run}")).await;
    assert_eq!((&over["state"], &over["duration_seconds"]), (&json!("cancelled"), &json!(1.5)));
    assert_eq!(states(&over), ["failed", "cancelled", "skipped", "cancelled"]);
    server.post(&path, "").await.problem(409);
    server.get("/runs/active").await.problem(404);
    assert_eq!(server.json(&format!("/runs/{run}/explain/3001")).await["object"]["state"], "not-run");
    server.post(&format!("/runs/{}/cancel", Uuid::now_v7()), "").await.problem(404);
    server.post("/runs/nonsense/cancel", "").await.problem(404);
    server.get("/runs/nonsense").await.problem(404);
    server.get(&format!("/runs/{}", Uuid::now_v7())).await.problem(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_runs_are_a_line_each() {
    let server = Server::start(TestLog::new("log", 1), None, false).await;
    let runs: Vec<RunId> = (0..25).map(|_| RunId(Uuid::now_v7())).collect();
    for run in &runs {
        server.write(*run, Some(1), plan(world())).await;
        let finished = Finished {
            outcome: Outcome::Succeeded,
            reason: None,
            counts: Counts { objects: 4, loaded: 4, ..Counts::default() },
            duration_seconds: 2.0,
            problems: None,
        };
        server.write(*run, Some(1), Body::RunFinished(finished)).await;
    }
    let listed = server.json("/runs").await;
    let ids: Vec<&str> =
        listed["runs"].as_array().unwrap().iter().map(|run| run["run_id"].as_str().unwrap()).collect();
    let expected: Vec<String> = runs.iter().rev().map(ToString::to_string).collect();
    assert_eq!(ids, expected);
    let oldest = server.json(&format!("/runs/{}", runs[0])).await;
    assert_eq!((&oldest["state"], &oldest["objects"]), (&json!("succeeded"), &json!([])));
    server.post(&format!("/runs/{}/cancel", runs[0]), "").await.problem(409);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_request_is_a_problem() {
    let server = Server::start(TestLog::new("log", 1), None, false).await;
    server.get("/nowhere").await.problem(404);
    server.get("/").await.problem(404);
    let wrong = server.get("/orchestrate").await;
    wrong.problem(405);
    assert_eq!(wrong.header("allow"), "POST");
    for body in [
        "{",
        "[]",
        "7",
        r#"{"target":["3001"]}"#,
        r#"{"targets":"3001"}"#,
        r#"{"targets":[{}]}"#,
        r#"{"exclude":"3001"}"#,
        r#"{"exclude":[null]}"#,
    ] {
        server.post("/orchestrate", body).await.problem(400);
    }
    let form = [("content-type", "text/plain")];
    server.ask(Method::POST, "/orchestrate", &form, "{}").await.problem(415);
    server.ask(Method::POST, "/orchestrate", &[], "{}").await.problem(415);
    let large = format!(r#"{{"requested_by":"{}"}}"#, "x".repeat(256 * 1024));
    server.post("/orchestrate", &large).await.problem(413);
    for limit in ["0", "1001", "-1", "x", "", "99999999999999999999"] {
        server.get(&format!("/events/last?limit={limit}")).await.problem(400);
    }
    server.get("/events/stream?from=yesterday").await.problem(400);
    assert_eq!(server.json("/health").await, json!({ "status": "ok" }));
    assert_eq!(server.json("/livez").await, json!({ "status": "ok" }));
    let why = server.get("/readyz").await.problem(503);
    assert!(why["detail"].as_str().unwrap().contains("log"));
    server.view.hearing.note(Some(Instant::now()));
    server.view.update(|known| known.ready = true);
    assert_eq!(server.json("/readyz").await, json!({ "status": "ok" }));
    assert_eq!(server.json("/events/last").await, json!({ "last_events": [] }));
    assert_eq!(Log::ends(&server.log).await.unwrap(), [0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_a_problem_and_no_end() {
    let preview: Preview = Arc::new(|_, _| panic!("the disk is on fire"));
    let server = Server::start(TestLog::new("log", 1), Some(preview), false).await;
    let problem = server.get("/dag").await.problem(500);
    assert!(!problem.to_string().contains("fire"));
    server.json("/health").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_sites_pages_are_refused() {
    let server = Server::start(TestLog::new("log", 1), None, true).await;
    let own = format!("http://{}", server.address);
    let foreign: [&[(&str, &str)]; 3] =
        [&[("origin", "http://evil.example")], &[("origin", "null")], &[("sec-fetch-site", "cross-site")]];
    for headers in foreign {
        for path in ["/orchestrate", "/runs/latest/cancel"] {
            server.ask(Method::POST, path, headers, "").await.problem(403);
        }
        assert_eq!(server.ask(Method::GET, "/health", headers, "").await.status, StatusCode::OK);
    }
    assert_eq!(Log::ends(&server.log).await.unwrap(), [0]);
    plan_all(&server);
    let headers = [("origin", own.as_str()), ("sec-fetch-site", "same-origin")];
    assert_eq!(server.ask(Method::POST, "/orchestrate", &headers, "").await.status, StatusCode::ACCEPTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_runs_no_script_but_its_own() {
    let server = Server::start(TestLog::new("log", 1), None, true).await;
    let html = server.get("/").await.body;
    assert!(!html.contains("<style") && !html.contains("style=") && !html.contains("onclick"));
    assert_eq!(html.matches("<script").count(), html.matches("<script type=\"module\" src=").count());
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/js/main.js", "text/javascript; charset=utf-8"),
        ("/css/base.css", "text/css; charset=utf-8"),
        ("/lang/fr.json", "application/json"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let reply = server.get(path).await;
        assert_eq!((reply.status, reply.header("content-type")), (StatusCode::OK, content_type), "{path}");
        let policy = reply.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
        assert!(
            policy.contains("require-trusted-types-for 'script'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        let again = server.ask(Method::GET, path, &[("if-none-match", reply.header("etag"))], "").await;
        assert_eq!((again.status, again.body.as_str()), (StatusCode::NOT_MODIFIED, ""), "{path}");
    }
    for path in ["/js/none.js", "/js/../index.html", "/css/%2e%2e/%2e%2e/Cargo.toml", "/lang/"] {
        server.get(path).await.problem(404);
    }
}
