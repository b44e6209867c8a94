//! `korch ui`: the page and the API, from the log alone. As many of them as there are viewers for.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::api::{self, Api, Limits};
use crate::cli::roles::UiArgs;
use crate::engine::follower::Follower;
use crate::exit::Exit;
use crate::log::Log;
use crate::log::kafka::Kafka;
use crate::serve::{self, Signals, Wish};
use crate::view::View;

/// Nobody's lease depends on what a page shows; it only says after which pause of its own the page trusts no silence.
const LEASE: Duration = Duration::from_secs(10);
/// The view notes at least so often that the log still answers.
const TICK: Duration = Duration::from_millis(250);

/// Serves until somebody stops it.
///
/// # Errors
/// When Kafka cannot be reached at the start, a topic is lost, or an address is taken.
pub async fn run(
    args: UiArgs,
    metrics: Option<PrometheusHandle>,
    mut signals: Signals,
) -> anyhow::Result<Exit> {
    let access = args.access.access()?;
    let wish = Wish { listen: args.listen, flag: "--listen", what: "page" };
    let listener =
        serve::listen(wish).await?.context("a page that listens nowhere: give --listen an address")?;
    let kafka = Kafka::new(args.kafka.settings(LEASE)?)?;
    let source = format!("/korch/ui/{}", serve::host_and_process());
    let events: Arc<dyn Log> = Arc::new(kafka.open(args.kafka.events(), source.clone()).await?);
    let members = kafka.open(args.kafka.members(), source).await?;
    let view = Arc::new(View::new());

    let (stop, stopping) = watch::channel(false);
    let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
    let api = Api {
        view: view.clone(),
        log: events.clone(),
        preview: None,
        timetable: None,
        page: true,
        metrics,
        access: access.clone(),
        limits: Limits::default(),
        shutdown: stopping.clone(),
    };
    let serving = stopping.clone();
    tasks.spawn(async move { Ok(api::serve(listener, api::router(api), Limits::default(), serving).await?) });
    let mut over = stopping;
    tasks.spawn(async move {
        let following = async {
            let mut follower = Follower::open(view, &*events, &members, LEASE).await?;
            follower.read_to_end().await?;
            loop {
                follower.wait(TICK).await?;
                follower.drain().await?;
            }
        };
        tokio::select! {
            ended = following => ended,
            _ = over.wait_for(|over| *over) => Ok(()),
        }
    });
    let mut stopped = signals.clone();
    tokio::select! {
        failed = tasks.join_next() => return Err(serve::ended(failed)),
        () = stopped.nth(1) => {}
    }
    let _ = stop.send(true);
    tokio::select! {
        finished = serve::finish(&mut tasks) => finished?,
        () = signals.nth(2) => {}
    }
    Ok(signals.exit())
}
