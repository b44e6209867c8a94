//! What people do to runs by hand, and the rules that they give them: scenarios that hold on every log. A file that uses it
//! has `mod support` too.

#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Api, Ended, Korch, Place, by_state, ended, is_alive, korch, of_type, poll};

/// What the handler does: it notes that it began, waits while there is a file `hold-ID`, fails where there is `fail-ID`, for
/// now where there is `again-ID`.
pub const WORK: &str = "echo $$ > began-$KORCH_OBJECT_ID; \
     while [ -e hold-$KORCH_OBJECT_ID ]; do sleep 0.02; done; \
     if [ -e fail-$KORCH_OBJECT_ID ]; then exit 3; fi; \
     if [ -e again-$KORCH_OBJECT_ID ]; then exit 75; fi";

/// Where a scenario plays: some log, and the processes that meet in it.
pub trait Site {
    fn place(&self) -> &Place;

    /// Starts what runs objects, with flags of whoever decides and of whoever works. The first one has the API.
    fn start(&self, rules: &[&str], work: &[&str]) -> Vec<Korch>;

    /// Whether what the log has is sound.
    fn check(&self) {}
}

/// A site at work.
struct Lake<'a, S: Site> {
    site: &'a S,
    /// Dropped, they end.
    _processes: Vec<Korch>,
    api: Api,
}

impl<'a, S: Site> Lake<'a, S> {
    fn of(site: &'a S, rules: &[&str]) -> Lake<'a, S> {
        Lake::doing(site, rules, WORK)
    }

    fn doing(site: &'a S, rules: &[&str], work: &str) -> Lake<'a, S> {
        let processes = site.start(rules, &["--exec", work]);
        let api = processes[0].api();
        api.ready();
        Lake { site, _processes: processes, api }
    }

    fn file(&self, name: &str) {
        fs::write(self.site.place().path(name), "").unwrap();
    }

    fn away(&self, name: &str) {
        fs::remove_file(self.site.place().path(name)).unwrap();
    }

    /// The number of the process that works on an object, once there is one.
    fn began(&self, id: u64) -> String {
        poll("the handler's beginning", || {
            let pid = fs::read_to_string(self.site.place().path(&format!("began-{id}"))).ok()?;
            pid.ends_with('\n').then(|| pid.trim().to_owned())
        })
    }

    fn run(&self, body: &Value) -> String {
        let (status, accepted) = self.api.post_json("/orchestrate", body);
        assert_eq!(status, 202, "{accepted}");
        accepted["run_id"].as_str().unwrap().to_owned()
    }

    fn asks(&self, args: &[&str]) -> Ended {
        let mut command = korch(args);
        command.args(["--server", &format!("http://{}", self.api.address)]);
        ended(command)
    }

    /// What a command says on stdout; it succeeds.
    #[track_caller]
    fn says(&self, args: &[&str], texts: &[&str]) {
        let ended = self.asks(args);
        assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.err);
        for text in texts {
            assert!(ended.out.contains(text), "{args:?}: no {text:?} in\n{}", ended.out);
        }
    }

    /// What is refused, and why.
    #[track_caller]
    fn refused(&self, path: &str, body: &Value, status: u16, text: &str) {
        let (answered, problem) = self.api.post_json(path, body);
        assert_eq!(answered, status, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(text), "no {text:?} in {problem}");
    }

    /// Waits until an object of the run is in this state.
    fn until(&self, run: &str, id: u64, state: &str) {
        poll(&format!("{id} is {state}"), || {
            let run = self.api.get(&format!("/runs/{run}"));
            let objects = run["objects"].as_array()?;
            objects.iter().any(|object| object["id"] == id && object["state"] == state).then_some(())
        });
    }

    fn explained(&self, run: &str, id: u64) -> Value {
        self.api.get(&format!("/runs/{run}/explain/{id}"))["object"].clone()
    }

    /// All events so far: these logs are short.
    fn events(&self) -> Vec<Value> {
        self.api.get("/events/last?limit=1000")["last_events"].as_array().unwrap().clone()
    }

    fn ends(self) {
        drop(self._processes);
        self.site.check();
    }
}

fn ids(run: &Value, state: &str) -> BTreeSet<u64> {
    by_state(run).remove(state).unwrap_or_default()
}

fn of_run<'a>(events: &[&'a Value], run: &str) -> Vec<&'a Value> {
    events.iter().copied().filter(|event| event["run_id"] == run).collect()
}

