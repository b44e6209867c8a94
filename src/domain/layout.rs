//! Where a graph's objects stand in a picture: a column for each step of the load, from left to right.
//!
//! Columns are korch's own, so that each stage has a band of its own. How a column's objects are ordered, so that few
//! edges cross, rust-sugiyama finds for graphs that it is quick for; beyond, objects stand near the middle of what they
//! are linked to. It knows nothing of runs.

use rustc_hash::FxHasher;
use std::hash::{Hash, Hasher};

use daggy::petgraph::stable_graph::{NodeIndex, StableDiGraph};
use rust_sugiyama::configure::{Config, CrossingMinimization, RankingType};
use serde::Serialize;
use utoipa::ToSchema;

use super::graph::Graph;
use super::object::Stage;

/// The width of an object, in CSS pixels at scale 1.
pub const NODE_WIDTH: f64 = 184.0;
/// The height of an object.
pub const NODE_HEIGHT: f64 = 44.0;
/// Between two objects of a column.
const ROW_GAP: f64 = 16.0;
/// Between two columns, where the edges run.
const COLUMN_GAP: f64 = 96.0;
/// Between the parts of one column that is folded.
const FOLD_GAP: f64 = 28.0;
/// Around everything.
const MARGIN: f64 = 40.0;
/// Where an edge passes a column on its way.
const PASSAGE: f64 = 6.0;

/// So many objects, and passages of edges between them, rust-sugiyama places in a second or two.
const LAYERED_NODES: usize = 2_000;
/// So many edges beside them.
const LAYERED_EDGES: usize = 6_000;
/// A column is not folded below so many rows.
const MIN_ROWS: usize = 16;
/// How wide a picture of many objects is, for its height.
const ASPECT: f64 = 1.8;
/// How often the columns are swept, there and back.
const SWEEPS: usize = 4;

/// How a picture was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = LayoutMethod)]
pub enum Method {
    /// By rust-sugiyama.
    Layered,
    /// By rank and stage.
    Ranks,
}

/// Where everything stands: the middles of objects, in CSS pixels at scale 1.
#[derive(Clone, Debug)]
pub struct Layout {
    /// How it was made.
    pub method: Method,
    /// The column of each object, from 0.
    pub columns: Vec<u32>,
    /// From the left.
    pub x: Vec<f32>,
    /// From the top.
    pub y: Vec<f32>,
    /// The width of it all.
    pub width: f64,
    /// The height of it all.
    pub height: f64,
    /// Where each stage's band begins and ends, for the stages that there are.
    pub bands: Vec<(Stage, f64, f64)>,
}

/// What a layout depends on, as a number: the same graph of the same stages has the same one.
pub fn fingerprint(graph: &Graph, stages: &[Stage]) -> u64 {
    let mut hasher = FxHasher::default();
    stages.hash(&mut hasher);
    graph.len().hash(&mut hasher);
    for edge in graph.edges() {
        edge.hash(&mut hasher);
    }
    hasher.finish()
}

impl Layout {
    /// Places every object of a graph.
    pub fn of(graph: &Graph, stages: &[Stage]) -> Layout {
        let columns = columns(graph, stages);
        let rows = Rows::of(graph, &columns);
        match sugiyama(graph, &columns) {
            Some(y) => rows.ordered_by(&y).place(Method::Layered, stages, Some(&y)),
            None => rows.swept(graph).place(Method::Ranks, stages, None),
        }
    }
}

/// The column of each object: right of its parents, and right of every object of an earlier stage.
fn columns(graph: &Graph, stages: &[Stage]) -> Vec<u32> {
    let mut columns = vec![0_u32; graph.len()];
    let mut first = 0;
    for stage in Stage::ALL {
        let mut next = first;
        for &i in graph.order() {
            let i = i as usize;
            if stages[i] != stage {
                continue;
            }
            // A parent of a later stage is odd but allowed: its edge runs to the left.
            let parents = graph.parents(i).filter(|&parent| stages[parent as usize] <= stage);
            columns[i] = parents.map(|parent| columns[parent as usize] + 1).fold(first, u32::max);
            next = next.max(columns[i] + 1);
        }
        first = next;
    }
    columns
}

/// The objects of each column, from top to bottom.
struct Rows {
    columns: Vec<u32>,
    rows: Vec<Vec<u32>>,
}

