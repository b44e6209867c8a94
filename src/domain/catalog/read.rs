//! From the file's text to entries, in pieces, one a thread.

use serde::de::IgnoredAny;

use super::fields::{Fields, cut, dedup_in_order, id_of, parents_of, unquoted};
use super::{Entry, Found, MAX_ENTRY_BYTES, MAX_FILE_BYTES, Span, text_start};
use crate::domain::object::{Criticality, ObjectId, Stage};
use crate::domain::problem::{Problem, Tally};

/// Files above this many bytes are parsed by several threads.
const PIECE_BYTES: usize = 1 << 20;

/// The file as text, and where the array's first element would begin.
pub(super) fn text_of(bytes: &[u8]) -> Result<(&str, usize), Problem> {
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
pub(super) struct Piece {
    pub(super) entries: Vec<Entry>,
    pub(super) parents: Vec<ObjectId>,
    pub(super) problems: Found,
    /// How many elements of the array, entries with problems included.
    pub(super) elements: u32,
    /// Zone and id disagree, unknown zone, unknown criticality, inactive.
    pub(super) tallies: [Tally; 4],
    pub(super) end: End,
}

/// How a piece ended.
pub(super) enum End {
    /// Here begins an element of the next piece.
    Next(usize),
    /// The array's end, and nothing behind it.
    Closed,
    Broken(Problem),
}

impl End {
    pub(super) fn broken(&self) -> Option<Problem> {
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
pub(super) fn parse_entries(text: &str, start: usize) -> Piece {
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
