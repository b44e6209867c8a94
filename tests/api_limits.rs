//! What callers may take: requests, streams, connections, time. Nothing here is held to the clock.
#![allow(clippy::unwrap_used)]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use korch::api::{self, Limits};
use korch::domain::event::{Asked, Body, Event, RunId};
use korch::log::local::LocalLog;
use korch::log::{From, Log, NewRecord};
use korch::view::View;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use uuid::Uuid;

/// Longer than anything takes on a machine that is busy with everything else.
const DEADLINE: Duration = Duration::from_secs(60);

/// An API over a log that nobody decides on.
struct Served {
    address: String,
    log: Arc<dyn Log>,
    _shutdown: watch::Sender<bool>,
    runtime: Runtime,
}

fn serve(limits: Limits) -> Served {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (shutdown, receiver) = watch::channel(false);
    let log: Arc<dyn Log> = Arc::new(LocalLog::memory().unwrap());
    let view = Arc::new(View::new());
    let address = runtime.block_on(async {
        let mut reader = log.reader(From::Start).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = api::router(api::Api {
            view: view.clone(),
            log: log.clone(),
            preview: None,
            timetable: None,
            page: false,
            metrics: None,
            access: Arc::default(),
            limits,
            shutdown: receiver.clone(),
        });
        tokio::spawn(api::serve(listener, router, limits, receiver));
        tokio::spawn(async move {
            // An error: the test is over.
            while let Ok(records) = reader.next(DEADLINE).await {
                view.fold_events(&records);
            }
        });
        address
    });
    Served { address, log, _shutdown: shutdown, runtime }
}

impl Served {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    fn send(&self, method: &str, path: &str) -> TcpStream {
        let mut stream = self.connect();
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.address).unwrap();
        stream
    }

    /// One who follows the events. The times of these tests are short, so it may be too slow itself: then once more.
    fn viewer(&self) -> TcpStream {
        let start = Instant::now();
        loop {
            let mut stream = self.connect();
            let request = format!("GET /events/stream HTTP/1.1\r\nhost: {}\r\n\r\n", self.address);
            let mut line = [0; 12];
            let sent = stream.write_all(request.as_bytes()).and_then(|()| stream.read_exact(&mut line));
            if sent.is_ok() && line == *b"HTTP/1.1 200" {
                return stream;
            }
            assert!(start.elapsed() < DEADLINE, "no stream");
        }
    }

    fn ask(&self, method: &str, path: &str) -> String {
        head(&mut self.send(method, path))
    }

    fn append(&self, run: RunId, body: Body) {
        let event = Event { at: jiff::Timestamp::now(), run: Some(run), epoch: None, body };
        self.runtime.block_on(self.log.append(vec![NewRecord::of(&event)])).unwrap();
    }
}

/// An answer's line and headers.
fn head(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "ended: {}", String::from_utf8_lossy(&text));
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap().to_lowercase()
}

/// Reads on until this was said.
fn heard(stream: &mut TcpStream, said: &str) {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(said.as_bytes()) {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "ended: {}", String::from_utf8_lossy(&text));
        text.push(byte[0]);
    }
}

