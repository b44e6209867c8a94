//! Objets.json → [`Catalog`], or every problem of the file at once.
//!
//! The catalogue keeps the bytes of the file, and each entry says where in it its parts are: nothing is copied, and what korch does not
//! read goes through untouched. Large files are parsed in pieces, one a thread: a piece begins at a guess (what looks like
//! the seam of two entries) and counts only where the piece before it ends exactly there.
//!
//! It does not know where the bytes came from, nor what will be run: see `catalog_file` and `plan`.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::graph::find_cycles;
use super::object::{Criticality, MAX_OBJECT_ID, ObjectId, Stage};
use super::problem::{Problem, Problems, Tally, Warning, WarningKind, counted};

/// The largest entry, in bytes: an event must hold it.
pub const MAX_ENTRY_BYTES: usize = 256 * 1024;
/// The largest file, in bytes: places in it are kept in 32 bits.
pub const MAX_FILE_BYTES: u64 = 1 << 30;

/// How many problems a report keeps; the rest are counted.
const MAX_PROBLEMS: usize = 10_000;
/// Files above this many bytes are parsed by several threads.
const PIECE_BYTES: usize = 1 << 20;
/// In [`Catalog::links`]: no entry describes this parent.
const NO_ENTRY: u32 = u32::MAX;

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

/// The file as text, and where the array's first element would begin.
fn text_of(bytes: &[u8]) -> Result<(&str, usize), Problem> {
    const SHAPE: &str = "a catalogue is a JSON array of entries: [{\"IdObjet\": 1001, …}, …]";
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Problem::new("the file is larger than 1 GiB", "is it a catalogue at all?"));
    }
    if bytes.starts_with(b"\xFF\xFE")
        || bytes.starts_with(b"\xFE\xFF")
        || bytes.starts_with(b"[\0")
        || bytes.starts_with(b"\0[")
    {
        return Err(Problem::new("not JSON: the file is UTF-16", "save it as UTF-8").at(0));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Problem::new("not JSON: a byte that is not UTF-8", "save the file as UTF-8").at(error.valid_up_to())
    })?;
    let start = after_space(text, text_start(bytes));
    match bytes.get(start) {
        Some(b'[') => Ok((text, after_space(text, start + 1))),
        None => Err(Problem::new("not JSON: the file is empty", SHAPE).at(text_start(bytes))),
        Some(first) => Err(match serde_json::from_str::<IgnoredAny>(&text[start..]) {
            Err(error) => not_json(text, start, &error),
            Ok(_) if *first == b'{' => {
                Problem::new("not an array but an object", format!("put it between [ and ]: {SHAPE}"))
                    .at(start)
            }
            Ok(_) => Problem::new(format!("not an array but {}", kind_of(*first)), SHAPE).at(start),
        }),
    }
}

/// What serde_json says of the text from `start` on, as a problem at its true place.
fn not_json(text: &str, start: usize, error: &serde_json::Error) -> Problem {
    let line_start = match error.line() {
        0 | 1 => start,
        line => text[start..].match_indices('\n').nth(line - 2).map_or(text.len(), |(at, _)| start + at + 1),
    };
    let offset = (line_start + error.column().saturating_sub(1)).min(text.len());
    let said = error.to_string();
    let said = said.rsplit_once(" at line ").map_or(&*said, |(said, _)| said);
    let hint = match text.as_bytes().get(offset) {
        _ if error.is_eof() => "the file seems cut off",
        Some(0) => "the file holds zero bytes: was it damaged?",
        Some(b'\'') => "JSON wants double quotes",
        Some(b'<') => "this looks like a web page or XML",
        Some(b']' | b'}') => "a comma too many before it?",
        Some(b'/' | b'#') => "JSON has no comments",
        _ => "look at this place, or just before it",
    };
    Problem::new(format!("not JSON: {said}"), hint).at(offset)
}

fn kind_of(first: u8) -> &'static str {
    match first {
        b'{' => "an object",
        b'[' => "an array",
        b'"' => "a string",
        b't' | b'f' => "a boolean",
        b'n' => "null",
        _ => "a number",
    }
}

