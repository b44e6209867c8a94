//! A topic, made where it is absent.

use std::time::Duration;

use rskafka::client::error::{Error, ProtocolError};

use super::connection::{Connection, Failure, limited};
use crate::log::LogError;

/// A broker may take so long to make a topic.
const MAKE_LIMIT_MS: i32 = 5_000;
/// A topic that was made just now may take a moment until every broker knows of it.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A topic, and how it is made where it is absent.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// How many partitions to make; one that exists keeps its own.
    pub partitions: u32,
    /// How many copies of each; none: as the broker is set.
    pub replication: Option<u16>,
    /// The number of partitions is a promise, and one that has another is refused.
    pub exactly: bool,
}

/// How many partitions the topic has. Tries until it is dropped: `last` says what the last try met.
pub(super) async fn find_or_make(
    connection: &Connection,
    topic: &Topic,
    last: &mut Failure,
) -> Result<u32, LogError> {
    let mut made = false;
    loop {
        let failure = match find(connection, topic).await {
            Ok(Some(partitions)) if topic.exactly && partitions != topic.partitions => {
                return Err(LogError::Unreachable(format!(
                    "the topic {} has {partitions} partitions, it must have {}: its order is everyone's. \
                     Delete it while no korch runs, or name another",
                    topic.name, topic.partitions
                )));
            }
            Ok(Some(partitions)) => return Ok(partitions),
            Ok(None) if made => None,
            Ok(None) => match make(connection, topic).await {
                Ok(()) => {
                    made = true;
                    None
                }
                Err(failure) => Some(failure),
            },
            Err(failure) => Some(failure),
        };
        match failure {
            // The first failure tells enough: this is the start of a process, and somebody waits for it.
            Some(failure) if !failure.may_pass() => return Err(connection.unreachable(&failure)),
            failure => {
                if let Some(failure) = failure {
                    *last = failure;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }
}

/// How many partitions the topic has; none: there is no such topic.
pub(super) async fn find(connection: &Connection, topic: &Topic) -> Result<Option<u32>, Failure> {
    let (client, generation) = connection.client().await?;
    let topics = connection.watched(generation, limited(client.list_topics())).await?;
    let found = topics.into_iter().find(|found| found.name == topic.name && !found.partitions.is_empty());
    Ok(found.map(|found| u32::try_from(found.partitions.len()).unwrap_or(u32::MAX)))
}

async fn make(connection: &Connection, topic: &Topic) -> Result<(), Failure> {
    let (client, generation) = connection.client().await?;
    let controller = client.controller_client().map_err(Failure::of)?;
    let replication = topic.replication.map_or(-1, |copies| i16::try_from(copies).unwrap_or(i16::MAX));
    let partitions = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
    let making = controller.create_topic(&topic.name, partitions, replication, MAKE_LIMIT_MS);
    match connection.watched(generation, limited(making)).await {
        Err(Failure::Kafka(Error::ServerError {
            protocol_error: ProtocolError::TopicAlreadyExists, ..
        })) => Ok(()),
        Err(Failure::Kafka(Error::ServerError {
            protocol_error: ProtocolError::InvalidReplicationFactor,
            error_message,
            ..
        })) => Err(Failure::Refused(format!(
            "it cannot make the topic {}: {}. --replication says how many copies",
            topic.name,
            error_message.as_deref().unwrap_or("it has too few brokers for so many copies")
        ))),
        made => {
            if made.is_ok() {
                tracing::info!(partitions, "made the topic {}", topic.name);
            }
            made
        }
    }
}
