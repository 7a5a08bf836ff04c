//! The operations of the matrix.

use futures::FutureExt;
use futures::future::BoxFuture;

use super::matrix::{Operation, Run, check, repeated};
use super::world::{SCHEMA, State, World, load};
use crate::engine::Authorship;
use crate::error::Result;
use crate::graph::{
    BranchName, CommitId, Graph, MergeOptions, OptimizeOptions, ReadOptions, RevertMode,
    RevertOptions, SchemaCommitError, TagName, Target, WriteOptions,
};
use crate::write::LoadMode;

/// `main` with some entities; `ahead` has one commit more; `side` and `main` have both moved.
async fn seed() -> World {
    let world = World::new(SCHEMA).await;
    let lines = r#"
{"type":"Package","data":{"name":"a","size":1,"summary":"first of all"}}
{"type":"Package","data":{"name":"b","size":2,"summary":"second"}}
{"type":"Package","data":{"name":"c","size":3}}
{"type":"Team","data":{"name":"t"}}
{"edge":"DependsOn","from":"a","to":"b","data":{"floor":"1.0"}}
{"edge":"DependsOn","from":"b","to":"c"}
{"edge":"Owns","from":"t","to":"a"}
"#;
    world.load("main", LoadMode::Append, lines).await;
    world.branch("side", "main").await;
    world
        .mutate(
            "side",
            r#"query q() { insert Package { name: "s", size: 9 } }"#,
        )
        .await;
    world
        .mutate(
            "main",
            r#"query q() { update Package set { size: 5 } where name = "c" }"#,
        )
        .await;
    world.branch("ahead", "main").await;
    world
        .mutate("ahead", r#"query q() { insert Package { name: "n" } }"#)
        .await;
    world
}

async fn mutate(graph: Graph, branch: &'static str, source: &'static str) -> Result<()> {
    let params = serde_json::Map::new();
    let branch = BranchName::parse(branch)?;
    let options = WriteOptions::default();
    graph
        .mutate(&branch, source, None, &params, &options)
        .await?;
    Ok(())
}

/// Everything that this matrix looks at on one fork.
async fn matrix(name: &'static str, run: Run) {
    let operation = Operation {
        name,
        run,
        between: Vec::new(),
    };
    let cases = check(&seed().await, &operation).await;
    assert!(cases >= 5, "{name}: {cases} cases");
}

fn boxed(
    work: impl Future<Output = Result<()>> + Send + 'static,
) -> BoxFuture<'static, Result<()>> {
    work.boxed()
}

#[tokio::test]
async fn inserting_a_node() {
    matrix("insert", |graph| {
        boxed(mutate(
            graph,
            "main",
            r#"query q() { insert Package { name: "x" } }"#,
        ))
    })
    .await;
}

#[tokio::test]
async fn writing_several_tables_at_once() {
    matrix("several", |graph| {
        boxed(mutate(
            graph,
            "main",
            r#"query q() {
                insert Package { name: "x" }
                insert DependsOn { from: "x", to: "a" }
                update Package set { size: 7 } where name = "b"
                insert Owns { from: "t", to: "x" }
            }"#,
        ))
    })
    .await;
}

#[tokio::test]
async fn deleting_a_node_with_its_edges() {
    matrix("delete", |graph| {
        boxed(mutate(
            graph,
            "main",
            r#"query q() { delete Package where name = "b" }"#,
        ))
    })
    .await;
}

const LINES: &str = r#"
{"type":"Package","data":{"name":"a","size":11}}
{"type":"Package","data":{"name":"l","size":12}}
{"edge":"DependsOn","from":"l","to":"a"}
"#;

#[tokio::test]
async fn loading_by_merge() {
    matrix("load", |graph| {
        boxed(async move { load(&graph, "main", LoadMode::Merge, None, LINES).await })
    })
    .await;
}

#[tokio::test]
async fn loading_by_overwrite() {
    matrix("overwrite", |graph| {
        let lines = "{\"type\":\"Team\",\"data\":{\"name\":\"t\"}}\n{\"edge\":\"Owns\",\"from\":\"t\",\"to\":\"b\"}\n";
        boxed(async move { load(&graph, "main", LoadMode::Overwrite, None, lines).await })
    })
    .await;
}

#[tokio::test]
async fn loading_into_a_new_branch() {
    matrix("fork", |graph| {
        boxed(async move { load(&graph, "fresh", LoadMode::Merge, Some("main"), LINES).await })
    })
    .await;
}

#[tokio::test]
async fn creating_a_branch() {
    matrix("branch create", |graph| {
        boxed(async move {
            let name = BranchName::parse("fresh")?;
            graph
                .create_branch(&name, &Target::default(), &Authorship::default())
                .await?;
            Ok(())
        })
    })
    .await;
}

#[tokio::test]
async fn deleting_a_branch() {
    matrix("branch delete", |graph| {
        boxed(async move {
            let name = BranchName::parse("side")?;
            graph
                .delete_branch(&name, None, &Authorship::default())
                .await?;
            Ok(())
        })
    })
    .await;
}

async fn merge(graph: Graph, source: &'static str, delete_source: bool) -> Result<()> {
    let options = MergeOptions {
        delete_source,
        ..MergeOptions::default()
    };
    let source = BranchName::parse(source)?;
    graph.merge(&source, &BranchName::main(), &options).await?;
    Ok(())
}

