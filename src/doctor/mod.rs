//! `korch doctor`: asks every part of the stack whether it is there and holds what it should, and says what to do where not.
//!
//! It changes nothing: no topic is made, no run is asked for.

use std::time::Duration;

use futures_util::future::{FutureExt, LocalBoxFuture, join_all};
use serde::Serialize;

use crate::cli::doctor::{DoctorArgs, Part};
use crate::client::http::{Failure, Server};
use crate::client::told;
use crate::exit::Exit;

mod alloy;
pub mod dashboards;
mod grafana;
mod kafka;
mod korch;
mod loki;
mod prometheus;
mod report;

/// A part that has not told all by then is cut short.
const PART_LIMIT: Duration = Duration::from_secs(60);

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, and somebody should know of it.
    Warn,
    /// It does not.
    Fail,
}

/// What was found of one thing.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// The part of the stack.
    pub part: &'static str,
    /// What was looked at.
    pub check: String,
    /// How it stands.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to do about it, where something is to be done.
    pub to_do: Option<String>,
}

/// What is found of one part, bit by bit.
struct Findings {
    part: &'static str,
    list: Vec<Finding>,
}

impl Findings {
    fn of(part: &'static str) -> Findings {
        Findings { part, list: Vec::new() }
    }

    fn ok(&mut self, check: impl Into<String>, found: impl Into<String>) {
        self.push(check.into(), State::Ok, found.into(), None);
    }

    fn warn(&mut self, check: impl Into<String>, found: impl Into<String>, to_do: impl Into<String>) {
        self.push(check.into(), State::Warn, found.into(), Some(to_do.into()));
    }

    fn fail(&mut self, check: impl Into<String>, found: impl Into<String>, to_do: impl Into<String>) {
        self.push(check.into(), State::Fail, found.into(), Some(to_do.into()));
    }

    fn push(&mut self, check: String, state: State, found: String, to_do: Option<String>) {
        self.list.push(Finding { part: self.part, check, state, found, to_do });
    }
}

/// Asks every part, at once, and writes what was found. The exit code is 1 where something does not work.
///
/// # Errors
/// When the command line names something that cannot be asked, or stdout does not take the report.
pub async fn run(args: DoctorArgs) -> anyhow::Result<Exit> {
    told(look(args).await)
}

async fn look(args: DoctorArgs) -> anyhow::Result<Exit> {
    let asked = |part: Part| !args.without.contains(&part);
    let mut parts: Vec<LocalBoxFuture<'_, Vec<Finding>>> = Vec::new();
    let mut ask = |name: &'static str, findings: LocalBoxFuture<'static, Vec<Finding>>| {
        parts.push(within(name, findings).boxed_local());
    };
    if asked(Part::Kafka) {
        let settings = args.kafka.settings(crate::cli::doctor::LEASE)?;
        ask("kafka", kafka::look(settings, args.kafka.events(), args.kafka.members()).boxed_local());
    }
    if asked(Part::Server) {
        let server = Server::new(&args.server)?;
        ask("korch", korch::look(server, args.foreign_stage.clone()).boxed_local());
    }
    if asked(Part::Ui) {
        ask("page", korch::look_at_page(Server::stranger("--ui", &args.ui, None)?).boxed_local());
    }
    if asked(Part::Prometheus) {
        ask(
            "prometheus",
            prometheus::look(Server::stranger("--prometheus", &args.prometheus, None)?).boxed_local(),
        );
    }
    if asked(Part::Grafana) {
        let token = std::env::var(grafana::TOKEN).ok().filter(|token| !token.is_empty());
        ask("grafana", grafana::look(Server::stranger("--grafana", &args.grafana, token)?).boxed_local());
    }
    if asked(Part::Loki) {
        ask("loki", loki::look(Server::stranger("--loki", &args.loki, None)?).boxed_local());
    }
    if asked(Part::Alloy) {
        ask("alloy", alloy::look(Server::stranger("--alloy", &args.alloy, None)?).boxed_local());
    }
    let findings: Vec<Finding> = join_all(parts).await.into_iter().flatten().collect();
    report::write(&findings, args.output)?;
    let fails = findings.iter().any(|finding| finding.state == State::Fail);
    Ok(if fails { Exit::Internal } else { Exit::Done })
}

