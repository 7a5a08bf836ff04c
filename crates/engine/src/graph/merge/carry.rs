//! Branches with different schemas: the one that is behind is carried forward.
//!
//! Schemas belong to the control plane and move on `main` only, so one branch's schema is an
//! ancestor of the other's: that of the branch whose schema commit the other's history contains.
//! The tables that the older side changed are taken through the steps of the migration, at the base
//! and at its head, into versions that nothing names; from there on all sides have one schema.

use std::collections::BTreeSet;
use std::sync::Arc;

use omnigraph_lang::schema::{Catalog, TypeId};
use omnigraph_lang::{Code, Diagnostic};

use super::conflict::{ConflictKind, Conflicts, MergeConflict};
use super::entities::Sides;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::delta::Side;
use crate::graph::{BranchName, Commit, Graph};

/// The sides of a merge under one schema.
pub(super) enum Carried {
    /// They have the target's schema.
    Sides(Box<Sides>),
    /// They have the source's, to which the target moves: its tables as a whole are these.
    Moved(Box<Sides>, Arc<Commit>),
    /// They cannot be brought under one.
    Refused(Conflicts),
}

impl Graph {
    /// Brings both heads and their common ancestors under one schema.
    pub(super) async fn carried(
        &self,
        target: &BranchName,
        bases: &[Arc<Commit>],
        into: &Arc<Commit>,
        from: &Arc<Commit>,
    ) -> Result<Carried> {
        let (ours, theirs) = (self.side(into).await?, self.side(from).await?);
        let names = ["the target", "the source"];
        if into.schema == from.schema {
            let mut same = Vec::with_capacity(bases.len());
            for base in bases.iter().filter(|base| base.schema == into.schema) {
                same.push(self.side(base).await?);
            }
            if same.is_empty() {
                return Ok(diverged(
                    "the branches have no common ancestor of their schema",
                ));
            }
            return Ok(Carried::Sides(Box::new(Sides {
                bases: same,
                ours,
                theirs,
                names,
            })));
        }
        let theirs_older = self.knows_schema(into, from).await?;
        let ours_older = !theirs_older && self.knows_schema(from, into).await?;
        if ours_older && target.is_main() {
            return Ok(diverged(
                "the source has a schema that 'main' does not have: schemas move by apply, not by a merge",
            ));
        }
        let (older, newer) = match (theirs_older, ours_older) {
            (true, _) => (&theirs, &ours),
            (_, true) => (&ours, &theirs),
            _ => {
                return Ok(diverged(
                    "each branch has a schema that the other's history does not contain",
                ));
            }
        };
        let Some(base) = bases.iter().find(|base| base.schema == older.commit.schema) else {
            return Ok(diverged(
                "the branches have no common ancestor of the older schema",
            ));
        };
        let base = self.side(base).await?;
        let types = moved(&base, older, newer);
        let head = match self.under_schema(older, newer, &types, true).await {
            Ok(head) => head,
            Err(error) if error.kind() == ErrorKind::Migration => {
                return Ok(Carried::Refused(unfit(newer, &error)));
            }
            Err(error) => return Err(error),
        };
        let base = self.under_schema(&base, newer, &types, false).await?;
        let bases = vec![base];
        Ok(match ours_older {
            true => {
                let whole = head.commit.clone();
                let sides = Sides {
                    bases,
                    ours: head,
                    theirs,
                    names,
                };
                Carried::Moved(Box::new(sides), whole)
            }
            false => Carried::Sides(Box::new(Sides {
                bases,
                ours,
                theirs: head,
                names,
            })),
        })
    }

    /// Whether the commit that gave `other` its schema is in the history of `head`.
    async fn knows_schema(&self, head: &Arc<Commit>, other: &Arc<Commit>) -> Result<bool> {
        let moved = self.find_commit(&other.schema_commit).await?;
        self.descends(head, &moved).await
    }

    /// A commit as it would be under the newer side's schema, in versions that nothing names. Types
    /// that are not among `types` are those of the newer side.
    async fn under_schema(
        &self,
        side: &Side,
        newer: &Side,
        types: &BTreeSet<TypeId>,
        checked: bool,
    ) -> Result<Side> {
        let snapshot = self.open(side.commit.clone(), None).await?;
        let desired = only(&newer.schema.catalog, types);
        let made = match checked {
            true => self.migrate_tables(&snapshot, &desired).await?,
            false => self.migrate_unchecked(&snapshot, &desired).await?,
        };
        let mut commit = Commit::clone(&side.commit);
        commit.schema.clone_from(&newer.commit.schema);
        commit.schema_commit = newer.commit.schema_commit;
        commit.tables.clone_from(&newer.commit.tables);
        commit.tables.extend(made.tables);
        Ok(Side {
            commit: Arc::new(commit),
            schema: newer.schema.clone(),
        })
    }
}

/// Types that the older side changed and the newer schema still has.
fn moved(base: &Side, older: &Side, newer: &Side) -> BTreeSet<TypeId> {
    let tables = older.commit.tables.iter();
    let moved = tables.filter(|(id, table)| base.commit.tables.get(id) != Some(table));
    let kept = moved.filter(|(id, _)| newer.entity(**id).is_some());
    kept.map(|(id, _)| *id).collect()
}

/// A schema with these node and edge types alone.
fn only(catalog: &Catalog, types: &BTreeSet<TypeId>) -> Catalog {
    let mut catalog = catalog.clone();
    catalog.nodes.retain(|node| types.contains(&node.id));
    catalog.edges.retain(|edge| types.contains(&edge.id));
    catalog
}

fn diverged(message: &str) -> Carried {
    Carried::Refused(Conflicts::schema_diverged(message.to_owned()))
}

/// What the rows of the older side violate under the newer schema.
fn unfit(newer: &Side, error: &Error) -> Conflicts {
    let detail = error.detail();
    let listed: Vec<MergeConflict> = detail
        .diagnostics
        .iter()
        .map(|found| conflict(newer, found))
        .collect();
    let total = (detail.diagnostics_total as u64).max(listed.len() as u64);
    Conflicts {
        listed,
        total,
        unresolved: total,
    }
}

fn conflict(newer: &Side, found: &Diagnostic) -> MergeConflict {
    let path = found.path.as_deref().unwrap_or_default();
    let name = path.split('.').next().unwrap_or_default();
    let edge = newer.schema.catalog.node(name).is_none();
    let kind = match (found.code, found.message.contains("@unique")) {
        (Code::M307, true) => ConflictKind::UniqueViolation,
        (Code::M307, false) if found.message.contains("@card") => {
            ConflictKind::CardinalityViolation
        }
        _ => ConflictKind::ValueConstraintViolation,
    };
    MergeConflict {
        edge,
        type_name: name.to_owned(),
        entity_id: None,
        kind,
        message: format!("{}: {}", found.code, found.message),
        base: None,
        ours: None,
        theirs: None,
        resolution: None,
    }
}
