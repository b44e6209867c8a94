//! How the brokers are reached, and what is said when they are not.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rskafka::BackoffConfig;
use rskafka::client::error::{Error, ProtocolError, RequestContext, RequestError};
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder, Credentials, SaslConfig};
use rskafka::record::{Record, RecordAndOffset};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::log::LogError;
use crate::tls;

/// One call to a broker takes no longer than this, however it is retried below.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// A broker that does not take a connection within this time is passed over.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// No answer is larger: a fetch brings its bytes and at least one batch.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Where Kafka is and how it is spoken to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Brokers to begin with, each `host:port`.
    pub brokers: Vec<String>,
    /// TLS, where it is spoken.
    pub tls: Option<Tls>,
    /// Who korch is, where the brokers ask.
    pub sasl: Option<Sasl>,
    /// A fetch waits so long for a record before it says that there is none: the age of what
    /// [`Reader::caught_up`](crate::log::Reader::caught_up) tells.
    pub fetch_wait: Duration,
}

/// How the brokers prove who they are, and korch to them.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Certificates to trust, PEM; none: those of the system.
    pub ca: Option<PathBuf>,
    /// A certificate of korch's own and its key, PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A user and the proof of it.
#[derive(Clone)]
pub struct Sasl {
    /// How the password is shown.
    pub mechanism: Mechanism,
    /// The user.
    pub user: String,
    /// The password. Never written anywhere.
    pub password: String,
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} as {:?}", self.mechanism, self.user)
    }
}

/// A SASL mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mechanism {
    /// RFC 4616: the password itself.
    Plain,
    /// RFC 7677.
    #[value(name = "scram-sha-256", alias = "scram-sha256")]
    ScramSha256,
    /// The same with SHA-512.
    #[value(name = "scram-sha-512", alias = "scram-sha512")]
    ScramSha512,
}

impl Mechanism {
    fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "plain",
            Mechanism::ScramSha256 => "scram-sha-256",
            Mechanism::ScramSha512 => "scram-sha-512",
        }
    }
}

/// Why a call came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// No answer in time.
    Silent,
    /// No broker takes a connection: which, and why.
    NoBroker(String),
    /// It will not help to try again.
    Refused(String),
    /// A request larger than the broker takes.
    TooLarge,
    /// Anything else.
    Kafka(Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Silent => f.write_str("no answer in time"),
            Failure::NoBroker(text) | Failure::Refused(text) => f.write_str(text),
            Failure::TooLarge => f.write_str("a request is too large for the broker"),
            Failure::Kafka(error) => f.write_str(&innermost(error)),
        }
    }
}

/// The cause at the bottom: what stands above it repeats it.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = innermost.to_string();
    // rskafka's retries tell of themselves first.
    text.rsplit_once("Source: ").map_or(text.as_str(), |(_, cause)| cause).to_owned()
}

impl Failure {
    pub(super) fn of(error: Error) -> Failure {
        use ProtocolError::{
            ClusterAuthorizationFailed, GroupAuthorizationFailed, MessageTooLarge, RecordListTooLarge,
            TopicAuthorizationFailed,
        };
        match &error {
            Error::ServerError {
                protocol_error:
                    denied @ (TopicAuthorizationFailed | ClusterAuthorizationFailed | GroupAuthorizationFailed),
                request,
                ..
            } => Failure::Refused(format!("{} ({denied})", missing_right(request))),
            Error::ServerError { protocol_error: MessageTooLarge | RecordListTooLarge, .. } => {
                Failure::TooLarge
            }
            _ => Failure::Kafka(error),
        }
    }

    /// Whether another try a moment later may go better.
    pub(super) fn may_pass(&self) -> bool {
        let text = self.to_string();
        !matches!(self, Failure::Refused(_) | Failure::TooLarge | Failure::NoBroker(_))
            && !is_about_passwords(&text)
            && !is_about_certificates(&text)
    }

    /// Whether it lies in what was read, and not in the way there.
    pub(super) fn is_of_the_record(&self) -> bool {
        use RequestError::{ReadError, ReadVersionedError, TooMuchData};
        matches!(
            self,
            Failure::Kafka(
                Error::InvalidResponse(_)
                    | Error::Request(ReadError(_) | ReadVersionedError(_) | TooMuchData { .. })
            )
        )
    }

