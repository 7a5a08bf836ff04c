//! Plans and applies of some graphs only.

use super::*;
use crate::error::ErrorKind;

const TWO: &str = "version: 1\nmetadata: { name: shops }\ngraphs:\n  one:\n    schema: one.pg\n    queries: queries/\n  two:\n    schema: two.pg\n    queries: queries/\n";

fn shops(one: &str, two: &str) -> ConfigBundle {
    bundle(&[
        ("cluster.yaml", TWO),
        ("one.pg", one),
        ("two.pg", two),
        ("queries/q.gq", QUERIES),
    ])
}

async fn apply_to(plane: &ControlPlane, bundle: ConfigBundle, target: &str) -> Result<Told, Error> {
    let request = ApplyRequest {
        bundle: Some(bundle),
        targets: vec![target.to_owned()],
        ..ApplyRequest::default()
    };
    apply_request(plane, request).await
}

fn resources(plan: &Plan) -> Vec<&str> {
    plan.changes
        .iter()
        .map(|change| change.resource.as_str())
        .collect()
}

#[tokio::test]
async fn a_target_brings_what_it_needs_and_leaves_the_rest_as_it_is() {
    let world = World::new().await;
    let plane = world.plane("a");
    let told = apply_to(&plane, shops(SCHEMA, SCHEMA), "graph.one")
        .await
        .unwrap();
    let plan = told.plan.unwrap();
    let own = ["graph.one", "schema.one", "query.one.cheap"];
    assert_eq!(resources(&plan), own);
    assert_eq!(plan.targets, own);
    assert_eq!(plan.omitted_changes, 3);
    assert!(
        told.result.ok && !told.result.converged,
        "{:?}",
        told.result
    );
    assert_eq!((told.result.revision, told.result.applied_count), (1, 3));
    let status = plane.status().await.unwrap();
    assert!(!status.converged, "the rest is declared and not applied");
    let two = status
        .resources
        .iter()
        .find(|one| one.address == "graph.two")
        .unwrap();
    assert!(
        two.status == "blocked" && two.message.starts_with("left out"),
        "{two:?}"
    );

    // Again there is nothing to do for it, and nothing is written.
    let before = plane.store().requests();
    let again = apply_to(&plane, shops(SCHEMA, SCHEMA), "graph.one")
        .await
        .unwrap();
    let spent = plane.store().requests() - before;
    assert!(!again.result.state_written && again.result.ok && !again.result.converged);
    assert_eq!((spent.put, spent.delete), (0, 0));

    let all = apply(&plane, shops(SCHEMA, SCHEMA)).await.unwrap();
    assert!(all.result.converged);
    assert_eq!(all.result.revision, 2);
    let status = plane.status().await.unwrap();
    assert!(status.converged && status.resources.iter().all(|one| one.status == "applied"));
}

#[tokio::test]
async fn a_schema_change_moves_the_target_only() {
    let world = World::new().await;
    let plane = world.plane("a");
    apply(&plane, shops(SCHEMA, SCHEMA)).await.unwrap();
    let told = apply_to(&plane, shops(WIDER, WIDER), "graph.two")
        .await
        .unwrap();
    assert_eq!(resources(told.plan.as_ref().unwrap()), ["schema.two"]);
    assert!(!told.result.converged);
    let content = &plane
        .shared()
        .ledger
        .newest()
        .await
        .unwrap()
        .unwrap()
        .content;
    let schema = |id: &str| content.graphs[&id.parse().unwrap()].schema.clone();
    assert_ne!(schema("one"), schema("two"));
    assert!(
        apply(&plane, shops(WIDER, WIDER))
            .await
            .unwrap()
            .result
            .converged
    );
}

#[tokio::test]
async fn a_digest_belongs_to_its_targets_and_what_is_no_target_is_refused() {
    let world = World::new().await;
    let plane = world.plane("a");
    let part = ["graph.one".to_owned()];
    let bundle = shops(SCHEMA, SCHEMA);
    let narrow = plane.plan_part(&bundle, &part, true).await.unwrap().plan;
    let whole = plane.plan_for(&bundle, true).await.unwrap().plan;
    assert_ne!(narrow.plan_digest, whole.plan_digest);
    let request = |targets: &[String], digest: &str| ApplyRequest {
        bundle: Some(bundle.clone()),
        targets: targets.to_vec(),
        plan_digest: digest.to_owned(),
        ..ApplyRequest::default()
    };
    let stale = apply_request(&plane, request(&[], &narrow.plan_digest))
        .await
        .unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::PlanStale);
    // Fewer characters than plan shows name nothing.
    let short = &narrow.plan_digest[..7];
    let stale = apply_request(&plane, request(&part, short))
        .await
        .unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::PlanStale);
    apply_request(&plane, request(&part, &narrow.plan_digest[..8]))
        .await
        .unwrap();

    for (target, hint) in [
        ("one", "graph.one"),
        ("schema.one", "graph.one"),
        ("query.one.cheap", "graph.one"),
        ("graph.One!", ""),
        ("policy.readers", "graph.<id>"),
    ] {
        let error = apply_to(&plane, bundle.clone(), target).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{target}");
        assert!(
            error.hint().unwrap_or_default().contains(hint),
            "{target}: {error:?}"
        );
    }
    let error = apply_to(&plane, bundle.clone(), "graph.three")
        .await
        .unwrap_err();
    assert!(
        error.message().contains("neither declared nor applied"),
        "{error}"
    );
}
