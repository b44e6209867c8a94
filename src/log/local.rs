//! The embedded log: one partition, on disk or in memory.
//!
//! One thread writes. It takes everything that waits to be appended, writes it in one transaction with one fsync, shows it
//! to the readers, and only then tells the appenders: nothing is seen that a crash could take back. Readers that follow the
//! end are served from memory, those behind it from the file.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task;

use super::{From, Log, LogError, NewRecord, Reader, Record};
use store::{Bounds, Hold, Opener, READ_BYTES, READ_RECORDS, Store};

mod blob;
mod store;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

/// So many appends may wait for the writer; more wait at the door.
const WAITING: usize = 1024;
/// One transaction takes no further append once it has so many bytes.
const TRANSACTION_BYTES: usize = 8 << 20;
/// What is kept in memory for the readers that follow the end.
const TAIL: Most = Most { records: 65_536, bytes: 32 << 20 };

/// A bound on records held in memory.
#[derive(Clone, Copy)]
struct Most {
    records: usize,
    bytes: usize,
}

/// The embedded log. Dropping it does what [`LocalLog::close`] does, and waits for it.
pub struct LocalLog {
    id: String,
    store: Arc<Store>,
    state: watch::Receiver<State>,
    /// None only while it is dropped.
    commands: Option<mpsc::Sender<Command>>,
    writer: Option<JoinHandle<()>>,
}

/// What the writer is asked to do.
enum Command {
    Append { records: Vec<NewRecord>, done: oneshot::Sender<Result<u64, LogError>> },
    Trim { before: u64, done: oneshot::Sender<Result<u64, LogError>> },
    Close,
}

/// What readers see. Only the writer changes it, and only to what is durable.
struct State {
    start: u64,
    end: u64,
    closed: bool,
    /// The last records, up to the end.
    tail: VecDeque<Arc<Record>>,
    tail_bytes: usize,
    tail_most: Most,
}

impl LocalLog {
    /// Opens the log in the directory `dir`, made if absent. Blocks: after a crash all of the log is read and checked.
    ///
    /// # Errors
    /// When another process has it, or the directory or what is in it cannot be used; the text says what to do.
    pub fn open(dir: &Path) -> Result<LocalLog, LogError> {
        let hold = Hold::take(dir)?;
        let place = dir.join("events.redb").display().to_string();
        LocalLog::start(place, store::in_dir(dir), Some(hold), TAIL)
    }

    /// A log that is gone with its process.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn memory() -> Result<LocalLog, LogError> {
        LocalLog::start("the log in memory".into(), store::in_memory(), None, TAIL)
    }

    fn start(
        place: String,
        mut opener: Opener,
        hold: Option<Hold>,
        tail_most: Most,
    ) -> Result<LocalLog, LogError> {
        let (store, id, bounds) = Store::open(place, &mut opener)?;
        let store = Arc::new(store);
        let Bounds { start, end, last_us } = bounds;
        let state = State { start, end, closed: false, tail: VecDeque::new(), tail_bytes: 0, tail_most };
        let (state, seen) = watch::channel(state);
        let (commands, waiting) = mpsc::channel(WAITING);
        let writer = Writer { id: id.clone(), store: store.clone(), opener, state, last_us, hold };
        let writer = std::thread::Builder::new()
            .name("korch-log".into())
            .spawn(move || writer.run(waiting))
            .map_err(|error| LogError::Unavailable(format!("no thread to write the log: {error}")))?;
        Ok(LocalLog { id, store, state: seen, commands: Some(commands), writer: Some(writer) })
    }

    /// Drops what stands wholly below `before`, in whole blobs; the offset at which the log then starts.
    /// The room is used again for what is appended; the file does not shrink.
    ///
    /// # Errors
    /// When the log is closed or its storage failed.
    pub async fn trim(&self, before: u64) -> Result<u64, LogError> {
        let (done, answer) = oneshot::channel();
        self.command(Command::Trim { before, done }).await?;
        answer.await.map_err(|_| LogError::Closed)?
    }

    /// Finishes what waits to be appended, then ends the log: its directory is free, and every reader and appender gets
    /// [`LogError::Closed`]. Closing again does nothing.
    pub async fn close(&self) {
        // An error says that the writer ends already.
        let _ = self.command(Command::Close).await;
        let _ = self.state.clone().wait_for(|state| state.closed).await;
    }

    async fn command(&self, command: Command) -> Result<(), LogError> {
        let commands = self.commands.as_ref().ok_or(LogError::Closed)?;
        commands.send(command).await.map_err(|_| LogError::Closed)
    }

    fn open_state(&self) -> Result<watch::Ref<'_, State>, LogError> {
        let state = self.state.borrow();
        if state.closed { Err(LogError::Closed) } else { Ok(state) }
    }
}

