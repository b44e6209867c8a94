//! The commands that talk to an API, as real processes, mostly against a real `korch up`.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use korch::api;
use korch::log::local::LocalLog;
use korch::log::{From, Log};
use korch::view::View;
use serde_json::{Value, json};
use support::{Api, Ended, Korch, Place, ended, korch, poll};
use tokio::sync::watch;

fn command(server: &str, args: &[&str]) -> Command {
    let mut command = korch(args);
    command.env("KORCH_SERVER", server).env("TZ", "UTC").env("USER", "ada").env_remove("KORCH_API_TOKEN");
    command
}

fn url(api: &Api) -> String {
    format!("http://{}", api.address)
}

/// Runs a command to its end against an API.
fn ask(api: &Api, args: &[&str]) -> Ended {
    ended(command(&url(api), args))
}

/// Its output, where all is well.
#[track_caller]
fn told(api: &Api, args: &[&str]) -> String {
    let ended = ask(api, args);
    assert_eq!(ended.code, Some(0), "{args:?}: {}{}", ended.out, ended.err);
    ended.out
}

/// Its output as JSON.
#[track_caller]
fn told_json(api: &Api, args: &[&str]) -> Value {
    let args: Vec<&str> = args.iter().copied().chain(["--output", "json"]).collect();
    let out = told(api, &args);
    assert_eq!(out.lines().count(), 1, "{out}");
    serde_json::from_str(&out).unwrap()
}

/// The sample, idle and quick.
fn idle(place: &Place) -> (Korch, Api) {
    let up = place.up(&["--idle", "--delay", "1ms"]);
    let api = up.api();
    api.ready();
    (up, api)
}

// ---- a run, from its start to its history ----

#[test]
fn a_run_is_started_and_waited_for() {
    let place = Place::new();
    let (_up, api) = idle(&place);
    let run = ask(&api, &["start", "--wait", "--requested-by", "bob"]);
    assert_eq!(run.code, Some(4), "{}", run.err);
    assert!(run.err.contains(": 22 objects"), "{}", run.err);
    for said in [
        "22 objects: 20 loaded, 1 failed, 1 skipped",
        "failed   2005 Temps passé (standardize): test forcé de objectfailed",
        "skipped  3007 Rentabilité des projets (application): because of 2005",
    ] {
        assert!(run.out.contains(said), "{said}: {}", run.out);
    }
    let one = told_json(&api, &["start", "+3005", "+3001", "--follow"]);
    assert_eq!(one["outcome"], "succeeded");
    assert_eq!(one["counts"]["loaded"], 9);
    assert!(one["lower_bound_seconds"].as_f64().unwrap() <= one["duration_seconds"].as_f64().unwrap());

    let asked = told_json(&api, &["start", "+3005", "--exclude", "1001", "--retries", "2"]);
    assert_eq!((&asked["status"], &asked["count"]), (&json!("ok"), &json!(2)));
    api.finished(asked["run_id"].as_str().unwrap());

    let runs = told(&api, &["runs"]);
    let lines: Vec<&str> = runs.lines().collect();
    assert_eq!(lines.len(), 4, "{runs}");
    assert!(lines[0].starts_with("RUN ") && lines[0].ends_with("SKIPPED"), "{runs}");
    assert!(lines[1].contains("succeeded  ada"), "{runs}");
    assert!(lines[1].contains("  +3005 --exclude 1001  ") && lines[3].contains("  –  "), "{runs}");
    assert!(
        lines[3].contains("failed     bob") && lines[3].ends_with("22      20       1        1"),
        "{runs}"
    );
    assert_eq!(told_json(&api, &["runs", "-n", "2"])["runs"].as_array().unwrap().len(), 2);
    let requested = place.events();
    let requested = support::of_type(&requested, "RunRequested");
    assert_eq!((&requested[0]["requested_by"], &requested[2]["retries"]), (&json!("bob"), &json!(2)));
    assert_eq!((&requested[2]["targets"], &requested[2]["exclude"]), (&json!(["+3005"]), &json!(["1001"])));
    assert!(requested[1].get("exclude").is_none(), "{}", requested[1]);
    let planned = place.events();
    let planned = support::of_type(&planned, "RunPlanned");
    assert_eq!(planned[2]["objects"][0]["satisfied"], json!([1001]));

    // What cannot be planned is not asked for, and all that is wrong is said.
    let wrong = ask(&api, &["start", "3050", "Projets", "--exclude", "foo:x"]);
    assert_eq!((wrong.code, wrong.out.as_str()), (Some(3), ""), "{}", wrong.err);
    for said in ["did you mean 3005?", "did you mean name:Projets?", "\"foo:\" is no method"] {
        assert!(wrong.err.contains(said), "{said}: {}", wrong.err);
    }
    let events = told(&api, &["events", "-n", "1000"]);
    assert!(events.contains(": +3005 without 1001 by "), "{events}");
    let selected = told(&api, &["status", asked["run_id"].as_str().unwrap()]);
    assert!(selected.contains("\n  selected +3005 --exclude 1001\n"), "{selected}");

    // What is over is shown, and no longer cancelled.
    let failed = lines[3].split(' ').next().unwrap();
    let status = told(&api, &["status", failed]);
    for said in ["failed\n", "asked for by bob", "together", "because of 2005", "test forcé"] {
        assert!(status.contains(said), "{said}: {status}");
    }
    assert!(!status.contains("led by"), "{status}");
    for args in [&["cancel"][..], &["cancel", failed], &["status", "nonsense"], &["cancel", "../x"]] {
        let refused = ask(&api, args);
        assert_eq!((refused.code, refused.out.as_str()), (Some(2), ""), "{args:?}: {}", refused.err);
        assert!(refused.err.starts_with("error: "), "{args:?}: {}", refused.err);
    }
}

