//! The shapes of the JSON that the API answers with. Looks at what is folded; decides nothing.

use std::sync::Arc;

use crate::log::Record;

mod dag;
mod object;
mod run;
mod schedule;
mod workers;

pub(super) use dag::{Dag, DagSize};
pub(super) use object::ObjectDetail;
pub(super) use run::{
    EstimateView, Forecast, LiveRun, RunDetail, RunView, RunsView, States, Wanted, runs, some_names,
};
pub(super) use schedule::ScheduleView;
pub(super) use workers::{WorkersView, signature};

/// `{"last_events":[…]}`, each event as it stands in the log.
pub(super) fn last_events(records: &[Arc<Record>]) -> Vec<u8> {
    let mut json = b"{\"last_events\":".to_vec();
    list(&mut json, records);
    json.push(b'}');
    json
}

/// `{"events":[…],"more":…}`, each event as it stands in the log; whether there were more before.
pub(super) fn run_events(records: &[Arc<Record>], more: bool) -> Vec<u8> {
    let mut json = b"{\"events\":".to_vec();
    list(&mut json, records);
    json.extend_from_slice(format!(",\"more\":{more}}}").as_bytes());
    json
}

fn list(json: &mut Vec<u8>, records: &[Arc<Record>]) {
    json.reserve(8 + records.iter().map(|record| record.value.len() + 1).sum::<usize>());
    json.push(b'[');
    for (i, record) in records.iter().enumerate() {
        if i > 0 {
            json.push(b',');
        }
        // What decoded as an event is JSON; bytes that are no UTF-8 can hide in a field that nobody reads.
        json.extend_from_slice(String::from_utf8_lossy(&record.value).as_bytes());
    }
    json.push(b']');
}
