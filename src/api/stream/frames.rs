//! Records as messages of a stream, with the ids between them.

use std::fmt::Write as _;

use crate::log::Record;

/// Writes records as messages, and the ids between them.
pub(super) struct Frames {
    log_id: String,
    next_offsets: Vec<u64>,
}

impl Frames {
    pub(super) fn new(log_id: &str, position: &[u64]) -> Frames {
        Frames { log_id: one_line(log_id), next_offsets: position.to_vec() }
    }

    /// The offset of the next record, for every partition.
    pub(super) fn position(&self) -> &[u64] {
        &self.next_offsets
    }

    /// Moves the place on past records that need no message.
    pub(super) fn advance(&mut self, to: &[u64]) {
        self.next_offsets.resize(self.next_offsets.len().max(to.len()), 0);
        for (at, to) in self.next_offsets.iter_mut().zip(to) {
            *at = (*at).max(*to);
        }
    }

    /// An event's message. Any other record moves the place on, and the next message's id says so.
    pub(super) fn message(&mut self, out: &mut String, record: &Record) {
        let partition = record.partition as usize;
        if self.next_offsets.len() <= partition {
            self.next_offsets.resize(partition + 1, 0);
        }
        self.next_offsets[partition] = record.offset + 1;
        if record.event().is_err() {
            return;
        }
        self.id_line(out);
        // Line ends between the tokens of a stranger's JSON: the reader joins the lines again.
        for line in String::from_utf8_lossy(&record.value).split(['\n', '\r']) {
            out.push_str("data: ");
            out.push_str(line);
            out.push('\n');
        }
        out.push('\n');
    }

    pub(super) fn id_line(&self, out: &mut String) {
        out.push_str("id: ");
        out.push_str(&self.log_id);
        for (i, offset) in self.next_offsets.iter().enumerate() {
            out.push(if i == 0 { ':' } else { ',' });
            // Writing to a String cannot fail.
            let _ = write!(out, "{offset}");
        }
        out.push('\n');
    }

    /// The lines of an event named `reset`, without the empty one that ends it.
    pub(super) fn reset(&self, out: &mut String, why: &'static str) {
        out.push_str("event: reset\n");
        self.id_line(out);
        out.push_str("data: ");
        out.push_str(&serde_json::json!({ "reason": why }).to_string());
        out.push('\n');
    }
}

/// An id that breaks no frame, and that a browser sends back as it is.
pub(super) fn one_line(log_id: &str) -> String {
    log_id.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::body::Bytes;

    use super::*;

    fn record(offset: u64, value: &'static str) -> Record {
        Record::new(1, offset, 0, Bytes::new(), Bytes::from_static(value.as_bytes()))
    }

    #[test]
    fn messages_carry_the_place_after_them() {
        let mut frames = Frames::new("l:o\ng", &[4, 7]);
        let mut out = String::new();
        frames.message(&mut out, &record(7, "rubbish"));
        frames.message(&mut out, &record(8, "{\n\"event_type\":\r\n\"RunRequested\"}"));
        assert_eq!(out, "id: l:o_g:4,9\ndata: {\ndata: \"event_type\":\ndata: \ndata: \"RunRequested\"}\n\n");
        out.clear();
        frames.reset(&mut out, "why");
        assert_eq!(out, "event: reset\nid: l:o_g:4,9\ndata: {\"reason\":\"why\"}\n");
    }
}
