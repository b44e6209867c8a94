//! The commands that talk to a korch API.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::rules::RulesWishArgs;
use super::{Output, duration};
use crate::domain::event::MarkedAs;
use crate::domain::object::ObjectId;

/// What a korch API can be asked.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Ask a korch API for a run.
    Start(StartArgs),
    /// Show how a run stands: the active one, else the latest.
    Status(StatusArgs),
    /// List the runs, the newest first.
    Runs(RunsArgs),
    /// Stop a run: the active one, or the one named.
    Cancel(CancelArgs),
    /// Start nothing more of a run, the active one or the one named: what runs is finished, until `resume`.
    Pause(CancelArgs),
    /// Let a paused run go on.
    Resume(CancelArgs),
    /// Say that an object is loaded, or that it failed for good, whatever its attempts say.
    Mark(MarkArgs),
    /// Run again what failed in a run and what was skipped for it: the latest run, or the one named.
    Retry(RetryArgs),
    /// Show the last events, or all that come.
    Events(EventsArgs),
    /// Say why an object does not run: what failed, is missing or still runs before it.
    Explain(ExplainArgs),
}

/// Whom to ask, and how to write the answer.
#[derive(Clone, Debug, Args)]
pub struct AskArgs {
    /// The korch API to ask.
    #[arg(long, env = "KORCH_SERVER", value_name = "URL", default_value = "http://127.0.0.1:8000")]
    pub server: String,
    /// How the answer is written.
    #[arg(long, short, env = "KORCH_OUTPUT", value_enum, default_value_t = Output::Human)]
    pub output: Output,
}

/// How a run is asked for.
#[derive(Debug, Args)]
pub struct WishArgs {
    /// Who asks, for people. By default the user's name.
    #[arg(long, env = "KORCH_REQUESTED_BY", value_name = "NAME")]
    pub requested_by: Option<String>,
    /// By which rules it goes.
    #[command(flatten)]
    pub rules: RulesWishArgs,
    /// Show the run as it goes, and end with its summary and its exit code.
    #[arg(long, visible_alias = "follow")]
    pub wait: bool,
    /// Whom to ask.
    #[command(flatten)]
    pub ask: AskArgs,
}

/// Flags of `start`.
#[derive(Debug, Args)]
pub struct StartArgs {
    /// What to run. 3005 is that object alone, +3005 with all that it needs, 2002+ with all that follows it, 2+2002+1 with
    /// two levels of the former and one of the latter. stage:ingest, source:Sage, criticality:high and name:'Proj*' match many.
    /// Several unite; a comma without spaces is what is in both. None: every final object with all that it needs.
    #[arg(value_name = "SELECTOR")]
    pub targets: Vec<String>,
    /// What not to run of that, as a selector. May be repeated. Parents that are not selected count as loaded.
    #[arg(long, value_name = "SELECTOR")]
    pub exclude: Vec<String>,
    /// Load nothing again that was loaded less than this long ago, unless something before it is.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub fresh: Option<Duration>,
    /// How it is asked for.
    #[command(flatten)]
    pub wish: WishArgs,
}

/// Flags of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The run's id.
    pub run: Option<String>,
    /// Follow the run until it is over.
    #[arg(long, short)]
    pub watch: bool,
    /// Whom to ask.
    #[command(flatten)]
    pub ask: AskArgs,
}

/// Flags of `runs`.
#[derive(Debug, Args)]
pub struct RunsArgs {
    /// How many.
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
    /// Whom to ask.
    #[command(flatten)]
    pub ask: AskArgs,
}

/// Flags of `cancel`, `pause` and `resume`.
#[derive(Debug, Args)]
pub struct CancelArgs {
    /// The run's id.
    pub run: Option<String>,
    /// Who asks, for people. By default the user's name.
    #[arg(long, env = "KORCH_REQUESTED_BY", value_name = "NAME")]
    pub requested_by: Option<String>,
    /// Whom to ask.
    #[command(flatten)]
    pub ask: AskArgs,
}

/// Flags of `mark`.
#[derive(Debug, Args)]
pub struct MarkArgs {
    /// The object's id.
    #[arg(value_parser = object)]
    pub object: ObjectId,
    /// As what. `loaded`: what needs it may run. `failed`: it is not tried again, and what runs of it is ended.
    #[arg(value_name = "loaded|failed", value_parser = marked_as)]
    pub state: MarkedAs,
    /// Why, for people: it stands in the log.
    #[arg(long, value_name = "TEXT")]
    pub because: String,
    /// The run's id; by default the active run, else the latest.
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    /// Who says so, for people. By default the user's name.
    #[arg(long, env = "KORCH_REQUESTED_BY", value_name = "NAME")]
    pub requested_by: Option<String>,
    /// Whom to ask.
    #[command(flatten)]
    pub ask: AskArgs,
}

/// Flags of `retry`.
#[derive(Debug, Args)]
pub struct RetryArgs {
    /// The run's id.
    pub run: Option<String>,
    /// Run this object and all that follows it, instead of what failed. May be repeated.
    #[arg(long, value_name = "ID", value_delimiter = ',', value_parser = object)]
    pub from: Vec<ObjectId>,
    /// How it is asked for.
    #[command(flatten)]
    pub wish: WishArgs,
}

/// Flags of `events`.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// How many of the last ones.
    #[arg(long, short = 'n', default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// Go on with those that come, until Ctrl-C.
    #[arg(long, short)]
    pub follow: bool,
    /// With --follow: begin with the log's first event.
    #[arg(long, requires = "follow", conflicts_with = "limit")]
    pub from_start: bool,
    /// Whom to ask.
    #[command(flatten)]
    pub ask: AskArgs,
}

/// Flags of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The object's id.
    #[arg(value_parser = object)]
    pub object: ObjectId,
    /// The run's id; by default the active run, else the latest.
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    /// Whom to ask.
    #[command(flatten)]
    pub ask: AskArgs,
}

fn object(text: &str) -> Result<ObjectId, String> {
    text.parse().map(ObjectId).map_err(|_| "an object's id is a number, as in the catalogue".into())
}

fn marked_as(text: &str) -> Result<MarkedAs, String> {
    let states = [MarkedAs::Loaded, MarkedAs::Failed];
    let state = states.into_iter().find(|state| state.name() == text);
    state.ok_or_else(|| "an object is marked as loaded or as failed".into())
}
