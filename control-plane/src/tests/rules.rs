//! The sidecar rules of the control plane, one by one; what happens at each step is in `recovery`
//! and in `matrix`.

use object_store::ObjectStoreExt;

use super::faults::{Fault, Op};
use super::recovery::crash;
use super::*;
use crate::error::ErrorKind;
use crate::sidecar::Found;

const UNIQUE: &str =
    "node Item {\n    name: String @key\n    price: I64 @unique\n}\n\nedge Needs: Item -> Item\n";

async fn a_shop(world: &World) {
    apply(&world.plane("first"), shop(SCHEMA, QUERIES))
        .await
        .unwrap();
    world.mutate("shop", STOCK).await;
}

/// A refused change can be repeated for ever: each time it is said why, and nothing is left.
async fn stays_refused(world: &World, bundle: &ConfigBundle, reason: &str) {
    let mut revision = None;
    for _ in 0..3 {
        let told = apply(&world.plane("a"), bundle.clone()).await.unwrap();
        let plan = told.plan.unwrap();
        let schema = plan
            .changes
            .iter()
            .find(|c| c.resource == "schema.shop")
            .unwrap();
        assert!(schema.reason.starts_with(reason), "{}", schema.reason);
        assert!(!told.result.converged);
        let sidecars = world.plane("b").shared().sidecars.list().await.unwrap();
        assert!(sidecars.is_empty(), "{sidecars:?}");
        let number = told.result.revision;
        assert_eq!(
            *revision.get_or_insert(number),
            number,
            "nothing new is written"
        );
    }
}

#[tokio::test]
async fn rule_1_an_unsupported_step_leaves_no_sidecar() {
    let world = World::new().await;
    a_shop(&world).await;
    stays_refused(&world, &shop(REFUSED, QUERIES), "M301").await;
    assert_settled(&world, SCHEMA).await;
}

#[tokio::test]
async fn rule_1_a_violated_constraint_leaves_no_sidecar() {
    let world = World::new().await;
    a_shop(&world).await;
    stays_refused(&world, &shop(UNIQUE, QUERIES), "M307").await;
    assert_settled(&world, SCHEMA).await;
    // When the rows are right, it goes.
    let right = "query right() {\n    update Item set { price: 3 } where name = \"pin\"\n}\n";
    world.mutate("shop", right).await;
    let told = apply(&world.plane("a"), shop(UNIQUE, QUERIES))
        .await
        .unwrap();
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
    assert_settled(&world, UNIQUE).await;
}

#[tokio::test]
async fn rule_1_an_unreadable_graph_leaves_no_sidecar() {
    let world = World::new().await;
    a_shop(&world).await;
    world
        .faults
        .set(|op, at| (op == Op::Get && at.contains("graphs/shop.omni")).then_some(Fault::Before));
    stays_refused(&world, &shop(WIDER, COLOURS), "graph_unreadable").await;
    world.faults.clear();
    let told = apply(&world.plane("a"), shop(WIDER, COLOURS))
        .await
        .unwrap();
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
    assert_settled(&world, WIDER).await;
    assert!(world.plane("b").status().await.unwrap().converged);
}

/// The preview was right, and then the engine refuses: the graph is gone.
#[tokio::test]
async fn rule_4_an_act_that_moved_nothing_takes_its_sidecar_with_it() {
    let world = World::new().await;
    a_shop(&world).await;
    let gate = gate();
    let plane = world.failing(Point::Checked, Action::Hold(gate.clone()));
    let running = {
        let plane = plane.clone();
        tokio::spawn(async move { apply(&plane, shop(WIDER, COLOURS)).await })
    };
    let observer = world.plane("observer");
    eventually("the sidecar", || async {
        !observer.shared().sidecars.list().await.unwrap().is_empty()
    })
    .await;
    let root = world.root("shop").await.unwrap();
    let by = omnigraph_engine::Authorship::default();
    world.engine.tombstone_graph(&root, &by).await.unwrap();
    gate.add_permits(1);
    let told = running.await.unwrap().unwrap();
    assert!(!told.result.ok);
    assert!(observer.shared().sidecars.list().await.unwrap().is_empty());
    assert_eq!(world.newest().await.record.number, 1);
}

