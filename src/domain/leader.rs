//! One leads: how an orchestrator comes to decide, and how it learns that it no longer may.
//!
//! Pure. Knows the members topic and the elections; not what is decided.

use std::time::Duration;

use uuid::Uuid;

use super::event::Epoch;
use super::history::History;
use super::member::{Member, Members, Mono, Reign, WorkerState};

/// Where an orchestrator stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It reads along; another leads, or nobody does yet.
    Standby,
    /// It has claimed an epoch and waits to read its claim back.
    Claiming {
        /// The epoch claimed.
        epoch: Epoch,
        /// Since when.
        since: Mono,
    },
    /// Its claim was the first; it waits to read its election in every partition.
    Electing {
        /// Its epoch.
        epoch: Epoch,
    },
    /// It decides.
    Leading {
        /// Its epoch.
        epoch: Epoch,
        /// Since when.
        since: Mono,
    },
}

/// What is to be written.
#[derive(Debug, Default)]
pub struct Acts {
    /// Records for the members topic.
    pub members: Vec<Member>,
    /// An election to write to every partition of the events.
    pub elect: Option<Epoch>,
    /// A reign begins with this step: nothing is known of leases from before.
    pub takes_over: bool,
}

/// An orchestrator as a candidate for the lead.
#[derive(Debug)]
pub struct Candidate {
    instance: Uuid,
    lease: Duration,
    role: Role,
    last_beat: Option<Mono>,
    last_drains: Vec<Uuid>,
}

impl Candidate {
    /// A candidate that has read both topics to their ends, and no more than that.
    pub fn new(instance: Uuid, lease: Duration) -> Candidate {
        Candidate { instance, lease, role: Role::Standby, last_beat: None, last_drains: Vec::new() }
    }

    /// Where it stands.
    pub fn role(&self) -> Role {
        self.role
    }

    /// This start of the orchestrator.
    pub fn instance(&self) -> Uuid {
        self.instance
    }

    /// Takes one step. What it returns is to be written, and both topics read on, before the next step.
    pub fn step(&mut self, now: Mono, members: &Members, history: &History, partitions: u32) -> Acts {
        let mut acts = Acts::default();
        let (claimed, winner) = members.claim();
        let highest = claimed.max(history.highest_epoch());
        match self.role {
            Role::Standby => {
                let rival = winner.is_some_and(|winner| winner != self.instance) && claimed > members.epoch();
                let rival_is_fresh = rival && now.saturating_sub(members.claimed()) <= 2 * self.lease;
                // Its own reign is no reason to wait: it ended it, because it doubts what of it reached the log. But an
                // election whose claim is not read yet is another's, who leads: after a pause one topic is read before
                // the other, and a claim on what was known before it would depose a leader who is well.
                let own_is_the_last =
                    members.reign().is_none_or(|(reign, _)| reign.instance == self.instance)
                        && history.highest_epoch() <= claimed;
                let led_by_another = members.is_led(now) && !own_is_the_last;
                if !led_by_another && !rival_is_fresh {
                    let epoch = highest + 1;
                    acts.members.push(Member::Claim { epoch, instance: self.instance });
                    self.role = Role::Claiming { epoch, since: now };
                }
            }
            Role::Claiming { epoch, since } => {
                if claimed == epoch && winner == Some(self.instance) {
                    self.role = Role::Electing { epoch };
                    acts.elect = Some(epoch);
                } else if highest >= epoch || now.saturating_sub(since) > 2 * self.lease {
                    self.role = Role::Standby;
                }
            }
            Role::Electing { epoch } => {
                if highest > epoch {
                    self.role = Role::Standby;
                } else if (0..partitions).all(|partition| history.elected(partition) == epoch) {
                    self.role = Role::Leading { epoch, since: now };
                    acts.takes_over = true;
                }
            }
            Role::Leading { epoch, .. } if highest > epoch => self.role = Role::Standby,
            Role::Leading { epoch, .. }
                if (0..partitions).any(|partition| history.elected(partition) < epoch) =>
            {
                // The topic has grown: nothing is decided there before it knows who leads.
                self.role = Role::Electing { epoch };
                acts.elect = Some(epoch);
            }
            Role::Leading { .. } => {}
        }
        self.beat(now, members, &mut acts);
        acts
    }

    /// A leader's sign of life: every fifth of a lease, and at once when a worker begins to drain.
    fn beat(&mut self, now: Mono, members: &Members, acts: &mut Acts) {
        let (Role::Electing { epoch } | Role::Leading { epoch, .. }) = self.role else {
            self.last_beat = None;
            return;
        };
        let drains: Vec<Uuid> = members
            .workers()
            .filter(|known| known.heartbeat.state == WorkerState::Draining)
            .map(|known| known.heartbeat.instance)
            .collect();
        let due = self.last_beat.is_none_or(|last| now.saturating_sub(last) >= self.lease / 5);
        if due || drains != self.last_drains {
            self.last_beat = Some(now);
            self.last_drains.clone_from(&drains);
            acts.members.push(Member::Leader(Reign {
                epoch,
                instance: self.instance,
                lease_ms: u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX),
                gone: false,
                drains,
            }));
        }
    }

    /// Ends the reign because a decision may have reached the log or not, or may reach it later still. The next step claims
    /// a new epoch: what comes late of the old one stands behind the new election, and is void.
    pub fn doubt(&mut self) {
        self.role = Role::Standby;
    }

    /// Steps down: what to say so that another may claim at once.
    pub fn resign(&mut self) -> Option<Member> {
        let (Role::Electing { epoch } | Role::Leading { epoch, .. }) = self.role else { return None };
        self.role = Role::Standby;
        let lease_ms = u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX);
        Some(Member::Leader(Reign {
            epoch,
            instance: self.instance,
            lease_ms,
            gone: true,
            drains: Vec::new(),
        }))
    }
}
