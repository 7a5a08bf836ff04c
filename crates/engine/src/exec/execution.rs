//! One running read: its tables, parameters and limits.

use std::sync::Arc;

use async_trait::async_trait;
use lance::Dataset;
use omnigraph_lang::query::{Expr, PropertyRef, VarId, Variable};
use omnigraph_lang::schema::{Catalog, EdgeType, EntityType, PropertyId, TypeBody, TypeId};
use omnigraph_lang::value::Value;
use rustc_hash::FxHashMap;

use super::adjacency::Adjacency;
use super::column::Column;
use super::expr::{EvalContext, evaluate, evaluate_constant, evaluate_filter};
use super::rows::{Guard, Rows};
use super::scope::{Field, Inputs, RowScope};
use super::snapshot_cache::{SnapshotCache, TableKey};
use super::table_snapshot::TableSnapshot;
use crate::error::{Error, Result};

/// Rows that an expression is evaluated over at once: few enough that consecutive rows often are
/// consecutive in the table, too, and need no copy.
const EVALUATE_ROWS: usize = 8 * 1024;

/// The table versions of one commit.
#[async_trait]
pub(crate) trait TableSource: Send + Sync {
    async fn dataset(&self, ty: TypeId) -> Result<(TableKey, Arc<Dataset>)>;
}

/// What a read looks at.
#[derive(Clone, Copy)]
pub(crate) struct QueryContext<'a> {
    pub catalog: &'a Catalog,
    pub tables: &'a dyn TableSource,
    pub cache: &'a SnapshotCache,
    /// When the request began, in milliseconds since 1970-01-01T00:00Z.
    pub now: i64,
}

/// The property of a variable that has one possible type.
pub(crate) fn single(property: &PropertyRef) -> Result<PropertyId> {
    let single = property.single();
    single.ok_or_else(|| {
        Error::invalid("variables with several possible types are not supported yet")
    })
}

pub(crate) struct Execution<'a> {
    pub ctx: QueryContext<'a>,
    pub variables: &'a [Variable],
    pub params: &'a [Value],
    pub guard: Guard,
    pub rows_scanned: u64,
    tables: FxHashMap<TypeId, Arc<TableSnapshot>>,
}

impl<'a> Execution<'a> {
    pub(crate) fn new(
        ctx: QueryContext<'a>,
        variables: &'a [Variable],
        params: &'a [Value],
        guard: Guard,
    ) -> Self {
        Self {
            ctx,
            variables,
            params,
            guard,
            rows_scanned: 0,
            tables: FxHashMap::default(),
        }
    }

    pub(crate) fn eval_context(&self) -> EvalContext<'a> {
        EvalContext {
            params: self.params,
            now: self.ctx.now,
        }
    }

    pub(crate) fn constant(&self, expr: &Expr) -> Result<Value> {
        evaluate_constant(expr, &self.eval_context())
    }

    pub(crate) fn type_of(&self, var: VarId) -> Result<TypeId> {
        self.variables
            .get(var.0 as usize)
            .and_then(Variable::single_type)
            .ok_or_else(|| {
                Error::invalid("variables with several possible types are not supported yet")
            })
    }

    pub(crate) fn body(&self, var: VarId) -> Result<&'a TypeBody> {
        let ty = self.type_of(var)?;
        let entity = self.ctx.catalog.entity(ty);
        let entity =
            entity.ok_or_else(|| Error::internal(format!("type {ty} is not in the catalog")))?;
        Ok(match entity {
            EntityType::Node(node) => &node.body,
            EntityType::Edge(edge) => &edge.body,
        })
    }

    pub(crate) fn edge_type(&self, edge: TypeId) -> Result<&'a EdgeType> {
        let found = self.ctx.catalog.edge_by_id(edge);
        found.ok_or_else(|| Error::internal(format!("edge type {edge} is not in the catalog")))
    }

    pub(crate) async fn table(&mut self, ty: TypeId) -> Result<Arc<TableSnapshot>> {
        if let Some(table) = self.tables.get(&ty) {
            return Ok(table.clone());
        }
        let (key, dataset) = self.ctx.tables.dataset(ty).await?;
        let table = self.ctx.cache.get(&dataset, &key).await?;
        self.tables.insert(ty, table.clone());
        Ok(table)
    }

    pub(crate) async fn table_of(&mut self, var: VarId) -> Result<Arc<TableSnapshot>> {
        let ty = self.type_of(var)?;
        self.table(ty).await
    }

    pub(crate) async fn adjacency(&mut self, edge: TypeId) -> Result<Arc<Adjacency>> {
        let edge_type = self.edge_type(edge)?;
        let edges = self.table(edge).await?;
        let from = self.table(edge_type.from).await?;
        let to = self.table(edge_type.to).await?;
        self.ctx.cache.adjacency(&edges, &from, &to).await
    }

    pub(crate) async fn column(&mut self, var: VarId, field: Field) -> Result<Arc<Column>> {
        let name = match field {
            Field::Id => "id",
            Field::From => "src",
            Field::To => "dst",
            Field::Property(id) => {
                let property = self.body(var)?.property_by_id(id);
                &property
                    .ok_or_else(|| Error::internal("a property is not in the catalog"))?
                    .name
            }
        };
        self.table_of(var).await?.column(name).await
    }

    /// Keeps the rows for which all conditions hold.
    pub(crate) async fn filter(&mut self, mut rows: Rows, conditions: &[&Expr]) -> Result<Rows> {
        for condition in conditions {
            if rows.len() == 0 {
                break;
            }
            let inputs = Inputs::load(self, [*condition], &rows).await?;
            let mut keep = Vec::with_capacity(rows.len());
            for start in (0..rows.len()).step_by(EVALUATE_ROWS) {
                let scope = RowScope {
                    rows: &rows,
                    range: start..rows.len().min(start + EVALUATE_ROWS),
                    inputs: &inputs,
                };
                keep.extend(evaluate_filter(condition, &scope, &self.eval_context())?);
                self.guard.pause().await?;
            }
            rows.retain(&keep);
        }
        Ok(rows)
    }

    /// The values of expressions for all rows.
    pub(crate) async fn values(
        &mut self,
        rows: &Rows,
        exprs: &[&Expr],
    ) -> Result<Vec<arrow_array::ArrayRef>> {
        let inputs = Inputs::load(self, exprs.iter().copied(), rows).await?;
        let mut values = Vec::with_capacity(exprs.len());
        for expr in exprs {
            let mut parts = Vec::new();
            let mut start = 0;
            while start < rows.len() || parts.is_empty() {
                let end = rows.len().min(start + EVALUATE_ROWS);
                let scope = RowScope {
                    rows,
                    range: start..end,
                    inputs: &inputs,
                };
                parts.push(evaluate(expr, &scope, &self.eval_context())?);
                start = end;
                self.guard.pause().await?;
            }
            values.push(match parts.as_slice() {
                [_] => parts.remove(0),
                _ => {
                    let parts: Vec<&dyn arrow_array::Array> =
                        parts.iter().map(|p| p.as_ref()).collect();
                    arrow_select::concat::concat(&parts)?
                }
            });
        }
        Ok(values)
    }
}
