//! A graph over a store in memory that can be forked, looked into, and made to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use lance_io::object_store::WrappingObjectStore;
use object_store::list::PaginatedListStore;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt as _};

use crate::engine::{Authorship, Engine, EngineOptions};
use crate::graph::{
    BranchName, CollectOptions, FsckOptions, FsckReport, Graph, GraphId, GraphRoot, ReadOptions,
    Retention, Target, WriteOptions,
};
use crate::log::fault::{FaultStore, TestClock};
use crate::store::{Clock as _, Store, StoreOptions, SystemClock};
use crate::write::{LoadMode, LoadOptions};

pub(super) const SCHEMA: &str = "
node Package { name: String @key  size: I32?  summary: String? @index  @range(size, 0..1000) }
node Team { name: String @key }
edge DependsOn: Package -> Package { floor: String?  @key(src, dst) }
edge Owns: Team -> Package { @key(src, dst) }
";

/// A graph, the store that it lies in, and what makes that fail.
pub(super) struct World {
    memory: Arc<InMemory>,
    pub(super) faults: FaultStore,
    clock: Arc<TestClock>,
    pub(super) engine: Engine,
    pub(super) root: GraphRoot,
    pub(super) graph: Graph,
}

/// What people see of a graph: for each living branch its schema and its entities.
pub(super) type State = BTreeMap<String, (String, BTreeSet<String>)>;

/// Puts a store of ours below Lance, whatever it wanted to use.
#[derive(Debug)]
struct Below(FaultStore);

impl WrappingObjectStore for Below {
    fn wrap(&self, _: &str, _: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
        Arc::new(self.0.clone())
    }

    fn wrap_paginated(
        &self,
        _: &str,
        _: Arc<dyn PaginatedListStore>,
    ) -> Option<Arc<dyn PaginatedListStore>> {
        None
    }
}

/// Longer than anything is kept for the sake of those who may still need it.
const DAY_AND_MORE: Duration = Duration::from_secs(25 * 3600);

async fn engine_over(memory: &Arc<InMemory>) -> (FaultStore, Arc<TestClock>, Engine) {
    let faults = FaultStore::new(memory.clone());
    let clock = Arc::new(TestClock::default());
    let now = SystemClock::default().now_micros();
    clock.advance(Duration::from_micros(u64::try_from(now).unwrap()));
    let options = StoreOptions {
        clock: clock.clone(),
        wrapper: Some(Arc::new(Below(faults.clone()))),
        ..StoreOptions::default()
    };
    let store = Store::open("memory://proof", options).await.unwrap();
    let options = EngineOptions {
        cache_bytes: 64 << 20,
        ..EngineOptions::default()
    };
    (faults, clock, Engine::new(store, options))
}

impl World {
    /// A graph without data.
    pub(super) async fn new(schema: &str) -> Self {
        let memory = Arc::new(InMemory::new());
        let (faults, clock, engine) = engine_over(&memory).await;
        let id = GraphId::parse("g").unwrap();
        let root = engine
            .create_graph(&id, schema, &Authorship::default())
            .await
            .unwrap();
        let graph = engine.open_graph(&root).await.unwrap();
        Self {
            memory,
            faults,
            clock,
            engine,
            root,
            graph,
        }
    }

    /// A copy that goes its own way, through an engine that knows nothing.
    pub(super) async fn fork(&self) -> Self {
        let memory = Arc::new(self.memory.fork());
        let (faults, clock, engine) = engine_over(&memory).await;
        engine.store().probe_create_once().await.unwrap();
        let graph = engine.open_graph(&self.root).await.unwrap();
        Self {
            memory,
            faults,
            clock,
            engine,
            root: self.root.clone(),
            graph,
        }
    }

    /// The same store after the process has died: what it sent too late arrives.
    pub(super) async fn reopen(self) -> Self {
        self.faults.heal();
        self.faults.release_late().await;
        let engine = self.engine.without_caches();
        let graph = engine.open_graph(&self.root).await.unwrap();
        Self {
            engine,
            graph,
            ..self
        }
    }

