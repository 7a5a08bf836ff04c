//! Moving the schema of a graph: planned, staged, and landed with one append on `main`.
//!
//! The caller chooses the commit's id beforehand and names it in its sidecar, so that a later
//! leader can tell whether it landed, and can shut it out with a fence.
//!
//! | module | subject |
//! |---|---|
//! | `data` | what the rows that exist have to say about a change: violations, values to fill in |
//! | `offenders` | violations as diagnostics: the first by name, all of them counted |
//! | `land` | the append, re-parenting, fences |

mod data;
mod land;
mod offenders;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt as _;
use omnigraph_lang::schema::migrate::MigrationPlan;
use omnigraph_lang::schema::{Catalog, TypeId};

use self::data::Demands;
use super::branch::Head;
use super::{BranchName, Commit, CommitId, CommitKind, Graph, Snapshot, TableRef, Touched};
use crate::engine::Authorship;
use crate::error::{Error, ErrorKind, Result};
use crate::table::TypeChange;

/// What moving to a desired schema would take.
#[derive(Clone, Debug)]
pub struct SchemaPlan {
    /// The steps, and what forbids them: rules of the language, or entities that exist.
    pub plan: MigrationPlan,
    /// The desired schema, with the stable ids that it would get.
    pub desired: Catalog,
    /// Digest of the desired schema's meaning.
    pub desired_meaning: String,
    /// Entities that forbid it, of which the diagnostics name the first.
    pub violations: u64,
    /// What the text itself is warned about.
    pub warnings: Vec<omnigraph_lang::Diagnostic>,
}

/// A schema change that is ready to be appended.
#[derive(Clone, Debug)]
pub struct StagedSchema {
    base: Head,
    commit: Commit,
    /// Types whose table is another one.
    changed: Vec<TypeId>,
    /// Types whose rows were looked at.
    read: BTreeSet<TypeId>,
    epoch: u64,
}

/// The tables of a snapshot after a change of its schema. Nothing names the new versions yet.
#[derive(Clone, Debug)]
pub(crate) struct MigratedTables {
    /// All tables of the desired schema.
    pub(crate) tables: BTreeMap<TypeId, TableRef>,
    /// Types whose table is new or has another version now.
    pub(crate) changed: Vec<TypeId>,
    /// Types whose rows were looked at: the change holds only as long as they stay as they are.
    pub(crate) read: BTreeSet<TypeId>,
    /// Rows that were given values.
    pub(crate) touched: Vec<Touched>,
}

impl StagedSchema {
    /// The head that it was made for.
    pub fn base_head(&self) -> CommitId {
        self.base.commit.id
    }

    /// The place in the log of `main` that it is made for.
    pub fn seq(&self) -> crate::log::Seq {
        self.base.seq.next()
    }

    /// Digest of the schema object that it moves to.
    pub fn schema_digest(&self) -> &str {
        &self.commit.schema
    }

    /// The id that was chosen for it.
    pub fn commit_id(&self) -> CommitId {
        self.commit.id
    }
}

