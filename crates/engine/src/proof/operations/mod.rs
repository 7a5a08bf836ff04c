//! The operations of the matrix: everything by which the engine changes what is durable.
//!
//! | file | subject |
//! |---|---|
//! | `writes` | mutations and loads |
//! | `branches` | branches, merges, reverts, tags |
//! | `schemas` | schema changes and fences |
//! | `upkeep` | maintenance and collection |
//! | `graphs` | whole graphs: backups, restorations, ends |

mod branches;
mod graphs;
mod schemas;
mod upkeep;
mod writes;

use super::matrix::{check, repeated};
use super::world::{SCHEMA, World};
use crate::graph::{BranchName, Graph, WriteOptions};
use crate::write::LoadMode;

/// Makes one test of each operation, and the list of their names.
macro_rules! matrix {
    ($($name:ident: $make:path,)*) => {
        /// The names of the operations that the matrix runs.
        pub(super) const OPERATIONS: &[&str] = &[$(stringify!($name)),*];

        mod faults {
            use super::*;

            $(#[tokio::test]
            async fn $name() {
                check(stringify!($name), &$make().await).await;
            })*
        }
    };
}

matrix! {
    insert_a_node: writes::insert,
    write_several_tables: writes::several,
    delete_a_node_with_its_edges: writes::delete,
    put_a_blob: writes::put_blob,
    copy_an_external_blob: writes::copy_blob,
    copy_an_external_blob_in_parts: writes::copy_large_blob,
    load_by_append: writes::append,
    load_by_merge: writes::merge,
    load_by_overwrite: writes::overwrite,
    load_into_a_new_branch: writes::fork,
    load_blobs: writes::load_blobs,
    load_external_blobs: writes::load_external_blobs,
    load_arrow: writes::arrow,
    load_parquet: writes::parquet,
    create_a_branch: branches::create,
    create_a_branch_at_a_commit: branches::create_at,
    create_a_branch_again: branches::create_again,
    delete_a_branch: branches::delete,
    merge_by_fast_forward: branches::fast_forward,
    merge_three_way: branches::three_way,
    merge_with_a_strategy: branches::strategy,
    merge_and_delete_the_source: branches::merge_and_delete,
    merge_a_branch_behind_the_schema: branches::carried_forward,
    merge_a_newer_schema: branches::newer_schema,
    undo_a_commit: branches::undo,
    revert_to_a_commit: branches::revert_to,
    create_a_tag: branches::create_tag,
    delete_a_tag: branches::delete_tag,
    change_the_schema: schemas::by_metadata,
    change_the_schema_with_a_fill: schemas::with_fill,
    change_types_and_indexes: schemas::types_and_indexes,
    fence: schemas::fence,
    optimize: upkeep::optimize,
    index_the_history: upkeep::index_history,
    join_the_index_of_the_history: upkeep::join_index,
    upkeep: upkeep::pass,
    collect_first_phase: upkeep::condemn,
    collect_second_phase: upkeep::sweep,
    backup_a_commit: graphs::backup_commit,
    backup_the_history: graphs::backup_history,
    backup_what_is_new: graphs::backup_again,
    restore_a_commit: graphs::restore_commit,
    restore_the_history: graphs::restore_history,
    create_a_graph: graphs::create,
    end_a_graph: graphs::tombstone,
    remove_a_graph: graphs::remove,
}

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

/// One mutation of `main`.
async fn mutate(graph: Graph, source: String, options: WriteOptions) -> crate::error::Result<()> {
    let params = serde_json::Map::new();
    let main = BranchName::main();
    graph
        .mutate(&main, &source, None, &params, &options)
        .await?;
    Ok(())
}

fn keyed() -> WriteOptions {
    WriteOptions {
        idempotency_key: Some("once".to_owned()),
        ..WriteOptions::default()
    }
}

#[tokio::test]
async fn a_mutation_with_a_key_is_done_once_however_often_it_is_repeated() {
    repeated("mutation", &writes::keyed_mutation().await).await;
}

#[tokio::test]
async fn a_load_with_a_key_is_done_once_however_often_it_is_repeated() {
    repeated("load", &writes::keyed_load().await).await;
}

#[tokio::test]
async fn a_merge_with_a_key_is_done_once_however_often_it_is_repeated() {
    repeated("merge", &branches::keyed_merge().await).await;
}

#[tokio::test]
async fn a_revert_with_a_key_is_done_once_however_often_it_is_repeated() {
    repeated("revert", &branches::keyed_revert().await).await;
}
