//! Hops: one step or within bounds, to new nodes or as a condition.

use std::ops::Range;

use omnigraph_lang::query::Hop;
use rustc_hash::FxHashMap;

use super::column::NONE;
use super::execution::Execution;
use super::rows::Rows;
use super::steps::{Stepping, Steps};
use crate::error::Result;

/// Sources after which a loop looks at the clock.
pub(super) const SOURCES_PER_PAUSE: usize = 1024;
/// Rows after which it does so even within one source.
const ROWS_PER_PAUSE: usize = 64 * 1024;

/// Rows that an operator has found: which input row each continues, and what it adds.
#[derive(Default)]
struct Found {
    picks: Vec<u32>,
    nodes: Vec<u32>,
    edges: Vec<u32>,
}

impl Execution<'_> {
    /// Continues each row by what the hop reaches from its bound end.
    pub(super) async fn expand(&mut self, hop: &Hop, from_left: bool, rows: Rows) -> Result<Rows> {
        if let Some(path) = hop.path_var {
            return self.expand_paths(hop, path, from_left, rows).await;
        }
        let (known, new) = match from_left {
            true => (hop.from, hop.to),
            false => (hop.to, hop.from),
        };
        let starts = rows.column(known)?;
        let row_bytes = rows.row_bytes() + 8;
        let found = match self.steps(hop, from_left).await? {
            Steps::Plain(steps) => self.follow(&steps, hop, starts, row_bytes).await?,
            Steps::Several(steps) => self.follow(&steps, hop, starts, row_bytes).await?,
        };
        self.rows_scanned += found.nodes.len() as u64;
        let mut expanded = rows.select(&found.picks);
        expanded.bind(new, found.nodes);
        if let Some(var) = hop.edge_var {
            expanded.bind(var, found.edges);
        }
        Ok(expanded)
    }

    async fn follow<S: Stepping>(
        &mut self,
        steps: &S,
        hop: &Hop,
        starts: &[u32],
        row_bytes: usize,
    ) -> Result<Found> {
        let mut found = Found::default();
        let mut search = (!steps.reach().is_single()).then(|| Search::new(steps));
        let mut paused_at = 0;
        for (row, &start) in starts.iter().enumerate() {
            let Found {
                picks,
                nodes,
                edges,
            } = &mut found;
            let before = nodes.len();
            let source = match start {
                NONE => None,
                start => steps.enter(start),
            };
            let Some(source) = source else {
                continue;
            };
            if hop.edge_var.is_some() {
                steps.each_edge(source, |node, edge| {
                    if let Some(node) = steps.leave(node) {
                        nodes.push(node);
                        edges.push(edge);
                    }
                });
            } else if let Some(search) = &mut search {
                nodes.extend(
                    search
                        .reached(source)
                        .iter()
                        .filter_map(|n| steps.leave(*n)),
                );
            } else {
                steps.each_neighbor(source, |node| {
                    if let Some(node) = steps.leave(node) {
                        nodes.push(node);
                    }
                });
            }
            picks.extend(std::iter::repeat_n(row as u32, nodes.len() - before));
            if row % SOURCES_PER_PAUSE == 0
                || nodes.len() - paused_at > ROWS_PER_PAUSE
                || search.is_some()
            {
                paused_at = nodes.len();
                let kept = search.as_ref().map_or(0, Search::bytes);
                let bytes = nodes.len().saturating_mul(row_bytes).saturating_add(kept);
                self.guard.memory(bytes)?;
                self.guard.pause().await?;
            }
        }
        self.guard
            .memory(found.nodes.len().saturating_mul(row_bytes))?;
        Ok(found)
    }

    /// Keeps the rows whose two ends the hop connects; with an edge variable one per edge.
    pub(super) async fn check_hop(&mut self, hop: &Hop, rows: Rows) -> Result<Rows> {
        if let Some(path) = hop.path_var {
            return self.check_paths(hop, path, rows).await;
        }
        if hop.edge_var.is_some() {
            return match self.steps(hop, true).await? {
                Steps::Plain(steps) => self.edges_between(&steps, hop, rows).await,
                Steps::Several(steps) => self.edges_between(&steps, hop, rows).await,
            };
        }
        // A search costs as much as there are different sources: start at the end with fewer.
        let (left, right) = (rows.column(hop.from)?, rows.column(hop.to)?);
        let from_left = distinct_prefix(left) <= distinct_prefix(right);
        match self.steps(hop, from_left).await? {
            Steps::Plain(steps) => self.keep_connected(&steps, hop, rows).await,
            Steps::Several(steps) => self.keep_connected(&steps, hop, rows).await,
        }
    }

    async fn edges_between<S: Stepping>(
        &mut self,
        steps: &S,
        hop: &Hop,
        rows: Rows,
    ) -> Result<Rows> {
        let (mut picks, mut edges) = (Vec::new(), Vec::new());
        let pairs = rows.column(hop.from)?.iter().zip(rows.column(hop.to)?);
        for (row, (&from, &to)) in pairs.enumerate() {
            if from != NONE
                && to != NONE
                && let (Some(from), Some(to)) = (steps.enter(from), steps.end_node(to))
            {
                steps.each_edge_between(from, to, |edge| {
                    picks.push(row as u32);
                    edges.push(edge);
                });
            }
            if row % SOURCES_PER_PAUSE == 0 {
                let bytes = picks.len().saturating_mul(rows.row_bytes() + 4);
                self.guard.memory(bytes)?;
                self.guard.pause().await?;
            }
        }
        let mut checked = rows.select(&picks);
        if let Some(var) = hop.edge_var {
            checked.bind(var, edges);
        }
        Ok(checked)
    }

    async fn keep_connected<S: Stepping>(
        &mut self,
        steps: &S,
        hop: &Hop,
        mut rows: Rows,
    ) -> Result<Rows> {
        let reach = steps.reach();
        let (start, end) = match reach.reversed {
            false => (hop.from, hop.to),
            true => (hop.to, hop.from),
        };
        let pairs = rows.column(start)?.iter().zip(rows.column(end)?);
        let mut search = (!reach.is_single()).then(|| Search::new(steps));
        let mut keep = Vec::with_capacity(rows.len());
        for (row, (&source, &target)) in pairs.enumerate() {
            let connected = if source == NONE || target == NONE {
                false
            } else {
                match (steps.enter(source), steps.end_node(target), &mut search) {
                    (Some(source), Some(target), Some(search)) => search.reaches(source, target),
                    (Some(source), Some(target), None) => {
                        reach.min <= reach.max && steps.connects(source, target)
                    }
                    _ => false,
                }
            };
            keep.push(connected);
            if row % SOURCES_PER_PAUSE == 0 || search.is_some() {
                self.guard
                    .memory(search.as_ref().map_or(0, Search::bytes))?;
                self.guard.pause().await?;
            }
        }
        rows.retain(&keep);
        Ok(rows)
    }
}

