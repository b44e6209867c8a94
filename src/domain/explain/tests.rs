//! Worlds as they may be, and what is said of an object in each.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::domain::event::{
    Answer, AnswerMeta, Asked, Assigned, Body, Counts, Event, Finished, Marked, MarkedAs, Place, PlanPart,
    PlannedObject, Ready, Request, Skipped,
};
use crate::domain::member::{Heartbeat, Held, Member, Reign, WorkerState};
use crate::domain::object::Criticality;
use crate::domain::rules::{OnFailure, Rules};
use crate::domain::run::Stamp;

const NOW: u64 = 1000;
const RUN: RunId = RunId(Uuid::from_u128(1));

struct World {
    history: History,
    members: Members,
    offset: u64,
    run: RunId,
    /// Of the last plan: a later one counts.
    reign: u64,
    epoch: Option<u64>,
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap()
}

impl World {
    /// A run of these objects, under a leader, with a worker of two slots for each stage.
    fn new(objects: &[(u64, &[u64])]) -> World {
        let mut world = World {
            history: History::default(),
            members: Members::default(),
            offset: 0,
            run: RUN,
            reign: 0,
            epoch: None,
        };
        world.leader(NOW);
        for stage in Stage::ALL {
            world.worker(stage.index() as u128 + 1, &[stage], 2, WorkerState::Up, NOW);
        }
        world.plan(objects);
        world
    }

    fn event(&mut self, seconds: u64, body: Body) -> &mut World {
        self.offset += 1;
        let stamp = Stamp { place: Place { partition: 0, offset: self.offset }, timestamp_us: 0 };
        let event = Event { at: at(seconds), run: Some(self.run), epoch: self.epoch, body };
        self.history.apply(&event, stamp).unwrap();
        self
    }

    fn plan(&mut self, objects: &[(u64, &[u64])]) -> &mut World {
        self.plan_by(Rules { retries: 1, ..Rules::default() }, objects)
    }

    fn plan_by(&mut self, rules: Rules, objects: &[(u64, &[u64])]) -> &mut World {
        self.reign += 1;
        let objects = objects.iter().map(|(id, parents)| PlannedObject {
            parents: parents.iter().copied().map(ObjectId).collect(),
            satisfied: if *id == 3001 { vec![ObjectId(2999)] } else { Vec::new() },
            last_good: (*id == 2001)
                .then_some(Version { at: at(NOW - 900), run_id: RunId(Uuid::from_u128(99)) }),
            ..PlannedObject::new(ObjectId(*id), Stage::of_id(ObjectId(*id)).unwrap(), Criticality::default())
        });
        let part = PlanPart {
            part: 0,
            parts: 1,
            partitions: 1,
            begins: Vec::new(),
            rules,
            objects: objects.collect(),
        };
        self.epoch = Some(self.reign);
        self.event(NOW - 100, Body::RunPlanned(part));
        self.epoch = None;
        self
    }

    fn offer(&mut self, id: u64, attempt: u32, ago: u64) -> &mut World {
        let ready = Ready { object: ObjectId(id), attempt, cause: None, degraded: Vec::new(), entry: None };
        self.event(NOW - ago, Body::ObjectReady(ready))
    }

    fn assign(&mut self, id: u64, attempt: u32, worker: u128, ago: u64) -> &mut World {
        self.offer(id, attempt, ago);
        let instance = Uuid::from_u128(worker);
        let assigned = Assigned {
            object: ObjectId(id),
            attempt,
            worker: format!("w{worker}"),
            instance,
            timeout: None,
            degraded: Vec::new(),
            entry: None,
        };
        self.event(NOW - ago, Body::ObjectAssigned(assigned))
    }

    fn answer(&mut self, id: u64, attempt: u32, error: Option<&str>, retryable: bool) -> &mut World {
        let meta = AnswerMeta {
            worker: Some("stranger".into()),
            error: error.map(Into::into),
            retryable: Some(retryable),
            duration_seconds: Some(0.5),
            ..AnswerMeta::default()
        };
        let answer = Answer { object: ObjectId(id), attempt, meta };
        self.event(
            NOW - 1,
            if error.is_some() { Body::ObjectFailed(answer) } else { Body::ObjectLoaded(answer) },
        )
    }

    fn load(&mut self, ids: &[u64]) -> &mut World {
        for id in ids {
            self.assign(*id, 1, Stage::of_id(ObjectId(*id)).unwrap().index() as u128 + 1, 9);
            self.answer(*id, 1, None, false);
        }
        self
    }

