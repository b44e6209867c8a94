//! `korch doctor`: what it says of a stack that is there, of one that is not, and of one that holds nothing yet.
//!
//! Kafka and korch are real here, and `tests/observability.rs` asks a real Prometheus. Grafana, Loki and Alloy are stood in
//! for by a server that answers as their references say: there is none to be had where these tests run.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/kafka/mod.rs"]
mod kafka;
mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;

use cluster::Cluster;
use parking_lot::Mutex;
use serde_json::{Value, json};
use support::{Ended, Place, ended, korch, poll};

/// An address where nobody listens.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// Answers GET requests by the longest path that the request's begins with; anything else with 404.
struct StandIn {
    url: String,
    answers: Arc<Mutex<BTreeMap<&'static str, (u16, String)>>>,
    /// The requests, with their headers.
    asked: Arc<Mutex<Vec<String>>>,
}

impl StandIn {
    fn new() -> StandIn {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers: Arc<Mutex<BTreeMap<&str, (u16, String)>>> = Arc::default();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (theirs, heard) = (answers.clone(), asked.clone());
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while reader.read_line(&mut request).is_ok_and(|read| read > 2) {}
                let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                heard.lock().push(request);
                let answers = theirs.lock();
                let answer = answers.iter().rev().find(|(begin, _)| path.starts_with(*begin));
                let (status, body) = answer.map_or((404, String::new()), |(_, answer)| answer.clone());
                let length = body.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
            }
        });
        StandIn { url, answers, asked }
    }

    fn answers(&self, path: &'static str, status: u16, body: &dyn ToString) {
        self.answers.lock().insert(path, (status, body.to_string()));
    }
}

/// What doctor found: part and check, with state, found and what to do.
struct Report(Vec<Value>);

impl Report {
    fn of(ended: &Ended) -> Report {
        let json: Value =
            serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{}{}", ended.out, ended.err));
        Report(json["findings"].as_array().unwrap().clone())
    }

    #[track_caller]
    fn find(&self, part: &str, check: &str) -> &Value {
        let found = self
            .0
            .iter()
            .find(|finding| finding["part"] == part && finding["check"].as_str().unwrap().starts_with(check));
        found.unwrap_or_else(|| panic!("{part} {check} in {:#?}", self.0))
    }

    #[track_caller]
    fn is(&self, part: &str, check: &str, state: &str, found: &str) {
        let finding = self.find(part, check);
        assert_eq!(finding["state"], state, "{finding}");
        assert!(finding["found"].as_str().unwrap().contains(found), "{finding}");
        assert_eq!(finding["to_do"].is_null(), state == "ok", "{finding}");
    }
}

#[test]
fn where_nothing_runs_each_part_says_what_to_do() {
    let mut command = korch(&["doctor"]);
    for flag in ["--server", "--ui", "--prometheus", "--grafana", "--loki", "--alloy"] {
        command.args([flag, &nowhere()]);
    }
    command.args(["--kafka", nowhere().strip_prefix("http://").unwrap()]);
    let ended = ended(command);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    for part in ["kafka", "korch", "page", "prometheus", "grafana", "loki", "alloy"] {
        assert!(
            ended.out.lines().any(|line| line.starts_with(&format!("FAIL  {part} "))),
            "{part}: {}",
            ended.out
        );
    }
    assert_eq!(ended.out.matches("→ docker compose up -d").count(), 7, "{}", ended.out);
    assert!(ended.out.contains("7 checks: 0 well, 0 warnings, 7 failures"), "{}", ended.out);
}

#[test]
fn what_a_stack_has_not_is_left_out() {
    let ended = ended(korch(&["doctor", "--without", "kafka,server,ui,prometheus,grafana,loki,alloy"]));
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(ended.out, "0 checks: 0 well, 0 warnings, 0 failures\n");
}

