//! The embedded log as its users see it: what was acknowledged is there, in order, once, whatever happens.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use korch::log::local::LocalLog;
use korch::log::{From, Log, LogError, NewRecord, Reader, Record};
use tempfile::TempDir;

/// Long enough for whatever must come.
const SOON: Duration = Duration::from_secs(30);

fn record(value: impl Into<String>) -> NewRecord {
    NewRecord::plain("key", value.into())
}

fn records(values: std::ops::Range<u64>) -> Vec<NewRecord> {
    values.map(|n| record(n.to_string())).collect()
}

async fn read(log: &LocalLog, from: From) -> Vec<Arc<Record>> {
    let end = log.ends().await.unwrap()[0];
    let mut reader = log.reader(from).await.unwrap();
    read_on(&mut *reader, end).await
}

async fn read_on(reader: &mut dyn Reader, end: u64) -> Vec<Arc<Record>> {
    let mut all = Vec::new();
    while reader.position()[0] < end {
        let more = reader.next(SOON).await.unwrap();
        assert!(!more.is_empty());
        all.extend(more);
    }
    all
}

fn values(records: &[Arc<Record>]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8(record.value.to_vec()).unwrap()).collect()
}

fn open_error(dir: &Path) -> String {
    match LocalLog::open(dir) {
        Ok(_) => panic!("{} was opened", dir.display()),
        Err(LogError::Unavailable(text)) => text,
        Err(other) => panic!("{other}"),
    }
}

/// One log in memory, one on disk.
fn both() -> Vec<(LocalLog, Option<TempDir>)> {
    let dir = tempfile::tempdir().unwrap();
    let on_disk = LocalLog::open(&dir.path().join("a/b")).unwrap();
    vec![(LocalLog::memory().unwrap(), None), (on_disk, Some(dir))]
}

