//! `korch explain`: why an object does not run, as a tree down to the causes.

use std::io::{self, Write};

use super::http::{Server, segment};
use super::text::{clean, counted, seconds, time};
use super::{write, write_json};
use crate::cli::Output;
use crate::cli::client::ExplainArgs;
use crate::domain::explain::{Busy, Chain, Explanation, Hold, Link, RunState, Standing, Why};
use crate::domain::object::Stage;
use crate::exit::Exit;

/// Asks, and tells.
pub async fn explain(args: ExplainArgs) -> anyhow::Result<Exit> {
    let server = Server::new(&args.ask.server)?;
    let run = args.run.as_deref().map_or_else(|| "latest".into(), segment);
    let json = server.get(&format!("/runs/{run}/explain/{}", args.object)).await?;
    if args.ask.output == Output::Json {
        write_json(&json)?;
    } else {
        let explanation: Explanation = server.read(&json)?;
        write(|out| tell(out, &explanation))?;
    }
    Ok(Exit::Done)
}

/// For people.
fn tell(out: &mut dyn Write, explanation: &Explanation) -> io::Result<()> {
    let Explanation { run, object, chains, more } = explanation;
    let name = named(object.id, &object.name);
    let stage = object.stage.map(|stage| format!(" ({stage})")).unwrap_or_default();
    let id = run.run_id;
    match &object.why {
        Why::NotPlanned => writeln!(out, "{name} does not run: run {id} has no plan")?,
        Why::Satisfied { .. } => writeln!(out, "{name} is not run by run {id}: it counts as loaded")?,
        Why::NotRun { was } => writeln!(out, "{name}{stage} did not run: run {id} ended while it was {was}")?,
        why => writeln!(out, "{name}{stage} {} run {id}", verb(why))?,
    }
    for line in details(object).into_iter().chain(besides(object)) {
        writeln!(out, "  {line}")?;
    }
    if !chains.is_empty() {
        writeln!(out, "  {name}")?;
        let mut tree = Tree::default();
        chains.iter().for_each(|chain| tree.add(chain));
        tree.write(out, "  ", (*more > 0).then(|| format!("and {more} more")))?;
    }
    about_run(out, explanation)
}

fn verb(why: &Why) -> &'static str {
    match why {
        Why::Loaded { .. } => "is loaded in",
        Why::Running { .. } => "is running in",
        Why::Retrying { .. } => "failed and is tried again in",
        Why::Failed { .. } => "failed in",
        Why::Skipped { .. } => "is skipped in",
        Why::Waiting { .. } => "waits for its parents in",
        Why::Ready { .. } => "is ready and waits for a worker in",
        Why::NotRun { .. } | Why::NotPlanned | Why::Satisfied { .. } => "does not run in",
    }
}

