//! The file: blobs of records in redb, and what is known of the log itself. Blocking, and unaware of readers that wait.
//!
//! Tables: `blobs`, from the offset of a blob's first record to the blob, without gaps; `meta`, from a name to a text:
//! `format`, `id`, and once records were trimmed `start` (the oldest offset that is left) and `last_us` (the timestamp
//! that the next may not go below, should no record be left to tell it).

use std::fmt::Display;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, TableDefinition,
    TableError, backends::InMemoryBackend,
};
use uuid::Uuid;

use super::blob;
use crate::log::{LogError, Record};

const BLOBS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("blobs");
const META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");
/// The layout of the tables and of a blob. Another one is refused.
const FORMAT: &str = "2";
/// What redb may keep of the file in memory, in bytes. The readers' tail takes the load off it.
const CACHE_BYTES: usize = 16 << 20;
/// One read answers at most so many records and bytes, unless a single blob has more.
pub(super) const READ_RECORDS: usize = 4_096;
pub(super) const READ_BYTES: usize = 4 << 20;
/// Whether all of a file is checked when it is opened. It costs a read of it, which whoever opens a log does anyway.
const CHECKED: bool = true;

/// Opens the database, at first and again after its storage failed.
pub(super) type Opener = Box<dyn FnMut() -> Result<Database, DatabaseError> + Send>;

/// What a log holds, as its file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// The offset of the oldest record.
    pub(super) start: u64,
    /// The offset after the last record.
    pub(super) end: u64,
    /// The timestamp of the last record.
    pub(super) last_us: i64,
}

/// The database, shared by the writer and every reader.
pub(super) struct Store {
    /// Where it is, for messages.
    place: String,
    /// None once closed, and while storage that failed could not be opened again.
    database: RwLock<Option<Database>>,
}

/// Why the storage did not do it.
enum Fault {
    Redb(redb::Error),
    /// What is there is not what was written.
    Damaged(String),
    /// It was written by another korch.
    Format(String),
    Closed,
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Fault {
        Fault::Redb(error.into())
    }
}

impl Store {
    /// The store that `opener` gives, its id and its bounds.
    pub(super) fn open(place: String, opener: &mut Opener) -> Result<(Store, String, Bounds), LogError> {
        let store = Store { place, database: RwLock::new(None) };
        let (id, bounds) = store.reopen(opener)?;
        Ok((store, id, bounds))
    }

    /// Opens the database anew, after its storage failed.
    pub(super) fn reopen(&self, opener: &mut Opener) -> Result<(String, Bounds), LogError> {
        self.close();
        self.contained(|| {
            let database = opener()?;
            let prepared = prepare(&database)?;
            *self.database.write() = Some(database);
            Ok(prepared)
        })
    }

    /// Frees the file. Waits for reads that are under way.
    pub(super) fn close(&self) {
        let database = self.database.write().take();
        // A database whose storage failed says so again when it closes.
        let _ = self.contained(|| {
            drop(database);
            Ok(())
        });
    }

    /// Where it is, for messages.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Whether there is a database to write to.
    pub(super) fn is_open(&self) -> bool {
        self.database.read().is_some()
    }

