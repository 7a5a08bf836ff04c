//! Changing the rows of a table: one detached commit of added fragments and deletion vectors.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use lance::Dataset;
use lance::dataset::transaction::Operation;
use lance::dataset::write::{InsertBuilder, WriteMode, WriteParams};
use lance_table::format::Fragment;
use object_store::ObjectStoreExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Tables, blob, child, live_rows};
use crate::error::{Error, Result};
use crate::graph::TableRef;

/// Batches that wait for the writer of fragments.
const WAITING_BATCHES: usize = 4;

/// What becomes of a table's rows.
pub(crate) struct TableChange {
    /// Rows to add.
    pub(crate) append: Appended,
    /// Addresses, in the base version, of rows that go.
    pub(crate) delete: Vec<u64>,
    /// All rows of the base version go.
    pub(crate) truncate: bool,
}

/// Rows to add.
pub(crate) enum Appended {
    /// None.
    None,
    /// These, which fit in memory.
    Batches(Vec<RecordBatch>),
    /// Fragments that were written as the rows came.
    Fragments(StagedFragments),
}

/// Written fragments that no version names yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct StagedFragments {
    fragments: Vec<Fragment>,
    /// Whether the files need not be flushed to disk any more.
    flushed: bool,
}

impl StagedFragments {
    /// Adds fragments whose rows come after these.
    pub(crate) fn extend(&mut self, others: Self) {
        self.flushed = others.flushed && (self.flushed || self.fragments.is_empty());
        self.fragments.extend(others.fragments);
    }

    fn files(&self) -> impl Iterator<Item = &str> {
        let files = self.fragments.iter().flat_map(|fragment| &fragment.files);
        files.map(|file| &*file.path)
    }
}

/// Writes fragments while rows come. Dropping it leaves files that nothing names.
pub(crate) struct FragmentWriter {
    tables: Tables,
    base: Arc<Dataset>,
    sender: mpsc::Sender<RecordBatch>,
    task: JoinHandle<Result<Vec<Fragment>>>,
}

impl FragmentWriter {
    /// Hands over a batch; waits while the writer is behind.
    pub(crate) async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        if self.sender.send(batch).await.is_ok() {
            return Ok(());
        }
        match (&mut self.task).await {
            Ok(Err(error)) => Err(error),
            Ok(Ok(_)) | Err(_) => Err(Error::internal("the writer of fragments stopped early")),
        }
    }

    /// Ends the input and waits for the last file.
    pub(crate) async fn finish(self) -> Result<StagedFragments> {
        drop(self.sender);
        let fragments = self.task.await.map_err(|error| {
            Error::internal("the writer of fragments died").with_source(error)
        })??;
        self.tables.flushed(&self.base, fragments).await
    }
}

impl Tables {
    /// Starts to write fragments with the schema of `base`.
    pub(crate) fn fragment_writer(&self, base: &Arc<Dataset>, schema: SchemaRef) -> FragmentWriter {
        let (sender, receiver) = mpsc::channel::<RecordBatch>(WAITING_BATCHES);
        let (tables, of) = (self.clone(), base.clone());
        let base = base.clone();
        let task = tokio::spawn(async move {
            let mut receiver = receiver;
            let schema = blob::prepared_schema(&schema)?;
            let Some(first) = receiver.recv().await else {
                return Ok(Vec::new());
            };
            let batches = futures::stream::unfold(
                (Some(first), receiver),
                |(first, mut receiver)| async move {
                    let batch = match first {
                        Some(batch) => batch,
                        None => receiver.recv().await?,
                    };
                    Some((prepared(&batch), (None, receiver)))
                },
            );
            let stream: datafusion::physical_plan::SendableRecordBatchStream =
                Box::pin(RecordBatchStreamAdapter::new(schema, batches));
            let transaction = InsertBuilder::new(base)
                .with_params(&append_params())
                .execute_uncommitted_stream(stream)
                .await?;
            fragments_of(transaction.operation)
        });
        FragmentWriter {
            tables,
            base: of,
            sender,
            task,
        }
    }

    /// Writes rows ahead of the version that will name them.
    pub(crate) async fn write_ahead(
        &self,
        base: &Arc<Dataset>,
        rows: RecordBatch,
    ) -> Result<StagedFragments> {
        let fragments = self.write_batches(base, vec![rows]).await?;
        self.flushed(base, fragments).await
    }

    async fn flushed(&self, base: &Dataset, fragments: Vec<Fragment>) -> Result<StagedFragments> {
        let mut staged = StagedFragments {
            fragments,
            flushed: false,
        };
        if self.shared.store.flushes() {
            let directory = base.data_dir();
            let files = staged.files().map(|file| child(&directory, file)).collect();
            self.shared.store.flush(files).await?;
        }
        staged.flushed = true;
        Ok(staged)
    }

    /// Deletes fragments that no version will name. What cannot be deleted is garbage like any
    /// other.
    pub(crate) async fn discard(&self, table: &TableRef, staged: &StagedFragments) {
        let store = &self.shared.store;
        for file in staged.files() {
            let relative = format!("{}/data/{file}", self.relative_path(&table.path));
            if let Err(error) = store.object_store().delete(&store.path(&relative)).await {
                tracing::debug!(%error, file = relative, "a file of a refused load stays");
            }
        }
    }

