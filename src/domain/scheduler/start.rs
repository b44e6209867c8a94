//! What starts next: the most urgent object that has a free slot and that no limit holds back.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};

use rustc_hash::FxHashMap;

use super::leases::is_dropped;
use super::{Batch, Look, MAX_BECAUSE, Scheduler};
use crate::domain::board::Board;
use crate::domain::event::{Assigned, Body, Cause, RunId};
use crate::domain::limit::Pool;
use crate::domain::member::{Known, Members, Mono, WorkerState};
use crate::domain::object::{ObjectId, Stage};
use crate::domain::rules::OnFailure;

impl Scheduler {
    /// What failed, is worth another try and has waited for it, the most urgent first.
    fn due(&mut self, look: Look<'_>) -> Vec<usize> {
        let Look { now, run, board, .. } = look;
        let mut due = Vec::new();
        let mut seen = FxHashMap::default();
        for i in board.retrying() {
            let (id, attempts) = (board.object(i).id, board.attempts(i));
            let key = (run.id, id, attempts.next_number());
            let since = self.failures.get(&key).copied().unwrap_or(now.mono);
            seen.insert(key, since);
            if now.mono.saturating_sub(since) >= run.backoff(board, i) {
                due.push(i);
            }
        }
        self.failures = seen;
        due
    }

    /// Offers what has every parent loaded and what is to be tried again, and gives what is offered to workers with a free slot as far as the run's limits
    /// allow: the most urgent object first, to the least busy worker.
    pub(super) fn start(&mut self, look: Look<'_>, batch: &mut Batch) {
        let due = self.due(look);
        let Look { now, run, board, members, .. } = look;
        let classes = board.classes().all();
        let mut room = Room::of(now.mono, run.id, board, members, &self.settings.foreign);
        // What is offered now, by class, the most urgent first, with the attempt.
        let mut fresh: Vec<VecDeque<(usize, u32)>> = vec![VecDeque::new(); classes.len()];
        let unblocked = board.unblocked().map(|i| (i, None));
        let revivable = board.revivable().map(|i| (i, Some(Cause::Mended)));
        let due = due.into_iter().map(|i| (i, Some(Cause::Failed)));
        for (i, cause) in due.chain(revivable).chain(unblocked) {
            if !batch.has_room() {
                break;
            }
            let class = board.classes().class(i);
            let strange = self.settings.foreign.contains(&classes[class].stage);
            // Strangers may take up an offer at once: to them it is only made where it may run.
            if strange && !room.take(class) {
                continue;
            }
            let attempt = self.offer(look, i, cause, batch);
            if !strange {
                fresh[class].push_back((i, attempt));
            }
        }
        // What is offered again comes first above, whatever its rank.
        for offered in &mut fresh {
            offered.make_contiguous().sort_by_key(|&(i, _)| board.rank(i));
        }
        let mut slots = Slots::of(now.mono, run.id, board, members);
        let mut candidates: BinaryHeap<Reverse<Candidate>> = BinaryHeap::new();
        let mut waiting: Vec<_> = (0..classes.len()).map(|class| board.ready(class)).collect();
        let mut pull = |class: usize, is_fresh: bool, candidates: &mut BinaryHeap<_>| {
            let next = if is_fresh {
                fresh[class].pop_front()
            } else {
                let attempt = |i| board.attempts(i).last().map_or(1, |last| last.number);
                waiting[class].next().map(|i| (i, attempt(i)))
            };
            if let Some((i, attempt)) = next {
                candidates.push(Reverse(Candidate { rank: board.rank(i), i, attempt, class, is_fresh }));
            }
        };
        for (class, of_class) in classes.iter().enumerate() {
            // Nothing of a stage that strangers serve is ever assigned.
            if !self.settings.foreign.contains(&of_class.stage) {
                pull(class, true, &mut candidates);
                pull(class, false, &mut candidates);
            }
        }
        let timeout = board.rules().timeout;
        while let Some(Reverse(Candidate { i, attempt, class, is_fresh, .. })) = candidates.pop() {
            if !batch.has_assignment_room() {
                return;
            }
            // What holds one object of a class back holds all of them: nothing else of it is worth a look.
            if !room.has(class) {
                continue;
            }
            let Some(worker) = slots.take(classes[class].stage) else { continue };
            room.take(class);
            let object = board.object(i);
            let degraded = if is_fresh {
                degraded(board, i)
            } else {
                board.attempts(i).last().map_or_else(Vec::new, |last| last.degraded.to_vec())
            };
            let assigned = Assigned {
                object: object.id,
                attempt,
                worker: worker.heartbeat.worker.clone(),
                instance: worker.heartbeat.instance,
                timeout,
                degraded,
                entry: object.entry.clone(),
            };
            let bytes = object.entry.as_ref().map_or(0, |entry| entry.get().len());
            batch.push(self.event(now, run.id, Body::ObjectAssigned(assigned)), bytes);
            pull(class, is_fresh, &mut candidates);
        }
    }
}

/// An object that may start: the lower, the more urgent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: u32,
    i: usize,
    attempt: u32,
    class: usize,
    /// It is offered in this very decision.
    is_fresh: bool,
}

