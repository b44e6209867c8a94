//! Log lines, and every metric's name in one place.

use std::io::{IsTerminal, Write};
use std::time::{Duration, SystemTime};

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::domain::attempt::Phase;
use crate::domain::board::Board;
use crate::domain::event::{Body, Event};
use crate::domain::member::{Members, Mono, WorkerState};
use crate::domain::object::Stage;

mod json_lines;

/// Events published, by `status` (the event's type) and `producer`.
pub const EVENTS_PUBLISHED: &str = "events_published_total";
/// Records passed over, by `reason`.
pub const EVENTS_REJECTED: &str = "korch_events_rejected_total";
/// Objects of the active run, by `stage` and `state`.
pub const OBJECTS: &str = "korch_objects";
/// How long objects run, by `stage`.
pub const OBJECT_DURATION: &str = "korch_object_duration_seconds";
/// How long objects wait between their offer and their start, by `stage`.
pub const OBJECT_WAIT: &str = "korch_object_wait_seconds";
/// Runs that are over, by `outcome`.
pub const RUNS: &str = "korch_runs_total";
/// How long the active run has been going on, or the last one took.
pub const RUN_DURATION: &str = "korch_run_duration_seconds";
/// The least that the active run can take, by what is expected of its objects, or the last one could have taken.
pub const RUN_LOWER_BOUND: &str = "korch_run_lower_bound_seconds";
/// Workers, by `stage` and `state`.
pub const WORKERS: &str = "korch_workers";
/// Slots, by `stage` and `state`.
pub const SLOTS: &str = "korch_slots";
/// Records of the log that are not read yet.
pub const LOG_LAG: &str = "korch_log_lag_records";
/// For how long the log has not answered.
pub const LOG_SILENCE: &str = "korch_log_silence_seconds";
/// Notices to people, by `result`: `sent`, `failed` (given up), `dropped` (too many waited).
pub const NOTICES: &str = "korch_notices_total";
/// 1, with the version as label.
pub const BUILD_INFO: &str = "korch_build_info";
/// When the process started. The name is every Prometheus client's: what a counter had when it was first read is news only
/// of a process that is younger than the question.
pub const PROCESS_START: &str = "process_start_time_seconds";

/// What a worker publishes.
pub const ANSWERS: [&str; 2] = ["ObjectLoaded", "ObjectFailed"];

/// The buckets of both histograms, in seconds: from a blink to a long night's table.
const SECONDS_BUCKETS: [f64; 14] =
    [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0];

/// Says something to people, on stderr. That nobody listens is no error: `eprintln!` would panic.
pub fn say_to_people(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Installs the recorder of metrics; the handle renders them.
///
/// # Errors
/// When one is installed already.
pub fn install_metrics() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS_BUCKETS)?
        .install_recorder()?;
    describe_counter!(EVENTS_PUBLISHED, "Events published, by type and producer");
    describe_counter!(EVENTS_REJECTED, "Records that are no events, or of no plan, by reason");
    describe_gauge!(OBJECTS, "Objects of the active or last run, by stage and state");
    describe_histogram!(OBJECT_DURATION, Unit::Seconds, "How long an object's work took");
    describe_histogram!(OBJECT_WAIT, Unit::Seconds, "How long an object waited from its offer to its start");
    describe_counter!(RUNS, "Runs that are over, by outcome");
    describe_gauge!(
        RUN_DURATION,
        Unit::Seconds,
        "How long the active run has been going on, or the last one took"
    );
    describe_gauge!(
        RUN_LOWER_BOUND,
        Unit::Seconds,
        "The least that the active run can take by what is expected of its objects, or the last one could have taken"
    );
    describe_gauge!(WORKERS, "Workers, by stage and state");
    describe_gauge!(SLOTS, "Slots of the workers that are up, by stage and state");
    describe_gauge!(LOG_LAG, "Records of the log that this process has not read yet");
    describe_gauge!(LOG_SILENCE, Unit::Seconds, "For how long the log has not answered this process");
    describe_counter!(NOTICES, "Notices to people, by what became of them");
    describe_gauge!(BUILD_INFO, "1, with the version as a label");
    describe_gauge!(PROCESS_START, Unit::Seconds, "When the process started, since 1970");
    let start = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    metrics::gauge!(PROCESS_START).set(start.as_secs_f64());
    metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    // So that a first failure is an increase and not a new series.
    for reason in ["not_json", "no_type", "unknown_type", "bad_field", "unknown_object", "late"] {
        metrics::counter!(EVENTS_REJECTED, "reason" => reason).absolute(0);
    }
    for outcome in ["succeeded", "failed", "cancelled"] {
        metrics::counter!(RUNS, "outcome" => outcome).absolute(0);
    }
    metrics::gauge!(LOG_LAG).set(0.0);
    Ok(handle)
}

