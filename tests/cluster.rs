//! One run over many processes: what is lost when one of them dies, pauses or is told to go. Nothing.
#![allow(clippy::unwrap_used)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/kafka/mod.rs"]
mod kafka;
mod support;

use cluster::Cluster;
use support::{Place, by_state, of_type};

#[test]
fn the_sample_ends_as_it_does_in_one_process() {
    let Some(kafka) = kafka::shared() else { return };
    let cluster = Cluster::new(&kafka.bootstrap(), Place::new());
    let _workers = cluster.workers(&[]);
    let ended = cluster.orchestrate(&["--once"]).end();
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    assert!(ended.out.contains("22 objects: 20 loaded, 1 failed, 1 skipped"), "{}", ended.out);
    let events = cluster.events();
    for (event_type, count) in [("ObjectReady", 21), ("ObjectAssigned", 21), ("ObjectLoaded", 20), ("ObjectFailed", 1)] {
        assert_eq!(of_type(&events, event_type).len(), count, "{event_type}");
    }
    // A page opened the day after knows it all, though nobody orchestrates any more.
    let ui = cluster.ui();
    let page = ui.page();
    page.ready();
    let run = events[0]["run_id"].as_str().or(events[1]["run_id"].as_str()).unwrap();
    let states = by_state(&page.get(&format!("/runs/{run}")));
    assert_eq!(states["failed"], [2005].into());
    assert_eq!(states["skipped"], [3007].into());
}
