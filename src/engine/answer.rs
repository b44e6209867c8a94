//! What the end of an attempt becomes on the wire.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::event::AnswerMeta;
use crate::handler::Outcome;

/// The `meta` of an answer, and whether it says that the object failed.
pub(super) fn meta(
    worker: &str,
    started_at: Timestamp,
    took: Duration,
    outcome: Outcome,
) -> (AnswerMeta, bool) {
    let mut meta = AnswerMeta {
        worker: Some(worker.to_owned()),
        started_at: Some(started_at),
        duration_seconds: Some((took.as_secs_f64() * 1e6).round() / 1e6),
        ..AnswerMeta::default()
    };
    let failed = outcome.is_err();
    match outcome {
        Ok(result) => meta.result = result.map(Arc::from),
        Err(failure) => {
            meta.error = Some(failure.error);
            meta.retryable = Some(failure.retryable);
            meta.stderr = failure.stderr;
        }
    }
    (meta, failed)
}
