//! The sidecar rules: steps × (fails, crashes) × (the same process goes on, a new leader takes
//! over).

use tokio::sync::mpsc;

use super::*;
use crate::error::ErrorKind;

/// What the world looks like before anybody repairs anything: (schema moved, sidecar left).
fn after_stop(point: Point) -> (bool, bool) {
    match point {
        Point::Staged => (false, false),
        Point::Armed | Point::Checked => (false, true),
        Point::Acted | Point::Recorded => (true, true),
        Point::Disarmed => (true, false),
        other => unreachable!("{other:?} is no step of a move"),
    }
}

#[tokio::test]
async fn a_failed_step_is_repeated_by_the_same_process() {
    for point in Point::ALL {
        let world = World::new().await;
        apply(&world.plane("first"), shop(SCHEMA, QUERIES))
            .await
            .unwrap();
        let plane = world.failing(point, Action::Fail);
        let told = apply(&plane, shop(WIDER, COLOURS)).await.unwrap();
        assert!(!told.result.ok, "{point:?}");
        assert!(!told.result.diagnostics.is_empty());
        if matches!(point, Point::Staged | Point::Armed | Point::Checked) {
            // Proven not to have happened: nothing is left behind.
            assert_settled(&world, SCHEMA).await;
        }
        let told = apply(&plane, shop(WIDER, COLOURS)).await.unwrap();
        assert!(
            told.result.ok && told.result.converged,
            "{point:?}: {:?}",
            told.result
        );
        assert_settled(&world, WIDER).await;
    }
}

#[tokio::test]
async fn a_crash_is_resolved_by_the_next_leader_and_apply_converges() {
    for point in Point::ALL {
        let world = World::new().await;
        apply(&world.plane("first"), shop(SCHEMA, QUERIES))
            .await
            .unwrap();
        crash(&world, point).await;
        let (moved, left) = after_stop(point);
        let observer = world.plane("observer");
        let sidecars = observer.shared().sidecars.list().await.unwrap();
        assert_eq!(sidecars.len(), usize::from(left), "{point:?}");

        // Taking the lead is enough: ledger and graph agree, nothing is left.
        let stop = tokio_util::sync::CancellationToken::new();
        let next = world.plane("next");
        let leading = next.spawn_leading(stop.clone());
        eventually("taking the lead", || async { next.is_leading() }).await;
        assert_settled(&world, if moved { WIDER } else { SCHEMA }).await;
        let newest = next.shared().ledger.newest().await.unwrap().unwrap();
        if point == Point::Acted {
            assert_eq!(newest.record.operation, "recovery");
            assert_eq!(newest.record.actor.as_deref(), Some("tester"));
            let queries = &newest.content.graphs.values().next().unwrap().queries;
            assert_eq!(queries.len(), 1, "the after-image is whole");
        }
        let told = apply(&next, shop(WIDER, COLOURS)).await.unwrap();
        assert!(
            told.result.ok && told.result.converged,
            "{point:?}: {:?}",
            told.result
        );
        assert_settled(&world, WIDER).await;
        stop.cancel();
        leading.await.unwrap();
        assert!(
            observer
                .shared()
                .ledger
                .state()
                .await
                .unwrap()
                .leader
                .is_none(),
            "released"
        );
    }
}

#[tokio::test]
async fn an_embedded_apply_resolves_what_a_dead_one_left() {
    let world = World::new().await;
    apply(&world.plane("first"), shop(SCHEMA, QUERIES))
        .await
        .unwrap();
    crash(&world, Point::Acted).await;
    let told = apply(&world.plane("next"), shop(WIDER, COLOURS))
        .await
        .unwrap();
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
    assert_settled(&world, WIDER).await;
}

