//! A plan for people and programs: text, JSON, Graphviz, Mermaid.

use std::borrow::Cow;
use std::io::{self, Write};

use jiff::Timestamp;
use serde::ser::{Error as _, SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use crate::domain::catalog::Catalog;
use crate::domain::object::{ObjectId, Stage};
use crate::domain::plan::{Plan, Planned};

/// How many ids of the order, and rows of the table of levels, a short report shows.
const SHOWN: usize = 20;

/// How to write a report.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Slots that each stage has: for the lower bound.
    pub slots: u64,
    /// The whole order and every level, not the first few.
    pub full: bool,
    /// When it is due, where it is the plan of a schedule's run.
    pub scheduled_for: Option<Timestamp>,
}

impl Default for Options {
    fn default() -> Options {
        Options { slots: 8, full: false, scheduled_for: None }
    }
}

/// For people.
pub fn text(out: &mut dyn Write, catalog: &Catalog, plan: &Plan, options: Options) -> io::Result<()> {
    let counts = plan.stage_counts();
    let (path_ms, path) = plan.critical_path();
    writeln!(
        out,
        "Catalogue      {} ({})",
        catalog.file(),
        number(catalog.entries().len(), "entry", "entries")
    )?;
    let by_stage: Vec<String> =
        Stage::ALL.into_iter().zip(counts).map(|(stage, count)| format!("{stage} {count}")).collect();
    let objects = number(plan.objects.len(), "object", "objects");
    writeln!(out, "Would run      {objects}: {}", by_stage.join(", "))?;
    writeln!(
        out,
        "Dependencies   {} over {}",
        plan.graph.edge_count(),
        number(plan.graph.depth(), "level", "levels")
    )?;
    let along: Vec<String> = path.iter().map(|&i| named(catalog, &plan.objects[i])).collect();
    let along = match along.len() {
        0..=SHOWN => along.join(" → "),
        len => format!("{} → … {} more … → {}", along[..10].join(" → "), len - 11, along[len - 1]),
    };
    writeln!(out, "Critical path  {}: {along}", seconds(path_ms))?;
    let bound = plan.lower_bound_beside_ms(path_ms, options.slots);
    writeln!(
        out,
        "At best        {} with {} a stage",
        seconds(bound),
        number(options.slots as usize, "slot", "slots")
    )?;

    let mut widths = vec![[0_usize; 3]; plan.graph.depth()];
    for (object, &level) in plan.objects.iter().zip(plan.graph.levels()) {
        widths[level as usize][object.stage.index()] += 1;
    }
    writeln!(
        out,
        "\n{:>5}  {:>10}  {:>11}  {:>11}  {:>10}",
        "Level", "ingest", "standardize", "application", "together"
    )?;
    let rows = if options.full { widths.len() } else { widths.len().min(SHOWN) };
    for (level, [ingest, standardize, application]) in widths[..rows].iter().enumerate() {
        let together = ingest + standardize + application;
        writeln!(out, "{level:>5}  {ingest:>10}  {standardize:>11}  {application:>11}  {together:>10}")?;
    }
    if rows < widths.len() {
        writeln!(
            out,
            "{:>5}  and {} more (--full shows them)",
            "…",
            number(widths.len() - rows, "level", "levels")
        )?;
    }

    let shown = if options.full { plan.objects.len() } else { plan.objects.len().min(SHOWN) };
    write!(out, "\nOrder ")?;
    for object in &plan.objects[..shown] {
        write!(out, " {}", object.id)?;
    }
    if shown < plan.objects.len() {
        write!(out, " … and {} more (--full shows them)", plan.objects.len() - shown)?;
    }
    writeln!(out)?;
    if !plan.warnings.is_empty() {
        writeln!(out)?;
    }
    for warning in &plan.warnings {
        writeln!(out, "Warning: {warning}")?;
    }
    Ok(())
}

/// For programs: one JSON object, written as it is made.
pub fn json(out: &mut dyn Write, catalog: &Catalog, plan: &Plan, options: Options) -> io::Result<()> {
    let report = JsonReport { catalog, plan, options };
    serde_json::to_writer(&mut *out, &report).map_err(io::Error::other)?;
    writeln!(out)
}

/// For Graphviz.
pub fn dot(out: &mut dyn Write, catalog: &Catalog, plan: &Plan) -> io::Result<()> {
    writeln!(
        out,
        "digraph korch {{\n  rankdir=LR;\n  node [shape=box, style=\"rounded,filled\", fontname=\"sans-serif\"];"
    )?;
    for object in &plan.objects {
        let colour = match object.stage {
            Stage::Ingest => "#dbeafe",
            Stage::Standardize => "#fef3c7",
            Stage::Application => "#dcfce7",
        };
        let label =
            label(catalog, object).replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " ");
        writeln!(out, "  {} [label=\"{}\\n{label}\", fillcolor=\"{colour}\"];", object.id, object.id)?;
    }
    for (parent, child) in plan.graph.edges() {
        writeln!(out, "  {} -> {};", plan.objects[parent as usize].id, plan.objects[child as usize].id)?;
    }
    writeln!(out, "}}")
}

