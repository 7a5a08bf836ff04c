//! Which rows only one of two versions of a table has.
//!
//! Fragments are matched by the paths of their data files, which are used once: versions that
//! diverged give the same fragment id to different rows. A matched pair differs by its deletions;
//! all rows of a fragment without a match belong to one side.

use std::collections::HashMap;
use std::sync::Arc;

use lance::Dataset;
use lance::dataset::fragment::FileFragment;
use lance_table::format::Fragment;

use crate::error::{Error, Result};

/// Rows of one fragment that the other version does not have.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    pub(super) fragment: Arc<Fragment>,
    /// Ascending offsets of live rows.
    pub(super) offsets: Vec<u32>,
}

/// Rows that only the older and only the newer version has.
#[derive(Clone, Debug, Default)]
pub(super) struct OneSided {
    pub(super) before: Vec<Rows>,
    pub(super) after: Vec<Rows>,
}

impl OneSided {
    pub(super) fn rows(&self) -> usize {
        let rows = self.before.iter().chain(&self.after);
        rows.map(|rows| rows.offsets.len()).sum()
    }
}

/// How the fragments of two versions correspond.
struct Matched<'a> {
    pairs: Vec<(&'a Fragment, &'a Fragment)>,
    only_before: Vec<&'a Fragment>,
    only_after: Vec<&'a Fragment>,
}

/// About how many rows are on one side only, by the manifests alone.
pub(super) fn estimate(before: Option<&Dataset>, after: Option<&Dataset>) -> usize {
    let matched = matched(before, after);
    let single = matched.only_before.iter().chain(&matched.only_after);
    let single: usize = single.map(|fragment| live_rows(fragment)).sum();
    let deleted = |fragment: &Fragment| {
        fragment
            .deletion_file
            .as_ref()
            .and_then(|file| file.num_deleted_rows)
            .unwrap_or(0)
    };
    let pairs = matched.pairs.iter();
    single
        + pairs
            .map(|(a, b)| deleted(a).abs_diff(deleted(b)))
            .sum::<usize>()
}

/// The rows that only one version has.
pub(super) async fn one_sided(
    before: Option<&Arc<Dataset>>,
    after: Option<&Arc<Dataset>>,
) -> Result<OneSided> {
    let matched = matched(before.map(AsRef::as_ref), after.map(AsRef::as_ref));
    let mut found = OneSided::default();
    for fragment in matched.only_before {
        found.before.extend(all_live(before, fragment).await?);
    }
    for fragment in matched.only_after {
        found.after.extend(all_live(after, fragment).await?);
    }
    for (old, new) in matched.pairs {
        if old.deletion_file == new.deletion_file {
            continue;
        }
        let (was, is) = (deletions(before, old).await?, deletions(after, new).await?);
        found.before.extend(rows_of(old, missing_in(&was, &is)));
        found.after.extend(rows_of(new, missing_in(&is, &was)));
    }
    Ok(found)
}

fn matched<'a>(before: Option<&'a Dataset>, after: Option<&'a Dataset>) -> Matched<'a> {
    let fragments = |dataset: Option<&'a Dataset>| -> &'a [Fragment] {
        dataset.map_or(&[], |dataset| dataset.manifest().fragments.as_slice())
    };
    let mut unseen: HashMap<&str, &Fragment> = fragments(before)
        .iter()
        .map(|fragment| (first_file(fragment), fragment))
        .collect();
    let mut matched = Matched {
        pairs: Vec::new(),
        only_before: Vec::new(),
        only_after: Vec::new(),
    };
    for fragment in fragments(after) {
        match unseen.get(first_file(fragment)) {
            Some(old) if same_data(old, fragment) => {
                matched.pairs.push((old, fragment));
                unseen.remove(first_file(fragment));
            }
            _ => matched.only_after.push(fragment),
        }
    }
    matched.only_before = fragments(before)
        .iter()
        .filter(|fragment| unseen.contains_key(first_file(fragment)))
        .collect();
    matched
}

fn first_file(fragment: &Fragment) -> &str {
    fragment.files.first().map_or("", |file| file.path.as_str())
}

/// Deletions apart, the fragments are the same rows.
fn same_data(a: &Fragment, b: &Fragment) -> bool {
    a.physical_rows == b.physical_rows
        && a.overlays == b.overlays
        && a.files.len() == b.files.len()
        && a.files
            .iter()
            .zip(&b.files)
            .all(|(a, b)| a.path == b.path && a.base_id == b.base_id)
}

fn live_rows(fragment: &Fragment) -> usize {
    fragment.num_rows().or(fragment.physical_rows).unwrap_or(0)
}

async fn all_live(dataset: Option<&Arc<Dataset>>, fragment: &Fragment) -> Result<Option<Rows>> {
    let physical = match fragment.physical_rows {
        Some(rows) => rows,
        None => file_fragment(dataset, fragment)?.physical_rows().await?,
    };
    let physical = u32::try_from(physical)
        .map_err(|_| Error::corrupt(format!("fragment {} has too many rows", fragment.id)))?;
    let deleted = deletions(dataset, fragment).await?;
    let all: Vec<u32> = (0..physical).collect();
    Ok(rows_of(fragment, missing_in(&deleted, &all)))
}

fn rows_of(fragment: &Fragment, offsets: Vec<u32>) -> Option<Rows> {
    (!offsets.is_empty()).then(|| Rows {
        fragment: Arc::new(fragment.clone()),
        offsets,
    })
}

/// What `all` has and `some` lacks; both ascending.
fn missing_in(some: &[u32], all: &[u32]) -> Vec<u32> {
    let mut some = some.iter().copied().peekable();
    all.iter()
        .copied()
        .filter(|wanted| {
            while some.next_if(|have| have < wanted).is_some() {}
            some.peek() != Some(wanted)
        })
        .collect()
}

/// Deleted offsets, ascending.
async fn deletions(dataset: Option<&Arc<Dataset>>, fragment: &Fragment) -> Result<Vec<u32>> {
    if fragment.deletion_file.is_none() {
        return Ok(Vec::new());
    }
    let vector = file_fragment(dataset, fragment)?
        .get_deletion_vector()
        .await?;
    Ok(vector.map_or_else(Vec::new, |v| v.to_sorted_iter().collect()))
}

pub(super) fn file_fragment(
    dataset: Option<&Arc<Dataset>>,
    fragment: &Fragment,
) -> Result<FileFragment> {
    let dataset = dataset.ok_or_else(|| Error::internal("a fragment of no table"))?;
    Ok(FileFragment::new(dataset.clone(), fragment.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing() {
        assert_eq!(missing_in(&[], &[1, 2]), [1, 2]);
        assert_eq!(missing_in(&[0, 2, 9], &[1, 2, 3]), [1, 3]);
        assert!(missing_in(&[1, 2, 3], &[2]).is_empty());
    }
}
