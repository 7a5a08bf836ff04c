//! What ledger and catalog keep.

use std::collections::BTreeSet;

use object_store::ObjectStoreExt;
use omnigraph_proto::control::v1::ListRevisionsResponse;

use super::*;
use crate::error::ErrorKind;
use crate::retention::Reclaimed;

/// A control plane whose history keeps three revisions.
fn forgetful(world: &World) -> ControlPlane {
    let options = Options {
        history_revisions: 3,
        history_age: Duration::ZERO,
        ..world.plane("a").options().clone()
    };
    ControlPlane::new(world.engine.clone(), options)
}

async fn reclaim(plane: &ControlPlane) -> Reclaimed {
    let turn = plane
        .begin("test", None, Duration::from_secs(5))
        .await
        .unwrap();
    let done = plane.reclaim_history(&turn.leader).await.unwrap();
    turn.finish().await;
    done
}

async fn ten_revisions(world: &World, plane: &ControlPlane) {
    for limit in 1..=10 {
        let queries = QUERIES.replace("limit 10", &format!("limit {limit}"));
        apply(plane, shop(SCHEMA, &queries)).await.unwrap();
    }
    assert_eq!(world.newest().await.record.number, 10);
}

async fn catalogued(plane: &ControlPlane) -> BTreeSet<String> {
    let listed = plane.shared().catalog.list().await.unwrap();
    listed
        .iter()
        .map(|meta| meta.location.to_string())
        .collect()
}

#[tokio::test]
async fn old_revisions_go_with_what_only_they_name() {
    let world = World::new().await;
    let plane = forgetful(&world);
    ten_revisions(&world, &plane).await;
    // One schema, ten queries, ten contents.
    assert_eq!(catalogued(&plane).await.len(), 21);
    let young = reclaim(&plane).await;
    assert_eq!(young, Reclaimed::default(), "nothing is a day old");
    world.faults.age(world.engine.store()).await;
    let done = reclaim(&plane).await;
    assert!(done.entries > 0, "{done:?}");
    assert_eq!(done.objects, 14, "seven queries and seven contents");
    assert_eq!(reclaim(&plane).await.objects, 0, "once");

    let fresh = forgetful(&world);
    let page: ListRevisionsResponse = fresh.revisions(0, "", true).await.unwrap();
    let numbers: Vec<_> = page.revisions.iter().map(|r| r.revision).collect();
    assert_eq!(numbers, [10, 9, 8]);
    assert_eq!(page.next_page_token, "");
    assert_eq!(page.revisions[1].changes.len(), 1, "one query");
    assert!(
        page.revisions[2].changes.is_empty(),
        "nobody knows any more"
    );
    assert_eq!(fresh.revision(8).await.unwrap().record.number, 8);
    let error = fresh.revision(7).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("reclaimed"), "{error}");
    let queries = QUERIES.replace("limit 10", "limit 3");
    let told = apply(&fresh, shop(SCHEMA, &queries)).await.unwrap();
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
    assert_eq!(told.result.revision, 11);
    assert_settled(&world, SCHEMA).await;
}

#[tokio::test]
async fn what_was_staged_lately_stays_whoever_names_it() {
    let world = World::new().await;
    let plane = forgetful(&world);
    ten_revisions(&world, &plane).await;
    world.faults.age(world.engine.store()).await;
    // An apply that never got to its ledger entry put an old text again.
    let old = QUERIES.replace("limit 10", "limit 1");
    let failing = Failpoints::new(|point| (point == Point::Publishing).then_some(Action::Fail));
    let staging = world.plane_with("staging", failing);
    let told = apply(&staging, shop(SCHEMA, &old)).await.unwrap();
    assert!(!told.result.ok);
    assert_eq!(reclaim(&plane).await.objects, 13, "one query less");
    let told = apply(&plane, shop(SCHEMA, &old)).await.unwrap();
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
}

#[tokio::test]
async fn approvals_stay_and_heartbeats_of_the_dead_go() {
    let world = World::new().await;
    let plane = forgetful(&world);
    apply(&plane, two(SCHEMA)).await.unwrap();
    approve(&plane, "graph.side", shop(SCHEMA, QUERIES))
        .await
        .unwrap();
    apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    ten_revisions_more(&plane).await;
    let dead = world.engine.store().path("cluster/heartbeat/1.json");
    let objects = world.engine.store().object_store();
    objects.put(&dead, "{}".into()).await.unwrap();
    world.faults.age(world.engine.store()).await;
    reclaim(&plane).await;
    assert!(objects.head(&dead).await.is_err());
    let listed = plane.shared().approvals.list().await.unwrap();
    assert!(listed.approvals[0].consumed.is_some());
}

async fn ten_revisions_more(plane: &ControlPlane) {
    for limit in 1..=9 {
        let queries = QUERIES.replace("limit 10", &format!("limit {limit}"));
        apply(plane, shop(SCHEMA, &queries)).await.unwrap();
    }
}

/// What it found while it led may not be removed by one that does not lead any more.
#[tokio::test]
async fn only_the_leader_removes() {
    let world = World::new().await;
    let plane = forgetful(&world);
    ten_revisions(&world, &plane).await;
    world.faults.age(world.engine.store()).await;
    let turn = plane
        .begin("test", None, Duration::from_secs(5))
        .await
        .unwrap();
    let lease = turn.leader.lease_id.to_string();
    world.plane("b").unlock(&lease, "test").await.unwrap();
    let error = plane.reclaim_history(&turn.leader).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotLeader);
    assert_eq!(catalogued(&plane).await.len(), 21);
    turn.finish().await;
}
