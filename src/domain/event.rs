//! What an event says. How it is written and read: [`super::wire`]. What it means for a run: [`super::run`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::object::{Criticality, MAX_OBJECT_ID, ObjectId, Stage};
pub use super::request::{Asked, Marked, MarkedAs, Request};
use super::rules::Rules;

/// The number of an orchestrator's reign: a decision of a lower one is void after a higher one's election.
pub type Epoch = u64;

/// Epochs above this are a stranger's nonsense: the next one must always exist.
pub const MAX_EPOCH: Epoch = MAX_OBJECT_ID;

/// Attempts above this are a stranger's nonsense: korch gives up long before.
pub const MAX_ATTEMPT: u32 = 1_000_000;

/// The identity of a run: a UUID v7, or v5 of its request's place where the request named none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
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
    /// Somebody says that an object is loaded, or that it failed for good.
    ObjectMarked(Marked),
    /// Stop this run.
    RunCancelRequested(Asked),
    /// Start nothing more of this run.
    RunPauseRequested(Asked),
    /// Go on with it.
    RunResumeRequested(Asked),
    /// A run is over.
    RunFinished(Finished),
    /// A new leader's epoch, once in every partition.
    OrchestratorElected,
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
    /// Where each partition ended when the run was planned: no decision about its objects stands before. Empty: unknown.
    pub begins: Vec<u64>,
    /// By which rules the run goes.
    pub rules: Rules,
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
    #[serde(default)]
    pub satisfied: Vec<ObjectId>,
    /// How long it took in an earlier run, in milliseconds: how urgent it is follows from that too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_ms: Option<u64>,
    /// When its turn comes among all objects of the run that are equally critical, 0 for the first. Where any object has none,
    /// the longest path ahead comes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<u32>,
    /// The last time that an earlier run loaded it: what is there if it fails now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good: Option<Version>,
    /// It counts as loaded from the start: its last version is fresh enough.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reused: bool,
    /// Its entry in the catalogue.
    pub entry: Entry,
}

impl PlannedObject {
    /// An object that needs nothing and of which nothing more is known.
    pub fn new(id: ObjectId, stage: Stage, criticality: Criticality) -> PlannedObject {
        PlannedObject {
            id,
            stage,
            criticality,
            parents: Vec::new(),
            satisfied: Vec::new(),
            expected_ms: None,
            turn: None,
            last_good: None,
            reused: false,
            entry: None,
        }
    }
}

/// A time that an object was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// When, by the clock of whoever said so.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// In which run.
    pub run_id: RunId,
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
    /// Objects before it whose last good version serves in place of this run's, some of them where there are very many.
    pub degraded: Vec<ObjectId>,
    /// Its entry, on the wire `meta`.
    pub entry: Entry,
}

/// Why an object is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
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
    /// It had been skipped, and what it was skipped for is loaded after all.
    Mended,
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
    /// How long the attempt may take; none: as the worker is set.
    pub timeout: Option<Duration>,
    /// As in the offer.
    pub degraded: Vec<ObjectId>,
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
    /// The attempt that will not be. An offer of a later one undoes the skip.
    pub attempt: u32,
    /// The failed ancestors, some of them where there are very many.
    pub because: Vec<ObjectId>,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Counts {
    /// Objects in the plan.
    #[schema(required = true)]
    pub objects: u64,
    /// Loaded.
    #[schema(required = true)]
    pub loaded: u64,
    /// Failed for good.
    #[schema(required = true)]
    pub failed: u64,
    /// Skipped because an ancestor failed.
    #[schema(required = true)]
    pub skipped: u64,
    /// Of the loaded ones: loaded with an older version of something before them.
    #[schema(required = true)]
    pub degraded: u64,
    /// Of the loaded ones: not run, because an earlier run had loaded them not long before.
    #[schema(required = true)]
    pub reused: u64,
}

/// That a run is over.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How it ended.
    pub outcome: Outcome,
    /// Why, where the outcome alone does not say: `log-truncated`, `bad-catalogue`, `nothing-to-retry`, who cancelled.
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
            Body::ObjectMarked(_) => "ObjectMarked",
            Body::RunCancelRequested(_) => "RunCancelRequested",
            Body::RunPauseRequested(_) => "RunPauseRequested",
            Body::RunResumeRequested(_) => "RunResumeRequested",
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
            Body::ObjectSkipped(skipped) => Some((skipped.object, skipped.attempt)),
            Body::ObjectMarked(marked) => Some((marked.object, marked.attempt)),
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

/// An instant as the wire writes it: RFC 3339, UTC, microseconds.
pub fn time_text(at: Timestamp) -> String {
    format!("{at:.6}")
}

fn write_time<S: Serializer>(at: &Option<Timestamp>, out: S) -> Result<S::Ok, S::Error> {
    at.map(time_text).serialize(out)
}

/// The name that an object's entry gives it. Read leniently: a name that is a number is a name too.
pub fn name_of(entry: &Entry) -> Option<Box<str>> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(rename = "NomObjet", borrow)]
        name: Option<&'a RawValue>,
    }
    let named: Named<'_> = serde_json::from_str(entry.as_ref()?.get()).ok()?;
    let raw = named.name?.get();
    match serde_json::from_str::<serde_json::Value>(raw).ok()? {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text.into()),
        _ => Some(raw.into()),
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn entry(json: &str) -> Entry {
        Some(Arc::from(RawValue::from_string(json.into()).unwrap()))
    }

    #[test]
    fn names_are_read_leniently() {
        assert_eq!(name_of(&entry(r#"{"x":[1],"NomObjet":"Ca\u0066é"}"#)).as_deref(), Some("Café"));
        assert_eq!(name_of(&entry(r#"{"NomObjet":7}"#)).as_deref(), Some("7"));
        assert_eq!(name_of(&entry(r#"{"NomObjet":null}"#)), None);
        assert_eq!(name_of(&entry("{}")), None);
        assert_eq!(name_of(&entry("[]")), None);
        assert_eq!(name_of(&None), None);
    }

    #[test]
    fn a_selection_is_shown_as_it_would_be_typed() {
        let shown = |targets: &[&str], exclude: &[&str]| {
            let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
            Request { targets: owned(targets), exclude: owned(exclude), ..Request::default() }.selection()
        };
        assert_eq!(shown(&[], &[]), None);
        assert_eq!(shown(&["+3005", "2002+"], &[]).as_deref(), Some("+3005 2002+"));
        assert_eq!(
            shown(&["+3005"], &["2005", "stage:ingest 7"]).as_deref(),
            Some("+3005 --exclude 2005 --exclude 'stage:ingest 7'")
        );
        assert_eq!(shown(&[], &["2005"]).as_deref(), Some("--exclude 2005"));
        let long = shown(&["é"; 500], &[]).unwrap();
        assert_eq!((long.chars().count(), long.ends_with("é…")), (201, false));
    }

    #[test]
    fn compacting_changes_white_space_between_tokens_only() {
        let json = "{\n  \"a b\" : \"x \\\" y\\\\\" ,\r\n\t\"n\": 1.500 }";
        assert_eq!(compact_json(json), r#"{"a b":"x \" y\\","n":1.500}"#);
    }
}
