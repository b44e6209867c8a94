//! How long runs take beside the least that they could, and beside those who came first first: a thousand lakes.
//!
//! `KORCH_PICTURE=1 cargo test --test makespan` draws docs/pictures/makespan.svg anew.

#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use korch::domain::event::Outcome;
use korch::domain::rehearsal::Script;
use korch::domain::rules::Rules;
use korch::domain::turns;
use parking_lot::Mutex;

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
    let mut ratios: Vec<f64> = all.iter().map(ratio).map(|(over, under)| over as f64 / under as f64).collect();
    ratios.sort_by(f64::total_cmp);
    ratios
}

fn told(name: &str, ratios: &[f64]) -> String {
    let at = |share: f64| ratios[((ratios.len() - 1) as f64 * share) as usize];
    let within = ratios.iter().filter(|ratio| **ratio <= 1.05).count();
    let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
    format!(
        "{name:<34} within 1.05: {:5.1} %  mean {mean:.3}  median {:.3}  90 % {:.3}  99 % {:.3}  most {:.3}",
        100.0 * within as f64 / ratios.len() as f64,
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0),
    )
}

#[test]
fn a_thousand_lakes() {
    let began = Instant::now();
    let all = measure_all();
    println!("{} lakes in {:.1?}", all.len(), began.elapsed());
    let table: [(&str, Vec<f64>); 6] = [
        ("korch / classical bound", ratios(&all, |one| (one.korch, one.classical))),
        ("longest path / classical bound", ratios(&all, |one| (one.longest_path, one.classical))),
        ("first come / classical bound", ratios(&all, |one| (one.first_come, one.classical))),
        ("korch / proven bound", ratios(&all, |one| (one.korch, one.proven))),
        ("longest path / proven bound", ratios(&all, |one| (one.longest_path, one.proven))),
        ("first come / proven bound", ratios(&all, |one| (one.first_come, one.proven))),
    ];
    for (name, ratios) in &table {
        println!("{}", told(name, ratios));
    }
    let count = |test: &dyn Fn(&&Measured) -> bool| all.iter().filter(test).count();
    let out_of_reach = count(&|one| one.proven as f64 > 1.05 * one.classical as f64);
    println!("no schedule at all is within 1.05 of the classical bound: {out_of_reach}");
    println!("longest path worse than first come: {}", count(&|one| one.longest_path > one.first_come));
    println!("with surprises worse than first come: {}", count(&|one| one.surprised > one.surprised_first_come));
    println!("{}", told("with surprises, to first come", &ratios(&all, |one| (one.surprised, one.surprised_first_come))));
    for one in &all {
        assert!(one.classical <= one.proven && one.proven <= one.korch.min(one.first_come), "{one:?}");
        assert!(one.korch <= one.first_come && one.korch <= one.longest_path, "{one:?}");
    }
}
