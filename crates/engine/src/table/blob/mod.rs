//! Blob properties: Lance's blob columns with *managed* descriptors.
//!
//! A cell holds a descriptor: kind, path, position and size. The content is one object
//! `<table>/_blobs/<ulid>-<sha256>.blob`, written before the row that names it and never again.
//! So a row that is rewritten (another property is updated, rows are compacted, a branch is
//! merged) keeps its content where it is, whatever its size, and readers of Lance's own blob
//! interface find it by the descriptor.
//!
//! What was found in lance 14.0.2, and is relied upon:
//!
//! - A blob column (`lance.blob.v2`, file version 2.2 or newer, which is the default) has three
//!   layouts: *logical* in schemas (`data`, `uri`), *descriptor* in scans (`kind`, `position`,
//!   `size`, `blob_id`, `blob_uri`), *prepared* at the writer (`kind`, `data`, `uri`, `blob_id`,
//!   `blob_size`, `position`). In this program rows are in the descriptor layout; they are
//!   prepared where they are handed to Lance, in [`columns`].
//! - Left to itself Lance keeps content inside the data file, or in files named after it, and
//!   copies it whenever the row moves. With the schema metadata `lance.blob.managed` it accepts
//!   descriptors of objects that live by themselves, and compaction passes them on unread.
//! - Detached commits, deletion vectors, stable row ids, projections and added or dropped columns
//!   see an ordinary struct column. `merge_insert` and `update` of Lance are not used.
//! - Manifests do not list the objects under `_blobs`: whoever collects garbage reads them from
//!   the cells, with [`columns::managed_paths`]. No other base path or side file comes into being.

mod columns;
mod objects;

#[cfg(test)]
mod tests;

pub(crate) use self::columns::managed_paths;
pub(crate) use self::columns::{
    array_of, cell_type, descriptor_type, is_blob, prepared_batch, prepared_schema, stored_field,
    stored_schema, table_metadata, unloaded, value_at, with_places,
};
pub(crate) use self::objects::{CHUNK, NewBlob, new_path};
