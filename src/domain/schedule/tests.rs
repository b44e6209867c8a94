#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::domain::event::Place;
use crate::domain::run::Stamp;

/// Final objects, each with its `Fréquence`.
fn schedule(zone: &str, finals: &[(u64, &str)]) -> Schedule {
    let entries: Vec<_> = finals.iter().map(|(id, cron)| json!({"IdObjet": id, "Fréquence": cron})).collect();
    let bytes = Bytes::from(serde_json::to_vec(&entries).unwrap());
    Schedule::of(&Catalog::parse("Objets.json", bytes).unwrap(), TimeZone::get(zone).unwrap())
}

fn at(text: &str) -> Timestamp {
    format!("2026-11-{}Z", text.replace(' ', "T")).parse().unwrap()
}

fn tell(history: &mut History, events: &[Event]) {
    for event in events {
        let place = Place { partition: 0, offset: 0 };
        let stamp = Stamp { place, timestamp_us: event.at.as_microsecond() };
        history.apply(event, stamp).unwrap();
    }
}

fn asked(run: u128, request: Request, now: &str) -> Event {
    Event {
        at: at(now),
        run: Some(RunId(Uuid::from_u128(run))),
        epoch: None,
        body: Body::RunRequested(request),
    }
}

/// A run of everything that was due then, asked for at once, and over.
fn ran(history: &mut History, run: u128, due: &str) {
    let request = Request { scheduled_for: Some(at(due)), ..Request::default() };
    let mut event = asked(run, request, due);
    tell(history, &[event.clone()]);
    event.epoch = Some(1);
    event.body = Body::RunFinished(Finished {
        outcome: Outcome::Succeeded,
        reason: None,
        counts: Counts::default(),
        duration_seconds: 1.0,
        problems: None,
    });
    tell(history, &[event]);
}

/// What a leader does from then to `now`, which it looks at once: a line for each run, and what was passed over.
fn looks(
    schedule: &Schedule,
    history: &mut History,
    from: Timestamp,
    now: &str,
    policies: Policies,
) -> Vec<String> {
    let (mut since, now, mut said) = (from, at(now), Vec::new());
    loop {
        let Due { asks, passed_over, until } = due(schedule, since, now, history, policies);
        said.extend(passed_over.iter().map(ToString::to_string));
        for ask in &asks {
            let targets = ask.request.targets.join(" ");
            let due = ask.request.scheduled_for.unwrap().strftime("%d %H:%M").to_string();
            let skipped = ask.skipped.as_ref().map_or("", |_| " skipped");
            said.push(format!("{due} {}{skipped}", if targets.is_empty() { "all" } else { &targets }));
            tell(history, &ask.events(now, 1));
        }
        if until >= now || (until == since && asks.is_empty()) {
            return said;
        }
        since = until;
    }
}

#[test]
fn what_is_due_together_is_one_run() {
    let schedule = schedule(
        "UTC",
        &[(3001, "0 * * * *"), (3002, "0 2 * * *"), (3003, "@hourly"), (3004, ""), (3005, "0 2 * *")],
    );
    assert_eq!((schedule.finals(), schedule.scheduled(), schedule.unscheduled()), (5, 3, 1));
    assert_eq!(
        schedule.warning().unwrap().to_string(),
        "1 final object whose Fréquence is no cron expression (--schedule never starts it): 3005 (entry 5: \"0 2 * *\" has 4 \
         fields, not five fields; write minute, hour, day of the month, month, day of the week: every day at two is 0 2 * * *)"
    );
    let problem = &schedule.problems().unwrap().problems[0];
    assert_eq!((problem.position, problem.id.as_deref(), problem.line), (Some(5), Some("3005"), Some(1)));
    let next: Vec<_> =
        schedule.after(at("25 00:30")).take(3).map(|due| (due.at, due.targets().join(" "))).collect();
    assert_eq!(
        next,
        [
            (at("25 01:00"), "+3001 +3003".into()),
            (at("25 02:00"), "+3001 +3002 +3003".into()),
            (at("25 03:00"), "+3001 +3003".into())
        ]
    );
    assert_eq!(schedule.at_or_after(at("25 02:00")).unwrap().at, at("25 02:00"));
}

