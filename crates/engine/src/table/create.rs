//! Creating a table: empty, with its declared indexes, so that every later row finds them.

use std::sync::Arc;

use arrow_array::RecordBatch;
use lance::Dataset;
use lance::dataset::transaction::Operation;
use lance::dataset::write::{InsertBuilder, WriteMode, WriteParams};
use lance::index::CreateIndexBuilder;
use lance_index::IndexType;
use lance_index::scalar::{InvertedIndexParams, ScalarIndexParams};
use lance_table::format::IndexMetadata;
use omnigraph_lang::schema::EntityType;

use super::layout::{self, Index, Kind};
use super::{Tables, arrow_schema, blob, live_rows};
use crate::error::Result;
use crate::graph::TableRef;

impl Tables {
    /// Creates the table of a type under a path that was never used.
    pub(crate) async fn create(&self, entity: EntityType<'_>) -> Result<TableRef> {
        if self.is_outline() {
            return self.create_outline().await;
        }
        let path = format!("tables/{}.lance", self.shared.store.clock().fresh_id());
        let schema = blob::stored_schema(&arrow_schema(entity));
        let params = WriteParams {
            mode: WriteMode::Create,
            enable_stable_row_ids: true,
            enable_v2_manifest_paths: true,
            store_params: Some(self.shared.store.lance_params().clone()),
            session: Some(self.shared.session.clone()),
            auto_cleanup: None,
            ..WriteParams::default()
        };
        let uri = self.uri(&path);
        let empty = RecordBatch::new_empty(schema);
        let created = InsertBuilder::new(uri.as_str())
            .with_params(&params)
            .execute(vec![empty])
            .await?;
        let indexed = self
            .add_indexes(&Arc::new(created), &layout::indexes(entity))
            .await?;
        self.flush_tree(&path).await?;
        self.keep(&path, indexed.clone());
        Ok(TableRef {
            path,
            version: indexed.version_id(),
            rows: live_rows(&indexed)?,
        })
    }

    /// Builds indexes over everything that the table holds, in one detached commit.
    pub(super) async fn add_indexes(
        &self,
        base: &Arc<Dataset>,
        indexes: &[Index],
    ) -> Result<Arc<Dataset>> {
        let mut dataset = Dataset::clone(base);
        let mut built = Vec::with_capacity(indexes.len());
        for index in indexes {
            built.push(build_index(&mut dataset, index, index.name()).await?);
        }
        let operation = Operation::CreateIndex {
            new_indices: built,
            removed_indices: Vec::new(),
        };
        self.commit(base, operation).await
    }

    /// Flushes everything below a table's directory: used where a commit made many files.
    pub(super) async fn flush_tree(&self, path: &str) -> Result<()> {
        use futures::TryStreamExt as _;
        use object_store::ObjectStore as _;

        if !self.shared.store.flushes() {
            return Ok(());
        }
        let prefix = self.shared.store.path(&self.relative_path(path));
        let files: Vec<_> = self
            .shared
            .store
            .object_store()
            .list(Some(&prefix))
            .map_ok(|object| object.location)
            .try_collect()
            .await?;
        self.shared.store.flush(files).await
    }
}

/// Builds one index over everything that a table holds; nothing names it yet.
pub(super) async fn build_index(
    dataset: &mut Dataset,
    index: &Index,
    name: String,
) -> Result<IndexMetadata> {
    let columns = [index.column.as_str()];
    let built = match index.kind {
        Kind::Ordered => {
            let params = ScalarIndexParams::default();
            CreateIndexBuilder::new(dataset, &columns, IndexType::BTree, &params)
                .name(name)
                .execute_uncommitted()
                .await?
        }
        Kind::FullText => {
            let params = InvertedIndexParams::default();
            CreateIndexBuilder::new(dataset, &columns, IndexType::Inverted, &params)
                .name(name)
                .execute_uncommitted()
                .await?
        }
    };
    Ok(built)
}
