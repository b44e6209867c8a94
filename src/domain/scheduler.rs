//! What runs next. Pure: the time and what is known go in, the events to append come out.
//!
//! A decision follows from the fold alone. The caller appends what [`Scheduler::decide`] returns and reads the log past
//! it before it asks again, so nothing is decided twice; what a crash or a lost record undoes, the next look repairs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::attempt::{MAX_WORKERS_LOST, Phase};
use super::board::Board;
use super::event::{
    Answer, AnswerMeta, Assigned, Body, Cause, Counts, Epoch, Event, Finished, Outcome, PlanPart,
    PlannedObject, Ready, RunId, Skipped,
};
use super::history::{History, StrangersAnswer};
use super::member::{Held, Known, Members, Mono, WorkerState};
use super::object::{ObjectId, Stage};
use super::rules::{OnFailure, Rules};
use super::run::Run;

/// A plan's part is at most this large, in bytes of its objects' JSON.
const MAX_PART_BYTES: usize = 500 * 1024;
/// One decision is at most about this many events and bytes; the rest follows in the next.
const MAX_DECISION_EVENTS: usize = 4_000;
const MAX_DECISION_BYTES: usize = 8 << 20;
/// A skip names at most so many failed ancestors.
const MAX_BECAUSE: usize = 20;

/// The two clocks of a process.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For leases and time limits.
    pub mono: Mono,
    /// For people: what events say of the time.
    pub wall: Timestamp,
}

/// How the orchestrator is set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Stages left to consumers of the old wire format.
    pub foreign: BTreeSet<Stage>,
    /// How long an offer to them may stay unanswered.
    pub offer_timeout: Duration,
}

/// What the scheduler wants done.
#[derive(Debug, Default)]
pub struct Decision {
    /// Events to append, in this order.
    pub events: Vec<Event>,
    /// A run whose turn it is and that has no plan: read the catalogue, then append [`Scheduler::planned`] or
    /// [`Scheduler::refused`].
    pub plan: Option<RunId>,
    /// How many strangers' answers came too late to be adopted.
    pub late: usize,
}

/// Decides for one reign.
#[derive(Debug)]
pub struct Scheduler {
    epoch: Epoch,
    since: Mono,
    settings: Settings,
    /// When an open offer to strangers was first seen, by the scheduler's own clock.
    offers: FxHashMap<(RunId, ObjectId, u32), Mono>,
    /// When a failure that is worth another try was first seen, by the scheduler's own clock.
    failures: FxHashMap<(RunId, ObjectId, u32), Mono>,
    /// A worker that holds things and was never heard of: since when its silence counts.
    unheard: BTreeMap<Uuid, Mono>,
}

impl Scheduler {
    /// The scheduler of a reign that began at `since`.
    pub fn new(epoch: Epoch, since: Mono, settings: Settings) -> Scheduler {
        Scheduler {
            epoch,
            since,
            settings,
            offers: FxHashMap::default(),
            failures: FxHashMap::default(),
            unheard: BTreeMap::new(),
        }
    }

    fn event(&self, now: Now, run: RunId, body: Body) -> Event {
        Event { at: now.wall, run: Some(run), epoch: Some(self.epoch), body }
    }

    /// What is to be done, as far as the log has been read to an end that was taken at `caught_up`.
    /// With `starting` false no new object starts: what runs may finish.
    pub fn decide(
        &mut self,
        now: Now,
        caught_up: Mono,
        history: &History,
        members: &Members,
        strangers: &[StrangersAnswer],
        starting: bool,
    ) -> Decision {
        let active = history.active();
        let mut decision = match active {
            Some(run) => self.decide_run(now, caught_up, run, members, strangers, starting),
            None => {
                self.offers.clear();
                self.failures.clear();
                Decision { late: strangers.len(), ..Decision::default() }
            }
        };
        // Who cancels a run that waits for its turn is not to wait for it.
        for run in history.cancelled().filter(|run| active.is_none_or(|active| active.id != run.id)) {
            decision.events.extend(self.over(now, run, Outcome::Cancelled, run.cancelled_by()).events);
        }
        decision
    }

