//! Whoever korch posts to: a real HTTP server on a free port, that remembers what came and answers as a test wants.

#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::serve::ListenerExt;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::Value;

use crate::support::poll;

/// A request that came.
#[derive(Clone, Debug)]
pub struct Posted {
    /// How many came before it.
    pub before: usize,
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
}

impl Posted {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The object that korch wants loaded.
    pub fn object(&self) -> u64 {
        self.header("korch-object-id").unwrap().parse().unwrap()
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Reply {
    pub fn of(status: u16) -> Reply {
        Reply { status, headers: Vec::new(), body: String::new() }
    }

    pub fn json(status: u16, body: &str) -> Reply {
        Reply { body: body.to_owned(), ..Reply::of(status).with("content-type", "application/json") }
    }

    pub fn text(status: u16, body: &str) -> Reply {
        Reply { body: body.to_owned(), ..Reply::of(status).with("content-type", "text/plain; charset=utf-8") }
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Reply {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// The server; it ends with the test.
pub struct Receiver {
    pub address: String,
    seen: Arc<Seen>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Default)]
struct Seen {
    posted: Mutex<Vec<Posted>>,
    connections: AtomicUsize,
    /// Requests whose connection was closed before they were answered.
    given_up: AtomicUsize,
}

struct UnderWay<'a>(&'a Seen, bool);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if !self.1 {
            self.0.given_up.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Receiver {
    /// Answers each request with what `answer` makes of it.
    pub fn start(answer: impl Fn(&Posted) -> Reply + Send + Sync + 'static) -> Receiver {
        Receiver::begin(move |posted| {
            let reply = answer(&posted);
            Box::pin(async move { reply })
        })
    }

    /// Takes every request and never answers.
    pub fn hanging() -> Receiver {
        Receiver::begin(|_| Box::pin(std::future::pending()))
    }

    /// Answers each request in its time.
    pub fn begin(answer: impl Fn(Posted) -> BoxFuture<'static, Reply> + Send + Sync + 'static) -> Receiver {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let seen = Arc::new(Seen::default());
        let (theirs, answer) = (seen.clone(), Arc::new(answer));
        let handle = move |request: Request| {
            let (seen, answer) = (theirs.clone(), answer.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let posted = {
                    let mut all = seen.posted.lock();
                    let before = all.len();
                    all.push(Posted {
                        before,
                        method: parts.method.to_string(),
                        path: parts.uri.to_string(),
                        headers: parts.headers,
                        body: String::from_utf8(body.to_vec()).unwrap(),
                    });
                    all.last().unwrap().clone()
                };
                let mut under_way = UnderWay(&seen, false);
                let reply = answer(posted).await;
                under_way.1 = true;
                let mut response = Response::builder().status(StatusCode::from_u16(reply.status).unwrap());
                for (name, value) in reply.headers {
                    response = response.header(name, value);
                }
                response.body(Body::from(reply.body)).unwrap()
            }
        };
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let counting = seen.clone();
        let listener = listener.tap_io(move |_| {
            counting.connections.fetch_add(1, Ordering::SeqCst);
        });
        runtime.spawn(async move { axum::serve(listener, axum::Router::new().fallback(handle)).await });
        Receiver { address, seen, _runtime: runtime }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What came so far.
    pub fn posted(&self) -> Vec<Posted> {
        self.seen.posted.lock().clone()
    }

    /// What came, once there are so many.
    pub fn wait_for(&self, count: usize) -> Vec<Posted> {
        poll("what is to be posted", || Some(self.posted()).filter(|posted| posted.len() >= count))
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// How many requests were given up before they were answered.
    pub fn given_up(&self) -> usize {
        self.seen.given_up.load(Ordering::SeqCst)
    }
}

/// An address of the test's own where nobody listens.
pub struct Nobody {
    pub address: String,
    _socket: tokio::net::TcpSocket,
}

impl Nobody {
    pub fn there() -> Nobody {
        // Bound and not listening: nobody else can have it, and who connects is refused.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Nobody { address: socket.local_addr().unwrap().to_string(), _socket: socket }
    }
}