#[test]
fn an_address_that_is_none_is_a_usage_error() {
    for flag in ["--server", "--ui", "--prometheus", "--grafana", "--loki", "--alloy"] {
        let ended = ended(korch(&["doctor", "--without", "kafka", flag, "host:3100"]));
        assert_eq!(ended.code, Some(2), "{flag}: {}", ended.err);
        assert!(ended.err.contains(&format!("{flag} host:3100: it looks like http://")), "{}", ended.err);
    }
}

#[test]
fn a_korch_that_is_there_is_told_from_one_that_lacks_something() {
    let Some(kafka) = kafka::shared() else { return };
    let cluster = Cluster::new(&kafka.bootstrap(), Place::new());
    let doctor = |api: &str, page: &str, more: &[&str]| {
        let mut command = cluster.command(&["doctor", "--output", "json", "--server", api, "--ui", page]);
        command.args(["--without", "prometheus,grafana,loki,alloy"]).args(more);
        let ended = ended(command);
        (ended.code, Report::of(&ended))
    };
    // Nothing of korch yet: no topic, and none is made.
    let (code, report) = doctor(&nowhere(), &nowhere(), &[]);
    assert_eq!(code, Some(1));
    report.is("kafka", &kafka.bootstrap(), "ok", "answers");
    report.is("kafka", &format!("topic {}", cluster.topic), "fail", "there is none");
    let (_, report) = doctor(&nowhere(), &nowhere(), &[]);
    report.is("kafka", &format!("topic {}", cluster.topic), "fail", "there is none");

    // An orchestrator and a worker of one stage.
    let orchestrator = cluster.orchestrate(&["--idle"]);
    let (api, ui) = (orchestrator.api(), cluster.ui());
    let page = ui.page();
    let ingest = cluster.worker("ingest", &["--metrics-listen", "127.0.0.1:0"]);
    cluster.workers_up(1);
    poll("a leader and a worker", || {
        let workers = api.get("/workers");
        (workers["leader"]["led"] == true && !workers["workers"].as_array()?.is_empty()).then_some(())
    });
    page.ready();
    let (api_url, page_url) = (format!("http://{}", api.address), format!("http://{}", page.address));
    let (code, report) = doctor(&api_url, &page_url, &["--foreign-stage", "application"]);
    assert_eq!(code, Some(1));
    report.is("kafka", &format!("topic {}", cluster.topic), "ok", "1 partition, ");
    report.is("korch", "leader", "ok", "epoch 1");
    report.is("korch", "workers of ingest", "ok", "1 up, 8 slots");
    report.is("korch", "workers of standardize", "fail", "none");
    report.is("korch", "workers of application", "ok", "strangers");
    report.is("korch", "latest run", "ok", "none yet");
    report.is("page", &page_url, "ok", "serves the page");
    // The API serves no page.
    let (_, report) = doctor(&api_url, &api_url, &[]);
    report.is("page", &api_url, "fail", "no page there");

    // The health of each, as a container asks it.
    for address in [&api.address, &page.address, &ingest.metrics().address] {
        let url = format!("http://{address}");
        let ready = poll("readiness", || {
            let ended = ended(cluster.command(&["health", "--ready", "--server", &url]));
            (ended.code == Some(0)).then_some(ended)
        });
        assert!(ready.err.contains("is ready"), "{}", ready.err);
    }

    // All of them, and a run in which an object fails.
    let _others = ["standardize", "application"].map(|stage| cluster.worker(stage, &["--delay", "0s"]));
    let started = cluster.ask(&api, &["start", "--wait"]);
    assert_eq!(started.code, Some(4), "{}", started.err);
    let (code, report) = doctor(&api_url, &page_url, &[]);
    assert_eq!(code, Some(0), "{:#?}", report.0);
    report.is("korch", "workers of application", "ok", "1 up, 8 slots");
    report.is("korch", "latest run", "warn", "failed: 20 loaded, 1 failed, 1 skipped of 22");
}

