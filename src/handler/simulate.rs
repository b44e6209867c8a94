//! The default handler: it pretends to work, so that a graph can be tried without a data lake.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use rustc_hash::FxHashMap;

use super::{Failure, Handler, Outcome, Task};
use crate::domain::object::ObjectId;

/// The object that fails unless told otherwise.
const DEFAULT_FAIL: ObjectId = ObjectId(2005);

/// The error of a simulated failure, word for word that of the system which korch replaces.
const FORCED_ERROR: &str = "test forcé de objectfailed";

/// Waits, then loads the object or fails it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Simulate {
    /// How long each object takes. None: what is usual for its stage ([`Stage::usual_ms`]). With zero nothing is
    /// waited for at all, not even a turn of the scheduler: a benchmark measures korch and not this handler.
    ///
    /// [`Stage::usual_ms`]: crate::domain::object::Stage::usual_ms
    pub delay: Option<Duration>,
    /// How long some of them take, whatever the others do.
    pub delays: FxHashMap<ObjectId, Duration>,
    /// The objects that fail, at every attempt.
    pub fail: BTreeSet<ObjectId>,
}

impl Default for Simulate {
    fn default() -> Simulate {
        Simulate { delay: None, delays: FxHashMap::default(), fail: BTreeSet::from([DEFAULT_FAIL]) }
    }
}

#[async_trait]
impl Handler for Simulate {
    async fn handle(&self, task: &Task) -> Outcome {
        let own = self.delays.get(&task.object).copied().or(self.delay);
        let delay = own.unwrap_or_else(|| Duration::from_millis(task.stage.usual_ms()));
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if self.fail.contains(&task.object) { Err(Failure::lasting(FORCED_ERROR)) } else { Ok(None) }
    }

    fn is_instant(&self) -> bool {
        self.delay == Some(Duration::ZERO) && self.delays.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::domain::object::Stage;

    fn task(id: u64) -> Task {
        let object = ObjectId(id);
        let stage = Stage::of_id(object).expect("an id of a stage");
        Task {
            object,
            stage,
            run_id: "run".to_owned(),
            attempt: 1,
            entry: None,
            timeout: None,
            degraded: Vec::new(),
        }
    }

    #[test]
    fn without_delay_it_is_done_at_the_first_poll_and_without_a_runtime() {
        let simulate = Simulate { delay: Some(Duration::ZERO), ..Simulate::default() };
        assert!(matches!(simulate.handle(&task(1001)).now_or_never(), Some(Ok(None))));

        let failure = simulate.handle(&task(2005)).now_or_never().expect("done").expect_err("forced");
        let expected =
            Failure { error: "test forcé de objectfailed".to_owned(), retryable: false, stderr: None };
        assert_eq!(failure, expected);
    }

    #[test]
    fn each_stage_takes_its_usual_time_and_a_delay_overrules_it() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let slow = Simulate::default();
            let quick = Simulate { delay: Some(Duration::from_millis(1)), ..Simulate::default() };
            for (id, usual_ms) in [(1001, 500), (2001, 600), (3001, 800)] {
                let task = task(id);
                let at_once = slow.handle(&task).now_or_never();
                assert!(at_once.is_none(), "object {id} waits");
                assert_eq!(task.stage.usual_ms(), usual_ms);
                assert!(quick.handle(&task).await.is_ok());
            }
            let own = [(ObjectId(1001), Duration::ZERO)].into_iter().collect();
            let own = Simulate { delays: own, ..Simulate::default() };
            assert!(own.handle(&task(1001)).now_or_never().is_some(), "it has a delay of its own");
            assert!(own.handle(&task(1002)).now_or_never().is_none());
            assert!(!Simulate { delay: Some(Duration::ZERO), ..own }.is_instant());
        });
    }

    #[test]
    fn the_objects_that_fail_can_be_chosen() {
        let fail = BTreeSet::from([ObjectId(1002)]);
        let simulate = Simulate { delay: Some(Duration::ZERO), fail, ..Simulate::default() };
        assert!(matches!(simulate.handle(&task(1002)).now_or_never(), Some(Err(_))));
        assert!(matches!(simulate.handle(&task(2005)).now_or_never(), Some(Ok(None))));
    }
}
