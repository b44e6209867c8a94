//! A complete plan and where each of its objects stands, with the indexes that a decision needs.
//!
//! Every change goes through [`Board::change`], which keeps the indexes true at a cost of the object's edges only.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rustc_hash::{FxHashMap, FxHashSet};
use uuid::Uuid;

use super::attempt::{Attempts, Phase};
use super::event::PlannedObject;
use super::graph::{Cycle, Graph};
use super::limit::Classes;
use super::object::{ObjectId, Stage};
use super::rules::{OnFailure, Rules};

/// So many of the last changes are kept for those who look on.
const KEPT_CHANGES: usize = 100_000;

/// The plan of a run, and every object's progress. Objects are named by their position in the plan.
#[derive(Clone, Debug)]
pub struct Board {
    objects: Vec<PlannedObject>,
    graph: Graph,
    index: FxHashMap<ObjectId, u32>,
    partitions: u32,
    rules: Rules,
    classes: Classes,
    attempts: Vec<Attempts>,
    phases: Vec<Phase>,
    /// How many parents are not loaded, and have no earlier version that stands in for this run's.
    unmet: Vec<u32>,
    /// How many parents failed or were skipped, and have no such version.
    lost_parents: Vec<u32>,
    /// The place of each object among all, the most urgent first, and back.
    rank: Vec<u32>,
    by_rank: Vec<u32>,
    counts: [[u64; Phase::ALL.len()]; Stage::ALL.len()],
    /// How many loaded ones are degraded, how many are reused.
    degraded: u64,
    reused: u64,
    /// How many run, by class.
    running: Vec<u32>,
    /// The indexes, by rank where the order matters to a decision.
    unblocked: BTreeSet<u32>,
    doomed: BTreeSet<u32>,
    retrying: BTreeSet<u32>,
    revivable: BTreeSet<u32>,
    /// Through, by an answer to an earlier attempt or by a mark, while a worker may still run the last one.
    strays: BTreeSet<u32>,
    /// By class.
    ready: Vec<BTreeSet<u32>>,
    held: BTreeMap<Uuid, FxHashSet<u32>>,
    /// The last objects that something became known of, in the order in which it did, and how many changes came before.
    changes: VecDeque<u32>,
    forgotten: u64,
}

impl Board {
    /// A board of `objects`, taking over from `known` what was already folded of them.
    ///
    /// # Errors
    /// When the objects depend on each other in a circle.
    pub(super) fn new(
        objects: Vec<PlannedObject>,
        partitions: u32,
        rules: Rules,
        known: &mut BTreeMap<ObjectId, Attempts>,
    ) -> Result<Board, Cycle> {
        let n = objects.len();
        let index: FxHashMap<ObjectId, u32> = (0..).zip(&objects).map(|(i, object)| (object.id, i)).collect();
        let graph = Graph::new(n, edges(&objects, &index))?;
        let by_rank = by_rank(&objects, &graph);
        let mut rank = vec![0; n];
        for (place, &i) in (0..).zip(&by_rank) {
            rank[i as usize] = place;
        }
        let unmet = (0..n).map(|i| u32::try_from(graph.parents(i).count()).unwrap_or(u32::MAX)).collect();
        let classes = Classes::of(&objects, &rules.limits);
        let mut board = Board {
            attempts: vec![Attempts::default(); n],
            phases: vec![Phase::Waiting; n],
            unmet,
            lost_parents: vec![0; n],
            counts: Default::default(),
            degraded: 0,
            reused: 0,
            running: vec![0; classes.all().len()],
            unblocked: BTreeSet::new(),
            doomed: BTreeSet::new(),
            retrying: BTreeSet::new(),
            revivable: BTreeSet::new(),
            strays: BTreeSet::new(),
            ready: vec![BTreeSet::new(); classes.all().len()],
            held: BTreeMap::new(),
            changes: VecDeque::new(),
            forgotten: 0,
            objects,
            graph,
            index,
            partitions,
            rules,
            classes,
            rank,
            by_rank,
        };
        for i in 0..n {
            board.counts[board.objects[i].stage.index()][Phase::Waiting as usize] += 1;
            board.file(i);
        }
        // Another plan of the same run may reuse other objects.
        for (id, attempts) in std::mem::take(known) {
            board.change(id, |slot| {
                *slot = attempts;
                slot.reuse(None);
            });
        }
        for i in 0..n {
            let object = &board.objects[i];
            if let Some(version) = object.last_good.filter(|_| object.reused) {
                board.change(object.id, |slot| slot.reuse(Some(version)));
            }
        }
        Ok(board)
    }