#[test]
fn grafana_loki_and_alloy_are_looked_into() {
    let (grafana, loki, alloy) = (StandIn::new(), StandIn::new(), StandIn::new());
    let doctor = || {
        let mut command = korch(&["doctor", "--output", "json", "--without", "kafka,server,ui,prometheus"]);
        command.args(["--grafana", &grafana.url, "--loki", &loki.url, "--alloy", &alloy.url]);
        command.env("KORCH_API_TOKEN", "korchs-own").env("KORCH_GRAFANA_TOKEN", "grafanas-own");
        let ended = ended(command);
        (ended.code, Report::of(&ended))
    };
    let dashboards = korch::doctor::dashboards::all();
    let panels = |uid: &str| {
        let dashboard = dashboards.iter().find(|dashboard| dashboard.uid == uid).unwrap();
        json!({ "dashboard": { "panels": vec![json!({}); dashboard.panels] } })
    };
    grafana.answers("/api/health", 200, &json!({ "database": "ok", "version": "12.2.0" }));
    grafana.answers(
        "/api/datasources/proxy/uid/prometheus/api/v1/query",
        200,
        &json!({ "status": "success" }),
    );
    grafana.answers("/api/datasources/proxy/uid/loki/", 502, &"Bad Gateway");
    grafana.answers("/api/dashboards/uid/kafka-events", 200, &panels("kafka-events"));
    grafana.answers("/api/dashboards/uid/loki-events", 401, &json!({ "message": "Unauthorized" }));
    loki.answers("/ready", 200, &"ready\n");
    let empty = json!({ "status": "success", "data": { "resultType": "vector", "result": [] } });
    loki.answers("/loki/api/v1/query", 200, &empty);
    loki.answers("/loki/api/v1/query_range", 400, &"parse error : syntax error");
    alloy.answers("/-/ready", 200, &"Alloy is ready.\n");
    alloy.answers("/-/healthy", 500, &"unhealthy components: loki.write.default\n");
    let (code, report) = doctor();
    assert_eq!(code, Some(1));
    report.is("grafana", &grafana.url, "ok", "version 12.2.0");
    report.is("grafana", "source prometheus", "ok", "answers");
    report.is("grafana", "source loki", "fail", "502");
    report.is("grafana", "dashboard Kafka events", "ok", "panels");
    report.is("grafana", "dashboard Loki events", "fail", "asks who we are");
    report.is("loki", "log lines", "fail", "none of the last 24 hours");
    report.is("loki", "dashboard Loki events", "fail", "parse error");
    report.is("alloy", &alloy.url, "fail", "unhealthy components: loki.write.default");

    // Once all is as it should be.
    grafana.answers("/api/datasources/proxy/uid/loki/", 200, &json!({ "status": "success" }));
    grafana.answers("/api/dashboards/uid/loki-events", 200, &panels("loki-events"));
    let series =
        |producer: &str, lines: &str| json!({ "metric": { "producer": producer }, "value": [1, lines] });
    let lines = json!([series("ingest", "40"), series("orchestrator", "2")]);
    loki.answers("/loki/api/v1/query", 200, &json!({ "status": "success", "data": { "result": lines } }));
    loki.answers(
        "/loki/api/v1/query_range",
        200,
        &json!({ "status": "success", "data": { "result": lines } }),
    );
    alloy.answers("/-/healthy", 200, &"All Alloy components are healthy.\n");
    let (code, report) = doctor();
    assert_eq!(code, Some(0), "{:#?}", report.0);
    report.is("loki", "log lines", "ok", "42 lines of the last 24 hours: ingest 40, orchestrator 2");
    report.is("loki", "dashboard Loki events", "ok", "queries are answered");

    // Each is shown its own token and no other's.
    let sees =
        |server: &StandIn, token: &str| server.asked.lock().iter().any(|request| request.contains(token));
    assert!(sees(&grafana, "grafanas-own") && !sees(&grafana, "korchs-own"));
    assert!(!sees(&loki, "-own") && !sees(&alloy, "-own"));
}
