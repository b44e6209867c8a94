//! The shapes of the JSON that the API answers with. Looks at what is folded; decides nothing.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Timestamp;
use rustc_hash::FxHashSet;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::domain::attempt::{Attempt, Phase};
use crate::domain::board::Board;
use crate::domain::event::{Cause, Counts, Epoch, PlannedObject, RunId, name_of, time_text};
use crate::domain::history::{History, Summary};
use crate::domain::member::{Members, Mono, WorkerState};
use crate::domain::object::{Criticality, ObjectId, Stage};
use crate::domain::run::Run;
use crate::log::Record;

/// A run, whether it waits, is worked on or is long over.
#[derive(Debug, Serialize)]
pub(super) struct RunView {
    /// Its id.
    pub(super) run_id: RunId,
    /// `queued`, `running`, `succeeded`, `failed` or `cancelled`.
    pub(super) state: &'static str,
    /// Who asked for it.
    pub(super) requested_by: Option<String>,
    /// When it was asked for.
    pub(super) requested_at: Option<String>,
    /// When it was planned.
    pub(super) planned_at: Option<String>,
    /// When it ended.
    pub(super) finished_at: Option<String>,
    /// Why it ended so, where the outcome alone does not say.
    pub(super) reason: Option<String>,
    /// How many objects stand how.
    pub(super) counts: Counts,
    /// From request to end; of a run that goes on, until now.
    pub(super) duration_seconds: Option<f64>,
}

impl RunView {
    /// The view of a run that is kept in full.
    pub(super) fn of(run: &Run, now: Timestamp) -> RunView {
        let requested_at = run.request.as_ref().map(|(at, _)| *at);
        let board_counts = || {
            run.board().map_or_else(Counts::default, |board| Counts {
                objects: board.len() as u64,
                loaded: board.total(Phase::Loaded),
                failed: board.total(Phase::Failed),
                skipped: board.total(Phase::Skipped),
            })
        };
        let finished = run.finished.as_ref();
        let running_seconds = || {
            let began = requested_at.or(run.planned_at)?;
            Some(now.duration_since(began).as_secs_f64().max(0.0))
        };
        RunView {
            run_id: run.id,
            state: match finished {
                Some((_, finished)) => finished.outcome.name(),
                None if run.board().is_some() => "running",
                None => "queued",
            },
            requested_by: run.request.as_ref().and_then(|(_, request)| request.requested_by.clone()),
            requested_at: requested_at.map(time_text),
            planned_at: run.planned_at.map(time_text),
            finished_at: finished.map(|(at, _)| time_text(*at)),
            reason: finished.and_then(|(_, finished)| finished.reason.clone()),
            counts: finished.map_or_else(board_counts, |(_, finished)| finished.counts),
            duration_seconds: match finished {
                Some((_, finished)) => Some(finished.duration_seconds),
                None if run.board().is_some() => running_seconds(),
                None => None,
            },
        }
    }

    /// The view of a run of which a line is left.
    pub(super) fn of_summary(summary: &Summary) -> RunView {
        RunView {
            run_id: summary.run_id,
            state: summary.outcome.name(),
            requested_by: summary.requested_by.clone(),
            requested_at: summary.requested_at.map(time_text),
            planned_at: None,
            finished_at: Some(time_text(summary.finished_at)),
            reason: summary.reason.clone(),
            counts: summary.counts,
            duration_seconds: Some(summary.duration_seconds),
        }
    }
}

