//! A run's graph as the page draws it: who needs whom, and where everything stands. Fixed for a plan, so made once and kept.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;
use utoipa::ToSchema;

use super::ask::path;
use super::objects::{Fields, no_object, run_and_object};
use super::problem::Problem;
use super::runs::{RunName, kept, names, run_id};
use super::{Answer, Ctx, Shared, blocking, json_bytes};
use crate::domain::event::{Entry, RunId};
use crate::domain::graph::Graph;
use crate::domain::layout::{self, Layout, Method, NODE_HEIGHT, NODE_WIDTH};
use crate::domain::object::{Criticality, ObjectId, Stage};
use crate::domain::run::{PlanKey, Run};

/// So many graphs are kept as text.
const KEPT_GRAPHS: usize = 4;
/// So many layouts are kept: those of last night's graphs are those of tonight's.
const KEPT_LAYOUTS: usize = 8;
/// So many names of an entry's fields are told.
const MOST_FIELDS: usize = 200;
/// The width of a group's box, its height, and the room between two.
const GROUP: (f64, f64, f64) = (240.0, 120.0, 140.0);

/// What was made before, the latest last.
#[derive(Default)]
pub(super) struct Pictures {
    /// Whole graphs as JSON. Held while one is made: whoever wants it too waits for it.
    graphs: tokio::sync::Mutex<VecDeque<(RunId, PlanKey, Bytes)>>,
    layouts: Mutex<VecDeque<(u64, Arc<Layout>)>>,
}

impl Pictures {
    /// The layout of a graph: that of an earlier one that was the same, else a new one.
    fn layout(&self, graph: &Graph, stages: &[Stage]) -> Arc<Layout> {
        let key = layout::fingerprint(graph, stages);
        if let Some((_, known)) = self.layouts.lock().iter().find(|(known, _)| *known == key) {
            return known.clone();
        }
        let made = Arc::new(Layout::of(graph, stages));
        let mut layouts = self.layouts.lock();
        if layouts.len() >= KEPT_LAYOUTS {
            layouts.pop_front();
        }
        layouts.push_back((key, made.clone()));
        made
    }
}

/// A plan as it is known at a time, outside the view's lock.
struct Plan {
    key: PlanKey,
    ids: Vec<ObjectId>,
    stages: Vec<Stage>,
    criticality: Vec<Criticality>,
    entries: Vec<Entry>,
    graph: Graph,
}

impl Plan {
    fn of(shared: &Shared, run: RunId) -> Result<Plan, Problem> {
        let plan = shared.api.view.read(|known| {
            let run = known.history.run(run)?;
            let (key, board) = (run.plan_key()?, run.board()?);
            let objects = board.objects();
            Some(Plan {
                key,
                ids: objects.iter().map(|object| object.id).collect(),
                stages: objects.iter().map(|object| object.stage).collect(),
                criticality: objects.iter().map(|object| object.criticality).collect(),
                entries: objects.iter().map(|object| object.entry.clone()).collect(),
                graph: board.graph().clone(),
            })
        });
        plan.ok_or_else(|| unplanned(shared, run))
    }
}

/// Why there is no graph of a run.
fn unplanned(shared: &Shared, run: RunId) -> Problem {
    let kept = shared.api.view.read(|known| kept(&known.history, run).map(drop));
    kept.err().unwrap_or_else(|| Problem::not_found(format!("run {run} is not planned: it has no graph")))
}

/// A whole graph, a field a column: objects are places in these arrays.
#[derive(Serialize, ToSchema)]
#[schema(as = Graph)]
struct GraphView<'a> {
    run_id: RunId,
    plan: String,
    objects: Columns<'a>,
    layout: LayoutView<'a>,
    groups: Groups,
    group_of: Vec<u32>,
    fields: Vec<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ObjectColumns)]
struct Columns<'a> {
    id: &'a [ObjectId],
    #[schema(value_type = Vec<Option<String>>)]
    name: &'a [Option<Box<str>>],
    stage: Vec<u8>,
    criticality: Vec<u8>,
    level: &'a [u32],
    parents: Vec<Vec<u32>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Layout)]
struct LayoutView<'a> {
    method: Method,
    node_width: f64,
    node_height: f64,
    width: f64,
    height: f64,
    x: &'a [f32],
    y: &'a [f32],
    bands: Vec<BandView>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Band)]
struct BandView {
    stage: u8,
    x0: f64,
    x1: f64,
}

