//! The time limit of an attempt, whatever the work is.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Failure, Handler, Outcome, Task};

/// Ends the attempts of another handler when their time is up: the task's own, else the one that is given here.
///
/// To drop is to stop, so one limit serves all work. What is dropped has no last word, though: a handler that wants one
/// ([`Handler::keeps_time`]) is told the limit and keeps to it by itself.
pub struct Timed {
    handler: Arc<dyn Handler>,
    timeout: Option<Duration>,
}

impl Timed {
    /// Attempts of `handler` take at most `timeout`, where their task does not say otherwise.
    pub fn new(handler: Arc<dyn Handler>, timeout: Option<Duration>) -> Timed {
        Timed { handler, timeout }
    }
}

#[async_trait]
impl Handler for Timed {
    async fn handle(&self, task: &Task) -> Outcome {
        let Some(timeout) = task.timeout.or(self.timeout) else {
            return self.handler.handle(task).await;
        };
        if self.handler.keeps_time() {
            let task = Task { timeout: Some(timeout), ..task.clone() };
            return self.handler.handle(&task).await;
        }
        let ended = tokio::time::timeout(timeout, self.handler.handle(task)).await;
        ended.unwrap_or_else(|_| Err(Failure::late(timeout)))
    }

    fn is_instant(&self) -> bool {
        self.handler.is_instant()
    }

    fn keeps_time(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::object::{ObjectId, Stage};
    use crate::handler::simulate::Simulate;

    const LONG: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(1);

    async fn check(delay: Duration, own: Option<Duration>, of_task: Option<Duration>, error: Option<&str>) {
        let simulate = Simulate { delay: Some(delay), fail: Default::default(), ..Simulate::default() };
        let task = Task {
            object: ObjectId(1001),
            stage: Stage::Ingest,
            run_id: "run".to_owned(),
            attempt: 1,
            entry: None,
            timeout: of_task,
            degraded: Vec::new(),
        };
        let failure = Timed::new(Arc::new(simulate), own).handle(&task).await.err();
        assert!(failure.as_ref().is_none_or(|failure| failure.retryable));
        assert_eq!(failure.map(|failure| failure.error).as_deref(), error, "{delay:?} {own:?} {of_task:?}");
    }

    #[tokio::test]
    async fn an_attempt_ends_at_its_limit_and_the_task_s_own_comes_first() {
        check(LONG, Some(SHORT), None, Some("timeout after 1ms")).await;
        check(LONG, Some(LONG), Some(SHORT), Some("timeout after 1ms")).await;
        check(LONG, None, Some(SHORT), Some("timeout after 1ms")).await;
        check(SHORT, None, None, None).await;
        check(SHORT, Some(LONG), None, None).await;
        check(Duration::ZERO, Some(Duration::ZERO), None, None).await;
        check(Duration::from_millis(20), Some(SHORT), Some(LONG), None).await;
    }
}
