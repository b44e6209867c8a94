//! What runs when: the final objects that are due at the same instant are one run, with all that they need.
//!
//! It knows no clock: the time is an argument. What was asked for before is in the log, so whoever leads decides the same;
//! an occurrence has the same run however often it is asked for.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rustc_hash::FxHashMap;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::catalog::{Catalog, Found};
use super::cron::{Cron, CronError, once};
use super::event::{Body, Counts, Epoch, Event, Finished, Outcome, Request, RunId, time_text};
use super::history::History;
use super::object::{ObjectId, Stage};
use super::problem::{Problems, Tally, Warning, WarningKind};

/// Who asks for the runs of a schedule.
pub const REQUESTED_BY: &str = "schedule";
/// An instant is missed if nobody asked for its run so long after it: longer than a leader takes to follow another.
pub const MISSED_AFTER: SignedDuration = SignedDuration::from_mins(1);
/// So many missed instants are caught up with, the latest.
pub const MOST_MISSED: usize = 100;
/// A clock that has gone back by less is waited for.
const CLOCK_WENT_BACK: SignedDuration = SignedDuration::from_hours(1);
/// An event has room for so many targets.
const MOST_TARGETS: usize = 40_000;

/// What becomes of a run that is due while another one is under way or waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// It does not run, and the history says so.
    #[default]
    Skip,
    /// It waits for its turn, unless one of the same objects waits already.
    Queue,
}

/// What becomes of instants that nobody was there for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CatchUp {
    /// They are passed over.
    None,
    /// All that was missed runs once, in one run.
    #[default]
    Last,
    /// Each runs, one after the other.
    All,
}

/// Both policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// See [`Overlap`].
    pub overlap: Overlap,
    /// See [`CatchUp`].
    pub catch_up: CatchUp,
}

macro_rules! named {
    ($type:ident, $($variant:ident => $name:literal),+; $all:literal) => {
        impl $type {
            /// The name used in flags and in the API.
            pub fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $name),+
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<$type, String> {
                match text {
                    $($name => Ok($type::$variant),)+
                    _ => Err(format!(concat!("unknown policy {:?}: it is ", $all), text)),
                }
            }
        }
    };
}

named!(Overlap, Skip => "skip", Queue => "queue"; "skip or queue");
named!(CatchUp, None => "none", Last => "last", All => "all"; "none, last or all");

/// When the final objects of a catalogue are due.
#[derive(Clone, Debug)]
pub struct Schedule {
    zone: TimeZone,
    /// Each expression once, with the objects that have it, by id.
    lines: Vec<Line>,
    finals: usize,
    unscheduled: usize,
    problems: Option<Problems>,
    warning: Option<Warning>,
}

#[derive(Clone, Debug)]
struct Line {
    cron: Cron,
    objects: Vec<ObjectId>,
}

/// Final objects that are due at the same instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// The instant.
    pub at: Timestamp,
    /// The objects, by id.
    pub objects: Vec<ObjectId>,
    /// Whether these are all final objects that there are.
    pub everything: bool,
}

impl Schedule {
    /// The schedule of the active final objects of a catalogue, in this zone. One whose expression cannot be read is not
    /// scheduled, and does not keep the others from being.
    pub fn of(catalog: &Catalog, zone: TimeZone) -> Schedule {
        let mut lines: Vec<Line> = Vec::new();
        let mut read: FxHashMap<Cow<'_, str>, Result<usize, CronError>> = FxHashMap::default();
        let (mut finals, mut unscheduled) = (0, 0);
        let (mut found, mut tally) = (Found::default(), Tally::default());
        for entry in
            catalog.entries().iter().filter(|entry| entry.active && entry.stage == Stage::Application)
        {
            finals += 1;
            let text = catalog.frequency(entry);
            if text.trim().is_empty() || text == "null" {
                unscheduled += 1;
                continue;
            }
            let line = read.entry(text).or_insert_with_key(|text| {
                let cron = Cron::parse(text)?;
                Ok(lines.iter().position(|line| line.cron == cron).unwrap_or_else(|| {
                    lines.push(Line { cron, objects: Vec::new() });
                    lines.len() - 1
                }))
            });
            match line {
                Ok(line) => lines[*line].objects.push(entry.id),
                Err(CronError { message, hint }) => {
                    tally.add(entry.id, || {
                        format!("{} (entry {}: {message}; {hint})", entry.id, entry.position)
                    });
                    found.push(catalog.problem(entry, format!("Fréquence: {message}"), hint.as_str()));
                }
            }
        }
        for line in &mut lines {
            line.objects.sort_unstable();
        }
        let problems = (!found.is_empty()).then(|| catalog.report(found));
        let warning = tally.warning(
            WarningKind::BadFrequency,
            "final object whose Fréquence is no cron expression (--schedule never starts it)",
            "final objects whose Fréquence is no cron expression (--schedule never starts them)",
        );
        Schedule { zone, lines, finals, unscheduled, problems, warning }
    }

