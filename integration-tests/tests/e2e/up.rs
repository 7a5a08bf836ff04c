//! `up`: control plane, replica and gateway in one process, found by other commands.

use std::time::Duration;

use omnigraph_integration_tests::cluster::Place;
use omnigraph_integration_tests::process::Daemon;
use omnigraph_integration_tests::until;
use serde_json::Value;

const BOUND: Duration = Duration::from_secs(60);

fn up(place: &Place, more: &[&str]) -> Daemon {
    let config = place.config();
    let config = config.to_str().expect("a temporary path is UTF-8");
    let ports = [
        "--bind",
        "127.0.0.1:0",
        "--grpc-bind",
        "127.0.0.1:0",
        "--control-bind",
        "127.0.0.1:0",
    ];
    let args = [&["up", config], &ports[..], more].concat();
    Daemon::start("omnigraphctl", "up", &args, &[], place.logs())
}

/// The addresses are said to people last: everything is applied and loaded.
async fn serving(daemon: &Daemon) {
    until("up serves", BOUND, async || {
        daemon.log().contains("  HTTP http://").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_serves_the_example_and_other_commands_find_it() {
    let place = Place::declared();
    let data = place.data();
    let mut daemon = up(&place, &["--data", data.to_str().expect("UTF-8")]);
    let http = daemon.address("OMNIGRAPH_LISTEN_ADDR");
    let grpc = daemon.address("OMNIGRAPH_GRPC_ADDR");
    let control = daemon.address("OMNIGRAPH_CONTROL_ADDR");
    serving(&daemon).await;

    // Found through the directory, without an address.
    let find = [
        "query",
        "find_package",
        "--params",
        r#"{"name":"git"}"#,
        "--json",
    ];
    let found = place.ctl(&find).await.ok().json();
    assert_eq!(found["rows"][0]["p.name"], "git");
    place.edit("queries/packages.gq", |text| {
        text.replacen(
            "$p.summary, $p.homepage",
            "$p.summary, $p.homepage, $p.essential",
            1,
        )
    });
    let applied = place.ctl(&["apply", "--wait"]).await.ok();
    assert!(
        applied
            .stdout
            .contains("revision 2 is served by 1 of 1 replicas"),
        "{}",
        applied.stdout
    );
    let status = place
        .ctl(&[
            "status",
            "--json",
            "--control",
            &format!("grpc://{control}"),
        ])
        .await
        .ok()
        .json();
    assert_eq!(status["revision"], 2);

    // The same JSON through the gateway, a replica's gRPC and, below, embedded.
    let through =
        async |args: &[&str]| -> Value { place.ctl(&[&find[..], args].concat()).await.ok().json() };
    let over_http = through(&["--server", &format!("http://{http}")]).await;
    let over_grpc = through(&["--server", &format!("grpc://{grpc}")]).await;
    assert_eq!(over_http, over_grpc);
    assert!(
        over_http["rows"][0].get("p.essential").is_some(),
        "{over_http}"
    );

    let second = place.ctl(&["up", "."]).await.exits(1);
    assert!(second.stderr.contains("already"), "{}", second.stderr);
    let file = place.config().join(".omnigraph/up.json");
    assert!(file.is_file());
    assert_eq!(daemon.terminate(BOUND).code(), Some(0), "{}", daemon.log());
    assert!(!file.exists(), "a clean stop removes up.json");
    assert_eq!(through(&["--cluster", "."]).await, over_http);

    // A second start keeps the data and loads nothing twice.
    let daemon = up(&place, &["--data", data.to_str().expect("UTF-8")]);
    serving(&daemon).await;
    let types = place.ctl(&["snapshot", "-o", "csv"]).await.ok().stdout;
    assert!(types.contains("edge,DependsOn,\"1,852\","), "{types}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_watcher_applies_good_edits_and_reports_bad_ones() {
    let place = Place::declared();
    let data = place.data();
    let mut daemon = up(
        &place,
        &["--watch", "--data", data.to_str().expect("UTF-8")],
    );
    serving(&daemon).await;
    let columns = async || {
        let found = place
            .ctl(&[
                "query",
                "find_package",
                "--params",
                r#"{"name":"git"}"#,
                "--json",
            ])
            .await;
        found.ok().json()["columns"].to_string()
    };
    place.edit("queries/packages.gq", |text| {
        text.replacen("$p.summary, $p.homepage", "$p.summary", 1)
    });
    until("the edit is served", BOUND, async || {
        (!columns().await.contains("homepage")).then_some(())
    })
    .await;
    place.edit("queries/packages.gq", |text| {
        text.replacen("$p.summary", "$p.nonsense", 1)
    });
    until("the bad edit is reported", BOUND, async || {
        daemon.log().contains("nonsense").then_some(())
    })
    .await;
    assert!(
        columns().await.contains("p.summary"),
        "the last good revision is served"
    );
    assert_eq!(daemon.terminate(BOUND).code(), Some(0), "{}", daemon.log());
}
