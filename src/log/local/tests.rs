//! What needs a small tail, or storage that fails on demand. What a user of the log sees is in `tests/local_log.rs`.

use std::fmt::Debug;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, StorageBackend};

use super::*;

const SOON: Duration = Duration::from_secs(20);

fn numbered(from: usize, count: usize) -> Vec<NewRecord> {
    let record = |n: usize| NewRecord::plain(format!("key {n}"), format!("value {n}"));
    (from..from + count).map(record).collect()
}

/// Reads until the reader stands at `end`; every record must continue the one before.
async fn read_to(reader: &mut dyn Reader, end: u64) -> Vec<Arc<Record>> {
    let mut all: Vec<Arc<Record>> = Vec::new();
    while reader.position()[0] < end {
        let at = reader.position()[0];
        let records = reader.next(SOON).await.unwrap();
        assert!(!records.is_empty(), "nothing came at {at}");
        for (offset, record) in (at..).zip(&records) {
            assert_eq!(record.offset, offset);
            assert_eq!(record.value, format!("value {offset}"));
        }
        all.extend(records);
    }
    all
}

fn small_tail(records: usize, bytes: usize) -> LocalLog {
    LocalLog::start("a test".into(), store::in_memory(), None, Most { records, bytes }).unwrap()
}

#[tokio::test]
async fn a_reader_slower_than_the_tail_gets_everything_once() {
    let log = small_tail(10, usize::MAX);
    let mut slow = log.reader(From::Start).await.unwrap();
    let mut appended = 0;
    for count in [1, 9, 10, 11, 3, 25, 1, 1, 1, 40] {
        log.append(numbered(appended, count)).await.unwrap();
        appended += count;
        let state = log.state.borrow();
        assert_eq!(state.tail.len(), appended.min(10));
        assert_eq!(state.tail_bytes, state.tail.iter().map(|record| held_bytes(record)).sum::<usize>());
    }
    let end = appended as u64;
    assert_eq!(read_to(&mut *slow, end).await.len(), appended);
    for start in 0..end {
        let mut reader = log.reader(From::Offsets(vec![start])).await.unwrap();
        assert_eq!(read_to(&mut *reader, end).await.len() as u64, end - start);
    }
}

#[tokio::test]
async fn the_tail_is_bounded_in_bytes() {
    let log = small_tail(usize::MAX, 10_000);
    log.append(numbered(0, 1_000)).await.unwrap();
    assert!(log.state.borrow().tail_bytes <= 10_000);
    assert!(!log.state.borrow().tail.is_empty());
    let mut reader = log.reader(From::Start).await.unwrap();
    assert_eq!(read_to(&mut *reader, 1_000).await.len(), 1_000);
}

#[tokio::test]
async fn a_next_that_is_dropped_loses_nothing_and_gets_on() {
    let log = small_tail(5, usize::MAX);
    for n in 0..50 {
        log.append(numbered(n, 1)).await.unwrap();
    }
    let mut reader = log.reader(From::Start).await.unwrap();
    let mut read = Vec::new();
    while read.len() < 50 {
        let next = reader.next(SOON);
        // Polled once, then dropped whatever it waits for.
        let polled = futures_util::future::select(next, std::future::ready(())).await;
        match polled {
            futures_util::future::Either::Left((records, _)) => read.extend(records.unwrap()),
            futures_util::future::Either::Right(_) => tokio::task::yield_now().await,
        }
    }
    assert!(read.iter().map(|record| record.offset).eq(0..50));
}

#[tokio::test]
async fn a_fetch_that_trim_overtook_is_not_taken_for_what_stands_there_now() {
    let log = small_tail(2, usize::MAX);
    for n in 0..6 {
        log.append(numbered(n, 1)).await.unwrap();
    }
    let mut reader = log.reader(From::Start).await.unwrap();
    let _ = futures_util::future::select(reader.next(SOON), std::future::ready(())).await;
    assert_eq!(log.trim(3).await.unwrap(), 3);
    // Whatever the fetch found is at the position, or the position has moved.
    let next = reader.next(SOON).await;
    match next {
        Err(LogError::Truncated { wanted: 0, start: 3, .. }) => {
            assert_eq!(read_to(&mut *reader, 6).await.len(), 3);
        }
        other => panic!("{other:?}"),
    }
}

/// A file on a disk that is full when told so.
#[derive(Debug)]
struct Disk {
    file: FileBackend,
    full: Arc<AtomicBool>,
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.file.set_len(len)
    }
    fn sync_data(&self) -> Result<(), std::io::Error> {
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        if self.full.load(Ordering::SeqCst) {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.file.write(offset, data)
    }
}

#[tokio::test]
async fn a_full_disk_is_told_to_the_appender_and_got_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let full = Arc::new(AtomicBool::new(false));
    let opener = {
        let (path, full) = (path.clone(), full.clone());
        move || -> Result<Database, DatabaseError> {
            let file = File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
            let disk = Disk { file: FileBackend::new(file)?, full: full.clone() };
            Database::builder().create_with_backend(disk)
        }
    };
    let most = Most { records: 3, bytes: usize::MAX };
    let log = LocalLog::start("/the/place".into(), Box::new(opener), None, most).unwrap();
    log.append(numbered(0, 10)).await.unwrap();
    let mut reader = log.reader(From::Start).await.unwrap();
    full.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let told = log.append(numbered(10, 5)).await.unwrap_err().to_string();
        assert!(told.contains("/the/place"), "{told}");
        assert_eq!(log.ends().await.unwrap(), [10]);
    }
    full.store(false, Ordering::SeqCst);
    log.append(numbered(10, 5)).await.unwrap();
    assert_eq!(read_to(&mut *reader, 15).await.len(), 15);
    assert_eq!(log.ends().await.unwrap(), [15]);
}