/// At most `limit` runs, the newest first.
pub(super) fn runs(history: &History, limit: usize, now: Timestamp) -> Vec<RunView> {
    enum Kept<'a> {
        Run(&'a Run),
        Line(&'a Summary),
    }
    let mut kept: Vec<(Option<Timestamp>, RunId, Kept<'_>)> = Vec::new();
    for run in history.runs() {
        let began = run.request.as_ref().map(|(at, _)| *at).or(run.planned_at);
        kept.push((began.or(run.finished.as_ref().map(|(at, _)| *at)), run.id, Kept::Run(run)));
    }
    for line in history.summaries() {
        kept.push((line.requested_at.or(Some(line.finished_at)), line.run_id, Kept::Line(line)));
    }
    kept.sort_by_key(|(at, id, _)| std::cmp::Reverse((*at, *id)));
    kept.truncate(limit);
    kept.into_iter()
        .map(|(_, _, kept)| match kept {
            Kept::Run(run) => RunView::of(run, now),
            Kept::Line(line) => RunView::of_summary(line),
        })
        .collect()
}

/// A run with every object.
#[derive(Debug, Serialize)]
pub(super) struct RunDetail<'a> {
    #[serde(flatten)]
    run: RunView,
    stages: Vec<StageView>,
    /// What is wrong with its catalogue, where that is why it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    problems: Option<&'a RawValue>,
    objects: Vec<ObjectView<'a>>,
}

/// How many objects of a stage stand how.
#[derive(Debug, Serialize)]
struct StageView {
    stage: Stage,
    objects: u64,
    waiting: u64,
    ready: u64,
    running: u64,
    retrying: u64,
    loaded: u64,
    failed: u64,
    skipped: u64,
}

impl StageView {
    fn all(run: &Run) -> Vec<StageView> {
        let Some(board) = run.board() else { return Vec::new() };
        let of = |stage| {
            let count = |phase| board.count(stage, phase);
            StageView {
                stage,
                objects: Phase::ALL.into_iter().map(count).sum(),
                waiting: count(Phase::Waiting),
                ready: count(Phase::Ready),
                running: count(Phase::Running),
                retrying: count(Phase::Retrying),
                loaded: count(Phase::Loaded),
                failed: count(Phase::Failed),
                skipped: count(Phase::Skipped),
            }
        };
        Stage::ALL.into_iter().map(of).collect()
    }
}

/// The states that somebody asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct States([bool; Phase::ALL.len()]);

impl States {
    /// Reads `failed,skipped`; nothing at all is no state.
    pub(super) fn parse(text: &str) -> Result<States, String> {
        let mut states = States::default();
        for name in text.split(',').filter(|name| !name.is_empty()) {
            let phase = Phase::ALL.into_iter().find(|phase| phase.name() == name);
            let phase = phase.ok_or_else(|| {
                let names: Vec<&str> = Phase::ALL.into_iter().map(Phase::name).collect();
                format!("state is one or more of {}, not {name:?}", names.join(","))
            })?;
            states.0[phase as usize] = true;
        }
        Ok(states)
    }

    fn has(self, phase: Phase) -> bool {
        self.0[phase as usize]
    }
}

/// The names of a run's objects in these states.
pub(super) fn some_names(run: &Run, states: States) -> Vec<Option<Box<str>>> {
    let Some(board) = run.board() else { return Vec::new() };
    let some = (0..board.len()).map(|i| states.has(board.phase(i)).then(|| name_of(&board.object(i).entry)));
    some.map(Option::flatten).collect()
}

#[derive(Debug, Serialize)]
struct ObjectView<'a> {
    id: ObjectId,
    name: Option<&'a str>,
    stage: Stage,
    criticality: Criticality,
    state: &'static str,
    parents: &'a [ObjectId],
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<&'a [ObjectId]>,
    attempts: Vec<AttemptView<'a>>,
}

#[derive(Debug, Serialize)]
struct AttemptView<'a> {
    attempt: u32,
    cause: Option<Cause>,
    worker: Option<&'a str>,
    ready_at: Option<String>,
    assigned_at: Option<String>,
    started_at: Option<String>,
    finished_at: Option<String>,
    duration_seconds: Option<f64>,
    error: Option<&'a str>,
    retryable: Option<bool>,
    stderr: Option<&'a str>,
}

impl<'a> RunDetail<'a> {
    /// The view of a run that is kept in full; `names` are those of its plan's objects, in its order.
    pub(super) fn of(run: &'a Run, names: &'a [Option<Box<str>>], now: Timestamp) -> RunDetail<'a> {
        RunDetail::of_some(run, names, now, States([true; Phase::ALL.len()]))
    }

    /// [`RunDetail::of`] with the objects in these states only.
    pub(super) fn of_some(
        run: &'a Run,
        names: &'a [Option<Box<str>>],
        now: Timestamp,
        states: States,
    ) -> RunDetail<'a> {
        let objects = run.board().map_or_else(Vec::new, |board| {
            let wanted = (0..board.len()).filter(|&i| states.has(board.phase(i)));
            wanted.map(|i| ObjectView::of(run, board, i, names)).collect()
        });
        let problems = run.finished.as_ref().and_then(|(_, finished)| finished.problems.as_deref());
        RunDetail { run: RunView::of(run, now), stages: StageView::all(run), problems, objects }
    }

    /// The view of a run of which a line is left: its objects are no longer known.
    pub(super) fn of_summary(summary: &Summary) -> RunDetail<'static> {
        RunDetail {
            run: RunView::of_summary(summary),
            stages: Vec::new(),
            problems: None,
            objects: Vec::new(),
        }
    }
}

