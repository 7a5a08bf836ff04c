//! Rows of ordinals as the scope of expressions: properties are gathered only here.

use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, StringArray};
use omnigraph_lang::query::{
    Expr, ExprKind, ExprType, PropertyRef, RankCall, SearchCall, VarId, VarKind,
};
use omnigraph_lang::schema::Scalar;
use rustc_hash::FxHashMap;

use super::column::NONE;
use super::execution::Execution;
use super::expr::{Leaf, Scope};
use super::path_values::PathValues;
use super::rows::Rows;
use super::search::{Found, Scores};
use super::space::{EntityColumn, Space};
use crate::error::{Error, Result};

/// The type of ids.
pub(crate) const TEXT: ExprType = ExprType::Scalar(Scalar::String);

/// A column of an entity's table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Field {
    Id,
    From,
    To,
    Property(PropertyRef),
}

/// What expressions over matched rows need, loaded once for any number of evaluations.
#[derive(Default)]
pub(crate) struct Inputs {
    columns: FxHashMap<(VarId, Field), EntityColumn>,
    type_names: FxHashMap<VarId, Arc<Space>>,
    paths: FxHashMap<VarId, PathValues>,
    /// By address of the call in the checked query.
    searches: FxHashMap<usize, (VarId, Found)>,
    scores: FxHashMap<usize, (VarId, Scores)>,
}

/// Some of the rows, with the inputs of the expressions to evaluate over them.
pub(crate) struct RowScope<'a> {
    pub rows: &'a Rows,
    pub range: Range<usize>,
    pub inputs: &'a Inputs,
}

impl Inputs {
    /// Loads what the expressions mention. `rows` are those that they will be evaluated over.
    pub(crate) async fn load<'e>(
        execution: &mut Execution<'_>,
        exprs: impl IntoIterator<Item = &'e Expr>,
        rows: &Rows,
    ) -> Result<Self> {
        let mut inputs = Self::default();
        let mut leaves = Vec::new();
        for expr in exprs {
            expr.visit(&mut |e| leaves.push(e));
        }
        for leaf in leaves {
            match &leaf.kind {
                ExprKind::Property { var, property } => {
                    let field = Field::Property(property.clone());
                    inputs.column(execution, *var, field, leaf.ty).await?;
                }
                ExprKind::Var(var) if execution.variable(*var)?.kind == VarKind::Path => {
                    inputs.path(execution, *var).await?;
                }
                ExprKind::Var(var) | ExprKind::EntityId(var) => {
                    inputs.column(execution, *var, Field::Id, TEXT).await?;
                }
                ExprKind::FromId(var) => {
                    inputs.column(execution, *var, Field::From, TEXT).await?;
                }
                ExprKind::ToId(var) => inputs.column(execution, *var, Field::To, TEXT).await?,
                ExprKind::TypeName(var) => {
                    let space = execution.space(*var).await?;
                    inputs.type_names.insert(*var, space);
                }
                ExprKind::PathLength(var) | ExprKind::PathNodes(var) | ExprKind::PathEdges(var) => {
                    inputs.path(execution, *var).await?
                }
                ExprKind::Search(call) => {
                    let found = execution.search(call, rows.column(call.var)?).await?;
                    inputs.searches.insert(address(call), (call.var, found));
                }
                ExprKind::Score(call) => {
                    let scores = execution.scores(call, rows.column(call.var())?).await?;
                    inputs.scores.insert(address(call), (call.var(), scores));
                }
                _ => {}
            }
        }
        Ok(inputs)
    }

    async fn column(
        &mut self,
        execution: &mut Execution<'_>,
        var: VarId,
        field: Field,
        ty: ExprType,
    ) -> Result<()> {
        if let Entry::Vacant(entry) = self.columns.entry((var, field)) {
            let column = execution.column(var, &entry.key().1, ty).await?;
            entry.insert(column);
        }
        Ok(())
    }

    async fn path(&mut self, execution: &mut Execution<'_>, var: VarId) -> Result<()> {
        if let Entry::Vacant(entry) = self.paths.entry(var) {
            entry.insert(execution.path_values(var).await?);
        }
        Ok(())
    }
}