fn after_space(text: &str, from: usize) -> usize {
    let space = |byte: &&u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    from + text.as_bytes()[from..].iter().take_while(space).count()
}

/// Some of the entries, one after another in the file.
struct Piece {
    entries: Vec<Entry>,
    parents: Vec<ObjectId>,
    problems: Found,
    /// How many elements of the array, entries with problems included.
    elements: u32,
    /// Zone and id disagree, unknown zone, unknown criticality, inactive.
    tallies: [Tally; 4],
    end: End,
}

/// How a piece ended.
enum End {
    /// Here begins an element of the next piece.
    Next(usize),
    /// The array's end, and nothing behind it.
    Closed,
    Broken(Problem),
}

impl End {
    fn broken(&self) -> Option<Problem> {
        match self {
            End::Broken(problem) => Some(problem.clone()),
            End::Next(_) | End::Closed => None,
        }
    }
}

impl Piece {
    fn append(&mut self, other: Piece) {
        let shift = self.parents.len() as u32;
        let before = self.elements;
        self.entries.extend(other.entries.into_iter().map(|mut entry| {
            entry.position += before;
            entry.parents.start += shift;
            entry
        }));
        self.parents.extend(other.parents);
        self.problems.count += other.problems.count - other.problems.list.len();
        self.problems.extend(other.problems.list.into_iter().map(|mut problem| {
            problem.position = problem.position.map(|position| position + before as usize);
            problem
        }));
        self.elements += other.elements;
        self.tallies.iter_mut().zip(other.tallies).for_each(|(tally, more)| tally.append(more));
        self.end = other.end;
    }
}

/// All elements from `start`, where the first one begins.
fn parse_entries(text: &str, start: usize) -> Piece {
    let threads =
        std::thread::available_parallelism().map_or(1, usize::from).min(text.len() / PIECE_BYTES).max(1);
    // Twice as many pieces as threads would even out the load, but the files are even already.
    let seams: Vec<usize> =
        (1..threads).filter_map(|k| guess_seam(text, start + (text.len() - start) / threads * k)).collect();
    let limit = |k: usize| seams.get(k).copied().unwrap_or(usize::MAX);
    std::thread::scope(|scope| {
        let ahead: Vec<_> = seams
            .iter()
            .enumerate()
            .map(|(k, &seam)| scope.spawn(move || (seam, parse_piece(text, seam, limit(k + 1)))))
            .collect();
        let mut piece = parse_piece(text, start, limit(0));
        for (k, guess) in ahead.into_iter().enumerate() {
            let guess = guess.join();
            let End::Next(at) = piece.end else { break };
            match guess {
                Ok((seam, next)) if seam == at => piece.append(next),
                // The guess was no seam: from where the last piece truly ended.
                _ => piece.append(parse_piece(text, at, limit(k + 1))),
            }
        }
        piece
    })
}

/// The first place after `from` that looks like the begin of an entry: a `{` behind a `},`.
fn guess_seam(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let space = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    let mut braces = bytes[from..].iter().take(PIECE_BYTES).enumerate().filter(|&(_, &byte)| byte == b'{');
    braces.find_map(|(i, _)| {
        let mut before = bytes[..from + i].iter().rev().filter(|byte| !space(byte));
        (before.next() == Some(&b',') && before.next() == Some(&b'}')).then_some(from + i)
    })
}

