//! What the expressions of dashboards and alerts name, as far as it takes to hold that to korch's metrics.

#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

/// A metric that an expression selects.
#[derive(Debug, PartialEq)]
pub struct Selector {
    pub metric: String,
    /// Label, operator and value, as in the braces.
    pub matchers: Vec<(String, String, String)>,
}

/// What an expression names.
#[derive(Debug, Default)]
pub struct Named {
    pub selectors: Vec<Selector>,
    /// The labels that it groups or joins by.
    pub grouped: BTreeSet<String>,
}

const WORDS: [&str; 6] = ["and", "or", "unless", "bool", "offset", "inf"];
const GROUPINGS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// Reads an expression whose variables are replaced.
pub fn named(expr: &str) -> Named {
    let mut named = Named::default();
    let mut rest = expr;
    while let Some(first) = rest.chars().next() {
        match first {
            '[' => rest = &rest[rest.find(']').unwrap() + 1..],
            '"' => rest = after_string(rest),
            c if c.is_ascii_digit() || c == '.' => {
                rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.');
            }
            c if is_word(c) => {
                let word;
                (word, rest) = rest.split_at(rest.find(|c| !is_word(c)).unwrap_or(rest.len()));
                let next = rest.trim_start();
                if GROUPINGS.contains(&word) {
                    let end = next.find(')').unwrap_or_else(|| panic!("{word} without a list: {expr}"));
                    let labels = next[1..end].split(',').map(|label| label.trim().to_owned());
                    named.grouped.extend(labels.filter(|label| !label.is_empty()));
                    rest = &next[end + 1..];
                } else if let Some(inner) = next.strip_prefix('{') {
                    let matchers;
                    (matchers, rest) = matchers_of(inner);
                    named.selectors.push(Selector { metric: word.to_owned(), matchers });
                } else if !next.starts_with('(') && !WORDS.contains(&word) && !is_aggregation(word, next) {
                    named.selectors.push(Selector { metric: word.to_owned(), matchers: Vec::new() });
                }
            }
            _ => rest = &rest[first.len_utf8()..],
        }
    }
    named
}

/// `sum by (…) (…)`: what groups may stand before what is grouped.
fn is_aggregation(word: &str, next: &str) -> bool {
    let follows = next.split(|c| !is_word(c)).next().unwrap();
    ["sum", "max", "min", "avg", "count", "topk"].contains(&word) && ["by", "without"].contains(&follows)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

fn after_string(text: &str) -> &str {
    assert!(!text[1..].contains('\\'), "an escape, which this reader does not know: {text}");
    &text[text[1..].find('"').unwrap() + 2..]
}

fn matchers_of(mut rest: &str) -> (Vec<(String, String, String)>, &str) {
    let mut matchers = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        if let Some(after) = rest.strip_prefix('}') {
            return (matchers, after);
        }
        let (label, more) = rest.split_at(rest.find(['=', '!']).unwrap());
        let (operator, value) = more.split_at(more.find('"').unwrap());
        rest = after_string(value);
        let value = &value[1..value.len() - rest.len() - 1];
        matchers.push((label.trim().to_owned(), operator.trim().to_owned(), value.to_owned()));
    }
}

/// A family of a /metrics answer: its type, and for each label the values that its series have.
#[derive(Debug, Default)]
pub struct Family {
    pub kind: String,
    pub labels: BTreeMap<String, BTreeSet<String>>,
}

/// Reads a /metrics answer.
pub fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(of_type) = line.strip_prefix("# TYPE ") {
            let (name, kind) = of_type.split_once(' ').unwrap();
            current = name.to_owned();
            families.entry(current.clone()).or_default().kind = kind.to_owned();
        } else if !line.is_empty() && !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            assert!(name.starts_with(&current), "{line} under {current}");
            let Some(braces) = line.find('{') else { continue };
            for (label, _, value) in matchers_of(&line[braces + 1..]).0 {
                families.get_mut(&current).unwrap().labels.entry(label).or_default().insert(value);
            }
        }
    }
    families
}
