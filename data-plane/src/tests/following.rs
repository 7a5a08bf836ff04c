//! Revisions: taken up without a restart, in trouble, and back.

use std::time::Duration;

use http::StatusCode;
use omnigraph_control_plane::serving::ServingReader;
use omnigraph_policy::Credentials;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{COLOURS, ITEMS, LONG, QUERIES, SCHEMA, WIDER, World, call, ok};
use crate::{Access, Boot, Control, Options, Replica, ServeOptions, serve};

const DEAR: &str = r#"{"params":{"least":2}}"#;

#[tokio::test]
async fn an_empty_root_fails_fast_or_waits() {
    let world = World::new().await;
    let refused = Replica::start(world.options()).await;
    let error = refused.err().expect("nothing was applied");
    assert_eq!(error.code, "cluster_state_missing");

    let mut options = world.options();
    options.boot = Boot::Wait;
    options.poll_interval = Duration::from_millis(20);
    let replica = Replica::start(options).await.expect("waits");
    let got = call(&replica, "GET", "/readyz", "").await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(got.json()["not_ready_because"], json!(["no_revision"]));
    let got = call(&replica, "GET", "/graphs/shop/schema", "").await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE, "{}", got.body);
    world.apply(SCHEMA, QUERIES).await;
    assert!(replica.ready(LONG).await, "found by polling");
}

#[tokio::test]
async fn changed_queries_and_schemas_serve_without_a_restart() {
    let world = World::new().await;
    world.apply(SCHEMA, QUERIES).await;
    let replica = world.replica().await;
    ok(&replica, "POST", "/graphs/shop/load/ndjson", ITEMS).await;
    let applied = world.apply(WIDER, COLOURS).await;
    // Not told, the replica finds the new revision itself: the query that it knows does check on
    // the wider schema, so it goes on serving it until then.
    ok(&replica, "POST", "/graphs/shop/queries/dear", DEAR).await;
    assert!(replica.takes_up(applied.revision, LONG).await);
    let got = ok(&replica, "POST", "/graphs/shop/queries/dear", DEAR).await;
    assert_eq!(got.json()["rows"], json!([{"name": "saw", "colour": null}]));
    let graph = ok(&replica, "GET", "/graphs/shop", "").await;
    assert_eq!(graph.json()["served_revision"], applied.revision);
    assert_eq!(graph.json()["status"], "ready");
    let schema = ok(&replica, "GET", "/graphs/shop/schema", "").await;
    assert_eq!(schema.json()["schema_source"], WIDER);
}

#[tokio::test]
async fn who_needs_the_newest_revision_gets_it_at_once() {
    let world = World::new().await;
    world.apply(SCHEMA, QUERIES).await;
    let mut options = world.options();
    options.poll_interval = LONG * 10;
    let replica = Replica::start(options).await.expect("a replica");
    let inner = replica.inner();
    let seen = inner.generation("shop").expect("served");
    // Nothing newer comes: the wait ends with its deadline.
    let soon = tokio::time::Instant::now() + Duration::from_millis(50);
    assert!(inner.newer_generation("shop", &seen, soon).await.is_none());
    world.apply(WIDER, COLOURS).await;
    let late = tokio::time::Instant::now() + LONG;
    let newer = inner.newer_generation("shop", &seen, late).await;
    let newer = newer.expect("fetched although polling is far away");
    assert!(newer.schema_commit > seen.schema_commit);
    assert!(newer.queries["dear"].source.contains("colour"));
    // Requests that began before finish on what they began with.
    assert!(seen.queries["dear"].source.contains("price"));
    assert!(seen.queries.contains_key("reprice"));
}