fn objects_of(events: &[&Value]) -> BTreeSet<u64> {
    events.iter().map(|event| event["id_objet"].as_u64().unwrap()).collect()
}

/// Two sources, a table of each, and what needs both.
pub fn two_branches() -> Place {
    Place::with(&[
        (1001, vec![]),
        (1002, vec![]),
        (2001, vec![1001]),
        (2002, vec![1002]),
        (3001, vec![2001, 2002]),
    ])
}

/// Two chains that have nothing to do with one another.
pub fn two_chains() -> Place {
    Place::with(&[
        (1001, vec![]),
        (1002, vec![]),
        (2001, vec![1001]),
        (2002, vec![1002]),
        (3001, vec![2001]),
        (3002, vec![2002]),
    ])
}

/// Six sources of Sage and two of something else.
pub fn sources() -> Place {
    let place = Place::with(&[]);
    let mut entries: Vec<Value> = (1001..1009)
        .map(|id| json!({"IdObjet": id, "IdObjet_Parent": null, "NomSource": if id < 1007 { "Sage" } else { "Other" }}))
        .collect();
    entries.push(json!({"IdObjet": 3001, "IdObjet_Parent": (1001..1009).collect::<Vec<u64>>()}));
    fs::write(place.catalogue(), serde_json::to_vec(&entries).unwrap()).unwrap();
    place
}

/// On [`two_branches`].
pub fn a_paused_run_starts_nothing_until_it_goes_on(site: &impl Site) {
    let lake = Lake::of(site, &[]);
    for file in ["hold-1001", "hold-1002", "fail-1002"] {
        lake.file(file);
    }
    let run = lake.run(&json!({}));
    lake.began(1001);
    lake.began(1002);
    lake.says(&["pause", "--requested-by", "ann"], &[&run, "paused", "korch resume"]);
    let line = lake.api.get(&format!("/runs/{run}"));
    assert_eq!((&line["state"], &line["paused_by"]), (&json!("paused"), &json!("ann")));
    assert!(line["paused_at"].is_string(), "{line}");
    lake.refused(&format!("/runs/{run}/pause"), &json!({}), 409, "paused already by ann");

    // What runs is finished. That something was skipped shows that the orchestrator has decided since.
    lake.away("hold-1001");
    lake.until(&run, 1001, "loaded");
    lake.away("hold-1002");
    lake.until(&run, 2002, "skipped");
    assert_eq!(lake.explained(&run, 2001)["hold"]["reason"], "paused");
    lake.says(&["explain", "2001"], &["the run is paused by ann"]);
    lake.says(&["status"], &["paused by ann"]);
    lake.says(&["runs"], &["paused by ann"]);
    assert!(!lake.site.place().path("began-2001").exists());

    // Whoever pauses and goes on at once is not undone by a clock of another machine.
    lake.says(&["resume", &run, "--requested-by", "bob"], &["goes on"]);
    lake.refused(&format!("/runs/{run}/resume"), &json!({}), 409, "not paused");
    let over = lake.api.finished(&run);
    assert_eq!((&over["state"], &over["paused_by"]), (&json!("failed"), &Value::Null));
    assert_eq!((ids(&over, "loaded"), ids(&over, "failed")), ([1001, 2001].into(), [1002].into()));
    for way in ["pause", "resume"] {
        lake.refused(&format!("/runs/{run}/{way}"), &json!({}), 409, "over");
    }

    let events = lake.events();
    let place = |event_type: &str| events.iter().position(|event| event["event_type"] == event_type).unwrap();
    let (from, to) = (place("RunPauseRequested"), place("RunResumeRequested"));
    let between = &events[from..to];
    for started in ["ObjectReady", "ObjectAssigned"] {
        assert!(of_type(between, started).is_empty(), "{between:?}");
    }
    assert_eq!(objects_of(&of_type(between, "ObjectLoaded")), [1001].into());
    assert_eq!((&events[from]["requested_by"], &events[to]["requested_by"]), (&json!("ann"), &json!("bob")));
    assert!(events[from]["event_datetime"].as_str() < events[to]["event_datetime"].as_str());
    lake.ends();
}

