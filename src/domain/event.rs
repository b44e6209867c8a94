//! The wire: what an event says, how it is written, and how leniently it is read.
//!
//! Knows nothing of what an event means for a run: that is [`super::run`].

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::object::{Criticality, MAX_OBJECT_ID, ObjectId, Stage};

/// The number of an orchestrator's reign: a decision of a lower one is void after a higher one's election.
pub type Epoch = u64;

/// Epochs above this are a stranger's nonsense: the next one must always exist.
pub const MAX_EPOCH: Epoch = MAX_OBJECT_ID;

/// Attempts above this are a stranger's nonsense: korch gives up long before.
pub const MAX_ATTEMPT: u32 = 1_000_000;

/// The identity of a run: a UUID v7, or v5 of its request's place where the request named none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub Uuid);

impl RunId {
    /// The id of a request that names none, the same for every reader.
    pub fn of_place(partition: u32, offset: u64) -> RunId {
        RunId(Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("korch/run/{partition}/{offset}").as_bytes()))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An entry of the catalogue as JSON on one line, carried through untouched; none for an object known by its id alone.
pub type Entry = Option<Arc<RawValue>>;

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    /// When it was written, by the writer's clock. For people: no decision depends on it.
    pub at: Timestamp,
    /// The run that it belongs to. A stranger's event has none.
    pub run: Option<RunId>,
    /// The reign of the orchestrator that decided it, on an orchestrator's events.
    pub epoch: Option<Epoch>,
    /// What it says.
    pub body: Body,
}

/// What an event says. The names are the wire's `event_type`.
#[derive(Clone, Debug)]
pub enum Body {
    /// Please run.
    RunRequested(Request),
    /// A part of the graph that a run follows.
    RunPlanned(PlanPart),
    /// Every parent is loaded.
    ObjectReady(Ready),
    /// This worker shall run this attempt.
    ObjectAssigned(Assigned),
    /// An attempt is done.
    ObjectLoaded(Answer),
    /// An attempt failed.
    ObjectFailed(Answer),
    /// An object will not run in this run.
    ObjectSkipped(Skipped),
    /// Stop this run.
    RunCancelRequested(CancelRequest),
    /// A run is over.
    RunFinished(Finished),
    /// A new leader's epoch, once in every partition.
    OrchestratorElected,
}

/// What somebody asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The final objects wanted; empty is all of them.
    pub targets: Vec<String>,
    /// Who asks, for people.
    pub requested_by: Option<String>,
    /// How often a failed object that is worth it is tried again; none: as the orchestrator is set.
    pub retries: Option<u32>,
}

/// A part of a plan.
#[derive(Clone, Debug)]
pub struct PlanPart {
    /// Its number, from 0.
    pub part: u32,
    /// How many there are.
    pub parts: u32,
    /// How many partitions the log had when the run was planned.
    pub partitions: u32,
    /// How often a failed object that is worth it is tried again in this run.
    pub retries: u32,
    /// The objects of this part.
    pub objects: Vec<PlannedObject>,
}

/// An object of a plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlannedObject {
    /// Its id.
    pub id: ObjectId,
    /// The stage that serves it.
    pub stage: Stage,
    /// How urgent it is.
    #[serde(default)]
    pub criticality: Criticality,
    /// The parents that this run loads before it.
    #[serde(default)]
    pub parents: Vec<ObjectId>,
    /// The parents that count as loaded: inactive ones, and those kept elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub satisfied: Vec<ObjectId>,
    /// Its entry in the catalogue.
    pub entry: Entry,
}

/// An offer of an attempt.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The object.
    pub object: ObjectId,
    /// The attempt, from 1.
    pub attempt: u32,
    /// Why the attempt before this one was not the last.
    pub cause: Option<Cause>,
    /// Its entry, on the wire `meta`.
    pub entry: Entry,
}

/// Why an object is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// It failed, and its failure was worth another try.
    Failed,
    /// Its worker died or fell silent while it held the object.
    WorkerLost,
    /// Its worker read past the assignment and does not hold it.
    NotHeld,
    /// Its worker and the orchestrator went together, so nobody can say that the object took its worker with it.
    Restarted,
    /// Nobody answered the offer in time.
    OfferExpired,
}