    fn decide_run(
        &mut self,
        now: Now,
        caught_up: Mono,
        run: &Run,
        members: &Members,
        strangers: &[StrangersAnswer],
        starting: bool,
    ) -> Decision {
        if run.truncated {
            return self.over(now, run, Outcome::Failed, Some("log-truncated".into()));
        }
        if run.cancel.is_some() {
            return self.over(now, run, Outcome::Cancelled, run.cancelled_by());
        }
        let starting = starting && run.paused().is_none();
        let Some(board) = run.board() else {
            let plan = starting.then_some(run.id);
            return Decision { plan, late: strangers.len(), ..Decision::default() };
        };
        if board.is_through() {
            let outcome = if board.total(Phase::Loaded) == board.len() as u64 {
                Outcome::Succeeded
            } else {
                Outcome::Failed
            };
            return Decision { late: strangers.len(), ..self.over(now, run, outcome, None) };
        }
        let mut batch = Batch::default();
        let late = self.adopt(now, run, board, strangers, &mut batch);
        if board.is_stopped() {
            self.skip_all(now, run, board, &mut batch);
        } else {
            self.skip(now, run, board, &mut batch);
        }
        self.reoffer(now, caught_up, run, board, members, starting, &mut batch);
        if starting && !board.is_stopped() {
            self.start(now, run, board, members, &mut batch);
        }
        Decision { events: batch.events, plan: None, late }
    }

    /// The end of a run.
    fn over(&self, now: Now, run: &Run, outcome: Outcome, reason: Option<String>) -> Decision {
        let counts = run.board().map(counts).unwrap_or_default();
        let began = run.request.as_ref().map(|(at, _)| *at).or(run.planned_at).unwrap_or(now.wall);
        let finished = Finished {
            outcome,
            reason,
            counts,
            duration_seconds: now.wall.duration_since(began).as_secs_f64().max(0.0),
            problems: None,
        };
        Decision { events: vec![self.event(now, run.id, Body::RunFinished(finished))], ..Decision::default() }
    }

    /// The plan of a run, in parts that the log takes. `begins`: how far each partition has been read.
    pub fn planned(
        &self,
        now: Now,
        run: RunId,
        begins: &[u64],
        rules: &Rules,
        objects: Vec<PlannedObject>,
    ) -> Vec<Event> {
        let mut parts: Vec<Vec<PlannedObject>> = vec![Vec::new()];
        let mut bytes = 0;
        for object in objects {
            let entry_bytes = object.entry.as_ref().map_or(4, |entry| entry.get().len());
            let object_bytes = 320 + entry_bytes + 18 * (object.parents.len() + object.satisfied.len());
            if bytes + object_bytes > MAX_PART_BYTES && bytes > 0 {
                parts.push(Vec::new());
                bytes = 0;
            }
            bytes += object_bytes;
            if let Some(part) = parts.last_mut() {
                part.push(object);
            }
        }
        let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        let partitions = u32::try_from(begins.len()).unwrap_or(u32::MAX);
        (0..)
            .zip(parts)
            .map(|(part, objects)| {
                let (begins, rules) = (begins.to_vec(), rules.clone());
                let part = PlanPart { part, parts: count, partitions, begins, rules, objects };
                self.event(now, run, Body::RunPlanned(part))
            })
            .collect()
    }

    /// The end of a run that could not be planned, why in a word, and everything that is wrong.
    pub fn refused(&self, now: Now, run: &Run, reason: &str, problems: Option<Arc<RawValue>>) -> Vec<Event> {
        let mut decision = self.over(now, run, Outcome::Failed, Some(reason.into()));
        if let Some(Event { body: Body::RunFinished(finished), .. }) = decision.events.first_mut() {
            finished.problems = problems;
        }
        decision.events
    }

    /// Publishes strangers' answers again, as answers to the attempts that are open for them.
    fn adopt(
        &self,
        now: Now,
        run: &Run,
        board: &Board,
        strangers: &[StrangersAnswer],
        batch: &mut Batch,
    ) -> usize {
        let mut late = 0;
        // The first answer that fits an offer is the answer to it.
        let mut answered: FxHashSet<ObjectId> = FxHashSet::default();
        for stranger in strangers {
            let open = self.open_for(board, stranger).filter(|_| answered.insert(stranger.answer.object));
            let Some(attempt) = open else {
                late += 1;
                continue;
            };
            let meta =
                AnswerMeta { adopted_from: Some(stranger.stamp.place), ..stranger.answer.meta.clone() };
            let answer = Answer { object: stranger.answer.object, attempt, meta };
            let body = if stranger.failed { Body::ObjectFailed(answer) } else { Body::ObjectLoaded(answer) };
            batch.push(self.event(now, run.id, body), 0);
        }
        late
    }