impl Rows {
    fn of(graph: &Graph, columns: &[u32]) -> Rows {
        let count = columns.iter().max().map_or(0, |last| *last as usize + 1);
        let mut rows = vec![Vec::new(); count];
        for i in 0..graph.len() {
            rows[columns[i] as usize].push(u32::try_from(i).unwrap_or(u32::MAX));
        }
        Rows { columns: columns.to_vec(), rows }
    }

    fn ordered_by(mut self, y: &[f64]) -> Rows {
        for row in &mut self.rows {
            row.sort_by(|&a, &b| y[a as usize].total_cmp(&y[b as usize]).then(a.cmp(&b)));
        }
        self
    }

    /// Orders each column by the middle of what its objects are linked to, there and back again.
    fn swept(mut self, graph: &Graph) -> Rows {
        let mut place = vec![0.0_f64; graph.len()];
        let settle = |row: &[u32], place: &mut Vec<f64>| {
            for (at, &i) in row.iter().enumerate() {
                #[allow(clippy::cast_precision_loss, reason = "a place in a picture")]
                let middle = (at as f64 + 0.5) / row.len() as f64;
                place[i as usize] = middle;
            }
        };
        for row in &self.rows {
            settle(row, &mut place);
        }
        for sweep in 0..2 * SWEEPS {
            let forth = sweep % 2 == 0;
            for at in 0..self.rows.len() {
                let at = if forth { at } else { self.rows.len() - 1 - at };
                let mean = |i: u32| {
                    let (mut sum, mut count) = (0.0, 0.0);
                    let mut add = |other: u32| {
                        sum += place[other as usize];
                        count += 1.0;
                    };
                    if forth {
                        graph.parents(i as usize).for_each(&mut add);
                    } else {
                        graph.children(i as usize).for_each(&mut add);
                    }
                    if count > 0.0 { sum / count } else { place[i as usize] }
                };
                let mut keyed: Vec<(f64, u32)> = self.rows[at].iter().map(|&i| (mean(i), i)).collect();
                keyed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                self.rows[at] = keyed.into_iter().map(|(_, i)| i).collect();
                settle(&self.rows[at], &mut place);
            }
        }
        self
    }

    /// Gives each object its place: at `y` where that makes no tower, else in rows that fill a screen.
    fn place(self, method: Method, stages: &[Stage], y: Option<&[f64]>) -> Layout {
        let n = self.columns.len();
        let (row_pitch, fold_pitch) = (NODE_HEIGHT + ROW_GAP, NODE_WIDTH + FOLD_GAP);
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let most = ((n as f64 * fold_pitch / (ASPECT * row_pitch)).sqrt() as usize).max(MIN_ROWS);
        let tallest = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let y = y.filter(|_| tallest <= most);

        let mut layout = Layout {
            method,
            x: vec![0.0; n],
            y: vec![0.0; n],
            width: 0.0,
            height: 0.0,
            bands: Vec::new(),
            columns: self.columns,
        };
        let tall = |count: usize| {
            #[allow(clippy::cast_precision_loss, reason = "a place in a picture")]
            let count = count as f64;
            count * row_pitch - ROW_GAP
        };
        let middle = MARGIN + tall(tallest.min(most)) / 2.0;
        let mut left = MARGIN;
        for row in &self.rows {
            // Parts of the same height, in the order of the column.
            let parts = row.len().div_ceil(most).max(1);
            let height = row.len().div_ceil(parts).max(1);
            for (part, objects) in row.chunks(height).enumerate() {
                #[allow(clippy::cast_precision_loss, reason = "a place in a picture")]
                let x = left + NODE_WIDTH / 2.0 + part as f64 * fold_pitch;
                for (at, &i) in objects.iter().enumerate() {
                    let i = i as usize;
                    let own = middle - tall(objects.len()) / 2.0 + tall(at + 1) - NODE_HEIGHT / 2.0;
                    layout.put(i, x, y.map_or(own, |y| MARGIN + y[i]));
                }
            }
            #[allow(clippy::cast_precision_loss, reason = "a place in a picture")]
            let width = NODE_WIDTH + (parts - 1) as f64 * fold_pitch;
            for stage in Stage::ALL {
                if row.iter().any(|&i| stages[i as usize] == stage) {
                    layout.widen(stage, left - COLUMN_GAP / 2.0, left + width + COLUMN_GAP / 2.0);
                }
            }
            left += width + COLUMN_GAP;
        }
        let lowest = layout.y.iter().copied().fold(0.0, f32::max);
        layout.width = (left - COLUMN_GAP + MARGIN).max(2.0 * MARGIN);
        layout.height = f64::from(lowest) + NODE_HEIGHT / 2.0 + MARGIN;
        layout
    }
}

