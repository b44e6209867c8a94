//! Prometheus: whom it scrapes, what its rules say, whether it can answer what the dashboards ask.
//!
//! Its answers are those of <https://prometheus.io/docs/prometheus/latest/querying/api/>.

use std::collections::BTreeMap;

use serde_json::Value;

use super::dashboards::{Query, Source};
use super::{Finding, Findings, ask_dashboards, hear, is_there};
use crate::client::http::{Server, segment};

/// Who is to be scraped, by the names of the scrape jobs.
const JOBS: [&str; 5] = ["orchestrator", "ingest", "standardize", "application", "ui"];

/// Looks at Prometheus.
pub(super) async fn look(server: Server) -> Vec<Finding> {
    let mut findings = Findings::of("prometheus");
    if is_there(&mut findings, &server, "/-/ready", "prometheus", "--prometheus").await.is_none() {
        return findings.list;
    }
    findings.ok(server.url(), "ready");
    match data(&server, "/api/v1/targets?state=active").await {
        Ok(data) => targets(&mut findings, &data),
        Err(why) => findings.fail("targets", why, "--prometheus says where Prometheus is"),
    }
    match data(&server, "/api/v1/rules").await {
        Ok(data) => rules(&mut findings, &data),
        Err(why) => findings.fail("alert rules", why, "--prometheus says where Prometheus is"),
    }
    ask_dashboards(&mut findings, &server, Source::Prometheus, has_data).await;
    findings.list
}

/// The `data` of an answer; the error says what it answers instead.
async fn data(server: &Server, path: &str) -> Result<Value, String> {
    let heard = hear(server, path).await?;
    let mut answer = heard.json();
    if answer["status"] != "success" {
        return Err(answer["error"].as_str().map_or_else(|| heard.said(), str::to_owned));
    }
    Ok(answer["data"].take())
}

async fn has_data(server: &Server, query: &Query) -> Result<bool, String> {
    let data = data(server, &format!("/api/v1/query?query={}", segment(&query.text))).await?;
    Ok(data["result"].as_array().is_some_and(|result| !result.is_empty()))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn targets(findings: &mut Findings, data: &Value) {
    let mut jobs: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for target in list(&data["activeTargets"]) {
        jobs.entry(target["labels"]["job"].as_str().unwrap_or_default()).or_default().push(target);
    }
    for job in JOBS {
        let check = format!("target {job}");
        let Some(targets) = jobs.get(job) else {
            let to_do =
                format!("docker compose up -d {job}; is the job {job} in Prometheus's configuration?");
            findings.fail(check, "no such target, or nobody under that name", to_do);
            continue;
        };
        let down: Vec<&&Value> = targets.iter().filter(|target| target["health"] != "up").collect();
        match down.first() {
            None => findings.ok(check, format!("{} up", targets.len())),
            // Found, and not scraped for the first time yet.
            Some(target) if target["health"] == "unknown" => {
                findings.warn(check, "not scraped yet", "look again in a few seconds");
            }
            Some(target) => {
                let (url, why) = (target["scrapeUrl"].as_str(), target["lastError"].as_str());
                let found = format!(
                    "{} of {} down: {} ({})",
                    down.len(),
                    targets.len(),
                    url.unwrap_or_default(),
                    why.unwrap_or_default()
                );
                findings.fail(
                    check,
                    found,
                    format!("docker compose ps {job}, then docker compose logs {job}"),
                );
            }
        }
    }
}

fn rules(findings: &mut Findings, data: &Value) {
    let rules = || list(&data["groups"]).flat_map(|group| list(&group["rules"]));
    let alerts = || rules().filter(|rule| rule["type"] == "alerting");
    let ours =
        alerts().filter(|rule| rule["name"].as_str().is_some_and(|name| name.starts_with("Korch"))).count();
    if ours == 0 {
        findings.fail(
            "alert rules",
            "korch's are not loaded",
            "mount observability/prometheus/rules and name it in rule_files: promtool check config tells what is wrong",
        );
        return;
    }
    let broken: Vec<String> = rules()
        .filter(|rule| rule["health"] == "err")
        .map(|rule| format!("{}: {}", name(rule), rule["lastError"].as_str().unwrap_or_default()))
        .collect();
    if broken.is_empty() {
        findings.ok("alert rules", format!("{ours} loaded"));
    } else {
        findings.fail("alert rules", broken.join("; "), "promtool check rules tells what is wrong");
    }
    for rule in alerts().filter(|rule| rule["state"] == "firing") {
        let summaries = list(&rule["alerts"]).filter_map(|alert| alert["annotations"]["summary"].as_str());
        let found: Vec<&str> = summaries.collect();
        let to_do = format!("docs/operations.md says under {} what to do", name(rule));
        findings.warn(format!("alert {}", name(rule)), format!("fires: {}", found.join("; ")), to_do);
    }
}

fn name(rule: &Value) -> &str {
    rule["name"].as_str().unwrap_or("?")
}
