//! The laws of a log, checked from outside.
//!
//! Shares no code with the fold: what [`super::run`] believes is checked against a second, simpler reading of the same
//! events. Knows neither the members topic nor what a leader had read when it decided.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::event::{
    Answer, Body, Counts, Epoch, Event, Finished, MarkedAs, Outcome, Place, PlanPart, PlannedObject, RunId,
    Skipped,
};
use super::object::{ObjectId, Stage};
use super::rules::{OnFailure, Rules};

/// The state of an object as the audit sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is decided yet, or an attempt is under way.
    Open,
    /// Loaded.
    Loaded,
    /// Failed for good.
    Failed,
    /// It will not run in this run.
    Skipped,
}

/// Reads a log event by event, in an order that is consistent with time, and notes what breaks a law.
#[derive(Debug, Default)]
pub struct Audit {
    foreign: BTreeSet<Stage>,
    elected: BTreeMap<u32, Epoch>,
    runs: BTreeMap<RunId, AuditedRun>,
    violations: Vec<String>,
    void: usize,
}

#[derive(Debug, Default)]
struct AuditedRun {
    cancelled: bool,
    parts: BTreeMap<Epoch, BTreeMap<u32, PlanPart>>,
    plan: Option<(Epoch, Rules, BTreeMap<ObjectId, PlannedObject>)>,
    objects: BTreeMap<ObjectId, AuditedObject>,
    finished: Option<(Epoch, Finished)>,
}

#[derive(Debug, Default)]
struct AuditedObject {
    offered: u32,
    assigned: BTreeMap<u32, Uuid>,
    /// By attempt: none is loaded, else whether the failure is worth another try.
    answers: BTreeMap<u32, Option<bool>>,
    /// The attempt that it was skipped at, unless a later one was offered.
    skipped: Option<u32>,
    marked_loaded: bool,
    marked_failed: bool,
    /// It was skipped at some time, even if it was offered later.
    ever_skipped: bool,
    /// It stood as failed for good at some time, even if it was loaded later.
    ever_failed: bool,
}

impl AuditedObject {
    fn is_loaded(&self) -> bool {
        self.marked_loaded || self.answers.values().any(Option::is_none)
    }

    fn verdict(&self, retries: u32) -> Verdict {
        if self.skipped.is_some() && !self.marked_loaded {
            return Verdict::Skipped;
        }
        if self.is_loaded() {
            return Verdict::Loaded;
        }
        if self.marked_failed {
            return Verdict::Failed;
        }
        let last = self.answers.last_key_value();
        match last {
            Some((&attempt, Some(retryable)))
                if attempt >= self.offered.max(self.assigned.keys().next_back().copied().unwrap_or(0)) =>
            {
                if *retryable && self.answers.len() <= retries as usize {
                    Verdict::Open
                } else {
                    Verdict::Failed
                }
            }
            _ => Verdict::Open,
        }
    }
}

impl AuditedRun {
    fn retries(&self) -> u32 {
        self.plan.as_ref().map_or(0, |(_, rules, _)| rules.retries)
    }

    fn on_failure(&self) -> OnFailure {
        self.plan.as_ref().map_or(OnFailure::Skip, |(_, rules, _)| rules.on_failure)
    }

    fn planned_object(&self, object: ObjectId) -> Option<&PlannedObject> {
        self.plan.as_ref().and_then(|(_, _, plan)| plan.get(&object))
    }

    fn is_reused(&self, object: ObjectId) -> bool {
        self.planned_object(object).is_some_and(|object| object.reused)
    }

    /// Whether an earlier version of an object that failed or was skipped may serve in its place.
    fn stands_in(&self, object: ObjectId) -> bool {
        let gave_up = self.objects.get(&object).is_some_and(|known| known.ever_failed || known.ever_skipped);
        let is_good = self.planned_object(object).is_some_and(|object| object.last_good.is_some());
        self.on_failure() == OnFailure::Continue && gave_up && is_good
    }

    fn verdict(&self, object: ObjectId) -> Verdict {
        if self.is_reused(object) {
            return Verdict::Loaded;
        }
        self.objects.get(&object).map_or(Verdict::Open, |known| known.verdict(self.retries()))
    }

