//! `GET /live`: a run as it goes, for any number of viewers.
//!
//! One task looks at the view a few times a second while somebody looks on, and writes what changed once; all viewers are
//! sent the same bytes. A viewer is a place in that sequence: one that stops reading costs what its connection holds, and
//! when it comes back too late it is sent the whole anew.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use jiff::Timestamp;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::views::{self, WorkersView};
use crate::domain::event::RunId;
use crate::view::View;

mod encode;
mod feed;
mod viewer;

use encode::{Encoder, frame};
use feed::{Feed, Line, Place};
pub(super) use viewer::{__path_live, live};

/// What changed is told so often.
const PACE: Duration = Duration::from_millis(200);
/// The list of runs and the workers are looked at so often.
const SLOW_PACE: Duration = Duration::from_secs(1);
/// They are told at least so often: how long a worker is silent, and how long a run goes on, changes by itself.
const AGAIN: Duration = Duration::from_secs(5);
/// So many runs are in the list of runs.
const LISTED_RUNS: usize = 100;

/// What all viewers see.
pub(super) struct Live {
    view: Arc<View>,
    shutdown: watch::Receiver<bool>,
    /// Tells this process's places from those of its other lives.
    nonce: String,
    told: Mutex<Told>,
    /// Held while something is looked at and told, so that nothing older is told after it.
    encoders: Mutex<FxHashMap<RunId, Encoder>>,
    version: watch::Sender<u64>,
    came: Notify,
}

/// What was told last, and the last changes.
#[derive(Default)]
struct Told {
    viewers: usize,
    is_running: bool,
    latest: Option<RunId>,
    runs: Line,
    workers: Line,
    /// What the list of runs and the workers were, but for what changes by itself, and when both were told.
    site: Option<(u64, Instant)>,
    feeds: FxHashMap<RunId, Feed>,
}

impl Live {
    pub(super) fn new(view: Arc<View>, shutdown: watch::Receiver<bool>) -> Arc<Live> {
        Arc::new(Live {
            view,
            shutdown,
            nonce: Uuid::now_v7().simple().to_string(),
            told: Mutex::default(),
            encoders: Mutex::default(),
            version: watch::Sender::new(0),
            came: Notify::new(),
        })
    }

    /// A viewer comes. Whether it is the only one is returned.
    fn join(self: &Arc<Live>) -> bool {
        let mut told = self.told.lock();
        told.viewers += 1;
        if !std::mem::replace(&mut told.is_running, true) {
            tokio::spawn(self.clone().run());
        }
        self.came.notify_one();
        told.viewers == 1
    }

    fn leave(&self, run: Option<RunId>) {
        let mut told = self.told.lock();
        told.viewers -= 1;
        told.turn_away(run);
    }

    /// Tells what changed, again and again, while somebody looks on.
    async fn run(self: Arc<Live>) {
        let mut shutdown = self.shutdown.clone();
        let mut changes = self.view.changes();
        let mut slow = Instant::now();
        loop {
            if self.told.lock().viewers == 0 {
                tokio::select! {
                    () = self.came.notified() => {}
                    _ = shutdown.wait_for(|over| *over) => return,
                }
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = tokio::time::sleep_until((slow + SLOW_PACE).into()) => {}
                _ = shutdown.wait_for(|over| *over) => return,
            }
            let began = Instant::now();
            let is_slow = slow.elapsed() >= SLOW_PACE;
            if is_slow {
                slow = began;
            }
            self.tell(is_slow).await;
            tokio::time::sleep_until((began + PACE).into()).await;
        }
    }