    pub(super) fn into_attempts(self) -> impl Iterator<Item = (ObjectId, Attempts)> {
        self.objects.into_iter().map(|object| object.id).zip(self.attempts)
    }

    /// Changes what is known of one object and brings every index up to date. None: the plan has no such object.
    pub(super) fn change(&mut self, id: ObjectId, change: impl FnOnce(&mut Attempts)) -> Option<()> {
        let i = *self.index.get(&id)? as usize;
        self.unfile(i);
        self.tally(i, u64::wrapping_sub);
        change(&mut self.attempts[i]);
        if self.changes.len() >= KEPT_CHANGES {
            self.changes.pop_front();
            self.forgotten += 1;
        }
        self.changes.push_back(self.by_rank[self.rank[i] as usize]);
        let before = self.phases[i];
        let after = self.attempts[i].phase(self.rules.retries);
        self.phases[i] = after;
        self.file(i);
        self.tally(i, u64::wrapping_add);
        if before == after {
            return Some(());
        }
        let running = &mut self.running[self.classes.class(i)];
        *running = running.wrapping_sub((before == Phase::Running).into());
        *running = running.wrapping_add((after == Phase::Running).into());
        let counts = &mut self.counts[self.objects[i].stage.index()];
        counts[before as usize] -= 1;
        counts[after as usize] += 1;
        let stands_in = self.stands_in(i);
        let opens = |phase: Phase| phase == Phase::Loaded || (stands_in && phase.dooms_children());
        let dooms = |phase: Phase| phase.dooms_children() && !stands_in;
        let loaded = opens(after).cmp(&opens(before)) as i32;
        let lost = dooms(after).cmp(&dooms(before)) as i32;
        if loaded != 0 || lost != 0 {
            let children: Vec<usize> = self.children(i).collect();
            for child in children {
                self.unfile(child);
                self.unmet[child] = self.unmet[child].wrapping_add_signed(-loaded);
                self.lost_parents[child] = self.lost_parents[child].wrapping_add_signed(lost);
                self.file(child);
            }
        }
        Some(())
    }

    /// Whether an earlier version stands in for this run's, where the object fails or is skipped.
    pub fn stands_in(&self, i: usize) -> bool {
        self.rules.on_failure == OnFailure::Continue && self.objects[i].last_good.is_some()
    }

    /// Whether what needs an object may run, as far as this one goes.
    pub fn is_met(&self, i: usize) -> bool {
        self.phases[i] == Phase::Loaded || (self.phases[i].dooms_children() && self.stands_in(i))
    }

    /// Counts an object among the degraded and the reused ones, or no longer.
    fn tally(&mut self, i: usize, count: impl Fn(u64, u64) -> u64) {
        if self.phases[i] == Phase::Loaded {
            let attempts = &self.attempts[i];
            self.degraded = count(self.degraded, u64::from(!attempts.degraded().is_empty()));
            self.reused = count(self.reused, u64::from(attempts.reused().is_some()));
        }
    }

    fn file(&mut self, i: usize) {
        let rank = self.rank[i];
        let last = self.attempts[i].last();
        if self.phases[i].is_final()
            && last.is_some_and(|last| last.assignment.is_some() && last.answer.is_none())
        {
            self.strays.insert(rank);
        }
        match self.phases[i] {
            Phase::Waiting if self.lost_parents[i] > 0 => drop(self.doomed.insert(rank)),
            Phase::Waiting if self.unmet[i] == 0 => drop(self.unblocked.insert(rank)),
            Phase::Ready => drop(self.ready[self.classes.class(i)].insert(rank)),
            Phase::Skipped if self.lost_parents[i] == 0 && self.unmet[i] == 0 => {
                self.revivable.insert(rank);
            }
            Phase::Retrying => drop(self.retrying.insert(rank)),
            Phase::Running => {
                if let Some(instance) = self.holder(i) {
                    self.held.entry(instance).or_default().insert(self.by_rank[rank as usize]);
                }
            }
            _ => {}
        }
    }