impl<'a> LayoutView<'a> {
    fn of(layout: &'a Layout) -> LayoutView<'a> {
        let bands = layout.bands.iter();
        LayoutView {
            method: layout.method,
            node_width: NODE_WIDTH,
            node_height: NODE_HEIGHT,
            width: layout.width,
            height: layout.height,
            x: &layout.x,
            y: &layout.y,
            bands: bands.map(|&(stage, x0, x1)| BandView { stage: stage as u8, x0, x1 }).collect(),
        }
    }
}

/// The objects of each stage and column together, for graphs that are too large to show each.
#[derive(Default, Serialize, ToSchema)]
struct Groups {
    stage: Vec<u8>,
    level: Vec<u32>,
    objects: Vec<u32>,
    x: Vec<f64>,
    y: Vec<f64>,
    width: f64,
    height: f64,
    /// From a group to a group, and how many dependencies that are.
    edges: Vec<(u32, u32, u32)>,
}

impl Groups {
    /// The groups, and that of each object.
    fn of(plan: &Plan, columns: &[u32]) -> (Groups, Vec<u32>) {
        let (width, height, gap) = GROUP;
        let mut keys: Vec<(u32, u8)> =
            columns.iter().zip(&plan.stages).map(|(column, stage)| (*column, *stage as u8)).collect();
        let of_object = keys.clone();
        keys.sort_unstable();
        keys.dedup();
        let index: FxHashMap<(u32, u8), u32> = keys.iter().copied().zip(0..).collect();
        let group_of: Vec<u32> = of_object.iter().map(|key| index[key]).collect();
        let mut groups = Groups { objects: vec![0; keys.len()], ..Groups::default() };
        for &group in &group_of {
            groups.objects[group as usize] += 1;
        }
        for (at, &(column, stage)) in keys.iter().enumerate() {
            let above = keys[..at].iter().rev().take_while(|key| key.0 == column).count();
            #[allow(clippy::cast_precision_loss, reason = "a place in a picture")]
            let y = gap / 2.0 + height / 2.0 + above as f64 * (height + gap / 2.0);
            groups.stage.push(stage);
            groups.level.push(column);
            groups.x.push(gap / 2.0 + width / 2.0 + f64::from(column) * (width + gap));
            groups.y.push(y);
            groups.width = groups.width.max(f64::from(column + 1) * (width + gap));
            groups.height = groups.height.max(y + height / 2.0 + gap / 2.0);
        }
        let mut edges: FxHashMap<(u32, u32), u32> = FxHashMap::default();
        for (parent, child) in plan.graph.edges() {
            let (from, to) = (group_of[parent as usize], group_of[child as usize]);
            if from != to {
                *edges.entry((from, to)).or_default() += 1;
            }
        }
        groups.edges = edges.into_iter().map(|((from, to), count)| (from, to, count)).collect();
        groups.edges.sort_unstable();
        (groups, group_of)
    }
}

/// The names of all fields that entries have, in the order in which they come.
fn field_names(entries: &[Entry]) -> Vec<String> {
    let (mut names, mut seen) = (Vec::new(), FxHashSet::default());
    for entry in entries.iter().flatten() {
        let Ok(fields) = serde_json::from_str::<Fields<'_>>(entry.get()) else { continue };
        for name in fields.names() {
            if names.len() < MOST_FIELDS && seen.insert(name.to_owned()) {
                names.push(name.to_owned());
            }
        }
    }
    names
}

/// A run's graph, and where everything stands in a picture of it
///
/// Objects are places in the arrays: a field a column. Fixed for a plan.
#[utoipa::path(
    get, path = "/runs/{id}/graph", tag = "graph",
    params(("id" = RunName, Path, description = "The run.")),
    responses(
        (status = 200, description = "The graph.", body = GraphView<'static>),
        (status = 404, description = "There is no such run, it is not planned, or it is too long ago."),
    )
)]
pub(super) async fn graph(State(shared): Ctx, id: Result<Path<String>, PathRejection>) -> Answer {
    let id = run_id(&shared, &path(id)?)?;
    let key = shared.api.view.read(|known| known.history.run(id).and_then(Run::plan_key));
    let key = key.ok_or_else(|| unplanned(&shared, id))?;
    let mut graphs = shared.pictures.graphs.lock().await;
    if let Some((_, _, json)) = graphs.iter().find(|known| (known.0, known.1) == (id, key)) {
        return Ok(json_bytes(StatusCode::OK, json.clone()));
    }
    let (key, json) = blocking({
        let shared = shared.clone();
        move || render(&shared, id)
    })
    .await??;
    if graphs.len() >= KEPT_GRAPHS {
        graphs.pop_front();
    }
    graphs.push_back((id, key, json.clone()));
    Ok(json_bytes(StatusCode::OK, json))
}

