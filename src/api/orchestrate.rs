//! `POST /orchestrate` and `POST /runs/{id}/retry`: a run is asked for.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::OneOf;
use utoipa::openapi::{Object, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use super::ask::{Whole, body, limits, path, retries, timeout};
use super::problem::Problem;
use super::runs::{RunName, kept, run_id};
use super::{Answer, Ctx, Shared, blocking, json, publish};
use crate::domain::event::{self, Body, RunId};
use crate::domain::limit::{self, Limit};
use crate::domain::object::{MAX_OBJECT_ID, ObjectId};
use crate::domain::retry::{self, NoRetry};
use crate::domain::rules::{DurationText, OnFailure, RulesAsked};

/// How long a request waits for its run to be planned.
const PLAN_WAIT: Duration = Duration::from_secs(5);
/// So many ids of a new run are shown.
const ORDER_SAMPLE: usize = 20;

/// The body of `POST /orchestrate`. A word that is not known is an error: `target` for `targets` would run everything.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = RunRequest)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// Selectors of what to run: `3005` or `"3005"` is that object alone, `"+3005"` takes along what it needs, `"2002+"` what
    /// follows it, `"2+2002+1"` so many levels; `"stage:ingest"`, `"source:Sage"`, `"criticality:high"` and `"name:Proj*"` match
    /// many. Several unite, a comma without spaces intersects. None: every final object with all that it needs.
    targets: Option<Vec<Target>>,
    /// Selectors of what not to run of that.
    exclude: Option<Vec<Target>>,
    /// Who asks, for people.
    requested_by: Option<String>,
    /// How often a failed object that is worth another try is tried again; by default as the orchestrator is set.
    #[schema(value_type = Option<u32>, maximum = 1000)]
    retries: Option<Whole>,
    /// How long the first of these tries waits; each further one waits twice as long.
    #[schema(schema_with = super::ask::duration_schema, required = false)]
    backoff: Option<DurationText>,
    /// How long an attempt may take.
    #[schema(schema_with = super::ask::timeout_schema, required = false)]
    timeout: Option<DurationText>,
    /// What a failure for good means for the rest.
    on_failure: Option<OnFailure>,
    /// What may run at once.
    #[schema(schema_with = super::ask::limits_schema, required = false)]
    limits: Option<Vec<String>>,
    /// Objects that were loaded less than this long ago are not loaded again, unless something before them is.
    #[schema(schema_with = super::ask::duration_schema, required = false)]
    fresh: Option<DurationText>,
}

/// A selector as text, or an object's id.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a selector is text or a whole number")]
enum Target {
    Text(String),
    Id(Whole),
}

impl PartialSchema for Target {
    fn schema() -> RefOr<Schema> {
        OneOf::builder()
            .item(Object::builder().schema_type(Type::String))
            .item(ObjectId::schema())
            .description(Some("A selector, or an object's id as a number."))
            .into()
    }
}

impl ToSchema for Target {}

/// An object's id, as a number or as its digits.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "an object's id is a whole number")]
enum Named {
    Id(Whole),
    Digits(String),
}

impl Named {
    fn id(self) -> Result<ObjectId, Problem> {
        let id = match &self {
            Named::Id(Whole(id)) => Some(*id),
            Named::Digits(text) => text.trim().parse().ok(),
        };
        let id = id.filter(|id| *id <= MAX_OBJECT_ID).map(ObjectId);
        id.ok_or_else(|| Problem::bad_request("from has ids of objects: whole numbers, or their digits"))
    }
}

impl PartialSchema for Named {
    fn schema() -> RefOr<Schema> {
        OneOf::builder()
            .item(Object::builder().schema_type(Type::String).pattern(Some("^[0-9]{1,15}$")))
            .item(ObjectId::schema())
            .description(Some("An object's id, as a number or as its digits."))
            .into()
    }
}

impl ToSchema for Named {}

