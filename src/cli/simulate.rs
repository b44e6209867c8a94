//! The flags of `simulate`.

use std::path::PathBuf;

use clap::Args;

use super::{CatalogueArgs, Ids, Output, ids};
use crate::domain::limit::Limit;
use crate::domain::object::Stage;
use crate::domain::rules::OnFailure;

/// Flags of `simulate`.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// What to run, as for `plan`: none is every final object with all that it needs.
    #[arg(value_name = "SELECTOR")]
    pub targets: Vec<String>,
    /// What not to run of that, as a selector. May be repeated. Parents that are not selected count as loaded.
    #[arg(long, value_name = "SELECTOR")]
    pub exclude: Vec<String>,
    /// The catalogue.
    #[command(flatten)]
    pub catalogue: CatalogueArgs,
    /// How many objects of a stage run at once: 8 for all of them, or ingest=8,application=2 by stage. May be repeated.
    #[arg(long, env = "KORCH_SLOTS", value_name = "[STAGE=]N", value_delimiter = ',', default_value = "8")]
    pub slots: Vec<SlotsOf>,
    /// How long objects take: a file of JSON {"1001": 12.5, "1002": "40s"}, a run as `korch status --output json` tells it, or
    /// lines of id,seconds. What it does not name takes as long as those of its stage that it names, or as is usual.
    #[arg(long, value_name = "FILE")]
    pub durations: Option<PathBuf>,
    /// The objects that fail for good, separated by commas.
    #[arg(long, value_name = "IDS", default_value = "", value_parser = ids, hide_default_value = true)]
    pub fail: Ids,
    /// What a failure means for the rest: skip what needs it, stop the run, or continue with the last good version, which each
    /// object is taken to have.
    #[arg(long, value_name = "skip|stop|continue", default_value = "skip")]
    pub on_failure: OnFailure,
    /// At most so many objects with this value of a field at once, as source=Sage:2. May be repeated.
    #[arg(long, value_name = "KEY=VALUE:N")]
    pub limit: Vec<Limit>,
    /// How the answer is written.
    #[arg(long, short, env = "KORCH_OUTPUT", value_enum, default_value_t = Output::Human)]
    pub output: Output,
}

/// Slots for one stage, or for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotsOf {
    /// The stage; none: each that is not named by itself.
    pub stage: Option<Stage>,
    /// How many.
    pub slots: u32,
}

impl std::str::FromStr for SlotsOf {
    type Err = String;

    fn from_str(text: &str) -> Result<SlotsOf, String> {
        let (stage, slots) = match text.split_once('=') {
            Some((stage, slots)) => (Some(stage.trim().parse()?), slots),
            None => (None, text),
        };
        let slots = slots.trim().parse().ok().filter(|slots| (1..=100_000).contains(slots));
        let slots = slots.ok_or_else(|| {
            format!("{text:?} is no number of slots from 1 to 100000: write 8, or ingest=8,application=2")
        })?;
        Ok(SlotsOf { stage, slots })
    }
}

impl SimulateArgs {
    /// The slots of each stage.
    pub fn slots_of_stages(&self) -> [u32; Stage::ALL.len()] {
        slots_of_stages(&self.slots)
    }
}

fn slots_of_stages(wanted: &[SlotsOf]) -> [u32; Stage::ALL.len()] {
    let last = |stage: Option<Stage>| {
        wanted.iter().rev().find(|slots| slots.stage == stage).map(|slots| slots.slots)
    };
    Stage::ALL.map(|stage| last(Some(stage)).or(last(None)).unwrap_or(8))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_for_all_or_by_stage() {
        let read = |text: &str| -> Result<Vec<SlotsOf>, String> { text.split(',').map(str::parse).collect() };
        let table = [
            ("3", [3, 3, 3]),
            ("ingest=2", [2, 8, 8]),
            ("ingest=2,4", [2, 4, 4]),
            ("1,application=7,ingest=2", [2, 1, 7]),
            ("ingest=2, ingest = 5", [5, 8, 8]),
        ];
        for (text, slots) in table {
            assert_eq!(slots_of_stages(&read(text).unwrap()), slots, "{text}");
        }
        for wrong in ["", "0", "x", "ingest=", "ingest=0", "ingst=2", "100001", "-1"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
