//! Changes that lose data: deletion of graphs, and empty graphs in the place of vanished ones.

use std::time::Duration;

use omnigraph_engine::Removal;
use omnigraph_proto::control::v1::step_event::Phase;
use omnigraph_proto::control::v1::{ApproveRequest, ChangeOperation};

use super::*;
use crate::error::ErrorKind;

async fn two_graphs(world: &World) -> ControlPlane {
    let plane = world.plane("a");
    apply(&plane, two(SCHEMA)).await.unwrap();
    world.mutate("side", STOCK).await;
    plane
}

/// The shop alone, with a declaration that changes nothing but the graphs that there are.
fn shop_alone() -> ConfigBundle {
    shop(SCHEMA, QUERIES)
}

#[tokio::test]
async fn an_approved_deletion_is_made_once_and_leaves_its_trace() {
    let world = World::new().await;
    let plane = two_graphs(&world).await;
    let root = world.root("side").await.unwrap();
    let told = apply(&plane, shop_alone()).await.unwrap();
    let plan = told.plan.unwrap();
    assert_eq!(lines(&plan), ["delete graph.side approval_required"]);
    assert!(!plan.approvals_required[0].satisfied);
    assert!(
        plan.approvals_required[0]
            .reason
            .contains("omnigraphctl approve graph.side")
    );
    assert!(!told.result.converged);

    let approval = approve(&plane, "graph.side", shop_alone()).await.unwrap();
    assert_eq!(approval.operation(), ChangeOperation::Delete);
    assert_eq!(approval.approved_by, "approver");
    let again = approve(&plane, "graph.side", shop_alone()).await.unwrap();
    assert_eq!(again.approval_id, approval.approval_id, "once is enough");
    let status = plane.status().await.unwrap();
    assert_eq!(status.approvals.len(), 1);
    assert!(!status.approvals[0].stale);

    let planned = plane.plan_for(&shop_alone(), true).await.unwrap();
    assert_eq!(lines(&planned.plan), ["delete graph.side applied"]);
    assert_eq!(
        planned.plan.approvals_required[0].approval_id,
        approval.approval_id
    );
    let told = apply(&plane, shop_alone()).await.unwrap();
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
    let done = |step: &StepEvent| step.phase() == Phase::Done && step.resource == "graph.side";
    assert_eq!(told.steps.iter().filter(|s| done(s)).count(), 1);
    assert_eq!(world.root("side").await, None);
    let read = ReadOptions::default();
    let graph = world.engine.open_graph(&root).await.unwrap();
    assert!(
        graph.snapshot(&Target::default(), &read).await.is_err(),
        "its branches have ended"
    );

    // The trace: who approved it, and which operation used it up.
    let listed = plane.shared().approvals.list().await.unwrap().approvals;
    let consumed = listed[0].consumed.as_ref().unwrap();
    assert_eq!(consumed.operation_id.to_string(), told.result.operation_id);
    assert!(
        plane.status().await.unwrap().approvals.is_empty(),
        "none waits"
    );
    let quiet = apply(&plane, shop_alone()).await.unwrap();
    assert!(!quiet.result.state_written);

    // The files stay for ten minutes, and then they go.
    assert_eq!(
        world.engine.remove_graph(&root).await.unwrap(),
        Removal::TooEarly
    );
    world.faults.age(world.engine.store()).await;
    plane.keep_house_once().await.unwrap();
    assert!(
        world
            .engine
            .graph_incarnations(&root.id)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(world.items("shop").await, 0);
}

#[tokio::test]
async fn an_approval_holds_for_its_graph_as_it_is() {
    let world = World::new().await;
    let plane = two_graphs(&world).await;
    approve(&plane, "graph.side", shop_alone()).await.unwrap();
    // Other graphs may move.
    let changed = QUERIES.replace("limit 10", "limit 5");
    let mut moved = two(SCHEMA);
    moved.files[3].content = changed.clone().into_bytes().into();
    apply(&plane, moved).await.unwrap();
    let planned = plane.plan_for(&shop(SCHEMA, &changed), true).await.unwrap();
    assert_eq!(lines(&planned.plan), ["delete graph.side applied"]);

    // This one may not.
    let mut wider = two(WIDER);
    wider.files[3].content = changed.clone().into_bytes().into();
    apply(&plane, wider).await.unwrap();
    let status = plane.status().await.unwrap();
    assert!(status.approvals[0].stale);
    let told = apply(&plane, shop(SCHEMA, &changed)).await.unwrap();
    assert_eq!(
        lines(&told.plan.unwrap()),
        ["delete graph.side approval_required"]
    );
    assert!(world.root("side").await.is_some());

    // A used one does not hold for a graph of the same name that is made later.
    approve(&plane, "graph.side", shop(SCHEMA, &changed))
        .await
        .unwrap();
    apply(&plane, shop(SCHEMA, &changed)).await.unwrap();
    assert_eq!(world.root("side").await, None);
    let told = apply(&plane, two(SCHEMA)).await.unwrap();
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
    assert_eq!(
        world.items("side").await,
        0,
        "the name is free, the content is gone"
    );
    let planned = plane.plan_for(&shop_alone(), true).await.unwrap();
    assert_eq!(
        lines(&planned.plan),
        ["delete graph.side approval_required"]
    );
}

#[tokio::test]
async fn nothing_is_approved_that_does_not_wait_for_it() {
    let world = World::new().await;
    let plane = two_graphs(&world).await;
    let error = approve(&plane, "graph.shop", shop_alone())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.hint().unwrap().contains("graph.side"), "{error:?}");
    let request = ApproveRequest {
        resource: "graph.side".into(),
        bundle: Some(shop_alone()),
        expect_revision: 7,
        ..ApproveRequest::default()
    };
    let error = plane.approve(&request, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PlanStale);
}

