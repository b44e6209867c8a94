//! Parse, log, one match, one place that prints an error and picks the exit code.

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{CommandFactory, Parser};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::watch;

use korch::cli::schedule::ScheduleArgs;
use korch::cli::{Cli, Command, HandlerArgs, ManArgs, Output, PlanArgs, PlanOutput};
use korch::domain::catalog::Catalog;
use korch::domain::object::ObjectId;
use korch::domain::plan::Plan;
use korch::domain::problem::Problems;
use korch::domain::schedule::{Occurrence, Schedule, read_time, zone_name};
use korch::exit::{Exit, UsageError};
use korch::handler::Handler;
use korch::handler::exec::Exec;
use korch::handler::http::Http;
use korch::handler::simulate::Simulate;
use korch::handler::timed::Timed;
use korch::log::{LogError, kafka};
use korch::planning::Planning;
use korch::serve::{Seen, Signals};
use korch::{client, doctor, durations, plan_report, roles, schedule_report, simulate, telemetry};
use metrics_exporter_prometheus::PrometheusHandle;

/// Dropping what still runs takes no longer than this.
const SHUTDOWN: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            // A reader that has seen enough (`| head`) is no error.
            if error
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
            {
                return Exit::Done.into();
            }
            telemetry::say_to_people(format_args!("error: {error:#}"));
            exit_of(&error).into()
        }
    }
}

/// The exit code of an error.
fn exit_of(error: &anyhow::Error) -> Exit {
    match (error.downcast_ref(), error.is::<UsageError>()) {
        (Some(LogError::Unreachable(_)), _) => Exit::Kafka,
        (_, true) => Exit::Usage,
        _ => Exit::Internal,
    }
}

fn run(cli: Cli) -> anyhow::Result<Exit> {
    match cli.command {
        Command::Up(args) => {
            // A run that is waited for shows its progress and its summary: beside them only what goes wrong is logged.
            let log = Log::new("up", cli.log, args.once);
            serve(log, async move |metrics, signals| {
                let handler = handler(&args.handler)?;
                roles::up::run(args, handler, Some(metrics), signals).await
            })
        }
        Command::Orchestrate(args) => {
            let log = Log::new("orchestrator", cli.log, args.once);
            serve(log, async move |metrics, signals| {
                roles::orchestrate::run(args, Some(metrics), signals).await
            })
        }
        Command::Worker(args) => {
            let log = Log::new(&args.served(), cli.log, false);
            serve(log, async move |metrics, signals| {
                let handler = handler(&args.handler)?;
                roles::worker::run(args, handler, Some(metrics), signals).await
            })
        }
        Command::Ui(args) => serve(Log::new("ui", cli.log, false), async move |metrics, signals| {
            roles::ui::run(args, Some(metrics), signals).await
        }),
        Command::Plan(args) => plan(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Schedule(args) => schedule(&args),
        Command::Client(command) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(client::run(command))
        }
        Command::Health(args) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(client::health(&args.server, args.ready))
        }
        Command::Doctor(args) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(doctor::run(args))
        }
        Command::Completions { shell } => {
            // In memory first: clap_complete panics where it cannot write.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "korch", &mut script);
            io::stdout().write_all(&script)?;
            Ok(Exit::Done)
        }
        Command::Man(args) => man(&args),
    }
}

fn man(args: &ManArgs) -> anyhow::Result<Exit> {
    // Built: each command knows its whole name and the flags that all have.
    let mut korch = Cli::command().disable_help_subcommand(true);
    korch.build();
    if let Some(dir) = &args.dir {
        std::fs::create_dir_all(dir)
            .and_then(|()| clap_mangen::generate_to(korch, dir))
            .with_context(|| format!("the pages cannot be written to {}", dir.display()))?;
        return Ok(Exit::Done);
    }
    let page = match &args.command {
        None => korch,
        Some(name) => korch.find_subcommand(name).cloned().ok_or_else(|| {
            let names: Vec<&str> = korch.get_subcommands().map(clap::Command::get_name).collect();
            UsageError(format!("there is no command {name:?}: they are {}", names.join(", ")))
        })?,
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page).render(&mut text)?;
    io::stdout().write_all(&text)?;
    Ok(Exit::Done)
}

fn plan(args: &PlanArgs) -> anyhow::Result<Exit> {
    let planning = Planning { file: args.catalogue.file.clone(), missing: args.catalogue.missing };
    let (zone, now) = (args.zone.zone(), Timestamp::now());
    let read = match &args.at {
        Some(at) => {
            let at = read_time(at, now, &zone).map_err(|why| UsageError(format!("--at {why}")))?;
            plan_at(&planning, at, &zone)
                .map(|(catalog, plan, due, schedule)| (catalog, plan, schedule, Some(due)))
        }
        None => planning.read(&args.targets, &args.exclude).map(|(catalog, plan)| {
            let schedule = Schedule::of(&catalog, zone);
            (catalog, plan, schedule, None)
        }),
    };
    let (catalog, mut plan, schedule, due) = match read {
        Ok(read) => read,
        Err(problems) => {
            telemetry::say_to_people(problems);
            return Ok(Exit::BadCatalogue);
        }
    };
    plan.warnings.extend(schedule.warning().cloned());
    let scheduled_for = due.as_ref().map(|due| due.at);
    let options = plan_report::Options { slots: u64::from(args.slots), full: args.full, scheduled_for };
    if let Some(due) = &due {
        // Beside the plan, whatever it is written as.
        telemetry::say_to_people(format_args!(
            "due at {} ({}, {}): {} of {} final objects",
            schedule_report::local(&schedule, due.at),
            zone_name(schedule.zone()),
            schedule_report::in_how_long(due.at, now),
            due.objects.len(),
            schedule.finals()
        ));
    }
    let mut out = BufWriter::new(io::stdout().lock());
    match args.output {
        PlanOutput::Human => plan_report::text(&mut out, &catalog, &plan, options)?,
        PlanOutput::Json => plan_report::json(&mut out, &catalog, &plan, options)?,
        PlanOutput::Dot => plan_report::dot(&mut out, &catalog, &plan)?,
        PlanOutput::Mermaid => plan_report::mermaid(&mut out, &catalog, &plan)?,
    }
    out.flush()?;
    // A million entries take longer to give back one by one than to leave to the end of the process.
    std::mem::forget((catalog, plan));
    Ok(Exit::Done)
}

