//! How long runs take beside the least that they could, and beside those who came first first: a thousand lakes.
//!
//! `KORCH_PICTURE=1 cargo test --test makespan` draws docs/pictures/makespan.svg anew.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use jiff::Timestamp;
use korch::domain::estimate::{Durations, estimate};
use korch::domain::event::{Body, Event, Outcome, Place, PlanPart, RunId};
use korch::domain::history::History;
use korch::domain::object::Criticality;
use korch::domain::rehearsal::Script;
use korch::domain::rules::Rules;
use korch::domain::run::Stamp;
use korch::domain::turns;
use parking_lot::Mutex;
use serde_json::value::RawValue;
use uuid::Uuid;

#[path = "support/lakes.rs"]
mod lakes;

use lakes::{Lake, Random};

const LAKES: u64 = 1_000;

/// One lake, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    seed: u64,
    objects: usize,
    classical: u64,
    proven: u64,
    /// As korch plans it.
    korch: u64,
    longest_path: u64,
    first_come: u64,
    /// Where objects take another time than expected.
    surprised: u64,
    surprised_first_come: u64,
}

fn measure(seed: u64) -> Measured {
    let lake = Lake::random(seed);
    let mut script = Script {
        objects: lake.planned(),
        rules: Rules::default(),
        slots: lake.slots,
        fails: Default::default(),
    };
    let play = |script: &Script, ms: &[u64]| {
        let played = script.play(ms);
        assert_eq!(played.outcome, Some(Outcome::Succeeded), "lake {seed}");
        played.end_ms
    };
    let longest_path = play(&script, &lake.ms);
    script.take_turns();
    let mut random = Random::new(seed + 1_000_000);
    let surprising: Vec<u64> =
        lake.ms.iter().map(|ms| (*ms as f64 * (0.3 * random.normal()).exp()) as u64).collect();
    Measured {
        seed,
        objects: lake.ms.len(),
        classical: lake.lower_bound_ms(),
        proven: turns::bounds(&script.objects, &script.rules, lake.slots.map(Some)).0.proven_ms,
        korch: play(&script, &lake.ms),
        longest_path,
        first_come: lake.first_come_ms(&lake.ms),
        surprised: play(&script, &surprising),
        surprised_first_come: lake.first_come_ms(&surprising),
    }
}

fn measure_all() -> Vec<Measured> {
    let (next, done) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(2, Into::into);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= LAKES {
                        return;
                    }
                    let measured = measure(seed);
                    done.lock().push(measured);
                }
            });
        }
    });
    let mut done = done.into_inner();
    done.sort_by_key(|measured| measured.seed);
    done
}

fn ratios(all: &[Measured], ratio: impl Fn(&Measured) -> (u64, u64)) -> Vec<f64> {
    let mut ratios: Vec<f64> =
        all.iter().map(ratio).map(|(over, under)| over as f64 / under as f64).collect();
    ratios.sort_by(f64::total_cmp);
    ratios
}

fn told(name: &str, ratios: &[f64]) -> String {
    let at = |share: f64| ratios[((ratios.len() - 1) as f64 * share) as usize];
    let within = ratios.iter().filter(|ratio| **ratio <= 1.05).count();
    let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
    format!(
        "{name:<25} within 1.05: {:5.1} %  mean {mean:.3}  median {:.3}  90 % {:.3}  99 % {:.3}  most {:.3}",
        100.0 * within as f64 / ratios.len() as f64,
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0),
    )
}

/// `KORCH_PICTURE=1` draws the picture in the docs anew.
const PICTURE: &str = "KORCH_PICTURE";

