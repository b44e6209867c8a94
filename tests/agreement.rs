//! How processes agree: who leads, and what a worker holds.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use jiff::Timestamp;
use korch::domain::event::{
    AnswerMeta, Assigned, Body, CancelRequest, Counts, Epoch, Event, Finished, Outcome, Place, Ready, RunId,
};
use korch::domain::history::History;
use korch::domain::leader::{Candidate, Role};
use korch::domain::member::{Held, Member, Members, Reign, WorkerState};
use korch::domain::object::{ObjectId, Stage};
use korch::domain::run::Stamp;
use korch::domain::worker::{Identity, Worker};
use uuid::Uuid;

const LEASE: Duration = Duration::from_secs(10);
const SECOND: Duration = Duration::from_secs(1);
const PARTITIONS: u32 = 3;

/// Both topics, and the candidates that read them to their ends before each step.
struct Hall {
    members: Members,
    history: History,
    now: Duration,
    offset: u64,
}

impl Hall {
    fn new() -> Hall {
        Hall {
            members: Members::default(),
            history: History::default(),
            now: Duration::from_secs(1_000),
            offset: 0,
        }
    }

    /// A step whose records are written at once. Returns them.
    fn step(&mut self, candidate: &mut Candidate) -> Vec<Member> {
        let acts = candidate.step(self.now, &self.members, &self.history, PARTITIONS);
        for member in &acts.members {
            self.members.apply(member.clone(), self.now);
        }
        for partition in 0..acts.elect.map_or(0, |_| PARTITIONS) {
            self.elect(partition, acts.elect.unwrap());
        }
        acts.members
    }

    fn elect(&mut self, partition: u32, epoch: Epoch) {
        let event = Event {
            at: Timestamp::UNIX_EPOCH,
            run: None,
            epoch: Some(epoch),
            body: Body::OrchestratorElected,
        };
        let stamp = Stamp { place: Place { partition, offset: self.offset }, timestamp_us: 0 };
        self.offset += 1;
        self.history.apply(&event, stamp).unwrap();
    }

    /// Steps until it leads.
    fn crown(&mut self, candidate: &mut Candidate) -> Epoch {
        for _ in 0..3 {
            self.step(candidate);
        }
        let Role::Leading { epoch, .. } = candidate.role() else { panic!("{:?}", candidate.role()) };
        epoch
    }
}

fn candidate(n: u128) -> Candidate {
    Candidate::new(Uuid::from_u128(n), LEASE)
}

#[test]
fn a_candidate_leads_once_its_election_stands_in_every_partition() {
    let mut hall = Hall::new();
    let mut one = candidate(1);
    let step =
        |hall: &Hall, one: &mut Candidate| one.step(hall.now, &hall.members, &hall.history, PARTITIONS);
    let acts = step(&hall, &mut one);
    assert_eq!(acts.members, [Member::Claim { epoch: 1, instance: one.instance() }]);
    // Not read back, nothing follows from it.
    let nothing = step(&hall, &mut one);
    assert!(nothing.members.is_empty() && nothing.elect.is_none());
    hall.members.apply(acts.members[0].clone(), hall.now);
    let acts = step(&hall, &mut one);
    assert_eq!(acts.elect, Some(1));
    assert!(matches!(acts.members[..], [Member::Leader(Reign { epoch: 1, gone: false, .. })]));
    for partition in 0..PARTITIONS {
        let acts = step(&hall, &mut one);
        assert_eq!((one.role(), acts.takes_over), (Role::Electing { epoch: 1 }, false));
        hall.elect(partition, 1);
    }
    assert!(step(&hall, &mut one).takes_over);
    assert_eq!(one.role(), Role::Leading { epoch: 1, since: hall.now });
    assert!(!step(&hall, &mut one).takes_over);
}

#[test]
fn an_epoch_goes_to_its_first_claim() {
    let mut hall = Hall::new();
    let (mut one, mut two) = (candidate(1), candidate(2));
    // Both see an empty topic, and both claim.
    let claims: Vec<Member> = [&mut one, &mut two]
        .map(|candidate| candidate.step(hall.now, &hall.members, &hall.history, PARTITIONS).members.remove(0))
        .into();
    assert!(claims.iter().all(|claim| matches!(claim, Member::Claim { epoch: 1, .. })));
    for claim in claims.into_iter().rev() {
        hall.members.apply(claim, hall.now);
    }
    assert_eq!(hall.members.claim(), (1, Some(two.instance())));
    assert!(hall.step(&mut one).is_empty());
    assert_eq!(one.role(), Role::Standby);
    // The rival has time to take office before anybody claims again.
    hall.now += SECOND;
    assert!(hall.step(&mut one).is_empty());
    assert_eq!(hall.crown(&mut two), 1);
    assert!(hall.step(&mut one).is_empty());
    // One that claimed and died keeps nobody waiting for ever.
    let mut hall = Hall::new();
    let claim = Member::Claim { epoch: 4, instance: two.instance() };
    hall.members.apply(claim, hall.now);
    let mut three = candidate(3);
    hall.now += 2 * LEASE;
    assert!(hall.step(&mut three).is_empty());
    hall.now += SECOND;
    assert_eq!(hall.crown(&mut three), 5);
}

