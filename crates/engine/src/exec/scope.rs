//! Rows of ordinals as the scope of expressions: properties are gathered only here.

use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, StringArray};
use omnigraph_lang::query::{Expr, ExprKind, RankCall, SearchCall, VarId};
use omnigraph_lang::schema::PropertyId;
use rustc_hash::FxHashMap;

use super::column::{Column, NONE};
use super::execution::{Execution, single};
use super::expr::{Leaf, Scope};
use super::rows::Rows;
use super::search::{Found, Scores};
use crate::error::{Error, Result};

/// A column of an entity's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Field {
    Id,
    From,
    To,
    Property(PropertyId),
}

/// What expressions over matched rows need, loaded once for any number of evaluations.
#[derive(Default)]
pub(crate) struct Inputs {
    columns: FxHashMap<(VarId, Field), Arc<Column>>,
    type_names: FxHashMap<VarId, String>,
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
            expr.visit(&mut |e| leaves.push(&e.kind));
        }
        for leaf in leaves {
            match leaf {
                ExprKind::Property { var, property } => {
                    inputs
                        .column(execution, *var, Field::Property(single(property)?))
                        .await?;
                }
                ExprKind::Var(var) | ExprKind::EntityId(var) => {
                    inputs.column(execution, *var, Field::Id).await?;
                }
                ExprKind::FromId(var) => inputs.column(execution, *var, Field::From).await?,
                ExprKind::ToId(var) => inputs.column(execution, *var, Field::To).await?,
                ExprKind::TypeName(var) => {
                    let name = execution.body(*var)?.name.clone();
                    inputs.type_names.insert(*var, name);
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
    ) -> Result<()> {
        if let Entry::Vacant(entry) = self.columns.entry((var, field)) {
            entry.insert(execution.column(var, field).await?);
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
        let name = self.inputs.type_names.get(&var).ok_or_else(not_loaded)?;
        let ordinals = self.ordinals(var)?.iter();
        let names: StringArray = ordinals.map(|&o| (o != NONE).then_some(name)).collect();
        Ok(Arc::new(names))
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
            Leaf::Property { var, property } => {
                self.gather(var, Field::Property(single(property)?))
            }
            Leaf::Id(var) => self.gather(var, Field::Id),
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

fn address<T>(of: &T) -> usize {
    std::ptr::from_ref(of) as usize
}

fn not_loaded() -> Error {
    Error::internal("an input of an expression was not loaded")
}
