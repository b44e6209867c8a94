//! What the entries are to one another: ids that repeat, parents, cycles, stages.

use rustc_hash::FxHashMap;

use super::{Entry, Found};
use crate::domain::graph::find_cycles;
use crate::domain::object::{ObjectId, Stage};
use crate::domain::problem::{Problem, Tally, Warning, WarningKind, counted};

/// In the list of links: no entry describes this parent.
pub(super) const NO_ENTRY: u32 = u32::MAX;

/// From ids to entries.
#[derive(Clone, Debug)]
pub(super) enum Index {
    /// Ids close together: a table from the lowest on.
    Table { base: u64, entries: Vec<u32> },
    /// Any ids.
    Map(FxHashMap<u64, u32>),
}

impl Index {
    pub(super) fn new(entries: &[Entry], problems: &mut Found) -> Index {
        let base = entries.iter().map(|entry| entry.id.0).min().unwrap_or(0);
        let top = entries.iter().map(|entry| entry.id.0).max().unwrap_or(0);
        let mut repeats = |i: usize, earlier: u32| {
            let (entry, earlier) = (&entries[i], &entries[earlier as usize]);
            let mut problem = Problem::new(
                format!("duplicate id {}: entries {} and {}", entry.id, earlier.position, entry.position),
                "ids are unique: give one of them another, or remove it",
            )
            .at(entry.raw.start as usize);
            problem.position = Some(entry.position as usize);
            problem.id = Some(entry.id.to_string());
            problems.push(problem);
        };
        if top - base < 8 * entries.len() as u64 + 1024 {
            let mut table = vec![NO_ENTRY; (top - base) as usize + 1];
            for (i, entry) in entries.iter().enumerate() {
                let cell = &mut table[(entry.id.0 - base) as usize];
                if *cell == NO_ENTRY {
                    *cell = i as u32;
                } else {
                    repeats(i, *cell);
                }
            }
            return Index::Table { base, entries: table };
        }
        let mut map = FxHashMap::with_capacity_and_hasher(entries.len(), Default::default());
        for (i, entry) in entries.iter().enumerate() {
            let first = *map.entry(entry.id.0).or_insert(i as u32);
            if first != i as u32 {
                repeats(i, first);
            }
        }
        Index::Map(map)
    }

    pub(super) fn get(&self, id: ObjectId) -> Option<u32> {
        match self {
            Index::Table { base, entries } => {
                let at = id.0.checked_sub(*base)?;
                entries.get(usize::try_from(at).ok()?).copied().filter(|&entry| entry != NO_ENTRY)
            }
            Index::Map(map) => map.get(&id.0).copied(),
        }
    }

    /// The entry of each id. A look-up waits for memory, so several threads share the work.
    pub(super) fn links(&self, ids: &[ObjectId]) -> Vec<u32> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        if ids.len() < 100_000 || threads == 1 {
            return ids.iter().map(|&id| self.get(id).unwrap_or(NO_ENTRY)).collect();
        }
        let part_len = ids.len().div_ceil(threads);
        let mut links = vec![NO_ENTRY; ids.len()];
        std::thread::scope(|scope| {
            for (ids, links) in ids.chunks(part_len).zip(links.chunks_mut(part_len)) {
                scope.spawn(move || {
                    for (link, &id) in links.iter_mut().zip(ids) {
                        *link = self.get(id).unwrap_or(NO_ENTRY);
                    }
                });
            }
        });
        links
    }
}