/// On [`two_branches`].
pub fn a_cancelled_run_leaves_no_process(site: &impl Site) {
    let work = "sleep 1000 & echo $! > child-$KORCH_OBJECT_ID; echo $$ > began-$KORCH_OBJECT_ID; wait";
    let lake = Lake::doing(site, &[], work);
    let run = lake.run(&json!({}));
    let child = |id: u64| fs::read_to_string(lake.site.place().path(&format!("child-{id}"))).unwrap();
    let mut pids = vec![lake.began(1001), lake.began(1002)];
    pids.extend([1001, 1002].map(|id| child(id).trim().to_owned()));
    assert!(pids.iter().all(|pid| is_alive(pid)), "{pids:?}");
    let asked = Instant::now();
    lake.says(&["cancel"], &["is being cancelled"]);
    poll("the end of all processes", || pids.iter().all(|pid| !is_alive(pid)).then_some(()));
    // Two seconds; a machine that is busy with everything else is given more.
    let most = if std::env::var("KORCH_LONG").is_ok() { 2 } else { 10 };
    assert!(asked.elapsed() < Duration::from_secs(most), "{:?}", asked.elapsed());
    assert_eq!(lake.api.finished(&run)["state"], "cancelled");
    lake.ends();
}

/// On [`two_chains`].
pub fn what_is_marked_as_loaded_lets_the_rest_run(site: &impl Site) {
    let lake = Lake::of(site, &[]);
    lake.file("fail-2001");
    lake.file("hold-1002");
    let run = lake.run(&json!({}));
    lake.until(&run, 3001, "skipped");
    let mark =
        ["mark", "2001", "loaded", "--because", "loaded by hand from the backup", "--requested-by", "ann"];
    lake.says(&mark, &["object 2001", &run, "marked as loaded"]);
    lake.until(&run, 3001, "loaded");
    assert_ne!(lake.asks(&mark).code, Some(0), "it is so already");
    lake.refused(
        &format!("/runs/{run}/objects/2001/mark"),
        &json!({ "state": "failed" }),
        409,
        "marked as loaded by ann: loaded by hand from the backup",
    );
    lake.refused(
        &format!("/runs/{run}/objects/4711/mark"),
        &json!({ "state": "loaded" }),
        404,
        "no object 4711",
    );
    lake.refused(&format!("/runs/{run}/objects/2001/mark"), &json!({}), 400, "state");
    lake.says(&["explain", "2001"], &["marked as loaded by ann: loaded by hand from the backup"]);
    lake.away("hold-1002");
    let over = lake.api.finished(&run);
    assert_eq!(
        (&over["state"], over["objects"].as_array().unwrap().len()),
        (&json!("succeeded"), 6),
        "{over}"
    );
    let object =
        |id: u64| over["objects"].as_array().unwrap().iter().find(|object| object["id"] == id).unwrap();
    assert_eq!(object(2001)["marked"]["requested_by"], "ann");
    assert_eq!(object(3001)["attempts"].as_array().unwrap().last().unwrap()["cause"], "mended");
    lake.says(&["status", &run], &["marked as loaded by ann"]);

    let events = lake.events();
    let marks = of_type(&events, "ObjectMarked");
    assert_eq!(marks.len(), 1, "{marks:?}");
    assert_eq!((&marks[0]["id_objet"], &marks[0]["attempt"]), (&json!(2001), &json!(1)));
    assert_eq!(
        marks[0]["meta"],
        json!({ "state": "loaded", "because": "loaded by hand from the backup", "requested_by": "ann" })
    );
    lake.ends();
}

