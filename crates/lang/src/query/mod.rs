//! Queries: the checked form, and what turns source text into it.

#[cfg(test)]
mod accept;
pub(crate) mod ast;
mod check;
mod checked;
mod expr;
mod lint;
mod params;
pub(crate) mod parse;
#[cfg(test)]
mod tests;

use crate::diagnostic::Diagnostic;
use crate::schema::Catalog;
use crate::syntax::MOST_ERRORS;

pub use checked::{
    Aggregate, AggregateFunction, Arm, Assignment, Block, Body, CheckedQuery, CheckedRead, Count,
    Direction, Endpoint, Ends, Grouping, Hop, HopEdge, Operation, Param, ParamId, Projection, Rank,
    RankCall, ResultColumn, ResultKind, SortBy, SortKey, Statement, TypeRef, UnionKind, VarId,
    VarKind, Variable,
};
pub use expr::{
    Arithmetic, CastMode, Comparison, Expr, ExprKind, ExprType, Function, OwnField, PropertyRef,
    SearchCall, SearchKind, TextTest,
};
pub use lint::{Checkup, QueryCheckup, QueryKind, check};
pub use params::{BoundParams, bind_params};

/// The queries of a source, in the order of the text. Of two with one name the first counts.
/// Warnings are in the queries.
///
/// # Errors
/// Everything that is wrong with any of them, and the warnings.
pub fn compile(source: &str, catalog: &Catalog) -> Result<Vec<CheckedQuery>, Vec<Diagnostic>> {
    let Checkup {
        queries,
        mut diagnostics,
        ..
    } = check(source, catalog);
    let found = queries.iter().flat_map(|q| q.diagnostics.iter());
    if diagnostics.iter().chain(found).any(Diagnostic::is_error) {
        diagnostics.extend(queries.into_iter().flat_map(|q| q.diagnostics));
        crate::diagnostic::sort(&mut diagnostics);
        if diagnostics.len() > MOST_ERRORS {
            // Errors, wherever they stand, come before warnings.
            diagnostics.sort_by_key(|found| !found.is_error());
            diagnostics.truncate(MOST_ERRORS);
            crate::diagnostic::sort(&mut diagnostics);
        }
        return Err(diagnostics);
    }
    let checked = queries.into_iter().filter_map(|query| {
        let mut checked = query.checked?;
        checked.warnings = query.diagnostics;
        Some(checked)
    });
    Ok(checked.collect())
}
