//! What was decided: a log of collections, and a record of what each of them keeps.
//!
//! A commit counts as reclaimed from the moment that the objects which only it needs are condemned,
//! a day before they go. So nobody begins to build on it while they go.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use object_store::{ObjectStoreExt as _, PutMode, PutPayload};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::super::model::GraphRoot;
use super::super::{BranchName, Commit, CommitId};
use crate::error::{Error, Result};
use crate::log::{Entry, Log, Seq};
use crate::store::Store;

/// The newest format of the objects of a collection.
const FORMAT: u32 = 1;

/// The kept part of a branch that lived when it was decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) branch: BranchName,
    /// When this life of the branch began.
    pub(crate) since: i64,
    /// The oldest commit that is kept: by id, and what commits are compared with.
    pub(crate) oldest: CommitId,
    pub(crate) version: u64,
}

/// `collect/<list>/kept.json`: which commits are kept. Created once, never changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) format: u32,
    /// When, by the clock that commits are stamped with.
    pub(crate) at: i64,
    /// The living branches.
    pub(crate) kept: Vec<Kept>,
    /// Every name that had been used.
    pub(crate) branches: BTreeSet<BranchName>,
    /// Commits that are kept wherever they lie.
    pub(crate) commits: BTreeSet<CommitId>,
}

impl Record {
    pub(crate) fn new(
        at: i64,
        kept: Vec<Kept>,
        branches: BTreeSet<BranchName>,
        commits: BTreeSet<CommitId>,
    ) -> Self {
        Self {
            format: FORMAT,
            at,
            kept,
            branches,
            commits,
        }
    }

    /// Whether a commit is kept.
    pub(crate) fn retains(&self, commit: &Commit) -> bool {
        self.names(commit.id) || self.keeps(&commit.branch, commit.version, commit.created_at)
    }

    /// Whether a commit is kept wherever it lies.
    pub(crate) fn names(&self, id: CommitId) -> bool {
        self.commits.contains(&id)
    }

    /// Whether a commit is kept because of its place, or is newer than the decision.
    pub(crate) fn keeps(&self, branch: &BranchName, version: u64, created_at: i64) -> bool {
        let newer = created_at > self.at || !self.branches.contains(branch);
        let in_kept_part = |kept: &Kept| {
            kept.branch == *branch && created_at >= kept.since && version >= kept.version
        };
        newer || self.kept.iter().any(in_kept_part)
    }

    /// The oldest kept commit of a branch.
    pub(crate) fn oldest(&self, branch: &BranchName) -> Option<CommitId> {
        let kept = self.kept.iter().rfind(|kept| kept.branch == *branch);
        kept.map(|kept| kept.oldest)
    }
}

/// An entry of the log of collections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CollectEntry {
    id: Ulid,
    pub(crate) event: CollectEvent,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CollectEvent {
    /// Objects were condemned.
    Condemned(List),
    /// What of them still was needed by nothing was removed.
    Removed(List),
    /// Nothing.
    Void,
}

/// A list of condemned objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct List {
    /// Its directory below `collect/`.
    pub(crate) id: Ulid,
    /// How many objects it is cut into.
    pub(crate) parts: u32,
    /// What it condemns.
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
    /// When, by the store's clock, in microseconds since the Unix epoch.
    pub(crate) at: i64,
}

impl CollectEntry {
    pub(crate) fn new(event: CollectEvent) -> Self {
        Self {
            id: Ulid::new(),
            event,
        }
    }
}

impl Entry for CollectEntry {
    fn entry_id(&self) -> Ulid {
        self.id
    }

    fn void(id: Ulid) -> Self {
        Self {
            id,
            event: CollectEvent::Void,
        }
    }
}

/// What is known of a graph's collections. Clones share it.
#[derive(Clone)]
pub(crate) struct Collection {
    store: Store,
    directory: String,
    log: Log<CollectEntry>,
    known: Arc<Mutex<Option<(Known, Duration)>>>,
}

/// The newest collection.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// The last entry of the log.
    pub(crate) seq: Option<Seq>,
    /// The last list, and whether it waits for its removal.
    pub(crate) list: Option<(List, bool)>,
    pub(crate) record: Option<Arc<Record>>,
}

impl Collection {
    pub(crate) fn new(store: &Store, root: &GraphRoot) -> Self {
        let directory = format!("{}/collect", root.path());
        Self {
            log: Log::open(store, &format!("{directory}/log")),
            store: store.clone(),
            directory,
            known: Arc::default(),
        }
    }

