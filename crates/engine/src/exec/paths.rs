//! Shortest paths: `path $r = shortest $a edge{m,k} $b`.
//!
//! A path has as many steps as the hop took. Of the paths of that length it is the one whose
//! sequence of nodes, by (type name, id), and then of edges is least.

use std::cmp::Ordering;

use omnigraph_lang::query::{Hop, VarId};

use super::column::NONE;
use super::execution::Execution;
use super::expand::{SOURCES_PER_PAUSE, distinct_prefix};
use super::network::Network;
use super::path_values::PathTable;
use super::rows::Rows;
use super::scope::{Field, TEXT};
use super::space::EntityColumn;
use super::steps::Stepping;
use crate::error::Result;

/// Paths after which a loop looks at the clock and the memory: a path may be long.
const PATHS_PER_PAUSE: usize = 64;

impl Execution<'_> {
    /// Continues each row by what the hop reaches, with a path to it.
    pub(super) async fn expand_paths(
        &mut self,
        hop: &Hop,
        path: VarId,
        from_left: bool,
        rows: Rows,
    ) -> Result<Rows> {
        let (known, new) = match from_left {
            true => (hop.from, hop.to),
            false => (hop.to, hop.from),
        };
        let network = self.network(hop, from_left).await?;
        let mut search = self.path_search(&network, path).await?;
        let starts = rows.column(known)?;
        let (mut picks, mut nodes, mut paths) = (Vec::new(), Vec::new(), Vec::new());
        let mut last = NONE;
        let mut found: Vec<(u32, u32)> = Vec::new();
        for (at, &row) in by_value(starts).iter().enumerate() {
            let start = starts[row as usize];
            let source = match start {
                NONE => None,
                start => network.enter(start),
            };
            let Some(source) = source else {
                continue;
            };
            if start != last {
                last = start;
                search.run(source);
                found.clear();
                for (at, reached) in std::mem::take(&mut search.reached).into_iter().enumerate() {
                    if let Some(value) = network.leave(reached.node) {
                        found.push((value, search.write(source, reached)));
                    }
                    if at % PATHS_PER_PAUSE == 0 {
                        self.guard.memory(search.table.bytes())?;
                        self.guard.pause().await?;
                    }
                }
            }
            picks.extend(std::iter::repeat_n(row, found.len()));
            nodes.extend(found.iter().map(|(value, _)| value));
            paths.extend(found.iter().map(|(_, path)| path));
            if at % SOURCES_PER_PAUSE == 0 || found.len() > 64 {
                let bytes = picks.len().saturating_mul(rows.row_bytes() + 12);
                self.guard
                    .memory(bytes.saturating_add(search.table.bytes()))?;
                self.guard.pause().await?;
            }
        }
        self.rows_scanned += nodes.len() as u64;
        self.guard.memory(search.table.bytes())?;
        self.paths.insert(path, search.table);
        let mut expanded = rows.select(&picks);
        expanded.bind(new, nodes);
        expanded.bind(path, paths);
        Ok(expanded)
    }

    /// Keeps the rows whose two ends the hop connects, with a path between them.
    pub(super) async fn check_paths(&mut self, hop: &Hop, path: VarId, rows: Rows) -> Result<Rows> {
        let (left, right) = (rows.column(hop.from)?, rows.column(hop.to)?);
        let from_left = distinct_prefix(left) <= distinct_prefix(right);
        let network = self.network(hop, from_left).await?;
        let mut search = self.path_search(&network, path).await?;
        let (starts, ends) = match from_left {
            true => (left, right),
            false => (right, left),
        };
        let (mut picks, mut paths) = (Vec::new(), Vec::new());
        let mut last = NONE;
        for (at, &row) in by_value(starts).iter().enumerate() {
            let (start, end) = (starts[row as usize], ends[row as usize]);
            if start == NONE || end == NONE {
                continue;
            }
            let (Some(source), Some(target)) = (network.enter(start), network.end_node(end)) else {
                continue;
            };
            if start != last {
                last = start;
                search.run(source);
                search.reached.sort_unstable_by_key(|reached| reached.node);
            }
            let reached = &search.reached;
            let found = reached.binary_search_by_key(&target, |reached| reached.node);
            if let Ok(found) = found {
                let reached = reached[found];
                picks.push(row);
                paths.push(search.write(source, reached));
            }
            if at % SOURCES_PER_PAUSE == 0 || search.reached.len() > 64 {
                self.guard.memory(search.table.bytes())?;
                self.guard.pause().await?;
            }
        }
        self.guard.memory(search.table.bytes())?;
        self.paths.insert(path, search.table);
        let mut checked = rows.select(&picks);
        checked.bind(path, paths);
        Ok(checked)
    }

    /// Paths that the variable has had before stay where they are: an optional block runs in parts.
    async fn path_search<'n>(
        &mut self,
        network: &'n Network,
        path: VarId,
    ) -> Result<PathSearch<'n>> {
        let table = match self.paths.remove(&path) {
            Some(table) => table,
            None => PathTable::new(network.nodes.clone(), network.edges.clone()),
        };
        Ok(PathSearch {
            network,
            node_ids: self.column_in(&network.nodes, &Field::Id, TEXT).await?,
            edge_ids: self.column_in(&network.edges, &Field::Id, TEXT).await?,
            seen: vec![0; network.nodes()],
            round: 0,
            toward: vec![NONE; network.nodes()],
            reached: Vec::new(),
            table,
        })
    }
}