    fn unfile(&mut self, i: usize) {
        let rank = self.rank[i];
        self.strays.remove(&rank);
        match self.phases[i] {
            Phase::Waiting => {
                self.doomed.remove(&rank);
                self.unblocked.remove(&rank);
            }
            Phase::Ready => drop(self.ready[self.classes.class(i)].remove(&rank)),
            Phase::Skipped => drop(self.revivable.remove(&rank)),
            Phase::Retrying => drop(self.retrying.remove(&rank)),
            Phase::Running => {
                if let Some(instance) = self.holder(i)
                    && let Some(held) = self.held.get_mut(&instance)
                {
                    held.remove(&self.by_rank[rank as usize]);
                    if held.is_empty() {
                        self.held.remove(&instance);
                    }
                }
            }
            _ => {}
        }
    }

    fn holder(&self, i: usize) -> Option<Uuid> {
        Some(self.attempts[i].last()?.assignment?.instance)
    }

    /// How many objects the plan has.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether the plan is empty.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Who depends on whom.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The parents of an object.
    pub fn parents(&self, i: usize) -> impl Iterator<Item = usize> + '_ {
        self.graph.parents(i).map(|parent| parent as usize)
    }

    /// The children of an object.
    pub fn children(&self, i: usize) -> impl Iterator<Item = usize> + '_ {
        self.graph.children(i).map(|child| child as usize)
    }

    /// How many partitions the log had when the run was planned.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// By which rules the run goes.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The objects by what may hold them back.
    pub fn classes(&self) -> &Classes {
        &self.classes
    }

    /// Where in the plan an object stands.
    pub fn position(&self, id: ObjectId) -> Option<usize> {
        self.index.get(&id).map(|&i| i as usize)
    }

    /// The object at a position of the plan.
    pub fn object(&self, i: usize) -> &PlannedObject {
        &self.objects[i]
    }

    /// Every object of the plan, in its order.
    pub fn objects(&self) -> &[PlannedObject] {
        &self.objects
    }

    /// Where an object stands.
    pub fn phase(&self, i: usize) -> Phase {
        self.phases[i]
    }

    /// What an object went through.
    pub fn attempts(&self, i: usize) -> &Attempts {
        &self.attempts[i]
    }

    /// How many changes of objects were folded so far: the place of the next one.
    pub fn changed(&self) -> u64 {
        self.forgotten + self.changes.len() as u64
    }

    /// The positions of the objects that changed at this place or later, in order; one may come several times. None: that
    /// is too long ago.
    pub fn changes_since(&self, place: u64) -> Option<impl Iterator<Item = usize> + '_> {
        let skipped = usize::try_from(place.checked_sub(self.forgotten)?).ok()?;
        Some(self.changes.range(skipped.min(self.changes.len())..).map(|&i| i as usize))
    }

    /// How many objects of a stage are in a phase.
    pub fn count(&self, stage: Stage, phase: Phase) -> u64 {
        self.counts[stage.index()][phase as usize]
    }

    /// How many objects are in a phase.
    pub fn total(&self, phase: Phase) -> u64 {
        Stage::ALL.into_iter().map(|stage| self.count(stage, phase)).sum()
    }

    /// How many loaded objects were loaded with an older version of something before them.
    pub fn degraded(&self) -> u64 {
        self.degraded
    }

    /// How many objects were not run, because an earlier run had loaded them not long before.
    pub fn reused(&self) -> u64 {
        self.reused
    }

    /// Whether something failed for good in a run that then starts nothing more.
    pub fn is_stopped(&self) -> bool {
        self.rules.on_failure == OnFailure::Stop && self.total(Phase::Failed) > 0
    }

    /// Whether every object is through.
    pub fn is_through(&self) -> bool {
        let open = |phase: &Phase| !phase.is_final() && self.total(*phase) > 0;
        !Phase::ALL.iter().any(open) && (self.revivable.is_empty() || self.is_stopped())
    }

    /// The rank of an object among all: 0 is the most urgent.
    pub fn rank(&self, i: usize) -> u32 {
        self.rank[i]
    }

    fn ranked<'a>(&'a self, ranks: &'a BTreeSet<u32>) -> impl Iterator<Item = usize> + 'a {
        ranks.iter().map(|&rank| self.by_rank[rank as usize] as usize)
    }

    /// Objects that wait though every parent is loaded, the most urgent first.
    pub fn unblocked(&self) -> impl Iterator<Item = usize> + '_ {
        self.ranked(&self.unblocked)
    }

    /// Objects that wait for a parent that failed or was skipped.
    pub fn doomed(&self) -> impl Iterator<Item = usize> + '_ {
        self.ranked(&self.doomed)
    }

    /// Objects that failed and are worth another try, the most urgent first.
    pub fn retrying(&self) -> impl Iterator<Item = usize> + '_ {
        self.ranked(&self.retrying)
    }

    /// Objects that were skipped though nothing stands in their way any more, the most urgent first.
    pub fn revivable(&self) -> impl Iterator<Item = usize> + '_ {
        self.ranked(&self.revivable)
    }

    /// Objects that are through, by an answer to an earlier attempt or by a mark, while a worker may still run the last one.
    pub fn strays(&self) -> impl Iterator<Item = usize> + '_ {
        self.ranked(&self.strays)
    }

    /// Objects of a class that are offered and that no worker has, the most urgent first.
    pub fn ready(&self, class: usize) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.ready[class].iter().map(|&rank| self.by_rank[rank as usize] as usize)
    }

    /// How many objects of a class run.
    pub fn running(&self, class: usize) -> u32 {
        self.running[class]
    }

    /// The instances of workers that hold something, in a fixed order.
    pub fn holders(&self) -> impl Iterator<Item = Uuid> + '_ {
        self.held.keys().copied()
    }

    /// How many objects an instance holds.
    pub fn held_count(&self, instance: Uuid) -> usize {
        self.held.get(&instance).map_or(0, FxHashSet::len)
    }

    /// The objects that an instance holds, in the plan's order.
    pub fn held(&self, instance: Uuid) -> Vec<usize> {
        let mut held: Vec<usize> =
            self.held.get(&instance).into_iter().flatten().map(|&i| i as usize).collect();
        held.sort_unstable();
        held
    }
}