    /// Whether it is the mark of a transaction's end, which nobody is shown: rskafka cannot read one.
    pub(super) fn is_a_marker(&self) -> bool {
        self.is_of_the_record() && self.to_string().contains("control batch")
    }
}

/// Which right a user lacks whose request was refused.
fn missing_right(request: &RequestContext) -> String {
    match request {
        RequestContext::Fetch { topic_name, .. } => {
            format!("this user may not read the topic {topic_name}: it needs the right Read on it")
        }
        RequestContext::Partition(topic, _) => {
            format!("this user may not write to the topic {topic}: it needs the right Write on it")
        }
        // Kafka hides a topic from whoever may not see it.
        RequestContext::Topic(topic) => format!(
            "this user may not make the topic {topic}, or may not see that it is there: it needs the right Create \
             or Describe on it"
        ),
        other => format!("this user may not do this: {other:?}"),
    }
}

fn is_about_passwords(text: &str) -> bool {
    text.to_ascii_lowercase().contains("sasl") || text.contains("Authentication")
}

fn is_about_certificates(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("certificate") || text.contains("tls") || text.contains("corrupt message")
}

/// A call, within its time.
pub(super) async fn limited<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
    match tokio::time::timeout(CALL_LIMIT, call).await {
        Ok(result) => result.map_err(Failure::of),
        Err(_) => Err(Failure::Silent),
    }
}

/// One client for everything that goes well; whoever meets a failure has it replaced.
pub(super) struct Connection {
    settings: Settings,
    tls: Option<Arc<rustls::ClientConfig>>,
    client: Mutex<(u64, Option<Arc<Client>>)>,
}

impl Connection {
    pub(super) fn new(settings: Settings) -> Result<Connection, LogError> {
        let tls = settings.tls.as_ref().map(tls_config).transpose()?;
        Ok(Connection { settings, tls, client: Mutex::new((0, None)) })
    }

    /// The client, and its generation.
    pub(super) async fn client(&self) -> Result<(Arc<Client>, u64), Failure> {
        let mut client = self.client.lock().await;
        if let (generation, Some(client)) = &*client {
            return Ok((client.clone(), *generation));
        }
        let made = Arc::new(self.connect().await?);
        client.0 += 1;
        client.1 = Some(made.clone());
        Ok((made, client.0))
    }

    /// Drops the client of this generation: nothing of it is trusted any more.
    pub(super) async fn renew(&self, generation: u64) {
        let mut client = self.client.lock().await;
        if client.0 == generation {
            client.1 = None;
        }
    }

    /// The result of a call; a failure costs the client of this generation.
    pub(super) async fn watched<T>(
        &self,
        generation: u64,
        call: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let result = call.await;
        if result.is_err() {
            self.renew(generation).await;
        }
        result
    }

    async fn connect(&self) -> Result<Client, Failure> {
        let brokers = self.brokers_that_answer().await?;
        let mut builder = ClientBuilder::new(brokers)
            .client_id("korch")
            .max_message_size(MAX_ANSWER_BYTES)
            .backoff_config(BackoffConfig {
                init_backoff: Duration::from_millis(50),
                max_backoff: Duration::from_secs(1),
                base: 2.0,
                // Short: whoever calls tries again, and a refusal, of a password say, is to be told within the call's
                // limit.
                deadline: Some(Duration::from_millis(500)),
            });
        if let Some(tls) = &self.tls {
            builder = builder.tls_config(tls.clone());
        }
        if let Some(sasl) = &self.settings.sasl {
            let credentials = Credentials::new(sasl.user.clone(), sasl.password.clone());
            builder = builder.sasl_config(match sasl.mechanism {
                Mechanism::Plain => SaslConfig::Plain(credentials),
                Mechanism::ScramSha256 => SaslConfig::ScramSha256(credentials),
                Mechanism::ScramSha512 => SaslConfig::ScramSha512(credentials),
            });
        }
        limited(builder.build()).await
    }