/// Elements from `start` up to the first that begins at `limit` or behind it.
fn parse_piece(text: &str, start: usize, limit: usize) -> Piece {
    let mut reader = Reader {
        text,
        piece: Piece {
            // Generous, for pieces to come: what is not touched takes no memory.
            entries: Vec::with_capacity((text.len() - start.min(text.len())) / 64),
            parents: Vec::new(),
            problems: Found::default(),
            elements: 0,
            tallies: Default::default(),
            end: End::Closed,
        },
    };
    let bytes = text.as_bytes();
    let mut at = start;
    if bytes.get(at) == Some(&b']') {
        reader.close(at);
        return reader.piece;
    }
    loop {
        if at >= limit {
            reader.piece.end = End::Next(at);
            break;
        }
        at = match reader.element(at) {
            Ok(end) => after_space(text, end),
            Err(problem) => {
                reader.piece.end = End::Broken(problem);
                break;
            }
        };
        match bytes.get(at) {
            Some(b',') => at = after_space(text, at + 1),
            Some(b']') => {
                reader.close(at);
                break;
            }
            Some(_) => {
                let problem =
                    Problem::new("not JSON: expected `,` or `]` after an entry", "a comma is missing?")
                        .at(at);
                reader.piece.end = End::Broken(problem);
                break;
            }
            None => {
                let problem =
                    Problem::new("not JSON: the array is not closed by `]`", "the file seems cut off").at(at);
                reader.piece.end = End::Broken(problem);
                break;
            }
        }
    }
    reader.piece
}

struct Reader<'a> {
    text: &'a str,
    piece: Piece,
}

impl<'a> Reader<'a> {
    /// At the array's `]`.
    fn close(&mut self, at: usize) {
        let behind = after_space(self.text, at + 1);
        if behind < self.text.len() {
            let problem = Problem::new(
                "not JSON: something follows the array's end",
                "remove it, or the `]` before it",
            );
            self.piece.end = End::Broken(problem.at(behind));
        }
    }

