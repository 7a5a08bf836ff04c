//! Moving the schema of a graph: planned, staged, and landed with one append on `main`.
//!
//! The caller chooses the commit's id beforehand and names it in its sidecar, so that a later
//! leader can tell whether it landed, and can shut it out with a fence.

use std::collections::BTreeMap;

use omnigraph_lang::schema::migrate::MigrationPlan;
use omnigraph_lang::schema::{Catalog, EntityType, Property, TypeBody, TypeId};
use omnigraph_lang::{Code, Diagnostic};

use super::branch::{BranchState, Head, living};
use super::writer::{Appended, append_deadline, commit_event};
use super::{BranchName, Commit, CommitId, CommitKind, Graph, Snapshot, TableRef};
use crate::engine::Authorship;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::model::BranchEvent;
use crate::table::{ColumnChange, arrow_field};

/// What moving to a desired schema would take.
#[derive(Clone, Debug)]
pub struct SchemaPlan {
    /// The steps, and what forbids them.
    pub plan: MigrationPlan,
    /// The desired schema, with the stable ids that it would get.
    pub desired: Catalog,
    /// Digest of the desired schema's meaning.
    pub desired_meaning: String,
}

/// A schema change that is ready to be appended.
#[derive(Clone, Debug)]
pub struct StagedSchema {
    base: Head,
    commit: Commit,
    changed: Vec<TypeId>,
    epoch: u64,
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
    /// What moving a snapshot to a desired schema would take. Reads only.
    pub async fn plan_schema(&self, snapshot: &Snapshot, desired: &str) -> Result<SchemaPlan> {
        plan(snapshot, desired)
    }

