//! What looking on costs: a run of 5,000 objects at some 500 events a second, alone and with 200 viewers, one of which stops
//! reading. `KORCH_VIEWERS` and `KORCH_BIN` say how many, and of which binary.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde_json::{Value, json};

const OBJECTS: u64 = 5_000;
/// Every change reaches every viewer within this, 99 times of 100.
const WITHIN: Duration = Duration::from_secs(1);
/// What all viewers together may cost the server, in cores.
const MOST_CORES: f64 = 0.5;
/// What a viewer that takes nothing may cost beyond what its connection holds, in bytes.
const MOST_STALLED: u64 = 64 << 20;

struct Korch {
    child: Child,
    address: String,
}

impl Korch {
    fn start(folder: &std::path::Path) -> Korch {
        let binary = std::env::var("KORCH_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_korch").into());
        let mut child = Command::new(binary)
            .args(["up", "--memory", "--idle", "--listen", "off", "--ui-listen", "127.0.0.1:0"])
            .args(["--slots", "28", "--delay", "280ms", "--fail-ids", ""])
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .find_map(|line| Some(line.unwrap().trim_start().strip_prefix("page  http://")?.to_owned()));
        std::thread::spawn(move || lines.for_each(drop));
        Korch { child, address: address.unwrap() }
    }

    /// The processor time that it has taken.
    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    /// The memory that it holds, in bytes.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    async fn connect(&self) -> hyper::client::conn::http1::SendRequest<Full<Bytes>> {
        let stream = tokio::net::TcpStream::connect(&self.address).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    fn request(&self, method: &str, path: &str) -> Request<Full<Bytes>> {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.address)
            .body(Full::default())
            .unwrap()
    }

    async fn json(&self, method: &str, path: &str) -> Value {
        let response = self.connect().await.send_request(self.request(method, path)).await.unwrap();
        serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
    }

    /// Runs everything once. How long it took, and what it cost.
    async fn run(&self) -> (Duration, Duration) {
        let (began, cpu) = (Instant::now(), self.cpu());
        let run = self.json("POST", "/orchestrate").await["run_id"].as_str().unwrap().to_owned();
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let state = self.json("GET", &format!("/runs/{run}?state=")).await;
            if state["finished_at"].is_string() {
                assert_eq!(state["state"], "succeeded");
                return (began.elapsed(), self.cpu() - cpu);
            }
        }
    }
}

impl Drop for Korch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What all viewers saw.
#[derive(Default)]
struct Seen {
    /// When the oldest change of a message happened, by the message's id, in milliseconds since 1970.
    happened: Mutex<FxHashMap<String, i64>>,
    late_ms: Mutex<Vec<i64>>,
    bytes: AtomicU64,
    over: AtomicBool,
}

/// The oldest of the last changes that a message tells of; none: it is a whole, and nothing of it is new.
fn happened(data: &str) -> Option<i64> {
    let data: Value = serde_json::from_str(data).unwrap();
    let last = |story: &Value| {
        let story = story.as_array().unwrap();
        story[story.len() - 4].as_i64().unwrap()
    };
    (data["whole"] == false).then(|| data["objects"].as_array().unwrap().iter().map(last).min())?
}

async fn look(korch: Arc<Korch>, seen: Arc<Seen>) {
    let mut sender = korch.connect().await;
    let mut body = sender.send_request(korch.request("GET", "/live")).await.unwrap().into_body();
    let mut buffer = String::new();
    while let Some(Ok(frame)) = body.frame().await {
        let Some(data) = frame.data_ref() else { continue };
        seen.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
        buffer.push_str(std::str::from_utf8(data).unwrap());
        let now = Timestamp::now().as_millisecond();
        while let Some(end) = buffer.find("\n\n") {
            let message: String = buffer.drain(..end + 2).collect();
            let line = |field: &str| message.lines().find_map(|line| line.strip_prefix(field));
            let (Some("stories"), Some(id), Some(data)) = (line("event: "), line("id: "), line("data: "))
            else {
                continue;
            };
            // All viewers are sent the same bytes: the first one that has them reads them.
            let known = seen.happened.lock().get(id).copied();
            let at = known.unwrap_or_else(|| happened(data).unwrap_or(i64::MAX));
            seen.happened.lock().entry(id.to_owned()).or_insert(at);
            if at != i64::MAX {
                seen.late_ms.lock().push(now - at);
            }
        }
        if seen.over.load(Ordering::Relaxed) {
            return;
        }
    }
}