#[test]
fn everything_needs_no_targets() {
    let schedule = schedule("Europe/Paris", &[(3001, "0 2 * * *"), (3002, "0 2 * * *")]);
    let due = schedule.after(at("25 00:30")).next().unwrap();
    assert_eq!((due.at, due.everything, due.targets()), (at("25 01:00"), true, vec![]));
    let [(run, request)] = &due.requests()[..] else { panic!("one run") };
    assert_eq!(request.scheduled_for, Some(due.at));
    assert_eq!(*run, due.requests()[0].0, "the same run whoever asks");
    let later = schedule.after(due.at).next().unwrap();
    assert_ne!(*run, later.requests()[0].0);
}

#[test]
fn nothing_is_due_where_nothing_is_scheduled() {
    let schedule = schedule("UTC", &[(3001, ""), (3002, "bad")]);
    assert_eq!(schedule.after(at("25 00:00")).next(), None);
    let looked = due(&schedule, at("01 00:00"), at("25 00:00"), &History::default(), Policies::default());
    assert_eq!(looked, Due { asks: vec![], passed_over: None, until: at("25 00:00") });
}

#[test]
fn catching_up() {
    use CatchUp::{All, Last, None};
    // 3001 every hour, 3002 at two, both at two; the log has the run of midnight.
    let finals: &[(u64, &str)] = &[(3001, "0 * * * *"), (3002, "0 2 * * *")];
    #[rustfmt::skip]
    let table: &[(CatchUp, &str, &[&str])] = &[
        (None, "25 00:59", &[]),
        (None, "25 01:00", &["25 01:00 +3001"]),
        // On time is who asks within a minute: a leader that follows another.
        (None, "25 01:01", &["25 01:00 +3001"]),
        (None, "25 01:02", &["1 missed instant is passed over: 2026-11-25T01:00:00Z"]),
        (None, "25 03:00:30", &["2 missed instants are passed over, from 2026-11-25T01:00:00Z to 2026-11-25T02:00:00Z", "25 03:00 +3001"]),
        (Last, "25 01:02", &["25 01:00 +3001"]),
        (Last, "25 01:59", &["25 01:00 +3001"]),
        (Last, "25 02:30", &["25 02:00 all"]),
        // What was missed at two is not forgotten for what was missed at five.
        (Last, "25 05:30", &["25 05:00 all"]),
        (Last, "25 05:00:30", &["25 05:00 all"]),
        (Last, "30 00:10", &["30 00:00 all"]),
        (All, "25 01:59", &["25 01:00 +3001"]),
        (All, "25 03:30", &["25 01:00 +3001", "25 02:00 all", "25 03:00 +3001"]),
    ];
    for (catch_up, now, said) in table {
        let mut history = History::default();
        ran(&mut history, 1, "25 00:00");
        let since = since(at("25 00:50"), Option::None, &history);
        let policies = Policies { catch_up: *catch_up, overlap: Overlap::Queue };
        let looked = looks(&schedule("UTC", finals), &mut history, since, now, policies);
        assert_eq!(&looked, said, "{catch_up} at {now}");
    }
}

#[test]
fn catching_up_is_bounded() {
    let minutely = schedule("UTC", &[(3001, "* * * * *")]);
    let all = Policies { catch_up: CatchUp::All, overlap: Overlap::Skip };
    let none = Policies { catch_up: CatchUp::None, ..all };
    let mut history = History::default();
    ran(&mut history, 1, "01 00:00");
    let said = looks(&minutely, &mut history.clone(), at("01 00:00"), "25 12:00:30", all);
    assert_eq!(said.len(), 101);
    assert_eq!(
        said[0],
        "the instants missed between 2026-11-01T00:00:00Z and 2026-11-25T10:21:00Z are passed over, more than 100"
    );
    assert_eq!((&*said[1], &*said[99]), ("25 10:21 all", "25 11:59 all"));
    // The last one is on time, and 99 runs wait.
    assert_eq!(said[100], "25 12:00 all skipped");
    let said = looks(&minutely, &mut history, at("01 00:00"), "25 12:00:30", none);
    assert_eq!(said.len(), 2, "{said:?}");
    assert_eq!(said[1], "25 12:00 all");
}

