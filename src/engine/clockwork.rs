//! Which runs of the schedule are to be asked for now, while this orchestrator leads.

use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::event::Epoch;
use crate::domain::history::History;
use crate::domain::schedule::{self, Ask, Due, Schedule};
use crate::timetable::Timetable;

/// Looks at the clock. What is decided is pure code's to say: [`schedule::due`].
pub struct Clockwork {
    timetable: Arc<Timetable>,
    /// When this process began.
    began: Timestamp,
    /// How far it has looked while it led.
    looked: Option<Timestamp>,
    /// The reign in which it looks.
    reign: Option<Epoch>,
    /// The next occurrence, by which schedule.
    next: Option<(Arc<Schedule>, Option<Timestamp>)>,
    /// How far the look went of which the runs are being asked for.
    asked: Option<Timestamp>,
}

impl Clockwork {
    /// By this timetable, in a process that begins now.
    pub fn new(timetable: Arc<Timetable>, began: Timestamp) -> Clockwork {
        Clockwork { timetable, began, looked: None, reign: None, next: None, asked: None }
    }

    /// What is to be asked for. It is, once [`Clockwork::asked`] is told so; before that it stays due.
    pub fn due(&mut self, epoch: Epoch, now: Timestamp, history: &History) -> Vec<Ask> {
        let Some(schedule) = self.timetable.known().schedule else { return Vec::new() };
        if self.reign != Some(epoch) {
            // Another one may have led since.
            self.looked = Some(schedule::since(self.began, self.looked, history));
            self.reign = Some(epoch);
            self.next = None;
        }
        let since = self.looked.unwrap_or(self.began);
        if self.is_early(&schedule, since, now) {
            self.looked = Some(now);
            return Vec::new();
        }
        let Due { asks, passed_over, until } =
            schedule::due(&schedule, since, now, history, self.timetable.policies);
        if let Some(passed_over) = passed_over {
            tracing::warn!("schedule: {passed_over}");
        }
        for ask in &asks {
            let due = ask.request.scheduled_for.map(|at| at.to_string()).unwrap_or_default();
            if let Some(why) = &ask.skipped {
                tracing::warn!(run_id = %ask.run, "schedule: what is due at {due} does not run: {why}");
            } else {
                tracing::info!(run_id = %ask.run, "schedule: due at {due}");
            }
        }
        if asks.is_empty() {
            self.looked = Some(until);
            let next = schedule.after(until).next().map(|due| due.at);
            self.next = Some((schedule, next));
        } else {
            self.asked = Some(until);
            self.next = None;
        }
        asks
    }

    /// Whether it is known that nothing is due yet.
    fn is_early(&self, schedule: &Arc<Schedule>, since: Timestamp, now: Timestamp) -> bool {
        let Some((of, next)) = &self.next else { return false };
        Arc::ptr_eq(of, schedule) && since <= now && next.is_none_or(|next| now < next)
    }

    /// What was to be asked for is in the log.
    pub fn asked(&mut self) {
        self.looked = self.asked.take().or(self.looked);
    }
}
