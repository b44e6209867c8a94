//! The flags of the processes that meet in Kafka.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::builder::FalseyValueParser;
use clap::{ArgGroup, Args};

use super::rules::RulesArgs;
use super::schedule::TimingArgs;
use super::{AccessArgs, CatalogueArgs, HandlerArgs, Listen, NotifyArgs, Output, duration};
use crate::domain::object::Stage;
use crate::exit::UsageError;
use crate::log::kafka::{Mechanism, Sasl, Settings, Tls, Topic};

/// Where Kafka is, and who we are to it.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Kafka")]
pub struct KafkaArgs {
    /// Brokers to begin with, separated by commas.
    #[arg(long, env = "KORCH_KAFKA", value_name = "HOST:PORT", value_delimiter = ',', value_parser = broker)]
    #[arg(default_values_t = [default_kafka()])]
    pub kafka: Vec<String>,
    /// The topic of the events. Made if absent.
    #[arg(long, env = "KORCH_TOPIC", value_name = "TOPIC", default_value = "object.events")]
    pub topic: String,
    /// The topic of leaders and workers; by default korch.members, or the events' topic with .members added where that is
    /// not object.events. Made if absent.
    #[arg(long, env = "KORCH_MEMBERS_TOPIC", value_name = "TOPIC")]
    pub members_topic: Option<String>,
    /// How many partitions a topic of events that is made now gets.
    #[arg(long, env = "KORCH_PARTITIONS", value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub partitions: u32,
    /// How many copies of a topic that is made now the brokers keep; by default as they are set.
    #[arg(long, env = "KORCH_REPLICATION", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub replication: Option<u16>,
    /// Speak TLS.
    #[arg(long, env = "KORCH_KAFKA_TLS", value_parser = FalseyValueParser::new())]
    pub kafka_tls: bool,
    /// Certificates to trust instead of the system's, PEM. Speaks TLS.
    #[arg(long, env = "KORCH_KAFKA_CA", value_name = "FILE")]
    pub kafka_ca: Option<PathBuf>,
    /// A certificate of our own, PEM. Speaks TLS.
    #[arg(long, env = "KORCH_KAFKA_CERT", value_name = "FILE", requires = "kafka_key")]
    pub kafka_cert: Option<PathBuf>,
    /// The key of that certificate, PEM.
    #[arg(long, env = "KORCH_KAFKA_KEY", value_name = "FILE", requires = "kafka_cert")]
    pub kafka_key: Option<PathBuf>,
    /// Say who we are. The password comes from KORCH_KAFKA_PASSWORD or from --kafka-password-file.
    #[arg(long, env = "KORCH_KAFKA_SASL", value_name = "MECHANISM", value_enum, requires = "kafka_user")]
    pub kafka_sasl: Option<Mechanism>,
    /// The user.
    #[arg(long, env = "KORCH_KAFKA_USER", value_name = "NAME")]
    pub kafka_user: Option<String>,
    /// A file with the user's password on its first line.
    #[arg(long, env = "KORCH_KAFKA_PASSWORD_FILE", value_name = "FILE")]
    pub kafka_password_file: Option<PathBuf>,
}

/// The variable that holds the password. There is no such flag: everyone on a machine can read the flags of others.
pub const PASSWORD: &str = "KORCH_KAFKA_PASSWORD";

/// The old system's variable serves where korch's own is not set.
fn default_kafka() -> String {
    std::env::var("KAFKA_BOOTSTRAP")
        .ok()
        .filter(|brokers| !brokers.is_empty())
        .unwrap_or_else(|| "localhost:9092".into())
}

/// A broker, with Kafka's own port where none is given.
fn broker(text: &str) -> Result<String, String> {
    let text = text.trim();
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    match text.rsplit_once(':') {
        _ if text.is_empty() => Err("a broker looks like kafka:9092".into()),
        None => Ok(format!("{text}:9092")),
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        Some(_) => Err(format!("{text:?} is no broker: write kafka:9092")),
    }
}

