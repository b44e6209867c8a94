//! The HTTP API and the page, both from the log alone: calls that change something append an event, all others look at
//! the fold.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::watch;
use tower_http::catch_panic::CatchPanicLayer;
use uuid::Uuid;

use crate::domain::event::{self, Body, CancelRequest, Event, PlannedObject, RunId};
use crate::domain::history::History;
use crate::domain::object::ObjectId;
use crate::domain::run::Run;
use crate::log::{Log, NewRecord, Record};
use crate::telemetry;
use crate::view::{KEPT_EVENTS, View};

mod explain;
mod problem;
mod stream;
mod views;

use problem::Problem;
use stream::Begin;

/// What would run for these targets, read from the catalogue anew; or every problem.
pub type Preview = Arc<dyn Fn(&[String]) -> Result<Vec<PlannedObject>, Refused> + Send + Sync>;

/// Why nothing would run.
#[derive(Clone, Debug)]
pub struct Refused {
    /// For people.
    pub text: String,
    /// Every problem, a JSON array.
    pub problems: Arc<RawValue>,
}

/// What the API answers from.
#[derive(Clone)]
pub struct Api {
    /// The fold of this process.
    pub view: Arc<View>,
    /// The events' log.
    pub log: Arc<dyn Log>,
    /// Reads the catalogue, where the process has one.
    pub preview: Option<Preview>,
    /// Whether to serve the page.
    pub page: bool,
    /// Renders the metrics, where the process has them.
    pub metrics: Option<PrometheusHandle>,
    /// True: the process is ending, and every open stream with it.
    pub shutdown: watch::Receiver<bool>,
}

/// A body may have so many bytes.
const MAX_BODY_BYTES: usize = 256 * 1024;
/// How long a request waits for its run to be planned.
const PLAN_WAIT: Duration = Duration::from_secs(5);
/// Prometheus text.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// A log that has not answered for so long is away.
const SILENCE: Duration = Duration::from_secs(5);
/// So many ids of a new run are shown.
const ORDER_SAMPLE: usize = 20;
/// How many events are shown where the caller does not say.
const DEFAULT_EVENTS: usize = 10;
/// The most runs in one answer: all that a history keeps.
const MAX_RUNS: usize = 10_000;
/// After the process was told to end, connections may take so long.
const LINGER: Duration = Duration::from_secs(3);
/// A run that takes longer to render is rendered for all viewers together, …
const COSTLY: Duration = Duration::from_millis(5);
/// … and so seldom that rendering takes no more than one part in so many of the time.
const RENDER_SHARE: u32 = 5;

const PAGE: &str = include_str!("../../static/index.html");
const SCRIPT: &str = include_str!("../../static/app.js");
const STYLE: &str = include_str!("../../static/style.css");
const ICON: &str = include_str!("../../static/icon.svg");

/// Names by position in the plan of one run.
type Names = Arc<[Option<Box<str>>]>;

/// A plan: that of this run, planned then.
type PlanKey = (RunId, Option<Timestamp>);

/// What all requests share.
struct Shared {
    api: Api,
    /// The names of the objects of the plan that was asked for last: they cost a look into every entry.
    names: Mutex<Option<(PlanKey, Names)>>,
    /// The run that was rendered last.
    rendered: tokio::sync::Mutex<Option<Rendered>>,
}

struct Rendered {
    run: RunId,
    at: Instant,
    cost: Duration,
    json: Bytes,
}

type Ctx = State<Arc<Shared>>;
type Answer = Result<Response, Problem>;

/// The routes of the API, and of the page where it is served.
pub fn router(api: Api) -> Router {
    let page = api.page;
    let shared = Arc::new(Shared { api, names: Mutex::default(), rendered: tokio::sync::Mutex::default() });
    let mut router = Router::new()
        .route("/orchestrate", post(orchestrate))
        .route("/dag", get(dag))
        .route("/dag/json", get(dag_json))
        .route("/dag/dot", get(dag_dot))
        .route("/events/last", get(events_last))
        .route("/events/stream", get(events_stream))
        .route("/runs", get(runs))
        .route("/runs/{id}", get(run))
        .route("/runs/{id}/cancel", post(cancel))
        .route("/runs/{id}/explain/{object}", get(explain::explain))
        .route("/workers", get(workers))
        .route("/health", get(alive))
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics));
    if page {
        router = router
            .route("/", get(|| asset(PAGE, "text/html; charset=utf-8")))
            .route("/app.js", get(|| asset(SCRIPT, "text/javascript; charset=utf-8")))
            .route("/style.css", get(|| asset(STYLE, "text/css; charset=utf-8")))
            .route("/icon.svg", get(|| asset(ICON, "image/svg+xml")));
    }
    router
        .fallback(async |request: Request| {
            Problem::not_found(format!("there is nothing at {}", request.uri().path()))
        })
        .method_not_allowed_fallback(async |request: Request| {
            let (method, path) = (request.method(), request.uri().path());
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{path} does not answer to {method}"))
        })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(CatchPanicLayer::custom(Problem::of_panic))
        .layer(middleware::from_fn(guard))
        .with_state(shared)
}

