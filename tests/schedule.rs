//! What starts by the clock, as real processes. What is due when is in `src/domain/schedule/tests.rs`; nothing here waits
//! for an instant to come: what is looked at was missed.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/kafka/mod.rs"]
mod kafka;
mod support;

use std::collections::BTreeSet;
use std::fs;

use cluster::Cluster;
use jiff::{SignedDuration, Timestamp};
use korch::domain::event::{Body, Counts, Event, Finished, Outcome, Request, RunId, time_text};
use korch::log::local::LocalLog;
use korch::log::{Log, NewRecord};
use serde_json::{Value, json};
use support::{Api, Ended, Place, ended, korch, of_type, poll};
use uuid::Uuid;

/// An instant half an hour ago, and the expression that is due then and every hour: none comes while a test runs.
fn half_an_hour_ago() -> (Timestamp, String) {
    let minute = Timestamp::now().as_second() / 60 - 30;
    (Timestamp::from_second(minute * 60).unwrap(), format!("{} * * * *", minute.rem_euclid(60)))
}

fn hours(count: i64) -> SignedDuration {
    SignedDuration::from_hours(count)
}

/// A catalogue of final objects, each with its `Fréquence`; all of them need 1001.
fn catalogue(place: &Place, finals: &[(u64, &str)]) {
    let mut entries = vec![json!({"IdObjet": 1001, "Fréquence": "* * * * *"})];
    entries.extend(finals.iter().map(
        |(id, cron)| json!({"IdObjet": id, "IdObjet_Parent": 1001, "NomObjet": "Final", "Fréquence": cron}),
    ));
    fs::write(place.catalogue(), serde_json::to_vec_pretty(&entries).unwrap()).unwrap();
}

fn place(finals: &[(u64, &str)]) -> Place {
    let place = Place::with(&[]);
    catalogue(&place, finals);
    place
}

fn requested(due: Option<Timestamp>, at: Timestamp) -> Event {
    let request = Request { requested_by: Some("test".into()), scheduled_for: due, ..Request::default() };
    Event { at, run: Some(RunId(Uuid::now_v7())), epoch: None, body: Body::RunRequested(request) }
}

fn over(request: &Event) -> Event {
    let finished = Finished {
        outcome: Outcome::Succeeded,
        reason: None,
        counts: Counts::default(),
        duration_seconds: 1.0,
        problems: None,
    };
    Event { epoch: Some(1), body: Body::RunFinished(finished), ..request.clone() }
}

/// A log that holds these events.
fn write(place: &Place, events: &[Event]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let log = LocalLog::open(&place.path("log")).unwrap();
        log.append(events.iter().map(NewRecord::of).collect()).await.unwrap();
    });
}

/// The runs of a schedule, the oldest instant first: when each was due, and how it stands.
fn scheduled(api: &Api) -> Vec<(String, String)> {
    let runs = api.get("/runs");
    let of_schedule = runs["runs"].as_array().unwrap().iter().filter(|run| run["requested_by"] == "schedule");
    let mut runs: Vec<_> = of_schedule
        .map(|run| {
            (run["scheduled_for"].as_str().unwrap().to_owned(), run["state"].as_str().unwrap().to_owned())
        })
        .collect();
    runs.sort();
    runs
}

/// Asks for a run and waits for its end: whatever was to be asked for before it is.
fn a_run_of_ones_own(api: &Api) {
    let (status, answer) = api.post("/orchestrate");
    assert_eq!(status, 202, "{answer}");
    api.finished(answer["run_id"].as_str().unwrap());
}

fn text(args: &[&str], place: &Place) -> Ended {
    let mut command = korch(args);
    command.current_dir(place.dir.path());
    ended(command)
}

