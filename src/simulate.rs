//! `korch simulate`: tonight's run on a virtual clock, for people and programs.

use std::io::{self, BufWriter, Write};
use std::time::Duration;

use rustc_hash::FxHashSet;
use serde::Serialize;

use crate::cli::Output;
use crate::cli::simulate::SimulateArgs;
use crate::domain::attempt::Phase;
use crate::domain::event::{Counts, Outcome, PlannedObject, name_of};
use crate::domain::object::{Criticality, ObjectId, Stage};
use crate::domain::packing::NEVER;
use crate::domain::rehearsal::{Played, Script};
use crate::domain::rules::{OnFailure, Rules, duration_text};
use crate::domain::turns::{self, Bounds};
use crate::durations;
use crate::exit::{Exit, UsageError};
use crate::planning::Planning;
use crate::telemetry;

/// So many objects of the critical path are named for people.
const SHOWN: usize = 20;
/// The timeline for people is so many columns wide.
const COLUMNS: usize = 64;

/// Rehearses the run and tells how it goes.
///
/// # Errors
/// When the durations cannot be read, or stdout does not take the answer.
pub fn run(args: &SimulateArgs) -> anyhow::Result<Exit> {
    let known = match &args.durations {
        Some(file) => Some(durations::read(file).map_err(|why| UsageError(format!("--durations {why}")))?),
        None => None,
    };
    let planning = Planning { file: args.catalogue.file.clone(), missing: args.catalogue.missing };
    let (mut objects, odd) = match planning.objects(&args.targets, &args.exclude) {
        Ok(planned) => planned,
        Err(problems) => {
            telemetry::say_to_people(problems);
            return Ok(Exit::BadCatalogue);
        }
    };
    let mut warnings: Vec<Said> = odd.into_iter().map(|odd| Said(odd.to_string())).collect();
    let ids: FxHashSet<ObjectId> = objects.iter().map(|object| object.id).collect();
    let known = known.unwrap_or_default();
    for object in &mut objects {
        object.expected_ms = known.get(&object.id).map(|took| ms(*took));
    }
    let mut unknown: Vec<ObjectId> = known.keys().filter(|id| !ids.contains(id)).copied().collect();
    unknown.sort_unstable();
    warnings.extend(strange("--durations names", &unknown));
    let fails: FxHashSet<ObjectId> = args.fail.0.iter().copied().collect();
    let mut unknown: Vec<ObjectId> = fails.difference(&ids).copied().collect();
    unknown.sort_unstable();
    warnings.extend(strange("--fail names", &unknown));
    let rules = Rules { on_failure: args.on_failure, limits: args.limit.clone(), ..Rules::default() };
    let script = Script { objects, rules, slots: args.slots_of_stages(), fails };
    let report = Report::of(&args.catalogue.file.display().to_string(), &script, warnings);
    let mut out = BufWriter::new(io::stdout().lock());
    match args.output {
        Output::Human => report.write(&mut out)?,
        Output::Json => {
            serde_json::to_writer(&mut out, &report).map_err(io::Error::other)?;
            writeln!(out)?;
        }
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn ms(duration: Duration) -> u64 {
    u64::try_from((duration.as_micros() + 500) / 1000).unwrap_or(u64::MAX)
}

/// A warning about ids that the run does not have.
fn strange(what: &str, unknown: &[ObjectId]) -> Option<Said> {
    let first = unknown.first()?;
    let count = counted(unknown.len(), "object", "objects");
    Some(Said(format!("{what} {count} that would not run, such as {first}")))
}

/// What is odd, in a sentence.
#[derive(Serialize)]
#[serde(transparent)]
struct Said(String);

/// How the run would go.
#[derive(Serialize)]
struct Report {
    file: String,
    /// How many objects the durations name.
    measured: usize,
    on_failure: OnFailure,
    limits: Vec<String>,
    outcome: Option<Outcome>,
    counts: Counts,
    makespan_ms: u64,
    /// The longest path, or the work of the busiest stage shared by its slots.
    lower_bound_ms: u64,
    /// What no schedule can beat: the former and what has to be before and after it.
    proven_bound_ms: u64,
    /// How much longer than the lower bound it takes, as a factor.
    ratio: Option<f64>,
    stages: Vec<StageReport>,
    busiest: Option<Stage>,
    critical_path_ms: u64,
    critical_path: Vec<Named>,
    /// What one slot more would bring, stage by stage.
    one_slot_more: Vec<SlotMore>,
    warnings: Vec<Said>,
    objects: Vec<ObjectReport>,
}

#[derive(Serialize)]
struct StageReport {
    stage: Stage,
    slots: u32,
    objects: usize,
    /// How long its slots were in use, together.
    busy_ms: u64,
    /// Of all the time that they were there.
    utilisation: f64,
    /// Its work shared by its slots.
    shared_ms: u64,
    /// From the first start to the last end.
    first_start_ms: Option<u64>,
    last_end_ms: Option<u64>,
    /// How much of its slots was in use, over equal parts of the whole time.
    timeline: Vec<f64>,
}

#[derive(Serialize)]
struct Named {
    id: ObjectId,
    name: Option<Box<str>>,
}

#[derive(Serialize)]
struct SlotMore {
    stage: Stage,
    slots: u32,
    makespan_ms: u64,
    /// How much longer it takes, in parts of one: less than 0 where it is over sooner.
    change: f64,
}

#[derive(Serialize)]
struct ObjectReport {
    id: ObjectId,
    name: Option<Box<str>>,
    stage: Stage,
    criticality: Criticality,
    state: Phase,
    degraded: bool,
    takes_ms: u64,
    start_ms: Option<u64>,
    end_ms: Option<u64>,
}

/// Plays a script as the orchestrator would plan it.
fn play(script: &Script, slots: [u32; Stage::ALL.len()]) -> Played {
    let mut script = Script { slots, ..script.clone() };
    let took_ms = script.durations_ms();
    script.take_turns();
    script.play(&took_ms)
}

#[allow(clippy::cast_precision_loss, reason = "shares for people")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl Report {
    fn of(file: &str, script: &Script, warnings: Vec<Said>) -> Report {
        let plus_one = |stage: Stage| {
            let mut slots = script.slots;
            slots[stage.index()] += 1;
            slots
        };
        let (played, more) = std::thread::scope(|scope| {
            let more = Stage::ALL.map(|stage| {
                let slots = plus_one(stage);
                (stage, slots, scope.spawn(move || play(script, slots).end_ms))
            });
            let played = play(script, script.slots);
            let more = more.map(|(stage, slots, end_ms)| {
                let makespan_ms = end_ms.join().unwrap_or(NEVER);
                let change = share(makespan_ms, played.end_ms) - f64::from(u8::from(played.end_ms > 0));
                SlotMore { stage, slots: slots[stage.index()], makespan_ms, change }
            });
            (played, more)
        });
        let took_ms = script.durations_ms();
        let (bounds, critical_path) = bounds(script, &played, &took_ms);
        let measured = script.objects.iter().filter(|object| object.expected_ms.is_some()).count();
        let stages: Vec<StageReport> = Stage::ALL
            .into_iter()
            .map(|stage| stage_report(stage, script, &played, &bounds))
            .filter(|stage| stage.objects > 0)
            .collect();
        let busiest = stages.iter().max_by(|a, b| a.utilisation.total_cmp(&b.utilisation));
        let lower_bound_ms = bounds.classical_ms();
        Report {
            file: file.to_owned(),
            measured,
            on_failure: script.rules.on_failure,
            limits: script.rules.limits.iter().map(ToString::to_string).collect(),
            outcome: played.outcome,
            counts: played.counts,
            makespan_ms: played.end_ms,
            lower_bound_ms,
            proven_bound_ms: bounds.proven_ms,
            ratio: (lower_bound_ms > 0).then(|| share(played.end_ms, lower_bound_ms)),
            busiest: busiest.map(|busiest| busiest.stage),
            stages,
            critical_path_ms: bounds.path_ms,
            critical_path: critical_path
                .into_iter()
                .map(|i| Named { id: script.objects[i].id, name: name_of(&script.objects[i].entry) })
                .collect(),
            one_slot_more: more.into_iter().filter(|more| has_stage(&script.objects, more.stage)).collect(),
            warnings,
            objects: script
                .objects
                .iter()
                .zip(&played.objects)
                .zip(&took_ms)
                .map(|((object, played), takes_ms)| ObjectReport {
                    id: object.id,
                    name: name_of(&object.entry),
                    stage: object.stage,
                    criticality: object.criticality,
                    state: played.phase,
                    degraded: played.degraded,
                    takes_ms: *takes_ms,
                    start_ms: played.start_ms,
                    end_ms: played.end_ms,
                })
                .collect(),
        }
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let by_stage: Vec<String> =
            self.stages.iter().map(|stage| format!("{} {}", stage.stage, stage.objects)).collect();
        let objects = counted(self.objects.len(), "object", "objects");
        writeln!(out, "Would run      {objects}: {}", by_stage.join(", "))?;
        let all = self.objects.len();
        match self.measured {
            0 => writeln!(out, "Durations      as usual for each stage (--durations FILE knows better)")?,
            measured if measured == all => writeln!(out, "Durations      of all of them")?,
            measured => writeln!(out, "Durations      of {measured}, the mean of their stage for the rest")?,
        }
        let mut rules = vec![format!("on failure {}", self.on_failure)];
        rules.extend(self.limits.iter().map(|limit| format!("limit {limit}")));
        writeln!(out, "Rules          {}", rules.join(", "))?;
        let ratio = |bound_ms| match share(self.makespan_ms, bound_ms) {
            0.0 => String::new(),
            ratio => format!(" (× {ratio:.3})"),
        };
        writeln!(out, "\nTakes          {}", span(self.makespan_ms))?;
        let bound = "the longest path, or a stage's work shared by its slots";
        writeln!(out, "At best        {}{}: {bound}", span(self.lower_bound_ms), ratio(self.lower_bound_ms))?;
        if self.proven_bound_ms > self.lower_bound_ms {
            let with = "with what has to be before and after that";
            writeln!(
                out,
                "               {}{}: {with}",
                span(self.proven_bound_ms),
                ratio(self.proven_bound_ms)
            )?;
        }
        let Counts { loaded, failed, skipped, degraded, .. } = self.counts;
        let degraded = if degraded > 0 { format!(", {degraded} of these degraded") } else { String::new() };
        let outcome = self.outcome.map_or("never ends", Outcome::name);
        writeln!(
            out,
            "Ends           {outcome}: {loaded} loaded{degraded}, {failed} failed, {skipped} skipped"
        )?;
        let path: Vec<String> = self.critical_path.iter().map(Named::to_string).collect();
        let path = match path.len() {
            0..=SHOWN => path.join(" → "),
            len => format!("{} → … {} more … → {}", path[..10].join(" → "), len - 11, path[len - 1]),
        };
        writeln!(out, "Critical path  {}: {path}", span(self.critical_path_ms))?;
        self.write_stages(out)?;
        if !self.warnings.is_empty() {
            writeln!(out)?;
        }
        for warning in &self.warnings {
            writeln!(out, "Warning: {}", warning.0)?;
        }
        Ok(())
    }

    fn write_stages(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "\n{:<11}  {:>7}  {:>6}  {:>9}  {:>7}  one slot more",
            "Stage", "objects", "slots", "in use", "of them"
        )?;
        for stage in &self.stages {
            let busiest = if self.busiest == Some(stage.stage) { " ← busiest" } else { "" };
            let more = self.one_slot_more.iter().find(|more| more.stage == stage.stage);
            let more = more.map_or_else(String::new, |more| {
                let percent = more.change * 100.0;
                let change = if percent.abs() < 0.05 { "no change".to_owned() } else { signed(percent) };
                format!("{}→{}: {change}, {}", stage.slots, more.slots, span(more.makespan_ms))
            });
            writeln!(
                out,
                "{:<11}  {:>7}  {:>6}  {:>9}  {:>5.1} %  {more}{busiest}",
                stage.stage,
                stage.objects,
                stage.slots,
                span(stage.busy_ms),
                100.0 * stage.utilisation
            )?;
        }
        if self.makespan_ms == 0 {
            return Ok(());
        }
        writeln!(out)?;
        for stage in &self.stages {
            let bars: String = stage.timeline.iter().map(|used| bar(*used)).collect();
            writeln!(out, "{:<11}  {}", stage.stage, bars.trim_end())?;
        }
        let end = span(self.makespan_ms);
        writeln!(out, "{:<11}  0{end:>width$}", "", width = COLUMNS - 1)
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{} {name}", self.id),
            None => self.id.fmt(f),
        }
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn has_stage(objects: &[PlannedObject], stage: Stage) -> bool {
    objects.iter().any(|object| object.stage == stage)
}

/// The bounds of what ran, and the longest path through it. What was skipped takes no time.
fn bounds(script: &Script, played: &Played, took_ms: &[u64]) -> (Bounds, Vec<usize>) {
    let mut ran = script.objects.clone();
    for ((object, played), took_ms) in ran.iter_mut().zip(&played.objects).zip(took_ms) {
        object.expected_ms = Some(if played.start_ms.is_some() { *took_ms } else { 0 });
    }
    let slots = script.slots.map(Some);
    let (bounds, mut path) = turns::bounds(&ran, &script.rules, slots);
    path.retain(|&i| played.objects[i].start_ms.is_some());
    (bounds, path)
}

fn stage_report(stage: Stage, script: &Script, played: &Played, bounds: &Bounds) -> StageReport {
    let slots = script.slots[stage.index()];
    let of_stage = script.objects.iter().zip(&played.objects).filter(|(object, _)| object.stage == stage);
    let ran: Vec<(u64, u64)> =
        of_stage.clone().filter_map(|(_, played)| Some((played.start_ms?, played.end_ms?))).collect();
    let busy_ms = played.busy_ms[stage.index()];
    StageReport {
        stage,
        slots,
        objects: of_stage.count(),
        busy_ms,
        utilisation: share(busy_ms, played.end_ms.saturating_mul(u64::from(slots))),
        shared_ms: bounds.work_ms[stage.index()],
        first_start_ms: ran.iter().map(|(start, _)| *start).min(),
        last_end_ms: ran.iter().map(|(_, end)| *end).max(),
        timeline: timeline(&ran, played.end_ms, slots),
    }
}

/// How much of the slots was in use in each column.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn timeline(ran: &[(u64, u64)], end_ms: u64, slots: u32) -> Vec<f64> {
    let mut used = vec![0.0; COLUMNS];
    let width_ms = end_ms as f64 / COLUMNS as f64;
    for &(start, end) in ran.iter().filter(|(start, end)| end > start) {
        let (start, end) = (start as f64 / width_ms, end as f64 / width_ms);
        for (column, used) in used.iter_mut().enumerate().take(end.ceil() as usize).skip(start as usize) {
            *used += (end.min(column as f64 + 1.0) - start.max(column as f64)).max(0.0);
        }
    }
    used.iter().map(|used| used / f64::from(slots)).collect()
}

fn bar(used: f64) -> char {
    const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let height = (used * 8.0).ceil().clamp(0.0, 8.0) as usize;
    // A sliver is told from nothing, and nearly full from full.
    BARS[if used > 0.995 { 8 } else { height.min(7) }]
}

fn signed(percent: f64) -> String {
    let sign = if percent < 0.0 { '−' } else { '+' };
    format!("{sign}{:.1} %", percent.abs())
}

/// A time as one says it: `640ms`, `12.3s`, `12m10s`, `3h05m`.
fn span(ms: u64) -> String {
    let whole = (ms + 500) / 1000;
    match ms {
        0..1_000 => duration_text(Duration::from_millis(ms)),
        1_000..59_950 => format!("{:.1}s", Duration::from_millis(ms).as_secs_f64()),
        59_950..3_599_500 => format!("{}m{:02}s", whole / 60, whole % 60),
        _ => format!("{}h{:02}m", whole / 3600, whole % 3600 / 60),
    }
}
