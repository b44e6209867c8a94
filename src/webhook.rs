//! POSTs JSON to an address that a user gave, over http or https.
//!
//! Knows neither what is posted nor when it is tried again. An address may be a secret (that of a chat's webhook is one): what
//! is said of it, in errors and in logs, is scheme, host and port.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustix::net::sockopt;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use crate::exit::UsageError;
use crate::tls;

/// A connection is there within this, TLS included.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// A connection that was idle for longer is not used again: whatever stands between may have forgotten it.
const IDLE_LIMIT: Duration = Duration::from_secs(30);

/// Somebody who is gone without a word is noticed after a minute of silence, whatever an answer may take.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;

/// To close a connection costs less than to read more than this.
const DISCARD_MAX_BYTES: usize = 64 * 1024;

/// Who korch says it is.
const AGENT: &str = concat!("korch/", env!("CARGO_PKG_VERSION"));

/// A token that is shown as `Authorization: Bearer …`.
#[derive(Clone)]
pub struct Bearer(HeaderValue);

impl Bearer {
    /// This token; none: no header may have it.
    pub fn new(token: &str) -> Option<Bearer> {
        let mut value =
            HeaderValue::try_from(format!("Bearer {token}")).ok().filter(|_| !token.is_empty())?;
        value.set_sensitive(true);
        Some(Bearer(value))
    }
}

/// Why nothing was answered. Another try may well have an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble(String);

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An address, and the connections there that wait for more to do.
pub struct Webhook {
    /// Scheme, host and port.
    origin: String,
    authority: HeaderValue,
    host: String,
    port: u16,
    /// Path and query.
    path: Uri,
    token: Option<Bearer>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    idle: Mutex<Vec<(Connection, Instant)>>,
}

/// A connection. Dropped, it is closed, whatever was under way on it.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Webhook {
    /// The address that this flag gives. Nothing is asked of it yet.
    ///
    /// # Errors
    /// [`UsageError`] where it is none, which does not repeat it; another one where TLS cannot be spoken here.
    pub fn new(flag: &str, url: &str, token: Option<Bearer>) -> anyhow::Result<Webhook> {
        let bad = |why: &str| UsageError(format!("{flag}: {why}"));
        let like = || bad("an address looks like http://127.0.0.1:8080/load or https://lake.example/load");
        let uri: Uri = url.trim().parse().map_err(|_| like())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(like().into());
        };
        let (secure, usual_port) = match scheme {
            "http" => (false, 80),
            "https" => (true, 443),
            _ => return Err(like().into()),
        };
        if authority.as_str().contains('@') {
            return Err(bad(&format!(
                "user and password have no place in an address, for everyone on a machine can read the flags of others: \
                 use a token ({flag}-token-file)"
            ))
            .into());
        }
        let host = authority.host();
        let port = match &authority.as_str()[host.len()..] {
            "" => usual_port,
            port => port.strip_prefix(':').and_then(|port| port.parse().ok()).ok_or_else(like)?,
        };
        if host.is_empty() {
            return Err(like().into());
        }
        let bare_host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = if secure {
            let name = ServerName::try_from(bare_host.clone()).map_err(|_| like())?;
            let roots = tls::system_roots()
                .context("this system has no certificates to trust: SSL_CERT_FILE names a file of them")?;
            let config = tls::client(roots).context("TLS cannot be used")?.with_no_client_auth();
            Some((TlsConnector::from(Arc::new(config)), name))
        } else {
            None
        };
        Ok(Webhook {
            origin: format!("{scheme}://{host}:{port}"),
            authority: HeaderValue::try_from(authority.as_str()).map_err(|_| like())?,
            host: bare_host,
            port,
            path: uri.path_and_query().map_or("/", |path| path.as_str()).parse().map_err(|_| like())?,
            token,
            tls,
            idle: Mutex::default(),
        })
    }

    /// Scheme, host and port: all of it that may be told.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Posts this, and waits for an answer to begin. Dropping the future, or the answer, closes the connection.
    ///
    /// A connection is used again where one waits. If that breaks before it has brought anything (the other side may have
    /// closed it at this very moment), the same is posted once more over a new one: so the headers should have an
    /// `Idempotency-Key`.
    ///
    /// # Errors
    /// [`Trouble`] where nothing is answered.
    pub async fn post(&self, headers: &HeaderMap, json: Bytes) -> Result<Answer<'_>, Trouble> {
        if let Some(mut connection) = self.kept()
            && let Ok(response) = connection.sender.send_request(self.request(headers, json.clone())).await
        {
            return Ok(Answer { from: self, response, connection: Some(connection) });
        }
        let connect = tokio::time::timeout(CONNECT_LIMIT, self.connect()).await;
        let mut connection = match connect {
            Ok(connected) => {
                connected.map_err(|error| self.trouble(format_args!("cannot connect: {error:#}")))?
            }
            Err(_) => {
                let limit = CONNECT_LIMIT.as_secs();
                return Err(self.trouble(format_args!("no connection within {limit} s")));
            }
        };
        let response = connection.sender.send_request(self.request(headers, json)).await;
        let response = response.map_err(|error| self.broken(error))?;
        Ok(Answer { from: self, response, connection: Some(connection) })
    }

    fn request(&self, headers: &HeaderMap, json: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(json));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.clone();
        let all = request.headers_mut();
        all.insert(HOST, self.authority.clone());
        all.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        all.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        all.insert(ACCEPT, HeaderValue::from_static("application/json, */*;q=0.5"));
        if let Some(Bearer(token)) = &self.token {
            all.insert(AUTHORIZATION, token.clone());
        }
        all.extend(headers.clone());
        request
    }

    async fn connect(&self) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        // That a socket does not take these changes nothing about what is sent.
        stream.set_nodelay(true).ok();
        sockopt::set_socket_keepalive(&stream, true).ok();
        sockopt::set_tcp_keepidle(&stream, KEEPALIVE_IDLE).ok();
        sockopt::set_tcp_keepintvl(&stream, KEEPALIVE_EVERY).ok();
        sockopt::set_tcp_keepcnt(&stream, KEEPALIVE_PROBES).ok();
        match &self.tls {
            None => Connection::over(stream).await,
            Some((connector, name)) => Connection::over(connector.connect(name.clone(), stream).await?).await,
        }
    }

    /// A connection that waits, the one that was used last.
    fn kept(&self) -> Option<Connection> {
        let mut idle = self.idle.lock();
        while let Some((connection, since)) = idle.pop() {
            if connection.sender.is_ready() && since.elapsed() < IDLE_LIMIT {
                return Some(connection);
            }
        }
        None
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock();
        idle.retain(|(other, since)| !other.sender.is_closed() && since.elapsed() < IDLE_LIMIT);
        idle.push((connection, Instant::now()));
    }

    fn broken(&self, error: hyper::Error) -> Trouble {
        let error = anyhow::Error::new(error);
        self.trouble(format_args!("the connection broke: {error:#}"))
    }

    fn trouble(&self, what: fmt::Arguments<'_>) -> Trouble {
        Trouble(format!("{}: {what}", self.origin))
    }
}

