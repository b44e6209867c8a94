//! HTTP/1.1 to one korch API: a connection a call, with a time limit and a size limit on each.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use crate::domain::problem::Problem;
use crate::exit::Exit;

/// An answer begins within this.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A large answer takes no longer than this to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// A larger answer is not korch's: a run of a hundred thousand objects takes some 60 MB.
const MAX_ANSWER_BYTES: usize = 512 << 20;

/// Why a call was in vain.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A flag names nothing that can be asked.
    #[error("{flag} {server}: {why}")]
    BadServer {
        /// The flag.
        flag: &'static str,
        /// What it says.
        server: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody listens there.
    #[error(
        "no korch API at {server}: is `korch up`, `orchestrate` or `ui` running there? --server says where ({error})"
    )]
    Unreachable {
        /// Where.
        server: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// It takes too long.
    #[error("{server} did not answer within {} s{hint}", .limit.as_secs())]
    Silent {
        /// Who.
        server: String,
        /// How long it was waited for.
        limit: Duration,
        /// What to do.
        hint: &'static str,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("the connection to {server} broke: {error}")]
    Broken {
        /// Whose.
        server: String,
        /// How.
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something listens there that is no korch.
    #[error("{server} is no korch API: {what}; --server says where one is")]
    NotKorch {
        /// Who.
        server: String,
        /// What it answered.
        what: String,
    },
    /// The API refuses, and says why.
    #[error("{detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Why.
        detail: String,
        /// All that is wrong with the catalogue.
        problems: Vec<Problem>,
    },
}

impl Failure {
    /// The exit code that says so.
    pub fn exit(&self) -> Exit {
        match self {
            Failure::BadServer { .. } => Exit::Usage,
            Failure::Refused { status: 422, .. } => Exit::BadCatalogue,
            Failure::Refused { status: 400..=499, .. } => Exit::Usage,
            _ => Exit::Internal,
        }
    }

    /// Whether there is no such run or object.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Failure::Refused { status: 404, .. })
    }
}

/// The result of a call.
pub type Result<T> = std::result::Result<T, Failure>;

/// A korch API.
#[derive(Clone, Debug)]
pub struct Server {
    /// As it was given.
    url: String,
    authority: String,
    address: String,
    /// What stands before every path, behind a proxy.
    prefix: String,
    token: Option<HeaderValue>,
}

impl Server {
    /// The API at `http://host:port`.
    ///
    /// # Errors
    /// When that is no such address.
    pub fn new(url: &str) -> Result<Server> {
        Server::named("--server", url, "KORCH_API_TOKEN", std::env::var("KORCH_API_TOKEN").ok())
    }

    /// Whoever is at an address of the same form that this flag gives, a korch or not. It is not shown korch's token.
    ///
    /// # Errors
    /// When that is no such address.
    pub fn stranger(flag: &'static str, url: &str, token: Option<String>) -> Result<Server> {
        Server::named(flag, url, "the token", token)
    }