    fn fail(&mut self, id: u64) -> &mut World {
        self.assign(id, 1, 2, 9).answer(id, 1, Some("why"), false)
    }

    fn skip(&mut self, id: u64, because: &[u64]) -> &mut World {
        let because = because.iter().copied().map(ObjectId).collect();
        self.event(NOW - 1, Body::ObjectSkipped(Skipped { object: ObjectId(id), attempt: 1, because }))
    }

    fn cancel(&mut self) -> &mut World {
        self.event(NOW - 1, Body::RunCancelRequested(Asked::default()))
    }

    fn finish(&mut self, outcome: Outcome) -> &mut World {
        let finished = Finished {
            outcome,
            reason: None,
            counts: Counts::default(),
            duration_seconds: 1.0,
            problems: None,
        };
        self.event(NOW - 1, Body::RunFinished(finished))
    }

    fn worker(
        &mut self,
        n: u128,
        stages: &[Stage],
        slots: u32,
        state: WorkerState,
        heard: u64,
    ) -> &mut World {
        let heartbeat = Heartbeat {
            foreign: false,
            worker: format!("w{n}"),
            instance: Uuid::from_u128(n),
            stages: stages.to_vec(),
            slots,
            state,
            lease_ms: 10_000,
            epoch: 1,
            read_to: Vec::new(),
            running: Vec::new(),
        };
        self.members.apply(Member::Worker(heartbeat), Duration::from_secs(heard));
        self
    }

    fn leader(&mut self, heard: u64) -> &mut World {
        let reign =
            Reign { epoch: 1, instance: Uuid::nil(), lease_ms: 10_000, gone: false, drains: Vec::new() };
        self.members.apply(Member::Leader(reign), Duration::from_secs(heard));
        self
    }

    fn explain(&self, id: u64) -> Option<Explanation> {
        let run = self.history.run(self.run).unwrap();
        let now = Now { mono: Duration::from_secs(NOW), wall: at(NOW) };
        let explained = Situation::of(&self.history, run, &self.members, now).explain(ObjectId(id))?;
        let json = serde_json::to_string(&explained).unwrap();
        assert_eq!(serde_json::from_str::<Explanation>(&json).unwrap(), explained, "{json}");
        Some(explained)
    }

    #[track_caller]
    fn says(&self, id: u64, expected: &str) {
        assert_eq!(self.explain(id).map_or_else(|| "unknown".into(), |answer| short(&answer)), expected);
    }
}

fn hold(hold: &Hold) -> String {
    match hold {
        Hold::NoWorker { lost } => format!("no worker {lost:?}"),
        Hold::SlotsBusy { slots, workers, by, more } => {
            let by: Vec<String> = by.iter().map(|busy| format!("{} on {}", busy.id, busy.worker)).collect();
            format!("{slots} slots of {workers} busy by {} +{more}", by.join(" "))
        }
        other => format!("{other:?}"),
    }
}

fn state(standing: &Standing) -> String {
    let what = match &standing.why {
        Why::Loaded { attempt, worker, .. } => format!("loaded #{attempt} {}", worker.as_deref().unwrap()),
        Why::Running { attempt, worker, seconds, silent_seconds, .. } => {
            let silent = silent_seconds.map(|silent| format!(" silent {silent}")).unwrap_or_default();
            format!("running #{attempt} {} {seconds}s{silent}", worker.as_deref().unwrap())
        }
        Why::Retrying { attempt, error, hold: by, .. } => format!("retrying #{attempt} {error} {}", hold(by)),
        Why::Failed { attempts, worker, error, .. } => {
            format!("failed x{attempts} {} {error}", worker.as_deref().unwrap_or("?"))
        }
        Why::Ready { attempt, seconds, hold: by, .. } => {
            let offered = seconds.map(|seconds| format!(" {seconds}s")).unwrap_or_default();
            format!("ready #{attempt}{offered}: {}", hold(by))
        }
        Why::Skipped { stopped: false } => "Skipped".into(),
        other => format!("{other:?}"),
    };
    format!("{} {what}", standing.id)
}

