//! Reverting: a new commit that restores the state of an old one, or undoes one commit.
//!
//! There is no reset: a head that moved backwards would break cursors, diffs and the audit. Undoing
//! a commit is a three-way merge: the commit is the base, the branch is our side, and the commit's
//! parent is the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use omnigraph_lang::schema::TypeId;

use super::Strategies;
use super::conflict::Conflicts;
use super::entities::Sides;
use super::three_way::{Combined, Ready};
use crate::error::{DiffRefusal, Error, ErrorKind, RefusalCause, Result};
use crate::graph::idempotency::Keyed;
use crate::graph::writer::{Attempt, Base, CommitRequest, Staged, Write};
use crate::graph::{
    BranchName, Commit, CommitId, CommitKind, Graph, TableRef, Touched, WriteOptions,
};

/// What a revert brings back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevertMode {
    /// The entities of this commit.
    To(CommitId),
    /// Everything but what this commit changed.
    Undo(CommitId),
}

/// How a revert is to be done.
#[derive(Clone, Debug)]
pub struct RevertOptions {
    /// What it brings back.
    pub mode: RevertMode,
    /// Says what would happen and changes nothing.
    pub dry_run: bool,
    /// On whose behalf, and the branch's expected head.
    pub write: WriteOptions,
}

/// What a revert did, or would do.
#[derive(Clone, Debug, PartialEq)]
pub struct RevertResult {
    /// The commit; none if nothing changed, or on a dry run.
    pub commit: Option<Commit>,
    /// What it changed.
    pub changes: Vec<Touched>,
    /// What stands in the way; of a dry run only.
    pub conflicts: Conflicts,
    /// Whether an earlier request with the same key did it.
    pub replayed: bool,
}

/// What a revert comes to on a head.
enum Plan {
    /// The tables of a commit as they lie.
    Whole {
        commit: Arc<Commit>,
        touched: Vec<Touched>,
    },
    /// The commit is undone beneath what followed it.
    Undone {
        sides: Box<Sides>,
        combined: Box<Combined>,
    },
}

impl Graph {
    /// Appends a commit that restores an earlier state, or undoes one commit of the branch.
    ///
    /// # Errors
    /// `MergeConflict` where later commits changed what is to be undone, `ChangeDiffRefused` across
    /// a change of the schema and for the first commit of a graph, `NotFound` for a commit that is
    /// not in the branch's history.
    pub async fn revert(
        &self,
        branch: &BranchName,
        options: &RevertOptions,
    ) -> Result<RevertResult> {
        if options.dry_run {
            let head = self.shared.branches.head(branch).await?;
            self.expect_head(branch, options.write.if_head.as_ref(), &head)
                .await?;
            let plan = self.plan_revert(branch, &head.commit, options.mode).await?;
            return Ok(plan.result());
        }
        let mut revert = Revert {
            graph: self,
            branch,
            options,
            adopted: BTreeMap::new(),
            ready: None,
        };
        let request = CommitRequest {
            branch,
            options: &options.write,
            fork_from: None,
        };
        let (mut result, commit) = self.commit_with(request, &mut revert).await?;
        if let (Some(_), Some(ready)) = (&commit, &revert.ready) {
            ready.view.remember(&ready.tables, &ready.added).await;
        }
        result.commit = commit.map(Arc::unwrap_or_clone);
        Ok(result)
    }

    async fn plan_revert(
        &self,
        branch: &BranchName,
        head: &Arc<Commit>,
        mode: RevertMode,
    ) -> Result<Plan> {
        let (RevertMode::To(id) | RevertMode::Undo(id)) = mode;
        let commit = self.find_commit(&id).await?;
        if !self.descends(head, &commit).await? {
            return Err(Error::not_found(format!(
                "commit '{id}' is not in the history of branch '{branch}'"
            )));
        }
        // Tables that come back must not be about to go. A day lies between the decision and the
        // `Swept` entry that this write would collide with, so that any order of looks will do.
        self.refuse_old_if_reclaimed(&commit).await?;
        match mode {
            RevertMode::To(_) => {
                same_schema(&commit, head)?;
                let (from, to) = (self.side(head).await?, self.side(&commit).await?);
                let touched = self.counts(&from, &to).await?;
                Ok(Plan::Whole { commit, touched })
            }
            RevertMode::Undo(_) => {
                let Some(parent) = self.first_parent(&commit).await? else {
                    return Err(refused(
                        format!("commit '{id}' has no parent to go back to"),
                        RefusalCause::ParentlessCommit,
                        &commit,
                    ));
                };
                self.refuse_old_if_reclaimed(&parent).await?;
                same_schema(&parent, &commit)?;
                same_schema(&commit, head)?;
                let sides = Sides {
                    bases: vec![self.side(&commit).await?],
                    ours: self.side(head).await?,
                    theirs: self.side(&parent).await?,
                    names: ["the branch", "the undoing"],
                };
                let combined = self.combine(&sides, &Strategies::default()).boxed().await?;
                Ok(Plan::Undone {
                    sides: Box::new(sides),
                    combined: Box::new(combined),
                })
            }
        }
    }
}