impl RowScope<'_> {
    fn ordinals(&self, var: VarId) -> Result<&[u32]> {
        Ok(&self.rows.column(var)?[self.range.clone()])
    }

    fn gather(&self, var: VarId, field: Field) -> Result<ArrayRef> {
        let column = self
            .inputs
            .columns
            .get(&(var, field))
            .ok_or_else(not_loaded)?;
        column.gather(self.ordinals(var)?)
    }

    fn type_name(&self, var: VarId) -> Result<ArrayRef> {
        let space = self.inputs.type_names.get(&var).ok_or_else(not_loaded)?;
        let name = |o: u32| space.parts()[space.place(o).0].name.as_str();
        let ordinals = self.ordinals(var)?.iter();
        let names: StringArray = ordinals.map(|&o| (o != NONE).then(|| name(o))).collect();
        Ok(Arc::new(names))
    }

    fn path(&self, var: VarId) -> Result<(&PathValues, &[u32])> {
        let values = self.inputs.paths.get(&var).ok_or_else(not_loaded)?;
        Ok((values, self.ordinals(var)?))
    }

    fn search(&self, call: &SearchCall) -> Result<ArrayRef> {
        let (var, found) = self
            .inputs
            .searches
            .get(&address(call))
            .ok_or_else(not_loaded)?;
        let ordinals = self.ordinals(*var)?.iter();
        let hits: BooleanArray = ordinals
            .map(|&o| (o != NONE).then(|| found.contains(o)))
            .collect();
        Ok(Arc::new(hits))
    }

    fn score(&self, call: &RankCall) -> Result<ArrayRef> {
        let (var, scores) = self
            .inputs
            .scores
            .get(&address(call))
            .ok_or_else(not_loaded)?;
        let ordinals = self.ordinals(*var)?.iter();
        let values: Float64Array = ordinals
            .map(|&o| if o == NONE { None } else { scores.get(o) })
            .collect();
        Ok(Arc::new(values))
    }
}

impl Scope for RowScope<'_> {
    fn rows(&self) -> usize {
        self.range.len()
    }

    fn resolve(&self, leaf: Leaf<'_>) -> Result<ArrayRef> {
        match leaf {
            Leaf::Property { var, property } => self.gather(var, Field::Property(property.clone())),
            Leaf::Entity(var) if self.inputs.paths.contains_key(&var) => {
                let (values, at) = self.path(var)?;
                values.whole(at)
            }
            Leaf::Id(var) | Leaf::Entity(var) => self.gather(var, Field::Id),
            Leaf::PathLength(var) => {
                let (values, at) = self.path(var)?;
                Ok(values.lengths(at))
            }
            Leaf::PathNodes(var) => {
                let (values, at) = self.path(var)?;
                values.node_ids(at)
            }
            Leaf::PathEdges(var) => {
                let (values, at) = self.path(var)?;
                values.edge_ids(at)
            }
            Leaf::FromId(var) => self.gather(var, Field::From),
            Leaf::ToId(var) => self.gather(var, Field::To),
            Leaf::TypeName(var) => self.type_name(var),
            Leaf::Search(call) => self.search(call),
            Leaf::Score(call) => self.score(call),
            Leaf::Own(_) | Leaf::GroupKey(_) | Leaf::AggregateResult(_) => Err(Error::internal(
                "an expression over matched rows mentions something else",
            )),
        }
    }
}

/// What stands for a call of the checked query.
pub(super) fn address<T>(of: &T) -> usize {
    std::ptr::from_ref(of) as usize
}

fn not_loaded() -> Error {
    Error::internal("an input of an expression was not loaded")
}
