//! Embedding providers, and metadata that an earlier release did not write.

use super::*;
use crate::catalog::BlobKind;
use crate::ledger::Content;
use crate::serving::{ProviderKind, Serving, ServingReader};

fn with_provider(model: &str) -> ConfigBundle {
    let cluster = format!(
        "version: 1\nmetadata: {{ name: shop }}\nproviders:\n  embedding:\n    default: {{ kind: openai, model: {model}, api_key: ${{KEY}} }}\ngraphs:\n  shop:\n    schema: shop.pg\n    queries: queries/\n    embedding_provider: default\n"
    );
    bundle(&[
        ("cluster.yaml", &cluster),
        ("shop.pg", SCHEMA),
        ("queries/q.gq", QUERIES),
    ])
}

#[tokio::test]
async fn providers_are_resources_and_their_profiles_are_served() {
    let world = World::new().await;
    let plane = world.plane("a");
    apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    let told = apply(&plane, with_provider("m")).await.unwrap();
    let plan = told.plan.unwrap();
    assert_eq!(
        lines(&plan),
        [
            "update graph.shop applied",
            "create provider.embedding.default applied"
        ]
    );
    assert_eq!(plan.changes[0].metadata_change, "embedding_provider");
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
    assert_eq!(told.result.applied_count, 2);
    let reader = ServingReader::new(world.engine.store());
    let serving = reader.newest().await.unwrap().unwrap();
    let embedding = serving.graphs[0].embedding.as_ref().unwrap();
    assert_eq!(
        (embedding.name.as_str(), embedding.profile.kind),
        ("default", ProviderKind::Openai)
    );
    assert_eq!(embedding.profile.api_key_env.as_deref(), Some("KEY"));
    let travelled = Serving::from_wire(&serving.to_wire("memory://x")).unwrap();
    assert_eq!(travelled, *serving);
    let quiet = apply(&plane, with_provider("m")).await.unwrap();
    assert!(!quiet.result.state_written, "{:?}", quiet.plan);

    let told = apply(&plane, with_provider("n")).await.unwrap();
    let plan = told.plan.unwrap();
    assert_eq!(lines(&plan), ["update provider.embedding.default applied"]);
    assert_eq!(plan.changes[0].metadata_change, "model");
    assert_eq!(plan.changes[0].affects, ["graph.shop"]);
    let newer = reader.newest().await.unwrap().unwrap();
    assert_eq!(
        newer.graphs[0].embedding.as_ref().unwrap().profile.model,
        "n"
    );
    assert_ne!(
        newer.serving_digest, serving.serving_digest,
        "replicas load it"
    );

    let told = apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    assert_eq!(
        lines(&told.plan.unwrap()),
        [
            "update graph.shop applied",
            "delete provider.embedding.default applied"
        ]
    );
    assert!(
        reader.newest().await.unwrap().unwrap().graphs[0]
            .embedding
            .is_none()
    );
    assert!(plane.status().await.unwrap().converged);
}

#[tokio::test]
async fn computing_vectors_at_writes_is_a_setting_of_the_graph() {
    let world = World::new().await;
    let plane = world.plane("a");
    apply(&plane, with_provider("m")).await.unwrap();
    let mut computing = with_provider("m");
    let cluster = String::from_utf8(computing.files[0].content.to_vec()).unwrap();
    computing.files[0].content = (cluster + "    embed_on_write: true\n").into_bytes().into();
    let told = apply(&plane, computing.clone()).await.unwrap();
    let plan = told.plan.unwrap();
    assert_eq!(lines(&plan), ["update graph.shop applied"]);
    assert_eq!(plan.changes[0].metadata_change, "embed_on_write");
    let reader = ServingReader::new(world.engine.store());
    let serving = reader.newest().await.unwrap().unwrap();
    assert!(serving.graphs[0].embedding.as_ref().unwrap().on_write);
    let travelled = Serving::from_wire(&serving.to_wire("memory://x")).unwrap();
    assert_eq!(travelled, *serving);
    let quiet = apply(&plane, computing).await.unwrap();
    assert!(!quiet.result.state_written, "{:?}", quiet.plan);
    apply(&plane, with_provider("m")).await.unwrap();
    let serving = reader.newest().await.unwrap().unwrap();
    assert!(!serving.graphs[0].embedding.as_ref().unwrap().on_write);
}

