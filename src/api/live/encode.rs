//! How a run is told: its line, and the stories of its objects as rows of numbers.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use jiff::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;

use crate::api::views::{EstimateView, LiveRun};
use crate::domain::attempt::Phase;
use crate::domain::board::Board;
use crate::domain::estimate::{self, Durations};
use crate::domain::event::{MarkedAs, RunId};
use crate::domain::run::{PlanKey, Run};
use crate::view::{Known, View};

/// The end is estimated anew no more often than this, …
const ESTIMATE_PACE: Duration = Duration::from_secs(1);
/// … and takes no more than one part in so many of the time.
const ESTIMATE_SHARE: u32 = 20;
/// More names of workers than this are a stranger's invention: those beyond are not told.
const MOST_NAMES: usize = 10_000;
/// What an object is that a run's end left behind.
const CANCELLED: u8 = Phase::ALL.len() as u8;

/// A message of the stream.
pub(super) fn frame(event: &str, id: Option<&str>, data: &str) -> Bytes {
    let id = id.map_or(String::new(), |id| format!("id: {id}\n"));
    Bytes::from(format!("event: {event}\n{id}data: {data}\n\n"))
}

/// JSON on one line.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| {
        tracing::error!("what viewers see is not JSON: {error}");
        "null".into()
    })
}

/// What there is to say of an object beside its story, as a sum: 1 it was loaded, or is to be, with an older version of
/// something before it; 2 an earlier run's version counts as this run's; 4 somebody marked it as loaded; 8 as failed.
fn badges_of(board: &Board, i: usize) -> u8 {
    let attempts = board.attempts(i);
    let marked = attempts.marked().map_or(0, |mark| match mark.state {
        MarkedAs::Loaded => 4,
        MarkedAs::Failed => 8,
    });
    u8::from(!attempts.degraded().is_empty()) | (u8::from(attempts.reused().is_some()) << 1) | marked
}

/// What is new of a run.
pub(super) struct News {
    /// Where it stands.
    pub(super) line: Bytes,
    /// What was told of its objects is void.
    pub(super) anew: bool,
    /// The stories that changed.
    pub(super) changes: Option<String>,
}

/// What was told of one run.
#[derive(Default)]
pub(super) struct Encoder {
    plan: Option<PlanKey>,
    /// Up to which change of its board.
    place: u64,
    /// Its end was told.
    over: bool,
    names: Names,
    estimate: Option<EstimateView>,
    estimated: Option<(Instant, Duration)>,
}

/// The names of workers, by number.
#[derive(Default)]
struct Names {
    names: Vec<Arc<str>>,
    numbers: FxHashMap<Arc<str>, i32>,
    told: usize,
}

impl Names {
    fn number(&mut self, name: &Arc<str>) -> i32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        if self.names.len() >= MOST_NAMES {
            return -1;
        }
        let number = i32::try_from(self.names.len()).unwrap_or(-1);
        self.names.push(name.clone());
        self.numbers.insert(name.clone(), number);
        number
    }

    /// `[[0,"name"],…]` from this number on.
    fn json(&self, from: usize) -> String {
        json(&self.names.iter().enumerate().skip(from).collect::<Vec<_>>())
    }
}

impl Encoder {
    /// What is new since the last look; none: there is no such run.
    pub(super) fn look(&mut self, view: &View, id: RunId) -> Option<News> {
        view.read(|known| {
            let Some(run) = known.history.run(id) else {
                let summary = known.history.summaries().rev().find(|summary| summary.run_id == id)?;
                let line = frame("run", None, &json(&LiveRun::of_summary(summary)));
                return Some(News { line, anew: self.plan.take().is_some(), changes: None });
            };
            let mut anew = false;
            if self.plan != run.plan_key() {
                *self = Encoder { plan: run.plan_key(), ..Encoder::default() };
                anew = true;
            }
            let ended = run.finished.is_some() && !self.over;
            self.estimate(known, run, view, anew || ended);
            let line = frame("run", None, &json(&LiveRun::of(run, self.estimate.as_ref(), Timestamp::now())));
            let Some(board) = run.board() else { return Some(News { line, anew, changes: None }) };
            let mut changed: Vec<usize> = Vec::new();
            if !anew {
                match board.changes_since(self.place) {
                    None => anew = true,
                    Some(changes) => {
                        let mut seen = FxHashSet::default();
                        changed.extend(changes.filter(|&i| seen.insert(i)));
                        if ended {
                            let left = (0..board.len()).filter(|&i| !board.phase(i).is_final());
                            changed.extend(left.filter(|&i| seen.insert(i)));
                        }
                    }
                }
            }
            (self.place, self.over) = (board.changed(), run.finished.is_some());
            let changes = (!changed.is_empty()).then(|| {
                let stories = self.stories(run, board, changed.into_iter(), false);
                self.names.told = self.names.names.len();
                stories
            });
            Some(News { line, anew, changes })
        })
    }