#[test]
fn a_thousand_lakes() {
    let began = Instant::now();
    let all = measure_all();
    let of = |name: &'static str, bound: fn(&Measured) -> u64| {
        type Way = (&'static str, fn(&Measured) -> u64);
        let ways: [Way; 3] = [
            ("korch", |one| one.korch),
            ("longest path first", |one| one.longest_path),
            ("first come, first served", |one| one.first_come),
        ];
        (name, ways.map(|(way, took)| (way, ratios(&all, |one| (took(one), bound(one))))))
    };
    let panels = [
        of("the longest path, or work per slot", |one| one.classical),
        of("the least that is proven", |one| one.proven),
    ];
    let objects: usize = all.iter().map(|one| one.objects).sum();
    println!("{} lakes of {} objects on average in {:.1?}", all.len(), objects / all.len(), began.elapsed());
    for (bound, ways) in &panels {
        println!("over {bound}:");
        for (way, ratios) in ways {
            println!("  {}", told(way, ratios));
        }
    }
    let count = |test: &dyn Fn(&&Measured) -> bool| all.iter().filter(test).count();
    let within = |took: u64, bound: u64| took as f64 <= 1.05 * bound as f64;
    let in_reach = count(&|one| within(one.proven, one.classical));
    let reached = count(&|one| within(one.korch, one.classical));
    println!("no schedule can be within 1.05 of path and work: {} lakes", all.len() - in_reach);
    println!("of the other {in_reach} korch is: {:.1} %", 100.0 * reached as f64 / in_reach as f64);
    println!(
        "longest path first is worse than first come: {}",
        count(&|one| one.longest_path > one.first_come)
    );
    let surprised = ratios(&all, |one| (one.surprised, one.surprised_first_come));
    println!("where times are off by a third, over first come:\n  {}", told("korch", &surprised));
    println!("  worse than that: {}", count(&|one| one.surprised > one.surprised_first_come));
    if std::env::var_os(PICTURE).is_some() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/pictures/makespan.svg");
        std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/pictures")).unwrap();
        std::fs::write(file, drawn(&panels)).unwrap();
    }

    for one in &all {
        assert!(one.classical <= one.proven && one.proven <= one.korch.min(one.first_come), "{one:?}");
        assert!(one.korch <= one.first_come && one.korch <= one.longest_path, "{one:?}");
    }
    let near = |ratios: &[f64]| ratios.iter().filter(|ratio| **ratio <= 1.05).count();
    assert!(near(&panels[1].1[0].1) >= 950, "within 5 % of what is proven");
    assert!(reached * 100 >= in_reach * 95, "within 5 % of path and work, where any schedule can be");
    assert!(count(&|one| one.surprised > one.surprised_first_come) <= 20, "surprises are borne");
}

/// Ways to run a lake with their ratios to one bound, which has a name.
type Panel = (&'static str, [(&'static str, Vec<f64>); 3]);

/// For each bound the share of the lakes that take at most so many times as long. The colours are seen on light and on dark.
fn drawn(panels: &[Panel]) -> String {
    const WIDTH: f64 = 330.0;
    const HEIGHT: f64 = 220.0;
    const LEFT: f64 = 46.0;
    const TOP: f64 = 44.0;
    const GAP: f64 = 60.0;
    const MOST: f64 = 2.0;
    let colours = ["#2f81f7", "#d1861b", "#8b949e"];
    let (whole, high) = (LEFT + 2.0 * WIDTH + GAP + 16.0, TOP + HEIGHT + 58.0);
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {high}" font-family="system-ui, sans-serif" font-size="12" fill="#7d8590">
<title>How long a thousand random runs take beside what they must take at least</title>
"##
    );
    for (number, (bound, ways)) in panels.iter().enumerate() {
        let left = LEFT + number as f64 * (WIDTH + GAP);
        let x = |ratio: f64| left + (ratio.min(MOST) - 1.0) / (MOST - 1.0) * WIDTH;
        let y = |share: f64| TOP + (1.0 - share) * HEIGHT;
        for percent in [0, 25, 50, 75, 100] {
            let at = y(f64::from(percent) / 100.0);
            svg += &format!(
                r##"<path d="M{left} {at:.1}h{WIDTH}" stroke="#7d8590" stroke-opacity=".25"/><text x="{}" y="{:.1}" text-anchor="end">{percent} %</text>
"##,
                left - 6.0,
                at + 4.0
            );
        }
        for tenth in [10, 12, 14, 16, 18, 20] {
            let ratio = f64::from(tenth) / 10.0;
            svg += &format!(
                r##"<text x="{:.1}" y="{}" text-anchor="middle">{ratio:.1}</text>
"##,
                x(ratio),
                TOP + HEIGHT + 18.0
            );
        }
        svg += &format!(
            r##"<text x="{left}" y="{}" font-weight="600">Over {bound}</text>
<text x="{:.1}" y="{}" text-anchor="middle">takes so many times as long, at most</text>
<path d="M{:.1} {TOP}v{HEIGHT}" stroke="#7d8590" stroke-dasharray="3 3"/><text x="{:.1}" y="{:.1}">1.05</text>
"##,
            TOP - 22.0,
            left + WIDTH / 2.0,
            TOP + HEIGHT + 38.0,
            x(1.05),
            x(1.05) + 4.0,
            TOP + HEIGHT - 6.0
        );
        for ((_, ratios), colour) in ways.iter().zip(colours) {
            let mut line = format!("M{:.1} {:.1}", x(1.0), y(0.0));
            // One point in a hundredth is all that can be seen.
            for percent in 0..=100 {
                let at = (ratios.len() - 1) * percent / 100;
                let share = (at + 1) as f64 / ratios.len() as f64;
                line += &format!("L{:.1} {:.1}", x(ratios[at]), y(share));
            }
            svg += &format!(
                r##"<path d="{line}" fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round"/>
"##
            );
        }
        // Below all lines, between those of 0 and 25 %.
        let (key, mut at) = (left + WIDTH - 200.0, TOP + HEIGHT - 44.0);
        svg += &format!(
            r##"<text x="{key:.1}" y="{at}" font-size="11">within 1.05 times</text>
"##
        );
        for ((way, ratios), colour) in ways.iter().zip(colours) {
            let near = ratios.iter().filter(|ratio| **ratio <= 1.05).count();
            let percent = 100.0 * near as f64 / ratios.len() as f64;
            at += 13.0;
            svg += &format!(
                r##"<path d="M{key:.1} {}h16" stroke="{colour}" stroke-width="2"/><text x="{:.1}" y="{at}" font-size="11">{way}: {percent:.1} %</text>
"##,
                at - 4.0,
                key + 22.0
            );
        }
    }
    svg + "</svg>\n"
}

