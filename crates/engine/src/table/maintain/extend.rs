//! Extending indexes: a segment over the fragments that none covers yet, which takes in segments
//! of like size. Vector indexes begin with their first segment.

use std::sync::Arc;

use lance::Dataset;
use lance::index::{CreateIndexBuilder, DatasetIndexExt as _};
use lance_index::IndexType;
use lance_index::scalar::{InvertedIndexParams, ScalarIndexParams};
use lance_table::format::{Fragment, IndexMetadata};
use omnigraph_lang::schema::EntityType;

use super::compact::{covers, live};
use super::plan::{self, NewSegment, Policy};
use super::vector::{self, Counted, Structure, Vectors};
use crate::error::{Error, Result};
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
    /// What a segment of a vector index is to be.
    structure: Structure,
    fragments: Vec<u32>,
    /// By position in the list of indexes.
    replaces: Vec<usize>,
}

/// What segments are planned from.
pub(super) struct Facts<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) fragments: &'a [Fragment],
    pub(super) indexes: &'a [IndexMetadata],
    pub(super) vectors: &'a Vectors,
    pub(super) entity: EntityType<'a>,
    pub(super) min_unindexed: u64,
    pub(super) policy: &'a Policy,
}

/// The segments that the declared indexes of a type lack over these fragments.
pub(super) fn wanted(facts: &Facts<'_>) -> Vec<Wanted> {
    let declared = layout::indexes(facts.entity)
        .into_iter()
        .chain(layout::vector_indexes(facts.entity));
    declared
        .filter_map(|index| facts.segment_of(index))
        .collect()
}

impl Facts<'_> {
    fn segment_of(&self, index: Index) -> Option<Wanted> {
        let of_index = self.segments(&index)?;
        let rows: Vec<u64> = match index.kind {
            Kind::Ordered | Kind::FullText => self.fragments.iter().map(live).collect(),
            Kind::Nearest => {
                let vectors = |f: &Fragment| self.vectors.of(&index.column, f.id);
                self.fragments.iter().map(vectors).collect()
            }
        };
        let covered: Vec<Vec<usize>> = of_index
            .iter()
            .map(|&at| {
                let has = |f: &usize| covers(&self.indexes[at], self.fragments[*f].id);
                (0..self.fragments.len()).filter(has).collect()
            })
            .collect();
        let structure = Structure::of(rows.iter().sum(), self.policy);
        let new = match index.kind {
            Kind::Ordered | Kind::FullText => plan::segment(&rows, &covered, self.min_unindexed)?,
            Kind::Nearest => {
                let new = plan::segment(&rows, &covered, self.policy.min_vectors)?;
                self.of_one_structure(new, &of_index, structure)
            }
        };
        let ids = new.fragments.iter().map(|&at| self.fragments[at].id);
        Some(Wanted {
            name: self.name_of(&index, &of_index),
            fragments: ids.filter_map(|id| u32::try_from(id).ok()).collect(),
            replaces: new.replaces.iter().map(|&at| of_index[at]).collect(),
            structure,
            index,
        })
    }

    /// The segments of an index, by position; `None` without its column.
    fn segments(&self, index: &Index) -> Option<Vec<usize>> {
        let field = self.dataset.schema().field(&index.column)?;
        let all = 0..self.indexes.len();
        Some(
            all.filter(|&at| is_of(&self.indexes[at], field.id, index))
                .collect(),
        )
    }

    /// The name that an index has, or is to get: its own may be that of an index over a column that
    /// was called so before.
    fn name_of(&self, index: &Index, of_index: &[usize]) -> String {
        if let Some(&at) = of_index.first() {
            return self.indexes[at].name.clone();
        }
        let name = index.name();
        let field = self.dataset.schema().field(&index.column);
        match self.indexes.iter().any(|there| there.name == name) {
            true => index.name_of_field(field.map_or(-1, |field| field.id)),
            false => name,
        }
    }

    /// The segments of one vector index have one structure: where the table has outgrown it, the new
    /// segment takes the place of all.
    fn of_one_structure(
        &self,
        new: NewSegment,
        of_index: &[usize],
        structure: Structure,
    ) -> NewSegment {
        let outgrown = of_index
            .iter()
            .any(|&at| Structure::of_segment(&self.indexes[at]) != Some(structure));
        match outgrown {
            false => new,
            true => NewSegment {
                fragments: (0..self.fragments.len()).collect(),
                replaces: (0..of_index.len()).collect(),
            },
        }
    }

    /// The declared indexes that there is not enough to build of, without those of `built`.
    pub(super) fn pending(&self, built: &[&str]) -> Vec<Pending> {
        let mut pending = Vec::new();
        for index in layout::vector_indexes(self.entity) {
            let segments = self.segments(&index).unwrap_or_default();
            let name = self.name_of(&index, &segments);
            if !segments.is_empty() || built.contains(&&*name) {
                continue;
            }
            let vectors = self.fragments.iter();
            let vectors: u64 = vectors.map(|f| self.vectors.of(&index.column, f.id)).sum();
            pending.push(Pending {
                index: name,
                reason: format!("needs {} vectors, has {vectors}", self.policy.min_vectors),
            });
        }
        pending
    }
}

