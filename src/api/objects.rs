//! A run's objects, one by one and field by field.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::ask::{list, path, query};
use super::problem::Problem;
use super::runs::{RunName, kept, run_id};
use super::{Answer, Ctx, Shared, blocking, json_bytes, views};
use crate::domain::event::{Entry, RunId};
use crate::domain::object::{MAX_OBJECT_ID, ObjectId};

/// So many fields are told in one answer.
const MOST_FIELDS: usize = 8;

/// The fields of an entry, in their order.
pub(super) struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Fields<'a> {
    /// Their names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }

    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields<'a>, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an entry")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                #[derive(Deserialize)]
                struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
                let mut fields = Vec::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    fields.push((name, value));
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(InOrder).map(Fields)
    }
}

/// The id that a path names.
pub(super) fn object_id(text: &str) -> Result<ObjectId, Problem> {
    let id = text.parse().ok().filter(|id| *id <= MAX_OBJECT_ID).map(ObjectId);
    id.ok_or_else(|| Problem::not_found(format!("{text:?} is no object's id: ids are numbers")))
}

/// The run and the object that a path names.
pub(super) fn run_and_object(
    shared: &Shared,
    named: Result<Path<(String, String)>, PathRejection>,
) -> Result<(RunId, ObjectId), Problem> {
    let (run, object) = path(named)?;
    Ok((run_id(shared, &run)?, object_id(&object)?))
}

/// That a run has no such object.
pub(super) fn no_object(run: RunId, object: ObjectId) -> Problem {
    Problem::not_found(format!(
        "run {run} has no object {object}: its id is another one, or no target of the run needs it"
    ))
}

/// One object of a run, with its entry, its parents and its children
#[utoipa::path(
    get, path = "/runs/{id}/objects/{object}", tag = "runs",
    params(
        ("id" = RunName, Path, description = "The run."),
        ("object" = ObjectId, Path, description = "The object."),
    ),
    responses(
        (status = 200, description = "The object.", body = views::ObjectDetail<'static>),
        (status = 404, description = "There is no such run, it has no such object, or it is too long ago."),
    )
)]
pub(super) async fn object(
    State(shared): Ctx,
    named: Result<Path<(String, String)>, PathRejection>,
) -> Answer {
    let (id, object) = run_and_object(&shared, named)?;
    let json = shared.api.view.read(|known| {
        let run = kept(&known.history, id)?;
        let at = run.board().and_then(|board| Some((board, board.position(object)?)));
        let (board, i) = at.ok_or_else(|| no_object(id, object))?;
        serde_json::to_vec(&views::ObjectDetail::of(run, board, i)).map_err(|error| Problem::not_json(&error))
    })?;
    Ok(json_bytes(StatusCode::OK, json))
}

#[derive(Deserialize)]
pub(super) struct FieldsQuery {
    names: Option<String>,
}

/// Fields of all objects, each with a value for every object in the order of the plan.
#[derive(Serialize, ToSchema)]
#[schema(as = Fields)]
struct FieldsView<'a> {
    plan: String,
    #[schema(value_type = BTreeMap<String, Vec<Value>>)]
    fields: BTreeMap<&'a str, Vec<Option<&'a RawValue>>>,
}

/// Fields of all entries of a run's objects
///
/// Each with a value for every object in the order of the plan, null where an entry has no such field.
#[utoipa::path(
    get, path = "/runs/{id}/fields", tag = "runs",
    params(
        ("id" = RunName, Path, description = "The run."),
        ("names" = Option<String>, Query, description = "The names of the fields, at most eight, with commas between them; a name with a comma cannot be asked for.", pattern = "^[^,]*(,[^,]*){0,7}$"),
    ),
    responses(
        (status = 200, description = "The values.", body = FieldsView<'static>),
        (status = 400, description = "Too many names."),
        (status = 404, description = "There is no such run, it is not planned, or it is too long ago."),
    )
)]
pub(super) async fn fields(
    State(shared): Ctx,
    id: Result<Path<String>, PathRejection>,
    asked: Result<Query<FieldsQuery>, QueryRejection>,
) -> Answer {
    let names = query(asked)?.names.unwrap_or_default();
    let id = run_id(&shared, &path(id)?)?;
    let known = shared.api.view.read(|known| {
        let run = known.history.run(id)?;
        let entries = run.board()?.objects().iter().map(|object| object.entry.clone());
        Some((run.plan_key()?, entries.collect::<Vec<Entry>>()))
    });
    let (plan, entries) = known
        .ok_or_else(|| Problem::not_found(format!("run {id} is not planned, unknown, or too long ago")))?;
    let count = list(&names).count();
    if count > MOST_FIELDS {
        return Err(Problem::bad_request(format!("at most {MOST_FIELDS} names at a time, not {count}")));
    }
    let json = blocking(move || {
        let wanted: Vec<&str> = list(&names).collect();
        let mut fields: BTreeMap<&str, Vec<Option<&RawValue>>> =
            wanted.iter().map(|name| (*name, Vec::with_capacity(entries.len()))).collect();
        for entry in &entries {
            let of_entry =
                entry.as_ref().and_then(|entry| serde_json::from_str::<Fields<'_>>(entry.get()).ok());
            for (name, values) in &mut fields {
                values.push(of_entry.as_ref().and_then(|of_entry| of_entry.get(name)));
            }
        }
        serde_json::to_vec(&FieldsView { plan: plan.to_string(), fields })
    })
    .await?
    .map_err(|error| Problem::not_json(&error))?;
    Ok(json_bytes(StatusCode::OK, json))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_order_and_their_letters() {
        let fields: Fields<'_> = serde_json::from_str(r#"{"b":1.0,"a":{"x":[]},"caf\u00e9":null}"#).unwrap();
        assert_eq!(fields.names().collect::<Vec<_>>(), ["b", "a", "café"]);
        assert_eq!(fields.get("b").unwrap().get(), "1.0");
        assert!(fields.get("c").is_none());
    }
}
