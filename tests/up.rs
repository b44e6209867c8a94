//! `korch up` and the small commands, as real processes.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs;
use std::io::{BufRead, Read};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use support::{DEADLINE, Place, by_state, ended, is_alive, korch, of_type, poll, sample};

// ---- one run ----

#[test]
fn the_sample_runs_and_says_what_failed() {
    let place = Place::new();
    let start = Instant::now();
    let human = place.up(&["--once"]).end();
    let took = start.elapsed();
    assert_eq!(human.code, Some(4), "{}", human.err);
    let line = |start: &str| human.out.lines().find(|line| line.trim_start().starts_with(start)).unwrap();
    assert!(line("failed   2005").ends_with("test forcé de objectfailed"), "{}", human.out);
    assert!(line("skipped  3007").ends_with("because of 2005"), "{}", human.out);
    assert!(human.out.contains("22 objects: 20 loaded, 1 failed, 1 skipped"), "{}", human.out);
    // 0.5 + 0.6 + 0.8 s of work one after the other.
    assert!(took >= Duration::from_millis(1900) && took < DEADLINE, "{took:?}");

    let json = place.up(&["--once", "--output", "json"]).end();
    assert_eq!(json.code, Some(4), "{}", json.err);
    let summary: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(summary["outcome"], "failed");
    assert_eq!(
        summary["counts"],
        json!({"objects": 22, "loaded": 20, "failed": 1, "skipped": 1, "degraded": 0, "reused": 0})
    );
    assert_eq!(summary["failed"][0]["id"], 2005);
    assert_eq!(summary["failed"][0]["error"], "test forcé de objectfailed");
    assert_eq!(summary["skipped"][0]["id"], 3007);
    assert_eq!(summary["skipped"][0]["because"], json!([2005]));
    let seconds = summary["duration_seconds"].as_f64().unwrap();
    assert!((1.9..DEADLINE.as_secs_f64()).contains(&seconds), "{seconds}");
    let bound = summary["lower_bound_seconds"].as_f64().unwrap();
    assert!(bound >= 1.9 && bound <= seconds, "{bound} of {seconds}");
}

#[test]
fn nothing_fails_where_nothing_is_told_to() {
    let ended = Place::new().up(&["--once", "--fail-ids", "", "--delay", "1ms", "--output", "json"]).end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let summary: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(summary["outcome"], "succeeded");
    assert_eq!(summary["counts"]["loaded"], 22);
}

#[test]
fn simulated_work_has_its_time_too() {
    let place = Place::with(&[(1001, vec![]), (3001, vec![1001])]);
    let ended = place.up(&["--once", "--delay", "1h", "--timeout", "20ms", "--retries", "1"]).end();
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    let events = place.events();
    let failed = of_type(&events, "ObjectFailed");
    assert_eq!(failed.len(), 2);
    for event in failed {
        assert_eq!(event["meta"]["error"], "timeout after 20ms");
        assert_eq!(event["meta"]["retryable"], true);
    }
}

#[test]
fn a_variable_says_what_its_flag_says() {
    let place = Place::new();
    let mut command = place.up_command(&[]);
    command.env("KORCH_ONCE", "1").env("KORCH_IDLE", "").env("KORCH_FAIL_IDS", "").env("KORCH_DELAY", "0s");
    let ended = ended(command);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
}

#[test]
fn a_bad_catalogue_publishes_nothing() {
    let place =
        Place::with(&[(1001, vec![]), (2001, vec![2002]), (2002, vec![2001]), (3001, vec![2001, 3001])]);
    let refused = place.up(&["--once"]).end();
    assert_eq!(refused.code, Some(3));
    for said in ["2001 → 2002 → 2001", "3001", "2 problems"] {
        assert!(refused.err.contains(said), "{said}: {}", refused.err);
    }
    assert_eq!(refused.out, "");

    let idle = place.up(&["--idle"]);
    let api = idle.api();
    api.ready();
    assert_eq!(api.get("/runs"), json!({"runs": []}));
    assert_eq!(idle.stop().code, Some(130));
    assert!(place.events().iter().all(|event| event["event_type"] == "OrchestratorElected"));
}

// ---- the queue ----

