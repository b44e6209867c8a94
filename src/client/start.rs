//! `korch start` and `korch retry`: ask for a run, and wait for it if told to.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::answers::{Object, RunDetail, Workers};
use super::http::{Failure, Server, segment};
use super::patience::Patience;
use super::{requester, text, write, write_json};
use crate::cli::Output;
use crate::cli::client::{RetryArgs, StartArgs, WishArgs};
use crate::cli::rules::RulesWishArgs;
use crate::domain::attempt::Mark;
use crate::domain::event::{Outcome, RunId};
use crate::domain::graph::Graph;
use crate::domain::object::{ObjectId, Stage};
use crate::domain::rules::duration_text;
use crate::exit::Exit;
use crate::progress::{self, Bars};
use crate::summary::{DegradedObject, FailedObject, MarkedObject, SkippedObject, Summary, lower_bound_of};
use crate::telemetry;

/// How often a run is looked at: a fiftieth of the time it has taken so far, within these.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// An API that is away for longer than this while a run is waited for does not come back.
const AWAY: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Accepted {
    run_id: RunId,
    count: Option<u64>,
    #[serde(default)]
    warnings: Vec<String>,
}

/// Asks for a run.
pub async fn start(args: StartArgs) -> anyhow::Result<Exit> {
    let mut body = json!({ "targets": args.targets });
    if !args.exclude.is_empty() {
        // An API of an earlier version knows no exclusions, and says so.
        body["exclude"] = args.exclude.into();
    }
    if let Some(fresh) = args.fresh {
        body["fresh"] = duration_text(fresh).into();
    }
    ask_for("/orchestrate", body, args.wish).await
}

/// Asks for what failed in a run to be run again.
pub async fn retry(args: RetryArgs) -> anyhow::Result<Exit> {
    let run = args.run.as_deref().unwrap_or("latest");
    let body = if args.from.is_empty() { json!({}) } else { json!({ "from": args.from }) };
    ask_for(&format!("/runs/{}/retry", segment(run)), body, args.wish).await
}

/// Asks for a run, and shows it until it is over where somebody waits.
async fn ask_for(path: &str, mut body: Value, args: WishArgs) -> anyhow::Result<Exit> {
    let WishArgs { requested_by, rules, wait, ask } = args;
    body["requested_by"] = requester(requested_by).into();
    say_rules(&mut body, &rules);
    let server = Server::new(&ask.server)?;
    let json = server.post(path, &body).await?;
    let Accepted { run_id, count, warnings } = server.read(&json)?;
    for warning in &warnings {
        telemetry::say_to_people(format_args!("warning: {}", text::clean(warning)));
    }
    if wait {
        return attend(&server, run_id, count, ask.output).await;
    }
    if count.is_none() {
        telemetry::say_to_people(unplanned(&server, run_id).await);
    }
    match ask.output {
        Output::Human => write(|out| match count {
            Some(count) => writeln!(out, "run {run_id}: {}", text::counted(count, "object", "objects")),
            None => writeln!(out, "run {run_id}: asked for"),
        })?,
        Output::Json => write_json(&json)?,
    }
    Ok(Exit::Done)
}

/// What is asked of the rules; an API of an earlier version knows few of them, and says so.
fn say_rules(body: &mut Value, rules: &RulesWishArgs) {
    let RulesWishArgs { retries, backoff, timeout, on_failure, limit } = rules;
    let limits: Vec<String> = limit.iter().map(ToString::to_string).collect();
    let said = [
        ("retries", retries.map(Value::from)),
        ("backoff", backoff.map(|backoff| duration_text(backoff).into())),
        ("timeout", timeout.map(|timeout| duration_text(timeout).into())),
        ("on_failure", on_failure.map(|policy| policy.name().into())),
        ("limits", (!limits.is_empty()).then(|| limits.into())),
    ];
    for (name, value) in said {
        if let Some(value) = value {
            body[name] = value;
        }
    }
}

/// Shows a run until it is over, then its summary.
async fn attend(server: &Server, run_id: RunId, count: Option<u64>, output: Output) -> anyhow::Result<Exit> {
    // From here on Ctrl-C says what becomes of the run.
    let mut interrupts = signal(SignalKind::interrupt())?;
    telemetry::say_to_people(match count {
        Some(count) => format!("run {run_id}: {}", text::counted(count, "object", "objects")),
        None => format!("run {run_id}: {}", unplanned(server, run_id).await),
    });
    tokio::select! {
        over = wait(server, run_id) => over?,
        _ = interrupts.recv() => {
            telemetry::say_to_people(format_args!(
                "interrupted: run {run_id} goes on; `korch cancel {run_id}` ends it, `korch status {run_id}` shows it"
            ));
            return Ok(Exit::Interrupted);
        }
    }
    let run: RunDetail = server.ask(&format!("/runs/{run_id}")).await?;
    run.problems.iter().for_each(telemetry::say_to_people);
    let workers: Workers = server.ask("/workers").await?;
    let summary = summary(run, &workers);
    match output {
        Output::Human => write(|out| summary.write(out))?,
        Output::Json => write_json(&serde_json::to_vec(&summary)?)?,
    }
    Ok(summary.exit())
}

