//! How records are cut into requests.
//!
//! rskafka writes the length and the body of a request apart and leaves Nagle's algorithm on: a request between about 8 and
//! 64 KiB waits 40 ms for an acknowledgement (measured on loopback, whatever the broker). So requests stay below the one
//! or go above the other, by their size on the wire.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use rskafka::chrono::{DateTime, Utc};
use rskafka::client::partition::Compression;
use rskafka::record::Record;

use crate::log::NewRecord;

/// A request of at most so many bytes goes out at once.
const SMALL_BYTES: usize = 6_500;
/// Records of so many bytes compress to less than [`SMALL_BYTES`]: headers and field names repeat (measured: to a quarter).
const COMPRESSIBLE_BYTES: usize = 18_000;
/// A request of at least so many bytes goes out at once, too.
const LARGE_BYTES: usize = 72 * 1024;
/// No request is larger, unless one record is.
const MOST_BYTES: usize = 900_000;

/// One produce request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Which of the records it takes.
    pub(super) records: Range<usize>,
    pub(super) compression: Compression,
}

impl Request {
    /// Two requests in place of one that was too large.
    pub(super) fn halves(&self) -> [Request; 2] {
        let Range { start, end } = self.records;
        let middle = start + (end - start) / 2;
        [start..middle, middle..end].map(|records| Request { records, compression: self.compression })
    }
}

/// The requests for records of these sizes, in order.
pub(super) fn requests(sizes: &[usize]) -> Vec<Request> {
    let mut left: usize = sizes.iter().sum();
    let mut requests = Vec::new();
    let mut start = 0;
    while start < sizes.len() {
        let most = if left >= LARGE_BYTES {
            MOST_BYTES
        } else if left > SMALL_BYTES {
            COMPRESSIBLE_BYTES
        } else {
            SMALL_BYTES
        };
        let (mut end, mut bytes) = (start, 0);
        while end < sizes.len() && (end == start || bytes + sizes[end] <= most) {
            bytes += sizes[end];
            end += 1;
        }
        let compression = if bytes > SMALL_BYTES && bytes < LARGE_BYTES {
            Compression::Lz4
        } else {
            Compression::NoCompression
        };
        requests.push(Request { records: start..end, compression });
        left -= bytes;
        start = end;
    }
    requests
}

/// A record as rskafka takes it.
pub(super) fn record(new: &NewRecord, source: &str) -> Record {
    let headers = new.envelope.map(|envelope| envelope.headers(source)).unwrap_or_default();
    let headers: BTreeMap<String, Vec<u8>> =
        headers.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect();
    Record { key: Some(new.key.to_vec()), value: Some(new.value.to_vec()), headers, timestamp: now() }
}

fn now() -> DateTime<Utc> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    DateTime::from_timestamp_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)).unwrap_or_default()
}

/// What a record takes in a request, about.
pub(super) fn bytes(new: &NewRecord, source: &str) -> usize {
    /// Names, ids, times and lengths of the headers, as they are with ids of four digits.
    const HEADERS_BYTES: usize = 215;
    // Lengths, deltas and attributes are variable; they take some 12 bytes.
    let headers = new.envelope.map_or(0, |_| HEADERS_BYTES + source.len());
    new.key.len() + new.value.len() + headers + 12
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sizes: &[usize], expected: &[(Range<usize>, Compression)]) {
        let requests: Vec<_> =
            requests(sizes).into_iter().map(|request| (request.records, request.compression)).collect();
        assert_eq!(requests, expected);
    }

    #[test]
    fn requests_stay_out_of_the_slow_range() {
        use Compression::{Lz4, NoCompression};
        check(&[], &[]);
        check(&[300], &[(0..1, NoCompression)]);
        check(&[6_000, 400, 100], &[(0..3, NoCompression)]);
        // Compressed, they are small.
        check(&[6_000, 6_000, 6_000, 6_000], &[(0..3, Lz4), (3..4, NoCompression)]);
        // One record alone cannot be cut.
        check(&[40_000], &[(0..1, Lz4)]);
        check(&[300_000], &[(0..1, NoCompression)]);
        // Large ones gather, what is left over is small again.
        let many = vec![1_000; 1_000];
        check(&many, &[(0..900, NoCompression), (900..1_000, NoCompression)]);
        check(&vec![1_000; 910], &[(0..900, NoCompression), (900..910, Lz4)]);
    }

    #[test]
    fn the_size_of_a_record_is_known_before_it_is_made() {
        use crate::domain::event::{Body, Event};
        let at = jiff::Timestamp::UNIX_EPOCH;
        let event = Event { at, run: None, epoch: Some(7), body: Body::OrchestratorElected };
        for new in [NewRecord::of(&event), NewRecord::plain("1001", "some value")] {
            let made = record(&new, "/korch/a").approximate_size();
            let guessed = bytes(&new, "/korch/a");
            assert!((made..made + 80).contains(&guessed), "{guessed} for {made}");
        }
    }

    #[test]
    fn every_record_goes_out_once_and_in_order() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..500 {
            let most = [10, 1_000, 40_000, 600_000][random.usize(0..4)];
            let sizes: Vec<usize> = (0..random.usize(0..300)).map(|_| random.usize(1..=most)).collect();
            let mut next = 0;
            for request in requests(&sizes) {
                assert_eq!(request.records.start, next);
                assert!(request.records.end > next);
                next = request.records.end;
                let bytes: usize = sizes[request.records.clone()].iter().sum();
                assert!(bytes <= MOST_BYTES || request.records.len() == 1);
            }
            assert_eq!(next, sizes.len());
        }
    }
}
