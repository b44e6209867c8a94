//! What a run would do: the final objects and all that they need, in order.
//!
//! It knows the catalogue, not the log: whether an object was loaded already is the run's business.

use std::fmt;
use std::str::FromStr;

use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

use super::catalog::{Catalog, Found};
use super::graph::Graph;
use super::object::{Criticality, ObjectId, Stage};
use super::problem::{Problem, Problems, Tally, Warning, WarningKind, counted};

/// What to do with a parent that no entry describes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// It is run, known by its id alone.
    #[default]
    Implicit,
    /// Someone else loads it: it counts as satisfied.
    External,
    /// It is a problem.
    Error,
}

impl Missing {
    /// Every policy.
    pub const ALL: [Missing; 3] = [Missing::Implicit, Missing::External, Missing::Error];

    /// The name used in flags and events.
    pub fn name(self) -> &'static str {
        match self {
            Missing::Implicit => "implicit",
            Missing::External => "external",
            Missing::Error => "error",
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Missing {
    type Err = String;

    fn from_str(text: &str) -> Result<Missing, String> {
        Missing::ALL
            .into_iter()
            .find(|missing| missing.name() == text)
            .ok_or_else(|| format!("unknown policy {text:?}: it is implicit, external or error"))
    }
}

/// The objects of a run and how they depend on one another.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Every object after its parents: by level, then by id.
    pub objects: Vec<Planned>,
    ids: Vec<ObjectId>,
    /// The graph of `objects`, its nodes numbered as they are.
    pub graph: Graph,
    /// The objects that were asked for, as places in `objects`.
    pub targets: Vec<u32>,
    /// What is odd, the catalogue's own warnings included.
    pub warnings: Vec<Warning>,
    /// How many active objects the targets do not need.
    pub not_needed: usize,
}

/// An object that will be run. Its parents are asked of the [`Plan`].
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its id.
    pub id: ObjectId,
    /// The stage that serves it.
    pub stage: Stage,
    /// How urgent it is.
    pub criticality: Criticality,
    /// Its place in the catalogue's entries; none where no entry describes it.
    pub entry: Option<u32>,
    /// In the plan's `ids`: where those of its parents that are run begin, where the satisfied ones begin, where they end.
    parents: [u32; 3],
}

const UNSEEN: u32 = u32::MAX;
const NO_OBJECT: u32 = u32::MAX;

impl Plan {
    /// Plans these targets, or every active final object where there are none, and all that they need.
    pub fn make(catalog: &Catalog, missing: Missing, targets: &[ObjectId]) -> Result<Plan, Problems> {
        let mut closure = Closure::new(catalog, missing);
        // Nodes are places in the catalogue's entries; behind them come the objects that no entry describes.
        let mut wanted = Vec::new();
        if targets.is_empty() {
            let entries = catalog.entries().iter().enumerate();
            let finals = entries.filter(|(_, entry)| entry.active && entry.stage == Stage::Application);
            wanted.extend(finals.map(|(i, _)| i as u32));
        }
        for &target in targets {
            match catalog.find(target) {
                Some(i) if catalog.entries()[i].active => wanted.push(i as u32),
                Some(i) => closure.problems.push(catalog.problem(
                    &catalog.entries()[i],
                    format!("the target {target} is inactive"),
                    "set its EtatObjet to actif, or leave it out",
                )),
                None if missing == Missing::Implicit
                    && Stage::of_id(target).is_some()
                    && is_parent(catalog, target) =>
                {
                    wanted.push(closure.implicit(target));
                }
                None => closure.problems.push(
                    Problem::new(
                        format!("the target {target} is not in the catalogue"),
                        suggestion(catalog, target),
                    )
                    .of_id(target),
                ),
            }
        }
        if catalog.is_ascending() {
            closure.sweep(&wanted);
        } else {
            for &node in &wanted {
                closure.visit(node);
            }
        }
        if !closure.problems.is_empty() {
            return Err(catalog.report(closure.problems));
        }
        Ok(closure.plan(&wanted, targets.is_empty()))
    }

    /// The parents that the run loads before this object, in the order of the file.
    pub fn parents(&self, object: &Planned) -> &[ObjectId] {
        let [first, satisfied, _] = object.parents;
        &self.ids[first as usize..satisfied as usize]
    }

