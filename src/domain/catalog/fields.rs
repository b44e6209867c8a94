//! What stands in an entry: the fields that korch reads, and the ids in them.

use std::borrow::Cow;
use std::fmt;

use rustc_hash::FxHashSet;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::domain::object::{MAX_OBJECT_ID, ObjectId};

/// The fields of an entry that korch reads, as the file has them. Of a field given twice the last one counts.
#[derive(Default)]
pub(super) struct Fields<'a> {
    pub(super) id: Option<&'a str>,
    pub(super) parents: Option<&'a str>,
    pub(super) name: Option<&'a str>,
    pub(super) zone: Option<&'a str>,
    pub(super) criticality: Option<&'a str>,
    pub(super) frequency: Option<&'a str>,
    pub(super) state: Option<&'a str>,
}

#[derive(Clone, Copy)]
enum Key {
    Id,
    Parents,
    Name,
    Zone,
    Criticality,
    Frequency,
    State,
    Other,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Key, D::Error> {
        struct Keys;
        impl Visitor<'_> for Keys {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E>(self, key: &str) -> Result<Key, E> {
                Ok(match key {
                    "IdObjet" => Key::Id,
                    "IdObjet_Parent" => Key::Parents,
                    "NomObjet" => Key::Name,
                    "Zone" => Key::Zone,
                    // Composed (NFC) and decomposed (NFD): macOS writes the latter.
                    "Criticit\u{e9}" | "Criticite\u{301}" => Key::Criticality,
                    "Fr\u{e9}quence" | "Fre\u{301}quence" => Key::Frequency,
                    "EtatObjet" => Key::State,
                    _ => Key::Other,
                })
            }
        }
        from.deserialize_identifier(Keys)
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Fields<'de>, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Fields::default();
                while let Some(key) = map.next_key::<Key>()? {
                    let field = match key {
                        Key::Id => &mut fields.id,
                        Key::Parents => &mut fields.parents,
                        Key::Name => &mut fields.name,
                        Key::Zone => &mut fields.zone,
                        Key::Criticality => &mut fields.criticality,
                        Key::Frequency => &mut fields.frequency,
                        Key::State => &mut fields.state,
                        Key::Other => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    *field = Some(map.next_value::<&'de RawValue>()?.get());
                }
                Ok(fields)
            }
        }
        from.deserialize_map(Entries)
    }
}

/// The fields that say what an object is loaded from, as the file has them. Of a field given twice the last one counts.
#[derive(Default)]
pub(super) struct Sources<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) lookup: Option<&'a str>,
}

impl<'de> Deserialize<'de> for Sources<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Sources<'de>, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Sources<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sources<'de>, A::Error> {
                let mut sources = Sources::default();
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    let field = match &*key {
                        "NomSource" => &mut sources.name,
                        "NomSource0LookupId" => &mut sources.lookup,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    *field = Some(map.next_value::<&'de RawValue>()?.get());
                }
                Ok(sources)
            }
        }
        from.deserialize_map(Entries)
    }
}

/// Why a text is no id.
#[derive(Clone, Copy)]
pub(super) enum NoId {
    NotANumber,
    NotWhole,
    OutOfRange,
}

impl NoId {
    pub(super) fn message(self, what: &str, quoted: &str) -> String {
        match self {
            NoId::NotANumber => format!("{what} is not a number: {}", cut(quoted)),
            NoId::NotWhole => format!("{what} is not a whole number: {}", cut(quoted)),
            NoId::OutOfRange => {
                format!(
                    "{what} is out of range: {}; ids are whole numbers from 0 to {MAX_OBJECT_ID}",
                    cut(quoted)
                )
            }
        }
    }

    pub(super) fn hint(self) -> &'static str {
        match self {
            NoId::NotANumber => "write a whole number, or a string of digits",
            NoId::NotWhole => "write 1001 where it says 1001.0 or 1e3",
            NoId::OutOfRange => "larger or negative numbers are not exact in every language",
        }
    }
}

