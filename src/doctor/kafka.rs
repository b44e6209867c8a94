//! The brokers and the topics.

use super::{Finding, Findings};
use crate::client::text::counted;
use crate::log::kafka::{Kafka, Settings, Topic};
use crate::log::{Log, LogError};

/// Looks at both topics, and makes neither.
pub(super) async fn look(settings: Settings, events: Topic, members: Topic) -> Vec<Finding> {
    let mut findings = Findings::of("kafka");
    let brokers = settings.brokers.join(", ");
    let start = "docker compose up -d kafka, then docker compose logs kafka; --without kafka leaves it out";
    let kafka = match Kafka::new(settings) {
        Ok(kafka) => kafka,
        Err(error) => {
            findings.fail(brokers, error.to_string(), "name a file that korch can read");
            return findings.list;
        }
    };
    let there = match kafka.find(&[&events, &members]).await {
        Ok(there) => there,
        Err(error) => {
            findings.fail(brokers, error.to_string(), start);
            return findings.list;
        }
    };
    findings.ok(brokers, "answers");
    for (topic, partitions) in [events, members].into_iter().zip(there) {
        let check = format!("topic {}", topic.name);
        match partitions {
            None => findings.fail(
                check,
                "there is none, or this user may not see it",
                "`korch orchestrate` makes it when it starts; docs/operations.md says how to make it by hand, and which rights each role needs",
            ),
            Some(partitions) if topic.exactly && partitions != topic.partitions => findings.fail(
                check,
                format!("it has {partitions} partitions instead of {}", topic.partitions),
                "its order is everyone's: end every korch, delete it, and start again",
            ),
            Some(partitions) => match records(&kafka, topic).await {
                Ok(records) => findings.ok(
                    check,
                    format!(
                        "{}, {}",
                        counted(u64::from(partitions), "partition", "partitions"),
                        counted(records, "record", "records")
                    ),
                ),
                Err(error) => findings.fail(check, error.to_string(), "look at the brokers' own log"),
            },
        }
    }
    findings.list
}

/// How many records a topic that is there holds, the marks of transactions among them.
async fn records(kafka: &Kafka, topic: Topic) -> Result<u64, LogError> {
    let log = kafka.open(topic, "/korch/doctor").await?;
    let (starts, ends) = (log.starts().await?, log.ends().await?);
    Ok(ends.iter().zip(&starts).map(|(end, start)| end.saturating_sub(*start)).sum())
}
