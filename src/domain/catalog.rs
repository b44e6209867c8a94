//! Objets.json → [`Catalog`], or every problem of the file at once.
//!
//! The catalogue keeps the bytes of the file, and each entry says where in it its parts are: nothing is copied, and what korch does not
//! read goes through untouched. Large files are parsed in pieces, one a thread: a piece begins at a guess (what looks like
//! the seam of two entries) and counts only where the piece before it ends exactly there.
//!
//! It does not know where the bytes came from, nor what will be run: see `catalog_file` and `plan`.

use std::borrow::Cow;

use bytes::Bytes;

use super::object::{Criticality, ObjectId, Stage};
use super::problem::{Problem, Problems, Warning, WarningKind};

mod check;
mod fields;
mod read;

use check::{Index, NO_ENTRY, check_graph, no_final_object, stage_warnings};
use fields::{Sources, unquoted};
use read::{Piece, parse_entries, text_of};

/// The largest entry, in bytes: an event must hold it.
pub const MAX_ENTRY_BYTES: usize = 256 * 1024;
/// The largest file, in bytes: places in it are kept in 32 bits.
pub const MAX_FILE_BYTES: u64 = 1 << 30;

/// How many problems a report keeps; the rest are counted.
const MAX_PROBLEMS: usize = 10_000;

/// A catalogue without problems.
#[derive(Clone, Debug)]
pub struct Catalog {
    file: String,
    bytes: Bytes,
    entries: Vec<Entry>,
    parents: Vec<ObjectId>,
    /// Beside `parents`: the entry that describes each one.
    links: Vec<u32>,
    index: Index,
    ascending: bool,
    warnings: Vec<Warning>,
}

/// An object as the catalogue describes it. Its texts and parents are asked of the [`Catalog`].
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its id.
    pub id: ObjectId,
    /// Its stage: by its zone where that is known, else by its id.
    pub stage: Stage,
    /// How urgent it is.
    pub criticality: Criticality,
    /// Whether it may run at all.
    pub active: bool,
    /// Its place in the file's array, from 1.
    pub position: u32,
    raw: Span,
    name: Span,
    frequency: Span,
    parents: Span,
}

/// A range: of the file's bytes, or of the list of parents.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    len: u32,
}

impl Span {
    fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

impl Catalog {
    /// Reads the bytes of a catalogue. `file` is its name in reports.
    pub fn parse(file: &str, bytes: Bytes) -> Result<Catalog, Problems> {
        let (text, start) = match text_of(&bytes) {
            Ok(found) => found,
            Err(problem) => return Err(Problems::new(file, vec![locate(problem, &bytes)])),
        };
        let mut piece = parse_entries(text, start);
        let broken = piece.end.broken();
        let mut problems = std::mem::take(&mut piece.problems);
        problems.extend(broken.clone());

        let index = Index::new(&piece.entries, &mut problems);
        let links = index.links(&piece.parents);
        // Beside each other, they stay in the processor's cache.
        let stages: Vec<Stage> = piece.entries.iter().map(|entry| entry.stage).collect();
        let mut ascending = false;
        let mut warnings = Vec::new();
        if broken.is_none() {
            ascending = check_graph(&piece.entries, &stages, &piece.parents, &links, &mut problems);
            if !piece.entries.iter().any(|entry| entry.active && entry.stage == Stage::Application) {
                problems.push(no_final_object(&piece.entries));
            }
        }
        if !problems.is_empty() {
            return Err(problems.report(file, &bytes));
        }
        let [zones, unknown_zones, criticalities, inactive] = piece.tallies;
        warnings.extend(zones.warning(
            WarningKind::ZoneDisagrees,
            "object whose Zone and id disagree (the Zone counts, but old workers pick by id)",
            "objects whose Zone and id disagree (the Zone counts, but old workers pick by id)",
        ));
        warnings.extend(unknown_zones.warning(
            WarningKind::UnknownZone,
            "object with an unknown Zone (its id decides)",
            "objects with an unknown Zone (their id decides)",
        ));
        warnings.extend(criticalities.warning(
            WarningKind::UnknownCriticality,
            "object with an unknown Criticité (medium is taken)",
            "objects with an unknown Criticité (medium is taken)",
        ));
        warnings.extend(stage_warnings(&piece.entries, &stages, &piece.parents, &links));
        warnings.extend(inactive.warning(
            WarningKind::Inactive,
            "inactive object (never run, counts as satisfied)",
            "inactive objects (never run, count as satisfied)",
        ));
        let Piece { entries, parents, .. } = piece;
        Ok(Catalog { file: file.to_owned(), bytes, entries, parents, links, index, ascending, warnings })
    }

    /// The name of the file.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Every entry, in the order of the file.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What is odd about the catalogue.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Whether every described parent comes before its child, by stage and then in the file.
    pub(super) fn is_ascending(&self) -> bool {
        self.ascending
    }

