//! Writers and schema changes at the same time, and processes that die in between.

use lance::index::DatasetIndexExt as _;
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

/// On a type that is written all the time a change is tried again and again: each try makes anew
/// what the new rows ask for, not what was made before.
#[tokio::test]
async fn the_next_try_makes_only_what_is_new() {
    const ROWS: usize = 5;
    let f = fixture(BEFORE).await;
    for row in 0..ROWS {
        load(&f.graph, "main", &p(&format!("a{row}"), 1))
            .await
            .unwrap();
    }
    let desired = BEFORE.replace("n: I64?", "n: I64? @index  x: I64 @default(4) @index");
    let puts = || f.store.requests().put;
    let before = puts();
    let change = staged(&f.graph, &desired).await;
    let first = puts() - before;
    load(&f.elsewhere().await, "main", &p("late", 1))
        .await
        .unwrap();
    let error = f.graph.commit_schema(change).await.unwrap_err();
    assert!(matches!(error, SchemaCommitError::Conflict));
    let before = puts();
    let change = staged(&f.graph, &desired).await;
    let second = puts() - before;
    // Of the filled column one file instead of one for each load before.
    assert!(second + ROWS as u64 - 1 <= first, "{first}, then {second}");
    f.graph.commit_schema(change).await.unwrap();
    let snapshot = snapshot(&f.graph, &on("main")).await;
    let id = snapshot.schema.catalog.node("P").unwrap().id;
    let dataset = snapshot.open(id).await.unwrap();
    let indexes = dataset.load_indices().await.unwrap();
    for name in ["n_btree", "x_btree"] {
        let segments = indexes.iter().filter(|index| index.name == name);
        let mut sizes: Vec<u64> = segments
            .map(|index| index.fragment_bitmap.as_ref().unwrap().len())
            .collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [1, ROWS as u64], "{name}");
    }
    for filter in ["n = 1", "x = 4"] {
        let rows = dataset.count_rows(Some(filter.to_owned())).await.unwrap();
        assert_eq!(rows, ROWS + 1, "{filter}");
    }
    assert_eq!(exported(&f.graph, &on("main"), "P").await.len(), ROWS + 1);
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
            BranchEvent::Swept {
                at: 1,
                before: None,
            },
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

/// A mutation that started before the change is run again, against the new schema.
#[tokio::test]
async fn a_writer_starts_from_scratch_against_the_new_schema() {
    let f = fixture(BEFORE).await;
    load(&f.graph, "main", &p("a", 1)).await.unwrap();
    let mut session = f
        .graph
        .load(&branch("main"), crate::write::LoadOptions::default())
        .await
        .unwrap();
    session.push(Bytes::from(p("b", 2))).await.unwrap();
    let desired = BEFORE.replace("n: I64?", "n: I64? @unique  x: I64 @default(4)");
    apply(&f.elsewhere().await, &desired).await.unwrap();
    session.finish().await.unwrap();
    let rows = exported(&f.graph, &on("main"), "P").await;
    assert_eq!(rows["a"], json!({"k": "a", "n": 1, "x": 4}));
    assert_eq!(rows["b"], json!({"k": "b", "n": 2, "x": 4}));
}

/// Started before, refused after: the new rules count.
#[tokio::test]
async fn a_load_is_held_against_the_rules_that_came_meanwhile() {
    for (desired, line, code) in [
        (
            BEFORE.replace("n: I64?", "n: I64?  @range(n, ..9)"),
            p("b", 10),
            "R412",
        ),
        (
            BEFORE.replace("n: I64?", "n: I64? @unique"),
            p("b", 1),
            "R414",
        ),
        (
            BEFORE.replace("n: I64?", "m: I64? @rename_from(\"n\")"),
            p("b", 2),
            "R405",
        ),
        (
            BEFORE
                .replace("node P {", "node R @rename_from(\"P\") {")
                .replace("E: P -> P", "E: R -> R"),
            p("b", 2),
            "R404",
        ),
    ] {
        let f = fixture(BEFORE).await;
        load(&f.graph, "main", &p("a", 1)).await.unwrap();
        let mut session = f
            .graph
            .load(&branch("main"), crate::write::LoadOptions::default())
            .await
            .unwrap();
        session.push(Bytes::from(line)).await.unwrap();
        apply(&f.elsewhere().await, &desired).await.unwrap();
        let error = session.finish().await.unwrap_err();
        let (found, _) = findings(&error);
        assert!(found[0].starts_with(code), "{code}: {found:?}");
    }
}

/// Types that the change leaves alone are loaded as if nothing had happened, whatever the size.
#[tokio::test]
async fn a_large_load_of_other_types_goes_on() {
    let f = fixture(BEFORE).await;
    let row = |k: usize| {
        let k = format!("{k}{}", "x".repeat(4000));
        json!({"type": "Q", "data": {"k": k}}).to_string() + "\n"
    };
    let text: String = (0..2200).map(row).collect();
    assert!(text.len() > 8 << 20);
    for (desired, works) in [
        (
            BEFORE.replace("n: I64?", "n: I64? @unique  x: I64 @default(4)"),
            true,
        ),
        (BEFORE.replace("node Q { ", "node Q { m: I64?  "), false),
    ] {
        let mut session = f
            .graph
            .load(&branch("main"), crate::write::LoadOptions::default())
            .await
            .unwrap();
        let text = text.replace("x", if works { "y" } else { "z" });
        session.push(Bytes::from(text)).await.unwrap();
        apply(&f.elsewhere().await, &desired).await.unwrap();
        let result = session.finish().await;
        match works {
            true => assert_eq!(result.unwrap().total, 2200),
            false => assert_eq!(result.unwrap_err().kind(), ErrorKind::WriteConflict),
        }
    }
    assert_eq!(exported(&f.graph, &on("main"), "Q").await.len(), 2200);
}

/// A mutation takes the new schema's defaults and rules when it is run again.
#[tokio::test]
async fn mutations_and_schema_changes_take_turns() {
    let f = fixture(BEFORE).await;
    let insert = |k: usize| format!("query q() {{ insert P {{ k: \"m{k}\", n: {k} }} }}");
    let other = f.elsewhere().await;
    let writes = async {
        for k in 0..12 {
            mutate(&f.graph, "main", &insert(k)).await.unwrap();
        }
    };
    let changes = async {
        for x in 0..4 {
            let desired = (0..=x).fold(BEFORE.to_owned(), |schema, x| {
                schema.replace("n: I64?", &format!("n: I64?  x{x}: I64 @default({x})"))
            });
            for _ in 0..50 {
                let change = other
                    .stage_schema(&desired, CommitId::new(), &leader())
                    .await
                    .unwrap();
                if other.commit_schema(change).await.is_ok() {
                    break;
                }
            }
        }
    };
    tokio::join!(writes, changes);
    let rows = exported(&f.graph, &on("main"), "P").await;
    assert_eq!(rows.len(), 12);
    for (id, row) in rows {
        assert_eq!(row["x0"], 0, "{id} {row}");
        assert_eq!(row["x3"], 3, "{id} {row}");
    }
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
