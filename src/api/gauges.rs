//! The gauges of the run: how long it has been going on, and how long it had to take.
//!
//! Set when somebody asks for the metrics, from the fold, so that every process that serves them says the same, after a restart too.

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::domain::estimate::{self, Durations};
use crate::domain::event::RunId;
use crate::domain::history::History;
use crate::domain::run::Run;
use crate::summary;
use crate::telemetry;
use crate::view::{Known, View};

/// What need not be worked out at each scrape.
#[derive(Default)]
pub(super) struct RunGauges(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    run: Option<RunId>,
    /// Once it is over: by what it measured, with the slots of that time.
    final_bound_seconds: Option<f64>,
}

impl RunGauges {
    /// Sets the gauges of all that is known.
    pub(super) fn set(&self, view: &View) {
        let now = view.now();
        view.read(|known| {
            let run = shown(&known.history);
            let is_over = run.is_some_and(|run| run.finished.is_some());
            telemetry::gauges(run.and_then(Run::board), is_over, &known.members, now);
            if let Some(run) = run {
                self.set_run(known, run, view);
            }
        });
    }

    fn set_run(&self, known: &Known, run: &Run, view: &View) {
        let (Some(board), Some(planned_at)) = (run.board(), run.planned_at) else { return };
        let mut kept = self.0.lock();
        if kept.run != Some(run.id) {
            *kept = Kept { run: Some(run.id), final_bound_seconds: None };
        }
        let at = run.finished.as_ref().map_or_else(Timestamp::now, |(at, _)| *at);
        let bound_seconds = if run.finished.is_some() {
            let bound = || summary::lower_bound_seconds(run, summary::slots(&known.members));
            *kept.final_bound_seconds.get_or_insert_with(bound)
        } else {
            let durations = Durations::of(board).or_so_far(board, at);
            let slots = estimate::slots(&known.members, view.now());
            let ms = estimate::estimate(board, &durations, slots, at).lower_bound_ms;
            std::time::Duration::from_millis(ms).as_secs_f64()
        };
        telemetry::run(at.duration_since(planned_at).as_secs_f64().max(0.0), bound_seconds);
    }
}

/// The run that the gauges are of: the one that goes on, else the one that was planned last.
fn shown(history: &History) -> Option<&Run> {
    history.active().filter(|run| run.board().is_some()).or_else(|| history.latest_planned())
}