    fn named(flag: &'static str, url: &str, of: &str, token: Option<String>) -> Result<Server> {
        let bad = |why: String| Failure::BadServer { flag, server: url.to_owned(), why };
        if url.starts_with("https://") {
            return Err(bad(
                "korch speaks plain http only: end TLS in a proxy on this machine, or ask over a tunnel"
                    .into(),
            ));
        }
        let like = || bad("it looks like http://127.0.0.1:8000".into());
        let rest = url.strip_prefix("http://").ok_or_else(like)?;
        let (authority, prefix) = match rest.find('/') {
            Some(at) => (&rest[..at], rest[at..].trim_end_matches('/')),
            None => (rest, ""),
        };
        let port = authority.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.contains(']'));
        if authority.is_empty()
            || authority.contains(['@', '?', '#', ' '])
            || !prefix.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte))
            || port.is_some_and(|port| port.parse::<u16>().is_err())
        {
            return Err(like());
        }
        let token = token.filter(|token| !token.is_empty());
        let token = token.map(|token| HeaderValue::try_from(format!("Bearer {token}")));
        let token =
            token.transpose().map_err(|_| bad(format!("{of} has characters that no header may have")))?;
        Ok(Server {
            url: url.trim_end_matches('/').to_owned(),
            authority: authority.to_owned(),
            address: if port.is_some() { authority.to_owned() } else { format!("{authority}:80") },
            prefix: prefix.to_owned(),
            token,
        })
    }

    /// As it was given.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The JSON of an answer, as it came.
    ///
    /// # Errors
    /// [`Failure`]
    pub async fn get(&self, path: &str) -> Result<Bytes> {
        self.call(Method::GET, path, None).await
    }

    /// What an answer says.
    ///
    /// # Errors
    /// [`Failure`]
    pub async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.read(&self.get(path).await?)
    }

    /// The JSON of the answer to this JSON.
    ///
    /// # Errors
    /// [`Failure`]
    pub async fn post(&self, path: &str, body: &serde_json::Value) -> Result<Bytes> {
        self.call(Method::POST, path, Some(body.to_string())).await
    }

    /// Reads an answer's JSON.
    ///
    /// # Errors
    /// [`Failure::NotKorch`]
    pub fn read<T: DeserializeOwned>(&self, json: &[u8]) -> Result<T> {
        serde_json::from_slice(json)
            .map_err(|error| self.not_korch(format!("its answer is not as expected ({error})")))
    }

    /// Whatever is answered at this path: its status and its body.
    ///
    /// # Errors
    /// [`Failure`], where nothing is.
    pub async fn fetch(&self, path: &str) -> Result<(u16, Bytes)> {
        let response = self.send(Method::GET, path, &[], None).await?;
        let status = response.status().as_u16();
        Ok((status, self.body(response, "").await?))
    }

    async fn body(&self, response: Response<Incoming>, hint: &'static str) -> Result<Bytes> {
        let limited = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect();
        let body = tokio::time::timeout(BODY_TIMEOUT, limited)
            .await
            .map_err(|_| self.silent(BODY_TIMEOUT, hint))?
            .map_err(|error| self.broken(error))?;
        Ok(body.to_bytes())
    }

    async fn call(&self, method: Method, path: &str, body: Option<String>) -> Result<Bytes> {
        let changes = method != Method::GET;
        let response = self.send(method, path, &[], body).await?;
        let status = response.status();
        let is_json = json_kind(&response);
        let body = self.body(response, if changes { MAYBE_TAKEN } else { "" }).await?;
        if status.is_success() && is_json != Kind::Other {
            return Ok(body);
        }
        Err(self.refusal(status.as_u16(), is_json, &body))
    }

    /// An answer that comes bit by bit.
    ///
    /// # Errors
    /// [`Failure`]
    pub async fn stream(&self, path: &str, last_id: Option<&str>) -> Result<Incoming> {
        let headers: Vec<(HeaderName, &str)> =
            last_id.map(|id| (HeaderName::from_static("last-event-id"), id)).into_iter().collect();
        let response = self.send(Method::GET, path, &headers, None).await?;
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if response.status().is_success() {
            if content_type.is_some_and(|kind| kind.starts_with("text/event-stream")) {
                return Ok(response.into_body());
            }
            return Err(self.not_korch("its answer is no stream of events".into()));
        }
        let (status, is_json) = (response.status().as_u16(), json_kind(&response));
        let body = Limited::new(response.into_body(), 1 << 20).collect();
        let body = tokio::time::timeout(TIMEOUT, body)
            .await
            .map_err(|_| self.silent(TIMEOUT, ""))?
            .map_err(|error| self.broken(error))?
            .to_bytes();
        Err(self.refusal(status, is_json, &body))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, &str)],
        body: Option<String>,
    ) -> Result<Response<Incoming>> {
        let hint = if method == Method::GET { "" } else { MAYBE_TAKEN };
        let sent = async {
            let stream = TcpStream::connect(&self.address)
                .await
                .map_err(|error| Failure::Unreachable { server: self.url.clone(), error })?;
            let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
            let (mut sender, connection) = handshake.map_err(|error| self.broken(error.into()))?;
            // Ends with the response or with its body.
            tokio::spawn(connection);
            let mut request = Request::builder()
                .method(method)
                .uri(format!("{}{path}", self.prefix))
                .header(HOST, &self.authority);
            for (name, value) in headers {
                request = request.header(name, *value);
            }
            if body.is_some() {
                request = request.header(CONTENT_TYPE, "application/json");
            }
            if let Some(token) = &self.token {
                request = request.header(AUTHORIZATION, token);
            }
            let request = request
                .body(Full::new(Bytes::from(body.unwrap_or_default())))
                .map_err(|error| self.broken(error.into()))?;
            sender.send_request(request).await.map_err(|error| self.broken(error.into()))
        };
        tokio::time::timeout(TIMEOUT, sent).await.map_err(|_| self.silent(TIMEOUT, hint))?
    }

    fn silent(&self, limit: Duration, hint: &'static str) -> Failure {
        Failure::Silent { server: self.url.clone(), limit, hint }
    }

    fn broken(&self, error: Box<dyn std::error::Error + Send + Sync>) -> Failure {
        Failure::Broken { server: self.url.clone(), error }
    }

    fn not_korch(&self, what: String) -> Failure {
        Failure::NotKorch { server: self.url.clone(), what }
    }

    fn refusal(&self, status: u16, kind: Kind, body: &[u8]) -> Failure {
        #[derive(Deserialize)]
        struct Wire {
            detail: String,
            #[serde(default)]
            problems: Vec<Problem>,
        }
        match serde_json::from_slice::<Wire>(body) {
            Ok(Wire { mut detail, problems }) if kind == Kind::Problem => {
                detail += match (status, &self.token) {
                    (401, None) => "; set KORCH_API_TOKEN to that API's token",
                    (401, Some(_)) => "; KORCH_API_TOKEN does not hold that API's token",
                    (403, None) => "; KORCH_API_TOKEN is sent where it is set",
                    _ => "",
                };
                Failure::Refused { status, detail, problems }
            }
            _ => self.not_korch(format!("it answers {status}")),
        }
    }
}

