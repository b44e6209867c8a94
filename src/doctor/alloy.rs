//! Grafana Alloy, which brings the log lines to Loki.

use super::{Finding, Findings, hear, is_there};
use crate::client::http::Server;

/// Looks at Alloy.
pub(super) async fn look(server: Server) -> Vec<Finding> {
    let mut findings = Findings::of("alloy");
    if is_there(&mut findings, &server, "/-/ready", "alloy", "--alloy").await.is_none() {
        return findings.list;
    }
    match hear(&server, "/-/healthy").await {
        Ok(heard) if heard.is_well() => findings.ok(server.url(), "ready, every component is well"),
        Ok(heard) => {
            let to_do = format!("{} shows each component and what it misses", server.url());
            findings.fail(server.url(), heard.said(), to_do);
        }
        Err(why) => findings.fail(server.url(), why, "docker compose logs alloy"),
    }
    findings.list
}
