//! korch itself: the API, the leader, the workers, the page.

use super::{Finding, Findings, hear, is_there};
use crate::client::answers::{RunDetail, Workers};
use crate::client::http::Server;
use crate::client::text::counted;
use crate::domain::object::Stage;

/// Looks at the orchestrator's API and at what it knows of the others.
pub(super) async fn look(server: Server, foreign: Vec<Stage>) -> Vec<Finding> {
    let mut findings = Findings::of("korch");
    if is_there(&mut findings, &server, "/readyz", "orchestrator", "--server").await.is_none() {
        return findings.list;
    }
    findings.ok(server.url(), "ready");
    match server.ask::<Workers>("/workers").await {
        Ok(workers) => members(&mut findings, &workers, &foreign),
        Err(failure) => findings.fail("members", failure.to_string(), "--server says where a korch API is"),
    }
    match server.ask::<RunDetail>("/runs/latest?state=").await {
        Ok(run) => last_run(&mut findings, &run),
        Err(failure) if failure.is_not_found() => findings.ok("latest run", "none yet"),
        Err(failure) => {
            findings.fail("latest run", failure.to_string(), "--server says where a korch API is");
        }
    }
    findings.list
}

fn members(findings: &mut Findings, workers: &Workers, foreign: &[Stage]) {
    if workers.is_led() {
        findings.ok("leader", workers.leader_text());
    } else {
        findings.fail(
            "leader",
            workers.leader_text(),
            "start one: `korch orchestrate`, or docker compose up -d orchestrator",
        );
    }
    for stage in Stage::ALL {
        let check = format!("workers of {stage}");
        let up = workers.up(stage);
        let slots = workers.slots(stage);
        if foreign.contains(&stage) {
            findings.ok(check, "left to strangers");
        } else if up == 0 {
            let to_do = format!(
                "start one: `korch worker --stage {stage}`, or docker compose up -d {stage}; --foreign-stage {stage} if strangers serve it"
            );
            findings.fail(check, "none", to_do);
        } else {
            findings.ok(check, format!("{up} up, {}", counted(slots, "slot", "slots")));
        }
    }
}

fn last_run(findings: &mut Findings, run: &RunDetail) {
    let (line, counts) = (&run.line, &run.line.counts);
    let found = format!(
        "{} {}: {} loaded, {} failed, {} skipped of {}",
        line.run_id, line.state, counts.loaded, counts.failed, counts.skipped, counts.objects
    );
    if line.state == "failed" && counts.failed == 0 {
        let why = line.reason.as_deref().unwrap_or("it could not be planned");
        findings.warn(
            "latest run",
            format!("{} failed: {why}", line.run_id),
            "`korch plan` names what is wrong with the catalogue",
        );
    } else if counts.failed > 0 {
        let retries = if line.finished_at.is_none() {
            "can run it again once this run is over"
        } else {
            "runs it again"
        };
        findings.warn(
            "latest run",
            found,
            format!("`korch status` names what failed and why, `korch retry` {retries}"),
        );
    } else {
        findings.ok("latest run", found);
    }
}

/// Looks at the page.
pub(super) async fn look_at_page(server: Server) -> Vec<Finding> {
    let mut findings = Findings::of("page");
    if is_there(&mut findings, &server, "/readyz", "ui", "--ui").await.is_none() {
        return findings.list;
    }
    match hear(&server, "/").await {
        Ok(page) if page.is_well() && page.body.contains("<html") => {
            findings.ok(server.url(), "ready, serves the page");
        }
        Ok(page) => {
            let to_do =
                "--ui says where `korch ui` or `korch up` serves the page; the orchestrator's API has none";
            findings.fail(server.url(), format!("no page there: {}", page.said()), to_do);
        }
        Err(why) => findings.fail(server.url(), why, "docker compose logs ui"),
    }
    findings.list
}
