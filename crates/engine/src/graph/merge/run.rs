//! A merge as a write: compared, staged and appended like any other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use omnigraph_lang::schema::TypeId;
use serde::{Deserialize, Serialize};

use super::carry::Carried;
use super::conflict::{ConflictKind, Conflicts, MergeConflict, Resolution};
use super::entities::Sides;
use super::three_way::{Combined, Ready};
use super::{MergeOptions, MergeOutcome, MergeResult};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::branch::{BranchState, Head};
use crate::graph::idempotency::{Keyed, recorded};
use crate::graph::model::BranchEvent;
use crate::graph::writer::{
    Appended, Attempt, Base, CommitRequest, Staged, Write, append_deadline, check_head,
};
use crate::graph::{
    BranchName, Commit, CommitId, CommitKind, Graph, ParentRef, TableRef, Touched, WriteOptions,
};
use crate::log::Seq;

/// What a merge comes to on two heads.
pub(super) enum Planned {
    /// The target has all of the source.
    UpToDate,
    /// The source has all of the target.
    FastForward { touched: Vec<Touched> },
    /// Both have moved.
    ThreeWay {
        sides: Box<Sides>,
        combined: Box<Combined>,
        /// The target as it is under the source's schema, to which it moves.
        moved: Option<Arc<Commit>>,
    },
    /// Nothing can be compared.
    Refused(Conflicts),
}

/// A plan, and the newest commit that both branches have.
pub(super) struct Plan {
    pub(super) planned: Planned,
    pub(super) base: CommitId,
}

impl Planned {
    fn outcome(&self) -> MergeOutcome {
        match self {
            Self::UpToDate => MergeOutcome::AlreadyUpToDate,
            Self::FastForward { .. } => MergeOutcome::FastForward,
            Self::Refused(_) => MergeOutcome::Conflicted,
            Self::ThreeWay { combined, .. } => match combined.conflicts.unresolved {
                0 => MergeOutcome::Merged,
                _ => MergeOutcome::Conflicted,
            },
        }
    }

    fn conflicts(&self) -> Conflicts {
        match self {
            Self::UpToDate | Self::FastForward { .. } => Conflicts::default(),
            Self::Refused(conflicts) => conflicts.clone(),
            Self::ThreeWay { combined, .. } => combined.conflicts.clone(),
        }
    }

    fn touched(&self) -> Vec<Touched> {
        match self {
            Self::UpToDate | Self::Refused(_) => Vec::new(),
            Self::FastForward { touched } => touched.clone(),
            Self::ThreeWay { combined, .. } => combined.touched.clone(),
        }
    }
}