/// For Mermaid, as Markdown pages show it.
pub fn mermaid(out: &mut dyn Write, catalog: &Catalog, plan: &Plan) -> io::Result<()> {
    writeln!(out, "flowchart LR")?;
    for stage in Stage::ALL {
        let of_stage = || plan.objects.iter().filter(|object| object.stage == stage);
        if of_stage().next().is_none() {
            continue;
        }
        writeln!(out, "  subgraph {stage}")?;
        for object in of_stage() {
            let label: String = label(catalog, object).chars().map(mermaid_char).collect();
            writeln!(out, "    n{}[\"{} {label}\"]", object.id, object.id)?;
        }
        writeln!(out, "  end")?;
    }
    for (parent, child) in plan.graph.edges() {
        writeln!(out, "  n{} --> n{}", plan.objects[parent as usize].id, plan.objects[child as usize].id)?;
    }
    Ok(())
}

/// What Mermaid would take for markup inside a quoted label.
fn mermaid_char(c: char) -> Cow<'static, str> {
    match c {
        '"' => "#quot;".into(),
        '#' => "#35;".into(),
        '<' => "#lt;".into(),
        '>' => "#gt;".into(),
        '&' => "#amp;".into(),
        '`' => "#96;".into(),
        '\n' | '\r' => " ".into(),
        c => c.to_string().into(),
    }
}

fn label<'a>(catalog: &'a Catalog, object: &Planned) -> Cow<'a, str> {
    object.entry.map_or(Cow::Borrowed(""), |entry| catalog.name(&catalog.entries()[entry as usize]))
}

fn named(catalog: &Catalog, object: &Planned) -> String {
    let name = label(catalog, object);
    if name.is_empty() { object.id.to_string() } else { format!("{} {name}", object.id) }
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

fn number(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

struct JsonReport<'a> {
    catalog: &'a Catalog,
    plan: &'a Plan,
    options: Options,
}

/// A sequence that is made while it is written.
struct Streamed<F>(F);

impl<F, I> Serialize for Streamed<F>
where
    F: Fn() -> I,
    I: Iterator<Item: Serialize>,
{
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut list = to.serialize_seq(None)?;
        for item in (self.0)() {
            list.serialize_element(&item)?;
        }
        list.end()
    }
}

#[derive(Serialize)]
struct JsonObject<'a> {
    id: ObjectId,
    name: Cow<'a, str>,
    stage: Stage,
    criticality: crate::domain::object::Criticality,
    level: u32,
    parents: &'a [ObjectId],
    satisfied: &'a [ObjectId],
    described: bool,
}

#[derive(Serialize)]
struct JsonLevel {
    level: usize,
    ingest: usize,
    standardize: usize,
    application: usize,
    width: usize,
}

#[derive(Serialize)]
struct JsonPath {
    usual_ms: u64,
    objects: Vec<ObjectId>,
}

impl Serialize for JsonReport<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let JsonReport { catalog, plan, options } = *self;
        let id = |i: usize| plan.objects[i].id;
        if plan.objects.len() != plan.graph.len() {
            return Err(S::Error::custom("the plan's graph is of other objects"));
        }
        let mut levels: Vec<JsonLevel> = (0..plan.graph.depth())
            .map(|level| JsonLevel { level, ingest: 0, standardize: 0, application: 0, width: 0 })
            .collect();
        for (object, &level) in plan.objects.iter().zip(plan.graph.levels()) {
            let level = &mut levels[level as usize];
            level.width += 1;
            match object.stage {
                Stage::Ingest => level.ingest += 1,
                Stage::Standardize => level.standardize += 1,
                Stage::Application => level.application += 1,
            }
        }
        let (usual_ms, path) = plan.critical_path();
        let [ingest, standardize, application] = plan.stage_counts();

        let mut map = to.serialize_map(None)?;
        map.serialize_entry("file", catalog.file())?;
        if let Some(at) = options.scheduled_for {
            map.serialize_entry("scheduled_for", &at)?;
        }
        map.serialize_entry("entries", &catalog.entries().len())?;
        map.serialize_entry("count", &plan.objects.len())?;
        map.serialize_entry(
            "stages",
            &serde_json::json!({"ingest": ingest, "standardize": standardize, "application": application}),
        )?;
        map.serialize_entry("order", &Streamed(|| plan.objects.iter().map(|object| object.id)))?;
        map.serialize_entry("levels", &levels)?;
        map.serialize_entry(
            "critical_path",
            &JsonPath { usual_ms, objects: path.into_iter().map(id).collect() },
        )?;
        map.serialize_entry("slots", &options.slots)?;
        map.serialize_entry("lower_bound_ms", &plan.lower_bound_beside_ms(usual_ms, options.slots))?;
        map.serialize_entry("not_needed", &plan.not_needed)?;
        map.serialize_entry("warnings", &plan.warnings)?;
        let edges = || plan.graph.edges().map(|(parent, child)| [id(parent as usize), id(child as usize)]);
        map.serialize_entry("edges", &Streamed(edges))?;
        let objects = || {
            plan.objects.iter().zip(plan.graph.levels()).map(|(object, &level)| JsonObject {
                id: object.id,
                name: label(catalog, object),
                stage: object.stage,
                criticality: object.criticality,
                level,
                parents: plan.parents(object),
                satisfied: plan.satisfied(object),
                described: object.entry.is_some(),
            })
        };
        map.serialize_entry("objects", &Streamed(objects))?;
        map.end()
    }
}
