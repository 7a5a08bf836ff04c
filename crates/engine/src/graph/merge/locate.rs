//! Where rows lie in a version of a table, without reading the table.
//!
//! What theirs changed since the base are rows that it marks as deleted in fragments of the base.
//! Where our side still has such a fragment, the row lies there at the same offset. All others were
//! written to our side after the base and are looked for there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use datafusion::prelude::{col, lit};
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use lance::Dataset;
use lance::dataset::fragment::{FileFragment, FragReadConfig};
use lance::dataset::scanner::{DatasetRecordBatchStream, Scanner};
use lance_table::format::Fragment;

use crate::error::{Error, Result};

/// Candidates that are read beside four for each wanted row.
const SPARE: usize = 1024;
/// Ids that go into one filter; more are looked for by reading all ids.
const FILTERED: usize = 1000;

/// The versions that show where rows may lie.
pub(super) struct Versions<'a> {
    pub(super) base: &'a Arc<Dataset>,
    pub(super) theirs: &'a Arc<Dataset>,
    /// Where addresses are wanted.
    pub(super) ours: &'a Arc<Dataset>,
}

/// The addresses in `ours` of the rows with these ids, in no order.
///
/// # Errors
/// `Internal` if one is not there.
pub(super) async fn addresses(versions: &Versions<'_>, ids: &[&str]) -> Result<Vec<u64>> {
    let mut missing: HashSet<&str> = ids.iter().copied().collect();
    let mut addresses = Vec::with_capacity(missing.len());
    let shared = candidates(versions, missing.len()).await?;
    for candidate in shared.iter().flatten() {
        if missing.is_empty() {
            break;
        }
        candidate
            .find(versions.ours, &mut missing, &mut addresses)
            .await?;
    }
    if !missing.is_empty() {
        let fragments = shared.is_some().then(|| written_since(versions));
        search(versions.ours, fragments, &mut missing, &mut addresses).await?;
    }
    match missing.into_iter().next() {
        None => Ok(addresses),
        Some(id) => Err(Error::internal(format!(
            "`{id}` is not where its table says that it is"
        ))),
    }
}

/// A fragment that ours shares with the base, and offsets of rows that theirs took away.
struct Candidate<'a> {
    fragment: &'a Fragment,
    offsets: Vec<u32>,
}

impl Candidate<'_> {
    async fn find(
        &self,
        ours: &Arc<Dataset>,
        missing: &mut HashSet<&str>,
        addresses: &mut Vec<u64>,
    ) -> Result<()> {
        let projection = ours.schema().project(&["id"])?;
        let fragment = FileFragment::new(ours.clone(), self.fragment.clone());
        let config = FragReadConfig::default().with_ignore_deletions(true);
        let reader = fragment.open(&projection, config).await?;
        let batch = reader.take_as_batch(&self.offsets, None).await?;
        let ids = batch
            .column(0)
            .as_string_opt::<i32>()
            .ok_or_else(|| Error::corrupt("the ids of a table are no text"))?;
        for (id, offset) in ids.iter().flatten().zip(&self.offsets) {
            if missing.remove(id) {
                addresses.push(self.fragment.id << 32 | u64::from(*offset));
            }
        }
        Ok(())
    }
}