/// Builds segments over the fragments of a version that has them.
pub(super) async fn build(
    dataset: &Arc<Dataset>,
    indexes: &[IndexMetadata],
    wanted: Vec<Wanted>,
    policy: &Policy,
    counted: &Counted,
) -> Result<Vec<Segment>> {
    let mut segments = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        let mut dataset = Dataset::clone(dataset);
        let built = match wanted.index.kind {
            Kind::Ordered | Kind::FullText => {
                let fragments = wanted.fragments.clone();
                build_over(&mut dataset, &wanted.index, &wanted.name, fragments).await?
            }
            Kind::Nearest => match train(&mut dataset, &wanted, policy, counted).await? {
                Some(built) => built,
                None => continue,
            },
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

/// Builds a segment of an index that needs no training.
pub(in crate::table) async fn build_over(
    dataset: &mut Dataset,
    index: &Index,
    name: &str,
    fragments: Vec<u32>,
) -> Result<IndexMetadata> {
    let columns = [index.column.as_str()];
    match index.kind {
        Kind::Ordered => {
            let params = ScalarIndexParams::default();
            let builder = CreateIndexBuilder::new(dataset, &columns, IndexType::BTree, &params);
            execute(builder, name, fragments).await
        }
        Kind::FullText => {
            let params = InvertedIndexParams::default();
            let builder = CreateIndexBuilder::new(dataset, &columns, IndexType::Inverted, &params);
            // Over chosen fragments it leaves files that a merge is to finish.
            let staged = execute(builder, name, fragments).await?;
            Ok(Box::pin(dataset.merge_existing_index_segments(vec![staged])).await?)
        }
        Kind::Nearest => Err(Error::internal("a vector index has to be trained")),
    }
}

async fn execute(
    builder: CreateIndexBuilder<'_>,
    name: &str,
    fragments: Vec<u32>,
) -> Result<IndexMetadata> {
    let mut builder = builder
        .name(name.to_owned())
        .replace(true)
        .fragments(fragments);
    Ok(Box::pin(builder.execute_uncommitted()).await?)
}

/// Builds a segment of a vector index; `None` if too many of its rows have been deleted since they
/// were counted.
async fn train(
    dataset: &mut Dataset,
    wanted: &Wanted,
    policy: &Policy,
    counted: &Counted,
) -> Result<Option<IndexMetadata>> {
    let column = wanted.index.column.as_str();
    let of_segment =
        |f: &&Fragment| u32::try_from(f.id).is_ok_and(|id| wanted.fragments.contains(&id));
    let fragments: Vec<Fragment> = (dataset.fragments().iter())
        .filter(of_segment)
        .cloned()
        .collect();
    let vectors = vector::recount(dataset, column, fragments, counted).await?;
    if vectors < policy.min_vectors {
        return Ok(None);
    }
    let params = wanted.structure.params(vectors)?;
    let columns = [column];
    let builder = CreateIndexBuilder::new(dataset, &columns, params.index_type(), &params);
    let built = execute(builder, &wanted.name, wanted.fragments.clone()).await?;
    Ok(Some(built))
}

/// A declared index that is not built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    /// The index's name.
    pub(crate) index: String,
    /// What it lacks.
    pub(crate) reason: String,
}

/// Whether a segment belongs to a declared index. A renamed column keeps the names of its indexes.
fn is_of(segment: &IndexMetadata, field: i32, index: &Index) -> bool {
    segment.fields.first() == Some(&field) && Kind::of_name(&segment.name) == Some(index.kind)
}
