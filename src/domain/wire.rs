//! How events are written, and how leniently they are read.
//!
//! One wrong field costs its event, never the reader. Knows nothing of what an event means.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::event::{
    Answer, AnswerMeta, Asked, Assigned, Body, Epoch, Event, Finished, MAX_ATTEMPT, MAX_EPOCH, Marked,
    MarkedAs, Place, PlanPart, Ready, Reject, Request, RunId, Skipped,
};
use super::limit::{Limit, MAX_LIMITS};
use super::object::{MAX_OBJECT_ID, ObjectId};
use super::rules::{DurationText, Rules, RulesAsked};

impl Event {
    /// Reads a record's value. `place` names a run that has no name of its own, `timestamp` stands in for a missing time.
    ///
    /// # Errors
    /// What is not an event, and why.
    pub fn decode(value: &[u8], place: Place, timestamp: Timestamp) -> Result<Event, Reject> {
        // Serde would read an array as a struct too, field by field.
        if value.trim_ascii_start().first() != Some(&b'{') {
            return Err(Reject::NotJson);
        }
        let wire: Wire<'_> = serde_json::from_slice(value).map_err(|_| Reject::NotJson)?;
        let event_type = wire.event_type.ok_or(Reject::NoType)?;
        let event_type: &str = &read_text(event_type).ok_or(Reject::NoType)?;
        let at =
            wire.event_datetime.and_then(read_text).and_then(|text| parse_time(&text)).unwrap_or(timestamp);
        let mut run: Option<RunId> = optional(wire.run_id, "run_id")?;
        let epoch: Option<Epoch> = optional(wire.epoch, "epoch")?;
        if epoch.is_some_and(|epoch| epoch > MAX_EPOCH) {
            return Err(Reject::Field("epoch"));
        }
        let object = || read_id(wire.id_objet).ok_or(Reject::Field("id_objet"));
        let strange = run.is_none();
        let attempt = || match optional::<u32>(wire.attempt, "attempt")? {
            Some(attempt @ 1..=MAX_ATTEMPT) => Ok(attempt),
            None if strange => Ok(1),
            _ => Err(Reject::Field("attempt")),
        };
        let body = match event_type {
            "RunRequested" => {
                run.get_or_insert(RunId::of_place(place.partition, place.offset));
                Body::RunRequested(Request {
                    targets: read_selectors(wire.targets, "targets")?,
                    exclude: read_selectors(wire.exclude, "exclude")?,
                    requested_by: wire.requested_by.and_then(read_text),
                    rules: RulesAsked {
                        retries: optional(wire.retries, "retries")?,
                        backoff: duration(wire.backoff, "backoff")?,
                        timeout: duration(wire.timeout, "timeout")?,
                        on_failure: optional(wire.on_failure, "on_failure")?,
                        limits: limits(wire.limits)?,
                    },
                    fresh: duration(wire.fresh, "fresh")?,
                    retry_of: optional(wire.retry_of, "retry_of")?,
                    from: optional(wire.from, "from")?.unwrap_or_default(),
                    scheduled_for: optional(wire.scheduled_for, "scheduled_for")?,
                })
            }
            "RunPlanned" => Body::RunPlanned(PlanPart {
                part: required(wire.part, "part")?,
                parts: required(wire.parts, "parts")?,
                partitions: required(wire.partitions, "partitions")?,
                begins: optional(wire.begins, "begins")?.unwrap_or_default(),
                rules: Rules {
                    retries: optional(wire.retries, "retries")?.unwrap_or(0),
                    backoff: duration(wire.backoff, "backoff")?.unwrap_or_default(),
                    timeout: duration(wire.timeout, "timeout")?,
                    on_failure: optional(wire.on_failure, "on_failure")?.unwrap_or_default(),
                    limits: limits(wire.limits)?,
                },
                objects: required(wire.objects, "objects")?,
            }),
            "ObjectReady" => Body::ObjectReady(Ready {
                object: object()?,
                attempt: attempt()?,
                cause: optional(wire.cause, "cause")?,
                degraded: optional(wire.degraded, "degraded")?.unwrap_or_default(),
                entry: optional(wire.meta, "meta")?,
            }),
            "ObjectAssigned" => Body::ObjectAssigned(Assigned {
                object: object()?,
                attempt: attempt()?,
                worker: required(wire.worker, "worker")?,
                instance: required(wire.instance, "instance")?,
                timeout: duration(wire.timeout, "timeout")?,
                degraded: optional(wire.degraded, "degraded")?.unwrap_or_default(),
                entry: optional(wire.meta, "meta")?,
            }),
            "ObjectLoaded" | "ObjectFailed" => {
                let answer =
                    Answer { object: object()?, attempt: attempt()?, meta: read_answer_meta(wire.meta) };
                if event_type == "ObjectLoaded" {
                    Body::ObjectLoaded(answer)
                } else {
                    Body::ObjectFailed(answer)
                }
            }
            "ObjectSkipped" => {
                #[derive(Default, Deserialize)]
                struct Meta {
                    #[serde(default)]
                    because: Vec<ObjectId>,
                }
                let meta: Meta = optional(wire.meta, "meta")?.unwrap_or_default();
                Body::ObjectSkipped(Skipped { object: object()?, attempt: attempt()?, because: meta.because })
            }
            "ObjectMarked" => {
                #[derive(Deserialize)]
                struct Meta<'a> {
                    state: MarkedAs,
                    #[serde(borrow, default)]
                    because: Option<&'a RawValue>,
                    #[serde(borrow, default)]
                    requested_by: Option<&'a RawValue>,
                }
                let meta: Meta<'_> = required(wire.meta, "meta")?;
                Body::ObjectMarked(Marked {
                    object: object()?,
                    attempt: optional::<u32>(wire.attempt, "attempt")?.unwrap_or(1).clamp(1, MAX_ATTEMPT),
                    state: meta.state,
                    because: meta.because.and_then(read_text),
                    requested_by: meta.requested_by.and_then(read_text),
                })
            }
            "RunCancelRequested" => Body::RunCancelRequested(asked(wire.requested_by)),
            "RunPauseRequested" => Body::RunPauseRequested(asked(wire.requested_by)),
            "RunResumeRequested" => Body::RunResumeRequested(asked(wire.requested_by)),
            "RunFinished" => Body::RunFinished(Finished {
                outcome: required(wire.outcome, "outcome")?,
                reason: wire.reason.and_then(read_text),
                counts: optional(wire.counts, "counts")?.unwrap_or_default(),
                duration_seconds: optional(wire.duration_seconds, "duration_seconds")?.unwrap_or(0.0),
                problems: optional(wire.problems, "problems")?,
            }),
            "OrchestratorElected" if epoch.is_some() => Body::OrchestratorElected,
            "OrchestratorElected" => return Err(Reject::Field("epoch")),
            _ => return Err(Reject::UnknownType),
        };
        Ok(Event { at, run, epoch, body })
    }
}

