//! Vector indexes: segments of vectors in partitions (IVF), each with centroids of its own.
//!
//! A segment is only made of enough vectors to train it; what no segment covers is found by
//! scanning, so a small table has no index and loses nothing by it.

use std::collections::HashMap;

use futures::TryStreamExt;
use lance::Dataset;
use lance::index::vector::VectorIndexParams;
use lance_index::pb::VectorIndexDetails;
use lance_index::pb::vector_index_details::Compression;
use lance_index::vector::ivf::IvfBuildParams;
use lance_index::vector::sq::builder::SQBuildParams;
use lance_table::format::{Fragment, IndexMetadata};
use omnigraph_lang::schema::EntityType;
use parking_lot::Mutex;

use super::compact::live;
use super::plan::Policy;
use crate::error::Result;
use crate::table::kept::content;
use crate::table::layout;

/// Centroids that one segment may have: training more of them takes too long.
const PARTITIONS_MAX: u64 = 4_096;
/// Fragments whose vectors are remembered to have been counted.
const COUNTED_MAX: usize = 100_000;

/// How the vectors of a segment are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Structure {
    /// As they are: IVF_FLAT.
    Plain,
    /// Each number as a byte, in a quarter of the space: IVF_SQ.
    Bytes,
}

/// How many vectors the fragments of a table have, by column and fragment.
#[derive(Debug, Default)]
pub(super) struct Vectors {
    by_column: HashMap<String, HashMap<u64, u64>>,
}

/// Counts of vectors that were made before. Rows that were deleted since count on: what is trained
/// is counted anew.
#[derive(Debug, Default)]
pub(in crate::table) struct Counted {
    /// By the fragment's files and the column's field.
    known: Mutex<HashMap<(String, i32), u64>>,
}

impl Structure {
    pub(super) fn of(vectors: u64, policy: &Policy) -> Self {
        match vectors <= policy.plain_vectors {
            true => Self::Plain,
            false => Self::Bytes,
        }
    }

    /// That of a segment that is there; `None` if it is something else.
    pub(super) fn of_segment(segment: &IndexMetadata) -> Option<Self> {
        let details = segment.index_details.as_ref()?;
        let details = details.to_msg::<VectorIndexDetails>().ok()?;
        match details.compression? {
            Compression::Flat(_) => Some(Self::Plain),
            Compression::Sq(_) => Some(Self::Bytes),
            _ => None,
        }
    }

    /// What Lance is asked to build over so many vectors: squared Euclidean distances, as the query
    /// language has them, and about as many partitions as a partition has vectors.
    pub(super) fn params(self, vectors: u64) -> Result<VectorIndexParams> {
        let partitions = vectors.isqrt().clamp(1, PARTITIONS_MAX);
        let ivf = IvfBuildParams::new(usize::try_from(partitions).unwrap_or(1));
        let metric = "l2".try_into()?;
        Ok(match self {
            Self::Plain => VectorIndexParams::with_ivf_flat_params(metric, ivf),
            Self::Bytes => {
                let bytes = SQBuildParams::default();
                VectorIndexParams::with_ivf_sq_params(metric, ivf, bytes)
            }
        })
    }
}

impl Vectors {
    /// Counts the vectors of every indexed column. Reads only columns that may have nulls, and of
    /// those only fragments that were not counted yet.
    pub(super) async fn count(
        dataset: &Dataset,
        entity: EntityType<'_>,
        counted: &Counted,
    ) -> Result<Self> {
        let mut vectors = Self::default();
        for index in layout::vector_indexes(entity) {
            let Some(field) = dataset.schema().field(&index.column) else {
                continue;
            };
            let property = entity.body().property(&index.column);
            let complete = property.is_some_and(|property| !property.nullable);
            let mut by_fragment = HashMap::new();
            for fragment in dataset.fragments().iter() {
                let all = live(fragment);
                let count = match complete || all == 0 {
                    true => all,
                    false => {
                        let key = (content(fragment), field.id);
                        let known = counted.get(&key);
                        let count = match known {
                            Some(count) => count,
                            None => {
                                let column = &index.column;
                                let count = count_in(dataset, column, fragment.clone()).await?;
                                counted.put(key, count);
                                count
                            }
                        };
                        count.min(all)
                    }
                };
                by_fragment.insert(fragment.id, count);
            }
            vectors.by_column.insert(index.column, by_fragment);
        }
        Ok(vectors)
    }

    /// What they will be when groups of fragments have become one each.
    pub(super) fn after(&self, groups: &[Vec<u64>], first_new_id: u64) -> Self {
        let by_column = self.by_column.iter().map(|(column, old)| {
            let mut new = old.clone();
            for (id, group) in (first_new_id..).zip(groups) {
                let sum = group.iter().filter_map(|id| new.remove(id)).sum();
                new.insert(id, sum);
            }
            (column.clone(), new)
        });
        Self {
            by_column: by_column.collect(),
        }
    }

    /// The vectors of a column in one fragment.
    pub(super) fn of(&self, column: &str, fragment: u64) -> u64 {
        let by_fragment = self.by_column.get(column);
        by_fragment
            .and_then(|of| of.get(&fragment))
            .copied()
            .unwrap_or(0)
    }
}

/// Counts the vectors of some fragments of a column anew.
pub(super) async fn recount(
    dataset: &Dataset,
    column: &str,
    fragments: Vec<Fragment>,
    counted: &Counted,
) -> Result<u64> {
    let field = dataset.schema().field(column).map_or(-1, |field| field.id);
    let mut all = 0;
    for fragment in fragments {
        let key = (content(&fragment), field);
        let count = count_in(dataset, column, fragment).await?;
        counted.put(key, count);
        all += count;
    }
    Ok(all)
}

/// The vectors that there are in a fragment of a column, without deleted rows.
async fn count_in(dataset: &Dataset, column: &str, fragment: Fragment) -> Result<u64> {
    let mut scan = dataset.scan();
    scan.project(&[column])?.with_fragments(vec![fragment]);
    let mut batches = scan.try_into_stream().await?;
    let mut count = 0;
    while let Some(batch) = batches.try_next().await? {
        let vectors = batch.column(0);
        count += (vectors.len() - vectors.null_count()) as u64;
    }
    Ok(count)
}

impl Counted {
    fn get(&self, key: &(String, i32)) -> Option<u64> {
        self.known.lock().get(key).copied()
    }

    fn put(&self, key: (String, i32), count: u64) {
        let mut known = self.known.lock();
        if known.len() >= COUNTED_MAX {
            known.clear();
        }
        known.insert(key, count);
    }
}