/// What else there is to say of the object that was asked about.
fn details(object: &Standing) -> Vec<String> {
    let stage = object.stage;
    match &object.why {
        Why::Loaded { attempt, worker, at, duration_seconds } => {
            let took = duration_seconds.map(|took| format!(" in {}", seconds(took))).unwrap_or_default();
            // Neither a worker nor an attempt has anything to do with it: `besides` says who has.
            if worker.is_none() && (object.reused.is_some() || object.marked.is_some()) {
                return Vec::new();
            }
            vec![format!("loaded{}{took} at {}{}", on(worker), time(at), nth(*attempt))]
        }
        Why::Running { attempt, worker, since, seconds: running, silent_seconds } => {
            let mut lines = vec![format!(
                "running{} for {}, since {}{}",
                on(worker),
                seconds(*running),
                time(since),
                nth(*attempt)
            )];
            lines.extend(silent_seconds.map(|silent| {
                format!(
                    "that worker has been silent for {}: the object is given to another one",
                    seconds(silent)
                )
            }));
            lines
        }
        Why::Retrying { attempt, worker, error, hold } => {
            let mut lines = vec![format!("attempt {attempt} failed{}: {}", on(worker), clean(error))];
            lines.extend(holds(hold, stage));
            lines
        }
        Why::Failed { attempts, worker, at, error, stderr } => {
            let at = at.as_deref().map(|at| format!(" at {}", time(at))).unwrap_or_default();
            let tries = counted((*attempts).into(), "attempt", "attempts");
            if error.is_empty() && object.marked.is_some() {
                return Vec::new();
            }
            let mut lines = vec![format!("failed after {tries}{}{at}: {}", on(worker), clean(error))];
            let stderr: Vec<&str> = stderr.as_deref().unwrap_or_default().lines().collect();
            lines.extend(
                stderr[stderr.len().saturating_sub(10)..].iter().map(|line| format!("| {}", clean(line))),
            );
            lines
        }
        Why::Ready { attempt, seconds: offered, hold, .. } => {
            let mut lines = Vec::new();
            let offered = offered.map(|offered| format!("ready for {}{}", seconds(offered), nth(*attempt)));
            lines.extend(offered);
            lines.extend(holds(hold, stage));
            lines
        }
        Why::Satisfied { needed_by } => {
            let ids: Vec<String> = needed_by.iter().map(ToString::to_string).collect();
            vec![format!("it is inactive or kept elsewhere; needed by {}", ids.join(", "))]
        }
        Why::Skipped { stopped: true } => {
            vec!["the run stops at the first failure: nothing more is started".into()]
        }
        Why::Skipped { .. } | Why::Waiting { .. } | Why::NotRun { .. } | Why::NotPlanned => Vec::new(),
    }
}

/// What there is to say of an object whatever its state.
fn besides(object: &Standing) -> Vec<String> {
    let mut lines: Vec<String> = object
        .marked
        .iter()
        .map(|mark| format!("{} (at {})", clean(&mark.text()), time(&mark.at.to_string())))
        .collect();
    lines.extend(object.reused.map(|version| {
        format!(
            "reused: run {} loaded it at {}, and that is fresh enough",
            version.run_id,
            time(&version.at.to_string())
        )
    }));
    lines.extend(object.degraded.iter().map(|older| {
        let version = older.version.map(|version| {
            format!(", its version of {} (run {})", time(&version.at.to_string()), version.run_id)
        });
        let state = match older.state.as_str() {
            "failed" => "failed in this run",
            "skipped" => "was skipped in this run",
            _ => "has no version of this run",
        };
        let version = version.unwrap_or_default();
        format!("degraded: {} {state}, an older one serves{version}", named(older.id, &older.name))
    }));
    lines
}

/// What an object waits for whose parents are loaded, in a line or more.
fn holds(hold: &Hold, stage: Option<Stage>) -> Vec<String> {
    let stage = stage.map_or("its stage", Stage::name);
    match hold {
        Hold::NoLeader => vec!["no orchestrator leads: it is given to a worker once one does".into()],
        Hold::Cancelling => vec!["the run is being cancelled: nothing new starts".into()],
        Hold::Paused => vec!["the run is paused: nothing new starts until `korch resume`".into()],
        Hold::Stopping => vec!["the run stops at the first failure: nothing more is started".into()],
        Hold::Backoff { until, seconds: left } => {
            vec![format!("it waits for another try until {}, in {}", time(until), seconds(*left))]
        }
        Hold::Limit { limit, by, more } => {
            let running = by.len() + more;
            let mut lines = vec![format!("held back by limit {} ({running} running):", clean(limit))];
            lines.extend(busy_lines(by, *more));
            lines
        }
        Hold::NoWorker { lost } => {
            let lost: Vec<String> = lost.iter().map(|worker| clean(worker)).collect();
            let last = if lost.is_empty() {
                String::new()
            } else {
                format!(" ({} silent or leaving)", lost.join(", "))
            };
            vec![format!(
                "no worker serves {stage}{last}: start one, or it is left to consumers of the old format"
            )]
        }
        Hold::SlotsBusy { slots, workers, by, more } => {
            let mut lines = vec![match slots {
                1 => format!("the only slot for {stage} is taken:"),
                _ => format!(
                    "all {slots} slots of {} for {stage} are taken:",
                    counted(*workers as u64, "worker", "workers")
                ),
            }];
            lines.extend(busy_lines(by, *more));
            lines
        }
        Hold::Strangers => vec![format!("{stage} is left to consumers of the old format: one has to answer")],
        Hold::PerhapsStrangers => vec![format!(
            "a slot is free and yet it is not given to a worker: {stage} may be left to consumers of the old format"
        )],
        Hold::Soon => vec!["nothing stands in its way: it is its turn at any moment".into()],
    }
}