/// A request that stands in the log.
#[derive(Serialize, ToSchema)]
struct Accepted {
    #[schema(schema_with = super::openapi::ok)]
    status: &'static str,
    /// The run's id.
    run_id: RunId,
    /// The run of which it is a retry.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    retry_of: Option<RunId>,
    /// How many objects it has; null: nobody has planned it within 5 s, the request stays in the log.
    count: Option<usize>,
    /// The first ids in the order of the plan.
    #[schema(max_items = 20)]
    order_sample: Vec<ObjectId>,
    /// What is odd about what was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

/// Ask for a run
///
/// Answers once the run is planned.
#[utoipa::path(
    post, path = "/orchestrate", tag = "runs",
    request_body = Option<Wish>,
    responses(
        (status = 202, description = "It is asked for.", body = Accepted),
        (status = 422, description = "The catalogue is bad, or the selectors: `problems` has everything that is wrong."),
    )
)]
pub(super) async fn orchestrate(
    State(shared): Ctx,
    headers: HeaderMap,
    bytes: Result<Bytes, BytesRejection>,
) -> Answer {
    let wish: Wish = body(&headers, bytes)?;
    let rules = RulesAsked {
        retries: retries(wish.retries)?,
        backoff: wish.backoff.map(|DurationText(backoff)| backoff),
        timeout: timeout(wish.timeout)?,
        on_failure: wish.on_failure,
        limits: limits(wish.limits)?,
    };
    let texts = |targets: Option<Vec<Target>>| -> Vec<String> {
        let text = |target| match target {
            Target::Text(text) => text,
            Target::Id(Whole(id)) => id.to_string(),
        };
        targets.unwrap_or_default().into_iter().map(text).collect()
    };
    let (targets, exclude) = (texts(wish.targets), texts(wish.exclude));
    let warnings = refuse_bad(&shared, &targets, &exclude, &rules.limits).await?;
    let requested_by = Some(wish.requested_by.unwrap_or_else(|| "api".into()));
    ask(
        &shared,
        event::Request {
            targets,
            exclude,
            requested_by,
            rules,
            fresh: wish.fresh.map(|DurationText(fresh)| fresh),
            ..event::Request::default()
        },
        warnings,
    )
    .await
}

/// The body of `POST /runs/{id}/retry`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = RetryRequest)]
#[serde(deny_unknown_fields)]
struct RetryWish {
    /// Who asks, for people.
    requested_by: Option<String>,
    /// How often a failed object that is worth another try is tried again; by default as in the run that is repeated.
    #[schema(value_type = Option<u32>, maximum = 1000)]
    retries: Option<Whole>,
    /// How long the first of these tries waits; each further one waits twice as long.
    #[schema(schema_with = super::ask::duration_schema, required = false)]
    backoff: Option<DurationText>,
    /// How long an attempt may take.
    #[schema(schema_with = super::ask::timeout_schema, required = false)]
    timeout: Option<DurationText>,
    /// What a failure for good means for the rest.
    on_failure: Option<OnFailure>,
    /// What may run at once.
    #[schema(schema_with = super::ask::limits_schema, required = false)]
    limits: Option<Vec<String>>,
    /// Run these objects and all that follows them, instead of what failed.
    from: Option<Vec<Named>>,
}

