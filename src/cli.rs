//! The command line: every flag, its default, its variable.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::api::{Access, Origin, Token};
use crate::domain::object::ObjectId;
use crate::domain::plan::Missing;
use crate::domain::rules::read_duration;
use crate::exit::UsageError;
use crate::webhook::{Bearer, Webhook};

pub mod client;
pub mod doctor;
pub mod roles;
pub mod rules;
pub mod schedule;
pub mod simulate;

/// Orchestrates the loading of a data lake: runs every object once its parents are loaded.
#[derive(Debug, Parser)]
#[command(name = "korch", version, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What to log: error, warn, info, debug, or tracing's own grammar.
    #[arg(long, global = true, env = "KORCH_LOG", value_name = "FILTER")]
    pub log: Option<String>,
}

/// What korch can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in one process, on an embedded log: no Kafka, nothing to install.
    Up(UpArgs),
    /// Run the orchestrator, on Kafka: it decides what runs next. A second one stands by.
    Orchestrate(roles::OrchestrateArgs),
    /// Run a worker for a stage, on Kafka.
    Worker(roles::WorkerArgs),
    /// Serve the page and the API, from Kafka alone.
    Ui(roles::UiArgs),
    /// Show what would run, in which order, how wide, how long. Changes nothing.
    Plan(PlanArgs),
    /// Rehearse a run on a virtual clock: how long it would take, what holds it up, what one slot more would bring.
    Simulate(simulate::SimulateArgs),
    /// Show what is due when, by the catalogue alone. Changes nothing.
    Schedule(schedule::ScheduleArgs),
    /// The commands that talk to a korch API.
    #[command(flatten)]
    Client(client::ClientCommand),
    /// Ask a korch API whether it is well; exit code 0 if so.
    Health(HealthArgs),
    /// Ask every part of the stack whether it is there and holds what it should, and say what to do where not.
    Doctor(doctor::DoctorArgs),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page of korch or of one of its commands: `korch man start | man -l -`.
    Man(ManArgs),
}

/// Flags of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The command; by default korch itself.
    #[arg(value_name = "COMMAND")]
    pub command: Option<String>,
    /// Write the pages of korch and of all its commands into this folder instead.
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub dir: Option<PathBuf>,
}

/// Where the catalogue is.
#[derive(Clone, Debug, Args)]
pub struct CatalogueArgs {
    /// The catalogue.
    #[arg(long, short, env = "KORCH_FILE", value_name = "FILE", default_value_os_t = default_file())]
    pub file: PathBuf,
    /// Parents that no entry describes: run them known by their id alone, count them as loaded elsewhere, or refuse.
    #[arg(long, env = "KORCH_MISSING", value_name = "implicit|external|error", default_value = "implicit")]
    pub missing: Missing,
}

/// The old system's variable serves where korch's own is not set.
fn default_file() -> PathBuf {
    std::env::var_os("OBJETS_PATH")
        .filter(|path| !path.is_empty())
        .unwrap_or_else(|| "Objets.json".into())
        .into()
}

/// Flags of `up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// The catalogue.
    #[command(flatten)]
    pub catalogue: CatalogueArgs,
    /// End with the run, its summary and its exit code.
    #[arg(long, env = "KORCH_ONCE", value_parser = FalseyValueParser::new())]
    pub once: bool,
    /// Start no run by itself: wait for one to be asked for.
    #[arg(long, env = "KORCH_IDLE", value_parser = FalseyValueParser::new())]
    pub idle: bool,
    /// Where the log is kept.
    #[arg(long, env = "KORCH_DATA_DIR", value_name = "DIR", default_value = ".korch")]
    pub data_dir: PathBuf,
    /// Keep the log in memory: nothing is left when korch ends.
    #[arg(long, env = "KORCH_MEMORY", value_parser = FalseyValueParser::new(), conflicts_with = "data_dir")]
    pub memory: bool,
    /// How many objects of a stage run at once.
    #[arg(long, env = "KORCH_SLOTS", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub slots: u32,
    /// Whether runs start by the clock.
    #[command(flatten)]
    pub timing: schedule::TimingArgs,
    /// By which rules runs go.
    #[command(flatten)]
    pub rules: rules::RulesArgs,
    /// What the work is.
    #[command(flatten)]
    pub handler: HandlerArgs,
    /// Where the API listens. `off`: nowhere.
    #[arg(long, env = "KORCH_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    pub listen: Listen,
    /// Where the page listens. `off`: nowhere.
    #[arg(long, env = "KORCH_UI_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:4200")]
    pub ui_listen: Listen,
    /// Who may call the API.
    #[command(flatten)]
    pub access: AccessArgs,
    /// Who is told of runs that end.
    #[command(flatten)]
    pub notify: NotifyArgs,
    /// How the summary of each run is written.
    #[arg(long, short, env = "KORCH_OUTPUT", value_enum, default_value_t = Output::Human)]
    pub output: Output,
}