fn render(shared: &Shared, id: RunId) -> Result<(PlanKey, Bytes), Problem> {
    let plan = Plan::of(shared, id)?;
    let names = names(shared, id);
    let layout = shared.pictures.layout(&plan.graph, &plan.stages);
    let (groups, group_of) = Groups::of(&plan, &layout.columns);
    let view = GraphView {
        run_id: id,
        plan: plan.key.to_string(),
        objects: Columns {
            id: &plan.ids,
            name: &names,
            stage: plan.stages.iter().map(|stage| *stage as u8).collect(),
            criticality: plan.criticality.iter().map(|criticality| *criticality as u8).collect(),
            level: &layout.columns,
            parents: (0..plan.ids.len()).map(|i| plan.graph.parents(i).collect()).collect(),
        },
        layout: LayoutView::of(&layout),
        groups,
        group_of,
        fields: field_names(&plan.entries),
    };
    let json = serde_json::to_vec(&view).map_err(|error| Problem::not_json(&error))?;
    Ok((plan.key, json.into()))
}

/// An object's ancestors and descendants, laid out by themselves.
#[derive(Serialize, ToSchema)]
struct Around<'a> {
    plan: String,
    /// The objects, as places in the whole graph.
    index: &'a [u32],
    layout: LayoutView<'a>,
}

/// An object's ancestors and descendants, laid out by themselves
#[utoipa::path(
    get, path = "/runs/{id}/graph/{object}", tag = "graph",
    params(
        ("id" = RunName, Path, description = "The run."),
        ("object" = ObjectId, Path, description = "The object."),
    ),
    responses(
        (status = 200, description = "A part of the graph.", body = Around<'static>),
        (status = 404, description = "There is no such run, it is not planned, or it has no such object."),
    )
)]
pub(super) async fn around(
    State(shared): Ctx,
    named: Result<Path<(String, String)>, PathRejection>,
) -> Answer {
    let (id, object) = run_and_object(&shared, named)?;
    let json = blocking(move || {
        let plan = Plan::of(&shared, id)?;
        let Some(at) = plan.ids.iter().position(|known| *known == object) else {
            return Err(no_object(id, object));
        };
        let index = kin(&plan.graph, at);
        let place: FxHashMap<u32, u32> = index.iter().copied().zip(0..).collect();
        let edges = index.iter().flat_map(|&child| {
            let parents = plan.graph.parents(child as usize);
            parents.filter_map(|parent| Some((*place.get(&parent)?, child))).collect::<Vec<_>>()
        });
        let edges: Vec<(u32, u32)> = edges.map(|(parent, child)| (parent, place[&child])).collect();
        let stages: Vec<Stage> = index.iter().map(|&i| plan.stages[i as usize]).collect();
        // A part of a graph without cycles has none.
        let graph = Graph::new(index.len(), edges).map_err(|_| Problem::internal())?;
        let layout = shared.pictures.layout(&graph, &stages);
        let view = Around { plan: plan.key.to_string(), index: &index, layout: LayoutView::of(&layout) };
        serde_json::to_vec(&view).map_err(|error| Problem::not_json(&error))
    })
    .await??;
    Ok(json_bytes(StatusCode::OK, json))
}

/// A node, all that it needs and all that needs it, in their order.
fn kin(graph: &Graph, node: usize) -> Vec<u32> {
    let mut kin = FxHashSet::default();
    #[allow(clippy::cast_possible_truncation, reason = "a graph's nodes are counted in u32")]
    let node = node as u32;
    kin.insert(node);
    for up in [true, false] {
        let mut rest = vec![node];
        while let Some(at) = rest.pop() {
            let next: Vec<u32> =
                if up { graph.parents(at as usize).collect() } else { graph.children(at as usize).collect() };
            rest.extend(next.into_iter().filter(|next| kin.insert(*next)));
        }
    }
    let mut kin: Vec<u32> = kin.into_iter().collect();
    kin.sort_unstable();
    kin
}
