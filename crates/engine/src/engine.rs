//! The engine: everything that graphs of one storage root share in one process.

use std::sync::Arc;

use lance::session::Session;
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload};

use crate::error::{Error, ErrorKind, Result};
use crate::exec::{PlanCache, SnapshotCache};
use crate::graph::{
    ActorId, BranchName, CommitId, Graph, GraphId, GraphRoot, Incarnation, model, read_stored,
    schema_of,
};
use crate::store::Store;
use crate::table::Tables;

/// Bytes that Lance may keep of indexes and of file metadata.
const LANCE_INDEX_CACHE: usize = 256 << 20;
const LANCE_METADATA_CACHE: usize = 128 << 20;
/// How often an object that only we write is put before its outcome counts as unknown.
const PUT_TRIES: u32 = 3;
/// Checked queries that are kept.
const PLANS: usize = 1024;

/// Sizes of what the engine keeps.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Bytes for columns and adjacency in memory.
    pub cache_bytes: u64,
    /// Bytes of memory that one load may take.
    pub load_memory: u64,
    /// Bytes of the largest file that a load may keep on local disk while it reads it.
    pub load_spool: u64,
}

impl Default for EngineOptions {
    /// Half of the memory that the machine or its container has for caches;
    /// `OMNIGRAPH_LOAD_MEMORY` (256 MiB) and `OMNIGRAPH_LOAD_SPOOL` (64 GiB) for loads.
    fn default() -> Self {
        Self {
            cache_bytes: memory_limit().map_or(2 << 30, |limit| limit / 2),
            load_memory: setting("OMNIGRAPH_LOAD_MEMORY", 256 << 20),
            load_spool: setting("OMNIGRAPH_LOAD_SPOOL", 64 << 30),
        }
    }
}

impl EngineOptions {
    /// Little memory: nothing is looked at twice.
    pub(crate) fn for_checks() -> Self {
        Self {
            cache_bytes: 64 << 20,
            ..Self::default()
        }
    }
}

/// On whose behalf something is written.
#[derive(Clone, Debug, Default)]
pub struct Authorship {
    /// Who asked for it.
    pub actor: Option<ActorId>,
    /// The epoch of the control plane that does it; none for data.
    pub control_epoch: Option<u64>,
    /// What the author says about it.
    pub message: Option<String>,
}

/// Opens and prepares graphs. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) session: Arc<Session>,
    pub(crate) snapshots: SnapshotCache,
    pub(crate) plans: PlanCache,
    pub(crate) load: LoadLimits,
    /// Whether tables are outlines.
    pub(crate) outline: bool,
}

/// What one load may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoadLimits {
    /// Bytes of memory.
    pub(crate) memory: u64,
    /// Bytes of a file on local disk.
    pub(crate) spool: u64,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Engine").field(&self.shared.store).finish()
    }
}

impl Engine {
    /// An engine over a storage root.
    pub fn new(store: Store, options: EngineOptions) -> Self {
        Self::with_outline(store, &options, false)
    }

    /// An engine whose tables are numbers of rows without rows, for simulations: what is done to
    /// schemas and branches is real, and nothing can be read from tables or loaded into them.
    #[cfg(debug_assertions)]
    pub fn outlined(store: Store, options: &EngineOptions) -> Self {
        Self::with_outline(store, options, true)
    }

    fn with_outline(store: Store, options: &EngineOptions, outline: bool) -> Self {
        let session = Session::new(
            LANCE_INDEX_CACHE,
            LANCE_METADATA_CACHE,
            store.lance_registry().clone(),
        );
        Self {
            shared: Arc::new(Shared {
                session: Arc::new(session),
                snapshots: SnapshotCache::new(options.cache_bytes),
                plans: PlanCache::new(PLANS),
                load: LoadLimits {
                    memory: options.load_memory,
                    spool: options.load_spool,
                },
                outline,
                store,
            }),
        }
    }

    /// An engine over the same root that knows nothing yet.
    pub(crate) fn without_caches(&self) -> Self {
        Self::new(self.shared.store.clone(), EngineOptions::for_checks())
    }

    /// The storage root.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// Prepares a new incarnation of a graph, with empty tables and its first commit on `main`.
    /// Nobody sees it until the cluster's ledger names it.
    pub async fn create_graph(
        &self,
        id: &GraphId,
        schema_source: &str,
        by: &Authorship,
    ) -> Result<GraphRoot> {
        let (catalog, _) = omnigraph_lang::schema::parse_schema(schema_source)
            .map_err(|found| Error::diagnostics(ErrorKind::Invalid, found))?;
        self.shared.store.probe_create_once().await?;
        let root = GraphRoot {
            id: id.clone(),
            incarnation: Incarnation(self.shared.store.clock().fresh_id()),
        };
        let tables = self.tables(&root);
        let mut table_refs = std::collections::BTreeMap::new();
        for entity in catalog.entities() {
            table_refs.insert(entity.body().id, tables.create(entity).await?);
        }
        let schemas = schema_of(&self.shared.store, &root);
        let schema = schemas.put(schema_source, catalog).await?;
        let now = self.shared.store.clock().now_micros();
        let commit_id = CommitId(self.shared.store.clock().fresh_id());
        let first = model::Commit {
            id: commit_id,
            branch: BranchName::main(),
            parents: Vec::new(),
            version: 1,
            actor: by.actor.clone(),
            created_at: now,
            message: by.message.clone(),
            kind: model::CommitKind::Schema,
            schema: schema.digest.clone(),
            schema_commit: commit_id,
            control_epoch: by.control_epoch.unwrap_or(0),
            fences: None,
            idempotency: None,
            touched: Vec::new(),
            tables: table_refs,
        };
        let graph = Graph::new(self.shared.clone(), root.clone());
        graph.begin(first, by).await?;
        // Last: without it there is no graph, and what was begun is removed some time.
        self.put_graph_file(&root, now).await?;
        Ok(root)
    }

