//! What a write reads and where it stages: the tables of the commit that it is run on.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use futures::FutureExt;
use futures::future::{BoxFuture, try_join_all};
use lance::Dataset;
use omnigraph_lang::schema::{Catalog, TypeId};

use crate::error::Result;
use crate::exec::{SnapshotCache, TableKey, TableSnapshot, TableSource};
use crate::external::ExternalBlobs;
use crate::graph::{Graph, Snapshot, TableRef};
use crate::table::TableChange;

/// Rows that were added to tables in one piece, by type.
pub(crate) type AddedBatches = BTreeMap<TypeId, RecordBatch>;

/// New versions of tables, by type.
pub(crate) type StagedTables = BTreeMap<TypeId, (TableRef, Arc<Dataset>)>;

/// One commit, opened for a write.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) snapshot: Snapshot,
    pub(crate) external: Arc<ExternalBlobs>,
    cache: SnapshotCache,
}

impl View {
    pub(crate) fn new(graph: &Graph, snapshot: &Snapshot) -> Self {
        Self {
            snapshot: snapshot.clone(),
            external: Arc::clone(graph.external()),
            cache: graph.snapshots().clone(),
        }
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.snapshot.schema.catalog
    }

    pub(crate) async fn table(&self, id: TypeId) -> Result<Arc<TableSnapshot>> {
        let (key, dataset) = self.snapshot.dataset(id).await?;
        self.cache.get(&dataset, &key).boxed().await
    }

    /// Makes one new version of each table, in parallel.
    pub(crate) async fn stage(
        &self,
        changes: BTreeMap<TypeId, TableChange>,
    ) -> Result<StagedTables> {
        let staged = changes.into_iter().map(|(id, change)| async move {
            let table = self.snapshot.table(id)?;
            let base = self.snapshot.open(id).await?;
            let made = self.apply(&base, table, change).await?;
            Ok::<_, crate::error::Error>((id, made))
        });
        Ok(try_join_all(staged).await?.into_iter().collect())
    }

    /// Applies a change to a version. Boxed, because the futures of table operations are deep.
    pub(crate) fn apply<'a>(
        &'a self,
        base: &'a Arc<Dataset>,
        table: &'a TableRef,
        change: TableChange,
    ) -> BoxFuture<'a, Result<(TableRef, Arc<Dataset>)>> {
        self.snapshot.tables.apply(base, table, change).boxed()
    }

    /// Tells the cache of the versions that a landed write made, so that the next look-up builds
    /// on what is known of the old ones; `added` are rows that need not be read back. A failure
    /// loses time only.
    pub(crate) async fn remember(&self, staged: &StagedTables, added: &AddedBatches) {
        for (id, (table, dataset)) in staged {
            if let Err(error) = self.derive(*id, table, dataset, added.get(id)).await {
                tracing::debug!(%error, "a new table version was not derived from the old one");
            }
        }
    }

    async fn derive(
        &self,
        id: TypeId,
        table: &TableRef,
        dataset: &Arc<Dataset>,
        added: Option<&RecordBatch>,
    ) -> Result<()> {
        let (old, new) = (self.key(self.snapshot.table(id)?), self.key(table));
        let derived = self.cache.derive(&old, dataset, &new).boxed().await?;
        match added {
            Some(batch) => derived.append_known(batch).await,
            None => Ok(()),
        }
    }

    fn key(&self, table: &TableRef) -> TableKey {
        let path = self.snapshot.tables.relative_path(&table.path);
        TableKey::new(&path, table.version)
    }
}