#[tokio::test]
async fn merging_by_fast_forward() {
    matrix("fast-forward", |graph| boxed(merge(graph, "ahead", false))).await;
}

#[tokio::test]
async fn merging_and_deleting_the_source() {
    let seed = seed().await;
    let fork = seed.fork().await;
    merge(fork.graph.clone(), "ahead", false).await.unwrap();
    let merged: State = fork.state().await;
    let operation = Operation {
        name: "merge and delete",
        run: |graph| boxed(merge(graph, "ahead", true)),
        between: vec![merged],
    };
    check(&seed, &operation).await;
}

#[tokio::test]
async fn merging_three_way() {
    matrix("three-way merge", |graph| {
        boxed(merge(graph, "side", false))
    })
    .await;
}

#[tokio::test]
async fn optimizing() {
    let seed = seed().await;
    for n in 0..3 {
        seed.mutate(
            "main",
            &format!(r#"query q() {{ insert Package {{ name: "m{n}" }} }}"#),
        )
        .await;
    }
    let operation = Operation {
        name: "optimize",
        run: |graph| {
            boxed(async move {
                // One table of each kind: every write of each is made to fail in five ways.
                let options = OptimizeOptions {
                    types: vec!["Package".to_owned(), "Owns".to_owned()],
                    ..OptimizeOptions::default()
                };
                let main = BranchName::main();
                let done = graph.optimize(&main, &options, &|_| {}).await?;
                assert!(done.commit.is_some(), "there was something to do");
                Ok(())
            })
        },
        between: Vec::new(),
    };
    check(&seed, &operation).await;
}

#[tokio::test]
async fn undoing_a_commit() {
    let seed = seed().await;
    let head = seed.graph.branch(&BranchName::main()).await.unwrap().head;
    assert_eq!(head.touched[0].updated, 1, "the newest commit is an update");
    let operation = Operation {
        name: "revert",
        run: |graph| {
            boxed(async move {
                let main = BranchName::main();
                let head = graph.branch(&main).await?.head;
                let options = RevertOptions {
                    mode: RevertMode::Undo(head.id),
                    dry_run: false,
                    write: WriteOptions::default(),
                };
                graph.revert(&main, &options).await?;
                Ok(())
            })
        },
        between: Vec::new(),
    };
    check(&seed, &operation).await;
}

#[tokio::test]
async fn making_and_ending_a_tag() {
    let operation = Operation {
        name: "tag",
        run: |graph| {
            boxed(async move {
                let name = TagName::parse("v1")?;
                let by = Authorship::default();
                graph.create_tag(&name, &Target::default(), &by).await?;
                graph.delete_tag(&name, &by).await?;
                Ok(())
            })
        },
        between: Vec::new(),
    };
    check(&seed().await, &operation).await;
}

/// One write with a key.
async fn keyed(graph: Graph) -> Result<()> {
    let options = WriteOptions {
        idempotency_key: Some("once".to_owned()),
        ..WriteOptions::default()
    };
    let source = r#"query q() { update Package set { size: 77 } where name = "a" }"#;
    let params = serde_json::Map::new();
    graph
        .mutate(&BranchName::main(), source, None, &params, &options)
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_write_with_a_key_is_done_once_however_often_it_is_repeated() {
    let seed = seed().await;
    let before = seed.history().await;
    repeated(
        &seed,
        |graph| boxed(keyed(graph)),
        |history| {
            assert_eq!(history, before + 1, "one commit, no more");
        },
    )
    .await;
}

const NEXT_SCHEMA: &str = "
node Package { name: String @key  size: I32?  summary: String? @index  homepage: String?  @range(size, 0..1000) }
node Team { name: String @key }
node Licence { name: String @key }
edge DependsOn: Package -> Package { floor: String?  @key(src, dst) }
edge Owns: Team -> Package { @key(src, dst) }
";

#[tokio::test]
async fn moving_the_schema() {
    matrix("schema", |graph| {
        boxed(async move {
            let by = Authorship::default();
            let staged = graph
                .stage_schema(NEXT_SCHEMA, CommitId::new(), &by)
                .await?;
            match graph.commit_schema(staged).await {
                Ok(_) => Ok(()),
                Err(SchemaCommitError::Other(error)) => Err(error),
                Err(other) => Err(crate::error::Error::internal(format!("{other:?}"))),
            }
        })
    })
    .await;
}

#[tokio::test]
async fn fencing_a_commit() {
    let seed = seed().await;
    let before = seed.graph.branch(&BranchName::main()).await.unwrap().head;
    let world = seed.fork().await;
    let by = Authorship {
        control_epoch: Some(3),
        ..Authorship::default()
    };
    let head = world.graph.fence(CommitId::new(), &by).await.unwrap();
    assert_eq!(head.control_epoch, 3);
    assert_eq!(head.tables, before.tables);
    let snapshot = world
        .graph
        .snapshot(&Target::default(), &ReadOptions::default())
        .await
        .unwrap();
    assert_eq!(snapshot.commit_id(), head.id);
    assert!(world.fsck().await.is_sound());
}
