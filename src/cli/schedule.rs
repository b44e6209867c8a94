//! The flags of what starts by the clock.

use std::path::Path;

use clap::Args;
use clap::builder::FalseyValueParser;
use jiff::tz::TimeZone;

use super::{CatalogueArgs, Output};
use crate::domain::schedule::{CatchUp, Overlap, Policies, read_zone};
use crate::timetable::Timetable;

/// Whether runs start by the clock, and what becomes of those that cannot.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Schedule")]
pub struct TimingArgs {
    /// Start the final objects when their Fréquence is due, with what they need, and nothing else by itself.
    #[arg(long, env = "KORCH_SCHEDULE", value_parser = FalseyValueParser::new())]
    pub schedule: bool,
    /// Where the clock is.
    #[command(flatten)]
    pub zone: ZoneArgs,
    /// What becomes of a run that is due while another is under way: it is skipped, and the history says so; or it waits.
    #[arg(long, env = "KORCH_OVERLAP", value_name = "skip|queue", default_value = "skip")]
    pub overlap: Overlap,
    /// What becomes of what was due while nobody led: nothing; all of it in one run; or each in a run of its own, the last
    /// hundred.
    #[arg(long, env = "KORCH_CATCH_UP", value_name = "none|last|all", default_value = "last")]
    pub catch_up: CatchUp,
}

impl TimingArgs {
    /// What is due when, where runs start by the clock.
    pub fn timetable(&self, file: &Path) -> Option<Timetable> {
        let policies = Policies { overlap: self.overlap, catch_up: self.catch_up };
        self.schedule.then(|| Timetable::new(file.to_owned(), self.zone.zone(), policies))
    }
}

/// Where the clock is by which objects are due.
#[derive(Clone, Debug, Args)]
pub struct ZoneArgs {
    /// The time zone that Fréquence means, such as Europe/Paris. By default the system's (TZ, /etc/localtime), else UTC.
    #[arg(long, env = "KORCH_TIMEZONE", value_name = "ZONE", value_parser = read_zone)]
    pub timezone: Option<TimeZone>,
}

impl ZoneArgs {
    /// The zone.
    pub fn zone(&self) -> TimeZone {
        let system = || TimeZone::try_system().ok().filter(|zone| !zone.is_unknown());
        self.timezone.clone().or_else(system).unwrap_or(TimeZone::UTC)
    }
}

/// Flags of `schedule`.
#[derive(Debug, Args)]
pub struct ScheduleArgs {
    /// The catalogue.
    #[command(flatten)]
    pub catalogue: CatalogueArgs,
    /// Where the clock is.
    #[command(flatten)]
    pub zone: ZoneArgs,
    /// Begin at this time: now, 02:30, 2026-03-29T02:30, or with an offset.
    #[arg(long, value_name = "TIME", default_value = "now")]
    pub from: String,
    /// End at this time.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// How many instants; by default 10, with --until 1000.
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: Option<u32>,
    /// How they are written.
    #[arg(long, short, env = "KORCH_OUTPUT", value_enum, default_value_t = Output::Human)]
    pub output: Output,
}