/// An id as JSON has it: a number or a string of digits.
pub(super) fn id_of(raw: &str) -> Result<ObjectId, NoId> {
    match raw.as_bytes().first() {
        Some(b'"') => id_of_text(&unquoted(raw)),
        Some(b'-' | b'0'..=b'9') => id_of_text(raw),
        _ => Err(NoId::NotANumber),
    }
}

fn id_of_text(text: &str) -> Result<ObjectId, NoId> {
    // Sixteen digits cannot overflow: the way that nearly every id takes.
    if (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let id = text.bytes().fold(0, |id, digit| id * 10 + u64::from(digit - b'0'));
        return if id <= MAX_OBJECT_ID { Ok(ObjectId(id)) } else { Err(NoId::OutOfRange) };
    }
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return match text.parse::<u64>() {
            Ok(id) if id <= MAX_OBJECT_ID => Ok(ObjectId(id)),
            _ => Err(NoId::OutOfRange),
        };
    }
    // A number that is none of ours, or no number at all: `-5`, `10.5`, `1e3`, but not `inf`, not `+7`.
    let number =
        text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) && text.parse::<f64>().is_ok();
    Err(match number && text != "-inf" {
        true if text.contains(['.', 'e', 'E']) => NoId::NotWhole,
        true => NoId::OutOfRange,
        false => NoId::NotANumber,
    })
}

/// Reads `IdObjet_Parent` in any of its shapes; what is no id goes to `bad`, quoted.
pub(super) fn parents_of(raw: &str, parents: &mut Vec<ObjectId>, bad: &mut Vec<(String, NoId)>) {
    match raw.as_bytes().first() {
        Some(b'n') => {}
        Some(b'"') => {
            let text = unquoted(raw);
            let parts = text.as_bytes().split(|byte| matches!(byte, b',' | b';'));
            // Cut at ASCII characters, so each part is a text still.
            let parts = parts.filter_map(|part| std::str::from_utf8(part).ok()).map(str::trim_ascii);
            for part in parts.filter(|part| !part.trim().is_empty()) {
                match id_of_text(part) {
                    Ok(id) => parents.push(id),
                    Err(why) => bad.push((format!("\"{}\"", part.trim()), why)),
                }
            }
        }
        Some(b'[') => match serde_json::from_str::<Vec<&RawValue>>(raw) {
            Ok(items) => {
                for item in items {
                    match item.get().as_bytes().first() {
                        Some(b'[') => bad.push((item.get().to_owned(), NoId::NotANumber)),
                        _ => parents_of(item.get(), parents, bad),
                    }
                }
            }
            Err(_) => bad.push((raw.to_owned(), NoId::NotANumber)),
        },
        _ => match id_of(raw) {
            Ok(id) => parents.push(id),
            Err(why) => bad.push((raw.to_owned(), why)),
        },
    }
}

/// Drops repeats among the ids from `start` on.
pub(super) fn dedup_in_order(ids: &mut Vec<ObjectId>, start: usize) {
    let mut kept = start;
    let mut seen = FxHashSet::default();
    let many = ids.len() - start > 32;
    for i in start..ids.len() {
        let id = ids[i];
        let new = if many { seen.insert(id) } else { !ids[start..kept].contains(&id) };
        if new {
            ids[kept] = id;
            kept += 1;
        }
    }
    ids.truncate(kept);
}

/// The text that a JSON string stands for; any other JSON as it is.
pub(super) fn unquoted(raw: &str) -> Cow<'_, str> {
    match raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        None => Cow::Borrowed(raw),
        Some(inner) if !inner.contains('\\') => Cow::Borrowed(inner),
        // Half of a surrogate pair cannot be shown as text: as the file has it, then.
        Some(inner) => serde_json::from_str(raw).map_or(Cow::Borrowed(inner), Cow::Owned),
    }
}

/// At most 60 characters of what a file holds.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