impl Plan {
    fn result(&self) -> RevertResult {
        let (changes, conflicts) = match self {
            Self::Whole { touched, .. } => (touched.clone(), Conflicts::default()),
            Self::Undone { combined, .. } => (combined.touched.clone(), combined.conflicts.clone()),
        };
        RevertResult {
            commit: None,
            changes,
            conflicts,
            replayed: false,
        }
    }
}

struct Revert<'a> {
    graph: &'a Graph,
    branch: &'a BranchName,
    options: &'a RevertOptions,
    /// Tables that are taken as an earlier commit has them.
    adopted: BTreeMap<TypeId, TableRef>,
    ready: Option<Ready>,
}

impl Revert<'_> {
    fn what(&self) -> String {
        match self.options.mode {
            RevertMode::To(id) => format!("restored {id}"),
            RevertMode::Undo(id) => format!("undid {id}"),
        }
    }
}

#[async_trait]
impl Write for Revert<'_> {
    type Answer = RevertResult;

    async fn attempt(&mut self, base: &Base) -> Result<(RevertResult, Attempt)> {
        let head = &base.snapshot.commit;
        self.ready = None;
        let plan = self
            .graph
            .plan_revert(self.branch, head, self.options.mode)
            .await?;
        let result = plan.result();
        if result.conflicts.unresolved > 0 {
            let what = format!("a revert of branch '{}'", self.branch);
            return Err(result.conflicts.into_error(&what));
        }
        let mut staged = Staged {
            tables: BTreeMap::new(),
            read: BTreeSet::new(),
            touched: result.changes.clone(),
            kind: CommitKind::Revert,
        };
        match plan {
            Plan::Whole { commit, .. } => {
                self.adopted.clone_from(&commit.tables);
                staged.read = head.tables.keys().copied().collect();
            }
            Plan::Undone { sides, combined } => {
                let ready = self.graph.stage(&sides, &combined).boxed().await?;
                staged.tables = ready.tables.clone();
                staged.read = combined.read;
                self.adopted = combined.adopted;
                self.ready = Some(ready);
            }
        }
        let adopts = |(id, table)| head.tables.get(id) != Some(table);
        match staged.tables.is_empty() && !self.adopted.iter().any(adopts) {
            true => Ok((result, Attempt::Nothing)),
            false => Ok((result, Attempt::Staged(staged))),
        }
    }

    fn keyed(&self, options: &WriteOptions) -> Result<Option<Keyed>> {
        Keyed::of(options, "revert", |request| {
            request.field(self.branch.as_str()).field(&self.what())
        })
    }

    fn record(&self, _: &RevertResult) -> Option<serde_json::Value> {
        Some(serde_json::Value::Object(serde_json::Map::new()))
    }

    fn replay(&mut self, commit: &Commit) -> Result<RevertResult> {
        Ok(RevertResult {
            commit: None,
            changes: commit.touched.clone(),
            conflicts: Conflicts::default(),
            replayed: true,
        })
    }

    fn finish(&self, commit: &mut Commit) {
        commit.tables.extend(self.adopted.clone());
        if commit.message.is_none() {
            commit.message = Some(self.what());
        }
    }
}

fn same_schema(earlier: &Arc<Commit>, later: &Arc<Commit>) -> Result<()> {
    if earlier.schema == later.schema {
        return Ok(());
    }
    Err(refused(
        format!("the schema has changed since commit '{}'", earlier.id),
        RefusalCause::SchemaBoundary,
        earlier,
    ))
}

fn refused(message: String, cause: RefusalCause, commit: &Commit) -> Error {
    let refusal = DiffRefusal {
        cause,
        commit: commit.id.to_string(),
        type_name: None,
    };
    Error::new(ErrorKind::ChangeDiffRefused, message)
        .with_hint("read the old state at that commit, and load what is wanted of it")
        .with_detail(|detail| detail.refusal = Some(refusal))
}
