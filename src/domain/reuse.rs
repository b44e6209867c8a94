//! What need not be loaded again: an object that was loaded not long ago, from nothing that is loaded now.

use std::time::Duration;

use jiff::Timestamp;
use rustc_hash::FxHashMap;

use super::event::PlannedObject;
use super::object::ObjectId;

/// Marks as reused the objects that were loaded less than `fresh` before `now`. An object that stands after one which is run
/// now, or which was loaded later than it, is run too: else it would stay behind what it is made from. `objects` come after
/// their parents.
pub fn reuse(objects: &mut [PlannedObject], fresh: Duration, now: Timestamp) {
    // A clock that went back leaves loads in the future: they are fresh.
    let since = now.checked_sub(fresh).unwrap_or(Timestamp::MIN);
    let mut known: FxHashMap<ObjectId, Option<Timestamp>> = FxHashMap::default();
    for object in objects {
        let loaded_at = object.last_good.map(|version| version.at).filter(|at| *at > since);
        let is_current = |at: Timestamp| {
            object.parents.iter().all(|parent| match known.get(parent) {
                Some(Some(parent_at)) => *parent_at <= at,
                Some(None) => false,
                None => true,
            })
        };
        let loaded_at = loaded_at.filter(|at| is_current(*at));
        object.reused = loaded_at.is_some();
        known.insert(object.id, loaded_at);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::event::{RunId, Version};
    use crate::domain::object::{Criticality, Stage};

    #[test]
    fn what_follows_something_that_runs_runs_too() {
        // Each object, its parents, how many minutes ago it was loaded, whether it is reused at --fresh 30m.
        let table: [(u64, &[u64], Option<i64>, bool); 9] = [
            (1001, &[], Some(20), true),
            (1002, &[], Some(40), false),
            (1003, &[], None, false),
            (1004, &[], Some(5), true),
            (2001, &[1001], Some(10), true),
            (2002, &[1001, 1002], Some(10), false),
            (2003, &[1004], Some(10), false), // its parent was loaded since
            (3001, &[2001], Some(9), true),
            (3002, &[2001, 2002, 1999], Some(9), false),
        ];
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        let run_id = RunId(Uuid::nil());
        let mut objects: Vec<PlannedObject> = table
            .iter()
            .map(|(id, parents, ago, _)| PlannedObject {
                parents: parents.iter().copied().map(ObjectId).collect(),
                last_good: ago.map(|ago| Version { at: now - jiff::SignedDuration::from_mins(ago), run_id }),
                ..PlannedObject::new(ObjectId(*id), Stage::Ingest, Criticality::Medium)
            })
            .collect();
        reuse(&mut objects, Duration::from_secs(1_800), now);
        for (object, (id, .., reused)) in objects.iter().zip(table) {
            assert_eq!(object.reused, reused, "{id}");
        }
    }
}
