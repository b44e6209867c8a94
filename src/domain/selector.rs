//! Which objects somebody wants, in the grammar of dbt's node selection.
//!
//! `+3005 stage:ingest,criticality:high`: spaces unite, commas intersect, a `+` before or behind takes along what an object
//! needs or what follows it, a number at the `+` says how many levels. Reading is here; what a selection means in a
//! catalogue is in [`evaluate`]. It does not know what a plan is.

use std::fmt;

use super::catalog::Catalog;
use super::object::{Criticality, ObjectId, Stage};
use super::problem::Problem;

mod evaluate;
mod suggest;

pub(super) use evaluate::Chosen;
pub(super) use suggest::nearest;

/// All levels.
pub const ALL_LEVELS: u32 = u32::MAX;
/// A number below this at a `+` is one of levels, one from here on is an id.
const FIRST_USUAL_ID: u64 = 1000;
/// Terms that cost a walk through the catalogue each. Ids, alone or with all that they need, cost one together.
const MAX_WALKS: usize = 1_000;

/// What is to be run: what any of `select` names, without what any of `exclude` names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// None: every final object with all that it needs.
    pub select: Vec<Clause>,
    /// What is taken from that.
    pub exclude: Vec<Clause>,
    /// What could not be read: told together with what turns out to be wrong in the catalogue.
    wrong: Vec<Wrong>,
}

/// What is in all of these terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// As it was written.
    pub text: String,
    /// At least one.
    pub terms: Vec<Term>,
}

/// The objects that match, and those around them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// As it was written.
    pub text: String,
    /// What matches.
    pub method: Method,
    /// So many levels of what the matching objects need.
    pub up: u32,
    /// So many levels of what follows them.
    pub down: u32,
}

/// How objects are matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// The object with this id.
    Id(ObjectId),
    /// The objects of this stage.
    Stage(Stage),
    /// The objects whose `NomSource` is like this.
    Source(Pattern),
    /// The objects that are so urgent.
    Criticality(Criticality),
    /// The objects whose name is like this.
    Name(Pattern),
}

/// A text in which `*` stands for any characters and `?` for one, whatever the case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Whether a text is like this. `buffer` is for the characters of the text, to be used again.
    fn matches(&self, text: &str, buffer: &mut Vec<char>) -> bool {
        buffer.clear();
        buffer.extend(lower(text));
        let text: &[char] = buffer;
        let (mut rest, mut at) = (self.0.chars(), 0);
        // Where to go on after the last `*`, should what comes behind it not fit here: it takes one character more.
        let mut star: Option<(std::str::Chars<'_>, usize)> = None;
        loop {
            let mut ahead = rest.clone();
            match ahead.next() {
                Some('*') => {
                    star = Some((ahead.clone(), at));
                    rest = ahead;
                    continue;
                }
                Some(c) if at < text.len() && (c == '?' || c == text[at]) => {
                    at += 1;
                    rest = ahead;
                    continue;
                }
                None if at == text.len() => return true,
                _ => {}
            }
            let Some((behind, from)) = &mut star else { return false };
            if *from == text.len() {
                return false;
            }
            *from += 1;
            (rest, at) = (behind.clone(), *from);
        }
    }
}

fn lower(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().flat_map(char::to_lowercase)
}

impl Selection {
    /// Reads selectors, each of them one or several that are separated by spaces. What cannot be read is kept, so that
    /// everything that is wrong can be told at once.
    pub fn parse(select: &[String], exclude: &[String]) -> Selection {
        let mut selection = Selection::default();
        for argument in select {
            selection.select.extend(clauses(argument, Role::Select, &mut selection.wrong));
        }
        for argument in exclude {
            selection.exclude.extend(clauses(argument, Role::Exclude, &mut selection.wrong));
        }
        selection
    }

    /// Whether it is all that there is to do: every final object with all that it needs.
    pub fn is_everything(&self) -> bool {
        self.select.is_empty() && self.exclude.is_empty() && self.wrong.is_empty()
    }

    /// What could not be read, and what to write instead, as far as that can be said without a catalogue.
    pub fn problems(&self) -> Vec<Problem> {
        self.wrong.iter().map(|wrong| wrong.problem(None)).collect()
    }