#[tokio::test]
async fn what_is_appended_is_read_in_order_from_every_offset() {
    for (log, _dir) in both() {
        assert_eq!(log.partitions(), 1);
        let mut end = 0;
        for count in [1, 0, 7, 100, 3] {
            log.append(records(end..end + count)).await.unwrap();
            end += count;
        }
        assert_eq!((log.starts().await.unwrap(), log.ends().await.unwrap()), (vec![0], vec![end]));
        let all = read(&log, From::Start).await;
        assert!(all.is_sorted_by_key(|record| record.timestamp_us));
        assert_eq!(values(&all), (0..end).map(|n| n.to_string()).collect::<Vec<_>>());
        for offset in 0..=end {
            let part = read(&log, From::Offsets(vec![offset])).await;
            assert_eq!(values(&part), values(&all[offset as usize..]));
        }
        assert!(matches!(log.reader(From::Offsets(vec![1, 2])).await, Err(LogError::Unavailable(_))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_many_append_at_once_is_all_there_each_batch_in_one_piece() {
    for (log, _dir) in both() {
        let log = Arc::new(log);
        let mut live = log.reader(From::End).await.unwrap();
        let appenders: Vec<_> = (0..50)
            .map(|appender| {
                let log = log.clone();
                tokio::spawn(async move {
                    for batch in 0..10 {
                        let of = |n| record(format!("{appender} {}", batch * 3 + n));
                        log.append((0..3).map(of).collect()).await.unwrap();
                    }
                })
            })
            .collect();
        let seen = read_on(&mut *live, 50 * 30).await;
        for appender in appenders {
            appender.await.unwrap();
        }
        assert_eq!(values(&seen), values(&read(&log, From::Start).await));
        let seen = values(&seen);
        for appender in 0..50 {
            let prefix = format!("{appender} ");
            let own: Vec<(usize, &str)> = seen
                .iter()
                .enumerate()
                .filter_map(|(at, value)| Some((at, value.strip_prefix(&prefix)?)))
                .collect();
            assert!(own.iter().map(|(_, n)| (*n).to_owned()).eq((0..30).map(|n| n.to_string())));
            assert!(own.chunks(3).all(|batch| batch[0].0 + 2 == batch[2].0));
        }
    }
}

#[tokio::test]
async fn opened_again_it_is_the_same_log_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(dir.path()).unwrap();
    let id = log.id().to_owned();
    assert_eq!(uuid::Uuid::parse_str(&id).unwrap().to_string(), id);
    log.append(records(0..10_000)).await.unwrap();
    let before = read(&log, From::Start).await;
    drop(log);

    let log = LocalLog::open(dir.path()).unwrap();
    assert_eq!(log.id(), id);
    assert_ne!(LocalLog::memory().unwrap().id(), id);
    log.append(records(10_000..10_005)).await.unwrap();
    let after = read(&log, From::Start).await;
    assert_eq!(values(&after[..10_000]), values(&before));
    assert!(after.iter().zip(&before).all(|(after, before)| after.timestamp_us == before.timestamp_us));
    assert!(after.iter().map(|record| record.offset).eq(0..10_005));
    assert!(after.is_sorted_by_key(|record| record.timestamp_us));
}

#[tokio::test]
async fn large_records_are_cut_into_blobs_and_too_large_ones_refused() {
    let log = LocalLog::memory().unwrap();
    let large = |n: usize| record(n.to_string().repeat(900_000));
    log.append((0..10).map(large).collect()).await.unwrap();
    let all = read(&log, From::Start).await;
    assert!(all.iter().enumerate().all(|(n, record)| record.value == n.to_string().repeat(900_000)));
    let refused = log.append(vec![record("x"), record("x".repeat(1_000_001))]).await;
    assert!(matches!(refused, Err(LogError::TooLarge { bytes: 1_000_004, most: 1_000_000 })));
    assert_eq!(log.ends().await.unwrap(), [10]);
}

#[tokio::test]
async fn a_reader_at_the_end_or_beyond_waits() {
    let log = LocalLog::memory().unwrap();
    log.append(records(0..3)).await.unwrap();
    let mut at_end = log.reader(From::End).await.unwrap();
    let mut beyond = log.reader(From::Offsets(vec![5])).await.unwrap();
    assert!(at_end.next(Duration::ZERO).await.unwrap().is_empty());
    assert!(beyond.next(Duration::from_millis(1)).await.unwrap().is_empty());
    assert_eq!((at_end.position(), beyond.position()), (&[3][..], &[5][..]));
    let (came, appended) = tokio::join!(at_end.next(Duration::MAX), log.append(records(3..5)));
    appended.unwrap();
    assert_eq!(values(&came.unwrap()), ["3", "4"]);
    assert!(beyond.next(Duration::ZERO).await.unwrap().is_empty());
    log.append(records(5..6)).await.unwrap();
    // What is there is read without any wait, as often as one likes.
    assert_eq!(values(&beyond.next(Duration::ZERO).await.unwrap()), ["5"]);
}

#[tokio::test]
async fn next_may_be_dropped_at_any_time() {
    for (log, _dir) in both() {
        let log = Arc::new(log);
        let appender = tokio::spawn({
            let log = log.clone();
            async move {
                for n in 0..300 {
                    log.append(records(n..n + 1)).await.unwrap();
                }
            }
        });
        let mut reader = log.reader(From::Start).await.unwrap();
        let mut seen = Vec::new();
        while seen.len() < 300 {
            tokio::select! {
                biased;
                () = tokio::task::yield_now() => {}
                more = reader.next(SOON) => seen.extend(more.unwrap()),
            }
            tokio::select! {
                biased;
                more = reader.next(SOON) => seen.extend(more.unwrap()),
                () = tokio::task::yield_now() => {}
            }
        }
        appender.await.unwrap();
        assert!(values(&seen).into_iter().eq((0..300).map(|n| n.to_string())));
    }
}

#[tokio::test]
async fn trim_drops_whole_blobs_and_lasts() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(dir.path()).unwrap();
    for n in 0..5 {
        log.append(records(n * 10..n * 10 + 10)).await.unwrap();
    }
    let mut early = log.reader(From::Start).await.unwrap();
    assert_eq!(log.trim(9).await.unwrap(), 0);
    assert_eq!(log.trim(25).await.unwrap(), 20);
    assert_eq!(log.trim(5).await.unwrap(), 20, "never back");
    let truncated = early.next(SOON).await;
    assert!(matches!(truncated, Err(LogError::Truncated { partition: 0, wanted: 0, start: 20 })));
    assert_eq!(read_on(&mut *early, 50).await.len(), 30);
    log.close().await;
    drop(log);

    let log = LocalLog::open(dir.path()).unwrap();
    assert_eq!(log.starts().await.unwrap(), [20]);
    assert_eq!(read(&log, From::Start).await[0].offset, 20);
    assert_eq!(log.trim(u64::MAX).await.unwrap(), 50);
    drop(log);

    let log = LocalLog::open(dir.path()).unwrap();
    assert_eq!((log.starts().await.unwrap(), log.ends().await.unwrap()), (vec![50], vec![50]));
    log.append(records(50..51)).await.unwrap();
    assert_eq!(values(&read(&log, From::Start).await), ["50"]);
    drop(log);
    assert_eq!(LocalLog::open(dir.path()).unwrap().starts().await.unwrap(), [50]);
}

#[tokio::test(flavor = "multi_thread")]
async fn close_finishes_what_waits_then_everyone_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(LocalLog::open(dir.path()).unwrap());
    let mut reader = log.reader(From::End).await.unwrap();
    let waiting = tokio::spawn(async move {
        loop {
            if let Err(error) = reader.next(SOON).await {
                return (error, reader);
            }
        }
    });
    // The appends stand in the queue before the close, for the three are polled in turn.
    let (a, b, ()) = tokio::join!(log.append(records(0..1)), log.append(records(1..2)), log.close());
    a.and(b).unwrap();
    let (error, mut reader) = waiting.await.unwrap();
    assert!(matches!(error, LogError::Closed));
    assert!(matches!(reader.next(SOON).await, Err(LogError::Closed)));
    assert!(matches!(log.append(records(2..3)).await, Err(LogError::Closed)));
    assert!(matches!(log.ends().await, Err(LogError::Closed)));
    assert!(matches!(log.trim(1).await, Err(LogError::Closed)));
    assert!(matches!(log.reader(From::Start).await, Err(LogError::Closed)));
    log.close().await;
    // The directory is free though the old log and its reader are still held.
    assert_eq!(LocalLog::open(dir.path()).unwrap().ends().await.unwrap(), [2]);
}

#[tokio::test]
async fn a_reader_of_a_dropped_log_is_told() {
    let log = LocalLog::memory().unwrap();
    let mut reader = log.reader(From::Start).await.unwrap();
    drop(log);
    assert!(matches!(reader.next(SOON).await, Err(LogError::Closed)));
}

#[test]
fn a_directory_is_one_log_s() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(dir.path()).unwrap();
    let place = dir.path().display();
    let told = open_error(dir.path());
    let process = std::process::id();
    assert_eq!(
        told,
        format!(
            "{place} is in use by another korch (process {process}): stop it, or give this one a --data-dir of its own"
        )
    );
    // Without the file that tells the process, redb's own lock still holds.
    std::fs::remove_file(dir.path().join("pid")).unwrap();
    let told = open_error(dir.path());
    assert!(told.contains("is in use by another korch: stop it"), "{told}");
    drop(log);
    LocalLog::open(dir.path()).unwrap();
}

