//! A directed graph without cycles, its nodes the numbers 0 to n − 1. It knows nothing of objects, stages or catalogues.
//!
//! daggy holds the edges. Its own cycle check recurses (a chain of a hundred thousand objects would end the process) and names no
//! path, so cycles are looked for here first, and edges are then handed over child by child in topological order: daggy
//! sees that no such edge can close a cycle and never starts its check.

use std::collections::VecDeque;
use std::fmt;

use daggy::petgraph::Direction;
use daggy::petgraph::visit::EdgeRef;
use daggy::{Dag, NodeIndex};

/// A graph that has been shown to have no cycle.
#[derive(Clone, Debug)]
pub struct Graph {
    dag: Dag<(), (), u32>,
    levels: Vec<u32>,
    order: Vec<u32>,
}

/// The nodes along a cycle, in the direction of its edges; the last one leads back to the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle(pub Vec<u32>);

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for node in &self.0 {
            write!(f, "{node} → ")?;
        }
        self.0.first().map_or(Ok(()), |first| write!(f, "{first}"))
    }
}

impl std::error::Error for Cycle {}

impl Graph {
    /// A graph of `n` nodes with these edges, each from a parent to its child. An edge given twice counts once.
    ///
    /// # Panics
    ///
    /// Where an edge names a node that is not below `n`.
    pub fn new(n: usize, edges: impl IntoIterator<Item = (u32, u32)>) -> Result<Graph, Cycle> {
        // Packed as (child, parent): sorted so, all edges of a child stand together.
        let mut edges: Vec<u64> =
            edges.into_iter().map(|(parent, child)| u64::from(child) << 32 | u64::from(parent)).collect();
        if !edges.is_sorted_by(|a, b| a < b) {
            edges.sort_unstable();
            edges.dedup();
        }
        assert!(
            edges.iter().all(|&edge| (unpack(edge).0 as usize) < n && (unpack(edge).1 as usize) < n),
            "an edge leads to a node that does not exist"
        );
        let levels = if edges.iter().all(|&edge| unpack(edge).0 < unpack(edge).1) {
            // Numbered in topological order: each parent's level is final before it is read.
            let mut levels = vec![0; n];
            for &edge in &edges {
                let (parent, child) = unpack(edge);
                levels[child as usize] = levels[child as usize].max(levels[parent as usize] + 1);
            }
            levels
        } else {
            let levels = levels_of(n, &edges)?;
            edges.sort_by_key(|&edge| levels[unpack(edge).1 as usize]);
            levels
        };

        let mut dag = Dag::with_capacity(n, edges.len());
        for _ in 0..n {
            dag.add_node(());
        }
        let added = dag.add_edges(edges.iter().map(|&edge| {
            let (parent, child) = unpack(edge);
            (NodeIndex::new(parent as usize), NodeIndex::new(child as usize), ())
        }));
        assert!(added.is_ok(), "levels exist only where there is no cycle");
        let order = order_of(&levels);
        Ok(Graph { dag, levels, order })
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.dag.node_count()
    }

    /// Whether there is no node at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many edges there are.
    pub fn edge_count(&self) -> usize {
        self.dag.edge_count()
    }

    /// Every edge as (parent, child), the edges of one child together and children by level.
    pub fn edges(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.dag.graph().edge_references().map(|edge| (number(edge.source()), number(edge.target())))
    }

    /// The nodes that must come before this one.
    pub fn parents(&self, node: usize) -> impl Iterator<Item = u32> + '_ {
        self.dag.graph().neighbors_directed(NodeIndex::new(node), Direction::Incoming).map(number)
    }

    /// The nodes that wait for this one.
    pub fn children(&self, node: usize) -> impl Iterator<Item = u32> + '_ {
        self.dag.graph().neighbors_directed(NodeIndex::new(node), Direction::Outgoing).map(number)
    }

    /// Each node's level: 0 without parents, else one more than its highest parent.
    pub fn levels(&self) -> &[u32] {
        &self.levels
    }

    /// How many levels there are.
    pub fn depth(&self) -> usize {
        self.order.last().map_or(0, |&last| self.levels[last as usize] as usize + 1)
    }

    /// Every node after its parents: by level, then by number.
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// For each node, the weight of the heaviest path that begins with it, itself included: how urgent it is.
    pub fn path_ahead(&self, weight: impl Fn(usize) -> u64) -> Vec<u64> {
        let mut ahead = vec![0_u64; self.len()];
        // Edges stand by their child's level, so backwards each child is complete before its parents ask for it.
        for edge in self.dag.graph().raw_edges().iter().rev() {
            let (parent, child) = (edge.source().index(), edge.target().index());
            ahead[parent] = ahead[parent].max(ahead[child].saturating_add(weight(child)));
        }
        for (node, ahead) in ahead.iter_mut().enumerate() {
            *ahead = ahead.saturating_add(weight(node));
        }
        ahead
    }

    /// The heaviest path and its weight; among equals the one through the lowest numbers.
    pub fn critical_path(&self, weight: impl Fn(usize) -> u64) -> (u64, Vec<usize>) {
        let ahead = self.path_ahead(weight);
        let heaviest = |nodes: &mut dyn Iterator<Item = u32>| {
            nodes.max_by_key(|&node| (ahead[node as usize], std::cmp::Reverse(node)))
        };
        let roots = self.order.iter().copied().take_while(|&node| self.levels[node as usize] == 0);
        let Some(first) = heaviest(&mut roots.into_iter()) else { return (0, Vec::new()) };
        let mut path = vec![first as usize];
        let mut last = first as usize;
        while let Some(next) = heaviest(&mut self.children(last)) {
            last = next as usize;
            path.push(last);
        }
        (ahead[first as usize], path)
    }
}

