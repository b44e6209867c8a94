//! A run as it goes: a bar a stage on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::domain::attempt::Phase;
use crate::domain::board::Board;
use crate::domain::event::RunId;
use crate::domain::object::Stage;
use crate::telemetry;
use crate::view::View;

/// How often the bars move.
const REDRAW: Duration = Duration::from_millis(80);
/// How often a line is written where there are no bars.
pub const LINE_EVERY: Duration = Duration::from_secs(5);

/// Where a stage stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// How many objects of the run it has.
    pub objects: u64,
    /// How many are through: loaded, failed or skipped.
    pub through: u64,
    /// How many run.
    pub running: u64,
    /// How many failed.
    pub failed: u64,
    /// How many were skipped.
    pub skipped: u64,
    /// Nothing more starts.
    pub paused: bool,
}

impl Standing {
    fn of(board: &Board, stage: Stage, paused: bool) -> Standing {
        let count = |phase| board.count(stage, phase);
        Standing {
            objects: Phase::ALL.into_iter().map(count).sum(),
            through: Phase::ALL.into_iter().filter(|phase| phase.is_final()).map(count).sum(),
            running: count(Phase::Running),
            failed: count(Phase::Failed),
            skipped: count(Phase::Skipped),
            paused,
        }
    }

    fn text(&self) -> String {
        let paused = if self.paused && self.through < self.objects { "paused, " } else { "" };
        let mut text = format!("{paused}{} running", self.running);
        for (count, word) in [(self.failed, "failed"), (self.skipped, "skipped")] {
            if count > 0 {
                text += &format!(", {count} {word}");
            }
        }
        text
    }
}

/// Shows a run on stderr until it is over. Returns when it is.
pub async fn show(view: &View, run: RunId) {
    if std::io::stderr().is_terminal() { bars(view, run).await } else { lines(view, run).await }
}

fn standings(view: &View, run: RunId) -> (Option<[Standing; 3]>, bool) {
    view.read(|known| match known.history.run(run) {
        Some(run) => (
            run.board().map(|board| {
                let paused = run.paused().is_some();
                Stage::ALL.map(|stage| Standing::of(board, stage, paused))
            }),
            run.finished.is_some(),
        ),
        None => (None, true),
    })
}

/// A bar for each stage, on stderr.
pub struct Bars([ProgressBar; Stage::ALL.len()]);

impl Bars {
    /// Empty ones.
    pub fn new() -> Bars {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{prefix:>12} {bar:30.cyan/dim} {pos:>6}/{len} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = |stage: Stage| ProgressBar::new(0).with_style(style.clone()).with_prefix(stage.name());
        Bars(Stage::ALL.map(|stage| bars.add(bar(stage))))
    }

    /// Moves them.
    pub fn show(&self, standings: [Standing; Stage::ALL.len()]) {
        for (bar, standing) in self.0.iter().zip(standings) {
            bar.set_length(standing.objects);
            bar.set_position(standing.through);
            bar.set_message(standing.text());
        }
    }

    /// Leaves them as they are.
    pub fn abandon(&self) {
        self.0.iter().for_each(ProgressBar::abandon);
    }
}

impl Default for Bars {
    fn default() -> Bars {
        Bars::new()
    }
}

/// What the bars show, on a line.
pub fn line(standings: [Standing; Stage::ALL.len()]) -> String {
    let stages = Stage::ALL.into_iter().zip(standings);
    let text: Vec<String> = stages
        .map(|(stage, standing)| {
            format!("{stage} {}/{} ({})", standing.through, standing.objects, standing.text())
        })
        .collect();
    text.join("; ")
}

async fn bars(view: &View, run: RunId) {
    let bars = Bars::new();
    loop {
        let (standings, over) = standings(view, run);
        bars.show(standings.unwrap_or_default());
        if over {
            bars.abandon();
            return;
        }
        pause(view, REDRAW, run).await;
    }
}

async fn lines(view: &View, run: RunId) {
    let mut last = Instant::now();
    loop {
        let (standings, over) = standings(view, run);
        if over {
            return;
        }
        if last.elapsed() >= LINE_EVERY
            && let Some(standings) = standings
        {
            last = Instant::now();
            telemetry::say_to_people(line(standings));
        }
        pause(view, LINE_EVERY, run).await;
    }
}

/// Waits for the run's end, at most `limit`.
async fn pause(view: &View, limit: Duration, run: RunId) {
    view.wait_for(limit, |known| {
        known.history.run(run).is_none_or(|run| run.finished.is_some()).then_some(())
    })
    .await;
}