#[test]
fn what_cannot_be_a_log_s_directory_is_told_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    for path in [file.clone(), file.join("below")] {
        let told = open_error(&path);
        assert!(told.contains(&path.display().to_string()) && told.contains("not a directory"), "{told}");
    }
}

#[test]
fn another_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(LocalLog::open(dir.path()).unwrap());
    let path = dir.path().join("events.redb");
    let database = redb::Database::open(&path).unwrap();
    let writing = database.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, &str>::new("meta");
    writing.open_table(meta).unwrap().insert("format", "77").unwrap();
    writing.commit().unwrap();
    drop(database);
    let told = open_error(dir.path());
    assert!(told.contains("has format 77") && told.contains(&path.display().to_string()), "{told}");
}

#[tokio::test]
async fn a_damaged_file_is_an_error_and_never_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(dir.path()).unwrap();
    for n in 0..20 {
        log.append(records(n * 1_000..n * 1_000 + 1_000)).await.unwrap();
    }
    drop(log);
    let path = dir.path().join("events.redb");
    let whole = std::fs::read(&path).unwrap();
    for cut in [1, 8, 100, 4_096, 8_192, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let told = open_error(dir.path());
        assert!(told.contains(&path.display().to_string()), "{told}");
    }
    std::fs::write(&path, "no database at all").unwrap();
    assert!(open_error(dir.path()).contains("move it away"));
    // Damage anywhere: told when it is opened or read, or it hit what is not in use.
    let mut told = 0;
    for at in (0..whole.len()).step_by(whole.len() / 60) {
        let mut damaged = whole.clone();
        let end = (at + 600).min(whole.len());
        damaged[at..end].iter_mut().for_each(|byte| *byte ^= 0x55);
        std::fs::write(&path, &damaged).unwrap();
        let Ok(log) = LocalLog::open(dir.path()) else {
            told += 1;
            continue;
        };
        let all = read(&log, From::Start).await;
        assert!(values(&all).into_iter().eq((0..20_000).map(|n| n.to_string())), "damage at {at}");
    }
    assert!(told > 5, "{told}");
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(read(&LocalLog::open(dir.path()).unwrap(), From::Start).await.len(), 20_000);
}

