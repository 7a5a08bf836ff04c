//! Writing a commit: run on the head, append, and where another writer was faster, re-parent or run
//! again (storage protocol, section 4).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lance::Dataset;
use omnigraph_lang::schema::TypeId;

use super::branch::{BranchState, Head, entry, living};
use super::model::{BranchEvent, CreatedRef, ParentRef};
use super::{
    BranchName, Commit, CommitId, CommitKind, Graph, Incarnation, Snapshot, TableRef, Touched,
};
use crate::engine::Authorship;
use crate::error::{Error, ErrorKind, Result};
use crate::log::{AppendError, Seq, Settled};

/// How often a write is run again before it gives up.
const TRIES: usize = 8;
/// Time to find out what became of an append whose answer was lost.
const SETTLE: Duration = Duration::from_secs(10);

/// How a write is to be done.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// On whose behalf.
    pub by: Authorship,
    /// The commit that the head must still be.
    pub if_head: Option<CommitId>,
    /// The client's key for repeats.
    pub idempotency_key: Option<String>,
    /// The time that the whole write may take.
    pub deadline: Duration,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            by: Authorship::default(),
            if_head: None,
            idempotency_key: None,
            deadline: Duration::from_secs(300),
        }
    }
}

/// What a write starts from.
#[derive(Debug)]
pub(crate) struct Base {
    /// The commit that it is run on.
    pub(crate) snapshot: Snapshot,
    /// Whether the branch will be created by this write.
    pub(crate) forks: bool,
    place: Place,
}

/// Where the commit goes.
#[derive(Clone, Debug)]
enum Place {
    On(Head),
    Fork { source: Head, target: BranchState },
}

/// What a run of a write gives.
pub(crate) enum Attempt {
    /// Nothing changes, so there is no commit.
    Nothing,
    /// A commit that is ready to be appended.
    Staged(Staged),
}

/// A commit that is ready to be appended.
pub(crate) struct Staged {
    /// New versions of the tables that change.
    pub(crate) tables: BTreeMap<TypeId, (TableRef, Arc<Dataset>)>,
    /// Other types that the write looked at.
    pub(crate) read: BTreeSet<TypeId>,
    /// Rows touched, by type.
    pub(crate) touched: Vec<Touched>,
    /// What the commit does.
    pub(crate) kind: CommitKind,
}

/// A write that can be run, and run again on another head.
#[async_trait]
pub(crate) trait Write: Send {
    /// What the caller gets, beside the commit.
    type Answer: Send;

    /// Runs on `base`. Must be deterministic given its input.
    async fn attempt(&mut self, base: &Base) -> Result<(Self::Answer, Attempt)>;
}

/// Where and how a write commits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommitRequest<'a> {
    pub(crate) branch: &'a BranchName,
    pub(crate) options: &'a WriteOptions,
    /// The branch to fork from when `branch` does not exist.
    pub(crate) fork_from: Option<&'a BranchName>,
}

/// What became of an append.
pub(crate) enum Appended {
    /// It is in the log, and this is the branch now.
    Landed(BranchState),
    /// Somebody else's entry is at that place.
    Taken,
}

/// What to do after somebody else's entry took the place.
enum After {
    Reparent(Head),
    RunAgain,
}

pub(crate) fn append_deadline() -> Duration {
    Duration::from_secs(30)
}

