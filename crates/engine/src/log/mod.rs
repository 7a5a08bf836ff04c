//! A log of numbered objects: the only primitive that decides (storage protocol, section 1).
//!
//! Entry *n* is the object `<prefix>/<20 digits of n>.json`, created once and never changed. The
//! numbers run from 0 without holes above the floor. Appending is one create-if-absent put; nothing
//! is visible before it and nothing is half-visible after it. The module knows nothing of what the
//! entries mean.
//!
//! | file | subject |
//! |---|---|
//! | `append` | appending, and finding out what became of an append |
//! | `head` | finding the newest entry in few requests |
//! | `truncate` | deleting old entries so that nobody appends into, or reads across, a hole |
//! | `import` | writing a log that was read elsewhere |
//! | `codec`, `key` | bytes and names of the objects |
//! | `clock` | the injected clock |
//!
//! On a local file system the store flushes what it writes. What an entry refers to is the caller's
//! to flush before the append.

mod append;
mod clock;
mod codec;
mod error;
#[cfg(test)]
pub(crate) mod fault;
mod head;
mod import;
mod key;
#[cfg(test)]
mod tests;
mod truncate;

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use ulid::Ulid;

pub use append::Settled;
pub use clock::{Clock, Elapsed, SystemClock};
pub(crate) use codec::FORMAT;
pub use error::{AppendError, Error};
pub use key::Seq;
pub use truncate::Truncated;

use crate::store::Store;
use clock::Moment;
use key::Keys;

/// One request to the store may take so long, the store's own tries included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Entries read at the same time by [`Log::range`].
const PARALLEL_READS: usize = 8;
/// An entry is kept for at least so long after its successor was written.
const GRACE: Duration = Duration::from_secs(24 * 3600);

/// What a log holds.
pub trait Entry: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// Chosen before the append and never used twice: by it an entry is recognised as one's own.
    fn entry_id(&self) -> Ulid;

    /// An entry that means nothing and takes a place, so that no late append can land there.
    fn void(id: Ulid) -> Self;
}

/// A log under one prefix. Clones share what they know about the head.
pub struct Log<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    store: Arc<dyn ObjectStore>,
    keys: Keys,
    clock: Arc<dyn Clock>,
    grace: Duration,
    /// The newest head that this process has seen, and when it was certainly the head.
    known: Mutex<Option<Known<T>>>,
}

struct Known<T> {
    seq: Seq,
    entry: T,
    at: Moment,
}

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T: Entry> Log<T> {
    /// The log in the directory `relative` of a storage root. Nothing is read or written.
    pub fn open(store: &Store, relative: &str) -> Self {
        let objects = Arc::clone(store.object_store());
        Self::new(objects, store.path(relative), Arc::clone(store.clock()))
    }

    /// The log under `prefix`. Nothing is read or written.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: Path, clock: Arc<dyn Clock>) -> Self {
        let shared = Shared {
            store,
            keys: Keys::new(prefix),
            clock,
            grace: GRACE,
            known: Mutex::new(None),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The prefix under which the entries lie.
    pub fn prefix(&self) -> &Path {
        self.shared.keys.prefix()
    }

    /// The entry at `seq`: one request. `None` if there is none, yet or any more.
    pub async fn get(&self, seq: Seq) -> Result<Option<T>, Error> {
        Ok(self.get_stored(seq).await?.map(|(_, entry)| entry))
    }

    /// The same, with the format that the entry was written in.
    pub(crate) async fn get_stored(&self, seq: Seq) -> Result<Option<(u64, T)>, Error> {
        let path = self.shared.keys.entry(seq);
        match self.read(&path).await? {
            Some(bytes) => Ok(Some(codec::decode(&path, &bytes)?)),
            None => Ok(None),
        }
    }

    /// The entries from `from` to `to`, both included, in order; one request each. A missing one is
    /// an error: it was truncated, or `to` is beyond the head.
    pub async fn range(&self, from: Seq, to: Seq) -> Result<Vec<(Seq, T)>, Error> {
        futures::stream::iter(from.0..to.0.saturating_add(1))
            .map(|number| async move {
                let seq = Seq(number);
                let missing = || Error::Missing {
                    path: self.shared.keys.entry(seq).to_string(),
                };
                let entry = self.get(seq).await?.ok_or_else(missing)?;
                Ok((seq, entry))
            })
            .buffered(PARALLEL_READS)
            .try_collect()
            .await
    }

    /// What is there: the floor, and the positions of the entries, ascending. One listing.
    pub(crate) async fn positions(&self) -> Result<(Seq, Vec<Seq>), Error> {
        let mut floor = Seq::FIRST;
        let mut entries = Vec::new();
        for (name, _) in self.list(None).await? {
            match name {
                key::Name::Entry(seq) => entries.push(seq),
                key::Name::Floor(seq) => floor = floor.max(seq),
                key::Name::Other => {}
            }
        }
        entries.sort_unstable();
        Ok((floor, entries))
    }

    async fn read(&self, path: &Path) -> Result<Option<bytes::Bytes>, Error> {
        let request = async { self.shared.store.get(path).await?.bytes().await };
        match self.bounded(path, request).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Bounds one request, and names the object in its error.
    async fn bounded<R>(
        &self,
        path: &Path,
        request: impl Future<Output = object_store::Result<R>>,
    ) -> Result<R, Error> {
        match self.shared.clock.timeout(REQUEST_TIMEOUT, request).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(source)) => Err(Error::Store {
                path: path.to_string(),
                source,
            }),
            Err(_) => Err(Error::TimedOut {
                path: path.to_string(),
            }),
        }
    }

    fn now(&self) -> Moment {
        Moment::of(&*self.shared.clock)
    }

    /// Notes that `seq` was the head at `at`, unless something newer is known.
    fn remember(&self, seq: Seq, entry: &T, at: Moment) {
        let mut known = self.shared.known.lock();
        if known.as_ref().is_none_or(|old| old.seq <= seq) {
            *known = Some(Known {
                seq,
                entry: entry.clone(),
                at,
            });
        }
    }

    /// The remembered head, unless it is so old that what followed it may have been truncated.
    fn remembered(&self) -> Option<(Seq, T)> {
        let now = self.now();
        let mut known = self.shared.known.lock();
        if known
            .as_ref()
            .is_some_and(|k| now.since(k.at) > self.shared.grace / 2)
        {
            *known = None;
        }
        known.as_ref().map(|k| (k.seq, k.entry.clone()))
    }

    /// When `seq` was last known to be the head.
    fn head_read_at(&self, seq: Seq) -> Option<Moment> {
        let known = self.shared.known.lock();
        known.as_ref().filter(|k| k.seq == seq).map(|k| k.at)
    }
}