#[test]
fn runs_wait_for_their_turn() {
    let place = Place::with(&[(1001, vec![]), (2001, vec![1001]), (3001, vec![2001])]);
    let korch = place.up(&["--idle", "--delay", "30ms"]);
    let api = korch.api();
    api.ready();
    assert_eq!(api.get("/runs"), json!({"runs": []}), "nobody asked for one");
    // The second stands behind the first, so it is not planned before the first is over.
    let ids: Vec<String> = (0..2)
        .map(|_| {
            let (status, answer) = api.post("/orchestrate");
            assert_eq!(status, 202, "{answer}");
            assert_eq!((&answer["status"], &answer["count"]), (&json!("ok"), &json!(3)));
            assert_eq!(answer["order_sample"], json!([1001, 2001, 3001]));
            answer["run_id"].as_str().unwrap().to_owned()
        })
        .collect();
    let [first, second] = [0, 1].map(|i| api.finished(&ids[i]));
    assert_eq!((&first["state"], &second["state"]), (&json!("succeeded"), &json!("succeeded")));
    let at = |run: &Value, field: &str| run[field].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(at(&second, "planned_at") >= at(&first, "finished_at"));
    assert_eq!(korch.stop().code, Some(130));
    let events = place.events();
    assert_eq!(of_type(&events, "RunRequested").len(), 2);
    let finished: Vec<&Value> =
        of_type(&events, "RunFinished").iter().map(|event| &event["run_id"]).collect();
    assert_eq!(finished, [&json!(ids[0]), &json!(ids[1])]);
}

#[test]
fn a_catalogue_that_turned_bad_is_refused() {
    let place = Place::with(&[(1001, vec![]), (3001, vec![1001])]);
    let korch = place.up(&["--idle"]);
    let api = korch.api();
    fs::write(place.catalogue(), r#"[{"IdObjet": 1001}, {"IdObjet": 1001}, {"IdObjet": "x"}]"#).unwrap();
    let (status, answer) = api.post("/orchestrate");
    assert_eq!(status, 422, "{answer}");
    assert!(answer["problems"].as_array().unwrap().len() >= 2, "{answer}");
    assert_eq!(api.get("/runs"), json!({"runs": []}));
}

#[test]
fn a_taken_port_stops_only_who_serves() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let args = ["--listen", &address, "--ui-listen", "off", "--data-dir", "log", "--delay", "1ms"];
    let run = |extra: &[&str]| {
        let mut command = korch(&["up"]);
        command.args(args).args(extra).current_dir(place.dir.path());
        ended(command)
    };
    let refused = run(&[]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("--listen") && refused.err.contains(&address), "{}", refused.err);
    let once = run(&["--once"]);
    assert_eq!(once.code, Some(4), "{}", once.err);
    assert!(once.err.contains(&format!("no API: cannot listen on {address}")), "{}", once.err);
    assert!(once.out.contains("20 loaded"), "{}", once.out);
}

// ---- kill -9 ----

/// Sixty objects: 24 sources, 24 between, 12 final ones. What 2005 takes with it is some of them, not all.
fn sixty() -> Place {
    let mut entries: Vec<(u64, Vec<u64>)> = (0..24).map(|i| (1000 + i, vec![])).collect();
    entries.extend((0..24).map(|i| (2000 + i, vec![1000 + i, 1000 + (i * 7 + 3) % 24])));
    entries
        .extend((0..12).map(|i| (3000 + i, vec![2000 + 2 * i, 2000 + 2 * i + 1, 2000 + (i * 5 + 4) % 24])));
    Place::with(&entries)
}

