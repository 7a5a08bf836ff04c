//! A read from its match to its result.

use std::sync::Arc;
use std::time::Instant;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_cast::cast;
use arrow_schema::{Field as ArrowField, Schema};
use arrow_select::concat::concat;
use arrow_select::take::take;
use omnigraph_lang::query::{
    self, Arm, Body, CheckedQuery, CheckedRead, Count, Expr, ExprKind, RankCall, SortBy, SortKey,
    UnionKind, VarKind,
};
use omnigraph_lang::value::Value;
use omnigraph_lang::{Code, Diagnostic};

use super::correlated::introduced;
use super::execution::{Execution, QueryContext};
use super::expr::{evaluate, rule};
use super::order::{Comparable, Key, KeyValues, group_by_value};
use super::profile::OpId;
use super::rank::Ranks;
use super::read_plan::{ArmPlan, ReadPlan};
use super::result::{QueryLimits, QueryResult, QueryStats, ResultColumn};
use super::rows::{Guard, Rows};
use super::scope::{Field, TEXT};
use super::sort::top;
use crate::error::{Error, ErrorKind, Result};

/// Runs a read on the tables of one commit.
///
/// # Errors
/// `Invalid` with R430–R446, `Deadline` with R450, `ResourceLimit` with R452, and what the tables
/// give.
pub(crate) async fn run(
    ctx: &QueryContext<'_>,
    query: &CheckedQuery,
    params: &serde_json::Map<String, serde_json::Value>,
    limits: &QueryLimits,
) -> Result<QueryResult> {
    let guard = Guard::new(&bounded(query, limits, Instant::now()));
    run_guarded(ctx, query, params, guard).await
}

/// The same with a guard that knows the limits.
pub(super) async fn run_guarded(
    ctx: &QueryContext<'_>,
    query: &CheckedQuery,
    params: &serde_json::Map<String, serde_json::Value>,
    guard: Guard,
) -> Result<QueryResult> {
    let started = Instant::now();
    let Body::Read(read) = &query.body else {
        return Err(rule(
            Code::R435,
            format!("query {} is a mutation", query.name),
        ));
    };
    let json = serde_json::Value::Object(params.clone());
    let bound = query::bind_params(&query.params, Some(&json))
        .map_err(|found| Error::diagnostics(ErrorKind::Invalid, found))?;
    let mut execution = Execution::new(*ctx, &bound.values, guard);
    let plan = execution.plan_read(read).await?;
    let arrays = execution.read(read, &plan).await?;
    result(&execution, read, arrays, started, bound.warnings)
}

/// The limits, where the query's `@timeout` does not lower them.
pub(super) fn bounded(query: &CheckedQuery, limits: &QueryLimits, started: Instant) -> QueryLimits {
    let mut limits = limits.clone();
    if let Some(timeout) = query.timeout {
        let own = started + timeout;
        limits.deadline = Some(limits.deadline.map_or(own, |deadline| deadline.min(own)));
    }
    limits
}