#[test]
fn overlap() {
    let schedule = schedule("UTC", &[(3001, "0 * * * *"), (3002, "30 * * * *")]);
    let looks_at = |history: &mut History, from: &str, now: &str, overlap| {
        looks(&schedule, history, at(from), now, Policies { overlap, catch_up: CatchUp::Last })
    };
    for overlap in [Overlap::Skip, Overlap::Queue] {
        let mut history = History::default();
        // Somebody's run is under way.
        tell(&mut history, &[asked(7, Request::default(), "25 00:50")]);
        let first = looks_at(&mut history, "25 00:55", "25 01:00", overlap);
        let second = looks_at(&mut history, "25 01:00", "25 01:30", overlap);
        let third = looks_at(&mut history, "25 01:30", "25 02:00", overlap);
        match overlap {
            Overlap::Skip => {
                assert_eq!(
                    [first, second, third].concat(),
                    ["25 01:00 +3001 skipped", "25 01:30 +3002 skipped", "25 02:00 +3001 skipped"]
                );
                let reason = format!("overlap: run {} was under way", Uuid::from_u128(7));
                let reasons: Vec<_> = history.summaries().map(|line| line.reason.clone().unwrap()).collect();
                assert_eq!(reasons, [reason.clone(), reason.clone(), reason]);
            }
            // One of the same objects waits already at two.
            Overlap::Queue => {
                assert_eq!(
                    [first, second, third].concat(),
                    ["25 01:00 +3001", "25 01:30 +3002", "25 02:00 +3001 skipped"]
                );
                assert_eq!(history.queue().len(), 2);
            }
        }
        assert_eq!(history.latest_scheduled(), Some(at("25 02:00")), "a skipped one was considered");
        let latest = if overlap == Overlap::Skip { 1 } else { 3 };
        assert_eq!(history.runs().len(), latest, "what was skipped is not what was run last");
    }
}

#[test]
fn restarts_and_new_leaders() {
    let schedule = schedule("UTC", &[(3001, "0 * * * *")]);
    let policies = Policies::default();
    // A log without scheduled runs: nothing counts as missed before the process began, all that came since does.
    let mut history = History::default();
    tell(&mut history, &[asked(7, Request::default(), "24 00:00")]);
    assert_eq!(since(at("25 01:30"), None, &history), at("25 01:30"));
    let mut empty = History::default();
    assert_eq!(looks(&schedule, &mut empty, at("25 01:30"), "25 01:40", policies), [""; 0]);
    assert_eq!(looks(&schedule, &mut empty, at("25 00:30"), "25 01:00:20", policies), ["25 01:00 all"]);

    // A second leader within the minute, or one whose predecessor asked and died before it said so: the run is there.
    let mut history = History::default();
    ran(&mut history, 1, "25 00:00");
    let first = due(&schedule, at("25 00:00"), at("25 01:00"), &history, policies);
    tell(&mut history, &first.asks[0].events(at("25 01:00"), 1));
    assert_eq!(since(at("20 00:00"), None, &history), at("25 01:00"));
    let again = due(&schedule, at("25 00:00"), at("25 01:00:05"), &history, policies);
    assert_eq!((again.asks, again.until), (vec![], at("25 01:00")), "the log has it already");
    // One that looked further than the log tells goes on from there.
    assert_eq!(since(at("20 00:00"), Some(at("25 01:40")), &history), at("25 01:40"));
}