#[test]
fn a_run_survives_every_kill() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let kills = number("KORCH_KILLS").unwrap_or(12);
    let seed = number("KORCH_SEED").unwrap_or_else(|| fastrand::u64(..));
    eprintln!("KORCH_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let delay = format!("{}ms", 40 * kills.div_ceil(12));
    let args = ["--once", "--delay", &delay, "--slots", "4", "--output", "json"];

    let undisturbed = sixty();
    assert_eq!(undisturbed.up(&args).end().code, Some(4));

    let place = sixty();
    let mut killed = 0;
    while killed < kills {
        let korch = place.up(&args);
        // From before the log is open to somewhere in the work.
        if random.u32(..4) > 0 {
            korch.api();
        }
        std::thread::sleep(Duration::from_micros(random.u64(..90_000)));
        assert!(korch.kill(), "seed {seed}: it ended by itself after {killed} kills");
        killed += 1;
        if !of_type(&place.events(), "RunFinished").is_empty() {
            break;
        }
    }
    eprintln!("killed {killed} times");
    let finished_before = !of_type(&place.events(), "RunFinished").is_empty();
    if !finished_before {
        let last = place.up(&args).end();
        assert_eq!(last.code, Some(4), "seed {seed}: {}", last.err);
    }

    let run_of = |place: &Place| {
        let idle = place.up(&["--idle"]);
        let api = idle.api();
        api.ready();
        assert_eq!(api.get("/runs")["runs"].as_array().unwrap().len(), 1, "seed {seed}");
        api.get("/runs/latest")
    };
    let (expected, run) = (run_of(&undisturbed), run_of(&place));
    assert_eq!(run["state"], expected["state"], "seed {seed}");
    assert_eq!(run["counts"], expected["counts"], "seed {seed}");
    assert_eq!(by_state(&run), by_state(&expected), "seed {seed}");
    assert_eq!(run["objects"].as_array().unwrap().len(), 60);

    let events = place.events();
    assert_eq!(of_type(&events, "RunRequested").len(), 1, "seed {seed}");
    assert_eq!(of_type(&events, "RunFinished").len(), 1, "seed {seed}");
    let mut loaded = std::collections::BTreeSet::new();
    for event in &events {
        let id = event["id_objet"].as_u64();
        match event["event_type"].as_str().unwrap() {
            "ObjectLoaded" => {
                loaded.insert(id.unwrap());
            }
            "ObjectAssigned" | "ObjectReady" => {
                assert!(!loaded.contains(&id.unwrap()), "seed {seed}: loaded before {event}");
            }
            _ => {}
        }
    }
}

#[test]
fn a_kill_while_the_log_is_made_leaves_no_ruin() {
    let place = Place::new();
    fs::create_dir(place.path("log")).unwrap();
    let file = place.path("log/events.redb");
    // What a kill leaves there: room, and no magic number yet.
    fs::write(place.path("log/events.redb.new"), vec![0; 1 << 20]).unwrap();
    let ended = place.up(&["--once", "--delay", "1ms"]).end();
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    assert_eq!(of_type(&place.events(), "RunFinished").len(), 1);

    // Somebody else's file is not touched.
    fs::write(&file, "not korch's").unwrap();
    let ended = place.up(&["--once", "--delay", "1ms"]).end();
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.contains("--data-dir"), "{}", ended.err);
    assert_eq!(fs::read_to_string(&file).unwrap(), "not korch's");
}

// ---- Ctrl-C ----

#[test]
fn ctrl_c_lets_finish_what_runs_and_the_next_start_goes_on() {
    let mut entries: Vec<(u64, Vec<u64>)> = (1001..1009).map(|id| (id, vec![])).collect();
    entries.push((3001, (1001..1009).collect()));
    let place = Place::with(&entries);
    let script = "touch started-$KORCH_OBJECT_ID-$KORCH_ATTEMPT; until [ -e go ]; do sleep 0.02; done";
    let args = ["--once", "--slots", "2", "--exec", script];
    let started = || {
        let names = fs::read_dir(place.dir.path()).unwrap().map(|file| file.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("started-")).count()
    };

    let korch = place.up(&args);
    poll("two objects", || (started() == 2).then_some(()));
    korch.signal(Signal::INT);
    korch.said("interrupted");
    fs::write(place.path("go"), "").unwrap();
    let interrupted = korch.end();
    assert_eq!(interrupted.code, Some(130), "{}", interrupted.err);
    assert_eq!(started(), 2, "none starts after");
    let events = place.events();
    assert_eq!(of_type(&events, "ObjectLoaded").len(), 2);
    assert_eq!(of_type(&events, "RunFinished").len(), 0);

    let next = place.up(&args).end();
    assert_eq!(next.code, Some(0), "{}", next.err);
    assert_eq!(started(), 9, "each once");
    let events = place.events();
    assert_eq!(of_type(&events, "RunRequested").len(), 1);
    assert_eq!(of_type(&events, "RunFinished").len(), 1);
    assert_eq!(of_type(&events, "ObjectLoaded").len(), 9);
}

/// The ids of the shells and the processes that they started, once all of them run.
fn pids(place: &Place, shells: usize) -> Vec<String> {
    poll("the commands", || {
        let pids: Vec<String> =
            fs::read_to_string(place.path("pids")).ok()?.lines().map(Into::into).collect();
        (pids.len() == 2 * shells).then_some(pids)
    })
}

/// A shell that waits for a process of its own.
const SLEEPER: &str = "sleep 60 & echo \"$$\n$!\" >> pids; wait";

