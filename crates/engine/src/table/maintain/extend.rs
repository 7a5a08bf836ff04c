//! Extending indexes: a segment over the fragments that none covers yet, which takes in segments
//! of like size.

use std::sync::Arc;

use lance::Dataset;
use lance::index::{CreateIndexBuilder, DatasetIndexExt as _};
use lance_index::IndexType;
use lance_index::scalar::{InvertedIndexParams, ScalarIndexParams};
use lance_table::format::{Fragment, IndexMetadata};
use omnigraph_lang::schema::{EntityType, IndexKind};

use super::compact::{covers, live};
use super::plan;
use crate::error::Result;
use crate::table::layout::{self, Index, Kind};

/// A segment that was built.
pub(super) struct Segment {
    pub(super) built: IndexMetadata,
    /// The segments that it takes the place of.
    pub(super) replaces: Vec<IndexMetadata>,
}

/// A segment that is to be built.
pub(super) struct Wanted {
    /// The index's name: that which it has, or its first.
    pub(super) name: String,
    index: Index,
    fragments: Vec<u32>,
    /// By position in the list of indexes.
    replaces: Vec<usize>,
}

/// The segments that the declared indexes of a type lack over these fragments.
pub(super) fn wanted(
    dataset: &Dataset,
    fragments: &[Fragment],
    indexes: &[IndexMetadata],
    entity: EntityType<'_>,
    min_unindexed: u64,
) -> Vec<Wanted> {
    let rows: Vec<u64> = fragments.iter().map(live).collect();
    let mut wanted = Vec::new();
    for index in layout::indexes(entity) {
        let Some(field) = dataset.schema().field(&index.column) else {
            continue;
        };
        let of_index: Vec<usize> = (0..indexes.len())
            .filter(|&at| is_of(&indexes[at], field.id, &index))
            .collect();
        let covered: Vec<Vec<usize>> = of_index
            .iter()
            .map(|&at| {
                let has = |f: &usize| covers(&indexes[at], fragments[*f].id);
                (0..fragments.len()).filter(has).collect()
            })
            .collect();
        let Some(new) = plan::segment(&rows, &covered, min_unindexed) else {
            continue;
        };
        let ids = new.fragments.iter().map(|&at| fragments[at].id);
        wanted.push(Wanted {
            name: of_index
                .first()
                .map_or_else(|| index.name(), |&at| indexes[at].name.clone()),
            fragments: ids.filter_map(|id| u32::try_from(id).ok()).collect(),
            replaces: new.replaces.iter().map(|&at| of_index[at]).collect(),
            index,
        });
    }
    wanted
}

/// Builds segments over the fragments of a version that has them.
pub(super) async fn build(
    dataset: &Arc<Dataset>,
    indexes: &[IndexMetadata],
    wanted: Vec<Wanted>,
) -> Result<Vec<Segment>> {
    let mut segments = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        let mut dataset = Dataset::clone(dataset);
        let columns = [wanted.index.column.as_str()];
        let built = match wanted.index.kind {
            Kind::Ordered => {
                let params = ScalarIndexParams::default();
                let builder =
                    CreateIndexBuilder::new(&mut dataset, &columns, IndexType::BTree, &params);
                execute(builder, &wanted).await?
            }
            Kind::FullText => {
                let params = InvertedIndexParams::default();
                let builder =
                    CreateIndexBuilder::new(&mut dataset, &columns, IndexType::Inverted, &params);
                // Over chosen fragments it leaves files that a merge is to finish.
                let staged = execute(builder, &wanted).await?;
                Box::pin(dataset.merge_existing_index_segments(vec![staged])).await?
            }
        };
        segments.push(Segment {
            built,
            replaces: wanted
                .replaces
                .iter()
                .map(|&at| indexes[at].clone())
                .collect(),
        });
    }
    Ok(segments)
}

async fn execute(builder: CreateIndexBuilder<'_>, wanted: &Wanted) -> Result<IndexMetadata> {
    let mut builder = builder
        .name(wanted.name.clone())
        .replace(true)
        .fragments(wanted.fragments.clone());
    Ok(Box::pin(builder.execute_uncommitted()).await?)
}

/// Declared indexes that are never built: searches over vectors are exact without them.
pub(super) fn pending(entity: EntityType<'_>) -> Vec<String> {
    let body = entity.body();
    let mut pending: Vec<String> = body
        .indexes
        .iter()
        .filter_map(|id| body.property_by_id(*id))
        .filter(|property| {
            let kinds = property.data_type.index_kinds();
            kinds.contains(&IndexKind::NearestNeighbour)
        })
        .map(|property| format!("{}_vector", property.name))
        .collect();
    pending.sort();
    pending.dedup();
    pending
}

/// Whether a segment belongs to a declared index. A renamed column keeps the names of its indexes.
fn is_of(segment: &IndexMetadata, field: i32, index: &Index) -> bool {
    let suffix = match index.kind {
        Kind::Ordered => "_btree",
        Kind::FullText => "_fts",
    };
    segment.fields.first() == Some(&field) && segment.name.ends_with(suffix)
}