#[test]
fn what_was_missed_is_caught_up_with() {
    let (last, cron) = half_an_hour_ago();
    let place = |_: ()| place(&[(3001, &cron), (3002, &cron), (3003, "0 0 29 2 *")]);
    let succeeded = |ago: i64| (time_text(last - hours(ago)), "succeeded".to_owned());
    for (policy, expected) in [
        ("none", vec![]),
        ("last", vec![succeeded(0)]),
        ("all", vec![succeeded(2), succeeded(1), succeeded(0)]),
    ] {
        let place = place(());
        let old = requested(Some(last - hours(3)), last - hours(3));
        write(&place, &[old.clone(), over(&old)]);
        let args = ["--schedule", "--timezone", "UTC", "--catch-up", policy, "--delay", "1ms"];
        let up = place.up(&args);
        let api = up.api();
        api.ready();
        if policy == "none" {
            up.said("3 missed instants are passed over");
        }
        poll("the runs of the schedule", || (scheduled(&api) == expected).then_some(()));
        a_run_of_ones_own(&api);
        assert_eq!(scheduled(&api), expected, "{policy}");
        for request in of_type(&place.events(), "RunRequested") {
            if request["requested_by"] == "schedule" {
                assert_eq!(request["targets"], json!(["+3001", "+3002"]));
            }
        }
        let server = format!("http://{}", api.address);
        let runs = text(&["runs", "--server", &server], &place);
        assert_eq!(runs.out.matches("schedule, due 20").count(), expected.len(), "{}", runs.out);
        up.stop();

        // Nothing of it runs again.
        let up = place.up(&args);
        let api = up.api();
        api.ready();
        a_run_of_ones_own(&api);
        assert_eq!(scheduled(&api), expected, "{policy}, after a restart");
    }
}

#[test]
fn what_is_due_while_a_run_is_under_way() {
    let (last, cron) = half_an_hour_ago();
    for policy in ["skip", "queue"] {
        let place = place(&[(3001, &cron)]);
        let (old, under_way) = (requested(Some(last - hours(1)), last), requested(None, last));
        write(&place, &[old.clone(), over(&old), under_way.clone()]);
        let up = place.up(&["--schedule", "--timezone", "UTC", "--overlap", policy, "--delay", "1ms"]);
        let api = up.api();
        api.ready();
        let state = if policy == "skip" { "cancelled" } else { "succeeded" };
        poll("the run of the schedule", || {
            (scheduled(&api) == [(time_text(last), state.into())]).then_some(())
        });
        let runs = api.get("/runs")["runs"].clone();
        let run = runs.as_array().unwrap().iter().find(|run| run["requested_by"] == "schedule").unwrap();
        let reason = format!("overlap: run {} was under way", under_way.run.unwrap());
        assert_eq!(run["reason"], if policy == "skip" { json!(reason) } else { Value::Null });
        // The other one ran in peace.
        assert_eq!(api.finished(&under_way.run.unwrap().to_string())["state"], "succeeded");
        let server = format!("http://{}", api.address);
        let status = text(&["status", run["run_id"].as_str().unwrap(), "--server", &server], &place);
        assert!(status.out.contains("was due at 20"), "{}", status.out);
    }
}

#[test]
fn with_a_schedule_nothing_else_starts_by_itself() {
    let (_, cron) = half_an_hour_ago();
    let place = place(&[(3001, &cron), (3002, "0 25 * * *"), (3003, "")]);
    let up = place.up(&["--schedule", "--timezone", "Europe/Paris", "--catch-up", "all", "--delay", "1ms"]);
    let api = up.api();
    api.ready();
    up.said("1 final object whose Fréquence is no cron expression (--schedule never starts it): 3002");
    a_run_of_ones_own(&api);
    let runs = api.get("/runs");
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1, "{runs}");
    assert_eq!(runs["runs"][0]["scheduled_for"], Value::Null);

    let schedule = api.get("/schedule?limit=3");
    assert_eq!(schedule["timezone"], "Europe/Paris");
    assert_eq!((&schedule["overlap"], &schedule["catch_up"]), (&json!("skip"), &json!("all")));
    assert_eq!(
        (&schedule["finals"], &schedule["scheduled"], &schedule["unscheduled"]),
        (&json!(3), &json!(1), &json!(1))
    );
    assert_eq!(schedule["problems"][0]["id"], "3002");
    let next = schedule["next"].as_array().unwrap();
    assert_eq!(next.len(), 3);
    assert_eq!((&next[0]["objects"], &next[0]["everything"]), (&json!([3001]), &json!(false)));
    let local: Timestamp = next[0]["local"].as_str().unwrap().parse().unwrap();
    assert_eq!(time_text(local), next[0]["at"].as_str().unwrap());
    assert_eq!(api.ask("/schedule?limit=0").0, 400);

    // The file changes: to one that is bad, to one that is good.
    fs::write(place.catalogue(), "[").unwrap();
    let stale = poll("that the catalogue is bad", || {
        Some(api.get("/schedule")).filter(|now| !now["stale"].is_null())
    });
    assert_eq!(stale["next"][0]["objects"], json!([3001]), "the schedule of before goes on");
    catalogue(&place, &[(3001, ""), (3004, &cron)]);
    let good = poll("the new schedule", || Some(api.get("/schedule")).filter(|now| now["stale"].is_null()));
    assert_eq!(good["next"][0]["objects"], json!([3004]));
}