/// What a value says at its beginning, if it begins as korch's own do: its `event_type`, and the attempt where it is about
/// one. Other writers may order their fields otherwise, then there is none. For those who pass over most events.
pub fn peek(value: &[u8]) -> Option<(&str, Option<u32>)> {
    let rest = value.strip_prefix(br#"{"event_type":""#)?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    let event_type = std::str::from_utf8(&rest[..end]).ok().filter(|text| !text.contains('\\'))?;
    let attempt = || {
        let rest = rest[end + 1..].strip_prefix(br#","id_objet":"#)?;
        let end = rest.iter().position(|byte| *byte == b',')?;
        let rest = rest[end..].strip_prefix(br#","attempt":"#)?;
        let end = rest.iter().position(|byte| *byte == b',')?;
        std::str::from_utf8(&rest[..end]).ok()?.parse().ok()
    };
    Some((event_type, attempt()))
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(None)?;
        map.serialize_entry("event_type", self.body.event_type())?;
        if let Some((object, attempt)) = self.body.object() {
            map.serialize_entry("id_objet", &object)?;
            if self.run.is_some() {
                map.serialize_entry("attempt", &attempt)?;
            }
        }
        match &self.body {
            Body::RunRequested(request) => {
                map.serialize_entry("targets", &request.targets)?;
                if !request.exclude.is_empty() {
                    map.serialize_entry("exclude", &request.exclude)?;
                }
                map.serialize_entry("requested_by", &request.requested_by)?;
                let rules = &request.rules;
                if let Some(retries) = rules.retries {
                    map.serialize_entry("retries", &retries)?;
                }
                write_duration(&mut map, "backoff", rules.backoff)?;
                write_duration(&mut map, "timeout", rules.timeout)?;
                if let Some(policy) = rules.on_failure {
                    map.serialize_entry("on_failure", &policy)?;
                }
                write_list(&mut map, "limits", &rules.limits)?;
                write_duration(&mut map, "fresh", request.fresh)?;
                if let Some(run) = request.retry_of {
                    map.serialize_entry("retry_of", &run)?;
                }
                write_list(&mut map, "from", &request.from)?;
                if let Some(at) = request.scheduled_for {
                    map.serialize_entry("scheduled_for", &format_args!("{at:.6}"))?;
                }
            }
            Body::RunPlanned(plan) => {
                map.serialize_entry("part", &plan.part)?;
                map.serialize_entry("parts", &plan.parts)?;
                map.serialize_entry("partitions", &plan.partitions)?;
                map.serialize_entry("begins", &plan.begins)?;
                let rules = &plan.rules;
                map.serialize_entry("retries", &rules.retries)?;
                write_duration(&mut map, "backoff", Some(rules.backoff).filter(|time| !time.is_zero()))?;
                write_duration(&mut map, "timeout", rules.timeout)?;
                map.serialize_entry("on_failure", &rules.on_failure)?;
                write_list(&mut map, "limits", &rules.limits)?;
                map.serialize_entry("objects", &plan.objects)?;
            }
            Body::ObjectReady(ready) => {
                if let Some(cause) = ready.cause {
                    map.serialize_entry("cause", &cause)?;
                }
                write_list(&mut map, "degraded", &ready.degraded)?;
                map.serialize_entry("meta", &ready.entry)?;
            }
            Body::ObjectAssigned(assigned) => {
                map.serialize_entry("worker", &assigned.worker)?;
                map.serialize_entry("instance", &assigned.instance)?;
                write_duration(&mut map, "timeout", assigned.timeout)?;
                write_list(&mut map, "degraded", &assigned.degraded)?;
                map.serialize_entry("meta", &assigned.entry)?;
            }
            Body::ObjectLoaded(answer) | Body::ObjectFailed(answer) => {
                map.serialize_entry("meta", &answer.meta)?;
            }
            Body::ObjectSkipped(skipped) => {
                map.serialize_entry("meta", &serde_json::json!({ "because": skipped.because }))?;
            }
            Body::ObjectMarked(marked) => {
                let Marked { state, because, requested_by, .. } = marked;
                let meta =
                    serde_json::json!({ "state": state, "because": because, "requested_by": requested_by });
                map.serialize_entry("meta", &meta)?;
            }
            Body::RunCancelRequested(asked)
            | Body::RunPauseRequested(asked)
            | Body::RunResumeRequested(asked) => {
                map.serialize_entry("requested_by", &asked.requested_by)?;
            }
            Body::RunFinished(finished) => {
                map.serialize_entry("outcome", &finished.outcome)?;
                map.serialize_entry("reason", &finished.reason)?;
                map.serialize_entry("counts", &finished.counts)?;
                map.serialize_entry("duration_seconds", &finished.duration_seconds)?;
                if let Some(problems) = &finished.problems {
                    map.serialize_entry("problems", problems)?;
                }
            }
            Body::OrchestratorElected => {}
        }
        map.serialize_entry("event_datetime", &format_args!("{:.6}", self.at))?;
        if let Some(run) = self.run {
            map.serialize_entry("run_id", &run)?;
        }
        if let Some(epoch) = self.epoch {
            map.serialize_entry("epoch", &epoch)?;
        }
        map.end()
    }
}

/// Every field that any event has, each still as text: one wrong field costs its event, never the reader.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default)]
    event_type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    event_datetime: Option<&'a RawValue>,
    #[serde(borrow, default)]
    run_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    epoch: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id_objet: Option<&'a RawValue>,
    #[serde(borrow, default)]
    attempt: Option<&'a RawValue>,
    #[serde(borrow, default)]
    meta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    cause: Option<&'a RawValue>,
    #[serde(borrow, default)]
    worker: Option<&'a RawValue>,
    #[serde(borrow, default)]
    instance: Option<&'a RawValue>,
    #[serde(borrow, default)]
    targets: Option<&'a RawValue>,
    #[serde(borrow, default)]
    exclude: Option<&'a RawValue>,
    #[serde(borrow, default)]
    requested_by: Option<&'a RawValue>,
    #[serde(borrow, default)]
    retries: Option<&'a RawValue>,
    #[serde(borrow, default)]
    backoff: Option<&'a RawValue>,
    #[serde(borrow, default)]
    timeout: Option<&'a RawValue>,
    #[serde(borrow, default)]
    on_failure: Option<&'a RawValue>,
    #[serde(borrow, default)]
    limits: Option<&'a RawValue>,
    #[serde(borrow, default)]
    fresh: Option<&'a RawValue>,
    #[serde(borrow, default)]
    from: Option<&'a RawValue>,
    #[serde(borrow, default)]
    scheduled_for: Option<&'a RawValue>,
    #[serde(borrow, default)]
    degraded: Option<&'a RawValue>,
    #[serde(borrow, default)]
    retry_of: Option<&'a RawValue>,
    #[serde(borrow, default)]
    part: Option<&'a RawValue>,
    #[serde(borrow, default)]
    parts: Option<&'a RawValue>,
    #[serde(borrow, default)]
    partitions: Option<&'a RawValue>,
    #[serde(borrow, default)]
    begins: Option<&'a RawValue>,
    #[serde(borrow, default)]
    objects: Option<&'a RawValue>,
    #[serde(borrow, default)]
    outcome: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reason: Option<&'a RawValue>,
    #[serde(borrow, default)]
    counts: Option<&'a RawValue>,
    #[serde(borrow, default)]
    duration_seconds: Option<&'a RawValue>,
    #[serde(borrow, default)]
    problems: Option<&'a RawValue>,
}

fn optional<'a, T: Deserialize<'a>>(
    raw: Option<&'a RawValue>,
    field: &'static str,
) -> Result<Option<T>, Reject> {
    match raw {
        None => Ok(None),
        Some(raw) => serde_json::from_str(raw.get()).map_err(|_| Reject::Field(field)),
    }
}

fn required<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>, field: &'static str) -> Result<T, Reject> {
    optional(raw, field)?.ok_or(Reject::Field(field))
}

