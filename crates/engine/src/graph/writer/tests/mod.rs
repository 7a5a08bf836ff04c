//! Concurrent writers: each rule of the storage protocol, section 4, with the interleaving that
//! breaks the simpler rule. Two engines over one directory stand for two processes; one of them
//! sends its requests through a store that a test makes fail, and between whose requests it lets
//! the other act.

mod ahead;
mod conflicts;
mod deadlines;
mod repeats;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use lance_io::object_store::WrappingObjectStore;
use object_store::ObjectStore;
use object_store::list::PaginatedListStore;
use serde_json::{Value as Json, json};

use crate::engine::{Authorship, Engine, EngineOptions};
use crate::error::Result;
use crate::graph::branch::BranchState;
use crate::graph::model::BranchEvent;
use crate::graph::writer::commit_event;
use crate::graph::{
    BranchName, Commit, CommitId, CommitKind, Graph, GraphId, GraphRoot, ReadOptions, Target,
    WriteOptions,
};
use crate::log::fault::{Fault, FaultStore, Hook, Op, hook};
use crate::store::{Store, StoreOptions};
use crate::write::{LoadMode, LoadOptions, LoadOutcome, MutationOutcome};

const SCHEMA: &str = "
node Person { name: String @key  email: String? @unique  age: I64? }
node Place { name: String @key }
edge Knows: Person -> Person
";

const ADD_PERSON: &str = "query add($n: String) { insert Person { name: $n } }";
const ADD_PLACE: &str = "query add($n: String) { insert Place { name: $n } }";
const SET_AGE: &str =
    "query set($n: String, $a: I64) { update Person set { age: $a } where name = $n }";
const ADD_EDGE: &str = "query add($a: String, $b: String) { insert Knows { from: $a, to: $b } }";
const DROP_PERSON: &str = "query drop($n: String) { delete Person where name = $n }";

/// Keeps hold of the store that it wraps.
#[derive(Clone, Debug, Default)]
struct Faulty(Arc<OnceLock<FaultStore>>);

impl WrappingObjectStore for Faulty {
    fn wrap(&self, _: &str, original: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
        Arc::new(self.0.get_or_init(|| FaultStore::new(original)).clone())
    }

    fn wrap_paginated(
        &self,
        _: &str,
        _: Arc<dyn PaginatedListStore>,
    ) -> Option<Arc<dyn PaginatedListStore>> {
        None
    }
}

/// One graph, opened by two processes.
struct Site {
    directory: tempfile::TempDir,
    root: GraphRoot,
    /// Its requests go through `faults`.
    ours: Graph,
    store: Store,
    faults: FaultStore,
    theirs: Graph,
}

impl Site {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let wrapper = Faulty::default();
        let store = open(&directory, Some(wrapper.clone())).await;
        let engine = engine(&store);
        let id = GraphId::parse("people").unwrap();
        let root = engine
            .create_graph(&id, SCHEMA, &Authorship::default())
            .await
            .unwrap();
        let theirs = engine_over(&directory).await;
        let site = Self {
            ours: engine.open_graph(&root).await.unwrap(),
            theirs: theirs.open_graph(&root).await.unwrap(),
            faults: wrapper.0.get().unwrap().clone(),
            directory,
            root,
            store,
        };
        for name in ["ann", "bob"] {
            mutate(&site.theirs, ADD_PERSON, json!({ "n": name }))
                .await
                .unwrap();
        }
        // Our process knows the graph, so that what follows is about the write alone.
        mutate(&site.ours, ADD_PERSON, json!({ "n": "cyd" }))
            .await
            .unwrap();
        site
    }

    /// A third process.
    async fn another(&self) -> Graph {
        let engine = engine_over(&self.directory).await;
        engine.open_graph(&self.root).await.unwrap()
    }

    /// Lets something happen right before our next append to `main`.
    fn before_append<F>(&self, work: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.faults
            .on(Op::Put, "branches/main/0", Fault::Before(hook(work)));
    }

    /// As above, for something that the other process does.
    fn rival<F>(&self, work: impl FnOnce(Graph) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.before_append(work(self.theirs.clone()));
    }

    async fn people(&self) -> Vec<String> {
        ids(&self.theirs, "main", "Person").await
    }
}

async fn open(directory: &tempfile::TempDir, wrapper: Option<Faulty>) -> Store {
    let options = StoreOptions {
        wrapper: wrapper.map(|faulty| Arc::new(faulty) as Arc<dyn WrappingObjectStore>),
        fsync: false,
        ..StoreOptions::default()
    };
    Store::open(directory.path().to_str().unwrap(), options)
        .await
        .unwrap()
}

