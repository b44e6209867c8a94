//! What lost workers held, and what strangers did not answer: offered anew.

use std::time::Duration;

use rustc_hash::FxHashMap;
use uuid::Uuid;

use super::{Batch, Look, Now, Scheduler};
use crate::domain::attempt::MAX_WORKERS_LOST;
use crate::domain::board::Board;
use crate::domain::event::{Answer, AnswerMeta, Body, Cause, RunId};
use crate::domain::member::{Held, Known, WorkerState};

impl Scheduler {
    /// Offers anew what a lost worker held, and where new objects start what strangers did not answer.
    pub(super) fn reoffer(&mut self, look: Look<'_>, batch: &mut Batch) {
        let Look { now, run, board, members, .. } = look;
        let holders: Vec<Uuid> = board.holders().collect();
        self.unheard.retain(|instance, _| holders.contains(instance));
        for instance in holders {
            match self.fate(look, instance) {
                Fate::Alive(heartbeat_read) => {
                    let Some(known) = heartbeat_read.then(|| members.instance(instance)).flatten() else {
                        continue;
                    };
                    for i in board.held(instance) {
                        if is_dropped(known, run.id, board, i) {
                            self.offer(look, i, Some(Cause::NotHeld), batch);
                        }
                    }
                }
                Fate::Lost => {
                    for i in board.held(instance) {
                        self.lose(look, i, batch);
                    }
                }
            }
        }
        if self.settings.foreign.is_empty() || !look.starts() {
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
                self.offer(look, i, Some(Cause::OfferExpired), batch);
            }
            open.insert(key, since);
        }
        self.offers = open;
    }

    /// Whether a worker that holds something is lost, by the rules of leases.
    fn fate(&mut self, look: Look<'_>, instance: Uuid) -> Fate {
        let Look { now: Now { mono: now, .. }, caught_up, run, members, .. } = look;
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
    fn lose(&self, look: Look<'_>, i: usize, batch: &mut Batch) {
        let Look { now, run, board, .. } = look;
        let attempts = board.attempts(i);
        let Some(assignment) = attempts.last().and_then(|last| last.assignment) else { return };
        if assignment.epoch != self.epoch {
            self.offer(look, i, Some(Cause::Restarted), batch);
            return;
        }
        let lost = attempts.workers_lost() + 1;
        if lost < MAX_WORKERS_LOST {
            self.offer(look, i, Some(Cause::WorkerLost), batch);
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
}

/// Whether a worker lives, and if so whether its heartbeat may be held against what it does not hold.
enum Fate {
    Alive(bool),
    Lost,
}

/// Whether a worker's heartbeat, read after everything it could have answered, says that it does not hold object `i`.
pub(super) fn is_dropped(known: &Known, run: RunId, board: &Board, i: usize) -> bool {
    let Some(last) = board.attempts(i).last() else { return false };
    let Some(assignment) = last.assignment else { return false };
    let held = Held { run_id: run, id_objet: board.object(i).id, attempt: last.number };
    let read_to = known.heartbeat.read_to.get(assignment.place.partition as usize).copied().unwrap_or(0);
    read_to > assignment.place.offset && !known.heartbeat.running.contains(&held)
}