fn duration(raw: Option<&RawValue>, field: &'static str) -> Result<Option<Duration>, Reject> {
    Ok(optional::<DurationText>(raw, field)?.map(|text| text.0))
}

fn limits(raw: Option<&RawValue>) -> Result<Vec<Limit>, Reject> {
    let limits: Vec<Limit> = optional(raw, "limits")?.unwrap_or_default();
    if limits.len() > MAX_LIMITS { Err(Reject::Field("limits")) } else { Ok(limits) }
}

fn asked(requested_by: Option<&RawValue>) -> Asked {
    Asked { requested_by: requested_by.and_then(read_text) }
}

fn write_duration<M: SerializeMap>(
    map: &mut M,
    field: &'static str,
    duration: Option<Duration>,
) -> Result<(), M::Error> {
    duration.map_or(Ok(()), |duration| map.serialize_entry(field, &DurationText(duration)))
}

fn write_list<M: SerializeMap, T: Serialize>(
    map: &mut M,
    field: &'static str,
    list: &[T],
) -> Result<(), M::Error> {
    if list.is_empty() { Ok(()) } else { map.serialize_entry(field, list) }
}

fn read_text(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// An id as a number or, from lenient writers, as a string of digits.
fn read_id(raw: Option<&RawValue>) -> Option<ObjectId> {
    let id: u64 = raw?.get().trim_matches('"').parse().ok()?;
    (id <= MAX_OBJECT_ID).then_some(ObjectId(id))
}

/// Selectors as strings, ids as numbers, or a mix.
fn read_selectors(raw: Option<&RawValue>, field: &'static str) -> Result<Vec<String>, Reject> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Selector {
        Text(String),
        Id(u64),
    }
    let selectors: Vec<Selector> = optional(raw, field)?.unwrap_or_default();
    Ok(selectors
        .into_iter()
        .map(|selector| match selector {
            Selector::Text(text) => text,
            Selector::Id(id) => id.to_string(),
        })
        .collect())
}