    /// Writes `records`, which continue the log, all or none; once it returns they are durable.
    ///
    /// After an error the store is to be opened again: what was to be written may then be there or not.
    pub(super) fn append(&self, records: &[Arc<Record>]) -> Result<(), LogError> {
        self.with(|database| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::Immediate).map_err(redb::Error::from)?;
            {
                let mut blobs = transaction.open_table(BLOBS)?;
                let mut blob = Vec::new();
                let mut rest = records;
                while let Some(first) = rest.first() {
                    let (records, later) = rest.split_at(blob::first_blob(rest));
                    blob::encode(records, &mut blob);
                    blobs.insert(first.offset, blob.as_slice())?;
                    rest = later;
                }
            }
            Ok(transaction.commit()?)
        })
    }

    /// Records from offset `from` on and below `end`: whole blobs, as many as a read may answer, and at least one record.
    pub(super) fn read(&self, from: u64, end: u64) -> Result<Vec<Arc<Record>>, LogError> {
        self.with(|database| {
            let blobs = database.begin_read()?.open_table(BLOBS)?;
            let first = blobs.range(..=from)?.next_back().transpose()?.map(|(key, _)| key.value());
            let missing = |offset: u64| Fault::Damaged(format!("no record at offset {offset}"));
            let mut records: Vec<Arc<Record>> = Vec::new();
            let (mut next, mut bytes) = (from, 0);
            for row in blobs.range(first.ok_or_else(|| missing(from))?..end)? {
                let (key, blob) = row?;
                let (key, blob) = (key.value(), blob.value());
                if !records.is_empty() && (key != next || bytes + blob.len() > READ_BYTES) {
                    break;
                }
                let mut decoded = decode(key, &Bytes::copy_from_slice(blob))?;
                if !records.is_empty() && records.len() + decoded.len() > READ_RECORDS {
                    break;
                }
                next = key + decoded.len() as u64;
                bytes += blob.len();
                decoded.retain(|record| (from..end).contains(&record.offset));
                records.append(&mut decoded);
            }
            if records.first().is_none_or(|first| first.offset != from) {
                return Err(missing(from));
            }
            Ok(records)
        })
    }

    /// Where a log with these bounds starts once every blob wholly below `before` is gone.
    pub(super) fn start_after_trim(&self, before: u64, bounds: Bounds) -> Result<u64, LogError> {
        if before >= bounds.end {
            return Ok(bounds.end);
        }
        self.with(|database| {
            let blobs = database.begin_read()?.open_table(BLOBS)?;
            let reached = blobs.range(..=before)?.next_back().transpose()?;
            Ok(reached.map_or(bounds.start, |(key, _)| key.value()))
        })
    }

    /// Makes `bounds.start`, where a blob begins or the log ends, the start: drops every blob before it.
    pub(super) fn trim(&self, bounds: Bounds) -> Result<(), LogError> {
        self.with(|database| {
            let transaction = database.begin_write()?;
            transaction.open_table(BLOBS)?.retain_in(..bounds.start, |_, _| false)?;
            {
                let mut meta = transaction.open_table(META)?;
                meta.insert("start", bounds.start.to_string().as_str())?;
                meta.insert("last_us", bounds.last_us.to_string().as_str())?;
            }
            Ok(transaction.commit()?)
        })
    }

    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, Fault>) -> Result<T, LogError> {
        self.contained(|| work(self.database.read().as_ref().ok_or(Fault::Closed)?))
    }

    /// Turns a fault into what is told of it. redb trusts a file that was shut down cleanly and may panic over a damaged
    /// one: that is a fault like any other, and only this log's.
    fn contained<T>(&self, work: impl FnOnce() -> Result<T, Fault>) -> Result<T, LogError> {
        let outcome = catch_unwind(AssertUnwindSafe(work));
        outcome
            .unwrap_or_else(|_| Err(Fault::Damaged("redb gave up".into())))
            .map_err(|fault| self.told(fault))
    }

    fn told(&self, fault: Fault) -> LogError {
        let place = &self.place;
        LogError::Unavailable(match fault {
            Fault::Closed => return LogError::Closed,
            Fault::Format(format) => format!(
                "{place} has format {format}, this korch reads and writes format {FORMAT}: use the korch that \
                 wrote it, or give this one a --data-dir of its own"
            ),
            Fault::Damaged(how) => damaged(place, how),
            Fault::Redb(redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch) => {
                in_use(place, None)
            }
            Fault::Redb(redb::Error::Io(error)) => io_failed(place, &error),
            Fault::Redb(redb::Error::UpgradeRequired(version)) => {
                format!("{place} is of redb's file format {version}, too old for this korch: move it away")
            }
            Fault::Redb(
                error @ (redb::Error::Corrupted(_)
                | redb::Error::RepairAborted
                | redb::Error::TableTypeMismatch { .. }
                | redb::Error::TableIsMultimap(_)
                | redb::Error::TableDoesNotExist(_)
                | redb::Error::TypeDefinitionChanged { .. }),
            ) => damaged(place, error),
            Fault::Redb(error) => format!("the storage of {place} failed: {error}"),
        })
    }
}

fn decode(first: u64, blob: &Bytes) -> Result<Vec<Arc<Record>>, Fault> {
    blob::decode(first, blob).map_err(|how| Fault::Damaged(format!("the blob at offset {first} {how}")))
}

/// Makes the tables of a new log, or checks those of an old one.
fn prepare(database: &Database) -> Result<(String, Bounds), Fault> {
    match database.begin_read()?.open_table(META) {
        Ok(_) => {}
        Err(TableError::TableDoesNotExist(_)) => {
            let transaction = database.begin_write()?;
            {
                transaction.open_table(BLOBS)?;
                let mut meta = transaction.open_table(META)?;
                meta.insert("format", FORMAT)?;
                meta.insert("id", Uuid::now_v7().to_string().as_str())?;
            }
            transaction.commit()?;
        }
        Err(other) => return Err(other.into()),
    }
    let reading = database.begin_read()?;
    let meta = reading.open_table(META)?;
    let text = |name: &str| -> Result<Option<String>, Fault> {
        Ok(meta.get(name)?.map(|text| text.value().to_owned()))
    };
    let unreadable = |name: &str| Fault::Damaged(format!("its {name} is missing or unreadable"));
    match text("format")? {
        Some(format) if format == FORMAT => {}
        Some(other) => return Err(Fault::Format(other)),
        None => return Err(unreadable("format")),
    }
    let id = text("id")?.ok_or_else(|| unreadable("id"))?;
    let start = text("start")?.map_or(Ok(0), |start| start.parse()).map_err(|_| unreadable("start"))?;
    let last_us = text("last_us")?.map_or(Ok(0), |us| us.parse()).map_err(|_| unreadable("last_us"))?;
    let mut bounds = Bounds { start, end: start, last_us };
    let blobs = reading.open_table(BLOBS)?;
    if let Some((first, _)) = blobs.first()?
        && first.value() != start
    {
        return Err(Fault::Damaged(format!("it starts at offset {}, not at {start}", first.value())));
    }
    if let Some((first, blob)) = blobs.last()? {
        let records = decode(first.value(), &Bytes::copy_from_slice(blob.value()))?;
        bounds.end = first.value() + records.len() as u64;
        bounds.last_us = records.last().map_or(last_us, |last| last.timestamp_us.max(last_us));
    }
    Ok((id, bounds))
}

fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Opens a database in memory, once: what failed there is lost.
pub(super) fn in_memory() -> Opener {
    let mut backend = Some(InMemoryBackend::new());
    Box::new(move || match backend.take() {
        Some(backend) => builder().create_with_backend(backend),
        None => Err(DatabaseError::Storage(redb::StorageError::PreviousIo)),
    })
}

/// Opens the database `events.redb` in `dir`, made if absent.
///
/// A process killed while redb makes a file leaves one that redb never opens. So it is made under another name.
pub(super) fn in_dir(dir: &Path) -> Opener {
    let (path, begun) = (dir.join("events.redb"), dir.join("events.redb.new"));
    let dir = dir.to_owned();
    Box::new(move || {
        if !fs::exists(&path)? {
            if fs::exists(&begun)? {
                fs::remove_file(&begun)?;
            }
            builder().create(&begun)?.close()?;
            fs::rename(&begun, &path)?;
            // The name is to last as well. Where a directory cannot be synced, nothing better can be done.
            let _ = File::open(&dir).and_then(|dir| dir.sync_all());
        }
        builder().set_check_integrity_on_open(CHECKED).open(&path)
    })
}

/// The hold of this process on a directory, until it is dropped.
#[derive(Debug)]
pub(super) struct Hold(#[expect(dead_code, reason = "open for its lock")] File);

impl Hold {
    /// Makes `dir` if absent and takes hold of it. The lock and the number of its process are in one file, so whoever is
    /// refused can say by whom. redb locks its own file too, but not while it is being made or opened again.
    pub(super) fn take(dir: &Path) -> Result<Hold, LogError> {
        let place = dir.display().to_string();
        let unusable = |error: io::Error| LogError::Unavailable(io_failed(&place, &error));
        fs::create_dir_all(dir).map_err(unusable)?;
        let path = dir.join("pid");
        let mut options = File::options();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).open(path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // A message without the number serves too.
                let _ = file.take(20).read_to_string(&mut text);
                return Err(LogError::Unavailable(in_use(&place, text.trim().parse().ok())));
            }
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        file.set_len(0).map_err(unusable)?;
        // On a full disk the log can still be read: the number is not worth a refusal.
        let _ = writeln!(file, "{}", std::process::id());
        Ok(Hold(file))
    }
}

fn in_use(place: &str, process: Option<u32>) -> String {
    let process = process.map(|process| format!(" (process {process})")).unwrap_or_default();
    format!("{place} is in use by another korch{process}: stop it, or give this one a --data-dir of its own")
}

fn damaged(place: &str, how: impl Display) -> String {
    format!("{place} is damaged or no log of korch ({how}): move it away, or give korch another --data-dir")
}

fn io_failed(place: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("no room left to write {place} ({error}): free some, korch then goes on")
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            format!(
                "{place} cannot be written ({error}): let this user write it, or give korch another --data-dir"
            )
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            format!("{place} is not a directory: move it away, or give korch another --data-dir")
        }
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => damaged(place, error),
        _ => format!(
            "{place} cannot be read or written ({error}): see to its disk, or give korch another --data-dir"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_says_where_and_what_to_do() {
        let store = Store { place: "/data/.korch".into(), database: RwLock::new(None) };
        let io = |kind| Fault::Redb(redb::Error::Io(io::Error::from(kind)));
        let cases = [
            (io(io::ErrorKind::StorageFull), "free some"),
            (io(io::ErrorKind::PermissionDenied), "let this user write it"),
            (io(io::ErrorKind::ReadOnlyFilesystem), "let this user write it"),
            (io(io::ErrorKind::NotADirectory), "not a directory"),
            (io(io::ErrorKind::InvalidData), "move it away"),
            (io(io::ErrorKind::Other), "see to its disk"),
            (Fault::Redb(redb::Error::Corrupted("x".into())), "move it away"),
            (Fault::Redb(redb::Error::DatabaseAlreadyOpen), "stop it"),
            (Fault::Format("9".into()), "has format 9"),
        ];
        for (fault, remedy) in cases {
            let told = store.told(fault).to_string();
            assert!(told.contains("/data/.korch") && told.contains(remedy), "{told}");
        }
    }
}