impl<'a> ObjectView<'a> {
    fn of(run: &'a Run, board: &'a Board, i: usize, names: &'a [Option<Box<str>>]) -> ObjectView<'a> {
        let object = board.object(i);
        let phase = board.phase(i);
        let attempts = board.attempts(i);
        ObjectView {
            id: object.id,
            name: names.get(i).and_then(Option::as_deref),
            stage: object.stage,
            criticality: object.criticality,
            state: if run.finished.is_some() && !phase.is_final() { "cancelled" } else { phase.name() },
            parents: &object.parents,
            because: attempts.because(),
            attempts: attempts.all().iter().map(|attempt| AttemptView::of(run, attempt)).collect(),
        }
    }
}

impl<'a> AttemptView<'a> {
    fn of(run: &'a Run, attempt: &'a Attempt) -> AttemptView<'a> {
        let answer = attempt.answer.as_ref();
        let failure = answer.and_then(|answer| answer.failure.as_deref());
        let assigned = attempt.assignment.and_then(|assignment| run.worker_name(assignment.instance));
        AttemptView {
            attempt: attempt.number,
            cause: attempt.offer.and_then(|offer| offer.cause),
            worker: assigned.or(answer.and_then(|answer| answer.worker.as_ref())).map(|name| &**name),
            ready_at: attempt.offer.map(|offer| time_text(offer.at)),
            assigned_at: attempt.assignment.map(|assignment| time_text(assignment.at)),
            started_at: answer.and_then(|answer| answer.started_at).map(time_text),
            finished_at: answer.map(|answer| time_text(answer.at)),
            duration_seconds: answer.and_then(|answer| answer.duration_seconds),
            error: failure.map(|failure| failure.error.as_str()),
            retryable: failure.map(|failure| failure.retryable),
            stderr: failure.and_then(|failure| failure.stderr.as_deref()),
        }
    }
}

/// A plan as a graph.
#[derive(Debug, Serialize)]
pub(super) struct Dag {
    /// The objects, in the plan's order.
    pub(super) nodes: Vec<Node>,
    /// From each parent to its child.
    pub(super) edges: Vec<Edge>,
}

/// An object of a plan.
#[derive(Debug, Serialize)]
pub(super) struct Node {
    /// Its id.
    pub(super) id: ObjectId,
    /// Its name, else its id.
    pub(super) label: String,
    /// Its stage.
    pub(super) r#type: Stage,
}

/// That `target` waits for `source`.
#[derive(Debug, Serialize)]
pub(super) struct Edge {
    /// The parent.
    pub(super) source: ObjectId,
    /// The child.
    pub(super) target: ObjectId,
}

impl Dag {
    /// The graph of these objects.
    pub(super) fn of(objects: &[PlannedObject]) -> Dag {
        let label = |object: &PlannedObject| {
            name_of(&object.entry).map_or_else(|| object.id.to_string(), str::into_string)
        };
        Dag {
            nodes: objects
                .iter()
                .map(|object| Node { id: object.id, label: label(object), r#type: object.stage })
                .collect(),
            edges: edges(objects).map(|(source, target)| Edge { source, target }).collect(),
        }
    }

    /// The graph in Graphviz's language.
    pub(super) fn dot(&self) -> String {
        let mut dot = String::from(
            "digraph korch {\n  rankdir=LR;\n  node [shape=box, style=\"rounded,filled\", fontname=\"sans-serif\"];\n",
        );
        // Writing to a String cannot fail.
        for node in &self.nodes {
            let colour = match node.r#type {
                Stage::Ingest => "#dbeafe",
                Stage::Standardize => "#fef3c7",
                Stage::Application => "#dcfce7",
            };
            let id = node.id;
            let label = dot_text(&node.label);
            let _ = if node.label == id.to_string() {
                writeln!(dot, "  {id} [label=\"{id}\", fillcolor=\"{colour}\"];")
            } else {
                writeln!(dot, "  {id} [label=\"{id}\\n{label}\", fillcolor=\"{colour}\"];")
            };
        }
        for edge in &self.edges {
            let _ = writeln!(dot, "  {} -> {};", edge.source, edge.target);
        }
        dot.push_str("}\n");
        dot
    }
}

/// How large a plan is.
#[derive(Debug, Serialize)]
pub(super) struct DagSize {
    nodes: usize,
    edges: usize,
}

impl DagSize {
    /// The size of the graph of these objects.
    pub(super) fn of(objects: &[PlannedObject]) -> DagSize {
        DagSize { nodes: objects.len(), edges: edges(objects).count() }
    }
}

/// Every dependency inside the plan, once.
fn edges(objects: &[PlannedObject]) -> impl Iterator<Item = (ObjectId, ObjectId)> + '_ {
    let planned: FxHashSet<ObjectId> = objects.iter().map(|object| object.id).collect();
    objects.iter().flat_map(move |object| {
        let parents: BTreeSet<ObjectId> =
            object.parents.iter().copied().filter(|parent| planned.contains(parent)).collect();
        parents.into_iter().map(|parent| (parent, object.id))
    })
}