    /// The parents of this object that count as loaded: inactive ones, external ones.
    pub fn satisfied(&self, object: &Planned) -> &[ObjectId] {
        let [_, satisfied, end] = object.parents;
        &self.ids[satisfied as usize..end as usize]
    }

    /// How many objects each stage has, in the order of [`Stage::ALL`].
    pub fn stage_counts(&self) -> [usize; 3] {
        let mut counts = [0; 3];
        for object in &self.objects {
            counts[object.stage.index()] += 1;
        }
        counts
    }

    /// The longest path by usual times: its length in milliseconds and the objects along it.
    pub fn critical_path(&self) -> (u64, Vec<usize>) {
        self.graph.critical_path(|node| self.objects[node].stage.usual_ms())
    }

    /// No run with this many slots a stage can be faster, by usual times, in milliseconds.
    pub fn lower_bound_ms(&self, slots: u64) -> u64 {
        self.lower_bound_beside_ms(self.critical_path().0, slots)
    }

    /// [`Plan::lower_bound_ms`] where the critical path's length is known already.
    pub fn lower_bound_beside_ms(&self, critical_path_ms: u64, slots: u64) -> u64 {
        let rounds = |stage: Stage, count: usize| (count as u64).div_ceil(slots.max(1)) * stage.usual_ms();
        let stages = Stage::ALL.into_iter().zip(self.stage_counts());
        stages.map(|(stage, count)| rounds(stage, count)).fold(critical_path_ms, u64::max)
    }
}

/// The objects that are needed, while they are being found.
struct Closure<'a> {
    catalog: &'a Catalog,
    missing: Missing,
    /// Each node's level, [`UNSEEN`] where nothing needs it so far.
    levels: Vec<u32>,
    /// Which entries are active: beside each other, they stay in the processor's cache.
    active: Vec<bool>,
    implicit_ids: Vec<ObjectId>,
    implicit_nodes: FxHashMap<ObjectId, u32>,
    external: FxHashSet<ObjectId>,
    external_tally: Tally,
    problems: Found,
}

/// What a parent is to the run.
enum Parent {
    Node(u32),
    Satisfied,
}

