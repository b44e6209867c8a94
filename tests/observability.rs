//! What `observability/` has, held to what korch says: the dashboards and alerts name nothing that korch does not export,
//! and a real Prometheus with the committed files finds data for every query while korch runs on a real Kafka.
//!
//! `KORCH_PROMETHEUS` and `KORCH_PROMTOOL` name other binaries than those in the PATH.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "figures are for those who ask for them"
)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/kafka/mod.rs"]
mod kafka;
#[path = "support/promql.rs"]
mod promql;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use cluster::{Cluster, terminate};
use korch::doctor::dashboards::{self, Source};
use korch::telemetry;
use promql::{Family, families, named};
use serde_json::Value;
use support::{Api, Korch, Place, poll};

const DASHBOARDS: [&str; 2] = ["kafka-events", "loki-events"];
const JOBS: [&str; 5] = ["orchestrator", "ingest", "standardize", "application", "ui"];

fn observability(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("observability").join(path)
}

fn dashboard(uid: &str) -> Value {
    let file = observability(&format!("grafana/dashboards/{uid}.json"));
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

fn panels(dashboard: &Value) -> &Vec<Value> {
    dashboard["panels"].as_array().unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key}: {value}"))
}

/// With what Grafana puts in the place of its variables for a range of so many seconds, scraped every five.
fn replaced(expr: &str, range_seconds: u32) -> String {
    let expr = expr
        .replace("$__rate_interval_ms", "20000")
        .replace("$__rate_interval", "20s")
        .replace("$__range_s", &range_seconds.to_string())
        .replace("$__range", &format!("{range_seconds}s"));
    assert!(!expr.contains('$'), "a variable that this test does not know: {expr}");
    expr
}

// ---- a tool, or a word on stderr that it is not there ----

fn tool(variable: &str, name: &str) -> Option<PathBuf> {
    let chosen = std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
    let path = chosen.unwrap_or_else(|| name.into());
    let is_there = Command::new(&path).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if is_there.is_ok_and(|status| status.success()) {
        return Some(path);
    }
    let required = std::env::var("KORCH_TEST_PROMETHEUS").is_ok_and(|value| value == "required");
    assert!(!required, "no {name} here, and KORCH_TEST_PROMETHEUS=required");
    let thread = std::thread::current();
    // Past the capture of a test's output: nobody reads what a passing test prints.
    let _ = writeln!(
        std::io::stderr(),
        "NOT RUN: {}: no {name} here; KORCH_TEST_PROMETHEUS=required makes this a failure",
        thread.name().unwrap_or("a test")
    );
    None
}

