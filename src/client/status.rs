//! `korch status`: how a run stands.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::answers::{Estimate, Object, RunDetail, RunLine, StageCounts, Workers};
use super::http::{Failure, Server, segment};
use super::{events, text, write};
use crate::cli::Output;
use crate::cli::client::StatusArgs;
use crate::domain::attempt::Mark;
use crate::domain::event::{Counts, RunId};
use crate::domain::object::{Criticality, ObjectId, Stage};
use crate::exit::Exit;
use crate::summary::reused_text;

/// How often a watched run is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A list shows so many objects; the rest are counted.
const LISTED: usize = 20;
/// So many final objects are told when they end.
const LISTED_FINALS: usize = 10;

/// Shows how a run stands.
pub async fn status(args: StatusArgs) -> anyhow::Result<Exit> {
    let server = Server::new(&args.ask.server)?;
    let mut run = args.run.as_deref().map_or_else(|| "latest".into(), segment);
    let mut shown: Option<Seen> = None;
    loop {
        let seen = match args.ask.output {
            Output::Human => show(&server, &run, args.watch, shown.as_ref()).await,
            Output::Json => show_json(&server, &run, shown.as_ref()).await,
        };
        let seen = match seen {
            Ok(seen) => seen,
            // Nobody named a run, and there is none.
            Err(error) if args.run.is_none() && not_found(&error) && shown.is_none() => {
                return no_run(&server, args.ask.output).await;
            }
            Err(error) => return Err(error),
        };
        if !args.watch || seen.over {
            return Ok(Exit::Done);
        }
        // The one that was latest at first is the one that is watched.
        run.clone_from(&seen.run);
        shown = Some(seen);
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = events::unread() => return Ok(Exit::Done),
        }
    }
}

/// What was shown last.
struct Seen {
    run: String,
    state: String,
    stages: Vec<StageCounts>,
    over: bool,
}

impl Seen {
    fn of(run: &RunDetail) -> Seen {
        Seen {
            run: run.line.run_id.to_string(),
            state: run.line.state.clone(),
            stages: run.stages.clone(),
            over: run.line.finished_at.is_some(),
        }
    }

    fn is_as(&self, other: &Seen) -> bool {
        self.state == other.state && self.stages == other.stages
    }
}

fn not_found(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Failure>().is_some_and(Failure::is_not_found)
}

async fn no_run(server: &Server, output: Output) -> anyhow::Result<Exit> {
    let workers: Workers = server.ask("/workers").await?;
    write(|out| match output {
        Output::Human => writeln!(out, "no run yet: `korch start` asks for one\n{}", workers.leader_text()),
        Output::Json => writeln!(out, "{{\"leader\":null,\"run\":null}}"),
    })?;
    Ok(Exit::Done)
}

async fn show(server: &Server, run: &str, watch: bool, shown: Option<&Seen>) -> anyhow::Result<Seen> {
    let run: RunDetail =
        server.ask(&format!("/runs/{run}?state=running,retrying,failed,skipped,degraded,marked")).await?;
    let workers: Workers = server.ask("/workers").await?;
    let active = if run.line.state == "queued" { active(server).await? } else { None };
    let before = active.filter(|active| *active != run.line.run_id);
    let seen = Seen::of(&run);
    let redraws = watch && io::stdout().is_terminal();
    if redraws || shown.is_none_or(|shown| !shown.is_as(&seen)) {
        write(|out| {
            if redraws {
                // To the top of the screen, and what was below is gone.
                write!(out, "\x1b[H\x1b[2J")?;
            } else if shown.is_some() {
                writeln!(out)?;
            }
            human(out, &run, before, &workers, Timestamp::now())
        })?;
    }
    Ok(seen)
}

async fn show_json(server: &Server, run: &str, shown: Option<&Seen>) -> anyhow::Result<Seen> {
    #[derive(serde::Deserialize)]
    struct Leader {
        leader: Box<RawValue>,
    }
    let json = server.get(&format!("/runs/{run}")).await?;
    let Leader { leader } = server.ask("/workers").await?;
    let seen = Seen::of(&server.read(&json)?);
    if shown.is_none_or(|shown| !shown.is_as(&seen)) {
        write(|out| {
            write!(out, "{{\"leader\":{},\"run\":", leader.get())?;
            out.write_all(json.trim_ascii())?;
            writeln!(out, "}}")
        })?;
    }
    Ok(seen)
}