    /// The place in [`Catalog::entries`] of the entry with this id.
    pub fn find(&self, id: ObjectId) -> Option<usize> {
        self.index.get(id).map(|entry| entry as usize)
    }

    /// The entry with this id.
    pub fn get(&self, id: ObjectId) -> Option<&Entry> {
        self.find(id).map(|entry| &self.entries[entry])
    }

    /// The entry's JSON, as the file has it.
    pub fn raw(&self, entry: &Entry) -> &str {
        self.text(entry.raw)
    }

    /// The entry's JSON as bytes that share the file's memory.
    pub fn raw_bytes(&self, entry: &Entry) -> Bytes {
        self.bytes.slice(entry.raw.range())
    }

    /// The entry's name, empty where it has none.
    pub fn name(&self, entry: &Entry) -> Cow<'_, str> {
        unquoted(self.text(entry.name))
    }

    /// When the object is due, a cron expression; empty where the catalogue says nothing.
    pub fn frequency(&self, entry: &Entry) -> Cow<'_, str> {
        unquoted(self.text(entry.frequency))
    }

    /// What the object is loaded from: its `NomSource`, else its `NomSource0LookupId`. Read from the entry each time.
    pub fn source(&self, entry: &Entry) -> Option<Cow<'_, str>> {
        let Sources { name, lookup } = serde_json::from_slice(&self.bytes[entry.raw.range()]).ok()?;
        [name, lookup]
            .into_iter()
            .flatten()
            .map(unquoted)
            .find(|text| text != "null" && !text.trim().is_empty())
    }

    /// The entry's parents, each once, in the order of the file.
    pub fn parents(&self, entry: &Entry) -> &[ObjectId] {
        &self.parents[entry.parents.range()]
    }

    /// The entry's parents, each with the place in [`Catalog::entries`] of the entry that describes it.
    pub fn links(&self, entry: &Entry) -> impl ExactSizeIterator<Item = (ObjectId, Option<usize>)> + '_ {
        let range = entry.parents.range();
        let links = self.links[range.clone()].iter();
        self.parents[range]
            .iter()
            .zip(links)
            .map(|(&id, &link)| (id, (link != NO_ENTRY).then_some(link as usize)))
    }

    /// A problem of this entry, its line and column included.
    pub fn problem(&self, entry: &Entry, message: impl Into<String>, hint: impl Into<String>) -> Problem {
        let mut problem = Problem::new(message, hint).at(entry.raw.start as usize);
        problem.position = Some(entry.position as usize);
        problem.id = Some(entry.id.to_string());
        problem
    }

    /// A report of these problems, in the order of the file.
    pub(super) fn report(&self, problems: Found) -> Problems {
        problems.report(&self.file, &self.bytes)
    }

    fn text(&self, span: Span) -> &str {
        // The whole file was valid UTF-8 and spans begin and end at ASCII characters.
        std::str::from_utf8(&self.bytes[span.range()]).unwrap_or_default()
    }
}

/// Problems while they are being found: kept up to a limit, counted beyond.
#[derive(Default)]
pub(super) struct Found {
    list: Vec<Problem>,
    count: usize,
}

impl Found {
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn push(&mut self, problem: Problem) {
        self.count += 1;
        if self.list.len() < MAX_PROBLEMS {
            self.list.push(problem);
        }
    }

    fn extend(&mut self, problems: impl IntoIterator<Item = Problem>) {
        problems.into_iter().for_each(|problem| self.push(problem));
    }

    /// Sorts by place and turns offsets into lines and columns. What has no place comes last.
    fn report(mut self, file: &str, bytes: &[u8]) -> Problems {
        self.list.sort_by_key(|problem| (problem.offset.is_none(), problem.offset));
        let (mut line, mut line_start, mut at) = (1, text_start(bytes), 0);
        for problem in &mut self.list {
            let Some(offset) = problem.offset else { continue };
            let offset = offset.min(bytes.len());
            for (i, _) in bytes[at..offset].iter().enumerate().filter(|&(_, &byte)| byte == b'\n') {
                line += 1;
                line_start = at + i + 1;
            }
            at = offset;
            problem.line = Some(line);
            problem.column = Some(1 + characters(&bytes[line_start.min(offset)..offset]) as u32);
        }
        Problems { file: file.to_owned(), count: self.count, problems: self.list }
    }
}

fn locate(problem: Problem, bytes: &[u8]) -> Problem {
    let mut report = Found { count: 1, list: vec![problem] }.report("", bytes);
    report.problems.swap_remove(0)
}

/// Characters of what may be cut or broken UTF-8.
fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte & 0xC0 != 0x80).count()
}

fn text_start(bytes: &[u8]) -> usize {
    if bytes.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 }
}