#[test]
fn no_schedule_no_answer() {
    let place = place(&[(3001, "@hourly")]);
    let up = place.up(&["--idle"]);
    let (status, problem) = up.api().ask("/schedule");
    assert_eq!(status, 404);
    assert!(problem["detail"].as_str().unwrap().contains("--schedule"), "{problem}");
}

#[test]
fn the_next_instants_from_the_file_alone() {
    let place = place(&[(3001, "30 2 * * *"), (3002, "0 * * * *"), (3003, "0 0 30 2 *"), (3004, "")]);
    let args = ["schedule", "--timezone", "Europe/Paris", "--from", "2026-03-29T00:30", "-n", "4"];
    let human = text(&args, &place);
    assert_eq!((human.code, human.err.as_str()), (Some(0), ""));
    assert!(human.out.contains("Scheduled  2 of 4 final objects, 1 without a Fréquence"), "{}", human.out);
    assert!(human.out.contains("Sun 2026-03-29 03:00 +02:00"), "{}", human.out);
    assert!(human.out.contains("id 3003") && human.out.contains("never due"), "{}", human.out);

    let json = text(&[&args[..], &["--output", "json"]].concat(), &place);
    let report: Value = serde_json::from_str(&json.out).unwrap();
    let next: Vec<_> = report["next"]
        .as_array()
        .unwrap()
        .iter()
        .map(|due| (due["local"].as_str().unwrap(), due["finals"].clone(), due["objects"].as_u64().unwrap()))
        .collect();
    // The 2:30 that the clock leaves out is due when it goes on, together with what is due every hour.
    assert_eq!(
        next,
        [
            ("2026-03-29T01:00:00+01:00", json!([3002]), 2),
            ("2026-03-29T03:00:00+02:00", json!([3001, 3002]), 3),
            ("2026-03-29T04:00:00+02:00", json!([3002]), 2),
            ("2026-03-29T05:00:00+02:00", json!([3002]), 2),
        ]
    );
    let until = text(
        &[
            "schedule",
            "--timezone",
            "UTC",
            "--from",
            "2026-03-29",
            "--until",
            "2026-03-29T23:30",
            "--output",
            "json",
        ],
        &place,
    );
    let report: Value = serde_json::from_str(&until.out).unwrap();
    assert_eq!(report["next"].as_array().unwrap().len(), 25);
}

