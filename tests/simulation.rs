//! Thousands of worlds under a storm. `KORCH_SEEDS=10000` for more of them, `KORCH_SEED=n` for one with its trace.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use korch::domain::simulation::{self, Report};

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn every_run_ends_and_every_law_holds() {
    if let Some(seed) = number("KORCH_SEED") {
        match simulation::run(seed, true) {
            Ok(report) => println!("seed {seed}: {report:?}"),
            Err(error) => panic!("{error}"),
        }
        return;
    }
    let seeds = number("KORCH_SEEDS").unwrap_or(1500);
    let next = AtomicU64::new(0);
    let failures: Mutex<Vec<String>> = Mutex::default();
    let total: Mutex<Report> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while failures.lock().unwrap().len() < 5 {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    match simulation::run(seed, false) {
                        Err(error) => failures.lock().unwrap().push(error),
                        Ok(report) => {
                            let mut total = total.lock().unwrap();
                            total.runs += report.runs;
                            total.records += report.records;
                            total.seconds += report.seconds;
                            total.faults += report.faults;
                            total.repeated += report.repeated;
                        }
                    }
                }
            });
        }
    });
    println!("{seeds} seeds: {:?}", total.lock().unwrap());
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "run one again with KORCH_SEED=n to see its trace:\n{}",
        failures.join("\n")
    );
    // A storm that disturbs nothing proves nothing.
    let total = total.into_inner().unwrap();
    assert!(total.faults as u64 > seeds && total.repeated as u64 > seeds / 4, "{total:?}");
}
