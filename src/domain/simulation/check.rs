//! What must hold of a world that has come to its end.

use std::collections::BTreeSet;

use super::world::Fate;
use super::{Ends, Simulation, descendants};
use crate::domain::attempt::Phase;
use crate::domain::audit::audit;
use crate::domain::event::{Event, Outcome, RunId};
use crate::domain::history::History;
use crate::domain::object::ObjectId;
use crate::domain::run::{Run, Stamp};

/// So many other ways of reading the log are tried.
const READINGS: usize = 3;

impl Simulation {
    /// Checks every law; the number of objects that took more than one attempt.
    pub(super) fn check(&mut self) -> Result<usize, String> {
        let log: Vec<(Event, Stamp)> =
            self.world.order.iter().filter_map(|place| self.world.event(*place)).collect();
        let records = log.iter().map(|(event, stamp)| (stamp.place, event));
        audit(records, &self.world.foreign).map_err(|broken| broken.join("\n"))?;
        let history = fold(log.iter().cloned());
        let mut repeated = 0;
        for run in &self.runs {
            let Some(run) = history.run(*run) else { return Err(format!("run {run} is unknown")) };
            self.check_run(run)?;
            repeated += run.board().map_or(0, |board| {
                (0..board.len())
                    .filter(|&i| board.attempts(i).last().is_some_and(|last| last.number > 1))
                    .count()
            });
        }
        for _ in 0..READINGS {
            let other = fold(self.shuffled(&log).into_iter());
            for run in &self.runs {
                same(*run, &history, &other)?;
            }
        }
        Ok(repeated)
    }

    /// The states of a run as the graph alone says that they must be.
    fn check_run(&self, run: &Run) -> Result<(), String> {
        let Some((_, finished)) = &run.finished else { return Err(format!("run {} is not over", run.id)) };
        if finished.outcome == Outcome::Cancelled {
            let asked = self.cancelled.contains(&run.id);
            return if asked { Ok(()) } else { Err(format!("run {} is cancelled and nobody asked", run.id)) };
        }
        let Some(board) = run.board() else { return Err(format!("run {} has no plan", run.id)) };
        let ends: Ends = (0..board.len()).map(|i| (board.object(i).id, board.phase(i))).collect();
        // Objects that took three workers with them fail too, though their work would not.
        let mut failed: BTreeSet<ObjectId> = BTreeSet::new();
        let mut excused: BTreeSet<ObjectId> = BTreeSet::new();
        for (i, object) in board.objects().iter().enumerate() {
            let lost =
                board.attempts(i).failure().is_some_and(|failure| failure.error.contains("workers went"));
            let fate = self.world.fates[&object.id];
            let fails = matches!(fate, Fate::Fails | Fate::KeepsFailing);
            match board.phase(i) {
                Phase::Failed if fails || lost => drop(failed.insert(object.id)),
                // It failed for good, and its last worker's answer came after all.
                Phase::Loaded if lost => drop(excused.insert(object.id)),
                Phase::Loaded if !fails => {}
                Phase::Skipped => {}
                phase => {
                    return Err(format!("run {}: {} is {phase:?}, its work {fate:?}", run.id, object.id));
                }
            }
        }
        let doomed = descendants(&self.catalogue, &failed);
        let maybe = descendants(&self.catalogue, &excused);
        for (id, phase) in &ends {
            let skipped = *phase == Phase::Skipped;
            if skipped != doomed.contains(id) && !maybe.contains(id) {
                return Err(format!("run {}: {id} is {phase:?}, failed are {failed:?}", run.id));
            }
        }
        let all_loaded = ends.values().all(|phase| *phase == Phase::Loaded);
        if (finished.outcome == Outcome::Succeeded) != all_loaded && excused.is_empty() {
            return Err(format!("run {} ends {:?} with {ends:?}", run.id, finished.outcome));
        }
        Ok(())
    }

    /// The log as another reader may see it: the partitions interleaved anew, some records repeated later.
    fn shuffled(&mut self, log: &[(Event, Stamp)]) -> Vec<(Event, Stamp)> {
        let rng = &mut self.world.rng;
        let mut partitions: Vec<Vec<&(Event, Stamp)>> = vec![Vec::new(); self.world.events.len()];
        for record in log {
            partitions[record.1.place.partition as usize].push(record);
        }
        for partition in &mut partitions {
            for _ in 0..partition.len() / 5 {
                let from = rng.usize(0..partition.len());
                let to = rng.usize(from..partition.len());
                partition.insert(to + 1, partition[from]);
            }
        }
        let mut read = Vec::with_capacity(log.len());
        let mut at = vec![0; partitions.len()];
        while at.iter().zip(&partitions).any(|(at, partition)| *at < partition.len()) {
            let partition = rng.usize(0..partitions.len());
            let until = (at[partition] + rng.usize(1..8)).min(partitions[partition].len());
            read.extend(partitions[partition][at[partition]..until].iter().map(|record| (*record).clone()));
            at[partition] = until;
        }
        read
    }
}

fn fold(records: impl Iterator<Item = (Event, Stamp)>) -> History {
    let mut history = History::default();
    for (event, stamp) in records {
        let _ = history.apply(&event, stamp);
    }
    history
}

/// Two readings of one log must tell the same of a run.
fn same(run: RunId, one: &History, other: &History) -> Result<(), String> {
    let (Some(one), Some(other)) = (one.run(run), other.run(run)) else {
        return Err(format!("run {run} is lost"));
    };
    if one.finished.as_ref().map(|(_, finished)| finished.outcome)
        != other.finished.as_ref().map(|(_, finished)| finished.outcome)
    {
        return Err(format!("run {run}: two readings end differently"));
    }
    let (Some(one), Some(other)) = (one.board(), other.board()) else {
        return if one.board().is_none() && other.board().is_none() {
            Ok(())
        } else {
            Err("one has no plan".into())
        };
    };
    for i in 0..one.len() {
        if one.phase(i) != other.phase(i) || one.attempts(i) != other.attempts(i) {
            return Err(format!(
                "run {run}: two readings differ on {}: {:?} and {:?}",
                one.object(i).id,
                one.attempts(i),
                other.attempts(i)
            ));
        }
    }
    Ok(())
}