    /// Applies a change to a version and returns the version that it makes.
    pub(crate) async fn apply(
        &self,
        base: &Arc<Dataset>,
        table: &TableRef,
        change: TableChange,
    ) -> Result<(TableRef, Arc<Dataset>)> {
        let mut on_disk = HashSet::new();
        let added = match change.append {
            Appended::None => Vec::new(),
            Appended::Fragments(staged) => {
                if staged.flushed {
                    on_disk = staged.files().map(str::to_owned).collect();
                }
                staged.fragments
            }
            Appended::Batches(batches) => self.write_batches(base, batches).await?,
        };
        let gone = if change.truncate {
            Gone {
                updated: Vec::new(),
                removed: base.iter_fragments().map(|fragment| fragment.id).collect(),
            }
        } else {
            mark_deleted(base, &change.delete).await?
        };
        let made = match operation(added, gone) {
            Some(operation) => self.commit(base, operation).await?,
            None => return Ok((table.clone(), base.clone())),
        };
        self.flush_but(Some(base), &made, &on_disk).await?;
        self.keep(&table.path, made.clone());
        let table = TableRef {
            path: table.path.clone(),
            version: made.version_id(),
            rows: live_rows(&made)?,
        };
        Ok((table, made))
    }

    async fn write_batches(
        &self,
        base: &Arc<Dataset>,
        batches: Vec<RecordBatch>,
    ) -> Result<Vec<Fragment>> {
        let batches: Vec<RecordBatch> = batches
            .into_iter()
            .filter(|batch| batch.num_rows() > 0)
            .map(|batch| blob::prepared_batch(&batch))
            .collect::<Result<_>>()?;
        if batches.is_empty() {
            return Ok(Vec::new());
        }
        let transaction = InsertBuilder::new(base.clone())
            .with_params(&append_params())
            .execute_uncommitted(batches)
            .await?;
        fragments_of(transaction.operation)
    }
}

fn prepared(batch: &RecordBatch) -> Result<RecordBatch, DataFusionError> {
    blob::prepared_batch(batch).map_err(|error| DataFusionError::External(Box::new(error)))
}

fn append_params() -> WriteParams {
    WriteParams {
        mode: WriteMode::Append,
        skip_auto_cleanup: true,
        // External references have passed the graph's own list.
        allow_external_blob_outside_bases: true,
        ..WriteParams::default()
    }
}

fn fragments_of(operation: Operation) -> Result<Vec<Fragment>> {
    match operation {
        Operation::Append { fragments } => Ok(fragments),
        other => Err(Error::internal(format!(
            "writing rows gave {other} instead of Append"
        ))),
    }
}

struct Gone {
    updated: Vec<Fragment>,
    removed: Vec<u64>,
}

/// Writes deletion vectors for rows, given by address.
async fn mark_deleted(base: &Arc<Dataset>, addresses: &[u64]) -> Result<Gone> {
    let mut by_fragment: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for address in addresses {
        let (fragment, offset) = split(*address);
        by_fragment.entry(fragment).or_default().push(offset);
    }
    let mut gone = Gone {
        updated: Vec::new(),
        removed: Vec::new(),
    };
    for (id, offsets) in by_fragment {
        let fragment = base.get_fragment(id as usize).ok_or_else(|| {
            Error::internal(format!(
                "rows of fragment {id} of {} are to go, but it is not there",
                base.uri()
            ))
        })?;
        match fragment.extend_deletions(offsets).await? {
            Some(updated) => gone.updated.push(updated.metadata().clone()),
            None => gone.removed.push(u64::from(id)),
        }
    }
    Ok(gone)
}

/// A row address is the fragment's id above the row's offset in it.
#[allow(clippy::cast_possible_truncation)]
fn split(address: u64) -> (u32, u32) {
    ((address >> 32) as u32, address as u32)
}

fn operation(added: Vec<Fragment>, gone: Gone) -> Option<Operation> {
    let deletes = !gone.updated.is_empty() || !gone.removed.is_empty();
    match (added.is_empty(), deletes) {
        (true, false) => None,
        (false, false) => Some(Operation::Append { fragments: added }),
        (true, true) => Some(Operation::Delete {
            updated_fragments: gone.updated,
            deleted_fragment_ids: gone.removed,
            predicate: "by row address".to_owned(),
        }),
        (false, true) => Some(Operation::Update {
            removed_fragment_ids: gone.removed,
            updated_fragments: gone.updated,
            new_fragments: added,
            fields_modified: Vec::new(),
            compacted_sstables: Vec::new(),
            fields_for_preserving_frag_bitmap: Vec::new(),
            // Naming a mode would say that the new fragments are the old rows under their old
            // ids, and full-text segments would count as covering what they do not have.
            update_mode: None,
            inserted_rows_filter: None,
            updated_fragment_offsets: None,
        }),
    }
}
