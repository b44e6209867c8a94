//! What comes next.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::event::time_text;
use crate::domain::object::ObjectId;
use crate::domain::problem::Problem;
use crate::domain::schedule::{CatchUp, Occurrence, Overlap, Policies, Schedule, zone_name};

/// An instant names so many objects; the rest are counted.
const NAMED: usize = 1000;

/// What is due when.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Schedule)]
pub(in crate::api) struct ScheduleView {
    /// The time zone that the catalogue's `Fréquence` means.
    timezone: String,
    overlap: Overlap,
    catch_up: CatchUp,
    /// How many active final objects there are.
    finals: usize,
    /// How many of them are due at some time.
    scheduled: usize,
    /// How many of them have no `Fréquence`.
    unscheduled: usize,
    /// What is wrong with the `Fréquence` of the others.
    #[schema(value_type = Vec<Problem>)]
    problems: Vec<Problem>,
    /// What is wrong with the catalogue now, in words: then this is the schedule of before.
    stale: Option<String>,
    /// The next instants, in order.
    next: Vec<OccurrenceView>,
}

/// Final objects that are due at the same instant: one run, with all that they need.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Occurrence)]
struct OccurrenceView {
    /// The instant.
    #[schema(format = DateTime)]
    at: String,
    /// The same, as a clock in that zone shows it.
    #[schema(format = DateTime)]
    local: String,
    /// How many final objects are due.
    count: usize,
    /// Whether these are all that there are.
    everything: bool,
    /// The objects, at most a thousand of them.
    objects: Vec<ObjectId>,
}

impl ScheduleView {
    /// What comes after `now`.
    pub(in crate::api) fn of(
        schedule: &Schedule,
        policies: Policies,
        stale: Option<String>,
        now: Timestamp,
        limit: usize,
    ) -> ScheduleView {
        let problems = schedule.problems().map_or(&[][..], |problems| &problems.problems);
        ScheduleView {
            timezone: zone_name(schedule.zone()),
            overlap: policies.overlap,
            catch_up: policies.catch_up,
            finals: schedule.finals(),
            scheduled: schedule.scheduled(),
            unscheduled: schedule.unscheduled(),
            problems: problems.iter().take(NAMED).cloned().collect(),
            stale,
            next: schedule.after(now).take(limit).map(|due| OccurrenceView::of(schedule, &due)).collect(),
        }
    }
}

impl OccurrenceView {
    fn of(schedule: &Schedule, due: &Occurrence) -> OccurrenceView {
        OccurrenceView {
            at: time_text(due.at),
            local: schedule.local(due.at),
            count: due.objects.len(),
            everything: due.everything,
            objects: due.objects.iter().take(NAMED).copied().collect(),
        }
    }
}
