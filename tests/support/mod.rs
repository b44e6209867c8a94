//! korch as a process of its own, and what asks it: everything ends with the test.

#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use korch::log::local::LocalLog;
use korch::log::{From, Log};
use parking_lot::{Condvar, Mutex};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longer than anything takes on a machine that is busy with everything else.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("Objets.json")
}

/// Waits until `test` finds what it looks for.
pub fn poll<T>(what: &str, mut test: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = test() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A directory with a catalogue and a place for a log.
pub struct Place {
    pub dir: TempDir,
}

impl Place {
    /// With the sample.
    pub fn new() -> Place {
        let place = Place { dir: tempfile::tempdir().unwrap() };
        fs::copy(sample(), place.catalogue()).unwrap();
        place
    }

    /// With these entries: ids, and their parents.
    pub fn with(entries: &[(u64, Vec<u64>)]) -> Place {
        let place = Place { dir: tempfile::tempdir().unwrap() };
        let entries: Vec<Value> = entries
            .iter()
            .map(|(id, parents)| {
                json!({"IdObjet": id, "IdObjet_Parent": parents, "NomObjet": format!("Objet {id}")})
            })
            .collect();
        fs::write(place.catalogue(), serde_json::to_vec(&entries).unwrap()).unwrap();
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn catalogue(&self) -> PathBuf {
        self.path("Objets.json")
    }

    /// `korch up` here, on a free port, without the page.
    pub fn up(&self, args: &[&str]) -> Korch {
        Korch::start(self.up_command(args))
    }

    pub fn up_command(&self, args: &[&str]) -> Command {
        let mut command =
            korch(&["up", "--listen", "127.0.0.1:0", "--ui-listen", "off", "--data-dir", "log"]);
        command.args(args).current_dir(self.dir.path());
        command
    }

    /// Every event of the log. Read from a copy: nobody's lock is touched.
    pub fn events(&self) -> Vec<Value> {
        let copy = tempfile::tempdir().unwrap();
        let log = self.path("log").join("events.redb");
        if !log.exists() {
            return Vec::new();
        }
        fs::copy(log, copy.path().join("events.redb")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let log = LocalLog::open(copy.path()).unwrap();
            let end = log.ends().await.unwrap()[0];
            let mut reader = log.reader(From::Start).await.unwrap();
            let mut events = Vec::new();
            while (events.len() as u64) < end {
                for record in reader.next(DEADLINE).await.unwrap() {
                    events.push(serde_json::from_slice(&record.value).unwrap());
                }
            }
            events
        })
    }
}

/// The program, with nothing of korch in its environment.
pub fn korch(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_korch"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KORCH_") || name == "OBJETS_PATH" {
            command.env_remove(name);
        }
    }
    command.args(args);
    command
}

/// What a program that ended by itself left.
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs a command to its end.
pub fn ended(command: Command) -> Ended {
    Korch::start(command).end()
}

#[derive(Default)]
struct Lines {
    text: Mutex<(String, bool)>,
    more: Condvar,
}

impl Lines {
    fn follow(stream: impl Read + Send + 'static) -> Arc<Lines> {
        let lines = Arc::new(Lines::default());
        let theirs = lines.clone();
        std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                theirs.text.lock().0 += &String::from_utf8_lossy(&line);
                theirs.more.notify_all();
                line.clear();
            }
            theirs.text.lock().1 = true;
            theirs.more.notify_all();
        });
        lines
    }

    /// Waits for a line that `look` finds something in; None at the end of the stream.
    fn find<T>(&self, look: impl Fn(&str) -> Option<T>) -> Option<T> {
        let until = Instant::now() + DEADLINE;
        let mut text = self.text.lock();
        loop {
            if let Some(found) = text.0.lines().find_map(&look) {
                return Some(found);
            }
            if text.1 {
                return None;
            }
            let late = self.more.wait_until(&mut text, until).timed_out();
            assert!(!late, "no such line in:\n{}", text.0);
        }
    }

    fn all(&self) -> String {
        let until = Instant::now() + DEADLINE;
        let mut text = self.text.lock();
        while !text.1 {
            assert!(!self.more.wait_until(&mut text, until).timed_out(), "no end after:\n{}", text.0);
        }
        text.0.clone()
    }
}

/// A running korch; dropped, it is killed.
pub struct Korch {
    child: Child,
    out: Arc<Lines>,
    err: Arc<Lines>,
}

impl Korch {
    pub fn start(mut command: Command) -> Korch {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = Lines::follow(child.stdout.take().unwrap());
        let err = Lines::follow(child.stderr.take().unwrap());
        Korch { child, out, err }
    }

    /// `127.0.0.1:PORT` of the API, once it listens.
    pub fn api(&self) -> Api {
        self.listens("API")
    }

