//! What a retry of a run does: again what failed in it and what was skipped for that, and nothing else; or, where somebody
//! says so, certain objects and all that follows them.
//!
//! The graph is the old run's; the entries may be newer ones, for a failure is often mended there.

use rustc_hash::FxHashSet;

use super::attempt::Phase;
use super::board::Board;
use super::event::{Entry, PlannedObject};
use super::object::ObjectId;

/// Why a run cannot be run again so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRetry {
    /// Nothing failed.
    #[error("has nothing that failed")]
    Nothing,
    /// It has no such object.
    #[error("has no object {0}")]
    Unknown(ObjectId),
    /// A parent outside of what is to run is not loaded.
    #[error("did not load {parent}, which {object} needs")]
    Needs {
        /// What is to run.
        object: ObjectId,
        /// What it needs.
        parent: ObjectId,
    },
}

impl NoRetry {
    /// What to do about it.
    pub fn hint(self) -> String {
        match self {
            NoRetry::Nothing => "start a run instead, or name an object with --from".to_owned(),
            NoRetry::Unknown(id) => format!("start a run of it: korch start {id}"),
            NoRetry::Needs { parent, .. } => {
                format!(
                    "retry --from {parent}, or say that it is mended: korch mark {parent} loaded --because …"
                )
            }
        }
    }
}

/// The objects of a retry of this run, in the order of its plan: those of `from` and all that follows them, or where none
/// are named what failed, what was skipped for it and what had to do with an older version of it. What they need and was
/// loaded counts as loaded. Left out is what was skipped and also needs an object that never ran, because somebody stopped
/// the run before.
///
/// # Errors
/// Why there is nothing to run.
pub fn again(board: &Board, from: &[ObjectId]) -> Result<Vec<PlannedObject>, NoRetry> {
    let chosen = if from.is_empty() { failed(board) } else { following(board, from)? };
    if chosen.is_empty() {
        return Err(NoRetry::Nothing);
    }
    let is_chosen = |id: &ObjectId| board.position(*id).is_some_and(|at| chosen.contains(&at));
    let objects = board.objects().iter().enumerate().filter(|(i, _)| chosen.contains(i));
    Ok(objects
        .map(|(_, object)| {
            let (parents, loaded): (Vec<ObjectId>, Vec<ObjectId>) =
                object.parents.iter().partition(|parent| is_chosen(parent));
            let satisfied = [object.satisfied.as_slice(), &loaded].concat();
            PlannedObject { parents, satisfied, reused: false, ..object.clone() }
        })
        .collect())
}

fn failed(board: &Board) -> FxHashSet<usize> {
    let mut chosen: FxHashSet<usize> = FxHashSet::default();
    for &i in board.graph().order() {
        let i = i as usize;
        let has_all = || board.parents(i).all(|at| board.phase(at) == Phase::Loaded || chosen.contains(&at));
        match board.phase(i) {
            Phase::Failed => drop(chosen.insert(i)),
            Phase::Skipped if has_all() => drop(chosen.insert(i)),
            Phase::Loaded if !board.attempts(i).degraded().is_empty() => drop(chosen.insert(i)),
            _ => {}
        }
    }
    chosen
}

fn following(board: &Board, from: &[ObjectId]) -> Result<FxHashSet<usize>, NoRetry> {
    let mut stack = Vec::new();
    for &id in from {
        stack.push(board.position(id).ok_or(NoRetry::Unknown(id))?);
    }
    let mut chosen: FxHashSet<usize> = stack.iter().copied().collect();
    while let Some(i) = stack.pop() {
        stack.extend(board.children(i).filter(|child| chosen.insert(*child)));
    }
    let mut needing: Vec<usize> = chosen.iter().copied().collect();
    needing.sort_unstable();
    for i in needing {
        let is_missing = |at: &usize| board.phase(*at) != Phase::Loaded && !chosen.contains(at);
        if let Some(parent) = board.parents(i).find(is_missing) {
            let (object, parent) = (board.object(i).id, board.object(parent).id);
            return Err(NoRetry::Needs { object, parent });
        }
    }
    Ok(chosen)
}

/// Gives the objects the entries that the catalogue has for them now; one that it no longer describes keeps its own.
pub fn refresh(objects: &mut [PlannedObject], entry_of: impl Fn(ObjectId) -> Entry) {
    for object in objects {
        if let Some(entry) = entry_of(object.id) {
            object.entry = Some(entry);
        }
    }
}
