//! Simulated work: it takes its time, and some of it fails.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;

use super::{Failure, Handler, Outcome, Task};
use crate::domain::object::ObjectId;

/// The error of an object that fails in simulation, to the letter of the system that korch replaces.
const ERROR: &str = "test forcé de objectfailed";

/// Work that only takes time.
#[derive(Clone, Debug)]
pub struct Simulate {
    delay: Option<Duration>,
    fail: BTreeSet<ObjectId>,
}

impl Simulate {
    /// Work of this length, else of the stage's usual one; the objects of `fail` fail after it.
    pub fn new(delay: Option<Duration>, fail: impl IntoIterator<Item = ObjectId>) -> Simulate {
        Simulate { delay, fail: fail.into_iter().collect() }
    }
}

#[async_trait]
impl Handler for Simulate {
    async fn handle(&self, task: &Task) -> Outcome {
        let delay = self.delay.unwrap_or(Duration::from_millis(task.stage.usual_ms()));
        // A timer of zero would still wait for the clock's next tick.
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if self.fail.contains(&task.object) {
            return Err(Failure { error: ERROR.into(), retryable: false, stderr: None });
        }
        Ok(None)
    }

    fn is_instant(&self) -> bool {
        self.delay == Some(Duration::ZERO)
    }
}