#[test]
fn a_silent_leader_is_replaced_after_two_leases_and_stands_by() {
    let mut hall = Hall::new();
    let (mut one, mut two) = (candidate(1), candidate(2));
    hall.crown(&mut one);
    let said = hall.now;
    hall.now = said + LEASE / 5 - Duration::from_millis(1);
    assert!(hall.step(&mut one).is_empty(), "a heartbeat is due every fifth of a lease");
    hall.now = said + LEASE / 5;
    assert_eq!(hall.step(&mut one).len(), 1);
    let said = hall.now;
    hall.now = said + 2 * LEASE;
    assert!(hall.step(&mut two).is_empty());
    assert_eq!(two.role(), Role::Standby);
    // Its epoch is higher than all that either topic names.
    for partition in 0..PARTITIONS {
        hall.elect(partition, 7);
    }
    hall.now += Duration::from_millis(1);
    assert_eq!(hall.crown(&mut two), 8);
    assert!(hall.step(&mut one).is_empty(), "it is deposed, and says nothing");
    assert_eq!(one.role(), Role::Standby);
    // What it still had under way changes nothing for anybody.
    let late = Reign { epoch: 1, instance: one.instance(), lease_ms: 10_000, gone: true, drains: Vec::new() };
    hall.members.apply(Member::Leader(late), hall.now);
    assert_eq!((hall.members.epoch(), hall.members.is_led(hall.now)), (8, true));
    assert!(one.resign().is_none());
    // It may lead again.
    hall.now += 2 * LEASE + SECOND;
    assert_eq!(hall.crown(&mut one), 9);
    hall.step(&mut two);
    assert_eq!(two.role(), Role::Standby);
}

#[test]
fn one_that_resigns_lets_another_claim_at_once() {
    let mut hall = Hall::new();
    let (mut one, mut two) = (candidate(1), candidate(2));
    assert!(one.resign().is_none());
    hall.crown(&mut one);
    assert!(hall.step(&mut two).is_empty());
    let gone = one.resign().unwrap();
    assert!(matches!(&gone, Member::Leader(Reign { epoch: 1, gone: true, .. })));
    hall.members.apply(gone, hall.now);
    assert_eq!(hall.crown(&mut two), 2);
    assert!(hall.step(&mut one).is_empty());
    assert_eq!(one.role(), Role::Standby);
}

const RUN: RunId = RunId(Uuid::from_u128(1));
const ME: Uuid = Uuid::from_u128(100);
const PLACE: Place = Place { partition: 0, offset: 0 };

fn worker(slots: u32) -> Worker {
    let (name, stages) = ("w".into(), Stage::ALL.to_vec());
    Worker::new(Identity { name, instance: ME, stages, slots, lease: LEASE })
}

fn led(epoch: Epoch, drains: &[Uuid]) -> Members {
    let mut members = Members::default();
    let reign = Reign {
        epoch,
        instance: Uuid::from_u128(50),
        lease_ms: 10_000,
        gone: false,
        drains: drains.to_vec(),
    };
    members.apply(Member::Leader(reign), Duration::ZERO);
    members
}

fn event(epoch: Option<Epoch>, body: Body) -> Event {
    let run = (!matches!(body, Body::OrchestratorElected)).then_some(RUN);
    Event { at: Timestamp::UNIX_EPOCH, run, epoch, body }
}

fn assigned_to(instance: Uuid, id: u64, attempt: u32) -> Event {
    let (object, worker) = (ObjectId(id), "w".into());
    event(Some(1), Body::ObjectAssigned(Assigned { object, attempt, worker, instance, entry: None }))
}

fn held(id: u64, attempt: u32) -> Held {
    Held { run_id: RUN, id_objet: ObjectId(id), attempt }
}

fn holds(worker: &Worker, members: &Members) -> Vec<Held> {
    let mut holds = worker.heartbeat(None, Vec::new(), members).running;
    holds.sort_unstable();
    holds
}

#[test]
fn a_worker_runs_what_is_assigned_to_it_once() {
    let (mut worker, members) = (worker(1), led(1, &[]));
    let assignment = assigned_to(ME, 1001, 1);
    for _ in 0..2 {
        assert!(worker.apply(&assignment, PLACE, &members).is_empty());
    }
    assert!(worker.apply(&assigned_to(Uuid::from_u128(101), 1002, 1), PLACE, &members).is_empty());
    worker.apply(&assigned_to(ME, 1003, 1), PLACE, &members);
    assert_eq!(holds(&worker, &members), [held(1001, 1), held(1003, 1)]);
    assert_eq!(worker.start().unwrap().held, held(1001, 1));
    assert!(worker.start().is_none(), "it has one slot");
    worker.apply(&assignment, PLACE, &members);
    let answer = worker.finish(held(1001, 1), false, AnswerMeta::default(), Timestamp::UNIX_EPOCH).unwrap();
    assert!(matches!(&answer.body, Body::ObjectLoaded(answer) if answer.attempt == 1));
    worker.apply(&assignment, PLACE, &members);
    assert_eq!(holds(&worker, &members), [held(1001, 1), held(1003, 1)], "not acknowledged yet");
    worker.acknowledged(held(1001, 1));
    worker.apply(&assignment, PLACE, &members);
    assert_eq!(holds(&worker, &members), [held(1003, 1)]);
    assert_eq!(worker.start().unwrap().held, held(1003, 1));
    assert!(worker.start().is_none());
    assert!(worker.finish(held(1001, 1), false, AnswerMeta::default(), Timestamp::UNIX_EPOCH).is_none());
}

