//! Notices: what becomes of the runs, posted to people who are not looking.
//!
//! Never in the way of a run: a task of its own reads the view, one for each address sends, and between them stands a queue that
//! forgets its oldest where an address does not keep up. What is told, and by which of several orchestrators, is
//! [`crate::domain::tidings`]' to say.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::domain::attempt::Phase;
use crate::domain::event::{Counts, Outcome, RunId};
use crate::domain::object::{ObjectId, Stage};
use crate::domain::run::Run;
use crate::domain::tidings::{Tiding, Tidings};
use crate::summary::name_of;
use crate::telemetry;
use crate::view::{Known, View};
use crate::webhook::{Webhook, is_passing};

/// So many notices wait for an address.
const QUEUE: usize = 100;
/// An answer is there within this.
const TRY_LIMIT: Duration = Duration::from_secs(10);
/// What an address has to say of a notice that it took is waited for so long, for the sake of the connection.
const REST_LIMIT: Duration = Duration::from_secs(1);
/// After a try that was in vain the next one comes so soon, …
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// … then after twice the time, and so on up to this.
const MOST_PAUSE: Duration = Duration::from_secs(60);
/// A notice that is older is given up: nobody is helped by it any more.
const DEADLINE: Duration = Duration::from_secs(600);
/// A process that ends waits no longer than this for what is under way.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// That notices are dropped is said no more often than this.
const SAY_AGAIN: Duration = Duration::from_secs(60);
/// So many failed objects are named in the notice of a run; the rest is counted.
const NAMED: usize = 20;
/// The longest error within the line for people, in bytes.
const TEXT_ERROR_BYTES: usize = 300;

/// Tells these addresses what becomes of the runs.
pub struct Notifier {
    over: watch::Sender<bool>,
    following: JoinHandle<()>,
    posts: Vec<(Arc<Post>, JoinHandle<()>)>,
}

impl Notifier {
    /// Begins to follow the view of this orchestrator, before it has read anything.
    pub fn start(webhooks: Vec<Webhook>, view: Arc<View>, instance: Uuid) -> Notifier {
        let (over, ending) = watch::channel(false);
        if !webhooks.is_empty() {
            telemetry::may_notify();
            view.update(|known| known.tidings = Tidings::of(instance));
        }
        let posts: Vec<Arc<Post>> =
            webhooks.into_iter().map(|webhook| Arc::new(Post::new(webhook))).collect();
        let following = tokio::spawn(follow(view, posts.clone(), ending.clone()));
        let send = |post: Arc<Post>| (post.clone(), tokio::spawn(send_each(post, ending.clone())));
        Notifier { over, following, posts: posts.into_iter().map(send).collect() }
    }

    /// Tells what there is to tell still, as far as that is done within a few seconds. To be called once nothing more is
    /// folded.
    pub async fn finish(self) {
        let _ = self.over.send(true);
        let posts: Vec<Arc<Post>> = self.posts.iter().map(|(post, _)| post.clone()).collect();
        let all_sent = async {
            // How a task ended that is over is nobody's concern here.
            let _ = self.following.await;
            posts.iter().for_each(|post| post.close());
            for (_, sending) in self.posts {
                let _ = sending.await;
            }
        };
        let _ = tokio::time::timeout(LAST_WORDS, all_sent).await;
        for post in posts {
            let left = post.left();
            if left > 0 {
                telemetry::notices("dropped", left);
                tracing::warn!("{left} notices to {} are not sent: korch ends", post.webhook.origin());
            }
        }
    }
}

/// Follows a view, and puts what is to be told into every queue.
async fn follow(view: Arc<View>, posts: Vec<Arc<Post>>, mut ending: watch::Receiver<bool>) {
    let mut changes = view.changes();
    loop {
        let is_last = *ending.borrow_and_update();
        changes.borrow_and_update();
        for tiding in view.take_tidings() {
            if let Some(notice) = view.read(|known| Notice::of(known, tiding)) {
                let notice = Arc::new(notice);
                posts.iter().for_each(|post| post.push(notice.clone()));
            }
        }
        if is_last {
            return;
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            ended = ending.changed() => if ended.is_err() { return },
        }
    }
}

