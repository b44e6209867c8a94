//! The arrows between the parts of the code run downwards only.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the sources") {
        let path = entry.expect("a source").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// Every source with its path below `src` and its code without tests and comments.
fn code() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    assert!(found.len() > 20, "only {} sources below {}", found.len(), root.display());
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a source");
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let name = path.strip_prefix(&root).expect("below src").display().to_string();
            (name, lines.collect::<Vec<_>>().join("\n"))
        })
        .collect()
}

#[track_caller]
fn never(within: impl Fn(&str) -> bool, words: &[&str], why: &str) {
    for (name, code) in code().into_iter().filter(|(name, _)| within(name)) {
        for word in words {
            assert!(!code.contains(word), "src/{name} has `{word}`: {why}");
        }
    }
}

#[test]
fn the_domain_is_pure() {
    let ours = ["api", "cli", "client", "handler", "log", "planning", "roles", "telemetry", "view"];
    let ours: Vec<String> = ours.iter().map(|part| format!("crate::{part}")).collect();
    let mut words: Vec<&str> = ours.iter().map(String::as_str).collect();
    words.extend([
        "async fn",
        "std::fs",
        "std::net",
        "Instant::now",
        "SystemTime::now",
        "Timestamp::now",
        "tokio::",
    ]);
    never(
        |name| name.starts_with("domain/"),
        &words,
        "the domain knows no IO, no clock and nothing above it",
    );
}

#[test]
fn roles_do_not_know_each_other() {
    let words = ["crate::roles", "super::orchestrate", "super::worker", "super::up", "super::ui"];
    never(|name| name.starts_with("roles/"), &words, "a role starts loops, not other roles");
    never(|name| !name.starts_with("roles/") && name != "main.rs", &["crate::roles"], "arrows run downwards");
}

#[test]
fn only_the_log_may_know_kafka() {
    never(
        |name| name != "log/kafka.rs" && !name.starts_with("log/kafka/"),
        &["rskafka"],
        "the log hides its engine",
    );
}

#[test]
fn only_main_ends_the_process() {
    never(|name| name != "main.rs", &["process::exit", "panic!("], "an error is returned, `main` prints it");
}
