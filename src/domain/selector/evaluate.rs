//! What a selection means in a catalogue: which of its objects are to be run.
//!
//! It walks over all active objects and, where they are run, the parents that no entry describes. A term costs at most one
//! look at every object and every edge.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};

use rustc_hash::{FxHashMap, FxHashSet};

use super::super::catalog::{Catalog, Entry, Found};
use super::super::object::{Criticality, ObjectId, Stage};
use super::super::plan::Missing;
use super::super::problem::{Problem, Tally, Warning, WarningKind};
use super::{ALL_LEVELS, Clause, MAX_WALKS, Method, Pattern, Role, Selection, Term, quoted, suggest};

/// So many wrong selectors are told what was meant: to find that out takes a look at every object.
const SUGGESTIONS: usize = 10;

/// The objects to be run.
pub(in crate::domain) struct Chosen {
    /// Whether it is chosen, for each of the catalogue's entries. All that are, are active.
    pub entries: Vec<bool>,
    /// Those that no entry describes, by id.
    pub undescribed: Vec<ObjectId>,
    /// The parents of chosen objects that would be run and are not chosen.
    pub outside: Option<Warning>,
}

impl Selection {
    /// The objects that it names.
    pub(in crate::domain) fn evaluate(&self, catalog: &Catalog, missing: Missing) -> Result<Chosen, Found> {
        let objects = Objects::new(catalog, missing);
        let mut problems = Found::default();
        for (i, wrong) in self.wrong.iter().enumerate() {
            problems.push(wrong.problem((i < SUGGESTIONS).then_some(catalog)));
        }
        let walks = self.walks();
        if walks > MAX_WALKS {
            problems.push(Problem::new(
                format!("{walks} selectors besides single ids: at most {MAX_WALKS} are looked for"),
                "name:* with a star matches many at once",
            ));
            return Err(problems);
        }
        let mut chosen = objects.nothing();
        if self.select.is_empty() {
            objects.mark(&objects.finals(), ALL_LEVELS, 0, &mut chosen);
        } else {
            objects.unite(&self.select, Role::Select, &mut chosen, &mut problems);
        }
        let mut excluded = objects.nothing();
        objects.unite(&self.exclude, Role::Exclude, &mut excluded, &mut problems);
        if problems.is_empty() {
            chosen.iter_mut().zip(&excluded).for_each(|(chosen, excluded)| *chosen &= !excluded);
            if !chosen.contains(&true) {
                problems.push(Problem::new(
                    "the selection is empty: the exclusions leave nothing of it",
                    "select more, or exclude less",
                ));
            }
        }
        if problems.is_empty() { Ok(objects.chosen(chosen)) } else { Err(problems) }
    }
}

/// Every object that could be run. A node is a place in the catalogue's entries; behind those come the objects that no
/// entry describes.
struct Objects<'a> {
    catalog: &'a Catalog,
    undescribed: Vec<ObjectId>,
    by_id: FxHashMap<ObjectId, u32>,
    children: OnceCell<Children>,
    /// Beside the entries: the sources' names.
    sources: OnceCell<Vec<Option<Cow<'a, str>>>>,
    suggestions: Cell<usize>,
}

/// The children of each node, one node's after another's.
struct Children {
    starts: Vec<u32>,
    nodes: Vec<u32>,
}

impl<'a> Objects<'a> {
    fn new(catalog: &'a Catalog, missing: Missing) -> Objects<'a> {
        let mut objects = Objects {
            catalog,
            undescribed: Vec::new(),
            by_id: FxHashMap::default(),
            children: OnceCell::new(),
            sources: OnceCell::new(),
            suggestions: Cell::new(0),
        };
        if missing == Missing::Implicit {
            for entry in catalog.entries().iter().filter(|entry| entry.active) {
                for (id, link) in catalog.links(entry) {
                    if link.is_none() && Stage::of_id(id).is_some() {
                        let next = (catalog.entries().len() + objects.undescribed.len()) as u32;
                        if *objects.by_id.entry(id).or_insert(next) == next {
                            objects.undescribed.push(id);
                        }
                    }
                }
            }
        }
        objects
    }

    fn len(&self) -> usize {
        self.catalog.entries().len() + self.undescribed.len()
    }

    fn nothing(&self) -> Vec<bool> {
        vec![false; self.len()]
    }

    /// The active entries, each with its node.
    fn active(&self) -> impl Iterator<Item = (u32, &'a Entry)> {
        (0..).zip(self.catalog.entries()).filter(|(_, entry)| entry.active)
    }

    fn finals(&self) -> Vec<u32> {
        self.active().filter(|(_, entry)| entry.stage == Stage::Application).map(|(node, _)| node).collect()
    }

    /// What must be loaded before a node, as far as it could be run.
    fn parents(&self, node: u32) -> impl Iterator<Item = u32> + '_ {
        let entries = self.catalog.entries();
        entries.get(node as usize).into_iter().flat_map(|entry| self.catalog.links(entry)).filter_map(
            |(id, link)| match link {
                Some(parent) => entries[parent].active.then_some(parent as u32),
                None => self.by_id.get(&id).copied(),
            },
        )
    }

