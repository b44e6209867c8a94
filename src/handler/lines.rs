//! What work prints, cut into lines, in memory that has a bound whatever it prints.

use super::Task;

/// The longest line that is shown whole, in bytes.
pub(super) const SHOWN_MAX_BYTES: usize = 16 * 1024;

/// How much more than a limit to keep so that the cut can be made between two characters: UTF-8 has up to 4 bytes.
const CUT_MARGIN_BYTES: usize = 4;

/// One line, or as much of it as was kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// Its beginning, without the line break.
    pub(super) kept: &'a [u8],
    /// How long it really is.
    pub(super) len: usize,
}

impl Line<'_> {
    /// The line as text of at most [`SHOWN_MAX_BYTES`], and a remark where that is not all of it.
    pub(super) fn shown(&self) -> String {
        let beginning = &self.kept[..self.kept.len().min(SHOWN_MAX_BYTES + CUT_MARGIN_BYTES)];
        let mut text = String::from_utf8_lossy(beginning.trim_ascii_end()).into_owned();
        if text.len() > SHOWN_MAX_BYTES {
            text.truncate(text.floor_char_boundary(SHOWN_MAX_BYTES));
        }
        if self.len > SHOWN_MAX_BYTES {
            text.push_str(&format!(" … (cut: the line has {} bytes)", self.len));
        }
        text
    }
}

/// Cuts a stream of bytes into lines. Lines of nothing but blanks are passed over.
#[derive(Debug)]
pub(super) struct Lines {
    /// How much of a line to keep, in bytes.
    keep: usize,
    current: Vec<u8>,
    current_len: usize,
    last: Vec<u8>,
    last_len: usize,
}

impl Lines {
    /// Keeps `keep` bytes of a line, and never less than what is shown of it.
    pub(super) fn new(keep: usize) -> Lines {
        let keep = keep.max(SHOWN_MAX_BYTES + CUT_MARGIN_BYTES);
        Lines { keep, current: Vec::new(), current_len: 0, last: Vec::new(), last_len: 0 }
    }

    /// Takes the next bytes and emits every line that they end.
    pub(super) fn push(&mut self, bytes: &[u8], emit: &mut impl FnMut(Line<'_>)) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            let room = self.keep - self.current.len();
            self.current.extend_from_slice(&text[..text.len().min(room)]);
            self.current_len += text.len();
            if text.len() < piece.len() {
                self.end_line(emit);
            }
        }
    }

    /// Ends the stream: a last line needs no line break.
    pub(super) fn finish(&mut self, emit: &mut impl FnMut(Line<'_>)) {
        self.end_line(emit);
    }

    /// The last line that was not blank.
    pub(super) fn last(&self) -> Option<Line<'_>> {
        (self.last_len > 0).then_some(Line { kept: &self.last, len: self.last_len })
    }

    fn end_line(&mut self, emit: &mut impl FnMut(Line<'_>)) {
        if !self.current.trim_ascii().is_empty() {
            emit(Line { kept: &self.current, len: self.current_len });
            std::mem::swap(&mut self.current, &mut self.last);
            self.last_len = self.current_len;
        }
        self.current.clear();
        self.current_len = 0;
    }
}

/// The end of a stream of bytes.
#[derive(Debug)]
pub(super) struct Tail {
    max: usize,
    bytes: Vec<u8>,
}

impl Tail {
    /// Keeps the last `max` bytes.
    pub(super) fn new(max: usize) -> Tail {
        Tail { max, bytes: Vec::new() }
    }

    /// Takes the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let keep = self.max + CUT_MARGIN_BYTES;
        self.bytes.extend_from_slice(&bytes[bytes.len().saturating_sub(keep)..]);
        // Twice as much is let in before the front is dropped, so that single bytes do not each move all others.
        if self.bytes.len() > 2 * keep {
            self.bytes.drain(..self.bytes.len() - keep);
        }
    }

