//! What callers send: bodies, queries, numbers. What is not understood is a problem that says why.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Number;
use utoipa::openapi::schema::{Array, ArrayBuilder, ObjectBuilder, SchemaType};
use utoipa::openapi::{Object, Type};

use super::problem::Problem;
use crate::domain::limit::{Limit, MAX_LIMITS};
use crate::domain::object::MAX_OBJECT_ID;
use crate::domain::rules::DurationText;

/// A body may have so many bytes.
pub(super) const MAX_BODY_BYTES: usize = 256 * 1024;

/// More retries are nobody's wish.
const MAX_RETRIES: u32 = 1000;
/// A limit is written in so many characters.
const MAX_LIMIT_CHARS: usize = 250;

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
pub(super) fn retries(asked: Option<Whole>) -> Result<Option<u32>, Problem> {
    let retries = |Whole(asked)| u32::try_from(asked).ok().filter(|retries| *retries <= MAX_RETRIES);
    let wrong = || Problem::bad_request(format!("retries is a number from 0 to {MAX_RETRIES}"));
    asked.map(|asked| retries(asked).ok_or_else(wrong)).transpose()
}

/// How long something may take: longer than no time at all.
pub(super) fn timeout(asked: Option<DurationText>) -> Result<Option<Duration>, Problem> {
    match asked {
        Some(DurationText(Duration::ZERO)) => Err(Problem::bad_request("timeout is longer than 0s")),
        asked => Ok(asked.map(|DurationText(timeout)| timeout)),
    }
}

/// What may run at once.
pub(super) fn limits(asked: Option<Vec<String>>) -> Result<Vec<Limit>, Problem> {
    let asked = asked.unwrap_or_default();
    if asked.len() > MAX_LIMITS {
        return Err(Problem::bad_request(format!(
            "at most {MAX_LIMITS} limits at a time, not {}",
            asked.len()
        )));
    }
    let read = |text: &String| {
        if text.chars().count() > MAX_LIMIT_CHARS {
            return Err(format!("a limit has at most {MAX_LIMIT_CHARS} characters"));
        }
        text.parse()
    };
    asked.iter().map(read).collect::<Result<_, _>>().map_err(Problem::bad_request)
}

/// A duration of the API, for the description.
pub(super) fn duration_schema() -> Object {
    let pattern = "^([0-9]{1,6}(ms|s)|[0-9]{1,4}(m|h))$";
    or_null(text(pattern).description(Some("A duration such as `500ms`, `10s`, `15m`, `2h`.")))
}

/// A duration that is longer than no time at all.
pub(super) fn timeout_schema() -> Object {
    let pattern = "^([1-9][0-9]{0,5}(ms|s)|[1-9][0-9]{0,3}(m|h))$";
    let description = "How long an attempt may take, such as `15m`; by default as the workers are set.";
    or_null(text(pattern).description(Some(description)))
}

/// What may run at once, for the description.
pub(super) fn limits_schema() -> Array {
    let pattern = "^[^=]*[^=\\s][^=]*=[^\\n]*\\S[^\\n]*:0*[1-9][0-9]{0,8}$";
    let limit = text(pattern).description(Some("At most so many objects with this value at once."));
    ArrayBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Array, Type::Null]))
        .items(limit.max_length(Some(MAX_LIMIT_CHARS)))
        .max_items(Some(MAX_LIMITS))
        .description(Some(
            "`KEY=VALUE:N`: at most so many objects with this value run at once. The key is `stage`, `source`, `criticality` or a \
             field of the catalogue's entries; `*` gives each value a limit of its own. They are added to those of the orchestrator.",
        ))
        .build()
}

fn text(pattern: &str) -> ObjectBuilder {
    Object::builder().schema_type(Type::String).pattern(Some(pattern))
}

/// What may be left out may be null too.
fn or_null(text: ObjectBuilder) -> Object {
    text.schema_type(SchemaType::from_iter([Type::String, Type::Null])).build()
}

/// A whole number, however it is written: to JSON Schema 3.0 is one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole(pub(super) u64);

impl Whole {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is whole, and of that range"
    )]
    fn of(number: f64) -> Option<Whole> {
        let is_whole = number.fract() == 0.0 && (0.0..=MAX_OBJECT_ID as f64).contains(&number);
        is_whole.then_some(Whole(number as u64))
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Whole, D::Error> {
        let number = Number::deserialize(deserializer)?;
        let whole = number.as_u64().map(Whole).or_else(|| Whole::of(number.as_f64()?));
        whole.ok_or_else(|| D::Error::custom(format!("{number} is no whole number from 0 on")))
    }
}

/// The parts of a list in a query; of no text there are none.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(move |_| !text.is_empty())
}

/// A number in a query, from 1 to `max`.
pub(super) fn limit(text: Option<&str>, default: usize, max: usize) -> Result<usize, Problem> {
    let Some(text) = text else { return Ok(default) };
    let whole = text.parse().ok().or_else(|| Some(Whole::of(text.parse().ok()?)?.0));
    match whole.and_then(|whole| usize::try_from(whole).ok()) {
        Some(limit @ 1..) if limit <= max => Ok(limit),
        _ => Err(Problem::bad_request(format!("limit is a number from 1 to {max}, not {text:?}"))),
    }
}

pub(super) fn path<T>(path: Result<Path<T>, PathRejection>) -> Result<T, Problem> {
    path.map(|Path(path)| path).map_err(|rejection| Problem::bad_request(rejection.body_text()))
}

pub(super) fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    query.map(|Query(query)| query).map_err(|rejection| Problem::bad_request(rejection.body_text()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_is_one_however_it_is_written() {
        let table = [
            ("3", Some(3)),
            ("3.0", Some(3)),
            ("3e2", Some(300)),
            ("0.0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("3.5", None),
            ("-1", None),
            ("-1.0", None),
            ("1e300", None),
            ("\"3\"", None),
            ("null", None),
        ];
        for (json, whole) in table {
            let read: Option<Whole> = serde_json::from_str(json).ok();
            assert_eq!(read.map(|Whole(number)| number), whole, "{json}");
        }
        assert_eq!(limit(Some("10.0"), 1, 10).unwrap(), 10);
        assert!(
            ["0", "0.0", "11", "-1", "x", "", "nan"].iter().all(|text| limit(Some(text), 1, 10).is_err())
        );
    }

    #[test]
    fn a_list_of_nothing_is_empty() {
        assert_eq!(list("").count(), 0);
        assert_eq!(list("a,,b").collect::<Vec<_>>(), ["a", "", "b"]);
    }
}
