//! Connections: how many, how slow, and how they end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// After the process was told to end, connections may take so long.
const LINGER: Duration = Duration::from_secs(3);
/// A request's line and headers have no more bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// So long nobody is let in where the system has no means for another connection.
const NO_MEANS: Duration = Duration::from_secs(1);

/// How much callers may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once. Who comes after them waits until one ends.
    pub connections: usize,
    /// Requests in work at once. Who comes after them is told to come again.
    pub requests: usize,
    /// Streams open at once. As with requests.
    pub streams: usize,
    /// A request's headers come within this, and a connection is idle for no longer.
    pub head_time: Duration,
    /// A request's body comes and its answer begins within this.
    pub request_time: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 2048,
            requests: 512,
            streams: 1024,
            head_time: Duration::from_secs(30),
            request_time: Duration::from_secs(60),
        }
    }
}

/// Serves until `shutdown` says true; viewers that then do not take what is sent to them are cut off.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    mut shutdown: watch::Receiver<bool>,
) -> io::Result<()> {
    let connections = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head_time).max_buf_size(MAX_HEAD_BYTES);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &connections) => accepted,
            // An error: the sender is gone, and with it whoever could say so.
            _ = shutdown.wait_for(|over| *over) => break,
        };
        let Some((stream, permit)) = accepted else { continue };
        let service = TowerToHyperService::new(router.clone());
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::trace!("a connection broke: {error}");
            }
            drop(permit);
        });
    }
    drop(listener);
    // Too late is all that can go wrong.
    let _ = tokio::time::timeout(LINGER, graceful.shutdown()).await;
    Ok(())
}

/// The next connection; none where there was one and it is gone, or nothing to have it with.
async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let permit = connections.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!("a connection stays slow: {error}");
            }
            Some((stream, permit))
        }
        Err(error) => {
            use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
            if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
                tracing::warn!("no connection can be had: {error}");
                tokio::time::sleep(NO_MEANS).await;
            }
            None
        }
    }
}
