//! A run on a virtual clock: the very code that runs the night's load decides, workers that only wait do the work.
//!
//! [`Scheduler::decide`] and the fold take part as they are; time moves from one answer to the next. Processes do not die here
//! and no event is lost: that is [`super::simulation`]'s.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::Duration;

use jiff::Timestamp;
use rustc_hash::FxHashSet;
use uuid::Uuid;

use super::attempt::Phase;
use super::board::Board;
use super::event::{
    Answer, AnswerMeta, Body, Counts, Event, Outcome, Place, PlannedObject, Request, RunId, Version,
};
use super::history::History;
use super::member::{Heartbeat, Member, Members, WorkerState};
use super::object::{ObjectId, Stage};
use super::rules::{OnFailure, Rules};
use super::run::Stamp;
use super::scheduler::{self, Now, Scheduler, Settings};
use super::turns;

const RUN: RunId = RunId(Uuid::from_u128(1));
/// Nobody is silent here.
const LEASE_MS: u64 = 1 << 50;

/// What is to be rehearsed.
#[derive(Clone, Debug)]
pub struct Script {
    /// The objects, each with how long it takes in `expected_ms`; where it has none, as its stage usually does.
    pub objects: Vec<PlannedObject>,
    /// By which rules the run goes. With [`OnFailure::Continue`] each object is taken to have been loaded before.
    pub rules: Rules,
    /// How many objects of each stage run at once, at least 1.
    pub slots: [u32; Stage::ALL.len()],
    /// The objects that fail, for good, at the end of their time.
    pub fails: FxHashSet<ObjectId>,
}

/// How a rehearsed run went.
#[derive(Clone, Debug)]
pub struct Played {
    /// The objects, in the order of the script.
    pub objects: Vec<PlayedObject>,
    /// When the last event was, in milliseconds from the plan.
    pub end_ms: u64,
    /// For how long slots of each stage were in use, together, in milliseconds.
    pub busy_ms: [u64; Stage::ALL.len()],
    /// How many objects ended how.
    pub counts: Counts,
    /// How the run ended; none: it did not, because something is left that can never run.
    pub outcome: Option<Outcome>,
    /// How often the scheduler decided.
    pub decisions: u64,
}

/// How it went with one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayedObject {
    /// When it was given to a worker, in milliseconds from the plan.
    pub start_ms: Option<u64>,
    /// When the worker answered, in milliseconds from the plan.
    pub end_ms: Option<u64>,
    /// Where it stands in the end.
    pub phase: Phase,
    /// It was loaded with an older version of something before it.
    pub degraded: bool,
}

impl Script {
    /// How long each object takes, in milliseconds.
    pub fn durations_ms(&self) -> Vec<u64> {
        super::board::expected_ms(&self.objects)
    }

    /// Lets the plan say in which turn each object comes, as the orchestrator does.
    pub fn take_turns(&mut self) {
        turns::set(&mut self.objects, &self.rules, self.slots.map(Some));
    }

    /// Plays it. `took_ms`: how long each object takes in truth, in milliseconds.
    pub fn play(&self, took_ms: &[u64]) -> Played {
        let mut objects = self.objects.clone();
        if self.rules.on_failure == OnFailure::Continue {
            for object in &mut objects {
                let before = Version { at: Timestamp::UNIX_EPOCH, run_id: RunId(Uuid::nil()) };
                object.last_good.get_or_insert(before);
            }
        }
        let mut stage = Stand::new(self.slots);
        let requested = Body::RunRequested(Request::default());
        stage.fold(&Event { at: now(0).wall, run: Some(RUN), epoch: None, body: requested });
        for event in stage.scheduler.planned(now(0), RUN, &[0], &self.rules, objects) {
            stage.fold(&event);
        }
        stage.play(took_ms, &self.fails)
    }
}

fn now(ms: u64) -> Now {
    let mono = Duration::from_millis(ms);
    Now { mono, wall: Timestamp::UNIX_EPOCH.checked_add(mono).unwrap_or(Timestamp::MAX) }
}

/// The log's fold, the scheduler, and the workers.
struct Stand {
    history: History,
    members: Members,
    scheduler: Scheduler,
    offset: u64,
    /// What the workers hold: when each ends, its place in the plan and its attempt.
    ends: BinaryHeap<Reverse<(u64, usize, u32)>>,
    starts_ms: Vec<Option<u64>>,
    ends_ms: Vec<Option<u64>>,
    busy_ms: [u64; Stage::ALL.len()],
}

