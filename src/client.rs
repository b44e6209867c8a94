//! Talks to a korch API.

use std::time::Duration;

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::exit::Exit;
use crate::telemetry;

/// An API on this machine or the next answers within this, or it is not well.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks `/health`; says what it answers.
///
/// # Errors
/// When nobody answers, or something else than korch.
pub async fn health(server: &str) -> anyhow::Result<Exit> {
    let (status, body) = tokio::time::timeout(TIMEOUT, get(server, "/health"))
        .await
        .with_context(|| format!("{server} did not answer within {} s", TIMEOUT.as_secs()))??;
    if status != 200 {
        bail!("{server}/health answers {status}: {body}");
    }
    telemetry::say_to_people(format_args!("{server} is well"));
    Ok(Exit::Done)
}

async fn get(server: &str, path: &str) -> anyhow::Result<(u16, String)> {
    let authority = server.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    let Some(authority) = authority else { bail!("--server {server}: it looks like http://127.0.0.1:8000") };
    let address = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    let stream = TcpStream::connect(&address).await.with_context(|| {
        format!("nobody answers at {server}: is `korch up` running there? --server names another")
    })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(path).header("host", authority).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).trim().to_owned()))
}