/// Who may call the API.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "API")]
pub struct AccessArgs {
    /// A file with a token on its first line that every call which changes something has to show. KORCH_API_TOKEN may hold
    /// the token instead.
    #[arg(long, env = "KORCH_API_TOKEN_FILE", value_name = "FILE")]
    pub api_token_file: Option<PathBuf>,
    /// Another site whose pages may call the API, such as https://lake.example. May be repeated.
    #[arg(long, env = "KORCH_CORS_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub cors_origin: Vec<Origin>,
}

/// The variable that holds the token.
pub const TOKEN: &str = "KORCH_API_TOKEN";

/// Who is told, without looking on, what becomes of the runs.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Notices")]
pub struct NotifyArgs {
    /// Post a notice to this address when a run ends and when an object fails for good. May be repeated.
    #[arg(long, env = "KORCH_NOTIFY", hide_env_values = true, value_name = "URL", value_delimiter = ',')]
    pub notify: Vec<String>,
    /// A file with a token on its first line that these addresses ask for. KORCH_NOTIFY_TOKEN may hold the token instead.
    #[arg(long, env = "KORCH_NOTIFY_TOKEN_FILE", value_name = "FILE")]
    pub notify_token_file: Option<PathBuf>,
}

impl NotifyArgs {
    /// The addresses.
    ///
    /// # Errors
    /// When one is none, or the token's file cannot be read.
    pub fn webhooks(&self) -> anyhow::Result<Vec<Webhook>> {
        let token = bearer("--notify-token-file", self.notify_token_file.as_deref(), "KORCH_NOTIFY_TOKEN")?;
        // An empty variable says that nobody is told.
        let urls = self.notify.iter().filter(|url| !url.trim().is_empty());
        urls.map(|url| Webhook::new("--notify", url, token.clone())).collect()
    }
}

/// What stands on a file's first line, else in a variable, and where that is, for people. There is no flag for a secret: everyone
/// on a machine can read the flags of others.
fn secret(flag: &str, file: Option<&Path>, variable: &str) -> anyhow::Result<(String, Option<String>)> {
    let Some(file) = file else {
        let secret = std::env::var_os(variable).map(|secret| secret.to_string_lossy().into_owned());
        return Ok((variable.to_owned(), secret));
    };
    let text =
        std::fs::read_to_string(file).with_context(|| format!("{flag} {} cannot be read", file.display()))?;
    let line = text.lines().next().unwrap_or_default().trim().to_owned();
    Ok((format!("the token in {flag} {}", file.display()), Some(line)))
}

/// The token for somebody else's address. An empty variable is none.
fn bearer(flag: &str, file: Option<&Path>, variable: &str) -> anyhow::Result<Option<Bearer>> {
    let (from, token) = secret(flag, file, variable)?;
    let Some(token) = token.filter(|token| file.is_some() || !token.is_empty()) else { return Ok(None) };
    let bearer = Bearer::new(&token);
    bearer.map(Some).ok_or_else(|| {
        UsageError(format!("{from} is empty, or has characters that no header may have")).into()
    })
}

impl AccessArgs {
    /// Who may call.
    ///
    /// # Errors
    /// When the token's file cannot be read, or what should be a token is none.
    pub fn access(&self) -> anyhow::Result<Arc<Access>> {
        let (from, token) = secret("--api-token-file", self.api_token_file.as_deref(), TOKEN)?;
        let token = token.map(|token| Token::new(&token)).transpose();
        let token = token.map_err(|why| UsageError(format!("{from} {why}")))?;
        Ok(Arc::new(Access { token, origins: self.cors_origin.clone() }))
    }
}

