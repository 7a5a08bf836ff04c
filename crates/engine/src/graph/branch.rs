//! Branches: each name is one log; its last entry says what the branch is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use parking_lot::Mutex;

use super::ids::{BranchName, CommitId, Incarnation};
use super::model::{BranchEntry, BranchEvent, Commit, CreatedRef, GraphRoot, ParentRef};
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Log, Seq};
use crate::store::Store;

/// A living branch at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// The last entry of the log; a writer appends after it.
    pub(crate) seq: Seq,
    /// Where the head commit lies: in this log, or where the branch was made from.
    pub(crate) at: ParentRef,
    /// The head commit.
    pub(crate) commit: Arc<Commit>,
    /// The branch's incarnation.
    pub(crate) incarnation: Incarnation,
    /// Where this life of the branch began.
    pub(crate) created: CreatedRef,
    /// The highest control epoch that this log has seen.
    pub(crate) control_epoch: u64,
}

/// What a branch's log says.
#[derive(Clone, Debug)]
pub(crate) enum BranchState {
    /// The name was never used.
    Absent,
    /// The branch lives.
    Living(Head),
    /// The branch was deleted; its name can be used again.
    Deleted { seq: Seq, control_epoch: u64 },
}

/// A branch, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct BranchInfo {
    /// Its name.
    pub name: BranchName,
    /// Its newest commit.
    pub head: Commit,
    /// The commit that it was made from.
    pub base_commit: Option<CommitId>,
    /// When it was made, in microseconds since the Unix epoch.
    pub created_at: i64,
}

impl BranchInfo {
    pub(crate) fn of(name: &BranchName, head: &Head) -> Self {
        Self {
            name: name.clone(),
            head: Commit::clone(&head.commit),
            base_commit: head.created.base,
            created_at: head.created.created_at,
        }
    }
}

/// How many branches are looked at in parallel.
const PARALLEL_HEADS: usize = 16;

/// The branch logs of one graph, and what this process knows of them.
pub(crate) struct Branches {
    store: Store,
    root: String,
    known: Mutex<HashMap<BranchName, Known>>,
}

#[derive(Clone)]
struct Known {
    log: Log<BranchEntry>,
    last: Option<(BranchState, Duration)>,
}

impl Branches {
    pub(crate) fn new(store: Store, root: &GraphRoot) -> Self {
        Self {
            store,
            root: root.path(),
            known: Mutex::default(),
        }
    }

    /// The log of a name.
    pub(crate) fn log(&self, name: &BranchName) -> Log<BranchEntry> {
        if let Some(known) = self.known.lock().get(name) {
            return known.log.clone();
        }
        let directory = format!("{}/branches/{}", self.root, name.encoded());
        let log = Log::open(&self.store, &directory);
        self.known
            .lock()
            .entry(name.clone())
            .or_insert(Known { log, last: None })
            .log
            .clone()
    }

    /// What the log says now: one request when nothing changed since the last look.
    pub(crate) async fn state(&self, name: &BranchName) -> Result<BranchState> {
        let log = self.log(name);
        let started = self.store.clock().monotonic();
        let known = self.last(name);
        let known_seq = known.as_ref().and_then(|(state, _)| state.seq());
        let Some((seq, entry)) = log.head(known_seq).await? else {
            self.remember(name, BranchState::Absent, started);
            return Ok(BranchState::Absent);
        };
        if let Some((state, _)) = known
            && state.seq() == Some(seq)
        {
            self.remember(name, state.clone(), started);
            return Ok(state);
        }
        let state = self.interpret(name, &log, seq, entry).await?;
        self.remember(name, state.clone(), started);
        Ok(state)
    }

    /// The state as known from a look that is at most so old, if there was one.
    pub(crate) fn recent(&self, name: &BranchName, at_most: Duration) -> Option<BranchState> {
        let now = self.store.clock().monotonic();
        self.last(name)
            .filter(|(_, looked)| now.saturating_sub(*looked) <= at_most)
            .map(|(state, _)| state)
    }

    /// The head of a living branch.
    pub(crate) async fn head(&self, name: &BranchName) -> Result<Head> {
        living(name, self.state(name).await?)
    }

    /// Notes what an append of this process made of the branch.
    pub(crate) fn advance(&self, name: &BranchName, state: BranchState) {
        let now = self.store.clock().monotonic();
        self.remember(name, state, now);
    }

    /// The state that an entry leaves behind. Voids and sweeps say nothing, so what was before them
    /// counts.
    pub(crate) async fn interpret(
        &self,
        name: &BranchName,
        log: &Log<BranchEntry>,
        last: Seq,
        entry: BranchEntry,
    ) -> Result<BranchState> {
        let mut seq = last;
        let mut event = entry.event;
        while matches!(event, BranchEvent::Void | BranchEvent::Swept { .. }) {
            let Some(before) = seq.0.checked_sub(1).map(Seq) else {
                return Ok(BranchState::Deleted {
                    seq: last,
                    control_epoch: 0,
                });
            };
            seq = before;
            event = log
                .get(seq)
                .await?
                .ok_or_else(|| Error::corrupt(format!("entry {seq} of branch {name} is missing")))?
                .event;
        }
        state_of(name, last, seq, event)
    }

    /// Living branches that this process knows of, with the end of their logs as it knows it.
    pub(crate) fn known_living(&self) -> Vec<(BranchName, Seq)> {
        let known = self.known.lock();
        let living = known.iter().filter_map(|(name, known)| match &known.last {
            Some((BranchState::Living(head), _)) => Some((name.clone(), head.seq)),
            _ => None,
        });
        living.collect()
    }

