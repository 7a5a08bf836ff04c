//! Deleting old entries.
//!
//! Nobody may append into, or read across, the hole that deletion leaves. So an entry goes only
//! when its successor is older than the grace by the store's own time: whoever still takes it for
//! the head read that longer ago than a head may be remembered. A floor object announces the hole
//! before it is made. Entries are deleted one after the other in ascending order, and neither the
//! first (an append to an "empty" log must always collide) nor the last ever is.

use std::time::Duration;

use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore as _, ObjectStoreExt as _, PutMode};

use super::key::Name;
use super::{Entry, Error, Log, Seq};

/// What a truncation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated {
    /// The first entry that is certainly kept; everything below may be gone.
    pub floor: Seq,
    /// Entries deleted by this call.
    pub deleted: u64,
}

impl<T: Entry> Log<T> {
    /// Deletes what is below `keep_from` and old enough. Can be repeated and run by several
    /// processes at the same time; one that is interrupted is carried on by the next.
    pub async fn truncate(&self, keep_from: Seq) -> Result<Truncated, Error> {
        let now = self.store_time().await?;
        let listed = self.list(None).await?;
        let mut entries = Vec::new();
        let mut floors = Vec::new();
        for (name, meta) in listed {
            match name {
                Name::Entry(seq) => entries.push((seq, meta)),
                Name::Floor(seq) => floors.push((seq, meta.location)),
                Name::Other => {}
            }
        }
        entries.sort_unstable_by_key(|(seq, _)| *seq);
        floors.sort_unstable_by_key(|(seq, _)| *seq);
        let announced = floors.last().map_or(Seq::FIRST, |(seq, _)| *seq);
        let floor = self.new_floor(&entries, keep_from, &now).max(announced);
        if floor > announced {
            self.announce(floor).await?;
        }
        let mut deleted = 0;
        for (seq, meta) in &entries {
            if *seq > Seq::FIRST && *seq < floor {
                self.delete(&meta.location).await?;
                deleted += 1;
            }
        }
        for (_, location) in floors.iter().filter(|(seq, _)| *seq < floor) {
            self.delete(location).await?;
        }
        Ok(Truncated { floor, deleted })
    }

    /// The highest position such that every entry below has a successor that is old enough.
    fn new_floor(&self, entries: &[(Seq, ObjectMeta)], keep_from: Seq, now: &ObjectMeta) -> Seq {
        let grace = self.shared.grace;
        let mut floor = Seq::FIRST;
        for (seq, meta) in entries {
            let age = now.last_modified.signed_duration_since(meta.last_modified);
            let age = age.to_std().unwrap_or(Duration::ZERO);
            if *seq > keep_from || (*seq > Seq::FIRST && age <= grace) {
                break;
            }
            floor = *seq;
        }
        floor
    }

    /// What the store's clock says, told by an object that was just written.
    async fn store_time(&self) -> Result<ObjectMeta, Error> {
        let path = self.shared.keys.prefix().clone().join("time");
        self.bounded(&path, self.shared.store.put(&path, "".into()))
            .await?;
        self.bounded(&path, self.shared.store.head(&path)).await
    }

    pub(super) async fn announce(&self, floor: Seq) -> Result<(), Error> {
        let path = self.shared.keys.floor(floor);
        let put = self
            .shared
            .store
            .put_opts(&path, "".into(), PutMode::Create.into());
        match self.bounded(&path, put).await {
            Err(Error::Store {
                source: object_store::Error::AlreadyExists { .. },
                ..
            }) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        }
    }

    async fn delete(&self, path: &Path) -> Result<(), Error> {
        match self.bounded(path, self.shared.store.delete(path)).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}
