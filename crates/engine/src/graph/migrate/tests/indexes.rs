//! Indexes over rows that exist.

use lance::index::DatasetIndexExt as _;
use serde_json::json;

use super::*;

async fn dataset(graph: &Graph) -> std::sync::Arc<lance::Dataset> {
    let snapshot = snapshot(graph, &on("main")).await;
    let id = snapshot.schema.catalog.node("P").unwrap().id;
    snapshot.open(id).await.unwrap()
}

async fn names(graph: &Graph) -> Vec<String> {
    let dataset = dataset(graph).await;
    let indexes = dataset.load_indices().await.unwrap();
    let mut names: Vec<String> = indexes.iter().map(|index| index.name.clone()).collect();
    names.sort();
    names
}

fn rows() -> String {
    let row = |k: usize| json!({"type": "P", "data": {"k": format!("p{k}"), "n": k, "s": "word"}});
    let rows: Vec<String> = (0..30).map(|k| row(k).to_string()).collect();
    rows.join("\n")
}

async fn filtered(graph: &Graph, filter: &str) -> usize {
    let dataset = dataset(graph).await;
    let mut scan = dataset.scan();
    scan.filter(filter).unwrap();
    let plan = scan.explain_plan(false).await.unwrap();
    assert!(plan.contains("ScalarIndexQuery"), "{plan}");
    scan.try_into_batch().await.unwrap().num_rows()
}

#[tokio::test]
async fn an_index_is_built_over_the_rows_and_taken_away() {
    let plain = "node P { k: String @key  n: I64?  s: String? }";
    let indexed = "node P { k: String @key  n: I64? @index  s: String? @index }";
    let f = fixture(plain).await;
    let graph = &f.graph;
    load(graph, "main", &rows()).await.unwrap();
    fork(graph, "old").await;
    let key = ["id_btree", "k_btree", "k_fts"];
    assert_eq!(names(graph).await, key);
    apply(graph, indexed).await.unwrap();
    let all = [
        "id_btree", "k_btree", "k_fts", "n_btree", "s_btree", "s_fts",
    ];
    assert_eq!(names(graph).await, all);
    assert_eq!(filtered(graph, "n >= 10 AND n < 15").await, 5);
    let files = data_files(graph, &on("main"), "P").await;
    apply(graph, plain).await.unwrap();
    assert_eq!(names(graph).await, key);
    assert_eq!(data_files(graph, &on("main"), "P").await, files);
}

/// The index of the column that was called so before keeps its name; the new column's gets another.
#[tokio::test]
async fn names_of_indexes_do_not_collide_after_a_rename() {
    let f = fixture("node P { k: String @key  n: I64? @index  s: String? }").await;
    let graph = &f.graph;
    load(graph, "main", &rows()).await.unwrap();
    for schema in [
        "node P { k: String @key  m: I64? @index @rename_from(\"n\")  s: String? }",
        "node P { k: String @key  m: I64? @index  n: I64 @default(3) @index  s: String? }",
    ] {
        apply(graph, schema).await.unwrap();
    }
    assert_eq!(filtered(graph, "n = 3").await, 30);
    let both = ["id_btree", "k_btree", "k_fts", "n_4_btree", "n_btree"];
    assert_eq!(names(graph).await, both);
    // Without the old one, the new one stays.
    apply(
        graph,
        "node P { k: String @key  m: I64?  n: I64 @default(3) @index  s: String? }",
    )
    .await
    .unwrap();
    assert_eq!(names(graph).await, &both[..4]);
    assert_eq!(filtered(graph, "n = 3").await, 30);
}

#[tokio::test]
async fn an_index_survives_a_fill_of_its_column() {
    let f = fixture("node P { k: String @key  n: I64? @index  s: String? }").await;
    let graph = &f.graph;
    let more = r#"{"type":"P","data":{"k":"none"}}"#;
    load(graph, "main", &format!("{}\n{more}", rows()))
        .await
        .unwrap();
    apply(
        graph,
        "node P { k: String @key  n: I64 @default(3) @index  s: String? }",
    )
    .await
    .unwrap();
    assert_eq!(filtered(graph, "n = 3").await, 2);
    load(graph, "main", r#"{"type":"P","data":{"k":"p3","n":4}}"#)
        .await
        .unwrap();
    assert_eq!(filtered(graph, "n = 3").await, 1);
    assert_eq!(filtered(graph, "n = 4").await, 2);
}
