//! Objects laid on slots, on a virtual clock: whatever is ready takes a free slot of its stage as long as the limits allow,
//! the first in line first. What a schedule looks like if every object takes as long as expected.
//!
//! It is the scheduler's own rule without events, attempts and workers, so thousands of schedules can be compared. It knows no
//! failures: those are [`super::rehearsal`]'s.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::estimate::Slots;
use super::graph::Graph;
use super::limit::Classes;
use super::object::Stage;

/// The start or end of what never runs.
pub const NEVER: u64 = u64::MAX;

/// Who waits for whom, laid out in memory in the order in which it is walked.
#[derive(Clone, Debug)]
pub struct Net {
    children: Links,
    parents: Links,
}

/// For each node a range of others.
#[derive(Clone, Debug)]
struct Links {
    starts: Vec<u32>,
    to: Vec<u32>,
}

impl Links {
    fn of(n: usize, edges: impl Iterator<Item = (u32, u32)> + Clone) -> Links {
        let mut starts = vec![0_u32; n + 1];
        for (from, _) in edges.clone() {
            starts[from as usize + 1] += 1;
        }
        for i in 0..n {
            starts[i + 1] += starts[i];
        }
        let mut at = starts.clone();
        let mut to = vec![0; starts[n] as usize];
        for (from, node) in edges {
            to[at[from as usize] as usize] = node;
            at[from as usize] += 1;
        }
        Links { starts, to }
    }

    fn of_node(&self, node: usize) -> &[u32] {
        &self.to[self.starts[node] as usize..self.starts[node + 1] as usize]
    }
}

impl Net {
    /// The edges of a graph.
    pub fn of(graph: &Graph) -> Net {
        let edges: Vec<(u32, u32)> = graph.edges().collect();
        let parents = edges.iter().map(|&(parent, child)| (child, parent));
        Net {
            children: Links::of(graph.len(), edges.iter().copied()),
            parents: Links::of(graph.len(), parents),
        }
    }

    /// The same with every edge turned round.
    #[must_use]
    pub fn reversed(&self) -> Net {
        Net { children: self.parents.clone(), parents: self.children.clone() }
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.children.starts.len() - 1
    }

    /// Whether there is no node at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How much there is to walk: nodes and edges.
    pub fn size(&self) -> usize {
        self.len() + self.children.to.len()
    }

    /// What waits for this node.
    pub fn children(&self, node: usize) -> impl DoubleEndedIterator<Item = usize> + ExactSizeIterator + '_ {
        self.children.of_node(node).iter().map(|&child| child as usize)
    }

    /// What this node waits for.
    pub fn parents(&self, node: usize) -> impl DoubleEndedIterator<Item = usize> + ExactSizeIterator + '_ {
        self.parents.of_node(node).iter().map(|&parent| parent as usize)
    }
}

/// Which of those that are ready comes first.
#[derive(Clone, Copy, Debug)]
pub enum Line<'a> {
    /// The one with the smallest key, then with the smallest number.
    Keys(&'a [u64]),
    /// The one that became ready first, then the one with the smallest number; but first those with the smallest class of
    /// urgency, if there are any.
    Arrival(&'a [u8]),
}

impl Line<'_> {
    fn key(self, i: usize, now_ms: u64) -> (u64, u64) {
        match self {
            Line::Keys(keys) => (keys[i], 0),
            Line::Arrival(urgency) => (urgency.get(i).copied().unwrap_or(0).into(), now_ms),
        }
    }
}

/// How things stand when the clock starts.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    /// How many others each object still waits for.
    pub unmet: Vec<u32>,
    /// What never starts: it is through, or can never run.
    pub out: Vec<bool>,
    /// What runs, and how much longer, in milliseconds.
    pub running: Vec<(u64, usize)>,
    /// What waits for nothing but the time, and how long, in milliseconds.
    pub later: Vec<(u64, usize)>,
}

impl Opening {
    /// Nothing has begun. What is `out` is through, and nothing waits for it.
    pub fn fresh(net: &Net, out: Vec<bool>) -> Opening {
        let waits = |i: usize| net.parents(i).filter(|&parent| !out[parent]).count();
        let unmet = (0..net.len()).map(|i| u32::try_from(waits(i)).unwrap_or(u32::MAX)).collect();
        Opening { unmet, out, ..Opening::default() }
    }
}

/// Objects, how long each takes, and the slots that there are for them.
#[derive(Clone, Copy, Debug)]
pub struct Packing<'a> {
    /// Who waits for whom.
    pub net: &'a Net,
    /// How long each object takes, in milliseconds.
    pub ms: &'a [u64],
    /// By what they are held back.
    pub classes: &'a Classes,
    /// How many of each stage run at once; none: as many as there are.
    pub slots: Slots,
}

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Laid {
    /// When each object starts, in milliseconds; [`NEVER`]: it does not, or it ran already.
    pub starts: Vec<u64>,
    /// When each object ends, in milliseconds; [`NEVER`]: it does not.
    pub ends: Vec<u64>,
    /// The objects in the order in which they start.
    pub started: Vec<u32>,
    /// When the last of them ends, in milliseconds.
    pub end_ms: u64,
    /// Whether nothing is left for want of a slot.
    pub complete: bool,
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happens {
    Ends(u32),
    IsReady(u32),
}

/// What stands in a line: the key, then the object. The first has the smallest.
type Place = ((u64, u64), u32);

struct Table<'a> {
    packing: Packing<'a>,
    line: Line<'a>,
    free: Slots,
    /// How much more the limits allow, by pool.
    room: Vec<u32>,
    /// By class.
    ready: Vec<BinaryHeap<Reverse<Place>>>,
    next: BinaryHeap<Reverse<(u64, Happens)>>,
    laid: Laid,
}

