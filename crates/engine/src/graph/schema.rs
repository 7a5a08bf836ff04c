//! Versions of a graph's schema: content-addressed objects, never collected.

use std::collections::HashMap;
use std::sync::Arc;

use object_store::{ObjectStoreExt, PutPayload};
use omnigraph_lang::schema::Catalog;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::formats;
use super::model::{GraphRoot, STORAGE_FORMAT, SchemaFile};
use crate::error::{Error, Result};
use crate::store::Store;

/// One version of a graph's schema.
#[derive(Clone, Debug, PartialEq)]
pub struct SchemaVersion {
    /// Digest of the stored object: names this version for ever.
    pub digest: String,
    /// Digest of the meaning, without stable ids: equal for equal declarations.
    pub meaning: String,
    /// The `.pg` source.
    pub source: String,
    /// The checked schema with its stable ids.
    pub catalog: Catalog,
}

impl SchemaVersion {
    pub(crate) fn new(source: &str, catalog: Catalog) -> Result<(Self, Vec<u8>)> {
        let file = SchemaFile {
            format: STORAGE_FORMAT,
            source: source.to_owned(),
            catalog,
        };
        let bytes = serde_json::to_vec(&file)
            .map_err(|error| Error::internal("a schema cannot be written").with_source(error))?;
        let version = Self {
            digest: hex::encode(Sha256::digest(&bytes)),
            meaning: file.catalog.digest(),
            source: file.source,
            catalog: file.catalog,
        };
        Ok((version, bytes))
    }
}

/// Reads and writes the schema objects of one graph.
#[derive(Debug)]
pub(crate) struct Schemas {
    store: Store,
    directory: String,
    known: Mutex<HashMap<String, Arc<SchemaVersion>>>,
}

impl Schemas {
    pub(crate) fn new(store: Store, root: &GraphRoot) -> Self {
        Self {
            store,
            directory: format!("{}/schema", root.path()),
            known: Mutex::default(),
        }
    }

    /// Writes a version; writing it again changes nothing, because the name is the digest.
    pub(crate) async fn put(&self, source: &str, catalog: Catalog) -> Result<Arc<SchemaVersion>> {
        let (version, bytes) = SchemaVersion::new(source, catalog)?;
        let version = Arc::new(version);
        if self.known.lock().contains_key(&version.digest) {
            return Ok(version);
        }
        self.store
            .object_store()
            .put(&self.path(&version.digest), PutPayload::from(bytes))
            .await?;
        self.remember(&version);
        Ok(version)
    }

    /// The version with this digest, verified.
    pub(crate) async fn get(&self, digest: &str) -> Result<Arc<SchemaVersion>> {
        if let Some(version) = self.known.lock().get(digest) {
            return Ok(version.clone());
        }
        let bytes = self
            .store
            .object_store()
            .get(&self.path(digest))
            .await?
            .bytes()
            .await?;
        if hex::encode(Sha256::digest(&bytes)) != digest {
            return Err(Error::corrupt(format!(
                "schema {digest} of {} does not match its digest",
                self.directory
            )));
        }
        let file: SchemaFile = formats::read(&format!("{}/{digest}.json", self.directory), &bytes)?;
        let version = Arc::new(SchemaVersion {
            digest: digest.to_owned(),
            meaning: file.catalog.digest(),
            source: file.source,
            catalog: file.catalog,
        });
        self.remember(&version);
        Ok(version)
    }

    fn path(&self, digest: &str) -> object_store::path::Path {
        self.store
            .path(&format!("{}/{digest}.json", self.directory))
    }

    fn remember(&self, version: &Arc<SchemaVersion>) {
        self.known
            .lock()
            .insert(version.digest.clone(), version.clone());
    }
}