/// Run again what failed in a run, and what was skipped for it
///
/// Or, with `from`, these objects and all that follows them. Nothing else runs: what was loaded counts as loaded. Answers once the new run is planned.
#[utoipa::path(
    post, path = "/runs/{id}/retry", tag = "runs",
    params(("id" = RunName, Path, description = "The run that is over.")),
    request_body = Option<RetryWish>,
    responses(
        (status = 202, description = "It is asked for.", body = Accepted),
        (status = 404, description = "There is no such run."),
        (status = 409, description = "The run is not over, nothing failed in it, too little is left of it, or what `from` names cannot run without more."),
        (status = 422, description = "The catalogue is bad: `problems` has everything that is wrong."),
    )
)]
pub(super) async fn retry(
    State(shared): Ctx,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    bytes: Result<Bytes, BytesRejection>,
) -> Answer {
    let wish: RetryWish = body(&headers, bytes)?;
    let rules = RulesAsked {
        retries: retries(wish.retries)?,
        backoff: wish.backoff.map(|DurationText(backoff)| backoff),
        timeout: timeout(wish.timeout)?,
        on_failure: wish.on_failure,
        limits: limits(wish.limits)?,
    };
    let from = wish.from.unwrap_or_default().into_iter().map(Named::id).collect::<Result<Vec<_>, _>>()?;
    let old = run_id(&shared, &path(id)?)?;
    let warnings = shared.api.view.read(|known| {
        let run = kept(&known.history, old)?;
        if run.finished.is_none() {
            let text = format!("run {old} is not over: wait for its end, or cancel it first");
            return Err(Problem::conflict(text));
        }
        let again = run.board().ok_or(NoRetry::Nothing).and_then(|board| retry::again(board, &from));
        let objects = again.map_err(|why| {
            Problem::conflict(match why {
                NoRetry::Nothing => {
                    format!("nothing failed in run {old}: there is nothing to retry; {}", why.hint())
                }
                why => format!("run {old} {why}: {}", why.hint()),
            })
        })?;
        Ok(limit::idle(&objects, &rules.limits))
    })?;
    // A catalogue that is bad now is refused now.
    refuse_bad(&shared, &[], &[], &[]).await?;
    let requested_by = Some(wish.requested_by.unwrap_or_else(|| "api".into()));
    let request =
        event::Request { requested_by, rules, retry_of: Some(old), from, ..event::Request::default() };
    ask(&shared, request, warnings).await
}

/// Refuses selectors that cannot be planned, or a catalogue that is bad, where this process has it. What is odd about the
/// limits is returned.
async fn refuse_bad(
    shared: &Shared,
    targets: &[String],
    exclude: &[String],
    limits: &[Limit],
) -> Result<Vec<String>, Problem> {
    let Some(preview) = shared.api.preview.clone() else { return Ok(Vec::new()) };
    let (targets, exclude, limits) = (targets.to_vec(), exclude.to_vec(), limits.to_vec());
    let planned = blocking(move || {
        preview(&targets, &exclude)
            .map(|objects| if limits.is_empty() { Vec::new() } else { limit::idle(&objects, &limits) })
    });
    planned.await?.map_err(|refused| Problem::bad_catalogue(refused.text, Some(refused.problems)))
}

/// Asks for a run, and waits a while for its plan.
async fn ask(shared: &Shared, request: event::Request, warnings: Vec<String>) -> Answer {
    let (run_id, retry_of) = (RunId(Uuid::now_v7()), request.retry_of);
    publish(&shared.api, run_id, Body::RunRequested(request)).await?;

    let planned = shared.api.view.wait_for(PLAN_WAIT, |known| {
        let run = known.history.run(run_id)?;
        if let Some(board) = run.board() {
            let sample = board.objects().iter().take(ORDER_SAMPLE).map(|object| object.id).collect();
            return Some(Ok((Some(board.len()), sample)));
        }
        let (_, finished) = run.finished.as_ref()?;
        let detail = match finished.reason.as_deref() {
            Some("bad-catalogue") => {
                "the catalogue cannot be planned: `problems` lists all that is wrong with it"
            }
            Some("nothing-to-retry") => "the run cannot be retried: `problems` says why",
            _ => return Some(Ok((None, Vec::new()))), // it ended before anybody planned it
        };
        Some(Err(Problem::bad_catalogue(detail, finished.problems.clone())))
    });
    let mut shutdown = shared.api.shutdown.clone();
    let planned = tokio::select! {
        planned = planned => planned,
        _ = shutdown.wait_for(|over| *over) => None,
    };
    let (count, order_sample) = planned.unwrap_or_else(|| Ok((None, Vec::new())))?;
    json(StatusCode::ACCEPTED, &Accepted { status: "ok", run_id, retry_of, count, order_sample, warnings })
}
