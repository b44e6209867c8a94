//! The flags that say by which rules runs go: of the processes that run them, and of the commands that ask for them.

use std::time::Duration;

use clap::Args;

use super::duration;
use crate::domain::limit::Limit;
use crate::domain::rules::{OnFailure, Rules};

/// By which rules runs go, where the request does not say otherwise.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Rules of runs")]
pub struct RulesArgs {
    /// How often a failed object that is worth another try is tried again.
    #[arg(long, env = "KORCH_RETRIES", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1000))]
    pub retries: u32,
    /// How long the first of these tries waits; each further one waits twice as long, up to an hour.
    #[arg(long, env = "KORCH_BACKOFF", value_name = "DURATION", default_value = "1s", value_parser = duration)]
    pub backoff: Duration,
    /// What a failure for good means for the rest: skip what needs the object, stop and start nothing more, or continue with
    /// the versions that earlier runs loaded.
    #[arg(long, env = "KORCH_ON_FAILURE", value_name = "skip|stop|continue", default_value_t = OnFailure::Skip)]
    pub on_failure: OnFailure,
    /// At most N objects with this value run at once, as source=EasyProjects:2, stage=application:8, or FIELD=*:1 for each value
    /// of a field of the catalogue. May be repeated.
    #[arg(long, env = "KORCH_LIMIT", value_name = "KEY=VALUE:N", value_delimiter = ',')]
    pub limit: Vec<Limit>,
}

impl RulesArgs {
    /// The rules that they are.
    pub fn rules(&self) -> Rules {
        Rules {
            retries: self.retries,
            backoff: self.backoff,
            timeout: None,
            on_failure: self.on_failure,
            limits: self.limit.clone(),
        }
    }
}

/// What somebody asks of the rules of one run.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Rules of the run")]
pub struct RulesWishArgs {
    /// How often a failed object that is worth another try is tried again; by default as the orchestrator is set, for a retry as
    /// in the run that it repeats. So are the others.
    #[arg(long, value_parser = clap::value_parser!(u32).range(..=1000))]
    pub retries: Option<u32>,
    /// How long the first of these tries waits; each further one waits twice as long, up to an hour.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub backoff: Option<Duration>,
    /// How long an attempt may take; by default as the workers are set.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// What a failure for good means for the rest: skip what needs the object, stop and start nothing more, or continue with
    /// the versions that earlier runs loaded.
    #[arg(long, value_name = "skip|stop|continue")]
    pub on_failure: Option<OnFailure>,
    /// At most N objects with this value run at once, as source=EasyProjects:2, stage=application:8, or FIELD=*:1 for each value
    /// of a field of the catalogue. May be repeated. They are added to those of the orchestrator.
    #[arg(long, value_name = "KEY=VALUE:N", value_delimiter = ',')]
    pub limit: Vec<Limit>,
}
