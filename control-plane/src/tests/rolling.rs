//! Rolling back.

use omnigraph_proto::control::v1::Disposition;

use super::*;
use crate::error::ErrorKind;

fn to(revision: u64) -> RollbackRequest {
    RollbackRequest {
        to_revision: revision,
        lock_timeout_ms: 10_000,
        ..RollbackRequest::default()
    }
}

#[tokio::test]
async fn queries_and_providers_roll_back_at_once() {
    let world = World::new().await;
    let plane = world.plane("a");
    apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    let first = world.newest().await.content.clone();
    let cluster = format!(
        "{}providers:\n  embedding:\n    p: {{ kind: mock }}\n",
        CLUSTER.replace("queries/\n", "queries/\n    embedding_provider: p\n")
    );
    let changed = QUERIES.replace("limit 10", "limit 5");
    let second = bundle(&[
        ("cluster.yaml", &cluster),
        ("shop.pg", SCHEMA),
        ("queries/q.gq", &changed),
    ]);
    apply(&plane, second.clone()).await.unwrap();

    let dry = RollbackRequest {
        dry_run: true,
        ..to(1)
    };
    let told = roll_back(&plane, dry).await.unwrap();
    let plan = told.plan.unwrap();
    assert_eq!(
        lines(&plan),
        [
            "update graph.shop applied",
            "update query.shop.cheap applied",
            "delete provider.embedding.p applied"
        ]
    );
    assert_eq!(world.newest().await.record.number, 2, "nothing was done");

    let request = RollbackRequest {
        plan_digest: plan.plan_digest.clone(),
        expect_revision: 2,
        ..to(1)
    };
    let told = roll_back(&plane, request.clone()).await.unwrap();
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
    let newest = world.newest().await;
    assert_eq!(newest.content, first);
    assert_eq!(
        (newest.record.number, newest.record.operation.as_str()),
        (3, "rollback")
    );
    assert_eq!(newest.record.message, "content of revision 1");
    assert_eq!(newest.record.actor.as_deref(), Some("tester"));
    let error = roll_back(&plane, request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PlanStale);

    // The configuration of that time has nothing to add, and the one after it everything.
    assert!(
        !apply(&plane, shop(SCHEMA, QUERIES))
            .await
            .unwrap()
            .result
            .state_written
    );
    let planned = plane.plan_for(&second, true).await.unwrap();
    assert_eq!(planned.plan.changes.len(), 3);
    let told = roll_back(&plane, to(1)).await.unwrap();
    assert!(
        told.result.ok && !told.result.state_written,
        "it is there already"
    );
    assert_eq!(roll_back(&plane, to(2)).await.unwrap().result.revision, 4);
}

#[tokio::test]
async fn a_schema_rolls_back_by_a_migration_and_by_its_rules() {
    let world = World::new().await;
    let plane = world.plane("a");
    apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    world.mutate("shop", STOCK).await;
    apply(&plane, shop(WIDER, COLOURS)).await.unwrap();
    let told = roll_back(&plane, to(1)).await.unwrap();
    let plan = told.plan.unwrap();
    assert_eq!(
        lines(&plan),
        [
            "update schema.shop applied",
            "update query.shop.cheap applied"
        ]
    );
    let steps = &plan.changes[0].migration.as_ref().unwrap().steps;
    assert!(steps.iter().any(|step| step.destructive), "{steps:?}");
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
    assert_settled(&world, SCHEMA).await;
    assert_eq!(world.items("shop").await, 3);

    // What its rules refuse is refused here too: the rows do not have what was optional meanwhile.
    let optional = SCHEMA.replace("price: I64", "price: I64?");
    apply(&plane, shop(&optional, QUERIES)).await.unwrap();
    world
        .mutate(
            "shop",
            "query q() {\n    insert Item { name: \"cup\" }\n}\n",
        )
        .await;
    for _ in 0..2 {
        let told = roll_back(&plane, to(1)).await.unwrap();
        let plan = told.plan.unwrap();
        assert_eq!(plan.changes[0].disposition(), Disposition::Blocked);
        assert!(
            plan.changes[0].reason.starts_with("M304"),
            "{}",
            plan.changes[0].reason
        );
        assert!(!told.result.converged);
    }
    assert!(plane.shared().sidecars.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_rollback_that_would_lose_a_graph_waits_for_consent() {
    let world = World::new().await;
    let plane = world.plane("a");
    apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    apply(&plane, two(SCHEMA)).await.unwrap();
    world.mutate("side", STOCK).await;
    let told = roll_back(&plane, to(1)).await.unwrap();
    assert_eq!(
        lines(&told.plan.unwrap()),
        ["delete graph.side approval_required"]
    );
    assert!(world.root("side").await.is_some());
    let request = ApproveRequest {
        resource: "graph.side".into(),
        rollback_to: 1,
        ..ApproveRequest::default()
    };
    plane.approve(&request, None).await.unwrap();
    let told = roll_back(&plane, to(1)).await.unwrap();
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
    assert_eq!(world.root("side").await, None);
    // The way back brings the graph, and says that it brings no more.
    let told = roll_back(&plane, to(2)).await.unwrap();
    let plan = told.plan.unwrap();
    assert!(
        plan.changes[0].reason.contains("comes back empty"),
        "{plan:?}"
    );
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
    assert_eq!(world.items("side").await, 0);
}

#[tokio::test]
async fn what_was_held_back_then_is_held_back_now() {
    let world = World::new().await;
    let plane = world.plane("a");
    let wrong = QUERIES.replace("$i.price", "$i.weight");
    let told = apply(&plane, shop(SCHEMA, &wrong)).await.unwrap();
    assert!(!told.result.converged);
    apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    let told = roll_back(&plane, to(1)).await.unwrap();
    assert!(
        told.result.ok && !told.result.converged,
        "{:?}",
        told.result
    );
    let status = plane.status().await.unwrap();
    assert!(!status.converged);
    let held = status
        .resources
        .iter()
        .find(|r| r.address == "query.shop.cheap")
        .unwrap();
    assert_eq!(held.status, "blocked");
    assert!(
        !apply(&plane, shop(SCHEMA, &wrong))
            .await
            .unwrap()
            .result
            .state_written
    );
}

#[tokio::test]
async fn what_does_not_exist_or_is_lost_is_said() {
    let world = World::new().await;
    let plane = world.plane("a");
    apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    let blobs = world.newest().await.content.blobs();
    apply(&plane, shop(SCHEMA, &QUERIES.replace("10", "9")))
        .await
        .unwrap();
    let error = roll_back(&plane, to(7)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = roll_back(&plane, to(0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let query = blobs
        .iter()
        .find(|(address, ..)| address.starts_with("query"))
        .unwrap();
    world
        .erase_one(&format!("cluster/catalog/{}.gq", query.1))
        .await;
    let error = roll_back(&plane, to(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(
        error.message().starts_with("revision 1 cannot be restored"),
        "{error}"
    );
}