#[tokio::test]
async fn a_graph_that_cannot_follow_its_provider_says_so_and_follows_later() {
    let world = World::new().await;
    let plane = world.plane("a");
    apply(&plane, with_provider("m")).await.unwrap();
    let mut stuck = with_provider("n");
    stuck.files[1].content = REFUSED.as_bytes().to_vec().into();
    let told = apply(&plane, stuck).await.unwrap();
    let plan = told.plan.unwrap();
    let shown = lines(&plan);
    assert!(
        shown.contains(&"update graph.shop blocked".to_owned()),
        "{shown:?}"
    );
    assert!(
        shown.contains(&"update provider.embedding.default applied".to_owned()),
        "{shown:?}"
    );
    let profile = |content: &Content| {
        let graph = content.graphs.values().next().unwrap();
        graph.embedding.clone().unwrap().profile.unwrap().model
    };
    assert_eq!(
        profile(&world.newest().await.content),
        "m",
        "the whole graph waits"
    );
    let told = apply(&plane, with_provider("n")).await.unwrap();
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
    assert_eq!(profile(&world.newest().await.content), "n");
}

/// The newest revision's content, rewritten as an earlier release wrote it.
async fn downgrade(world: &World, change: impl Fn(&mut serde_json::Value)) {
    let plane = world.plane("old");
    let newest = world.newest().await;
    let mut value = serde_json::to_value(&newest.content).unwrap();
    change(&mut value);
    let content = Content::read(value.to_string().as_bytes()).unwrap();
    let turn = plane
        .begin("apply", None, Duration::from_secs(5))
        .await
        .unwrap();
    let publication = crate::apply::Publication {
        content,
        config_digest: newest.record.config_digest.clone(),
        converged: true,
        actor: None,
        operation: "apply",
        operation_id: turn.operation_id,
        message: String::new(),
        epoch_floor: 0,
    };
    plane.publish(&turn.leader, publication).await.unwrap();
    turn.finish().await;
}

#[tokio::test]
async fn profiles_that_were_never_recorded_are_filled_in_by_an_apply_that_changes_nothing_else() {
    let world = World::new().await;
    apply(&world.plane("a"), with_provider("m")).await.unwrap();
    downgrade(&world, |content| {
        let graph = content["graphs"]["shop"]["embedding"]
            .as_object_mut()
            .unwrap();
        graph.remove("profile").unwrap();
        let provider = content["providers"]["default"].as_object_mut().unwrap();
        provider.remove("profile").unwrap();
    })
    .await;
    // It serves, without embedding, until it is filled in.
    let reader = ServingReader::new(world.engine.store());
    assert!(
        reader.newest().await.unwrap().unwrap().graphs[0]
            .embedding
            .is_none()
    );
    let plane = world.plane("b");
    let told = apply(&plane, with_provider("m")).await.unwrap();
    let plan = told.plan.unwrap();
    assert_eq!(
        lines(&plan),
        [
            "update graph.shop applied",
            "update provider.embedding.default applied"
        ]
    );
    for change in &plan.changes {
        assert_eq!(change.before_digest, change.after_digest, "metadata only");
        assert!(
            change.metadata_change.contains("earlier release"),
            "{change:?}"
        );
    }
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
    assert!(
        reader.newest().await.unwrap().unwrap().graphs[0]
            .embedding
            .is_some()
    );
    let quiet = apply(&plane, with_provider("m")).await.unwrap();
    assert!(!quiet.result.state_written);
}

#[tokio::test]
async fn a_ledger_that_knows_no_providers_at_all_is_read_and_completed() {
    let world = World::new().await;
    apply(&world.plane("a"), with_provider("m")).await.unwrap();
    downgrade(&world, |content| {
        content.as_object_mut().unwrap().remove("providers");
        let graph = content["graphs"]["shop"].as_object_mut().unwrap();
        graph.remove("embedding").unwrap();
    })
    .await;
    let told = apply(&world.plane("b"), with_provider("m")).await.unwrap();
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
    let content = &world.newest().await.content;
    assert!(content.providers["default"].profile.is_some());
    let blobs = content
        .blobs()
        .into_iter()
        .map(|(_, digest, kind)| (digest, kind));
    let catalog = &world.plane("c").shared().catalog.clone();
    assert!(catalog.check(blobs).await.unwrap().is_empty());
    assert!(
        catalog
            .get(&world.newest().await.record.content, BlobKind::Revision)
            .await
            .is_ok()
    );
}
