//! Until when a process has heard its log, and whether the log takes what it says: what its readiness is told by.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A log that has not answered for so long is away.
const SILENCE: Duration = Duration::from_secs(5);
/// No instant: nothing has been heard yet.
const NEVER: u64 = u64::MAX;

/// Until when the log has been heard. Shared by whoever reads it and whoever is asked for it.
#[derive(Debug)]
pub struct Hearing {
    origin: Instant,
    /// In microseconds since the origin.
    until_us: AtomicU64,
    /// Why something that was said is not taken, by what it is.
    refused: Mutex<BTreeMap<&'static str, String>>,
}

impl Default for Hearing {
    fn default() -> Hearing {
        Hearing { origin: Instant::now(), until_us: AtomicU64::new(NEVER), refused: Mutex::default() }
    }
}

impl Hearing {
    /// Notes until when the log has been heard.
    pub fn note(&self, instant: Option<Instant>) {
        if let Some(instant) = instant {
            let us = instant.saturating_duration_since(self.origin).as_micros();
            self.until_us.store(u64::try_from(us).unwrap_or(NEVER - 1), Ordering::Relaxed);
        }
    }

    /// Notes what came of saying something to the log; none: it was taken.
    pub fn said(&self, what: &'static str, refusal: Option<&str>) {
        let mut refused = self.refused.lock();
        match refusal {
            Some(why) => drop(refused.insert(what, why.to_owned())),
            None => drop(refused.remove(what)),
        }
    }

    /// Why the process is not ready, for people; none: it is.
    pub fn trouble(&self) -> Option<String> {
        if let Some((what, why)) = self.refused.lock().first_key_value() {
            return Some(format!("the log does not take {what}: {why}"));
        }
        let until_us = self.until_us.load(Ordering::Relaxed);
        if until_us == NEVER {
            return Some("the log is not yet read to its end, or cannot be reached".into());
        }
        let silence = self.origin.elapsed().saturating_sub(Duration::from_micros(until_us));
        let seconds = silence.as_secs();
        (silence > SILENCE).then(|| format!("the log has not answered for {seconds} s: is Kafka away?"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_away_until_it_is_heard_and_when_it_was_heard_long_ago() {
        let long_ago =
            Instant::now().checked_sub(2 * SILENCE).expect("a machine that has been up for ten seconds");
        let hearing = Hearing { origin: long_ago, ..Hearing::default() };
        assert!(hearing.trouble().expect("a reason").contains("not yet read"));
        hearing.note(None);
        assert!(hearing.trouble().is_some());
        hearing.note(Some(Instant::now()));
        assert_eq!(hearing.trouble(), None);
        hearing.said("answers", Some("no right to"));
        assert_eq!(hearing.trouble().as_deref(), Some("the log does not take answers: no right to"));
        hearing.said("heartbeats", None);
        assert!(hearing.trouble().is_some());
        hearing.said("answers", None);
        assert_eq!(hearing.trouble(), None);
        hearing.note(Some(long_ago));
        assert!(hearing.trouble().expect("a reason").contains("is Kafka away?"));
    }
}
