//! Making a graph of a backup.

use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt};
use ulid::Ulid;

use super::Restored;
use super::copy::{At, Digested, copy};
use super::manifest::{LogRange, Logs, Manifest, Object};
use super::place::{Address, Place};
use crate::engine::{Authorship, Engine};
use crate::error::{Error, Result};
use crate::graph::model::BranchEntry;
use crate::graph::{BranchName, Commit, Graph, GraphId, GraphRoot, Incarnation};
use crate::log::{Log, Seq};

/// Objects that are copied at the same time.
const PARALLEL: usize = 8;

impl Engine {
    /// Makes a new incarnation of a graph from a backup, under any id. Nobody serves it until the
    /// cluster's ledger names it.
    ///
    /// # Errors
    /// `Corrupt`, naming the object, if one has not the content that was backed up: then nothing is
    /// left of the attempt.
    pub async fn restore_graph(
        &self,
        uri: &str,
        id: &GraphId,
        by: &Authorship,
    ) -> Result<Restored> {
        let (address, manifest) = Address::open(uri, self.store().options()).await?;
        self.store().probe_create_once().await?;
        let root = GraphRoot {
            id: id.clone(),
            incarnation: Incarnation(Ulid::new()),
        };
        let work: BoxFuture<'_, Result<()>> =
            Box::pin(self.restore_into(&root, &address.place, &manifest, by));
        match work.await {
            Ok(()) => {}
            Err(error) => {
                // It has no graph.json, so it is nothing; what cannot be removed now goes later.
                if let Err(left) = self.discard(&root).await {
                    tracing::warn!(graph = %id, %left, "a failed restoration was not removed");
                }
                return Err(error);
            }
        }
        let from = place_uri(&address);
        let now = self.store().clock().now_micros();
        self.put_restored_file(&root, now, from).await?;
        Ok(Restored {
            root,
            commit: manifest.header.commit.id,
            content: manifest.content(),
        })
    }

    /// Graphs that were made of backups, and from which; only the ledger knows which are in use.
    pub async fn restored_roots(&self) -> Result<Vec<(GraphRoot, String)>> {
        let mut restored = Vec::new();
        for root in self.graph_roots().await? {
            if let Some(from) = self.restored_from(&root).await? {
                restored.push((root, from));
            }
        }
        Ok(restored)
    }

