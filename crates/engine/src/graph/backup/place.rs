//! Where backups lie, and finding them.

use std::path::Path as FilePath;

use futures::TryStreamExt;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use ulid::Ulid;

use super::manifest::Manifest;
use super::{Amount, BackupInfo};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::{GraphId, GraphRoot};
use crate::store::{Store, StoreOptions};

const MANIFEST: &str = "manifest.ndjson";

/// A storage root for backups.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) store: Store,
}

/// One backup.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) place: Place,
    pub(super) graph: GraphId,
    pub(super) id: Ulid,
}

impl Place {
    /// Opens a place to write to.
    pub(super) async fn create(uri: &str, options: &StoreOptions) -> Result<Self> {
        let store = Store::open(uri, options.clone()).await?;
        Ok(Self { store })
    }

    /// Opens a place that has to be there.
    pub(super) async fn open(uri: &str, options: &StoreOptions) -> Result<Self> {
        let local = match uri.split_once("://") {
            None => Some(uri),
            Some(("file", path)) => Some(path),
            Some(_) => None,
        };
        if let Some(directory) = local.filter(|directory| !FilePath::new(directory).is_dir()) {
            return Err(Error::not_found(format!(
                "there is no directory {directory}"
            )));
        }
        Self::create(uri, options).await
    }

    /// Where an object of a graph is kept.
    pub(super) fn object(&self, root: &GraphRoot, path: &str) -> String {
        format!("{}/objects/{}/{path}", root.id, root.incarnation)
    }

    pub(super) fn manifest(&self, graph: &GraphId, id: Ulid) -> String {
        format!("{graph}/{id}/{MANIFEST}")
    }

    /// All backups, of one graph or of all: oldest first.
    pub(super) async fn list(&self, graph: Option<&GraphId>) -> Result<Vec<Manifest>> {
        let prefix = match graph {
            Some(graph) => self.store.path(graph.as_str()),
            None => self.store.path(""),
        };
        let mut found = Vec::new();
        for (graph, id) in self.ids(&prefix, graph).await? {
            if let Some(manifest) = self.read(&graph, id).await? {
                found.push(manifest);
            }
        }
        found.sort_by_key(|manifest| manifest.header.backup);
        Ok(found)
    }

    async fn ids(
        &self,
        prefix: &object_store::path::Path,
        graph: Option<&GraphId>,
    ) -> Result<Vec<(GraphId, Ulid)>> {
        let objects = self.store.object_store();
        let graphs = match graph {
            Some(graph) => vec![graph.clone()],
            None => directories(objects.list_with_delimiter(Some(prefix)).await?)
                .iter()
                .filter_map(|name| GraphId::parse(name).ok())
                .collect(),
        };
        let mut ids = Vec::new();
        for graph in graphs {
            let directory = self.store.path(graph.as_str());
            let listed = objects.list_with_delimiter(Some(&directory)).await?;
            let backups = directories(listed);
            let backups = backups
                .iter()
                .filter_map(|name| Ulid::from_string(name).ok());
            ids.extend(backups.map(|id| (graph.clone(), id)));
        }
        Ok(ids)
    }

    /// A manifest; none if the backup is not complete.
    pub(super) async fn read(&self, graph: &GraphId, id: Ulid) -> Result<Option<Manifest>> {
        let relative = self.manifest(graph, id);
        let bytes = match self
            .store
            .object_store()
            .get(&self.store.path(&relative))
            .await
        {
            Ok(found) => found.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let manifest = Manifest::read(&self.store.uri(&relative), &bytes)?;
        if manifest.header.backup != id || manifest.header.graph != *graph {
            return Err(Error::corrupt(format!(
                "backup manifest {} belongs to another backup",
                self.store.uri(&relative)
            )));
        }
        Ok(Some(manifest))
    }

    /// Sizes of the objects that are kept of a graph, by path below its root.
    pub(super) async fn present(
        &self,
        root: &GraphRoot,
    ) -> Result<std::collections::HashMap<String, u64>> {
        let directory = self.object(root, "");
        let directory = directory.trim_end_matches('/').to_owned();
        let prefix = self.store.path(&directory);
        let mut present = std::collections::HashMap::new();
        let mut listed = self.store.object_store().list(Some(&prefix));
        while let Some(object) = listed.try_next().await? {
            let path = crate::graph::collect::below(&self.store, &directory, &object.location);
            present.extend(path.map(|path| (path, object.size)));
        }
        Ok(present)
    }

    pub(super) fn info(&self, manifest: &Manifest, copied: Amount) -> BackupInfo {
        let header = &manifest.header;
        BackupInfo {
            id: header.backup,
            graph: header.graph.clone(),
            incarnation: header.incarnation,
            commit: header.commit.id,
            history: header.history.is_some(),
            created_at: header.created_at,
            uri: self
                .store
                .uri(&format!("{}/{}", header.graph, header.backup)),
            manifest_uri: self.store.uri(&self.manifest(&header.graph, header.backup)),
            content: manifest.content(),
            copied,
        }
    }
}

impl Address {
    /// Finds a backup by its URI, or by that of its manifest.
    pub(super) async fn open(uri: &str, options: &StoreOptions) -> Result<(Self, Manifest)> {
        let whole = uri.trim_end_matches('/');
        let trimmed = whole.strip_suffix(MANIFEST).unwrap_or(whole);
        let mut parts = trimmed.trim_end_matches('/').rsplitn(3, '/');
        let (id, graph, root) = (parts.next(), parts.next(), parts.next());
        let malformed = || {
            Error::invalid(format!("'{uri}' is no backup"))
                .with_hint("it ends in <graph>/<backup id>, as backup list shows it")
        };
        let id = id
            .and_then(|id| Ulid::from_string(id).ok())
            .ok_or_else(malformed)?;
        let graph = graph
            .and_then(|graph| GraphId::parse(graph).ok())
            .ok_or_else(malformed)?;
        let place = Place::open(root.ok_or_else(malformed)?, options).await?;
        let manifest = place.read(&graph, id).await?.ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!("there is no complete backup at {uri}"),
            )
        })?;
        let address = Self { place, graph, id };
        Ok((address, manifest))
    }
}

fn directories(listed: object_store::ListResult) -> Vec<String> {
    let names = listed
        .common_prefixes
        .iter()
        .filter_map(|path| path.filename());
    names.map(str::to_owned).collect()
}
