//! An immutable version of one table, addressed by row ordinals.

use std::sync::Arc;

use arrow_array::RecordBatch;
use lance::Dataset;
use lance::dataset::fragment::FileFragment;
use lance_table::format::{DataFile, Fragment};
use rustc_hash::FxHashMap;

use super::column::{Column, read_fragments};
use super::id_index::IdIndex;
use super::live::LiveSet;
use super::part_cache::Part;
use super::snapshot_cache::{PartKey, PartName, SnapshotCache, TableKey};
use super::text_index::TextIndex;
use crate::error::{Error, Result};
use crate::table::blob;

/// Versions behind a snapshot whose parts it can be derived from.
const MAX_ANCESTORS: usize = 16;
/// Building over more rows than this leaves the async threads.
const BLOCKING_ROWS: usize = 20_000;

/// One version of a table. Its ordinals are those of the version it was derived from, with new
/// rows at the end; deleted rows leave gaps.
pub(crate) struct TableSnapshot {
    key: TableKey,
    dataset: Arc<Dataset>,
    chunks: Vec<Chunk>,
    live: Arc<LiveSet>,
    /// Versions with the same ordinals as far as they go, and how far; newest first.
    ancestors: Vec<(TableKey, usize)>,
    /// The highest field id that this version or one of its ancestors has.
    fields_seen: i32,
    cache: SnapshotCache,
}

/// The rows of one fragment.
#[derive(Clone)]
struct Chunk {
    start: u32,
    rows: u32,
    fragment: Arc<Fragment>,
    /// The fragment is not in this version any more: all its rows are dead.
    gone: bool,
}

impl TableSnapshot {
    pub(super) async fn from_scratch(
        dataset: &Arc<Dataset>,
        key: &TableKey,
        cache: &SnapshotCache,
    ) -> Result<Self> {
        let empty = Self {
            key: key.clone(),
            dataset: dataset.clone(),
            chunks: Vec::new(),
            live: Arc::new(LiveSet::new(0)),
            ancestors: Vec::new(),
            fields_seen: -1,
            cache: cache.clone(),
        };
        let snapshot = empty.derived(dataset, key).await?;
        let mut snapshot = snapshot.ok_or_else(|| Error::internal("a snapshot has no base"))?;
        snapshot.ancestors.clear();
        Ok(snapshot)
    }

    pub(crate) fn key(&self) -> &TableKey {
        &self.key
    }

    /// Size of the ordinal space, dead rows included.
    pub(crate) fn rows(&self) -> usize {
        self.live.rows()
    }

    pub(crate) fn live_rows(&self) -> usize {
        self.live.live_rows()
    }

