//! How many objects that have something in common may run at once: `source=EasyProjects:2`.
//!
//! Objects of one stage that stand under the same limits form a class: whether one of a class may start is true of all of it,
//! so a decision looks at each class and not at each object.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::event::PlannedObject;
use super::object::Stage;
use super::selector::nearest;

/// A run may stand under so many limits.
pub const MAX_LIMITS: usize = 1_000;
/// A limit is written in at most so many bytes.
const MAX_LIMIT_BYTES: usize = 1_000;

/// At most so many objects with this value of this field run at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Limit {
    /// `stage`, `source`, `criticality`, or the name of a field of the catalogue's entries.
    pub key: String,
    /// Its value, in any case. `*`: each value has a limit of its own.
    pub value: String,
    /// How many at most.
    pub most: u32,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}:{}", self.key, self.value, self.most)
    }
}

impl From<Limit> for String {
    fn from(limit: Limit) -> String {
        limit.to_string()
    }
}

impl TryFrom<String> for Limit {
    type Error = String;

    fn try_from(text: String) -> Result<Limit, String> {
        text.parse()
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Limit, String> {
        let hint = || {
            format!(
                "{text:?} is no limit: write KEY=VALUE:N, as source=EasyProjects:2, stage=application:8, or FIELD=*:1 for each value of a field"
            )
        };
        if text.len() > MAX_LIMIT_BYTES {
            return Err(format!("a limit has at most {MAX_LIMIT_BYTES} bytes"));
        }
        let (key, rest) = text.split_once('=').ok_or_else(hint)?;
        let (value, most) = rest.rsplit_once(':').ok_or_else(hint)?;
        let (key, value) = (key.trim(), value.trim());
        let most: u32 = most.trim().parse().map_err(|_| hint())?;
        if key.is_empty() || value.is_empty() {
            return Err(hint());
        }
        if most == 0 {
            return Err(format!(
                "{text:?} would let nothing run: a limit is at least 1; leave objects out with --exclude"
            ));
        }
        if key == "stage" && value != "*" {
            value.parse::<Stage>()?;
        }
        Ok(Limit { key: key.to_owned(), value: value.to_owned(), most })
    }
}

/// The objects of a plan by what may hold them back.
#[derive(Clone, Debug, Default)]
pub struct Classes {
    /// The class of each object of the plan.
    of: Vec<u32>,
    classes: Vec<Class>,
    pools: Vec<Pool>,
}

/// Objects of one stage under the same limits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Class {
    /// Their stage.
    pub stage: Stage,
    /// The pools that they all are in, ascending.
    pub pools: Vec<u32>,
}

/// The objects that one limit counts together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The limit with the value that it holds for.
    pub limit: Limit,
}

impl Classes {
    /// The classes of these objects under these limits.
    pub fn of(objects: &[PlannedObject], limits: &[Limit]) -> Classes {
        let mut classes = Classes::default();
        let mut known: FxHashMap<Class, u32> = FxHashMap::default();
        let mut pools: FxHashMap<(usize, String), u32> = FxHashMap::default();
        // The lowest limit of the same key and value holds; the others are held with it.
        let of_entries = limits.iter().any(|limit| !matches!(&*limit.key, "stage" | "criticality"));
        let wanted: Vec<String> = limits.iter().map(|limit| limit.value.to_lowercase()).collect();
        for object in objects {
            let entry: Value = match &object.entry {
                Some(entry) if of_entries => serde_json::from_str(entry.get()).unwrap_or(Value::Null),
                _ => Value::Null,
            };
            let mut class = Class { stage: object.stage, pools: Vec::new() };
            for (at, limit) in limits.iter().enumerate() {
                let Some(value) = value_of(object, &entry, &limit.key) else { continue };
                let lower = value.to_lowercase();
                if limit.value != "*" && lower != wanted[at] {
                    continue;
                }
                let next = classes.pools.len() as u32;
                let pool = *pools.entry((at, lower)).or_insert(next);
                if pool == next {
                    classes.pools.push(Pool { limit: Limit { value, ..limit.clone() } });
                }
                class.pools.push(pool);
            }
            let next = classes.classes.len() as u32;
            let number = *known.entry(class).or_insert_with_key(|class| {
                classes.classes.push(class.clone());
                next
            });
            classes.of.push(number);
        }
        classes
    }

    /// The class of the object at this position.
    pub fn class(&self, i: usize) -> usize {
        self.of[i] as usize
    }

    /// Every class.
    pub fn all(&self) -> &[Class] {
        &self.classes
    }

    /// Every pool that has objects.
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }
}

