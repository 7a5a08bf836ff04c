//! Merges of real branches in memory.

mod conflicts;
mod history;
mod model;
mod requests;
mod revert;
mod schemas;

use std::collections::BTreeMap;

use futures::TryStreamExt;
use serde_json::{Value as Json, json};

use super::*;
use crate::engine::{Authorship, Engine, EngineOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::{BranchName, Graph, GraphId, GraphRoot, ReadOptions, Target};
use crate::store::{Store, StoreOptions};

pub(super) const SCHEMA: &str = r#"
node Package { name: String @key  kb: I64?  site: String? @unique }
node Person { email: String @key }
edge Needs: Package -> Package { floor: String?  @key(src, dst) }
edge Keeps: Person -> Package @card(0..2) { @key(src, dst) }
edge Starts: Package -> Person @card(1..) { @key(src, dst) }
"#;

pub(super) struct Fixture {
    pub(super) store: Store,
    pub(super) engine: Engine,
    pub(super) root: GraphRoot,
    pub(super) graph: Graph,
}

impl Fixture {
    pub(super) async fn new(schema: &str) -> Self {
        let store = Store::open("memory://merges", StoreOptions::default())
            .await
            .unwrap();
        let options = EngineOptions {
            cache_bytes: 64 << 20,
            ..EngineOptions::default()
        };
        let engine = Engine::new(store.clone(), options);
        let id = GraphId::parse("merged").unwrap();
        let root = engine
            .create_graph(&id, schema, &Authorship::default())
            .await
            .unwrap();
        let graph = engine.open_graph(&root).await.unwrap();
        Self {
            store,
            engine,
            root,
            graph,
        }
    }

    /// A graph in which `base` ran on `main`, then `ours` there and `theirs` on a branch `side`.
    pub(super) async fn forked(base: &str, ours: &str, theirs: &str) -> Self {
        let fixture = Self::new(SCHEMA).await;
        fixture.run("main", base).await;
        fixture.fork("side", "main").await;
        fixture.run("main", ours).await;
        fixture.run("side", theirs).await;
        fixture
    }

    pub(super) async fn fork(&self, name: &str, from: &str) {
        self.graph
            .create_branch(
                &branch(name),
                &Target::Branch(branch(from)),
                &Authorship::default(),
            )
            .await
            .unwrap();
    }

    /// Runs statements as one commit; none for an empty text.
    pub(super) async fn run(&self, on: &str, body: &str) {
        run(&self.graph, on, body).await.unwrap();
    }

    pub(super) async fn merge(
        &self,
        from: &str,
        into: &str,
        options: MergeOptions,
    ) -> Result<MergeResult> {
        self.graph
            .merge(&branch(from), &branch(into), &options)
            .await
    }

    pub(super) async fn merge_side(&self) -> Result<MergeResult> {
        self.merge("side", "main", MergeOptions::default()).await
    }

    /// Every entity: `Package a` to its data, ends included.
    pub(super) async fn state(&self, on: &str) -> BTreeMap<String, Json> {
        state(&self.graph, &Target::Branch(branch(on))).await
    }
}

pub(super) fn branch(name: &str) -> BranchName {
    BranchName::parse(name).unwrap()
}

pub(super) async fn run(graph: &Graph, on: &str, body: &str) -> Result<()> {
    if body.is_empty() {
        return Ok(());
    }
    let source = format!("query q() {{ {body} }}");
    graph
        .mutate(
            &branch(on),
            &source,
            None,
            &serde_json::Map::new(),
            &WriteOptions::default(),
        )
        .await
        .map(|_| ())
}

pub(super) async fn state(graph: &Graph, at: &Target) -> BTreeMap<String, Json> {
    let snapshot = graph.snapshot(at, &ReadOptions::default()).await.unwrap();
    let stream = graph.export(&snapshot, &[]).await.unwrap();
    let chunks: Vec<bytes::Bytes> = stream.try_collect().await.unwrap();
    let text = chunks.concat();
    let lines = text.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let mut line: Json = serde_json::from_slice(line).unwrap();
            let name = line.get("type").or(line.get("edge")).unwrap();
            let key = format!(
                "{} {}",
                name.as_str().unwrap(),
                line["data"]["id"].as_str().unwrap()
            );
            let entity = json!([line["from"].take(), line["to"].take(), line["data"].take()]);
            (key, entity)
        })
        .collect()
}

pub(super) fn strategy(strategy: MergeStrategy) -> MergeOptions {
    MergeOptions {
        strategies: Strategies::all(strategy),
        ..MergeOptions::default()
    }
}

pub(super) fn dry() -> MergeOptions {
    MergeOptions {
        dry_run: true,
        ..MergeOptions::default()
    }
}

/// `divergent_update Package a` of each.
pub(super) fn kinds(conflicts: &Conflicts) -> Vec<String> {
    let name = |c: &MergeConflict| {
        let id = c.entity_id.clone().unwrap_or_default();
        format!("{} {} {id}", c.kind.label(), c.type_name)
    };
    conflicts.listed.iter().map(name).collect()
}

pub(super) fn refused(error: &Error) -> Vec<String> {
    assert_eq!(error.kind(), ErrorKind::MergeConflict, "{error}");
    kinds(error.detail().merge_conflicts.as_ref().unwrap())
}
