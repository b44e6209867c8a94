//! The embedded log: one partition, on disk or in memory, in redb.
//!
//! One thread writes. It takes everything that waits to be appended, writes it in one transaction with one fsync, shows it
//! to the readers, and only then tells the appenders. Records stand in blobs, each under the offset of its first record:
//! a row a record would cost more than the fsync.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, TableDefinition,
    backends::InMemoryBackend,
};
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use super::{From, Log, LogError, NewRecord, Reader, Record};

/// Blobs of records, by the offset of their first.
const BLOBS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("blobs");
/// What is known of the log itself.
const META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");
/// The layout of this file's tables and blobs.
const FORMAT: &str = "1";

/// A blob is closed once it is this large, in bytes.
const BLOB_BYTES: usize = 1 << 20;
/// One transaction takes at most so many bytes of what waits.
const COMMIT_BYTES: usize = 16 << 20;
/// So many appends may wait for the writer; more wait at the door.
const WAITING_APPENDS: usize = 1024;
/// The records kept at hand for readers that follow the end.
const TAIL_RECORDS: usize = 65_536;
const TAIL_BYTES: usize = 64 << 20;
/// A reader gets at most so much at once.
const BATCH_RECORDS: usize = 4_096;
const BATCH_BYTES: usize = 4 << 20;

/// An append on its way to the writer.
struct Append {
    records: Vec<NewRecord>,
    answer: oneshot::Sender<Result<(), LogError>>,
}

/// The embedded log. Dropping the last handle ends the writer and frees the directory.
pub struct LocalLog {
    shared: Arc<Shared>,
    appends: mpsc::Sender<Append>,
}

struct Shared {
    id: String,
    database: Database,
    tail: Mutex<Tail>,
    /// The end, told to everyone who waits for more.
    end: watch::Sender<u64>,
}

/// The last records, and the bounds of the log.
#[derive(Default)]
struct Tail {
    records: VecDeque<Arc<Record>>,
    bytes: usize,
    start: u64,
    end: u64,
    last_us: i64,
}

impl LocalLog {
    /// Opens the log in `dir`, made if absent.
    ///
    /// # Errors
    /// When another process has it, or the directory or what is in it cannot be used.
    pub fn open(dir: &Path) -> Result<LocalLog, LogError> {
        let unusable = |error: &dyn std::fmt::Display| {
            LogError::Unavailable(format!(
                "the log in {} cannot be used: {error}. Give korch another --data-dir, or --memory to keep nothing",
                dir.display()
            ))
        };
        fs::create_dir_all(dir).map_err(|error| unusable(&error))?;
        let pid_file = dir.join("pid");
        let file = dir.join("events.redb");
        clear_unborn(&file).map_err(|error| unusable(&error))?;
        let database = Database::create(file).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => LogError::Unavailable(in_use(dir, &pid_file)),
            other => unusable(&other),
        })?;
        // Only for the message that another process gets.
        fs::write(&pid_file, std::process::id().to_string()).map_err(|error| unusable(&error))?;
        LocalLog::start(database).map_err(|error| unusable(&error))
    }

    /// A log that is gone with its process.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn memory() -> Result<LocalLog, LogError> {
        let failed =
            |error: &dyn std::fmt::Display| LogError::Unavailable(format!("no log in memory: {error}"));
        let database = Database::builder()
            .create_with_backend(InMemoryBackend::new())
            .map_err(|error| failed(&error))?;
        LocalLog::start(database).map_err(|error| failed(&error))
    }

    fn start(database: Database) -> Result<LocalLog, Box<dyn std::error::Error>> {
        let (id, tail) = prepare(&database)?;
        let end = watch::Sender::new(tail.end);
        let shared = Arc::new(Shared { id, database, tail: Mutex::new(tail), end });
        let (appends, waiting) = mpsc::channel(WAITING_APPENDS);
        let writer = shared.clone();
        std::thread::Builder::new().name("korch-log".into()).spawn(move || write(&writer, waiting))?;
        Ok(LocalLog { shared, appends })
    }

    /// Drops what stands wholly below `before`, in whole blobs: the log then starts at the first blob that is left.
    ///
    /// # Errors
    /// When the storage fails; nothing is dropped then.
    pub fn trim(&self, before: u64) -> Result<(), LogError> {
        let start = trim(&self.shared.database, before).map_err(|error| storage(&*error))?;
        let mut tail = self.shared.tail.lock();
        tail.start = tail.start.max(start);
        while tail.records.front().is_some_and(|record| record.offset < start) {
            if let Some(record) = tail.records.pop_front() {
                tail.bytes -= size(&record);
            }
        }
        Ok(())
    }
}