    /// Reads the element that begins at `start` and says where it ends.
    fn element(&mut self, start: usize) -> Result<usize, Problem> {
        let text = self.text;
        let rest = &text[start..];
        let position = self.piece.elements + 1;
        let problem = |message: String, hint: &str, id: Option<String>| {
            let mut problem = Problem::new(message, hint).at(start);
            problem.position = Some(position as usize);
            problem.id = id;
            problem
        };
        let not_json = |error: Option<serde_json::Error>| match error {
            Some(error) => not_json(text, start, &error),
            None => {
                Problem::new("not JSON: the array is not closed by `]`", "the file seems cut off").at(start)
            }
        };
        let Some(first @ b'{') = rest.as_bytes().first().copied() else {
            let mut values = serde_json::Deserializer::from_str(rest).into_iter::<IgnoredAny>();
            values
                .next()
                .transpose()
                .map_err(|error| not_json(Some(error)))?
                .ok_or_else(|| not_json(None))?;
            self.piece.elements += 1;
            let kind = kind_of(rest.as_bytes()[0]);
            self.piece.problems.push(problem(
                format!("the entry is not an object but {kind}: {}", cut(&rest[..values.byte_offset()])),
                "an entry looks like {\"IdObjet\": 1001, …}",
                None,
            ));
            return Ok(start + values.byte_offset());
        };
        debug_assert_eq!(first, b'{');
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Fields<'a>>();
        let fields = values
            .next()
            .transpose()
            .map_err(|error| not_json(Some(error)))?
            .ok_or_else(|| not_json(None))?;
        let len = values.byte_offset();
        self.piece.elements += 1;

        let id_text = fields.id.filter(|id| *id != "null");
        let id = match id_text.map(id_of) {
            Some(Ok(id)) => Some(id),
            Some(Err(why)) => {
                let quoted = id_text.map(cut);
                self.piece.problems.push(problem(
                    why.message("IdObjet", id_text.unwrap_or_default()),
                    why.hint(),
                    quoted,
                ));
                None
            }
            None => {
                self.piece.problems.push(problem(
                    "the entry has no IdObjet".into(),
                    "give it one, unique in the file",
                    None,
                ));
                None
            }
        };
        let shown_id = || id.map(|id| id.to_string()).or_else(|| id_text.map(cut));
        if len > MAX_ENTRY_BYTES {
            let message = format!(
                "the entry is too large: {len} bytes, at most {MAX_ENTRY_BYTES} (256 KiB) are allowed"
            );
            self.piece.problems.push(problem(
                message,
                "an event must hold it: keep large texts elsewhere",
                shown_id(),
            ));
        }

        let parents_start = self.piece.parents.len();
        let mut bad = Vec::new();
        if let Some(raw) = fields.parents {
            parents_of(raw, &mut self.piece.parents, &mut bad);
            dedup_in_order(&mut self.piece.parents, parents_start);
        }
        for (quoted, why) in bad {
            self.piece.problems.push(problem(
                why.message("the parent", &quoted),
                "IdObjet_Parent names ids: 2012, \"2012,2008\" or [2012, 2008]",
                shown_id(),
            ));
        }

        let zone = fields.zone.map(unquoted).filter(|zone| zone != "null" && !zone.trim().is_empty());
        let zone_stage = zone.as_deref().and_then(Stage::of_zone);
        let id_stage = id.and_then(Stage::of_id);
        let (Some(id), stage) = (id, zone_stage.or(id_stage)) else { return Ok(start + len) };
        let Some(stage) = stage else {
            let message = match &zone {
                Some(zone) => format!("an id below 1000 and a Zone that is not known: {:?}", cut(zone)),
                None => "an id below 1000 and no Zone: its stage is not known".into(),
            };
            let hint = "give it a Zone: 1-Raw, 2-Standardized or 3-Application";
            self.piece.problems.push(problem(message, hint, shown_id()));
            return Ok(start + len);
        };
        let [disagree, unknown_zones, criticalities, inactive] = &mut self.piece.tallies;
        if let (Some(zone), Some(by_id)) = (&zone, id_stage) {
            match zone_stage {
                Some(by_zone) if by_zone != by_id => {
                    disagree.add(id, || format!("{id} ({by_zone} by Zone, {by_id} by id)"));
                }
                Some(_) => {}
                None => unknown_zones.add(id, || format!("{id} ({:?})", cut(zone))),
            }
        }
        let criticality =
            match fields.criticality.map(unquoted).filter(|text| text != "null" && !text.trim().is_empty()) {
                None => Criticality::default(),
                Some(text) => Criticality::of_text(&text).unwrap_or_else(|| {
                    criticalities.add(id, || format!("{id} ({:?})", cut(&text)));
                    Criticality::default()
                }),
            };
        let active =
            fields.state.is_none_or(|raw| raw == "null" || unquoted(raw).trim().to_lowercase() == "actif");
        if !active {
            inactive.add(id, || id.to_string());
        }
        let span = |raw: Option<&str>| match raw {
            Some(raw) if raw.starts_with('"') => {
                // The field is a part of the file: the distance of the two is its place.
                Span { start: (raw.as_ptr() as usize - text.as_ptr() as usize) as u32, len: raw.len() as u32 }
            }
            _ => Span::default(),
        };
        let own_parents = self.piece.parents.len() - parents_start;
        self.piece.entries.push(Entry {
            id,
            stage,
            criticality,
            active,
            position,
            raw: Span { start: start as u32, len: len as u32 },
            name: span(fields.name),
            frequency: span(fields.frequency),
            parents: Span { start: parents_start as u32, len: own_parents as u32 },
        });
        Ok(start + len)
    }
}

/// The fields of an entry that korch reads, as the file has them. Of a field given twice the last one counts.
#[derive(Default)]
struct Fields<'a> {
    id: Option<&'a str>,
    parents: Option<&'a str>,
    name: Option<&'a str>,
    zone: Option<&'a str>,
    criticality: Option<&'a str>,
    frequency: Option<&'a str>,
    state: Option<&'a str>,
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
struct Sources<'a> {
    name: Option<&'a str>,
    lookup: Option<&'a str>,
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
enum NoId {
    NotANumber,
    NotWhole,
    OutOfRange,
}

impl NoId {
    fn message(self, what: &str, quoted: &str) -> String {
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

    fn hint(self) -> &'static str {
        match self {
            NoId::NotANumber => "write a whole number, or a string of digits",
            NoId::NotWhole => "write 1001 where it says 1001.0 or 1e3",
            NoId::OutOfRange => "larger or negative numbers are not exact in every language",
        }
    }
}

