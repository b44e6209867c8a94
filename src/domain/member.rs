//! What the processes say of themselves on the members topic, and what a reader knows of them.
//!
//! The topic has one partition, so its order is everyone's. Leases run on the reader's own clock, from receipt.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::event::{Epoch, MAX_EPOCH, RunId};
use super::object::{ObjectId, Stage};

/// A point on a reader's own monotonic clock.
pub type Mono = Duration;

/// More members than this are somebody's joke: those heard of longest ago are forgotten.
const MAX_WORKERS: usize = 10_000;

/// So many replaced starts of a worker are remembered.
const MAX_REPLACED: usize = 16;

/// A record of the members topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "member_type")]
pub enum Member {
    /// A worker's heartbeat.
    Worker(Heartbeat),
    /// A candidate's claim of an epoch. The first claim of an epoch wins it.
    Claim {
        /// The epoch claimed.
        epoch: Epoch,
        /// The start of the orchestrator that claims it.
        instance: Uuid,
    },
    /// A leader's sign of life.
    Leader(Reign),
}

/// What a worker says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Its name.
    pub worker: String,
    /// This start of it.
    pub instance: Uuid,
    /// The stages that it serves.
    pub stages: Vec<Stage>,
    /// How many objects it runs at once.
    pub slots: u32,
    /// Whether it takes new work.
    pub state: WorkerState,
    /// How long it may be silent, in milliseconds.
    pub lease_ms: u64,
    /// The leader that it follows.
    pub epoch: Epoch,
    /// Up to where it has read each partition of the events.
    pub read_to: Vec<u64>,
    /// What it holds: running, or answered and not yet acknowledged by the log.
    pub running: Vec<Held>,
    /// It serves an orchestrator of the old system: it is never given anything.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
}

/// An attempt that a worker holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Held {
    /// The run.
    pub run_id: RunId,
    /// The object.
    pub id_objet: ObjectId,
    /// The attempt.
    pub attempt: u32,
}

/// Whether a worker takes new work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerState {
    /// It does.
    Up,
    /// It finishes what it has and what still reaches it.
    Draining,
    /// It is no more.
    Gone,
}

/// What a leader says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reign {
    /// Its epoch.
    pub epoch: Epoch,
    /// This start of it.
    pub instance: Uuid,
    /// How long it may be silent, in milliseconds.
    pub lease_ms: u64,
    /// It steps down: another may claim at once.
    #[serde(default)]
    pub gone: bool,
    /// The workers of which it knows that they drain: it gives them nothing more.
    #[serde(default)]
    pub drains: Vec<Uuid>,
}

impl Member {
    /// The record's value: JSON on one line.
    pub fn encode(&self) -> Vec<u8> {
        // Every field is a number, a string or a list of these.
        serde_json::to_vec(self).expect("a member is always JSON")
    }

    /// Reads a record's value; none: not a member's.
    pub fn decode(value: &[u8]) -> Option<Member> {
        serde_json::from_slice(value).ok()
    }
}

/// A worker as a reader knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// The last that it said.
    pub heartbeat: Heartbeat,
    /// When that was read, and from when its lease runs.
    pub heard: Mono,
    /// From when its lease runs: when it was heard, or when leases began anew.
    pub lease_from: Mono,
    /// When this start of it was first heard.
    pub first_heard: Mono,
    /// The last starts that this one replaced: they stay replaced, even if they still speak, as long
    /// as this one speaks too.
    replaced: VecDeque<Uuid>,
}

impl Known {
    /// Whether it was silent for longer than its lease.
    pub fn is_silent(&self, now: Mono) -> bool {
        now.saturating_sub(self.lease_from) > Duration::from_millis(self.heartbeat.lease_ms)
    }
}

/// Everything that the members topic told a reader.
#[derive(Clone, Debug, Default)]
pub struct Members {
    /// The last start of each worker, by name.
    workers: BTreeMap<String, Known>,
    highest_claim: Epoch,
    winner: Option<Uuid>,
    claimed: Mono,
    reign: Option<(Reign, Mono)>,
    polled: Option<Mono>,
}