#[test]
fn a_second_ctrl_c_ends_everything_at_once() {
    let place = Place::with(&[(1001, vec![]), (1002, vec![]), (3001, vec![1001, 1002])]);
    let start = Instant::now();
    let korch = place.up(&["--once", "--exec", SLEEPER]);
    let pids = pids(&place, 2);
    korch.signal(Signal::INT);
    korch.said("interrupted");
    assert!(pids.iter().all(|pid| is_alive(pid)));
    korch.signal(Signal::INT);
    assert_eq!(korch.end().code, Some(130));
    poll("the end of the commands", || (!pids.iter().any(|pid| is_alive(pid))).then_some(()));
    assert!(start.elapsed() < Duration::from_secs(45), "they ended by themselves");
}

#[test]
fn a_cancelled_run_ends_its_commands() {
    let place = Place::with(&[(1001, vec![]), (1002, vec![]), (3001, vec![1001, 1002])]);
    let start = Instant::now();
    let korch = place.up(&["--idle", "--exec", SLEEPER]);
    let api = korch.api();
    let run = api.post("/orchestrate").1["run_id"].as_str().unwrap().to_owned();
    let pids = pids(&place, 2);
    assert_eq!(api.post(&format!("/runs/{run}/cancel")).0, 202);
    assert_eq!(api.finished(&run)["state"], "cancelled");
    poll("the end of the commands", || (!pids.iter().any(|pid| is_alive(pid))).then_some(()));
    assert!(start.elapsed() < Duration::from_secs(45), "they ended by themselves");
    let (status, answer) = api.post(&format!("/runs/{run}/cancel"));
    assert!((200..500).contains(&status), "{answer}");
    assert_eq!(korch.stop().code, Some(130));
}

#[test]
fn a_cancelled_run_that_is_waited_for_says_so() {
    let place = Place::with(&[(1001, vec![]), (3001, vec![1001])]);
    let korch = place.up(&["--once", "--exec", SLEEPER]);
    let api = korch.api();
    pids(&place, 1);
    assert_eq!(api.post("/runs/latest/cancel").0, 202);
    let ended = korch.end();
    assert_eq!(ended.code, Some(130), "{}", ended.err);
    assert!(ended.out.contains("cancelled"), "{}", ended.out);
}

// ---- the stream ----

#[test]
fn a_stream_that_breaks_goes_on_where_it_was() {
    let place = sixty();
    let korch = place.up(&["--idle", "--delay", "20ms", "--slots", "2"]);
    let api = korch.api();
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    assert_eq!(api.post("/orchestrate").0, 202);

    let mut seen: Vec<Value> = Vec::new();
    let mut last_id = String::new();
    let mut over = false;
    for cut in 0.. {
        let (path, header) = match cut {
            0 => ("/events/stream?from=start", String::new()),
            _ => ("/events/stream", format!("last-event-id: {last_id}\r\n")),
        };
        let (status, stream) = api.open("GET", path, &header, "");
        assert_eq!(status, 200);
        // The last connection is not cut: it sees the end.
        let bytes = if cut < 20 { random.u64(40..4000) } else { u64::MAX };
        let mut stream = stream.take(bytes);
        let (mut id, mut line) = (None, String::new());
        loop {
            line.clear();
            // A cut may come within a letter.
            let mut raw = Vec::new();
            stream.read_until(b'\n', &mut raw).unwrap();
            line.push_str(&String::from_utf8_lossy(&raw));
            if !line.ends_with('\n') {
                assert!(cut < 20, "the stream ended early");
                break;
            }
            let line = line.trim_end();
            assert!(!line.starts_with("event:"), "seed {seed}: {line}");
            if let Some(text) = line.strip_prefix("id: ") {
                id = Some((text.to_owned(), None));
            } else if let Some(data) = line.strip_prefix("data: ") {
                id.as_mut().unwrap().1 = Some(serde_json::from_str::<Value>(data).unwrap());
            } else if line.is_empty()
                && let Some((id, event)) = id.take()
            {
                // Only a message that came whole counts, as in a browser.
                last_id = id;
                over |= event.as_ref().is_some_and(|event| event["event_type"] == "RunFinished");
                seen.extend(event);
                if over && cut >= 20 {
                    break;
                }
            }
        }
        if over && cut >= 20 {
            break;
        }
    }
    assert_eq!(korch.stop().code, Some(130));
    let events = place.events();
    assert_eq!(seen.len(), events.len(), "seed {seed}");
    assert!(seen == events, "seed {seed}: not in order");
}