#[test]
fn clocks_that_go_back() {
    let schedule = schedule("UTC", &[(3001, "0 * * * *")]);
    let policies = Policies::default();
    let mut history = History::default();
    ran(&mut history, 1, "25 01:00");
    let look = |history: &History, since, now| due(&schedule, at(since), at(now), history, policies);
    // By a little: what was looked at is not looked at again.
    let back = look(&history, "25 01:00", "25 00:59:50");
    assert_eq!((back.asks.len(), back.until), (0, at("25 01:00")));
    // A clock that was a day ahead is not waited for; what was asked for then is not asked for again.
    let ahead = look(&history, "25 23:59", "26 00:00").asks;
    tell(&mut history, &ahead[0].events(at("26 00:00"), 1));
    assert_eq!(look(&history, "26 00:00", "25 10:30").until, at("25 10:30"));
    let asks = look(&history, "25 10:30", "25 11:00").asks;
    assert_eq!(asks[0].request.scheduled_for, Some(at("25 11:00")));
    assert_eq!(look(&history, "25 23:30", "26 00:00").asks, [], "this one is in the log");
}

#[test]
fn a_request_before_its_time_is_no_occurrence() {
    let mut history = History::default();
    ran(&mut history, 1, "25 01:00");
    let early = Request { scheduled_for: Some(at("30 00:00")), ..Request::default() };
    tell(&mut history, &[asked(2, early, "25 02:00")]);
    assert_eq!(history.latest_scheduled(), Some(at("25 01:00")));
}

#[test]
fn the_log_tells_how_far_it_went_when_runs_are_a_line_each() {
    let mut history = History::default();
    for run in 0..60 {
        ran(&mut history, run, &format!("25 01:{run:02}"));
    }
    assert!(history.summaries().count() > 0);
    assert_eq!(history.latest_scheduled(), Some(at("25 01:59")));
    assert_eq!(history.summaries().next().unwrap().scheduled_for, Some(at("25 01:00")));
}

#[test]
fn times_as_people_write_them() {
    let paris = TimeZone::get("Europe/Paris").unwrap();
    let now = at("25 12:00");
    let table = [
        ("now", "2026-11-25T12:00:00Z"),
        ("13:30", "2026-11-25T12:30:00Z"),
        ("13:00", "2026-11-25T12:00:00Z"),
        ("02:30", "2026-11-26T01:30:00Z"),
        ("2026-03-29T02:30", "2026-03-29T01:00:00Z"),
        ("2026-03-29 04:00", "2026-03-29T02:00:00Z"),
        ("2026-10-25T02:30", "2026-10-25T00:30:00Z"),
        ("2026-03-29", "2026-03-28T23:00:00Z"),
        ("2026-03-29T02:30Z", "2026-03-29T02:30:00Z"),
        ("2026-03-29T02:30:00+05:00", "2026-03-28T21:30:00Z"),
    ];
    for (text, means) in table {
        assert_eq!(read_time(text, now, &paris).unwrap().to_string(), means, "{text}");
    }
    for wrong in ["", "tomorrow", "25:00", "2", "2026-13-01", "0 2 * * *", "02:30 pm"] {
        assert!(read_time(wrong, now, &paris).unwrap_err().contains("write now"), "{wrong}");
    }
}

#[test]
fn zones() {
    assert_eq!(zone_name(&read_zone("Europe/Paris").unwrap()), "Europe/Paris");
    assert_eq!(zone_name(&read_zone("UTC").unwrap()), "UTC");
    let table = [
        ("Europe/Pari", "did you mean Europe/Paris?"),
        ("Paris", "did you mean Europe/Paris?"),
        ("Montreal", "did you mean America/Montreal?"),
        ("America/New York", "did you mean America/New_York?"),
        ("", "write Europe/Paris"),
        ("Mars/Olympus Mons", "write Europe/Paris"),
    ];
    for (name, said) in table {
        let wrong = read_zone(name).unwrap_err();
        assert!(wrong.contains(said), "{wrong}");
    }
}