#[tokio::test]
async fn deletions_wait_until_nothing_else_fails() {
    let world = World::new().await;
    let plane = two_graphs(&world).await;
    let bundle = shop(WIDER, COLOURS);
    approve(&plane, "graph.side", bundle.clone()).await.unwrap();
    let failing = world.failing(Point::Staged, Action::Fail);
    let told = apply(&failing, bundle.clone()).await.unwrap();
    assert!(!told.result.ok);
    let skipped =
        |step: &StepEvent| step.phase() == Phase::Skipped && step.resource == "graph.side";
    assert!(told.steps.iter().any(skipped), "{:?}", told.steps);
    assert!(world.root("side").await.is_some());
    let told = apply(&failing, bundle).await.unwrap();
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
    assert_eq!(world.root("side").await, None);
}

#[tokio::test]
async fn a_deletion_that_died_is_finished_by_the_next_leader() {
    for point in [Point::Published, Point::Ended, Point::Consumed] {
        let world = World::new().await;
        let plane = two_graphs(&world).await;
        let root = world.root("side").await.unwrap();
        approve(&plane, "graph.side", shop_alone()).await.unwrap();
        let failing = world.failing(point, Action::Fail);
        let told = apply(&failing, shop_alone()).await.unwrap();
        assert_eq!(
            world.root("side").await,
            None,
            "{point:?}: the ledger has said so"
        );
        if point == Point::Ended {
            let codes: Vec<_> = told
                .result
                .diagnostics
                .iter()
                .map(|d| d.code.as_str())
                .collect();
            assert!(codes.contains(&"graph_ending_pending"), "{codes:?}");
        }
        let stop = tokio_util::sync::CancellationToken::new();
        let next = world.plane("next");
        let leading = next.spawn_leading(stop.clone());
        eventually("taking the lead", || async { next.is_leading() }).await;
        let graph = world.engine.open_graph(&root).await.unwrap();
        let read = ReadOptions::default();
        assert!(
            graph.snapshot(&Target::default(), &read).await.is_err(),
            "{point:?}"
        );
        let listed = next.shared().approvals.list().await.unwrap().approvals;
        assert!(listed[0].consumed.is_some(), "{point:?}");
        let told = apply(&next, shop_alone()).await.unwrap();
        assert!(told.result.ok && told.result.converged, "{point:?}");
        stop.cancel();
        leading.await.unwrap();
    }
}