/// The objects before this one whose last good version serves in place of this run's, some of them where there are many.
pub(super) fn degraded(board: &Board, i: usize) -> Vec<ObjectId> {
    if board.rules().on_failure != OnFailure::Continue {
        return Vec::new();
    }
    let mut degraded: BTreeSet<ObjectId> = BTreeSet::new();
    for parent in board.parents(i) {
        if board.phase(parent).dooms_children() {
            degraded.insert(board.object(parent).id);
        } else {
            degraded.extend(board.attempts(parent).degraded());
        }
    }
    degraded.into_iter().take(MAX_BECAUSE).collect()
}

/// Whether a worker may be running something.
fn is_there(known: &Known, now: Mono) -> bool {
    known.heartbeat.state != WorkerState::Gone && !known.is_silent(now)
}

/// How much more the limits allow, by pool.
struct Room<'a> {
    board: &'a Board,
    left: Vec<u32>,
}

impl<'a> Room<'a> {
    fn of(now: Mono, run: RunId, board: &'a Board, members: &Members, foreign: &BTreeSet<Stage>) -> Room<'a> {
        let most = |pool: &Pool| pool.limit.most;
        let mut room = Room { board, left: board.classes().pools().iter().map(most).collect() };
        if room.left.is_empty() {
            return room;
        }
        for (class, of_class) in board.classes().all().iter().enumerate() {
            // What strangers are offered may run, for all that anybody knows.
            let offered = if foreign.contains(&of_class.stage) { board.ready(class).len() } else { 0 };
            let used = board.running(class).saturating_add(u32::try_from(offered).unwrap_or(u32::MAX));
            room.use_up(class, used);
        }
        // A worker may still run what is through by another attempt's answer, or by a mark that it has not read yet.
        for i in board.strays() {
            let holder = board.attempts(i).last().and_then(|last| last.assignment);
            let known = holder.and_then(|assignment| members.instance(assignment.instance));
            if known.is_some_and(|known| is_there(known, now) && !is_dropped(known, run, board, i)) {
                room.use_up(board.classes().class(i), 1);
            }
        }
        // Or something of a run that has just been stopped.
        for known in members.workers().filter(|known| is_there(known, now)) {
            for held in known.heartbeat.running.iter().filter(|held| held.run_id != run) {
                if let Some(i) = board.position(held.id_objet) {
                    room.use_up(board.classes().class(i), 1);
                }
            }
        }
        room
    }

    fn pools(&self, class: usize) -> &'a [u32] {
        &self.board.classes().all()[class].pools
    }

    fn use_up(&mut self, class: usize, objects: u32) {
        for &pool in self.pools(class) {
            self.left[pool as usize] = self.left[pool as usize].saturating_sub(objects);
        }
    }

    /// Whether one more object of this class may run.
    fn has(&self, class: usize) -> bool {
        self.pools(class).iter().all(|&pool| self.left[pool as usize] > 0)
    }

    /// Lets one more object of this class run, if the limits allow.
    fn take(&mut self, class: usize) -> bool {
        let has = self.has(class);
        if has {
            self.use_up(class, 1);
        }
        has
    }
}

/// The free slots of the workers that live.
struct Slots<'a> {
    workers: Vec<(&'a Known, usize)>,
    /// By stage: free slots and the worker that has them. An entry that is out of date is put right when it is taken.
    free: [BinaryHeap<(usize, Reverse<usize>)>; Stage::ALL.len()],
}

impl<'a> Slots<'a> {
    fn of(now: Mono, run: RunId, board: &Board, members: &'a Members) -> Slots<'a> {
        let mut slots = Slots { workers: Vec::new(), free: Default::default() };
        for known in members.workers() {
            let heartbeat = &known.heartbeat;
            if heartbeat.state != WorkerState::Up || heartbeat.foreign || known.is_silent(now) {
                continue;
            }
            // What it still holds of other runs occupies it too.
            let elsewhere = heartbeat.running.iter().filter(|held| held.run_id != run).count();
            let busy = board.held_count(heartbeat.instance) + elsewhere;
            let free = (heartbeat.slots as usize).saturating_sub(busy);
            if free == 0 {
                continue;
            }
            let at = slots.workers.len();
            slots.workers.push((known, free));
            let stages: BTreeSet<Stage> = heartbeat.stages.iter().copied().collect();
            for stage in stages {
                slots.free[stage.index()].push((free, Reverse(at)));
            }
        }
        slots
    }

    /// Takes a slot of the least busy worker that serves the stage.
    fn take(&mut self, stage: Stage) -> Option<&'a Known> {
        let heap = &mut self.free[stage.index()];
        while let Some((free, Reverse(at))) = heap.pop() {
            let (known, left) = &mut self.workers[at];
            if *left != free {
                if *left > 0 {
                    heap.push((*left, Reverse(at)));
                }
                continue;
            }
            *left -= 1;
            if *left > 0 {
                heap.push((*left, Reverse(at)));
            }
            return Some(known);
        }
        None
    }
}
