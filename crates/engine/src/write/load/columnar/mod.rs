//! Columnar input: Arrow IPC streams and files, and Parquet files. One input holds rows of one
//! type; its columns are the properties by their names, `id`, and for edges the ends.

mod cell;
mod cut;
mod ipc;
mod lz4;
mod mapping;
mod pages;
mod parquet;

#[cfg(test)]
mod tests;

pub(super) use self::cut::slices;
pub(super) use self::ipc::Frames;
pub(super) use self::mapping::{Mapping, convert, position_of};
pub(super) use self::parquet::{Part as FilePart, Room, Spool, read};
