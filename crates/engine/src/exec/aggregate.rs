//! Grouping and aggregates.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{
    Array, ArrayRef, Float64Array, Int64Array, ListArray, UInt32Array, new_null_array,
};
use arrow_buffer::OffsetBuffer;
use arrow_cast::cast;
use arrow_schema::{DataType, Field};
use arrow_select::take::take;
use omnigraph_lang::query::{Aggregate, AggregateFunction, Expr, ExprKind, Grouping, VarId};
use rustc_hash::FxHashSet;

use super::column::NONE;
use super::execution::Execution;
use super::expr::{Leaf, Scope, arrow_type};
use super::order::{Comparable, group_by_value};
use super::rows::{Groups, Rows};
use crate::error::{Error, Result};

/// One row per group.
pub(crate) struct Grouped {
    rows: usize,
    keys: Vec<ArrayRef>,
    aggregates: Vec<ArrayRef>,
}

impl Scope for Grouped {
    fn rows(&self) -> usize {
        self.rows
    }

    fn resolve(&self, leaf: Leaf<'_>) -> Result<ArrayRef> {
        let found = match leaf {
            Leaf::GroupKey(at) => self.keys.get(at),
            Leaf::AggregateResult(at) => self.aggregates.get(at),
            _ => None,
        };
        found
            .cloned()
            .ok_or_else(|| Error::internal("an expression over groups mentions something else"))
    }
}

impl Execution<'_> {
    pub(crate) async fn group(&mut self, grouping: &Grouping, rows: &Rows) -> Result<Grouped> {
        let (of, count, keys) = self.group_keys(grouping, rows).await?;
        let mut aggregates = Vec::with_capacity(grouping.aggregates.len());
        for aggregate in &grouping.aggregates {
            let values = self.aggregate(aggregate, rows, &of, count).await?;
            aggregates.push(values);
            self.guard.pause().await?;
        }
        Ok(Grouped {
            rows: count,
            keys,
            aggregates,
        })
    }

    /// The group of each row, the number of groups, and the keys of each group. Rows are first
    /// grouped by the entities that the keys are about, so that keys are made once for each.
    async fn group_keys(
        &mut self,
        grouping: &Grouping,
        rows: &Rows,
    ) -> Result<(Vec<u32>, usize, Vec<ArrayRef>)> {
        if grouping.keys.is_empty() {
            return Ok((vec![0; rows.len()], 1, Vec::new()));
        }
        let exprs: Vec<&Expr> = grouping.keys.iter().collect();
        let by_entity = self.entity_groups(rows, &exprs).await?;
        let some = rows.select(&by_entity.first);
        self.guard.pause().await?;
        let keys = self.values(&some, &exprs).await?;
        let (merged, first) = group_by_value(some.len(), &keys)?;
        let of = by_entity
            .of
            .iter()
            .map(|&group| merged[group as usize])
            .collect();
        let picks = UInt32Array::from(first);
        let count = picks.len();
        let keys = keys
            .iter()
            .map(|key| take(key, &picks, None))
            .collect::<Result<_, _>>()?;
        Ok((of, count, keys))
    }

    /// Rows with the same entities in all variables that the expressions mention.
    pub(crate) async fn entity_groups(&mut self, rows: &Rows, exprs: &[&Expr]) -> Result<Groups> {
        let mut vars: Vec<VarId> = exprs.iter().flat_map(|e| e.variables()).collect();
        vars.sort_unstable();
        vars.dedup();
        let mut columns = Vec::with_capacity(vars.len());
        for var in vars {
            let space = self.table_of(var).await?.rows();
            columns.push((rows.column(var)?, space));
        }
        Ok(Groups::new(rows.len(), &columns))
    }

    async fn aggregate(
        &mut self,
        aggregate: &Aggregate,
        rows: &Rows,
        of: &[u32],
        groups: usize,
    ) -> Result<ArrayRef> {
        let Some(argument) = &aggregate.argument else {
            return Ok(counts(of, groups, |_| true));
        };
        if let (AggregateFunction::Count, ExprKind::Var(var)) = (aggregate.function, &argument.kind)
        {
            return Ok(count_entities(
                rows.column(*var)?,
                of,
                groups,
                aggregate.distinct,
            ));
        }
        let values = self.values(rows, &[argument]).await?.remove(0);
        let taking: Option<Vec<bool>> = aggregate.distinct.then(|| first_of_each(&values, of));
        let takes =
            |row: usize| values.is_valid(row) && taking.as_ref().is_none_or(|taking| taking[row]);
        match aggregate.function {
            _ if matches!(values.data_type(), DataType::Null) => Ok(match aggregate.function {
                AggregateFunction::Count => counts(of, groups, |_| false),
                _ => new_null_array(&arrow_type(&aggregate.ty), groups),
            }),
            AggregateFunction::Count => Ok(counts(of, groups, takes)),
            AggregateFunction::Sum | AggregateFunction::Avg => {
                let numbers = cast(&values, &DataType::Float64)?;
                let numbers = numbers.as_primitive::<Float64Type>().values();
                let mean = aggregate.function == AggregateFunction::Avg;
                Ok(sums(numbers, of, groups, mean, takes))
            }
            AggregateFunction::Min => extremes(&values, of, groups, std::cmp::Ordering::Less),
            AggregateFunction::Max => extremes(&values, of, groups, std::cmp::Ordering::Greater),
            AggregateFunction::Collect => lists(&values, of, groups, takes),
        }
    }
}