    /// The attempt that a stranger's answer can be meant for: open, and offered before the answer.
    fn open_for(&self, board: &Board, stranger: &StrangersAnswer) -> Option<u32> {
        let i = board.position(stranger.answer.object)?;
        if !self.settings.foreign.contains(&board.object(i).stage) || board.phase(i) != Phase::Ready {
            return None;
        }
        let last = board.attempts(i).last()?;
        let offer = last.offer?;
        let precedes = if offer.place.partition == stranger.stamp.place.partition {
            offer.place.offset < stranger.stamp.place.offset
        } else {
            offer.timestamp_us <= stranger.stamp.timestamp_us
        };
        precedes.then_some(last.number)
    }

    /// Skips what can no longer run, down to the last descendant.
    fn skip(&self, now: Now, run: &Run, board: &Board, batch: &mut Batch) {
        let mut because: FxHashMap<usize, Vec<ObjectId>> = FxHashMap::default();
        let mut queue: Vec<usize> = board.doomed().collect();
        let mut seen: FxHashSet<usize> = queue.iter().copied().collect();
        let mut at = 0;
        while at < queue.len() && batch.has_room() {
            let i = queue[at];
            at += 1;
            let mut culprits: BTreeSet<ObjectId> = BTreeSet::new();
            for parent in board.parents(i) {
                match board.phase(parent) {
                    Phase::Failed => drop(culprits.insert(board.object(parent).id)),
                    Phase::Skipped => culprits.extend(board.attempts(parent).because().unwrap_or_default()),
                    _ => culprits.extend(because.get(&parent).into_iter().flatten()),
                }
            }
            let culprits: Vec<ObjectId> = culprits.into_iter().take(MAX_BECAUSE).collect();
            because.insert(i, culprits.clone());
            batch.push(self.skipped(now, run, board, i, culprits), 0);
            for child in board.children(i) {
                if board.phase(child) == Phase::Waiting && !board.stands_in(i) && seen.insert(child) {
                    queue.push(child);
                }
            }
        }
    }

    fn skipped(&self, now: Now, run: &Run, board: &Board, i: usize, because: Vec<ObjectId>) -> Event {
        let (object, attempt) = (board.object(i).id, board.attempts(i).next_number());
        self.event(now, run.id, Body::ObjectSkipped(Skipped { object, attempt, because }))
    }

    /// Skips all that does not run: something failed for good, and the run is to stop then.
    fn skip_all(&self, now: Now, run: &Run, board: &Board, batch: &mut Batch) {
        let failed = (0..board.len()).filter(|&i| board.phase(i) == Phase::Failed);
        let because: Vec<ObjectId> = failed.map(|i| board.object(i).id).take(MAX_BECAUSE).collect();
        let answered = batch.answered();
        for i in 0..board.len() {
            let waits = matches!(board.phase(i), Phase::Waiting | Phase::Ready | Phase::Retrying);
            if waits && batch.has_room() && !answered.contains(&board.object(i).id) {
                batch.push(self.skipped(now, run, board, i, because.clone()), 0);
            }
        }
    }

    /// What failed, is worth another try and has waited for it, the most urgent first.
    fn due(&mut self, now: Now, run: &Run, board: &Board) -> Vec<usize> {
        let mut due = Vec::new();
        let mut seen = FxHashMap::default();
        for i in board.retrying() {
            let (id, attempts) = (board.object(i).id, board.attempts(i));
            let key = (run.id, id, attempts.next_number());
            let since = self.failures.get(&key).copied().unwrap_or(now.mono);
            seen.insert(key, since);
            let seed = run.id.0.as_u128() as u64 ^ id.0.rotate_left(32) ^ u64::from(key.2);
            let wait = board.rules().wait(attempts.failures(), seed);
            if now.mono.saturating_sub(since) >= wait {
                due.push(i);
            }
        }
        self.failures = seen;
        due
    }

