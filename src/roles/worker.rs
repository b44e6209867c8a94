//! `korch worker`: does the work of a stage, on Kafka.

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::api::{self, Limits};
use crate::cli::roles::WorkerArgs;
use crate::domain::worker::Identity;
use crate::engine::foreign::ForeignWorker;
use crate::engine::worker::WorkerRole;
use crate::exit::Exit;
use crate::handler::Handler;
use crate::hearing::Hearing;
use crate::log::Log;
use crate::log::kafka::Kafka;
use crate::serve::{self, Signals, Wish};
use crate::telemetry;

/// Works until somebody stops it: then it finishes what it holds.
///
/// # Errors
/// When Kafka cannot be reached at the start, a topic is lost, or an address is taken.
pub async fn run(
    args: WorkerArgs,
    handler: Arc<dyn Handler>,
    metrics: Option<PrometheusHandle>,
    mut signals: Signals,
) -> anyhow::Result<Exit> {
    let wish = Wish { listen: args.metrics_listen, flag: "--metrics-listen", what: "metrics" };
    let listener = serve::listen(wish).await?;
    let (stages, served) = (args.stages(), args.served());
    let name = args.name.clone().unwrap_or_else(|| format!("{served}-{}", serve::host_and_process()));
    let kafka = Kafka::new(args.kafka.settings(args.lease)?)?;
    let source = format!("/korch/{served}/{name}");
    let events: Arc<dyn Log> = Arc::new(kafka.open(args.kafka.events(), source.clone()).await?);
    let members: Arc<dyn Log> = Arc::new(kafka.open(args.kafka.members(), source).await?);
    let identity = Identity {
        name: name.clone(),
        instance: Uuid::now_v7(),
        stages,
        slots: args.slots,
        lease: args.lease,
    };
    tracing::info!(worker = name, stages = served, slots = args.slots, "at work");

    let hearing = Arc::new(Hearing::default());
    let (stop, stopping) = watch::channel(false);
    let (leave, leaving) = watch::channel(false);
    let mut serving: JoinSet<anyhow::Result<()>> = JoinSet::new();
    if let (Some(listener), Some(metrics)) = (listener, metrics) {
        let router = api::worker_router(metrics, hearing.clone());
        serving.spawn(async move { Ok(api::serve(listener, router, Limits::default(), stopping).await?) });
    }
    let mut working: JoinSet<anyhow::Result<Exit>> = JoinSet::new();
    if args.foreign {
        let worker = ForeignWorker {
            identity,
            handler,
            events,
            members,
            drain_timeout: args.drain_timeout,
            hearing,
            shutdown: leaving,
        };
        working.spawn(worker.run());
    } else {
        let worker = WorkerRole {
            identity,
            handler,
            events,
            members,
            drain_timeout: Some(args.drain_timeout),
            hearing: Some(hearing),
            shutdown: leaving,
        };
        working.spawn(async move { worker.run().await.map(|()| Exit::Done) });
    }
    let mut stopped = signals.clone();
    let ended = tokio::select! {
        ended = working.join_next() => ended,
        failed = serving.join_next(), if !serving.is_empty() => return Err(serve::ended(failed)),
        () = stopped.nth(1) => {
            telemetry::say_to_people("finishing what runs; once more stops at once");
            let _ = leave.send(true);
            tokio::select! {
                ended = working.join_next() => ended,
                () = signals.nth(2) => return Ok(Exit::Interrupted),
            }
        }
    };
    let _ = stop.send(true);
    let exit = match ended {
        Some(ended) => ended??,
        None => Exit::Done,
    };
    serve::finish(&mut serving).await?;
    Ok(if exit == Exit::Done && signals.count() > 0 { signals.exit() } else { exit })
}
