//! What is allowed and yet probably not meant, across the queries of a file.

use std::collections::{BTreeMap, BTreeSet};

use super::{Body, CheckedQuery, Statement};
use crate::diagnostic::{Code, Diagnostic};
use crate::schema::{Catalog, PropertyId, TypeId};

/// W502: a nullable property that no update of the file sets, on a type that some update changes.
/// The first query that updates the type carries the warning.
pub(super) fn unset_properties(queries: &mut [CheckedQuery], catalog: &Catalog) {
    let mut updated: BTreeMap<TypeId, (usize, BTreeSet<PropertyId>)> = BTreeMap::new();
    for (position, query) in queries.iter().enumerate() {
        let Body::Mutation(statements) = &query.body else {
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
                queries[position].warnings.push(
                    Diagnostic::warning(Code::W502, format!("no update sets `{path}`")).path(path),
                );
            }
        }
    }
}
