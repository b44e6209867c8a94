//! `korch orchestrate`: decides what runs next, on Kafka, and serves the API. A second one stands by.

use std::sync::Arc;

use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::api::{self, Api, Limits};
use crate::attend::Attend;
use crate::cli::roles::OrchestrateArgs;
use crate::domain::event::RunId;
use crate::domain::scheduler::Settings;
use crate::engine::clockwork::Clockwork;
use crate::engine::orchestrator::Orchestrator;
use crate::exit::Exit;
use crate::log::Log;
use crate::log::kafka::Kafka;
use crate::notify::Notifier;
use crate::planning::Planning;
use crate::serve::{self, Signals, Wish};
use crate::view::View;

/// Runs until the run is over (`--once`) or somebody stops it.
///
/// # Errors
/// When Kafka cannot be reached at the start, a topic is lost, or an address is taken.
pub async fn run(
    args: OrchestrateArgs,
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
    let since = Timestamp::now();
    let wish = Wish { listen: args.listen, flag: "--listen", what: "API" };
    let listener = serve::listen(wish).await?;
    let kafka = Kafka::new(args.kafka.settings(args.lease)?)?;
    let source = format!("/korch/orchestrator/{}", serve::host_and_process());
    let events: Arc<dyn Log> = Arc::new(kafka.open(args.kafka.events(), source.clone()).await?);
    let members: Arc<dyn Log> = Arc::new(kafka.open(args.kafka.members(), source).await?);
    let view = Arc::new(View::new());
    let instance = Uuid::now_v7();
    let notifier = Notifier::start(webhooks, view.clone(), instance);

    let (stop, stopping) = watch::channel(false);
    let (_hold, held) = watch::channel(false);
    let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
    let timetable = args.timing.timetable(&args.catalogue.file).map(Arc::new);
    if let Some(timetable) = timetable.clone() {
        tasks.spawn(timetable.follow(stopping.clone()));
    }
    if let Some(listener) = listener {
        let api = Api {
            view: view.clone(),
            log: events.clone(),
            preview: Some(planning.clone().preview()),
            timetable: timetable.clone(),
            page: false,
            metrics,
            access: access.clone(),
            limits: Limits::default(),
            shutdown: stopping.clone(),
        };
        let stopping = stopping.clone();
        tasks.spawn(
            async move { Ok(api::serve(listener, api::router(api), Limits::default(), stopping).await?) },
        );
    }
    let orchestrator = Orchestrator {
        instance,
        view: view.clone(),
        events,
        members,
        planning,
        rules: args.rules.rules(),
        lease: args.lease,
        settings: Settings {
            foreign: args.foreign_stage.iter().copied().collect(),
            offer_timeout: args.offer_timeout,
        },
        start: (!args.idle && timetable.is_none()).then(|| RunId(Uuid::now_v7())),
        clockwork: timetable.map(|timetable| Clockwork::new(timetable, since)),
        hold: held,
        shutdown: stopping,
    };
    tasks.spawn(orchestrator.run());

    let attend = Attend { once: args.once, output: args.output, since };
    let mut stopped = signals.clone();
    let exit = tokio::select! {
        exit = attend.run(&view) => exit?,
        failed = tasks.join_next() => return Err(serve::ended(failed)),
        () = stopped.nth(1) => signals.exit(),
    };
    // What runs goes on: the workers have it, and whoever leads next reads of it.
    let _ = stop.send(true);
    let finish = async {
        serve::finish(&mut tasks).await?;
        notifier.finish().await;
        anyhow::Ok(())
    };
    tokio::select! {
        finished = finish => finished?,
        () = signals.nth(if exit == signals.exit() { 2 } else { 1 }) => {}
    }
    Ok(exit)
}
