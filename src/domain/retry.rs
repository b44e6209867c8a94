//! What a retry of a run does: again what failed in it and what was skipped for that, and nothing else.
//!
//! The graph is the old run's; the entries may be newer ones, for a failure is often mended there.

use rustc_hash::FxHashSet;

use super::attempt::Phase;
use super::board::Board;
use super::event::{Entry, PlannedObject};
use super::object::ObjectId;

/// The objects of a retry of this run, in the order of its plan. What they need and was loaded counts as loaded. Left out
/// is what was skipped and also needs an object that never ran, because somebody stopped the run before.
pub fn again(board: &Board) -> Vec<PlannedObject> {
    let mut chosen: FxHashSet<usize> = FxHashSet::default();
    for &i in board.graph().order() {
        let i = i as usize;
        let has_all = || board.parents(i).all(|at| board.phase(at) == Phase::Loaded || chosen.contains(&at));
        match board.phase(i) {
            Phase::Failed => drop(chosen.insert(i)),
            Phase::Skipped if has_all() => drop(chosen.insert(i)),
            _ => {}
        }
    }
    let is_chosen = |id: &ObjectId| board.position(*id).is_some_and(|at| chosen.contains(&at));
    let objects = board.objects().iter().enumerate().filter(|(i, _)| chosen.contains(i));
    objects
        .map(|(_, object)| {
            let (parents, loaded): (Vec<ObjectId>, Vec<ObjectId>) =
                object.parents.iter().partition(|parent| is_chosen(parent));
            let satisfied = [object.satisfied.as_slice(), &loaded].concat();
            PlannedObject { parents, satisfied, ..object.clone() }
        })
        .collect()
}

/// Gives the objects the entries that the catalogue has for them now; one that it no longer describes keeps its own.
pub fn refresh(objects: &mut [PlannedObject], entry_of: impl Fn(ObjectId) -> Entry) {
    for object in objects {
        if let Some(entry) = entry_of(object.id) {
            object.entry = Some(entry);
        }
    }
}
