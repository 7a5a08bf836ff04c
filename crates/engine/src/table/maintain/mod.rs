//! Maintaining a table: fragments are merged, deletions materialised, indexes extended over the rows
//! that they lack. The rows stay what they are, with their stable ids.
//!
//! The work is done on one version, and put upon another as long as the fragments that it is about
//! are still the same there (storage protocol, section 7).

mod compact;
mod extend;
mod plan;
mod vector;

use std::collections::HashMap;
use std::sync::Arc;

use lance::Dataset;
use lance::dataset::transaction::{Operation, RewriteGroup};
use lance::index::DatasetIndexExt as _;
use lance_table::format::{Fragment, IndexMetadata};
use omnigraph_lang::schema::EntityType;

pub(crate) use self::extend::Pending;
pub(super) use self::extend::build_over;
use self::extend::{Facts, Segment};
pub(crate) use self::plan::Policy;
pub(super) use self::vector::Counted;
use self::vector::Vectors;
use super::{Tables, live_rows};
use crate::error::Result;
use crate::graph::TableRef;

/// What maintenance does, or would do, to a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outlook {
    /// Fragments that there are.
    pub(crate) fragments: u64,
    /// Fragments that go.
    pub(crate) removed: u64,
    /// Fragments that take their place; before the work is done, an estimate.
    pub(crate) added: u64,
    /// Indexes that get a new segment.
    pub(crate) extended: Vec<String>,
    /// Declared indexes that are not built.
    pub(crate) pending: Vec<Pending>,
}

impl Outlook {
    /// Whether there is anything to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.removed == 0 && self.extended.is_empty()
    }
}

/// Finished work that no commit names yet.
pub(crate) struct TableWork {
    /// The version that it was done on.
    pub(crate) base: TableRef,
    /// What it did.
    pub(crate) outlook: Outlook,
    groups: Vec<RewriteGroup>,
    /// Segments that would be cut in two by a rewrite, and go before it.
    cut: Vec<IndexMetadata>,
    segments: Vec<Segment>,
    /// The base with the groups rewritten.
    rewritten: Arc<Dataset>,
}

impl Tables {
    /// What a table needs. Reads its manifest and its list of indexes.
    pub(crate) async fn outlook(
        &self,
        table: &TableRef,
        entity: EntityType<'_>,
        policy: &Policy,
    ) -> Result<Outlook> {
        let dataset = self.open(table).await?;
        let indexes = dataset.load_indices().await?;
        let groups = compact::groups(&dataset, &indexes, policy);
        let after = compact::expected(&dataset, &groups);
        let remaining = compact::without_cut(&indexes, &groups);
        let vectors = Vectors::count(&dataset, entity, &self.shared.counted).await?;
        let vectors = vectors.after(&groups, compact::first_new_id(&dataset));
        let facts = Facts {
            dataset: &dataset,
            fragments: &after,
            indexes: &remaining,
            vectors: &vectors,
            entity,
            min_unindexed: extension(policy, &groups),
            policy,
        };
        let extended: Vec<String> = extend::wanted(&facts).into_iter().map(|w| w.name).collect();
        let built: Vec<&str> = extended.iter().map(String::as_str).collect();
        let pending = facts.pending(&built);
        Ok(Outlook {
            fragments: dataset.fragments().len() as u64,
            removed: groups.iter().map(|group| group.len() as u64).sum(),
            added: groups.len() as u64,
            pending,
            extended,
        })
    }

    /// Does the work on one version. Nothing names what it makes; `None` if nothing is to be done.
    pub(crate) async fn maintain(
        &self,
        table: &TableRef,
        entity: EntityType<'_>,
        policy: &Policy,
    ) -> Result<Option<TableWork>> {
        let base = self.open(table).await?;
        let indexes = base.load_indices().await?;
        let planned = compact::groups(&base, &indexes, policy);
        let groups = compact::rewrite(&base, &planned).await?;
        let cut = compact::cut(&indexes, &planned);
        let rewritten = self.put_groups(&base, &cut, &groups).await?;
        let indexes = rewritten.load_indices().await?;
        let vectors = Vectors::count(&rewritten, entity, &self.shared.counted).await?;
        let facts = Facts {
            dataset: &rewritten,
            fragments: rewritten.fragments(),
            indexes: &indexes,
            vectors: &vectors,
            entity,
            min_unindexed: extension(policy, &planned),
            policy,
        };
        let wanted = extend::wanted(&facts);
        let counted = &self.shared.counted;
        let segments = extend::build(&rewritten, &indexes, wanted, policy, counted).await?;
        if groups.is_empty() && segments.is_empty() {
            return Ok(None);
        }
        let outlook = Outlook {
            fragments: base.fragments().len() as u64,
            removed: groups.iter().map(|g| g.old_fragments.len() as u64).sum(),
            added: groups.iter().map(|g| g.new_fragments.len() as u64).sum(),
            extended: segments.iter().map(|s| s.built.name.clone()).collect(),
            pending: {
                let built: Vec<&str> = segments.iter().map(|s| &*s.built.name).collect();
                // What was trained was counted anew.
                let vectors = Vectors::count(&rewritten, entity, counted).await?;
                let facts = Facts {
                    vectors: &vectors,
                    ..facts
                };
                facts.pending(&built)
            },
        };
        Ok(Some(TableWork {
            base: table.clone(),
            outlook,
            groups,
            cut,
            segments,
            rewritten,
        }))
    }

