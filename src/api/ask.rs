//! What callers send: bodies, queries, numbers. What is not understood is a problem that says why.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;

use super::problem::Problem;

/// A body may have so many bytes.
pub(super) const MAX_BODY_BYTES: usize = 256 * 1024;

/// More retries are nobody's wish.
const MAX_RETRIES: u32 = 1000;

/// `?limit=`.
#[derive(Deserialize)]
pub(super) struct LimitQuery {
    pub(super) limit: Option<String>,
}

/// The JSON of a body; the default where there is none.
pub(super) fn body<T: Default + for<'a> Deserialize<'a>>(
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

/// How often a failed object may be tried again, as the flags have it.
pub(super) fn retries(asked: Option<u32>) -> Result<Option<u32>, Problem> {
    if asked.is_some_and(|asked| asked > MAX_RETRIES) {
        return Err(Problem::bad_request(format!("retries is a number from 0 to {MAX_RETRIES}")));
    }
    Ok(asked)
}

/// A number in a query, from 1 to `max`.
pub(super) fn limit(text: Option<&str>, default: usize, max: usize) -> Result<usize, Problem> {
    let Some(text) = text else { return Ok(default) };
    match text.parse() {
        Ok(limit @ 1..) if limit <= max => Ok(limit),
        _ => Err(Problem::bad_request(format!("limit is a number from 1 to {max}, not {text:?}"))),
    }
}

pub(super) fn path<T>(path: Result<Path<T>, PathRejection>) -> Result<T, Problem> {
    path.map(|Path(path)| path).map_err(|rejection| Problem::bad_request(rejection.body_text()))
}

pub(super) fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    query.map(|Query(query)| query).map_err(|rejection| Problem::bad_request(rejection.body_text()))
}
