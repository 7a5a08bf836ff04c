//! Control plane and two replicas as processes of their own.

use std::time::Duration;

use omnigraph_integration_tests::cluster::{Place, Replica, control_plane};
use omnigraph_integration_tests::load::Readers;
use omnigraph_integration_tests::process::Daemon;
use omnigraph_integration_tests::until;
use serde_json::json;

const BOUND: Duration = Duration::from_secs(60);
/// Steps of an apply at which the control plane is killed.
const FAILPOINTS: [&str; 6] = [
    "staged", "armed", "checked", "acted", "recorded", "disarmed",
];

struct Cluster {
    place: Place,
    control: Daemon,
    /// `grpc://ip:port`.
    control_url: String,
    replicas: [Replica; 2],
}

/// Applies the example and loads its data through the first replica.
async fn start() -> Cluster {
    let place = Place::new();
    let mut control = control_plane(&place, "control", "127.0.0.1:0", &[]);
    let address = control.address("OMNIGRAPH_GRPC_ADDR");
    let replicas = ["dp-0", "dp-1"].map(|name| Replica::start(&place, name, Some(address)));
    let cluster = Cluster {
        place,
        control,
        control_url: format!("grpc://{address}"),
        replicas,
    };
    assert!(
        !cluster.replicas[0].is_ready().await,
        "nothing is applied yet"
    );
    // The replicas may still be on their way to the control plane.
    until("both replicas have registered", BOUND, async || {
        let rollout = cluster
            .ctl(&["rollout", "status", "--json"])
            .await
            .ok()
            .json();
        (rollout["live_replicas"] == 2).then_some(())
    })
    .await;
    cluster.apply().await;
    for replica in &cluster.replicas {
        assert!(
            replica.is_ready().await,
            "apply --wait returned before the replica was ready"
        );
    }
    let data = cluster.place.data();
    let server = cluster.replicas[0].url();
    let load = [
        "load",
        "--data",
        data.to_str().expect("UTF-8"),
        "--mode",
        "append",
        "--json",
    ];
    let loaded = cluster
        .place
        .ctl(&[&load[..], &["--server", &server]].concat())
        .await
        .ok()
        .json();
    assert_eq!(loaded["total_entities"], 3325);
    cluster
}

impl Cluster {
    async fn ctl(&self, args: &[&str]) -> omnigraph_integration_tests::cli::Run {
        self.place
            .ctl(&[args, &["--control", &self.control_url]].concat())
            .await
    }

    /// Applies and waits for every replica.
    async fn apply(&self) {
        let run = self
            .ctl(&["apply", "--wait=60s", "--lock-timeout", "60s", "--json"])
            .await
            .ok();
        let result = run.json();
        assert_eq!(result["converged"], true, "{result}");
        assert_eq!(result["rollout"]["complete"], true, "{result}");
    }

    fn gateways(&self) -> [std::net::SocketAddr; 2] {
        [self.replicas[0].http, self.replicas[1].http]
    }

    fn stop(mut self) {
        for replica in &mut self.replicas {
            let status = replica.daemon.terminate(BOUND);
            assert_eq!(status.code(), Some(0), "{}", replica.daemon.log());
        }
        let status = self.control.terminate(BOUND);
        assert_eq!(status.code(), Some(0), "{}", self.control.log());
    }
}