/// One cycle of each knot of nodes that reach one another: the shortest through the knot's lowest node. By lowest node.
pub fn find_cycles<P>(n: usize, parents: impl Fn(u32) -> P) -> Vec<Cycle>
where
    P: IntoIterator<Item = u32>,
{
    knots(n, &parents)
        .into_iter()
        .filter_map(|knot| {
            let first = knot[0];
            // Breadth first against the edges, from the lowest node back to itself; `toward` leads along the edges.
            let mut toward = rustc_hash::FxHashMap::default();
            let mut queue = VecDeque::from([first]);
            while let Some(node) = queue.pop_front() {
                for parent in parents(node) {
                    if parent == first {
                        let mut path = vec![first];
                        let mut at = node;
                        while at != first {
                            path.push(at);
                            at = toward[&at];
                        }
                        return Some(Cycle(path));
                    }
                    if knot.binary_search(&parent).is_ok() && !toward.contains_key(&parent) {
                        toward.insert(parent, node);
                        queue.push_back(parent);
                    }
                }
            }
            None
        })
        .collect()
}

/// The strongly connected components that hold a cycle, each sorted (Tarjan's algorithm, on a stack of its own).
fn knots<P>(n: usize, parents: &impl Fn(u32) -> P) -> Vec<Vec<u32>>
where
    P: IntoIterator<Item = u32>,
{
    const UNSEEN: u32 = u32::MAX;
    let mut found = vec![UNSEEN; n];
    let mut low = vec![0_u32; n];
    let mut on_path = vec![false; n];
    let mut path: Vec<u32> = Vec::new();
    let mut stack: Vec<(u32, P::IntoIter)> = Vec::new();
    let mut knots: Vec<Vec<u32>> = Vec::new();
    let mut clock = 0;
    for root in 0..n as u32 {
        if found[root as usize] != UNSEEN {
            continue;
        }
        let mut enter = Some(root);
        loop {
            if let Some(node) = enter.take() {
                found[node as usize] = clock;
                low[node as usize] = clock;
                clock += 1;
                on_path[node as usize] = true;
                path.push(node);
                stack.push((node, parents(node).into_iter()));
            }
            let Some((node, rest)) = stack.last_mut() else { break };
            let node = *node;
            if let Some(parent) = rest.next() {
                if found[parent as usize] == UNSEEN {
                    enter = Some(parent);
                } else if on_path[parent as usize] {
                    low[node as usize] = low[node as usize].min(found[parent as usize]);
                }
                continue;
            }
            stack.pop();
            if let Some(&(below, _)) = stack.last() {
                low[below as usize] = low[below as usize].min(low[node as usize]);
            }
            if low[node as usize] == found[node as usize] {
                let start = path.iter().rposition(|&other| other == node).unwrap_or(0);
                let mut knot = path.split_off(start);
                for &member in &knot {
                    on_path[member as usize] = false;
                }
                if knot.len() > 1 || parents(node).into_iter().any(|parent| parent == node) {
                    knot.sort_unstable();
                    knots.push(knot);
                }
            }
        }
    }
    knots.sort_unstable();
    knots
}

/// Each node's level, whatever the numbering; `edges` are sorted by child.
fn levels_of(n: usize, edges: &[u64]) -> Result<Vec<u32>, Cycle> {
    let mut waiting = vec![0_u32; n];
    let mut starts = vec![0_usize; n + 1];
    for &edge in edges {
        let (parent, child) = unpack(edge);
        waiting[child as usize] += 1;
        starts[parent as usize + 1] += 1;
    }
    for i in 0..n {
        starts[i + 1] += starts[i];
    }
    let mut free = starts.clone();
    let mut children = vec![0_u32; edges.len()];
    for &edge in edges {
        let (parent, child) = unpack(edge);
        children[free[parent as usize]] = child;
        free[parent as usize] += 1;
    }
    let mut levels = vec![0_u32; n];
    let mut ready: Vec<u32> = (0..n as u32).filter(|&node| waiting[node as usize] == 0).collect();
    let mut done = 0;
    while let Some(node) = ready.pop() {
        done += 1;
        for &child in &children[starts[node as usize]..starts[node as usize + 1]] {
            levels[child as usize] = levels[child as usize].max(levels[node as usize] + 1);
            waiting[child as usize] -= 1;
            if waiting[child as usize] == 0 {
                ready.push(child);
            }
        }
    }
    if done == n {
        return Ok(levels);
    }
    let parents_of = |node: u32| {
        let from = edges.partition_point(|&edge| unpack(edge).1 < node);
        edges[from..]
            .iter()
            .map(|&edge| unpack(edge))
            .take_while(move |&(_, child)| child == node)
            .map(|edge| edge.0)
    };
    Err(find_cycles(n, parents_of).swap_remove(0))
}

