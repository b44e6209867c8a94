//! What a run would do: what is selected, else the final objects and all that they need, in order.
//!
//! It knows the catalogue, not the log: whether an object was loaded already is the run's business.

use std::fmt;
use std::str::FromStr;

use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

use super::catalog::{Catalog, Found};
use super::graph::Graph;
use super::object::{Criticality, ObjectId, Stage};
use super::problem::{Problems, Tally, Warning, WarningKind, counted};
use super::selector::{Chosen, Selection};

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
    /// What is odd, the catalogue's own warnings included.
    pub warnings: Vec<Warning>,
    /// How many active objects are not run.
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
    /// Plans what is selected; where nothing is, every active final object and all that it needs.
    pub fn make(catalog: &Catalog, missing: Missing, selection: &Selection) -> Result<Plan, Problems> {
        let mut closure = Closure::new(catalog, missing);
        // Nodes are places in the catalogue's entries; behind them come the objects that no entry describes.
        let wanted: Vec<u32> = if selection.is_everything() {
            let entries = (0..).zip(catalog.entries());
            let finals = entries.filter(|(_, entry)| entry.active && entry.stage == Stage::Application);
            finals.map(|(node, _)| node).collect()
        } else {
            let chosen = selection.evaluate(catalog, missing).map_err(|found| catalog.report(found))?;
            closure.keep_to(chosen)
        };
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
        Ok(closure.plan())
    }

    /// The parents that the run loads before this object, in the order of the file.
    pub fn parents(&self, object: &Planned) -> &[ObjectId] {
        let [first, satisfied, _] = object.parents;
        &self.ids[first as usize..satisfied as usize]
    }

    /// The parents of this object that count as loaded: inactive ones, external ones, those that are not selected.
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
    /// Which entries may run, being active and, where there is a selection, in it: beside each other, they stay in the
    /// processor's cache.
    may_run: Vec<bool>,
    /// Whether there is a selection: then what no entry describes is run where it is in `implicit_nodes` already.
    selected: bool,
    outside: Option<Warning>,
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
            may_run: catalog.entries().iter().map(|entry| entry.active).collect(),
            selected: false,
            outside: None,
            implicit_ids: Vec::new(),
            implicit_nodes: FxHashMap::default(),
            external: FxHashSet::default(),
            external_tally: Tally::default(),
            problems: Found::default(),
        }
    }

    /// Lets nothing run but what is chosen. The nodes of that.
    fn keep_to(&mut self, chosen: Chosen) -> Vec<u32> {
        let Chosen { entries, undescribed, outside } = chosen;
        let mut nodes: Vec<u32> =
            (0..).zip(&entries).filter(|(_, chosen)| **chosen).map(|(i, _)| i).collect();
        nodes.extend(undescribed.into_iter().map(|id| self.implicit(id)));
        self.may_run = entries;
        self.selected = true;
        self.outside = outside;
        nodes
    }

    /// Whether a parent that no entry describes is run.
    fn runs_undescribed(&self, id: ObjectId) -> bool {
        self.missing == Missing::Implicit && (!self.selected || self.implicit_nodes.contains_key(&id))
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
            Some(i) if self.may_run[i] => Parent::Node(i as u32),
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
                Missing::Implicit if !self.runs_undescribed(id) => Parent::Satisfied,
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
                        if let Some(parent) = link.filter(|&parent| self.may_run[parent]) {
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

    fn plan(mut self) -> Plan {
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
        if !self.selected && not_needed > 0 {
            warnings.push(self.not_needed_warning(not_needed));
        }
        warnings.extend(self.outside.take());
        Plan { objects, ids, graph, warnings, not_needed }
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
            let runs = |id: ObjectId, link: Option<usize>| match link {
                Some(i) => self.may_run[i],
                None => self.runs_undescribed(id),
            };
            ids.extend(self.catalog.links(entry).filter(|&(id, link)| runs(id, link)).map(|(id, _)| id));
            let middle = ids.len() as u32;
            if (middle - first) as usize != self.catalog.parents(entry).len() {
                ids.extend(self.catalog.links(entry).filter(|&(id, link)| !runs(id, link)).map(|(id, _)| id));
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
