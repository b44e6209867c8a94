//! A Python with what the examples need, or what tests the API. A file that uses it has `mod kafka` too.

#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What the examples need; none, and a word on stderr, where there is no Python: as with Kafka, a failure where it is required.
pub fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    told(PYTHON.get_or_init(|| make("python-examples", "examples/requirements.txt")))
}

/// What tests the API against its own description; as above.
pub fn schemathesis() -> Option<&'static Path> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    told(PYTHON.get_or_init(|| make("python-openapi", "tests/openapi/requirements.txt")))
}

/// What selectors are compared with; as above.
pub fn networkx() -> Option<&'static Path> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    told(PYTHON.get_or_init(|| make("python-selectors", "tests/selectors/requirements.txt")))
}

fn told(python: &'static Result<PathBuf, String>) -> Option<&'static Path> {
    match python {
        Ok(python) => Some(python),
        Err(why) => {
            let required = std::env::var("KORCH_TEST_KAFKA").is_ok_and(|value| value == "required");
            assert!(!required, "no Python here, and KORCH_TEST_KAFKA=required: {why}");
            let thread = std::thread::current();
            // Past the capture of a test's output: nobody reads what a passing test prints.
            let _ = writeln!(
                std::io::stderr(),
                "NOT RUN: {}: no Python here ({why}); KORCH_TEST_KAFKA=required makes this a failure",
                thread.name().unwrap_or("a test")
            );
            None
        }
    }
}

/// Made once, and kept in the target directory.
fn make(name: &str, requirements: &str) -> Result<PathBuf, String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let place = target.join(name);
    let (python, done) = (place.join("bin/python"), place.join("requirements.txt"));
    let wanted = Path::new(env!("CARGO_MANIFEST_DIR")).join(requirements);
    let is_there = || fs::read(&done).is_ok_and(|had| had == fs::read(&wanted).unwrap());
    let lock = File::create(target.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    if !is_there() {
        // What was begun and not finished, or is for other requirements, is of no use.
        let _ = fs::remove_dir_all(&place);
        run(Command::new("python3").args(["-m", "venv"]).arg(&place))?;
        run(Command::new(&python)
            .args(["-m", "pip", "install", "-q", "--disable-pip-version-check", "-r"])
            .arg(&wanted))?;
        fs::copy(&wanted, &done).unwrap();
    }
    Ok(python)
}

fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("no {program}: {error}"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let last = said.trim_end().lines().last().unwrap_or_default();
    if output.status.success() { Ok(()) } else { Err(format!("{program}: {}: {last}", output.status)) }
}