fn engine(store: &Store) -> Engine {
    Engine::new(
        store.clone(),
        EngineOptions {
            cache_bytes: 64 << 20,
            ..EngineOptions::default()
        },
    )
}

async fn engine_over(directory: &tempfile::TempDir) -> Engine {
    engine(&open(directory, None).await)
}

fn branch(name: &str) -> BranchName {
    BranchName::parse(name).unwrap()
}

// Boxed with a type of their own, because tests run writes inside of hooks of writes.
fn mutate(
    graph: &Graph,
    source: &str,
    params: Json,
) -> BoxFuture<'static, Result<MutationOutcome>> {
    mutate_with(graph, "main", source, params, &WriteOptions::default())
}

fn mutate_with(
    graph: &Graph,
    on: &str,
    source: &str,
    params: Json,
    options: &WriteOptions,
) -> BoxFuture<'static, Result<MutationOutcome>> {
    let (graph, on, source, options) = (
        graph.clone(),
        branch(on),
        source.to_owned(),
        options.clone(),
    );
    async move {
        let params = params.as_object().cloned().unwrap_or_default();
        graph.mutate(&on, &source, None, &params, &options).await
    }
    .boxed()
}

fn keyed(key: &str) -> WriteOptions {
    WriteOptions {
        idempotency_key: Some(key.to_owned()),
        ..WriteOptions::default()
    }
}

fn within(deadline: Duration) -> WriteOptions {
    WriteOptions {
        deadline,
        ..WriteOptions::default()
    }
}

fn load(
    graph: &Graph,
    on: &str,
    options: LoadOptions,
    text: &str,
) -> BoxFuture<'static, Result<LoadOutcome>> {
    let (graph, on) = (graph.clone(), branch(on));
    let text = bytes::Bytes::copy_from_slice(text.as_bytes());
    async move {
        let mut session = graph.load(&on, options).await?;
        session.push(text).await?;
        session.finish().await
    }
    .boxed()
}

fn load_options(mode: LoadMode, write: WriteOptions) -> LoadOptions {
    LoadOptions {
        mode,
        write,
        ..LoadOptions::default()
    }
}

/// The ids of a type's entities.
async fn ids(graph: &Graph, on: &str, type_name: &str) -> Vec<String> {
    let target = Target::Branch(branch(on));
    let snapshot = graph
        .snapshot(&target, &ReadOptions::default())
        .await
        .unwrap();
    let stream = graph
        .export(&snapshot, &[type_name.to_owned()])
        .await
        .unwrap();
    let chunks: Vec<bytes::Bytes> = stream.try_collect().await.unwrap();
    let text = String::from_utf8(chunks.concat()).unwrap();
    let mut ids: Vec<String> = text
        .lines()
        .map(|line| {
            let line: Json = serde_json::from_str(line).unwrap();
            let id = line["data"]["id"].as_str().unwrap();
            id.to_owned()
        })
        .collect();
    ids.sort();
    ids
}

async fn history(graph: &Graph, on: &str) -> Vec<Commit> {
    let page = graph.commits(&branch(on), None, None).await.unwrap();
    page.commits
}

async fn head(graph: &Graph, on: &str) -> Commit {
    graph.branch(&branch(on)).await.unwrap().head
}

/// Appends an entry that no operation of this process would.
async fn append(graph: &Graph, event: impl FnOnce(&crate::graph::branch::Head) -> BranchEvent) {
    let main = BranchName::main();
    let state = graph.shared.branches.state(&main).await.unwrap();
    let BranchState::Living(head) = state else {
        panic!("main does not live");
    };
    let event = event(&head);
    graph
        .append_event(&main, Some(head.seq), event, Duration::from_secs(10))
        .await
        .unwrap();
}

async fn sweep(graph: &Graph) {
    append(graph, |_| BranchEvent::Swept {
        at: 0,
        before: None,
    })
    .await;
}

/// A commit that changes nothing.
async fn empty_commit(graph: &Graph, kind: CommitKind) {
    append(graph, |head| {
        let mut commit = Commit::clone(&head.commit);
        commit.id = CommitId::new();
        commit.kind = kind;
        commit.parents = vec![head.at.clone()];
        commit.version += 1;
        commit.idempotency = None;
        commit_event(head, commit)
    })
    .await;
}

fn never() -> Hook {
    hook(std::future::pending())
}
