//! Where a process listens, and how it is told to end.

use anyhow::Context;
use rustix::process::Resource;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use crate::cli::Listen;
use crate::exit::Exit;
use crate::telemetry;

/// The signals that end a process, as the process sees them.
#[derive(Clone)]
pub struct Signals {
    /// What came so far.
    pub seen: watch::Receiver<Seen>,
}

/// The signals that came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// How many.
    pub count: u32,
    /// One of them was SIGINT: somebody pressed Ctrl-C.
    pub interrupted: bool,
}

impl Signals {
    /// Waits for the `n`th signal.
    pub async fn nth(&mut self, n: u32) {
        if self.seen.wait_for(|seen| seen.count >= n).await.is_err() {
            // Nobody listens for signals: none will come.
            std::future::pending::<()>().await;
        }
    }

    /// How many came so far.
    pub fn count(&self) -> u32 {
        self.seen.borrow().count
    }

    /// How a process ends that serves until it is told to end: that it was told so is no failure, an interruption is one.
    pub fn exit(&self) -> Exit {
        if self.seen.borrow().interrupted { Exit::Interrupted } else { Exit::Done }
    }
}

/// Waits for the parts of a process that were told to end.
///
/// # Errors
/// The first error of a part.
pub async fn finish(parts: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    while let Some(ended) = parts.join_next().await {
        ended.context("a part of korch broke")??;
    }
    Ok(())
}

/// This host and process, as part of a name.
pub fn host_and_process() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}-{}", std::process::id())
}

/// Lets the process have as many files open as it may: the usual soft limit of 1,024 is fewer than there may be viewers.
fn open_many_files() {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, limit) {
        tracing::debug!("the limit of open files stays as it is: {error}");
    }
}

/// Something to listen at.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Where.
    pub listen: Listen,
    /// The flag that says so.
    pub flag: &'static str,
    /// What is served there, for people.
    pub what: &'static str,
}

/// Listens, and says where on stderr; none where the wish is `off`.
///
/// # Errors
/// When the address is taken or no address of this machine.
pub async fn listen(wish: Wish) -> anyhow::Result<Option<TcpListener>> {
    let Wish { listen, flag, what } = wish;
    let Listen::At(address) = listen else { return Ok(None) };
    open_many_files();
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}: end what listens there, or give {flag} another address, or off")
    })?;
    telemetry::say_to_people(format_args!("{what:>4}  http://{}", listener.local_addr()?));
    Ok(Some(listener))
}

/// The error of a part that ended though it should not have.
pub fn ended(part: Option<Result<anyhow::Result<()>, JoinError>>) -> anyhow::Error {
    match part {
        Some(Ok(Err(error))) => error,
        Some(Err(error)) => anyhow::Error::new(error).context("a part of korch broke"),
        Some(Ok(Ok(()))) | None => anyhow::anyhow!("a part of korch ended early"),
    }
}
