//! What selectors select: by examples, against a reference that is made of networkx, and what is told of wrong ones.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;
use std::process::Command;

use bytes::Bytes;
use korch::domain::catalog::Catalog;
use korch::domain::object::ObjectId;
use korch::domain::plan::{Missing, Plan};
use korch::domain::problem::{Problems, WarningKind};
use korch::domain::selector::Selection;
use serde::Deserialize;

#[path = "support/python.rs"]
mod python;

/// Two sources lead to three objects each; 2009 and 1009 lead to no final object; 1007 and 2007 no entry describes.
const LAKE: &str = r#"[
    {"IdObjet":1001,"NomObjet":"EasyProjects - Projets","NomSource":"EasyProjects","Criticité":"haute"},
    {"IdObjet":1002,"NomObjet":"Sage - Clients","NomSource":"Sage"},
    {"IdObjet":1003,"NomObjet":"Sage - Vieux","NomSource":"Sage","EtatObjet":"inactif"},
    {"IdObjet":1009,"NomObjet":"Salesforce - Pistes","NomSource0LookupId":14},
    {"IdObjet":2001,"NomObjet":"Projets","IdObjet_Parent":1001},
    {"IdObjet":2002,"NomObjet":"Clients","IdObjet_Parent":"1002,1003","Criticité":"low"},
    {"IdObjet":2003,"NomObjet":"Temps passé","IdObjet_Parent":"1001;1007"},
    {"IdObjet":2009,"NomObjet":"Pistes","IdObjet_Parent":1009},
    {"IdObjet":3001,"NomObjet":"Portefeuille","IdObjet_Parent":"2001,2002","Criticité":"high"},
    {"IdObjet":3002,"NomObjet":"Rentabilité des projets","IdObjet_Parent":"2003,2007,3001"},
    {"IdObjet":3003,"NomObjet":"Ancien","EtatObjet":"archivé"}
]"#;

