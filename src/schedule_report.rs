//! What comes next for people and programs.

use std::io::{self, Write};

use jiff::Timestamp;
use serde::Serialize;

use crate::client::text::{Table, seconds};
use crate::domain::catalog::Catalog;
use crate::domain::object::ObjectId;
use crate::domain::problem::Problem;
use crate::domain::schedule::{Occurrence, Schedule, zone_name};

/// So many objects of an instant are named; the rest are counted.
const NAMED: usize = 10;

/// An instant, and how many objects its run has.
pub type Planned = (Occurrence, usize);

/// For people.
///
/// # Errors
/// When `out` does not take it.
pub fn text(
    out: &mut dyn Write,
    catalog: &Catalog,
    schedule: &Schedule,
    next: &[Planned],
    now: Timestamp,
) -> io::Result<()> {
    let (finals, scheduled) = (schedule.finals(), schedule.scheduled());
    writeln!(out, "Catalogue  {}", catalog.file())?;
    write!(out, "Scheduled  {scheduled} of {finals} final objects")?;
    match schedule.unscheduled() {
        0 => writeln!(out)?,
        without => writeln!(out, ", {without} without a Fréquence")?,
    }
    writeln!(out, "Time zone  {}\n", zone_name(schedule.zone()))?;
    if next.is_empty() {
        writeln!(out, "Nothing is due")?;
    } else {
        let mut table = Table::new("", &["WHEN", ">", ">OBJECTS", "FINAL OBJECTS"]);
        for (due, objects) in next {
            table.row(vec![
                local(schedule, due.at),
                in_how_long(due.at, now),
                objects.to_string(),
                finals_of(schedule, due),
            ]);
        }
        table.write(out)?;
    }
    match schedule.problems() {
        None => Ok(()),
        // Each with its place: it is what is to be mended.
        Some(problems) => {
            writeln!(out, "\nNever started, for their Fréquence is no cron expression:\n{problems}")
        }
    }
}

/// The instant of a run, in a line for people: `Sun 2026-03-29 03:00 +02:00`.
pub fn local(schedule: &Schedule, at: Timestamp) -> String {
    at.to_zoned_datetime(schedule.zone().clone()).strftime("%a %Y-%m-%d %H:%M %:z").to_string()
}

/// How long it is until then: `in 3 min 5 s`, or `3 min 5 s ago`.
pub fn in_how_long(at: Timestamp, now: Timestamp) -> String {
    let left = at.duration_since(now).as_secs_f64();
    if left >= 0.0 { format!("in {}", seconds(left)) } else { format!("{} ago", seconds(-left)) }
}

/// The final objects that are due: `all 8`, or their ids.
pub fn finals_of(schedule: &Schedule, due: &Occurrence) -> String {
    if due.everything {
        return format!("all {}", schedule.finals());
    }
    let ids: Vec<String> = due.objects.iter().take(NAMED).map(ToString::to_string).collect();
    match due.objects.len().saturating_sub(NAMED) {
        0 => ids.join(" "),
        more => format!("{} and {more} more", ids.join(" ")),
    }
}

/// For programs: one JSON object.
///
/// # Errors
/// When `out` does not take it.
pub fn json(
    out: &mut dyn Write,
    catalog: &Catalog,
    schedule: &Schedule,
    next: &[Planned],
    now: Timestamp,
) -> io::Result<()> {
    #[derive(Serialize)]
    struct Report<'a> {
        file: &'a str,
        timezone: String,
        finals: usize,
        scheduled: usize,
        unscheduled: usize,
        problems: &'a [Problem],
        next: Vec<Instant<'a>>,
    }
    #[derive(Serialize)]
    struct Instant<'a> {
        at: String,
        local: String,
        in_seconds: f64,
        everything: bool,
        finals: &'a [ObjectId],
        targets: Vec<String>,
        objects: usize,
    }
    let next = next.iter().map(|(due, objects)| Instant {
        at: due.at.to_string(),
        local: schedule.local(due.at),
        in_seconds: due.at.duration_since(now).as_secs_f64(),
        everything: due.everything,
        finals: &due.objects,
        targets: due.targets(),
        objects: *objects,
    });
    let report = Report {
        file: catalog.file(),
        timezone: zone_name(schedule.zone()),
        finals: schedule.finals(),
        scheduled: schedule.scheduled(),
        unscheduled: schedule.unscheduled(),
        problems: schedule.problems().map_or(&[], |problems| &problems.problems),
        next: next.collect(),
    };
    serde_json::to_writer(&mut *out, &report).map_err(io::Error::other)?;
    writeln!(out)
}
