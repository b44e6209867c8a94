//! The commands that talk to a korch API, any of them.
//!
//! They know what the API answers and nothing of the log. Data goes to stdout, all else to stderr.

use std::io::{self, BufWriter, Write};

use serde_json::Value;

use crate::cli::client::ClientCommand;
use crate::exit::Exit;
use crate::telemetry;

pub(crate) mod answers;
mod byhand;
mod events;
mod explain;
pub(crate) mod http;
mod patience;
mod runs;
mod sse;
mod start;
mod status;
pub(crate) mod text;

use http::{Failure, Server};

/// Runs one command.
///
/// # Errors
/// When stdout does not take the answer. What the API refuses is said on stderr.
pub async fn run(command: ClientCommand) -> anyhow::Result<Exit> {
    let done = match command {
        ClientCommand::Start(args) => start::start(args).await,
        ClientCommand::Status(args) => status::status(args).await,
        ClientCommand::Runs(args) => runs::runs(args).await,
        ClientCommand::Cancel(args) => byhand::cancel(args).await,
        ClientCommand::Pause(args) => byhand::pause(args).await,
        ClientCommand::Resume(args) => byhand::resume(args).await,
        ClientCommand::Mark(args) => byhand::mark(args).await,
        ClientCommand::Retry(args) => start::retry(args).await,
        ClientCommand::Events(args) => events::events(args).await,
        ClientCommand::Explain(args) => explain::explain(args).await,
    };
    told(done)
}

/// What came of a command: why a call was in vain is said, and is an exit code of its own.
pub(crate) fn told(done: anyhow::Result<Exit>) -> anyhow::Result<Exit> {
    done.or_else(|error| match error.downcast_ref::<Failure>() {
        Some(failure) => {
            say(failure);
            Ok(failure.exit())
        }
        None => Err(error),
    })
}

/// Asks `/health`, or `/readyz` for one that is `ready`; says what it answers.
///
/// # Errors
/// When it answers something else than that it is well.
pub async fn health(server: &str, ready: bool) -> anyhow::Result<Exit> {
    told(ask_for_health(server, ready).await)
}

async fn ask_for_health(server: &str, ready: bool) -> anyhow::Result<Exit> {
    let server = Server::new(server)?;
    let (path, well) = if ready { ("/readyz", "ready") } else { ("/health", "well") };
    let health: Value = server.ask(path).await?;
    if health["status"] != "ok" {
        anyhow::bail!("{}{path} answers {health}", server.url());
    }
    telemetry::say_to_people(format_args!("{} is {well}", server.url()));
    Ok(Exit::Done)
}

fn say(failure: &Failure) {
    match failure {
        Failure::Refused { status: 422, detail, problems } => {
            // As `korch plan` says it. Some answers have the problems in their text already.
            let told = problems.first().is_some_and(|first| detail.contains(&first.message));
            telemetry::say_to_people(detail);
            if !told {
                problems.iter().for_each(telemetry::say_to_people);
            }
        }
        failure => telemetry::say_to_people(format_args!("error: {failure}")),
    }
}

/// Writes an answer to stdout in one go.
fn write(text: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    text(&mut out)?;
    out.flush()?;
    Ok(())
}

/// Writes an answer's JSON to stdout, on one line.
fn write_json(json: &[u8]) -> anyhow::Result<()> {
    write(|out| {
        out.write_all(json.trim_ascii_end())?;
        writeln!(out)
    })
}

/// Who asks: as told, else the user.
fn requester(told: Option<String>) -> String {
    let user = || std::env::var("USER").ok().filter(|user| !user.trim().is_empty());
    told.or_else(user).unwrap_or_else(|| "korch".into())
}