impl<'a> Closure<'a> {
    fn new(catalog: &'a Catalog, missing: Missing) -> Closure<'a> {
        Closure {
            catalog,
            missing,
            levels: vec![UNSEEN; catalog.entries().len()],
            active: catalog.entries().iter().map(|entry| entry.active).collect(),
            implicit_ids: Vec::new(),
            implicit_nodes: FxHashMap::default(),
            external: FxHashSet::default(),
            external_tally: Tally::default(),
            problems: Found::default(),
        }
    }

    /// The node of an object that no entry describes. It has no parents.
    fn implicit(&mut self, id: ObjectId) -> u32 {
        *self.implicit_nodes.entry(id).or_insert_with(|| {
            self.implicit_ids.push(id);
            self.levels.push(0);
            self.levels.len() as u32 - 1
        })
    }

    fn parent(&mut self, child: u32, id: ObjectId, link: Option<usize>) -> Parent {
        match link {
            Some(i) if self.active[i] => Parent::Node(i as u32),
            Some(_) => Parent::Satisfied,
            None => match self.missing {
                Missing::Implicit if Stage::of_id(id).is_none() => {
                    self.problems.push(self.catalog.problem(
                        &self.catalog.entries()[child as usize],
                        format!(
                            "the parent {id} is described by no entry, and an id below 1000 has no stage"
                        ),
                        "describe it with a Zone, or use --missing external",
                    ));
                    Parent::Satisfied
                }
                Missing::Implicit => Parent::Node(self.implicit(id)),
                Missing::External => {
                    if self.external.insert(id) {
                        self.external_tally.add(id, || id.to_string());
                    }
                    Parent::Satisfied
                }
                Missing::Error => {
                    self.problems.push(self.catalog.problem(
                        &self.catalog.entries()[child as usize],
                        format!("the parent {id} is described by no entry"),
                        "describe it, or use --missing implicit or --missing external",
                    ));
                    Parent::Satisfied
                }
            },
        }
    }

    /// [`Closure::visit`] of all these at once, where parents come before their children by stage and then in the file:
    /// down the stages to mark, up again for the levels, each time through memory in its order.
    fn sweep(&mut self, wanted: &[u32]) {
        let catalog = self.catalog;
        let entries = catalog.entries();
        let mut needed = vec![false; entries.len()];
        for &node in wanted.iter().filter(|&&node| (node as usize) < entries.len()) {
            needed[node as usize] = true;
        }
        for stage in Stage::ALL.into_iter().rev() {
            for (i, entry) in entries.iter().enumerate().rev() {
                if entry.stage == stage && needed[i] {
                    for (_, link) in catalog.links(entry) {
                        if let Some(parent) = link.filter(|&parent| self.active[parent]) {
                            needed[parent] = true;
                        }
                    }
                }
            }
        }
        for stage in Stage::ALL {
            for (i, entry) in entries.iter().enumerate() {
                if entry.stage == stage && needed[i] {
                    let mut level = 0;
                    for (id, link) in catalog.links(entry) {
                        if let Parent::Node(parent) = self.parent(i as u32, id, link) {
                            level = level.max(self.levels[parent as usize] + 1);
                        }
                    }
                    self.levels[i] = level;
                }
            }
        }
    }

    /// Marks a node and all that it needs, and finds their levels. The catalogue has no cycles among active objects.
    fn visit(&mut self, node: u32) {
        if self.levels[node as usize] != UNSEEN {
            return;
        }
        let catalog = self.catalog;
        let links = |node: u32| catalog.links(&catalog.entries()[node as usize]);
        let mut stack = vec![(node, links(node), 0_u32)];
        while let Some((node, rest, level)) = stack.last_mut() {
            if let Some((id, link)) = rest.next() {
                let (child, mut higher) = (*node, *level);
                if let Parent::Node(parent) = self.parent(child, id, link) {
                    match self.levels[parent as usize] {
                        UNSEEN => {
                            stack.push((parent, links(parent), 0));
                            continue;
                        }
                        below => higher = higher.max(below + 1),
                    }
                }
                *level = higher;
                continue;
            }
            let (node, level) = (*node, *level);
            self.levels[node as usize] = level;
            stack.pop();
            if let Some((_, _, waiting)) = stack.last_mut() {
                *waiting = (*waiting).max(level + 1);
            }
        }
    }

    fn id(&self, node: u32) -> ObjectId {
        let entries = self.catalog.entries();
        entries
            .get(node as usize)
            .map_or_else(|| self.implicit_ids[node as usize - entries.len()], |entry| entry.id)
    }

    fn plan(mut self, wanted: &[u32], all_finals: bool) -> Plan {
        let catalog = self.catalog;
        let entries = catalog.entries();
        let mut order: Vec<(u32, ObjectId, u32)> = (0_u32..)
            .zip(&self.levels)
            .filter(|&(_, &level)| level != UNSEEN)
            .map(|(node, &level)| (level, self.id(node), node))
            .collect();
        order.sort_unstable();
        let mut place = vec![NO_OBJECT; self.levels.len()];
        for (i, &(_, _, node)) in order.iter().enumerate() {
            place[node as usize] = i as u32;
        }

        let mut edges: Vec<(u32, u32)> = Vec::with_capacity(order.len());
        for (i, &(_, _, node)) in (0_u32..).zip(&order) {
            let Some(entry) = entries.get(node as usize) else { continue };
            let first = edges.len();
            for (id, link) in catalog.links(entry) {
                if let Parent::Node(parent) = self.parent(node, id, link) {
                    edges.push((place[parent as usize], i));
                }
            }
            edges[first..].sort_unstable();
        }
        // The two take about as long as each other.
        let (graph, (objects, ids)) = std::thread::scope(|scope| {
            let graph = scope.spawn(|| Graph::new(order.len(), edges));
            let objects = self.objects(&order);
            (graph.join(), objects)
        });
        let graph = match graph {
            Ok(Ok(graph)) => graph,
            Ok(Err(cycle)) => unreachable!("each parent has a lower level than its child, yet {cycle}"),
            Err(panic) => std::panic::resume_unwind(panic),
        };

        let active = entries.iter().filter(|entry| entry.active).count();
        let not_needed = active - objects.iter().filter(|object| object.entry.is_some()).count();
        let mut warnings = catalog.warnings().to_vec();
        warnings.extend(self.missing_warning());
        if all_finals && not_needed > 0 {
            warnings.push(self.not_needed_warning(not_needed));
        }
        let targets = wanted.iter().map(|&node| place[node as usize]).collect();
        Plan { objects, ids, graph, targets, warnings, not_needed }
    }

    /// The objects in this order, and the list that their parents are ranges of.
    fn objects(&self, order: &[(u32, ObjectId, u32)]) -> (Vec<Planned>, Vec<ObjectId>) {
        let entries = self.catalog.entries();
        let mut objects = Vec::with_capacity(order.len());
        let mut ids: Vec<ObjectId> = Vec::with_capacity(order.len());
        for &(_, id, node) in order {
            let first = ids.len() as u32;
            let Some(entry) = entries.get(node as usize) else {
                // An id without a stage was a problem.
                let stage = Stage::of_id(id).unwrap_or(Stage::Ingest);
                let criticality = Criticality::default();
                objects.push(Planned { id, stage, criticality, parents: [first; 3], entry: None });
                continue;
            };
            let runs = |link: Option<usize>| match link {
                Some(i) => self.active[i],
                None => self.missing == Missing::Implicit,
            };
            ids.extend(self.catalog.links(entry).filter(|&(_, link)| runs(link)).map(|(id, _)| id));
            let middle = ids.len() as u32;
            if (middle - first) as usize != self.catalog.parents(entry).len() {
                ids.extend(self.catalog.links(entry).filter(|&(_, link)| !runs(link)).map(|(id, _)| id));
            }
            let (stage, criticality) = (entry.stage, entry.criticality);
            let parents = [first, middle, ids.len() as u32];
            objects.push(Planned { id, stage, criticality, parents, entry: Some(node) });
        }
        (objects, ids)
    }

    fn missing_warning(&mut self) -> Option<Warning> {
        let mut implicit = Tally::default();
        for &id in &self.implicit_ids {
            implicit.add(id, || id.to_string());
        }
        let external = std::mem::take(&mut self.external_tally);
        implicit
            .warning(
                WarningKind::MissingParent,
                "parent that no entry describes (--missing implicit: it is run, known by its id alone)",
                "parents that no entry describes (--missing implicit: they are run, known by their ids alone)",
            )
            .or_else(|| {
                external.warning(
                    WarningKind::MissingParent,
                    "parent that no entry describes (--missing external: it counts as satisfied)",
                    "parents that no entry describes (--missing external: they count as satisfied)",
                )
            })
    }

    fn not_needed_warning(&self, count: usize) -> Warning {
        let entries = self.catalog.entries().iter().zip(&self.levels);
        let ids =
            entries.filter(|(entry, level)| entry.active && **level == UNSEEN).map(|(entry, _)| entry.id);
        let message = counted(
            count,
            "object that no final object needs: it is not run",
            "objects that no final object needs: they are not run",
        );
        Warning { kind: WarningKind::NotNeeded, count, ids: ids.take(10).collect(), message }
    }
}

/// Whether any entry names this id as a parent.
fn is_parent(catalog: &Catalog, id: ObjectId) -> bool {
    catalog.entries().iter().any(|entry| entry.active && catalog.parents(entry).contains(&id))
}

/// The ids that look most like this one.
fn suggestion(catalog: &Catalog, id: ObjectId) -> String {
    let text = id.to_string();
    let mut near: Vec<(usize, u64, ObjectId)> = Vec::new();
    for entry in catalog.entries().iter().filter(|entry| entry.active) {
        near.push((edits(&text, &entry.id.to_string()), entry.id.0.abs_diff(id.0), entry.id));
        if near.len() > 64 {
            near.sort_unstable();
            near.truncate(3);
        }
    }
    near.sort_unstable();
    match near.first() {
        Some(&(closest, ..)) if closest <= 2 => {
            let ids = near.iter().take(3).filter(|found| found.0 == closest).map(|found| found.2.to_string());
            format!("did you mean {}?", ids.collect::<Vec<_>>().join(", "))
        }
        _ => "korch plan lists the ids".to_owned(),
    }
}

/// How many digits must be changed, added, dropped or swapped to get from one to the other.
fn edits(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut rows = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = change.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
}