    /// How many walks through the catalogue this costs at most.
    fn walks(&self) -> usize {
        let cheap = |clause: &Clause| match clause.terms.as_slice() {
            [Term { method: Method::Id(_), up: 0 | ALL_LEVELS, down: 0 | ALL_LEVELS, .. }] => 0,
            terms => terms.len(),
        };
        self.select.iter().chain(&self.exclude).map(cheap).sum()
    }
}

/// What a selector is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Select,
    Exclude,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Select => "selector",
            Role::Exclude => "exclusion",
        })
    }
}

/// Why a selector cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wrong {
    role: Role,
    /// The whole argument.
    argument: String,
    /// The place in it, in characters from 1.
    at: usize,
    fault: Fault,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Fault {
    /// What is wrong, and what to write instead.
    Text(String, String),
    /// What stands where an id should: maybe a name.
    NoId(String),
}

impl Wrong {
    /// Told with the catalogue's names where it is at hand.
    fn problem(&self, catalog: Option<&Catalog>) -> Problem {
        let (what, hint) = match &self.fault {
            Fault::Text(what, hint) => (what.clone(), hint.clone()),
            Fault::NoId(word) => {
                let meant = catalog.and_then(|catalog| suggest::name(catalog, word));
                let hint = match meant {
                    Some(name) => format!("did you mean {name}? An id is a number: 3005"),
                    None => format!("an id is a number: 3005; {} selects by name", method("name", word)),
                };
                (format!("{} is no id", quoted(word)), hint)
            }
        };
        Problem::new(
            format!("the {} {}, character {}: {what}", self.role, quoted(&self.argument), self.at),
            hint,
        )
    }
}

/// `name:value`, in quotes where the value needs them.
fn method(name: &str, value: &str) -> String {
    let ends_in_levels = value.trim_end_matches(|c: char| c.is_ascii_digit()).ends_with('+');
    if ends_in_levels || value.contains([' ', ',', '\t']) {
        format!("{name}:\"{}\"", value.replace('"', "?"))
    } else {
        format!("{name}:{}", value.replace('"', "?"))
    }
}

/// At most 60 characters of what somebody wrote, in quotes.
fn quoted(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// A part of an argument, and where it begins, in characters from 1.
#[derive(Clone, Copy)]
struct Piece<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Piece<'a> {
    /// What is left behind so many bytes.
    fn behind(self, bytes: usize) -> Piece<'a> {
        let (before, text) = self.text.split_at(bytes);
        Piece { text, at: self.at + before.chars().count() }
    }

    /// Cuts it at these characters, where they do not stand in quotes.
    fn split(self, at: impl Fn(char) -> bool) -> Vec<Piece<'a>> {
        let mut pieces = Vec::new();
        let mut in_quotes = false;
        let mut rest = self;
        for (i, c) in self.text.char_indices() {
            in_quotes ^= c == '"';
            if at(c) && !in_quotes {
                let begin = self.text.len() - rest.text.len();
                pieces.push(Piece { text: &self.text[begin..i], at: rest.at });
                rest = self.behind(i + c.len_utf8());
            }
        }
        pieces.push(rest);
        pieces
    }

    fn wrong(self, what: impl Into<String>, hint: impl Into<String>) -> (usize, Fault) {
        (self.at, Fault::Text(what.into(), hint.into()))
    }
}

/// The selectors of one argument that can be read; the others go to `wrong`.
fn clauses(argument: &str, role: Role, wrong: &mut Vec<Wrong>) -> Vec<Clause> {
    let mut failed = |(at, fault)| wrong.push(Wrong { role, argument: argument.to_owned(), at, fault });
    let whole = Piece { text: argument, at: 1 };
    if argument.matches('"').count() % 2 == 1 {
        let last = whole.behind(argument.rfind('"').unwrap_or_default());
        failed(last.wrong("the quote is not closed", "write name:\"EasyProjects - Projets\""));
        return Vec::new();
    }
    let mut words = whole.split(char::is_whitespace);
    words.retain(|word| !word.text.is_empty());
    if words.is_empty() {
        failed(whole.wrong("it is empty", "write an id such as 3005, or leave it out"));
    }
    let mut clauses = Vec::new();
    for word in words {
        let mut terms = Vec::new();
        let parts = word.split(|c| c == ',');
        let count = parts.len();
        for (i, part) in parts.into_iter().enumerate() {
            let term = match part.text {
                "" if i + 1 == count => Err(part.wrong(
                    "nothing follows the comma",
                    "a,b without spaces is what is in both; a b is what is in either",
                )),
                "" => Err(part.wrong(
                    "nothing stands before the comma",
                    "a,b without spaces is what is in both; a b is what is in either",
                )),
                _ => term(part),
            };
            match term {
                Ok(term) => terms.push(term),
                Err(fault) => failed(fault),
            }
        }
        if terms.len() == count {
            clauses.push(Clause { text: word.text.to_owned(), terms });
        }
    }
    clauses
}