impl Graph {
    /// Merges a branch into another, three-way, in one commit or none. Costs what changed since
    /// their merge base.
    ///
    /// # Errors
    /// `MergeConflict`, with the conflicts, where no strategy decides; then nothing is written.
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
        if options.dry_run {
            return self.try_merge(source, target, options).await;
        }
        let mut merge = Merge {
            graph: self,
            source,
            target,
            options,
            merged: None,
            ready: None,
            join: Join::default(),
            ahead: None,
        };
        let request = CommitRequest {
            branch: target,
            options: &options.write,
            fork_from: None,
        };
        let (mut result, commit) = self.commit_with(request, &mut merge).await?;
        if let (Some(_), Some(ready)) = (&commit, &merge.ready) {
            ready.view.remember(&ready.tables, &ready.added).await;
        }
        if options.delete_source {
            let refused = match (&merge.merged, &commit) {
                (Some(head), _) => self.end_merged(source, head, options).await,
                (None, Some(commit)) => self.end_replayed(source, commit, options).await,
                (None, None) => None,
            };
            result.source_deleted = Some(refused.is_none());
            result.source_delete_error = refused;
        }
        result.commit = commit.map(Arc::unwrap_or_clone);
        Ok(result)
    }

    /// Says what a merge would do. Takes no turn in the queue of writers.
    async fn try_merge(
        &self,
        source: &BranchName,
        target: &BranchName,
        options: &MergeOptions,
    ) -> Result<MergeResult> {
        let from = self.shared.branches.head(source).await?;
        let into = self.shared.branches.head(target).await?;
        check_head(source, options.if_source.as_ref(), &from)?;
        self.expect_head(target, options.write.if_head.as_ref(), &into)
            .await?;
        let plan = self
            .plan_merge(source, target, &into.commit, &from.commit, options)
            .await?;
        Ok(MergeResult::of(&plan))
    }

    /// What merging `from` into `into` takes.
    async fn plan_merge(
        &self,
        source: &BranchName,
        target: &BranchName,
        into: &Arc<Commit>,
        from: &Arc<Commit>,
        options: &MergeOptions,
    ) -> Result<Plan> {
        let bases = self.merge_bases(into, from).await?;
        let Some(newest) = bases.first() else {
            return Err(Error::new(
                ErrorKind::MergeConflict,
                format!("branches '{source}' and '{target}' have no common history any more"),
            )
            .with_hint("export one and load it into the other"));
        };
        let base = newest.id;
        let planned = if bases.iter().any(|base| base.id == from.id) {
            Planned::UpToDate
        } else if bases.iter().any(|base| base.id == into.id)
            && (into.schema == from.schema || !target.is_main())
        {
            let (into, from) = (self.side(into).await?, self.side(from).await?);
            Planned::FastForward {
                touched: self.counts(&into, &from).await?,
            }
        } else {
            let (sides, moved) = match self.carried(target, &bases, into, from).boxed().await? {
                Carried::Sides(sides) => (sides, None),
                Carried::Moved(sides, commit) => (sides, Some(commit)),
                Carried::Refused(conflicts) => {
                    let planned = Planned::Refused(conflicts);
                    return Ok(Plan { planned, base });
                }
            };
            let combined = self.combine(&sides, &options.strategies).boxed().await?;
            Planned::ThreeWay {
                sides,
                combined: Box::new(combined),
                moved,
            }
        };
        Ok(Plan { planned, base })
    }

    /// Ends the source of a merge that an earlier request with the same key did, unless that one
    /// did it or the source has moved.
    async fn end_replayed(
        &self,
        source: &BranchName,
        commit: &Commit,
        options: &MergeOptions,
    ) -> Option<String> {
        match self.shared.branches.state(source).await {
            Ok(BranchState::Living(head)) if commit.parents.get(1) == Some(&head.at) => {
                self.end_merged(source, &head, options).await
            }
            Ok(BranchState::Living(_)) => Some(moved(source)),
            Ok(BranchState::Absent | BranchState::Deleted { .. }) => None,
            Err(error) => Some(error.message().to_owned()),
        }
    }

    /// The deletion goes exactly behind the head that was merged: a source that moved stays. Says
    /// why it was refused.
    pub(super) async fn end_merged(
        &self,
        source: &BranchName,
        merged: &Head,
        options: &MergeOptions,
    ) -> Option<String> {
        if source.is_main() {
            return Some("branch 'main' cannot be deleted".to_owned());
        }
        let event = BranchEvent::Deleted {
            incarnation: merged.incarnation,
            last: merged.at.clone(),
            control_epoch: merged.control_epoch,
            actor: options.write.by.actor.clone(),
            created_at: self.store().clock().now_micros(),
        };
        let appended = self
            .append_event(source, Some(merged.seq), event, append_deadline())
            .await;
        match appended {
            Ok(Appended::Landed(_)) => {
                self.shared.branches.unmark_live(source).await;
                None
            }
            Ok(Appended::Taken) => match self.shared.branches.state(source).await {
                Ok(BranchState::Deleted { .. }) => None,
                _ => Some(moved(source)),
            },
            Err(error) => Some(error.message().to_owned()),
        }
    }
}

fn moved(source: &BranchName) -> String {
    format!("branch '{source}' has moved and stays")
}

/// What the commit has beside the changes that were staged for it.
#[derive(Clone, Debug, Default)]
struct Join {
    second: Option<Head>,
    /// Tables that are taken as the source has them.
    adopted: BTreeMap<TypeId, TableRef>,
    /// The tables and the schema of this commit are taken as a whole.
    whole: Option<Arc<Commit>>,
}

/// How a run ended.
type Ran = Result<(MergeResult, Attempt)>;

struct Merge<'a> {
    graph: &'a Graph,
    source: &'a BranchName,
    target: &'a BranchName,
    options: &'a MergeOptions,
    /// The head of the source in the last run.
    merged: Option<Head>,
    ready: Option<Ready>,
    join: Join,
    /// A run ahead of the target's turn, and the end of the target's log that it was made on.
    ahead: Option<(Option<Seq>, Ran)>,
}

#[async_trait]
impl Write for Merge<'_> {
    type Answer = MergeResult;

    fn can_prepare(&self) -> bool {
        true
    }

    /// Comparing and staging take what the change takes: nobody else waits for it, unless the target
    /// moves meanwhile.
    async fn prepare(&mut self, base: &Base) -> Result<()> {
        let done = self.run(base).await;
        self.ahead = Some((base.head().map(|head| head.seq), done));
        Ok(())
    }

    async fn attempt(&mut self, base: &Base) -> Result<(MergeResult, Attempt)> {
        let seq = base.head().map(|head| head.seq);
        match self.ahead.take() {
            Some((ahead, done)) if ahead == seq => done,
            _ => self.run(base).await,
        }
    }

    fn keyed(&self, options: &WriteOptions) -> Result<Option<Keyed>> {
        Keyed::of(options, "merge", |request| {
            let if_source = self.options.if_source.map(|id| id.to_string());
            request
                .field(self.source.as_str())
                .field(self.target.as_str())
                .field(&format!("{:?}", self.options.strategies))
                .field(&self.options.delete_source.to_string())
                .maybe(if_source.as_deref())
        })
    }

    fn record(&self, answer: &MergeResult) -> Option<serde_json::Value> {
        serde_json::to_value(Record::of(answer)).ok()
    }

    fn replay(&mut self, commit: &Commit) -> Result<MergeResult> {
        let record: Record = recorded(commit)?;
        self.merged = None;
        Ok(record.into_result(commit))
    }

    fn finish(&self, commit: &mut Commit) {
        if let Some(whole) = &self.join.whole {
            commit.tables.clone_from(&whole.tables);
            commit.schema.clone_from(&whole.schema);
            commit.schema_commit = whole.schema_commit;
        }
        commit.tables.extend(self.join.adopted.clone());
        if let Some(second) = &self.join.second {
            add_parent(commit, &second.at, second);
        }
    }
}