/// The nodes by level, then by number.
fn order_of(levels: &[u32]) -> Vec<u32> {
    let depth = levels.iter().max().map_or(0, |&level| level as usize + 1);
    let mut free = vec![0_usize; depth + 1];
    for &level in levels {
        free[level as usize + 1] += 1;
    }
    for level in 0..depth {
        free[level + 1] += free[level];
    }
    let mut order = vec![0; levels.len()];
    for (node, &level) in levels.iter().enumerate() {
        order[free[level as usize]] = node as u32;
        free[level as usize] += 1;
    }
    order
}

/// (parent, child)
fn unpack(edge: u64) -> (u32, u32) {
    (edge as u32, (edge >> 32) as u32)
}

fn number(node: NodeIndex<u32>) -> u32 {
    node.index() as u32
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sorted(nodes: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut nodes: Vec<u32> = nodes.collect();
        nodes.sort_unstable();
        nodes
    }

    #[test]
    fn a_diamond() {
        // 3 → 1, 3 → 2, 1 → 0, 2 → 0, against the numbering and with a repeat.
        let graph = Graph::new(5, [(3, 1), (3, 2), (1, 0), (2, 0), (3, 1)]).unwrap();
        assert_eq!((graph.len(), graph.edge_count(), graph.depth()), (5, 4, 3));
        assert_eq!(graph.levels(), [2, 1, 1, 0, 0]);
        assert_eq!(graph.order(), [3, 4, 1, 2, 0]);
        assert_eq!(sorted(graph.parents(0)), [1, 2]);
        assert_eq!(sorted(graph.children(3)), [1, 2]);
        let weight = |node: usize| [1, 10, 20, 100, 50][node];
        assert_eq!(graph.path_ahead(weight), [1, 11, 21, 121, 50]);
        assert_eq!(graph.critical_path(weight), (121, vec![3, 2, 0]));
        assert_eq!(graph.critical_path(|_| 1), (3, vec![3, 1, 0]));
    }

    #[test]
    fn nothing_at_all() {
        let graph = Graph::new(0, []).unwrap();
        assert!(graph.is_empty());
        assert_eq!((graph.depth(), graph.critical_path(|_| 1)), (0, (0, vec![])));
    }

    #[test]
    fn cycles_by_path() {
        type Case = (&'static [(u32, u32)], &'static [&'static str]);
        let table: [Case; 5] = [
            (&[(0, 0)], &["0 → 0"]),
            (&[(1, 0), (0, 1)], &["0 → 1 → 0"]),
            (&[(0, 2), (2, 1), (1, 0), (1, 3)], &["0 → 2 → 1 → 0"]),
            (&[(0, 1), (1, 2), (2, 0), (1, 0)], &["0 → 1 → 0"]),
            (&[(0, 1), (1, 0), (2, 3), (3, 2), (1, 2)], &["0 → 1 → 0", "2 → 3 → 2"]),
        ];
        for (edges, expected) in table {
            let parents = |node: u32| edges.iter().filter(move |edge| edge.1 == node).map(|edge| edge.0);
            let found: Vec<String> = find_cycles(4, parents).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected);
            assert_eq!(Graph::new(4, edges.iter().copied()).unwrap_err().to_string(), expected[0]);
        }
    }

    #[test]
    fn a_chain_of_a_million_does_not_recurse() {
        let n = 1_000_000;
        let up = Graph::new(n as usize, (1..n).map(|i| (i - 1, i))).unwrap();
        let down = Graph::new(n as usize, (1..n).map(|i| (i, i - 1))).unwrap();
        assert_eq!(up.depth(), n as usize);
        assert_eq!(down.critical_path(|_| 1).0, u64::from(n));
        let closed = Graph::new(n as usize, (0..n).map(|i| (i, (i + 1) % n))).unwrap_err();
        assert_eq!(closed.0.len(), n as usize);
    }

    proptest! {
        #[test]
        fn every_node_comes_after_its_parents_or_there_is_a_true_cycle(
            edges in proptest::collection::vec((0_u32..12, 0_u32..12), 0..24),
        ) {
            match Graph::new(12, edges.iter().copied()) {
                Ok(graph) => {
                    let place = |node: u32| graph.order().iter().position(|&other| other == node).unwrap();
                    for &(parent, child) in &edges {
                        prop_assert!(place(parent) < place(child));
                        prop_assert!(graph.parents(child as usize).any(|other| other == parent));
                        prop_assert!(graph.children(parent as usize).any(|other| other == child));
                    }
                    let mut once = edges.clone();
                    once.sort_unstable();
                    once.dedup();
                    prop_assert_eq!(graph.edge_count(), once.len());
                }
                Err(Cycle(path)) => {
                    for (i, &node) in path.iter().enumerate() {
                        prop_assert!(edges.contains(&(node, path[(i + 1) % path.len()])));
                    }
                }
            }
        }
    }
}
