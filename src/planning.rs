//! From the catalogue's file to a run's plan. The file is read anew for each run.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::tz::TimeZone;
use serde_json::value::RawValue;

use crate::api::{Preview, Refused};
use crate::catalog_file;
use crate::domain::catalog::Catalog;
use crate::domain::event::{Entry, PlannedObject, compact_json};
use crate::domain::plan::{Missing, Plan};
use crate::domain::problem::{Problems, Warning};
use crate::domain::retry;
use crate::domain::schedule::{Occurrence, Schedule};
use crate::domain::selector::Selection;
use crate::telemetry;

/// Where the catalogue is, and what to do about parents that it does not describe.
#[derive(Clone, Debug)]
pub struct Planning {
    /// The catalogue's file.
    pub file: PathBuf,
    /// What to do about parents that no entry describes.
    pub missing: Missing,
}

impl Planning {
    /// The catalogue and the plan for what these selectors name; none: all final objects and what they need.
    ///
    /// # Errors
    /// Everything that is wrong with the file or the selectors.
    pub fn read(&self, targets: &[String], exclude: &[String]) -> Result<(Catalog, Plan), Problems> {
        let selection = Selection::parse(targets, exclude);
        let file = self.file.display().to_string();
        let catalog = catalog_file::read(&self.file).and_then(|bytes| Catalog::parse(&file, bytes));
        let catalog = catalog.map_err(|problems| problems.and(selection.problems()))?;
        let plan = Plan::make(&catalog, self.missing, &selection)?;
        Ok((catalog, plan))
    }

    /// The catalogue and its schedule.
    ///
    /// # Errors
    /// Everything that is wrong with the file.
    pub fn schedule(&self, zone: &TimeZone) -> Result<(Catalog, Schedule), Problems> {
        let file = self.file.display().to_string();
        let catalog = Catalog::parse(&file, catalog_file::read(&self.file)?)?;
        let schedule = Schedule::of(&catalog, zone.clone());
        Ok((catalog, schedule))
    }

    /// The plan of an occurrence of that schedule.
    ///
    /// # Errors
    /// As [`Planning::read`].
    pub fn occurrence(&self, catalog: &Catalog, due: &Occurrence) -> Result<Plan, Problems> {
        Plan::make(catalog, self.missing, &Selection::parse(&due.targets(), &[]))
    }

    /// Whether everything could be planned now. What is wrong is said on stderr.
    ///
    /// # Errors
    /// When the process is ending.
    pub async fn is_sound(&self) -> anyhow::Result<bool> {
        let planning = self.clone();
        let read = tokio::task::spawn_blocking(move || planning.read(&[], &[]).map(drop)).await?;
        if let Err(problems) = &read {
            telemetry::say_to_people(problems);
        }
        Ok(read.is_ok())
    }

    /// What the API shows of what would run.
    pub fn preview(self) -> Preview {
        Arc::new(move |targets: &[String], exclude: &[String]| {
            self.objects(targets, exclude).map(|(objects, _)| objects).map_err(|problems| refused(&problems))
        })
    }

    /// The objects to run for these selectors, as a plan's events carry them, and what is odd about them.
    ///
    /// # Errors
    /// As [`Planning::read`].
    pub fn objects(
        &self,
        targets: &[String],
        exclude: &[String],
    ) -> Result<(Vec<PlannedObject>, Vec<Warning>), Problems> {
        let (catalog, plan) = self.read(targets, exclude)?;
        let objects = plan
            .objects
            .iter()
            .map(|planned| PlannedObject {
                parents: plan.parents(planned).to_vec(),
                satisfied: plan.satisfied(planned).to_vec(),
                entry: planned
                    .entry
                    .and_then(|entry| one_line(catalog.raw(&catalog.entries()[entry as usize]))),
                ..PlannedObject::new(planned.id, planned.stage, planned.criticality)
            })
            .collect();
        Ok((objects, plan.warnings))
    }

    /// Gives the objects of a retry the entries that the catalogue has for them now.
    ///
    /// # Errors
    /// Everything that is wrong with the file.
    pub fn refresh(&self, mut objects: Vec<PlannedObject>) -> Result<Vec<PlannedObject>, Problems> {
        let file = self.file.display().to_string();
        let catalog = Catalog::parse(&file, catalog_file::read(&self.file)?)?;
        retry::refresh(&mut objects, |id| one_line(catalog.raw(catalog.get(id)?)));
        Ok(objects)
    }
}

/// An entry as it goes on the wire. It was read as JSON, so it is JSON.
fn one_line(raw: &str) -> Entry {
    RawValue::from_string(compact_json(raw)).ok().map(Arc::from)
}

/// Problems as the wire and the API carry them.
pub fn problems_json(problems: &Problems) -> Arc<RawValue> {
    serde_json::value::to_raw_value(&problems.problems)
        .expect("problems are texts and numbers, which are always JSON")
        .into()
}

/// Problems as the API refuses with them.
pub fn refused(problems: &Problems) -> Refused {
    Refused { problems: problems_json(problems), text: problems.to_string() }
}