/// On [`two_chains`].
pub fn what_is_marked_as_failed_is_ended(site: &impl Site) {
    let lake = Lake::of(site, &[]);
    lake.file("hold-1001");
    let run = lake.run(&json!({}));
    let pid = lake.began(1001);
    lake.says(&["mark", "1001", "failed", "--because", "it hangs"], &["marked as failed"]);
    poll("the end of its process", || (!is_alive(&pid)).then_some(()));
    let over = lake.api.finished(&run);
    assert_eq!(over["state"], "failed");
    assert_eq!((ids(&over, "failed"), ids(&over, "skipped")), ([1001].into(), [2001, 3001].into()));
    lake.says(&["status"], &["marked as failed", "it hangs"]);
    lake.says(&["explain", "3001"], &["marked as failed", "it hangs"]);
    let events = lake.events();
    assert!(objects_of(&of_type(&events, "ObjectLoaded")).is_disjoint(&[1001].into()));
    lake.ends();
}

/// On [`two_chains`].
pub fn a_mark_on_a_run_that_is_over_changes_what_a_retry_runs(site: &impl Site) {
    let lake = Lake::of(site, &[]);
    lake.file("fail-2001");
    let run = lake.run(&json!({}));
    assert_eq!(ids(&lake.api.finished(&run), "skipped"), [3001].into());
    lake.says(&["mark", "2001", "loaded", "--because", "mended by hand"], &["marked"]);
    assert_eq!(lake.api.get(&format!("/runs/{run}"))["state"], "failed", "it ended as it ended");
    let (status, accepted) = lake.api.post(&format!("/runs/{run}/retry"));
    assert_eq!((status, &accepted["order_sample"]), (202, &json!([3001])), "{accepted}");
    let again = lake.api.finished(accepted["run_id"].as_str().unwrap());
    assert_eq!((&again["state"], ids(&again, "loaded")), (&json!("succeeded"), [3001].into()));
    lake.ends();
}