/// What a worker serves: that it is there, and its metrics.
pub fn worker_router(metrics: PrometheusHandle) -> Router {
    let render = move || async move { ([(header::CONTENT_TYPE, METRICS_TYPE)], metrics.render()) };
    Router::new()
        .route("/metrics", get(render))
        .route("/health", get(alive))
        .route("/livez", get(alive))
        .route("/readyz", get(alive))
}

/// Serves until `shutdown` says true; viewers that then do not take what is sent to them are cut off.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: tokio::net::TcpListener,
    router: Router,
    shutdown: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let over = |mut shutdown: watch::Receiver<bool>| async move {
        // An error: the sender is gone, and with it whoever could say so.
        let _ = shutdown.wait_for(|over| *over).await;
    };
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!("a connection stays slow: {error}");
        }
    });
    let serving = std::future::IntoFuture::into_future(
        axum::serve(listener, router).with_graceful_shutdown(over(shutdown.clone())),
    );
    tokio::select! {
        result = serving => result,
        () = async { over(shutdown).await; tokio::time::sleep(LINGER).await } => Ok(()),
    }
}

/// Refuses what other sites' pages send, and marks every answer as what it says it is.
async fn guard(request: Request, next: Next) -> Response {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let mut response = if changes && is_foreign(request.headers()) {
        Problem::forbidden("another site's page may not call this").into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Whether a browser says that the page which calls is another site's.
fn is_foreign(headers: &HeaderMap) -> bool {
    if headers.get("sec-fetch-site").is_some_and(|site| site.as_bytes() == b"cross-site") {
        return true;
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    match (origin, host) {
        (Some((scheme, origin)), Some(host)) => {
            let default_port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
            let bare = |host: &str| host.strip_suffix(default_port).unwrap_or(host).to_ascii_lowercase();
            bare(origin) != bare(host)
        }
        _ => true, // `null`, or a caller without a Host
    }
}

/// A part of the page.
async fn asset(text: &'static str, content_type: &'static str) -> Response {
    const POLICY: &str =
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
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

/// The JSON of a body; the default where there is none.
fn body<T: Default + for<'a> Deserialize<'a>>(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<T, Problem> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body may have at most {} KiB", MAX_BODY_BYTES / 1024),
        ),
        status => Problem::new(status, rejection.body_text()),
    })?;
    if body.is_empty() {
        return Ok(T::default());
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    if media_type != "application/json"
        && !(media_type.starts_with("application/") && media_type.ends_with("+json"))
    {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "a body must be JSON: send it with the header `content-type: application/json`",
        ));
    }
    if body.trim_ascii_start().first() != Some(&b'{') {
        // Serde would read a list as the fields in their order.
        return Err(Problem::bad_request("the body is not a JSON object"));
    }
    serde_json::from_slice(&body)
        .map_err(|error| Problem::bad_request(format!("the body is not as expected: {error}")))
}

/// A number in a query, from 1 to `max`.
fn limit(text: Option<&str>, default: usize, max: usize) -> Result<usize, Problem> {
    let Some(text) = text else { return Ok(default) };
    match text.parse() {
        Ok(limit @ 1..) if limit <= max => Ok(limit),
        _ => Err(Problem::bad_request(format!("limit is a number from 1 to {max}, not {text:?}"))),
    }
}

fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    query.map(|Query(query)| query).map_err(|rejection| Problem::bad_request(rejection.body_text()))
}

/// The body of `POST /orchestrate`. A word that is not known is an error: `target` for `targets` would run everything.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wish {
    targets: Option<Vec<Target>>,
    requested_by: Option<String>,
    retries: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a target is text or a number")]
enum Target {
    Text(String),
    Id(u64),
}

#[derive(Serialize)]
struct Accepted {
    status: &'static str,
    run_id: RunId,
    count: Option<usize>,
    order_sample: Vec<ObjectId>,
}