fn counts(of: &[u32], groups: usize, takes: impl Fn(usize) -> bool) -> ArrayRef {
    let mut counts = vec![0i64; groups];
    for (row, &group) in of.iter().enumerate() {
        counts[group as usize] += i64::from(takes(row));
    }
    Arc::new(Int64Array::from(counts))
}

fn count_entities(ordinals: &[u32], of: &[u32], groups: usize, distinct: bool) -> ArrayRef {
    if !distinct {
        return counts(of, groups, |row| ordinals[row] != NONE);
    }
    let pairs = of.iter().zip(ordinals).filter(|(_, o)| **o != NONE);
    let pairs: FxHashSet<u64> = pairs
        .map(|(&g, &o)| (u64::from(g) << 32) | u64::from(o))
        .collect();
    let mut counts = vec![0i64; groups];
    for pair in pairs {
        counts[(pair >> 32) as usize] += 1;
    }
    Arc::new(Int64Array::from(counts))
}

/// For each row whether its value occurs in its group for the first time.
fn first_of_each(values: &ArrayRef, of: &[u32]) -> Vec<bool> {
    let comparable = Comparable::new(values);
    let mut seen: FxHashSet<Box<[u8]>> = FxHashSet::default();
    let mut bytes = Vec::new();
    let rows = of.iter().enumerate();
    rows.map(|(row, group)| {
        bytes.clear();
        bytes.extend(group.to_le_bytes());
        comparable.encode(row, &mut bytes);
        !seen.contains(bytes.as_slice()) && seen.insert(bytes.as_slice().into())
    })
    .collect()
}

fn sums(
    numbers: &[f64],
    of: &[u32],
    groups: usize,
    mean: bool,
    takes: impl Fn(usize) -> bool,
) -> ArrayRef {
    let mut sums = vec![(0.0, 0u64); groups];
    for (row, &group) in of.iter().enumerate() {
        if takes(row) {
            let (sum, count) = &mut sums[group as usize];
            *sum += numbers[row];
            *count += 1;
        }
    }
    let result = sums.into_iter().map(|(sum, count)| match (count, mean) {
        (0, _) => None,
        (count, true) => Some(sum / count as f64),
        (_, false) => Some(sum),
    });
    Arc::new(result.collect::<Float64Array>())
}

fn extremes(
    values: &ArrayRef,
    of: &[u32],
    groups: usize,
    better: std::cmp::Ordering,
) -> Result<ArrayRef> {
    let comparable = Comparable::new(values);
    let mut best: Vec<Option<u32>> = vec![None; groups];
    for (row, &group) in of.iter().enumerate() {
        if comparable.is_null(row) {
            continue;
        }
        let best = &mut best[group as usize];
        if best.is_none_or(|b| comparable.compare(row, b as usize) == better) {
            *best = Some(row as u32);
        }
    }
    Ok(take(values, &UInt32Array::from(best), None)?)
}

fn lists(
    values: &ArrayRef,
    of: &[u32],
    groups: usize,
    takes: impl Fn(usize) -> bool,
) -> Result<ArrayRef> {
    let comparable = Comparable::new(values);
    let mut rows: Vec<u32> = (0..of.len() as u32)
        .filter(|&row| takes(row as usize))
        .collect();
    rows.sort_unstable_by(|&a, &b| {
        let (a, b) = (a as usize, b as usize);
        of[a].cmp(&of[b]).then_with(|| comparable.compare(a, b))
    });
    let mut lengths = vec![0; groups];
    for &row in &rows {
        lengths[of[row as usize] as usize] += 1;
    }
    let items = take(values, &UInt32Array::from(rows), None)?;
    let field = Arc::new(Field::new("item", items.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(field, offsets, items, None)?))
}
