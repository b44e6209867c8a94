//! What becomes of each object, by what fails and by which rules the run goes: golden tests of the final states.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/night.rs"]
mod night;

use std::time::Duration;

use korch::domain::attempt::Phase;
use korch::domain::event::{Asked, Body, MarkedAs, PlannedObject, Request, RunId};
use korch::domain::object::{ObjectId, Stage};
use korch::domain::rules::{OnFailure, RulesAsked};
use night::{Fate, Night, object};

/// Three sources, each standardized, and three final objects: 3001 needs two of them.
fn lake() -> Vec<PlannedObject> {
    vec![
        object(1001, &[]),
        object(1002, &[]),
        object(1003, &[]),
        object(2001, &[1001]),
        object(2002, &[1002]),
        object(2003, &[1003]),
        object(3001, &[2001, 2002]),
        object(3002, &[2002]),
        object(3003, &[2003]),
    ]
}

fn on_failure(policy: OnFailure) -> Request {
    Request { rules: RulesAsked { on_failure: Some(policy), ..RulesAsked::default() }, ..Request::default() }
}

fn retries(retries: u32, backoff: Duration) -> Request {
    let rules = RulesAsked { retries: Some(retries), backoff: Some(backoff), ..RulesAsked::default() };
    Request { rules, ..Request::default() }
}

