//! Who may change the cluster.

use omnigraph_engine::{Clock, SystemClock};
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

/// A clock that is wrong by a constant.
#[derive(Debug, Default)]
struct Skewed {
    clock: SystemClock,
    micros: i64,
}

impl Clock for Skewed {
    fn now_micros(&self) -> i64 {
        self.clock.now_micros() + self.micros
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }
}

/// A control plane of another machine, on a shared disk, with a clock of its own.
async fn elsewhere(place: &super::restoring::Place, name: &str, micros: i64) -> ControlPlane {
    let options = StoreOptions {
        clock: Arc::new(Skewed {
            micros,
            ..Skewed::default()
        }),
        fsync: false,
        ..StoreOptions::default()
    };
    std::fs::create_dir_all(place.uri()).unwrap();
    let store = Store::open(place.uri(), options).await.unwrap();
    let options = Options {
        // What runs in one process here stands for several machines.
        watch_processes: false,
        heartbeat: Duration::from_millis(200),
        takeover: Duration::from_millis(1000),
        ..Options::new(name)
    };
    ControlPlane::new(Engine::new(store, EngineOptions::default()), options)
}

const DAY: i64 = 24 * 3600 * 1_000_000;

#[tokio::test]
async fn a_leader_with_a_wrong_clock_is_not_disturbed() {
    for skew in [-DAY, DAY] {
        let place = super::restoring::Place::new();
        let leader = elsewhere(&place, "leader", skew).await;
        let stop = CancellationToken::new();
        let leading = leader.spawn_leading(stop.clone());
        eventually("taking the lead", || async { leader.is_leading() }).await;
        let command = elsewhere(&place, "command", 0).await;
        let error = command
            .begin("apply", None, Duration::ZERO)
            .await
            .err()
            .unwrap();
        assert_eq!(error.kind(), ErrorKind::LeaseHeld, "{error}");
        // Neither does a standby take its place, for some takeover times.
        let (standby, end) = (
            elsewhere(&place, "standby", 0).await,
            CancellationToken::new(),
        );
        let standing_by = standby.spawn_leading(end.clone());
        tokio::time::sleep(standby.options().takeover * 3).await;
        assert!(leader.is_leading() && !standby.is_leading());
        assert_eq!(leader.status().await.unwrap().lease.unwrap().epoch, 1);
        for (stop, task) in [(end, standing_by), (stop, leading)] {
            stop.cancel();
            task.await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_leader_that_died_long_ago_holds_up_nobody_whatever_its_clock_said() {
    for skew in [-DAY, DAY] {
        let place = super::restoring::Place::new();
        let dead = elsewhere(&place, "dead", skew).await;
        let leading = dead.spawn_leading(CancellationToken::new());
        eventually("taking the lead", || async { dead.is_leading() }).await;
        // As if its machine had been switched off: nothing is released.
        leading.abort();
        let _ = leading.await;
        let command = elsewhere(&place, "command", 0).await;
        let turn = command.begin("apply", None, Duration::ZERO).await.unwrap();
        assert_eq!(turn.leader.epoch, 2);
        turn.finish().await;
    }
}

#[tokio::test]
async fn a_command_and_a_daemon_exclude_each_other_and_the_daemon_is_named() {
    let world = World::new().await;
    let stop = CancellationToken::new();
    let mut options = world.plane("daemon").options().clone();
    options.address = Some("10.0.0.1:8090".into());
    let daemon = ControlPlane::new(world.engine.clone(), options);
    let command = world.plane("command");
    let turn = command
        .begin("apply", Some("ann"), Duration::ZERO)
        .await
        .unwrap();
    let leading = daemon.spawn_leading(stop.clone());
    let refused = daemon
        .begin("apply", None, Duration::ZERO)
        .await
        .err()
        .unwrap();
    assert_eq!(refused.kind(), ErrorKind::NotLeader);
    turn.finish().await;
    eventually("the daemon leads", || async { daemon.is_leading() }).await;
    let refused = command
        .begin("apply", None, Duration::ZERO)
        .await
        .err()
        .unwrap();
    assert_eq!(refused.kind(), ErrorKind::LeaseHeld);
    let hint = refused.hint().unwrap_or_default();
    assert!(hint.contains("--control grpc://10.0.0.1:8090"), "{hint}");
    stop.cancel();
    leading.await.unwrap();
}

#[tokio::test]
async fn the_last_change_of_a_stopping_leader_keeps_the_lead_until_it_ends() {
    let world = World::new().await;
    let (leader, stop) = (world.plane("leader"), CancellationToken::new());
    let leading = leader.spawn_leading(stop.clone());
    eventually("taking the lead", || async { leader.is_leading() }).await;
    let turn = leader.begin("apply", None, Duration::ZERO).await.unwrap();
    let (standby, end) = (world.plane("standby"), CancellationToken::new());
    let standing_by = standby.spawn_leading(end.clone());
    stop.cancel();
    tokio::time::sleep(leader.options().takeover * 3).await;
    assert!(!standby.is_leading(), "the change still runs");
    assert!(leader.check_lead(&turn.leader).await.is_ok());
    turn.finish().await;
    leading.await.unwrap();
    eventually("taking over", || async { standby.is_leading() }).await;
    end.cancel();
    standing_by.await.unwrap();
}

#[tokio::test]
async fn without_its_store_a_leader_changes_nothing_and_nobody_else_leads() {
    let world = World::new().await;
    let (leader, stop) = (world.plane("leader"), CancellationToken::new());
    let leading = leader.spawn_leading(stop.clone());
    eventually("taking the lead", || async { leader.is_leading() }).await;
    apply(&leader, shop(SCHEMA, QUERIES)).await.unwrap();
    let (standby, end) = (world.plane("standby"), CancellationToken::new());
    let standing_by = standby.spawn_leading(end.clone());
    world.faults.set(|_, _| Some(faults::Fault::Before));
    let changed = QUERIES.replace("limit 10", "limit 5");
    let refused = apply(&leader, shop(SCHEMA, &changed)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    assert!(leader.status().await.is_err());
    // Longer than a takeover takes: who cannot read the ledger does not lead.
    tokio::time::sleep(standby.options().takeover * 3).await;
    assert!(!standby.is_leading());
    world.faults.clear();
    let either = || async { leader.is_leading() || standby.is_leading() };
    eventually("one of them leads", either).await;
    let mut revision = 0;
    for plane in [&leader, &standby] {
        if let Ok(told) = apply(plane, shop(SCHEMA, &changed)).await {
            revision = told.result.revision;
        }
    }
    assert_eq!(revision, 2, "nothing was written meanwhile");
    for (stop, task) in [(stop, leading), (end, standing_by)] {
        stop.cancel();
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_slow_recovery_does_not_cost_the_lead() {
    let world = World::new().await;
    apply(&world.plane("a"), shop(SCHEMA, QUERIES))
        .await
        .unwrap();
    // Somebody died in the middle, and what it left takes long to be resolved.
    let doomed = world.failing(Point::Acted, Action::Hang);
    let (plane, request) = (doomed.clone(), shop(WIDER, COLOURS));
    let dying = tokio::spawn(async move { apply(&plane, request).await });
    let reader = world.plane("reader");
    eventually("the sidecar is there", || async {
        !reader.shared().sidecars.list().await.unwrap().is_empty()
    })
    .await;
    let lease = reader.status().await.unwrap().lease.unwrap();
    dying.abort();
    reader.unlock(&lease.lease_id, "").await.unwrap();
    let (leader, stop) = (world.plane("leader"), CancellationToken::new());
    // The turn is taken, so that tidying up has to wait.
    let slow = leader.shared().turn.clone().lock_owned().await;
    let leading = leader.spawn_leading(stop.clone());
    eventually("it has the lead", || async {
        reader.status().await.unwrap().lease.is_some()
    })
    .await;
    let (standby, end) = (world.plane("standby"), CancellationToken::new());
    let standing_by = standby.spawn_leading(end.clone());
    let first = reader.status().await.unwrap().lease.unwrap();
    tokio::time::sleep(leader.options().takeover * 3).await;
    let still = reader.status().await.unwrap().lease.unwrap();
    assert_eq!(first.lease_id, still.lease_id, "its heart beats meanwhile");
    drop(slow);
    eventually("it is resolved", || async {
        (leader.is_leading() || standby.is_leading())
            && reader.shared().sidecars.list().await.unwrap().is_empty()
    })
    .await;
    assert_settled(&world, WIDER).await;
    for (stop, task) in [(stop, leading), (end, standing_by)] {
        stop.cancel();
        task.await.unwrap();
    }
}
