//! When a run will be over: what is left of it, laid on the slots that there are, most urgent first, as the scheduler would.
//!
//! How long an object takes is what this run measured, else what an earlier one did, which the plan says, else what its stage
//! usually takes. Pure: it reads no clock and guesses nothing about failures to come.

use jiff::Timestamp;

use super::attempt::Phase;
use super::board::Board;
use super::member::{Members, Mono, WorkerState};
use super::object::Stage;
use super::packing::{Line, NEVER, Net, Opening, Packing};

/// A running object that has taken longer than expected is expected to take this much of its time once more.
const OVERTIME: f64 = 0.1;

/// How long each object of a plan is expected to take, in milliseconds, by its position.
#[derive(Clone, Debug)]
pub struct Durations(Vec<u64>);

/// How many objects each stage can run at once; none: nobody knows, because strangers serve it.
pub type Slots = [Option<u32>; Stage::ALL.len()];

/// A number for [`super::rules::Rules::wait`] that makes a wait of about the usual length.
const ORDINARY: u64 = 1;

/// When a run will be over.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// In so many milliseconds it is over. None: nobody serves a stage that has objects left.
    pub remaining_ms: Option<u64>,
    /// No run of this plan with these slots can be faster, from its plan to its end, in milliseconds.
    pub lower_bound_ms: u64,
    /// The longest chain of objects that wait for one another, as positions, first to last.
    pub critical_path: Vec<usize>,
    /// The objects that nobody waits for and that are not through, as positions, and in how many milliseconds each is: the
    /// earliest first. Left out is what will never run, or waits for something that nobody serves.
    pub finals: Vec<(usize, u64)>,
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
    /// What is expected of each object.
    pub fn of(board: &Board) -> Durations {
        let measured: Vec<Option<u64>> =
            (0..board.len()).map(|i| measured_ms(board, i).or(board.object(i).expected_ms)).collect();
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
        let expected = expected.map(|(ms, object)| match object.reused {
            true => 0,
            false => ms.unwrap_or(usual[object.stage.index()]),
        });
        Durations(expected.collect())
    }

    /// The same, where an object that nobody ever measured takes at least as long as it has been running by now: its stage's
    /// usual time says little of it.
    #[must_use]
    pub fn or_so_far(mut self, board: &Board, now: Timestamp) -> Durations {
        for (i, expected) in self.0.iter_mut().enumerate() {
            if board.phase(i) == Phase::Running && board.object(i).expected_ms.is_none() {
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
    let lost = lost(board);
    let takes_ms = |i: usize| if lost[i] { 0 } else { durations.ms(i) };
    let (path_ms, mut critical_path) = board.graph().critical_path(takes_ms);
    critical_path.retain(|&i| !lost[i]);
    let mut work = [0_u64; Stage::ALL.len()];
    for i in 0..board.len() {
        let of_stage = &mut work[board.object(i).stage.index()];
        *of_stage = of_stage.saturating_add(takes_ms(i));
    }
    let bound = |(work, slots): (u64, Option<u32>)| {
        slots.filter(|&slots| slots > 0).map_or(0, |slots| work / u64::from(slots))
    };
    let lower_bound_ms = work.into_iter().zip(slots).map(bound).fold(path_ms, u64::max);

    let net = Net::of(board.graph());
    let packing = Packing { net: &net, ms: &durations.0, classes: board.classes(), slots };
    let ranks: Vec<u64> = (0..board.len()).map(|i| u64::from(board.rank(i))).collect();
    let laid = packing.lay(Line::Keys(&ranks), &opening(board, durations, &lost, now));
    let is_left = |i: &usize| net.children(*i).len() == 0 && laid.ends[*i] != NEVER;
    let mut finals: Vec<(usize, u64)> = (0..board.len()).filter(is_left).map(|i| (i, laid.ends[i])).collect();
    finals.sort_by_key(|&(i, ms)| (ms, std::cmp::Reverse(board.object(i).criticality), i));
    Estimate { remaining_ms: laid.complete.then_some(laid.end_ms), lower_bound_ms, critical_path, finals }
}

/// What is never to run: an ancestor failed, or the run starts nothing more.
fn lost(board: &Board) -> Vec<bool> {
    let mut lost = vec![false; board.len()];
    for &i in board.graph().order() {
        let i = i as usize;
        lost[i] = match board.phase(i) {
            Phase::Failed => true,
            Phase::Loaded | Phase::Running => false,
            _ if board.is_stopped() => true,
            // One that was skipped may run after all, once nothing stands in its way any more.
            Phase::Waiting | Phase::Skipped => {
                board.parents(i).any(|parent| lost[parent] && !board.stands_in(parent))
            }
            Phase::Ready | Phase::Retrying => false,
        };
    }
    lost
}

/// How the run stands, for a clock that starts at 0.
fn opening(board: &Board, durations: &Durations, lost: &[bool], now: Timestamp) -> Opening {
    let mut opening = Opening::default();
    for i in 0..board.len() {
        let phase = board.phase(i);
        let waits_for = |parent: &usize| board.phase(*parent) != Phase::Loaded && !lost[*parent];
        let unmet = board.parents(i).filter(waits_for).count();
        opening.unmet.push(u32::try_from(unmet).unwrap_or(u32::MAX));
        opening.out.push(lost[i] || phase == Phase::Loaded || phase == Phase::Running);
        match phase {
            Phase::Running => opening.running.push((left_ms(board, durations, i, now), i)),
            Phase::Retrying if !lost[i] => opening.later.push((wait_ms(board, i, now), i)),
            Phase::Ready => opening.unmet[i] = 0,
            _ => {}
        }
    }
    opening
}

/// How much longer a running object is expected to run.
fn left_ms(board: &Board, durations: &Durations, i: usize, now: Timestamp) -> u64 {
    let expected = durations.ms(i);
    let ran = ran_ms(board, i, now);
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let overtime = (expected as f64 * OVERTIME) as u64;
    expected.checked_sub(ran).unwrap_or(overtime)
}

/// About how much longer a failed object waits for its next try.
fn wait_ms(board: &Board, i: usize, now: Timestamp) -> u64 {
    let attempts = board.attempts(i);
    let failed_at = attempts.last().and_then(|last| Some(last.answer.as_ref()?.at));
    let waited = failed_at.map_or(0.0, |at| now.duration_since(at).as_secs_f64());
    let wait = board.rules().wait(attempts.failures(), ORDINARY);
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_sub(ms(waited.max(0.0)))
}