#[track_caller]
fn comes_again(answer: &str) {
    assert!(answer.starts_with("http/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
    assert!(answer.contains("\r\ncontent-type: application/problem+json\r\n"), "{answer}");
}

fn poll(what: &str, mut test: impl FnMut() -> bool) {
    let start = Instant::now();
    while !test() {
        assert!(start.elapsed() < DEADLINE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn too_many_requests_come_again() {
    let served = serve(Limits { requests: 1, request_time: 10 * DEADLINE, ..Limits::default() });
    // It is in work until its body is there.
    let mut waiting = served.connect();
    let head_of = "POST /orchestrate HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n";
    write!(waiting, "{head_of}content-length: 2\r\n\r\n{{").unwrap();
    poll("the only place is taken", || !served.ask("GET", "/runs").starts_with("http/1.1 200 "));
    comes_again(&served.ask("GET", "/runs"));
    for always in ["/health", "/livez", "/readyz"] {
        let answer = served.ask("GET", always);
        assert!(answer.starts_with("http/1.1 200 ") || always == "/readyz", "{always}: {answer}");
    }
    waiting.write_all(b"}").unwrap();
    assert!(head(&mut waiting).starts_with("http/1.1 202 "));
    poll("the place is free", || served.ask("GET", "/runs").starts_with("http/1.1 200 "));
}

#[test]
fn too_many_streams_come_again() {
    let served = serve(Limits { streams: 1, ..Limits::default() });
    for path in ["/events/stream", "/live"] {
        let mut viewer = served.send("GET", path);
        assert!(head(&mut viewer).starts_with("http/1.1 200 "));
        for path in ["/events/stream", "/live"] {
            comes_again(&served.ask("GET", path));
        }
        assert!(served.ask("GET", "/runs").starts_with("http/1.1 200 "), "a stream is no request in work");
        drop(viewer);
        poll("the place of a viewer who went", || served.ask("HEAD", path).starts_with("http/1.1 200 "));
        // Looking at the headers alone keeps no place.
        poll("the place again", || served.ask("HEAD", path).starts_with("http/1.1 200 "));
    }
}

#[test]
fn too_many_connections_wait() {
    let served = serve(Limits { connections: 1, ..Limits::default() });
    let mut viewer = served.send("GET", "/events/stream");
    head(&mut viewer);
    let mut second = served.send("GET", "/health");
    // The server is at work, and sees everything but the second connection.
    let run = RunId(Uuid::now_v7());
    for said in ["one", "two"] {
        served.append(run, Body::RunCancelRequested(Asked { requested_by: Some(said.into()) }));
        heard(&mut viewer, &format!("\"{said}\""));
    }
    second.set_nonblocking(true).unwrap();
    let answered = second.read(&mut [0]);
    assert!(answered.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "answered beside another");
    second.set_nonblocking(false).unwrap();
    drop(viewer);
    assert!(head(&mut second).starts_with("http/1.1 200 "), "its turn comes");
}

#[test]
fn whoever_is_slow_to_ask_is_let_go() {
    let served = serve(Limits { head_time: Duration::from_millis(50), ..Limits::default() });
    let mut viewer = served.viewer();
    let mut slow = served.connect();
    // It may be let go before it has said even that.
    let _ = slow.write_all(b"GET /health HTTP/1.1\r\nhost: h\r\nx-slow: ");
    let mut idle = served.connect();
    let _ = idle.write_all(b"GET /health HTTP/1.1\r\nhost: h\r\n\r\n");
    let mut silent = served.connect();
    for (who, stream) in [("slow", &mut slow), ("idle", &mut idle), ("silent", &mut silent)] {
        let mut rest = Vec::new();
        // The end, as a close or as a reset: what matters is that it comes.
        if let Err(error) = stream.read_to_end(&mut rest) {
            let gone = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
            assert!(gone.contains(&error.kind()), "{who}: {error}");
        }
    }
    // One that is being answered is not slow.
    served.append(RunId(Uuid::now_v7()), Body::RunCancelRequested(Asked { requested_by: None }));
    heard(&mut viewer, "RunCancelRequested");
}

#[test]
fn what_takes_too_long_is_given_up() {
    let served = serve(Limits { request_time: Duration::from_millis(50), ..Limits::default() });
    // A body that never comes.
    let mut slow = served.connect();
    let head_of = "POST /orchestrate HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n";
    write!(slow, "{head_of}content-length: 10\r\n\r\n{{").unwrap();
    comes_again(&head(&mut slow));
    // A stream that is open for longer than that is not cut.
    let mut viewer = served.viewer();
    // Nobody plans what this asks for.
    comes_again(&served.ask("POST", "/orchestrate"));
    served.append(RunId(Uuid::now_v7()), Body::RunCancelRequested(Asked { requested_by: None }));
    heard(&mut viewer, "RunCancelRequested");
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    let served = serve(Limits::default());
    let mut stream = served.connect();
    // It may be refused before all of it is sent.
    let _ = write!(stream, "GET /health HTTP/1.1\r\nhost: h\r\nx-long: {}\r\n\r\n", "x".repeat(200 * 1024));
    let mut answer = String::new();
    if stream.read_to_string(&mut answer).is_ok() {
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
}
