//! The HTTP API and the page, both from the log alone: calls that change something append an event, all others look at
//! the fold.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::event::{Body, Event, PlannedObject, RunId};
use crate::log::{Log, NewRecord};
use crate::telemetry;
use crate::timetable::Timetable;
use crate::view::View;

mod access;
mod ask;
mod byhand;
mod dag;
mod events;
mod explain;
mod gauges;
mod graph;
mod guard;
mod health;
mod live;
mod objects;
mod openapi;
mod orchestrate;
mod page;
mod problem;
mod runs;
mod schedule;
mod serve;
mod story;
mod stream;
mod views;
mod workers;

pub use access::{Access, Origin, Token};
use guard::Guard;
pub use health::worker_router;
use problem::Problem;
pub use serve::{Limits, serve};

/// What would run for these selectors without those, read from the catalogue anew; or every problem.
pub type Preview = Arc<dyn Fn(&[String], &[String]) -> Result<Vec<PlannedObject>, Refused> + Send + Sync>;

/// Why nothing would run.
#[derive(Clone, Debug)]
pub struct Refused {
    /// For people.
    pub text: String,
    /// Every problem, a JSON array.
    pub problems: Arc<RawValue>,
}

/// What the API publishes.
const PUBLISHED: [&str; 5] =
    ["RunRequested", "RunCancelRequested", "RunPauseRequested", "RunResumeRequested", "ObjectMarked"];

/// What the API answers from.
#[derive(Clone)]
pub struct Api {
    /// The fold of this process.
    pub view: Arc<View>,
    /// The events' log.
    pub log: Arc<dyn Log>,
    /// Reads the catalogue, where the process has one.
    pub preview: Option<Preview>,
    /// What is due when, where the process starts runs by the clock.
    pub timetable: Option<Arc<Timetable>>,
    /// Whether to serve the page.
    pub page: bool,
    /// Renders the metrics, where the process has them.
    pub metrics: Option<PrometheusHandle>,
    /// Who may call.
    pub access: Arc<Access>,
    /// How much callers may take.
    pub limits: Limits,
    /// True: the process is ending, and every open stream with it.
    pub shutdown: watch::Receiver<bool>,
}

impl Api {
    /// Whether a call that changes something needs a token.
    fn token_required(&self) -> bool {
        self.access.token.is_some()
    }
}

/// What all requests share.
struct Shared {
    api: Api,
    /// What was rendered before.
    renders: runs::Renders,
    /// What the API is.
    openapi: Bytes,
    pictures: graph::Pictures,
    run_gauges: gauges::RunGauges,
    live: Arc<live::Live>,
    tail: Arc<stream::Tail>,
    /// Whoever reads the log for an answer has one of these.
    readers: Semaphore,
    /// Every open stream has one of these.
    streams: Arc<Semaphore>,
}

impl Shared {
    /// Leave to open a stream.
    fn stream(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let permit = self.streams.clone().try_acquire_owned();
        permit.map_err(|_| Problem::unavailable("too many streams are open: try again in a moment"))
    }
}

type Ctx = State<Arc<Shared>>;
type Answer = Result<Response, Problem>;

/// The routes of the API, each with its description.
fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::with_openapi(openapi::Document::openapi())
        .routes(routes!(orchestrate::orchestrate))
        .routes(routes!(dag::dag))
        .routes(routes!(dag::dag_json))
        .routes(routes!(dag::dag_dot))
        .routes(routes!(events::events_last))
        .routes(routes!(events::events_stream))
        .routes(routes!(runs::runs))
        .routes(routes!(runs::run))
        .routes(routes!(byhand::cancel))
        .routes(routes!(byhand::pause))
        .routes(routes!(byhand::resume))
        .routes(routes!(byhand::mark))
        .routes(routes!(orchestrate::retry))
        .routes(routes!(explain::explain))
        .routes(routes!(story::run_events))
        .routes(routes!(objects::fields))
        .routes(routes!(graph::graph))
        .routes(routes!(graph::around))
        .routes(routes!(objects::object))
        .routes(routes!(live::live))
        .routes(routes!(schedule::schedule))
        .routes(routes!(workers::workers))
        .routes(routes!(health::health))
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .routes(routes!(openapi::openapi))
}

/// The routes of the API, and of the page where it is served.
pub fn router(api: Api) -> Router {
    telemetry::may_publish("api", &PUBLISHED);
    let (mut router, described) = routes().split_for_parts();
    let with_page = api.page;
    let guard = Guard::new(api.access.clone(), &api.limits);
    let cors = (!api.access.origins.is_empty()).then(|| guard::cors(&api.access.origins));
    let shared = Arc::new(Shared {
        renders: runs::Renders::default(),
        openapi: openapi::text(&described, api.token_required()).into(),
        pictures: graph::Pictures::default(),
        run_gauges: gauges::RunGauges::default(),
        live: live::Live::new(api.view.clone(), api.shutdown.clone()),
        tail: stream::Tail::new(api.view.clone(), api.log.id(), api.shutdown.clone()),
        readers: Semaphore::new(story::READERS),
        streams: Arc::new(Semaphore::new(api.limits.streams)),
        api,
    });
    if with_page {
        router = router.merge(page::routes());
    }
    let router = router
        .fallback(async |request: Request| {
            Problem::not_found(format!("there is nothing at {}", request.uri().path()))
        })
        .method_not_allowed_fallback(async |request: Request| {
            let (method, path) = (request.method(), request.uri().path());
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{path} does not answer to {method}"))
        })
        .layer(DefaultBodyLimit::max(ask::MAX_BODY_BYTES))
        .layer(CatchPanicLayer::custom(Problem::of_panic))
        .layer(middleware::from_fn_with_state(guard, guard::guard))
        .with_state(shared);
    match cors {
        // Before the guard: what it refuses a page is told too.
        Some(cors) => router.layer(cors),
        None => router,
    }
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let bytes = serde_json::to_vec(value).map_err(|error| {
        tracing::error!("an answer is not JSON: {error}");
        Problem::internal()
    })?;
    Ok(json_bytes(status, bytes))
}

fn json_bytes(status: StatusCode, bytes: impl Into<axum::body::Body>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], bytes.into()).into_response()
}

/// Runs what takes its time off the threads that serve connections.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!("a request failed: {error}");
        Problem::internal()
    })
}

/// Appends what somebody asks for.
async fn publish(api: &Api, run: RunId, body: Body) -> Result<(), Problem> {
    publish_at(api, Timestamp::now(), run, body).await
}

/// [`publish`] with a time of its own.
async fn publish_at(api: &Api, at: Timestamp, run: RunId, body: Body) -> Result<(), Problem> {
    let event = Event { at, run: Some(run), epoch: None, body };
    api.log.append(vec![NewRecord::of(&event)]).await?;
    telemetry::published([&event], "api");
    Ok(())
}
