//! Who is let in, and what an interrupted writer leaves behind.

use std::process::Stdio;
use std::time::Duration;

use omnigraph_integration_tests::cli::omnigraphctl_with;
use omnigraph_integration_tests::cluster::{Place, Replica};
use omnigraph_integration_tests::process::{Daemon, signal};
use omnigraph_integration_tests::{binary, until};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

const BOUND: Duration = Duration::from_secs(60);
const TOKEN: &str = "a-long-secret";

async fn ready(replica: &Replica) {
    until("the replica is ready", BOUND, async || {
        replica.is_ready().await.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_guards_every_door_but_health() {
    let place = Place::new();
    place.ctl(&["apply"]).await.ok();
    let env = [("OMNIGRAPH_BEARER_TOKEN", TOKEN)];
    let replica = Replica::start_with(&place, "dp-0", None, &[], &env);
    ready(&replica).await;
    let upstream = replica.grpc.to_string();
    let args = ["--bind", "127.0.0.1:0", "--gateway-upstreams", &upstream];
    let mut gateway = Daemon::start("omnigraph-gateway", "gateway", &args, &[], place.logs());
    let gateway = gateway.address("OMNIGRAPH_LISTEN_ADDR");

    let mut answers = Vec::new();
    for url in [
        replica.url(),
        format!("http://{gateway}"),
        format!("grpc://{}", replica.grpc),
    ] {
        let list = [
            "queries", "list", "--json", "--graph", "debian", "--server", &url,
        ];
        let wrong = [("OMNIGRAPH_BEARER_TOKEN", "another")];
        for refused in [&[][..], &wrong[..]] {
            let run = omnigraphctl_with(&place.config(), &list, refused, "")
                .await
                .exits(1);
            assert_eq!(run.error()["reason"], "unauthorized", "{url}");
        }
        let run = omnigraphctl_with(&place.config(), &list, &env, "")
            .await
            .ok();
        assert!(!run.stderr.contains(TOKEN));
        answers.push(run.json());
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));

    let health = reqwest::get(format!("http://{gateway}/healthz")).await;
    assert_eq!(health.expect("health is open").status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_is_not_open_by_accident() {
    let place = Place::new();
    place.ctl(&["apply"]).await.ok();
    for name in ["omnigraph-control-plane", "omnigraph-data-plane"] {
        let output = tokio::process::Command::new(binary(name))
            .args(["--cluster", place.storage().to_str().expect("UTF-8")])
            .args(["--grpc-bind", "127.0.0.1:0"])
            .env_remove("OMNIGRAPH_BEARER_TOKEN")
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(BOUND, output).await.expect("it ends");
        let output = output.expect("it starts");
        assert!(!output.status.success(), "{name}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("--unauthenticated"), "{name}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_load_leaves_nothing() {
    let place = Place::new();
    place.ctl(&["apply"]).await.ok();
    let replica = Replica::start(&place, "dp-0", None);
    ready(&replica).await;
    let url = replica.url();
    for address in [["--server", url.as_str()], ["--cluster", "."]] {
        let mut child = tokio::process::Command::new(binary("omnigraphctl"))
            .args([
                "load", "--data", "-", "--mode", "append", "--graph", "debian",
            ])
            .args(address)
            .current_dir(place.config())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("omnigraphctl starts");
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        let line = r#"{"type":"Maintainer","data":{"email":"a@b.org","name":"A"}}"#;
        stdin
            .write_all(format!("{line}\n").as_bytes())
            .await
            .expect("a line is taken");
        let stderr = child.stderr.take().expect("stderr is a pipe");
        let mut lines = BufReader::new(stderr).lines();
        let first = tokio::time::timeout(BOUND, lines.next_line())
            .await
            .expect("it says where");
        assert!(
            first
                .expect("stderr")
                .is_some_and(|l| l.starts_with("→ load into debian@main"))
        );

        signal(child.id().expect("it runs"), "INT");
        let status = tokio::time::timeout(BOUND, child.wait())
            .await
            .expect("it ends");
        assert_eq!(status.expect("a status").code(), Some(130), "{address:?}");
        let server = ["snapshot", "-o", "csv", "--server", &url];
        let types = place.ctl(&server).await.ok().stdout;
        assert!(types.contains("node,Maintainer,0,"), "{types}");
    }
}