#[test]
fn a_bad_catalogue_is_told_as_plan_tells_it() {
    let place = Place::with(&[(2001, vec![2002]), (2002, vec![2001]), (3001, vec![2001, 3001])]);
    let (_up, api) = idle(&place);
    for args in [&["start"][..], &["start", "--wait"], &["start", "--output", "json"]] {
        let refused = ask(&api, args);
        assert_eq!((refused.code, refused.out.as_str()), (Some(3), ""), "{}", refused.err);
        let mut plan = korch(&["plan"]);
        plan.current_dir(place.dir.path());
        assert_eq!(refused.err, ended(plan).err);
        assert!(refused.err.contains("2001 → 2002 → 2001") && refused.err.contains("2 problems"));
    }
}

#[test]
fn nothing_has_run_yet() {
    let place = Place::new();
    let (_up, api) = idle(&place);
    assert!(told(&api, &["status"]).starts_with("no run yet: `korch start` asks for one\nled by"));
    assert_eq!(told_json(&api, &["status"])["run"], Value::Null);
    assert_eq!(told(&api, &["runs"]), "");
    assert_eq!(told_json(&api, &["runs"]), json!({"runs": []}));
    assert_eq!(ask(&api, &["explain", "3007"]).code, Some(2));
    assert_eq!(ask(&api, &["explain", "none"]).code, Some(2));
}

// ---- while it runs ----

/// A source that a file lets go on, a second one behind it for the only slot, and what needs both.
fn held() -> (Place, Korch, Api, String) {
    let place = Place::with(&[(1001, vec![]), (1002, vec![]), (2001, vec![1001, 1002]), (3001, vec![2001])]);
    let script = "touch started; until [ -e go ]; do sleep 0.02; done";
    let up = place.up(&["--idle", "--slots", "1", "--exec", script]);
    let api = up.api();
    api.ready();
    let run = told_json(&api, &["start"])["run_id"].as_str().unwrap().to_owned();
    poll("the first object", || place.path("started").exists().then_some(()));
    (place, up, api, run)
}

