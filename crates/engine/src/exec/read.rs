//! A read from its match to its result.

use std::sync::Arc;
use std::time::Instant;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::{Field as ArrowField, Schema};
use arrow_select::take::take;
use omnigraph_lang::Code;
use omnigraph_lang::query::{
    self, Arm, Body, CheckedQuery, CheckedRead, Count, Expr, RankCall, SortBy, SortKey, VarId,
    VarKind,
};
use omnigraph_lang::value::Value;

use super::correlated::introduced;
use super::execution::{Execution, QueryContext};
use super::expr::{evaluate, rule};
use super::order::{Comparable, Key, KeyValues, group_by_value, top};
use super::rank::Ranks;
use super::result::{QueryLimits, QueryResult, QueryStats, ResultColumn};
use super::rows::{Guard, Rows};
use super::scope::Field;
use crate::error::{Error, ErrorKind, Result};

/// Runs a read on the tables of one commit.
///
/// # Errors
/// `Invalid` with R430–R443, `Deadline` with R450, `ResourceLimit` with R452, and what the tables
/// give.
pub(crate) async fn run(
    ctx: &QueryContext<'_>,
    query: &CheckedQuery,
    params: &serde_json::Map<String, serde_json::Value>,
    limits: &QueryLimits,
) -> Result<QueryResult> {
    let started = Instant::now();
    let Body::Read(read) = &query.body else {
        return Err(rule(
            Code::R435,
            format!("query {} is a mutation", query.name),
        ));
    };
    refuse_unsupported(read)?;
    let json = serde_json::Value::Object(params.clone());
    let bound = query::bind_params(&query.params, Some(&json))
        .map_err(|found| Error::diagnostics(ErrorKind::Invalid, found))?;
    let mut limits = limits.clone();
    if let Some(timeout) = query.timeout {
        let own = started + timeout;
        limits.deadline = Some(limits.deadline.map_or(own, |deadline| deadline.min(own)));
    }
    let guard = Guard::new(&limits);
    let mut execution = Execution::new(*ctx, &read.arm.variables, &bound.values, guard);
    let arrays = execution.read(read).await?;
    let columns = columns_of(&read.arm);
    let batch = batch(&columns, arrays)?;
    execution.guard.result_rows(batch.num_rows())?;
    Ok(QueryResult {
        columns,
        batches: vec![batch],
        stats: QueryStats {
            elapsed_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
            rows_scanned: execution.rows_scanned,
        },
        warnings: bound.warnings,
    })
}

/// What the checker admits and the executor cannot do yet.
fn refuse_unsupported(read: &CheckedRead) -> Result<()> {
    if !read.unions.is_empty() {
        return Err(Error::invalid("union is not supported yet"));
    }
    for variable in &read.arm.variables {
        if variable.kind == VarKind::Path {
            return Err(Error::invalid("paths are not supported yet"));
        }
        if variable.single_type().is_none() {
            return Err(Error::invalid(
                "variables with several possible types are not supported yet",
            ));
        }
    }
    Ok(())
}

fn columns_of(arm: &Arm) -> Vec<ResultColumn> {
    let columns = arm.projections.iter().map(|projection| ResultColumn {
        name: projection.name.clone(),
        ty: projection.value.ty,
        nullable: projection.value.nullable,
    });
    columns.collect()
}

fn batch(columns: &[ResultColumn], arrays: Vec<ArrayRef>) -> Result<RecordBatch> {
    let fields: Vec<ArrowField> = columns
        .iter()
        .zip(&arrays)
        .map(|(column, array)| ArrowField::new(&column.name, array.data_type().clone(), true))
        .collect();
    let rows = arrays.first().map_or(0, |array| array.len());
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        Arc::new(Schema::new(fields)),
        arrays,
        &options,
    )?)
}

/// Which part of the ordered rows is the result.
#[derive(Clone, Copy)]
struct Cut {
    skip: usize,
    limit: Option<usize>,
}

