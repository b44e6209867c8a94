//! The schedule of a catalogue's file, for everyone in a process: read anew when the file is another one.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::catalog_file;
use crate::domain::catalog::Catalog;
use crate::domain::problem::Problems;
use crate::domain::schedule::{Policies, Schedule, zone_name};

/// How often the file is looked at: its metadata, and what is in it only where they are others.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// When what is due, by the catalogue as it was when it was good last.
#[derive(Debug)]
pub struct Timetable {
    file: PathBuf,
    zone: TimeZone,
    /// What becomes of overlaps and of missed instants.
    pub policies: Policies,
    /// The file that was read last.
    seen: Mutex<Option<Seen>>,
    known: RwLock<Known>,
}

/// What tells one state of a file from another: when it was written, how long it is, which file it is.
type Seen = (i64, i64, u64, u64);

/// What is known of the file.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Of the last good state of it; none where there was none so far.
    pub schedule: Option<Arc<Schedule>>,
    /// What is wrong with it now.
    pub problems: Option<Arc<Problems>>,
}

impl Timetable {
    /// Of this file's catalogue, in this zone.
    pub fn new(file: PathBuf, zone: TimeZone, policies: Policies) -> Timetable {
        Timetable { file, zone, policies, seen: Mutex::default(), known: RwLock::default() }
    }

    /// The zone that the expressions mean.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// What is known now, without a look at the file.
    pub fn known(&self) -> Known {
        self.known.read().clone()
    }

    /// Keeps up with the file until `shutdown`.
    ///
    /// # Errors
    /// When the process is ending.
    pub async fn follow(self: Arc<Self>, mut shutdown: watch::Receiver<bool>) -> anyhow::Result<()> {
        loop {
            let timetable = self.clone();
            tokio::task::spawn_blocking(move || timetable.look()).await?;
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = shutdown.wait_for(|over| *over) => return Ok(()),
            }
        }
    }

    /// Looks at the file, and reads it where it is another one.
    fn look(&self) {
        // Before it is read: what is written meanwhile is seen at the next look.
        let about = fs::metadata(&self.file).ok();
        let seen = about.map(|about| (about.mtime(), about.mtime_nsec(), about.size(), about.ino()));
        if self.known.read().is_something() && *self.seen.lock() == seen {
            return;
        }
        *self.seen.lock() = seen;
        let file = self.file.display().to_string();
        let catalog = catalog_file::read(&self.file).and_then(|bytes| Catalog::parse(&file, bytes));
        match catalog {
            Ok(catalog) => {
                let schedule = Schedule::of(&catalog, self.zone.clone());
                say(&schedule);
                *self.known.write() = Known { schedule: Some(Arc::new(schedule)), problems: None };
            }
            Err(problems) => {
                let mut known = self.known.write();
                let goes_on = if known.schedule.is_some() {
                    "the schedule of before goes on"
                } else {
                    "nothing is scheduled"
                };
                tracing::error!("{problems}; {goes_on}");
                known.problems = Some(Arc::new(problems));
            }
        }
    }
}

impl Known {
    fn is_something(&self) -> bool {
        self.schedule.is_some() || self.problems.is_some()
    }
}

fn say(schedule: &Schedule) {
    if let Some(warning) = schedule.warning() {
        tracing::warn!("{warning}");
    }
    let (scheduled, finals, zone) = (schedule.scheduled(), schedule.finals(), zone_name(schedule.zone()));
    match schedule.after(Timestamp::now()).next() {
        None => tracing::warn!(
            "schedule: none of {finals} final objects has a Fréquence, so nothing starts by itself"
        ),
        Some(next) => {
            let local =
                next.at.to_zoned_datetime(schedule.zone().clone()).strftime("%Y-%m-%d %H:%M%:z").to_string();
            tracing::info!("schedule: {scheduled} of {finals} final objects, the next at {local} ({zone})");
        }
    }
}
