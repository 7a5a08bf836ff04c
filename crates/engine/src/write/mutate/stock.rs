//! What a mutation has uploaded: a later run of it that comes to the same rows uses the same files.

use std::collections::HashMap;
use std::time::Duration;

use arrow_array::RecordBatch;
use futures::FutureExt;
use futures::future::try_join_all;
use omnigraph_lang::schema::TypeId;

use super::run::Done;
use crate::error::{Error, Result};
use crate::store::Store;
use crate::table::StagedFragments;
use crate::write::blobs::{self, StoredBlobs};
use crate::write::view::View;

/// Files that no version names are kept for a day: what is half as old is not relied upon any more
/// (storage protocol, section 7).
const KEPT: Duration = Duration::from_secs(12 * 3600);

/// Uploaded rows and blobs.
pub(super) struct Stock {
    store: Store,
    since: Duration,
    pub(super) blobs: StoredBlobs,
    rows: HashMap<TypeId, Uploaded>,
}

/// The files of a type's rows.
struct Uploaded {
    table: String,
    schema: String,
    rows: RecordBatch,
    fragments: StagedFragments,
}

impl Stock {
    pub(super) fn new(store: &Store) -> Self {
        Self {
            since: store.clock().monotonic(),
            store: store.clone(),
            blobs: StoredBlobs::default(),
            rows: HashMap::new(),
        }
    }

    /// Forgets everything once it might be collected.
    pub(super) fn forget_old(&mut self) {
        let now = self.store.clock().monotonic();
        if now.saturating_sub(self.since) > KEPT {
            *self = Self::new(&self.store);
        }
    }

    /// Uploads what is not there yet: blobs first, then rows.
    pub(super) async fn upload(&mut self, view: &View, done: &Done) -> Result<()> {
        blobs::store(view, &done.blobs, &mut self.blobs).await?;
        let missing = done.batches.iter().filter(|(id, rows)| {
            let known = self.found(view, **id, rows);
            known.is_none()
        });
        let uploads = missing.map(|(id, rows)| async move {
            let table = view.snapshot.table(*id)?;
            let base = view.snapshot.open(*id).await?;
            let tables = &view.snapshot.tables;
            let fragments = tables.write_ahead(&base, rows.clone()).boxed().await?;
            let uploaded = Uploaded {
                table: table.path.clone(),
                schema: view.snapshot.commit.schema.clone(),
                rows: rows.clone(),
                fragments,
            };
            Ok::<_, Error>((*id, uploaded))
        });
        let uploaded = try_join_all(uploads).await?;
        self.rows.extend(uploaded);
        Ok(())
    }

    /// How much of a run is still to be uploaded.
    pub(super) fn missing_bytes(&self, view: &View, done: &Done) -> usize {
        let rows = done.batches.iter();
        rows.filter(|(id, rows)| self.found(view, **id, rows).is_none())
            .map(|(_, rows)| rows.get_array_memory_size())
            .sum()
    }

    /// The files of rows that were uploaded.
    pub(super) fn fragments(
        &self,
        view: &View,
        id: TypeId,
        rows: &RecordBatch,
    ) -> Result<StagedFragments> {
        self.found(view, id, rows)
            .cloned()
            .ok_or_else(|| Error::internal("rows were to be named before they were written"))
    }

    fn found(&self, view: &View, id: TypeId, rows: &RecordBatch) -> Option<&StagedFragments> {
        let table = view.snapshot.table(id).ok()?;
        let there = self.rows.get(&id)?;
        let same = there.table == table.path
            && there.schema == view.snapshot.commit.schema
            && there.rows == *rows;
        same.then_some(&there.fragments)
    }
}
