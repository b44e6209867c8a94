//! Everything in one process: orchestrator, a worker for each stage, API and page, on an embedded log.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::api::{self, Api, Limits};
use crate::attend::Attend;
use crate::cli::UpArgs;
use crate::domain::event::RunId;
use crate::domain::object::Stage;
use crate::domain::scheduler::Settings;
use crate::domain::worker::Identity;
use crate::engine::clockwork::Clockwork;
use crate::engine::orchestrator::Orchestrator;
use crate::engine::worker::WorkerRole;
use crate::exit::Exit;
use crate::handler::Handler;
use crate::log::Log;
use crate::log::local::LocalLog;
use crate::notify::Notifier;
use crate::planning::Planning;
use crate::serve::{self, Signals, Wish};
use crate::telemetry;
use crate::view::View;

/// Within one process a lease only has to outlast a pause of the machine.
const LEASE: Duration = Duration::from_secs(10);

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
    let access = args.access.access()?;
    let webhooks = args.notify.webhooks()?;
    // Refused before anything is published.
    if !args.idle && !planning.is_sound().await? {
        return Ok(Exit::BadCatalogue);
    }
    let started = Timestamp::now();
    let listeners = listen(&args).await?;
    let events: Arc<dyn Log> =
        Arc::new(if args.memory { LocalLog::memory()? } else { LocalLog::open(&args.data_dir)? });
    // Whoever holds the directory is alone: members of earlier processes are gone, so nothing of them is kept.
    let members: Arc<dyn Log> = Arc::new(LocalLog::memory()?);
    let view = Arc::new(View::new());
    let instance = Uuid::now_v7();
    let notifier = Notifier::start(webhooks, view.clone(), instance);

    let (hold, held) = watch::channel(false);
    let (leave, leaving) = watch::channel(false);
    let (stop, stopping) = watch::channel(false);
    let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
    let timetable = args.timing.timetable(&args.catalogue.file).map(Arc::new);
    if let Some(timetable) = timetable.clone() {
        tasks.spawn(timetable.follow(stopping.clone()));
    }
    let mut workers: JoinSet<anyhow::Result<()>> = JoinSet::new();

    for (listener, page) in listeners {
        let api = Api {
            view: view.clone(),
            log: events.clone(),
            preview: Some(planning.clone().preview()),
            timetable: timetable.clone(),
            page,
            metrics: metrics.clone(),
            access: access.clone(),
            limits: Limits::default(),
            shutdown: stopping.clone(),
        };
        let stopping = stopping.clone();
        tasks.spawn(
            async move { Ok(api::serve(listener, api::router(api), Limits::default(), stopping).await?) },
        );
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
            hearing: None,
            shutdown: leaving.clone(),
        };
        workers.spawn(worker.run());
    }
    let orchestrator = Orchestrator {
        instance,
        view: view.clone(),
        events: events.clone(),
        members,
        planning,
        rules: args.rules.rules(),
        lease: LEASE,
        settings: Settings { foreign: Default::default(), offer_timeout: Duration::from_secs(300) },
        start: (!args.idle && timetable.is_none()).then(|| RunId(Uuid::now_v7())),
        clockwork: timetable.map(|timetable| Clockwork::new(timetable, started)),
        hold: held,
        shutdown: stopping,
    };
    tasks.spawn(orchestrator.run());

    let attend = Attend { once: args.once, output: args.output, since: started };
    let mut stopped = signals.clone();
    let exit = tokio::select! {
        exit = attend.run(&view) => exit?,
        failed = tasks.join_next() => return Err(serve::ended(failed)),
        failed = workers.join_next() => return Err(serve::ended(failed)),
        () = stopped.nth(1) => {
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
        serve::finish(&mut tasks).await?;
        notifier.finish().await;
        anyhow::Ok(())
    };
    // The first signal was seen; a second one ends the wait.
    let most = if exit == Exit::Interrupted { 2 } else { 1 };
    tokio::select! {
        finished = finish => finished?,
        () = signals.nth(most) => return Ok(Exit::Interrupted),
    }
    Ok(exit)
}

/// The listeners, each with whether it serves the page.
async fn listen(args: &UpArgs) -> anyhow::Result<Vec<(TcpListener, bool)>> {
    let api = Wish { listen: args.listen, flag: "--listen", what: "API" };
    let page = Wish { listen: args.ui_listen, flag: "--ui-listen", what: "page" };
    let mut listeners = Vec::new();
    for (wish, serves_page) in [(api, false), (page, true)] {
        match serve::listen(wish).await {
            Ok(listener) => listeners.extend(listener.map(|listener| (listener, serves_page))),
            // The run is what was asked for; it can be done without being watched.
            Err(error) if args.once => tracing::warn!("no {}: {error:#}", wish.what),
            Err(error) => return Err(error),
        }
    }
    Ok(listeners)
}