    /// Live ordinals, ascending.
    pub(crate) fn live(&self) -> impl Iterator<Item = u32> + '_ {
        self.live.iter()
    }

    pub(crate) fn live_set(&self) -> &Arc<LiveSet> {
        &self.live
    }

    /// Lance's address of a row: the fragment's id in the upper half, the offset in the lower.
    pub(crate) fn row_address(&self, ordinal: u32) -> u64 {
        let at = self.chunks.partition_point(|chunk| chunk.start <= ordinal);
        let chunk = &self.chunks[at - 1];
        (chunk.fragment.id << 32) | u64::from(ordinal - chunk.start)
    }

    pub(crate) async fn ordinal_of(&self, id: &str) -> Result<Option<u32>> {
        Ok(self.id_index().await?.ordinal_of(id))
    }

    /// The values of a column: `id`, `src`, `dst` or a property's name.
    pub(crate) async fn column(&self, name: &str) -> Result<Arc<Column>> {
        let key = self.part(PartName::Column(name.into()));
        if let Some(column) = self.cache.shared.parts.peek::<Column>(&key) {
            return Ok(column);
        }
        let field = self.dataset.schema().field(name).ok_or_else(|| {
            Error::corrupt(format!("table {} has no column {name}", self.key.path))
        })?;
        let build = Box::pin(async {
            let base = self
                .ancestor_part::<Column>(|| PartName::Column(name.into()))
                .filter(|base| base.field_id() == field.id);
            let data_type = || blob::cell_type(field);
            let base = base.unwrap_or_else(|| Arc::new(Column::empty(data_type(), field.id)));
            let fragments = self.fragments_from(base.rows());
            let arrays = read_fragments(&self.dataset, fragments, name).await?;
            Ok(Arc::new(base.append(self.with_gaps(
                base.rows(),
                arrays,
                base.data_type(),
            ))?))
        });
        self.cache.shared.parts.get_or_build(key, build).await
    }

    pub(crate) async fn id_index(&self) -> Result<Arc<IdIndex>> {
        let key = self.part(PartName::Ids);
        if let Some(index) = self.cache.shared.parts.peek::<IdIndex>(&key) {
            return Ok(index);
        }
        let build = Box::pin(async {
            let ids = self.column("id").await?;
            let base = self.ancestor_part::<IdIndex>(|| PartName::Ids);
            let live = self.live.clone();
            blocking(self.rows(), move || {
                IdIndex::build(ids, live, base.as_deref())
            })
            .await
        });
        self.cache.shared.parts.get_or_build(key, build).await
    }

    /// The tokens of a text column.
    pub(crate) async fn text_index(&self, name: &str) -> Result<Arc<TextIndex>> {
        let key = self.part(PartName::Text(name.into()));
        if let Some(index) = self.cache.shared.parts.peek::<TextIndex>(&key) {
            return Ok(index);
        }
        let build = Box::pin(async {
            let column = self.column(name).await?;
            let base = self
                .ancestor_part::<TextIndex>(|| PartName::Text(name.into()))
                .filter(|base| base.field_id() == column.field_id());
            let live = self.live.clone();
            blocking(self.rows(), move || {
                TextIndex::build(&column, live, base.as_deref())
            })
            .await
        });
        self.cache.shared.parts.get_or_build(key, build).await
    }

    /// Takes over the values of rows that were just added as one fragment, for those columns whose
    /// former rows are at hand: saves reading them back.
    pub(crate) async fn append_known(&self, added: &RecordBatch) -> Result<()> {
        for (field, array) in added.schema().fields().iter().zip(added.columns()) {
            let name = || PartName::Column(field.name().as_str().into());
            let Some(base) = self.ancestor_part::<Column>(name) else {
                continue;
            };
            let stored = self.dataset.schema().field(field.name());
            if base.rows() + array.len() != self.rows()
                || base.data_type() != array.data_type()
                || stored.is_none_or(|stored| stored.id != base.field_id())
            {
                continue;
            }
            let build = Box::pin(async { Ok(Arc::new(base.append(vec![array.clone()])?)) });
            let parts = &self.cache.shared.parts;
            parts.get_or_build(self.part(name()), build).await?;
        }
        Ok(())
    }

    /// Whether this is that version or has its ordinals.
    pub(super) fn extends(&self, other: &TableKey) -> bool {
        self.key == *other || self.ancestors.iter().any(|(key, _)| key == other)
    }

    fn part(&self, name: PartName) -> PartKey {
        PartKey {
            table: self.key.clone(),
            name,
        }
    }

    /// The part of the nearest ancestor that still has it.
    fn ancestor_part<T: Part>(&self, name: impl Fn() -> PartName) -> Option<Arc<T>> {
        self.ancestors.iter().find_map(|(table, _)| {
            self.cache.shared.parts.peek(&PartKey {
                table: table.clone(),
                name: name(),
            })
        })
    }

    /// Fragments of the rows from this ordinal on, without those that are gone.
    fn fragments_from(&self, start: usize) -> Vec<FileFragment> {
        self.chunks
            .iter()
            .filter(|chunk| chunk.start as usize >= start && !chunk.gone)
            .map(|chunk| FileFragment::new(self.dataset.clone(), (*chunk.fragment).clone()))
            .collect()
    }

    /// Puts nulls where the chunks from this ordinal on have no fragment any more.
    fn with_gaps(
        &self,
        start: usize,
        arrays: Vec<arrow_array::ArrayRef>,
        data_type: &arrow_schema::DataType,
    ) -> Vec<arrow_array::ArrayRef> {
        let mut arrays = arrays.into_iter();
        let chunks = self.chunks.iter().filter(|c| c.start as usize >= start);
        chunks
            .filter_map(|chunk| match chunk.gone {
                true => Some(arrow_array::new_null_array(data_type, chunk.rows as usize)),
                false => arrays.next(),
            })
            .collect()
    }

    /// Another version of the table with the ordinals of this one; `None` if rows came back to life
    /// (the versions are on diverged branches) or most rows have gone (compaction).
    pub(super) async fn derived(
        &self,
        dataset: &Arc<Dataset>,
        key: &TableKey,
    ) -> Result<Option<Self>> {
        let mut unseen: FxHashMap<u64, &Fragment> =
            dataset.fragments().iter().map(|f| (f.id, f)).collect();
        let mut chunks = Vec::with_capacity(self.chunks.len() + 1);
        let mut live = (*self.live).clone();
        for chunk in &self.chunks {
            let same = unseen
                .get(&chunk.fragment.id)
                .copied()
                .filter(|f| !chunk.gone && same_data(&chunk.fragment, f, self.fields_seen));
            let Some(fragment) = same else {
                (chunk.start..chunk.start + chunk.rows).for_each(|o| live.kill(o));
                chunks.push(Chunk {
                    gone: true,
                    ..chunk.clone()
                });
                continue;
            };
            unseen.remove(&fragment.id);
            if fragment.deletion_file == chunk.fragment.deletion_file {
                chunks.push(Chunk {
                    fragment: Arc::new(fragment.clone()),
                    ..chunk.clone()
                });
                continue;
            }
            let deleted = deletions(dataset, fragment).await?;
            let came_back = (0..chunk.rows).any(|offset| {
                !live.contains(chunk.start + offset) && deleted.binary_search(&offset).is_err()
            });
            if came_back {
                return Ok(None);
            }
            deleted
                .iter()
                .for_each(|offset| live.kill(chunk.start + offset));
            chunks.push(Chunk {
                fragment: Arc::new(fragment.clone()),
                ..chunk.clone()
            });
        }
        if self.rows() > 0 && live.live_rows() * 2 < self.rows() && self.rows() > 1024 {
            return Ok(None);
        }
        for fragment in dataset.fragments().iter() {
            if !unseen.contains_key(&fragment.id) {
                continue;
            }
            let start = live.rows();
            let rows = physical_rows(dataset, fragment).await?;
            let end = u32::try_from(start + rows).map_err(|_| {
                Error::new(
                    crate::error::ErrorKind::ResourceLimit,
                    format!("table {} has more than 4294967295 rows", key.path),
                )
            })?;
            live = live.extended(end as usize);
            for offset in deletions(dataset, fragment).await? {
                live.kill(start as u32 + offset);
            }
            chunks.push(Chunk {
                start: start as u32,
                rows: rows as u32,
                fragment: Arc::new(fragment.clone()),
                gone: false,
            });
        }
        let mut ancestors = vec![(self.key.clone(), self.rows())];
        ancestors.extend(self.ancestors.iter().take(MAX_ANCESTORS - 1).cloned());
        Ok(Some(Self {
            key: key.clone(),
            dataset: dataset.clone(),
            chunks,
            live: Arc::new(live),
            ancestors,
            fields_seen: self.fields_seen.max(dataset.manifest().max_field_id()),
            cache: self.cache.clone(),
        }))
    }
}

