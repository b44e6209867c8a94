//! What a command prints becomes log lines. Alone in its process: `tracing` remembers for the whole process that nobody
//! listened to a line, and in other tests nobody does.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

use std::io::Write;
use std::sync::Arc;

use korch::domain::object::{ObjectId, Stage};
use korch::handler::exec::Exec;
use korch::handler::{Handler, Task};
use parking_lot::Mutex;

/// Where the lines of a log go in a test.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The fields are a promise of the contract (section 5), so this one test depends on log lines.
#[tokio::test]
async fn output_becomes_log_lines() {
    let written = Written::default();
    let writer = written.clone();
    let subscriber =
        tracing_subscriber::fmt().json().without_time().with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);

    let task = Task {
        object: ObjectId(2001),
        stage: Stage::Standardize,
        run_id: "0199-run".to_owned(),
        attempt: 3,
        entry: None,
        timeout: None,
        degraded: Vec::new(),
    };
    let command = r"echo hello; printf 'caf\351' >&2; head -c 70000 /dev/zero | tr '\0' x";
    Exec::new(command).unwrap().handle(&task).await.expect("loaded");

    let text = String::from_utf8(written.0.lock().clone()).unwrap();
    let mut lines: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let fields = &line["fields"];
        assert_eq!(fields["id_objet"], 2001);
        assert_eq!(fields["run_id"], "0199-run");
        assert_eq!(fields["attempt"], 3);
        assert_eq!(fields["stage"], "standardize");
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        lines.push((text(&line["level"]), text(&fields["message"])));
    }
    lines.sort();
    let long = format!("{} … (cut: the line has 70000 bytes)", "x".repeat(16 * 1024));
    let expected = [("INFO", "hello"), ("INFO", long.as_str()), ("WARN", "caf\u{fffd}")];
    assert_eq!(lines, expected.map(|(level, text)| (level.to_owned(), text.to_owned())));
}