/// Starts log lines on stderr: human on a terminal, JSON elsewhere. `filter` is tracing's own grammar, `producer` says who
/// writes.
pub fn install_logs(filter: &str, producer: String) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // What cannot be logged because nobody reads stderr cannot be complained of there either.
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .log_internal_errors(false);
    // A second start in one process (tests) keeps the first.
    let _ = if std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    {
        lines.compact().try_init()
    } else if std::io::stderr().is_terminal() {
        lines.compact().with_ansi(false).try_init()
    } else {
        lines.event_format(json_lines::JsonLines { producer }).try_init()
    };
}

/// Says which events a producer of this process may publish, so that its first one is an increase and not a new series.
pub fn may_publish(producer: &'static str, event_types: &[&'static str]) {
    for event_type in event_types {
        metrics::counter!(EVENTS_PUBLISHED, "status" => *event_type, "producer" => producer).absolute(0);
    }
}

/// Says that this process sends notices, for the same reason.
pub fn may_notify() {
    for result in ["sent", "failed", "dropped"] {
        metrics::counter!(NOTICES, "result" => result).absolute(0);
    }
}

/// Counts notices by what became of them.
pub fn notices(result: &'static str, count: u64) {
    metrics::counter!(NOTICES, "result" => result).increment(count);
}

/// Says that this process may measure objects, for the same reason.
pub fn may_measure() {
    for stage in Stage::ALL {
        let _ = metrics::histogram!(OBJECT_DURATION, "stage" => stage.name());
        let _ = metrics::histogram!(OBJECT_WAIT, "stage" => stage.name());
    }
}

/// Counts and logs events that this process has published. One look-up a type, not one an event.
pub fn published<'a>(events: impl IntoIterator<Item = &'a Event>, producer: &'static str) {
    let says_all = tracing::enabled!(tracing::Level::INFO);
    let mut counts: Vec<(&'static str, u64)> = Vec::new();
    for event in events {
        let event_type = event.body.event_type();
        match counts.iter_mut().find(|(counted, _)| *counted == event_type) {
            Some((_, count)) => *count += 1,
            None => counts.push((event_type, 1)),
        }
        if says_all {
            say(event, producer);
        }
    }
    for (event_type, count) in counts {
        metrics::counter!(EVENTS_PUBLISHED, "status" => event_type, "producer" => producer).increment(count);
    }
}

fn say(event: &Event, producer: &'static str) {
    let event_type = event.body.event_type();
    let object = event.body.object();
    let told = Told::of(&event.body);
    tracing::info!(
        producer,
        event_type,
        id_objet = object.map(|(object, _)| object.0),
        attempt = object.map(|(_, attempt)| attempt),
        run_id = event.run.map(tracing::field::display),
        worker = told.worker,
        error = told.error,
        because = told.because,
        outcome = told.outcome,
        duration_seconds = told.duration_seconds,
        "{event_type}"
    );
}

/// A log line names so many causes; all of them are in the event.
const MOST_CAUSES: usize = 20;

/// What a log line tells of an event besides what all events have.
#[derive(Default)]
struct Told<'a> {
    worker: Option<&'a str>,
    error: Option<&'a str>,
    /// The failed ancestors.
    because: Option<String>,
    outcome: Option<&'static str>,
    duration_seconds: Option<f64>,
}