    fn children(&self) -> &Children {
        self.children.get_or_init(|| {
            let mut starts = vec![0_u32; self.len() + 1];
            for (node, _) in self.active() {
                self.parents(node).for_each(|parent| starts[parent as usize + 1] += 1);
            }
            for i in 0..self.len() {
                starts[i + 1] += starts[i];
            }
            let mut free = starts.clone();
            let mut nodes = vec![0; starts[self.len()] as usize];
            for (node, _) in self.active() {
                for parent in self.parents(node) {
                    nodes[free[parent as usize] as usize] = node;
                    free[parent as usize] += 1;
                }
            }
            Children { starts, nodes }
        })
    }

    /// Marks what any of these names.
    fn unite(&self, clauses: &[Clause], role: Role, marked: &mut [bool], problems: &mut Found) {
        // What is walked over in the same way is walked over together.
        let mut alike: FxHashMap<(u32, u32), Vec<u32>> = FxHashMap::default();
        for clause in clauses {
            if let [term] = clause.terms.as_slice() {
                match self.matching(term, role) {
                    Ok(nodes) => alike.entry((term.up, term.down)).or_default().extend(nodes),
                    Err(problem) => problems.push(problem),
                }
                continue;
            }
            let mut sound = true;
            let mut common = vec![true; self.len()];
            for term in &clause.terms {
                let mut one = self.nothing();
                match self.matching(term, role) {
                    // Nothing but inactive objects: there is nothing to exclude.
                    Ok(nodes) if nodes.is_empty() => sound = false,
                    Ok(nodes) => self.mark(&nodes, term.up, term.down, &mut one),
                    Err(problem) => {
                        problems.push(problem);
                        sound = false;
                    }
                }
                common.iter_mut().zip(one).for_each(|(common, one)| *common &= one);
            }
            if sound && !common.contains(&true) {
                problems.push(Problem::new(
                    format!(
                        "the {role} {} leaves nothing: no object is in all of its parts",
                        quoted(&clause.text)
                    ),
                    "a,b is what is in both; write a b for what is in either",
                ));
            }
            if sound {
                marked.iter_mut().zip(common).for_each(|(marked, common)| *marked |= common);
            }
        }
        for ((up, down), nodes) in alike {
            self.mark(&nodes, up, down, marked);
        }
    }

    /// Marks these nodes, so many levels of what they need, and so many of what follows them.
    fn mark(&self, nodes: &[u32], up: u32, down: u32, marked: &mut [bool]) {
        nodes.iter().for_each(|&node| marked[node as usize] = true);
        if up > 0 {
            self.walk(nodes, up, marked, |node, reach| self.parents(node).for_each(reach));
        }
        if down > 0 {
            let Children { starts, nodes: children } = self.children();
            self.walk(nodes, down, marked, |node, reach| {
                let range = starts[node as usize] as usize..starts[node as usize + 1] as usize;
                children[range].iter().copied().for_each(reach);
            });
        }
    }

    fn walk(&self, nodes: &[u32], levels: u32, marked: &mut [bool], next: impl Fn(u32, &mut dyn FnMut(u32))) {
        // What is marked may have been so for another reason, and lead on all the same.
        let mut seen = self.nothing();
        let mut reached: Vec<u32> = Vec::new();
        let mut visit = |node: u32, reached: &mut Vec<u32>| {
            if !std::mem::replace(&mut seen[node as usize], true) {
                marked[node as usize] = true;
                reached.push(node);
            }
        };
        nodes.iter().for_each(|&node| visit(node, &mut reached));
        for _ in 0..levels {
            let from = std::mem::take(&mut reached);
            if from.is_empty() {
                return;
            }
            for node in from {
                next(node, &mut |node| visit(node, &mut reached));
            }
        }
    }