#[test]
fn what_runs_is_shown_and_explained() {
    let (place, _up, api, run) = held();
    let status = told(&api, &["status"]);
    for said in [&format!("run {run} running"), "asked for by ada", "led by orchestrator", "on up-ingest for"]
    {
        assert!(status.contains(said), "{said}: {status}");
    }
    let status = told_json(&api, &["status"]);
    assert_eq!(status["leader"]["led"], true);
    assert_eq!((&status["run"]["run_id"], &status["run"]["state"]), (&json!(run), &json!("running")));
    assert_eq!(status["run"]["objects"].as_array().unwrap().len(), 4);
    assert_eq!(status["run"]["stages"][0]["running"], 1);

    let running = told(&api, &["explain", "1001"]);
    assert!(running.starts_with(&format!("1001 Objet 1001 (ingest) is running in run {run}\n")), "{running}");
    let ready = told(&api, &["explain", "1002", "--run", &run]);
    for said in [
        "is ready and waits for a worker",
        "the only slot for ingest is taken:",
        "1001 Objet 1001 on up-ingest",
    ] {
        assert!(ready.contains(said), "{said}: {ready}");
    }
    let waiting = told(&api, &["explain", "3001"]);
    let lines: Vec<&str> = waiting.lines().collect();
    assert_eq!(lines[0], format!("3001 Objet 3001 (application) waits for its parents in run {run}"));
    assert_eq!(lines[1..3], ["  3001 Objet 3001", "  └─ 2001 Objet 2001 (standardize) waits"]);
    assert_eq!(
        lines[3],
        "     ├─ 1002 Objet 1002 (ingest) is ready: the only slot for ingest is taken by 1001"
    );
    assert!(
        lines[4].starts_with("     └─ 1001 Objet 1001 (ingest) is running on up-ingest for"),
        "{waiting}"
    );
    let waiting = told_json(&api, &["explain", "3001"]);
    assert_eq!(waiting["object"]["state"], "waiting");
    assert_eq!(waiting["chains"][1]["via"][0]["id"], 2001);
    assert_eq!(waiting["chains"][1]["culprit"]["state"], "running");

    // A second run has its turn after it.
    let second = ask(&api, &["start"]);
    assert_eq!(second.code, Some(0));
    assert!(second.err.contains(&format!("run {run} is under way")), "{}", second.err);
    let second = second.out.trim().strip_prefix("run ").unwrap().split(':').next().unwrap().to_owned();
    let status = told(&api, &["status", &second]);
    assert!(status.contains(&format!("waits for its turn: run {run} is under way")), "{status}");
    let queued = told(&api, &["explain", "3001", "--run", &second]);
    assert!(queued.contains("has no plan") && queued.contains(&format!("behind {run}")), "{queued}");

    // The first one is stopped; nothing of it runs after.
    assert_eq!(told(&api, &["cancel"]), format!("run {run} is being cancelled\n"));
    api.finished(&run);
    let cancelled = told(&api, &["explain", "3001", "--run", &run]);
    assert!(
        cancelled.contains("ended while it was waiting") && cancelled.contains("cancelled by ada"),
        "{cancelled}"
    );
    fs::write(place.path("go"), "").unwrap();
    assert_eq!(api.finished(&second)["state"], "succeeded");
}

#[test]
fn a_watched_run_ends_the_watch() {
    let (place, _up, api, run) = held();
    let watch = Korch::start(command(&url(&api), &["status", "--watch"]));
    let json = Korch::start(command(&url(&api), &["status", &run, "--watch", "--output", "json"]));
    let waits = Korch::start(command(&url(&api), &["start", "--wait"]));
    std::thread::sleep(Duration::from_millis(300));
    fs::write(place.path("go"), "").unwrap();
    let (watch, json, waits) = (watch.end(), json.end(), waits.end());
    assert_eq!((watch.code, json.code, waits.code), (Some(0), Some(0), Some(0)), "{}", waits.err);
    assert!(
        watch.out.contains(&format!("run {run} running"))
            && watch.out.contains(&format!("run {run} succeeded"))
    );
    let states: Vec<Value> = json.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(states.len() >= 2);
    assert_eq!(states.last().unwrap()["run"]["state"], "succeeded");
    assert!(waits.out.contains("4 objects: 4 loaded"), "{}", waits.out);
}

