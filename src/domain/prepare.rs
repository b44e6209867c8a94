//! What a run is planned with, beside the catalogue: the rules that it goes by, and what the log knows of earlier runs.

use std::time::Duration;

use jiff::Timestamp;

use super::event::{PlannedObject, Request, RunId};
use super::history::History;
use super::retry::{self, NoRetry};
use super::reuse::reuse;
use super::rules::{OnFailure, Rules, RulesAsked};

/// The rules of a run that is asked for, where the orchestrator is set to `set`. A retry goes by those of the run that it
/// repeats, and no limit is lifted.
pub fn rules(history: &History, set: &Rules, request: &Request) -> Rules {
    let old = request.retry_of.and_then(|old| Some(history.run(old)?.board()?.rules()));
    let base = match old {
        Some(old) => old.with(&RulesAsked { limits: set.limits.clone(), ..RulesAsked::default() }),
        None => set.clone(),
    };
    base.with(&request.rules)
}

/// What a retry of a run runs. None: the run is not known, or not any more.
///
/// # Errors
/// Why there is nothing to run.
pub fn again(
    history: &History,
    old: RunId,
    request: &Request,
) -> Option<Result<Vec<PlannedObject>, NoRetry>> {
    Some(retry::again(history.run(old)?.board()?, &request.from))
}

/// Notes of each object what the log knows of earlier loads, as far as this run asks for it; what was loaded less than
/// `fresh` before `now` counts as loaded.
pub fn recall(
    history: &History,
    objects: &mut [PlannedObject],
    rules: &Rules,
    fresh: Option<Duration>,
    now: Timestamp,
) {
    for object in &mut *objects {
        let load = history.last_load(object.id);
        (object.expected_ms, object.last_good, object.reused) = (load.took_ms(), load.good, false);
    }
    if let Some(fresh) = fresh {
        reuse(objects, fresh, now);
    }
    // The log need not say again what nothing in this run asks for.
    let stands_in = rules.on_failure == OnFailure::Continue;
    for object in objects.iter_mut().filter(|object| !object.reused && !stands_in) {
        object.last_good = None;
    }
}
