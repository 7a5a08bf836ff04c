//! Hops: one step or within bounds, to new nodes or as a condition.

use std::ops::Range;
use std::sync::Arc;

use omnigraph_lang::query::{Direction, Hop};
use rustc_hash::FxHashMap;

use super::adjacency::{Adjacency, Neighbors};
use super::column::NONE;
use super::execution::Execution;
use super::rows::Rows;
use crate::error::{Error, Result};

/// Sources after which a loop looks at the clock.
const SOURCES_PER_PAUSE: usize = 1024;
/// Rows after which it does so even within one source.
const ROWS_PER_PAUSE: usize = 64 * 1024;

/// Steps of one hop, seen from the end where it starts.
pub(super) struct Steps {
    adjacency: Arc<Adjacency>,
    direction: Direction,
    /// The hop is followed from its right end to its left.
    reversed: bool,
    /// Size of the ordinal space of the nodes that steps start at.
    nodes: usize,
    min: u32,
    max: u32,
}

/// Node states of a breadth-first search, reusable without clearing.
struct Visited {
    seen: Vec<u32>,
    round: u32,
}

impl Execution<'_> {
    /// The hop's steps from its left end, or from its right end.
    pub(super) async fn steps(&mut self, hop: &Hop, from_left: bool) -> Result<Steps> {
        let [edge] = hop.edges.as_slice() else {
            return Err(Error::invalid(
                "hops over several edge types are not supported yet",
            ));
        };
        let edge_type = self.edge_type(edge.edge)?;
        let start = if from_left { hop.from } else { hop.to };
        let direction = match (edge.direction, from_left) {
            (Direction::Both, _) => Direction::Both,
            (Direction::Out, true) | (Direction::In, false) => Direction::Out,
            (Direction::In, true) | (Direction::Out, false) => Direction::In,
        };
        // Between two types there is no second step.
        let far = if edge_type.from == edge_type.to {
            hop.max
        } else {
            1
        };
        Ok(Steps {
            adjacency: self.adjacency(edge.edge).await?,
            direction,
            reversed: !from_left,
            nodes: self.table_of(start).await?.rows(),
            min: hop.min,
            max: hop.max.min(far),
        })
    }

    /// Continues each row by what the hop reaches from its bound end.
    pub(super) async fn expand(&mut self, hop: &Hop, rows: Rows) -> Result<Rows> {
        let from_left = rows.is_bound(hop.from);
        let (known, new) = if from_left {
            (hop.from, hop.to)
        } else {
            (hop.to, hop.from)
        };
        let steps = self.steps(hop, from_left).await?;
        let sources = rows.column(known)?;
        let row_bytes = rows.row_bytes() + 8;
        let mut picks: Vec<u32> = Vec::new();
        let mut nodes: Vec<u32> = Vec::new();
        let mut edges: Vec<u32> = Vec::new();
        let mut search = (!steps.is_single()).then(|| Search::new(&steps));
        let mut paused_at = 0;
        for (row, &source) in sources.iter().enumerate() {
            let before = nodes.len();
            if source == NONE {
                continue;
            } else if hop.edge_var.is_some() {
                steps.each_edge(source, |node, edge| {
                    nodes.push(node);
                    edges.push(edge);
                });
            } else if let Some(search) = &mut search {
                nodes.extend_from_slice(search.reached(source));
            } else {
                steps.each_neighbor(source, |node| nodes.push(node));
            }
            picks.extend(std::iter::repeat_n(row as u32, nodes.len() - before));
            if row % SOURCES_PER_PAUSE == 0
                || nodes.len() - paused_at > ROWS_PER_PAUSE
                || search.is_some()
            {
                paused_at = nodes.len();
                self.guard.memory(nodes.len().saturating_mul(row_bytes))?;
                self.guard.pause().await?;
            }
        }
        self.guard.memory(nodes.len().saturating_mul(row_bytes))?;
        self.rows_scanned += nodes.len() as u64;
        let mut expanded = rows.select(&picks);
        expanded.bind(new, nodes);
        if let Some(var) = hop.edge_var {
            expanded.bind(var, edges);
        }
        Ok(expanded)
    }

    /// Keeps the rows whose two ends the hop connects; with an edge variable one per edge.
    pub(super) async fn check_hop(&mut self, hop: &Hop, mut rows: Rows) -> Result<Rows> {
        if let Some(var) = hop.edge_var {
            let steps = self.steps(hop, true).await?;
            let (mut picks, mut edges) = (Vec::new(), Vec::new());
            let pairs = rows.column(hop.from)?.iter().zip(rows.column(hop.to)?);
            for (row, (&from, &to)) in pairs.enumerate() {
                if from != NONE && to != NONE {
                    steps.each_edge_between(from, to, |edge| {
                        picks.push(row as u32);
                        edges.push(edge);
                    });
                }
                if row % SOURCES_PER_PAUSE == 0 {
                    self.guard
                        .memory(picks.len().saturating_mul(rows.row_bytes() + 4))?;
                    self.guard.pause().await?;
                }
            }
            let mut checked = rows.select(&picks);
            checked.bind(var, edges);
            return Ok(checked);
        }
        // A search costs as much as there are different sources: start at the end with fewer.
        let (left, right) = (rows.column(hop.from)?, rows.column(hop.to)?);
        let from_left = distinct_prefix(left) <= distinct_prefix(right);
        let steps = self.steps(hop, from_left).await?;
        let (sources, targets) = if from_left {
            (left, right)
        } else {
            (right, left)
        };
        let mut search = (!steps.is_single()).then(|| Search::new(&steps));
        let mut keep = Vec::with_capacity(rows.len());
        for (row, (&source, &target)) in sources.iter().zip(targets).enumerate() {
            keep.push(if source == NONE || target == NONE {
                false
            } else if let Some(search) = &mut search {
                search.reaches(source, target)
            } else {
                steps.min <= steps.max && steps.connects(source, target)
            });
            if row % SOURCES_PER_PAUSE == 0 || search.is_some() {
                self.guard.pause().await?;
            }
        }
        rows.retain(&keep);
        Ok(rows)
    }
}