async fn orchestrate(State(shared): Ctx, headers: HeaderMap, bytes: Result<Bytes, BytesRejection>) -> Answer {
    let wish: Wish = body(&headers, bytes)?;
    let targets: Vec<String> = wish
        .targets
        .unwrap_or_default()
        .into_iter()
        .map(|target| match target {
            Target::Text(text) => text,
            Target::Id(id) => id.to_string(),
        })
        .collect();
    if let Some(preview) = shared.api.preview.clone() {
        let targets = targets.clone();
        blocking(move || preview(&targets))
            .await?
            .map_err(|refused| Problem::bad_catalogue(refused.text, Some(refused.problems)))?;
    }
    let run_id = RunId(Uuid::now_v7());
    let request = event::Request {
        targets,
        requested_by: Some(wish.requested_by.unwrap_or_else(|| "api".into())),
        retries: wish.retries,
        retry_of: None,
    };
    publish(&shared.api, run_id, Body::RunRequested(request)).await?;

    let planned = shared.api.view.wait_for(PLAN_WAIT, |known| {
        let run = known.history.run(run_id)?;
        if let Some(board) = run.board() {
            let sample = board.objects().iter().take(ORDER_SAMPLE).map(|object| object.id).collect();
            return Some(Ok((Some(board.len()), sample)));
        }
        let (_, finished) = run.finished.as_ref()?;
        if finished.reason.as_deref() == Some("bad-catalogue") {
            let detail = "the catalogue cannot be planned: `problems` lists all that is wrong with it";
            return Some(Err(Problem::bad_catalogue(detail, finished.problems.clone())));
        }
        Some(Ok((None, Vec::new()))) // it ended before anybody planned it
    });
    let mut shutdown = shared.api.shutdown.clone();
    let planned = tokio::select! {
        planned = planned => planned,
        _ = shutdown.wait_for(|over| *over) => None,
    };
    let (count, order_sample) = planned.unwrap_or_else(|| Ok((None, Vec::new())))?;
    json(StatusCode::ACCEPTED, &Accepted { status: "ok", run_id, count, order_sample })
}

/// Appends what somebody asks for.
async fn publish(api: &Api, run: RunId, body: Body) -> Result<(), Problem> {
    let event = Event { at: Timestamp::now(), run: Some(run), epoch: None, body };
    api.log.append(vec![NewRecord::of(&event)]).await?;
    telemetry::published([&event], "api");
    Ok(())
}

/// Looks at the latest plan: that of the last planned run, else what would run.
async fn plan<T: Send + 'static>(
    shared: Arc<Shared>,
    look: impl Fn(&[PlannedObject]) -> T + Send + 'static,
) -> Result<T, Problem> {
    blocking(move || {
        let planned = |history: &History| Some(look(history.latest_planned()?.board()?.objects()));
        if let Some(seen) = shared.api.view.read(|known| planned(&known.history)) {
            return Ok(seen);
        }
        let Some(preview) = &shared.api.preview else {
            return Err(Problem::not_found("no run has been planned yet: start one with POST /orchestrate"));
        };
        match preview(&[]) {
            Ok(objects) => Ok(look(&objects)),
            Err(refused) => Err(Problem::bad_catalogue(refused.text, Some(refused.problems))),
        }
    })
    .await?
}

async fn dag(State(shared): Ctx) -> Answer {
    json(StatusCode::OK, &plan(shared, views::DagSize::of).await?)
}

async fn dag_json(State(shared): Ctx) -> Answer {
    json(StatusCode::OK, &plan(shared, views::Dag::of).await?)
}

async fn dag_dot(State(shared): Ctx) -> Answer {
    let dot = plan(shared, |objects| views::Dag::of(objects).dot()).await?;
    Ok(([(header::CONTENT_TYPE, "text/vnd.graphviz; charset=utf-8")], dot).into_response())
}

#[derive(Deserialize)]
struct LimitQuery {
    limit: Option<String>,
}

async fn events_last(State(shared): Ctx, asked: Result<Query<LimitQuery>, QueryRejection>) -> Answer {
    let limit = limit(query(asked)?.limit.as_deref(), DEFAULT_EVENTS, KEPT_EVENTS)?;
    let records: Vec<Arc<Record>> = shared.api.view.read(|known| {
        let skipped = known.last_events.len().saturating_sub(limit);
        known.last_events.iter().skip(skipped).cloned().collect()
    });
    Ok(json_bytes(StatusCode::OK, views::last_events(&records)))
}

#[derive(Deserialize)]
struct StreamQuery {
    from: Option<String>,
}