impl Layout {
    fn put(&mut self, i: usize, x: f64, y: f64) {
        #[allow(clippy::cast_possible_truncation, reason = "a tenth of a pixel is fine enough")]
        let round = |place: f64| ((place * 10.0).round() / 10.0) as f32;
        (self.x[i], self.y[i]) = (round(x), round(y));
    }

    fn widen(&mut self, stage: Stage, from: f64, to: f64) {
        match self.bands.iter_mut().find(|band| band.0 == stage) {
            Some(band) => (band.1, band.2) = (band.1.min(from), band.2.max(to)),
            None => self.bands.push((stage, from, to)),
        }
    }
}

/// How far down rust-sugiyama puts each object; none where it would take too long. Each edge gets a passage through every
/// column between its ends, so that the columns that it finds are those that were given.
fn sugiyama(graph: &Graph, columns: &[u32]) -> Option<Vec<f64>> {
    let n = graph.len();
    let span = |parent: u32, child: u32| columns[child as usize].saturating_sub(columns[parent as usize]);
    let passages: usize =
        graph.edges().map(|(parent, child)| span(parent, child).saturating_sub(1) as usize).sum();
    if n + passages > LAYERED_NODES || graph.edge_count() + passages > LAYERED_EDGES {
        return None;
    }
    let mut drawn: StableDiGraph<f64, ()> =
        StableDiGraph::with_capacity(n + passages, graph.edge_count() + passages);
    for _ in 0..n {
        drawn.add_node(NODE_HEIGHT);
    }
    for (parent, child) in graph.edges() {
        let mut from = NodeIndex::new(parent as usize);
        match span(parent, child) {
            0 => continue, // it runs to the left, or within a column
            span => {
                for _ in 1..span {
                    let passage = drawn.add_node(PASSAGE);
                    drawn.add_edge(from, passage, ());
                    from = passage;
                }
            }
        }
        drawn.add_edge(from, NodeIndex::new(child as usize), ());
    }
    let config = Config {
        minimum_length: 1,
        vertex_spacing: ROW_GAP,
        dummy_vertices: true,
        dummy_size: 1.0,
        ranking_type: RankingType::MinimizeEdgeLength,
        c_minimization: CrossingMinimization::Barycenter,
        transpose: n + passages <= 300,
    };
    let mut y = vec![0.0; n];
    let mut top = 0.0;
    // Parts of the graph that nothing links stand one below the other; single objects last.
    let mut parts = rust_sugiyama::from_graph(&drawn, &|_, height: &f64| (*height, NODE_WIDTH), &config);
    parts.sort_by_key(|(objects, _, _)| {
        (objects.len() == 1, objects.iter().map(|(node, _)| node.index()).min())
    });
    for (objects, _, _) in parts {
        let half = |node: NodeIndex| drawn.node_weight(node).copied().unwrap_or(0.0) / 2.0;
        let upper = objects.iter().map(|(node, (at, _))| at - half(*node)).fold(f64::INFINITY, f64::min);
        let lower = objects.iter().map(|(node, (at, _))| at + half(*node)).fold(f64::NEG_INFINITY, f64::max);
        for (node, (at, _)) in &objects {
            if let Some(y) = y.get_mut(node.index()) {
                *y = top + at - upper;
            }
        }
        top += lower - upper + ROW_GAP;
    }
    apart(columns, &mut y);
    Some(y)
}

