//! Sidecars: what a change of a live graph's schema is about to do, written before it does it, so
//! that whoever leads next can finish it or prove that it never happened.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload};
use omnigraph_engine::Store;
use omnigraph_engine::graph::{CommitId, GraphId};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::ledger::{GraphContent, Observation, PolicyContent};

const DIRECTORY: &str = "cluster/recoveries";
/// The newest format of sidecars.
const FORMAT: u32 = 1;

/// An operation under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sidecar {
    pub(crate) format: u32,
    /// Its name below the directory.
    pub(crate) id: Ulid,
    pub(crate) operation_id: Ulid,
    pub(crate) operation: String,
    pub(crate) graph: GraphId,
    pub(crate) actor: Option<String>,
    pub(crate) epoch: u64,
    pub(crate) created_at: i64,
    /// The commit that moves the schema, chosen beforehand.
    pub(crate) commit_id: CommitId,
    /// The head that the commit was staged on.
    pub(crate) expected_head: CommitId,
    pub(crate) before: GraphContent,
    /// The whole graph as it is to be, so that a roll-forward publishes a consistent whole.
    pub(crate) after: GraphContent,
    pub(crate) message: String,
    /// What decides about the graph from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policies: Option<Policies>,
    /// Set if this move is all that was left to be done: what the cluster is after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) completes: Option<Completion>,
}

/// The policies as the operation found and declared them: no graph is to have its new schema under
/// its old policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Policies {
    /// The revision that the move was made on; policies that were applied later are newer.
    pub(crate) revision: u64,
    pub(crate) after: BTreeMap<String, PolicyContent>,
}

/// What a revision says besides its graphs, once an operation has been finished.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Completion {
    /// The revision that the move was made on; it says nothing of later ones.
    pub(crate) revision: u64,
    pub(crate) config_digest: Digest,
    pub(crate) cluster_name: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) held_back: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) observations: BTreeMap<String, Observation>,
}

impl Sidecar {
    pub(crate) fn current_format() -> u32 {
        FORMAT
    }
}

/// What lies in the directory.
#[derive(Debug)]
pub(crate) enum Found {
    Sidecar(Box<Sidecar>),
    /// It cannot be read, so its reach is unknown: every change has to wait.
    Unattributable {
        path: String,
        reason: String,
    },
}

/// The sidecars of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Sidecars {
    store: Store,
}

impl Sidecars {
    pub(crate) fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
        }
    }

    /// Writes a sidecar.
    pub(crate) async fn arm(&self, sidecar: &Sidecar) -> Result<()> {
        let bytes = serde_json::to_vec(sidecar)
            .map_err(|error| Error::internal("a sidecar cannot be written").with_source(error))?;
        let path = self.path(sidecar.id);
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        let payload = PutPayload::from(bytes);
        let put = self
            .store
            .object_store()
            .put_opts(&path, payload, options)
            .await;
        match put {
            // A repeat of the client library's own: the id is ours alone.
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a sidecar; one that is gone already is fine.
    pub(crate) async fn disarm(&self, id: Ulid) -> Result<()> {
        match self.store.object_store().delete(&self.path(id)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Every sidecar, oldest first: one listing, and one request each.
    pub(crate) async fn list(&self) -> Result<Vec<Found>> {
        let directory = self.store.path(DIRECTORY);
        let objects = self.store.object_store().list(Some(&directory));
        let mut paths: Vec<Path> = objects.map_ok(|meta| meta.location).try_collect().await?;
        paths.sort();
        let mut found = Vec::new();
        for path in paths {
            match self.store.object_store().get(&path).await {
                Ok(got) => found.push(read(&path, &got.bytes().await?)),
                // Resolved by its owner in the meantime.
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(found)
    }

    fn path(&self, id: Ulid) -> Path {
        self.store.path(&format!("{DIRECTORY}/{id}.json"))
    }
}

/// The one place that decides whether a sidecar concerns one graph or the whole cluster: what
/// cannot be parsed, has an unknown format or is not under its own name has an unknown reach.
fn read(path: &Path, bytes: &[u8]) -> Found {
    let unattributable = |reason: String| Found::Unattributable {
        path: path.to_string(),
        reason,
    };
    let sidecar: Sidecar = match serde_json::from_slice(bytes) {
        Ok(sidecar) => sidecar,
        Err(error) => return unattributable(error.to_string()),
    };
    if sidecar.format > FORMAT {
        return unattributable(format!("its format {} is not known", sidecar.format));
    }
    let name = format!("{}.json", sidecar.id);
    if path.filename() != Some(name.as_str()) {
        return unattributable("its name is not its id".to_owned());
    }
    Found::Sidecar(Box::new(sidecar))
}
