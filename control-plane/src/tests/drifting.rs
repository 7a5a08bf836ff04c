//! What differs from what was applied: seen, recorded, and repaired by the next apply.

use object_store::ObjectStoreExt;
use omnigraph_proto::control::v1::{ClusterStatus, RefreshRequest};

use super::faults::{Fault, Op};
use super::*;
use crate::catalog::BlobKind;
use crate::error::ErrorKind;

async fn refresh(plane: &ControlPlane) -> ClusterStatus {
    let request = RefreshRequest {
        lock_timeout_ms: 10_000,
        ..RefreshRequest::default()
    };
    plane.refresh(&request, Some("looker")).await.unwrap()
}

/// Resources that are not as they were applied: address, status, condition.
fn troubles(status: &ClusterStatus) -> Vec<String> {
    let resources = status.resources.iter().filter(|r| r.status != "applied");
    resources
        .map(|r| format!("{} {} {}", r.address, r.status, r.conditions.join(",")))
        .collect()
}

/// The path of the stored query's text.
async fn query_blob(world: &World) -> object_store::path::Path {
    let newest = world.newest().await;
    let blobs = newest.content.blobs();
    let query = blobs.iter().find(|(_, _, kind)| *kind == BlobKind::Query);
    let (_, digest, kind) = query.unwrap();
    world.plane("observer").shared().catalog.path(digest, *kind)
}

