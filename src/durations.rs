//! A file that says how long objects take: JSON by id, a run as korch tells it, or CSV.

use std::path::Path;
use std::time::Duration;

use rustc_hash::FxHashMap;
use serde::Deserialize;
use serde_json::Value;

use crate::domain::object::{MAX_OBJECT_ID, ObjectId};
use crate::domain::rules::read_duration;

/// Nothing takes longer than this, in seconds: 10,000 hours.
const MAX_SECONDS: f64 = 36_000_000.0;

/// How long objects take.
pub type Known = FxHashMap<ObjectId, Duration>;

/// Reads such a file.
///
/// # Errors
/// That it cannot be read; or what is wrong in it, with its line or entry, and what to write.
pub fn read(file: &Path) -> Result<Known, String> {
    let name = file.display();
    let bytes = std::fs::read(file).map_err(|error| format!("{name} cannot be read: {error}"))?;
    parse(&bytes).map_err(|problem| format!("{name}{problem}"))
}

/// What is wrong, to stand after the file's name.
fn parse(bytes: &[u8]) -> Result<Known, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| ": it is not UTF-8".to_owned())?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with(['{', '[']) { json(text) } else { csv(text) }
}

fn json(text: &str) -> Result<Known, String> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| format!(":{}:{}: not JSON: {error}", error.line(), error.column()))?;
    let Value::Object(object) = value else {
        return Err(r#": a list is not understood: write {"1001": 12.5, "1002": "40s"}"#.to_owned());
    };
    // `korch status --output json` wraps the run.
    if let Some(run) = [Some(&object), object.get("run").and_then(Value::as_object)]
        .into_iter()
        .flatten()
        .find(|object| object.get("objects").is_some_and(Value::is_array))
    {
        return run["objects"].as_array().into_iter().flatten().enumerate().try_fold(
            Known::default(),
            |mut known, (at, object)| {
                let object = RunObject::deserialize(object)
                    .map_err(|error| format!(": objects[{at}] is no object of a run: {error}"))?;
                let took = object.attempts.iter().rev().find(|attempt| attempt.error.is_none());
                if let Some(took) = took.and_then(|attempt| attempt.duration_seconds) {
                    let took =
                        seconds(took).map_err(|why| format!(": objects[{at}] ({}): {why}", object.id))?;
                    known.insert(ObjectId(object.id), took);
                }
                Ok(known)
            },
        );
    }
    let mut known = Known::default();
    for (key, value) in &object {
        let at = |why: String| format!(": entry {key:?}: {why}");
        let took = match value {
            Value::Number(number) => seconds(number.as_f64().unwrap_or(-1.0)),
            Value::String(text) => read_duration(text),
            other => Err(format!("{other} is no duration: write 12.5 or \"12s\"")),
        };
        known.insert(id(key).map_err(at)?, took.map_err(at)?);
    }
    Ok(known)
}

/// What counts of an object in a run.
#[derive(Deserialize)]
struct RunObject {
    id: u64,
    #[serde(default)]
    attempts: Vec<RunAttempt>,
}

#[derive(Deserialize)]
struct RunAttempt {
    duration_seconds: Option<f64>,
    error: Option<String>,
}

fn csv(text: &str) -> Result<Known, String> {
    let mut known = Known::default();
    let mut lines: FxHashMap<ObjectId, usize> = FxHashMap::default();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let at = |why: String| format!(":{number}: {why}");
        let (key, value) = line
            .split_once([',', ';'])
            .ok_or_else(|| at(format!("{line:?} is no line id,seconds, such as 1001,12.5")))?;
        let (key, value) = (key.trim().trim_matches('"'), value.trim().trim_matches('"'));
        // Nobody calls an object by a word: the first line may be a head.
        if known.is_empty() && key.parse::<u64>().is_err() && value.parse::<f64>().is_err() && number == 1 {
            continue;
        }
        let took = value.parse().map_or_else(|_| read_duration(value), seconds).map_err(at)?;
        let object = id(key).map_err(at)?;
        if let Some(before) = lines.insert(object, number) {
            return Err(at(format!("object {object} stands in line {before} already")));
        }
        known.insert(object, took);
    }
    Ok(known)
}

fn id(text: &str) -> Result<ObjectId, String> {
    let id = text.trim().parse().ok().filter(|id| *id <= MAX_OBJECT_ID);
    id.map(ObjectId).ok_or_else(|| format!("{text:?} is no id of an object"))
}

fn seconds(seconds: f64) -> Result<Duration, String> {
    if (0.0..=MAX_SECONDS).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(format!("{seconds} is no duration in seconds, from 0 to {MAX_SECONDS}"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_format_is_read_or_its_place_named() {
        type Read = Result<&'static [(u64, u64)], &'static str>;
        let table: [(&str, Read); 19] = [
            (r#"{"1001": 12.5, "1002": "40s", "3005":0}"#, Ok(&[(1001, 12_500), (1002, 40_000), (3005, 0)])),
            ("\u{feff}1001,12.5\r\n1002;40s\r\n", Ok(&[(1001, 12_500), (1002, 40_000)])),
            ("id,seconds\n# slow\n\n\"1001\",\"0.25\"\n", Ok(&[(1001, 250)])),
            ("", Ok(&[])),
            ("{}", Ok(&[])),
            (
                r#"{"objects":[{"id":1001,"attempts":[{"duration_seconds":9,"error":"x"},{"duration_seconds":2}]},
                    {"id":1002,"attempts":[{"duration_seconds":9,"error":"x"}]},{"id":1003}]}"#,
                Ok(&[(1001, 2_000)]),
            ),
            (
                r#"{"leader":null,"run":{"objects":[{"id":7,"attempts":[{"duration_seconds":0.5}]}]}}"#,
                Ok(&[(7, 500)]),
            ),
            ("[1]", Err(": a list is not understood")),
            ("{\"1001\":\n1,}", Err(":2:3: not JSON")),
            (r#"{"a": 1}"#, Err(r#": entry "a": "a" is no id"#)),
            (r#"{"1001": -1}"#, Err(r#": entry "1001": -1 is no duration"#)),
            (r#"{"1001": "soon"}"#, Err(r#": entry "1001": "soon" is no duration"#)),
            (r#"{"1001": null}"#, Err(r#": entry "1001": null is no duration"#)),
            (r#"{"objects":[{"id":1},{"name":"x"}]}"#, Err(": objects[1] is no object of a run")),
            ("1001,1\nx,2", Err(":2: \"x\" is no id")),
            ("1001,1\n1002,soon", Err(":2: \"soon\" is no duration")),
            ("1001,1\n1002", Err(":2: \"1002\" is no line")),
            ("1001,1\n\n1001,2", Err(":3: object 1001 stands in line 1 already")),
            ("1001,1e99", Err(":1: ")),
        ];
        for (text, expected) in table {
            match (parse(text.as_bytes()), expected) {
                (Ok(known), Ok(expected)) => {
                    let mut known: Vec<(u64, u64)> =
                        known.iter().map(|(id, took)| (id.0, took.as_millis() as u64)).collect();
                    known.sort_unstable();
                    assert_eq!(known, expected, "{text}");
                }
                (Err(error), Err(part)) => assert!(error.starts_with(part), "{text}: {error}"),
                (actual, expected) => panic!("{text}: {actual:?}, {expected:?}"),
            }
        }
    }
}