impl KafkaArgs {
    /// How Kafka is spoken to, for leases of this length.
    ///
    /// # Errors
    /// When there is no password, or its file cannot be read.
    pub fn settings(&self, lease: Duration) -> anyhow::Result<Settings> {
        let identity = self.kafka_cert.clone().zip(self.kafka_key.clone());
        let tls = self.kafka_tls || self.kafka_ca.is_some() || identity.is_some();
        let sasl = match (self.kafka_sasl, &self.kafka_user) {
            (Some(mechanism), Some(user)) => {
                Some(Sasl { mechanism, user: user.clone(), password: self.password()? })
            }
            _ => None,
        };
        Ok(Settings {
            brokers: self.kafka.clone(),
            tls: tls.then(|| Tls { ca: self.kafka_ca.clone(), identity }),
            sasl,
            // Well below the fifth of a lease after which a reader's own silence renews all leases.
            fetch_wait: (lease / 20).clamp(Duration::from_millis(10), Duration::from_millis(250)),
        })
    }

    fn password(&self) -> anyhow::Result<String> {
        if let Some(file) = &self.kafka_password_file {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("--kafka-password-file {} cannot be read", file.display()))?;
            return Ok(text.lines().next().unwrap_or_default().to_owned());
        }
        std::env::var(PASSWORD).ok().filter(|password| !password.is_empty()).ok_or_else(|| {
            let text = format!("--kafka-sasl wants a password: set {PASSWORD} or --kafka-password-file");
            UsageError(text).into()
        })
    }

    /// The topic of the events.
    pub fn events(&self) -> Topic {
        Topic {
            name: self.topic.clone(),
            partitions: self.partitions,
            replication: self.replication,
            exactly: false,
        }
    }

    /// The topic of the members.
    pub fn members(&self) -> Topic {
        let name = self.members_topic.clone().unwrap_or_else(|| match self.topic.as_str() {
            "object.events" => "korch.members".into(),
            other => format!("{other}.members"),
        });
        Topic { name, partitions: 1, replication: self.replication, exactly: true }
    }
}

/// Flags of `orchestrate`.
#[derive(Debug, Args)]
pub struct OrchestrateArgs {
    /// The catalogue.
    #[command(flatten)]
    pub catalogue: CatalogueArgs,
    /// End with the run, its summary and its exit code.
    #[arg(long, env = "KORCH_ONCE", value_parser = FalseyValueParser::new())]
    pub once: bool,
    /// Start no run by itself: wait for one to be asked for.
    #[arg(long, env = "KORCH_IDLE", value_parser = FalseyValueParser::new())]
    pub idle: bool,
    /// Whether runs start by the clock.
    #[command(flatten)]
    pub timing: TimingArgs,
    /// By which rules runs go.
    #[command(flatten)]
    pub rules: RulesArgs,
    /// How long a worker or this orchestrator may be silent before others take over.
    #[arg(long, env = "KORCH_LEASE", value_name = "DURATION", default_value = "10s", value_parser = lease)]
    pub lease: Duration,
    /// Leave a stage to consumers of the old system's events. May be repeated.
    #[arg(long, env = "KORCH_FOREIGN_STAGE", value_name = "STAGE", value_delimiter = ',', value_parser = stage)]
    pub foreign_stage: Vec<Stage>,
    /// Offer an object of such a stage again if nobody answers for so long.
    #[arg(long, env = "KORCH_OFFER_TIMEOUT", value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub offer_timeout: Duration,
    /// Where the API listens. `off`: nowhere.
    #[arg(long, env = "KORCH_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    pub listen: Listen,
    /// Who may call the API.
    #[command(flatten)]
    pub access: AccessArgs,
    /// Who is told of runs that end.
    #[command(flatten)]
    pub notify: NotifyArgs,
    /// How the summary of each run is written.
    #[arg(long, short, env = "KORCH_OUTPUT", value_enum, default_value_t = Output::Human)]
    pub output: Output,
    /// Where Kafka is.
    #[command(flatten)]
    pub kafka: KafkaArgs,
}