#[tokio::test]
async fn a_file_half_made_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("events.redb.new"), vec![0; 100_000]).unwrap();
    let log = LocalLog::open(dir.path()).unwrap();
    log.append(records(0..1)).await.unwrap();
}

const CHILD_DIR: &str = "KORCH_TEST_LOG_DIR";

/// Not a test: what [`a_killed_process_loses_nothing_acknowledged`] starts, appending until it is killed.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_appends() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let log = LocalLog::open(Path::new(&dir)).unwrap();
    let mut end = log.ends().await.unwrap()[0];
    loop {
        let count = 1 + end % 40;
        log.append(records(end..end + count)).await.unwrap();
        end += count;
        println!("\nacknowledged {end}");
    }
}

#[tokio::test]
async fn a_killed_process_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_appends", "--nocapture"])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut heard =
            lines.by_ref().filter_map(|line| line.unwrap().strip_prefix("acknowledged ")?.parse().ok());
        for _ in 0..1 + round * 7 {
            acknowledged = heard.next().unwrap();
        }
        let told = open_error(dir.path());
        assert!(told.contains(&format!("(process {})", child.id())), "{told}");
        child.kill().unwrap();
        // What it said until it died counts too.
        acknowledged = heard.last().unwrap_or(acknowledged);
        child.wait().unwrap();
        let log = LocalLog::open(dir.path()).unwrap();
        let all = values(&read(&log, From::Start).await);
        assert!(all.len() as u64 >= acknowledged, "{} of {acknowledged}", all.len());
        assert!(all.into_iter().eq((0..log.ends().await.unwrap()[0]).map(|n| n.to_string())));
    }
}

/// Records a second of 350 bytes, by one appender that awaits each batch of 200, read by four readers.
/// `cargo test --release --test local_log -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn how_fast() {
    let batches = 5_000;
    for (log, dir) in both() {
        let log = Arc::new(log);
        let end = batches * 200;
        let begun = std::time::Instant::now();
        let mut readers = Vec::new();
        for _ in 0..4 {
            let mut reader = log.reader(From::Start).await.unwrap();
            readers.push(tokio::spawn(async move {
                let mut bytes = 0;
                while reader.position()[0] < end {
                    bytes += reader
                        .next(SOON)
                        .await
                        .unwrap()
                        .iter()
                        .map(|record| record.value.len())
                        .sum::<usize>();
                }
                bytes
            }));
        }
        let value = "x".repeat(330);
        for _ in 0..batches {
            let batch = (0..200).map(|n| record(format!("{n:17}{value}"))).collect();
            log.append(batch).await.unwrap();
        }
        let appended = begun.elapsed().as_secs_f64();
        for reader in readers {
            reader.await.unwrap();
        }
        let all = begun.elapsed().as_secs_f64();
        let rate = |seconds: f64| (end as f64 / seconds) as u64;
        println!("on disk: {}", dir.is_some());
        println!("  appended {}/s, read by four readers {}/s", rate(appended), rate(all));
        let begun = std::time::Instant::now();
        read(&log, From::Start).await;
        println!("  read from the start by one {}/s", rate(begun.elapsed().as_secs_f64()));
        let Some(dir) = dir else { continue };
        drop(log);
        let begun = std::time::Instant::now();
        drop(LocalLog::open(&dir.path().join("a/b")).unwrap());
        let megabytes = std::fs::metadata(dir.path().join("a/b/events.redb")).unwrap().len() >> 20;
        println!("  opened again in {:?}, {megabytes} MiB", begun.elapsed());
    }
}