impl Graph {
    /// Runs a write until it lands, gives up, or fails by itself.
    pub(crate) async fn commit_with<W: Write>(
        &self,
        request: CommitRequest<'_>,
        write: &mut W,
    ) -> Result<(W::Answer, Option<Arc<Commit>>)> {
        let options = request.options;
        if options.idempotency_key.is_some() {
            return Err(Error::invalid("idempotency keys are not supported yet")
                .with_hint("send the request without one"));
        }
        self.store().probe_create_once().await?;
        let until = Instant::now() + options.deadline;
        let queue = self.queue(request.branch);
        let _turn = tokio::time::timeout(options.deadline, queue.lock())
            .await
            .map_err(|_| deadline(request.branch))?;
        let id = CommitId::new();
        for _ in 0..TRIES {
            let base = self.base(&request).await?;
            let (answer, attempt) = tokio::time::timeout(
                until.saturating_duration_since(Instant::now()),
                write.attempt(&base),
            )
            .await
            .map_err(|_| deadline(request.branch))??;
            let staged = match attempt {
                Attempt::Nothing => return Ok((answer, None)),
                Attempt::Staged(staged) => staged,
            };
            if let Some(commit) = self.land(&request, id, &base, staged, until).await? {
                return Ok((answer, Some(commit)));
            }
        }
        Err(Error::new(
            ErrorKind::WriteConflict,
            format!(
                "branch '{}' moved {TRIES} times while this write was prepared; nothing was written",
                request.branch
            ),
        )
        .with_hint("repeat it"))
    }

    /// Appends one event. An unclear answer is settled before anything else happens.
    pub(crate) async fn append_event(
        &self,
        name: &BranchName,
        expected: Option<Seq>,
        event: BranchEvent,
        within: Duration,
    ) -> Result<Appended> {
        let log = self.shared.branches.log(name);
        let record = entry(event);
        let seq = match log.append(expected, &record, within).await {
            Ok(seq) => seq,
            Err(AppendError::Conflict { .. }) => return Ok(Appended::Taken),
            Err(AppendError::Log(error)) => return Err(error.into()),
            Err(AppendError::OutcomeUnknown { seq, .. }) => {
                match log.settle(seq, record.id, SETTLE).await {
                    Ok(Settled::Landed) => seq,
                    Ok(Settled::Excluded) => return Ok(Appended::Taken),
                    Err(error) => {
                        return Err(Error::new(
                            ErrorKind::Unavailable,
                            format!("outcome unknown: the object store did not say whether the entry of branch '{name}' was written"),
                        )
                        .with_source(error));
                    }
                }
            }
        };
        let state = self
            .shared
            .branches
            .interpret(name, &log, seq, record)
            .await?;
        self.shared.branches.advance(name, state.clone());
        Ok(Appended::Landed(state))
    }

    async fn base(&self, request: &CommitRequest<'_>) -> Result<Base> {
        let name = request.branch;
        let state = self.shared.branches.state(name).await?;
        let place = match (state, request.fork_from) {
            (BranchState::Living(head), _) => Place::On(head),
            (target, Some(source)) => Place::Fork {
                source: self.shared.branches.head(source).await?,
                target,
            },
            (target, None) => Place::On(living(name, target)?),
        };
        let head = place.head();
        check_head(name, request.options.if_head.as_ref(), head)?;
        let snapshot = self.open(head.commit.clone(), Some(name.clone())).await?;
        Ok(Base {
            forks: matches!(place, Place::Fork { .. }),
            snapshot,
            place,
        })
    }