/// Empties a file that redb did not come to finish making, as redb itself refuses it for ever. It writes its magic number
/// last, so without it nothing can have been written since. Under the file's lock: somebody may be making it just now.
fn clear_unborn(file: &Path) -> io::Result<()> {
    const MAGIC_BYTES: usize = 9;
    let mut file = match fs::OpenOptions::new().read(true).write(true).open(file) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if file.try_lock().is_err() {
        // Whoever has it open knows it.
        return Ok(());
    }
    let mut magic = Vec::with_capacity(MAGIC_BYTES);
    io::Read::by_ref(&mut file).take(MAGIC_BYTES as u64).read_to_end(&mut magic)?;
    if magic.iter().all(|&byte| byte == 0) {
        file.set_len(0)?;
    }
    Ok(())
}

fn in_use(dir: &Path, pid_file: &PathBuf) -> String {
    let process =
        fs::read_to_string(pid_file).map(|pid| format!(" (process {})", pid.trim())).unwrap_or_default();
    format!(
        "{} is in use by another korch{process}: stop it, or give this one a --data-dir of its own",
        dir.display()
    )
}

fn storage(error: &dyn std::fmt::Display) -> LogError {
    LogError::Unavailable(format!("the log's storage failed: {error}"))
}

/// Makes or checks the tables; the log's id and bounds.
fn prepare(database: &Database) -> Result<(String, Tail), Box<dyn std::error::Error>> {
    let transaction = database.begin_write()?;
    let mut tail = Tail::default();
    let id = {
        let mut meta = transaction.open_table(META)?;
        let format = meta.get("format")?.map(|format| format.value().to_owned());
        if let Some(format) = format.filter(|format| format != FORMAT) {
            return Err(format!("it has format {format}, this korch reads format {FORMAT}").into());
        }
        meta.insert("format", FORMAT)?;
        let known = meta.get("id")?.map(|id| id.value().to_owned());
        let id = known.unwrap_or_else(|| Uuid::now_v7().to_string());
        meta.insert("id", id.as_str())?;
        let blobs = transaction.open_table(BLOBS)?;
        if let Some((start, _)) = blobs.first()? {
            tail.start = start.value();
        }
        if let Some((first, blob)) = blobs.last()? {
            let last = decode(first.value(), &Bytes::copy_from_slice(blob.value()))?;
            tail.end = first.value() + last.len() as u64;
            tail.last_us = last.last().map_or(0, |record| record.timestamp_us);
        }
        id
    };
    transaction.commit()?;
    Ok((id, tail))
}

fn trim(database: &Database, before: u64) -> Result<u64, Box<dyn std::error::Error>> {
    let transaction = database.begin_write()?;
    let start = {
        let mut blobs = transaction.open_table(BLOBS)?;
        let keys: Vec<u64> =
            blobs.range(..=before)?.map(|row| row.map(|(key, _)| key.value())).collect::<Result<_, _>>()?;
        // The last of these may reach beyond `before`: it stays.
        let (kept, dropped) = keys.split_last().map_or((0, &[][..]), |(last, rest)| (*last, rest));
        for key in dropped {
            blobs.remove(key)?;
        }
        kept
    };
    transaction.commit()?;
    Ok(start)
}

