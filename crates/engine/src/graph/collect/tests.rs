//! Every rule of collection, and the interleaving that breaks the simpler one.

mod basics;
mod crashes;
mod model;
mod races;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use lance_io::object_store::WrappingObjectStore;
use object_store::ObjectStore;
use object_store::list::PaginatedListStore;
use object_store::path::Path;
use parking_lot::Mutex;

use super::super::branch::BranchState;
use super::super::model::BranchEntry;
use super::super::*;
use super::*;
use crate::engine::{Authorship, Engine, EngineOptions};
use crate::error::Result;
use crate::log::fault::{Fault, FaultStore, Op, TestClock, hook};
use crate::log::{Clock, SystemClock};
use crate::store::{Store, StoreOptions};

pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

const SCHEMA: &str = "node Person { name: String @key }  node Place { name: String @key }
node Doc { name: String @key  body: Blob? }";

/// Hands out the store whose requests a test spoils.
#[derive(Debug, Default)]
struct Faults(Mutex<Option<FaultStore>>);

impl WrappingObjectStore for Faults {
    fn wrap(&self, _prefix: &str, original: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
        let store = self
            .0
            .lock()
            .get_or_insert_with(|| FaultStore::new(original))
            .clone();
        Arc::new(store)
    }

    fn wrap_paginated(
        &self,
        _prefix: &str,
        _lister: Arc<dyn PaginatedListStore>,
    ) -> Option<Arc<dyn PaginatedListStore>> {
        None
    }
}

/// A graph in a store whose requests and clocks the test has in its hand.
#[derive(Clone)]
pub(super) struct Bench {
    pub(super) faults: FaultStore,
    pub(super) clock: Arc<TestClock>,
    pub(super) store: Store,
    pub(super) graph: Graph,
}

impl Bench {
    pub(super) async fn new() -> Self {
        let clock = Arc::new(TestClock::default());
        let now = u64::try_from(SystemClock::default().now_micros()).unwrap();
        clock.advance(Duration::from_micros(now));
        let faults = Arc::new(Faults::default());
        let options = StoreOptions {
            clock: clock.clone(),
            wrapper: Some(faults.clone()),
            fsync: false,
        };
        let store = Store::open("memory://collect", options).await.unwrap();
        let engine = engine(&store);
        let id = GraphId::parse("g").unwrap();
        let root = engine
            .create_graph(&id, SCHEMA, &Authorship::default())
            .await
            .unwrap();
        let graph = engine.open_graph(&root).await.unwrap();
        let faults = faults.0.lock().clone().unwrap();
        Self {
            faults,
            clock,
            store,
            graph,
        }
    }

    /// Both clocks, the store's and the processes', move on.
    pub(super) fn pass(&self, time: Duration) {
        self.faults.advance(time);
        self.clock.advance(time);
    }

    /// Another process on the same store: it remembers nothing.
    pub(super) fn other(&self) -> Self {
        let engine = engine(&self.store);
        Self {
            graph: Graph::new(engine.shared().clone(), self.graph.root().clone()),
            ..self.clone()
        }
    }

    pub(super) async fn add(&self, branch: &str, name: &str) -> CommitId {
        self.try_add(branch, name).await.unwrap()
    }

