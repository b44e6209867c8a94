//! A plan as a graph: its size, its nodes and edges, its text for Graphviz.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use rustc_hash::FxHashSet;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::event::{PlannedObject, name_of};
use crate::domain::object::{ObjectId, Stage};

/// A plan as a graph.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct Dag {
    /// The objects, in the plan's order.
    pub(in crate::api) nodes: Vec<Node>,
    /// From each parent to its child.
    pub(in crate::api) edges: Vec<Edge>,
}

/// An object of a plan.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct Node {
    /// Its id.
    pub(in crate::api) id: ObjectId,
    /// Its name, else its id.
    pub(in crate::api) label: String,
    /// Its stage.
    pub(in crate::api) r#type: Stage,
}

/// That `target` waits for `source`.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct Edge {
    /// The parent.
    pub(in crate::api) source: ObjectId,
    /// The child.
    pub(in crate::api) target: ObjectId,
}

impl Dag {
    /// The graph of these objects.
    pub(in crate::api) fn of(objects: &[PlannedObject]) -> Dag {
        let label = |object: &PlannedObject| {
            name_of(&object.entry).map_or_else(|| object.id.to_string(), str::into_string)
        };
        Dag {
            nodes: objects
                .iter()
                .map(|object| Node { id: object.id, label: label(object), r#type: object.stage })
                .collect(),
            edges: edges(objects).map(|(source, target)| Edge { source, target }).collect(),
        }
    }

    /// The graph in Graphviz's language.
    pub(in crate::api) fn dot(&self) -> String {
        let mut dot = String::from(
            "digraph korch {\n  rankdir=LR;\n  node [shape=box, style=\"rounded,filled\", fontname=\"sans-serif\"];\n",
        );
        // Writing to a String cannot fail.
        for node in &self.nodes {
            let colour = match node.r#type {
                Stage::Ingest => "#dbeafe",
                Stage::Standardize => "#fef3c7",
                Stage::Application => "#dcfce7",
            };
            let id = node.id;
            let label = dot_text(&node.label);
            let _ = if node.label == id.to_string() {
                writeln!(dot, "  {id} [label=\"{id}\", fillcolor=\"{colour}\"];")
            } else {
                writeln!(dot, "  {id} [label=\"{id}\\n{label}\", fillcolor=\"{colour}\"];")
            };
        }
        for edge in &self.edges {
            let _ = writeln!(dot, "  {} -> {};", edge.source, edge.target);
        }
        dot.push_str("}\n");
        dot
    }
}

/// How large a plan is.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct DagSize {
    nodes: usize,
    edges: usize,
}

impl DagSize {
    /// The size of the graph of these objects.
    pub(in crate::api) fn of(objects: &[PlannedObject]) -> DagSize {
        DagSize { nodes: objects.len(), edges: edges(objects).count() }
    }
}

/// Every dependency inside the plan, once.
fn edges(objects: &[PlannedObject]) -> impl Iterator<Item = (ObjectId, ObjectId)> + '_ {
    let planned: FxHashSet<ObjectId> = objects.iter().map(|object| object.id).collect();
    objects.iter().flat_map(move |object| {
        let parents: BTreeSet<ObjectId> =
            object.parents.iter().copied().filter(|parent| planned.contains(parent)).collect();
        parents.into_iter().map(|parent| (parent, object.id))
    })
}

/// Text inside a quoted string of Graphviz.
fn dot_text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => escaped.extend(['\\', c]),
            '\n' => escaped.push_str("\\n"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn graphviz_text_stays_inside_its_quotes() {
        assert_eq!(dot_text("a\"b\\c\nd\te"), "a\\\"b\\\\c\\nd e");
    }
}