/// An assignment of an attempt.
#[derive(Clone, Debug)]
pub struct Assigned {
    /// The object.
    pub object: ObjectId,
    /// The attempt.
    pub attempt: u32,
    /// The worker's name.
    pub worker: String,
    /// The start of that worker that is meant.
    pub instance: Uuid,
    /// The object's entry.
    pub entry: Entry,
}

/// A worker's answer: what both [`Body::ObjectLoaded`] and [`Body::ObjectFailed`] say.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The object.
    pub object: ObjectId,
    /// The attempt; 1 where a stranger names none.
    pub attempt: u32,
    /// How it went.
    pub meta: AnswerMeta,
}

/// The `meta` of an answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AnswerMeta {
    /// The worker's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether another try may help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retryable: Option<bool>,
    /// The end of what the work wrote to stderr.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
    /// When the work began, by the worker's clock.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "write_time")]
    pub started_at: Option<Timestamp>,
    /// How long the work took, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<f64>,
    /// What the handler returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Arc<RawValue>>,
    /// Where the stranger's answer stands that the orchestrator adopted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopted_from: Option<Place>,
    /// Set on answers to another orchestrator: they are never adopted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
}

/// Where a record stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The partition.
    pub partition: u32,
    /// The offset in it.
    pub offset: u64,
}

/// That an object will not run.
#[derive(Clone, Debug)]
pub struct Skipped {
    /// The object.
    pub object: ObjectId,
    /// The failed ancestors, some of them where there are very many.
    pub because: Vec<ObjectId>,
}

/// That somebody wants a run to stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CancelRequest {
    /// Who, for people.
    pub requested_by: Option<String>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Everything is loaded.
    Succeeded,
    /// Something failed, or the run could not be planned.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

impl Outcome {
    /// The name used on the wire, in metrics and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed => "failed",
            Outcome::Cancelled => "cancelled",
        }
    }
}

/// How many objects of a run ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Objects in the plan.
    pub objects: u64,
    /// Loaded.
    pub loaded: u64,
    /// Failed for good.
    pub failed: u64,
    /// Skipped because an ancestor failed.
    pub skipped: u64,
}

/// That a run is over.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How it ended.
    pub outcome: Outcome,
    /// Why, where the outcome alone does not say: `log-truncated`, `bad-catalogue`, who cancelled.
    pub reason: Option<String>,
    /// How many objects ended how.
    pub counts: Counts,
    /// From the request to this event, in seconds.
    pub duration_seconds: f64,
    /// Everything that is wrong with the catalogue, where the run could not be planned.
    pub problems: Option<Arc<RawValue>>,
}

impl Body {
    /// The wire's `event_type`.
    pub fn event_type(&self) -> &'static str {
        match self {
            Body::RunRequested(_) => "RunRequested",
            Body::RunPlanned(_) => "RunPlanned",
            Body::ObjectReady(_) => "ObjectReady",
            Body::ObjectAssigned(_) => "ObjectAssigned",
            Body::ObjectLoaded(_) => "ObjectLoaded",
            Body::ObjectFailed(_) => "ObjectFailed",
            Body::ObjectSkipped(_) => "ObjectSkipped",
            Body::RunCancelRequested(_) => "RunCancelRequested",
            Body::RunFinished(_) => "RunFinished",
            Body::OrchestratorElected => "OrchestratorElected",
        }
    }

    /// The object and the attempt, where the event is about one.
    pub fn object(&self) -> Option<(ObjectId, u32)> {
        match self {
            Body::ObjectReady(ready) => Some((ready.object, ready.attempt)),
            Body::ObjectAssigned(assigned) => Some((assigned.object, assigned.attempt)),
            Body::ObjectLoaded(answer) | Body::ObjectFailed(answer) => Some((answer.object, answer.attempt)),
            Body::ObjectSkipped(skipped) => Some((skipped.object, 1)),
            _ => None,
        }
    }
}

