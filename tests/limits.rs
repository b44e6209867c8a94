//! Limits and urgency, over random graphs: no limit is ever exceeded, a free slot is used whenever a ready object may use it,
//! and what is left behind is less urgent than what was started, or held back by a limit.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/night.rs"]
mod night;

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;
use korch::domain::attempt::Phase;
use korch::domain::board::Board;
use korch::domain::event::{Body, PlannedObject, Request, RunId};
use korch::domain::limit::Limit;
use korch::domain::object::{Criticality, Stage};
use korch::domain::rules::RulesAsked;
use night::{Fate, Night, TICK_MS, object};
use serde_json::value::RawValue;
use serde_json::{Value, json};

const SEEDS: u64 = 150;

/// Three stages, shared parents, entries with a source, a group and a flag.
fn lake(rng: &mut Rng) -> Vec<PlannedObject> {
    let mut objects: Vec<PlannedObject> = Vec::new();
    for (stage, first) in [(Stage::Ingest, 1000), (Stage::Standardize, 2000), (Stage::Application, 3000)] {
        let before = objects.len();
        for i in 0..rng.u64(3..25) {
            let mut parents: Vec<u64> = Vec::new();
            for _ in 0..if before == 0 { 0 } else { rng.usize(1..=3) } {
                let parent = objects[rng.usize(0..before)].id.0;
                if !parents.contains(&parent) {
                    parents.push(parent);
                }
            }
            let entry = json!({
                "NomSource": (["Sage", "EasyProjects", "Odoo"][rng.usize(0..3)]),
                "Groupe": rng.u8(0..4),
                "Actif": rng.bool(),
            });
            let criticality = [Criticality::Low, Criticality::Medium, Criticality::High][rng.usize(0..3)];
            objects.push(PlannedObject {
                criticality,
                entry: Some(Arc::from(RawValue::from_string(entry.to_string()).unwrap())),
                ..object(first + i, &parents)
            });
            debug_assert_eq!(objects.last().unwrap().stage, stage);
        }
    }
    objects
}

fn limits(rng: &mut Rng) -> Vec<Limit> {
    let all = [
        "source=easyprojects:2",
        "source=*:3",
        "stage=ingest:2",
        "stage=application:1",
        "criticality=high:2",
        "Groupe=*:1",
        "Groupe=3:1",
        "Actif=true:4",
        "Absent=x:1",
    ];
    (0..rng.usize(0..5)).map(|_| all[rng.usize(0..all.len())].parse().unwrap()).collect()
}

/// The value that a limit looks at, read for this test alone.
fn value(object: &PlannedObject, key: &str) -> Option<String> {
    let entry: Value = serde_json::from_str(object.entry.as_ref().unwrap().get()).unwrap();
    match key {
        "stage" => Some(object.stage.name().into()),
        "criticality" => Some(format!("{:?}", object.criticality).to_lowercase()),
        "source" => entry["NomSource"].as_str().map(str::to_lowercase),
        field => match &entry[field] {
            Value::Null => None,
            Value::String(text) => Some(text.to_lowercase()),
            other => Some(other.to_string()),
        },
    }
}

fn applies(limit: &Limit, object: &PlannedObject, to: &PlannedObject) -> bool {
    let (one, other) = (value(object, &limit.key), value(to, &limit.key));
    one.is_some() && one == other && (limit.value == "*" || one == Some(limit.value.to_lowercase()))
}

/// How urgent an object is: criticality, then the longest path ahead, by the times that the first night measured.
fn urgency(board: &Board, i: usize, takes_ms: &BTreeMap<u64, u64>) -> (Criticality, u64) {
    fn ahead(
        board: &Board,
        i: usize,
        takes_ms: &BTreeMap<u64, u64>,
        known: &mut BTreeMap<usize, u64>,
    ) -> u64 {
        if let Some(known) = known.get(&i) {
            return *known;
        }
        let children: Vec<usize> = board.children(i).collect();
        let rest = children.into_iter().map(|child| ahead(board, child, takes_ms, known)).max().unwrap_or(0);
        let sum = takes_ms[&board.object(i).id.0] + rest;
        known.insert(i, sum);
        sum
    }
    (board.object(i).criticality, ahead(board, i, takes_ms, &mut BTreeMap::new()))
}

