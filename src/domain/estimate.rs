//! When a run will be over: what is left of it, laid on the slots that there are, most urgent first, as the scheduler would.
//!
//! How long an object takes is what this run measured, else what an earlier one did, else what its stage usually takes.
//! Pure: it reads no clock and guesses nothing about failures to come.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use jiff::Timestamp;

use super::attempt::Phase;
use super::board::Board;
use super::history::History;
use super::member::{Members, Mono, WorkerState};
use super::object::{ObjectId, Stage};
use super::run::Run;

/// A running object that has taken longer than expected is expected to take this much of its time once more.
const OVERTIME: f64 = 0.1;

/// How long each object of a plan is expected to take, in milliseconds, by its position.
#[derive(Clone, Debug)]
pub struct Durations(Vec<u64>);

/// How many objects each stage can run at once; none: nobody knows, because strangers serve it.
pub type Slots = [Option<u32>; Stage::ALL.len()];

/// When a run will be over.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// In so many milliseconds it is over. None: nobody serves a stage that has objects left.
    pub remaining_ms: Option<u64>,
    /// No run of this plan with these slots can be faster, from its plan to its end, in milliseconds.
    pub lower_bound_ms: u64,
    /// The longest chain of objects that wait for one another, as positions, first to last.
    pub critical_path: Vec<usize>,
}

/// What earlier runs measured of the objects of this plan, in milliseconds: the latest run that loaded an object counts.
pub fn earlier_ms(history: &History, run: &Run) -> Vec<Option<u64>> {
    let Some(board) = run.board() else { return Vec::new() };
    let mut earlier: Vec<&Run> = history.runs().into_iter().filter(|other| other.id != run.id).collect();
    earlier.retain(|other| other.planned_at.is_some() && other.planned_at < run.planned_at);
    earlier.sort_by_key(|other| Reverse(other.planned_at));
    let measured = |id: ObjectId| {
        earlier.iter().find_map(|other| {
            let board = other.board()?;
            measured_ms(board, board.position(id)?)
        })
    };
    board.objects().iter().map(|object| measured(object.id)).collect()
}

fn measured_ms(board: &Board, i: usize) -> Option<u64> {
    board.attempts(i).loaded()?.duration_seconds.map(ms)
}

/// For how long the last attempt of an object has been running.
fn ran_ms(board: &Board, i: usize, now: Timestamp) -> u64 {
    let assigned = board.attempts(i).last().and_then(|last| last.assignment);
    let ran = assigned.map_or(0.0, |assigned| now.duration_since(assigned.at).as_secs_f64());
    ms(ran.max(0.0))
}

fn ms(seconds: f64) -> u64 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
    let ms = (seconds * 1000.0).round().clamp(0.0, 1e12) as u64;
    ms
}

impl Durations {
    /// What is expected of each object; `earlier` is what earlier runs measured, by position, and may be empty.
    pub fn of(board: &Board, earlier: &[Option<u64>]) -> Durations {
        let measured: Vec<Option<u64>> =
            (0..board.len()).map(|i| measured_ms(board, i).or(earlier.get(i).copied().flatten())).collect();
        let mut sums = [(0_u64, 0_u64); Stage::ALL.len()];
        for (ms, object) in measured.iter().zip(board.objects()) {
            if let Some(ms) = ms {
                let (sum, count) = &mut sums[object.stage.index()];
                (*sum, *count) = (sum.saturating_add(*ms), *count + 1);
            }
        }
        let usual = |stage: Stage| {
            let (sum, count) = sums[stage.index()];
            sum.checked_div(count).unwrap_or(stage.usual_ms())
        };
        let usual = Stage::ALL.map(usual);
        let expected = measured.iter().zip(board.objects());
        Durations(expected.map(|(ms, object)| ms.unwrap_or(usual[object.stage.index()])).collect())
    }

    /// The same, where an object that nobody ever measured takes at least as long as it has been running by now: its stage's
    /// usual time says little of it.
    #[must_use]
    pub fn or_so_far(mut self, board: &Board, earlier: &[Option<u64>], now: Timestamp) -> Durations {
        for (i, expected) in self.0.iter_mut().enumerate() {
            if board.phase(i) == Phase::Running && earlier.get(i).copied().flatten().is_none() {
                *expected = ran_ms(board, i, now).max(*expected);
            }
        }
        self
    }

    /// What is expected of the object at this position, in milliseconds.
    pub fn ms(&self, i: usize) -> u64 {
        self.0.get(i).copied().unwrap_or(0)
    }
}

/// The slots that are there for each stage. A worker of several stages counts with all its slots for each of them.
pub fn slots(members: &Members, now: Mono) -> Slots {
    let mut slots = [0_u32; Stage::ALL.len()];
    for known in members.workers() {
        let heartbeat = &known.heartbeat;
        if heartbeat.state == WorkerState::Up && !heartbeat.foreign && !known.is_silent(now) {
            for stage in &heartbeat.stages {
                slots[stage.index()] = slots[stage.index()].saturating_add(heartbeat.slots);
            }
        }
    }
    slots.map(Some)
}

