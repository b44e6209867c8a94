//! What a user is told of a catalogue: every problem with file, position and id, all in one report.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::io::Write;
use std::path::Path;

use bytes::Bytes;
use korch::catalog_file;
use korch::domain::catalog::Catalog;
use korch::domain::object::{Criticality, ObjectId, Stage};
use korch::domain::plan::{Missing, Plan};
use korch::domain::problem::{Problems, WarningKind};
use korch::domain::selector::Selection;
use korch::plan_report;

fn parse(json: &str) -> Result<Catalog, Problems> {
    Catalog::parse("Objets.json", Bytes::copy_from_slice(json.as_bytes()))
}

fn good(json: &str) -> Catalog {
    parse(json).unwrap_or_else(|problems| panic!("{problems}"))
}

fn told(json: impl AsRef<[u8]>) -> Vec<String> {
    let problems = Catalog::parse("Objets.json", Bytes::copy_from_slice(json.as_ref())).unwrap_err();
    let text = problems.to_string();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let last = lines.pop().unwrap();
    let count = problems.count;
    assert_eq!(last, format!("Objets.json: {count} problem{}", if count == 1 { "" } else { "s" }));
    assert!(
        lines.iter().all(|line| line.starts_with("Objets.json: ") && line.contains("(hint: ")),
        "{lines:?}"
    );
    lines.iter().map(|line| line.strip_prefix("Objets.json: ").unwrap().to_owned()).collect()
}

fn ids(ids: &[u64]) -> Vec<ObjectId> {
    ids.iter().map(|&id| ObjectId(id)).collect()
}

fn plan(catalog: &Catalog, missing: Missing) -> Result<Plan, Problems> {
    Plan::make(catalog, missing, &Selection::default())
}

fn planned(plan: &Plan) -> Vec<u64> {
    plan.objects.iter().map(|object| object.id.0).collect()
}

