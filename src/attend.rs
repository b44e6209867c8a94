//! Shows the runs of a process as they go, and their summaries.

use std::io::{self, Write};
use std::time::Duration;

use jiff::Timestamp;

use crate::cli::Output;
use crate::exit::Exit;
use crate::progress;
use crate::summary::{self, Summary};
use crate::view::{Known, View};

/// So long is waited for the next run before the wait begins anew.
const WAIT: Duration = Duration::from_secs(3600);

/// What is shown, and when it is enough.
#[derive(Clone, Copy, Debug)]
pub struct Attend {
    /// End with the first run that ends.
    pub once: bool,
    /// How summaries are written.
    pub output: Output,
    /// Runs that ended before are not shown.
    pub since: Timestamp,
}

impl Attend {
    /// Shows the runs as they go. Ends with the first one where `once` says so, else never.
    ///
    /// # Errors
    /// When a summary cannot be written.
    pub async fn run(self, view: &View) -> anyhow::Result<Exit> {
        // A run may begin and end between two looks: what ended since the last one shown is shown, too.
        let mut shown = (self.since, None);
        loop {
            let next = view.wait_for(WAIT, |known| {
                known.leading?;
                let runs = known.history.runs();
                let ended = runs
                    .iter()
                    .filter(|run| !run.is_remains())
                    .filter_map(|run| Some((run.finished.as_ref()?.0, Some(run.id))));
                ended
                    .filter(|ended| *ended > shown)
                    .min()
                    .and_then(|(_, run)| run)
                    .or_else(|| known.history.active().filter(|run| !run.is_remains()).map(|run| run.id))
            });
            let Some(run) = next.await else { continue };
            if self.once {
                progress::show(view, run).await;
            } else {
                let over = |known: &Known| {
                    known.history.run(run).is_none_or(|run| run.finished.is_some()).then_some(())
                };
                while view.wait_for(WAIT, over).await.is_none() {}
            }
            let over = view.read(|known| {
                let run = known.history.run(run)?;
                Some((run.finished.as_ref()?.0, Summary::of(run, summary::slots(&known.members))?))
            });
            let Some((at, summary)) = over else { continue };
            shown = (at, Some(run));
            match self.write(&summary) {
                // Nobody reads what is said of the run any more: that changes nothing about the run.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                written => written?,
            }
            if self.once {
                return Ok(summary.exit());
            }
        }
    }

    fn write(&self, summary: &Summary) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match self.output {
            Output::Human => summary.write(&mut out)?,
            Output::Json => {
                serde_json::to_writer(&mut out, summary)?;
                writeln!(out)?;
            }
        }
        out.flush()
    }
}
