//! Who may change the cluster.

use tokio_util::sync::CancellationToken;

use super::*;
use crate::error::ErrorKind;

#[tokio::test]
async fn one_change_at_a_time_and_the_second_is_told_who_runs() {
    let world = World::new().await;
    let first = world.plane("first");
    let turn = first
        .begin("apply", Some("ann"), Duration::ZERO)
        .await
        .unwrap();
    let second = world.plane("second");
    eventually("the heartbeat", || async {
        let status = second.status().await.unwrap();
        status
            .lease
            .is_some_and(|lease| lease.operation == "apply" && lease.actor_id == "ann")
    })
    .await;
    let error = second
        .begin("apply", None, Duration::ZERO)
        .await
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::LeaseHeld);
    assert!(error.message().starts_with("first on "), "{error}");
    assert!(error.message().contains("runs apply"), "{error}");
    let same = first
        .begin("apply", None, Duration::ZERO)
        .await
        .err()
        .unwrap();
    assert_eq!(same.kind(), ErrorKind::LeaseHeld);

    let waiting = second.begin("apply", None, Duration::from_secs(10));
    let (turn, ()) = tokio::join!(waiting, turn.finish());
    let turn = turn.unwrap();
    assert_eq!(turn.leader.epoch, 2);
    turn.finish().await;
    assert!(second.status().await.unwrap().lease.is_none());
}

#[tokio::test]
async fn a_living_leader_keeps_the_lead_and_a_silent_one_loses_it() {
    let world = World::new().await;
    let first = world.plane("first");
    let turn = first.begin("apply", None, Duration::ZERO).await.unwrap();
    let second = world.plane("second");
    let error = second
        .begin("apply", None, Duration::from_millis(600))
        .await
        .err()
        .unwrap();
    assert_eq!(
        error.kind(),
        ErrorKind::LeaseHeld,
        "it shows life all the time"
    );
    drop(turn);
    let turn = second
        .begin("apply", None, Duration::from_secs(10))
        .await
        .unwrap();
    assert_eq!(turn.leader.epoch, 2);
    turn.finish().await;
}

#[tokio::test]
async fn a_standby_refuses_changes_answers_reads_and_takes_over() {
    let world = World::new().await;
    let stop = CancellationToken::new();
    let leader = {
        let mut options = world.plane("leader").options().clone();
        options.address = Some("10.0.0.1:8090".into());
        ControlPlane::new(world.engine.clone(), options)
    };
    let leading = leader.spawn_leading(stop.clone());
    eventually("taking the lead", || async { leader.is_leading() }).await;
    apply(&leader, shop(SCHEMA, QUERIES)).await.unwrap();

    let (standby, end) = (world.plane("standby"), CancellationToken::new());
    let standing_by = standby.spawn_leading(end.clone());
    let request = ApplyRequest {
        bundle: Some(shop(SCHEMA, &QUERIES.replace("10", "9"))),
        ..ApplyRequest::default()
    };
    let error = apply_request(&standby, request.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotLeader);
    assert!(error.message().contains("10.0.0.1:8090"), "{error}");
    let status = standby.status().await.unwrap();
    assert_eq!(
        (status.revision, status.leader.as_str()),
        (1, "10.0.0.1:8090")
    );
    assert!(standby.plan_for(&shop(WIDER, COLOURS), true).await.is_ok());

    // It takes over from a leader that released the lead.
    stop.cancel();
    leading.await.unwrap();
    eventually("taking over", || async { standby.is_leading() }).await;
    assert_eq!(
        apply_request(&standby, request)
            .await
            .unwrap()
            .result
            .revision,
        2
    );
    end.cancel();
    standing_by.await.unwrap();
}

#[tokio::test]
async fn a_daemon_that_lost_the_lead_stands_by_and_does_not_end() {
    let world = World::new().await;
    let (plane, stop) = (world.plane("a"), CancellationToken::new());
    let leading = plane.spawn_leading(stop.clone());
    eventually("taking the lead", || async { plane.is_leading() }).await;
    let lease = plane.status().await.unwrap().lease.unwrap();
    let other = world.plane("other");
    other.unlock(&lease.lease_id, "test").await.unwrap();
    let error = other.unlock(&lease.lease_id, "test").await.unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::NotFound,
        "only the lease that is held"
    );
    let turn = other
        .begin("test", None, Duration::from_secs(5))
        .await
        .unwrap();
    assert!(turn.leader.epoch > lease.epoch);
    eventually("standing by", || async { !plane.is_leading() }).await;
    turn.finish().await;
    eventually("leading again", || async { plane.is_leading() }).await;
    stop.cancel();
    leading.await.unwrap();
}