/// Moves objects of a column down where they would touch: parts that nothing links share columns.
fn apart(columns: &[u32], y: &mut [f64]) {
    let mut order: Vec<usize> = (0..y.len()).collect();
    order.sort_by(|&a, &b| columns[a].cmp(&columns[b]).then(y[a].total_cmp(&y[b])).then(a.cmp(&b)));
    for pair in 1..order.len() {
        let (above, i) = (order[pair - 1], order[pair]);
        if columns[above] == columns[i] {
            y[i] = y[i].max(y[above] + NODE_HEIGHT + ROW_GAP);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn layout(stages: &[Stage], edges: &[(u32, u32)]) -> Layout {
        Layout::of(&Graph::new(stages.len(), edges.iter().copied()).unwrap(), stages)
    }

    /// Nothing lies over anything, every object stands inside the picture, and in the band of its stage.
    fn check(layout: &Layout, stages: &[Stage]) {
        let mut boxes: Vec<(f32, f32)> = layout.x.iter().copied().zip(layout.y.iter().copied()).collect();
        for (i, (x, y)) in boxes.iter().enumerate() {
            let (x, y) = (f64::from(*x), f64::from(*y));
            assert!(x >= NODE_WIDTH / 2.0 && x + NODE_WIDTH / 2.0 <= layout.width, "object {i} at x {x}");
            assert!(y >= NODE_HEIGHT / 2.0 && y + NODE_HEIGHT / 2.0 <= layout.height, "object {i} at y {y}");
            let band = layout.bands.iter().find(|band| band.0 == stages[i]).unwrap();
            assert!(band.1 <= x && x <= band.2, "object {i} outside its band");
        }
        boxes.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        for pair in boxes.windows(2) {
            let apart =
                pair[1].0 - pair[0].0 >= NODE_WIDTH as f32 || pair[1].1 - pair[0].1 >= NODE_HEIGHT as f32;
            assert!(apart, "objects lie over each other at {pair:?}");
        }
    }

    fn random(rng: &mut fastrand::Rng, n: usize) -> (Vec<Stage>, Vec<(u32, u32)>) {
        let mut stages: Vec<Stage> = (0..n).map(|_| Stage::ALL[rng.usize(..3)]).collect();
        stages.sort_unstable();
        let mut edges = Vec::new();
        for child in 1..n as u32 {
            for _ in 0..rng.usize(..4) {
                edges.push((rng.u32(..child), child));
            }
        }
        (stages, edges)
    }

    #[test]
    fn nothing_lies_over_anything_in_any_picture() {
        let mut rng = fastrand::Rng::with_seed(4);
        for n in [0, 1, 2, 7, 30, 120, 400, 3000] {
            let (stages, edges) = random(&mut rng, n);
            check(&layout(&stages, &edges), &stages);
        }
    }

    #[test]
    fn children_stand_right_of_their_parents_and_stages_of_the_stages_before() {
        let mut rng = fastrand::Rng::with_seed(5);
        let (stages, edges) = random(&mut rng, 200);
        let made = layout(&stages, &edges);
        for (parent, child) in &edges {
            assert!(made.columns[*parent as usize] < made.columns[*child as usize]);
        }
        for band in made.bands.windows(2) {
            assert!(band[0].2 <= band[1].1, "bands overlap: {band:?}");
        }
    }

    #[test]
    fn an_odd_edge_to_an_earlier_stage_is_drawn_backwards() {
        let stages = [Stage::Ingest, Stage::Application];
        let made = layout(&stages, &[(1, 0)]);
        assert_eq!(made.columns, [0, 1]);
        check(&made, &stages);
    }

    #[test]
    fn few_edges_cross_where_none_must() {
        // A chain of pairs given in the worst order: each final object has a source of its own.
        let n = 20_u32;
        let stages: Vec<Stage> =
            (0..2 * n).map(|i| if i < n { Stage::Ingest } else { Stage::Application }).collect();
        let edges: Vec<(u32, u32)> = (0..n).map(|i| (i, 2 * n - 1 - i)).collect();
        for made in [layout(&stages, &edges), {
            let graph = Graph::new(stages.len(), edges.iter().copied()).unwrap();
            Rows::of(&graph, &columns(&graph, &stages)).swept(&graph).place(Method::Ranks, &stages, None)
        }] {
            let above = |a: u32, b: u32| made.y[a as usize] < made.y[b as usize];
            let crossing = edges.iter().flat_map(|a| edges.iter().map(move |b| (a, b)));
            let crossings = crossing.filter(|(a, b)| above(a.0, b.0) && above(b.1, a.1)).count();
            assert_eq!(crossings, 0, "{:?}", made.method);
        }
    }

    #[test]
    fn a_tall_column_is_folded() {
        let stages = vec![Stage::Ingest; 5000];
        let made = layout(&stages, &[]);
        check(&made, &stages);
        assert!(made.height < 2.0 * made.width && made.width < 4.0 * made.height);
    }

    #[test]
    fn the_same_graph_has_the_same_fingerprint() {
        let stages = [Stage::Ingest, Stage::Application];
        let of = |edges: &[(u32, u32)]| fingerprint(&Graph::new(2, edges.iter().copied()).unwrap(), &stages);
        assert_eq!(of(&[(0, 1)]), of(&[(0, 1), (0, 1)]));
        assert_ne!(of(&[(0, 1)]), of(&[]));
    }
}
