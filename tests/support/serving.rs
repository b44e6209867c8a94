//! The API in this process, over real HTTP on the loopback, in front of a log that lives and dies with a test.

#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use korch::api::{self, Api, Preview};
use korch::domain::event::{Answer, AnswerMeta, Body, Event, PlanPart, PlannedObject, RunId};
use korch::domain::object::{Criticality, ObjectId, Stage};
use korch::domain::partition::partition_of;
use korch::domain::rules::Rules;
use korch::log::{self, Log, LogError, NewRecord, Reader, Record};
use korch::view::View;
use parking_lot::Mutex;
use serde_json::{Value, json, value::RawValue};
use tokio::sync::watch;

// ---- a log that lives and dies with a test ----

#[derive(Clone)]
pub struct TestLog(Arc<Inner>);

pub struct Inner {
    pub id: String,
    pub partitions: Mutex<Vec<Vec<Arc<Record>>>>,
    pub starts: Mutex<Vec<u64>>,
    pub appended: watch::Sender<u64>,
}

impl std::ops::Deref for TestLog {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl TestLog {
    pub fn new(id: &str, partitions: usize) -> TestLog {
        TestLog(Arc::new(Inner {
            id: id.into(),
            partitions: Mutex::new(vec![Vec::new(); partitions]),
            starts: Mutex::new(vec![0; partitions]),
            appended: watch::Sender::new(0),
        }))
    }

    /// Retention: the first records of a partition are gone.
    pub fn cut(&self, partition: usize, start: u64) {
        self.starts.lock()[partition] = start;
    }
}

#[async_trait]
impl Log for TestLog {
    fn id(&self) -> &str {
        &self.id
    }

    fn partitions(&self) -> u32 {
        self.partitions.lock().len() as u32
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<u64>, LogError> {
        let mut partitions = self.partitions.lock();
        for record in records {
            let n = partitions.len() as u32;
            let p = record.partition.unwrap_or_else(|| partition_of(&record.key, n));
            let partition = &mut partitions[p as usize];
            let now = Timestamp::now().as_microsecond();
            let record = Record::new(p, partition.len() as u64, now, record.key, record.value);
            partition.push(Arc::new(record));
        }
        self.appended.send_modify(|n| *n += 1);
        Ok(partitions.iter().map(|records| records.len() as u64).collect())
    }

    async fn ends(&self) -> Result<Vec<u64>, LogError> {
        Ok(self.partitions.lock().iter().map(|records| records.len() as u64).collect())
    }

    async fn starts(&self) -> Result<Vec<u64>, LogError> {
        Ok(self.starts.lock().clone())
    }

    async fn truncate(&self, before: &[u64]) -> Result<(), LogError> {
        self.starts.lock().copy_from_slice(before);
        Ok(())
    }

    async fn reader(&self, from: log::From) -> Result<Box<dyn Reader>, LogError> {
        let position = match from {
            log::From::Start => self.starts().await?,
            log::From::End => self.ends().await?,
            log::From::Offsets(offsets) => offsets,
        };
        Ok(Box::new(TestReader { log: self.clone(), position, appended: self.appended.subscribe() }))
    }
}

pub struct TestReader {
    pub log: TestLog,
    pub position: Vec<u64>,
    pub appended: watch::Receiver<u64>,
}

#[async_trait]
impl Reader for TestReader {
    async fn next(&mut self, wait: Duration) -> Result<Vec<Arc<Record>>, LogError> {
        let until = tokio::time::Instant::now() + wait;
        loop {
            self.appended.borrow_and_update();
            let starts = self.log.starts.lock().clone();
            for (p, start) in starts.into_iter().enumerate() {
                if self.position[p] < start {
                    let wanted = std::mem::replace(&mut self.position[p], start);
                    return Err(LogError::Truncated { partition: p as u32, wanted, start });
                }
            }
            let mut read = Vec::new();
            for (p, records) in self.log.partitions.lock().iter().enumerate() {
                // A few at a time, so that a test sees more than one chunk.
                let new = &records[(self.position[p] as usize).min(records.len())..];
                read.extend(new.iter().take(7).cloned());
                self.position[p] += new.len().min(7) as u64;
            }
            if !read.is_empty() {
                return Ok(read);
            }
            if tokio::time::timeout_at(until, self.appended.changed()).await.is_err() {
                return Ok(Vec::new());
            }
        }
    }