    /// Looks once, and tells what is new.
    async fn tell(self: &Arc<Live>, site_too: bool) {
        let live = self.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || live.look(site_too)).await {
            tracing::error!("what viewers see cannot be written down: {error}");
        }
    }

    fn look(&self, site_too: bool) {
        let mut encoders = self.encoders.lock();
        let watched: Vec<RunId> = {
            let mut told = self.told.lock();
            told.feeds.retain(|_, feed| feed.viewers > 0);
            told.feeds.keys().copied().collect()
        };
        encoders.retain(|run, _| watched.contains(run));
        let mut is_new = false;
        for run in watched {
            is_new |= self.tell_run(&mut encoders, run);
        }
        let latest = self.view.read(|known| known.history.latest());
        is_new |= std::mem::replace(&mut self.told.lock().latest, latest) != latest;
        if site_too {
            is_new |= self.tell_site();
        }
        if is_new {
            self.version.send_modify(|version| *version += 1);
        }
    }

    /// Tells what is new of one run.
    fn tell_run(&self, encoders: &mut FxHashMap<RunId, Encoder>, run: RunId) -> bool {
        let Some(news) = encoders.entry(run).or_default().look(&self.view, run) else { return false };
        let mut told = self.told.lock();
        let Some(feed) = told.feeds.get_mut(&run) else { return false };
        let mut is_new = feed.line.tell(news.line);
        if news.anew {
            feed.begin_anew();
            is_new = true;
        }
        if let Some(changes) = news.changes {
            let end = feed.end();
            let id = self.id(run, Place { next: end.next + 1, ..end });
            feed.push(frame("stories", Some(&id), &changes));
            is_new = true;
        }
        is_new
    }

    /// Tells the list of runs and the workers.
    fn tell_site(&self) -> bool {
        let now = self.view.now();
        let (runs, workers) = self.view.read(|known| {
            let runs = views::runs(&known.history, LISTED_RUNS, Timestamp::now());
            (runs, WorkersView::of(&known.members, known.history.active(), now))
        });
        let signature = views::signature(&runs, &workers);
        let mut told = self.told.lock();
        if told.site.is_some_and(|(known, at)| known == signature && at.elapsed() < AGAIN) {
            return false;
        }
        told.site = Some((signature, Instant::now()));
        let runs = told.runs.tell(frame("runs", None, &encode::json(&views::RunsView { runs })));
        let workers = told.workers.tell(frame("workers", None, &encode::json(&workers)));
        runs || workers
    }

    /// Everything of a run, for one who comes or is too far behind, and where that leaves it. None: it has no plan.
    fn whole(&self, run: RunId) -> (Place, Option<Bytes>) {
        let mut encoders = self.encoders.lock();
        if let Some((place, whole)) = self.told.lock().feeds.get(&run).and_then(Feed::kept) {
            return (place, Some(whole));
        }
        self.tell_run(&mut encoders, run);
        let whole = encoders.get_mut(&run).and_then(|encoder| encoder.whole(&self.view, run));
        let mut told = self.told.lock();
        let feed = told.feeds.entry(run).or_default();
        let place = feed.end();
        let whole = whole.map(|whole| frame("stories", Some(&self.id(run, place)), &whole));
        if let Some(whole) = &whole {
            feed.keep(whole.clone());
        }
        (place, whole)
    }

    /// The id of a message: where it leaves a viewer.
    fn id(&self, run: RunId, place: Place) -> String {
        format!("{}.{run}.{}.{}", self.nonce, place.generation, place.next)
    }

    /// Where an id leads to, if it is of this process and of this run.
    fn place_of(&self, id: &str, run: RunId) -> Option<Place> {
        let rest = id.strip_prefix(&*self.nonce)?.strip_prefix('.')?;
        let (generation, next) = rest.strip_prefix(&run.to_string())?.strip_prefix('.')?.split_once('.')?;
        Some(Place { generation: generation.parse().ok()?, next: next.parse().ok()? })
    }
}

impl Told {
    fn turn_to(&mut self, run: RunId) {
        self.feeds.entry(run).or_default().viewers += 1;
    }

    fn turn_away(&mut self, run: Option<RunId>) {
        if let Some(feed) = run.and_then(|run| self.feeds.get_mut(&run)) {
            feed.viewers = feed.viewers.saturating_sub(1);
        }
    }
}