    fn is_loaded(&self, object: ObjectId) -> bool {
        self.is_reused(object) || self.objects.get(&object).is_some_and(AuditedObject::is_loaded)
    }

    fn ancestors(&self, object: ObjectId) -> BTreeSet<ObjectId> {
        let Some((_, _, plan)) = &self.plan else { return BTreeSet::new() };
        let mut seen = BTreeSet::new();
        let mut stack = vec![object];
        while let Some(at) = stack.pop() {
            for &parent in plan.get(&at).into_iter().flat_map(|planned| &planned.parents) {
                if seen.insert(parent) {
                    stack.push(parent);
                }
            }
        }
        seen
    }
}

impl Audit {
    /// An audit of a log on which these stages are left to strangers.
    pub fn new(foreign: BTreeSet<Stage>) -> Audit {
        Audit { foreign, ..Audit::default() }
    }

    /// Reads the next event.
    pub fn observe(&mut self, place: Place, event: &Event) {
        let epoch = event.epoch.unwrap_or(0);
        if event.epoch.is_some() {
            let elected = self.elected.entry(place.partition).or_insert(0);
            if epoch < *elected {
                self.void += 1;
                return;
            }
            if matches!(event.body, Body::OrchestratorElected) {
                *elected = epoch;
                return;
            }
        }
        let Some(id) = event.run else { return };
        let mut found = Vec::new();
        match &event.body {
            Body::RunPlanned(part) => self.planned(id, epoch, part, &mut found),
            Body::RunCancelRequested(_) => self.run(id).cancelled = true,
            Body::ObjectReady(ready) => {
                let run = self.run(id);
                let object = run.objects.entry(ready.object).or_default();
                if ready.attempt <= object.offered {
                    return; // a repeat
                }
                // A worker may have answered an attempt of which only a void offer exists.
                let answered = object.answers.keys().next_back().copied().unwrap_or(0);
                let skipped = object.skipped.filter(|at| *at < ready.attempt);
                let last = object.offered.max(answered).max(skipped.unwrap_or(0));
                if ready.attempt != object.offered + 1 && ready.attempt != last + 1 {
                    found.push(format!("attempt {} is offered after {}", ready.attempt, object.offered));
                }
                object.offered = ready.attempt;
                if skipped.is_some() {
                    object.skipped = None;
                }
                run.check_open("offered", &mut found);
                run.check_parents(ready.object, &mut found);
            }
            Body::ObjectAssigned(assigned) => {
                let foreign = self.foreign.clone();
                let run = self.run(id);
                let object = run.objects.entry(assigned.object).or_default();
                match object.assigned.get(&assigned.attempt) {
                    Some(&instance) if instance == assigned.instance => return, // a repeat
                    Some(_) => found.push(format!("attempt {} is assigned twice", assigned.attempt)),
                    None => drop(object.assigned.insert(assigned.attempt, assigned.instance)),
                }
                if assigned.attempt > object.offered {
                    found.push(format!("attempt {} is assigned before it is offered", assigned.attempt));
                }
                run.check_open("assigned", &mut found);
                let planned = run.plan.as_ref().and_then(|(_, _, plan)| plan.get(&assigned.object));
                if planned.is_some_and(|planned| foreign.contains(&planned.stage)) {
                    found.push("an object of a stage left to strangers is assigned".to_owned());
                }
            }
            Body::ObjectLoaded(answer) => self.run(id).answered(answer, None),
            Body::ObjectFailed(answer) => {
                self.run(id).answered(answer, Some(answer.meta.retryable.unwrap_or(false)));
            }
            Body::ObjectSkipped(skipped) => self.run(id).skipped(skipped, &mut found),
            Body::RunFinished(finished) => self.run(id).finished(epoch, finished, &mut found),
            Body::ObjectMarked(marked) => {
                let run = self.run(id);
                let retries = run.retries();
                let object = run.objects.entry(marked.object).or_default();
                match marked.state {
                    MarkedAs::Loaded => object.marked_loaded = true,
                    MarkedAs::Failed => object.marked_failed = true,
                }
                object.ever_failed |= object.verdict(retries) == Verdict::Failed;
            }
            Body::RunRequested(_) | Body::RunPauseRequested(_) | Body::RunResumeRequested(_) => {
                self.run(id);
            }
            Body::OrchestratorElected => {}
        }
        let what = event.body.object().map_or_else(String::new, |(object, _)| format!(" object {object}"));
        self.violations.extend(
            found
                .into_iter()
                .map(|text| format!("{}:{} run {id}{what}: {text}", place.partition, place.offset)),
        );
    }

