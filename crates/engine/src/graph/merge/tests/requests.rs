//! Exact counts of requests, and that they do not grow with the table or the history.

use super::*;

async fn big(rows: usize, history: usize) -> Fixture {
    let fixture = Fixture::new(SCHEMA).await;
    let mut lines = String::new();
    for n in 0..rows {
        lines.push_str(&format!(
            "{{\"type\":\"Package\",\"data\":{{\"name\":\"n{n}\",\"kb\":{n}}}}}\n"
        ));
    }
    let options = crate::write::LoadOptions::default();
    let mut load = fixture.graph.load(&branch("main"), options).await.unwrap();
    load.push(bytes::Bytes::from(lines)).await.unwrap();
    load.finish().await.unwrap();
    for n in 0..history {
        fixture
            .run("main", &format!(r#"insert Person {{ email: "p{n}" }}"#))
            .await;
    }
    fixture.fork("side", "main").await;
    for n in 0..3 {
        fixture
            .run(
                "main",
                &format!(r#"update Package set {{ kb: -1 }} where name = "n{n}""#),
            )
            .await;
        fixture
            .run(
                "side",
                &format!(r#"update Package set {{ kb: -2 }} where name = "n1{n}""#),
            )
            .await;
    }
    fixture
}

async fn cost(fixture: &Fixture, graph: &Graph) -> (u64, u64, u64) {
    let before = fixture.store.requests();
    let merged = graph
        .merge(&branch("side"), &branch("main"), &MergeOptions::default())
        .await
        .unwrap();
    assert_eq!(merged.outcome, MergeOutcome::Merged);
    assert_eq!(merged.changes[0].updated, 3);
    let cost = fixture.store.requests() - before;
    (cost.total(), cost.put, cost.bytes_read)
}

/// Heads, the source's three commits, manifests; deletion files and changed rows of both sides, data
/// file by data file; then data, deletion file, transaction, manifest and entry.
#[tokio::test]
async fn a_merge_costs_what_changed_and_not_what_exists() {
    for rows in [4_000, 40_000] {
        let fixture = big(rows, 0).await;
        let (total, puts, bytes) = cost(&fixture, &fixture.graph).await;
        assert_eq!((total, puts), (22, 5), "{rows} rows");
        assert!(bytes < 40_000, "{bytes} bytes of {rows} rows");
    }
}

/// A process that knows nothing of the graph reads the heads and the manifests besides.
#[tokio::test]
async fn a_cold_merge_reads_neither_the_table_nor_the_history() {
    for (rows, history) in [(4_000, 16), (40_000, 16), (4_000, 64)] {
        let fixture = big(rows, history).await;
        let options = EngineOptions {
            cache_bytes: 64 << 20,
            ..EngineOptions::default()
        };
        let engine = Engine::new(fixture.store.clone(), options);
        let cold = engine.open_graph(&fixture.root).await.unwrap();
        let (total, puts, bytes) = cost(&fixture, &cold).await;
        assert_eq!((total, puts), (51, 5), "{rows} rows, {history} commits");
        assert!(bytes < 100_000, "{bytes} bytes of {rows} rows");
    }
}

#[tokio::test]
async fn tables_of_one_side_are_adopted_without_a_look_at_them() {
    let fixture = big(4_000, 0).await;
    let before = fixture.store.requests();
    fixture.fork("other", "main").await;
    fixture
        .run("other", r#"insert Person { email: "only-here" }"#)
        .await;
    fixture
        .run("main", r#"update Package set { kb: -9 } where name = "n7""#)
        .await;
    let prepared = fixture.store.requests() - before;
    let merged = fixture
        .merge("other", "main", MergeOptions::default())
        .await
        .unwrap();
    assert_eq!(merged.outcome, MergeOutcome::Merged);
    assert_eq!(merged.changes[0].inserted, 1);
    // The head of the target, that of the source, and the entry.
    let cost = fixture.store.requests() - before - prepared;
    assert_eq!((cost.get, cost.put, cost.total()), (2, 1, 3), "{cost}");
}
