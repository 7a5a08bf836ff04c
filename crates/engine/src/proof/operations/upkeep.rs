//! Maintenance and collection.

use super::super::matrix::Operation;
use super::super::world::{DAY_AND_MORE, World, collect};
use super::seed;
use crate::engine::Authorship;
use crate::graph::{BranchName, CommitId, OptimizeOptions, Upkeep};

async fn add(world: &World, prefix: &str, count: usize) {
    for number in 0..count {
        let source = format!(r#"query q() {{ insert Team {{ name: "{prefix}{number}" }} }}"#);
        world.mutate("main", &source).await;
    }
}

/// One table of each kind: every write of each is made to fail in every way.
pub(super) async fn optimize() -> Operation {
    let seed = seed().await;
    for number in 0..3 {
        let source = format!(r#"query q() {{ insert Package {{ name: "m{number}" }} }}"#);
        seed.mutate("main", &source).await;
    }
    Operation::new(seed, |world| {
        let graph = world.graph.clone();
        async move {
            let options = OptimizeOptions {
                types: vec!["Package".to_owned(), "Owns".to_owned()],
                ..OptimizeOptions::default()
            };
            let main = BranchName::main();
            let done = graph.optimize(&main, &options, &|_| {}).await?;
            if let Some(error) = done.tables.into_iter().find_map(|table| table.error) {
                return Err(crate::error::Error::internal(error));
            }
            assert!(done.commit.is_some(), "there was something to do");
            Ok(())
        }
    })
}

/// A history of so many commits without data, and nothing else to maintain.
async fn long(commits: usize) -> World {
    let world = World::new(super::SCHEMA).await;
    for _ in 0..commits {
        let by = Authorship::default();
        world.graph.fence(CommitId::new(), &by).await.unwrap();
    }
    world
}

async fn index(world: &World) -> crate::error::Result<()> {
    let (graph, options) = (world.graph.clone(), OptimizeOptions::default());
    let main = BranchName::main();
    graph.optimize(&main, &options, &|_| {}).await.map(|_| ())
}

pub(super) async fn index_history() -> Operation {
    Operation::new(long(120).await, |world| {
        let graph = world.graph.clone();
        async move {
            let main = BranchName::main();
            let options = OptimizeOptions::default();
            graph.optimize(&main, &options, &|_| {}).await?;
            Ok(())
        }
    })
    .then(history_is_found)
}

/// Small segments become a large one, and go.
pub(super) async fn join_index() -> Operation {
    let seed = long(940).await;
    index(&seed).await.unwrap();
    for _ in 0..60 {
        let by = Authorship::default();
        seed.graph.fence(CommitId::new(), &by).await.unwrap();
    }
    Operation::new(seed, |world| {
        let graph = world.graph.clone();
        async move {
            let main = BranchName::main();
            let options = OptimizeOptions::default();
            graph.optimize(&main, &options, &|_| {}).await?;
            Ok(())
        }
    })
    .then(history_is_found)
}

/// A process that knows nothing finds the oldest commits.
fn history_is_found(world: World, case: String) -> futures::future::BoxFuture<'static, World> {
    Box::pin(async move {
        let main = BranchName::main();
        let graph = &world.graph;
        let mut oldest = graph.branch(&main).await.unwrap().head;
        for _ in 0..3 {
            let cold = world.engine.without_caches();
            let cold = cold.open_graph(&world.root).await.unwrap();
            let found = cold.commit(&oldest.id).await;
            assert_eq!(found.unwrap(), oldest, "{case}");
            let Some(parent) = oldest.parents.first() else {
                break;
            };
            oldest = graph.commit(&parent.id).await.unwrap();
        }
        world
    })
}

/// Enough small fragments that it happens by itself.
pub(super) async fn pass() -> Operation {
    let seed = World::new(super::SCHEMA).await;
    add(&seed, "t", 17).await;
    Operation::new(seed, |world| {
        let graph = world.graph.clone();
        async move {
            let done = Upkeep::new(graph).pass().await?;
            let tables = done.into_iter().flat_map(|(_, outcome)| outcome.tables);
            let mut errors = tables.filter_map(|table| table.error);
            match errors.next() {
                None => Ok(()),
                Some(error) => Err(crate::error::Error::internal(error)),
            }
        }
    })
}

/// Commits that are two days old, and a branch that has ended.
async fn old() -> World {
    let world = World::new(super::SCHEMA).await;
    add(&world, "t", 2).await;
    world.branch("gone", "main").await;
    world
        .mutate("gone", r#"query q() { insert Team { name: "gone" } }"#)
        .await;
    let (gone, by) = (BranchName::parse("gone").unwrap(), Authorship::default());
    world.graph.delete_branch(&gone, None, &by).await.unwrap();
    add(&world, "u", 1).await;
    world.pass(DAY_AND_MORE * 2);
    world
}

pub(super) async fn condemn() -> Operation {
    let seed = old().await;
    let done = seed.fork().await.try_collect(1).await.unwrap();
    assert!(done.condemned.objects > 3, "{done:?}");
    Operation::new(seed, |world| {
        let graph = world.graph.clone();
        async move {
            collect(&graph, 1).await?;
            Ok(())
        }
    })
}

/// Removes objects, and entries of the logs.
pub(super) async fn sweep() -> Operation {
    let seed = old().await;
    seed.try_collect(1).await.unwrap();
    seed.pass(DAY_AND_MORE);
    let fork = seed.fork().await;
    let done = fork.try_collect(1).await.unwrap();
    assert!(done.removed.objects > 3, "{done:?}");
    assert!(done.log_entries > 0, "{done:?}");
    Operation::new(seed, |world| {
        let graph = world.graph.clone();
        async move {
            collect(&graph, 1).await?;
            Ok(())
        }
    })
}
