//! What a version refers to is all that it needs.

use super::*;
use crate::engine::{Authorship, Engine, EngineOptions};
use crate::graph::WriteOptions;
use crate::graph::{BranchName, Graph, GraphId, ReadOptions, Snapshot, Target};
use crate::store::{Store, StoreOptions};
use futures::TryStreamExt as _;
use object_store::{ObjectStore as _, ObjectStoreExt as _};

const SCHEMA: &str = "
node Person { name: String @key  bio: String? @index  age: I64? @index }
edge Knows: Person -> Person
";

async fn mutate(graph: &Graph, source: &str) {
    let (main, none) = (BranchName::main(), serde_json::Map::new());
    graph
        .mutate(&main, source, None, &none, &WriteOptions::default())
        .await
        .unwrap();
}

/// The entities of a type as text.
async fn entities(graph: &Graph, name: &str) -> String {
    let snapshot = snapshot(graph).await;
    let lines = graph.export(&snapshot, &[name.to_owned()]).await.unwrap();
    let lines: Vec<bytes::Bytes> = lines.try_collect().await.unwrap();
    String::from_utf8(lines.concat()).unwrap()
}

async fn snapshot(graph: &Graph) -> Snapshot {
    graph
        .snapshot(&Target::default(), &ReadOptions::default())
        .await
        .unwrap()
}

/// All versions of a history with inserts, updates and deletions, in one store.
async fn worked() -> (Store, Graph) {
    let store = Store::open("memory://references", StoreOptions::default())
        .await
        .unwrap();
    let engine = Engine::new(store.clone(), EngineOptions::default());
    let id = GraphId::parse("g").unwrap();
    let root = engine
        .create_graph(&id, SCHEMA, &Authorship::default())
        .await
        .unwrap();
    let graph = engine.open_graph(&root).await.unwrap();
    for name in ["ann", "bob", "cyd"] {
        let add = format!(
            r#"query a() {{ insert Person {{ name: "{name}", bio: "words of a life", age: 3 }} }}"#
        );
        mutate(&graph, &add).await;
    }
    // Two rows in one fragment, so that deleting one leaves a deletion file.
    let pair = r#"query p() { insert Person { name: "dan" } insert Person { name: "fay" } }"#;
    mutate(&graph, pair).await;
    let update = r#"query u() { update Person set { age: 4 } where name = "bob" }"#;
    mutate(&graph, update).await;
    let know = r#"query k() { insert Knows { from: "ann", to: "bob" } }"#;
    mutate(&graph, know).await;
    let delete = r#"query d() { delete Person where name = "dan" }"#;
    mutate(&graph, delete).await;
    (store, graph)
}

async fn table_files(store: &Store, graph: &Graph) -> Vec<Path> {
    let prefix = store.path(&format!("{}/tables", graph.root().path()));
    let listed = store.object_store().list(Some(&prefix));
    listed
        .map_ok(|meta| meta.location)
        .try_collect()
        .await
        .unwrap()
}

async fn needed(graph: &Graph) -> References {
    let mut all = References::default();
    for table in snapshot(graph).await.commit().tables.values() {
        let dataset = std::sync::Arc::new(graph.tables().load(table).await.unwrap());
        all.extend(references(&dataset).await.unwrap());
    }
    all
}

#[tokio::test]
async fn every_file_that_is_named_is_there() {
    let (store, graph) = worked().await;
    let there = table_files(&store, &graph).await;
    let needed = needed(&graph).await;
    for file in &needed.files {
        assert!(there.contains(file), "{file} of {there:#?}");
    }
    let deletions = |path: &&Path| path.as_ref().contains("_deletions");
    assert!(needed.files.iter().any(|path| deletions(&path)));
    assert!(
        needed
            .files
            .iter()
            .any(|path| path.as_ref().contains("_indices"))
    );
    assert!(
        needed
            .files
            .iter()
            .any(|path| path.as_ref().contains("_transactions"))
    );
}

/// Nothing that reading, searching or writing needs is left out.
#[tokio::test]
async fn nothing_else_is_needed() {
    let (store, graph) = worked().await;
    let before = entities(&graph, "Person").await;
    let needed = needed(&graph).await;
    let mut removed = 0;
    for file in table_files(&store, &graph).await {
        if !needed.covers(&file) {
            store.object_store().delete(&file).await.unwrap();
            removed += 1;
        }
    }
    assert!(removed > 10, "only {removed} objects of older versions");
    let fresh = Engine::new(store.clone(), EngineOptions::default());
    let graph = fresh.open_graph(graph.root()).await.unwrap();
    assert_eq!(entities(&graph, "Person").await, before);
    assert_eq!(entities(&graph, "Knows").await.lines().count(), 1);
    let add = r#"query a() { insert Person { name: "eve", bio: "new" } }"#;
    mutate(&graph, add).await;
    let update = r#"query u() { update Person set { age: 5 } where name = "ann" }"#;
    mutate(&graph, update).await;
    assert_eq!(entities(&graph, "Person").await.lines().count(), 5);
}

#[test]
fn directories_cover_what_lies_in_them_and_nothing_beside() {
    let found = References {
        files: BTreeSet::from([Path::from("t/data/a.lance")]),
        directories: BTreeSet::from([Path::from("t/_indices/x")]),
    };
    for path in [
        "t/data/a.lance",
        "t/_indices/x/page.lance",
        "t/_indices/x/part/1",
    ] {
        assert!(found.covers(&Path::from(path)), "{path}");
    }
    for path in ["t/data/b.lance", "t/_indices/xy/page.lance", "t/_indices"] {
        assert!(!found.covers(&Path::from(path)), "{path}");
    }
}