#[tokio::main]
async fn main() {
    let viewers: u64 = std::env::var("KORCH_VIEWERS").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    let folder = tempfile::tempdir().unwrap();
    let (sources, standardized) = (1500, 1500);
    let entries: Vec<Value> = (0..OBJECTS)
        .map(|i| {
            let (zone, parents) = if i < sources {
                ("1-Raw", vec![])
            } else if i < sources + standardized {
                ("2-Standardized", vec![100_000 + i - sources])
            } else {
                ("3-Application", vec![100_000 + sources + i % standardized, 100_000 + sources + i * 7 % standardized])
            };
            json!({ "IdObjet": 100_000 + i, "IdObjet_Parent": parents, "Zone": zone, "NomObjet": format!("Objet {i}") })
        })
        .collect();
    std::fs::write(folder.path().join("Objets.json"), serde_json::to_vec(&entries).unwrap()).unwrap();
    let korch = Arc::new(Korch::start(folder.path()));
    let ready = || async { korch.json("GET", "/workers").await["leader"]["led"] == true };
    while !ready().await {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let (alone, alone_cpu) = korch.run().await;
    let events = OBJECTS as f64 * 3.0;
    println!(
        "alone: {:.1} s, {:.0} events/s, {:.2} cores",
        alone.as_secs_f64(),
        events / alone.as_secs_f64(),
        cores(alone_cpu, alone)
    );

    let seen = Arc::new(Seen::default());
    let mut looking = tokio::task::JoinSet::new();
    for _ in 0..viewers {
        looking.spawn(look(korch.clone(), seen.clone()));
    }
    // One that asks and then reads nothing, ever.
    let mut stalled = tokio::net::TcpStream::connect(&korch.address).await.unwrap();
    let asked = format!("GET /live HTTP/1.1\r\nhost: {}\r\n\r\n", korch.address);
    tokio::io::AsyncWriteExt::write_all(&mut stalled, asked.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let memory = korch.memory();
    let (watched, watched_cpu) = korch.run().await;
    let grown = korch.memory().saturating_sub(memory);
    tokio::time::sleep(Duration::from_secs(1)).await;
    seen.over.store(true, Ordering::Relaxed);
    looking.abort_all();

    let mut late = std::mem::take(&mut *seen.late_ms.lock());
    late.sort_unstable();
    let at =
        |share: f64| Duration::from_millis(late[((late.len() - 1) as f64 * share) as usize].max(0) as u64);
    let cost = cores(watched_cpu, watched) - cores(alone_cpu, alone);
    println!(
        "{viewers} viewers: {:.1} s, {:.0} events/s; looking on costs {cost:.2} cores; {:.1} MB/s sent; memory grew by {} MB",
        watched.as_secs_f64(),
        events / watched.as_secs_f64(),
        seen.bytes.load(Ordering::Relaxed) as f64 / watched.as_secs_f64() / 1e6,
        grown >> 20,
    );
    println!(
        "from a change to a viewer: {} messages, p50 {:?}, p99 {:?}, at most {:?}",
        late.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    drop(stalled);
    assert!(late.len() as u64 > viewers * 20, "the viewers saw next to nothing");
    assert!(at(0.99) <= WITHIN, "p99 {:?}", at(0.99));
    assert!(cost <= MOST_CORES, "{cost:.2} cores");
    assert!(grown <= MOST_STALLED, "memory grew by {grown} bytes");
}

fn cores(cpu: Duration, time: Duration) -> f64 {
    cpu.as_secs_f64() / time.as_secs_f64()
}
