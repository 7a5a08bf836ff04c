//! Writes through real graphs.

mod accept;
mod embedding;
mod inputs;
mod load;
mod matrix;
mod mutate;

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::TryStreamExt;
use serde_json::Value as Json;

use super::{LoadMode, LoadOptions, LoadOutcome, MutationOutcome};
use crate::engine::{Authorship, Engine, EngineOptions};
use crate::error::Result;
use crate::graph::{BranchName, Graph, GraphId, ReadOptions, Target, WriteOptions};
use crate::store::{Store, StoreOptions};

/// A graph in memory with `main` alone.
pub(super) async fn graph(schema: &str) -> Graph {
    let store = Store::open("memory://writes", StoreOptions::default())
        .await
        .unwrap();
    let engine = Engine::new(store, EngineOptions::default());
    let id = GraphId::parse("tested").unwrap();
    let root = engine
        .create_graph(&id, schema, &Authorship::default())
        .await
        .unwrap();
    engine.open_graph(&root).await.unwrap()
}

pub(super) fn branch(name: &str) -> BranchName {
    BranchName::parse(name).unwrap()
}

/// Loads a text in one piece.
pub(super) async fn load(graph: &Graph, mode: LoadMode, text: &str) -> Result<LoadOutcome> {
    load_with(graph, &BranchName::main(), mode, None, text, usize::MAX).await
}

/// Loads a text in pieces of some size.
pub(super) async fn load_with(
    graph: &Graph,
    into: &BranchName,
    mode: LoadMode,
    from: Option<BranchName>,
    text: &str,
    piece: usize,
) -> Result<LoadOutcome> {
    let options = LoadOptions {
        mode,
        from,
        ..LoadOptions::default()
    };
    let mut session = graph.load(into, options).await?;
    for piece in text.as_bytes().chunks(piece) {
        session.push(Bytes::copy_from_slice(piece)).await?;
    }
    session.finish().await
}

/// Runs the only query of a text.
pub(super) async fn mutate(
    graph: &Graph,
    on: &BranchName,
    source: &str,
    params: Json,
) -> Result<MutationOutcome> {
    let params = params.as_object().cloned().unwrap_or_default();
    graph
        .mutate(on, source, None, &params, &WriteOptions::default())
        .await
}

/// All entities of a type by id: for nodes `data`, for edges the whole line.
pub(super) async fn entities(graph: &Graph, on: &BranchName, name: &str) -> BTreeMap<String, Json> {
    let target = Target::Branch(on.clone());
    let snapshot = graph
        .snapshot(&target, &ReadOptions::default())
        .await
        .unwrap();
    let stream = graph.export(&snapshot, &[name.to_owned()]).await.unwrap();
    let chunks: Vec<Bytes> = stream.try_collect().await.unwrap();
    let text = chunks.concat();
    let lines = text.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let line: Json = serde_json::from_slice(line).unwrap();
            let id = line["data"]["id"].as_str().unwrap().to_owned();
            let entity = match line.get("type") {
                Some(_) => line["data"].clone(),
                None => line,
            };
            (id, entity)
        })
        .collect()
}

/// The codes of what was wrong, in the order of the report.
pub(super) fn codes<T>(result: Result<T>) -> Vec<String> {
    match result {
        Ok(_) => Vec::new(),
        Err(error) => {
            let found = &error.detail().diagnostics;
            assert!(!found.is_empty(), "{error:?}");
            let errors = found.iter().filter(|d| d.is_error());
            errors.map(|d| d.code.to_string()).collect()
        }
    }
}