/// What was found of a part, or that it took too long.
async fn within(part: &'static str, findings: LocalBoxFuture<'static, Vec<Finding>>) -> Vec<Finding> {
    tokio::time::timeout(PART_LIMIT, findings).await.unwrap_or_else(|_| {
        let mut findings = Findings::of(part);
        findings.fail(
            "answers",
            format!("not within {} s", PART_LIMIT.as_secs()),
            "look at its log, and at what else this machine does",
        );
        findings.list
    })
}

/// What somebody answers who is no korch.
struct Heard {
    status: u16,
    body: String,
}

impl Heard {
    fn is_well(&self) -> bool {
        (200..300).contains(&self.status)
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// What it said, on one line.
    fn said(&self) -> String {
        let first = self.body.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let text: String = crate::client::text::clean(first).chars().take(160).collect();
        if text.is_empty() {
            format!("it answers {}", self.status)
        } else {
            format!("{} {text}", self.status)
        }
    }
}

/// Asks for something; the error says, for people, what came of it.
async fn hear(server: &Server, path: &str) -> Result<Heard, String> {
    match server.fetch(path).await {
        Ok((status, body)) => Ok(Heard { status, body: String::from_utf8_lossy(&body).into_owned() }),
        Err(Failure::Unreachable { error, .. }) => Err(format!("nobody answers ({error})")),
        Err(Failure::Silent { limit, .. }) => Err(format!("no answer within {} s", limit.as_secs())),
        Err(failure) => Err(failure.to_string()),
    }
}

/// Whether a part says at this path that it is well. Only then is there more to ask.
async fn is_there(
    findings: &mut Findings,
    server: &Server,
    path: &str,
    service: &str,
    flag: &str,
) -> Option<Heard> {
    let part = flag.trim_start_matches('-');
    let to_do = format!(
        "docker compose up -d {service}, then docker compose logs {service}; {flag} says where it is, --without {part} leaves it out"
    );
    match hear(server, path).await {
        Ok(heard) if heard.is_well() => Some(heard),
        Ok(heard) => {
            findings.fail(server.url(), heard.said(), to_do);
            None
        }
        Err(why) => {
            findings.fail(server.url(), why, to_do);
            None
        }
    }
}

/// Asks a source all that the dashboards ask of it.
async fn ask_dashboards(
    findings: &mut Findings,
    server: &Server,
    source: dashboards::Source,
    has_data: impl AsyncFn(&Server, &dashboards::Query) -> Result<bool, String>,
) {
    for (dashboard, queries) in dashboards::of(source) {
        let mut answered = Answered::default();
        for query in &queries {
            answered.note(query, has_data(server, query).await);
        }
        answered.tell(findings, &dashboard);
    }
}

/// What came of the queries of the dashboards.
#[derive(Default)]
struct Answered {
    all: usize,
    empty: usize,
    refused: Vec<String>,
}

impl Answered {
    fn note(&mut self, query: &dashboards::Query, answer: Result<bool, String>) {
        self.all += 1;
        match answer {
            Ok(true) => {}
            Ok(false) => self.empty += 1,
            Err(why) => self.refused.push(format!("{} ({why})", query.panel)),
        }
    }

    fn tell(self, findings: &mut Findings, dashboard: &str) {
        let Answered { all, empty, refused } = self;
        let check = format!("dashboard {dashboard}");
        if !refused.is_empty() {
            let found = format!("{} of {all} queries are refused: {}", refused.len(), refused.join("; "));
            findings.fail(
                check,
                found,
                "is this stack's version as old as this korch? `docker compose up -d` brings it up to date",
            );
        } else if all > 0 && empty == all {
            let to_do =
                "start a run: `korch start`, or the page's button; then look again half a minute later";
            findings.warn(check, format!("all {all} queries are answered, none has data yet"), to_do);
        } else {
            let without = if empty > 0 { format!(", {empty} without data so far") } else { String::new() };
            findings.ok(check, format!("all {all} queries are answered{without}"));
        }
    }
}
