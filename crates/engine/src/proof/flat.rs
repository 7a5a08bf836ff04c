//! Requests do not grow with the history, with the number of branches, or with that of types.

use std::fmt::Write as _;

use super::world::World;
use crate::engine::Authorship;
use crate::exec::QueryLimits;
use crate::graph::{BranchName, CommitId, Graph, ReadOptions, Target, WriteOptions};
use crate::log::fault::Op;

/// What the operations cost at one size.
#[derive(Debug, PartialEq, Eq)]
struct Costs {
    insert_node: (u64, u64, u64),
    insert_edge: (u64, u64, u64),
    create_branch: (u64, u64, u64),
    delete_branch: (u64, u64, u64),
    /// A strong read by a process that knows the head.
    read_warm: (u64, u64, u64),
    /// The first read of a process that knows nothing.
    read_cold: (u64, u64, u64),
}

fn schema(types: usize) -> String {
    let mut text = String::from(
        "node P0 { name: String @key  size: I32? }\nedge E0: P0 -> P0 { @key(src, dst) }\n",
    );
    for n in 1..types / 2 {
        let _ = writeln!(
            text,
            "node P{n} {{ name: String @key }}\nedge E{n}: P{n} -> P0 {{ }}"
        );
    }
    text
}

async fn insert(graph: &Graph, name: &str) {
    mutate(
        graph,
        &format!(r#"query q() {{ insert P0 {{ name: "{name}" }} }}"#),
    )
    .await;
}

async fn mutate(graph: &Graph, source: &str) {
    let params = serde_json::Map::new();
    graph
        .mutate(
            &BranchName::main(),
            source,
            None,
            &params,
            &WriteOptions::default(),
        )
        .await
        .unwrap();
}

async fn read(graph: &Graph) -> usize {
    let snapshot = graph
        .snapshot(&Target::default(), &ReadOptions::default())
        .await
        .unwrap();
    let source = r#"query q() { match { $p: P0 { name: "seed" } } return { $p.name } }"#;
    let query = graph.compile(&snapshot, source, None).await.unwrap();
    let params = serde_json::Map::new();
    let result = graph
        .query(&snapshot, &query, &params, &QueryLimits::default())
        .await
        .unwrap();
    result.batches.iter().map(|batch| batch.num_rows()).sum()
}

/// Reads, writes and listings of some work.
async fn counted<T>(world: &World, work: impl Future<Output = T>) -> (u64, u64, u64) {
    world.faults.take_counts();
    work.await;
    let (mut reads, mut writes, mut lists) = (0, 0, 0);
    for (op, count) in world.faults.take_counts() {
        match op {
            Op::Get | Op::Head => reads += count,
            Op::Put | Op::Delete | Op::Copy => writes += count,
            Op::List => lists += count,
        }
    }
    (reads, writes, lists)
}

/// Brings `main` to a head at a multiple of 16, where the hint was just written, so that sizes
/// compare.
async fn align(world: &World) {
    for _ in 0..64 {
        lengthen(world, 1).await;
        let path = format!("{}/branches/main/hint", world.root.path());
        let hint = world.object(&path).await.unwrap_or_default();
        let hint: u64 = std::str::from_utf8(&hint).unwrap().parse().unwrap_or(0);
        let next = format!("{}/branches/main/{:020}.json", world.root.path(), hint + 1);
        if hint > 0 && world.object(&next).await.is_none() {
            return;
        }
    }
    panic!("no append wrote the hint");
}

async fn costs(world: &World) -> Costs {
    insert(&world.graph, "seed").await;
    align(world).await;
    let graph = &world.graph;
    let insert_node = counted(world, insert(graph, "one")).await;
    let edge = r#"query q() { insert E0 { from: "one", to: "seed" } }"#;
    mutate(
        graph,
        r#"query q() { insert E0 { from: "seed", to: "seed" } }"#,
    )
    .await;
    let insert_edge = counted(world, mutate(graph, edge)).await;
    let read_warm = counted(world, read(graph)).await;
    let review = BranchName::parse("review").unwrap();
    let by = Authorship::default();
    let main = Target::default();
    let create = graph.create_branch(&review, &main, &by);
    let create_branch = counted(world, async { create.await.map(|_| ()).unwrap() }).await;
    let delete = graph.delete_branch(&review, None, &by);
    let delete_branch = counted(world, async { delete.await.map(|_| ()).unwrap() }).await;
    let cold = world.fork().await;
    let read_cold = counted(&cold, async { assert_eq!(read(&cold.graph).await, 1) }).await;
    Costs {
        insert_node,
        insert_edge,
        create_branch,
        delete_branch,
        read_warm,
        read_cold,
    }
}

/// Commits without data, to make a history long at little cost.
async fn lengthen(world: &World, commits: usize) {
    for _ in 0..commits {
        world
            .graph
            .fence(CommitId::new(), &Authorship::default())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn requests_are_the_same_after_ten_and_two_thousand_commits() {
    let world = World::new(&schema(2)).await;
    lengthen(&world, 10).await;
    let short = costs(&world.fork().await).await;
    lengthen(&world, 1990).await;
    let long = costs(&world.fork().await).await;
    assert_eq!(short, long);
}

#[tokio::test]
async fn requests_are_the_same_with_two_and_two_hundred_types() {
    let few = costs(&World::new(&schema(2)).await).await;
    let many = costs(&World::new(&schema(200)).await).await;
    assert_eq!(few, many);
}

#[tokio::test]
async fn requests_are_the_same_with_one_branch_and_a_hundred() {
    let world = World::new(&schema(2)).await;
    let one = costs(&world.fork().await).await;
    for n in 0..100 {
        world.branch(&format!("b{n}"), "main").await;
    }
    let many = costs(&world.fork().await).await;
    assert_eq!(one, many);
}