    /// Opens a graph: one request.
    pub async fn open_graph(&self, root: &GraphRoot) -> Result<Graph> {
        let path = self
            .shared
            .store
            .path(&format!("{}/graph.json", root.path()));
        let bytes = match self.shared.store.object_store().get(&path).await {
            Ok(found) => found.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => {
                return Err(Error::not_found(format!(
                    "graph '{}' has no incarnation {} in {}",
                    root.id,
                    root.incarnation,
                    self.shared.store.root_uri()
                )));
            }
            Err(error) => return Err(error.into()),
        };
        let file: model::GraphFile = read_stored(path.as_ref(), &bytes)?;
        if file.graph_id != root.id || file.incarnation != root.incarnation {
            return Err(Error::corrupt(format!(
                "{path} belongs to graph '{}', incarnation {}",
                file.graph_id, file.incarnation
            )));
        }
        Ok(Graph::new(self.shared.clone(), root.clone()))
    }

    /// Ends every branch of a graph, so that no late writer can add to it.
    pub async fn tombstone_graph(&self, root: &GraphRoot, by: &Authorship) -> Result<()> {
        Graph::new(self.shared.clone(), root.clone())
            .end_all_branches(by)
            .await
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn tables(&self, root: &GraphRoot) -> Tables {
        Tables::new(self.shared.store.clone(), self.shared.session.clone(), root)
            .outlined(self.shared.outline)
    }

    async fn put_graph_file(&self, root: &GraphRoot, created_at: i64) -> Result<()> {
        self.put_graph_file_from(root, created_at, None).await
    }

    /// What makes a restored graph one.
    pub(crate) async fn put_restored_file(
        &self,
        root: &GraphRoot,
        created_at: i64,
        from: String,
    ) -> Result<()> {
        self.put_graph_file_from(root, created_at, Some(from)).await
    }

    async fn put_graph_file_from(
        &self,
        root: &GraphRoot,
        created_at: i64,
        restored_from: Option<String>,
    ) -> Result<()> {
        let file = model::GraphFile {
            format: model::STORAGE_FORMAT,
            graph_id: root.id.clone(),
            incarnation: root.incarnation,
            created_at,
            restored_from,
        };
        let bytes = serde_json::to_vec(&file)
            .map_err(|error| Error::internal("graph.json cannot be written").with_source(error))?;
        let path = self
            .shared
            .store
            .path(&format!("{}/graph.json", root.path()));
        self.put_once(&path, bytes).await
    }

    /// Creates an object that only we would write. After an answer that leaves it open, the object
    /// itself tells; not found is no answer, because the first put may still land.
    async fn put_once(&self, path: &object_store::path::Path, bytes: Vec<u8>) -> Result<()> {
        let objects = self.shared.store.object_store();
        let bytes = bytes::Bytes::from(bytes);
        let mut tries = 1;
        loop {
            let options = PutOptions {
                mode: PutMode::Create,
                ..PutOptions::default()
            };
            let put = objects.put_opts(path, PutPayload::from(bytes.clone()), options);
            let Err(error) = put.await else {
                return Ok(());
            };
            let found = match objects.get(path).await {
                Ok(found) => found.bytes().await.ok(),
                Err(_) => None,
            };
            match found {
                Some(found) if found == bytes => return Ok(()),
                None if tries < PUT_TRIES => tries += 1,
                Some(_) | None => {
                    let message = format!(
                        "outcome unknown: the object store did not say whether {path} was written"
                    );
                    return Err(Error::new(ErrorKind::Unavailable, message).with_source(error));
                }
            }
        }
    }
}

/// A number of bytes from the environment.
fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name).map(|text| text.trim().parse()) {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => {
            tracing::warn!(setting = name, default, "not a number of bytes");
            default
        }
        Err(_) => default,
    }
}

/// The memory limit of the control group, or the machine's memory.
fn memory_limit() -> Option<u64> {
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok());
    let machine = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
            let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
            Some(kib * 1024)
        });
    match (group, machine) {
        (Some(group), Some(machine)) => Some(group.min(machine)),
        (one, other) => one.or(other),
    }
}