#[tokio::test]
async fn a_refresh_that_finds_nothing_writes_nothing() {
    let world = World::new().await;
    let plane = world.plane("a");
    let request = RefreshRequest::default();
    let error = plane.refresh(&request, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    apply(&plane, two(SCHEMA)).await.unwrap();
    let status = refresh(&plane).await;
    assert!(status.converged && troubles(&status).is_empty());
    assert_eq!(status.revision, 1);
    let request = RefreshRequest {
        expect_revision: 9,
        ..RefreshRequest::default()
    };
    let error = plane.refresh(&request, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PlanStale);
}

#[tokio::test]
async fn missing_and_tampered_texts_are_recorded_and_published_again() {
    for tampered in [false, true] {
        let world = World::new().await;
        let plane = world.plane("a");
        apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
        let path = query_blob(&world).await;
        let objects = world.engine.store().object_store();
        let text = objects.get(&path).await.unwrap().bytes().await.unwrap();
        if tampered {
            // As long as the right one.
            let wrong = vec![b'x'; text.len()];
            objects.put(&path, wrong.into()).await.unwrap();
        } else {
            objects.delete(&path).await.unwrap();
        }
        let condition = if tampered {
            "catalog_tampered"
        } else {
            "catalog_missing"
        };
        let status = refresh(&plane).await;
        assert!(!status.converged);
        assert_eq!(
            troubles(&status),
            [format!("query.shop.cheap drifted {condition}")]
        );
        assert_eq!(status.revision, 2);
        assert_eq!(refresh(&plane).await.revision, 2, "nothing new");
        let planned = plane.plan_for(&shop(SCHEMA, QUERIES), true).await.unwrap();
        assert_eq!(
            lines(&planned.plan),
            ["update query.shop.cheap applied (drift)"]
        );
        let told = apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
        assert!(told.result.ok && told.result.converged, "{:?}", told.result);
        let healed = objects.get(&path).await.unwrap().bytes().await.unwrap();
        assert_eq!(healed, text);
        let status = plane.status().await.unwrap();
        assert!(
            status.converged && troubles(&status).is_empty(),
            "{status:?}"
        );
    }
}

#[tokio::test]
async fn an_apply_heals_the_catalog_without_having_been_told() {
    let world = World::new().await;
    apply(&world.plane("a"), shop(SCHEMA, QUERIES))
        .await
        .unwrap();
    let newest = world.newest().await;
    let catalog = world.plane("observer").shared().catalog.clone();
    for (_, digest, kind) in newest.content.blobs() {
        let path = catalog.path(&digest, kind);
        world
            .engine
            .store()
            .object_store()
            .delete(&path)
            .await
            .unwrap();
    }
    let told = apply(&world.plane("b"), shop(SCHEMA, QUERIES))
        .await
        .unwrap();
    assert_eq!(
        lines(&told.plan.unwrap()),
        [
            "update schema.shop applied (drift)",
            "update query.shop.cheap applied (drift)"
        ]
    );
    assert!(
        told.result.converged && told.result.state_written,
        "replicas are told"
    );
    let blobs = newest.content.blobs().into_iter();
    let blobs = blobs.map(|(_, digest, kind)| (digest, kind));
    assert!(catalog.check(blobs).await.unwrap().is_empty());
    assert_settled(&world, SCHEMA).await;
}

/// A schema whose text differs in comments only from the applied one, which is lost.
#[tokio::test]
async fn a_lost_schema_text_is_replaced_by_one_of_the_same_meaning() {
    let world = World::new().await;
    apply(&world.plane("a"), shop(SCHEMA, QUERIES))
        .await
        .unwrap();
    let digest = world.newest().await.content.blobs()[0].1.clone();
    let catalog = world.plane("observer").shared().catalog.clone();
    let path = catalog.path(&digest, BlobKind::Schema);
    world
        .engine
        .store()
        .object_store()
        .delete(&path)
        .await
        .unwrap();
    let commented = format!("// what we sell\n{SCHEMA}");
    let told = apply(&world.plane("b"), shop(&commented, QUERIES))
        .await
        .unwrap();
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
    let content = &world.newest().await.content;
    let source = content
        .graphs
        .values()
        .next()
        .unwrap()
        .schema_source
        .clone();
    assert!(catalog.get(&source, BlobKind::Schema).await.is_ok());
    let quiet = apply(&world.plane("c"), shop(&commented, QUERIES))
        .await
        .unwrap();
    assert!(!quiet.result.state_written, "{:?}", quiet.plan);
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error_and_keeps_its_digest() {
    let world = World::new().await;
    let plane = world.plane("a");
    apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    let before = plane.status().await.unwrap();
    let path = query_blob(&world).await.to_string();
    world
        .faults
        .set(move |op, at| (op == Op::Get && at == path).then_some(Fault::Before));
    let fresh = world.plane("b");
    let status = refresh(&fresh).await;
    assert_eq!(
        troubles(&status),
        ["query.shop.cheap error catalog_unreadable"]
    );
    let digest = |status: &ClusterStatus| {
        let query = status
            .resources
            .iter()
            .find(|r| r.address == "query.shop.cheap");
        query.unwrap().digest.clone()
    };
    assert_eq!(digest(&status), digest(&before));
    assert!(status.converged, "nothing says that it is another");
    // Nothing is published over it, and the next look finds it well.
    let planned = fresh.plan_for(&shop(SCHEMA, QUERIES), true).await.unwrap();
    assert!(planned.plan.changes.is_empty());
    let mut found = planned.plan.diagnostics.iter();
    assert!(found.any(|found| found.code == "catalog_unreadable"));
    world.faults.clear();
    assert!(troubles(&refresh(&fresh).await).is_empty());
}

#[tokio::test]
async fn a_schema_that_was_moved_by_hand_is_drift_and_moved_back() {
    let world = World::new().await;
    let plane = world.plane("a");
    apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    let graph = world
        .engine
        .open_graph(&world.root("shop").await.unwrap())
        .await
        .unwrap();
    let by = crate::plane::authorship(None, 1, "by hand");
    let id = omnigraph_engine::CommitId::new();
    let staged = graph.stage_schema(WIDER, id, &by).await.unwrap();
    graph.commit_schema(staged).await.unwrap();
    let fresh = world.plane("b");
    let status = refresh(&fresh).await;
    assert_eq!(troubles(&status), ["schema.shop drifted schema_drifted"]);
    assert!(!status.converged);
    let told = apply(&fresh, shop(SCHEMA, QUERIES)).await.unwrap();
    let plan = told.plan.unwrap();
    assert_eq!(lines(&plan), ["update schema.shop applied (drift)"]);
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
    assert_settled(&world, SCHEMA).await;
    assert!(troubles(&fresh.status().await.unwrap()).is_empty());
}

#[tokio::test]
async fn a_vanished_root_is_recorded_and_one_that_comes_back_is_forgotten() {
    let world = World::new().await;
    let plane = world.plane("a");
    apply(&plane, two(SCHEMA)).await.unwrap();
    let root = world.root("side").await.unwrap();
    let path = world
        .engine
        .store()
        .path(&format!("{}/graph.json", root.path()));
    let objects = world.engine.store().object_store();
    let file = objects.get(&path).await.unwrap().bytes().await.unwrap();
    objects.delete(&path).await.unwrap();
    let status = refresh(&plane).await;
    assert_eq!(troubles(&status), ["graph.side drifted root_vanished"]);
    assert!(!status.converged);
    objects.put(&path, file.into()).await.unwrap();
    let status = refresh(&plane).await;
    assert!(
        status.converged && troubles(&status).is_empty(),
        "{status:?}"
    );
    let told = apply(&plane, two(SCHEMA)).await.unwrap();
    assert!(!told.result.state_written, "{:?}", told.plan);
}

/// The content of the newest revision is put back by a process that knows it.
#[tokio::test]
async fn the_newest_content_is_put_back() {
    let world = World::new().await;
    let plane = world.plane("a");
    apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    let newest = world.newest().await;
    let path = plane
        .shared()
        .catalog
        .path(&newest.record.content, BlobKind::Revision);
    let objects = world.engine.store().object_store();
    objects.put(&path, "{}".into()).await.unwrap();
    refresh(&plane).await;
    assert_eq!(world.newest().await.content, newest.content);
}