impl Event {
    /// The record's key, which chooses its partition: the object's id, else the run's. An election has none of its own.
    pub fn key(&self) -> String {
        match (self.body.object(), self.run) {
            (Some((object, _)), _) => object.to_string(),
            (None, Some(run)) => run.to_string(),
            (None, None) => String::new(),
        }
    }

    /// The record's value: JSON on one line.
    pub fn encode(&self) -> Vec<u8> {
        let mut json = Vec::with_capacity(256);
        // Writing to a Vec cannot fail, and every map key is a string.
        serde_json::to_writer(&mut json, self).expect("an event is always JSON");
        json
    }

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
                    targets: read_targets(wire.targets)?,
                    requested_by: wire.requested_by.and_then(read_text),
                    retries: optional(wire.retries, "retries")?,
                })
            }
            "RunPlanned" => Body::RunPlanned(PlanPart {
                part: required(wire.part, "part")?,
                parts: required(wire.parts, "parts")?,
                partitions: required(wire.partitions, "partitions")?,
                retries: optional(wire.retries, "retries")?.unwrap_or(0),
                objects: required(wire.objects, "objects")?,
            }),
            "ObjectReady" => Body::ObjectReady(Ready {
                object: object()?,
                attempt: attempt()?,
                cause: optional(wire.cause, "cause")?,
                entry: optional(wire.meta, "meta")?,
            }),
            "ObjectAssigned" => Body::ObjectAssigned(Assigned {
                object: object()?,
                attempt: attempt()?,
                worker: required(wire.worker, "worker")?,
                instance: required(wire.instance, "instance")?,
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
                Body::ObjectSkipped(Skipped { object: object()?, because: meta.because })
            }
            "RunCancelRequested" => Body::RunCancelRequested(CancelRequest {
                requested_by: wire.requested_by.and_then(read_text),
            }),
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

/// Why a record is not an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reject {
    /// Not a JSON object.
    #[error("not a JSON object")]
    NotJson,
    /// No `event_type`.
    #[error("no event_type")]
    NoType,
    /// An `event_type` that korch does not know.
    #[error("an unknown event_type")]
    UnknownType,
    /// A field that the event needs is absent or of another type.
    #[error("{0} is absent or of the wrong type")]
    Field(&'static str),
    /// An object that the run's plan has not.
    #[error("an object that no plan has")]
    UnknownObject,
}

impl Reject {
    /// The metric's label.
    pub fn reason(self) -> &'static str {
        match self {
            Reject::NotJson => "not_json",
            Reject::NoType => "no_type",
            Reject::UnknownType => "unknown_type",
            Reject::Field(_) => "bad_field",
            Reject::UnknownObject => "unknown_object",
        }
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
    requested_by: Option<&'a RawValue>,
    #[serde(borrow, default)]
    retries: Option<&'a RawValue>,
    #[serde(borrow, default)]
    part: Option<&'a RawValue>,
    #[serde(borrow, default)]
    parts: Option<&'a RawValue>,
    #[serde(borrow, default)]
    partitions: Option<&'a RawValue>,
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

fn read_text(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// An id as a number or, from lenient writers, as a string of digits.
fn read_id(raw: Option<&RawValue>) -> Option<ObjectId> {
    let id: u64 = raw?.get().trim_matches('"').parse().ok()?;
    (id <= MAX_OBJECT_ID).then_some(ObjectId(id))
}

/// Targets as strings, numbers, or a mix.
fn read_targets(raw: Option<&RawValue>) -> Result<Vec<String>, Reject> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Target {
        Text(String),
        Id(u64),
    }
    let targets: Vec<Target> = optional(raw, "targets")?.unwrap_or_default();
    Ok(targets
        .into_iter()
        .map(|target| match target {
            Target::Text(text) => text,
            Target::Id(id) => id.to_string(),
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

/// An instant as the wire writes it: RFC 3339, UTC, microseconds.
pub fn time_text(at: Timestamp) -> String {
    format!("{at:.6}")
}

fn write_time<S: Serializer>(at: &Option<Timestamp>, out: S) -> Result<S::Ok, S::Error> {
    at.map(time_text).serialize(out)
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
                map.serialize_entry("requested_by", &request.requested_by)?;
                if let Some(retries) = request.retries {
                    map.serialize_entry("retries", &retries)?;
                }
            }
            Body::RunPlanned(plan) => {
                map.serialize_entry("part", &plan.part)?;
                map.serialize_entry("parts", &plan.parts)?;
                map.serialize_entry("partitions", &plan.partitions)?;
                map.serialize_entry("retries", &plan.retries)?;
                map.serialize_entry("objects", &plan.objects)?;
            }
            Body::ObjectReady(ready) => {
                if let Some(cause) = ready.cause {
                    map.serialize_entry("cause", &cause)?;
                }
                map.serialize_entry("meta", &ready.entry)?;
            }
            Body::ObjectAssigned(assigned) => {
                map.serialize_entry("worker", &assigned.worker)?;
                map.serialize_entry("instance", &assigned.instance)?;
                map.serialize_entry("meta", &assigned.entry)?;
            }
            Body::ObjectLoaded(answer) | Body::ObjectFailed(answer) => {
                map.serialize_entry("meta", &answer.meta)?;
            }
            Body::ObjectSkipped(skipped) => {
                map.serialize_entry("meta", &serde_json::json!({ "because": skipped.because }))?;
            }
            Body::RunCancelRequested(cancel) => map.serialize_entry("requested_by", &cancel.requested_by)?,
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

/// JSON without the white space between its tokens, so that an entry of a pretty-printed file fits on one line.
/// Strings, numbers and the order of keys stay to the letter.
pub fn compact_json(json: &str) -> String {
    let mut compact = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in json.chars() {
        if in_string {
            compact.push(c);
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if !c.is_ascii_whitespace() {
            compact.push(c);
            in_string = c == '"';
        }
    }
    compact
}

/// The partition of a key, as Java's Kafka client chooses it: murmur2, made positive, modulo the partitions.
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

/// Murmur2 with the seed of `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c_u32 ^ u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (i, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * i);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PLACE: Place = Place { partition: 0, offset: 7 };

    fn decode(json: &str) -> Result<Event, Reject> {
        Event::decode(json.as_bytes(), PLACE, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn murmur2_agrees_with_javas_client() {
        let known: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (text, hash) in known {
            assert_eq!(murmur2(text.as_bytes()).cast_signed(), hash, "{text}");
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
                requested_by: None,
                retries: Some(2),
            }),
            Body::RunPlanned(PlanPart {
                part: 0,
                parts: 1,
                partitions: 6,
                retries: 1,
                objects: vec![PlannedObject {
                    id: ObjectId(2001),
                    stage: Stage::Standardize,
                    criticality: Criticality::High,
                    parents: vec![ObjectId(1001)],
                    satisfied: vec![ObjectId(1009)],
                    entry: entry.clone(),
                }],
            }),
            Body::ObjectReady(Ready {
                object: ObjectId(1001),
                attempt: 2,
                cause: Some(Cause::WorkerLost),
                entry: entry.clone(),
            }),
            Body::ObjectAssigned(Assigned {
                object: ObjectId(1001),
                attempt: 2,
                worker: "w".into(),
                instance: Uuid::from_u128(7),
                entry,
            }),
            Body::ObjectLoaded(answer(None)),
            Body::ObjectFailed(answer(Some("é"))),
            Body::ObjectSkipped(Skipped { object: ObjectId(3001), because: vec![ObjectId(2001)] }),
            Body::RunCancelRequested(CancelRequest { requested_by: Some("me".into()) }),
            Body::RunFinished(Finished {
                outcome: Outcome::Failed,
                reason: Some("r".into()),
                counts: Counts { objects: 3, loaded: 1, failed: 1, skipped: 1 },
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

    #[test]
    fn compacting_changes_white_space_between_tokens_only() {
        let json = "{\n  \"a b\" : \"x \\\" y\\\\\" ,\r\n\t\"n\": 1.500 }";
        assert_eq!(compact_json(json), r#"{"a b":"x \" y\\","n":1.500}"#);
    }
}