struct Seen {
    full: usize,
    held_back: usize,
    left_behind: usize,
}

fn check(seed: u64, night: &Night, run: RunId, slots: &BTreeMap<Stage, usize>, seen: &mut Seen) {
    let Some(board) = night.history.run(run).unwrap().board() else { return };
    let limits = &board.rules().limits;
    let in_phase = |phase: Phase| (0..board.len()).filter(move |&i| board.phase(i) == phase);
    let running: Vec<usize> = in_phase(Phase::Running).collect();
    let used = |limit: &Limit, to: &PlannedObject| {
        running.iter().filter(|&&i| applies(limit, board.object(i), to)).count()
    };
    let is_full = |object: &PlannedObject| {
        limits
            .iter()
            .any(|limit| applies(limit, object, object) && used(limit, object) >= limit.most as usize)
    };
    for &i in &running {
        for limit in limits.iter().filter(|limit| applies(limit, board.object(i), board.object(i))) {
            let used = used(limit, board.object(i));
            assert!(used <= limit.most as usize, "seed {seed}: {used} run under {limit}");
            seen.full += usize::from(used == limit.most as usize);
        }
    }
    let loaded = |i: usize| board.parents(i).all(|parent| board.phase(parent) == Phase::Loaded);
    let waiting = in_phase(Phase::Waiting).filter(|&i| loaded(i));
    assert_eq!(waiting.count(), 0, "seed {seed}: what could run is not even offered");
    let started: Vec<usize> = night
        .said
        .iter()
        .rev()
        .take_while(|(at, _)| *at == night.ms)
        .filter_map(|(_, event)| match &event.body {
            Body::ObjectAssigned(assigned) => board.position(assigned.object),
            _ => None,
        })
        .collect();
    for i in in_phase(Phase::Ready) {
        let object = board.object(i);
        let busy = running.iter().filter(|&&at| board.object(at).stage == object.stage).count();
        if is_full(object) {
            seen.held_back += 1;
            continue;
        }
        assert!(
            busy >= slots[&object.stage],
            "seed {seed}: {} is ready, a slot is free, no limit is full",
            object.id
        );
        let urgent = urgency(board, i, &night.takes_ms);
        for &other in started.iter().filter(|&&other| board.object(other).stage == object.stage) {
            let started = urgency(board, other, &night.takes_ms);
            assert!(
                started >= urgent,
                "seed {seed}: {} {started:?} started before {} {urgent:?}",
                board.object(other).id,
                object.id
            );
            seen.left_behind += 1;
        }
    }
}

#[test]
fn no_limit_is_exceeded_no_slot_is_idle_and_the_urgent_go_first() {
    let mut seen = Seen { full: 0, held_back: 0, left_behind: 0 };
    for seed in 0..SEEDS {
        let mut rng = Rng::with_seed(seed);
        let objects = lake(&mut rng);
        let slots: BTreeMap<Stage, usize> = Stage::ALL.map(|stage| (stage, rng.usize(1..6))).into();
        let workers = slots.iter().map(|(stage, slots)| (*stage, *slots as u32)).collect();
        let mut night = Night::with(objects, workers);
        night.takes_ms = night.objects.iter().map(|object| (object.id.0, TICK_MS * rng.u64(1..60))).collect();
        // The first night measures, and has no limits.
        let first = night.run(Request::default());
        assert!(night.tale(first).starts_with("succeeded"));
        if rng.bool() {
            let flaky = night.objects[rng.usize(0..night.objects.len())].id;
            night.fates = [(flaky.0, Fate::Flaky(1))].into();
        }
        let rules = RulesAsked { retries: Some(1), limits: limits(&mut rng), ..RulesAsked::default() };
        let run = night.ask(Request { rules, ..Request::default() });
        while night.history.run(run).unwrap().finished.is_none() {
            night.pass(TICK_MS);
            check(seed, &night, run, &slots, &mut seen);
        }
        assert!(night.tale(run).starts_with("succeeded"), "seed {seed}: {}", night.tale(run));
    }
    // A property that never met its cases proves nothing.
    assert!(seen.full > 1_000 && seen.held_back > 1_000 && seen.left_behind > 1_000);
}