    /// Names of branches that seem to live: markers are hints, the logs decide.
    pub(crate) async fn names(&self) -> Result<Vec<BranchName>> {
        let prefix = self.store.path(&format!("{}/live", self.root));
        let mut names: Vec<BranchName> = self
            .store
            .object_store()
            .list(Some(&prefix))
            .map_err(Error::from)
            .try_filter_map(|object| async move {
                object
                    .location
                    .filename()
                    .map(BranchName::decode)
                    .transpose()
            })
            .try_collect()
            .await?;
        if !names.iter().any(BranchName::is_main) {
            names.push(BranchName::main());
        }
        names.sort();
        Ok(names)
    }

    /// All living branches, sorted by name.
    pub(crate) async fn living(&self) -> Result<Vec<(BranchName, Head)>> {
        let names = self.names().await?;
        let mut living: Vec<(BranchName, Head)> = futures::stream::iter(names)
            .map(|name| async move {
                let state = self.state(&name).await?;
                Ok::<_, Error>((name, state))
            })
            .buffer_unordered(PARALLEL_HEADS)
            .try_filter_map(|(name, state)| async move {
                Ok(match state {
                    BranchState::Living(head) => Some((name, head)),
                    BranchState::Absent | BranchState::Deleted { .. } => None,
                })
            })
            .try_collect()
            .await?;
        living.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(living)
    }

    /// Makes a branch findable by listings. A failure loses a hint only.
    pub(crate) async fn mark_live(&self, name: &BranchName) {
        let put = self
            .store
            .object_store()
            .put(&self.marker(name), PutPayload::from_static(b"{}"))
            .await;
        if let Err(error) = put {
            tracing::warn!(%name, %error, "the marker of a branch was not written");
        }
    }

    /// Takes a branch out of listings. A failure leaves a hint only.
    pub(crate) async fn unmark_live(&self, name: &BranchName) {
        let gone = self.store.object_store().delete(&self.marker(name)).await;
        if let Err(error) = gone
            && !matches!(error, object_store::Error::NotFound { .. })
        {
            tracing::warn!(%name, %error, "the marker of a deleted branch was not removed");
        }
    }

    fn marker(&self, name: &BranchName) -> object_store::path::Path {
        self.store
            .path(&format!("{}/live/{}", self.root, name.encoded()))
    }

    fn last(&self, name: &BranchName) -> Option<(BranchState, Duration)> {
        self.known
            .lock()
            .get(name)
            .and_then(|known| known.last.clone())
    }

    /// Never goes back: an older look that ends late must not hide a newer one.
    fn remember(&self, name: &BranchName, state: BranchState, looked: Duration) {
        let mut known = self.known.lock();
        let Some(known) = known.get_mut(name) else {
            return;
        };
        let newer = known
            .last
            .as_ref()
            .is_none_or(|(last, _)| last.seq() <= state.seq());
        if newer {
            known.last = Some((state, looked));
        }
    }
}

impl BranchState {
    pub(crate) fn seq(&self) -> Option<Seq> {
        match self {
            Self::Absent => None,
            Self::Living(head) => Some(head.seq),
            Self::Deleted { seq, .. } => Some(*seq),
        }
    }

    pub(crate) fn control_epoch(&self) -> u64 {
        match self {
            Self::Absent => 0,
            Self::Living(head) => head.control_epoch,
            Self::Deleted { control_epoch, .. } => *control_epoch,
        }
    }
}

/// The head, or the error that there is no such branch.
pub(crate) fn living(name: &BranchName, state: BranchState) -> Result<Head> {
    match state {
        BranchState::Living(head) => Ok(head),
        BranchState::Absent | BranchState::Deleted { .. } => Err(Error::new(
            ErrorKind::NotFound,
            format!("branch '{name}' not found"),
        )),
    }
}

/// A fresh entry.
#[cfg(test)]
pub(crate) fn entry(event: BranchEvent) -> BranchEntry {
    BranchEntry {
        id: ulid::Ulid::new(),
        event,
    }
}

fn state_of(name: &BranchName, last: Seq, seq: Seq, event: BranchEvent) -> Result<BranchState> {
    match event {
        BranchEvent::Created {
            incarnation,
            base,
            first,
            created_at,
            base_commit,
            control_epoch,
            ..
        } => {
            let base_id = base.as_ref().map(|base| base.id);
            let (at, commit) = match (first, base, base_commit) {
                (Some(first), _, _) => (
                    ParentRef {
                        branch: name.clone(),
                        incarnation,
                        seq,
                        id: first.id,
                    },
                    first,
                ),
                (None, Some(base), Some(commit)) => (base, commit),
                (None, _, _) => {
                    return Err(Error::corrupt(format!(
                        "entry {seq} of branch {name} creates it from nothing"
                    )));
                }
            };
            Ok(BranchState::Living(Head {
                seq: last,
                at,
                control_epoch: control_epoch.max(commit.control_epoch),
                commit: Arc::new(*commit),
                incarnation,
                created: CreatedRef {
                    seq,
                    created_at,
                    base: base_id,
                },
            }))
        }
        BranchEvent::Commit {
            incarnation,
            commit,
            created,
        } => Ok(BranchState::Living(Head {
            seq: last,
            at: ParentRef {
                branch: name.clone(),
                incarnation,
                seq,
                id: commit.id,
            },
            control_epoch: commit.control_epoch,
            commit: Arc::new(*commit),
            incarnation,
            created,
        })),
        BranchEvent::Deleted { control_epoch, .. } => Ok(BranchState::Deleted {
            seq: last,
            control_epoch,
        }),
        BranchEvent::Void | BranchEvent::Swept { .. } => {
            Err(Error::internal("this entry says nothing of the branch"))
        }
    }
}