/// The writer's life: until every handle of the log is gone.
fn write(shared: &Shared, mut waiting: mpsc::Receiver<Append>) {
    while let Some(first) = waiting.blocking_recv() {
        let mut bytes = first.bytes();
        let mut appends = vec![first];
        while bytes < COMMIT_BYTES
            && let Ok(next) = waiting.try_recv()
        {
            bytes += next.bytes();
            appends.push(next);
        }
        let written = commit(shared, &mut appends).map_err(|error| error.to_string());
        for append in appends {
            // An appender that no longer waits has been dropped: what it wanted is done all the same.
            let _ = append.answer.send(written.clone().map_err(|error| storage(&error)));
        }
    }
}

impl Append {
    fn bytes(&self) -> usize {
        self.records.iter().map(|record| record.key.len() + record.value.len() + RECORD_HEAD).sum()
    }
}

/// Writes what waits in one transaction, then shows it to the readers.
fn commit(shared: &Shared, appends: &mut [Append]) -> Result<(), Box<dyn std::error::Error>> {
    let (first, last_us) = {
        let tail = shared.tail.lock();
        (tail.end, tail.last_us)
    };
    let now_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    let now_us = i64::try_from(now_us).unwrap_or(i64::MAX).max(last_us);
    let mut records = Vec::new();
    for record in appends.iter_mut().flat_map(|append| append.records.drain(..)) {
        let offset = first + records.len() as u64;
        records.push(Arc::new(Record::new(0, offset, now_us, record.key, record.value)));
    }
    let mut transaction = shared.database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    {
        let mut table = transaction.open_table(BLOBS)?;
        let mut blob = Vec::new();
        let mut blob_first = first;
        for record in &records {
            encode(record, &mut blob);
            if blob.len() >= BLOB_BYTES {
                table.insert(blob_first, blob.as_slice())?;
                blob.clear();
                blob_first = record.offset + 1;
            }
        }
        if !blob.is_empty() {
            table.insert(blob_first, blob.as_slice())?;
        }
    }
    transaction.commit()?;
    let mut tail = shared.tail.lock();
    tail.last_us = now_us;
    tail.end += records.len() as u64;
    for record in records {
        tail.bytes += size(&record);
        tail.records.push_back(record);
    }
    while tail.records.len() > TAIL_RECORDS || tail.bytes > TAIL_BYTES {
        if let Some(record) = tail.records.pop_front() {
            tail.bytes -= size(&record);
        }
    }
    let end = tail.end;
    drop(tail);
    shared.end.send_replace(end);
    Ok(())
}

fn size(record: &Record) -> usize {
    record.key.len() + record.value.len() + size_of::<Record>()
}

/// A record in a blob: timestamp (8 bytes), length of the key (4), length of the value (4), key, value; little-endian.
const RECORD_HEAD: usize = 16;

fn encode(record: &Record, blob: &mut Vec<u8>) {
    let length = |bytes: &Bytes| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    blob.extend_from_slice(&record.timestamp_us.to_le_bytes());
    blob.extend_from_slice(&length(&record.key));
    blob.extend_from_slice(&length(&record.value));
    blob.extend_from_slice(&record.key);
    blob.extend_from_slice(&record.value);
}

fn decode(first: u64, blob: &Bytes) -> io::Result<Vec<Arc<Record>>> {
    let torn = || io::Error::new(io::ErrorKind::InvalidData, format!("the blob at offset {first} is torn"));
    let mut rest = blob.clone();
    let mut records = Vec::new();
    while !rest.is_empty() {
        if rest.len() < RECORD_HEAD {
            return Err(torn());
        }
        let timestamp_us = rest.get_i64_le();
        let (key, value) = (rest.get_u32_le() as usize, rest.get_u32_le() as usize);
        if rest.len() < key + value {
            return Err(torn());
        }
        let (key, value) = (rest.split_to(key), rest.split_to(value));
        let offset = first + records.len() as u64;
        records.push(Arc::new(Record::new(0, offset, timestamp_us, key, value)));
    }
    Ok(records)
}

