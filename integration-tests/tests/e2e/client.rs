//! Another gRPC client than ours: Python's, and services as reflection tells them.

use std::process::Command;
use std::time::Duration;

use omnigraph_integration_tests::cluster::{Place, Replica};
use omnigraph_integration_tests::s3::{client, python};
use omnigraph_integration_tests::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_calls_what_a_graph_offers() {
    let place = Place::shop(None, "");
    place.ctl(&["apply"]).await.ok();
    let replica = Replica::start(&place, "dp-0", None);
    until(
        "the replica is ready",
        Duration::from_secs(60),
        async || replica.is_ready().await.then_some(()),
    )
    .await;
    let backups = place.logs().join("backups");
    let (address, backups) = (replica.grpc.to_string(), backups.display().to_string());
    let run = tokio::task::spawn_blocking(move || {
        Command::new(python())
            .arg(client("graph_client.py"))
            .args([address.as_str(), "shop", backups.as_str()])
            .output()
            .expect("python runs: run scripts/setup all")
    });
    let run = run.await.expect("the client ends");
    let (said, errors) = (
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr),
    );
    assert!(
        run.status.success() && said.trim() == "OK",
        "{said}\n{errors}"
    );
}