/// `[n]+` method `:` value `+[n]`, or an id in the place of method and value.
fn term(piece: Piece<'_>) -> Result<Term, (usize, Fault)> {
    let digits = piece.text.bytes().take_while(u8::is_ascii_digit).count();
    let before = if piece.text[digits..].starts_with('+') { digits + 1 } else { 0 };
    let rest = piece.behind(before);
    if let Some((name, _)) = rest.text.split_once(':')
        && !name.is_empty()
        && name.chars().all(|c| c.is_alphabetic() || matches!(c, '_' | '-'))
    {
        let value = rest.behind(name.len() + 1);
        let len = value_len(value)?;
        let method = by_method(name, rest, Piece { text: &value.text[..len], ..value })?;
        let up = if before > 0 { levels(&piece.text[..digits]) } else { 0 };
        let down = value.text[len..].strip_prefix('+').map_or(0, levels);
        return Ok(Term { text: piece.text.to_owned(), method, up, down });
    }
    let (up, id, down) = around_id(piece)?;
    Ok(Term { text: piece.text.to_owned(), method: Method::Id(read_id(id)?), up, down })
}

/// How many bytes of this are a method's value: all but a `+` with its number at the end.
fn value_len(value: Piece<'_>) -> Result<usize, (usize, Fault)> {
    let text = value.text;
    let levels_at = || {
        let head = text.trim_end_matches(|c: char| c.is_ascii_digit());
        head.strip_suffix('+').map_or(text.len(), str::len)
    };
    let Some(inside) = text.strip_prefix('"') else { return Ok(levels_at()) };
    let end = inside.find('"').map_or(text.len(), |end| end + 2);
    let behind = &text[end..];
    let digits = behind.strip_prefix('+').unwrap_or(behind);
    if (behind.is_empty() || behind.starts_with('+')) && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(end);
    }
    Err(value.behind(end).wrong(
        format!("{} follows the closing quote", quoted(behind)),
        "after a quote only + or +n may stand",
    ))
}

/// The names of the methods, as they are written.
const METHODS: [&str; 4] = ["stage", "source", "criticality", "name"];

fn by_method(name: &str, at: Piece<'_>, value: Piece<'_>) -> Result<Method, (usize, Fault)> {
    const STAGES: &str = "a stage is ingest, standardize or application";
    const CRITICALITIES: &str = "a criticality is low, medium or high (basse, moyenne or haute)";
    let known = METHODS.into_iter().find(|known| known.eq_ignore_ascii_case(name));
    let Some(known) = known else {
        let meant = suggest::nearest(name, METHODS.into_iter());
        let meant = meant.map_or_else(String::new, |meant| format!("did you mean {meant}:? "));
        return Err(at.wrong(
            format!("{} is no method", quoted(&format!("{name}:"))),
            format!(
                "{meant}The methods are stage:, source:, criticality: and name:; an id stands alone: 3005"
            ),
        ));
    };
    let text = match value.text.strip_prefix('"') {
        Some(inside) => inside.strip_suffix('"').unwrap_or(inside),
        None => value.text,
    };
    if text.trim().is_empty() {
        let hint = match known {
            "stage" => STAGES,
            "criticality" => CRITICALITIES,
            "source" => "write a source's name, as source:EasyProjects",
            _ => "write a name, or its beginning and a star, as name:Proj*",
        };
        return Err(value.wrong(format!("nothing follows {known}:"), hint));
    }
    let no_such = |all: &[&str], which: &str| {
        let meant = suggest::nearest(text, all.iter().copied());
        let meant = meant.map_or_else(String::new, |meant| format!("did you mean {known}:{meant}? "));
        let mut letters = which.chars();
        let first = letters.next().map_or_else(String::new, |c| c.to_uppercase().collect());
        let which = if meant.is_empty() { which.to_owned() } else { format!("{first}{}", letters.as_str()) };
        value.wrong(format!("there is no {known} {}", quoted(text)), format!("{meant}{which}"))
    };
    Ok(match known {
        "stage" => {
            let stage = text.trim().to_lowercase().parse().ok().or_else(|| Stage::of_zone(text));
            Method::Stage(stage.ok_or_else(|| no_such(&Stage::ALL.map(Stage::name), STAGES))?)
        }
        "criticality" => {
            let all = ["low", "medium", "high", "basse", "moyenne", "haute"];
            let criticality = Criticality::of_text(text);
            Method::Criticality(criticality.ok_or_else(|| no_such(&all, CRITICALITIES))?)
        }
        "source" => Method::Source(Pattern(lower(text).collect())),
        _ => Method::Name(Pattern(lower(text).collect())),
    })
}

