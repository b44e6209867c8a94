//! What a worker does with an object: a [`Handler`] is given one attempt and says how it ended.
//!
//! It knows neither the log nor leases nor slots: the worker that calls it does.
//!
//! Architecture invariant: **to drop is to stop.** There is no second way to end an attempt early (a cancelled run,
//! a lease that was lost, a second Ctrl-C): the worker drops the future that [`Handler::handle`] returned, and a
//! handler must see to it that nothing of the attempt goes on after that.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::domain::object::{ObjectId, Stage};

pub mod exec;
pub mod http;
mod lines;
pub mod simulate;
pub mod timed;

/// The largest result that a handler may return, in bytes: it has to fit into an event beside everything else.
pub const RESULT_MAX_BYTES: usize = 64 * 1024;

/// How deeply a result may be nested. JSON readers give up somewhere above (serde_json at 128, and the event around
/// the result takes a few), and an event that some reader cannot read must never be written.
const RESULT_MAX_DEPTH: usize = 100;

/// One attempt at an object. It may be the second one with the same numbers: work must be idempotent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The object to be loaded.
    pub object: ObjectId,
    /// The stage that serves it.
    pub stage: Stage,
    /// The run that needs it.
    pub run_id: String,
    /// Which attempt of the run this is, from 1.
    pub attempt: u32,
    /// The catalogue's entry as raw JSON. None for an object that is known by its id alone.
    pub entry: Option<Arc<str>>,
    /// How long the attempt may take. None: as long as whoever runs it allows ([`timed::Timed`]).
    pub timeout: Option<Duration>,
    /// Parents whose last good version is used, for in this run they were not loaded.
    pub degraded: Vec<ObjectId>,
}

impl Task {
    /// The entry as JSON: `null` where there is none.
    pub fn entry_json(&self) -> &str {
        self.entry.as_deref().unwrap_or("null")
    }

    /// The ids of [`Task::degraded`], separated by commas. None where there are none.
    pub fn degraded_list(&self) -> Option<String> {
        let ids: Vec<String> = self.degraded.iter().map(ToString::to_string).collect();
        (!ids.is_empty()).then(|| ids.join(","))
    }
}

/// Why an attempt did not load its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// One line for a human.
    pub error: String,
    /// Whether another attempt may well succeed.
    pub retryable: bool,
    /// The end of what the work wrote to stderr, or of the body that it answered, if it wrote anything.
    pub stderr: Option<String>,
}

impl Failure {
    /// A failure that another attempt would meet again.
    pub fn lasting(error: impl Into<String>) -> Failure {
        Failure { error: error.into(), retryable: false, stderr: None }
    }

    /// A failure that another attempt may not meet.
    pub fn passing(error: impl Into<String>) -> Failure {
        Failure { error: error.into(), retryable: true, stderr: None }
    }

    /// The attempt took longer than it may. Worth another try: what took too long once (a slow source, a crowded machine) may
    /// be quick the next time, and whoever wants no second try leaves `--retries` at 0.
    fn late(timeout: Duration) -> Failure {
        Failure::passing(format!("timeout after {timeout:?}"))
    }
}

/// How an attempt ended: loaded, with the JSON object that the handler returned if any; or failed.
pub type Outcome = Result<Option<Box<RawValue>>, Failure>;

/// Loads objects. One handler serves every slot of a worker, so it is called many times at once.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Makes one attempt. Dropping the future stops the attempt, with everything that it started.
    async fn handle(&self, task: &Task) -> Outcome;

    /// Whether an attempt is over as soon as it is begun, so that a task of its own would cost more than the attempt.
    fn is_instant(&self) -> bool {
        false
    }

    /// Whether it ends an attempt at [`Task::timeout`] itself, in a way that is kinder than to be dropped.
    fn keeps_time(&self) -> bool {
        false
    }
}

/// Reads what a handler returned: a JSON object becomes the result, anything else is none.
///
/// The error says why an object was refused: the load itself is none the worse for it.
fn read_result(text: &[u8]) -> Result<Option<Box<RawValue>>, String> {
    let text = text.trim_ascii();
    if !text.starts_with(b"{") {
        return Ok(None);
    }
    if text.len() > RESULT_MAX_BYTES {
        return Err(format!("it is larger than {RESULT_MAX_BYTES} bytes"));
    }
    let Ok(raw) = serde_json::from_slice::<Box<RawValue>>(text) else {
        return Ok(None);
    };
    // Raw JSON is only checked for its grammar. What no reader could take (1e999, half a surrogate pair, a thousand
    // brackets) would make an event that nobody can read.
    let value: Value =
        serde_json::from_str(raw.get()).map_err(|error| format!("it cannot be read: {error}"))?;
    if depth(&value) > RESULT_MAX_DEPTH {
        return Err(format!("it is nested more than {RESULT_MAX_DEPTH} deep"));
    }
    Ok(Some(raw))
}

/// How deeply a value is nested. Its recursion is bounded by that of the parser which made the value.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<Option<&str>, &str>) {
        let actual = read_result(text.as_bytes());
        let actual = actual.as_ref().map(|raw| raw.as_ref().map(|raw| raw.get())).map_err(String::as_str);
        match (actual, expected) {
            (Err(actual), Err(expected)) => {
                assert!(actual.contains(expected), "{actual:?} lacks {expected:?}");
            }
            (actual, expected) => assert_eq!(actual, expected),
        }
    }

    fn nested(depth: usize) -> String {
        format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth))
    }

    #[test]
    fn an_object_is_a_result_and_stays_as_it_was_written() {
        check(r#"{"rows": 3, "b":1.10}"#, Ok(Some(r#"{"rows": 3, "b":1.10}"#)));
        check("  {} \r\n", Ok(Some("{}")));
        check(&nested(RESULT_MAX_DEPTH), Ok(Some(nested(RESULT_MAX_DEPTH).as_str())));
    }

    #[test]
    fn whatever_is_no_object_is_no_result() {
        for text in ["", "loaded", "3", "null", "[1]", "\"{}\"", "{", "{rows: 3}", "{} {}", "{} done"] {
            check(text, Ok(None));
        }
        assert!(matches!(read_result(b"{\"a\": \"\xff\"}"), Ok(None)));
    }

    #[test]
    fn an_object_that_some_reader_could_not_take_is_refused() {
        check(&format!(r#"{{"a": "{}"}}"#, "x".repeat(RESULT_MAX_BYTES)), Err("larger than 65536 bytes"));
        check(&nested(RESULT_MAX_DEPTH + 1), Err("more than 100 deep"));
        check(&nested(2000), Err("recursion limit"));
        check(r#"{"a": 1e999}"#, Err("out of range"));
        check(r#"{"a": "\ud800"}"#, Err("cannot be read"));
    }
}
