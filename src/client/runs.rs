//! `korch runs` and `korch cancel`.

use serde_json::json;

use super::answers::{RunLine, Runs};
use super::http::{Server, segment};
use super::{requester, text, write, write_json};
use crate::cli::Output;
use crate::cli::client::{CancelArgs, RunsArgs};
use crate::exit::Exit;
use crate::telemetry;

/// So much of a selection stands in the table, in characters.
const SHOWN: usize = 40;

/// Lists the runs.
pub async fn runs(args: RunsArgs) -> anyhow::Result<Exit> {
    let server = Server::new(&args.ask.server)?;
    let json = server.get(&format!("/runs?limit={}", args.limit)).await?;
    if args.ask.output == Output::Json {
        write_json(&json)?;
        return Ok(Exit::Done);
    }
    let Runs { runs } = server.read(&json)?;
    if runs.is_empty() {
        telemetry::say_to_people("no run yet: `korch start` asks for one");
        return Ok(Exit::Done);
    }
    let mut table = text::Table::new(
        "",
        &[
            "RUN",
            "STATE",
            "ASKED FOR BY",
            "SELECTED",
            "AT",
            ">TOOK",
            ">OBJECTS",
            ">LOADED",
            ">FAILED",
            ">SKIPPED",
            "",
        ],
    );
    for run in &runs {
        let counts = run.counts;
        let planned = run.planned_at.is_some() || counts.objects > 0;
        let count = |count: u64| if planned { count.to_string() } else { "–".into() };
        table.row(vec![
            run.run_id.to_string(),
            run.state.clone(),
            asked_by(run),
            run.selection.as_deref().map_or_else(|| "–".into(), |selection| text::cut(selection, SHOWN)),
            run.requested_at.as_deref().or(run.planned_at.as_deref()).map_or_else(|| "–".into(), text::time),
            run.duration_seconds.map_or_else(|| "–".into(), text::seconds),
            count(counts.objects),
            count(counts.loaded),
            count(counts.failed),
            count(counts.skipped),
            run.reason.as_deref().map(text::clean).unwrap_or_default(),
        ]);
    }
    write(|out| table.write(out))?;
    Ok(Exit::Done)
}

/// Who asked, and when it was due where a schedule did.
fn asked_by(run: &RunLine) -> String {
    let by = run.requested_by.as_deref().map_or_else(|| "–".into(), text::clean);
    match &run.scheduled_for {
        Some(due) => format!("{by}, due {}", text::time(due)),
        None => by,
    }
}

/// Stops a run.
pub async fn cancel(args: CancelArgs) -> anyhow::Result<Exit> {
    let server = Server::new(&args.ask.server)?;
    let run = args.run.as_deref().map_or_else(|| "active".into(), segment);
    let body = json!({ "requested_by": requester(args.requested_by) });
    let json = server.post(&format!("/runs/{run}/cancel"), &body).await?;
    if args.ask.output == Output::Json {
        write_json(&json)?;
        return Ok(Exit::Done);
    }
    #[derive(serde::Deserialize)]
    struct Accepted {
        run_id: crate::domain::event::RunId,
    }
    let Accepted { run_id } = server.read(&json)?;
    write(|out| writeln!(out, "run {run_id} is being cancelled"))?;
    Ok(Exit::Done)
}