/// Why nobody has planned a run yet.
async fn unplanned(server: &Server, run: RunId) -> String {
    const KEPT: &str = "the request is kept in the log";
    let workers: Result<Workers, Failure> = server.ask("/workers").await;
    let active: Result<RunDetail, Failure> = server.ask("/runs/active?state=").await;
    match (workers, active) {
        (Ok(workers), _) if !workers.is_led() => {
            format!("no orchestrator leads now: {KEPT}, and the run begins when one does")
        }
        (_, Ok(active)) if active.line.run_id != run => {
            format!("run {} is under way: {KEPT}, and the run begins when its turn comes", active.line.run_id)
        }
        _ => format!("no orchestrator has planned it within 5 s: {KEPT}, and the run begins when one does"),
    }
}

/// Shows a run until it is over.
async fn wait(server: &Server, run: RunId) -> anyhow::Result<()> {
    let path = format!("/runs/{run}?state=");
    let bars = std::io::stderr().is_terminal().then(Bars::new);
    let begun = Instant::now();
    let mut said = (Instant::now(), Default::default());
    let mut patience = Patience::new(AWAY);
    loop {
        match server.ask::<RunDetail>(&path).await {
            Ok(detail) => {
                patience.answered();
                let standings = detail.standings();
                match &bars {
                    Some(bars) => bars.show(standings),
                    None if said.0.elapsed() >= progress::LINE_EVERY && said.1 != standings => {
                        telemetry::say_to_people(progress::line(standings));
                        said = (Instant::now(), standings);
                    }
                    None => {}
                }
                if detail.line.finished_at.is_some() {
                    if let Some(bars) = &bars {
                        bars.abandon();
                    }
                    return Ok(());
                }
            }
            // Also an API that has just started again and does not know the run yet.
            Err(failure) => {
                patience.failed(failure)?;
                tokio::time::sleep(LOOK_EVERY.1).await;
            }
        }
        tokio::time::sleep((begun.elapsed() / 50).clamp(LOOK_EVERY.0, LOOK_EVERY.1)).await;
    }
}

/// The summary of a run that is over, as the orchestrator itself writes it.
fn summary(run: RunDetail, workers: &Workers) -> Summary {
    let RunDetail { line, objects, .. } = run;
    let tries = |object: &Object| object.attempts.last().map_or(0, |last| last.attempt);
    let mut summary = Summary {
        run_id: line.run_id,
        outcome: match line.state.as_str() {
            "succeeded" => Outcome::Succeeded,
            "cancelled" => Outcome::Cancelled,
            _ => Outcome::Failed,
        },
        reason: line.reason,
        counts: line.counts,
        duration_seconds: line.duration_seconds.unwrap_or(0.0),
        lower_bound_seconds: lower_bound_seconds(&objects, workers),
        failed: Vec::new(),
        skipped: Vec::new(),
        repeated: objects.iter().filter(|object| object.attempts.len() > 1).count() as u64,
        fresh: line.fresh,
        degraded: Vec::new(),
        marked: Vec::new(),
    };
    for object in objects {
        let (id, name, stage) = (object.id, object.name(), object.stage);
        if let Some(mark) = object.marked.clone() {
            summary.marked.push(MarkedObject { id, name: name.clone(), stage, mark });
        }
        match object.state.as_str() {
            "loaded" if !object.degraded.is_empty() => {
                summary.degraded.push(DegradedObject { id, name, stage, because: object.degraded });
            }
            "failed" => {
                let failure = object.failure();
                let error = failure.and_then(|attempt| attempt.error.clone());
                let marked = || object.marked.as_ref().map(Mark::text);
                let error = error.or_else(marked).as_deref().map(text::clean);
                summary.failed.push(FailedObject {
                    id,
                    name,
                    stage,
                    attempts: tries(&object),
                    error: error.unwrap_or_default(),
                    stderr: failure.and_then(|attempt| attempt.stderr.clone()),
                });
            }
            "skipped" => summary.skipped.push(SkippedObject { id, name, stage, because: object.because }),
            _ => {}
        }
    }
    summary
}

/// With the slots that the workers have now; a stage that none serves any more counts by its longest path alone.
fn lower_bound_seconds(objects: &[Object], workers: &Workers) -> f64 {
    let index: FxHashMap<ObjectId, u32> = (0..).zip(objects).map(|(i, object)| (object.id, i)).collect();
    let edges = (0..).zip(objects).flat_map(|(child, object)| {
        object.parents.iter().filter_map(|parent| index.get(parent)).map(move |parent| (*parent, child))
    });
    let Ok(graph) = Graph::new(objects.len(), edges) else { return 0.0 };
    let took = |i: usize| {
        objects[i].attempts.iter().filter_map(|attempt| attempt.duration_seconds).fold(0.0, f64::max)
    };
    let slots = Stage::ALL.map(|stage| match workers.slots(stage) {
        0 => u64::MAX,
        slots => slots,
    });
    lower_bound_of(&graph, |i| objects[i].stage, took, slots)
}
