//! What a revision declares besides schemas and queries, and graphs that come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::StatusCode;
use omnigraph_policy::Credentials;
use omnigraph_proto::control::v1::cluster_service_client::ClusterServiceClient;
use omnigraph_proto::control::v1::cluster_service_server::ClusterServiceServer;
use omnigraph_proto::control::v1::{ApproveRequest, ConfigBundle, ConfigFile};

use super::{LONG, QUERIES, SCHEMA, World, call, ok};
use crate::{Boot, Environment, Replica};

const EMBEDDING: &str = "version: 1\nmetadata: { name: shop }\nproviders:\n  embedding:\n    default: { kind: openai, model: m, api_key: ${EMBED_KEY} }\ngraphs:\n  shop:\n    schema: shop.pg\n    queries: queries/\n    embedding_provider: default\n";
const TWO: &str = "version: 1\nmetadata: { name: shop }\ngraphs:\n  shop:\n    schema: shop.pg\n    queries: queries/\n  side:\n    schema: shop.pg\n";
const ONE: &str = "version: 1\nmetadata: { name: shop }\ngraphs:\n  shop:\n    schema: shop.pg\n    queries: queries/\n";

fn files(cluster: &str) -> [(&str, &str); 3] {
    [
        ("cluster.yaml", cluster),
        ("shop.pg", SCHEMA),
        ("queries/q.gq", QUERIES),
    ]
}

#[tokio::test]
async fn a_provider_whose_key_is_not_set_quarantines_its_graphs_until_it_is() {
    let world = World::new().await;
    world.apply_files(&files(EMBEDDING)).await;
    let set = Arc::new(AtomicBool::new(false));
    let mut options = world.options();
    // Embedded, it would rather fail than serve nothing.
    options.boot = Boot::Wait;
    let known = set.clone();
    options.environment = Environment::new(move |name| {
        let there = name == "EMBED_KEY" && known.load(Ordering::Relaxed);
        there.then(|| "secret".to_owned())
    });
    let replica = Replica::start(options).await.expect("a replica");
    assert!(!replica.ready(Duration::from_millis(200)).await);
    let got = call(&replica, "GET", "/graphs/shop/schema", "").await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        got.body.contains("embedding_provider_unresolved"),
        "{}",
        got.body
    );
    assert!(got.body.contains("EMBED_KEY"), "{}", got.body);
    // It is tried again by itself.
    set.store(true, Ordering::Relaxed);
    assert!(replica.ready(LONG).await);
    ok(&replica, "GET", "/graphs/shop/schema", "").await;
}

#[tokio::test]
async fn a_deleted_graph_is_dropped_without_trouble() {
    let world = World::new().await;
    world.apply_files(&files(TWO)).await;
    let replica = world.replica().await;
    ok(&replica, "GET", "/graphs/side/schema", "").await;
    let bundle = ConfigBundle {
        files: files(ONE)
            .map(|(path, text)| ConfigFile {
                path: path.to_owned(),
                content: text.as_bytes().to_vec().into(),
            })
            .into(),
    };
    let api = world.plane.cluster_api(Credentials::Open);
    let mut client = ClusterServiceClient::new(ClusterServiceServer::new(api));
    let request = ApproveRequest {
        resource: "graph.side".into(),
        bundle: Some(bundle),
        ..ApproveRequest::default()
    };
    client.approve(request).await.expect("approved");
    let applied = world.apply_files(&files(ONE)).await;
    assert!(replica.takes_up(applied.revision, LONG).await);
    let got = call(&replica, "GET", "/graphs/side/schema", "").await;
    assert_eq!(got.status, StatusCode::NOT_FOUND, "{}", got.body);
    ok(&replica, "GET", "/graphs/shop/schema", "").await;
    assert!(replica.ready(LONG).await);
}
