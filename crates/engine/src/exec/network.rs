//! Steps over several edge types, between nodes of several types.

use std::sync::Arc;

use omnigraph_lang::query::{Direction, Hop};
use omnigraph_lang::schema::TypeId;

use super::adjacency::Adjacency;
use super::column::NONE;
use super::execution::Execution;
use super::space::Space;
use super::steps::{Reach, Stepping, lists, place, seen_from};
use crate::error::Result;

/// The nodes of all types that the edges of a hop join, under one numbering, and all its edges
/// under another.
pub(super) struct Network {
    pub(super) nodes: Arc<Space>,
    pub(super) edges: Arc<Space>,
    legs: Vec<Leg>,
    /// Legs by part of `nodes` where they start.
    from_part: Vec<Vec<usize>>,
    reach: Reach,
    start: Arc<Space>,
    /// By part of `start` the first number of its type in `nodes`.
    enter: Vec<Option<u32>>,
    /// By part of `nodes` the first number of its type in the end's variable.
    leave: Vec<Option<u32>>,
    end: Arc<Space>,
    /// By part of `end` the first number of its type in `nodes`.
    end_node: Vec<Option<u32>>,
}

/// The steps along one edge type.
struct Leg {
    adjacency: Arc<Adjacency>,
    direction: Direction,
    /// Where the steps end, in `nodes`.
    end: u32,
    /// The first number of the edges, in `edges`.
    edge: u32,
}

impl Execution<'_> {
    pub(super) async fn network(&mut self, hop: &Hop, from_left: bool) -> Result<Network> {
        let mut types: Vec<TypeId> = Vec::new();
        let mut edge_types = Vec::with_capacity(hop.edges.len());
        for edge in &hop.edges {
            let edge_type = self.edge_type(edge.edge)?;
            types.extend([edge_type.from, edge_type.to]);
            edge_types.push(edge.edge);
        }
        types.sort_unstable();
        types.dedup();
        let nodes = self.space_of(&types).await?;
        let edges = self.space_of(&edge_types).await?;
        let mut legs = Vec::with_capacity(hop.edges.len());
        let mut from_part = vec![Vec::new(); nodes.parts().len()];
        for edge in &hop.edges {
            let edge_type = self.edge_type(edge.edge)?;
            let direction = seen_from(edge.direction, from_left);
            let (start, end) = match direction {
                Direction::Out | Direction::Both => (edge_type.from, edge_type.to),
                Direction::In => (edge_type.to, edge_type.from),
            };
            if let Some(part) = nodes.part_of(start) {
                from_part[part].push(legs.len());
            }
            legs.push(Leg {
                adjacency: self.adjacency(edge.edge).await?,
                direction,
                end: first(&nodes, end).unwrap_or(NONE),
                edge: first(&edges, edge.edge).unwrap_or(NONE),
            });
        }
        let (start, end) = match from_left {
            true => (hop.from, hop.to),
            false => (hop.to, hop.from),
        };
        let (start, end) = (self.space(start).await?, self.space(end).await?);
        let enter = start.parts().iter().map(|part| first(&nodes, part.ty));
        let leave = nodes.parts().iter().map(|part| first(&end, part.ty));
        let end_node = end.parts().iter().map(|part| first(&nodes, part.ty));
        Ok(Network {
            enter: enter.collect(),
            leave: leave.collect(),
            end_node: end_node.collect(),
            nodes,
            edges,
            legs,
            from_part,
            reach: Reach {
                min: hop.min,
                max: hop.max,
                reversed: !from_left,
            },
            start,
            end,
        })
    }
}

fn first(space: &Space, ty: TypeId) -> Option<u32> {
    space.part_of(ty).map(|at| space.parts()[at].start)
}

impl Network {
    pub(super) fn has_neighbor(&self, start: u32) -> bool {
        let Some(node) = self.enter(start) else {
            return false;
        };
        let mut found = false;
        self.each_step(node, |neighbor| found |= self.leave(neighbor).is_some());
        found && self.reach.min == 1
    }

    /// The legs from a node, with its ordinal.
    fn legs(&self, node: u32) -> (impl Iterator<Item = &Leg>, u32) {
        let (part, ordinal) = self.nodes.place(node);
        let legs = self.from_part[part].iter().map(|leg| &self.legs[*leg]);
        (legs, ordinal)
    }
}

impl Stepping for Network {
    fn reach(&self) -> Reach {
        self.reach
    }

    fn nodes(&self) -> usize {
        self.nodes.rows()
    }

    fn enter(&self, start: u32) -> Option<u32> {
        let (part, ordinal) = self.start.place(start);
        Some((*self.enter.get(part)?)? + ordinal)
    }

    fn leave(&self, node: u32) -> Option<u32> {
        let (part, ordinal) = self.nodes.place(node);
        Some(self.leave[part]? + ordinal)
    }

    fn end_node(&self, end: u32) -> Option<u32> {
        let (part, ordinal) = self.end.place(end);
        Some((*self.end_node.get(part)?)? + ordinal)
    }

    fn each_neighbor(&self, node: u32, mut found: impl FnMut(u32)) {
        if self.reach.min > 1 {
            return;
        }
        let mut all = Vec::new();
        self.each_step(node, |neighbor| all.push(neighbor));
        all.sort_unstable();
        all.dedup();
        all.into_iter().for_each(&mut found);
    }

    fn each_step(&self, node: u32, mut found: impl FnMut(u32)) {
        let (legs, ordinal) = self.legs(node);
        for leg in legs {
            let (out, into) = lists(&leg.adjacency, leg.direction, ordinal);
            for &neighbor in out.nodes.iter().chain(into.nodes) {
                found(leg.end + neighbor);
            }
        }
    }

    fn each_edge(&self, node: u32, mut found: impl FnMut(u32, u32)) {
        let (legs, ordinal) = self.legs(node);
        for leg in legs {
            let (out, into) = lists(&leg.adjacency, leg.direction, ordinal);
            for (&to, &edge) in out.nodes.iter().zip(out.edges) {
                found(leg.end + to, leg.edge + edge);
            }
            let both = leg.direction == Direction::Both;
            for (&from, &edge) in into.nodes.iter().zip(into.edges) {
                if !(both && from == ordinal) {
                    found(leg.end + from, leg.edge + edge);
                }
            }
        }
    }

    fn each_edge_between(&self, node: u32, other: u32, mut found: impl FnMut(u32)) {
        let (other_part, other_ordinal) = self.nodes.place(other);
        let other_start = self.nodes.parts()[other_part].start;
        let (legs, ordinal) = self.legs(node);
        for leg in legs.filter(|leg| leg.end == other_start) {
            let (out, into) = lists(&leg.adjacency, leg.direction, ordinal);
            out.edges[place(out.nodes, other_ordinal)]
                .iter()
                .for_each(|&edge| found(leg.edge + edge));
            if !(leg.direction == Direction::Both && node == other) {
                into.edges[place(into.nodes, other_ordinal)]
                    .iter()
                    .for_each(|&edge| found(leg.edge + edge));
            }
        }
    }

    fn connects(&self, node: u32, other: u32) -> bool {
        let mut connected = false;
        self.each_edge_between(node, other, |_| connected = true);
        connected
    }
}
