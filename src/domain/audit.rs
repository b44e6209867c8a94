//! The laws of a log, checked from outside: simple code that shares nothing with the fold.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::event::{Body, Epoch, Event, Outcome, Place, PlannedObject, RunId};
use super::object::{ObjectId, Stage};

/// What the log tells of one run, as far as the laws need it.
#[derive(Default)]
struct Story {
    parts: BTreeMap<Epoch, BTreeMap<u32, Vec<PlannedObject>>>,
    plan: Option<(Epoch, BTreeMap<ObjectId, PlannedObject>)>,
    ready: BTreeMap<ObjectId, BTreeSet<u32>>,
    assigned: BTreeMap<(ObjectId, u32), Uuid>,
    loaded: BTreeSet<ObjectId>,
    failed: BTreeSet<ObjectId>,
    skipped: BTreeSet<ObjectId>,
    finished: Option<Outcome>,
}

/// Checks a log whose records are given in an order consistent with time. Says every law that is broken, and where.
pub fn audit<'a>(
    records: impl IntoIterator<Item = (Place, &'a Event)>,
    foreign: &BTreeSet<Stage>,
) -> Result<(), Vec<String>> {
    let mut broken = Vec::new();
    let mut elected: BTreeMap<u32, Epoch> = BTreeMap::new();
    let mut stories: BTreeMap<RunId, Story> = BTreeMap::new();
    let mut working: Option<RunId> = None;
    for (place, event) in records {
        let highest = elected.entry(place.partition).or_insert(0);
        if let Some(epoch) = event.epoch {
            if epoch < *highest {
                continue;
            }
            if matches!(event.body, Body::OrchestratorElected) {
                *highest = epoch;
            }
        }
        let Some(run) = event.run else { continue };
        let mut violation =
            |law: String| broken.push(format!("run {run}, {}/{}: {law}", place.partition, place.offset));
        let story = stories.entry(run).or_default();
        if let Body::RunPlanned(_) = event.body
            && story.plan.is_none()
        {
            if working.is_some_and(|other| other != run) {
                violation(format!("planned while {working:?} goes on"));
            }
            working = Some(run);
        }
        story.apply(event, foreign, &mut violation);
        if story.finished.is_some() && working == Some(run) {
            working = None;
        }
    }
    for (run, story) in &stories {
        if story.plan.is_some() && story.finished.is_none() {
            broken.push(format!("run {run}: planned, and never over"));
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(broken) }
}

impl Story {
    fn apply(&mut self, event: &Event, foreign: &BTreeSet<Stage>, violation: &mut dyn FnMut(String)) {
        let decides =
            matches!(event.body, Body::ObjectReady(_) | Body::ObjectAssigned(_) | Body::ObjectSkipped(_));
        let object = event.body.object().map(|(object, _)| object);
        if decides && self.finished.is_some() && !self.is_repeat(event) {
            violation(format!("{} of {object:?} after the run's end", event.body.event_type()));
        }
        match &event.body {
            Body::RunPlanned(part) => {
                let epoch = event.epoch.unwrap_or(0);
                let parts = self.parts.entry(epoch).or_default();
                parts.entry(part.part).or_insert_with(|| part.objects.clone());
                let is_complete = parts.len() == part.parts as usize;
                if is_complete && self.plan.as_ref().is_none_or(|(known, _)| epoch > *known) {
                    let objects =
                        parts.values().flatten().map(|object| (object.id, object.clone())).collect();
                    self.plan = Some((epoch, objects));
                }
            }
            Body::ObjectReady(ready) => {
                let Some(planned) = self.planned(ready.object) else {
                    return violation(format!("{} is ready and in no plan", ready.object));
                };
                for parent in &planned.parents {
                    if !self.loaded.contains(parent) {
                        violation(format!("{} is ready, its parent {parent} is not loaded", ready.object));
                    }
                }
                let attempts = self.ready.entry(ready.object).or_default();
                if !attempts.contains(&ready.attempt)
                    && attempts.last().map_or(0, |last| *last) + 1 != ready.attempt
                {
                    violation(format!(
                        "{} goes on with attempt {} after {attempts:?}",
                        ready.object, ready.attempt
                    ));
                }
                attempts.insert(ready.attempt);
            }
            Body::ObjectAssigned(assigned) => {
                let key = (assigned.object, assigned.attempt);
                if self.planned(assigned.object).is_none_or(|planned| foreign.contains(&planned.stage)) {
                    violation(format!("{} is assigned, its stage is left to strangers", assigned.object));
                }
                if !self.ready.get(&assigned.object).is_some_and(|ready| ready.contains(&assigned.attempt)) {
                    violation(format!("{key:?} is assigned and was not offered"));
                }
                if *self.assigned.entry(key).or_insert(assigned.instance) != assigned.instance {
                    violation(format!("{key:?} is assigned to two workers"));
                }
            }
            Body::ObjectLoaded(answer) => {
                self.loaded.insert(answer.object);
                self.failed.remove(&answer.object);
            }
            Body::ObjectFailed(answer) if self.loaded.contains(&answer.object) => {}
            Body::ObjectFailed(answer) => drop(self.failed.insert(answer.object)),
            Body::ObjectSkipped(skipped) => {
                if skipped.because.is_empty() {
                    violation(format!("{} is skipped because of nothing", skipped.object));
                }
                for culprit in &skipped.because {
                    if !self.failed.contains(culprit) && !self.loaded.contains(culprit) {
                        violation(format!(
                            "{} is skipped because of {culprit}, which has not failed",
                            skipped.object
                        ));
                    }
                }
                self.skipped.insert(skipped.object);
            }
            Body::RunFinished(finished) => self.finish(finished.outcome, violation),
            _ => {}
        }
    }

    fn finish(&mut self, outcome: Outcome, violation: &mut dyn FnMut(String)) {
        match self.finished {
            Some(known) if known != outcome => violation(format!("ends {known:?} and then {outcome:?}")),
            Some(_) => {}
            None => {
                self.finished = Some(outcome);
                let Some((_, plan)) = &self.plan else { return };
                let left: Vec<ObjectId> = plan
                    .keys()
                    .copied()
                    .filter(|id| {
                        !self.loaded.contains(id) && !self.failed.contains(id) && !self.skipped.contains(id)
                    })
                    .collect();
                if outcome != Outcome::Cancelled && !left.is_empty() {
                    violation(format!("ends {outcome:?} with {left:?} not through"));
                }
                if outcome == Outcome::Succeeded && plan.keys().any(|id| !self.loaded.contains(id)) {
                    violation("succeeds and not everything is loaded".into());
                }
            }
        }
    }

    fn planned(&self, object: ObjectId) -> Option<&PlannedObject> {
        self.plan.as_ref()?.1.get(&object)
    }

    fn is_repeat(&self, event: &Event) -> bool {
        match &event.body {
            Body::ObjectReady(ready) => {
                self.ready.get(&ready.object).is_some_and(|known| known.contains(&ready.attempt))
            }
            Body::ObjectAssigned(assigned) => {
                self.assigned.contains_key(&(assigned.object, assigned.attempt))
            }
            Body::ObjectSkipped(skipped) => self.skipped.contains(&skipped.object),
            _ => false,
        }
    }
}
