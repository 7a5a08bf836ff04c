//! Grouping and aggregates.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int64Array, ListArray, UInt32Array, new_null_array};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field};
use arrow_select::take::take;
use omnigraph_lang::query::{
    Aggregate, AggregateFunction, Expr, ExprKind, ExprType, Grouping, VarId,
};
use rustc_hash::FxHashSet;

use super::column::NONE;
use super::execution::Execution;
use super::expr::{Leaf, Scope, arrow_type};
use super::order::{Comparable, group_by_value};
use super::rows::{Groups, Rows};
use super::scope::TEXT;
use super::sum::sums;
use crate::error::{Error, Result};

/// One row per group.
pub(crate) struct Grouped {
    rows: usize,
    keys: Vec<ArrayRef>,
    /// By key: the type names of entities of several types, whose ids do not tell them apart.
    pub(super) types: Vec<Option<ArrayRef>>,
    aggregates: Vec<ArrayRef>,
}

impl Grouped {
    pub(super) fn rows(&self) -> usize {
        self.rows
    }
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
        let (of, mut grouped) = self.group_keys(grouping, rows).await?;
        for aggregate in &grouping.aggregates {
            let values = self.aggregate(aggregate, rows, &of, grouped.rows).await?;
            grouped.aggregates.push(values);
            self.guard.pause().await?;
        }
        Ok(grouped)
    }

    /// The group of each row, and the groups without their aggregates. Rows are first grouped by
    /// the entities that the keys are about, so that keys are made once for each.
    async fn group_keys(
        &mut self,
        grouping: &Grouping,
        rows: &Rows,
    ) -> Result<(Vec<u32>, Grouped)> {
        let mut grouped = Grouped {
            rows: 1,
            keys: Vec::new(),
            types: Vec::new(),
            aggregates: Vec::new(),
        };
        if grouping.keys.is_empty() {
            return Ok((vec![0; rows.len()], grouped));
        }
        let exprs: Vec<&Expr> = grouping.keys.iter().collect();
        let by_entity = self.entity_groups(rows, &exprs).await?;
        let some = rows.select(&by_entity.first);
        self.guard.pause().await?;
        let keys = self.values(&some, &exprs).await?;
        let types = self.types_of_entities(&some, &exprs).await?;
        let all: Vec<ArrayRef> = keys.iter().chain(types.iter().flatten()).cloned().collect();
        let (merged, first) = group_by_value(some.len(), &all, &mut self.guard).await?;
        let of = by_entity
            .of
            .iter()
            .map(|&group| merged[group as usize])
            .collect();
        let picks = UInt32Array::from(first);
        grouped.rows = picks.len();
        for (key, types) in keys.iter().zip(&types) {
            grouped.keys.push(take(key, &picks, None)?);
            let types = types.as_ref().map(|types| take(types, &picks, None));
            grouped.types.push(types.transpose()?);
        }
        Ok((of, grouped))
    }

    /// The type names beside the values of expressions that are entities of several types.
    pub(crate) async fn types_of_entities(
        &mut self,
        rows: &Rows,
        exprs: &[&Expr],
    ) -> Result<Vec<Option<ArrayRef>>> {
        let mut types = Vec::with_capacity(exprs.len());
        for expr in exprs {
            types.push(match (&expr.kind, expr.ty) {
                (ExprKind::Var(var), ExprType::Node | ExprType::Edge)
                    if self.variable(*var)?.types.len() > 1 =>
                {
                    let names = Expr {
                        kind: ExprKind::TypeName(*var),
                        ty: TEXT,
                        nullable: expr.nullable,
                    };
                    Some(self.values(rows, &[&names]).await?.remove(0))
                }
                _ => None,
            });
        }
        Ok(types)
    }

    /// Rows with the same entities in all variables that the expressions mention.
    pub(crate) async fn entity_groups(&mut self, rows: &Rows, exprs: &[&Expr]) -> Result<Groups> {
        let mut vars: Vec<VarId> = exprs.iter().flat_map(|e| e.variables()).collect();
        vars.sort_unstable();
        vars.dedup();
        let mut columns = Vec::with_capacity(vars.len());
        for var in vars {
            let extent = self.extent(var).await?;
            columns.push((rows.column(var)?, extent));
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
        let types = self.types_of_entities(rows, &[argument]).await?.remove(0);
        let compared: Vec<Comparable> =
            types.iter().chain([&values]).map(Comparable::new).collect();
        let taking: Option<Vec<bool>> = aggregate.distinct.then(|| first_of_each(&compared, of));
        let takes =
            |row: usize| values.is_valid(row) && taking.as_ref().is_none_or(|taking| taking[row]);
        match aggregate.function {
            _ if matches!(values.data_type(), DataType::Null) => Ok(match aggregate.function {
                AggregateFunction::Count => counts(of, groups, |_| false),
                _ => new_null_array(&arrow_type(&aggregate.ty), groups),
            }),
            AggregateFunction::Count => Ok(counts(of, groups, takes)),
            AggregateFunction::Sum | AggregateFunction::Avg => {
                let mean = aggregate.function == AggregateFunction::Avg;
                sums(&values, of, groups, mean, takes)
            }
            AggregateFunction::Min => extremes(&values, of, groups, Ordering::Less),
            AggregateFunction::Max => extremes(&values, of, groups, Ordering::Greater),
            AggregateFunction::Collect => lists(&values, &compared, of, groups, takes),
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
fn first_of_each(compared: &[Comparable], of: &[u32]) -> Vec<bool> {
    let mut seen: FxHashSet<Box<[u8]>> = FxHashSet::default();
    let mut bytes = Vec::new();
    let rows = of.iter().enumerate();
    rows.map(|(row, group)| {
        bytes.clear();
        bytes.extend(group.to_le_bytes());
        for values in compared {
            values.encode(row, &mut bytes);
        }
        !seen.contains(bytes.as_slice()) && seen.insert(bytes.as_slice().into())
    })
    .collect()
}

fn extremes(values: &ArrayRef, of: &[u32], groups: usize, better: Ordering) -> Result<ArrayRef> {
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
    compared: &[Comparable],
    of: &[u32],
    groups: usize,
    takes: impl Fn(usize) -> bool,
) -> Result<ArrayRef> {
    let mut rows: Vec<u32> = (0..of.len() as u32)
        .filter(|&row| takes(row as usize))
        .collect();
    rows.sort_unstable_by(|&a, &b| {
        let (a, b) = (a as usize, b as usize);
        let orders = compared.iter().map(|values| values.compare(a, b));
        let by_value = || orders.fold(Ordering::Equal, Ordering::then);
        of[a].cmp(&of[b]).then_with(by_value)
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