fn busy_lines(by: &[Busy], more: usize) -> Vec<String> {
    let busy = by.iter().map(|busy| {
        let running = busy.seconds.map(|running| format!(" for {}", seconds(running))).unwrap_or_default();
        let run = busy.run_id.map(|run| format!(" (run {run})")).unwrap_or_default();
        format!("  {} on {}{running}{run}", named(busy.id, &busy.name), clean(&busy.worker))
    });
    busy.chain((more > 0).then(|| format!("  and {more} more"))).collect()
}

/// A cause, in a line: what stands behind its name in the tree.
fn cause(standing: &Standing) -> String {
    let first_of = |lines: Vec<String>| lines.into_iter().next().unwrap_or_default();
    let what = match &standing.why {
        Why::Loaded { at, .. } => format!("was the cause, and was loaded after all at {}", time(at)),
        Why::Running { attempt, worker, seconds: running, silent_seconds, .. } => {
            let silent =
                silent_seconds.map(|silent| format!(", which has been silent for {}", seconds(silent)));
            format!(
                "is running{} for {}{}{}",
                on(worker),
                seconds(*running),
                nth(*attempt),
                silent.unwrap_or_default()
            )
        }
        Why::Retrying { attempt, worker, error, hold } => {
            let when = match hold {
                Hold::Backoff { seconds: left, .. } => format!("in {}", seconds(*left)),
                Hold::Paused => "once the run goes on".into(),
                _ => String::new(),
            };
            let when = if when.is_empty() { when } else { format!(" {when}") };
            format!("failed{}{} and is tried again{when}: {}", on(worker), nth(*attempt), clean(error))
        }
        Why::Failed { error, .. } if error.is_empty() && standing.marked.is_some() => {
            standing.marked.as_ref().map(|mark| format!("is {}", clean(&mark.text()))).unwrap_or_default()
        }
        Why::Failed { attempts, worker, error, .. } => {
            let tries = counted((*attempts).into(), "attempt", "attempts");
            format!("failed after {tries}{}: {}", on(worker), clean(error))
        }
        Why::Skipped { .. } => "is skipped".into(),
        Why::Waiting { .. } => "waits".into(),
        Why::Ready {
            hold: hold @ (Hold::SlotsBusy { by, more, .. } | Hold::Limit { by, more, .. }), ..
        } => {
            const NAMED: usize = 3;
            let mut ids: Vec<String> = by.iter().take(NAMED).map(|busy| busy.id.to_string()).collect();
            let more = more + by.len() - ids.len();
            ids.extend((more > 0).then(|| format!("{more} more")));
            let taken = first_of(holds(hold, standing.stage));
            format!("is ready: {} by {}", taken.trim_end_matches(':'), ids.join(", "))
        }
        Why::Ready { hold, .. } => format!("is ready: {}", first_of(holds(hold, standing.stage))),
        Why::NotRun { was } => format!("was {was} when the run ended"),
        Why::NotPlanned | Why::Satisfied { .. } => "is not run".into(),
    };
    let stage = standing.stage.map(|stage| format!(" ({stage})")).unwrap_or_default();
    format!("{}{stage} {what}", named(standing.id, &standing.name))
}

