//! Correlated blocks: `not { … }` and `optional { … }`.

use omnigraph_lang::query::{Block, VarId};

use super::column::NONE;
use super::execution::Execution;
use super::join::equal_sides;
use super::plan::BlockPlan;
use super::rows::{Groups, Rows};
use crate::error::Result;

/// Outer rows that a correlated block is run for at once.
const CORRELATED_ROWS: usize = 16 * 1024;
/// The same where the block does not start from them but multiplies them.
const MULTIPLIED_ROWS: usize = 64;

impl Execution<'_> {
    /// The rows that the block does not continue.
    pub(super) async fn without(
        &mut self,
        block: &Block,
        plan: &BlockPlan<'_>,
        shared: &[VarId],
        mut rows: Rows,
    ) -> Result<Rows> {
        let keep = match self.without_neighbor(block, &rows).await? {
            Some(keep) => keep,
            None => {
                let mut columns = Vec::with_capacity(shared.len());
                for &var in shared {
                    let extent = self.extent(var).await?;
                    columns.push((rows.column(var)?, extent));
                }
                let groups = Groups::new(rows.len(), &columns);
                let mut continued = vec![false; groups.first.len()];
                let step = chunk_size(block, shared);
                let mut start = 0;
                while start < groups.first.len() {
                    let end = groups.first.len().min(start + step);
                    let outer = rows.correlated(shared, start..end, &groups.first);
                    for &origin in self.block(plan, outer).await?.origin() {
                        continued[origin as usize] = true;
                    }
                    start = end;
                }
                groups
                    .of
                    .iter()
                    .map(|&group| !continued[group as usize])
                    .collect()
            }
        };
        rows.retain(&keep);
        Ok(rows)
    }

    /// `not { $x edge $_ }` only asks whether there is an edge.
    async fn without_neighbor(&mut self, block: &Block, rows: &Rows) -> Result<Option<Vec<bool>>> {
        let [hop] = block.hops.as_slice() else {
            return Ok(None);
        };
        let alone = block.filters.is_empty()
            && block.negations.is_empty()
            && block.optionals.is_empty()
            && block.late_filters.is_empty()
            && block.late_negations.is_empty();
        let ends = (rows.is_bound(hop.from), rows.is_bound(hop.to));
        let others = [hop.edge_var, hop.path_var].iter().flatten().count() + 1;
        if !alone || hop.min != 1 || ends.0 == ends.1 || block.variables.len() != others {
            return Ok(None);
        }
        let known = if ends.0 { hop.from } else { hop.to };
        let steps = self.steps(hop, known == hop.from).await?;
        let ordinals = rows.column(known)?.iter();
        Ok(Some(
            ordinals
                .map(|&o| o == NONE || !steps.has_neighbor(o))
                .collect(),
        ))
    }

    /// Each row continued by the block, or by nulls if the block does not continue it.
    pub(super) async fn left_join(
        &mut self,
        plan: &BlockPlan<'_>,
        shared: &[VarId],
        step: usize,
        rows: Rows,
    ) -> Result<Rows> {
        let new = &plan.introduces;
        let every: Vec<u32> = (0..rows.len() as u32).collect();
        let mut picks = Vec::new();
        let mut columns: Vec<Vec<u32>> = vec![Vec::new(); new.len()];
        let mut start = 0;
        while start < rows.len() {
            let end = rows.len().min(start + step);
            let outer = rows.correlated(shared, start..end, &every);
            let inner = self.block(plan, outer).await?;
            let mut matched = vec![false; end - start];
            for &origin in inner.origin() {
                matched[origin as usize - start] = true;
                picks.push(origin);
            }
            for (column, &var) in columns.iter_mut().zip(new) {
                column.extend(inner.column(var)?);
            }
            for (row, _) in (start as u32..)
                .zip(&matched)
                .filter(|(_, matched)| !**matched)
            {
                picks.push(row);
                columns.iter_mut().for_each(|column| column.push(NONE));
            }
            self.guard
                .memory(picks.len().saturating_mul(rows.row_bytes() + 4 * new.len()))?;
            start = end;
        }
        let mut joined = rows.select(&picks);
        for (var, column) in new.iter().zip(columns) {
            joined.bind(*var, column);
        }
        Ok(joined)
    }
}

/// A correlated block that is connected with its outer variables does not multiply them.
pub(super) fn chunk_size(block: &Block, shared: &[VarId]) -> usize {
    let mut reached: Vec<VarId> = shared.to_vec();
    loop {
        let before = reached.len();
        for hop in &block.hops {
            let ends = [hop.from, hop.to];
            if ends.iter().any(|v| reached.contains(v)) {
                for var in ends.into_iter().chain(hop.edge_var).chain(hop.path_var) {
                    if !reached.contains(&var) {
                        reached.push(var);
                    }
                }
            }
        }
        for filter in block.filters.iter().filter(|f| equal_sides(f).is_some()) {
            let ends = filter.variables();
            if ends.iter().any(|v| reached.contains(v)) {
                for var in ends {
                    if !reached.contains(&var) {
                        reached.push(var);
                    }
                }
            }
        }
        if reached.len() == before {
            break;
        }
    }
    match block.variables.iter().all(|v| reached.contains(v)) {
        true => CORRELATED_ROWS,
        false => MULTIPLIED_ROWS,
    }
}

/// Variables of the outer rows that the block mentions anywhere.
pub(super) fn shared_variables(block: &Block, bound: &[VarId]) -> Vec<VarId> {
    let mut mentioned = Vec::new();
    mentions(block, &mut mentioned);
    mentioned.sort_unstable();
    mentioned.dedup();
    mentioned.retain(|v| bound.contains(v));
    mentioned
}

fn mentions(block: &Block, found: &mut Vec<VarId>) {
    found.extend(&block.variables);
    for hop in &block.hops {
        found.extend([hop.from, hop.to]);
        found.extend(hop.edge_var);
        found.extend(hop.path_var);
    }
    for filter in block.filters.iter().chain(&block.late_filters) {
        found.extend(filter.variables());
    }
    let inner = block
        .negations
        .iter()
        .chain(&block.optionals)
        .chain(&block.late_negations);
    inner.for_each(|inner| mentions(inner, found));
}

/// Variables that rows have after the block and not before.
pub(crate) fn introduced(block: &Block) -> Vec<VarId> {
    let inner = block.optionals.iter().flat_map(introduced);
    block.variables.iter().copied().chain(inner).collect()
}