impl Merge<'_> {
    async fn run(&mut self, base: &Base) -> Result<(MergeResult, Attempt)> {
        let from = self.graph.shared.branches.head(self.source).await?;
        check_head(self.source, self.options.if_source.as_ref(), &from)?;
        self.merged = Some(from.clone());
        self.ready = None;
        let into = &base.snapshot.commit;
        let plan = self
            .graph
            .plan_merge(self.source, self.target, into, &from.commit, self.options)
            .await?;
        let result = MergeResult::of(&plan);
        if result.outcome == MergeOutcome::Conflicted {
            let what = format!("merging '{}' into '{}'", self.source, self.target);
            return Err(result.conflicts.into_error(&what));
        }
        let mut staged = Staged {
            tables: BTreeMap::new(),
            read: BTreeSet::new(),
            touched: result.changes.clone(),
            kind: CommitKind::Merge,
        };
        self.join = Join::default();
        match plan.planned {
            Planned::UpToDate | Planned::Refused(_) => return Ok((result, Attempt::Nothing)),
            Planned::FastForward { .. } => {
                // It is one only as long as no table moves.
                staged.read = into.tables.keys().copied().collect();
                self.join.whole = Some(from.commit.clone());
            }
            Planned::ThreeWay {
                sides,
                combined,
                moved,
            } => {
                let ready = self.graph.stage(&sides, &combined).boxed().await?;
                staged.tables = ready.tables.clone();
                staged.read = combined.read;
                self.join.adopted = combined.adopted;
                if moved.is_some() {
                    // Every table is another one, and the changed ones lie over them.
                    staged.read = into.tables.keys().copied().collect();
                    let made = staged.tables.iter();
                    let made = made.map(|(id, (table, _))| (*id, table.clone()));
                    self.join.adopted.extend(made);
                }
                self.join.whole = moved;
                self.ready = Some(ready);
            }
        }
        self.join.second = Some(from);
        Ok((result, Attempt::Staged(staged)))
    }
}

fn add_parent(commit: &mut Commit, at: &ParentRef, head: &Head) {
    commit.parents.push(at.clone());
    commit.version = commit.version.max(1 + head.commit.version);
    commit.created_at = head.time_after(commit.created_at);
    commit.control_epoch = commit.control_epoch.max(head.control_epoch);
}

/// The answer of a merge beside its commit, for repeats of the request. Conflicts that a strategy
/// resolved are kept without the values of the entities.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    fast_forward: bool,
    merge_base: CommitId,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    resolved: Vec<RecordedConflict>,
    #[serde(default)]
    resolved_total: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct RecordedConflict {
    edge: bool,
    type_name: String,
    entity_id: Option<String>,
    kind: ConflictKind,
    message: String,
    resolution: Option<Resolution>,
}

impl Record {
    fn of(result: &MergeResult) -> Self {
        let recorded = |conflict: &MergeConflict| RecordedConflict {
            edge: conflict.edge,
            type_name: conflict.type_name.clone(),
            entity_id: conflict.entity_id.clone(),
            kind: conflict.kind,
            message: conflict.message.clone(),
            resolution: conflict.resolution,
        };
        Self {
            fast_forward: result.outcome == MergeOutcome::FastForward,
            merge_base: result.merge_base,
            resolved: result.conflicts.listed.iter().map(recorded).collect(),
            resolved_total: result.conflicts.total,
        }
    }

    fn into_result(self, commit: &Commit) -> MergeResult {
        let conflict = |recorded: RecordedConflict| MergeConflict {
            edge: recorded.edge,
            type_name: recorded.type_name,
            entity_id: recorded.entity_id,
            kind: recorded.kind,
            message: recorded.message,
            base: None,
            ours: None,
            theirs: None,
            resolution: recorded.resolution,
        };
        MergeResult {
            outcome: match self.fast_forward {
                true => MergeOutcome::FastForward,
                false => MergeOutcome::Merged,
            },
            commit: None,
            merge_base: self.merge_base,
            source_deleted: None,
            source_delete_error: None,
            conflicts: Conflicts {
                listed: self.resolved.into_iter().map(conflict).collect(),
                total: self.resolved_total,
                unresolved: 0,
            },
            changes: commit.touched.clone(),
            replayed: true,
        }
    }
}

impl MergeResult {
    fn of(plan: &Plan) -> Self {
        Self {
            outcome: plan.planned.outcome(),
            commit: None,
            merge_base: plan.base,
            source_deleted: None,
            source_delete_error: None,
            conflicts: plan.planned.conflicts(),
            changes: plan.planned.touched(),
            replayed: false,
        }
    }
}