    fn position(&self) -> &[u64] {
        &self.position
    }

    fn caught_up(&self) -> Option<Instant> {
        None // nobody asks here
    }

    fn lag(&self) -> u64 {
        0
    }
}

// ---- a server, and what asks it ----

pub struct Server {
    pub address: String,
    pub log: TestLog,
    pub view: Arc<View>,
    pub shutdown: watch::Sender<bool>,
    pub serving: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Server {
    pub async fn start(log: TestLog, preview: Option<Preview>, page: bool) -> Server {
        let view = Arc::new(View::new());
        let (shutdown, receiver) = watch::channel(false);
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let api = Api {
            view: view.clone(),
            log: Arc::new(log.clone()),
            preview,
            timetable: None,
            page,
            metrics: Some(recorder.handle()),
            access: Arc::default(),
            limits: api::Limits::default(),
            shutdown: receiver.clone(),
        };
        let mut reader = Log::reader(&log, log::From::Start).await.unwrap();
        view.update(|known| known.position = reader.position().to_vec());
        tokio::spawn({
            let view = view.clone();
            async move {
                loop {
                    match reader.next(Duration::from_secs(60)).await {
                        Ok(records) => view.fold_events(&records),
                        Err(LogError::Truncated { partition, start, .. }) => view.cut(partition, start),
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = tokio::spawn(api::serve(listener, api::router(api), api::Limits::default(), receiver));
        Server { address, log, view, shutdown, serving }
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> hyper::Response<Incoming> {
        let stream = tokio::net::TcpStream::connect(&self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    }

    pub fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(method).uri(path).header("host", &self.address);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Full::from(body.to_owned())).unwrap()
    }

    pub async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let response = self.send(self.request(method, path, headers, body)).await;
        let status = response.status();
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        Reply { status, headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.ask(Method::GET, path, &[], "").await
    }

    pub async fn json(&self, path: &str) -> Value {
        let reply = self.get(path).await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (StatusCode::OK, "application/json"),
            "{path}"
        );
        reply.json()
    }

    pub async fn post(&self, path: &str, body: &str) -> Reply {
        let headers = [("content-type", "application/json")];
        self.ask(Method::POST, path, if body.is_empty() { &[] } else { &headers }, body).await
    }

    pub async fn write(&self, run: RunId, epoch: Option<u64>, body: Body) {
        let event = Event { at: Timestamp::now(), run: Some(run), epoch, body };
        Log::append(&self.log, vec![NewRecord::of(&event)]).await.unwrap();
        self.settle().await;
    }

    pub async fn write_raw(&self, key: &str, value: impl Into<Bytes>) {
        let record = NewRecord::plain(key.to_owned(), value);
        Log::append(&self.log, vec![record]).await.unwrap();
    }

    /// Waits until the view knows what the log has.
    pub async fn settle(&self) {
        let total: usize = self.log.partitions.lock().iter().map(Vec::len).sum();
        let seen = |known: &korch::view::Known| {
            let rejected: u64 = known.rejected.values().sum();
            (known.last_events.len() + rejected as usize >= total.min(korch::view::KEPT_EVENTS)).then_some(())
        };
        self.view.wait_for(Duration::from_secs(5), seen).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    pub async fn stream(&self, path: &str, last_id: Option<&str>) -> Viewer {
        self.view.update(|known| known.ready = true);
        self.view.hearing.note(Some(Instant::now()));
        let headers: Vec<_> = last_id.map(|id| ("last-event-id", id)).into_iter().collect();
        let response = self.send(self.request(Method::GET, path, &headers, "")).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut viewer = Viewer {
            body: response.into_body(),
            buffer: String::new(),
            last_id: last_id.unwrap_or("").into(),
        };
        viewer.fill().await.unwrap(); // the greeting, so that "from now on" begins here
        viewer
    }
}

pub struct Reply {
    pub status: StatusCode,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    #[track_caller]
    pub fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        problem
    }
}

/// An EventSource, as the HTML standard describes it.
pub struct Viewer {
    pub body: Incoming,
    pub buffer: String,
    pub last_id: String,
}

#[derive(Debug, PartialEq)]
pub struct Message {
    pub event: String,
    pub data: String,
    pub id: String,
}

impl Viewer {
    pub async fn fill(&mut self) -> Option<()> {
        let frame = tokio::time::timeout(Duration::from_secs(20), self.body.frame()).await.unwrap()?;
        self.buffer.push_str(std::str::from_utf8(frame.ok()?.data_ref()?).unwrap());
        Some(())
    }

    pub async fn next(&mut self) -> Option<Message> {
        loop {
            while let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.buffer = rest;
                let (mut event, mut data) = (String::new(), Vec::new());
                for line in block.split('\n') {
                    let (field, value) = line.split_once(':').unwrap_or((line, ""));
                    let value = value.strip_prefix(' ').unwrap_or(value);
                    match field {
                        "id" => self.last_id = value.into(),
                        "event" => event = value.into(),
                        "data" => data.push(value),
                        _ => {}
                    }
                }
                if !data.is_empty() {
                    return Some(Message { event, data: data.join("\n"), id: self.last_id.clone() });
                }
            }
            self.fill().await?;
        }
    }

    pub async fn message(&mut self) -> Value {
        let message = self.next().await.unwrap();
        assert_eq!(message.event, "", "{message:?}");
        serde_json::from_str(&message.data).unwrap()
    }
}

// ---- a small world ----

pub const MARKUP: &str = "<img src=x onerror=alert(1)> \"q\" \\ \n é";

pub fn object(id: u64, name: Option<&str>, parents: &[u64]) -> PlannedObject {
    let id = ObjectId(id);
    let entry = name.map(|name| {
        let json = json!({ "IdObjet": id.0, "NomObjet": name }).to_string();
        Arc::from(RawValue::from_string(json).unwrap())
    });
    PlannedObject {
        parents: parents.iter().copied().map(ObjectId).collect(),
        entry,
        ..PlannedObject::new(id, Stage::of_id(id).unwrap(), Criticality::Medium)
    }
}

pub fn world() -> Vec<PlannedObject> {
    vec![
        object(1001, Some(MARKUP), &[]),
        object(1002, None, &[]),
        object(2001, Some("Clients"), &[1001]),
        object(3001, Some("Final"), &[2001, 1002]),
    ]
}

pub fn plan(objects: Vec<PlannedObject>) -> Body {
    Body::RunPlanned(PlanPart {
        part: 0,
        parts: 1,
        partitions: 3,
        begins: Vec::new(),
        rules: Rules::default(),
        objects,
    })
}

pub fn answer(id: u64, error: Option<&str>) -> Answer {
    let meta = AnswerMeta {
        worker: Some("w1".into()),
        error: error.map(Into::into),
        retryable: error.map(|_| false),
        stderr: error.map(|_| "the end".into()),
        started_at: Some(Timestamp::UNIX_EPOCH),
        duration_seconds: Some(0.5),
        ..AnswerMeta::default()
    };
    Answer { object: ObjectId(id), attempt: 1, meta }
}

/// Plans every run that is asked for.
pub fn plan_all(server: &Server) {
    let (view, log) = (server.view.clone(), server.log.clone());
    tokio::spawn(async move {
        let mut planned = Vec::new();
        loop {
            let next = |known: &korch::view::Known| {
                let runs = known.history.runs();
                runs.iter().map(|run| run.id).find(|id| !planned.contains(id))
            };
            let Some(id) = view.wait_for(Duration::from_secs(30), next).await else { return };
            planned.push(id);
            let event = Event { at: Timestamp::now(), run: Some(id), epoch: Some(1), body: plan(world()) };
            Log::append(&log, vec![NewRecord::of(&event)]).await.unwrap();
        }
    });
}
