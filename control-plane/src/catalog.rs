//! The catalog: content-addressed objects that are verified whenever they are read.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt, PutPayload};
use omnigraph_engine::Store;
use parking_lot::Mutex;

use crate::digest::Digest;
use crate::error::{Error, Result};

/// The directory below the storage root.
const DIRECTORY: &str = "cluster/catalog";
/// Objects that are read at the same time.
const PARALLEL_READS: usize = 32;

/// What a catalog object holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

    /// What brings it back.
    fn remedy(self) -> &'static str {
        match self {
            BlobKind::Schema | BlobKind::Query | BlobKind::Policy | BlobKind::Cedar => {
                "apply the configuration again, which publishes it anew"
            }
            BlobKind::Revision => {
                "omnigraphctl import builds it anew from graphs and configuration"
            }
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
    /// Objects that were read and were right, as they looked in the listing: an object that looks
    /// the same is not read again. Clones share it.
    verified: Arc<Mutex<HashMap<Path, Look>>>,
}

/// How an object looks without being read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Look {
    size: u64,
    modified: i64,
    e_tag: Option<String>,
}

impl From<&ObjectMeta> for Look {
    fn from(meta: &ObjectMeta) -> Self {
        Self {
            size: meta.size,
            modified: meta.last_modified.timestamp_micros(),
            e_tag: meta.e_tag.clone(),
        }
    }
}

/// What is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BlobTrouble {
    Missing,
    /// It is not what its digest says.
    Tampered,
    /// The store did not hand it out; whether it is right is not known.
    Unreadable(String),
}

impl Catalog {
    pub(crate) fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            verified: Arc::default(),
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
                    .with_hint(kind.remedy()));
            }
            Err(error) => return Err(error.into()),
        };
        match verify(digest, &content) {
            Ok(()) => Ok(content),
            Err(error) => Err(error.with_hint(kind.remedy())),
        }
    }

    /// Looks at objects and says what is wrong with which: one listing, and one request for each
    /// that this process has not seen like this before.
    pub(crate) async fn check(
        &self,
        blobs: impl IntoIterator<Item = (Digest, BlobKind)>,
    ) -> Result<BTreeMap<(Digest, BlobKind), BlobTrouble>> {
        let wanted: Vec<(Digest, BlobKind)> = blobs.into_iter().collect();
        if wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let listed = self.list().await?;
        let looks: HashMap<&Path, Look> = listed
            .iter()
            .map(|meta| (&meta.location, Look::from(meta)))
            .collect();
        let mut troubles = BTreeMap::new();
        let mut unseen = Vec::new();
        for (digest, kind) in wanted {
            let path = self.path(&digest, kind);
            match looks.get(&path) {
                None => {
                    troubles.insert((digest, kind), BlobTrouble::Missing);
                }
                Some(look) if self.verified.lock().get(&path) == Some(look) => {}
                Some(look) => unseen.push((digest, kind, path, look.clone())),
            }
        }
        let found: Vec<_> = futures::stream::iter(unseen)
            .map(|(digest, kind, path, look)| async move {
                let trouble = self.look_into(&digest, &path).await;
                if trouble.is_none() {
                    self.verified.lock().insert(path, look);
                }
                ((digest, kind), trouble)
            })
            .buffer_unordered(PARALLEL_READS)
            .collect()
            .await;
        let found = found.into_iter();
        troubles.extend(found.filter_map(|(key, trouble)| Some((key, trouble?))));
        Ok(troubles)
    }

    async fn look_into(&self, digest: &Digest, path: &Path) -> Option<BlobTrouble> {
        let read = async { self.store.object_store().get(path).await?.bytes().await };
        match read.await {
            Ok(content) if Digest::of(&content) == *digest => None,
            Ok(_) => Some(BlobTrouble::Tampered),
            Err(object_store::Error::NotFound { .. }) => Some(BlobTrouble::Missing),
            Err(error) => Some(BlobTrouble::Unreadable(error.to_string())),
        }
    }

    /// Every object that lies in the catalog.
    pub(crate) async fn list(&self) -> Result<Vec<ObjectMeta>> {
        let directory = self.store.path(DIRECTORY);
        let listed = self.store.object_store().list(Some(&directory));
        Ok(listed.try_collect().await?)
    }

    pub(crate) fn path(&self, digest: &Digest, kind: BlobKind) -> Path {
        let extension = kind.extension();
        self.store
            .path(&format!("{DIRECTORY}/{digest}.{extension}"))
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