/// An id as JSON has it: a number or a string of digits.
fn id_of(raw: &str) -> Result<ObjectId, NoId> {
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
fn parents_of(raw: &str, parents: &mut Vec<ObjectId>, bad: &mut Vec<(String, NoId)>) {
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
fn dedup_in_order(ids: &mut Vec<ObjectId>, start: usize) {
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
fn unquoted(raw: &str) -> Cow<'_, str> {
    match raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        None => Cow::Borrowed(raw),
        Some(inner) if !inner.contains('\\') => Cow::Borrowed(inner),
        // Half of a surrogate pair cannot be shown as text: as the file has it, then.
        Some(inner) => serde_json::from_str(raw).map_or(Cow::Borrowed(inner), Cow::Owned),
    }
}

/// At most 60 characters of what a file holds.
fn cut(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// From ids to entries.
#[derive(Clone, Debug)]
enum Index {
    /// Ids close together: a table from the lowest on.
    Table { base: u64, entries: Vec<u32> },
    /// Any ids.
    Map(FxHashMap<u64, u32>),
}

impl Index {
    fn new(entries: &[Entry], problems: &mut Found) -> Index {
        let base = entries.iter().map(|entry| entry.id.0).min().unwrap_or(0);
        let top = entries.iter().map(|entry| entry.id.0).max().unwrap_or(0);
        let mut repeats = |i: usize, earlier: u32| {
            let (entry, earlier) = (&entries[i], &entries[earlier as usize]);
            let mut problem = Problem::new(
                format!("duplicate id {}: entries {} and {}", entry.id, earlier.position, entry.position),
                "ids are unique: give one of them another, or remove it",
            )
            .at(entry.raw.start as usize);
            problem.position = Some(entry.position as usize);
            problem.id = Some(entry.id.to_string());
            problems.push(problem);
        };
        if top - base < 8 * entries.len() as u64 + 1024 {
            let mut table = vec![NO_ENTRY; (top - base) as usize + 1];
            for (i, entry) in entries.iter().enumerate() {
                let cell = &mut table[(entry.id.0 - base) as usize];
                if *cell == NO_ENTRY {
                    *cell = i as u32;
                } else {
                    repeats(i, *cell);
                }
            }
            return Index::Table { base, entries: table };
        }
        let mut map = FxHashMap::with_capacity_and_hasher(entries.len(), Default::default());
        for (i, entry) in entries.iter().enumerate() {
            let first = *map.entry(entry.id.0).or_insert(i as u32);
            if first != i as u32 {
                repeats(i, first);
            }
        }
        Index::Map(map)
    }

    fn get(&self, id: ObjectId) -> Option<u32> {
        match self {
            Index::Table { base, entries } => {
                let at = id.0.checked_sub(*base)?;
                entries.get(usize::try_from(at).ok()?).copied().filter(|&entry| entry != NO_ENTRY)
            }
            Index::Map(map) => map.get(&id.0).copied(),
        }
    }

    /// The entry of each id. A look-up waits for memory, so several threads share the work.
    fn links(&self, ids: &[ObjectId]) -> Vec<u32> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        if ids.len() < 100_000 || threads == 1 {
            return ids.iter().map(|&id| self.get(id).unwrap_or(NO_ENTRY)).collect();
        }
        let part_len = ids.len().div_ceil(threads);
        let mut links = vec![NO_ENTRY; ids.len()];
        std::thread::scope(|scope| {
            for (ids, links) in ids.chunks(part_len).zip(links.chunks_mut(part_len)) {
                scope.spawn(move || {
                    for (link, &id) in links.iter_mut().zip(ids) {
                        *link = self.get(id).unwrap_or(NO_ENTRY);
                    }
                });
            }
        });
        links
    }
}

/// Own parents and cycles. Whether every parent comes earlier than its child, by stage and then in the file.
fn check_graph(
    entries: &[Entry],
    stages: &[Stage],
    parents: &[ObjectId],
    links: &[u32],
    problems: &mut Found,
) -> bool {
    let at_entry = |entry: &Entry, message: String, hint: &str| {
        let mut problem = Problem::new(message, hint).at(entry.raw.start as usize);
        problem.position = Some(entry.position as usize);
        problem.id = Some(entry.id.to_string());
        problem
    };
    // Where every parent comes earlier, by stage and then in the file, no path leads back.
    let mut ascending = true;
    for (i, entry) in (0_u32..).zip(entries) {
        for (&id, &link) in parents[entry.parents.range()].iter().zip(&links[entry.parents.range()]) {
            if id == entry.id {
                let message = "the object is its own parent".to_owned();
                problems.push(at_entry(entry, message, "remove its id from its IdObjet_Parent"));
            }
            if link != NO_ENTRY {
                ascending &= (stages[link as usize], link) < (entry.stage, i);
            }
        }
    }
    if ascending {
        return true;
    }
    // By id, so that each path begins with its lowest id.
    let mut by_id: Vec<u32> = (0..entries.len() as u32).collect();
    by_id.sort_by_key(|&i| entries[i as usize].id);
    let mut rank = vec![0_u32; entries.len()];
    for (place, &i) in by_id.iter().enumerate() {
        rank[i as usize] = place as u32;
    }
    let parents_of = |place: u32| {
        let i = by_id[place as usize];
        let entry = &entries[i as usize];
        let range = if entry.active { entry.parents.range() } else { 0..0 };
        let rank = &rank;
        links[range]
            .iter()
            .filter(move |&&link| link != NO_ENTRY && link != i && entries[link as usize].active)
            .map(move |&link| rank[link as usize])
    };
    for cycle in find_cycles(entries.len(), parents_of) {
        let along: Vec<&Entry> =
            cycle.0.iter().map(|&place| &entries[by_id[place as usize] as usize]).collect();
        let ids: Vec<String> = along.iter().chain(along.first()).map(|entry| entry.id.to_string()).collect();
        let mut positions: Vec<String> =
            along.iter().take(20).map(|entry| entry.position.to_string()).collect();
        if along.len() > positions.len() {
            positions.push("…".to_owned());
        }
        let message = format!("a cycle: {} (entries {})", path(&ids), positions.join(", "));
        problems.push(at_entry(along[0], message, "remove one of these parents"));
    }
    false
}

/// `2001 → 2003 → 2001`, its middle left out where it is long.
fn path(ids: &[String]) -> String {
    const SHOWN: usize = 20;
    if ids.len() <= 2 * SHOWN {
        return ids.join(" → ");
    }
    let left_out = ids.len() - 2 * SHOWN;
    format!("{} → … {left_out} more … → {}", ids[..SHOWN].join(" → "), ids[ids.len() - SHOWN..].join(" → "))
}

fn no_final_object(entries: &[Entry]) -> Problem {
    let inactive = entries.iter().filter(|entry| entry.stage == Stage::Application).count();
    if inactive > 0 {
        return Problem::new(
            format!(
                "no final object at all: {}",
                counted(inactive, "is there but inactive", "are there but all inactive")
            ),
            "set the EtatObjet of one to actif",
        );
    }
    Problem::new(
        "no final object at all: nothing would be run",
        "a final object has an id of 3000 or above, or the Zone 3-Application",
    )
}

fn stage_warnings(
    entries: &[Entry],
    stages: &[Stage],
    parents: &[ObjectId],
    links: &[u32],
) -> impl Iterator<Item = Warning> {
    let (mut sources, mut later) = (Tally::default(), Tally::default());
    for entry in entries {
        if entry.parents.len > 0 && entry.stage == Stage::Ingest {
            sources.add(entry.id, || entry.id.to_string());
        }
        for (&id, &link) in parents[entry.parents.range()].iter().zip(&links[entry.parents.range()]) {
            let stage = if link == NO_ENTRY { Stage::of_id(id) } else { Some(stages[link as usize]) };
            if let Some(stage) = stage.filter(|&stage| stage > entry.stage) {
                later.add(entry.id, || format!("{} ({}) needs {id} ({stage})", entry.id, entry.stage));
            }
        }
    }
    let sources = sources.warning(
        WarningKind::SourceWithParents,
        "source that has parents",
        "sources that have parents",
    );
    let later = later.warning(
        WarningKind::LaterParent,
        "parent of a later stage than its child",
        "parents of a later stage than their child",
    );
    sources.into_iter().chain(later)
}
