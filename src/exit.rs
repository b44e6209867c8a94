//! How korch ends.

use std::process::ExitCode;

/// The exit codes that scripts rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// An error of korch's own, or of the machine.
    Internal = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The catalogue is bad: nothing was published.
    BadCatalogue = 3,
    /// The run finished with failed objects.
    Failed = 4,
    /// Kafka cannot be reached or refused us.
    Kafka = 5,
    /// Interrupted, or the run was cancelled.
    Interrupted = 130,
}

/// A command line that clap lets through and that cannot be served all the same.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