    /// The nodes that match. None at all only where inactive objects are excluded.
    fn matching(&self, term: &Term, role: Role) -> Result<Vec<u32>, Problem> {
        let mut inactive = 0;
        let mut nodes = Vec::new();
        let mut look = |matches: &mut dyn FnMut(usize, &Entry) -> bool| {
            for (i, entry) in self.catalog.entries().iter().enumerate() {
                if matches(i, entry) {
                    if entry.active {
                        nodes.push(i as u32);
                    } else {
                        inactive += 1;
                    }
                }
            }
        };
        match &term.method {
            Method::Id(id) => return self.by_id(*id, role),
            Method::Stage(stage) => {
                look(&mut |_, entry| entry.stage == *stage);
                nodes.extend(
                    self.undescribed().filter(|&(_, id)| Stage::of_id(id) == Some(*stage)).map(|(n, _)| n),
                );
            }
            Method::Criticality(criticality) => {
                look(&mut |_, entry| entry.criticality == *criticality);
                if *criticality == Criticality::default() {
                    nodes.extend(self.undescribed().map(|(node, _)| node));
                }
            }
            Method::Name(pattern) => {
                let mut buffer = Vec::new();
                look(&mut |_, entry| {
                    let name = self.catalog.name(entry);
                    !name.is_empty() && pattern.matches(&name, &mut buffer)
                });
            }
            Method::Source(pattern) => {
                let sources = self.sources.get_or_init(|| {
                    self.catalog.entries().iter().map(|entry| self.catalog.source(entry)).collect()
                });
                let mut buffer = Vec::new();
                look(&mut |i, _| {
                    sources[i].as_ref().is_some_and(|source| pattern.matches(source, &mut buffer))
                });
            }
        }
        if nodes.is_empty() && (inactive == 0 || role == Role::Select) {
            return Err(self.no_match(term, role, inactive));
        }
        Ok(nodes)
    }

    fn undescribed(&self) -> impl Iterator<Item = (u32, ObjectId)> + '_ {
        (self.catalog.entries().len() as u32..).zip(self.undescribed.iter().copied())
    }

    fn by_id(&self, id: ObjectId, role: Role) -> Result<Vec<u32>, Problem> {
        if let Some(i) = self.catalog.find(id) {
            let entry = &self.catalog.entries()[i];
            return match (entry.active, role) {
                (true, _) => Ok(vec![i as u32]),
                (false, Role::Exclude) => Ok(Vec::new()),
                (false, Role::Select) => Err(self.catalog.problem(
                    entry,
                    format!("the target {id} is inactive"),
                    "set its EtatObjet to actif, or leave it out",
                )),
            };
        }
        if let Some(&node) = self.by_id.get(&id) {
            return Ok(vec![node]);
        }
        let hint = self.suggestion(|| Some(suggest::ids(self.catalog, id)), "korch plan lists the ids");
        Err(Problem::new(format!("the target {id} is not in the catalogue"), hint).of_id(id))
    }

    fn no_match(&self, term: &Term, role: Role, inactive: usize) -> Problem {
        let text = quoted(&term.text);
        if inactive > 0 {
            return Problem::new(
                format!("the {role} {text} matches inactive objects only"),
                "set the EtatObjet of one to actif, or leave it out",
            );
        }
        let meant = |selector: Option<String>| selector.map(|selector| format!("did you mean {selector}?"));
        let hint = match &term.method {
            Method::Name(Pattern(name)) => self
                .suggestion(|| meant(suggest::name(self.catalog, name)), "no active object has such a name"),
            Method::Source(Pattern(source)) => self.suggestion(
                || meant(suggest::source(self.catalog, source)),
                "no active object has such a NomSource",
            ),
            Method::Stage(_) => "the catalogue has no object of this stage".to_owned(),
            Method::Criticality(_) => "the catalogue has no object of this criticality".to_owned(),
            Method::Id(_) => String::new(),
        };
        Problem::new(format!("the {role} {text} matches nothing"), hint)
    }

    /// A suggestion where it is one of the first, and there is one.
    fn suggestion(&self, meant: impl FnOnce() -> Option<String>, otherwise: &str) -> String {
        self.suggestions.set(self.suggestions.get() + 1);
        let meant = if self.suggestions.get() <= SUGGESTIONS { meant() } else { None };
        meant.unwrap_or_else(|| otherwise.to_owned())
    }

    fn chosen(&self, mut marked: Vec<bool>) -> Chosen {
        let mut outside = FxHashSet::default();
        for node in (0_u32..).zip(&marked).filter(|(_, marked)| **marked).map(|(node, _)| node) {
            outside.extend(self.parents(node).filter(|&parent| !marked[parent as usize]));
        }
        let entries = self.catalog.entries();
        let id = |node: u32| match entries.get(node as usize) {
            Some(entry) => entry.id,
            None => self.undescribed[node as usize - entries.len()],
        };
        let mut outside: Vec<ObjectId> = outside.into_iter().map(id).collect();
        outside.sort_unstable();
        let mut tally = Tally::default();
        outside.into_iter().for_each(|id| tally.add(id, || id.to_string()));
        let undescribed = marked.split_off(entries.len());
        let undescribed = undescribed.into_iter().zip(&self.undescribed).filter(|(chosen, _)| *chosen);
        Chosen {
            entries: marked,
            undescribed: undescribed.map(|(_, &id)| id).collect(),
            outside: tally.warning(
                WarningKind::NotSelected,
                "parent outside of the selection counts as loaded",
                "parents outside of the selection count as loaded",
            ),
        }
    }
}