/// Why a schema change did not report success.
#[derive(Debug, thiserror::Error)]
pub enum SchemaCommitError {
    /// Another writer moved what the change was made for. It has not landed and never will.
    #[error("the graph moved while its schema was changed; nothing was written")]
    Conflict,
    /// A newer leader shut it out. It has not landed and never will.
    #[error("a newer leader has fenced this change off; nothing was written")]
    Fenced,
    /// It may have landed, or may still land.
    #[error("it is not known whether the schema change was written")]
    Unknown(#[source] Error),
    /// It failed before anything was sent.
    #[error(transparent)]
    Other(#[from] Error),
}

impl Graph {
    /// What moving a snapshot to a desired schema would take, its rows included. Reads only.
    pub async fn plan_schema(&self, snapshot: &Snapshot, desired: &str) -> Result<SchemaPlan> {
        Ok(self.plan_and_demands(snapshot, desired).await?.0)
    }

    /// Does everything but the append: checks the data, writes the schema object, makes the new
    /// table versions. Nothing of it is visible, and nothing is written if the change is refused.
    pub async fn stage_schema(
        &self,
        desired_source: &str,
        commit_id: CommitId,
        by: &Authorship,
    ) -> Result<StagedSchema> {
        let main = BranchName::main();
        let head = self.shared.branches.head(&main).await?;
        let epoch = by.control_epoch.unwrap_or(0);
        if head.control_epoch > epoch {
            return Err(Error::new(
                ErrorKind::Fenced,
                format!(
                    "graph '{}' was written by a leader of epoch {}, this one has {epoch}",
                    self.root().id,
                    head.control_epoch
                ),
            ));
        }
        let snapshot = self.open(head.commit.clone(), Some(main.clone())).await?;
        let (planned, demands) = self.plan_and_demands(&snapshot, desired_source).await?;
        if !planned.plan.supported {
            return Err(refused(planned.plan.diagnostics, planned.violations));
        }
        let made = self
            .make_tables(&snapshot, &planned.desired, demands)
            .await?;
        let schema = self
            .shared
            .schemas
            .put(desired_source, planned.desired)
            .await?;
        let commit = Commit {
            id: commit_id,
            branch: main,
            parents: vec![head.at.clone()],
            version: head.commit.version + 1,
            actor: by.actor.clone(),
            created_at: head.time_after(self.store().clock().now_micros()),
            message: by.message.clone(),
            kind: CommitKind::Schema,
            schema: schema.digest.clone(),
            schema_commit: commit_id,
            control_epoch: epoch.max(head.control_epoch),
            fences: None,
            idempotency: None,
            touched: made.touched,
            tables: made.tables,
        };
        Ok(StagedSchema {
            base: head,
            commit,
            changed: made.changed,
            read: made.read,
            epoch,
        })
    }

    /// Carries the tables of a snapshot to another version of its schema, which has the same stable
    /// ids: the steps of a migration without the commit. A type that the snapshot does not know
    /// gets an empty table of its own.
    ///
    /// # Errors
    /// `Migration`, with what the rows violate.
    pub(crate) async fn migrate_tables(
        &self,
        snapshot: &Snapshot,
        desired: &Catalog,
    ) -> Result<MigratedTables> {
        let demands = data::demands(self, snapshot, desired).boxed().await?;
        if !demands.found.is_empty() {
            return Err(refused(demands.found, demands.violations));
        }
        self.make_tables(snapshot, desired, demands).await
    }

    /// The same whatever the rows violate: for the base of a merge, which is only compared with.
    pub(crate) async fn migrate_unchecked(
        &self,
        snapshot: &Snapshot,
        desired: &Catalog,
    ) -> Result<MigratedTables> {
        let demands = data::demands(self, snapshot, desired).boxed().await?;
        self.make_tables(snapshot, desired, demands).await
    }

    /// The plan by the language's rules, then by the rows that exist.
    async fn plan_and_demands(
        &self,
        snapshot: &Snapshot,
        desired_source: &str,
    ) -> Result<(SchemaPlan, Demands)> {
        let accepted = &snapshot.schema.catalog;
        let evolution = omnigraph_lang::schema::evolve(accepted, desired_source)
            .map_err(|found| Error::diagnostics(ErrorKind::Invalid, found))?;
        let mut plan = evolution.plan;
        let demands = match plan.supported {
            true => {
                data::demands(self, snapshot, &evolution.catalog)
                    .boxed()
                    .await?
            }
            // What the language refuses has no after-state that rows could be held against.
            false => Demands::default(),
        };
        plan.diagnostics.extend(demands.found.iter().cloned());
        plan.supported = plan.supported && demands.found.is_empty();
        let planned = SchemaPlan {
            plan,
            desired_meaning: evolution.catalog.digest(),
            desired: evolution.catalog,
            violations: demands.violations,
            warnings: evolution.warnings,
        };
        Ok((planned, demands))
    }

    async fn make_tables(
        &self,
        snapshot: &Snapshot,
        desired: &Catalog,
        demands: Demands,
    ) -> Result<MigratedTables> {
        let accepted = &snapshot.schema.catalog;
        let mut tables = BTreeMap::new();
        let mut changed = Vec::new();
        let no_fills = BTreeMap::new();
        for after in desired.entities() {
            let id = after.body().id;
            let table = match accepted.entity(id) {
                None => self.tables().create(after).boxed().await?,
                Some(before) => {
                    let change = TypeChange {
                        before,
                        after,
                        fills: demands.fills.get(&id).unwrap_or(&no_fills),
                    };
                    // Boxed, because the futures of table operations are deep.
                    self.tables()
                        .migrate(snapshot.table(id)?, change)
                        .boxed()
                        .await?
                }
            };
            if snapshot.commit.tables.get(&id) != Some(&table) {
                changed.push(id);
            }
            tables.insert(id, table);
        }
        Ok(MigratedTables {
            tables,
            changed,
            read: demands.read,
            touched: demands.touched,
        })
    }
}

fn refused(found: Vec<omnigraph_lang::Diagnostic>, violations: u64) -> Error {
    let listed = found.len();
    let error = Error::diagnostics(ErrorKind::Migration, found);
    let total = usize::try_from(violations)
        .unwrap_or(usize::MAX)
        .max(listed);
    error.with_detail(|detail| detail.diagnostics_total = total)
}
