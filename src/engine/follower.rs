//! Keeps a process's [`View`] true to the log: reads both topics, folds, and knows how far it has read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::event::{Body, Event};
use crate::domain::member::Mono;
use crate::log::{From, Log, LogError, Reader, Record};
use crate::telemetry;
use crate::view::View;

/// So many batches are folded at a time: then the caller has its turn, however fast others write.
const BATCHES_AT_A_TIME: usize = 64;

/// What was written and is not there after so long, though everything was read since, is lost.
const LOST_AFTER: Duration = Duration::from_secs(5);

/// Reads the log for one view.
pub struct Follower {
    view: Arc<View>,
    events: Box<dyn Reader>,
    members: Box<dyn Reader>,
    lease: Duration,
    /// Up to where each partition of the events holds what this process wrote, and when it last did.
    written: Vec<u64>,
    wrote_at: Instant,
}

impl Follower {
    /// Opens both topics at their starts.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub async fn open(
        view: Arc<View>,
        events: &dyn Log,
        members: &dyn Log,
        lease: Duration,
    ) -> Result<Follower, LogError> {
        // What goes between the two looks is told by the reader.
        let starts = events.starts().await?;
        let follower = Follower {
            events: events.reader(From::Offsets(starts.clone())).await?,
            members: members.reader(From::Start).await?,
            view,
            lease,
            written: Vec::new(),
            wrote_at: Instant::now(),
        };
        follower.view.update(|known| {
            known.position.clone_from(&starts);
            for (partition, start) in (0..).zip(starts).filter(|(_, start)| *start > 0) {
                known.history.cut(partition, start);
            }
        });
        Ok(follower)
    }

    /// Reads on until both topics were read to the ends that they have now; then the view is ready.
    ///
    /// # Errors
    /// When a log is closed.
    pub async fn read_to_end(&mut self) -> Result<(), LogError> {
        let from = Instant::now();
        let past = |reader: &dyn Reader| reader.caught_up().is_some_and(|instant| instant >= from);
        while !past(&*self.events) || !past(&*self.members) {
            self.wait(Duration::from_millis(50)).await?;
            self.drain().await?;
        }
        self.view.update(|known| known.ready = true);
        Ok(())
    }

    /// Folds what is there, without waiting.
    ///
    /// # Errors
    /// When a log is closed.
    pub async fn drain(&mut self) -> Result<(), LogError> {
        for _ in 0..BATCHES_AT_A_TIME {
            let records = self.events.next(Duration::ZERO).await;
            if self.fold(records)? == 0 {
                break;
            }
        }
        for _ in 0..BATCHES_AT_A_TIME {
            let records = self.members.next(Duration::ZERO).await;
            if self.fold_members(records)? == 0 {
                break;
            }
        }
        self.view.hearing.note(self.events.caught_up().min(self.members.caught_up()));
        telemetry::lag(self.events.lag());
        Ok(())
    }

    /// Waits for something to fold, at most so long, and folds it. May be dropped at any await.
    ///
    /// # Errors
    /// When a log is closed.
    pub async fn wait(&mut self, most: Duration) -> Result<(), LogError> {
        tokio::select! {
            records = self.events.next(most) => drop(self.fold(records)?),
            records = self.members.next(most) => drop(self.fold_members(records)?),
        }
        Ok(())
    }

    /// How far the events have been read.
    pub fn position(&self) -> &[u64] {
        self.events.position()
    }

    /// Notes that this process wrote events up to these ends.
    pub fn wrote(&mut self, ends: &[u64]) {
        self.wrote_at = Instant::now();
        self.written.resize(self.written.len().max(ends.len()), 0);
        for (written, end) in self.written.iter_mut().zip(ends) {
            *written = (*written).max(*end);
        }
    }

    /// Whether everything that this process wrote is read.
    pub fn is_past_written(&self) -> bool {
        let position = self.events.position();
        position.iter().zip(&self.written).all(|(position, written)| position >= written)
            // A log that lost records, at a change of brokers, will never reach that end again.
            || self.events.caught_up().is_some_and(|caught_up| caught_up > self.wrote_at + LOST_AFTER)
    }

    /// How far the members have been read.
    pub fn members_position(&self) -> &[u64] {
        self.members.position()
    }

    /// When everything that is folded now had certainly been in the events; none: not yet.
    pub fn caught_up(&self) -> Option<Mono> {
        self.events.caught_up().map(|instant| self.view.mono(instant))
    }

    /// The same for the members. Their silence is measured by it: what could not be read is no silence.
    pub fn heard_members(&self) -> Option<Mono> {
        self.members.caught_up().map(|instant| self.view.mono(instant))
    }

    /// Folds; returns how many records it was given. What is gone from the log is noted, and counts as one.
    fn fold(&mut self, records: Result<Vec<Arc<Record>>, LogError>) -> Result<usize, LogError> {
        match records {
            Ok(records) => {
                self.view.fold_events(&records);
                if self.view.read(|known| known.leading.is_some()) {
                    observe(&self.view, &records);
                }
                Ok(records.len())
            }
            Err(LogError::Truncated { partition, wanted, start }) => {
                tracing::warn!(
                    partition,
                    wanted,
                    start,
                    "events are gone from the log: reading goes on at its start"
                );
                self.view.cut(partition, start);
                Ok(1)
            }
            Err(other) => Err(other),
        }
    }

    fn fold_members(&mut self, records: Result<Vec<Arc<Record>>, LogError>) -> Result<usize, LogError> {
        let records = match records {
            // Heartbeats come again; nothing is lost with old ones.
            Err(LogError::Truncated { .. }) => return Ok(1),
            records => records?,
        };
        self.view.fold_members(&records, self.members.caught_up(), self.lease);
        Ok(records.len())
    }
}

/// Measures what these records tell of objects that are done. Only the leader's process does, so each counts once.
fn observe(view: &View, records: &[Arc<Record>]) {
    view.read(|known| {
        for record in records {
            let Ok(Event { run: Some(run), body: Body::ObjectLoaded(answer), .. }) = record.event() else {
                continue;
            };
            let Some(board) = known.history.run(*run).and_then(|run| run.board()) else { continue };
            let Some(i) = board.position(answer.object) else { continue };
            let offered = board.attempts(i).last().and_then(|last| last.offer).map(|offer| offer.at);
            let waited =
                answer.meta.started_at.zip(offered).map(|(start, offer)| start.duration_since(offer));
            telemetry::object_done(
                board.object(i).stage,
                waited.and_then(|waited| Duration::try_from(waited).ok()).unwrap_or_default(),
                Duration::try_from_secs_f64(answer.meta.duration_seconds.unwrap_or(0.0)).unwrap_or_default(),
            );
        }
    });
}
