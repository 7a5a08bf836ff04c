//! The objects that hold the content of blobs.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use omnigraph_lang::value::ManagedBlob;
use sha2::{Digest as _, Sha256};
use ulid::Ulid;

use super::super::{Tables, child};
use crate::error::{Error, Result};

/// Bytes that are read or written together: the most that one request moves.
pub(crate) const CHUNK: u64 = 4 << 20;
/// Objects that one write stores at the same time.
const PARALLEL: usize = 16;
/// Below the table; Lance's own managed objects are there too.
const DIRECTORY: &str = "_blobs";

/// Content that is to be stored.
#[derive(Clone, Debug)]
pub(crate) struct NewBlob {
    pub(crate) place: ManagedBlob,
    pub(crate) bytes: Bytes,
    /// SHA-256 of the content, in hexadecimal digits.
    pub(crate) digest: String,
}

impl NewBlob {
    /// Gives the content its place. The name is new every time, so that what is condemned as
    /// garbage can never be wanted again; the digest in it makes equal content known as equal.
    pub(crate) fn new(bytes: Bytes) -> Self {
        let digest = hex::encode(Sha256::digest(&bytes));
        let place = ManagedBlob {
            path: format!("{DIRECTORY}/{}-{digest}.blob", Ulid::new()),
            size: bytes.len() as u64,
        };
        Self {
            place,
            bytes,
            digest,
        }
    }
}

/// A place for content that is stored while it comes.
pub(crate) fn new_path() -> String {
    format!("{DIRECTORY}/{}.blob", Ulid::new())
}

impl Tables {
    /// Stores content: one request each.
    pub(crate) async fn put_blobs(&self, table: &str, blobs: Vec<NewBlob>) -> Result<()> {
        stream::iter(blobs)
            .map(|blob| async move {
                let path = self.blob_object(table, &blob.place.path);
                let payload = PutPayload::from(blob.bytes);
                self.blob_store().put(&path, payload).await?;
                Ok::<_, Error>(())
            })
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await
    }

    /// Reads a range of content that lies within it: one request.
    pub(crate) async fn read_blob(
        &self,
        table: &str,
        blob: &ManagedBlob,
        range: Range<u64>,
    ) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let path = self.blob_object(table, &blob.path);
        let wanted = range.end - range.start;
        let bytes = match self.blob_store().get_range(&path, range).await {
            Ok(bytes) => bytes,
            Err(error @ object_store::Error::NotFound { .. }) => {
                return Err(Error::corrupt(format!("{path} is missing")).with_source(error));
            }
            Err(error) => return Err(error.into()),
        };
        if bytes.len() as u64 != wanted {
            return Err(Error::corrupt(format!("{path} is too short")));
        }
        Ok(bytes)
    }

    /// Where the content of a blob of this table lies.
    pub(crate) fn blob_object(&self, table: &str, path: &str) -> Path {
        child(&self.shared.store.path(&self.relative_path(table)), path)
    }

    pub(crate) fn blob_store(&self) -> &Arc<dyn ObjectStore> {
        self.shared.store.object_store()
    }
}