const MAYBE_TAKEN: &str = "; it may have taken the request all the same: `korch runs` tells";

/// What an answer says that it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    Problem,
    Other,
}

fn json_kind(response: &Response<Incoming>) -> Kind {
    let content_type =
        response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    match content_type.split(';').next().unwrap_or("").trim() {
        "application/json" => Kind::Json,
        "application/problem+json" => Kind::Problem,
        _ => Kind::Other,
    }
}

/// A path's part, with everything encoded that is not plainly a letter or a digit.
pub fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            encoded += &format!("%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read() {
        let table = [
            ("http://127.0.0.1:8000", Some(("127.0.0.1:8000", ""))),
            ("http://h/", Some(("h:80", ""))),
            ("http://[::1]", Some(("[::1]:80", ""))),
            ("http://[::1]:8000/korch/", Some(("[::1]:8000", "/korch"))),
            ("https://h:8000", None),
            ("127.0.0.1:8000", None),
            ("http://", None),
            ("http://h:port", None),
            ("http://a@h", None),
            ("http://h/a?b", None),
        ];
        for (url, expected) in table {
            let server = Server::new(url);
            let read = server.as_ref().ok().map(|server| (&*server.address, &*server.prefix));
            assert_eq!(read, expected, "{url}");
            assert!(expected.is_some() || server.unwrap_err().exit() == Exit::Usage, "{url}");
        }
    }

    #[test]
    fn a_segment_leaves_its_path_alone() {
        assert_eq!(segment("0199-a/../é?"), "0199-a%2F%2E%2E%2F%C3%A9%3F");
    }
}
