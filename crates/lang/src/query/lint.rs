//! All that can be said about the queries of a file, one by one, and across them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Body, CheckedQuery, Statement, ast, parse};
use crate::diagnostic::{Code, Diagnostic};
use crate::schema::{Catalog, PropertyId, TypeId};
use crate::syntax::MOST_ERRORS;

/// What the queries of one source may come to beyond what is written: parts of expressions that
/// aliases copy, types that interfaces stand for. It bounds the memory of a compiled source.
const EXPANSION: usize = 200_000;

/// What was found in a source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkup {
    /// In the order of the text. Of two with one name only the first is here.
    pub queries: Vec<QueryCheckup>,
    /// What belongs to no query, or to one whose head could not be read.
    pub diagnostics: Vec<Diagnostic>,
    /// Parts of the text were not looked at: there may be queries that are not here.
    pub incomplete: bool,
}

/// What was found in one query.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryCheckup {
    pub name: String,
    pub kind: QueryKind,
    /// Its text, as far as it could be read.
    pub source: String,
    /// Errors and warnings, by place.
    pub diagnostics: Vec<Diagnostic>,
    /// If there are no errors. Its own list of warnings is empty: they are in `diagnostics`.
    pub checked: Option<CheckedQuery>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum QueryKind {
    Read,
    Mutation,
}

impl Checkup {
    /// All findings, by place.
    #[must_use]
    pub fn all_diagnostics(&self) -> Vec<Diagnostic> {
        let own = self.queries.iter().flat_map(|q| &q.diagnostics);
        let mut all: Vec<Diagnostic> = self.diagnostics.iter().chain(own).cloned().collect();
        crate::diagnostic::sort(&mut all);
        all
    }
}

impl QueryKind {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            QueryKind::Read => "read",
            QueryKind::Mutation => "mutation",
        }
    }
}

/// Parses and checks each query of a source, whatever is wrong with the others.
#[must_use]
pub fn check(source: &str, catalog: &Catalog) -> Checkup {
    let parse::Tree {
        queries: trees,
        diagnostics,
        skipped,
        ..
    } = parse::parse(source);
    let mut checkup = Checkup {
        queries: Vec::new(),
        diagnostics,
        incomplete: skipped,
    };
    let mut found = checkup.diagnostics.len();
    let mut budget = EXPANSION;
    for tree in &trees {
        if found >= MOST_ERRORS {
            checkup.incomplete = true;
            break;
        }
        if let Some(first) = (checkup.queries.iter_mut()).find(|q| q.name == tree.name.text) {
            let message = format!(
                "the query `{}` is declared again, the first counts",
                first.name
            );
            let warning = Diagnostic::warning(Code::W504, message).at(tree.name.span);
            first.diagnostics.push(warning);
            continue;
        }
        let query = check_one(
            (tree, source),
            catalog,
            &mut checkup.diagnostics,
            &mut budget,
        );
        found += query.diagnostics.len();
        checkup.queries.push(query);
    }
    unset_properties(&mut checkup.queries, catalog);
    checkup
}

/// Takes what the parser found in this query out of `parsed`.
fn check_one(
    (tree, source): (&ast::Query, &str),
    catalog: &Catalog,
    parsed: &mut Vec<Diagnostic>,
    budget: &mut usize,
) -> QueryCheckup {
    let inside = |d: &Diagnostic| {
        d.span
            .is_some_and(|s| (tree.span.start..tree.span.end).contains(&s.start))
    };
    let mut diagnostics: Vec<Diagnostic> = parsed.iter().filter(|d| inside(d)).cloned().collect();
    parsed.retain(|d| !inside(d));
    let broken = !diagnostics.is_empty() || !tree.closed;
    let checked = match super::check::check(tree, catalog, source, budget) {
        Ok(mut checked) => {
            diagnostics.append(&mut checked.warnings);
            (!broken).then_some(checked)
        }
        Err(found) => {
            diagnostics.extend(found);
            None
        }
    };
    crate::diagnostic::sort(&mut diagnostics);
    let end = source.len().min(tree.span.end as usize);
    let text = source.get(tree.span.start as usize..end);
    QueryCheckup {
        source: text.unwrap_or_default().to_owned(),
        name: tree.name.text.clone(),
        kind: match tree.body {
            ast::Body::Read(_) => QueryKind::Read,
            ast::Body::Mutation(_) => QueryKind::Mutation,
        },
        diagnostics,
        checked,
    }
}

/// W502: a nullable property that no update of the file sets, on a type that some update changes.
/// The first query that updates the type carries the warning.
fn unset_properties(queries: &mut [QueryCheckup], catalog: &Catalog) {
    let mut updated: BTreeMap<TypeId, (usize, BTreeSet<PropertyId>)> = BTreeMap::new();
    for (position, query) in queries.iter().enumerate() {
        let Some(Body::Mutation(statements)) = query.checked.as_ref().map(|q| &q.body) else {
            // Its updates may set more than is known.
            if query.checked.is_none() && query.kind == QueryKind::Mutation {
                return;
            }
            continue;
        };
        for statement in statements {
            if let Statement::Update {
                target,
                assignments,
                ..
            } = statement
            {
                let (_, set) = updated
                    .entry(*target)
                    .or_insert_with(|| (position, BTreeSet::new()));
                set.extend(assignments.iter().map(|a| a.property));
            }
        }
    }
    for (target, (position, set)) in updated {
        let Some(entity) = catalog.entity(target) else {
            continue;
        };
        for property in &entity.body().properties {
            if property.nullable && !set.contains(&property.id) {
                let path = format!("{}.{}", entity.body().name, property.name);
                queries[position].diagnostics.push(
                    Diagnostic::warning(Code::W502, format!("no update sets `{path}`")).path(path),
                );
            }
        }
    }
}