// ---- real work ----

#[test]
fn a_command_answers_for_its_object() {
    let place = Place::with(&[(1001, vec![]), (2001, vec![1001]), (3001, vec![2001])]);
    let script = place.path("work.sh");
    fs::write(
        &script,
        "read -r entry\n\
         echo \"object $KORCH_OBJECT_ID of $KORCH_STAGE\"\n\
         if [ $KORCH_OBJECT_ID = 2001 ] && [ $KORCH_ATTEMPT = 1 ]; then echo not yet >&2; exit 75; fi\n\
         case \"$entry\" in *\"Objet $KORCH_OBJECT_ID\"*) named=true ;; *) named=false ;; esac\n\
         echo \"{\\\"rows\\\": $KORCH_OBJECT_ID, \\\"attempt\\\": $KORCH_ATTEMPT, \\\"named\\\": $named}\"\n",
    )
    .unwrap();
    let ended = place.up(&["--once", "--retries", "2", "--backoff", "0s", "--exec", "sh work.sh"]).end();
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    assert!(ended.out.contains("1 took more than one attempt"), "{}", ended.out);
    let events = place.events();
    let result = |event: &&Value| (event["id_objet"].as_u64().unwrap(), event["meta"]["result"].clone());
    let results: Vec<(u64, Value)> = of_type(&events, "ObjectLoaded").iter().map(result).collect();
    let expected = [(1001, 1), (2001, 2), (3001, 1)]
        .map(|(id, attempt)| (id, json!({"rows": id, "attempt": attempt, "named": true})));
    assert_eq!(results, expected);
    let failed = of_type(&events, "ObjectFailed");
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["meta"]["retryable"], true);
    assert_eq!(failed[0]["meta"]["stderr"], "not yet");
}

// ---- the small commands ----

fn plan(args: &[&str]) -> support::Ended {
    let mut command = korch(&["plan", "--file"]);
    command.arg(sample()).args(args);
    ended(command)
}

#[test]
fn commands_do_not_get_the_secrets_of_korch() {
    let place = Place::with(&[(3001, vec![])]);
    let mut command = place.up_command(&["--once", "--exec", "env > seen"]);
    command.env("KORCH_KAFKA_PASSWORD", "hush").env("KORCH_API_TOKEN", "hush").env("OTHER", "seen");
    assert_eq!(ended(command).code, Some(0));
    let seen = std::fs::read_to_string(place.path("seen")).unwrap();
    assert!(seen.contains("OTHER=seen") && !seen.contains("hush"), "{seen}");
}

#[test]
fn plan_writes_what_it_is_asked_for() {
    let text = plan(&[]);
    assert_eq!(text.code, Some(0), "{}", text.err);
    assert!(text.out.contains("22 objects"), "{}", text.out);
    let json = plan(&["--output", "json"]);
    assert_eq!(json.code, Some(0));
    assert_eq!(serde_json::from_str::<Value>(&json.out).unwrap()["count"], 22);
    let dot = plan(&["-o", "dot"]);
    assert_eq!(dot.code, Some(0));
    assert!(dot.out.starts_with("digraph korch {") && dot.out.trim_end().ends_with('}'), "{}", dot.out);
    let mermaid = plan(&["-o", "mermaid"]);
    assert_eq!(mermaid.code, Some(0));
    assert!(mermaid.out.starts_with("flowchart LR"), "{}", mermaid.out);
}

