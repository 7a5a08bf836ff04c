//! The edges of one type as neighbours, in both directions.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::column::{Column, NONE};
use super::id_index::IdIndex;
use super::live::LiveSet;
use super::part_cache::Part;
use super::table_snapshot::{TableSnapshot, blocking};
use crate::error::Result;

/// Nodes with changed neighbours that a version carries beside the arrays of its base; with more,
/// the arrays are made anew.
const MAX_PATCHED_NODES: usize = 4096;

/// Neighbours of a node, parallel edges apart, ascending by (node, edge).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Neighbors<'a> {
    pub nodes: &'a [u32],
    pub edges: &'a [u32],
}

/// Adjacency of one edge table version in the ordinals of one version of each node table.
pub(crate) struct Adjacency {
    ends: Ends,
    outgoing: Direction,
    incoming: Direction,
    /// What the ordinals are of, to find out later what has changed.
    edges_live: Arc<LiveSet>,
    from_live: Arc<LiveSet>,
    to_live: Arc<LiveSet>,
}

/// `[from, to]` by edge ordinal; [`NONE`] for dead edges.
#[derive(Clone)]
struct Ends {
    base: Arc<Vec<[u32; 2]>>,
    /// Newer than `base`.
    patch: FxHashMap<u32, [u32; 2]>,
}

#[derive(Clone)]
struct Direction {
    base: Arc<Csr>,
    /// Nodes whose neighbours are not those of `base`.
    patch: FxHashMap<u32, Arc<List>>,
}

/// Compressed sparse rows: the neighbours of node `n` are at `offsets[n]..offsets[n + 1]`.
struct Csr {
    offsets: Vec<u32>,
    nodes: Vec<u32>,
    edges: Vec<u32>,
}

struct List {
    nodes: Vec<u32>,
    edges: Vec<u32>,
}

impl Adjacency {
    /// Neighbours that edges from this node lead to.
    pub(crate) fn outgoing(&self, from: u32) -> Neighbors<'_> {
        self.outgoing.get(from)
    }

    /// Neighbours that have an edge to this node.
    pub(crate) fn incoming(&self, to: u32) -> Neighbors<'_> {
        self.incoming.get(to)
    }

    /// Builds it from `base` where little has changed since, else from the ends of all edges.
    pub(super) async fn build(
        edges: &TableSnapshot,
        from: &TableSnapshot,
        to: &TableSnapshot,
        base: Option<Arc<Adjacency>>,
    ) -> Result<Adjacency> {
        let inputs = Inputs {
            edges: edges.live_set().clone(),
            from_live: from.live_set().clone(),
            to_live: to.live_set().clone(),
            src: edges.column("src").await?,
            dst: edges.column("dst").await?,
            from: from.id_index().await?,
            to: to.id_index().await?,
            one_type: from.key() == to.key(),
        };
        let built = blocking(edges.rows(), move || {
            Ok(match base {
                Some(base) => inputs.derive(&base),
                None => inputs.build(),
            })
        });
        // The sole owner: it was made just now.
        Arc::try_unwrap(built.await?)
            .map_err(|_| crate::error::Error::internal("a new adjacency is shared"))
    }
}

impl Part for Adjacency {
    fn bytes(&self) -> usize {
        let patched = |d: &Direction| {
            d.patch
                .values()
                .map(|l| l.nodes.len() * 8 + 80)
                .sum::<usize>()
        };
        let csr = |c: &Csr| (c.offsets.len() + c.nodes.len() + c.edges.len()) * 4;
        self.ends.base.len() * 8
            + self.ends.patch.len() * 16
            + csr(&self.outgoing.base)
            + csr(&self.incoming.base)
            + patched(&self.outgoing)
            + patched(&self.incoming)
    }
}

impl Direction {
    fn get(&self, node: u32) -> Neighbors<'_> {
        if !self.patch.is_empty()
            && let Some(list) = self.patch.get(&node)
        {
            return Neighbors {
                nodes: &list.nodes,
                edges: &list.edges,
            };
        }
        self.base.get(node)
    }
}

impl Csr {
    fn get(&self, node: u32) -> Neighbors<'_> {
        let node = node as usize;
        if node + 1 >= self.offsets.len() {
            return Neighbors::default();
        }
        let range = self.offsets[node] as usize..self.offsets[node + 1] as usize;
        Neighbors {
            nodes: &self.nodes[range.clone()],
            edges: &self.edges[range],
        }
    }

    /// Counting sort by `side`; inside a node by neighbour and edge.
    fn build(ends: &[[u32; 2]], side: usize, rows: usize) -> Csr {
        let mut offsets = vec![0u32; rows + 1];
        for end in ends.iter().filter(|end| end[0] != NONE) {
            offsets[end[side] as usize + 1] += 1;
        }
        for node in 0..rows {
            offsets[node + 1] += offsets[node];
        }
        let mut pairs = vec![(0u32, 0u32); offsets[rows] as usize];
        let mut next = offsets.clone();
        for (edge, end) in ends.iter().enumerate().filter(|(_, end)| end[0] != NONE) {
            let slot = &mut next[end[side] as usize];
            pairs[*slot as usize] = (end[1 - side], edge as u32);
            *slot += 1;
        }
        for node in 0..rows {
            pairs[offsets[node] as usize..offsets[node + 1] as usize].sort_unstable();
        }
        let (nodes, edges) = pairs.into_iter().unzip();
        Csr {
            offsets,
            nodes,
            edges,
        }
    }
}

