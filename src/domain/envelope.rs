//! An event's headers: CloudEvents 1.0, as its Kafka binding writes them in binary mode.
//!
//! They repeat what the value says, for consumers that sort, route or drop repeats without reading it. korch itself
//! believes the value alone.

use jiff::Timestamp;
use uuid::Uuid;

use super::event::{Body, Epoch, Event, RunId, time_text};
use super::object::ObjectId;

/// What the headers of a record are made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    event_type: &'static str,
    at: Timestamp,
    run: Option<RunId>,
    object: Option<(ObjectId, u32)>,
    epoch: Option<Epoch>,
    part: Option<u32>,
    /// Somebody may ask for the same thing again later, and mean it.
    again: bool,
}

impl Envelope {
    /// The envelope of an event.
    pub fn of(event: &Event) -> Envelope {
        let part = if let Body::RunPlanned(part) = &event.body { Some(part.part) } else { None };
        Envelope {
            event_type: event.body.event_type(),
            at: event.at,
            run: event.run,
            object: event.body.object(),
            epoch: event.epoch,
            part,
            again: matches!(
                event.body,
                Body::RunPauseRequested(_) | Body::RunResumeRequested(_) | Body::ObjectMarked(_)
            ),
        }
    }

    /// The wire's `event_type`.
    pub fn event_type(&self) -> &'static str {
        self.event_type
    }

    /// The event's identity: UUID v5 of run, object, type, attempt and epoch, of the part of a plan, and of
    /// the time of what may be asked for again and again. An event that is
    /// written twice has it twice.
    pub fn id(&self) -> Uuid {
        let (object, attempt) = self.object.unzip();
        let name = format!(
            "korch/{}/{}/{}/{}/{}/{}",
            text(self.run),
            text(object),
            self.event_type,
            text(attempt),
            text(self.epoch),
            text(self.part),
        );
        let name = if self.again { format!("{name}/{}", time_text(self.at)) } else { name };
        Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes())
    }

    /// The headers; `source` says who writes.
    pub fn headers(&self, source: &str) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("ce_specversion", "1.0".to_owned()),
            ("ce_id", self.id().to_string()),
            ("ce_source", source.to_owned()),
            ("ce_type", self.event_type.to_owned()),
            ("ce_time", time_text(self.at)),
            ("content-type", "application/json".to_owned()),
        ];
        let subject =
            self.object.map(|(object, _)| object.to_string()).or(self.run.map(|run| run.to_string()));
        headers.extend(subject.map(|subject| ("ce_subject", subject)));
        headers
    }
}

fn text(part: Option<impl ToString>) -> String {
    part.map(|part| part.to_string()).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::domain::event::{Answer, AnswerMeta, PlanPart};
    use crate::domain::rules::Rules;

    fn event(body: Body, epoch: Option<Epoch>) -> Event {
        let at = Timestamp::from_microsecond(1_700_000_000_123_456).unwrap();
        Event { at, run: Some(RunId(Uuid::nil())), epoch, body }
    }

    fn loaded(attempt: u32) -> Body {
        Body::ObjectLoaded(Answer { object: ObjectId(1001), attempt, meta: AnswerMeta::default() })
    }

    #[test]
    fn the_headers_are_those_of_cloud_events() {
        let envelope = Envelope::of(&event(loaded(2), None));
        let mut headers = envelope.headers("/korch/ingest/a");
        headers.sort_unstable();
        let id = envelope.id().to_string();
        let expected = [
            ("ce_id", id.as_str()),
            ("ce_source", "/korch/ingest/a"),
            ("ce_specversion", "1.0"),
            ("ce_subject", "1001"),
            ("ce_time", "2023-11-14T22:13:20.123456Z"),
            ("ce_type", "ObjectLoaded"),
            ("content-type", "application/json"),
        ];
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(headers, expected);
    }

    #[test]
    fn what_is_written_twice_has_one_id_and_nothing_else_has_it() {
        let id = |body: Body, epoch| Envelope::of(&event(body, epoch)).id();
        let part = |part| {
            let begins = Vec::new();
            Body::RunPlanned(PlanPart {
                part,
                parts: 2,
                partitions: 1,
                begins,
                rules: Rules::default(),
                objects: Vec::new(),
            })
        };
        let mut later = event(loaded(1), None);
        later.at = Timestamp::UNIX_EPOCH;
        assert_eq!(id(loaded(1), None), Envelope::of(&later).id());
        let ids = [
            id(loaded(1), None),
            id(loaded(2), None),
            id(Body::OrchestratorElected, Some(1)),
            id(Body::OrchestratorElected, Some(2)),
            id(part(0), Some(1)),
            id(part(1), Some(1)),
        ];
        for (i, one) in ids.iter().enumerate() {
            assert!(!ids[..i].contains(one), "{i}");
        }
    }
}