impl Connection {
    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> anyhow::Result<Connection> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // How it ends is told where a request is sent or an answer read.
        let task = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        Ok(Connection { sender, task })
    }
}

/// An answer that has begun.
pub struct Answer<'a> {
    from: &'a Webhook,
    response: Response<Incoming>,
    connection: Option<Connection>,
}

impl Answer<'_> {
    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// A header, as far as it is text.
    pub fn header(&self, name: hyper::header::HeaderName) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// The next bytes of its body; none at the end, and then the connection may be used again.
    ///
    /// # Errors
    /// [`Trouble`] where the body breaks off.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Trouble> {
        loop {
            match self.response.body_mut().frame().await {
                None => {
                    if let Some(connection) = self.connection.take() {
                        self.from.keep(connection);
                    }
                    return Ok(None);
                }
                // What is not data are trailers: nobody asked for any.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => return Err(self.from.broken(error)),
            }
        }
    }

    /// Reads what is left, where it is short, so that the connection may be used again.
    pub async fn discard(mut self) {
        let mut len = 0;
        while let Ok(Some(chunk)) = self.chunk().await {
            len += chunk.len();
            if len > DISCARD_MAX_BYTES {
                return;
            }
        }
    }
}

/// Whether another try may be answered better.
pub fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read() {
        let table = [
            ("http://127.0.0.1:8000", Some(("http://127.0.0.1:8000", "/"))),
            (" http://h ", Some(("http://h:80", "/"))),
            ("http://[::1]:8000/load?to=lake", Some(("http://[::1]:8000", "/load?to=lake"))),
            ("ftp://h", None),
            ("127.0.0.1:8000", None),
            ("/load", None),
            ("http://", None),
            ("http://:80", None),
            ("http://h:port", None),
            ("http://h:99999", None),
            ("http://h/a b", None),
            ("", None),
        ];
        for (url, expected) in table {
            let webhook = Webhook::new("--http", url, None);
            let read = webhook.as_ref().ok().map(|webhook| (webhook.origin(), webhook.path.to_string()));
            assert_eq!(read.as_ref().map(|(origin, path)| (*origin, path.as_str())), expected, "{url}");
            assert!(expected.is_some() || webhook.unwrap_err().is::<UsageError>(), "{url}");
        }
    }

    #[test]
    fn a_secret_in_an_address_is_not_repeated() {
        let error = Webhook::new("--notify", "https://me:secret@h/", None).unwrap_err().to_string();
        assert!(error.contains("--notify-token-file") && !error.contains("secret"), "{error}");
        let error = Webhook::new("--notify", "hooks.example/secret", None).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
        let webhook = Webhook::new("--notify", "http://h/secret?key=secret", Bearer::new("secret")).unwrap();
        assert!(!format!("{webhook:?}").contains("secret"));
    }

    #[test]
    fn a_token_is_what_a_header_may_have() {
        assert!(Bearer::new("abc").is_some());
        assert!(Bearer::new("").is_none());
        assert!(Bearer::new("a\nb").is_none());
    }
}
