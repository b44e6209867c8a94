//! A cluster that exists only in this process, and fails on demand: no Java, no data, no wait.

use std::time::Duration;

use rdkafka::mocking::{MockCluster, MockCoordinator};
use rdkafka::producer::DefaultProducerContext;

/// The request that an error is for.
pub use rdkafka::types::RDKafkaApiKey as Api;
/// The error that a broker answers with.
pub use rdkafka::types::RDKafkaRespErr as Refusal;

/// A cluster of brokers that are not there.
pub struct Mock {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Mock {
    pub fn start(brokers: i32) -> Mock {
        Mock { cluster: MockCluster::new(brokers).unwrap() }
    }

    pub fn bootstrap(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    pub fn create_topic(&self, name: &str, partitions: i32) {
        self.cluster.create_topic(name, partitions, 1).unwrap();
    }

    /// The next requests of this kind are answered with these errors, in this order; then all is well.
    pub fn refuse(&self, api: Api, errors: &[Refusal]) {
        self.cluster.request_errors(api, errors);
    }

    pub fn accept(&self, api: Api) {
        self.cluster.clear_request_errors(api);
    }

    /// Every request about this topic fails so, until `RD_KAFKA_RESP_ERR_NO_ERROR`.
    pub fn refuse_topic(&self, topic: &str, error: Refusal) {
        self.cluster.topic_error(topic, error).unwrap();
    }

    /// None: the partition has no leader.
    pub fn lead(&self, topic: &str, partition: i32, broker: Option<i32>) {
        self.cluster.partition_leader(topic, partition, broker).unwrap();
    }

    /// Ends the broker's connections and takes no new one.
    pub fn down(&self, broker: i32) {
        self.cluster.broker_down(broker).unwrap();
    }

    pub fn up(&self, broker: i32) {
        self.cluster.broker_up(broker).unwrap();
    }

    /// Each answer of this broker comes so late.
    pub fn delay(&self, broker: i32, round_trip: Duration) {
        self.cluster.broker_round_trip_time(broker, round_trip).unwrap();
    }

    /// The broker that coordinates a group.
    pub fn coordinate(&self, group: &str, broker: i32) {
        self.cluster.coordinator(MockCoordinator::Group(group.to_owned()), broker).unwrap();
    }

    /// The versions of a request that every broker speaks.
    pub fn speak(&self, api: Api, versions: std::ops::RangeInclusive<i16>) {
        self.cluster.apiversion(api, Some(*versions.start()), Some(*versions.end())).unwrap();
    }
}
