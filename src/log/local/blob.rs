//! How records stand in a blob: a run of records under the offset of its first, the unit that is written and read.
//!
//! All numbers are little-endian:
//!
//! ```text
//! checksum  u64   over everything after it
//! count     u32   of the records
//! then for each record:
//!   timestamp_us  i64
//!   key_bytes     u32
//!   value_bytes   u32
//!   key, value
//! ```
//!
//! redb checks its own checksums only when it opens a file, so a blob brings one of its own.

use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::log::Record;

/// A blob ends before it would grow beyond this. redb gives a large value pages of its own, a power of two of them, so
/// what stays a little under a power of two wastes the least.
const MAX_BYTES: usize = (1 << 20) - 4096;
/// A blob has at most so many records: a reader's batch then holds at least one blob whole.
pub(super) const MAX_RECORDS: usize = 4_096;
/// The key and the value of a record have at most so many bytes together: what a Kafka with its defaults takes.
pub(super) const MAX_RECORD_BYTES: usize = 1_000_000;

const HEAD_BYTES: usize = 8 + 4;
const RECORD_HEAD_BYTES: usize = 8 + 4 + 4;

/// How many bytes a record of this key and value takes in a blob.
pub(super) fn encoded_bytes(key: &Bytes, value: &Bytes) -> usize {
    RECORD_HEAD_BYTES + key.len() + value.len()
}

/// How many records from the front of `records` make up the next blob; at least one, if there is one.
pub(super) fn first_blob(records: &[Arc<Record>]) -> usize {
    let mut bytes = HEAD_BYTES;
    records
        .iter()
        .take(MAX_RECORDS)
        .take_while(|record| {
            bytes += encoded_bytes(&record.key, &record.value);
            bytes <= MAX_BYTES
        })
        .count()
        .max(records.len().min(1))
}

/// Encodes `records` as one blob in place of what `blob` holds.
pub(super) fn encode(records: &[Arc<Record>], blob: &mut Vec<u8>) {
    // The bounds on a record and on a blob keep every length far below 4 GiB.
    let length = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes();
    blob.clear();
    blob.extend_from_slice(&[0; 8]);
    blob.extend_from_slice(&length(records.len()));
    for record in records {
        blob.extend_from_slice(&record.timestamp_us.to_le_bytes());
        blob.extend_from_slice(&length(record.key.len()));
        blob.extend_from_slice(&length(record.value.len()));
        blob.extend_from_slice(&record.key);
        blob.extend_from_slice(&record.value);
    }
    let sum = checksum(&blob[8..]).to_le_bytes();
    blob[..8].copy_from_slice(&sum);
}

/// The records of the blob that stands at offset `first`, or what is wrong with it. Keys and values share `blob`'s memory.
pub(super) fn decode(first: u64, blob: &Bytes) -> Result<Vec<Arc<Record>>, &'static str> {
    const CUT: &str = "is cut short";
    let mut rest = blob.clone();
    let sum = rest.try_get_u64_le().map_err(|_| CUT)?;
    if sum != checksum(&rest) {
        return Err("does not match its checksum");
    }
    let count = rest.try_get_u32_le().map_err(|_| CUT)? as usize;
    // What a blob claims of itself allocates no more than what its bytes can hold.
    let mut records = Vec::with_capacity(count.min(rest.len() / RECORD_HEAD_BYTES));
    for index in 0..count {
        let timestamp_us = rest.try_get_i64_le().map_err(|_| CUT)?;
        let key_bytes = rest.try_get_u32_le().map_err(|_| CUT)? as usize;
        let value_bytes = rest.try_get_u32_le().map_err(|_| CUT)? as usize;
        if rest.len() < key_bytes || rest.len() - key_bytes < value_bytes {
            return Err(CUT);
        }
        let (key, value) = (rest.split_to(key_bytes), rest.split_to(value_bytes));
        let offset = first.checked_add(index as u64).ok_or("reaches beyond the last offset")?;
        records.push(Arc::new(Record::new(0, offset, timestamp_us, key, value)));
    }
    if !rest.is_empty() {
        return Err("has bytes after its last record");
    }
    Ok(records)
}

/// Every step maps the state one to one, whatever the word, and two words never lead from one state to the same: a blob
/// damaged within a single word of eight bytes is always noticed, others with odds of 2^-64 or so.
fn checksum(bytes: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let step = |sum: u64, word: u64| {
        let mixed = (sum ^ word).wrapping_mul(ODD);
        mixed ^ (mixed >> 32)
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let sum = words.iter().fold(bytes.len() as u64, |sum, word| step(sum, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    step(sum, u64::from_le_bytes(last))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some_records() -> impl Strategy<Value = Vec<Arc<Record>>> {
        let bytes = |most| prop::collection::vec(any::<u8>(), 0..most).prop_map(Bytes::from);
        prop::collection::vec((any::<i64>(), bytes(20), bytes(200)), 0..40).prop_map(|records| {
            let numbered = records.into_iter().enumerate();
            numbered
                .map(|(at, (us, key, value))| Arc::new(Record::new(0, 7 + at as u64, us, key, value)))
                .collect()
        })
    }

    fn plain(records: &[Arc<Record>]) -> Vec<(u64, i64, Bytes, Bytes)> {
        records.iter().map(|r| (r.offset, r.timestamp_us, r.key.clone(), r.value.clone())).collect()
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(records in some_records()) {
            let mut blob = vec![1, 2, 3];
            encode(&records, &mut blob);
            let decoded = decode(7, &blob.into()).unwrap();
            prop_assert_eq!(plain(&decoded), plain(&records));
        }

        #[test]
        fn a_changed_byte_or_a_cut_is_noticed(records in some_records(), at in any::<prop::sample::Index>(), flip in 1u8..) {
            let mut blob = Vec::new();
            encode(&records, &mut blob);
            let at = at.index(blob.len());
            prop_assert!(decode(7, &Bytes::copy_from_slice(&blob[..at])).is_err());
            blob[at] ^= flip;
            prop_assert!(decode(7, &blob.into()).is_err());
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(0, &Bytes::copy_from_slice(&bytes));
            // Past the checksum too.
            if bytes.len() >= 8 {
                let sum = checksum(&bytes[8..]).to_le_bytes();
                bytes[..8].copy_from_slice(&sum);
                let _ = decode(u64::MAX, &bytes.into());
            }
        }
    }

    #[test]
    fn blobs_are_bounded_in_bytes_and_in_records() {
        let record = |bytes| Arc::new(Record::new(0, 0, 0, Bytes::new(), vec![0; bytes].into()));
        assert_eq!(first_blob(&[]), 0);
        assert_eq!(first_blob(&vec![record(0); 10_000]), MAX_RECORDS);
        let large = vec![record(MAX_RECORD_BYTES / 2); 5];
        let mut blob = Vec::new();
        encode(&large[..first_blob(&large)], &mut blob);
        assert_eq!(first_blob(&large), 2);
        assert!(blob.len() <= MAX_BYTES);
        assert_eq!(first_blob(&vec![record(MAX_RECORD_BYTES); 5]), 1);
        assert_eq!(first_blob(&vec![record(2 * MAX_BYTES); 5]), 1, "never none");
    }
}