impl Stand {
    fn new(slots: [u32; Stage::ALL.len()]) -> Stand {
        let mut members = Members::default();
        for (stage, slots) in Stage::ALL.into_iter().zip(slots) {
            let heartbeat = Heartbeat {
                worker: stage.name().into(),
                instance: Uuid::from_u128(1 + stage.index() as u128),
                stages: vec![stage],
                slots,
                state: WorkerState::Up,
                lease_ms: LEASE_MS,
                epoch: 1,
                read_to: Vec::new(),
                running: Vec::new(),
                foreign: false,
            };
            members.apply(Member::Worker(heartbeat), Duration::ZERO);
        }
        let settings = Settings { foreign: BTreeSet::new(), offer_timeout: Duration::MAX };
        Stand {
            history: History::default(),
            members,
            scheduler: Scheduler::new(1, Duration::ZERO, settings),
            offset: 0,
            ends: BinaryHeap::new(),
            starts_ms: Vec::new(),
            ends_ms: Vec::new(),
            busy_ms: [0; Stage::ALL.len()],
        }
    }

    fn fold(&mut self, event: &Event) {
        let stamp = Stamp { place: Place { partition: 0, offset: self.offset }, timestamp_us: 0 };
        self.offset += 1;
        let folded = self.history.apply(event, stamp);
        debug_assert!(folded.is_ok(), "the plan has every object of its own run");
    }

    fn board(&self) -> Option<&Board> {
        self.history.run(RUN)?.board()
    }

    fn play(mut self, took_ms: &[u64], fails: &FxHashSet<ObjectId>) -> Played {
        let n = self.board().map_or(0, Board::len);
        (self.starts_ms, self.ends_ms) = (vec![None; n], vec![None; n]);
        let (mut now_ms, mut decisions) = (0, 0);
        while self.history.run(RUN).is_some_and(|run| run.finished.is_none()) {
            decisions += 1;
            let at = now(now_ms);
            let decision = self.scheduler.decide(at, at.mono, &self.history, &self.members, &[], true);
            if !decision.events.is_empty() {
                for event in &decision.events {
                    self.take_in(event, now_ms, took_ms);
                }
                continue;
            }
            // All answers of one instant are known before anything more is decided.
            let Some(&Reverse((next_ms, _, _))) = self.ends.peek() else { break };
            now_ms = next_ms;
            while let Some(&Reverse((end_ms, i, attempt))) = self.ends.peek() {
                if end_ms != now_ms {
                    break;
                }
                self.ends.pop();
                self.answer(i, attempt, now_ms, took_ms[i], fails);
            }
        }
        self.played(now_ms, decisions)
    }

    /// Folds what the scheduler decided; what it gives to a worker begins.
    fn take_in(&mut self, event: &Event, now_ms: u64, took_ms: &[u64]) {
        self.fold(event);
        if let Body::ObjectAssigned(assigned) = &event.body
            && let Some(i) = self.board().and_then(|board| board.position(assigned.object))
        {
            self.starts_ms[i] = Some(now_ms);
            self.ends.push(Reverse((now_ms.saturating_add(took_ms[i]), i, assigned.attempt)));
        }
    }

    fn answer(&mut self, i: usize, attempt: u32, now_ms: u64, took_ms: u64, fails: &FxHashSet<ObjectId>) {
        let Some(board) = self.board() else { return };
        let (object, stage) = (board.object(i).id, board.object(i).stage);
        self.busy_ms[stage.index()] += took_ms;
        self.ends_ms[i] = Some(now_ms);
        let meta = AnswerMeta {
            duration_seconds: Some(Duration::from_millis(took_ms).as_secs_f64()),
            ..AnswerMeta::default()
        };
        let body = if fails.contains(&object) {
            let meta = AnswerMeta { error: Some("asked to fail".into()), retryable: Some(false), ..meta };
            Body::ObjectFailed(Answer { object, attempt, meta })
        } else {
            Body::ObjectLoaded(Answer { object, attempt, meta })
        };
        self.fold(&Event { at: now(now_ms).wall, run: Some(RUN), epoch: None, body });
    }

    fn played(&self, end_ms: u64, decisions: u64) -> Played {
        let run = self.history.run(RUN);
        let objects = self.board().map_or_else(Vec::new, |board| {
            let object = |i| PlayedObject {
                start_ms: self.starts_ms[i],
                end_ms: self.ends_ms[i],
                phase: board.phase(i),
                degraded: board.phase(i) == Phase::Loaded && !board.attempts(i).degraded().is_empty(),
            };
            (0..board.len()).map(object).collect()
        });
        Played {
            objects,
            end_ms,
            busy_ms: self.busy_ms,
            counts: self.board().map_or_else(Counts::default, scheduler::counts),
            outcome: run.and_then(|run| Some(run.finished.as_ref()?.1.outcome)),
            decisions,
        }
    }
}
