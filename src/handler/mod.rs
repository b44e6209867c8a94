//! What a worker does with an object.
//!
//! To drop the future of [`Handler::handle`] is to end the work, at once and with everything that it started.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::value::RawValue;

use crate::domain::object::{ObjectId, Stage};

pub mod exec;
pub mod simulate;

/// One attempt at one object.
#[derive(Clone, Debug)]
pub struct Task {
    /// The object.
    pub object: ObjectId,
    /// The stage that serves it.
    pub stage: Stage,
    /// The run.
    pub run_id: String,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The object's entry in the catalogue, JSON on one line.
    pub entry: Option<Arc<str>>,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In one sentence.
    pub error: String,
    /// Whether another try may help.
    pub retryable: bool,
    /// The end of what the work wrote to stderr.
    pub stderr: Option<String>,
}

/// How an attempt went: loaded, with what the handler returned, or not.
pub type Outcome = Result<Option<Box<RawValue>>, Failure>;

/// Work on objects. A handler may run twice for one object, so it must be idempotent.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Works on one object until it is loaded or has failed.
    async fn handle(&self, task: &Task) -> Outcome;

    /// Whether the work is done as soon as it is asked for, so that a task of its own would cost more than it does.
    fn is_instant(&self) -> bool {
        false
    }
}