#[test]
fn what_is_estimated_at_the_start_is_what_is_rehearsed() {
    for seed in 0..60 {
        let lake = Lake::random(seed);
        let mut rules = Rules::default();
        if seed % 2 == 1 {
            // Limits across stages: every third object of each shares two places.
            rules.limits = vec!["n=0:2".parse().unwrap(), "stage=standardize:5".parse().unwrap()];
        }
        let mut objects = lake.planned();
        for (i, object) in objects.iter_mut().enumerate() {
            let entry = RawValue::from_string(format!(r#"{{"n":{}}}"#, i % 3)).unwrap();
            object.entry = Some(Arc::from(entry));
        }
        let mut script = Script { objects, rules, slots: lake.slots, fails: Default::default() };
        script.take_turns();
        let played = script.play(&lake.ms);

        let part = PlanPart {
            part: 0,
            parts: 1,
            partitions: 1,
            begins: Vec::new(),
            rules: script.rules.clone(),
            objects: script.objects.clone(),
        };
        let run = RunId(Uuid::from_u128(7));
        let event =
            Event { at: Timestamp::UNIX_EPOCH, run: Some(run), epoch: None, body: Body::RunPlanned(part) };
        let mut history = History::default();
        let stamp = Stamp { place: Place { partition: 0, offset: 0 }, timestamp_us: 0 };
        history.apply(&event, stamp).unwrap();
        let board = history.run(run).unwrap().board().unwrap();
        let slots = lake.slots.map(Some);
        let estimate = estimate(board, &Durations::of(board), slots, Timestamp::UNIX_EPOCH);
        assert_eq!(estimate.remaining_ms, Some(played.end_ms), "lake {seed}");
        for (i, ms) in estimate.finals {
            assert_eq!(Some(ms), played.objects[i].end_ms, "lake {seed}, object {i}");
        }
    }
}

#[test]
fn the_most_critical_come_first_whatever_the_turns_say() {
    for seed in 0..40 {
        let lake = Lake::random(seed);
        let mut objects = lake.planned();
        let mut random = Random::new(seed);
        for object in &mut objects {
            object.criticality =
                [Criticality::Low, Criticality::Medium, Criticality::High][random.range(0, 2)];
        }
        let mut script =
            Script { objects, rules: Rules::default(), slots: lake.slots, fails: Default::default() };
        let by_path = script.play(&lake.ms);
        script.take_turns();
        let played = script.play(&lake.ms);
        assert!(played.end_ms <= by_path.end_ms, "lake {seed}");
        let sources = || (0..lake.ms.len()).filter(|&i| lake.parents[i].is_empty() && lake.stages[i] == 0);
        let starts = |criticality| -> Vec<u64> {
            let of = sources().filter(|&i| script.objects[i].criticality == criticality);
            of.filter_map(|i| played.objects[i].start_ms).collect()
        };
        let (high, low) = (starts(Criticality::High), starts(Criticality::Low));
        let last = high.iter().max().copied().unwrap_or(0);
        assert!(low.iter().all(|start| *start >= last), "lake {seed}");
    }
}
