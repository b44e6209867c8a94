//! Everything in one process: orchestrator, a worker for each stage, API and page, on an embedded log.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::orchestrate::Orchestrator;
use super::worker::WorkerRole;
use crate::api::{self, Api};
use crate::cli::{Listen, Output, UpArgs};
use crate::domain::object::Stage;
use crate::domain::scheduler::Settings;
use crate::domain::worker::Identity;
use crate::exit::Exit;
use crate::handler::Handler;
use crate::log::Log;
use crate::log::local::LocalLog;
use crate::planning::{self, Planning};
use crate::progress;
use crate::summary::Summary;
use crate::telemetry;
use crate::view::View;

/// Within one process a lease only has to outlast a pause of the machine.
const LEASE: Duration = Duration::from_secs(10);

/// The signals that end a process, as the process sees them.
pub struct Signals {
    /// How many came so far.
    pub count: watch::Receiver<u32>,
}

/// Runs until the run is over (`--once`) or somebody stops it.
///
/// # Errors
/// When the log cannot be opened or fails, or an address is taken.
pub async fn run(
    args: UpArgs,
    handler: Arc<dyn Handler>,
    metrics: Option<PrometheusHandle>,
    mut signals: Signals,
) -> anyhow::Result<Exit> {
    let planning = Planning { file: args.catalogue.file.clone(), missing: args.catalogue.missing };
    if !args.idle {
        // Refused before anything is published.
        let checked = planning.clone();
        if let Err(problems) = tokio::task::spawn_blocking(move || checked.read(&[]).map(drop)).await? {
            telemetry::say_to_people(problems);
            return Ok(Exit::BadCatalogue);
        }
    }
    let started = Timestamp::now();
    let listeners = listen(&args).await?;
    let events: Arc<dyn Log> =
        Arc::new(if args.memory { LocalLog::memory()? } else { LocalLog::open(&args.data_dir)? });
    // Whoever holds the directory is alone: members of earlier processes are gone, so nothing of them is kept.
    let members: Arc<dyn Log> = Arc::new(LocalLog::memory()?);
    let view = Arc::new(View::new());

    let (hold, held) = watch::channel(false);
    let (leave, leaving) = watch::channel(false);
    let (stop, stopping) = watch::channel(false);
    let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
    let mut workers: JoinSet<anyhow::Result<()>> = JoinSet::new();

    for (listener, page) in listeners {
        let preview = planning.clone();
        let api = Api {
            view: view.clone(),
            log: events.clone(),
            preview: Some(Arc::new(move |targets: &[String]| {
                preview
                    .objects(targets)
                    .map(|(objects, _)| objects)
                    .map_err(|problems| planning::refused(&problems))
            })),
            page,
            metrics: metrics.clone(),
            shutdown: stopping.clone(),
        };
        let stopping = stopping.clone();
        tasks.spawn(async move { Ok(api::serve(listener, api::router(api), stopping).await?) });
    }
    for stage in Stage::ALL {
        let identity = Identity {
            name: format!("up-{stage}"),
            instance: Uuid::now_v7(),
            stages: vec![stage],
            slots: args.slots,
            lease: LEASE,
        };
        let worker = WorkerRole {
            identity,
            handler: handler.clone(),
            events: events.clone(),
            members: members.clone(),
            drain_timeout: None,
            shutdown: leaving.clone(),
        };
        workers.spawn(worker.run());
    }
    let orchestrator = Orchestrator {
        instance: Uuid::now_v7(),
        view: view.clone(),
        events: events.clone(),
        members,
        planning,
        retries: args.retries,
        lease: LEASE,
        settings: Settings { foreign: Default::default(), offer_timeout: Duration::from_secs(300) },
        start_a_run: !args.idle,
        hold: held,
        shutdown: stopping,
    };
    tasks.spawn(orchestrator.run());

    let exit = tokio::select! {
        exit = attend(&args, &view, started) => exit?,
        failed = tasks.join_next() => return Err(ended(failed)),
        failed = workers.join_next() => return Err(ended(failed)),
        _ = signals.count.changed() => {
            let _ = hold.send(true);
            let running = view.read(|known| known.history.active().and_then(|run| run.board()).map_or(0, |board| {
                board.total(crate::domain::attempt::Phase::Running)
            }));
            telemetry::say_to_people(format_args!("interrupted: no new object starts, {running} may finish; once more stops at once"));
            Exit::Interrupted
        }
    };
    // Workers finish what they hold, the orchestrator ends after them, the log after all.
    let _ = leave.send(true);
    let finish = async {
        while let Some(ended) = workers.join_next().await {
            ended.context("a worker")??;
        }
        let _ = stop.send(true);
        while let Some(ended) = tasks.join_next().await {
            ended.context("the orchestrator")??;
        }
        anyhow::Ok(())
    };
    let interrupted = async {
        // The first signal was seen; a second one ends the wait.
        let _ =
            signals.count.wait_for(|count| *count >= 2 || (exit != Exit::Interrupted && *count >= 1)).await;
    };
    tokio::select! {
        finished = finish => finished?,
        () = interrupted => return Ok(Exit::Interrupted),
    }
    Ok(exit)
}

