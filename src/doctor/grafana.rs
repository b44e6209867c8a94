//! Grafana: whether it has the dashboards and reaches what they are drawn from.

use super::{Finding, Findings, Heard, dashboards, hear, is_there};
use crate::client::http::Server;

/// The variable with a token for a Grafana that lets nobody look on without.
pub(super) const TOKEN: &str = "KORCH_GRAFANA_TOKEN";

/// What each source is asked through Grafana: something cheap that it answers as soon as it is there.
const SOURCES: [(&str, &str); 2] =
    [("prometheus", "/api/v1/query?query=vector(1)"), ("loki", "/loki/api/v1/labels")];

/// Looks at Grafana.
pub(super) async fn look(server: Server) -> Vec<Finding> {
    let mut findings = Findings::of("grafana");
    let Some(health) = is_there(&mut findings, &server, "/api/health", "grafana", "--grafana").await else {
        return findings.list;
    };
    let version = health.json()["version"].as_str().map(|version| format!("version {version}"));
    findings.ok(server.url(), version.unwrap_or_else(|| "answers".into()));
    for (uid, path) in SOURCES {
        let check = format!("source {uid}");
        match hear(&server, &format!("/api/datasources/proxy/uid/{uid}{path}")).await {
            Ok(heard) if heard.is_well() => findings.ok(check, "answers through Grafana"),
            heard => {
                let (found, to_do) = refusal(
                    heard,
                    format!("docker compose up -d {uid}; is observability/grafana/provisioning mounted?"),
                );
                findings.fail(check, found, to_do);
            }
        }
    }
    for dashboard in dashboards::all() {
        let check = format!("dashboard {}", dashboard.title);
        match hear(&server, &format!("/api/dashboards/uid/{}", dashboard.uid)).await {
            Ok(heard) if heard.is_well() => {
                let panels = heard.json()["dashboard"]["panels"].as_array().map_or(0, Vec::len);
                if panels == dashboard.panels {
                    findings.ok(check, format!("{panels} panels"));
                } else {
                    let found =
                        format!("{panels} panels instead of the {} that this korch brings", dashboard.panels);
                    findings.warn(check, found, "somebody changed it, or it is of another version of korch");
                }
            }
            heard => {
                let to_do = "is observability/grafana mounted? docker compose logs grafana tells what was provisioned";
                let (found, to_do) = refusal(heard, to_do.into());
                findings.fail(check, found, to_do);
            }
        }
    }
    findings.list
}

/// What was found, and what to do, where Grafana does not give what it is asked for.
fn refusal(heard: Result<Heard, String>, to_do: String) -> (String, String) {
    match heard {
        Ok(heard) if matches!(heard.status, 401 | 403) => {
            let to_do = format!(
                "let anonymous viewers in, as compose.yaml does, or set {TOKEN} to a service account's token"
            );
            (format!("Grafana asks who we are: {}", heard.said()), to_do)
        }
        Ok(heard) => (heard.said(), to_do),
        Err(why) => (why, to_do),
    }
}
