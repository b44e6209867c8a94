//! Thousands of worlds, each from a seed. `KORCH_SEEDS=10000` for more of them, `KORCH_SEED=7` for one with its trace.

use std::sync::atomic::{AtomicU64, Ordering};

use korch::domain::simulation::{Report, run, run_traced};

/// So many seeds are tried where nothing else is asked for.
const SEEDS: u64 = 2_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_world_ends_well() {
    if let Some(seed) = number("KORCH_SEED") {
        let (result, trace) = run_traced(seed);
        for line in trace {
            eprintln!("{line}");
        }
        eprintln!("{result:#?}");
        assert!(result.is_ok(), "seed {seed}: {result:?}");
        return;
    }
    let first = number("KORCH_FIRST_SEED").unwrap_or(0);
    let last = first + number("KORCH_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(first);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let began = std::time::Instant::now();
    let (reports, failures) = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let (mut reports, mut failures) = (Vec::new(), Vec::new());
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= last || failures.len() >= 3 {
                            return (reports, failures);
                        }
                        let result = std::panic::catch_unwind(|| run(seed));
                        match result.unwrap_or_else(|_| Err(format!("seed {seed}: it panicked"))) {
                            Ok(report) => reports.push(report),
                            Err(failure) => failures.push(failure),
                        }
                    }
                })
            })
            .collect();
        let mut all = (Vec::new(), Vec::new());
        for worker in workers {
            let (reports, failures) = worker.join().expect("panics are caught above");
            all.0.extend(reports);
            all.1.extend(failures);
        }
        all
    });
    let total = reports.iter().fold(Report::default(), |sum, report| Report {
        records: sum.records + report.records,
        void: sum.void + report.void,
        runs: sum.runs + report.runs,
        cancelled: sum.cancelled + report.cancelled,
        loaded: sum.loaded + report.loaded,
        failed: sum.failed + report.failed,
        skipped: sum.skipped + report.skipped,
        again: std::array::from_fn(|i| sum.again[i] + report.again[i]),
        degraded: sum.degraded + report.degraded,
        reused: sum.reused + report.reused,
        marked: sum.marked + report.marked,
        retries: sum.retries + report.retries,
        full: sum.full + report.full,
        epochs: sum.epochs + report.epochs,
        virtual_ms: sum.virtual_ms + report.virtual_ms,
    });
    eprintln!("{} worlds in {:?}: {total:?}", reports.len(), began.elapsed());
    assert!(failures.is_empty(), "{} worlds failed\n{}", failures.len(), failures.join("\n\n"));
    // A simulator that never does what it is there for proves nothing.
    assert!(total.void > 0 && total.cancelled > 0 && total.skipped > 0, "{total:?}");
    let told = [total.degraded, total.reused, total.marked, total.retries, total.full];
    assert!(told.iter().all(|&count| count > 0), "{total:?}");
    assert!(total.again.iter().all(|&again| again > 0), "{total:?}");
}

#[test]
fn a_world_is_the_same_each_time() {
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed));
    }
}