/// Flags of `worker`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("stages").required(true))]
pub struct WorkerArgs {
    /// The stage to serve. May be repeated.
    #[arg(long, env = "KORCH_STAGE", value_name = "STAGE", value_delimiter = ',', value_parser = stage, group = "stages")]
    pub stage: Vec<Stage>,
    /// What this worker is called; by default its stages, its host and its process id. A second start under a live one's
    /// name takes its place.
    #[arg(long, env = "KORCH_NAME", value_name = "NAME")]
    pub name: Option<String>,
    /// How many objects run at once.
    #[arg(long, env = "KORCH_SLOTS", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub slots: u32,
    /// How long it may be silent before others take over what it holds.
    #[arg(long, env = "KORCH_LEASE", value_name = "DURATION", default_value = "10s", value_parser = lease)]
    pub lease: Duration,
    /// How long it may take, once told to end, to finish what it holds.
    #[arg(long, env = "KORCH_DRAIN_TIMEOUT", value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub drain_timeout: Duration,
    /// Serve an orchestrator of the old system: run every ObjectReady of the stage, from now on. One such worker a stage.
    #[arg(long, env = "KORCH_FOREIGN", value_parser = FalseyValueParser::new())]
    pub foreign: bool,
    /// Where metrics and health are served. `off`: nowhere.
    #[arg(long, env = "KORCH_METRICS_LISTEN", value_name = "ADDRESS", default_value = "off")]
    pub metrics_listen: Listen,
    /// What the work is.
    #[command(flatten)]
    pub handler: HandlerArgs,
    /// Where Kafka is.
    #[command(flatten)]
    pub kafka: KafkaArgs,
}

impl WorkerArgs {
    /// The stages, each once, in their order.
    pub fn stages(&self) -> Vec<Stage> {
        let mut stages = self.stage.clone();
        stages.sort_unstable();
        stages.dedup();
        stages
    }

    /// Their names, as one word.
    pub fn served(&self) -> String {
        let names: Vec<&str> = self.stages().iter().map(|stage| stage.name()).collect();
        names.join("+")
    }
}

/// Flags of `ui`.
#[derive(Debug, Args)]
pub struct UiArgs {
    /// Where the page and the API listen.
    #[arg(long, env = "KORCH_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:4200")]
    pub listen: Listen,
    /// Who may call the API.
    #[command(flatten)]
    pub access: AccessArgs,
    /// Where Kafka is.
    #[command(flatten)]
    pub kafka: KafkaArgs,
}

/// Reads a stage by its name.
pub(super) fn stage(text: &str) -> Result<Stage, String> {
    Stage::ALL
        .into_iter()
        .find(|stage| stage.name() == text)
        .ok_or_else(|| format!("{text:?} is no stage: they are ingest, standardize and application"))
}

/// A lease: long enough that a busy machine keeps it.
fn lease(text: &str) -> Result<Duration, String> {
    let lease = duration(text)?;
    let allowed = Duration::from_millis(500)..=Duration::from_secs(3600);
    if allowed.contains(&lease) { Ok(lease) } else { Err("a lease lasts from 500ms to 1h".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_may_leave_out_the_port() {
        assert_eq!(broker("kafka"), Ok("kafka:9092".into()));
        assert_eq!(broker(" kafka:29092 "), Ok("kafka:29092".into()));
        assert_eq!(broker("PLAINTEXT://kafka:29092"), Ok("kafka:29092".into()));
        for wrong in ["", ":9092", "kafka:", "kafka:port", "kafka:99999"] {
            assert!(broker(wrong).is_err(), "{wrong}");
        }
    }
}
