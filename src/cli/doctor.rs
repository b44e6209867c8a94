//! The flags of `doctor`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::Output;
use super::roles::{KafkaArgs, stage};
use crate::domain::object::Stage;

/// Nobody's lease depends on what is looked at.
pub const LEASE: Duration = Duration::from_secs(10);

/// A part of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The brokers and the topics.
    Kafka,
    /// The orchestrator's API, the leader and the workers.
    Server,
    /// The page.
    Ui,
    /// The metrics, the alerts, and what the dashboards ask of them.
    Prometheus,
    /// The dashboards.
    Grafana,
    /// The log lines, and what the dashboards ask of them.
    Loki,
    /// Who brings the log lines.
    Alloy,
}

/// Flags of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The orchestrator's API.
    #[arg(long, env = "KORCH_SERVER", value_name = "URL", default_value = "http://127.0.0.1:8000")]
    pub server: String,
    /// The page.
    #[arg(long, env = "KORCH_UI", value_name = "URL", default_value = "http://127.0.0.1:4200")]
    pub ui: String,
    /// Prometheus.
    #[arg(long, env = "KORCH_PROMETHEUS", value_name = "URL", default_value = "http://127.0.0.1:9090")]
    pub prometheus: String,
    /// Grafana. KORCH_GRAFANA_TOKEN may hold a token for one that lets nobody look on without.
    #[arg(long, env = "KORCH_GRAFANA", value_name = "URL", default_value = "http://127.0.0.1:3000")]
    pub grafana: String,
    /// Loki.
    #[arg(long, env = "KORCH_LOKI", value_name = "URL", default_value = "http://127.0.0.1:3100")]
    pub loki: String,
    /// Grafana Alloy.
    #[arg(long, env = "KORCH_ALLOY", value_name = "URL", default_value = "http://127.0.0.1:12345")]
    pub alloy: String,
    /// Leave out what this stack has not. May be repeated.
    #[arg(long, env = "KORCH_WITHOUT", value_name = "PART", value_enum, value_delimiter = ',')]
    pub without: Vec<Part>,
    /// Miss no worker of this stage: consumers of the old system's events serve it. May be repeated.
    #[arg(long, env = "KORCH_FOREIGN_STAGE", value_name = "STAGE", value_delimiter = ',', value_parser = stage)]
    pub foreign_stage: Vec<Stage>,
    /// How what was found is written.
    #[arg(long, short, env = "KORCH_OUTPUT", value_enum, default_value_t = Output::Human)]
    pub output: Output,
    /// Where Kafka is.
    #[command(flatten)]
    pub kafka: KafkaArgs,
}
