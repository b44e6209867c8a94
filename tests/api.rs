//! The API over real HTTP on the loopback.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use korch::api::{self, Api, Preview, Refused};
use korch::domain::event::{
    Answer, AnswerMeta, Assigned, Body, Counts, Event, Finished, Outcome, PlanPart, PlannedObject, Ready,
    RunId, Skipped,
};
use korch::domain::member::{Heartbeat, Member, Reign, WorkerState};
use korch::domain::object::{Criticality, ObjectId, Stage};
use korch::domain::partition::partition_of;
use korch::log::{self, Log, LogError, NewRecord, Reader, Record};
use korch::view::View;
use parking_lot::Mutex;
use serde_json::{Value, json, value::RawValue};
use tokio::sync::watch;
use uuid::Uuid;

// ---- a log that lives and dies with a test ----

#[derive(Clone)]
struct TestLog(Arc<Inner>);

struct Inner {
    id: String,
    partitions: Mutex<Vec<Vec<Arc<Record>>>>,
    starts: Mutex<Vec<u64>>,
    appended: watch::Sender<u64>,
}

impl std::ops::Deref for TestLog {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl TestLog {
    fn new(id: &str, partitions: usize) -> TestLog {
        TestLog(Arc::new(Inner {
            id: id.into(),
            partitions: Mutex::new(vec![Vec::new(); partitions]),
            starts: Mutex::new(vec![0; partitions]),
            appended: watch::Sender::new(0),
        }))
    }