#[test]
fn a_cancelled_run_that_is_waited_for_says_so() {
    let (_place, _up, api, run) = held();
    told(&api, &["cancel", &run]);
    api.finished(&run);
    let waits = Korch::start(command(&url(&api), &["start", "--wait"]));
    poll("the next run", || {
        let active = ask(&api, &["status", "--output", "json"]);
        let active: Value = serde_json::from_str(&active.out).unwrap();
        (active["run"]["state"] == "running" && active["run"]["run_id"] != run.as_str()).then_some(())
    });
    told(&api, &["cancel"]);
    let waits = waits.end();
    assert_eq!(waits.code, Some(130), "{}", waits.err);
    assert!(waits.out.contains("cancelled (cancelled by ada)"), "{}", waits.out);
}

// ---- why it did not run ----

#[test]
fn a_skipped_object_is_explained() {
    let place = Place::new();
    let (_up, api) = idle(&place);
    assert_eq!(ask(&api, &["start", "--wait"]).code, Some(4));
    let run = api.get("/runs/latest")["run_id"].as_str().unwrap().to_owned();
    assert_eq!(
        told(&api, &["explain", "3007"]),
        format!(
            "3007 Rentabilité des projets (application) is skipped in run {run}\n  \
             3007 Rentabilité des projets\n  \
             └─ 2005 Temps passé (standardize) failed after 1 attempt on up-standardize: test forcé de objectfailed\n"
        )
    );
    let skipped = told_json(&api, &["explain", "3007"]);
    assert_eq!((&skipped["object"]["state"], &skipped["more"]), (&json!("skipped"), &json!(0)));
    let culprit = &skipped["chains"][0]["culprit"];
    assert_eq!((&culprit["id"], &culprit["state"]), (&json!(2005), &json!("failed")));
    assert_eq!(culprit["error"], "test forcé de objectfailed");

    let failed = told(&api, &["explain", "2005"]);
    assert!(failed.contains("failed after 1 attempt on up-standardize at 20"), "{failed}");
    let loaded = told(&api, &["explain", "3001"]);
    assert!(
        loaded.contains("is loaded in run") && loaded.contains("on up-application in 0.00 s"),
        "{loaded}"
    );
    let satisfied = told(&api, &["explain", "2008"]);
    assert!(satisfied.contains("it counts as loaded") && satisfied.contains("3004"), "{satisfied}");
    for args in
        [&["explain", "4711"][..], &["explain", "3007", "--run", "01a20d56-61d7-7404-b85a-a68337deece8"]]
    {
        let unknown = ask(&api, args);
        assert_eq!((unknown.code, unknown.out.as_str()), (Some(2), ""), "{}", unknown.err);
        assert!(
            unknown.err.contains("no object 4711") || unknown.err.contains("no run 01a20d56"),
            "{}",
            unknown.err
        );
    }
}

// ---- events ----

#[test]
fn the_last_events_are_a_line_each() {
    let place = Place::new();
    let (_up, api) = idle(&place);
    ask(&api, &["start", "--wait"]);
    let lines = told(&api, &["events", "-n", "1000"]);
    let events = place.events();
    assert_eq!(lines.lines().count(), events.len());
    let with = |words: &[&str]| lines.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(with(&["RunRequested", "everything by ada"]), "{lines}");
    assert!(with(&["RunPlanned", "22 objects"]), "{lines}");
    assert!(with(&["ObjectAssigned", "3001 #1", "up-application"]), "{lines}");
    assert!(with(&["ObjectFailed", "2005 #1", "up-standardize", "test forcé de objectfailed"]), "{lines}");
    assert!(with(&["ObjectSkipped", "3007", "because of 2005"]), "{lines}");
    assert!(with(&["RunFinished", "20 loaded, 1 failed, 1 skipped in"]), "{lines}");
    let json = told(&api, &["events", "--limit", "1000", "--output", "json"]);
    let json: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(json, events);
    assert_eq!(told(&api, &["events"]).lines().count(), 10);
}

