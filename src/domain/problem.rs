//! What is wrong with a catalogue, and what is odd about it: how both are told.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::object::ObjectId;

/// How many problems a report shows as text.
const SHOWN_PROBLEMS: usize = 50;
/// How many objects a warning names.
const SHOWN_OBJECTS: usize = 10;

/// Something that must be mended before the catalogue can be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = CatalogueProblem)]
pub struct Problem {
    /// The entry's place in the array, from 1.
    pub position: Option<usize>,
    /// The entry's id, as the file has it.
    pub id: Option<String>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// The column, in characters, from 1.
    pub column: Option<u32>,
    /// What is wrong.
    #[schema(required = true)]
    pub message: String,
    /// What to do about it.
    #[schema(required = true)]
    pub hint: String,
    #[serde(skip)]
    /// Where in the file, in bytes: what line and column are made from.
    pub(super) offset: Option<usize>,
}

impl Problem {
    /// A problem of the whole file, or of no place in it.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Problem {
        Problem { message: message.into(), hint: hint.into(), ..Problem::default() }
    }

    /// Says which object it is about.
    #[must_use]
    pub fn of_id(mut self, id: ObjectId) -> Problem {
        self.id = Some(id.to_string());
        self
    }

    pub(super) fn at(mut self, offset: usize) -> Problem {
        self.offset = Some(offset);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut place = Vec::new();
        place.extend(self.position.map(|position| format!("entry {position}")));
        place.extend(self.id.as_ref().map(|id| format!("id {id}")));
        place.extend(self.line.map(|line| format!("line {line}, column {}", self.column.unwrap_or(1))));
        if !place.is_empty() {
            write!(f, "{}: ", place.join(", "))?;
        }
        f.write_str(&self.message)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, " (hint: {})", self.hint) }
    }
}

/// Every problem of a catalogue, in one report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problems {
    /// The file they are of.
    pub file: String,
    /// How many there are.
    pub count: usize,
    /// The problems, in the order of the file, the first ten thousand of them.
    pub problems: Vec<Problem>,
}

impl Problems {
    /// A report, in the order given.
    pub fn new(file: impl Into<String>, problems: Vec<Problem>) -> Problems {
        Problems { file: file.into(), count: problems.len(), problems }
    }

    /// A report of one problem.
    pub fn one(file: impl Into<String>, message: impl Into<String>, hint: impl Into<String>) -> Problems {
        Problems::new(file, vec![Problem::new(message, hint)])
    }
}

impl Problems {
    /// A report of these too, behind the others.
    #[must_use]
    pub fn and(mut self, more: Vec<Problem>) -> Problems {
        self.count += more.len();
        self.problems.extend(more);
        self
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.problems.iter().take(SHOWN_PROBLEMS) {
            writeln!(f, "{}: {problem}", self.file)?;
        }
        let more = self.count.saturating_sub(SHOWN_PROBLEMS.min(self.problems.len()));
        if more > 0 {
            writeln!(f, "{}: … and {more} more", self.file)?;
        }
        write!(f, "{}: {}", self.file, counted(self.count, "problem", "problems"))
    }
}

impl std::error::Error for Problems {}

/// Something odd that is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// What kind of oddity.
    pub kind: WarningKind,
    /// How many objects it is about.
    pub count: usize,
    /// Their ids, the first ten.
    pub ids: Vec<ObjectId>,
    /// In words.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The kinds of [`Warning`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningKind {
    /// The zone says one stage, the range of the id another.
    ZoneDisagrees,
    /// A zone that korch does not know; the id decided.
    UnknownZone,
    /// A criticality that korch does not know; medium was taken.
    UnknownCriticality,
    /// A source that has parents.
    SourceWithParents,
    /// A parent of a later stage than its child.
    LaterParent,
    /// Objects that are never run.
    Inactive,
    /// Parents that no entry describes.
    MissingParent,
    /// Objects that no final object needs.
    NotNeeded,
    /// Parents that are not selected: they count as loaded.
    NotSelected,
    /// A `Fréquence` that is no cron expression: a schedule does not start the object.
    BadFrequency,
}

/// A warning in the making: counts objects and shows the first few.
#[derive(Default)]
pub(super) struct Tally {
    count: usize,
    ids: Vec<ObjectId>,
    shown: Vec<String>,
}

impl Tally {
    pub(super) fn add(&mut self, id: ObjectId, shown: impl FnOnce() -> String) {
        self.count += 1;
        if self.ids.len() < SHOWN_OBJECTS {
            self.ids.push(id);
            self.shown.push(shown());
        }
    }

    pub(super) fn append(&mut self, other: Tally) {
        self.count += other.count;
        self.ids.extend(other.ids);
        self.shown.extend(other.shown);
        self.ids.truncate(SHOWN_OBJECTS);
        self.shown.truncate(SHOWN_OBJECTS);
    }

    /// `what` is said of one object or of `whats`, then the objects follow.
    pub(super) fn warning(self, kind: WarningKind, what: &str, whats: &str) -> Option<Warning> {
        let mut message = format!("{}: {}", counted(self.count, what, whats), self.shown.join(", "));
        if self.count > self.shown.len() {
            message += &format!(" and {} more", self.count - self.shown.len());
        }
        (self.count > 0).then_some(Warning { kind, count: self.count, ids: self.ids, message })
    }
}

/// `1 thing`, `2 things`
pub(super) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