    /// Puts finished work upon a version of the same table. `None` if what it is about has changed
    /// there, so that it has to be done anew.
    pub(crate) async fn put_work(
        &self,
        work: &TableWork,
        table: &TableRef,
    ) -> Result<Option<TableRef>> {
        if table.path != work.base.path {
            return Ok(None);
        }
        let base = self.open(table).await?;
        let rewritten = if table.version == work.base.version {
            work.rewritten.clone()
        } else if work.fits(&base).await? {
            self.put_groups(&base, &work.cut, &work.groups).await?
        } else {
            return Ok(None);
        };
        let made = if work.segments.is_empty() {
            rewritten
        } else {
            let replaced = work.segments.iter().flat_map(|s| &s.replaces);
            let operation = Operation::CreateIndex {
                new_indices: work.segments.iter().map(|s| s.built.clone()).collect(),
                removed_indices: replaced.cloned().collect(),
            };
            self.commit(&rewritten, operation).await?
        };
        self.flush(Some(&base), &made).await?;
        self.flush_segments(&made, &work.segments).await?;
        self.keep(&table.path, made.clone());
        Ok(Some(TableRef {
            path: table.path.clone(),
            version: made.version_id(),
            rows: live_rows(&made)?,
        }))
    }

    async fn put_groups(
        &self,
        base: &Arc<Dataset>,
        cut: &[IndexMetadata],
        groups: &[RewriteGroup],
    ) -> Result<Arc<Dataset>> {
        let mut dataset = base.clone();
        if !cut.is_empty() {
            let operation = Operation::CreateIndex {
                new_indices: Vec::new(),
                removed_indices: cut.to_vec(),
            };
            dataset = self.commit(&dataset, operation).await?;
        }
        if !groups.is_empty() {
            let operation = Operation::Rewrite {
                groups: groups.to_vec(),
                rewritten_indices: Vec::new(),
                frag_reuse_index: None,
            };
            dataset = self.commit(&dataset, operation).await?;
        }
        Ok(dataset)
    }

    async fn flush_segments(&self, made: &Dataset, segments: &[Segment]) -> Result<()> {
        if !self.shared.store.flushes() {
            return Ok(());
        }
        let mut files = Vec::new();
        for segment in segments {
            let directory = made.indices_dir().join(segment.built.uuid.to_string());
            for file in segment.built.files.iter().flatten() {
                files.push(super::child(&directory, &file.path));
            }
        }
        self.shared.store.flush(files).await
    }
}

impl TableWork {
    /// Whether everything that the work relies on is the same in another version: the rewritten
    /// fragments with their deletions, the data that the new segments cover, the segments that go,
    /// and room for the ids of the new fragments.
    async fn fits(&self, dataset: &Dataset) -> Result<bool> {
        let there: HashMap<u64, &Fragment> =
            dataset.fragments().iter().map(|f| (f.id, f)).collect();
        let mut old = self.groups.iter().flat_map(|group| &group.old_fragments);
        if !old.all(|fragment| there.get(&fragment.id).is_some_and(|f| same(f, fragment))) {
            return Ok(false);
        }
        let new: HashMap<u64, &Fragment> = self
            .groups
            .iter()
            .flat_map(|group| &group.new_fragments)
            .map(|fragment| (fragment.id, fragment))
            .collect();
        let highest = dataset.manifest().max_fragment_id().unwrap_or(0);
        if new.keys().any(|id| *id <= highest) {
            return Ok(false);
        }
        let covered = self.rewritten.fragments().iter().filter(|fragment| {
            let id = u32::try_from(fragment.id).unwrap_or(u32::MAX);
            let mut bitmaps = self.segments.iter().map(|s| &s.built.fragment_bitmap);
            bitmaps.any(|bitmap| bitmap.as_ref().is_some_and(|bitmap| bitmap.contains(id)))
        });
        for fragment in covered {
            let unchanged = there
                .get(&fragment.id)
                .is_some_and(|f| same_data(f, fragment));
            if !new.contains_key(&fragment.id) && !unchanged {
                return Ok(false);
            }
        }
        let indexes = dataset.load_indices().await?;
        let present = |wanted: &IndexMetadata| indexes.iter().any(|i| i.uuid == wanted.uuid);
        let gone = self.segments.iter().flat_map(|segment| &segment.replaces);
        let planned: Vec<Vec<u64>> = self
            .groups
            .iter()
            .map(|group| group.old_fragments.iter().map(|f| f.id).collect())
            .collect();
        let cut = compact::cut(&indexes, &planned);
        Ok(gone.chain(&self.cut).all(present) && cut.len() == self.cut.len())
    }
}

/// Rows without an index from which on indexes are extended: after a rewrite, any.
fn extension(policy: &Policy, groups: &[Vec<u64>]) -> u64 {
    match groups {
        [] => policy.min_unindexed,
        _ => 1,
    }
}

/// The same rows with the same deletions.
fn same(a: &Fragment, b: &Fragment) -> bool {
    same_data(a, b) && a.deletion_file == b.deletion_file
}

fn same_data(a: &Fragment, b: &Fragment) -> bool {
    a.physical_rows == b.physical_rows
        && a.overlays == b.overlays
        && a.files.len() == b.files.len()
        && a.files
            .iter()
            .zip(&b.files)
            .all(|(a, b)| a.path == b.path && a.base_id == b.base_id && a.fields == b.fields)
}