/// A stranger's `meta` may hold anything: what can be read of it is, field by field.
fn read_answer_meta(raw: Option<&RawValue>) -> AnswerMeta {
    let Some(raw) = raw else { return AnswerMeta::default() };
    serde_json::from_str(raw.get()).unwrap_or_else(|_| {
        let value: serde_json::Value = serde_json::from_str(raw.get()).unwrap_or_default();
        let text = |field: &str| match value.get(field)? {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        AnswerMeta {
            worker: text("worker"),
            error: text("error"),
            stderr: text("stderr"),
            retryable: value.get("retryable").and_then(serde_json::Value::as_bool),
            duration_seconds: value.get("duration_seconds").and_then(serde_json::Value::as_f64),
            ..AnswerMeta::default()
        }
    })
}

/// RFC 3339, or the old system's time without a zone, which is UTC.
fn parse_time(text: &str) -> Option<Timestamp> {
    text.parse::<Timestamp>().ok().or_else(|| {
        let civil: DateTime = text.parse().ok()?;
        jiff::tz::TimeZone::UTC.to_timestamp(civil).ok()
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::domain::event::{Cause, Counts, Entry, Outcome, PlannedObject, Version, time_text};
    use crate::domain::object::{Criticality, Stage};
    use crate::domain::rules::OnFailure;

    const PLACE: Place = Place { partition: 0, offset: 7 };

    fn decode(json: &str) -> Result<Event, Reject> {
        Event::decode(json.as_bytes(), PLACE, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn the_type_is_seen_at_a_glance_or_not_at_all() {
        assert_eq!(peek(br#"{"event_type":"ObjectLoaded","id_objet":1}"#), Some(("ObjectLoaded", None)));
        assert_eq!(
            peek(br#"{"event_type":"ObjectReady","id_objet":1001,"attempt":12,"meta":null}"#),
            Some(("ObjectReady", Some(12)))
        );
        let event =
            Event { at: Timestamp::UNIX_EPOCH, run: None, epoch: Some(1), body: Body::OrchestratorElected };
        assert_eq!(peek(&event.encode()), Some(("OrchestratorElected", None)));
        for other in
            [r#"{ "event_type":"X"}"#, r#"{"event_type":"X"#, r#"{"event_type":"Ob\u006a"}"#, "", "[1]"]
        {
            assert_eq!(peek(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn an_old_workers_answer_is_read() {
        let event = decode(
            r#"{"event_type":"ObjectLoaded","id_objet":1001,"meta":{"worker":"ingest-service"},"event_datetime":"2025-09-22T10:00:00.000000"}"#,
        )
        .unwrap();
        assert_eq!(event.run, None);
        assert_eq!(time_text(event.at), "2025-09-22T10:00:00.000000Z");
        let Body::ObjectLoaded(answer) = event.body else { panic!("{event:?}") };
        assert_eq!((answer.object, answer.attempt), (ObjectId(1001), 1));
        assert_eq!(answer.meta.worker.as_deref(), Some("ingest-service"));
    }

    #[test]
    fn every_event_survives_the_wire() {
        let entry: Entry =
            Some(Arc::from(RawValue::from_string(r#"{"IdObjet":1001,"x":1.50}"#.into()).unwrap()));
        let answer = |error: Option<&str>| Answer {
            object: ObjectId(1001),
            attempt: 2,
            meta: AnswerMeta {
                worker: Some("w".into()),
                error: error.map(Into::into),
                started_at: Some(Timestamp::from_microsecond(1_700_000_000_000_001).unwrap()),
                duration_seconds: Some(0.5),
                adopted_from: Some(PLACE),
                ..AnswerMeta::default()
            },
        };
        let bodies = [
            Body::RunRequested(Request {
                targets: vec!["3005".into()],
                exclude: vec!["stage:ingest".into()],
                requested_by: None,
                rules: RulesAsked {
                    retries: Some(2),
                    backoff: Some(Duration::from_secs(10)),
                    timeout: Some(Duration::from_millis(1_500)),
                    on_failure: Some(OnFailure::Continue),
                    limits: vec!["source=Sage:2".parse().unwrap()],
                },
                fresh: Some(Duration::from_secs(1_800)),
                retry_of: Some(RunId(Uuid::from_u128(7))),
                from: vec![ObjectId(2002)],
                scheduled_for: Some(Timestamp::from_second(1_700_000_000).unwrap()),
            }),
            Body::RunPlanned(PlanPart {
                part: 0,
                parts: 1,
                partitions: 6,
                begins: vec![3, 0, 0, 7, 0, 1],
                rules: Rules {
                    retries: 1,
                    backoff: Duration::from_secs(90),
                    timeout: Some(Duration::from_secs(7_200)),
                    on_failure: OnFailure::Stop,
                    limits: vec!["stage=ingest:3".parse().unwrap()],
                },
                objects: vec![PlannedObject {
                    id: ObjectId(2001),
                    stage: Stage::Standardize,
                    criticality: Criticality::High,
                    parents: vec![ObjectId(1001)],
                    satisfied: vec![ObjectId(1009)],
                    expected_ms: Some(1_234),
                    turn: Some(7),
                    last_good: Some(Version { at: Timestamp::UNIX_EPOCH, run_id: RunId(Uuid::from_u128(9)) }),
                    reused: true,
                    entry: entry.clone(),
                }],
            }),
            Body::ObjectReady(Ready {
                object: ObjectId(1001),
                attempt: 2,
                cause: Some(Cause::WorkerLost),
                degraded: vec![ObjectId(1009)],
                entry: entry.clone(),
            }),
            Body::ObjectAssigned(Assigned {
                object: ObjectId(1001),
                attempt: 2,
                worker: "w".into(),
                instance: Uuid::from_u128(7),
                timeout: Some(Duration::from_secs(60)),
                degraded: vec![ObjectId(1009)],
                entry,
            }),
            Body::ObjectLoaded(answer(None)),
            Body::ObjectFailed(answer(Some("é"))),
            Body::ObjectSkipped(Skipped {
                object: ObjectId(3001),
                attempt: 3,
                because: vec![ObjectId(2001)],
            }),
            Body::ObjectMarked(Marked {
                object: ObjectId(2005),
                attempt: 2,
                state: MarkedAs::Loaded,
                because: Some("chargé à la main".into()),
                requested_by: Some("ann".into()),
            }),
            Body::RunPauseRequested(Asked { requested_by: Some("ann".into()) }),
            Body::RunResumeRequested(Asked::default()),
            Body::RunCancelRequested(Asked { requested_by: Some("me".into()) }),
            Body::RunFinished(Finished {
                outcome: Outcome::Failed,
                reason: Some("r".into()),
                counts: Counts { objects: 3, loaded: 1, failed: 1, skipped: 1, degraded: 1, reused: 1 },
                duration_seconds: 1.5,
                problems: None,
            }),
            Body::OrchestratorElected,
        ];
        for body in bodies {
            let event = Event {
                at: Timestamp::from_microsecond(1_700_000_000_123_456).unwrap(),
                run: Some(RunId(Uuid::from_u128(5))),
                epoch: Some(3),
                body,
            };
            let bytes = event.encode();
            let back = Event::decode(&bytes, PLACE, Timestamp::UNIX_EPOCH).unwrap();
            assert_eq!(String::from_utf8(back.encode()).unwrap(), String::from_utf8(bytes).unwrap());
        }
    }

    #[test]
    fn rubbish_is_named_and_never_fatal() {
        let cases = [
            ("", Reject::NotJson),
            ("[1]", Reject::NotJson),
            ("{}", Reject::NoType),
            (r#"{"event_type":7}"#, Reject::NoType),
            (r#"{"event_type":"Surprise"}"#, Reject::UnknownType),
            (r#"{"event_type":"ObjectLoaded"}"#, Reject::Field("id_objet")),
            (r#"{"event_type":"ObjectLoaded","id_objet":-1}"#, Reject::Field("id_objet")),
            (r#"{"event_type":"ObjectLoaded","id_objet":9007199254740992}"#, Reject::Field("id_objet")),
            (r#"{"event_type":"ObjectLoaded","id_objet":1,"run_id":"x"}"#, Reject::Field("run_id")),
            (r#"{"event_type":"ObjectLoaded","id_objet":1,"attempt":0}"#, Reject::Field("attempt")),
            (r#"{"event_type":"ObjectLoaded","id_objet":1,"attempt":4000000000}"#, Reject::Field("attempt")),
            (r#"{"event_type":"OrchestratorElected"}"#, Reject::Field("epoch")),
            (r#"{"event_type":"RunPlanned","part":0,"parts":1,"partitions":1}"#, Reject::Field("objects")),
        ];
        for (json, reject) in cases {
            assert_eq!(decode(json).unwrap_err(), reject, "{json}");
        }
        // A stranger's meta may be anything at all.
        for meta in ["7", "[]", "null", r#"{"worker":7,"error":["x"],"started_at":"noon"}"#] {
            let event =
                decode(&format!(r#"{{"event_type":"ObjectFailed","id_objet":"1001","meta":{meta}}}"#))
                    .unwrap();
            assert_eq!(event.body.object(), Some((ObjectId(1001), 1)));
        }
    }
}