#[tokio::test]
async fn rule_4_a_sidecar_that_cannot_be_removed_is_a_warning() {
    let world = World::new().await;
    a_shop(&world).await;
    world.faults.set(|op, at| {
        (op == Op::Delete && at.contains("cluster/recoveries")).then_some(Fault::Before)
    });
    let plane = world.plane("a");
    let told = apply(&plane, shop(WIDER, COLOURS)).await.unwrap();
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
    let warned = told.result.diagnostics.iter();
    let warned: Vec<_> = warned
        .filter(|d| d.code == "recovery_sidecar_cleanup_failed")
        .collect();
    assert_eq!(warned.len(), 1);
    assert!(!warned[0].hints.is_empty(), "it names the remedy");
    assert_eq!(plane.shared().sidecars.list().await.unwrap().len(), 1);
    world.faults.clear();
    let told = apply(&plane, shop(WIDER, COLOURS)).await.unwrap();
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
    assert_settled(&world, WIDER).await;
    assert_eq!(
        world.newest().await.record.number,
        2,
        "there was nothing to roll forward"
    );
}

#[tokio::test]
async fn rule_5_a_landed_commit_is_rolled_forward_and_converged_when_that_was_all() {
    let world = World::new().await;
    a_shop(&world).await;
    crash(&world, Point::Acted).await;
    let plane = world.plane("next");
    let turn = plane
        .begin("test", None, Duration::from_secs(10))
        .await
        .unwrap();
    assert!(plane.sweep(&turn.leader).await.unwrap().is_empty());
    turn.finish().await;
    let newest = world.newest().await;
    assert_eq!(newest.record.operation, "recovery");
    assert_eq!(
        newest.record.actor.as_deref(),
        Some("tester"),
        "the original actor"
    );
    let status = plane.status().await.unwrap();
    assert!(status.converged, "nothing is left to be done");
    assert!(status.resources.iter().all(|r| r.status == "applied"));
    let told = apply(&plane, shop(WIDER, COLOURS)).await.unwrap();
    assert!(
        !told.result.state_written && told.result.converged,
        "{:?}",
        told.plan
    );
    assert_eq!(world.items("shop").await, 3);
}

#[tokio::test]
async fn rule_5_a_recovery_does_not_claim_what_others_have_not_done() {
    let world = World::new().await;
    apply(&world.plane("first"), two(SCHEMA)).await.unwrap();
    let both = || {
        let mut both = two(WIDER);
        both.files[1].content = WIDER.as_bytes().to_vec().into();
        both
    };
    super::recovery::crash_with(&world, Point::Acted, both()).await;
    let plane = world.plane("next");
    let turn = plane
        .begin("test", None, Duration::from_secs(10))
        .await
        .unwrap();
    plane.sweep(&turn.leader).await.unwrap();
    turn.finish().await;
    assert!(
        !plane.status().await.unwrap().converged,
        "one graph has not moved"
    );
    let told = apply(&plane, both()).await.unwrap();
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
    assert!(plane.status().await.unwrap().converged);
}

#[tokio::test]
async fn rule_5_what_cannot_be_decided_blocks_its_own_graph_only() {
    let world = World::new().await;
    apply(&world.plane("first"), two(SCHEMA)).await.unwrap();
    let mut shop_moves = two(SCHEMA);
    shop_moves.files[1].content = WIDER.as_bytes().to_vec().into();
    super::recovery::crash_with(&world, Point::Checked, shop_moves.clone()).await;
    world
        .faults
        .set(|op, at| (op == Op::Get && at.contains("graphs/shop.omni")).then_some(Fault::Before));
    let plane = world.plane("next");
    let mut both_move = two(WIDER);
    both_move.files[1].content = WIDER.as_bytes().to_vec().into();
    let told = apply(&plane, both_move.clone()).await.unwrap();
    let plan = told.plan.unwrap();
    let of = |address: &str| plan.changes.iter().find(|c| c.resource == address).unwrap();
    assert!(
        of("graph.shop").reason.starts_with("recovery_pending"),
        "{plan:?}"
    );
    assert_eq!(of("schema.side").reason, "");
    assert!(
        told.result.ok && !told.result.converged,
        "{:?}",
        told.result
    );
    let status = plane.status().await.unwrap();
    assert_eq!(status.recoveries.len(), 1);
    assert_eq!(status.recoveries[0].graph_id, "shop");
    assert!(!status.recoveries[0].remedy.is_empty());
    let pending = status
        .resources
        .iter()
        .find(|r| r.address == "graph.shop")
        .unwrap();
    assert!(pending.conditions.contains(&"recovery_pending".to_owned()));
    world.faults.clear();
    let told = apply(&plane, both_move).await.unwrap();
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
    assert_settled(&world, WIDER).await;
}