pub(super) fn result(
    execution: &Execution<'_>,
    read: &CheckedRead,
    arrays: Vec<ArrayRef>,
    started: Instant,
    warnings: Vec<Diagnostic>,
) -> Result<QueryResult> {
    let columns = columns_of(&read.arm);
    let batch = batch(&columns, arrays)?;
    execution.guard.result_rows(batch.num_rows())?;
    Ok(QueryResult {
        columns,
        batches: vec![batch],
        stats: QueryStats {
            elapsed_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
            rows_scanned: execution.rows_scanned,
            peak_memory_bytes: execution.guard.peak(),
        },
        warnings,
    })
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

impl Cut {
    /// How many of the ordered rows matter.
    fn reach(self) -> usize {
        let limit = self.limit;
        limit.map_or(usize::MAX, |limit| limit.saturating_add(self.skip))
    }
}

/// The expressions over matched rows that an arm shows.
fn shown(arm: &Arm) -> impl Iterator<Item = &Expr> {
    let grouping = arm.grouping.iter();
    let keys = grouping.clone().flat_map(|grouping| &grouping.keys);
    let arguments = grouping.flat_map(|grouping| &grouping.aggregates);
    let arguments = arguments.filter_map(|aggregate| aggregate.argument.as_ref());
    let plain = arm.grouping.is_none();
    let projections = arm.projections.iter().filter(move |_| plain);
    projections.map(|p| &p.value).chain(keys).chain(arguments)
}

/// The order keys that are no columns.
fn sorted_by(read: &CheckedRead) -> impl Iterator<Item = &Expr> {
    read.order.iter().filter_map(|key| match &key.by {
        SortBy::Expr(expr) => Some(expr),
        SortBy::Column(_) => None,
    })
}

/// Output columns of whole groups, rows or arms.
struct Output {
    values: Vec<ArrayRef>,
    /// By column: the type names of entities of several types, whose ids do not tell them apart.
    types: Vec<Option<ArrayRef>>,
}

impl Output {
    fn rows(&self) -> usize {
        self.values.first().map_or(0, |column| column.len())
    }

    /// The columns whose equality makes rows equal, from left to right.
    fn compared(&self) -> Vec<ArrayRef> {
        let columns = self.types.iter().zip(&self.values);
        columns
            .flat_map(|(types, values)| types.iter().chain([values]).cloned())
            .collect()
    }

    fn pick(self, rows: Vec<u32>) -> Result<Self> {
        let rows = UInt32Array::from(rows);
        let types = self.types.into_iter();
        Ok(Self {
            values: take_all(&self.values, &rows)?,
            types: types
                .map(|types| types.map(|types| take(&types, &rows, None)).transpose())
                .collect::<std::result::Result<_, _>>()?,
        })
    }

    fn bytes(&self) -> usize {
        let columns = self.values.iter();
        columns.map(|column| column.get_array_memory_size()).sum()
    }
}

impl<'a> Execution<'a> {
    pub(super) async fn read(
        &mut self,
        read: &'a CheckedRead,
        plan: &ReadPlan<'a>,
    ) -> Result<Vec<ArrayRef>> {
        let cut = Cut {
            skip: read.skip.map_or(Ok(0), |skip| self.count(skip, "skip"))?,
            limit: read
                .limit
                .map(|limit| self.count(limit, "limit"))
                .transpose()?,
        };
        let arm = &read.arm;
        let rows = self.match_arm(arm, &plan.arms[0]).await?;
        let reach = match read.unions.is_empty() {
            true => cut.reach(),
            // The cut is about all arms together.
            false => usize::MAX,
        };
        self.fuse(shown(arm).chain(sorted_by(read)), &rows, reach)
            .await?;
        let output = if !read.unions.is_empty() {
            let mut all = self.arm_output(arm, &plan.arms[0], rows).await?;
            for ((kind, arm), plan) in read.unions.iter().zip(&plan.arms[1..]) {
                let rows = self.match_arm(arm, plan).await?;
                self.fuse(shown(arm), &rows, usize::MAX).await?;
                let next = self.arm_output(arm, plan, rows).await?;
                let started = self.start();
                all = self.unite(all, next, *kind).await?;
                self.done(plan.union, all.rows(), started);
            }
            all
        } else {
            let started = self.start();
            let (rows, ranks) = self.ranked_rows(read, rows, cut).await?;
            self.done(plan.arms[0].rank, rows.len(), started);
            if arm.grouping.is_none() && !arm.distinct {
                let started = self.start();
                let picks = self.order_rows(read, &rows, ranks, cut).await?;
                let rows = match picks {
                    Some(picks) => rows.select(&picks),
                    None => rows,
                };
                self.done(plan.order, rows.len(), started);
                let started = self.start();
                let exprs: Vec<&Expr> = arm.projections.iter().map(|p| &p.value).collect();
                let values = self.values(&rows, &exprs).await?;
                self.done(plan.arms[0].project, rows.len(), started);
                return Ok(values);
            }
            self.arm_output(arm, &plan.arms[0], rows).await?
        };
        let started = self.start();
        let output = self.order_output(read, output, cut).await?;
        self.done(plan.order, output.rows(), started);
        Ok(output.values)
    }

    async fn match_arm(&mut self, arm: &'a Arm, plan: &ArmPlan<'a>) -> Result<Rows> {
        self.enter(arm);
        let unit = Rows::unit(arm.variables.len());
        self.block(&plan.block, unit).await
    }

    /// The projections of an arm, grouped and distinct as it says.
    async fn arm_output(&mut self, arm: &'a Arm, plan: &ArmPlan<'a>, rows: Rows) -> Result<Output> {
        let started = self.start();
        let exprs: Vec<&Expr> = arm.projections.iter().map(|p| &p.value).collect();
        let output = if let Some(grouping) = &arm.grouping {
            let groups = self.group(grouping, &rows).await?;
            self.done(plan.aggregate, groups.rows(), started);
            let ctx = self.eval_context();
            let values = exprs.iter().map(|value| evaluate(value, &groups, &ctx));
            let types = exprs.iter().map(|value| match value.kind {
                ExprKind::GroupKey(at) => groups.types.get(at).cloned().flatten(),
                _ => None,
            });
            Output {
                types: types.collect(),
                values: values.collect::<Result<_>>()?,
            }
        } else {
            let rows = match arm.distinct {
                // Equal entities give equal values, so these are made once for each.
                true => {
                    let groups = self.entity_groups(&rows, &exprs).await?;
                    rows.select(&groups.first)
                }
                false => rows,
            };
            Output {
                values: self.values(&rows, &exprs).await?,
                types: self.types_of_entities(&rows, &exprs).await?,
            }
        };
        self.guard.memory(output.bytes())?;
        self.done(plan.project, output.rows(), started);
        if !arm.distinct {
            return Ok(output);
        }
        let started = self.start();
        let output = self.distinct(output).await?;
        self.done(plan.distinct, output.rows(), started);
        Ok(output)
    }

    async fn distinct(&mut self, output: Output) -> Result<Output> {
        let compared = output.compared();
        let (_, first) = group_by_value(output.rows(), &compared, &mut self.guard).await?;
        self.guard.pause().await?;
        match first.len() == output.rows() {
            true => Ok(output),
            false => output.pick(first),
        }
    }

    /// The rows of both; of nodes their ids are compared, whatever their types.
    async fn unite(&mut self, all: Output, next: Output, kind: UnionKind) -> Result<Output> {
        let columns = all.values.iter().zip(&next.values);
        let joined = columns.map(|(a, b)| {
            // Lists of one type may differ in how they are declared.
            let b = cast(b, a.data_type())?;
            Ok(concat(&[a.as_ref(), b.as_ref()])?)
        });
        let output = Output {
            values: joined.collect::<Result<_>>()?,
            types: vec![None; all.types.len()],
        };
        self.guard.memory(output.bytes())?;
        self.guard.pause().await?;
        match kind {
            UnionKind::All => Ok(output),
            UnionKind::Distinct => self.distinct(output).await,
        }
    }

    pub(super) fn start(&self) -> Option<Instant> {
        self.profile.is_some().then(Instant::now)
    }

    /// Notes what an operator did.
    pub(super) fn done(&mut self, op: Option<OpId>, rows: usize, started: Option<Instant>) {
        if let (Some(profile), Some(op), Some(started)) = (&mut self.profile, op, started) {
            profile.add(op, rows, started);
        }
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
        let mut ranks: Ranks = self.ranks(rank, &rows, cut.reach()).await?;
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
        let unordered = ranks.is_none() && read.order.is_empty() && read.skip.is_none();
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
            let types = self.types_of_entities(rows, &[expr]).await?;
            keys.extend(types.iter().flatten().map(|types| key(sort, types)));
            let values = self.values(rows, &[expr]).await?;
            keys.push(key(sort, &values[0]));
        }
        self.canonical(&read.arm, rows, &mut keys).await?;
        self.guard.pause().await?;
        let guard = &mut self.guard;
        let order = top(rows.len(), &keys, cut.skip, cut.limit, guard).await?;
        Ok(Some(order))
    }

    /// Adds the keys of the canonical order: the row's entities, by name of their variables. Paths
    /// come last: they only matter where a variable without name is at one of their ends.
    async fn canonical(&mut self, arm: &Arm, rows: &Rows, keys: &mut Vec<Key>) -> Result<()> {
        let mut variables = Vec::new();
        for var in introduced(&arm.matches) {
            let variable = self.variable(var)?;
            let name = variable.name.as_deref();
            variables.extend(name.map(|name| (variable.kind == VarKind::Path, name, var)));
        }
        variables.sort_unstable();
        for (is_path, _, var) in variables {
            let numbers = rows.column(var)?.to_vec();
            let values = if is_path {
                KeyValues::Path {
                    numbers,
                    values: self.path_values(var).await?,
                }
            } else {
                KeyValues::Entity {
                    ordinals: numbers,
                    space: self.space(var).await?,
                    ids: self.column(var, &Field::Id, TEXT).await?,
                }
            };
            keys.push(Key {
                values,
                descending: false,
                nulls_last: false,
            });
        }
        Ok(())
    }

    /// Order and cut over output columns.
    async fn order_output(
        &mut self,
        read: &CheckedRead,
        output: Output,
        cut: Cut,
    ) -> Result<Output> {
        let rows = output.rows();
        let unordered = read.order.is_empty() && read.skip.is_none();
        if unordered && cut.limit.is_none_or(|limit| limit >= rows) {
            return Ok(output);
        }
        let mut keys = Vec::new();
        if !unordered {
            for sort in &read.order {
                let SortBy::Column(at) = &sort.by else {
                    return Err(Error::internal("an order over groups is no output column"));
                };
                keys.extend(output.types[*at].iter().map(|types| key(sort, types)));
                keys.push(key(sort, &output.values[*at]));
            }
            keys.extend(output.compared().iter().map(|column| Key {
                values: KeyValues::Column(Comparable::new(column)),
                descending: false,
                nulls_last: false,
            }));
        }
        self.guard.pause().await?;
        let guard = &mut self.guard;
        output.pick(top(rows, &keys, cut.skip, cut.limit, guard).await?)
    }
}

fn key(sort: &SortKey, values: &ArrayRef) -> Key {
    Key {
        values: KeyValues::Column(Comparable::new(values)),
        descending: sort.descending,
        nulls_last: sort.nulls_last,
    }
}

fn take_all(values: &[ArrayRef], rows: &UInt32Array) -> Result<Vec<ArrayRef>> {
    values
        .iter()
        .map(|column| Ok(take(column, rows, None)?))
        .collect()
}