/// Reads so many lines of a command and then no more: it ends without a word, though nothing comes that it could write.
#[track_caller]
fn ends_unread(api: &Api, args: &[&str], lines: usize) {
    let mut command = command(&url(api), args);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    for _ in 0..lines {
        let mut line = String::new();
        assert!(out.read_line(&mut line).unwrap() > 10, "{args:?}");
    }
    drop(out);
    let start = Instant::now();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{args:?}");
    assert!(start.elapsed() < Duration::from_secs(20), "{args:?}");
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(err, "", "{args:?}");
}

#[test]
fn what_follows_ends_quietly_when_its_reader_has_seen_enough() {
    let (_place, _up, api, _run) = held();
    ends_unread(&api, &["events", "--follow", "--from-start"], 3);
    ends_unread(&api, &["events", "-f", "-n", "3", "--output", "json"], 3);
    ends_unread(&api, &["status", "--watch"], 1);
    ends_unread(&api, &["status"], 1);
}

#[test]
fn a_follower_outlives_the_api() {
    let place = Place::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("127.0.0.1:{port}");
    let up = || {
        let args = [
            "up",
            "--ui-listen",
            "off",
            "--data-dir",
            "log",
            "--idle",
            "--delay",
            "1ms",
            "--listen",
            &listen,
        ];
        let mut command = korch(&args);
        command.current_dir(place.dir.path());
        let up = Korch::start(command);
        up.api().ready();
        up
    };
    let first = up();
    let api = first.api();
    let server = url(&api);
    let mut follower = command(&server, &["events", "--follow", "--from-start", "--output", "json"]);
    let mut follower =
        follower.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut seen: Vec<Value> = Vec::new();
    let mut until_finished = |seen: &mut Vec<Value>| loop {
        let event: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let over = event["event_type"] == "RunFinished";
        seen.push(event);
        if over {
            return;
        }
    };
    ask(&api, &["start", "--wait"]);
    until_finished(&mut seen);
    assert!(first.kill());
    std::thread::sleep(Duration::from_millis(300));
    let second = up();
    ask(&api, &["start", "--wait"]);
    until_finished(&mut seen);
    second.stop();
    follower.kill().unwrap();
    follower.wait().unwrap();
    assert!(seen == place.events(), "{} seen", seen.len());
}

// ---- nobody leads, nobody answers, nobody of korch answers ----

/// An API over a log that nobody decides on.
struct Leaderless {
    api: Api,
    shutdown: watch::Sender<bool>,
    _runtime: tokio::runtime::Runtime,
}

fn leaderless() -> Leaderless {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (shutdown, receiver) = watch::channel(false);
    let api = runtime.block_on(async {
        let log: Arc<dyn Log> = Arc::new(LocalLog::memory().unwrap());
        let view = Arc::new(View::new());
        let mut reader = log.reader(From::Start).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = api::router(api::Api {
            view: view.clone(),
            log,
            preview: None,
            timetable: None,
            page: false,
            metrics: None,
            access: Arc::default(),
            limits: api::Limits::default(),
            shutdown: receiver.clone(),
        });
        tokio::spawn(api::serve(listener, router, api::Limits::default(), receiver));
        tokio::spawn(async move {
            loop {
                view.fold_events(&reader.next(Duration::from_secs(60)).await.unwrap());
            }
        });
        Api { address }
    });
    Leaderless { api, shutdown, _runtime: runtime }
}

