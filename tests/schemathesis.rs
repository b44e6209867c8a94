//! The API against its own description, by schemathesis: whatever fits is answered as described, whatever does not is
//! refused as described, and nothing breaks it.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "figures are for those who ask for them")]

#[path = "support/python.rs"]
mod python;
mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{Api, Korch, Place};

const TOKEN: &str = "s3cret";

fn lake() -> Place {
    Place::with(&[(1001, vec![]), (2001, vec![1001]), (2005, vec![1001]), (3001, vec![2001, 2005])])
}

/// Everything that is described, but for the endless streams. `more` is put behind the settings.
fn check(python: &Path, api: &Api, args: &[&str], more: &str) {
    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi/schemathesis.toml");
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("schemathesis.toml");
    fs::write(&file, fs::read_to_string(settings).unwrap() + more).unwrap();
    let output = Command::new(python)
        .args(["-m", "schemathesis.cli", "--config-file"])
        .arg(file)
        .args(["run", "--no-color"])
        .args(args)
        .arg(format!("http://{}/openapi.json", api.address))
        .current_dir(place.path())
        .output()
        .unwrap();
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(output.status.success(), "{said}");
    for line in said.lines().filter(|line| line.contains("selected /") || line.contains("generated")) {
        println!("{}", line.trim());
    }
}

/// With data that was made up, before there is any run.
#[test]
fn a_server_that_has_run_nothing() {
    let Some(python) = python::schemathesis() else { return };
    let place = lake();
    let korch = place.up(&["--idle", "--delay", "1ms"]);
    let api = korch.api();
    api.ready();
    check(python, &api, &[], "");
    korch.stop();
}

#[test]
fn a_server_that_asks_for_a_token() {
    let Some(python) = python::schemathesis() else { return };
    let place = lake();
    let mut command = place.up_command(&["--idle", "--delay", "1ms"]);
    command.env("KORCH_API_TOKEN", TOKEN);
    let korch = Korch::start(command);
    let api = korch.api();
    api.ready();
    check(python, &api, &["--header", &format!("Authorization: Bearer {TOKEN}")], "");
    korch.stop();
}

/// With objects that were loaded, failed and skipped: the answers have something to say.
#[test]
fn a_server_with_a_run_behind_it() {
    let Some(python) = python::schemathesis() else { return };
    let place = lake();
    let korch = place.up(&["--delay", "1ms"]);
    let api = korch.api();
    api.ready();
    api.first_run_over();
    // Nothing that changes something: what there is stays what is asked for.
    let named = "\n[parameters]\n\"path.id\" = \"latest\"\n\"path.object\" = 3001\n";
    check(python, &api, &["--include-method", "GET"], named);
    korch.stop();
}
