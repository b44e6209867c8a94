//! Server-Sent Events, read as the HTML standard says.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;

/// An event is at most about a million bytes; a longer line is no korch's.
const MAX_MESSAGE_BYTES: usize = 8 << 20;
/// The API says something at least every 15 s: a stream that is silent for longer is dead.
const QUIET: Duration = Duration::from_secs(45);

/// A message.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Its name; empty: an event of the log.
    pub event: String,
    /// What it says.
    pub data: String,
}

/// What messages are read from, in the pieces that come.
#[derive(Debug, Default)]
pub struct Parser {
    buffer: Vec<u8>,
    /// How much of the buffer is read.
    at: usize,
    /// Up to where no line ends: a long line that comes in many pieces is looked through once.
    searched: usize,
    message: Message,
    has_data: bool,
    id: String,
    /// Where the stream goes on after the last complete message.
    pub last_id: String,
}

impl Parser {
    /// Takes a piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.drain(..self.at);
        self.searched = self.buffer.len();
        self.at = 0;
        self.buffer.extend_from_slice(piece);
    }

    /// Whether a message is larger than any of korch's.
    pub fn is_too_large(&self) -> bool {
        self.buffer.len() - self.at + self.message.data.len() > MAX_MESSAGE_BYTES
    }

    /// The next complete message.
    pub fn next(&mut self) -> Option<Message> {
        let line_end = |buffer: &[u8], from: usize| {
            buffer[from..].iter().position(|byte| *byte == b'\n').map(|length| from + length)
        };
        while let Some(end) = line_end(&self.buffer, self.searched.max(self.at)) {
            let line = &self.buffer[self.at..end];
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
            self.at = end + 1;
            if line.is_empty() {
                self.last_id.clone_from(&self.id);
                let message = std::mem::take(&mut self.message);
                if std::mem::take(&mut self.has_data) {
                    return Some(message);
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut self.message.event),
                "id" => value.clone_into(&mut self.id),
                "data" => {
                    if self.has_data {
                        self.message.data.push('\n');
                    }
                    self.message.data.push_str(value);
                    self.has_data = true;
                }
                _ => {}
            }
        }
        None
    }
}

/// The next piece of a stream. None: it is over, broken, or silent for too long.
pub async fn piece(body: &mut Incoming) -> Option<hyper::body::Bytes> {
    loop {
        let frame = tokio::time::timeout(QUIET, body.frame()).await.ok()??.ok()?;
        if let Ok(data) = frame.into_data() {
            return Some(data);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_whole_however_they_are_cut() {
        let text = ": korch\nretry: 1000\nid: l:0\n\nid: l:1\ndata: {\"a\":\ndata: \"é\"}\r\n\nevent: reset\nid: l:2\ndata: x\n\nid: l:3\ndata: cut";
        for size in 1..text.len() {
            let (mut parser, mut messages) = (Parser::default(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                parser.push(piece);
                while let Some(message) = parser.next() {
                    messages.push((message.event, message.data, parser.last_id.clone()));
                }
            }
            let expected = [("", "{\"a\":\n\"é\"}", "l:1"), ("reset", "x", "l:2")]
                .map(|(event, data, id)| (event.to_owned(), data.to_owned(), id.to_owned()));
            assert_eq!(messages, expected, "{size}");
            assert_eq!(parser.last_id, "l:2");
        }
    }
}
