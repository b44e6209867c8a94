//! The look at one plan that an answer is made of: where an object stands, what holds it, the ways to the causes.

use jiff::Timestamp;

use super::{
    Busy, Chain, Hold, Link, MAX_CHAINS, MAX_LISTED, MAX_VIA, Older, SOON, Situation, Standing, Why,
};
use crate::domain::attempt::Phase;
use crate::domain::board::Board;
use crate::domain::event::{name_of, time_text};
use crate::domain::member::WorkerState;
use crate::domain::object::{ObjectId, Stage};

/// A look at one plan.
pub(super) struct Look<'a> {
    situation: &'a Situation<'a>,
    board: &'a Board,
    /// By stage: whether consumers of the old format have answered for it in this run. None: not looked yet.
    strangers: [Option<bool>; Stage::ALL.len()],
}

impl<'a> Look<'a> {
    /// A look at the plan of this situation's run.
    pub(super) fn new(situation: &'a Situation<'a>, board: &'a Board) -> Look<'a> {
        Look { situation, board, strangers: [None; Stage::ALL.len()] }
    }

    /// Where an object stands.
    pub(super) fn standing(&mut self, i: usize) -> Standing {
        let (object, attempts) = (self.board.object(i), self.board.attempts(i));
        Standing {
            id: object.id,
            name: name_of(&object.entry).map(String::from),
            stage: Some(object.stage),
            degraded: attempts.degraded().iter().take(MAX_LISTED).map(|id| self.older(*id)).collect(),
            reused: attempts.reused(),
            marked: attempts.marked().cloned(),
            why: self.why(i),
        }
    }

    fn older(&self, id: ObjectId) -> Older {
        let at = self.board.position(id);
        let object = at.map(|at| self.board.object(at));
        Older {
            id,
            name: object.and_then(|object| name_of(&object.entry)).map(String::from),
            state: at.map_or_else(String::new, |at| self.board.phase(at).name().into()),
            version: object.and_then(|object| object.last_good),
        }
    }

    fn why(&mut self, i: usize) -> Why {
        let (situation, board) = (self.situation, self.board);
        let phase = board.phase(i);
        if situation.run.finished.is_some() && !phase.is_final() {
            return Why::NotRun { was: phase.name().into() };
        }
        let attempts = board.attempts(i);
        let last = attempts.last();
        let number = last.map_or(1, |last| last.number);
        let worker = last.and_then(|last| situation.worker(last));
        let failure = || attempts.failure().map_or_else(String::new, |failure| failure.error.clone());
        match phase {
            Phase::Waiting => {
                let unmet = board.parents(i).filter(|&parent| !board.is_met(parent)).count();
                if unmet > 0 {
                    return Why::Waiting { unmet };
                }
                Why::Ready { attempt: 1, since: None, seconds: None, hold: self.hold(i, None) }
            }
            Phase::Ready => {
                let offered = last.and_then(|last| last.offer).map(|offer| offer.at);
                Why::Ready {
                    attempt: number,
                    since: offered.map(time_text),
                    seconds: offered.map(|at| situation.seconds_since(at)),
                    hold: self.hold(i, offered),
                }
            }
            Phase::Running => {
                let assignment = last.and_then(|last| last.assignment);
                let since = assignment.map_or(situation.now.wall, |assignment| assignment.at);
                let known = assignment.and_then(|given| situation.members.instance(given.instance));
                let silent = known.filter(|known| known.is_silent(situation.now.mono));
                Why::Running {
                    attempt: number,
                    worker,
                    since: time_text(since),
                    seconds: situation.seconds_since(since),
                    silent_seconds: silent
                        .map(|known| situation.now.mono.saturating_sub(known.heard).as_secs_f64()),
                }
            }
            Phase::Retrying => {
                let hold = self.undecided().unwrap_or_else(|| self.backoff(i));
                Why::Retrying { attempt: number, worker, error: failure(), hold }
            }
            Phase::Loaded => {
                let by = attempts.all().iter().find_map(|attempt| {
                    let answer = attempt.answer.as_ref().filter(|answer| answer.failure.is_none())?;
                    Some((attempt, answer))
                });
                let without = attempts.reused().map(|version| version.at);
                let without = without.or(attempts.marked().map(|mark| mark.at));
                let at = by.map(|(_, answer)| answer.at).or(without);
                Why::Loaded {
                    attempt: by.map_or(number, |(attempt, _)| attempt.number),
                    worker: by.and_then(|(attempt, _)| situation.worker(attempt)),
                    at: at.map_or_else(String::new, time_text),
                    duration_seconds: by.and_then(|(_, answer)| answer.duration_seconds),
                }
            }
            Phase::Failed => Why::Failed {
                attempts: last.map_or(0, |last| last.number),
                worker,
                at: last
                    .and_then(|last| last.answer.as_ref())
                    .map(|answer| answer.at)
                    .or(attempts.marked().map(|mark| mark.at))
                    .map(time_text),
                error: failure(),
                stderr: attempts.failure().and_then(|failure| failure.stderr.clone()),
            },
            Phase::Skipped => Why::Skipped { stopped: board.is_stopped() },
        }
    }

    /// What keeps the orchestrator from deciding anything about the run.
    fn undecided(&self) -> Option<Hold> {
        let situation = self.situation;
        if situation.run.cancel.is_some() {
            Some(Hold::Cancelling)
        } else if situation.run.paused().is_some() {
            Some(Hold::Paused)
        } else if !situation.members.is_led(situation.now.mono) {
            Some(Hold::NoLeader)
        } else if self.board.is_stopped() {
            Some(Hold::Stopping)
        } else {
            None
        }
    }

    /// What the next try of an object waits for that failed.
    fn backoff(&self, i: usize) -> Hold {
        let now = self.situation.now.wall;
        let until = self.situation.run.next_try_at(self.board, i).filter(|until| *until > now);
        until.map_or(Hold::Soon, |until| Hold::Backoff {
            until: time_text(until),
            seconds: until.duration_since(now).as_secs_f64(),
        })
    }

    /// The limit that lets no more objects like this one run.
    fn limit(&self, i: usize) -> Option<Hold> {
        let (board, classes) = (self.board, self.board.classes());
        let pools_of = |i: usize| &classes.all()[classes.class(i)].pools;
        let used = |pool: u32| -> u32 {
            let of_pool = classes.all().iter().enumerate().filter(|(_, class)| class.pools.contains(&pool));
            of_pool.map(|(class, _)| board.running(class)).sum()
        };
        let most = |pool: u32| &classes.pools()[pool as usize].limit;
        let full = pools_of(i).iter().copied().find(|&pool| used(pool) >= most(pool).most)?;
        let runs = |at: &usize| board.phase(*at) == Phase::Running && pools_of(*at).contains(&full);
        let mut by: Vec<Busy> = (0..board.len()).filter(runs).map(|at| self.busy(at)).collect();
        by.sort_by(|a, b| b.seconds.unwrap_or(f64::MAX).total_cmp(&a.seconds.unwrap_or(f64::MAX)));
        let more = by.len().saturating_sub(MAX_LISTED);
        by.truncate(MAX_LISTED);
        Some(Hold::Limit { limit: most(full).to_string(), by, more })
    }

    /// An object that runs.
    fn busy(&self, i: usize) -> Busy {
        let object = self.board.object(i);
        let given = self.board.attempts(i).last().and_then(|last| last.assignment);
        let worker = given.and_then(|given| self.situation.run.worker_name(given.instance));
        Busy {
            id: object.id,
            name: name_of(&object.entry).map(String::from),
            worker: worker.map_or_else(|| "?".into(), ToString::to_string),
            seconds: given.map(|given| self.situation.seconds_since(given.at)),
            run_id: None,
        }
    }

    /// What keeps an object from a worker whose parents are all loaded.
    fn hold(&mut self, i: usize, offered: Option<Timestamp>) -> Hold {
        if let Some(hold) = self.undecided() {
            return hold;
        }
        let stage = self.board.object(i).stage;
        if self.strangers_answer(stage) {
            return Hold::Strangers;
        }
        let (situation, board) = (self.situation, self.board);
        let (mut slots, mut workers, mut free, mut lost, mut by) = (0, 0, 0, Vec::new(), Vec::new());
        for known in situation.members.workers() {
            let heartbeat = &known.heartbeat;
            // One that serves an orchestrator of the old system is never given anything.
            let serves = heartbeat.stages.contains(&stage) && !heartbeat.foreign;
            if !serves || heartbeat.state == WorkerState::Gone {
                continue;
            }
            if heartbeat.state != WorkerState::Up || known.is_silent(situation.now.mono) {
                lost.push(heartbeat.worker.clone());
                continue;
            }
            let busy = |id, name, seconds, run_id| Busy {
                id,
                name,
                worker: heartbeat.worker.clone(),
                seconds,
                run_id,
            };
            let before = by.len();
            for held in board.held(heartbeat.instance) {
                let object = board.object(held);
                let given = board.attempts(held).last().and_then(|last| last.assignment);
                let seconds = given.map(|given| situation.seconds_since(given.at));
                by.push((Some(held), busy(object.id, None, seconds, None)));
            }
            let elsewhere = heartbeat.running.iter().filter(|held| held.run_id != situation.run.id);
            by.extend(elsewhere.map(|held| (None, busy(held.id_objet, None, None, Some(held.run_id)))));
            workers += 1;
            slots += u64::from(heartbeat.slots);
            free += (heartbeat.slots as usize).saturating_sub(by.len() - before);
        }
        if workers == 0 {
            lost.truncate(MAX_LISTED);
            return Hold::NoWorker { lost };
        }
        if let Some(limit) = self.limit(i) {
            return limit;
        }
        if free == 0 {
            let since = |busy: &Busy| busy.seconds.unwrap_or(f64::MAX);
            by.sort_by(|(_, a), (_, b)| since(b).total_cmp(&since(a)).then(a.id.cmp(&b.id)));
            let more = by.len().saturating_sub(MAX_LISTED);
            let by = by.into_iter().take(MAX_LISTED).map(|(at, mut busy)| {
                busy.name = at.and_then(|at| name_of(&board.object(at).entry)).map(String::from);
                busy
            });
            return Hold::SlotsBusy { slots, workers, by: by.collect(), more };
        }
        if offered.is_some_and(|at| situation.seconds_since(at) > SOON.as_secs_f64()) {
            return Hold::PerhapsStrangers;
        }
        Hold::Soon
    }

    /// Whether an object of the stage was answered for in this run without having been given to a worker.
    fn strangers_answer(&mut self, stage: Stage) -> bool {
        let board = self.board;
        *self.strangers[stage.index()].get_or_insert_with(|| {
            let of_stage = (0..board.len()).filter(|&i| board.object(i).stage == stage);
            let mut attempts = of_stage.flat_map(|i| board.attempts(i).all());
            attempts.any(|attempt| attempt.answer.is_some() && attempt.assignment.is_none())
        })
    }

    /// The causes why object `i` waits or was skipped, each by a shortest way: breadth first, from parent to parent.
    pub(super) fn chains(&mut self, i: usize) -> (Vec<Chain>, usize) {
        const UNSEEN: u32 = u32::MAX;
        let board = self.board;
        let mut child_of = vec![UNSEEN; board.len()];
        let mut distances = vec![0_u32; board.len()];
        child_of[i] = i as u32;
        let mut queue = vec![i];
        let mut culprits: Vec<(u8, u32, ObjectId, usize)> = Vec::new();
        let mut at = 0;
        while let Some(&node) = queue.get(at) {
            at += 1;
            let phase = board.phase(node);
            let mut is_cause = true;
            if matches!(phase, Phase::Waiting | Phase::Skipped) {
                for parent in board.parents(node) {
                    let counts = match (phase, board.phase(parent)) {
                        (Phase::Skipped, of_parent) => of_parent.dooms_children() && !board.stands_in(parent),
                        _ => !board.is_met(parent),
                    };
                    is_cause &= !counts;
                    if counts && child_of[parent] == UNSEEN {
                        child_of[parent] = node as u32;
                        distances[parent] = distances[node] + 1;
                        queue.push(parent);
                    }
                }
            }
            // In a run that stops, what failed is the cause of every skip, and need not come before it.
            is_cause &= !(phase == Phase::Skipped && board.is_stopped());
            if is_cause && node != i {
                culprits.push((gravity(phase), distances[node], board.object(node).id, node));
            }
        }
        // What was the cause when it was skipped, and is none any more: it was loaded after all.
        for id in board.attempts(i).because().unwrap_or_default() {
            if let Some(node) = board.position(*id)
                && child_of[node] == UNSEEN
            {
                culprits.push((gravity(board.phase(node)), u32::MAX, *id, node));
            }
        }
        culprits.sort_unstable();
        let more = culprits.len().saturating_sub(MAX_CHAINS);
        culprits.truncate(MAX_CHAINS);
        let chains = culprits.into_iter().map(|(.., node)| {
            let mut between = Vec::new();
            let mut child = child_of[node];
            while child != UNSEEN && child as usize != i {
                between.push(child as usize);
                child = child_of[child as usize];
            }
            between.reverse();
            let omitted = between.len().saturating_sub(MAX_VIA);
            between.truncate(MAX_VIA);
            let via = between.into_iter().map(|node| {
                let object = board.object(node);
                Link {
                    id: object.id,
                    name: name_of(&object.entry).map(String::from),
                    stage: object.stage,
                    state: board.phase(node).name().into(),
                }
            });
            Chain { via: via.collect(), omitted, culprit: self.standing(node) }
        });
        (chains.collect(), more)
    }
}

/// What has failed comes before what needs somebody's help, and that before what only takes its time.
fn gravity(phase: Phase) -> u8 {
    match phase {
        Phase::Failed => 0,
        Phase::Skipped => 1,
        Phase::Waiting | Phase::Ready => 2,
        Phase::Retrying => 3,
        Phase::Running => 4,
        Phase::Loaded => 5,
    }
}