async fn events_stream(
    State(shared): Ctx,
    headers: HeaderMap,
    asked: Result<Query<StreamQuery>, QueryRejection>,
) -> Answer {
    let begin = match (headers.get("last-event-id"), query(asked)?.from.as_deref()) {
        // What is no text is no id of ours: answered like any other stranger's.
        (Some(id), _) if !id.is_empty() => Begin::After(String::from_utf8_lossy(id.as_bytes()).into_owned()),
        (_, Some("start")) => Begin::Start,
        (_, None | Some("now" | "end")) => Begin::Now,
        (_, Some(other)) => {
            return Err(Problem::bad_request(format!("from is `start` or `now`, not {other:?}")));
        }
    };
    stream::respond(shared.api.log.clone(), begin, shared.api.shutdown.clone()).await
}

#[derive(Serialize)]
struct RunsView {
    runs: Vec<views::RunView>,
}

async fn runs(State(shared): Ctx, asked: Result<Query<LimitQuery>, QueryRejection>) -> Answer {
    let limit = limit(query(asked)?.limit.as_deref(), MAX_RUNS, MAX_RUNS)?;
    let runs = shared.api.view.read(|known| views::runs(&known.history, limit, Timestamp::now()));
    json(StatusCode::OK, &RunsView { runs })
}

/// The run that a path names: by its id; or `active`, the one whose turn it is; or `latest`, the one that is under way,
/// else the one asked for last.
fn run_id(shared: &Shared, text: &str) -> Result<RunId, Problem> {
    if text == "active" {
        let active = shared.api.view.read(|known| known.history.active().map(|run| run.id));
        return active
            .ok_or_else(|| Problem::not_found("no run is under way: GET /runs lists those that are over"));
    }
    if text == "latest" {
        let latest = shared.api.view.read(|known| {
            let under_way = known.history.active().filter(|run| run.board().is_some());
            let last = || known.history.runs().last().map(|run| run.id);
            under_way.map(|run| run.id).or_else(last)
        });
        return latest
            .ok_or_else(|| Problem::not_found("there is no run yet: start one with POST /orchestrate"));
    }
    Uuid::parse_str(text).map(RunId).map_err(|_| no_run(text))
}

fn no_run(id: impl std::fmt::Display) -> Problem {
    Problem::not_found(format!("the log knows of no run {id}: GET /runs lists them"))
}

fn is_known(run: &Run) -> bool {
    run.request.is_some() || run.board().is_some() || run.finished.is_some() || run.truncated
}

#[derive(Deserialize)]
struct RunQuery {
    state: Option<String>,
}

async fn run(
    State(shared): Ctx,
    Path(id): Path<String>,
    asked: Result<Query<RunQuery>, QueryRejection>,
) -> Answer {
    let asked = query(asked)?;
    let id = run_id(&shared, &id)?;
    if let Some(states) = asked.state {
        let states = views::States::parse(&states).map_err(Problem::bad_request)?;
        let json = blocking(move || render_some(&shared, id, states)).await??;
        return Ok(json_bytes(StatusCode::OK, json));
    }
    let mut rendered = shared.rendered.lock().await;
    if let Some(last) = &*rendered
        && last.run == id
        && last.cost > COSTLY
        && last.at.elapsed() < last.cost * RENDER_SHARE
    {
        return Ok(json_bytes(StatusCode::OK, last.json.clone()));
    }
    let at = Instant::now();
    let json = blocking({
        let shared = shared.clone();
        move || render(&shared, id)
    })
    .await??;
    let json = Bytes::from(json);
    *rendered = Some(Rendered { run: id, at, cost: at.elapsed(), json: json.clone() });
    Ok(json_bytes(StatusCode::OK, json))
}

/// A run with its objects in these states only: what a follower asks for again and again.
fn render_some(shared: &Shared, id: RunId, states: views::States) -> Result<Vec<u8>, Problem> {
    let now = Timestamp::now();
    let json = shared.api.view.read(|known| {
        if let Some(run) = known.history.run(id).filter(|run| is_known(run)) {
            let names = views::some_names(run, states);
            return Some(serde_json::to_vec(&views::RunDetail::of_some(run, &names, now, states)));
        }
        let summary = known.history.summaries().rev().find(|summary| summary.run_id == id)?;
        Some(serde_json::to_vec(&views::RunDetail::of_summary(summary)))
    });
    json.ok_or_else(|| no_run(id))?.map_err(|error| {
        tracing::error!("a run is not JSON: {error}");
        Problem::internal()
    })
}

fn render(shared: &Shared, id: RunId) -> Result<Vec<u8>, Problem> {
    let names = names(shared, id);
    let now = Timestamp::now();
    let json = shared.api.view.read(|known| {
        if let Some(run) = known.history.run(id).filter(|run| is_known(run)) {
            return Some(serde_json::to_vec(&views::RunDetail::of(run, &names, now)));
        }
        let summary = known.history.summaries().rev().find(|summary| summary.run_id == id)?;
        Some(serde_json::to_vec(&views::RunDetail::of_summary(summary)))
    });
    json.ok_or_else(|| no_run(id))?.map_err(|error| {
        tracing::error!("a run is not JSON: {error}");
        Problem::internal()
    })
}

