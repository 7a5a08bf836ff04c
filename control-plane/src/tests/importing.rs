//! Graphs that exist before the ledger does.

use omnigraph_engine::Authorship;
use omnigraph_proto::control::v1::{ClusterStatus, ImportRequest};

use super::*;
use crate::error::ErrorKind;

async fn import(plane: &ControlPlane, bundle: ConfigBundle) -> Result<ClusterStatus, Error> {
    let request = ImportRequest {
        bundle: Some(bundle),
        lock_timeout_ms: 10_000,
        ..ImportRequest::default()
    };
    plane.import(&request, Some("importer")).await
}

/// A cluster whose ledger, catalog and all else but the graphs is lost.
async fn orphaned(world: &World) -> GraphRoot {
    apply(&world.plane("a"), shop(SCHEMA, QUERIES))
        .await
        .unwrap();
    world.mutate("shop", STOCK).await;
    let root = world.root("shop").await.unwrap();
    world.erase("cluster").await;
    root
}

#[tokio::test]
async fn a_graph_that_exists_is_taken_over_as_it_is_declared() {
    let world = World::new().await;
    let root = orphaned(&world).await;
    let plane = world.plane("b");
    let written = |world: &World| world.engine.store().requests().put;
    let status = import(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    assert_eq!((status.revision, status.converged), (1, true));
    assert_eq!(world.root("shop").await, Some(root));
    assert_eq!(world.items("shop").await, 3);
    let newest = world.newest().await;
    assert_eq!(newest.record.operation, "import");
    assert_eq!(newest.record.actor.as_deref(), Some("importer"));
    let before = written(&world);
    let told = apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    assert!(
        told.result.converged && !told.result.state_written,
        "{:?}",
        told.plan
    );
    assert_eq!(written(&world), before);
    let error = import(&plane, shop(SCHEMA, QUERIES)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "only once");
}

#[tokio::test]
async fn a_graph_with_another_schema_is_taken_over_with_that() {
    let world = World::new().await;
    orphaned(&world).await;
    let plane = world.plane("b");
    let status = import(&plane, shop(WIDER, COLOURS)).await.unwrap();
    assert!(!status.converged);
    assert_settled(&world, SCHEMA).await;
    let held = &world.newest().await.content.held_back;
    assert!(
        held.contains_key("schema.shop") && held.contains_key("query.shop.cheap"),
        "{held:?}"
    );
    let told = apply(&plane, shop(WIDER, COLOURS)).await.unwrap();
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
    assert_settled(&world, WIDER).await;
    assert_eq!(world.items("shop").await, 3);
}

/// Its graphs have seen leaders of a higher epoch than the new ledger knows.
#[tokio::test]
async fn a_graph_of_a_lost_ledger_can_be_moved() {
    let world = World::new().await;
    let plane = world.plane("a");
    apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    for limit in ["3", "4", "5"] {
        apply(&plane, shop(SCHEMA, &QUERIES.replace("10", limit)))
            .await
            .unwrap();
    }
    apply(&plane, shop(WIDER, COLOURS)).await.unwrap();
    world.erase("cluster").await;
    let (next, stop) = (
        world.plane("next"),
        tokio_util::sync::CancellationToken::new(),
    );
    let leading = next.spawn_leading(stop.clone());
    eventually("taking the lead", || async { next.is_leading() }).await;
    import(&next, shop(WIDER, COLOURS)).await.unwrap();
    let wider = WIDER.replace("place: String @key", "place: String @key\n    floor: I64?");
    let told = apply(&next, shop(&wider, COLOURS)).await.unwrap();
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
    assert_settled(&world, &wider).await;
    stop.cancel();
    leading.await.unwrap();
}

#[tokio::test]
async fn an_apply_never_puts_an_empty_graph_beside_one_with_content() {
    let world = World::new().await;
    orphaned(&world).await;
    let plane = world.plane("b");
    let told = apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    let plan = told.plan.unwrap();
    assert!(
        lines(&plan).iter().all(|line| line.ends_with("blocked")),
        "{plan:?}"
    );
    let reason = &plan.changes[1].reason;
    assert!(
        reason.starts_with("graph_unknown") && reason.contains("import"),
        "{reason}"
    );
    assert_eq!(world.engine.graph_roots().await.unwrap().len(), 1);
    import(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    assert_eq!(world.items("shop").await, 3);
}

#[tokio::test]
async fn what_cannot_be_meant_is_not_guessed() {
    let world = World::new().await;
    let root = orphaned(&world).await;
    let plane = world.plane("b");
    let error = import(&plane, bundle(&[("cluster.yaml", "version: 1\n")]))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    // An empty one beside it is what a dead apply left.
    let by = Authorship::default();
    let other = world
        .engine
        .create_graph(&root.id, SCHEMA, &by)
        .await
        .unwrap();
    let graph = world.engine.open_graph(&other).await.unwrap();
    let none = serde_json::Map::new();
    let main = BranchName::main();
    let options = WriteOptions::default();
    graph
        .mutate(&main, STOCK, None, &none, &options)
        .await
        .unwrap();
    let error = import(&plane, shop(SCHEMA, QUERIES)).await.unwrap_err();
    assert!(
        error.message().contains(&other.incarnation.to_string()),
        "{error}"
    );
    world.erase(&other.path()).await;
    world
        .engine
        .create_graph(&root.id, SCHEMA, &by)
        .await
        .unwrap();
    import(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    assert_eq!(world.root("shop").await, Some(root));
}

#[tokio::test]
async fn a_ledger_whose_content_is_lost_is_told_anew() {
    let world = World::new().await;
    apply(&world.plane("a"), shop(SCHEMA, QUERIES))
        .await
        .unwrap();
    world.mutate("shop", STOCK).await;
    world.erase("cluster/catalog").await;
    let plane = world.plane("b");
    assert!(apply(&plane, shop(SCHEMA, QUERIES)).await.is_err());
    let status = import(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    assert_eq!((status.revision, status.converged), (2, true));
    assert_eq!(world.items("shop").await, 3);
    assert_settled(&world, SCHEMA).await;
}