/// How many of the first values differ, as a cheap sign of how many do.
pub(super) fn distinct_prefix(ordinals: &[u32]) -> usize {
    let mut some: Vec<u32> = ordinals.iter().take(64).copied().collect();
    some.sort_unstable();
    some.dedup();
    some.len()
}

/// Breadth-first searches within the bounds, each source once.
struct Search<'s, S> {
    steps: &'s S,
    /// By node the last round that has seen it.
    seen: Vec<u32>,
    round: u32,
    known: FxHashMap<u32, Range<usize>>,
    results: Vec<u32>,
}

impl<'s, S: Stepping> Search<'s, S> {
    fn new(steps: &'s S) -> Self {
        Self {
            steps,
            seen: vec![0; steps.nodes()],
            round: 0,
            known: FxHashMap::default(),
            results: Vec::new(),
        }
    }

    /// What the results take.
    fn bytes(&self) -> usize {
        self.results.len() * 4
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
        let reach = self.steps.reach();
        let (min, max) = (reach.min, reach.max);
        self.round += 1;
        let (round, seen) = (self.round, &mut self.seen);
        if source as usize >= seen.len() {
            return;
        }
        seen[source as usize] = round;
        let loop_at_end = reach.reversed && self.steps.connects(source, source);
        let mut frontier = vec![source];
        let mut next = Vec::new();
        for distance in 0..=max {
            for &node in &frontier {
                let mut has_loop = loop_at_end;
                if distance < max {
                    self.steps.each_step(node, |neighbor| {
                        if neighbor == node {
                            has_loop |= !reach.reversed;
                        } else if seen[neighbor as usize] != round {
                            seen[neighbor as usize] = round;
                            next.push(neighbor);
                        }
                    });
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
