//! The cluster's ledger: who leads and what is applied, in one log, so that the lock and what it
//! protects cannot disagree.

mod content;
mod entry;

use std::sync::Arc;
use std::time::Duration;

use omnigraph_engine::Store;
use omnigraph_engine::log::{AppendError, Log, Seq, Settled, Truncated};
use parking_lot::Mutex;

pub(crate) use content::{
    Content, Ending, GraphContent, GraphEmbedding, Observation, PolicyContent, ProviderContent,
    Verdict, keep_bindings, take_bound,
};
pub(crate) use entry::{Event, Leader, LedgerEntry, RevisionPointer, RevisionRecord};

use crate::catalog::{BlobKind, Catalog};
use crate::error::{Error, Result};

/// The log's directory below the storage root.
const DIRECTORY: &str = "cluster/ledger";
/// How long an append may look for its outcome.
const DEADLINE: Duration = Duration::from_secs(20);

/// What the ledger says now.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// `None`: the ledger is empty.
    pub(crate) seq: Option<Seq>,
    pub(crate) epoch: u64,
    pub(crate) leader: Option<Leader>,
    pub(crate) revision: Option<RevisionPointer>,
}

/// A revision with its content.
#[derive(Debug)]
pub(crate) struct Revision {
    pub(crate) record: RevisionRecord,
    pub(crate) content: Content,
}

/// Why an append was not made.
#[derive(Debug)]
pub(crate) enum AppendFailure {
    /// Another entry came first; nothing was appended.
    Conflict,
    /// Nobody knows.
    Unknown(Error),
}

/// Reads and writes the ledger. Cheap to clone; clones share what they know.
#[derive(Clone)]
pub(crate) struct Ledger {
    log: Log<LedgerEntry>,
    catalog: Catalog,
    store: Store,
    newest: Arc<Mutex<Option<Arc<Revision>>>>,
}

impl Ledger {
    pub(crate) fn new(store: &Store) -> Self {
        Self {
            log: Log::open(store, DIRECTORY),
            catalog: Catalog::new(store),
            store: store.clone(),
            newest: Arc::default(),
        }
    }

    /// What the newest entry says: one request when nothing has changed.
    pub(crate) async fn state(&self) -> Result<State> {
        let Some((seq, mut entry)) = self.log.head(None).await? else {
            return Ok(State {
                seq: None,
                epoch: 0,
                leader: None,
                revision: None,
            });
        };
        // A void says nothing; what it follows does.
        let mut at = seq;
        while entry.event == Event::Void && at > Seq::FIRST {
            at = Seq(at.0 - 1);
            entry = self.entry(at).await?;
        }
        Ok(State {
            seq: Some(seq),
            epoch: entry.epoch,
            leader: entry.leader,
            revision: entry.revision,
        })
    }

    /// The newest revision with its content.
    pub(crate) async fn newest(&self) -> Result<Option<Arc<Revision>>> {
        let state = self.state().await?;
        self.revision_of(&state).await
    }

    /// The revision that a state points to.
    pub(crate) async fn revision_of(&self, state: &State) -> Result<Option<Arc<Revision>>> {
        let Some(pointer) = state.revision else {
            return Ok(None);
        };
        let known = self.newest.lock().clone();
        if let Some(known) = known.filter(|known| known.record.number == pointer.number) {
            return Ok(Some(known));
        }
        let revision = Arc::new(self.revision_at(pointer).await?);
        self.remember(&revision);
        Ok(Some(revision))
    }

    /// Keeps the newest revision, so that it need not be read.
    pub(crate) fn remember(&self, revision: &Arc<Revision>) {
        let number = revision.record.number;
        let mut newest = self.newest.lock();
        if newest.as_ref().is_none_or(|old| old.record.number < number) {
            *newest = Some(Arc::clone(revision));
        }
    }

    /// The record at a place, without its content.
    pub(crate) async fn record_at(&self, pointer: RevisionPointer) -> Result<RevisionRecord> {
        match self.entry(pointer.seq).await?.event {
            Event::Revision(record) if record.number == pointer.number => Ok(*record),
            _ => Err(Error::corrupt(format!(
                "ledger entry {} is not revision {}",
                pointer.seq, pointer.number
            ))),
        }
    }

    /// The same; `None` when the history does not reach back so far any more.
    pub(crate) async fn record_if_kept(
        &self,
        pointer: RevisionPointer,
    ) -> Result<Option<RevisionRecord>> {
        match self.log.get(pointer.seq).await? {
            None => Ok(None),
            Some(_) => self.record_at(pointer).await.map(Some),
        }
    }

    pub(crate) async fn revision_at(&self, pointer: RevisionPointer) -> Result<Revision> {
        let record = self.record_at(pointer).await?;
        let content = self.content_of(&record).await?;
        Ok(Revision { record, content })
    }

    pub(crate) async fn content_of(&self, record: &RevisionRecord) -> Result<Content> {
        let bytes = self
            .catalog
            .get(&record.content, BlobKind::Revision)
            .await?;
        Content::read(&bytes)
    }

    /// Deletes entries below a place that are old enough.
    pub(crate) async fn truncate(&self, keep_from: Seq) -> Result<Truncated> {
        Ok(self.log.truncate(keep_from).await?)
    }

    /// Appends after `state` whatever `event` says.
    pub(crate) async fn append(
        &self,
        state: &State,
        epoch: u64,
        leader: Option<Leader>,
        event: Event,
    ) -> Result<State, AppendFailure> {
        let next = state.seq.map_or(Seq::FIRST, Seq::next);
        let revision = match &event {
            Event::Revision(record) => Some(RevisionPointer {
                seq: next,
                number: record.number,
            }),
            _ => state.revision,
        };
        let entry = LedgerEntry {
            id: self.store.clock().fresh_id(),
            at: self.store.clock().now_micros(),
            epoch,
            leader,
            revision,
            event,
        };
        self.store
            .probe_create_once()
            .await
            .map_err(|e| AppendFailure::Unknown(e.into()))?;
        let after = |entry: LedgerEntry| State {
            seq: Some(next),
            epoch: entry.epoch,
            leader: entry.leader,
            revision: entry.revision,
        };
        match self.log.append(state.seq, &entry, DEADLINE).await {
            Ok(_) => Ok(after(entry)),
            Err(AppendError::Conflict { .. }) => Err(AppendFailure::Conflict),
            Err(error @ AppendError::OutcomeUnknown { .. }) => {
                match self.log.settle(next, entry.id, DEADLINE).await {
                    Ok(Settled::Landed) => Ok(after(entry)),
                    Ok(Settled::Excluded) => Err(AppendFailure::Conflict),
                    Err(_) => Err(AppendFailure::Unknown(unknown(error))),
                }
            }
            Err(AppendError::Log(error)) => Err(AppendFailure::Unknown(error.into())),
        }
    }

    async fn entry(&self, seq: Seq) -> Result<LedgerEntry> {
        let missing = || Error::corrupt(format!("ledger entry {seq} is missing"));
        self.log.get(seq).await?.ok_or_else(missing)
    }
}

fn unknown(error: AppendError) -> Error {
    Error::unavailable("the storage did not say whether the ledger was written")
        .with_hint("look at the status, and apply again")
        .with_source(error)
}
