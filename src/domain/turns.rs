//! In which order the objects of a run take their turn, where more of them are ready than slots are free.
//!
//! The longest path ahead first is the rule of thumb. Where the durations are known, other orders are tried beside it when
//! a run is planned, each laid on the slots that there are ([`super::packing`]), and the plan says in which turn
//! each object comes in the best of them. Criticality comes first in all of them. Those who came first first is among them, so
//! no run is longer than with that, as long as objects take what is expected; and the order in which the objects of a schedule
//! start, taken as their priority, makes that schedule again.
//!
//! Everything here is counted and not timed, and what looks random has a fixed seed: the same plan comes out everywhere.

use super::board;
use super::estimate::Slots;
use super::event::PlannedObject;
use super::graph::Graph;
use super::limit::Classes;
use super::object::{Criticality, Stage};
use super::packing::{Laid, Line, NEVER, Net, Opening, Packing};
use super::rules::Rules;

/// So many steps, each a look at an object or an edge, may be spent on a plan, …
const MAX_STEPS: usize = 4_000_000;
/// … and so many schedules may be made.
const MAX_SCHEDULES: usize = 300;
/// Of more objects than this not even the first schedules are worth the wait.
const MAX_OBJECTS: usize = 200_000;
/// A schedule that is this close to what no schedule can beat is good enough, in parts of a thousand.
const GOOD_ENOUGH: u64 = 4;
/// So often an order is read backwards and forwards again at the beginning, and after each shake.
const READINGS: usize = 5;
const READINGS_SHAKEN: usize = 2;
/// The next final object is chosen among so many.
const FINALS_COMPARED: usize = 60;
/// Of more objects than this what each one needs in all is not gathered: that grows with their square.
const MAX_GATHERED: usize = 12_000;
/// A path ahead is told apart from others up to this length, in milliseconds: 34 years.
const LONGEST: u64 = (1 << 40) - 1;

/// What no schedule of these objects on these slots can beat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The longest path, in milliseconds.
    pub path_ms: u64,
    /// Each stage's work shared by its slots, in milliseconds.
    pub work_ms: [u64; Stage::ALL.len()],
    /// Beside both: a stage's slots stay empty until its first objects can be ready, and the last of its objects have others
    /// after them. In milliseconds, no less than either.
    pub proven_ms: u64,
}

impl Bounds {
    /// The longest path, or the work of the busiest stage, whichever is longer, in milliseconds.
    pub fn classical_ms(&self) -> u64 {
        self.work_ms.iter().copied().fold(self.path_ms, u64::max)
    }
}

/// Objects that are to be laid on slots.
struct Task<'a> {
    net: Net,
    ms: Vec<u64>,
    stages: Vec<Stage>,
    /// The most critical ones have the smallest.
    urgency: Vec<u8>,
    classes: Classes,
    slots: Slots,
    out: Vec<bool>,
    graph: &'a Graph,
}

/// An order that was tried.
#[derive(Clone, Debug)]
struct Tried {
    laid: Laid,
    end_ms: u64,
}

/// Says in the plan in which turn each object comes, where that is better than the longest path first. Where nobody serves a
/// stage, less than half of the objects were ever measured, or there are very many, nothing is said.
pub fn set(objects: &mut [PlannedObject], rules: &Rules, slots: Slots) {
    for object in objects.iter_mut() {
        object.turn = None;
    }
    let measured = objects.iter().filter(|object| object.expected_ms.is_some()).count();
    if 2 * measured < objects.len() || objects.len() > MAX_OBJECTS || slots.contains(&Some(0)) {
        return;
    }
    let Some(graph) = board::graph_of(objects) else { return };
    let Some(turns) = Task::of(objects, &graph, rules, slots).best() else { return };
    for (object, turn) in objects.iter_mut().zip(turns) {
        object.turn = Some(turn);
    }
}

/// What no schedule of these objects can beat, by what is expected of them, and the longest path, as positions.
pub fn bounds(objects: &[PlannedObject], rules: &Rules, slots: Slots) -> (Bounds, Vec<usize>) {
    let Some(graph) = board::graph_of(objects) else { return Default::default() };
    let task = Task::of(objects, &graph, rules, slots);
    (task.bounds(), graph.critical_path(|i| task.ms[i]).1)
}

