//! The members: who leads, who works, on what.

use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::{Object, Type};
use uuid::Uuid;

use super::RunView;
use crate::domain::event::{Epoch, RunId, time_text};
use crate::domain::member::{Members, Mono, WorkerState};
use crate::domain::object::{ObjectId, Stage};
use crate::domain::run::Run;

/// Who leads and who works.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Members)]
pub(in crate::api) struct WorkersView {
    leader: Option<LeaderView>,
    workers: Vec<WorkerView>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Leader)]
struct LeaderView {
    #[schema(value_type = u64)]
    epoch: Epoch,
    instance: Uuid,
    led: bool,
    silent_seconds: f64,
}

fn worker_state() -> Object {
    Object::builder()
        .schema_type(Type::String)
        .enum_values(Some(["up", "draining", "silent", "gone"]))
        .description(Some("`draining`: it finishes what it holds and takes nothing more."))
        .build()
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Worker)]
struct WorkerView {
    worker: String,
    instance: Uuid,
    stages: Vec<Stage>,
    slots: u32,
    foreign: bool,
    #[schema(schema_with = worker_state)]
    state: &'static str,
    silent_seconds: f64,
    running: Vec<HeldView>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Held)]
struct HeldView {
    run_id: RunId,
    id_objet: ObjectId,
    attempt: Option<u32>,
    /// When it was given to the worker.
    #[schema(format = DateTime)]
    since: Option<String>,
}

/// What runs and workers are but for what changes by itself: two looks between which nothing happened have the same one.
pub(in crate::api) fn signature(runs: &[RunView], workers: &WorkersView) -> u64 {
    let mut hasher = FxHasher::default();
    for run in runs {
        (run.run_id, run.state, run.planned_at.is_some()).hash(&mut hasher);
    }
    workers.leader.as_ref().map(|leader| (leader.epoch, leader.instance, leader.led)).hash(&mut hasher);
    for worker in &workers.workers {
        (worker.instance, worker.state, worker.slots).hash(&mut hasher);
        for held in &worker.running {
            (held.id_objet, held.attempt).hash(&mut hasher);
        }
    }
    hasher.finish()
}

impl WorkersView {
    /// The members as known at `now`. What a worker runs is the log's word, which is ahead of its heartbeat.
    pub(in crate::api) fn of(members: &Members, active: Option<&Run>, now: Mono) -> WorkersView {
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
                    .map(|i| {
                        let last = board.attempts(i).last();
                        HeldView {
                            run_id,
                            id_objet: board.object(i).id,
                            attempt: last.map(|attempt| attempt.number),
                            since: last.and_then(|last| last.assignment).map(|given| time_text(given.at)),
                        }
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