    /// The stories of every object that has one. None: the plan is another one by now.
    pub(super) fn whole(&mut self, view: &View, id: RunId) -> Option<String> {
        view.read(|known| {
            let run = known.history.run(id)?;
            let board = run.board().filter(|_| run.plan_key() == self.plan)?;
            let with_story = |i: &usize| run.finished.is_some() || board.phase(*i) != Phase::Waiting;
            Some(self.stories(run, board, (0..board.len()).filter(with_story), true))
        })
    }

    fn stories(
        &mut self,
        run: &Run,
        board: &Board,
        objects: impl Iterator<Item = usize>,
        whole: bool,
    ) -> String {
        let end = run.finished.as_ref().map(|(at, _)| at.as_millisecond());
        let mut rows = String::new();
        let (mut badges, mut tries) = (Vec::new(), Vec::new());
        // Writing to a String cannot fail.
        for i in objects {
            let flags = badges_of(board, i);
            badges.extend((flags > 0).then_some((i, flags)));
            tries.extend(run.next_try_at(board, i).map(|at| (i, at.as_millisecond())));
            let _ = write!(rows, "{}[{i}", if rows.is_empty() { "" } else { "," });
            for step in board.attempts(i).story(board.rules().retries) {
                let worker = step.attempt.filter(|_| step.phase != Phase::Ready).and_then(|attempt| {
                    let assigned =
                        attempt.assignment.and_then(|assignment| run.worker_name(assignment.instance));
                    assigned.or_else(|| attempt.answer.as_ref()?.worker.as_ref())
                });
                // What is reused was loaded before the run began.
                let at = run.planned_at.map_or(step.at, |planned| planned.max(step.at));
                let (at, phase) = (at.as_millisecond(), step.phase as u8);
                let number = step.attempt.map_or(0, |attempt| attempt.number);
                let worker = worker.map_or(-1, |name| self.names.number(name));
                let _ = write!(rows, ",{at},{phase},{number},{worker}");
            }
            if let Some(end) = end
                && !board.phase(i).is_final()
            {
                let _ = write!(rows, ",{end},{CANCELLED},0,-1");
            }
            rows.push(']');
        }
        let names = self.names.json(if whole { 0 } else { self.names.told });
        let plan = self.plan.map_or(String::new(), |plan| plan.to_string());
        let (badges, tries) = (json(&badges), json(&tries));
        format!(
            r#"{{"plan":"{plan}","whole":{whole},"names":{names},"objects":[{rows}],"badges":{badges},"tries":{tries}}}"#
        )
    }

    /// Estimates the end, where the last estimate is old enough.
    fn estimate(&mut self, known: &Known, run: &Run, view: &View, now: bool) {
        let Some(board) = run.board() else { return };
        let is_due = self.estimated.is_none_or(|(at, cost)| {
            run.finished.is_none() && at.elapsed() >= ESTIMATE_PACE.max(cost * ESTIMATE_SHARE)
        });
        if !is_due && !now {
            return;
        }
        let began = Instant::now();
        let durations = Durations::of(board);
        let slots = estimate::slots(&known.members, view.now());
        let at = Timestamp::now();
        let estimate = estimate::estimate(board, &durations, slots, at);
        self.estimate = Some(EstimateView::of(run, board, &estimate, at));
        self.estimated = Some((began, began.elapsed()));
    }
}
