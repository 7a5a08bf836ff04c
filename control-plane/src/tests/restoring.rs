//! Graphs made of backups, and what the leader does unasked.

use omnigraph_engine::graph::GraphId;
use omnigraph_engine::{Authorship, BackupOptions, BackupScope, Removal};

use super::*;
use crate::error::ErrorKind;

/// A place for backups that is gone with the test.
pub(super) struct Place(std::path::PathBuf);

impl Place {
    pub(super) fn new() -> Self {
        let name = format!("omnigraph-backups-{}", ulid::Ulid::new());
        Self(std::env::temp_dir().join(name))
    }

    pub(super) fn uri(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn id(text: &str) -> GraphId {
    text.parse().unwrap()
}

/// The URI of a backup of the shop.
pub(super) async fn backed_up(world: &World, place: &Place) -> String {
    let plane = world.plane("a");
    apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    let revision = plane.shared().ledger.newest().await.unwrap().unwrap();
    let root = revision.content.root(&id("shop")).unwrap();
    let graph = world.engine.open_graph(&root).await.unwrap();
    let options = BackupOptions {
        scope: BackupScope::History,
        progress: None,
    };
    graph.backup(place.uri(), &options).await.unwrap().uri
}

fn two_shops(second: &str) -> ConfigBundle {
    let cluster = "version: 1\nmetadata: { name: shop }\ngraphs:\n  shop:\n    schema: shop.pg\n    queries: queries/\n  again:\n    schema: again.pg\n";
    bundle(&[
        ("cluster.yaml", cluster),
        ("shop.pg", SCHEMA),
        ("again.pg", second),
        ("queries/q.gq", QUERIES),
    ])
}

#[tokio::test]
async fn a_restored_graph_is_adopted_by_the_apply_that_declares_it() {
    let (world, place) = (World::new().await, Place::new());
    let uri = backed_up(&world, &place).await;
    let plane = world.plane("b");
    let patience = Duration::from_secs(5);
    let restored = plane
        .restore_graph(&uri, &id("again"), patience)
        .await
        .unwrap();
    let told = apply(&plane, two_shops(SCHEMA)).await.unwrap();
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
    let plan = told.plan.unwrap();
    let create = plan
        .changes
        .iter()
        .find(|c| c.resource == "graph.again")
        .unwrap();
    assert!(create.reason.contains(&uri), "{}", create.reason);
    let revision = plane.shared().ledger.newest().await.unwrap().unwrap();
    assert_eq!(revision.content.root(&id("again")), Some(restored.root));
    // It is an ordinary graph from now on: its schema can be moved.
    let told = apply(&plane, two_shops(WIDER)).await.unwrap();
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
}

#[tokio::test]
async fn a_restored_graph_with_another_schema_is_not_replaced_by_an_empty_one() {
    let (world, place) = (World::new().await, Place::new());
    let uri = backed_up(&world, &place).await;
    let plane = world.plane("b");
    let patience = Duration::from_secs(5);
    plane
        .restore_graph(&uri, &id("again"), patience)
        .await
        .unwrap();
    let told = apply(&plane, two_shops(WIDER)).await.unwrap();
    assert!(!told.result.converged);
    assert_eq!(told.result.blocked_count, 2);
    let revision = plane.shared().ledger.newest().await.unwrap().unwrap();
    assert_eq!(revision.content.root(&id("again")), None);
}

#[tokio::test]
async fn an_id_that_the_ledger_knows_is_not_restored_over() {
    let (world, place) = (World::new().await, Place::new());
    let uri = backed_up(&world, &place).await;
    let plane = world.plane("b");
    let patience = Duration::from_secs(5);
    let error = plane
        .restore_graph(&uri, &id("shop"), patience)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(
        world
            .engine
            .graph_incarnations(&id("shop"))
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn housekeeping_leaves_what_is_applied_and_what_was_restored() {
    let (world, place) = (World::new().await, Place::new());
    let uri = backed_up(&world, &place).await;
    let plane = world.plane("b");
    let kept = CLUSTER.replace(
        "queries: queries/",
        "queries: queries/\n    retention: { commits: 1 }",
    );
    let declared = bundle(&[
        ("cluster.yaml", &kept),
        ("shop.pg", SCHEMA),
        ("queries/q.gq", QUERIES),
    ]);
    apply(&plane, declared).await.unwrap();
    let patience = Duration::from_secs(5);
    plane
        .restore_graph(&uri, &id("again"), patience)
        .await
        .unwrap();
    let by = Authorship::default();
    let deleted = world
        .engine
        .create_graph(&id("gone"), SCHEMA, &by)
        .await
        .unwrap();
    world.engine.tombstone_graph(&deleted, &by).await.unwrap();
    plane.keep_house_once().await.unwrap();
    // Deleted a moment ago, so that it is there still.
    assert_eq!(world.engine.graph_roots().await.unwrap().len(), 3);
    assert_eq!(
        world.engine.remove_graph(&deleted).await.unwrap(),
        Removal::TooEarly
    );
    assert_settled(&world, SCHEMA).await;
}