    pub(super) async fn mutate(&self, branch: &str, source: &str) {
        self.graph
            .mutate(
                &BranchName::parse(branch).unwrap(),
                source,
                None,
                &serde_json::Map::new(),
                &WriteOptions::default(),
            )
            .await
            .unwrap();
    }

    pub(super) async fn load(&self, branch: &str, mode: LoadMode, lines: &str) {
        load(&self.graph, branch, mode, None, lines).await.unwrap();
    }

    pub(super) async fn branch(&self, name: &str, from: &str) {
        let from = Target::Branch(BranchName::parse(from).unwrap());
        self.graph
            .create_branch(
                &BranchName::parse(name).unwrap(),
                &from,
                &Authorship::default(),
            )
            .await
            .unwrap();
    }

    /// What people see. Branches are found by their logs: a lost marker hides none.
    pub(super) async fn state(&self) -> State {
        let mut state = State::new();
        for name in self.branch_names().await {
            let Ok(info) = self.graph.branch(&name).await else {
                continue;
            };
            let target = Target::Commit(info.head.id);
            let target = match self.graph.commit(&info.head.id).await {
                Ok(_) => target,
                Err(_) => Target::Branch(name.clone()),
            };
            let snapshot = self
                .graph
                .snapshot(&target, &ReadOptions::default())
                .await
                .unwrap();
            let chunks = self.graph.export(&snapshot, &[]).await.unwrap();
            let chunks: Vec<bytes::Bytes> = chunks.try_collect().await.unwrap();
            let text = String::from_utf8(chunks.concat()).unwrap();
            let rows = text.lines().map(str::to_owned).collect();
            let schema = snapshot.schema().meaning.clone();
            state.insert(name.to_string(), (schema, rows));
        }
        state
    }

    async fn branch_names(&self) -> Vec<BranchName> {
        let prefix = format!("{}/branches", self.root.path());
        let prefix = self.engine.store().path(&prefix);
        let listed = self
            .memory
            .list_with_delimiter(Some(&prefix))
            .await
            .unwrap();
        let names = listed.common_prefixes.iter();
        names
            .map(|path| BranchName::decode(path.filename().unwrap()).unwrap())
            .collect()
    }

    /// Commits that `main` has.
    pub(super) async fn history(&self) -> usize {
        let main = BranchName::main();
        let page = self.graph.commits(&main, None, None).await.unwrap();
        page.commits.len()
    }

    pub(super) async fn fsck(&self) -> FsckReport {
        let options = FsckOptions {
            history: true,
            rows: true,
        };
        self.engine.fsck(&self.root, &options).await.unwrap()
    }

    /// A collection that keeps all commits, more than a day after whatever was before.
    pub(super) async fn collect(&self) {
        self.faults.advance(DAY_AND_MORE);
        self.clock.advance(DAY_AND_MORE);
        let options = CollectOptions {
            retention: Retention {
                commits: Some(1_000_000),
                age: None,
            },
            ..CollectOptions::default()
        };
        self.graph.collect(&options).await.unwrap();
    }

    pub(super) async fn object(&self, relative: &str) -> Option<bytes::Bytes> {
        let path = self.engine.store().path(relative);
        let got = self.memory.get(&path).await.ok()?;
        got.bytes().await.ok()
    }
}

/// Loads text.
pub(super) async fn load(
    graph: &Graph,
    branch: &str,
    mode: LoadMode,
    from: Option<&str>,
    lines: &str,
) -> crate::error::Result<()> {
    let options = LoadOptions {
        mode,
        from: from.map(|name| BranchName::parse(name).unwrap()),
        ..LoadOptions::default()
    };
    let branch = BranchName::parse(branch)?;
    let mut session = graph.load(&branch, options).await?;
    session.push(bytes::Bytes::from(lines.to_owned())).await?;
    session.finish().await?;
    Ok(())
}
