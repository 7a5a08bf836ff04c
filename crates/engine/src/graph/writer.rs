//! Writing a commit: run on the head, append, and where another writer was faster, re-parent or run
//! again (storage protocol, section 4).
//!
//! A write prepares itself, uploads included, before the branch's turn comes, on the head as this
//! process knows it. In its turn it takes the head as it is: what still fits is used, the rest is
//! run again there, where no other writer of this process can overtake it, so that none starves. A
//! write that would have to upload much again may give the turn up for it, a bounded number of
//! times.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lance::Dataset;
use omnigraph_lang::schema::TypeId;

use super::branch::{BranchState, Head, Seen, living};
use super::conflict::{After, Overtaken, has_moved};
use super::idempotency::{Claimed, Keyed, Ticket};
use super::model::{BranchEntry, BranchEvent, CreatedRef};
use super::{
    BranchName, Commit, CommitId, CommitKind, Graph, Incarnation, Snapshot, TableRef, Touched,
    TypeGate,
};
use crate::engine::Authorship;
use crate::error::{Error, ErrorKind, Result};
use crate::log::{AppendError, Seq, Settled};

/// How often a write is run before it gives up.
const TRIES: usize = 8;
/// Shortest of the longest pauses before a write is run again.
const PAUSE_MIN: Duration = Duration::from_millis(2);
/// How often a write gives up its turn in order to upload outside of it.
const YIELDS: usize = 2;
/// The head as it was known so long ago is good enough to prepare a write on.
const HEAD_KNOWN: Duration = Duration::from_secs(10);
/// A look at the head so long ago counts as a look in one's turn: who was faster since is noticed
/// when the entry is appended.
const HEAD_SEEN: Duration = Duration::from_secs(1);
/// Time to find out what became of an append whose answer was lost.
const SETTLE: Duration = Duration::from_secs(10);

/// How a write is to be done.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// On whose behalf.
    pub by: Authorship,
    /// The commit that the head must still be.
    pub if_head: Option<CommitId>,
    /// The client's key for repeats: a request that is sent again with it commits once.
    pub idempotency_key: Option<String>,
    /// What the request asks for, for the record of the key; the engine's word if there is none.
    pub operation: Option<String>,
    /// SHA-256 of the request, by which another one with the same key is told from a repeat; the
    /// engine's own if there is none.
    pub fingerprint: Option<String>,
    /// Which types the write may touch; none: all of them.
    pub types: Option<TypeGate>,
    /// The time that the whole write may take.
    pub deadline: Duration,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            by: Authorship::default(),
            if_head: None,
            idempotency_key: None,
            operation: None,
            fingerprint: None,
            types: None,
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
    /// Whether the write may give up its turn.
    pub(crate) may_yield: bool,
    place: Place,
    /// When its head was read, by the store's clock.
    read_at: Duration,
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
    /// Much has to be uploaded: the turn is given up, and the write prepares itself again. Only
    /// where [`Base::may_yield`].
    Yield,
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

    /// Whether it can prepare itself.
    fn can_prepare(&self) -> bool {
        false
    }

    /// Does ahead of the branch's turn what may be done there, on what is probably the head. That
    /// it fails means nothing: [`Write::attempt`] does again what it needs.
    async fn prepare(&mut self, _base: &Base) -> Result<()> {
        Ok(())
    }

    /// Runs on `base`, in the branch's turn. Must be deterministic given its input.
    async fn attempt(&mut self, base: &Base) -> Result<(Self::Answer, Attempt)>;

    /// What the request is, if it came with a key (see [`Keyed::of`]).
    fn keyed(&self, options: &WriteOptions) -> Result<Option<Keyed>> {
        match options.idempotency_key {
            None => Ok(None),
            Some(_) => Err(Error::invalid("this operation takes no idempotency key")),
        }
    }

    /// What a repeat has to know of the answer, beside the commit.
    fn record(&self, _answer: &Self::Answer) -> Option<serde_json::Value> {
        None
    }

    /// The answer of an earlier request with the same key, from its commit and what
    /// [`Write::record`] gave then.
    fn replay(&mut self, commit: &Commit) -> Result<Self::Answer> {
        Err(Error::internal(format!(
            "commit {} was made by an operation that keeps no answers",
            commit.id
        )))
    }

    /// Changes the commit before it is appended: a merge adds its second parent.
    fn finish(&self, _commit: &mut Commit) {}
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

/// How the landing of a staged commit ended.
enum Landing {
    Landed(Arc<Commit>),
    /// An earlier request with the same key did it.
    Answered(Arc<Commit>),
    RunAgain(Overtaken),
}