    /// `127.0.0.1:PORT` of the page, once it listens.
    pub fn page(&self) -> Api {
        self.listens("page")
    }

    /// `127.0.0.1:PORT` of a worker's metrics, once it listens.
    pub fn metrics(&self) -> Api {
        self.listens("metrics")
    }

    fn listens(&self, what: &str) -> Api {
        let says = format!("{what}  http://");
        let address = self.err.find(|line| Some(line.trim_start().strip_prefix(&says)?.to_owned()));
        Api { address: address.unwrap_or_else(|| panic!("ended early: {}", self.err.all())) }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line on stderr with this in it.
    pub fn said(&self, text: &str) {
        let said = self.err.find(|line| line.contains(text).then_some(()));
        assert!(said.is_some(), "ended without {text:?}:\n{}", self.err.all());
    }

    /// Whether there is a line on stderr with all of this in it, by now.
    pub fn has_said(&self, all: &[&str]) -> bool {
        self.err.text.lock().0.lines().any(|line| all.iter().all(|text| line.contains(text)))
    }

    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// `kill -9`. False: it had ended before.
    pub fn kill(mut self) -> bool {
        let alive = self.child.try_wait().unwrap().is_none();
        let _ = self.child.kill();
        self.child.wait().unwrap();
        alive
    }

    fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            let waited = start.elapsed();
            assert!(waited < DEADLINE, "still runs. stderr:\n{}", self.err.text.lock().0);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for it to end by itself.
    pub fn end(mut self) -> Ended {
        let code = self.wait().code();
        Ended { code, out: self.out.all(), err: self.err.all() }
    }

    /// Tells it to end, and waits for that.
    pub fn stop(self) -> Ended {
        self.signal(Signal::INT);
        self.end()
    }
}

impl Drop for Korch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How an answer begins.
#[derive(Debug)]
pub struct Head {
    pub status: u16,
    pub headers: Vec<(String, String)>,
}

impl Head {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str())
    }
}

/// Where an API listens.
#[derive(Clone)]
pub struct Api {
    pub address: String,
}

impl Api {
    /// Sends a request. HTTP/1.0: what comes is the body and nothing else, up to the end of the connection.
    pub fn open(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, BufReader<TcpStream>) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let (host, length) = (&self.address, body.len());
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nhost: {host}\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        )
        .unwrap();
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).unwrap();
        }
        (status, stream)
    }

    /// The status and the headers of an answer; the rest of it is left.
    pub fn head(&self, method: &str, path: &str, headers: &str) -> Head {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(stream, "{method} {path} HTTP/1.0\r\nhost: {}\r\n{headers}\r\n", self.address).unwrap();
        let mut lines =
            BufReader::new(stream).lines().map(Result::unwrap).take_while(|line| !line.is_empty());
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| {
            line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        });
        Head { status, headers: headers.collect() }
    }

    fn call(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, Value) {
        let (status, mut stream) = self.open(method, path, headers, body);
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        (status, serde_json::from_slice(&answer).unwrap())
    }

    /// Waits until the log is read to its end.
    pub fn ready(&self) {
        poll("readiness", || (self.call("GET", "/readyz", "", "").0 == 200).then_some(()));
    }

    pub fn get(&self, path: &str) -> Value {
        let (status, answer) = self.call("GET", path, "", "");
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// What is answered, whatever it is.
    pub fn ask(&self, path: &str) -> (u16, Value) {
        self.call("GET", path, "", "")
    }

    pub fn post(&self, path: &str) -> (u16, Value) {
        self.call("POST", path, "", "")
    }

    pub fn post_json(&self, path: &str, body: &Value) -> (u16, Value) {
        self.call("POST", path, "content-type: application/json\r\n", &body.to_string())
    }

    /// Waits until a run is over.
    pub fn first_run_over(&self) {
        poll("a run that is over", || {
            let runs = self.get("/runs");
            runs["runs"].as_array()?.first()?["finished_at"].as_str().map(drop)
        });
    }

    /// The run, once it is over.
    pub fn finished(&self, run: &str) -> Value {
        poll("the end of the run", || {
            let run = self.get(&format!("/runs/{run}"));
            (!run["finished_at"].is_null()).then_some(run)
        })
    }
}

/// The ids of a run's objects, by their state.
pub fn by_state(run: &Value) -> BTreeMap<String, BTreeSet<u64>> {
    let mut states: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for object in run["objects"].as_array().unwrap() {
        let state = object["state"].as_str().unwrap().to_owned();
        assert!(states.entry(state).or_default().insert(object["id"].as_u64().unwrap()));
    }
    states
}

/// The events of a type, in order.
pub fn of_type<'a>(events: &'a [Value], event_type: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event_type"] == event_type).collect()
}

/// Whether a process is there, and not only its remains.
pub fn is_alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
}