    fn run(&mut self, id: RunId) -> &mut AuditedRun {
        self.runs.entry(id).or_default()
    }

    fn planned(&mut self, id: RunId, epoch: Epoch, part: &PlanPart, found: &mut Vec<String>) {
        let run = self.runs.entry(id).or_default();
        let known = run.plan.as_ref().map(|(epoch, _, _)| *epoch);
        let parts = run.parts.entry(epoch).or_default();
        parts.entry(part.part).or_insert_with(|| part.clone());
        if parts.len() < part.parts as usize || known.is_some_and(|known| known >= epoch) {
            return;
        }
        let objects = parts.values().flat_map(|part| &part.objects);
        let objects: BTreeMap<_, _> = objects.map(|object| (object.id, object.clone())).collect();
        run.plan = Some((epoch, part.rules.clone(), objects));
        if run.finished.is_some() {
            found.push("planned after its end".to_owned());
        }
        let open = self
            .runs
            .iter()
            .find(|(other, run)| **other != id && run.plan.is_some() && run.finished.is_none());
        if let (None, Some((other, _))) = (known, open) {
            found.push(format!("planned while run {other} is not over"));
        }
    }

    /// What breaks a law, in the order in which it was found.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// How many decisions were void.
    pub fn void(&self) -> usize {
        self.void
    }

    /// The runs of which no effective end was read.
    pub fn unfinished(&self) -> Vec<RunId> {
        self.runs.iter().filter(|(_, run)| run.finished.is_none()).map(|(id, _)| *id).collect()
    }

    /// How a run ended.
    pub fn finished(&self, id: RunId) -> Option<&Finished> {
        self.runs.get(&id)?.finished.as_ref().map(|(_, finished)| finished)
    }

    /// Where every object of a run's plan stands, and whether it stood as failed at some time.
    pub fn verdicts(&self, id: RunId) -> BTreeMap<ObjectId, (Verdict, bool)> {
        let Some(run) = self.runs.get(&id) else { return BTreeMap::new() };
        let planned = run.plan.iter().flat_map(|(_, _, plan)| plan.keys());
        planned
            .map(|&object| {
                let ever_failed = run.objects.get(&object).is_some_and(|known| known.ever_failed);
                (object, (run.verdict(object), ever_failed))
            })
            .collect()
    }
}

impl AuditedRun {
    fn check_open(&self, what: &str, found: &mut Vec<String>) {
        if self.finished.is_some() {
            found.push(format!("{what} after the run's end"));
        }
        if self.plan.is_none() {
            found.push(format!("{what} before the plan is complete"));
        }
    }

    fn check_parents(&self, object: ObjectId, found: &mut Vec<String>) {
        let Some((_, _, plan)) = &self.plan else { return };
        let Some(planned) = plan.get(&object) else {
            found.push("offered though the plan has no such object".to_owned());
            return;
        };
        for parent in planned.parents.iter().filter(|parent| plan.contains_key(parent)) {
            if !self.is_loaded(*parent) && !self.stands_in(*parent) {
                found.push(format!("offered before its parent {parent} is loaded"));
            }
        }
    }

    fn answered(&mut self, answer: &Answer, failure: Option<bool>) {
        let retries = self.retries();
        let object = self.objects.entry(answer.object).or_default();
        object.answers.entry(answer.attempt).or_insert(failure);
        object.ever_failed |= object.verdict(retries) == Verdict::Failed;
    }