/// Text inside a quoted string of Graphviz.
fn dot_text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => escaped.extend(['\\', c]),
            '\n' => escaped.push_str("\\n"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Who leads and who works.
#[derive(Debug, Serialize)]
pub(super) struct WorkersView {
    leader: Option<LeaderView>,
    workers: Vec<WorkerView>,
}

#[derive(Debug, Serialize)]
struct LeaderView {
    epoch: Epoch,
    instance: Uuid,
    led: bool,
    silent_seconds: f64,
}

#[derive(Debug, Serialize)]
struct WorkerView {
    worker: String,
    instance: Uuid,
    stages: Vec<Stage>,
    slots: u32,
    foreign: bool,
    state: &'static str,
    silent_seconds: f64,
    running: Vec<HeldView>,
}

#[derive(Debug, Serialize)]
struct HeldView {
    run_id: RunId,
    id_objet: ObjectId,
    attempt: Option<u32>,
}

impl WorkersView {
    /// The members as known at `now`. What a worker runs is the log's word, which is ahead of its heartbeat.
    pub(super) fn of(members: &Members, active: Option<&Run>, now: Mono) -> WorkersView {
        let leader = members.reign().map(|(reign, heard)| LeaderView {
            epoch: reign.epoch,
            instance: reign.instance,
            led: members.is_led(now),
            silent_seconds: now.saturating_sub(*heard).as_secs_f64(),
        });
        let workers = members.workers().map(|known| {
            let heartbeat = &known.heartbeat;
            let board = active.and_then(|run| Some((run.id, run.board()?)));
            let running = board.map_or_else(Vec::new, |(run_id, board)| {
                board
                    .held(heartbeat.instance)
                    .into_iter()
                    .map(|i| HeldView {
                        run_id,
                        id_objet: board.object(i).id,
                        attempt: board.attempts(i).last().map(|attempt| attempt.number),
                    })
                    .collect()
            });
            WorkerView {
                worker: heartbeat.worker.clone(),
                instance: heartbeat.instance,
                stages: heartbeat.stages.clone(),
                slots: heartbeat.slots,
                foreign: heartbeat.foreign,
                state: match heartbeat.state {
                    WorkerState::Gone => "gone",
                    _ if known.is_silent(now) => "silent",
                    WorkerState::Draining => "draining",
                    WorkerState::Up => "up",
                },
                silent_seconds: now.saturating_sub(known.heard).as_secs_f64(),
                running,
            }
        });
        WorkersView { leader, workers: workers.collect() }
    }
}

/// `{"last_events":[…]}`, each event as it stands in the log.
pub(super) fn last_events(records: &[Arc<Record>]) -> Vec<u8> {
    let mut json =
        Vec::with_capacity(32 + records.iter().map(|record| record.value.len() + 1).sum::<usize>());
    json.extend_from_slice(b"{\"last_events\":[");
    for (i, record) in records.iter().enumerate() {
        if i > 0 {
            json.push(b',');
        }
        // What decoded as an event is JSON; bytes that are no UTF-8 can hide in a field that nobody reads.
        json.extend_from_slice(String::from_utf8_lossy(&record.value).as_bytes());
    }
    json.extend_from_slice(b"]}");
    json
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn graphviz_text_stays_inside_its_quotes() {
        assert_eq!(dot_text("a\"b\\c\nd\te"), "a\\\"b\\\\c\\nd e");
    }
}