/// The plan of what is due first at this time or after it.
fn plan_at(
    planning: &Planning,
    at: Timestamp,
    zone: &TimeZone,
) -> Result<(Catalog, Plan, Occurrence, Schedule), Problems> {
    let (catalog, schedule) = planning.schedule(zone)?;
    let due = schedule.at_or_after(at).ok_or_else(|| {
        let hint = "give a final object a Fréquence: 0 2 * * * is every day at two";
        let nothing = Problems::one(catalog.file(), "no final object is due after that", hint);
        schedule.problems().into_iter().fold(nothing, |all, more| all.and(more.problems.clone()))
    })?;
    let plan = planning.occurrence(&catalog, &due)?;
    Ok((catalog, plan, due, schedule))
}

fn schedule(args: &ScheduleArgs) -> anyhow::Result<Exit> {
    let planning = Planning { file: args.catalogue.file.clone(), missing: args.catalogue.missing };
    let (zone, now) = (args.zone.zone(), Timestamp::now());
    let time = |flag: &str, text: &str| {
        read_time(text, now, &zone).map_err(|why| UsageError(format!("{flag} {why}")))
    };
    let from = time("--from", &args.from)?;
    let until = args.until.as_deref().map(|text| time("--until", text)).transpose()?;
    let limit = args.limit.unwrap_or(if until.is_some() { 1000 } else { 10 }) as usize;
    let read = planning.schedule(&zone).and_then(|(catalog, schedule)| {
        let next =
            schedule.from(from).take_while(|due| until.is_none_or(|until| due.at <= until)).take(limit);
        // What is due together comes again and again.
        let mut sizes: HashMap<Vec<ObjectId>, usize> = HashMap::new();
        let mut planned = Vec::new();
        for due in next {
            let size = match sizes.get(&due.objects) {
                Some(size) => *size,
                None => planning.occurrence(&catalog, &due)?.objects.len(),
            };
            sizes.insert(due.objects.clone(), size);
            planned.push((due, size));
        }
        Ok((catalog, schedule, planned))
    });
    let (catalog, schedule, next) = match read {
        Ok(read) => read,
        Err(problems) => {
            telemetry::say_to_people(problems);
            return Ok(Exit::BadCatalogue);
        }
    };
    let mut out = BufWriter::new(io::stdout().lock());
    match args.output {
        Output::Human => schedule_report::text(&mut out, &catalog, &schedule, &next, now)?,
        Output::Json => schedule_report::json(&mut out, &catalog, &schedule, &next, now)?,
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn handler(args: &HandlerArgs) -> anyhow::Result<Arc<dyn Handler>> {
    let handler: Arc<dyn Handler> = match (&args.exec, args.webhook()?) {
        (Some(command), _) => Arc::new(Exec::new(command.clone())?),
        (None, Some(webhook)) => Arc::new(Http::new(webhook)),
        (None, None) => {
            let delays = args.delays.as_deref().map(durations::read).transpose();
            let delays = delays.map_err(|why| UsageError(format!("--delays {why}")))?.unwrap_or_default();
            let fail = args.fail_ids.0.iter().copied().collect();
            Arc::new(Simulate { delay: args.delay, delays, fail })
        }
    };
    Ok(Arc::new(Timed::new(handler, args.timeout)))
}

/// What a process logs, and under which name.
struct Log {
    filter: String,
    producer: String,
}

impl Log {
    fn new(producer: &str, asked: Option<String>, quiet: bool) -> Log {
        let filter = asked.unwrap_or_else(|| if quiet { "warn" } else { "info" }.into());
        // Whatever Kafka's client meets is ours to say, in words that help.
        let mentioned = filter.contains(kafka::CLIENT);
        let filter = if mentioned { filter } else { format!("{filter},{}=off", kafka::CLIENT) };
        Log { filter, producer: producer.to_owned() }
    }
}

/// Runs a role on a runtime of its own.
fn serve(
    log: Log,
    role: impl AsyncFnOnce(PrometheusHandle, Signals) -> anyhow::Result<Exit>,
) -> anyhow::Result<Exit> {
    telemetry::install_logs(&log.filter, log.producer);
    let metrics = telemetry::install_metrics()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let exit = runtime.block_on(async { role(metrics, signals()?).await });
    // Work that a second Ctrl-C left behind ends with its future. The futures are waited for: each ends the whole
    // process group of its command. A file that is still being read is not.
    runtime.shutdown_timeout(SHUTDOWN);
    exit
}

/// Counts SIGINT and SIGTERM.
fn signals() -> anyhow::Result<Signals> {
    use tokio::signal::unix::{SignalKind, signal};
    let (sender, seen) = watch::channel(Seen::default());
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        loop {
            let interrupted = tokio::select! {
                _ = interrupt.recv() => true,
                _ = terminate.recv() => false,
            };
            sender.send_modify(|seen| {
                seen.count += 1;
                seen.interrupted |= interrupted;
            });
        }
    });
    Ok(Signals { seen })
}
