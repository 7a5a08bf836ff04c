//! Reading blob cells: what one holds, and its content by range.

use std::ops::Range;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use omnigraph_lang::schema::{DataType, EntityType};
use omnigraph_lang::value::{Blob, KeptBlob, ManagedBlob, Value};

use super::{Graph, Snapshot};
use crate::error::{Error, Result};
use crate::exec::{TableSource, values};
use crate::table::Tables;
use crate::table::blob::CHUNK;

/// Pieces of one blob that are held at the same time.
const PIECES: usize = 2;

/// Names one blob cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobSelector {
    /// Whether the entity is an edge.
    pub edge: bool,
    /// The type's name.
    pub type_name: String,
    /// The entity's id.
    pub id: String,
    /// The property's name.
    pub property: String,
}

/// What a blob cell holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobInfo {
    /// Bytes that the graph stores itself.
    Managed {
        /// How many.
        size: u64,
        /// Equal tags mean equal bytes, whatever the commit, branch or entity.
        etag: String,
    },
    /// A reference to an object elsewhere, which is never followed.
    External {
        /// As it was written.
        uri: String,
    },
}

/// Part of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// From a position to before another one, or to the end.
    Span(u64, Option<u64>),
    /// The last so many bytes.
    Suffix(u64),
}

/// The content of a managed blob. Holds no bytes; the snapshot's retention keeps them readable.
#[derive(Clone, Debug)]
pub struct BlobContent {
    tables: Tables,
    table: String,
    blob: ManagedBlob,
}

impl ByteRange {
    /// The bytes that it means of so many, its end clamped; `None` if it means none.
    pub fn of(self, length: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::Span(start, end) => start..end.unwrap_or(length).min(length),
            Self::Suffix(last) => length.saturating_sub(last)..length,
        };
        (range.start < range.end).then_some(range)
    }
}

impl Graph {
    /// What a blob cell holds. Reads no content.
    ///
    /// # Errors
    /// `NotFound` for an entity that is not there and for a null cell, `Invalid` for what is no
    /// blob property.
    pub async fn stat_blob(
        &self,
        snapshot: &Snapshot,
        selector: &BlobSelector,
    ) -> Result<BlobInfo> {
        Ok(self.open_blob(snapshot, selector).await?.0)
    }

    /// What a blob cell holds, and its content if the graph has it.
    ///
    /// # Errors
    /// Those of [`Graph::stat_blob`].
    pub async fn open_blob(
        &self,
        snapshot: &Snapshot,
        selector: &BlobSelector,
    ) -> Result<(BlobInfo, Option<BlobContent>)> {
        let entity = entity(snapshot, selector)?;
        let property = property(entity, selector)?;
        let (key, dataset) = snapshot.dataset(entity.body().id).await?;
        let table = Box::pin(self.snapshots().get(&dataset, &key)).await?;
        let missing = || {
            Error::not_found(format!(
                "{} has no entity with the id '{}'",
                entity.body().name,
                crate::write::shorten(&selector.id)
            ))
        };
        if table.live_rows() == 0 {
            return Err(missing());
        }
        let ordinal = table.ordinal_of(&selector.id).await?.ok_or_else(missing)?;
        let cell = table.column(property).await?.gather(&[ordinal])?;
        match values::value_at(cell.as_ref(), 0) {
            Value::Blob(Blob::Kept(KeptBlob::Managed(blob))) => {
                let info = BlobInfo::Managed {
                    size: blob.size,
                    etag: blob.etag().to_owned(),
                };
                let content = BlobContent {
                    tables: snapshot.tables.clone(),
                    table: snapshot.table(entity.body().id)?.path.clone(),
                    blob,
                };
                Ok((info, Some(content)))
            }
            Value::Blob(Blob::Kept(KeptBlob::External { uri })) => {
                Ok((BlobInfo::External { uri }, None))
            }
            _ if cell.is_null(0) => Err(Error::not_found(format!(
                "property {property} of {} '{}' is null",
                entity.body().name,
                crate::write::shorten(&selector.id)
            ))),
            _ => Err(Error::corrupt(format!(
                "property {property} of {} '{}' has a damaged descriptor",
                entity.body().name,
                crate::write::shorten(&selector.id)
            ))),
        }
    }
}

impl BlobContent {
    /// How many bytes there are.
    pub fn size(&self) -> u64 {
        self.blob.size
    }

    /// The bytes of a range, clamped to the content, in pieces of at most 4 MiB, one request
    /// each; at most two pieces are held.
    pub fn read(&self, range: Range<u64>) -> impl Stream<Item = Result<Bytes>> + Send + use<> {
        let end = range.end.min(self.blob.size);
        let start = range.start;
        let content = self.clone();
        let count = end.saturating_sub(start).div_ceil(CHUNK);
        stream::iter(0..count)
            .map(move |piece| {
                let content = content.clone();
                let from = start + piece * CHUNK;
                async move {
                    let piece = from..end.min(from + CHUNK);
                    content
                        .tables
                        .read_blob(&content.table, &content.blob, piece)
                        .await
                }
            })
            .buffered(PIECES)
    }
}

fn entity<'s>(snapshot: &'s Snapshot, selector: &BlobSelector) -> Result<EntityType<'s>> {
    let name = &selector.type_name;
    let is_it = |entity: &EntityType<'_>| match entity {
        EntityType::Node(node) => !selector.edge && node.name == *name,
        EntityType::Edge(edge) => selector.edge && edge.name.eq_ignore_ascii_case(name),
    };
    let found = snapshot.schema.catalog.entities().find(is_it);
    found.ok_or_else(|| {
        let kind = if selector.edge { "edge" } else { "node" };
        let shown = crate::write::shorten(name);
        Error::invalid(format!("there is no {kind} type '{shown}'"))
    })
}

fn property<'s>(entity: EntityType<'s>, selector: &BlobSelector) -> Result<&'s str> {
    let mut properties = entity.body().properties.iter();
    let found = properties.find(|property| property.name == selector.property);
    match found {
        Some(property) if property.data_type == DataType::Blob => Ok(&property.name),
        Some(property) => Err(Error::invalid(format!(
            "property {}.{} is a {}, not a Blob",
            entity.body().name,
            property.name,
            property.data_type
        ))),
        None => Err(Error::invalid(format!(
            "{} has no property '{}'",
            entity.body().name,
            crate::write::shorten(&selector.property)
        ))),
    }
}
