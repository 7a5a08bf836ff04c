//! The steps of a hop: who is next to whom.

use std::ops::Range;
use std::sync::Arc;

use omnigraph_lang::query::{Direction, Hop};

use super::adjacency::{Adjacency, Neighbors};
use super::column::NONE;
use super::execution::Execution;
use super::network::Network;
use crate::error::Result;

/// How many steps a hop takes, and from which of its ends it is followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    pub min: u32,
    pub max: u32,
    /// The hop is followed from its right end to its left.
    pub reversed: bool,
}

impl Reach {
    /// Exactly one step, or (over two types, with a larger minimum) nothing at all.
    pub(super) fn is_single(self) -> bool {
        self.max <= 1
    }
}

/// Steps of one hop, seen from the end where it starts, over one numbering of nodes.
pub(super) trait Stepping: Send + Sync {
    fn reach(&self) -> Reach;

    /// Size of the numbering.
    fn nodes(&self) -> usize;

    /// The number of a value of the start's variable; `None` if no step starts at its type.
    fn enter(&self, start: u32) -> Option<u32>;

    /// The value of the end's variable; `None` if it cannot be of the node's type.
    fn leave(&self, node: u32) -> Option<u32>;

    /// The number of a value of the end's variable; `None` if no step ends at its type.
    fn end_node(&self, end: u32) -> Option<u32>;

    /// Different neighbours, ascending; the node itself if it has an edge to itself.
    fn each_neighbor(&self, node: u32, found: impl FnMut(u32));

    /// Every step, parallel ones apart.
    fn each_step(&self, node: u32, found: impl FnMut(u32));

    /// Each stored edge once with the neighbour, also one to the node itself that is followed both
    /// ways.
    fn each_edge(&self, node: u32, found: impl FnMut(u32, u32));

    fn each_edge_between(&self, node: u32, other: u32, found: impl FnMut(u32));

    fn connects(&self, node: u32, other: u32) -> bool;
}

/// Over one edge type between ends of its own types.
pub(super) struct Plain {
    adjacency: Arc<Adjacency>,
    direction: Direction,
    nodes: usize,
    reach: Reach,
}

/// The steps of any hop.
pub(super) enum Steps {
    Plain(Plain),
    Several(Network),
}

impl Execution<'_> {
    /// The hop's steps from its left end, or from its right end.
    pub(super) async fn steps(&mut self, hop: &Hop, from_left: bool) -> Result<Steps> {
        match self.plain(hop, from_left).await? {
            Some(plain) => Ok(Steps::Plain(plain)),
            None => Ok(Steps::Several(self.network(hop, from_left).await?)),
        }
    }

    async fn plain(&mut self, hop: &Hop, from_left: bool) -> Result<Option<Plain>> {
        let [edge] = hop.edges.as_slice() else {
            return Ok(None);
        };
        let edge_type = self.edge_type(edge.edge)?;
        let (from, to) = match edge.direction {
            Direction::Out | Direction::Both => (edge_type.from, edge_type.to),
            Direction::In => (edge_type.to, edge_type.from),
        };
        if self.variable(hop.from)?.types != [from] || self.variable(hop.to)?.types != [to] {
            return Ok(None);
        }
        // Between two types there is no second step.
        let far = if edge_type.from == edge_type.to {
            hop.max
        } else {
            1
        };
        let start = if from_left { from } else { to };
        Ok(Some(Plain {
            adjacency: self.adjacency(edge.edge).await?,
            direction: seen_from(edge.direction, from_left),
            nodes: self.table(start).await?.rows(),
            reach: Reach {
                min: hop.min,
                max: hop.max.min(far),
                reversed: !from_left,
            },
        }))
    }
}

/// A direction that is written from left to right, from the end where the hop starts.
pub(super) fn seen_from(direction: Direction, from_left: bool) -> Direction {
    match (direction, from_left) {
        (Direction::Both, _) => Direction::Both,
        (Direction::Out, true) | (Direction::In, false) => Direction::Out,
        (Direction::In, true) | (Direction::Out, false) => Direction::In,
    }
}

impl Steps {
    /// The hop leads from the node to some value of its other end.
    pub(super) fn has_neighbor(&self, start: u32) -> bool {
        match self {
            Steps::Plain(plain) => {
                let (out, into) = plain.lists(start);
                plain.reach.min <= plain.reach.max
                    && !(out.nodes.is_empty() && into.nodes.is_empty())
            }
            Steps::Several(network) => network.has_neighbor(start),
        }
    }
}

impl Plain {
    /// The neighbours that edges lead to and that edges come from, as far as the hop follows them.
    fn lists(&self, node: u32) -> (Neighbors<'_>, Neighbors<'_>) {
        lists(&self.adjacency, self.direction, node)
    }
}

/// The neighbours that edges lead to and that edges come from, in this direction.
pub(super) fn lists(
    adjacency: &Adjacency,
    direction: Direction,
    node: u32,
) -> (Neighbors<'_>, Neighbors<'_>) {
    match direction {
        Direction::Out => (adjacency.outgoing(node), Neighbors::default()),
        Direction::In => (Neighbors::default(), adjacency.incoming(node)),
        Direction::Both => (adjacency.outgoing(node), adjacency.incoming(node)),
    }
}

impl Stepping for Plain {
    fn reach(&self) -> Reach {
        self.reach
    }

    fn nodes(&self) -> usize {
        self.nodes
    }

    fn enter(&self, start: u32) -> Option<u32> {
        Some(start)
    }

    fn leave(&self, node: u32) -> Option<u32> {
        Some(node)
    }

    fn end_node(&self, end: u32) -> Option<u32> {
        Some(end)
    }

    fn each_neighbor(&self, node: u32, mut found: impl FnMut(u32)) {
        if self.reach.min > self.reach.max {
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

    fn each_step(&self, node: u32, mut found: impl FnMut(u32)) {
        let (out, into) = self.lists(node);
        for &neighbor in out.nodes.iter().chain(into.nodes) {
            found(neighbor);
        }
    }

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
        if self.reach.min > self.reach.max {
            return false;
        }
        let (out, into) = self.lists(node);
        out.nodes.binary_search(&other).is_ok() || into.nodes.binary_search(&other).is_ok()
    }
}

/// Where a node stands in a sorted list.
pub(super) fn place(nodes: &[u32], node: u32) -> Range<usize> {
    let start = nodes.partition_point(|&n| n < node);
    let len = nodes[start..].partition_point(|&n| n == node);
    start..start + len
}