#[test]
fn plan_shows_what_selectors_select() {
    let order = |args: &[&str]| {
        let planned = plan(&[args, &["--output", "json"]].concat());
        assert_eq!(planned.code, Some(0), "{args:?}: {}", planned.err);
        serde_json::from_str::<Value>(&planned.out).unwrap()["order"].clone()
    };
    assert_eq!(order(&["3005"]), json!([3005]));
    assert_eq!(order(&["+3005"]), json!([1001, 2002, 3005]));
    assert_eq!(order(&["+3005", "--exclude", "stage:ingest"]), json!([2002, 3005]));
    assert_eq!(order(&["+3006", "--exclude=1001", "--exclude", "1002 3006"]), json!([2002, 2006]));
    assert_eq!(order(&["2005+ 3005,+3005"]), json!([2005, 3005, 3007]));
    assert_eq!(order(&["source:salesforce", "1+name:Portef*"]), json!([1007, 1008, 2002, 3005]));
    assert_eq!(
        order(&["--exclude", "stage:ingest", "--exclude", "stage:standardize"]).as_array().unwrap().len(),
        7
    );
    let alone = plan(&["3005"]);
    assert!(alone.out.contains("Would run      1 object:"), "{}", alone.out);
    assert!(
        alone.out.contains("Warning: 1 parent outside of the selection counts as loaded: 2002"),
        "{}",
        alone.out
    );
    let wrong = plan(&["3050", "stge:ingest", "--exclude", "name:Client"]);
    assert_eq!((wrong.code, wrong.out.as_str()), (Some(3), ""));
    for said in ["did you mean 3005?", "did you mean stage:?", "did you mean name:Clients?", ": 3 problems"] {
        assert!(wrong.err.contains(said), "{said}: {}", wrong.err);
    }
    let empty = plan(&["3005", "--exclude", "3005"]);
    assert_eq!(empty.code, Some(3));
    assert!(empty.err.contains("the selection is empty"), "{}", empty.err);
}

#[test]
fn a_wrong_flag_is_usage() {
    let wrong = ended(korch(&["up", "--onse"]));
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.err.contains("--once"), "{}", wrong.err);
}

#[test]
fn health_asks_an_api() {
    let place = Place::new();
    let up = place.up(&["--idle"]);
    let api = up.api();
    let server = format!("http://{}", api.address);
    let well = ended(korch(&["health", "--server", &server]));
    assert_eq!(well.code, Some(0), "{}", well.err);
    up.stop();
    let gone = ended(korch(&["health", "--server", &server]));
    assert_eq!(gone.code, Some(1));
    assert!(gone.err.contains(&server) && gone.err.contains("--server says where"), "{}", gone.err);
}

/// Runs a command whose output nobody reads.
fn unread(mut command: std::process::Command) -> (Option<i32>, String) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let file = sample().display().to_string();
    for args in [
        &["plan", "--full", "--file", &file][..],
        &["plan", "-o", "json", "--file", &file],
        &["completions", "bash"],
        &["man", "up"],
    ] {
        assert_eq!(unread(korch(args)), (Some(0), String::new()), "{args:?}");
    }
    let complete = ended(korch(&["completions", "bash"]));
    assert_eq!(complete.code, Some(0));
    assert!(complete.out.contains("_korch()"));
}

#[test]
fn each_command_has_a_manual_page() {
    let page = ended(korch(&["man", "worker"]));
    assert_eq!(page.code, Some(0), "{}", page.err);
    for said in [".TH korch-worker 1", "\\-\\-drain\\-timeout", "KORCH_SLOTS"] {
        assert!(page.out.contains(said), "{said}: {}", page.out);
    }
    let unknown = ended(korch(&["man", "workers"]));
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.err.contains("they are up, orchestrate, worker,"), "{}", unknown.err);

    let place = Place::new();
    let pages = place.path("man1").display().to_string();
    assert_eq!(ended(korch(&["man", "--dir", &pages])).code, Some(0));
    let names: Vec<String> =
        fs::read_dir(&pages).unwrap().map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
    for name in ["korch.1", "korch-up.1", "korch-doctor.1"] {
        assert!(names.iter().any(|written| written == name), "{names:?}");
    }
}

#[test]
fn a_run_whose_summary_nobody_reads_ends_as_it_ended() {
    let place = Place::new();
    let (code, err) = unread(place.up_command(&["--once", "--delay", "1ms"]));
    assert_eq!(code, Some(4), "{err}");
}

#[test]
fn a_run_whose_messages_nobody_reads_ends_as_it_ended() {
    let place = Place::new();
    for log in ["warn", "info"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = place.up_command(&["--once", "--delay", "1ms", "--log", log]);
        let _ = fs::remove_dir_all(place.path("log"));
        let output = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "--log {log}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("3007"), "--log {log}");
    }
}

#[test]
fn what_is_odd_about_a_catalogue_is_said_each_time_a_run_is_planned() {
    let place = Place::new();
    let korch = place.up(&["--idle", "--delay", "1ms"]);
    let api = korch.api();
    for _ in 0..2 {
        let (_, accepted) = api.post("/orchestrate");
        api.finished(accepted["run_id"].as_str().unwrap());
    }
    let ended = korch.stop();
    assert_eq!(ended.err.matches("1 inactive object").count(), 2, "{}", ended.err);
}
