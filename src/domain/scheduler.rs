//! What runs next. Pure: the time and what is known go in, the events to append come out.
//!
//! A decision follows from the fold alone. The caller appends what [`Scheduler::decide`] returns and reads the log past
//! it before it asks again, so nothing is decided twice; what a crash or a lost record undoes, the next look repairs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::attempt::Phase;
use super::board::Board;
use super::event::{
    Answer, AnswerMeta, Body, Cause, Counts, Epoch, Event, Finished, Outcome, PlanPart, PlannedObject, Ready,
    RunId, Skipped,
};
use super::history::{History, StrangersAnswer};
use super::member::{Members, Mono};
use super::object::{ObjectId, Stage};
use super::rules::Rules;
use super::run::Run;

mod leases;
mod start;

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

/// What a decision about one run looks at.
#[derive(Clone, Copy)]
struct Look<'a> {
    now: Now,
    caught_up: Mono,
    run: &'a Run,
    board: &'a Board,
    members: &'a Members,
    starting: bool,
}

impl Look<'_> {
    /// Whether new objects may start.
    fn starts(&self) -> bool {
        self.starting && !self.board.is_stopped()
    }
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
        let look = Look { now, caught_up, run, board, members, starting };
        let mut batch = Batch::default();
        let late = self.adopt(look, strangers, &mut batch);
        if board.is_stopped() {
            self.skip_all(look, &mut batch);
        } else {
            self.skip(look, &mut batch);
        }
        self.reoffer(look, &mut batch);
        if look.starts() {
            self.start(look, &mut batch);
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
    fn adopt(&self, look: Look<'_>, strangers: &[StrangersAnswer], batch: &mut Batch) -> usize {
        let Look { now, run, board, .. } = look;
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
    fn skip(&self, look: Look<'_>, batch: &mut Batch) {
        let board = look.board;
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
            batch.push(self.skipped(look, i, culprits), 0);
            for child in board.children(i) {
                if board.phase(child) == Phase::Waiting && !board.stands_in(i) && seen.insert(child) {
                    queue.push(child);
                }
            }
        }
    }

    fn skipped(&self, look: Look<'_>, i: usize, because: Vec<ObjectId>) -> Event {
        let Look { now, run, board, .. } = look;
        let (object, attempt) = (board.object(i).id, board.attempts(i).next_number());
        self.event(now, run.id, Body::ObjectSkipped(Skipped { object, attempt, because }))
    }

    /// Skips all that does not run: something failed for good, and the run is to stop then.
    fn skip_all(&self, look: Look<'_>, batch: &mut Batch) {
        let board = look.board;
        if [Phase::Waiting, Phase::Ready, Phase::Retrying].iter().all(|phase| board.total(*phase) == 0) {
            return;
        }
        let failed = (0..board.len()).filter(|&i| board.phase(i) == Phase::Failed);
        let because: Vec<ObjectId> = failed.map(|i| board.object(i).id).take(MAX_BECAUSE).collect();
        let answered = batch.answered();
        for i in 0..board.len() {
            let waits = matches!(board.phase(i), Phase::Waiting | Phase::Ready | Phase::Retrying);
            if waits && batch.has_room() && !answered.contains(&board.object(i).id) {
                batch.push(self.skipped(look, i, because.clone()), 0);
            }
        }
    }

    fn offer(&self, look: Look<'_>, i: usize, cause: Option<Cause>, batch: &mut Batch) -> u32 {
        let Look { now, run, board, .. } = look;
        let object = board.object(i);
        let attempt = board.attempts(i).next_number();
        let degraded = start::degraded(board, i);
        let ready = Ready { object: object.id, attempt, cause, degraded, entry: object.entry.clone() };
        let bytes = object.entry.as_ref().map_or(0, |entry| entry.get().len());
        batch.push(self.event(now, run.id, Body::ObjectReady(ready)), bytes);
        attempt
    }
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
