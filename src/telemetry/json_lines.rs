//! Log lines as JSON: one object a line, every field at its top, and `producer` in each, so that whoever collects the lines
//! of a whole stack can tell whose they are.

use std::fmt;

use jiff::Timestamp;
use serde::Serializer;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The field that says who writes.
const PRODUCER: &str = "producer";

/// Writes an event of tracing as a line of JSON.
pub(super) struct JsonLines {
    /// Who writes, where the event itself does not say it.
    pub producer: String,
}

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Line(vec![
            ("timestamp", format!("{:.6}", Timestamp::now()).into()),
            ("level", event.metadata().level().as_str().into()),
        ]);
        event.record(&mut line);
        if line.0.iter().all(|(name, _)| *name != PRODUCER) {
            line.0.push((PRODUCER, self.producer.as_str().into()));
        }
        let mut json = Vec::with_capacity(256);
        let fields = line.0.iter().map(|(name, value)| (name, value));
        serde_json::Serializer::new(&mut json).collect_map(fields).map_err(|_| fmt::Error)?;
        writeln!(writer, "{}", String::from_utf8(json).map_err(|_| fmt::Error)?)
    }
}

/// The fields of a line, in their order.
struct Line(Vec<(&'static str, Value)>);

impl Line {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.push((field.name(), value.into()));
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no word for what is no number.
        self.put(field, serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines that these events become.
    fn lines(events: impl FnOnce()) -> Vec<Value> {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .event_format(JsonLines { producer: "ui".into() })
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, events);
        let text = String::from_utf8(kept.0.lock().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn each_line_says_who_writes_it() {
        let lines = lines(|| {
            tracing::warn!(id_objet = 2005_u64, share = 0.5, "two\nlines and a \"quote\"");
            tracing::info!(producer = "ingest", worker = None::<&str>, "one");
            tracing::info!(share = f64::NAN, "none");
        });
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0]["producer"], "ui");
        assert_eq!(lines[0]["level"], "WARN");
        assert_eq!(lines[0]["id_objet"], 2005);
        assert_eq!(lines[0]["share"], 0.5);
        assert_eq!(lines[0]["message"], "two\nlines and a \"quote\"");
        assert_eq!(lines[1]["producer"], "ingest");
        assert!(lines[1].get("worker").is_none());
        assert!(lines[2]["share"].is_null());
        let at: Timestamp = lines[0]["timestamp"].as_str().unwrap().parse().unwrap();
        assert!(at <= Timestamp::now());
    }
}
