//! What was meant: the words that look most like one that was written.

use super::super::catalog::Catalog;
use super::super::object::ObjectId;
use super::{lower, method};

/// Texts are compared up to so many characters.
const COMPARED: usize = 64;

/// The ids that look most like this one.
pub(super) fn ids(catalog: &Catalog, id: ObjectId) -> String {
    let text: Vec<char> = id.to_string().chars().collect();
    let mut near: Vec<(usize, u64, ObjectId)> = Vec::new();
    for entry in catalog.entries().iter().filter(|entry| entry.active) {
        let other: Vec<char> = entry.id.to_string().chars().collect();
        near.push((edits(&text, &other), entry.id.0.abs_diff(id.0), entry.id));
        if near.len() > 64 {
            near.sort_unstable();
            near.truncate(3);
        }
    }
    near.sort_unstable();
    match near.first() {
        Some(&(closest, ..)) if closest <= 2 => {
            let ids = near.iter().take(3).filter(|found| found.0 == closest).map(|found| found.2.to_string());
            format!("did you mean {}?", ids.collect::<Vec<_>>().join(", "))
        }
        _ => "korch plan lists the ids".to_owned(),
    }
}

/// The name that looks most like this, as a selector.
pub(super) fn name(catalog: &Catalog, like: &str) -> Option<String> {
    let active = catalog.entries().iter().filter(|entry| entry.active);
    Some(method("name", &nearest(like, active.map(|entry| catalog.name(entry)))?))
}

/// The source that looks most like this, as a selector.
pub(super) fn source(catalog: &Catalog, like: &str) -> Option<String> {
    let active = catalog.entries().iter().filter(|entry| entry.active);
    Some(method("source", &nearest(like, active.filter_map(|entry| catalog.source(entry)))?))
}

/// The first of the texts that look most like this one, if any does: it begins like this, holds it, or differs in a third
/// of its characters at most. Stars and question marks in it are passed over.
pub(in crate::domain) fn nearest<T: AsRef<str>>(like: &str, texts: impl Iterator<Item = T>) -> Option<T> {
    let is_open = like.contains(['*', '?']);
    let like: Vec<char> = lower(like).filter(|c| !matches!(c, '*' | '?')).take(COMPARED).collect();
    if like.is_empty() {
        return None;
    }
    let most = (like.len() / 3).max(1);
    let mut best: Option<(usize, usize, T)> = None;
    for text in texts {
        let other: Vec<char> = lower(text.as_ref()).take(COMPARED).collect();
        let apart = if other.is_empty() {
            continue;
        } else if like.len() > 2 && other.windows(like.len()).any(|part| part == like) {
            1
        } else if is_open {
            let lens = like.len().saturating_sub(1)..=like.len() + 1;
            lens.map(|len| edits(&like, &other[..len.min(other.len())])).min().unwrap_or(usize::MAX)
        } else if other.len().abs_diff(like.len()) > most {
            continue;
        } else {
            edits(&like, &other)
        };
        let found = (apart, other.len());
        if apart <= most && best.as_ref().is_none_or(|best| found < (best.0, best.1)) {
            best = Some((found.0, found.1, text));
        }
    }
    best.map(|(_, _, text)| text)
}

/// How many characters must be changed, added, dropped or swapped to get from one to the other.
fn edits(a: &[char], b: &[char]) -> usize {
    let mut rows = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = change.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
}