    /// Does everything but the append: checks the data, writes the schema object, makes the new
    /// table versions. Nothing of it is visible.
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
        let planned = plan(&snapshot, desired_source)?;
        if !planned.plan.supported {
            return Err(Error::diagnostics(
                ErrorKind::Migration,
                planned.plan.diagnostics,
            ));
        }
        let (tables, changed) = self.change_tables(&snapshot, &planned.desired).await?;
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
            created_at: self.store().clock().now_micros(),
            message: by.message.clone(),
            kind: CommitKind::Schema,
            schema: schema.digest.clone(),
            schema_commit: commit_id,
            control_epoch: epoch.max(head.control_epoch),
            fences: None,
            idempotency: None,
            touched: Vec::new(),
            tables,
        };
        Ok(StagedSchema {
            base: head,
            commit,
            changed,
            epoch,
        })
    }

    /// Appends a staged schema change, re-parented over commits that touched other tables only.
    pub async fn commit_schema(&self, staged: StagedSchema) -> Result<Commit, SchemaCommitError> {
        let main = BranchName::main();
        let queue = self.queue(&main);
        let _turn = queue.lock().await;
        let StagedSchema {
            base,
            mut commit,
            changed,
            epoch,
        } = staged;
        let mut place = base.clone();
        loop {
            let event = commit_event(&place, commit.clone());
            let appended = self
                .append_event(&main, Some(place.seq), event, append_deadline())
                .await
                .map_err(|error| match error.kind() {
                    ErrorKind::Unavailable => SchemaCommitError::Unknown(error),
                    _ => SchemaCommitError::Other(error),
                })?;
            if let Appended::Landed(state) = appended {
                let head = living(&main, state)?;
                self.shared.commits.put(&head.commit);
                return Ok(Commit::clone(&head.commit));
            }
            place = self
                .next_place(&main, &base, &commit, &changed, epoch)
                .await?;
            let mut tables = place.commit.tables.clone();
            tables.retain(|id, _| commit.tables.contains_key(id));
            for id in &changed {
                if let Some(table) = commit.tables.get(id) {
                    tables.insert(*id, table.clone());
                }
            }
            commit.tables = tables;
            commit.parents = vec![place.at.clone()];
            commit.version = place.commit.version + 1;
            commit.control_epoch = epoch.max(place.control_epoch);
        }
    }

    /// Makes sure that the named commit can never land on `main` any more, and returns the head
    /// after that. If it has landed already, the head's `schema_commit` says so.
    pub async fn fence(&self, commit_id: CommitId, by: &Authorship) -> Result<Commit> {
        let main = BranchName::main();
        let epoch = by.control_epoch.unwrap_or(0);
        loop {
            let head = self.shared.branches.head(&main).await?;
            let landed = head.commit.schema_commit == commit_id;
            let fenced = head.commit.kind == CommitKind::Fence
                && head.commit.fences == Some(commit_id)
                && head.control_epoch >= epoch;
            if landed || fenced {
                return Ok(Commit::clone(&head.commit));
            }
            if head.control_epoch > epoch {
                return Err(Error::new(
                    ErrorKind::Fenced,
                    format!("a leader of epoch {} has written since", head.control_epoch),
                ));
            }
            let mut commit = Commit::clone(&head.commit);
            commit.id = CommitId::new();
            commit.branch = main.clone();
            commit.parents = vec![head.at.clone()];
            commit.version += 1;
            commit.actor.clone_from(&by.actor);
            commit.message.clone_from(&by.message);
            commit.created_at = self.store().clock().now_micros();
            commit.kind = CommitKind::Fence;
            commit.fences = Some(commit_id);
            commit.control_epoch = epoch;
            commit.idempotency = None;
            commit.touched = Vec::new();
            let event = commit_event(&head, commit);
            let appended = self
                .append_event(&main, Some(head.seq), event, append_deadline())
                .await?;
            if let Appended::Landed(state) = appended {
                return Ok(Commit::clone(&living(&main, state)?.commit));
            }
        }
    }

    /// Where a schema change may go after its place was taken.
    async fn next_place(
        &self,
        main: &BranchName,
        base: &Head,
        commit: &Commit,
        changed: &[TypeId],
        epoch: u64,
    ) -> Result<Head, SchemaCommitError> {
        let state = self.shared.branches.state(main).await?;
        let BranchState::Living(head) = state else {
            return Err(SchemaCommitError::Conflict);
        };
        let between = self
            .shared
            .branches
            .log(main)
            .range(base.seq.next(), head.seq)
            .await
            .map_err(Error::from)?;
        let names_it = |event: &BranchEvent| match event {
            BranchEvent::Commit { commit: other, .. } => other.fences == Some(commit.id),
            _ => false,
        };
        if head.control_epoch > epoch || between.iter().any(|(_, entry)| names_it(&entry.event)) {
            return Err(SchemaCommitError::Fenced);
        }
        let same_table = |id: &TypeId| head.commit.tables.get(id) == base.commit.tables.get(id);
        let dropped = |id: &TypeId| !commit.tables.contains_key(id);
        let unmoved = changed.iter().all(same_table)
            && base
                .commit
                .tables
                .keys()
                .filter(|id| dropped(id))
                .all(same_table);
        if head.commit.schema_commit == base.commit.schema_commit && unmoved {
            Ok(head)
        } else {
            Err(SchemaCommitError::Conflict)
        }
    }

    /// The tables of the desired schema, and the types whose table is another one now.
    async fn change_tables(
        &self,
        snapshot: &Snapshot,
        desired: &Catalog,
    ) -> Result<(BTreeMap<TypeId, TableRef>, Vec<TypeId>)> {
        let accepted = &snapshot.schema.catalog;
        let mut tables = BTreeMap::new();
        let mut changed = Vec::new();
        for entity in desired.entities() {
            let id = entity.body().id;
            let table = match accepted.entity(id) {
                None => self.tables().create(entity).await?,
                Some(before) => {
                    let changes = column_changes(before.body(), entity.body());
                    let table = snapshot.table(id)?;
                    if changes.is_empty() && before.body().indexes == entity.body().indexes {
                        table.clone()
                    } else {
                        self.tables()
                            .change_columns(table, &changes, entity)
                            .await?
                    }
                }
            };
            if snapshot.commit.tables.get(&id) != Some(&table) {
                changed.push(id);
            }
            tables.insert(id, table);
        }
        Ok((tables, changed))
    }
}