#[track_caller]
fn check(night: &Night, run: RunId, expected: &str) {
    let expected: Vec<&str> = expected.trim().lines().map(str::trim).collect();
    let tale = night.tale(run);
    assert_eq!(tale.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn skip_goes_on_with_everything_else() {
    let mut night = Night::new(lake(), 8).fates(&[(2002, Fate::Fails)]);
    let run = night.run(Request::default());
    check(
        &night,
        run,
        "failed
         1001 loaded
         1002 loaded
         1003 loaded
         2001 loaded
         2002 failed
         2003 loaded
         3001 skipped because of 2002
         3002 skipped because of 2002
         3003 loaded",
    );
}

#[test]
fn stop_starts_nothing_more_and_lets_finish_what_runs() {
    let mut night = Night::new(lake(), 8).fates(&[(2002, Fate::Fails)]);
    night.takes_ms = [(2001, 5_000), (1003, 2_000)].into();
    let run = night.run(on_failure(OnFailure::Stop));
    check(
        &night,
        run,
        "failed
         1001 loaded
         1002 loaded
         1003 loaded
         2001 loaded
         2002 failed
         2003 skipped because of 2002
         3001 skipped because of 2002
         3002 skipped because of 2002
         3003 skipped because of 2002",
    );
}

#[test]
fn stop_gives_up_what_waits_for_another_try() {
    let mut night = Night::new(lake(), 8).fates(&[(1001, Fate::Flaky(1)), (2002, Fate::Fails)]);
    let mut request = on_failure(OnFailure::Stop);
    request.rules.retries = Some(3);
    request.rules.backoff = Some(Duration::from_secs(60));
    let run = night.run(request);
    check(
        &night,
        run,
        "failed
         1001 skipped because of 2002
         1002 loaded
         1003 loaded
         2001 skipped because of 2002
         2002 failed
         2003 loaded
         3001 skipped because of 2002
         3002 skipped because of 2002
         3003 skipped because of 2002",
    );
}

#[test]
fn continue_goes_on_with_the_last_good_version_and_says_so_down_to_the_end() {
    let mut night = Night::new(lake(), 8);
    night.run(Request::default());
    night.fates = [(1002, Fate::Fails)].into();
    let run = night.run(on_failure(OnFailure::Continue));
    check(
        &night,
        run,
        "failed
         1001 loaded
         1002 failed
         1003 loaded
         2001 loaded
         2002 loaded degraded by 1002
         2003 loaded
         3001 loaded degraded by 1002
         3002 loaded degraded by 1002
         3003 loaded",
    );
    // What is degraded is run again with what failed, and comes out whole.
    night.fates.clear();
    let again = night.run(Request { retry_of: Some(run), ..Request::default() });
    check(
        &night,
        again,
        "succeeded
         1002 loaded
         2002 loaded
         3001 loaded
         3002 loaded",
    );
}

#[test]
fn continue_skips_what_has_no_good_version() {
    let mut night = Night::new(lake(), 8).fates(&[(2002, Fate::Fails)]);
    let run = night.run(on_failure(OnFailure::Continue));
    let tale = night.tale(run);
    assert!(
        tale.contains("3001 skipped because of 2002\n3002 skipped because of 2002\n3003 loaded"),
        "{tale}"
    );
    // A skipped object with an older version serves its children, though what it is made from does not.
    let mut lake = lake();
    lake.push(object(3004, &[3002]));
    night.objects = lake;
    night.fates.clear();
    night.run(Request::default());
    night.objects.insert(3, object(1009, &[]));
    let standardized = night.objects.iter_mut().find(|object| object.id.0 == 3002).unwrap();
    standardized.parents.push(ObjectId(1009));
    night.fates = [(1009, Fate::Fails)].into();
    let run = night.run(on_failure(OnFailure::Continue));
    let tale = night.tale(run);
    assert!(tale.contains("3002 skipped because of 1009\n"), "{tale}");
    assert!(tale.contains("3004 loaded degraded by 3002\n"), "{tale}");
}

#[test]
fn only_what_is_worth_it_is_tried_again_and_only_so_often() {
    let fates = [(1001, Fate::Flaky(2)), (1002, Fate::Flaky(3)), (1003, Fate::Fails)];
    let mut night = Night::new(lake(), 8).fates(&fates);
    let run = night.run(retries(2, Duration::ZERO));
    check(
        &night,
        run,
        "failed
         1001 loaded at attempt 3
         1002 failed at attempt 3
         1003 failed
         2001 loaded
         2002 skipped because of 1002
         2003 skipped because of 1003
         3001 skipped because of 1002
         3002 skipped because of 1002
         3003 skipped because of 1003",
    );
}

#[test]
fn each_further_try_waits_twice_as_long() {
    let mut night = Night::new(lake(), 8).fates(&[(1001, Fate::Flaky(4))]);
    let run = night.run(retries(5, Duration::from_secs(10)));
    let assigned = night.assigned(run, 1001);
    let waits: Vec<u64> = assigned.windows(2).map(|pair| pair[1] - pair[0] - 500).collect();
    assert_eq!(waits.len(), 4);
    for (wait, full) in waits.iter().zip([10_000, 20_000, 40_000, 80_000]) {
        // Between half and all of it, looked at once a tick.
        assert!((full / 2..=full + night::TICK_MS).contains(wait), "{waits:?}");
    }
}

#[test]
fn a_lost_worker_is_no_failure_and_three_are_the_end() {
    let fates = [(1001, Fate::Kills(2)), (1002, Fate::KillsThenFails(2, 1)), (1003, Fate::Kills(3))];
    // One worker for each object: none takes another's work with it.
    let workers = vec![
        (Stage::Ingest, 1),
        (Stage::Ingest, 1),
        (Stage::Ingest, 1),
        (Stage::Standardize, 8),
        (Stage::Application, 8),
    ];
    let mut night = Night::with(lake(), workers).fates(&fates);
    let run = night.run(retries(1, Duration::ZERO));
    check(
        &night,
        run,
        "failed
         1001 loaded at attempt 3
         1002 loaded at attempt 4
         1003 failed at attempt 3
         2001 loaded
         2002 loaded
         2003 skipped because of 1003
         3001 loaded
         3002 loaded
         3003 skipped because of 1003",
    );
    let board = night.board(run);
    let failure = board.attempts(board.position(ObjectId(1003)).unwrap()).failure().unwrap();
    assert!(failure.error.starts_with("3 workers went while they held it"), "{}", failure.error);
}

#[test]
fn retry_runs_what_failed_and_what_was_skipped_for_it() {
    let mut night = Night::new(lake(), 8).fates(&[(2002, Fate::Fails)]);
    let run = night.run(Request::default());
    night.fates.clear();
    let again = night.run(Request { retry_of: Some(run), ..Request::default() });
    check(
        &night,
        again,
        "succeeded
         2002 loaded
         3001 loaded
         3002 loaded",
    );
    let nothing = night.run(Request { retry_of: Some(again), ..Request::default() });
    check(&night, nothing, "failed: has nothing that failed");
}

#[test]
fn retry_from_runs_an_object_and_what_follows() {
    let mut night = Night::new(lake(), 8);
    let run = night.run(Request::default());
    let from = |ids: &[u64], run| Request {
        retry_of: Some(run),
        from: ids.iter().copied().map(ObjectId).collect(),
        ..Request::default()
    };
    let again = night.run(from(&[2002], run));
    check(&night, again, "succeeded\n2002 loaded\n3001 loaded\n3002 loaded");
    let two = night.run(from(&[3003, 2001], run));
    check(&night, two, "succeeded\n2001 loaded\n3001 loaded\n3003 loaded");

    night.fates = [(2002, Fate::Fails)].into();
    let failed = night.run(Request::default());
    night.fates.clear();
    for (ids, why) in [
        (vec![3001], "failed: did not load 2002, which 3001 needs"),
        (vec![1999], "failed: has no object 1999"),
    ] {
        let refused = night.run(from(&ids, failed));
        check(&night, refused, why);
    }
    let again = night.run(from(&[1002], failed));
    check(&night, again, "succeeded\n1002 loaded\n2002 loaded\n3001 loaded\n3002 loaded");
}

#[test]
fn a_retry_goes_by_the_rules_of_the_run_that_it_repeats() {
    let mut night = Night::new(lake(), 8).fates(&[(2002, Fate::Fails)]);
    let mut request = retries(2, Duration::from_secs(7));
    request.rules.limits = vec!["stage=ingest:1".parse().unwrap()];
    let run = night.run(request);
    let again = night.run(Request {
        retry_of: Some(run),
        rules: RulesAsked { retries: Some(5), ..RulesAsked::default() },
        ..Request::default()
    });
    let rules = night.board(again).rules();
    assert_eq!((rules.retries, rules.backoff, rules.limits.len()), (5, Duration::from_secs(7), 1));
}

#[test]
fn what_is_fresh_is_reused_and_what_follows_something_new_is_not() {
    let mut night = Night::new(lake(), 8);
    let fresh =
        |minutes: u64| Request { fresh: Some(Duration::from_secs(60 * minutes)), ..Request::default() };
    night.run(fresh(30));
    let all = night.run(fresh(30));
    assert_eq!(night.tale(all).matches("loaded reused").count(), 9, "{}", night.tale(all));
    assert!(night.tale(all).starts_with("succeeded"));
    // A reused object is no new version: freshness counts from when it was loaded.
    night.pass(29 * 60_000);
    night.run(fresh(30));
    night.pass(2 * 60_000);
    let none = night.run(fresh(30));
    assert!(!night.tale(none).contains("reused"), "{}", night.tale(none));
    // One branch is loaded later on its own: what joins it with another one must follow.
    night.pass(20 * 60_000);
    let last = night.run(Request { retry_of: Some(none), from: vec![ObjectId(1002)], ..Request::default() });
    assert!(night.tale(last).starts_with("succeeded"));
    night.pass(15 * 60_000);
    let some = night.run(fresh(30));
    check(
        &night,
        some,
        "succeeded
         1001 loaded
         1002 loaded reused
         1003 loaded
         2001 loaded
         2002 loaded reused
         2003 loaded
         3001 loaded
         3002 loaded reused
         3003 loaded",
    );
}

#[test]
fn a_mark_lets_a_run_go_on_past_what_somebody_mended() {
    let mut night = Night::new(lake(), 8).fates(&[(2002, Fate::Fails)]);
    night.takes_ms = [(2003, 60_000)].into();
    let run = night.ask(Request::default());
    night.until(|night| night.phase(run, 3001) == Phase::Skipped);
    night.mark(run, 2002, MarkedAs::Loaded);
    night.until(|night| night.history.run(run).unwrap().finished.is_some());
    check(
        &night,
        run,
        "succeeded
         1001 loaded
         1002 loaded
         1003 loaded
         2001 loaded
         2002 loaded marked loaded by ann
         2003 loaded
         3001 loaded
         3002 loaded
         3003 loaded",
    );
}

#[test]
fn a_mark_mends_a_run_that_was_to_stop() {
    let mut night = Night::new(lake(), 8).fates(&[(2002, Fate::Fails)]);
    night.takes_ms = [(2001, 60_000)].into();
    let run = night.ask(on_failure(OnFailure::Stop));
    night.until(|night| night.phase(run, 3003) == Phase::Skipped);
    night.mark(run, 2002, MarkedAs::Loaded);
    night.until(|night| night.history.run(run).unwrap().finished.is_some());
    assert!(night.tale(run).starts_with("succeeded"), "{}", night.tale(run));
}

#[test]
fn a_mark_after_the_end_changes_what_a_retry_runs() {
    let mut night = Night::new(lake(), 8).fates(&[(2002, Fate::Fails)]);
    let run = night.run(Request::default());
    night.mark(run, 2002, MarkedAs::Loaded);
    night.pass(1_000);
    assert!(night.tale(run).starts_with("failed\n"), "the outcome stands");
    let again = night.run(Request { retry_of: Some(run), ..Request::default() });
    check(&night, again, "succeeded\n3001 loaded\n3002 loaded");
}

#[test]
fn marks_of_what_waits_and_of_what_runs() {
    let mut night = Night::new(lake(), 8);
    night.takes_ms = [(1001, 1_000_000)].into();
    let run = night.ask(Request::default());
    night.mark(run, 2002, MarkedAs::Loaded); // it waits: it is never run
    night.until(|night| night.phase(run, 1001) == Phase::Running);
    night.mark(run, 1001, MarkedAs::Failed); // it runs: it is given up
    night.until(|night| night.history.run(run).unwrap().finished.is_some());
    check(
        &night,
        run,
        "failed
         1001 failed marked failed by ann
         1002 loaded
         1003 loaded
         2001 skipped because of 1001
         2002 loaded marked loaded by ann
         2003 loaded
         3001 skipped because of 1001
         3002 loaded
         3003 loaded",
    );
    assert!(night.ms < 100_000 && night.assigned(run, 2002).is_empty());
}

#[test]
fn a_paused_run_starts_nothing_and_goes_on_where_it_was() {
    let mut night = Night::new(lake(), 8).fates(&[(1003, Fate::Flaky(1))]);
    let run = night.ask(retries(1, Duration::ZERO));
    night.until(|night| night.phase(run, 1001) == Phase::Running);
    night.pause(run);
    let (paused_at, before) = (night.ms, night.said.len());
    night.pass(3_600_000);
    let started = |night: &Night| {
        night.said[before..].iter().any(|(_, event)| matches!(event.body, Body::ObjectAssigned(_)))
    };
    assert!(!started(&night), "something started after {paused_at}");
    // What ran has finished, or waits for its other try.
    assert_eq!(
        [1001, 1002, 1003].map(|id| night.phase(run, id)),
        [Phase::Loaded, Phase::Loaded, Phase::Retrying]
    );
    night.resume(run);
    night.until(|night| night.history.run(run).unwrap().finished.is_some());
    assert!(night.tale(run).starts_with("succeeded"), "{}", night.tale(run));
}

#[test]
fn a_paused_run_is_not_planned_and_can_be_cancelled() {
    let mut night = Night::new(lake(), 8);
    let run = night.ask(Request::default());
    night.pause(run);
    night.pass(60_000);
    assert!(night.history.run(run).unwrap().board().is_none());
    night.say(run, Body::RunCancelRequested(Asked { requested_by: Some("ann".into()) }));
    night.until(|night| night.history.run(run).unwrap().finished.is_some());
    check(&night, run, "cancelled: cancelled by ann");
}