/// The run whose turn it is.
async fn active(server: &Server) -> anyhow::Result<Option<RunId>> {
    match server.ask::<RunDetail>("/runs/active?state=").await {
        Ok(active) => Ok(Some(active.line.run_id)),
        Err(failure) if failure.is_not_found() => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}

/// `before` is the run whose turn it is, where it is another one.
fn human(
    out: &mut dyn Write,
    run: &RunDetail,
    before: Option<RunId>,
    workers: &Workers,
    now: Timestamp,
) -> io::Result<()> {
    let line = &run.line;
    let reason =
        line.reason.as_deref().map(|reason| format!(" ({})", text::clean(reason))).unwrap_or_default();
    writeln!(out, "run {} {}{reason}", line.run_id, line.state)?;
    let asked = line.requested_by.as_deref().map(|by| format!(" by {}", text::clean(by))).unwrap_or_default();
    if let Some(at) = line.requested_at.as_deref() {
        let ago = text::ago(at, now).map(|ago| format!(", {} ago", text::seconds(ago))).unwrap_or_default();
        writeln!(out, "  asked for{asked} at {}{ago}", text::time(at))?;
    }
    if let Some(due) = line.scheduled_for.as_deref() {
        writeln!(out, "  was due at {}", text::time(due))?;
    }
    if let Some(selection) = line.selection.as_deref() {
        writeln!(out, "  selected {}", text::clean(selection))?;
    }
    rules(out, line)?;
    let is_over = line.finished_at.is_some();
    if let Some(at) = line.paused_at.as_deref() {
        let by = line.paused_by.as_deref().map(|by| format!(" by {}", text::clean(by))).unwrap_or_default();
        let ago = text::ago(at, now).map(|ago| format!(", {} ago", text::seconds(ago))).unwrap_or_default();
        writeln!(out, "  paused{by} at {}{ago}: nothing new starts until `korch resume`", text::time(at))?;
    }
    if let Some(took) = line.duration_seconds {
        writeln!(out, "  {} {}", if is_over { "took" } else { "running for" }, text::seconds(took))?;
    }
    let estimate = run.estimate.as_ref().filter(|_| !is_over);
    if let Some(ends_at) = estimate.and_then(|estimate| estimate.ends_at.as_deref()) {
        writeln!(out, "  ends about {}", text::about(ends_at, now))?;
    }
    if let Some(before) = before {
        writeln!(out, "  waits for its turn: run {before} is under way")?;
    }
    // Of a run that is over it does not matter who leads, only that nobody does: the next one will wait.
    if !is_over || !workers.is_led() {
        writeln!(out, "  {}", workers.leader_text())?;
    }
    stages(out, run)?;
    if !is_over {
        for counts in run.stages.iter().filter(|counts| counts.ready > 0 && workers.slots(counts.stage) == 0)
        {
            let objects = text::counted(counts.ready, "object waits", "objects wait");
            writeln!(out, "\nno worker serves {}: {objects} for one", counts.stage)?;
        }
        if let Some(estimate) = estimate {
            finals(out, estimate, now)?;
        }
        list(out, run, "running", |object| {
            let last = object.attempts.last();
            let worker = last.and_then(|last| last.worker.as_deref()).map_or_else(|| "?".into(), text::clean);
            let since = last.and_then(|last| last.assigned_at.as_deref()).and_then(|at| text::ago(at, now));
            let since = since.map(|ago| format!(" for {}", text::seconds(ago))).unwrap_or_default();
            format!("on {worker}{since}{}", attempt(object))
        })?;
        list(out, run, "retrying", |object| {
            let due = object.next_try_at.as_deref().and_then(|at| at.parse::<Timestamp>().ok());
            let due = due.map(|due| due.duration_since(now).as_secs_f64()).filter(|due| *due > 0.0);
            let due = due.map(|due| format!(", again in {}", text::seconds(due))).unwrap_or_default();
            error(object) + &due
        })?;
    }
    list(out, run, "failed", error)?;
    list(out, run, "skipped", |object| format!("because of {}", ids(&object.because)))?;
    let degraded = |object: &&Object| object.state == "loaded" && !object.degraded.is_empty();
    list_of(out, "degraded", run.objects.iter().filter(degraded), |object| {
        format!("with an older version of {}", ids(&object.degraded))
    })?;
    list_of(out, "marked", run.objects.iter().filter(|object| object.marked.is_some()), |object| {
        object.marked.as_ref().map(|mark| text::clean(&mark.text())).unwrap_or_default()
    })
}

/// When the final objects will be through: the earliest, and among equals the most critical, first.
fn finals(out: &mut dyn Write, estimate: &Estimate, now: Timestamp) -> io::Result<()> {
    if estimate.final_objects.is_empty() {
        return Ok(());
    }
    let mut table = text::Table::new("  ", &[">", "", ""]);
    for object in estimate.final_objects.iter().take(LISTED_FINALS) {
        let name = object.name.as_deref().map(text::clean).unwrap_or_default();
        let ends = format!("ends about {}", text::about(&object.estimated_end, now));
        let criticality = match object.criticality {
            Criticality::High => ", high criticality",
            Criticality::Medium | Criticality::Low => "",
        };
        table.row(vec![object.id.to_string(), name, ends + criticality]);
    }
    writeln!(out, "\nfinal objects")?;
    table.write(out)?;
    let more = estimate.final_objects_left.saturating_sub(LISTED_FINALS);
    if more > 0 {
        writeln!(out, "  and {more} more: --output json has them")?;
    }
    Ok(())
}

/// By which rules the run goes, where they are not the plainest.
fn rules(out: &mut dyn Write, line: &RunLine) -> io::Result<()> {
    let Some(rules) = &line.rules else { return Ok(()) };
    let mut told = Vec::new();
    if rules.retries > 0 {
        told.push(format!("--retries {} --backoff {}", rules.retries, text::clean(&rules.backoff)));
    }
    told.extend(rules.timeout.as_deref().map(|timeout| format!("--timeout {}", text::clean(timeout))));
    if rules.on_failure != "skip" {
        told.push(format!("--on-failure {}", text::clean(&rules.on_failure)));
    }
    told.extend(rules.limits.iter().take(LISTED).map(|limit| format!("--limit {}", text::clean(limit))));
    told.extend(line.fresh.as_deref().map(|fresh| format!("--fresh {}", text::clean(fresh))));
    if told.is_empty() { Ok(()) } else { writeln!(out, "  by the rules {}", told.join(" ")) }
}

fn ids(ids: &[ObjectId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn stages(out: &mut dyn Write, run: &RunDetail) -> io::Result<()> {
    if run.stages.is_empty() {
        return Ok(());
    }
    let retrying = run.stages.iter().any(|counts| counts.retrying > 0);
    let mut heads = vec!["", ">objects", ">waiting", ">ready", ">running"];
    heads.extend(retrying.then_some(">retrying"));
    heads.extend([">loaded", ">failed", ">skipped"]);
    let mut table = text::Table::new("  ", &heads);
    let cells = |counts: &StageCounts| {
        let mut cells = vec![counts.objects, counts.waiting, counts.ready, counts.running];
        cells.extend(retrying.then_some(counts.retrying));
        cells.extend([counts.loaded, counts.failed, counts.skipped]);
        cells
    };
    let mut together = vec![0; heads.len() - 1];
    for stage in Stage::ALL {
        let Some(counts) = run.stages.iter().find(|counts| counts.stage == stage) else { continue };
        let cells = cells(counts);
        together.iter_mut().zip(&cells).for_each(|(sum, count)| *sum += count);
        table.row(row(stage.name(), &cells));
    }
    table.row(row("together", &together));
    writeln!(out)?;
    table.write(out)?;
    let Counts { degraded, reused, .. } = run.line.counts;
    if degraded > 0 {
        writeln!(out, "  {degraded} loaded with an older version of something before them (degraded)")?;
    }
    if reused > 0 {
        writeln!(out, "  {}", reused_text(reused, run.line.fresh.as_deref()))?;
    }
    Ok(())
}

fn row(name: &str, counts: &[u64]) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(counts.iter().map(ToString::to_string)).collect()
}

fn attempt(object: &Object) -> String {
    match object.attempts.last() {
        Some(last) if last.attempt > 1 => format!(", attempt {}", last.attempt),
        _ => String::new(),
    }
}

fn error(object: &Object) -> String {
    let error = object.failure().and_then(|failure| failure.error.clone());
    let marked = || object.marked.as_ref().map(Mark::text);
    let error = error.or_else(marked).as_deref().map(text::clean);
    format!("{}{}", error.unwrap_or_default(), attempt(object))
}

/// The objects in a state, a line each.
fn list(
    out: &mut dyn Write,
    run: &RunDetail,
    state: &str,
    tell: impl Fn(&Object) -> String,
) -> io::Result<()> {
    list_of(out, state, run.objects.iter().filter(|object| object.state == state), tell)
}

/// Objects under a heading, a line each.
fn list_of<'a>(
    out: &mut dyn Write,
    heading: &str,
    objects: impl Iterator<Item = &'a Object>,
    tell: impl Fn(&Object) -> String,
) -> io::Result<()> {
    let objects: Vec<&Object> = objects.collect();
    if objects.is_empty() {
        return Ok(());
    }
    let mut table = text::Table::new("  ", &[">", "", "", ""]);
    for object in objects.iter().take(LISTED) {
        table.row(vec![
            object.id.to_string(),
            object.name().unwrap_or_default(),
            object.stage.name().to_owned(),
            tell(object),
        ]);
    }
    writeln!(out, "\n{heading}")?;
    table.write(out)?;
    if objects.len() > LISTED {
        writeln!(out, "  and {} more: --output json has all of them", objects.len() - LISTED)?;
    }
    Ok(())
}