/// An id with what stands around it: levels up, the id, levels down.
fn around_id(piece: Piece<'_>) -> Result<(u32, Piece<'_>, u32), (usize, Fault)> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_levels = |text: &str| text.is_empty() || is_number(text);
    let parts = piece.split(|c| c == '+');
    match parts.as_slice() {
        [id] => Ok((0, *id, 0)),
        [Piece { text: "", .. }, nothing] if nothing.text.is_empty() => {
            Err(nothing.wrong("nothing stands at the +", "+3005 is an object with all that it needs"))
        }
        [Piece { text: "", .. }, id] => Ok((ALL_LEVELS, *id, 0)),
        [id, Piece { text: "", .. }] => Ok((0, *id, ALL_LEVELS)),
        [first, second] if is_number(first.text) && is_number(second.text) => {
            let is_id =
                |part: &Piece<'_>| part.text.parse().map_or(true, |number: u64| number >= FIRST_USUAL_ID);
            let (a, b) = (first.text, second.text);
            match (is_id(first), is_id(second)) {
                (false, true) => Ok((levels(a), *second, 0)),
                (true, false) => Ok((0, *first, levels(b))),
                (true, true) => Err(piece.wrong(
                    format!("{a}+{b} names two objects"),
                    format!("write {a} {b} for both; a number at a + says how many levels: 2+{a}"),
                )),
                (false, false) => Err(piece.wrong(
                    format!("{a}+{b} can be read in two ways"),
                    format!("write {a}+{b}+0 for what {b} needs, 0+{a}+{b} for what follows {a}"),
                )),
            }
        }
        [up, id] if is_number(up.text) => Ok((levels(up.text), *id, 0)),
        [id, down] if is_number(down.text) => Ok((0, *id, levels(down.text))),
        [up, id, down] if is_levels(up.text) && is_levels(down.text) && !id.text.is_empty() => {
            Ok((levels(up.text), *id, levels(down.text)))
        }
        _ => Err(piece.wrong(
            format!("{} cannot be read", quoted(piece.text)),
            "a + stands before or behind an object, with a number at most: +3005, 2+3005, 3005+, 2+3005+1",
        )),
    }
}

/// The number at a `+`; none is all.
fn levels(digits: &str) -> u32 {
    if digits.is_empty() { ALL_LEVELS } else { digits.parse().unwrap_or(ALL_LEVELS) }
}

