//! Branches, merges, reverts and tags.

use super::super::matrix::{Between, Operation};
use super::super::world::World;
use super::schemas::{NEXT_SCHEMA, change};
use super::{keyed, seed};
use crate::engine::Authorship;
use crate::error::Result;
use crate::graph::{
    BranchName, Graph, MergeOptions, MergeStrategy, RevertMode, RevertOptions, Strategies, TagName,
    Target, WriteOptions,
};

fn name(text: &str) -> BranchName {
    BranchName::parse(text).unwrap()
}

async fn head(world: &World, branch: &str) -> crate::graph::Commit {
    world.graph.branch(&name(branch)).await.unwrap().head
}

async fn create_branch(graph: Graph, branch: &str, from: Target) -> Result<()> {
    let by = Authorship::default();
    graph.create_branch(&name(branch), &from, &by).await?;
    Ok(())
}

async fn delete_branch(graph: Graph, branch: &str) -> Result<()> {
    let by = Authorship::default();
    graph.delete_branch(&name(branch), None, &by).await?;
    Ok(())
}

pub(super) async fn create() -> Operation {
    Operation::new(seed().await, |world| {
        create_branch(world.graph.clone(), "fresh", Target::default())
    })
}

pub(super) async fn create_at() -> Operation {
    let seed = seed().await;
    let earlier = head(&seed, "main").await.parents[0].id;
    Operation::new(seed, move |world| {
        create_branch(world.graph.clone(), "fresh", Target::Commit(earlier))
    })
}

/// A name whose branch has ended is used again: its log goes on.
pub(super) async fn create_again() -> Operation {
    let seed = seed().await;
    delete_branch(seed.graph.clone(), "side").await.unwrap();
    Operation::new(seed, |world| {
        create_branch(world.graph.clone(), "side", Target::default())
    })
}

pub(super) async fn delete() -> Operation {
    Operation::new(seed().await, |world| {
        delete_branch(world.graph.clone(), "side")
    })
}

async fn merge(graph: Graph, source: &str, target: &str, options: MergeOptions) -> Result<()> {
    graph.merge(&name(source), &name(target), &options).await?;
    Ok(())
}

pub(super) async fn fast_forward() -> Operation {
    Operation::new(seed().await, |world| {
        merge(
            world.graph.clone(),
            "ahead",
            "main",
            MergeOptions::default(),
        )
    })
}

pub(super) async fn three_way() -> Operation {
    Operation::new(seed().await, |world| {
        merge(world.graph.clone(), "side", "main", MergeOptions::default())
    })
}

/// Both sides have changed the same entity.
pub(super) async fn strategy() -> Operation {
    let seed = seed().await;
    seed.mutate(
        "side",
        r#"query q() { update Package set { size: 8 } where name = "c" }"#,
    )
    .await;
    Operation::new(seed, |world| {
        let options = MergeOptions {
            strategies: Strategies::all(MergeStrategy::Theirs),
            ..MergeOptions::default()
        };
        merge(world.graph.clone(), "side", "main", options)
    })
}

/// Two steps: the source may outlive the merge.
pub(super) async fn merge_and_delete() -> Operation {
    let seed = seed().await;
    let fork = seed.fork().await;
    let plain = MergeOptions::default();
    merge(fork.graph.clone(), "ahead", "main", plain)
        .await
        .unwrap();
    let merged = fork.state().await;
    Operation::new(seed, |world| {
        let options = MergeOptions {
            delete_source: true,
            ..MergeOptions::default()
        };
        merge(world.graph.clone(), "ahead", "main", options)
    })
    .between(Between::States(vec![merged]))
}

pub(super) async fn keyed_merge() -> Operation {
    Operation::new(seed().await, |world| {
        let options = MergeOptions {
            write: keyed(),
            ..MergeOptions::default()
        };
        merge(world.graph.clone(), "side", "main", options)
    })
}

/// `main` has a newer schema with filled rows; `side` has changed rows under the old one.
async fn with_two_schemas() -> World {
    let seed = seed().await;
    change(seed.graph.clone(), NEXT_SCHEMA).await.unwrap();
    seed.mutate(
        "main",
        r#"query q() { update Package set { licence: "gpl" } where name = "a" }"#,
    )
    .await;
    seed
}

pub(super) async fn carried_forward() -> Operation {
    Operation::new(with_two_schemas().await, |world| {
        merge(world.graph.clone(), "side", "main", MergeOptions::default())
    })
}

pub(super) async fn newer_schema() -> Operation {
    Operation::new(with_two_schemas().await, |world| {
        merge(world.graph.clone(), "main", "side", MergeOptions::default())
    })
}

async fn revert(graph: Graph, mode: RevertMode, write: WriteOptions) -> Result<()> {
    let options = RevertOptions {
        mode,
        dry_run: false,
        write,
    };
    graph.revert(&BranchName::main(), &options).await?;
    Ok(())
}

pub(super) async fn undo() -> Operation {
    let seed = seed().await;
    let head = head(&seed, "main").await;
    assert_eq!(head.touched[0].updated, 1, "the newest commit is an update");
    // What came later stays.
    seed.mutate("main", r#"query q() { insert Package { name: "later" } }"#)
        .await;
    Operation::new(seed, move |world| {
        let mode = RevertMode::Undo(head.id);
        revert(world.graph.clone(), mode, WriteOptions::default())
    })
}

pub(super) async fn revert_to() -> Operation {
    let seed = seed().await;
    let earlier = head(&seed, "main").await.parents[0].id;
    Operation::new(seed, move |world| {
        let mode = RevertMode::To(earlier);
        revert(world.graph.clone(), mode, WriteOptions::default())
    })
}

pub(super) async fn keyed_revert() -> Operation {
    let seed = seed().await;
    let earlier = head(&seed, "main").await.parents[0].id;
    Operation::new(seed, move |world| {
        revert(world.graph.clone(), RevertMode::To(earlier), keyed())
    })
}

fn v1() -> TagName {
    TagName::parse("v1").unwrap()
}

pub(super) async fn create_tag() -> Operation {
    let seed = seed().await;
    let earlier = head(&seed, "main").await.parents[0].id;
    Operation::new(seed, move |world| {
        let graph = world.graph.clone();
        async move {
            let by = Authorship::default();
            graph
                .create_tag(&v1(), &Target::Commit(earlier), &by)
                .await?;
            Ok(())
        }
    })
}

pub(super) async fn delete_tag() -> Operation {
    let seed = seed().await;
    let by = Authorship::default();
    seed.graph
        .create_tag(&v1(), &Target::default(), &by)
        .await
        .unwrap();
    Operation::new(seed, |world| {
        let graph = world.graph.clone();
        async move {
            graph.delete_tag(&v1(), &Authorship::default()).await?;
            Ok(())
        }
    })
}
