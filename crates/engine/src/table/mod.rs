//! Tables: one Lance dataset per node or edge type, changed by detached commits only, so that a
//! version belongs to nobody but the commit that names it (storage protocol, section 3).

pub(crate) mod blob;
pub(crate) mod change;
mod create;
mod layout;
mod maintain;
mod migrate;
mod outline;
mod references;

use std::collections::HashMap;
use std::sync::Arc;

use lance::Dataset;
use lance::dataset::ReadParams;
use lance::dataset::builder::DatasetBuilder;
use lance::dataset::transaction::{Operation, Transaction};
use lance::dataset::write::CommitBuilder;
use lance::session::Session;
use object_store::path::Path;
use parking_lot::Mutex;

pub(crate) use self::change::{Appended, FragmentWriter, StagedFragments, TableChange};
pub(crate) use self::layout::{arrow_field, arrow_schema};
pub(crate) use self::maintain::{Outlook, Policy, TableWork};
pub(crate) use self::migrate::{Fills, TypeChange, or_value};
pub(crate) use self::references::{References, Seen, references, references_beside};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::{GraphRoot, TableRef};
use crate::store::Store;

/// How many opened versions are kept at hand.
const OPEN_DATASETS: usize = 1024;

/// The tables of one graph. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tables {
    shared: Arc<Shared>,
    outline: bool,
}

struct Shared {
    store: Store,
    session: Arc<Session>,
    root: String,
    open: Mutex<HashMap<(String, u64), Arc<Dataset>>>,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tables").field(&self.shared.root).finish()
    }
}

impl Tables {
    pub(crate) fn new(store: Store, session: Arc<Session>, root: &GraphRoot) -> Self {
        Self {
            shared: Arc::new(Shared {
                store,
                session,
                root: root.path(),
                open: Mutex::default(),
            }),
            outline: false,
        }
    }

    /// The table's directory below the storage root.
    pub(crate) fn relative_path(&self, table_path: &str) -> String {
        format!("{}/{table_path}", self.shared.root)
    }

    /// Opens a version; two requests cold, none when it is at hand.
    pub(crate) async fn open(&self, table: &TableRef) -> Result<Arc<Dataset>> {
        let key = (table.path.clone(), table.version);
        if let Some(dataset) = self.shared.open.lock().get(&key) {
            return Ok(dataset.clone());
        }
        let dataset = Arc::new(self.load(table).await?);
        self.keep(&table.path, dataset.clone());
        Ok(dataset)
    }

    /// Opens a version that nobody will ask for again soon.
    pub(crate) async fn load(&self, table: &TableRef) -> Result<Dataset> {
        DatasetBuilder::from_uri(self.uri(&table.path))
            .with_read_params(ReadParams {
                store_options: Some(self.shared.store.lance_params().clone()),
                ..ReadParams::default()
            })
            .with_version(table.version)
            .with_session(self.shared.session.clone())
            .load()
            .await
            .map_err(|error| self.unreadable(table, error))
    }

    fn uri(&self, table_path: &str) -> String {
        self.shared.store.uri(&self.relative_path(table_path))
    }

    fn keep(&self, path: &str, dataset: Arc<Dataset>) {
        let mut open = self.shared.open.lock();
        if open.len() >= OPEN_DATASETS {
            open.clear();
        }
        open.insert((path.to_owned(), dataset.version_id()), dataset);
    }

    /// The only place that commits to Lance: always detached, always on the version that the
    /// operation was made against, because detached commits skip every conflict check.
    pub(crate) async fn commit(
        &self,
        base: &Arc<Dataset>,
        operation: Operation,
    ) -> Result<Arc<Dataset>> {
        let transaction = Transaction::new(base.version_id(), operation, None);
        let committed = CommitBuilder::new(base.clone())
            .with_detached(true)
            .with_skip_auto_cleanup(true)
            .execute(transaction)
            .await?;
        Ok(Arc::new(committed))
    }

    fn unreadable(&self, table: &TableRef, error: lance::Error) -> Error {
        let missing = matches!(
            error,
            lance::Error::NotFound { .. } | lance::Error::DatasetNotFound { .. }
        );
        let (kind, what) = if missing {
            (ErrorKind::Corrupt, "is missing")
        } else {
            (ErrorKind::Unavailable, "cannot be opened")
        };
        Error::new(
            kind,
            format!(
                "table {} at version {} {what}",
                self.relative_path(&table.path),
                table.version
            ),
        )
        .with_source(error)
    }

    /// Flushes what a commit made: its manifest and transaction, and the files that `base` did not
    /// have.
    async fn flush(&self, base: Option<&Dataset>, made: &Dataset) -> Result<()> {
        if !self.shared.store.flushes() {
            return Ok(());
        }
        let mut files = vec![made.manifest_location().path.clone()];
        if let Some(name) = &made.manifest().transaction_file {
            files.push(made.transactions_dir().join(name.as_str()));
        }
        let known: HashMap<u64, _> = base
            .map(|base| base.iter_fragments().map(|f| (f.id, f)).collect())
            .unwrap_or_default();
        for fragment in made.iter_fragments() {
            let before = known.get(&fragment.id);
            for file in &fragment.files {
                if before.is_none_or(|before| before.files.iter().all(|f| f.path != file.path)) {
                    files.push(child(&made.data_dir(), &file.path));
                }
            }
            if let Some(deletion) = &fragment.deletion_file
                && before.is_none_or(|before| before.deletion_file.as_ref() != Some(deletion))
            {
                let root = self.shared.store.path(&self.relative_dataset_path(made));
                files.push(lance_table::io::deletion::deletion_file_path(
                    &root,
                    fragment.id,
                    deletion,
                ));
            }
        }
        self.shared.store.flush(files).await
    }

    /// The dataset's directory below the storage root, from its handle.
    fn relative_dataset_path(&self, dataset: &Dataset) -> String {
        let root = format!("{}/", self.shared.store.root_uri());
        dataset
            .uri()
            .strip_prefix(&root)
            .unwrap_or(dataset.uri())
            .to_owned()
    }
}

fn child(directory: &Path, relative: &str) -> Path {
    directory
        .parts()
        .chain(Path::from(relative).parts())
        .collect()
}

/// Live rows by the manifest alone.
pub(crate) fn live_rows(dataset: &Dataset) -> Result<u64> {
    dataset
        .iter_fragments()
        .map(|fragment| {
            fragment.num_rows().map(|rows| rows as u64).ok_or_else(|| {
                Error::corrupt(format!(
                    "fragment {} of {} does not say how many rows it has",
                    fragment.id,
                    dataset.uri()
                ))
            })
        })
        .sum()
}
