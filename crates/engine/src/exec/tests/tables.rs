//! Table snapshots: derived ones are like those built from scratch, and cost little.

use std::sync::Arc;

use arrow_array::Array;
use serde_json::json;

use super::fixture::Fixture;
use crate::exec::values::value_at;
use crate::exec::{SnapshotCache, TableSnapshot};

const SCHEMA: &str = "
node Place { name: String @key   size: I64?   label: String? }
edge Road: Place -> Place { note: String? }
";

fn place(name: &str, size: i64) -> serde_json::Value {
    json!({"id": name, "name": name, "size": size, "label": format!("place number {size}")})
}

fn road(id: &str, from: &str, to: &str) -> serde_json::Value {
    json!({"id": id, "src": from, "dst": to})
}

/// Everything that a snapshot says, in terms of ids.
async fn contents(table: &Arc<TableSnapshot>, columns: &[&str]) -> Vec<String> {
    let ids = table.id_index().await.unwrap();
    let live: Vec<u32> = table.live().collect();
    assert_eq!(live.len(), table.live_rows());
    let mut rows: Vec<String> = Vec::new();
    let mut arrays = Vec::new();
    for name in columns {
        arrays.push(table.column(name).await.unwrap().gather(&live).unwrap());
    }
    for (at, &ordinal) in live.iter().enumerate() {
        assert_eq!(ids.ordinal_of(ids.id(ordinal)), Some(ordinal));
        let values: Vec<_> = arrays
            .iter()
            .map(|a| value_at(a.as_ref() as &dyn Array, at))
            .collect();
        rows.push(format!(
            "{} @{:x} {values:?}",
            ids.id(ordinal),
            table.row_address(ordinal)
        ));
    }
    rows.sort();
    rows
}

async fn neighbors(cache: &SnapshotCache, graph: &Fixture) -> Vec<String> {
    let places = graph.snapshot_in(cache, "Place").await;
    let roads = graph.snapshot_in(cache, "Road").await;
    let adjacency = cache.adjacency(&roads, &places, &places).await.unwrap();
    let ids = places.id_index().await.unwrap();
    let edge_ids = roads.id_index().await.unwrap();
    let mut found = Vec::new();
    for place in places.live() {
        for (direction, list) in [
            ("->", adjacency.outgoing(place)),
            ("<-", adjacency.incoming(place)),
        ] {
            assert!(list.nodes.is_sorted());
            for (&node, &edge) in list.nodes.iter().zip(list.edges) {
                assert!(places.live_set().contains(node) && roads.live_set().contains(edge));
                found.push(format!(
                    "{} {direction} {} {}",
                    ids.id(place),
                    ids.id(node),
                    edge_ids.id(edge)
                ));
            }
        }
    }
    found.sort();
    found
}

async fn assert_like_from_scratch(graph: &Fixture) {
    let fresh = SnapshotCache::new(64 << 20);
    for (name, columns) in [
        ("Place", &["id", "name", "size", "label"][..]),
        ("Road", &["id", "src", "dst", "note"]),
    ] {
        let derived = graph.snapshot(name).await;
        let scratch = graph.snapshot_in(&fresh, name).await;
        assert_eq!(
            contents(&derived, columns).await,
            contents(&scratch, columns).await,
            "{name}"
        );
    }
    assert_eq!(
        neighbors(&graph.cache, graph).await,
        neighbors(&fresh, graph).await
    );
}

#[tokio::test]
async fn a_derived_snapshot_is_like_one_from_scratch() {
    let mut graph = Fixture::new(SCHEMA).await;
    let names: Vec<String> = (0..40).map(|n| format!("p{n}")).collect();
    let places: Vec<_> = names
        .iter()
        .zip(0..)
        .map(|(name, n)| place(name, n))
        .collect();
    graph.insert("Place", &places).await;
    let roads: Vec<_> = (0..120)
        .map(|n| road(&format!("r{n}"), &names[n * 7 % 40], &names[n * n % 40]))
        .collect();
    graph.insert("Road", &roads).await;
    assert_like_from_scratch(&graph).await;
    let first = graph
        .snapshot("Place")
        .await
        .ordinal_of("p3")
        .await
        .unwrap();

    graph.insert("Place", &[place("new", 100)]).await;
    graph
        .insert("Road", &[road("s1", "new", "p3"), road("s2", "p3", "new")])
        .await;
    assert_like_from_scratch(&graph).await;
    let derived = graph.snapshot("Place").await;
    assert_eq!(
        derived.ordinal_of("p3").await.unwrap(),
        first,
        "ordinals are kept"
    );

    // An update moves a row: its edges have to follow.
    graph.delete("Place", "id = 'p3'").await;
    graph.insert("Place", &[place("p3", 333)]).await;
    assert_like_from_scratch(&graph).await;
    assert_ne!(
        graph
            .snapshot("Place")
            .await
            .ordinal_of("p3")
            .await
            .unwrap(),
        first
    );

    // And again, which removes the fragment of the first update.
    graph.delete("Place", "id = 'p3'").await;
    graph.insert("Place", &[place("p3", 334)]).await;
    graph.delete("Road", "id = 's1' or src = 'p7'").await;
    assert_like_from_scratch(&graph).await;
    graph.delete("Road", "true").await;
    assert_like_from_scratch(&graph).await;
}

#[tokio::test]
async fn diverged_versions_do_not_mix() {
    let mut graph = Fixture::new(SCHEMA).await;
    graph
        .insert("Place", &[place("a", 1), place("b", 2), place("c", 3)])
        .await;
    graph.insert("Road", &[road("r", "a", "b")]).await;
    assert_like_from_scratch(&graph).await;
    let (_, base) = graph.table("Place");
    graph.delete("Place", "id = 'c'").await;
    graph.insert("Place", &[place("left", 4)]).await;
    assert_like_from_scratch(&graph).await;
    // The other branch still has c, at an ordinal that is dead on the first.
    graph.reset("Place", base);
    graph.insert("Place", &[place("right", 5)]).await;
    assert_like_from_scratch(&graph).await;
    let table = graph.snapshot("Place").await;
    for (id, there) in [("c", true), ("right", true), ("left", false)] {
        assert_eq!(table.ordinal_of(id).await.unwrap().is_some(), there, "{id}");
    }
}

#[tokio::test]
async fn text_search_follows_the_rows() {
    let mut graph = Fixture::new(SCHEMA).await;
    graph.insert("Place", &[place("a", 1), place("b", 2)]).await;
    let hits = |table: Arc<TableSnapshot>| async move {
        let index = table.text_index("label").await.unwrap();
        let ids = table.id_index().await.unwrap();
        let mask = index.any(&["number".to_owned()]);
        let mut found: Vec<String> = table
            .live()
            .filter(|&o| mask[o as usize])
            .map(|o| ids.id(o).to_owned())
            .collect();
        found.sort();
        found
    };
    assert_eq!(hits(graph.snapshot("Place").await).await, ["a", "b"]);
    graph.insert("Place", &[place("c", 3)]).await;
    graph.delete("Place", "id = 'a'").await;
    assert_eq!(hits(graph.snapshot("Place").await).await, ["b", "c"]);
}

#[tokio::test]
async fn a_tiny_budget_changes_no_answer() {
    let mut graph = Fixture::new(SCHEMA).await;
    graph.cache = SnapshotCache::new(1);
    graph.insert("Place", &[place("a", 1), place("b", 2)]).await;
    graph.insert("Road", &[road("r", "a", "b")]).await;
    assert_like_from_scratch(&graph).await;
    graph.insert("Road", &[road("s", "b", "a")]).await;
    assert_like_from_scratch(&graph).await;
}
