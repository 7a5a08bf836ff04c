//! Queries: the checked form, and what turns source text into it.

mod ast;
mod check;
mod checked;
mod expr;
mod lint;
mod params;
mod parse;
#[cfg(test)]
mod tests;

use crate::diagnostic::{Code, Diagnostic, Span};
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
pub use params::{BoundParams, bind_params};

/// The queries of a source, in the order of the text. Of two with one name the first counts.
/// Warnings are in the queries.
///
/// # Errors
/// Everything that is wrong with any of them, and the warnings.
pub fn compile(source: &str, catalog: &Catalog) -> Result<Vec<CheckedQuery>, Vec<Diagnostic>> {
    let (trees, mut diagnostics) = parse::parse(source);
    let broken: Vec<Span> = diagnostics.iter().filter_map(|d| d.span).collect();
    let mut queries: Vec<CheckedQuery> = Vec::new();
    for tree in &trees {
        if diagnostics.len() >= MOST_ERRORS {
            break;
        }
        // What could not be read is not missing: errors of the check would only be consequences.
        let span = tree.span;
        if broken
            .iter()
            .any(|b| (span.start..span.end).contains(&b.start))
        {
            continue;
        }
        if let Some(first) = queries.iter_mut().find(|q| q.name == tree.name.text) {
            let message = format!(
                "the query `{}` is declared again, the first counts",
                first.name
            );
            first
                .warnings
                .push(Diagnostic::warning(Code::W504, message).at(tree.name.span));
            continue;
        }
        match check::check(tree, catalog, source) {
            Ok(query) => queries.push(query),
            Err(found) => diagnostics.extend(found),
        }
    }
    if diagnostics.iter().any(Diagnostic::is_error) {
        diagnostics.extend(queries.into_iter().flat_map(|q| q.warnings));
        crate::diagnostic::sort(&mut diagnostics);
        return Err(diagnostics);
    }
    lint::unset_properties(&mut queries, catalog);
    Ok(queries)
}
