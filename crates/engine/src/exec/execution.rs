//! One running read: its tables, parameters and limits.

use std::sync::Arc;

use async_trait::async_trait;
use lance::Dataset;
use omnigraph_lang::query::{Arm, Expr, ExprType, VarId, Variable};
use omnigraph_lang::schema::{Catalog, EdgeType, EntityType, TypeBody, TypeId};
use omnigraph_lang::value::Value;
use rustc_hash::FxHashMap;

use super::adjacency::Adjacency;
use super::expr::{EvalContext, arrow_type, evaluate, evaluate_constant, evaluate_filter};
use super::path_values::PathTable;
use super::profile::{OpId, Profile};
use super::rows::{Guard, Rows};
use super::scope::{Field, Inputs, RowScope};
use super::snapshot_cache::{SnapshotCache, TableKey};
use super::space::{EntityColumn, Space};
use super::table_snapshot::TableSnapshot;
use crate::embed::Embedder;
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
    /// What makes vectors of texts, if the graph has it.
    pub embedder: Option<&'a dyn Embedder>,
    /// When the request began, in milliseconds since 1970-01-01T00:00Z.
    pub now: i64,
}

pub(crate) struct Execution<'a> {
    pub ctx: QueryContext<'a>,
    pub variables: &'a [Variable],
    pub params: &'a [Value],
    pub guard: Guard,
    pub rows_scanned: u64,
    /// What each operator did, if that was asked for.
    pub profile: Option<Profile>,
    /// Estimates are wanted that do not decide anything.
    pub explaining: bool,
    ops: usize,
    tables: FxHashMap<TypeId, Arc<TableSnapshot>>,
    /// By variable of the arm.
    spaces: Vec<Option<Arc<Space>>>,
    /// By variable of the arm: what the columns of path variables point into.
    pub(super) paths: FxHashMap<VarId, PathTable>,
    /// By address of the call in the checked query.
    pub(super) fused_scores: FxHashMap<usize, FxHashMap<u32, f64>>,
    /// By text and width.
    pub(super) embedded: FxHashMap<(String, u32), Vec<f64>>,
}

impl<'a> Execution<'a> {
    pub(crate) fn new(ctx: QueryContext<'a>, params: &'a [Value], guard: Guard) -> Self {
        Self {
            ctx,
            variables: &[],
            params,
            guard,
            rows_scanned: 0,
            profile: None,
            explaining: false,
            ops: 0,
            tables: FxHashMap::default(),
            spaces: Vec::new(),
            paths: FxHashMap::default(),
            fused_scores: FxHashMap::default(),
            embedded: FxHashMap::default(),
        }
    }

    /// The number of the next operator of the plan.
    pub(crate) fn next_op(&mut self) -> OpId {
        self.ops += 1;
        OpId(self.ops - 1)
    }

    /// From here on variables are those of this arm.
    pub(crate) fn enter(&mut self, arm: &'a Arm) {
        self.variables = &arm.variables;
        self.spaces.clear();
        self.spaces.resize(arm.variables.len(), None);
        self.paths.clear();
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

    pub(crate) fn variable(&self, var: VarId) -> Result<&'a Variable> {
        let found = self.variables.get(var.0 as usize);
        found.ok_or_else(|| Error::internal("a variable is not in its arm"))
    }

    pub(crate) fn body(&self, ty: TypeId) -> Result<&'a TypeBody> {
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

    /// The entities that a node or edge variable can be.
    pub(crate) async fn space(&mut self, var: VarId) -> Result<Arc<Space>> {
        if let Some(Some(space)) = self.spaces.get(var.0 as usize) {
            return Ok(space.clone());
        }
        let types = &self.variable(var)?.types;
        let space = self.space_of(types).await?;
        self.spaces[var.0 as usize] = Some(space.clone());
        Ok(space)
    }

    /// The entities of these types under one numbering.
    pub(crate) async fn space_of(&mut self, types: &[TypeId]) -> Result<Arc<Space>> {
        let mut tables = Vec::with_capacity(types.len());
        for ty in types {
            tables.push((*ty, self.table(*ty).await?));
        }
        Ok(Arc::new(Space::new(self.ctx.catalog, tables)?))
    }

    /// How many different values the column of a variable can have.
    pub(crate) async fn extent(&mut self, var: VarId) -> Result<usize> {
        match self.paths.get(&var) {
            Some(paths) => Ok(paths.len()),
            None => Ok(self.space(var).await?.rows()),
        }
    }

    pub(crate) async fn adjacency(&mut self, edge: TypeId) -> Result<Arc<Adjacency>> {
        let edge_type = self.edge_type(edge)?;
        let edges = self.table(edge).await?;
        let from = self.table(edge_type.from).await?;
        let to = self.table(edge_type.to).await?;
        self.ctx.cache.adjacency(&edges, &from, &to).await
    }

    /// `ty` is the type of the field's values.
    pub(crate) async fn column(
        &mut self,
        var: VarId,
        field: &Field,
        ty: ExprType,
    ) -> Result<EntityColumn> {
        let space = self.space(var).await?;
        self.column_in(&space, field, ty).await
    }

    pub(crate) async fn column_in(
        &self,
        space: &Arc<Space>,
        field: &Field,
        ty: ExprType,
    ) -> Result<EntityColumn> {
        let mut columns = Vec::with_capacity(space.parts().len());
        for part in space.parts() {
            let name = match field {
                Field::Id => Some("id"),
                Field::From => Some("src"),
                Field::To => Some("dst"),
                Field::Property(property) => match property.of(part.ty) {
                    None => None,
                    Some(id) => {
                        let property = self.body(part.ty)?.property_by_id(id);
                        let property = property
                            .ok_or_else(|| Error::internal("a property is not in the catalog"))?;
                        Some(property.name.as_str())
                    }
                },
            };
            columns.push(match name {
                Some(name) => Some(part.table.column(name).await?),
                None => None,
            });
        }
        Ok(match columns.as_slice() {
            [Some(only)] => EntityColumn::One(only.clone()),
            _ => EntityColumn::Several {
                space: space.clone(),
                data_type: (columns.iter().flatten().next())
                    .map_or_else(|| arrow_type(&ty), |column| column.data_type().clone()),
                columns,
            },
        })
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