impl Packing<'_> {
    /// The schedule with this line at every stage.
    pub fn lay(&self, line: Line<'_>, opening: &Opening) -> Laid {
        let n = self.net.len();
        let mut table = Table {
            packing: *self,
            line,
            free: self.slots,
            room: self.classes.pools().iter().map(|pool| pool.limit.most).collect(),
            ready: vec![BinaryHeap::new(); self.classes.all().len()],
            next: BinaryHeap::with_capacity(n / 4),
            laid: Laid {
                starts: vec![NEVER; n],
                ends: vec![NEVER; n],
                started: Vec::with_capacity(n),
                end_ms: 0,
                complete: true,
            },
        };
        let mut unmet = opening.unmet.clone();
        let mut later =
            vec![false; if opening.later.is_empty() && opening.running.is_empty() { 0 } else { n }];
        for &(left_ms, i) in &opening.running {
            table.take(i);
            table.next.push(Reverse((left_ms, Happens::Ends(i as u32))));
            later[i] = true;
        }
        for &(wait_ms, i) in &opening.later {
            table.next.push(Reverse((wait_ms, Happens::IsReady(i as u32))));
            later[i] = true;
        }
        for (i, unmet) in unmet.iter().enumerate() {
            if *unmet == 0 && !opening.out[i] && !later.get(i).copied().unwrap_or(false) {
                table.offer(i, 0);
            }
        }
        table.fill(0);
        while let Some(&Reverse((now_ms, _))) = table.next.peek() {
            // All that happens at one instant is known before anything starts in it.
            while let Some(&Reverse((at, happens))) = table.next.peek() {
                if at != now_ms {
                    break;
                }
                table.next.pop();
                match happens {
                    Happens::IsReady(i) => table.offer(i as usize, now_ms),
                    Happens::Ends(i) => {
                        let i = i as usize;
                        table.give_back(i);
                        table.laid.ends[i] = now_ms;
                        table.laid.end_ms = now_ms;
                        for child in self.net.children(i) {
                            unmet[child] = unmet[child].saturating_sub(1);
                            if unmet[child] == 0 && !opening.out[child] {
                                table.offer(child, now_ms);
                            }
                        }
                    }
                }
            }
            table.fill(now_ms);
        }
        table.laid.complete = table.ready.iter().all(BinaryHeap::is_empty);
        table.laid
    }
}

impl Table<'_> {
    fn stage(&self, class: usize) -> Stage {
        self.packing.classes.all()[class].stage
    }

    fn offer(&mut self, i: usize, now_ms: u64) {
        let class = self.packing.classes.class(i);
        self.ready[class].push(Reverse((self.line.key(i, now_ms), i as u32)));
    }

    fn take(&mut self, i: usize) {
        let class = self.packing.classes.class(i);
        let stage = self.stage(class);
        if let Some(free) = &mut self.free[stage.index()] {
            *free = free.saturating_sub(1);
        }
        for &pool in &self.packing.classes.all()[class].pools {
            self.room[pool as usize] = self.room[pool as usize].saturating_sub(1);
        }
    }

    fn give_back(&mut self, i: usize) {
        let class = self.packing.classes.class(i);
        let stage = self.stage(class);
        if let Some(free) = &mut self.free[stage.index()] {
            *free += 1;
        }
        for &pool in &self.packing.classes.all()[class].pools {
            self.room[pool as usize] += 1;
        }
    }

    fn may_start(&self, class: usize) -> bool {
        let pools = &self.packing.classes.all()[class].pools;
        self.free[self.stage(class).index()].is_none_or(|free| free > 0)
            && pools.iter().all(|&pool| self.room[pool as usize] > 0)
    }

    fn start(&mut self, i: usize, now_ms: u64) {
        self.take(i);
        self.laid.starts[i] = now_ms;
        self.laid.started.push(i as u32);
        let end_ms = now_ms.saturating_add(self.packing.ms[i]);
        self.next.push(Reverse((end_ms, Happens::Ends(i as u32))));
    }

    /// Starts whatever may.
    fn fill(&mut self, now_ms: u64) {
        if self.room.is_empty() {
            for class in 0..self.ready.len() {
                while self.may_start(class) {
                    let Some(Reverse((_, i))) = self.ready[class].pop() else { break };
                    self.start(i as usize, now_ms);
                }
            }
            return;
        }
        // Classes share slots and limits: the first of all comes first.
        let first = |ready: &BinaryHeap<Reverse<Place>>| ready.peek().map(|&Reverse(first)| first);
        let tops = self.ready.iter().enumerate();
        let mut tops: BinaryHeap<Reverse<(Place, usize)>> =
            tops.filter_map(|(class, ready)| Some(Reverse((first(ready)?, class)))).collect();
        while let Some(Reverse(((_, i), class))) = tops.pop() {
            if !self.may_start(class) {
                continue;
            }
            self.ready[class].pop();
            self.start(i as usize, now_ms);
            if let Some(first) = first(&self.ready[class]) {
                tops.push(Reverse((first, class)));
            }
        }
    }
}
