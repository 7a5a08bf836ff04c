//! Columns and indexes of a type's table (schema language, sections 4 and 5).

use std::sync::Arc;

use arrow_schema::{DataType as Arrow, Field, Schema};
use omnigraph_lang::schema::{EntityType, IndexKind, Member, Property};

use crate::exec::values::storage_type;

/// An index that a table is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// Ordered look-ups: BTREE.
    Ordered,
    /// Words: an inverted index.
    FullText,
    /// Nearest neighbours: vectors in partitions (IVF).
    Nearest,
}

/// One index over one column.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Index {
    pub(super) column: String,
    pub(super) kind: Kind,
}

impl Index {
    pub(super) fn name(&self) -> String {
        format!("{}_{}", self.column, self.kind.suffix())
    }

    /// A name that no column can have given to an index before.
    pub(super) fn name_of_field(&self, field: i32) -> String {
        format!("{}_{field}_{}", self.column, self.kind.suffix())
    }
}

impl Kind {
    fn suffix(self) -> &'static str {
        match self {
            Kind::Ordered => "btree",
            Kind::FullText => "fts",
            Kind::Nearest => "vector",
        }
    }

    /// The kind of an index with this name: columns are renamed, suffixes stay.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        [Kind::Ordered, Kind::FullText, Kind::Nearest]
            .into_iter()
            .find(|kind| name.rsplit('_').next() == Some(kind.suffix()))
    }
}

/// The columns of a type's rows. Blobs are descriptors here; a table's own schema has them as
/// [`stored_schema`](super::blob::stored_schema) says.
pub(crate) fn arrow_schema(entity: EntityType<'_>) -> Arc<Schema> {
    let mut fields = vec![Field::new("id", Arrow::Utf8, false)];
    if matches!(entity, EntityType::Edge(_)) {
        fields.push(Field::new("src", Arrow::Utf8, false));
        fields.push(Field::new("dst", Arrow::Utf8, false));
    }
    fields.extend(entity.body().properties.iter().map(arrow_field));
    Arc::new(Schema::new(fields))
}

/// The Arrow field of a property.
pub(crate) fn arrow_field(property: &Property) -> Field {
    Field::new(
        &property.name,
        storage_type(&property.data_type),
        property.nullable,
    )
}

/// The indexes that a table has from its creation on: `id`, `src` and `dst` always, then key members
/// and `@index`. Vector indexes need rows to be trained on: [`vector_indexes`].
pub(super) fn indexes(entity: EntityType<'_>) -> Vec<Index> {
    let mut indexes = vec![ordered("id")];
    if matches!(entity, EntityType::Edge(_)) {
        indexes.extend([ordered("src"), ordered("dst")]);
    }
    let declared = declared(entity);
    indexes.extend(declared.into_iter().filter(|i| i.kind != Kind::Nearest));
    indexes.sort();
    indexes.dedup();
    indexes
}

/// The vector indexes that a type declares. They are built by maintenance, once there is enough to
/// train them on; a search without one is exact.
pub(super) fn vector_indexes(entity: EntityType<'_>) -> Vec<Index> {
    let mut indexes = declared(entity);
    indexes.retain(|index| index.kind == Kind::Nearest);
    indexes.sort();
    indexes.dedup();
    indexes
}

fn declared(entity: EntityType<'_>) -> Vec<Index> {
    let body = entity.body();
    let by_index = body.indexes.iter().copied().map(Member::Property);
    let keys = body.key.iter().flatten().copied();
    let mut declared = Vec::new();
    for member in by_index.chain(keys) {
        if let Member::Property(id) = member
            && let Some(property) = body.property_by_id(id)
        {
            declared.extend(property_indexes(property));
        }
    }
    declared
}

fn property_indexes(property: &Property) -> impl Iterator<Item = Index> {
    let kinds = property.data_type.index_kinds().iter();
    kinds.map(|kind| Index {
        column: property.name.clone(),
        kind: match kind {
            IndexKind::Ordered => Kind::Ordered,
            IndexKind::FullText => Kind::FullText,
            IndexKind::NearestNeighbour => Kind::Nearest,
        },
    })
}

fn ordered(column: &str) -> Index {
    Index {
        column: column.to_owned(),
        kind: Kind::Ordered,
    }
}