#[test]
fn the_plan_of_an_instant() {
    let place = place(&[(3001, "30 2 * * *"), (3002, "0 * * * *"), (3003, "x")]);
    let plan = |at: &str| {
        let args = ["plan", "--timezone", "Europe/Paris", "--output", "json", "--at", at];
        let ended = text(&args, &place);
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        let plan: Value = serde_json::from_str(&ended.out).unwrap();
        (
            plan["scheduled_for"].as_str().unwrap().to_owned(),
            plan["order"].clone(),
            ended.err,
            plan["warnings"].clone(),
        )
    };
    let (due, order, said, warnings) = plan("2026-03-29T02:10");
    assert_eq!((due.as_str(), &order), ("2026-03-29T01:00:00Z", &json!([1001, 3001, 3002])));
    assert!(said.contains("due at Sun 2026-03-29 03:00 +02:00 (Europe/Paris"), "{said}");
    assert!(
        warnings.as_array().unwrap().iter().any(|warning| warning["kind"] == "bad_frequency"),
        "{warnings}"
    );
    let (due, order, ..) = plan("2026-03-29T03:00:01+02:00");
    assert_eq!((due.as_str(), order), ("2026-03-29T02:00:00Z", json!([1001, 3002])));

    // A bad Fréquence is a warning of every plan.
    let whole = text(&["plan"], &place);
    assert_eq!(whole.code, Some(0));
    assert!(
        whole.out.contains("Warning: 1 final object whose Fréquence is no cron expression"),
        "{}",
        whole.out
    );
    assert!(whole.out.contains("3003 (entry 4: \"x\" has 1 field"), "{}", whole.out);
}

#[test]
fn what_cannot_be_read_is_said() {
    let place = place(&[(3001, "")]);
    for (args, code, said) in [
        (&["plan", "--at", "tomorrow"][..], 2, "--at \"tomorrow\" is no time: write now, 02:30"),
        (
            &["plan", "--at", "now"],
            3,
            "no final object is due after that (hint: give a final object a Fréquence",
        ),
        (&["plan", "+3001", "--at", "now"], 2, "cannot be used with"),
        (&["schedule", "--from", "yesterday"], 2, "--from \"yesterday\" is no time"),
        (&["schedule", "--timezone", "Europe/Pariss"], 2, "did you mean Europe/Paris?"),
        (&["schedule", "--file", "nowhere.json"], 3, "no such file"),
        (&["up", "--overlap", "wait"], 2, "it is skip or queue"),
        (&["up", "--catch-up", "some"], 2, "it is none, last or all"),
    ] {
        let ended = text(args, &place);
        assert_eq!(ended.code, Some(code), "{args:?}: {}", ended.err);
        assert!(ended.err.contains(said), "{args:?}: {}", ended.err);
    }
    assert!(text(&["schedule"], &place).out.contains("Nothing is due"));
}

#[test]
fn on_kafka_each_instant_runs_once_however_many_lead() {
    let Some(kafka) = kafka::shared() else { return };
    let (last, cron) = half_an_hour_ago();
    let cluster = Cluster::new(&kafka.bootstrap(), place(&[(3001, &cron), (3002, &cron)]));
    cluster.kafka.create_topic(&cluster.topic, 3);
    // It was asked for before the orchestrator went, and never planned: it comes first.
    let old = requested(Some(last - hours(3)), last - hours(3));
    let value: Value = serde_json::from_slice(&old.encode()).unwrap();
    cluster.kafka.produce(&cluster.topic, &old.key(), &value);

    let _workers = cluster.workers(&["--delay", "1ms"]);
    let args = ["--schedule", "--timezone", "UTC", "--catch-up", "all"];
    let (one, two) = (cluster.orchestrate(&args), cluster.orchestrate(&args));
    let api = one.api();
    api.ready();
    let over =
        |runs: &[(String, String)]| runs.len() == 3 && runs.iter().all(|(_, state)| state == "succeeded");
    let runs = poll("the runs of the schedule", || Some(scheduled(&api)).filter(|runs| over(runs)));
    let due: Vec<&str> = runs.iter().map(|(due, _)| due.as_str()).collect();
    assert_eq!(due, [2, 1, 0].map(|ago| time_text(last - hours(ago))));
    // Whoever leads next finds nothing to catch up with.
    one.signal(rustix::process::Signal::TERM);
    one.end();
    two.said("leading");
    a_run_of_ones_own(&two.api());
    assert_eq!(scheduled(&two.api()), runs);
    let events = cluster.sound().events;
    let requests = of_type(&events, "RunRequested");
    let of_schedule: BTreeSet<&str> =
        requests.iter().filter_map(|event| event["scheduled_for"].as_str()).collect();
    assert_eq!((of_schedule.len(), requests.len()), (4, 5), "each once");
}