    pub(super) async fn try_add(&self, on: &str, name: &str) -> Result<CommitId> {
        let source = format!(r#"query a() {{ insert Person {{ name: "{name}" }} }}"#);
        let none = serde_json::Map::new();
        let written = self
            .graph
            .mutate(&branch(on), &source, None, &none, &WriteOptions::default())
            .await?;
        Ok(written.commit.unwrap().id)
    }

    /// Adds `count` people, an hour apart. The commits.
    pub(super) async fn fill(&self, on: &str, prefix: &str, count: usize) -> Vec<CommitId> {
        let mut commits = Vec::new();
        for number in 0..count {
            commits.push(self.add(on, &format!("{prefix}{number}")).await);
            self.pass(HOUR);
        }
        commits
    }

    pub(super) async fn fork(&self, name: &str, from: &Target) -> Result<BranchInfo> {
        self.graph
            .create_branch(&branch(name), from, &Authorship::default())
            .await
    }

    /// A writer that dies after everything was staged, before its append.
    pub(super) async fn die(&self, on: &str) {
        let there = Arc::new(tokio::sync::Notify::new());
        let reached = there.clone();
        let death = hook(async move {
            reached.notify_one();
            futures::future::pending::<()>().await;
        });
        let path = format!("branches/{on}/");
        self.faults.on(Op::Put, &path, Fault::Before(death));
        let victim = self.other();
        tokio::select! {
            result = victim.try_add(on, "dead") => panic!("it lives: {result:?}"),
            () = there.notified() => {}
        }
    }

    pub(super) async fn drop_branch(&self, name: &str) {
        let by = Authorship::default();
        let name = branch(name);
        self.graph.delete_branch(&name, None, &by).await.unwrap();
    }

    pub(super) async fn names(&self, target: &Target) -> Result<BTreeSet<String>> {
        let snapshot = self.graph.snapshot(target, &ReadOptions::default()).await?;
        self.names_of(&snapshot).await
    }

    /// Reads a snapshot whole: its rows, and a look-up by key through the index.
    pub(super) async fn names_of(&self, snapshot: &Snapshot) -> Result<BTreeSet<String>> {
        let lines = self.graph.export(snapshot, &["Person".to_owned()]).await?;
        let lines: Vec<bytes::Bytes> = lines.try_collect().await?;
        let names: BTreeSet<String> = lines
            .concat()
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| {
                let line: serde_json::Value = serde_json::from_slice(line).unwrap();
                line["data"]["name"].as_str().unwrap().to_owned()
            })
            .collect();
        Ok(names)
    }

    /// Reads a commit whether or not it counts as reclaimed.
    pub(super) async fn names_behind_the_record(&self, id: CommitId) -> Result<BTreeSet<String>> {
        let commit = self.graph.find_commit(&id).await?;
        let snapshot = self.graph.open(commit, None).await?;
        self.names_of(&snapshot).await
    }

    pub(super) async fn collect(&self, keep: u64) -> CollectOutcome {
        self.try_collect(keep).await.unwrap()
    }

    pub(super) async fn try_collect(&self, keep: u64) -> Result<CollectOutcome> {
        self.graph.collect(&keeping(keep)).await
    }

    /// Both phases.
    pub(super) async fn collect_fully(&self, keep: u64) -> CollectOutcome {
        self.collect(keep).await;
        self.pass(DAY + HOUR);
        self.collect(keep).await
    }

    /// Every object of the tables.
    pub(super) async fn files(&self) -> BTreeSet<Path> {
        self.objects("tables").await
    }

    pub(super) async fn objects(&self, directory: &str) -> BTreeSet<Path> {
        let path = format!("{}/{directory}", self.graph.root().path());
        let listed = self
            .store
            .object_store()
            .list(Some(&self.store.path(&path)));
        listed
            .map_ok(|meta| meta.location)
            .try_collect()
            .await
            .unwrap()
    }

    /// Files of tables that no kept commit needs.
    pub(super) async fn leftovers(&self, keep: u64) -> Vec<Path> {
        let known = self.graph.shared.collection.look().await.unwrap();
        let marker = Marker {
            graph: &self.graph,
            boundary: Boundary::Policy {
                retention: keeping(keep).retention,
                now: self.clock.now_micros(),
                before: known.record.as_deref(),
            },
            tell: None,
        };
        let marked = marker.mark().await.unwrap();
        let files = self.files().await;
        files
            .into_iter()
            .filter(|file| !marked.needs(file))
            .collect()
    }

    pub(super) fn log(&self, name: &str) -> crate::log::Log<BranchEntry> {
        self.graph.shared.branches.log(&branch(name))
    }

    pub(super) async fn state(&self, name: &str) -> BranchState {
        self.graph
            .shared
            .branches
            .state(&branch(name))
            .await
            .unwrap()
    }
}

pub(super) fn engine(store: &Store) -> Engine {
    Engine::new(
        store.clone(),
        EngineOptions {
            cache_bytes: 64 << 20,
            ..EngineOptions::default()
        },
    )
}

pub(super) fn branch(name: &str) -> BranchName {
    BranchName::parse(name).unwrap()
}

pub(super) fn on(name: &str) -> Target {
    Target::Branch(branch(name))
}

pub(super) fn at(id: CommitId) -> Target {
    Target::Commit(id)
}

pub(super) fn keeping(commits: u64) -> CollectOptions {
    CollectOptions {
        retention: Retention {
            commits: Some(commits),
            age: None,
        },
        ..CollectOptions::default()
    }
}

pub(super) fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
