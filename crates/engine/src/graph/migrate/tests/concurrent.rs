//! Writers and schema changes at the same time, and processes that die in between.

use serde_json::json;

use super::*;
use crate::error::ErrorKind;
use crate::graph::model::BranchEvent;

const BEFORE: &str = "node P { k: String @key  n: I64? }  node Q { k: String @key }
    edge E: P -> P";

fn p(k: &str, n: i64) -> String {
    json!({"type": "P", "data": {"k": k, "n": n}}).to_string()
}

async fn staged(graph: &Graph, schema: &str) -> crate::graph::StagedSchema {
    graph
        .stage_schema(schema, CommitId::new(), &leader())
        .await
        .unwrap()
}

/// The table stays the same version under a new rule, so re-parenting over a writer that breaks the
/// rule would go unnoticed if only changed tables were compared.
#[tokio::test]
async fn a_rule_that_was_checked_does_not_land_on_other_rows() {
    let f = fixture(BEFORE).await;
    load(&f.graph, "main", &p("a", 1)).await.unwrap();
    for rule in ["n: I64? @unique", "n: I64", "n: I64?  @range(n, ..9)"] {
        let change = staged(&f.graph, &BEFORE.replace("n: I64?", rule)).await;
        let other = f.elsewhere().await;
        load(&other, "main", &p(&format!("k{rule}"), 1))
            .await
            .unwrap();
        let error = f.graph.commit_schema(change).await.unwrap_err();
        assert!(matches!(error, SchemaCommitError::Conflict), "{rule}");
    }
    let tight = BEFORE.replace("edge E: P -> P", "edge E: P -> P @card(0..1)");
    let change = staged(&f.graph, &tight).await;
    let other = f.elsewhere().await;
    let edge = json!({"edge": "E", "from": "a", "to": "a"}).to_string();
    load(&other, "main", &format!("{edge}\n{edge}"))
        .await
        .unwrap();
    let error = f.graph.commit_schema(change).await.unwrap_err();
    assert!(matches!(error, SchemaCommitError::Conflict));
    let (found, _) = findings(&apply(&f.graph, &tight).await.unwrap_err());
    assert!(found[0].starts_with("M307 E"), "{found:?}");
}

/// Rows of an empty type would have no value for what is required from now on.
#[tokio::test]
async fn the_first_row_of_a_type_stops_a_required_property() {
    let f = fixture(BEFORE).await;
    let desired = BEFORE.replace("n: I64?", "n: I64?  x: I64");
    let change = staged(&f.graph, &desired).await;
    load(&f.elsewhere().await, "main", &p("a", 1))
        .await
        .unwrap();
    let error = f.graph.commit_schema(change).await.unwrap_err();
    assert!(matches!(error, SchemaCommitError::Conflict));
    let error = apply(&f.graph, &desired).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Migration);
}

#[tokio::test]
async fn a_change_is_reparented_over_other_types() {
    let f = fixture(BEFORE).await;
    load(&f.graph, "main", &p("a", 1)).await.unwrap();
    let change = staged(
        &f.graph,
        &BEFORE.replace("n: I64?", "n: I64 @unique  x: I64 @default(4)"),
    )
    .await;
    let q = r#"{"type":"Q","data":{"k":"q"}}"#;
    load(&f.elsewhere().await, "main", q).await.unwrap();
    let commit = f.graph.commit_schema(change).await.unwrap();
    assert_eq!(commit.version, 4);
    assert_eq!(exported(&f.graph, &on("main"), "Q").await.len(), 1);
    let rows = exported(&f.graph, &on("main"), "P").await;
    assert_eq!(rows["a"], json!({"k": "a", "n": 1, "x": 4}));
}

/// What was staged before a sweep may be gone, though no table has moved.
#[tokio::test]
async fn a_sweep_in_between_makes_a_change_start_afresh() {
    let f = fixture(BEFORE).await;
    let change = staged(&f.graph, &BEFORE.replace("n: I64?", "n: I64?  x: I64?")).await;
    let other = f.elsewhere().await;
    let head = other.shared.branches.head(&branch("main")).await.unwrap();
    other
        .append_event(
            &branch("main"),
            Some(head.seq),
            BranchEvent::Swept { at: 1 },
            std::time::Duration::from_secs(5),
        )
        .await
        .unwrap();
    let error = f.graph.commit_schema(change).await.unwrap_err();
    assert!(matches!(error, SchemaCommitError::Conflict));
    apply(&f.graph, &BEFORE.replace("n: I64?", "n: I64?  x: I64?"))
        .await
        .unwrap();
}

/// Dying before the append leaves nothing that can be seen, dying after it leaves all of it.
#[tokio::test]
async fn a_change_is_there_with_its_append_and_not_before() {
    let f = fixture(BEFORE).await;
    load(&f.graph, "main", &p("a", 1)).await.unwrap();
    let desired = BEFORE.replace(
        "n: I64?",
        "m: I64 @default(0) @rename_from(\"n\") @index  x: I64 @default(4)",
    );
    let before = exported(&f.graph, &on("main"), "P").await;
    let lost = staged(&f.graph, &desired).await;
    drop(lost);
    let graph = f.elsewhere().await;
    assert_eq!(exported(&graph, &on("main"), "P").await, before);
    load(&graph, "main", &p("b", 2)).await.unwrap();
    let change = staged(&graph, &desired).await;
    let id = change.commit_id();
    let by = leader();
    graph.commit_schema(change).await.unwrap();
    // Nobody was told; the next leader looks.
    let graph = f.elsewhere().await;
    let head = graph.fence(id, &by).await.unwrap();
    assert_eq!(head.schema_commit, id);
    let rows = exported(&graph, &on("main"), "P").await;
    assert_eq!(rows["b"], json!({"k": "b", "m": 2, "x": 4}));
    assert_eq!(rows.len(), 2);
}