/// Plans by the language's rules, then adds what storage cannot do yet.
fn plan(snapshot: &Snapshot, desired_source: &str) -> Result<SchemaPlan> {
    let accepted = &snapshot.schema.catalog;
    let evolution = omnigraph_lang::schema::evolve(accepted, desired_source)
        .map_err(|found| Error::diagnostics(ErrorKind::Invalid, found))?;
    let mut plan = evolution.plan;
    for entity in evolution.catalog.entities() {
        let Some(before) = accepted.entity(entity.body().id) else {
            continue;
        };
        let rows = snapshot.table(entity.body().id)?.rows;
        if rows > 0 {
            plan.diagnostics.extend(needs_data(before, entity));
        }
    }
    plan.supported = plan.supported && plan.diagnostics.iter().all(|found| !found.is_error());
    Ok(SchemaPlan {
        plan,
        desired_meaning: evolution.catalog.digest(),
        desired: evolution.catalog,
    })
}

/// Changes that would have to read or rewrite the rows that exist.
fn needs_data(before: EntityType<'_>, after: EntityType<'_>) -> Vec<Diagnostic> {
    let (old, new) = (before.body(), after.body());
    let mut found = Vec::new();
    for property in &new.properties {
        let path = format!("{}.{}", new.name, property.name);
        match old.property_by_id(property.id) {
            None if property.default.is_some() => found.push(refuse(
                Code::M303,
                path,
                "existing rows cannot be given the default yet",
            )),
            None if !property.nullable => found.push(refuse(
                Code::M303,
                path,
                "a required property cannot be added to a type that has rows",
            )),
            Some(was) if was.nullable != property.nullable => found.push(refuse(
                Code::M304,
                path,
                "a property of a type that has rows cannot be made required or optional yet",
            )),
            Some(_) | None => {}
        }
    }
    let added = new
        .uniques
        .iter()
        .any(|unique| !old.uniques.contains(unique))
        || new.ranges.iter().any(|range| !old.ranges.contains(range))
        || new.checks.iter().any(|check| !old.checks.contains(check));
    let tightened = match (before, after) {
        (EntityType::Edge(before), EntityType::Edge(after)) => {
            let bounds = |card: &omnigraph_lang::schema::Cardinality| {
                (card.min, card.max.unwrap_or(u64::MAX))
            };
            let (was, is) = (bounds(&before.cardinality), bounds(&after.cardinality));
            is.0 > was.0 || is.1 < was.1
        }
        _ => false,
    };
    if added || tightened {
        found.push(refuse(
            Code::M307,
            new.name.clone(),
            "a constraint cannot be added to a type that has rows yet",
        ));
    }
    found
}

fn refuse(code: Code, path: String, message: &str) -> Diagnostic {
    Diagnostic::error(code, message.to_owned()).path(path)
}

/// What happens to the columns: renames first, so that a freed name can be used again.
fn column_changes(before: &TypeBody, after: &TypeBody) -> Vec<ColumnChange> {
    let is_kept = |property: &&Property| after.property_by_id(property.id).is_some();
    let dropped = before
        .properties
        .iter()
        .filter(|property| !is_kept(property))
        .map(|property| ColumnChange::Drop(property.name.clone()));
    let renamed = before.properties.iter().filter_map(|property| {
        let now = after.property_by_id(property.id)?;
        (now.name != property.name).then(|| ColumnChange::Rename {
            from: property.name.clone(),
            to: now.name.clone(),
        })
    });
    let added = after
        .properties
        .iter()
        .filter(|property| before.property_by_id(property.id).is_none())
        .map(|property| ColumnChange::Add(arrow_field(property)));
    dropped.chain(renamed).chain(added).collect()
}