    /// Retention: the first records of a partition are gone.
    fn cut(&self, partition: usize, start: u64) {
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

struct TestReader {
    log: TestLog,
    position: Vec<u64>,
    appended: watch::Receiver<u64>,
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

struct Server {
    address: String,
    log: TestLog,
    view: Arc<View>,
    shutdown: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn start(log: TestLog, preview: Option<Preview>, page: bool) -> Server {
        let view = Arc::new(View::new());
        let (shutdown, receiver) = watch::channel(false);
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let api = Api {
            view: view.clone(),
            log: Arc::new(log.clone()),
            preview,
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

    async fn send(&self, request: Request<Full<Bytes>>) -> hyper::Response<Incoming> {
        let stream = tokio::net::TcpStream::connect(&self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    }

    fn request(
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

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
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

    async fn get(&self, path: &str) -> Reply {
        self.ask(Method::GET, path, &[], "").await
    }

    async fn json(&self, path: &str) -> Value {
        let reply = self.get(path).await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (StatusCode::OK, "application/json"),
            "{path}"
        );
        reply.json()
    }

    async fn post(&self, path: &str, body: &str) -> Reply {
        let headers = [("content-type", "application/json")];
        self.ask(Method::POST, path, if body.is_empty() { &[] } else { &headers }, body).await
    }

    async fn write(&self, run: RunId, epoch: Option<u64>, body: Body) {
        let event = Event { at: Timestamp::now(), run: Some(run), epoch, body };
        Log::append(&self.log, vec![NewRecord::of(&event)]).await.unwrap();
        self.settle().await;
    }

    async fn write_raw(&self, key: &str, value: impl Into<Bytes>) {
        let record = NewRecord::plain(key.to_owned(), value);
        Log::append(&self.log, vec![record]).await.unwrap();
    }

    /// Waits until the view knows what the log has.
    async fn settle(&self) {
        let total: usize = self.log.partitions.lock().iter().map(Vec::len).sum();
        let seen = |known: &korch::view::Known| {
            let rejected: u64 = known.rejected.values().sum();
            (known.last_events.len() + rejected as usize >= total.min(korch::view::KEPT_EVENTS)).then_some(())
        };
        self.view.wait_for(Duration::from_secs(5), seen).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    async fn stream(&self, path: &str, last_id: Option<&str>) -> Viewer {
        self.view.update(|known| known.ready = true);
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

struct Reply {
    status: StatusCode,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Reply {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    #[track_caller]
    fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        problem
    }
}

/// An EventSource, as the HTML standard describes it.
struct Viewer {
    body: Incoming,
    buffer: String,
    last_id: String,
}

#[derive(Debug, PartialEq)]
struct Message {
    event: String,
    data: String,
    id: String,
}

impl Viewer {
    async fn fill(&mut self) -> Option<()> {
        let frame = tokio::time::timeout(Duration::from_secs(20), self.body.frame()).await.unwrap()?;
        self.buffer.push_str(std::str::from_utf8(frame.ok()?.data_ref()?).unwrap());
        Some(())
    }

    async fn next(&mut self) -> Option<Message> {
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

    async fn message(&mut self) -> Value {
        let message = self.next().await.unwrap();
        assert_eq!(message.event, "", "{message:?}");
        serde_json::from_str(&message.data).unwrap()
    }
}

// ---- a small world ----

const MARKUP: &str = "<img src=x onerror=alert(1)> \"q\" \\ \n é";

fn object(id: u64, name: Option<&str>, parents: &[u64]) -> PlannedObject {
    let id = ObjectId(id);
    let entry = name.map(|name| {
        let json = json!({ "IdObjet": id.0, "NomObjet": name }).to_string();
        Arc::from(RawValue::from_string(json).unwrap())
    });
    PlannedObject {
        id,
        stage: Stage::of_id(id).unwrap(),
        criticality: Criticality::Medium,
        parents: parents.iter().copied().map(ObjectId).collect(),
        satisfied: Vec::new(),
        entry,
    }
}

fn world() -> Vec<PlannedObject> {
    vec![
        object(1001, Some(MARKUP), &[]),
        object(1002, None, &[]),
        object(2001, Some("Clients"), &[1001]),
        object(3001, Some("Final"), &[2001, 1002]),
    ]
}

fn plan(objects: Vec<PlannedObject>) -> Body {
    Body::RunPlanned(PlanPart { part: 0, parts: 1, partitions: 3, begins: Vec::new(), retries: 0, objects })
}

fn answer(id: u64, error: Option<&str>) -> Answer {
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
fn plan_all(server: &Server) {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_asked_for_and_planned() {
    let server = Server::start(TestLog::new("log", 3), None, false).await;
    plan_all(&server);
    for body in ["", "{}", r#"{"targets":["3001","+3002",3003],"requested_by":"me"}"#] {
        let reply = server.post("/orchestrate", body).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{}", reply.body);
        let accepted = reply.json();
        assert_eq!(accepted["status"], "ok");
        assert_eq!(accepted["count"], 4);
        assert_eq!(accepted["order_sample"], json!([1001, 1002, 2001, 3001]));
        assert_eq!(accepted["run_id"].as_str().unwrap().parse::<Uuid>().unwrap().get_version_num(), 7);
    }
    let events = server.json("/events/last?limit=1000").await;
    let requests: Vec<&Value> = events["last_events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["event_type"] == "RunRequested")
        .collect();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().any(|event| event["requested_by"] == "api" && event["targets"] == json!([])));
    assert!(
        requests.iter().any(
            |event| event["requested_by"] == "me" && event["targets"] == json!(["3001", "+3002", "3003"])
        )
    );
    let runs = server.json("/runs").await;
    assert_eq!(runs["runs"].as_array().unwrap().len(), 3);
    assert_eq!(runs["runs"][0]["requested_by"], "me", "the newest comes first");
    assert_eq!(server.json("/runs?limit=1").await["runs"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_nobody_plans_stays_in_the_log() {
    let server = Server::start(TestLog::new("log", 3), None, false).await;
    let accepted = server.post("/orchestrate", "").await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED);
    let accepted = accepted.json();
    assert_eq!((&accepted["count"], &accepted["order_sample"]), (&Value::Null, &json!([])));
    let runs = server.json("/runs").await;
    let run = &runs["runs"][0];
    assert_eq!((&run["run_id"], &run["state"]), (&accepted["run_id"], &json!("queued")));
    let keys: Vec<&String> = run.as_object().unwrap().keys().collect();
    let mut expected = [
        "run_id",
        "state",
        "requested_by",
        "requested_at",
        "planned_at",
        "finished_at",
        "reason",
        "counts",
        "retry_of",
        "duration_seconds",
    ];
    expected.sort_unstable();
    let mut keys = keys;
    keys.sort_unstable();
    assert_eq!(keys, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_catalogue_lists_its_problems() {
    let problems = r#"[{"message":"a"},{"message":"b"}]"#;
    let raw: Arc<RawValue> = Arc::from(RawValue::from_string(problems.into()).unwrap());
    let refused = Refused { text: "two problems".into(), problems: raw.clone() };
    let bad = Arc::new(AtomicBool::new(true));
    let preview: Preview = Arc::new({
        let bad = bad.clone();
        move |_| if bad.load(Ordering::Relaxed) { Err(refused.clone()) } else { Ok(world()) }
    });
    let server = Server::start(TestLog::new("log", 1), Some(preview), false).await;
    let problem = server.post("/orchestrate", "").await.problem(422);
    assert_eq!(problem["problems"], json!([{ "message": "a" }, { "message": "b" }]));
    assert_eq!(problem["detail"], "two problems");
    assert_eq!(Log::ends(&server.log).await.unwrap(), [0], "nothing was published");
    server.get("/dag").await.problem(422);
    bad.store(false, Ordering::Relaxed);
    assert_eq!(server.json("/dag").await, json!({ "nodes": 4, "edges": 3 }));

    // The catalogue went bad between the look at it and the plan.
    let (view, log) = (server.view.clone(), server.log.clone());
    tokio::spawn(async move {
        let asked = |known: &korch::view::Known| Some(known.history.active()?.id);
        let run = view.wait_for(Duration::from_secs(5), asked).await.unwrap();
        let finished = Finished {
            outcome: Outcome::Failed,
            reason: Some("bad-catalogue".into()),
            counts: Counts::default(),
            duration_seconds: 0.1,
            problems: Some(raw),
        };
        let body = Body::RunFinished(finished);
        let event = Event { at: Timestamp::now(), run: Some(run), epoch: Some(1), body };
        Log::append(&log, vec![NewRecord::of(&event)]).await.unwrap();
    });
    let problem = server.post("/orchestrate", "").await.problem(422);
    assert_eq!(problem["problems"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_all_that_happened_in_it() {
    let server = Server::start(TestLog::new("log", 3), None, false).await;
    server.get("/dag").await.problem(404);
    server.get("/runs/latest").await.problem(404);
    let run = RunId(Uuid::now_v7());
    let instance = Uuid::from_u128(7);
    let offered =
        |id: u64| Body::ObjectReady(Ready { object: ObjectId(id), attempt: 1, cause: None, entry: None });
    let assigned = |id: u64| {
        let (object, worker) = (ObjectId(id), "w1".into());
        Body::ObjectAssigned(Assigned { object, attempt: 1, worker, instance, entry: None })
    };
    server.write(run, Some(1), plan(world())).await;
    for id in [1001, 1002] {
        server.write(run, Some(1), offered(id)).await;
        server.write(run, Some(1), assigned(id)).await;
    }
    let heartbeat = Heartbeat {
        foreign: false,
        worker: "w1".into(),
        instance,
        stages: vec![Stage::Ingest],
        slots: 8,
        state: WorkerState::Up,
        lease_ms: 10_000,
        epoch: 1,
        read_to: vec![0],
        running: Vec::new(),
    };
    let silent =
        Heartbeat { worker: "w2".into(), instance: Uuid::from_u128(8), lease_ms: 0, ..heartbeat.clone() };
    let reign =
        Reign { epoch: 1, instance: Uuid::from_u128(9), lease_ms: 10_000, gone: false, drains: vec![] };
    assert_eq!(server.json("/workers").await, json!({ "leader": null, "workers": [] }));
    let members = [Member::Worker(heartbeat), Member::Worker(silent), Member::Leader(reign)];
    let records: Vec<Arc<Record>> = (0..)
        .zip(&members)
        .map(|(offset, member)| Arc::new(Record::new(0, offset, 0, Bytes::new(), member.encode().into())))
        .collect();
    server.view.fold_members(&records, Some(Instant::now()), Duration::from_secs(10));
    tokio::time::sleep(Duration::from_millis(2)).await;
    let workers = server.json("/workers").await;
    assert_eq!(workers["leader"]["epoch"], 1);
    assert_eq!(workers["leader"]["led"], true);
    assert!(workers["leader"]["silent_seconds"].as_f64().unwrap() < 5.0);
    let worker = &workers["workers"][0];
    assert_eq!(
        (&worker["state"], &worker["slots"], &worker["stages"]),
        (&json!("up"), &json!(8), &json!(["ingest"]))
    );
    let running: Vec<&Value> =
        worker["running"].as_array().unwrap().iter().map(|held| &held["id_objet"]).collect();
    assert_eq!(running, [1001, 1002]);
    assert_eq!(workers["workers"][1]["state"], "silent");

    let metrics = server.get("/metrics").await;
    assert_eq!(metrics.status, StatusCode::OK);
    assert!(metrics.header("content-type").starts_with("text/plain"));

    server.write(run, None, Body::ObjectFailed(answer(1001, Some(MARKUP)))).await;
    let because = vec![ObjectId(1001)];
    let skipped = Body::ObjectSkipped(Skipped { object: ObjectId(2001), because });
    server.write(run, Some(1), skipped).await;
    let running = server.json("/runs/latest").await;
    assert_eq!(running["state"], "running");
    assert!(running["duration_seconds"].as_f64().unwrap() >= 0.0);
    assert_eq!(running["counts"], json!({ "objects": 4, "loaded": 0, "failed": 1, "skipped": 1 }));
    let states = |run: &Value| -> Vec<String> {
        let objects = run["objects"].as_array().unwrap();
        objects.iter().map(|object| object["state"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(states(&running), ["failed", "running", "skipped", "waiting"]);
    let failed = &running["objects"][0];
    assert_eq!(failed["name"], MARKUP);
    let attempt = &failed["attempts"][0];
    assert_eq!((&attempt["error"], &attempt["stderr"]), (&json!(MARKUP), &json!("the end")));
    assert_eq!((&attempt["worker"], &attempt["retryable"]), (&json!("w1"), &json!(false)));
    assert_eq!(attempt["started_at"], "1970-01-01T00:00:00.000000Z");
    assert_eq!(attempt["ready_at"].as_str().unwrap().len(), 27, "microseconds");
    assert_eq!(running["objects"][1]["name"], Value::Null);
    assert_eq!(running["objects"][2]["because"], json!([1001]));
    assert!(running["objects"][3].get("because").is_none());

    // With some objects only, and why one does not run.
    let some = server.json(&format!("/runs/{run}?state=failed,running")).await;
    assert_eq!(states(&some), ["failed", "running"]);
    assert_eq!(some["objects"][0]["name"], MARKUP);
    let none = server.json("/runs/active?state=").await;
    assert_eq!((&none["run_id"], &none["objects"]), (&json!(run), &json!([])));
    assert_eq!(none["stages"][0]["objects"], 2);
    assert_eq!(none["stages"][0]["failed"], 1);
    server.get(&format!("/runs/{run}?state=nonsense")).await.problem(400);
    let explained = server.json("/runs/active/explain/3001").await;
    assert_eq!(explained["object"]["state"], "waiting");
    let chain = &explained["chains"][0];
    assert_eq!((&chain["via"][0]["id"], &chain["culprit"]["id"]), (&json!(2001), &json!(1001)));
    assert_eq!((&chain["culprit"]["state"], &chain["culprit"]["error"]), (&json!("failed"), &json!(MARKUP)));
    assert_eq!(explained["chains"][1]["culprit"]["state"], "running");
    server.get("/runs/active/explain/4711").await.problem(404);
    server.get("/runs/active/explain/abc").await.problem(404);
    server.get(&format!("/runs/{}/explain/1001", Uuid::now_v7())).await.problem(404);

    // The graph, in its three forms.
    assert_eq!(server.json("/dag").await, json!({ "nodes": 4, "edges": 3 }));
    let dag = server.json("/dag/json").await;
    assert_eq!(dag["nodes"][0], json!({ "id": 1001, "label": MARKUP, "type": "ingest" }));
    assert_eq!(dag["nodes"][1]["label"], "1002");
    assert_eq!(dag["edges"][0], json!({ "source": 1001, "target": 2001 }));
    let dot = server.get("/dag/dot").await;
    assert!(dot.body.starts_with("digraph") && dot.body.contains("  1001 -> 2001;\n"), "{}", dot.body);
    assert!(dot.body.contains(r#"\"q\" \\ \n é""#), "{}", dot.body);

    // Its end by somebody's wish.
    let path = format!("/runs/{run}/cancel");
    assert_eq!(server.post(&path, "").await.status, StatusCode::ACCEPTED);
    server.settle().await;
    assert!(server.view.read(|known| known.history.run(run).unwrap().cancel.is_some()));
    let counts = Counts { objects: 4, loaded: 0, failed: 1, skipped: 1 };
    let finished = Finished {
        outcome: Outcome::Cancelled,
        reason: Some("me".into()),
        counts,
        duration_seconds: 1.5,
        problems: None,
    };
    server.write(run, Some(1), Body::RunFinished(finished)).await;
    let over = server.json(&format!("/runs/{run}")).await;
    assert_eq!((&over["state"], &over["duration_seconds"]), (&json!("cancelled"), &json!(1.5)));
    assert_eq!(states(&over), ["failed", "cancelled", "skipped", "cancelled"]);
    server.post(&path, "").await.problem(409);
    server.get("/runs/active").await.problem(404);
    assert_eq!(server.json(&format!("/runs/{run}/explain/3001")).await["object"]["state"], "not-run");
    server.post(&format!("/runs/{}/cancel", Uuid::now_v7()), "").await.problem(404);
    server.post("/runs/nonsense/cancel", "").await.problem(404);
    server.get("/runs/nonsense").await.problem(404);
    server.get(&format!("/runs/{}", Uuid::now_v7())).await.problem(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_runs_are_a_line_each() {
    let server = Server::start(TestLog::new("log", 1), None, false).await;
    let runs: Vec<RunId> = (0..25).map(|_| RunId(Uuid::now_v7())).collect();
    for run in &runs {
        server.write(*run, Some(1), plan(world())).await;
        let finished = Finished {
            outcome: Outcome::Succeeded,
            reason: None,
            counts: Counts { objects: 4, loaded: 4, ..Counts::default() },
            duration_seconds: 2.0,
            problems: None,
        };
        server.write(*run, Some(1), Body::RunFinished(finished)).await;
    }
    let listed = server.json("/runs").await;
    let ids: Vec<&str> =
        listed["runs"].as_array().unwrap().iter().map(|run| run["run_id"].as_str().unwrap()).collect();
    let expected: Vec<String> = runs.iter().rev().map(ToString::to_string).collect();
    assert_eq!(ids, expected);
    let oldest = server.json(&format!("/runs/{}", runs[0])).await;
    assert_eq!((&oldest["state"], &oldest["objects"]), (&json!("succeeded"), &json!([])));
    server.post(&format!("/runs/{}/cancel", runs[0]), "").await.problem(409);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_request_is_a_problem() {
    let server = Server::start(TestLog::new("log", 1), None, false).await;
    server.get("/nowhere").await.problem(404);
    server.get("/").await.problem(404);
    let wrong = server.get("/orchestrate").await;
    wrong.problem(405);
    assert_eq!(wrong.header("allow"), "POST");
    for body in ["{", "[]", "7", r#"{"target":["3001"]}"#, r#"{"targets":"3001"}"#, r#"{"targets":[{}]}"#] {
        server.post("/orchestrate", body).await.problem(400);
    }
    let form = [("content-type", "text/plain")];
    server.ask(Method::POST, "/orchestrate", &form, "{}").await.problem(415);
    server.ask(Method::POST, "/orchestrate", &[], "{}").await.problem(415);
    let large = format!(r#"{{"requested_by":"{}"}}"#, "x".repeat(256 * 1024));
    server.post("/orchestrate", &large).await.problem(413);
    for limit in ["0", "1001", "-1", "x", "", "99999999999999999999"] {
        server.get(&format!("/events/last?limit={limit}")).await.problem(400);
    }
    server.get("/events/stream?from=yesterday").await.problem(400);
    assert_eq!(server.json("/health").await, json!({ "status": "ok" }));
    assert_eq!(server.json("/livez").await, json!({ "status": "ok" }));
    let why = server.get("/readyz").await.problem(503);
    assert!(why["detail"].as_str().unwrap().contains("log"));
    server.view.update(|known| known.ready = true);
    assert_eq!(server.json("/readyz").await, json!({ "status": "ok" }));
    assert_eq!(server.json("/events/last").await, json!({ "last_events": [] }));
    assert_eq!(Log::ends(&server.log).await.unwrap(), [0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_a_problem_and_no_end() {
    let preview: Preview = Arc::new(|_| panic!("the disk is on fire"));
    let server = Server::start(TestLog::new("log", 1), Some(preview), false).await;
    let problem = server.get("/dag").await.problem(500);
    assert!(!problem.to_string().contains("fire"));
    server.json("/health").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_sites_pages_are_refused() {
    let server = Server::start(TestLog::new("log", 1), None, true).await;
    let own = format!("http://{}", server.address);
    let foreign: [&[(&str, &str)]; 3] =
        [&[("origin", "http://evil.example")], &[("origin", "null")], &[("sec-fetch-site", "cross-site")]];
    for headers in foreign {
        for path in ["/orchestrate", "/runs/latest/cancel"] {
            server.ask(Method::POST, path, headers, "").await.problem(403);
        }
        assert_eq!(server.ask(Method::GET, "/health", headers, "").await.status, StatusCode::OK);
    }
    assert_eq!(Log::ends(&server.log).await.unwrap(), [0]);
    plan_all(&server);
    let headers = [("origin", own.as_str()), ("sec-fetch-site", "same-origin")];
    assert_eq!(server.ask(Method::POST, "/orchestrate", &headers, "").await.status, StatusCode::ACCEPTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_runs_no_script_but_its_own() {
    let server = Server::start(TestLog::new("log", 1), None, true).await;
    let html = server.get("/").await.body;
    assert!(!html.contains("<style") && !html.contains("style=") && !html.contains("onclick"));
    assert_eq!(html.matches("<script").count(), html.matches("<script type=\"module\" src=").count());
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/js/main.js", "text/javascript; charset=utf-8"),
        ("/css/base.css", "text/css; charset=utf-8"),
        ("/lang/fr.json", "application/json"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let reply = server.get(path).await;
        assert_eq!((reply.status, reply.header("content-type")), (StatusCode::OK, content_type), "{path}");
        let policy = reply.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
        assert!(
            policy.contains("require-trusted-types-for 'script'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        let again = server.ask(Method::GET, path, &[("if-none-match", reply.header("etag"))], "").await;
        assert_eq!((again.status, again.body.as_str()), (StatusCode::NOT_MODIFIED, ""), "{path}");
    }
    for path in ["/js/none.js", "/js/../index.html", "/css/%2e%2e/%2e%2e/Cargo.toml", "/lang/"] {
        server.get(path).await.problem(404);
    }
}

fn numbered(n: u64) -> String {
    // Every third as a stranger might print it.
    let space = if n.is_multiple_of(3) { "\n  " } else { "" };
    format!("{{{space}\"event_type\":{space}\"ObjectLoaded\",\"id_objet\":{n},\r\n\"meta\":{{\"n\":{n}}}}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_cut_twenty_times_loses_nothing_and_repeats_nothing() {
    let server = Server::start(TestLog::new("log:of:tests", 3), None, false).await;
    let mut viewer = server.stream("/events/stream", None).await;
    let writing = tokio::spawn({
        let log = server.log.clone();
        async move {
            for n in 0..600_u64 {
                let key = Bytes::from(n.to_string());
                let mut records = vec![NewRecord::plain(key, numbered(n))];
                if n % 5 == 0 {
                    let value = Bytes::from_static(b"rubbish");
                    records
                        .push(NewRecord { partition: Some((n % 3) as u32), ..NewRecord::plain("", value) });
                }
                Log::append(&log, records).await.unwrap();
                if n % 10 == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    });
    let mut seen: Vec<u64> = Vec::new();
    let mut cuts = 0;
    while seen.len() < 600 {
        let event = viewer.message().await;
        seen.push(event["id_objet"].as_u64().unwrap());
        if cuts < 20 && seen.len() as u64 == (cuts + 1) * 29 {
            cuts += 1;
            let last_id = viewer.last_id.clone();
            viewer = server.stream("/events/stream", Some(&last_id)).await;
        }
    }
    writing.await.unwrap();
    assert_eq!(cuts, 20);
    for partition in 0..3 {
        let of: Vec<u64> =
            seen.iter().copied().filter(|n| partition_of(n.to_string().as_bytes(), 3) == partition).collect();
        assert!(of.is_sorted(), "order holds within a partition");
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..600).collect::<Vec<u64>>());
}

/// Viewers that come and go while others write, from the start, from now on, and from where they were: each sees every
/// event of its part of the log once, whether it reads the log or is sent what is written for all.
#[tokio::test(flavor = "multi_thread")]
async fn viewers_beside_each_other_miss_nothing() {
    let server = Arc::new(Server::start(TestLog::new("log", 3), None, false).await);
    const EVENTS: u64 = 2_000;
    let writing = tokio::spawn({
        let log = server.log.clone();
        async move {
            for n in 0..EVENTS {
                let key = Bytes::from(n.to_string());
                Log::append(&log, vec![NewRecord::plain(key, numbered(n))]).await.unwrap();
                if n % 20 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
    });
    let mut viewers = tokio::task::JoinSet::new();
    for n in 0..12_u64 {
        let server = server.clone();
        viewers.spawn(async move {
            let mut seen: Vec<u64> = Vec::new();
            let mut viewer = server.stream("/events/stream?from=start", None).await;
            while (seen.len() as u64) < EVENTS {
                seen.push(viewer.message().await["id_objet"].as_u64().unwrap());
                // Every viewer is cut at places of its own.
                if seen.len().is_multiple_of(97 + 31 * n as usize) {
                    let last_id = viewer.last_id.clone();
                    viewer = server.stream("/events/stream", Some(&last_id)).await;
                }
            }
            seen
        });
    }
    writing.await.unwrap();
    while let Some(seen) = viewers.join_next().await {
        let mut seen = seen.unwrap();
        for partition in 0..3 {
            let of = seen.iter().filter(|n| partition_of(n.to_string().as_bytes(), 3) == partition);
            assert!(of.is_sorted(), "order holds within a partition");
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..EVENTS).collect::<Vec<u64>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_before_its_first_event_loses_none() {
    let server = Server::start(TestLog::new("log", 3), None, false).await;
    server.write_raw("1", numbered(1)).await;
    server.settle().await;
    let mut viewer = server.stream("/events/stream", None).await;
    // A browser reads the id without a message that came with the connection.
    assert!(tokio::time::timeout(Duration::from_millis(50), viewer.next()).await.is_err());
    let id = viewer.last_id.clone();
    drop(viewer);
    server.write_raw("2", numbered(2)).await;
    let mut viewer = server.stream("/events/stream?from=start", Some(&id)).await;
    assert_eq!(viewer.message().await["id_objet"], 2, "the header goes before the query");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_leads_nowhere_is_reset() {
    let server = Server::start(TestLog::new("log", 1), None, false).await;
    for n in 0..10 {
        server.write_raw("k", numbered(n)).await;
    }
    let mut viewer = server.stream("/events/stream?from=start", None).await;
    for n in 0..10 {
        assert_eq!(viewer.message().await["id_objet"], n);
    }
    assert_eq!(viewer.last_id, "log:10");
    for id in
        ["other:3", "log:11", "log:1,2", "log:", "log:x", "log", "log:-1", "é", "log:99999999999999999999999"]
    {
        let mut viewer = server.stream("/events/stream", Some(id)).await;
        let reset = viewer.next().await.unwrap();
        assert_eq!((reset.event.as_str(), reset.id.as_str()), ("reset", "log:0"), "{id}");
        assert!(serde_json::from_str::<Value>(&reset.data).unwrap()["reason"].is_string());
        assert_eq!(viewer.message().await["id_objet"], 0, "then the log from its start");
    }
    // Retention passes a viewer that waits, and one that was away.
    let mut waiting = server.stream("/events/stream", Some("log:2")).await;
    assert_eq!(waiting.message().await["id_objet"], 2);
    server.log.cut(0, 5);
    let mut away = server.stream("/events/stream", Some("log:4")).await;
    let reset = away.next().await.unwrap();
    assert_eq!((reset.event.as_str(), reset.id.as_str()), ("reset", "log:5"));
    assert_eq!(away.message().await["id_objet"], 5);
    let mut at_start = server.stream("/events/stream", Some("log:5")).await;
    assert_eq!(at_start.message().await["id_objet"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_under_an_open_stream_is_a_reset() {
    let server = Server::start(TestLog::new("log", 1), None, false).await;
    let mut viewer = server.stream("/events/stream", None).await;
    {
        // Both at once, so that the reader finds its offset gone.
        let mut partitions = server.log.partitions.lock();
        for n in 0..4 {
            let value = Bytes::from(numbered(n));
            partitions[0].push(Arc::new(Record::new(0, n, 0, Bytes::new(), value)));
        }
        server.log.cut(0, 2);
    }
    server.log.appended.send_modify(|n| *n += 1);
    let reset = viewer.next().await.unwrap();
    assert_eq!((reset.event.as_str(), reset.id.as_str()), ("reset", "log:2"));
    assert_eq!(viewer.message().await["id_objet"], 2);
    assert_eq!(viewer.message().await["id_objet"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_stream_says_that_it_lives() {
    let server = Server::start(TestLog::new("log", 1), None, false).await;
    let mut viewer = server.stream("/events/stream", None).await;
    viewer.buffer.clear();
    let began = std::time::Instant::now();
    viewer.fill().await.unwrap();
    assert!(viewer.buffer.starts_with(':') && began.elapsed() < Duration::from_secs(15));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_process_ends_its_streams() {
    let server = Server::start(TestLog::new("log", 1), None, false).await;
    let mut viewer = server.stream("/events/stream", None).await;
    // One that takes nothing, ever, holds nobody up.
    for n in 0..20_000 {
        server.write_raw("k", numbered(n)).await;
    }
    let _stalled = server.stream("/events/stream?from=start", None).await;
    server.shutdown.send(true).unwrap();
    let ended = async { while viewer.next().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(5), ended).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), server.serving).await.unwrap().unwrap().unwrap();
}