fn urgency(criticality: Criticality) -> u8 {
    match criticality {
        Criticality::High => 0,
        Criticality::Medium => 1,
        Criticality::Low => 2,
    }
}

impl<'a> Task<'a> {
    fn of(objects: &[PlannedObject], graph: &'a Graph, rules: &Rules, slots: Slots) -> Task<'a> {
        Task {
            net: Net::of(graph),
            ms: board::expected_ms(objects),
            stages: objects.iter().map(|object| object.stage).collect(),
            urgency: objects.iter().map(|object| urgency(object.criticality)).collect(),
            classes: Classes::of(objects, &rules.limits),
            slots,
            out: objects.iter().map(|object| object.reused).collect(),
            graph,
        }
    }

    fn packing(&self) -> Packing<'_> {
        Packing { net: &self.net, ms: &self.ms, classes: &self.classes, slots: self.slots }
    }

    fn opening(&self) -> Opening {
        Opening::fresh(&self.net, self.out.clone())
    }

    /// The turns of the best order; none: the longest path first is as good as any.
    fn best(&self) -> Option<Vec<u32>> {
        let mut search = Search {
            task: self,
            opening: self.opening(),
            reversed: self.net.reversed(),
            bound_ms: self.bounds().proven_ms,
            schedules: 0,
            steps: 0,
        };
        let ahead = self.graph.path_ahead(|i| self.ms[i]);
        let longest = search.lay(&ahead.iter().map(|ahead| NEVER - ahead).collect::<Vec<u64>>());
        let by_path_ms = longest.end_ms;
        let mut best = longest.clone();
        let first_come = search.tried(self.packing().lay(Line::Arrival(&self.urgency), &search.opening));
        let mut starts = vec![longest, first_come];
        if !search.is_good(&starts[0]) {
            for patience in [0, 1] {
                if let Some(keys) = self.by_final(&ahead, patience, &mut search.steps) {
                    starts.push(search.lay(&keys));
                }
            }
        }
        for start in starts {
            if start.end_ms < best.end_ms {
                best.clone_from(&start);
            }
            search.read(start, READINGS, &mut best);
        }
        let mut shaken = best.clone();
        let mut random = Random(0x006B_6F72_6368);
        while search.may_go_on(&best) {
            // Mostly small moves, now and then large ones.
            let reach = random.below(300) * best.end_ms / 1000;
            let starts = shaken.laid.starts.iter();
            let keys: Vec<u64> = starts
                .map(|start| match *start {
                    NEVER => NEVER,
                    start => start + (random.below(1000) * random.below(1000)) * reach / 1_000_000,
                })
                .collect();
            let before_ms = best.end_ms;
            let start = search.lay(&keys);
            let last = search.read(start, READINGS_SHAKEN, &mut best);
            if last.end_ms <= shaken.end_ms {
                shaken = last;
            } else if best.end_ms < before_ms {
                shaken.clone_from(&best);
            }
        }
        (best.end_ms < by_path_ms).then(|| best.turns())
    }

    /// Keys by which all that one final object needs comes before what only the next one needs. The next is the one
    /// that needs the least more, less its own time as many times as `patience` says: then long ones come early. None: that
    /// takes too many steps.
    fn by_final(&self, ahead: &[u64], patience: u64, steps: &mut usize) -> Option<Vec<u64>> {
        let n = self.net.len();
        // By the stages' slots: how long what is needed would take if each stage had nothing else to do.
        let share = |work: [u64; 3]| {
            let stages = work.iter().zip(self.slots);
            stages.map(|(work, slots)| work / u64::from(slots.unwrap_or(u32::MAX).max(1))).max().unwrap_or(0)
        };
        let mut taken = self.out.clone();
        let mut mark = vec![0_u32; n];
        let mut marks = 0;
        let mut needed: Vec<usize> = Vec::new();
        let mut need = |last: usize, taken: &[bool], needed: &mut Vec<usize>, steps: &mut usize| {
            marks += 1;
            needed.clear();
            needed.push(last);
            mark[last] = marks;
            let mut work = [0; 3];
            let mut at = 0;
            while at < needed.len() {
                let i = needed[at];
                at += 1;
                if i != last {
                    work[self.stages[i].index()] += self.ms[i];
                }
                *steps += self.net.parents(i).len() + 1;
                for parent in self.net.parents(i) {
                    if !taken[parent] && mark[parent] != marks {
                        mark[parent] = marks;
                        needed.push(parent);
                    }
                }
            }
            share(work).saturating_sub(patience * self.ms[last])
        };
        let finals = (0..n).filter(|&i| !taken[i] && self.net.children(i).len() == 0);
        let mut left: Vec<(u64, usize)> = Vec::new();
        for i in finals {
            left.push((need(i, &taken, &mut needed, steps), i));
            if *steps > MAX_STEPS {
                return None;
            }
        }
        left.sort_unstable();
        let mut left: std::collections::VecDeque<(u64, usize)> = left.into();
        let mut keys = vec![NEVER; n];
        let mut turn = 0_u64;
        while !left.is_empty() {
            let compared = if *steps < MAX_STEPS / 2 { left.len().min(FINALS_COMPARED) } else { 1 };
            let least = (0..compared).min_by_key(|&at| {
                if compared > 1 {
                    left[at].0 = need(left[at].1, &taken, &mut needed, steps);
                }
                left[at]
            });
            let Some((_, last)) = least.and_then(|at| left.remove(at)) else { break };
            need(last, &taken, &mut needed, steps);
            for &i in &needed {
                taken[i] = true;
                keys[i] = (turn << 40) | (LONGEST - ahead[i].min(LONGEST));
            }
            turn += 1;
        }
        Some(keys)
    }

