//! Rewriting fragments: fewer files, and no row that was deleted.

use std::sync::Arc;

use lance::Dataset;
use lance::dataset::optimize::{CompactionOptions, CompactionTask, TaskData};
use lance::dataset::transaction::RewriteGroup;
use lance_table::format::{Fragment, IndexMetadata};

use super::plan::{self, Policy, Size};
use crate::error::Result;
use crate::table::layout::Kind;

/// Ids that are left free below those of new fragments, so that the same rewrite can be put upon a
/// version to which other writers have added fragments meanwhile.
const FREE_IDS: u64 = 1_000;
/// A segment over so many rows is not built anew for the sake of a few small fragments in it.
const LARGE_SEGMENT_ROWS: u64 = 1 << 20;
/// The same for segments that have to be trained.
const LARGE_VECTOR_SEGMENT_ROWS: u64 = 1 << 17;

/// Ids of the fragments that are to be rewritten together.
pub(super) fn groups(
    dataset: &Dataset,
    indexes: &[IndexMetadata],
    policy: &Policy,
) -> Vec<Vec<u64>> {
    let fragments = dataset.fragments();
    let large: Vec<&IndexMetadata> = indexes
        .iter()
        .filter(|index| !index.results_are_row_addrs())
        .filter(|index| {
            let rows = fragments.iter().filter(|f| covers(index, f.id)).map(live);
            let large = match Kind::of_name(&index.name) {
                Some(Kind::Nearest) => LARGE_VECTOR_SEGMENT_ROWS,
                _ => LARGE_SEGMENT_ROWS,
            };
            rows.sum::<u64>() >= large
        })
        .collect();
    let sizes: Vec<Size> = fragments
        .iter()
        .map(|fragment| size(fragment, &large))
        .collect();
    plan::groups(&sizes, policy)
        .into_iter()
        .map(|group| group.into_iter().map(|at| fragments[at].id).collect())
        .collect()
}

/// The fragments that a rewrite would leave, with one new fragment for each group.
pub(super) fn expected(dataset: &Dataset, groups: &[Vec<u64>]) -> Vec<Fragment> {
    let mut left: Vec<Fragment> = dataset
        .fragments()
        .iter()
        .filter(|fragment| !groups.iter().any(|group| group.contains(&fragment.id)))
        .cloned()
        .collect();
    for (id, group) in (first_new_id(dataset)..).zip(groups) {
        let mut new = Fragment::new(id);
        let old = dataset.fragments().iter().filter(|f| group.contains(&f.id));
        new.physical_rows = usize::try_from(old.map(live).sum::<u64>()).ok();
        left.push(new);
    }
    left
}

/// Writes the new fragments. They keep the stable ids of their rows.
pub(super) async fn rewrite(
    dataset: &Arc<Dataset>,
    groups: &[Vec<u64>],
) -> Result<Vec<RewriteGroup>> {
    let mut next_id = first_new_id(dataset);
    let mut made = Vec::with_capacity(groups.len());
    for group in groups {
        let fragments: Vec<Fragment> = dataset
            .fragments()
            .iter()
            .filter(|fragment| group.contains(&fragment.id))
            .cloned()
            .collect();
        let rows: u64 = fragments.iter().map(live).sum();
        let task = CompactionTask {
            task: TaskData {
                fragments: fragments.clone(),
            },
            read_version: dataset.version_id(),
            options: CompactionOptions {
                // One file for each group: its size was decided when it was planned.
                target_rows_per_fragment: usize::try_from(rows.max(1)).unwrap_or(usize::MAX),
                // Indexes get new segments afterwards, so nobody needs to know where rows went.
                has_eager_remappable_index: Some(false),
                ..CompactionOptions::default()
            },
        };
        let mut new_fragments = Box::pin(task.execute(dataset)).await?.new_fragments;
        for fragment in &mut new_fragments {
            fragment.id = next_id;
            next_id += 1;
        }
        made.push(RewriteGroup {
            old_fragments: fragments,
            new_fragments,
        });
    }
    Ok(made)
}

/// Segments that store the stable ids of rows follow their rows, but only all or none of a group.
/// Those that have a part of one have to go before it is rewritten.
pub(super) fn cut(indexes: &[IndexMetadata], groups: &[Vec<u64>]) -> Vec<IndexMetadata> {
    indexes
        .iter()
        .filter(|index| is_cut(index, groups))
        .cloned()
        .collect()
}

/// The segments as a rewrite would leave them.
pub(super) fn without_cut(indexes: &[IndexMetadata], groups: &[Vec<u64>]) -> Vec<IndexMetadata> {
    indexes
        .iter()
        .filter(|index| !is_cut(index, groups))
        .cloned()
        .collect()
}

fn is_cut(index: &IndexMetadata, groups: &[Vec<u64>]) -> bool {
    !index.results_are_row_addrs()
        && groups.iter().any(|group| {
            let has = group.iter().filter(|id| covers(index, **id)).count();
            has != 0 && has != group.len()
        })
}

pub(super) fn covers(index: &IndexMetadata, fragment: u64) -> bool {
    u32::try_from(fragment).is_ok_and(|id| {
        let bitmap = index.fragment_bitmap.as_ref();
        bitmap.is_some_and(|bitmap| bitmap.contains(id))
    })
}

pub(super) fn live(fragment: &Fragment) -> u64 {
    fragment.num_rows().unwrap_or(0) as u64
}

pub(super) fn first_new_id(dataset: &Dataset) -> u64 {
    dataset.manifest().max_fragment_id().map_or(0, |id| id + 1) + FREE_IDS
}

fn size(fragment: &Fragment, large: &[&IndexMetadata]) -> Size {
    let physical = fragment.physical_rows.unwrap_or(0) as u64;
    let live = live(fragment);
    let bytes = fragment
        .files
        .iter()
        .filter_map(|file| file.file_size_bytes.get())
        .map(std::num::NonZero::get)
        .sum();
    Size {
        live,
        deleted: physical.saturating_sub(live),
        bytes,
        tied_to: (0..large.len())
            .filter(|&at| covers(large[at], fragment.id))
            .collect(),
    }
}
