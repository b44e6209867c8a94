//! What an object is: its id, the stage that serves it, how urgent it is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::openapi::{Object, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// The largest id that JSON readers of every language keep exact: 2^53 − 1.
pub const MAX_OBJECT_ID: u64 = (1 << 53) - 1;

/// The identity of an object in the catalogue, 0 to [`MAX_OBJECT_ID`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ObjectId(pub u64);

impl PartialSchema for ObjectId {
    fn schema() -> RefOr<Schema> {
        Object::builder()
            .schema_type(Type::Integer)
            .minimum(Some(0))
            .maximum(Some(MAX_OBJECT_ID))
            .description(Some("The id of an object, as in the catalogue."))
            .into()
    }
}

impl ToSchema for ObjectId {}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A step of the load, in the order in which data passes through them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Sources are copied into the lake as they are.
    Ingest,
    /// Copies are brought to the lake's own form.
    Standardize,
    /// Final objects are built.
    Application,
}

impl Stage {
    /// Every stage, in the order of the load.
    pub const ALL: [Stage; 3] = [Stage::Ingest, Stage::Standardize, Stage::Application];

    /// The stage that the range of an id says: 1000–1999, 2000–2999, 3000 and above. None below 1000.
    pub fn of_id(id: ObjectId) -> Option<Stage> {
        match id.0 {
            0..1000 => None,
            1000..2000 => Some(Stage::Ingest),
            2000..3000 => Some(Stage::Standardize),
            _ => Some(Stage::Application),
        }
    }

    /// The stage that a catalogue's `Zone` names, if it is a known one.
    pub fn of_zone(zone: &str) -> Option<Stage> {
        match zone.trim() {
            "1-Raw" => Some(Stage::Ingest),
            "2-Standardized" => Some(Stage::Standardize),
            "3-Application" => Some(Stage::Application),
            _ => None,
        }
    }

    /// The name used in flags, events, metrics and the API.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Ingest => "ingest",
            Stage::Standardize => "standardize",
            Stage::Application => "application",
        }
    }

    /// Its place in [`Stage::ALL`], for tables with one cell a stage.
    pub fn index(self) -> usize {
        self as usize
    }

    /// How long an object of this stage usually takes, in milliseconds: the estimate where nothing was measured.
    pub fn usual_ms(self) -> u64 {
        match self {
            Stage::Ingest => 500,
            Stage::Standardize => 600,
            Stage::Application => 800,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Stage {
    type Err = String;

    fn from_str(text: &str) -> Result<Stage, String> {
        Stage::ALL
            .into_iter()
            .find(|stage| stage.name() == text)
            .ok_or_else(|| format!("unknown stage {text:?}: it is ingest, standardize or application"))
    }
}

/// How urgent an object is among those that are ready.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Criticality {
    /// It can wait.
    Low,
    /// Where the catalogue says nothing.
    #[default]
    Medium,
    /// It goes first.
    High,
}

impl Criticality {
    /// The name used in events, limits and the API.
    pub fn name(self) -> &'static str {
        match self {
            Criticality::Low => "low",
            Criticality::Medium => "medium",
            Criticality::High => "high",
        }
    }

    /// Reads the catalogue's `Criticité`, English or French, in any case.
    pub fn of_text(text: &str) -> Option<Criticality> {
        match text.trim().to_lowercase().as_str() {
            "low" | "basse" => Some(Criticality::Low),
            "medium" | "moyenne" => Some(Criticality::Medium),
            "high" | "haute" => Some(Criticality::High),
            _ => None,
        }
    }
}
