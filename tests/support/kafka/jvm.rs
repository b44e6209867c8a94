//! A Java process that never outlives this one.
//!
//! A shell stands between the two and reads a pipe that this process holds open: when the pipe ends, for
//! whatever reason, the shell kills the Java process. No signal handler and no destructor need run for that.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::install;
use crate::support::is_alive;

/// A broker that cannot hand over its partitions waits for long: nobody needs that here.
const GRACE: Duration = Duration::from_secs(20);

/// Runs the command until the pipe ends. A line on the pipe: the directory stays. None: nobody is left to remove it.
const WATCH: &str = r#"
directory=$1
out=$2
shift 2
"$@" </dev/null >>"$out" 2>&1 &
java=$!
echo "$java"
exec >&-
line=
read -r line
kill -KILL "$java" 2>/dev/null
wait "$java" 2>/dev/null
[ -n "$line" ] || rm -rf "$directory"
"#;

/// What starts a Java of ours: small, and quick to start rather than quick to run.
pub fn java() -> Command {
    let mut command = Command::new("java");
    command.args(options());
    command.env("CLASSPATH", class_path());
    command
}

fn options() -> Vec<String> {
    let options = ["-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"];
    let mut options: Vec<String> = options.into_iter().map(str::to_owned).collect();
    if classes().exists() {
        // One that another Java made is passed over: the warning about it is of no interest.
        options
            .extend([format!("-XX:SharedArchiveFile={}", classes().display()), "-Xlog:disable".to_owned()]);
    }
    options
}

/// Kafka's classes as Java has them once they are loaded: with them a start takes half as long.
pub fn classes() -> PathBuf {
    install::target().join("kafka-libs-4.1.1.jsa")
}

fn class_path() -> String {
    let libraries = install::libraries().expect("a Java is started only where there is one");
    format!("{}/*", libraries.display())
}

/// A running Java process. Dropped, it is killed.
pub struct Jvm {
    shell: Child,
    pipe: Option<ChildStdin>,
    java: Pid,
}

impl Jvm {
    /// Runs a class, and writes what it says to a file. The directory goes when this process dies.
    pub fn start(directory: &Path, out: &Path, arguments: &[&OsStr]) -> Jvm {
        let mut shell = Command::new("sh")
            .args(["-c", WATCH, "sh"])
            .args([directory, out])
            .arg("java")
            .args(options())
            .args(arguments)
            .env("CLASSPATH", class_path())
            // A Ctrl-C is for the test; that it ends is what the shell waits for.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pipe = shell.stdin.take();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let java = line.trim().parse().ok().and_then(Pid::from_raw).expect("the shell says the process id");
        Jvm { shell, pipe, java }
    }

    pub fn pid(&self) -> String {
        self.java.as_raw_nonzero().to_string()
    }

    pub fn is_alive(&self) -> bool {
        is_alive(&self.pid())
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.java, signal).unwrap();
    }

    /// Tells it to end, and ends it if it does not: then this is false.
    pub fn stop(self) -> bool {
        let start = Instant::now();
        self.signal(Signal::CONT);
        self.signal(Signal::TERM);
        while self.is_alive() && start.elapsed() < GRACE {
            std::thread::sleep(Duration::from_millis(5));
        }
        !self.is_alive()
    }
}

impl Drop for Jvm {
    fn drop(&mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            let _ = pipe.write_all(b"keep\n");
        }
        let _ = self.shell.wait();
    }
}