fn read_id(piece: Piece<'_>) -> Result<ObjectId, (usize, Fault)> {
    if piece.text.is_empty() || !piece.text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err((piece.at, Fault::NoId(piece.text.to_owned())));
    }
    let id = piece.text.parse().map(ObjectId);
    id.map_err(|_| {
        piece.wrong(format!("{} is out of range", quoted(piece.text)), "an id has at most sixteen digits")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Term {
        let mut selection = Selection::parse(&[text.to_owned()], &[]);
        assert_eq!((selection.wrong.as_slice(), selection.select.len()), (&[][..], 1), "{text}");
        let mut clause = selection.select.remove(0);
        assert_eq!((clause.text.as_str(), clause.terms.len()), (text, 1));
        clause.terms.remove(0)
    }

    #[test]
    fn terms() {
        let id = |id| Method::Id(ObjectId(id));
        let name = |text: &str| Method::Name(Pattern(text.into()));
        let source = |text: &str| Method::Source(Pattern(text.into()));
        let all = ALL_LEVELS;
        let table = [
            ("3005", 0, id(3005), 0),
            ("03005", 0, id(3005), 0),
            ("9007199254740991", 0, id(9_007_199_254_740_991), 0),
            ("+3005", all, id(3005), 0),
            ("3005+", 0, id(3005), all),
            ("+3005+", all, id(3005), all),
            ("2+3005", 2, id(3005), 0),
            ("3005+1", 0, id(3005), 1),
            ("2+2002+1", 2, id(2002), 1),
            ("+2002+1", all, id(2002), 1),
            ("2+2002+", 2, id(2002), all),
            ("0+2002", 0, id(2002), 0),
            ("2002+0", 0, id(2002), 0),
            ("999+1000", 999, id(1000), 0),
            // Ids below 1000, of objects that have a zone.
            ("12", 0, id(12), 0),
            ("+12", all, id(12), 0),
            ("12+", 0, id(12), all),
            ("0+12+1", 0, id(12), 1),
            ("1000+2000+3000", 1000, id(2000), 3000),
            ("stage:ingest", 0, Method::Stage(Stage::Ingest), 0),
            ("Stage:INGEST", 0, Method::Stage(Stage::Ingest), 0),
            ("stage:2-Standardized", 0, Method::Stage(Stage::Standardize), 0),
            ("+stage:application", all, Method::Stage(Stage::Application), 0),
            ("1+stage:application+2", 1, Method::Stage(Stage::Application), 2),
            ("criticality:Haute+", 0, Method::Criticality(Criticality::High), all),
            ("source:EasyProjects", 0, source("easyprojects"), 0),
            ("source:12+3", 0, source("12"), 3),
            ("1+name:Temps*", 1, name("temps*"), 0),
            ("name:a:b", 0, name("a:b"), 0),
            ("name:a+b", 0, name("a+b"), 0),
            ("name:a+1", 0, name("a"), 1),
            ("name:\"a+1\"", 0, name("a+1"), 0),
            ("name:\"É, à\"+1", 0, name("é, à"), 1),
            ("name:\"a\"", 0, name("a"), 0),
            ("2+name:\"a\"+", 2, name("a"), all),
        ];
        for (text, up, method, down) in table {
            let expected = Term { text: text.to_owned(), method, up, down };
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn spaces_unite_and_commas_intersect() {
        let selectors = ["+3005,stage:ingest  name:\"a, b\",2002+\t7".to_owned(), "1001".to_owned()];
        let selection = Selection::parse(&selectors, &["2005 2006".to_owned()]);
        let shape = |clauses: &[Clause]| -> Vec<Vec<String>> {
            let texts = |clause: &Clause| clause.terms.iter().map(|term| term.text.clone()).collect();
            clauses.iter().map(texts).collect()
        };
        assert_eq!(
            shape(&selection.select),
            [vec!["+3005", "stage:ingest"], vec!["name:\"a, b\"", "2002+"], vec!["7"], vec!["1001"]]
        );
        assert_eq!(shape(&selection.exclude), [["2005"], ["2006"]]);
        assert!(selection.problems().is_empty() && !selection.is_everything());
        assert!(Selection::parse(&[], &[]).is_everything());
        assert!(!Selection::parse(&[String::new()], &[]).is_everything(), "a typo is not a wish for all");
    }

    #[test]
    fn patterns() {
        let table = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("a*", "A", true),
            ("a*c", "abcbc", true),
            ("a*c", "abcb", false),
            ("*b*b*", "abab", true),
            ("*b*b*", "aba", false),
            ("?", "é", true),
            ("?", "", false),
            ("??", "É", false),
            ("*.csv", "x.CSV", true),
            ("été", "ÉTÉ", true),
            ("ete", "été", false),
            ("[a]", "a", false),
        ];
        for (pattern, text, matches) in table {
            let mut buffer = vec!['x'];
            assert_eq!(Pattern(pattern.into()).matches(text, &mut buffer), matches, "{pattern} {text}");
        }
        let long = "a".repeat(5_000);
        assert!(!Pattern("*a*a*a*a*b".into()).matches(&long, &mut Vec::new()));
    }

    #[test]
    fn a_suggestion_can_be_read_again() {
        for name in ["Projets", "EasyProjects - Projets", "a,b", "a+1", "a+", "C++", "é:è"] {
            let term = read(&method("name", name));
            let Method::Name(pattern) = &term.method else { panic!("{term:?}") };
            assert_eq!((term.up, term.down), (0, 0));
            assert!(pattern.matches(name, &mut Vec::new()), "{name}");
        }
        assert!(
            matches!(read(&method("name", "a \"b\"")).method, Method::Name(Pattern(text)) if text == "a ?b?")
        );
    }
}
