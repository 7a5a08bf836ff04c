//! A client without `.proto` files.

use std::time::Duration;

use omnigraph_integration_tests::cluster::{Place, Replica};
use omnigraph_integration_tests::reflect::Generic;
use omnigraph_integration_tests::until;

const GRAPHS: &str = "omnigraph.data.v1.GraphService";
const HEALTH: &str = "grpc.health.v1.Health";

// Stopping a daemon blocks a thread, and the client has to hear that its connection ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_is_enough_to_call_a_replica_that_works_from_storage_alone() {
    let place = Place::new();
    place.ctl(&["apply"]).await.ok();
    let mut replica = Replica::start(&place, "dp-0", None);
    let bound = Duration::from_secs(60);
    until("the replica is ready", bound, async || {
        replica.is_ready().await.then_some(())
    })
    .await;

    let mut client = Generic::connect(&replica.grpc.to_string()).await;
    let services = client.services().await;
    for service in [GRAPHS, HEALTH, "omnigraph.data.v1.ReadinessService"] {
        assert!(
            services.iter().any(|s| s == service),
            "{service} is not in {services:?}"
        );
    }

    client.learn(GRAPHS).await;
    let graph = client
        .call(GRAPHS, "GetSchema", &[("graph_id", "debian")])
        .await
        .expect("a schema");
    let source = &graph["schema_source"][0];
    assert!(String::from_utf8_lossy(source).contains("node Package"));
    let refused = client
        .call(GRAPHS, "GetSchema", &[("graph_id", "nowhere")])
        .await;
    assert_eq!(
        refused.expect_err("an unknown graph").code(),
        tonic::Code::NotFound
    );

    client.learn(HEALTH).await;
    for service in ["", "graph/debian", GRAPHS] {
        let health = client
            .call(HEALTH, "Check", &[("service", service)])
            .await
            .expect("a state");
        // SERVING is 1.
        assert_eq!(health["status"][0][0], 1, "{service:?}");
    }
    assert_eq!(
        replica.daemon.terminate(bound).code(),
        Some(0),
        "{}",
        replica.daemon.log()
    );
}