fn short(answer: &Explanation) -> String {
    let mut text = state(&answer.object);
    for Chain { via, omitted, culprit } in &answer.chains {
        let via: Vec<String> = via.iter().map(|link| format!("{} < ", link.id)).collect();
        let omitted = if *omitted > 0 { format!("(+{omitted}) ") } else { String::new() };
        text += &format!(" | {}{omitted}{}", via.concat(), state(culprit));
    }
    if answer.more > 0 {
        text += &format!(" | +{}", answer.more);
    }
    text
}

/// Two sources, two copies, two final objects: 3001 needs both copies, 3002 needs 3001.
const SMALL: &[(u64, &[u64])] =
    &[(1001, &[]), (1002, &[]), (2001, &[1001]), (2002, &[1002]), (3001, &[2001, 2002]), (3002, &[3001])];

fn small() -> World {
    World::new(SMALL)
}

#[test]
fn what_has_no_parents_left_waits_for_a_worker() {
    small().says(1001, "1001 ready #1: Soon");
    small().offer(1001, 1, 2).says(1001, "1001 ready #1 2s: Soon");
    small().offer(1001, 1, 60).says(1001, "1001 ready #1 60s: PerhapsStrangers");
    small()
        .assign(1001, 1, 1, 3)
        .assign(1002, 1, 1, 5)
        .worker(1, &[Stage::Ingest], 1, WorkerState::Up, NOW)
        .says(1001, "1001 running #1 w1 3s");

    let mut world = World::new(&[(1001, &[]), (1002, &[]), (1003, &[]), (3001, &[1001, 1002, 1003])]);
    world.assign(1001, 1, 1, 3).assign(1002, 1, 1, 5).offer(1003, 1, 60);
    world.says(1003, "1003 ready #1 60s: 2 slots of 1 busy by 1002 on w1 1001 on w1 +0");
    world.worker(1, &[Stage::Ingest], 2, WorkerState::Draining, NOW);
    world.says(1003, "1003 ready #1 60s: no worker [\"w1\"]");
    world.worker(1, &[Stage::Ingest], 2, WorkerState::Up, NOW - 11);
    world.says(1003, "1003 ready #1 60s: no worker [\"w1\"]");
    world.says(1001, "1001 running #1 w1 3s silent 11");
    let mut heartbeat = world.members.named("w1").unwrap().heartbeat.clone();
    heartbeat.foreign = true;
    world.members.apply(Member::Worker(heartbeat), Duration::from_secs(NOW));
    world.says(1003, "1003 ready #1 60s: no worker []");
    world.worker(1, &[Stage::Ingest], 2, WorkerState::Gone, NOW);
    world.says(1003, "1003 ready #1 60s: no worker []");
}

#[test]
fn a_slot_may_be_taken_by_another_run() {
    let mut world = small();
    let elsewhere = Held { run_id: RunId(Uuid::from_u128(7)), id_objet: ObjectId(1009), attempt: 1 };
    let mut heartbeat = world.members.named("w1").unwrap().heartbeat.clone();
    (heartbeat.slots, heartbeat.running) = (1, vec![elsewhere]);
    world.members.apply(Member::Worker(heartbeat), Duration::from_secs(NOW));
    world.offer(1001, 1, 1).says(1001, "1001 ready #1 1s: 1 slots of 1 busy by 1009 on w1 +0");
}

#[test]
fn nothing_is_given_out_where_nobody_leads_or_strangers_serve() {
    let mut world = small();
    world.members = Members::default();
    world.offer(1001, 1, 2).says(1001, "1001 ready #1 2s: NoLeader");
    assert_eq!(
        world.explain(1001).unwrap().run.leader,
        LeaderStanding { led: false, epoch: None, silent_seconds: None }
    );
    world.leader(NOW - 21).says(1001, "1001 ready #1 2s: NoLeader");
    world.leader(NOW - 19).says(1001, "1001 ready #1 2s: no worker []");
    // A stranger answered for another object of the stage.
    world.offer(1002, 1, 9).answer(1002, 1, None, false).says(1001, "1001 ready #1 2s: Strangers");
    world.says(1002, "1002 loaded #1 stranger");
    world.cancel().says(1001, "1001 ready #1 2s: Cancelling");
}

