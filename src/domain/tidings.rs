//! What of the log is worth telling people who are not looking: an object that failed for good, a run that is over.
//!
//! Knows nobody who would be told. One orchestrator tells, and each thing once in its reign:
//!
//! - What the leader reads is due at once.
//! - What the log already held when a process began is history, and never due.
//! - What a standby reads it keeps until it hears the leader again, who has told it; if the standby comes to lead, what it has
//!   kept since the last sign of the other one is due. So what goes on while nobody leads is told, and what a leader read just
//!   before it died may be told twice.

use std::collections::VecDeque;

use uuid::Uuid;

use super::attempt::Phase;
use super::event::{Body, Event, Reject, RunId};
use super::history::History;
use super::member::Member;
use super::object::ObjectId;
use super::run::{Run, Stamp};

/// More than this wait for nobody: the oldest are forgotten.
const KEPT: usize = 1_000;

/// Something to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tiding {
    /// An object failed for good.
    ObjectFailed {
        /// The run.
        run: RunId,
        /// The object.
        object: ObjectId,
    },
    /// A run is over.
    RunFinished {
        /// The run.
        run: RunId,
    },
}

/// What is to be told, and what may be.
#[derive(Debug, Default)]
pub struct Tidings {
    /// This start of this orchestrator. None: nobody is told anything.
    instance: Option<Uuid>,
    /// Read while somebody else led, or nobody.
    kept: VecDeque<Tiding>,
    /// To be told.
    due: VecDeque<Tiding>,
}

/// How a process stands to the log at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// It reads what was there before it began.
    ReadsHistory,
    /// It reads along.
    StandsBy,
    /// It leads.
    Leads,
}

impl Tidings {
    /// Those that this orchestrator is to tell.
    pub fn of(instance: Uuid) -> Tidings {
        Tidings { instance: Some(instance), ..Tidings::default() }
    }

    /// Folds an event into the history, and notes what it brought about.
    ///
    /// # Errors
    /// Those of [`History::apply`].
    pub fn fold(
        &mut self,
        history: &mut History,
        event: &Event,
        stamp: Stamp,
        stance: Stance,
    ) -> Result<(), Reject> {
        let (Some(id), true) = (event.run, self.instance.is_some() && stance != Stance::ReadsHistory) else {
            return history.apply(event, stamp);
        };
        let before = Sight::of(history.run(id), &event.body);
        let folded = history.apply(event, stamp);
        let Some(run) = history.run(id) else { return folded };
        // A run that is over has been told of; whoever looks sees what came late.
        match (before, &event.body) {
            (Sight::Before, Body::ObjectFailed(answer))
                if run.finished.is_none() && phase(run, answer.object) == Some(Phase::Failed) =>
            {
                self.note(Tiding::ObjectFailed { run: id, object: answer.object }, stance);
            }
            (Sight::Before, Body::RunPlanned(_)) => {
                // Answers may come before their plan, from another partition.
                for (i, object) in run.board().iter().flat_map(|board| board.objects().iter().enumerate()) {
                    if run.board().is_some_and(|board| board.phase(i) == Phase::Failed) {
                        self.note(Tiding::ObjectFailed { run: id, object: object.id }, stance);
                    }
                }
            }
            // Of one that has neither plan nor request only remains are known: it may have ended long ago.
            (Sight::Before, Body::RunFinished(_)) if run.finished.is_some() && !run.is_remains() => {
                self.note(Tiding::RunFinished { run: id }, stance);
            }
            _ => {}
        }
        folded
    }

    /// Hears a member: what another leader may know is that one's to tell.
    pub fn hear(&mut self, member: &Member) {
        if let Member::Leader(reign) = member
            && Some(reign.instance) != self.instance
        {
            self.kept.clear();
        }
    }

    /// Whether [`Tidings::take`] would bring anything.
    pub fn are_due(&self, stance: Stance) -> bool {
        !self.due.is_empty() || (stance == Stance::Leads && !self.kept.is_empty())
    }

    /// What is to be told now, in the order in which it was read.
    pub fn take(&mut self, stance: Stance) -> Vec<Tiding> {
        if stance == Stance::Leads {
            self.due.append(&mut self.kept);
        }
        self.due.drain(..).collect()
    }

    fn note(&mut self, tiding: Tiding, stance: Stance) {
        let queue = if stance == Stance::Leads {
            self.due.append(&mut self.kept);
            &mut self.due
        } else {
            &mut self.kept
        };
        queue.push_back(tiding);
        if queue.len() > KEPT {
            queue.pop_front();
        }
    }
}

/// Whether what an event may bring about had been so before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sight {
    /// Not yet.
    Before,
    /// It had, or nothing of this event is worth telling.
    After,
}

impl Sight {
    fn of(run: Option<&Run>, body: &Body) -> Sight {
        let had = match body {
            Body::ObjectFailed(answer) => {
                run.is_some_and(|run| phase(run, answer.object) == Some(Phase::Failed))
            }
            Body::RunPlanned(_) => run.is_some_and(|run| run.board().is_some()),
            Body::RunFinished(_) => run.is_some_and(|run| run.finished.is_some()),
            _ => true,
        };
        if had { Sight::After } else { Sight::Before }
    }
}

