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
use crate::error::{ErrorKind, Result};
use crate::graph::{
    BranchName, CollectOptions, CollectOutcome, FsckOptions, FsckReport, Graph, GraphId, GraphRoot,
    ReadOptions, Retention, Snapshot, Target, WriteOptions,
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

/// What people see of all graphs on the store: for each living branch its schema and its entities,
/// and for each living tag the commit.
pub(super) type State = BTreeMap<String, (String, BTreeSet<String>)>;

/// A place for backups in the same store, so that its writes are made to fail as well.
pub(super) const BACKUPS: &str = "memory://backups";

/// A check of everything.
pub(super) const FULL: FsckOptions = FsckOptions {
    history: true,
    rows: true,
};

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
pub(super) const DAY_AND_MORE: Duration = Duration::from_secs(25 * 3600);

async fn engine_over(faults: &FaultStore, clock: &Arc<TestClock>) -> Engine {
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
    Engine::new(store, options)
}

impl World {
    /// A graph without data.
    pub(super) async fn new(schema: &str) -> Self {
        let memory = Arc::new(InMemory::new());
        let faults = FaultStore::new(memory.clone());
        let clock = Arc::new(TestClock::default());
        let now = SystemClock::default().now_micros();
        clock.advance(Duration::from_micros(u64::try_from(now).unwrap()));
        let engine = engine_over(&faults, &clock).await;
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
        let faults = self.faults.fork(memory.clone());
        let clock = Arc::new(self.clock.fork());
        let engine = engine_over(&faults, &clock).await;
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
        // The graph may have been removed.
        let graph = Graph::new(engine.shared().clone(), self.root.clone());
        Self {
            engine,
            graph,
            ..self
        }
    }

    /// Whether there is a graph at all.
    pub(super) async fn exists(&self) -> bool {
        self.engine.open_graph(&self.root).await.is_ok()
    }

    /// Both clocks, the store's and the process's, move on.
    pub(super) fn pass(&self, time: Duration) {
        self.faults.advance(time);
        self.clock.advance(time);
    }

    /// Nothing takes no time.
    pub(super) fn tick(&self) {
        self.pass(Duration::from_secs(1));
    }

    pub(super) fn now(&self) -> i64 {
        self.clock.now_micros()
    }

    pub(super) async fn mutate(&self, branch: &str, source: &str) {
        self.tick();
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
        self.tick();
        load(&self.graph, branch, mode, None, lines).await.unwrap();
    }

    pub(super) async fn branch(&self, name: &str, from: &str) {
        self.tick();
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
        for root in self.engine.graph_roots().await.unwrap() {
            let graph = match self.engine.open_graph(&root).await {
                Ok(graph) => graph,
                // Nobody has made it a graph, and nobody sees it.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => panic!("{}: {error}", root.path()),
            };
            self.see(&root, &graph, &mut state).await;
        }
        state
    }

    async fn see(&self, root: &GraphRoot, graph: &Graph, state: &mut State) {
        let is_ours = *root == self.root;
        let place = |name: &str| match is_ours {
            true => name.to_owned(),
            false => format!("{}: {name}", root.id),
        };
        for name in self.branch_names(root).await {
            let target = Target::Branch(name.clone());
            let snapshot = match graph.snapshot(&target, &ReadOptions::default()).await {
                Ok(snapshot) => snapshot,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => panic!("{}, {name}: {error}", root.path()),
            };
            let rows = rows(graph, &snapshot).await;
            let schema = snapshot.schema().meaning.clone();
            state.insert(place(name.as_str()), (schema, rows));
        }
        for tag in graph.tags().await.unwrap() {
            let target = Target::Tag(tag.name.clone());
            let snapshot = graph.snapshot(&target, &ReadOptions::default()).await;
            let rows = rows(graph, &snapshot.unwrap()).await;
            let name = place(&format!("tag {}", tag.name));
            state.insert(name, (tag.commit.to_string(), rows));
        }
    }

    async fn branch_names(&self, root: &GraphRoot) -> Vec<BranchName> {
        let prefix = format!("{}/branches", root.path());
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

    /// How many objects lie below a directory of the storage root.
    pub(super) async fn objects_below(&self, directory: &str) -> Vec<String> {
        let prefix = self.engine.store().path(directory);
        let listed = self.memory.list(Some(&prefix));
        let listed = listed.map_ok(|object| object.location.to_string());
        listed.try_collect().await.unwrap()
    }

    /// Commits that `main` has.
    pub(super) async fn history(&self) -> usize {
        let main = BranchName::main();
        let page = self.graph.commits(&main, None, None).await.unwrap();
        page.commits.len()
    }

    pub(super) async fn fsck(&self) -> FsckReport {
        self.engine.fsck(&self.root, &FULL).await.unwrap()
    }

    /// A collection that keeps all commits, more than a day after whatever was before.
    pub(super) async fn collect(&self) {
        self.pass(DAY_AND_MORE);
        self.try_collect(1_000_000).await.unwrap();
    }

    /// A collection that keeps so many commits on each branch.
    pub(super) async fn try_collect(&self, commits: u64) -> Result<CollectOutcome> {
        collect(&self.graph, commits).await
    }

    pub(super) async fn object(&self, relative: &str) -> Option<bytes::Bytes> {
        let path = self.engine.store().path(relative);
        let got = self.memory.get(&path).await.ok()?;
        got.bytes().await.ok()
    }
}

/// A collection that keeps so many commits on each branch.
pub(super) async fn collect(graph: &Graph, commits: u64) -> Result<CollectOutcome> {
    let options = CollectOptions {
        retention: Retention {
            commits: Some(commits),
            age: None,
        },
        ..CollectOptions::default()
    };
    graph.collect(&options).await
}

async fn rows(graph: &Graph, snapshot: &Snapshot) -> BTreeSet<String> {
    let chunks = graph.export(snapshot, &[]).await.unwrap();
    let chunks: Vec<bytes::Bytes> = chunks.try_collect().await.unwrap();
    let text = String::from_utf8(chunks.concat()).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Loads text.
pub(super) async fn load(
    graph: &Graph,
    branch: &str,
    mode: LoadMode,
    from: Option<&str>,
    lines: &str,
) -> Result<()> {
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