#[test]
fn a_waiting_object_is_led_to_what_it_waits_for() {
    let mut world = small();
    world.says(
        3002,
        "3002 Waiting { unmet: 1 } | 3001 < 2001 < 1001 ready #1: Soon | 3001 < 2002 < 1002 ready #1: Soon",
    );
    world.load(&[1001]).assign(1002, 1, 1, 4).assign(2001, 1, 2, 2);
    world.says(3001, "3001 Waiting { unmet: 2 } | 2001 running #1 w2 2s | 2002 < 1002 running #1 w1 4s");
    // What fails comes first, though it is farther.
    world.answer(1002, 1, Some("why"), false);
    world.says(3001, "3001 Waiting { unmet: 2 } | 2002 < 1002 failed x1 w1 why | 2001 running #1 w2 2s");
    let mut world = small();
    world.load(&[1001, 1002, 2001]).assign(2002, 1, 2, 3).answer(2002, 1, Some("why"), true);
    world.says(3001, "3001 Waiting { unmet: 1 } | 2002 retrying #1 why Soon");
    world.says(2002, "2002 retrying #1 why Soon");
    world.assign(2002, 2, 2, 1).says(2002, "2002 running #2 w2 1s");
    world.answer(2002, 2, Some("again"), true).says(2002, "2002 failed x2 w2 again");
}

#[test]
fn a_skipped_object_is_led_to_what_failed() {
    let mut world = small();
    world.load(&[1001, 1002, 2001]).fail(2002).skip(3001, &[2002]).skip(3002, &[2002]);
    world.says(3001, "3001 Skipped | 2002 failed x1 w2 why");
    world.says(3002, "3002 Skipped | 3001 < 2002 failed x1 w2 why");
    world.finish(Outcome::Failed).says(3002, "3002 Skipped | 3001 < 2002 failed x1 w2 why");
    // A second answer to another attempt: it is loaded after all, and the skips stay.
    let mut world = small();
    world.load(&[1001, 1002, 2001]).fail(2002).skip(3001, &[2002]);
    world.answer(2002, 2, None, false).says(3001, "3001 Skipped | 2002 loaded #2 stranger");
}

#[test]
fn what_is_through_or_over_says_so() {
    let mut world = small();
    world.load(&[1001]).assign(1002, 1, 1, 4).finish(Outcome::Cancelled);
    world.says(1001, "1001 loaded #1 w1");
    world.says(1002, "1002 NotRun { was: \"running\" }");
    world.says(3001, "3001 NotRun { was: \"waiting\" }");
    world.says(2999, "2999 Satisfied { needed_by: [3001] }");
    world.says(4711, "unknown");
    assert_eq!(world.explain(3001).unwrap().run.state, RunState::Cancelled);
}

#[test]
fn a_run_waits_behind_others() {
    let mut world = small();
    let ask = |world: &mut World, n: u128| {
        world.run = RunId(Uuid::from_u128(n));
        world.event(NOW - 50 + n as u64, Body::RunRequested(Request::default()));
    };
    ask(&mut world, 2);
    ask(&mut world, 3);
    world.says(1001, "1001 NotPlanned");
    let run = world.explain(1001).unwrap().run;
    assert_eq!((run.state, run.before), (RunState::Queued, vec![RUN, RunId(Uuid::from_u128(2))]));
    world.run = RUN;
    world.finish(Outcome::Failed);
    world.run = RunId(Uuid::from_u128(2));
    assert_eq!(world.explain(1001).unwrap().run.before, []);
}

#[test]
fn an_answer_is_bounded() {
    // A final object of a hundred sources, one of which failed.
    let sources: Vec<u64> = (1000..1100).collect();
    let mut objects: Vec<(u64, &[u64])> = sources.iter().map(|id| (*id, &[][..])).collect();
    objects.push((3000, &sources));
    let mut world = World::new(&objects);
    world.fail(1099);
    let answer = world.explain(3000).unwrap();
    assert_eq!((answer.chains.len(), answer.more), (MAX_CHAINS, 100 - MAX_CHAINS));
    assert_eq!(answer.chains[0].culprit.id, ObjectId(1099));
    assert_eq!(answer.chains[1].culprit.id, ObjectId(1000));

    // A chain of twenty thousand, and a short cut to the same cause.
    let parents: Vec<[u64; 1]> = (3000..23_000).map(|id| [id]).collect();
    let mut objects: Vec<(u64, &[u64])> = vec![(3000, &[])];
    objects.extend((3001..).zip(&parents).map(|(id, parents)| (id, &parents[..])));
    let world = World::new(&objects);
    let answer = world.explain(23_000).unwrap();
    assert_eq!(answer.chains.len(), 1);
    let Chain { via, omitted, culprit } = &answer.chains[0];
    assert_eq!((via.len(), via[0].id, *omitted), (MAX_VIA, ObjectId(22_999), 19_999 - MAX_VIA));
    assert_eq!(culprit.id, ObjectId(3000));
    let shortcut = [22_999, 3000];
    objects.last_mut().unwrap().1 = &shortcut;
    World::new(&objects).says(23_000, "23000 Waiting { unmet: 2 } | 3000 ready #1: Soon");
}