fn phase(run: &Run, object: ObjectId) -> Option<Phase> {
    let board = run.board()?;
    Some(board.phase(board.position(object)?))
}

#[cfg(test)]
mod tests {
    use crate::domain::rules::Rules;
    use jiff::Timestamp;

    use super::*;
    use crate::domain::event::{
        Answer, AnswerMeta, Counts, Finished, Outcome, Place, PlanPart, PlannedObject,
    };
    use crate::domain::member::Reign;
    use crate::domain::object::{Criticality, Stage};

    const OURS: Uuid = Uuid::from_u128(1);
    const RUN: RunId = RunId(Uuid::from_u128(7));

    struct World {
        tidings: Tidings,
        history: History,
        offset: u64,
    }

    impl World {
        fn new() -> World {
            World { tidings: Tidings::of(OURS), history: History::default(), offset: 0 }
        }

        fn read(&mut self, stance: Stance, body: Body) {
            let event = Event { at: Timestamp::UNIX_EPOCH, run: Some(RUN), epoch: None, body };
            let stamp = Stamp { place: Place { partition: 0, offset: self.offset }, timestamp_us: 0 };
            self.offset += 1;
            self.tidings.fold(&mut self.history, &event, stamp, stance).expect("of the plan");
        }

        fn hear(&mut self, instance: Uuid) {
            let reign = Reign { epoch: 1, instance, lease_ms: 10, gone: false, drains: Vec::new() };
            self.tidings.hear(&Member::Leader(reign));
        }

        /// What is told now: the objects that failed, and 0 for the end of the run.
        #[track_caller]
        fn tells(&mut self, stance: Stance, expected: &[u64]) {
            assert_eq!(self.tidings.are_due(stance), !expected.is_empty());
            let told = self.tidings.take(stance).into_iter().map(|tiding| match tiding {
                Tiding::ObjectFailed { object, .. } => object.0,
                Tiding::RunFinished { .. } => 0,
            });
            assert_eq!(told.collect::<Vec<_>>(), expected);
        }
    }

    fn plan() -> Body {
        let object = |id| PlannedObject::new(ObjectId(id), Stage::Ingest, Criticality::default());
        let objects = [1001, 1002, 1003].map(object).into();
        Body::RunPlanned(PlanPart {
            part: 0,
            parts: 1,
            partitions: 1,
            begins: Vec::new(),
            rules: Rules { retries: 1, ..Rules::default() },
            objects,
        })
    }

    fn failed(id: u64, attempt: u32, retryable: bool) -> Body {
        let meta = AnswerMeta { retryable: Some(retryable), ..AnswerMeta::default() };
        Body::ObjectFailed(Answer { object: ObjectId(id), attempt, meta })
    }

    fn finished() -> Body {
        Body::RunFinished(Finished {
            outcome: Outcome::Failed,
            reason: None,
            counts: Counts::default(),
            duration_seconds: 1.0,
            problems: None,
        })
    }

    use Stance::{Leads, ReadsHistory, StandsBy};

    #[test]
    fn the_leader_tells_each_thing_once_and_what_is_tried_again_not_yet() {
        let mut world = World::new();
        world.read(Leads, plan());
        world.read(Leads, failed(1001, 1, false));
        world.read(Leads, failed(1001, 1, false));
        world.read(Leads, failed(1002, 1, true));
        world.tells(Leads, &[1001]);
        world.read(Leads, failed(1002, 2, true));
        world.read(Leads, finished());
        world.read(Leads, finished());
        // It may step down before anybody has looked.
        world.tells(StandsBy, &[1002, 0]);
        world.read(Leads, failed(1003, 1, false));
        world.tells(Leads, &[]);
    }

    #[test]
    fn history_is_no_news() {
        let mut world = World::new();
        for body in [plan(), failed(1001, 1, false), finished()] {
            world.read(ReadsHistory, body);
        }
        world.tells(Leads, &[]);
    }

    #[test]
    fn a_standby_tells_what_the_leader_cannot_have_told() {
        let mut world = World::new();
        world.read(ReadsHistory, plan());
        world.read(StandsBy, failed(1001, 1, false));
        world.tells(StandsBy, &[]);
        world.hear(Uuid::from_u128(2));
        world.read(StandsBy, failed(1002, 1, false));
        // Its own sign of life, from before it came in doubt, says nothing.
        world.hear(OURS);
        world.tells(StandsBy, &[]);
        world.tells(Leads, &[1002]);
        world.read(StandsBy, failed(1003, 1, false));
        world.read(Leads, finished());
        world.tells(Leads, &[1003, 0]);
    }

    #[test]
    fn an_answer_may_come_before_its_plan() {
        let mut world = World::new();
        world.read(Leads, failed(1002, 1, false));
        world.tells(Leads, &[]);
        world.read(Leads, plan());
        world.tells(Leads, &[1002]);
    }

    #[test]
    fn what_waits_for_nobody_is_bounded() {
        let mut tidings = Tidings::of(OURS);
        for id in 0..2 * KEPT as u64 {
            tidings.note(Tiding::ObjectFailed { run: RUN, object: ObjectId(id) }, StandsBy);
        }
        let told = tidings.take(Leads);
        assert_eq!(told.len(), KEPT);
        assert_eq!(told[0], Tiding::ObjectFailed { run: RUN, object: ObjectId(KEPT as u64) });
    }
}
