//! A graph that gets a new schema gets what decides about it at the same time: in the revision of
//! its move, and in the one of a recovery.

use super::recovery::crash_with;
use super::*;
use crate::digest::Digest;

const OPEN: &str = "version: 1\nrules:\n  - { id: all, allow: { actors: { group: team }, actions: [read] } }\ngroups: { team: [act-ann] }\n";
const STRICT: &str = "version: 1\nrules:\n  - { id: some, allow: { actors: { group: team }, actions: [read], types: [Item] } }\ngroups: { team: [act-ann] }\n";

/// Two graphs of one schema under one policy.
fn guarded(schema: &str, policy: &str) -> ConfigBundle {
    let cluster =
        format!("{TWO}policies:\n  guard: {{ file: guard.yaml, applies_to: [shop, side] }}\n");
    bundle(&[
        ("cluster.yaml", &cluster),
        ("shop.pg", schema),
        ("side.pg", schema),
        ("queries/q.gq", QUERIES),
        ("guard.yaml", policy),
    ])
}

/// Which graphs have the wider schema, and whether the strict policy holds.
async fn applied(world: &World) -> (Vec<String>, bool) {
    let newest = world.newest().await;
    let wider = Digest::of(WIDER.as_bytes());
    let graphs = newest.content.graphs.iter();
    let moved = graphs.filter(|(_, graph)| graph.schema_source == wider);
    let strict = Digest::of(STRICT.as_bytes());
    let guard = &newest.content.policies["guard"].text;
    (
        moved.map(|(id, _)| id.to_string()).collect(),
        *guard == strict,
    )
}

#[tokio::test]
async fn the_revision_of_a_move_has_the_new_policy() {
    let world = World::new().await;
    apply(&world.plane("first"), guarded(SCHEMA, OPEN))
        .await
        .unwrap();
    assert_eq!(applied(&world).await, (vec![], false));
    crash_with(&world, Point::Recorded, guarded(WIDER, STRICT)).await;
    let first = vec!["shop".to_owned()];
    assert_eq!(applied(&world).await, (first, true));
}

#[tokio::test]
async fn a_recovery_brings_the_policy_with_the_schema() {
    let world = World::new().await;
    apply(&world.plane("first"), guarded(SCHEMA, OPEN))
        .await
        .unwrap();
    crash_with(&world, Point::Acted, guarded(WIDER, STRICT)).await;
    assert_eq!(applied(&world).await, (vec![], false), "the act alone");
    let next = world.plane("next");
    // A change that is about something else finds the sidecar.
    let again = apply(&next, guarded(WIDER, STRICT)).await.unwrap();
    assert!(again.result.converged, "{:?}", again.result);
    let state = next.shared().ledger.state().await.unwrap();
    let newest = next
        .shared()
        .ledger
        .revision_of(&state)
        .await
        .unwrap()
        .unwrap();
    let recovered = newest.record.previous.unwrap();
    let recovered = next.shared().ledger.revision_at(recovered).await.unwrap();
    assert_eq!(recovered.record.operation, "recovery");
    let guard = &recovered.content.policies["guard"].text;
    assert_eq!(*guard, Digest::of(STRICT.as_bytes()));
}

#[tokio::test]
async fn a_recovery_leaves_a_policy_that_was_applied_later() {
    let world = World::new().await;
    apply(&world.plane("first"), guarded(SCHEMA, OPEN))
        .await
        .unwrap();
    crash_with(&world, Point::Acted, guarded(WIDER, OPEN)).await;
    let next = world.plane("next");
    let sidecars = &next.shared().sidecars;
    let found = sidecars.list().await.unwrap();
    let [crate::sidecar::Found::Sidecar(left)] = &found[..] else {
        panic!("{found:?}");
    };
    // Its graph cannot be decided for a while, and the others go on.
    sidecars.disarm(left.id).await.unwrap();
    let stricter = ApplyRequest {
        bundle: Some(guarded(SCHEMA, STRICT)),
        targets: vec!["graph.side".to_owned()],
        lock_timeout_ms: 10_000,
        ..ApplyRequest::default()
    };
    let told = apply_request(&next, stricter).await.unwrap();
    assert!(told.result.ok, "{:?}", told.result);
    assert_eq!(applied(&world).await, (vec![], true));
    sidecars.arm(left).await.unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let leading = next.spawn_leading(stop.clone());
    eventually("the recovery", || async {
        next.shared().sidecars.list().await.unwrap().is_empty()
    })
    .await;
    assert_eq!(applied(&world).await, (vec!["shop".to_owned()], true));
    stop.cancel();
    leading.await.unwrap();
}
