//! Narrowing a list of changes.

use std::collections::BTreeSet;

use omnigraph_lang::schema::{Catalog, EntityKind, EntityType, TypeId};
use sha2::{Digest, Sha256};

use super::ChangeOp;
use crate::error::{Error, Result};
use crate::graph::delta::Side;

/// Narrows a list of changes. An empty list does not narrow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeFilter {
    /// Whether edges (`true`) and nodes (`false`) are wanted.
    pub edges: BTreeSet<bool>,
    /// Names of types.
    pub types: BTreeSet<String>,
    /// What may have happened.
    pub ops: BTreeSet<ChangeOp>,
}

impl ChangeFilter {
    /// Whether it lets everything through.
    pub fn is_empty(&self) -> bool {
        self.edges.is_empty() && self.types.is_empty() && self.ops.is_empty()
    }

    /// Binds tokens to this filter.
    pub(crate) fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for edge in &self.edges {
            hash.update([b'k', u8::from(*edge), b';']);
        }
        for name in &self.types {
            hash.update(format!("t{}:{name};", name.len()));
        }
        for op in &self.ops {
            hash.update([b'o', *op as u8, b';']);
        }
        hex::encode(&hash.finalize()[..8])
    }

    /// The types that it lets through, in the order of a list: nodes before edges, by identity.
    pub(crate) fn select(&self, schemas: &[&Catalog]) -> Result<Selection> {
        for name in &self.types {
            let mut entities = schemas.iter().flat_map(|catalog| catalog.entities());
            if !entities.any(|entity| is_named(entity, name)) {
                return Err(Error::invalid(format!(
                    "no node or edge type is called '{name}'"
                )));
            }
        }
        let entities = schemas.iter().flat_map(|catalog| catalog.entities());
        let types = entities
            .filter(|entity| {
                let edge = entity.kind() == EntityKind::Edge;
                (self.edges.is_empty() || self.edges.contains(&edge))
                    && (self.types.is_empty()
                        || self.types.iter().any(|name| is_named(*entity, name)))
            })
            .map(|entity| (entity.kind() == EntityKind::Edge, entity.body().id))
            .collect();
        Ok(Selection {
            types,
            ops: self.ops.clone(),
        })
    }

    /// The same by two sides of a comparison.
    pub(crate) fn between(&self, from: &Side, to: &Side) -> Result<Selection> {
        self.select(&[&to.schema.catalog, &from.schema.catalog])
    }
}

/// A filter with names resolved.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    /// Whether it is an edge type, and which.
    pub(crate) types: BTreeSet<(bool, TypeId)>,
    ops: BTreeSet<ChangeOp>,
}

impl Selection {
    pub(crate) fn wants(&self, op: ChangeOp) -> bool {
        self.ops.is_empty() || self.ops.contains(&op)
    }
}

/// Node names are case-sensitive, edge names are not.
fn is_named(entity: EntityType<'_>, name: &str) -> bool {
    match entity {
        EntityType::Node(node) => node.name == name,
        EntityType::Edge(edge) => edge.name.eq_ignore_ascii_case(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_differ_by_every_part() {
        let with = |change: &dyn Fn(&mut ChangeFilter)| {
            let mut filter = ChangeFilter::default();
            change(&mut filter);
            filter.digest()
        };
        let digests: BTreeSet<String> = [
            with(&|_| {}),
            with(&|f| f.edges = BTreeSet::from([true])),
            with(&|f| f.edges = BTreeSet::from([false])),
            with(&|f| f.edges = BTreeSet::from([false, true])),
            with(&|f| f.types = BTreeSet::from(["a".to_owned()])),
            with(&|f| f.types = BTreeSet::from(["a;t1:b".to_owned()])),
            with(&|f| f.types = BTreeSet::from(["a".to_owned(), "b".to_owned()])),
            with(&|f| f.ops = BTreeSet::from([ChangeOp::Insert])),
        ]
        .into();
        assert_eq!(digests.len(), 8);
    }
}
