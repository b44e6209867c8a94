//! Loki: whether log lines arrive, and whether it can answer what the dashboards ask.
//!
//! Its answers are those of <https://grafana.com/docs/loki/latest/reference/loki-http-api/>.

use std::collections::BTreeMap;

use serde_json::Value;

use super::dashboards::{Query, Source};
use super::{Finding, Findings, ask_dashboards, hear, is_there};
use crate::client::http::{Server, segment};
use crate::client::text::counted;

/// The lines of the last day, by who wrote them.
const LINES: &str = r#"sum by (producer) (count_over_time({app="kafka-orchestrator"}[24h]))"#;

/// Looks at Loki.
pub(super) async fn look(server: Server) -> Vec<Finding> {
    let mut findings = Findings::of("loki");
    if is_there(&mut findings, &server, "/ready", "loki", "--loki").await.is_none() {
        return findings.list;
    }
    findings.ok(server.url(), "ready");
    match result(&server, "query", LINES).await {
        Ok(series) => lines(&mut findings, &series),
        Err(why) => findings.fail("log lines", why, "--loki says where Loki is"),
    }
    ask_dashboards(&mut findings, &server, Source::Loki, has_data).await;
    findings.list
}

async fn result(server: &Server, call: &str, query: &str) -> Result<Vec<Value>, String> {
    let path = format!("/loki/api/v1/{call}?since=24h&limit=10&query={}", segment(query));
    let heard = hear(server, &path).await?;
    let mut answer = heard.json();
    match answer["data"]["result"].take() {
        Value::Array(result) if answer["status"] == "success" => Ok(result),
        _ => Err(heard.said()),
    }
}

async fn has_data(server: &Server, query: &Query) -> Result<bool, String> {
    Ok(!result(server, "query_range", &query.text).await?.is_empty())
}

fn lines(findings: &mut Findings, series: &[Value]) {
    let count = |series: &Value| series["value"][1].as_str().and_then(|count| count.parse::<f64>().ok());
    let mut by_producer: BTreeMap<String, u64> = BTreeMap::new();
    for series in series {
        let producer = series["metric"]["producer"].as_str().unwrap_or("nobody named").to_owned();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of lines")]
        let lines = count(series).unwrap_or_default().max(0.0) as u64;
        *by_producer.entry(producer).or_default() += lines;
    }
    if by_producer.is_empty() {
        findings.fail(
            "log lines",
            "none of the last 24 hours",
            "start a run; then look at Alloy's page, and whether KORCH_CONTAINER_LOGS is where the engine keeps its containers' logs",
        );
        return;
    }
    let all: u64 = by_producer.values().sum();
    let each: Vec<String> =
        by_producer.iter().map(|(producer, lines)| format!("{producer} {lines}")).collect();
    findings.ok(
        "log lines",
        format!("{} of the last 24 hours: {}", counted(all, "line", "lines"), each.join(", ")),
    );
}