fn lake() -> Catalog {
    Catalog::parse("Objets.json", Bytes::from_static(LAKE.as_bytes())).unwrap()
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn plan(missing: Missing, select: &[&str], exclude: &[&str]) -> Result<Plan, Problems> {
    Plan::make(&lake(), missing, &Selection::parse(&owned(select), &owned(exclude)))
}

fn ids(plan: &Plan) -> BTreeSet<u64> {
    plan.objects.iter().map(|object| object.id.0).collect()
}

#[track_caller]
fn selects(select: &[&str], exclude: &[&str], expected: &[u64]) {
    let plan = plan(Missing::Implicit, select, exclude).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(ids(&plan), expected.iter().copied().collect(), "{select:?} without {exclude:?}");
}

#[test]
fn by_id_and_around() {
    selects(&["3001"], &[], &[3001]);
    selects(&["+3001"], &[], &[1001, 1002, 2001, 2002, 3001]);
    selects(&["1+3001"], &[], &[2001, 2002, 3001]);
    selects(&["0+3001+0"], &[], &[3001]);
    selects(&["2001+"], &[], &[2001, 3001, 3002]);
    selects(&["2001+1"], &[], &[2001, 3001]);
    selects(&["1001+1"], &[], &[1001, 2001, 2003]);
    // What is up and what is down of it, and not what the latter needs besides.
    selects(&["2+2003+1"], &[], &[1001, 1007, 2003, 3002]);
    selects(&["+2001+"], &[], &[1001, 2001, 3001, 3002]);
    // What no final object needs is run where it is asked for.
    selects(&["1009+"], &[], &[1009, 2009]);
    // What no entry describes is an object like others.
    selects(&["2007"], &[], &[2007]);
    selects(&["1007+"], &[], &[1007, 2003, 3002]);
    // A way through an inactive object is none.
    selects(&["+2002"], &[], &[1002, 2002]);
    selects(&["99999999999999999999+3001+0"], &[], &[1001, 1002, 2001, 2002, 3001]);
}

#[test]
fn by_method() {
    selects(&["stage:ingest"], &[], &[1001, 1002, 1007, 1009]);
    selects(&["STAGE:3-Application"], &[], &[3001, 3002]);
    selects(&["stage:Standardize"], &[], &[2001, 2002, 2003, 2007, 2009]);
    selects(&["source:easyprojects"], &[], &[1001]);
    selects(&["source:s*"], &[], &[1002]);
    selects(&["source:14+"], &[], &[1009, 2009]);
    selects(&["criticality:high"], &[], &[1001, 3001]);
    selects(&["criticality:Haute"], &[], &[1001, 3001]);
    selects(&["criticality:basse"], &[], &[2002]);
    selects(&["name:proj*"], &[], &[2001]);
    selects(&["name:*projets*"], &[], &[1001, 2001, 3002]);
    selects(&["name:rentabilité*"], &[], &[3002]);
    selects(&["name:RENTABILITÉ*"], &[], &[3002]);
    selects(&["name:client?"], &[], &[2002]);
    selects(&["name:\"Sage - Clients\"+"], &[], &[1002, 2002, 3001, 3002]);
    selects(&["1+name:Temps*"], &[], &[1001, 1007, 2003]);
    selects(&["+stage:application"], &[], &[1001, 1002, 1007, 2001, 2002, 2003, 2007, 3001, 3002]);
}

#[test]
fn together_in_common_and_without() {
    selects(&["3001", "2009"], &[], &[2009, 3001]);
    selects(&[" 3001  2009 "], &[], &[2009, 3001]);
    selects(&["+3001,stage:ingest"], &[], &[1001, 1002]);
    selects(&["+3001,+3002,stage:standardize", "1009"], &[], &[1009, 2001, 2002]);
    selects(&["+3002"], &["1001+"], &[1002, 1007, 2002, 2007]);
    selects(&[], &["2003"], &[1001, 1002, 1007, 2001, 2002, 2007, 3001, 3002]);
    selects(&[], &["stage:ingest stage:standardize", "3001"], &[3002]);
    selects(&["stage:application"], &["criticality:high,name:Porte*"], &[3002]);
    // Inactive objects are not run anyway.
    selects(&["3001"], &["3003"], &[3001]);
    selects(&["+3001"], &["name:*vieux"], &[1001, 1002, 2001, 2002, 3001]);
    selects(&["+3001"], &["name:*vieux,stage:ingest"], &[1001, 1002, 2001, 2002, 3001]);
}

#[test]
fn what_is_outside_counts_as_loaded() {
    let plan = plan(Missing::Implicit, &["3002", "2003"], &[]).unwrap();
    let of = |id: u64| plan.objects.iter().find(|object| object.id.0 == id).unwrap();
    let ids = |ids: &[u64]| ids.iter().map(|&id| ObjectId(id)).collect::<Vec<_>>();
    assert_eq!(plan.parents(of(3002)), ids(&[2003]));
    assert_eq!(plan.satisfied(of(3002)), ids(&[2007, 3001]));
    assert_eq!((plan.parents(of(2003)), plan.satisfied(of(2003))), (&[][..], &*ids(&[1001, 1007])));
    assert_eq!(plan.graph.depth(), 2);
    assert_eq!(plan.not_needed, 7);
    let warning = plan.warnings.last().unwrap();
    assert_eq!((warning.kind, warning.count), (WarningKind::NotSelected, 4));
    assert_eq!(
        warning.to_string(),
        "4 parents outside of the selection count as loaded: 1001, 1007, 2007, 3001"
    );
    // Nothing that no entry describes is run, so nothing is said of it.
    assert!(plan.warnings.iter().all(|warning| warning.kind != WarningKind::MissingParent));
    let one = self::plan(Missing::Implicit, &["+3001"], &["1002"]).unwrap();
    assert_eq!(
        one.warnings.last().unwrap().to_string(),
        "1 parent outside of the selection counts as loaded: 1002"
    );
    // What is inactive is told already.
    let satisfied = self::plan(Missing::Implicit, &["+2002"], &[]).unwrap();
    assert!(satisfied.warnings.iter().all(|warning| warning.kind != WarningKind::NotSelected));
}

#[test]
fn by_what_is_done_with_missing_parents() {
    let external = plan(Missing::External, &["+3002"], &[]).unwrap();
    assert_eq!(ids(&external), [1001, 1002, 2001, 2002, 2003, 3001, 3002].into());
    assert!(
        external
            .warnings
            .iter()
            .any(|warning| warning.to_string().contains("count as satisfied): 1007, 2007"))
    );
    assert!(external.warnings.iter().all(|warning| warning.kind != WarningKind::NotSelected));
    let unknown = plan(Missing::External, &["2007"], &[]).unwrap_err().to_string();
    assert!(unknown.contains("id 2007: the target 2007 is not in the catalogue"), "{unknown}");
    // A selected object without one of its parents is not sound, even where nothing of that is run.
    let error = plan(Missing::Error, &["3002"], &[]).unwrap_err();
    assert_eq!(error.count, 1, "{error}");
    assert!(
        error.to_string().contains("id 3002, line 11, column 5: the parent 2007 is described by no entry"),
        "{error}"
    );
    assert_eq!(ids(&plan(Missing::Error, &["+3001"], &[]).unwrap()).len(), 5);
}

#[test]
fn without_a_selector_it_is_every_final_object_with_what_it_needs() {
    let everything = plan(Missing::Implicit, &[], &[]).unwrap();
    let named = plan(Missing::Implicit, &["+stage:application"], &[]).unwrap();
    assert_eq!(ids(&everything), ids(&named));
    assert!(everything.warnings.iter().any(|warning| warning.kind == WarningKind::NotNeeded));
    assert!(named.warnings.iter().all(|warning| warning.kind != WarningKind::NotNeeded));
    assert_eq!(everything.not_needed, named.not_needed);
}

/// What is told, without the file's name, a line for each problem.
fn told(select: &[&str], exclude: &[&str]) -> Vec<String> {
    let problems = plan(Missing::Implicit, select, exclude).unwrap_err();
    let text = problems.to_string();
    let mut lines: Vec<String> =
        text.lines().map(|line| line.strip_prefix("Objets.json: ").unwrap().to_owned()).collect();
    lines.pop();
    assert_eq!(lines.len(), problems.count, "{text}");
    lines
}

#[test]
fn wrong_selectors_say_what_to_write() {
    let table = [
        ("", "the selector \"\", character 1: it is empty (hint: write an id such as 3005, or leave it out)"),
        (
            "3001, 3002",
            "the selector \"3001, 3002\", character 6: nothing follows the comma (hint: a,b without spaces is what is in both; a b is what is in either)",
        ),
        (
            ",3001",
            "the selector \",3001\", character 1: nothing stands before the comma (hint: a,b without spaces is what is in both; a b is what is in either)",
        ),
        (
            "été 3001,étape:x",
            "the selector \"été 3001,étape:x\", character 10: \"étape:\" is no method (hint: The methods are stage:, source:, criticality: and name:; an id stands alone: 3005)",
        ),
        (
            "+stge:ingest",
            "the selector \"+stge:ingest\", character 2: \"stge:\" is no method (hint: did you mean stage:? The methods are stage:, source:, criticality: and name:; an id stands alone: 3005)",
        ),
        (
            "stage:ingst",
            "the selector \"stage:ingst\", character 7: there is no stage \"ingst\" (hint: did you mean stage:ingest? A stage is ingest, standardize or application)",
        ),
        (
            "criticality:urgent+1",
            "the selector \"criticality:urgent+1\", character 13: there is no criticality \"urgent\" (hint: a criticality is low, medium or high (basse, moyenne or haute))",
        ),
        (
            "stage:",
            "the selector \"stage:\", character 7: nothing follows stage: (hint: a stage is ingest, standardize or application)",
        ),
        (
            "name:+",
            "the selector \"name:+\", character 6: nothing follows name: (hint: write a name, or its beginning and a star, as name:Proj*)",
        ),
        (
            "+",
            "the selector \"+\", character 2: nothing stands at the + (hint: +3005 is an object with all that it needs)",
        ),
        (
            "++3001",
            "the selector \"++3001\", character 1: \"++3001\" cannot be read (hint: a + stands before or behind an object, with a number at most: +3005, 2+3005, 3005+, 2+3005+1)",
        ),
        (
            "3001+3002",
            "the selector \"3001+3002\", character 1: 3001+3002 names two objects (hint: write 3001 3002 for both; a number at a + says how many levels: 2+3001)",
        ),
        (
            "1+12",
            "the selector \"1+12\", character 1: 1+12 can be read in two ways (hint: write 1+12+0 for what 12 needs, 0+1+12 for what follows 1)",
        ),
        (
            "3005.0",
            "the selector \"3005.0\", character 1: \"3005.0\" is no id (hint: an id is a number: 3005; name:3005.0 selects by name)",
        ),
        (
            "+Projet",
            "the selector \"+Projet\", character 2: \"Projet\" is no id (hint: did you mean name:Projets? An id is a number: 3005)",
        ),
        (
            "99999999999999999999",
            "the selector \"99999999999999999999\", character 1: \"99999999999999999999\" is out of range (hint: an id has at most sixteen digits)",
        ),
        (
            "name:\"Sage",
            "the selector \"name:\\\"Sage\", character 6: the quote is not closed (hint: write name:\"EasyProjects - Projets\")",
        ),
        (
            "name:\"Sage\"x",
            "the selector \"name:\\\"Sage\\\"x\", character 12: \"x\" follows the closing quote (hint: after a quote only + or +n may stand)",
        ),
        ("name:Projts", "the selector \"name:Projts\" matches nothing (hint: did you mean name:Projets?)"),
        (
            "1+name:Projt*",
            "the selector \"1+name:Projt*\" matches nothing (hint: did you mean name:Projets?)",
        ),
        (
            "name:sage",
            "the selector \"name:sage\" matches nothing (hint: did you mean name:\"Sage - Clients\"?)",
        ),
        ("name:zzz", "the selector \"name:zzz\" matches nothing (hint: no active object has such a name)"),
        ("source:Sagee", "the selector \"source:Sagee\" matches nothing (hint: did you mean source:Sage?)"),
        (
            "source:SAP",
            "the selector \"source:SAP\" matches nothing (hint: no active object has such a NomSource)",
        ),
        (
            "name:Ancien",
            "the selector \"name:Ancien\" matches inactive objects only (hint: set the EtatObjet of one to actif, or leave it out)",
        ),
        (
            "3001,3002",
            "the selector \"3001,3002\" leaves nothing: no object is in all of its parts (hint: a,b is what is in both; write a b for what is in either)",
        ),
        (
            "+3003",
            "entry 11, id 3003, line 12, column 5: the target 3003 is inactive (hint: set its EtatObjet to actif, or leave it out)",
        ),
        ("3011", "id 3011: the target 3011 is not in the catalogue (hint: did you mean 3001?)"),
        ("12", "id 12: the target 12 is not in the catalogue (hint: did you mean 1002?)"),
    ];
    for (selector, expected) in table {
        let lines = told(&[selector], &[]);
        assert_eq!(lines.last().unwrap(), expected, "{selector}");
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    assert_eq!(
        told(&["stage:x", "name:zzz 3011", "3003"], &["foo:1", "source:zzz"]),
        [
            "entry 11, id 3003, line 12, column 5: the target 3003 is inactive (hint: set its EtatObjet to actif, or leave it out)",
            "the selector \"stage:x\", character 7: there is no stage \"x\" (hint: a stage is ingest, standardize or application)",
            "the exclusion \"foo:1\", character 1: \"foo:\" is no method (hint: The methods are stage:, source:, criticality: and name:; an id stands alone: 3005)",
            "the selector \"name:zzz\" matches nothing (hint: no active object has such a name)",
            "id 3011: the target 3011 is not in the catalogue (hint: did you mean 3001?)",
            "the exclusion \"source:zzz\" matches nothing (hint: no active object has such a NomSource)",
        ]
    );
    assert_eq!(
        told(&["3001"], &["+3001"]),
        ["the selection is empty: the exclusions leave nothing of it (hint: select more, or exclude less)"]
    );
    // Without a catalogue, what cannot be read at least.
    let selection = Selection::parse(&owned(&["Projets"]), &owned(&["1,"]));
    let problems: Vec<String> = selection.problems().iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "the selector \"Projets\", character 1: \"Projets\" is no id (hint: an id is a number: 3005; name:Projets selects by name)",
            "the exclusion \"1,\", character 3: nothing follows the comma (hint: a,b without spaces is what is in both; a b is what is in either)",
        ]
    );
}

