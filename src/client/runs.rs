//! `korch runs`.

use super::answers::{RunLine, Runs};
use super::http::Server;
use super::{text, write, write_json};
use crate::cli::Output;
use crate::cli::client::RunsArgs;
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
            remarks(run),
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

/// What else there is to say of a run.
fn remarks(run: &RunLine) -> String {
    let mut remarks: Vec<String> = run.reason.as_deref().map(text::clean).into_iter().collect();
    if run.paused_at.is_some() {
        let by = run.paused_by.as_deref().map(|by| format!(" by {}", text::clean(by)));
        remarks.push(format!("paused{}", by.unwrap_or_default()));
    }
    let counts = [(run.counts.degraded, "degraded"), (run.counts.reused, "reused")];
    remarks
        .extend(counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    remarks.join(", ")
}
