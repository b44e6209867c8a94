//! Leaders, members and workers, case by case.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use jiff::Timestamp;
use korch::domain::event::{AnswerMeta, Asked, Assigned, Body, Event, Place, Ready, Reject, RunId};
use korch::domain::history::History;
use korch::domain::leader::{Candidate, Role};
use korch::domain::member::{Heartbeat, Held, Member, Members, Reign, WorkerState};
use korch::domain::object::{ObjectId, Stage};
use korch::domain::run::Stamp;
use korch::domain::worker::{Identity, Worker};
use uuid::Uuid;

const LEASE: Duration = Duration::from_millis(1_000);
const RUN: RunId = RunId(Uuid::from_u128(1));

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A candidate with its own view of both topics.
struct View {
    candidate: Candidate,
    members: Members,
    history: History,
}

impl View {
    fn new(instance: u128) -> View {
        View {
            candidate: Candidate::new(Uuid::from_u128(instance), LEASE),
            members: Members::default(),
            history: History::default(),
        }
    }

    /// One step, and what it says to the members topic and the events.
    fn step(&mut self, now: Duration) -> (Vec<Member>, Option<u64>, bool) {
        let acts = self.candidate.step(now, &self.members, &self.history, 2);
        (acts.members, acts.elect, acts.takes_over)
    }

    fn hear(&mut self, members: &[Member], now: Duration) {
        for member in members {
            self.members.apply(Member::decode(&member.encode()).unwrap(), now);
        }
    }

    fn elect(&mut self, epoch: u64, partitions: std::ops::Range<u32>) {
        for partition in partitions {
            let event = Event {
                at: Timestamp::UNIX_EPOCH,
                run: None,
                epoch: Some(epoch),
                body: Body::OrchestratorElected,
            };
            let place = Place { partition, offset: epoch };
            self.history.apply(&event, Stamp { place, timestamp_us: 0 }).unwrap();
        }
    }
}

#[test]
fn the_first_claim_wins_and_its_winner_leads_after_its_election() {
    let (mut a, mut b) = (View::new(1), View::new(2));
    let (claims_a, ..) = a.step(ms(0));
    let (claims_b, ..) = b.step(ms(0));
    let claims = [claims_a, claims_b].concat();
    assert_eq!(claims.len(), 2);
    a.hear(&claims, ms(10));
    b.hear(&claims, ms(10));
    let (beats, elect, takes_over) = a.step(ms(20));
    assert_eq!((elect, takes_over), (Some(1), false));
    assert!(matches!(beats[..], [Member::Leader(Reign { epoch: 1, gone: false, .. })]));
    assert_eq!(b.step(ms(20)).1, None);
    assert_eq!(b.candidate.role(), Role::Standby);
    a.elect(1, 0..1);
    assert!(!a.step(ms(30)).2, "one partition has no election yet");
    a.elect(1, 1..2);
    assert!(a.step(ms(40)).2);
    assert_eq!(a.candidate.role(), Role::Leading { epoch: 1, since: ms(40) });
}

#[test]
fn a_takeover_comes_after_two_silent_leases_and_the_deposed_stands_by() {
    let (mut a, mut b) = (View::new(1), View::new(2));
    let (claim, ..) = a.step(ms(0));
    a.hear(&claim, ms(0));
    let (beat, ..) = a.step(ms(0));
    b.hear(&claim, ms(0));
    b.hear(&beat, ms(0));
    a.elect(1, 0..2);
    b.elect(1, 0..2);
    assert!(a.step(ms(10)).2);
    assert!(b.step(ms(2_000)).0.is_empty());
    let (claim, ..) = b.step(ms(2_001));
    assert_eq!(claim, [Member::Claim { epoch: 2, instance: Uuid::from_u128(2) }]);
    a.hear(&claim, ms(2_100));
    a.step(ms(2_100));
    assert_eq!(a.candidate.role(), Role::Standby);
    assert!(a.step(ms(2_200)).0.is_empty(), "the new one has time to begin");
}