impl Ends {
    fn get(&self, edge: u32) -> [u32; 2] {
        match self.patch.get(&edge) {
            Some(end) => *end,
            None => self.base.get(edge as usize).copied().unwrap_or([NONE; 2]),
        }
    }

    /// All in one vector of `rows` edges.
    fn folded(&self, rows: usize) -> Vec<[u32; 2]> {
        let mut ends = (*self.base).clone();
        ends.resize(rows, [NONE; 2]);
        for (&edge, &end) in &self.patch {
            ends[edge as usize] = end;
        }
        ends
    }
}

struct Inputs {
    edges: Arc<LiveSet>,
    from_live: Arc<LiveSet>,
    to_live: Arc<LiveSet>,
    src: Arc<Column>,
    dst: Arc<Column>,
    from: Arc<IdIndex>,
    to: Arc<IdIndex>,
    /// Both ends are in one table.
    one_type: bool,
}

impl Inputs {
    fn build(&self) -> Adjacency {
        let mut ends = vec![[NONE; 2]; self.edges.rows()];
        for edge in self.edges.iter() {
            ends[edge as usize] = self.resolve(edge);
        }
        self.with_ends(ends)
    }

    fn with_ends(&self, ends: Vec<[u32; 2]>) -> Adjacency {
        let direction = |side, rows| Direction {
            base: Arc::new(Csr::build(&ends, side, rows)),
            patch: FxHashMap::default(),
        };
        Adjacency {
            outgoing: direction(0, self.from_live.rows()),
            incoming: direction(1, self.to_live.rows()),
            ends: Ends {
                base: Arc::new(ends),
                patch: FxHashMap::default(),
            },
            edges_live: self.edges.clone(),
            from_live: self.from_live.clone(),
            to_live: self.to_live.clone(),
        }
    }

    /// Ordinals of the ends. An edge without one of its nodes is left out: commits never have such
    /// edges, and a reader is not the one to complain.
    fn resolve(&self, edge: u32) -> [u32; 2] {
        let end =
            |ids: &IdIndex, column: &Column| column.text(edge).and_then(|id| ids.ordinal_of(id));
        match (end(&self.from, &self.src), end(&self.to, &self.dst)) {
            (Some(from), Some(to)) => [from, to],
            _ => [NONE; 2],
        }
    }

    fn derive(&self, base: &Adjacency) -> Adjacency {
        let changed = self.changed_edges(base);
        let too_many = changed.len() + base.outgoing.patch.len() + base.incoming.patch.len();
        let mut ends = base.ends.clone();
        let mut touched: [FxHashSet<u32>; 2] = Default::default();
        for &edge in &changed {
            let before = base.ends.get(edge);
            let after = match self.edges.contains(edge) {
                true => self.resolve(edge),
                false => [NONE; 2],
            };
            ends.patch.insert(edge, after);
            for side in 0..2 {
                touched[side].extend(
                    [before[side], after[side]]
                        .into_iter()
                        .filter(|&n| n != NONE),
                );
            }
        }
        if too_many > MAX_PATCHED_NODES {
            return self.with_ends(ends.folded(self.edges.rows()));
        }
        let mut added: [FxHashMap<u32, Vec<u32>>; 2] = Default::default();
        for &edge in &changed {
            let end = ends.get(edge);
            if end[0] != NONE {
                added[0].entry(end[0]).or_default().push(edge);
                added[1].entry(end[1]).or_default().push(edge);
            }
        }
        let changed: FxHashSet<u32> = changed.into_iter().collect();
        let patched = |direction: &Direction, side: usize| {
            let mut patch = direction.patch.clone();
            for &node in &touched[side] {
                let old = direction.get(node);
                let kept = old.nodes.iter().copied().zip(old.edges.iter().copied());
                let mut pairs: Vec<(u32, u32)> =
                    kept.filter(|(_, edge)| !changed.contains(edge)).collect();
                let new = added[side].get(&node).into_iter().flatten();
                pairs.extend(new.map(|&edge| (ends.get(edge)[1 - side], edge)));
                pairs.sort_unstable();
                let (nodes, edges) = pairs.into_iter().unzip();
                patch.insert(node, Arc::new(List { nodes, edges }));
            }
            Direction {
                base: direction.base.clone(),
                patch,
            }
        };
        Adjacency {
            outgoing: patched(&base.outgoing, 0),
            incoming: patched(&base.incoming, 1),
            ends,
            edges_live: self.edges.clone(),
            from_live: self.from_live.clone(),
            to_live: self.to_live.clone(),
        }
    }

    /// Edges that are new, dead, or whose nodes have moved to other rows since `base`.
    fn changed_edges(&self, base: &Adjacency) -> Vec<u32> {
        let known = base.edges_live.rows() as u32;
        let mut changed: Vec<u32> = (known..self.edges.rows() as u32)
            .filter(|&edge| self.edges.contains(edge))
            .collect();
        changed.extend(self.edges.died_since(&base.edges_live));
        for node in self.from_live.died_since(&base.from_live) {
            changed.extend(base.outgoing(node).edges);
            if self.one_type {
                changed.extend(base.incoming(node).edges);
            }
        }
        if !self.one_type {
            for node in self.to_live.died_since(&base.to_live) {
                changed.extend(base.incoming(node).edges);
            }
        }
        changed.sort_unstable();
        changed.dedup();
        changed
    }
}