    /// The backup that a graph was made of.
    pub async fn restored_from(&self, root: &GraphRoot) -> Result<Option<String>> {
        use object_store::ObjectStoreExt as _;
        let path = self.store().path(&format!("{}/graph.json", root.path()));
        let bytes = match self.store().object_store().get(&path).await {
            Ok(found) => found.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let file: crate::graph::model::GraphFile = serde_json::from_slice(&bytes)
            .map_err(|error| Error::corrupt(format!("{path} cannot be read")).with_source(error))?;
        Ok(file.restored_from)
    }

    async fn restore_into(
        &self,
        root: &GraphRoot,
        place: &Place,
        manifest: &Manifest,
        by: &Authorship,
    ) -> Result<()> {
        let of = GraphRoot {
            id: manifest.header.graph.clone(),
            incarnation: manifest.header.incarnation,
        };
        let files = self.copy_back(root, &of, place, manifest).await?;
        self.store().flush(files).await?;
        let graph = Graph::new(self.shared().clone(), root.clone());
        match &manifest.header.history {
            None => {
                let commit = first_commit(&manifest.header.commit, by);
                graph.begin(commit, by).await
            }
            Some(logs) => restore_logs(&graph, &of, place, manifest, logs, by).await,
        }
    }

    /// Everything but the logs of branches.
    async fn copy_back(
        &self,
        root: &GraphRoot,
        of: &GraphRoot,
        place: &Place,
        manifest: &Manifest,
    ) -> Result<Vec<object_store::path::Path>> {
        let objects: Vec<Object> = manifest
            .objects
            .iter()
            .filter(|object| !object.path.starts_with("branches/"))
            .cloned()
            .collect();
        let (store, root) = (self.store().clone(), root.path());
        let (of, place) = (of.clone(), place.clone());
        futures::stream::iter(objects)
            .map(move |object| {
                let (store, root) = (store.clone(), root.clone());
                let (of, place) = (of.clone(), place.clone());
                async move {
                    let from = place.object(&of, &object.path);
                    let to = format!("{root}/{}", object.path);
                    let from = At {
                        store: &place.store,
                        path: &from,
                    };
                    let target = At {
                        store: &store,
                        path: &to,
                    };
                    copy(from, target, Some(&digested(&object))).await?;
                    Ok::<_, Error>(store.path(&to))
                }
            })
            .buffered(PARALLEL)
            .try_collect()
            .await
    }

    async fn discard(&self, root: &GraphRoot) -> Result<()> {
        use object_store::ObjectStore as _;
        let prefix = self.store().path(&root.path());
        let listed = self.store().object_store().list(Some(&prefix));
        let objects: Vec<_> = listed
            .map_ok(|object| object.location)
            .try_collect()
            .await?;
        crate::graph::collect::delete(self.store(), objects).await?;
        if let Some(local) = self.store().local_root() {
            let directory = local.join(root.path());
            let _ = std::fs::remove_dir_all(&directory);
            // Only if no other incarnation is there.
            let _ = directory.parent().map(std::fs::remove_dir);
        }
        Ok(())
    }
}

/// The restored commit begins the graph's history. Epochs count per cluster.
fn first_commit(commit: &Commit, by: &Authorship) -> Commit {
    Commit {
        branch: BranchName::main(),
        parents: Vec::new(),
        control_epoch: by.control_epoch.unwrap_or(0),
        fences: None,
        idempotency: None,
        ..commit.clone()
    }
}

/// The logs come as they were, but for the epochs: `main` last, because without it there is nothing.
async fn restore_logs(
    graph: &Graph,
    of: &GraphRoot,
    place: &Place,
    manifest: &Manifest,
    logs: &Logs,
    by: &Authorship,
) -> Result<()> {
    if let Some(record) = &logs.kept {
        graph.shared.collection.begin_with(record).await?;
    }
    let mut ranges: Vec<&LogRange> = logs.branches.iter().collect();
    ranges.sort_by_key(|range| range.branch.is_main());
    for range in ranges {
        let entries = read_log(of, place, manifest, range, by).await?;
        graph
            .shared
            .branches
            .log(&range.branch)
            .import(&entries)
            .await?;
        if range.living {
            graph.shared.branches.mark_live(&range.branch).await;
        }
    }
    Ok(())
}

async fn read_log(
    of: &GraphRoot,
    place: &Place,
    manifest: &Manifest,
    range: &LogRange,
    by: &Authorship,
) -> Result<Vec<(Seq, BranchEntry)>> {
    let directory = place.object(of, &format!("branches/{}", range.branch.encoded()));
    let log: Log<BranchEntry> = Log::open(&place.store, &directory);
    let mut entries = Vec::new();
    for seq in range.seqs() {
        let path = range.path(seq);
        let object = manifest
            .objects
            .binary_search_by(|object| object.path.cmp(&path));
        let object = object.ok().and_then(|index| manifest.objects.get(index));
        let stored = place.object(of, &path);
        let at = At {
            store: &place.store,
            path: &stored,
        };
        let found = super::copy::digest(at).await?;
        if found != object.map(digested) || found.is_none() {
            return Err(Error::corrupt(format!(
                "object {} has another content than when it was backed up",
                place.store.uri(&stored)
            ))
            .with_hint("run omnigraphctl backup verify, and use another backup"));
        }
        let entry = log.get(Seq(seq)).await?;
        let mut entry = entry.ok_or_else(|| Error::corrupt(format!("object {path} is missing")))?;
        entry.event.set_control_epoch(by.control_epoch.unwrap_or(0));
        entries.push((Seq(seq), entry));
    }
    Ok(entries)
}

fn digested(object: &Object) -> Digested {
    Digested {
        bytes: object.bytes,
        sha256: object.sha256.clone(),
    }
}

fn place_uri(address: &Address) -> String {
    address
        .place
        .store
        .uri(&format!("{}/{}", address.graph, address.id))
}