#[tokio::test]
async fn a_vanished_graph_comes_back_empty_only_when_somebody_says_so() {
    let world = World::new().await;
    let plane = two_graphs(&world).await;
    let old = world.root("side").await.unwrap();
    world.erase(&old.path()).await;
    for _ in 0..2 {
        let told = apply(&plane, two(SCHEMA)).await.unwrap();
        let plan = told.plan.unwrap();
        assert_eq!(
            lines(&plan),
            ["recreate graph.side approval_required (drift)"]
        );
        assert!(
            plan.changes[0].reason.starts_with("root_vanished"),
            "{plan:?}"
        );
        assert!(!told.result.converged);
        assert_eq!(world.root("side").await.as_ref(), Some(&old));
    }
    let status = plane.status().await.unwrap();
    let side = status
        .resources
        .iter()
        .find(|r| r.address == "graph.side")
        .unwrap();
    assert_eq!(
        (side.status.as_str(), side.conditions.join(",").as_str()),
        ("drifted", "root_vanished")
    );

    let approval = approve(&plane, "graph.side", two(SCHEMA)).await.unwrap();
    assert_eq!(approval.operation(), ChangeOperation::Recreate);
    // It holds for what is declared now, and for nothing else.
    let planned = plane.plan_for(&two(WIDER), true).await.unwrap();
    assert_eq!(
        lines(&planned.plan),
        ["recreate graph.side approval_required (drift)"]
    );
    let told = apply(&plane, two(SCHEMA)).await.unwrap();
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
    let new = world.root("side").await.unwrap();
    assert_ne!(new, old);
    assert_eq!(world.items("side").await, 0);
    let listed = plane.shared().approvals.list().await.unwrap().approvals;
    assert!(listed[0].consumed.is_some());
    let status = plane.status().await.unwrap();
    assert!(
        status.converged && status.resources.iter().all(|r| r.status == "applied"),
        "{status:?}"
    );
}

#[tokio::test]
async fn another_incarnation_is_drift_and_never_adopted() {
    let world = World::new().await;
    let plane = two_graphs(&world).await;
    let old = world.root("side").await.unwrap();
    let by = omnigraph_engine::Authorship::default();
    let other = world
        .engine
        .create_graph(&old.id, SCHEMA, &by)
        .await
        .unwrap();
    let graph = world.engine.open_graph(&other).await.unwrap();
    let (main, options) = (BranchName::main(), WriteOptions::default());
    let none = serde_json::Map::new();
    graph
        .mutate(&main, STOCK, None, &none, &options)
        .await
        .unwrap();
    let planned = plane.plan_for(&two(SCHEMA), true).await.unwrap();
    assert!(
        planned.plan.converged,
        "beside the applied one it means nothing"
    );
    world.erase(&old.path()).await;
    let told = apply(&plane, two(SCHEMA)).await.unwrap();
    let plan = told.plan.unwrap();
    assert_eq!(lines(&plan), ["recreate graph.side blocked (drift)"]);
    let named = plan.changes[0]
        .reason
        .contains(&other.incarnation.to_string());
    assert!(named, "{}", plan.changes[0].reason);
    assert_eq!(world.root("side").await, Some(old));
    let error = approve(&plane, "graph.side", two(SCHEMA))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn an_approval_that_cannot_be_read_gives_no_consent() {
    use object_store::ObjectStoreExt;
    let world = World::new().await;
    let plane = two_graphs(&world).await;
    let approval = approve(&plane, "graph.side", shop_alone()).await.unwrap();
    let path = format!("cluster/approvals/{}.json", approval.approval_id);
    let path = plane.store().path(&path);
    let objects = plane.store().object_store();
    objects.put(&path, "{}".into()).await.unwrap();
    let told = apply(&plane, shop_alone()).await.unwrap();
    assert_eq!(
        lines(&told.plan.unwrap()),
        ["delete graph.side approval_required"]
    );
    let status = plane.status().await.unwrap();
    assert_eq!(status.diagnostics[0].code, "approval_unreadable");
}

#[tokio::test]
async fn what_an_apply_prepared_and_never_used_is_removed_after_a_day() {
    let world = World::new().await;
    let plane = world.plane("a");
    apply(&plane, shop_alone()).await.unwrap();
    let failing = world.failing(Point::Prepared, Action::Fail);
    let told = apply(&failing, two(SCHEMA)).await.unwrap();
    assert!(!told.result.ok);
    let id = "side".parse().unwrap();
    let roots = world.engine.graph_incarnations(&id).await.unwrap();
    assert_eq!(roots.len(), 1);
    plane.keep_house_once().await.unwrap();
    assert_eq!(
        world.engine.graph_incarnations(&id).await.unwrap().len(),
        1,
        "not yet"
    );
    world.clock.pass(Duration::from_secs(25 * 3600));
    plane.keep_house_once().await.unwrap();
    world.faults.age(world.engine.store()).await;
    plane.keep_house_once().await.unwrap();
    assert!(
        world
            .engine
            .graph_incarnations(&id)
            .await
            .unwrap()
            .is_empty()
    );
    assert_settled(&world, SCHEMA).await;
}