impl Part for TableSnapshot {
    fn bytes(&self) -> usize {
        self.live.bytes() + self.chunks.len() * 300 + 500
    }
}

/// Deletions apart, the newer fragment has the same rows: the same files, and beside them at most
/// files of columns that no version behind the older one has seen. (A field id that was dropped may
/// come back with other values, so those do not count as the same.)
fn same_data(older: &Fragment, newer: &Fragment, fields_seen: i32) -> bool {
    let is_in = |file: &DataFile, files: &[DataFile]| {
        files
            .iter()
            .any(|other| other.path == file.path && other.base_id == file.base_id)
    };
    let is_new = |file: &DataFile| file.fields.iter().all(|field| *field > fields_seen);
    older.physical_rows == newer.physical_rows
        && older.overlays == newer.overlays
        && older.files.iter().all(|file| is_in(file, &newer.files))
        && newer
            .files
            .iter()
            .all(|file| is_in(file, &older.files) || is_new(file))
}

async fn physical_rows(dataset: &Arc<Dataset>, fragment: &Fragment) -> Result<usize> {
    match fragment.physical_rows {
        Some(rows) => Ok(rows),
        None => {
            let fragment = FileFragment::new(dataset.clone(), fragment.clone());
            Ok(fragment.physical_rows().await?)
        }
    }
}

/// Deleted offsets, ascending.
async fn deletions(dataset: &Arc<Dataset>, fragment: &Fragment) -> Result<Vec<u32>> {
    if fragment.deletion_file.is_none() {
        return Ok(Vec::new());
    }
    let fragment = FileFragment::new(dataset.clone(), fragment.clone());
    let vector = fragment.get_deletion_vector().await?;
    Ok(vector.map_or_else(Vec::new, |v| v.to_sorted_iter().collect()))
}

/// Runs a build over many rows where it does not hold up other queries.
pub(super) async fn blocking<T: Send + 'static>(
    rows: usize,
    build: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<Arc<T>> {
    if rows < BLOCKING_ROWS {
        return build().map(Arc::new);
    }
    let built = tokio::task::spawn_blocking(build).await;
    let built =
        built.map_err(|e| Error::internal("building a cached part failed").with_source(e))?;
    built.map(Arc::new)
}
