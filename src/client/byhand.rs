//! `korch cancel`, `korch pause`, `korch resume` and `korch mark`: what people do to a run by hand.

use serde::Deserialize;
use serde_json::{Value, json};

use super::http::{Server, segment};
use super::{requester, write, write_json};
use crate::cli::Output;
use crate::cli::client::{AskArgs, CancelArgs, MarkArgs};
use crate::domain::event::RunId;
use crate::exit::Exit;

/// Stops a run.
pub async fn cancel(args: CancelArgs) -> anyhow::Result<Exit> {
    to_run(args, "cancel", |run| format!("run {run} is being cancelled")).await
}

/// Starts nothing more of a run.
pub async fn pause(args: CancelArgs) -> anyhow::Result<Exit> {
    let told = |run| {
        format!("run {run} is paused: what runs is finished, nothing new starts until `korch resume {run}`")
    };
    to_run(args, "pause", told).await
}

/// Lets a run go on.
pub async fn resume(args: CancelArgs) -> anyhow::Result<Exit> {
    to_run(args, "resume", |run| format!("run {run} goes on")).await
}

/// Says what an object is.
pub async fn mark(args: MarkArgs) -> anyhow::Result<Exit> {
    let MarkArgs { object, state, because, run, requested_by, ask } = args;
    let run = run.as_deref().map_or_else(|| "latest".into(), segment);
    let requested_by = requester(requested_by);
    let body = json!({ "state": state, "because": because, "requested_by": requested_by });
    let told = |run| format!("object {object} of run {run} is marked as {}", state.name());
    append(&ask, &format!("/runs/{run}/objects/{object}/mark"), &body, told).await
}

async fn to_run(args: CancelArgs, what: &str, told: impl FnOnce(RunId) -> String) -> anyhow::Result<Exit> {
    let run = args.run.as_deref().map_or_else(|| "active".into(), segment);
    let body = json!({ "requested_by": requester(args.requested_by) });
    append(&args.ask, &format!("/runs/{run}/{what}"), &body, told).await
}

async fn append(
    ask: &AskArgs,
    path: &str,
    body: &Value,
    told: impl FnOnce(RunId) -> String,
) -> anyhow::Result<Exit> {
    #[derive(Deserialize)]
    struct Accepted {
        run_id: RunId,
    }
    let server = Server::new(&ask.server)?;
    let json = server.post(path, body).await?;
    if ask.output == Output::Json {
        write_json(&json)?;
        return Ok(Exit::Done);
    }
    let Accepted { run_id } = server.read(&json)?;
    write(|out| writeln!(out, "{}", told(run_id)))?;
    Ok(Exit::Done)
}
