//! A query ends when its time is over, wherever it then is.

use serde_json::json;

use super::fixture::Fixture;
use crate::error::ErrorKind;
use crate::exec::read::run_guarded;
use crate::exec::rows::tests::ticking;

/// Many steps of a sort, which has few rows in a step here.
const NODES: usize = 1000;

async fn looks(graph: &Fixture, source: &str, at: u64) -> (Result<usize, ErrorKind>, u64) {
    let query = graph.check(source).unwrap();
    let (guard, looked) = ticking(at);
    let params = serde_json::Map::new();
    let result = run_guarded(&graph.context(), &query, &params, guard).await;
    let rows = result.map(|result| result.batches.iter().map(|b| b.num_rows()).sum());
    (rows.map_err(|error| error.kind()), looked())
}

#[tokio::test]
async fn a_deadline_ends_a_query_at_every_step() {
    let mut graph = Fixture::new("node N { name: String @key  n: I64? }").await;
    let rows: Vec<_> = (0..NODES)
        .map(|n| json!({"id": n.to_string(), "name": n.to_string(), "n": n * 7919 % 1009}))
        .collect();
    graph.insert("N", &rows).await;
    let query = |rest: &str| format!("query q() {{ match {{ $a: N }} return {rest} }}");
    let plain = query("{ $a.name, $a.n }");
    // Reading the tables takes steps of its own, once.
    assert_eq!(looks(&graph, &plain, u64::MAX).await.0, Ok(NODES));
    let (_, unsorted) = looks(&graph, &plain, u64::MAX).await;
    for (rest, left) in [
        ("{ $a.name, $a.n } order { $a.n desc }", NODES),
        ("{ $a.name, $a.n } order { $a.n } limit 5", 5),
        ("distinct { $a.n as n } order { n }", NODES),
    ] {
        let source = query(rest);
        let (found, all) = looks(&graph, &source, u64::MAX).await;
        assert_eq!(found, Ok(left), "{rest}");
        assert!(
            all > unsorted + 10,
            "{rest}: {all} looks, {unsorted} without a sort"
        );
        for at in 1..=all {
            let (found, looked) = looks(&graph, &source, at).await;
            assert_eq!(found, Err(ErrorKind::Deadline), "{rest}, {at} of {all}");
            assert_eq!(looked, at, "{rest}: nothing is done after it");
        }
    }
}