impl Members {
    /// Notes that the members topic was read to its end at `now`, whatever was in it. After a gap in the reader's own
    /// time nobody's silence means anything, so all leases begin anew.
    pub fn polled(&mut self, now: Mono, lease: Duration) {
        if self.polled.is_some_and(|last| now.saturating_sub(last) > lease / 5) {
            self.renew(now);
        }
        self.polled = Some(now);
    }

    /// Lets all leases begin anew: at a takeover, and after a gap in the reader's own time.
    pub fn renew(&mut self, now: Mono) {
        for known in self.workers.values_mut() {
            known.lease_from = now;
        }
        if let Some((_, heard)) = &mut self.reign {
            *heard = now;
        }
    }

    /// Folds a record that was read at `now`.
    pub fn apply(&mut self, member: Member, now: Mono) {
        match member {
            Member::Worker(heartbeat) => {
                if self.workers.len() >= MAX_WORKERS && !self.workers.contains_key(&heartbeat.worker) {
                    let oldest = self
                        .workers
                        .iter()
                        .min_by_key(|(_, known)| known.heard)
                        .map(|(name, _)| name.clone());
                    oldest.and_then(|name| self.workers.remove(&name));
                }
                let known = self.workers.entry(heartbeat.worker.clone()).or_insert_with(|| Known {
                    heartbeat: heartbeat.clone(),
                    heard: now,
                    lease_from: now,
                    first_heard: now,
                    replaced: VecDeque::new(),
                });
                if let Some(at) = known.replaced.iter().position(|start| *start == heartbeat.instance) {
                    // What replaced it was a dead start's last word that came late, or has died since.
                    if !known.is_silent(now) {
                        return;
                    }
                    known.replaced.remove(at);
                }
                if known.heartbeat.instance != heartbeat.instance {
                    known.replaced.push_back(known.heartbeat.instance);
                    if known.replaced.len() > MAX_REPLACED {
                        known.replaced.pop_front();
                    }
                    known.first_heard = now;
                }
                (known.heartbeat, known.heard, known.lease_from) = (heartbeat, now, now);
            }
            Member::Claim { epoch, instance } if epoch > self.highest_claim && epoch <= MAX_EPOCH => {
                self.highest_claim = epoch;
                self.winner = Some(instance);
                self.claimed = now;
            }
            Member::Leader(reign) if (self.highest_claim..=MAX_EPOCH).contains(&reign.epoch) => {
                self.highest_claim = reign.epoch;
                self.winner = Some(reign.instance);
                self.reign = Some((reign, now));
            }
            Member::Claim { .. } | Member::Leader(_) => {}
        }
    }

    /// The highest epoch claimed, and by which start of an orchestrator.
    pub fn claim(&self) -> (Epoch, Option<Uuid>) {
        (self.highest_claim, self.winner)
    }

    /// When the highest claim was read.
    pub fn claimed(&self) -> Mono {
        self.claimed
    }

    /// The leader as last heard of, and when.
    pub fn reign(&self) -> Option<&(Reign, Mono)> {
        self.reign.as_ref()
    }

    /// The leader's epoch, as far as its heartbeats tell.
    pub fn epoch(&self) -> Epoch {
        self.reign.as_ref().map_or(0, |(reign, _)| reign.epoch)
    }

    /// Whether a leader lives: one has been heard of within two of its leases and has not stepped down.
    pub fn is_led(&self, now: Mono) -> bool {
        self.reign.as_ref().is_some_and(|(reign, heard)| {
            !reign.gone && now.saturating_sub(*heard) <= 2 * Duration::from_millis(reign.lease_ms)
        })
    }

    /// Every worker's last start, by name.
    pub fn workers(&self) -> impl Iterator<Item = &Known> {
        self.workers.values()
    }

    /// The start of a worker, if it is the last of its name.
    pub fn instance(&self, instance: Uuid) -> Option<&Known> {
        self.workers.values().find(|known| known.heartbeat.instance == instance)
    }

    /// The last start of the worker of this name.
    pub fn named(&self, name: &str) -> Option<&Known> {
        self.workers.get(name)
    }
}