    pub(crate) fn log(&self) -> &Log<CollectEntry> {
        &self.log
    }

    /// The directory of one list, below the storage root.
    pub(crate) fn list_path(&self, list: Ulid) -> String {
        format!("{}/{list}", self.directory)
    }

    pub(crate) fn directory(&self) -> &str {
        &self.directory
    }

    /// Which commits are kept; none as long as nothing was ever reclaimed. A look that is at most so
    /// old will do.
    pub(crate) async fn record(&self, at_most: Duration) -> Result<Option<Arc<Record>>> {
        let now = self.store.clock().monotonic();
        if let Some((known, looked)) = &*self.known.lock()
            && !at_most.is_zero()
            && now.saturating_sub(*looked) <= at_most
        {
            return Ok(known.record.clone());
        }
        Ok(self.look().await?.record)
    }

    /// The newest collection: one request when nothing has changed since the last look.
    pub(crate) async fn look(&self) -> Result<Known> {
        let started = self.store.clock().monotonic();
        let before = self.known.lock().clone().map(|(known, _)| known);
        let seen = before.as_ref().and_then(|known| known.seq);
        let known = match self.log.head(seen).await? {
            None => Known {
                seq: None,
                list: None,
                record: None,
            },
            Some((seq, _)) if seen == Some(seq) && before.is_some() => {
                before.ok_or_else(|| Error::internal("what was known of a collection is gone"))?
            }
            Some((seq, entry)) => self.interpret(seq, entry).await?,
        };
        *self.known.lock() = Some((known.clone(), started));
        Ok(known)
    }

    async fn interpret(&self, last: Seq, entry: CollectEntry) -> Result<Known> {
        let (mut seq, mut event) = (last, entry.event);
        let (list, pending) = loop {
            match event {
                CollectEvent::Condemned(list) => break (list, true),
                CollectEvent::Removed(list) => break (list, false),
                CollectEvent::Void => {}
            }
            let Some(before) = seq.0.checked_sub(1).map(Seq) else {
                return Ok(Known {
                    seq: Some(last),
                    list: None,
                    record: None,
                });
            };
            seq = before;
            event = match self.log.get(seq).await? {
                Some(entry) => entry.event,
                None => {
                    return Err(Error::corrupt(format!(
                        "entry {seq} of {} is missing",
                        self.log.prefix()
                    )));
                }
            };
        };
        let record = self.read_record(list.id).await?;
        Ok(Known {
            seq: Some(last),
            list: Some((list, pending)),
            record: Some(Arc::new(record)),
        })
    }

    async fn read_record(&self, list: Ulid) -> Result<Record> {
        let record: Record = self.get(list, "kept").await?;
        if record.format > FORMAT {
            return Err(Error::corrupt(format!(
                "the record of collection {list} has format {}, this program reads up to {FORMAT}",
                record.format
            ))
            .with_hint("upgrade this program"));
        }
        Ok(record)
    }

    /// What was reclaimed where this graph comes from stays reclaimed.
    pub(crate) async fn begin_with(&self, record: &Record) -> Result<()> {
        let list = List {
            id: Ulid::new(),
            parts: 0,
            objects: 0,
            bytes: 0,
            at: 0,
        };
        self.put(list.id, "kept", record).await?;
        let entry = CollectEntry::new(CollectEvent::Removed(list));
        Ok(self.log.import(&[(Seq::FIRST, entry)]).await?)
    }

    /// Reads an object of a list.
    pub(crate) async fn get<T: serde::de::DeserializeOwned>(
        &self,
        list: Ulid,
        name: &str,
    ) -> Result<T> {
        let path = self.object(list, name);
        let bytes = self.store.object_store().get(&path).await?.bytes().await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::corrupt(format!("{path} cannot be read")).with_source(error))
    }

    /// Creates an object of a list. The list's id is fresh, so nobody else does.
    pub(crate) async fn put<T: Serialize>(&self, list: Ulid, name: &str, value: &T) -> Result<()> {
        let bytes = serde_json::to_vec(value).map_err(|error| {
            Error::internal("a record of a collection cannot be written").with_source(error)
        })?;
        self.store
            .object_store()
            .put_opts(
                &self.object(list, name),
                PutPayload::from(bytes),
                PutMode::Create.into(),
            )
            .await?;
        Ok(())
    }

    fn object(&self, list: Ulid, name: &str) -> object_store::path::Path {
        self.store
            .path(&format!("{}/{name}.json", self.list_path(list)))
    }
}