/// Shows the runs as they go. Ends with the first one where `--once` says so, else never.
async fn attend(args: &UpArgs, view: &View, started: Timestamp) -> anyhow::Result<Exit> {
    // A run may begin and end between two looks: what ended since the last one shown is shown, too.
    let mut shown = (started, None);
    loop {
        let next = view
            .wait_for(Duration::from_secs(3600), |known| {
                known.leading?;
                let runs = known.history.runs();
                let ended = runs.iter().filter_map(|run| Some((run.finished.as_ref()?.0, Some(run.id))));
                ended
                    .filter(|ended| *ended > shown)
                    .min()
                    .and_then(|(_, run)| run)
                    .or_else(|| known.history.active().map(|run| run.id))
            })
            .await;
        let Some(run) = next else { continue };
        if args.once {
            progress::show(view, run).await;
        } else {
            let over = |known: &crate::view::Known| {
                known.history.run(run).is_none_or(|run| run.finished.is_some()).then_some(())
            };
            while view.wait_for(Duration::from_secs(3600), over).await.is_none() {}
        }
        let over = view.read(|known| {
            let run = known.history.run(run)?;
            Some((run.finished.as_ref()?.0, Summary::of(run, args.slots)?))
        });
        let Some((at, summary)) = over else { continue };
        shown = (at, Some(run));
        metrics::gauge!(telemetry::RUN_LOWER_BOUND).set(summary.lower_bound_seconds);
        match write_summary(args, &summary) {
            // Nobody reads what is said of the run any more: that changes nothing about the run.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written?,
        }
        if args.once {
            return Ok(summary.exit());
        }
    }
}

fn write_summary(args: &UpArgs, summary: &Summary) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match args.output {
        Output::Human => summary.write(&mut out)?,
        Output::Json => {
            serde_json::to_writer(&mut out, summary)?;
            writeln!(out)?;
        }
    }
    out.flush()
}

/// The listeners, each with whether it serves the page, and the addresses said on stderr.
async fn listen(args: &UpArgs) -> anyhow::Result<Vec<(TcpListener, bool)>> {
    let mut listeners = Vec::new();
    for (listen, page, flag, what) in
        [(args.listen, false, "--listen", "API"), (args.ui_listen, true, "--ui-listen", "page")]
    {
        let Listen::At(address) = listen else { continue };
        match TcpListener::bind(address).await {
            Ok(listener) => {
                telemetry::say_to_people(format_args!("{what:>4}  http://{}", listener.local_addr()?));
                listeners.push((listener, page));
            }
            Err(error) if args.once => {
                // The run is what was asked for; it can be done without being watched.
                tracing::warn!("no {what} on {address}: {error}");
            }
            Err(error) => {
                return Err(error).with_context(|| {
                    format!("cannot listen on {address}: end what listens there, or give {flag} another address, or off")
                });
            }
        }
    }
    Ok(listeners)
}

/// The error of a part that ended though it should not have.
fn ended(part: Option<Result<anyhow::Result<()>, tokio::task::JoinError>>) -> anyhow::Error {
    match part {
        Some(Ok(Err(error))) => error,
        Some(Err(error)) => anyhow::Error::new(error).context("a part of korch broke"),
        Some(Ok(Ok(()))) | None => anyhow::anyhow!("a part of korch ended early"),
    }
}
