//! Kafka's jars: fetched once by Maven, kept in the target directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Maven fetches fifty jars; through a slow mirror that takes a while.
const FETCH_DEADLINE: Duration = Duration::from_secs(300);

/// The directory with the jars, or why there is none.
pub fn libraries() -> Result<&'static Path, &'static str> {
    static LIBRARIES: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    LIBRARIES.get_or_init(install).as_deref().map_err(String::as_str)
}

/// Where cargo builds: what is made here goes with `cargo clean`.
pub fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap()
}

/// One process at a time passes here; the lock ends with the file, however the process ends.
pub fn locked(name: &str) -> File {
    let lock = File::create(target().join(name)).unwrap();
    lock.lock().unwrap();
    lock
}

fn install() -> Result<PathBuf, String> {
    java()?;
    let place = target().join("kafka-libs-4.1.1");
    if place.exists() {
        return Ok(place);
    }
    let _lock = locked("kafka-libs.lock");
    if !place.exists() {
        // What another process began and did not finish is of no use: the name stands for all the jars.
        let part = target().join("kafka-libs.part");
        let _ = fs::remove_dir_all(&part);
        fetch(&part)?;
        fs::rename(&part, &place).unwrap();
    }
    Ok(place)
}

/// Kafka 4 is compiled for Java 17.
fn java() -> Result<(), String> {
    let output =
        Command::new("java").arg("-version").output().map_err(|error| format!("no java: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let version = text.split('"').nth(1).unwrap_or_default();
    let major = version.split(['.', '-', '+']).next().and_then(|major| major.parse().ok());
    match major {
        Some(17u32..) => Ok(()),
        _ => Err(format!("java 17 is needed, and this is {:?}", text.lines().next().unwrap_or_default())),
    }
}

fn fetch(into: &Path) -> Result<(), String> {
    let said = target().join("kafka-libs.out");
    let out = File::create(&said).unwrap();
    let mut maven = Command::new("mvn")
        .args(["-q", "-B", "-f"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/pom.xml"))
        .arg("dependency:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", into.display()))
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .spawn()
        .map_err(|error| format!("no mvn: {error}"))?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = maven.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > FETCH_DEADLINE {
            let _ = maven.kill();
            break maven.wait().unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    if status.success() {
        return Ok(());
    }
    let said = fs::read_to_string(said).unwrap_or_default();
    let line = said.lines().find(|line| line.contains("ERROR")).unwrap_or_default().to_owned();
    Err(format!("mvn cannot fetch Kafka: {status} {line}"))
}