    fn skipped(&mut self, skipped: &Skipped, found: &mut Vec<String>) {
        let stops = self.on_failure() == OnFailure::Stop;
        let object = self.objects.entry(skipped.object).or_default();
        if object.skipped.is_some() || skipped.attempt <= object.offered {
            return; // a repeat
        }
        // What was skipped, offered and failed again may not be skipped: it failed.
        if object.offered > 0 && !stops && !object.ever_skipped {
            found.push("skipped though it was offered".to_owned());
        }
        object.skipped = Some(skipped.attempt);
        object.ever_skipped = true;
        self.check_open("skipped", found);
        let ancestors = self.ancestors(skipped.object);
        if skipped.because.is_empty() {
            found.push("skipped without a reason".to_owned());
        }
        for culprit in &skipped.because {
            // A load that comes after the failure may have been too late for the leader to see.
            if !stops && !ancestors.contains(culprit) {
                found.push(format!("skipped because of {culprit}, which is no ancestor"));
            } else if !self.objects.get(culprit).is_some_and(|culprit| culprit.ever_failed) {
                found.push(format!("skipped because of {culprit}, which did not fail"));
            }
        }
    }

    fn finished(&mut self, epoch: Epoch, finished: &Finished, found: &mut Vec<String>) {
        if let Some((first_epoch, first)) = &self.finished {
            let same = first.outcome == finished.outcome && first.counts == finished.counts;
            if *first_epoch != epoch || !same {
                found.push("a second, different end".to_owned());
            }
            return;
        }
        let counts = finished.counts;
        if counts.objects != self.plan.as_ref().map_or(0, |(_, _, plan)| plan.len() as u64) {
            found.push(format!("the end counts {} objects, the plan has others", counts.objects));
        }
        match (finished.outcome, finished.reason.as_deref()) {
            (Outcome::Cancelled, _) if !self.cancelled => found.push("cancelled by nobody".to_owned()),
            (Outcome::Cancelled, _) | (_, Some("log-truncated" | "bad-catalogue" | "nothing-to-retry")) => {}
            (outcome, _) => self.check_end(outcome, counts, found),
        }
        self.finished = Some((epoch, finished.clone()));
    }

    /// Whether the end of a run agrees with its objects. One that was loaded after it had failed may count as either:
    /// the load may have come too late for the leader to see.
    fn check_end(&self, outcome: Outcome, counts: Counts, found: &mut Vec<String>) {
        let Some((_, _, plan)) = &self.plan else {
            found.push("over without a plan".to_owned());
            return;
        };
        let (mut loaded, mut failed, mut skipped, mut either, mut mended) = (0, 0, 0, 0, 0);
        for &object in plan.keys() {
            let known = self.objects.get(&object);
            let ever_failed = known.is_some_and(|known| known.ever_failed);
            let was_skipped = known.is_some_and(|known| known.marked_loaded && known.ever_skipped);
            match self.verdict(object) {
                Verdict::Loaded if was_skipped => mended += 1,
                Verdict::Loaded if ever_failed => either += 1,
                Verdict::Loaded => loaded += 1,
                Verdict::Failed => failed += 1,
                Verdict::Skipped => skipped += 1,
                Verdict::Open => found.push(format!("over though object {object} is not through")),
            }
        }
        let agree = (loaded..=loaded + either + mended).contains(&counts.loaded)
            && (failed..=failed + either + mended).contains(&counts.failed)
            && (skipped..=skipped + mended).contains(&counts.skipped)
            && counts.loaded + counts.failed + counts.skipped == counts.objects;
        if !agree {
            found.push(format!(
                "the end says {counts:?}, the objects {loaded} loaded, {failed} failed, {skipped} skipped, {either} either, {mended} mended"
            ));
        }
        if (outcome == Outcome::Succeeded) != (counts.loaded == counts.objects) {
            found.push(format!("outcome {outcome:?} with {counts:?}"));
        }
    }
}

/// Audits a whole log. The violations, none if the log is sound.
pub fn audit<'a>(
    records: impl IntoIterator<Item = (Place, &'a Event)>,
    foreign: &BTreeSet<Stage>,
) -> Vec<String> {
    let mut audit = Audit::new(foreign.clone());
    for (place, event) in records {
        audit.observe(place, event);
    }
    audit.violations
}
