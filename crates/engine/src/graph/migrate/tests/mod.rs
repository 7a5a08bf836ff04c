//! Schema changes of graphs with data, read through queries, export and history.

mod accept;
mod concurrent;
mod fills;
mod indexes;
mod random;
mod requests;
mod steps;

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::TryStreamExt;
use serde_json::Value as Json;

use crate::engine::{Authorship, Engine, EngineOptions};
use crate::error::{Error, Result};
use crate::exec::{QueryLimits, rows_to_json};
use crate::graph::{
    BranchName, Commit, CommitId, Graph, GraphId, GraphRoot, ReadOptions, SchemaCommitError,
    Snapshot, Target, WriteOptions,
};
use crate::store::{Store, StoreOptions};
use crate::write::{LoadMode, LoadOptions, LoadOutcome};

pub(super) struct Fixture {
    pub(super) store: Store,
    pub(super) root: GraphRoot,
    pub(super) graph: Graph,
}

pub(super) async fn fixture(schema: &str) -> Fixture {
    let store = Store::open("memory://migrations", StoreOptions::default())
        .await
        .unwrap();
    let engine = engine(&store);
    let id = GraphId::parse("moved").unwrap();
    let root = engine
        .create_graph(&id, schema, &Authorship::default())
        .await
        .unwrap();
    let graph = engine.open_graph(&root).await.unwrap();
    Fixture { store, root, graph }
}

fn engine(store: &Store) -> Engine {
    let options = EngineOptions {
        cache_bytes: 64 << 20,
        ..EngineOptions::default()
    };
    Engine::new(store.clone(), options)
}

impl Fixture {
    /// The graph as another process sees it.
    pub(super) async fn elsewhere(&self) -> Graph {
        engine(&self.store).open_graph(&self.root).await.unwrap()
    }
}

pub(super) fn leader() -> Authorship {
    Authorship {
        control_epoch: Some(1),
        ..Authorship::default()
    }
}

/// Stages and commits, as the control plane does.
pub(super) async fn apply(graph: &Graph, schema: &str) -> Result<Commit> {
    let staged = graph
        .stage_schema(schema, CommitId::new(), &leader())
        .await?;
    graph
        .commit_schema(staged)
        .await
        .map_err(|error| match error {
            SchemaCommitError::Other(error) | SchemaCommitError::Unknown(error) => error,
            other => Error::internal(other.to_string()),
        })
}

/// Code and path of each finding, and the total.
pub(super) fn findings(error: &Error) -> (Vec<String>, usize) {
    let found = error.detail().diagnostics.iter();
    let found = found.map(|d| {
        let path = d.path.as_deref().unwrap_or_default();
        format!("{} {path} {}", d.code, d.message)
    });
    (found.collect(), error.detail().diagnostics_total)
}

pub(super) fn branch(name: &str) -> BranchName {
    BranchName::parse(name).unwrap()
}

pub(super) fn on(name: &str) -> Target {
    Target::Branch(branch(name))
}

pub(super) async fn fork(graph: &Graph, name: &str) {
    graph
        .create_branch(&branch(name), &Target::default(), &Authorship::default())
        .await
        .unwrap();
}

pub(super) async fn load(graph: &Graph, into: &str, text: &str) -> Result<LoadOutcome> {
    let options = LoadOptions {
        mode: LoadMode::Merge,
        ..LoadOptions::default()
    };
    let mut session = graph.load(&branch(into), options).await?;
    session
        .push(Bytes::copy_from_slice(text.as_bytes()))
        .await?;
    session.finish().await
}

pub(super) async fn mutate(graph: &Graph, on: &str, source: &str) -> Result<()> {
    let options = WriteOptions::default();
    let params = serde_json::Map::new();
    graph
        .mutate(&branch(on), source, None, &params, &options)
        .await
        .map(|_| ())
}

pub(super) async fn snapshot(graph: &Graph, target: &Target) -> Snapshot {
    graph
        .snapshot(target, &ReadOptions::default())
        .await
        .unwrap()
}

/// All entities of a type by id, as export gives them: through Lance's own reader.
pub(super) async fn exported(graph: &Graph, target: &Target, name: &str) -> BTreeMap<String, Json> {
    let snapshot = snapshot(graph, target).await;
    let stream = graph.export(&snapshot, &[name.to_owned()]).await.unwrap();
    let chunks: Vec<Bytes> = stream.try_collect().await.unwrap();
    let text = chunks.concat();
    let lines = text.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let mut line: Json = serde_json::from_slice(line).unwrap();
            let mut data = line["data"].take();
            let id = data["id"].as_str().unwrap().to_owned();
            data.as_object_mut().unwrap().remove("id");
            (id, data)
        })
        .collect()
}

/// The rows of a query, as texts: through the executor and its caches.
pub(super) async fn ask(graph: &Graph, target: &Target, query: &str) -> Vec<String> {
    let snapshot = snapshot(graph, target).await;
    let query = graph.compile(&snapshot, query, None).await.unwrap();
    let result = graph
        .query(
            &snapshot,
            &query,
            &serde_json::Map::new(),
            &QueryLimits::default(),
        )
        .await
        .unwrap();
    rows_to_json(&result, false).collect()
}

/// Data files and their sizes in requests: which files a version's fragments have.
pub(super) async fn data_files(graph: &Graph, target: &Target, name: &str) -> Vec<String> {
    let snapshot = snapshot(graph, target).await;
    let catalog = &snapshot.schema.catalog;
    let id = match catalog.node(name) {
        Some(node) => node.id,
        None => catalog.edge(name).unwrap().id,
    };
    let dataset = snapshot.open(id).await.unwrap();
    let files = dataset.iter_fragments().flat_map(|f| f.files.iter());
    files.map(|file| file.path.clone()).collect()
}