/// Each input is followed by a final object, so that its own problem is the only one.
#[test]
fn one_problem_each() {
    let table = [
        (r#"{"NomObjet":"x"}"#, "entry 1, line 1, column 2: the entry has no IdObjet"),
        (r#"{"IdObjet":null}"#, "entry 1, line 1, column 2: the entry has no IdObjet"),
        (
            r#"{"IdObjet":"10a1"}"#,
            "entry 1, id \"10a1\", line 1, column 2: IdObjet is not a number: \"10a1\"",
        ),
        (r#"{"IdObjet":""}"#, "entry 1, id \"\", line 1, column 2: IdObjet is not a number: \"\""),
        (r#"{"IdObjet":true}"#, "IdObjet is not a number: true"),
        (r#"{"IdObjet":[1001]}"#, "IdObjet is not a number: [1001]"),
        (r#"{"IdObjet":-5}"#, "entry 1, id -5, line 1, column 2: IdObjet is out of range: -5"),
        (r#"{"IdObjet":1001.5}"#, "IdObjet is not a whole number: 1001.5"),
        (r#"{"IdObjet":9007199254740992}"#, "IdObjet is out of range: 9007199254740992"),
        (r#"{"IdObjet":"99999999999999999999999"}"#, "IdObjet is out of range: \"99999999999999999999999\""),
        (r#"{"IdObjet":7}"#, "entry 1, id 7, line 1, column 2: an id below 1000 and no Zone"),
        (r#"{"IdObjet":7,"Zone":"9-Or"}"#, "an id below 1000 and a Zone that is not known: \"9-Or\""),
        (r#"{"IdObjet":3999}"#, "entry 2, id 3999, line 2, column 1: duplicate id 3999: entries 1 and 2"),
        (
            r#"{"IdObjet":2001,"IdObjet_Parent":"1001,abc"}"#,
            "entry 1, id 2001, line 1, column 2: the parent is not a number: \"abc\"",
        ),
        (r#"{"IdObjet":2001,"IdObjet_Parent":[1001,{}]}"#, "the parent is not a number: {}"),
        (r#"{"IdObjet":2001,"IdObjet_Parent":-1}"#, "the parent is out of range: -1"),
        (r#"{"IdObjet":2001,"IdObjet_Parent":true}"#, "the parent is not a number: true"),
        (
            r#"{"IdObjet":2001,"IdObjet_Parent":"2001"}"#,
            "entry 1, id 2001, line 1, column 2: the object is its own parent",
        ),
        (
            r#"{"IdObjet":2001,"IdObjet_Parent":2003},{"IdObjet":2003,"IdObjet_Parent":2001}"#,
            "entry 1, id 2001, line 1, column 2: a cycle: 2001 → 2003 → 2001 (entries 1, 2)",
        ),
        ("17", "entry 1, line 1, column 2: the entry is not an object but a number: 17"),
        ("[]", "the entry is not an object but an array: []"),
        ("null", "the entry is not an object but null: null"),
    ];
    for (entry, expected) in table {
        let lines = told(format!("[{entry},\n{{\"IdObjet\":3999}}]"));
        assert_eq!(lines.len(), 1, "{entry}: {lines:?}");
        assert!(lines[0].contains(expected), "{entry}: {}\nexpected {expected}", lines[0]);
    }
}

#[test]
fn not_a_catalogue_at_all() {
    let table: [(&[u8], &str); 19] = [
        (b"", "line 1, column 1: not JSON: the file is empty"),
        (b" \n", "not JSON: the file is empty"),
        (b"\0\0\0\0", "line 1, column 1: not JSON: expected value"),
        (b"<html>", "line 1, column 1: not JSON: expected value"),
        (b"[{\"IdObjet\":1001}\n {}]", "line 2, column 2: not JSON: expected `,` or `]` after an entry"),
        (b"[{\"IdObjet\":1001},\n {\"IdObjet\" 3}]", "line 2, column 13: not JSON: expected `:`"),
        (b"\xEF\xBB\xBF[{\"IdObjet\" 3}]", "line 1, column 13: not JSON: expected `:`"),
        (b"[{\"\xC3\xA9\":1,\"IdObjet\" 3}]", "line 1, column 19: not JSON: expected `:`"),
        (b"[{\"IdObjet\":1001},]", "line 1, column 19: not JSON: expected value"),
        (b"[{\"IdObjet\":1001}", "line 1, column 18: not JSON: the array is not closed"),
        (b"[{\"IdObjet\":1001},", "line 1, column 19: not JSON: the array is not closed"),
        (b"[{\"IdObjet\":10", "not JSON: EOF while parsing"),
        (b"[", "not JSON: the array is not closed"),
        (b"[{\"IdObjet\":3001}]\nx", "line 2, column 1: not JSON: something follows the array's end"),
        (b"{\"IdObjet\":3001}", "line 1, column 1: not an array but an object"),
        (b"\"text\"", "not an array but a string"),
        (b"\xFF\xFE[\0", "not JSON: the file is UTF-16"),
        (
            b"[{\"IdObjet\":3001,\n\"NomObjet\":\"\xE9\"}]",
            "line 2, column 13: not JSON: a byte that is not UTF-8",
        ),
        (b"[]", "no final object at all: nothing would be run"),
    ];
    for (bytes, expected) in table {
        let lines = told(bytes);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].contains(expected),
            "{:?}: {}\nexpected {expected}",
            String::from_utf8_lossy(bytes),
            lines[0]
        );
    }
}

#[test]
fn every_problem_in_one_report() {
    let large = "x".repeat(256 * 1024);
    let json = format!(
        r#"[
{{"IdObjet":1001}},
{{"NomObjet":"no id"}},
{{"IdObjet":"abc"}},
{{"IdObjet":12}},
{{"IdObjet":1001}},
{{"IdObjet":1002,"NomObjet":"{large}"}},
{{"IdObjet":2001,"IdObjet_Parent":"2002, x7"}},
{{"IdObjet":2002,"IdObjet_Parent":["2003"]}},
{{"IdObjet":2003,"IdObjet_Parent":2001}},
{{"IdObjet":2004,"IdObjet_Parent":2004}},
"entry"
]"#
    );
    let lines = told(&json);
    let expected = [
        "entry 2, line 3, column 1: the entry has no IdObjet",
        "entry 3, id \"abc\", line 4, column 1: IdObjet is not a number",
        "entry 4, id 12, line 5, column 1: an id below 1000",
        "entry 5, id 1001, line 6, column 1: duplicate id 1001: entries 1 and 5",
        "entry 6, id 1002, line 7, column 1: the entry is too large: 262",
        "entry 7, id 2001, line 8, column 1: the parent is not a number: \"x7\"",
        "entry 7, id 2001, line 8, column 1: a cycle: 2001 → 2003 → 2002 → 2001 (entries 7, 9, 8)",
        "entry 10, id 2004, line 11, column 1: the object is its own parent",
        "entry 11, line 12, column 1: the entry is not an object but a string: \"entry\"",
        "no final object at all",
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}\nexpected {expected}");
    }
    let as_json = serde_json::to_value(parse(&json).unwrap_err()).unwrap();
    assert_eq!(as_json["count"], 10);
    assert_eq!(as_json["problems"][3]["position"], 5);
    assert_eq!(as_json["problems"][3]["id"], "1001");
    assert_eq!(as_json["problems"][3]["line"], 6);
    assert!(as_json["problems"][3]["hint"].as_str().is_some_and(|hint| !hint.is_empty()));
}

#[test]
fn a_long_report_is_cut_and_counted() {
    let json = format!("[{}]", vec!["{}"; 20_000].join(","));
    let problems = parse(&json).unwrap_err();
    let text = problems.to_string();
    assert_eq!(problems.count, 20_001);
    assert_eq!(text.lines().count(), 52);
    assert!(text.ends_with("Objets.json: … and 19951 more\nObjets.json: 20001 problems"), "{text}");
}

#[test]
fn knots_are_told_once_and_only_among_active_objects() {
    let knots = r#"[{"IdObjet":3001,"IdObjet_Parent":"3002,3003"},{"IdObjet":3002,"IdObjet_Parent":"3001,3003"},
        {"IdObjet":3003,"IdObjet_Parent":"3001,3002"},{"IdObjet":3010,"IdObjet_Parent":3011},{"IdObjet":3011,"IdObjet_Parent":3010}]"#;
    let lines = told(knots);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("a cycle: 3001 → 3002 → 3001 (entries 1, 2)"), "{}", lines[0]);
    assert!(lines[1].contains("a cycle: 3010 → 3011 → 3010 (entries 4, 5)"), "{}", lines[1]);
    good(
        r#"[{"IdObjet":3001,"IdObjet_Parent":3002},{"IdObjet":3002,"IdObjet_Parent":3001,"EtatObjet":"inactif"}]"#,
    );
}

#[test]
fn files() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let refused = |path: &Path| {
        let problems = match catalog_file::read(path) {
            Ok(bytes) => Catalog::parse(&path.display().to_string(), bytes).unwrap_err(),
            Err(problems) => problems,
        };
        let text = problems.to_string();
        assert!(text.starts_with(&format!("{}: ", path.display())) && text.contains("(hint: "), "{text}");
        text
    };
    assert!(refused(&path("none.json")).contains("no such file"));
    assert!(refused(folder.path()).contains("it is a directory"));

    let huge = fs::File::create(path("huge.json")).unwrap();
    huge.set_len(2 << 30).unwrap();
    assert!(refused(&path("huge.json")).contains("too large: 2147483648 bytes, at most 1 GiB"));

    fs::write(path("zeros.json"), vec![0; 3 << 20]).unwrap();
    assert!(refused(&path("zeros.json")).contains("line 1, column 1: not JSON"));

    fs::write(path("empty.json"), "").unwrap();
    assert!(refused(&path("empty.json")).contains("the file is empty"));

    let mut bom = fs::File::create(path("bom.json")).unwrap();
    bom.write_all("\u{feff}[{\"IdObjet\":3001}]".as_bytes()).unwrap();
    let read = catalog_file::read(&path("bom.json")).unwrap();
    assert_eq!(Catalog::parse("bom.json", read).unwrap().entries().len(), 1);

    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert!(refused(Path::new("/dev/zero")).contains("line 1, column 1: not JSON"));
        assert!(refused(Path::new("/dev/null")).contains("the file is empty"));
        fs::write(path("secret.json"), "[]").unwrap();
        fs::set_permissions(path("secret.json"), fs::Permissions::from_mode(0o000)).unwrap();
        // Root may read it all the same.
        if fs::File::open(path("secret.json")).is_err() {
            assert!(refused(&path("secret.json")).contains("no permission"));
        }
    }
}

#[test]
fn parents_in_every_shape() {
    let table: [(&str, &[u64]); 14] = [
        ("null", &[]),
        ("2001", &[2001]),
        ("\"\"", &[]),
        ("\" \"", &[]),
        ("\"2001\"", &[2001]),
        ("\"2012,2008, 2008\"", &[2012, 2008]),
        ("\"2012;2008;\"", &[2012, 2008]),
        ("\" 2012 ; 2008,2001 \"", &[2012, 2008, 2001]),
        ("\"\\u0032001\\t,2002\"", &[2001, 2002]),
        ("[]", &[]),
        ("[2001,2002,2001]", &[2001, 2002]),
        ("[\"2001\",2002]", &[2001, 2002]),
        ("[\"2001;2003\",null,2002]", &[2001, 2003, 2002]),
        ("[ \"2003\" , 2001 ]", &[2003, 2001]),
    ];
    for (shape, expected) in table {
        let catalog = good(&format!("[{{\"IdObjet\":3001,\"IdObjet_Parent\":{shape}}}]"));
        assert_eq!(catalog.parents(&catalog.entries()[0]), ids(expected), "{shape}");
    }
    let many: Vec<String> = (0..100).chain(0..100).map(|i| (2000 + i).to_string()).collect();
    let catalog = good(&format!("[{{\"IdObjet\":3001,\"IdObjet_Parent\":\"{}\"}}]", many.join(",")));
    assert_eq!(catalog.parents(&catalog.entries()[0]).len(), 100);
}

#[test]
fn fields() {
    let raw = "{ \"IdObjet\" : \"3001\",\"NomObjet\":\"Été \\\"chaud\\\"\",\"Criticit\u{e9}\":\"Haute\",\
               \"Fr\u{e9}quence\":\"0 * * * *\",\"Autre\":{\"IdObjet\":[1,{\"a\":\"}]\"}]} }";
    let nfd = "{\"IdObjet\":3002,\"Criticite\u{301}\":\"basse\",\"Fre\u{301}quence\":\"5 4 * * *\",\"EtatObjet\":\"ACTIF\"}";
    let catalog = good(&format!("[{raw}, {nfd}, {{\"IdObjet\":3,\"Zone\":\"1-Raw\",\"NomObjet\":null}}]"));
    let [first, second, third] = catalog.entries() else { panic!() };
    assert_eq!(catalog.raw(first), raw);
    assert_eq!(catalog.raw_bytes(second), nfd);
    assert_eq!((catalog.name(first), catalog.frequency(first)), ("Été \"chaud\"".into(), "0 * * * *".into()));
    assert_eq!((first.id, first.criticality, first.active), (ObjectId(3001), Criticality::High, true));
    assert_eq!((second.criticality, second.active), (Criticality::Low, true));
    assert_eq!(catalog.frequency(second), "5 4 * * *");
    assert_eq!((third.stage, third.criticality, third.position), (Stage::Ingest, Criticality::Medium, 3));
    assert_eq!(catalog.name(third), "");
    assert_eq!(catalog.find(ObjectId(3002)), Some(1));
    assert_eq!(catalog.find(ObjectId(2)), None);
    assert!(catalog.warnings().is_empty(), "{:?}", catalog.warnings());
}

#[test]
fn ids_far_apart() {
    let catalog = good(r#"[{"IdObjet":9007199254740991,"IdObjet_Parent":1001},{"IdObjet":1001}]"#);
    assert_eq!(catalog.find(ObjectId((1 << 53) - 1)), Some(0));
    assert_eq!(catalog.find(ObjectId(1002)), None);
    let lines = told(r#"[{"IdObjet":9007199254740991},{"IdObjet":1001},{"IdObjet":1001}]"#);
    assert!(lines[0].contains("duplicate id 1001: entries 2 and 3"), "{lines:?}");
}

#[test]
fn warnings() {
    let table = [
        (
            r#"{"IdObjet":1001,"Zone":"2-Standardized"}"#,
            WarningKind::ZoneDisagrees,
            "1001 (standardize by Zone, ingest by id)",
        ),
        (r#"{"IdObjet":1001,"Zone":"brut"}"#, WarningKind::UnknownZone, "1001 (\"brut\")"),
        (r#"{"IdObjet":1001,"Criticité":"vitale"}"#, WarningKind::UnknownCriticality, "1001 (\"vitale\")"),
        (
            r#"{"IdObjet":1001,"IdObjet_Parent":1002}"#,
            WarningKind::SourceWithParents,
            "1 source that has parents: 1001",
        ),
        (
            r#"{"IdObjet":2001,"IdObjet_Parent":3999}"#,
            WarningKind::LaterParent,
            "2001 (standardize) needs 3999 (application)",
        ),
        (
            r#"{"IdObjet":1001,"EtatObjet":"archivé"}"#,
            WarningKind::Inactive,
            "1 inactive object (never run, counts as satisfied): 1001",
        ),
    ];
    for (entry, kind, expected) in table {
        let catalog = good(&format!("[{entry},{{\"IdObjet\":3999}}]"));
        let [warning] = catalog.warnings() else { panic!("{entry}: {:?}", catalog.warnings()) };
        assert_eq!((warning.kind, warning.count), (kind, 1), "{entry}");
        assert!(warning.to_string().contains(expected), "{entry}: {warning}");
    }
    let inactive: Vec<String> =
        (0..25).map(|i| format!("{{\"IdObjet\":{},\"EtatObjet\":\"\"}}", 1000 + i)).collect();
    let catalog = good(&format!("[{},{{\"IdObjet\":3999}}]", inactive.join(",")));
    assert!(
        catalog.warnings()[0].to_string().ends_with("1008, 1009 and 15 more"),
        "{}",
        catalog.warnings()[0]
    );
    assert_eq!(catalog.warnings()[0].count, 25);
}

const INACTIVE: &str = r#"[{"IdObjet":1001},{"IdObjet":1002},{"IdObjet":1003},
    {"IdObjet":2001,"IdObjet_Parent":1001},
    {"IdObjet":2002,"IdObjet_Parent":1002,"EtatObjet":"inactif"},
    {"IdObjet":3001,"IdObjet_Parent":"2002,2001"},
    {"IdObjet":3002,"IdObjet_Parent":1003,"EtatObjet":"inactif"}]"#;

#[test]
fn inactive_objects_are_satisfied_and_lead_nowhere() {
    let catalog = good(INACTIVE);
    let plan = plan(&catalog, Missing::Implicit).unwrap();
    assert_eq!(planned(&plan), [1001, 2001, 3001]);
    assert_eq!(plan.parents(&plan.objects[2]), ids(&[2001]));
    assert_eq!(plan.satisfied(&plan.objects[2]), ids(&[2002]));
    assert_eq!(plan.not_needed, 2);
    let kinds: Vec<_> = plan.warnings.iter().map(|warning| (warning.kind, warning.count)).collect();
    assert_eq!(kinds, [(WarningKind::Inactive, 2), (WarningKind::NotNeeded, 2)]);
    let lines = told(r#"[{"IdObjet":3001,"EtatObjet":"x"}]"#);
    assert!(lines[0].contains("no final object at all: 1 is there but inactive"), "{lines:?}");
}

#[test]
fn missing_parents_by_policy() {
    let catalog = good(
        r#"[{"IdObjet":1001},{"IdObjet":3001,"IdObjet_Parent":"2007,1001"},{"IdObjet":3002,"IdObjet_Parent":"2007;2008"}]"#,
    );
    let implicit = plan(&catalog, Missing::Implicit).unwrap();
    assert_eq!(planned(&implicit), [1001, 2007, 2008, 3001, 3002]);
    assert_eq!((implicit.objects[1].entry, implicit.objects[1].stage), (None, Stage::Standardize));
    assert!(implicit.warnings[0].to_string().contains("they are run, known by their ids alone): 2007, 2008"));
    assert_eq!(implicit.graph.edge_count(), 4);

    let external = plan(&catalog, Missing::External).unwrap();
    assert_eq!(planned(&external), [1001, 3002, 3001]);
    assert_eq!(
        external.satisfied(external.objects.iter().find(|o| o.id.0 == 3002).unwrap()),
        ids(&[2007, 2008])
    );
    assert!(external.warnings[0].to_string().contains("count as satisfied): 2007, 2008"));

    let error = plan(&catalog, Missing::Error).unwrap_err();
    assert_eq!(error.count, 3);
    assert!(
        error.to_string().starts_with(
            "Objets.json: entry 2, id 3001, line 1, column 19: the parent 2007 is described by no entry"
        ),
        "{error}"
    );

    let small = good(r#"[{"IdObjet":3001,"IdObjet_Parent":12}]"#);
    let error = plan(&small, Missing::Implicit).unwrap_err().to_string();
    assert!(error.contains("entry 1, id 3001") && error.contains("an id below 1000 has no stage"), "{error}");
    assert_eq!(planned(&plan(&small, Missing::External).unwrap()), [3001]);
}

#[test]
fn pieces_of_a_large_file_fit_whatever_is_at_the_seams() {
    // Names and fields full of what looks like a seam; the file is cut in the middle of them.
    let mut json = String::from("[\n");
    let n = 40_000;
    for i in 0..n {
        let parent = if i >= 2 * n / 3 { 10_000 + i - n / 3 } else { 10_000 };
        let zone = ["1-Raw", "2-Standardized", "3-Application"][3 * i / n];
        json += &format!(
            "{{\"IdObjet\":{},\"X\":[{{}},{{\"IdObjet\":1}},{{}}],\"NomObjet\":\"}},{{}},{{\\\"IdObjet\\\":2}}\",\"Zone\":\"{zone}\"{}}}{}",
            10_000 + i,
            if i > n / 3 { format!(",\"IdObjet_Parent\":{parent}") } else { String::new() },
            if i + 1 < n { " ,\n" } else { "\n]" },
        );
    }
    assert!(json.len() > 3 << 20);
    let catalog = good(&json);
    assert_eq!(catalog.entries().len(), n);
    for (i, entry) in catalog.entries().iter().enumerate() {
        assert_eq!((entry.id.0, entry.position), ((10_000 + i) as u64, i as u32 + 1));
        let value: serde_json::Value = serde_json::from_str(catalog.raw(entry)).unwrap();
        assert_eq!(value["IdObjet"], 10_000 + i);
        assert_eq!(catalog.parents(entry).len(), usize::from(i > n / 3));
    }
    let broken = json.replacen("{\"IdObjet\":49990,", "{\"IdObjet\":\"z\",", 1).replacen(
        "\"IdObjet\":49995,",
        "\"IdObjet\"49995,",
        1,
    );
    let lines = told(&broken);
    assert!(lines[0].starts_with("entry 39991, id \"z\", line 39992, column 1: "), "{lines:?}");
    assert!(lines[1].starts_with("line 39997, column 11: not JSON: expected `:`"), "{lines:?}");
}

#[test]
fn the_example_of_the_repository() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Objets.json");
    let catalog = Catalog::parse("Objets.json", catalog_file::read(&path).unwrap()).unwrap();
    let plan = plan(&catalog, Missing::Error).unwrap();
    assert_eq!(plan.critical_path().0, 1_900);
    assert_eq!(plan.lower_bound_ms(8), 1_900);
    assert_eq!(plan.graph.depth(), 3);
    let kinds: Vec<_> = plan.warnings.iter().map(|warning| warning.kind).collect();
    assert_eq!(kinds, [WarningKind::Inactive]);
    let parents = |id: u64| plan.parents(plan.objects.iter().find(|object| object.id.0 == id).unwrap());
    assert_eq!(parents(2002), ids(&[1001]));
    assert!(parents(3005).contains(&ObjectId(2002)) && parents(3006).contains(&ObjectId(2002)));
    assert_eq!(parents(2005), ids(&[1005]));
    assert!(parents(3007).contains(&ObjectId(2005)));
}

#[test]
fn reports() {
    let catalog = good(
        r#"[{"IdObjet":1001,"NomObjet":"A \"b\" <c>"},{"IdObjet":2001,"IdObjet_Parent":1001},{"IdObjet":3001,"IdObjet_Parent":"2001","NomObjet":"Été"}]"#,
    );
    let plan = plan(&catalog, Missing::Implicit).unwrap();
    let options = plan_report::Options::default();
    let written = |write: &dyn Fn(&mut Vec<u8>) -> std::io::Result<()>| {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let text = written(&|out| plan_report::text(out, &catalog, &plan, options));
    assert!(text.contains("3 objects: ingest 1, standardize 1, application 1"), "{text}");
    assert!(text.contains("1.9 s: 1001 A \"b\" <c> → 2001 → 3001 Été"), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&written(&|out| plan_report::json(out, &catalog, &plan, options))).unwrap();
    assert_eq!(json["order"], serde_json::json!([1001, 2001, 3001]));
    assert_eq!(json["edges"], serde_json::json!([[1001, 2001], [2001, 3001]]));
    assert_eq!(json["critical_path"], serde_json::json!({"usual_ms": 1900, "objects": [1001, 2001, 3001]}));
    assert_eq!(json["objects"][2]["name"], "Été");
    let dot = written(&|out| plan_report::dot(out, &catalog, &plan));
    assert!(dot.contains("1001 [label=\"1001\\nA \\\"b\\\" <c>\"") && dot.contains("2001 -> 3001;"), "{dot}");
    let mermaid = written(&|out| plan_report::mermaid(out, &catalog, &plan));
    assert!(
        mermaid.contains("n1001[\"1001 A #quot;b#quot; #lt;c#gt;\"]") && mermaid.contains("n2001 --> n3001"),
        "{mermaid}"
    );
}

#[test]
fn parents_behind_their_children() {
    // Shared, in a diamond, against the order of the file and of the stages.
    let catalog = good(
        r#"[{"IdObjet":3001,"IdObjet_Parent":"3003,3002"},{"IdObjet":3003,"IdObjet_Parent":2001},
            {"IdObjet":3002,"IdObjet_Parent":"2001,3003"},{"IdObjet":2001,"IdObjet_Parent":"3010,1001"},
            {"IdObjet":3010,"IdObjet_Parent":1001},{"IdObjet":1001}]"#,
    );
    let plan = plan(&catalog, Missing::Error).unwrap();
    assert_eq!(planned(&plan), [1001, 3010, 2001, 3003, 3002, 3001]);
    assert_eq!(plan.graph.levels(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(plan.graph.edge_count(), 8);
}
