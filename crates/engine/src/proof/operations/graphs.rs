//! Whole graphs: made, copied elsewhere and back, ended and removed.

use futures::FutureExt;
use futures::future::BoxFuture;

use super::super::matrix::{Between, Operation};
use super::super::world::{BACKUPS, DAY_AND_MORE, FULL, State, World};
use super::seed;
use crate::engine::Authorship;
use crate::error::Error;
use crate::graph::backup::{list_at, verify_at};
use crate::graph::{BackupInfo, BackupOptions, BackupScope, GraphId, Removal, Target};

/// Every object is copied in each case, so there are few.
const SMALL: &str = "node Package { name: String @key }  node Team { name: String @key }";

fn scope(scope: BackupScope) -> BackupOptions {
    BackupOptions {
        scope,
        progress: None,
    }
}

async fn backed_up(world: &World, of: BackupScope) -> BackupInfo {
    let made = world.graph.backup(BACKUPS, &scope(of)).await;
    made.unwrap()
}

fn backing_up(seed: World, of: BackupScope) -> Operation {
    Operation::new(seed, move |world| {
        let (graph, options) = (world.graph.clone(), scope(of.clone()));
        async move {
            graph.backup(BACKUPS, &options).await?;
            Ok(())
        }
    })
    .then(backups_are_whole)
}

pub(super) async fn backup_commit() -> Operation {
    let commit = BackupScope::Commit(Target::default());
    backing_up(small().await, commit)
}

pub(super) async fn backup_history() -> Operation {
    backing_up(small().await, BackupScope::History)
}

pub(super) async fn backup_again() -> Operation {
    let seed = small().await;
    backed_up(&seed, BackupScope::History).await;
    seed.mutate("main", r#"query q() { insert Team { name: "new" } }"#)
        .await;
    backing_up(seed, BackupScope::History)
}

async fn small() -> World {
    let world = World::new(SMALL).await;
    world
        .mutate("main", r#"query q() { insert Package { name: "a" } }"#)
        .await;
    world.branch("side", "main").await;
    world
}

/// What is listed as a backup can be verified, and the next one can be made and restored.
fn backups_are_whole(world: World, case: String) -> BoxFuture<'static, World> {
    async move {
        let options = world.engine.store().options();
        backed_up(&world, BackupScope::History).await;
        let listed = list_at(BACKUPS, options).await.unwrap();
        assert!(!listed.is_empty(), "{case}");
        for backup in &listed {
            let check = verify_at(&backup.uri, options).await.unwrap();
            assert!(check.is_ok(), "{case}: {check:?}");
        }
        let newest = listed.last().unwrap();
        let fork = world.fork().await;
        let by = Authorship::default();
        let restored = fork.engine.restore_graph(&newest.uri, &again(), &by).await;
        let restored = restored.unwrap_or_else(|error| panic!("{case}: {error}"));
        let graph = fork.engine.open_graph(&restored.root).await.unwrap();
        let report = graph.fsck(&FULL).await.unwrap();
        assert!(report.is_sound(), "{case}: {report:#?}");
        world
    }
    .boxed()
}

fn again() -> GraphId {
    GraphId::parse("again").unwrap()
}

fn restoring(seed: World, backup: &BackupInfo) -> Operation {
    let uri = backup.uri.clone();
    Operation::new(seed, move |world| {
        let (engine, uri) = (world.engine.clone(), uri.clone());
        async move {
            let by = Authorship::default();
            engine.restore_graph(&uri, &again(), &by).await?;
            Ok(())
        }
    })
    .then(no_halves)
}

pub(super) async fn restore_commit() -> Operation {
    let seed = small().await;
    let backup = backed_up(&seed, BackupScope::Commit(Target::default())).await;
    restoring(seed, &backup)
}

pub(super) async fn restore_history() -> Operation {
    let seed = small().await;
    let backup = backed_up(&seed, BackupScope::History).await;
    restoring(seed, &backup)
}

/// A graph that is there is sound; what was begun and not finished goes as a whole after a day.
fn no_halves(world: World, case: String) -> BoxFuture<'static, World> {
    async move {
        for root in world.engine.graph_incarnations(&again()).await.unwrap() {
            if let Ok(graph) = world.engine.open_graph(&root).await
                && graph
                    .branch(&crate::graph::BranchName::main())
                    .await
                    .is_ok()
            {
                let report = graph.fsck(&FULL).await.unwrap();
                assert!(report.is_sound(), "{case}: {report:#?}");
                continue;
            }
            world.pass(DAY_AND_MORE);
            let removed = world.engine.remove_graph(&root).await.unwrap();
            assert!(
                matches!(removed, Removal::Removed { .. }),
                "{case}: {removed:?}"
            );
            let left = world.objects_below(&root.path()).await;
            assert!(left.is_empty(), "{case}: {left:?}");
        }
        world
    }
    .boxed()
}

pub(super) async fn create() -> Operation {
    Operation::new(small().await, |world| {
        let engine = world.engine.clone();
        async move {
            let by = Authorship::default();
            engine.create_graph(&again(), SMALL, &by).await?;
            Ok(())
        }
    })
    .then(no_halves)
}

/// Branch by branch; done again, it is finished, and later the graph can be removed.
pub(super) async fn tombstone() -> Operation {
    Operation::new(seed().await, |world| {
        let (engine, root) = (world.engine.clone(), world.root.clone());
        async move { engine.tombstone_graph(&root, &Authorship::default()).await }
    })
    .between(Between::PartOfBefore)
    .then(can_be_ended)
    .ends_the_graph()
}

fn can_be_ended(world: World, case: String) -> BoxFuture<'static, World> {
    async move {
        let by = Authorship::default();
        world
            .engine
            .tombstone_graph(&world.root, &by)
            .await
            .unwrap();
        assert_eq!(world.state().await, State::new(), "{case}");
        can_be_removed(world, case).await
    }
    .boxed()
}

/// Of a graph that has ended.
pub(super) async fn remove() -> Operation {
    let seed = small().await;
    let by = Authorship::default();
    seed.engine.tombstone_graph(&seed.root, &by).await.unwrap();
    seed.pass(DAY_AND_MORE);
    Operation::new(seed, |world| {
        let (engine, root) = (world.engine.clone(), world.root.clone());
        async move {
            match engine.remove_graph(&root).await? {
                Removal::Removed { .. } => Ok(()),
                other => Err(Error::internal(format!("{other:?}"))),
            }
        }
    })
    .then(can_be_removed)
    .ends_the_graph()
}

fn can_be_removed(world: World, case: String) -> BoxFuture<'static, World> {
    async move {
        world.pass(DAY_AND_MORE);
        world.engine.remove_graph(&world.root).await.unwrap();
        let left = world.objects_below(&world.root.path()).await;
        assert!(left.is_empty(), "{case}: {left:?}");
        world
    }
    .boxed()
}