/// How many of the first values differ, as a cheap sign of how many do.
fn distinct_prefix(ordinals: &[u32]) -> usize {
    let mut some: Vec<u32> = ordinals.iter().take(64).copied().collect();
    some.sort_unstable();
    some.dedup();
    some.len()
}

impl Steps {
    /// Exactly one step, or (over two types, with a larger minimum) nothing at all.
    fn is_single(&self) -> bool {
        self.max <= 1
    }

    pub(super) fn has_neighbor(&self, node: u32) -> bool {
        let (out, into) = self.lists(node);
        self.min <= self.max && !(out.nodes.is_empty() && into.nodes.is_empty())
    }

    /// The neighbours that edges lead to and that edges come from, as far as the hop follows them.
    fn lists(&self, node: u32) -> (Neighbors<'_>, Neighbors<'_>) {
        match self.direction {
            Direction::Out => (self.adjacency.outgoing(node), Neighbors::default()),
            Direction::In => (Neighbors::default(), self.adjacency.incoming(node)),
            Direction::Both => (self.adjacency.outgoing(node), self.adjacency.incoming(node)),
        }
    }

    /// Different neighbours, ascending; the node itself if it has an edge to itself.
    fn each_neighbor(&self, node: u32, mut found: impl FnMut(u32)) {
        if self.min > self.max {
            return;
        }
        let (out, into) = self.lists(node);
        let (mut a, mut b) = (out.nodes, into.nodes);
        let mut last = NONE;
        loop {
            let next = match (a.first(), b.first()) {
                (Some(&x), Some(&y)) if x <= y => {
                    a = &a[1..];
                    x
                }
                (Some(&x), None) => {
                    a = &a[1..];
                    x
                }
                (_, Some(&y)) => {
                    b = &b[1..];
                    y
                }
                (None, None) => break,
            };
            if next != last {
                found(next);
                last = next;
            }
        }
    }