/// What a worker does with an object.
#[derive(Clone, Debug, Args)]
pub struct HandlerArgs {
    /// Run this command for each object: its entry on stdin, KORCH_OBJECT_ID, KORCH_STAGE, KORCH_RUN_ID and
    /// KORCH_ATTEMPT in its environment. Exit code 0 is loaded, 75 a failure worth another try, any other a failure.
    #[arg(long, env = "KORCH_EXEC", value_name = "COMMAND")]
    pub exec: Option<String>,
    /// Post each object's entry to this address, with Korch-Object-Id, Korch-Stage, Korch-Run-Id and Korch-Attempt as headers.
    /// 2xx is loaded; 408, 429, 5xx and no answer are failures worth another try, any other status a failure.
    #[arg(long, env = "KORCH_HTTP", hide_env_values = true, value_name = "URL", conflicts_with_all = ["exec", "delay", "delays"])]
    pub http: Option<String>,
    /// A file with a token on its first line that this address asks for. KORCH_HTTP_TOKEN may hold the token instead.
    #[arg(long, env = "KORCH_HTTP_TOKEN_FILE", value_name = "FILE", requires = "http")]
    pub http_token_file: Option<PathBuf>,
    /// End an attempt that takes longer than this: a failure worth another try.
    #[arg(long, env = "KORCH_TIMEOUT", value_name = "DURATION", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Simulated work takes this long, instead of 0.5, 0.6 and 0.8 s by stage.
    #[arg(long, env = "KORCH_DELAY", value_name = "DURATION", value_parser = duration, conflicts_with = "exec")]
    pub delay: Option<Duration>,
    /// How long the simulated work on each object takes: a file as for `simulate --durations`.
    #[arg(long, env = "KORCH_DELAYS", value_name = "FILE", conflicts_with = "exec")]
    pub delays: Option<PathBuf>,
    /// The objects that fail in simulation, separated by commas; '' for none.
    #[arg(long, env = "KORCH_FAIL_IDS", value_name = "IDS", default_value = "2005", value_parser = ids)]
    pub fail_ids: Ids,
}

impl HandlerArgs {
    /// The address of [`HandlerArgs::http`], if that is the work.
    ///
    /// # Errors
    /// When it is none, or the token's file cannot be read.
    pub fn webhook(&self) -> anyhow::Result<Option<Webhook>> {
        let Some(url) = &self.http else { return Ok(None) };
        let token = bearer("--http-token-file", self.http_token_file.as_deref(), "KORCH_HTTP_TOKEN")?;
        Webhook::new("--http", url, token).map(Some)
    }
}

/// Ids given on the command line.
#[derive(Clone, Debug)]
pub struct Ids(pub Vec<ObjectId>);

/// Flags of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// What to run. 3005 is that object alone, +3005 with all that it needs, 2002+ with all that follows it, 2+2002+1 with
    /// two levels of the former and one of the latter. stage:ingest, source:Sage, criticality:high and name:'Proj*' match many.
    /// Several unite; a comma without spaces is what is in both. None: every final object with all that it needs.
    #[arg(value_name = "SELECTOR")]
    pub targets: Vec<String>,
    /// What not to run of that, as a selector. May be repeated. Parents that are not selected count as loaded.
    #[arg(long, value_name = "SELECTOR")]
    pub exclude: Vec<String>,
    /// Plan the run of a schedule instead: of what is due first at this time or after it. now, 02:30, 2026-03-29T02:30, or
    /// with an offset.
    #[arg(long, value_name = "TIME", conflicts_with_all = ["targets", "exclude"])]
    pub at: Option<String>,
    /// Where the clock is by which objects are due.
    #[command(flatten)]
    pub zone: schedule::ZoneArgs,
    /// The catalogue.
    #[command(flatten)]
    pub catalogue: CatalogueArgs,
    /// How many objects of a stage run at once.
    #[arg(long, env = "KORCH_SLOTS", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub slots: u32,
    /// How the plan is written.
    #[arg(long, short, env = "KORCH_OUTPUT", value_enum, default_value_t = PlanOutput::Human)]
    pub output: PlanOutput,
    /// List every object of the order.
    #[arg(long)]
    pub full: bool,
}

/// Flags of `health`.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// The korch API to ask.
    #[arg(long, env = "KORCH_SERVER", value_name = "URL", default_value = "http://127.0.0.1:8000")]
    pub server: String,
    /// Ask whether it can do its work too: it has read its log, and the log answers.
    #[arg(long, env = "KORCH_READY", value_parser = FalseyValueParser::new())]
    pub ready: bool,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Human,
    /// For programs.
    Json,
}

/// How a plan is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlanOutput {
    /// For people.
    #[value(alias = "text")]
    Human,
    /// For programs.
    Json,
    /// For Graphviz.
    Dot,
    /// For Markdown pages.
    Mermaid,
}

/// An address to listen on, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// This address; port 0 takes a free one.
    At(SocketAddr),
    /// Nowhere.
    Off,
}

impl std::str::FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Listen, String> {
        if text == "off" {
            return Ok(Listen::Off);
        }
        let text = text.replacen("localhost:", "127.0.0.1:", 1);
        text.parse().map(Listen::At).map_err(|_| "an address looks like 127.0.0.1:8000, or is off".into())
    }
}

/// Reads `500ms`, `10s`, `15m`.
fn duration(text: &str) -> Result<Duration, String> {
    read_duration(text)
}

fn ids(text: &str) -> Result<Ids, String> {
    text.split([',', ';', ' '])
        .filter(|id| !id.is_empty())
        .map(|id| id.parse().map(ObjectId).map_err(|_| format!("{id:?} is no id: write 2005 or 2005,2007")))
        .collect::<Result<_, _>>()
        .map(Ids)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