    /// The zone that the expressions mean.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// An instant as a clock in the zone shows it, RFC 3339.
    pub fn local(&self, at: Timestamp) -> String {
        at.to_zoned_datetime(self.zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    }

    /// How many active final objects the catalogue has.
    pub fn finals(&self) -> usize {
        self.finals
    }

    /// How many of them are due at some time.
    pub fn scheduled(&self) -> usize {
        self.lines.iter().map(|line| line.objects.len()).sum()
    }

    /// How many of them have no `Fréquence`.
    pub fn unscheduled(&self) -> usize {
        self.unscheduled
    }

    /// Everything that is wrong with the expressions, each with its entry.
    pub fn problems(&self) -> Option<&Problems> {
        self.problems.as_ref()
    }

    /// That, in a sentence.
    pub fn warning(&self) -> Option<&Warning> {
        self.warning.as_ref()
    }

    /// What comes after this instant, without end unless nothing is scheduled.
    pub fn after(&self, after: Timestamp) -> Upcoming<'_> {
        let mut heap = BinaryHeap::new();
        for (line, at) in self
            .lines
            .iter()
            .enumerate()
            .filter_map(|(i, line)| Some((i, line.cron.next(after, &self.zone)?)))
        {
            heap.push(Reverse((at, line)));
        }
        Upcoming { schedule: self, heap }
    }

    /// What comes at this instant and after it.
    pub fn from(&self, at: Timestamp) -> Upcoming<'_> {
        self.after(at.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(at))
    }

    /// The first occurrence at this instant or after it.
    pub fn at_or_after(&self, at: Timestamp) -> Option<Occurrence> {
        self.from(at).next()
    }

    /// What is due after the one instant and not after the other: the last of it, the oldest first, and whether there is more.
    fn between(&self, since: Timestamp, until: Timestamp, most: usize) -> (Vec<Occurrence>, bool) {
        // From the end, for nobody can say how much there is: an expression a minute, an orchestrator that was down for a year.
        let mut window = SignedDuration::from_hours(1);
        loop {
            let start = until.checked_sub(window).map_or(since, |start| start.max(since));
            let mut found: Vec<Occurrence> = self.after(start).take_while(|due| due.at <= until).collect();
            if start == since || found.len() > most {
                let more = found.len().saturating_sub(most);
                found.drain(..more);
                return (found, more > 0);
            }
            window = window.saturating_mul(4);
        }
    }

    /// All that is due after the one instant and not after the other, as one occurrence at the last of these instants.
    fn together(&self, since: Timestamp, until: Timestamp, at: Timestamp) -> Occurrence {
        let is_due = |line: &&Line| line.cron.next(since, &self.zone).is_some_and(|at| at <= until);
        let objects = self.lines.iter().filter(is_due).flat_map(|line| line.objects.iter().copied());
        self.occurrence(at, objects.collect())
    }

    fn occurrence(&self, at: Timestamp, mut objects: Vec<ObjectId>) -> Occurrence {
        objects.sort_unstable();
        Occurrence { at, everything: objects.len() == self.finals, objects }
    }
}

/// The occurrences of a schedule, in order.
#[derive(Debug)]
pub struct Upcoming<'a> {
    schedule: &'a Schedule,
    heap: BinaryHeap<Reverse<(Timestamp, usize)>>,
}

impl Iterator for Upcoming<'_> {
    type Item = Occurrence;

    fn next(&mut self) -> Option<Occurrence> {
        let Reverse((at, _)) = *self.heap.peek()?;
        let mut objects = Vec::new();
        while let Some(Reverse((next, line))) =
            self.heap.peek().copied().filter(|Reverse((next, _))| *next == at)
        {
            self.heap.pop();
            let Line { cron, objects: due } = &self.schedule.lines[line];
            objects.extend_from_slice(due);
            self.heap.extend(cron.next(next, &self.schedule.zone).map(|next| Reverse((next, line))));
        }
        Some(self.schedule.occurrence(at, objects))
    }
}