    fn bounds(&self) -> Bounds {
        let n = self.net.len();
        let mut work_ms = [0_u64; 3];
        for i in (0..n).filter(|&i| !self.out[i]) {
            work_ms[self.stages[i].index()] += self.ms[i];
        }
        for (work, slots) in work_ms.iter_mut().zip(self.slots) {
            *work = slots.map_or(0, |slots| *work / u64::from(slots.max(1)));
        }
        let path_ms = self.graph.path_ahead(|i| self.ms[i]).into_iter().max().unwrap_or(0);
        let mut bounds = Bounds { path_ms, work_ms, proven_ms: 0 };
        bounds.proven_ms = bounds.classical_ms();
        let order: Vec<usize> = self.graph.order().iter().map(|&i| i as usize).collect();
        let backwards: Vec<usize> = order.iter().rev().copied().collect();
        // Before an object can start, and after it has ended.
        let heads = self.least_before(&order, |i| self.net.parents(i));
        let tails = self.least_before(&backwards, |i| self.net.children(i));
        for i in (0..n).filter(|&i| !self.out[i]) {
            bounds.proven_ms = bounds.proven_ms.max(heads[i] + self.ms[i] + tails[i]);
        }
        for stage in Stage::ALL {
            let Some(slots) = self.slots[stage.index()] else { continue };
            let of_stage: Vec<usize> = (0..n).filter(|&i| self.stages[i] == stage && !self.out[i]).collect();
            for (near, far) in [(&heads, &tails), (&tails, &heads)] {
                let shared = self.shared(of_stage.clone(), slots.max(1) as usize, near, far);
                bounds.proven_ms = bounds.proven_ms.max(shared);
            }
        }
        bounds
    }

    /// Those of a stage with the longest times after them: `slots` of them share their work, begin when the first of
    /// them can, and have the shortest of these times after them. The most over all such sets.
    fn shared(&self, mut of_stage: Vec<usize>, slots: usize, near: &[u64], far: &[u64]) -> u64 {
        of_stage.sort_unstable_by_key(|&i| std::cmp::Reverse((far[i], i)));
        let (mut work, mut nearest, mut nearest_sum, mut most) =
            (0, std::collections::BinaryHeap::new(), 0, 0);
        for (k, &i) in of_stage.iter().enumerate() {
            work += self.ms[i];
            nearest.push(near[i]);
            nearest_sum += near[i];
            if nearest.len() > slots {
                nearest_sum -= nearest.pop().unwrap_or(0);
            }
            // With fewer objects than slots the longest path says it all.
            if k + 1 >= slots {
                let farthest: u64 = of_stage[k + 1 - slots..=k].iter().map(|&j| far[j]).sum();
                most = most.max((nearest_sum + work + farthest) / slots as u64);
            }
        }
        most
    }