/// The estimate for a run with this board, at this time. What will never run, because an ancestor failed, takes no time and is
/// on no path.
pub fn estimate(board: &Board, durations: &Durations, slots: Slots, now: Timestamp) -> Estimate {
    let rest = Rest::of(board, durations, slots, now);
    let takes_ms = |i: usize| if rest.doomed[i] { 0 } else { durations.ms(i) };
    let (path_ms, mut critical_path) = board.graph().critical_path(takes_ms);
    // All that comes after something doomed is doomed too.
    critical_path.retain(|&i| !rest.doomed[i]);
    let bound = |stage: Stage| {
        let of_stage = (0..board.len()).filter(|&i| board.object(i).stage == stage);
        let work: u64 = of_stage.map(takes_ms).sum();
        slots[stage.index()].filter(|&slots| slots > 0).map_or(0, |slots| work / u64::from(slots))
    };
    let lower_bound_ms = Stage::ALL.into_iter().map(bound).fold(path_ms, u64::max);
    Estimate { remaining_ms: rest.run(), lower_bound_ms, critical_path }
}

/// What is left of a run, on a virtual clock that starts at 0.
struct Rest<'a> {
    board: &'a Board,
    durations: &'a Durations,
    /// How many of its parents each object waits for.
    unmet: Vec<u32>,
    /// Never to run: an ancestor failed.
    doomed: Vec<bool>,
    free: Slots,
    /// Ready objects by stage, the most urgent first.
    ready: [BinaryHeap<Reverse<(u32, usize)>>; Stage::ALL.len()],
    /// Running objects by their end.
    ends: BinaryHeap<Reverse<(u64, usize)>>,
}

impl<'a> Rest<'a> {
    fn of(board: &'a Board, durations: &'a Durations, slots: Slots, now: Timestamp) -> Rest<'a> {
        let n = board.len();
        let mut rest = Rest {
            board,
            durations,
            unmet: vec![0; n],
            doomed: vec![false; n],
            free: slots,
            ready: Default::default(),
            ends: BinaryHeap::new(),
        };
        for &i in board.graph().order() {
            let i = i as usize;
            let phase = board.phase(i);
            rest.doomed[i] = phase.dooms_children()
                || (phase == Phase::Waiting && board.parents(i).any(|parent| rest.doomed[parent]));
            let unmet = board.parents(i).filter(|&parent| board.phase(parent) != Phase::Loaded).count();
            rest.unmet[i] = u32::try_from(unmet).unwrap_or(u32::MAX);
            if rest.doomed[i] {
                continue;
            }
            match phase {
                Phase::Running => {
                    rest.take_slot(board.object(i).stage);
                    rest.ends.push(Reverse((rest.left_ms(i, now), i)));
                }
                Phase::Ready | Phase::Retrying => rest.offer(i),
                Phase::Waiting if unmet == 0 => rest.offer(i),
                _ => {}
            }
        }
        rest
    }

    /// How much longer a running object is expected to run.
    fn left_ms(&self, i: usize, now: Timestamp) -> u64 {
        let expected = self.durations.ms(i);
        let ran = ran_ms(self.board, i, now);
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let overtime = (expected as f64 * OVERTIME) as u64;
        expected.checked_sub(ran).unwrap_or(overtime)
    }

    fn offer(&mut self, i: usize) {
        self.ready[self.board.object(i).stage.index()].push(Reverse((self.board.rank(i), i)));
    }

    fn take_slot(&mut self, stage: Stage) {
        if let Some(free) = &mut self.free[stage.index()] {
            *free = free.saturating_sub(1);
        }
    }

    /// Starts whatever has a slot.
    fn fill(&mut self, now_ms: u64) {
        for stage in Stage::ALL {
            while self.free[stage.index()].is_none_or(|free| free > 0) {
                let Some(Reverse((_, i))) = self.ready[stage.index()].pop() else { break };
                self.take_slot(stage);
                self.ends.push(Reverse((now_ms.saturating_add(self.durations.ms(i)), i)));
            }
        }
    }

    /// Runs it to its end; none: something is left that nobody serves.
    fn run(mut self) -> Option<u64> {
        let mut now_ms = 0;
        loop {
            self.fill(now_ms);
            let Some(Reverse((at, i))) = self.ends.pop() else { break };
            now_ms = at;
            if let Some(free) = &mut self.free[self.board.object(i).stage.index()] {
                *free += 1;
            }
            for child in self.board.children(i) {
                self.unmet[child] = self.unmet[child].saturating_sub(1);
                if self.unmet[child] == 0 && !self.doomed[child] && self.board.phase(child) == Phase::Waiting
                {
                    self.offer(child);
                }
            }
        }
        self.ready.iter().all(BinaryHeap::is_empty).then_some(now_ms)
    }
}