    /// Appends a staged commit, re-parenting it as long as nothing that it touched or read has
    /// moved. `None`: it has to be run again.
    async fn land(
        &self,
        request: &CommitRequest<'_>,
        id: CommitId,
        base: &Base,
        staged: Staged,
        until: Instant,
    ) -> Result<Option<Arc<Commit>>> {
        let mut place = base.place.clone();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(deadline(request.branch));
            }
            let commit = self.commit_of(request, id, &place, &staged);
            let event = place.event(&commit, request);
            let appended = self
                .append_event(request.branch, place.expected(), event, left)
                .await?;
            if let Appended::Landed(state) = appended {
                let head = living(request.branch, state)?;
                self.shared.commits.put(&head.commit);
                if base.forks {
                    self.shared.branches.mark_live(request.branch).await;
                }
                return Ok(Some(head.commit));
            }
            match self.after_conflict(request, base, &staged).await? {
                After::Reparent(head) => place = Place::On(head),
                After::RunAgain => return Ok(None),
            }
        }
    }

    async fn after_conflict(
        &self,
        request: &CommitRequest<'_>,
        base: &Base,
        staged: &Staged,
    ) -> Result<After> {
        let Place::On(before) = &base.place else {
            return Ok(After::RunAgain);
        };
        let head = self.shared.branches.head(request.branch).await?;
        check_head(request.branch, request.options.if_head.as_ref(), &head)?;
        let same_life = head.incarnation == before.incarnation;
        let same_schema = head.commit.schema_commit == before.commit.schema_commit
            && head.commit.schema == before.commit.schema;
        let untouched = |id: &TypeId| head.commit.tables.get(id) == before.commit.tables.get(id);
        let untouched = staged.tables.keys().chain(&staged.read).all(untouched);
        Ok(if same_life && same_schema && untouched {
            After::Reparent(head)
        } else {
            After::RunAgain
        })
    }

    fn commit_of(
        &self,
        request: &CommitRequest<'_>,
        id: CommitId,
        place: &Place,
        staged: &Staged,
    ) -> Commit {
        let head = place.head();
        let mut tables = head.commit.tables.clone();
        let changed = staged.tables.iter();
        tables.extend(changed.map(|(id, (table, _))| (*id, table.clone())));
        let by = &request.options.by;
        Commit {
            id,
            branch: request.branch.clone(),
            parents: vec![head.at.clone()],
            version: head.commit.version + 1,
            actor: by.actor.clone(),
            created_at: self.store().clock().now_micros(),
            message: by.message.clone(),
            kind: staged.kind,
            schema: head.commit.schema.clone(),
            schema_commit: head.commit.schema_commit,
            control_epoch: place.control_epoch(),
            fences: None,
            idempotency: None,
            touched: staged.touched.clone(),
            tables,
        }
    }
}

impl Place {
    fn head(&self) -> &Head {
        match self {
            Self::On(head) => head,
            Self::Fork { source, .. } => source,
        }
    }

    fn expected(&self) -> Option<Seq> {
        match self {
            Self::On(head) => Some(head.seq),
            Self::Fork { target, .. } => target.seq(),
        }
    }

    fn control_epoch(&self) -> u64 {
        match self {
            Self::On(head) => head.control_epoch,
            Self::Fork { source, target } => source.control_epoch.max(target.control_epoch()),
        }
    }

    fn event(&self, commit: &Commit, request: &CommitRequest<'_>) -> BranchEvent {
        match self {
            Self::On(head) => commit_event(head, commit.clone()),
            Self::Fork { source, .. } => BranchEvent::Created {
                incarnation: Incarnation::new(),
                base: Some(source.at.clone()),
                first: Some(Box::new(commit.clone())),
                created_at: commit.created_at,
                actor: request.options.by.actor.clone(),
                base_commit: None,
                control_epoch: commit.control_epoch,
            },
        }
    }
}

/// The entry that puts a commit on a living branch.
pub(super) fn commit_event(head: &Head, commit: Commit) -> BranchEvent {
    BranchEvent::Commit {
        incarnation: head.incarnation,
        commit: Box::new(commit),
        created: CreatedRef::fresh(head.created.seq, head.created.created_at, head.created.base),
    }
}

/// The head must be the commit that the caller named.
pub(super) fn check_head(name: &BranchName, wanted: Option<&CommitId>, head: &Head) -> Result<()> {
    match wanted {
        Some(wanted) if *wanted != head.commit.id => Err(Error::new(
            ErrorKind::Precondition,
            format!(
                "branch '{name}' has moved: expected {wanted}, head is {}; nothing was written",
                head.commit.id
            ),
        )
        .with_hint("read again and decide")
        .with_detail(|detail| {
            detail.precondition = Some((wanted.to_string(), Some(head.commit.id.to_string())));
        })),
        Some(_) | None => Ok(()),
    }
}

fn deadline(branch: &BranchName) -> Error {
    Error::new(
        ErrorKind::Deadline,
        format!("the time for this write to branch '{branch}' is over; nothing was written"),
    )
}

/// A parent and its version.
pub(super) fn parent_of(head: &Head) -> (ParentRef, u64) {
    (head.at.clone(), head.commit.version)
}