impl Drop for LocalLog {
    fn drop(&mut self) {
        // Without a sender the writer finishes and ends.
        self.commands = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

#[async_trait]
impl Log for LocalLog {
    fn id(&self) -> &str {
        &self.id
    }

    fn partitions(&self) -> u32 {
        1
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<u64>, LogError> {
        let sizes = records.iter().map(|record| record.key.len() + record.value.len());
        if let Some(bytes) = sizes.max().filter(|bytes| *bytes > blob::MAX_RECORD_BYTES) {
            return Err(LogError::TooLarge { bytes, most: blob::MAX_RECORD_BYTES });
        }
        let (done, answer) = oneshot::channel();
        self.command(Command::Append { records, done }).await?;
        Ok(vec![answer.await.map_err(|_| LogError::Closed)??])
    }

    async fn ends(&self) -> Result<Vec<u64>, LogError> {
        Ok(vec![self.open_state()?.end])
    }

    async fn starts(&self) -> Result<Vec<u64>, LogError> {
        Ok(vec![self.open_state()?.start])
    }

    async fn truncate(&self, before: &[u64]) -> Result<(), LogError> {
        self.trim(before.first().copied().unwrap_or(0)).await.map(drop)
    }

    async fn reader(&self, from: From) -> Result<Box<dyn Reader>, LogError> {
        let position = {
            let state = self.open_state()?;
            match from {
                From::Start => state.start,
                From::End => state.end,
                From::Offsets(offsets) => match offsets[..] {
                    [offset] => offset,
                    _ => {
                        return Err(LogError::Unavailable(format!(
                            "offsets of {} partitions were given, the embedded log has 1",
                            offsets.len()
                        )));
                    }
                },
            }
        };
        Ok(Box::new(LocalReader {
            store: self.store.clone(),
            state: self.state.clone(),
            position: [position],
            fetching: None,
            caught_up: None,
        }))
    }
}

/// The one that writes, on a thread of its own.
struct Writer {
    id: String,
    store: Arc<Store>,
    opener: Opener,
    state: watch::Sender<State>,
    /// No record has a later timestamp.
    last_us: i64,
    /// Let go last, once the file is closed.
    hold: Option<Hold>,
}

impl Writer {
    fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        while let Some(command) = commands.blocking_recv() {
            let mut next = Some(command);
            let (mut records, mut bytes, mut appenders) = (Vec::new(), 0, Vec::new());
            while let Some(Command::Append { records: more, done }) = next {
                bytes +=
                    more.iter().map(|record| blob::encoded_bytes(&record.key, &record.value)).sum::<usize>();
                records.extend(more);
                appenders.push(done);
                next = if bytes < TRANSACTION_BYTES { commands.try_recv().ok() } else { None };
            }
            if !appenders.is_empty() {
                let written = self.append(records);
                for done in appenders {
                    // Whoever no longer waits for the answer wanted it done all the same.
                    let _ = done.send(written.as_ref().copied().map_err(again));
                }
            }
            match next {
                Some(Command::Trim { before, done }) => {
                    let _ = done.send(self.trim(before));
                }
                // What waits already is still taken.
                Some(Command::Close) => commands.close(),
                Some(Command::Append { .. }) | None => {}
            }
        }
        self.store.close();
        self.hold = None;
        self.state.send_modify(|state| {
            state.closed = true;
            state.tail = VecDeque::new();
        });
    }

    /// Returns the offset after the last record.
    fn append(&mut self, new: Vec<NewRecord>) -> Result<u64, LogError> {
        if !self.store.is_open() {
            self.recover()?;
        }
        let end = self.state.borrow().end;
        if new.is_empty() {
            return Ok(end);
        }
        let now_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
        let now_us = i64::try_from(now_us).unwrap_or(i64::MAX).max(self.last_us);
        let records: Vec<Arc<Record>> = (end..)
            .zip(new)
            .map(|(offset, new)| Arc::new(Record::new(0, offset, now_us, new.key, new.value)))
            .collect();
        self.store.append(&records).inspect_err(|error| self.failed(error))?;
        self.last_us = now_us;
        let end = end + records.len() as u64;
        self.state.send_modify(|state| state.push(records));
        Ok(end)
    }

    fn trim(&mut self, before: u64) -> Result<u64, LogError> {
        if !self.store.is_open() {
            self.recover()?;
        }
        let (start, end) = {
            let state = self.state.borrow();
            (state.start, state.end)
        };
        let mut bounds = Bounds { start, end, last_us: self.last_us };
        bounds.start = self.store.start_after_trim(before, bounds)?.max(start);
        if bounds.start > start {
            // Told first: a reader that no longer finds a record then knows why.
            self.state.send_modify(|state| state.start_at(bounds.start));
            self.store.trim(bounds).inspect_err(|error| self.failed(error))?;
        }
        Ok(bounds.start)
    }

    /// After a failed write: opens the file again, for redb does nothing more before that.
    fn failed(&mut self, error: &LogError) {
        tracing::error!(%error, "the log could not be written");
        if let Err(error) = self.recover() {
            tracing::error!(%error, "the log could not be opened again: the next append tries once more");
        }
    }

    /// Opens the file again and shows what it holds: a write that failed may have reached it, as a whole or not at all.
    fn recover(&mut self) -> Result<(), LogError> {
        let (id, bounds) = self.store.reopen(&mut self.opener)?;
        let mut found = Vec::new();
        let mut next = self.state.borrow().end;
        if id != self.id || bounds.end < next {
            self.store.close();
            return Err(LogError::Unavailable(format!(
                "{} is no longer the log that was opened: it was replaced, or lost records",
                self.store.place()
            )));
        }
        while next < bounds.end {
            let records = self.store.read(next, bounds.end).inspect_err(|_| self.store.close())?;
            next += records.len() as u64;
            found.extend(records);
        }
        self.last_us = self.last_us.max(bounds.last_us);
        self.state.send_modify(|state| {
            state.start = bounds.start;
            state.push(found);
        });
        Ok(())
    }
}

/// One error, told to every appender of a transaction.
fn again(error: &LogError) -> LogError {
    match error {
        LogError::Closed => LogError::Closed,
        other => LogError::Unavailable(other.to_string()),
    }
}

impl State {
    /// Takes `records`, which continue the log, and lets go of the oldest ones that no longer fit.
    fn push(&mut self, records: Vec<Arc<Record>>) {
        self.end += records.len() as u64;
        self.tail_bytes += records.iter().map(|record| held_bytes(record)).sum::<usize>();
        self.tail.extend(records);
        while self.tail.len() > self.tail_most.records || self.tail_bytes > self.tail_most.bytes {
            self.let_go_of_oldest();
        }
    }

    fn start_at(&mut self, start: u64) {
        self.start = start;
        while self.tail.front().is_some_and(|record| record.offset < start) {
            self.let_go_of_oldest();
        }
    }

    fn let_go_of_oldest(&mut self) {
        if let Some(record) = self.tail.pop_front() {
            self.tail_bytes -= held_bytes(&record);
        }
    }

    /// The records from `offset` on, as many as one read answers; none if the first is not in the tail.
    fn in_tail(&self, offset: u64) -> Vec<Arc<Record>> {
        let first = self.end - self.tail.len() as u64;
        let Some(skipped) = offset.checked_sub(first).and_then(|skipped| usize::try_from(skipped).ok())
        else {
            return Vec::new();
        };
        let mut bytes = 0;
        let records = self.tail.iter().skip(skipped).take(READ_RECORDS).take_while(|record| {
            bytes += record.key.len() + record.value.len();
            bytes <= READ_BYTES
        });
        records.cloned().collect()
    }
}

/// The memory that a record in the tail takes, in bytes, about.
fn held_bytes(record: &Record) -> usize {
    size_of::<Record>() + record.key.len() + record.value.len()
}

struct LocalReader {
    store: Arc<Store>,
    state: watch::Receiver<State>,
    position: [u64; 1],
    /// A read of the file at the position. It outlives a `next` that is dropped: the one after it finds it further on.
    fetching: Option<task::JoinHandle<Result<Vec<Arc<Record>>, LogError>>>,
    /// When the end was last seen at the position.
    caught_up: Option<Instant>,
}

/// What a reader finds at its position.
enum Found {
    Nothing,
    Records(Vec<Arc<Record>>),
    /// In the file, not in the tail. The log ends at `end`.
    InFile {
        end: u64,
    },
}

impl LocalReader {
    /// What is there, without waiting.
    fn look(&mut self) -> Result<Found, LogError> {
        let position = self.position[0];
        let now = Instant::now();
        let state = self.state.borrow();
        if state.closed {
            return Err(LogError::Closed);
        }
        if position < state.start {
            self.position = [state.start];
            self.fetching = None;
            return Err(LogError::Truncated { partition: 0, wanted: position, start: state.start });
        }
        if position >= state.end {
            self.caught_up = Some(now);
            return Ok(Found::Nothing);
        }
        let records = state.in_tail(position);
        Ok(if records.is_empty() { Found::InFile { end: state.end } } else { Found::Records(records) })
    }
}

impl LocalReader {
    /// Moves on past `records`.
    fn step(&mut self, records: Vec<Arc<Record>>) -> Vec<Arc<Record>> {
        if let Some(last) = records.last() {
            self.position = [last.offset + 1];
        }
        records
    }
}

#[async_trait]
impl Reader for LocalReader {
    async fn next(&mut self, wait: Duration) -> Result<Vec<Arc<Record>>, LogError> {
        // A reader that always finds something is not to keep its thread from others.
        task::consume_budget().await;
        let mut found = self.look()?;
        // A timer of no time would still wait for the clock's next tick.
        if matches!(found, Found::Nothing) && !wait.is_zero() {
            let position = self.position[0];
            let more =
                self.state.wait_for(|state| state.closed || state.end > position || state.start > position);
            match tokio::time::timeout(wait, more).await.map(|more| more.is_ok()) {
                Err(_elapsed) => {
                    return match self.look()? {
                        Found::Records(records) => Ok(self.step(records)),
                        // What came this instant is read the next time.
                        Found::Nothing | Found::InFile { .. } => Ok(Vec::new()),
                    };
                }
                // The writer ended without a word: it panicked.
                Ok(false) => return Err(LogError::Closed),
                Ok(true) => found = self.look()?,
            }
        }
        let records = match found {
            Found::Nothing => return Ok(Vec::new()),
            Found::Records(records) => records,
            Found::InFile { end } => {
                let (store, position) = (self.store.clone(), self.position[0]);
                let fetching = self
                    .fetching
                    .get_or_insert_with(|| task::spawn_blocking(move || store.read(position, end)));
                let fetched = fetching.await;
                self.fetching = None;
                match fetched {
                    Ok(Ok(records)) => records,
                    // Trimmed meanwhile, perhaps, or closed: that is then what there is to tell.
                    Ok(Err(error)) => return self.look().and(Err(error)),
                    // The runtime ends.
                    Err(_) => return Err(LogError::Closed),
                }
            }
        };
        Ok(self.step(records))
    }

    fn position(&self) -> &[u64] {
        &self.position
    }

    fn caught_up(&self) -> Option<Instant> {
        self.caught_up
    }

    fn lag(&self) -> u64 {
        self.state.borrow().end.saturating_sub(self.position[0])
    }
}