impl Execution<'_> {
    async fn read(&mut self, read: &CheckedRead) -> Result<Vec<ArrayRef>> {
        let cut = Cut {
            skip: read.skip.map_or(Ok(0), |skip| self.count(skip, "skip"))?,
            limit: read
                .limit
                .map(|limit| self.count(limit, "limit"))
                .transpose()?,
        };
        let arm = &read.arm;
        let rows = self
            .block(&arm.matches, Rows::unit(arm.variables.len()))
            .await?;
        let (rows, ranks) = self.ranked_rows(read, rows, cut).await?;
        if let Some(grouping) = &arm.grouping {
            let groups = self.group(grouping, &rows).await?;
            let ctx = self.eval_context();
            let projections = arm.projections.iter();
            let values: Vec<ArrayRef> = projections
                .map(|p| evaluate(&p.value, &groups, &ctx))
                .collect::<Result<_>>()?;
            return self.finish_values(read, values, cut).await;
        }
        let exprs: Vec<&Expr> = arm.projections.iter().map(|p| &p.value).collect();
        if arm.distinct {
            let groups = self.entity_groups(&rows, &exprs).await?;
            let rows = rows.select(&groups.first);
            let values = self.values(&rows, &exprs).await?;
            return self.finish_values(read, values, cut).await;
        }
        let picks = self.order_rows(read, &rows, ranks, cut).await?;
        let rows = match picks {
            Some(picks) => rows.select(&picks),
            None => rows,
        };
        self.values(&rows, &exprs).await
    }

    fn count(&self, count: Count, what: &str) -> Result<usize> {
        let value = match count {
            Count::Literal(n) => return Ok(usize::try_from(n).unwrap_or(usize::MAX)),
            Count::Param(id) => self.params.get(id.0 as usize),
        };
        match value {
            Some(Value::Int(n)) => usize::try_from(*n)
                .map_err(|_| rule(Code::R443, format!("{what} is negative: {n}"))),
            Some(Value::UInt(n)) => Ok(usize::try_from(*n).unwrap_or(usize::MAX)),
            _ => Err(Error::internal("skip or limit is no integer")),
        }
    }

    /// Drops the rows of entities that the rank key does not rank; ranks by row of the rest.
    async fn ranked_rows(
        &mut self,
        read: &CheckedRead,
        mut rows: Rows,
        cut: Cut,
    ) -> Result<(Rows, Option<Vec<u32>>)> {
        let Some(rank) = &read.rank else {
            return Ok((rows, None));
        };
        let reach = cut
            .limit
            .map_or(usize::MAX, |limit| limit.saturating_add(cut.skip));
        let mut ranks: Ranks = self.ranks(rank, &rows, reach).await?;
        if read.arm.grouping.is_some() && !matches!(rank.call, RankCall::Bm25 { .. }) {
            let first = cut.limit.unwrap_or(usize::MAX);
            ranks.retain(|_, rank| (*rank as usize) < first);
        }
        let column = rows.column(rank.call.var())?;
        let of_row: Vec<Option<u32>> = column.iter().map(|o| ranks.get(o).copied()).collect();
        let keep: Vec<bool> = of_row.iter().map(Option::is_some).collect();
        rows.retain(&keep);
        Ok((rows, Some(of_row.into_iter().flatten().collect())))
    }

    /// The matched rows that are the result, in order; `None` for all of them as they are.
    async fn order_rows(
        &mut self,
        read: &CheckedRead,
        rows: &Rows,
        ranks: Option<Vec<u32>>,
        cut: Cut,
    ) -> Result<Option<Vec<u32>>> {
        let unordered = ranks.is_none() && read.order.is_empty() && cut.skip == 0;
        if unordered {
            let all = rows.len() as u32;
            return Ok(cut
                .limit
                .filter(|&limit| limit < rows.len())
                .map(|limit| (0..all).take(limit).collect()));
        }
        let mut keys = Vec::new();
        keys.extend(ranks.map(|ranks| Key {
            values: KeyValues::Rank(ranks),
            descending: false,
            nulls_last: false,
        }));
        for sort in &read.order {
            let expr = match &sort.by {
                SortBy::Column(at) => &read.arm.projections[*at].value,
                SortBy::Expr(expr) => expr,
            };
            let values = self.values(rows, &[expr]).await?;
            keys.push(key(sort, &values[0]));
        }
        self.canonical(&read.arm, rows, &mut keys).await?;
        self.guard.pause().await?;
        Ok(Some(top(rows.len(), &keys, cut.skip, cut.limit)))
    }

    /// Adds the keys of the canonical order: the row's entities, by name of their variables.
    async fn canonical(&mut self, arm: &Arm, rows: &Rows, keys: &mut Vec<Key>) -> Result<()> {
        let mut variables: Vec<(&str, VarId)> = introduced(&arm.matches)
            .into_iter()
            .filter_map(|var| {
                let variable = &arm.variables[var.0 as usize];
                let entity = !matches!(variable.kind, VarKind::Path);
                variable
                    .name
                    .as_deref()
                    .filter(|_| entity)
                    .map(|name| (name, var))
            })
            .collect();
        variables.sort_unstable();
        for (_, var) in variables {
            let ids = self.column(var, Field::Id).await?;
            keys.push(Key {
                values: KeyValues::Entity {
                    ordinals: rows.column(var)?.to_vec(),
                    ids,
                },
                descending: false,
                nulls_last: false,
            });
        }
        Ok(())
    }

    /// Distinct, order and cut over output columns.
    async fn finish_values(
        &mut self,
        read: &CheckedRead,
        mut values: Vec<ArrayRef>,
        cut: Cut,
    ) -> Result<Vec<ArrayRef>> {
        let mut rows = values.first().map_or(0, |column| column.len());
        if read.arm.distinct {
            let (_, first) = group_by_value(rows, &values)?;
            rows = first.len();
            values = pick(&values, first)?;
        }
        let unordered = read.order.is_empty() && cut.skip == 0;
        if unordered && cut.limit.is_none_or(|limit| limit >= rows) {
            return Ok(values);
        }
        let mut keys = Vec::new();
        if !unordered {
            for sort in &read.order {
                let SortBy::Column(at) = &sort.by else {
                    return Err(Error::internal("an order over groups is no output column"));
                };
                keys.push(key(sort, &values[*at]));
            }
            keys.extend(values.iter().map(|column| Key {
                values: KeyValues::Column(Comparable::new(column)),
                descending: false,
                nulls_last: false,
            }));
        }
        self.guard.pause().await?;
        pick(&values, top(rows, &keys, cut.skip, cut.limit))
    }
}

fn key(sort: &SortKey, values: &ArrayRef) -> Key {
    Key {
        values: KeyValues::Column(Comparable::new(values)),
        descending: sort.descending,
        nulls_last: sort.nulls_last,
    }
}

fn pick(values: &[ArrayRef], rows: Vec<u32>) -> Result<Vec<ArrayRef>> {
    let rows = UInt32Array::from(rows);
    values
        .iter()
        .map(|column| Ok(take(column, &rows, None)?))
        .collect()
}