#[test]
fn who_was_paused_deposes_nobody_of_whom_it_has_yet_to_hear() {
    let mut a = View::new(1);
    let (claim, ..) = a.step(ms(0));
    a.hear(&claim, ms(0));
    let (beat, ..) = a.step(ms(0));
    a.hear(&beat, ms(0));
    a.elect(1, 0..2);
    assert!(a.step(ms(10)).2);
    // It is paused. After that the events are read first, and the members' clock still stands where it stood.
    a.elect(2, 0..2);
    a.step(ms(10));
    assert_eq!(a.candidate.role(), Role::Standby);
    assert!(a.step(ms(10)).0.is_empty(), "somebody leads");
    let instance = Uuid::from_u128(2);
    let reign = Reign { epoch: 2, instance, lease_ms: 1_000, gone: false, drains: Vec::new() };
    a.hear(&[Member::Claim { epoch: 2, instance }, Member::Leader(reign)], ms(3_000));
    assert!(a.step(ms(3_000)).0.is_empty());
    assert!(a.step(ms(5_000)).0.is_empty());
    assert!(matches!(a.step(ms(5_001)).0[..], [Member::Claim { epoch: 3, .. }]));

    // Where nothing is left of that leader on the members topic, its silence counts from what was heard last.
    let mut a = View::new(1);
    a.hear(&[claim, beat].concat(), ms(0));
    a.elect(2, 0..2);
    assert!(a.step(ms(2_000)).0.is_empty());
    assert!(matches!(a.step(ms(2_001)).0[..], [Member::Claim { epoch: 3, .. }]));
}

#[test]
fn who_resigns_is_followed_at_once() {
    let (mut a, mut b) = (View::new(1), View::new(2));
    let (claim, ..) = a.step(ms(0));
    a.hear(&claim, ms(0));
    let (beat, ..) = a.step(ms(0));
    b.hear(&[claim, beat].concat(), ms(0));
    let farewell = a.candidate.resign().unwrap();
    assert!(matches!(farewell, Member::Leader(Reign { gone: true, .. })));
    assert!(a.candidate.resign().is_none());
    b.hear(&[farewell], ms(10));
    assert!(matches!(b.step(ms(10)).0[..], [Member::Claim { epoch: 2, .. }]));
}

#[test]
fn a_leader_speaks_every_fifth_of_a_lease_and_at_once_when_a_worker_drains() {
    let mut a = View::new(1);
    let (claim, ..) = a.step(ms(0));
    a.hear(&claim, ms(0));
    assert_eq!(a.step(ms(0)).0.len(), 1);
    assert_eq!(a.step(ms(199)).0.len(), 0);
    assert_eq!(a.step(ms(200)).0.len(), 1);
    a.hear(&[Member::Worker(heartbeat("w", 7, WorkerState::Draining))], ms(210));
    let (beats, ..) = a.step(ms(210));
    let [Member::Leader(reign)] = &beats[..] else { panic!("{beats:?}") };
    assert_eq!(reign.drains, [Uuid::from_u128(7)]);
    assert_eq!(a.step(ms(220)).0.len(), 0);
}