impl Occurrence {
    /// The selectors of its run: none where everything is due.
    pub fn targets(&self) -> Vec<String> {
        if self.everything { Vec::new() } else { self.objects.iter().map(|id| format!("+{id}")).collect() }
    }

    /// What is asked for: one run, unless an event has no room for its targets.
    pub fn requests(&self) -> Vec<(RunId, Request)> {
        let targets = self.targets();
        let parts: Vec<&[String]> =
            if targets.is_empty() { vec![&[]] } else { targets.chunks(MOST_TARGETS).collect() };
        let request = |targets: &[String]| Request {
            targets: targets.to_vec(),
            requested_by: Some(REQUESTED_BY.into()),
            scheduled_for: Some(self.at),
            ..Request::default()
        };
        parts.into_iter().map(|targets| (run_id(self.at, targets), request(targets))).collect()
    }
}

/// The run of an occurrence: the same whoever asks for it, and however often.
fn run_id(at: Timestamp, targets: &[String]) -> RunId {
    let name = format!("korch/schedule/{}/{}", time_text(at), targets.join(" "));
    RunId(Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()))
}

/// What is to be done at a look at the clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// What is asked for.
    pub asks: Vec<Ask>,
    /// What is not, being too long ago.
    pub passed_over: Option<PassedOver>,
    /// How far it has been looked: the next look begins here, once what is asked for is in the log.
    pub until: Timestamp,
}

/// A run that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The run.
    pub run: RunId,
    /// What is asked for.
    pub request: Request,
    /// Why it ends before it begins.
    pub skipped: Option<String>,
}

/// Missed instants for which nothing runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// How many; none: more than [`MOST_MISSED`].
    pub count: Option<usize>,
    /// The first of them, or what lies before it.
    pub first: Timestamp,
    /// The last of them, or what follows it.
    pub last: Timestamp,
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PassedOver { count, first, last } = self;
        match count {
            Some(1) => write!(f, "1 missed instant is passed over: {first}"),
            Some(count) => write!(f, "{count} missed instants are passed over, from {first} to {last}"),
            None => write!(
                f,
                "the instants missed between {first} and {last} are passed over, more than {MOST_MISSED}"
            ),
        }
    }
}

impl Ask {
    /// It, and its end where it is skipped, as events.
    pub fn events(&self, now: Timestamp, epoch: Epoch) -> Vec<Event> {
        let asked = Body::RunRequested(self.request.clone());
        let mut events = vec![Event { at: now, run: Some(self.run), epoch: None, body: asked }];
        if self.skipped.is_some() {
            let finished = Finished {
                outcome: Outcome::Cancelled,
                reason: self.skipped.clone(),
                counts: Counts::default(),
                duration_seconds: 0.0,
                problems: None,
            };
            let body = Body::RunFinished(finished);
            events.push(Event { at: now, run: Some(self.run), epoch: Some(epoch), body });
        }
        events
    }
}

/// From where on a leader looks: from the last occurrence that the log knows, or from where it looked to itself before;
/// where the log knows none, from when its process began, so that nothing counts as missed.
pub fn since(began: Timestamp, looked: Option<Timestamp>, history: &History) -> Timestamp {
    let latest = history.latest_scheduled();
    looked.into_iter().chain(latest).max().unwrap_or(began)
}

