//! Landing a staged schema change with one append, and shutting one out.

use omnigraph_lang::schema::TypeId;

use super::{SchemaCommitError, StagedSchema};
use crate::engine::Authorship;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::branch::{BranchState, Head, living};
use crate::graph::model::BranchEvent;
use crate::graph::writer::{Appended, append_deadline, commit_event};
use crate::graph::{BranchName, Commit, CommitId, CommitKind, Graph};

impl Graph {
    /// Appends a staged schema change, re-parented over commits that touched other tables only.
    pub async fn commit_schema(&self, staged: StagedSchema) -> Result<Commit, SchemaCommitError> {
        let main = BranchName::main();
        let queue = self.queue(&main);
        let _turn = queue.lock().await;
        let mut commit = staged.commit.clone();
        let mut place = staged.base.clone();
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
            place = self.next_place(&main, &staged).await?;
            let mut tables = place.commit.tables.clone();
            tables.retain(|id, _| commit.tables.contains_key(id));
            for id in &staged.changed {
                if let Some(table) = commit.tables.get(id) {
                    tables.insert(*id, table.clone());
                }
            }
            commit.tables = tables;
            commit.parents = vec![place.at.clone()];
            commit.version = place.commit.version + 1;
            commit.control_epoch = staged.epoch.max(place.control_epoch);
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
            commit.id = CommitId(self.store().clock().fresh_id());
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
        staged: &StagedSchema,
    ) -> Result<Head, SchemaCommitError> {
        let base = &staged.base;
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
            BranchEvent::Commit { commit: other, .. } => other.fences == Some(staged.commit.id),
            _ => false,
        };
        let fenced = between.iter().any(|(_, entry)| names_it(&entry.event));
        if head.control_epoch > staged.epoch || fenced {
            return Err(SchemaCommitError::Fenced);
        }
        // After a sweep nothing is sure of the files that were staged before it.
        let afresh = between.iter().any(|(_, entry)| {
            matches!(
                entry.event,
                BranchEvent::Swept { .. }
                    | BranchEvent::Created { .. }
                    | BranchEvent::Deleted { .. }
            )
        });
        let same_table = |id: &TypeId| head.commit.tables.get(id) == base.commit.tables.get(id);
        let dropped = |id: &&TypeId| !staged.commit.tables.contains_key(id);
        let unmoved = staged.changed.iter().all(same_table)
            && staged.read.iter().all(same_table)
            && base.commit.tables.keys().filter(dropped).all(same_table);
        if !afresh && head.commit.schema_commit == base.commit.schema_commit && unmoved {
            Ok(head)
        } else {
            Err(SchemaCommitError::Conflict)
        }
    }
}
