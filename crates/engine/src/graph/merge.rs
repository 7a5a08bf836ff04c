//! Merging: for now where one branch has everything that the other has.

use std::time::Instant;

use super::branch::{Head, entry};
use super::writer::{Appended, append_deadline, check_head, commit_event, parent_of};
use super::{BranchName, Commit, CommitId, CommitKind, Graph, WriteOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::model::BranchEvent;

/// How a merge is to be done.
#[derive(Clone, Debug, Default)]
pub struct MergeOptions {
    /// Says what would happen and changes nothing.
    pub dry_run: bool,
    /// The commit that the source's head must be.
    pub if_source: Option<CommitId>,
    /// Ends the source after it was merged.
    pub delete_source: bool,
    /// On whose behalf, and the target's expected head.
    pub write: WriteOptions,
}

/// How a merge ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeOutcome {
    /// The target has all of the source.
    AlreadyUpToDate,
    /// The source had all of the target, so its tables were adopted.
    FastForward,
}

/// What a merge did.
#[derive(Clone, Debug, PartialEq)]
pub struct MergeResult {
    /// How it ended.
    pub outcome: MergeOutcome,
    /// The commit on the target; none when nothing had to be done, or on a dry run.
    pub commit: Option<Commit>,
    /// The newest commit that both branches have.
    pub merge_base: CommitId,
    /// Whether the source was ended; none when nobody asked for it.
    pub source_deleted: Option<bool>,
}

impl Graph {
    /// Merges a branch into another. Where both have moved since they parted, this is a conflict.
    pub async fn merge(
        &self,
        source: &BranchName,
        target: &BranchName,
        options: &MergeOptions,
    ) -> Result<MergeResult> {
        if source == target {
            return Err(Error::invalid(format!(
                "branch '{source}' cannot be merged into itself"
            )));
        }
        if options.write.idempotency_key.is_some() {
            return Err(Error::invalid("idempotency keys are not supported yet"));
        }
        let queue = self.queue(target);
        let _turn = queue.lock().await;
        let until = Instant::now() + options.write.deadline;
        while Instant::now() < until {
            let from = self.shared.branches.head(source).await?;
            let into = self.shared.branches.head(target).await?;
            check_head(source, options.if_source.as_ref(), &from)?;
            check_head(target, options.write.if_head.as_ref(), &into)?;
            if self.reaches(&into.commit, &from.commit.id, None).await? {
                return self.up_to_date(source, &from, options).await;
            }
            if !self.reaches(&from.commit, &into.commit.id, None).await? {
                return Err(diverged(source, target));
            }
            let merge_base = into.commit.id;
            if options.dry_run {
                return Ok(MergeResult {
                    outcome: MergeOutcome::FastForward,
                    commit: None,
                    merge_base,
                    source_deleted: None,
                });
            }
            let commit = self.adopt(target, &from, &into, options);
            let event = commit_event(&into, commit.clone());
            let appended = self
                .append_event(target, Some(into.seq), event, append_deadline())
                .await?;
            if matches!(appended, Appended::Landed(_)) {
                return Ok(MergeResult {
                    outcome: MergeOutcome::FastForward,
                    commit: Some(commit),
                    merge_base,
                    source_deleted: self.end_merged(source, &from, options).await?,
                });
            }
        }
        Err(Error::new(
            ErrorKind::WriteConflict,
            format!("branch '{target}' kept moving; nothing was merged"),
        )
        .with_hint("repeat it"))
    }

    async fn up_to_date(
        &self,
        source: &BranchName,
        from: &Head,
        options: &MergeOptions,
    ) -> Result<MergeResult> {
        let source_deleted = if options.dry_run {
            None
        } else {
            self.end_merged(source, from, options).await?
        };
        Ok(MergeResult {
            outcome: MergeOutcome::AlreadyUpToDate,
            commit: None,
            merge_base: from.commit.id,
            source_deleted,
        })
    }

    /// A commit with two parents and the source's tables and schema.
    fn adopt(
        &self,
        target: &BranchName,
        from: &Head,
        into: &Head,
        options: &MergeOptions,
    ) -> Commit {
        let (first, first_version) = parent_of(into);
        let (second, second_version) = parent_of(from);
        Commit {
            id: CommitId::new(),
            branch: target.clone(),
            parents: vec![first, second],
            version: 1 + first_version.max(second_version),
            actor: options.write.by.actor.clone(),
            created_at: self.store().clock().now_micros(),
            message: options.write.by.message.clone(),
            kind: CommitKind::Merge,
            schema: from.commit.schema.clone(),
            schema_commit: from.commit.schema_commit,
            control_epoch: into.control_epoch.max(from.control_epoch),
            fences: None,
            idempotency: None,
            touched: Vec::new(),
            tables: from.commit.tables.clone(),
        }
    }

    /// The deletion goes exactly behind the head that was merged: a source that moved stays.
    async fn end_merged(
        &self,
        source: &BranchName,
        merged: &Head,
        options: &MergeOptions,
    ) -> Result<Option<bool>> {
        if !options.delete_source {
            return Ok(None);
        }
        if source.is_main() {
            return Ok(Some(false));
        }
        let event = BranchEvent::Deleted {
            incarnation: merged.incarnation,
            last: merged.at.clone(),
            control_epoch: merged.control_epoch,
            actor: options.write.by.actor.clone(),
            created_at: self.store().clock().now_micros(),
        };
        let log = self.shared.branches.log(source);
        let gone = log
            .append(Some(merged.seq), &entry(event), append_deadline())
            .await
            .is_ok();
        if gone {
            self.shared.branches.unmark_live(source).await;
        }
        Ok(Some(gone))
    }
}

fn diverged(source: &BranchName, target: &BranchName) -> Error {
    Error::new(
        ErrorKind::MergeConflict,
        format!(
            "branches '{source}' and '{target}' have both moved since they parted; only fast-forward merges are supported yet"
        ),
    )
    .with_hint(format!("make a new branch from '{target}' and repeat the changes there"))
}
