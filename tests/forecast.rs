//! What `korch simulate` foretells and what a run shows half way through, beside what then happens: real processes whose work
//! takes real time, on twenty random lakes.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::fs;
use std::time::Duration;

use jiff::Timestamp;
use korch::domain::rehearsal::Script;
use korch::domain::rules::Rules;
use serde_json::{Value, json};

#[path = "support/lakes.rs"]
mod lakes;
mod support;

use lakes::{Lake, Random};
use support::{Place, ended, korch, poll};

const LAKES: u64 = 20;
/// So many run at once: they mostly sleep.
const AT_ONCE: usize = 10;
/// A run takes about so long. One object costs korch a millisecond or two.
const RUN_MS: u64 = 4_000;
const LEAST_MS: u64 = 50;

/// A lake of 30 to 80 objects and the same slots for each stage, its times such that a run takes [`RUN_MS`].
fn lake(seed: u64) -> Lake {
    let mut random = Random::new(seed + 5_000);
    let n = random.range(30, 80);
    let mut lake = Lake::of(&mut random, n);
    lake.slots = [random.range(2, 8) as u32; 3];
    let script = Script {
        objects: lake.planned(),
        rules: Rules::default(),
        slots: lake.slots,
        fails: Default::default(),
    };
    let end_ms = script.play(&lake.ms).end_ms;
    for ms in &mut lake.ms {
        *ms = (*ms * RUN_MS / end_ms).max(LEAST_MS);
    }
    lake
}

fn id(lake: &Lake, i: usize) -> u64 {
    [1000, 2000, 3000][lake.stages[i]] + i as u64
}

fn seconds(from: &Value, to: &Value) -> f64 {
    let at = |value: &Value| value.as_str().unwrap().parse::<Timestamp>().unwrap();
    at(to).duration_since(at(from)).as_secs_f64()
}

/// In seconds.
#[derive(Debug)]
struct Told {
    seed: u64,
    objects: usize,
    /// By what the first run measured.
    simulated: f64,
    /// By the second run half way through.
    estimated: f64,
    /// From the request to the end, the second run.
    truth: f64,
    half_way: f64,
}

fn tell(seed: u64) -> Told {
    let lake = lake(seed);
    let place = Place::with(&[]);
    let entries: Vec<Value> = (0..lake.ms.len())
        .map(|i| {
            let parents: Vec<u64> = lake.parents[i].iter().map(|&parent| id(&lake, parent)).collect();
            json!({"IdObjet": id(&lake, i), "IdObjet_Parent": parents})
        })
        .collect();
    fs::write(place.catalogue(), serde_json::to_vec(&entries).unwrap()).unwrap();
    let delays: Vec<String> =
        (0..lake.ms.len()).map(|i| format!("{},{}", id(&lake, i), lake.ms[i] as f64 / 1000.0)).collect();
    fs::write(place.path("delays.csv"), delays.join("\n")).unwrap();

    let slots = lake.slots[0].to_string();
    let mut command = korch(&["up", "--listen", "127.0.0.1:0", "--ui-listen", "off", "--memory", "--idle"]);
    command
        .args(["--slots", &slots, "--delays", "delays.csv", "--fail-ids", ""])
        .current_dir(place.dir.path());
    let up = support::Korch::start(command);
    let api = up.api();
    api.ready();
    let start = || api.post("/orchestrate").1["run_id"].as_str().unwrap().to_owned();
    let first = api.finished(&start());
    assert_eq!(first["state"], "succeeded", "{first}");
    fs::write(place.path("run.json"), first.to_string()).unwrap();

    let mut command = korch(&["simulate", "--durations", "run.json", "--slots", &slots, "--output", "json"]);
    command.current_dir(place.dir.path());
    let simulated = ended(command);
    assert_eq!(simulated.code, Some(0), "{}", simulated.err);
    let simulated: Value = serde_json::from_str(&simulated.out).unwrap();
    assert_eq!(simulated["measured"], lake.ms.len());
    let simulated = simulated["makespan_ms"].as_u64().unwrap() as f64 / 1000.0;

    let second = start();
    let path = format!("/runs/{second}?state=running");
    let estimate = poll("half time", || {
        let run = api.get(&path);
        assert!(run["finished_at"].is_null(), "over before half time: {run}");
        let elapsed = run["duration_seconds"].as_f64()?;
        std::thread::sleep(Duration::from_millis(10));
        (elapsed >= simulated / 2.0).then(|| (elapsed, run["estimate"]["ends_at"].clone()))
    });
    let run = api.finished(&second);
    let asked = &run["requested_at"];
    let told = Told {
        seed,
        objects: lake.ms.len(),
        simulated,
        estimated: seconds(asked, &estimate.1),
        truth: seconds(asked, &run["finished_at"]),
        half_way: estimate.0,
    };
    up.stop();
    told
}

#[test]
fn what_is_foretold_comes_true() {
    let next = std::sync::atomic::AtomicU64::new(0);
    let told = parking_lot::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= LAKES {
                        return;
                    }
                    let one = tell(seed);
                    told.lock().push(one);
                }
            });
        }
    });
    let mut told = told.into_inner();
    told.sort_by_key(|one| one.seed);
    assert_eq!(told.len() as u64, LAKES);
    let off = |said: f64, truth: f64| (said - truth).abs() / truth;
    for one in &told {
        println!(
            "lake {:>2}, {} objects: simulated {:.2} s, half time {:.2} s says {:.2} s, took {:.2} s; off by {:.1} % and {:.1} %, {:.1} % of the rest",
            one.seed,
            one.objects,
            one.simulated,
            one.half_way,
            one.estimated,
            one.truth,
            100.0 * off(one.simulated, one.truth),
            100.0 * off(one.estimated, one.truth),
            100.0 * (one.estimated - one.truth).abs() / (one.truth - one.half_way),
        );
    }
    for one in &told {
        assert!(off(one.simulated, one.truth) <= 0.05, "simulated: {one:?}");
        // Of what was left, which is half of it: that is asked for of the whole.
        let rest = one.truth - one.half_way;
        assert!((one.estimated - one.truth).abs() <= 0.10 * rest, "estimated: {one:?}");
    }
}