/// What waits for an address.
struct Post {
    webhook: Webhook,
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Arc<Notice>>,
    under_way: bool,
    /// Nothing more comes.
    closed: bool,
    drop_said: Option<Instant>,
}

impl Post {
    fn new(webhook: Webhook) -> Post {
        Post { webhook, queue: Mutex::default(), changed: Notify::new() }
    }

    fn push(&self, notice: Arc<Notice>) {
        let mut queue = self.queue.lock();
        queue.waiting.push_back(notice);
        if queue.waiting.len() > QUEUE {
            queue.waiting.pop_front();
            telemetry::notices("dropped", 1);
            if queue.drop_said.is_none_or(|said| said.elapsed() >= SAY_AGAIN) {
                queue.drop_said = Some(Instant::now());
                tracing::warn!(
                    "{} does not keep up: its oldest notice is dropped; others may be, without a word for a minute",
                    self.webhook.origin()
                );
            }
        }
        drop(queue);
        self.changed.notify_one();
    }

    fn close(&self) {
        self.queue.lock().closed = true;
        self.changed.notify_one();
    }

    /// The next notice; none: there will be no more.
    async fn next(&self) -> Option<Arc<Notice>> {
        loop {
            {
                let mut queue = self.queue.lock();
                let next = queue.waiting.pop_front();
                queue.under_way = next.is_some();
                if next.is_some() || queue.closed {
                    return next;
                }
            }
            self.changed.notified().await;
        }
    }

    /// How many are not sent.
    fn left(&self) -> u64 {
        let queue = self.queue.lock();
        queue.waiting.len() as u64 + u64::from(queue.under_way)
    }

    /// Sends one, again and again where that may help.
    async fn send(&self, notice: &Notice, ending: &mut watch::Receiver<bool>) -> Result<(), String> {
        let mut pause = FIRST_PAUSE;
        loop {
            let (again, why) = match self.try_to_send(notice).await {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            if !again || notice.made.elapsed() + pause > DEADLINE {
                return Err(why);
            }
            tracing::debug!("a notice is sent again in {pause:?}: {why}");
            let was_ending = *ending.borrow_and_update();
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (2 * pause).min(MOST_PAUSE),
                // Once korch ends there is no time for long pauses.
                _ = ending.wait_for(|over| *over), if !was_ending => pause = FIRST_PAUSE,
            }
        }
    }

    /// Whether another try may help is told with the error.
    async fn try_to_send(&self, notice: &Notice) -> Result<(), (bool, String)> {
        let answer = tokio::time::timeout(TRY_LIMIT, self.webhook.post(&notice.headers, notice.json.clone()));
        let answer = match answer.await {
            Ok(answer) => answer.map_err(|trouble| (true, trouble.to_string()))?,
            Err(_) => {
                let (origin, limit) = (self.webhook.origin(), TRY_LIMIT.as_secs());
                return Err((true, format!("{origin}: no answer within {limit} s")));
            }
        };
        let status = answer.status();
        if status.is_success() {
            // It is sent, whatever becomes of the rest.
            let _ = tokio::time::timeout(REST_LIMIT, answer.discard()).await;
            return Ok(());
        }
        let hint = if status.is_redirection() { ": redirects are not followed" } else { "" };
        Err((is_passing(status), format!("{} answers {status}{hint}", self.webhook.origin())))
    }
}

/// Sends what is put into a queue, one after the other, until it is closed.
async fn send_each(post: Arc<Post>, mut ending: watch::Receiver<bool>) {
    while let Some(notice) = post.next().await {
        match post.send(&notice, &mut ending).await {
            Ok(()) => telemetry::notices("sent", 1),
            Err(why) => {
                telemetry::notices("failed", 1);
                tracing::warn!("a notice is given up: {why}");
            }
        }
    }
}

/// A notice, as it is sent.
struct Notice {
    json: Bytes,
    headers: HeaderMap,
    made: Instant,
}