/// The names of a run's objects, read from its entries outside the view's lock, once a plan.
fn names(shared: &Shared, id: RunId) -> Names {
    let planned_at = |run: &Run| run.planned_at;
    let key = (id, shared.api.view.read(|known| known.history.run(id).and_then(planned_at)));
    if let Some((known, names)) = &*shared.names.lock()
        && *known == key
    {
        return names.clone();
    }
    let entries: Vec<event::Entry> = shared.api.view.read(|known| {
        let board = known.history.run(id).and_then(Run::board);
        board.map_or_else(Vec::new, |board| {
            board.objects().iter().map(|object| object.entry.clone()).collect()
        })
    });
    let names: Names = entries.iter().map(event::name_of).collect();
    *shared.names.lock() = Some((key, names.clone()));
    names
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CancelWish {
    requested_by: Option<String>,
}

#[derive(Serialize)]
struct CancelAccepted {
    status: &'static str,
    run_id: RunId,
}

async fn cancel(
    State(shared): Ctx,
    Path(id): Path<String>,
    headers: HeaderMap,
    bytes: Result<Bytes, BytesRejection>,
) -> Answer {
    let wish: CancelWish = body(&headers, bytes)?;
    let run_id = run_id(&shared, &id)?;
    let over = shared.api.view.read(|known| match known.history.run(run_id).filter(|run| is_known(run)) {
        Some(run) => Some(run.finished.is_some()),
        None => known.history.summaries().any(|summary| summary.run_id == run_id).then_some(true),
    });
    match over {
        None => return Err(no_run(run_id)),
        Some(true) => {
            return Err(Problem::conflict(format!("run {run_id} is over: nothing is left to cancel")));
        }
        Some(false) => {}
    }
    let requested_by = Some(wish.requested_by.unwrap_or_else(|| "api".into()));
    publish(&shared.api, run_id, Body::RunCancelRequested(CancelRequest { requested_by })).await?;
    json(StatusCode::ACCEPTED, &CancelAccepted { status: "ok", run_id })
}

async fn workers(State(shared): Ctx) -> Answer {
    let now = shared.api.view.now();
    let workers =
        shared.api.view.read(|known| views::WorkersView::of(&known.members, known.history.active(), now));
    json(StatusCode::OK, &workers)
}

async fn alive() -> Response {
    json_bytes(StatusCode::OK, r#"{"status":"ok"}"#)
}

async fn ready(State(shared): Ctx) -> Answer {
    if !shared.api.view.read(|known| known.ready) {
        return Err(Problem::unavailable("the log is not yet read to its end, or cannot be reached"));
    }
    let silence = shared.api.view.silence();
    if silence > SILENCE {
        let seconds = silence.as_secs();
        return Err(Problem::unavailable(format!(
            "the log has not answered for {seconds} s: is Kafka away?"
        )));
    }
    Ok(alive().await)
}

async fn metrics(State(shared): Ctx) -> Answer {
    let Some(handle) = &shared.api.metrics else {
        return Err(Problem::not_found("this process keeps no metrics"));
    };
    let now = shared.api.view.now();
    shared.api.view.read(|known| {
        let active = known.history.active().and_then(Run::board);
        let board = active.or_else(|| known.history.latest_planned().and_then(Run::board));
        telemetry::gauges(board, &known.members, now);
    });
    let text = handle.render();
    Ok(([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_page_is_told_by_its_headers() {
        let table = [
            (&[][..], false),
            (&[("host", "h:8000"), ("origin", "http://h:8000")], false),
            (&[("host", "H"), ("origin", "http://h:80")], false),
            (&[("host", "h"), ("origin", "https://h")], false),
            (&[("host", "h:8000"), ("origin", "http://h:8001")], true),
            (&[("host", "h:8000"), ("origin", "http://evil")], true),
            (&[("host", "h:8000"), ("origin", "null")], true),
            (&[("origin", "http://h")], true),
            (&[("host", "h"), ("sec-fetch-site", "cross-site")], true),
            (&[("host", "h"), ("sec-fetch-site", "same-origin")], false),
        ];
        for (headers, foreign) in table {
            let mut map = HeaderMap::new();
            for &(name, value) in headers {
                map.insert(name, HeaderValue::from_static(value));
            }
            assert_eq!(is_foreign(&map), foreign, "{headers:?}");
        }
    }
}
