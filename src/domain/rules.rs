//! By which rules a run goes: how often and when a failure is tried again, what a failure means for the rest, what may run at
//! once. A request asks for some of them, the orchestrator is set to the others, the plan tells all.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

use super::limit::Limit;

/// Nobody waits longer than this for another try.
pub const MAX_BACKOFF: Duration = Duration::from_secs(3600);
/// Times in requests are at most this long.
const MAX_TIME: Duration = Duration::from_secs(10_000 * 3_600);

/// What a failure for good means for the rest of its run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// What needs the object is skipped, everything else goes on.
    #[default]
    Skip,
    /// Nothing more is started: what runs may finish, the rest is skipped.
    Stop,
    /// What needs the object goes on with the version that an earlier run loaded, and is marked as degraded. Where there is
    /// none it is skipped.
    Continue,
}

impl OnFailure {
    /// Every policy.
    pub const ALL: [OnFailure; 3] = [OnFailure::Skip, OnFailure::Stop, OnFailure::Continue];

    /// The name used in flags, events and the API.
    pub fn name(self) -> &'static str {
        match self {
            OnFailure::Skip => "skip",
            OnFailure::Stop => "stop",
            OnFailure::Continue => "continue",
        }
    }
}

impl fmt::Display for OnFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for OnFailure {
    type Err = String;

    fn from_str(text: &str) -> Result<OnFailure, String> {
        OnFailure::ALL
            .into_iter()
            .find(|policy| policy.name() == text)
            .ok_or_else(|| format!("unknown policy {text:?}: it is skip, stop or continue"))
    }
}

/// The rules of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// How often a failed object that is worth it is tried again.
    pub retries: u32,
    /// How long the first of these tries waits; each further one waits twice as long, up to [`MAX_BACKOFF`].
    pub backoff: Duration,
    /// How long an attempt may take; none: as the worker is set.
    pub timeout: Option<Duration>,
    /// What a failure for good means for the rest.
    pub on_failure: OnFailure,
    /// How many objects with something in common may run at once.
    pub limits: Vec<Limit>,
}

/// What a request says of the rules; what it leaves out is as the orchestrator is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RulesAsked {
    /// See [`Rules::retries`].
    pub retries: Option<u32>,
    /// See [`Rules::backoff`].
    pub backoff: Option<Duration>,
    /// See [`Rules::timeout`].
    pub timeout: Option<Duration>,
    /// See [`Rules::on_failure`].
    pub on_failure: Option<OnFailure>,
    /// Limits beside those that hold anyway.
    pub limits: Vec<Limit>,
}

impl Rules {
    /// These rules with what a request asks for. Limits are added, never lifted.
    #[must_use]
    pub fn with(&self, asked: &RulesAsked) -> Rules {
        let mut limits = self.limits.clone();
        limits.extend(asked.limits.iter().filter(|limit| !self.limits.contains(limit)).cloned());
        limits.truncate(super::limit::MAX_LIMITS);
        Rules {
            retries: asked.retries.unwrap_or(self.retries),
            backoff: asked.backoff.unwrap_or(self.backoff),
            timeout: asked.timeout.or(self.timeout),
            on_failure: asked.on_failure.unwrap_or(self.on_failure),
            limits,
        }
    }

    /// How long the try after this many failures waits: twice as long after each, and of that between half and all,
    /// by `seed`, so that objects which failed together do not come back together.
    pub fn wait(&self, failures: u32, seed: u64) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(31));
        let full = self.backoff.saturating_mul(doubled).min(MAX_BACKOFF);
        // The upper bits of a multiplicative hash are well mixed.
        let share = (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u32;
        full / 2 + (full / 2).mul_f64(f64::from(share) / f64::from(1_u32 << 24))
    }
}

/// Reads `500ms`, `10s`, `15m`, `1h30m`.
///
/// # Errors
/// What to write instead.
pub fn read_duration(text: &str) -> Result<Duration, String> {
    let hint = || format!("{text:?} is no duration: write 500ms, 10s or 15m");
    let span: jiff::SignedDuration = text.trim().parse().map_err(|_| hint())?;
    let duration = Duration::try_from(span).map_err(|_| hint())?;
    if duration > MAX_TIME { Err(format!("{text:?} is longer than 10000h")) } else { Ok(duration) }
}

/// A duration as flags and events have it, to the millisecond.
pub fn duration_text(duration: Duration) -> String {
    let ms = duration.as_millis();
    match (ms % 1_000, ms / 1_000) {
        (0, s) if s > 0 && s % 3_600 == 0 => format!("{}h", s / 3_600),
        (0, s) if s > 0 && s % 60 == 0 => format!("{}m", s / 60),
        (0, s) => format!("{s}s"),
        _ => format!("{ms}ms"),
    }
}

/// A duration in JSON, as a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurationText(pub Duration);

impl Serialize for DurationText {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        duration_text(self.0).serialize(out)
    }
}

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<DurationText, D::Error> {
        let text = String::deserialize(from)?;
        read_duration(&text).map(DurationText).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_they_are_read() {
        for text in ["0s", "500ms", "1500ms", "10s", "15m", "90m", "2h", "36h"] {
            assert_eq!(duration_text(read_duration(text).unwrap()), text);
        }
        assert_eq!(duration_text(read_duration("1h30m").unwrap()), "90m");
        for text in ["", "10", "-1s", "soon", "9999999h"] {
            assert!(read_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn waits_double_are_spread_and_end() {
        let rules = Rules { backoff: Duration::from_secs(10), ..Rules::default() };
        for (failures, full) in [(1, 10), (2, 20), (3, 40), (9, 2_560), (10, 3_600), (1_000, 3_600)] {
            let waits: Vec<Duration> = (0..1_000).map(|seed| rules.wait(failures, seed)).collect();
            let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
            let full = Duration::from_secs(full);
            assert!(*least >= full / 2 && *most <= full, "{failures}: {least:?} to {most:?}");
            assert!(
                *least < full.mul_f64(0.55) && *most > full.mul_f64(0.95),
                "{failures}: {least:?} to {most:?}"
            );
        }
        assert_eq!(Rules::default().wait(3, 7), Duration::ZERO);
    }

    #[test]
    fn a_request_changes_what_it_names_and_lifts_no_limit() {
        let limit = |text: &str| text.parse::<Limit>().unwrap();
        let set = Rules { retries: 2, limits: vec![limit("source=Sage:2")], ..Rules::default() };
        assert_eq!(set.with(&RulesAsked::default()), set);
        let asked = RulesAsked {
            retries: Some(0),
            on_failure: Some(OnFailure::Stop),
            limits: vec![limit("source=Sage:2"), limit("source=Sage:9")],
            ..RulesAsked::default()
        };
        let rules = set.with(&asked);
        assert_eq!((rules.retries, rules.on_failure), (0, OnFailure::Stop));
        assert_eq!(rules.limits, [limit("source=Sage:2"), limit("source=Sage:9")]);
    }
}