#[tokio::test]
async fn rule_6_what_has_an_unknown_reach_stops_everything() {
    let world = World::new().await;
    a_shop(&world).await;
    crash(&world, Point::Armed).await;
    let plane = world.plane("a");
    let found = plane.shared().sidecars.list().await.unwrap();
    let Some(Found::Sidecar(sound)) = found.into_iter().next() else {
        panic!("a sidecar is left");
    };
    let turn = plane
        .begin("test", None, Duration::from_secs(10))
        .await
        .unwrap();
    plane.sweep(&turn.leader).await.unwrap();
    turn.finish().await;
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut value = serde_json::to_value(&sound).unwrap();
        change(&mut value);
        value.to_string()
    };
    let objects = plane.store().object_store();
    for (what, text, name) in [
        ("malformed", "{".to_owned(), sound.id.to_string()),
        (
            "an unknown format",
            with(&|v| v["format"] = 99.into()),
            sound.id.to_string(),
        ),
        (
            "no graph",
            with(&|v| v["graph"] = "".into()),
            sound.id.to_string(),
        ),
        (
            "no graph at all",
            with(&|v| {
                v.as_object_mut().unwrap().remove("graph");
            }),
            sound.id.to_string(),
        ),
        ("another name", with(&|_| {}), "another".to_owned()),
    ] {
        let path = plane
            .store()
            .path(&format!("cluster/recoveries/{name}.json"));
        objects.put(&path, text.into()).await.unwrap();
        for _ in 0..2 {
            let error = apply(&plane, shop(WIDER, COLOURS)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::RecoveryPending, "{what}");
            assert!(error.message().contains(&name), "{what}: {error}");
            assert!(error.hint().is_some(), "{what}");
        }
        let error = plane
            .plan_for(&shop(WIDER, COLOURS), true)
            .await
            .err()
            .unwrap();
        assert_eq!(error.kind(), ErrorKind::RecoveryPending, "{what}");
        let status = plane.status().await.unwrap();
        assert_eq!(
            status.diagnostics[0].code, "sidecar_unattributable",
            "{what}"
        );
        objects.delete(&path).await.unwrap();
    }
    let told = apply(&plane, shop(WIDER, COLOURS)).await.unwrap();
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
    assert_settled(&world, WIDER).await;
}

/// A sidecar of a graph that was deleted since concerns nobody.
#[tokio::test]
async fn rule_5_a_sidecar_of_a_graph_that_is_gone_is_retired() {
    let world = World::new().await;
    apply(&world.plane("first"), two(SCHEMA)).await.unwrap();
    let mut side_moves = two(WIDER);
    side_moves.files[1].content = SCHEMA.as_bytes().to_vec().into();
    super::recovery::crash_with(&world, Point::Armed, side_moves).await;
    let plane = world.plane("next");
    let sidecars = &plane.shared().sidecars;
    let Some(Found::Sidecar(mut left)) = sidecars.list().await.unwrap().into_iter().next() else {
        panic!("a sidecar is left");
    };
    approve(&plane, "graph.side", shop(SCHEMA, QUERIES))
        .await
        .unwrap();
    apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    left.id = ulid::Ulid::new();
    sidecars.arm(&left).await.unwrap();
    let told = apply(&plane, shop(WIDER, COLOURS)).await.unwrap();
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
    assert_settled(&world, WIDER).await;
}