#[test]
fn a_paused_run_says_so() {
    let mut world = small();
    let ann = Asked { requested_by: Some("ann".into()) };
    world.load(&[1001]).event(NOW - 5, Body::RunPauseRequested(ann.clone()));
    world.says(2001, "2001 ready #1: Paused");
    let run = world.explain(3001).unwrap().run;
    assert_eq!((run.state, run.paused.unwrap().by.as_deref()), (RunState::Paused, Some("ann")));
    world.event(NOW - 4, Body::RunResumeRequested(ann)).says(2001, "2001 ready #1: Soon");
    assert_eq!(world.explain(3001).unwrap().run.paused, None);
}

#[test]
fn a_try_that_is_not_due_is_waited_for() {
    let mut world = small();
    let backoff = Duration::from_secs(60);
    world.plan_by(Rules { retries: 1, backoff, ..Rules::default() }, SMALL);
    world.assign(1001, 1, 1, 9).answer(1001, 1, Some("why"), true);
    let Why::Retrying { hold: Hold::Backoff { seconds, .. }, .. } = world.explain(1001).unwrap().object.why
    else {
        panic!("{:?}", world.explain(1001));
    };
    assert!((29.0..=59.0).contains(&seconds), "{seconds}");
}

#[test]
fn a_limit_holds_back_what_could_run() {
    let mut world = small();
    let limits = vec!["stage=ingest:1".parse().unwrap()];
    world.plan_by(Rules { limits, ..Rules::default() }, SMALL);
    world.assign(1001, 1, 1, 3).offer(1002, 1, 3);
    let Why::Ready { hold: Hold::Limit { limit, by, more }, .. } = world.explain(1002).unwrap().object.why
    else {
        panic!("{:?}", world.explain(1002));
    };
    assert_eq!((&*limit, by.len(), by[0].id, more), ("stage=ingest:1", 1, ObjectId(1001), 0));
}

#[test]
fn a_run_that_stops_names_what_failed_though_it_is_no_ancestor() {
    let mut world = small();
    world.plan_by(Rules { on_failure: OnFailure::Stop, ..Rules::default() }, SMALL);
    world.load(&[1001]).assign(1002, 1, 1, 9).answer(1002, 1, Some("why"), false);
    world.says(2001, "2001 ready #1: Stopping");
    world.skip(2001, &[1002]).skip(2002, &[1002]).skip(3001, &[1002]);
    world.says(2001, "2001 Skipped { stopped: true } | 1002 failed x1 w1 why");
    world.says(3001, "3001 Skipped { stopped: true } | 2002 < 1002 failed x1 w1 why");
}

#[test]
fn older_versions_and_marks_are_told() {
    let mut world = small();
    world.plan_by(Rules { on_failure: OnFailure::Continue, ..Rules::default() }, SMALL);
    world.load(&[1001, 1002, 2002]).fail(2001);
    // What stands in for it is no reason to wait.
    world.says(3001, "3001 ready #1: Soon");
    let ready = Ready {
        object: ObjectId(3001),
        attempt: 1,
        cause: None,
        degraded: vec![ObjectId(2001)],
        entry: None,
    };
    world.event(NOW - 1, Body::ObjectReady(ready));
    let degraded = world.explain(3001).unwrap().object.degraded;
    assert_eq!((degraded[0].id, &*degraded[0].state), (ObjectId(2001), "failed"));
    assert_eq!(degraded[0].version.unwrap().at, at(NOW - 900));

    let marked = Marked {
        object: ObjectId(2001),
        attempt: 1,
        state: MarkedAs::Loaded,
        because: Some("by hand".into()),
        requested_by: Some("ann".into()),
    };
    world.event(NOW - 1, Body::ObjectMarked(marked));
    let object = world.explain(2001).unwrap().object;
    assert_eq!(object.marked.unwrap().text(), "marked as loaded by ann: by hand");
    assert!(matches!(object.why, Why::Loaded { .. }), "{:?}", object.why);
}