    /// The brokers that take a connection: rskafka would wait for the others without a limit.
    async fn brokers_that_answer(&self) -> Result<Vec<String>, Failure> {
        let knocks = self.settings.brokers.iter().map(|broker| async move {
            match tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(broker.as_str())).await {
                Ok(Ok(_)) => Ok(broker.clone()),
                Ok(Err(error)) => Err(format!("{broker}: {error}")),
                Err(_) => Err(format!("{broker}: no answer in {} s", CONNECT_LIMIT.as_secs())),
            }
        });
        let (mut answer, mut silent) = (Vec::new(), Vec::new());
        for knock in futures_util::future::join_all(knocks).await {
            match knock {
                Ok(broker) => answer.push(broker),
                Err(why) => silent.push(why),
            }
        }
        if answer.is_empty() { Err(Failure::NoBroker(silent.join("; "))) } else { Ok(answer) }
    }

    /// What to say of a failure: where Kafka should be, what happened, and what to do.
    pub(super) fn unreachable(&self, failure: &Failure) -> LogError {
        let brokers = self.settings.brokers.join(", ");
        let text = failure.to_string();
        let (tls, sasl) = (self.settings.tls.is_some(), self.settings.sasl.as_ref());
        LogError::Unreachable(match failure {
            Failure::NoBroker(why) => format!(
                "cannot reach Kafka ({why}): start a broker there, or say with --kafka (KORCH_KAFKA) where it is"
            ),
            Failure::Refused(why) => format!("Kafka at {brokers} refuses: {why}"),
            Failure::TooLarge => {
                format!("Kafka at {brokers} refuses: {failure}: raise its message.max.bytes")
            }
            _ if text.contains("Connection refused") => {
                format!(
                    "Kafka at {brokers} is away ({text}): start it again, or say with --kafka (KORCH_KAFKA) where it is"
                )
            }
            _ if is_about_passwords(&text) => match sasl {
                Some(sasl) => format!(
                    "Kafka at {brokers} refuses the user {:?} by {} ({text}): check --kafka-user (KORCH_KAFKA_USER), \
                     the password (KORCH_KAFKA_PASSWORD or --kafka-password-file) and --kafka-sasl",
                    sasl.user,
                    sasl.mechanism.name()
                ),
                None => format!("Kafka at {brokers} asks who we are ({text}): say so with --kafka-sasl"),
            },
            _ if is_about_certificates(&text) => format!(
                "Kafka at {brokers} and korch cannot agree on TLS ({text}): --kafka-ca names the certificate to trust, \
                 --kafka-cert and --kafka-key korch's own, and a listener without TLS wants no --kafka-tls"
            ),
            _ => {
                // A listener that speaks otherwise hangs up, or says nothing that makes sense.
                let hint = match (tls, sasl.is_some()) {
                    (false, false) => {
                        "if that listener speaks TLS or asks for a password, say --kafka-tls or --kafka-sasl"
                    }
                    (false, true) => "if that listener speaks TLS, say --kafka-tls",
                    (true, false) => "if that listener asks for a password, say --kafka-sasl",
                    (true, true) => "the broker's own log may say why",
                };
                format!(
                    "Kafka at {brokers} takes connections and does not do what it is asked ({text}): {hint}"
                )
            }
        })
    }
}

fn tls_config(wish: &Tls) -> Result<Arc<rustls::ClientConfig>, LogError> {
    let unusable = |what: &str, path: &PathBuf, why: &dyn fmt::Display| {
        LogError::Unreachable(format!("{what} {} cannot be used: {why}", path.display()))
    };
    let roots = match &wish.ca {
        Some(path) => {
            let read = CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| unusable("--kafka-ca", path, &error))?;
            let mut roots = rustls::RootCertStore::empty();
            let (added, _) = roots.add_parsable_certificates(read);
            if added == 0 {
                return Err(unusable("--kafka-ca", path, &"it has no PEM certificate"));
            }
            roots
        }
        None => tls::system_roots().ok_or_else(|| {
            LogError::Unreachable(
                "this system has no certificates to trust: --kafka-ca names a file of them".into(),
            )
        })?,
    };
    let builder =
        tls::client(roots).map_err(|error| LogError::Unreachable(format!("TLS cannot be used: {error}")))?;
    let config = match &wish.identity {
        None => builder.with_no_client_auth(),
        Some((certificates, key_file)) => {
            let chain = CertificateDer::pem_file_iter(certificates)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| unusable("--kafka-cert", certificates, &error))?;
            let key = PrivateKeyDer::from_pem_file(key_file)
                .map_err(|error| unusable("--kafka-key", key_file, &error))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| unusable("--kafka-key", key_file, &error))?
        }
    };
    Ok(Arc::new(config))
}

