//! What somebody asks for: a run, a pause, an end, that an object counts as done.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::event::RunId;
use super::object::ObjectId;
use super::rules::RulesAsked;

/// A run that somebody asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Selectors of what is wanted; empty is every final object with all that it needs.
    pub targets: Vec<String>,
    /// Selectors of what is taken from that.
    pub exclude: Vec<String>,
    /// Who asks, for people.
    pub requested_by: Option<String>,
    /// By which rules it is to go.
    pub rules: RulesAsked,
    /// Objects that were loaded less than this long ago are not loaded again.
    pub fresh: Option<Duration>,
    /// Run again what failed in this run and what was skipped for it, and nothing else.
    pub retry_of: Option<RunId>,
    /// Of that run, run these objects and all that follows them instead.
    pub from: Vec<ObjectId>,
    /// When it was due, where a schedule asks.
    pub scheduled_for: Option<Timestamp>,
}

/// So much of a selection is shown in a line, in characters.
const SHOWN_SELECTION: usize = 200;

impl Request {
    /// What is selected as the command line has it, the beginning of it where it is long; none where nothing is.
    pub fn selection(&self) -> Option<String> {
        let selectors = self.targets.iter().map(|target| target.trim().to_owned());
        let exclusions = self.exclude.iter().map(|selector| match selector.trim() {
            several if several.contains(char::is_whitespace) => format!("--exclude '{several}'"),
            one => format!("--exclude {one}"),
        });
        let from = self.from.iter().map(|object| format!("--from {object}"));
        let mut shown = String::new();
        for selector in selectors.chain(exclusions).chain(from) {
            if !shown.is_empty() {
                shown.push(' ');
            }
            shown.push_str(&selector);
            if let Some((end, _)) = shown.char_indices().nth(SHOWN_SELECTION) {
                shown.truncate(end);
                shown.push('…');
                break;
            }
        }
        (!shown.is_empty()).then_some(shown)
    }
}

/// Who wants a run to stop, to pause or to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Their name, for people.
    pub requested_by: Option<String>,
}

/// What somebody says that an object is, whatever its attempts say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MarkedAs {
    /// It is loaded: what needs it may run.
    Loaded,
    /// It failed for good: no further try.
    Failed,
}

impl MarkedAs {
    /// The name used in events, commands and the API.
    pub fn name(self) -> &'static str {
        match self {
            MarkedAs::Loaded => "loaded",
            MarkedAs::Failed => "failed",
        }
    }
}

/// That somebody marks an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// The object.
    pub object: ObjectId,
    /// The attempt that it was at, as far as they knew.
    pub attempt: u32,
    /// As what.
    pub state: MarkedAs,
    /// Why, for people.
    pub because: Option<String>,
    /// Who, for people.
    pub requested_by: Option<String>,
}