/// The dependencies among these objects, as (parent, child), by their positions.
fn edges<'a>(
    objects: &'a [PlannedObject],
    index: &'a FxHashMap<ObjectId, u32>,
) -> impl Iterator<Item = (u32, u32)> + 'a {
    (0..).zip(objects).flat_map(|(child, object)| {
        let parents = object.parents.iter().filter_map(|parent| index.get(parent).copied());
        parents.map(move |parent| (parent, child))
    })
}

/// The graph of these objects; none: they depend on each other in a circle.
pub(super) fn graph_of(objects: &[PlannedObject]) -> Option<Graph> {
    let index: FxHashMap<ObjectId, u32> = (0..).zip(objects).map(|(i, object)| (object.id, i)).collect();
    Graph::new(objects.len(), edges(objects, &index)).ok()
}

/// The objects by urgency: the most critical first; among these in the turns that the plan says, or where it says none
/// the longest path ahead first; then by id.
fn by_rank(objects: &[PlannedObject], graph: &Graph) -> Vec<u32> {
    let has_turns = objects.iter().all(|object| object.turn.is_some());
    let expected = expected_ms(objects);
    let ahead = if has_turns { Vec::new() } else { graph.path_ahead(|i| expected[i]) };
    let mut by_rank: Vec<u32> = (0..).take(objects.len()).collect();
    by_rank.sort_by_key(|&i| {
        let object = &objects[i as usize];
        let turn = object.turn.filter(|_| has_turns);
        let ahead = ahead.get(i as usize).copied().unwrap_or(0);
        (std::cmp::Reverse(object.criticality), turn, std::cmp::Reverse(ahead), object.id)
    });
    by_rank
}

/// How long each object is expected to take, in milliseconds: as an earlier run measured, else as those of its stage take on
/// average that were measured, else as is usual for its stage. What is reused takes no time.
pub(super) fn expected_ms(objects: &[PlannedObject]) -> Vec<u64> {
    let mut sums = [(0_u64, 0_u64); Stage::ALL.len()];
    for object in objects {
        if let Some(ms) = object.expected_ms {
            let (sum, count) = &mut sums[object.stage.index()];
            (*sum, *count) = (sum.saturating_add(ms), *count + 1);
        }
    }
    let usual = Stage::ALL.map(|stage| {
        let (sum, count) = sums[stage.index()];
        sum.checked_div(count).unwrap_or(stage.usual_ms())
    });
    let expected = |object: &PlannedObject| match object.reused {
        true => 0,
        false => object.expected_ms.unwrap_or(usual[object.stage.index()]),
    };
    objects.iter().map(expected).collect()
}