    /// Offers anew what a lost worker held, and where new objects start what strangers did not answer.
    fn reoffer(
        &mut self,
        now: Now,
        caught_up: Mono,
        run: &Run,
        board: &Board,
        members: &Members,
        starting: bool,
        batch: &mut Batch,
    ) {
        let holders: Vec<Uuid> = board.holders().collect();
        self.unheard.retain(|instance, _| holders.contains(instance));
        for instance in holders {
            match self.fate(now.mono, caught_up, run, members, instance) {
                Fate::Alive(heartbeat_read) => {
                    let Some(known) = heartbeat_read.then(|| members.instance(instance)).flatten() else {
                        continue;
                    };
                    for i in board.held(instance) {
                        if is_dropped(known, run.id, board, i) {
                            self.offer(now, run, board, i, Some(Cause::NotHeld), batch);
                        }
                    }
                }
                Fate::Lost => {
                    for i in board.held(instance) {
                        self.lose(now, run, board, i, batch);
                    }
                }
            }
        }
        if self.settings.foreign.is_empty() || !starting || board.is_stopped() {
            return;
        }
        let adopted = batch.answered();
        let mut open = FxHashMap::default();
        let classes = (0..).zip(board.classes().all());
        let theirs = classes.filter(|(_, class)| self.settings.foreign.contains(&class.stage));
        for i in theirs.flat_map(|(class, _)| board.ready(class)) {
            let Some(last) = board.attempts(i).last() else { continue };
            if adopted.contains(&board.object(i).id) {
                continue; // answered in this very decision
            }
            let key = (run.id, board.object(i).id, last.number);
            let since = self.offers.get(&key).copied().unwrap_or(now.mono);
            if now.mono.saturating_sub(since) > self.settings.offer_timeout && batch.has_room() {
                self.offer(now, run, board, i, Some(Cause::OfferExpired), batch);
            }
            open.insert(key, since);
        }
        self.offers = open;
    }

    /// Whether a worker that holds something is lost, by the rules of leases.
    fn fate(&mut self, now: Mono, caught_up: Mono, run: &Run, members: &Members, instance: Uuid) -> Fate {
        if let Some(known) = members.instance(instance) {
            self.unheard.remove(&instance);
            if known.heartbeat.state == WorkerState::Gone {
                return if caught_up >= known.heard { Fate::Lost } else { Fate::Alive(false) };
            }
            let lease = Duration::from_millis(known.heartbeat.lease_ms);
            if known.is_silent(now) && caught_up >= known.lease_from.max(self.since) + lease {
                // A takeover starts leases anew: nobody is silent before a lease of this reign.
                return Fate::Lost;
            }
            return Fate::Alive(caught_up >= known.heard);
        }
        let name = run.worker_name(instance);
        if let Some(newer) = name.and_then(|name| members.named(name)) {
            return if caught_up >= newer.first_heard { Fate::Lost } else { Fate::Alive(false) };
        }
        // Never heard of: a worker that went before this process began to listen, or one that has yet to speak.
        let since = *self.unheard.entry(instance).or_insert(now);
        let lease = members
            .reign()
            .map_or(Duration::from_secs(10), |(reign, _)| Duration::from_millis(reign.lease_ms));
        if now.saturating_sub(since) > lease && caught_up >= since + lease {
            Fate::Lost
        } else {
            Fate::Alive(false)
        }
    }

    /// Offers anew what a lost worker held, unless it has taken too many workers with it.
    fn lose(&self, now: Now, run: &Run, board: &Board, i: usize, batch: &mut Batch) {
        let attempts = board.attempts(i);
        let Some(assignment) = attempts.last().and_then(|last| last.assignment) else { return };
        if assignment.epoch != self.epoch {
            self.offer(now, run, board, i, Some(Cause::Restarted), batch);
            return;
        }
        let lost = attempts.workers_lost() + 1;
        if lost < MAX_WORKERS_LOST {
            self.offer(now, run, board, i, Some(Cause::WorkerLost), batch);
            return;
        }
        let worker = run.worker_name(assignment.instance).map(ToString::to_string);
        let error = format!(
            "{lost} workers went while they held it, the last one {}: it is not tried again",
            worker.as_deref().unwrap_or("unknown")
        );
        let meta = AnswerMeta { worker, error: Some(error), retryable: Some(false), ..AnswerMeta::default() };
        let attempt = attempts.last().map_or(1, |last| last.number);
        let answer = Answer { object: board.object(i).id, attempt, meta };
        batch.push(self.event(now, run.id, Body::ObjectFailed(answer)), 0);
    }

    fn offer(
        &self,
        now: Now,
        run: &Run,
        board: &Board,
        i: usize,
        cause: Option<Cause>,
        batch: &mut Batch,
    ) -> u32 {
        let object = board.object(i);
        let attempt = board.attempts(i).next_number();
        let degraded = degraded(board, i);
        let ready = Ready { object: object.id, attempt, cause, degraded, entry: object.entry.clone() };
        let bytes = object.entry.as_ref().map_or(0, |entry| entry.get().len());
        batch.push(self.event(now, run.id, Body::ObjectReady(ready)), bytes);
        attempt
    }