/// On [`two_branches`].
pub fn a_retry_from_an_object_runs_it_and_what_follows(site: &impl Site) {
    let lake = Lake::of(site, &[]);
    let run = lake.run(&json!({}));
    assert_eq!(lake.api.finished(&run)["state"], "succeeded");
    let retry = format!("/runs/{run}/retry");
    lake.refused(&retry, &json!({}), 409, "--from");
    lake.refused(&retry, &json!({ "from": [4711] }), 409, "korch start 4711");
    let (status, accepted) = lake.api.post_json(&retry, &json!({ "from": ["2001"] }));
    assert_eq!((status, &accepted["order_sample"]), (202, &json!([2001, 3001])), "{accepted}");
    let again = lake.api.finished(accepted["run_id"].as_str().unwrap());
    assert_eq!((&again["state"], &again["selection"]), (&json!("succeeded"), &json!("--from 2001")));
    let ended = lake.asks(&["retry", &run, "--from", "3001", "--wait"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.contains("1 objects: 1 loaded"), "{}", ended.out);

    // What is missing before it is named, and what to do.
    lake.file("fail-1002");
    let run = lake.run(&json!({}));
    lake.api.finished(&run);
    let retry = format!("/runs/{run}/retry");
    lake.refused(&retry, &json!({ "from": [3001] }), 409, "did not load 2002, which 3001 needs");
    let (status, accepted) = lake.api.post_json(&retry, &json!({ "from": [1002] }));
    assert_eq!((status, &accepted["count"]), (202, &json!(3)), "{accepted}");
    lake.api.finished(accepted["run_id"].as_str().unwrap());
    lake.ends();
}

/// On [`two_branches`].
pub fn what_is_fresh_is_not_loaded_again(site: &impl Site) {
    let lake = Lake::of(site, &[]);
    let first = lake.run(&json!({}));
    lake.api.finished(&first);
    let second = lake.run(&json!({ "fresh": "1h" }));
    let over = lake.api.finished(&second);
    assert_eq!(
        (&over["state"], &over["counts"]["reused"], &over["fresh"]),
        (&json!("succeeded"), &json!(5), &json!("1h"))
    );
    assert_eq!(over["objects"][0]["reused"]["run_id"], json!(first));
    lake.says(&["explain", "3001"], &["reused", &first]);
    lake.says(&["status"], &["5 reused (loaded less than 1h ago)"]);
    let events = lake.events();
    assert!(of_run(&of_type(&events, "ObjectReady"), &second).is_empty());

    // What follows something that was loaded since is loaded again.
    let alone = lake.run(&json!({ "targets": [1001] }));
    lake.api.finished(&alone);
    let ended = lake.asks(&["start", "--fresh", "1h", "--wait"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.contains("3 reused (loaded less than 1h ago)"), "{}", ended.out);
    let events = lake.events();
    let last = of_type(&events, "RunFinished").last().unwrap()["run_id"].as_str().unwrap().to_owned();
    assert_eq!(objects_of(&of_run(&of_type(&events, "ObjectReady"), &last)), [2001, 3001].into());
    let third = lake.run(&json!({ "fresh": "0s" }));
    assert_eq!(lake.api.finished(&third)["counts"]["reused"], 0);
    lake.ends();
}

/// On [`two_branches`].
pub fn a_failure_stops_the_run_where_it_is_to(site: &impl Site) {
    let lake = Lake::of(site, &["--on-failure", "stop"]);
    lake.file("fail-1001");
    lake.file("hold-1002");
    let run = lake.run(&json!({}));
    lake.began(1002);
    lake.until(&run, 2002, "skipped");
    lake.says(&["explain", "2002"], &["stops at the first failure", "1001"]);
    lake.away("hold-1002");
    let over = lake.api.finished(&run);
    assert_eq!((&over["state"], &over["rules"]["on_failure"]), (&json!("failed"), &json!("stop")));
    // What ran was finished, and nothing was started for it.
    assert_eq!((ids(&over, "loaded"), ids(&over, "skipped")), ([1002].into(), [2001, 2002, 3001].into()));
    lake.ends();
}

/// On [`two_branches`].
pub fn older_versions_serve_where_a_run_is_to_continue(site: &impl Site) {
    let lake = Lake::of(site, &[]);
    lake.file("fail-1001");
    // There is no older version: what needs it is skipped.
    let run = lake.run(&json!({ "on_failure": "continue" }));
    assert_eq!(ids(&lake.api.finished(&run), "skipped"), [2001, 3001].into());
    lake.away("fail-1001");
    let good = lake.run(&json!({}));
    assert_eq!(lake.api.finished(&good)["state"], "succeeded");
    lake.file("fail-1001");
    let run = lake.run(&json!({ "on_failure": "continue" }));
    let over = lake.api.finished(&run);
    assert_eq!((&over["state"], ids(&over, "failed")), (&json!("failed"), [1001].into()));
    assert_eq!((&over["counts"]["loaded"], &over["counts"]["degraded"]), (&json!(4), &json!(2)));
    let object =
        |id: u64| over["objects"].as_array().unwrap().iter().find(|object| object["id"] == id).unwrap();
    assert_eq!((&object(2001)["degraded"], &object(3001)["degraded"]), (&json!([1001]), &json!([1001])));
    assert_eq!(object(2002).get("degraded"), None);
    lake.says(&["explain", "3001"], &["degraded: 1001", "failed in this run", &good]);
    lake.says(&["status"], &["2 loaded with an older version", "with an older version of 1001"]);
    lake.says(&["runs"], &["2 degraded"]);

    // A retry loads what was made from something old too.
    lake.away("fail-1001");
    let ended = lake.asks(&["retry", "--wait"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.contains("3 objects: 3 loaded"), "{}", ended.out);
    lake.ends();
}

/// On [`sources`].
pub fn no_more_run_at_once_than_a_limit_allows(site: &impl Site) {
    let lake = Lake::of(site, &["--limit", "source=Sage:2,source=Other:9"]);
    (1001..1007).for_each(|id| lake.file(&format!("hold-{id}")));
    let run = lake.run(&json!({ "limits": ["stage=application:1"] }));
    // The others have slots, and are through.
    lake.until(&run, 1007, "loaded");
    lake.until(&run, 1008, "loaded");
    let running = poll("two of Sage at work", || {
        let running = ids(&lake.api.get(&format!("/runs/{run}")), "running");
        (running.len() == 2).then_some(running)
    });
    let held: BTreeSet<u64> = (1001..1007).filter(|id| !running.contains(id)).collect();
    let explained = lake.explained(&run, *held.first().unwrap());
    assert_eq!(
        (&explained["hold"]["reason"], &explained["hold"]["limit"]),
        (&json!("limit"), &json!("source=Sage:2"))
    );
    lake.says(
        &["explain", &held.first().unwrap().to_string()],
        &["held back by limit source=Sage:2 (2 running)"],
    );
    (1001..1007).for_each(|id| lake.away(&format!("hold-{id}")));
    let over = lake.api.finished(&run);
    assert_eq!(over["state"], "succeeded");
    assert_eq!(over["rules"]["limits"], json!(["source=Sage:2", "source=Other:9", "stage=application:1"]));
    let (mut at_once, mut most) = (0, 0);
    for event in lake.events() {
        let is_sage = event["id_objet"].as_u64().is_some_and(|id| id < 1007);
        match event["event_type"].as_str().unwrap() {
            "ObjectAssigned" if is_sage => at_once += 1,
            "ObjectLoaded" if is_sage => at_once -= 1,
            _ => {}
        }
        most = most.max(at_once);
    }
    assert_eq!((at_once, most), (0, 2));

    let odd = lake.asks(&["start", "1007", "--limit", "source=Othre:1"]);
    assert_eq!(odd.code, Some(0), "{}", odd.err);
    assert!(odd.err.contains("limit source=Othre:1 matches nothing (did you mean Other?)"), "{}", odd.err);
    lake.ends();
}

/// On [`two_chains`].
pub fn a_try_waits_for_its_time(site: &impl Site) {
    let lake = Lake::of(site, &["--backoff", "2h"]);
    lake.file("again-1001");
    let run = lake.run(&json!({ "retries": 1 }));
    lake.until(&run, 1001, "retrying");
    let object = lake.api.get(&format!("/runs/{run}/objects/1001"));
    assert!(object["next_try_at"].is_string(), "{object}");
    assert_eq!(lake.explained(&run, 1001)["hold"]["reason"], "backoff");
    lake.says(&["explain", "1001"], &["waits for another try until"]);
    lake.says(&["status"], &["again in", "--retries 1 --backoff 2h"]);
    // Nobody has to wait for it.
    lake.says(&["mark", "1001", "failed", "--because", "no need"], &["marked as failed"]);
    assert_eq!(ids(&lake.api.finished(&run), "failed"), [1001].into());
    let run = lake.run(&json!({ "retries": 2, "backoff": "1ms", "timeout": "5m" }));
    let over = lake.api.finished(&run);
    assert_eq!(
        over["rules"],
        json!({ "retries": 2, "backoff": "1ms", "timeout": "5m", "on_failure": "skip", "limits": [] })
    );
    assert_eq!(over["objects"][0]["attempts"].as_array().unwrap().len(), 3);
    lake.ends();
}

/// A test for each scenario, at the site that `$site` makes of a place.
#[macro_export]
macro_rules! scenarios {
    ($site:expr) => {
        scenarios! { $site;
            a_paused_run_starts_nothing_until_it_goes_on two_branches,
            a_cancelled_run_leaves_no_process two_branches,
            what_is_marked_as_loaded_lets_the_rest_run two_chains,
            what_is_marked_as_failed_is_ended two_chains,
            a_mark_on_a_run_that_is_over_changes_what_a_retry_runs two_chains,
            a_retry_from_an_object_runs_it_and_what_follows two_branches,
            what_is_fresh_is_not_loaded_again two_branches,
            a_failure_stops_the_run_where_it_is_to two_branches,
            older_versions_serve_where_a_run_is_to_continue two_branches,
            no_more_run_at_once_than_a_limit_allows sources,
            a_try_waits_for_its_time two_chains,
        }
    };
    ($site:expr; $($scenario:ident $place:ident,)*) => {
        $(
            #[test]
            fn $scenario() {
                let Some(site) = $site($crate::byhand::$place()) else { return };
                $crate::byhand::$scenario(&site);
            }
        )*
    };
}
