//! What ledger and catalog keep. Revisions beyond the newest ones, and older than the history is
//! kept, go; and so do catalog objects that no kept revision names.
//!
//! A catalog object goes only when it was written longer ago than any operation may run, so that
//! what an apply has just staged, or staged again, stays. Approvals stay for ever.

use std::collections::HashSet;
use std::time::Duration;

use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use omnigraph_engine::log::Seq;

use crate::catalog::BlobKind;
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::{Leader, RevisionPointer};
use crate::plane::ControlPlane;

/// What was written later than this before now is left alone.
const GRACE: Duration = Duration::from_secs(24 * 3600);
/// Between two looks at who leads, so many objects are removed.
const BATCH: usize = 100;

/// What a round removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reclaimed {
    pub(crate) entries: u64,
    pub(crate) objects: u64,
}

impl ControlPlane {
    /// Truncates the ledger and removes what nothing needs. The caller leads and has the turn: no
    /// operation of this process stages anything meanwhile.
    pub(crate) async fn reclaim_history(&self, leader: &Leader) -> Result<Reclaimed> {
        let state = self.check_lead(leader).await?;
        let Some(newest) = state.revision else {
            return Ok(Reclaimed::default());
        };
        let kept = self.kept_revisions(newest).await?;
        let oldest = kept.last().copied().unwrap_or(newest);
        let truncated = self.shared().ledger.truncate(oldest.seq).await?;
        // Truncation may have kept more than it was asked to.
        let named = self.named_objects(newest, truncated.floor).await?;
        let objects = self.remove_unnamed(leader, &named).await?;
        self.forget_old_heartbeats(state.epoch).await?;
        Ok(Reclaimed {
            entries: truncated.deleted,
            objects,
        })
    }

    /// The revisions that the options keep, newest first.
    async fn kept_revisions(&self, newest: RevisionPointer) -> Result<Vec<RevisionPointer>> {
        let options = self.options();
        let age = i64::try_from(options.history_age.as_micros()).unwrap_or(i64::MAX);
        let since = self.store().clock().now_micros().saturating_sub(age);
        let mut kept = vec![newest];
        let mut next = self.shared().ledger.record_at(newest).await?.previous;
        while let Some(pointer) = next {
            let Some(record) = self.shared().ledger.record_if_kept(pointer).await? else {
                break;
            };
            if kept.len() >= options.history_revisions && record.created_at < since {
                break;
            }
            kept.push(pointer);
            next = record.previous;
        }
        Ok(kept)
    }

    /// Every catalog object that a revision at or above the floor names.
    async fn named_objects(&self, newest: RevisionPointer, floor: Seq) -> Result<HashSet<Path>> {
        let ledger = &self.shared().ledger;
        let catalog = &self.shared().catalog;
        let mut named = HashSet::new();
        let mut next = Some(newest);
        while let Some(pointer) = next.filter(|pointer| pointer.seq >= floor) {
            let Some(record) = ledger.record_if_kept(pointer).await? else {
                break;
            };
            named.insert(catalog.path(&record.content, BlobKind::Revision));
            match ledger.content_of(&record).await {
                Ok(content) => {
                    let blobs = content.blobs().into_iter();
                    named.extend(blobs.map(|(_, digest, kind)| catalog.path(&digest, kind)));
                }
                // Without the newest nothing is known; an old one that is lost names nothing.
                Err(error) if pointer == newest || error.kind() != ErrorKind::Corrupt => {
                    return Err(error);
                }
                Err(error) => tracing::warn!(
                    revision = record.number,
                    error = error.chain(),
                    "the content of an old revision is lost"
                ),
            }
            next = record.previous;
        }
        Ok(named)
    }

    async fn remove_unnamed(&self, leader: &Leader, named: &HashSet<Path>) -> Result<u64> {
        // What looks old by the store's own time is old.
        let listed = self.shared().catalog.list().await?;
        let now = self.store_time().await?;
        let old = |meta: &ObjectMeta| {
            let age = now.last_modified.signed_duration_since(meta.last_modified);
            age.to_std().is_ok_and(|age| age > GRACE)
        };
        let unnamed: Vec<ObjectMeta> = listed
            .into_iter()
            .filter(|meta| old(meta) && !named.contains(&meta.location))
            .collect();
        let objects = self.store().object_store();
        let mut removed = 0;
        for batch in unnamed.chunks(BATCH) {
            self.check_lead(leader).await?;
            for meta in batch {
                // Another leader may have staged it again in the meantime.
                match objects.head(&meta.location).await {
                    Ok(now) if now.last_modified == meta.last_modified => {}
                    Ok(_) | Err(object_store::Error::NotFound { .. }) => continue,
                    Err(error) => return Err(error.into()),
                }
                match objects.delete(&meta.location).await {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => removed += 1,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(removed)
    }

    /// What the store's clock says, told by an object that was just written.
    async fn store_time(&self) -> Result<ObjectMeta> {
        let path = self.store().path("cluster/time");
        let objects = self.store().object_store();
        objects.put(&path, "".into()).await?;
        Ok(objects.head(&path).await?)
    }

    /// Leaders that died left theirs.
    async fn forget_old_heartbeats(&self, epoch: u64) -> Result<()> {
        use futures::TryStreamExt as _;
        let directory = self.store().path("cluster/heartbeat");
        let objects = self.store().object_store();
        let listed: Vec<ObjectMeta> = objects.list(Some(&directory)).try_collect().await?;
        for meta in listed {
            let name = meta.location.filename().unwrap_or_default();
            let of = name
                .strip_suffix(".json")
                .and_then(|n| n.parse::<u64>().ok());
            if of.is_some_and(|of| of < epoch) {
                match objects.delete(&meta.location).await {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}

/// What is said of a revision that the history does not keep any more.
pub(crate) fn reclaimed(number: u64) -> Error {
    let message = format!("revision {number} was reclaimed");
    Error::new(ErrorKind::NotFound, message).with_hint("omnigraphctl history shows what is kept")
}