    /// Offers what has every parent loaded and what is to be tried again, and gives what is offered to workers with a free slot as far as the run's limits
    /// allow: the most urgent object first, to the least busy worker.
    fn start(&mut self, now: Now, run: &Run, board: &Board, members: &Members, batch: &mut Batch) {
        let due = self.due(now, run, board);
        let classes = board.classes().all();
        let mut room = Room::of(run.id, board, members, &self.settings.foreign);
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
            let attempt = self.offer(now, run, board, i, cause, batch);
            if !strange {
                fresh[class].push_back((i, attempt));
            }
        }
        // What is offered again comes first above, whatever its rank.
        for offered in &mut fresh {
            offered.make_contiguous().sort_by_key(|&(i, _)| board.rank(i));
        }
        let mut slots = Slots::of(now.mono, run.id, board, members);
        let mut candidates: BinaryHeap<Reverse<(u32, usize, u32, usize, bool)>> = BinaryHeap::new();
        let mut waiting: Vec<_> = (0..classes.len()).map(|class| board.ready(class)).collect();
        let mut pull = |class: usize, is_fresh: bool, candidates: &mut BinaryHeap<_>| {
            let next = if is_fresh {
                fresh[class].pop_front()
            } else {
                let attempt = |i| board.attempts(i).last().map_or(1, |last| last.number);
                waiting[class].next().map(|i| (i, attempt(i)))
            };
            if let Some((i, attempt)) = next {
                candidates.push(Reverse((board.rank(i), i, attempt, class, is_fresh)));
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
        while let Some(Reverse((_, i, attempt, class, is_fresh))) = candidates.pop() {
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

/// The objects before this one whose last good version serves in place of this run's, some of them where there are many.
fn degraded(board: &Board, i: usize) -> Vec<ObjectId> {
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

/// How much more the limits allow, by pool.
struct Room<'a> {
    board: &'a Board,
    left: Vec<u32>,
}

impl<'a> Room<'a> {
    fn of(run: RunId, board: &'a Board, members: &Members, foreign: &BTreeSet<Stage>) -> Room<'a> {
        let most = |pool: &super::limit::Pool| pool.limit.most;
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
        // Workers may still hold something of a run that has just been stopped.
        for known in members.workers() {
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

/// Whether a worker lives, and if so whether its heartbeat may be held against what it does not hold.
enum Fate {
    Alive(bool),
    Lost,
}

/// Whether a worker's heartbeat, read after everything it could have answered, says that it does not hold object `i`.
fn is_dropped(known: &Known, run: RunId, board: &Board, i: usize) -> bool {
    let Some(last) = board.attempts(i).last() else { return false };
    let Some(assignment) = last.assignment else { return false };
    let held = Held { run_id: run, id_objet: board.object(i).id, attempt: last.number };
    let read_to = known.heartbeat.read_to.get(assignment.place.partition as usize).copied().unwrap_or(0);
    read_to > assignment.place.offset && !known.heartbeat.running.contains(&held)
}

/// How many objects ended how.
pub fn counts(board: &Board) -> Counts {
    Counts {
        objects: board.len() as u64,
        loaded: board.total(Phase::Loaded),
        failed: board.total(Phase::Failed),
        skipped: board.total(Phase::Skipped),
        degraded: board.degraded(),
        reused: board.reused(),
    }
}

/// Events under way, bounded.
#[derive(Default)]
struct Batch {
    events: Vec<Event>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, event: Event, entry_bytes: usize) {
        self.bytes += 300 + entry_bytes;
        self.events.push(event);
    }

    /// The objects that this decision answers for.
    fn answered(&self) -> FxHashSet<ObjectId> {
        let answers = |event: &&Event| matches!(event.body, Body::ObjectLoaded(_) | Body::ObjectFailed(_));
        let answers = self.events.iter().filter(answers);
        answers.filter_map(|event| event.body.object().map(|(object, _)| object)).collect()
    }

    fn has_room(&self) -> bool {
        self.events.len() < MAX_DECISION_EVENTS && self.bytes < MAX_DECISION_BYTES
    }

    /// Assignments follow the offers of the same decision, so they have room of their own.
    fn has_assignment_room(&self) -> bool {
        self.events.len() < 2 * MAX_DECISION_EVENTS && self.bytes < 2 * MAX_DECISION_BYTES
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