/// Own parents and cycles. Whether every parent comes earlier than its child, by stage and then in the file.
pub(super) fn check_graph(
    entries: &[Entry],
    stages: &[Stage],
    parents: &[ObjectId],
    links: &[u32],
    problems: &mut Found,
) -> bool {
    let at_entry = |entry: &Entry, message: String, hint: &str| {
        let mut problem = Problem::new(message, hint).at(entry.raw.start as usize);
        problem.position = Some(entry.position as usize);
        problem.id = Some(entry.id.to_string());
        problem
    };
    // Where every parent comes earlier, by stage and then in the file, no path leads back.
    let mut ascending = true;
    for (i, entry) in (0_u32..).zip(entries) {
        for (&id, &link) in parents[entry.parents.range()].iter().zip(&links[entry.parents.range()]) {
            if id == entry.id {
                let message = "the object is its own parent".to_owned();
                problems.push(at_entry(entry, message, "remove its id from its IdObjet_Parent"));
            }
            if link != NO_ENTRY {
                ascending &= (stages[link as usize], link) < (entry.stage, i);
            }
        }
    }
    if ascending {
        return true;
    }
    // By id, so that each path begins with its lowest id.
    let mut by_id: Vec<u32> = (0..entries.len() as u32).collect();
    by_id.sort_by_key(|&i| entries[i as usize].id);
    let mut rank = vec![0_u32; entries.len()];
    for (place, &i) in by_id.iter().enumerate() {
        rank[i as usize] = place as u32;
    }
    let parents_of = |place: u32| {
        let i = by_id[place as usize];
        let entry = &entries[i as usize];
        let range = if entry.active { entry.parents.range() } else { 0..0 };
        let rank = &rank;
        links[range]
            .iter()
            .filter(move |&&link| link != NO_ENTRY && link != i && entries[link as usize].active)
            .map(move |&link| rank[link as usize])
    };
    for cycle in find_cycles(entries.len(), parents_of) {
        let along: Vec<&Entry> =
            cycle.0.iter().map(|&place| &entries[by_id[place as usize] as usize]).collect();
        let ids: Vec<String> = along.iter().chain(along.first()).map(|entry| entry.id.to_string()).collect();
        let mut positions: Vec<String> =
            along.iter().take(20).map(|entry| entry.position.to_string()).collect();
        if along.len() > positions.len() {
            positions.push("…".to_owned());
        }
        let message = format!("a cycle: {} (entries {})", path(&ids), positions.join(", "));
        problems.push(at_entry(along[0], message, "remove one of these parents"));
    }
    false
}

/// `2001 → 2003 → 2001`, its middle left out where it is long.
fn path(ids: &[String]) -> String {
    const SHOWN: usize = 20;
    if ids.len() <= 2 * SHOWN {
        return ids.join(" → ");
    }
    let left_out = ids.len() - 2 * SHOWN;
    format!("{} → … {left_out} more … → {}", ids[..SHOWN].join(" → "), ids[ids.len() - SHOWN..].join(" → "))
}

pub(super) fn no_final_object(entries: &[Entry]) -> Problem {
    let inactive = entries.iter().filter(|entry| entry.stage == Stage::Application).count();
    if inactive > 0 {
        return Problem::new(
            format!(
                "no final object at all: {}",
                counted(inactive, "is there but inactive", "are there but all inactive")
            ),
            "set the EtatObjet of one to actif",
        );
    }
    Problem::new(
        "no final object at all: nothing would be run",
        "a final object has an id of 3000 or above, or the Zone 3-Application",
    )
}

pub(super) fn stage_warnings(
    entries: &[Entry],
    stages: &[Stage],
    parents: &[ObjectId],
    links: &[u32],
) -> impl Iterator<Item = Warning> {
    let (mut sources, mut later) = (Tally::default(), Tally::default());
    for entry in entries {
        if entry.parents.len > 0 && entry.stage == Stage::Ingest {
            sources.add(entry.id, || entry.id.to_string());
        }
        for (&id, &link) in parents[entry.parents.range()].iter().zip(&links[entry.parents.range()]) {
            let stage = if link == NO_ENTRY { Stage::of_id(id) } else { Some(stages[link as usize]) };
            if let Some(stage) = stage.filter(|&stage| stage > entry.stage) {
                later.add(entry.id, || format!("{} ({}) needs {id} ({stage})", entry.id, entry.stage));
            }
        }
    }
    let sources = sources.warning(
        WarningKind::SourceWithParents,
        "source that has parents",
        "sources that have parents",
    );
    let later = later.warning(
        WarningKind::LaterParent,
        "parent of a later stage than its child",
        "parents of a later stage than their child",
    );
    sources.into_iter().chain(later)
}