/// Runs promtool; returns what it said.
fn promtool(path: &Path, args: &[&str], stdin: &str) -> String {
    let mut child = Command::new(path)
        .args(args)
        .current_dir(observability("prometheus"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(output.status.success(), "promtool {args:?}:\n{said}");
    said
}

/// A Prometheus of our own; dropped, it is killed.
struct Prometheus {
    child: Child,
    api: Api,
    _port: kafka::Port,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// With the committed files, in which the addresses alone are others.
    fn start(path: &Path, directory: &Path, addresses: &BTreeMap<&str, String>) -> Prometheus {
        let port = kafka::Port::reserve();
        let mut config = fs::read_to_string(observability("prometheus/prometheus.yml")).unwrap();
        for (job, address) in addresses {
            let start = config.find(&format!("job_name: {job}\n")).unwrap_or_else(|| panic!("no job {job}"));
            let from = start + config[start..].find("dns_sd_configs:\n").unwrap();
            let to = from + config[from..].match_indices('\n').nth(1).unwrap().0;
            let asked = &config[from..to];
            assert!(asked.contains(&format!("names: [{job}], type: A,")), "another's address? {asked}");
            config.replace_range(from..to, &format!("static_configs:\n      - targets: ['{address}']"));
        }
        assert!(!config.contains("dns_sd_configs"), "a job that this test does not know:\n{config}");
        let config = config.replace("localhost:9090", &port.address());
        let file = directory.join("prometheus.yml");
        fs::write(&file, config).unwrap();
        fs::create_dir_all(directory.join("rules")).unwrap();
        fs::copy(observability("prometheus/rules/korch.yml"), directory.join("rules/korch.yml")).unwrap();
        let log = File::create(directory.join("prometheus.log")).unwrap();
        let child = Command::new(path)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
            .arg(format!("--web.listen-address={}", port.address()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut prometheus = Prometheus { child, api: Api { address: port.address() }, _port: port };
        poll("Prometheus", || {
            let ended = prometheus.child.try_wait().unwrap();
            assert!(ended.is_none(), "{}", fs::read_to_string(directory.join("prometheus.log")).unwrap());
            let listens = std::net::TcpStream::connect(&prometheus.api.address).is_ok();
            (listens && prometheus.api.head("GET", "/-/ready", "").status == 200).then_some(())
        });
        prometheus
    }

    fn ask(&self, path: &str, expr: &str, more: &str) -> Value {
        let encoded: String = expr.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let (status, answer) = self.api.ask(&format!("/api/v1/{path}?query={encoded}{more}"));
        assert_eq!(status, 200, "{expr}: {answer}");
        assert!(answer["warnings"].is_null(), "{expr}: {answer}");
        answer["data"]["result"].clone()
    }

    /// The value of every series, by its labels; what is no number is left out.
    fn values(&self, expr: &str) -> BTreeMap<String, f64> {
        series(&self.ask("query", expr, ""), |series| series["value"][1].as_str().map(str::to_owned))
    }

    /// The highest value of every series since the start of the test; what is no number is left out.
    fn peaks(&self, expr: &str, since: f64) -> BTreeMap<String, f64> {
        let more = format!("&start={since}&end={}&step=5", now());
        series(&self.ask("query_range", expr, &more), |series| {
            let values = series["values"].as_array()?.iter();
            let numbers = values.filter_map(|at| at[1].as_str()?.parse::<f64>().ok());
            numbers.filter(|number| !number.is_nan()).reduce(f64::max).map(|number| number.to_string())
        })
    }
}

fn series(result: &Value, value: impl Fn(&Value) -> Option<String>) -> BTreeMap<String, f64> {
    let numbers = result.as_array().unwrap().iter().filter_map(|series| {
        let labels: Vec<String> = series["metric"]
            .as_object()?
            .iter()
            .map(|(name, value)| format!("{name}={}", value.as_str().unwrap()))
            .collect();
        let number: f64 = value(series)?.parse().ok()?;
        (!number.is_nan()).then(|| (labels.join(" "), number))
    });
    numbers.collect()
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

fn metrics_of(api: &Api) -> String {
    let (status, mut stream) = api.open("GET", "/metrics", "", "");
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(status, 200, "{text}");
    text
}

// ---- the tests ----

#[test]
fn promtool_finds_nothing_wrong_with_the_files() {
    let Some(path) = tool("KORCH_PROMTOOL", "promtool") else { return };
    let said = promtool(&path, &["check", "config", "prometheus.yml"], "");
    assert!(said.contains("SUCCESS") && !said.contains("WARN"), "{said}");
    promtool(&path, &["check", "rules", "rules/korch.yml"], "");
    promtool(&path, &["test", "rules", "rules/korch_test.yml"], "");
}

#[test]
fn every_alert_says_what_it_is_what_to_do_and_where_to_read_on_and_is_tested_both_ways() {
    let rules = fs::read_to_string(observability("prometheus/rules/korch.yml")).unwrap();
    let tests = fs::read_to_string(observability("prometheus/rules/korch_test.yml")).unwrap();
    let mut alerts = rules.split("- alert: ").skip(1).peekable();
    assert!(alerts.peek().is_some());
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        for needed in ["severity: ", "summary: ", "description: "] {
            assert!(alert.contains(needed), "{name} has no {needed}");
        }
        let runbook = format!("runbook: docs/operations.md#{}\n", name.to_lowercase());
        assert!(alert.contains(&runbook), "{name} has another page than {runbook}");
        // A case ends where the next begins.
        let named = format!("alertname: {name}");
        let (mut fires, mut does_not) = (false, false);
        for case in tests.split("eval_time: ").filter(|case| case.contains(&named)) {
            let is_empty = case.contains("exp_alerts: []");
            fires |= !is_empty;
            does_not |= is_empty;
        }
        assert!(fires && does_not, "{name}: fires in a test: {fires}, does not in one: {does_not}");
    }
}

#[test]
fn panels_are_whole_and_in_their_place() {
    let mut uids = BTreeSet::new();
    for file in DASHBOARDS {
        let dashboard = dashboard(file);
        let uid = text(&dashboard, "uid");
        assert_eq!(uid, file);
        assert!(uids.insert(uid.to_owned()), "twice: {uid}");
        let links: Vec<&str> =
            dashboard["links"].as_array().unwrap().iter().map(|link| text(link, "url")).collect();
        let other = DASHBOARDS.iter().find(|other| **other != file).unwrap();
        assert!(links.contains(&format!("/d/{other}").as_str()), "{links:?}");
        assert!(links.contains(&"http://localhost:4200"), "{links:?}");

        let mut ids = BTreeSet::new();
        let mut taken: BTreeMap<(u64, u64), String> = BTreeMap::new();
        for panel in panels(&dashboard) {
            let title = text(panel, "title");
            let place = format!("{uid}: {title}");
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{place}: an id twice");
            assert!(!title.is_empty() && text(panel, "description").len() > 40, "{place} is not described");
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty(), "{place} asks nothing");
            let sources = targets.iter().filter_map(|target| target.get("datasource"));
            for source in sources.chain([&panel["datasource"]]) {
                let wanted = if uid == "kafka-events" { "prometheus" } else { "loki" };
                assert_eq!((text(source, "uid"), text(source, "type")), (wanted, wanted), "{place}");
            }
            let letters: BTreeSet<&str> = targets.iter().map(|target| text(target, "refId")).collect();
            assert_eq!(letters.len(), targets.len(), "{place}: a refId twice");
            let shows_lines = panel["type"] == "logs" || (uid == "loki-events" && panel["type"] == "table");
            let unit = panel["fieldConfig"]["defaults"]["unit"].as_str();
            assert!(shows_lines || unit.is_some_and(|unit| !unit.is_empty()), "{place} has no unit");

            let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
            assert!(w > 0 && h > 0 && x + w <= 24, "{place}: {}", panel["gridPos"]);
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                if let Some(other) = taken.insert(cell, title.to_owned()) {
                    panic!("{place} lies over {other}");
                }
            }
        }
        // A gap in the grid is closed by Grafana: then nothing is where the file says.
        let bottom = taken.keys().map(|(_, y)| y + 1).max().unwrap();
        assert_eq!(taken.len() as u64, 24 * bottom, "{uid} has holes");
    }
}

/// The metrics and labels that Prometheus adds.
fn known_to_prometheus(families: &mut BTreeMap<String, Family>) {
    let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<BTreeSet<_>>();
    let rules = fs::read_to_string(observability("prometheus/rules/korch.yml")).unwrap();
    let alerts: Vec<&str> =
        rules.split("- alert: ").skip(1).map(|alert| alert.lines().next().unwrap()).collect();
    let mut labels = BTreeMap::from([
        ("alertname".to_owned(), values(&alerts)),
        ("alertstate".to_owned(), values(&["pending", "firing"])),
        ("severity".to_owned(), values(&["warning", "critical"])),
    ]);
    for label in ["stage", "reason"] {
        let of_korch = families.values().filter_map(|family| family.labels.get(label)).flatten().cloned();
        labels.insert(label.to_owned(), of_korch.collect());
    }
    families.insert("ALERTS".to_owned(), Family { kind: "gauge".into(), labels });
    families.insert("up".to_owned(), Family { kind: "gauge".into(), labels: BTreeMap::new() });
    for family in families.values_mut() {
        family.labels.insert(
            "job".into(),
            [&JOBS[..], &["prometheus"]].concat().into_iter().map(str::to_owned).collect(),
        );
        family.labels.insert("instance".into(), BTreeSet::new());
    }
}

fn holds(expr: &str, families: &BTreeMap<String, Family>) {
    let named = named(expr);
    assert!(!named.selectors.is_empty(), "names no metric: {expr}");
    let mut labels = BTreeSet::new();
    for selector in &named.selectors {
        let metric = &selector.metric;
        let (family, suffix) = families
            .iter()
            .filter_map(|(name, family)| Some((family, metric.strip_prefix(name.as_str())?)))
            .find(|(family, suffix)| match family.kind.as_str() {
                "histogram" => ["_bucket", "_sum", "_count"].contains(suffix),
                _ => suffix.is_empty(),
            })
            .unwrap_or_else(|| panic!("korch has no metric {metric}: {expr}"));
        labels.extend(family.labels.keys().cloned());
        for (label, operator, value) in &selector.matchers {
            let has = family.labels.get(label);
            let has = has.unwrap_or_else(|| panic!("{metric} has no label {label}: {expr}"));
            assert!(label != "instance", "an address is not for ever: {expr}");
            let wanted = if operator.contains('~') { value.split('|').collect() } else { vec![&**value] };
            for wanted in wanted {
                assert!(has.contains(wanted), "{metric} has no {label}={wanted}, but {has:?}: {expr}");
            }
        }
        assert!(suffix != "_bucket" || named.grouped.contains("le"), "a bucket without its bound: {expr}");
    }
    for label in &named.grouped {
        assert!(labels.contains(label), "nothing that has a label {label}: {expr}");
    }
}

#[test]
fn dashboards_and_alerts_name_what_korch_exports() {
    let place = Place::new();
    let korch = place.up(&["--delay", "1ms"]);
    let api = korch.api();
    api.ready();
    api.first_run_over();
    let expected = BTreeSet::from([
        telemetry::EVENTS_PUBLISHED,
        telemetry::EVENTS_REJECTED,
        telemetry::OBJECTS,
        telemetry::OBJECT_DURATION,
        telemetry::OBJECT_WAIT,
        telemetry::RUNS,
        telemetry::RUN_DURATION,
        telemetry::RUN_LOWER_BOUND,
        telemetry::WORKERS,
        telemetry::SLOTS,
        telemetry::LOG_LAG,
        telemetry::LOG_SILENCE,
        telemetry::BUILD_INFO,
        telemetry::PROCESS_START,
    ]);
    // The last figures come just after the end of the run.
    let mut families = poll("every metric", || {
        let families = families(&metrics_of(&api));
        (families.len() >= expected.len()).then_some(families)
    });
    assert_eq!(families.keys().map(String::as_str).collect::<BTreeSet<_>>(), expected);
    korch.stop();
    known_to_prometheus(&mut families);

    let dashboard = dashboard("kafka-events");
    for panel in panels(&dashboard) {
        for target in panel["targets"].as_array().unwrap() {
            holds(&replaced(text(target, "expr"), 900), &families);
        }
    }
    for expr in alert_expressions() {
        holds(&expr, &families);
    }
}

/// Of the file, by the little that it uses of YAML.
fn alert_expressions() -> Vec<String> {
    let rules = fs::read_to_string(observability("prometheus/rules/korch.yml")).unwrap();
    let expressions = rules.split("expr: ").skip(1).map(|rest| {
        let end =
            rest.find("\n        for: ").into_iter().chain(rest.find("\n        labels: ")).min().unwrap();
        rest[..end].trim_start_matches('|').trim().to_owned()
    });
    expressions.collect()
}

/// Of korch's processes none is down and nothing else is wrong, but that an object fails; a machine that is busy with other
/// tests may take longer for a run of two seconds than is good.
const MAY_FIRE: [&str; 2] = ["KorchObjectFailed", "KorchRunOverdue"];

#[test]
fn every_query_and_alert_has_an_answer_from_a_real_prometheus() {
    let Some(path) = tool("KORCH_PROMETHEUS", "prometheus") else { return };
    let promtool_path = tool("KORCH_PROMTOOL", "promtool").unwrap();
    let Some(kafka) = kafka::shared() else { return };
    let begun = now();
    let cluster = Cluster::new(&kafka.bootstrap(), Place::new());
    let [ingest, standardize, application] = cluster.workers(&["--metrics-listen", "127.0.0.1:0"]);
    cluster.workers_up(3);
    let ui = cluster.ui();
    let orchestrator = cluster.orchestrate(&[]);
    let api = orchestrator.api();
    api.ready();
    // The newcomer's case: the run is over before anybody scrapes for the first time.
    let run = poll("a run", || Some(api.get("/runs")["runs"].get(0)?["run_id"].as_str()?.to_owned()));
    api.finished(&run);
    cluster.kafka.produce_raw(&cluster.topic, None, "stranger", b"not an event");

    let page = ui.page();
    page.ready();
    let answers = [&api, &ingest.metrics(), &standardize.metrics(), &application.metrics(), &page];
    let addresses: BTreeMap<&str, String> =
        JOBS.into_iter().zip(answers).map(|(job, api)| (job, api.address.clone())).collect();
    for (job, api) in JOBS.iter().zip(answers) {
        let said = promtool(&promtool_path, &["check", "metrics"], &metrics_of(api));
        assert_eq!(said.trim(), "", "{job}");
    }

    let directory = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::start(&path, directory.path(), &addresses);
    poll("all targets", || (prometheus.values("up == 1").len() == 6).then_some(()));
    poll("the alert", || {
        let alerts = prometheus.values(r#"ALERTS{alertname="KorchObjectFailed", alertstate="firing"}"#);
        (!alerts.is_empty()).then_some(())
    });
    // A second run, between scrapes, of what failed.
    let (status, answer) = api.post(&format!("/runs/{run}/retry"));
    assert_eq!(status, 202, "{answer}");
    api.finished(text(&answer, "run_id"));
    let mut counted: BTreeMap<String, f64> = BTreeMap::new();
    for event in cluster.events_that_are_json() {
        *counted.entry(text(&event, "event_type").to_owned()).or_default() += 1.0;
    }
    poll("the second run", || {
        let told = prometheus.values("sum by (status) (events_published_total) > 0");
        (told.values().sum::<f64>() >= counted.values().sum()).then_some(())
    });
    poll("the record that is no event", || {
        let rejected = prometheus.values(r#"max(korch_events_rejected_total{reason="not_json"})"#);
        rejected.values().any(|count| *count >= 1.0).then_some(())
    });

    let dashboard = dashboard("kafka-events");
    let mut shown: BTreeMap<&str, Vec<BTreeMap<String, f64>>> = BTreeMap::new();
    for panel in panels(&dashboard) {
        let title = text(panel, "title");
        for target in panel["targets"].as_array().unwrap() {
            let expr = text(target, "expr");
            let is_instant = target["instant"] == true;
            let ask = |range| match is_instant {
                true => prometheus.values(&replaced(expr, range)),
                false => prometheus.peaks(&replaced(expr, range), begun),
            };
            ask(60); // Of processes that are older than the range: another path, which must not break.
            let values = ask(900);
            println!("{title}: {}", target["refId"]);
            values.iter().for_each(|(labels, value)| println!("  {value:>10.3} {labels}"));
            assert!(!values.is_empty(), "{title}: no data for {expr}");
            shown.entry(title).or_default().push(values);
        }
    }

    // `korch doctor` asks the same, with values of its own.
    for (_, queries) in dashboards::of(Source::Prometheus) {
        for query in queries {
            assert!(
                !prometheus.values(&query.text).is_empty(),
                "{}: no data for {}",
                query.panel,
                query.text
            );
        }
    }

    // What the panels say is so.
    let mut told: BTreeMap<String, f64> = BTreeMap::new();
    for (labels, count) in &shown["Events in this time range"][0] {
        let status = labels.split("status=").nth(1).unwrap();
        *told.entry(status.to_owned()).or_default() += count;
    }
    told.retain(|_, count| *count > 0.0);
    assert_eq!(told, counted);
    let value = |title: &str, of: usize, labels: &str| {
        *shown[title][of].get(labels).unwrap_or_else(|| panic!("{title}: {:?}", shown[title]))
    };
    assert!(value("Events by producer and status", 0, "producer=ingest status=ObjectLoaded") > 0.0);
    assert!(value("Events by producer and status", 0, "producer=standardize status=ObjectFailed") > 0.0);
    assert_eq!(value("Runs by outcome", 0, "outcome=failed"), 2.0);
    assert_eq!(value("Runs by outcome", 0, "outcome=succeeded"), 0.0);
    assert_eq!(value("Progress", 0, ""), 1.0);
    assert_eq!(value("Failed for good", 0, ""), 1.0);
    assert_eq!(value("Failed for good", 1, ""), 1.0);
    assert_eq!(
        prometheus.values(&replaced(text(&panels(&dashboard)[0]["targets"][0], "expr"), 900))[""],
        0.0
    );
    for stage in ["ingest", "standardize", "application"] {
        let stage = format!("stage={stage}");
        assert_eq!(value("Slots in use", 1, &stage), 8.0);
        assert_eq!(value("Workers", 0, &format!("{stage} state=up")), 1.0);
        let mean = value("Waiting against running time by stage", 1, &stage);
        assert!((0.5..2.0).contains(&mean), "simulated work takes 0.5 to 0.8 s, and here {mean}");
    }
    assert_eq!(value("Records passed over", 0, "reason=not_json"), 1.0);
    assert_eq!(shown["Processes"][0].len(), 5);

    let (status, rules) = prometheus.api.ask("/api/v1/rules");
    assert_eq!(status, 200);
    let rules = rules["data"]["groups"][0]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), alert_expressions().len());
    for rule in rules {
        let name = text(rule, "name");
        assert_eq!(text(rule, "health"), "ok", "{rule}");
        prometheus.values(text(rule, "query"));
        assert!(rule["state"] == "inactive" || MAY_FIRE.contains(&name), "a false alarm: {rule}");
    }
    if cluster::is_long() {
        without_a_worker(&prometheus, &api, ingest);
    }
}

/// A stage loses its worker, a run waits for it, and somebody gives up.
fn without_a_worker(prometheus: &Prometheus, api: &Api, ingest: Korch) {
    let fires = |alert: &str, label: &str| {
        let firing = prometheus.values(&format!(r#"ALERTS{{alertname="{alert}", alertstate="firing"}}"#));
        firing.keys().any(|labels| labels.contains(label))
    };
    let dashboard = dashboard("kafka-events");
    let run_panel = replaced(text(&panels(&dashboard)[0]["targets"][0], "expr"), 900);
    terminate(ingest);
    let (status, answer) = api.post("/orchestrate");
    assert_eq!(status, 202, "{answer}");
    let run = text(&answer, "run_id");
    poll("KorchNoWorker", || fires("KorchNoWorker", "stage=ingest").then_some(()));
    poll("KorchTargetDown", || fires("KorchTargetDown", "job=ingest").then_some(()));
    assert_eq!(prometheus.values(&run_panel)[""], 1.0);
    assert!(!fires("KorchNoWorker", "stage=standardize") && !fires("KorchRunStalled", ""));
    assert!(!fires("KorchWorkerLost", ""), "it said that it goes");
    let (status, _) = api.post(&format!("/runs/{run}/cancel"));
    assert_eq!(status, 202);
    let over = api.finished(run);
    poll("nothing that waits", || {
        let left = prometheus.values(r#"sum(max by (stage) (korch_objects{state="cancelled"}))"#);
        (left.get("") == Some(&(over["objects"].as_array().unwrap().len() as f64))).then_some(())
    });
    poll("no alert for it", || (!fires("KorchNoWorker", "")).then_some(()));
    assert_eq!(prometheus.values(&run_panel)[""], 0.0);
}

/// What Grafana is told beside the dashboards fits them and Prometheus.
#[test]
fn grafana_finds_its_sources_and_dashboards() {
    let read = |path: &str| fs::read_to_string(observability(path)).unwrap();
    let sources = read("grafana/provisioning/datasources/datasources.yml");
    for (uid, url) in [("prometheus", "http://prometheus:9090"), ("loki", "http://loki:3100")] {
        let source = sources.split("- name: ").find(|source| source.contains(&format!("uid: {uid}\n")));
        let source = source.unwrap_or_else(|| panic!("no source {uid}"));
        assert!(source.contains(&format!("type: {uid}\n")) && source.contains(&format!("url: {url}\n")));
    }
    let every = |config: &str, key: &str| {
        let rest = config.split(&format!("{key}: ")).nth(1).unwrap_or_else(|| panic!("no {key}"));
        rest.lines().next().unwrap().to_owned()
    };
    let scraped = every(&read("prometheus/prometheus.yml"), "scrape_interval");
    assert_eq!(every(&sources, "timeInterval"), scraped, "$__rate_interval is made from it");
    assert_eq!(scraped, "5s", "as this test puts in for Grafana's variables");
    let provider = read("grafana/provisioning/dashboards/dashboards.yml");
    assert_eq!(every(&provider, "path"), "/etc/grafana/dashboards");
}
