//! The shapes of the JSON that the API answers with. Looks at what is folded; decides nothing.

use std::sync::Arc;

use crate::log::Record;

mod dag;
mod run;
mod workers;

pub(super) use dag::{Dag, DagSize};
pub(super) use run::{RunDetail, RunView, States, runs, some_names};
pub(super) use workers::WorkersView;

/// `{"last_events":[…]}`, each event as it stands in the log.
pub(super) fn last_events(records: &[Arc<Record>]) -> Vec<u8> {
    let mut json =
        Vec::with_capacity(32 + records.iter().map(|record| record.value.len() + 1).sum::<usize>());
    json.extend_from_slice(b"{\"last_events\":[");
    for (i, record) in records.iter().enumerate() {
        if i > 0 {
            json.push(b',');
        }
        // What decoded as an event is JSON; bytes that are no UTF-8 can hide in a field that nobody reads.
        json.extend_from_slice(String::from_utf8_lossy(&record.value).as_bytes());
    }
    json.extend_from_slice(b"]}");
    json
}
