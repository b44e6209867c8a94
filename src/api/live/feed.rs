//! What viewers of one run are sent: the last line about it, the last changes, and now and then the whole.
//!
//! Bytes and numbers only: what they say is [`super::encode`]'s business.

use std::collections::VecDeque;

use axum::body::Bytes;

/// So many bytes of changes are kept for those who are behind.
const KEPT_BYTES: usize = 4 << 20;
/// A whole is sent again while the changes since are no more than this, or half of it.
const STALE_BYTES: usize = 256 << 10;

/// A message of which only the last one counts.
#[derive(Debug, Default)]
pub(super) struct Line {
    version: u64,
    frame: Bytes,
}

impl Line {
    /// Replaces the message. Whether it says something new is returned.
    pub(super) fn tell(&mut self, frame: Bytes) -> bool {
        let new = self.frame != frame;
        if new {
            self.version += 1;
            self.frame = frame;
        }
        new
    }

    /// The message, if it is newer than the one that was seen.
    pub(super) fn news(&self, seen: &mut u64) -> Option<Bytes> {
        (self.version > std::mem::replace(seen, self.version)).then(|| self.frame.clone())
    }
}

/// Where a viewer stands in a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The plan, by number.
    pub(super) generation: u64,
    /// The number of the next change.
    pub(super) next: u64,
}

/// One run, for those who look at it.
#[derive(Debug, Default)]
pub(super) struct Feed {
    /// How many look at it.
    pub(super) viewers: usize,
    /// Where it stands.
    pub(super) line: Line,
    generation: u64,
    /// The number of the first change that is kept.
    first: u64,
    changes: VecDeque<Bytes>,
    bytes: usize,
    /// Everything before the change of this number.
    whole: Option<(u64, Bytes)>,
}

impl Feed {
    /// Where somebody stands who has seen everything.
    pub(super) fn end(&self) -> Place {
        Place { generation: self.generation, next: self.first + self.changes.len() as u64 }
    }

    /// Makes all changes so far void: another plan counts, or nobody knows any more what changed.
    pub(super) fn begin_anew(&mut self) {
        self.first = self.end().next;
        self.generation += 1;
        self.changes.clear();
        self.bytes = 0;
        self.whole = None;
    }

    /// Adds a change.
    pub(super) fn push(&mut self, change: Bytes) {
        self.bytes += change.len();
        self.changes.push_back(change);
        while self.bytes > KEPT_BYTES {
            let Some(oldest) = self.changes.pop_front() else { break };
            self.bytes -= oldest.len();
            self.first += 1;
        }
        if self.whole.as_ref().is_some_and(|(at, _)| *at < self.first) {
            self.whole = None;
        }
    }

    /// The changes that come after a place; none where they are not kept, or never were this feed's.
    pub(super) fn after(&self, place: Place) -> Option<impl Iterator<Item = &Bytes>> {
        let end = self.end();
        if place.generation != end.generation || place.next > end.next {
            return None;
        }
        let skipped = usize::try_from(place.next.checked_sub(self.first)?).ok()?;
        Some(self.changes.range(skipped..))
    }

    /// Keeps the whole as it is now.
    pub(super) fn keep(&mut self, whole: Bytes) {
        self.whole = Some((self.end().next, whole));
    }

    /// The whole that was kept, if what changed since is little beside it, and where it leaves a viewer.
    pub(super) fn kept(&self) -> Option<(Place, Bytes)> {
        let (next, whole) = self.whole.as_ref()?;
        let place = Place { generation: self.generation, next: *next };
        let since: usize = self.after(place)?.map(Bytes::len).sum();
        (since <= STALE_BYTES.max(whole.len() / 2)).then(|| (place, whole.clone()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn change(bytes: usize) -> Bytes {
        Bytes::from(vec![b'x'; bytes])
    }

    #[test]
    fn a_viewer_far_behind_costs_no_more_than_the_last_changes() {
        let mut feed = Feed::default();
        let begin = feed.end();
        feed.push(change(10));
        assert_eq!(feed.after(begin).unwrap().count(), 1);
        for _ in 0..100 {
            feed.push(change(1 << 20));
        }
        assert!(feed.bytes <= KEPT_BYTES);
        assert!(feed.after(begin).is_none(), "it is sent the whole");
        assert_eq!(feed.after(feed.end()).unwrap().count(), 0);
        let ahead = Place { next: feed.end().next + 1, ..feed.end() };
        assert!(feed.after(ahead).is_none(), "another life's place");
    }

    #[test]
    fn a_whole_is_sent_again_until_too_much_has_changed() {
        let mut feed = Feed::default();
        feed.push(change(5));
        assert!(feed.kept().is_none());
        feed.keep(change(100));
        feed.push(change(STALE_BYTES));
        assert_eq!(feed.kept().unwrap().0.next, 1);
        feed.push(change(1));
        assert!(feed.kept().is_none());
        feed.keep(change(100));
        feed.begin_anew();
        assert!(feed.kept().is_none());
    }

    #[test]
    fn a_line_is_news_once() {
        let (mut line, mut seen) = (Line::default(), 0);
        assert!(line.news(&mut seen).is_none());
        assert!(line.tell(change(1)));
        assert!(!line.tell(change(1)));
        assert!(line.news(&mut seen).is_some());
        assert!(line.news(&mut seen).is_none());
    }
}
