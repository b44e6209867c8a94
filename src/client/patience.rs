//! How long an API that went away is waited for.

use std::time::{Duration, Instant};

use super::http::Failure;
use crate::telemetry;

/// The wait for an API that may come back.
pub(super) struct Patience {
    limit: Duration,
    away_since: Option<Instant>,
}

impl Patience {
    pub(super) fn new(limit: Duration) -> Patience {
        Patience { limit, away_since: None }
    }

    /// Notes that it answers.
    pub(super) fn answered(&mut self) {
        self.away_since = None;
    }

    /// Notes that it does not: the first time that is said, and once the limit has passed it is the end.
    pub(super) fn failed(&mut self, failure: Failure) -> Result<(), Failure> {
        match self.away_since {
            None => {
                telemetry::say_to_people(format_args!(
                    "{failure}; trying again for {} s",
                    self.limit.as_secs()
                ));
                self.away_since = Some(Instant::now());
                Ok(())
            }
            Some(since) if since.elapsed() > self.limit => Err(failure),
            Some(_) => Ok(()),
        }
    }
}