/// The old leader wakes up between its last look at the ledger and its act. Without the fence its
/// commit would land after the new leader had declared it dead.
#[tokio::test]
async fn an_old_leader_cannot_move_a_graph() {
    let world = World::new().await;
    apply(&world.plane("first"), shop(SCHEMA, QUERIES))
        .await
        .unwrap();
    let gate = gate();
    let old = world.failing(Point::Checked, Action::Hold(gate.clone()));
    let sleeping = {
        let old = old.clone();
        tokio::spawn(async move { apply(&old, shop(WIDER, COLOURS)).await })
    };
    let observer = world.plane("observer");
    eventually("the sidecar", || async {
        !observer.shared().sidecars.list().await.unwrap().is_empty()
    })
    .await;
    // It is taken for dead although it only sleeps.
    let lease = observer.status().await.unwrap().lease.unwrap();
    observer.unlock(&lease.lease_id, "it sleeps").await.unwrap();
    let next = world.plane("next");
    let turn = next.begin("test", None, Duration::ZERO).await.unwrap();
    assert!(next.sweep(&turn.leader).await.unwrap().is_empty());
    turn.finish().await;

    gate.add_permits(1);
    let told = sleeping.await.unwrap().unwrap();
    assert!(!told.result.ok, "{:?}", told.result);
    assert_settled(&world, SCHEMA).await;
    let newest = observer.shared().ledger.newest().await.unwrap().unwrap();
    assert_eq!(newest.record.number, 1, "the ledger is as it was");
}

/// The same, one step earlier: the look at the ledger stops it.
#[tokio::test]
async fn an_old_leader_sees_that_it_lost_the_lead() {
    let world = World::new().await;
    apply(&world.plane("first"), shop(SCHEMA, QUERIES))
        .await
        .unwrap();
    let gate = gate();
    let old = world.failing(Point::Armed, Action::Hold(gate.clone()));
    let sleeping = {
        let old = old.clone();
        tokio::spawn(async move { apply(&old, shop(WIDER, COLOURS)).await })
    };
    let observer = world.plane("observer");
    eventually("the sidecar", || async {
        !observer.shared().sidecars.list().await.unwrap().is_empty()
    })
    .await;
    let lease = observer.status().await.unwrap().lease.unwrap();
    observer.unlock(&lease.lease_id, "").await.unwrap();
    apply(
        &world.plane("next"),
        shop(SCHEMA, &QUERIES.replace("10", "9")),
    )
    .await
    .unwrap();
    gate.add_permits(1);
    let told = sleeping.await.unwrap().unwrap();
    let found: Vec<_> = told
        .result
        .diagnostics
        .iter()
        .map(|d| d.code.as_str())
        .collect();
    assert!(found.contains(&"not_leader"), "{found:?}");
    assert_settled(&world, SCHEMA).await;
}

#[tokio::test]
async fn a_sidecar_of_unknown_reach_stops_every_change_and_is_shown() {
    use object_store::ObjectStoreExt;
    let world = World::new().await;
    let plane = world.plane("a");
    apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    let path = plane.store().path("cluster/recoveries/junk.json");
    plane
        .store()
        .object_store()
        .put(&path, "{}".into())
        .await
        .unwrap();
    let error = apply(&plane, shop(WIDER, COLOURS)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RecoveryPending);
    let status = plane.status().await.unwrap();
    assert_eq!(status.diagnostics[0].code, "sidecar_unattributable");
    plane.store().object_store().delete(&path).await.unwrap();
    assert!(
        apply(&plane, shop(WIDER, COLOURS))
            .await
            .unwrap()
            .result
            .converged
    );
}

/// The process stops at a point and never comes back.
pub(super) async fn crash(world: &World, point: Point) {
    crash_with(world, point, shop(WIDER, COLOURS)).await;
}

/// The same in an apply of this configuration, when the point is hit for the first time.
pub(super) async fn crash_with(world: &World, point: Point, bundle: ConfigBundle) {
    let (hit, mut seen) = mpsc::channel::<()>(1);
    let decide = move |at| {
        (at == point).then(|| {
            let _ = hit.try_send(());
            Action::Hang
        })
    };
    let dying = world.plane_with("dying", Failpoints::new(decide));
    let running = tokio::spawn(async move { apply(&dying, bundle).await });
    let bound = Duration::from_secs(20);
    tokio::time::timeout(bound, seen.recv())
        .await
        .expect("the point is reached");
    running.abort();
    let _ = running.await;
}