#[test]
fn an_epoch_beyond_reason_is_passed_over() {
    let json = format!(r#"{{"event_type":"OrchestratorElected","epoch":{}}}"#, u64::MAX);
    let place = Place { partition: 0, offset: 0 };
    let decoded = Event::decode(json.as_bytes(), place, Timestamp::UNIX_EPOCH);
    assert_eq!(decoded.unwrap_err(), Reject::Field("epoch"));
    let mut a = View::new(1);
    a.hear(&[Member::Claim { epoch: u64::MAX, instance: Uuid::from_u128(9) }], ms(0));
    assert_eq!(a.step(ms(0)).0, [Member::Claim { epoch: 1, instance: Uuid::from_u128(1) }]);
}

fn heartbeat(worker: &str, instance: u128, state: WorkerState) -> Heartbeat {
    Heartbeat {
        foreign: false,
        worker: worker.to_owned(),
        instance: Uuid::from_u128(instance),
        stages: vec![Stage::Ingest],
        slots: 1,
        state,
        lease_ms: 1_000,
        epoch: 1,
        read_to: vec![0],
        running: Vec::new(),
    }
}

#[test]
fn a_replaced_start_stays_replaced() {
    let mut members = Members::default();
    for (at, instance) in [(0, 1), (10, 2), (20, 1), (30, 2)] {
        members.apply(Member::Worker(heartbeat("w", instance, WorkerState::Up)), ms(at));
    }
    assert!(members.instance(Uuid::from_u128(1)).is_none());
    let known = members.named("w").unwrap();
    assert_eq!(known.heartbeat.instance, Uuid::from_u128(2));
    assert_eq!((known.first_heard, known.heard), (ms(10), ms(30)));
    assert!(!known.is_silent(ms(1_030)));
    assert!(known.is_silent(ms(1_031)));
    assert!(Member::decode(b"{\"member_type\":\"Stranger\"}").is_none());
}

#[test]
fn a_replaced_start_takes_its_place_back_where_the_other_one_is_silent() {
    // The last word of a dead start may come after the first one of the next.
    let mut members = Members::default();
    for (at, instance) in [(0, 2), (10, 1), (900, 2)] {
        members.apply(Member::Worker(heartbeat("w", instance, WorkerState::Up)), ms(at));
    }
    assert!(members.instance(Uuid::from_u128(2)).is_none());
    members.apply(Member::Worker(heartbeat("w", 2, WorkerState::Up)), ms(1_011));
    let known = members.instance(Uuid::from_u128(2)).unwrap();
    assert_eq!((known.first_heard, known.heard), (ms(1_011), ms(1_011)));
    // And the dead one stays replaced.
    members.apply(Member::Worker(heartbeat("w", 1, WorkerState::Up)), ms(1_020));
    assert!(members.instance(Uuid::from_u128(1)).is_none());
}

struct Seat {
    worker: Worker,
    members: Members,
    offset: u64,
}

impl Seat {
    fn new(slots: u32) -> Seat {
        let identity = Identity {
            name: "w".into(),
            instance: Uuid::from_u128(7),
            stages: vec![Stage::Ingest],
            slots,
            lease: LEASE,
        };
        Seat { worker: Worker::new(identity), members: Members::default(), offset: 0 }
    }

    fn read(&mut self, epoch: Option<u64>, body: Body) -> Vec<Held> {
        let run = (!matches!(body, Body::OrchestratorElected)).then_some(RUN);
        let event = Event { at: Timestamp::UNIX_EPOCH, run, epoch, body };
        self.offset += 1;
        self.worker.apply(&event, Place { partition: 0, offset: self.offset }, &self.members)
    }

    fn given(&mut self, object: u64, attempt: u32, epoch: u64) -> Vec<Held> {
        let assigned = Assigned {
            object: ObjectId(object),
            attempt,
            worker: "w".into(),
            instance: Uuid::from_u128(7),
            timeout: None,
            degraded: Vec::new(),
            entry: None,
        };
        self.read(Some(epoch), Body::ObjectAssigned(assigned))
    }

    fn ready(&mut self, object: u64, attempt: u32) -> Vec<Held> {
        let ready =
            Ready { object: ObjectId(object), attempt, cause: None, degraded: Vec::new(), entry: None };
        self.read(Some(1), Body::ObjectReady(ready))
    }

    fn start(&mut self) -> Option<Held> {
        self.worker.start().map(|start| start.held)
    }

    fn holds(&self) -> Vec<Held> {
        self.worker.heartbeat(None, vec![self.offset], &self.members).running
    }
}

fn held(object: u64, attempt: u32) -> Held {
    Held { run_id: RUN, id_objet: ObjectId(object), attempt }
}

#[test]
fn a_repeated_assignment_starts_nothing() {
    let mut seat = Seat::new(1);
    seat.given(1001, 1, 1);
    seat.given(1001, 1, 1);
    seat.given(1002, 1, 1);
    assert_eq!(seat.start(), Some(held(1001, 1)));
    assert_eq!(seat.start(), None, "one slot");
    seat.given(1001, 1, 1);
    let answer = seat.worker.finish(held(1001, 1), false, AnswerMeta::default(), Timestamp::UNIX_EPOCH);
    assert!(matches!(answer.unwrap().body, Body::ObjectLoaded(_)));
    assert!(seat.holds().contains(&held(1001, 1)), "the log has not acknowledged it");
    seat.given(1001, 1, 1);
    seat.worker.acknowledged(held(1001, 1));
    seat.given(1001, 1, 1);
    assert_eq!(seat.holds(), [held(1002, 1)]);
    assert_eq!(seat.start(), Some(held(1002, 1)));
}

#[test]
fn void_assignments_and_other_instances_are_passed_over() {
    let mut seat = Seat::new(4);
    seat.read(Some(2), Body::OrchestratorElected);
    seat.given(1001, 1, 1);
    assert_eq!(seat.start(), None);
    let reign =
        Reign { epoch: 3, instance: Uuid::from_u128(1), lease_ms: 1_000, gone: false, drains: vec![] };
    seat.members.apply(Member::Leader(reign), ms(0));
    seat.given(1002, 1, 2);
    assert_eq!(seat.start(), None);
    seat.given(1003, 1, 3);
    assert_eq!(seat.start(), Some(held(1003, 1)));
}

#[test]
fn a_later_attempt_ends_the_earlier_silently_for_good() {
    let mut seat = Seat::new(1);
    seat.given(1001, 1, 1);
    seat.given(1002, 1, 1);
    seat.start();
    assert_eq!(seat.ready(1001, 2), [held(1001, 1)]);
    let answer = seat.worker.finish(held(1001, 1), false, AnswerMeta::default(), Timestamp::UNIX_EPOCH);
    assert!(answer.is_none());
    assert!(seat.ready(1002, 2).is_empty(), "it only waited");
    // The log may repeat what it took twice.
    seat.given(1001, 1, 1);
    seat.given(1002, 1, 1);
    assert_eq!((seat.start(), seat.holds()), (None, vec![]));
    seat.given(1002, 2, 1);
    assert_eq!(seat.start(), Some(held(1002, 2)));
}

#[test]
fn a_cancelled_run_ends_and_nothing_of_it_starts_again() {
    let mut seat = Seat::new(2);
    seat.given(1001, 1, 1);
    seat.start();
    assert_eq!(seat.read(None, Body::RunCancelRequested(Asked::default())), [held(1001, 1)]);
    seat.given(1003, 1, 1);
    assert_eq!(seat.start(), None);
    assert!(seat.worker.is_idle());
}

#[test]
fn a_draining_worker_leaves_once_everyone_knows() {
    let mut seat = Seat::new(1);
    seat.given(1001, 1, 1);
    seat.start();
    seat.worker.drain();
    assert!(!seat.worker.may_leave(ms(0), ms(0), &seat.members));
    let drains = vec![Uuid::from_u128(7)];
    let reign = Reign { epoch: 1, instance: Uuid::from_u128(1), lease_ms: 1_000, gone: false, drains };
    seat.members.apply(Member::Leader(reign), ms(10));
    assert!(!seat.worker.may_leave(ms(10), ms(10), &seat.members), "it still runs something");
    seat.worker.finish(held(1001, 1), false, AnswerMeta::default(), Timestamp::UNIX_EPOCH);
    assert!(!seat.worker.may_leave(ms(20), ms(9), &seat.members), "the log has not taken its answer");
    seat.worker.acknowledged(held(1001, 1));
    assert!(!seat.worker.may_leave(ms(20), ms(9), &seat.members), "it may have been given something");
    assert!(seat.worker.may_leave(ms(20), ms(10), &seat.members));
}