    /// Each stored edge once, also one to the node itself that is followed both ways.
    fn each_edge(&self, node: u32, mut found: impl FnMut(u32, u32)) {
        let (out, into) = self.lists(node);
        for (&to, &edge) in out.nodes.iter().zip(out.edges) {
            found(to, edge);
        }
        let both = self.direction == Direction::Both;
        for (&from, &edge) in into.nodes.iter().zip(into.edges) {
            if !(both && from == node) {
                found(from, edge);
            }
        }
    }

    fn each_edge_between(&self, node: u32, other: u32, mut found: impl FnMut(u32)) {
        let (out, into) = self.lists(node);
        out.edges[place(out.nodes, other)]
            .iter()
            .for_each(|&edge| found(edge));
        if !(self.direction == Direction::Both && node == other) {
            into.edges[place(into.nodes, other)]
                .iter()
                .for_each(|&edge| found(edge));
        }
    }

    fn connects(&self, node: u32, other: u32) -> bool {
        let (out, into) = self.lists(node);
        out.nodes.binary_search(&other).is_ok() || into.nodes.binary_search(&other).is_ok()
    }
}

/// Where a node stands in a sorted list.
fn place(nodes: &[u32], node: u32) -> Range<usize> {
    let start = nodes.partition_point(|&n| n < node);
    let len = nodes[start..].partition_point(|&n| n == node);
    start..start + len
}

/// Breadth-first searches within the bounds, each source once.
struct Search<'s> {
    steps: &'s Steps,
    visited: Visited,
    known: FxHashMap<u32, Range<usize>>,
    results: Vec<u32>,
}

impl<'s> Search<'s> {
    fn new(steps: &'s Steps) -> Self {
        Self {
            steps,
            visited: Visited {
                seen: vec![0; steps.nodes],
                round: 0,
            },
            known: FxHashMap::default(),
            results: Vec::new(),
        }
    }

    /// What the hop reaches from a source, each node once.
    fn reached(&mut self, source: u32) -> &[u32] {
        let range = match self.known.get(&source) {
            Some(range) => range.clone(),
            None => {
                let start = self.results.len();
                self.run(source);
                let range = start..self.results.len();
                self.known.insert(source, range.clone());
                range
            }
        };
        &self.results[range]
    }

    fn reaches(&mut self, source: u32, target: u32) -> bool {
        if !self.known.contains_key(&source) {
            self.reached(source);
            let range = self.known[&source].clone();
            self.results[range].sort_unstable();
        }
        let range = self.known[&source].clone();
        self.results[range].binary_search(&target).is_ok()
    }

    /// A node at distance d from the source counts if min ≤ d ≤ max and it is not the source, or
    /// if an edge to itself makes one more step: min ≤ d + 1 ≤ max. Backwards, the end of the hop
    /// is where the search starts, so it is the source's edge to itself that counts.
    fn run(&mut self, source: u32) {
        let (min, max) = (self.steps.min, self.steps.max);
        self.visited.round += 1;
        let round = self.visited.round;
        let seen = &mut self.visited.seen;
        if source as usize >= seen.len() {
            return;
        }
        seen[source as usize] = round;
        let loop_at_end = self.steps.reversed && self.steps.connects(source, source);
        let mut frontier = vec![source];
        let mut next = Vec::new();
        for distance in 0..=max {
            for &node in &frontier {
                let mut has_loop = loop_at_end;
                if distance < max {
                    let (out, into) = self.steps.lists(node);
                    for &neighbor in out.nodes.iter().chain(into.nodes) {
                        if neighbor == node {
                            has_loop |= !self.steps.reversed;
                        } else if seen[neighbor as usize] != round {
                            seen[neighbor as usize] = round;
                            next.push(neighbor);
                        }
                    }
                }
                let at_distance = node != source && min <= distance;
                let by_loop = has_loop && min <= distance + 1 && distance < max;
                if at_distance || by_loop {
                    self.results.push(node);
                }
            }
            if next.is_empty() {
                break;
            }
            std::mem::swap(&mut frontier, &mut next);
            next.clear();
        }
    }
}