impl Shared {
    /// The records from `offset` on, from the tail or from the storage; none at the end.
    fn read(&self, offset: u64) -> Result<Vec<Arc<Record>>, LogError> {
        {
            let tail = self.tail.lock();
            if offset < tail.start {
                return Err(LogError::Truncated { partition: 0, wanted: offset, start: tail.start });
            }
            if offset >= tail.end {
                return Ok(Vec::new());
            }
            let tail_start = tail.end - tail.records.len() as u64;
            if offset >= tail_start {
                let from = usize::try_from(offset - tail_start).unwrap_or(usize::MAX);
                return Ok(bounded(tail.records.range(from..)));
            }
        }
        let blob = || -> Result<Option<(u64, Bytes)>, redb::Error> {
            let table = self.database.begin_read()?.open_table(BLOBS)?;
            let row = table.range(..=offset)?.next_back().transpose()?;
            Ok(row.map(|(first, blob)| (first.value(), Bytes::copy_from_slice(blob.value()))))
        };
        let Some((first, blob)) = blob().map_err(|error| storage(&error))? else { return Ok(Vec::new()) };
        let records = decode(first, &blob).map_err(|error| storage(&error))?;
        let skip = usize::try_from(offset - first).unwrap_or(usize::MAX);
        Ok(bounded(records.iter().skip(skip)))
    }
}

fn bounded<'a>(records: impl Iterator<Item = &'a Arc<Record>>) -> Vec<Arc<Record>> {
    let mut bytes = 0;
    records
        .take(BATCH_RECORDS)
        .take_while(|record| {
            let fits = bytes < BATCH_BYTES;
            bytes += record.value.len();
            fits
        })
        .cloned()
        .collect()
}

#[async_trait]
impl Log for LocalLog {
    fn id(&self) -> &str {
        &self.shared.id
    }

    fn partitions(&self) -> u32 {
        1
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<(), LogError> {
        if records.is_empty() {
            return Ok(());
        }
        let (answer, answered) = oneshot::channel();
        self.appends.send(Append { records, answer }).await.map_err(|_| LogError::Closed)?;
        answered.await.map_err(|_| LogError::Closed)?
    }

    async fn ends(&self) -> Result<Vec<u64>, LogError> {
        Ok(vec![self.shared.tail.lock().end])
    }

    async fn starts(&self) -> Result<Vec<u64>, LogError> {
        Ok(vec![self.shared.tail.lock().start])
    }

    async fn reader(&self, from: From) -> Result<Box<dyn Reader>, LogError> {
        let position = {
            let tail = self.shared.tail.lock();
            match from {
                From::Start => tail.start,
                From::End => tail.end,
                From::Offsets(offsets) => offsets.first().copied().unwrap_or(tail.start),
            }
        };
        Ok(Box::new(LocalReader {
            end: self.shared.end.subscribe(),
            shared: self.shared.clone(),
            position: [position],
        }))
    }
}

struct LocalReader {
    shared: Arc<Shared>,
    end: watch::Receiver<u64>,
    position: [u64; 1],
}

#[async_trait]
impl Reader for LocalReader {
    async fn next(&mut self, wait: Duration) -> Result<Vec<Arc<Record>>, LogError> {
        let position = self.position[0];
        if *self.end.borrow_and_update() <= position {
            if wait.is_zero() {
                return Ok(Vec::new());
            }
            let more = self.end.wait_for(|end| *end > position);
            // Whether time is up or there is more, what is there is read. The sender lives as long as this reader.
            let _ = tokio::time::timeout(wait, more).await;
        }
        let records = self.shared.read(position).inspect_err(|error| {
            if let LogError::Truncated { start, .. } = error {
                self.position[0] = *start;
            }
        })?;
        if let Some(last) = records.last() {
            self.position[0] = last.offset + 1;
        }
        Ok(records)
    }

    fn position(&self) -> &[u64] {
        &self.position
    }
}