/// What a notice says, in JSON.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Wire {
    RunFinished {
        text: String,
        run_id: RunId,
        at: Timestamp,
        outcome: Outcome,
        reason: Option<String>,
        counts: Counts,
        duration_seconds: f64,
        /// The first of the objects that failed for good.
        failed: Vec<FailedObject>,
        /// How many more of them there are.
        failed_more: u64,
    },
    ObjectFailed {
        text: String,
        run_id: RunId,
        at: Timestamp,
        #[serde(flatten)]
        object: FailedObject,
    },
}

#[derive(Serialize)]
struct FailedObject {
    id_objet: ObjectId,
    name: Option<String>,
    stage: Stage,
    attempts: u32,
    error: String,
}

impl Notice {
    /// None: what it would be of is forgotten by now.
    fn of(known: &Known, tiding: Tiding) -> Option<Notice> {
        let (wire, key) = match tiding {
            Tiding::RunFinished { run } => {
                (run_finished(known.history.run(run)?)?, format!("{run}/run-finished"))
            }
            Tiding::ObjectFailed { run, object } => {
                (object_failed(known.history.run(run)?, object)?, format!("{run}/{object}/object-failed"))
            }
        };
        let mut headers = HeaderMap::new();
        // By it a receiver knows what it was told before, by this korch or by the one that led before it.
        headers.insert(HeaderName::from_static("idempotency-key"), HeaderValue::try_from(key).ok()?);
        let json = serde_json::to_vec(&wire).ok()?.into();
        Some(Notice { json, headers, made: Instant::now() })
    }
}

fn run_finished(run: &Run) -> Option<Wire> {
    let (at, finished) = run.finished.as_ref()?;
    let board = run.board();
    let places = board.iter().flat_map(|board| (0..board.len()).map(move |i| (*board, i)));
    let failed: Vec<FailedObject> = places
        .filter(|(board, i)| board.phase(*i) == Phase::Failed)
        .take(NAMED)
        .filter_map(|(_, i)| failed_object(run, i))
        .collect();
    let counts = finished.counts;
    let reason = finished.reason.as_ref().map(|reason| format!(" ({})", one_line(reason)));
    Some(Wire::RunFinished {
        text: format!(
            "korch: run {} {}{}: {} of {} objects loaded, {} failed, {} skipped, in {:.1} s",
            run.id,
            finished.outcome.name(),
            reason.unwrap_or_default(),
            counts.loaded,
            counts.objects,
            counts.failed,
            counts.skipped,
            finished.duration_seconds,
        ),
        run_id: run.id,
        at: *at,
        outcome: finished.outcome,
        reason: finished.reason.clone(),
        counts,
        duration_seconds: finished.duration_seconds,
        failed_more: counts.failed.saturating_sub(failed.len() as u64),
        failed,
    })
}

fn object_failed(run: &Run, object: ObjectId) -> Option<Wire> {
    let i = run.board()?.position(object)?;
    let answer = run.board()?.attempts(i).last()?.answer.as_ref()?;
    let object = failed_object(run, i)?;
    let name = object.name.as_ref().map(|name| format!(" {}", one_line(name)));
    let attempts =
        if object.attempts > 1 { format!(" after {} attempts", object.attempts) } else { String::new() };
    Some(Wire::ObjectFailed {
        text: format!(
            "korch: {}{} ({}) failed{attempts}: {}",
            object.id_objet,
            name.unwrap_or_default(),
            object.stage,
            one_line(&object.error),
        ),
        run_id: run.id,
        at: answer.at,
        object,
    })
}

fn failed_object(run: &Run, i: usize) -> Option<FailedObject> {
    let board = run.board()?;
    let (object, attempts) = (board.object(i), board.attempts(i));
    Some(FailedObject {
        id_objet: object.id,
        name: object.entry.as_ref().and_then(|entry| name_of(entry.get())),
        stage: object.stage,
        attempts: attempts.last().map_or(0, |last| last.number),
        error: attempts.failure().map_or_else(String::new, |failure| failure.error.clone()),
    })
}

/// A text as a part of one line, cut where it is long.
fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let kept = &line[..line.floor_char_boundary(TEXT_ERROR_BYTES)];
    if kept.len() < line.len() { format!("{kept}…") } else { line }
}