impl<'a> Told<'a> {
    fn of(body: &'a Body) -> Told<'a> {
        match body {
            Body::ObjectAssigned(assigned) => Told { worker: Some(&assigned.worker), ..Told::default() },
            Body::ObjectLoaded(answer) | Body::ObjectFailed(answer) => Told {
                worker: answer.meta.worker.as_deref(),
                error: answer.meta.error.as_deref().filter(|_| matches!(body, Body::ObjectFailed(_))),
                duration_seconds: answer.meta.duration_seconds,
                ..Told::default()
            },
            Body::ObjectSkipped(skipped) => {
                let ids: Vec<String> =
                    skipped.because.iter().take(MOST_CAUSES).map(|id| id.0.to_string()).collect();
                Told { because: Some(ids.join(", ")), ..Told::default() }
            }
            Body::RunFinished(finished) => Told {
                outcome: Some(finished.outcome.name()),
                duration_seconds: Some(finished.duration_seconds),
                ..Told::default()
            },
            _ => Told::default(),
        }
    }
}

/// Sets the gauges that follow from the fold. A run that is over has nothing that waits or runs: what a cancelled one left
/// undone counts as `cancelled`.
pub fn gauges(board: Option<&Board>, is_over: bool, members: &Members, now: Mono) {
    for stage in Stage::ALL {
        let mut cancelled = 0;
        for phase in Phase::ALL {
            let mut count = board.map_or(0, |board| board.count(stage, phase));
            if is_over && !phase.is_final() {
                cancelled += std::mem::take(&mut count);
            }
            set_objects(stage, phase.name(), count);
        }
        set_objects(stage, "cancelled", cancelled);
        let (mut up, mut draining, mut silent, mut slots, mut busy) = (0, 0, 0, 0_u32, 0_u32);
        for known in members.workers().filter(|known| known.heartbeat.stages.contains(&stage)) {
            match known.heartbeat.state {
                WorkerState::Gone => {}
                _ if known.is_silent(now) => silent += 1,
                WorkerState::Draining => draining += 1,
                WorkerState::Up => {
                    up += 1;
                    slots += known.heartbeat.slots;
                    // A run that was cancelled never hears what became of what ran: there the worker says it.
                    let told = known.heartbeat.running.len();
                    let held = board.filter(|_| !is_over);
                    let held = held.map_or(told, |board| board.held_count(known.heartbeat.instance));
                    busy += u32::try_from(held).unwrap_or(u32::MAX);
                }
            }
        }
        for (state, count) in [("up", up), ("draining", draining), ("silent", silent)] {
            metrics::gauge!(WORKERS, "stage" => stage.name(), "state" => state).set(f64::from(count));
        }
        metrics::gauge!(SLOTS, "stage" => stage.name(), "state" => "busy").set(f64::from(busy));
        metrics::gauge!(SLOTS, "stage" => stage.name(), "state" => "free")
            .set(f64::from(slots.saturating_sub(busy)));
    }
}

fn set_objects(stage: Stage, state: &'static str, count: u64) {
    #[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
    metrics::gauge!(OBJECTS, "stage" => stage.name(), "state" => state).set(count as f64);
}

/// Sets how many records are there and not read yet.
pub fn lag(records: u64) {
    #[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
    metrics::gauge!(LOG_LAG).set(records as f64);
}

/// Sets for how long the log has not answered.
pub fn silence(time: Duration) {
    metrics::gauge!(LOG_SILENCE).set(time.as_secs_f64());
}

/// Sets the gauges of the run, both in seconds.
pub fn run(duration: f64, lower_bound: f64) {
    metrics::gauge!(RUN_DURATION).set(duration);
    metrics::gauge!(RUN_LOWER_BOUND).set(lower_bound);
}

/// Observes an object's work.
pub fn object_done(stage: Stage, waited: Duration, took: Duration) {
    metrics::histogram!(OBJECT_DURATION, "stage" => stage.name()).record(took.as_secs_f64());
    metrics::histogram!(OBJECT_WAIT, "stage" => stage.name()).record(waited.as_secs_f64());
}