#[test]
fn no_selection_takes_longer_than_a_thousand_looks() {
    let many = ["name:*"; 1_001];
    let problems = plan(Missing::Implicit, &many, &[]).unwrap_err();
    assert!(problems.to_string().contains("1001 selectors besides single ids: at most 1000"), "{problems}");
    assert_eq!(ids(&plan(Missing::Implicit, &many[1..], &[]).unwrap()).len(), 9);
    assert_eq!(ids(&plan(Missing::Implicit, &["+3001"; 100_000], &[]).unwrap()).len(), 5);
}

#[derive(Deserialize)]
struct Line {
    catalogue: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    missing: String,
    select: Vec<String>,
    exclude: Vec<String>,
    #[serde(default)]
    objects: BTreeSet<u64>,
    #[serde(default)]
    edges: BTreeSet<(u64, u64)>,
    outside: Option<usize>,
    refused: Option<String>,
}

#[test]
fn as_networkx_has_it() {
    const CATALOGUES: usize = 500;
    let Some(python) = python::networkx() else { return };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/selectors/reference.py");
    let seed = std::env::var("KORCH_SEED").unwrap_or_else(|_| "1".into());
    let output = Command::new(python).arg(script).arg(CATALOGUES.to_string()).arg(&seed).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (mut lines, mut planned, mut refusals) = (0, 0, BTreeSet::new());
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        lines += 1;
        let Line { catalogue: json, cases } = serde_json::from_str(line).unwrap();
        let catalog = Catalog::parse("Objets.json", Bytes::from(json.clone().into_bytes()))
            .unwrap_or_else(|problems| panic!("{problems}\n{json}"));
        for case in cases {
            let what = format!(
                "{:?} without {:?}, missing {}, seed {seed}, line {lines}:\n{json}",
                case.select, case.exclude, case.missing
            );
            let selection = Selection::parse(&case.select, &case.exclude);
            let plan = Plan::make(&catalog, case.missing.parse().unwrap(), &selection);
            match (plan, case.refused) {
                (Ok(plan), None) => {
                    assert_eq!(ids(&plan), case.objects, "{what}");
                    let id = |place: u32| plan.objects[place as usize].id.0;
                    let edges: BTreeSet<(u64, u64)> =
                        plan.graph.edges().map(|(parent, child)| (id(parent), id(child))).collect();
                    assert_eq!(edges, case.edges, "{what}");
                    let loaded: usize = plan.objects.iter().map(|object| plan.parents(object).len()).sum();
                    assert_eq!(loaded, edges.len(), "{what}");
                    let outside =
                        plan.warnings.iter().find(|warning| warning.kind == WarningKind::NotSelected);
                    let outside = outside.map_or(0, |warning| warning.count);
                    assert_eq!(outside, case.outside.unwrap_or(0), "{what}");
                    planned += 1;
                }
                (Err(problems), Some(why)) => {
                    let text = match why.as_str() {
                        "unknown" => "is not in the catalogue",
                        why => why,
                    };
                    assert!(problems.to_string().contains(text), "{why}: {problems}\n{what}");
                    refusals.insert(why);
                }
                (Ok(plan), Some(why)) => panic!("{why}, yet it selects {:?}: {what}", ids(&plan)),
                (Err(problems), None) => panic!("{problems}\n{what}"),
            }
        }
    }
    assert_eq!(lines, CATALOGUES);
    assert!(planned > 1_000, "{planned}");
    assert_eq!(refusals.len(), 6, "every kind of refusal is met: {refusals:?}");
}