/// What the run itself has to do with it.
fn about_run(out: &mut dyn Write, explanation: &Explanation) -> io::Result<()> {
    let Explanation { run, object, .. } = explanation;
    let reason = run.reason.as_deref().map(|reason| format!(" ({})", clean(reason))).unwrap_or_default();
    match (run.state, &object.why) {
        (RunState::Queued, _) if !run.before.is_empty() => {
            let ids: Vec<String> = run.before.iter().map(ToString::to_string).collect();
            writeln!(out, "  the run waits for its turn behind {}", ids.join(", "))?;
        }
        (RunState::Queued, _) if run.leader.led => writeln!(out, "  it is about to be planned")?,
        (
            RunState::Succeeded | RunState::Failed | RunState::Cancelled,
            Why::NotRun { .. } | Why::NotPlanned,
        ) => {
            writeln!(out, "  the run is over: {}{reason}", run.state.name())?;
        }
        _ => {}
    }
    let is_open = matches!(run.state, RunState::Queued | RunState::Running | RunState::Paused);
    let says_so = matches!(&object.why, Why::Ready { hold, .. } | Why::Retrying { hold, .. }
        if matches!(hold, Hold::NoLeader | Hold::Cancelling));
    if let Some(paused) = &run.paused {
        let by = paused.by.as_deref().map(|by| format!(" by {}", clean(by))).unwrap_or_default();
        writeln!(out, "  the run is paused{by} since {}: `korch resume {}`", time(&paused.at), run.run_id)?;
    }
    if is_open && run.cancelling && !says_so {
        writeln!(out, "  the run is being cancelled")?;
    }
    if is_open && !run.leader.led && !says_so {
        writeln!(out, "  no orchestrator leads: nothing is decided until one does")?;
    }
    Ok(())
}

fn named(id: impl std::fmt::Display, name: &Option<String>) -> String {
    match name.as_deref().map(clean) {
        Some(name) if !name.is_empty() => format!("{id} {name}"),
        _ => id.to_string(),
    }
}

fn on(worker: &Option<String>) -> String {
    worker.as_deref().map(|worker| format!(" on {}", clean(worker))).unwrap_or_default()
}

fn nth(attempt: u32) -> String {
    if attempt > 1 { format!(", attempt {attempt}") } else { String::new() }
}

/// The chains with what they share told once.
#[derive(Default)]
struct Tree {
    branches: Vec<Branch>,
}

struct Branch {
    key: Option<u64>,
    text: String,
    below: Tree,
}

impl Tree {
    fn add(&mut self, chain: &Chain) {
        let mut tree = self;
        for Link { id, name, stage, state } in &chain.via {
            let at = tree.branches.iter().position(|branch| branch.key == Some(id.0));
            let at = at.unwrap_or_else(|| {
                let state = if state == "waiting" { "waits" } else { "is skipped" };
                let text = format!("{} ({stage}) {state}", named(id, name));
                tree.branches.push(Branch { key: Some(id.0), text, below: Tree::default() });
                tree.branches.len() - 1
            });
            tree = &mut tree.branches[at].below;
        }
        let leaf = |text| Branch { key: None, text, below: Tree::default() };
        let cause = leaf(cause(&chain.culprit));
        if chain.omitted == 0 {
            tree.branches.push(cause);
            return;
        }
        let mut between =
            leaf(format!("… {} …", counted(chain.omitted as u64, "object between", "objects between")));
        between.below.branches.push(cause);
        tree.branches.push(between);
    }

    fn write(&self, out: &mut dyn Write, indent: &str, last: Option<String>) -> io::Result<()> {
        for (i, branch) in self.branches.iter().enumerate() {
            let is_last = i + 1 == self.branches.len() && last.is_none();
            let (mark, below) = if is_last { ("└─", "   ") } else { ("├─", "│  ") };
            writeln!(out, "{indent}{mark} {}", branch.text)?;
            branch.below.write(out, &format!("{indent}{below}"), None)?;
        }
        last.map_or(Ok(()), |last| writeln!(out, "{indent}└─ {last}"))
    }
}