/// Adds a column to the stored query that the readers ask.
fn return_also(place: &Place, column: &str) {
    place.edit("queries/packages.gq", |text| {
        text.replacen(
            "$p.summary, $p.homepage",
            &format!("$p.summary, $p.homepage, {column}"),
            1,
        )
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_change_of_query_and_schema_reaches_both_replicas_without_a_failed_request() {
    let mut cluster = start().await;
    let (status, body) = cluster.replicas[1]
        .ask("find_package", json!({"name": "git"}))
        .await;
    assert_eq!((status, &body["row_count"]), (200, &json!(1)), "{body}");
    let pids: Vec<u32> = cluster.replicas.iter().map(|r| r.daemon.pid()).collect();

    let readers = Readers::start(&cluster.gateways(), 2);
    until("the readers are under way", BOUND, async || {
        (readers.answered() > 50).then_some(())
    })
    .await;

    return_also(&cluster.place, "$p.essential");
    cluster.apply().await;
    for replica in &cluster.replicas {
        assert!(replica.columns().await.contains(&"p.essential".to_owned()));
    }

    cluster.place.add_property("license");
    return_also(&cluster.place, "$p.license");
    cluster.apply().await;
    for replica in &cluster.replicas {
        assert!(replica.columns().await.contains(&"p.license".to_owned()));
    }

    let before = readers.answered();
    until("reads go on after the change", BOUND, async || {
        (readers.answered() > before + 20).then_some(())
    })
    .await;
    readers.finish().await;
    for (replica, pid) in cluster.replicas.iter_mut().zip(pids) {
        assert!(replica.daemon.is_running() && replica.daemon.pid() == pid);
    }

    // What one replica writes, the other reads.
    let server = cluster.replicas[1].url();
    let args = [
        "mutate",
        "set_priority",
        "--params",
        r#"{"name":"git","priority":"extra"}"#,
    ];
    cluster
        .place
        .ctl(&[&args[..], &["--server", &server]].concat())
        .await
        .ok();
    let (_, body) = cluster.replicas[0]
        .ask("find_package", json!({"name": "git"}))
        .await;
    assert_eq!(body["rows"][0]["p.priority"], "extra");
    cluster.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_control_plane_killed_in_mid_apply_converges_when_it_comes_back() {
    let mut cluster = start().await;
    let readers = Readers::start(&cluster.gateways(), 1);
    let bind = cluster.control_url.trim_start_matches("grpc://").to_owned();
    for (round, point) in FAILPOINTS.iter().enumerate() {
        // Stop the healthy one and start one that hangs at the failpoint.
        cluster.control.terminate(BOUND);
        let failpoint = format!("{point}=hang");
        let name = format!("control-{point}");
        let env = [("OMNIGRAPH_FAILPOINT", failpoint.as_str())];
        let mut doomed = control_plane(&cluster.place, &name, &bind, &env);
        doomed.address("OMNIGRAPH_GRPC_ADDR");

        let property = format!("round_{round}");
        cluster.place.add_property(&property);
        let config = cluster.place.config();
        let url = cluster.control_url.clone();
        let apply = tokio::spawn(async move {
            let args = ["apply", "--lock-timeout", "60s", "--control", &url];
            omnigraph_integration_tests::cli::omnigraphctl(&config, &args).await
        });
        let hit = tokio::task::spawn_blocking(move || {
            let hit = doomed.fact("OMNIGRAPH_FAILPOINT_HIT");
            doomed.kill();
            hit
        });
        assert_eq!(hit.await.expect("the failpoint is hit"), *point);
        let cut = apply.await.expect("the command ends");
        assert_ne!(
            cut.code, 0,
            "an apply that was cut off is not a success: {}",
            cut.stdout
        );

        let name = format!("control-after-{point}");
        cluster.control = control_plane(&cluster.place, &name, &bind, &[]);
        cluster.control.address("OMNIGRAPH_GRPC_ADDR");
        // The replicas find their way back; then the same apply converges.
        until("both replicas are back", BOUND, async || {
            let run = cluster.ctl(&["rollout", "status", "--json"]).await;
            (run.code == 0 && run.json()["live_replicas"] == 2).then_some(())
        })
        .await;
        cluster.apply().await;
        let status = cluster.ctl(&["status", "--json"]).await.ok().json();
        assert_eq!(status["recoveries"], json!([]), "after {point}");
        for replica in &cluster.replicas {
            let source = format!(
                "query q() {{ match {{ $p: Package {{ name: \"git\" }} }} return {{ $p.{property} }} }}"
            );
            let args = ["query", "-e", &source, "--json", "--server", &replica.url()];
            let answer = cluster.place.ctl(&args).await.ok().json();
            assert_eq!(answer["row_count"], 1, "after {point}");
        }
    }
    assert!(readers.finish().await > 50);
    cluster.stop();
}
