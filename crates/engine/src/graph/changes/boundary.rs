//! Where changes cannot be told entity by entity.

use std::collections::BTreeSet;

use omnigraph_lang::schema::{PropertyId, TypeBody, TypeId};

use super::Selection;
use crate::error::{DiffRefusal, Error, ErrorKind, RefusalCause, Result};
use crate::exec::values::storage_type;
use crate::graph::delta::Side;
use crate::graph::{Commit, CommitId};

/// Images of one type mean the same on both sides only if the type has the same properties under the
/// same names. Types without rows on one side have nothing to compare.
pub(crate) fn refuse_boundary(from: &Side, to: &Side, selection: &Selection) -> Result<()> {
    if from.schema.digest == to.schema.digest {
        return Ok(());
    }
    let changed = selection.types.iter().find(|(_, id)| {
        let rows = |side: &Side| side.commit.tables.get(id).map_or(0, |table| table.rows);
        match (from.entity(*id), to.entity(*id)) {
            (Some(old), Some(new)) => {
                rows(from) > 0 && rows(to) > 0 && shape(old.body()) != shape(new.body())
            }
            (Some(_), None) => rows(from) > 0,
            (None, _) => false,
        }
    });
    match changed {
        None => Ok(()),
        Some((_, id)) => Err(boundary(from, to, *id)),
    }
}

fn shape(body: &TypeBody) -> BTreeSet<(PropertyId, &str, String)> {
    body.properties
        .iter()
        .map(|property| {
            let data_type = storage_type(&property.data_type).to_string();
            (property.id, property.name.as_str(), data_type)
        })
        .collect()
}

fn boundary(from: &Side, to: &Side, id: TypeId) -> Error {
    let entity = to.entity(id).or(from.entity(id));
    let name = entity.map_or_else(String::new, |entity| entity.body().name.clone());
    refused(
        format!(
            "commit '{}' has another schema of type {name} than commit '{}', so its changes cannot be listed entity by entity",
            to.commit.id, from.commit.id
        ),
        DiffRefusal {
            cause: RefusalCause::SchemaBoundary,
            commit: to.commit.id.to_string(),
            type_name: Some(name),
        },
    )
}

/// The first commit of a graph has nothing before it.
pub(crate) fn parentless(commit: &Commit) -> Error {
    refused(
        format!(
            "commit '{}' has no parent that its changes could be listed against",
            commit.id
        ),
        DiffRefusal {
            cause: RefusalCause::ParentlessCommit,
            commit: commit.id.to_string(),
            type_name: None,
        },
    )
}

fn refused(message: String, refusal: DiffRefusal) -> Error {
    Error::new(ErrorKind::ChangeDiffRefused, message)
        .with_hint("take a baseline, or export the commit")
        .with_detail(|detail| detail.refusal = Some(refusal))
}

/// A gap where the error says that a commit is not kept any more.
pub(crate) fn or_gap(error: Error, commit: CommitId) -> Error {
    match error.kind() {
        ErrorKind::NotFound => gap(None, commit),
        _ => error,
    }
}

/// The history that a request needs is not kept any more.
pub(crate) fn gap(cursor: Option<&str>, unreadable: CommitId) -> Error {
    Error::new(
        ErrorKind::ChangeFeedGap,
        format!("the history at commit '{unreadable}' was reclaimed"),
    )
    .with_hint("take a baseline and go on from its cursor")
    .with_detail(|detail| {
        detail.gap = Some((cursor.map(str::to_owned), unreadable.to_string()));
    })
}