/// A commit on its way into the log.
struct Flight<'a> {
    request: &'a CommitRequest<'a>,
    base: &'a Base,
    staged: &'a Staged,
    record: Option<serde_json::Value>,
    until: Instant,
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
        let branch = request.branch;
        let until = Instant::now() + options.deadline;
        let keyed = write.keyed(options)?;
        let _admission = keyed.as_ref().map(|keyed| self.admit(keyed)).transpose()?;
        self.store().probe_create_once().await?;
        let mut seen = self.shared.branches.seen(branch, HEAD_KNOWN).await?;
        let mut ticket = match &keyed {
            None => Ticket::unkeyed(),
            Some(keyed) => match self.claim(keyed, branch, &seen.state).await? {
                Claimed::Answered(commit) => return replay(write, commit),
                Claimed::Open(ticket) => ticket,
            },
        };
        let queue = self.queue(branch);
        let (mut run, mut yields) = (0, 0);
        'ahead: loop {
            self.prepare(&request, write, &seen.state, until).await?;
            let _turn = timeout_at(until, queue.lock())
                .await
                .ok_or_else(|| deadline(branch))?;
            let mut state = self.head_in_turn(branch, &seen).await?;
            loop {
                if let Some(commit) = ticket.answer(self, branch, state.seq()).await? {
                    return replay(write, commit);
                }
                let mut base = self.base(&request, state.clone()).await?;
                base.may_yield = yields < YIELDS;
                let (answer, attempt) = timeout_at(until, write.attempt(&base))
                    .await
                    .ok_or_else(|| deadline(branch))??;
                let staged = match attempt {
                    Attempt::Nothing => return Ok((answer, None)),
                    Attempt::Yield => {
                        yields += 1;
                        seen = Seen::known(state);
                        continue 'ahead;
                    }
                    Attempt::Staged(staged) => staged,
                };
                let flight = Flight {
                    request: &request,
                    base: &base,
                    staged: &staged,
                    record: keyed.as_ref().and_then(|_| write.record(&answer)),
                    until,
                };
                match self.land(flight, &mut ticket, write).await? {
                    Landing::Landed(commit) => return Ok((answer, Some(commit))),
                    Landing::Answered(commit) => return replay(write, commit),
                    Landing::RunAgain(_) if run + 1 < TRIES => run += 1,
                    Landing::RunAgain(to) => return Err(self.lost(branch, TRIES, to).await),
                }
                pause(run, until).await;
                state = self.shared.branches.state(branch).await?;
            }
        }
    }

    /// Lets a write prepare itself on a head that may be old. Only the end of its time is an error:
    /// whatever else goes wrong may be right on the head.
    async fn prepare<W: Write>(
        &self,
        request: &CommitRequest<'_>,
        write: &mut W,
        state: &BranchState,
        until: Instant,
    ) -> Result<()> {
        if !write.can_prepare() {
            return Ok(());
        }
        let prepared = async {
            let base = self.base(request, state.clone()).await?;
            write.prepare(&base).await
        };
        let branch = request.branch;
        match timeout_at(until, prepared).await {
            None => Err(deadline(branch)),
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => {
                tracing::debug!(%branch, %error, "a write was not prepared ahead of its turn");
                Ok(())
            }
        }
    }

    /// The head when the turn has come: one request, unless it was just looked at.
    async fn head_in_turn(&self, branch: &BranchName, seen: &Seen) -> Result<BranchState> {
        let branches = &self.shared.branches;
        let known = branches.recent(branch, HEAD_SEEN);
        match known.filter(|known| seen.looked && known.seq() == seen.state.seq()) {
            Some(state) => Ok(state),
            None => branches.state(branch).await,
        }
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
        let clock = self.store().clock();
        let record = BranchEntry {
            id: clock.fresh_id(),
            event,
        };
        let until = clock.after(within);
        let seq = match log.append(expected, &record, within).await {
            Ok(seq) => seq,
            Err(AppendError::Conflict { .. }) => return Ok(Appended::Taken),
            Err(AppendError::Log(error)) => return Err(error.into()),
            Err(AppendError::OutcomeUnknown { seq, .. }) => {
                match log.settle(seq, record.id, SETTLE).await {
                    Ok(Settled::Landed) => seq,
                    Ok(Settled::Excluded) => return Ok(Appended::Taken),
                    Err(error) => {
                        let late = clock.instant() >= until;
                        return Err(outcome_unknown(name, late).with_source(error));
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

    async fn base(&self, request: &CommitRequest<'_>, state: BranchState) -> Result<Base> {
        let name = request.branch;
        let read_at = self.store().clock().monotonic();
        let place = match (state, request.fork_from) {
            (BranchState::Living(head), _) => Place::On(head),
            (target, Some(source)) => Place::Fork {
                source: self.shared.branches.head(source).await?,
                target,
            },
            (target, None) => Place::On(living(name, target)?),
        };
        let head = place.head();
        self.expect_head(name, request.options.if_head.as_ref(), head)
            .await?;
        let snapshot = self.open(head.commit.clone(), Some(name.clone())).await?;
        Ok(Base {
            forks: matches!(place, Place::Fork { .. }),
            may_yield: false,
            snapshot,
            place,
            read_at,
        })
    }

    /// Appends a staged commit, re-parenting it as long as nothing that it touched or read has
    /// moved.
    async fn land<W: Write>(
        &self,
        flight: Flight<'_>,
        ticket: &mut Ticket,
        write: &W,
    ) -> Result<Landing> {
        let Flight {
            request,
            base,
            staged,
            record,
            until,
        } = flight;
        let proof = ticket.proof(record);
        let mut place = base.place.clone();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(deadline(request.branch));
            }
            let mut commit = self.commit_of(request, ticket.commit, &place, staged);
            commit.idempotency.clone_from(&proof);
            write.finish(&mut commit);
            let incarnation = Incarnation(self.store().clock().fresh_id());
            let event = place.event(&commit, request, incarnation);
            let appended = self
                .append_event(request.branch, place.expected(), event, left)
                .await?;
            if let Appended::Landed(state) = appended {
                let head = living(request.branch, state)?;
                self.shared.commits.put(&head.commit);
                if base.forks {
                    // A branch that did not live was told of no collection.
                    if self.slept_since(base.read_at) {
                        self.withdraw(request.branch, &head, &request.options.by)
                            .await?;
                        return Err(too_late(request.branch));
                    }
                    self.shared.branches.mark_live(request.branch).await;
                }
                return Ok(Landing::Landed(head.commit));
            }
            let ours = (commit, place.expected());
            match self
                .after_conflict(request, ticket, base, staged, ours)
                .await?
            {
                After::Answered(commit) => return Ok(Landing::Answered(commit)),
                After::Reparent(head) => place = Place::On(head),
                After::RunAgain(conflict) => return Ok(Landing::RunAgain(conflict)),
            }
        }
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
            created_at: head.time_after(self.store().clock().now_micros()),
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

impl Base {
    /// The head that the write was prepared on; none when it creates the branch.
    pub(super) fn head(&self) -> Option<&Head> {
        match &self.place {
            Place::On(head) => Some(head),
            Place::Fork { .. } => None,
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

    fn event(
        &self,
        commit: &Commit,
        request: &CommitRequest<'_>,
        incarnation: Incarnation,
    ) -> BranchEvent {
        match self {
            Self::On(head) => commit_event(head, commit.clone()),
            Self::Fork { source, .. } => BranchEvent::Created {
                incarnation,
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
        Some(wanted) if *wanted != head.commit.id => Err(has_moved(name, wanted, &head.commit.id)),
        Some(_) | None => Ok(()),
    }
}

/// The answer of an earlier request with the same key.
fn replay<W: Write>(
    write: &mut W,
    commit: Arc<Commit>,
) -> Result<(W::Answer, Option<Arc<Commit>>)> {
    Ok((write.replay(&commit)?, Some(commit)))
}

/// The result, unless the time is over first.
async fn timeout_at<T>(until: Instant, work: impl Future<Output = T>) -> Option<T> {
    let left = until.saturating_duration_since(Instant::now());
    tokio::time::timeout(left, work).await.ok()
}

/// Writers that were overtaken together do not come back together.
#[expect(
    clippy::disallowed_methods,
    reason = "only the length of a pause hangs on it, and no test looks at that"
)]
async fn pause(run: usize, until: Instant) {
    let most = PAUSE_MIN * (1 << run.min(6));
    let pause = most.mul_f64(rand::random::<f64>());
    let left = until.saturating_duration_since(Instant::now());
    tokio::time::sleep(pause.min(left)).await;
}

fn outcome_unknown(branch: &BranchName, late: bool) -> Error {
    let kind = match late {
        true => ErrorKind::Deadline,
        false => ErrorKind::Unavailable,
    };
    Error::new(
        kind,
        format!(
            "outcome unknown: the object store did not say whether the write to branch '{branch}' was committed"
        ),
    )
    .with_hint("with an idempotency key, repeat it; without one, look at the branch's commits first")
}

fn too_late(branch: &BranchName) -> Error {
    Error::new(
        ErrorKind::WriteConflict,
        format!(
            "the write took more than half a day, so that its files may have been collected: branch '{branch}' was withdrawn"
        ),
    )
    .with_hint("repeat it")
}

fn deadline(branch: &BranchName) -> Error {
    Error::new(
        ErrorKind::Deadline,
        format!("the time for this write to branch '{branch}' is over; nothing was written"),
    )
}