/// One partition's connection for one purpose: requests on it are answered in turn.
pub(super) struct Lane {
    connection: Arc<Connection>,
    topic: String,
    partition: u32,
    /// For the log: what it is for.
    purpose: &'static str,
    client: Mutex<Option<(Arc<PartitionClient>, u64)>>,
}

impl Lane {
    pub(super) fn new(
        connection: Arc<Connection>,
        topic: &str,
        partition: u32,
        purpose: &'static str,
    ) -> Lane {
        Lane { connection, topic: topic.to_owned(), partition, purpose, client: Mutex::new(None) }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Appends; returns the offset after the last record.
    pub(super) async fn produce(
        &self,
        records: Vec<Record>,
        compression: Compression,
    ) -> Result<u64, Failure> {
        let client = self.connected().await?;
        let offsets = self.watched(limited(client.produce(records, compression))).await?;
        Ok(offsets.last().map_or(0, |last| u64::try_from(last + 1).unwrap_or(0)))
    }

    /// Fetches from `offset` on, waiting a little for a first record: the records and the high watermark.
    pub(super) async fn fetch(
        &self,
        offset: u64,
        bytes: i32,
    ) -> Result<(Vec<RecordAndOffset>, u64), Failure> {
        let client = self.connected().await?;
        let wait_ms = i32::try_from(self.connection.settings.fetch_wait.as_millis()).unwrap_or(250);
        let fetching = client.fetch_records(i64::try_from(offset).unwrap_or(i64::MAX), 1..bytes, wait_ms);
        let (records, high_watermark) = self.watched(limited(fetching)).await?;
        Ok((records, u64::try_from(high_watermark).unwrap_or(0)))
    }

    /// Asks for an offset.
    pub(super) async fn offset(&self, at: OffsetAt) -> Result<u64, Failure> {
        let client = self.connected().await?;
        let offset = self.watched(limited(client.get_offset(at))).await?;
        Ok(u64::try_from(offset).unwrap_or(0))
    }

    /// Deletes the records before `before`.
    pub(super) async fn delete(&self, before: u64) -> Result<(), Failure> {
        let client = self.connected().await?;
        let wait_ms = i32::try_from(CALL_LIMIT.as_millis()).unwrap_or(i32::MAX);
        let before = i64::try_from(before).unwrap_or(i64::MAX);
        self.watched(limited(client.delete_records(before, wait_ms))).await
    }

    async fn connected(&self) -> Result<Arc<PartitionClient>, Failure> {
        let mut held = self.client.lock().await;
        if let Some((client, _)) = &*held {
            return Ok(client.clone());
        }
        let (client, generation) = self.connection.client().await?;
        let partition = i32::try_from(self.partition).unwrap_or(i32::MAX);
        let connecting = client.partition_client(&self.topic, partition, UnknownTopicHandling::Error);
        let made = self.connection.watched(generation, limited(connecting)).await?;
        let made = Arc::new(made);
        *held = Some((made.clone(), generation));
        Ok(made)
    }

    /// The result of a call; a failure of the way costs this connection and the client that made it.
    async fn watched<T>(&self, call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let result = call.await;
        if let Err(failure) = &result
            && !matches!(failure, Failure::TooLarge)
            && !failure.is_a_marker()
            && let Some((_, generation)) = self.client.lock().await.take()
        {
            tracing::debug!(
                partition = self.partition,
                "a connection to {} to {} is given up: {failure}",
                self.topic,
                self.purpose
            );
            self.connection.renew(generation).await;
        }
        result
    }
}