    /// For each object, how long no schedule can take less until it may start: the longest path to it, or the work of a
    /// stage that it needs, shared by the slots, after the first of that can start. With children for parents: after its end.
    fn least_before<I: Iterator<Item = usize>>(
        &self,
        order: &[usize],
        before: impl Fn(usize) -> I,
    ) -> Vec<u64> {
        let n = self.net.len();
        let words = if n > MAX_GATHERED { 0 } else { n.div_ceil(64) };
        let mut least = vec![0_u64; n];
        let mut needs = vec![0_u64; n * words];
        let mut own = vec![0_u64; words];
        for &i in order {
            own.fill(0);
            for parent in before(i) {
                if !self.out[parent] {
                    least[i] = least[i].max(least[parent] + self.ms[parent]);
                }
                for (own, of_parent) in own.iter_mut().zip(&needs[parent * words..(parent + 1) * words]) {
                    *own |= of_parent;
                }
                if words > 0 {
                    own[parent / 64] |= 1 << (parent % 64);
                }
            }
            let mut work = [0_u64; 3];
            let mut first = [NEVER; 3];
            for (word, &bits) in own.iter().enumerate() {
                let mut bits = bits;
                while bits != 0 {
                    let j = word * 64 + bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    if !self.out[j] {
                        let stage = self.stages[j].index();
                        work[stage] += self.ms[j];
                        first[stage] = first[stage].min(least[j]);
                    }
                }
            }
            for stage in 0..3 {
                if let Some(slots) = self.slots[stage].filter(|_| work[stage] > 0) {
                    least[i] = least[i].max(first[stage] + work[stage] / u64::from(slots.max(1)));
                }
            }
            needs[i * words..(i + 1) * words].copy_from_slice(&own);
        }
        least
    }
}

impl Tried {
    /// When each object starts among all; what does not start comes last.
    fn turns(&self) -> Vec<u32> {
        let started = &self.laid.started;
        let mut turns = vec![u32::try_from(started.len()).unwrap_or(u32::MAX); self.laid.starts.len()];
        for (turn, &i) in (0..).zip(started) {
            turns[i as usize] = turn;
        }
        turns
    }
}

struct Search<'a> {
    task: &'a Task<'a>,
    opening: Opening,
    reversed: Net,
    bound_ms: u64,
    schedules: usize,
    steps: usize,
}

impl Search<'_> {
    fn tried(&mut self, laid: Laid) -> Tried {
        self.schedules += 1;
        self.steps += self.task.net.size();
        Tried { end_ms: laid.end_ms, laid }
    }

    /// The schedule by these keys, the most critical objects first.
    fn lay(&mut self, keys: &[u64]) -> Tried {
        let lowest = keys.iter().copied().min().unwrap_or(0);
        let urgency = &self.task.urgency;
        let keys = keys
            .iter()
            .zip(urgency)
            .map(|(key, urgency)| (u64::from(*urgency) << 62) | (key - lowest).min((1 << 62) - 1));
        let keys: Vec<u64> = keys.collect();
        let laid = self.task.packing().lay(Line::Keys(&keys), &self.opening);
        self.tried(laid)
    }

    /// Reads a schedule backwards, what ends last first, and the result forwards again, what then starts first first: each
    /// time what has room to spare moves out of the way of what has none. The best found is kept; the last one is returned.
    fn read(&mut self, mut last: Tried, times: usize, best: &mut Tried) -> Tried {
        for _ in 0..times {
            if !self.may_go_on(best) {
                break;
            }
            let later = |ends: &[u64]| -> Vec<u64> {
                ends.iter().map(|end| if *end == NEVER { NEVER } else { NEVER - 1 - end }).collect()
            };
            let packing = Packing { net: &self.reversed, ..self.task.packing() };
            let opening = Opening::fresh(&self.reversed, self.task.out.clone());
            let backwards = packing.lay(Line::Keys(&later(&last.laid.ends)), &opening);
            let backwards = self.tried(backwards);
            last = self.lay(&later(&backwards.laid.ends));
            if last.end_ms < best.end_ms {
                best.clone_from(&last);
            }
        }
        last
    }

    fn is_good(&self, best: &Tried) -> bool {
        best.end_ms <= self.bound_ms + self.bound_ms * GOOD_ENOUGH / 1000
    }

    fn may_go_on(&self, best: &Tried) -> bool {
        !self.is_good(best) && self.schedules < MAX_SCHEDULES && self.steps < MAX_STEPS
    }
}

/// Numbers that look random (splitmix64), always the same ones.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % most
    }
}
