//! Finding a commit by its id, without walking the history.
//!
//! Maintenance writes index segments: objects that are created once and say which commits some
//! consecutive entries of one log hold, and where the history leaves these entries. First small
//! ones, then one large one for many small ones. Their names say which entries and which ids they
//! cover, so one listing tells which are worth reading. They are hints: what one says is verified
//! against the log entry, what is missing is walked (storage protocol, section 2).
//!
//! | file | subject |
//! |---|---|
//! | `segment` | the objects |
//! | `search` | from an id to the commit |
//! | `write` | making the segments that are missing |

mod search;
mod segment;
#[cfg(test)]
mod tests;
mod write;

use std::collections::HashMap;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use parking_lot::Mutex;

use self::segment::{Name, Segment};
use super::GraphRoot;
use super::ids::BranchName;
use crate::error::{Error, Result};
use crate::log::Seq;
use crate::store::Store;

/// Segments that are kept in memory.
const KEPT_SEGMENTS: usize = 256;

/// The segments of one graph, and what this process knows of them.
pub(super) struct CommitIndex {
    store: Store,
    root: String,
    /// As of the last listing, and what was written since.
    names: Mutex<Option<Arc<Vec<Name>>>>,
    loaded: Mutex<HashMap<Name, Arc<Segment>>>,
}

impl CommitIndex {
    pub(super) fn new(store: Store, root: &GraphRoot) -> Self {
        Self {
            store,
            root: format!("{}/commits", root.path()),
            names: Mutex::default(),
            loaded: Mutex::default(),
        }
    }

    /// The segments that are known without a request.
    fn remembered(&self) -> Option<Arc<Vec<Name>>> {
        self.names.lock().clone()
    }

    /// All segments: one listing.
    async fn list(&self) -> Result<Arc<Vec<Name>>> {
        let prefix = self.store.path(&self.root);
        let names: Vec<Name> = self
            .store
            .object_store()
            .list(Some(&prefix))
            .map_err(Error::from)
            .try_filter_map(|object| async move {
                let mut parts = object.location.parts().rev();
                let name = parts.next();
                let branch = parts.next();
                Ok(branch
                    .zip(name)
                    .and_then(|(branch, name)| Name::parse(branch.as_ref(), name.as_ref())))
            })
            .try_collect()
            .await?;
        let names = Arc::new(names);
        *self.names.lock() = Some(names.clone());
        Ok(names)
    }

    /// A segment, if it is there and what its name says.
    async fn load(&self, name: &Name) -> Result<Option<Arc<Segment>>> {
        if let Some(segment) = self.loaded.lock().get(name) {
            return Ok(Some(segment.clone()));
        }
        let bytes = match self.store.object_store().get(&self.path(name)).await {
            Ok(found) => found.bytes().await?,
            // Taken into a larger one since.
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Some(segment) = Segment::read(name, &bytes) else {
            tracing::warn!(segment = %self.path(name), "an index segment of commits is not what its name says");
            return Ok(None);
        };
        let segment = Arc::new(segment);
        self.keep(name, &segment);
        Ok(Some(segment))
    }

    /// Writes a segment. Whoever was faster wrote the same.
    async fn put(&self, segment: Segment) -> Result<()> {
        let name = segment.name();
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        let payload = PutPayload::from(segment.to_bytes()?);
        let path = self.path(&name);
        let put = self.store.object_store().put_opts(&path, payload, options);
        match put.await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.keep(&name, &Arc::new(segment));
        let mut names = self.names.lock();
        let mut known = names.as_deref().cloned().unwrap_or_default();
        if !known.contains(&name) {
            known.push(name);
        }
        *names = Some(Arc::new(known));
        Ok(())
    }

    /// Removes a segment that a larger one has taken in. A failure leaves an object too many.
    async fn remove(&self, name: &Name) {
        let gone = self.store.object_store().delete(&self.path(name)).await;
        if let Err(error) = gone
            && !matches!(error, object_store::Error::NotFound { .. })
        {
            tracing::debug!(segment = %self.path(name), %error, "a segment that is not needed stays");
        }
        let mut names = self.names.lock();
        if let Some(known) = names.as_ref() {
            let left = known.iter().filter(|other| *other != name).cloned();
            *names = Some(Arc::new(left.collect()));
        }
    }

    fn keep(&self, name: &Name, segment: &Arc<Segment>) {
        let mut loaded = self.loaded.lock();
        if loaded.len() >= KEPT_SEGMENTS {
            loaded.clear();
        }
        loaded.insert(name.clone(), segment.clone());
    }

    fn path(&self, name: &Name) -> object_store::path::Path {
        self.store.path(&format!(
            "{}/{}/{}",
            self.root,
            name.branch.encoded(),
            name.file()
        ))
    }
}

/// The segment that has an entry, the largest if there are several.
fn covering<'a>(names: &'a [Name], branch: &BranchName, seq: Seq) -> Option<&'a Name> {
    names
        .iter()
        .filter(|name| name.branch == *branch && name.first <= seq && seq <= name.last)
        .max_by_key(|name| name.last.0 - name.first.0)
}