#[tokio::test]
async fn missing_content_quarantines_and_heals() {
    let world = World::new().await;
    world.apply(SCHEMA, QUERIES).await;
    let store = world.engine.store();
    let reader = ServingReader::new(store);
    let serving = reader.newest().await.expect("readable").expect("applied");
    let digest = &serving.graphs[0].queries[0].digest;
    let source = reader.query_source(&serving.graphs[0].queries[0]).await;
    let source = source.expect("in the catalog");
    let path = store.path(&format!("cluster/catalog/{digest}.gq"));
    let put = |text: String| {
        store
            .object_store()
            .put_opts(&path, text.into(), Default::default())
    };
    put("tampered".to_owned()).await.expect("stored");

    let refused = Replica::start(world.options()).await;
    let error = refused.err().expect("no graph can be served");
    assert_eq!(error.code, "cluster_no_healthy_graphs");
    assert!(error.message.contains("catalog_digest_mismatch"), "{error}");

    let mut options = world.options();
    options.boot = Boot::Wait;
    let replica = Replica::start(options).await.expect("waits");
    assert!(replica.takes_up(1, LONG).await);
    let got = call(&replica, "GET", "/graphs/shop/schema", "").await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(got.json()["code"], "graph_quarantined");
    assert_eq!(
        got.json()["graph_unavailable"]["reason_code"],
        "catalog_digest_mismatch"
    );
    let listed = ok(&replica, "GET", "/graphs", "").await;
    assert_eq!(listed.json(), json!({"graphs": []}));
    let listed = ok(&replica, "GET", "/graphs?include=all", "").await;
    assert_eq!(listed.json()["graphs"][0]["status"], "quarantined");
    let got = call(&replica, "GET", "/readyz", "").await;
    assert_eq!(got.json()["not_ready_because"], json!(["no_healthy_graph"]));

    put(source).await.expect("stored");
    assert!(replica.ready(LONG).await, "healed without a restart");
}

#[tokio::test]
async fn follows_the_control_plane_over_the_network() {
    let world = World::new().await;
    world.apply(SCHEMA, QUERIES).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let stop = CancellationToken::new();
    let lead = world.plane.spawn_leading(stop.clone());
    let served = tokio::spawn(omnigraph_control_plane::server::serve(
        world.plane.clone(),
        listener,
        Credentials::token("control"),
        stop.clone(),
    ));
    let mut options = Options::served(Access::Credentials(Credentials::token("data")));
    // Stores in memory are each their own, so the revision cannot name this one.
    options.engine = Some(world.engine.clone());
    options.poll_interval = LONG * 10;
    options.control = Some(Control {
        address,
        token: Some("control".to_owned()),
    });
    let replica = Replica::start(options).await.expect("a replica");
    assert!(replica.ready(LONG).await);
    let mut status = replica.inner().status.subscribe();
    let connected = status.wait_for(|status| status.control_connected);
    let connected = tokio::time::timeout(LONG, connected).await;
    assert!(connected.is_ok_and(|c| c.is_ok()));
    // Polling is far away: only the notice can bring this revision.
    let applied = world
        .apply(SCHEMA, COLOURS.replace("colour", "price").as_str())
        .await;
    let taken = status.wait_for(|status| status.revision >= applied.revision);
    let taken = tokio::time::timeout(LONG, taken).await;
    assert!(taken.is_ok_and(|t| t.is_ok()));
    let got = call(&replica, "GET", "/graphs/shop/schema", "").await;
    assert_eq!(got.status, StatusCode::UNAUTHORIZED, "{}", got.body);
    let got = call(&replica, "GET", "/readyz", "").await;
    assert_eq!(
        got.json()["graphs_ready"],
        1,
        "counted without a credential: {}",
        got.body
    );
    assert!(replica.stop(LONG).await);
    stop.cancel();
    served.await.expect("no panic").expect("served to the end");
    lead.await.expect("no panic");
}

#[tokio::test]
async fn stops_in_order() {
    let world = World::new().await;
    world.apply(SCHEMA, QUERIES).await;
    let replica = world.replica().await;
    let bind = || tokio::net::TcpListener::bind("127.0.0.1:0");
    let http = bind().await.expect("a port");
    let grpc = bind().await.expect("a port");
    let address = grpc.local_addr().expect("bound").to_string();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let options = ServeOptions {
        http: Some(http),
        grpc: Some(grpc),
        gateway: omnigraph_gateway::Options::default(),
        drain_delay: Duration::ZERO,
        shutdown_timeout: LONG,
    };
    let running = tokio::spawn({
        let replica = replica.clone();
        async move {
            let stop = async {
                let _ = stopped.await;
            };
            serve(&replica, options, stop).await
        }
    });
    // A watcher does not hold the stop up.
    let upstream = omnigraph_gateway::Upstream::connect(&address).expect("an address");
    let mut readiness = upstream.readiness();
    let request = omnigraph_proto::data::v1::WatchReadinessRequest {};
    let mut watch = readiness
        .watch_readiness(request)
        .await
        .expect("answers")
        .into_inner();
    let first = watch
        .message()
        .await
        .expect("goes on")
        .expect("the state now");
    assert!(first.readiness.is_some());
    stop.send(()).expect("still running");
    let ended = tokio::time::timeout(LONG, running).await.expect("bounded");
    ended.expect("no panic").expect("stopped in order");
    let got = call(&replica, "GET", "/readyz", "").await;
    assert_eq!(got.json()["not_ready_because"], json!(["draining"]));
}