/// What is to be done now, where everything up to `since` is done: one occurrence at a time, so that the log always tells
/// how far it went.
pub fn due(
    schedule: &Schedule,
    since: Timestamp,
    now: Timestamp,
    history: &History,
    policies: Policies,
) -> Due {
    let nothing = |until| Due { asks: Vec::new(), passed_over: None, until };
    if since > now {
        // What was looked at before the clock went back is not looked at again; but a clock that was far ahead, or a
        // stranger's date, is not waited for: what was asked for then is in the log, and the same run is not asked for twice.
        return nothing(if since.duration_since(now) > CLOCK_WENT_BACK { now } else { since });
    }
    let (found, more) = schedule.between(since, now, MOST_MISSED);
    let (Some(first), Some(last)) = (found.first(), found.last()) else { return nothing(now) };
    let is_missed = |due: &&Occurrence| now.duration_since(due.at) > MISSED_AFTER;
    let missed = found.iter().take_while(is_missed).count();
    if missed == 0 {
        return Due { asks: ask(first, history, Some(policies.overlap)), passed_over: None, until: first.at };
    }
    match policies.catch_up {
        CatchUp::None => {
            let last = found[..missed].last().map_or(now, |due| due.at);
            let passed_over = match more {
                true => PassedOver { count: None, first: since, last },
                false => PassedOver { count: Some(missed), first: first.at, last },
            };
            Due { asks: Vec::new(), passed_over: Some(passed_over), until: last }
        }
        CatchUp::Last => {
            let together = schedule.together(since, now, last.at);
            Due { asks: ask(&together, history, Some(policies.overlap)), passed_over: None, until: last.at }
        }
        CatchUp::All => Due {
            // Each of them is wanted: they wait for one another.
            asks: ask(first, history, None),
            passed_over: more.then_some(PassedOver { count: None, first: since, last: first.at }),
            until: first.at,
        },
    }
}

/// Asks for an occurrence, unless the log has it.
fn ask(due: &Occurrence, history: &History, overlap: Option<Overlap>) -> Vec<Ask> {
    let under_way = history.active().filter(|run| !run.is_remains()).map(|run| run.id);
    let requests = due.requests().into_iter().filter(|(run, _)| !history.knows(*run));
    let skipped = |request: &Request| match overlap? {
        Overlap::Skip => under_way.map(|run| format!("overlap: run {run} was under way")),
        Overlap::Queue => {
            let waits = history.waiting_like(request)?;
            Some(format!("overlap: run {waits} of the same objects still waited"))
        }
    };
    requests.map(|(run, request)| Ask { run, skipped: skipped(&request), request }).collect()
}

/// Reads a time as people write it: `now`, `02:30`, `2026-03-29`, `2026-03-29T02:30`, or RFC 3339. What names no offset is
/// local time of this zone; a time of the day is the next one from now on.
///
/// # Errors
/// What to write.
pub fn read_time(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    let text = text.trim();
    if text == "now" {
        return Ok(now);
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    // jiff reads a time of the day in many a text: the shape decides.
    let is_time = text.len() <= 8 && text.contains(':');
    let local = if is_time {
        text.parse::<Time>().ok().and_then(|time| {
            let today = zone.to_datetime(now).date();
            let later = |date: Date| once(date.to_datetime(time), zone).filter(|at| *at >= now);
            later(today).or_else(|| later(today.tomorrow().ok()?))
        })
    } else {
        text.parse::<DateTime>().ok().and_then(|local| once(local, zone))
    };
    local.ok_or_else(|| {
        format!("{text:?} is no time: write now, 02:30, 2026-03-29T02:30 or 2026-03-29T02:30:00+01:00")
    })
}

/// A zone by its name, `UTC` or `Europe/Paris`.
///
/// # Errors
/// That there is none such, and which one may be meant.
pub fn read_zone(name: &str) -> Result<TimeZone, String> {
    let name = name.trim();
    let found = if name.is_empty() { None } else { TimeZone::get(name).ok() };
    found.filter(|zone| zone.iana_name().is_some() && !zone.is_unknown()).ok_or_else(|| {
        let db = jiff::tz::db();
        let names: Vec<String> = db.available().map(|name| name.to_string()).collect();
        // What somebody wants is a city more often than a region.
        let city = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
        let like = city(name).replace(' ', "_");
        let near = super::selector::nearest(&like, names.iter().map(|name| city(name)));
        let meant: Vec<&str> = names
            .iter()
            .filter(|name| near.as_ref().is_some_and(|near| city(name) == *near))
            .map(String::as_str)
            .take(3)
            .collect();
        if meant.is_empty() {
            format!("there is no time zone {name:?}: write Europe/Paris, America/Montreal or UTC")
        } else {
            format!("there is no time zone {name:?}: did you mean {}?", meant.join(" or "))
        }
    })
}

/// How a zone is called.
pub fn zone_name(zone: &TimeZone) -> String {
    zone.iana_name().map_or_else(|| "the system's".to_owned(), str::to_owned)
}

#[cfg(test)]
mod tests;