/// The limits that hold nothing of these objects back, each in a sentence that says what may be meant.
pub fn idle(objects: &[PlannedObject], limits: &[Limit]) -> Vec<String> {
    let classes = Classes::of(objects, limits);
    let counts = |limit: &Limit| {
        classes.pools.iter().any(|Pool { limit: pool }| {
            let is_value = limit.value == "*" || pool.value.to_lowercase() == limit.value.to_lowercase();
            pool.key == limit.key && pool.most == limit.most && is_value
        })
    };
    let idle = limits.iter().filter(|limit| !counts(limit));
    idle.map(|limit| {
        let entries = objects.iter().map(|object| {
            let entry = object.entry.as_ref().and_then(|entry| serde_json::from_str(entry.get()).ok());
            (object, entry.unwrap_or(Value::Null))
        });
        let mut values: BTreeMap<String, String> = BTreeMap::new();
        for value in entries.filter_map(|(object, entry)| value_of(object, &entry, &limit.key)) {
            values.entry(value.to_lowercase()).or_insert(value);
        }
        let hint = match nearest(&limit.value, values.values()) {
            Some(value) => format!(" (did you mean {value}?)"),
            None if values.is_empty() => format!(": no object has {:?}", limit.key),
            None => String::new(),
        };
        format!("limit {limit} matches nothing{hint}")
    })
    .collect()
}

/// What an object has for a limit's key.
fn value_of(object: &PlannedObject, entry: &Value, key: &str) -> Option<String> {
    match key {
        "stage" => Some(object.stage.name().to_owned()),
        "criticality" => Some(object.criticality.name().to_owned()),
        "source" => text(entry.get("NomSource")).or_else(|| text(entry.get("NomSource0LookupId"))),
        field => text(entry.get(field)),
    }
}

fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(bool) => Some(bool.to_string()),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use serde_json::value::RawValue;

    use super::*;
    use crate::domain::object::{Criticality, ObjectId};

    #[test]
    fn a_limit_is_read_or_says_what_to_write() {
        for (text, expected) in [
            ("source=EasyProjects:2", Ok(("source", "EasyProjects", 2))),
            ("stage=application:8", Ok(("stage", "application", 8))),
            ("URL=https://x:8080/y:3", Ok(("URL", "https://x:8080/y", 3))),
            (" NomEntreprise = A B : 1 ", Ok(("NomEntreprise", "A B", 1))),
            ("source=*:1", Ok(("source", "*", 1))),
            ("source=Sage", Err("KEY=VALUE:N")),
            ("Sage:2", Err("KEY=VALUE:N")),
            ("source=Sage:x", Err("KEY=VALUE:N")),
            ("source=:2", Err("KEY=VALUE:N")),
            ("source=Sage:0", Err("at least 1")),
            ("stage=ingst:2", Err("unknown stage")),
        ] {
            match (text.parse::<Limit>(), expected) {
                (Ok(limit), Ok((key, value, most))) => {
                    assert_eq!((&*limit.key, &*limit.value, limit.most), (key, value, most));
                    assert_eq!(limit.to_string().parse::<Limit>(), Ok(limit));
                }
                (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
                (actual, expected) => panic!("{text}: {actual:?}, {expected:?}"),
            }
        }
    }

    #[test]
    fn objects_are_classed_by_what_may_hold_them_back() {
        let object = |id: u64, entry: &str| PlannedObject {
            entry: Some(Arc::from(RawValue::from_string(entry.into()).unwrap())),
            ..PlannedObject::new(ObjectId(id), Stage::of_id(ObjectId(id)).unwrap(), Criticality::Medium)
        };
        let objects = [
            object(1001, r#"{"NomSource":"Sage","n":1}"#),
            object(1002, r#"{"NomSource":"SAGE","n":2}"#),
            object(1003, r#"{"NomSource0LookupId":"sage"}"#),
            object(1004, r#"{"NomSource":"Other","n":1}"#),
            object(2001, r#"{"NomSource":"Sage"}"#),
            PlannedObject::new(ObjectId(2002), Stage::Standardize, Criticality::Medium),
        ];
        let limits: Vec<Limit> = ["source=sage:2", "n=*:1"].map(|text| text.parse().unwrap()).into();
        let classes = Classes::of(&objects, &limits);
        let pools = |i: usize| -> Vec<String> {
            let class = &classes.all()[classes.class(i)];
            assert_eq!(class.stage, objects[i].stage);
            class.pools.iter().map(|&pool| classes.pools()[pool as usize].limit.to_string()).collect()
        };
        assert_eq!(pools(0), ["source=Sage:2", "n=1:1"]);
        assert_eq!(pools(1), ["source=Sage:2", "n=2:1"]);
        assert_eq!(pools(2), ["source=Sage:2"]);
        assert_eq!(pools(3), ["n=1:1"]);
        assert_eq!(pools(4), ["source=Sage:2"]);
        assert!(pools(5).is_empty());
        assert_eq!(Classes::of(&objects, &[]).all().len(), 2);

        let limits: Vec<Limit> = ["source=Sgae:2", "sorce=Sage:2", "n=7:1", "n=2:1", "n=*:9"]
            .map(|text| text.parse().unwrap())
            .into();
        assert_eq!(
            idle(&objects, &limits),
            [
                "limit source=Sgae:2 matches nothing (did you mean Sage?)",
                "limit sorce=Sage:2 matches nothing: no object has \"sorce\"",
                "limit n=7:1 matches nothing (did you mean 1?)",
            ]
        );
    }
}