    /// The end as text of at most `max` bytes, without blanks around it. None where there is nothing else.
    pub(super) fn text(&self) -> Option<String> {
        let bytes = &self.bytes[self.bytes.len().saturating_sub(self.max + CUT_MARGIN_BYTES)..];
        let text = String::from_utf8_lossy(bytes);
        let from = text.ceil_char_boundary(text.len().saturating_sub(self.max));
        let text = text[from..].trim();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

/// The end of stderr, or of a refusal, that a failure carries, in bytes.
pub const STDERR_MAX_BYTES: usize = 4 * 1024;

/// How much of a complaint goes into a failure's one line of text, in bytes.
const REASON_MAX_BYTES: usize = 512;

/// What work has to say of a failure: each line is logged as a warning, and the end is kept.
pub(super) struct Complaint<'a> {
    lines: Lines,
    tail: Tail,
    task: &'a Task,
}

impl Complaint<'_> {
    /// Of an attempt at this task.
    pub(super) fn new(task: &Task) -> Complaint<'_> {
        Complaint { lines: Lines::new(0), tail: Tail::new(STDERR_MAX_BYTES), task }
    }

    /// Takes the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.lines.push(bytes, &mut warn(self.task));
        self.tail.push(bytes);
    }

    /// Ends the stream.
    pub(super) fn finish(&mut self) {
        self.lines.finish(&mut warn(self.task));
    }

    /// The last line, short enough for a line of text.
    pub(super) fn reason(&self) -> Option<String> {
        Some(short(self.lines.last()?.shown().trim()))
    }

    /// The end of it.
    pub(super) fn text(&self) -> Option<String> {
        self.tail.text()
    }
}

fn warn(task: &Task) -> impl FnMut(Line<'_>) {
    let Task { object, stage, run_id, attempt, .. } = task;
    move |line| tracing::warn!(id_objet = object.0, run_id, attempt, %stage, "{}", line.shown())
}

/// A text, short enough to be the reason of a failure.
pub(super) fn short(text: &str) -> String {
    let kept = &text[..text.floor_char_boundary(REASON_MAX_BYTES)];
    if kept.len() < text.len() { format!("{kept}…") } else { kept.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Cuts `input`, given in pieces of `step` bytes, and returns what is shown of each line.
    fn cut(input: &[u8], step: usize) -> Vec<String> {
        let mut lines = Lines::new(0);
        let mut shown = Vec::new();
        let mut emit = |line: Line<'_>| shown.push(line.shown());
        input.chunks(step).for_each(|piece| lines.push(piece, &mut emit));
        lines.finish(&mut emit);
        shown
    }

    #[test]
    fn lines_end_with_a_break_of_either_kind_or_with_the_stream() {
        assert_eq!(cut(b"one\n\n two\r\n  \r\nthree", 5), ["one", " two", "three"]);
        assert_eq!(cut(b"", 5), [""; 0]);
        assert_eq!(cut(b"\n\n", 1), [""; 0]);
    }

    #[test]
    fn invalid_text_is_shown_as_well_as_it_can_be() {
        assert_eq!(cut(b"caf\xe9 noir\n", 3), ["caf\u{fffd} noir"]);
    }

    #[test]
    fn a_long_line_is_cut_between_two_characters() {
        let line = format!("x{}", "é".repeat(SHOWN_MAX_BYTES));
        let shown = cut(line.as_bytes(), 1000);
        let expected = format!(
            "x{} … (cut: the line has {} bytes)",
            "é".repeat((SHOWN_MAX_BYTES - 1) / 2),
            2 * SHOWN_MAX_BYTES + 1
        );
        assert_eq!(shown, [expected]);

        let exact = "x".repeat(SHOWN_MAX_BYTES);
        assert_eq!(cut(exact.as_bytes(), 1000), [exact]);
    }

    #[test]
    fn memory_has_a_bound_whatever_comes() {
        let mut lines = Lines::new(1 << 16);
        let mut tail = Tail::new(4096);
        for _ in 0..10_000 {
            let piece = [b'x'; 8192];
            lines.push(&piece, &mut |_| ());
            tail.push(&piece);
        }
        lines.push(b"\n", &mut |_| ());
        assert!(lines.current.capacity() + lines.last.capacity() <= 1 << 18);
        assert!(tail.bytes.capacity() <= 1 << 15);
        let last = lines.last().expect("a line");
        assert_eq!((last.kept.len(), last.len), (1 << 16, 81_920_000));
    }

    #[test]
    fn the_tail_begins_with_a_whole_character_and_keeps_to_its_limit() {
        let mut tail = Tail::new(5);
        tail.push("ééééé".as_bytes());
        assert_eq!(tail.text().as_deref(), Some("éé"));

        let mut invalid = Tail::new(5);
        invalid.push(&[0xff; 20]);
        assert_eq!(invalid.text().as_deref(), Some("\u{fffd}"));

        let mut blank = Tail::new(5);
        blank.push(b" \n \n");
        assert_eq!(blank.text(), None);
    }

    proptest! {
        #[test]
        fn how_the_bytes_arrive_makes_no_difference(
            input in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
            step in 1usize..50,
        ) {
            prop_assert_eq!(cut(&input, step), cut(&input, usize::MAX));

            let (mut pieces, mut whole) = (Tail::new(16), Tail::new(16));
            input.chunks(step).for_each(|piece| pieces.push(piece));
            whole.push(&input);
            prop_assert_eq!(pieces.text(), whole.text());
        }
    }
}