#[test]
fn a_request_that_nobody_plans_is_kept() {
    let server = leaderless();
    let asked = ask(&server.api, &["start"]);
    assert_eq!(asked.code, Some(0), "{}", asked.err);
    assert!(
        asked.err.contains("no orchestrator leads now") && asked.err.contains("kept in the log"),
        "{}",
        asked.err
    );
    let run = asked.out.strip_prefix("run ").unwrap().split(':').next().unwrap();
    let status = told(&server.api, &["status"]);
    assert!(status.starts_with(&format!("run {run} queued\n")), "{status}");
    assert!(status.contains("no orchestrator leads: none has been heard of"), "{status}");
    let explained = told(&server.api, &["explain", "3001"]);
    assert!(explained.contains("has no plan") && explained.contains("no orchestrator leads"), "{explained}");
    let waits = Korch::start(command(&url(&server.api), &["start", "--wait"]));
    waits.said("no orchestrator leads now");
    waits.signal(rustix::process::Signal::INT);
    let waits = waits.end();
    assert_eq!(waits.code, Some(130));
    assert!(waits.err.contains("goes on") && waits.err.contains("korch cancel"), "{}", waits.err);
    server.shutdown.send(true).unwrap();
}

#[test]
fn nobody_answers() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = format!("http://127.0.0.1:{port}");
    for args in [
        &["start"][..],
        &["start", "--wait"],
        &["status"],
        &["status", "--watch"],
        &["runs"],
        &["cancel"],
        &["events"],
        &["events", "--follow"],
        &["explain", "3007"],
        &["health"],
    ] {
        let gone = ended(command(&server, args));
        assert_eq!((gone.code, gone.out.as_str()), (Some(1), ""), "{args:?}");
        for said in [&format!("no korch API at {server}: is `korch up`"), "--server says where", "error: "] {
            assert!(gone.err.contains(said), "{args:?}: {}", gone.err);
        }
    }
    for server in ["https://127.0.0.1:8000", "127.0.0.1:8000", "http://"] {
        let usage = ended(command(server, &["runs"]));
        assert_eq!(usage.code, Some(2), "{server}");
        assert!(usage.err.contains("--server"), "{server}: {}", usage.err);
    }
}

/// Answers each connection with this, and hands over what was asked.
fn answers(answer: &'static str) -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let (asked, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut buffer).unwrap() {
                    0 => break,
                    read => request.extend_from_slice(&buffer[..read]),
                }
            }
            let _ = stream.write_all(answer.as_bytes());
            if asked.send(String::from_utf8(request).unwrap()).is_err() {
                return;
            }
        }
    });
    (server, receiver)
}

#[test]
fn somebody_else_answers() {
    let table = [
        (
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 5\r\n\r\n<html",
            "is no korch API: it answers 200",
        ),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "is no korch API: it answers 404"),
        (
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n[]",
            "is no korch API",
        ),
        ("SSH-2.0-OpenSSH\r\n", "broke"),
        ("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{", "broke"),
        (
            "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\ncontent-length: 26\r\n\r\n{\"detail\":\"not yet there\"} ",
            "error: not yet there",
        ),
    ];
    for (answer, said) in table {
        let (server, _asked) = answers(answer);
        let ended = ended(command(&server, &["runs"]));
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{answer}: {}", ended.err);
        assert!(ended.err.contains(said), "{answer}: {}", ended.err);
    }
}

#[test]
fn a_token_is_sent_where_there_is_one() {
    let (server, asked) = answers(
        "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/problem+json\r\ncontent-length: 15\r\n\r\n{\"detail\":\"no\"}",
    );
    let refused = ended(command(&server, &["cancel"]));
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("KORCH_API_TOKEN"), "{}", refused.err);
    assert!(!asked.recv().unwrap().contains("authorization"));
    let mut with = command(&server, &["cancel"]);
    with.env("KORCH_API_TOKEN", "s3cret");
    assert!(!ended(with).err.contains("s3cret"));
    assert!(asked.recv().unwrap().contains("authorization: Bearer s3cret\r\n"));
}

#[test]
fn an_api_that_says_nothing_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let start = Instant::now();
    let silent = ended(command(&server, &["start"]));
    assert_eq!(silent.code, Some(1));
    assert!(
        silent.err.contains("did not answer within 10 s") && silent.err.contains("korch runs"),
        "{}",
        silent.err
    );
    assert!(start.elapsed() < Duration::from_secs(30));
}