/// `None` where there are too many: the table was rewritten on their side.
async fn candidates<'a>(
    versions: &Versions<'a>,
    wanted: usize,
) -> Result<Option<Vec<Candidate<'a>>>> {
    let ours = by_file(versions.ours);
    let theirs = by_file(versions.theirs);
    let mut left = 4 * wanted + SPARE;
    let mut candidates = Vec::new();
    for old in versions.base.manifest().fragments.iter() {
        let Some(fragment) = ours.get(file(old)) else {
            continue;
        };
        let new = theirs.get(file(old)).copied();
        if new.is_some_and(|new| new.deletion_file == old.deletion_file) {
            continue;
        }
        let staying = deleted(versions.ours, fragment).await?;
        let taken: Vec<u32> = match new {
            Some(new) => deleted(versions.theirs, new).await?,
            None => {
                let rows = old.physical_rows.unwrap_or(usize::MAX);
                if rows > left {
                    return Ok(None);
                }
                (0..u32::try_from(rows).unwrap_or(u32::MAX)).collect()
            }
        };
        let before = deleted(versions.base, old).await?;
        let is_there = |offset: &u32| {
            before.binary_search(offset).is_err() && staying.binary_search(offset).is_err()
        };
        let offsets: Vec<u32> = taken.into_iter().filter(is_there).collect();
        let Some(rest) = left.checked_sub(offsets.len()) else {
            return Ok(None);
        };
        left = rest;
        if !offsets.is_empty() {
            candidates.push(Candidate { fragment, offsets });
        }
    }
    Ok(Some(candidates))
}

/// Fragments of ours that the base lacks.
fn written_since(versions: &Versions<'_>) -> Vec<Fragment> {
    let base = by_file(versions.base);
    let ours = versions.ours.manifest().fragments.iter();
    ours.filter(|fragment| !base.contains_key(file(fragment)))
        .cloned()
        .collect()
}

/// Looks in some fragments, or by the index of the whole table.
async fn search(
    ours: &Arc<Dataset>,
    fragments: Option<Vec<Fragment>>,
    missing: &mut HashSet<&str>,
    addresses: &mut Vec<u64>,
) -> Result<()> {
    if fragments.as_ref().is_some_and(Vec::is_empty) {
        return Ok(());
    }
    let mut batches = stream(scan_for(ours, fragments, missing)?).await?;
    while let Some(batch) = batches.try_next().await? {
        let ids = batch
            .column_by_name("id")
            .and_then(|ids| ids.as_string_opt::<i32>());
        let places = batch
            .column_by_name("_rowaddr")
            .and_then(|places| places.as_primitive_opt::<UInt64Type>());
        let (Some(ids), Some(places)) = (ids, places) else {
            return Err(Error::internal("a look-up gave no addresses"));
        };
        for (id, address) in ids.iter().flatten().zip(places.values()) {
            if missing.remove(id) {
                addresses.push(*address);
            }
        }
    }
    Ok(())
}

fn scan_for(
    ours: &Arc<Dataset>,
    fragments: Option<Vec<Fragment>>,
    missing: &HashSet<&str>,
) -> Result<Scanner> {
    let mut scanner = ours.scan();
    scanner.project(&["id"])?.with_row_address();
    if missing.len() <= FILTERED {
        let wanted = missing.iter().map(|id| lit(*id)).collect();
        scanner.filter_expr(col("id").in_list(wanted, false));
    }
    if let Some(fragments) = fragments {
        scanner.with_fragments(fragments);
    }
    Ok(scanner)
}

/// Starts a scan. The future's type is short, for the sake of those that await it.
pub(super) fn stream(scanner: Scanner) -> BoxFuture<'static, Result<DatasetRecordBatchStream>> {
    async move { Ok(scanner.try_into_stream().await?) }.boxed()
}

fn file(fragment: &Fragment) -> &str {
    fragment.files.first().map_or("", |file| file.path.as_str())
}

fn by_file(dataset: &Dataset) -> HashMap<&str, &Fragment> {
    let fragments = dataset.manifest().fragments.iter();
    fragments
        .map(|fragment| (file(fragment), fragment))
        .collect()
}

/// Ascending offsets of deleted rows.
async fn deleted(dataset: &Arc<Dataset>, fragment: &Fragment) -> Result<Vec<u32>> {
    if fragment.deletion_file.is_none() {
        return Ok(Vec::new());
    }
    let fragment = FileFragment::new(dataset.clone(), fragment.clone());
    let vector = fragment.get_deletion_vector().await?;
    Ok(vector.map_or_else(Vec::new, |v| v.to_sorted_iter().collect()))
}