/// Rows in the order of their values, so that equal ones are neighbours.
fn by_value(values: &[u32]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..values.len() as u32).collect();
    order.sort_by_key(|row| values[*row as usize]);
    order
}

/// A node that the hop reaches.
#[derive(Clone, Copy, Debug)]
struct Reached {
    node: u32,
    /// The last step is the edge of the right end to itself.
    by_loop: bool,
}

/// Breadth-first searches that remember the least path.
struct PathSearch<'n> {
    network: &'n Network,
    node_ids: EntityColumn,
    edge_ids: EntityColumn,
    /// By node the last round that has seen it.
    seen: Vec<u32>,
    round: u32,
    /// By node that was seen: the next one on its path toward the source.
    toward: Vec<u32>,
    reached: Vec<Reached>,
    table: PathTable,
}

impl PathSearch<'_> {
    /// What the hop reaches from a source, as [`PathSearch::reached`].
    ///
    /// Each level is kept in the order of the paths of its nodes. Forward those paths begin at the
    /// source, so a node's place is that of the one it was first reached from, and then by its own
    /// name. Backward they begin at the node itself, so its name alone decides.
    fn run(&mut self, source: u32) {
        let reach = self.network.reach();
        self.round += 1;
        self.reached.clear();
        self.seen[source as usize] = self.round;
        let loop_at_end = reach.reversed && self.network.connects(source, source);
        let mut level = vec![source];
        for distance in 0..=reach.max {
            let mut next = Vec::new();
            for &node in &level {
                let has_loop = match reach.reversed {
                    true => loop_at_end,
                    false => self.network.connects(node, node),
                };
                if node != source && reach.min <= distance {
                    let by_loop = false;
                    self.reached.push(Reached { node, by_loop });
                } else if has_loop && distance < reach.max && reach.min <= distance + 1 {
                    let by_loop = true;
                    self.reached.push(Reached { node, by_loop });
                }
                if distance < reach.max {
                    let first = next.len();
                    self.network.each_step(node, |neighbor| {
                        let seen = &mut self.seen[neighbor as usize];
                        if *seen != self.round {
                            *seen = self.round;
                            self.toward[neighbor as usize] = node;
                            next.push(neighbor);
                        }
                    });
                    let ids = &self.node_ids;
                    let nodes = &self.network.nodes;
                    if !reach.reversed {
                        next[first..].sort_unstable_by(|a, b| by_name(nodes, ids, *a, *b));
                    }
                }
            }
            if next.is_empty() {
                break;
            }
            if reach.reversed {
                let ids = &self.node_ids;
                next.sort_unstable_by(|a, b| by_name(&self.network.nodes, ids, *a, *b));
            }
            level = next;
        }
    }

    /// Writes the path between the source and a node that was reached from it; its number.
    fn write(&mut self, source: u32, reached: Reached) -> u32 {
        let mut nodes = vec![reached.node];
        let mut node = reached.node;
        while node != source {
            node = self.toward[node as usize];
            nodes.push(node);
        }
        let reversed = self.network.reach().reversed;
        if !reversed {
            nodes.reverse();
        }
        if reached.by_loop {
            nodes.extend(nodes.last().copied());
        }
        let mut edges = Vec::with_capacity(nodes.len() - 1);
        for pair in nodes.windows(2) {
            // The network's steps go from the source.
            let (from, to) = match reversed {
                false => (pair[0], pair[1]),
                true => (pair[1], pair[0]),
            };
            let mut least: Option<u32> = None;
            self.network.each_edge_between(from, to, |edge| {
                let is_less = least.is_none_or(|least| {
                    by_name(&self.network.edges, &self.edge_ids, edge, least).is_lt()
                });
                if is_less {
                    least = Some(edge);
                }
            });
            edges.extend(least);
        }
        self.table.push(&nodes, &edges)
    }
}

/// By type name and id.
pub(super) fn by_name(space: &super::space::Space, ids: &EntityColumn, a: u32, b: u32) -> Ordering {
    let parts = space.place(a).0.cmp(&space.place(b).0);
    parts.then_with(|| ids.text(a).cmp(&ids.text(b)))
}
