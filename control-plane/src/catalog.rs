//! The catalog: content-addressed objects that are verified whenever they are read.

use bytes::Bytes;
use object_store::{ObjectStoreExt, PutPayload};
use omnigraph_engine::Store;

use crate::digest::Digest;
use crate::error::{Error, Result};

/// What a catalog object holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobKind {
    /// The source of a schema.
    Schema,
    /// The source of one stored query.
    Query,
    /// A policy bundle in YAML, or the groups beside one in Cedar.
    Policy,
    /// A policy bundle in Cedar.
    Cedar,
    /// The content of a revision.
    Revision,
}

impl BlobKind {
    fn extension(self) -> &'static str {
        match self {
            BlobKind::Schema => "pg",
            BlobKind::Query => "gq",
            BlobKind::Policy => "yaml",
            BlobKind::Cedar => "cedar",
            BlobKind::Revision => "json",
        }
    }

    /// The word for it on the wire.
    pub fn label(self) -> &'static str {
        match self {
            BlobKind::Schema => "schema",
            BlobKind::Query => "query",
            BlobKind::Policy | BlobKind::Cedar => "policy",
            BlobKind::Revision => "revision",
        }
    }
}

/// Reads and writes the catalog of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Catalog {
    store: Store,
}

impl Catalog {
    pub(crate) fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
        }
    }

    /// Writes content under its digest. Writing it again changes nothing, and repairs what was
    /// tampered with.
    pub(crate) async fn put(&self, kind: BlobKind, content: &[u8]) -> Result<Digest> {
        let digest = Digest::of(content);
        let path = self.path(&digest, kind);
        let payload = PutPayload::from(content.to_vec());
        self.store.object_store().put(&path, payload).await?;
        Ok(digest)
    }

    /// Reads and verifies content.
    pub(crate) async fn get(&self, digest: &Digest, kind: BlobKind) -> Result<Bytes> {
        let path = self.path(digest, kind);
        let content = match self.store.object_store().get(&path).await {
            Ok(got) => got.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => {
                return Err(Error::corrupt(format!("catalog object {path} is missing"))
                    .with_hint("apply the configuration again, which publishes it anew"));
            }
            Err(error) => return Err(error.into()),
        };
        verify(digest, &content)?;
        Ok(content)
    }

    fn path(&self, digest: &Digest, kind: BlobKind) -> object_store::path::Path {
        let extension = kind.extension();
        self.store
            .path(&format!("cluster/catalog/{digest}.{extension}"))
    }
}

/// Refuses content that does not have this digest.
pub(crate) fn verify(digest: &Digest, content: &[u8]) -> Result<()> {
    if Digest::of(content) == *digest {
        return Ok(());
    }
    let message = format!("catalog content {digest} does not match its digest");
    Err(Error::corrupt(message).with_hint("apply the configuration again, which publishes it anew"))
}