#[test]
fn a_worker_ignores_who_was_deposed() {
    // By an election that precedes the assignment in its partition, or by what the leader says of its epoch.
    let (mut worker, members) = (worker(1), led(1, &[]));
    worker.apply(&event(Some(2), Body::OrchestratorElected), PLACE, &members);
    worker.apply(&assigned_to(ME, 1001, 1), PLACE, &members);
    assert!(worker.is_idle());
    let elsewhere = Place { partition: 1, offset: 0 };
    worker.apply(&assigned_to(ME, 1001, 1), elsewhere, &led(2, &[]));
    assert!(worker.is_idle());
    worker.apply(&assigned_to(ME, 1001, 1), elsewhere, &members);
    assert!(!worker.is_idle());
}

#[test]
fn what_is_called_off_ends_without_an_answer() {
    let ready = |attempt| {
        let ready = Ready { object: ObjectId(1001), attempt, cause: None, entry: None };
        event(Some(1), Body::ObjectReady(ready))
    };
    let finished = Finished {
        outcome: Outcome::Failed,
        reason: None,
        counts: Counts::default(),
        duration_seconds: 1.0,
        problems: None,
    };
    let cases = [
        (ready(3), true, false),
        (ready(2), false, false),
        (assigned_to(Uuid::from_u128(101), 1001, 3), true, false),
        (assigned_to(ME, 1001, 1), false, false),
        (event(None, Body::RunCancelRequested(CancelRequest::default())), true, true),
        (event(Some(1), Body::RunFinished(finished)), true, true),
    ];
    let members = led(1, &[]);
    for (event, ends, ends_all) in cases {
        for running in [true, false] {
            let mut worker = worker(2);
            worker.apply(&assigned_to(ME, 1001, 2), PLACE, &members);
            if running {
                worker.start().unwrap();
            }
            worker.apply(&assigned_to(ME, 1002, 1), PLACE, &members);
            let ended = worker.apply(&event, PLACE, &members);
            let expected: &[Held] = if ends && running { &[held(1001, 2)] } else { &[] };
            assert_eq!(ended, expected, "{event:?}");
            let left = holds(&worker, &members);
            assert_eq!(!left.contains(&held(1001, 2)), ends, "{event:?}");
            assert_eq!(!left.contains(&held(1002, 1)), ends_all, "{event:?}");
            if !ends {
                continue;
            }
            // Its work may come to an end all the same: nobody hears of it, and no repeat starts it again.
            let answer = worker.finish(held(1001, 2), false, AnswerMeta::default(), Timestamp::UNIX_EPOCH);
            assert!(answer.is_none(), "{event:?}");
            if running || ends_all {
                worker.apply(&assigned_to(ME, 1001, 2), PLACE, &members);
                assert!(!holds(&worker, &members).contains(&held(1001, 2)), "{event:?}");
            }
        }
    }
}

#[test]
fn a_draining_worker_leaves_once_nothing_more_can_reach_it() {
    let (mut worker, members) = (worker(1), led(1, &[]));
    let now = Duration::from_secs(100);
    worker.apply(&assigned_to(ME, 1001, 1), PLACE, &members);
    let answer = |worker: &mut Worker, id| {
        worker.start().unwrap();
        worker.finish(held(id, 1), false, AnswerMeta::default(), Timestamp::UNIX_EPOCH).unwrap();
        worker.acknowledged(held(id, 1));
    };
    answer(&mut worker, 1001);
    assert!(!worker.may_leave(now, now, &led(1, &[ME])), "nobody asked it to");
    worker.drain();
    assert_eq!(worker.heartbeat(None, Vec::new(), &members).state, WorkerState::Draining);
    assert!(!worker.may_leave(now, now, &members), "the leader does not know");
    assert!(!worker.may_leave(now, now, &led(1, &[Uuid::from_u128(101)])), "that is another");
    let knows = led(1, &[ME]);
    assert!(!worker.may_leave(now + SECOND, now, &knows), "read to an end from before");
    // What still reaches it, it runs.
    worker.apply(&assigned_to(ME, 1002, 1), PLACE, &knows);
    assert!(!worker.may_leave(now + SECOND, now + SECOND, &knows), "it holds something");
    answer(&mut worker, 1002);
    assert!(worker.may_leave(now + 2 * SECOND, now + SECOND, &knows));
}
